//! Generator and discriminator in one module, round one set of embedding tables.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use safetensors::Dtype;

use super::config::{Objective, PretrainConfig};
use super::variants::{self, Delta};
use crate::error::Result;
use crate::heads::{Architecture, DiscriminatorHead, GeneratorHead};
use crate::kernels::DropoutMasks;
use crate::model::{Dropout, ElectraModel, Embeddings, Encoder, Inputs, additive_mask};
use crate::pretrained::{self, Fresh, HostTensor, ModelFiles, Tensors};

/// Everything that pre-training trains.
#[derive(Module, Debug)]
pub struct Pretraining {
    /// The main network: the body of the discriminator. The generator shares its embeddings.
    pub electra: ElectraModel,
    /// The head alone, which stands on `electra`; absent where the objective is MLM.
    pub discriminator: Option<DiscriminatorHead>,
    /// Absent where replacements are drawn evenly.
    pub generator: Option<Generator>,
    /// Of a variant (GDES): what the discriminator adds to the shared tables.
    pub delta: Option<Delta>,
}

/// The network that guesses masked tokens.
#[derive(Module, Debug)]
pub struct Generator {
    /// Absent where it shares the main network's.
    pub embeddings: Option<Embeddings>,
    /// Absent where it is the main network's: the objective MLM, or `untied_generator` off.
    pub encoder: Option<Encoder>,
    /// Of a variant: where there are two towers, the second.
    pub backward: Option<Encoder>,
    pub predictions: GeneratorHead,
    dropout: Dropout,
}

impl Pretraining {
    /// The network with unset weights.
    pub fn new(config: &PretrainConfig, vocab_size: usize, device: &Device) -> Self {
        let main = config.discriminator(vocab_size, 0);
        let generator = || Generator::new(config, vocab_size, device);
        Pretraining {
            electra: ElectraModel::new(&main, device),
            discriminator: (config.objective != Objective::Mlm)
                .then(|| DiscriminatorHead::new(&main, device)),
            generator: (!config.uniform_generator).then(generator),
            delta: config.disentangled_embeddings.then(|| Delta::new(&main, device)),
        }
    }

    /// With weights drawn from `seed` as google-research/electra draws them.
    pub fn fresh(config: &PretrainConfig, vocab_size: usize, device: &Device) -> Self {
        pretrained::draw_all(Self::new(config, vocab_size, device), fresh(config, |_| true))
    }

    /// With exactly these weights, by their names; `file` is where they come from.
    ///
    /// # Errors
    /// A tensor is missing, unused or mis-shaped.
    pub fn with_weights(
        config: &PretrainConfig,
        vocab_size: usize,
        file: &str,
        tensors: Tensors<'_>,
        device: &Device,
    ) -> Result<Self> {
        pretrained::fill_from(Self::new(config, vocab_size, device), file, tensors, None)
    }

    /// With the weights of a discriminator, or of a masked language model in its place, and perhaps
    /// of a generator, by their Hugging Face names. What they lack beside their bodies is fresh; the
    /// notes say what.
    ///
    /// # Errors
    /// A tensor is missing, unused or mis-shaped.
    pub fn from_folders(
        config: &PretrainConfig,
        vocab_size: usize,
        main: BTreeMap<String, HostTensor>,
        generator: Option<BTreeMap<String, HostTensor>>,
        device: &Device,
    ) -> Result<(Self, Vec<&'static str>)> {
        let network = Self::new(config, vocab_size, device);
        let alone = generator.is_none();
        let mut tensors = network.main_tensors(main, alone && !config.has_own_generator());
        let own_tables = config.untied_generator_embeddings;
        let own_body = config.has_own_generator();
        for (name, tensor) in generator.into_iter().flatten() {
            let Some(rest) = name.strip_prefix("electra.") else {
                tensors.insert(format!("generator.{name}"), tensor);
                continue;
            };
            // What is shared is the discriminator's.
            if own_body && (own_tables || !rest.starts_with("embeddings.")) {
                tensors.insert(format!("generator.{rest}"), tensor);
            }
        }
        let notes = network.lacking(&tensors);
        let allowed: fn(&str) -> bool = match alone {
            true => |name| !name.starts_with("electra."),
            false => |name| !name.starts_with("electra.") && !name.starts_with("generator."),
        };
        let fresh = Some(fresh(config, allowed));
        let tensors = tensors.into_iter().map(|(name, tensor)| (name, tensor.into())).collect();
        Ok((pretrained::fill_from(network, "--init-from", tensors, fresh)?, notes))
    }

    /// What the main network takes of a folder: its body, and the head that it has a place for. Of
    /// a masked language model that is the generator's, where `guesses`.
    fn main_tensors(
        &self,
        folder: BTreeMap<String, HostTensor>,
        guesses: bool,
    ) -> BTreeMap<String, HostTensor> {
        let place = |name: String| match name.split_once('_').map(|(head, _)| head) {
            Some("generator") => guesses.then(|| format!("generator.{name}")),
            Some("discriminator") => self.discriminator.as_ref().map(|_| name),
            _ => Some(name),
        };
        folder.into_iter().filter_map(|(name, tensor)| Some((place(name)?, tensor))).collect()
    }

    /// Which parts these tensors leave out, so that their weights are fresh.
    fn lacking(&self, tensors: &BTreeMap<String, HostTensor>) -> Vec<&'static str> {
        let lack = |part: &str| !tensors.keys().any(|name| name.starts_with(part));
        let generator = self.generator.as_ref();
        let mut notes = Vec::new();
        if self.discriminator.is_some() && lack("discriminator_") {
            notes.push("the discriminator's head is fresh");
        }
        if generator.is_some_and(|generator| generator.encoder.is_some()) && lack("generator.") {
            notes.push("the generator is fresh");
        } else if generator.is_some() && lack("generator.generator_") {
            notes.push("the generator's head is fresh");
        }
        notes
    }

    /// The main network's last hidden states, `[batch, seq, hidden]`.
    pub fn main_hidden(&self, inputs: &Inputs, dropout: &mut DropoutMasks) -> Tensor<3> {
        let embeddings = &self.electra.embeddings;
        let embedded = match &self.delta {
            None => embeddings.forward(inputs, dropout),
            Some(delta) => delta.embed(embeddings, inputs, dropout),
        };
        let mask = additive_mask(inputs.attention_mask.clone());
        self.electra.encoder.forward(embedded, mask, dropout)
    }

    /// The generator's word embeddings, which its softmax is tied to: `[vocab, embedding]`.
    pub fn word_table(&self) -> Tensor<2> {
        self.generator_embeddings().word_embeddings.weight.val()
    }

    fn generator_embeddings(&self) -> &Embeddings {
        let own = self.generator.as_ref().and_then(|generator| generator.embeddings.as_ref());
        own.unwrap_or(&self.electra.embeddings)
    }

    /// The generator's last hidden states: `[batch, seq, width]`, of two towers twice that wide.
    pub fn generator_hidden(&self, inputs: &Inputs, dropout: &mut DropoutMasks) -> Tensor<3> {
        let generator = self.generator.as_ref().expect("asked for where there is one");
        let Some(encoder) = &generator.encoder else {
            return self.electra.forward(inputs, dropout);
        };
        let embedded = self.generator_embeddings().normalised(inputs);
        let embedded = generator.dropout.forward(embedded, dropout);
        if let Some(backward) = &generator.backward {
            return variants::both_sides([encoder, backward], embedded, inputs, dropout);
        }
        encoder.forward(embedded, additive_mask(inputs.attention_mask.clone()), dropout)
    }
}

impl Generator {
    fn new(config: &PretrainConfig, vocab_size: usize, device: &Device) -> Self {
        let sizes = config.generator(vocab_size, 0);
        let apart = config.has_own_generator();
        let towers = if config.two_towers() { 2 } else { 1 };
        Generator {
            embeddings: (apart && config.untied_generator_embeddings)
                .then(|| Embeddings::new(&sizes, device)),
            encoder: apart.then(|| Encoder::new(&sizes, device)),
            backward: (apart && towers == 2).then(|| Encoder::new(&sizes, device)),
            predictions: GeneratorHead::over(towers * sizes.hidden_size, &sizes, device),
            dropout: Dropout { prob: sizes.hidden_dropout_prob },
        }
    }
}

fn fresh(config: &PretrainConfig, allowed: fn(&str) -> bool) -> Fresh {
    let PretrainConfig { seed, initializer_range: std, initializer: init, .. } = *config;
    Fresh { seed, std, init, allowed }
}

// ---------------------------------------------------------------------------------------------
// Hugging Face folders

/// The folders that a trained network is taken away in, by name: `discriminator`, `generator`.
/// A generator of two towers has no class in transformers and none is written.
///
/// # Errors
/// A value has no room in `dtype`.
pub fn export(
    tensors: &BTreeMap<String, HostTensor>,
    config: &PretrainConfig,
    vocab_size: usize,
    pad_token_id: usize,
    dtype: Dtype,
) -> Result<Vec<(&'static str, ModelFiles)>> {
    let mut folders = Vec::new();
    if config.objective != Objective::Mlm {
        let sizes = config.discriminator(vocab_size, pad_token_id);
        let tensors = discriminator_tensors(tensors);
        let files = pretrained::model_files(&tensors, &sizes, Architecture::PreTraining, dtype)?;
        folders.push(("discriminator", files));
    }
    if !config.uniform_generator && !config.two_towers() {
        let sizes = config.generator(vocab_size, pad_token_id);
        let tensors = generator_tensors(tensors);
        let files = pretrained::model_files(&tensors, &sizes, Architecture::MaskedLm, dtype)?;
        folders.push(("generator", files));
    }
    Ok(folders)
}

fn discriminator_tensors(all: &BTreeMap<String, HostTensor>) -> BTreeMap<String, HostTensor> {
    let own = |name: &&String| name.starts_with("electra.") || name.starts_with("discriminator_");
    let names = all.keys().filter(own);
    names.map(|name| (name.clone(), variants::with_delta(name, all))).collect()
}

fn generator_tensors(all: &BTreeMap<String, HostTensor>) -> BTreeMap<String, HostTensor> {
    let own = all.keys().any(|name| name.starts_with("generator.embeddings."));
    let tied = !all.keys().any(|name| name.starts_with("generator.encoder."));
    let of_the_main = |name: &str| match name.starts_with("electra.embeddings.") {
        true => !own,
        false => tied && name.starts_with("electra."),
    };
    let named = |name: &String| match name.strip_prefix("generator.") {
        Some(rest) if rest.starts_with("generator_") => Some(rest.to_string()),
        Some(rest) => Some(format!("electra.{rest}")),
        None => of_the_main(name).then(|| name.clone()),
    };
    all.iter().filter_map(|(name, tensor)| Some((named(name)?, tensor.clone()))).collect()
}
