//! One simulated server: loops that carry out what the core says, with links for sockets and mail
//! between them. The code follows the real loops verb by verb, so that what is proved here of their
//! order of doing things is worth something there.

mod deliver;
mod event_loop;
mod outbox;
mod recovery;
mod resume;
mod sessions;
mod shards;
mod sockets;

use herenow_core::Instant;
use herenow_wire::ChannelName;

use self::event_loop::Loop;
use crate::network::LinkId;
use crate::stage::Stage;

/// See the module.
pub struct Server {
    loops: Vec<Loop>,
}

impl Server {
    /// A server that has just started, at a moment that is the base of its epochs.
    pub fn start(stage: &Stage) -> Self {
        // As the real one: seconds times 2^20, the part of a second in the low bits, since a server
        // may start twice within one.
        let epoch_base = ((1_000_000 + stage.now.as_millis()) << 20) / 1_000;
        let loops = (0..stage.plan.loops).map(|index| Loop::new(index, epoch_base, stage));
        Self { loops: loops.collect() }
    }

    /// A socket that some loop is to look after.
    pub fn watch(&mut self, link: LinkId, stage: &mut Stage) {
        let at = stage.chance.index(self.loops.len());
        self.loops[at].watch(link);
    }

    /// When which loop turns next.
    pub fn next_turn(&self, stage: &mut Stage) -> (Instant, usize) {
        let turns = self.loops.iter().enumerate().map(|(at, one)| (one.next_turn(stage), at));
        turns.min().expect("there is at least one loop")
    }

    /// One turn of one loop, and its mail to the others.
    pub fn turn(&mut self, at: usize, stage: &mut Stage) {
        self.loops[at].turn(stage);
        self.send_mail(at, stage);
        if !self.loops[at].is_choked() {
            self.loops[at].hand_over();
            self.send_mail(at, stage);
        }
        if self.loops[at].is_choked() {
            stage.tally.choked_turns += 1;
        }
    }

    fn send_mail(&mut self, from: usize, stage: &mut Stage) {
        for to in 0..self.loops.len() {
            let batch = std::mem::take(&mut self.loops[from].outgoing[to]);
            let unsent = self.loops[to].push_mail(batch, stage);
            self.loops[from].outgoing[to] = unsent;
        }
    }

    /// All links are reset, as by `kill -9`.
    pub fn kill(&mut self, stage: &mut Stage) {
        for one in &mut self.loops {
            for link in one.links() {
                let at = stage.arrival();
                stage.network.link(link).cut(at);
            }
        }
        stage.history.forget(|_| true);
    }

    /// One loop is held up, as by the system's scheduler.
    pub fn pause(&mut self, at: usize, until: Instant, now: Instant) {
        let count = self.loops.len();
        self.loops[at % count].pause(until, now);
    }

    /// The whole process is stopped for a while, as by `SIGSTOP`.
    pub fn pause_all(&mut self, until: Instant, now: Instant) {
        for one in &mut self.loops {
            one.pause(until, now);
        }
    }

    /// The next call to the shard of this channel ends in a fault.
    pub fn break_shard(&mut self, channel: &ChannelName) {
        let home = usize::from(channel.shard()) % self.loops.len();
        self.loops[home].shards.faulty = Some(channel.shard());
    }

    /// The rules were replaced by equal ones.
    pub fn reload(&mut self) {
        for one in &mut self.loops {
            one.reload();
        }
    }

    /// Nobody is there any more, and nothing is left of anybody.
    pub fn is_drained(&self) {
        for one in &self.loops {
            one.is_drained();
        }
    }
}
