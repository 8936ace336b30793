//! The browser's door: a [`Session`] that `web/worker.js` owns.
//!
//! Each method parses its arguments, calls the core, and converts the result; results are the
//! JSON that the command line prints. Every method that touches a tensor is async, because the
//! browser cannot wait for a GPU. Only one call may be inside a session at a time.

use std::fmt::Display;
use std::io::Write;

use burn::module::Module;
use burn::tensor::Device;
use js_sys::{Array, Function, Reflect, Uint8Array};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;
use zip::ZipWriter;

use crate::config::ElectraConfig;
use crate::dataset::LabelledFile;
use crate::device;
use crate::error::{Error, Result};
use crate::finetune::{FinetuneOptions, Source, TaskFiles, TrainPlan, check_vocabulary, start};
use crate::heads::{Architecture, Electra};
use crate::inspect;
use crate::pretrained::{self, Loaded};
use crate::query::{Details, Input, Pipeline};
use crate::self_test::{SelfTest, self_test};
use crate::tasks::{self, Examples, Known, check_pairs, kind_of};
use crate::tokenizer::Tokenizer;
use crate::train::{Progress, Trainer};

mod outside;
mod room;

use outside::{Outside, PageFiles, Parts, entries, words_of};

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
        let files = PageFiles::new(files).map_err(to_js)?;
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
        room::check_to_train(loaded, &options, &self.device)?;
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
    room::check_to_load(&config, device)?;
    let loaded = pretrained::load(&files, device)?;
    check_vocabulary(&tokenizer, &loaded.config)?;
    Ok(Opened { files, tokenizer, loaded })
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
