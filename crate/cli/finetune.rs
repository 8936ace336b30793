//! `electra finetune`

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::tensor::Device;
use electra::checkpoint::{self, FILE_NAMES, ModelFiles};
use electra::config::ElectraConfig;
use electra::dataset::Kind;
use electra::error::{Error, Result};
use electra::finetune::{FinetuneOptions, Run, Source, TrainPlan, start};
use electra::report::{Run as Report, report_html, report_json};
use electra::tasks::{Evaluation, architecture};
use electra::tokenizer::Tokenizer;
use electra::train::{FinetuneConfig, Freeze, Progress, StepStats};
use serde_json::{Value, json};

use super::{
    ColumnArgs, DeviceArg, at, batch_size, check_folder, max_seq_length, progress_bar, read_model,
    read_source, say, stop_flag, to_line, try_print_line, within,
};

/// Fine-tune a model on labelled text
///
/// Reads CSV, TSV and JSON lines for texts and pairs; CoNLL columns and JSON lines for tagging;
/// SQuAD JSON, MRQA and JSON lines for question answering. Prints the plan, an evaluation before,
/// during and after training, and the result, one JSON object a line.
#[derive(clap::Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "Example:
  electra finetune --model public/models/electra-tiny --task classification \\
      --train public/samples/topic.tsv --output topic-model --epochs 6

Files, by task (the task is found from the file where that is clear):
  classification      a text column, perhaps a second one, and a label
  multi-label         the same with labels in one cell (a|b, a;b or a JSON array), or --label-columns
  regression          the same with a score
  tagging             a word and its tag a line, an empty line between sentences;
                      or {\"words\": [..], \"labels\": [..]} a line
  question-answering  SQuAD JSON, or {\"question\", \"context\", \"answers\"} a line"
)]
pub struct Args {
    /// The model folder to start from: any ELECTRA in Hugging Face format
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// What to learn; found from the file where that is clear
    #[arg(long, value_name = "TASK", value_parser = super::parse_task)]
    task: Option<Kind>,
    /// The labelled text to learn from
    #[arg(long, value_name = "FILE")]
    train: PathBuf,
    /// Labelled text to measure on; without it, 15 % of the training rows are held out
    #[arg(long, value_name = "FILE")]
    eval: Option<PathBuf>,
    /// The folder for the trained model
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Write into an output folder that is not empty
    #[arg(long)]
    overwrite: bool,
    /// Passes over the training data
    #[arg(long, value_name = "F", default_value_t = FinetuneConfig::default().epochs,
        value_parser = within(f64::MIN_POSITIVE..=f64::MAX, "a number above 0"))]
    epochs: f64,
    #[arg(long, value_name = "N", default_value_t = FinetuneConfig::default().batch_size,
        value_parser = batch_size)]
    batch_size: usize,
    /// Batches averaged into one update
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = batch_size)]
    accumulate: usize,
    /// Texts are cut to that many tokens, [CLS] and [SEP] included; 128 by default, less where
    /// the model takes less
    #[arg(long, value_name = "N", value_parser = within(4usize.., "a whole number above 3"))]
    max_seq_length: Option<usize>,
    /// The peak learning rate
    #[arg(long, value_name = "F", default_value_t = FinetuneConfig::default().learning_rate,
        value_parser = within(f64::MIN_POSITIVE..=1.0, "a number above 0 and at most 1"))]
    learning_rate: f64,
    /// The share of updates over which the learning rate rises
    #[arg(long, value_name = "F", default_value_t = FinetuneConfig::default().warmup,
        value_parser = within(0.0..=1.0f64, "a number from 0 to 1"))]
    warmup: f64,
    #[arg(long, value_name = "F", default_value_t = FinetuneConfig::default().weight_decay,
        value_parser = within(0.0..=f64::MAX, "a number, 0 or above"))]
    weight_decay: f64,
    /// Each layer below the head learns slower by this factor (ELECTRA: 0.8; 1 is off)
    #[arg(long, value_name = "F", default_value_t = 1.0,
        value_parser = within(f64::MIN_POSITIVE..=1.0, "a number above 0 and at most 1"))]
    layerwise_decay: f64,
    /// Optimize as google-research/electra does: no bias correction, decay times warm-up, and
    /// its layer-wise rates with the gap below the head
    #[arg(long)]
    reference_optimizer: bool,
    /// Override every dropout of the model
    #[arg(long, value_name = "F",
        value_parser = within(0.0..1.0f64, "a number from 0 up to, but not including, 1"))]
    dropout: Option<f64>,
    /// Leave parts as they are: none, embeddings, body, or a number of layers from below
    #[arg(long, value_name = "WHAT", default_value = "none", value_parser = parse_freeze)]
    freeze: Freeze,
    /// Updates between two evaluations; once an epoch by default
    #[arg(long, value_name = "N", value_parser = within(1usize.., "a whole number above 0"))]
    eval_every: Option<usize>,
    /// From the start of one window of a long context to the next, in tokens
    #[arg(long, value_name = "N", default_value_t = 128,
        value_parser = within(1usize.., "a whole number above 0"))]
    doc_stride: usize,
    /// Questions are cut to that many tokens
    #[arg(long, value_name = "N", default_value_t = 64,
        value_parser = within(1usize.., "a whole number above 0"))]
    max_query_length: usize,
    /// Learn every pair twice, its texts exchanged: where their order means nothing
    #[arg(long)]
    double_pairs: bool,
    /// Keep the weights of the best evaluation instead of the last
    #[arg(long)]
    keep_best: bool,
    /// End after N evaluations in a row without a better score, and keep the best
    #[arg(long, value_name = "N", value_parser = within(1usize.., "a whole number above 0"))]
    patience: Option<usize>,
    /// Repeat with seeds SEED, SEED + 1, .. and keep the run with the best score
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = within(1u64.., "a whole number above 0"))]
    trials: u64,
    #[command(flatten)]
    columns: ColumnArgs,
    /// Fixes the shuffling, the dropout, the fresh head and the held-out rows
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    device: DeviceArg,
}

fn parse_freeze(word: &str) -> std::result::Result<Freeze, String> {
    let value = word.parse::<usize>().map_or_else(|_| json!(word), |layers| json!(layers));
    serde_json::from_value(value)
        .map_err(|_| "none, embeddings, body, or a number of layers".into())
}

impl Args {
    fn options(&self, max_seq_length: usize, seed: u64) -> FinetuneOptions {
        use electra::optim::Schedule;
        let reference = self.reference_optimizer;
        let config = FinetuneConfig {
            epochs: self.epochs,
            batch_size: self.batch_size,
            accumulate: self.accumulate,
            learning_rate: self.learning_rate,
            warmup: self.warmup,
            schedule: if reference { Schedule::Multiplied } else { Schedule::Sequential },
            weight_decay: self.weight_decay,
            layerwise_decay: self.layerwise_decay,
            layerwise_gap: reference,
            bias_correction: !reference,
            max_seq_length,
            doc_stride: self.doc_stride,
            max_query_length: self.max_query_length,
            double_pairs: self.double_pairs,
            dropout: self.dropout,
            freeze: self.freeze,
            eval_every: self.eval_every,
            keep_best: self.keep_best || self.patience.is_some(),
            patience: self.patience,
            read_every: 10,
            seed,
            ..FinetuneConfig::default()
        };
        FinetuneOptions { task: self.task, reading: self.columns.reading(), config }
    }

    fn check_freeze(&self, config: &ElectraConfig) -> Result<()> {
        let layers = config.num_hidden_layers;
        match self.freeze {
            Freeze::Layers(n) if n > layers => Err(Error::new(
                "--freeze",
                format!("{n} is more than this model's {layers} layers"),
            )
            .fix("Choose a smaller number, or `body` for everything but the head.")),
            _ => Ok(()),
        }
    }
}

/// What all trials have in common.
struct Setup<'a> {
    args: &'a Args,
    files: ModelFiles,
    tokenizer: Tokenizer,
    max_seq_length: usize,
    train: Source,
    eval: Option<Source>,
    device: Device,
    stop: Arc<AtomicBool>,
}

/// Whose a line on stdout is: with several trials it says so.
#[derive(Clone, Copy)]
struct Tag {
    trial: u64,
    seed: u64,
    several: bool,
}

impl Tag {
    fn mark(self, mut line: Value) -> Value {
        if self.several {
            line["trial"] = json!(self.trial);
            line["seed"] = json!(self.seed);
        }
        line
    }
}

/// One finished run.
struct Trial {
    tag: Tag,
    last: Evaluation,
    files: ModelFiles,
    /// What it said: the plan, steps and evaluations.
    lines: Vec<Value>,
}

impl Trial {
    fn score(&self) -> f64 {
        self.last.score().1
    }
}

pub fn run(args: Args) -> Result<()> {
    check_folder(&args.output, args.overwrite)?;
    let setup = prepare(&args)?;
    let mut best: Option<Trial> = None;
    let (mut scores, mut lines) = (Vec::new(), Vec::new());
    for trial in 0..args.trials {
        let seed = args.seed.wrapping_add(trial);
        let tag = Tag { trial: trial + 1, seed, several: args.trials > 1 };
        let mut trial = setup.run_trial(tag)?;
        lines.append(&mut trial.lines);
        scores.push(trial.score());
        if best.as_ref().is_none_or(|best| trial.score() > best.score()) {
            best = Some(trial);
        }
        if setup.stop.load(Ordering::Relaxed) {
            break;
        }
    }
    let mut best = best.expect("there is at least one trial");
    let done = best.tag.mark(summary(&args, &best, &scores));
    lines.push(done.clone());
    let report = setup.report(lines, best.tag.seed);
    best.files.insert("report.html".into(), report_html(&report).into_bytes());
    best.files.insert("report.json".into(), to_line(&report_json(&report))?.into_bytes());
    checkpoint::write_folder(&args.output, &best.files)?;
    say(format_args!("wrote {}; its report.html holds rows of your data", args.output.display()));
    try_print_line(&done).map(drop)
}

/// Reads and checks everything before the device is opened: opening one takes a while.
fn prepare(args: &Args) -> Result<Setup<'_>> {
    let files = read_model(&args.model)?;
    let inside = |e| at(&args.model, e);
    let tokenizer = Tokenizer::from_files(&files).map_err(inside)?;
    let config = checkpoint::read_config(&files).map_err(inside)?;
    args.check_freeze(&config)?;
    Ok(Setup {
        args,
        tokenizer,
        files,
        max_seq_length: max_seq_length(args.max_seq_length, &config)?,
        train: read_source(&args.train)?,
        eval: args.eval.as_deref().map(read_source).transpose()?,
        device: args.device.open()?.device,
        stop: stop_flag("stopping after this step; the model is kept (Ctrl-C again to give up)"),
    })
}

/// The result: the best trial's score, and how the scores of several lie.
fn summary(args: &Args, best: &Trial, scores: &[f64]) -> Value {
    let output = args.output.display().to_string();
    let (metric, score) = best.last.score();
    let mut line = json!({"event": "done", "output": output, "metric": metric, metric: score});
    if scores.len() > 1 {
        let mut sorted = scores.to_vec();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        let mean = sorted.iter().sum::<f64>() / count as f64;
        let squares: f64 = sorted.iter().map(|score| (score - mean).powi(2)).sum();
        line["scores"] = json!(scores);
        line["median"] = json!((sorted[count / 2] + sorted[(count - 1) / 2]) / 2.0);
        line["mean"] = json!(mean);
        line["std"] = json!((squares / (count - 1) as f64).sqrt());
    }
    line
}

impl Setup<'_> {
    fn run_trial(&self, tag: Tag) -> Result<Trial> {
        let options = self.args.options(self.max_seq_length, tag.seed);
        let (train, eval) = (&self.train, self.eval.as_ref());
        let run = start(&self.files, &self.tokenizer, train, eval, &options, &self.device);
        let run = run.map_err(|e| self.inside(e))?;
        let mut lines = vec![announce(&run.plan, tag)?];
        let keep_best = self.args.keep_best || self.args.patience.is_some();
        let (mut run, last, log) = drive(run, &self.stop, keep_best, tag)?;
        let metrics = log.iter().map(|line| to_line(&without_texts(line)));
        if last.is_collapsed() {
            say("the model gives every example the same label: lower the learning rate, or try \
                 another seed");
        }
        run.config.no_answer_threshold = last.no_answer_threshold();
        let model = run.trainer.result();
        let saved = checkpoint::save(&model, &run.config, architecture(run.plan.task));
        let mut files = pollster::block_on(saved)?;
        files.extend(self.tokenizer.to_files()?);
        files.insert("metrics.jsonl".into(), metrics.collect::<Result<String>>()?.into_bytes());
        lines.extend(log.into_iter().map(|line| tag.mark(line)));
        Ok(Trial { tag, last, files, lines })
    }

    fn report(&self, lines: Vec<Value>, seed: u64) -> Report {
        let FinetuneOptions { config, .. } = self.args.options(self.max_seq_length, seed);
        let mut settings = json!({
            "command": std::env::args().collect::<Vec<_>>().join(" "),
            "model": self.args.model.display().to_string(),
            "train": self.train.name,
            "eval": self.eval.as_ref().map(|eval| &eval.name),
        });
        if let (Some(all), Value::Object(more)) = (settings.as_object_mut(), json!(config)) {
            all.extend(more);
        }
        Report { lines, settings, versions: json!({"electra": env!("CARGO_PKG_VERSION")}) }
    }

    /// Names the folder where an error is about a file of the model, not about the data.
    fn inside(&self, error: Error) -> Error {
        let file = error.place.split(", ").next().unwrap_or_default();
        match FILE_NAMES.contains(&file) || file == "tokenizer" {
            true => at(&self.args.model, error),
            false => error,
        }
    }
}

/// Texts of the data are not for the log of a model that is given away.
fn without_texts(line: &Value) -> Value {
    let mut line = line.clone();
    if let Some(fields) = line.as_object_mut() {
        fields.shift_remove("worst");
        fields.shift_remove("points");
    }
    line
}

/// The plan as a line on stdout, and in words on stderr. A reader that goes away does not end the
/// training: the model is what it is for.
fn announce(plan: &TrainPlan, tag: Tag) -> Result<Value> {
    for note in &plan.notes {
        say(format_args!("note: {note}"));
    }
    for problem in plan.skipped.iter().take(10) {
        say(format_args!("skipped row {}: {}", problem.row, problem.reason));
    }
    if plan.skipped_count > 10 {
        say(format_args!("skipped {} rows in all", plan.skipped_count));
    }
    let what = plan.task.name();
    say(format_args!(
        "{what}: {} to learn from, {} to measure on",
        plan.train_rows, plan.eval_rows
    ));
    if !plan.labels.is_empty() {
        let counts = plan.labels.iter().map(|l| format!("{} {}", l.label, l.count));
        say(format_args!("labels: {}", counts.collect::<Vec<_>>().join(", ")));
    }
    let mut line = json!(plan);
    line["event"] = json!("plan");
    let line = tag.mark(line);
    try_print_line(&line)?;
    Ok(line)
}

/// Runs to the end, or until Ctrl-C; then the model is evaluated. Gives the evaluation of the
/// weights that are kept.
fn drive(
    mut run: Run,
    stop: &AtomicBool,
    keep_best: bool,
    tag: Tag,
) -> Result<(Run, Evaluation, Vec<Value>)> {
    let template = "{bar:30} {pos}/{len} {msg} {eta} left";
    let bar = progress_bar(run.plan.steps, template);
    let mut kept: Option<Evaluation> = None;
    let (mut log, mut tokens, started) = (Vec::new(), 0, Instant::now());
    loop {
        if stop.load(Ordering::Relaxed) {
            run.trainer.finish_early();
        }
        match pollster::block_on(run.trainer.advance())? {
            Progress::Step(stats) => {
                tokens += stats.tokens;
                show(&bar, &stats, tokens as f64 / started.elapsed().as_secs_f64());
                log.push(json!(stats));
            }
            Progress::Evaluating { .. } => {}
            Progress::Evaluation { step, epoch, evaluation } => {
                let words = bar.is_hidden().then_some(&evaluation);
                report(words, step);
                let mut line = json!(evaluation);
                line["event"] = json!("evaluation");
                line["step"] = json!(step);
                line["epoch"] = json!(epoch);
                bar.suspend(|| try_print_line(&tag.mark(line.clone())))?;
                log.push(line);
                let better = |kept: &Evaluation| evaluation.score().1 > kept.score().1;
                if !keep_best || kept.as_ref().is_none_or(better) {
                    kept = Some(evaluation);
                }
            }
            Progress::Done { .. } => break,
        }
    }
    bar.finish_and_clear();
    let kept = kept.expect("a run ends with an evaluation");
    let ((metric, score), seconds) = (kept.score(), started.elapsed().as_secs_f64());
    say(format_args!("{metric} {score:.4} in {seconds:.0} s"));
    Ok((run, kept, log))
}

fn show(bar: &indicatif::ProgressBar, stats: &StepStats, rate: f64) {
    bar.set_position(stats.step as u64);
    if let Some(read) = stats.losses.last() {
        bar.set_message(format!("loss {:.4}, {rate:.0} tokens/s,", read.loss));
    }
}

/// Where there is no bar, an evaluation is the sign of life.
fn report(evaluation: Option<&Evaluation>, step: usize) {
    if let Some(evaluation) = evaluation {
        let (metric, score) = evaluation.score();
        let loss = evaluation.loss().map_or(String::new(), |loss| format!(", loss {loss:.4}"));
        say(format_args!("step {step}: {metric} {score:.4}{loss}"));
    }
}
