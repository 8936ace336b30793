//! Texts and pairs of texts to token ids, whatever they are labelled with.

use crate::batch::{Features, Target};
use crate::dataset::{TextExample, TextTarget, Texts};
use crate::error::Result;
use crate::tokenizer::{Tokenizer, Truncation};

/// Texts to token ids, cut to `max_seq_length` from the longer text of a pair first.
///
/// # Errors
/// The tokenizer fails.
pub fn features(
    tokenizer: &Tokenizer,
    set: &Texts,
    max_seq_length: usize,
) -> Result<Vec<Features>> {
    let encode = |example: &TextExample| {
        let (text, pair) = (&example.text, example.pair.as_deref());
        let encoding = tokenizer.encode(text, pair, max_seq_length, Truncation::LongestFirst)?;
        Ok(Features::new(example.row, &encoding, target(example, set.range)))
    };
    set.examples.iter().map(encode).collect()
}

/// Scores are learned on a range from 0 to 1.
fn target(example: &TextExample, range: Option<(f64, f64)>) -> Target {
    let (minimum, maximum) = range.unwrap_or((0.0, 1.0));
    match &example.target {
        None => Target::Nothing,
        Some(TextTarget::Class(class)) => Target::Class(*class),
        Some(TextTarget::Classes(classes)) => Target::Classes(classes.clone()),
        Some(TextTarget::Score(score)) => {
            Target::Value(((score - minimum) / (maximum - minimum)) as f32)
        }
    }
}
