//! Gumbel noise for sampling: the argmax of `logits + noise` is a draw from their softmax.
//!
//! Every number is a hash of a seed, its row and its column. So a batch gets the same noise
//! whatever device computes it and however it is cut into pieces, and none is ever stored.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use electra_host::noise;

/// `logits + noise`, where row `r` of the logits has the noise of row `first_row + r`.
///
/// # Shapes
/// - logits and output: `[rows, columns]`
pub fn add_gumbel(logits: Tensor<2>, seed: u32, first_row: u32) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::add_gumbel(logits.into_dispatch(), seed, first_row))
}

#[backend_extension(Cube, Flex)]
pub trait NoiseOps: Backend {
    fn add_gumbel(logits: FloatTensor<Self>, seed: u32, first_row: u32) -> FloatTensor<Self>;
}

impl NoiseOps for Flex {
    fn add_gumbel(logits: FloatTensor<Self>, seed: u32, first_row: u32) -> FloatTensor<Self> {
        let mut logits = logits.into_data();
        let columns = logits.shape()[1];
        let values = logits.as_mut_slice::<f32>().expect("logits are f32");
        noise::add_gumbel(values, columns, seed, first_row);
        FloatTensor::<Flex>::from_data(logits)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    fn noise(rows: usize, columns: usize, first_row: u32) -> Vec<f32> {
        let zeros = Tensor::zeros([rows, columns], &Device::flex());
        add_gumbel(zeros, 7, first_row).into_data().try_into_vec::<f32>().unwrap()
    }

    /// The Gumbel distribution has mean 0.5772 and variance π²/6.
    #[test]
    fn it_is_gumbel_s_distribution() {
        let noise = noise(100, 1000, 0);
        let mean = noise.iter().sum::<f32>() / 1e5;
        let variance = noise.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 1e5;
        assert!((mean - 0.5772).abs() < 0.015, "{mean}");
        assert!((variance - 1.645).abs() < 0.03, "{variance}");
        assert!(noise.iter().all(|x| x.is_finite()));
    }

    #[test]
    fn rows_are_numbered_across_batches() {
        assert_eq!(noise(6, 50, 0)[150..], noise(3, 50, 3));
        assert_ne!(noise(1, 50, 0), noise(1, 50, 1));
    }

    /// Four words of given probabilities, drawn often.
    #[test]
    fn the_largest_is_a_draw_from_the_softmax() {
        let p = [0.5f32, 0.25, 0.2, 0.05];
        let rows = 40_000;
        let logits: Vec<f32> = p.iter().map(|p| p.ln()).collect();
        let logits = TensorData::new(logits.repeat(rows), [rows, 4]);
        let noisy = add_gumbel(Tensor::from_data(logits, &Device::flex()), 3, 0);
        let drawn = noisy.argmax(1).into_data().try_into_vec::<i32>().unwrap();
        for (word, p) in p.iter().enumerate() {
            let share = drawn.iter().filter(|d| **d == word as i32).count() as f32 / rows as f32;
            assert!((share - p).abs() < 0.01, "{word}: {share} of {p}");
        }
    }
}
