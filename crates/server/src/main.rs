//! The `herenow` command: reads what the operator asks for and starts it. Knows words, exit codes
//! and signals; what a server does stands in the library.

mod check;
mod cli;
mod cluster_status;
mod environment;
mod generate;
mod handover;
mod health;
mod listen;
mod loading;
mod pid_file;
mod reload;
mod remote;
mod serving;
mod start;
mod stop;

use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{CommandFactory as _, FromArgMatches as _};
use herenow_server::faults;
use herenow_server::logs::Logs;

/// How long the last log lines may take to be written.
const LAST_LINES_TIME: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let started = Instant::now();
    let given = environment::heed(cli::Cli::command()).get_matches();
    let cli = cli::Cli::from_arg_matches(&given).unwrap_or_else(|error| error.exit());
    if let cli::Command::LoadConfig { path } = cli.command {
        return loading::run_child(path);
    }
    // Without a thread for the log nothing else would have one either.
    let Ok(logs) = Logs::start(io::stderr()) else { return ExitCode::FAILURE };
    start::write_logs(&cli.global, &logs);
    faults::end_process_on_panic(logs.clone());
    let code = match start::start(cli, started, &logs) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logs.line(format!("herenow: {error}\n").as_bytes());
            handover::report_failure(&error);
            ExitCode::from(error.exit_code())
        }
    };
    logs.flush(LAST_LINES_TIME);
    code
}
