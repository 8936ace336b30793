//! The browser's door: a [`Session`] that `web/worker.js` owns.
//!
//! Each method parses its arguments, calls the core, and converts the result; results are the
//! JSON that the command line prints. Every method that touches a tensor is async, because the
//! browser cannot wait for a GPU. Only one call may be inside a session at a time.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use js_sys::{Array, Function, Object, Reflect, Uint8Array};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;
use zip::ZipWriter;

use crate::config::ElectraConfig;
use crate::dataset::LabelledFile;
use crate::device::{self, is_cpu};
use crate::error::{Error, Result};
use crate::finetune::{FinetuneOptions, Source, TaskFiles, TrainPlan, check_vocabulary, start};
use crate::gradients::examples_at_once;
use crate::heads::{Architecture, Electra};
use crate::inspect;
use crate::pretrained::{self, Files, Loaded, ModelFiles, Pieces, Zipped};
use crate::query::{Details, Input, Pipeline};
use crate::self_test::{SelfTest, self_test};
use crate::tasks::{self, Examples, Known, check_pairs, kind_of};
use crate::tokenizer::Tokenizer;
use crate::train::{Progress, Trainer};

unsafe extern "C" {
    /// Made by the linker: registers what cubecl's compiler looks up by name.
    fn __wasm_call_ctors();
}

/// Runs the static constructors, once.
///
/// Without this call the linker takes the module for a program that runs once, and wraps every
/// export so that it runs them all again: hundreds of registrations for each object that crosses
/// between JavaScript and wasm, which took three quarters of the time of a short text.
#[wasm_bindgen(start)]
pub fn run_constructors() {
    // SAFETY: it takes nothing, gives nothing, and runs before anything else of this module.
    unsafe { __wasm_call_ctors() };
}

/// A device, the model on it, and the run under way.
#[wasm_bindgen]
pub struct Session {
    device: Device,
    self_test: Option<SelfTest>,
    opened: Option<Opened>,
    run: Option<Trainer>,
    /// Is the run over, or was it stopped? Then what is asked is what it comes to.
    rests: bool,
    /// A run on a few rows that is only timed.
    rehearsal: Option<Trainer>,
}

/// A loaded model folder.
struct Opened {
    files: PageFiles,
    tokenizer: Tokenizer,
    loaded: Loaded,
}

/// A model's files: the weights stay where the page has them, and are read from there again for
/// every run.
#[derive(Default)]
struct PageFiles {
    small: ModelFiles,
    weights: BTreeMap<String, Outside>,
}

impl Files for PageFiles {
    fn open(&self, name: &str) -> Option<&dyn Pieces> {
        let outside = self.weights.get(name).map(|file| file as &dyn Pieces);
        outside.or_else(|| self.small.open(name))
    }
}

/// A file outside of the engine's memory, or a part of one: `{size, read(start, end)}` of the worker's.
struct Outside {
    read: Function,
    place: Range<usize>,
}

impl Outside {
    fn new(file: &JsValue) -> Result<Self> {
        let get = |key: &str| Reflect::get(file, &key.into()).ok();
        let size = get("size").and_then(|size| size.as_f64());
        let read = get("read").and_then(|read| read.dyn_into().ok());
        match (size, read) {
            // What has more, no index here can reach.
            (Some(size), Some(read)) if size <= usize::MAX as f64 => {
                Ok(Outside { read, place: 0..size as usize })
            }
            _ => Err(Error::new("file", "is larger than any that can be read here")),
        }
    }

    fn part(&self, Range { start, end }: Range<usize>) -> Self {
        let first = self.place.start;
        Outside { read: self.read.clone(), place: first + start..first + end }
    }

    fn all(&self) -> io::Result<Vec<u8>> {
        Ok(self.read(0..self.length())?.into_owned())
    }
}

impl Pieces for Outside {
    fn length(&self) -> usize {
        self.place.len()
    }

    fn read(&self, range: Range<usize>) -> io::Result<Cow<'_, [u8]>> {
        if range.end > self.length() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let [start, end] = [range.start, range.end].map(|at| (self.place.start + at) as f64);
        let read = self.read.call2(&JsValue::NULL, &start.into(), &end.into());
        let read = read.map_err(|e| io::Error::other(words_of(&e)))?;
        let bytes = read.dyn_into::<Uint8Array>().map(|bytes| bytes.to_vec()).unwrap_or_default();
        if bytes.len() != range.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Cow::Owned(bytes))
    }
}

#[wasm_bindgen]
impl Session {
    /// Opens `"webgpu"` (and tests it against the CPU) or `"cpu"`.
    pub async fn create(kind: String) -> std::result::Result<Session, JsValue> {
        console_error_panic_hook::set_once();
        let opened = async {
            let picked = match kind.as_str() {
                "webgpu" => device::webgpu().await?,
                _ => device::cpu("as asked"),
            };
            let test = match picked.kind.as_str() {
                "cpu" => None,
                _ => Some(self_test(&picked.device).await?),
            };
            Ok((picked.device, test))
        };
        let (device, self_test) = opened.await.map_err(to_js)?;
        Ok(Session { device, self_test, opened: None, run: None, rests: true, rehearsal: None })
    }

    /// How far the GPU was from the CPU, or null on the CPU.
    pub fn self_test(&self) -> std::result::Result<JsValue, JsValue> {
        answer(&self.self_test)
    }

    /// Loads a model from `{name: {size, read(start, end)}}`, a folder's files or one zip; `read` gives
    /// those bytes of the file, for as long as the model is there.
    pub async fn load(&mut self, files: JsValue) -> std::result::Result<JsValue, JsValue> {
        let files = page_files(files).map_err(to_js)?;
        self.opened = Some(open(files, &self.device).map_err(to_js)?);
        (self.run, self.rehearsal) = (None, None);
        self.info()
    }

    /// What is loaded.
    pub fn info(&self) -> std::result::Result<JsValue, JsValue> {
        self.model_info().map_err(to_js).and_then(|info| answer(&info))
    }

    /// Looks into a file of labelled text; `options`: the task and columns, where they are chosen.
    pub async fn inspect(
        &self,
        data: JsValue,
        options: JsValue,
        max_seq_length: usize,
    ) -> std::result::Result<JsValue, JsValue> {
        let inspect = || {
            let FinetuneOptions { task, reading, .. } =
                FinetuneOptions::from_json(from_js(options)?)?;
            let Opened { tokenizer, loaded, .. } = self.opened()?;
            let model = (tokenizer, &loaded.config);
            inspect::inspect(&read_data(data)?, task, &reading, model, max_seq_length)
        };
        answer(&inspect().map_err(to_js)?)
    }

    /// Prepares a fine-tuning run; `advance` then moves it. After an error nothing has changed: the
    /// run before is still there, and the model that `predict` asks is the same.
    pub async fn start(
        &mut self,
        options: JsValue,
        train: JsValue,
        eval: JsValue,
    ) -> std::result::Result<JsValue, JsValue> {
        self.rehearsal = None;
        let (trainer, plan) = self.prepare(options, train, eval, None).map_err(to_js)?;
        (self.run, self.rests) = (Some(trainer), false);
        answer(&plan)
    }

    /// Prepares what `rehearse_update` and `rehearse_evaluation` do: a caller measures how long
    /// they take. Nothing else changes.
    pub async fn rehearse(
        &mut self,
        options: JsValue,
        train: JsValue,
    ) -> std::result::Result<(), JsValue> {
        let eval = JsValue::UNDEFINED;
        let (trainer, _) = self.prepare(options, train, eval, Some(REHEARSED)).map_err(to_js)?;
        self.rehearsal = Some(trainer);
        Ok(())
    }

    /// An update on a few rows.
    pub async fn rehearse_update(&mut self) -> std::result::Result<(), JsValue> {
        let Some(trainer) = &mut self.rehearsal else { return Err(no_run()) };
        trainer.rehearse_update().await.map_err(to_js)
    }

    /// A batch of an evaluation; gives its rows, and is the end of the rehearsal.
    pub async fn rehearse_evaluation(&mut self) -> std::result::Result<usize, JsValue> {
        let Some(mut trainer) = self.rehearsal.take() else { return Err(no_run()) };
        trainer.rehearse_evaluation().await.map_err(to_js)
    }

    /// The run is not to go on for now: `advance` evaluates it as it stands, and `predict` asks
    /// what is kept of it. Gives whether that evaluation is out of turn; nothing where there is none
    /// to be made.
    pub fn rest(&mut self) -> std::result::Result<Option<bool>, JsValue> {
        let Some(trainer) = &mut self.run else { return Err(no_run()) };
        self.rests = true;
        Ok(trainer.ask_for_evaluation())
    }

    /// The run between two steps: `write(bytes)` takes piece after piece of what `restore` goes on from.
    pub async fn save_state(&mut self, write: Function) -> std::result::Result<(), JsValue> {
        let Some(trainer) = &mut self.run else { return Err(no_run()) };
        // What `write` throws says more to the worker than any words about it.
        let mut thrown = None;
        let mut write = |piece: &[u8]| {
            let written = write.call1(&JsValue::NULL, &Uint8Array::from(piece));
            written.map(drop).map_err(|e| {
                thrown = Some(e);
                Error::new("the run", "cannot be written")
            })
        };
        let saved = trainer.save_to(&mut write).await;
        thrown.map_or(saved.map_err(to_js), Err)
    }

    /// As `start` with the same arguments, and then the run stands where it was saved: in the file
    /// `state`, `{size, read(start, end)}`. After an error, too, nothing has changed.
    pub async fn restore(
        &mut self,
        options: JsValue,
        train: JsValue,
        eval: JsValue,
        state: JsValue,
    ) -> std::result::Result<JsValue, JsValue> {
        let restored = || {
            let (mut trainer, plan) = self.prepare(options, train, eval, None)?;
            trainer.restore(&Outside::new(&state)?)?;
            Ok((trainer, plan))
        };
        let (trainer, plan) = restored().map_err(to_js)?;
        (self.run, self.rests) = (Some(trainer), true);
        answer(&plan)
    }

    /// One update, or one batch of an evaluation.
    pub async fn advance(&mut self) -> std::result::Result<JsValue, JsValue> {
        let Some(trainer) = &mut self.run else { return Err(no_run()) };
        let progress = trainer.advance().await.map_err(to_js)?;
        match progress {
            Progress::Step(_) => self.rests = false,
            Progress::Done { .. } => {
                self.rests = true;
                trainer.forget_moments();
            }
            _ => {}
        }
        answer(&progress)
    }

    /// Scores the fine-tuned model on labelled rows.
    pub async fn evaluate(
        &self,
        data: JsValue,
        options: JsValue,
    ) -> std::result::Result<JsValue, JsValue> {
        answer(&self.measure(data, options).await.map_err(to_js)?)
    }

    /// What `electra predict` prints, for texts or objects with the fields of an input.
    pub async fn predict(
        &self,
        inputs: JsValue,
        options: JsValue,
    ) -> std::result::Result<JsValue, JsValue> {
        answer(&self.predictions(inputs, options).await.map_err(to_js)?)
    }

    /// The likeliest words for each `[MASK]`, by the generator that was loaded.
    pub async fn fill(
        &self,
        texts: JsValue,
        options: JsValue,
    ) -> std::result::Result<JsValue, JsValue> {
        answer(&self.fillings(texts, options).await.map_err(to_js)?)
    }

    /// Replaced-token detection with the model as it was loaded.
    pub async fn detect(&self, texts: JsValue) -> std::result::Result<JsValue, JsValue> {
        answer(&self.detections(texts).await.map_err(to_js)?)
    }

    /// The folder of the fine-tuned model, or of the loaded one: `write(name, bytes)` takes its files,
    /// one after the other, each piece by piece.
    pub async fn export_files(&self, write: Function) -> std::result::Result<(), JsValue> {
        let write = |name: &str, piece: &[u8]| {
            let written = write.call2(&JsValue::NULL, &name.into(), &Uint8Array::from(piece));
            written.map(drop).map_err(|e| Error::new("model", words_of(&e)))
        };
        self.export(write).await.map_err(to_js)
    }

    /// The same as the parts of one zip, with the `more` in it, `{name: Uint8Array}`. `keep(bytes)` takes
    /// large ones out of the engine's memory and gives what stands for them: a Blob.
    pub async fn export_zip(
        &self,
        more: JsValue,
        keep: Function,
    ) -> std::result::Result<Array, JsValue> {
        let failed = |e: &dyn Display| Error::new("model", format!("cannot be packed ({e})"));
        let zipped = async {
            let (mut archive, mut begun) = (ZipWriter::new(Parts::new(keep)), String::new());
            self.export(|name, piece| {
                if begun != name {
                    archive.start_file(name, pretrained::as_it_is()).map_err(|e| failed(&e))?;
                    begun = name.to_string();
                }
                archive.write_all(piece).map_err(|e| failed(&e))
            })
            .await?;
            for (name, bytes) in entries(more) {
                let bytes = Uint8Array::new(&bytes).to_vec();
                archive.start_file(name, pretrained::as_it_is()).map_err(|e| failed(&e))?;
                archive.write_all(&bytes).map_err(|e| failed(&e))?;
            }
            archive.finish().map_err(|e| failed(&e))
        };
        Ok(zipped.await.map_err(to_js)?.into_array())
    }
}

/// What a zip is written to: large pieces go out at once, small ones stay here, for to the head of a file
/// its writer comes back once it knows the checksum.
struct Parts {
    keep: Function,
    parts: Vec<(Range<u64>, Content)>,
    at: u64,
}

enum Content {
    Here(Vec<u8>),
    Kept(JsValue),
}

/// From so many bytes on a piece is large.
const LARGE: usize = 1 << 16;

impl Parts {
    fn new(keep: Function) -> Self {
        Parts { keep, parts: Vec::new(), at: 0 }
    }

    fn end(&self) -> u64 {
        self.parts.last().map_or(0, |(place, _)| place.end)
    }

    fn into_array(self) -> Array {
        let value = |(_, content)| match content {
            Content::Here(bytes) => Uint8Array::from(&bytes[..]).into(),
            Content::Kept(value) => value,
        };
        self.parts.into_iter().map(value).collect()
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let place = self.at..self.at + bytes.len() as u64;
        if bytes.len() >= LARGE {
            let kept = self.keep.call1(&JsValue::NULL, &Uint8Array::from(bytes));
            let kept = kept.map_err(|e| io::Error::other(words_of(&e)))?;
            self.parts.push((place, Content::Kept(kept)));
        } else if let Some((last, Content::Here(here))) = self.parts.last_mut() {
            here.extend_from_slice(bytes);
            last.end = place.end;
        } else {
            self.parts.push((place, Content::Here(bytes.to_vec())));
        }
        Ok(())
    }

    fn overwrite(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (start, end) = (self.at, self.at + bytes.len() as u64);
        let part =
            self.parts.iter_mut().find(|(place, _)| place.start <= start && end <= place.end);
        let Some((place, Content::Here(here))) = part else {
            return Err(io::Error::other("what was written before cannot be changed"));
        };
        let first = (start - place.start) as usize;
        here[first..first + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.at == self.end() {
            self.append(bytes)?
        } else {
            self.overwrite(bytes)?
        }
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Parts {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.end().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

impl Session {
    fn prepare(
        &self,
        options: JsValue,
        train: JsValue,
        eval: JsValue,
        sample: Option<usize>,
    ) -> Result<(Trainer, TrainPlan)> {
        let options = FinetuneOptions { sample, ..FinetuneOptions::from_json(from_js(options)?)? };
        let train = read_data(train)?;
        let eval = if eval.is_falsy() { None } else { Some(read_data(eval)?) };
        let Opened { files, tokenizer, loaded } = self.opened()?;
        check_room_to_train(loaded, &options, &self.device)?;
        let task = TaskFiles { kind: options.task, train: &train, eval: eval.as_ref() };
        let (trainer, mut plans) = start(files, tokenizer, &[task], &options, &self.device)?;
        Ok((trainer, plans.remove(0)))
    }

    fn opened(&self) -> Result<&Opened> {
        self.opened.as_ref().ok_or_else(|| Error::new("model", "none is loaded"))
    }

    fn model_info(&self) -> Result<Value> {
        let Opened { loaded, tokenizer, .. } = self.opened()?;
        let positions = loaded.config.max_position_embeddings;
        let architecture = loaded.architecture;
        // Of what `predict` asks.
        let config = match &self.run {
            Some(trainer) => self.asked(trainer).1,
            None => loaded.config.clone(),
        };
        let task = kind_of(&config)?;
        Ok(json!({
            "architecture": architecture.name(&loaded.config),
            "parameters": loaded.model.num_params(),
            "config": loaded.config,
            "task": task,
            "labels": task.and_then(|_| config.labels()),
            "score_range": config.score_range,
            "can_detect": detects(loaded),
            "can_fill": architecture == Architecture::MaskedLm,
            "can_predict": task.is_some(),
            "untrained": loaded.config.untrained,
            "max_seq_length": tokenizer.model_max_length().unwrap_or(positions).min(positions),
            "notes": loaded.notes,
        }))
    }

    /// What answers of a run: the weights at hand while it goes on, those it keeps after that.
    fn asked(&self, trainer: &Trainer) -> (Electra, ElectraConfig) {
        if self.rests { trainer.result(0) } else { trainer.current(0) }
    }

    /// The fine-tuned model: the one in training, else the loaded one.
    fn tuned(&self, batch_size: usize) -> Result<Pipeline<'_>> {
        let pipeline = match &self.run {
            Some(trainer) => {
                let (model, config) = self.asked(trainer);
                self.pipeline(model, config, batch_size)?.with_length(trainer.max_seq_length())
            }
            None => self.loaded(batch_size)?,
        };
        match kind_of(pipeline.config())? {
            Some(_) => Ok(pipeline),
            None => Err(Error::new("model", "it was not fine-tuned for any task")
                .fix("Fine-tune it first, or load a fine-tuned one.")),
        }
    }

    /// The model as it was loaded.
    fn loaded(&self, batch_size: usize) -> Result<Pipeline<'_>> {
        let loaded = &self.opened()?.loaded;
        self.pipeline(loaded.model.clone(), loaded.config.clone(), batch_size)
    }

    fn pipeline(
        &self,
        model: Electra,
        config: ElectraConfig,
        batch_size: usize,
    ) -> Result<Pipeline<'_>> {
        Pipeline::new(model, config, &self.opened()?.tokenizer, batch_size, &self.device)
    }

    async fn measure(&self, data: JsValue, options: JsValue) -> Result<Value> {
        let FinetuneOptions { reading, config: mut settings, .. } =
            FinetuneOptions::from_json(from_js(options)?)?;
        let pipeline = self.tuned(settings.batch_size)?;
        settings.max_seq_length = settings.max_seq_length.min(pipeline.max_seq_length());
        let pipeline = pipeline.with_windowing(settings.windowing());
        let config = pipeline.config();
        let kind = kind_of(config)?.expect("a tuned model has a task");
        let Source { name, bytes } = read_data(data)?;
        let file = LabelledFile::new(&name, &bytes).with_sheet(reading.sheet.as_deref());
        let examples = Examples::read(kind, &file, &reading, &Known::of(config, kind)?)?;
        let examples = examples.labelled(&name)?;
        check_pairs(&examples, config)?;
        Ok(pipeline.run(&examples, |_, _| {}).await?.measure(None))
    }

    /// The answers of a model for single texts.
    async fn ask_texts(
        &self,
        pipeline: Pipeline<'_>,
        texts: JsValue,
        options: JsValue,
    ) -> Result<Vec<Value>> {
        let texts: Vec<String> = parse(from_js(texts)?)?;
        let inputs = texts.into_iter().map(Value::String).collect();
        ask(&pipeline, inputs, details(options)?).await
    }

    async fn predictions(&self, inputs: JsValue, options: JsValue) -> Result<Vec<Value>> {
        let inputs: Vec<Value> = parse(from_js(inputs)?)?;
        ask(&self.tuned(BATCH)?, inputs, details(options)?).await
    }

    async fn fillings(&self, texts: JsValue, options: JsValue) -> Result<Vec<Value>> {
        if self.opened()?.loaded.architecture != Architecture::MaskedLm {
            return Err(Error::new("model", "it has no head that fills masks")
                .fix("Load a generator (ElectraForMaskedLM)."));
        }
        self.ask_texts(self.loaded(BATCH)?, texts, options).await
    }

    async fn detections(&self, texts: JsValue) -> Result<Vec<Value>> {
        if !detects(&self.opened()?.loaded) {
            return Err(Error::new("model", "it has no replaced-token head")
                .fix("Load a discriminator (ElectraForPreTraining)."));
        }
        self.ask_texts(self.loaded(BATCH)?, texts, JsValue::NULL).await
    }

    /// Hands the files of the folder over, each piece by piece.
    async fn export(&self, mut write: impl FnMut(&str, &[u8]) -> Result<()>) -> Result<()> {
        let opened = self.opened()?;
        let (model, config, architecture) = match &self.run {
            Some(trainer) => {
                let (model, config) = trainer.result(0);
                let task = kind_of(&config)?.expect("a model in training has a task");
                (model, config, tasks::architecture(task))
            }
            None => {
                let Loaded { model, config, architecture, .. } = &opened.loaded;
                (model.clone(), config.clone(), *architecture)
            }
        };
        let config = pretrained::config_file(&config, architecture, pretrained::Dtype::F32);
        write("config.json", &config)?;
        pretrained::write_weights(&model, &mut |piece| write("model.safetensors", piece)).await?;
        for (name, bytes) in opened.tokenizer.to_files()? {
            write(&name, &bytes)?;
        }
        Ok(())
    }
}

/// Training rows of a rehearsal.
const REHEARSED: usize = 256;

/// Texts of one forward pass when predicting.
const BATCH: usize = 16;

/// Does it say which words were replaced? What Electric gives is no probability of that.
fn detects(loaded: &Loaded) -> bool {
    loaded.architecture == Architecture::PreTraining && loaded.config.objective.is_none()
}

async fn ask(pipeline: &Pipeline<'_>, inputs: Vec<Value>, details: Details) -> Result<Vec<Value>> {
    let query = |(number, value): (usize, Value)| {
        let place = format!("input {}", number + 1);
        pipeline.query(&Input::from_value(value, &place)?, number + 1, &place)
    };
    let queries = inputs.into_iter().enumerate().map(query).collect::<Result<Vec<_>>>()?;
    pipeline.ask(&queries, details).await
}

fn no_run() -> JsValue {
    to_js(Error::new("training", "no run was started"))
}

/// `{logits, topK}`
fn details(options: JsValue) -> Result<Details> {
    let options = from_js(options)?;
    let logits = options.get("logits").and_then(Value::as_bool) == Some(true);
    let top_k = options.get("topK").and_then(Value::as_u64).unwrap_or(5) as usize;
    Ok(Details { logits, top_k })
}

fn open(files: PageFiles, device: &Device) -> Result<Opened> {
    // First of all: what is missing from a folder that is no model at all.
    let config = pretrained::read_config(&files)?;
    let tokenizer = Tokenizer::from_files(&files.small)?;
    if is_cpu(device) {
        let sizes = parameter_sizes(&config, Architecture::of(&config)?, device);
        let largest = sizes.iter().max().copied().unwrap_or(0);
        // The largest is here twice, as it comes and as it is to lie.
        check_room("to be loaded", sizes.into_iter().chain([largest]))?;
    }
    let loaded = pretrained::load(&files, device)?;
    check_vocabulary(&tokenizer, &loaded.config)?;
    Ok(Opened { files, tokenizer, loaded })
}

/// Copies of the weights in training: themselves, two of the gradient while its parts are added, and
/// the two moments.
const IN_TRAINING: usize = 5;

/// Once there is no memory left the engine is gone, with all that it held: so what training takes is
/// asked for before.
///
/// # Errors
/// There is not so much.
fn check_room_to_train(loaded: &Loaded, options: &FinetuneOptions, device: &Device) -> Result<()> {
    if !is_cpu(device) {
        return Ok(());
    }
    let (config, settings) = (&loaded.config, &options.config);
    let sizes = parameter_sizes(config, loaded.architecture, device);
    let copies = IN_TRAINING + usize::from(settings.keep_best);
    let weights = std::iter::repeat_n(sizes, copies).flatten();
    let length = settings.max_seq_length;
    let tokens = length * examples_at_once(settings.batch_size, length, device);
    let kept = tokens * KEPT_OF_A_TOKEN * (config.hidden_size + config.intermediate_size) * 4;
    check_room("to be trained", weights.chain(vec![kept; config.num_hidden_layers]))
}

/// Of each width of a layer, so many numbers of each token are kept for the way back.
const KEPT_OF_A_TOKEN: usize = 6;

/// In bytes.
fn parameter_sizes(
    config: &ElectraConfig,
    architecture: Architecture,
    device: &Device,
) -> Vec<usize> {
    struct Sizes(Vec<usize>);
    impl ModuleVisitor for Sizes {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.lazy_shape().num_elements() * size_of::<f32>());
        }
    }
    let mut sizes = Sizes(Vec::new());
    Electra::new(config, architecture, device).visit(&mut sizes);
    sizes.0
}

/// Is there memory for all of these blocks? They are taken, and let go again.
fn check_room(purpose: &str, blocks: impl Iterator<Item = usize>) -> Result<()> {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    for size in blocks {
        let mut block = Vec::new();
        if block.try_reserve_exact(size).is_err() {
            let problem =
                format!("this model is too large {purpose} in the memory that a page may have");
            return Err(Error::new("memory", problem).fix(
                "Choose a smaller one, such as ELECTRA-Small. Where a run is over, download its model, \
                 and load one again before the next run: that needs less.",
            ));
        }
        // A compiler may leave out what nobody looks at.
        taken.push(std::hint::black_box(block));
    }
    Ok(())
}

fn entries(object: JsValue) -> Vec<(String, JsValue)> {
    let entry = |entry: JsValue| {
        let entry = Array::from(&entry);
        (entry.get(0).as_string().unwrap_or_default(), entry.get(1))
    };
    Object::entries(&Object::from(object)).iter().map(entry).collect()
}

fn page_files(object: JsValue) -> Result<PageFiles> {
    let mut files = PageFiles::default();
    for (name, file) in entries(object) {
        let file = Outside::new(&file).map_err(|e| Error { place: name.clone(), ..e })?;
        let whole = |file: &Outside| {
            file.all().map_err(|e| Error::new(&name, format!("cannot be read ({e})")))
        };
        if name.to_lowercase().ends_with(".zip") {
            return zipped_files(&name, &file, whole);
        }
        match pretrained::is_weights(&name) {
            true => drop(files.weights.insert(name, file)),
            false => drop(files.small.insert(name.clone(), whole(&file)?)),
        }
    }
    Ok(files)
}

fn zipped_files(
    name: &str,
    zip: &Outside,
    whole: impl Fn(&Outside) -> Result<Vec<u8>>,
) -> Result<PageFiles> {
    let mut files = PageFiles::default();
    for (name, zipped) in pretrained::open_zip(name, zip)? {
        match zipped {
            Zipped::At(place) if pretrained::is_weights(&name) => {
                files.weights.insert(name, zip.part(place));
            }
            Zipped::At(place) => drop(files.small.insert(name, whole(&zip.part(place))?)),
            Zipped::Unpacked(bytes) => drop(files.small.insert(name, bytes)),
        }
    }
    Ok(files)
}

fn read_data(data: JsValue) -> Result<Source> {
    let get = |key: &str| Reflect::get(&data, &key.into()).unwrap_or(JsValue::UNDEFINED);
    let (name, bytes) = (get("name").as_string(), get("bytes"));
    let name = name.unwrap_or_else(|| "data".into());
    if !bytes.is_instance_of::<Uint8Array>() {
        return Err(Error::new(name, "has no bytes"));
    }
    Ok(Source { name, bytes: Uint8Array::new(&bytes).to_vec() })
}

/// JavaScript to JSON; nothing becomes an empty object.
fn from_js(value: JsValue) -> Result<Value> {
    if value.is_falsy() {
        return Ok(json!({}));
    }
    serde_wasm_bindgen::from_value(value).map_err(|e| Error::new("arguments", e))
}

fn parse<T: DeserializeOwned>(value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|e| Error::new("arguments", e))
}

fn answer(value: &impl Serialize) -> std::result::Result<JsValue, JsValue> {
    let serializer = serde_wasm_bindgen::Serializer::json_compatible();
    value.serialize(&serializer).map_err(JsValue::from)
}

fn to_js(error: Error) -> JsValue {
    let js = js_sys::Error::new(&error.to_string());
    // Beside the whole message, for a page that shows advice apart.
    let _ = Reflect::set(&js, &"remedy".into(), &error.remedy.into());
    js.into()
}

/// What JavaScript threw.
fn words_of(thrown: &JsValue) -> String {
    let message = thrown.dyn_ref::<js_sys::Error>().map(|error| String::from(error.message()));
    message.or_else(|| thrown.as_string()).unwrap_or_else(|| "it failed".into())
}
