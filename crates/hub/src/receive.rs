//! Sockets coming, what is read from them, and their going.

use herenow_core::{Heard, Input, Session};
use herenow_wire::frame::{Chunk, Inbound, Opcode, write_header, write_pong};
use herenow_wire::{CloseCode, ConnectionId, DefaultChannel};

use crate::api::{End, Io, Opening};
use crate::connection::{Connection, Phase};
use crate::history::SocketEnd;
use crate::hub::Hub;
use crate::reading::{
    Flow, READ_BYTES, Share, Stopped, TurnBudget, UNAUTHENTICATED_READ_BYTES, read_frames,
};
use crate::send_queue::Broken;
use crate::work::Work;

impl<I: Io> Work<'_, I> {
    /// Takes over a socket.
    pub(crate) fn open(&mut self, slot: u32, id: ConnectionId, opening: Opening) {
        if let Opening::Client { origin, .. } = &opening {
            self.note_opened(slot, origin.as_deref());
        }
        let hub = &mut *self.hub;
        hub.leases.open(slot, self.now);
        let (session, default_channel) = match opening {
            Opening::Client { default_channel, .. } => {
                hub.leases.set_deadline(slot, self.now + hub.config.limits.auth_timeout);
                (Session::new(id, &hub.config.limits, self.now), default_channel)
            }
            Opening::Watch { channel } => {
                (Session::watching(id, channel, &mut hub.effects), DefaultChannel::None)
            }
        };
        hub.connections.insert(slot, Connection::new(session, default_channel));
        hub.counters.connections_accepted += 1;
        self.apply_session_effects(slot);
        self.apply_shard_effects();
        if self.hub.shutdown_deadline.is_some() || self.hub.draining.is_some() {
            self.close(slot, CloseCode::Restart, "");
        }
    }

    /// Takes in what was read from a socket, as far as its share of the turn goes. What is over
    /// waits for the turns to come.
    pub(crate) fn receive(&mut self, slot: u32, bytes: &mut [u8]) {
        self.hub.counters.bytes_in += bytes.len();
        if let Some(connection) = self.hub.connections.get_mut(slot)
            && connection.reader.has_unread()
        {
            // It comes after what was read before: the shell did not ask `Hub::read_limit`.
            let mut all = connection.reader.take_unread();
            all.extend_from_slice(bytes);
            return connection.reader.keep_unread(&Chunk::new(&mut all));
        }
        let mut share = self.hub.budget.share();
        let stopped = self.read(slot, &mut Chunk::new(bytes), &mut share);
        self.hub.budget.charge(&share, bytes.len());
        self.note_unread(slot, stopped);
    }

    /// Goes on with what was read in earlier turns. Half of a turn is kept for what sockets bring:
    /// a peer that has much waiting does not keep the others from being heard.
    pub(crate) fn continue_reading(&mut self) {
        if self.hub.is_backpressured() {
            return;
        }
        let mut budget = TurnBudget::half_turn();
        for _ in 0..self.hub.unread.len() {
            let Some(slot) = self.hub.unread.pop_front() else { break };
            let Some(connection) = self.hub.connections.get_mut(slot) else { continue };
            connection.is_unread = false;
            let mut bytes = connection.reader.take_unread();
            let mut share = budget.share();
            let stopped = self.read(slot, &mut Chunk::new(&mut bytes), &mut share);
            budget.charge(&share, 0);
            if stopped == Stopped::AtEnd {
                self.io.resume(slot);
            }
            self.note_unread(slot, stopped);
            if budget.is_spent() {
                break;
            }
        }
    }

    fn read(&mut self, slot: u32, chunk: &mut Chunk<'_>, share: &mut Share) -> Stopped {
        let flow = self.hub.flow(slot);
        let Some(connection) = self.hub.connections.get_mut(slot) else { return Stopped::Closed };
        if flow == Flow::Closed {
            return Stopped::Closed;
        }
        let max_message_bytes = connection.max_message_bytes(&self.hub.config);
        let mut reader = std::mem::take(&mut connection.reader);
        if flow == Flow::Backpressured {
            reader.keep_unread(chunk);
            connection.reader = reader;
            return Stopped::Early;
        }
        let stopped = read_frames((&mut reader, max_message_bytes), chunk, share, |inbound| {
            self.inbound(slot, inbound);
            self.hub.flow(slot)
        });
        match &stopped {
            Stopped::AtEnd | Stopped::Early => {
                if let Some(connection) = self.hub.connections.get_mut(slot) {
                    connection.reader = reader;
                }
            }
            Stopped::Closed => {}
            Stopped::Broken(error) => {
                self.hub.leases.renew(slot, Heard::Message, self.now);
                self.note_end(slot, SocketEnd::ServerClosed(error.close_code().number()));
                self.dispatch(slot, Input::Closed);
                self.close(slot, error.close_code(), &error.to_string());
            }
        }
        stopped
    }

    /// What was not looked at is gone on with in the next turn, unless the socket must take its
    /// replies first.
    fn note_unread(&mut self, slot: u32, stopped: Stopped) {
        let flow = self.hub.flow(slot);
        let Some(connection) = self.hub.connections.get_mut(slot) else { return };
        if flow == Flow::Backpressured {
            connection.is_paused = true;
        } else if stopped == Stopped::Early {
            connection.is_unread = true;
            self.hub.unread.push_back(slot);
        }
    }

    /// The socket has taken its replies: it is read again, what was read of it before first.
    pub(crate) fn resume_reading(&mut self, slot: u32) {
        let Some(connection) = self.hub.connections.get_mut(slot) else { return };
        if !std::mem::take(&mut connection.is_paused) {
            return;
        }
        if connection.reader.has_unread() {
            connection.is_unread = true;
            self.hub.unread.push_back(slot);
        } else {
            self.io.resume(slot);
        }
    }

    fn inbound(&mut self, slot: u32, inbound: Inbound<'_>) {
        self.hub.counters.frames_in += 1;
        self.hub.leases.renew(slot, heard(&inbound), self.now);
        self.dispatch_frame(slot);
        let Some(connection) = self.hub.connections.get_mut(slot) else { return };
        if !connection.is_open() {
            return;
        }
        match inbound {
            Inbound::Text(text) => self.text(slot, text),
            Inbound::Ping(payload) => {
                write_pong(self.hub.replies.to(slot, &mut connection.reply), payload);
            }
            Inbound::Pong | Inbound::Fragment => {}
            Inbound::Close(frame) => {
                // The same code goes back: a browser shows it to the page.
                let reply = self.hub.replies.to(slot, &mut connection.reply);
                match frame {
                    Some(frame) => {
                        write_header(reply, Opcode::Close, 2);
                        reply.extend_from_slice(&frame.code.to_be_bytes());
                    }
                    None => write_header(reply, Opcode::Close, 0),
                }
                let code = frame.as_ref().map_or(SocketEnd::NO_CODE, |frame| frame.code);
                self.note_end(slot, SocketEnd::ClientClosed(code));
                // A browser says "going away" for a page that is left or loaded again, and a script,
                // which may not use that code, says "page left": the next page may resume.
                const GOING_AWAY: u16 = CloseCode::GoingAway.number();
                const PAGE_LEFT: u16 = CloseCode::PageLeft.number();
                match code {
                    GOING_AWAY | PAGE_LEFT => self.socket_lost(slot, Input::PageLeft),
                    _ => self.dispatch(slot, Input::Closed),
                }
                self.mark_dead(slot);
            }
        }
    }

    fn dispatch_frame(&mut self, slot: u32) {
        self.handle_input(slot, Input::Frame);
        self.apply_session_effects(slot);
        self.apply_shard_effects();
    }

    /// The socket has ended without a close frame, or after ours.
    pub(crate) fn socket_ended(&mut self, slot: u32, how: End) {
        self.note_end(slot, how.into());
        // While the server ends, nobody leaves: the others are to come back as well.
        if self.hub.shutdown_deadline.is_none() {
            self.socket_lost(slot, Input::SocketLost);
        }
        self.mark_dead(slot);
    }

    /// The socket takes bytes again.
    pub(crate) fn drain(&mut self, slot: u32) {
        let Some(connection) = self.hub.connections.get_mut(slot) else { return };
        if !connection.has_send_queue() {
            return;
        }
        match connection.drain(slot, self.io) {
            Ok(written) => {
                self.hub.counters.bytes_out += written;
                if connection.has_send_queue() {
                    return;
                }
                if connection.phase == Phase::Closing {
                    self.io.shutdown_write(slot);
                }
                self.hub.snapshot_requests.wake(slot);
                self.resume_reading(slot);
            }
            Err(Broken) => self.hub.broken.push(slot),
        }
    }

    /// Ends the sessions of sockets that broke while they were written to.
    pub(crate) fn end_broken(&mut self) {
        while let Some(slot) = self.hub.broken.pop() {
            if self.hub.connections.get(slot).is_some_and(|c| c.phase != Phase::Dead) {
                self.socket_ended(slot, End::Broken);
            }
        }
    }

    /// The connection goes at the end of the turn: until then its slot is not used again.
    pub(crate) fn mark_dead(&mut self, slot: u32) {
        if let Some(connection) = self.hub.connections.get_mut(slot)
            && connection.phase != Phase::Dead
        {
            connection.phase = Phase::Dead;
            self.hub.dead.push(slot);
        }
    }

    /// Lets go of what has ended. The shell may use the slots again from here on.
    pub(crate) fn close_dead(&mut self) {
        while let Some(slot) = self.hub.dead.pop() {
            self.hub.leases.close(slot);
            self.hub.channel_leases.forget(slot);
            self.hub.taken_over.forget(slot);
            self.hub.snapshot_requests.forget(slot);
            self.hub.held.forget(slot);
            self.hub.connections.remove(slot);
            self.note_closed(slot);
            self.io.close(slot);
        }
    }
}

/// What is heard by a frame.
fn heard(inbound: &Inbound<'_>) -> Heard {
    match inbound {
        Inbound::Text(_) | Inbound::Fragment => Heard::Message,
        Inbound::Ping(_) => Heard::Ping,
        Inbound::Pong => Heard::Pong,
        Inbound::Close(_) => Heard::Close,
    }
}

impl From<End> for SocketEnd {
    fn from(end: End) -> Self {
        match end {
            End::Finished => Self::Finished,
            End::Broken => Self::Broken,
        }
    }
}

impl Hub {
    /// How many bytes to read from a socket now, at most. 0: none until [`Io::resume`] names it.
    pub fn read_limit(&self, slot: u32) -> usize {
        let Some(connection) = self.connections.get(slot) else { return 0 };
        if connection.phase == Phase::Dead || connection.is_paused || connection.is_unread {
            return 0;
        }
        match connection.session.auth() {
            Some(_) => READ_BYTES,
            None => UNAUTHENTICATED_READ_BYTES,
        }
    }

    /// Whether the connection in a slot has a session that is heard: it was neither closed nor left.
    pub fn is_open(&self, slot: u32) -> bool {
        self.connections.get(slot).is_some_and(Connection::is_open)
    }

    /// Whether sockets are to be read no more in this turn: it has read enough, or mail for another
    /// hub waits for room, and the load is passed back to those who make it.
    pub fn has_read_enough(&self) -> bool {
        self.budget.is_spent() || self.is_backpressured()
    }

    /// Whether a socket is to be read on, by what waits for it: the replies of this turn as well,
    /// or one turn alone could make them grow without a bound.
    fn flow(&self, slot: u32) -> Flow {
        let Some(connection) = self.connections.get(slot).filter(|c| c.is_open()) else {
            return Flow::Closed;
        };
        let replies = self.replies.of(connection.reply).len() + connection.queued_reply_bytes();
        Flow::of_queue(replies, connection.max_queue_bytes(self.config.send_queue_bytes))
    }
}
