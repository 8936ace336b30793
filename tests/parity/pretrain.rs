//! Pre-training against PyTorch: `tests/fixtures/generate_pretrain.py` wrote the expected values.

use std::path::Path;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use electra::heads::Architecture;
use electra::kernels::DropoutMasks;
use electra::optim::Optimizer;
use electra::pretrain::batch::{MaskedBatch, Totals};
use electra::pretrain::config::{Objective, PretrainConfig};
use electra::pretrain::network::{Pretraining, export};
use electra::pretrain::objective::{Pass, pass};
use electra::pretrain::softmax::Noise;
use electra::pretrained::{self, HostTensor};
use serde_json::{Map, Value, json};

use super::fixtures::{Fixture, Integers, Tensors, Tolerance, compare, folders, host, report};
use super::gpu;

const STEPS: usize = 10;
const VARIANTS: usize = 10;
/// Losses go up to 70; PyTorch in f32 itself is up to 1.0e-5 off.
const LOSSES: Tolerance = Tolerance { absolute: 1e-5, relative: 1e-6 };
/// Gradients go up to 30; PyTorch in f32 itself is up to 6.2e-6 off.
const GRADIENTS: Tolerance = Tolerance { absolute: 2e-5, relative: 2e-5 };
const WEIGHTS: Tolerance = Tolerance { absolute: 3e-5, relative: 0.0 };
const GPU: Tolerance = Tolerance { absolute: 1e-4, relative: 1e-3 };

#[test]
fn ten_steps_of_every_variant_equal_pytorch_s_on_the_cpu() {
    let folders = folders("parity_pretrain", "e", VARIANTS - 1);
    let all = folders.into_iter().chain(self::folders("parity_pretrain", "mlm", 1));
    let tolerances = [LOSSES, GRADIENTS, WEIGHTS];
    report(all.flat_map(|folder| check(&folder, &Device::flex(), tolerances)));
}

#[test]
#[ignore = "needs a GPU, of which lavapipe is one: cargo test --test parity -- --ignored"]
fn ten_steps_of_every_variant_equal_pytorch_s_on_the_gpu() {
    let device = gpu();
    let folders = folders("parity_pretrain", "e", VARIANTS - 1);
    let all = folders.into_iter().chain(self::folders("parity_pretrain", "mlm", 1));
    report(all.flat_map(|folder| check(&folder, &device, [GPU; 3])));
}

/// The folders that are taken away hold what was trained: the same logits, each table once.
#[test]
fn exported_folders_give_the_logits_of_the_trained_network() {
    for name in ["electra", "electra_untied_embeddings", "electra_tied_generator", "electra_gdes"] {
        let folder = &folders(
            "parity_pretrain",
            name,
            usize::from(name != "electra") + 8 * usize::from(name == "electra"),
        )[0];
        let (config, settings) = settings(folder);
        let device = Device::flex();
        let vocab_size = integer(&settings["vocab_size"]);
        let network = network(folder, &config, vocab_size, &device);
        let fixture = Fixture::read(&folder.join("steps.safetensors")).nth(0);
        let inputs = fixture.inputs(&device);
        let tensors = pollster::block_on(pretrained::tensors(&network)).unwrap();
        let exported = export(&tensors, &config, vocab_size, 0, pretrained::Dtype::F32).unwrap();
        assert_eq!(exported.len(), 2);
        for (name, files) in exported {
            let loaded = pretrained::load(&files, &device).unwrap();
            let (ours, theirs) = match loaded.architecture {
                Architecture::PreTraining => {
                    let head = network.discriminator.as_ref().unwrap();
                    (
                        head.forward(network.main_hidden(&inputs, &mut DropoutMasks::none())),
                        loaded.model.replaced_logits(&inputs),
                    )
                }
                _ => {
                    let head = &network.generator.as_ref().unwrap().predictions;
                    let hidden = network.generator_hidden(&inputs, &mut DropoutMasks::none());
                    let logits = head.forward(hidden, network.word_table());
                    (logits.flatten(1, 2), loaded.model.vocabulary_logits(&inputs).flatten(1, 2))
                }
            };
            let off: f32 = (ours - theirs).abs().max().into_scalar();
            assert!(off < 1e-6, "{name} of {}: {off}", folder.display());
        }
    }
}

fn check(folder: &Path, device: &Device, tolerances: [Tolerance; 3]) -> Vec<String> {
    let (config, settings) = settings(folder);
    let mut fixture = Fixture::read(&folder.join("steps.safetensors"));
    let weights = fixture.floats.remove("weights").unwrap();
    let values = weights.values.iter().map(|weight| *weight as i32).collect();
    fixture.integers.insert("weights".into(), Integers { shape: weights.shape, values });
    let found = train(folder, &config, &settings, &fixture, &device.clone().autodiff());
    let mut expected: Vec<(&str, Tensors)> = Vec::new();
    for kind in ["grad.", "step.", ""] {
        let taken = |name: &String| {
            name.starts_with(kind) && !expected.iter().any(|(_, t)| t.contains_key(name))
        };
        let part = fixture.floats.iter().filter(|(name, _)| taken(name));
        expected.push((kind, part.map(|(name, tensor)| (name.clone(), tensor.clone())).collect()));
    }
    let [losses, gradients, weights] = tolerances;
    let mut problems = Vec::new();
    for ((kind, mut expected), tolerance) in expected.into_iter().zip([gradients, weights, losses])
    {
        if kind.is_empty() {
            // What goes in, and what follows from the rest.
            for name in ["gumbel", "learning_rate", "log_odds"] {
                expected.remove(name);
            }
        }
        let other = |name: &String| name.starts_with("grad.") || name.starts_with("step.");
        let found = found
            .iter()
            .filter(|(name, _)| name.starts_with(kind) && (!kind.is_empty() || !other(name)));
        let found = found.map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
        problems.extend(compare(folder, &found, &expected, tolerance));
    }
    problems
}

/// Ten updates: what the fixture holds of them, under its names.
fn train(
    folder: &Path,
    config: &PretrainConfig,
    settings: &Value,
    fixture: &Fixture,
    device: &Device,
) -> Tensors {
    let vocab_size = integer(&settings["vocab_size"]);
    let mut network = network(folder, config, vocab_size, device);
    let mut optimizer = Optimizer::new(config.optimizer());
    let mut found = Tensors::new();
    let mut history: [Vec<f32>; 4] = Default::default();
    for step in 0..STEPS {
        let part = fixture.nth(step);
        let (batch, totals) = batch(&part, device);
        let noise = fixture.floats.get("gumbel").map_or_else(
            || {
                Tensor::zeros(
                    [batch.weights.dims().iter().product(), vocab_size],
                    &device.clone().inner(),
                )
            },
            |gumbel| nth(gumbel, step, &device.clone().inner()),
        );
        let (noise, mut dropout) = (Noise::Given(Box::new(noise)), DropoutMasks::none());
        let pass = pass(&network, config, &batch, totals, noise, &mut dropout);
        check_draws(&pass, &part, config, folder, step);
        let backward = pass.backward.expect("there is a loss").backward();
        let grads = GradientsParams::from_grads(backward, &network);
        if step == 0 {
            let named = pollster::block_on(pretrained::tensors_of(&network, &grads)).unwrap();
            found.extend(named.into_iter().map(|(name, tensor)| (format!("grad.{name}"), tensor)));
        }
        let (next, norm) = optimizer.update(network, grads);
        network = next;
        let scalar = |tensor: Tensor<1>| host(tensor).values[0];
        let (gen_loss, disc_loss) = (scalar(pass.gen_loss), scalar(pass.disc_loss));
        let loss = config.gen_weight as f32 * gen_loss + config.disc_weight as f32 * disc_loss;
        for (values, value) in history.iter_mut().zip([gen_loss, disc_loss, loss, scalar(norm)]) {
            values.push(value);
        }
        if [1, 2, 10].contains(&(step + 1)) {
            let named = pollster::block_on(pretrained::tensors(&network.valid())).unwrap();
            let named = named.into_iter();
            found.extend(named.map(|(name, tensor)| (format!("step.{}.{name}", step + 1), tensor)));
        }
    }
    for (name, values) in ["gen_loss", "disc_loss", "loss", "grad_norm"].into_iter().zip(history) {
        if name != "disc_loss" || config.objective != Objective::Mlm {
            found.insert(name.into(), HostTensor { shape: vec![STEPS], values });
        }
    }
    found
}

/// Samples and labels are ids: they are equal or wrong.
fn check_draws(pass: &Pass, part: &Fixture, config: &PretrainConfig, folder: &Path, step: usize) {
    let Some(detection) = &pass.detection else {
        assert_eq!(config.objective, Objective::Mlm);
        return;
    };
    let place = format!("{}, step {step}", folder.display());
    let ids =
        |tensor: Tensor<2, Int>| tensor.into_data().convert::<i32>().try_into_vec::<i32>().unwrap();
    let drawn = ids(pass.samples.clone());
    let used: Vec<i32> = drawn
        .iter()
        .zip(&part.integers["weights"].values)
        .map(|(id, weight)| id * weight)
        .collect();
    assert_eq!(used, part.integers["sampled"].values, "samples of {place}");
    let labels = ids(detection.is_replaced.clone().int());
    assert_eq!(labels, part.integers["is_replaced"].values, "labels of {place}");
}

fn network(
    folder: &Path,
    config: &PretrainConfig,
    vocab_size: usize,
    device: &Device,
) -> Pretraining {
    let weights = Fixture::read(&folder.join("model.safetensors")).floats.into_iter();
    let weights = weights.map(|(name, tensor)| (name, tensor.into())).collect();
    let network =
        Pretraining::with_weights(config, vocab_size, "fixture", weights, device).unwrap();
    if device.is_autodiff() { network.train() } else { network }
}

fn batch(part: &Fixture, device: &Device) -> (MaskedBatch, Totals) {
    let integers = |name: &str| part.integers[name].clone();
    let ids = |values: Integers| Tensor::<2, Int>::from_data(values.data(), device);
    let floats = |values: &[f32], shape: &[usize]| {
        Tensor::<2>::from_data(TensorData::new(values.to_vec(), shape.to_vec()), device)
    };
    let (input_ids, positions) = (integers("input_ids"), integers("positions"));
    let (weights, masked) = (integers("weights"), integers("masked"));
    let mask = integers("attention_mask");
    let (seq, drawn) = (input_ids.shape[1], positions.shape[1]);
    let mut masked_ids = input_ids.clone();
    let mut counts = Integers { values: vec![0; input_ids.values.len()], ..input_ids.clone() };
    let mut targets = Integers { values: vec![0; positions.values.len()], ..positions.clone() };
    for slot in (0..positions.values.len()).filter(|slot| weights.values[*slot] == 1) {
        let cell = slot / drawn * seq + positions.values[slot] as usize;
        counts.values[cell] += 1;
        targets.values[slot] = input_ids.values[cell];
        if masked.values[slot] == 1 {
            masked_ids.values[cell] = 4;
        }
    }
    let special = |id: &i32| [0, 2, 3, 4].contains(id);
    let candidates: Vec<f32> =
        input_ids.values.iter().map(|id| if special(id) { 0.0 } else { 1.0 }).collect();
    let candidates: Vec<f32> =
        candidates.iter().zip(&mask.values).map(|(c, real)| c * *real as f32).collect();
    let sum = |values: &[i32]| values.iter().sum::<i32>() as f64;
    let totals = Totals {
        examples: input_ids.shape[0] as f64,
        tokens: sum(&mask.values),
        drawn: sum(&weights.values),
        distinct: counts.values.iter().filter(|count| **count > 0).count() as f64,
        candidates: candidates.iter().sum::<f32>() as f64,
    };
    let weights: Vec<f32> = weights.values.iter().map(|weight| *weight as f32).collect();
    let batch = MaskedBatch {
        inputs: part.inputs(device),
        masked_ids: ids(masked_ids),
        weights: floats(&weights, &positions.shape),
        candidates: floats(&candidates, &input_ids.shape),
        positions: ids(positions),
        targets: ids(targets),
        counts: ids(counts),
        first_example: 0,
    };
    (batch, totals)
}

fn settings(folder: &Path) -> (PretrainConfig, Value) {
    let bytes = std::fs::read(folder.join("settings.json")).unwrap();
    let settings: Value = serde_json::from_slice(&bytes).unwrap();
    let share = |part: &str, whole: &str| {
        json!(settings[part].as_f64().unwrap() / settings[whole].as_f64().unwrap())
    };
    let mut fields = Map::from_iter([
        ("generator_hidden_size".to_string(), share("generator_hidden_size", "hidden_size")),
        ("generator_layers".to_string(), share("generator_layers", "num_hidden_layers")),
        ("num_train_steps".to_string(), settings["total_steps"].clone()),
        ("hidden_dropout_prob".to_string(), json!(0.0)),
        ("attention_probs_dropout_prob".to_string(), json!(0.0)),
    ]);
    let all = serde_json::to_value(PretrainConfig::default()).unwrap();
    for (key, value) in settings.as_object().unwrap() {
        if all.get(key).is_some() && !fields.contains_key(key) {
            fields.insert(key.clone(), value.clone());
        }
    }
    (PretrainConfig::default().with("settings.json", fields).unwrap(), settings)
}

fn nth(all: &HostTensor, index: usize, device: &Device) -> Tensor<2> {
    let shape = all.shape[1..].to_vec();
    let size: usize = shape.iter().product();
    let values = all.values[index * size..(index + 1) * size].to_vec();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn integer(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}
