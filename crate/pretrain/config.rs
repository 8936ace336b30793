//! The settings of a pre-training run: every switch of `configure_pretraining.py` of
//! google-research/electra under its own name, the presets of the paper, and ours beyond it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::{Activation, DiscriminatorObjective, ElectraConfig};
use crate::error::{Error, Result, listed, nearest};
use crate::optim::{OptimizerConfig, Schedule};
use crate::pretrained::Init;

/// What is learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Replaced-token detection, with a generator learning beside it.
    Electra,
    /// BERT at the same settings: the main network guesses masked tokens itself.
    Mlm,
    /// ELECTRA as an energy-based model (Clark et al. 2020b): its score is a pseudo-likelihood.
    Electric,
}

/// All settings of a run, as `config.json` of the run folder holds them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PretrainConfig {
    pub objective: Objective,

    // The network.
    pub embedding_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    /// One for each 64 of the hidden size where absent.
    pub num_attention_heads: Option<usize>,
    /// Four times the hidden size where absent.
    pub intermediate_size: Option<usize>,
    pub hidden_act: Activation,
    pub hidden_dropout_prob: f64,
    pub attention_probs_dropout_prob: f64,
    pub max_position_embeddings: usize,
    pub type_vocab_size: usize,
    pub initializer_range: f64,
    /// How weights are drawn: `original`, `transformers` or `fan-in`.
    pub initializer: Init,
    pub layer_norm_eps: f64,

    // The generator.
    /// Its width as a share of the discriminator's.
    pub generator_hidden_size: f64,
    /// Its depth as a share of the discriminator's. DeBERTaV3: 0.5, at full width.
    pub generator_layers: f64,
    /// One for each 64 of its width where absent.
    pub generator_attention_heads: Option<usize>,
    /// Four times its width where absent.
    pub generator_intermediate_size: Option<usize>,
    /// Dropout in the generator; METRO goes without.
    pub generator_dropout: bool,
    /// `false`: the generator is the discriminator's own encoder.
    pub untied_generator: bool,
    /// `true`: the generator has embedding tables of its own.
    pub untied_generator_embeddings: bool,
    /// No generator: replacements are drawn evenly from the vocabulary.
    pub uniform_generator: bool,
    /// A left-to-right and a right-to-left network in place of a masked one; `electric` has it
    /// always.
    pub two_tower_generator: bool,
    /// Gradient-disentangled sharing (DeBERTaV3): the discriminator adds a table of its own to the
    /// generator's, and its gradient stops there.
    pub disentangled_embeddings: bool,

    // The objective.
    pub mask_prob: f64,
    /// Positions drawn with replacement, as the reference does (its issue 41).
    pub mask_with_replacement: bool,
    /// Of the sampling, not of the generator's loss.
    pub temperature: f64,
    /// Never sample the original token.
    pub disallow_correct: bool,
    /// The discriminator's loss counts drawn positions only (the paper's "ELECTRA 15 %").
    pub disc_on_masked_only: bool,
    pub gen_weight: f64,
    pub disc_weight: f64,

    // The optimizer.
    pub num_train_steps: usize,
    /// Examples of one forward pass, on each rank.
    pub batch_size: usize,
    /// Forward passes of one update.
    pub accumulate: usize,
    pub learning_rate: f64,
    pub warmup_steps: usize,
    pub schedule: Schedule,
    pub weight_decay: f64,
    pub beta_1: f64,
    pub beta_2: f64,
    pub epsilon: f64,
    pub bias_correction: bool,
    pub max_grad_norm: f64,

    // The run.
    pub seed: u64,
    /// Steps between two lines of `metrics.jsonl`; a read-back stalls a GPU.
    pub log_every: usize,
    /// Steps between two evaluations; 0 is none but the last.
    pub eval_every: usize,
    /// Batches of an evaluation. How many examples these are is settled when the run begins, so
    /// that another batch size later on does not change what its scores are of.
    pub eval_batches: usize,
    /// Steps between two checkpoints; 0 is none but the last.
    pub save_every: usize,
    /// Checkpoints to keep; 0 is all.
    pub keep_checkpoints: usize,
}

impl Default for PretrainConfig {
    /// ELECTRA-Small of the paper.
    fn default() -> Self {
        PretrainConfig {
            objective: Objective::Electra,
            embedding_size: 128,
            hidden_size: 256,
            num_hidden_layers: 12,
            num_attention_heads: None,
            intermediate_size: None,
            hidden_act: Activation::Gelu,
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            initializer_range: 0.02,
            initializer: Init::Original,
            layer_norm_eps: 1e-12,
            generator_hidden_size: 0.25,
            generator_layers: 1.0,
            generator_attention_heads: None,
            generator_intermediate_size: None,
            generator_dropout: true,
            untied_generator: true,
            untied_generator_embeddings: false,
            uniform_generator: false,
            two_tower_generator: false,
            disentangled_embeddings: false,
            mask_prob: 0.15,
            mask_with_replacement: false,
            temperature: 1.0,
            disallow_correct: false,
            disc_on_masked_only: false,
            gen_weight: 1.0,
            disc_weight: 50.0,
            num_train_steps: 1_000_000,
            batch_size: 128,
            accumulate: 1,
            learning_rate: 5e-4,
            warmup_steps: 10_000,
            schedule: Schedule::Multiplied,
            weight_decay: 0.01,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-6,
            bias_correction: false,
            max_grad_norm: 1.0,
            seed: 0,
            log_every: 100,
            eval_every: 10_000,
            eval_batches: 100,
            save_every: 1000,
            keep_checkpoints: 5,
        }
    }
}

/// The presets by name, with the length their texts are prepared at.
pub const PRESETS: [(&str, usize); 5] =
    [("tiny", 128), ("small", 128), ("small-plus", 512), ("base", 512), ("large", 512)];

/// The settings that a network cannot do without once it has weights.
const NETWORK: [&str; 19] = [
    "objective",
    "embedding_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "max_position_embeddings",
    "type_vocab_size",
    "layer_norm_eps",
    "generator_hidden_size",
    "generator_layers",
    "generator_attention_heads",
    "generator_intermediate_size",
    "untied_generator",
    "untied_generator_embeddings",
    "uniform_generator",
    "two_tower_generator",
    "disentangled_embeddings",
];

impl PretrainConfig {
    /// A preset: `tiny` (ours, for a laptop's CPU), `small` (paper), `small-plus` (the released
    /// ELECTRA-Small), `base` and `large` (paper, table 6).
    ///
    /// # Errors
    /// There is none of that name.
    pub fn preset(name: &str) -> Result<Self> {
        let small = PretrainConfig::default();
        Ok(match name {
            "tiny" => PretrainConfig {
                embedding_size: 64,
                hidden_size: 128,
                num_hidden_layers: 4,
                // Of 32: places are easier to look at with more of them.
                num_attention_heads: Some(4),
                generator_attention_heads: Some(2),
                initializer: Init::FanIn,
                generator_hidden_size: 0.5,
                num_train_steps: 300,
                batch_size: 16,
                learning_rate: 1e-3,
                warmup_steps: 100,
                // A short warm-up without it makes first steps several times too long, and the
                // discriminator never gets over them.
                bias_correction: true,
                beta_2: 0.99,
                hidden_dropout_prob: 0.0,
                attention_probs_dropout_prob: 0.0,
                log_every: 10,
                eval_every: 100,
                eval_batches: 10,
                save_every: 100,
                keep_checkpoints: 2,
                ..small
            },
            "small" => small,
            "small-plus" => {
                PretrainConfig { generator_hidden_size: 1.0, num_train_steps: 4_000_000, ..small }
            }
            "base" => PretrainConfig {
                embedding_size: 768,
                hidden_size: 768,
                generator_hidden_size: 1.0 / 3.0,
                num_train_steps: 766_000,
                batch_size: 256,
                learning_rate: 2e-4,
                ..small
            },
            "large" => PretrainConfig {
                embedding_size: 1024,
                hidden_size: 1024,
                num_hidden_layers: 24,
                mask_prob: 0.25,
                num_train_steps: 400_000,
                batch_size: 2048,
                learning_rate: 2e-4,
                ..small
            },
            _ => {
                let names: Vec<_> = PRESETS.iter().map(|(name, _)| *name).collect();
                return Err(Error::new("--preset", format!("no preset is called {name:?}"))
                    .fix(format!("There are {}.", names.join(", "))));
            }
        })
    }

    /// The length that texts for a preset are prepared at.
    pub fn preset_length(name: &str) -> usize {
        PRESETS.iter().find(|(preset, _)| *preset == name).map_or(128, |(_, length)| *length)
    }

    /// This configuration with some fields replaced; `place` is where they come from.
    ///
    /// # Errors
    /// A field is unknown (one that is near is named), of the wrong kind, or out of range.
    pub fn with(self, place: &str, fields: Map<String, Value>) -> Result<Self> {
        let Value::Object(mut all) = serde_json::to_value(&self).expect("plain data") else {
            unreachable!("a struct is an object")
        };
        for (key, value) in fields {
            if !all.contains_key(&key) {
                return Err(unknown_key(place, &key, &all));
            }
            let before = all.insert(key.clone(), value).expect("it is there");
            let one = Map::from_iter([(key.clone(), all[&key].clone())]);
            serde_json::from_value::<PretrainConfig>(Value::Object(one)).map_err(|e| {
                Error::new(format!("{place}, {key}"), e)
                    .fix(format!("Give a value like {before}, which it is now."))
            })?;
        }
        let config =
            serde_json::from_value(Value::Object(all)).map_err(|e| Error::new(place, e))?;
        PretrainConfig::check(&config)
            .map_err(|e| Error { place: format!("{place}, {}", e.place), ..e })?;
        Ok(config)
    }

    /// # Errors
    /// A number is out of range, or two switches contradict each other; the place is the field.
    pub fn check(&self) -> Result<()> {
        let wrong = |field: &str, problem: &str| Err(Error::new(field, problem));
        let counts = [
            ("embedding_size", self.embedding_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("max_position_embeddings", self.max_position_embeddings),
            ("num_train_steps", self.num_train_steps),
            ("batch_size", self.batch_size),
            ("accumulate", self.accumulate),
            ("log_every", self.log_every),
            ("eval_batches", self.eval_batches),
        ];
        if let Some((field, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return wrong(field, "must be at least 1");
        }
        if self.type_vocab_size < 2 {
            return wrong("type_vocab_size", "must be at least 2: examples have two segments");
        }
        // Far above any use, and far below an overflow.
        let passes = [("batch_size", self.batch_size), ("accumulate", self.accumulate)];
        if let Some((field, _)) = passes.iter().find(|(_, count)| *count > 1 << 20) {
            return wrong(field, "must be at most 1048576");
        }
        let shares = [
            ("generator_hidden_size", self.generator_hidden_size),
            ("generator_layers", self.generator_layers),
            ("mask_prob", self.mask_prob),
            ("learning_rate", self.learning_rate),
        ];
        if let Some((field, _)) = shares.iter().find(|(_, share)| !(*share > 0.0 && *share <= 1.0))
        {
            return wrong(field, "must be above 0 and at most 1");
        }
        let below_one = [
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            ("attention_probs_dropout_prob", self.attention_probs_dropout_prob),
            ("beta_1", self.beta_1),
            ("beta_2", self.beta_2),
        ];
        if let Some((field, _)) = below_one.iter().find(|(_, p)| !(0.0..1.0).contains(p)) {
            return wrong(field, "must be from 0 up to, but not including, 1");
        }
        let positive = [
            ("temperature", self.temperature),
            ("max_grad_norm", self.max_grad_norm),
            ("epsilon", self.epsilon),
            ("initializer_range", self.initializer_range),
            ("layer_norm_eps", self.layer_norm_eps),
        ];
        if let Some((field, _)) = positive.iter().find(|(_, x)| !(*x > 0.0 && x.is_finite())) {
            return wrong(field, "must be above 0");
        }
        let weights = [
            ("gen_weight", self.gen_weight),
            ("disc_weight", self.disc_weight),
            ("weight_decay", self.weight_decay),
        ];
        if let Some((field, _)) = weights.iter().find(|(_, x)| !(*x >= 0.0 && x.is_finite())) {
            return wrong(field, "must not be negative");
        }
        self.check_switches()?;
        // The rest is what any ELECTRA must fulfil.
        let small = self.discriminator(8, 0);
        ElectraConfig::from_json(&small.to_json()).map(drop)?;
        ElectraConfig::from_json(&self.generator(8, 0).to_json()).map(drop)
    }

    fn check_switches(&self) -> Result<()> {
        let clash = |field: &str, problem: &str| Err(Error::new(field, problem));
        if self.uniform_generator && self.objective != Objective::Electra {
            return clash("uniform_generator", "goes with the objective electra only");
        }
        if !self.untied_generator && (self.two_towers() || self.untied_generator_embeddings) {
            return clash("untied_generator", "false leaves the generator nothing of its own");
        }
        let own = self.untied_generator_embeddings || self.uniform_generator;
        if self.disentangled_embeddings
            && (own || !self.untied_generator || self.objective == Objective::Mlm)
        {
            return clash(
                "disentangled_embeddings",
                "needs a generator with its own encoder that shares the embeddings",
            );
        }
        Ok(())
    }

    /// Is the generator's encoder another one than the discriminator's?
    pub fn has_own_generator(&self) -> bool {
        self.untied_generator && self.objective != Objective::Mlm
    }

    /// Does the generator look from both sides instead of through masks?
    pub fn two_towers(&self) -> bool {
        self.two_tower_generator || self.objective == Objective::Electric
    }

    /// `config.json` of the main network.
    pub fn discriminator(&self, vocab_size: usize, pad_token_id: usize) -> ElectraConfig {
        ElectraConfig {
            vocab_size,
            embedding_size: self.embedding_size,
            hidden_size: self.hidden_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads.unwrap_or((self.hidden_size / 64).max(1)),
            intermediate_size: self.intermediate_size.unwrap_or(4 * self.hidden_size),
            hidden_act: self.hidden_act,
            hidden_dropout_prob: self.hidden_dropout_prob,
            attention_probs_dropout_prob: self.attention_probs_dropout_prob,
            max_position_embeddings: self.max_position_embeddings,
            type_vocab_size: self.type_vocab_size,
            initializer_range: self.initializer_range,
            layer_norm_eps: self.layer_norm_eps,
            pad_token_id: Some(pad_token_id),
            objective: (self.objective == Objective::Electric)
                .then_some(DiscriminatorObjective::Electric),
            ..ElectraConfig::default()
        }
    }

    /// `config.json` of the generator: narrower by its share, heads of 64.
    pub fn generator(&self, vocab_size: usize, pad_token_id: usize) -> ElectraConfig {
        let main = self.discriminator(vocab_size, pad_token_id);
        if !self.has_own_generator() {
            return main;
        }
        let part = |whole: usize, share: f64| ((whole as f64 * share).round() as usize).max(1);
        let hidden_size = part(self.hidden_size, self.generator_hidden_size);
        let dropout = |p: f64| if self.generator_dropout { p } else { 0.0 };
        ElectraConfig {
            hidden_size,
            num_hidden_layers: part(self.num_hidden_layers, self.generator_layers),
            num_attention_heads: self
                .generator_attention_heads
                .unwrap_or((hidden_size / 64).max(1)),
            intermediate_size: self.generator_intermediate_size.unwrap_or(4 * hidden_size),
            hidden_dropout_prob: dropout(self.hidden_dropout_prob),
            attention_probs_dropout_prob: dropout(self.attention_probs_dropout_prob),
            objective: None,
            ..main
        }
    }

    /// In which settings this is another network than that one.
    pub fn other_network(&self, that: &PretrainConfig) -> Vec<String> {
        let [this, that] = [self, that].map(|config| serde_json::to_value(config).expect("plain"));
        let differs = |key: &&str| this[*key] != that[*key];
        let described = |key: &str| format!("{key} is {} there, not {}", that[key], this[key]);
        NETWORK.into_iter().filter(differs).map(described).collect()
    }

    pub fn optimizer(&self) -> OptimizerConfig {
        OptimizerConfig {
            learning_rate: self.learning_rate,
            warmup_steps: self.warmup_steps,
            total_steps: self.num_train_steps,
            schedule: self.schedule,
            beta_1: self.beta_1,
            beta_2: self.beta_2,
            epsilon: self.epsilon,
            weight_decay: self.weight_decay,
            bias_correction: self.bias_correction,
            max_grad_norm: self.max_grad_norm,
            ..OptimizerConfig::default()
        }
    }

    /// Multiplications and additions of one update, counted as they are done: table look-ups
    /// cost nothing, the softmax runs on drawn positions only, and backward is twice forward.
    pub fn flop_per_step(&self, vocab_size: usize, seq: usize) -> f64 {
        let examples = (self.batch_size * self.accumulate) as f64;
        let tokens = examples * seq as f64;
        let main = self.discriminator(vocab_size, 0);
        let generator = self.generator(vocab_size, 0);
        let drawn = match self.two_towers() {
            true => tokens,
            false => {
                let masking = crate::masking::Masking::new(self.mask_prob, false, seq);
                examples * masking.max_predictions as f64
            }
        };
        let towers = if self.two_towers() { 2.0 } else { 1.0 };
        let embedding = self.embedding_size as f64;
        let head = drawn
            * (2.0 * towers * generator.hidden_size as f64 * embedding
                + 2.0 * embedding * vocab_size as f64);
        let detect = tokens * 2.0 * (main.hidden_size * (main.hidden_size + 1)) as f64;
        let forward = match self.objective {
            Objective::Mlm => main.flop(tokens, seq) + head,
            _ if self.uniform_generator => main.flop(tokens, seq) + detect,
            _ => main.flop(tokens, seq) + detect + towers * generator.flop(tokens, seq) + head,
        };
        3.0 * forward
    }
}

fn unknown_key(place: &str, key: &str, known: &Map<String, Value>) -> Error {
    let known: Vec<_> = known.keys().collect();
    let error = Error::new(place, format!("there is no setting {key:?}"));
    match nearest(key, &known) {
        Some(near) => error.fix(format!("The nearest one is {near:?}.")),
        None => error.fix(format!("The settings are {}.", listed(&known))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(fields: Value) -> Result<PretrainConfig> {
        let Value::Object(fields) = fields else { panic!("an object") };
        PretrainConfig::default().with("--set", fields)
    }

    #[test]
    fn presets_are_whole_and_sized_as_in_the_paper() {
        for (name, length) in PRESETS {
            let config = PretrainConfig::preset(name).unwrap();
            config.check().unwrap();
            assert!(length <= config.max_position_embeddings);
        }
        let sizes = |name: &str| {
            let generator = PretrainConfig::preset(name).unwrap().generator(30522, 0);
            (
                generator.hidden_size,
                generator.num_attention_heads,
                generator.intermediate_size,
                generator.num_hidden_layers,
            )
        };
        assert_eq!(sizes("small"), (64, 1, 256, 12));
        assert_eq!(sizes("small-plus"), (256, 4, 1024, 12));
        assert_eq!(sizes("base"), (256, 4, 1024, 12));
        assert_eq!(sizes("large"), (256, 4, 1024, 24));
    }

    #[test]
    fn heads_and_inner_width_follow_the_hidden_size() {
        let config = with(json!({"hidden_size": 512})).unwrap().discriminator(100, 0);
        assert_eq!((config.num_attention_heads, config.intermediate_size), (8, 2048));
    }

    #[test]
    fn a_wrong_key_is_told_its_nearest() {
        let error = with(json!({"learning_rte": 1e-3})).unwrap_err().to_string();
        assert!(error.contains("learning_rte") && error.contains("\"learning_rate\""), "{error}");
    }

    #[test]
    fn values_of_the_wrong_kind_or_size_name_their_field() {
        for (fields, field) in [
            (json!({"batch_size": "many"}), "batch_size"),
            (json!({"batch_size": 0}), "batch_size"),
            (json!({"mask_prob": 1.5}), "mask_prob"),
            (json!({"hidden_size": 250, "num_attention_heads": 4}), "hidden_size"),
            (json!({"objective": "gpt"}), "objective"),
            (json!({"uniform_generator": true, "objective": "mlm"}), "uniform_generator"),
            (json!({"untied_generator": false, "two_tower_generator": true}), "untied_generator"),
            (json!({"disentangled_embeddings": true, "uniform_generator": true}), "disentangled"),
        ] {
            let error = with(fields).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }

    /// A step of Small at 128 x 128 costs 1.15 TFLOP.
    #[test]
    fn small_costs_what_was_counted_by_hand() {
        let tera = PretrainConfig::default().flop_per_step(30522, 128) / 1e12;
        assert!((tera - 1.15).abs() < 0.02, "{tera}");
    }
}
