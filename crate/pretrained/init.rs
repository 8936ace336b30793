//! Weights that no file holds: drawn from a seed, a stream for each name.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::seed::stream;

/// How weights that no file holds are drawn.
#[derive(Clone, Copy)]
pub(crate) struct Fresh {
    pub seed: u64,
    /// Of a normal draw.
    pub std: f64,
    pub init: Init,
    /// By name: may this one be missing in the file?
    pub allowed: fn(&str) -> bool,
}

/// Whose rules the matrices are drawn by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// A normal draw for all.
    Transformers,
    /// google-research/electra: normal but cut off at two standard deviations; Glorot's uniform
    /// draw where its code leaves TensorFlow's default.
    Original,
    /// What comes out of a matrix is as large as what goes in, and positions are waves, so that
    /// what is learned of one place holds for the next: a narrow network learns sooner.
    FanIn,
}

/// The matrices of [`Init::Original`] with Glorot's draw.
const GLOROT: [&str; 2] = ["embeddings_project.weight", "dense_prediction.weight"];

impl Fresh {
    /// Ones for scales, zeros for biases and for differences of tables, a draw for matrices. Each
    /// tensor has a stream of its own, so the order does not matter.
    pub(super) fn draw(self, name: &str, shape: &[usize]) -> Vec<f32> {
        let count = shape.iter().product();
        let mut rng = ChaCha8Rng::seed_from_u64(stream(self.seed, name, 0));
        let original = self.init == Init::Original;
        let fan_in = self.init == Init::FanIn;
        match name {
            _ if name.ends_with("LayerNorm.weight") => vec![1.0; count],
            _ if name.ends_with("bias") || name.starts_with("delta.") => vec![0.0; count],
            _ if original && GLOROT.iter().any(|end| name.ends_with(end)) => {
                let limit = (6.0 / (shape[0] + shape[1]) as f64).sqrt();
                (0..count).map(|_| ((2.0 * unit(&mut rng) - 1.0) * limit) as f32).collect()
            }
            _ if fan_in && name.ends_with("position_embeddings.weight") => {
                waves(shape[0], shape[1], self.std)
            }
            _ => {
                let is_table = name.ends_with("_embeddings.weight");
                let std = if fan_in && !is_table { (shape[1] as f64).powf(-0.5) } else { self.std };
                let reach = if original { 2.0 } else { f64::INFINITY };
                let mut draws = std::iter::repeat_with(|| normal(&mut rng));
                let mut draw = || draws.find(|x| x.abs() <= reach).expect("there is no end");
                (0..count).map(|_| (draw() * std) as f32).collect()
            }
        }
    }
}

/// Sines and cosines of wavelengths from 6 to 600 places with that standard deviation,
/// `[positions, width]` (Vaswani et al. 2017, section 3.5, with shorter waves).
fn waves(positions: usize, width: usize, std: f64) -> Vec<f32> {
    let pairs = width.div_ceil(2);
    let wave = |position: usize, column: usize| {
        let angle = position as f64 * 100f64.powf(-((column / 2) as f64) / pairs as f64);
        let value = if column.is_multiple_of(2) { angle.sin() } else { angle.cos() };
        (value * std * std::f64::consts::SQRT_2) as f32
    };
    (0..positions).flat_map(|p| (0..width).map(move |c| wave(p, c))).collect()
}

/// Between 0 and 1, and neither of them.
fn unit(rng: &mut impl Rng) -> f64 {
    ((rng.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

/// One standard normal number, by Box and Muller.
fn normal(rng: &mut impl Rng) -> f64 {
    let (u, v) = (unit(rng), unit(rng));
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(name: &str, shape: [usize; 2]) -> Vec<f32> {
        let fresh = Fresh { seed: 1, std: 0.02, init: Init::FanIn, allowed: |_| true };
        fresh.draw(name, &shape)
    }

    fn deviation(values: &[f32]) -> f64 {
        let squares: f64 = values.iter().map(|x| f64::from(*x).powi(2)).sum();
        (squares / values.len() as f64).sqrt()
    }

    /// Matrices keep the size of what goes through them; tables are as small as ever.
    #[test]
    fn fan_in_draws_by_the_number_of_inputs() {
        let matrix = drawn("electra.encoder.layer.0.output.dense.weight", [128, 512]);
        assert!((deviation(&matrix) * 512f64.sqrt() - 1.0).abs() < 0.02);
        let words = drawn("electra.embeddings.word_embeddings.weight", [1000, 64]);
        assert!((deviation(&words) / 0.02 - 1.0).abs() < 0.02);
    }

    /// Places are alike the nearer they are, wherever they are.
    #[test]
    fn fan_in_positions_are_waves() {
        let table = drawn("electra.embeddings.position_embeddings.weight", [128, 64]);
        assert!((deviation(&table) / 0.02 - 1.0).abs() < 0.02);
        let row = |place: usize| &table[place * 64..][..64];
        let product = |a: usize, b: usize| -> f64 {
            row(a).iter().zip(row(b)).map(|(x, y)| f64::from(x * y)).sum()
        };
        assert!((product(3, 5) - product(100, 102)).abs() < 1e-6);
        assert!(product(3, 3) > product(3, 4) && product(3, 4) > product(3, 8));
    }
}
