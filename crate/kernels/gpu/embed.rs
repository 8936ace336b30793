//! Embeddings: rows of three tables added up, and the tables' gradients; and the row of a text's first token.

use burn::backend::TensorMetadata;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::super::embed::EmbedOps;
use super::super::first::{FirstGradient, FirstOps};
use super::{UNITS, empty, empty_like, workgroups};

impl EmbedOps for CubeBackend {
    fn embed(
        words: FloatTensor<Self>,
        positions: FloatTensor<Self>,
        types: FloatTensor<Self>,
        ids: IntTensor<Self>,
        type_ids: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        let [words, positions, types] = [words, positions, types].map(into_contiguous);
        let [ids, type_ids] = [ids, type_ids].map(into_contiguous);
        let (batch, seq, width) = (ids.shape()[0], ids.shape()[1], words.shape()[1]);
        let sum = empty(&words, [batch, seq, width]);
        let count = batch * seq * width;
        embed_kernel::launch(
            &sum.client,
            workgroups(&sum, count),
            UNITS,
            words.into_tensor_arg(),
            positions.into_tensor_arg(),
            types.into_tensor_arg(),
            ids.into_tensor_arg(),
            type_ids.into_tensor_arg(),
            sum.clone().into_tensor_arg(),
            seq as u32,
            width as u32,
        );
        sum
    }

    fn embed_words_backward(
        words: FloatTensor<Self>,
        ids: IntTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (ids, grad) = (into_contiguous(ids), into_contiguous(grad));
        let (shape, tokens) = (words.shape(), ids.meta.num_elements());
        let table = zeros_like(&words);
        words_back_kernel::launch(
            &grad.client,
            // More tokens than a grid is wide are spread over its height.
            CubeCount::Static(tokens.min(GRID) as u32, tokens.div_ceil(GRID) as u32, 1),
            CubeDim::new_1d(64),
            ids.into_tensor_arg(),
            grad.clone().into_tensor_arg(),
            table.clone().into_tensor_arg(),
            tokens as u32,
            shape[1] as u32,
        );
        table
    }

    fn embed_rest_backward(
        positions: FloatTensor<Self>,
        types: FloatTensor<Self>,
        type_ids: IntTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (type_ids, grad) = (into_contiguous(type_ids), into_contiguous(grad));
        let [rows, kinds] = [positions.shape()[0], types.shape()[0]];
        let (batch, seq, width) = (type_ids.shape()[0], type_ids.shape()[1], types.shape()[1]);
        let (of_positions, of_types) = (empty(&grad, [rows, width]), empty(&grad, [kinds, width]));
        let count = (rows + kinds) * width;
        rest_back_kernel::launch(
            &grad.client,
            workgroups(&grad, count),
            UNITS,
            type_ids.into_tensor_arg(),
            grad.clone().into_tensor_arg(),
            of_positions.clone().into_tensor_arg(),
            of_types.clone().into_tensor_arg(),
            batch as u32,
            seq as u32,
            width as u32,
            rows as u32,
            kinds as u32,
        );
        (of_positions, of_types)
    }
}

/// Workgroups in a row of a grid, of which every device has more.
const GRID: usize = 1 << 15;

#[cube(launch)]
fn embed_kernel(
    words: &Tensor<f32>,
    positions: &Tensor<f32>,
    types: &Tensor<f32>,
    ids: &Tensor<i32>,
    type_ids: &Tensor<i32>,
    sum: &mut Tensor<f32>,
    seq: u32,
    width: u32,
) {
    let i = ABSOLUTE_POS;
    let (seq, width) = (seq as usize, width as usize);
    if i < sum.len() {
        let (token, column) = (i / width, i % width);
        let word = words[ids[token] as usize * width + column];
        let kind = types[type_ids[token] as usize * width + column];
        sum[i] = word + kind + positions[token % seq * width + column];
    }
}

fn zeros_like(like: &CubeTensor) -> CubeTensor {
    let zeros = empty_like(like);
    let count = zeros.meta.num_elements();
    zero_kernel::launch(
        &zeros.client,
        workgroups(&zeros, count),
        UNITS,
        zeros.clone().into_tensor_arg(),
    );
    zeros
}

#[cube(launch)]
fn zero_kernel(x: &mut Tensor<f32>) {
    let i = ABSOLUTE_POS;
    if i < x.len() {
        x[i] = 0.0;
    }
}

impl FirstOps for CubeBackend {
    fn first(hidden: FloatTensor<Self>) -> FloatTensor<Self> {
        let [batch, seq, width] = hidden.shape().dims();
        let hidden = into_contiguous(hidden);
        let rows = empty(&hidden, [batch, width]);
        let count = batch * width;
        first_kernel::launch(
            &rows.client,
            workgroups(&rows, count),
            UNITS,
            hidden.into_tensor_arg(),
            rows.clone().into_tensor_arg(),
            seq as u32,
            width as u32,
        );
        rows
    }
}

impl FirstGradient for CubeBackend {
    fn first_backward(grad: FloatTensor<Self>, seq: usize) -> FloatTensor<Self> {
        let [batch, width] = grad.shape().dims();
        let grad = into_contiguous(grad);
        let of_hidden = empty(&grad, [batch, seq, width]);
        let count = batch * seq * width;
        first_back_kernel::launch(
            &of_hidden.client,
            workgroups(&of_hidden, count),
            UNITS,
            grad.into_tensor_arg(),
            of_hidden.clone().into_tensor_arg(),
            seq as u32,
            width as u32,
        );
        of_hidden
    }
}

#[cube(launch)]
fn first_kernel(hidden: &Tensor<f32>, rows: &mut Tensor<f32>, seq: u32, width: u32) {
    let i = ABSOLUTE_POS;
    let width = width as usize;
    if i < rows.len() {
        rows[i] = hidden[i / width * seq as usize * width + i % width];
    }
}

#[cube(launch)]
fn first_back_kernel(grad: &Tensor<f32>, of_hidden: &mut Tensor<f32>, seq: u32, width: u32) {
    let i = ABSOLUTE_POS;
    let width = width as usize;
    if i < of_hidden.len() {
        let token = i / width;
        let row = token / seq as usize;
        let first = token == row * seq as usize;
        of_hidden[i] = select(first, grad[row * width + i % width], 0.0f32);
    }
}

/// A token a workgroup: the first one of a word adds up all of that word, in order.
#[cube(launch)]
fn words_back_kernel(
    ids: &Tensor<i32>,
    grad: &Tensor<f32>,
    table: &mut Tensor<f32>,
    tokens: u32,
    width: u32,
) {
    let (tokens, width) = (tokens as usize, width as usize);
    let token = (CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X) as usize;
    if token < tokens {
        let id = ids[token];
        let mut earlier = 0u32;
        for other in 0..token {
            earlier += select(ids[other] == id, 1u32, 0u32);
        }
        if earlier == 0 {
            let mut column = UNIT_POS as usize;
            while column < width {
                let mut sum = 0.0f32;
                for other in token..tokens {
                    if ids[other] == id {
                        sum += grad[other * width + column];
                    }
                }
                table[id as usize * width + column] = sum;
                column += 64;
            }
        }
    }
}

/// A cell of the positions' table a thread, and then one of the types'.
#[cube(launch)]
fn rest_back_kernel(
    type_ids: &Tensor<i32>,
    grad: &Tensor<f32>,
    of_positions: &mut Tensor<f32>,
    of_types: &mut Tensor<f32>,
    batch: u32,
    seq: u32,
    width: u32,
    rows: u32,
    kinds: u32,
) {
    let i = ABSOLUTE_POS;
    let (batch, seq, width) = (batch as usize, seq as usize, width as usize);
    let (row, column) = (i / width, i % width);
    let rows = rows as usize;
    let mut sum = 0.0f32;
    if row < rows {
        if row < seq {
            for example in 0..batch {
                sum += grad[(example * seq + row) * width + column];
            }
        }
        of_positions[i] = sum;
    } else if row < rows + kinds as usize {
        let kind = (row - rows) as i32;
        for token in 0..batch * seq {
            if type_ids[token] == kind {
                sum += grad[token * width + column];
            }
        }
        of_types[i - rows * width] = sum;
    }
}
