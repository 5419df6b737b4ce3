//! How a node of several ends when it is told to, as by SIGTERM: its shards go to other nodes, then its clients do,
//! then it leaves the view. Everything else goes on meanwhile, and a new process may come to its site.

use std::time::Duration;

use herenow_core::Instant;

use crate::server::Server;
use crate::stage::Weather;
use crate::world::World;

/// A process that was told to end.
pub struct Stop {
    node: usize,
    /// Which of the processes of its site.
    life: u64,
    pub at: Instant,
    next: Step,
}

/// What it does next.
enum Step {
    SendClientsAway,
    ShutDown,
    Leave,
    End { until: Instant },
}

/// The longest that each step may take, in ms.
const LONGEST_DRAIN_MS: u64 = 1_000;
const LONGEST_LEAVE: Duration = Duration::from_secs(1);
const LONGEST_CLOSING_MS: u64 = 3_000;
/// How often a step that takes its time is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The longest that nobody is at its site, in ms.
const LONGEST_ABSENCE_MS: u64 = 10_000;

impl World {
    /// The process at a node is told to end, unless it was before.
    pub(crate) fn begin_stop(&mut self, node: usize) {
        let Some(cluster) = &mut self.cluster else { return };
        let Some(server) = &mut self.servers[node] else { return };
        let life = cluster.life(node);
        if self.stops.iter().any(|stop| (stop.node, stop.life) == (node, life)) {
            return;
        }
        self.stage.note(|| format!("node {node} is told to end"));
        server.refuse_clients();
        cluster.drain(node, server, &mut self.stage);
        let at = self.stage.within_ms(0, LONGEST_DRAIN_MS);
        self.stops.push(Stop { node, life, at, next: Step::SendClientsAway });
    }

    /// What is due of those that were told to end.
    pub(crate) fn go_on_stopping(&mut self) {
        let now = self.stage.now;
        for stop in self.stops.extract_if(.., |stop| stop.at <= now).collect::<Vec<_>>() {
            if let Some(stop) = self.next_step_of(stop) {
                self.stops.push(stop);
            }
        }
    }

    fn next_step_of(&mut self, mut stop: Stop) -> Option<Stop> {
        let (node, now) = (stop.node, self.stage.now);
        let (Some(cluster), Some(server)) = (&mut self.cluster, &mut self.servers[node]) else {
            return None;
        };
        if cluster.life(node) != stop.life {
            return None;
        }
        let paused_until = cluster.paused_until(node);
        if paused_until > now {
            return Some(Stop { at: paused_until, ..stop });
        }
        match stop.next {
            Step::SendClientsAway => {
                let over = Duration::from_millis(self.stage.chance.below(LONGEST_CLOSING_MS));
                server.drain(over, &mut self.stage);
                (stop.at, stop.next) = (now + over, Step::ShutDown);
            }
            Step::ShutDown => {
                server.shut_down(&mut self.stage);
                (stop.at, stop.next) = (now + LOOK_EVERY, Step::Leave);
            }
            Step::Leave if !server.has_ended(&self.stage) => stop.at = now + LOOK_EVERY,
            Step::Leave => {
                cluster.leave(node, server, &mut self.stage);
                stop.at = now + LOOK_EVERY;
                stop.next = Step::End { until: now + LONGEST_LEAVE };
            }
            Step::End { until } if now < until && !cluster.has_left(node) => {
                stop.at = now + LOOK_EVERY;
            }
            Step::End { .. } => {
                self.end(node);
                return None;
            }
        }
        Some(stop)
    }

    fn end(&mut self, node: usize) {
        let has_left = self.cluster.as_ref().is_some_and(|cluster| cluster.has_left(node));
        self.stage.note(|| format!("node {node} has ended, in order: {has_left}"));
        self.stage.tally.left += u64::from(has_left);
        self.kill(node);
        if self.stage.weather == Weather::Calm {
            self.start(node);
            self.be_patient_with_nodes();
        } else {
            let again = self.stage.within_ms(0, LONGEST_ABSENCE_MS);
            self.restarts.push((again, node));
        }
    }

    /// A server alone is told to end, and another one takes its place when it has.
    pub(crate) fn restart(&mut self, node: usize) {
        if self.cluster.is_some() {
            return self.begin_stop(node);
        }
        self.with_server(node, Server::shut_down);
        let has_ended = |world: &Self| {
            world.servers[node].as_ref().is_none_or(|one| one.has_ended(&world.stage))
        };
        while !has_ended(self) {
            self.advance(self.stage.now + Duration::from_millis(100));
        }
        self.kill(node);
        self.start(node);
    }
}
