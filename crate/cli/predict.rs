//! `electra predict`

use std::path::PathBuf;

use electra::batch::Features;
use electra::checkpoint;
use electra::error::Result;
use electra::finetune::check_vocabulary;
use electra::predict::logits;
use electra::query::{Asked, Details, Input, Query};
use electra::tokenizer::Tokenizer;

use super::{
    DeviceArg, at, batch_size, check_file, progress_bar, read_input, read_model, say, write_lines,
};

/// Run a model on texts
///
/// Input is a line each: plain text, or JSON: {"text":..,"text_pair":..}, {"words":[..]} for a
/// tagger, {"question":..,"context":..} for a question answerer, or raw
/// {"input_ids":[..],"token_type_ids":[..],"attention_mask":[..]}. Output is a JSON object a
/// line, in the same order: {"label","score","scores"} from a classifier, {"labels","scores"} where
/// a text has several, {"value"} from a regression, {"words","labels","scores"} from a tagger,
/// {"answer","start","end","score","no_answer_score"} from a question answerer, {"tokens","replaced"} from a discriminator ({"tokens","energies","score"} from one
/// of Electric: score is a pseudo-log-likelihood), {"tokens","predictions"} for each [MASK] from a
/// generator.
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
    let text = read_input(args.input.as_deref())?;
    let source = args.input.as_ref().map_or("standard input".into(), |p| p.display().to_string());
    let place = |line: usize| format!("{source}, line {}", line + 1);
    let inputs = text.lines().enumerate().map(|(i, line)| Input::from_line(line, &place(i)));
    let inputs: Vec<Input> = inputs.collect::<Result<_>>()?;
    let config = checkpoint::read_config(&files).map_err(inside)?;
    check_vocabulary(&tokenizer, &config).map_err(inside)?;
    let length = config.max_position_embeddings;
    let asked = Asked::new(&tokenizer, &config, length).map_err(inside)?;
    let queries = inputs.iter().enumerate().map(|(i, input)| asked.query(input, i + 1, &place(i)));
    let queries: Vec<Query> = queries.collect::<Result<_>>()?;
    for (line, _) in queries.iter().enumerate().filter(|(_, query)| query.is_cut()) {
        say(format_args!("{}: cut to {length} tokens", place(line)));
    }
    let device = args.device.open()?.device;
    let loaded = checkpoint::load(&files, &device).map_err(inside)?;
    let bar = progress_bar(queries.len(), "{bar:30} {pos}/{len} {eta} left");
    let details = Details { logits: args.logits, top_k: args.top_k };
    let mut lines = Vec::new();
    // A generator's logits are many: a part at a time keeps memory flat.
    for part in queries.chunks(args.batch_size * 8) {
        let features: Vec<&Features> = part.iter().flat_map(|query| &query.features).collect();
        let run = logits(&loaded.model, &features, args.batch_size, length, &device);
        let mut logits = pollster::block_on(run)?.into_iter();
        for query in part {
            let own: Vec<Vec<f32>> = logits.by_ref().take(query.features.len()).collect();
            lines.push(asked.answer(query, &own, details).map_err(inside)?);
        }
        bar.inc(part.len() as u64);
    }
    bar.finish_and_clear();
    write_lines(args.output.as_ref(), &lines)
}
