//! Tasks by name, `--glue`, `--squad` and `--conll2000`: which files belong to one, the paper's
//! settings for it, what it is measured by, and the files to hand in.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use electra::config::ElectraConfig;
use electra::dataset::glue::{self, Split};
use electra::dataset::{Kind, LabelledFile, read_tagging};
use electra::error::{Error, Result};
use electra::files::write_folder;
use electra::finetune::Source;
use electra::heads::class_names;
use electra::metrics::is_entity_scheme;
use electra::pretrained::{self, Loaded, ModelFiles};
use electra::query::{Outputs, Pipeline};
use electra::tasks::{Examples, Known, Metric, Reading};
use electra::tokenizer::Tokenizer;
use electra::train::FinetuneConfig;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{progress_bar, read_model, read_source, say, try_print_line};

/// A task by its name. Its options exclude each other and those for files of one's own.
#[derive(clap::Args)]
pub struct NameArgs {
    /// A task of GLUE: cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte or wnli
    #[arg(long, value_name = "NAME", group = "name", requires = "data_dir", value_parser = glue_task)]
    glue: Option<&'static glue::Task>,
    /// The questions of SQuAD 1.1 or 2.0
    #[arg(long, value_name = "VERSION", group = "name", requires = "data_dir", value_parser = ["1.1", "2.0"])]
    squad: Option<String>,
    /// The chunks of CoNLL-2000
    #[arg(long, group = "name", requires = "data_dir")]
    conll2000: bool,
    /// The folder with that task's files as they are downloaded, or the folder that holds it
    #[arg(long, value_name = "DIR", requires = "name")]
    data_dir: Option<PathBuf>,
}

fn glue_task(name: &str) -> std::result::Result<&'static glue::Task, String> {
    glue::find(name).map_err(|error| format!("{}. {}", error.problem, error.remedy))
}

impl NameArgs {
    pub fn task(&self) -> Option<Named> {
        let name = match self {
            NameArgs { glue: Some(task), .. } => Name::Glue(task),
            NameArgs { squad: Some(version), .. } => Name::Squad(version.clone()),
            NameArgs { conll2000: true, .. } => Name::Conll2000,
            _ => return None,
        };
        Some(Named { name, folder: self.data_dir.clone()? })
    }
}

enum Name {
    Glue(&'static glue::Task),
    /// `1.1` or `2.0`.
    Squad(String),
    Conll2000,
}

/// A task by its name, and where its files are.
pub struct Named {
    name: Name,
    folder: PathBuf,
}

/// One file of it.
pub struct SplitFile {
    pub split: Split,
    pub path: PathBuf,
}

/// What is done with its files beyond training.
pub struct NamedRun {
    pub named: Named,
    /// How they are read.
    pub reading: Reading,
    /// Labelled ones, that which chooses the best model first.
    pub eval: Vec<SplitFile>,
    tests: Vec<SplitFile>,
}

// ---- What is known of a task ----

impl Named {
    pub fn title(&self) -> String {
        match &self.name {
            Name::Glue(task) => task.name.to_string(),
            Name::Squad(version) => format!("squad {version}"),
            Name::Conll2000 => "conll2000".into(),
        }
    }

    pub fn kind(&self) -> Kind {
        match &self.name {
            Name::Glue(task) => task.kind(),
            Name::Squad(_) => Kind::QuestionAnswering,
            Name::Conll2000 => Kind::Tagging,
        }
    }

    /// What it is measured by; the first one chooses the best model.
    pub fn metrics(&self) -> Vec<Metric> {
        let names: &[&str] = match &self.name {
            Name::Glue(task) => task.metrics,
            Name::Squad(_) => &["f1", "exact"],
            Name::Conll2000 => &["f1"],
        };
        names.iter().filter_map(|name| Metric::named(name)).collect()
    }

    /// The line of a labelled file; of the metrics it has those of the task alone.
    pub fn measure(&self, split: &str, outputs: &Outputs) -> Value {
        let metrics = self.metrics();
        let mut line = outputs.measure(metrics.first().copied());
        let own =
            |metric: Metric| (metric.name().to_string(), line["metrics"][metric.name()].clone());
        let own: Map<String, Value> = metrics.into_iter().map(own).collect();
        line["benchmark"] = json!(self.title());
        line["split"] = json!(split);
        line["metrics"] = json!(own);
        line
    }

    fn epochs_and_length(&self) -> (f64, usize) {
        match &self.name {
            Name::Glue(task) => (task.epochs, glue::MAX_SEQ_LENGTH),
            Name::Squad(_) => (2.0, 512),
            Name::Conll2000 => (3.0, 256),
        }
    }

    /// The paper's settings (its table 7), for a model of that size and with positions for no more
    /// than the model has.
    pub fn settings(&self, config: &ElectraConfig) -> FinetuneConfig {
        let (learning_rate, layerwise_decay) = match config.hidden_size {
            ..=256 => (3e-4, 0.8),
            257..=1023 => (1e-4, 0.8),
            _ => (5e-5, 0.9),
        };
        let (epochs, length) = self.epochs_and_length();
        let usual = FinetuneConfig::default();
        let max_seq_length = length.min(config.max_position_embeddings);
        // A shorter window moves by less, and leaves less of a question.
        let part = |tokens: usize| (tokens * max_seq_length / length).max(1);
        let is_squad = matches!(self.name, Name::Squad(_));
        FinetuneConfig {
            epochs,
            batch_size: 32,
            learning_rate,
            warmup: 0.1,
            weight_decay: 0.0,
            layerwise_decay,
            max_seq_length,
            doc_stride: if is_squad { part(128) } else { usual.doc_stride },
            max_query_length: if is_squad { part(64) } else { usual.max_query_length },
            double_pairs: matches!(&self.name, Name::Glue(task) if task.is_symmetric),
            metric: self.metrics().first().copied(),
            ..usual
        }
    }

    /// Says which of them hold: those that were not given.
    pub fn say_settings(&self, settings: &FinetuneConfig, given: &[&str], config: &ElectraConfig) {
        let mut options = vec![
            ("--learning-rate", settings.learning_rate.to_string()),
            ("--layerwise-decay", settings.layerwise_decay.to_string()),
            ("--batch-size", settings.batch_size.to_string()),
            ("--warmup", settings.warmup.to_string()),
            ("--weight-decay", settings.weight_decay.to_string()),
            ("--epochs", settings.epochs.to_string()),
            ("--max-seq-length", settings.max_seq_length.to_string()),
        ];
        if matches!(self.name, Name::Squad(_)) {
            options.push(("--doc-stride", settings.doc_stride.to_string()));
            options.push(("--max-query-length", settings.max_query_length.to_string()));
        }
        options.retain(|(option, _)| !given.contains(option));
        let options = options.iter().map(|(option, value)| format!("{option} {value}"));
        let doubled = settings.double_pairs.then(|| "--double-pairs".to_string());
        let words: Vec<String> = options.chain(doubled).collect();
        let (title, hidden) = (self.title(), config.hidden_size);
        say(format_args!(
            "{title}, with the paper's settings for a hidden size of {hidden}: {}",
            words.join(" ")
        ));
        let (_, length) = self.epochs_and_length();
        if settings.max_seq_length < length && !given.contains(&"--max-seq-length") {
            let limit = config.max_position_embeddings;
            say(format_args!("the length is {limit} instead of {length}: the model takes no more"));
        }
        let metrics = self.metrics().into_iter().map(Metric::name);
        let metrics: Vec<&str> = metrics.collect();
        say(format_args!("measured by {}; the first one chooses", metrics.join(", ")));
    }

    /// What a model that was fine-tuned for this task knows.
    ///
    /// # Errors
    /// Its labels are not those of the task.
    pub fn known(&self, config: &ElectraConfig) -> Result<Known> {
        let mut known = Known::of(config, self.kind())?;
        let Name::Glue(task) = &self.name else { return Ok(known) };
        if task.labels.is_empty() {
            return Ok(known);
        }
        let own = class_names(config);
        let same =
            own.len() == task.labels.len() && own.iter().all(|l| task.labels.contains(&&**l));
        let unnamed = own == ["LABEL_0", "LABEL_1"] && task.labels == ["0", "1"];
        match (same, unnamed) {
            (true, _) => known.labels = Some(own),
            (_, true) => known.labels = Some(task.label_names()),
            _ => {
                let (own, labels) = (own.join(", "), task.labels.join(", "));
                let problem = format!("{own} are not the labels of {}: {labels}", task.name);
                return Err(Error::new("config.json, id2label", problem).fix(
                    "Give a model that was fine-tuned for this task; if this one was, name its \
                     labels in id2label, in the order of its logits.",
                ));
            }
        }
        Ok(known)
    }
}

// ---- Files ----

impl Named {
    /// Finds the training file and the others, and reads those that are used at the end only: what
    /// is wrong with them is told before there is work to lose.
    pub fn open(self) -> Result<(PathBuf, NamedRun)> {
        let train = self.require(Split::Train)?.path;
        let (eval, tests) = (self.eval()?, self.tests()?);
        let paths: Vec<&Path> =
            [train.as_path()].into_iter().chain(eval.iter().map(|part| &*part.path)).collect();
        let reading = self.reading(&paths)?;
        for part in eval.iter().skip(1).chain(&tests) {
            self.read(part, &reading, &Known::default())?;
        }
        Ok((train, NamedRun { named: self, reading, eval, tests }))
    }

    /// Labelled files to measure on, the one that chooses the best model first.
    pub fn eval(&self) -> Result<Vec<SplitFile>> {
        let mut parts = Vec::new();
        match self.name {
            // CoNLL-2000 comes without one; the paper's figure is that of the test file.
            Name::Conll2000 => match self.find(Split::Dev)? {
                Some(dev) => {
                    parts.push(dev);
                    parts.extend(self.find(Split::Test)?);
                }
                None => parts.push(self.require(Split::Test)?),
            },
            _ => {
                parts.push(self.require(Split::Dev)?);
                parts.extend(self.find(Split::DevMismatched)?);
                if matches!(&self.name, Name::Glue(task) if task.name == "mnli") && parts.len() < 2
                {
                    say("there is no dev_mismatched.tsv: matched pairs alone are measured");
                }
            }
        }
        Ok(parts)
    }

    /// Files without labels, to hand predictions in for.
    pub fn tests(&self) -> Result<Vec<SplitFile>> {
        let Name::Glue(task) = &self.name else { return Ok(Vec::new()) };
        let parts = task.splits().iter().filter(|split| !split.is_labelled());
        parts.filter_map(|split| self.find(*split).transpose()).collect()
    }

    fn require(&self, split: Split) -> Result<SplitFile> {
        if let Some(part) = self.find(split)? {
            return Ok(part);
        }
        let title = self.title();
        let what = match (split, &self.name) {
            (Split::Train, _) => "training",
            (_, Name::Conll2000) => "development or test",
            _ => "development",
        };
        let mut tried = self.paths(split);
        if matches!(self.name, Name::Conll2000) && split == Split::Test {
            tried.splice(0..0, self.paths(Split::Dev));
        }
        let problem = match self.folder.is_dir() {
            true => format!("there is no {what} file of {title}"),
            false => format!("is no folder; the files of {title} are looked for there"),
        };
        Err(Error::new(self.folder.display(), problem).fix(format!(
            "Looked for {}.\n  {}",
            tried.join(", "),
            self.origin()
        )))
    }

    /// Where the files are to be had, in words.
    fn origin(&self) -> String {
        match &self.name {
            Name::Glue(task) => format!(
                "GLUE is to be had at gluebenchmark.com under Tasks: download {} and unzip it into \
                 this folder.",
                task.folders[0]
            ),
            Name::Squad(version) => format!(
                "SQuAD is to be had at rajpurkar.github.io/SQuAD-explorer: put train-v{version}.json \
                 and dev-v{version}.json into this folder."
            ),
            Name::Conll2000 => "The chunking data are to be had at the page of CoNLL-2000's shared \
                task (clips.uantwerpen.be/conll2000/chunking): put train.txt.gz and test.txt.gz into \
                this folder."
                .into(),
        }
    }

    /// Where a file may lie below the folder, to be tried in this order: the original's names, too.
    fn paths(&self, split: Split) -> Vec<String> {
        let part = if split == Split::Train { "train" } else { "dev" };
        match &self.name {
            Name::Glue(task) => glue::paths(task, split),
            Name::Squad(_) if !matches!(split, Split::Train | Split::Dev) => Vec::new(),
            Name::Squad(version) => {
                let own = if version == "1.1" { "squadv1" } else { "squad" };
                let full = format!("{part}-v{version}.json");
                vec![
                    full.clone(),
                    format!("squad/{full}"),
                    format!("{own}/{part}.json"),
                    format!("{part}.json"),
                ]
            }
            Name::Conll2000 => {
                let file = match split {
                    Split::Train | Split::Dev => part,
                    Split::Test => "test",
                    _ => return Vec::new(),
                };
                let folders = ["chunk/", "conll2000/", ""].into_iter();
                let plain = folders.map(|folder| format!("{folder}{file}.txt"));
                plain.flat_map(|path| [path.clone(), path + ".gz"]).collect()
            }
        }
    }

    fn find(&self, split: Split) -> Result<Option<SplitFile>> {
        let mut paths = self.paths(split).into_iter().map(|path| self.folder.join(path));
        let Some(path) = paths.find(|path| path.exists()) else { return Ok(None) };
        if let Name::Squad(version) = &self.name {
            check_version(version, &read_source(&path)?)?;
        }
        Ok(Some(SplitFile { split, path }))
    }

    /// How the files are to be read. The tags of CoNLL-2000 are collected over all of them, as in
    /// the original: a rare one stands in the test file only, and its sentences must count.
    fn reading(&self, paths: &[&Path]) -> Result<Reading> {
        let mut reading = Reading::default();
        match &self.name {
            Name::Glue(task) => reading.glue = Some(task),
            Name::Squad(_) => {}
            Name::Conll2000 => {
                let tags = |path: &&Path| -> Result<Vec<String>> {
                    let Source { name, bytes } = read_source(path)?;
                    read_tagging(&LabelledFile::new(&name, &bytes), None, None)
                        .map(|set| set.labels)
                };
                let mut labels = paths.first().map_or(Ok(Vec::new()), tags)?;
                // Of the others an error is told when they are read for good.
                labels.extend(paths.iter().skip(1).flat_map(tags).flatten());
                labels.sort();
                labels.dedup();
                if !is_entity_scheme(&labels) {
                    let name = paths.first().map(|path| path.display().to_string());
                    let name = name.unwrap_or_default();
                    return Err(Error::new(name, "the last column holds no chunks such as B-NP")
                        .fix(
                            "Give CoNLL-2000's files: a word, its part of speech and its chunk.",
                        ));
                }
                reading.labels = Some(labels);
            }
        }
        Ok(reading)
    }

    /// Reads a file for a model that knows `known`.
    ///
    /// # Errors
    /// Nothing in it can be used, or a row of a test file cannot be read.
    pub fn read(&self, part: &SplitFile, reading: &Reading, known: &Known) -> Result<Examples> {
        let Source { name, bytes } = &read_source(&part.path)?;
        match &self.name {
            Name::Glue(task) => {
                let labels = known.labels.as_deref();
                glue::read_glue_as(task, part.split, name, bytes, labels, known.range)
                    .map(Examples::Texts)
            }
            _ => Examples::read(self.kind(), &LabelledFile::new(name, bytes), reading, known),
        }
    }

    /// As results name it.
    pub fn split_name(&self, split: Split) -> &'static str {
        let is_mnli = matches!(&self.name, Name::Glue(task) if task.name == "mnli");
        match split {
            Split::Train => "train",
            Split::Dev if is_mnli => "dev_matched",
            Split::Dev => "dev",
            Split::DevMismatched => "dev_mismatched",
            Split::Test if is_mnli => "test_matched",
            Split::Test => "test",
            Split::TestMismatched => "test_mismatched",
            Split::Diagnostic => "diagnostic",
        }
    }
}

/// SQuAD says in the file which one it is.
fn check_version(version: &str, source: &Source) -> Result<()> {
    #[derive(Deserialize)]
    struct Head {
        version: String,
    }
    // What cannot be read is the reader's to tell.
    let Ok(Head { version: found }) = serde_json::from_slice(&source.bytes) else { return Ok(()) };
    let found = found.trim_start_matches('v');
    if found == version || !["1.1", "2.0"].contains(&found) {
        return Ok(());
    }
    Err(Error::new(&source.name, format!("is SQuAD {found}, not {version}"))
        .fix(format!("Pass --squad {found}, or give the other file.")))
}

// ---- After training ----

/// Runs examples through a model, with a bar.
pub fn run_with_bar<'a>(pipeline: &'a Pipeline, examples: &'a Examples) -> Result<Outputs<'a>> {
    let bar = progress_bar(examples.len(), "{bar:30} {pos}/{len} {eta} left");
    let progress = |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    };
    let outputs = pollster::block_on(pipeline.run(examples, progress))?;
    bar.finish_and_clear();
    Ok(outputs)
}

impl NamedRun {
    /// Measures the model in `folder` on all labelled files, prints a line for each, writes the
    /// files to hand in below the folder, and says so in the result.
    pub fn finish(
        &self,
        folder: &Path,
        tokenizer: &Tokenizer,
        settings: &FinetuneConfig,
        device: &Device,
        done: &mut Value,
    ) -> Result<()> {
        let NamedRun { named, reading, eval, tests } = self;
        let Loaded { model, config, .. } = pretrained::load(&read_model(folder)?, device)?;
        let known = named.known(&config)?;
        let pipeline = Pipeline::new(model, config, tokenizer, settings.batch_size, device)?
            .with_windowing(settings.windowing());
        done["benchmark"] = json!(named.title());
        for part in eval {
            let examples = named.read(part, reading, &known)?;
            let split = named.split_name(part.split);
            let mut line = named.measure(split, &run_with_bar(&pipeline, &examples)?);
            line["event"] = json!("split");
            say(format_args!("{split}: {}", line["metrics"]));
            done["metrics"][split] = line["metrics"].clone();
            try_print_line(&line)?;
        }
        let files = named.submission(&pipeline, eval, tests, reading)?;
        if files.is_empty() {
            return Ok(());
        }
        done["submission"] = json!(files.keys().collect::<Vec<_>>());
        write_submission(&folder.join("submission"), &files)
    }
}

pub fn write_submission(folder: &Path, files: &ModelFiles) -> Result<()> {
    write_folder(folder, files, |_| true)?;
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    say(format_args!("wrote {}: {}", folder.display(), names.join(", ")));
    Ok(())
}

impl Named {
    /// The files to hand in: GLUE's for its test files, predictions of SQuAD's development file.
    pub fn submission(
        &self,
        pipeline: &Pipeline,
        eval: &[SplitFile],
        tests: &[SplitFile],
        reading: &Reading,
    ) -> Result<ModelFiles> {
        let known = self.known(pipeline.config())?;
        let predict = |part: &SplitFile| -> Result<Vec<Value>> {
            let rows = self.read(part, reading, &known)?;
            say(format_args!("predicting {} ({} rows)", part.path.display(), rows.len()));
            Ok(run_with_bar(pipeline, &rows)?.predictions())
        };
        match &self.name {
            Name::Glue(task) => {
                let file = |part: &SplitFile| -> Result<(String, Vec<u8>)> {
                    let name = glue::submission_name(task, part.split).expect("a test split");
                    let rows: Vec<String> = predict(part)?.iter().map(answer).collect();
                    Ok((name, glue::submission(task, &rows)?.into_bytes()))
                };
                tests.iter().map(file).collect()
            }
            Name::Squad(version) => {
                let Some(dev) = eval.first() else { return Ok(ModelFiles::new()) };
                let answers = predict(dev)?;
                let by_id = |key: &str| -> Map<String, Value> {
                    let id = |line: &Value| line["id"].as_str().unwrap_or_default().to_string();
                    answers.iter().map(|line| (id(line), line[key].clone())).collect()
                };
                let text = |map: Map<String, Value>| json!(map).to_string().into_bytes();
                let mut files =
                    ModelFiles::from([("predictions.json".into(), text(by_id("answer")))]);
                if version == "2.0" {
                    files.insert("null_odds.json".into(), text(by_id("no_answer_score")));
                }
                Ok(files)
            }
            Name::Conll2000 => Ok(ModelFiles::new()),
        }
    }
}

/// A label, or a score, as a word.
fn answer(line: &Value) -> String {
    let label = line["label"].as_str().map(String::from);
    label.unwrap_or_else(|| line["value"].to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: Name) -> Named {
        Named { name, folder: "data".into() }
    }

    fn glue_named(name: &str) -> Named {
        named(Name::Glue(glue::find(name).unwrap()))
    }

    fn config(hidden_size: usize, max_position_embeddings: usize) -> ElectraConfig {
        ElectraConfig { hidden_size, max_position_embeddings, ..ElectraConfig::default() }
    }

    /// Table 7 of the paper.
    #[test]
    fn settings_are_the_papers() {
        let flat = |named: &Named, hidden: usize| {
            let s = named.settings(&config(hidden, 512));
            assert_eq!((s.batch_size, s.warmup, s.weight_decay), (32, 0.1, 0.0));
            (s.learning_rate, s.layerwise_decay, s.epochs, s.max_seq_length)
        };
        let cola = glue_named("cola");
        assert_eq!(flat(&cola, 128), (3e-4, 0.8, 3.0, 128));
        assert_eq!(flat(&cola, 256), (3e-4, 0.8, 3.0, 128));
        assert_eq!(flat(&cola, 768), (1e-4, 0.8, 3.0, 128));
        assert_eq!(flat(&cola, 1024), (5e-5, 0.9, 3.0, 128));
        assert_eq!(flat(&glue_named("rte"), 256), (3e-4, 0.8, 10.0, 128));
        assert_eq!(flat(&glue_named("stsb"), 256), (3e-4, 0.8, 10.0, 128));
        assert_eq!(flat(&named(Name::Squad("1.1".into())), 1024), (5e-5, 0.9, 2.0, 512));
        assert_eq!(flat(&named(Name::Conll2000), 768), (1e-4, 0.8, 3.0, 256));
        let doubled = |name: &str| glue_named(name).settings(&config(256, 512)).double_pairs;
        let names = glue::TASKS.iter().map(|task| task.name).filter(|name| doubled(name));
        assert_eq!(names.collect::<Vec<_>>(), ["mrpc", "stsb"]);
    }

    #[test]
    fn a_short_model_cuts_the_length_and_what_goes_with_it() {
        let cut = |named: Named, limit| {
            let settings = named.settings(&config(256, limit));
            (settings.max_seq_length, settings.doc_stride, settings.max_query_length)
        };
        assert_eq!(cut(named(Name::Squad("2.0".into())), 512), (512, 128, 64));
        assert_eq!(cut(named(Name::Squad("2.0".into())), 128), (128, 32, 16));
        assert_eq!(cut(glue_named("rte"), 64), (64, 128, 64));
    }

    #[test]
    fn every_task_has_its_metrics() {
        let first = |named: Named| named.settings(&config(256, 512)).metric;
        assert_eq!(first(glue_named("cola")), Some(Metric::Mcc));
        assert_eq!(first(glue_named("stsb")), Some(Metric::Spearman));
        assert_eq!(glue_named("qqp").metrics(), [Metric::Accuracy, Metric::F1]);
        for task in glue::TASKS {
            let named = named(Name::Glue(task));
            let metrics = named.metrics();
            assert_eq!(metrics.len(), task.metrics.len(), "{}", task.name);
            assert!(metrics.iter().all(|metric| metric.is_of(named.kind())), "{}", task.name);
        }
    }

    #[test]
    fn the_originals_names_are_looked_for() {
        let squad = |version: &str, split| named(Name::Squad(version.into())).paths(split);
        assert_eq!(squad("1.1", Split::Dev)[0], "dev-v1.1.json");
        assert!(squad("1.1", Split::Train).contains(&"squadv1/train.json".into()));
        assert!(squad("2.0", Split::Train).contains(&"squad/train.json".into()));
        let conll = named(Name::Conll2000).paths(Split::Test);
        assert!(conll.contains(&"chunk/test.txt".into()) && conll.contains(&"test.txt.gz".into()));
    }

    #[test]
    fn a_squad_file_of_the_other_version_is_told() {
        let check = |version: &str, text: &str| {
            check_version(version, &Source { name: "dev.json".into(), bytes: text.into() })
        };
        assert!(check("1.1", r#"{"data": [], "version": "1.1"}"#).is_ok());
        assert!(check("2.0", r#"{"version": "v2.0", "data": []}"#).is_ok());
        assert!(check("1.1", r#"{"data": []}"#).is_ok());
        let error = check("1.1", r#"{"version": "v2.0", "data": []}"#).unwrap_err().to_string();
        assert!(error.contains("SQuAD 2.0, not 1.1") && error.contains("--squad 2.0"), "{error}");
    }

    #[test]
    fn labels_of_a_model_must_be_the_tasks() {
        let with = |labels: &[&str]| {
            let mut config = config(256, 512);
            config.architectures = Some(vec!["ElectraForSequenceClassification".into()]);
            config.set_labels(&labels.iter().map(|l| l.to_string()).collect::<Vec<_>>());
            config
        };
        let mnli = ["entailment", "neutral", "contradiction"];
        let known = glue_named("mnli").known(&with(&mnli)).unwrap();
        assert_eq!(known.labels.unwrap(), mnli, "the model's order holds");
        let unnamed = glue_named("cola").known(&with(&["LABEL_0", "LABEL_1"])).unwrap();
        assert_eq!(unnamed.labels.unwrap(), ["0", "1"]);
        let error = glue_named("rte").known(&with(&["LABEL_0", "LABEL_1"])).unwrap_err();
        assert!(error.problem.contains("LABEL_0, LABEL_1"), "{error}");
        assert!(error.problem.contains("entailment, not_entailment"), "{error}");
    }
}
