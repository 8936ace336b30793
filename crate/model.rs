//! The ELECTRA encoder: the whole network below the heads.
//!
//! Mirrors `ElectraModel` in transformers' `modeling_electra.py` and `modeling.py` of
//! google-research/electra: BERT with post-LayerNorm and no pooler, over embedding tables that
//! may be narrower than the hidden size.

use burn::module::{Module, Param};
use burn::nn::{Embedding, EmbeddingConfig, Initializer, Linear, LinearConfig};
use burn::tensor::module::embedding;
use burn::tensor::{Device, Int, Tensor, activation};

use crate::config::{Activation, ElectraConfig};
use crate::kernels::{self, DropoutMasks, gelu};

/// One padded batch, as the network takes it.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// `[batch, seq]`
    pub input_ids: Tensor<2, Int>,
    /// `[batch, seq]`, below `type_vocab_size`.
    pub token_type_ids: Tensor<2, Int>,
    /// `[batch, seq]`, 1 on real tokens and 0 on padding.
    pub attention_mask: Tensor<2>,
}

/// Every layer's output, for tests and for looking inside.
#[derive(Debug, Clone)]
pub struct Activations {
    /// `[batch, seq, embedding]`, after LayerNorm and before the projection.
    pub embeddings: Tensor<3>,
    /// `[batch, seq, hidden]` each: the projected embeddings, then every layer.
    pub hidden_states: Vec<Tensor<3>>,
}

impl Activations {
    /// The last layer's output, `[batch, seq, hidden]`.
    pub fn last(mut self) -> Tensor<3> {
        self.hidden_states.pop().expect("there is at least the projected embedding")
    }
}

/// Embeddings and encoder.
#[derive(Module, Debug)]
pub struct ElectraModel {
    pub embeddings: Embeddings,
    pub encoder: Encoder,
}

impl ElectraModel {
    pub fn new(config: &ElectraConfig, device: &Device) -> Self {
        ElectraModel {
            embeddings: Embeddings::new(config, device),
            encoder: Encoder::new(config, device),
        }
    }

    /// # Shapes
    /// - output: `[batch, seq, hidden]`
    pub fn forward(&self, inputs: &Inputs, dropout: &mut DropoutMasks) -> Tensor<3> {
        self.forward_all(inputs, dropout).last()
    }

    /// The same, keeping what every layer gave.
    pub fn forward_all(&self, inputs: &Inputs, dropout: &mut DropoutMasks) -> Activations {
        let embeddings = self.embeddings.forward(inputs, dropout);
        let mask = additive_mask(inputs.attention_mask.clone());
        let hidden_states = self.encoder.forward_all(embeddings.clone(), mask, dropout);
        Activations { embeddings, hidden_states }
    }
}

/// The network between the embeddings and the head. The generator has one of its own.
#[derive(Module, Debug)]
pub struct Encoder {
    /// Absent where `embedding_size == hidden_size`.
    pub embeddings_project: Option<Linear>,
    pub layers: Vec<EncoderLayer>,
}

impl Encoder {
    pub fn new(config: &ElectraConfig, device: &Device) -> Self {
        let (narrow, wide) = (config.embedding_size, config.hidden_size);
        let layer = |_| EncoderLayer::new(config, device);
        Encoder {
            embeddings_project: (narrow != wide).then(|| linear(narrow, wide, device)),
            layers: (0..config.num_hidden_layers).map(layer).collect(),
        }
    }

    /// # Shapes
    /// - embeddings: `[batch, seq, embedding]`, mask: `[batch, 1, 1 or seq, seq]`
    /// - output: `[batch, seq, hidden]` each: the projected embeddings, then every layer
    pub fn forward_all(
        &self,
        embeddings: Tensor<3>,
        mask: Tensor<4>,
        dropout: &mut DropoutMasks,
    ) -> Vec<Tensor<3>> {
        let projected = match &self.embeddings_project {
            Some(project) => project.forward(embeddings),
            None => embeddings,
        };
        let mut hidden_states = vec![projected];
        for layer in &self.layers {
            let hidden = hidden_states[hidden_states.len() - 1].clone();
            hidden_states.push(layer.forward(hidden, mask.clone(), dropout));
        }
        hidden_states
    }

    /// The last layer's output.
    ///
    /// # Shapes
    /// As [`Encoder::forward_all`].
    pub fn forward(
        &self,
        embeddings: Tensor<3>,
        mask: Tensor<4>,
        dropout: &mut DropoutMasks,
    ) -> Tensor<3> {
        let mut hidden_states = self.forward_all(embeddings, mask, dropout);
        hidden_states.pop().expect("there is at least the projected embedding")
    }
}

/// Word, position and token-type tables, summed, normalised, dropped out.
#[derive(Module, Debug)]
pub struct Embeddings {
    pub word_embeddings: Embedding,
    pub position_embeddings: Embedding,
    pub token_type_embeddings: Embedding,
    pub layer_norm: LayerNorm,
    dropout: Dropout,
}

impl Embeddings {
    pub fn new(config: &ElectraConfig, device: &Device) -> Self {
        let table = |rows| EmbeddingConfig::new(rows, config.embedding_size).init(device);
        Embeddings {
            word_embeddings: table(config.vocab_size),
            position_embeddings: table(config.max_position_embeddings),
            token_type_embeddings: table(config.type_vocab_size),
            layer_norm: LayerNorm::new(config, config.embedding_size, device),
            dropout: Dropout { prob: config.hidden_dropout_prob },
        }
    }

    /// # Shapes
    /// - output: `[batch, seq, embedding]`
    pub fn forward(&self, inputs: &Inputs, dropout: &mut DropoutMasks) -> Tensor<3> {
        self.dropout.forward(self.normalised(inputs), dropout)
    }

    /// The same with other tables of words and positions.
    ///
    /// # Shapes
    /// - words: `[vocab, embedding]`, positions: `[max_position_embeddings, embedding]`
    /// - output: `[batch, seq, embedding]`
    pub fn forward_with(
        &self,
        words: Tensor<2>,
        positions: Tensor<2>,
        inputs: &Inputs,
        dropout: &mut DropoutMasks,
    ) -> Tensor<3> {
        self.dropout.forward(self.normalised_with(words, positions, inputs), dropout)
    }

    /// Before the dropout.
    ///
    /// # Shapes
    /// - output: `[batch, seq, embedding]`
    pub fn normalised(&self, inputs: &Inputs) -> Tensor<3> {
        let (words, positions) = (&self.word_embeddings.weight, &self.position_embeddings.weight);
        self.normalised_with(words.val(), positions.val(), inputs)
    }

    fn normalised_with(
        &self,
        words: Tensor<2>,
        positions: Tensor<2>,
        inputs: &Inputs,
    ) -> Tensor<3> {
        let [_, seq] = inputs.input_ids.dims();
        let words = embedding(words, inputs.input_ids.clone());
        let types = self.token_type_embeddings.forward(inputs.token_type_ids.clone());
        // A slice, not a look-up: its gradient is a sum over the batch instead of a scatter.
        let positions = positions.narrow(0, 0, seq).unsqueeze::<3>();
        self.layer_norm.forward(words + types + positions)
    }
}

/// One transformer block: attention and feed-forward, each added back and normalised.
///
/// The fields are flat; `checkpoint.rs` holds the table of their Hugging Face names.
#[derive(Module, Debug)]
pub struct EncoderLayer {
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub attention_output: Linear,
    pub attention_norm: LayerNorm,
    pub intermediate: Linear,
    pub output: Linear,
    pub output_norm: LayerNorm,
    attention_dropout: Dropout,
    hidden_dropout: Dropout,
    num_attention_heads: usize,
    #[module(skip)]
    hidden_act: Activation,
}

impl EncoderLayer {
    fn new(config: &ElectraConfig, device: &Device) -> Self {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        EncoderLayer {
            query: linear(hidden, hidden, device),
            key: linear(hidden, hidden, device),
            value: linear(hidden, hidden, device),
            attention_output: linear(hidden, hidden, device),
            attention_norm: LayerNorm::new(config, hidden, device),
            intermediate: linear(hidden, inner, device),
            output: linear(inner, hidden, device),
            output_norm: LayerNorm::new(config, hidden, device),
            attention_dropout: Dropout { prob: config.attention_probs_dropout_prob },
            hidden_dropout: Dropout { prob: config.hidden_dropout_prob },
            num_attention_heads: config.num_attention_heads,
            hidden_act: config.hidden_act,
        }
    }

    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`, mask: `[batch, 1, 1, seq]`
    /// - output: `[batch, seq, hidden]`
    fn forward(&self, hidden: Tensor<3>, mask: Tensor<4>, dropout: &mut DropoutMasks) -> Tensor<3> {
        let attended = self.attention(hidden.clone(), mask, dropout);
        let attended =
            self.hidden_dropout.forward(self.attention_output.forward(attended), dropout);
        let hidden = self.attention_norm.forward(attended + hidden);
        let inner = activate(self.hidden_act, self.intermediate.forward(hidden.clone()));
        let output = self.hidden_dropout.forward(self.output.forward(inner), dropout);
        self.output_norm.forward(output + hidden)
    }

    fn attention(
        &self,
        hidden: Tensor<3>,
        mask: Tensor<4>,
        dropout: &mut DropoutMasks,
    ) -> Tensor<3> {
        let [batch, seq, width] = hidden.dims();
        let heads = self.num_attention_heads;
        let head_size = width / heads;
        let split = |x: Tensor<3>| x.reshape([batch, seq, heads, head_size]).swap_dims(1, 2);
        let query = split(self.query.forward(hidden.clone())); // [batch, heads, seq, head_size]
        let key = split(self.key.forward(hidden.clone()));
        let value = split(self.value.forward(hidden));
        let scores = query.matmul(key.transpose()) / (head_size as f64).sqrt() + mask;
        let probs = kernels::softmax(scores); // [batch, heads, seq, seq]
        let probs = self.attention_dropout.forward(probs, dropout);
        probs.matmul(value).swap_dims(1, 2).reshape([batch, seq, width])
    }
}

/// 0 where a token may be looked at, -10000 where it is padding (the reference's number; after
/// the softmax it is exactly nothing in f32).
///
/// # Shapes
/// - attention_mask: `[batch, seq]`, output: `[batch, 1, 1, seq]`
pub(crate) fn additive_mask(attention_mask: Tensor<2>) -> Tensor<4> {
    let [batch, seq] = attention_mask.dims();
    ((attention_mask - 1.0) * 10000.0).reshape([batch, 1, 1, seq])
}

/// An activation with its exact derivative on every backend.
pub fn activate<const D: usize>(kind: Activation, x: Tensor<D>) -> Tensor<D> {
    match kind {
        Activation::Gelu => gelu(x),
        Activation::GeluNew => gelu_new(x),
        Activation::Relu => activation::relu(x),
        Activation::Silu => activation::silu(x),
        Activation::Tanh => activation::tanh(x),
    }
}

/// `0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³)))`
fn gelu_new<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let cube = x.clone() * x.clone() * x.clone();
    let inner = (x.clone() + cube * 0.044715) * (2.0 / std::f64::consts::PI).sqrt();
    x * (inner.tanh() * 0.5 + 0.5)
}

pub(crate) fn linear(d_input: usize, d_output: usize, device: &Device) -> Linear {
    LinearConfig::new(d_input, d_output).init(device)
}

/// Dropout with the masks of `kernels`.
#[derive(Module, Debug)]
pub struct Dropout {
    pub prob: f64,
}

impl Dropout {
    /// Takes the next of the masks, where there are any.
    pub fn forward<const D: usize>(&self, x: Tensor<D>, masks: &mut DropoutMasks) -> Tensor<D> {
        kernels::dropout(x, masks.draw(self.prob))
    }
}

/// LayerNorm over the last axis, with the derivative of `kernels`.
#[derive(Module, Debug)]
pub struct LayerNorm {
    pub gamma: Param<Tensor<1>>,
    pub beta: Param<Tensor<1>>,
    epsilon: f64,
}

impl LayerNorm {
    pub(crate) fn new(config: &ElectraConfig, width: usize, device: &Device) -> Self {
        LayerNorm {
            gamma: Initializer::Ones.init([width], device),
            beta: Initializer::Zeros.init([width], device),
            epsilon: config.layer_norm_eps,
        }
    }

    /// # Shapes
    /// - x and output: `[.., width]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        kernels::layer_norm(x, self.gamma.val(), self.beta.val(), self.epsilon)
    }
}
