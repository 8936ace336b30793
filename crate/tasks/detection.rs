//! Replaced-token detection: which words look wrong to the discriminator. And of one that was
//! pre-trained as Electric: how likely a text is.

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
}

impl Detection {
    /// Decodes the logits of one text, a token each.
    pub fn new(encoding: Encoding, logits: &[f32]) -> Self {
        let probability = |logit: &f32| 1.0 / (1.0 + f64::from(-logit).exp());
        Detection {
            tokens: encoding.tokens,
            offsets: encoding.offsets,
            replaced: logits.iter().map(probability).collect(),
        }
    }
}

/// What Electric says of one text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Likelihood {
    pub tokens: Vec<String>,
    /// The energy of each token given the others, special tokens included: low is likely.
    pub energies: Vec<f32>,
    /// The pseudo-log-likelihood of the text, up to a constant a token: minus the sum of the
    /// energies, special tokens left out (Clark et al. 2020b, section 2.3).
    pub score: f64,
}

impl Likelihood {
    /// Decodes the logits of one text, a token each.
    pub fn new(encoding: Encoding, logits: &[f32]) -> Self {
        let in_text = encoding.sequence_ids.iter().map(Option::is_some);
        let energies = logits.iter().zip(in_text).filter(|(_, in_text)| *in_text);
        let score = energies.map(|(energy, _)| -f64::from(*energy)).sum();
        Likelihood { tokens: encoding.tokens, energies: logits.to_vec(), score }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_tokens_have_no_part_in_the_likelihood() {
        let encoding = Encoding {
            input_ids: vec![2, 7, 8, 3],
            token_type_ids: vec![0; 4],
            tokens: ["[CLS]", "a", "b", "[SEP]"].map(String::from).to_vec(),
            offsets: vec![(0, 0), (0, 1), (2, 3), (0, 0)],
            word_ids: vec![None, Some(0), Some(1), None],
            sequence_ids: vec![None, Some(0), Some(0), None],
            truncated: false,
        };
        assert_eq!(Likelihood::new(encoding, &[9.0, 1.5, -0.25, 9.0]).score, -1.25);
    }
}
