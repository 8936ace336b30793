//! `electra predict`

use std::path::PathBuf;

use electra::batch::{Features, Target};
use electra::checkpoint::{self, Loaded};
use electra::config::ElectraConfig;
use electra::dataset::{Kind, Question, Sentence};
use electra::error::{Error, Result};
use electra::finetune::check_vocabulary;
use electra::heads::{Architecture, num_labels};
use electra::predict::logits;
use electra::tasks::classification::{Prediction, probabilities};
use electra::tasks::detection::{Detection, Likelihood};
use electra::tasks::question_answering::{QaWindow, Windowing, predict, windows};
use electra::tasks::tagging::{self, TagWindow};
use electra::tasks::{kind_of, multi_label, regression};
use electra::tokenizer::{Encoding, Tokenizer, Truncation};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{
    DeviceArg, at, batch_size, check_file, class_names, progress_bar, read_input, read_model, say,
    write_lines,
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

/// One input as the network takes it, and what is needed to read the answer.
enum Unit {
    Text(Features, Encoding),
    Words(Sentence, Vec<TagWindow>),
    Question(Question, Vec<QaWindow>),
}

impl Unit {
    fn features(&self) -> Vec<Features> {
        match self {
            Unit::Text(features, _) => vec![features.clone()],
            Unit::Words(_, windows) => windows.iter().map(|w| w.features.clone()).collect(),
            Unit::Question(_, windows) => windows.iter().map(|w| w.features.clone()).collect(),
        }
    }
}

/// One line of input.
enum Input {
    Text { text: String, text_pair: Option<String> },
    Words { words: Vec<String> },
    Question { question: String, context: String },
    Ids { input_ids: Vec<u32>, token_type_ids: Option<Vec<u32>>, attention_mask: Option<Vec<u32>> },
}

pub fn run(args: Args) -> Result<()> {
    check_file(args.output.as_ref())?;
    let files = read_model(&args.model)?;
    let inside = |e| at(&args.model, e);
    let tokenizer = Tokenizer::from_files(&files).map_err(inside)?;
    let text = read_input(args.input.as_deref())?;
    let place = args.input.as_ref().map_or("standard input".into(), |p| p.display().to_string());
    let inputs = text.lines().enumerate().map(|(i, line)| parse(line, i + 1, &place));
    let inputs: Vec<Input> = inputs.collect::<Result<_>>()?;
    let config = checkpoint::read_config(&files).map_err(inside)?;
    check_vocabulary(&tokenizer, &config).map_err(inside)?;
    let kind = kind_of(&config).map_err(inside)?;
    let encode = Encode { tokenizer: &tokenizer, config: &config, kind, place: &place };
    let encoded = inputs.iter().enumerate().map(|(i, input)| encode.input(input, i + 1));
    let encoded: Vec<Unit> = encoded.collect::<Result<_>>()?;
    let device = args.device.open()?.device;
    let loaded = checkpoint::load(&files, &device).map_err(inside)?;
    let bar = progress_bar(encoded.len(), "{bar:30} {pos}/{len} {eta} left");
    let mut lines = Vec::new();
    // A generator's logits are many: a part at a time keeps memory flat.
    for part in encoded.chunks(args.batch_size * 8) {
        let features: Vec<Features> = part.iter().flat_map(Unit::features).collect();
        let length = config.max_position_embeddings;
        let run = logits(&loaded.model, &features, args.batch_size, length, &device);
        let mut logits = pollster::block_on(run)?.into_iter();
        for unit in part {
            let own: Vec<Vec<f32>> = logits.by_ref().take(unit.features().len()).collect();
            lines.push(decode(&loaded, &tokenizer, unit, &own, &args)?);
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
    let fields = serde_json::from_str(line).map_err(|e| e.to_string());
    fields.and_then(from_fields).map_err(|problem| {
        Error::new(format!("{place}, line {number}"), format!("is not an input: {problem}")).fix(
            "It is {\"text\":..}, {\"text\":..,\"text_pair\":..}, {\"words\":[..]}, \
                 {\"question\":..,\"context\":..} or {\"input_ids\":[..],..}.",
        )
    })
}

/// Text or ids, by the field that is there.
fn from_fields(mut fields: Map<String, Value>) -> std::result::Result<Input, String> {
    let has = |name: &str| fields.contains_key(name);
    let kinds: [&[&str]; 4] = [
        &["input_ids", "token_type_ids", "attention_mask"],
        &["words"],
        &["question", "context"],
        &["text", "text_pair"],
    ];
    let known = kinds.into_iter().find(|kind| has(kind[0])).unwrap_or(kinds[3]);
    if let Some(name) = fields.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("the field {name:?} is none of {}", known.join(", ")));
    }
    Ok(match known[0] {
        "words" => Input::Words { words: field(&mut fields, "words")?.unwrap_or_default() },
        "question" => Input::Question {
            question: field(&mut fields, "question")?.unwrap_or_default(),
            context: field(&mut fields, "context")?.ok_or("it has a question and no context")?,
        },
        "input_ids" => Input::Ids {
            input_ids: field(&mut fields, "input_ids")?.unwrap_or_default(),
            token_type_ids: field(&mut fields, "token_type_ids")?,
            attention_mask: field(&mut fields, "attention_mask")?,
        },
        _ => Input::Text {
            text: field(&mut fields, "text")?.ok_or("it has neither text nor input_ids")?,
            text_pair: field(&mut fields, "text_pair")?,
        },
    })
}

fn field<T: DeserializeOwned>(
    fields: &mut Map<String, Value>,
    name: &str,
) -> std::result::Result<Option<T>, String> {
    let value = fields.remove(name).unwrap_or_default();
    serde_json::from_value(value).map_err(|e| format!("{name}: {e}"))
}

struct Encode<'a> {
    tokenizer: &'a Tokenizer,
    config: &'a ElectraConfig,
    /// What the model was fine-tuned for.
    kind: Option<Kind>,
    place: &'a str,
}

impl Encode<'_> {
    fn input(&self, input: &Input, number: usize) -> Result<Unit> {
        match (input, self.kind) {
            (Input::Text { text, text_pair: None }, Some(Kind::Tagging)) => {
                let words = text.split_whitespace().map(str::to_string).collect();
                self.words(words, number)
            }
            (Input::Words { words }, Some(Kind::Tagging)) => self.words(words.clone(), number),
            (Input::Question { question, context }, Some(Kind::QuestionAnswering)) => {
                self.question(question, context, number)
            }
            (Input::Text { text, text_pair: Some(context) }, Some(Kind::QuestionAnswering)) => {
                self.question(text, context, number)
            }
            (Input::Words { .. }, _) => self.refuse(number, "words are for a tagger"),
            (Input::Question { .. }, _) => {
                self.refuse(number, "question and context are for a question answerer")
            }
            (Input::Text { text, text_pair }, _) => self.text(text, text_pair.as_deref(), number),
            (Input::Ids { input_ids, token_type_ids, attention_mask }, _) => {
                let length = input_ids.len();
                let types = token_type_ids.clone().unwrap_or_else(|| vec![0; length]);
                let mask = attention_mask.clone().unwrap_or_else(|| vec![1; length]);
                self.check_ids(input_ids, &types, &mask, number)?;
                Ok(self.raw(input_ids, types, mask, number))
            }
        }
    }

    fn refuse(&self, number: usize, problem: &str) -> Result<Unit> {
        Err(Error::new(format!("{}, line {number}", self.place), problem))
    }

    fn text(&self, text: &str, pair: Option<&str>, number: usize) -> Result<Unit> {
        let length = self.config.max_position_embeddings;
        let encoding = self.tokenizer.encode(text, pair, length, Truncation::LongestFirst)?;
        self.check_types(&encoding.token_type_ids, number)?;
        if encoding.truncated {
            say(format_args!("{}, line {number}: cut to {length} tokens", self.place));
        }
        Ok(Unit::Text(Features::new(number, &encoding, Target::Nothing), encoding))
    }

    fn words(&self, words: Vec<String>, number: usize) -> Result<Unit> {
        let sentence = Sentence { row: number, words, labels: None };
        let length = self.config.max_position_embeddings;
        let windows = tagging::windows_of(self.tokenizer, &sentence, 0, length)?;
        Ok(Unit::Words(sentence, windows))
    }

    fn question(&self, question: &str, context: &str, number: usize) -> Result<Unit> {
        self.check_types(&[1], number)?;
        let question = Question {
            row: number,
            id: number.to_string(),
            question: question.to_string(),
            context: context.into(),
            answers: Vec::new(),
            golds: Vec::new(),
            is_impossible: false,
        };
        let length = self.config.max_position_embeddings;
        // Windows that share half of their tokens.
        let windowing =
            Windowing { max_seq_length: length, doc_stride: length / 2, ..Windowing::default() };
        let windows = windows(self.tokenizer, &question, 0, &windowing, false)?;
        Ok(Unit::Question(question, windows))
    }

    fn wrong(&self, number: usize, problem: String) -> Result<()> {
        Err(Error::new(format!("{}, line {number}", self.place), problem))
    }

    fn check_ids(&self, ids: &[u32], types: &[u32], mask: &[u32], number: usize) -> Result<()> {
        let config = self.config;
        let wrong = |problem| self.wrong(number, problem);
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
        if let Some(other) = mask.iter().find(|bit| **bit > 1) {
            return wrong(format!("attention_mask has {other}; it holds 1 and, for padding, 0"));
        }
        self.check_types(types, number)
    }

    /// A model of one segment has no embedding for the second text of a pair.
    fn check_types(&self, types: &[u32], number: usize) -> Result<()> {
        let limit = self.config.type_vocab_size;
        match types.iter().find(|id| **id as usize >= limit) {
            Some(id) => {
                let problem = format!("token_type_ids has {id}; the type_vocab_size is {limit}");
                self.wrong(number, problem)
            }
            None => Ok(()),
        }
    }

    fn raw(&self, ids: &[u32], types: Vec<u32>, mask: Vec<u32>, number: usize) -> Unit {
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
        let target = Target::Nothing;
        let features = Features { row: number, input_ids, token_type_ids, attention_mask, target };
        Unit::Text(features, encoding)
    }
}

/// `logits`: those of the unit's features.
fn decode(
    loaded: &Loaded,
    tokenizer: &Tokenizer,
    unit: &Unit,
    logits: &[Vec<f32>],
    args: &Args,
) -> Result<Value> {
    let config = &loaded.config;
    let mut line = match unit {
        Unit::Text(_, encoding) => {
            return decode_text(loaded, tokenizer, encoding.clone(), &logits[0], args);
        }
        Unit::Words(sentence, windows) => {
            let labels = class_names(config);
            let sentences = std::slice::from_ref(sentence);
            let decoded = tagging::decode(sentences, windows, logits, labels.len());
            json!(tagging::Prediction::new(sentence, &decoded[0], &labels))
        }
        Unit::Question(question, windows) => {
            let questions = std::slice::from_ref(question);
            let mut answers = predict(questions, windows, logits, config.no_answer_threshold);
            let mut answer = answers.remove(0);
            answer.n_best.truncate(args.top_k);
            json!(answer)
        }
    };
    if args.logits {
        // Token by token, one window after the other.
        let tokens = logits.iter().flat_map(|window| window.chunks(num_labels(config)));
        line["logits"] = json!(tokens.collect::<Vec<_>>());
    }
    Ok(line)
}

fn decode_text(
    loaded: &Loaded,
    tokenizer: &Tokenizer,
    encoding: Encoding,
    logits: &[f32],
    args: &Args,
) -> Result<Value> {
    let mut line = match loaded.architecture {
        Architecture::SequenceClassification => classes(loaded, logits)?,
        Architecture::PreTraining if loaded.config.objective.is_some() => {
            json!(Likelihood::new(encoding, logits))
        }
        Architecture::PreTraining => {
            let detection = Detection::new(encoding, logits, false);
            json!({"tokens": detection.tokens, "replaced": detection.replaced})
        }
        Architecture::MaskedLm => candidates(tokenizer, &encoding, logits, args.top_k),
        _ if args.logits => json!({"tokens": encoding.tokens}),
        other => return Err(undecoded(args, other.name(&loaded.config))),
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

/// A label, or what else the logits of a classification head stand for.
fn classes(loaded: &Loaded, logits: &[f32]) -> Result<Value> {
    let config = &loaded.config;
    Ok(match (kind_of(config)?, logits) {
        (Some(Kind::Regression), [logit]) => {
            json!({"value": regression::value(*logit, config.score_range)})
        }
        (Some(Kind::Regression), values) => json!({"value": values}),
        (Some(Kind::MultiLabel), _) => {
            json!(multi_label::Prediction::new(logits, &class_names(config)))
        }
        _ => json!(Prediction::new(logits, &class_names(config), false)),
    })
}

fn undecoded(args: &Args, what: &str) -> Error {
    Error::new(args.model.display(), format!("{what} says nothing of a bare text or ids"))
        .fix("Give words, or question and context; or pass --logits for its logits.")
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
