//! From a model folder and a file of labelled text to a running [`Trainer`]: what
//! `electra finetune` and the page do alike.

use burn::tensor::Device;
use serde::Serialize;
use serde_json::Value;

use crate::checkpoint::{self, ModelFiles};
use crate::config::ElectraConfig;
use crate::dataset::{
    Classification, ColumnChoice, Columns, Example, Format, Problem, Table, choose_columns,
    classification, label_counts, train_eval_split,
};
use crate::error::{Error, Result};
use crate::heads::Architecture;
use crate::tasks::classification as task;
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
    pub train_rows: usize,
    pub eval_rows: usize,
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
    /// What always answering the most frequent training label would score.
    pub majority_accuracy: f64,
    pub skipped: Vec<Problem>,
    pub skipped_count: usize,
    pub notes: Vec<String>,
}

/// The settings of a run: what to read, and how to train.
#[derive(Debug, Clone, Default)]
pub struct FinetuneOptions {
    pub columns: ColumnChoice,
    pub config: FinetuneConfig,
}

impl FinetuneOptions {
    /// Reads `{textColumn, pairColumn, labelColumn, epochs, batchSize, ..}`.
    ///
    /// # Errors
    /// A key is unknown, or a value of the wrong kind.
    pub fn from_json(options: Value) -> Result<Self> {
        let wrong = |e: serde_json::Error| Error::new("options", e);
        let Value::Object(mut options) = options else {
            return Err(Error::new("options", "must be an object"));
        };
        options.retain(|_, value| !value.is_null());
        if let Some(task) = options.remove("task").filter(|task| task != "classification") {
            return Err(Error::new("task", format!("{task} is not known"))
                .fix("There is \"classification\"."));
        }
        let mut text = |key: &str| match options.remove(key) {
            None => Ok(None),
            Some(value) => serde_json::from_value(value).map(Some).map_err(wrong),
        };
        let columns = ColumnChoice {
            text: text("textColumn")?,
            pair: text("pairColumn")?,
            label: text("labelColumn")?,
        };
        let config = serde_json::from_value(Value::Object(options)).map_err(wrong)?;
        Ok(FinetuneOptions { columns, config })
    }
}

/// A run that is ready to go.
#[derive(Debug)]
pub struct Run {
    pub trainer: Trainer,
    pub plan: TrainPlan,
    /// The model's config with the labels of the data.
    pub config: ElectraConfig,
}

/// Prepares everything for training a classifier.
///
/// # Errors
/// The data cannot be used, the model cannot be loaded, or a setting is out of range.
pub fn start(
    files: &ModelFiles,
    tokenizer: &Tokenizer,
    train: &Table,
    eval: Option<&Table>,
    options: FinetuneOptions,
    device: &Device,
) -> Result<Run> {
    let FinetuneOptions { columns: choice, config: settings } = options;
    settings.check()?;
    let mut config = checkpoint::read_config(files)?;
    check_length(settings.max_seq_length, &config)?;
    let own = own_labels(&config)?;
    let (train_set, eval_set) = sets(train, eval, &choice, &settings, own)?;
    check_pairs(&train_set, &config)?;
    set_task(&mut config, &train_set.labels, settings.dropout);
    let seed = settings.seed;
    let loaded = load(files, config, &train_set.labels, seed, device)?;
    let encode =
        |set: &Classification| task::features(tokenizer, &set.examples, settings.max_seq_length);
    let (train_features, eval_features) = (encode(&train_set)?, encode(&eval_set)?);
    check_vocabulary(tokenizer, &loaded.config)?;
    let mut plan = plan(&train_set, &eval_set, eval.is_some(), &settings);
    plan.notes = loaded.notes;
    let trainer =
        Trainer::new(settings, loaded.model, train_features, eval_set, eval_features, device)?;
    Ok(Run { trainer, plan, config: loaded.config })
}

/// Training and evaluation rows with one set of labels.
fn sets(
    train: &Table,
    eval: Option<&Table>,
    choice: &ColumnChoice,
    settings: &FinetuneConfig,
    own: Option<Vec<String>>,
) -> Result<(Classification, Classification)> {
    let mut train_set = labelled(train, choice, None)?;
    // Trained before on these labels: the weights of the head stand in the model's order.
    let same = |own: &Vec<String>| {
        own.len() == train_set.labels.len() && own.iter().all(|l| train_set.labels.contains(l))
    };
    if let Some(own) = own.filter(same) {
        train_set = labelled(train, choice, Some(&own))?;
    }
    let Some(eval) = eval else {
        let sets = train_eval_split(train_set, settings.eval_fraction, settings.seed);
        if sets.1.examples.is_empty() {
            return Err(Error::new(&train.name, "there are too few rows to hold some out")
                .fix("Add rows, or give an evaluation file."));
        }
        return Ok(sets);
    };
    let mut eval_set = labelled(eval, choice, Some(&train_set.labels))?;
    for problem in &mut eval_set.skipped {
        problem.reason = format!("{} ({})", problem.reason, eval.name);
    }
    Ok((train_set, eval_set))
}

/// The labelled rows of a table; `labels` as in [`classification`].
///
/// # Errors
/// There is no label column, or no row can be used; the error names the file.
pub fn labelled(
    table: &Table,
    choice: &ColumnChoice,
    labels: Option<&[String]>,
) -> Result<Classification> {
    let inside = |e: Error| Error { place: format!("{}, {}", table.name, e.place), ..e };
    let columns = choose_columns(table, choice).map_err(inside)?;
    if columns.label.is_none() {
        let problem = format!("no label column among {}", table.columns.join(", "));
        return Err(Error::new(&table.name, problem)
            .fix("Name it: --label-column, or labelColumn in the browser."));
    }
    classification(table, &columns, labels).map_err(inside)
}

/// The labels of a model that classifies already.
fn own_labels(config: &ElectraConfig) -> Result<Option<Vec<String>>> {
    let classifies = Architecture::of(config)? == Architecture::SequenceClassification;
    Ok(config.labels().filter(|_| classifies))
}

/// # Errors
/// There are pairs, and the model has an embedding for one segment only.
pub fn check_pairs(set: &Classification, config: &ElectraConfig) -> Result<()> {
    if config.type_vocab_size > 1 || set.examples.iter().all(|example| example.pair.is_none()) {
        return Ok(());
    }
    Err(Error::new("config.json, type_vocab_size", "1: this model takes no pairs of texts")
        .fix("Use single texts, or another model."))
}

/// The classifier to train: the folder's own where it has these labels, else a fresh head on
/// its body.
fn load(
    files: &ModelFiles,
    config: ElectraConfig,
    labels: &[String],
    seed: u64,
    device: &Device,
) -> Result<checkpoint::Loaded> {
    let before = checkpoint::read_config(files)?;
    let architecture = Architecture::SequenceClassification;
    let same_task =
        Architecture::of(&before)? == architecture && before.labels().as_deref() == Some(labels);
    if !same_task {
        return checkpoint::load_body(files, config, architecture, seed, device);
    }
    let mut files = files.clone();
    // The same weights under the settings of this run.
    let config = ElectraConfig { architectures: before.architectures, ..config };
    files.insert("config.json".into(), config.to_json());
    let mut loaded = checkpoint::load(&files, device)?;
    loaded.notes.push("training goes on from the model's own classifier".into());
    Ok(loaded)
}

fn set_task(config: &mut ElectraConfig, labels: &[String], dropout: Option<f64>) {
    config.set_labels(labels);
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
    train: &Classification,
    eval: &Classification,
    has_file: bool,
    settings: &FinetuneConfig,
) -> TrainPlan {
    let labels = counts(train);
    let majority = (0..labels.len()).max_by_key(|i| labels[*i].count).unwrap_or(0);
    let hits = eval.examples.iter().filter(|e| e.label == Some(majority)).count();
    let skipped = train.skipped.iter().chain(&eval.skipped);
    TrainPlan {
        train_rows: train.examples.len(),
        eval_rows: eval.examples.len(),
        steps: settings.steps(train.examples.len()),
        steps_per_epoch: settings.steps_per_epoch(train.examples.len()),
        epochs: settings.epochs,
        batch_size: settings.batch_size * settings.accumulate,
        learning_rate: settings.learning_rate,
        max_seq_length: settings.max_seq_length,
        eval_source: if has_file { "file" } else { "held-out" },
        majority_accuracy: hits as f64 / eval.examples.len().max(1) as f64,
        skipped_count: skipped.clone().count(),
        skipped: skipped.take(LISTED).cloned().collect(),
        notes: Vec::new(),
        labels,
    }
}
