//! An encoder layer as one operation with a derivative of its own.
//!
//! Autodiff sees one node a layer. What is inside, forward and back, is `host/layer.rs` on the CPU and
//! `gpu/layer.rs` on a GPU; the tests of `model.rs` hold both to the same layer in plain operations.

use std::fmt::Debug;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;

use electra_host::layer as host;
pub use host::LayerSpec;
use host::Wants;

use super::{flex, gpu};

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

#[backend_extension(Cube, Flex, Autodiff)]
pub trait LayerOps: Backend {
    fn encoder_layer(
        hidden: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        spec: LayerSpec,
    ) -> FloatTensor<Self>;
}

/// A backend that computes a layer and derives it.
pub trait Derived: Backend {
    /// What the backward pass needs.
    type Kept: Clone + Debug + Send + 'static;

    /// Row by row in memory.
    fn contiguous(tensor: FloatTensor<Self>) -> FloatTensor<Self>;

    fn forward(input: &Input<Self>) -> FloatTensor<Self>;

    fn forward_keeping(input: &Input<Self>) -> (FloatTensor<Self>, Self::Kept);

    /// The gradients of the hidden states and of the weights, where they are wanted.
    fn backward(
        input: &Input<Self>,
        kept: Self::Kept,
        grad: FloatTensor<Self>,
        wants: Wants,
    ) -> (Option<FloatTensor<Self>>, Option<FloatTensor<Self>>);
}

/// What goes into a layer, row by row in memory.
#[derive(Debug, Clone)]
pub struct Input<B: Backend> {
    /// `[batch, seq, hidden]`
    pub hidden: FloatTensor<B>,
    /// `[batch, 1, 1 or seq, seq]`
    pub mask: FloatTensor<B>,
    /// In the layout of the spec.
    pub weights: FloatTensor<B>,
    pub spec: LayerSpec,
}

impl<B: Derived> Input<B> {
    fn new(
        hidden: FloatTensor<B>,
        mask: FloatTensor<B>,
        weights: FloatTensor<B>,
        spec: LayerSpec,
    ) -> Self {
        let [hidden, mask, weights] = [hidden, mask, weights].map(B::contiguous);
        Input { hidden, mask, weights, spec }
    }
}

impl LayerOps for Flex {
    fn encoder_layer(
        hidden: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        spec: LayerSpec,
    ) -> FloatTensor<Self> {
        Flex::forward(&Input::new(hidden, mask, weights, spec))
    }
}

impl LayerOps for CubeBackend {
    fn encoder_layer(
        hidden: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        spec: LayerSpec,
    ) -> FloatTensor<Self> {
        CubeBackend::forward(&Input::new(hidden, mask, weights, spec))
    }
}

impl<B: Derived, C: CheckpointStrategy> LayerOps for Autodiff<B, C> {
    fn encoder_layer(
        hidden: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        spec: LayerSpec,
    ) -> FloatTensor<Self> {
        let nodes = [hidden.node(), weights.node()];
        let [hidden, mask, weights] = [hidden, mask, weights].map(|t| t.into_primitive());
        let input = Input::new(hidden, mask, weights, spec);
        match Layer.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (output, kept) = B::forward_keeping(&input);
                prep.finish((input, kept), output)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::forward(&input)),
        }
    }
}

#[derive(Debug)]
struct Layer;

/// Parents: the hidden states, the weights.
impl<B: Derived> Backward<B, 2> for Layer {
    type State = (Input<B>, B::Kept);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = B::contiguous(grads.consume::<B>(&ops.node));
        let (input, kept) = ops.state;
        let [hidden, weights] = ops.parents;
        let wants = Wants { x: hidden.is_some(), weights: weights.is_some() };
        let (grad_hidden, grad_weights) = B::backward(&input, kept, grad, wants);
        for (node, grad) in [(hidden, grad_hidden), (weights, grad_weights)] {
            if let (Some(node), Some(grad)) = (node, grad) {
                grads.register::<B>(node.id, grad);
            }
        }
    }
}

impl Derived for CubeBackend {
    type Kept = gpu::layer::Kept;

    fn contiguous(tensor: FloatTensor<Self>) -> FloatTensor<Self> {
        into_contiguous(tensor)
    }

    fn forward(input: &Input<Self>) -> FloatTensor<Self> {
        gpu::layer::forward(input)
    }

    fn forward_keeping(input: &Input<Self>) -> (FloatTensor<Self>, Self::Kept) {
        gpu::layer::forward_keeping(input)
    }

    fn backward(
        input: &Input<Self>,
        kept: Self::Kept,
        grad: FloatTensor<Self>,
        wants: Wants,
    ) -> (Option<FloatTensor<Self>>, Option<FloatTensor<Self>>) {
        gpu::layer::backward(input, kept, grad, wants)
    }
}

impl Derived for Flex {
    type Kept = host::Kept;

    fn contiguous(tensor: FloatTensor<Self>) -> FloatTensor<Self> {
        tensor.to_contiguous()
    }

    fn forward(input: &Input<Self>) -> FloatTensor<Self> {
        flex(host::forward(&input.input()), input.hidden.shape())
    }

    fn forward_keeping(input: &Input<Self>) -> (FloatTensor<Self>, Self::Kept) {
        let (output, kept) = host::forward_keeping(&input.input());
        (flex(output, input.hidden.shape()), kept)
    }

    fn backward(
        input: &Input<Self>,
        kept: Self::Kept,
        grad: FloatTensor<Self>,
        wants: Wants,
    ) -> (Option<FloatTensor<Self>>, Option<FloatTensor<Self>>) {
        let (grad_hidden, grad_weights) =
            host::backward(&input.input(), kept, grad.storage::<f32>(), wants);
        let shaped = |grad: Option<Vec<f32>>, like: &FloatTensor<Self>| {
            grad.map(|grad| flex(grad, like.shape()))
        };
        (shaped(grad_hidden, &input.hidden), shaped(grad_weights, &input.weights))
    }
}

impl Input<Flex> {
    fn input(&self) -> host::Input<'_> {
        host::Input {
            x: self.hidden.storage::<f32>(),
            mask: self.mask.storage::<f32>(),
            weights: self.weights.storage::<f32>(),
            batch: self.hidden.shape()[0],
            spec: self.spec,
        }
    }
}
