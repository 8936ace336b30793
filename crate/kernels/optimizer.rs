//! Adam and the gradient norm: one kernel a parameter where plain operations take a dozen.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Device, Tensor, TensorData};
use electra_host::adam;
pub use electra_host::adam::AdamFactors;

use super::flex;

/// One update of one parameter: the new weight and moments. All have the shape of the weight but
/// `clip`, `[1]`, which the gradient is multiplied by.
pub fn adam<const D: usize>(
    weight: Tensor<D>,
    grad: Tensor<D>,
    [first, second]: [Tensor<D>; 2],
    clip: Tensor<1>,
    factors: AdamFactors,
) -> [Tensor<D>; 3] {
    let [weight, grad, first, second] = [weight, grad, first, second].map(Tensor::into_dispatch);
    let (weight, first, second) =
        Dispatch::adam(weight, grad, first, second, clip.into_dispatch(), factors);
    [weight, first, second].map(Tensor::from_dispatch)
}

/// Gradients of one kernel; WebGPU promises eight buffers, and two are the result and its sizes.
const GROUP: usize = 4;

/// Threads, and partial sums, of that kernel.
pub(super) const PARTIAL_SUMS: usize = 1 << 12;

/// √(Σ x²) over all tensors, and what a gradient of that norm is multiplied by so that it is at most
/// `max_norm`: as torch.nn.utils.clip_grad_norm_, `max / (norm + 1e-6)`, at most 1. Both are `[1]` and stay on the
/// device.
pub fn norm_and_clip(tensors: Vec<Tensor<1>>, max_norm: f64, device: &Device) -> [Tensor<1>; 2] {
    assert!(!tensors.is_empty(), "something is trained");
    let mut sums = Tensor::<1>::empty([PARTIAL_SUMS], device).into_dispatch();
    for (number, group) in tensors.chunks(GROUP).enumerate() {
        // A short group repeats its last tensor, which the kernel then leaves out.
        let at = |i: usize| group[i.min(group.len() - 1)].clone().into_dispatch();
        sums = Dispatch::add_squares(sums, at(0), at(1), at(2), at(3), group.len(), number == 0);
    }
    let (norm, clip) = Dispatch::norm_and_clip(sums, max_norm);
    [norm, clip].map(Tensor::from_dispatch)
}

#[backend_extension(Cube, Flex)]
pub trait OptimizerOps: Backend {
    fn adam(
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        clip: FloatTensor<Self>,
        factors: AdamFactors,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// Adds the squares of the first `used` tensors to partial sums, `[PARTIAL_SUMS]`, which are 0 where
    /// they are `fresh`, whatever they hold.
    fn add_squares(
        sums: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        used: usize,
        fresh: bool,
    ) -> FloatTensor<Self>;

    /// Of these partial sums.
    fn norm_and_clip(
        sums: FloatTensor<Self>,
        max_norm: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// On the CPU, one pass over memory. The kernels of GPUs are in `gpu.rs`.
impl OptimizerOps for Flex {
    fn adam(
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        clip: FloatTensor<Self>,
        f: AdamFactors,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let clip = clip.to_contiguous().storage::<f32>()[0];
        let grad = grad.to_contiguous();
        // Hands the buffer over without a copy where nobody else holds it.
        let [mut weight, mut first, mut second] = [weight, first, second].map(|t| t.into_data());
        let [w, m, v] = [&mut weight, &mut first, &mut second].map(floats);
        adam::update(w, grad.storage::<f32>(), [m, v], clip, f);
        let [weight, first, second] = [weight, first, second].map(FloatTensor::<Flex>::from_data);
        (weight, first, second)
    }

    fn add_squares(
        sums: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        used: usize,
        fresh: bool,
    ) -> FloatTensor<Self> {
        let mut sums = sums.into_data();
        if fresh {
            floats(&mut sums).fill(0.0);
        }
        for tensor in [a, b, c, d].iter().take(used) {
            let tensor = tensor.to_contiguous();
            adam::add_squares(floats(&mut sums), tensor.storage::<f32>());
        }
        FloatTensor::<Flex>::from_data(sums)
    }

    fn norm_and_clip(
        sums: FloatTensor<Self>,
        max_norm: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let sums = sums.to_contiguous();
        let (norm, clip) = adam::norm_and_clip(sums.storage::<f32>(), max_norm as f32);
        (flex(vec![norm], [1]), flex(vec![clip], [1]))
    }
}

fn floats(data: &mut TensorData) -> &mut [f32] {
    data.as_mut_slice().expect("weights and moments are f32")
}

/// The update in plain tensor operations: what the kernels must equal.
#[cfg(test)]
pub fn plain_adam<const D: usize>(
    weight: Tensor<D>,
    grad: Tensor<D>,
    [first, second]: [Tensor<D>; 2],
    clip: Tensor<1>,
    f: AdamFactors,
) -> [Tensor<D>; 3] {
    let grad = grad * clip.unsqueeze();
    let first = first * f.beta_1 + grad.clone() * (1.0 - f.beta_1);
    let second = second * f.beta_2 + grad.clone() * grad * (1.0 - f.beta_2);
    let root = second.clone().sqrt() * f.root_scale + f.epsilon;
    let shape = weight.shape();
    let flat = weight.flatten::<1>(0, D - 1);
    let [decaying, rest] =
        [0..f.decaying, f.decaying..shape.num_elements()].map(|range| flat.clone().slice([range]));
    let kept = Tensor::cat(vec![decaying * f.keep, rest], 0).reshape(shape);
    let weight = kept - first.clone() / root * f.step_size;
    [weight, first, second]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(count: usize, scale: f64) -> Tensor<1> {
        let value = |i| ((i as f64 * 0.7).sin() * scale) as f32;
        let values: Vec<f32> = (0..count).map(value).collect();
        Tensor::from_data(TensorData::new(values, [count]), &Device::flex())
    }

    #[test]
    fn one_pass_equals_the_plain_form() {
        let factors = AdamFactors {
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-6,
            step_size: 0.01,
            root_scale: 1.5,
            keep: 0.999,
            decaying: 20_001,
            fresh: false,
        };
        let n = 40_000;
        let moments = || [wave(n, 0.1), wave(n, 0.2).abs()];
        let clip = Tensor::<1>::from_floats([0.5], &Device::flex());
        let plain = plain_adam(wave(n, 1.0), wave(n, 0.3), moments(), clip.clone(), factors);
        let fused = adam(wave(n, 1.0), wave(n, 0.3), moments(), clip, factors);
        for (plain, fused) in plain.into_iter().zip(fused) {
            let difference: f32 = (plain - fused).abs().max().into_scalar();
            assert!(difference < 1e-6, "{difference}");
        }
    }

    #[test]
    fn squares_of_any_number_of_tensors_add_up() {
        for count in 1..=9 {
            let tensors: Vec<_> = (1..=count).map(|i| wave(i * 1500, 1.0)).collect();
            let plain = tensors.iter().map(|t| (t.clone() * t.clone()).sum().into_scalar::<f32>());
            let plain: f32 = plain.sum();
            let [norm, clip] = norm_and_clip(tensors, 2.0, &Device::flex());
            let [norm, clip]: [f32; 2] = [norm, clip].map(Tensor::into_scalar);
            assert!((norm - plain.sqrt()).abs() < 1e-4 * norm, "{norm} {plain}");
            assert!((norm * clip - 2.0).abs() < 1e-4, "{norm} {clip}");
        }
    }

    #[test]
    fn a_small_gradient_is_not_clipped() {
        for scale in [0.0, 1e-3] {
            let [_, clip] = norm_and_clip(vec![wave(100, scale)], 2.0, &Device::flex());
            assert_eq!(clip.into_scalar::<f32>(), 1.0);
        }
    }
}
