//! The kernels for GPUs, in CubeCL: WGSL in a browser and through wgpu, SPIR-V, MSL or CUDA
//! where a build has those.

use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use super::dropout::DropoutOps;
use super::hash::Drop;
use super::noise::{NoiseOps, SMALL};
use super::optimizer::{AdamFactors, OptimizerOps, PARTIAL_SUMS};

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
) {
    let i = ABSOLUTE_POS;
    if i >= weight.len() {
        terminate!();
    }
    let g = grad[i] * clip[0];
    let m = first[i] * beta_1 + g * rest_1;
    let v = second[i] * beta_2 + g * g * rest_2;
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
    #[comptime] used: usize,
) {
    let i = ABSOLUTE_POS;
    let threads = sums.len();
    if i >= threads {
        terminate!();
    }
    let mut sum = sums[i] + strided_squares(a, i, threads);
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
    let key = mix(seed ^ mix(first_row + row));
    let bits = mix(key + column) >> 9;
    let v = (bits as f32 + 0.5) / 8388608.0;
    let series = v * (1.0 + v * (0.5 + v * (0.33333334 + v * 0.25)));
    let exponential = select(v < comptime!(SMALL), series, -((1.0 - v).ln()));
    logits[i] -= exponential.ln();
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
        let cube_dim = CubeDim::new(&weight.client, count);
        adam_kernel::launch(
            &weight.client,
            calculate_cube_count_elemwise(&weight.client, count, cube_dim),
            cube_dim,
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
    ) -> FloatTensor<Self> {
        let sums = owned(sums);
        let cube_dim = CubeDim::new(&sums.client, PARTIAL_SUMS);
        let [a, b, c, d] = [a, b, c, d].map(|x| into_contiguous(x).into_tensor_arg());
        add_squares_kernel::launch(
            &sums.client,
            calculate_cube_count_elemwise(&sums.client, PARTIAL_SUMS, cube_dim),
            cube_dim,
            sums.clone().into_tensor_arg(),
            a,
            b,
            c,
            d,
            used,
        );
        sums
    }
}

impl NoiseOps for CubeBackend {
    fn add_gumbel(logits: FloatTensor<Self>, seed: u32, first_row: u32) -> FloatTensor<Self> {
        let logits = owned(logits);
        let (count, columns) = (logits.meta.num_elements(), logits.meta.shape()[1]);
        let cube_dim = CubeDim::new(&logits.client, count);
        add_gumbel_kernel::launch(
            &logits.client,
            calculate_cube_count_elemwise(&logits.client, count, cube_dim),
            cube_dim,
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
        let cube_dim = CubeDim::new(&x.client, count);
        drop_out_kernel::launch(
            &x.client,
            calculate_cube_count_elemwise(&x.client, count, cube_dim),
            cube_dim,
            x.clone().into_tensor_arg(),
            drop.key,
            drop.threshold,
            drop.scale,
        );
        x
    }
}
