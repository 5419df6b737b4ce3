//! A machine with a clock and a die that the test holds.

use std::time::Instant;

use herenow_client::machine::{Input, Machine, Moment, Output};
use herenow_wire::ChannelName;

/// See the module. Each test program adds how it signs in.
pub struct Bench {
    pub machine: Machine,
    pub now: Instant,
}

impl Bench {
    /// Of a user with a token, not started.
    pub fn new() -> Self {
        Self { machine: Machine::new(Some("t0ken".into())), now: Instant::now() }
    }

    pub fn input(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.machine.handle(input, Moment { now: self.now, random: 0.5 }, &mut out);
        out
    }

    pub fn text(&mut self, text: &str) -> Vec<Output> {
        self.input(Input::Text(text.into()))
    }
}

pub fn a() -> ChannelName {
    ChannelName::parse("presence:a").expect("a good name")
}

pub fn send(text: &str) -> Output {
    Output::Send(text.into())
}
