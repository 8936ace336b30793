//! `electra vocab`

use std::path::PathBuf;
use std::time::Instant;

use electra::corpus::input::{ReadOptions, find_inputs};
use electra::corpus::vocabulary::{VocabularyOptions, train_vocabulary};
use electra::error::{Error, Result};
use electra::pretrained;
use electra::tokenizer::Tokenizer;
use serde_json::json;

use super::{check_folder, input_bytes, megabytes_bar, print_line, say, say_skipped, within};

/// Make a WordPiece vocabulary from text
///
/// Reads .txt (a sentence or paragraph a line) and .jsonl, also .gz and .zst. Writes a tokenizer
/// that transformers loads, too; prints one JSON object.
#[derive(clap::Args)]
pub struct Args {
    /// Files, folders, or globs
    #[arg(long, value_name = "PATHS", num_args = 1.., required = true)]
    input: Vec<PathBuf>,
    /// Tokens of the vocabulary
    #[arg(long, value_name = "N",
        value_parser = within(10..=1_000_000usize, "a whole number from 10 to 1000000"))]
    size: usize,
    /// The folder to write
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Write into a folder that is not empty
    #[arg(long)]
    overwrite: bool,
    /// Tell capital letters from small ones; accents are kept, too
    #[arg(long)]
    cased: bool,
    /// Keep accents, also where capital letters are made small
    #[arg(long)]
    keep_accents: bool,
    /// Take accents away, also with --cased
    #[arg(long, conflicts_with = "keep_accents")]
    strip_accents: bool,
    /// Pieces that follow each other less often are not joined
    #[arg(long, value_name = "N", default_value_t = 2,
        value_parser = within(1u64.., "a whole number above 0"))]
    min_frequency: u64,
    /// Characters to keep; words with others are unknown. A thirtieth of the size by default, from
    /// 100 to 1000: raise it for scripts of many characters
    #[arg(long, value_name = "N", value_parser = within(1usize.., "a whole number above 0"))]
    alphabet: Option<usize>,
    /// The field of a .jsonl object that holds the text
    #[arg(long, value_name = "F", default_value = "text")]
    field: String,
}

pub fn run(args: Args) -> Result<()> {
    let start = Instant::now();
    check_folder(&args.output, args.overwrite)?;
    let found = find_inputs(&args.input)?;
    say_skipped(&found);
    let options = VocabularyOptions {
        size: args.size,
        lower_case: !args.cased,
        strip_accents: args.strip_accents || !(args.cased || args.keep_accents),
        min_frequency: args.min_frequency,
        alphabet: args.alphabet,
        read: ReadOptions { field: args.field, document_per_file: true },
    };
    let bar = megabytes_bar(input_bytes(&found)?);
    let vocabulary = train_vocabulary(&found.inputs, &options, |bytes| bar.set_position(bytes))?;
    bar.finish_and_clear();
    // transformers must find in the files what was trained.
    let tokenizer = Tokenizer::from_files(&vocabulary.files)?;
    if tokenizer.vocab_size() != vocabulary.size {
        return Err(Error::new("vocabulary", "was not read back as it was written"));
    }
    pretrained::write_folder(&args.output, &tokenizer.to_files()?)?;
    if vocabulary.size < args.size {
        say(format_args!("the text supports {} tokens, fewer than asked", vocabulary.size));
    }
    print_line(&json!({
        "size": vocabulary.size, "words": vocabulary.words,
        "characters": vocabulary.characters, "characters_seen": vocabulary.characters_seen,
        "covered_share": vocabulary.covered_share, "bytes": vocabulary.bytes,
        "seconds": start.elapsed().as_secs_f64(), "output": args.output.display().to_string(),
    }))
}
