//! The process that reads the configuration: sets its own bounds, reads, answers, ends. It ends as
//! well when the server that asked does, or has given it up.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use herenow_server::config;
use rlimit::Resource;
use tracing::level_filters::LevelFilter;

use super::{Answer, CPU_TIME_S, MEMORY_BYTES, Request, STACK_BYTES};

/// Reads the file at `path`. The request comes over the standard input, one JSON object in a
/// line; the answer goes to the standard output.
pub fn run(path: PathBuf) -> ExitCode {
    limit();
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::DEBUG)
        .with_level(false)
        .with_target(false)
        .with_ansi(false)
        .without_time()
        .with_writer(io::stderr)
        .init();
    let Ok(request) = hear() else { return ExitCode::FAILURE };
    let reader = std::thread::Builder::new().name("config".into()).stack_size(STACK_BYTES);
    let read = reader.spawn(move || answer(&path, &request));
    match read.map(|thread| thread.join()) {
        Ok(Ok(answer)) if io::stdout().write_all(&answer).is_ok() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Where the system knows no such bound, the server's own clock is left.
fn limit() {
    let _ = Resource::CPU.set(CPU_TIME_S, CPU_TIME_S + 1);
    let _ = Resource::AS.set(MEMORY_BYTES, MEMORY_BYTES);
    // A crash is expected here, and its image would hold the environment.
    let _ = Resource::CORE.set(0, 0);
}

/// The request. The input's end is the server's end.
fn hear() -> io::Result<Request> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    std::thread::Builder::new().name("server".into()).spawn(|| {
        let _ = io::stdin().lock().read(&mut [0]);
        std::process::exit(1);
    })?;
    Ok(serde_json::from_str(&line)?)
}

fn answer(path: &Path, request: &Request) -> Vec<u8> {
    let answer = match config::read(path, &request.environment, request.unknown) {
        Ok(source) => Answer::Read(Box::new(source)),
        Err(error) => Answer::Refused(error.to_string()),
    };
    serde_json::to_vec(&answer).expect("text, numbers and lists can be written as JSON")
}
