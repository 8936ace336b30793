//! `electra predict`

use std::path::PathBuf;

use electra::batch::Features;
use electra::checkpoint::{self, Loaded};
use electra::error::{Error, Result};
use electra::finetune::check_vocabulary;
use electra::heads::Architecture;
use electra::predict::logits;
use electra::tasks::classification::{Prediction, probabilities};
use electra::tasks::detection::Detection;
use electra::tokenizer::{Encoding, Tokenizer, Truncation};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{DeviceArg, at, progress_bar, read_input, read_model, write_lines};

/// Run a model on texts
///
/// Input is a line each: plain text, or JSON: {"text":..,"text_pair":..}, or raw
/// {"input_ids":[..],"token_type_ids":[..],"attention_mask":[..]}. Output is a JSON object a
/// line, in the same order: {"label","score","scores"} from a classifier, {"tokens","replaced"}
/// from a discriminator, {"tokens","predictions"} for each [MASK] from a generator.
#[derive(clap::Args)]
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
    #[arg(long, value_name = "N", default_value_t = 32)]
    batch_size: usize,
    #[command(flatten)]
    device: DeviceArg,
}

/// One line of input.
#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Input {
    Text { text: String, text_pair: Option<String> },
    Ids { input_ids: Vec<u32>, token_type_ids: Option<Vec<u32>>, attention_mask: Option<Vec<u32>> },
}

pub fn run(args: Args) -> Result<()> {
    let files = read_model(&args.model)?;
    let inside = |e| at(&args.model, e);
    let tokenizer = Tokenizer::from_files(&files).map_err(inside)?;
    let text = read_input(args.input.as_deref())?;
    let place = args.input.as_ref().map_or("standard input".into(), |p| p.display().to_string());
    let inputs = text.lines().enumerate().map(|(i, line)| parse(line, i + 1, &place));
    let inputs: Vec<Input> = inputs.collect::<Result<_>>()?;
    let config = checkpoint::read_config(&files).map_err(inside)?;
    check_vocabulary(&tokenizer, &config).map_err(inside)?;
    let encode = Encode { tokenizer: &tokenizer, config: &config, place: &place };
    let encoded = inputs.iter().enumerate().map(|(i, input)| encode.input(input, i + 1));
    let encoded: Vec<(Features, Encoding)> = encoded.collect::<Result<_>>()?;
    let device = args.device.open()?.device;
    let loaded = checkpoint::load(&files, &device).map_err(inside)?;
    let bar = progress_bar(encoded.len(), "{bar:30} {pos}/{len} {eta} left");
    let mut lines = Vec::new();
    // A generator's logits are many: a part at a time keeps memory flat.
    for part in encoded.chunks(args.batch_size.max(1) * 8) {
        let features: Vec<Features> = part.iter().map(|(features, _)| features.clone()).collect();
        let length = config.max_position_embeddings;
        let run = logits(&loaded.model, &features, args.batch_size.max(1), length, &device);
        for ((_, encoding), logits) in part.iter().zip(pollster::block_on(run)?) {
            lines.push(decode(&loaded, &tokenizer, encoding.clone(), &logits, &args)?);
        }
        bar.inc(part.len() as u64);
    }
    bar.finish_and_clear();
    write_lines(args.output.as_ref(), &lines)
}

fn parse(line: &str, number: usize, place: &str) -> Result<Input> {
    if !line.trim_start().starts_with('{') {
        return Ok(Input::Text { text: line.to_string(), text_pair: None });
    }
    serde_json::from_str(line).map_err(|e| {
        Error::new(format!("{place}, line {number}"), format!("is not an input ({e})"))
            .fix("It is {\"text\":..}, {\"text\":..,\"text_pair\":..} or {\"input_ids\":[..],..}.")
    })
}

struct Encode<'a> {
    tokenizer: &'a Tokenizer,
    config: &'a electra::config::ElectraConfig,
    place: &'a str,
}

impl Encode<'_> {
    fn input(&self, input: &Input, number: usize) -> Result<(Features, Encoding)> {
        match input {
            Input::Text { text, text_pair } => {
                let (pair, length) = (text_pair.as_deref(), self.config.max_position_embeddings);
                let encoding =
                    self.tokenizer.encode(text, pair, length, Truncation::LongestFirst)?;
                if encoding.truncated {
                    eprintln!("{}, line {number}: cut to {length} tokens", self.place);
                }
                Ok((Features::new(number, &encoding, None), encoding))
            }
            Input::Ids { input_ids, token_type_ids, attention_mask } => {
                let length = input_ids.len();
                let types = token_type_ids.clone().unwrap_or_else(|| vec![0; length]);
                let mask = attention_mask.clone().unwrap_or_else(|| vec![1; length]);
                self.check_ids(input_ids, &types, &mask, number)?;
                Ok(self.raw(input_ids, types, mask, number))
            }
        }
    }

    fn check_ids(&self, ids: &[u32], types: &[u32], mask: &[u32], number: usize) -> Result<()> {
        let config = self.config;
        let wrong =
            |problem: String| Err(Error::new(format!("{}, line {number}", self.place), problem));
        if ids.is_empty() || ids.len() > config.max_position_embeddings {
            let limit = config.max_position_embeddings;
            return wrong(format!("has {} input_ids; 1 to {limit} fit this model", ids.len()));
        }
        if types.len() != ids.len() || mask.len() != ids.len() {
            return wrong("input_ids, token_type_ids and attention_mask differ in length".into());
        }
        if let Some(id) = ids.iter().find(|id| **id as usize >= config.vocab_size) {
            return wrong(format!(
                "input_ids has {id}; the vocabulary ends at {}",
                config.vocab_size - 1
            ));
        }
        if let Some(id) = types.iter().find(|id| **id as usize >= config.type_vocab_size) {
            let last = config.type_vocab_size - 1;
            return wrong(format!("token_type_ids has {id}; this model's last is {last}"));
        }
        Ok(())
    }

    fn raw(
        &self,
        ids: &[u32],
        types: Vec<u32>,
        mask: Vec<u32>,
        number: usize,
    ) -> (Features, Encoding) {
        let token = |id: &u32| self.tokenizer.token(*id).unwrap_or_default();
        let encoding = Encoding {
            input_ids: ids.to_vec(),
            token_type_ids: types.clone(),
            tokens: ids.iter().map(token).collect(),
            offsets: vec![(0, 0); ids.len()],
            word_ids: vec![None; ids.len()],
            sequence_ids: vec![None; ids.len()],
            truncated: false,
        };
        let (input_ids, token_type_ids, attention_mask) = (ids.to_vec(), types, mask);
        (Features { row: number, input_ids, token_type_ids, attention_mask, label: None }, encoding)
    }
}

fn decode(
    loaded: &Loaded,
    tokenizer: &Tokenizer,
    encoding: Encoding,
    logits: &[f32],
    args: &Args,
) -> Result<Value> {
    let mut line = match loaded.architecture {
        Architecture::SequenceClassification => {
            let names = |i: usize| format!("LABEL_{i}");
            let unnamed = || (0..logits.len()).map(names).collect();
            let labels = loaded.config.labels().unwrap_or_else(unnamed);
            json!(Prediction::new(logits, &labels, false))
        }
        Architecture::PreTraining => {
            let detection = Detection::new(encoding, logits, false);
            json!({"tokens": detection.tokens, "replaced": detection.replaced})
        }
        Architecture::MaskedLm => candidates(tokenizer, &encoding, logits, args.top_k),
        _ if args.logits => json!({"tokens": encoding.tokens}),
        other => {
            let problem = format!("{} is not decoded yet", other.name(&loaded.config));
            return Err(
                Error::new(args.model.display(), problem).fix("Pass --logits for its logits.")
            );
        }
    };
    if args.logits {
        let per_token =
            loaded.model.is_per_token() && loaded.architecture != Architecture::PreTraining;
        let width = if per_token { logits.len() / line_tokens(&line).max(1) } else { logits.len() };
        line["logits"] =
            if per_token { json!(logits.chunks(width).collect::<Vec<_>>()) } else { json!(logits) };
    }
    Ok(line)
}

fn line_tokens(line: &Value) -> usize {
    line["tokens"].as_array().map_or(0, Vec::len)
}

/// The likeliest words for each `[MASK]`.
fn candidates(tokenizer: &Tokenizer, encoding: &Encoding, logits: &[f32], top_k: usize) -> Value {
    let vocabulary = logits.len() / encoding.input_ids.len();
    let rows = encoding.input_ids.iter().zip(logits.chunks(vocabulary));
    let masked = rows.filter(|(id, _)| **id == tokenizer.mask_id());
    let predictions = masked.map(|(_, logits)| {
        let probabilities = probabilities(logits);
        let mut order: Vec<usize> = (0..vocabulary).collect();
        order.sort_by(|a, b| probabilities[*b].total_cmp(&probabilities[*a]).then(a.cmp(b)));
        let best = order.into_iter().take(top_k);
        let name = |id: usize| tokenizer.token(id as u32).unwrap_or_default();
        best.map(|id| json!({"token": name(id), "score": probabilities[id]})).collect::<Vec<_>>()
    });
    json!({"tokens": encoding.tokens, "predictions": predictions.collect::<Vec<_>>()})
}
