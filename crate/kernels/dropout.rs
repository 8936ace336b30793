//! Dropout whose mask is a hash of a seed and a place: nothing is stored for the backward pass, and
//! every device drops the same values.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use electra_host::hash::{self, Drop, mix};

/// The dropout masks of one forward pass, drawn in turn; of a pass that drops nothing, none.
///
/// Which mask a place in the network gets follows from the seed and from how many were drawn before
/// it, so the order of the places is part of what a run with a seed computes.
#[derive(Debug, Clone)]
pub struct DropoutMasks {
    seed: Option<u32>,
    drawn: u32,
}

impl DropoutMasks {
    /// For predictions and evaluations.
    pub fn none() -> Self {
        DropoutMasks { seed: None, drawn: 0 }
    }

    /// For a pass that is trained on.
    pub fn seeded(seed: u64) -> Self {
        DropoutMasks { seed: Some(mix(seed as u32) ^ (seed >> 32) as u32), drawn: 0 }
    }

    /// The mask of the next place, where a share of `prob` is dropped; a place that drops nothing
    /// takes none.
    pub fn draw(&mut self, prob: f64) -> Option<Drop> {
        let seed = self.seed.filter(|_| prob > 0.0)?;
        let key = mix(seed ^ mix(self.drawn));
        self.drawn = self.drawn.wrapping_add(1);
        Some(Drop::new(key, prob))
    }
}

/// Zeroes a share of the values and scales the others up; without a mask, `x` itself.
pub fn dropout<const D: usize>(x: Tensor<D>, mask: Option<Drop>) -> Tensor<D> {
    match mask {
        Some(drop) => Tensor::from_dispatch(Dispatch::drop_out(x.into_dispatch(), drop)),
        None => x,
    }
}

#[backend_extension(Cube, Flex, Autodiff)]
pub trait DropoutOps: Backend {
    fn drop_out(x: FloatTensor<Self>, drop: Drop) -> FloatTensor<Self>;
}

impl DropoutOps for Flex {
    fn drop_out(x: FloatTensor<Self>, drop: Drop) -> FloatTensor<Self> {
        let mut x = x.to_contiguous().into_data();
        let values = x.as_mut_slice::<f32>().expect("activations are f32");
        hash::drop_out(values, drop);
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
        let dropped = values(dropout(ones(), DropoutMasks::seeded(1).draw(0.1)));
        let zeros = dropped.iter().filter(|x| **x == 0.0).count() as f64 / 1e5;
        assert!((zeros - 0.1).abs() < 0.004, "{zeros}");
        assert!(dropped.iter().all(|x| *x == 0.0 || (*x - 1.0 / 0.9).abs() < 1e-6));
    }

    #[test]
    fn the_gradient_goes_through_the_same_holes() {
        let x = ones();
        let y = dropout(x.clone(), DropoutMasks::seeded(2).draw(0.3));
        let gradient = x.grad(&y.clone().sum().backward()).unwrap();
        assert_eq!(gradient.into_data().try_into_vec::<f32>().unwrap(), values(y));
    }

    #[test]
    fn masks_follow_the_seed_and_differ_from_each_other() {
        let draw = |seed| {
            let mut masks = DropoutMasks::seeded(seed);
            [(); 2].map(|()| values(dropout(ones(), masks.draw(0.5))))
        };
        assert_eq!(draw(1), draw(1));
        let ([a, b], [c, _]) = (draw(1), draw(2));
        let same = |a: &[f32], b: &[f32]| a.iter().zip(b).filter(|(a, b)| a == b).count();
        assert!([same(&a, &b), same(&a, &c)].iter().all(|n| (49_000..51_000).contains(n)));
    }

    /// A run that goes on after an update of the program draws what it would have drawn.
    #[test]
    fn the_masks_of_a_seed_stay_what_they_are() {
        let mut masks = DropoutMasks::seeded(0x1234_5678_9abc_def0);
        let keys = [0.1, 0.0, 0.5, 0.2].map(|prob| masks.draw(prob).map(|drop| drop.key));
        assert_eq!(keys, [Some(0x2c02_a127), None, Some(0x5fce_1029), Some(0x09b5_4100)]);
    }

    #[test]
    fn nothing_is_dropped_without_a_seed() {
        let mut masks = DropoutMasks::none();
        assert!(values(dropout(ones(), masks.draw(0.9))).iter().all(|x| *x == 1.0));
    }
}
