//! `electra convert`

use std::path::PathBuf;

use burn::tensor::Device;
use electra::checkpoint::{self, Dtype};
use electra::error::Result;
use electra::tokenizer::Tokenizer;

use super::{at, read_model};

/// Write a model folder anew: pytorch_model.bin to model.safetensors, or another precision
#[derive(clap::Args)]
pub struct Args {
    /// The model folder to read
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The folder to write
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// The precision of the weights
    #[arg(long, default_value = "f32", value_parser = ["f32", "f16"])]
    dtype: String,
}

pub fn run(args: Args) -> Result<()> {
    let files = read_model(&args.from)?;
    let inside = |e| at(&args.from, e);
    let loaded = checkpoint::load(&files, &Device::flex()).map_err(inside)?;
    let dtype = if args.dtype == "f16" { Dtype::F16 } else { Dtype::F32 };
    let saved = checkpoint::save_as(&loaded.model, &loaded.config, loaded.architecture, dtype);
    let mut saved = pollster::block_on(saved)?;
    saved.extend(Tokenizer::from_files(&files).map_err(inside)?.to_files()?);
    checkpoint::write_folder(&args.to, &saved)?;
    eprintln!("wrote {}", args.to.display());
    Ok(())
}
