//! An encoder layer and its gradients, derived by hand, in parallel regions over rows or heads.
//!
//! Regions cut rows into blocks of a fixed number, and sums over rows are added in the order of
//! the blocks, so that results do not depend on the number of threads. Words and letters: `T`
//! tokens (batch · seq), `H` hidden, `I` inner, `d` the size of a head.

use crate::hash::Drop;
use crate::layout::{Layout, Linear, Matrix, Norm, PANEL, Parts};
use crate::math::Activation;
use crate::product::{Panels, View, outer, packed_len, panel_blocks, product, turn_panel};
use crate::{Block, map, row_blocks, rows, scratch};

/// Rows that a thread takes through several products while they are in its cache.
const ROWS: usize = 64;

/// Rows and columns of a weight's gradient that a thread computes at a time.
const PIECE: usize = 256;

/// What a layer is besides its weights.
#[derive(Debug, Clone, Copy)]
pub struct LayerSpec {
    /// Of its weights.
    pub layout: Layout,
    pub heads: usize,
    pub activation: Activation,
    /// Of the norms.
    pub epsilon: f64,
    /// Of the attention's probabilities.
    pub attention_drop: Option<Drop>,
    /// Of the attention's output, and of the layer's.
    pub hidden_drops: [Option<Drop>; 2],
}

/// What goes in, and what it is about.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// `[T, H]`
    pub x: &'a [f32],
    /// Added to the scores, `[batch, 1 or seq, seq]`.
    pub mask: &'a [f32],
    /// In the layout of the spec.
    pub weights: &'a [f32],
    pub batch: usize,
    pub spec: LayerSpec,
}

impl<'a> Input<'a> {
    fn hidden(&self) -> usize {
        self.spec.layout.hidden
    }

    fn inner(&self) -> usize {
        self.spec.layout.inner
    }

    fn parts(&self) -> Parts<&'a [f32]> {
        self.spec.layout.split(self.weights)
    }

    fn tokens(&self) -> usize {
        self.x.len() / self.hidden()
    }

    fn seq(&self) -> usize {
        self.tokens() / self.batch
    }

    fn head_size(&self) -> usize {
        self.hidden() / self.spec.heads
    }

    /// What scores are multiplied by.
    fn scale(&self) -> f32 {
        1.0 / (self.head_size() as f32).sqrt()
    }

    /// The mask of a query.
    fn mask(&self, example: usize, query: usize) -> &'a [f32] {
        let seq = self.seq();
        let queries = self.mask.len() / (self.batch * seq);
        &self.mask[(example * queries + query % queries) * seq..][..seq]
    }

    /// The place in the attention's dropout mask where a query's probabilities begin.
    fn attention_place(&self, head: usize, query: usize) -> u32 {
        ((head * self.seq() + query) * self.seq()) as u32
    }
}

/// What the backward pass needs.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Queries, keys and values, `[T, 3 H]`.
    qkv: Vec<f32>,
    /// Of each softmax the largest number, and one over the sum: `[batch, heads, seq, 2]`.
    softmax: Vec<f32>,
    /// `[T, H]`
    context: Vec<f32>,
    /// Normalised rows, `[T, H]`, and one over their deviation, `[T]`: after the attention.
    n1: Vec<f32>,
    r1: Vec<f32>,
    /// The activation and its slope, `[T, I]`.
    inner: Vec<f32>,
    slope: Vec<f32>,
    /// As n1 and r1, at the end.
    n2: Vec<f32>,
    r2: Vec<f32>,
}

// ---------------------------------------------------------------------------------------------
// Forward

/// The layer's output, `[T, H]`.
pub fn forward(input: &Input) -> Vec<f32> {
    let qkv = project(input);
    let (context, _) = attend(input, &qkv);
    drop(qkv);
    let (hidden, inner) = (input.hidden(), input.inner());
    let mut y = vec![0.0; input.x.len()];
    let blocks = row_blocks(input.tokens(), ROWS, [(&mut y, hidden)]);
    map(blocks.into_iter().enumerate().collect(), |(block, [y])| {
        let count = y.len() / hidden;
        scratch(count * (3 * hidden + inner + 1), |floats| {
            let (n, floats) = floats.split_at_mut(count * hidden);
            let (middle, floats) = floats.split_at_mut(count * hidden);
            let (inner, floats) = floats.split_at_mut(count * inner);
            let (n2, r) = floats.split_at_mut(count * hidden);
            let first = block * ROWS;
            attended(input, first, &context, [n, r, middle]);
            fed_forward(input, first, middle, [inner, &mut [], n2, r, y]);
        });
    });
    y
}

/// The same, with what [`backward`] needs.
pub fn forward_keeping(input: &Input) -> (Vec<f32>, Kept) {
    let qkv = project(input);
    let (context, softmax) = attend(input, &qkv);
    let (tokens, hidden, width) = (input.tokens(), input.hidden(), input.inner());
    let zeros = |width: usize| vec![0f32; tokens * width];
    let [mut y, mut n1, mut n2] = [(); 3].map(|()| zeros(hidden));
    let ([mut r1, mut r2], [mut inner, mut slope]) =
        ([(); 2].map(|()| zeros(1)), [(); 2].map(|()| zeros(width)));
    let matrices = [
        (&mut n1[..], hidden),
        (&mut r1, 1),
        (&mut inner, width),
        (&mut slope, width),
        (&mut n2, hidden),
        (&mut r2, 1),
        (&mut y, hidden),
    ];
    let blocks = row_blocks(tokens, ROWS, matrices);
    map(blocks.into_iter().enumerate().collect(), |(block, matrices)| {
        let [n1, r1, inner, slope, n2, r2, y] = matrices;
        scratch(n1.len(), |middle| {
            attended(input, block * ROWS, &context, [n1, r1, middle]);
            fed_forward(input, block * ROWS, middle, [inner, slope, n2, r2, y]);
        });
    });
    (y, Kept { qkv, softmax, context, n1, r1, inner, slope, n2, r2 })
}

/// Queries, keys and values: `x Wqkv + bqkv`, `[T, 3 H]`.
fn project(input: &Input) -> Vec<f32> {
    let hidden = input.hidden();
    let Linear { weight, bias } = input.parts().qkv;
    let panels = Panels::new(weight, hidden, 3 * hidden);
    let mut qkv = vec![0.0; 3 * input.x.len()];
    let items = qkv.chunks_mut(ROWS * 3 * hidden).zip(input.x.chunks(ROWS * hidden)).collect();
    map(items, |(qkv, x): (&mut [f32], &[f32])| {
        product(View::whole(x, hidden), panels, &mut Block::whole(qkv, 3 * hidden), false);
        qkv.chunks_mut(3 * hidden).for_each(|row| rows::add(row, bias));
    });
    qkv
}

/// A head's queries, keys or values in qkv, `[seq, d]`.
fn head_of<'a>(input: &Input, qkv: &'a [f32], which: usize, number: usize) -> View<'a> {
    let (seq, hidden, size) = (input.seq(), input.hidden(), input.head_size());
    let (example, head) = (number / input.spec.heads, number % input.spec.heads);
    let first = example * seq * 3 * hidden + which * hidden + head * size;
    View::strided(&qkv[first..], [seq, size], 3 * hidden)
}

/// `drop(softmax(q kᵀ / √d + mask)) v` of every head: the context, `[T, H]`, and what each softmax is
/// divided by.
fn attend(input: &Input, qkv: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let (seq, size) = (input.seq(), input.head_size());
    let heads = input.batch * input.spec.heads;
    let mut context = vec![0.0; input.x.len()];
    let mut softmax = vec![0.0; heads * seq * 2];
    let blocks = Block::whole(&mut context, input.hidden()).cut(seq, size);
    let items = blocks.into_iter().zip(softmax.chunks_mut(2 * seq)).enumerate();
    map(items.collect(), |(head, (mut out, softmax)): (usize, (Block, &mut [f32]))| {
        let longest = packed_len(size, seq).max(packed_len(seq, size));
        scratch(longest + seq * seq, |floats| {
            let (packed, scores) = floats.split_at_mut(longest);
            let [query, key, value] = [0, 1, 2].map(|which| head_of(input, qkv, which, head));
            let keys = Panels::pack(key.transposed(), packed);
            product(query, keys, &mut Block::whole(scores, seq), false);
            let queries = scores.chunks_mut(seq).zip(softmax.chunks_mut(2)).enumerate();
            for (i, (x, softmax)) in queries {
                let mask = input.mask(head / input.spec.heads, i);
                let (top, sum) = rows::exponentials(x, mask, input.scale());
                softmax.copy_from_slice(&[top, 1.0 / sum]);
                let place = input.attention_place(head, i);
                rows::scale_drop(x, 1.0 / sum, input.spec.attention_drop, place);
            }
            let values = Panels::pack(value, packed);
            product(View::whole(scores, seq), values, &mut out, false);
        });
    });
    (context, softmax)
}

/// The first half's end, of the rows from `first` on: `middle = norm(drop(ctx Wo + bo) + x)`.
fn attended(input: &Input, first: usize, context: &[f32], out: [&mut [f32]; 3]) {
    let hidden = input.hidden();
    let Parts { attention_output, attention_norm, .. } = input.parts();
    let [n, r, middle] = out;
    let (from, length) = (first * hidden, n.len());
    let (x, context) = (&input.x[from..][..length], &context[from..][..length]);
    let panels = Panels::new(attention_output.weight, hidden, hidden);
    product(View::whole(context, hidden), panels, &mut Block::whole(n, hidden), false);
    let end = End { input, first, bias: attention_output.bias, norm: attention_norm, half: 0 };
    end.run(x, [n, r, middle]);
}

/// The second half: `inner = f(middle W1 + b1)`, `y = norm(drop(inner W2 + b2) + middle)`.
fn fed_forward(input: &Input, first: usize, middle: &[f32], out: [&mut [f32]; 5]) {
    let (hidden, width, kind) = (input.hidden(), input.inner(), input.spec.activation);
    let Parts { intermediate, output, output_norm, .. } = input.parts();
    let [inner, slope, n, r, y] = out;
    let panels = Panels::new(intermediate.weight, hidden, width);
    product(View::whole(middle, hidden), panels, &mut Block::whole(inner, width), false);
    if slope.is_empty() {
        inner.chunks_mut(width).for_each(|u| rows::activate(u, intermediate.bias, kind));
    } else {
        for (u, slope) in inner.chunks_mut(width).zip(slope.chunks_mut(width)) {
            rows::activate_with_slope(u, slope, intermediate.bias, kind);
        }
    }
    let panels = Panels::new(output.weight, width, hidden);
    product(View::whole(inner, width), panels, &mut Block::whole(n, hidden), false);
    let end = End { input, first, bias: output.bias, norm: output_norm, half: 1 };
    end.run(middle, [n, r, y]);
}

/// How both halves end.
struct End<'a> {
    input: &'a Input<'a>,
    /// The number of the first row.
    first: usize,
    bias: &'a [f32],
    norm: Norm<&'a [f32]>,
    half: usize,
}

impl End<'_> {
    /// `y = norm(drop(n + bias) + residual)`, where n becomes the normalised rows, and r one over their
    /// deviation.
    fn run(&self, residual: &[f32], [n, r, y]: [&mut [f32]; 3]) {
        let (hidden, drop) = (self.bias.len(), self.input.spec.hidden_drops[self.half]);
        let (gamma, beta) = (self.norm.gamma, self.norm.beta);
        let matrices = n.chunks_mut(hidden).zip(y.chunks_mut(hidden)).zip(residual.chunks(hidden));
        for (i, ((n, y), residual)) in matrices.enumerate() {
            let place = ((self.first + i) * hidden) as u32;
            rows::bias_drop_add(n, self.bias, residual, drop, place);
            r[i] = rows::norm(n, y, gamma, beta, self.input.spec.epsilon as f32);
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Backward

/// Which gradients are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wants {
    pub x: bool,
    pub weights: bool,
}

/// The matrices turned over, `[out, in]`, in panels.
struct Turned {
    qkv: Vec<f32>,
    attention_output: Vec<f32>,
    intermediate: Vec<f32>,
    output: Vec<f32>,
}

impl Turned {
    fn new(input: &Input) -> Self {
        let Parts { qkv, attention_output, intermediate, output, .. } = input.parts();
        let weights = [qkv, attention_output, intermediate, output].map(|linear| linear.weight);
        let matrices = input.spec.layout.matrices();
        let turned = |Matrix { rows, columns }| vec![0.0; packed_len(columns, rows)];
        let mut all = matrices.map(turned);
        let mut items = Vec::new();
        for ((out, weight), Matrix { rows, columns }) in all.iter_mut().zip(weights).zip(matrices) {
            let panels = Panels::new(weight, rows, columns);
            let out = out.chunks_mut(PANEL * columns).enumerate();
            items.extend(out.map(|(number, out)| (panels, number, out)));
        }
        map(items, |(panels, number, out)| turn_panel(panels, number, out));
        let [qkv, attention_output, intermediate, output] = all;
        Turned { qkv, attention_output, intermediate, output }
    }
}

/// The gradients of x, `[T, H]`, and of the weights, in their layout, from that of the output. What
/// is not wanted is not computed.
pub fn backward(
    input: &Input,
    mut kept: Kept,
    grad: &[f32],
    wants: Wants,
) -> (Option<Vec<f32>>, Option<Vec<f32>>) {
    let turned = Turned::new(input);
    let Rest { mut dx, attended, ended, dcontext, norms } =
        rest_back(input, &turned, &mut kept, grad);
    let dqkv = attend_back(input, &kept, &dcontext);
    drop(dcontext);
    if wants.x {
        project_back(input, &turned, &dqkv, &mut dx);
    }
    let weights = wants.weights.then(|| {
        middle(input, &mut kept.n1);
        let lefts = [input.x, &kept.context, &kept.n1, &kept.inner];
        weights_back(input, lefts, [&dqkv, &attended, &kept.slope, &ended], norms)
    });
    (wants.x.then_some(dx), weights)
}

/// The gradients from the output back to the attention, `[T, H]` each.
struct Rest {
    /// Of what the first half is added to.
    dx: Vec<f32>,
    /// Of what leaves the attention's last product.
    attended: Vec<f32>,
    /// Of what leaves the layer's last product.
    ended: Vec<f32>,
    dcontext: Vec<f32>,
    /// `[H]` each.
    norms: [Norm<Vec<f32>>; 2],
}

/// Back through all that works row by row. The gradient of what the activation is given takes the
/// place of its slope.
fn rest_back(input: &Input, turned: &Turned, kept: &mut Kept, grad: &[f32]) -> Rest {
    let (tokens, hidden, width) = (input.tokens(), input.hidden(), input.inner());
    let Parts { attention_norm, output_norm, .. } = input.parts();
    let [mut dx, mut attended, mut ended, mut dcontext] = [(); 4].map(|()| vec![0.0; grad.len()]);
    let mut sums = vec![0.0; tokens.div_ceil(ROWS) * 4 * hidden];
    let Kept { n1, r1, n2, r2, slope, .. } = kept;
    let matrices = [
        (&mut dx[..], hidden),
        (&mut attended, hidden),
        (&mut ended, hidden),
        (&mut dcontext, hidden),
        (slope, width),
    ];
    let blocks = row_blocks(tokens, ROWS, matrices);
    let items = blocks.into_iter().zip(sums.chunks_mut(4 * hidden)).enumerate();
    map(items.collect(), |(block, (matrices, sums)): (usize, ([&mut [f32]; 5], &mut [f32]))| {
        let [dx, attended, ended, dcontext, slope] = matrices;
        let (first, count) = (block * ROWS, dx.len() / hidden);
        let (sums_1, sums_2) = sums.split_at_mut(2 * hidden);
        scratch(count * (hidden + width), |floats| {
            let (dmiddle, du) = floats.split_at_mut(count * hidden);
            let norm = NormBack { input, first, n: n2, r: r2, norm: output_norm, half: 1 };
            norm.run(&grad[first * hidden..], dmiddle, ended, sums_2);
            let panels = Panels::new(&turned.output, hidden, width);
            product(View::whole(ended, hidden), panels, &mut Block::whole(du, width), false);
            rows::multiply(slope, du);
            let panels = Panels::new(&turned.intermediate, width, hidden);
            product(View::whole(slope, width), panels, &mut Block::whole(dmiddle, hidden), true);
            let norm = NormBack { input, first, n: n1, r: r1, norm: attention_norm, half: 0 };
            norm.run(dmiddle, dx, attended, sums_1);
            let panels = Panels::new(&turned.attention_output, hidden, hidden);
            let mut dcontext = Block::whole(dcontext, hidden);
            product(View::whole(attended, hidden), panels, &mut dcontext, false);
        });
    });
    let total = |at: usize| {
        let mut total = vec![0.0; hidden];
        sums.chunks(4 * hidden)
            .for_each(|part| rows::add(&mut total, &part[at * hidden..][..hidden]));
        total
    };
    let norms = [0, 2].map(|at| Norm { gamma: total(at), beta: total(at + 1) });
    Rest { dx, attended, ended, dcontext, norms }
}

/// Back through a norm, and through the dropout before it.
struct NormBack<'a> {
    input: &'a Input<'a>,
    first: usize,
    n: &'a [f32],
    r: &'a [f32],
    norm: Norm<&'a [f32]>,
    half: usize,
}

impl NormBack<'_> {
    /// From the gradient of y that of what was normalised, to `dr`, and of what was dropped, to
    /// `dropped`. The sums for γ and β begin at 0.
    fn run(&self, dy: &[f32], dr: &mut [f32], dropped: &mut [f32], sums: &mut [f32]) {
        let (hidden, drop) = (self.input.hidden(), self.input.spec.hidden_drops[self.half]);
        let (gamma, beta) = sums.split_at_mut(hidden);
        let matrices = dr.chunks_mut(hidden).zip(dropped.chunks_mut(hidden)).zip(dy.chunks(hidden));
        for (i, ((dr, dropped), dy)) in matrices.enumerate() {
            let row = self.first + i;
            let n = &self.n[row * hidden..][..hidden];
            rows::norm_back(dr, dy, n, self.r[row], self.norm.gamma, gamma, beta);
            rows::drop_into(dropped, dr, drop, (row * hidden) as u32);
        }
    }
}

/// From the gradient of the context that of queries, keys and values, `[T, 3 H]`.
fn attend_back(input: &Input, kept: &Kept, dcontext: &[f32]) -> Vec<f32> {
    let (seq, hidden, size) = (input.seq(), input.hidden(), input.head_size());
    let heads = input.spec.heads;
    let mut dqkv = vec![0.0; 3 * dcontext.len()];
    let mut blocks: Vec<Option<Block>> =
        Block::whole(&mut dqkv, 3 * hidden).cut(seq, size).into_iter().map(Some).collect();
    let mut of_head = |number: usize| {
        let (example, head) = (number / heads, number % heads);
        let at = |which| (example * 3 + which) * heads + head;
        [0, 1, 2].map(|which| blocks[at(which)].take().expect("each is taken once"))
    };
    let items = (0..input.batch * heads).map(|number| (number, of_head(number))).collect();
    map(items, |(number, [mut dq, mut dk, mut dv]): (usize, [Block; 3])| {
        let longest = packed_len(size, seq).max(packed_len(seq, size));
        scratch(longest + 3 * seq * seq, |floats| {
            let (packed, floats) = floats.split_at_mut(longest);
            let (x, floats) = floats.split_at_mut(seq * seq);
            let (dropped, dp) = floats.split_at_mut(seq * seq);
            let [query, key, value] =
                [0, 1, 2].map(|which| head_of(input, &kept.qkv, which, number));
            let (example, head) = (number / heads, number % heads);
            let dcontext = &dcontext[example * seq * hidden + head * size..];
            let dcontext = View::strided(dcontext, [seq, size], hidden);
            let keys = Panels::pack(key.transposed(), packed);
            product(query, keys, &mut Block::whole(x, seq), false);
            let values = Panels::pack(value.transposed(), packed);
            product(dcontext, values, &mut Block::whole(dp, seq), false);
            for i in 0..seq {
                let row = i * seq..(i + 1) * seq;
                let (x, dropped, dp) =
                    (&mut x[row.clone()], &mut dropped[row.clone()], &mut dp[row]);
                let at = (number * seq + i) * 2;
                let (top, over) = (kept.softmax[at], kept.softmax[at + 1]);
                let (drop, place) = (input.spec.attention_drop, input.attention_place(number, i));
                let mask = input.mask(example, i);
                rows::softmax_back(x, dropped, dp, mask, top, over, input.scale(), drop, place);
            }
            let (dropped, dp) = (View::whole(dropped, seq), View::whole(dp, seq));
            product(dropped.transposed(), Panels::pack(dcontext, packed), &mut dv, false);
            product(dp, Panels::pack(key, packed), &mut dq, false);
            product(dp.transposed(), Panels::pack(query, packed), &mut dk, false);
        });
    });
    dqkv
}

/// Adds `dqkv Wqkvᵀ` to the gradient of x.
fn project_back(input: &Input, turned: &Turned, dqkv: &[f32], dx: &mut [f32]) {
    let hidden = input.hidden();
    let panels = Panels::new(&turned.qkv, 3 * hidden, hidden);
    let items = dx.chunks_mut(ROWS * hidden).zip(dqkv.chunks(ROWS * 3 * hidden)).collect();
    map(items, |(dx, dqkv): (&mut [f32], &[f32])| {
        product(View::whole(dqkv, 3 * hidden), panels, &mut Block::whole(dx, hidden), true);
    });
}

/// A piece of a weight's gradient: what goes into its product and what comes back, from the top left
/// corner on.
struct Piece<'a> {
    left: View<'a>,
    right: View<'a>,
    /// Of each of its panels some rows.
    out: Vec<Block<'a>>,
    /// The sums of the right side's columns, where the piece is of the first row.
    bias: Option<&'a mut [f32]>,
}

/// Cuts a gradient into pieces, from top to bottom and then right.
fn pieces<'a>(left: View<'a>, right: View<'a>, grad: Linear<&'a mut [f32]>) -> Vec<Piece<'a>> {
    let down = left.columns().div_ceil(PIECE);
    let mut biases = grad.bias.chunks_mut(PIECE);
    let mut pieces = Vec::new();
    for column in (0..right.columns()).step_by(PIECE) {
        for row in (0..left.columns()).step_by(PIECE) {
            pieces.push(Piece {
                left: left.columns_from(row, PIECE.min(left.columns() - row)),
                right: right.columns_from(column, PIECE.min(right.columns() - column)),
                out: Vec::new(),
                bias: if row == 0 { biases.next() } else { None },
            });
        }
    }
    let panels = panel_blocks(grad.weight, left.columns(), right.columns());
    for (number, panel) in panels.into_iter().enumerate() {
        let first = number * PANEL / PIECE * down;
        for (piece, block) in pieces[first..].iter_mut().zip(panel.cut(PIECE, PANEL)) {
            piece.out.push(block);
        }
    }
    pieces
}

/// What the second half started from, once more: in the place of the normalised rows, which nothing needs any more.
fn middle(input: &Input, n1: &mut [f32]) {
    let Norm { gamma, beta } = input.parts().attention_norm;
    n1.chunks_mut(gamma.len()).for_each(|row| rows::scale_shift(row, gamma, beta));
}

/// The gradients of the weights from what went into their products and the gradients of what came out.
fn weights_back(
    input: &Input,
    [x, context, middle, inner]: [&[f32]; 4],
    [dqkv, attended, du, ended]: [&[f32]; 4],
    norms: [Norm<Vec<f32>>; 2],
) -> Vec<f32> {
    let (hidden, width) = (input.hidden(), input.inner());
    // What fills the last panels up stays 0.
    let mut grads = vec![0.0; input.weights.len()];
    let parts = input.spec.layout.split_mut(&mut grads);
    for (part, norm) in [parts.attention_norm, parts.output_norm].into_iter().zip(norms) {
        part.gamma.copy_from_slice(&norm.gamma);
        part.beta.copy_from_slice(&norm.beta);
    }
    let sides = [
        (View::whole(x, hidden), View::whole(dqkv, 3 * hidden), parts.qkv),
        (View::whole(context, hidden), View::whole(attended, hidden), parts.attention_output),
        (View::whole(middle, hidden), View::whole(du, width), parts.intermediate),
        (View::whole(inner, width), View::whole(ended, hidden), parts.output),
    ];
    let items = sides.into_iter().flat_map(|(left, right, grad)| pieces(left, right, grad));
    map(items.collect(), |Piece { left, right, mut out, bias }: Piece| {
        outer(left, right, &mut out);
        if let Some(bias) = bias {
            (0..right.rows()).for_each(|row| rows::add(bias, right.row(row)));
        }
    });
    grads
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Slot;

    const SPEC: LayerSpec = LayerSpec {
        layout: Layout { hidden: 15, inner: 37 },
        heads: 5,
        activation: Activation::Gelu,
        epsilon: 1e-12,
        attention_drop: None,
        hidden_drops: [None; 2],
    };

    fn dropping(spec: LayerSpec) -> LayerSpec {
        let drop = |key| Some(Drop::new(key, 0.2));
        LayerSpec { attention_drop: drop(1), hidden_drops: [drop(2), drop(3)], ..spec }
    }

    /// Values between about -1 and 1, the same every time.
    fn wave(count: usize, phase: f32) -> Vec<f32> {
        let value = |i: usize| (i as f32 * 0.73 + phase).sin() * (i as f32 * 0.011 + phase).cos();
        (0..count).map(value).collect()
    }

    /// Every tensor with numbers of its own.
    fn weights(layout: Layout, phase: f32) -> Vec<f32> {
        let mut all = vec![0.0; layout.floats()];
        for (number, slot) in Slot::ALL.into_iter().enumerate() {
            let shape = layout.shape(slot);
            let scale = if shape.len() == 1 { 0.5 } else { (shape[0] as f32).powf(-0.5) };
            let values = wave(shape.iter().product(), number as f32 + phase);
            layout.write(slot, &values.iter().map(|x| x * scale).collect::<Vec<_>>(), &mut all);
        }
        all
    }

    /// The last key of every other example is hidden.
    fn mask(batch: usize, seq: usize) -> Vec<f32> {
        let hidden = |i: usize| i % (2 * seq) == seq - 1 && seq > 1;
        (0..batch * seq).map(|i| if hidden(i) { -10000.0 } else { 0.0 }).collect()
    }

    /// The output, and the gradients of x and of the weights for a loss that weighs it by a wave.
    fn all([batch, seq]: [usize; 2], spec: LayerSpec) -> [Vec<f32>; 3] {
        let (x, mask) = (wave(batch * seq * spec.layout.hidden, 0.5), mask(batch, seq));
        let weights = weights(spec.layout, 0.0);
        let input = Input { x: &x, mask: &mask, weights: &weights, batch, spec };
        let (y, kept) = forward_keeping(&input);
        assert_eq!(y, forward(&input));
        let wants = Wants { x: true, weights: true };
        let (of_x, of_weights) = backward(&input, kept, &wave(y.len(), 2.5), wants);
        [y, of_x.unwrap(), of_weights.unwrap()]
    }

    /// How fast the loss grows when x and the weights move along waves: by the gradients, and by two steps.
    fn slopes([batch, seq]: [usize; 2], spec: LayerSpec) -> [f64; 2] {
        let [y, of_x, of_weights] = all([batch, seq], spec);
        let (x, mask) = (wave(of_x.len(), 0.5), mask(batch, seq));
        let (along_x, along_weights) = (wave(of_x.len(), 4.0), weights(spec.layout, 4.0));
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let loss = |step: f32| {
            let moved = |from: &[f32], along: &[f32]| -> Vec<f32> {
                from.iter().zip(along).map(|(from, along)| from + step * along).collect()
            };
            let x = moved(&x, &along_x);
            let weights = moved(&weights(spec.layout, 0.0), &along_weights);
            let input = Input { x: &x, mask: &mask, weights: &weights, batch, spec };
            dot(&forward(&input), &wave(y.len(), 2.5))
        };
        const STEP: f32 = 2e-3;
        let by_steps = (loss(STEP) - loss(-STEP)) / (2.0 * f64::from(STEP));
        [dot(&of_x, &along_x) + dot(&of_weights, &along_weights), by_steps]
    }

    /// The tests of `crate/model.rs` hold it to the plain layer; this one is small enough for a sanitizer.
    #[test]
    fn gradients_are_slopes_for_odd_sizes() {
        for (hidden, inner, heads) in [(15, 37, 5), (7, 9, 1), (32, 64, 2)] {
            let spec = LayerSpec { layout: Layout { hidden, inner }, heads, ..SPEC };
            for sizes in [[1, 1], [3, 11], [2, 70]] {
                for spec in [spec, dropping(spec)] {
                    let [ours, right] = slopes(sizes, spec);
                    assert!(
                        (ours - right).abs() < 0.01 * right.abs().max(1.0),
                        "{sizes:?} {spec:?}: {ours} {right}"
                    );
                }
            }
        }
    }

    #[test]
    fn its_bits_do_not_depend_on_the_number_of_threads() {
        let layout = Layout { hidden: 80, inner: 300 };
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| all([4, 70], dropping(LayerSpec { layout, ..SPEC })))
        };
        let one = with(1);
        assert!(one == with(2) && one == with(8));
    }
}
