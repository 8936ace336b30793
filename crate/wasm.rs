//! The browser's door: a [`Session`] that `web/worker.js` owns.
//!
//! Each method parses its arguments, calls the core, and converts the result; results are the
//! JSON that the command line prints. Every method that touches a tensor is async, because the
//! browser cannot wait for a GPU. Only one call may be inside a session at a time.

use burn::tensor::Device;
use js_sys::{Array, Object, Reflect, Uint8Array};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;

use crate::batch::{Features, Target};
use crate::checkpoint::{self, Loaded, ModelFiles};
use crate::dataset::{ColumnChoice, Kind, read_table};
use crate::device;
use crate::error::{Error, Result};
use crate::finetune::{self, FinetuneOptions, Source, check_vocabulary};
use crate::heads::{Architecture, Electra};
use crate::predict;
use crate::self_test::{SelfTest, self_test};
use crate::tasks::classification::Prediction;
use crate::tasks::detection::Detection;
use crate::tasks::{Evaluation, Examples, Known, architecture, check_pairs, kind_of};
use crate::tokenizer::{Tokenizer, Truncation};
use crate::train::Trainer;

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
    run: Option<(Trainer, crate::config::ElectraConfig)>,
}

/// A loaded model folder.
struct Opened {
    files: ModelFiles,
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
        Ok(Session { device, self_test, opened: None, run: None })
    }

    /// How far the GPU was from the CPU, or null on the CPU.
    pub fn self_test(&self) -> std::result::Result<JsValue, JsValue> {
        answer(&self.self_test)
    }

    /// Loads a model from `{name: Uint8Array}`: a folder's files, or one zip.
    pub async fn load(&mut self, files: JsValue) -> std::result::Result<JsValue, JsValue> {
        let files = model_files(files).map_err(to_js)?;
        self.opened = Some(open(files, &self.device).map_err(to_js)?);
        self.run = None;
        self.info()
    }

    /// What is loaded.
    pub fn info(&self) -> std::result::Result<JsValue, JsValue> {
        self.model_info().map_err(to_js).and_then(|info| answer(&info))
    }

    /// Looks into a file of labelled text.
    pub async fn inspect(
        &self,
        data: JsValue,
        columns: JsValue,
        max_seq_length: usize,
    ) -> std::result::Result<JsValue, JsValue> {
        let inspect = || {
            let source = read_data(data)?;
            let table = read_table(&source.name, &source.bytes)?;
            let choice = column_choice(columns)?;
            finetune::inspect(&table, &choice, &self.opened()?.tokenizer, max_seq_length)
        };
        answer(&inspect().map_err(to_js)?)
    }

    /// Prepares a fine-tuning run; `advance` then moves it.
    pub async fn start(
        &mut self,
        options: JsValue,
        train: JsValue,
        eval: JsValue,
    ) -> std::result::Result<JsValue, JsValue> {
        let prepare = || {
            let options = FinetuneOptions::from_json(from_js(options)?)?;
            let train = read_data(train)?;
            let eval = if eval.is_falsy() { None } else { Some(read_data(eval)?) };
            let opened = self.opened()?;
            let (files, tokenizer) = (&opened.files, &opened.tokenizer);
            finetune::start(files, tokenizer, &train, eval.as_ref(), &options, &self.device)
        };
        let run = prepare().map_err(to_js)?;
        let plan = answer(&run.plan);
        self.run = Some((run.trainer, run.config));
        plan
    }

    /// One update, or one batch of an evaluation.
    pub async fn advance(&mut self) -> std::result::Result<JsValue, JsValue> {
        let Some((trainer, _)) = &mut self.run else {
            return Err(to_js(Error::new("training", "no run was started")));
        };
        answer(&trainer.advance().await.map_err(to_js)?)
    }

    /// Scores the classifier on labelled rows.
    pub async fn evaluate(
        &self,
        data: JsValue,
        options: JsValue,
    ) -> std::result::Result<JsValue, JsValue> {
        answer(&self.evaluation(data, options).await.map_err(to_js)?)
    }

    /// Classifies texts: strings or `{text, text_pair}`.
    pub async fn predict(
        &self,
        inputs: JsValue,
        options: JsValue,
    ) -> std::result::Result<JsValue, JsValue> {
        answer(&self.predictions(inputs, options).await.map_err(to_js)?)
    }

    /// Replaced-token detection with the model as it was loaded.
    pub async fn detect(&self, texts: JsValue) -> std::result::Result<JsValue, JsValue> {
        answer(&self.detections(texts).await.map_err(to_js)?)
    }

    /// The folder of the fine-tuned model, or of the loaded one, as `{name: Uint8Array}`.
    pub async fn export_files(&self) -> std::result::Result<JsValue, JsValue> {
        let object = Object::new();
        for (name, bytes) in self.export().await.map_err(to_js)? {
            Reflect::set(&object, &name.into(), &Uint8Array::from(bytes.as_slice()))?;
        }
        Ok(object.into())
    }

    /// The same as one zip.
    pub async fn export_zip(&self) -> std::result::Result<Uint8Array, JsValue> {
        let files = self.export().await.map_err(to_js)?;
        Ok(Uint8Array::from(checkpoint::to_zip(&files).as_slice()))
    }
}

impl Session {
    fn opened(&self) -> Result<&Opened> {
        self.opened.as_ref().ok_or_else(|| Error::new("model", "none is loaded"))
    }

    fn model_info(&self) -> Result<Value> {
        use burn::module::Module;
        let Opened { loaded, tokenizer, .. } = self.opened()?;
        let positions = loaded.config.max_position_embeddings;
        let architecture = loaded.architecture;
        let is_classifier = architecture == Architecture::SequenceClassification;
        let labels = match &self.run {
            Some((_, config)) => config.labels(),
            None if is_classifier => loaded.config.labels(),
            None => None,
        };
        Ok(json!({
            "architecture": architecture.name(&loaded.config),
            "parameters": loaded.model.num_params(),
            "config": loaded.config,
            "labels": labels,
            "can_detect": architecture == Architecture::PreTraining,
            "can_predict": is_classifier || self.run.is_some(),
            "untrained": loaded.config.untrained,
            "max_seq_length": tokenizer.model_max_length().unwrap_or(positions).min(positions),
            "notes": loaded.notes,
        }))
    }

    /// The classifier: the one in training, else the loaded one.
    fn classifier(&self) -> Result<(Electra, Vec<String>, usize)> {
        let opened = self.opened()?;
        let positions = opened.loaded.config.max_position_embeddings;
        if let Some((trainer, config)) = &self.run {
            let labels = config.labels().unwrap_or_default();
            return Ok((trainer.model(), labels, trainer.max_seq_length()));
        }
        let loaded = &opened.loaded;
        let labels = loaded.config.labels();
        match (loaded.architecture, labels) {
            (Architecture::SequenceClassification, Some(labels)) => {
                Ok((loaded.model.clone(), labels, positions))
            }
            _ => Err(Error::new("model", "it is not a classifier")
                .fix("Fine-tune it first, or load a fine-tuned one.")),
        }
    }

    async fn evaluation(&self, data: JsValue, options: JsValue) -> Result<Evaluation> {
        let mut settings = FinetuneOptions::from_json(from_js(options)?)?;
        let (model, labels, max_seq_length) = self.classifier()?;
        let Source { name, bytes } = read_data(data)?;
        let known = Known { labels: Some(labels), range: None };
        let kind = Kind::Classification;
        let examples = Examples::read(kind, &name, &bytes, &settings.reading, &known)?;
        check_pairs(&examples, &self.opened()?.loaded.config)?;
        let config = &mut settings.config;
        config.max_seq_length = config.max_seq_length.min(max_seq_length);
        let tokenizer = &self.opened()?.tokenizer;
        let encoded = examples.encode(tokenizer, &config.windowing(), false)?;
        let (features, length) = (&encoded.features, config.max_seq_length);
        let logits =
            predict::logits(&model, features, config.batch_size, length, &self.device).await?;
        Ok(examples.evaluate(&encoded, &logits))
    }

    async fn predictions(&self, inputs: JsValue, options: JsValue) -> Result<Vec<Prediction>> {
        let inputs: Vec<TextInput> = parse(from_js(inputs)?)?;
        let keep_logits = from_js(options)?.get("logits").and_then(Value::as_bool) == Some(true);
        let (model, labels, max_seq_length) = self.classifier()?;
        let tokenizer = &self.opened()?.tokenizer;
        let segments = self.opened()?.loaded.config.type_vocab_size;
        let encode = |(row, input): (usize, &TextInput)| {
            let (text, pair) = input.parts();
            if pair.is_some() && segments < 2 {
                return Err(Error::new("text_pair", "this model takes no pairs of texts"));
            }
            let encoding =
                tokenizer.encode(text, pair, max_seq_length, Truncation::LongestFirst)?;
            Ok(Features::new(row, &encoding, Target::Nothing))
        };
        let features: Vec<Features> =
            inputs.iter().enumerate().map(encode).collect::<Result<_>>()?;
        let logits =
            predict::logits(&model, &features, BATCH, max_seq_length, &self.device).await?;
        Ok(logits.iter().map(|row| Prediction::new(row, &labels, keep_logits)).collect())
    }

    async fn detections(&self, texts: JsValue) -> Result<Vec<Detection>> {
        let texts: Vec<String> = parse(from_js(texts)?)?;
        let Opened { loaded, tokenizer, .. } = self.opened()?;
        if loaded.architecture != Architecture::PreTraining {
            return Err(Error::new("model", "it has no replaced-token head")
                .fix("Load a discriminator (ElectraForPreTraining)."));
        }
        let length = loaded.config.max_position_embeddings;
        let encode = |text: &String| tokenizer.encode(text, None, length, Truncation::LongestFirst);
        let encodings = texts.iter().map(encode).collect::<Result<Vec<_>>>()?;
        let features: Vec<Features> = {
            let plain = |(row, e)| Features::new(row, e, Target::Nothing);
            encodings.iter().enumerate().map(plain).collect()
        };
        let logits = predict::logits(&loaded.model, &features, BATCH, length, &self.device).await?;
        let pairs = encodings.into_iter().zip(logits);
        Ok(pairs.map(|(encoding, logits)| Detection::new(encoding, &logits, false)).collect())
    }

    async fn export(&self) -> Result<ModelFiles> {
        let opened = self.opened()?;
        let mut files = match &self.run {
            Some((trainer, config)) => {
                let kind = kind_of(config)?.expect("a run is for a task");
                checkpoint::save(&trainer.result(), config, architecture(kind)).await?
            }
            None => {
                let Loaded { model, config, architecture, .. } = &opened.loaded;
                checkpoint::save(model, config, *architecture).await?
            }
        };
        files.extend(opened.tokenizer.to_files()?);
        Ok(files)
    }
}

/// Texts of one forward pass when predicting.
const BATCH: usize = 16;

/// A text as the page writes it.
#[derive(Deserialize)]
#[serde(untagged)]
enum TextInput {
    Text(String),
    Pair { text: String, text_pair: Option<String> },
}

impl TextInput {
    fn parts(&self) -> (&str, Option<&str>) {
        match self {
            TextInput::Text(text) => (text, None),
            TextInput::Pair { text, text_pair } => (text, text_pair.as_deref()),
        }
    }
}

fn open(files: ModelFiles, device: &Device) -> Result<Opened> {
    // First of all: what is missing from a folder that is no model at all.
    checkpoint::read_config(&files)?;
    let tokenizer = Tokenizer::from_files(&files)?;
    let loaded = checkpoint::load(&files, device)?;
    check_vocabulary(&tokenizer, &loaded.config)?;
    Ok(Opened { files, tokenizer, loaded })
}

fn model_files(object: JsValue) -> Result<ModelFiles> {
    let mut files = ModelFiles::new();
    for entry in Object::entries(&Object::from(object)) {
        let entry = Array::from(&entry);
        let name = entry.get(0).as_string().unwrap_or_default();
        files.insert(name, Uint8Array::new(&entry.get(1)).to_vec());
    }
    match files.iter().find(|(name, _)| name.to_lowercase().ends_with(".zip")) {
        Some((name, bytes)) => checkpoint::read_zip(name, bytes),
        None => Ok(files),
    }
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

fn column_choice(columns: JsValue) -> Result<ColumnChoice> {
    let columns = from_js(columns)?;
    let column = |key: &str| columns.get(key).and_then(Value::as_str).map(String::from);
    Ok(ColumnChoice { text: column("text"), pair: column("pair"), label: column("label") })
}

/// JavaScript to JSON; nothing becomes an empty object.
fn from_js(value: JsValue) -> Result<Value> {
    if value.is_falsy() {
        return Ok(json!({}));
    }
    serde_wasm_bindgen::from_value(value).map_err(|e| Error::new("arguments", e))
}

fn parse<T: for<'a> Deserialize<'a>>(value: Value) -> Result<T> {
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
