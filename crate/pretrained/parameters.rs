//! The parameters of a module, to the host and back, each under its Hugging Face name.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData, Transaction};

use super::init::Fresh;
use super::names::Place;
use super::weights::{HostTensor, Weights, list};
use crate::error::{Error, Result};

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

struct Fill<'a> {
    at: Place,
    weights: &'a mut Weights,
    fresh: Option<Fresh>,
    problems: Vec<String>,
}

/// Gives every parameter its value, from the weights or fresh.
pub(super) fn fill<M: Module>(model: M, weights: &mut Weights, fresh: Option<Fresh>) -> Result<M> {
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
        let field = self.at.field();
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
