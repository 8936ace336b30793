//! Tagging: a label for every word of a sentence.
//!
//! Words become wordpieces one by one, as with `is_split_into_words` of transformers, and the first
//! piece of a word carries its label. Two things are different: a long sentence goes on in further
//! windows, where transformers cuts it off and the original drops its last words; and a word of
//! which the tokenizer leaves nothing becomes `[UNK]`, so that it has a label, too.

use std::cmp::Reverse;
use std::ops::Range;

use burn::tensor::Tensor;
use serde::Serialize;

use super::classification::probabilities;
use crate::batch::{Features, Target};
use crate::dataset::{Sentence, Tagging};
use crate::error::{Error, Result};
use crate::kernels::{self, Loss};
use crate::metrics::{TaggingReport, tagging_report, worst_first};
use crate::tokenizer::Tokenizer;

/// `[CLS] words [SEP]`: a sentence, or a part of a long one. Its tokens are the features at its
/// place.
#[derive(Debug, Clone, PartialEq)]
pub struct TagWindow {
    /// Index of the sentence.
    pub example: usize,
    /// The word that a token is the first piece of, in the one window that the word is predicted
    /// in; None elsewhere.
    pub words: Vec<Option<usize>>,
}

/// The windows of all sentences, in their order, and the features of each at the same place. Every
/// word is predicted in exactly one of them, and one that holds no such word is left out; the
/// targets are the labels of the words that are predicted (None, elsewhere, is -100 in
/// transformers).
///
/// # Errors
/// `max_seq_length` leaves no room, a sentence has not one label a word, or the tokenizer fails.
pub fn features(
    tokenizer: &Tokenizer,
    sentences: &[Sentence],
    max_seq_length: usize,
) -> Result<(Vec<Features>, Vec<TagWindow>)> {
    let (mut features, mut windows) = (Vec::new(), Vec::new());
    for (example, sentence) in sentences.iter().enumerate() {
        for (own, window) in windows_of(tokenizer, sentence, example, max_seq_length)? {
            features.push(own);
            windows.push(window);
        }
    }
    Ok((features, windows))
}

/// Of one sentence; none where it has no words.
fn windows_of(
    tokenizer: &Tokenizer,
    sentence: &Sentence,
    example: usize,
    max_seq_length: usize,
) -> Result<Vec<(Features, TagWindow)>> {
    check_labels(sentence)?;
    let room = max_seq_length.saturating_sub(2);
    if room == 0 {
        return Err(Error::new(
            "max_seq_length",
            format!("{max_seq_length} leaves no room for words"),
        )
        .fix("Two tokens are special; take at least 16."));
    }
    let pieces = sentence.words.iter().map(|word| pieces(tokenizer, word, room));
    let pieces = pieces.collect::<Result<Vec<_>>>()?;
    let lengths: Vec<usize> = pieces.iter().map(Vec::len).collect();
    let spans = spans(&lengths, room);
    let owners = owners(&spans, &lengths);
    let windows = spans.into_iter().enumerate().map(|(index, span)| {
        let predicted = |word: &usize| owners[*word] == index;
        window(tokenizer, sentence, example, &pieces, span, predicted)
    });
    Ok(windows.filter(|(_, window)| window.words.iter().any(Option::is_some)).collect())
}

fn check_labels(sentence: &Sentence) -> Result<()> {
    let (words, labels) = (sentence.words.len(), sentence.labels.as_ref().map(Vec::len));
    match labels.filter(|labels| *labels != words) {
        None => Ok(()),
        Some(labels) => Err(Error::new(
            format!("row {}", sentence.row),
            format!("the sentence has {words} words and {labels} labels"),
        )
        .fix("Give one label a word.")),
    }
}

/// At least one piece, and no more than a window holds: only the first one is predicted.
fn pieces(tokenizer: &Tokenizer, word: &str, room: usize) -> Result<Vec<u32>> {
    let mut ids = tokenizer.ids(word)?;
    ids.truncate(room);
    Ok(if ids.is_empty() { vec![tokenizer.unk_id()] } else { ids })
}

/// Words of windows that hold at most `room` pieces. Half of a window repeats the one before it, so
/// that a word at its edge has context in the other.
fn spans(lengths: &[usize], room: usize) -> Vec<Range<usize>> {
    let (mut spans, mut end) = (Vec::new(), 0);
    while end < lengths.len() {
        // The next word has to fit in.
        let overlap = (room / 2).min(room - lengths[end]);
        let start = end - fitting(lengths[..end].iter().rev(), overlap);
        end = start + fitting(lengths[start..].iter(), room);
        // The last window has room for more of what came before.
        spans.push(end - fitting(lengths[..end].iter().rev(), room)..end);
    }
    spans
}

/// How many of the first lengths have a sum of at most `room`.
fn fitting<'a>(lengths: impl Iterator<Item = &'a usize>, room: usize) -> usize {
    let sums = lengths.scan(0, |sum, length| {
        *sum += length;
        Some(*sum)
    });
    sums.take_while(|sum| *sum <= room).count()
}

/// For each word the window in which it has most pieces on its poorer side, the first of equals.
fn owners(spans: &[Range<usize>], lengths: &[usize]) -> Vec<usize> {
    let places: Vec<usize> = std::iter::once(0)
        .chain(lengths.iter().scan(0, |sum, length| {
            *sum += length;
            Some(*sum)
        }))
        .collect();
    let owner = |word: usize| {
        let first = spans.partition_point(|span| span.end <= word);
        let holding = spans.iter().enumerate().skip(first).take_while(|(_, s)| s.start <= word);
        let poorer_side = |span: &Range<usize>| {
            let (left, right) =
                (places[word] - places[span.start], places[span.end] - places[word + 1]);
            left.min(right)
        };
        holding.min_by_key(|(_, span)| Reverse(poorer_side(span))).map_or(0, |(index, _)| index)
    };
    (0..lengths.len()).map(owner).collect()
}

fn window(
    tokenizer: &Tokenizer,
    sentence: &Sentence,
    example: usize,
    pieces: &[Vec<u32>],
    span: Range<usize>,
    predicted: impl Fn(&usize) -> bool,
) -> (Features, TagWindow) {
    let (mut input_ids, mut words) = (vec![tokenizer.cls_id()], vec![None]);
    for word in span {
        words.push(Some(word).filter(&predicted));
        input_ids.extend(&pieces[word]);
        words.resize(input_ids.len(), None);
    }
    input_ids.push(tokenizer.sep_id());
    words.push(None);
    let labels = sentence.labels.as_deref();
    let label = |word: &Option<usize>| Some(labels?[(*word)?]);
    let targets = words.iter().map(label).collect();
    let features = Features {
        row: sentence.row,
        token_type_ids: vec![0; input_ids.len()],
        attention_mask: vec![1; input_ids.len()],
        input_ids,
        target: Target::Tokens(targets),
    };
    (features, TagWindow { example, words })
}

/// What a model says of one word.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WordLabel {
    pub label: usize,
    /// Its probability.
    pub score: f64,
}

/// A label for every word of every sentence, from the logits of their windows.
///
/// # Shapes
/// - logits: `[windows]` of `[seq, num_labels]`, row by row; rows of padding may follow
///
/// # Panics
/// When a window has not all of its logits.
pub fn decode(
    sentences: &[Sentence],
    windows: &[TagWindow],
    logits: &[Vec<f32>],
    num_labels: usize,
) -> Vec<Vec<WordLabel>> {
    assert_eq!(windows.len(), logits.len(), "one entry of logits a window");
    let empty =
        |sentence: &Sentence| vec![WordLabel { label: 0, score: 0.0 }; sentence.words.len()];
    let mut labels: Vec<_> = sentences.iter().map(empty).collect();
    for (window, logits) in windows.iter().zip(logits) {
        assert!(logits.len() >= window.words.len() * num_labels, "logits for every token");
        for (word, logits) in window.words.iter().zip(logits.chunks_exact(num_labels)) {
            if let Some(word) = *word {
                labels[window.example][word] = best(logits);
            }
        }
    }
    labels
}

/// The likeliest label, the first of equals.
fn best(logits: &[f32]) -> WordLabel {
    let scores = probabilities(logits).into_iter().enumerate();
    let scores = scores.map(|(label, score)| WordLabel { label, score });
    scores
        .reduce(|best, next| if next.score > best.score { next } else { best })
        .unwrap_or(WordLabel { label: 0, score: 0.0 })
}

/// Cross-entropy, the mean over the labelled tokens of the whole batch, which are `terms`.
///
/// # Shapes
/// - logits, targets (one-hot, zeros where there is no label): `[batch, seq * num_labels]`
/// - output: `[1]`
pub fn loss(logits: Tensor<2>, targets: Tensor<2>, num_labels: usize, terms: usize) -> Tensor<1> {
    let [batch, width] = logits.dims();
    let shape = [batch * width / num_labels, num_labels];
    let (logits, targets) = (logits.reshape(shape), targets.reshape(shape));
    kernels::loss(Loss::CrossEntropy, logits, targets, None, terms)
}

/// What a tagger says of a sentence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    pub words: Vec<String>,
    pub labels: Vec<String>,
    /// The probability of each label.
    pub scores: Vec<f64>,
}

impl Prediction {
    /// Names the labels of a sentence that was decoded.
    pub fn new(sentence: &Sentence, decoded: &[WordLabel], labels: &[String]) -> Self {
        Prediction {
            words: sentence.words.clone(),
            labels: decoded.iter().map(|word| labels[word.label].clone()).collect(),
            scores: decoded.iter().map(|word| word.score).collect(),
        }
    }
}

/// How a tagger does on labelled sentences.
#[derive(Debug, Clone, Serialize)]
pub struct Evaluation {
    /// The mean over all words.
    pub loss: f64,
    #[serde(flatten)]
    pub report: TaggingReport,
    /// Those of the sentences with a wrong tag that have the highest loss a word, worst first.
    pub worst: Vec<WorstSentence>,
}

/// A sentence that the model got most wrong.
#[derive(Debug, Clone, Serialize)]
pub struct WorstSentence {
    pub row: usize,
    pub words: Vec<String>,
    pub labels: Vec<String>,
    pub predicted: Vec<String>,
    pub loss: f64,
}

/// Scores labelled sentences from the logits of their windows.
///
/// # Panics
/// When a sentence has no labels.
pub fn evaluate(set: &Tagging, windows: &[TagWindow], logits: &[Vec<f32>]) -> Evaluation {
    let decoded = decode(&set.sentences, windows, logits, set.labels.len());
    let own = |s: &Sentence| s.labels.clone().expect("a labelled sentence");
    let targets: Vec<Vec<usize>> = set.sentences.iter().map(own).collect();
    let labels_of = |words: &Vec<WordLabel>| words.iter().map(|word| word.label).collect();
    let predicted: Vec<Vec<usize>> = decoded.iter().map(labels_of).collect();
    let losses = sentence_losses(set, windows, logits);
    let means: Vec<f64> =
        losses.iter().zip(&targets).map(|(l, words)| l / words.len().max(1) as f64).collect();
    let names = |ids: &[usize]| ids.iter().map(|id| set.labels[*id].clone()).collect();
    let worst = worst_first(&means, |i| predicted[i] != targets[i]);
    let worst = worst.into_iter().map(|i| WorstSentence {
        row: set.sentences[i].row,
        words: set.sentences[i].words.clone(),
        labels: names(&targets[i]),
        predicted: names(&predicted[i]),
        loss: means[i],
    });
    let words: usize = targets.iter().map(Vec::len).sum();
    Evaluation {
        loss: losses.iter().sum::<f64>() / words.max(1) as f64,
        worst: worst.collect(),
        report: tagging_report(&targets, &predicted, &set.labels),
    }
}

/// Sums over the words of each sentence.
fn sentence_losses(set: &Tagging, windows: &[TagWindow], logits: &[Vec<f32>]) -> Vec<f64> {
    let mut losses = vec![0.0; set.sentences.len()];
    for (window, logits) in windows.iter().zip(logits) {
        let labels = set.sentences[window.example].labels.as_deref();
        let tokens = window.words.iter().zip(logits.chunks_exact(set.labels.len()));
        let labelled = tokens.filter_map(|(word, logits)| Some((labels?[(*word)?], logits)));
        let of = |(label, logits): (usize, &[f32])| {
            -probabilities(logits)[label].max(f64::MIN_POSITIVE).ln()
        };
        losses[window.example] += labelled.map(of).sum::<f64>();
    }
    losses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_share_half_of_their_pieces_and_no_word_is_cut() {
        assert_eq!(spans(&[1; 10], 4), [0..4, 2..6, 4..8, 6..10]);
        assert_eq!(spans(&[1, 1, 1, 4, 1, 1], 4), [0..3, 3..4, 4..6]);
        assert_eq!(spans(&[2, 1, 3, 1], 4), [0..2, 1..3, 2..4]);
        assert_eq!((spans(&[1; 6], 4), spans(&[], 4)), (vec![0..4, 2..6], vec![]));
    }

    #[test]
    fn a_word_belongs_to_the_window_with_most_context() {
        assert_eq!(owners(&[0..4, 2..6, 4..8], &[1; 8]), [0, 0, 0, 1, 1, 2, 2, 2]);
    }

    #[test]
    fn the_first_of_equal_logits_wins() {
        assert_eq!(best(&[1.0, 3.0, 3.0]).label, 1);
    }
}
