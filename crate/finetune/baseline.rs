//! What a score is worth: what would be scored without learning, and what makes it doubtful.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use crate::dataset::{Kind, Question, Questions, Tagging, Texts};
use crate::metrics::{SquadScores, answer_scores, tagging_report};
use crate::tasks::question_answering::{self, Scores};
use crate::tasks::{Encoded, Evaluation, Examples, Metric, tagging};

/// The score of an answer that needs no network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Baseline {
    pub metric: &'static str,
    pub score: f64,
    /// The answer in words, such as `always "ham"`.
    pub answer: String,
}

/// Of the best plain answer that the training examples suggest, measured as the model is.
pub(super) fn baseline(
    train: &Examples,
    eval: &Examples,
    encoded: &Encoded,
    metric: Option<Metric>,
) -> Option<Baseline> {
    let (evaluation, answer) = match (train, eval) {
        (Examples::Texts(train), Examples::Texts(set)) => {
            let (logits, answer) = constant(train)?;
            (eval.evaluate(encoded, &vec![logits; set.examples.len()]), answer)
        }
        (Examples::Tagging(train), Examples::Tagging(eval)) => most_frequent(train, eval)?,
        (Examples::QuestionAnswering(_), Examples::QuestionAnswering(eval)) => answers(eval),
        _ => return None,
    };
    let (metric, score) = evaluation.score_by(metric);
    Some(Baseline { metric, score, answer })
}

/// The logits of the same answer to every text.
fn constant(train: &Texts) -> Option<(Vec<f32>, String)> {
    let mut counts = vec![0; train.labels.len()];
    for example in &train.examples {
        example.class().into_iter().for_each(|class| counts[class] += 1);
        let own = example.classes().unwrap_or_default();
        counts.iter_mut().zip(own).for_each(|(count, own)| *count += usize::from(*own));
    }
    // The first of several that are as frequent, as the labels are in order.
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by_key(|label| std::cmp::Reverse(counts[*label]));
    let named = |labels: &[usize]| {
        let names = labels.iter().map(|label| format!("\"{}\"", train.labels[*label]));
        format!("always {}", names.collect::<Vec<_>>().join(" and "))
    };
    let marked = |labels: &[usize]| {
        let mut logits = vec![-1.0; counts.len()];
        labels.iter().for_each(|label| logits[*label] = 1.0);
        logits
    };
    Some(match train.kind {
        Kind::Regression => (vec![0.5], "always the same number".into()),
        Kind::MultiLabel => {
            // As many of the most frequent as do best on the training rows.
            let (rows, all) = (train.examples.len(), counts.iter().sum::<usize>());
            let f1 = |many: &usize| {
                let right: usize = order[..*many].iter().map(|label| counts[*label]).sum();
                2.0 * right as f64 / (many * rows + all).max(1) as f64
            };
            let many = (1..=order.len()).max_by(|a, b| f1(a).total_cmp(&f1(b)).then(b.cmp(a)))?;
            (marked(&order[..many]), named(&order[..many]))
        }
        _ => (marked(order.get(..1)?), named(&order[..1])),
    })
}

/// Every word gets the tag it has most often, a new one the most frequent of all.
fn most_frequent(train: &Tagging, eval: &Tagging) -> Option<(Evaluation, String)> {
    let mut of_words: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut all = vec![0; train.labels.len()];
    for sentence in &train.sentences {
        for (word, label) in sentence.words.iter().zip(sentence.labels.iter().flatten()) {
            of_words.entry(word).or_insert_with(|| vec![0; all.len()])[*label] += 1;
            all[*label] += 1;
        }
    }
    let most = |counts: &Vec<usize>| (0..counts.len()).rev().max_by_key(|label| counts[*label]);
    let usual = most(&all)?;
    let tag = |word: &String| of_words.get(word.as_str()).and_then(most).unwrap_or(usual);
    let sentences = || eval.sentences.iter();
    let predicted: Vec<Vec<usize>> =
        sentences().map(|s| s.words.iter().map(tag).collect()).collect();
    let targets: Vec<Vec<usize>> = sentences().filter_map(|s| s.labels.clone()).collect();
    let report = tagging_report(&targets, &predicted, &eval.labels);
    let evaluation = tagging::Evaluation { loss: 0.0, report, worst: vec![] };
    Some((Evaluation::Tagging(evaluation), "each word's most frequent tag".into()))
}

/// "No answer", or the first sentence of every context.
fn answers(eval: &Questions) -> (Evaluation, String) {
    let first = |question: &Question| {
        let context = question.context.trim_start();
        let end = context.find(['.', '!', '?', '\n']).unwrap_or(context.len());
        context[..end].to_string()
    };
    let none = [String::new()];
    let scored = |answer: &dyn Fn(&Question) -> String| {
        let scores = eval.examples.iter().map(|question| {
            let golds = if question.golds.is_empty() { &none[..] } else { &question.golds };
            answer_scores(golds, &answer(question))
        });
        let (mut exact, mut f1) = (0.0, 0.0);
        scores.for_each(|scores| (exact, f1) = (exact + scores.exact, f1 + scores.f1));
        let total = eval.examples.len();
        let percent = |sum: f64| 100.0 * sum / total.max(1) as f64;
        SquadScores { exact: percent(exact), f1: percent(f1), total }
    };
    let (sentence, silence) = (scored(&first), scored(&|_| String::new()));
    let (scores, answer) = match silence.f1 > sentence.f1 {
        true => (silence, "always \"no answer\""),
        false => (sentence, "always the paragraph's first sentence"),
    };
    let scores = Scores::V1(scores);
    let evaluation =
        question_answering::Evaluation { scores, no_answer_threshold: None, worst: vec![] };
    (Evaluation::QuestionAnswering(evaluation), answer.into())
}

/// Evaluation examples whose text is among the training examples, too: they were learnt by heart.
pub(super) fn duplicates(train: &Examples, eval: &Examples) -> usize {
    let keys = |set: &Examples| -> Vec<String> {
        let pair = |a: &str, b: &str| format!("{}\0{}", a.trim(), b.trim());
        match set {
            Examples::Texts(set) => {
                let key = |e: &crate::dataset::TextExample| {
                    pair(&e.text, e.pair.as_deref().unwrap_or_default())
                };
                set.examples.iter().map(key).collect()
            }
            Examples::Tagging(set) => set.sentences.iter().map(|s| s.words.join(" ")).collect(),
            Examples::QuestionAnswering(set) => {
                set.examples.iter().map(|q| pair(&q.question, &q.context)).collect()
            }
        }
    };
    let known: HashSet<String> = keys(train).into_iter().collect();
    keys(eval).iter().filter(|key| known.contains(*key)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::LabelledFile;
    use crate::tasks::{Known, Reading, Windows};

    fn read(kind: Kind, name: &str, text: &str) -> Examples {
        let file = LabelledFile::new(name, text.as_bytes());
        Examples::read(kind, &file, &Reading::default(), &Known::default()).unwrap()
    }

    fn found(kind: Kind, name: &str, train: &str, eval: &str) -> (f64, String) {
        let train = read(kind, name, train);
        let file = LabelledFile::new(name, eval.as_bytes());
        let eval = Examples::read(kind, &file, &Reading::default(), &train.known()).unwrap();
        let encoded = Encoded { features: vec![], windows: Windows::Rows, skipped: vec![] };
        let Baseline { score, answer, .. } = baseline(&train, &eval, &encoded, None).unwrap();
        (score, answer)
    }

    #[test]
    fn texts_get_the_same_answer() {
        let train = "text,label\na,ham\nb,ham\nc,spam\n";
        let eval = "text,label\nd,ham\ne,spam\nf,spam\ng,ham\n";
        let ham = "always \"ham\"".to_string();
        assert_eq!(found(Kind::Classification, "a.csv", train, eval), (0.5, ham));
        let train = "text,labels\na,x|y\nb,x|y\nc,z\n";
        let (score, answer) = found(Kind::MultiLabel, "a.csv", train, "text,labels\nd,x|y\n");
        assert_eq!((score, answer.as_str()), (1.0, "always \"x\" and \"y\""));
        let scores = "text,score\na,1\nb,2.5\n";
        assert_eq!(found(Kind::Regression, "a.csv", scores, scores).0, 0.0);
    }

    #[test]
    fn words_get_their_usual_tag() {
        let train = "Ada B-PER\nis O\nhere O\n\nAda B-PER\nis O\n";
        let (score, _) = found(Kind::Tagging, "a.conll", train, "Ada B-PER\nis O\n\nBob B-PER\n");
        assert!((score - 2.0 / 3.0).abs() < 1e-9, "{score}");
    }

    #[test]
    fn questions_get_the_first_sentence() {
        let line = r#"{"question": "Who?", "context": "Ada. Not Bob.", "answers": ["Ada"]}"#;
        let (score, answer) = found(Kind::QuestionAnswering, "a.jsonl", line, line);
        assert_eq!((score, answer.as_str()), (1.0, "always the paragraph's first sentence"));
    }

    #[test]
    fn rows_of_both_sides_are_counted() {
        let set = |text: &str| read(Kind::Classification, "a.csv", text);
        let train = set("text,label\na,x\nb,y\n");
        assert_eq!(duplicates(&train, &set("text,label\n a,y\nc,x\nb ,y\n")), 2);
    }
}
