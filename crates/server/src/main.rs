//! The `herenow` command: reads what the operator asks for and starts it. Knows words, exit codes
//! and signals; what a server does stands in the library.

mod check;
mod cli;
mod reload;
mod start;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser as _;

fn main() -> ExitCode {
    let started = Instant::now();
    let cli = cli::Cli::parse();
    match start::start(cli, started) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("herenow: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
