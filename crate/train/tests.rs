//! Whole runs of a very small network.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};
use pollster::block_on;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::batch::{Features, collate};
use crate::config::ElectraConfig;
use crate::dataset::Kind;
use crate::finetune::{FinetuneOptions, Source, TaskFiles, start};
use crate::gradients::{self, examples_at_once};
use crate::heads::{Architecture, Electra};
use crate::kernels::DropoutMasks;
use crate::optim::Optimizer;
use crate::pretrained::{self, HostTensor, ModelFiles};
use crate::seed::stream;
use crate::tasks;
use crate::tokenizer::Tokenizer;

const KINDS: [Kind; 5] = [
    Kind::Classification,
    Kind::MultiLabel,
    Kind::Regression,
    Kind::Tagging,
    Kind::QuestionAnswering,
];

fn letter(i: usize) -> char {
    char::from(b'a' + (i % 26) as u8)
}

/// So many examples of a kind; `shift` makes others of them.
fn source(kind: Kind, count: usize, shift: usize) -> Source {
    let example = |i: usize| {
        let (a, b) = (letter(i + shift), letter(i * 7 + 3));
        match kind {
            Kind::Classification => format!("{},the {a} {b} cat\n", ["x", "y"][i % 2]),
            Kind::MultiLabel => format!("{},the {a} {b} cat\n", ["x|y", "y", "x", "x|z"][i % 4]),
            Kind::Regression => format!("{}.5,the {a} {b} cat\n", i % 5),
            Kind::Tagging => {
                let (more, tag) = ("sat O\n".repeat(i % 4), ["O", "B-X"][i % 2]);
                format!("the O\n{a} B-X\n{b} I-X\n{more}cat {tag}\n\n")
            }
            Kind::QuestionAnswering => format!(
                "{{\"question\": \"who {b}\", \"context\": \"the cat {a} sat\", \
                 \"answers\": [{{\"text\": \"cat\", \"answer_start\": 4}}]}}\n"
            ),
        }
    };
    let rows: String = (0..count).map(example).collect();
    let (name, header) = match kind {
        Kind::Classification => ("data.csv", "label,text\n"),
        Kind::MultiLabel => ("data.csv", "labels,text\n"),
        Kind::Regression => ("data.csv", "score,text\n"),
        Kind::Tagging => ("data.conll", ""),
        Kind::QuestionAnswering => ("data.jsonl", ""),
    };
    Source { name: name.into(), bytes: format!("{header}{rows}").into_bytes() }
}

fn model(dropout: f64) -> ModelFiles {
    let special = "[PAD] [UNK] [CLS] [SEP] [MASK] the cat sat who";
    let letters = ('a'..='z').map(|letter| letter.to_string());
    let words = special.split(' ').map(String::from).chain(letters);
    let vocab: Vec<String> = words.collect();
    let config = ElectraConfig {
        vocab_size: vocab.len(),
        embedding_size: 8,
        hidden_size: 16,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        intermediate_size: 32,
        max_position_embeddings: 32,
        hidden_dropout_prob: dropout,
        attention_probs_dropout_prob: dropout,
        initializer_range: 0.1,
        ..ElectraConfig::default()
    };
    let network = pretrained::fresh(&config, Architecture::PreTraining, 5, &Device::flex());
    let mut files =
        block_on(pretrained::save(&network, &config, Architecture::PreTraining)).unwrap();
    files.insert("vocab.txt".into(), vocab.join("\n").into_bytes());
    files
}

fn settings() -> FinetuneConfig {
    FinetuneConfig {
        epochs: 2.5,
        batch_size: 4,
        accumulate: 2,
        learning_rate: 1e-2,
        max_seq_length: 16,
        doc_stride: 4,
        max_query_length: 4,
        eval_every: Some(2),
        keep_best: true,
        read_every: 3,
        seed: 3,
        ..FinetuneConfig::default()
    }
}

struct Plan {
    kinds: Vec<Kind>,
    /// Training rows of each.
    rows: Vec<usize>,
    shift: usize,
    eval_shift: usize,
    dropout: f64,
    config: FinetuneConfig,
}

impl Plan {
    fn new(kinds: &[Kind]) -> Self {
        Plan {
            kinds: kinds.to_vec(),
            rows: vec![14; kinds.len()],
            shift: 0,
            eval_shift: 5,
            dropout: 0.2,
            config: settings(),
        }
    }

    fn trainer(&self) -> Trainer {
        let source = |rows: usize, shift| move |kind: &Kind| source(*kind, rows, shift);
        let train = self.kinds.iter().zip(&self.rows);
        let train: Vec<Source> = train.map(|(k, rows)| source(*rows, self.shift)(k)).collect();
        let eval: Vec<Source> = self.kinds.iter().map(source(6, self.eval_shift)).collect();
        let task = |((train, eval), kind)| TaskFiles { kind: Some(kind), train, eval: Some(eval) };
        let tasks: Vec<TaskFiles> =
            train.iter().zip(&eval).zip(self.kinds.iter().copied()).map(task).collect();
        let files = model(self.dropout);
        let tokenizer = Tokenizer::from_files(&files).unwrap();
        let options = FinetuneOptions { config: self.config.clone(), ..Default::default() };
        start(&files, &tokenizer, &tasks, &options, &Device::flex()).unwrap().0
    }
}

/// What a run says, a line each; at most so many.
fn advance(trainer: &mut Trainer, most: usize) -> Vec<String> {
    let mut lines = Vec::new();
    while lines.len() < most {
        let progress = block_on(trainer.advance()).unwrap();
        lines.push(serde_json::to_string(&progress).unwrap());
        if matches!(progress, Progress::Done { .. }) {
            break;
        }
    }
    lines
}

/// Without the batches of evaluations: one that was interrupted starts again.
fn told(lines: &[String]) -> Vec<&String> {
    lines.iter().filter(|line| !line.contains("\"evaluating\"")).collect()
}

/// The weights to take away, and those that the run stands at.
fn weights(trainer: &Trainer) -> Vec<BTreeMap<String, HostTensor>> {
    let tasks = 0..trainer.jobs.len();
    let models = tasks.flat_map(|job| [trainer.result(job).0, trainer.current(job).0]);
    models.map(|model| block_on(pretrained::tensors(&model)).unwrap()).collect()
}

/// Stops after so many calls, once `save` alone and once with a trainer that is made anew.
fn assert_goes_on(plan: &Plan, stop: usize, whole: &[String], end: &Trainer) {
    let mut first = plan.trainer();
    let before = advance(&mut first, stop);
    let bytes = block_on(first.save()).unwrap();
    assert_eq!(bytes, block_on(first.save()).unwrap(), "a state is always the same bytes");
    let mut second = plan.trainer();
    second.restore(&bytes).unwrap();
    assert_eq!(second.step(), first.step());
    for trainer in [&mut first, &mut second] {
        let mut lines = before.clone();
        lines.extend(advance(trainer, usize::MAX));
        // A run that is over says so again.
        lines.dedup();
        assert_eq!(told(&lines), told(whole), "stopped after {stop}");
        assert!(weights(trainer) == weights(end), "stopped after {stop}");
        assert_eq!(trainer.verdicts(), end.verdicts());
    }
}

#[test]
fn a_run_goes_on_from_anywhere_as_if_it_had_never_stopped() {
    let plan = Plan::new(&[Kind::Classification, Kind::Tagging]);
    let mut end = plan.trainer();
    let whole = advance(&mut end, usize::MAX);
    assert!(whole.iter().any(|line| line.contains("\"evaluating\"")));
    for stop in 0..=whole.len() {
        assert_goes_on(&plan, stop, &whole, &end);
    }
}

#[test]
fn a_run_of_any_task_goes_on() {
    for kind in KINDS {
        let plan = Plan::new(&[kind]);
        let mut end = plan.trainer();
        let whole = advance(&mut end, usize::MAX);
        for stop in [0, 1, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
            assert_goes_on(&plan, stop, &whole, &end);
        }
    }
}

/// What is frozen has no moments, and stays frozen.
#[test]
fn a_run_goes_on_with_a_frozen_body() {
    for freeze in [Freeze::Body, Freeze::Layers(1)] {
        let mut plan = Plan::new(&[Kind::Classification]);
        plan.config.freeze = freeze;
        plan.config.keep_best = false;
        let mut end = plan.trainer();
        let whole = advance(&mut end, usize::MAX);
        assert_goes_on(&plan, whole.len() / 2, &whole, &end);
        let start = weights(&plan.trainer()).swap_remove(1);
        let (end, name) = (weights(&end).swap_remove(1), "electra.embeddings_project.weight");
        assert_eq!(start[name], end[name]);
    }
}

/// A learning rate that does nothing: the first evaluation is the best.
#[test]
fn patience_outlives_a_stop() {
    let mut plan = Plan::new(&[Kind::Classification]);
    plan.config = FinetuneConfig { learning_rate: 1e-9, patience: Some(2), ..plan.config };
    let mut end = plan.trainer();
    let whole = advance(&mut end, usize::MAX);
    assert_eq!(end.step(), 4, "two evaluations without a better score");
    for stop in 0..=whole.len() {
        assert_goes_on(&plan, stop, &whole, &end);
    }
}

#[test]
fn a_run_that_was_ended_early_stays_ended() {
    let plan = Plan::new(&[Kind::Regression]);
    let mut first = plan.trainer();
    advance(&mut first, 6);
    first.finish_early();
    let bytes = block_on(first.save()).unwrap();
    let mut second = plan.trainer();
    second.restore(&bytes).unwrap();
    assert_eq!(advance(&mut second, usize::MAX), advance(&mut first, usize::MAX));
}

struct Spoil;

impl ModuleMapper for Spoil {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let spoiled = Tensor::from_inner(tensor.inner() * f32::NAN).require_grad();
        Param::from_mapped_value(id, spoiled, mapper)
    }
}

/// Asked again it is the same error, not a state to go on from.
#[test]
fn a_run_whose_loss_is_not_a_number_is_not_saved() {
    let mut trainer = Plan::new(&[Kind::Classification]).trainer();
    while trainer.step() == 0 {
        advance(&mut trainer, 1);
    }
    trainer.network = trainer.network.take().map(|network| network.map(&mut Spoil));
    let error = (0..20).find_map(|_| block_on(trainer.advance()).err()).unwrap();
    assert_eq!(error.problem, "the loss is not a number");
    for _ in 0..2 {
        let again = block_on(trainer.save()).expect_err("there is nothing to go on from");
        assert_eq!(again.to_string(), error.to_string());
    }
}

fn saved(plan: &Plan, stop: usize) -> Vec<u8> {
    let mut trainer = plan.trainer();
    advance(&mut trainer, stop);
    block_on(trainer.save()).unwrap()
}

#[track_caller]
fn refused(trainer: &mut Trainer, bytes: &[u8]) -> Error {
    let before = block_on(trainer.save()).unwrap();
    let error = trainer.restore(&bytes).expect_err("it must be refused");
    assert!(block_on(trainer.save()).unwrap() == before, "a refused state changes nothing");
    assert!(error.place.starts_with("the saved run") && !error.remedy.is_empty(), "{error}");
    error
}

#[test]
fn the_state_of_another_run_is_refused() {
    let plan = || Plan::new(&[Kind::Classification]);
    let bytes = saved(&plan(), 9);
    let expect = |change: &dyn Fn(&mut Plan), place: &str, problem: &str| {
        let mut plan = plan();
        change(&mut plan);
        let error = refused(&mut plan.trainer(), &bytes);
        assert_eq!(error.place, format!("the saved run, {place}"));
        assert!(error.problem.contains(problem), "{error}");
    };
    expect(&|plan| plan.config.seed = 4, "seed", "with 3, not 4");
    expect(&|plan| plan.config.learning_rate = 2e-2, "learningRate", "0.01, not 0.02");
    expect(&|plan| plan.config.freeze = Freeze::Body, "freeze", "\"none\", not \"body\"");
    expect(&|plan| plan.config.keep_best = false, "keepBest", "true, not false");
    expect(&|plan| plan.shift = 1, "training data", "another");
    expect(&|plan| plan.rows = vec![15], "training data", "another");
    expect(&|plan| plan.eval_shift = 6, "evaluation data", "another");
    expect(&|plan| plan.dropout = 0.3, "model", "another");
    expect(&|plan| plan.kinds[0] = Kind::Regression, "model", "another");
    let two = |plan: &mut Plan| {
        plan.kinds.push(Kind::Tagging);
        plan.rows.push(14);
    };
    expect(&two, "tasks", "with 1, not 2");
}

#[test]
fn damaged_bytes_are_refused() {
    let plan = Plan::new(&[Kind::Classification]);
    let bytes = saved(&plan, 9);
    let mut trainer = plan.trainer();
    advance(&mut trainer, 5);
    for length in (0..bytes.len()).step_by(bytes.len() / 40).chain(bytes.len() - 9..bytes.len()) {
        refused(&mut trainer, &bytes[..length]);
    }
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let places = (0..header).step_by(header / 60);
    for place in places.chain((header..bytes.len()).step_by(bytes.len() / 60)) {
        for bit in [1, 0x10, 0x80] {
            let mut bytes = bytes.clone();
            bytes[place] ^= bit;
            refused(&mut trainer, &bytes);
        }
    }
    refused(&mut trainer, b"not a state");
    refused(&mut trainer, &[0; 64]);
    refused(&mut trainer, &[0xff; 64]);
    refused(&mut trainer, &[bytes.as_slice(), b"more"].concat());
    let foreign = refused(&mut trainer, &model(0.1)["model.safetensors"]);
    assert!(foreign.problem.contains("cannot be read"), "{foreign}");
    trainer.restore(&bytes).unwrap();
}

/// A header that a person has edited, its checksum made right again.
#[test]
fn a_state_that_contradicts_itself_is_refused() {
    let plan = Plan::new(&[Kind::Classification]);
    let mut trainer = plan.trainer();
    advance(&mut trainer, 9);
    let edits: [fn(&mut Trainer); 5] = [
        |trainer| trainer.micro_step += 1,
        |trainer| trainer.steps = 1,
        |trainer| trainer.steps = 1000,
        |trainer| trainer.evaluated.last.clear(),
        |trainer| trainer.evaluated.at = Some(900),
    ];
    for edit in edits {
        let mut other = plan.trainer();
        advance(&mut other, 9);
        edit(&mut other);
        let bytes = block_on(other.save()).unwrap();
        let error = refused(&mut trainer, &bytes);
        assert!(error.problem.contains("contradict"), "{error}");
    }
}

/// One task, step by step as the loop of a single task does it.
#[test]
fn one_task_alone_is_the_plain_loop() {
    let mut plan = Plan::new(&[Kind::Classification]);
    plan.config.keep_best = false;
    let mut trainer = plan.trainer();
    let job = &trainer.jobs[0];
    let (rows, width, kind) = (job.train.clone(), job.eval.width(), job.eval.kind());
    let (config, device) = (plan.config.clone(), Device::flex());
    let steps = config.steps(&[rows.len()]);
    assert_eq!(steps, (14f64 / 8.0).ceil() as usize * 5 / 2);
    let mut model = trainer.current(0).0.train();
    let mut optimizer = Optimizer::new(config.optimizer(steps, 2));
    let mut batches = Vec::new();
    for epoch in 0..3 {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(stream(config.seed, "shuffle", epoch)));
        batches.extend(order.chunks(config.batch_size).map(<[usize]>::to_vec));
    }
    let mut losses = Vec::new();
    for step in 0..steps {
        let mut parts = Vec::new();
        let own = || batches.iter().enumerate().skip(step * 2).take(2);
        let terms: usize = own().map(|(_, batch)| batch.len()).sum();
        for (micro, batch) in own() {
            let examples: Vec<&Features> = batch.iter().map(|row| &rows[*row]).collect();
            let seed = stream(config.seed, "dropout", micro as u64);
            let at_once = examples_at_once(config.batch_size, config.max_seq_length, &device);
            for (part, chunk) in examples.chunks(at_once).enumerate() {
                let batch = collate(chunk, chunk.len(), 16, width, &device.clone().autodiff());
                parts.push((batch, stream(seed, "part", part as u64)));
            }
        }
        let autodiff = device.clone().autodiff();
        let (loss, grads) =
            gradients::sum_of_parts(&model, parts, &autodiff, |model, (batch, seed)| {
                let mut dropout = DropoutMasks::seeded(seed);
                let targets = batch.targets.clone();
                let logits = model.training_logits(&batch.inputs, targets, &mut dropout);
                let loss = tasks::loss(kind, logits, &batch, width, terms);
                gradients::PartLoss { report: loss.clone().inner(), loss }
            });
        losses.push(loss.into_scalar::<f32>());
        (model, _) = optimizer.update(model, grads);
    }
    let mut found = Vec::new();
    loop {
        match block_on(trainer.advance()).unwrap() {
            Progress::Step(stats) => found.extend(stats.losses.iter().map(|loss| loss.loss)),
            Progress::Done { .. } => break,
            _ => {}
        }
    }
    assert_eq!(found, losses);
    let weights = |model: Electra| block_on(pretrained::tensors(&model)).unwrap();
    assert!(weights(trainer.current(0).0) == weights(model.valid()));
}

#[test]
fn several_tasks_share_a_body_and_have_heads_of_their_own() {
    let mut plan = Plan::new(&[Kind::Classification, Kind::Classification, Kind::Tagging]);
    plan.config.keep_best = false;
    let mut trainer = plan.trainer();
    let before: Vec<_> = weights(&trainer).into_iter().step_by(2).collect();
    advance(&mut trainer, usize::MAX);
    let after: Vec<_> = weights(&trainer).into_iter().step_by(2).collect();
    let name = "electra.encoder.layer.0.output.dense.weight";
    assert_ne!(before[0][name], after[0][name]);
    for (start, end) in before.iter().zip(&after) {
        assert_eq!((&start[name], &end[name]), (&before[0][name], &after[0][name]));
    }
    let name = "classifier.dense.weight";
    assert_ne!(before[0][name], before[1][name], "two heads do not start alike");
    assert!((0..2).all(|job| before[job][name] != after[job][name]));
    assert_eq!(before[2]["classifier.weight"].shape, [3, 16]);
}

/// A head that had no batch yet stays as it is, and the tasks of a step are told.
#[test]
fn a_step_moves_the_heads_of_its_tasks_only() {
    let mut plan = Plan::new(&[Kind::Classification, Kind::Tagging]);
    plan.rows = vec![40, 3];
    plan.config = FinetuneConfig { accumulate: 1, warmup: 0.0, ..plan.config };
    let mut trainer = plan.trainer();
    let heads = |trainer: &Trainer| {
        let of = |job, name: &str| {
            block_on(pretrained::tensors(&trainer.current(job).0)).unwrap()[name].clone()
        };
        [of(0, "classifier.out_proj.weight"), of(1, "classifier.weight")]
    };
    let (mut turns, mut before) = ([0, 0], heads(&trainer));
    loop {
        let progress = block_on(trainer.advance()).unwrap();
        let after = heads(&trainer);
        match progress {
            Progress::Step(stats) => {
                let [job] = stats.jobs[..] else { panic!("{stats:?}") };
                turns[job] += 1;
                assert_ne!(before[job], after[job]);
                assert_eq!(before[1 - job], after[1 - job]);
            }
            Progress::Done { .. } => break,
            _ => assert_eq!(before, after),
        }
        before = after;
    }
    // 10 batches and 1 an epoch, for two epochs and a half: 11 * 2.5 rounds to 28.
    assert_eq!(turns[0] + turns[1], 28);
    assert!((2..=3).contains(&turns[1]), "{turns:?}");
}

/// An update takes the mean over all of its labels, however it is cut into batches: those of 4
/// sentences have more words or fewer.
#[test]
fn batches_that_are_accumulated_are_one_batch() {
    for kind in KINDS {
        let losses = [(16, 1), (8, 2), (4, 4)].map(|(batch_size, accumulate)| {
            let mut plan = Plan::new(&[kind]);
            (plan.rows, plan.dropout) = (vec![48], 0.0);
            plan.config = FinetuneConfig { batch_size, accumulate, epochs: 2.0, ..plan.config };
            let (mut trainer, mut losses) = (plan.trainer(), Vec::new());
            loop {
                match block_on(trainer.advance()).unwrap() {
                    Progress::Step(stats) => losses.extend(stats.losses),
                    Progress::Done { .. } => break losses,
                    _ => {}
                }
            }
        });
        assert_eq!(losses[0].len(), 6, "{kind:?}");
        for other in &losses[1..] {
            for (one, other) in losses[0].iter().zip(other) {
                assert!((one.loss - other.loss).abs() < 1e-5, "{kind:?}: {losses:?}");
            }
        }
    }
}

#[test]
fn the_best_of_several_tasks_is_that_of_their_mean() {
    let mut plan = Plan::new(&[Kind::Classification, Kind::Regression]);
    plan.config.eval_every = Some(1);
    let mut trainer = plan.trainer();
    let (mut best, mut round) = (f64::NEG_INFINITY, Vec::new());
    let mut kept = Vec::new();
    loop {
        match block_on(trainer.advance()).unwrap() {
            Progress::Evaluation(stats) => {
                let EvaluationStats { job, measured, .. } = *stats;
                assert_eq!(job, Some(round.len()));
                assert_eq!(measured.task, plan.kinds[round.len()]);
                round.push(measured.evaluation.score().1);
            }
            Progress::Done { .. } => break,
            _ => {}
        }
        if round.len() == 2 {
            let mean = (round[0] + round[1]) / 2.0;
            if mean > best {
                (best, kept) = (mean, round.clone());
            }
            round.clear();
        }
    }
    let scores: Vec<f64> = trainer.verdicts().iter().map(|verdict| verdict.score).collect();
    assert_eq!(scores, kept);
    assert_eq!(trainer.verdicts()[1].metric, "pearson");
}

/// Few rows come to the same score again and again.
#[test]
fn of_equal_scores_the_one_with_the_smallest_loss_is_kept() {
    let mut trainer = Plan::new(&[Kind::Classification]).trainer();
    let mut compared = |score: f64, loss: f64| {
        let (metric, loss) = ("accuracy".to_string(), Some(loss));
        let verdict =
            Verdict { metric, score, loss, is_collapsed: false, no_answer_threshold: None };
        trainer.evaluated.last = vec![verdict];
        trainer.compare();
        let best = trainer.evaluated.best.as_ref().unwrap();
        (best.score, best.verdicts[0].loss.unwrap(), best.since)
    };
    assert_eq!(compared(0.5, 0.9), (0.5, 0.9, 0));
    assert_eq!(compared(0.5, 0.7), (0.5, 0.7, 1));
    assert_eq!(compared(0.5, 0.8), (0.5, 0.7, 2));
    assert_eq!(compared(0.4, 0.1), (0.5, 0.7, 3));
    assert_eq!(compared(0.6, 2.0), (0.6, 2.0, 0));
}

/// As when a run is stopped, looked at, and goes on.
#[test]
fn an_evaluation_out_of_turn_leaves_no_trace() {
    let plan = Plan::new(&[Kind::Classification, Kind::Tagging]);
    let mut end = plan.trainer();
    let whole = advance(&mut end, usize::MAX);
    let mut trainer = plan.trainer();
    let mut lines = Vec::new();
    let mut extra = 0;
    while !lines.last().is_some_and(|line: &String| line.contains("\"event\":\"done\"")) {
        lines.extend(advance(&mut trainer, 1));
        let is_step = lines.last().is_some_and(|line| line.contains("\"event\":\"step\""));
        if is_step && trainer.ask_for_evaluation() == Some(true) {
            let step = trainer.step();
            while trainer.ask_for_evaluation().is_some() {
                let said = advance(&mut trainer, 1).remove(0);
                assert!(said.contains("\"evaluati"), "{said}");
            }
            assert_eq!((trainer.step(), trainer.verdicts().len()), (step, 2));
            extra += 1;
        }
    }
    assert!(extra > 0);
    assert_eq!(told(&lines), told(&whole));
    assert!(weights(&trainer) == weights(&end));
}

#[test]
fn evaluations_are_spread_over_a_run() {
    let mut plan = Plan::new(&[Kind::Classification]);
    plan.config =
        FinetuneConfig { eval_every: None, eval_times: Some(8), epochs: 10.0, ..plan.config };
    let lines = advance(&mut plan.trainer(), usize::MAX);
    let evaluations = lines.iter().filter(|line| line.contains("\"event\":\"evaluation\"")).count();
    assert!(evaluations > 8, "{evaluations}");
}
