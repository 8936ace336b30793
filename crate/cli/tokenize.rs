//! `electra tokenize`

use std::path::PathBuf;

use electra::error::Result;
use electra::tokenizer::{Tokenizer, Truncation};
use serde_json::json;

use super::{at, print_line, read_input, read_model};

/// Show how a model's tokenizer cuts texts
///
/// Reads a text a line; prints {"input_ids":[..],"tokens":[..]} for each.
#[derive(clap::Args)]
pub struct Args {
    /// The model folder
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// A file, or - for standard input
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
}

pub fn run(args: Args) -> Result<()> {
    let files = read_model(&args.model)?;
    let tokenizer = Tokenizer::from_files(&files).map_err(|e| at(&args.model, e))?;
    for line in read_input(args.input.as_deref())?.lines() {
        let encoding = tokenizer.encode(line, None, usize::MAX, Truncation::LongestFirst)?;
        print_line(&json!({"input_ids": encoding.input_ids, "tokens": encoding.tokens}))?;
    }
    Ok(())
}
