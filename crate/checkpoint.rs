//! Model folders in Hugging Face's format, in and out: `config.json`, `model.safetensors` (or
//! `pytorch_model.bin`), and the tokenizer's files.
//!
//! Strict: a missing, unused or mis-shaped tensor is an error that names it. The one exception
//! is a fresh head on a pre-trained body, and that is reported.

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData, Transaction};
use half::{bf16, f16};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
pub use safetensors::Dtype;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde::{Deserialize, Serialize};

use crate::config::ElectraConfig;
use crate::error::{Error, Result};
use crate::heads::{Architecture, Electra};
use crate::seed::stream;

/// The files of a model folder: name to content.
pub type ModelFiles = BTreeMap<String, Vec<u8>>;

/// The files of a folder that mean something to us; anything else is left alone.
pub const FILE_NAMES: [&str; 7] = [
    "config.json",
    "model.safetensors",
    "pytorch_model.bin",
    "vocab.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
];

/// A network with its weights.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: ElectraConfig,
    pub architecture: Architecture,
    pub model: Electra,
    /// What the reader should know, for example that the head is freshly drawn.
    pub notes: Vec<String>,
}

/// Loads the model as the class its `config.json` names.
///
/// # Errors
/// A file is missing or damaged, or a tensor is missing, unused or mis-shaped.
pub fn load(files: &ModelFiles, device: &Device) -> Result<Loaded> {
    let config = read_config(files)?;
    let architecture = Architecture::of(&config)?;
    let mut weights = read_weights(files)?;
    let model = Electra::new(&config, architecture, device);
    let model = fill(model, &mut weights, None)?;
    weights.finish()?;
    Ok(Loaded { config, architecture, model, notes: Vec::new() })
}

/// Takes the body of any ELECTRA model and draws a fresh head for `architecture`, from `seed`.
///
/// `config` is the folder's, with the labels of the new task.
///
/// # Errors
/// As [`load`], for the tensors of the body.
pub fn load_body(
    files: &ModelFiles,
    config: ElectraConfig,
    architecture: Architecture,
    seed: u64,
    device: &Device,
) -> Result<Loaded> {
    let mut weights = read_weights(files)?;
    let old_head = weights.drop_head();
    let model = Electra::new(&config, architecture, device);
    let allowed = |name: &str| !name.starts_with("electra.");
    let std = config.initializer_range;
    let fresh = Fresh { seed, std, init: Init::Transformers, allowed };
    let model = fill(model, &mut weights, Some(fresh))?;
    weights.finish()?;
    let mut note = format!("the {} head is fresh (seed {seed})", architecture.name(&config));
    if !old_head.is_empty() {
        note += &format!("; left behind: {}", old_head.join(", "));
    }
    Ok(Loaded { config, architecture, model, notes: vec![note] })
}

/// A model with every weight drawn from `seed`: the same numbers on every device.
pub fn fresh(
    config: &ElectraConfig,
    architecture: Architecture,
    seed: u64,
    device: &Device,
) -> Electra {
    let std = config.initializer_range;
    let fresh = Fresh { seed, std, init: Init::Transformers, allowed: |_| true };
    draw_all(Electra::new(config, architecture, device), fresh)
}

/// Draws every weight.
pub(crate) fn draw_all<M: Module>(model: M, fresh: Fresh) -> M {
    fill(model, &mut Weights::default(), Some(fresh))
        .expect("nothing is loaded, so nothing can be wrong")
}

/// Gives a network exactly these tensors, which have the names and layouts of [`tensors`].
///
/// # Errors
/// One is missing, unused or mis-shaped; `file` is where they came from. What `fresh` allows may
/// be missing.
pub(crate) fn fill_from<M: Module>(
    model: M,
    file: &str,
    tensors: BTreeMap<String, HostTensor>,
    fresh: Option<Fresh>,
) -> Result<M> {
    let mut weights = Weights { file: file.to_string(), tensors };
    let model = fill(model, &mut weights, fresh)?;
    weights.finish()?;
    Ok(model)
}

/// `config.json` and `model.safetensors` of a model. The tokenizer's files are not among them.
///
/// # Errors
/// The device failed while the weights were read back.
pub async fn save(
    model: &Electra,
    config: &ElectraConfig,
    architecture: Architecture,
) -> Result<ModelFiles> {
    save_as(model, config, architecture, Dtype::F32).await
}

/// The same in another precision: `F32` or `F16`.
///
/// # Errors
/// As [`save`].
pub async fn save_as(
    model: &Electra,
    config: &ElectraConfig,
    architecture: Architecture,
    dtype: Dtype,
) -> Result<ModelFiles> {
    model_files(&tensors(model).await?, config, architecture, dtype)
}

/// `config.json` and `model.safetensors` of tensors that are on the host already.
///
/// # Errors
/// A value has no room in `dtype`.
pub fn model_files(
    tensors: &BTreeMap<String, HostTensor>,
    config: &ElectraConfig,
    architecture: Architecture,
    dtype: Dtype,
) -> Result<ModelFiles> {
    let mut config = config.clone();
    config.architectures = Some(vec![architecture.name(&config).to_string()]);
    // transformers creates the network in the type that is named here.
    config.other.shift_remove("torch_dtype");
    let word = if dtype == Dtype::F16 { "float16" } else { "float32" };
    config.other.insert("dtype".into(), word.into());
    let too_large = |t: &HostTensor| t.values.iter().any(|v| f16::from_f32(*v).is_infinite());
    if let Some((name, _)) = tensors.iter().find(|(_, t)| dtype == Dtype::F16 && too_large(t)) {
        return Err(Error::new(name, "holds values that f16 has no room for").fix("Write f32."));
    }
    Ok(ModelFiles::from([
        ("config.json".to_string(), config.to_json()),
        ("model.safetensors".to_string(), to_safetensors(tensors, dtype)),
    ]))
}

/// A tensor on the host: shape and values, row by row, in PyTorch's layout.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// Every parameter by its Hugging Face name, read back in one go.
///
/// # Errors
/// The device failed.
pub async fn tensors<M: Module>(model: &M) -> Result<BTreeMap<String, HostTensor>> {
    read_back(model, None).await
}

/// The same for what an optimizer or a gradient holds for each parameter.
///
/// # Errors
/// The device failed.
pub async fn tensors_of<M: Module>(
    model: &M,
    held: &GradientsParams,
) -> Result<BTreeMap<String, HostTensor>> {
    read_back(model, Some(held)).await
}

async fn read_back<M: Module>(
    model: &M,
    held: Option<&GradientsParams>,
) -> Result<BTreeMap<String, HostTensor>> {
    let (at, read) = (Place::default(), Transaction::default());
    let mut collect = Collect { at, held, found: Vec::new(), read };
    model.visit(&mut collect);
    let read = collect.read.execute_async().await;
    let read = read.map_err(|e| Error::new("reading the weights back", format!("{e:?}")))?;
    let named = collect.found.into_iter().zip(read).map(|((name, transposed), data)| {
        let shape = data.shape().to_vec();
        let values = data.try_into_vec::<f32>().expect("parameters are f32");
        let tensor = HostTensor { shape, values };
        (name, if transposed { tensor.transposed() } else { tensor })
    });
    Ok(named.collect())
}

impl HostTensor {
    /// `[rows, columns]` to `[columns, rows]`: PyTorch's Linear is the transpose of Burn's.
    pub fn transposed(&self) -> HostTensor {
        let (rows, columns) = (self.shape[0], self.shape[1]);
        let values = (0..columns).flat_map(|c| (0..rows).map(move |r| (r, c)));
        let values = values.map(|(r, c)| self.values[r * columns + c]).collect();
        HostTensor { shape: vec![columns, rows], values }
    }
}

// ---------------------------------------------------------------------------------------------
// Names

/// A field of ours and the words Hugging Face has for it; a field not listed is called the same.
const NAMES: [(&str, &str); 23] = [
    // Where the embeddings' projection lies in transformers, too.
    ("encoder", ""),
    ("layers", "encoder.layer"),
    ("layer_norm", "LayerNorm"),
    ("query", "attention.self.query"),
    ("key", "attention.self.key"),
    ("value", "attention.self.value"),
    ("attention_output", "attention.output.dense"),
    ("attention_norm", "attention.output.LayerNorm"),
    ("intermediate", "intermediate.dense"),
    ("output", "output.dense"),
    ("output_norm", "output.LayerNorm"),
    ("gamma", "weight"),
    ("beta", "bias"),
    ("head", ""),
    // In pre-training: `generator.generator_predictions.dense.weight`.
    ("discriminator", "discriminator_predictions"),
    ("predictions", "generator_predictions"),
    ("Discriminator", "discriminator_predictions"),
    ("Generator", "generator_predictions"),
    ("Classifier", "classifier"),
    // In these heads the field below carries the whole name.
    ("OriginalClassifier", ""),
    ("Tokens", ""),
    ("Span", ""),
    ("JointSpan", ""),
];

/// Where a visitor stands in the module tree.
#[derive(Debug, Default)]
pub(crate) struct Place(Vec<String>, Vec<String>);

impl Place {
    pub(crate) fn enter(&mut self, field: &str, container: &str) {
        self.0.push(field.to_string());
        self.1.push(container.to_string());
    }

    pub(crate) fn exit(&mut self) {
        self.0.pop();
        self.1.pop();
    }

    /// The Hugging Face name of the parameter here.
    pub(crate) fn name(&self) -> String {
        let words = self.0.iter().map(|field| {
            NAMES.iter().find(|(ours, _)| ours == field).map_or(field.as_str(), |(_, hf)| hf)
        });
        let name = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(".");
        // The output bias stands beside the generator's head, not in it.
        name.replace("generator_predictions.bias", "generator_lm_head.bias")
    }

    /// Is this the matrix of a Linear, which PyTorch holds transposed?
    pub(crate) fn is_linear_weight(&self) -> bool {
        self.0.last().is_some_and(|field| field == "weight")
            && self.1.last().is_some_and(|container| container.ends_with("Linear"))
    }
}

/// Tensors that files carry and the network does not: a buffer of old versions.
const IGNORED: &str = "electra.embeddings.position_ids";
const WORD_EMBEDDINGS: &str = "electra.embeddings.word_embeddings.weight";
/// The generator's softmax weights: the word embeddings once more.
const TIED: &str = "generator_lm_head.weight";

// ---------------------------------------------------------------------------------------------
// Visitors

struct Collect<'a> {
    at: Place,
    /// Read from here instead of the parameters themselves.
    held: Option<&'a GradientsParams>,
    found: Vec<(String, bool)>,
    read: Transaction,
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = match self.held {
            Some(held) => held.get::<D>(param.id),
            None => Some(param.val()),
        };
        let Some(tensor) = tensor else { return };
        self.found.push((self.at.name(), self.at.is_linear_weight()));
        let read = std::mem::take(&mut self.read);
        self.read = read.register(tensor);
    }

    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.at.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.at.exit();
    }
}

/// How weights that no file holds are drawn.
#[derive(Clone, Copy)]
pub(crate) struct Fresh {
    pub seed: u64,
    /// Of a normal draw.
    pub std: f64,
    pub init: Init,
    /// By name: may this one be missing in the file?
    pub allowed: fn(&str) -> bool,
}

/// Whose rules the matrices are drawn by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// A normal draw for all.
    Transformers,
    /// google-research/electra: normal but cut off at two standard deviations; Glorot's uniform
    /// draw where its code leaves TensorFlow's default.
    Original,
    /// What comes out of a matrix is as large as what goes in, and positions are waves, so that
    /// what is learned of one place holds for the next: a narrow network learns sooner.
    FanIn,
}

/// The matrices of [`Init::Original`] with Glorot's draw.
const GLOROT: [&str; 2] = ["embeddings_project.weight", "dense_prediction.weight"];

impl Fresh {
    /// Ones for scales, zeros for biases and for differences of tables, a draw for matrices. Each
    /// tensor has a stream of its own, so the order does not matter.
    fn draw(self, name: &str, field: &str, shape: &[usize]) -> Vec<f32> {
        let count = shape.iter().product();
        let mut rng = ChaCha8Rng::seed_from_u64(stream(self.seed, name, 0));
        let original = self.init == Init::Original;
        let fan_in = self.init == Init::FanIn;
        match field {
            "gamma" => vec![1.0; count],
            "beta" | "bias" => vec![0.0; count],
            _ if name.starts_with("delta.") => vec![0.0; count],
            _ if original && GLOROT.iter().any(|end| name.ends_with(end)) => {
                let limit = (6.0 / (shape[0] + shape[1]) as f64).sqrt();
                (0..count).map(|_| ((2.0 * unit(&mut rng) - 1.0) * limit) as f32).collect()
            }
            _ if fan_in && name.ends_with("position_embeddings.weight") => {
                waves(shape[0], shape[1], self.std)
            }
            _ => {
                let is_table = name.ends_with("_embeddings.weight");
                let std = if fan_in && !is_table { (shape[1] as f64).powf(-0.5) } else { self.std };
                let reach = if original { 2.0 } else { f64::INFINITY };
                let mut draws = std::iter::repeat_with(|| normal(&mut rng));
                let mut draw = || draws.find(|x| x.abs() <= reach).expect("there is no end");
                (0..count).map(|_| (draw() * std) as f32).collect()
            }
        }
    }
}

/// Sines and cosines of wavelengths from 6 to 600 places with that standard deviation,
/// `[positions, width]` (Vaswani et al. 2017, section 3.5, with shorter waves).
fn waves(positions: usize, width: usize, std: f64) -> Vec<f32> {
    let pairs = width.div_ceil(2);
    let wave = |position: usize, column: usize| {
        let angle = position as f64 * 100f64.powf(-((column / 2) as f64) / pairs as f64);
        let value = if column.is_multiple_of(2) { angle.sin() } else { angle.cos() };
        (value * std * std::f64::consts::SQRT_2) as f32
    };
    (0..positions).flat_map(|p| (0..width).map(move |c| wave(p, c))).collect()
}

/// Between 0 and 1, and neither of them.
fn unit(rng: &mut impl Rng) -> f64 {
    ((rng.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

/// One standard normal number, by Box and Muller.
fn normal(rng: &mut impl Rng) -> f64 {
    let (u, v) = (unit(rng), unit(rng));
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// The opposite of [`tensors_of`]: what an optimizer holds for each parameter, on `device`.
/// `partly`: it may hold nothing for some.
///
/// # Errors
/// One is missing, unused or mis-shaped; in `file` their names start with `prefix`.
pub(crate) fn held_from<M: Module>(
    model: &M,
    file: &str,
    prefix: &'static str,
    tensors: BTreeMap<String, HostTensor>,
    device: &Device,
    partly: bool,
) -> Result<GradientsParams> {
    let mut hold = Hold {
        at: Place::default(),
        prefix,
        partly,
        weights: Weights { file: file.to_string(), tensors },
        held: GradientsParams::new(),
        device: device.clone(),
        problems: Vec::new(),
    };
    model.visit(&mut hold);
    if !hold.problems.is_empty() {
        return Err(Error::new(file, list(&hold.problems)));
    }
    hold.weights.finish()?;
    Ok(hold.held)
}

struct Hold {
    at: Place,
    prefix: &'static str,
    /// May some be missing?
    partly: bool,
    weights: Weights,
    held: GradientsParams,
    device: Device,
    problems: Vec<String>,
}

impl ModuleVisitor for Hold {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.at.name();
        let Some(tensor) = self.weights.tensors.remove(&name) else {
            if !self.partly {
                self.problems.push(format!("{}{name} is missing", self.prefix));
            }
            return;
        };
        let tensor = if self.at.is_linear_weight() { tensor.transposed() } else { tensor };
        let shape = param.lazy_shape();
        if tensor.shape != shape.to_vec() {
            self.problems.push(format!("{name} has shape {:?}, expected {shape:?}", tensor.shape));
            return;
        }
        let data = TensorData::new(tensor.values, tensor.shape);
        self.held.register(param.id, Tensor::<D>::from_data(data, &self.device));
    }

    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.at.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.at.exit();
    }
}

struct Fill<'a> {
    at: Place,
    weights: &'a mut Weights,
    fresh: Option<Fresh>,
    problems: Vec<String>,
}

/// Gives every parameter its value, from the weights or fresh.
fn fill<M: Module>(model: M, weights: &mut Weights, fresh: Option<Fresh>) -> Result<M> {
    let mut fill = Fill { at: Place::default(), weights, fresh, problems: Vec::new() };
    let model = model.map(&mut fill);
    let problems = fill.problems;
    if problems.is_empty() {
        return Ok(model);
    }
    let file = weights.file.clone();
    Err(Error::new(file, list(&problems))
        .fix("Either config.json and the weights do not belong together, or the file is damaged."))
}

impl Fill<'_> {
    fn values(&mut self, shape: &[usize]) -> Option<Vec<f32>> {
        let name = self.at.name();
        let wanted: Vec<usize> = match self.at.is_linear_weight() {
            true => shape.iter().rev().copied().collect(),
            false => shape.to_vec(),
        };
        match self.weights.tensors.remove(&name) {
            Some(tensor) if tensor.shape != wanted => {
                let found = tensor.shape;
                self.problems.push(format!("{name} has shape {found:?}, expected {wanted:?}"));
                None
            }
            Some(tensor) if tensor.values.iter().any(|value| !value.is_finite()) => {
                self.problems.push(format!("{name} holds values that are not finite"));
                None
            }
            Some(tensor) if self.at.is_linear_weight() => Some(tensor.transposed().values),
            Some(tensor) => Some(tensor.values),
            None => self.draw(&name, shape),
        }
    }

    fn draw(&mut self, name: &str, shape: &[usize]) -> Option<Vec<f32>> {
        // Nothing is drawn for a network that cannot be used: its size may be nonsense, too.
        if !self.problems.is_empty() {
            return None;
        }
        let Some(fresh) = self.fresh.filter(|fresh| (fresh.allowed)(name)) else {
            self.problems.push(format!("{name} is missing"));
            return None;
        };
        let field = self.at.0.last().map_or("", String::as_str);
        Some(fresh.draw(name, field, shape))
    }
}

impl ModuleMapper for Fill<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let shape = param.lazy_shape();
        let Some(values) = self.values(&shape) else { return param };
        let (id, device) = (param.id, param.lazy_device());
        let tensor = Tensor::from_data(TensorData::new(values, shape), &device);
        // Said outright: on a device without autodiff a parameter would load as frozen.
        param.transform_for_load(tensor, id).set_require_grad(true)
    }

    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.at.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.at.exit();
    }
}

// ---------------------------------------------------------------------------------------------
// Weight files

/// The tensors of a weight file that nobody has taken yet.
#[derive(Default)]
struct Weights {
    file: String,
    tensors: BTreeMap<String, HostTensor>,
}

impl Weights {
    fn new(file: &str, tensors: impl IntoIterator<Item = (String, HostTensor)>) -> Result<Self> {
        let modern = |name: String| {
            name.replace("LayerNorm.gamma", "LayerNorm.weight")
                .replace("LayerNorm.beta", "LayerNorm.bias")
        };
        let tensors = tensors.into_iter().map(|(name, tensor)| (modern(name), tensor));
        let mut weights = Weights { file: file.to_string(), tensors: tensors.collect() };
        weights.tensors.remove(IGNORED);
        let tied = weights.tensors.remove(TIED);
        if tied.is_some_and(|tied| weights.tensors.get(WORD_EMBEDDINGS) != Some(&tied)) {
            let problem = format!("{TIED} differs from {WORD_EMBEDDINGS}");
            return Err(Error::new(file, problem).fix("ELECTRA's generator ties the two."));
        }
        Ok(weights)
    }

    /// Takes away the tensors of the head and returns their names.
    fn drop_head(&mut self) -> Vec<String> {
        let (body, head): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.tensors)
            .into_iter()
            .partition(|(name, _)| name.starts_with("electra."));
        self.tensors = body;
        head.into_keys().collect()
    }

    /// Every tensor must have found its place.
    fn finish(self) -> Result<()> {
        if self.tensors.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = self.tensors.into_keys().collect();
        let problem = format!("tensors that the network has no place for: {}", list(&names));
        Err(Error::new(self.file, problem)
            .fix("config.json names another class or size than the weights are for."))
    }
}

/// The first few, and how many more.
fn list(items: &[String]) -> String {
    let shown = items.iter().take(8).cloned().collect::<Vec<_>>().join(", ");
    match items.len().saturating_sub(8) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Reads and checks `config.json`.
///
/// # Errors
/// It is missing or not an ELECTRA config.
pub fn read_config(files: &ModelFiles) -> Result<ElectraConfig> {
    let bytes = files.get("config.json").ok_or_else(|| {
        Error::new("config.json", "is missing").fix("A model folder has it beside its weights.")
    })?;
    ElectraConfig::from_json(bytes)
}

/// The tensors of a model folder by their Hugging Face names.
///
/// # Errors
/// The weights are missing or damaged.
#[cfg(not(target_family = "wasm"))]
pub fn read_tensors(files: &ModelFiles) -> Result<BTreeMap<String, HostTensor>> {
    read_weights(files).map(|weights| weights.tensors)
}

fn read_weights(files: &ModelFiles) -> Result<Weights> {
    if let Some(bytes) = files.get("model.safetensors") {
        let tensors = from_safetensors("model.safetensors", bytes)?;
        return Weights::new("model.safetensors", tensors);
    }
    #[cfg(not(target_family = "wasm"))]
    if let Some(bytes) = files.get("pytorch_model.bin") {
        return Weights::new("pytorch_model.bin", from_pytorch(bytes)?);
    }
    let error = Error::new("model.safetensors", "is missing");
    Err(match files.contains_key("pytorch_model.bin") {
        true => {
            error.fix("The browser does not read pytorch_model.bin: `electra convert` it first.")
        }
        false => error.fix("A model folder holds its weights in model.safetensors."),
    })
}

/// Reads f32, f16 and bf16 tensors, and skips integer buffers.
pub(crate) fn from_safetensors(name: &str, bytes: &[u8]) -> Result<Vec<(String, HostTensor)>> {
    let parsed = SafeTensors::deserialize(bytes).map_err(|e| {
        Error::new(name, format!("is damaged ({e})")).fix("Take another copy of it.")
    })?;
    let floats = parsed.tensors().into_iter().filter(|(_, view)| view.dtype() != Dtype::I64);
    floats
        .map(|(tensor, view)| {
            let values = floats_of(view.dtype(), view.data()).ok_or_else(|| {
                let problem = format!("{tensor} is of type {:?}", view.dtype());
                Error::new(name, problem).fix("Supported are F32, F16 and BF16.")
            })?;
            Ok((tensor, HostTensor { shape: view.shape().to_vec(), values }))
        })
        .collect()
}

fn floats_of(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let pair = |b: &[u8]| [b[0], b[1]];
    Some(match dtype {
        Dtype::F32 => {
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        }
        Dtype::F16 => bytes.chunks_exact(2).map(|b| f16::from_le_bytes(pair(b)).to_f32()).collect(),
        Dtype::BF16 => {
            bytes.chunks_exact(2).map(|b| bf16::from_le_bytes(pair(b)).to_f32()).collect()
        }
        _ => return None,
    })
}

/// Reads a `torch.save`d state dict.
#[cfg(not(target_family = "wasm"))]
fn from_pytorch(bytes: &[u8]) -> Result<Vec<(String, HostTensor)>> {
    let damaged = |e: &dyn std::fmt::Display| {
        Error::new("pytorch_model.bin", format!("cannot be read ({e})"))
            .fix("Save it again with torch.save(model.state_dict(), ..).")
    };
    // The reader works on files: the archive's index is at its end.
    let mut file = tempfile::NamedTempFile::new().map_err(|e| damaged(&e))?;
    file.write_all(bytes).map_err(|e| damaged(&e))?;
    let reader = pytorch_reader::PytorchReader::new(file.path()).map_err(|e| damaged(&e))?;
    let tensors = reader.into_tensors().into_iter();
    let floats = tensors.filter_map(|(name, tensor)| {
        let dtype = match tensor.dtype() {
            pytorch_reader::DType::F32 => Dtype::F32,
            pytorch_reader::DType::F16 => Dtype::F16,
            pytorch_reader::DType::BF16 => Dtype::BF16,
            _ => return None,
        };
        Some((name, dtype, tensor))
    });
    floats
        .map(|(name, dtype, tensor)| {
            let data = tensor.read().map_err(|e| damaged(&e))?;
            let values = floats_of(dtype, &data).expect("the type was chosen above");
            Ok((name, HostTensor { shape: tensor.shape().to_vec(), values }))
        })
        .collect()
}

pub(crate) fn to_safetensors(tensors: &BTreeMap<String, HostTensor>, dtype: Dtype) -> Vec<u8> {
    // transformers refuses a file that does not say which framework wrote it.
    to_safetensors_with(tensors, dtype, "format", "pt")
}

/// The same with another word in its header.
pub(crate) fn to_safetensors_with(
    tensors: &BTreeMap<String, HostTensor>,
    dtype: Dtype,
    key: &str,
    word: &str,
) -> Vec<u8> {
    let bytes_of = |values: &[f32]| -> Vec<u8> {
        match dtype {
            Dtype::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    };
    let stored: Vec<_> = tensors.iter().map(|(n, t)| (n, &t.shape, bytes_of(&t.values))).collect();
    let views = stored.iter().map(|(name, shape, data)| {
        let view = TensorView::new(dtype, shape.to_vec(), data);
        (name.as_str(), view.expect("the bytes were made for the type"))
    });
    let header = std::collections::HashMap::from([(key.to_string(), word.to_string())]);
    safetensors::serialize(views, Some(header)).expect("names and sizes are consistent")
}

/// A word of the header of a safetensors file; None where the file is damaged, or has no such.
pub(crate) fn header_word(bytes: &[u8], key: &str) -> Option<String> {
    let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
    header.metadata().as_ref()?.get(key).cloned()
}

// ---------------------------------------------------------------------------------------------
// Folders and zips

/// Reads the known files of a folder, or of a zip of one.
///
/// # Errors
/// The path is not there or cannot be read.
#[cfg(not(target_family = "wasm"))]
pub fn read_folder(path: &std::path::Path) -> Result<ModelFiles> {
    let unreadable = |e: std::io::Error| {
        Error::new(path.display(), format!("cannot be read ({e})"))
            .fix("Give a model folder (config.json, model.safetensors, vocab.txt) or a zip of one.")
    };
    if path.is_file() {
        return read_zip(&path.display().to_string(), &std::fs::read(path).map_err(unreadable)?);
    }
    std::fs::read_dir(path).map_err(unreadable)?;
    let mut files = ModelFiles::new();
    for name in FILE_NAMES {
        // One copy of the weights is enough, and safetensors is the one that transformers takes.
        if name == "pytorch_model.bin" && files.contains_key("model.safetensors") {
            continue;
        }
        match std::fs::read(path.join(name)) {
            Ok(bytes) => drop(files.insert(name.to_string(), bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(unreadable(e)),
        }
    }
    Ok(files)
}

/// Writes a model folder so that it is there whole or not at all: into a temporary folder
/// beside, synced, then renamed. `a/b` is a file of a folder in it.
///
/// # Errors
/// The disk refuses.
#[cfg(not(target_family = "wasm"))]
pub fn write_folder(path: &std::path::Path, files: &ModelFiles) -> Result<()> {
    let failed = |e: std::io::Error| {
        Error::new(path.display(), format!("cannot be written ({e})"))
            .fix("Check that the place exists, is yours, and has room.")
    };
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(".".as_ref());
    std::fs::create_dir_all(parent).map_err(failed)?;
    let temporary =
        tempfile::Builder::new().prefix(".electra-").tempdir_in(parent).map_err(failed)?;
    let make_folder = |file: &std::path::Path| {
        std::fs::create_dir_all(file.parent().expect("it is in a folder")).map_err(failed)
    };
    for (name, bytes) in files {
        make_folder(&temporary.path().join(name))?;
        let mut file = std::fs::File::create(temporary.path().join(name)).map_err(failed)?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    }
    if !path.exists() {
        std::fs::rename(temporary.path(), path).map_err(failed)?;
        // It has moved: there is nothing left to remove.
        let _ = temporary.keep();
        return Ok(());
    }
    for name in files.keys() {
        make_folder(&path.join(name))?;
        std::fs::rename(temporary.path().join(name), path.join(name)).map_err(failed)?;
    }
    Ok(())
}

/// Reads the known files of a zip; a folder inside it is looked into.
///
/// # Errors
/// It is not a zip, or no model is inside.
pub fn read_zip(name: &str, bytes: &[u8]) -> Result<ModelFiles> {
    // A zip may promise far more than it holds; no ELECTRA file is larger.
    const LIMIT: u64 = 4 << 30;
    let damaged = |e: &dyn std::fmt::Display| {
        Error::new(name, format!("is not a zip of a model ({e})"))
            .fix("Give the zip that this program or page made, or zip a Hugging Face model folder.")
    };
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|e| damaged(&e))?;
    let mut files = ModelFiles::new();
    for i in 0..archive.len() {
        let entry = archive.by_index(i).map_err(|e| damaged(&e))?;
        let path = entry.name().map_err(|e| damaged(&e))?.into_owned();
        let base = path.rsplit('/').next().unwrap_or_default().to_string();
        // macOS adds shadows of every file under this name.
        if !FILE_NAMES.contains(&base.as_str()) || path.starts_with("__MACOSX") {
            continue;
        }
        let mut content = Vec::new();
        entry.take(LIMIT).read_to_end(&mut content).map_err(|e| damaged(&e))?;
        if files.insert(base.clone(), content).is_some() {
            return Err(damaged(&format_args!("it holds {base} twice")));
        }
    }
    if files.is_empty() {
        return Err(damaged(&"no config.json, model.safetensors or vocab.txt inside"));
    }
    Ok(files)
}

/// Packs the files into one zip. Weights do not shrink, so nothing is compressed.
pub fn to_zip(files: &ModelFiles) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in files {
        archive.start_file(name.as_str(), stored).expect("the names are plain");
        archive.write_all(bytes).expect("memory takes every write");
    }
    archive.finish().expect("memory takes every write").into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(name: &str, shape: [usize; 2]) -> Vec<f32> {
        let fresh = Fresh { seed: 1, std: 0.02, init: Init::FanIn, allowed: |_| true };
        fresh.draw(name, "weight", &shape)
    }

    fn deviation(values: &[f32]) -> f64 {
        let squares: f64 = values.iter().map(|x| f64::from(*x).powi(2)).sum();
        (squares / values.len() as f64).sqrt()
    }

    /// Matrices keep the size of what goes through them; tables are as small as ever.
    #[test]
    fn fan_in_draws_by_the_number_of_inputs() {
        let matrix = drawn("electra.encoder.layer.0.output.dense.weight", [128, 512]);
        assert!((deviation(&matrix) * 512f64.sqrt() - 1.0).abs() < 0.02);
        let words = drawn("electra.embeddings.word_embeddings.weight", [1000, 64]);
        assert!((deviation(&words) / 0.02 - 1.0).abs() < 0.02);
    }

    /// Places are alike the nearer they are, wherever they are.
    #[test]
    fn fan_in_positions_are_waves() {
        let table = drawn("electra.embeddings.position_embeddings.weight", [128, 64]);
        assert!((deviation(&table) / 0.02 - 1.0).abs() < 0.02);
        let row = |place: usize| &table[place * 64..][..64];
        let product = |a: usize, b: usize| -> f64 {
            row(a).iter().zip(row(b)).map(|(x, y)| f64::from(x * y)).sum()
        };
        assert!((product(3, 5) - product(100, 102)).abs() < 1e-6);
        assert!(product(3, 3) > product(3, 4) && product(3, 4) > product(3, 8));
    }
}
