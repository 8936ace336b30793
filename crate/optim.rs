//! The optimizer: Adam with decoupled weight decay, in ELECTRA's form and in PyTorch's, with
//! layer-wise learning rates, a clip of the global norm, and the schedules of both.
//!
//! Follows `model/optimization.py` of google-research/electra and `torch.optim.AdamW`.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::checkpoint::Place;
use crate::device::is_cpu;
use crate::heads::Electra;

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
    /// The peak.
    pub learning_rate: f64,
    pub warmup_steps: usize,
    pub total_steps: usize,
    pub schedule: Schedule,
    pub beta_1: f64,
    pub beta_2: f64,
    /// Added outside the root.
    pub epsilon: f64,
    /// Decoupled; LayerNorm and biases are left out.
    pub weight_decay: f64,
    /// AdamW corrects the moments for their start at zero; ELECTRA's Adam does not.
    pub bias_correction: bool,
    /// The clip of the global gradient norm.
    pub max_grad_norm: f64,
    /// Each layer below the head learns slower by this factor; 1 is off.
    pub layerwise_lr_decay: f64,
    /// The reference's quirk (its issue 51): a removed pooler left a gap, so the top layer gets
    /// the factor twice.
    pub layerwise_gap: bool,
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

    /// The factor on the learning rate of a parameter, by its Hugging Face name.
    fn layer_factor(&self, name: &str, num_layers: usize) -> f64 {
        let depth = match name.strip_prefix("electra.encoder.layer.") {
            Some(rest) => 1 + rest.split('.').next().and_then(|i| i.parse().ok()).unwrap_or(0),
            None if name.starts_with("electra.embeddings") => 0,
            None => return 1.0,
        };
        let top = num_layers + if self.layerwise_gap { 2 } else { 1 };
        self.layerwise_lr_decay.powi((top - depth) as i32)
    }

    fn weight_decay_of(&self, name: &str) -> f64 {
        if name.contains("LayerNorm") || name.ends_with("bias") { 0.0 } else { self.weight_decay }
    }
}

/// The optimizer and its moments.
#[derive(Debug)]
pub struct Optimizer {
    pub config: OptimizerConfig,
    /// Updates done.
    pub step: usize,
    first: GradientsParams,
    second: GradientsParams,
}

impl Optimizer {
    pub fn new(config: OptimizerConfig) -> Self {
        let (first, second) = (GradientsParams::new(), GradientsParams::new());
        Optimizer { config, step: 0, first, second }
    }

    /// One update. Returns the model and the global gradient norm before the clip, `[1]`, which
    /// stays on the device.
    pub fn update(&mut self, model: Electra, grads: GradientsParams) -> (Electra, Tensor<1>) {
        let learning_rate = self.config.learning_rate_at(self.step);
        self.step += 1;
        let norm = global_norm(&model, &grads);
        let correction = |beta: f64| match self.config.bias_correction {
            true => 1.0 - beta.powi(self.step as i32),
            false => 1.0,
        };
        let (first_correction, second_correction) =
            (correction(self.config.beta_1), correction(self.config.beta_2));
        let mut update = Update {
            at: Place::default(),
            num_layers: model.electra.layers.len(),
            clip: Clip::new(&norm, self.config.max_grad_norm),
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

/// √(Σ g²) over all gradients, without a read-back.
fn global_norm(model: &Electra, grads: &GradientsParams) -> Tensor<1> {
    let mut squares = Squares { grads, sum: None };
    model.visit(&mut squares);
    squares.sum.expect("something is trained").sqrt()
}

struct Squares<'a> {
    grads: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(grad) = self.grads.get::<D>(param.id) else { return };
        let square = match is_cpu(&grad.device()) {
            true => host::sum_of_squares(grad),
            false => (grad.clone() * grad).sum(),
        };
        self.sum = Some(match self.sum.take() {
            Some(sum) => sum + square,
            None => square,
        });
    }
}

/// The factor that brings the global norm down to its limit; a number on the CPU, a tensor on a
/// GPU, where reading it would stall the queue.
enum Clip {
    Host(f32),
    Device(Tensor<1>),
}

impl Clip {
    /// As `torch.nn.utils.clip_grad_norm_`: max / (norm + 1e-6), at most 1.
    fn new(norm: &Tensor<1>, max: f64) -> Self {
        let factor = (norm.clone() + 1e-6).recip().mul_scalar(max).clamp_max(1.0);
        match is_cpu(&norm.device()) {
            true => Clip::Host(factor.into_scalar()),
            false => Clip::Device(factor),
        }
    }
}

struct Update<'a> {
    at: Place,
    num_layers: usize,
    optimizer: &'a mut Optimizer,
    grads: GradientsParams,
    clip: Clip,
    learning_rate: f64,
    first_correction: f64,
    second_correction: f64,
}

/// The numbers of one parameter's update.
#[derive(Clone, Copy)]
struct Factors {
    beta_1: f64,
    beta_2: f64,
    epsilon: f64,
    /// The learning rate over the first moment's correction.
    step_size: f64,
    /// One over the root of the second moment's correction.
    root_scale: f64,
    /// 1 - learning rate × weight decay.
    keep: f64,
}

impl Update<'_> {
    fn factors(&self) -> Factors {
        let (name, config) = (self.at.name(), &self.optimizer.config);
        let learning_rate = self.learning_rate * config.layer_factor(&name, self.num_layers);
        Factors {
            beta_1: config.beta_1,
            beta_2: config.beta_2,
            epsilon: config.epsilon,
            step_size: learning_rate / self.first_correction,
            root_scale: 1.0 / self.second_correction.sqrt(),
            keep: 1.0 - learning_rate * config.weight_decay_of(&name),
        }
    }

    fn moments<const D: usize>(&mut self, id: ParamId, like: &Tensor<D>) -> [Tensor<D>; 2] {
        let zeros = || Tensor::zeros(like.shape(), &like.device());
        let first = self.optimizer.first.remove(id).unwrap_or_else(zeros);
        [first, self.optimizer.second.remove(id).unwrap_or_else(zeros)]
    }
}

impl ModuleMapper for Update<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(grad) = self.grads.remove::<D>(param.id) else { return param };
        let factors = self.factors();
        let [first, second] = self.moments(param.id, &grad);
        let (id, tensor, mapper) = param.consume();
        let weight = tensor.inner();
        let [weight, first, second] = match &self.clip {
            Clip::Host(clip) => host::adam(weight, grad, first, second, *clip, factors),
            Clip::Device(clip) => adam(weight, grad, first, second, clip.clone(), factors),
        };
        self.optimizer.first.register(id, first);
        self.optimizer.second.register(id, second);
        let weight = Tensor::from_inner(weight).require_grad();
        Param::from_mapped_value(id, weight, mapper)
    }

    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.at.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.at.exit();
    }
}

/// Adam in plain tensor operations; a GPU fuses them into one kernel.
fn adam<const D: usize>(
    weight: Tensor<D>,
    grad: Tensor<D>,
    first: Tensor<D>,
    second: Tensor<D>,
    clip: Tensor<1>,
    f: Factors,
) -> [Tensor<D>; 3] {
    let grad = grad * clip.unsqueeze();
    let first = first * f.beta_1 + grad.clone() * (1.0 - f.beta_1);
    let second = second * f.beta_2 + grad.clone() * grad * (1.0 - f.beta_2);
    let root = second.clone().sqrt() * f.root_scale + f.epsilon;
    let weight = weight * f.keep - first.clone() / root * f.step_size;
    [weight, first, second]
}

/// The same on the CPU, in one pass over memory instead of a dozen: there the passes are what
/// costs.
mod host {
    use super::*;

    /// Small enough to share out evenly, large enough to be worth a thread's while.
    const CHUNK: usize = 1 << 14;

    pub fn adam<const D: usize>(
        weight: Tensor<D>,
        grad: Tensor<D>,
        first: Tensor<D>,
        second: Tensor<D>,
        clip: f32,
        f: Factors,
    ) -> [Tensor<D>; 3] {
        let device = weight.device();
        // Flex hands its buffer over without a copy where nobody else holds it.
        let [mut weight, grad, mut first, mut second] =
            [weight, grad, first, second].map(Tensor::into_data);
        let grad = floats(&grad);
        let rows = weight.as_mut_slice().expect("weights are f32").chunks_mut(CHUNK);
        let rows = rows.zip(first.as_mut_slice().expect("moments are f32").chunks_mut(CHUNK));
        let rows = rows.zip(second.as_mut_slice().expect("moments are f32").chunks_mut(CHUNK));
        let rows: Vec<_> = rows.zip(grad.chunks(CHUNK)).collect();
        for_each(rows, |(((w, m), v), g)| chunk(w, g, m, v, clip, f));
        [weight, first, second].map(|data| tensor(data, &device))
    }

    fn chunk(w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], clip: f32, f: Factors) {
        let (beta_1, beta_2) = (f.beta_1 as f32, f.beta_2 as f32);
        let (rest_1, rest_2) = ((1.0 - f.beta_1) as f32, (1.0 - f.beta_2) as f32);
        let (epsilon, step_size) = (f.epsilon as f32, f.step_size as f32);
        let (root_scale, keep) = (f.root_scale as f32, f.keep as f32);
        for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
            let g = g * clip;
            *m = *m * beta_1 + g * rest_1;
            *v = *v * beta_2 + g * g * rest_2;
            *w = *w * keep - *m / (v.sqrt() * root_scale + epsilon) * step_size;
        }
    }

    pub fn sum_of_squares<const D: usize>(grad: Tensor<D>) -> Tensor<1> {
        let device = grad.device();
        let data = grad.into_data();
        // f64 across chunks: the word embeddings alone are millions of addends.
        let sum: f64 = floats(&data).chunks(1024).map(|c| f64::from(dot(c))).sum();
        tensor(TensorData::new(vec![sum as f32], [1]), &device)
    }

    /// Σ x², in eight running sums so that the compiler can use vector registers.
    fn dot(values: &[f32]) -> f32 {
        let mut sums = [0f32; 8];
        let chunks = values.chunks_exact(8);
        let rest: f32 = chunks.remainder().iter().map(|x| x * x).sum();
        for chunk in chunks {
            for (sum, x) in sums.iter_mut().zip(chunk) {
                *sum += x * x;
            }
        }
        sums.iter().sum::<f32>() + rest
    }

    fn floats(data: &TensorData) -> &[f32] {
        data.as_slice().expect("gradients are f32")
    }

    fn tensor<const D: usize>(data: TensorData, device: &Device) -> Tensor<D> {
        Tensor::from_data(data, device)
    }

    #[cfg(not(target_family = "wasm"))]
    fn for_each<T: Send>(items: Vec<T>, work: impl Fn(T) + Sync + Send) {
        use rayon::prelude::*;
        items.into_par_iter().for_each(work);
    }

    #[cfg(target_family = "wasm")]
    fn for_each<T>(items: Vec<T>, work: impl Fn(T)) {
        items.into_iter().for_each(work);
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
            let config =
                OptimizerConfig { layerwise_lr_decay: 0.5, layerwise_gap, ..Default::default() };
            names.map(|name| -config.layer_factor(name, 12).log2())
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

    #[test]
    fn host_and_tensor_forms_agree() {
        let device = Device::flex();
        let values = |scale: f64| {
            let values: Vec<f32> =
                (0..40_000).map(|i| ((i as f64 * 0.7).sin() * scale) as f32).collect();
            Tensor::<2>::from_data(TensorData::new(values, [400, 100]), &device)
        };
        let factors = Factors {
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-6,
            step_size: 0.01,
            root_scale: 1.5,
            keep: 0.999,
        };
        let inputs = || (values(1.0), values(0.3), values(0.1), values(0.2).abs());
        let (w, g, m, v) = inputs();
        let clip = Tensor::<1>::from_floats([0.5], &device);
        let plain = adam(w, g, m, v, clip, factors);
        let (w, g, m, v) = inputs();
        let fused = host::adam(w, g, m, v, 0.5, factors);
        for (plain, fused) in plain.into_iter().zip(fused) {
            let difference: f32 = (plain - fused).abs().max().into_scalar();
            assert!(difference < 1e-6, "{difference}");
        }
    }
}
