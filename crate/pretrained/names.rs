//! The table of names: a parameter's place in the module tree and its Hugging Face name.

/// A field of ours and the words Hugging Face has for it; a field not listed is called the same.
const NAMES: [(&str, &str); 23] = [
    // Where the embeddings' projection lies in transformers, too.
    ("encoder", ""),
    ("layers", "encoder.layer"),
    ("layer_norm", "LayerNorm"),
    ("query", "attention.self.query"),
    ("key", "attention.self.key"),
    ("value", "attention.self.value"),
    ("attention_output", "attention.output.dense"),
    ("attention_norm", "attention.output.LayerNorm"),
    ("intermediate", "intermediate.dense"),
    ("output", "output.dense"),
    ("output_norm", "output.LayerNorm"),
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

/// Tensors that files carry and the network does not: a buffer of old versions.
pub(super) const IGNORED: &str = "electra.embeddings.position_ids";
pub(super) const WORD_EMBEDDINGS: &str = "electra.embeddings.word_embeddings.weight";
/// The generator's softmax weights: the word embeddings once more.
pub(super) const TIED: &str = "generator_lm_head.weight";

/// Where a visitor stands in the module tree.
#[derive(Debug, Default)]
pub(crate) struct Place(Vec<String>, Vec<String>);

impl Place {
    pub(crate) fn enter(&mut self, field: &str, container: &str) {
        self.0.push(field.to_string());
        self.1.push(container.to_string());
    }

    pub(crate) fn exit(&mut self) {
        self.0.pop();
        self.1.pop();
    }

    /// What our module calls the parameter here.
    pub(super) fn field(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }

    /// The Hugging Face name of the parameter here.
    pub(crate) fn name(&self) -> String {
        let words = self.0.iter().map(|field| {
            NAMES.iter().find(|(ours, _)| ours == field).map_or(field.as_str(), |(_, hf)| hf)
        });
        let name = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(".");
        // The output bias stands beside the generator's head, not in it.
        name.replace("generator_predictions.bias", "generator_lm_head.bias")
    }

    /// Is this the matrix of a Linear, which PyTorch holds transposed?
    pub(crate) fn is_linear_weight(&self) -> bool {
        self.0.last().is_some_and(|field| field == "weight")
            && self.1.last().is_some_and(|container| container.ends_with("Linear"))
    }
}
