//! The commands, a file each.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use electra::checkpoint::{self, ModelFiles};
use electra::dataset::{ColumnChoice, Table, read_table};
use electra::device::{self, Picked};
use electra::error::{Error, Result};
use electra::self_test::self_test;
use serde::Serialize;

mod bench;
mod convert;
mod evaluate;
mod finetune;
mod predict;
mod tokenize;

/// ELECTRA on your own GPU or CPU: fine-tune on your text, evaluate, predict.
///
/// Models are Hugging Face folders, in and out. Results are JSON lines on stdout; progress goes
/// to stderr.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Finetune(finetune::Args),
    Evaluate(evaluate::Args),
    Predict(predict::Args),
    Tokenize(tokenize::Args),
    Convert(convert::Args),
    Bench(bench::Args),
}

pub fn run() -> Result<()> {
    match Cli::parse().command {
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
    #[arg(long, value_name = "C")]
    text_column: Option<String>,
    /// The column with the second text of a pair
    #[arg(long, value_name = "C")]
    pair_column: Option<String>,
    /// The column with the label
    #[arg(long, value_name = "C")]
    label_column: Option<String>,
}

impl ColumnArgs {
    fn choice(&self) -> ColumnChoice {
        let (text, pair) = (self.text_column.clone(), self.pair_column.clone());
        ColumnChoice { text, pair, label: self.label_column.clone() }
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
        let mut picked = device::pick(&self.device)?;
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
        eprintln!("device: {} ({}): {}", picked.kind, picked.name, picked.reason);
        Ok(picked)
    }
}

fn read_model(path: &Path) -> Result<ModelFiles> {
    checkpoint::read_folder(path).map_err(|error| at(path, error))
}

/// Says in which folder a file of an error is.
fn at(path: &Path, error: Error) -> Error {
    let inside = path.display().to_string();
    match error.place.starts_with(&inside) {
        true => error,
        false => Error { place: format!("{inside}, {}", error.place), ..error },
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::new(path.display(), format!("cannot be read ({e})")))
}

fn read_rows(path: &Path) -> Result<Table> {
    read_table(&path.display().to_string(), &read_file(path)?)
}

/// `-` or nothing is standard input.
fn read_input(path: Option<&Path>) -> Result<String> {
    let place = path.map_or("standard input".into(), |p| p.display().to_string());
    let bytes = match path.filter(|p| *p != Path::new("-")) {
        Some(path) => read_file(path)?,
        None => {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::io::stdin(), &mut bytes)
                .map_err(|e| Error::new(&place, e))?;
            bytes
        }
    };
    String::from_utf8(bytes).map_err(|e| {
        let valid = e.utf8_error().valid_up_to();
        Error::new(place, format!("is not UTF-8 (byte {valid})")).fix("Save it as UTF-8.")
    })
}

/// One JSON line on stdout. A reader that went away ends the program quietly.
fn print_line(value: &impl Serialize) -> Result<()> {
    let line = serde_json::to_string(value).map_err(|e| Error::new("result", e))?;
    match writeln!(std::io::stdout(), "{line}") {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => result.map_err(|e| Error::new("standard output", e)),
    }
}

/// JSON lines into a file that is there whole or not at all, or to stdout.
fn write_lines(output: Option<&PathBuf>, values: &[impl Serialize]) -> Result<()> {
    let Some(path) = output.filter(|p| p.as_path() != Path::new("-")) else {
        return values.iter().try_for_each(print_line);
    };
    let failed = |e: std::io::Error| Error::new(path.display(), format!("cannot be written ({e})"));
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(parent).map_err(failed)?;
    for value in values {
        let line = serde_json::to_string(value).map_err(|e| Error::new("result", e))?;
        writeln!(file, "{line}").map_err(failed)?;
    }
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}

/// A bar on a terminal; nothing where stderr is a file.
fn progress_bar(length: usize, template: &str) -> indicatif::ProgressBar {
    let style = indicatif::ProgressStyle::with_template(template).expect("a fixed template");
    indicatif::ProgressBar::new(length as u64).with_style(style.progress_chars("━╸ "))
}
