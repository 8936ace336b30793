//! The shape of a network: Hugging Face's `config.json`, field for field.
//!
//! Mirrors `ElectraConfig` of transformers; a missing field takes the default that transformers
//! gives it, and an unknown one is kept and written back.

pub use electra_host::math::Activation;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// `config.json` of an ELECTRA model. The defaults are those of ELECTRA-Small.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ElectraConfig {
    pub architectures: Option<Vec<String>>,
    pub model_type: String,
    pub vocab_size: usize,
    /// Width of the embedding tables; a projection follows where it differs from `hidden_size`.
    pub embedding_size: usize,
    /// Width of the layers, all attention heads together.
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    /// Of a layer; each is `hidden_size / num_attention_heads` wide.
    pub num_attention_heads: usize,
    /// Width between the two matrices of a feed-forward block.
    pub intermediate_size: usize,
    pub hidden_act: Activation,
    /// The share that is dropped of the embeddings and of the output of each half of a layer.
    pub hidden_dropout_prob: f64,
    /// The share of attention weights that is dropped.
    pub attention_probs_dropout_prob: f64,
    /// Dropout of a classification or tagging head; `hidden_dropout_prob` where absent.
    pub classifier_dropout: Option<f64>,
    /// The most tokens that a text may have.
    pub max_position_embeddings: usize,
    /// Segments of a text that the network tells apart: 2, for pairs.
    pub type_vocab_size: usize,
    /// Standard deviation of freshly drawn weights.
    pub initializer_range: f64,
    pub layer_norm_eps: f64,
    pub pad_token_id: Option<usize>,
    pub position_embedding_type: PositionEmbedding,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id2label: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label2id: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem_type: Option<String>,
    /// Ours: which classification head the weights are for.
    #[serde(skip_serializing_if = "ClassificationHead::is_huggingface")]
    pub classification_head: ClassificationHead,
    /// Ours: which question-answering head the weights are for.
    #[serde(skip_serializing_if = "QaHead::is_huggingface")]
    pub qa_head: QaHead,
    /// Ours: the scores that a regression's 0 and 1 stand for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score_range: Option<(f64, f64)>,
    /// Ours: a question has no answer where the score of "no answer" is above this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_answer_threshold: Option<f64>,
    /// Ours: the weights are as drawn, never trained.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub untrained: bool,
    /// Ours: what a discriminator was pre-trained for, where that is not replaced-token detection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective: Option<DiscriminatorObjective>,
    /// Everything else that stood in the file.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Learned tables of absolute positions alone: a config that asks for relative ones is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositionEmbedding {
    Absolute,
}

/// The two classification heads in use for ELECTRA.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassificationHead {
    /// transformers: dropout, dense, GELU, dropout, `out_proj`.
    #[default]
    Huggingface,
    /// google-research/electra: dropout and one dense layer. transformers has no class for it.
    Original,
}

/// The two question-answering heads in use for ELECTRA.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QaHead {
    /// transformers: one dense layer; start and end apart from each other.
    #[default]
    Huggingface,
    /// google-research/electra: the end given the start, and a classifier that tells whether there
    /// is an answer. transformers has no class for it.
    Original,
}

/// What the logits of a discriminator are, where they do not say "replaced".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiscriminatorObjective {
    /// Energies of tokens (Electric).
    Electric,
}

impl ClassificationHead {
    fn is_huggingface(&self) -> bool {
        *self == ClassificationHead::Huggingface
    }
}

impl QaHead {
    fn is_huggingface(&self) -> bool {
        *self == QaHead::Huggingface
    }
}

impl Default for ElectraConfig {
    fn default() -> Self {
        ElectraConfig {
            architectures: None,
            model_type: "electra".into(),
            vocab_size: 30522,
            embedding_size: 128,
            hidden_size: 256,
            num_hidden_layers: 12,
            num_attention_heads: 4,
            intermediate_size: 1024,
            hidden_act: Activation::Gelu,
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            classifier_dropout: None,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            initializer_range: 0.02,
            layer_norm_eps: 1e-12,
            pad_token_id: Some(0),
            position_embedding_type: PositionEmbedding::Absolute,
            id2label: None,
            label2id: None,
            problem_type: None,
            classification_head: ClassificationHead::Huggingface,
            qa_head: QaHead::Huggingface,
            score_range: None,
            no_answer_threshold: None,
            untrained: false,
            objective: None,
            other: Map::new(),
        }
    }
}

impl ElectraConfig {
    /// Reads and checks a `config.json`. A BERT's is read as that of its body, which is an ELECTRA
    /// without a head: tables as wide as the layers, and no projection between.
    ///
    /// # Errors
    /// It is no such file, or a field is out of range.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let wrong = |e: serde_json::Error| {
            Error::new("config.json", e).fix("It must be the config.json of an ELECTRA or BERT.")
        };
        let mut config: ElectraConfig = serde_json::from_slice(bytes).map_err(wrong)?;
        if config.model_type == "bert" {
            config = bert_body(bytes).map_err(wrong)?;
        }
        config.check()?;
        Ok(config)
    }

    /// The file, its own fields in the order above and the unknown ones behind them.
    pub fn to_json(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("a config is plain data");
        text.push(b'\n');
        text
    }

    /// The class labels in the order of the logits; None where the file names none, or not all.
    pub fn labels(&self) -> Option<Vec<String>> {
        let map = self.id2label.as_ref()?;
        let name = |i: usize| map.get(&i.to_string()).and_then(Value::as_str).map(String::from);
        (0..map.len()).map(name).collect()
    }

    /// Writes the class labels into `id2label` and `label2id`.
    pub fn set_labels(&mut self, labels: &[String]) {
        let ids = labels.iter().enumerate();
        self.id2label = Some(ids.clone().map(|(i, l)| (i.to_string(), l.clone().into())).collect());
        self.label2id = Some(ids.map(|(i, l)| (l.clone(), i.into())).collect());
        self.problem_type = Some("single_label_classification".into());
    }

    /// FLOP, multiplications and additions, of the encoder's matrix products in one forward pass
    /// over that many tokens, in texts of `seq` tokens each.
    pub fn flop(&self, tokens: f64, seq: usize) -> f64 {
        let (hidden, inner) = (self.hidden_size as f64, self.intermediate_size as f64);
        // Queries, keys, values and output; feed-forward; scores, and the values they weigh.
        let layer =
            2.0 * (4.0 * hidden * hidden + 2.0 * hidden * inner) + 4.0 * seq as f64 * hidden;
        let project = if self.embedding_size == self.hidden_size {
            0.0
        } else {
            2.0 * self.embedding_size as f64 * hidden
        };
        tokens * (self.num_hidden_layers as f64 * layer + project)
    }

    /// The width of one attention head.
    pub fn head_size(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    fn check(&self) -> Result<()> {
        let wrong = |field: &str, problem: String| {
            Err(Error::new(format!("config.json, {field}"), problem))
        };
        if self.model_type != "electra" {
            let found = &self.model_type;
            return wrong("model_type", format!("{found:?} is neither \"electra\" nor \"bert\""));
        }
        if self.other.get("is_decoder").and_then(Value::as_bool) == Some(true) {
            return wrong("is_decoder", "a decoder reads a text in one direction only".into());
        }
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("embedding_size", self.embedding_size),
            ("hidden_size", self.hidden_size),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ];
        // Far above any ELECTRA; a larger number is a damaged file, and would end in an
        // allocation that kills the program.
        const LIMIT: usize = 1 << 24;
        for (field, size) in sizes {
            if size == 0 || size > LIMIT {
                return wrong(field, format!("{size} is not between 1 and {LIMIT}"));
            }
        }
        if self.num_hidden_layers > 1000 {
            return wrong("num_hidden_layers", format!("{} is over 1000", self.num_hidden_layers));
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let heads = self.num_attention_heads;
            return wrong(
                "hidden_size",
                format!("{} does not divide by {heads} heads", self.hidden_size),
            );
        }
        for (field, p) in [
            ("hidden_dropout_prob", Some(self.hidden_dropout_prob)),
            ("attention_probs_dropout_prob", Some(self.attention_probs_dropout_prob)),
            ("classifier_dropout", self.classifier_dropout),
        ] {
            if p.is_some_and(|p| !(0.0..1.0).contains(&p)) {
                return wrong(field, "must be from 0 up to, but not including, 1".into());
            }
        }
        if self.id2label.is_some() && !self.labels().is_some_and(|labels| distinct(&labels)) {
            return wrong("id2label", "must name the labels \"0\", \"1\", .., each another".into());
        }
        if !(self.layer_norm_eps > 0.0 && self.initializer_range > 0.0) {
            return wrong("layer_norm_eps, initializer_range", "must be above 0".into());
        }
        Ok(())
    }
}

/// What `BertConfig` of transformers takes where a field is missing, and ELECTRA's does not.
const BERT_BASE: [(&str, usize); 4] = [
    ("hidden_size", 768),
    ("num_hidden_layers", 12),
    ("num_attention_heads", 12),
    ("intermediate_size", 3072),
];

fn bert_body(bytes: &[u8]) -> serde_json::Result<ElectraConfig> {
    let mut fields: Map<String, Value> = serde_json::from_slice(bytes)?;
    for (field, size) in BERT_BASE {
        fields.entry(field).or_insert(size.into());
    }
    // Labels are of a head that stays behind.
    for field in ["id2label", "label2id", "problem_type"] {
        fields.remove(field);
    }
    fields.insert("embedding_size".into(), fields["hidden_size"].clone());
    fields.insert("model_type".into(), "electra".into());
    fields.insert("architectures".into(), vec!["ElectraModel"].into());
    serde_json::from_value(fields.into())
}

fn distinct(labels: &[String]) -> bool {
    labels.iter().collect::<std::collections::HashSet<_>>().len() == labels.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_fields_are_electra_small() {
        let config = ElectraConfig::from_json(b"{}").unwrap();
        assert_eq!(config, ElectraConfig::default());
    }

    #[test]
    fn unknown_fields_survive() {
        let config = ElectraConfig::from_json(br#"{"generator_size": "0.25"}"#).unwrap();
        let again: Value = serde_json::from_slice(&config.to_json()).unwrap();
        assert_eq!(again["generator_size"], "0.25");
    }

    #[test]
    fn labels_round_trip_in_order() {
        let labels: Vec<String> = (0..12).map(|i| format!("label {i}")).collect();
        let mut config = ElectraConfig::default();
        config.set_labels(&labels);
        assert_eq!(ElectraConfig::from_json(&config.to_json()).unwrap().labels(), Some(labels));
    }

    #[test]
    fn a_bert_is_a_body_without_a_head() {
        let json = br#"{"model_type": "bert", "architectures": ["BertForMaskedLM"],
            "num_hidden_layers": 6, "id2label": {"0": "a"}}"#;
        let config = ElectraConfig::from_json(json).unwrap();
        assert_eq!((config.embedding_size, config.hidden_size), (768, 768));
        assert_eq!((config.num_hidden_layers, config.num_attention_heads), (6, 12));
        assert_eq!(config.architectures, Some(vec!["ElectraModel".to_string()]));
        assert_eq!((config.model_type.as_str(), config.id2label), ("electra", None));
    }

    #[test]
    fn impossible_fields_are_named() {
        for (json, field) in [
            (r#"{"model_type": "roberta"}"#, "model_type"),
            (r#"{"model_type": "bert", "is_decoder": true}"#, "is_decoder"),
            (r#"{"hidden_size": 255}"#, "hidden_size"),
            (r#"{"vocab_size": 99999999999999}"#, "vocab_size"),
            (r#"{"hidden_dropout_prob": 1.5}"#, "hidden_dropout_prob"),
            (r#"{"hidden_act": "gelu_10"}"#, "gelu_10"),
        ] {
            let error = ElectraConfig::from_json(json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }
}
