//! What both sides of a run share: the time, the network, what is random, and what is known to be
//! true.

use std::time::Duration;

use herenow_core::Instant;

use crate::chance::Chance;
use crate::history::History;
use crate::network::{Down, LinkId, Network, Up};
use crate::plan::Plan;

/// See the module.
pub struct Stage {
    pub now: Instant,
    pub plan: Plan,
    pub chance: Chance,
    pub network: Network,
    pub history: History,
    pub tally: Tally,
    pub bug: Option<Bug>,
    pub weather: Weather,
    /// Links that clients have opened and no loop looks after yet.
    pub opened: Vec<LinkId>,
    /// The most bytes that one flush has had.
    pub largest_flush: usize,
    trace: Trace,
}

/// Whether anything goes wrong by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weather {
    Rough,
    Calm,
}

/// A deliberate mistake, made where the loops carry out what the core says. Each must be found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// Who waits for a snapshot is told deltas before it.
    DeltasBeforeSnapshot,
    /// What a slow subscriber did not get is never made good.
    LagForgotten,
    /// An entry that should leave sometimes stays.
    LeaveSkipped,
    /// Mail between two loops is not taken in the order in which it was sent.
    MailReordered,
    /// Any snapshot is taken for the answer to any wish.
    AnyAnswerWillDo,
    /// Who has taken a session over is told what the one before it has asked.
    AnyDecisionWillDo,
    /// Clients are not told that a map is lost.
    ResyncUntold,
    /// A paused server counts the pause as its clients' silence.
    PauseNotForgiven,
    /// Leases are looked over every few seconds only.
    LeasesSeldomLookedOver,
    /// A slow reader's outbox grows without a bound.
    OutboxUnbounded,
}

/// Whether what happens is written down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trace {
    Printed,
    Silent,
}

/// How often what is rare has happened, so that nobody takes an empty run for a proof.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Tally {
    pub frames: u64,
    pub snapshots: u64,
    pub lags: u64,
    pub timeouts: u64,
    pub resyncs: u64,
    pub faults: u64,
    pub resumes: u64,
    pub losses: u64,
    pub revocations: u64,
    pub choked_turns: u64,
    pub late_decisions: u64,
    /// Of every frame that was read, in order.
    pub digest: u64,
}

impl Tally {
    pub fn add(&mut self, other: Tally) {
        self.frames += other.frames;
        self.snapshots += other.snapshots;
        self.lags += other.lags;
        self.timeouts += other.timeouts;
        self.resyncs += other.resyncs;
        self.faults += other.faults;
        self.resumes += other.resumes;
        self.losses += other.losses;
        self.revocations += other.revocations;
        self.choked_turns += other.choked_turns;
        self.late_decisions += other.late_decisions;
    }

    pub fn digest(&mut self, text: &str) {
        for byte in text.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub fn misses_nothing(&self) -> bool {
        let Tally { lags, timeouts, resyncs, faults, resumes, losses, .. } = *self;
        let waits = [self.choked_turns, self.late_decisions, self.revocations];
        [lags, timeouts, resyncs, faults, resumes, losses].iter().chain(&waits).all(|n| *n > 0)
    }
}

impl Stage {
    pub fn new(seed: u64, bug: Option<Bug>, trace: Trace) -> Self {
        let mut chance = Chance::new(seed);
        let plan = Plan::draw(&mut chance);
        Self {
            now: Instant::from_millis(1),
            plan,
            chance,
            network: Network::default(),
            history: History::default(),
            tally: Tally::default(),
            bug,
            weather: Weather::Rough,
            opened: Vec::new(),
            largest_flush: 0,
            trace,
        }
    }

    /// When something sent now arrives.
    pub fn arrival(&mut self) -> Instant {
        let delay_us = self.chance.between(50, self.plan.longest_delay_us);
        self.now + Duration::from_micros(delay_us)
    }

    pub fn send_up(&mut self, link: LinkId, what: Up) {
        let at = self.arrival();
        self.network.link(link).up.send(what, at);
    }

    pub fn send_down(&mut self, link: LinkId, what: Down) {
        let at = self.arrival();
        self.network.link(link).down.send(what, at);
    }

    /// So many seconds at most, from now.
    pub fn within_ms(&mut self, from_ms: u64, to_ms: u64) -> Instant {
        self.now + Duration::from_millis(self.chance.between(from_ms, to_ms))
    }

    pub fn note(&self, what: impl FnOnce() -> String) {
        if self.trace == Trace::Printed {
            println!("{:>12.6} {}", self.now.as_micros() as f64 / 1e6, what());
        }
    }
}
