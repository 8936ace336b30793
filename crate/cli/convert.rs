//! `electra convert`

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use electra::error::Result;
use electra::files::{folder_of, write_folder};
use electra::finetune::check_vocabulary;
use electra::pretrained::{self, Dtype, ModelFiles, Part};
use electra::tokenizer::Tokenizer;

use super::{at, check_folder, read_file, read_model, say};

/// Write a model folder anew: pytorch_model.bin to model.safetensors, another precision, or from a
/// checkpoint of google-research/electra
#[derive(clap::Args)]
pub struct Args {
    /// The model folder to read; or a TensorFlow checkpoint: its folder, or its files' name without .index
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The folder to write; of a checkpoint it holds the folders discriminator and generator
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
    let dtype = if args.dtype == "f16" { Dtype::F16 } else { Dtype::F32 };
    let is_model = args.from.join("config.json").exists();
    match pretrained::find_checkpoint(&args.from)?.filter(|_| !is_model) {
        Some(prefix) => from_checkpoint(&args, &prefix, dtype)?,
        None => from_model(&args, dtype)?,
    }
    say(format_args!("wrote {}", args.to.display()));
    Ok(())
}

fn from_model(args: &Args, dtype: Dtype) -> Result<()> {
    let files = read_model(&args.from)?;
    let inside = |e| at(&args.from, e);
    let loaded = pretrained::load(&files, &Device::flex()).map_err(inside)?;
    loaded.notes.iter().for_each(|note| say(format_args!("{}: {note}", args.from.display())));
    let saved = pretrained::save_as(&loaded.model, &loaded.config, loaded.architecture, dtype);
    let mut saved = pollster::block_on(saved)?;
    // Weights alone are worth converting, too.
    if files.contains_key("tokenizer.json") || files.contains_key("vocab.txt") {
        saved.extend(Tokenizer::from_files(&files).map_err(inside)?.to_files()?);
    }
    pretrained::write_folder(&args.to, &saved)
}

/// Of a checkpoint of google-research/electra, the discriminator and, where it holds one, the
/// generator, each a folder, with the vocabulary that lies beside it.
fn from_checkpoint(args: &Args, prefix: &Path, dtype: Dtype) -> Result<()> {
    let original = pretrained::read_checkpoint(prefix)?;
    if let Some(note) = pretrained::left_behind_note(&original.left_behind) {
        say(format_args!("{}: {note}", prefix.display()));
    }
    let vocab = folder_of(prefix).join("vocab.txt");
    let tokenizer = match vocab.exists() {
        true => Some(Tokenizer::from_files(&ModelFiles::from([(
            "vocab.txt".to_string(),
            read_file(&vocab)?,
        )]))?),
        false => {
            say(format_args!("{} is missing: the folders have no tokenizer", vocab.display()));
            None
        }
    };
    let mut files = ModelFiles::new();
    let parts =
        [("discriminator", Some(original.discriminator)), ("generator", original.generator)];
    for (name, part) in parts {
        let Some(Part { config, architecture, tensors }) = part else { continue };
        let mut saved = pretrained::model_files(&tensors, &config, architecture, dtype)?;
        // As strict as with any folder: each tensor has its place, and each place its tensor.
        pretrained::load(&saved, &Device::flex()).map_err(|e| at(&prefix.join(name), e))?;
        if let Some(tokenizer) = &tokenizer {
            check_vocabulary(tokenizer, &config).map_err(|e| at(&vocab, e))?;
            saved.extend(tokenizer.to_files()?);
        }
        files.extend(saved.into_iter().map(|(file, bytes)| (format!("{name}/{file}"), bytes)));
    }
    write_folder(&args.to, &files, |name| ["discriminator", "generator"].contains(&name))
}
