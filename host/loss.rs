//! The losses of fine-tuning and their gradients, in one go.

/// What a row of logits and a row of targets are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Loss {
    /// `-Σ t ln softmax(x)`, where a row of targets that are all 0 has none. Weights are not looked at.
    CrossEntropy,
    /// `-Σ (t ln σ(x) + (1 - t) ln (1 - σ(x)))`
    BinaryCrossEntropy,
    /// `Σ (x - t)²`
    SquaredError,
}

/// The rows' losses, each times its weight, added up and divided by `over`; and the gradient of that,
/// `[R, W]`, as logits and targets are.
pub fn loss_and_slopes(
    kind: Loss,
    logits: &[f32],
    targets: &[f32],
    weights: &[f32],
    width: usize,
    over: f32,
) -> (f32, Vec<f32>) {
    let mut slopes = vec![0.0; logits.len()];
    let rows = logits.chunks(width).zip(targets.chunks(width)).zip(slopes.chunks_mut(width));
    let losses = rows.zip(weights).map(|(((x, t), slopes), weight)| match kind {
        Loss::CrossEntropy => cross_entropy(x, t, slopes, over),
        Loss::BinaryCrossEntropy => each(x, t, slopes, weight / over, |x, t| {
            // Of |x|, whose exponential is no overflow.
            let e = (-x.abs()).exp();
            let sigmoid = if x < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) };
            (x.max(0.0) - x * t + e.ln_1p(), sigmoid - t)
        }),
        Loss::SquaredError => {
            each(x, t, slopes, weight / over, |x, t| ((x - t) * (x - t), 2.0 * (x - t)))
        }
    });
    (losses.map(f64::from).sum::<f64>() as f32, slopes)
}

fn cross_entropy(x: &[f32], t: &[f32], slopes: &mut [f32], over: f32) -> f32 {
    let top = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    slopes.iter_mut().zip(x).for_each(|(slope, x)| *slope = (x - top).exp());
    let sum: f32 = slopes.iter().sum();
    let wanted: f32 = t.iter().sum();
    let along: f32 = x.iter().zip(t).map(|(x, t)| (x - top) * t).sum();
    slopes.iter_mut().zip(t).for_each(|(slope, t)| *slope = (*slope / sum * wanted - t) / over);
    (sum.ln() * wanted - along) / over
}

/// `f` gives a number's loss and slope.
fn each(
    x: &[f32],
    t: &[f32],
    slopes: &mut [f32],
    scale: f32,
    f: impl Fn(f32, f32) -> (f32, f32),
) -> f32 {
    let numbers = x.iter().zip(t).zip(slopes);
    let losses = numbers.map(|((x, t), slope)| {
        let (loss, by_x) = f(*x, *t);
        *slope = by_x * scale;
        loss
    });
    losses.sum::<f32>() * scale
}
