//! `x W + b` for the projection and the heads: on a GPU one launch, and two back; on the CPU the product
//! that the layers have (`host/linear.rs`).

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::nn::Linear;
use burn::tensor::{Shape, Tensor};
use electra_host::linear as host;

use super::flex;

/// # Shapes
/// - x: `[.., in]`, output: `[.., out]`
pub fn linear<const D: usize>(x: Tensor<D>, linear: &Linear) -> Tensor<D> {
    affine(x, linear.weight.val(), bias_of(linear))
}

/// A layer's bias.
pub fn bias_of(linear: &Linear) -> Tensor<1> {
    linear.bias.as_ref().expect("every one of ELECTRA's has a bias").val()
}

/// # Shapes
/// - x: `[.., in]`, weight: `[in, out]`, bias: `[out]`, output: `[.., out]`
pub fn affine<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<D> {
    let (weight, bias) = (weight.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(Dispatch::affine(x.into_dispatch(), weight, bias))
}

#[backend_extension(Cube, Flex, Autodiff)]
pub trait LinearOps: Backend {
    fn affine(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

/// A backend that has its gradients, too.
pub trait AffineGradients: LinearOps {
    /// That of x.
    fn affine_x_backward(weight: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Those of the weight and of the bias.
    fn affine_weight_backward(
        x: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

impl LinearOps for Flex {
    fn affine(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.to_contiguous());
        let y = host::affine(x.storage(), weight.storage(), bias.storage());
        with_last(y, x.shape(), weight.shape()[1])
    }
}

impl AffineGradients for Flex {
    fn affine_x_backward(weight: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        let [weight, grad] = [weight, grad].map(|tensor| tensor.to_contiguous());
        let [inputs, outputs] = weight.shape().dims();
        let grad_x = host::affine_x_back(weight.storage(), grad.storage(), outputs);
        with_last(grad_x, grad.shape(), inputs)
    }

    fn affine_weight_backward(
        x: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [x, grad] = [x, grad].map(|tensor| tensor.to_contiguous());
        let [inputs, outputs] = [&x, &grad].map(|tensor| last(&tensor.shape()));
        let (weight, bias) = host::affine_weight_back(x.storage(), grad.storage(), outputs);
        (flex(weight, [inputs, outputs]), flex(bias, [outputs]))
    }
}

fn last(shape: &Shape) -> usize {
    shape[shape.num_dims() - 1]
}

/// In this shape, but for its last axis.
fn with_last(values: Vec<f32>, mut shape: Shape, width: usize) -> FloatTensor<Flex> {
    let last = shape.num_dims() - 1;
    shape[last] = width;
    flex(values, shape)
}

impl<B: AffineGradients, C: CheckpointStrategy> LinearOps for Autodiff<B, C> {
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
impl<B: AffineGradients> Backward<B, 3> for Affine {
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

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData, Tolerance, module};

    use super::*;

    fn wave<const D: usize>(shape: [usize; D], phase: f32, device: &Device) -> Tensor<D> {
        let values = (0..shape.iter().product()).map(|i| (i as f32 * 0.73 + phase).sin());
        Tensor::from_data(TensorData::new(values.collect::<Vec<f32>>(), shape), device)
    }

    /// The output, and the gradients of x, of the weight and of the bias.
    fn all(
        [batch, seq, inputs, outputs]: [usize; 4],
        turned: bool,
        device: &Device,
        form: impl Fn(Tensor<3>, Tensor<2>, Tensor<1>) -> Tensor<3>,
    ) -> [TensorData; 4] {
        let device = device.clone().autodiff();
        let x = wave([batch, seq, inputs], 0.0, &device).require_grad();
        let bias = wave([outputs], 1.0, &device).require_grad();
        let shape = if turned { [outputs, inputs] } else { [inputs, outputs] };
        let stored = wave(shape, 3.0, &device).require_grad();
        let weight = if turned { stored.clone().transpose() } else { stored.clone() };
        let y = form(x.clone(), weight, bias.clone());
        let grads = (y.clone() * wave([batch, seq, outputs], 2.0, &device)).sum().backward();
        let of_bias = bias.grad(&grads).unwrap().into_data();
        let (of_x, of_weight) = (x.grad(&grads).unwrap(), stored.grad(&grads).unwrap());
        [y.into_data(), of_x.into_data(), of_weight.into_data(), of_bias]
    }

    fn check(device: &Device) {
        let sizes = [[1, 1, 1, 1], [3, 47, 19, 33], [2, 65, 7, 1], [2, 8, 130, 16], [5, 1, 64, 65]];
        for (sizes, turned) in sizes.into_iter().flat_map(|sizes| [(sizes, false), (sizes, true)]) {
            let plain = |x, weight, bias| module::linear(x, weight, Some(bias));
            let ours = all(sizes, turned, device, affine);
            for (ours, plain) in ours.iter().zip(all(sizes, turned, &Device::flex(), plain)) {
                ours.assert_approx_eq::<f32>(&plain, Tolerance::rel_abs(1e-5, 2e-5));
            }
        }
    }

    #[test]
    fn it_and_its_gradients_equal_burn_s() {
        check(&Device::flex());
    }

    #[test]
    #[ignore = "needs a GPU, of which lavapipe is one: cargo test --lib gpu -- --ignored"]
    fn on_a_gpu_too_they_equal_burn_s() {
        check(&super::super::gpu_for_tests());
    }
}
