//! The losses of fine-tuning and their gradients: one workgroup, for logits are few.

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use cubecl::prelude::*;
use electra_host::loss::Loss;

use super::super::loss::{LossOps, LossSlopes};
use super::{UNITS, empty, empty_like, owned, workgroups};

impl LossOps for CubeBackend {
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

impl LossSlopes for CubeBackend {
    fn loss_and_slopes(
        logits: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        kind: Loss,
        terms: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [logits, targets, weights] = [logits, targets, weights].map(into_contiguous);
        let [rows, width] = logits.shape().dims();
        let (loss, slopes) = (empty(&logits, [1]), empty_like(&logits));
        loss_kernel::launch(
            &slopes.client,
            CubeCount::new_single(),
            UNITS,
            logits.into_tensor_arg(),
            targets.into_tensor_arg(),
            weights.into_tensor_arg(),
            loss.clone().into_tensor_arg(),
            slopes.clone().into_tensor_arg(),
            rows as u32,
            width as u32,
            (terms as f32).recip(),
            kind,
        );
        (loss, slopes)
    }

    fn times(x: FloatTensor<Self>, factor: FloatTensor<Self>) -> FloatTensor<Self> {
        let x = owned(x);
        let count = x.meta.num_elements();
        times_kernel::launch(
            &x.client,
            workgroups(&x, count),
            UNITS,
            x.clone().into_tensor_arg(),
            into_contiguous(factor).into_tensor_arg(),
        );
        x
    }
}

/// A row a thread; `host/loss.rs` has the same in plain Rust.
#[cube(launch)]
fn loss_kernel(
    logits: &Tensor<f32>,
    targets: &Tensor<f32>,
    weights: &Tensor<f32>,
    loss: &mut Tensor<f32>,
    slopes: &mut Tensor<f32>,
    rows: u32,
    width: u32,
    over: f32,
    #[comptime] kind: Loss,
) {
    let mut cells = Shared::<[f32]>::new_slice(256usize);
    let (rows, width) = (rows as usize, width as usize);
    let unit = UNIT_POS as usize;
    let mut sum = 0.0f32;
    let mut row = unit;
    while row < rows {
        let at = row * width;
        if comptime!(kind == Loss::CrossEntropy) {
            let mut top = logits[at];
            for i in 1..width {
                let x = logits[at + i];
                top = select(x > top, x, top);
            }
            let mut exponentials = 0.0f32;
            let mut wanted = 0.0f32;
            let mut along = 0.0f32;
            for i in 0..width {
                let (x, t) = (logits[at + i] - top, targets[at + i]);
                exponentials += x.exp();
                wanted += t;
                along += x * t;
            }
            sum += exponentials.ln() * wanted - along;
            for i in 0..width {
                let p = (logits[at + i] - top).exp() / exponentials;
                slopes[at + i] = (p * wanted - targets[at + i]) * over;
            }
        } else {
            let weight = weights[row];
            for i in 0..width {
                let (x, t) = (logits[at + i], targets[at + i]);
                if comptime!(kind == Loss::BinaryCrossEntropy) {
                    let e = f32::exp(-x.abs());
                    let sigmoid = select(x < 0.0, e, 1.0f32) / (1.0 + e);
                    sum += (select(x > 0.0, x, 0.0f32) - x * t + (1.0 + e).ln()) * weight;
                    slopes[at + i] = (sigmoid - t) * weight * over;
                } else {
                    sum += (x - t) * (x - t) * weight;
                    slopes[at + i] = 2.0 * (x - t) * weight * over;
                }
            }
        }
        row += 256;
    }
    cells[unit] = sum;
    sync_cube();
    if unit == 0 {
        let mut total = 0.0f32;
        for i in 0..256usize {
            total += cells[i];
        }
        loss[0] = total * over;
    }
}

#[cube(launch)]
fn times_kernel(x: &mut Tensor<f32>, factor: &Tensor<f32>) {
    let i = ABSOLUTE_POS;
    if i < x.len() {
        x[i] *= factor[0];
    }
}
