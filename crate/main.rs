//! The command line: parse, call, print. Results go to stdout, one JSON object a line; progress
//! and messages go to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage.

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::say(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}
