//! `electra prepare`

use std::path::PathBuf;

use electra::corpus::input::{ReadOptions, find_inputs};
use electra::corpus::packing::Packing;
use electra::corpus::prepare::{PrepareOptions, prepare};
use electra::corpus::read_tokenizer;
use electra::error::Result;
use electra::tokenizer::Tokenizer;
use serde_json::json;

use super::{
    at, check_folder, hub, input_bytes, megabytes_bar, print_line, say, say_skipped, within,
};

/// Turn text into examples for pre-training
///
/// Reads .txt (a sentence or paragraph a line, a blank line between documents) and .jsonl (a
/// document a line), also .gz and .zst. Run again with the same options, it goes on where it was
/// interrupted. Prints one JSON object.
#[derive(clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct Args {
    /// Files, folders, or globs
    #[arg(long, value_name = "PATHS", num_args = 1.., required = true)]
    input: Vec<PathBuf>,
    /// The folder of a tokenizer or a model
    #[arg(long, value_name = "DIR")]
    tokenizer: PathBuf,
    /// Tokens of an example, special ones included
    #[arg(long, value_name = "N",
        value_parser = within(8..=65535usize, "a whole number from 8 to 65535"))]
    max_seq_length: usize,
    /// The folder to write
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Replace what an earlier run left in the folder
    #[arg(long)]
    overwrite: bool,
    /// Threads; all cores by default. The result does not depend on it
    #[arg(long, value_name = "N",
        value_parser = within(1..=1024usize, "a whole number from 1 to 1024"))]
    jobs: Option<usize>,
    /// full: no token is lost. reference: as google-research/electra, which drops what does not fit
    #[arg(long, default_value = "full", value_parser = ["full", "reference"])]
    packing: String,
    /// Share of the documents to hold out for evaluation
    #[arg(long, value_name = "F", default_value_t = 0.01,
        value_parser = within(0.0..=0.5f64, "a number from 0 to 0.5"))]
    eval_fraction: f64,
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// The field of a .jsonl object that holds the text
    #[arg(long, value_name = "F", default_value = "text")]
    field: String,
    /// A text file is one document, whatever blank lines it has
    #[arg(long)]
    document_per_file: bool,
    /// Most examples of a shard; about 64 MB by default
    #[arg(long, value_name = "N", value_parser = within(1usize.., "a whole number above 0"))]
    shard_size: Option<usize>,
}

pub fn run(args: Args) -> Result<()> {
    // A folder in use is no error here: an earlier run may have left it to go on with.
    check_folder(&args.output, true)?;
    let found = find_inputs(&args.input)?;
    say_skipped(&found);
    let files = read_tokenizer(&hub::find(&args.tokenizer)?)?;
    Tokenizer::from_files(&files).map_err(|e| at(&args.tokenizer, e))?;
    let options = args.options();
    let bar = megabytes_bar(input_bytes(&found)?);
    let report = prepare(&found.inputs, &files, &options, &args.output, &mut |progress| {
        bar.set_position(progress.bytes_read);
        Ok(())
    });
    bar.finish_and_clear();
    let report = report?;
    if report.eval_examples == 0 && options.eval_fraction > 0.0 {
        say("nothing is held out for evaluation: the text is one document");
    }
    let mut line = json!(report);
    line["output"] = json!(args.output.display().to_string());
    print_line(&line)
}

impl Args {
    fn options(&self) -> PrepareOptions {
        let read =
            ReadOptions { field: self.field.clone(), document_per_file: self.document_per_file };
        let usual = PrepareOptions::default();
        PrepareOptions {
            max_seq_length: self.max_seq_length,
            packing: if self.packing == "full" { Packing::Full } else { Packing::Reference },
            eval_fraction: self.eval_fraction,
            seed: self.seed,
            read,
            shard_size: self.shard_size,
            jobs: self.jobs.unwrap_or(usual.jobs),
            overwrite: self.overwrite,
        }
    }
}
