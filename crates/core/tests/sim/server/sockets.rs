//! Simulated sockets coming, being read, and going.

use herenow_core::{Input, Instant, Session};
use herenow_wire::{CloseCode, ConnectionId, DefaultChannel, decode};

use super::event_loop::{Connection, Loop, Phase};
use super::outbox::Outbox;
use crate::network::{Down, LinkId, Up};
use crate::stage::Stage;

/// What is read from one socket in one turn.
const READS_PER_TURN: usize = 32;

impl Loop {
    /// Takes in what has come on every socket.
    pub(super) fn read_sockets(&mut self, stage: &mut Stage) {
        if self.is_choked() {
            return;
        }
        for link in std::mem::take(&mut self.opening) {
            match stage.network.link(link).up.receive(stage.now) {
                Some((_, Up::Open)) => self.adopt(link, stage),
                Some(_) => {}
                None => self.opening.push(link),
            }
        }
        for slot in self.slots() {
            for _ in 0..READS_PER_TURN {
                let max_bytes = stage.plan.outbox_bytes;
                let Some(connection) = self.connection(slot) else { break };
                if connection.phase == Phase::Dead || connection.is_stuffed(max_bytes) {
                    break;
                }
                let link = connection.link;
                let Some((came_at, what)) = stage.network.link(link).up.receive(stage.now) else {
                    break;
                };
                self.receive(slot, came_at, what, stage);
            }
        }
    }

    fn adopt(&mut self, link: LinkId, stage: &mut Stage) {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&stage.chance.draw().to_le_bytes());
        bytes[8..].copy_from_slice(&stage.chance.draw().to_le_bytes());
        let session = Session::new(ConnectionId::from_bytes(bytes), &stage.plan.limits, stage.now);
        let slot = self.insert(Connection {
            link,
            session,
            outbox: Outbox::default(),
            replies: Vec::new(),
            phase: Phase::Open,
            is_soon: false,
            heard_at: stage.now,
            came_at: stage.now,
        });
        self.leases.open(slot, stage.now);
        self.leases.set_deadline(slot, stage.now + stage.plan.limits.auth_timeout);
        stage.send_down(link, Down::Opened);
    }

    fn receive(&mut self, slot: u32, came_at: Instant, what: Up, stage: &mut Stage) {
        let Some(connection) = self.connection(slot) else { return };
        match what {
            Up::Taken(bytes) => {
                let link = stage.network.link(connection.link);
                link.untaken_bytes -= bytes;
                return self.drain(slot, stage);
            }
            Up::End => return self.socket_ended(slot, stage),
            _ if !connection.is_open() => return,
            _ => {}
        }
        connection.heard_at = stage.now;
        connection.came_at = came_at;
        self.leases.renew(slot, stage.now);
        self.tell_session(slot, Input::Frame, stage);
        match what {
            Up::Text(text) => self.text(slot, &text, stage),
            Up::Close(code) => self.close_came(slot, code, stage),
            _ => {}
        }
    }

    fn close_came(&mut self, slot: u32, code: u16, stage: &mut Stage) {
        if code == CloseCode::GoingAway.number() {
            self.break_off(slot, stage);
        } else {
            self.tell_session(slot, Input::Broken, stage);
        }
        self.mark_dead(slot);
    }

    pub(super) fn socket_ended(&mut self, slot: u32, stage: &mut Stage) {
        self.break_off(slot, stage);
        self.mark_dead(slot);
    }

    fn text(&mut self, slot: u32, text: &str, stage: &mut Stage) {
        let mut decoded = Vec::new();
        decode(text, &DefaultChannel::None, &mut decoded);
        for message in decoded {
            let input = match message {
                Ok(incoming) => Input::Message(incoming),
                Err(refusal) => Input::Refused(refusal),
            };
            self.tell_session(slot, input, stage);
        }
    }
}
