//! Embeddings: rows of three tables added up, and the tables' gradients.

use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use super::super::embed::EmbedOps;
use super::empty;

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
        let cube_dim = CubeDim::new(&sum.client, count);
        embed_kernel::launch(
            &sum.client,
            calculate_cube_count_elemwise(&sum.client, count, cube_dim),
            cube_dim,
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
        let table = Self::float_zeros(shape.clone(), &words.device, grad.dtype.into());
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
        let cube_dim = CubeDim::new(&grad.client, count);
        rest_back_kernel::launch(
            &grad.client,
            calculate_cube_count_elemwise(&grad.client, count, cube_dim),
            cube_dim,
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
