//! The commands, a file each.

use std::fmt::Display;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Parser, Subcommand};
use electra::config::ElectraConfig;
use electra::corpus::input::Found;
use electra::dataset::ColumnChoice;
use electra::device::{self, Picked};
use electra::error::{Error, Result};
use electra::files::{NewFile, folder_of, unwritable};
use electra::finetune::{Source, check_length};
use electra::pretrained::{self, ModelFiles};
use electra::self_test::self_test;
use electra::tasks::Reading;
use electra::train::FinetuneConfig;
use flate2::read::MultiGzDecoder;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

mod bench;
mod convert;
mod evaluate;
mod finetune;
mod hub;
mod lines;
mod named;
mod predict;
mod prepare;
mod pretrain;
mod several;
mod stopped;
mod tokenize;
mod vocab;

/// ELECTRA on your own GPU or CPU: pre-train in your language, fine-tune on your text, predict.
///
/// Models are Hugging Face folders, in and out; to read one, its name on the hub will do. Results are JSON lines on stdout; progress goes
/// to stderr.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one, for as long as the program runs")]
enum Command {
    Vocab(vocab::Args),
    Prepare(prepare::Args),
    Pretrain(pretrain::Args),
    Finetune(finetune::Args),
    Evaluate(evaluate::Args),
    Predict(predict::Args),
    Tokenize(tokenize::Args),
    Convert(convert::Args),
    Bench(bench::Args),
}

pub fn run() -> Result<()> {
    match Cli::parse().command {
        Command::Vocab(args) => vocab::run(args),
        Command::Prepare(args) => prepare::run(args),
        Command::Pretrain(args) => pretrain::run(args),
        Command::Finetune(args) => finetune::run(args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Predict(args) => predict::run(args),
        Command::Tokenize(args) => tokenize::run(args),
        Command::Convert(args) => convert::run(args),
        Command::Bench(args) => bench::run(args),
    }
}

/// Which columns of a table to use; found by their names and contents where not given.
#[derive(clap::Args)]
struct ColumnArgs {
    /// The column with the text
    #[arg(long, value_name = "C", conflicts_with = "name")]
    text_column: Option<String>,
    /// The column with the second text of a pair
    #[arg(long, value_name = "C", conflicts_with = "name")]
    pair_column: Option<String>,
    /// The column with the label
    #[arg(long, value_name = "C", conflicts_with = "name")]
    label_column: Option<String>,
    /// Columns of 0 and 1, one for each label of a multi-label task
    #[arg(long, value_name = "C,C,..", value_delimiter = ',', conflicts_with = "name")]
    label_columns: Vec<String>,
    /// The column or JSON field with the tags of words: its name, or its number from 1 where columns
    /// have no names
    #[arg(long, value_name = "C", conflicts_with = "name")]
    tag_column: Option<String>,
    /// The sheet of a spreadsheet; without it the first that has rows
    #[arg(long, value_name = "NAME", conflicts_with = "name")]
    sheet: Option<String>,
}

impl ColumnArgs {
    fn reading(&self) -> Reading {
        let (text, pair) = (self.text_column.clone(), self.pair_column.clone());
        Reading {
            columns: ColumnChoice { text, pair, label: self.label_column.clone() },
            label_columns: self.label_columns.clone(),
            tag_column: self.tag_column.clone(),
            sheet: self.sheet.clone(),
            ..Reading::default()
        }
    }
}

/// Where to compute.
#[derive(clap::Args)]
struct DeviceArg {
    /// Where to compute; `auto` takes a real GPU where there is one, else the CPU
    #[arg(long, default_value = "auto", value_parser = device::CHOICES)]
    device: String,
}

impl DeviceArg {
    /// Opens the device, tests a GPU against the CPU, and says on stderr what was taken and why.
    fn open(&self) -> Result<Picked> {
        self.open_nth(None)
    }

    /// The same, with the GPU of that number where there are several.
    fn open_nth(&self, gpu: Option<usize>) -> Result<Picked> {
        let mut picked = device::pick_nth(&self.device, gpu)?;
        if picked.kind != "cpu" {
            match pollster::block_on(self_test(&picked.device)) {
                Ok(_) => {}
                Err(error) if self.device == "auto" => {
                    picked =
                        device::cpu(&format!("{} failed its test: {}", picked.name, error.problem));
                }
                Err(error) => return Err(error),
            }
        }
        say(format_args!("device: {} ({}): {}", picked.kind, picked.name, picked.reason));
        Ok(picked)
    }
}

/// Reads a number of this range; `words` say what it must be.
fn within<T: FromStr + PartialOrd>(
    range: impl RangeBounds<T> + Clone,
    words: &'static str,
) -> impl Fn(&str) -> std::result::Result<T, String> + Clone {
    move |word| {
        let number = word.parse::<T>().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("must be {words}"))
    }
}

/// What batches may hold: the limit is far above any use, and far below an overflow.
fn batch_size(word: &str) -> std::result::Result<usize, String> {
    within(1..=65536, "a whole number from 1 to 65536")(word)
}

/// The length asked for, or the usual one where the model has positions for it.
fn max_seq_length(asked: Option<usize>, config: &ElectraConfig) -> Result<usize> {
    let usual = FinetuneConfig::default().max_seq_length;
    let length = asked.unwrap_or(usual.min(config.max_position_embeddings));
    let named = |e| Error { place: "--max-seq-length".into(), ..e };
    check_length(length, config).map_err(named)?;
    Ok(length)
}

/// The files of a model: of a folder, a zip, or a name on the Hugging Face hub.
fn read_model(path: &Path) -> Result<ModelFiles> {
    let found = hub::find(path)?;
    pretrained::read_folder(&found).map_err(|error| match hub::near(path) {
        Some(near) if !found.exists() => {
            at(path, error.fix(format!("Did you mean {}?", near.display())))
        }
        _ => at(path, error),
    })
}

/// Says in which folder a file of an error is.
fn at(path: &Path, error: Error) -> Error {
    let inside = path.display().to_string();
    let rest = error.place.strip_prefix(&inside);
    match rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ','])) {
        true => error,
        false => Error { place: format!("{inside}, {}", error.place), ..error },
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| unreadable(path, e))
}

fn unreadable(path: &Path, e: std::io::Error) -> Error {
    Error::new(path.display(), format!("cannot be read ({e})"))
        .fix("Check that the file is there and that you may read it.")
}

fn not_utf8(source: &str, line: usize, byte: usize) -> Error {
    Error::new(source, format!("is not UTF-8 (line {line}, byte {byte} of the file)"))
        .fix("Save it as UTF-8.")
}

/// A file of data, unpacked where its name ends in `.gz`; its name is then without that.
fn read_source(path: &Path) -> Result<Source> {
    let (name, bytes) = (path.display().to_string(), read_file(path)?);
    let Some(plain) = name.strip_suffix(".gz") else { return Ok(Source { name, bytes }) };
    let mut unpacked = Vec::new();
    let read = MultiGzDecoder::new(&bytes[..]).read_to_end(&mut unpacked);
    read.map_err(|e| {
        Error::new(&name, format!("is no whole gzip file ({e})"))
            .fix("Get it again, or give the unpacked file.")
    })?;
    Ok(Source { name: plain.to_string(), bytes: unpacked })
}

/// A word of the command line as serde reads it; of one that is none, the error lists those there are.
fn word<T: DeserializeOwned>(word: &str) -> std::result::Result<T, String> {
    serde_json::from_value(json!(word)).map_err(|e| e.to_string())
}

/// `-` or nothing is standard input. A byte order mark is no part of the text.
fn read_input(path: Option<&Path>) -> Result<String> {
    let place = path.map_or("standard input".into(), |p| p.display().to_string());
    let bytes = match path.filter(|p| *p != Path::new("-")) {
        Some(path) => read_file(path)?,
        None => {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).map_err(|e| Error::new(&place, e))?;
            bytes
        }
    };
    let text = std::str::from_utf8(&bytes).map_err(|e| {
        let valid = e.valid_up_to();
        let line = bytes[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
        not_utf8(&place, line, valid)
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text).to_string())
}

/// A line on stderr, in one piece: ranks share it, and what ends them may cut what comes in several. That nobody
/// reads it is no reason to stop.
pub fn say(words: impl Display) {
    let _ = std::io::stderr().write_all(format!("{words}\n").as_bytes());
}

fn to_line(value: &impl Serialize) -> Result<String> {
    let line = serde_json::to_string(value).map_err(|e| Error::new("result", e))?;
    Ok(line + "\n")
}

/// One JSON line on stdout; `false` where nobody reads any more.
fn try_print_line(value: &impl Serialize) -> Result<bool> {
    try_print(&to_line(value)?)
}

fn try_print(text: &str) -> Result<bool> {
    let mut stdout = std::io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(Error::new("standard output", format!("cannot be written ({e})"))),
    }
}

/// One JSON line on stdout. A reader that went away ends the program quietly.
fn print_line(value: &impl Serialize) -> Result<()> {
    if !try_print_line(value)? {
        std::process::exit(0);
    }
    Ok(())
}

/// Looks at an output folder before there is work to lose.
fn check_folder(path: &Path, overwrite: bool) -> Result<()> {
    if path.symlink_metadata().is_ok() && !path.is_dir() {
        return Err(Error::new(path.display(), "is there and is no folder")
            .fix("Choose another output folder."));
    }
    let used = std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    if used && !overwrite {
        return Err(Error::new(path.display(), "the output folder is not empty")
            .fix("Choose another one, or pass --overwrite."));
    }
    if path.is_dir() {
        check_room(path, path)?;
    }
    // What is not there yet is made on the way.
    let above = path.ancestors().skip(1).find(|folder| folder.exists());
    check_room(above.unwrap_or(Path::new(".")), path)
}

/// Makes a file in `folder`, which goes away at once, to see whether `path` can be written.
fn check_room(folder: &Path, path: &Path) -> Result<()> {
    tempfile::tempfile_in(folder).map(drop).map_err(|e| unwritable(path, e))
}

/// `-` is standard output.
fn output_file(output: Option<&PathBuf>) -> Option<&Path> {
    output.map(PathBuf::as_path).filter(|path| *path != Path::new("-"))
}

/// Looks at an output file before there is work to lose.
fn check_file(output: Option<&PathBuf>) -> Result<()> {
    let Some(path) = output_file(output) else { return Ok(()) };
    if path.is_dir() {
        return Err(Error::new(path.display(), "is a folder").fix("Give the name of a file."));
    }
    plain_file(path).map_or(Ok(()), |file| check_room(folder_of(&file), path))
}

/// The file to replace as a whole. `None` where the path must be written through: it is a
/// device, a pipe, or a link to nowhere.
fn plain_file(path: &Path) -> Option<PathBuf> {
    match path.canonicalize() {
        Ok(file) => file.is_file().then_some(file),
        Err(_) => (!path.is_symlink()).then(|| path.to_path_buf()),
    }
}

/// Where JSON lines go: to stdout, or into a file that is there whole or not at all.
enum LineOutput<'a> {
    Stdout,
    New(NewFile, &'a Path),
    /// What is no plain file is written through.
    Through(File, &'a Path),
}

impl<'a> LineOutput<'a> {
    fn open(output: Option<&'a PathBuf>) -> Result<Self> {
        let Some(path) = output_file(output) else { return Ok(LineOutput::Stdout) };
        match plain_file(path) {
            Some(file) => Ok(LineOutput::New(NewFile::create(&file)?, path)),
            None => {
                let file = File::create(path).map_err(|e| unwritable(path, e))?;
                Ok(LineOutput::Through(file, path))
            }
        }
    }

    /// A reader of stdout that went away ends the program quietly.
    fn write(&mut self, values: &[impl Serialize]) -> Result<()> {
        let text = values.iter().map(to_line).collect::<Result<String>>()?;
        match self {
            LineOutput::New(file, path) => {
                file.write_all(text.as_bytes()).map_err(|e| unwritable(path, e))
            }
            LineOutput::Through(file, path) => {
                file.write_all(text.as_bytes()).map_err(|e| unwritable(path, e))
            }
            LineOutput::Stdout if try_print(&text)? => Ok(()),
            LineOutput::Stdout => std::process::exit(0),
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            LineOutput::New(file, _) => file.commit(),
            LineOutput::Through(..) | LineOutput::Stdout => Ok(()),
        }
    }
}

fn write_lines(output: Option<&PathBuf>, values: &[impl Serialize]) -> Result<()> {
    let mut lines = LineOutput::open(output)?;
    lines.write(values)?;
    lines.finish()
}

/// A bar on a terminal; nothing where stderr is a file.
fn progress_bar(length: usize, template: &str) -> indicatif::ProgressBar {
    let style = indicatif::ProgressStyle::with_template(template).expect("a fixed template");
    indicatif::ProgressBar::new(length as u64).with_style(style.progress_chars("━╸ "))
}

/// Ctrl-C asks the loop to stop, which then says `words`; a second one ends the program.
fn stop_flag(words: &'static str) -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let seen = flag.clone();
    let handler = move || {
        if seen.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        say(words);
    };
    // Without a handler Ctrl-C ends the program, which is what it would do anyway.
    let _ = ctrlc::set_handler(handler);
    flag
}

/// Files of folders that were not read are named: nobody should believe they were.
fn say_skipped(found: &Found) {
    for path in found.skipped.iter().take(10) {
        say(format_args!("skipped {}: of no supported kind", path.display()));
    }
    if found.skipped.len() > 10 {
        say(format_args!("skipped {} files in all", found.skipped.len()));
    }
}

/// What the inputs hold on disk.
fn input_bytes(found: &Found) -> Result<u64> {
    let sizes = found.inputs.iter().map(|input| input.info().map(|info| info.bytes));
    sizes.sum()
}

fn megabytes_bar(bytes: u64) -> indicatif::ProgressBar {
    let template = "{wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";
    progress_bar(bytes as usize, template)
}
