//! `electra bench`

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor};
use cubecl::logging::{LaunchObservation, LaunchObserver};
use electra::batch::{Features, Target, Width, collate, pad};
use electra::config::ElectraConfig;
use electra::error::{Error, Result};
use electra::gradients::{self, PartLoss, examples_at_once};
use electra::heads::{Architecture, Electra};
use electra::kernels::DropoutMasks;
use electra::masking::Masking;
use electra::optim::{Optimizer, OptimizerConfig};
use electra::pretrain::batch::{MaskedExample, Totals, collate as collate_masked};
use electra::pretrain::config::PretrainConfig;
use electra::pretrain::network::Pretraining;
use electra::pretrain::objective::{pass, seeded_noise};
use electra::pretrained;
use electra::tasks::classification;
use electra::tokenizer::SpecialIds;
use serde_json::json;

use super::{DeviceArg, batch_size, print_line, within};

/// Time a model of random weights
///
/// Prints one JSON object: milliseconds a step, tokens and floating-point operations a second,
/// what share that is of the rate of one plain matrix product, the memory it took, and the kernels
/// that a GPU was given a step.
#[derive(clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct Args {
    /// A preset of pre-training: tiny, small, small-plus, base or large; always with the 30522 words
    /// of the original
    #[arg(long, value_name = "P", default_value = "small")]
    preset: String,
    #[arg(long, default_value = "finetune", value_parser = ["infer", "finetune", "pretrain"])]
    mode: String,
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = batch_size)]
    batch_size: usize,
    /// Tokens of a text
    #[arg(long, value_name = "N", default_value_t = 64,
        value_parser = within(1usize.., "a whole number above 0"))]
    seq: usize,
    /// Timed steps, after two to warm up
    #[arg(long, value_name = "N", default_value_t = 10,
        value_parser = within(1..=1_000_000usize, "a whole number from 1 to 1000000"))]
    steps: usize,
    #[command(flatten)]
    device: DeviceArg,
}

pub fn run(args: Args) -> Result<()> {
    let preset = PretrainConfig::preset(&args.preset)?;
    let mut config = preset.discriminator(ElectraConfig::default().vocab_size, 0);
    config.set_labels(&["0", "1"].map(String::from));
    let limit = config.max_position_embeddings;
    if args.seq > limit {
        return Err(Error::new("--seq", format!("{} is more than {limit} positions", args.seq))
            .fix(format!("Choose {limit} or less.")));
    }
    let picked = args.device.open()?;
    let passes = config.flop((args.batch_size * args.seq) as f64, args.seq);
    let (Timed { mut times, launches }, flop) = match args.mode.as_str() {
        "infer" => (inference(&args, &config, &picked.device)?, passes),
        "finetune" => (finetune_steps(&args, &config, &picked.device)?, 3.0 * passes),
        _ => pretrain_steps(&args, preset, &config, &picked.device)?,
    };
    // Before the matrix product below adds to it.
    let peak = peak_memory();
    times.sort_by(f64::total_cmp);
    let (median, min) = (times[times.len() / 2], times[0]);
    let rate = flop / median / 1e6;
    print_line(&json!({
        "mode": args.mode, "preset": args.preset, "device": picked.kind, "adapter": picked.name,
        "batch_size": args.batch_size, "seq": args.seq, "steps": times.len(),
        "median_ms": median, "min_ms": min,
        "tokens_per_s": (args.batch_size * args.seq) as f64 / median * 1e3,
        "gflop_per_step": flop / 1e9, "gflop_per_s": rate,
        "share_of_gemm": rate / gemm_rate(&picked.device)?, "peak_mib": peak,
        "launches": launches,
    }))
}

/// How many kernels a GPU was given.
#[derive(Default)]
struct Launches(AtomicUsize);

impl LaunchObserver for Launches {
    fn launched(&self, _kernel: &'static str) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a plain product of two large matrices reaches here, GFLOP/s.
fn gemm_rate(device: &Device) -> Result<f64> {
    const SIZE: usize = 1024;
    let matrix = || Tensor::<2>::random([SIZE, SIZE], Distribution::Default, device);
    let (a, b) = (matrix(), matrix());
    let mut best = f64::INFINITY;
    for _ in 0..10 {
        let start = Instant::now();
        let product = a.clone().matmul(b.clone()).slice([0..1, 0..1]);
        let read = pollster::block_on(product.into_data_async());
        read.map_err(|e| Error::new("bench", format!("{e:?}")))?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(2.0 * (SIZE as f64).powi(3) / best / 1e9)
}

/// The most memory that the program had at once, MiB; Linux alone tells.
fn peak_memory() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<usize>().ok().map(|kib| kib / 1024)
}

fn examples(args: &Args, config: &ElectraConfig, step: usize) -> Vec<Features> {
    let id = |row, i| ((row * args.seq + i) * 7919 + step * 31) % config.vocab_size;
    let row = |row: usize| Features {
        row,
        input_ids: (0..args.seq).map(|i| id(row, i) as u32).collect(),
        token_type_ids: vec![0; args.seq],
        attention_mask: vec![1; args.seq],
        target: Target::Class(row % 2),
    };
    (0..args.batch_size).map(row).collect()
}

/// Milliseconds of every step, and kernels of one.
struct Timed {
    times: Vec<f64>,
    launches: usize,
}

fn time<T>(args: &Args, mut step: impl FnMut(usize) -> Result<T>) -> Result<Timed> {
    const WARM_UP: usize = 2;
    for i in 0..WARM_UP {
        step(i)?;
    }
    let launches = Arc::new(Launches::default());
    let _watching = LaunchObservation::new(launches.clone());
    let mut times = Vec::new();
    for i in 0..args.steps {
        let start = Instant::now();
        step(WARM_UP + i)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(Timed { times, launches: launches.0.load(Ordering::Relaxed) / args.steps })
}

fn inference(args: &Args, config: &ElectraConfig, device: &Device) -> Result<Timed> {
    let model = pretrained::fresh(config, Architecture::PreTraining, 0, device);
    time(args, |step| {
        let examples = examples(args, config, step);
        let examples: Vec<&Features> = examples.iter().collect();
        let inputs = pad(&examples, args.batch_size, args.seq, device);
        let read = model.replaced_logits(&inputs).into_data_async();
        pollster::block_on(read).map_err(|e| Error::new("bench", format!("{e:?}")))
    })
}

/// What is timed, and the operations of one update.
fn pretrain_steps(
    args: &Args,
    preset: PretrainConfig,
    sizes: &ElectraConfig,
    device: &Device,
) -> Result<(Timed, f64)> {
    let (batch_size, vocab_size) = (args.batch_size, sizes.vocab_size);
    let config = PretrainConfig { batch_size, ..preset };
    let special = SpecialIds { pad: 0, unk: 100, cls: 101, sep: 102, mask: 103 };
    let masking = Masking::new(config.mask_prob, false, args.seq);
    let autodiff = device.clone().autodiff();
    let mut network = Some(Pretraining::fresh(&config, vocab_size, device).train());
    let mut optimizer = Optimizer::new(config.optimizer());
    let times = time(args, |step| {
        let draw = |features: Features| {
            let drawn = masking.draw(
                &features.input_ids,
                special,
                (step * batch_size + features.row) as u64,
            );
            MaskedExample { features, drawn }
        };
        let examples: Vec<MaskedExample> =
            examples(args, sizes, step).into_iter().map(draw).collect();
        let totals = Totals::of(&examples, special);
        let parts = examples.chunks(examples_at_once(batch_size, args.seq, device)).enumerate();
        let batch = |(number, part): (usize, &[MaskedExample])| {
            collate_masked(
                part,
                number as u64,
                args.seq,
                masking.max_predictions,
                special,
                &autodiff,
            )
        };
        let batches = parts.map(batch).collect();
        let current = network.take().expect("put back below");
        let (_, grads) = gradients::sum_of_parts(&current, batches, &autodiff, |network, batch| {
            let noise = seeded_noise(&config, &batch, "gumbel");
            let mut dropout = DropoutMasks::seeded(step as u64);
            let pass = pass(network, &config, &batch, totals, noise, &mut dropout);
            PartLoss { loss: pass.backward.expect("it learns"), report: pass.gen_loss }
        });
        let (next, norm) = optimizer.update(current, grads);
        network = Some(next);
        let read = pollster::block_on(norm.into_data_async());
        read.map_err(|e| Error::new("bench", format!("{e:?}")))?;
        device.sync().map_err(|e| Error::new("bench", format!("{e:?}")))
    })?;
    Ok((times, config.flop_per_step(vocab_size, args.seq)))
}

fn finetune_steps(args: &Args, config: &ElectraConfig, device: &Device) -> Result<Timed> {
    let autodiff = device.clone().autodiff();
    let architecture = Architecture::SequenceClassification;
    let mut model: Option<Electra> = Some(pretrained::fresh(config, architecture, 0, &autodiff));
    let mut optimizer = Optimizer::new(OptimizerConfig { total_steps: 1000, ..Default::default() });
    time(args, |step| {
        let current = model.take().expect("put back below");
        let examples = examples(args, config, step);
        let examples: Vec<&Features> = examples.iter().collect();
        let parts = examples.chunks(examples_at_once(args.batch_size, args.seq, device));
        let width = Width { labels: 2, per_token: false };
        let collate = |part: &[&Features]| collate(part, part.len(), args.seq, width, &autodiff);
        let batches = parts.map(collate).collect();
        let (_, grads) = gradients::sum_of_parts(&current, batches, &autodiff, |model, batch| {
            let mut dropout = DropoutMasks::seeded(step as u64);
            let targets = batch.targets.clone();
            let logits = model.training_logits(&batch.inputs, targets, &mut dropout);
            let loss = classification::loss(logits, batch.targets, args.batch_size);
            PartLoss { report: loss.clone().inner(), loss }
        });
        let (next, norm) = optimizer.update(current, grads);
        model = Some(next);
        let read = pollster::block_on(norm.into_data_async());
        read.map_err(|e| Error::new("bench", format!("{e:?}")))?;
        device.sync().map_err(|e| Error::new("bench", format!("{e:?}")))
    })
}
