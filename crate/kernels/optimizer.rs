//! Adam and the gradient norm: one kernel a parameter where plain operations take a dozen.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Device, Tensor, TensorData};

use super::host;

/// The numbers of one parameter's update.
#[derive(Debug, Clone, Copy)]
pub struct AdamFactors {
    pub beta_1: f64,
    pub beta_2: f64,
    /// Added outside the root.
    pub epsilon: f64,
    /// The learning rate over the first moment's correction.
    pub step_size: f64,
    /// One over the root of the second moment's correction.
    pub root_scale: f64,
    /// 1 - learning rate × weight decay.
    pub keep: f64,
    /// So many elements decay, from the first on.
    pub decaying: usize,
}

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

/// Σ x² over all tensors, `[1]`; stays on the device.
pub fn sum_of_squares(tensors: Vec<Tensor<1>>, device: &Device) -> Tensor<1> {
    let mut sums = Tensor::<1>::zeros([PARTIAL_SUMS], device).into_dispatch();
    for group in tensors.chunks(GROUP) {
        // A short group repeats its last tensor, which the kernel then leaves out.
        let at = |i: usize| group[i.min(group.len() - 1)].clone().into_dispatch();
        sums = Dispatch::add_squares(sums, at(0), at(1), at(2), at(3), group.len());
    }
    Tensor::<1>::from_dispatch(sums).sum()
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

    /// Adds the squares of the first `used` tensors to partial sums, `[PARTIAL_SUMS]`.
    fn add_squares(
        sums: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        used: usize,
    ) -> FloatTensor<Self>;
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
        let parts = floats(&mut weight).chunks_mut(host::CHUNK);
        let parts = parts.zip(floats(&mut first).chunks_mut(host::CHUNK));
        let parts = parts.zip(floats(&mut second).chunks_mut(host::CHUNK));
        let parts = parts.zip(grad.storage::<f32>().chunks(host::CHUNK));
        host::map(parts.enumerate().collect(), |(number, (((w, m), v), g))| {
            let decaying = f.decaying.saturating_sub(number * host::CHUNK).min(w.len());
            let ([w, w_2], [m, m_2]) = (cut(w, decaying), cut(m, decaying));
            let ([v, v_2], (g, g_2)) = (cut(v, decaying), g.split_at(decaying));
            adam_chunk(w, g, m, v, clip, f);
            adam_chunk(w_2, g_2, m_2, v_2, clip, AdamFactors { keep: 1.0, ..f });
        });
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
    ) -> FloatTensor<Self> {
        let mut sums = sums.into_data();
        for tensor in [a, b, c, d].iter().take(used) {
            let tensor = tensor.to_contiguous();
            for (part, x) in tensor.storage::<f32>().chunks(1024).enumerate() {
                let square = host::sum(x.len(), |i| x[i] * x[i]);
                floats(&mut sums)[part % PARTIAL_SUMS] += square;
            }
        }
        FloatTensor::<Flex>::from_data(sums)
    }
}

fn floats(data: &mut TensorData) -> &mut [f32] {
    data.as_mut_slice().expect("weights and moments are f32")
}

fn cut(floats: &mut [f32], at: usize) -> [&mut [f32]; 2] {
    floats.split_at_mut(at).into()
}

fn adam_chunk(w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], clip: f32, f: AdamFactors) {
    let (beta_1, beta_2) = (f.beta_1 as f32, f.beta_2 as f32);
    let (rest_1, rest_2) = ((1.0 - f.beta_1) as f32, (1.0 - f.beta_2) as f32);
    let (epsilon, step_size) = (f.epsilon as f32, f.step_size as f32);
    let (root_scale, keep) = (f.root_scale as f32, f.keep as f32);
    for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
        let g = g * clip;
        *m = *m * beta_1 + g * rest_1;
        *v = *v * beta_2 + g * g * rest_2;
        *w = *w * keep - *m / (v.sqrt() * root_scale + epsilon) * step_size;
    }
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
            let ours: f32 = sum_of_squares(tensors, &Device::flex()).into_scalar();
            assert!((ours - plain).abs() < 1e-4 * plain, "{ours} {plain}");
        }
    }
}
