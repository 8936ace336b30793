//! An encoder layer and its gradients, derived by hand, in parallel regions over rows or heads.
//!
//! Regions cut rows into blocks of a fixed number, and sums over rows are added in the order of
//! the blocks, so that results do not depend on the number of threads. Words and letters: `T`
//! tokens (batch · seq), `H` hidden, `I` inner, `d` the size of a head.

use crate::config::Activation;

use super::super::hash::Drop;
use super::product::{Panels, View, outer, pack, packed_len, product};
use super::{Block, map, row_blocks, rows, scratch};

/// Rows that a thread takes through several products while they are in its cache.
const ROWS: usize = 64;

/// Rows and columns of a weight's gradient that a thread computes at a time.
const PIECE: usize = 256;

/// What a layer is besides its weights.
#[derive(Debug, Clone, Copy)]
pub struct LayerSpec {
    pub heads: usize,
    pub activation: Activation,
    /// Of the norms.
    pub epsilon: f64,
    /// Of the attention's probabilities.
    pub attention_drop: Option<Drop>,
    /// Of the attention's output, and of the layer's.
    pub hidden_drops: [Option<Drop>; 2],
}

/// `x W + b`. The gradient of one has the same form.
#[derive(Debug, Clone, Copy)]
pub struct Linear<T> {
    /// `[in, out]`
    pub weight: T,
    /// `[out]`
    pub bias: T,
}

/// `n γ + β` of a row's normalised n, `[H]` each.
#[derive(Debug, Clone, Copy)]
pub struct Norm<T> {
    pub gamma: T,
    pub beta: T,
}

/// The weights of a layer, or their gradients.
#[derive(Debug, Clone, Copy)]
pub struct Weights<T> {
    pub query: Linear<T>,
    pub key: Linear<T>,
    pub value: Linear<T>,
    pub attention_output: Linear<T>,
    pub attention_norm: Norm<T>,
    pub intermediate: Linear<T>,
    pub output: Linear<T>,
    pub output_norm: Norm<T>,
}

impl<T> Weights<T> {
    /// One after the other: the linears as they are declared, each with its bias, then the norms.
    pub fn each(self) -> impl Iterator<Item = T> {
        let (linears, norms) = self.parts();
        let linears = linears.into_iter().flat_map(|linear| [linear.weight, linear.bias]);
        linears.chain(norms.into_iter().flat_map(|norm| [norm.gamma, norm.beta]))
    }

    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> Weights<U> {
        let (linears, norms) = self.parts();
        let linears =
            linears.map(|Linear { weight, bias }| Linear { weight: f(weight), bias: f(bias) });
        let norms = norms.map(|Norm { gamma, beta }| Norm { gamma: f(gamma), beta: f(beta) });
        Weights::of(linears, norms)
    }

    pub fn each_ref(&self) -> Weights<&T> {
        fn linear<T>(of: &Linear<T>) -> Linear<&T> {
            Linear { weight: &of.weight, bias: &of.bias }
        }
        fn norm<T>(of: &Norm<T>) -> Norm<&T> {
            Norm { gamma: &of.gamma, beta: &of.beta }
        }
        Weights {
            query: linear(&self.query),
            key: linear(&self.key),
            value: linear(&self.value),
            attention_output: linear(&self.attention_output),
            attention_norm: norm(&self.attention_norm),
            intermediate: linear(&self.intermediate),
            output: linear(&self.output),
            output_norm: norm(&self.output_norm),
        }
    }

    fn parts(self) -> ([Linear<T>; 6], [Norm<T>; 2]) {
        let Weights { query, key, value, attention_output, intermediate, output, .. } = self;
        let linears = [query, key, value, attention_output, intermediate, output];
        (linears, [self.attention_norm, self.output_norm])
    }

    fn of(linears: [Linear<T>; 6], norms: [Norm<T>; 2]) -> Self {
        let [query, key, value, attention_output, intermediate, output] = linears;
        let [attention_norm, output_norm] = norms;
        Weights {
            query,
            key,
            value,
            attention_output,
            attention_norm,
            intermediate,
            output,
            output_norm,
        }
    }
}

/// What goes in, and what it is about.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// `[T, H]`
    pub x: &'a [f32],
    /// Added to the scores, `[batch, 1 or seq, seq]`.
    pub mask: &'a [f32],
    pub weights: Weights<&'a [f32]>,
    pub batch: usize,
    pub spec: LayerSpec,
}

impl<'a> Input<'a> {
    fn hidden(&self) -> usize {
        self.weights.output_norm.gamma.len()
    }

    fn inner(&self) -> usize {
        self.weights.intermediate.bias.len()
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

/// What the way back needs.
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
    /// What the second half starts from, `[T, H]`.
    middle: Vec<f32>,
    /// The activation and its slope, `[T, I]`.
    inner: Vec<f32>,
    slope: Vec<f32>,
    /// As n1 and r1, at the end.
    n2: Vec<f32>,
    r2: Vec<f32>,
}

// ---------------------------------------------------------------------------------------------
// Packed weights

/// The six matrices as products read them, or their transposes.
struct Packed<'a> {
    values: Vec<Vec<f32>>,
    shapes: Vec<[usize; 2]>,
    weights: Weights<&'a [f32]>,
}

impl<'a> Packed<'a> {
    fn new(weights: Weights<&'a [f32]>, transposed: bool) -> Self {
        let views = weights.parts().0.map(|linear| {
            let view = View::whole(linear.weight, linear.bias.len());
            if transposed { view.transposed() } else { view }
        });
        let values = map(views.to_vec(), |view| {
            let mut values = vec![0.0; packed_len(view.rows(), view.columns())];
            pack(view, &mut values);
            values
        });
        let shapes = views.iter().map(|view| [view.rows(), view.columns()]).collect();
        Packed { values, shapes, weights }
    }

    fn panels(&self, matrix: usize) -> Panels<'_> {
        let [rows, columns] = self.shapes[matrix];
        Panels::new(&self.values[matrix], rows, columns)
    }
}

/// The order of the matrices in [`Packed`].
const QKV: [usize; 3] = [0, 1, 2];
const ATTENTION_OUTPUT: usize = 3;
const INTERMEDIATE: usize = 4;
const OUTPUT: usize = 5;

// ---------------------------------------------------------------------------------------------
// Forward

/// The layer's output, `[T, H]`.
pub fn forward(input: &Input) -> Vec<f32> {
    let packed = Packed::new(input.weights, false);
    let qkv = project(input, &packed);
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
            attended(input, &packed, first, &context, [n, r, middle]);
            fed_forward(input, &packed, first, middle, [inner, &mut [], n2, r, y]);
        });
    });
    y
}

/// The same, with what [`backward`] needs.
pub fn forward_keeping(input: &Input) -> (Vec<f32>, Kept) {
    let packed = Packed::new(input.weights, false);
    let qkv = project(input, &packed);
    let (context, softmax) = attend(input, &qkv);
    let (tokens, hidden, width) = (input.tokens(), input.hidden(), input.inner());
    let zeros = |width: usize| vec![0f32; tokens * width];
    let [mut y, mut n1, mut middle, mut n2] = [(); 4].map(|()| zeros(hidden));
    let ([mut r1, mut r2], [mut inner, mut slope]) =
        ([(); 2].map(|()| zeros(1)), [(); 2].map(|()| zeros(width)));
    let matrices = [
        (&mut n1[..], hidden),
        (&mut r1, 1),
        (&mut middle, hidden),
        (&mut inner, width),
        (&mut slope, width),
        (&mut n2, hidden),
        (&mut r2, 1),
        (&mut y, hidden),
    ];
    let blocks = row_blocks(tokens, ROWS, matrices);
    map(blocks.into_iter().enumerate().collect(), |(block, matrices)| {
        let [n1, r1, middle, inner, slope, n2, r2, y] = matrices;
        attended(input, &packed, block * ROWS, &context, [n1, r1, middle]);
        fed_forward(input, &packed, block * ROWS, middle, [inner, slope, n2, r2, y]);
    });
    (y, Kept { qkv, softmax, context, n1, r1, middle, inner, slope, n2, r2 })
}

/// Queries, keys and values: `x Wqkv + bqkv`, `[T, 3 H]`.
fn project(input: &Input, packed: &Packed) -> Vec<f32> {
    let hidden = input.hidden();
    let Weights { query, key, value, .. } = input.weights;
    let mut qkv = vec![0.0; 3 * input.x.len()];
    let blocks = Block::whole(&mut qkv, 3 * hidden).cut(ROWS, 3 * hidden);
    let items = blocks.into_iter().zip(input.x.chunks(ROWS * hidden)).collect();
    map(items, |(mut out, x): (Block, &[f32])| {
        for (i, linear) in [query, key, value].iter().enumerate() {
            let mut out = out.columns(i * hidden..(i + 1) * hidden);
            product(View::whole(x, hidden), packed.panels(QKV[i]), &mut out, false);
            (0..x.len() / hidden).for_each(|row| rows::add(out.row(row), linear.bias));
        }
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
fn attended(input: &Input, packed: &Packed, first: usize, context: &[f32], out: [&mut [f32]; 3]) {
    let hidden = input.hidden();
    let Weights { attention_output, attention_norm, .. } = packed.weights;
    let [n, r, middle] = out;
    let (from, length) = (first * hidden, n.len());
    let (x, context) = (&input.x[from..][..length], &context[from..][..length]);
    let panels = packed.panels(ATTENTION_OUTPUT);
    product(View::whole(context, hidden), panels, &mut Block::whole(n, hidden), false);
    let end = End { input, first, bias: attention_output.bias, norm: attention_norm, half: 0 };
    end.run(x, [n, r, middle]);
}

/// The second half: `inner = f(middle W1 + b1)`, `y = norm(drop(inner W2 + b2) + middle)`.
fn fed_forward(input: &Input, packed: &Packed, first: usize, middle: &[f32], out: [&mut [f32]; 5]) {
    let (hidden, width, kind) = (input.hidden(), input.inner(), input.spec.activation);
    let Weights { intermediate, output, output_norm, .. } = packed.weights;
    let [inner, slope, n, r, y] = out;
    let panels = packed.panels(INTERMEDIATE);
    product(View::whole(middle, hidden), panels, &mut Block::whole(inner, width), false);
    if slope.is_empty() {
        inner.chunks_mut(width).for_each(|u| rows::activate(u, intermediate.bias, kind));
    } else {
        for (u, slope) in inner.chunks_mut(width).zip(slope.chunks_mut(width)) {
            rows::activate_with_slope(u, slope, intermediate.bias, kind);
        }
    }
    let panels = packed.panels(OUTPUT);
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

/// The gradients of x, `[T, H]`, and of the weights, from that of the output. What is not wanted is
/// not computed.
pub fn backward(
    input: &Input,
    mut kept: Kept,
    grad: &[f32],
    wants: Wants,
) -> (Option<Vec<f32>>, Option<Weights<Vec<f32>>>) {
    let packed = Packed::new(input.weights, true);
    let Rest { mut dx, attended, ended, dcontext, norms } =
        rest_back(input, &packed, &mut kept, grad);
    let dqkv = attend_back(input, &kept, &dcontext);
    drop(dcontext);
    if wants.x {
        project_back(input, &packed, &dqkv, &mut dx);
    }
    let grads = [&dqkv[..], &attended, &kept.slope, &ended];
    let weights = wants.weights.then(|| weights_back(input, &kept, grads, norms));
    (wants.x.then_some(dx), weights)
}

/// The gradients on the way back to the attention, `[T, H]` each.
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
fn rest_back(input: &Input, packed: &Packed, kept: &mut Kept, grad: &[f32]) -> Rest {
    let (tokens, hidden, width) = (input.tokens(), input.hidden(), input.inner());
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
            let norm =
                NormBack { input, first, n: n2, r: r2, norm: packed.weights.output_norm, half: 1 };
            norm.run(&grad[first * hidden..], dmiddle, ended, sums_2);
            let panels = packed.panels(OUTPUT);
            product(View::whole(ended, hidden), panels, &mut Block::whole(du, width), false);
            rows::multiply(slope, du);
            let panels = packed.panels(INTERMEDIATE);
            product(View::whole(slope, width), panels, &mut Block::whole(dmiddle, hidden), true);
            let norm = NormBack {
                input,
                first,
                n: n1,
                r: r1,
                norm: packed.weights.attention_norm,
                half: 0,
            };
            norm.run(dmiddle, dx, attended, sums_1);
            let panels = packed.panels(ATTENTION_OUTPUT);
            product(
                View::whole(attended, hidden),
                panels,
                &mut Block::whole(dcontext, hidden),
                false,
            );
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
fn project_back(input: &Input, packed: &Packed, dqkv: &[f32], dx: &mut [f32]) {
    let hidden = input.hidden();
    let items = dx.chunks_mut(ROWS * hidden).zip(dqkv.chunks(ROWS * 3 * hidden)).collect();
    map(items, |(dx, dqkv): (&mut [f32], &[f32])| {
        for (i, matrix) in QKV.into_iter().enumerate() {
            let count = dx.len() / hidden;
            let grad = View::strided(&dqkv[i * hidden..], [count, hidden], 3 * hidden);
            product(grad, packed.panels(matrix), &mut Block::whole(dx, hidden), true);
        }
    });
}

/// A piece of a weight's gradient: what goes into its product and what comes back, from the top left
/// corner on.
struct Piece<'a> {
    left: View<'a>,
    right: View<'a>,
    out: Block<'a>,
    /// The sums of the right side's columns, where the piece is of the first row.
    bias: Option<&'a mut [f32]>,
}

/// The gradients of the weights from those of what their products gave.
fn weights_back(
    input: &Input,
    kept: &Kept,
    [dqkv, attended, du, ended]: [&[f32]; 4],
    norms: [Norm<Vec<f32>>; 2],
) -> Weights<Vec<f32>> {
    let (hidden, width) = (input.hidden(), input.inner());
    let x = View::whole(input.x, hidden);
    let dqkv = View::whole(dqkv, 3 * hidden);
    let sides = [
        (x, dqkv.columns_from(0, hidden)),
        (x, dqkv.columns_from(hidden, hidden)),
        (x, dqkv.columns_from(2 * hidden, hidden)),
        (View::whole(&kept.context, hidden), View::whole(attended, hidden)),
        (View::whole(&kept.middle, hidden), View::whole(du, width)),
        (View::whole(&kept.inner, width), View::whole(ended, hidden)),
    ];
    let mut grads = sides.map(|(left, right)| Linear {
        weight: vec![0.0; left.columns() * right.columns()],
        bias: vec![0.0; right.columns()],
    });
    let pieces = sides.iter().zip(&mut grads).flat_map(|((left, right), grad)| {
        let columns = right.columns();
        let blocks = Block::whole(&mut grad.weight, columns).cut(PIECE, PIECE);
        let mut biases = grad.bias.chunks_mut(PIECE);
        let across = columns.div_ceil(PIECE);
        blocks.into_iter().enumerate().map(move |(i, out)| {
            let (row, column) = (i / across * PIECE, i % across * PIECE);
            let (left, right) =
                (left.columns_from(row, out.rows), right.columns_from(column, out.columns));
            Piece { left, right, out, bias: biases.next() }
        })
    });
    map(pieces.collect(), |Piece { left, right, mut out, bias }: Piece| {
        outer(left, right, &mut out);
        if let Some(bias) = bias {
            (0..right.rows()).for_each(|row| rows::add(bias, right.row(row)));
        }
    });
    Weights::of(grads, norms)
}
