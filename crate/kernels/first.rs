//! The row of each text's first token, `[CLS]`: on a GPU one launch, and one back.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;

use super::flex;

/// # Shapes
/// - hidden: `[batch, seq, width]`, output: `[batch, width]`
pub fn first(hidden: Tensor<3>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::first(hidden.into_dispatch()))
}

#[backend_extension(Cube, Flex, Autodiff)]
pub trait FirstOps: Backend {
    fn first(hidden: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// A backend that has its gradient, too.
pub trait FirstGradient: FirstOps {
    /// That of hidden, `[batch, seq, width]`.
    fn first_backward(grad: FloatTensor<Self>, seq: usize) -> FloatTensor<Self>;
}

impl FirstOps for Flex {
    fn first(hidden: FloatTensor<Self>) -> FloatTensor<Self> {
        let [batch, seq, width] = hidden.shape().dims();
        let hidden = hidden.to_contiguous();
        let rows = hidden.storage::<f32>().chunks(seq * width);
        flex(rows.flat_map(|row| &row[..width]).copied().collect(), [batch, width])
    }
}

impl FirstGradient for Flex {
    fn first_backward(grad: FloatTensor<Self>, seq: usize) -> FloatTensor<Self> {
        let [batch, width] = grad.shape().dims();
        let grad = grad.to_contiguous();
        let mut of_hidden = vec![0f32; batch * seq * width];
        let rows = of_hidden.chunks_mut(seq * width).zip(grad.storage::<f32>().chunks(width));
        rows.for_each(|(row, grad)| row[..width].copy_from_slice(grad));
        flex(of_hidden, [batch, seq, width])
    }
}

impl<B: FirstGradient, C: CheckpointStrategy> FirstOps for Autodiff<B, C> {
    fn first(hidden: FloatTensor<Self>) -> FloatTensor<Self> {
        let (node, hidden) = (hidden.node(), hidden.into_primitive());
        let seq = hidden.shape()[1];
        match First.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(seq, B::first(hidden)),
            OpsKind::UnTracked(prep) => prep.finish(B::first(hidden)),
        }
    }
}

#[derive(Debug)]
struct First;

impl<B: FirstGradient> Backward<B, 1> for First {
    type State = usize;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let seq = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |grad| B::first_backward(grad, seq));
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData, Tolerance};

    use super::*;

    fn check(device: &Device) {
        let device = device.clone().autodiff();
        for [batch, seq, width] in [[1, 1, 1], [3, 5, 7], [2, 70, 130]] {
            let values: Vec<f32> = (0..batch * seq * width).map(|i| i as f32).collect();
            let hidden = TensorData::new(values, [batch, seq, width]);
            let hidden = Tensor::<3>::from_data(hidden, &device).require_grad();
            let all = |rows: Tensor<2>| {
                let grads = (rows.clone() * rows.clone()).sum().backward();
                [rows.into_data(), hidden.grad(&grads).unwrap().into_data()]
            };
            let plain = hidden.clone().slice([0..batch, 0..1]).reshape([batch, width]);
            for (ours, plain) in all(first(hidden.clone())).iter().zip(&all(plain)) {
                ours.assert_approx_eq::<f32>(plain, Tolerance::default());
            }
        }
    }

    #[test]
    fn it_and_its_gradient_equal_a_slice() {
        check(&Device::flex());
    }

    #[test]
    #[ignore = "needs a GPU, of which lavapipe is one: cargo test --lib gpu -- --ignored"]
    fn on_a_gpu_too_it_equals_a_slice() {
        check(&super::super::gpu_for_tests());
    }
}
