//! An encoder layer as one operation with a derivative of its own, on the CPU.
//!
//! Autodiff sees one node a layer. What is inside, forward and back, is `host/layer.rs`. GPUs take the
//! same layer in plain operations (`model.rs`), which the tests hold this one to.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor, TensorData};

pub use super::host::layer::LayerSpec;
use super::host::layer::{self, Input, Kept, Wants};

/// One encoder layer.
///
/// # Shapes
/// - hidden and output: `[batch, seq, hidden]`
/// - mask: `[batch, 1, 1 or seq, seq]`, added to the scores of attention
/// - weights: all of the layer, in the layout of the spec
pub fn layer(hidden: Tensor<3>, mask: Tensor<4>, weights: Tensor<1>, spec: LayerSpec) -> Tensor<3> {
    let (hidden, mask) = (hidden.into_dispatch(), mask.into_dispatch());
    Tensor::from_dispatch(Dispatch::encoder_layer(hidden, mask, weights.into_dispatch(), spec))
}

#[backend_extension(Flex, Autodiff)]
pub trait LayerOps: Backend {
    fn encoder_layer(
        hidden: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        spec: LayerSpec,
    ) -> FloatTensor<Self>;
}

impl LayerOps for Flex {
    fn encoder_layer(
        hidden: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        spec: LayerSpec,
    ) -> FloatTensor<Self> {
        let shape = hidden.shape();
        let state = State::new(hidden, mask, weights, spec);
        flex(layer::forward(&state.input()), shape)
    }
}

impl<C: CheckpointStrategy> LayerOps for Autodiff<Flex, C> {
    fn encoder_layer(
        hidden: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        spec: LayerSpec,
    ) -> FloatTensor<Self> {
        let (nodes, shape) = ([hidden.node(), weights.node()], hidden.shape());
        let [hidden, mask, weights] = [hidden, mask, weights].map(|t| t.into_primitive());
        let state = State::new(hidden, mask, weights, spec);
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
    weights: FloatTensor<Flex>,
    batch: usize,
    spec: LayerSpec,
}

impl State {
    fn new(
        hidden: FloatTensor<Flex>,
        mask: FloatTensor<Flex>,
        weights: FloatTensor<Flex>,
        spec: LayerSpec,
    ) -> Self {
        let batch = hidden.shape()[0];
        let [hidden, mask, weights] = [hidden, mask, weights].map(|t| t.to_contiguous());
        State { hidden, mask, weights, batch, spec }
    }

    fn input(&self) -> Input<'_> {
        Input {
            x: self.hidden.storage::<f32>(),
            mask: self.mask.storage::<f32>(),
            weights: self.weights.storage::<f32>(),
            batch: self.batch,
            spec: self.spec,
        }
    }
}

#[derive(Debug)]
struct Layer;

/// Parents: the hidden states, the weights.
impl Backward<Flex, 2> for Layer {
    type State = (State, Kept);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node).to_contiguous();
        let (state, kept) = ops.state;
        let [hidden, weights] = ops.parents;
        let wants = Wants { x: hidden.is_some(), weights: weights.is_some() };
        let (grad_hidden, grad_weights) =
            layer::backward(&state.input(), kept, grad.storage::<f32>(), wants);
        if let (Some(node), Some(grad)) = (hidden, grad_hidden) {
            grads.register::<Flex>(node.id, flex(grad, state.hidden.shape()));
        }
        if let (Some(node), Some(grad)) = (weights, grad_weights) {
            grads.register::<Flex>(node.id, flex(grad, state.weights.shape()));
        }
    }
}

fn flex(values: Vec<f32>, shape: Shape) -> FloatTensor<Flex> {
    FloatTensor::<Flex>::from_data(TensorData::new(values, shape))
}
