//! The table of names: a parameter's place in the module tree, or a slot of a layer's, and its Hugging
//! Face name.

use super::weights::HostTensor;
use crate::kernels::{Layout, Slot};
use crate::model::told_layout;

/// A field of ours and the words Hugging Face has for it; a field not listed is called the same.
const NAMES: [(&str, &str); 15] = [
    // Where the embeddings' projection lies in transformers, too.
    ("encoder", ""),
    ("layers", "encoder.layer"),
    ("layer_norm", "LayerNorm"),
    ("gamma", "weight"),
    ("beta", "bias"),
    ("head", ""),
    // In pre-training: `generator.generator_predictions.dense.weight`.
    ("discriminator", "discriminator_predictions"),
    ("predictions", "generator_predictions"),
    ("Discriminator", "discriminator_predictions"),
    ("Generator", "generator_predictions"),
    ("Classifier", "classifier"),
    // In these heads the field below carries the whole name.
    ("OriginalClassifier", ""),
    ("Tokens", ""),
    ("Span", ""),
    ("JointSpan", ""),
];

/// What Hugging Face calls a layer's tensors.
fn slot_name(slot: Slot) -> &'static str {
    match slot {
        Slot::Query => "attention.self.query.weight",
        Slot::Key => "attention.self.key.weight",
        Slot::Value => "attention.self.value.weight",
        Slot::AttentionOutput => "attention.output.dense.weight",
        Slot::Intermediate => "intermediate.dense.weight",
        Slot::Output => "output.dense.weight",
        Slot::QueryBias => "attention.self.query.bias",
        Slot::KeyBias => "attention.self.key.bias",
        Slot::ValueBias => "attention.self.value.bias",
        Slot::AttentionOutputBias => "attention.output.dense.bias",
        Slot::IntermediateBias => "intermediate.dense.bias",
        Slot::OutputBias => "output.dense.bias",
        Slot::AttentionGamma => "attention.output.LayerNorm.weight",
        Slot::AttentionBeta => "attention.output.LayerNorm.bias",
        Slot::OutputGamma => "output.LayerNorm.weight",
        Slot::OutputBeta => "output.LayerNorm.bias",
    }
}

/// Tensors that files carry and the network does not: a buffer of old versions.
pub(super) const IGNORED: &str = "electra.embeddings.position_ids";
pub(super) const WORD_EMBEDDINGS: &str = "electra.embeddings.word_embeddings.weight";
/// The generator's softmax weights: the word embeddings once more.
pub(super) const TIED: &str = "generator_lm_head.weight";

/// Where a visitor stands in the module tree.
#[derive(Debug, Default)]
pub(crate) struct Place {
    fields: Vec<String>,
    containers: Vec<String>,
    /// The last that was told.
    layout: Option<Layout>,
}

impl Place {
    pub(crate) fn enter(&mut self, field: &str, container: &str) {
        self.layout = told_layout(field, container).or(self.layout);
        self.fields.push(field.to_string());
        self.containers.push(container.to_string());
    }

    pub(crate) fn exit(&mut self) {
        self.fields.pop();
        self.containers.pop();
    }

    /// The Hugging Face name of the parameter here. A layer has one parameter, `..layer.N.weights`, for
    /// all of its names.
    pub(crate) fn name(&self) -> String {
        name_of(&self.fields)
    }

    /// So many of the parameter's elements decay, from the first on: all `count`, but of a layer its
    /// matrices.
    pub(crate) fn decaying(&self, count: usize) -> usize {
        self.layer().map_or(count, Layout::decaying)
    }

    /// What the parameter here, of that shape, consists of.
    pub(super) fn tensors(&self, shape: &[usize]) -> Vec<Named> {
        let Some(layout) = self.layer() else {
            let (name, shape) = (self.name(), shape.to_vec());
            return vec![Named { name, shape, transposed: self.is_linear_weight(), slot: None }];
        };
        let layer = name_of(&self.fields[..self.fields.len() - 1]);
        let named = |slot| {
            let shape = layout.shape(slot);
            let name = format!("{layer}.{}", slot_name(slot));
            Named { name, transposed: shape.len() == 2, shape, slot: Some((layout, slot)) }
        };
        Slot::ALL.map(named).into()
    }

    /// Is this the matrix of a Linear, which PyTorch holds transposed?
    fn is_linear_weight(&self) -> bool {
        self.fields.last().is_some_and(|field| field == "weight")
            && self.containers.last().is_some_and(|container| container.ends_with("Linear"))
    }

    /// Of the weights of a layer, how they lie.
    fn layer(&self) -> Option<Layout> {
        let is_layer = |container: &String| container.ends_with("EncoderLayer");
        self.layout.filter(|_| self.containers.last().is_some_and(is_layer))
    }
}

fn name_of(fields: &[String]) -> String {
    let words = fields.iter().map(|field| {
        NAMES.iter().find(|(ours, _)| ours == field).map_or(field.as_str(), |(_, hf)| hf)
    });
    let name = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(".");
    // The output bias stands beside the generator's head, not in it.
    name.replace("generator_predictions.bias", "generator_lm_head.bias")
}

/// A tensor that Hugging Face has a name for: a parameter, or a part of one.
#[derive(Debug)]
pub(super) struct Named {
    pub name: String,
    /// As the network has it.
    pub shape: Vec<usize>,
    /// Does PyTorch hold it the other way?
    transposed: bool,
    /// Where it is part of a layer's parameter.
    slot: Option<(Layout, Slot)>,
}

impl Named {
    /// As files have it.
    pub fn stored_shape(&self) -> Vec<usize> {
        let mut shape = self.shape.clone();
        if self.transposed {
            shape.reverse();
        }
        shape
    }

    /// Out of the values of its parameter, as files have it.
    pub fn read(&self, parameter: &[f32]) -> HostTensor {
        let values = match self.slot {
            Some((layout, slot)) => layout.read(slot, parameter),
            None => parameter.to_vec(),
        };
        let tensor = HostTensor { shape: self.shape.clone(), values };
        if self.transposed { tensor.transposed() } else { tensor }
    }

    /// The values as the network has them, from a tensor of the [`Named::stored_shape`].
    pub fn values(&self, stored: HostTensor) -> Vec<f32> {
        if self.transposed { stored.transposed().values } else { stored.values }
    }
}

/// The values of a parameter, from those of all that it consists of.
pub(super) fn joined(mut parts: Vec<(Named, Vec<f32>)>) -> Vec<f32> {
    let Some((Named { slot: Some((layout, _)), .. }, _)) = parts.first() else {
        let (_, values) = parts.pop().expect("a parameter that is no layer's has one");
        return values;
    };
    let mut all = vec![0.0; layout.floats()];
    for (named, values) in &parts {
        let (layout, slot) = named.slot.expect("all are parts of a layer");
        layout.write(slot, values, &mut all);
    }
    all
}
