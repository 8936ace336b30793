//! `x W + b` and its gradients, for the projection and the heads. Letters: `R` rows, `I` inputs,
//! `O` outputs.

use crate::layout::PANEL;
use crate::product::{Panels, View, outer, packed_len, product};
use crate::{Block, map, rows};

/// Products of two numbers that are worth a thread's while.
const WORTH: usize = 1 << 22;

/// `x W + b`, `[R, O]`: of x `[R, I]`, W `[I, O]` and b `[O]`.
pub fn affine(x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    times(x, View::whole(weight, bias.len()), Some(bias))
}

/// The gradient of x, `[R, I]`, from that of the output, `[R, O]`.
pub fn affine_x_back(weight: &[f32], grad: &[f32], outputs: usize) -> Vec<f32> {
    times(grad, View::whole(weight, outputs).transposed(), None)
}

fn times(x: &[f32], weight: View, bias: Option<&[f32]>) -> Vec<f32> {
    let (inputs, outputs) = (weight.rows(), weight.columns());
    let mut packed = vec![0.0; packed_len(inputs, outputs)];
    let panels = Panels::pack(weight, &mut packed);
    let mut y = vec![0.0; x.len() / inputs * outputs];
    let at_once = WORTH.div_ceil(inputs * outputs);
    let blocks = x.chunks(at_once * inputs).zip(y.chunks_mut(at_once * outputs)).collect();
    map(blocks, |(x, y): (&[f32], &mut [f32])| {
        product(View::whole(x, inputs), panels, &mut Block::whole(y, outputs), false);
        if let Some(bias) = bias {
            y.chunks_mut(outputs).for_each(|y| rows::add(y, bias));
        }
    });
    y
}

/// The gradients of the weight, `[I, O]`, and of the bias, `[O]`, from that of the output, `[R, O]`.
pub fn affine_weight_back(x: &[f32], grad: &[f32], outputs: usize) -> (Vec<f32>, Vec<f32>) {
    let x = View::whole(x, x.len() / (grad.len() / outputs));
    let mut of_weight = vec![0.0; x.columns() * outputs];
    let blocks = Block::whole(&mut of_weight, outputs).cut(x.columns(), PANEL);
    map(blocks.into_iter().enumerate().collect(), |(number, block): (usize, Block)| {
        let grad = View::whole(grad, outputs);
        let grad = grad.columns_from(number * PANEL, PANEL.min(outputs - number * PANEL));
        outer(x, grad, &mut [block]);
    });
    let mut of_bias = vec![0.0; outputs];
    grad.chunks(outputs).for_each(|grad| rows::add(&mut of_bias, grad));
    (of_weight, of_bias)
}
