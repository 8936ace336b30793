//! `electra evaluate`

use std::path::PathBuf;

use electra::checkpoint;
use electra::dataset::{choose_columns, classification};
use electra::error::{Error, Result};
use electra::finetune::{check_length, check_vocabulary};
use electra::heads::Architecture;
use electra::predict::logits;
use electra::tasks::classification::{Prediction, evaluate, features};
use electra::tokenizer::Tokenizer;
use serde_json::json;

use super::{ColumnArgs, DeviceArg, at, print_line, read_model, read_rows, write_lines};

/// Measure a fine-tuned model on labelled text
///
/// Prints one JSON object: accuracy, macro and per-class F1, MCC, confusion matrix, and the rows
/// that the model got most wrong.
#[derive(clap::Args)]
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
    #[arg(long, value_name = "N", default_value_t = 32)]
    batch_size: usize,
    /// Texts are cut to that many tokens
    #[arg(long, value_name = "N", default_value_t = 128)]
    max_seq_length: usize,
    #[command(flatten)]
    device: DeviceArg,
}

pub fn run(args: Args) -> Result<()> {
    let files = read_model(&args.model)?;
    let inside = |e| at(&args.model, e);
    let tokenizer = Tokenizer::from_files(&files).map_err(inside)?;
    let config = checkpoint::read_config(&files).map_err(inside)?;
    check_length(args.max_seq_length, &config)?;
    check_vocabulary(&tokenizer, &config).map_err(inside)?;
    let labels = match (Architecture::of(&config).map_err(inside)?, config.labels()) {
        (Architecture::SequenceClassification, Some(labels)) => labels,
        (architecture, _) => {
            let problem = format!("is an {}, not a classifier", architecture.name(&config));
            return Err(Error::new(args.model.display(), problem)
                .fix("Fine-tune it first: electra finetune."));
        }
    };
    let table = read_rows(&args.data)?;
    let columns = choose_columns(&table, &args.columns.choice())?;
    let set = classification(&table, &columns, Some(&labels))?;
    if columns.label.is_none() {
        return Err(
            Error::new(args.data.display(), "has no label column").fix("Name it: --label-column.")
        );
    }
    for problem in set.skipped.iter().take(10) {
        eprintln!("skipped row {}: {}", problem.row, problem.reason);
    }
    let features = features(&tokenizer, &set.examples, args.max_seq_length)?;
    let device = args.device.open()?.device;
    let model = checkpoint::load(&files, &device).map_err(inside)?.model;
    let run = logits(&model, &features, args.batch_size.max(1), args.max_seq_length, &device);
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
