//! The gradients of LayerNorm and softmax outside of the layers.

use crate::{CHUNK, lanes, map, rows};

/// Of LayerNorm, from what it was given and the gradient of what it gave, both `[R, W]`: that of x,
/// and those of gamma and beta, `[W]`. With `n` the normalised x and `g` the gradient times gamma, that of x is
/// `(g - mean(g) - n mean(g n)) / sqrt(var + epsilon)`.
pub fn norm_back(
    x: &[f32],
    gamma: &[f32],
    grad: &[f32],
    epsilon: f32,
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let width = gamma.len();
    let mut grad_x = vec![0f32; x.len()];
    let chunk = width * (CHUNK / width).max(1);
    let parts = grad_x.chunks_mut(chunk).zip(x.chunks(chunk)).zip(grad.chunks(chunk));
    let sums = map(parts.collect(), |((grad_x, x), grad)| {
        let [mut n, mut y] = [vec![0f32; width], vec![0f32; width]];
        let [mut grad_gamma, mut grad_beta] = [vec![0f32; width], vec![0f32; width]];
        let rows = grad_x.chunks_mut(width).zip(x.chunks(width)).zip(grad.chunks(width));
        for ((grad_x, x), grad) in rows {
            n.copy_from_slice(x);
            let scale = rows::norm(&mut n, &mut y, gamma, gamma, epsilon);
            rows::norm_back(grad_x, grad, &n, scale, gamma, &mut grad_gamma, &mut grad_beta);
        }
        [grad_gamma, grad_beta]
    });
    let [mut grad_gamma, mut grad_beta] = [vec![0f32; width], vec![0f32; width]];
    for [gamma, beta] in sums {
        rows::add(&mut grad_gamma, &gamma);
        rows::add(&mut grad_beta, &beta);
    }
    (grad_x, grad_gamma, grad_beta)
}

/// Of a softmax of width `W`, from what it gave and the gradient of that, both `[R, W]`: `y (g - Σ g y)`.
pub fn softmax_back(y: &[f32], grad: &[f32], width: usize) -> Vec<f32> {
    let mut grad_x = vec![0f32; y.len()];
    let chunk = width * (CHUNK / width).max(1);
    let parts = grad_x.chunks_mut(chunk).zip(y.chunks(chunk)).zip(grad.chunks(chunk));
    map(parts.collect(), |((grad_x, y), grad)| {
        let rows = grad_x.chunks_mut(width).zip(y.chunks(width)).zip(grad.chunks(width));
        for ((grad_x, y), grad) in rows {
            let sum = lanes::<8>(width, |i| grad[i] * y[i]);
            for i in 0..width {
                grad_x[i] = y[i] * (grad[i] - sum);
            }
        }
    });
    grad_x
}
