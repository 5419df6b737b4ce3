//! Runs cases on servers, a fresh process for each run, and lets the servers take turns
//! so that a slow minute of the machine hits all of them.

use std::time::Instant;

use crate::measure::{self, DISTURBED_PERCENT, Measure, Numbers};
use crate::process::{self, DRIVER_CORE, Process};
use crate::report::Row;
use crate::scenarios::{Case, Trial};
use crate::server::{Places, Server};

/// What to run.
pub struct Plan {
    pub cases: Vec<Case>,
    pub servers: Vec<Server>,
    pub places: Places,
    /// Instead of each case's own number.
    pub runs: Option<usize>,
    /// How often a run is done again where other processes disturbed it.
    pub repeats: usize,
}

impl Plan {
    /// Runs everything; `tell` hears of each run as it ends.
    pub fn run(&self, mut tell: impl FnMut(&str)) -> Result<Vec<Row>, String> {
        process::pin(&[DRIVER_CORE]).map_err(|error| {
            format!("this machine has no core {DRIVER_CORE} for the driver: {error}")
        })?;
        let mut rows = Vec::new();
        for case in &self.cases {
            let mut of_case: Vec<Row> =
                self.servers_of(case).map(|it| empty_row(case, it)).collect();
            for run in 1..=self.runs.unwrap_or(case.runs) {
                for (server, row) in self.servers_of(case).zip(&mut of_case) {
                    let outcome = self.run_undisturbed(case, server);
                    let word = outcome.as_ref().err().map_or("", |_| " FAILED");
                    tell(&format!("{} {}: {server}, run {run}{word}", case.scenario, case.name));
                    match outcome {
                        Ok(numbers) => row.runs.push(numbers),
                        Err(failure) => row.failures.push(failure),
                    }
                }
            }
            for row in &mut of_case {
                row.numbers = measure::medians(&row.runs);
            }
            rows.append(&mut of_case);
        }
        Ok(rows)
    }

    /// The first run that nobody disturbed, or the last one that was allowed.
    fn run_undisturbed(&self, case: &Case, server: Server) -> Result<Numbers, String> {
        let mut outcome = run_once(&self.places, case, server);
        for _ in 0..self.repeats {
            let is_disturbed = outcome.as_ref().is_ok_and(|numbers| {
                numbers.get(&Measure::Others).is_some_and(|percent| *percent > DISTURBED_PERCENT)
            });
            if !is_disturbed {
                break;
            }
            outcome = run_once(&self.places, case, server);
        }
        outcome
    }

    fn servers_of<'a>(&'a self, case: &'a Case) -> impl Iterator<Item = Server> + 'a {
        self.servers.iter().copied().filter(|server| case.suits(*server))
    }
}

/// One run of a case on a fresh server.
pub fn run_once(places: &Places, case: &Case, server: Server) -> Result<Numbers, String> {
    let process = server.start(places, case.settings)?;
    let began = Instant::now();
    let before_s = others_cpu_s(&process)?;
    let mut numbers = case.run(&Trial { server, process: &process })?;
    let others_s = others_cpu_s(&process)? - before_s;
    numbers.insert(Measure::Others, 100.0 * others_s.max(0.0) / began.elapsed().as_secs_f64());
    Ok(numbers)
}

/// CPU time of everybody but the server and the driver.
fn others_cpu_s(process: &Process) -> Result<f64, String> {
    let (busy, server, own) = (
        process::machine_busy_time().map_err(|error| format!("/proc/stat: {error}"))?,
        process.cpu_time().map_err(|error| format!("the server's CPU clock: {error}"))?,
        process::own_cpu_time().map_err(|error| format!("the driver's CPU clock: {error}"))?,
    );
    Ok(busy.as_secs_f64() - server.as_secs_f64() - own.as_secs_f64())
}

fn empty_row(case: &Case, server: Server) -> Row {
    Row {
        scenario: case.scenario,
        case: case.name.clone(),
        server: server.to_string(),
        numbers: Numbers::new(),
        runs: Vec::new(),
        failures: Vec::new(),
    }
}
