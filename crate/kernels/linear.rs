//! `x W + b` for the projection and the heads: on a GPU one launch, and two back.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::nn::Linear;
use burn::tensor::Tensor;

/// # Shapes
/// - x: `[.., in]`, output: `[.., out]`
pub fn linear<const D: usize>(x: Tensor<D>, linear: &Linear) -> Tensor<D> {
    let bias = linear.bias.as_ref().expect("every one of ELECTRA's has a bias").val();
    let (weight, bias) = (linear.weight.val().into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(Dispatch::affine(x.into_dispatch(), weight, bias))
}

#[backend_extension(Cube, Flex, Autodiff)]
pub trait LinearOps: Backend {
    fn affine(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        Self::linear(x, weight, Some(bias))
    }

    /// The gradient of x.
    fn affine_x_backward(weight: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::linear_x_backward(weight, grad)
    }

    /// Those of the weight and of the bias.
    fn affine_weight_backward(
        x: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        (Self::linear_weight_backward(x, grad.clone()), Self::linear_bias_backward(grad))
    }
}

impl LinearOps for Flex {}

impl<B: LinearOps, C: CheckpointStrategy> LinearOps for Autodiff<B, C> {
    fn affine(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.into_primitive());
        match Affine.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                prep.finish((x.clone(), weight.clone()), B::affine(x, weight, bias))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::affine(x, weight, bias)),
        }
    }
}

#[derive(Debug)]
struct Affine;

/// Parents: x, the weight, the bias.
impl<B: LinearOps> Backward<B, 3> for Affine {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let ((x, weight), [of_x, of_weight, of_bias]) = (ops.state, ops.parents);
        if let Some(node) = of_x {
            grads.register::<B>(node.id, B::affine_x_backward(weight, grad.clone()));
        }
        if of_weight.is_none() && of_bias.is_none() {
            return;
        }
        let (weight, bias) = B::affine_weight_backward(x, grad);
        for (node, grad) in [(of_weight, weight), (of_bias, bias)] {
            if let Some(node) = node {
                grads.register::<B>(node.id, grad);
            }
        }
    }
}
