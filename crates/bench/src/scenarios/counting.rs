//! A stage that thousands only count: 50 who update, one of them coming and going, and connections that
//! are told how many are there and nothing else.
//!
//! What counting costs is what the server takes beyond what the same stage takes alone.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};

use super::{Case, Effort, HANDSHAKES_AT_ONCE, Load, SETTLING, Trial};
use crate::crowd::{Crowd, Pace};
use crate::driver::{Arrival, Driver, Sink};
use crate::frames;
use crate::guests::{self, Guests};
use crate::inbound::Event;
use crate::ledger::Shape;
use crate::measure::{Measure, Numbers, per};
use crate::messages::{self, Writer};
use crate::server::Settings;

const ON_STAGE: usize = 50;
const UPDATES_PER_SECOND: f64 = 100.0;
/// After so many updates the first member goes, or comes back: more often than a count is told.
const UPDATES_PER_CHANGE: usize = 60;
/// No user of the stage has such a number.
const FIRST_COUNTING_USER: usize = 10_000;
/// What is allocated once, or given back late, does not belong to the rest.
const COMING_TO_REST: Duration = Duration::from_millis(1500);
/// A glance at the sockets that count, while the stage runs.
const GLANCE: Duration = Duration::from_millis(5);

/// See the module.
pub struct Counting {
    pub connections: usize,
    pub warm_up: Duration,
    pub period: Duration,
}

pub fn cases(effort: Effort) -> Vec<Case> {
    let (connections, runs) = match effort {
        Effort::Short => (15_000, 1),
        Effort::Full => (15_000, 3),
    };
    let (warm_up, period) = (Duration::from_secs(1), Duration::from_secs(10));
    vec![Case {
        scenario: "counting",
        name: format!("{connections} and {ON_STAGE} on stage"),
        runs,
        settings: Settings::default(),
        load: Load::Counting(Counting { connections, warm_up, period }),
    }]
}

impl Counting {
    pub fn run(&self, trial: &Trial) -> Result<Numbers, String> {
        let (driver, crowd) = trial.gather(Shape::of_members(1, ON_STAGE))?;
        let mut stage = Stage { driver, crowd, updates: Pace::new(UPDATES_PER_SECOND) };
        stage.perform(self.warm_up)?;
        let alone = Spell::begin(trial)?;
        stage.perform(self.period)?;
        let alone = alone.end(trial)?;
        let stage_kb = trial.anonymous_kb()?;

        let channel = stage.crowd.channels()[0].clone();
        let counts = AtomicU64::new(0);
        std::thread::scope(|scope| {
            let (connected, is_connected) = mpsc::channel();
            // Dropped at the end, by whichever way this is left.
            let (lasts, is_over) = mpsc::channel();
            let counters =
                scope.spawn(|| self.count((trial, channel, &counts), (connected, is_over)));
            let ended = || "the counters' thread has panicked".to_owned();
            if is_connected.recv().is_err() {
                counters.join().map_err(|_| ended())??;
                return Err(ended());
            }
            let counted_kb = trial.anonymous_kb()?;
            let counts_before = counts.load(Relaxed);
            let beside = Spell::begin(trial)?;
            stage.perform(self.period)?;
            let beside = beside.end(trial)?;
            let counts = (counts.load(Relaxed) - counts_before) as f64;
            stage.end_complete();
            trial.settle(&mut stage.driver, &mut stage.crowd)?;
            drop(lasts);
            counters.join().map_err(|_| ended())??;
            let connections = self.connections as f64;
            let connection_seconds = connections * beside.seconds;
            let counting_cpu_s = beside.cpu_s - alone.cpu_s / alone.seconds * beside.seconds;
            Ok(Numbers::from([
                (Measure::CpuPerConnectionSecond, counting_cpu_s * 1e6 / connection_seconds),
                (Measure::CpuPerSeen, per(counting_cpu_s * 1e6, counts)),
                (Measure::CountsPerConnectionSecond, counts / connection_seconds),
                (Measure::RssGrowthPerConnection, (counted_kb - stage_kb) / connections),
                (Measure::ServerCore, 100.0 * beside.cpu_s / beside.seconds),
            ]))
        })
    }

    /// Connects those who count, and reads what they are told until `is_over`. At the end the last
    /// count of each is true. A thread of its own, since a driver stays on its thread.
    fn count(
        &self,
        (trial, channel, counts): (&Trial, String, &AtomicU64),
        (connected, is_over): (Sender<()>, Receiver<()>),
    ) -> Result<(), String> {
        let mut driver = trial.driver()?;
        let mut counters = Counters::new(self.connections, channel);
        let all = (self.connections, HANDSHAKES_AT_ONCE);
        guests::connect(&mut driver, &mut counters, all, SETTLING)?;
        let rested_at = Instant::now() + COMING_TO_REST;
        while Instant::now() < rested_at {
            guests::poll(&mut driver, &mut counters, GLANCE)?;
        }
        // Nobody waits for it any more if the stage has failed.
        let _ = connected.send(());
        while is_over.try_recv() == Err(TryRecvError::Empty) {
            guests::poll(&mut driver, &mut counters, GLANCE)?;
            counts.store(counters.counts, Relaxed);
        }
        guests::wait(&mut driver, &mut counters, SETTLING, Counters::all_are_true)
    }
}

/// Those who update, and the one who comes and goes.
struct Stage {
    driver: Driver,
    crowd: Crowd,
    updates: Pace,
}

impl Stage {
    fn perform(&mut self, period: Duration) -> Result<(), String> {
        let Self { driver, crowd, updates } = self;
        crowd.pace(driver, updates.lasting(period), |crowd, driver, turn| {
            match (turn % UPDATES_PER_CHANGE, turn / UPDATES_PER_CHANGE % 2) {
                (0, 0) => crowd.untrack(driver, 0),
                (0, _) => crowd.update(driver, 0),
                _ => crowd.update(driver, 1 + turn % (ON_STAGE - 1)),
            }
            Ok(())
        })
    }

    /// The one who comes and goes is there.
    fn end_complete(&mut self) {
        self.crowd.update(&mut self.driver, 0);
    }
}

/// The server's CPU time over a while.
struct Spell {
    began: Instant,
    cpu_s: f64,
}

struct SpellSpent {
    seconds: f64,
    cpu_s: f64,
}

impl Spell {
    fn begin(trial: &Trial) -> Result<Self, String> {
        Ok(Self { began: Instant::now(), cpu_s: trial.cpu_s()? })
    }

    fn end(self, trial: &Trial) -> Result<SpellSpent, String> {
        let cpu_s = trial.cpu_s()? - self.cpu_s;
        Ok(SpellSpent { seconds: self.began.elapsed().as_secs_f64(), cpu_s })
    }
}

/// The connections that count.
struct Counters {
    channel: String,
    tokens: Vec<String>,
    /// What each was told last.
    told: Vec<Option<u32>>,
    ready: usize,
    counts: u64,
    problem: Option<String>,
    writer: Writer,
}

impl Counters {
    fn new(connections: usize, channel: String) -> Self {
        let users = FIRST_COUNTING_USER..FIRST_COUNTING_USER + connections;
        Self {
            channel,
            tokens: users.map(messages::token).collect(),
            told: vec![None; connections],
            ready: 0,
            counts: 0,
            problem: None,
            writer: Writer::default(),
        }
    }

    fn all_are_true(&self) -> bool {
        self.told.iter().all(|told| *told == Some(ON_STAGE as u32))
    }
}

impl Guests for Counters {
    fn ready(&self) -> usize {
        self.ready
    }

    fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }
}

impl Sink for Counters {
    fn arrived(&mut self, arrival: Arrival<'_>, reply: &mut Vec<u8>) {
        match arrival.event {
            Event::Opened => {
                self.writer.auth(reply, &self.tokens[arrival.connection]);
                self.writer.subscribe_to_count(reply, &self.channel);
            }
            Event::Counted { connections } => {
                self.counts += 1;
                let before = self.told[arrival.connection].replace(connections);
                self.ready += usize::from(before.is_none());
            }
            Event::Ping(payload) => frames::push_masked(reply, frames::PONG, payload),
            Event::Authenticated | Event::Pong | Event::Other => {}
            // It is told of no member, and nothing ends.
            wrong => {
                self.problem.get_or_insert_with(|| format!("who only counts is told {wrong:?}"));
            }
        }
    }
}
