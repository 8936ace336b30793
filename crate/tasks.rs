//! What a network is used for: features, loss and decoding, a file a task.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::batch::{Batch, Features, Width};
use crate::config::ElectraConfig;
use crate::dataset::glue::{self, Split, read_glue_as};
use crate::dataset::{
    self, Classification, ColumnChoice, Kind, MultiLabel, Problem, Questions, Regression, Table,
    Tagging, choose_columns, choose_score_columns, in_file, multi_label as read_multi_label,
    read_questions, read_table, read_tagging, regression as read_regression, split_multi_label,
    split_questions, split_regression, split_tagging, train_eval_split,
};
use crate::error::{Error, Result};
use crate::heads::{Architecture, num_labels};
use crate::tokenizer::Tokenizer;

pub mod classification;
pub mod detection;
pub mod multi_label;
pub mod question_answering;
pub mod regression;
pub mod tagging;

use question_answering::{QaWindow, Windowing};
use tagging::TagWindow;

/// The class of transformers that a task is learned with.
pub fn architecture(kind: Kind) -> Architecture {
    match kind {
        Kind::Classification | Kind::MultiLabel | Kind::Regression => {
            Architecture::SequenceClassification
        }
        Kind::Tagging => Architecture::TokenClassification,
        Kind::QuestionAnswering => Architecture::QuestionAnswering,
    }
}

/// What a model was fine-tuned for; None where it was only pre-trained.
///
/// # Errors
/// `architectures` names a class that is not ELECTRA's.
pub fn kind_of(config: &ElectraConfig) -> Result<Option<Kind>> {
    Ok(match Architecture::of(config)? {
        Architecture::PreTraining | Architecture::MaskedLm => None,
        Architecture::TokenClassification => Some(Kind::Tagging),
        Architecture::QuestionAnswering => Some(Kind::QuestionAnswering),
        Architecture::SequenceClassification => Some(match config.problem_type.as_deref() {
            Some("multi_label_classification") => Kind::MultiLabel,
            Some("regression") => Kind::Regression,
            // As transformers decides it.
            _ if num_labels(config) == 1 => Kind::Regression,
            _ => Kind::Classification,
        }),
    })
}

/// How a file is to be read.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    pub columns: ColumnChoice,
    /// The columns of 0 and 1 of a multi-label table that has one for each label.
    pub label_columns: Vec<String>,
    /// The file is one of this task's, with its columns and labels.
    pub glue: Option<&'static glue::Task>,
    /// The labels where the model has none yet; found in the file where absent.
    pub labels: Option<Vec<String>>,
}

/// What a model knows already of a task: its labels, or its range of scores.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Known {
    pub labels: Option<Vec<String>>,
    pub range: Option<(f64, f64)>,
}

impl Known {
    /// Of a model that was fine-tuned for `kind`; nothing of any other.
    ///
    /// # Errors
    /// As [`kind_of`].
    pub fn of(config: &ElectraConfig, kind: Kind) -> Result<Self> {
        match kind_of(config)? == Some(kind) {
            true => Ok(Known { labels: config.labels(), range: config.score_range }),
            false => Ok(Known::default()),
        }
    }
}

/// Examples of one task.
#[derive(Debug, Clone, PartialEq)]
pub enum Examples {
    Classification(Classification),
    MultiLabel(MultiLabel),
    Regression(Regression),
    Tagging(Tagging),
    QuestionAnswering(Questions),
}

impl Examples {
    /// Reads a file for a task.
    ///
    /// # Errors
    /// The file cannot be read, or nothing in it can be used; the error names the file.
    pub fn read(
        kind: Kind,
        name: &str,
        bytes: &[u8],
        reading: &Reading,
        known: &Known,
    ) -> Result<Self> {
        let labels = known.labels.as_deref().or(reading.labels.as_deref());
        if let Some(task) = reading.glue {
            return read_glue_as(task, Split::Train, name, bytes, labels, known.range)
                .map(Self::from);
        }
        match kind {
            Kind::Tagging => return Ok(Self::Tagging(read_tagging(name, bytes, labels)?)),
            Kind::QuestionAnswering => {
                return Ok(Self::QuestionAnswering(read_questions(name, bytes)?));
            }
            _ => {}
        }
        let table = read_table(name, bytes)?;
        Self::from_table(kind, &table, reading, known).map_err(|error| in_file(name, error))
    }

    /// The same of a table that was read, for a task that is told from columns.
    ///
    /// # Errors
    /// There are no such columns, or no row can be used.
    pub fn from_table(kind: Kind, table: &Table, reading: &Reading, known: &Known) -> Result<Self> {
        let labels = known.labels.as_deref().or(reading.labels.as_deref());
        let choice = &reading.columns;
        match kind {
            Kind::Regression => {
                let columns = choose_score_columns(table, choice)?;
                Ok(Self::Regression(read_regression(table, &columns, known.range)?))
            }
            Kind::MultiLabel => {
                let columns = choose_columns(table, choice)?;
                let flags = &reading.label_columns;
                Ok(Self::MultiLabel(read_multi_label(table, &columns, flags, labels)?))
            }
            _ => classification::labelled(table, choice, labels).map(Self::Classification),
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Examples::Classification(_) => Kind::Classification,
            Examples::MultiLabel(_) => Kind::MultiLabel,
            Examples::Regression(_) => Kind::Regression,
            Examples::Tagging(_) => Kind::Tagging,
            Examples::QuestionAnswering(_) => Kind::QuestionAnswering,
        }
    }

    /// Texts, sentences or questions.
    pub fn len(&self) -> usize {
        match self {
            Examples::Classification(set) => set.examples.len(),
            Examples::MultiLabel(set) => set.examples.len(),
            Examples::Regression(set) => set.examples.len(),
            Examples::Tagging(set) => set.sentences.len(),
            Examples::QuestionAnswering(set) => set.examples.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn skipped(&self) -> &[Problem] {
        match self {
            Examples::Classification(set) => &set.skipped,
            Examples::MultiLabel(set) => &set.skipped,
            Examples::Regression(set) => &set.skipped,
            Examples::Tagging(set) => &set.skipped,
            Examples::QuestionAnswering(set) => &set.skipped,
        }
    }

    /// The labels or the range that a model of these examples knows.
    pub fn known(&self) -> Known {
        let labels = match self {
            Examples::Classification(set) => Some(set.labels.clone()),
            Examples::MultiLabel(set) => Some(set.labels.clone()),
            Examples::Tagging(set) => Some(set.labels.clone()),
            Examples::Regression(_) | Examples::QuestionAnswering(_) => None,
        };
        let range = match self {
            Examples::Regression(set) => Some((set.minimum, set.maximum)),
            _ => None,
        };
        Known { labels, range }
    }

    /// How often each label occurs, in their order; empty for scores and questions.
    pub fn label_counts(&self) -> Vec<(String, usize)> {
        let count = |labels: &[String], ids: &mut dyn Iterator<Item = usize>| {
            let mut counts = vec![0; labels.len()];
            ids.for_each(|id| counts[id] += 1);
            labels.iter().cloned().zip(counts).collect()
        };
        match self {
            Examples::Classification(set) => {
                count(&set.labels, &mut set.examples.iter().filter_map(|e| e.label))
            }
            Examples::MultiLabel(set) => {
                let own = set.examples.iter().filter_map(|e| e.labels.as_ref());
                let ids = own.flat_map(|own| {
                    own.iter().enumerate().filter(|(_, has)| **has).map(|(id, _)| id)
                });
                count(&set.labels, &mut Box::new(ids))
            }
            Examples::Tagging(set) => {
                let own = set.sentences.iter().filter_map(|s| s.labels.as_ref());
                count(&set.labels, &mut own.flatten().copied())
            }
            Examples::Regression(_) | Examples::QuestionAnswering(_) => Vec::new(),
        }
    }

    /// Does any example have a second text?
    pub fn has_pairs(&self) -> bool {
        match self {
            Examples::Classification(set) => set.examples.iter().any(|e| e.pair.is_some()),
            Examples::MultiLabel(set) => set.examples.iter().any(|e| e.pair.is_some()),
            Examples::Regression(set) => set.examples.iter().any(|e| e.pair.is_some()),
            Examples::Tagging(_) => false,
            Examples::QuestionAnswering(_) => true,
        }
    }

    /// Is there something to learn from, or to measure by?
    pub fn is_labelled(&self) -> bool {
        match self {
            Examples::Classification(set) => set.examples.iter().all(|e| e.label.is_some()),
            Examples::MultiLabel(set) => set.examples.iter().all(|e| e.labels.is_some()),
            Examples::Regression(set) => set.examples.iter().all(|e| e.score.is_some()),
            Examples::Tagging(set) => set.sentences.iter().all(|s| s.labels.is_some()),
            Examples::QuestionAnswering(set) => set.examples.iter().all(|q| q.is_labelled()),
        }
    }

    /// Training and evaluation examples, the same ones for a seed on every machine.
    pub fn split(self, fraction: f64, seed: u64) -> (Self, Self) {
        fn both<T>(parts: (T, T), wrap: fn(T) -> Examples) -> (Examples, Examples) {
            (wrap(parts.0), wrap(parts.1))
        }
        match self {
            Examples::Classification(set) => {
                both(train_eval_split(set, fraction, seed), Examples::Classification)
            }
            Examples::MultiLabel(set) => {
                both(split_multi_label(set, fraction, seed), Examples::MultiLabel)
            }
            Examples::Regression(set) => {
                both(split_regression(set, fraction, seed), Examples::Regression)
            }
            Examples::Tagging(set) => both(split_tagging(set, fraction, seed), Examples::Tagging),
            Examples::QuestionAnswering(set) => {
                both(split_questions(set, fraction, seed), Examples::QuestionAnswering)
            }
        }
    }

    /// The same with every pair a second time, its texts exchanged: for tasks where their order
    /// means nothing (the original does so for MRPC and STS).
    pub fn doubled(mut self) -> Self {
        fn swap<T: Clone>(
            examples: &mut Vec<T>,
            pair: fn(&mut T) -> (&mut String, &mut Option<String>),
        ) {
            let mut more = examples.clone();
            more.retain_mut(|example| {
                let (text, pair) = pair(example);
                pair.as_mut().map(|pair| std::mem::swap(text, pair)).is_some()
            });
            examples.extend(more);
        }
        match &mut self {
            Examples::Classification(set) => {
                swap(&mut set.examples, |e| (&mut e.text, &mut e.pair));
            }
            Examples::MultiLabel(set) => swap(&mut set.examples, |e| (&mut e.text, &mut e.pair)),
            Examples::Regression(set) => swap(&mut set.examples, |e| (&mut e.text, &mut e.pair)),
            Examples::Tagging(_) | Examples::QuestionAnswering(_) => {}
        }
        self
    }

    /// The logits that a head for these examples gives, and their targets.
    pub fn width(&self) -> Width {
        match self {
            Examples::Classification(set) => Width { labels: set.labels.len(), per_token: false },
            Examples::MultiLabel(set) => Width { labels: set.labels.len(), per_token: false },
            Examples::Regression(_) => Width { labels: 1, per_token: false },
            Examples::Tagging(set) => Width { labels: set.labels.len(), per_token: true },
            // Start and end, and at `[CLS]` whether there is no answer.
            Examples::QuestionAnswering(_) => Width { labels: 3, per_token: true },
        }
    }

    /// Tokens of every example; a long sentence or context fills several windows.
    ///
    /// # Errors
    /// The lengths leave no room, or the tokenizer fails.
    pub fn encode(
        &self,
        tokenizer: &Tokenizer,
        windowing: &Windowing,
        for_training: bool,
    ) -> Result<Encoded> {
        let length = windowing.max_seq_length;
        let rows = |rows: Result<Vec<Features>>| {
            Ok(Encoded { features: rows?, windows: Windows::Rows, skipped: Vec::new() })
        };
        match self {
            Examples::Classification(set) => {
                rows(classification::features(tokenizer, &set.examples, length))
            }
            Examples::MultiLabel(set) => {
                rows(multi_label::features(tokenizer, &set.examples, length))
            }
            Examples::Regression(set) => rows(regression::features(tokenizer, set, length)),
            Examples::Tagging(set) => {
                let windows = tagging::features(tokenizer, &set.sentences, length)?;
                let features = windows.iter().map(|window| window.features.clone()).collect();
                Ok(Encoded { features, windows: Windows::Tags(windows), skipped: Vec::new() })
            }
            Examples::QuestionAnswering(set) => {
                let (windows, skipped) = question_answering::features(
                    tokenizer,
                    &set.examples,
                    windowing,
                    for_training,
                )?;
                let features = windows.iter().map(|window| window.features.clone()).collect();
                Ok(Encoded { features, windows: Windows::Answers(windows), skipped })
            }
        }
    }

    /// A line of predictions for each example, with its row and what would have been right.
    pub fn predictions(
        &self,
        encoded: &Encoded,
        logits: &[Vec<f32>],
        config: &ElectraConfig,
    ) -> Vec<Value> {
        let labelled = |prediction: Value, row: usize, key: &str, label: Value| {
            let mut line = prediction;
            line["row"] = row.into();
            line[key] = label;
            line
        };
        match (self, &encoded.windows) {
            (Examples::Classification(set), _) => {
                let line = |(example, logits): (&dataset::Example, &Vec<f32>)| {
                    let prediction = classification::Prediction::new(logits, &set.labels, true);
                    let label = json!(example.label.map(|label| &set.labels[label]));
                    labelled(json!(prediction), example.row, "true_label", label)
                };
                set.examples.iter().zip(logits).map(line).collect()
            }
            (Examples::MultiLabel(set), _) => {
                let line = |(example, logits): (&dataset::MultiExample, &Vec<f32>)| {
                    let prediction = multi_label::Prediction::new(logits, &set.labels);
                    let own = example.labels.iter().flatten().zip(&set.labels);
                    let own: Vec<_> = own.filter(|(own, _)| **own).map(|(_, name)| name).collect();
                    labelled(json!(prediction), example.row, "true_labels", json!(own))
                };
                set.examples.iter().zip(logits).map(line).collect()
            }
            (Examples::Regression(set), _) => {
                let line = |(example, logits): (&dataset::ScoredExample, &Vec<f32>)| {
                    let value = regression::value(logits[0], config.score_range);
                    labelled(
                        json!({"value": value}),
                        example.row,
                        "true_value",
                        json!(example.score),
                    )
                };
                set.examples.iter().zip(logits).map(line).collect()
            }
            (Examples::Tagging(set), Windows::Tags(windows)) => {
                let decoded = tagging::decode(&set.sentences, windows, logits, set.labels.len());
                let line = |(sentence, words): (&dataset::Sentence, &Vec<tagging::WordLabel>)| {
                    let prediction = tagging::Prediction::new(sentence, words, &set.labels);
                    let own =
                        sentence.labels.iter().flatten().map(|label| json!(set.labels[*label]));
                    labelled(json!(prediction), sentence.row, "true_labels", own.collect())
                };
                set.sentences.iter().zip(&decoded).map(line).collect()
            }
            (Examples::QuestionAnswering(set), Windows::Answers(windows)) => {
                let threshold = config.no_answer_threshold;
                let answers =
                    question_answering::predict(&set.examples, windows, logits, threshold);
                let line = |(question, answer): (&dataset::Question, _)| {
                    labelled(json!(answer), question.row, "true_answers", json!(question.golds))
                };
                set.examples.iter().zip(answers).map(line).collect()
            }
            _ => unreachable!("windows are those of the examples"),
        }
    }

    /// How a model does, from the logits of the features in their order.
    pub fn evaluate(&self, encoded: &Encoded, logits: &[Vec<f32>]) -> Evaluation {
        match (self, &encoded.windows) {
            (Examples::Classification(set), _) => {
                Evaluation::Classification(classification::evaluate(set, logits))
            }
            (Examples::MultiLabel(set), _) => {
                Evaluation::MultiLabel(multi_label::evaluate(set, logits))
            }
            (Examples::Regression(set), _) => {
                Evaluation::Regression(regression::evaluate(set, logits))
            }
            (Examples::Tagging(set), Windows::Tags(windows)) => {
                Evaluation::Tagging(tagging::evaluate(set, windows, logits))
            }
            (Examples::QuestionAnswering(set), Windows::Answers(windows)) => {
                let evaluation = question_answering::evaluate(set, windows, logits);
                Evaluation::QuestionAnswering(evaluation)
            }
            _ => unreachable!("windows are those of the examples"),
        }
    }
}

impl From<glue::Examples> for Examples {
    fn from(examples: glue::Examples) -> Self {
        match examples {
            glue::Examples::Classification(set) => Examples::Classification(set),
            glue::Examples::Regression(set) => Examples::Regression(set),
        }
    }
}

/// Examples as a network takes them.
#[derive(Debug, Clone)]
pub struct Encoded {
    pub features: Vec<Features>,
    pub windows: Windows,
    /// Examples that cannot be learned from.
    pub skipped: Vec<Problem>,
}

/// Where the features of an example are.
#[derive(Debug, Clone)]
pub enum Windows {
    /// One each.
    Rows,
    Tags(Vec<TagWindow>),
    Answers(Vec<QaWindow>),
}

/// The loss of a batch: the sum of its terms over `terms`, `[1]`.
///
/// # Shapes
/// - logits: `[batch, width]`
pub fn loss(kind: Kind, logits: Tensor<2>, batch: &Batch, width: Width, terms: usize) -> Tensor<1> {
    let targets = batch.targets.clone();
    match kind {
        Kind::Classification => classification::loss(logits, targets, terms),
        Kind::MultiLabel => multi_label::loss(logits, targets, batch.is_real.clone(), terms),
        Kind::Regression => regression::loss(logits, targets, batch.is_real.clone(), terms),
        Kind::Tagging => tagging::loss(logits, targets, width.labels, terms),
        Kind::QuestionAnswering => {
            let mask = batch.inputs.attention_mask.clone();
            question_answering::loss(logits, targets, mask, terms)
        }
    }
}

/// A number that runs can be compared by; the higher the better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    Accuracy,
    /// Of two labels that of the second one, or of the one called 1; of entities; of answers.
    F1,
    MicroF1,
    MacroF1,
    Mcc,
    Pearson,
    Spearman,
    /// Answers that are right to the letter.
    Exact,
}

impl Metric {
    #[rustfmt::skip]
    const ALL: [Metric; 8] = [
        Metric::Accuracy, Metric::F1, Metric::MicroF1, Metric::MacroF1, Metric::Mcc,
        Metric::Pearson, Metric::Spearman, Metric::Exact,
    ];

    /// As results have it.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Accuracy => "accuracy",
            Metric::F1 => "f1",
            Metric::MicroF1 => "micro_f1",
            Metric::MacroF1 => "macro_f1",
            Metric::Mcc => "mcc",
            Metric::Pearson => "pearson",
            Metric::Spearman => "spearman",
            Metric::Exact => "exact",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// Do evaluations of that task have it?
    pub fn is_of(self, kind: Kind) -> bool {
        use Metric::*;
        let own: &[Metric] = match kind {
            Kind::Classification => &[Accuracy, F1, MacroF1, Mcc],
            Kind::MultiLabel => &[MicroF1, MacroF1],
            Kind::Regression => &[Pearson, Spearman],
            Kind::Tagging => &[Accuracy, F1],
            Kind::QuestionAnswering => &[Exact, F1],
        };
        own.contains(&self)
    }
}

/// How a model does on labelled examples.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Evaluation {
    Classification(classification::Evaluation),
    MultiLabel(multi_label::Evaluation),
    Regression(regression::Evaluation),
    Tagging(tagging::Evaluation),
    QuestionAnswering(question_answering::Evaluation),
}

impl Evaluation {
    /// The mean loss; answers have none, for a window is not an example.
    pub fn loss(&self) -> Option<f64> {
        match self {
            Evaluation::Classification(evaluation) => Some(evaluation.loss),
            Evaluation::MultiLabel(evaluation) => Some(evaluation.loss),
            Evaluation::Regression(evaluation) => Some(evaluation.loss),
            Evaluation::Tagging(evaluation) => Some(evaluation.loss),
            Evaluation::QuestionAnswering(_) => None,
        }
    }

    /// The one number that runs are compared by, with its name; the higher the better.
    pub fn score(&self) -> (&'static str, f64) {
        match self {
            Evaluation::Classification(evaluation) => ("accuracy", evaluation.report.accuracy),
            Evaluation::MultiLabel(evaluation) => ("micro_f1", evaluation.report.micro.f1),
            Evaluation::Regression(evaluation) => {
                ("pearson", evaluation.report.pearson.unwrap_or(0.0))
            }
            Evaluation::Tagging(evaluation) => match &evaluation.report.entities {
                Some(entities) => ("f1", entities.micro.f1),
                None => ("accuracy", evaluation.report.tags.accuracy),
            },
            Evaluation::QuestionAnswering(evaluation) => ("f1", evaluation.f1()),
        }
    }

    /// The same by a metric of one's own choice; 0 where it is not defined.
    pub fn score_by(&self, metric: Option<Metric>) -> (&'static str, f64) {
        match metric {
            Some(metric) => (metric.name(), self.metric(metric).unwrap_or(0.0)),
            None => self.score(),
        }
    }

    /// A metric, from 0 (or -1) to 1; None where it is not defined, or not of this task.
    pub fn metric(&self, metric: Metric) -> Option<f64> {
        match (self, metric) {
            (Evaluation::Classification(evaluation), _) => {
                let report = &evaluation.report;
                match metric {
                    Metric::Accuracy => Some(report.accuracy),
                    Metric::MacroF1 => Some(report.macro_f1),
                    Metric::Mcc => Some(report.mcc),
                    Metric::F1 => classification::positive_f1(report),
                    _ => None,
                }
            }
            (Evaluation::MultiLabel(evaluation), Metric::MicroF1) => {
                Some(evaluation.report.micro.f1)
            }
            (Evaluation::MultiLabel(evaluation), Metric::MacroF1) => {
                Some(evaluation.report.macro_f1)
            }
            (Evaluation::Regression(evaluation), Metric::Pearson) => evaluation.report.pearson,
            (Evaluation::Regression(evaluation), Metric::Spearman) => evaluation.report.spearman,
            (Evaluation::Tagging(evaluation), Metric::F1) => {
                evaluation.report.entities.as_ref().map(|entities| entities.micro.f1)
            }
            (Evaluation::Tagging(evaluation), Metric::Accuracy) => {
                Some(evaluation.report.tags.accuracy)
            }
            (Evaluation::QuestionAnswering(evaluation), Metric::F1) => Some(evaluation.f1()),
            (Evaluation::QuestionAnswering(evaluation), Metric::Exact) => Some(evaluation.exact()),
            _ => None,
        }
    }
}

impl Evaluation {
    /// Was every example given the same label, though they have several?
    pub fn is_collapsed(&self) -> bool {
        let report = match self {
            Evaluation::Classification(evaluation) => &evaluation.report,
            Evaluation::Tagging(evaluation) => &evaluation.report.tags,
            _ => return false,
        };
        let given = (0..report.labels.len())
            .filter(|label| report.confusion_matrix.iter().any(|row| row[*label] > 0));
        given.count() < 2 && report.per_class.iter().filter(|class| class.support > 0).count() > 1
    }

    /// Above it, a question has no answer; where some have none.
    pub fn no_answer_threshold(&self) -> Option<f64> {
        match self {
            Evaluation::QuestionAnswering(evaluation) => evaluation.no_answer_threshold,
            _ => None,
        }
    }
}

/// # Errors
/// There are pairs, and the model has an embedding for one segment only.
pub fn check_pairs(examples: &Examples, config: &ElectraConfig) -> Result<()> {
    if config.type_vocab_size > 1 || !examples.has_pairs() {
        return Ok(());
    }
    Err(Error::new("config.json, type_vocab_size", "1: this model takes no pairs of texts")
        .fix("Use single texts, or another model."))
}

/// The places of the rows with the highest loss, worst first: as many as an evaluation lists.
fn worst_first(losses: &[f64]) -> impl Iterator<Item = usize> {
    const WORST: usize = 20;
    let mut order: Vec<usize> = (0..losses.len()).collect();
    order.sort_by(|a, b| losses[*b].total_cmp(&losses[*a]).then(a.cmp(b)));
    order.into_iter().take(WORST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{Example, ScoredExample};

    /// What a task says it has is what its evaluations have.
    #[test]
    fn metrics_are_those_of_the_task() {
        let example = |label| Example { row: 1, text: "a".into(), pair: None, label: Some(label) };
        let classes = Classification {
            examples: vec![example(0), example(1)],
            labels: vec!["0".into(), "1".into()],
            skipped: vec![],
        };
        let example = |score| ScoredExample { row: 1, text: "a".into(), pair: None, score };
        let scores = Regression {
            examples: vec![example(Some(1.0)), example(Some(2.0))],
            minimum: 0.0,
            maximum: 5.0,
            skipped: vec![],
        };
        let logits = [vec![0.1, 0.2], vec![0.3, 0.5]];
        for (kind, evaluation) in [
            (
                Kind::Classification,
                Evaluation::Classification(classification::evaluate(&classes, &logits)),
            ),
            (Kind::Regression, Evaluation::Regression(regression::evaluate(&scores, &logits))),
        ] {
            for metric in Metric::ALL {
                assert_eq!(Metric::named(metric.name()), Some(metric));
                let is_there = evaluation.metric(metric).is_some();
                assert_eq!(is_there, metric.is_of(kind), "{metric:?} of {kind:?}");
            }
            assert_eq!(evaluation.score_by(None), evaluation.score());
        }
        assert_eq!(Metric::named("loss"), None);
    }
}
