//! `metrics.jsonl` of a run that goes on: what came after its checkpoint is left out.
#![no_main]

use electra::pretrain::run::lines_until;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (kept, strange) = lines_until(bytes, 100);
    assert_eq!(lines_until(&kept, 100), (kept.clone(), vec![]));
    assert!(strange.len() <= bytes.len());
});
