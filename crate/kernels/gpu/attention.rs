//! Attention of one layer, forward and back, without its scores ever being stored: a workgroup
//! takes sixteen queries of a head through all keys, sixteen at a time, and on the way back also
//! sixteen keys through all queries.
//!
//! Heads of more than 64 columns are read in chunks of 64.

use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::{Four, NO_DROP, clip, empty, factor, four, sum_of};
use electra_host::hash::Drop;

/// Columns of a head that lie in shared memory at a time, in fours.
const CHUNK: usize = 16;

/// One row of a chunk; one more, so that the rows' beginnings do not fall on one bank.
const STRIDE: usize = CHUNK + 1;

/// Below every score.
const LOWEST: f32 = -1e30;

/// What all of attention is about.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    pub batch: usize,
    pub seq: usize,
    pub heads: usize,
    /// Of a token, all heads.
    pub hidden: usize,
    pub drop: Option<Drop>,
}

impl Heads {
    fn size(&self) -> usize {
        self.hidden / self.heads
    }

    /// What scores are multiplied by.
    fn scale(&self) -> f32 {
        1.0 / (self.size() as f32).sqrt()
    }

    fn blocks(&self) -> u32 {
        self.seq.div_ceil(16) as u32
    }

    fn workgroups(&self, roles: u32) -> CubeCount {
        CubeCount::Static(roles * self.blocks(), self.heads as u32, self.batch as u32)
    }

    /// Rows of the mask for an example.
    fn mask_rows(&self, mask: &CubeTensor) -> u32 {
        (mask.meta.num_elements() / (self.batch * self.seq)) as u32
    }
}

/// The context, `[T, H]`, and of each softmax the logarithm of its sum, `[batch, heads, seq]`.
///
/// # Shapes
/// - qkv: `[T, 3 H]`, mask: `[batch, 1, 1 or seq, seq]`
pub fn attend(qkv: &CubeTensor, mask: &CubeTensor, heads: Heads) -> [CubeTensor; 2] {
    let Heads { batch, seq, heads: count, hidden, drop } = heads;
    let context = empty(qkv, [batch * seq, hidden]);
    let sums = empty(qkv, [batch * count, seq]);
    let dropping = drop.unwrap_or(NO_DROP);
    attend_kernel::launch(
        &qkv.client,
        heads.workgroups(1),
        CubeDim::new_1d(256),
        qkv.clone().into_tensor_arg(),
        mask.clone().into_tensor_arg(),
        context.clone().into_tensor_arg(),
        sums.clone().into_tensor_arg(),
        seq as u32,
        hidden as u32,
        heads.mask_rows(mask),
        heads.scale(),
        dropping.key,
        dropping.threshold,
        dropping.scale,
        heads.size(),
    );
    [context, sums]
}

/// The gradient of queries, keys and values, `[T, 3 H]`, from that of the context, `[T, H]`.
pub fn attend_back(
    qkv: &CubeTensor,
    mask: &CubeTensor,
    [context, sums]: [&CubeTensor; 2],
    grad: &CubeTensor,
    heads: Heads,
) -> CubeTensor {
    let Heads { batch, seq, hidden, drop, .. } = heads;
    let grad_qkv = empty(qkv, [batch * seq, 3 * hidden]);
    let dropping = drop.unwrap_or(NO_DROP);
    attend_back_kernel::launch(
        &qkv.client,
        heads.workgroups(2),
        CubeDim::new_1d(256),
        qkv.clone().into_tensor_arg(),
        mask.clone().into_tensor_arg(),
        context.clone().into_tensor_arg(),
        sums.clone().into_tensor_arg(),
        grad.clone().into_tensor_arg(),
        grad_qkv.clone().into_tensor_arg(),
        seq as u32,
        hidden as u32,
        heads.mask_rows(mask),
        heads.scale(),
        dropping.key,
        dropping.threshold,
        dropping.scale,
        heads.size(),
    );
    grad_qkv
}

/// Chunks of a head, and the fours of one.
fn chunks(size: usize) -> (usize, usize) {
    (size.div_ceil(4 * CHUNK), size.div_ceil(4).min(CHUNK))
}

#[cube(launch)]
fn attend_kernel(
    qkv: &Tensor<f32>,
    mask: &Tensor<f32>,
    context: &mut Tensor<f32>,
    sums: &mut Tensor<f32>,
    seq: u32,
    hidden: u32,
    mask_rows: u32,
    scale: f32,
    key: u32,
    threshold: u32,
    keep: f32,
    #[comptime] size: usize,
) {
    let (chunks, fours) = comptime!(chunks(size));
    // One chunk stays where it was read to.
    let several = comptime!(chunks > 1).runtime();
    let (seq, hidden) = (seq as usize, hidden as usize);
    let (row, lane) = (UNIT_POS as usize / 16, UNIT_POS as usize % 16);
    let (head, example) = (CUBE_POS_Y as usize, CUBE_POS_Z as usize);
    let query = CUBE_POS_X as usize * 16 + row;
    let (token, column) = (example * seq, head * size);
    let row_of_sums = (example * CUBE_COUNT_Y as usize + head) * seq + query;
    let mask_row = mask_row(example, query, mask_rows as usize);

    let mut queries = Shared::<[Four]>::new_slice(16 * STRIDE);
    let mut others = Shared::<[Four]>::new_slice(16 * STRIDE);
    let mut scores = Shared::<[f32]>::new_slice(256usize);
    let mut kept = Shared::<[f32]>::new_slice(256usize);
    let mut whole = Shared::<[f32]>::new_slice(256usize);

    let mut result = Array::<Four>::new(chunks);
    let mut highest = f32::new(LOWEST);
    let mut total = 0.0f32;
    for block in 0..seq.div_ceil(16) {
        let first = block * 16;
        let mut score = Four::new(0.0);
        #[unroll]
        for chunk in 0..chunks {
            if several || block == 0 {
                load(&mut queries, qkv, token, query, seq, 3 * hidden, column, chunk, size);
            }
            let of_key = hidden + column;
            load(&mut others, qkv, token, first + row, seq, 3 * hidden, of_key, chunk, size);
            sync_cube();
            score += dot(&queries, row, &others, lane, fours);
            sync_cube();
        }
        let seen = first + lane < seq;
        let score = sum_of(score) * scale + mask[mask_row * seq + first + lane];
        scores[UNIT_POS as usize] = select(seen, score, LOWEST);
        sync_cube();
        let before = highest;
        for other in 0..16usize {
            let score = scores[row * 16 + other];
            highest = select(score > highest, score, highest);
        }
        let p = (scores[UNIT_POS as usize] - highest).exp();
        let place = row_of_sums * seq + first + lane;
        whole[UNIT_POS as usize] = p;
        kept[UNIT_POS as usize] = p * factor(key, place, threshold, keep);
        let shrink = (before - highest).exp();
        #[unroll]
        for chunk in 0..chunks {
            let of_value = 2 * hidden + column;
            load(&mut others, qkv, token, first + row, seq, 3 * hidden, of_value, chunk, size);
            sync_cube();
            result[chunk] = result[chunk] * Four::new(shrink) + combine(&kept, row, &others, lane);
            sync_cube();
        }
        total *= shrink;
        for other in 0..16usize {
            total += whole[row * 16 + other];
        }
    }
    #[unroll]
    for chunk in 0..chunks {
        let result = result[chunk] / Four::new(total);
        store(context, result, token, query, seq, hidden, column, chunk, size);
    }
    if lane == 0 && query < seq {
        sums[row_of_sums] = highest + total.ln();
    }
}

#[cube(launch)]
fn attend_back_kernel(
    qkv: &Tensor<f32>,
    mask: &Tensor<f32>,
    context: &Tensor<f32>,
    sums: &Tensor<f32>,
    grad: &Tensor<f32>,
    grad_qkv: &mut Tensor<f32>,
    seq: u32,
    hidden: u32,
    mask_rows: u32,
    scale: f32,
    key: u32,
    threshold: u32,
    keep: f32,
    #[comptime] size: usize,
) {
    let (chunks, fours) = comptime!(chunks(size));
    // One chunk stays where it was read to.
    let several = comptime!(chunks > 1).runtime();
    let (seq, hidden, mask_rows) = (seq as usize, hidden as usize, mask_rows as usize);
    let (row, lane) = (UNIT_POS as usize / 16, UNIT_POS as usize % 16);
    let (head, example) = (CUBE_POS_Y as usize, CUBE_POS_Z as usize);
    let (token, column) = (example * seq, head * size);
    let (of_key, of_value) = (hidden + column, 2 * hidden + column);
    let first_sum = (example * CUBE_COUNT_Y as usize + head) * seq;
    let blocks = seq.div_ceil(16);

    // Of the sixteen that this workgroup is about, two chunks; of the others, one.
    let mut mine = Shared::<[Four]>::new_slice(16 * STRIDE);
    let mut mine_2 = Shared::<[Four]>::new_slice(16 * STRIDE);
    let mut others = Shared::<[Four]>::new_slice(16 * STRIDE);
    let mut cells = Shared::<[f32]>::new_slice(256usize);
    let mut cells_2 = Shared::<[f32]>::new_slice(256usize);

    if (CUBE_POS_X as usize) < blocks {
        // The gradient of sixteen queries: `dq = ds k`.
        let query = CUBE_POS_X as usize * 16 + row;
        let mask_row = mask_row(example, query, mask_rows);
        cells[UNIT_POS as usize] = along(context, grad, token, query, seq, hidden, column, size);
        sync_cube();
        let along = row_sum(&cells, row);
        sync_cube();
        let sum = sums[first_sum + query];
        let mut result = Array::<Four>::new(chunks);
        for block in 0..blocks {
            let first = block * 16;
            let other = first + row;
            let mut slope = Four::new(0.0);
            #[unroll]
            for chunk in 0..chunks {
                if several || block == 0 {
                    load(&mut mine_2, grad, token, query, seq, hidden, column, chunk, size);
                }
                load(&mut others, qkv, token, other, seq, 3 * hidden, of_value, chunk, size);
                sync_cube();
                slope += dot(&mine_2, row, &others, lane, fours);
                sync_cube();
            }
            let mut score = Four::new(0.0);
            #[unroll]
            for chunk in 0..chunks {
                if several || block == 0 {
                    load(&mut mine, qkv, token, query, seq, 3 * hidden, column, chunk, size);
                }
                load(&mut others, qkv, token, other, seq, 3 * hidden, of_key, chunk, size);
                sync_cube();
                score += dot(&mine, row, &others, lane, fours);
                sync_cube();
            }
            let seen = first + lane < seq && query < seq;
            let p = (sum_of(score) * scale + mask[mask_row * seq + first + lane] - sum).exp();
            let place = (first_sum + query) * seq + first + lane;
            let slope = sum_of(slope) * factor(key, place, threshold, keep) - along;
            cells[UNIT_POS as usize] = select(seen, p * slope * scale, 0.0f32);
            sync_cube();
            #[unroll]
            for chunk in 0..chunks {
                if comptime!(chunks > 1) {
                    load(&mut others, qkv, token, other, seq, 3 * hidden, of_key, chunk, size);
                    sync_cube();
                }
                result[chunk] += combine(&cells, row, &others, lane);
                sync_cube();
            }
        }
        #[unroll]
        for chunk in 0..chunks {
            store(grad_qkv, result[chunk], token, query, seq, 3 * hidden, column, chunk, size);
        }
    } else {
        // That of sixteen keys and values: `dk = dsᵀ q`, `dv = drop(p)ᵀ dctx`.
        let mine_is = (CUBE_POS_X as usize - blocks) * 16 + row;
        let mut of_keys = Array::<Four>::new(chunks);
        let mut of_values = Array::<Four>::new(chunks);
        for block in 0..blocks {
            let first = block * 16;
            // The query whose row this thread reads, and that of its cell.
            let (other, query) = (first + row, first + lane);
            let mut score = Four::new(0.0);
            #[unroll]
            for chunk in 0..chunks {
                if several || block == 0 {
                    load(&mut mine, qkv, token, mine_is, seq, 3 * hidden, of_key, chunk, size);
                }
                load(&mut others, qkv, token, other, seq, 3 * hidden, column, chunk, size);
                sync_cube();
                score += dot(&mine, row, &others, lane, fours);
                sync_cube();
            }
            cells_2[UNIT_POS as usize] =
                along(context, grad, token, other, seq, hidden, column, size);
            let mut slope = Four::new(0.0);
            #[unroll]
            for chunk in 0..chunks {
                if several || block == 0 {
                    load(&mut mine_2, qkv, token, mine_is, seq, 3 * hidden, of_value, chunk, size);
                }
                load(&mut others, grad, token, other, seq, hidden, column, chunk, size);
                sync_cube();
                slope += dot(&mine_2, row, &others, lane, fours);
                if comptime!(chunks > 1) {
                    sync_cube();
                }
            }
            let along = row_sum(&cells_2, lane);
            sync_cube();
            let seen = query < seq && mine_is < seq;
            let mask = mask[mask_row(example, query, mask_rows) * seq + mine_is];
            let p = (sum_of(score) * scale + mask - sums[first_sum + query]).exp();
            let place = (first_sum + query) * seq + mine_is;
            let factor = factor(key, place, threshold, keep);
            cells[UNIT_POS as usize] = select(seen, p * factor, 0.0f32);
            let slope = p * (sum_of(slope) * factor - along) * scale;
            cells_2[UNIT_POS as usize] = select(seen, slope, 0.0f32);
            sync_cube();
            #[unroll]
            for chunk in 0..chunks {
                if comptime!(chunks > 1) {
                    load(&mut others, grad, token, other, seq, hidden, column, chunk, size);
                    sync_cube();
                }
                of_values[chunk] += combine(&cells, row, &others, lane);
                sync_cube();
            }
            #[unroll]
            for chunk in 0..chunks {
                load(&mut others, qkv, token, other, seq, 3 * hidden, column, chunk, size);
                sync_cube();
                of_keys[chunk] += combine(&cells_2, row, &others, lane);
                sync_cube();
            }
        }
        #[unroll]
        for chunk in 0..chunks {
            let (key, value) = (of_keys[chunk], of_values[chunk]);
            store(grad_qkv, key, token, mine_is, seq, 3 * hidden, of_key, chunk, size);
            store(grad_qkv, value, token, mine_is, seq, 3 * hidden, of_value, chunk, size);
        }
    }
}

/// The mask's row for a query; one there is for all, or each has its own.
#[cube]
fn mask_row(example: usize, query: usize, rows: usize) -> usize {
    example * rows + select(query < rows, query, rows - 1)
}

/// Where a thread's four columns of a row begin, and how many of them there are.
#[cube]
fn place(
    token: usize,
    row: usize,
    seq: usize,
    stride: usize,
    column: usize,
    chunk: usize,
    #[comptime] size: usize,
) -> (usize, usize) {
    let within = (chunk * CHUNK + UNIT_POS as usize % 16) * 4;
    let start = (token + row) * stride + column + within;
    (start, select(row < seq, clip(within, size), 0usize))
}

/// Reads sixteen rows of a head, one four a thread; `row` is the thread's. What is beyond the rows or
/// the head is nothing.
#[cube]
fn load(
    into: &mut Shared<[Four]>,
    from: &Tensor<f32>,
    token: usize,
    row: usize,
    seq: usize,
    stride: usize,
    column: usize,
    chunk: usize,
    #[comptime] size: usize,
) {
    let (start, count) = place(token, row, seq, stride, column, chunk, size);
    let (row, lane) = (UNIT_POS as usize / 16, UNIT_POS as usize % 16);
    into[row * STRIDE + lane] = four::<f32>(from, start, 1usize, count);
}

/// Writes a thread's four columns of its row.
#[cube]
fn store(
    into: &mut Tensor<f32>,
    values: Four,
    token: usize,
    row: usize,
    seq: usize,
    stride: usize,
    column: usize,
    chunk: usize,
    #[comptime] size: usize,
) {
    let (start, count) = place(token, row, seq, stride, column, chunk, size);
    #[unroll]
    for i in 0..4usize {
        if i < count {
            into[start + i] = values.extract(i);
        }
    }
}

/// The products of one row of either, to be added up.
#[cube]
fn dot(
    a: &Shared<[Four]>,
    row_of_a: usize,
    b: &Shared<[Four]>,
    row_of_b: usize,
    #[comptime] fours: usize,
) -> Four {
    let mut sum = Four::new(0.0);
    for i in 0..fours {
        sum += a[row_of_a * STRIDE + i] * b[row_of_b * STRIDE + i];
    }
    sum
}

/// A row of cells times the rows of the others: a thread's four columns of it.
#[cube]
fn combine(cells: &Shared<[f32]>, row: usize, others: &Shared<[Four]>, lane: usize) -> Four {
    let mut sum = Four::new(0.0);
    for i in 0..16usize {
        sum += Four::new(cells[row * 16 + i]) * others[i * STRIDE + lane];
    }
    sum
}

/// A thread's part of `Σ ctx dctx` of a row, which is that of `p dp` over the keys, also with dropout.
#[cube]
fn along(
    context: &Tensor<f32>,
    grad: &Tensor<f32>,
    token: usize,
    row: usize,
    seq: usize,
    hidden: usize,
    column: usize,
    #[comptime] size: usize,
) -> f32 {
    let mut sum = Four::new(0.0);
    let (chunks, _) = comptime!(chunks(size));
    #[unroll]
    for chunk in 0..chunks {
        let (start, count) = place(token, row, seq, hidden, column, chunk, size);
        sum += four::<f32>(context, start, 1usize, count) * four::<f32>(grad, start, 1usize, count);
    }
    sum_of(sum)
}

#[cube]
fn row_sum(cells: &Shared<[f32]>, row: usize) -> f32 {
    let mut sum = 0.0f32;
    for i in 0..16usize {
        sum += cells[row * 16 + i];
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::super::testing::{close, read, tensor, wave};
    use super::*;

    const DROP: Drop = Drop { key: 79, threshold: 1 << 30, scale: 4.0 / 3.0 };

    /// What attention is, in f64: the context and the gradient of queries, keys and values.
    fn plain(qkv: &[f32], mask: &[f32], grad: &[f32], heads: Heads) -> [Vec<f32>; 2] {
        let Heads { batch, seq, heads: count, hidden, drop } = heads;
        let size = heads.size();
        let scale = 1.0 / (size as f64).sqrt();
        let rows = mask.len() / (batch * seq);
        let mut context = vec![0f64; batch * seq * hidden];
        let mut d_qkv = vec![0f64; batch * seq * 3 * hidden];
        for (example, head) in (0..batch * count).map(|i| (i / count, i % count)) {
            let token = |row: usize| example * seq + row;
            let place = |part: usize, row: usize, c: usize| {
                token(row) * 3 * hidden + part * hidden + head * size + c
            };
            let of = |part: usize, row: usize, c: usize| f64::from(qkv[place(part, row, c)]);
            for query in 0..seq {
                let at = token(query) * hidden + head * size;
                let score = |key: usize| {
                    let dot: f64 = (0..size).map(|c| of(0, query, c) * of(1, key, c)).sum();
                    dot * scale + f64::from(mask[(example * rows + query % rows) * seq + key])
                };
                let scores: Vec<f64> = (0..seq).map(score).collect();
                let highest = scores.iter().fold(f64::MIN, |a, b| a.max(*b));
                let total: f64 = scores.iter().map(|s| (s - highest).exp()).sum();
                let factor = |key: usize| {
                    let row = (example * count + head) * seq + query;
                    drop.map_or(1.0, |drop| f64::from(drop.factor((row * seq + key) as u32)))
                };
                let p: Vec<f64> = scores.iter().map(|s| (s - highest).exp() / total).collect();
                let d_p: Vec<f64> = (0..seq)
                    .map(|key| {
                        let dot = |c| f64::from(grad[at + c]) * of(2, key, c);
                        (0..size).map(dot).sum::<f64>() * factor(key)
                    })
                    .collect();
                let along: f64 = p.iter().zip(&d_p).map(|(p, d_p)| p * d_p).sum();
                for key in 0..seq {
                    let d_s = p[key] * (d_p[key] - along) * scale;
                    let kept = p[key] * factor(key);
                    for c in 0..size {
                        context[at + c] += kept * of(2, key, c);
                        d_qkv[place(0, query, c)] += d_s * of(1, key, c);
                        d_qkv[place(1, key, c)] += d_s * of(0, query, c);
                        d_qkv[place(2, key, c)] += kept * f64::from(grad[at + c]);
                    }
                }
            }
        }
        [context, d_qkv].map(|values| values.into_iter().map(|x| x as f32).collect())
    }

    fn check(batch: usize, seq: usize, count: usize, size: usize, by_query: bool, drop: bool) {
        let hidden = count * size;
        let heads = Heads { batch, seq, heads: count, hidden, drop: drop.then_some(DROP) };
        let name = |what| format!("{what}, mask by query: {by_query}, {heads:?}");
        let qkv: Vec<f32> = wave(batch * seq * 3 * hidden, 0.0).iter().map(|x| x * 3.0).collect();
        let grad = wave(batch * seq * hidden, 1.0);
        let rows = if by_query { seq } else { 1 };
        let seen = |i: usize| {
            let (query, key) = (i / seq % rows, i % seq);
            if by_query { key <= query } else { key % 5 != 4 }
        };
        let mask: Vec<f32> =
            (0..batch * rows * seq).map(|i| if seen(i) { 0.0 } else { -10000.0 }).collect();
        let [context, d_qkv] = plain(&qkv, &mask, &grad, heads);
        let qkv = tensor(&qkv, [batch * seq, 3 * hidden]);
        let mask = tensor(&mask, [batch, 1, rows, seq]);
        let grad = tensor(&grad, [batch * seq, hidden]);
        let [ours, sums] = attend(&qkv, &mask, heads);
        close(&name("the context"), &read(ours.clone()), &context);
        let ours = attend_back(&qkv, &mask, [&ours, &sums], &grad, heads);
        close(&name("the gradient"), &read(ours), &d_qkv);
    }

    #[test]
    #[ignore = "needs a GPU, of which lavapipe is one: cargo test --lib gpu -- --ignored"]
    fn attention_and_its_gradient_equal_plain_ones() {
        for seq in [1, 2, 15, 16, 17, 31, 64, 65, 200] {
            check(2, seq, 2, 16, false, true);
            check(1, seq, 1, 9, true, seq % 2 == 0);
        }
        for batch in 1..=5 {
            check(batch, 21, 5, 12, batch % 2 == 0, true);
        }
        for size in [3, 64, 130] {
            check(2, 37, 2, size, true, true);
            check(1, 20, 1, size, false, false);
        }
    }
}
