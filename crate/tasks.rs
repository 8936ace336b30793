//! What a network is used for: features, loss and decoding, a file a task.

use burn::tensor::Tensor;
use serde_json::{Value, json};

use crate::batch::{Batch, Features, Width};
use crate::config::ElectraConfig;
use crate::dataset::glue::{self, Split, read_glue_as};
use crate::dataset::{
    ColumnChoice, Detected, Kind, LabelledFile, Problem, Question, Questions, Sentence, Table,
    Tagging, TextExample, Texts, choose_columns, choose_score_columns, detect, in_file,
    multi_label as read_multi_label, read_questions, read_tagging, regression as read_regression,
    split_questions, split_tagging,
};
use crate::error::{Error, Result};
use crate::heads::{Architecture, class_names, num_labels};
use crate::tokenizer::Tokenizer;

pub mod classification;
pub mod detection;
mod evaluation;
mod measured;
pub mod multi_label;
pub mod question_answering;
pub mod regression;
pub mod tagging;
mod texts;

pub use evaluation::{Evaluation, Metric};
pub use measured::Measured;
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
        Architecture::PreTraining | Architecture::MaskedLm | Architecture::Model => None,
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
    /// The column or JSON field of the tags: its name, or its number where columns have none.
    pub tag_column: Option<String>,
    /// Of spreadsheets to train on and to evaluate on; the first with rows where absent.
    pub sheet: Option<String>,
    pub eval_sheet: Option<String>,
    /// The file is one of this task's, with its columns and labels.
    pub glue: Option<&'static glue::Task>,
    /// The labels where the model has none yet; found in the file where absent.
    pub labels: Option<Vec<String>>,
}

impl Reading {
    /// The task that the options or the file tell, and why.
    ///
    /// # Errors
    /// As [`detect`].
    pub fn detect(&self, file: &LabelledFile) -> Result<Detected> {
        match (&self.label_columns[..], &self.tag_column) {
            ([], None) => detect(file, &self.columns),
            ([], Some(_)) => Ok(Detected::new(Kind::Tagging, "a column of tags was named")),
            _ => Ok(Detected::new(Kind::MultiLabel, "a column for each label was named")),
        }
    }
}

/// What a model knows already of a task: its labels in the order of its logits, or its range of
/// scores.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Known {
    pub labels: Option<Vec<String>>,
    pub range: Option<(f64, f64)>,
}

impl Known {
    /// Of a model that was fine-tuned for `kind`; nothing of any other. Labels without names are
    /// `LABEL_0` and so on, as in transformers; without a range, what the network gives is the score.
    ///
    /// # Errors
    /// As [`kind_of`].
    pub fn of(config: &ElectraConfig, kind: Kind) -> Result<Self> {
        if kind_of(config)? != Some(kind) {
            return Ok(Known::default());
        }
        Ok(match kind {
            Kind::Regression => {
                Known { range: config.score_range.or(Some((0.0, 1.0))), labels: None }
            }
            Kind::QuestionAnswering => Known::default(),
            _ => Known { labels: Some(class_names(config)), range: None },
        })
    }
}

/// Examples of one task.
#[derive(Debug, Clone, PartialEq)]
pub enum Examples {
    Texts(Texts),
    Tagging(Tagging),
    QuestionAnswering(Questions),
}

impl Examples {
    /// Reads a file for a task.
    ///
    /// # Errors
    /// The file cannot be read, or nothing in it can be used; the error names the file.
    pub fn read(kind: Kind, file: &LabelledFile, reading: &Reading, known: &Known) -> Result<Self> {
        let LabelledFile { name, bytes, .. } = *file;
        let labels = known.labels.as_deref().or(reading.labels.as_deref());
        if let Some(task) = reading.glue {
            return read_glue_as(task, Split::Train, name, bytes, labels, known.range)
                .map(Self::Texts);
        }
        match kind {
            Kind::Tagging => {
                let tags = reading.tag_column.as_deref();
                return Ok(Self::Tagging(read_tagging(file, tags, labels)?));
            }
            Kind::QuestionAnswering => {
                return Ok(Self::QuestionAnswering(read_questions(name, bytes)?));
            }
            _ => {}
        }
        Self::from_table(kind, file.table()?, reading, known).map_err(|error| in_file(name, error))
    }

    /// The same of a table that was read, for a task that is told from columns.
    ///
    /// # Errors
    /// There are no such columns, or no row can be used.
    pub fn from_table(kind: Kind, table: &Table, reading: &Reading, known: &Known) -> Result<Self> {
        let labels = known.labels.as_deref().or(reading.labels.as_deref());
        let choice = &reading.columns;
        let set = match kind {
            Kind::Regression => {
                read_regression(table, &choose_score_columns(table, choice)?, known.range)
            }
            Kind::MultiLabel => {
                let columns = choose_columns(table, choice)?;
                read_multi_label(table, &columns, &reading.label_columns, labels)
            }
            _ => classification::labelled(table, choice, labels),
        };
        set.map(Self::Texts)
    }

    pub fn kind(&self) -> Kind {
        match self {
            Examples::Texts(set) => set.kind,
            Examples::Tagging(_) => Kind::Tagging,
            Examples::QuestionAnswering(_) => Kind::QuestionAnswering,
        }
    }

    /// Texts, sentences or questions.
    pub fn len(&self) -> usize {
        match self {
            Examples::Texts(set) => set.examples.len(),
            Examples::Tagging(set) => set.sentences.len(),
            Examples::QuestionAnswering(set) => set.examples.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn skipped(&self) -> &[Problem] {
        match self {
            Examples::Texts(set) => &set.skipped,
            Examples::Tagging(set) => &set.skipped,
            Examples::QuestionAnswering(set) => &set.skipped,
        }
    }

    /// Which columns were taken, where there was a choice that nobody made.
    pub fn notes(&self) -> &[String] {
        match self {
            Examples::Tagging(set) => &set.notes,
            _ => &[],
        }
    }

    /// Of classes and tags, in the order of the logits; empty for scores and questions.
    fn labels(&self) -> &[String] {
        match self {
            Examples::Texts(set) => &set.labels,
            Examples::Tagging(set) => &set.labels,
            Examples::QuestionAnswering(_) => &[],
        }
    }

    /// The labels or the range that a model of these examples knows.
    pub fn known(&self) -> Known {
        let has_labels = !matches!(self.kind(), Kind::Regression | Kind::QuestionAnswering);
        let range = match self {
            Examples::Texts(set) => set.range,
            _ => None,
        };
        Known { labels: has_labels.then(|| self.labels().to_vec()), range }
    }

    /// How often each label occurs, in their order; empty for scores and questions.
    pub fn label_counts(&self) -> Vec<(String, usize)> {
        let mut counts = vec![0; self.labels().len()];
        let mut count = |id: usize| counts[id] += 1;
        match self {
            Examples::Texts(set) => set.label_ids().for_each(&mut count),
            Examples::Tagging(set) => {
                let ids = set.sentences.iter().filter_map(|s| s.labels.as_ref()).flatten();
                ids.copied().for_each(&mut count);
            }
            Examples::QuestionAnswering(_) => {}
        }
        self.labels().iter().cloned().zip(counts).collect()
    }

    /// Does any example have a second text?
    pub fn has_pairs(&self) -> bool {
        match self {
            Examples::Texts(set) => set.examples.iter().any(|e| e.pair.is_some()),
            Examples::Tagging(_) => false,
            Examples::QuestionAnswering(_) => true,
        }
    }

    /// Is there something to learn from, or to measure by?
    pub fn is_labelled(&self) -> bool {
        match self {
            Examples::Texts(set) => set.examples.iter().all(|e| e.target.is_some()),
            Examples::Tagging(set) => set.sentences.iter().all(|s| s.labels.is_some()),
            Examples::QuestionAnswering(set) => set.examples.iter().all(|q| q.is_labelled()),
        }
    }

    /// # Errors
    /// There are examples without a label; `name` is their file.
    pub fn labelled(self, name: &str) -> Result<Self> {
        match self.is_labelled() {
            true => Ok(self),
            false => Err(Error::new(name, "there are examples without a label")
                .fix("Label them, or leave them out; electra predict takes unlabelled ones.")),
        }
    }

    /// At most so many of the examples, from all over the file.
    pub fn sample(mut self, most: usize) -> Self {
        fn thin<T>(examples: &mut Vec<T>, most: usize) {
            let every = examples.len().div_ceil(most.max(1)).max(1);
            let mut place = 0;
            examples.retain(|_| {
                place += 1;
                (place - 1) % every == 0
            });
        }
        match &mut self {
            Examples::Texts(set) => thin(&mut set.examples, most),
            Examples::Tagging(set) => thin(&mut set.sentences, most),
            Examples::QuestionAnswering(set) => thin(&mut set.examples, most),
        }
        self
    }

    /// Training and evaluation examples, the same ones for a seed on every machine.
    pub fn split(self, fraction: f64, seed: u64) -> (Self, Self) {
        fn both<T>(parts: (T, T), wrap: fn(T) -> Examples) -> (Examples, Examples) {
            (wrap(parts.0), wrap(parts.1))
        }
        match self {
            Examples::Texts(set) => both(set.split(fraction, seed), Examples::Texts),
            Examples::Tagging(set) => both(split_tagging(set, fraction, seed), Examples::Tagging),
            Examples::QuestionAnswering(set) => {
                both(split_questions(set, fraction, seed), Examples::QuestionAnswering)
            }
        }
    }

    /// The same with every pair a second time, its texts exchanged: for tasks where their order
    /// means nothing (the original does so for MRPC and STS).
    pub fn doubled(mut self) -> Self {
        if let Examples::Texts(set) = &mut self {
            let swapped = |example: &TextExample| {
                let (text, pair) = (example.pair.clone()?, Some(example.text.clone()));
                Some(TextExample { text, pair, ..example.clone() })
            };
            let more: Vec<_> = set.examples.iter().filter_map(swapped).collect();
            set.examples.extend(more);
        }
        self
    }

    /// The logits that a head for these examples gives, and their targets.
    pub fn width(&self) -> Width {
        match self {
            Examples::Texts(set) if set.kind == Kind::Regression => {
                Width { labels: 1, per_token: false }
            }
            Examples::Texts(set) => Width { labels: set.labels.len(), per_token: false },
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
        match self {
            Examples::Texts(set) => {
                let features = texts::features(tokenizer, set, length)?;
                Ok(Encoded { features, windows: Windows::Rows, skipped: Vec::new() })
            }
            Examples::Tagging(set) => {
                let (features, windows) = tagging::features(tokenizer, &set.sentences, length)?;
                Ok(Encoded { features, windows: Windows::Tags(windows), skipped: Vec::new() })
            }
            Examples::QuestionAnswering(set) => {
                let ((features, windows), skipped) = question_answering::features(
                    tokenizer,
                    &set.examples,
                    windowing,
                    for_training,
                )?;
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
            (Examples::Texts(set), _) => {
                let line = |(example, logits): (&TextExample, &Vec<f32>)| {
                    let (prediction, key, label) = text_prediction(set, example, logits, config);
                    labelled(prediction, example.row, key, label)
                };
                set.examples.iter().zip(logits).map(line).collect()
            }
            (Examples::Tagging(set), Windows::Tags(windows)) => {
                let decoded = tagging::decode(&set.sentences, windows, logits, set.labels.len());
                let line = |(sentence, words): (&Sentence, &Vec<tagging::WordLabel>)| {
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
                let line = |(question, answer): (&Question, _)| {
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
            (Examples::Texts(set), _) => match set.kind {
                Kind::MultiLabel => Evaluation::MultiLabel(multi_label::evaluate(set, logits)),
                Kind::Regression => Evaluation::Regression(regression::evaluate(set, logits)),
                _ => Evaluation::Classification(classification::evaluate(set, logits)),
            },
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

/// What a model says of a text, the field for what would have been right, and that.
fn text_prediction(
    set: &Texts,
    example: &TextExample,
    logits: &[f32],
    config: &ElectraConfig,
) -> (Value, &'static str, Value) {
    let labels = &set.labels;
    match set.kind {
        Kind::MultiLabel => {
            let own = example.classes().unwrap_or_default().iter().zip(labels);
            let own: Vec<_> = own.filter(|(own, _)| **own).map(|(_, name)| name).collect();
            (json!(multi_label::Prediction::new(logits, labels)), "true_labels", json!(own))
        }
        Kind::Regression => {
            let value = regression::value(logits[0], config.score_range);
            (json!({"value": value}), "true_value", json!(example.score()))
        }
        _ => {
            let prediction = classification::Prediction::new(logits, labels, true);
            let label = example.class().map(|label| &labels[label]);
            (json!(prediction), "true_label", json!(label))
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

/// What the features at the same place are of.
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

/// # Errors
/// There are pairs, and the model has an embedding for one segment only.
pub fn check_pairs(examples: &Examples, config: &ElectraConfig) -> Result<()> {
    if config.type_vocab_size > 1 || !examples.has_pairs() {
        return Ok(());
    }
    Err(Error::new("config.json, type_vocab_size", "1: this model takes no pairs of texts")
        .fix("Use single texts, or another model."))
}
