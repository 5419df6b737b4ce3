//! The clients of one run: who connects, what they say, and until when to wait.
//!
//! Knows how a member greets the server and how its updates are paced. Refuses to know
//! what is measured: the ledger keeps the books, a scenario decides what they mean.

use std::time::Duration;

use crate::driver::{Arrival, Driver, Nanos, Sink};
use crate::frames;
use crate::inbound::Event;
use crate::ledger::{Ledger, Shape};
use crate::messages::{self, Writer};

/// What a connection says as soon as it is upgraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// It says nothing before it is told to.
    Wait,
    /// It signs in and says no more.
    SignIn,
    /// It signs in, subscribes to its channel and, where it is a member, tracks.
    TakePart,
}

/// How often a wait looks at its condition when nothing arrives.
const GLANCE: Duration = Duration::from_millis(5);

/// See the module.
pub struct Crowd {
    pub ledger: Ledger,
    greeting: Greeting,
    opened: u64,
    signed_in: u64,
    tokens: Vec<String>,
    channels: Vec<String>,
    writer: Writer,
    out: Vec<u8>,
}

impl Crowd {
    pub fn new(shape: Shape, greeting: Greeting) -> Self {
        Self::in_channels_from(0, shape, greeting)
    }

    /// A second crowd on the same server needs channels of its own.
    pub fn in_channels_from(first: usize, shape: Shape, greeting: Greeting) -> Self {
        // Signed ahead of time, so that the driver's share of connecting stays small.
        let tokens = (0..shape.connections()).map(messages::token).collect();
        let channels = (first..first + shape.channels).map(messages::channel_name).collect();
        Self { channels, ..Self::with_tokens(shape, greeting, tokens) }
    }

    /// One that signs in with tokens of its own.
    pub fn with_tokens(shape: Shape, greeting: Greeting, tokens: Vec<String>) -> Self {
        Self {
            ledger: Ledger::new(shape),
            greeting,
            opened: 0,
            signed_in: 0,
            tokens,
            channels: (0..shape.channels).map(messages::channel_name).collect(),
            writer: Writer::default(),
            out: Vec::new(),
        }
    }

    pub fn channels(&self) -> &[String] {
        &self.channels
    }

    /// Connects everybody, at most `at_once` at a time, and waits until each is answered.
    pub fn connect(
        &mut self,
        driver: &mut Driver,
        at_once: usize,
        patience: Duration,
    ) -> Result<(), String> {
        let everybody = self.ledger.shape.connections() as u64;
        let answered = self.answered();
        let mut opened = 0;
        let deadline = driver.now() + patience.as_nanos() as Nanos;
        while self.answered() - answered < everybody {
            while opened < everybody && opened - (self.answered() - answered) < at_once as u64 {
                driver.open(opened as usize).map_err(|error| format!("cannot connect: {error}"))?;
                opened += 1;
            }
            self.poll(driver, GLANCE)?;
            if driver.now() > deadline || self.ledger.tally.errors + self.ledger.tally.closed > 0 {
                return Err(format!(
                    "{} of {everybody} connected: {}",
                    self.answered() - answered,
                    self.ledger.untruth().unwrap_or_default()
                ));
            }
        }
        Ok(())
    }

    /// One connection signs in.
    pub fn sign_in(&mut self, driver: &mut Driver, connection: usize) {
        self.out.clear();
        self.writer.auth(&mut self.out, &self.tokens[connection]);
        driver.send(connection, &self.out);
    }

    /// How many have signed in.
    pub fn signed_in(&self) -> u64 {
        self.signed_in
    }

    /// One connection subscribes and, where it is a member, tracks.
    pub fn take_part(&mut self, driver: &mut Driver, connection: usize) {
        self.out.clear();
        push_part(
            &mut self.writer,
            &mut self.out,
            Part::of(&self.ledger, &self.channels, connection),
        );
        driver.send(connection, &self.out);
    }

    /// One member replaces its state.
    pub fn update(&mut self, driver: &mut Driver, member: usize) {
        let number = self.ledger.next_state(member, driver.now());
        let channel = &self.channels[self.ledger.shape.channel_of(member)];
        self.out.clear();
        self.writer.track(&mut self.out, channel, (member, number));
        driver.send(member, &self.out);
    }

    /// One member leaves its channel and keeps its connection. Its next update brings it back.
    pub fn untrack(&mut self, driver: &mut Driver, member: usize) {
        self.ledger.leaves(member, driver.now());
        let channel = &self.channels[self.ledger.shape.channel_of(member)];
        self.out.clear();
        self.writer.untrack(&mut self.out, channel);
        driver.send(member, &self.out);
    }

    pub fn ping(&mut self, driver: &mut Driver, connection: usize) {
        self.out.clear();
        self.writer.ping(&mut self.out);
        driver.send(connection, &self.out);
    }

    /// Cuts a member's connection without a word and connects it anew.
    pub fn come_back(&mut self, driver: &mut Driver, member: usize) -> Result<(), String> {
        self.ledger.cut(member, driver.now());
        driver.reset(member);
        driver.open(member).map_err(|error| format!("cannot connect again: {error}"))
    }

    /// Hands over what arrives within `patience`.
    pub fn poll(&mut self, driver: &mut Driver, patience: Duration) -> Result<(), String> {
        driver.poll(patience, self).map_err(|error| format!("cannot poll: {error}"))
    }

    /// Waits until `condition` holds.
    pub fn wait(
        &mut self,
        driver: &mut Driver,
        patience: Duration,
        condition: impl Fn(&Self) -> bool,
    ) -> Result<(), String> {
        let deadline = driver.now() + patience.as_nanos() as Nanos;
        while !condition(self) {
            if driver.now() > deadline {
                let untruth = self.ledger.untruth().unwrap_or_default();
                return Err(format!("not settled in {patience:?}: {untruth}"));
            }
            self.poll(driver, GLANCE)?;
        }
        Ok(())
    }

    /// Lets `period` pass and does `act` at each tick of `pace`, never ahead of time and
    /// without leaving out any.
    pub fn pace(
        &mut self,
        driver: &mut Driver,
        pace: &mut Pace,
        mut act: impl FnMut(&mut Self, &mut Driver, usize) -> Result<(), String>,
    ) -> Result<(), String> {
        let began = driver.now();
        let end = began + pace.period.as_nanos() as Nanos;
        let mut done = 0_u64;
        loop {
            let now = driver.now();
            if now >= end {
                return Ok(());
            }
            let due = ((now - began) as f64 * pace.per_second / 1e9) as u64;
            // A driver that is late catches up in pieces, so that it goes on reading.
            let now_due = due.saturating_sub(done).min(Pace::MOST_AT_ONCE);
            for _ in 0..now_due {
                act(self, driver, pace.next)?;
                pace.next += 1;
            }
            done += now_due;
            let next_at = began + ((done + 1) as f64 * 1e9 / pace.per_second) as Nanos;
            let patience = next_at.min(end).saturating_sub(driver.now());
            self.poll(driver, Duration::from_nanos(patience))?;
        }
    }

    fn answered(&self) -> u64 {
        match self.greeting {
            Greeting::Wait => self.opened,
            Greeting::SignIn => self.signed_in,
            Greeting::TakePart => self.ledger.tally.ready,
        }
    }
}

/// How often something is done, and for how long.
pub struct Pace {
    pub per_second: f64,
    pub period: Duration,
    /// Counts on from one pace to the next, so that members take turns throughout.
    pub next: usize,
}

impl Pace {
    const MOST_AT_ONCE: u64 = 256;

    pub fn new(per_second: f64) -> Self {
        Self { per_second, period: Duration::ZERO, next: 0 }
    }

    pub fn lasting(&mut self, period: Duration) -> &mut Self {
        self.period = period;
        self
    }
}

impl Sink for Crowd {
    fn arrived(&mut self, arrival: Arrival<'_>, reply: &mut Vec<u8>) {
        match arrival.event {
            Event::Opened if self.greeting == Greeting::Wait => self.opened += 1,
            Event::Opened => {
                self.writer.auth(reply, &self.tokens[arrival.connection]);
                if self.greeting == Greeting::TakePart {
                    let part = Part::of(&self.ledger, &self.channels, arrival.connection);
                    push_part(&mut self.writer, reply, part);
                }
            }
            Event::Authenticated => self.signed_in += 1,
            Event::Ping(payload) => frames::push_masked(reply, frames::PONG, payload),
            _ => {}
        }
        self.ledger.enter(&arrival);
    }
}

/// What a connection does in its channel.
struct Part<'a> {
    channel: &'a str,
    tracks: Option<(usize, u32)>,
}

impl<'a> Part<'a> {
    fn of(ledger: &Ledger, channels: &'a [String], connection: usize) -> Self {
        let shape = ledger.shape;
        let tracks = shape.is_member(connection).then(|| (connection, ledger.sent(connection)));
        Self { channel: &channels[shape.channel_of(connection)], tracks }
    }
}

fn push_part(writer: &mut Writer, out: &mut Vec<u8>, part: Part) {
    writer.subscribe(out, part.channel);
    if let Some(state) = part.tracks {
        writer.track(out, part.channel, state);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, SocketAddrV4};

    use super::*;
    use crate::driver::Endpoint;
    use crate::floor::{Floor, Writing};

    const PATIENCE: Duration = Duration::from_secs(10);

    fn floor(writing: Writing) -> SocketAddrV4 {
        let floor = Floor::listen(0, writing).expect("a free port");
        let SocketAddr::V4(address) = floor.address().expect("a bound listener") else {
            panic!("the floor listens at an IPv4 address");
        };
        std::thread::spawn(|| floor.run());
        address
    }

    #[test]
    fn every_update_reaches_everybody_however_the_floor_writes() {
        for writing in [Writing::Each, Writing::Turn, Writing::Delay { ms: 2 }] {
            let shape = Shape { channels: 3, members: 4, observers: 2 };
            let mut driver = Driver::new(Endpoint::Tcp(floor(writing))).expect("a driver");
            let mut crowd = Crowd::new(shape, Greeting::TakePart);
            crowd.connect(&mut driver, 5, PATIENCE).expect("all connect");
            crowd.ledger.record();
            for turn in 0..60 {
                crowd.update(&mut driver, shape.tracker(turn));
            }
            crowd
                .wait(&mut driver, PATIENCE, |crowd| crowd.ledger.all_is_read())
                .expect("all read");
            let tally = crowd.ledger.tally;
            assert_eq!((tally.seen, tally.covered), (60 * 6, 60 * 6), "{writing}");
            assert_eq!(tally.errors + tally.closed + tally.backwards, 0);
            assert!(!crowd.ledger.latency.is_empty());
        }
    }

    #[test]
    fn a_paused_connection_is_all_that_misses_an_update_until_it_resumes() {
        let shape = Shape::of_members(1, 3);
        let mut driver = Driver::new(Endpoint::Tcp(floor(Writing::Each))).expect("a driver");
        let mut crowd = Crowd::new(shape, Greeting::TakePart);
        crowd.connect(&mut driver, 3, PATIENCE).expect("all connect");
        driver.pause(2).expect("a connection");
        crowd.update(&mut driver, 0);
        let others_read = |crowd: &Crowd| (0..2).all(|it| crowd.ledger.unread(it).is_none());
        crowd.wait(&mut driver, PATIENCE, others_read).expect("the others read it");
        assert!(crowd.ledger.unread(2).is_some());
        driver.resume(2).expect("a connection");
        crowd.wait(&mut driver, PATIENCE, |crowd| crowd.ledger.all_is_read()).expect("all read");
    }
}
