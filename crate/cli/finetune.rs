//! `electra finetune`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use electra::config::{ElectraConfig, QaHead};
use electra::dataset::Kind;
use electra::error::{Error, Result};
use electra::finetune::{Effort, FinetuneOptions, Open, TABLE, TaskFiles, TrainPlan, start};
use electra::pretrained::{self, ModelFiles, is_model_file};
use electra::report::{Run as Report, report_html, report_json};
use electra::tasks::{Measured, Reading};
use electra::tokenizer::Tokenizer;
use electra::train::{EvaluationStats, FinetuneConfig, Freeze, Progress, StepStats, Trainer, mean};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::named::{NameArgs, NamedRun};
use super::several::{self, Task};
use super::stopped::{Checkpoint, Saved};
use super::{
    ColumnArgs, DeviceArg, at, batch_size, check_folder, max_seq_length, progress_bar, read_model,
    say, stop_flag, to_line, try_print_line, within,
};

const EXAMPLES: &str = "Example:
  electra finetune --model public/models/electra-tiny --task classification \\
      --train public/samples/topic.tsv --output topic-model --epochs 6

A task by name brings its files, its metric, and the paper's settings for a model of that size; an
option that is given wins:
  electra finetune --model electra-small --glue mnli --data-dir glue_data --output mnli-model
  electra finetune --model electra-small --squad 2.0 --data-dir squad --output answerer --epochs 1
  electra finetune --model electra-small --conll2000 --data-dir conll2000 --output chunker
OUTPUT/submission then holds what is handed in: of GLUE a .tsv for each test file that is there, of
SQuAD the answers to the development file.

Several tasks at once share all but their heads; every batch is of one of them, as often as its
share of the rows. Each gets a model folder in OUTPUT, named as its file:
  electra finetune --model public/models/electra-tiny --output models \\
      --task classification --train topic.tsv --task tagging --train chunks.conll

Files, by task (the task is found from the file where that is clear):
  classification      a text column, perhaps a second one, and a label
  multi-label         the same with labels in one cell (a|b, a;b or a JSON array), or --label-columns
  regression          the same with a score
  tagging             a word and its tag a line, an empty line between sentences;
                      or {\"words\": [..], \"labels\": [..]} a line
  question-answering  SQuAD JSON, or {\"question\", \"context\", \"answers\"} a line

What is not given fits the training rows and the model:
";

/// Fine-tune a model on labelled text
///
/// Reads CSV, TSV and JSON lines for texts and pairs; CoNLL columns and JSON lines for tagging;
/// SQuAD JSON, MRQA and JSON lines for question answering. Prints the plan, an evaluation before,
/// during and after training, and the result, one JSON object a line.
#[derive(clap::Args)]
#[command(
    allow_negative_numbers = true,
    after_help = [EXAMPLES, TABLE].concat()
)]
pub struct Args {
    /// The model folder to start from: any ELECTRA in Hugging Face format
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// What to learn; found from the file where that is clear
    #[arg(long, value_name = "TASK", value_parser = super::word::<Kind>, conflicts_with = "name")]
    task: Vec<Kind>,
    #[command(flatten)]
    name: NameArgs,
    /// The labelled text to learn from. Repeated, each with its --task: several tasks that share
    /// a body
    #[arg(long, value_name = "FILE", required_unless_present = "name", conflicts_with = "name")]
    train: Vec<PathBuf>,
    /// Labelled text to measure on; without it, 15 % of the training rows are held out
    #[arg(long, value_name = "FILE", conflicts_with = "name")]
    eval: Vec<PathBuf>,
    /// The sheet of a spreadsheet that --eval names; without it the first that has rows
    #[arg(long, value_name = "NAME", requires = "eval")]
    eval_sheet: Option<String>,
    /// The folder for the trained model; of several tasks it holds a folder for each
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Write into an output folder that is not empty
    #[arg(long)]
    overwrite: bool,
    /// Go on with a run that was stopped, from OUTPUT.checkpoint; all else must be as it was
    #[arg(long)]
    resume: bool,
    /// With --resume: take the model as it stands
    #[arg(long, requires = "resume")]
    finish: bool,
    /// Updates between two checkpoints; every ten minutes by default, 0 is only when stopped
    #[arg(long, value_name = "N")]
    save_every: Option<usize>,
    /// Passes over the training data; by default as the table below says
    #[arg(long, value_name = "F",
        value_parser = within(f64::MIN_POSITIVE..=f64::MAX, "a number above 0"))]
    epochs: Option<f64>,
    /// Examples of one batch; by default as the table below says
    #[arg(long, value_name = "N", value_parser = batch_size)]
    batch_size: Option<usize>,
    /// Batches of one update, whose loss is the mean over all of their examples (of tags, over all
    /// words): with --batch-size 8, 2 do as one batch of 16 does
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = batch_size)]
    accumulate: usize,
    /// Texts are cut to that many tokens, [CLS] and [SEP] included; 128 by default, less where
    /// the model takes less
    #[arg(long, value_name = "N", value_parser = within(4usize.., "a whole number above 3"))]
    max_seq_length: Option<usize>,
    /// The peak learning rate; by default as the table below says
    #[arg(long, value_name = "F",
        value_parser = within(f64::MIN_POSITIVE..=1.0, "a number above 0 and at most 1"))]
    learning_rate: Option<f64>,
    /// How long to train where epochs are not given: quick, normal or thorough
    #[arg(long, value_name = "HOW", default_value = "normal", value_parser = super::word::<Effort>,
        conflicts_with = "name")]
    effort: Effort,
    /// The share of updates over which the learning rate rises; 0.1 by default
    #[arg(long, value_name = "F", value_parser = within(0.0..=1.0f64, "a number from 0 to 1"))]
    warmup: Option<f64>,
    /// 0.01 by default
    #[arg(long, value_name = "F", value_parser = within(0.0..=f64::MAX, "a number, 0 or above"))]
    weight_decay: Option<f64>,
    /// Each layer below the head learns slower by this factor (ELECTRA: 0.8); 1 is off, and the
    /// default
    #[arg(long, value_name = "F",
        value_parser = within(f64::MIN_POSITIVE..=1.0, "a number above 0 and at most 1"))]
    layerwise_decay: Option<f64>,
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
    /// From the start of one window of a long context to the next, in tokens; 128 by default
    #[arg(long, value_name = "N", value_parser = within(1usize.., "a whole number above 0"))]
    doc_stride: Option<usize>,
    /// Questions are cut to that many tokens; 64 by default
    #[arg(long, value_name = "N", value_parser = within(1usize.., "a whole number above 0"))]
    max_query_length: Option<usize>,
    /// The head for questions: huggingface, which transformers loads, or original, which is
    /// google-research/electra's; the model's own by default
    #[arg(long, value_name = "HEAD", value_parser = super::word::<QaHead>)]
    qa_head: Option<QaHead>,
    /// Learn every pair twice, its texts exchanged: where their order means nothing
    #[arg(long)]
    double_pairs: bool,
    /// Keep the weights of the best evaluation instead of the last; of equal scores that with the
    /// smallest loss
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
    /// What holds where nothing is given.
    #[arg(skip)]
    usual: FinetuneConfig,
    /// How the files of a named task are read.
    #[arg(skip)]
    reading: Option<Reading>,
}

fn parse_freeze(word: &str) -> std::result::Result<Freeze, String> {
    let value = word.parse::<usize>().map_or_else(|_| json!(word), |layers| json!(layers));
    serde_json::from_value(value)
        .map_err(|_| "none, embeddings, body, or a number of layers".into())
}

impl Args {
    fn options(&self, max_seq_length: usize, seed: u64) -> FinetuneOptions {
        use electra::optim::Schedule;
        let (reference, usual) = (self.reference_optimizer, &self.usual);
        let config = FinetuneConfig {
            epochs: self.epochs.unwrap_or(usual.epochs),
            batch_size: self.batch_size.unwrap_or(usual.batch_size),
            accumulate: self.accumulate,
            learning_rate: self.learning_rate.unwrap_or(usual.learning_rate),
            warmup: self.warmup.unwrap_or(usual.warmup),
            schedule: if reference { Schedule::Multiplied } else { Schedule::Sequential },
            weight_decay: self.weight_decay.unwrap_or(usual.weight_decay),
            layerwise_decay: self.layerwise_decay.unwrap_or(usual.layerwise_decay),
            layerwise_gap: reference,
            bias_correction: !reference,
            max_seq_length,
            doc_stride: self.doc_stride.unwrap_or(usual.doc_stride),
            max_query_length: self.max_query_length.unwrap_or(usual.max_query_length),
            qa_head: self.qa_head,
            double_pairs: self.double_pairs || usual.double_pairs,
            dropout: self.dropout,
            freeze: self.freeze,
            eval_every: self.eval_every,
            keep_best: self.keep_best || self.patience.is_some(),
            patience: self.patience,
            read_every: 10,
            seed,
            ..usual.clone()
        };
        let own = || Reading { eval_sheet: self.eval_sheet.clone(), ..self.columns.reading() };
        let reading = self.reading.clone().unwrap_or_else(own);
        // A name brings settings of its own.
        let is_open = |is_given: bool| !is_given && self.name.task().is_none();
        let open = Open {
            effort: self.effort,
            epochs: is_open(self.epochs.is_some()),
            batch_size: is_open(self.batch_size.is_some()),
            learning_rate: is_open(self.learning_rate.is_some()),
        };
        FinetuneOptions { task: None, reading, config, open, sample: None }
    }

    /// Puts what a name brings in the place of what was not given.
    fn take_name(&mut self) -> Result<Option<NamedRun>> {
        let Some(named) = self.name.task() else { return Ok(None) };
        let config = pretrained::read_config(&read_model(&self.model)?);
        let config = config.map_err(|e| at(&self.model, e))?;
        let (train, run) = named.open()?;
        self.usual = run.named.settings(&config);
        run.named.say_settings(&self.usual, &self.given(), &config);
        self.max_seq_length = self.max_seq_length.or(Some(self.usual.max_seq_length));
        self.reading = Some(run.reading.clone());
        self.task = vec![run.named.kind()];
        (self.train, self.eval) = (vec![train], vec![run.eval[0].path.clone()]);
        Ok(Some(run))
    }

    /// Those of the options that a name brings that were given.
    fn given(&self) -> Vec<&'static str> {
        let options = [
            ("--learning-rate", self.learning_rate.is_some()),
            ("--layerwise-decay", self.layerwise_decay.is_some()),
            ("--batch-size", self.batch_size.is_some()),
            ("--warmup", self.warmup.is_some()),
            ("--weight-decay", self.weight_decay.is_some()),
            ("--epochs", self.epochs.is_some()),
            ("--max-seq-length", self.max_seq_length.is_some()),
            ("--doc-stride", self.doc_stride.is_some()),
            ("--max-query-length", self.max_query_length.is_some()),
        ];
        options.into_iter().filter(|(_, is_given)| *is_given).map(|(option, _)| option).collect()
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

/// Between two checkpoints where nothing else is asked for.
const PAUSE: Duration = Duration::from_secs(600);

/// What all trials have in common.
struct Setup<'a> {
    args: &'a Args,
    files: ModelFiles,
    tokenizer: Tokenizer,
    max_seq_length: usize,
    tasks: Vec<Task>,
    device: Device,
    stop: Arc<AtomicBool>,
    checkpoint: Checkpoint,
}

/// Whose a line on stdout is: with several trials it says so.
#[derive(Clone, Copy, Serialize, Deserialize)]
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
#[derive(Serialize, Deserialize)]
struct Trial {
    tag: Tag,
    /// Of all tasks the mean.
    score: f64,
    /// The name of a task, of its metric, and the score.
    tasks: Vec<(String, String, f64)>,
    /// The step of the evaluation of the weights that are kept.
    kept_at: usize,
    /// The settings that it ran with.
    #[serde(default)]
    settings: FinetuneConfig,
    /// Of several tasks in a folder each.
    #[serde(skip)]
    files: ModelFiles,
}

/// What several tasks are compared by.
const MEAN: &str = "mean_score";

/// What a run has come to, as its checkpoint keeps it. Lines are kept as they were written.
#[derive(Default, Serialize, Deserialize)]
struct SoFar {
    /// Of the trials that are over.
    scores: Vec<f64>,
    best: Option<Trial>,
    /// What they said: plans, steps and evaluations.
    lines: Vec<String>,
    /// What the trial under way said.
    log: Vec<String>,
    /// The same as `metrics.jsonl` has it.
    metrics: Vec<String>,
}

impl Trial {
    fn metric(&self) -> &str {
        if let [(_, metric, _)] = &self.tasks[..] { metric } else { MEAN }
    }
}

impl SoFar {
    fn read(saved: &mut Saved, path: &Path) -> Result<Self> {
        let damaged = |e: serde_json::Error| {
            Error::new(path.display(), format!("is no checkpoint of this version ({e})"))
                .fix("Start the run anew with --overwrite.")
        };
        let mut so_far: SoFar = serde_json::from_slice(&saved.run).map_err(damaged)?;
        for line in so_far.lines.iter().chain(&so_far.log) {
            serde_json::from_str::<Value>(line).map_err(damaged)?;
        }
        if let Some(best) = &mut so_far.best {
            best.files = std::mem::take(&mut saved.best);
        }
        Ok(so_far)
    }

    fn say(&mut self, line: &Value) -> Result<()> {
        if line["event"] != "plan" {
            self.metrics.push(to_line(&without_texts(line))?);
        }
        self.log.push(to_line(line)?);
        Ok(())
    }

    /// Ends a trial.
    fn take(&mut self, trial: Trial) -> Result<()> {
        for line in std::mem::take(&mut self.log) {
            let mut line = trial.tag.mark(parse(&line));
            // Of one task it is the best one, or the last.
            let several = trial.tasks.len() > 1 && line["event"] == "evaluation";
            if several && line["step"] == trial.kept_at {
                line["kept"] = json!(true);
            }
            self.lines.push(to_line(&line)?);
        }
        self.scores.push(trial.score);
        if self.best.as_ref().is_none_or(|best| trial.score > best.score) {
            self.best = Some(trial);
        }
        Ok(())
    }
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).expect("it was written as JSON")
}

pub fn run(mut args: Args) -> Result<()> {
    several::check_usage(&args.train, &args.task, &args.eval);
    check_folder(&args.output, args.overwrite)?;
    let checkpoint = Checkpoint::beside(&args.output);
    let mut saved = checkpoint.open(args.resume, args.overwrite)?;
    let mut so_far = match &mut saved {
        Some(saved) => SoFar::read(saved, &checkpoint.path)?,
        None => SoFar::default(),
    };
    let over = so_far.scores.len() as u64;
    if saved.is_some() && args.trials <= over {
        return Err(Error::new("--trials", format!("{over} are over, and the next was stopped"))
            .fix("Give what the run was started with, or more."));
    }
    let named = args.take_name()?;
    let setup = prepare(&args, checkpoint)?;
    while (so_far.scores.len() as u64) < args.trials {
        let state = saved.take().map(|saved| saved.state);
        match setup.run_trial(&mut so_far, state)? {
            Some(trial) => so_far.take(trial)?,
            None => return Ok(()),
        }
        if args.finish {
            break;
        }
    }
    let mut best = so_far.best.take().expect("there is at least one trial");
    let mut done = best.tag.mark(summary(&args, &best, &so_far.scores));
    let mut lines: Vec<Value> = so_far.lines.iter().map(|line| parse(line)).collect();
    lines.push(done.clone());
    setup.add_reports(&mut best, &lines)?;
    pretrained::write_folder(&args.output, &best.files)?;
    setup.checkpoint.remove()?;
    say(format_args!("wrote {}; its report.html holds rows of your data", args.output.display()));
    if let Some(named) = &named {
        named.finish(&args.output, &setup.tokenizer, &best.settings, &setup.device, &mut done)?;
    }
    try_print_line(&done).map(drop)
}

/// Reads and checks everything before the device is opened: opening one takes a while.
fn prepare(args: &Args, checkpoint: Checkpoint) -> Result<Setup<'_>> {
    let files = read_model(&args.model)?;
    let inside = |e| at(&args.model, e);
    let tokenizer = Tokenizer::from_files(&files).map_err(inside)?;
    let config = pretrained::read_config(&files).map_err(inside)?;
    args.check_freeze(&config)?;
    Ok(Setup {
        args,
        tokenizer,
        files,
        max_seq_length: max_seq_length(args.max_seq_length, &config)?,
        tasks: several::read(&args.train, &args.task, &args.eval)?,
        device: args.device.open()?.device,
        stop: stop_flag("saving after this step (Ctrl-C again to give up)"),
        checkpoint,
    })
}

/// The result: the best trial's score, and how the scores of several lie.
fn summary(args: &Args, best: &Trial, scores: &[f64]) -> Value {
    let output = args.output.display().to_string();
    let (metric, score) = (best.metric(), best.score);
    let mut line = json!({"event": "done", "output": output, "metric": metric, metric: score});
    if best.tasks.len() > 1 {
        for (name, metric, score) in &best.tasks {
            line["tasks"][name] = json!({metric: score});
        }
    }
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
    /// Runs the next trial from its start, or from a state; None where it was stopped.
    fn run_trial(&self, so_far: &mut SoFar, state: Option<Vec<u8>>) -> Result<Option<Trial>> {
        let number = so_far.scores.len() as u64;
        let seed = self.args.seed.wrapping_add(number);
        let tag = Tag { trial: number + 1, seed, several: self.args.trials > 1 };
        let options = self.args.options(self.max_seq_length, seed);
        let tasks: Vec<TaskFiles> = self.tasks.iter().map(Task::files).collect();
        let run = start(&self.files, &self.tokenizer, &tasks, &options, &self.device);
        let (mut trainer, plans) = run.map_err(|e| self.inside(e))?;
        let plans = plans.iter().zip(&self.tasks);
        let plans = plans.map(|(plan, task)| announce(plan, self.name(task), tag));
        let plans = plans.collect::<Result<Vec<Value>>>()?;
        match state {
            Some(state) => self.go_on(&mut trainer, &state)?,
            None => {
                (so_far.log, so_far.metrics) = (Vec::new(), Vec::new());
                plans.iter().try_for_each(|plan| so_far.say(plan))?;
            }
        }
        if !self.drive(&mut trainer, so_far, tag)? {
            return self.say_how_to_go_on(&trainer).map(|()| None);
        }
        self.trial(&trainer, so_far, tag).map(Some)
    }

    /// What a run that is over comes to.
    fn trial(&self, trainer: &Trainer, so_far: &SoFar, tag: Tag) -> Result<Trial> {
        let (verdicts, mut files) = (trainer.verdicts(), ModelFiles::new());
        for (number, (task, verdict)) in self.tasks.iter().zip(verdicts).enumerate() {
            if verdict.is_collapsed {
                say(format_args!(
                    "{}the model gives every example the same label: lower the learning rate, or \
                     try another seed",
                    self.prefix(task, ": ")
                ));
            }
            let mut own = pollster::block_on(trainer.export(number))?;
            own.extend(self.tokenizer.to_files()?);
            let folder = self.prefix(task, "/");
            files.extend(own.into_iter().map(|(name, bytes)| (format!("{folder}{name}"), bytes)));
        }
        files.insert(several::LOG.into(), so_far.metrics.concat().into_bytes());
        let scored = self.tasks.iter().zip(verdicts);
        let scored = scored.map(|(t, v)| (t.name.clone(), v.metric.clone(), v.score));
        Ok(Trial {
            tag,
            score: mean(verdicts),
            tasks: scored.collect(),
            kept_at: trainer.kept_at().expect("a run ends with an evaluation"),
            settings: trainer.config().clone(),
            files,
        })
    }

    /// Of several tasks; one alone needs none.
    fn name<'a>(&self, task: &'a Task) -> Option<&'a str> {
        (self.tasks.len() > 1).then_some(task.name.as_str())
    }

    fn prefix(&self, task: &Task, end: &str) -> String {
        self.name(task).map_or(String::new(), |name| format!("{name}{end}"))
    }

    fn go_on(&self, trainer: &mut Trainer, state: &[u8]) -> Result<()> {
        let path = &self.checkpoint.path;
        trainer.restore(&state).map_err(|e| at(path, e))?;
        let step = trainer.step();
        say(format_args!("resuming from {} at step {step}", path.display()));
        if self.args.finish {
            trainer.finish_early();
        }
        Ok(())
    }

    fn save(&self, trainer: &mut Trainer, so_far: &SoFar, tag: Tag) -> Result<()> {
        let state = pollster::block_on(trainer.save())?;
        let best = so_far.best.as_ref().map(|best| &best.files);
        let so_far = serde_json::to_vec(so_far).expect("plain data");
        self.checkpoint.write(&so_far, &state, best)?;
        let (step, path) = (trainer.step(), &self.checkpoint.path);
        let line = json!({"event": "checkpoint", "step": step, "path": path});
        try_print_line(&tag.mark(line)).map(drop)
    }

    fn say_how_to_go_on(&self, trainer: &Trainer) -> Result<()> {
        say(format_args!("stopped at step {}; to go on:", trainer.step()));
        let own = |word: &String| !["--resume", "--finish", "--overwrite"].contains(&word.as_str());
        let words = std::env::args().skip(1).filter(own).map(|word| quoted(&word));
        let overwrite = if self.args.overwrite { " --overwrite" } else { "" };
        let command = words.collect::<Vec<_>>().join(" ");
        say(format_args!("  electra {command}{overwrite} --resume"));
        say("or, with the model as it stands, the same with --finish");
        Ok(())
    }

    /// The page and the numbers of each task, into its folder.
    fn add_reports(&self, best: &mut Trial, lines: &[Value]) -> Result<()> {
        for (number, task) in self.tasks.iter().enumerate() {
            let mut lines = match self.name(task) {
                Some(name) => several::of_task(lines, name),
                None => lines.to_vec(),
            };
            if let (Some(done), true) = (lines.last_mut(), self.tasks.len() > 1) {
                let (_, metric, score) = &best.tasks[number];
                *done = best.tag.mark(json!({"event": "done", "metric": metric, metric: score}));
            }
            let report = self.report(task, lines, &best.settings);
            let folder = self.prefix(task, "/");
            let mut add = |name: &str, text: String| {
                best.files.insert(format!("{folder}{name}"), text.into_bytes());
            };
            add("report.html", report_html(&report));
            add("report.json", to_line(&report_json(&report))?);
        }
        Ok(())
    }

    fn report(&self, task: &Task, lines: Vec<Value>, config: &FinetuneConfig) -> Report {
        let mut settings = json!({
            "command": std::env::args().collect::<Vec<_>>().join(" "),
            "model": self.args.model.display().to_string(),
            "train": task.train_name(),
            "eval": task.eval_name(),
        });
        if let (Some(all), Value::Object(more)) = (settings.as_object_mut(), json!(config)) {
            all.extend(more);
        }
        Report { lines, settings, versions: json!({"electra": env!("CARGO_PKG_VERSION")}) }
    }

    /// Names the folder where an error is about a file of the model, not about the data.
    fn inside(&self, error: Error) -> Error {
        let file = error.place.split(", ").next().unwrap_or_default();
        match is_model_file(file) || file == "tokenizer" {
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
fn announce(plan: &TrainPlan, name: Option<&str>, tag: Tag) -> Result<Value> {
    for note in &plan.notes {
        say(format_args!("note: {note}"));
    }
    for problem in plan.skipped.iter().take(10) {
        say(format_args!("skipped row {}: {}", problem.row, problem.reason));
    }
    if plan.skipped_count > 10 {
        say(format_args!("skipped {} rows in all", plan.skipped_count));
    }
    let what =
        name.map_or(plan.task.name().to_string(), |name| format!("{name}, {}", plan.task.name()));
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
    if let Some(name) = name {
        line["name"] = json!(name);
    }
    try_print_line(&tag.mark(line.clone()))?;
    Ok(line)
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+@%".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_string(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

impl Setup<'_> {
    /// Runs to the end, or until Ctrl-C, which saves; false then.
    fn drive(&self, trainer: &mut Trainer, so_far: &mut SoFar, tag: Tag) -> Result<bool> {
        let template = "{bar:30} {pos}/{len} {msg} {eta} left";
        let bar = progress_bar(trainer.steps(), template);
        bar.set_position(trainer.step() as u64);
        bar.reset_eta();
        let (mut tokens, started, mut saved) = (0, Instant::now(), Instant::now());
        loop {
            if self.stop.load(Ordering::Relaxed) {
                bar.finish_and_clear();
                return self.save(trainer, so_far, tag).map(|()| false);
            }
            let progress = pollster::block_on(trainer.advance())?;
            let mut save = self.args.save_every.is_none() && saved.elapsed() > PAUSE;
            match progress {
                Progress::Step(stats) => {
                    tokens += stats.tokens;
                    show(&bar, &stats, tokens as f64 / started.elapsed().as_secs_f64());
                    let mut line = json!(stats);
                    several::name_tasks(&mut line, &self.tasks);
                    so_far.say(&line)?;
                    let every = self.args.save_every.filter(|every| *every > 0);
                    save |= every.is_some_and(|every| stats.step.is_multiple_of(every));
                }
                Progress::Evaluating { .. } => {}
                Progress::Evaluation(ref stats) => {
                    // Where there is no bar, an evaluation is the sign of life.
                    if bar.is_hidden() {
                        let task = &self.tasks[stats.job.unwrap_or(0)];
                        say_score(stats, &self.prefix(task, ": "));
                    }
                    let mut line = json!(progress);
                    several::name_tasks(&mut line, &self.tasks);
                    so_far.say(&line)?;
                    bar.suspend(|| try_print_line(&tag.mark(line)))?;
                }
                Progress::Done { .. } => break,
            }
            if save {
                self.save(trainer, so_far, tag)?;
                saved = Instant::now();
            }
        }
        bar.finish_and_clear();
        let seconds = started.elapsed().as_secs_f64();
        let scored = self.tasks.iter().zip(trainer.verdicts());
        let words = scored.map(|(task, verdict)| {
            format!("{}{} {:.4}", self.prefix(task, " "), verdict.metric, verdict.score)
        });
        say(format_args!("{} in {seconds:.0} s", words.collect::<Vec<_>>().join(", ")));
        Ok(true)
    }
}

fn show(bar: &indicatif::ProgressBar, stats: &StepStats, rate: f64) {
    bar.set_position(stats.step as u64);
    if let Some(read) = stats.losses.last() {
        bar.set_message(format!("loss {:.4}, {rate:.0} tokens/s,", read.loss));
    }
}

fn say_score(EvaluationStats { step, measured, .. }: &EvaluationStats, name: &str) {
    let Measured { metric, score, evaluation, .. } = measured;
    let loss = evaluation.loss().map_or(String::new(), |loss| format!(", loss {loss:.4}"));
    say(format_args!("step {step}: {name}{metric} {score:.4}{loss}"));
}
