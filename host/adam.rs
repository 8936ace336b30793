//! Adam's update of a parameter, and the squares that the gradient norm is made of.

use crate::{CHUNK, lanes, map};

/// The numbers of one parameter's update.
#[derive(Debug, Clone, Copy)]
pub struct AdamFactors {
    pub beta_1: f64,
    pub beta_2: f64,
    /// Added outside the root.
    pub epsilon: f64,
    /// The learning rate over the first moment's correction.
    pub step_size: f64,
    /// One over the root of the second moment's correction.
    pub root_scale: f64,
    /// 1 - learning rate × weight decay.
    pub keep: f64,
    /// So many elements decay, from the first on.
    pub decaying: usize,
    /// There were no updates yet: the moments are 0, whatever their tensors hold.
    pub fresh: bool,
}

/// One pass over memory: the new weight and moments in place. The gradient is multiplied by `clip`.
pub fn update(
    weight: &mut [f32],
    grad: &[f32],
    [first, second]: [&mut [f32]; 2],
    clip: f32,
    f: AdamFactors,
) {
    if f.fresh {
        first.fill(0.0);
        second.fill(0.0);
    }
    let parts = weight.chunks_mut(CHUNK).zip(first.chunks_mut(CHUNK)).zip(second.chunks_mut(CHUNK));
    let parts = parts.zip(grad.chunks(CHUNK));
    map(parts.enumerate().collect(), |(number, (((w, m), v), g))| {
        let decaying = f.decaying.saturating_sub(number * CHUNK).min(w.len());
        let ([w, w_2], [m, m_2]) = (cut(w, decaying), cut(m, decaying));
        let ([v, v_2], (g, g_2)) = (cut(v, decaying), g.split_at(decaying));
        adam_chunk(w, g, m, v, clip, f);
        adam_chunk(w_2, g_2, m_2, v_2, clip, AdamFactors { keep: 1.0, ..f });
    });
}

/// Adds the squares to partial sums.
pub fn add_squares(sums: &mut [f32], values: &[f32]) {
    for (part, x) in values.chunks(1024).enumerate() {
        sums[part % sums.len()] += lanes::<8>(x.len(), |i| x[i] * x[i]);
    }
}

/// The root of what partial sums add up to, and `max_norm / (root + 1e-6)`, at most 1.
pub fn norm_and_clip(sums: &[f32], max_norm: f32) -> (f32, f32) {
    let norm = lanes::<8>(sums.len(), |i| sums[i]).sqrt();
    let factor = 1.0 / (norm + 1e-6) * max_norm;
    // Said so that what is no number stays none.
    (norm, if factor > 1.0 { 1.0 } else { factor })
}

fn cut(floats: &mut [f32], at: usize) -> [&mut [f32]; 2] {
    floats.split_at_mut(at).into()
}

fn adam_chunk(w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], clip: f32, f: AdamFactors) {
    let (beta_1, beta_2) = (f.beta_1 as f32, f.beta_2 as f32);
    let (rest_1, rest_2) = ((1.0 - f.beta_1) as f32, (1.0 - f.beta_2) as f32);
    let (epsilon, step_size) = (f.epsilon as f32, f.step_size as f32);
    let (root_scale, keep) = (f.root_scale as f32, f.keep as f32);
    for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
        let g = g * clip;
        *m = *m * beta_1 + g * rest_1;
        *v = *v * beta_2 + g * g * rest_2;
        *w = *w * keep - *m / (v.sqrt() * root_scale + epsilon) * step_size;
    }
}
