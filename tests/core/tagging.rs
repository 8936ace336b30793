//! Tagging: the wordpieces of words against transformers, on every case of `fixtures/generate_words.py`,
//! and every word of a long sentence predicted once.

use std::collections::{BTreeMap, HashMap};

use electra::batch::{Features, Target};
use electra::dataset::Sentence;
use electra::tasks::tagging::{TagWindow, decode, features};
use electra::tokenizer::Tokenizer;
use serde::Deserialize;

use crate::{bert_tokenizer, fixture};

#[derive(Deserialize)]
struct Cases {
    settings: BTreeMap<String, serde_json::Value>,
    cases: Vec<Case>,
}

/// Setting, words, input_ids, word_ids.
#[derive(Deserialize)]
struct Case(String, Vec<String>, Vec<u32>, Vec<Option<usize>>);

fn uncased() -> Tokenizer {
    bert_tokenizer(&serde_json::json!({}))
}

fn sentence(words: Vec<String>) -> Sentence {
    let labels = Some((0..words.len()).map(|word| word + 100).collect());
    Sentence { row: 3, words, labels }
}

/// What transformers gives, with `[UNK]` for every word that it leaves nothing of.
fn expected(
    words: usize,
    ids: &[u32],
    word_ids: &[Option<usize>],
    unk: u32,
) -> (Vec<u32>, Vec<Option<usize>>) {
    let end = ids.len() - 1;
    let (mut all, mut first) = (vec![ids[0]], vec![None]);
    for word in 0..words {
        let pieces = ids.iter().zip(word_ids).filter(|(_, id)| **id == Some(word));
        let mut pieces: Vec<u32> = pieces.map(|(id, _)| *id).collect();
        if pieces.is_empty() {
            pieces.push(unk);
        }
        first.push(Some(word));
        all.extend(pieces);
        first.resize(all.len(), None);
    }
    all.push(ids[end]);
    first.push(None);
    (all, first)
}

#[test]
fn wordpieces_of_words_equal_those_of_transformers() {
    let Cases { settings, cases } = serde_json::from_slice(&fixture("words_cases.json")).unwrap();
    let tokenizers: HashMap<_, _> =
        settings.iter().map(|(name, config)| (name, bert_tokenizer(config))).collect();
    let mut vanished = 0;
    for Case(setting, words, ids, word_ids) in &cases {
        let tokenizer = &tokenizers[setting];
        let (expected, first) = expected(words.len(), ids, word_ids, tokenizer.unk_id());
        vanished += usize::from(expected.len() > ids.len());
        let (features, windows) = features(tokenizer, &[sentence(words.clone())], 4096).unwrap();
        let [window] = &windows[..] else { panic!("{words:?}: {} windows", windows.len()) };
        assert_eq!(features[0].input_ids, expected, "{setting}: {words:?}");
        assert_eq!(window.words, first, "{setting}: {words:?}");
        assert_eq!(features[0].target, labels(window), "{setting}: {words:?}");
        assert!(features[0].token_type_ids.iter().all(|id| *id == 0));
    }
    assert!(cases.len() >= 1000 && vanished >= 50, "{} {vanished}", cases.len());
}

fn words(count: usize, seed: usize) -> Vec<String> {
    let kinds =
        ["the", "unaffable", "\u{200b}", "electroencephalographically", "...", "日本語", "a", "😀"];
    (0..count).map(|i| kinds[(i * i + seed * 3 + i / 3) % kinds.len()].to_string()).collect()
}

/// Of the words of [`sentence`] that are predicted.
fn labels(window: &TagWindow) -> Target {
    Target::Tokens(window.words.iter().map(|word| word.map(|word| word + 100)).collect())
}

/// Pieces of context on the poorer side of a predicted word.
fn context(features: &Features, token: usize) -> usize {
    (token - 1).min(features.input_ids.len() - 2 - token)
}

#[test]
fn every_word_of_a_long_sentence_is_predicted_once() {
    let tokenizer = uncased();
    for count in [1, 2, 3, 7, 20, 61] {
        for seed in 0..6 {
            for max_seq_length in [3, 4, 5, 8, 9, 16, 31, 64, 400] {
                let sentences = [sentence(words(count, seed))];
                let what = format!("{count} words, seed {seed}, {max_seq_length} tokens");
                let (features, windows) = features(&tokenizer, &sentences, max_seq_length).unwrap();
                let mut seen: Vec<usize> =
                    windows.iter().flat_map(|w| w.words.iter().flatten()).copied().collect();
                seen.sort();
                assert!(seen.into_iter().eq(0..count), "{what}");
                assert_eq!(features.len(), windows.len(), "{what}");
                for (features, window) in features.iter().zip(&windows) {
                    assert!(features.input_ids.len() <= max_seq_length, "{what}");
                    assert!(window.words.iter().any(Option::is_some), "{what}");
                    assert_eq!(features.target, labels(window), "{what}");
                }
            }
        }
    }
}

#[test]
fn words_inside_a_long_sentence_have_context_on_both_sides() {
    let tokenizer = uncased();
    let long = sentence((0..200).map(|_| "the".to_string()).collect());
    let (features, windows) = features(&tokenizer, &[long], 42).unwrap();
    for (features, window) in features.iter().zip(&windows) {
        for (token, word) in window.words.iter().enumerate() {
            let Some(word) = *word else { continue };
            // Half of the 40 pieces are shared: at least a quarter on each side, but at the ends.
            assert!(context(features, token) >= 9.min(word).min(199 - word), "word {word}");
        }
    }
    assert!(windows.len() <= 10, "{}", windows.len());
}

#[test]
fn labels_come_back_from_the_logits_of_their_windows() {
    let tokenizer = uncased();
    let sentences: Vec<_> = [0, 1, 30, 5].map(|count| sentence(words(count, count))).to_vec();
    let (_, windows) = features(&tokenizer, &sentences, 12).unwrap();
    let logit = |window: &TagWindow, word: usize, label: usize| {
        if label == (word + window.example) % 3 { 2.0 } else { 0.0 }
    };
    let of_window = |window: &TagWindow| {
        let token = |word: &Option<usize>| {
            let word = *word;
            // Where no word is predicted, something else is said.
            let say = move |label| {
                word.map_or(if label == 1 { 9.0 } else { -9.0 }, |w| logit(window, w, label))
            };
            (0..3).map(say).collect::<Vec<f32>>()
        };
        window.words.iter().flat_map(token).chain([7.0; 6]).collect::<Vec<f32>>()
    };
    let logits: Vec<_> = windows.iter().map(of_window).collect();
    let labels = decode(&sentences, &windows, &logits, 3);
    assert_eq!(labels.len(), 4);
    for (example, (sentence, labels)) in sentences.iter().zip(labels).enumerate() {
        assert_eq!(sentence.words.len(), labels.len());
        for (word, label) in labels.iter().enumerate() {
            assert_eq!(label.label, (word + example) % 3);
            assert!((label.score - 0.786_986_0).abs() < 1e-6, "{}", label.score);
        }
    }
}

#[test]
fn what_cannot_be_tagged_is_an_error() {
    let tokenizer = uncased();
    let error = features(&tokenizer, &[sentence(words(2, 0))], 2).unwrap_err();
    assert_eq!(error.place, "max_seq_length");
    let mut short = sentence(words(2, 0));
    short.labels = Some(vec![0]);
    let error = features(&tokenizer, &[short], 64).unwrap_err();
    assert_eq!(
        (error.place.as_str(), error.problem.as_str()),
        ("row 3", "the sentence has 2 words and 1 labels")
    );
    let unlabelled = Sentence { row: 1, words: words(2, 0), labels: None };
    let (features, _) = features(&tokenizer, &[unlabelled], 64).unwrap();
    let Target::Tokens(labels) = &features[0].target else { panic!("{features:?}") };
    assert!(labels.iter().all(Option::is_none));
}
