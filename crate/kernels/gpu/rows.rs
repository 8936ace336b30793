//! LayerNorm, forward and back: sixteen threads a row, sixteen rows a workgroup.

use std::ops::Range;

use burn::backend::TensorMetadata;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::{NO_DROP, empty, factor};
use electra_host::hash::Drop;

/// Where numbers begin in a tensor.
#[derive(Debug, Clone, Copy)]
pub struct At<'a>(pub &'a CubeTensor, pub usize);

/// A norm of rows, `[rows, hidden]`.
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a> {
    /// `[hidden]` each.
    pub gamma: At<'a>,
    pub beta: At<'a>,
    pub hidden: usize,
    pub epsilon: f64,
}

/// `n γ + β`, `[rows, hidden]`, and of each row the mean and one over the deviation, `[rows, 2]`.
pub fn norm(rows: &CubeTensor, norm: Norm) -> [CubeTensor; 2] {
    let count = rows.shape().num_elements() / norm.hidden;
    let (y, stats) = (empty(rows, [count, norm.hidden]), empty(rows, [count, 2]));
    norm_kernel::launch(
        &rows.client,
        CubeCount::Static(blocks(count) as u32, 1, 1),
        CubeDim::new_1d(256),
        rows.clone().into_tensor_arg(),
        norm.gamma.0.clone().into_tensor_arg(),
        norm.beta.0.clone().into_tensor_arg(),
        y.clone().into_tensor_arg(),
        stats.clone().into_tensor_arg(),
        count as u32,
        norm.hidden as u32,
        norm.gamma.1 as u32,
        norm.beta.1 as u32,
        norm.epsilon as f32,
    );
    [y, stats]
}

/// So many workgroups take the rows, and leave a sum each.
fn blocks(rows: usize) -> usize {
    rows.div_ceil(16)
}

/// The sums that so many norms of as many rows leave, before [`columns`] adds them up.
pub fn empty_sums(norms: usize, like: &CubeTensor, rows: usize, hidden: usize) -> CubeTensor {
    empty(like, [norms * blocks(rows), 2 * hidden])
}

/// The gradient of the rows, and what of it is not dropped; `number` says in which norm's place the
/// sums for gamma and beta belong.
pub fn norm_back(
    grad: &CubeTensor,
    [rows, stats]: [&CubeTensor; 2],
    gamma: At,
    hidden: usize,
    drop: Option<Drop>,
    (sums, number): (&CubeTensor, usize),
) -> [CubeTensor; 2] {
    let count = rows.shape().num_elements() / hidden;
    let [grad_rows, kept] = [(); 2].map(|()| empty(rows, [count, hidden]));
    let drop = drop.unwrap_or(NO_DROP);
    norm_back_kernel::launch(
        &rows.client,
        CubeCount::Static(blocks(count) as u32, 1, 1),
        CubeDim::new_1d(256),
        grad.clone().into_tensor_arg(),
        rows.clone().into_tensor_arg(),
        stats.clone().into_tensor_arg(),
        gamma.0.clone().into_tensor_arg(),
        grad_rows.clone().into_tensor_arg(),
        kept.clone().into_tensor_arg(),
        sums.clone().into_tensor_arg(),
        count as u32,
        hidden as u32,
        gamma.1 as u32,
        (number * blocks(count)) as u32,
        drop.key,
        drop.threshold,
        drop.scale,
    );
    [grad_rows, kept]
}

/// Adds up what [`norm_back`] left: of γ and β of the first norm, then of the second, these numbers.
pub fn columns(sums: &CubeTensor, numbers: Range<usize>, rows: usize, into: At) {
    let width = sums.shape()[1];
    columns_kernel::launch(
        &sums.client,
        CubeCount::Static(numbers.len().div_ceil(64) as u32, 1, 1),
        CubeDim::new_1d(64),
        sums.clone().into_tensor_arg(),
        into.0.clone().into_tensor_arg(),
        into.1 as u32,
        numbers.start as u32,
        numbers.len() as u32,
        width as u32,
        blocks(rows) as u32,
    );
}

#[cube(launch)]
fn norm_kernel(
    rows: &Tensor<f32>,
    gammas: &Tensor<f32>,
    betas: &Tensor<f32>,
    y: &mut Tensor<f32>,
    stats: &mut Tensor<f32>,
    count: u32,
    hidden: u32,
    gamma: u32,
    beta: u32,
    epsilon: f32,
) {
    let mut cells = Shared::<[f32]>::new_slice(256usize);
    let (row, lane) = place();
    // A row that is not there has no columns.
    let columns = select(row < count as usize, hidden as usize, 0usize);
    let at = row * hidden as usize;
    let over = 1.0 / f32::cast_from(hidden);

    let mut sum = 0.0f32;
    let mut i = lane;
    while i < columns {
        sum += rows[at + i];
        i += 16;
    }
    let mean = over_row(&mut cells, sum) * over;
    let mut sum = 0.0f32;
    let mut i = lane;
    while i < columns {
        let x = rows[at + i] - mean;
        sum += x * x;
        i += 16;
    }
    let scale = 1.0 / (over_row(&mut cells, sum) * over + epsilon).sqrt();
    let mut i = lane;
    while i < columns {
        let n = (rows[at + i] - mean) * scale;
        y[at + i] = n * gammas[gamma as usize + i] + betas[beta as usize + i];
        i += 16;
    }
    if lane == 0 && row < count as usize {
        stats[row * 2] = mean;
        stats[row * 2 + 1] = scale;
    }
}

#[cube(launch)]
fn norm_back_kernel(
    grad: &Tensor<f32>,
    rows: &Tensor<f32>,
    stats: &Tensor<f32>,
    gammas: &Tensor<f32>,
    grad_rows: &mut Tensor<f32>,
    kept: &mut Tensor<f32>,
    sums: &mut Tensor<f32>,
    count: u32,
    hidden: u32,
    gamma: u32,
    first_block: u32,
    key: u32,
    threshold: u32,
    keep: f32,
) {
    let mut cells = Shared::<[f32]>::new_slice(256usize);
    let (row, lane) = place();
    let (count, width, gamma) = (count as usize, hidden as usize, gamma as usize);
    let columns = select(row < count, width, 0usize);
    let at = row * width;
    let over = 1.0 / f32::cast_from(hidden);
    let (mean, scale) = (stats[row * 2], stats[row * 2 + 1]);

    let mut sum = 0.0f32;
    let mut along = 0.0f32;
    let mut i = lane;
    while i < columns {
        let w = grad[at + i] * gammas[gamma + i];
        sum += w;
        along += w * (rows[at + i] - mean) * scale;
        i += 16;
    }
    let sum = over_row(&mut cells, sum) * over;
    let along = over_row(&mut cells, along) * over;
    let mut i = lane;
    while i < columns {
        let w = grad[at + i] * gammas[gamma + i];
        let x = (w - sum - (rows[at + i] - mean) * scale * along) * scale;
        grad_rows[at + i] = x;
        kept[at + i] = x * factor(key, at + i, threshold, keep);
        i += 16;
    }

    // A column a thread: this workgroup's rows of it.
    let block = CUBE_POS_X as usize;
    let into = (first_block as usize + block) * 2 * width;
    let mut column = UNIT_POS as usize;
    while column < width {
        let mut of_gamma = 0.0f32;
        let mut of_beta = 0.0f32;
        for i in 0..16usize {
            let row = block * 16 + i;
            if row < count {
                let g = grad[row * width + column];
                of_gamma += g * (rows[row * width + column] - stats[row * 2]) * stats[row * 2 + 1];
                of_beta += g;
            }
        }
        sums[into + column] = of_gamma;
        sums[into + width + column] = of_beta;
        column += 256;
    }
}

/// Width is that of gamma and beta together.
#[cube(launch)]
fn columns_kernel(
    sums: &Tensor<f32>,
    into: &mut Tensor<f32>,
    at: u32,
    start: u32,
    count: u32,
    width: u32,
    blocks: u32,
) {
    let i = CUBE_POS_X * 64 + UNIT_POS;
    if i < count {
        let number = start + i;
        let first = number / width * blocks;
        let mut sum = 0.0f32;
        for block in 0..blocks {
            sum += sums[((first + block) * width + number % width) as usize];
        }
        into[(at + i) as usize] = sum;
    }
}

/// A thread's row, and its place among the sixteen of it.
#[cube]
fn place() -> (usize, usize) {
    ((CUBE_POS_X * 16 + UNIT_POS / 16) as usize, UNIT_POS as usize % 16)
}

/// The sum over the sixteen threads of a row.
#[cube]
fn over_row(cells: &mut Shared<[f32]>, part: f32) -> f32 {
    cells[UNIT_POS as usize] = part;
    sync_cube();
    let first = UNIT_POS as usize / 16 * 16;
    let mut sum = 0.0f32;
    for i in 0..16usize {
        sum += cells[first + i];
    }
    sync_cube();
    sum
}

#[cfg(test)]
mod tests {
    use super::super::testing::{close, read, rubbish, tensor, wave};
    use super::*;

    const DROP: Drop = Drop { key: 78, threshold: 1 << 30, scale: 4.0 / 3.0 };

    #[test]
    #[ignore = "needs a GPU, of which lavapipe is one: cargo test --lib gpu -- --ignored"]
    fn norms_and_their_gradients_equal_plain_ones() {
        for (count, hidden) in [(1, 1), (3, 15), (16, 64), (17, 33), (200, 256), (33, 300)] {
            let name = |what| format!("{what} of {count} x {hidden}");
            let (rows, grad) = (wave(count * hidden, 0.0), wave(count * hidden, 1.0));
            let (gamma, beta) = (wave(hidden, 2.0), wave(hidden, 3.0));
            let epsilon = 1e-3;
            let (mut n, mut scales) = (Vec::new(), Vec::new());
            for row in rows.chunks(hidden) {
                let mean = row.iter().sum::<f32>() / hidden as f32;
                let square = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>();
                scales.push(1.0 / (square / hidden as f32 + epsilon as f32).sqrt());
                n.extend(row.iter().map(|x| (x - mean) * scales[scales.len() - 1]));
            }
            let y: Vec<f32> = n
                .iter()
                .enumerate()
                .map(|(i, n)| n * gamma[i % hidden] + beta[i % hidden])
                .collect();
            let mut d_rows = Vec::new();
            let mut sums = vec![0.0; 2 * hidden];
            for (row, grad) in grad.chunks(hidden).enumerate() {
                let n = &n[row * hidden..][..hidden];
                let w: Vec<f32> = grad.iter().zip(&gamma).map(|(g, gamma)| g * gamma).collect();
                let mean = w.iter().sum::<f32>() / hidden as f32;
                let along = w.iter().zip(n).map(|(w, n)| w * n).sum::<f32>() / hidden as f32;
                d_rows.extend(w.iter().zip(n).map(|(w, n)| (w - mean - n * along) * scales[row]));
                for i in 0..hidden {
                    sums[i] += grad[i] * n[i];
                    sums[hidden + i] += grad[i];
                }
            }
            let kept: Vec<f32> =
                d_rows.iter().enumerate().map(|(i, x)| x * DROP.factor(i as u32)).collect();

            let weights = [vec![f32::NAN; 5], gamma, beta].concat();
            let weights = tensor(&weights, [weights.len()]);
            let (gamma, beta) = (At(&weights, 5), At(&weights, 5 + hidden));
            let rows = tensor(&rows, [count, hidden]);
            let [ours, stats] = norm(&rows, Norm { gamma, beta, hidden, epsilon });
            close(&name("the norm"), &read(ours), &y);
            let grad = tensor(&grad, [count, hidden]);
            let parts = empty_sums(2, &rows, count, hidden);
            for number in [0, 1] {
                let into = (&parts, number);
                let [ours, ours_kept] =
                    norm_back(&grad, [&rows, &stats], gamma, hidden, Some(DROP), into);
                close(&name("the gradient"), &read(ours), &d_rows);
                close(&name("what is not dropped"), &read(ours_kept), &kept);
            }
            let all = rubbish([2 + 4 * hidden]);
            columns(&parts, 0..4 * hidden, count, At(&all, 2));
            close(&name("the sums"), &read(all)[2..], &sums.repeat(2));
            let some = rubbish([hidden]);
            columns(&parts, 3 * hidden..4 * hidden, count, At(&some, 0));
            close(&name("some of them"), &read(some), &sums[hidden..]);
        }
    }
}
