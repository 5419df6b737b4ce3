//! Faults that are caused on purpose, so that tests can show on the real binary what becomes of
//! them. Not a setting: only a hidden flag of the command line asks for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use herenow_wire::ChannelName;

/// See the module. Empty in every server that is meant to serve.
#[derive(Clone, Debug, Default)]
pub struct Rehearsals {
    faults: Vec<Rehearsal>,
    /// Shared by all clones.
    has_stalled: Arc<AtomicBool>,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rehearsal {
    /// An event loop panics when a rule is asked about this channel.
    LoopFault(ChannelName),
    /// An event loop stands still for this long when a rule is first asked about this channel.
    LoopStall(ChannelName, Duration),
    /// A thread panics on which a rule has just decided about this channel.
    RuleThreadFault(ChannelName),
    /// The thread that serves HTTP hangs as soon as the server should stop.
    StopHangs,
}

impl Rehearsal {
    /// Reads `loop-fault=CHANNEL`, `loop-stall=MS=CHANNEL`, `rule-thread-fault=CHANNEL` or
    /// `stop-hangs`.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once('=').unwrap_or((text, ""));
        let channel = |text: &str| ChannelName::parse(text).ok();
        match kind {
            "loop-fault" => channel(rest).map(Self::LoopFault),
            "loop-stall" => {
                let (ms, name) = rest.split_once('=')?;
                Some(Self::LoopStall(channel(name)?, Duration::from_millis(ms.parse().ok()?)))
            }
            "rule-thread-fault" => channel(rest).map(Self::RuleThreadFault),
            "stop-hangs" => Some(Self::StopHangs),
            _ => None,
        }
    }
}

impl PartialEq for Rehearsals {
    fn eq(&self, other: &Self) -> bool {
        self.faults == other.faults
    }
}

impl Eq for Rehearsals {}

impl FromIterator<Rehearsal> for Rehearsals {
    fn from_iter<T: IntoIterator<Item = Rehearsal>>(rehearsals: T) -> Self {
        Self { faults: rehearsals.into_iter().collect(), has_stalled: Arc::default() }
    }
}

impl Rehearsals {
    pub(crate) fn rehearse_loop(&self, channel: &ChannelName) {
        for rehearsal in &self.faults {
            match rehearsal {
                Rehearsal::LoopFault(on) if on == channel => {
                    panic!("a fault of an event loop was asked for")
                }
                Rehearsal::LoopStall(on, time) if on == channel => self.stall(*time),
                _ => {}
            }
        }
    }

    /// Once in a process: what is asked after the stall, as by a reload, does not wait again.
    fn stall(&self, time: Duration) {
        if !self.has_stalled.swap(true, Ordering::Relaxed) {
            // A test waits for this line before it does what should happen during the stall.
            tracing::warn!("an event loop stands still, as a rehearsal asks");
            std::thread::sleep(time);
        }
    }

    pub(crate) fn rehearse_rule_thread(&self, channel: &ChannelName) {
        let mut rehearsals = self.faults.iter();
        let is_faulty =
            |r: &Rehearsal| matches!(r, Rehearsal::RuleThreadFault(on) if on == channel);
        assert!(!rehearsals.any(is_faulty), "a fault of a rule thread was asked for");
    }

    pub(crate) fn rehearse_stop(&self) {
        while self.faults.contains(&Rehearsal::StopHangs) {
            std::thread::park();
        }
    }
}
