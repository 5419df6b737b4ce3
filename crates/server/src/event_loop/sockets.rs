//! Sockets coming, being read, and going.

use herenow_core::{Input, Session};
use herenow_wire::frame::{Chunk, Inbound, Opcode, write_header, write_pong};
use herenow_wire::{CloseCode, ConnectionId};
use mio::{Interest, Token};

use super::EventLoop;
use super::connection::{Connection, Got, Phase};
use super::reading::{
    Flow, Share, Stopped, TurnBudget, UNAUTHENTICATED_MESSAGE_BYTES, UNAUTHENTICATED_READ_BYTES,
    read_frames,
};
use crate::loops::Adopted;

/// Bytes the kernel may hold for a socket that has not sent them yet. Without this bound it takes
/// megabytes for a reader that has stopped, before the outbox sees a byte of it.
const NOT_SENT_BYTES: u32 = 128 * 1024;

impl EventLoop {
    /// Takes over a socket that was upgraded.
    pub(super) fn adopt(&mut self, adopted: Adopted) {
        let Adopted { stream, mut first_bytes, default_channel, newcomer } = adopted;
        // Old kernels lack the option; the outbox then bounds less.
        let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(NOT_SENT_BYTES);
        let mut stream = mio::net::TcpStream::from_std(stream);
        let slot = self.connections.next_slot();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = Token(slot as usize);
        if let Err(error) = self.poll.registry().register(&mut stream, token, interest) {
            tracing::warn!(%error, "a socket could not be watched and was dropped");
            return;
        }
        let Some(id) = random_id() else { return };
        let session = Session::new(id, &self.limits, self.now);
        let mut connection = Connection::new(stream, session, default_channel);
        connection.newcomer = newcomer;
        self.metrics.bytes_in.add(first_bytes.len());
        connection.reader.keep_unread(&Chunk::new(&mut first_bytes));
        self.connections.insert(connection);
        self.leases.open(slot, self.now);
        self.leases.set_deadline(slot, self.now + self.limits.auth_timeout);
        self.metrics.connections_adopted.add(1);
        if self.ending.is_some() {
            self.close(slot, CloseCode::Restart, "");
            return;
        }
        self.queue_read(slot);
    }

    pub(super) fn queue_read(&mut self, slot: u32) {
        if let Some(connection) = self.connections.get_mut(slot)
            && !connection.is_queued
        {
            connection.is_queued = true;
            self.readable.push_back(slot);
        }
    }

    /// Reads what there is, as far as the turn's budget goes, and from each socket its share. Who
    /// has more goes to the end of the line.
    pub(super) fn read_sockets(&mut self) {
        if self.readable.is_empty() || self.is_choked() {
            return;
        }
        let mut buffer = std::mem::take(&mut self.read_buffer);
        let mut budget = TurnBudget::of_a_turn();
        for _ in 0..self.readable.len() {
            let Some(slot) = self.readable.pop_front() else { break };
            if let Some(connection) = self.connections.get_mut(slot) {
                connection.is_queued = false;
                let mut share = budget.share();
                let bytes = self.read_socket(slot, &mut share, &mut buffer);
                budget.charge(&share, bytes);
            }
            if budget.is_spent() {
                break;
            }
        }
        self.read_buffer = buffer;
    }

    /// Gives one socket its share. Returns how many bytes came from it.
    fn read_socket(&mut self, slot: u32, share: &mut Share, buffer: &mut [u8]) -> usize {
        let flow = self.flow(slot);
        let Some(connection) = self.connections.get_mut(slot) else { return 0 };
        if connection.phase == Phase::Dead {
            return 0;
        }
        if flow == Flow::Full {
            // One whose socket takes no more is read again when it has drained; the replies of
            // this turn alone are gone by the next one.
            if !connection.has_outbox() {
                self.queue_read(slot);
            }
            return 0;
        }
        let mut unread = connection.reader.take_unread();
        if !unread.is_empty() && self.receive(slot, &mut unread, share) == Stopped::Before {
            self.queue_read(slot);
            return 0;
        }
        let Some(connection) = self.connections.get_mut(slot) else { return 0 };
        let at_most = match connection.session.auth() {
            Some(_) => buffer.len(),
            None => UNAUTHENTICATED_READ_BYTES,
        };
        match connection.read(&mut buffer[..at_most]) {
            Got::Nothing => 0,
            Got::End => {
                self.socket_ended(slot);
                0
            }
            Got::Bytes(count) => {
                self.metrics.bytes_in.add(count);
                // A short read has emptied the socket. Only its end may still stand there, and the
                // edge that told of it is spent.
                let is_emptied = count < at_most && !connection.is_read_closed;
                let stopped = self.receive(slot, &mut buffer[..count], share);
                if !is_emptied || stopped == Stopped::Before {
                    self.queue_read(slot);
                }
                count
            }
        }
    }

    /// Takes in what was read from a socket, as far as its share goes.
    fn receive(&mut self, slot: u32, bytes: &mut [u8], share: &mut Share) -> Stopped {
        let Some(connection) = self.connections.get_mut(slot) else { return Stopped::Over };
        if !connection.is_open() {
            return Stopped::Over;
        }
        let max_message_bytes = match connection.session.auth() {
            Some(_) => self.settings.max_frame_bytes,
            None => self.settings.max_frame_bytes.min(UNAUTHENTICATED_MESSAGE_BYTES),
        };
        let mut reader = std::mem::take(&mut connection.reader);
        let mut chunk = Chunk::new(bytes);
        let stopped = read_frames((&mut reader, max_message_bytes), &mut chunk, share, |inbound| {
            self.inbound(slot, inbound);
            self.flow(slot)
        });
        match &stopped {
            Stopped::AtItsEnd | Stopped::Before => {
                if let Some(connection) = self.connections.get_mut(slot) {
                    connection.reader = reader;
                }
            }
            Stopped::Over => {}
            Stopped::Broken(error) => {
                self.leases.renew(slot, self.now);
                self.tell_session(slot, Input::Broken);
                self.close(slot, error.close_code(), &error.to_string());
            }
        }
        stopped
    }

    /// Whether a socket is to be read on, by what waits for it.
    fn flow(&self, slot: u32) -> Flow {
        let Some(connection) = self.connections.get(slot).filter(|c| c.is_open()) else {
            return Flow::Over;
        };
        let replies = self.replies.of(connection.reply).len() + connection.queued_reply_bytes();
        Flow::behind(replies, connection.max_queue_bytes(self.settings.outbox_bytes))
    }

    fn inbound(&mut self, slot: u32, inbound: Inbound<'_>) {
        self.metrics.frames_in.add(1);
        self.leases.renew(slot, self.now);
        self.tell_frame(slot);
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if !connection.is_open() {
            return;
        }
        match inbound {
            Inbound::Text(text) => self.text(slot, text),
            Inbound::Ping(payload) => {
                write_pong(self.replies.to(slot, &mut connection.reply), payload)
            }
            Inbound::Pong | Inbound::Fragment => {}
            Inbound::Close(frame) => {
                // The same code goes back: a browser shows it to the page.
                let reply = self.replies.to(slot, &mut connection.reply);
                match frame {
                    Some(frame) => {
                        write_header(reply, Opcode::Close, 2);
                        reply.extend_from_slice(&frame.code.to_be_bytes());
                    }
                    None => write_header(reply, Opcode::Close, 0),
                }
                // A page that is left or loaded again says "going away": that is no farewell.
                match frame {
                    Some(frame) if frame.code == CloseCode::GoingAway.number() => {
                        self.break_off(slot);
                    }
                    _ => self.tell_session(slot, Input::Broken),
                }
                self.mark_dead(slot);
            }
        }
    }

    fn tell_frame(&mut self, slot: u32) {
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.session.handle(Input::Frame, &self.limits, self.now, &mut self.effects);
            self.carry_out(slot);
            self.settle();
        }
    }

    /// The socket has ended without a close frame, or after ours.
    pub(super) fn socket_ended(&mut self, slot: u32) {
        // While the server ends, nobody leaves: the others are to come back as well.
        if self.ending.is_none() {
            self.break_off(slot);
        }
        self.mark_dead(slot);
    }

    /// The socket takes bytes again.
    pub(super) fn drain(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if !connection.has_outbox() {
            return;
        }
        match connection.drain() {
            Ok(written) => {
                self.metrics.bytes_out.add(written);
                if connection.has_outbox() {
                    return;
                }
                if connection.phase == Phase::Closing {
                    let _ = connection.stream.shutdown(std::net::Shutdown::Write);
                }
                self.queue_read(slot);
                self.snapshot_requests.wake(slot);
            }
            Err(_) => self.broken.push(slot),
        }
    }

    /// Ends the sessions of sockets that broke while they were written to.
    pub(super) fn end_broken(&mut self) {
        while let Some(slot) = self.broken.pop() {
            if self.connections.get(slot).is_some_and(|c| c.phase != Phase::Dead) {
                self.socket_ended(slot);
            }
        }
    }

    /// The connection goes at the end of the turn: until then its slot is not used again.
    pub(super) fn mark_dead(&mut self, slot: u32) {
        if let Some(connection) = self.connections.get_mut(slot)
            && connection.phase != Phase::Dead
        {
            connection.phase = Phase::Dead;
            self.dead.push(slot);
        }
    }

    pub(super) fn bury_dead(&mut self) {
        while let Some(slot) = self.dead.pop() {
            self.leases.close(slot);
            self.channel_leases.forget(slot);
            self.snapshot_requests.forget(slot);
            self.held.forget(slot);
            self.connections.remove(slot);
        }
    }
}

/// 128 bits that nobody can guess.
fn random_id() -> Option<ConnectionId> {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Some(ConnectionId::from_bytes(bytes)),
        Err(error) => {
            tracing::error!(%error, "the system gave no randomness; a socket was dropped");
            None
        }
    }
}
