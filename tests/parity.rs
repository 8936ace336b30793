//! The network and its training against PyTorch.
//!
//! `tests/fixtures/generate.py` wrote the expected values; `tests/fixtures/README.md` says what
//! the files hold.

#![recursion_limit = "256"]

#[path = "parity/fixtures.rs"]
mod fixtures;
#[path = "parity/pretrain.rs"]
mod pretrain;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Gradients, Int, Tensor, TensorData, activation};
use electra::dataset::Kind;
use electra::heads::{Architecture, BEAM, Electra, Head, JointLogits};
use electra::kernels::{DropoutMasks, add_gumbel, dropout};
use electra::model::Inputs;
use electra::optim::{Optimizer, OptimizerConfig, Schedule};
use electra::pretrained::{self, HostTensor, Loaded};
use electra::tasks::{
    classification, kind_of, multi_label, question_answering, regression, tagging,
};
use fixtures::{Fixture, Tensors, Tolerance, compare, folders, host, report};
use serde_json::Value;

/// PyTorch in f32 itself is up to 4.5e-6 off.
const CPU: Tolerance = Tolerance { absolute: 2e-5, relative: 0.0 };
const GPU: Tolerance = Tolerance { absolute: 1e-5, relative: 1e-3 };
const LOSS: Tolerance = Tolerance { absolute: 1e-5, relative: 0.0 };
/// PyTorch in f32 itself is up to 1.7e-5 off, in biases whose true gradient is 0.
const WEIGHTS: Tolerance = Tolerance { absolute: 1e-4, relative: 0.0 };

/// One for all tests: a process can open a GPU only once.
fn gpu() -> Device {
    static GPU: OnceLock<Device> = OnceLock::new();
    GPU.get_or_init(|| electra::device::pick("wgpu").unwrap().device).clone()
}

#[test]
#[ignore = "needs a GPU, of which lavapipe is one: cargo test --test parity -- --ignored"]
fn the_self_test_trusts_the_gpu() {
    let test = pollster::block_on(electra::self_test::self_test(&gpu())).unwrap();
    assert!(test.loss_error < 1e-5 && test.weight_error < 1e-5, "{test:?}");
}

#[test]
fn every_class_equals_pytorch_on_the_cpu() {
    let folders = folders("parity", "model_", 15);
    report(folders.iter().flat_map(|folder| check_model(folder, &Device::flex(), CPU)));
}

#[test]
#[ignore = "needs a GPU, of which lavapipe is one: cargo test --test parity -- --ignored"]
fn every_class_equals_pytorch_on_the_gpu() {
    let device = gpu();
    let folders = folders("parity", "model_", 15);
    report(folders.iter().flat_map(|folder| check_model(folder, &device, GPU)));
}

#[test]
fn every_weight_format_gives_pytorch_s_outputs() {
    let folders = folders("parity", "format_", 19);
    report(folders.iter().flat_map(|folder| check_format(folder, &Device::flex())));
}

/// The names, sizes and numbers that transformers' converter takes from it.
#[test]
fn a_checkpoint_of_tensorflow_gives_the_logits_of_transformers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tensorflow");
    let prefix = pretrained::find_checkpoint(&folder).unwrap().unwrap();
    let original = pretrained::read_checkpoint(&prefix).unwrap();
    assert_eq!(original.left_behind, [""; 0]);
    let fixture = Fixture::read(&folder.join("expected.safetensors"));
    let (device, inputs) = (Device::flex(), fixture.inputs(&Device::flex()));
    let load = |part: pretrained::Part| {
        let (config, f32) = (part.config, pretrained::Dtype::F32);
        let files = pretrained::model_files(&part.tensors, &config, part.architecture, f32);
        pretrained::load(&files.unwrap(), &device).unwrap().model
    };
    let discriminator = load(original.discriminator).replaced_logits(&inputs);
    let generator = load(original.generator.unwrap()).vocabulary_logits(&inputs);
    let found = Tensors::from([
        ("discriminator".into(), host(discriminator)),
        ("generator".into(), host(generator)),
    ]);
    report(compare(&folder, &found, &fixture.floats, CPU).into_iter());
}

#[test]
fn twenty_steps_equal_pytorch_s_on_the_cpu() {
    let folders = folders("parity", "optim_", 4);
    report(folders.iter().flat_map(|folder| check_training(folder, &Device::flex())));
}

#[test]
#[ignore = "needs a GPU, of which lavapipe is one: cargo test --test parity -- --ignored"]
fn twenty_steps_equal_pytorch_s_on_the_gpu() {
    let device = gpu();
    let folders = folders("parity", "optim_", 4);
    report(folders.iter().flat_map(|folder| check_training(folder, &device)));
}

#[test]
#[ignore = "needs a GPU, of which lavapipe is one: cargo test --test parity -- --ignored"]
fn noise_and_dropout_on_the_gpu_are_those_of_the_cpu() {
    let noise = |device: &Device| add_gumbel(Tensor::zeros([37, 501], device), 9, 4);
    let dropped = |device: &Device| {
        let mut masks = DropoutMasks::seeded(5);
        let mut dropped = |prob| {
            dropout(Tensor::<2>::ones([37, 501], &device.clone().autodiff()), masks.draw(prob))
        };
        (dropped(0.1) + dropped(0.4)).inner()
    };
    for on in [noise as fn(&Device) -> Tensor<2>, dropped] {
        let (cpu, gpu) = (host(on(&Device::flex())), host(on(&gpu())));
        let pairs = cpu.values.iter().zip(&gpu.values);
        let off = pairs.map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
        // A GPU's logarithm is good to 2^-21 or so.
        assert!(off < 2e-4, "{off}");
    }
}

#[test]
fn a_saved_model_loads_with_the_same_weights() {
    for folder in folders("parity", "model_", 15) {
        let loaded = load(&folder, &Device::flex());
        let saved = pretrained::save(&loaded.model, &loaded.config, loaded.architecture);
        let again = pretrained::load(&pollster::block_on(saved).unwrap(), &Device::flex()).unwrap();
        assert_eq!(weights(&again.model), weights(&loaded.model), "{}", folder.display());
    }
}

// ---------------------------------------------------------------------------------------------
// The three kinds of fixtures

fn check_model(folder: &Path, device: &Device, tolerance: Tolerance) -> Vec<String> {
    let device = device.clone().autodiff();
    let loaded = load(folder, &device);
    let fixture = Fixture::read(&folder.join("case.safetensors"));
    let inputs = fixture.inputs(&device);
    let activations = loaded.model.electra.forward_all(&inputs, &mut DropoutMasks::none());
    let mut found = BTreeMap::from([("embeddings".to_string(), host(activations.embeddings))]);
    for (i, hidden) in activations.hidden_states.into_iter().enumerate() {
        found.insert(format!("hidden_states.{i}"), host(hidden));
    }
    let (loss, logits) = loss_and_logits(&loaded, &fixture, &inputs);
    found.extend(logits);
    found.extend(gradients(&loaded.model, loss.backward()));
    found.insert("loss".into(), host(loss));
    let mut expected = fixture.floats;
    // The targets of a regression, or of several labels a text.
    expected.remove("labels");
    if let Some(starts) = fixture.integers.get("beam_starts") {
        let values = starts.values.iter().map(|start| *start as f32).collect();
        expected.insert("beam_starts".into(), HostTensor { shape: starts.shape.clone(), values });
    }
    compare(folder, &found, &expected, tolerance)
}

fn check_format(folder: &Path, device: &Device) -> Vec<String> {
    let Loaded { architecture, model, .. } = load(folder, device);
    let fixture = Fixture::read(&folder.join("expected.safetensors"));
    let inputs = fixture.inputs(device);
    let (name, output) = match architecture {
        Architecture::MaskedLm => ("logits", host(model.vocabulary_logits(&inputs))),
        Architecture::Model => ("last_hidden_state", host(model.token_logits(&inputs))),
        _ => ("logits", host(model.class_logits(&inputs))),
    };
    compare(folder, &BTreeMap::from([(name.into(), output)]), &fixture.floats, CPU)
}

fn check_training(folder: &Path, device: &Device) -> Vec<String> {
    let fixture = Fixture::read(&folder.join("steps.safetensors"));
    let settings = std::fs::read(folder.join("settings.json")).unwrap();
    let settings: Value = serde_json::from_slice(&settings).unwrap();
    let (history, snapshots) = train(folder, &fixture, &settings, &device.clone().autodiff());
    let (expected_snapshots, expected_history): (BTreeMap<_, _>, BTreeMap<_, _>) =
        fixture.floats.into_iter().partition(|(name, _)| name.starts_with("step."));
    let mut problems = compare(folder, &history, &expected_history, LOSS);
    problems.extend(compare(folder, &snapshots, &expected_snapshots, WEIGHTS));
    problems
}

/// Twenty updates: what was logged at each, and the weights after some.
fn train(
    folder: &Path,
    fixture: &Fixture,
    settings: &Value,
    device: &Device,
) -> (Tensors, Tensors) {
    let mut model = load(folder, device).model;
    let config = optimizer_config(settings, model.electra.encoder.layers.len());
    let (steps, parts) = (config.total_steps, integer(&settings["accumulate"]));
    let mut optimizer = Optimizer::new(config);
    let names = ["learning_rates", "losses", "grad_norms"];
    let (mut history, mut snapshots) = (names.map(|_| Vec::new()), Tensors::new());
    for step in 0..steps {
        history[0].push(optimizer.config.learning_rate_at(step) as f32);
        let (loss, grads) =
            mean_gradients(&model, fixture, step * parts..(step + 1) * parts, device);
        let (updated, norm) = optimizer.update(model, grads);
        model = updated;
        history[1].push(loss);
        history[2].extend(host(norm).values);
        let done = format!("step.{}.", step + 1);
        if fixture.floats.keys().any(|name| name.starts_with(&done)) {
            let named = weights(&model.valid()).into_iter();
            snapshots.extend(named.map(|(name, tensor)| (done.clone() + &name, tensor)));
        }
    }
    let column = |values: Vec<f32>| HostTensor { shape: vec![steps], values };
    (names.map(String::from).into_iter().zip(history.map(column)).collect(), snapshots)
}

/// The mean loss of the micro-batches, and its gradients.
fn mean_gradients(
    model: &Electra,
    fixture: &Fixture,
    batches: std::ops::Range<usize>,
    device: &Device,
) -> (f32, GradientsParams) {
    let (parts, mut total) = (batches.len() as f64, 0.0);
    let mut accumulator = GradientsAccumulator::new();
    for batch in batches {
        let batch = fixture.nth(batch);
        let logits = model.class_logits(&batch.inputs(device));
        let loss = class_loss(logits, &batch.integers["labels"].values) / parts;
        accumulator.accumulate(model, GradientsParams::from_grads(loss.backward(), model));
        total += host(loss).values[0];
    }
    (total, accumulator.grads())
}

fn optimizer_config(settings: &Value, num_hidden_layers: usize) -> OptimizerConfig {
    let number = |name: &str| settings[name].as_f64().unwrap();
    let flag = |name: &str| settings[name].as_bool().unwrap();
    OptimizerConfig {
        learning_rate: number("learning_rate"),
        warmup_steps: integer(&settings["warmup_steps"]),
        total_steps: integer(&settings["total_steps"]),
        schedule: serde_json::from_value::<Schedule>(settings["schedule"].clone()).unwrap(),
        beta_1: number("beta_1"),
        beta_2: number("beta_2"),
        epsilon: number("epsilon"),
        weight_decay: number("weight_decay"),
        bias_correction: flag("bias_correction"),
        max_grad_norm: number("max_grad_norm"),
        layerwise_lr_decay: number("layerwise_lr_decay"),
        layerwise_gap: flag("layerwise_gap"),
        num_hidden_layers,
    }
}

fn integer(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

// ---------------------------------------------------------------------------------------------
// Losses, as the classes of transformers compute them

/// The loss, and the logits under the names that transformers gives them.
fn loss_and_logits(loaded: &Loaded, fixture: &Fixture, inputs: &Inputs) -> (Tensor<1>, Tensors) {
    let model = &loaded.model;
    let labels = |name: &str| fixture.integers[name].values.as_slice();
    let named = |logits| Tensors::from([("logits".to_string(), logits)]);
    match loaded.architecture {
        Architecture::PreTraining => {
            let logits = model.replaced_logits(inputs);
            let mask = inputs.attention_mask.clone();
            (replaced_loss(logits.clone(), labels("labels"), mask), named(host(logits)))
        }
        Architecture::MaskedLm => {
            let logits = model.vocabulary_logits(inputs);
            (token_loss(logits.clone(), labels("labels")), named(host(logits)))
        }
        Architecture::TokenClassification => {
            let logits = model.token_logits(inputs);
            let [_, _, classes] = logits.dims();
            let terms = labels("labels").iter().filter(|label| **label >= 0).count();
            let flat = logits.clone().flatten(1, 2);
            let targets = one_hot(labels("labels"), classes, flat.dims(), &flat.device());
            (tagging::loss(flat, targets, classes, terms), named(host(logits)))
        }
        Architecture::SequenceClassification
            if kind_of(&loaded.config).unwrap() != Some(Kind::Classification) =>
        {
            let logits = model.class_logits(inputs);
            let [rows, labels] = logits.dims();
            let targets = TensorData::new(fixture.floats["labels"].values.clone(), [rows, labels]);
            let targets = Tensor::from_data(targets, &logits.device());
            let loss = if labels == 1 { regression::loss } else { multi_label::loss };
            let terms = rows * labels;
            (loss(logits.clone(), targets, real(rows, 1, &logits), terms), named(host(logits)))
        }
        Architecture::SequenceClassification => {
            let logits = model.class_logits(inputs);
            (class_loss(logits.clone(), labels("labels")), named(host(logits)))
        }
        Architecture::QuestionAnswering => {
            let [rows, seq] = inputs.input_ids.dims();
            let targets = span_targets(fixture, [rows, seq], &inputs.attention_mask.device());
            // transformers does not close padding, and the original's head does it itself.
            let open = real(rows, seq, &inputs.attention_mask);
            let logits = model.training_logits(inputs, targets.clone(), &mut DropoutMasks::none());
            let loss = question_answering::loss(logits, targets.clone(), open, rows);
            (loss, answer_logits(model, inputs, targets))
        }
        Architecture::Model => panic!("a body without a head has no loss"),
    }
}

/// Start, end and, at `[CLS]`, whether there is no answer, of each token in turn.
fn span_targets(fixture: &Fixture, [rows, seq]: [usize; 2], device: &Device) -> Tensor<2> {
    let labels = |name: &str| fixture.integers.get(name).map(|labels| labels.values.as_slice());
    let [start, end] = ["start_positions", "end_positions"]
        .map(|name| one_hot(labels(name).unwrap(), seq, [rows, seq], device));
    let mut impossible = vec![0f32; rows * seq];
    for (row, flag) in labels("is_impossible").unwrap_or(&[]).iter().enumerate() {
        impossible[row * seq] = *flag as f32;
    }
    let impossible = Tensor::from_data(TensorData::new(impossible, [rows, seq]), device);
    Tensor::stack::<3>(vec![start, end, impossible], 2).flatten(1, 2)
}

/// All that a head says of questions, under the names of the fixtures.
fn answer_logits(model: &Electra, inputs: &Inputs, targets: Tensor<2>) -> Tensors {
    let named = |name: &str, tensor| (name.to_string(), tensor);
    let Head::JointSpan(_) = model.head else {
        let (start, end) = model.span_logits(inputs);
        return [named("start_logits", host(start)), named("end_logits", host(end))].into();
    };
    let [rows, seq] = inputs.input_ids.dims();
    let starts = targets.reshape([rows, seq, 3]).narrow(2, 0, 1).reshape([rows, seq]);
    let JointLogits { start, end, answerability } = model.joint_span_logits(inputs, starts);
    // Closed ones are stored as that.
    let open = |logits: Tensor<2>| host(logits.clamp_min(-100.0));
    let beam = model.flat_logits(inputs).reshape([rows, 1 + BEAM, 1 + seq]).narrow(1, 1, BEAM);
    let ends = beam.clone().narrow(2, 1, seq).clamp_min(-100.0);
    [
        named("start_logits", open(start)),
        named("end_logits", open(end)),
        named("answerability", host(answerability)),
        named("beam_starts", host(beam.narrow(2, 0, 1).reshape([rows, BEAM]))),
        named("beam_ends", host(ends)),
    ]
    .into()
}

/// Binary cross-entropy, the mean over real tokens.
fn replaced_loss(logits: Tensor<2>, labels: &[i32], mask: Tensor<2>) -> Tensor<1> {
    let labels: Vec<f32> = labels.iter().map(|label| *label as f32).collect();
    let labels = Tensor::<2>::from_data(TensorData::new(labels, logits.dims()), &logits.device());
    let softplus = activation::relu(logits.clone()) + logits.clone().abs().neg().exp().log1p();
    ((softplus - logits * labels) * mask.clone()).sum() / mask.sum()
}

/// The crate's own.
fn class_loss(logits: Tensor<2>, labels: &[i32]) -> Tensor<1> {
    let [rows, classes] = logits.dims();
    let targets = one_hot(labels, classes, [rows, classes], &logits.device());
    classification::loss(logits, targets, rows)
}

/// A 1 at each label that is not negative.
fn one_hot(labels: &[i32], classes: usize, shape: [usize; 2], device: &Device) -> Tensor<2> {
    let mut targets = vec![0f32; labels.len() * classes];
    for (place, label) in labels.iter().enumerate().filter(|(_, label)| **label >= 0) {
        targets[place * classes + *label as usize] = 1.0;
    }
    Tensor::from_data(TensorData::new(targets, shape), device)
}

/// Nothing is padding.
fn real(rows: usize, columns: usize, like: &Tensor<2>) -> Tensor<2> {
    Tensor::ones([rows, columns], &like.device())
}

fn token_loss(logits: Tensor<3>, labels: &[i32]) -> Tensor<1> {
    let [batch, seq, classes] = logits.dims();
    cross_entropy(logits.reshape([batch * seq, classes]), labels)
}

/// The mean over the rows whose label is not negative.
fn cross_entropy(logits: Tensor<2>, labels: &[i32]) -> Tensor<1> {
    let device = logits.device();
    let numbered = labels.iter().enumerate().filter(|(_, label)| **label >= 0);
    let (rows, labels): (Vec<i32>, Vec<i32>) = numbered.map(|(row, l)| (row as i32, *l)).unzip();
    let count = rows.len();
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [count]), &device);
    let labels = Tensor::<2, Int>::from_data(TensorData::new(labels, [count, 1]), &device);
    activation::log_softmax(logits.select(0, rows), 1).gather(1, labels).mean().neg()
}

// ---------------------------------------------------------------------------------------------
// Weights and gradients by name

fn load(folder: &Path, device: &Device) -> Loaded {
    pretrained::load(&pretrained::read_folder(folder).unwrap(), device).unwrap()
}

fn weights(model: &Electra) -> Tensors {
    pollster::block_on(pretrained::tensors(model)).unwrap()
}

/// Puts each gradient in the place of its weight, so that the checkpoint's names and layouts
/// serve for gradients too.
fn gradients(model: &Electra, gradients: Gradients) -> Tensors {
    let gradients = GradientsParams::from_grads(gradients, model);
    let model = model.clone().map(&mut IntoGradients(gradients));
    let named = weights(&model).into_iter();
    named.map(|(name, tensor)| (format!("grad.{name}"), tensor)).collect()
}

struct IntoGradients(GradientsParams);

impl ModuleMapper for IntoGradients {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let gradient = self.0.remove(param.id).expect("every parameter has a gradient");
        Param::initialized(param.id, gradient)
    }
}
