//! Dropout whose mask is a hash of a seed and a place: nothing is stored for the way back, and
//! every device drops the same values.

use std::cell::Cell;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;

use super::host;
use super::noise::mix;

thread_local! {
    /// The seed of a forward pass, and how many masks it has drawn. A forward pass runs on one
    /// thread from end to end.
    static DRAWS: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
}

/// Starts the sequence of masks of a forward pass.
pub fn seed_dropout(seed: u64) {
    DRAWS.set((mix(seed as u32) ^ (seed >> 32) as u32, 0));
}

/// Zeroes a share of the values and scales the others up. Where there is no autodiff, `x` itself.
pub fn dropout<const D: usize>(x: Tensor<D>, prob: f64) -> Tensor<D> {
    if prob == 0.0 || !x.is_autodiff() {
        return x;
    }
    let (seed, draw) = DRAWS.get();
    DRAWS.set((seed, draw.wrapping_add(1)));
    let drop = Drop { key: mix(seed ^ mix(draw)), prob };
    Tensor::from_dispatch(Dispatch::drop_out(x.into_dispatch(), drop))
}

/// One mask.
#[derive(Debug, Clone, Copy)]
pub struct Drop {
    key: u32,
    prob: f64,
}

impl Drop {
    /// Hashes below it are dropped.
    pub(super) fn threshold(self) -> u32 {
        (self.prob * 2f64.powi(32)) as u32
    }

    pub(super) fn scale(self) -> f32 {
        (1.0 / (1.0 - self.prob)) as f32
    }

    pub(super) fn key(self) -> u32 {
        self.key
    }
}

#[backend_extension(Cube, Flex, Autodiff, Fusion)]
pub trait DropoutOps: Backend {
    #[fusion(dtype = x, shape = x)]
    fn drop_out(x: FloatTensor<Self>, drop: Drop) -> FloatTensor<Self>;
}

impl DropoutOps for Flex {
    fn drop_out(x: FloatTensor<Self>, drop: Drop) -> FloatTensor<Self> {
        let mut x = x.to_contiguous().into_data();
        let values = x.as_mut_slice::<f32>().expect("activations are f32");
        let chunks = values.chunks_mut(host::CHUNK).enumerate();
        let (threshold, scale) = (drop.threshold(), drop.scale());
        host::map(chunks.collect(), |(chunk, values): (usize, &mut [f32])| {
            let first = drop.key.wrapping_add((chunk * host::CHUNK) as u32);
            for (i, value) in values.iter_mut().enumerate() {
                let kept = mix(first.wrapping_add(i as u32)) >= threshold;
                *value *= if kept { scale } else { 0.0 };
            }
        });
        FloatTensor::<Flex>::from_data(x)
    }
}

impl<B: DropoutOps, C: CheckpointStrategy> DropoutOps for Autodiff<B, C> {
    fn drop_out(x: FloatTensor<Self>, drop: Drop) -> FloatTensor<Self> {
        match DropOut.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(drop, B::drop_out(x.into_primitive(), drop)),
            OpsKind::UnTracked(prep) => prep.finish(B::drop_out(x.into_primitive(), drop)),
        }
    }
}

#[derive(Debug)]
struct DropOut;

impl<B: DropoutOps> Backward<B, 1> for DropOut {
    type State = Drop;

    /// The gradient of a value that was dropped is dropped, too.
    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let drop = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |grad| B::drop_out(grad, drop));
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn ones() -> Tensor<2> {
        Tensor::ones([100, 1000], &Device::flex().autodiff()).require_grad()
    }

    fn values(tensor: Tensor<2>) -> Vec<f32> {
        tensor.inner().into_data().try_into_vec().unwrap()
    }

    #[test]
    fn a_share_is_dropped_and_the_rest_scaled_up() {
        seed_dropout(1);
        let dropped = values(dropout(ones(), 0.1));
        let zeros = dropped.iter().filter(|x| **x == 0.0).count() as f64 / 1e5;
        assert!((zeros - 0.1).abs() < 0.004, "{zeros}");
        assert!(dropped.iter().all(|x| *x == 0.0 || (*x - 1.0 / 0.9).abs() < 1e-6));
    }

    #[test]
    fn the_gradient_goes_through_the_same_holes() {
        let x = ones();
        let y = dropout(x.clone(), 0.3);
        let gradient = x.grad(&y.clone().sum().backward()).unwrap();
        assert_eq!(gradient.into_data().try_into_vec::<f32>().unwrap(), values(y));
    }

    #[test]
    fn masks_follow_the_seed_and_differ_from_each_other() {
        let draw = |seed| {
            seed_dropout(seed);
            [values(dropout(ones(), 0.5)), values(dropout(ones(), 0.5))]
        };
        assert_eq!(draw(1), draw(1));
        let ([a, b], [c, _]) = (draw(1), draw(2));
        let same = |a: &[f32], b: &[f32]| a.iter().zip(b).filter(|(a, b)| a == b).count();
        assert!([same(&a, &b), same(&a, &c)].iter().all(|n| (49_000..51_000).contains(n)));
    }

    #[test]
    fn nothing_is_dropped_without_autodiff() {
        let x = Tensor::<2>::ones([3, 3], &Device::flex());
        assert_eq!(dropout(x, 0.9).sum().into_scalar::<f32>(), 9.0);
    }
}
