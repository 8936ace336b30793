//! `electra bench`

use std::time::Instant;

use burn::optim::GradientsParams;
use burn::tensor::Device;
use electra::batch::{Features, collate, pad};
use electra::checkpoint;
use electra::config::ElectraConfig;
use electra::error::{Error, Result};
use electra::heads::{Architecture, Electra};
use electra::optim::{Optimizer, OptimizerConfig};
use electra::tasks::classification;
use serde_json::json;

use super::{DeviceArg, batch_size, print_line, within};

/// Time a model of random weights
///
/// Prints one JSON object: milliseconds a step, tokens and floating-point operations a second.
#[derive(clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct Args {
    /// tiny, small, base or large
    #[arg(long, value_name = "P", default_value = "small")]
    preset: String,
    #[arg(long, default_value = "finetune", value_parser = ["infer", "finetune"])]
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
    let mut config = ElectraConfig::preset(&args.preset)?;
    config.set_labels(&["0", "1"].map(String::from));
    let limit = config.max_position_embeddings;
    if args.seq > limit {
        return Err(Error::new("--seq", format!("{} is more than {limit} positions", args.seq))
            .fix(format!("Choose {limit} or less.")));
    }
    let picked = args.device.open()?;
    let finetune = args.mode == "finetune";
    let mut times = match finetune {
        true => finetune_steps(&args, &config, &picked.device)?,
        false => inference(&args, &config, &picked.device)?,
    };
    times.sort_by(f64::total_cmp);
    let (median, min) = (times[times.len() / 2], times[0]);
    let flop = config.flop((args.batch_size * args.seq) as f64, args.seq) * if finetune { 3.0 } else { 1.0 };
    print_line(&json!({
        "mode": args.mode, "preset": args.preset, "device": picked.kind, "adapter": picked.name,
        "batch_size": args.batch_size, "seq": args.seq, "steps": times.len(),
        "median_ms": median, "min_ms": min,
        "tokens_per_s": (args.batch_size * args.seq) as f64 / median * 1e3,
        "gflop_per_step": flop / 1e9, "gflop_per_s": flop / median / 1e6,
    }))
}

fn examples(args: &Args, config: &ElectraConfig, step: usize) -> Vec<Features> {
    let id = |row, i| ((row * args.seq + i) * 7919 + step * 31) % config.vocab_size;
    let row = |row: usize| Features {
        row,
        input_ids: (0..args.seq).map(|i| id(row, i) as u32).collect(),
        token_type_ids: vec![0; args.seq],
        attention_mask: vec![1; args.seq],
        label: Some(row % 2),
    };
    (0..args.batch_size).map(row).collect()
}

fn time<T>(args: &Args, mut step: impl FnMut(usize) -> Result<T>) -> Result<Vec<f64>> {
    const WARM_UP: usize = 2;
    let mut times = Vec::new();
    for i in 0..WARM_UP + args.steps {
        let start = Instant::now();
        step(i)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times.split_off(WARM_UP))
}

fn inference(args: &Args, config: &ElectraConfig, device: &Device) -> Result<Vec<f64>> {
    let model = checkpoint::fresh(config, Architecture::PreTraining, 0, device);
    time(args, |step| {
        let examples = examples(args, config, step);
        let examples: Vec<&Features> = examples.iter().collect();
        let inputs = pad(&examples, args.batch_size, args.seq, device);
        let read = model.replaced_logits(&inputs).into_data_async();
        pollster::block_on(read).map_err(|e| Error::new("bench", format!("{e:?}")))
    })
}

fn finetune_steps(args: &Args, config: &ElectraConfig, device: &Device) -> Result<Vec<f64>> {
    let device = device.clone().autodiff();
    let architecture = Architecture::SequenceClassification;
    let mut model: Option<Electra> = Some(checkpoint::fresh(config, architecture, 0, &device));
    let mut optimizer = Optimizer::new(OptimizerConfig { total_steps: 1000, ..Default::default() });
    time(args, |step| {
        let current = model.take().expect("put back below");
        let examples = examples(args, config, step);
        let examples: Vec<&Features> = examples.iter().collect();
        let batch = collate(&examples, args.batch_size, args.seq, 2, &device);
        let logits = current.class_logits(&batch.inputs);
        let loss = classification::loss(logits, batch.targets, batch.examples);
        let grads = GradientsParams::from_grads(loss.backward(), &current);
        let (next, norm) = optimizer.update(current, grads);
        model = Some(next);
        let read = pollster::block_on(norm.into_data_async());
        read.map_err(|e| Error::new("bench", format!("{e:?}")))?;
        device.sync().map_err(|e| Error::new("bench", format!("{e:?}")))
    })
}
