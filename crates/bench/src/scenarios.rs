//! The loads under which servers are compared, one module each.
//!
//! Knows the list of cases, short and full. Each case says at its end whether all that
//! was sent is known to all who should know it; a run where it is not has no numbers.

use std::time::Duration;

use crate::audit;
use crate::crowd::{Crowd, Greeting};
use crate::driver::Driver;
use crate::ledger::Shape;
use crate::measure::Numbers;
use crate::process::Process;
use crate::server::{Server, Settings};

pub mod audience;
pub mod churn;
pub mod connect;
pub mod counting;
pub mod fanout;
pub mod friends;
pub mod full;
pub mod herd;
pub mod idle;
pub mod slow_reader;
pub mod storm;

/// Handshakes under way at a time where a case is not about them.
const HANDSHAKES_AT_ONCE: usize = 64;
/// Everything sent has to be known to everybody by then.
const SETTLING: Duration = Duration::from_secs(20);

/// How long the cases take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// All of them in a few minutes: enough to see a factor, not a tenth.
    Short,
    /// Sizes and times at which figures are worth writing down.
    Full,
}

/// One load, and how often it runs on each server.
pub struct Case {
    pub scenario: &'static str,
    pub name: String,
    pub runs: usize,
    pub settings: Settings,
    pub load: Load,
}

/// What a case does.
pub enum Load {
    Idle(idle::Idle),
    Connect(connect::Connect),
    FanOut(fanout::FanOut),
    Full(full::Full),
    Storm(storm::Storm),
    Churn(churn::Churn),
    Herd(herd::Herd),
    Audience(audience::Audience),
    Counting(counting::Counting),
    Friends(friends::Friends),
    SlowReader(slow_reader::SlowReader),
}

/// One run of a case: the server it runs on.
pub struct Trial<'a> {
    pub server: Server,
    pub process: &'a Process,
}

/// All cases of the effort, in the order in which they run.
pub fn cases(effort: Effort) -> Vec<Case> {
    [
        idle::cases,
        connect::cases,
        fanout::cases,
        full::cases,
        storm::cases,
        churn::cases,
        herd::cases,
        audience::cases,
        counting::cases,
        friends::cases,
        slow_reader::cases,
    ]
    .into_iter()
    .flat_map(|cases| cases(effort))
    .collect()
}

impl Case {
    /// Floors know fan-out and nothing else; rivals know no public keys, no counts and no lists of
    /// channels.
    pub fn suits(&self, server: Server) -> bool {
        match self.load {
            // What is measured is whether it slows many deliveries.
            _ if server == Server::HerenowWebhooks => self.scenario == "hot",
            Load::FanOut(_) | Load::Full(_) => true,
            Load::Herd(_) | Load::Counting(_) | Load::Friends(_) => {
                matches!(server, Server::Herenow { .. })
            }
            // It looks up connections in the kernel's table of TCP.
            Load::SlowReader(_) if server == Server::HerenowUnix => false,
            _ => server.knows_presence(),
        }
    }

    pub fn run(&self, trial: &Trial) -> Result<Numbers, String> {
        match &self.load {
            Load::Idle(load) => load.run(trial),
            Load::Connect(load) => load.run(trial),
            Load::FanOut(load) => load.run(trial),
            Load::Full(load) => load.run(trial),
            Load::Storm(load) => load.run(trial),
            Load::Churn(load) => load.run(trial),
            Load::Herd(load) => load.run(trial),
            Load::Audience(load) => load.run(trial),
            Load::Counting(load) => load.run(trial),
            Load::Friends(load) => load.run(trial),
            Load::SlowReader(load) => load.run(trial),
        }
    }
}

impl Trial<'_> {
    fn driver(&self) -> Result<Driver, String> {
        Driver::new(self.process.endpoint()).map_err(|error| format!("no driver: {error}"))
    }

    /// Connects a crowd that takes part and waits until everybody knows everybody.
    fn gather(&self, shape: Shape) -> Result<(Driver, Crowd), String> {
        let mut driver = self.driver()?;
        let mut crowd = Crowd::new(shape, Greeting::TakePart);
        crowd.connect(&mut driver, HANDSHAKES_AT_ONCE, SETTLING)?;
        if self.server.knows_presence() {
            crowd.wait(&mut driver, SETTLING, |crowd| crowd.ledger.all_know_all())?;
        }
        Ok((driver, crowd))
    }

    /// Waits until everything is read, then says whether all of it is true.
    fn settle(&self, driver: &mut Driver, crowd: &mut Crowd) -> Result<(), String> {
        if !self.server.knows_presence() {
            return crowd.wait(driver, SETTLING, |crowd| crowd.ledger.all_is_read());
        }
        crowd.wait(driver, SETTLING, |crowd| {
            crowd.ledger.all_know_all() && crowd.ledger.all_is_read()
        })?;
        if let Some(untruth) = crowd.ledger.untruth() {
            return Err(untruth);
        }
        audit::audit(self.process.address(), crowd)
    }

    /// The server's CPU time since it began.
    fn cpu_s(&self) -> Result<f64, String> {
        let time = self.process.cpu_time();
        time.map(|time| time.as_secs_f64()).map_err(|error| format!("no CPU clock: {error}"))
    }

    fn anonymous_kb(&self) -> Result<f64, String> {
        let bytes = self.process.anonymous_bytes();
        bytes.map(|bytes| bytes as f64 / 1024.0).map_err(|error| format!("no memory: {error}"))
    }

    fn anonymous_kb_now(&self) -> f64 {
        // A server that is gone fails its run by other signs; here it has no memory.
        self.process.anonymous_bytes_now().unwrap_or(0) as f64 / 1024.0
    }
}
