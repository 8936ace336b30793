//! What happens to one row between the products.

use crate::hash::Drop;
use crate::math::Activation;
use crate::{lanes, math, vectorized};

vectorized! {
/// `x += y`
pub fn add(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}
}

vectorized! {
/// `x *= y`
pub fn multiply(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x *= y;
    }
}
}

vectorized! {
/// `u = f(u + bias)`
pub fn activate(u: &mut [f32], bias: &[f32], kind: Activation) {
    #[inline(always)]
    fn each(u: &mut [f32], bias: &[f32], f: impl Fn(f32) -> (f32, f32)) {
        for (u, bias) in u.iter_mut().zip(bias) {
            *u = f(*u + bias).0;
        }
    }
    match kind {
        Activation::Gelu => each(u, bias, math::gelu),
        Activation::GeluNew => each(u, bias, math::gelu_new),
        Activation::Relu => each(u, bias, math::relu),
        Activation::Silu => each(u, bias, math::silu),
        Activation::Tanh => each(u, bias, math::tanh),
    }
}
}

vectorized! {
/// `u = f(u + bias)`, `slope = f'(u + bias)`
pub fn activate_with_slope(u: &mut [f32], slope: &mut [f32], bias: &[f32], kind: Activation) {
    #[inline(always)]
    fn each(u: &mut [f32], slope: &mut [f32], bias: &[f32], f: impl Fn(f32) -> (f32, f32)) {
        for ((u, slope), bias) in u.iter_mut().zip(slope).zip(bias) {
            (*u, *slope) = f(*u + bias);
        }
    }
    match kind {
        Activation::Gelu => each(u, slope, bias, math::gelu),
        Activation::GeluNew => each(u, slope, bias, math::gelu_new),
        Activation::Relu => each(u, slope, bias, math::relu),
        Activation::Silu => each(u, slope, bias, math::silu),
        Activation::Tanh => each(u, slope, bias, math::tanh),
    }
}
}

vectorized! {
/// `x = drop(x + bias) + residual`; `place` is that of the row's first element in the mask.
pub fn bias_drop_add(
    x: &mut [f32],
    bias: &[f32],
    residual: &[f32],
    drop: Option<Drop>,
    place: u32,
) {
    let cells = x.iter_mut().zip(bias).zip(residual);
    match drop {
        Some(drop) => {
            for (i, ((x, bias), residual)) in cells.enumerate() {
                *x = (*x + bias) * drop.factor(place.wrapping_add(i as u32)) + residual;
            }
        }
        None => cells.for_each(|((x, bias), residual)| *x = *x + bias + residual),
    }
}
}

vectorized! {
/// `out = drop(x)`
pub fn drop_into(out: &mut [f32], x: &[f32], drop: Option<Drop>, place: u32) {
    match drop {
        Some(drop) => {
            for (i, (out, x)) in out.iter_mut().zip(x).enumerate() {
                *out = x * drop.factor(place.wrapping_add(i as u32));
            }
        }
        None => out.copy_from_slice(x),
    }
}
}

vectorized! {
/// `x = drop(x · by)`
pub fn scale_drop(x: &mut [f32], by: f32, drop: Option<Drop>, place: u32) {
    match drop {
        Some(drop) => {
            for (i, x) in x.iter_mut().enumerate() {
                *x *= by * drop.factor(place.wrapping_add(i as u32));
            }
        }
        None => x.iter_mut().for_each(|x| *x *= by),
    }
}
}

vectorized! {
/// `n = (n - mean n) / σ` and `y = n γ + β`, with `σ² = var n + epsilon`. Returns `1 / σ`.
pub fn norm(n: &mut [f32], y: &mut [f32], gamma: &[f32], beta: &[f32], epsilon: f32) -> f32 {
    let width = n.len();
    let (y, gamma, beta) = (&mut y[..width], &gamma[..width], &beta[..width]);
    let over = 1.0 / width as f32;
    let mean = lanes::<16>(width, |i| n[i]) * over;
    let variance = lanes::<16>(width, |i| (n[i] - mean) * (n[i] - mean)) * over;
    let scale = 1.0 / (variance + epsilon).sqrt();
    for i in 0..width {
        n[i] = (n[i] - mean) * scale;
        y[i] = n[i] * gamma[i] + beta[i];
    }
    scale
}
}

vectorized! {
/// `n = n γ + β`: the y of [`norm`], bit for bit.
pub fn scale_shift(n: &mut [f32], gamma: &[f32], beta: &[f32]) {
    for ((n, gamma), beta) in n.iter_mut().zip(gamma).zip(beta) {
        *n = *n * gamma + beta;
    }
}
}

vectorized! {
/// The gradient of what [`norm`] was given, from that of its y: with `w = dy γ` it is
/// `(w - mean w - n mean(w n)) / σ`. Adds to the sums for γ and β.
pub fn norm_back(
    dx: &mut [f32],
    dy: &[f32],
    n: &[f32],
    scale: f32,
    gamma: &[f32],
    grad_gamma: &mut [f32],
    grad_beta: &mut [f32],
) {
    let width = dx.len();
    let (grad_gamma, grad_beta) = (&mut grad_gamma[..width], &mut grad_beta[..width]);
    let (dy, n, gamma) = (&dy[..width], &n[..width], &gamma[..width]);
    let over = 1.0 / width as f32;
    let mean = lanes::<16>(width, |i| dy[i] * gamma[i]) * over;
    let along = lanes::<16>(width, |i| dy[i] * gamma[i] * n[i]) * over;
    for i in 0..width {
        grad_gamma[i] += dy[i] * n[i];
        grad_beta[i] += dy[i];
        dx[i] = (dy[i] * gamma[i] - mean - n[i] * along) * scale;
    }
}
}

vectorized! {
/// `x = exp(x · scale + mask - top)`, where the top is the largest of them. Returns it, and the
/// sum of the new x.
pub fn exponentials(x: &mut [f32], mask: &[f32], scale: f32) -> (f32, f32) {
    const LANES: usize = 16;
    let mask = &mask[..x.len()];
    let whole = x.len() - x.len() % LANES;
    // Comparisons, not f32::max: in wasm that is a call.
    let larger = |a: f32, b: f32| if b < a { a } else { b };
    let mut tops = [f32::NEG_INFINITY; LANES];
    for start in (0..whole).step_by(LANES) {
        for lane in 0..LANES {
            x[start + lane] = x[start + lane] * scale + mask[start + lane];
            tops[lane] = larger(tops[lane], x[start + lane]);
        }
    }
    let mut top = tops.into_iter().fold(f32::NEG_INFINITY, larger);
    for i in whole..x.len() {
        x[i] = x[i] * scale + mask[i];
        top = larger(top, x[i]);
    }
    for x in x.iter_mut() {
        *x = math::exp(*x - top);
    }
    (top, lanes::<16>(x.len(), |i| x[i]))
}
}

vectorized! {
/// One row of attention's way back. Given the products `q kᵀ` in `x` and `dctx vᵀ` in `dp`, and of
/// the softmax the largest number and one over the sum: the dropped probabilities to `dropped`, and
/// the gradient of `q kᵀ` to `dp`. `x` is lost.
pub fn softmax_back(
    x: &mut [f32],
    dropped: &mut [f32],
    dp: &mut [f32],
    mask: &[f32],
    top: f32,
    over: f32,
    scale: f32,
    drop: Option<Drop>,
    place: u32,
) {
    let width = x.len();
    let (dropped, dp, mask) = (&mut dropped[..width], &mut dp[..width], &mask[..width]);
    for i in 0..width {
        x[i] = math::exp(x[i] * scale + mask[i] - top) * over;
    }
    match drop {
        Some(drop) => {
            for i in 0..width {
                let factor = drop.factor(place.wrapping_add(i as u32));
                dropped[i] = x[i] * factor;
                dp[i] *= factor;
            }
        }
        None => dropped.copy_from_slice(x),
    }
    let along = lanes::<16>(width, |i| x[i] * dp[i]);
    for i in 0..width {
        dp[i] = x[i] * (dp[i] - along) * scale;
    }
}
}
