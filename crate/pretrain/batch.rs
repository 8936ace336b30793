//! Examples to the tensors of one pre-training pass, with what was drawn from them (`masking.rs`).

use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData};

use crate::batch::{Features, pad_to};
use crate::masking::{Drawn, candidates};
use crate::model::Inputs;
use crate::tokenizer::SpecialIds;

/// An example and the tokens drawn from it.
#[derive(Debug, Clone)]
pub struct MaskedExample {
    pub features: Features,
    pub drawn: Drawn,
}

/// What the losses are means over: counts of a whole update, of which a batch may be a part. In f64,
/// because they are divisors, and are summed over ranks.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Totals {
    pub examples: f64,
    /// Without padding.
    pub tokens: f64,
    /// Tokens drawn; one drawn twice counts twice.
    pub drawn: f64,
    /// The same, but one drawn twice counts once.
    pub distinct: f64,
    /// Tokens that might have been drawn.
    pub candidates: f64,
}

impl Totals {
    pub fn of<'a>(
        examples: impl IntoIterator<Item = &'a MaskedExample>,
        special: SpecialIds,
    ) -> Self {
        examples.into_iter().fold(Totals::default(), |sum, example| {
            let ids = &example.features.input_ids;
            Totals {
                examples: sum.examples + 1.0,
                tokens: sum.tokens + ids.len() as f64,
                drawn: sum.drawn + example.drawn.positions.len() as f64,
                distinct: sum.distinct + example.drawn.distinct() as f64,
                candidates: sum.candidates + candidates(ids, special).len() as f64,
            }
        })
    }
}

/// What one pass through both networks takes. In the shapes, `drawn` is the most that are drawn from
/// one example (`Masking::max_predictions`); places that an example does not need have weight 0.
#[derive(Debug, Clone)]
pub struct MaskedBatch {
    /// The original tokens.
    pub inputs: Inputs,
    /// The same with `[MASK]` in place of most drawn tokens, for the generator: `[batch, seq]`.
    pub masked_ids: Tensor<2, Int>,
    /// The positions of drawn tokens in their text; 0 in unused places: `[batch, drawn]`.
    pub positions: Tensor<2, Int>,
    /// 1 for a drawn token, 0 in unused places: `[batch, drawn]`.
    pub weights: Tensor<2>,
    /// The original tokens there: `[batch, drawn]`.
    pub targets: Tensor<2, Int>,
    /// How often each token was drawn: `[batch, seq]`.
    pub counts: Tensor<2, Int>,
    /// 1 where a token may be drawn: `[batch, seq]`.
    pub candidates: Tensor<2>,
    /// How many examples came before these in the run: the noise of the sampling follows from it.
    pub first_example: u64,
}

impl MaskedBatch {
    /// The generator's samples, `[batch, drawn]`, at the tokens they are for, `[batch, seq]`: 0 where
    /// none is, and the sum of two where a token was drawn twice.
    pub fn at_tokens(&self, samples: Tensor<2, Int>) -> Tensor<2, Int> {
        let samples = samples * self.weights.clone().inner().int();
        let zeros = Tensor::zeros_like(&self.counts.clone().inner());
        zeros.scatter(1, self.positions.clone().inner(), samples, IndexingUpdateOp::Add)
    }
}

/// Pads examples to `seq` tokens and `max_predictions` drawn ones. `first_example` is the number of
/// the first of them in the run.
pub fn collate(
    examples: &[MaskedExample],
    first_example: u64,
    seq: usize,
    max_predictions: usize,
    special: SpecialIds,
    device: &Device,
) -> MaskedBatch {
    let (rows, drawn) = (examples.len(), max_predictions);
    let mut masked_ids = vec![0i32; rows * seq];
    let mut counts = vec![0i32; rows * seq];
    let mut candidate = vec![0f32; rows * seq];
    let mut positions = vec![0i32; rows * drawn];
    let mut targets = vec![0i32; rows * drawn];
    let mut weights = vec![0f32; rows * drawn];
    for (row, example) in examples.iter().enumerate() {
        let ids = &example.features.input_ids;
        ids.iter().enumerate().for_each(|(i, id)| masked_ids[row * seq + i] = *id as i32);
        candidates(ids, special).into_iter().for_each(|i| candidate[row * seq + i] = 1.0);
        let places = example.drawn.positions.iter().zip(&example.drawn.masked);
        for (slot, (position, masked)) in places.enumerate() {
            let (cell, slot) = (row * seq + position, row * drawn + slot);
            positions[slot] = *position as i32;
            targets[slot] = ids[*position] as i32;
            weights[slot] = 1.0;
            counts[cell] += 1;
            if *masked {
                masked_ids[cell] = special.mask as i32;
            }
        }
    }
    let features: Vec<&Features> = examples.iter().map(|example| &example.features).collect();
    let ids = |values: Vec<i32>, width| {
        Tensor::<2, Int>::from_data(TensorData::new(values, [rows, width]), device)
    };
    let floats =
        |values: Vec<f32>, width| Tensor::from_data(TensorData::new(values, [rows, width]), device);
    MaskedBatch {
        inputs: pad_to(&features, rows, seq, device),
        masked_ids: ids(masked_ids, seq),
        positions: ids(positions, drawn),
        weights: floats(weights, drawn),
        targets: ids(targets, drawn),
        counts: ids(counts, seq),
        candidates: floats(candidate, seq),
        first_example,
    }
}
