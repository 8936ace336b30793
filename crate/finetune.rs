//! From a model folder and a file of labelled text to a running [`Trainer`]: what
//! `electra finetune` and the page do alike.

use burn::tensor::Device;
use serde::Serialize;
use serde_json::Value;

use crate::checkpoint::{self, ModelFiles};
use crate::config::ElectraConfig;
use crate::dataset::{
    Classification, ColumnChoice, Columns, Example, Format, Kind, Problem, Table, choose_columns,
    classification, detect, label_counts,
};
use crate::error::{Error, Result};
use crate::tasks::{Encoded, Examples, Known, Reading, architecture, check_pairs, kind_of};
use crate::tokenizer::{Tokenizer, Truncation};
use crate::train::{FinetuneConfig, Trainer};

/// Problems listed in full; beyond, they are counted.
const LISTED: usize = 50;

/// How often a label occurs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LabelCount {
    pub label: String,
    pub count: usize,
}

/// What a file holds, before anything is trained on it.
#[derive(Debug, Serialize)]
pub struct Inspection {
    pub format: Format,
    pub has_header: bool,
    pub columns: Vec<String>,
    pub rows: usize,
    pub chosen: Columns,
    pub labels: Vec<LabelCount>,
    pub lengths: Lengths,
    pub skipped: Vec<Problem>,
    pub skipped_count: usize,
    /// The first rows as they stand.
    pub preview: Vec<Vec<Option<String>>>,
}

/// How long the texts are, in tokens, `[CLS]` and `[SEP]` included.
#[derive(Debug, Serialize)]
pub struct Lengths {
    pub bins: Vec<Bin>,
    pub mean: f64,
    pub max: usize,
    /// Texts that `max_seq_length` cuts.
    pub truncated: usize,
}

/// Texts of `from` up to and including `to` tokens.
#[derive(Debug, Serialize)]
pub struct Bin {
    pub from: usize,
    pub to: usize,
    pub count: usize,
}

/// Looks into a table.
///
/// # Errors
/// A column that was asked for is not there, or no text column can be found.
pub fn inspect(
    table: &Table,
    choice: &ColumnChoice,
    tokenizer: &Tokenizer,
    max_seq_length: usize,
) -> Result<Inspection> {
    let chosen = choose_columns(table, choice)?;
    let set = match chosen.label {
        Some(_) => classification(table, &chosen, None)?,
        None => classification(table, &chosen, Some(&[]))?,
    };
    let lengths = lengths(&set.examples, tokenizer, max_seq_length)?;
    Ok(Inspection {
        format: table.format,
        has_header: table.has_header,
        columns: table.columns.clone(),
        rows: table.rows.len(),
        chosen,
        labels: counts(&set),
        lengths,
        skipped_count: set.skipped.len(),
        skipped: set.skipped.into_iter().take(LISTED).collect(),
        preview: table.rows.iter().take(5).map(|row| row.cells.clone()).collect(),
    })
}

fn counts(set: &Classification) -> Vec<LabelCount> {
    label_counts(set).into_iter().map(|(label, count)| LabelCount { label, count }).collect()
}

fn lengths(examples: &[Example], tokenizer: &Tokenizer, max_seq_length: usize) -> Result<Lengths> {
    const WIDTH: usize = 8;
    let length = |e: &Example| {
        let encoding =
            tokenizer.encode(&e.text, e.pair.as_deref(), usize::MAX, Truncation::LongestFirst)?;
        Ok(encoding.input_ids.len())
    };
    let lengths: Vec<usize> = examples.iter().map(length).collect::<Result<_>>()?;
    let max = lengths.iter().copied().max().unwrap_or(0);
    // The few very long texts share the last bin.
    let last = (max.clamp(1, 512) - 1) / WIDTH;
    let mut bins: Vec<Bin> =
        (0..=last).map(|i| Bin { from: i * WIDTH + 1, to: (i + 1) * WIDTH, count: 0 }).collect();
    bins[last].to = bins[last].to.max(max);
    for length in &lengths {
        bins[((length.max(&1) - 1) / WIDTH).min(last)].count += 1;
    }
    let mean = lengths.iter().sum::<usize>() as f64 / lengths.len().max(1) as f64;
    let truncated = lengths.iter().filter(|length| **length > max_seq_length).count();
    Ok(Lengths { bins, mean, max, truncated })
}

/// What a run will do.
#[derive(Debug, Clone, Serialize)]
pub struct TrainPlan {
    pub task: Kind,
    /// Texts, sentences or questions.
    pub train_rows: usize,
    pub eval_rows: usize,
    /// What the training rows come to once long ones are cut into windows.
    pub train_windows: usize,
    /// Of the training rows.
    pub labels: Vec<LabelCount>,
    pub steps: usize,
    pub steps_per_epoch: usize,
    pub epochs: f64,
    pub batch_size: usize,
    pub learning_rate: f64,
    pub max_seq_length: usize,
    /// `file`, or `held-out` rows of the training file.
    pub eval_source: &'static str,
    /// What always answering the most frequent training label would score; of tags, word by word.
    pub majority_accuracy: Option<f64>,
    pub skipped: Vec<Problem>,
    pub skipped_count: usize,
    pub notes: Vec<String>,
}

/// The settings of a run: what to read, and how to train.
#[derive(Debug, Clone, Default)]
pub struct FinetuneOptions {
    /// What the file looks like where absent.
    pub task: Option<Kind>,
    pub reading: Reading,
    pub config: FinetuneConfig,
}

impl FinetuneOptions {
    /// Reads `{task, textColumn, pairColumn, labelColumn, labelColumns, epochs, batchSize, ..}`.
    ///
    /// # Errors
    /// A key is unknown, or a value of the wrong kind.
    pub fn from_json(options: Value) -> Result<Self> {
        let wrong = |e: serde_json::Error| Error::new("options", e);
        let Value::Object(mut options) = options else {
            return Err(Error::new("options", "must be an object"));
        };
        options.retain(|_, value| !value.is_null());
        let task = options.remove("task").map(serde_json::from_value).transpose();
        let task = task.map_err(|e| Error::new("task", e))?;
        let label_columns = options.remove("labelColumns").map(serde_json::from_value).transpose();
        let mut text = |key: &str| match options.remove(key) {
            None => Ok(None),
            Some(value) => serde_json::from_value(value).map(Some).map_err(wrong),
        };
        let columns = ColumnChoice {
            text: text("textColumn")?,
            pair: text("pairColumn")?,
            label: text("labelColumn")?,
        };
        let label_columns = label_columns.map_err(wrong)?.unwrap_or_default();
        let config = serde_json::from_value(Value::Object(options)).map_err(wrong)?;
        Ok(FinetuneOptions { task, reading: Reading { columns, label_columns }, config })
    }
}

/// A file that was read: its name and what it holds.
#[derive(Debug, Clone)]
pub struct Source {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// A run that is ready to go.
#[derive(Debug)]
pub struct Run {
    pub trainer: Trainer,
    pub plan: TrainPlan,
    /// The model's config with the labels of the data.
    pub config: ElectraConfig,
}

/// Prepares everything for fine-tuning.
///
/// # Errors
/// The data cannot be used, the model cannot be loaded, or a setting is out of range.
pub fn start(
    files: &ModelFiles,
    tokenizer: &Tokenizer,
    train: &Source,
    eval: Option<&Source>,
    options: &FinetuneOptions,
    device: &Device,
) -> Result<Run> {
    let settings = &options.config;
    settings.check()?;
    let mut config = checkpoint::read_config(files)?;
    check_length(settings.max_seq_length, &config)?;
    let kind = match options.task {
        Some(kind) => kind,
        None => detect(&train.name, &train.bytes)?,
    };
    let known = Known::of(&config, kind)?;
    let (train_set, eval_set) = sets(kind, train, eval, options, known)?;
    let train_set = if settings.double_pairs { train_set.doubled() } else { train_set };
    check_pairs(&train_set, &config)?;
    set_task(&mut config, &train_set, settings.dropout);
    let loaded = load(files, config, &train_set, settings.seed, device)?;
    let encode = |set: &Examples, for_training: bool| {
        set.encode(tokenizer, &settings.windowing(), for_training)
    };
    let (train_encoded, eval_encoded) = (encode(&train_set, true)?, encode(&eval_set, false)?);
    check_vocabulary(tokenizer, &loaded.config)?;
    let mut plan = plan(&train_set, &train_encoded, &eval_set, eval.is_some(), settings);
    plan.notes = loaded.notes;
    let settings = settings.clone();
    let features = train_encoded.features;
    let trainer = Trainer::new(settings, loaded.model, features, eval_set, eval_encoded, device)?;
    Ok(Run { trainer, plan, config: loaded.config })
}

/// Training and evaluation examples with one set of labels.
fn sets(
    kind: Kind,
    train: &Source,
    eval: Option<&Source>,
    options: &FinetuneOptions,
    known: Known,
) -> Result<(Examples, Examples)> {
    let read = |source: &Source, known: &Known| {
        let examples = Examples::read(kind, &source.name, &source.bytes, &options.reading, known)?;
        match examples.is_labelled() {
            true => Ok(examples),
            false => Err(Error::new(&source.name, "there are examples without a label")
                .fix("Label them, or leave them out; electra predict takes unlabelled ones.")),
        }
    };
    let mut train_set = read(train, &Known::default())?;
    // Trained before on these labels: the weights of the head stand in the model's order.
    if is_same(&known, &train_set.known()) {
        train_set = read(train, &known)?;
    }
    let Some(eval) = eval else {
        let FinetuneConfig { eval_fraction, seed, .. } = options.config;
        let sets = train_set.split(eval_fraction, seed);
        if sets.0.is_empty() || sets.1.is_empty() {
            return Err(Error::new(&train.name, "there are too few rows to hold some out")
                .fix("Add rows, or give an evaluation file."));
        }
        return Ok(sets);
    };
    let eval_set = read(eval, &train_set.known())?;
    Ok((train_set, eval_set))
}

/// The same labels in any order, or any range where there is one already.
fn is_same(known: &Known, found: &Known) -> bool {
    match (&known.labels, &found.labels) {
        (Some(known), Some(found)) => {
            known.len() == found.len() && known.iter().all(|label| found.contains(label))
        }
        _ => known.range.is_some() && found.range.is_some(),
    }
}

/// The network to train: the folder's own where it is for this task and these labels, else a
/// fresh head on its body.
fn load(
    files: &ModelFiles,
    config: ElectraConfig,
    train: &Examples,
    seed: u64,
    device: &Device,
) -> Result<checkpoint::Loaded> {
    let before = checkpoint::read_config(files)?;
    let kind = train.kind();
    let same =
        kind_of(&before)? == Some(kind) && Known::of(&before, kind)?.labels == train.known().labels;
    if !same {
        return checkpoint::load_body(files, config, architecture(kind), seed, device);
    }
    let mut files = files.clone();
    // The same weights under the settings of this run.
    let config = ElectraConfig { architectures: before.architectures, ..config };
    files.insert("config.json".into(), config.to_json());
    let mut loaded = checkpoint::load(&files, device)?;
    loaded.notes.push(format!("training goes on from the model's own {} head", kind.name()));
    Ok(loaded)
}

fn set_task(config: &mut ElectraConfig, train: &Examples, dropout: Option<f64>) {
    config.score_range = None;
    config.no_answer_threshold = None;
    match (train.kind(), train.known()) {
        (kind, Known { labels: Some(labels), .. }) => {
            config.set_labels(&labels);
            config.problem_type = match kind {
                Kind::Classification => Some("single_label_classification".into()),
                Kind::MultiLabel => Some("multi_label_classification".into()),
                _ => None,
            };
        }
        (Kind::Regression, known) => {
            config.set_labels(&["LABEL_0".to_string()]);
            config.problem_type = Some("regression".into());
            config.score_range = known.range;
        }
        _ => (config.id2label, config.label2id, config.problem_type) = (None, None, None),
    }
    let name = architecture(train.kind()).name(config).to_string();
    config.architectures = Some(vec![name]);
    // From here on the weights are trained, if not pre-trained.
    config.untrained = false;
    if let Some(p) = dropout {
        config.hidden_dropout_prob = p;
        config.attention_probs_dropout_prob = p;
        config.classifier_dropout = Some(p);
    }
}

/// # Errors
/// The model has no positions for texts of that length.
pub fn check_length(max_seq_length: usize, config: &ElectraConfig) -> Result<()> {
    let limit = config.max_position_embeddings;
    if max_seq_length <= limit {
        return Ok(());
    }
    let problem = format!("{max_seq_length} is more than this model's {limit} positions");
    Err(Error::new("max_seq_length", problem).fix(format!("Choose {limit} or less.")))
}

/// # Errors
/// The tokenizer can give ids that the model has no embedding for.
pub fn check_vocabulary(tokenizer: &Tokenizer, config: &ElectraConfig) -> Result<()> {
    let (tokens, rows) = (tokenizer.vocab_size(), config.vocab_size);
    if tokens <= rows {
        return Ok(());
    }
    let problem = format!("has {tokens} tokens, but the model's vocab_size is {rows}");
    Err(Error::new("tokenizer", problem).fix("Use the tokenizer that belongs to the model."))
}

fn plan(
    train: &Examples,
    encoded: &Encoded,
    eval: &Examples,
    has_file: bool,
    settings: &FinetuneConfig,
) -> TrainPlan {
    let skipped = || train.skipped().iter().chain(&encoded.skipped).chain(eval.skipped());
    let counts = |set: &Examples| -> Vec<LabelCount> {
        let counts = set.label_counts().into_iter();
        counts.map(|(label, count)| LabelCount { label, count }).collect()
    };
    let windows = encoded.features.len();
    let (labels, eval_labels) = (counts(train), counts(eval));
    TrainPlan {
        task: train.kind(),
        train_rows: train.len(),
        eval_rows: eval.len(),
        train_windows: windows,
        steps: settings.steps(windows),
        steps_per_epoch: settings.steps_per_epoch(windows),
        epochs: settings.epochs,
        batch_size: settings.batch_size * settings.accumulate,
        learning_rate: settings.learning_rate,
        max_seq_length: settings.max_seq_length,
        eval_source: if has_file { "file" } else { "held-out" },
        majority_accuracy: majority(train.kind(), &labels, &eval_labels),
        skipped_count: skipped().count(),
        skipped: skipped().take(LISTED).cloned().collect(),
        notes: Vec::new(),
        labels,
    }
}

/// What always answering the most frequent training label would score, of one label an example
/// or a word.
fn majority(kind: Kind, train: &[LabelCount], eval: &[LabelCount]) -> Option<f64> {
    let one_each = matches!(kind, Kind::Classification | Kind::Tagging);
    let most = (0..train.len()).max_by_key(|i| train[*i].count).filter(|_| one_each)?;
    let all: usize = eval.iter().map(|label| label.count).sum();
    Some(eval[most].count as f64 / all.max(1) as f64)
}
