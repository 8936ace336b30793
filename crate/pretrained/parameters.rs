//! The parameters of a module, to the host and back, each under its Hugging Face name.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData, Transaction};

use super::init::Fresh;
use super::names::{Named, Place, joined};
use super::weights::{HostTensor, Tensors, Weights, list};
use crate::error::{Error, Result};

/// Every parameter by its Hugging Face name.
///
/// # Errors
/// The device failed.
pub async fn tensors<M: Module>(model: &M) -> Result<BTreeMap<String, HostTensor>> {
    ReadBack::of(model, None).collect().await
}

/// The same for what an optimizer or a gradient holds for each parameter.
///
/// # Errors
/// The device failed.
pub async fn tensors_of<M: Module>(
    model: &M,
    held: &GradientsParams,
) -> Result<BTreeMap<String, HostTensor>> {
    ReadBack::of(model, Some(held)).collect().await
}

/// Numbers that are read back in one go: a small network at once, of a large one a layer at a time.
const AT_ONCE: usize = 4 << 20;

/// Parameters on their way to the host.
pub(crate) struct ReadBack(Vec<Batch>);

/// Some that follow each other, each with all that it consists of.
#[derive(Default)]
struct Batch {
    found: Vec<Vec<Named>>,
    numbers: usize,
    read: Transaction,
}

impl ReadBack {
    /// `held`: read from there instead of the parameters themselves.
    pub(crate) fn of<M: Module>(model: &M, held: Option<&GradientsParams>) -> Self {
        let mut collect = Collect { at: Place::default(), held, batches: Vec::new() };
        model.visit(&mut collect);
        ReadBack(collect.batches)
    }

    /// The name and shape of each, in the order in which they come, as files have them.
    pub(crate) fn shapes(&self) -> impl Iterator<Item = (String, Vec<usize>)> {
        let named = self.0.iter().flat_map(|batch| &batch.found).flatten();
        named.map(|named| (named.name.clone(), named.stored_shape()))
    }

    /// Hands them over, one after the other.
    ///
    /// # Errors
    /// The device failed, or `take` did.
    pub(crate) async fn each(
        self,
        mut take: impl FnMut(String, HostTensor) -> Result<()>,
    ) -> Result<()> {
        for Batch { found, read, .. } in self.0 {
            let read = read.execute_async().await;
            let read =
                read.map_err(|e| Error::new("reading the weights back", format!("{e:?}")))?;
            for (parts, data) in found.into_iter().zip(read) {
                let values = data.try_into_vec::<f32>().expect("parameters are f32");
                for named in parts {
                    let tensor = named.read(&values);
                    take(named.name, tensor)?;
                }
            }
        }
        Ok(())
    }

    async fn collect(self) -> Result<BTreeMap<String, HostTensor>> {
        let mut all = BTreeMap::new();
        self.each(|name, tensor| {
            all.insert(name, tensor);
            Ok(())
        })
        .await?;
        Ok(all)
    }
}

struct Collect<'a> {
    at: Place,
    held: Option<&'a GradientsParams>,
    batches: Vec<Batch>,
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = match self.held {
            Some(held) => held.get::<D>(param.id),
            None => Some(param.val()),
        };
        let Some(tensor) = tensor else { return };
        if self.batches.last().is_none_or(|batch| batch.numbers > AT_ONCE) {
            self.batches.push(Batch::default());
        }
        let batch = self.batches.last_mut().expect("there is one");
        batch.found.push(self.at.tensors(&tensor.shape()));
        batch.numbers += tensor.shape().num_elements();
        batch.read = std::mem::take(&mut batch.read).register(tensor);
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
    tensors: Tensors,
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

struct Hold<'a> {
    at: Place,
    prefix: &'static str,
    /// May some be missing?
    partly: bool,
    weights: Weights<'a>,
    held: GradientsParams,
    device: Device,
    problems: Vec<String>,
}

impl ModuleVisitor for Hold<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let shape = param.lazy_shape();
        let named = self.at.tensors(&shape);
        let there = |named: &Named| self.weights.tensors.contains_key(&named.name);
        if self.partly && !named.iter().any(there) {
            return;
        }
        let mut parts = Vec::new();
        for named in named {
            match take(&mut self.weights, &named) {
                Some(Ok(values)) => parts.push((named, values)),
                Some(Err(problem)) => self.problems.push(problem),
                None => self.problems.push(format!("{}{} is missing", self.prefix, named.name)),
            }
        }
        if !self.problems.is_empty() {
            return;
        }
        let data = TensorData::new(joined(parts), shape);
        self.held.register(param.id, Tensor::<D>::from_data(data, &self.device));
    }

    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.at.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.at.exit();
    }
}

/// Takes a tensor's values, as the network has them; None where it is missing.
///
/// # Errors
/// It is mis-shaped, or cannot be read.
fn take(weights: &mut Weights, named: &Named) -> Option<std::result::Result<Vec<f32>, String>> {
    let tensor = weights.tensors.remove(&named.name)?;
    let (found, wanted) = (&tensor.shape, named.stored_shape());
    if *found != wanted {
        return Some(Err(format!("{} has shape {found:?}, expected {wanted:?}", named.name)));
    }
    let read = tensor.read().map_err(|e| format!("{} cannot be read ({e})", named.name));
    Some(read.map(|tensor| named.values(tensor)))
}

/// Gives a network exactly these tensors, which have the names and layouts of [`tensors`].
///
/// # Errors
/// One is missing, unused or mis-shaped; `file` is where they came from. What `fresh` allows may
/// be missing.
pub(crate) fn fill_from<M: Module>(
    model: M,
    file: &str,
    tensors: Tensors,
    fresh: Option<Fresh>,
) -> Result<M> {
    let mut weights = Weights { file: file.to_string(), tensors };
    let model = fill(model, &mut weights, fresh)?;
    weights.finish()?;
    Ok(model)
}

struct Fill<'a, 'f> {
    at: Place,
    weights: &'a mut Weights<'f>,
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

impl Fill<'_, '_> {
    fn values(&mut self, named: &Named) -> Option<Vec<f32>> {
        match take(self.weights, named) {
            Some(Ok(values)) if values.iter().any(|value| !value.is_finite()) => {
                self.problems.push(format!("{} holds values that are not finite", named.name));
                None
            }
            Some(Ok(values)) => Some(values),
            Some(Err(problem)) => {
                self.problems.push(problem);
                None
            }
            None => self.draw(named),
        }
    }

    fn draw(&mut self, Named { name, shape, .. }: &Named) -> Option<Vec<f32>> {
        // Nothing is drawn for a network that cannot be used: its size may be nonsense, too.
        if !self.problems.is_empty() {
            return None;
        }
        let Some(fresh) = self.fresh.filter(|fresh| (fresh.allowed)(name)) else {
            self.problems.push(format!("{name} is missing"));
            return None;
        };
        Some(fresh.draw(name, shape))
    }
}

impl ModuleMapper for Fill<'_, '_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let shape = param.lazy_shape();
        let named = self.at.tensors(&shape).into_iter();
        // All are looked at, so that all that is wrong is told.
        let parts: Vec<_> = named.map(|named| (self.values(&named), named)).collect();
        let parts = parts.into_iter().map(|(values, named)| Some((named, values?)));
        let Some(parts) = parts.collect() else { return param };
        let (id, device) = (param.id, param.lazy_device());
        let tensor = Tensor::from_data(TensorData::new(joined(parts), shape), &device);
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

#[cfg(test)]
mod tests {
    use super::super::{Init, fresh};
    use super::*;
    use crate::config::ElectraConfig;
    use crate::heads::{Architecture, Electra};

    /// Of widths that fill no panel.
    fn config() -> ElectraConfig {
        ElectraConfig {
            vocab_size: 30,
            embedding_size: 8,
            hidden_size: 15,
            intermediate_size: 37,
            num_attention_heads: 5,
            num_hidden_layers: 2,
            max_position_embeddings: 8,
            ..ElectraConfig::default()
        }
    }

    /// A layer's tensors lie in one, and yet each is drawn and named as if it stood alone.
    #[test]
    fn tensors_of_a_layer_have_names_and_draws_of_their_own() {
        let (config, device) = (config(), Device::flex());
        let model = fresh(&config, Architecture::PreTraining, 3, &device);
        let tensors = pollster::block_on(tensors(&model)).unwrap();
        assert_eq!(tensors.len(), 5 + 2 + 2 * 16 + 4);
        let layer = "electra.encoder.layer.1";
        let draw = Fresh { seed: 3, std: 0.02, init: Init::Transformers, allowed: |_| true };
        for (name, shape) in [
            ("attention.self.key.weight", vec![15, 15]),
            ("intermediate.dense.weight", vec![37, 15]),
            ("output.dense.weight", vec![15, 37]),
            ("attention.self.value.bias", vec![15]),
            ("output.LayerNorm.weight", vec![15]),
        ] {
            let name = format!("{layer}.{name}");
            assert_eq!(tensors[&name].shape, shape, "{name}");
            // Drawn in the order [in, out].
            let ours: Vec<usize> = shape.iter().rev().copied().collect();
            let drawn = HostTensor { values: draw.draw(&name, &ours), shape: ours };
            let drawn = if shape.len() == 2 { drawn.transposed() } else { drawn };
            assert_eq!(tensors[&name], drawn, "{name}");
        }
    }

    #[test]
    fn what_is_read_back_fills_another_network() {
        let (config, device) = (config(), Device::flex());
        let model = fresh(&config, Architecture::PreTraining, 3, &device);
        let all = pollster::block_on(tensors(&model)).unwrap();
        let empty = || Electra::new(&config, Architecture::PreTraining, &device);
        let unread = |tensors: &BTreeMap<String, HostTensor>| {
            tensors.iter().map(|(name, tensor)| (name.clone(), tensor.clone().into())).collect()
        };
        let again = fill_from(empty(), "file", unread(&all), None).unwrap();
        assert_eq!(pollster::block_on(tensors(&again)).unwrap(), all);
        let held = held_from(&again, "file", "first.", unread(&all), &device, false).unwrap();
        assert_eq!(pollster::block_on(tensors_of(&again, &held)).unwrap(), all);
        // One of a layer's tensors alone is missing, or wrong.
        let name = "electra.encoder.layer.0.attention.self.value.weight";
        let mut less = all.clone();
        less.remove(name);
        let error = fill_from(empty(), "file", unread(&less), None).unwrap_err();
        assert!(error.problem.contains(&format!("{name} is missing")), "{error}");
        let error = held_from(&again, "file", "first.", unread(&less), &device, true).unwrap_err();
        assert!(error.problem.contains(&format!("first.{name} is missing")), "{error}");
        let mut turned = all;
        turned.get_mut(name).unwrap().shape = vec![25, 9];
        let error = fill_from(empty(), "file", unread(&turned), None).unwrap_err();
        assert!(error.problem.contains("[25, 9], expected [15, 15]"), "{error}");
    }
}
