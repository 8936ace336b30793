//! Encoded examples to padded tensors.

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::model::Inputs;
use crate::tokenizer::Encoding;

/// One encoded example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Features {
    /// The row it came from, as its reader counts it.
    pub row: usize,
    pub input_ids: Vec<u32>,
    pub token_type_ids: Vec<u32>,
    /// 1 on real tokens.
    pub attention_mask: Vec<u32>,
    pub label: Option<usize>,
}

impl Features {
    pub fn new(row: usize, encoding: &Encoding, label: Option<usize>) -> Self {
        Features {
            row,
            input_ids: encoding.input_ids.clone(),
            token_type_ids: encoding.token_type_ids.clone(),
            attention_mask: vec![1; encoding.input_ids.len()],
            label,
        }
    }

    /// Without padding.
    pub fn tokens(&self) -> usize {
        self.attention_mask.iter().filter(|mask| **mask != 0).count()
    }
}

/// A padded batch on a device.
#[derive(Debug, Clone)]
pub struct Batch {
    pub inputs: Inputs,
    /// One row an example with a 1 at its class, all 0 where there is no label:
    /// `[batch, num_labels]`.
    pub targets: Tensor<2>,
    /// Examples in it; rows beyond are padding that weighs nothing.
    pub examples: usize,
    /// Tokens in it, without padding.
    pub tokens: usize,
}

/// Lengths that batches are padded to: few, because a GPU compiles kernels anew for each.
const BUCKETS: [usize; 9] = [8, 16, 32, 64, 96, 128, 192, 256, 384];

/// The length a batch is padded to, at most `max_seq_length`.
pub fn padded_length(longest: usize, max_seq_length: usize) -> usize {
    let bucket = BUCKETS.into_iter().find(|bucket| *bucket >= longest);
    bucket.unwrap_or(max_seq_length).min(max_seq_length).max(longest)
}

/// Pads examples to one length and to `rows` rows.
///
/// # Shapes
/// - all tensors: `[rows, padded_length]`
pub fn pad(examples: &[&Features], rows: usize, max_seq_length: usize, device: &Device) -> Inputs {
    let longest = examples.iter().map(|e| e.input_ids.len()).max().unwrap_or(1);
    pad_to(examples, rows, padded_length(longest, max_seq_length), device)
}

/// Pads examples to `seq` tokens, which none exceeds, and to `rows` rows.
///
/// # Shapes
/// - all tensors: `[rows, seq]`
pub fn pad_to(examples: &[&Features], rows: usize, seq: usize, device: &Device) -> Inputs {
    let mut input_ids = vec![0i32; rows * seq];
    let mut token_type_ids = vec![0i32; rows * seq];
    let mut attention_mask = vec![0f32; rows * seq];
    for (r, example) in examples.iter().enumerate() {
        for (c, id) in example.input_ids.iter().enumerate() {
            input_ids[r * seq + c] = *id as i32;
            token_type_ids[r * seq + c] = example.token_type_ids[c] as i32;
            attention_mask[r * seq + c] = example.attention_mask[c] as f32;
        }
    }
    let ids = |values| Tensor::<2, Int>::from_data(TensorData::new(values, [rows, seq]), device);
    let mask = TensorData::new(attention_mask, [rows, seq]);
    Inputs {
        input_ids: ids(input_ids),
        token_type_ids: ids(token_type_ids),
        attention_mask: Tensor::from_data(mask, device),
    }
}

/// Pads labelled examples as [`pad`] does, and makes their targets.
///
/// # Shapes
/// - targets: `[rows, num_labels]`
pub fn collate(
    examples: &[&Features],
    rows: usize,
    max_seq_length: usize,
    num_labels: usize,
    device: &Device,
) -> Batch {
    let mut targets = vec![0f32; rows * num_labels];
    let labels = examples.iter().enumerate().filter_map(|(r, e)| e.label.map(|label| (r, label)));
    labels.for_each(|(r, label)| targets[r * num_labels + label] = 1.0);
    Batch {
        inputs: pad(examples, rows, max_seq_length, device),
        targets: Tensor::from_data(TensorData::new(targets, [rows, num_labels]), device),
        examples: examples.len(),
        tokens: examples.iter().map(|e| e.tokens()).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(length: u32, label: usize) -> Features {
        let input_ids: Vec<u32> = (1..=length).collect();
        let (zeros, ones) = (vec![0; input_ids.len()], vec![1; input_ids.len()]);
        Features {
            row: 1,
            input_ids,
            token_type_ids: zeros,
            attention_mask: ones,
            label: Some(label),
        }
    }

    #[test]
    fn lengths_fall_into_buckets() {
        let lengths = [1, 8, 9, 65, 100, 512].map(|longest| padded_length(longest, 512));
        assert_eq!(lengths, [8, 8, 16, 96, 128, 512]);
        assert_eq!(padded_length(20, 24), 24);
    }

    #[test]
    fn rows_beyond_the_examples_weigh_nothing() {
        let (a, b) = (features(3, 1), features(9, 0));
        let batch = collate(&[&a, &b], 4, 128, 2, &Device::flex());
        assert_eq!(batch.inputs.input_ids.dims(), [4, 16]);
        assert_eq!((batch.examples, batch.tokens), (2, 12));
        let mask =
            batch.inputs.attention_mask.sum_dim(1).into_data().try_into_vec::<f32>().unwrap();
        assert_eq!(mask, [3.0, 9.0, 0.0, 0.0]);
        let targets = batch.targets.into_data().try_into_vec::<f32>().unwrap();
        assert_eq!(targets, [0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
