//! The ELECTRA encoder: the whole network below the heads.
//!
//! Mirrors `ElectraModel` in transformers' `modeling_electra.py` and `modeling.py` of
//! google-research/electra: BERT with post-LayerNorm and no pooler, over embedding tables that
//! may be narrower than the hidden size.

use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
    Param, ParamId,
};
use burn::nn::{Embedding, Linear};
use burn::tensor::{Device, Int, Tensor, activation};

use crate::config::{Activation, ElectraConfig};
use crate::kernels::{self, DropoutMasks, LayerSpec, Layout, gelu};

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

/// Every layer's output, for tests and for looking inside. Not to be confused with [`Activation`],
/// the function.
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

/// The network between the embeddings and the head. The generator of pre-training has its own.
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
            Some(project) => kernels::linear(embeddings, project),
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
        let table = |rows| table(rows, config.embedding_size, device);
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
        let tables = [words, positions, self.token_type_embeddings.weight.val()];
        let (ids, type_ids) = (inputs.input_ids.clone(), inputs.token_type_ids.clone());
        self.layer_norm.forward(kernels::embed(tables, ids, type_ids))
    }
}

/// One transformer block: attention and feed-forward, each added back and normalised.
#[derive(Module, Debug)]
pub struct EncoderLayer {
    /// Stands before the weights: a visitor that gets to them has then met the layout.
    layout: Told,
    /// All sixteen tensors in one, `[floats]` of the layout (`host/layout.rs`);
    /// `pretrained/names.rs` has the table of their Hugging Face names.
    pub weights: Param<Tensor<1>>,
    attention_dropout: Dropout,
    hidden_dropout: Dropout,
    num_attention_heads: usize,
    epsilon: f64,
    #[module(skip)]
    hidden_act: Activation,
}

impl EncoderLayer {
    fn new(config: &ElectraConfig, device: &Device) -> Self {
        let layout = Layout { hidden: config.hidden_size, inner: config.intermediate_size };
        EncoderLayer {
            layout: Told(layout),
            weights: unset([layout.floats()], device),
            attention_dropout: Dropout { prob: config.attention_probs_dropout_prob },
            hidden_dropout: Dropout { prob: config.hidden_dropout_prob },
            num_attention_heads: config.num_attention_heads,
            epsilon: config.layer_norm_eps,
            hidden_act: config.hidden_act,
        }
    }

    /// One operation (`kernels/layer.rs`). Its steps one by one are `plain` and `attention` in the
    /// tests at the foot of this file, which it is held to.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`, mask: `[batch, 1, 1 or seq, seq]`
    /// - output: `[batch, seq, hidden]`
    fn forward(&self, hidden: Tensor<3>, mask: Tensor<4>, dropout: &mut DropoutMasks) -> Tensor<3> {
        let spec = LayerSpec {
            layout: self.layout.0,
            heads: self.num_attention_heads,
            activation: self.hidden_act,
            epsilon: self.epsilon,
            attention_drop: dropout.draw(self.attention_dropout.prob),
            hidden_drops: [(); 2].map(|()| dropout.draw(self.hidden_dropout.prob)),
        };
        kernels::layer(hidden, mask, self.weights.val(), spec)
    }
}

/// What is added to the scores of attention: 0 where a token may be looked at, -10000 where it is
/// padding (the reference's number; after the softmax it is exactly 0 in f32).
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

/// A parameter without values: those of a file or of a draw of our own (`pretrained/init.rs`) are put in before
/// anything asks. Burn's initializers, which would bring a QR decomposition and all that multiplies matrices into
/// the page's engine, are not used.
pub(crate) fn unset<const D: usize>(shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    let zeros = move |device: &Device, requires_grad: bool| {
        let zeros = Tensor::zeros(shape, device);
        if requires_grad { zeros.require_grad() } else { zeros }
    };
    Param::uninitialized(ParamId::new(), zeros, device.clone(), true, shape.into())
}

pub(crate) fn table(rows: usize, width: usize, device: &Device) -> Embedding {
    Embedding { weight: unset([rows, width], device) }
}

pub(crate) fn linear(inputs: usize, outputs: usize, device: &Device) -> Linear {
    let (weight, bias) = (unset([inputs, outputs], device), unset([outputs], device));
    Linear { weight, bias: Some(bias) }
}

/// Dropout; its masks are hashes of a seed and a place (`kernels/dropout.rs`).
#[derive(Module, Debug)]
pub struct Dropout {
    pub prob: f64,
}

impl Dropout {
    /// Draws the next mask; where nothing is dropped, gives `x` as it is.
    pub fn forward<const D: usize>(&self, x: Tensor<D>, masks: &mut DropoutMasks) -> Tensor<D> {
        kernels::dropout(x, masks.draw(self.prob))
    }
}

/// LayerNorm over the last axis, with the derivative in closed form (`kernels/differentiable.rs`).
#[derive(Module, Debug)]
pub struct LayerNorm {
    pub gamma: Param<Tensor<1>>,
    pub beta: Param<Tensor<1>>,
    epsilon: f64,
}

impl LayerNorm {
    pub(crate) fn new(config: &ElectraConfig, width: usize, device: &Device) -> Self {
        LayerNorm {
            gamma: unset([width], device),
            beta: unset([width], device),
            epsilon: config.layer_norm_eps,
        }
    }

    /// # Shapes
    /// - x and output: `[.., width]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        kernels::layer_norm(x, self.gamma.val(), self.beta.val(), self.epsilon)
    }
}

// ---------------------------------------------------------------------------------------------
// A layout in Burn's module tree

/// What a [`Layout`] in the module tree is called.
const LAYOUT: &str = "Layout";

/// A constant that tells visitors its sizes. The tree of modules has names alone for them: its own
/// is `HIDDENxINNER`, in a container that is called [`LAYOUT`].
#[derive(Debug, Clone, Copy)]
struct Told(Layout);

impl Module for Told {
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        visitor.enter_module(&self.0.to_string(), LAYOUT);
        visitor.exit_module(&self.0.to_string(), LAYOUT);
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        mapper.enter_module(&self.0.to_string(), LAYOUT);
        mapper.exit_module(&self.0.to_string(), LAYOUT);
        self
    }

    fn collect_devices(&self, devices: Devices) -> Devices {
        devices
    }

    fn to_device(self, _: &Device) -> Self {
        self
    }

    fn fork(self, _: &Device) -> Self {
        self
    }

    fn materialize(self) -> Self {
        self
    }

    fn valid(&self) -> Self {
        *self
    }

    fn train(self) -> Self {
        self
    }
}

impl ModuleDisplayDefault for Told {
    fn content(&self, content: Content) -> Option<Content> {
        content.add_formatted(&self.0).optional()
    }
}

impl ModuleDisplay for Told {}

/// The sizes that a layer tells when a visitor enters it.
pub(crate) fn told_layout(name: &str, container: &str) -> Option<Layout> {
    let (hidden, inner) = name.split_once('x').filter(|_| container == LAYOUT)?;
    Some(Layout { hidden: hidden.parse().ok()?, inner: inner.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use burn::tensor::TensorData;
    use burn::tensor::module::linear as affine;

    use super::*;
    use crate::kernels::layout::{self, Matrix, PANEL, Parts};
    use crate::kernels::{Slot, layer_norm};

    /// One way through a layer.
    #[derive(Debug, Clone, Copy)]
    struct Case {
        hidden: usize,
        inner: usize,
        heads: usize,
        batch: usize,
        seq: usize,
        activation: Activation,
        dropout: f64,
        /// Does the mask differ from query to query?
        by_query: bool,
    }

    const CASE: Case = Case {
        hidden: 32,
        inner: 64,
        heads: 2,
        batch: 3,
        seq: 11,
        activation: Activation::Gelu,
        dropout: 0.1,
        by_query: false,
    };

    /// Values between about -1 and 1, the same every time.
    fn wave<const D: usize>(shape: [usize; D], phase: f32, device: &Device) -> Tensor<D> {
        let count: usize = shape.iter().product();
        let value = |i: usize| (i as f32 * 0.73 + phase).sin() * (i as f32 * 0.011 + phase).cos();
        let values: Vec<f32> = (0..count).map(value).collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    /// Every tensor with numbers of its own.
    fn weights(layout: Layout) -> Vec<f32> {
        let mut all = vec![0f32; layout.floats()];
        for (number, slot) in Slot::ALL.into_iter().enumerate() {
            let shape = layout.shape(slot);
            let scale = if shape.len() == 1 { 0.5 } else { (shape[0] as f64).powf(-0.5) };
            let count = shape.iter().product();
            let values = wave([count], number as f32, &Device::flex()) * scale;
            layout.write(slot, &values.into_data().try_into_vec::<f32>().unwrap(), &mut all);
        }
        all
    }

    fn layer(case: Case, device: &Device) -> EncoderLayer {
        let config = ElectraConfig {
            hidden_size: case.hidden,
            intermediate_size: case.inner,
            num_attention_heads: case.heads,
            hidden_act: case.activation,
            hidden_dropout_prob: case.dropout,
            attention_probs_dropout_prob: case.dropout,
            ..ElectraConfig::default()
        };
        let layer = EncoderLayer::new(&config, device);
        let weights = weights(layer.layout.0);
        let weights =
            Tensor::from_data(TensorData::new(weights, [layer.layout.0.floats()]), device);
        EncoderLayer { weights: Param::from_tensor(weights), ..layer }
    }

    fn mask(case: Case, device: &Device) -> Tensor<4> {
        let Case { batch, seq, .. } = case;
        let queries = if case.by_query { seq } else { 1 };
        let seen = |i: usize| {
            let (example, query, key) = (i / queries / seq, i / seq % queries, i % seq);
            if case.by_query { key <= query } else { key == 0 || (key + example) % 5 != 4 }
        };
        let cells = (0..batch * queries * seq).map(|i| if seen(i) { 0f32 } else { -10000.0 });
        let cells: Vec<f32> = cells.collect();
        Tensor::from_data(TensorData::new(cells, [batch, 1, queries, seq]), device)
    }

    impl EncoderLayer {
        /// The layer operation by operation: what the kernels must equal.
        fn plain(
            &self,
            hidden: Tensor<3>,
            mask: Tensor<4>,
            dropout: &mut DropoutMasks,
        ) -> Tensor<3> {
            let weights = self.weights.val();
            let ranges = self.layout.0.ranges();
            let [w_qkv, w_o, w_1, w_2] = self.layout.0.matrices();
            let linear = |x: Tensor<3>, of: layout::Linear<Range<usize>>, matrix: Matrix| {
                let bias = weights.clone().slice([of.bias]);
                affine(x, unpacked(weights.clone().slice([of.weight]), matrix), Some(bias))
            };
            let norm = |x: Tensor<3>, of: layout::Norm<Range<usize>>| {
                let [gamma, beta] = [of.gamma, of.beta].map(|range| weights.clone().slice([range]));
                layer_norm(x, gamma, beta, self.epsilon)
            };
            let Parts { qkv, attention_output, intermediate, output, .. } = ranges;
            let qkv = linear(hidden.clone(), qkv, w_qkv); // [batch, seq, 3 hidden]
            let attended = self.attention(qkv, mask, dropout);
            let attended = linear(attended, attention_output, w_o);
            let attended = self.hidden_dropout.forward(attended, dropout);
            let hidden = norm(attended + hidden, ranges.attention_norm);
            let inner = activate(self.hidden_act, linear(hidden.clone(), intermediate, w_1));
            let output = self.hidden_dropout.forward(linear(inner, output, w_2), dropout);
            norm(output + hidden, ranges.output_norm)
        }

        /// # Shapes
        /// - qkv: `[batch, seq, 3 hidden]`, output: `[batch, seq, hidden]`
        fn attention(
            &self,
            qkv: Tensor<3>,
            mask: Tensor<4>,
            dropout: &mut DropoutMasks,
        ) -> Tensor<3> {
            let [batch, seq, _] = qkv.dims();
            let (width, heads) = (self.layout.0.hidden, self.num_attention_heads);
            let head_size = width / heads;
            let third = |i: usize| {
                let x = qkv.clone().narrow(2, i * width, width);
                x.reshape([batch, seq, heads, head_size]).swap_dims(1, 2)
            };
            let [query, key, value] = [0, 1, 2].map(third); // [batch, heads, seq, head_size]
            let scores = query.matmul(key.transpose()) / (head_size as f64).sqrt() + mask;
            let probs = kernels::softmax(scores); // [batch, heads, seq, seq]
            let probs = self.attention_dropout.forward(probs, dropout);
            probs.matmul(value).swap_dims(1, 2).reshape([batch, seq, width])
        }
    }

    /// A matrix out of its panels, `[in, out]`.
    fn unpacked(panels: Tensor<1>, matrix: Matrix) -> Tensor<2> {
        let Matrix { rows, columns } = matrix;
        let panels = panels.reshape([matrix.panels(), rows, PANEL]).swap_dims(0, 1);
        panels.reshape([rows, matrix.panels() * PANEL]).narrow(1, 0, columns)
    }

    type Way = fn(&EncoderLayer, Tensor<3>, Tensor<4>, &mut DropoutMasks) -> Tensor<3>;

    /// Output, the gradient of the input, those of the weights.
    fn run(device: &Device, case: Case, way: Way) -> Vec<Vec<f32>> {
        let device = device.clone().autodiff();
        let layer = layer(case, &device);
        let shape = [case.batch, case.seq, case.hidden];
        let x = wave(shape, 0.5, &device).require_grad();
        let output = way(&layer, x.clone(), mask(case, &device), &mut DropoutMasks::seeded(7));
        let grads = (output.clone() * wave(shape, 2.5, &device)).sum().backward();
        let dx = x.grad(&grads).unwrap();
        let mut all = vec![output.inner(), dx]
            .into_iter()
            .map(|t| t.into_data())
            .map(|data| data.try_into_vec::<f32>().unwrap())
            .collect::<Vec<_>>();
        let grad = layer.weights.val().grad(&grads).unwrap();
        let grad: Vec<f32> = grad.into_data().try_into_vec().unwrap();
        let layout = layer.layout.0;
        all.extend(Slot::ALL.map(|slot| layout.read(slot, &grad)));
        // What fills panels up has none.
        let mut rest = grad;
        for slot in Slot::ALL {
            let count = layout.shape(slot).iter().product();
            layout.write(slot, &vec![0.0; count], &mut rest);
        }
        assert!(rest.iter().all(|value| *value == 0.0), "{case:?}");
        all
    }

    /// On the CPU.
    fn check(case: Case) {
        check_on(&Device::flex(), case, 2e-5);
    }

    /// The largest difference, over the largest value of its tensor where that is above 1.
    fn check_on(device: &Device, case: Case, limit: f32) {
        let cpu = Device::flex();
        let ours = run(device, case, EncoderLayer::forward);
        let plain = run(&cpu, case, EncoderLayer::plain);
        assert_eq!((ours.len(), plain.len()), (18, 18));
        for (number, (ours, plain)) in ours.iter().zip(&plain).enumerate() {
            let largest = plain.iter().fold(1f32, |largest, x| largest.max(x.abs()));
            let far = |(a, b): (&f32, &f32)| (a - b).is_nan() || (a - b).abs() >= limit * largest;
            let differs = ours.iter().zip(plain).position(far);
            assert!(
                ours.len() == plain.len() && differs.is_none(),
                "{case:?}: tensor {number}, {:?}",
                differs.map(|i| (i, ours[i], plain[i]))
            );
        }
        // Without autodiff, and so without dropout.
        let case = Case { dropout: 0.0, ..case };
        let output = |device: &Device, way: Way| {
            let x = wave([case.batch, case.seq, case.hidden], 0.5, device);
            let mask = mask(case, device);
            let output = way(&layer(case, device), x, mask, &mut DropoutMasks::none());
            output.into_data().try_into_vec::<f32>().unwrap()
        };
        let (ours, plain) =
            (output(device, EncoderLayer::forward), output(&cpu, EncoderLayer::plain));
        let far = |(a, b): (&f32, &f32)| (a - b).is_nan() || (a - b).abs() >= limit;
        assert!(!ours.iter().zip(&plain).any(far), "{case:?}");
    }

    #[test]
    #[ignore = "needs a GPU, of which lavapipe is one: cargo test --lib gpu -- --ignored"]
    fn the_layer_on_a_gpu_equals_the_plain_one() {
        use Activation::*;
        let check = |case| check_on(&kernels::gpu_for_tests(), case, 1e-4);
        for activation in [Gelu, GeluNew, Relu, Silu, Tanh] {
            check(Case { activation, ..CASE });
            check(Case { activation, dropout: 0.3, by_query: true, ..CASE });
        }
        for (hidden, inner, heads) in [(15, 37, 5), (21, 13, 3), (7, 9, 1), (40, 100, 5)] {
            check(Case { hidden, inner, heads, ..CASE });
            check(Case { hidden, inner, heads, dropout: 0.0, by_query: true, ..CASE });
        }
        for batch in 1..=5 {
            check(Case { batch, seq: 13 * batch, ..CASE });
        }
        for seq in [1, 2, 16, 17, 63, 64, 65, 130, 200] {
            check(Case { batch: 1, seq, hidden: 16, by_query: seq % 2 == 0, ..CASE });
        }
        check(Case { hidden: 256, inner: 1024, heads: 4, batch: 2, seq: 40, ..CASE });
    }

    #[test]
    fn the_fused_layer_equals_the_plain_one_for_every_activation() {
        use Activation::*;
        for activation in [Gelu, GeluNew, Relu, Silu, Tanh] {
            for (dropout, by_query) in [(0.0, false), (0.1, false), (0.3, true)] {
                check(Case { activation, dropout, by_query, ..CASE });
            }
        }
    }

    #[test]
    fn the_fused_layer_equals_the_plain_one_for_odd_widths_and_heads() {
        for (hidden, inner, heads) in
            [(15, 37, 5), (21, 13, 3), (7, 9, 1), (40, 100, 5), (48, 17, 3)]
        {
            check(Case { hidden, inner, heads, ..CASE });
        }
        check(Case { hidden: 256, inner: 1024, heads: 4, batch: 2, seq: 40, ..CASE });
    }

    #[test]
    fn the_fused_layer_equals_the_plain_one_for_any_number_of_tokens() {
        for batch in 1..=33 {
            check(Case { batch, seq: 5, hidden: 16, inner: 32, ..CASE });
        }
        for seq in (1..=40).chain([63, 64, 65, 127, 130, 256, 511, 512]) {
            check(Case { batch: 1, seq, hidden: 16, inner: 32, by_query: seq % 2 == 0, ..CASE });
        }
    }

    /// Of the weights, or of what comes before them.
    fn check_frozen(device: &Device, limit: f32) {
        let autodiff = device.clone().autodiff();
        let shape = [CASE.batch, CASE.seq, CASE.hidden];
        let all = run(device, CASE, EncoderLayer::forward);
        for frozen in [true, false] {
            let layer = layer(CASE, &autodiff);
            let layer = if frozen { layer.no_grad() } else { layer };
            let x = wave(shape, 0.5, &autodiff);
            let x = if frozen { x.require_grad() } else { x };
            let mask = mask(CASE, &autodiff);
            let output = layer.forward(x.clone(), mask, &mut DropoutMasks::seeded(7));
            let grads = (output * wave(shape, 2.5, &autodiff)).sum().backward();
            let (of_x, of_weights) = (x.grad(&grads), layer.weights.val().grad(&grads));
            assert_eq!((of_x.is_some(), of_weights.is_some()), (frozen, !frozen));
            let (found, right) = match (of_x, of_weights) {
                (Some(of_x), _) => (of_x.into_data(), all[1].clone()),
                (_, of_weights) => {
                    let found = of_weights.expect("one of them").into_data();
                    let values = found.clone().try_into_vec::<f32>().unwrap();
                    (
                        TensorData::new(layer.layout.0.read(Slot::Query, &values), [all[2].len()]),
                        all[2].clone(),
                    )
                }
            };
            let found: Vec<f32> = found.try_into_vec().unwrap();
            assert!(found.iter().zip(&right).all(|(a, b)| (a - b).abs() <= limit));
        }
    }

    #[test]
    fn what_is_frozen_gets_no_gradient_and_passes_the_others_on() {
        check_frozen(&Device::flex(), 0.0);
    }

    #[test]
    #[ignore = "needs a GPU, of which lavapipe is one: cargo test --lib gpu -- --ignored"]
    fn what_is_frozen_on_a_gpu_gets_no_gradient_and_passes_the_others_on() {
        check_frozen(&kernels::gpu_for_tests(), 1e-5);
    }
}
