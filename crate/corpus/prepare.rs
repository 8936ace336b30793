//! Text files to a folder of shards: one thread reads, `jobs` threads tokenize, one packs and
//! writes, each in the order of the text, so that the result does not depend on their number.
//!
//! After every shard `progress.json` says where to go on. `index.json` comes last: a folder with
//! it is complete.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::chunks::LineTokenizer;
use super::input::{Input, InputInfo, Item, ItemKind, Position, ReadOptions, Reader};
use super::packing::{Packer, PackerState, Packing, Segments};
use super::shard::{Layout, ShardInfo, ShardWriter, Split};
use super::{INDEX, Index, PROGRESS, Settings, TOKENIZER, hex, unreadable};
use crate::error::{Error, Result};
use crate::files::{NewFolder, name_of_partial, partial, unwritable, write_file};
use crate::seed::stream;
use crate::tokenizer::Tokenizer;

/// Text that a thread tokenizes at a time.
const BATCH_BYTES: usize = 128 << 10;
/// Chunks of text that all threads together remember, twice (see `LineTokenizer`): some 150 MB.
const REMEMBERED: usize = 1 << 21;
/// More of them help one thread little.
const REMEMBERED_BY_ONE: usize = 1 << 18;
/// A shard of the usual length is about as large; all of it is in memory at once.
const SHARD_BYTES: usize = 64 << 20;

#[derive(Debug, Clone, PartialEq)]
pub struct PrepareOptions {
    pub max_seq_length: usize,
    pub packing: Packing,
    /// Share of the documents to hold out.
    pub eval_fraction: f64,
    pub seed: u64,
    pub read: ReadOptions,
    /// Most examples of a shard; None for about 64 MB.
    pub shard_size: Option<usize>,
    /// Threads that tokenize.
    pub jobs: usize,
    /// Replace what another run left in the folder.
    pub overwrite: bool,
}

impl Default for PrepareOptions {
    fn default() -> Self {
        PrepareOptions {
            max_seq_length: 128,
            packing: Packing::Full,
            eval_fraction: 0.01,
            seed: 0,
            read: ReadOptions { field: "text".into(), document_per_file: false },
            shard_size: None,
            jobs: std::thread::available_parallelism().map_or(1, usize::from),
            overwrite: false,
        }
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Of the inputs as they are on disk.
    pub bytes_read: u64,
    pub bytes_total: u64,
}

/// What a run has done.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub documents: u64,
    pub train_examples: usize,
    pub eval_examples: usize,
    pub tokens: u64,
    pub kept_share: f64,
    pub padding_share: f64,
    pub unknown_share: f64,
    /// Bytes of text.
    pub bytes: u64,
    /// This run went on where another one had stopped, or found its work done.
    pub resumed: bool,
    pub seconds: f64,
    /// Text of this run, in 10^6 bytes a second.
    pub mb_per_s: f64,
}

/// All that decides about the bytes of the result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Plan {
    #[serde(flatten)]
    settings: Settings,
    inputs: Vec<InputInfo>,
}

/// Sums over the corpus.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    pub documents: u64,
    pub eval_documents: u64,
    /// Bytes of text.
    pub bytes: u64,
    /// Tokens of the text.
    pub text_tokens: u64,
    /// Tokens of the text that are in an example.
    pub kept_tokens: u64,
    pub unknown_tokens: u64,
}

/// What `progress.json` holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct PrepareState {
    plan: Plan,
    /// The document to hold out where the draw takes none.
    held_out: Option<u64>,
    position: Position,
    packer: PackerState,
    counts: Counts,
    shards: Vec<ShardInfo>,
    /// How often shards were begun.
    cuts: usize,
}

/// Prepares the inputs for pre-training, and goes on with an interrupted run of the same options.
/// An error of `progress` stops it.
///
/// # Errors
/// An input or the tokenizer cannot be read, the inputs hold no text, the folder holds something
/// else, or the disk refuses.
pub fn prepare(
    inputs: &[Input],
    tokenizer_files: &BTreeMap<String, Vec<u8>>,
    options: &PrepareOptions,
    output: &Path,
    progress: &mut dyn FnMut(Progress) -> Result<()>,
) -> Result<Report> {
    let start = Instant::now();
    let tokenizer = Tokenizer::from_files(tokenizer_files)?;
    let files = tokenizer.to_files()?;
    let settings = settings(&tokenizer, &files, options)?;
    let infos = inputs.iter().map(Input::info).collect::<Result<Vec<_>>>()?;
    let plan = Plan { settings, inputs: infos };
    if options.overwrite && output.join(INDEX).exists() {
        return replace(inputs, tokenizer_files, options, output, progress);
    }
    if options.overwrite {
        remove_result(output)?;
    }
    if let Some(index) = finished(output, &plan)? {
        // A run that was killed in its last moment.
        let _ = std::fs::remove_file(output.join(PROGRESS));
        let done = index.bytes;
        return Ok(Report::new(&index, true, done, start));
    }
    let saved = unfinished(output, &plan, options.overwrite)?;
    let resumed = saved.is_some();
    let state = match saved {
        Some(state) => state,
        None => PrepareState::new(plan, inputs, options)?,
    };
    let leftovers = Leftovers::new(output);
    let before = state.counts.bytes;
    let result = write_folder(&tokenizer, &files, inputs, options, output, state, progress);
    if result.is_err() && !resumed {
        leftovers.remove_if_useless();
    }
    Ok(Report::new(&result?, resumed, before, start))
}

/// Prepares a text that is in memory. Blank lines separate its documents.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_text(
    name: &str,
    text: &str,
    tokenizer_files: &BTreeMap<String, Vec<u8>>,
    options: &PrepareOptions,
    output: &Path,
) -> Result<super::Corpus> {
    let input = Input::Text { name: name.into(), text: text.into() };
    prepare(&[input], tokenizer_files, options, output, &mut |_| Ok(()))?;
    super::Corpus::open(output)
}

fn settings(
    tokenizer: &Tokenizer,
    files: &BTreeMap<String, Vec<u8>>,
    options: &PrepareOptions,
) -> Result<Settings> {
    check_options(options)?;
    let mut hash = Sha256::new();
    for (name, bytes) in files {
        hash.update(format!("{name} {}\n", bytes.len()));
        hash.update(bytes);
    }
    let special = tokenizer.special_ids();
    let (max_seq_length, vocab_size) = (options.max_seq_length, tokenizer.vocab_size());
    let layout = Layout { max_seq_length, vocab_size, special };
    Ok(Settings {
        tokenizer_sha256: hex(&hash.finalize()),
        vocab_size,
        special,
        max_seq_length,
        packing: options.packing,
        seed: options.seed,
        eval_fraction: options.eval_fraction,
        field: options.read.field.clone(),
        document_per_file: options.read.document_per_file,
        shard_size: options.shard_size.unwrap_or(SHARD_BYTES / layout.row_bytes()).max(1),
    })
}

fn check_options(options: &PrepareOptions) -> Result<()> {
    let length = options.max_seq_length;
    if !(8..=usize::from(u16::MAX)).contains(&length) {
        return Err(Error::new("--max-seq-length", format!("{length} is out of range"))
            .fix("Take a length from 8 to 65535; 128 is usual for small models, 512 for others."));
    }
    let fraction = options.eval_fraction;
    if !(0.0..=0.5).contains(&fraction) {
        return Err(Error::new("--eval-fraction", format!("{fraction} is out of range"))
            .fix("Take a number from 0 to 0.5."));
    }
    Ok(())
}

// ---- What an earlier run left ----

fn finished(output: &Path, plan: &Plan) -> Result<Option<Index>> {
    let Some(index) = read_json::<Index>(&output.join(INDEX))? else { return Ok(None) };
    let was = Plan { settings: index.settings.clone(), inputs: index.inputs.clone() };
    same_plan(output, "a result", &was, plan)?;
    Ok(Some(index))
}

/// Prepares beside what is there, which goes when the new result is whole.
fn replace(
    inputs: &[Input],
    tokenizer_files: &BTreeMap<String, Vec<u8>>,
    options: &PrepareOptions,
    output: &Path,
    progress: &mut dyn FnMut(Progress) -> Result<()>,
) -> Result<Report> {
    let new = NewFolder::create(output)?;
    let options = PrepareOptions { overwrite: false, ..options.clone() };
    let report = prepare(inputs, tokenizer_files, &options, new.partial(), progress)?;
    new.commit(is_ours)?;
    Ok(report)
}

fn unfinished(output: &Path, plan: &Plan, overwrite: bool) -> Result<Option<PrepareState>> {
    if let Some(state) = read_json::<PrepareState>(&output.join(PROGRESS))? {
        same_plan(output, "an unfinished run", &state.plan, plan)?;
        return Ok(Some(state));
    }
    let half = partial(Path::new(PROGRESS));
    let mut entries = std::fs::read_dir(output).into_iter().flatten().flatten();
    if entries.any(|entry| *entry.file_name() != *half) && !overwrite {
        return Err(Error::new(output.display(), "the output folder is not empty")
            .fix("Choose another one, or pass --overwrite."));
    }
    Ok(None)
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unreadable(path, &e)),
    };
    let value = serde_json::from_slice(&bytes);
    value.map(Some).map_err(|e| unreadable(path, &e).fix("Pass --overwrite to begin anew."))
}

/// Names the first thing that differs.
fn same_plan(output: &Path, what: &str, was: &Plan, is: &Plan) -> Result<()> {
    let setting = different_setting(&was.settings, &is.settings);
    let Some(problem) = setting.or_else(|| different_input(&was.inputs, &is.inputs)) else {
        return Ok(());
    };
    Err(Error::new(output.display(), format!("holds {what}, but {problem}"))
        .fix("Pass the same options and inputs, choose another folder, or pass --overwrite."))
}

fn different_setting(was: &Settings, is: &Settings) -> Option<String> {
    let fields = |settings: &Settings| match serde_json::to_value(settings) {
        Ok(Value::Object(fields)) => fields,
        other => unreachable!("settings are an object, not {other:?}"),
    };
    let (was, is) = (fields(was), fields(is));
    let (name, old) = was.iter().find(|(name, old)| is.get(*name) != Some(old))?;
    Some(match name.as_str() {
        "tokenizer_sha256" | "vocab_size" | "special" => "--tokenizer is another one".to_string(),
        name => format!("--{} was {old} and is {}", name.replace('_', "-"), is[name]),
    })
}

fn different_input(was: &[InputInfo], is: &[InputInfo]) -> Option<String> {
    match was.iter().zip(is).find(|(was, is)| was != is) {
        Some((was, is)) if was.name == is.name => Some(format!("{} has changed", is.name)),
        Some((was, is)) => Some(format!("--input was {} and is {}", was.name, is.name)),
        None if was.len() == is.len() => None,
        None => Some(format!("--input was {} files and is {}", was.len(), is.len())),
    }
}

/// Removes what `prepare` writes, and nothing else; the index first, so that no folder looks
/// complete that is not.
fn remove_result(output: &Path) -> Result<()> {
    let entries = std::fs::read_dir(output).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> =
        entries.filter(|e| is_ours(&e.file_name().to_string_lossy())).map(|e| e.path()).collect();
    paths.sort_by_key(|path| (!path.ends_with(INDEX), path.clone()));
    for path in paths {
        let removed = match path.is_dir() {
            true => std::fs::remove_dir_all(&path),
            false => std::fs::remove_file(&path),
        };
        removed.map_err(|e| Error::new(path.display(), format!("cannot be removed ({e})")))?;
    }
    Ok(())
}

fn is_ours(name: &str) -> bool {
    let name = name_of_partial(name).unwrap_or(name);
    let shard = |split: &str| {
        let number = name.strip_prefix(split).and_then(|name| name.strip_suffix(".safetensors"));
        number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    [INDEX, PROGRESS, TOKENIZER].contains(&name) || shard("train-") || shard("eval-")
}

/// What a failed run leaves, to be taken away where there is nothing to go on from.
struct Leftovers<'a> {
    output: &'a Path,
    /// The topmost folder that was not there before.
    folder: Option<&'a Path>,
}

impl<'a> Leftovers<'a> {
    fn new(output: &'a Path) -> Self {
        let missing = output
            .ancestors()
            .take_while(|path| !path.as_os_str().is_empty() && path.symlink_metadata().is_err());
        Leftovers { output, folder: missing.last() }
    }

    fn remove_if_useless(&self) {
        let begun = read_json::<PrepareState>(&self.output.join(PROGRESS));
        if begun.is_ok_and(|state| state.is_some_and(|state| !state.shards.is_empty())) {
            return;
        }
        // The failure itself is what must be reported.
        let _ = remove_result(self.output);
        if let Some(folder) = self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

// ---- Which documents are held out ----

/// Whether the draw of this document holds it out.
fn is_drawn(seed: u64, document: u64, fraction: f64) -> bool {
    let mut random = ChaCha8Rng::seed_from_u64(stream(seed, "evaluation", document));
    random.random::<f64>() < fraction
}

/// The document to hold out where the draw takes none of them: the one whose share of the text is
/// nearest to the share asked for. None where one is drawn, or there is only one.
fn stand_in(inputs: &[Input], options: &PrepareOptions) -> Result<Option<u64>> {
    let fraction = options.eval_fraction;
    if fraction == 0.0 {
        return Ok(None);
    }
    let (mut sizes, mut size) = (Vec::new(), 0);
    let mut reader = Reader::new(inputs, &options.read);
    let mut text = String::new();
    while let Some(item) = reader.next(&mut text)? {
        size += text.len() as u64;
        text.clear();
        if item.kind == ItemKind::DocumentEnd && size > 0 {
            if is_drawn(options.seed, sizes.len() as u64, fraction) {
                return Ok(None);
            }
            sizes.push(std::mem::take(&mut size));
        }
    }
    let wanted = (sizes.iter().sum::<u64>() as f64 * fraction) as u64;
    let nearest = (0..sizes.len()).min_by_key(|document| sizes[*document].abs_diff(wanted));
    Ok(nearest.filter(|_| sizes.len() > 1).map(|document| document as u64))
}

impl PrepareState {
    fn new(plan: Plan, inputs: &[Input], options: &PrepareOptions) -> Result<Self> {
        Ok(PrepareState {
            plan,
            held_out: stand_in(inputs, options)?,
            position: Position::default(),
            packer: PackerState::default(),
            counts: Counts::default(),
            shards: Vec::new(),
            cuts: 0,
        })
    }
}

// ---- The pipeline ----

fn write_folder(
    tokenizer: &Tokenizer,
    files: &BTreeMap<String, Vec<u8>>,
    inputs: &[Input],
    options: &PrepareOptions,
    output: &Path,
    state: PrepareState,
    progress: &mut dyn FnMut(Progress) -> Result<()>,
) -> Result<Index> {
    let folder = output.join(TOKENIZER);
    std::fs::create_dir_all(output).map_err(|e| unwritable(output, e))?;
    let position = state.position;
    let bytes_total = state.plan.inputs.iter().map(|input| input.bytes).sum();
    // First of all, so that a run that is killed here can go on, too.
    let mut sink = Sink::new(state, output);
    sink.save()?;
    std::fs::create_dir_all(&folder).map_err(|e| unwritable(output, e))?;
    for (name, bytes) in files {
        write_file(&folder.join(name), bytes)?;
    }
    let reader = Reader::at(inputs, &options.read, position)?;
    let bytes_read = reader.bytes_read.clone();
    in_order(reader, tokenizer, options.jobs.max(1), |batch| {
        progress(Progress { bytes_read: bytes_read.load(Ordering::Relaxed), bytes_total })?;
        sink.take(&batch)
    })?;
    sink.finish()
}

/// A part of the stream: text, then its ids.
#[derive(Default)]
struct TextBatch {
    text: String,
    items: Vec<Item>,
    /// Where the text of each item ends.
    text_ends: Vec<usize>,
    ids: Vec<u32>,
    /// Where the ids of each item end.
    id_ends: Vec<usize>,
}

impl TextBatch {
    /// Empty at the end of the stream.
    fn read(reader: &mut Reader) -> Result<Self> {
        let mut batch = TextBatch::default();
        while batch.text.len() < BATCH_BYTES && batch.items.len() < BATCH_BYTES {
            let Some(item) = reader.next(&mut batch.text)? else { break };
            batch.items.push(item);
            batch.text_ends.push(batch.text.len());
        }
        Ok(batch)
    }

    fn tokenize(mut self, tokenizer: &mut LineTokenizer) -> Result<Self> {
        let mut start = 0;
        for &end in &self.text_ends {
            tokenizer.append_ids(&self.text[start..end], &mut self.ids)?;
            self.id_ends.push(self.ids.len());
            start = end;
        }
        Ok(self)
    }
}

type Work = (TextBatch, SyncSender<Result<TextBatch>>);

/// Reads, tokenizes on `jobs` threads, and hands the batches to `take` in the order of the text.
fn in_order(
    mut reader: Reader,
    tokenizer: &Tokenizer,
    jobs: usize,
    mut take: impl FnMut(TextBatch) -> Result<()>,
) -> Result<()> {
    // The places of batches in the order of the text; each is filled by one of the threads.
    let (places, results) = sync_channel::<Receiver<Result<TextBatch>>>(jobs + 2);
    let (work, todo) = sync_channel::<Work>(jobs);
    let todo = Arc::new(Mutex::new(todo));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let todo = todo.clone();
            let remembered = (REMEMBERED / jobs).min(REMEMBERED_BY_ONE);
            scope.spawn(move || tokenize_all(tokenizer, remembered, &todo));
        }
        // Else the reader could not see that every thread has gone.
        drop(todo);
        scope.spawn(move || read_all(&mut reader, &places, &work));
        // Leaving early hangs up on the reader, which then hangs up on the threads.
        results.into_iter().try_for_each(|place| match place.recv() {
            Ok(batch) => take(batch?),
            Err(_) => Err(Error::new("prepare", "a thread has gone")),
        })
    })
}

fn read_all(
    reader: &mut Reader,
    places: &SyncSender<Receiver<Result<TextBatch>>>,
    work: &SyncSender<Work>,
) {
    loop {
        let batch = TextBatch::read(reader);
        let (result, place) = sync_channel(1);
        let at_end = batch.as_ref().is_ok_and(|batch| batch.items.is_empty());
        if at_end || places.send(place).is_err() {
            return;
        }
        let sent = match batch {
            Ok(batch) => work.send((batch, result)).is_ok(),
            // The last that is heard of this reader.
            Err(error) => result.send(Err(error)).is_err(),
        };
        if !sent {
            return;
        }
    }
}

fn tokenize_all(tokenizer: &Tokenizer, generation: usize, todo: &Mutex<Receiver<Work>>) {
    let mut lines = LineTokenizer::new(tokenizer, generation);
    loop {
        let next = todo.lock().expect("no thread panics with it").recv();
        let Ok((batch, result)) = next else { return };
        let batch = match &mut lines {
            Ok(lines) => batch.tokenize(lines),
            Err(error) => Err(error.clone()),
        };
        // Nobody waits for it after an error.
        let _ = result.send(batch);
    }
}

/// Packs batches in order, and writes shards and progress.
struct Sink<'a> {
    output: &'a Path,
    state: PrepareState,
    packer: Packer,
    train: ShardWriter,
    eval: ShardWriter,
}

impl<'a> Sink<'a> {
    fn new(state: PrepareState, output: &'a Path) -> Self {
        let settings = &state.plan.settings;
        let layout = settings.layout();
        let packer = Packer::new(
            settings.packing,
            settings.max_seq_length,
            settings.seed,
            state.packer.clone(),
        );
        let [train, eval] =
            [Split::Train, Split::Eval].map(|split| ShardWriter::new(layout, split));
        Sink { output, state, packer, train, eval }
    }

    fn take(&mut self, batch: &TextBatch) -> Result<()> {
        let (mut text_start, mut id_start) = (0, 0);
        for (i, item) in batch.items.iter().enumerate() {
            let (text_end, id_end) = (batch.text_ends[i], batch.id_ends[i]);
            self.state.counts.bytes += (text_end - text_start) as u64;
            self.take_item(item, &batch.ids[id_start..id_end])?;
            (text_start, id_start) = (text_end, id_end);
        }
        Ok(())
    }

    fn take_item(&mut self, item: &Item, ids: &[u32]) -> Result<()> {
        let split = self.split();
        match item.kind {
            ItemKind::Line => {
                let unk = self.state.plan.settings.special.unk;
                self.state.counts.text_tokens += ids.len() as u64;
                self.state.counts.unknown_tokens +=
                    ids.iter().filter(|id| **id == unk).count() as u64;
                self.packer.add_line(ids);
                while let Some(segments) = self.packer.next_example() {
                    self.keep(split, &segments, item)?;
                }
            }
            ItemKind::DocumentEnd => {
                let document = self.packer.document();
                let last = self.packer.end_document();
                self.state.counts.documents = self.packer.document();
                let ended = self.packer.document() > document;
                self.state.counts.eval_documents += u64::from(ended && split == Split::Eval);
                if let Some(segments) = last {
                    self.keep(split, &segments, item)?;
                }
            }
        }
        Ok(())
    }

    fn split(&self) -> Split {
        let (settings, document) = (&self.state.plan.settings, self.packer.document());
        let drawn = is_drawn(settings.seed, document, settings.eval_fraction);
        if drawn || self.state.held_out == Some(document) { Split::Eval } else { Split::Train }
    }

    fn keep(&mut self, split: Split, segments: &Segments, item: &Item) -> Result<()> {
        self.state.counts.kept_tokens += segments.tokens() as u64;
        let writer = match split {
            Split::Train => &mut self.train,
            Split::Eval => &mut self.eval,
        };
        writer.push(segments);
        if writer.examples() < self.state.plan.settings.shard_size {
            return Ok(());
        }
        self.state.position = item.after;
        self.cut()?;
        self.save()
    }

    /// Writes what there is of both kinds, so that `progress.json` has no examples to remember.
    fn cut(&mut self) -> Result<()> {
        for writer in [&mut self.train, &mut self.eval] {
            self.state.shards.extend(writer.write(self.output, self.state.cuts)?);
        }
        self.state.cuts += 1;
        Ok(())
    }

    fn save(&mut self) -> Result<()> {
        self.state.packer = self.packer.state().clone();
        let json = serde_json::to_vec(&self.state).map_err(|e| Error::new(PROGRESS, e))?;
        write_file(&self.output.join(PROGRESS), &json)
    }

    fn finish(mut self) -> Result<Index> {
        self.cut()?;
        if self.state.shards.is_empty() {
            return Err(Error::new("--input", "there is no text in the files")
                .fix("Give files that hold words."));
        }
        let PrepareState { plan, counts, shards, .. } = self.state;
        let index = Index::new(plan.settings, plan.inputs, &counts, shards);
        let json = serde_json::to_string_pretty(&index).map_err(|e| Error::new(INDEX, e))?;
        write_file(&self.output.join(INDEX), (json + "\n").as_bytes())?;
        // Complete without it, whether it goes or not.
        let _ = std::fs::remove_file(self.output.join(PROGRESS));
        Ok(index)
    }
}

impl Report {
    fn new(index: &Index, resumed: bool, bytes_before: u64, start: Instant) -> Self {
        let seconds = start.elapsed().as_secs_f64();
        let examples = |split| -> usize {
            index.shards.iter().filter(|s| s.split == split).map(|s| s.examples).sum()
        };
        let bytes = index.bytes - bytes_before;
        Report {
            documents: index.documents,
            train_examples: examples(Split::Train),
            eval_examples: examples(Split::Eval),
            tokens: index.tokens,
            kept_share: index.kept_share,
            padding_share: index.padding_share,
            unknown_share: index.unknown_share,
            bytes: index.bytes,
            resumed,
            seconds,
            mb_per_s: bytes as f64 / seconds / 1e6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Corpus, Example};
    use super::*;
    use crate::corpus::input::find_inputs;

    const WORDS: [&str; 8] = ["red", "green", "blue", "cats", "dogs", "and", "run", "far"];

    fn vocabulary() -> BTreeMap<String, Vec<u8>> {
        let vocab =
            "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nred\ngreen\nblue\ncat\n##s\ndog\nand\nrun\n,\n";
        BTreeMap::from([("vocab.txt".to_string(), vocab.into())])
    }

    /// Documents of a few lines of a few words.
    fn text(documents: usize) -> String {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut text = String::new();
        for _ in 0..documents {
            for _ in 0..random.random_range(1..6) {
                for _ in 0..random.random_range(1..40) {
                    text += WORDS[random.random_range(0..WORDS.len())];
                    text += if random.random_bool(0.1) { ", " } else { " " };
                }
                text += "\n";
            }
            text += "\n";
        }
        text
    }

    fn options() -> PrepareOptions {
        let usual = PrepareOptions::default();
        PrepareOptions { max_seq_length: 32, shard_size: Some(300), jobs: 2, ..usual }
    }

    /// A folder with a text of several batches, and a place for results.
    fn workplace() -> (tempfile::TempDir, Vec<Input>) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.txt"), text(700)).unwrap();
        std::fs::write(folder.path().join("b.txt"), text(500)).unwrap();
        let inputs = find_inputs(&[folder.path().to_path_buf()]).unwrap().inputs;
        (folder, inputs)
    }

    fn run(inputs: &[Input], options: &PrepareOptions, output: &Path) -> Result<Report> {
        prepare(inputs, &vocabulary(), options, output, &mut |_| Ok(()))
    }

    fn listing(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
            let name = entry.file_name().into_string().unwrap();
            if entry.path().is_dir() {
                let inside = listing(&entry.path());
                files.extend(
                    inside.into_iter().map(|(file, bytes)| (format!("{name}/{file}"), bytes)),
                );
            } else {
                files.insert(name, std::fs::read(entry.path()).unwrap());
            }
        }
        files
    }

    fn examples(corpus: &Corpus, split: Split) -> Vec<Example> {
        (0..corpus.len(split)).map(|i| corpus.example(split, i).unwrap()).collect()
    }

    /// The tokens of all examples, without special ones.
    fn tokens(examples: &[Example]) -> Vec<u32> {
        let ids = examples.iter().flat_map(|example| &example.input_ids);
        ids.copied().filter(|id| !(2..=3).contains(id)).collect()
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let (folder, inputs) = workplace();
        let results = [1, 2, 4].map(|jobs| {
            let output = folder.path().join(jobs.to_string());
            run(&inputs, &PrepareOptions { jobs, ..options() }, &output).unwrap();
            listing(&output)
        });
        assert!(results[0].len() > 8, "{:?}", results[0].keys());
        assert!(results[0] == results[1] && results[0] == results[2]);
        let other = folder.path().join("other");
        run(&inputs, &PrepareOptions { seed: 1, ..options() }, &other).unwrap();
        assert!(
            listing(&other)["train-00000.safetensors"] != results[0]["train-00000.safetensors"]
        );
    }

    #[test]
    fn a_run_that_was_stopped_goes_on_to_the_same_result() {
        for packing in [Packing::Full, Packing::Reference] {
            let (folder, inputs) = workplace();
            let options = PrepareOptions { packing, ..options() };
            let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
            run(&inputs, &options, &whole).unwrap();
            let mut stops = 0;
            loop {
                // Every attempt gets one batch further, at different numbers of threads.
                let mut left = 2;
                let mut stop = |_| {
                    left -= 1;
                    if left == 0 { Err(Error::new("test", "stopped")) } else { Ok(()) }
                };
                let options = PrepareOptions { jobs: 1 + stops % 3, ..options.clone() };
                match prepare(&inputs, &vocabulary(), &options, &parts, &mut stop) {
                    Ok(report) => break assert!(report.resumed),
                    Err(error) => assert_eq!(error.problem, "stopped"),
                }
                stops += 1;
                assert!(stops < 50);
            }
            assert!(stops > 1);
            assert!(listing(&parts) == listing(&whole));
            assert!(run(&inputs, &options, &parts).unwrap().resumed);
        }
    }

    #[test]
    fn nothing_is_lost_and_no_document_is_in_both_splits() {
        let (folder, inputs) = workplace();
        let output = folder.path().join("out");
        let options = PrepareOptions { eval_fraction: 0.2, ..options() };
        let report = run(&inputs, &options, &output).unwrap();
        assert_eq!((report.documents, report.kept_share), (1200, 1.0));
        let corpus = Corpus::open(&output).unwrap();
        corpus.verify().unwrap();
        let drawn = |document: u64| is_drawn(options.seed, document, options.eval_fraction);
        let tokenizer = Tokenizer::from_files(&corpus.tokenizer_files().unwrap()).unwrap();
        let (mut train, mut eval) = (Vec::new(), Vec::new());
        let texts = [text(700), text(500)].concat();
        for (document, text) in texts.trim().split("\n\n").enumerate() {
            let ids = tokenizer.ids(text).unwrap();
            if drawn(document as u64) { eval.extend(ids) } else { train.extend(ids) }
        }
        assert!(tokens(&examples(&corpus, Split::Train)) == train);
        assert!(tokens(&examples(&corpus, Split::Eval)) == eval);
        let share = corpus.index.eval_documents as f64 / 1200.0;
        assert!((0.15..0.25).contains(&share), "{share}");
    }

    #[test]
    fn examples_end_with_their_document() {
        let folder = tempfile::tempdir().unwrap();
        let lines: String = (0..50).map(|_| "red red\n\nblue, blue\n\n").collect();
        let output = folder.path().join("out");
        let corpus = prepare_text("lines", &lines, &vocabulary(), &options(), &output).unwrap();
        assert_eq!(corpus.index.documents, 100);
        for split in [Split::Train, Split::Eval] {
            for example in examples(&corpus, split) {
                let ids = &example.input_ids[..];
                let whole = [[2, 5, 5, 3].as_slice(), &[2, 7, 13, 7, 3]].contains(&ids);
                // A short target cuts a document, but never joins two.
                let mixed = ids.contains(&5) && ids.contains(&7);
                assert!(whole || !mixed, "{ids:?}");
            }
        }
        assert_eq!(
            tokens(&examples(&corpus, Split::Train)).len()
                + tokens(&examples(&corpus, Split::Eval)).len(),
            250
        );
    }

    #[test]
    fn there_is_something_to_evaluate_on_whenever_there_are_two_documents() {
        let held_out = |text: &str, eval_fraction: f64| {
            let folder = tempfile::tempdir().unwrap();
            let options = PrepareOptions { eval_fraction, ..options() };
            let output = folder.path().join("out");
            let corpus = prepare_text("text", text, &vocabulary(), &options, &output).unwrap();
            (corpus.index.eval_documents, corpus.len(Split::Eval))
        };
        assert_eq!(held_out("red\nred\n", 0.01), (0, 0));
        assert_eq!(held_out("red\n\nred\n", 0.01), (1, 1));
        assert_eq!(held_out("red red red\n\nred\n\nred red red\n", 0.00001), (1, 1));
        assert_eq!(held_out("red\n\nred\n", 0.0), (0, 0));
    }

    #[test]
    fn other_options_are_named() {
        let (folder, inputs) = workplace();
        let output = folder.path().join("out");
        run(&inputs, &options(), &output).unwrap();
        let problem = |inputs: &[Input], options: PrepareOptions| {
            run(inputs, &options, &output).unwrap_err().problem
        };
        let longer = PrepareOptions { max_seq_length: 64, ..options() };
        assert!(problem(&inputs, longer).contains("--max-seq-length was 32 and is 64"));
        let packing = PrepareOptions { packing: Packing::Reference, ..options() };
        assert!(problem(&inputs, packing).contains("--packing was \"full\""));
        assert!(problem(&inputs[..1], options()).contains("--input was 2 files and is 1"));
        std::fs::write(folder.path().join("b.txt"), "red\n").unwrap();
        assert!(problem(&inputs, options()).contains("b.txt has changed"));
        let anew = PrepareOptions { overwrite: true, ..options() };
        assert!(!run(&inputs, &anew, &output).unwrap().resumed);
    }

    #[test]
    fn the_reference_loses_tails() {
        let (folder, inputs) = workplace();
        let output = folder.path().join("out");
        let options = PrepareOptions { packing: Packing::Reference, ..options() };
        let report = run(&inputs, &options, &output).unwrap();
        assert!((0.5..0.95).contains(&report.kept_share), "{}", report.kept_share);
    }
}
