//! What may go wrong, and what applications do meanwhile.

use std::time::Duration;

use herenow_client::machine::{Input, Status};
use herenow_core::Instant;
use herenow_wire::{ChannelName, State};

use crate::client::Client;
use crate::expiring;
use crate::plan::pick;
use crate::server::Server;
use crate::world::World;

/// The longest silence between two things that happen, in most cases.
const SHORT_MS: u64 = 1_500;
/// The same in the few other cases: long enough for channels to fall asleep.
const LONG_MS: u64 = 20_000;

impl World {
    pub(crate) fn storm(&mut self) {
        for _ in 0..self.stage.plan.things_that_happen {
            let longest_ms = if self.stage.chance.one_in(20) { LONG_MS } else { SHORT_MS };
            let pause_ms = self.stage.chance.below(longest_ms);
            self.advance(self.stage.now + Duration::from_millis(pause_ms));
            match self.stage.chance.below(100) {
                0..57 => self.application_acts(),
                57..60 => self.everybody_acts(),
                60..75 => self.page_suffers(),
                75..93 => self.link_suffers(),
                _ => self.server_suffers(),
            }
        }
    }

    fn application_acts(&mut self) {
        let channel = pick(&mut self.stage.chance, &self.stage.plan.channels).clone();
        let who = self.stage.chance.index(self.clients.len());
        let (client, stage) = (&mut self.clients[who], &mut self.stage);
        let Some(token) = client.token.clone() else { return client.count_anew(stage) };
        match stage.chance.below(20) {
            0..4 => client.listen(channel, stage),
            4..6 => client.unlisten(channel, stage),
            6..8 => client.untrack(channel, stage),
            8 => client.tell(Input::Token(token.into()), stage),
            9 => client.say(say("presence_sync", &channel), stage),
            12 => {
                // More than a turn reads, and replies that fill a small send queue.
                let reference = "r".repeat(64);
                for _ in 0..stage.chance.between(10, 150) {
                    client.say(say("presence_sync", &channel), stage);
                    client.say(format!(r#"{{"type":"ping","ref":"{reference}"}}"#), stage);
                }
            }
            // Twice, where it has subscribed: what nobody wants, no machine would subscribe to.
            10 if client.wants(&channel) => client.say(say("subscribe", &channel), stage),
            11 => {
                for _ in 0..stage.chance.between(5, 90) {
                    let state = any_state(stage.chance.draw(), stage.now);
                    client.track(channel.clone(), state, stage);
                }
            }
            _ => {
                let state = any_state(stage.chance.draw(), stage.now);
                client.track(channel, state, stage);
            }
        }
    }

    /// All of them come to a channel, go from it and show something there, at once and again.
    fn everybody_acts(&mut self) {
        let channel = pick(&mut self.stage.chance, &self.stage.plan.channels).clone();
        let stage = &mut self.stage;
        for _ in 0..stage.chance.between(2, 8) {
            for client in self.clients.iter_mut().filter(|client| client.token.is_some()) {
                match stage.chance.below(3) {
                    0 => client.unlisten(channel.clone(), stage),
                    1 => client.listen(channel.clone(), stage),
                    _ => {
                        let state = any_state(stage.chance.draw(), stage.now);
                        client.track(channel.clone(), state, stage);
                    }
                }
            }
        }
    }

    fn page_suffers(&mut self) {
        let who = self.stage.chance.index(self.clients.len());
        let (client, stage) = (&mut self.clients[who], &mut self.stage);
        let ttl_ms = stage.plan.ttl.as_millis() as u64;
        stage.note(|| format!("the page of client {who} suffers"));
        match stage.chance.below(8) {
            0 => client.asleep_until = stage.within_ms(100, 2 * ttl_ms),
            1 => client.deaf_until = stage.within_ms(100, 2 * ttl_ms),
            2 => client.timeless_until = stage.within_ms(100, 4 * ttl_ms),
            3 => client.crash(stage),
            4 if client.machine.status() == Status::Connected => client.stop(stage),
            4 => client.tell(Input::Start, stage),
            5 => {
                // The rules are asked for all that it was granted, and it is gone before they say.
                if let Some(token) = client.token.clone() {
                    client.tell(Input::Token(token.into()), stage);
                }
                client.reload(stage);
            }
            _ => client.reload(stage),
        }
    }

    fn link_suffers(&mut self) {
        let who = self.stage.chance.index(self.clients.len());
        let stage = &mut self.stage;
        let Some(link) = self.clients[who].link() else { return };
        let what = stage.chance.below(8);
        stage.note(|| format!("the link of client {who} suffers ({what})"));
        let (at, until) = (stage.arrival(), stage.within_ms(100, 15_000));
        let link = stage.network.link(link);
        match what {
            0..3 => link.cut(at),
            3 => link.swallow(),
            4 => link.swallow_up(),
            5 => link.down.swallow(),
            6 => link.stall_up(until),
            _ => link.down.stall(until),
        }
    }

    fn server_suffers(&mut self) {
        let node = match self.servers.len() {
            1 => 0,
            count => self.stage.chance.index(count),
        };
        let channel = pick(&mut self.stage.chance, &self.stage.plan.channels).clone();
        let stage = &mut self.stage;
        let longest_ms = 2 * stage.plan.ttl.as_millis() as u64;
        let what = stage.chance.below(14);
        stage.note(|| format!("server {node} suffers ({what})"));
        match what {
            0..4 if self.cluster.is_some() => self.cluster_suffers(node),
            0..5 => self.with_server(node, |server, _| server.break_shard(&channel)),
            5..7 => {
                let at = stage.chance.index(usize::from(stage.plan.loops));
                let until = stage.within_ms(50, longest_ms);
                self.with_server(node, |server, stage| server.pause(at, until, stage.now));
            }
            7..9 => {
                let until = stage.within_ms(50, longest_ms);
                self.pause(node, until);
            }
            9..11 => {
                if stage.chance.one_in(2) {
                    stage.plan.shut_out_users = 2;
                }
                if stage.chance.one_in(2) {
                    stage.plan.draw_own(&mut stage.chance);
                    stage.tally.settings_changed += 1;
                }
                for node in 0..self.servers.len() {
                    self.with_server(node, Server::reload);
                }
                self.clients.iter_mut().for_each(Client::meet_new_rules);
            }
            _ if stage.chance.one_in(2) => {
                self.kill(node);
                self.start(node);
            }
            _ => self.restart(node),
        }
    }

    /// What only happens where there are several nodes.
    fn cluster_suffers(&mut self, node: usize) {
        let stage = &mut self.stage;
        let what = stage.chance.below(10);
        let until = stage.within_ms(200, 9_000);
        stage.note(|| format!("the cluster suffers ({what})"));
        match what {
            0 | 1 if self.servers[node].is_some() => {
                let again = stage.within_ms(0, 20_000);
                self.kill(node);
                self.restarts.push((again, node));
            }
            2 => {
                let until = stage.within_ms(4_000, 90_000);
                self.pause(node, until);
            }
            8 | 9 => self.begin_stop(node),
            what => {
                let Some(cluster) = &mut self.cluster else { return };
                match what {
                    3 => cluster.cut(node, until, (true, false)),
                    4 => cluster.cut(node, until, (false, true)),
                    5 => cluster.cut(node, until, (true, true)),
                    6 => cluster.bucket_suffers(stage),
                    _ => cluster.stop_engine(until),
                }
            }
        }
    }

    /// The whole process of a node stands still.
    fn pause(&mut self, node: usize, until: Instant) {
        self.with_server(node, |server, stage| server.pause_all(until, stage.now));
        if let Some(cluster) = &mut self.cluster {
            cluster.pause(node, until);
        }
    }
}

fn say(kind: &str, channel: &ChannelName) -> String {
    format!(r#"{{"type":"{kind}","channel":"{channel}"}}"#)
}

/// A state of up to some 300 bytes. Few enough that the same comes twice.
/// Some have a field that ends.
fn any_state(drawn: u64, now: Instant) -> State {
    let padding = "x".repeat((drawn % 4) as usize * 100);
    let ending = if (drawn / 40).is_multiple_of(4) {
        expiring::ending(drawn / 160, now)
    } else {
        String::new()
    };
    let json = format!(r#"{{"n":{},"x":"{padding}"{ending}}}"#, drawn / 4 % 10);
    State::parse(&json).expect("a small object")
}
