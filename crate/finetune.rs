//! From a model folder and a file of labelled text to a running [`Trainer`]: what
//! `electra finetune` and the page do alike.

use burn::tensor::Device;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::batch::Features;
use crate::config::{ElectraConfig, QaHead};
use crate::dataset::{ColumnChoice, Detected, Kind, LabelledFile, Problem, are_same};
use crate::error::{Error, Result, listed, nearest};
use crate::heads::{Electra, num_labels};
use crate::pretrained::{self, Files};
use crate::seed::stream;
use crate::tasks::{Encoded, Examples, Known, Reading, architecture, check_pairs, kind_of};
use crate::tokenizer::Tokenizer;
use crate::train::{FinetuneConfig, Job, Trainer};

mod baseline;
mod fitting;

pub use baseline::Baseline;
use baseline::{baseline, duplicates};
pub use fitting::{Effort, Fitting, Open, TABLE};

/// Problems listed in full; beyond, they are counted.
pub(crate) const LISTED: usize = 50;

/// How often a label occurs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LabelCount {
    pub label: String,
    pub count: usize,
}

impl LabelCount {
    /// Of every label, in their order; none where examples have scores or answers.
    pub fn all(set: &Examples) -> Vec<Self> {
        let counts = set.label_counts().into_iter();
        counts.map(|(label, count)| LabelCount { label, count }).collect()
    }
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
    /// What would be scored without a network.
    pub baseline: Option<Baseline>,
    /// Examples to measure on that are among those to learn from, too.
    pub duplicates: usize,
    /// The share of `[UNK]` among the tokens of the training rows, special ones aside.
    pub unknown_tokens: f64,
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
    /// Settings of `config` that nobody gave and that are to fit the data.
    pub open: Open,
    /// Learn from so many of the training examples, evenly chosen; for a caller that measures how
    /// long a step takes.
    pub sample: Option<usize>,
}

impl FinetuneOptions {
    /// Reads `{task, textColumn, pairColumn, labelColumn, labelColumns, tagColumn, sheet,
    /// evalSheet, effort, epochs,
    /// ..}`; epochs, batchSize and learningRate fit the data where they are absent.
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
        let effort = options.remove("effort").map(serde_json::from_value).transpose();
        let effort = effort.map_err(|e| Error::new("effort", e))?.unwrap_or_default();
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
        let tag_column = text("tagColumn")?;
        let (sheet, eval_sheet) = (text("sheet")?, text("evalSheet")?);
        let label_columns = label_columns.map_err(wrong)?.unwrap_or_default();
        check_names(&options)?;
        let is_open = |name: &str| !options.contains_key(name);
        let (epochs, batch_size) = (is_open("epochs"), is_open("batchSize"));
        let open = Open { effort, epochs, batch_size, learning_rate: is_open("learningRate") };
        let config = serde_json::from_value(Value::Object(options)).map_err(wrong)?;
        let reading =
            Reading { columns, label_columns, tag_column, sheet, eval_sheet, ..Reading::default() };
        Ok(FinetuneOptions { task, reading, config, open, sample: None })
    }
}

/// The names of settings are those of [`FinetuneConfig`]: no other list is to be kept.
fn check_names(settings: &Map<String, Value>) -> Result<()> {
    let known = serde_json::to_value(FinetuneConfig::default()).expect("plain data");
    let known: Vec<&String> = known.as_object().expect("a struct").keys().collect();
    let Some(wrong) = settings.keys().find(|name| !known.contains(name)) else { return Ok(()) };
    let near = nearest(wrong, &known);
    let near = near.map_or(String::new(), |near| format!("Did you mean {near}? "));
    Err(Error::new(format!("option {wrong:?}"), "there is no such option")
        .fix(format!("{near}The options are {}.", listed(&known))))
}

/// A file that was read: its name and what it holds.
#[derive(Debug, Clone)]
pub struct Source {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// The files of one task.
#[derive(Debug, Clone, Copy)]
pub struct TaskFiles<'a> {
    /// What the training file looks like where absent.
    pub kind: Option<Kind>,
    pub train: &'a Source,
    pub eval: Option<&'a Source>,
}

/// Prepares everything for fine-tuning on a task, or on several that share a body; all are read
/// and trained with the same options. The plan of each comes with it, its steps those of the whole
/// run.
///
/// # Errors
/// The data cannot be used, the model cannot be loaded, or a setting is out of range.
pub fn start(
    files: &dyn Files,
    tokenizer: &Tokenizer,
    tasks: &[TaskFiles],
    options: &FinetuneOptions,
    device: &Device,
) -> Result<(Trainer, Vec<TrainPlan>)> {
    options.config.check()?;
    let model = pretrained::read_config(files)?;
    check_length(options.config.max_seq_length, &model)?;
    let (mut models, mut jobs, mut plans) = (Vec::new(), Vec::new(), Vec::new());
    for (number, task) in tasks.iter().enumerate() {
        let Prepared { model, job, plan } =
            prepare(files, tokenizer, number, *task, options, device)?;
        models.push(model);
        jobs.push(job);
        plans.push(plan);
    }
    let rows = plans.iter().map(|plan| plan.train_rows).sum();
    // Several labels only where every task has them.
    let mut kinds = jobs.iter().map(|job| job.eval.kind());
    let kind = kinds.find(|kind| *kind != Kind::MultiLabel).unwrap_or(Kind::MultiLabel);
    let settings = options.open.fit(&options.config, kind, rows, &model);
    let windows: Vec<usize> = plans.iter().map(|plan| plan.train_windows).collect();
    for plan in &mut plans {
        plan.epochs = settings.epochs;
        plan.batch_size = settings.batch_size * settings.accumulate;
        plan.learning_rate = settings.learning_rate;
        plan.steps = settings.steps(&windows);
        plan.steps_per_epoch = settings.steps_per_epoch(&windows);
    }
    Ok((Trainer::new(settings, models, jobs, device)?, plans))
}

/// One task of a run.
struct Prepared {
    model: Electra,
    job: Job,
    plan: TrainPlan,
}

fn prepare(
    files: &dyn Files,
    tokenizer: &Tokenizer,
    number: usize,
    TaskFiles { kind, train, eval }: TaskFiles,
    options: &FinetuneOptions,
    device: &Device,
) -> Result<Prepared> {
    let settings = &options.config;
    let mut config = pretrained::read_config(files)?;
    let mut notes = vec![];
    let sheet = options.reading.sheet.as_deref();
    let file = LabelledFile::new(&train.name, &train.bytes).with_sheet(sheet);
    let kind = match kind {
        Some(kind) => kind,
        None => {
            let Detected { task, reason } = options.reading.detect(&file)?;
            notes.push(format!(
                "the task is taken to be {}: {reason}; --task for another",
                task.name()
            ));
            task
        }
    };
    check_metric(settings, kind)?;
    let known = Known::of(&config, kind)?;
    // A model whose config says no range may give scores on any.
    let range = known.range.filter(|_| config.score_range.is_some());
    let known = Known { range, ..known };
    let (train_set, eval_set) = sets(kind, &file, eval, options, known)?;
    notes.extend(file.note());
    notes.extend_from_slice(train_set.notes());
    let train_set = if settings.double_pairs { train_set.doubled() } else { train_set };
    check_pairs(&train_set, &config)?;
    config.qa_head = qa_head(kind, settings.qa_head, config.qa_head)?;
    set_task(&mut config, &train_set, settings.dropout);
    // Two heads of one shape do not start alike.
    let seed =
        if number == 0 { settings.seed } else { stream(settings.seed, "head", number as u64) };
    let loaded = load(files, config, &train_set, seed, device)?;
    let encode = |set: &Examples, for_training: bool| {
        set.encode(tokenizer, &settings.windowing(), for_training)
    };
    let (train_encoded, encoded) = (encode(&train_set, true)?, encode(&eval_set, false)?);
    check_vocabulary(tokenizer, &loaded.config)?;
    let mut plan = plan(&train_set, &train_encoded, &eval_set, eval.is_some(), settings);
    plan.baseline = baseline(&train_set, &eval_set, &encoded, settings.metric);
    notes.extend(duplicates_note(plan.duplicates, plan.eval_rows));
    plan.unknown_tokens = unknown_share(tokenizer, &train_encoded.features);
    notes.extend(unknown_note(plan.unknown_tokens));
    plan.notes = [loaded.notes, notes].concat();
    let job = Job { config: loaded.config, train: train_encoded.features, eval: eval_set, encoded };
    Ok(Prepared { model: loaded.model, job, plan })
}

/// Training and evaluation examples with one set of labels.
fn sets(
    kind: Kind,
    train: &LabelledFile,
    eval: Option<&Source>,
    options: &FinetuneOptions,
    known: Known,
) -> Result<(Examples, Examples)> {
    let read = |file: &LabelledFile, known: &Known| {
        Examples::read(kind, file, &options.reading, known)?.labelled(file.name)
    };
    let mut train_set = read(train, &Known::default())?;
    // Trained before on these labels: the weights of the head stand in the model's order.
    if is_same(&known, &train_set.known()) {
        train_set = read(train, &known)?;
    }
    if let Some(most) = options.sample {
        train_set = train_set.sample(most);
    }
    let Some(eval) = eval else {
        let FinetuneConfig { eval_fraction, seed, .. } = options.config;
        let sets = train_set.split(eval_fraction, seed);
        if sets.0.is_empty() || sets.1.is_empty() {
            return Err(Error::new(train.name, "there are too few rows to hold some out")
                .fix("Add rows, or give an evaluation file."));
        }
        return Ok(sets);
    };
    let sheet = options.reading.eval_sheet.as_deref();
    let eval = LabelledFile::new(&eval.name, &eval.bytes).with_sheet(sheet);
    let eval_set = read(&eval, &train_set.known())?;
    Ok((train_set, eval_set))
}

/// The same labels in any order, or any range where there is one already.
fn is_same(known: &Known, found: &Known) -> bool {
    match (&known.labels, &found.labels) {
        (Some(known), Some(found)) => are_same(known, found),
        _ => known.range.is_some() && found.range.is_some(),
    }
}

/// The network to train: the folder's own where it is for this task and these labels, else a
/// fresh head on its body.
fn load(
    files: &dyn Files,
    config: ElectraConfig,
    train: &Examples,
    seed: u64,
    device: &Device,
) -> Result<pretrained::Loaded> {
    let before = pretrained::read_config(files)?;
    let kind = train.kind();
    let head = |config| architecture(kind).name(config);
    let same = kind_of(&before)? == Some(kind)
        && Known::of(&before, kind)? == train.known()
        && num_labels(&before) == num_labels(&config)
        && head(&before) == head(&config);
    if !same {
        return pretrained::load_body(files, config, architecture(kind), seed, device);
    }
    // The same weights under the settings of this run.
    let config = ElectraConfig { architectures: before.architectures, ..config };
    let mut loaded = pretrained::load_as(files, config, device)?;
    loaded.notes.push(format!("training goes on from the model's own {} head", kind.name()));
    Ok(loaded)
}

/// # Errors
/// A head for questions is asked for another task.
fn qa_head(kind: Kind, asked: Option<QaHead>, own: QaHead) -> Result<QaHead> {
    match (kind, asked) {
        (Kind::QuestionAnswering, asked) => Ok(asked.unwrap_or(own)),
        (_, None) => Ok(QaHead::default()),
        (other, Some(_)) => {
            let problem = format!("is for question-answering; the task is {}", other.name());
            Err(Error::new("qa_head", problem).fix("Leave it out, or name the other task."))
        }
    }
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

fn check_metric(settings: &FinetuneConfig, kind: Kind) -> Result<()> {
    match settings.metric.filter(|metric| !metric.is_of(kind)) {
        None => Ok(()),
        Some(metric) => {
            let problem = format!("{} is not measured in {}", metric.name(), kind.name());
            Err(Error::new("metric", problem).fix("Leave it out, or choose one of the task's."))
        }
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
    let windows = encoded.features.len();
    TrainPlan {
        task: train.kind(),
        train_rows: train.len(),
        eval_rows: eval.len(),
        train_windows: windows,
        steps: settings.steps(&[windows]),
        steps_per_epoch: settings.steps_per_epoch(&[windows]),
        epochs: settings.epochs,
        batch_size: settings.batch_size * settings.accumulate,
        learning_rate: settings.learning_rate,
        max_seq_length: settings.max_seq_length,
        eval_source: if has_file { "file" } else { "held-out" },
        baseline: None,
        duplicates: duplicates(train, eval),
        unknown_tokens: 0.0,
        skipped_count: skipped().count(),
        skipped: skipped().take(LISTED).cloned().collect(),
        notes: Vec::new(),
        labels: LabelCount::all(train),
    }
}

/// The share of `[UNK]` among the tokens, special ones aside.
fn unknown_share(tokenizer: &Tokenizer, features: &[Features]) -> f64 {
    let special = tokenizer.special_ids();
    let (mut all, mut unknown) = (0, 0);
    for id in features.iter().flat_map(|row| &row.input_ids) {
        all += usize::from(![special.cls, special.sep, special.pad].contains(id));
        unknown += usize::from(*id == special.unk);
    }
    unknown as f64 / all.max(1) as f64
}

/// A warning where so much of the texts is unknown that little can be learnt from them.
fn unknown_note(share: f64) -> Option<String> {
    (share > 0.2).then(|| {
        format!(
            "{:.0} % of the tokens are [UNK]: the vocabulary does not have these words; take a \
             model of the texts' language and script",
            share * 100.0
        )
    })
}

fn duplicates_note(count: usize, rows: usize) -> Option<String> {
    (count > 0).then(|| {
        format!("{count} of the {rows} rows to measure on are among those to learn from, too")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_known_by_the_names_of_the_config() {
        let options = json!({"labelColumn": "stars", "metric": "accuracy", "learningRate": 1e-3});
        let FinetuneOptions { config, open, .. } = FinetuneOptions::from_json(options).unwrap();
        assert_eq!(config.learning_rate, 1e-3);
        assert!(open.epochs && open.batch_size && !open.learning_rate);
        let error = FinetuneOptions::from_json(json!({"learning_rate": 1e-3})).unwrap_err();
        assert_eq!(error.to_string().lines().next(), Some(WRONG));
        assert!(error.remedy.starts_with("Did you mean learningRate?"), "{error}");
    }

    const WRONG: &str = "option \"learning_rate\": there is no such option";
}
