//! An encoder layer as one operation with a derivative of its own, on the CPU.
//!
//! Autodiff sees one node a layer. What is inside, forward and back, is `host/layer.rs`. GPUs take the
//! same layer in plain operations (`model.rs`), which the tests hold this one to.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, Backend, Dispatch, ExtensionType, Flex, TensorMetadata, backend_extension,
};
use burn::tensor::{Shape, Tensor, TensorData};

pub use super::host::layer::LayerSpec;
use super::host::layer::{self, Input, Kept, Linear, Norm, Wants, Weights};

/// One encoder layer.
///
/// # Shapes
/// - hidden and output: `[batch, seq, hidden]`
/// - mask: `[batch, 1, 1 or seq, seq]`, added to the scores of attention
pub fn layer(
    hidden: Tensor<3>,
    mask: Tensor<4>,
    weights: LayerWeights<Dispatch>,
    spec: LayerSpec,
) -> Tensor<3> {
    let (hidden, mask) = (hidden.into_dispatch(), mask.into_dispatch());
    Tensor::from_dispatch(Dispatch::encoder_layer(hidden, mask, weights, spec))
}

/// A layer's weights; of a matrix `[in, out]`.
#[derive(Debug, ExtensionType)]
pub struct LayerWeights<B: Backend> {
    pub query: FloatTensor<B>,
    pub query_bias: FloatTensor<B>,
    pub key: FloatTensor<B>,
    pub key_bias: FloatTensor<B>,
    pub value: FloatTensor<B>,
    pub value_bias: FloatTensor<B>,
    pub attention_output: FloatTensor<B>,
    pub attention_output_bias: FloatTensor<B>,
    pub attention_gamma: FloatTensor<B>,
    pub attention_beta: FloatTensor<B>,
    pub intermediate: FloatTensor<B>,
    pub intermediate_bias: FloatTensor<B>,
    pub output: FloatTensor<B>,
    pub output_bias: FloatTensor<B>,
    pub output_gamma: FloatTensor<B>,
    pub output_beta: FloatTensor<B>,
}

impl<B: Backend> LayerWeights<B> {
    fn weights(self) -> Weights<FloatTensor<B>> {
        let linear = |weight, bias| Linear { weight, bias };
        let norm = |gamma, beta| Norm { gamma, beta };
        Weights {
            query: linear(self.query, self.query_bias),
            key: linear(self.key, self.key_bias),
            value: linear(self.value, self.value_bias),
            attention_output: linear(self.attention_output, self.attention_output_bias),
            attention_norm: norm(self.attention_gamma, self.attention_beta),
            intermediate: linear(self.intermediate, self.intermediate_bias),
            output: linear(self.output, self.output_bias),
            output_norm: norm(self.output_gamma, self.output_beta),
        }
    }
}

#[backend_extension(Flex, Autodiff)]
pub trait LayerOps: Backend {
    fn encoder_layer(
        hidden: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        #[extension_type] weights: LayerWeights<Self>,
        spec: LayerSpec,
    ) -> FloatTensor<Self>;
}

impl LayerOps for Flex {
    fn encoder_layer(
        hidden: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        weights: LayerWeights<Self>,
        spec: LayerSpec,
    ) -> FloatTensor<Self> {
        let shape = hidden.shape();
        let state = State::new(hidden, mask, weights.weights(), spec);
        flex(layer::forward(&state.input()), shape)
    }
}

impl<C: CheckpointStrategy> LayerOps for Autodiff<Flex, C> {
    fn encoder_layer(
        hidden: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        weights: LayerWeights<Self>,
        spec: LayerSpec,
    ) -> FloatTensor<Self> {
        let weights = weights.weights();
        let nodes = [hidden.node()]
            .into_iter()
            .chain(weights.each_ref().each().map(|weight| weight.node()));
        let nodes = nodes.collect::<Vec<_>>().try_into().unwrap_or_else(|_| unreachable!());
        let shape = hidden.shape();
        let weights = weights.map(|weight| weight.into_primitive());
        let state = State::new(hidden.into_primitive(), mask.into_primitive(), weights, spec);
        match Layer.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (output, kept) = layer::forward_keeping(&state.input());
                prep.finish((state, kept), flex(output, shape))
            }
            OpsKind::UnTracked(prep) => prep.finish(flex(layer::forward(&state.input()), shape)),
        }
    }
}

/// What goes into a layer, row by row in memory.
#[derive(Debug, Clone)]
struct State {
    hidden: FloatTensor<Flex>,
    mask: FloatTensor<Flex>,
    weights: Weights<FloatTensor<Flex>>,
    batch: usize,
    spec: LayerSpec,
}

impl State {
    fn new(
        hidden: FloatTensor<Flex>,
        mask: FloatTensor<Flex>,
        weights: Weights<FloatTensor<Flex>>,
        spec: LayerSpec,
    ) -> Self {
        let batch = hidden.shape()[0];
        let (hidden, mask) = (hidden.to_contiguous(), mask.to_contiguous());
        State { hidden, mask, weights: weights.map(|weight| weight.to_contiguous()), batch, spec }
    }

    fn input(&self) -> Input<'_> {
        Input {
            x: self.hidden.storage::<f32>(),
            mask: self.mask.storage::<f32>(),
            weights: self.weights.each_ref().map(|weight| weight.storage::<f32>()),
            batch: self.batch,
            spec: self.spec,
        }
    }
}

#[derive(Debug)]
struct Layer;

/// Parents: the hidden states, then the weights in the order of [`Weights::each`].
impl Backward<Flex, 17> for Layer {
    type State = (State, Kept);

    fn backward(self, ops: Ops<Self::State, 17>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node).to_contiguous();
        let (state, kept) = ops.state;
        let [hidden, weights @ ..] = ops.parents;
        let wants = Wants { x: hidden.is_some(), weights: weights.iter().any(Option::is_some) };
        let (grad_hidden, grad_weights) =
            layer::backward(&state.input(), kept, grad.storage::<f32>(), wants);
        if let (Some(node), Some(grad)) = (hidden, grad_hidden) {
            grads.register::<Flex>(node.id, flex(grad, state.hidden.shape()));
        }
        let Some(grad_weights) = grad_weights else { return };
        let tensors = weights.into_iter().zip(grad_weights.each()).zip(state.weights.each());
        for ((node, grad), weight) in tensors {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, flex(grad, weight.shape()));
            }
        }
    }
}

fn flex(values: Vec<f32>, shape: Shape) -> FloatTensor<Flex> {
    FloatTensor::<Flex>::from_data(TensorData::new(values, shape))
}
