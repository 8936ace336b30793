//! The command line: parse, call, print. Results go to stdout, one JSON object a line; progress
//! and messages go to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage.

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    keep_freed_memory();
    let result = cli::run();
    if let Err(error) = &result {
        cli::say(format_args!("error: {error}"));
    }
    // Other ranks, if there are any, are told.
    electra::distributed::leave(result.is_err());
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A step frees and allocates the same large buffers over and over. Left alone, glibc gives each
/// back to the system and takes it anew, page by page: a tenth of a training step.
fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn mallopt(parameter: i32, value: i32) -> i32;
        }
        const M_TRIM_THRESHOLD: i32 = -1;
        const M_MMAP_THRESHOLD: i32 = -3;
        // SAFETY: called once, before anything is allocated on another thread.
        unsafe {
            mallopt(M_TRIM_THRESHOLD, i32::MAX);
            mallopt(M_MMAP_THRESHOLD, i32::MAX);
        }
    }
}
