//! Encoded examples to padded tensors.

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::model::Inputs;
use crate::tokenizer::Encoding;

/// What an example teaches.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Target {
    /// Nothing: it is there to be predicted.
    #[default]
    Nothing,
    /// The index of a class.
    Class(usize),
    /// For every label whether it is one of the text's.
    Classes(Vec<bool>),
    Value(f32),
    /// For every token the index of its label, where it has one.
    Tokens(Vec<Option<usize>>),
    /// The first and the last token of an answer, and whether the question has none.
    Span {
        start: usize,
        end: usize,
        is_impossible: bool,
    },
}

impl Target {
    /// How many terms this example adds to a loss that is their mean.
    pub fn terms(&self) -> usize {
        match self {
            Target::Nothing => 0,
            Target::Class(_) | Target::Value(_) | Target::Span { .. } => 1,
            Target::Classes(labels) => labels.len(),
            Target::Tokens(labels) => labels.iter().flatten().count(),
        }
    }

    /// Into a row of zeros; `labels` is what a head gives for one text or one token.
    fn write(&self, row: &mut [f32], labels: usize) {
        match self {
            Target::Nothing => {}
            Target::Class(class) => row[*class] = 1.0,
            Target::Value(value) => row[0] = *value,
            Target::Classes(own) => {
                row.iter_mut().zip(own).for_each(|(cell, own)| *cell = f32::from(u8::from(*own)));
            }
            Target::Tokens(tokens) => {
                let labelled = tokens.iter().enumerate().filter_map(|(t, own)| Some((t, (*own)?)));
                labelled.for_each(|(token, label)| row[token * labels + label] = 1.0);
            }
            Target::Span { start, end, is_impossible } => {
                row[start * labels] = 1.0;
                row[end * labels + 1] = 1.0;
                // Only one of the heads is asked for it; its place is `[CLS]`.
                row[2] = f32::from(u8::from(*is_impossible));
            }
        }
    }
}

/// The logits that a head gives one example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Width {
    /// For the text, or for each of its tokens.
    pub labels: usize,
    pub per_token: bool,
}

impl Width {
    /// For `seq` tokens.
    pub fn of(self, seq: usize) -> usize {
        if self.per_token { seq * self.labels } else { self.labels }
    }
}

/// One encoded example.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// The row it came from, as its reader counts it.
    pub row: usize,
    pub input_ids: Vec<u32>,
    pub token_type_ids: Vec<u32>,
    /// 1 on real tokens.
    pub attention_mask: Vec<u32>,
    pub target: Target,
}

impl Features {
    pub fn new(row: usize, encoding: &Encoding, target: Target) -> Self {
        Features {
            row,
            input_ids: encoding.input_ids.clone(),
            token_type_ids: encoding.token_type_ids.clone(),
            attention_mask: vec![1; encoding.input_ids.len()],
            target,
        }
    }

    fn tokens(&self) -> usize {
        self.attention_mask.iter().filter(|mask| **mask != 0).count()
    }
}

/// A padded batch on a device.
#[derive(Debug, Clone)]
pub struct Batch {
    pub inputs: Inputs,
    /// What the logits should be, laid out as they are; a 1 at a class, all 0 where there is no
    /// label: `[batch, width]`.
    pub targets: Tensor<2>,
    /// 1 for an example, 0 for a row of padding: `[batch, 1]`.
    pub is_real: Tensor<2>,
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
/// - targets: `[rows, width]`, is_real: `[rows, 1]`
pub fn collate(
    examples: &[&Features],
    rows: usize,
    max_seq_length: usize,
    width: Width,
    device: &Device,
) -> Batch {
    let inputs = pad(examples, rows, max_seq_length, device);
    let [_, seq] = inputs.input_ids.dims();
    let columns = width.of(seq);
    let mut targets = vec![0f32; rows * columns];
    for (example, row) in examples.iter().zip(targets.chunks_mut(columns)) {
        example.target.write(row, width.labels);
    }
    let is_real = (0..rows).map(|row| f32::from(u8::from(row < examples.len())));
    let tensor =
        |values, columns| Tensor::from_data(TensorData::new(values, [rows, columns]), device);
    Batch {
        inputs,
        targets: tensor(targets, columns),
        is_real: tensor(is_real.collect(), 1),
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
            target: Target::Class(label),
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
        let batch =
            collate(&[&a, &b], 4, 128, Width { labels: 2, per_token: false }, &Device::flex());
        assert_eq!(batch.inputs.input_ids.dims(), [4, 16]);
        assert_eq!((batch.examples, batch.tokens), (2, 12));
        let mask =
            batch.inputs.attention_mask.sum_dim(1).into_data().try_into_vec::<f32>().unwrap();
        assert_eq!(mask, [3.0, 9.0, 0.0, 0.0]);
        let targets = batch.targets.into_data().try_into_vec::<f32>().unwrap();
        assert_eq!(targets, [0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
