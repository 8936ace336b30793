//! Replaced-token detection: which words look wrong to the discriminator.

use serde::Serialize;

use crate::tokenizer::Encoding;

/// What a discriminator says of one text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Detection {
    pub tokens: Vec<String>,
    /// Where each token stands in the text, in characters; `(0, 0)` for special tokens.
    pub offsets: Vec<(usize, usize)>,
    /// The probability that each token was replaced, special tokens included.
    pub replaced: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logits: Option<Vec<f32>>,
}

impl Detection {
    /// Decodes the logits of one text, a token each.
    pub fn new(encoding: Encoding, logits: &[f32], keep_logits: bool) -> Self {
        let probability = |logit: &f32| 1.0 / (1.0 + f64::from(-logit).exp());
        Detection {
            tokens: encoding.tokens,
            offsets: encoding.offsets,
            replaced: logits.iter().map(probability).collect(),
            logits: keep_logits.then(|| logits.to_vec()),
        }
    }
}
