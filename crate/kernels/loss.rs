//! The losses of fine-tuning, each one operation whose gradient is known on the way forward: on a GPU one
//! launch, and one back.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use electra_host::loss;
pub use electra_host::loss::Loss;

use super::flex;

/// The losses of all rows, each times its weight, over `terms`, `[1]`. Nothing is learned by targets and weights.
///
/// # Shapes
/// - logits, targets: `[rows, width]`, weights: `[rows, 1]`; a cross-entropy has none
pub fn loss(
    kind: Loss,
    logits: Tensor<2>,
    targets: Tensor<2>,
    weights: Option<Tensor<2>>,
    terms: usize,
) -> Tensor<1> {
    let weights = weights.unwrap_or_else(|| targets.clone());
    let [logits, targets, weights] = [logits, targets, weights].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::loss(logits, targets, weights, kind, terms))
}

#[backend_extension(Cube, Flex, Autodiff)]
pub trait LossOps: Backend {
    fn loss(
        logits: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        kind: Loss,
        terms: usize,
    ) -> FloatTensor<Self>;
}

/// A backend that has its gradient, too.
pub trait LossSlopes: LossOps {
    /// The loss, and its gradient, `[rows, width]`.
    fn loss_and_slopes(
        logits: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        kind: Loss,
        terms: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// `x` times a number, `[1]`.
    fn times(x: FloatTensor<Self>, factor: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl LossOps for Flex {
    fn loss(
        logits: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        kind: Loss,
        terms: usize,
    ) -> FloatTensor<Self> {
        Self::loss_and_slopes(logits, targets, weights, kind, terms).0
    }
}

impl LossSlopes for Flex {
    fn loss_and_slopes(
        logits: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        kind: Loss,
        terms: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [logits, targets, weights] =
            [logits, targets, weights].map(|tensor| tensor.to_contiguous());
        let (x, width) = (logits.storage(), logits.shape()[1]);
        let (targets, weights) = (targets.storage(), weights.storage());
        let (loss, slopes) = loss::loss_and_slopes(kind, x, targets, weights, width, terms as f32);
        (flex(vec![loss], [1]), flex(slopes, logits.shape()))
    }

    fn times(x: FloatTensor<Self>, factor: FloatTensor<Self>) -> FloatTensor<Self> {
        let factor = factor.to_contiguous().storage::<f32>()[0];
        let mut x = x.into_data();
        let values = x.as_mut_slice::<f32>().expect("slopes are f32");
        values.iter_mut().for_each(|x| *x *= factor);
        FloatTensor::<Flex>::from_data(x)
    }
}

impl<B: LossSlopes, C: CheckpointStrategy> LossOps for Autodiff<B, C> {
    fn loss(
        logits: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        kind: Loss,
        terms: usize,
    ) -> FloatTensor<Self> {
        let node = logits.node();
        let [logits, targets, weights] =
            [logits, targets, weights].map(|tensor| tensor.into_primitive());
        let (loss, slopes) = B::loss_and_slopes(logits, targets, weights, kind, terms);
        match RowLoss.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(slopes, loss),
            OpsKind::UnTracked(prep) => prep.finish(loss),
        }
    }
}

#[derive(Debug)]
struct RowLoss;

impl<B: LossSlopes> Backward<B, 1> for RowLoss {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let slopes = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |grad| B::times(slopes, grad));
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData, Tolerance, activation};

    use super::*;

    fn wave<const D: usize>(shape: [usize; D], phase: f32, device: &Device) -> Tensor<D> {
        let values = (0..shape.iter().product()).map(|i| (i as f32 * 0.73 + phase).sin() * 3.0);
        Tensor::from_data(TensorData::new(values.collect::<Vec<f32>>(), shape), device)
    }

    /// In Burn's operations, after the definition.
    fn plain(kind: Loss, x: Tensor<2>, t: Tensor<2>, weights: Tensor<2>) -> Tensor<1> {
        match kind {
            Loss::CrossEntropy => -(activation::log_softmax(x, 1) * t).sum(),
            Loss::BinaryCrossEntropy => {
                let yes = activation::log_sigmoid(x.clone()) * t.clone();
                let no = activation::log_sigmoid(-x) * (-t + 1.0);
                -((yes + no) * weights).sum()
            }
            Loss::SquaredError => ((x.clone() - t.clone()) * (x - t) * weights).sum(),
        }
    }

    /// The loss, times a number, and its gradient.
    fn both(
        [rows, width]: [usize; 2],
        device: &Device,
        form: impl Fn(Tensor<2>, Tensor<2>, Tensor<2>) -> Tensor<1>,
    ) -> [TensorData; 2] {
        let device = device.clone().autodiff();
        let x = wave([rows, width], 0.0, &device).require_grad();
        // Some are 0 through a whole row.
        let real = wave([rows, 1], 1.0, &device).greater_elem(-1.0).float();
        let targets = wave([rows, width], 2.0, &device).greater_elem(0.0).float() * real.clone();
        let loss = form(x.clone(), targets, real) * 3.0;
        let grads = loss.backward();
        [loss.into_data(), x.grad(&grads).unwrap().into_data()]
    }

    fn check(device: &Device) {
        for kind in [Loss::CrossEntropy, Loss::BinaryCrossEntropy, Loss::SquaredError] {
            for sizes in [[1, 1], [4, 3], [33, 17], [700, 2], [3, 300]] {
                let terms = sizes[0];
                let ours = both(sizes, device, |x, t, weights| {
                    let weights = (kind != Loss::CrossEntropy).then_some(weights);
                    loss(kind, x, t, weights, terms)
                });
                let right = both(sizes, &Device::flex(), |x, t, weights| {
                    plain(kind, x, t, weights) / terms as f64
                });
                for (ours, right) in ours.iter().zip(&right) {
                    ours.assert_approx_eq::<f32>(right, Tolerance::rel_abs(1e-5, 1e-6));
                }
            }
        }
    }

    #[test]
    fn losses_and_their_gradients_equal_burn_s() {
        check(&Device::flex());
    }

    #[test]
    #[ignore = "needs a GPU, of which lavapipe is one: cargo test --lib gpu -- --ignored"]
    fn on_a_gpu_too_losses_equal_burn_s() {
        check(&super::super::gpu_for_tests());
    }

    /// Where the plain form has `0 · ∞`, too.
    #[test]
    fn large_logits_have_losses() {
        for kind in [Loss::CrossEntropy, Loss::BinaryCrossEntropy] {
            let device = Device::flex();
            let x = Tensor::<2>::from_floats([[200.0, -200.0]], &device);
            let t = Tensor::<2>::from_floats([[0.0, 1.0]], &device);
            let found: f32 = loss(kind, x, t, Some(Tensor::ones([1, 1], &device)), 1).into_scalar();
            assert_eq!(found, 400.0);
        }
    }
}
