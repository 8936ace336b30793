//! The kernels for GPUs, in CubeCL: WGSL in a browser and through wgpu, SPIR-V, MSL or CUDA
//! where a build has those.

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::tensor::Shape;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;
use electra_host::hash::Drop;
use electra_host::noise::SMALL;

use crate::config::Activation;

use super::differentiable::DifferentiableOps;
use super::dropout::DropoutOps;
use super::linear::{AffineGradients, LinearOps};
use super::noise::NoiseOps;
use super::optimizer::{AdamFactors, OptimizerOps, PARTIAL_SUMS};

mod attention;
mod embed;
pub mod layer;
mod loss;
mod product;
mod rows;
#[cfg(not(target_family = "wasm"))]
mod vocabulary;

use product::{Epilogue, Form, Matrix, Outer, outer, product};
use rows::{At, Norm, columns, empty_sums, norm, norm_back};

/// Four floats that are read, multiplied and added together.
type Four = Vector<f32, Const<4>>;

/// Keeps everything.
const NO_DROP: Drop = Drop { key: 0, threshold: 0, scale: 1.0 };

/// A workgroup of those kernels whose threads do a number each. CubeCL's own depends on how many there are, and
/// each size is a pipeline to compile.
const UNITS: CubeDim = CubeDim::new_1d(256);

/// So many of them as do so many numbers.
fn workgroups(on: &CubeTensor, numbers: usize) -> CubeCount {
    calculate_cube_count_elemwise(&on.client, numbers, UNITS)
}

/// A tensor beside another one, for a kernel to fill.
fn empty<const D: usize>(like: &CubeTensor, shape: [usize; D]) -> CubeTensor {
    let (client, device) = (like.client.clone(), like.device.clone());
    empty_device_contiguous_dtype(client, device, Shape::from(shape), like.dtype)
}

fn empty_like(like: &CubeTensor) -> CubeTensor {
    shaped(empty(like, [like.meta.num_elements()]), like.shape())
}

/// The same values in another shape.
fn shaped(tensor: CubeTensor, shape: Shape) -> CubeTensor {
    let CubeTensor { client, device, handle, dtype, .. } = tensor;
    CubeTensor::new_contiguous(client, device, shape, handle, dtype)
}

/// Floats at whose multiples a part of a buffer may be bound.
const ALIGNED: usize = 64;

/// Some of a tensor's numbers; the first is a multiple of [`ALIGNED`].
fn part<const D: usize>(tensor: &CubeTensor, first: usize, shape: [usize; D]) -> CubeTensor {
    let mut part = shaped(tensor.clone(), Shape::from(shape));
    part.handle = part.handle.offset_start((first * size_of::<f32>()) as u64);
    part
}

/// How many of four columns from this one on there are.
#[cube]
fn clip(column: usize, columns: usize) -> usize {
    select(column < columns, columns - column, 0usize)
}

/// The first `count` of four numbers that lie so far apart, and nothing for the others.
#[cube]
fn four<E: Float>(from: &Tensor<E>, start: usize, apart: usize, count: usize) -> Four {
    let mut four = Four::new(0.0);
    #[unroll]
    for i in 0..4usize {
        four.insert(i, select(i < count, f32::cast_from(from[start + i * apart]), 0.0f32));
    }
    four
}

#[cube]
fn sum_of(four: Four) -> f32 {
    four.extract(0usize) + four.extract(1usize) + four.extract(2usize) + four.extract(3usize)
}

/// What dropout multiplies the value of a place by.
#[cube]
fn factor(key: u32, place: usize, threshold: u32, scale: f32) -> f32 {
    select(mix(key + place as u32) >= threshold, scale, 0.0f32)
}

/// `f(x)`
#[cube]
fn value(x: f32, #[comptime] f: Activation) -> f32 {
    let (value, _) = value_and_slope(x, f);
    value
}

/// `f(x)` and `f'(x)`; `host/math.rs` has the same in plain Rust.
#[cube]
fn value_and_slope(x: f32, #[comptime] f: Activation) -> (f32, f32) {
    if comptime!(f == Activation::Gelu) {
        let z = x.abs() * 0.70710677;
        let e = f32::exp(-(z * z));
        let t = 1.0 / (0.3275911 * z + 1.0);
        let p = (((1.0614054 * t - 1.453152) * t + 1.4214137) * t - 0.28449674) * t + 0.2548296;
        let tail = 0.5 * p * t * e;
        let cdf = select(x < 0.0, tail, 1.0 - tail);
        (x * cdf, cdf + x * 0.3989423 * e)
    } else if comptime!(f == Activation::GeluNew) {
        let y = tanh((x + 0.044715 * x * x * x) * 0.7978846);
        let slope = (1.0 - y * y) * 0.7978846 * (1.0 + 0.134145 * x * x);
        (0.5 * x * (1.0 + y), 0.5 * (1.0 + y) + 0.5 * x * slope)
    } else if comptime!(f == Activation::Relu) {
        (select(x <= 0.0, 0.0f32, x), select(x <= 0.0, 0.0f32, 1.0f32))
    } else if comptime!(f == Activation::Silu) {
        let sigmoid = 1.0 / (1.0 + f32::exp(-x));
        (x * sigmoid, sigmoid + x * sigmoid * (1.0 - sigmoid))
    } else {
        let y = tanh(x);
        (y, 1.0 - y * y)
    }
}

/// Of a GPU's own, large arguments may be no numbers.
#[cube]
fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / ((2.0 * x).exp() + 1.0)
}

#[cube(launch)]
fn adam_kernel(
    weight: &mut Tensor<f32>,
    grad: &Tensor<f32>,
    first: &mut Tensor<f32>,
    second: &mut Tensor<f32>,
    clip: &Tensor<f32>,
    beta_1: f32,
    rest_1: f32,
    beta_2: f32,
    rest_2: f32,
    epsilon: f32,
    step_size: f32,
    root_scale: f32,
    keep: f32,
    decaying: u32,
    fresh: u32,
) {
    let i = ABSOLUTE_POS;
    if i >= weight.len() {
        terminate!();
    }
    let g = grad[i] * clip[0];
    let m = select(fresh == 1, 0.0f32, first[i] * beta_1) + g * rest_1;
    let v = select(fresh == 1, 0.0f32, second[i] * beta_2) + g * g * rest_2;
    first[i] = m;
    second[i] = v;
    let keep = select((i as u32) < decaying, keep, 1.0f32);
    weight[i] = weight[i] * keep - m / (v.sqrt() * root_scale + epsilon) * step_size;
}

#[cube(launch)]
fn add_squares_kernel(
    sums: &mut Tensor<f32>,
    a: &Tensor<f32>,
    b: &Tensor<f32>,
    c: &Tensor<f32>,
    d: &Tensor<f32>,
    used: u32,
    fresh: u32,
) {
    let i = ABSOLUTE_POS;
    let threads = sums.len();
    if i >= threads {
        terminate!();
    }
    let mut sum = select(fresh == 1, 0.0f32, sums[i]) + strided_squares(a, i, threads);
    if used > 1 {
        sum += strided_squares(b, i, threads);
    }
    if used > 2 {
        sum += strided_squares(c, i, threads);
    }
    if used > 3 {
        sum += strided_squares(d, i, threads);
    }
    sums[i] = sum;
}

/// One workgroup.
#[cube(launch)]
fn norm_and_clip_kernel(
    sums: &Tensor<f32>,
    norm: &mut Tensor<f32>,
    clip: &mut Tensor<f32>,
    max_norm: f32,
) {
    let mut cells = Shared::<[f32]>::new_slice(256usize);
    let unit = UNIT_POS as usize;
    let mut sum = 0.0f32;
    let mut i = unit;
    while i < sums.len() {
        sum += sums[i];
        i += 256;
    }
    cells[unit] = sum;
    sync_cube();
    if unit == 0 {
        let mut sum = 0.0f32;
        for i in 0..256usize {
            sum += cells[i];
        }
        let root = sum.sqrt();
        norm[0] = root;
        let factor = 1.0 / (root + 1e-6) * max_norm;
        clip[0] = select(factor > 1.0, 1.0f32, factor);
    }
}

#[cube]
fn strided_squares(x: &Tensor<f32>, start: usize, stride: usize) -> f32 {
    let mut sum = 0.0f32;
    let mut i = start;
    while i < x.len() {
        sum += x[i] * x[i];
        i += stride;
    }
    sum
}

/// `noise.rs` has the same in plain Rust.
#[cube(launch)]
fn add_gumbel_kernel(logits: &mut Tensor<f32>, columns: u32, seed: u32, first_row: u32) {
    let i = ABSOLUTE_POS;
    if i >= logits.len() {
        terminate!();
    }
    let (row, column) = (i as u32 / columns, i as u32 % columns);
    logits[i] += gumbel(row_key(seed, first_row + row), column);
}

#[cube]
fn row_key(seed: u32, row: u32) -> u32 {
    mix(seed ^ mix(row))
}

#[cube]
fn gumbel(key: u32, column: u32) -> f32 {
    let bits = mix(key + column) >> 9;
    let v = (bits as f32 + 0.5) / 8388608.0;
    let series = v * (1.0 + v * (0.5 + v * (0.33333334 + v * 0.25)));
    let exponential = select(v < comptime!(SMALL), series, -((1.0 - v).ln()));
    -(exponential.ln())
}

/// `dropout.rs` has the same in plain Rust.
#[cube(launch)]
fn drop_out_kernel(x: &mut Tensor<f32>, key: u32, threshold: u32, scale: f32) {
    let i = ABSOLUTE_POS;
    if i >= x.len() {
        terminate!();
    }
    let kept = mix(key + i as u32) >= threshold;
    x[i] *= select(kept, scale, 0.0f32);
}

#[cube]
fn mix(x: u32) -> u32 {
    let a = (x ^ (x >> 16)) * 0x7feb352d;
    let b = (a ^ (a >> 15)) * 0x846ca68b;
    b ^ (b >> 16)
}

/// A buffer that nobody else reads, so that a kernel may write into it.
fn owned(tensor: FloatTensor<CubeBackend>) -> FloatTensor<CubeBackend> {
    let tensor = into_contiguous(tensor);
    if tensor.can_mut() { tensor } else { tensor.copy() }
}

impl OptimizerOps for CubeBackend {
    fn adam(
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        clip: FloatTensor<Self>,
        f: AdamFactors,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [weight, first, second] = [weight, first, second].map(owned);
        let count = weight.meta.num_elements();
        adam_kernel::launch(
            &weight.client,
            workgroups(&weight, count),
            UNITS,
            weight.clone().into_tensor_arg(),
            into_contiguous(grad).into_tensor_arg(),
            first.clone().into_tensor_arg(),
            second.clone().into_tensor_arg(),
            clip.into_tensor_arg(),
            f.beta_1 as f32,
            (1.0 - f.beta_1) as f32,
            f.beta_2 as f32,
            (1.0 - f.beta_2) as f32,
            f.epsilon as f32,
            f.step_size as f32,
            f.root_scale as f32,
            f.keep as f32,
            f.decaying as u32,
            f.fresh as u32,
        );
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
        let sums = owned(sums);
        let [a, b, c, d] = [a, b, c, d].map(|x| into_contiguous(x).into_tensor_arg());
        add_squares_kernel::launch(
            &sums.client,
            workgroups(&sums, PARTIAL_SUMS),
            UNITS,
            sums.clone().into_tensor_arg(),
            a,
            b,
            c,
            d,
            used as u32,
            fresh as u32,
        );
        sums
    }

    fn norm_and_clip(
        sums: FloatTensor<Self>,
        max_norm: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (norm, clip) = (empty(&sums, [1]), empty(&sums, [1]));
        norm_and_clip_kernel::launch(
            &sums.client.clone(),
            CubeCount::new_single(),
            UNITS,
            into_contiguous(sums).into_tensor_arg(),
            norm.clone().into_tensor_arg(),
            clip.clone().into_tensor_arg(),
            max_norm as f32,
        );
        (norm, clip)
    }
}

#[cube(launch)]
fn activation_kernel(x: &Tensor<f32>, y: &mut Tensor<f32>, #[comptime] f: Activation) {
    let i = ABSOLUTE_POS;
    if i < y.len() {
        y[i] = value(x[i], f);
    }
}

#[cube(launch)]
fn activation_back_kernel(
    x: &Tensor<f32>,
    grad: &Tensor<f32>,
    grad_x: &mut Tensor<f32>,
    #[comptime] f: Activation,
) {
    let i = ABSOLUTE_POS;
    if i < grad_x.len() {
        let (_, slope) = value_and_slope(x[i], f);
        grad_x[i] = grad[i] * slope;
    }
}

impl DifferentiableOps for CubeBackend {
    fn exact_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let x = into_contiguous(x);
        let (y, count) = (empty_like(&x), x.meta.num_elements());
        activation_kernel::launch(
            &x.client.clone(),
            workgroups(&x, count),
            UNITS,
            x.into_tensor_arg(),
            y.clone().into_tensor_arg(),
            Activation::Gelu,
        );
        y
    }

    fn exact_gelu_backward(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        let [x, grad] = [x, grad].map(into_contiguous);
        let (grad_x, count) = (empty_like(&x), x.meta.num_elements());
        activation_back_kernel::launch(
            &x.client.clone(),
            workgroups(&x, count),
            UNITS,
            x.into_tensor_arg(),
            grad.into_tensor_arg(),
            grad_x.clone().into_tensor_arg(),
            Activation::Gelu,
        );
        grad_x
    }

    fn row_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let [x, gamma, beta] = [x, gamma, beta].map(into_contiguous);
        let (gamma, beta) = (At(&gamma, 0), At(&beta, 0));
        let hidden = gamma.0.meta.num_elements();
        let [y, _] = norm(&x, Norm { gamma, beta, hidden, epsilon });
        shaped(y, x.shape())
    }

    fn row_norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [x, gamma, grad] = [x, gamma, grad].map(into_contiguous);
        let hidden = gamma.meta.num_elements();
        let rows = x.meta.num_elements() / hidden;
        let (gamma, sums) = (At(&gamma, 0), empty_sums(1, &x, rows, hidden));
        // Means and deviations again, instead of keeping them.
        let [_, stats] = norm(&x, Norm { gamma, beta: gamma, hidden, epsilon });
        let [grad_x, _] = norm_back(&grad, [&x, &stats], gamma, hidden, None, (&sums, 0));
        let [of_gamma, of_beta] = [0, hidden].map(|first| {
            let into = empty(&x, [hidden]);
            columns(&sums, first..first + hidden, rows, At(&into, 0));
            into
        });
        (shaped(grad_x, x.shape()), of_gamma, of_beta)
    }
}

impl LinearOps for CubeBackend {
    fn affine(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let [x, weight, bias] = [x, weight, bias].map(into_contiguous);
        let mut shape = x.shape();
        let matrix = rows_of(&weight);
        let last = shape.num_dims() - 1;
        shape[last] = matrix.outputs;
        let y = product(&x, [&weight, &bias], matrix, false, Epilogue::Bias, None, None);
        shaped(y, shape)
    }
}

impl AffineGradients for CubeBackend {
    fn affine_x_backward(weight: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        let [weight, grad] = [weight, grad].map(into_contiguous);
        let mut shape = grad.shape();
        let matrix = rows_of(&weight);
        let last = shape.num_dims() - 1;
        shape[last] = matrix.inputs;
        let grad_x = product(&grad, [&weight; 2], matrix, true, Epilogue::Plain, None, None);
        shaped(grad_x, shape)
    }

    fn affine_weight_backward(
        x: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [x, grad] = [x, grad].map(into_contiguous);
        let width = |tensor: &CubeTensor| tensor.shape()[tensor.shape().num_dims() - 1];
        let [inputs, outputs] = [&x, &grad].map(width);
        // Both in one buffer, the bias behind the matrix.
        let bias = (inputs * outputs).next_multiple_of(ALIGNED);
        let all = empty(&x, [bias + outputs]);
        let matrix = Matrix { form: Form::Rows, at: 0, inputs, outputs, bias };
        outer(Outer { a: &x, b: &grad, matrix }, None, &all);
        (part(&all, 0, [inputs, outputs]), part(&all, bias, [outputs]))
    }
}

/// A matrix that is all of a tensor, its bias all of another.
fn rows_of(weight: &CubeTensor) -> Matrix {
    let shape = weight.shape();
    Matrix { form: Form::Rows, at: 0, inputs: shape[0], outputs: shape[1], bias: 0 }
}

impl NoiseOps for CubeBackend {
    fn add_gumbel(logits: FloatTensor<Self>, seed: u32, first_row: u32) -> FloatTensor<Self> {
        let logits = owned(logits);
        let (count, columns) = (logits.meta.num_elements(), logits.meta.shape()[1]);
        add_gumbel_kernel::launch(
            &logits.client,
            workgroups(&logits, count),
            UNITS,
            logits.clone().into_tensor_arg(),
            columns as u32,
            seed,
            first_row,
        );
        logits
    }
}

impl DropoutOps for CubeBackend {
    fn drop_out(x: FloatTensor<Self>, drop: Drop) -> FloatTensor<Self> {
        let x = owned(x);
        let count = x.meta.num_elements();
        drop_out_kernel::launch(
            &x.client,
            workgroups(&x, count),
            UNITS,
            x.clone().into_tensor_arg(),
            drop.key,
            drop.threshold,
            drop.scale,
        );
        x
    }
}

#[cfg(test)]
pub mod testing {
    use std::sync::OnceLock;

    use burn::backend::ops::FloatTensorOps;
    use burn::tensor::{Device, TensorData};

    use super::*;

    /// One for all tests: a process can open a GPU only once.
    pub fn device() -> Device {
        static GPU: OnceLock<Device> = OnceLock::new();
        GPU.get_or_init(|| crate::device::pick("wgpu").unwrap().device).clone()
    }

    pub fn tensor<const D: usize>(values: &[f32], shape: [usize; D]) -> CubeTensor {
        device();
        let data = TensorData::new(values.to_vec(), shape);
        CubeBackend::float_from_data(data, &burn_cubecl::CubeDevice::default())
    }

    /// One that holds what a kernel must not leave.
    pub fn rubbish<const D: usize>(shape: [usize; D]) -> CubeTensor {
        tensor(&vec![f32::NAN; shape.iter().product()], shape)
    }

    pub fn read(tensor: CubeTensor) -> Vec<f32> {
        let data = pollster::block_on(CubeBackend::float_into_data(tensor)).unwrap();
        data.try_into_vec().unwrap()
    }

    /// Values between about -1 and 1, the same every time.
    pub fn wave(count: usize, phase: f32) -> Vec<f32> {
        let value = |i: usize| (i as f32 * 0.73 + phase).sin() * (i as f32 * 0.011 + phase).cos();
        (0..count).map(value).collect()
    }

    /// `f(x)` and `f'(x)` as the CPU has them.
    pub fn right(f: Activation, x: f32) -> (f32, f32) {
        use electra_host::math;
        match f {
            Activation::Gelu => math::gelu(x),
            Activation::GeluNew => math::gelu_new(x),
            Activation::Relu => math::relu(x),
            Activation::Silu => math::silu(x),
            Activation::Tanh => math::tanh(x),
        }
    }

    /// Both are as far apart as rounding takes them.
    pub fn close(name: &str, ours: &[f32], right: &[f32]) {
        assert_eq!(ours.len(), right.len(), "{name}");
        let largest = right.iter().fold(1f32, |largest, x| largest.max(x.abs()));
        let far = |(a, b): (&f32, &f32)| (a - b).is_nan() || (a - b).abs() > 2e-5 * largest;
        if let Some(i) = ours.iter().zip(right).position(far) {
            panic!("{name}: number {i} is {} instead of {}", ours[i], right[i]);
        }
    }
}
