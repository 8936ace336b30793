//! `electra pretrain`

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use electra::corpus::prepare::{PrepareOptions, prepare_text};
use electra::corpus::{Corpus, hex};
use electra::distributed::World;
use electra::error::{Error, Result};
use electra::files::write_file;
use electra::pretrain::config::PretrainConfig;
use electra::pretrain::evaluation::Evaluation;
use electra::pretrain::events::EventFile;
use electra::pretrain::network::Pretraining;
use electra::pretrain::run::{LoggedStep, PretrainRun, lines_until};
use electra::pretrain::state::{Checkpoint, checkpoints, no_checkpoint, set_aside, tidy};
use electra::pretrained;
use electra::tokenizer::Tokenizer;
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{
    DeviceArg, at, check_folder, print_line, progress_bar, read_file, read_model, say, stop_flag,
    to_line, try_print_line, unwritable, within,
};

/// What is pre-trained on when no text is given: see corpus/README.md.
const BUNDLED_TEXT: &str = include_str!("../../corpus/sample.txt");
const BUNDLED_VOCAB: &[u8] = include_bytes!("../../public/models/electra-tiny/vocab.txt");
const BUNDLED_TOKENIZER: &[u8] =
    include_bytes!("../../public/models/electra-tiny/tokenizer_config.json");

/// Pre-train a generator and a discriminator on prepared text
///
/// With no options at all it trains the tiny preset on a text that is built in, and shows within
/// two minutes on a CPU how the losses fall. Prints one JSON object a logged step, evaluation and
/// checkpoint; the run folder keeps those of steps and evaluations in metrics.jsonl, and in
/// TensorBoard's event files.
#[derive(clap::Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "Examples:
  electra pretrain
  electra vocab --input corpus/text --size 8000 --output vocab
  electra prepare --input corpus/text --tokenizer vocab --max-seq-length 128 --output shards
  electra pretrain --data shards --preset small --output run --steps 100000
  electra pretrain --data shards --output run --resume

Every setting has a name, which the run's config.json shows: --set mask_prob=0.25 changes one."
)]
pub struct Args {
    /// A folder that `electra prepare` has written; without it, the built-in text
    #[arg(long, value_name = "SHARDS")]
    data: Option<PathBuf>,
    /// The folder of the run: settings, metrics, checkpoints, and the trained models
    #[arg(long, value_name = "RUN", default_value = "electra-run")]
    output: PathBuf,
    /// Start a new run in a folder that is not empty: its run is removed
    #[arg(long, conflicts_with = "resume")]
    overwrite: bool,
    /// Go on from the newest checkpoint in --output that is whole; a damaged one is set aside
    #[arg(long)]
    resume: bool,
    /// tiny, small (paper), small-plus (the released ELECTRA-Small), base or large
    #[arg(long, value_name = "P", default_value = "tiny", conflicts_with = "resume")]
    preset: String,
    /// A JSON file of settings, over the preset's
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    config: Option<PathBuf>,
    /// electra, mlm (BERT at the same settings) or electric
    #[arg(long, value_parser = ["electra", "mlm", "electric"], conflicts_with = "resume")]
    objective: Option<String>,
    /// Updates of the whole run
    #[arg(long, value_name = "N")]
    steps: Option<usize>,
    /// Examples of a forward pass
    #[arg(long, value_name = "N", value_parser = super::batch_size)]
    batch_size: Option<usize>,
    /// Forward passes of an update
    #[arg(long, value_name = "N", value_parser = super::batch_size)]
    accumulate: Option<usize>,
    /// The peak learning rate
    #[arg(long, value_name = "F",
        value_parser = within(f64::MIN_POSITIVE..=1.0, "a number above 0 and at most 1"))]
    learning_rate: Option<f64>,
    /// Updates over which the learning rate rises
    #[arg(long, value_name = "N")]
    warmup: Option<usize>,
    /// Updates between two checkpoints; 0 is none but the last
    #[arg(long, value_name = "N")]
    save_every: Option<usize>,
    /// Updates between two evaluations on held-out text; 0 is none but the last
    #[arg(long, value_name = "N")]
    eval_every: Option<usize>,
    /// Start from the weights of a discriminator and perhaps a generator, with a fresh optimizer. A
    /// masked language model can stand for both: its body is taken
    #[arg(
        long,
        value_name = "DIR[,DIR]",
        value_delimiter = ',',
        num_args = 1,
        conflicts_with = "resume"
    )]
    init_from: Vec<PathBuf>,
    /// Do not compare the text's shards with their checksums first
    #[arg(long)]
    no_verify: bool,
    /// Any setting by its name; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_setting)]
    set: Vec<(String, Value)>,
    /// Save and stop after that long, for example 90m or 8h
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    stop_after: Option<Duration>,
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    device: DeviceArg,
}

/// A value that is no JSON is a word.
fn parse_setting(word: &str) -> std::result::Result<(String, Value), String> {
    let (key, value) = word.split_once('=').ok_or("must be KEY=VALUE, as in mask_prob=0.25")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
    Ok((key.to_string(), value))
}

impl Args {
    /// The settings that options of their own name.
    fn named(&self) -> Map<String, Value> {
        let options = [
            ("objective", self.objective.as_ref().map(|word| json!(word))),
            ("num_train_steps", self.steps.map(|n| json!(n))),
            ("batch_size", self.batch_size.map(|n| json!(n))),
            ("accumulate", self.accumulate.map(|n| json!(n))),
            ("learning_rate", self.learning_rate.map(|x| json!(x))),
            ("warmup_steps", self.warmup.map(|n| json!(n))),
            ("save_every", self.save_every.map(|n| json!(n))),
            ("eval_every", self.eval_every.map(|n| json!(n))),
            ("seed", self.seed.map(|n| json!(n))),
        ];
        let given = options.into_iter().filter_map(|(key, value)| Some((key.to_string(), value?)));
        given.chain(self.set.iter().cloned()).collect()
    }

    /// The settings of a new run.
    fn settings(&self) -> Result<PretrainConfig> {
        let mut config = PretrainConfig::preset(&self.preset)?;
        if let Some(path) = &self.config {
            let bytes = read_file(path)?;
            // A byte order mark is no part of the settings.
            let json = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes);
            let fields = serde_json::from_slice(json).map_err(|e| {
                Error::new(path.display(), format!("is no JSON object of settings ({e})"))
                    .fix("Copy the config.json of a run and change what you need.")
            })?;
            config = config.with(&path.display().to_string(), fields)?;
        }
        config.with("settings", self.named())
    }

    fn checkpoints(&self) -> PathBuf {
        self.output.join("checkpoints")
    }
}

pub fn run(args: Args) -> Result<()> {
    let world = World::open()?;
    let (run, lock) = if args.resume { resume(&args, world)? } else { begin(&args, world)? };
    drive(&args, run, lock)
}

fn begin(args: &Args, world: World) -> Result<(PretrainRun, Option<Lock>)> {
    let config = args.settings()?;
    let init = read_init(&args.init_from)?;
    agree(args, &world, json!(config), &init)?;
    let mut lock = None;
    if world.is_first() {
        check_folder(&args.output, args.overwrite)?;
        if args.data.is_none() {
            lock = Some(Lock::take(&args.output)?);
            prepare_built_in(args)?;
        }
    }
    world.wait();
    let corpus = Corpus::open(&corpus_folder(args))?;
    check_init(args, &init, &corpus)?;
    verify(args, &corpus, &world)?;
    let device = args.device.open_nth(world.gpu())?.device;
    let network = start(args, &config, &corpus, init, &device)?;
    let run = PretrainRun::new(config, corpus, network, world, &device)?;
    // An earlier run goes only now: the new one can start.
    if run.world().is_first() {
        lock = Some(lock.map_or_else(|| Lock::take(&args.output), Ok)?);
        clear(args)?;
    }
    run.world().wait();
    Ok((run, lock))
}

fn resume(args: &Args, world: World) -> Result<(PretrainRun, Option<Lock>)> {
    agree(args, &world, Value::Object(args.named()), &[])?;
    let folder = args.checkpoints();
    // Before the text is looked at, and the device.
    if checkpoints(&folder).is_empty() {
        return Err(no_checkpoint(&folder));
    }
    let corpus = reopen_corpus(args)?;
    verify(args, &corpus, &world)?;
    let lock = world.is_first().then(|| Lock::take(&args.output)).transpose()?;
    let device = args.device.open_nth(world.gpu())?.device;
    let (saved, damaged) = Checkpoint::newest(&folder, &device)?;
    let path = saved.path.clone();
    let config = saved.state.config.clone().with("settings", args.named())?;
    let run = PretrainRun::resume(saved, config, corpus, world, &device)?;
    if run.world().is_first() {
        for (path, error) in damaged {
            say(format_args!("{}: {}", error.place, error.problem));
            let aside = set_aside(&path)?;
            say(format_args!("  that checkpoint is damaged; it is kept as {}", aside.display()));
        }
        say(format_args!("resuming from {}", path.display()));
    }
    Ok((run, lock))
}

/// Ranks that were given different options must not begin.
fn agree(args: &Args, world: &World, mut options: Value, init: &[Init]) -> Result<()> {
    options["resume"] = json!(args.resume);
    options["built-in text"] = json!(args.data.is_none());
    options["init-from"] = json!(init.iter().map(|init| &init.sha256).collect::<Vec<_>>());
    world.agree(&options)
}

/// Is the text still what `prepare` has written?
fn verify(args: &Args, corpus: &Corpus, world: &World) -> Result<()> {
    /// What is read within seconds.
    const LITTLE: u64 = 1 << 31;
    if args.no_verify {
        return Ok(());
    }
    if corpus.bytes() > LITTLE && world.is_first() {
        let size = corpus.bytes() >> 20;
        say(format_args!("comparing {size} MiB of text with its checksums (--no-verify: not)"));
    }
    corpus.verify()
}

/// A run's folder is its own as long as this lives; the system takes it back when the process ends,
/// however it ends.
struct Lock(#[expect(dead_code)] Option<File>);

impl Lock {
    /// The file that is locked. It stays: to remove it would let a third run in beside a second.
    const FILE: &str = ".lock";

    fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(Self::FILE);
        fs::create_dir_all(folder).map_err(|e| unwritable(folder, e))?;
        let file = File::options().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|e| unwritable(&path, e))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(Some(file))),
            Err(TryLockError::WouldBlock) => {
                Err(Error::new(folder.display(), "another run is at work in this folder")
                    .fix("Wait for it or stop it, or choose another --output."))
            }
            Err(TryLockError::Error(e)) => {
                let place = folder.display();
                say(format_args!("{place} cannot be locked ({e}): let no other run write there"));
                Ok(Lock(None))
            }
        }
    }
}

/// Removes what an earlier run left, and nothing else.
fn clear(args: &Args) -> Result<()> {
    for name in ["checkpoints", "discriminator", "generator"] {
        let path = args.output.join(name);
        if path.exists() {
            fs::remove_dir_all(&path).map_err(|e| unwritable(&path, e))?;
        }
    }
    let entries = fs::read_dir(&args.output).map_err(|e| unwritable(&args.output, e))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name == "metrics.jsonl" || name.starts_with("events.out.tfevents.") {
            fs::remove_file(entry.path()).map_err(|e| unwritable(&entry.path(), e))?;
        }
    }
    Ok(())
}

/// Prepares the built-in text for the preset; at once where that was done before.
fn prepare_built_in(args: &Args) -> Result<()> {
    say("no --data: preparing the built-in text (speeches and Moby Dick, 1.2 MB)");
    let tokenizer = BTreeMap::from([
        ("vocab.txt".to_string(), BUNDLED_VOCAB.to_vec()),
        ("tokenizer_config.json".to_string(), BUNDLED_TOKENIZER.to_vec()),
    ]);
    let max_seq_length = PretrainConfig::preset_length(&args.preset);
    let options =
        PrepareOptions { max_seq_length, eval_fraction: 0.05, ..PrepareOptions::default() };
    let options = PrepareOptions { overwrite: args.overwrite, ..options };
    let folder = corpus_folder(args);
    prepare_text("the built-in text", BUNDLED_TEXT, &tokenizer, &options, &folder).map(drop)
}

/// Where the prepared text lies.
fn corpus_folder(args: &Args) -> PathBuf {
    args.data.clone().unwrap_or_else(|| args.output.join("corpus"))
}

/// What a run was started on.
fn reopen_corpus(args: &Args) -> Result<Corpus> {
    let folder = corpus_folder(args);
    if args.data.is_none() && !folder.exists() {
        return Err(Error::new("--data", "the run was not started on the built-in text")
            .fix("Give the --data that it was started with."));
    }
    Corpus::open(&folder)
}

type Tensors = BTreeMap<String, pretrained::HostTensor>;

/// A folder of --init-from.
struct Init {
    tensors: Tensors,
    tokenizer: Tokenizer,
    /// Of all its files.
    sha256: String,
}

fn read_init(folders: &[PathBuf]) -> Result<Vec<Init>> {
    if folders.len() > 2 {
        return Err(Error::new("--init-from", "takes a discriminator and a generator, no more"));
    }
    let read = |path: &PathBuf| {
        let files = read_model(path)?;
        let (tensors, left_behind) = pretrained::read_tensors(&files).map_err(|e| at(path, e))?;
        if let Some(note) = pretrained::left_behind_note(&left_behind) {
            say(format_args!("{}: {note}", path.display()));
        }
        let tokenizer = Tokenizer::from_files(&files).map_err(|e| {
            let problem = format!("its words cannot be compared with the text's ({})", e.problem);
            Error::new(format!("--init-from, {}", path.display()), problem)
                .fix("Put the tokenizer's files of the model into the folder.")
        })?;
        let mut hash = Sha256::new();
        files.values().for_each(|bytes| hash.update(bytes));
        Ok(Init { tensors, tokenizer, sha256: hex(&hash.finalize()) })
    };
    folders.iter().map(read).collect()
}

/// The rows of the tables must be those of the same words.
fn check_init(args: &Args, init: &[Init], corpus: &Corpus) -> Result<()> {
    let ours = Tokenizer::from_files(&corpus.tokenizer_files()?)?;
    for (path, init) in args.init_from.iter().zip(init) {
        let theirs = &init.tokenizer;
        let size = ours.vocab_size().max(theirs.vocab_size()) as u32;
        if let Some(id) = (0..size).find(|id| ours.token(*id) != theirs.token(*id)) {
            let word = |tokenizer: &Tokenizer| tokenizer.token(id).unwrap_or("nothing".into());
            let (ours, theirs) = (word(&ours), word(theirs));
            let problem =
                format!("another vocabulary: id {id} is {theirs:?}, but {ours:?} in the text");
            return Err(Error::new(format!("--init-from, {}", path.display()), problem)
                .fix("Prepare the text with the tokenizer of that folder."));
        }
    }
    Ok(())
}

fn start(
    args: &Args,
    config: &PretrainConfig,
    corpus: &Corpus,
    init: Vec<Init>,
    device: &Device,
) -> Result<Pretraining> {
    let vocab_size = corpus.index.settings.vocab_size;
    let mut init = init.into_iter().map(|init| init.tensors);
    let Some(discriminator) = init.next() else {
        return Ok(Pretraining::fresh(config, vocab_size, device));
    };
    let generator = init.next();
    let (network, fresh) =
        Pretraining::from_folders(config, vocab_size, discriminator, generator, device)?;
    fresh.iter().for_each(|note| say(format_args!("{}: {note}", args.init_from[0].display())));
    Ok(network)
}

/// What a run writes beside its checkpoints.
struct Journal {
    metrics: File,
    path: PathBuf,
    events: EventFile,
}

impl Journal {
    /// Opens the files of a run; of an earlier one, what came after its checkpoint is left out.
    fn open(folder: &Path, step: usize) -> Result<Self> {
        let path = folder.join("metrics.jsonl");
        let failed = |e| unwritable(&path, e);
        let before = match fs::read(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => Vec::new(),
            read => read.map_err(failed)?,
        };
        let (kept, strange) = lines_until(&before, step);
        if let Some(first) = strange.first() {
            let (path, more) = (path.display(), strange.len() - 1);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            say(format_args!("{path}: line {first}{more} is no line of a log and is left out"));
        }
        if kept != before {
            write_file(&path, &kept)?;
        }
        let metrics = File::options().append(true).create(true).open(&path).map_err(failed)?;
        let events = EventFile::create(folder).map_err(|e| unwritable(folder, e))?;
        Ok(Journal { metrics, path, events })
    }

    fn write(&mut self, line: &Value) -> Result<()> {
        let failed = |e| unwritable(&self.path, e);
        self.metrics.write_all(to_line(line)?.as_bytes()).map_err(failed)?;
        let step = line["step"].as_u64().expect("every line has its step");
        let group = if line["event"] == "evaluation" { "eval" } else { "train" };
        let number =
            |(key, value): (&String, &Value)| Some((format!("{group}/{key}"), value.as_f64()?));
        let fields = line.as_object().into_iter().flatten().filter(|(key, _)| *key != "step");
        let scalars: Vec<_> = fields.filter_map(number).collect();
        self.events.write(step, &scalars).map_err(failed)
    }
}

/// A line of the log, which is also printed.
fn line(event: &str, step: usize, fields: &impl Serialize) -> Value {
    let mut line = json!({"event": event, "step": step});
    let Value::Object(fields) = json!(fields) else { unreachable!("a struct") };
    line.as_object_mut().expect("made above").extend(fields);
    line
}

/// The run as it is driven from here.
struct Driver<'a> {
    args: &'a Args,
    run: PretrainRun,
    journal: Option<Journal>,
    stop: Arc<AtomicBool>,
    started: Instant,
    bar: indicatif::ProgressBar,
}

fn drive(args: &Args, run: PretrainRun, _lock: Option<Lock>) -> Result<()> {
    let first = run.world().is_first();
    if first {
        let config = serde_json::to_vec_pretty(&run.config).expect("plain data");
        write_file(&args.output.join("config.json"), &config)?;
        tidy(&args.checkpoints(), 0);
    }
    let journal = match first {
        true => Some(Journal::open(&args.output, run.counters.step)?),
        false => None,
    };
    let template = "{wide_bar} {pos}/{len} {msg} {eta} left";
    let bar = match first {
        true => progress_bar(run.config.num_train_steps, template),
        false => indicatif::ProgressBar::hidden(),
    };
    let stop = stop_flag("saving after this step (Ctrl-C again to give up)");
    let mut driver = Driver { args, run, journal, stop, started: Instant::now(), bar };
    let result = driver.train();
    driver.bar.finish_and_clear();
    result
}

impl Driver<'_> {
    fn train(&mut self) -> Result<()> {
        self.announce()?;
        self.bar.set_position(self.run.counters.step as u64);
        self.bar.reset_eta();
        let (mut tokens, mut since) = (self.run.counters.tokens, Instant::now());
        while !self.run.is_done() {
            if let Some(logged) = pollster::block_on(self.run.step())? {
                let seconds = since.elapsed().as_secs_f64();
                let rate = (logged.tokens - tokens) as f64 / seconds;
                (tokens, since) = (logged.tokens, Instant::now());
                self.log(&logged, rate)?;
            }
            let (step, config) = (self.run.counters.step, &self.run.config);
            let due = |every: usize| every > 0 && step.is_multiple_of(every);
            let stopping = self.run.world().any(self.must_stop());
            let last = self.run.is_done();
            let (evaluate, save) =
                (due(config.eval_every) || last, due(config.save_every) || last || stopping);
            if evaluate {
                self.evaluate()?;
            }
            if save {
                self.save()?;
            }
            if evaluate || save {
                (tokens, since) = (self.run.counters.tokens, Instant::now());
            }
            if stopping && !last {
                return self.say_how_to_go_on();
            }
        }
        self.finish()
    }

    fn must_stop(&self) -> bool {
        let over = self.args.stop_after.is_some_and(|limit| self.started.elapsed() >= limit);
        over || self.stop.load(Ordering::Relaxed)
    }

    /// What is about to be trained.
    fn announce(&self) -> Result<()> {
        let Some(_) = &self.journal else { return Ok(()) };
        let network = self.run.network();
        let (config, index) = (&self.run.config, self.run.index());
        print_line(&json!({
            "event": "plan", "objective": config.objective, "steps": config.num_train_steps,
            "parameters": burn::module::Module::num_params(&network),
            "examples": self.run.examples(), "held_out": self.run.held_out(),
            "max_seq_length": index.settings.max_seq_length,
            "examples_per_step": config.batch_size * config.accumulate * self.run.world().size(),
            "ranks": self.run.world().size(), "tokens": index.tokens,
            "gflop_per_step": self.run.flop_per_step() / 1e9,
        }))
    }

    fn log(&mut self, logged: &LoggedStep, rate: f64) -> Result<()> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let tokens_per_step = logged.tokens as f64 / logged.step as f64;
        let mut line = line("step", logged.step, logged);
        line["tokens_per_s"] = json!(rate.round());
        line["gflop_per_s"] =
            json!((rate / tokens_per_step * self.run.flop_per_step() / 1e9).round());
        journal.write(&line)?;
        self.bar.set_position(logged.step as u64);
        self.bar.set_message(format!(
            "gen_loss {:.3}, disc_loss {:.4}, {rate:.0} tokens/s, {} GFLOP/s,",
            logged.gen_loss, logged.disc_loss, line["gflop_per_s"]
        ));
        try_print_line(&line).map(drop)
    }

    fn evaluate(&mut self) -> Result<()> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let Some(evaluation) = pollster::block_on(self.run.evaluate())? else { return Ok(()) };
        let step = self.run.counters.step;
        let line = line("evaluation", step, &evaluation);
        journal.write(&line)?;
        self.bar.suspend(|| say(in_words(step, &evaluation)));
        try_print_line(&line).map(drop)
    }

    fn save(&mut self) -> Result<()> {
        if self.journal.is_none() {
            return Ok(());
        }
        let folder = self.args.checkpoints();
        let path = pollster::block_on(self.run.save(&folder))?;
        tidy(&folder, self.run.config.keep_checkpoints);
        let step = self.run.counters.step;
        try_print_line(&json!({"event": "checkpoint", "step": step, "path": path})).map(drop)
    }

    fn say_how_to_go_on(&self) -> Result<()> {
        let data = self
            .args
            .data
            .as_ref()
            .map_or(String::new(), |data| format!(" --data {}", data.display()));
        let output = self.args.output.display();
        let device = match self.args.device.device.as_str() {
            "auto" => String::new(),
            other => format!(" --device {other}"),
        };
        if self.journal.is_some() {
            say(format_args!("stopped at step {}; to go on:", self.run.counters.step));
            say(format_args!("  electra pretrain{data} --output {output}{device} --resume"));
        }
        Ok(())
    }

    /// The trained models, in Hugging Face's format.
    fn finish(&self) -> Result<()> {
        if self.journal.is_none() {
            return Ok(());
        }
        let network = self.run.network();
        let tensors = pollster::block_on(pretrained::tensors(&network))?;
        let mut written = Vec::new();
        for (name, files) in self.run.export(&tensors)? {
            let path = self.args.output.join(name);
            pretrained::write_folder(&path, &files)?;
            say(format_args!("wrote {}", path.display()));
            written.push(path);
        }
        let seconds = self.started.elapsed().as_secs_f64().round();
        print_line(
            &json!({"event": "done", "step": self.run.counters.step, "seconds": seconds, "models": written}),
        )
    }
}

fn in_words(step: usize, e: &Evaluation) -> String {
    let generator = format!(
        "step {step}: held out: gen_loss {:.3}, masked_lm_accuracy {:.3}",
        e.gen_loss, e.masked_lm_accuracy
    );
    match &e.detection {
        None => generator,
        Some(d) => format!(
            "{generator}; disc_loss {:.4}, disc_auc {:.3}, precision {:.3}, recall {:.3}, {:.1} % replaced",
            d.disc_loss,
            d.disc_auc,
            d.disc_precision,
            d.disc_recall,
            d.share_replaced * 100.0
        ),
    }
}
