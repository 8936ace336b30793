//! `electra evaluate`

use std::path::PathBuf;

use electra::checkpoint;
use electra::config::ElectraConfig;
use electra::error::{Error, Result};
use electra::finetune::{check_pairs, check_vocabulary, labelled};
use electra::heads::Architecture;
use electra::predict::logits;
use electra::tasks::classification::{Prediction, evaluate, features};
use electra::tokenizer::Tokenizer;
use serde_json::json;

use super::{
    ColumnArgs, DeviceArg, at, batch_size, check_file, class_names, max_seq_length, print_line,
    problem_type, read_model, read_rows, say, within, write_lines,
};

/// Measure a fine-tuned model on labelled text
///
/// Prints one JSON object: accuracy, macro and per-class F1, MCC, confusion matrix, and the rows
/// that the model got most wrong.
#[derive(clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct Args {
    /// A fine-tuned model folder
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The labelled text
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// What the model does
    #[arg(long, default_value = "classification", value_parser = ["classification"])]
    task: String,
    /// Also write a prediction for every row, one JSON object a line
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    columns: ColumnArgs,
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = batch_size)]
    batch_size: usize,
    /// Texts are cut to that many tokens; 128 by default, less where the model takes less
    #[arg(long, value_name = "N", value_parser = within(1usize.., "a whole number above 0"))]
    max_seq_length: Option<usize>,
    #[command(flatten)]
    device: DeviceArg,
}

pub fn run(args: Args) -> Result<()> {
    check_file(args.output.as_ref())?;
    let files = read_model(&args.model)?;
    let inside = |e| at(&args.model, e);
    let tokenizer = Tokenizer::from_files(&files).map_err(inside)?;
    let config = checkpoint::read_config(&files).map_err(inside)?;
    let length = max_seq_length(args.max_seq_length, &config)?;
    check_vocabulary(&tokenizer, &config).map_err(inside)?;
    check_classifier(&config).map_err(inside)?;
    let labels = class_names(&config);
    let set = labelled(&read_rows(&args.data)?, &args.columns.choice(), Some(&labels))?;
    check_pairs(&set, &config).map_err(inside)?;
    for problem in set.skipped.iter().take(10) {
        say(format_args!("skipped row {}: {}", problem.row, problem.reason));
    }
    let features = features(&tokenizer, &set.examples, length)?;
    let device = args.device.open()?.device;
    let model = checkpoint::load(&files, &device).map_err(inside)?.model;
    let run = logits(&model, &features, args.batch_size, length, &device);
    let logits = pollster::block_on(run)?;
    if let Some(output) = &args.output {
        let lines = set.examples.iter().zip(&logits).map(|(example, logits)| {
            let mut line = json!(Prediction::new(logits, &labels, true));
            line["row"] = json!(example.row);
            line["true_label"] = json!(example.label.map(|l| &labels[l]));
            line
        });
        write_lines(Some(output), &lines.collect::<Vec<_>>())?;
    }
    let mut line = json!(evaluate(&set, &logits));
    line["skipped"] = json!(set.skipped.len());
    print_line(&line)
}

/// Only one label of several can be right or wrong.
fn check_classifier(config: &ElectraConfig) -> Result<()> {
    let architecture = Architecture::of(config)?;
    let problem = match (architecture, problem_type(config)) {
        (Architecture::SequenceClassification, "single_label_classification") => return Ok(()),
        (Architecture::SequenceClassification, other) => {
            format!("is for {other}, which is not evaluated yet")
        }
        _ => format!("is an {}, not a classifier", architecture.name(config)),
    };
    Err(Error::new("config.json", problem).fix("Fine-tune it first: electra finetune."))
}
