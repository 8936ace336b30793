//! `electra predict`

use std::path::PathBuf;

use electra::error::{Error, Result};
use electra::finetune::check_vocabulary;
use electra::pretrained;
use electra::query::{Details, Input, Pipeline, Query};
use electra::tokenizer::Tokenizer;

use super::lines::Lines;
use super::{DeviceArg, LineOutput, at, batch_size, check_file, progress_bar, read_model, say};

/// Run a model on texts
///
/// Input is a line each: plain text, or JSON: {"text":..,"text_pair":..}, {"words":[..]} for a
/// tagger, {"question":..,"context":..} for a question answerer, or raw
/// {"input_ids":[..],"token_type_ids":[..],"attention_mask":[..]}. Output is a JSON object a
/// line, in the same order: {"label","score","scores"} from a classifier, {"labels","scores"} where
/// a text has several, {"value"} from a regression, {"words","labels","scores"} from a tagger,
/// {"answer","start","end","score","no_answer_score"} from a question answerer,
/// {"tokens","offsets","replaced"} from a discriminator ({"tokens","energies","score"} from one of
/// Electric: score is a pseudo-log-likelihood), {"tokens","predictions"} for each [MASK] from a
/// generator.
///
/// Memory does not grow with the input: answers are written as they are there, a file's batch by
/// batch, a stream's as soon as its lines have come. A line that cannot be read ends the run after
/// the lines before it were answered. An output file is there when all of it is.
#[derive(clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct Args {
    /// The model folder
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// A file, or - for standard input
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// A file, or - for standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Add the logits as the model gives them
    #[arg(long)]
    logits: bool,
    /// Candidates for each [MASK]
    #[arg(long, value_name = "N", default_value_t = 5)]
    top_k: usize,
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = batch_size)]
    batch_size: usize,
    #[command(flatten)]
    device: DeviceArg,
}

pub fn run(args: Args) -> Result<()> {
    check_file(args.output.as_ref())?;
    let files = read_model(&args.model)?;
    let inside = |e| at(&args.model, e);
    let tokenizer = Tokenizer::from_files(&files).map_err(inside)?;
    let config = pretrained::read_config(&files).map_err(inside)?;
    check_vocabulary(&tokenizer, &config).map_err(inside)?;
    // So many go through the network between two reads: with few, long and short ones share batches.
    let most = args.batch_size * 8;
    let lines = Lines::open(args.input.as_deref(), most)?;
    let device = args.device.open()?.device;
    let model = pretrained::load(&files, &device).map_err(inside)?.model;
    drop(files);
    let pipeline = Pipeline::new(model, config, &tokenizer, args.batch_size, &device);
    let pipeline = pipeline.map_err(inside)?;
    let details = Details { logits: args.logits, top_k: args.top_k };
    let mut output = LineOutput::open(args.output.as_ref())?;
    let bar = progress_bar(0, "{pos} done, {per_sec}");
    let mut done = 0;
    loop {
        let batch = lines.next_batch(most);
        if batch.is_empty() {
            break;
        }
        let (queries, failure) = queries(&pipeline, &lines.source, done, batch);
        let answers = pollster::block_on(pipeline.ask(&queries, details)).map_err(inside)?;
        bar.suspend(|| output.write(&answers))?;
        if let Some(error) = failure {
            return Err(error);
        }
        done += queries.len();
        bar.set_position(done as u64);
    }
    bar.finish_and_clear();
    output.finish()
}

/// The lines as the network takes them, after `done` others; up to the first that it cannot take,
/// and why.
fn queries(
    pipeline: &Pipeline,
    source: &str,
    done: usize,
    lines: Vec<Result<String>>,
) -> (Vec<Query>, Option<Error>) {
    let mut queries = Vec::new();
    for (number, line) in (done + 1..).zip(lines) {
        let place = format!("{source}, line {number}");
        let input = line.and_then(|line| Input::from_line(&line, &place));
        let query = match input.and_then(|input| pipeline.query(&input, number, &place)) {
            Ok(query) => query,
            Err(error) => return (queries, Some(error)),
        };
        if query.is_cut() {
            say(format_args!("{place}: cut to {} tokens", pipeline.max_seq_length()));
        }
        queries.push(query);
    }
    (queries, None)
}
