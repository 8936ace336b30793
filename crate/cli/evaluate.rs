//! `electra evaluate`

use std::path::PathBuf;

use electra::checkpoint;
use electra::config::ElectraConfig;
use electra::dataset::Kind;
use electra::error::{Error, Result};
use electra::finetune::check_vocabulary;
use electra::predict::logits;
use electra::tasks::question_answering::Windowing;
use electra::tasks::{Examples, Known, check_pairs, kind_of};
use electra::tokenizer::Tokenizer;
use serde_json::{Value, json};

use super::{
    ColumnArgs, DeviceArg, at, batch_size, check_file, max_seq_length, print_line, read_model,
    read_source, say, within, write_lines,
};

/// Measure a fine-tuned model on labelled text
///
/// Prints one JSON object with the scores of the model's task and the rows that it got most wrong:
/// accuracy, F1, MCC and confusion matrix of a classifier; F1 of several labels; Pearson, Spearman
/// and MSE of scores; entities' precision, recall and F1 of tags; exact match and F1 of answers, as
/// SQuAD's scripts have them.
#[derive(clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct Args {
    /// A fine-tuned model folder
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The labelled text
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// What the model does; its config.json says so
    #[arg(long, value_name = "TASK", value_parser = super::parse_task)]
    task: Option<Kind>,
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
    /// From the start of one window of a long context to the next, in tokens
    #[arg(long, value_name = "N", default_value_t = 128,
        value_parser = within(1usize.., "a whole number above 0"))]
    doc_stride: usize,
    #[command(flatten)]
    device: DeviceArg,
}

pub fn run(args: Args) -> Result<()> {
    check_file(args.output.as_ref())?;
    let files = read_model(&args.model)?;
    let inside = |e| at(&args.model, e);
    let tokenizer = Tokenizer::from_files(&files).map_err(inside)?;
    let config = checkpoint::read_config(&files).map_err(inside)?;
    let max_seq_length = max_seq_length(args.max_seq_length, &config)?;
    check_vocabulary(&tokenizer, &config).map_err(inside)?;
    let kind = task(&config, args.task).map_err(inside)?;
    let examples = read(&args, kind, &config)?;
    check_pairs(&examples, &config).map_err(inside)?;
    for problem in examples.skipped().iter().take(10) {
        say(format_args!("skipped row {}: {}", problem.row, problem.reason));
    }
    let windowing =
        Windowing { max_seq_length, doc_stride: args.doc_stride, ..Windowing::default() };
    let encoded = examples.encode(&tokenizer, &windowing, false)?;
    let device = args.device.open()?.device;
    let model = checkpoint::load(&files, &device).map_err(inside)?.model;
    let run = logits(&model, &encoded.features, args.batch_size, max_seq_length, &device);
    let logits = pollster::block_on(run)?;
    if let Some(output) = &args.output {
        let lines: Vec<Value> = examples.predictions(&encoded, &logits, &config);
        write_lines(Some(output), &lines)?;
    }
    let mut line = json!(examples.evaluate(&encoded, &logits));
    line["task"] = json!(kind);
    line["skipped"] = json!(examples.skipped().len());
    print_line(&line)
}

fn read(args: &Args, kind: Kind, config: &ElectraConfig) -> Result<Examples> {
    let source = read_source(&args.data)?;
    let mut known = Known::of(config, kind)?;
    if kind == Kind::Classification {
        // Labels without names are LABEL_0 and so on, as in transformers.
        known.labels = Some(super::class_names(config));
    }
    let reading = args.columns.reading();
    let examples = Examples::read(kind, &source.name, &source.bytes, &reading, &known)?;
    match examples.is_labelled() {
        true => Ok(examples),
        false => Err(Error::new(&source.name, "there are examples without a label")
            .fix("electra predict takes unlabelled ones.")),
    }
}

/// What the model was fine-tuned for.
fn task(config: &ElectraConfig, asked: Option<Kind>) -> Result<Kind> {
    let Some(kind) = kind_of(config)? else {
        return Err(Error::new("config.json", "this model was not fine-tuned for any task")
            .fix("Fine-tune it first: electra finetune."));
    };
    match asked.filter(|asked| *asked != kind) {
        None => Ok(kind),
        Some(asked) => {
            let problem = format!("is for {}, not for {}", kind.name(), asked.name());
            Err(Error::new("config.json", problem).fix("Leave --task out, or give another model."))
        }
    }
}
