//! `electra convert`

use std::path::PathBuf;

use burn::tensor::Device;
use electra::error::Result;
use electra::pretrained::{self, Dtype};
use electra::tokenizer::Tokenizer;

use super::{at, check_folder, read_model, say};

/// Write a model folder anew: pytorch_model.bin to model.safetensors, or another precision
#[derive(clap::Args)]
pub struct Args {
    /// The model folder to read
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The folder to write
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Write into a folder that is not empty
    #[arg(long)]
    overwrite: bool,
    /// The precision of the weights
    #[arg(long, default_value = "f32", value_parser = ["f32", "f16"])]
    dtype: String,
}

pub fn run(args: Args) -> Result<()> {
    check_folder(&args.to, args.overwrite)?;
    let files = read_model(&args.from)?;
    let inside = |e| at(&args.from, e);
    let loaded = pretrained::load(&files, &Device::flex()).map_err(inside)?;
    loaded.notes.iter().for_each(|note| say(format_args!("{}: {note}", args.from.display())));
    let dtype = if args.dtype == "f16" { Dtype::F16 } else { Dtype::F32 };
    let saved = pretrained::save_as(&loaded.model, &loaded.config, loaded.architecture, dtype);
    let mut saved = pollster::block_on(saved)?;
    // Weights alone are worth converting, too.
    if files.contains_key("tokenizer.json") || files.contains_key("vocab.txt") {
        saved.extend(Tokenizer::from_files(&files).map_err(inside)?.to_files()?);
    }
    pretrained::write_folder(&args.to, &saved)?;
    say(format_args!("wrote {}", args.to.display()));
    Ok(())
}
