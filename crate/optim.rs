//! The optimizer: Adam with decoupled weight decay, in ELECTRA's form and in PyTorch's, with
//! layer-wise learning rates, a clip of the global norm, and the schedules of both.
//!
//! Follows `model/optimization.py` of google-research/electra and `torch.optim.AdamW`. For a weight `w`
//! with gradient `g`, once clipped, learning rate `r` and decay `d`, an update is
//!
//! ```text
//! m = β₁ m + (1 - β₁) g      v = β₂ v + (1 - β₂) g²
//! w = w (1 - r d) - r (m / c₁) / (√(v / c₂) + ε)
//! ```
//!
//! After `t` updates `c = 1 - βᵗ` with the bias correction, and 1 without it. The arithmetic is one
//! kernel a parameter (`kernels/optimizer.rs`); this file finds out each parameter's `r` and `d`.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::kernels::{AdamFactors, adam, norm_and_clip};
use crate::pretrained::Place;

/// How the learning rate moves over a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// transformers: up to the peak over the warm-up, then down to 0.
    Sequential,
    /// google-research/electra: the decay already runs during the warm-up; the two multiply.
    Multiplied,
}

/// Everything the optimizer needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct OptimizerConfig {
    /// The peak of the schedule.
    pub learning_rate: f64,
    pub warmup_steps: usize,
    pub total_steps: usize,
    pub schedule: Schedule,
    pub beta_1: f64,
    pub beta_2: f64,
    /// ε, added outside the root.
    pub epsilon: f64,
    /// d, decoupled from the gradient; LayerNorm and biases are left out.
    pub weight_decay: f64,
    /// PyTorch's AdamW corrects the moments for their start at zero; ELECTRA's Adam does not.
    pub bias_correction: bool,
    /// The clip of the global gradient norm.
    pub max_grad_norm: f64,
    /// The factor on the learning rate from one layer to the next below it, the head having 1 and the
    /// embeddings the smallest; 1 is off.
    pub layerwise_lr_decay: f64,
    /// The reference's quirk (its issue 51): a removed pooler left a gap, so the top layer gets
    /// the factor twice.
    pub layerwise_gap: bool,
    /// Of the model; only layer-wise rates need it.
    pub num_hidden_layers: usize,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        OptimizerConfig {
            learning_rate: 3e-4,
            warmup_steps: 0,
            total_steps: 1,
            schedule: Schedule::Sequential,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-6,
            weight_decay: 0.01,
            bias_correction: true,
            max_grad_norm: 1.0,
            layerwise_lr_decay: 1.0,
            layerwise_gap: false,
            num_hidden_layers: 0,
        }
    }
}

impl OptimizerConfig {
    /// The learning rate of the update that follows `step` updates.
    pub fn learning_rate_at(&self, step: usize) -> f64 {
        let (t, total, warmup) = (step as f64, self.total_steps as f64, self.warmup_steps as f64);
        let ramp = if step < self.warmup_steps { t / warmup } else { 1.0 };
        let factor = match self.schedule {
            Schedule::Multiplied => ramp * (1.0 - t.min(total) / total.max(1.0)),
            Schedule::Sequential if step < self.warmup_steps => ramp,
            Schedule::Sequential => ((total - t) / (total - warmup).max(1.0)).max(0.0),
        };
        self.learning_rate * factor
    }

    /// The group of a parameter with this Hugging Face name, of which so many elements may decay.
    fn group(&self, name: &str, decaying: usize) -> Group {
        let (layer_factor, weight_decay) = (self.layer_factor(name), self.weight_decay_of(name));
        Group { layer_factor, weight_decay, decaying }
    }

    /// The factor on the learning rate of a parameter, by its Hugging Face name.
    fn layer_factor(&self, name: &str) -> f64 {
        let depth = match name.strip_prefix("electra.encoder.layer.") {
            Some(rest) => 1 + rest.split('.').next().and_then(|i| i.parse().ok()).unwrap_or(0),
            None if name.starts_with("electra.embeddings") => 0,
            None => return 1.0,
        };
        let top = self.num_hidden_layers + if self.layerwise_gap { 2 } else { 1 };
        self.layerwise_lr_decay.powi((top - depth) as i32)
    }

    fn weight_decay_of(&self, name: &str) -> f64 {
        if name.contains("LayerNorm") || name.ends_with("bias") { 0.0 } else { self.weight_decay }
    }
}

/// What differs from parameter to parameter.
#[derive(Debug, Clone, Copy)]
struct Group {
    /// On the learning rate.
    layer_factor: f64,
    weight_decay: f64,
    /// So many elements decay, from the first on: an encoder layer is one parameter, in which the
    /// vectors, which do not, stand behind the matrices (`host/layout.rs`).
    decaying: usize,
}

/// The optimizer and its moments, for one module.
#[derive(Debug)]
pub struct Optimizer {
    pub config: OptimizerConfig,
    /// Of every parameter, from the first update on.
    groups: HashMap<ParamId, Group>,
    /// Updates done.
    pub step: usize,
    /// First moments (m) and second ones (v), each in the shape of its parameter, from the first
    /// gradient of that on.
    pub(crate) first: GradientsParams,
    pub(crate) second: GradientsParams,
}

impl Optimizer {
    pub fn new(config: OptimizerConfig) -> Self {
        let (first, second) = (GradientsParams::new(), GradientsParams::new());
        Optimizer { config, groups: HashMap::new(), step: 0, first, second }
    }

    /// One update; a parameter without a gradient stays as it is. Returns the model and the global
    /// gradient norm before the clip, `[1]`, which stays on the device.
    pub fn update<M: Module>(&mut self, model: M, grads: GradientsParams) -> (M, Tensor<1>) {
        if self.groups.is_empty() {
            self.groups = groups(&model, &self.config);
        }
        let learning_rate = self.config.learning_rate_at(self.step);
        self.step += 1;
        let [norm, clip] = global_norm(&model, &grads, self.config.max_grad_norm);
        let correction = |beta: f64| match self.config.bias_correction {
            true => 1.0 - beta.powi(self.step as i32),
            false => 1.0,
        };
        let (first_correction, second_correction) =
            (correction(self.config.beta_1), correction(self.config.beta_2));
        let mut update = Update {
            clip,
            optimizer: self,
            grads,
            learning_rate,
            first_correction,
            second_correction,
        };
        let model = model.map(&mut update);
        (model, norm)
    }
}

/// √(Σ g²) over all gradients, and the clip that follows from it, without a read-back.
fn global_norm(model: &impl Module, grads: &GradientsParams, max_norm: f64) -> [Tensor<1>; 2] {
    let mut collector = GradientCollector { grads, found: Vec::new() };
    model.visit(&mut collector);
    let device = collector.found.first().expect("something is trained").device();
    norm_and_clip(collector.found, max_norm, &device)
}

struct GradientCollector<'a> {
    grads: &'a GradientsParams,
    found: Vec<Tensor<1>>,
}

impl ModuleVisitor for GradientCollector<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.get::<D>(param.id) {
            self.found.push(grad.flatten(0, D - 1));
        }
    }
}

fn groups(model: &impl Module, config: &OptimizerConfig) -> HashMap<ParamId, Group> {
    let mut collector = GroupCollector { at: Place::default(), config, found: HashMap::new() };
    model.visit(&mut collector);
    collector.found
}

struct GroupCollector<'a> {
    /// Where in the module tree, which the Hugging Face name follows from.
    at: Place,
    config: &'a OptimizerConfig,
    found: HashMap<ParamId, Group>,
}

impl ModuleVisitor for GroupCollector<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let decaying = self.at.decaying(param.lazy_shape().num_elements());
        self.found.insert(param.id, self.config.group(&self.at.name(), decaying));
    }

    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.at.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.at.exit();
    }
}

/// Walks the module and updates every parameter that has a gradient.
struct Update<'a> {
    optimizer: &'a mut Optimizer,
    grads: GradientsParams,
    clip: Tensor<1>,
    learning_rate: f64,
    first_correction: f64,
    second_correction: f64,
}

impl Update<'_> {
    fn factors(&self, id: ParamId) -> AdamFactors {
        let Optimizer { config, groups, .. } = &*self.optimizer;
        let Group { layer_factor, weight_decay, decaying } = groups[&id];
        let learning_rate = self.learning_rate * layer_factor;
        AdamFactors {
            beta_1: config.beta_1,
            beta_2: config.beta_2,
            epsilon: config.epsilon,
            step_size: learning_rate / self.first_correction,
            root_scale: 1.0 / self.second_correction.sqrt(),
            keep: 1.0 - learning_rate * weight_decay,
            decaying,
            fresh: false,
        }
    }

    /// `None` before the first update.
    fn moments<const D: usize>(&mut self, id: ParamId) -> Option<[Tensor<D>; 2]> {
        let Optimizer { first, second, .. } = &mut *self.optimizer;
        Some([first.remove(id)?, second.remove(id)?])
    }
}

impl ModuleMapper for Update<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(grad) = self.grads.remove::<D>(param.id) else { return param };
        let moments = self.moments(param.id);
        let factors = AdamFactors { fresh: moments.is_none(), ..self.factors(param.id) };
        let empty = || Tensor::empty(grad.shape(), &grad.device());
        let [first, second] = moments.unwrap_or_else(|| [empty(), empty()]);
        let (id, tensor, mapper) = param.consume();
        let weight = tensor.inner();
        let [weight, first, second] =
            adam(weight, grad, [first, second], self.clip.clone(), factors);
        self.optimizer.first.register(id, first);
        self.optimizer.second.register(id, second);
        let weight = Tensor::from_inner(weight).require_grad();
        Param::from_mapped_value(id, weight, mapper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(schedule: Schedule) -> OptimizerConfig {
        let base = OptimizerConfig { learning_rate: 1.0, schedule, ..Default::default() };
        OptimizerConfig { warmup_steps: 2, total_steps: 10, ..base }
    }

    #[test]
    fn sequential_peaks_after_the_warm_up() {
        let config = config(Schedule::Sequential);
        let rates = [0, 1, 2, 6, 10, 11].map(|t| config.learning_rate_at(t));
        assert_eq!(rates, [0.0, 0.5, 1.0, 0.5, 0.0, 0.0]);
    }

    #[test]
    fn multiplied_never_reaches_the_peak() {
        let config = config(Schedule::Multiplied);
        let rates = [0, 1, 2, 5, 10].map(|t| config.learning_rate_at(t));
        assert_eq!(rates, [0.0, 0.5 * 0.9, 0.8, 0.5, 0.0]);
    }

    #[test]
    fn layers_learn_slower_the_deeper_they_are() {
        let names = [
            "classifier.dense.weight",
            "electra.encoder.layer.11.output.dense.weight",
            "electra.encoder.layer.0.output.dense.weight",
            "electra.embeddings_project.weight",
        ];
        let exponents = |layerwise_gap| {
            let config = OptimizerConfig {
                layerwise_lr_decay: 0.5,
                layerwise_gap,
                num_hidden_layers: 12,
                ..Default::default()
            };
            names.map(|name| -config.layer_factor(name).log2())
        };
        assert_eq!(exponents(false), [0.0, 1.0, 12.0, 13.0]);
        assert_eq!(exponents(true), [0.0, 2.0, 13.0, 14.0]);
    }

    #[test]
    fn scales_and_biases_do_not_decay() {
        let config = OptimizerConfig::default();
        assert_eq!(config.weight_decay_of("electra.embeddings.LayerNorm.weight"), 0.0);
        assert_eq!(config.weight_decay_of("generator_lm_head.bias"), 0.0);
        assert_eq!(config.weight_decay_of("electra.embeddings.word_embeddings.weight"), 0.01);
    }
}
