//! Text to token ids, exactly as `BertTokenizerFast` of transformers does it (ELECTRA uses BERT's
//! tokenizer).
//!
//! The work is done by the `tokenizers` crate, which is also inside transformers. Here are the
//! rules around it: which file of a model folder says what, truncation that returns an error where
//! the crate panics, and a way back to the files.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokenizers::models::ModelWrapper;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::{BertNormalizer, NormalizerWrapper};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::PostProcessorWrapper;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, PostProcessor, TruncationDirection};

use crate::error::{Error, Result};

const TOKENIZER: &str = "tokenizer.json";
const CONFIG: &str = "tokenizer_config.json";
const SPECIAL_TOKENS: &str = "special_tokens_map.json";
const VOCAB: &str = "vocab.txt";
const ADDED_TOKENS: &str = "added_tokens.json";

/// What a tokenizer is read from; any other file of a model folder is left alone.
pub const FILE_NAMES: [&str; 5] = [TOKENIZER, CONFIG, SPECIAL_TOKENS, ADDED_TOKENS, VOCAB];

#[derive(Debug, Clone)]
pub struct Tokenizer {
    /// Without post-processor, truncation and padding: `encode` needs the bare pieces to cut them
    /// itself.
    pieces: tokenizers::Tokenizer,
    /// Puts `[CLS]` and `[SEP]` round the pieces.
    processor: PostProcessorWrapper,
    special: SpecialIds,
    vocab_size: usize,
    cut_from: TruncationDirection,
    config: Map<String, Value>,
    /// The files it was loaded from, so that a model goes back to disk with the tokenizer it came
    /// with.
    sources: BTreeMap<String, Vec<u8>>,
}

/// The ids that stand for no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecialIds {
    pub pad: u32,
    pub unk: u32,
    pub cls: u32,
    pub sep: u32,
    pub mask: u32,
}

/// A text without `added_tokens` can be cut at ASCII whitespace and around ASCII punctuation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Separable {
    pub added_tokens: Vec<String>,
    /// It can be cut around CJK ideographs, too.
    pub splits_chinese: bool,
}

/// Which text gives way when a pair is too long; the names are those of transformers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truncation {
    LongestFirst,
    OnlyFirst,
    OnlySecond,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoding {
    pub input_ids: Vec<u32>,
    pub token_type_ids: Vec<u32>,
    pub tokens: Vec<String>,
    /// Start and end in Unicode characters of the text a token came from; (0, 0) on special tokens.
    pub offsets: Vec<(usize, usize)>,
    /// Index of the word in its text; None on special tokens.
    pub word_ids: Vec<Option<u32>>,
    /// 0 for the text, 1 for its pair; None on special tokens.
    pub sequence_ids: Vec<Option<usize>>,
    /// True when the input did not fit into `max_length`.
    pub truncated: bool,
}

impl Tokenizer {
    /// From the files of a model folder: `tokenizer.json`, or `vocab.txt` where there is none.
    ///
    /// As in transformers, `tokenizer_config.json` has the last word on `do_lower_case`,
    /// `strip_accents` and `tokenize_chinese_chars` where it names one of them.
    pub fn from_files(files: &BTreeMap<String, Vec<u8>>) -> Result<Self> {
        // There are no threads in the browser, and one text at a time needs none.
        #[cfg(target_family = "wasm")]
        tokenizers::utils::parallelism::set_parallelism(false);

        let sources: BTreeMap<_, _> = files
            .iter()
            .filter(|(name, _)| FILE_NAMES.contains(&name.as_str()))
            .map(|(name, bytes)| (name.clone(), bytes.clone()))
            .collect();
        let config = read_config(&sources)?;
        let names = SpecialNames::read(&config);
        let (mut pieces, place) = match (sources.get(TOKENIZER), sources.get(VOCAB)) {
            (Some(bytes), _) => (read_tokenizer_json(bytes, &config)?, TOKENIZER),
            (None, Some(bytes)) => (read_vocab(bytes, &config, &names)?, VOCAB),
            (None, None) => {
                return Err(Error::new(
                    "tokenizer",
                    "neither tokenizer.json nor vocab.txt is there",
                )
                .fix("Give all files of the model's folder."));
            }
        };
        // Ids become 32-bit signed tensors; the crate would overflow beyond that, too.
        if id_limit(&pieces) > i32::MAX as usize {
            return Err(Error::new(place, "the vocabulary has an id that is no 32-bit number"));
        }
        add_configured_tokens(&mut pieces, &config)?;
        if !config.contains_key("added_tokens_decoder") {
            add_listed_tokens(&mut pieces, &config, &names, &sources)?;
        }
        let special = names.find(&pieces, place)?;
        add_special_tokens(&mut pieces, &names)?;
        let processor = match pieces.get_post_processor() {
            Some(processor) => processor.clone(),
            None => bert_template(&names, special)?,
        };
        pieces.with_post_processor(None::<PostProcessorWrapper>).with_padding(None);
        pieces.with_truncation(None).map_err(|e| Error::new(place, e))?;
        let cut_from = match config.get("truncation_side").and_then(Value::as_str) {
            Some("left") => TruncationDirection::Left,
            _ => TruncationDirection::Right,
        };
        check_processor(&processor, &pieces)?;
        let vocab_size = id_limit(&pieces);
        Ok(Tokenizer { pieces, processor, special, vocab_size, cut_from, config, sources })
    }

    /// `tokenizer.json`, `tokenizer_config.json` and `vocab.txt`, from which transformers and
    /// `from_files` make the same tokenizer again. Files it was loaded from come back unchanged,
    /// but for settings that only `tokenizer.json` held: transformers would not look for them
    /// there, so they are added to the config.
    pub fn to_files(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let mut files = self.sources.clone();
        if !files.contains_key(TOKENIZER) {
            files.insert(TOKENIZER.into(), self.tokenizer_json()?);
        }
        if let Some(config) = self.completed_config() {
            files.insert(CONFIG.into(), pretty(&config));
        }
        if !files.contains_key(VOCAB)
            && let Some(vocab) = self.vocab_txt()
        {
            files.insert(VOCAB.into(), vocab);
        }
        Ok(files)
    }

    /// One input of at most `max_length` tokens, special tokens included.
    pub fn encode(
        &self,
        text: &str,
        pair: Option<&str>,
        max_length: usize,
        truncation: Truncation,
    ) -> Result<Encoding> {
        let (mut first, mut second) = self.cut_pieces(text, pair, max_length, 0, truncation)?;
        // What was cut off is of no use here, and of two long texts the processor would combine
        // every piece of the one with every piece of the other.
        let mut rest = first.take_overflowing();
        rest.extend(second.iter_mut().flat_map(|second| second.take_overflowing()));
        let encoding = self.processor.process(first, second, true).map_err(failed)?;
        Ok(Encoding::new(&encoding, !rest.is_empty()))
    }

    /// All windows of at most `max_length` tokens over a long text, each repeating the last
    /// `stride` tokens of the one before it: `return_overflowing_tokens` of transformers.
    pub fn encode_windows(
        &self,
        text: &str,
        pair: Option<&str>,
        max_length: usize,
        stride: usize,
        truncation: Truncation,
    ) -> Result<Vec<Encoding>> {
        let room = max_length.saturating_sub(self.processor.added_tokens(false));
        if room < stride {
            return Err(stride_too_long(room, stride));
        }
        let (first, second) = self.cut_pieces(text, pair, max_length, stride, truncation)?;
        let encoding = self.processor.process(first, second, true).map_err(failed)?;
        let rest = encoding.get_overflowing();
        let windows = std::iter::once(&encoding).chain(rest);
        let windows: Vec<_> =
            windows.map(|window| Encoding::new(window, !rest.is_empty())).collect();
        // With no room beside the special tokens the crate hands the whole text over as one
        // overlong window.
        if windows.iter().any(|window| window.input_ids.len() > max_length) {
            return Err(too_short(max_length));
        }
        Ok(windows)
    }

    /// The ids of a text's pieces, without special tokens and of any length.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.pieces.encode_fast(text, false).map_err(failed)?.get_ids().to_vec())
    }

    /// How texts can be cut into parts that have the same ids alone as in the text.
    ///
    /// BERT's normalizer and pre-tokenizer look at one character after the other, but for accents,
    /// which belong to the character before them, and added tokens, which are found in the raw
    /// text. None where anything else is at work.
    pub fn separable(&self) -> Option<Separable> {
        let (model, splitter) = (self.pieces.get_model(), self.pieces.get_pre_tokenizer());
        let ModelWrapper::WordPiece(_) = model else { return None };
        let Some(PreTokenizerWrapper::BertPreTokenizer(_)) = splitter else { return None };
        let normalizer = self.pieces.get_normalizer();
        let Some(NormalizerWrapper::BertNormalizer(bert)) = normalizer else { return None };
        let added = self.pieces.get_added_tokens_decoder();
        if added.values().any(|token| token.normalized || token.content.is_empty()) {
            return None;
        }
        let mut added_tokens: Vec<_> = added.into_values().map(|token| token.content).collect();
        added_tokens.sort();
        Some(Separable { added_tokens, splits_chinese: bert.handle_chinese_chars })
    }

    /// Every id that `encode` gives is below this.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    pub fn token(&self, id: u32) -> Option<String> {
        self.pieces.id_to_token(id)
    }

    pub fn special_ids(&self) -> SpecialIds {
        self.special
    }

    pub fn pad_id(&self) -> u32 {
        self.special.pad
    }

    pub fn cls_id(&self) -> u32 {
        self.special.cls
    }

    pub fn sep_id(&self) -> u32 {
        self.special.sep
    }

    pub fn mask_id(&self) -> u32 {
        self.special.mask
    }

    pub fn unk_id(&self) -> u32 {
        self.special.unk
    }

    /// What `tokenizer_config.json` says; transformers writes 1e30 there for "no limit".
    pub fn model_max_length(&self) -> Option<usize> {
        let length = self.config.get("model_max_length")?.as_f64()?;
        (1.0..1e9).contains(&length).then_some(length as usize)
    }

    /// The tokens of the text and its pair that stay, with what was cut off as their overflow.
    fn cut_pieces(
        &self,
        text: &str,
        pair: Option<&str>,
        max_length: usize,
        stride: usize,
        truncation: Truncation,
    ) -> Result<(tokenizers::Encoding, Option<tokenizers::Encoding>)> {
        let mut first = self.split(text)?;
        let mut second = pair.map(|pair| self.split(pair)).transpose()?;
        let room = max_length
            .checked_sub(self.processor.added_tokens(pair.is_some()))
            .ok_or_else(|| too_short(max_length))?;
        let lengths = (first.len(), second.as_ref().map(|second| second.len()));
        let (keep_first, keep_second) = kept_lengths(lengths, room, truncation)?;
        cut(&mut first, keep_first, stride, self.cut_from)?;
        if let Some(second) = &mut second {
            // The processor does so for the first window only.
            second.set_type_ids(vec![1; second.len()]);
            cut(second, keep_second, stride, self.cut_from)?;
        }
        Ok((first, second))
    }

    fn split(&self, text: &str) -> Result<tokenizers::Encoding> {
        self.pieces.encode_char_offsets(text, false).map_err(failed)
    }

    fn tokenizer_json(&self) -> Result<Vec<u8>> {
        let mut whole = self.pieces.clone();
        whole.with_post_processor(Some(self.processor.clone()));
        Ok(whole.to_string(true).map_err(failed)?.into_bytes())
    }

    /// None when the config that is there already says everything.
    fn completed_config(&self) -> Option<Map<String, Value>> {
        let mut config = self.config.clone();
        if !self.sources.contains_key(CONFIG) {
            let token = |id| Value::from(self.token(id));
            config.insert("tokenizer_class".into(), "ElectraTokenizer".into());
            config.insert("unk_token".into(), token(self.special.unk));
            config.insert("sep_token".into(), token(self.special.sep));
            config.insert("pad_token".into(), token(self.special.pad));
            config.insert("cls_token".into(), token(self.special.cls));
            config.insert("mask_token".into(), token(self.special.mask));
        }
        if let Some(NormalizerWrapper::BertNormalizer(bert)) = self.pieces.get_normalizer()
            && !generic_class(&config)
        {
            let mut complete = |key: &str, value: Value| {
                config.entry(key).or_insert(value);
            };
            complete("do_lower_case", json!(bert.lowercase));
            complete("strip_accents", json!(bert.strip_accents));
            complete("tokenize_chinese_chars", json!(bert.handle_chinese_chars));
        }
        (config != self.config || !self.sources.contains_key(CONFIG)).then_some(config)
    }

    /// None when a file of lines cannot hold it: another model than WordPiece, or ids with holes.
    fn vocab_txt(&self) -> Option<Vec<u8>> {
        let ModelWrapper::WordPiece(_) = self.pieces.get_model() else { return None };
        let mut tokens: Vec<_> = self.pieces.get_vocab(false).into_iter().collect();
        tokens.sort_by_key(|(_, id)| *id);
        let contiguous = tokens.iter().enumerate().all(|(line, (_, id))| line == *id as usize);
        contiguous.then(|| {
            tokens.iter().flat_map(|(token, _)| [token.as_bytes(), b"\n"].concat()).collect()
        })
    }
}

impl Encoding {
    fn new(encoding: &tokenizers::Encoding, truncated: bool) -> Self {
        Encoding {
            input_ids: encoding.get_ids().to_vec(),
            token_type_ids: encoding.get_type_ids().to_vec(),
            tokens: encoding.get_tokens().to_vec(),
            offsets: encoding.get_offsets().to_vec(),
            word_ids: encoding.get_word_ids().to_vec(),
            sequence_ids: encoding.get_sequence_ids(),
            truncated,
        }
    }
}

/// How many tokens of the text and its pair stay: `truncate_encodings` of the `tokenizers` crate,
/// which cannot be called itself because it panics where the stride leaves no room.
fn kept_lengths(
    (first, second): (usize, Option<usize>),
    room: usize,
    truncation: Truncation,
) -> Result<(usize, usize)> {
    let pair = second.unwrap_or(0);
    let excess = (first + pair).saturating_sub(room);
    if excess == 0 {
        return Ok((first, pair));
    }
    if room == 0 {
        return Ok((0, 0));
    }
    let shortened = |length: usize| {
        length.checked_sub(excess).filter(|&left| left > 0).ok_or_else(|| {
            Error::new(
                "max_seq_length",
                "the text that may be cut is too short to make the pair fit",
            )
            .fix("Raise max_seq_length, or cut the longest text first.")
        })
    };
    match truncation {
        Truncation::OnlyFirst => Ok((shortened(first)?, pair)),
        Truncation::OnlySecond if second.is_none() => {
            Err(Error::new("truncation", "only the second text may be cut, but there is none")
                .fix("Cut the longest or the first text."))
        }
        Truncation::OnlySecond => Ok((first, shortened(pair)?)),
        Truncation::LongestFirst if second.is_none() => Ok((room, 0)),
        Truncation::LongestFirst => Ok(longest_first(first, pair, room)),
    }
}

fn longest_first(first: usize, second: usize, room: usize) -> (usize, usize) {
    let short = first.min(second);
    // The longer one alone gives way as long as it stays the longer one; else both get half.
    let short = if 2 * short <= room { short } else { room / 2 };
    let long = room - short;
    if first <= second { (short, long) } else { (long, short) }
}

fn cut(
    encoding: &mut tokenizers::Encoding,
    length: usize,
    stride: usize,
    direction: TruncationDirection,
) -> Result<()> {
    if length < encoding.len() && length > 0 && stride >= length {
        return Err(stride_too_long(length, stride));
    }
    encoding.truncate(length, stride, direction);
    Ok(())
}

fn stride_too_long(length: usize, stride: usize) -> Error {
    Error::new("stride", format!("windows of {length} tokens of text cannot overlap by {stride}"))
        .fix("Lower the stride or raise max_seq_length.")
}

fn too_short(max_length: usize) -> Error {
    Error::new("max_seq_length", format!("{max_length} leaves no room for text"))
        .fix("Three tokens are special in a pair, two in a single text; take at least 8.")
}

fn failed(cause: impl Display) -> Error {
    Error::new("tokenizer", cause)
}

/// The names the five special tokens have in this model.
struct SpecialNames([(&'static str, String); 5]);

impl SpecialNames {
    fn read(config: &Map<String, Value>) -> Self {
        let name = |key: &'static str, default: &str| {
            // Older files hold the token itself, newer ones an object with its content.
            let value = config.get(key).map(|value| value.get("content").unwrap_or(value));
            (key, value.and_then(Value::as_str).unwrap_or(default).to_string())
        };
        SpecialNames([
            name("pad_token", "[PAD]"),
            name("unk_token", "[UNK]"),
            name("cls_token", "[CLS]"),
            name("sep_token", "[SEP]"),
            name("mask_token", "[MASK]"),
        ])
    }

    fn token(&self, key: &str) -> &str {
        self.0.iter().find(|(name, _)| *name == key).map_or("", |(_, token)| token)
    }

    fn find(&self, tokenizer: &tokenizers::Tokenizer, place: &str) -> Result<SpecialIds> {
        let ids: Vec<_> = self.0.iter().map(|(_, token)| tokenizer.token_to_id(token)).collect();
        if let [Some(pad), Some(unk), Some(cls), Some(sep), Some(mask)] = ids[..] {
            return Ok(SpecialIds { pad, unk, cls, sep, mask });
        }
        let missing: Vec<_> = std::iter::zip(&self.0, &ids)
            .filter(|(_, id)| id.is_none())
            .map(|((key, token), _)| format!("{token} ({key})"))
            .collect();
        Err(Error::new(place, format!("the special tokens {} are missing", missing.join(", ")))
            .fix("Add them, or name the tokens that stand for them in tokenizer_config.json."))
    }
}

fn read_tokenizer_json(bytes: &[u8], config: &Map<String, Value>) -> Result<tokenizers::Tokenizer> {
    let damaged = |cause: &dyn std::fmt::Display| {
        Error::new(TOKENIZER, cause)
            .fix("Download the file again, or leave it out and give vocab.txt.")
    };
    let mut pieces: Value = serde_json::from_slice(bytes).map_err(|cause| damaged(&cause))?;
    // The crate panics on damaged ones of these two; ELECTRA needs neither.
    if pieces["normalizer"].to_string().contains("\"Precompiled\"") {
        return Err(damaged(&"a Precompiled normalizer is not ELECTRA's"));
    }
    match pieces.get_mut("decoder") {
        Some(decoder) if decoder.is_object() => *decoder = Value::Null,
        Some(Value::Null) | None => {}
        Some(_) => return Err(damaged(&"its decoder is not an object")),
    }
    let parsed = tokenizers::Tokenizer::from_bytes(pieces.to_string());
    let mut tokenizer = parsed.map_err(|cause| damaged(&cause))?;
    let named = ["do_lower_case", "strip_accents", "tokenize_chinese_chars"]
        .iter()
        .any(|key| config.contains_key(*key));
    let bert = matches!(tokenizer.get_normalizer(), Some(NormalizerWrapper::BertNormalizer(_)));
    if bert && named && !generic_class(config) {
        tokenizer.with_normalizer(Some(bert_normalizer(config)?)).map_err(failed)?;
    }
    Ok(tokenizer)
}

/// A tokenizer class for which transformers takes `tokenizer.json` as it is.
fn generic_class(config: &Map<String, Value>) -> bool {
    let class = config.get("tokenizer_class").and_then(Value::as_str);
    matches!(class, Some("PreTrainedTokenizerFast" | "TokenizersBackend"))
}

fn read_vocab(
    bytes: &[u8],
    config: &Map<String, Value>,
    names: &SpecialNames,
) -> Result<tokenizers::Tokenizer> {
    check_vocab(bytes)?;
    let vocab = WordPiece::read_bytes(bytes.trim_ascii_end()).map_err(failed)?;
    let unk = names.token("unk_token").to_string();
    let model = WordPiece::builder().vocab(vocab).unk_token(unk).build().map_err(failed)?;
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    tokenizer.with_normalizer(Some(bert_normalizer(config)?)).map_err(failed)?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    tokenizer.with_decoder(Some(tokenizers::decoders::wordpiece::WordPiece::default()));
    Ok(tokenizer)
}

fn check_vocab(bytes: &[u8]) -> Result<()> {
    let text = utf8(bytes, VOCAB)?.trim_end();
    if text.is_empty() {
        return Err(Error::new(VOCAB, "the file is empty").fix("Give one token a line."));
    }
    let mut lines = HashMap::new();
    for (line, token) in text.lines().enumerate() {
        if let Some(before) = lines.insert(token, line) {
            let place = format!("{VOCAB}, line {}", line + 1);
            let problem = format!("the token {token:?} is on line {} already", before + 1);
            return Err(Error::new(place, problem).fix("Every line must hold another token."));
        }
    }
    Ok(())
}

/// The settings and their defaults as in transformers.
fn bert_normalizer(config: &Map<String, Value>) -> Result<BertNormalizer> {
    let chinese = flag(config, "tokenize_chinese_chars")?.unwrap_or(true);
    let accents = flag(config, "strip_accents")?;
    let lower_case = flag(config, "do_lower_case")?.unwrap_or(true);
    Ok(BertNormalizer::new(true, chinese, accents, lower_case))
}

fn flag(config: &Map<String, Value>, key: &str) -> Result<Option<bool>> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(other) => {
            Err(Error::new(CONFIG, format!("{key} is {other}"))
                .fix("It must be true, false or null."))
        }
    }
}

/// `tokenizer_config.json`, with the special tokens of `special_tokens_map.json`, where older
/// models keep them.
fn read_config(files: &BTreeMap<String, Vec<u8>>) -> Result<Map<String, Value>> {
    let mut config = read_object(files, CONFIG)?;
    for (key, value) in read_object(files, SPECIAL_TOKENS)? {
        config.entry(key).or_insert(value);
    }
    Ok(config)
}

fn read_object(files: &BTreeMap<String, Vec<u8>>, name: &str) -> Result<Map<String, Value>> {
    let Some(bytes) = files.get(name) else { return Ok(Map::new()) };
    serde_json::from_slice(bytes).map_err(|cause| {
        Error::new(name, cause).fix("It must hold one JSON object; download the file again.")
    })
}

/// Tokens beyond the vocabulary, at the ids the config gives them.
fn add_configured_tokens(
    tokenizer: &mut tokenizers::Tokenizer,
    config: &Map<String, Value>,
) -> Result<()> {
    let Some(Value::Object(decoder)) = config.get("added_tokens_decoder") else { return Ok(()) };
    let mut tokens = BTreeMap::new();
    for (id, token) in decoder {
        let wrong =
            || Error::new(CONFIG, format!("added_tokens_decoder: {id:?} is not understood"));
        let number: u32 = id.parse().map_err(|_| wrong())?;
        let token: AddedToken = serde_json::from_value(token.clone()).map_err(|_| wrong())?;
        tokens.insert(number, token);
    }
    add_at_ids(tokenizer, tokens, CONFIG, "added_tokens_decoder gives")
}

/// The tokens of `added_tokens.json`, where older models keep them. As in transformers, those that
/// are not special are looked for in the normalized text.
fn add_listed_tokens(
    tokenizer: &mut tokenizers::Tokenizer,
    config: &Map<String, Value>,
    names: &SpecialNames,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<()> {
    let mut special: Vec<&str> = names.0.iter().map(|(_, token)| token.as_str()).collect();
    let more = config.get("additional_special_tokens").and_then(Value::as_array);
    special.extend(
        more.into_iter()
            .flatten()
            .filter_map(|token| token.get("content").unwrap_or(token).as_str()),
    );
    // What tokenizer.json says of a token is more.
    let known: Vec<String> =
        tokenizer.get_added_tokens_decoder().into_values().map(|token| token.content).collect();
    let mut tokens = BTreeMap::new();
    for (token, id) in read_object(files, ADDED_TOKENS)? {
        let number = id.as_u64().and_then(|id| u32::try_from(id).ok());
        let number = number.ok_or_else(|| {
            Error::new(ADDED_TOKENS, format!("the id of {token:?} is {id}"))
                .fix("It must hold tokens and their ids: {\"<new>\": 30522}.")
        })?;
        if !known.contains(&token) {
            let is_special = special.contains(&token.as_str());
            tokens.insert(number, AddedToken::from(token, is_special));
        }
    }
    add_at_ids(tokenizer, tokens, ADDED_TOKENS, "it gives")
}

fn add_at_ids(
    tokenizer: &mut tokenizers::Tokenizer,
    tokens: BTreeMap<u32, AddedToken>,
    place: &str,
    who: &str,
) -> Result<()> {
    for (id, token) in tokens {
        let content = token.content.clone();
        tokenizer.add_tokens([token]).map_err(failed)?;
        if tokenizer.token_to_id(&content) != Some(id) {
            let problem = format!("{who} {content:?} the id {id}");
            return Err(Error::new(place, problem + ", which the vocabulary contradicts")
                .fix("Take the tokenizer files of one and the same model."));
        }
    }
    Ok(())
}

/// A special token is found in the text as a whole, also where `tokenizer.json` forgot to list it.
fn add_special_tokens(tokenizer: &mut tokenizers::Tokenizer, names: &SpecialNames) -> Result<()> {
    let known: Vec<String> =
        tokenizer.get_added_tokens_decoder().into_values().map(|token| token.content).collect();
    let forgotten = names.0.iter().filter(|(_, token)| !known.contains(token));
    let tokens: Vec<_> =
        forgotten.map(|(_, token)| AddedToken::from(token.clone(), true)).collect();
    tokenizer.add_special_tokens(tokens).map_err(failed)?;
    Ok(())
}

/// One more than the highest id.
fn id_limit(pieces: &tokenizers::Tokenizer) -> usize {
    pieces.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1)
}

/// A post-processor of `tokenizer.json` names tokens and their ids on its own account.
fn check_processor(processor: &PostProcessorWrapper, pieces: &tokenizers::Tokenizer) -> Result<()> {
    let broken = |problem: String| {
        Error::new(TOKENIZER, format!("the post-processor adds {problem}"))
            .fix("Download the file again, or leave it out and give vocab.txt.")
    };
    let json = serde_json::to_value(processor).map_err(failed)?;
    // The crate would panic when it comes to use it.
    if let Some(token) = undefined_token(&json) {
        return Err(broken(format!("the token {token:?}, but does not say what it is")));
    }
    let empty = tokenizers::Encoding::default;
    let around = processor.process(empty(), Some(empty()), true).map_err(failed)?;
    match around.get_ids().iter().find(|&&id| id as usize >= id_limit(pieces)) {
        Some(id) => Err(broken(format!("the id {id}, which the vocabulary does not have"))),
        None => Ok(()),
    }
}

fn undefined_token(processor: &Value) -> Option<&str> {
    let templates = ["single", "pair"].into_iter().filter_map(|key| processor[key].as_array());
    let mut tokens = templates.flatten().filter_map(|piece| piece["SpecialToken"]["id"].as_str());
    let mut parts = processor["processors"].as_array().into_iter().flatten();
    tokens
        .find(|token| processor["special_tokens"].get(token).is_none())
        .or_else(|| parts.find_map(undefined_token))
}

fn bert_template(names: &SpecialNames, special: SpecialIds) -> Result<PostProcessorWrapper> {
    let (cls, sep) = (names.token("cls_token"), names.token("sep_token"));
    let template = TemplateProcessing::builder()
        .try_single(format!("{cls}:0 $A:0 {sep}:0"))
        .and_then(|builder| builder.try_pair(format!("{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1")))
        .map_err(failed)?
        .special_tokens(vec![(cls, special.cls), (sep, special.sep)])
        .build()
        .map_err(failed)?;
    Ok(template.into())
}

fn utf8<'a>(bytes: &'a [u8], place: &str) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|cause| {
        Error::new(place, format!("not UTF-8 at byte {}", cause.valid_up_to()))
            .fix("Save the file as UTF-8.")
    })
}

fn pretty(object: &Map<String, Value>) -> Vec<u8> {
    let mut text = format!("{:#}", Value::Object(object.clone()));
    text.push('\n');
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n##s\n,\ncafe\n";

    fn folder(files: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        files.iter().map(|(name, text)| (name.to_string(), text.as_bytes().to_vec())).collect()
    }

    fn small() -> Tokenizer {
        Tokenizer::from_files(&folder(&[(VOCAB, WORDS)])).unwrap()
    }

    fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
        tokenizer.encode(text, None, 64, Truncation::LongestFirst).unwrap().input_ids
    }

    #[track_caller]
    fn assert_error(files: &[(&str, &str)], place: &str, problem: &str) {
        let error = Tokenizer::from_files(&folder(files)).unwrap_err();
        assert_eq!(error.place, place, "{error}");
        assert!(error.problem.contains(problem), "{error}");
    }

    #[test]
    fn a_pair() {
        let encoding =
            small().encode("Hello, worlds", Some("Café"), 64, Truncation::LongestFirst).unwrap();
        let tokens = ["[CLS]", "hello", ",", "world", "##s", "[SEP]", "cafe", "[SEP]"];
        assert_eq!(encoding.tokens, tokens);
        assert_eq!(encoding.input_ids, [2, 5, 8, 6, 7, 3, 9, 3]);
        assert_eq!(encoding.token_type_ids, [0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(encoding.offsets[3..7], [(7, 12), (12, 13), (0, 0), (0, 4)]);
        assert_eq!(encoding.word_ids[3..7], [Some(2), Some(2), None, Some(0)]);
        assert_eq!(encoding.sequence_ids[4..7], [Some(0), None, Some(1)]);
        assert!(!encoding.truncated);
    }

    #[test]
    fn settings_come_from_the_config() {
        let config = r#"{"do_lower_case": false, "model_max_length": 512,
            "cls_token": {"content": "hello"}}"#;
        let tokenizer =
            Tokenizer::from_files(&folder(&[(VOCAB, WORDS), (CONFIG, config)])).unwrap();
        assert_eq!(ids(&tokenizer, "World world"), [5, 1, 6, 3]);
        assert_eq!((tokenizer.cls_id(), tokenizer.model_max_length()), (5, Some(512)));
        let map = r#"{"sep_token": "world"}"#;
        let files = folder(&[(VOCAB, WORDS), (CONFIG, config), (SPECIAL_TOKENS, map)]);
        assert_eq!(Tokenizer::from_files(&files).unwrap().sep_id(), 6);
        assert_eq!(small().model_max_length(), None);
    }

    #[test]
    fn tokens_can_be_added_to_the_vocabulary() {
        let config = |id: u32| {
            format!(
                r#"{{"added_tokens_decoder": {{"{id}": {{"content": "<new>", "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false, "special": true}}}}}}"#
            )
        };
        let files = folder(&[(VOCAB, WORDS), (CONFIG, &config(10))]);
        let tokenizer = Tokenizer::from_files(&files).unwrap();
        assert_eq!(ids(&tokenizer, "hello<new>"), [2, 5, 10, 3]);
        assert_eq!(tokenizer.vocab_size(), 11);
        assert_error(&[(VOCAB, WORDS), (CONFIG, &config(12))], CONFIG, "contradicts");
    }

    #[test]
    fn older_models_list_added_tokens_in_a_file() {
        let list = r#"{"[WORLD]": 10, "<user>": 11}"#;
        let files = folder(&[(VOCAB, WORDS), (ADDED_TOKENS, list)]);
        let tokenizer = Tokenizer::from_files(&files).unwrap();
        assert_eq!(ids(&tokenizer, "Hello [WORLD] <user>"), [2, 5, 10, 11, 3]);
        assert_eq!(tokenizer.vocab_size(), 12);
        // They go back to disk, and with tokenizer.json beside it the file changes nothing.
        let written = tokenizer.to_files().unwrap();
        assert_eq!(written[ADDED_TOKENS], list.as_bytes());
        let again = Tokenizer::from_files(&written).unwrap();
        assert_eq!(ids(&again, "hello[WORLD]<user>"), [2, 5, 10, 11, 3]);
        assert_eq!(again.to_files().unwrap(), written);
        let of = |list: &str| folder(&[(VOCAB, WORDS), (ADDED_TOKENS, list)]);
        let known = Tokenizer::from_files(&of(r#"{"[MASK]": 4}"#)).unwrap();
        assert_eq!((known.vocab_size(), ids(&known, "[MASK]")), (10, vec![2, 4, 3]));
        assert_error(
            &[(VOCAB, WORDS), (ADDED_TOKENS, r#"{"<a>": 12}"#)],
            ADDED_TOKENS,
            "contradicts",
        );
        assert_error(
            &[(VOCAB, WORDS), (ADDED_TOKENS, r#"{"<a>": "x"}"#)],
            ADDED_TOKENS,
            "the id of",
        );
        assert_error(&[(VOCAB, WORDS), (ADDED_TOKENS, "[1]")], ADDED_TOKENS, "invalid type");
    }

    #[test]
    fn what_tokenizer_json_says_about_length_is_not_followed() {
        let mut whole = small();
        let truncation = tokenizers::TruncationParams { max_length: 4, ..Default::default() };
        whole.pieces.with_truncation(Some(truncation)).unwrap();
        whole.pieces.with_padding(Some(tokenizers::PaddingParams {
            strategy: tokenizers::PaddingStrategy::Fixed(20),
            ..Default::default()
        }));
        let json = String::from_utf8(whole.tokenizer_json().unwrap()).unwrap();
        let again = Tokenizer::from_files(&folder(&[(TOKENIZER, &json)])).unwrap();
        assert_eq!(ids(&again, "hello, worlds"), [2, 5, 8, 6, 7, 3]);
        assert_eq!(again.to_files().unwrap()[VOCAB], WORDS.as_bytes());
        let strange = json.replace("\"ids\": [\n          3\n", "\"ids\": [\n          999\n");
        assert_error(&[(TOKENIZER, &strange)], TOKENIZER, "the id 999, which");
        let strange = json.replace("\"id\": \"[SEP]\"", "\"id\": \"[END]\"");
        assert_error(&[(TOKENIZER, &strange)], TOKENIZER, "\"[END]\", but does not say");
    }

    #[test]
    fn the_config_overrides_tokenizer_json_where_it_says_something() {
        let cased = folder(&[(VOCAB, WORDS), (CONFIG, r#"{"do_lower_case": false}"#)]);
        let mut files = Tokenizer::from_files(&cased).unwrap().to_files().unwrap();
        let reload = |files: &BTreeMap<_, _>| Tokenizer::from_files(files).unwrap();
        files.insert(CONFIG.into(), b"{}".to_vec());
        assert_eq!(ids(&reload(&files), "Hello"), [2, 1, 3]);
        let completed = reload(&files).to_files().unwrap();
        assert!(String::from_utf8_lossy(&completed[CONFIG]).contains("\"do_lower_case\": false"));
        files.insert(CONFIG.into(), br#"{"do_lower_case": true}"#.to_vec());
        assert_eq!(ids(&reload(&files), "Hello"), [2, 5, 3]);
    }

    #[test]
    fn only_files_of_the_tokenizer_are_kept() {
        let files = folder(&[(VOCAB, WORDS), ("config.json", "{}"), ("model.safetensors", "x")]);
        let written = Tokenizer::from_files(&files).unwrap().to_files().unwrap();
        assert_eq!(written.keys().collect::<Vec<_>>(), [TOKENIZER, CONFIG, VOCAB]);
    }

    #[test]
    fn windows_cover_the_whole_text() {
        let text = "hello world , hello world , hello";
        let windows = small().encode_windows(text, None, 5, 1, Truncation::OnlyFirst).unwrap();
        let ids: Vec<_> = windows.iter().map(|window| window.input_ids.clone()).collect();
        assert_eq!(ids, [[2, 5, 6, 8, 3], [2, 8, 5, 6, 3], [2, 6, 8, 5, 3]]);
        assert!(windows.iter().all(|window| window.truncated));
    }

    #[test]
    fn lengths_that_leave_no_room_are_errors() {
        let (tokenizer, text) = (small(), "hello world hello world");
        assert_eq!(ids(&tokenizer, "").len(), 2);
        for (pair, length) in [(None, 0), (None, 1), (Some("hello"), 2)] {
            assert!(tokenizer.encode(text, pair, length, Truncation::LongestFirst).is_err());
        }
        let windows = |length, stride| {
            tokenizer.encode_windows(text, None, length, stride, Truncation::LongestFirst)
        };
        assert!(windows(2, 0).is_err());
        assert!(windows(4, 2).is_err());
        assert!(windows(4, usize::MAX).is_err());
        assert!(windows(4, 1).is_ok());
        let only = |pair, truncation| tokenizer.encode(text, pair, 5, truncation);
        assert!(only(None, Truncation::OnlySecond).is_err());
        assert!(only(Some("hello"), Truncation::OnlySecond).is_err());
        assert!(only(Some("hello hello hello"), Truncation::OnlyFirst).is_err());
    }

    #[test]
    fn bad_files_are_errors_with_a_place() {
        assert_error(&[], "tokenizer", "neither");
        assert_error(&[(VOCAB, "")], VOCAB, "empty");
        assert_error(&[(VOCAB, " \n\n")], VOCAB, "empty");
        assert_error(
            &[(VOCAB, &format!("{WORDS}world\n"))],
            "vocab.txt, line 11",
            "line 7 already",
        );
        let missing = "the special tokens [CLS] (cls_token), [MASK] (mask_token) are missing";
        assert_error(&[(VOCAB, "[PAD]\n[UNK]\n[SEP]\n")], VOCAB, missing);
        assert_error(&[(TOKENIZER, "{")], TOKENIZER, "EOF");
        assert_error(&[(TOKENIZER, "{}")], TOKENIZER, "");
        assert_error(&[(VOCAB, WORDS), (CONFIG, "[1]")], CONFIG, "invalid type");
        assert_error(&[(VOCAB, WORDS), (CONFIG, r#"{"do_lower_case": "yes"}"#)], CONFIG, "\"yes\"");
        let latin = BTreeMap::from([(VOCAB.to_string(), b"[PAD]\n\xe9\n".to_vec())]);
        let error = Tokenizer::from_files(&latin).unwrap_err();
        assert_eq!((error.place.as_str(), error.problem.as_str()), (VOCAB, "not UTF-8 at byte 6"));
    }
}
