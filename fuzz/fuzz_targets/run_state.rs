//! The state of a fine-tuning run, and edits of a whole one: refused, or a run that goes on.
#![no_main]

use std::cell::RefCell;

use electra::device::cpu;
use electra::finetune::{Source, TaskFiles, start};
use electra::train::{Progress, Trainer};
use electra_fuzz::{ROWS, edited, model, options, tokenizer};

fn trainer() -> (Trainer, Vec<u8>) {
    let train = Source { name: "x.csv".into(), bytes: ROWS.to_vec() };
    let task = TaskFiles { kind: None, train: &train, eval: Some(&train) };
    let device = cpu("small").device;
    let run = start(&model(), tokenizer(), &[task], &options(), &device);
    let mut trainer = run.expect("a whole run").0;
    let state = pollster::block_on(trainer.save()).expect("a state");
    (trainer, state)
}

/// To the next update: Burn forgets the network that was replaced in the backward pass of the new one.
fn go_on(trainer: &mut Trainer) {
    while let Ok(progress) = pollster::block_on(trainer.advance())
        && !matches!(progress, Progress::Step(_) | Progress::Done { .. })
    {}
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    thread_local!(static RUN: RefCell<(Trainer, Vec<u8>)> = RefCell::new(trainer()));
    RUN.with_borrow_mut(|(trainer, whole)| {
        for state in [bytes, &edited(whole, bytes)] {
            if trainer.restore(&state).is_ok() {
                go_on(trainer);
                let _ = pollster::block_on(trainer.save());
            }
        }
    });
});
