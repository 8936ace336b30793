//! The files of GLUE, with quotes as text.
#![no_main]

use electra::dataset::glue::{TASKS, read_glue};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for task in TASKS {
        for split in task.splits() {
            let _ = read_glue(task, *split, "x.tsv", bytes);
        }
    }
});
