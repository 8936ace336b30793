//! Products of matrices, each with what comes after it: tiles of 64 x 64 by 256 threads of 4 x 4.
//!
//! Matrices of weights lie in panels (`host/layout.rs`), which is the order that a tile reads them in,
//! from either side.

use burn::backend::TensorMetadata;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::{Four, NO_DROP, clip, empty, factor, four, value, value_and_slope};
use crate::config::Activation;
use electra_host::hash::Drop;

/// Rows and columns of a result that a workgroup computes.
const TILE: u32 = 64;

/// One row of a tile in shared memory, in fours; one more than there are, so that what threads
/// write beside each other does not fall on one bank.
const STRIDE: usize = 17;

/// How a matrix of weights lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    Panels,
    Rows,
}

/// A matrix of weights, `[inputs, outputs]`, within a tensor.
#[derive(Debug, Clone, Copy)]
pub struct Matrix {
    pub form: Form,
    /// Where it begins.
    pub at: usize,
    pub inputs: usize,
    pub outputs: usize,
    /// Where its bias begins, `[outputs]`.
    pub bias: usize,
}

/// What becomes of a product `x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Epilogue {
    /// `x`
    Plain,
    /// `x + bias`
    Bias,
    /// `f(x + bias)`
    Activate(Activation),
    /// `drop(x + bias) + extra`
    DropAdd,
    /// `x f'(extra)`
    Slope(Activation),
    /// `x + extra`
    Add,
}

impl Epilogue {
    fn adds_bias(self) -> bool {
        matches!(self, Epilogue::Bias | Epilogue::Activate(_) | Epilogue::DropAdd)
    }

    /// What [`finish`] is compiled for, and the activation where there is one.
    fn parts(self) -> (u32, Activation) {
        match self {
            Epilogue::Plain | Epilogue::Bias => (0, Activation::Relu),
            Epilogue::Activate(f) => (1, f),
            Epilogue::DropAdd => (2, Activation::Relu),
            Epilogue::Slope(f) => (3, f),
            Epilogue::Add => (4, Activation::Relu),
        }
    }
}

/// `a W`, or `a Wᵀ` where it is turned, `[rows, ..]`, with an epilogue that may read `extra`, which
/// has the result's shape.
pub fn product(
    a: &CubeTensor,
    [weights, biases]: [&CubeTensor; 2],
    matrix: Matrix,
    turned: bool,
    epilogue: Epilogue,
    extra: Option<&CubeTensor>,
    drop: Option<Drop>,
) -> CubeTensor {
    let sizes = Sizes::of(a, matrix, turned);
    let c = empty(a, [sizes.rows as usize, sizes.columns as usize]);
    product_into(&c, a, [weights, biases], matrix, turned, epilogue, extra, drop);
    c
}

/// The same, into a tensor that is there.
#[allow(clippy::too_many_arguments)] // as the kernel has them
pub fn product_into(
    c: &CubeTensor,
    a: &CubeTensor,
    [weights, biases]: [&CubeTensor; 2],
    matrix: Matrix,
    turned: bool,
    epilogue: Epilogue,
    extra: Option<&CubeTensor>,
    drop: Option<Drop>,
) {
    let sizes = Sizes::of(a, matrix, turned);
    let drop = drop.unwrap_or(NO_DROP);
    product_kernel::launch::<f32>(
        &a.client,
        sizes.workgroups(),
        CubeDim::new_1d(256),
        a.clone().into_tensor_arg(),
        weights.clone().into_tensor_arg(),
        biases.clone().into_tensor_arg(),
        extra.unwrap_or(a).clone().into_tensor_arg(),
        c.clone().into_tensor_arg(),
        matrix.at as u32,
        matrix.bias as u32,
        sizes.rows,
        sizes.terms,
        sizes.columns,
        drop.key,
        drop.threshold,
        drop.scale,
        matrix.form,
        turned,
        epilogue,
    );
}

/// `u = a W + bias` and `f(u)`.
pub fn activated(
    a: &CubeTensor,
    weights: &CubeTensor,
    matrix: Matrix,
    f: Activation,
) -> [CubeTensor; 2] {
    let sizes = Sizes::of(a, matrix, false);
    let [u, g] = [(); 2].map(|()| empty(a, [sizes.rows as usize, sizes.columns as usize]));
    activated_kernel::launch::<f32>(
        &a.client,
        sizes.workgroups(),
        CubeDim::new_1d(256),
        a.clone().into_tensor_arg(),
        weights.clone().into_tensor_arg(),
        u.clone().into_tensor_arg(),
        g.clone().into_tensor_arg(),
        matrix.at as u32,
        matrix.bias as u32,
        sizes.rows,
        sizes.terms,
        sizes.columns,
        f,
    );
    [u, g]
}

/// Of one product.
struct Sizes {
    rows: u32,
    /// Of each sum.
    terms: u32,
    columns: u32,
}

impl Sizes {
    fn of(a: &CubeTensor, matrix: Matrix, turned: bool) -> Self {
        let Matrix { inputs, outputs, .. } = matrix;
        let (terms, columns) = if turned { (outputs, inputs) } else { (inputs, outputs) };
        let rows = a.shape().num_elements() / terms;
        Sizes { rows: rows as u32, terms: terms as u32, columns: columns as u32 }
    }

    fn workgroups(&self) -> CubeCount {
        CubeCount::Static(self.columns.div_ceil(TILE), self.rows.div_ceil(TILE), 1)
    }
}

#[cube(launch)]
fn product_kernel<E: Float>(
    a: &Tensor<E>,
    weights: &Tensor<E>,
    biases: &Tensor<E>,
    extra: &Tensor<E>,
    c: &mut Tensor<E>,
    at: u32,
    bias_at: u32,
    rows: u32,
    terms: u32,
    columns: u32,
    key: u32,
    threshold: u32,
    scale: f32,
    #[comptime] form: Form,
    #[comptime] turned: bool,
    #[comptime] epilogue: Epilogue,
) {
    let (rows, terms, columns) = (rows as usize, terms as usize, columns as usize);
    let sums = multiply::<E>(a, weights, at as usize, rows, terms, columns, form, turned);
    let (kind, f) = comptime!(epilogue.parts());
    #[unroll]
    for i in 0..4usize {
        #[unroll]
        for j in 0..4usize {
            let (row, column) = (first_row() + i, first_column() + j);
            if row < rows && column < columns {
                let place = row * columns + column;
                let mut x = sums[i].extract(j);
                if comptime!(epilogue.adds_bias()) {
                    x += f32::cast_from(biases[bias_at as usize + column]);
                }
                let x = if comptime!(kind == 1) {
                    value(x, f)
                } else if comptime!(kind == 2) {
                    x * factor(key, place, threshold, scale) + f32::cast_from(extra[place])
                } else if comptime!(kind == 3) {
                    let (_, slope) = value_and_slope(f32::cast_from(extra[place]), f);
                    x * slope
                } else if comptime!(kind == 4) {
                    x + f32::cast_from(extra[place])
                } else {
                    x
                };
                c[place] = E::cast_from(x);
            }
        }
    }
}

#[cube(launch)]
fn activated_kernel<E: Float>(
    a: &Tensor<E>,
    weights: &Tensor<E>,
    u: &mut Tensor<E>,
    g: &mut Tensor<E>,
    at: u32,
    bias_at: u32,
    rows: u32,
    terms: u32,
    columns: u32,
    #[comptime] f: Activation,
) {
    let (rows, terms, columns) = (rows as usize, terms as usize, columns as usize);
    let sums = multiply::<E>(a, weights, at as usize, rows, terms, columns, Form::Panels, false);
    #[unroll]
    for i in 0..4usize {
        #[unroll]
        for j in 0..4usize {
            let (row, column) = (first_row() + i, first_column() + j);
            if row < rows && column < columns {
                let x = sums[i].extract(j) + f32::cast_from(weights[bias_at as usize + column]);
                let place = row * columns + column;
                u[place] = E::cast_from(x);
                g[place] = E::cast_from(value(x, f));
            }
        }
    }
}

/// The first of a thread's four rows of a result.
#[cube]
fn first_row() -> usize {
    (CUBE_POS_Y * TILE + UNIT_POS / 16 * 4) as usize
}

/// The first of its four columns.
#[cube]
fn first_column() -> usize {
    (CUBE_POS_X * TILE + UNIT_POS % 16 * 4) as usize
}

/// A thread's sums: of each of its rows, four columns.
#[cube]
fn multiply<E: Float>(
    a: &Tensor<E>,
    weights: &Tensor<E>,
    at: usize,
    rows: usize,
    terms: usize,
    columns: usize,
    #[comptime] form: Form,
    #[comptime] turned: bool,
) -> Array<Four> {
    let (x, y) = (UNIT_POS as usize % 16, UNIT_POS as usize / 16);
    let top = CUBE_POS_Y as usize * 64 + y * 4;
    // Sixteen terms of the sums at a time: of the rows, and of the columns.
    let mut left = Shared::<[Four]>::new_slice(16 * STRIDE);
    let mut right = Shared::<[Four]>::new_slice(16 * STRIDE);
    let mut sums = Array::<Four>::new(4usize);
    for step in 0..terms.div_ceil(16) {
        let first = step * 16;
        let term = first + x;
        let count = select(term < terms, clip(top, rows), 0usize);
        left[x * STRIDE + y] = four::<E>(a, top * terms + term, terms, count);
        let column = CUBE_POS_X as usize * 64 + y * 4;
        if comptime!(turned && form == Form::Panels) {
            // The terms are a panel's columns, the result's columns its rows.
            let place = at + (step * columns + column) * 16 + x;
            right[x * STRIDE + y] = four::<E>(weights, place, 16usize, 4usize);
        } else if comptime!(turned) {
            let count = select(term < terms, 4usize, 0usize);
            right[x * STRIDE + y] = four::<E>(weights, at + column * terms + term, terms, count);
        } else {
            let (term, column) = (first + y, CUBE_POS_X as usize * 64 + x * 4);
            let place = if comptime!(form == Form::Panels) {
                at + (column / 16 * terms + term) * 16 + column % 16
            } else {
                at + term * columns + column
            };
            let count = select(term < terms, 4usize, 0usize);
            right[y * STRIDE + x] = four::<E>(weights, place, 1usize, count);
        }
        sync_cube();
        add_products(&mut sums, &mut left, &mut right);
        sync_cube();
    }
    sums
}

/// Adds what sixteen terms give a thread's sums.
#[cube]
fn add_products(sums: &mut Array<Four>, left: &mut Shared<[Four]>, right: &mut Shared<[Four]>) {
    let (x, y) = (UNIT_POS as usize % 16, UNIT_POS as usize / 16);
    for p in 0..16usize {
        let of_rows = left[p * STRIDE + y];
        let of_columns = right[p * STRIDE + x];
        #[unroll]
        for i in 0..4usize {
            sums[i] += Four::new(of_rows.extract(i)) * of_columns;
        }
    }
}

/// `aᵀ b` over all tokens, and the sums of b's columns: what a matrix and its bias get.
#[derive(Clone, Copy)]
pub struct Outer<'a> {
    /// `[T, inputs]`
    pub a: &'a CubeTensor,
    /// `[T, outputs]`
    pub b: &'a CubeTensor,
    pub matrix: Matrix,
}

/// The gradients of one or two matrices, in their places in that of all.
pub fn outer(first: Outer, second: Option<Outer>, grad: &CubeTensor) {
    outer_of(first, second, grad, Sums::OfB, false);
}

/// The gradients of a matrix W and a bias whose product is `b Wᵀ + bias`, where `a` is the gradient of
/// that; with `add`, they are added.
#[cfg(not(target_family = "wasm"))] // for pre-training alone
pub fn outer_turned(of: Outer, grad: &CubeTensor, add: bool) {
    outer_of(of, None, grad, Sums::OfA, add);
}

/// Whose columns add up to a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Sums {
    #[cfg_attr(target_family = "wasm", allow(dead_code))]
    OfA,
    OfB,
}

fn outer_of(first: Outer, second: Option<Outer>, grad: &CubeTensor, sums: Sums, add: bool) {
    let two = second.is_some();
    let second = second.unwrap_or(first);
    let wide = |outer: &Outer| (outer.matrix.outputs as u32).div_ceil(TILE);
    let tiles = |outer: &Outer| wide(outer) * (outer.matrix.inputs as u32).div_ceil(TILE);
    let tokens = first.a.shape().num_elements() / first.matrix.inputs;
    outer_kernel::launch(
        &grad.client,
        CubeCount::Static(tiles(&first) + if two { tiles(&second) } else { 0 }, 1, 1),
        CubeDim::new_1d(256),
        first.a.clone().into_tensor_arg(),
        first.b.clone().into_tensor_arg(),
        second.a.clone().into_tensor_arg(),
        second.b.clone().into_tensor_arg(),
        grad.clone().into_tensor_arg(),
        tokens as u32,
        tiles(&first),
        first.matrix.at as u32,
        first.matrix.bias as u32,
        first.matrix.inputs as u32,
        first.matrix.outputs as u32,
        second.matrix.at as u32,
        second.matrix.bias as u32,
        second.matrix.inputs as u32,
        second.matrix.outputs as u32,
        first.matrix.form,
        two,
        sums,
        add,
    );
}

#[cube(launch)]
fn outer_kernel(
    a_1: &Tensor<f32>,
    b_1: &Tensor<f32>,
    a_2: &Tensor<f32>,
    b_2: &Tensor<f32>,
    grad: &mut Tensor<f32>,
    tokens: u32,
    tiles_1: u32,
    at_1: u32,
    bias_1: u32,
    inputs_1: u32,
    outputs_1: u32,
    at_2: u32,
    bias_2: u32,
    inputs_2: u32,
    outputs_2: u32,
    #[comptime] form: Form,
    #[comptime] two: bool,
    #[comptime] bias_is: Sums,
    #[comptime] add: bool,
) {
    let mut left = Shared::<[Four]>::new_slice(16 * STRIDE);
    let mut right = Shared::<[Four]>::new_slice(16 * STRIDE);
    let tokens = tokens as usize;
    if CUBE_POS_X < tiles_1 {
        outer_tile(
            a_1,
            b_1,
            grad,
            &mut left,
            &mut right,
            tokens,
            CUBE_POS_X as usize,
            at_1 as usize,
            bias_1 as usize,
            inputs_1 as usize,
            outputs_1 as usize,
            form,
            bias_is,
            add,
        );
    } else if comptime!(two) {
        outer_tile(
            a_2,
            b_2,
            grad,
            &mut left,
            &mut right,
            tokens,
            (CUBE_POS_X - tiles_1) as usize,
            at_2 as usize,
            bias_2 as usize,
            inputs_2 as usize,
            outputs_2 as usize,
            form,
            bias_is,
            add,
        );
    }
}

#[cube]
fn outer_tile(
    a: &Tensor<f32>,
    b: &Tensor<f32>,
    grad: &mut Tensor<f32>,
    left: &mut Shared<[Four]>,
    right: &mut Shared<[Four]>,
    tokens: usize,
    tile: usize,
    at: usize,
    bias: usize,
    inputs: usize,
    outputs: usize,
    #[comptime] form: Form,
    #[comptime] bias_is: Sums,
    #[comptime] add: bool,
) {
    let (x, y) = (UNIT_POS as usize % 16, UNIT_POS as usize / 16);
    let wide = outputs.div_ceil(64);
    let (top, first_column) = (tile / wide * 64, tile % wide * 64);
    let column = first_column + x * 4;
    let mut sums = Array::<Four>::new(4usize);
    let mut bias_sums = Four::new(0.0);
    for step in 0..tokens.div_ceil(16) {
        let token = step * 16 + y;
        let inside = token < tokens;
        let row = top + x * 4;
        let count = select(inside, clip(row, inputs), 0usize);
        left[y * STRIDE + x] = four::<f32>(a, token * inputs + row, 1usize, count);
        let count = select(inside, clip(column, outputs), 0usize);
        right[y * STRIDE + x] = four::<f32>(b, token * outputs + column, 1usize, count);
        sync_cube();
        add_products(&mut sums, left, right);
        if comptime!(bias_is == Sums::OfB) {
            if top == 0 && y == 0 {
                for t in 0..16usize {
                    bias_sums += right[t * STRIDE + x];
                }
            }
        } else if first_column == 0 && y == 0 {
            for t in 0..16usize {
                bias_sums += left[t * STRIDE + x];
            }
        }
        sync_cube();
    }
    let (width, place, down) = if comptime!(form == Form::Panels) {
        // What a last panel has too many is nothing, and is written, too.
        let width = outputs.div_ceil(16) * 16;
        (width, at + column / 16 * inputs * 16 + column % 16, 16usize)
    } else {
        (outputs, at + column, outputs)
    };
    #[unroll]
    for i in 0..4usize {
        let row = top + y * 4 + i;
        #[unroll]
        for j in 0..4usize {
            if row < inputs && column + j < width {
                put(grad, place + row * down + j, sums[i].extract(j), add);
            }
        }
    }
    let (mine, number, numbers) = if comptime!(bias_is == Sums::OfB) {
        (top == 0, column, outputs)
    } else {
        (first_column == 0, top + x * 4, inputs)
    };
    if mine && y == 0 {
        #[unroll]
        for j in 0..4usize {
            if number + j < numbers {
                put(grad, bias + number + j, bias_sums.extract(j), add);
            }
        }
    }
}

#[cube]
fn put(into: &mut Tensor<f32>, place: usize, value: f32, #[comptime] add: bool) {
    if comptime!(add) {
        into[place] += value;
    } else {
        into[place] = value;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{close, read, right, rubbish, tensor, wave};
    use super::*;
    use Activation::*;

    const DROP: Drop = Drop { key: 77, threshold: 1 << 30, scale: 4.0 / 3.0 };

    /// A matrix row by row, into panels.
    fn panels(rows: &[f32], inputs: usize, outputs: usize) -> Vec<f32> {
        let mut panels = vec![0.0; outputs.div_ceil(16) * 16 * inputs];
        for (i, x) in rows.iter().enumerate() {
            let (row, column) = (i / outputs, i % outputs);
            panels[(column / 16 * inputs + row) * 16 + column % 16] = *x;
        }
        panels
    }

    /// `[m, k]` times `[k, n]`.
    fn plain(a: &[f32], b: &[f32], m: usize, k: usize, n: usize) -> Vec<f32> {
        let mut c = vec![0.0; m * n];
        for i in 0..m {
            for p in 0..k {
                for j in 0..n {
                    c[i * n + j] += a[i * k + p] * b[p * n + j];
                }
            }
        }
        c
    }

    /// Of `[m, n]`.
    fn transposed(a: &[f32], m: usize, n: usize) -> Vec<f32> {
        (0..m * n).map(|i| a[i % m * n + i / m]).collect()
    }

    struct Case {
        a: Vec<f32>,
        w: Vec<f32>,
        bias: Vec<f32>,
        /// With something before the matrix, and the bias after it.
        weights: CubeTensor,
        matrix: Matrix,
    }

    fn case(tokens: usize, inputs: usize, outputs: usize) -> Case {
        let w = wave(inputs * outputs, 1.0);
        let bias = wave(outputs, 3.0);
        let mut all = vec![f32::NAN; 32];
        all.extend(panels(&w, inputs, outputs));
        let matrix = Matrix { form: Form::Panels, at: 32, inputs, outputs, bias: all.len() };
        all.extend(&bias);
        let weights = tensor(&all, [all.len()]);
        Case { a: wave(tokens * inputs, 2.0), w, bias, weights, matrix }
    }

    const SIZES: [[usize; 3]; 8] = [
        [1, 1, 1],
        [5, 3, 70],
        [17, 40, 15],
        [64, 64, 64],
        [65, 33, 129],
        [200, 17, 16],
        [130, 256, 768],
        [3, 1024, 256],
    ];

    #[test]
    #[ignore = "needs a GPU, of which lavapipe is one: cargo test --lib gpu -- --ignored"]
    fn products_and_what_comes_after_them_equal_plain_ones() {
        for [tokens, inputs, outputs] in SIZES {
            let Case { a, w, bias, weights, matrix } = case(tokens, inputs, outputs);
            let x = plain(&a, &w, tokens, inputs, outputs);
            let a = tensor(&a, [tokens, inputs]);
            let extra = wave(tokens * outputs, 4.0);
            let more = tensor(&extra, [tokens, outputs]);
            let biased = |i: usize| x[i] + bias[i % outputs];
            let check = |epilogue, right: &dyn Fn(usize) -> f32| {
                let ours =
                    product(&a, [&weights; 2], matrix, false, epilogue, Some(&more), Some(DROP));
                let right: Vec<f32> = (0..x.len()).map(right).collect();
                close(&format!("{tokens} {inputs} {outputs} {epilogue:?}"), &read(ours), &right);
            };
            check(Epilogue::Plain, &|i| x[i]);
            check(Epilogue::Bias, &|i| biased(i));
            check(Epilogue::Add, &|i| x[i] + extra[i]);
            check(Epilogue::DropAdd, &|i| biased(i) * DROP.factor(i as u32) + extra[i]);
            for f in [Gelu, GeluNew, Relu, Silu, Tanh] {
                check(Epilogue::Activate(f), &|i| right(f, biased(i)).0);
                check(Epilogue::Slope(f), &|i| x[i] * right(f, extra[i]).1);
                let [u, g] = activated(&a, &weights, matrix, f).map(read);
                let before: Vec<f32> = (0..x.len()).map(biased).collect();
                close("before the activation", &u, &before);
                let after: Vec<f32> = before.iter().map(|u| right(f, *u).0).collect();
                close("after it", &g, &after);
            }
        }
    }

    #[test]
    #[ignore = "needs a GPU, of which lavapipe is one: cargo test --lib gpu -- --ignored"]
    fn turned_products_equal_plain_ones() {
        for [tokens, outputs, inputs] in SIZES {
            let Case { w, weights, matrix, .. } = case(tokens, inputs, outputs);
            let a = wave(tokens * outputs, 5.0);
            let w = transposed(&w, inputs, outputs);
            let right = plain(&a, &w, tokens, outputs, inputs);
            let a = tensor(&a, [tokens, outputs]);
            let ours = product(&a, [&weights; 2], matrix, true, Epilogue::Plain, None, None);
            close(&format!("{tokens} {inputs} {outputs}"), &read(ours), &right);
        }
    }

    #[test]
    #[ignore = "needs a GPU, of which lavapipe is one: cargo test --lib gpu -- --ignored"]
    fn gradients_of_matrices_and_biases_lie_where_the_weights_do() {
        for [tokens, inputs, outputs] in SIZES {
            let width = outputs.div_ceil(16) * 16;
            let [at, at_2] = [3, 3 + width * inputs + outputs];
            let (end, length) = (at_2 + inputs * 16, at_2 + inputs * 16 + 7);
            let form = Form::Panels;
            let first = Matrix { form, at, inputs, outputs, bias: at + width * inputs };
            // The second one has 7 columns.
            let second = Matrix { form, at: at_2, inputs, outputs: 7, bias: end };
            let a = wave(tokens * inputs, 1.0);
            let (b, b_2) = (wave(tokens * outputs, 2.0), wave(tokens * 7, 3.0));
            let turned = transposed(&a, tokens, inputs);
            let mut right = vec![f32::NAN; 3];
            for (b, outputs) in [(&b, outputs), (&b_2, 7)] {
                let gradient = plain(&turned, b, inputs, tokens, outputs);
                right.extend(panels(&gradient, inputs, outputs));
                right
                    .extend((0..outputs).map(|j| b.chunks(outputs).map(|row| row[j]).sum::<f32>()));
            }
            let grad = rubbish([length]);
            let a = tensor(&a, [tokens, inputs]);
            let (b, b_2) = (tensor(&b, [tokens, outputs]), tensor(&b_2, [tokens, 7]));
            let first = Outer { a: &a, b: &b, matrix: first };
            outer(first, Some(Outer { a: &a, b: &b_2, matrix: second }), &grad);
            let ours = read(grad);
            assert!(ours[..3].iter().all(|x| x.is_nan()));
            close(&format!("{tokens} {inputs} {outputs}"), &ours[3..], &right[3..]);
        }
    }
}
