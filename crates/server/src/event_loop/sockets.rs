//! The sockets of one loop: polled, read, written and closed by slot. Knows no bytes' meaning and no hub.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::os::fd::AsRawFd as _;

use herenow_hub::{End, Wrote};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use slab::Slab;

use crate::admission::UnauthenticatedPermit;

/// See the module.
pub(super) struct Sockets {
    /// Of the loop's poll.
    registry: Registry,
    sockets: Slab<Socket>,
    /// Sockets that may have something to read, each once, in the order of their turns.
    readable: VecDeque<u32>,
}

/// An upgraded socket. TCP and Unix sockets are read and written by the same calls of the kernel, so
/// nothing here tells them apart.
struct Socket {
    stream: socket2::Socket,
    /// Counts it towards its address until it has authenticated.
    permit: Option<UnauthenticatedPermit>,
    /// The peer will send no more: a short read is not the end of what there is to see.
    is_read_closed: bool,
    /// It stands in the list of those that may have something to read.
    is_queued: bool,
    /// The last write found it full.
    is_full: bool,
    /// It is watched for room to write.
    awaits_room: bool,
}

/// What a read found.
pub(super) enum Got {
    Bytes {
        count: usize,
        /// There is nothing more, and an event will say when there is.
        is_emptied: bool,
    },
    Nothing,
    /// The peer has closed, or the socket is broken.
    End(End),
}

/// Bytes the kernel may hold for a socket that has not sent them yet. Without this bound it takes
/// megabytes for a reader that has stopped, before the send queue sees a byte of it.
const NOT_SENT_BYTES: u32 = 128 * 1024;

impl Sockets {
    /// None, to be watched by the poll whose registry this is.
    pub(super) fn new(registry: Registry) -> Self {
        Self { registry, sockets: Slab::new(), readable: VecDeque::new() }
    }

    /// Watches a socket that was upgraded. Returns its slot.
    pub(super) fn watch(
        &mut self,
        stream: socket2::Socket,
        permit: Option<UnauthenticatedPermit>,
    ) -> io::Result<u32> {
        // Old kernels lack the option, and so do Unix sockets, for which the kernel holds less anyway.
        let _ = stream.set_tcp_notsent_lowat(NOT_SENT_BYTES);
        let entry = self.sockets.vacant_entry();
        let slot = entry.key();
        let source = &mut SourceFd(&stream.as_raw_fd());
        self.registry.register(source, Token(slot), Interest::READABLE)?;
        entry.insert(Socket::new(stream, permit));
        // A process cannot hold so many descriptors that a slot would not fit.
        Ok(slot as u32)
    }

    /// An event says that there is something to read, or that nothing more will come.
    pub(super) fn note_readable(&mut self, slot: u32, is_read_closed: bool) {
        if let Some(socket) = self.sockets.get_mut(slot as usize) {
            socket.is_read_closed |= is_read_closed;
        }
        self.queue_read(slot);
    }

    /// An event says that there is room to write.
    pub(super) fn note_writable(&mut self, slot: u32) {
        if let Some(socket) = self.sockets.get_mut(slot as usize)
            && std::mem::take(&mut socket.awaits_room)
        {
            // If this fails, further events are of no use and do no harm.
            let _ = socket.watch_for(Interest::READABLE, slot, &self.registry);
        }
    }

    pub(super) fn read(&mut self, slot: u32, buffer: &mut [u8]) -> Got {
        self.sockets.get_mut(slot as usize).map_or(Got::Nothing, |socket| socket.read(buffer))
    }

    /// Puts a socket among those that may have something to read.
    pub(super) fn queue_read(&mut self, slot: u32) {
        if let Some(socket) = self.sockets.get_mut(slot as usize)
            && !socket.is_queued
        {
            socket.is_queued = true;
            self.readable.push_back(slot);
        }
    }

    /// The next socket that may have something to read.
    pub(super) fn next_readable(&mut self) -> Option<u32> {
        while let Some(slot) = self.readable.pop_front() {
            if let Some(socket) = self.sockets.get_mut(slot as usize) {
                socket.is_queued = false;
                return Some(slot);
            }
        }
        None
    }

    /// How many may have something to read.
    pub(super) fn count_readable(&self) -> usize {
        self.readable.len()
    }

    /// Writes the parts as far as the socket takes them. One that took a part is tried again at once, so
    /// that what is watched for room is full.
    pub(super) fn write(&mut self, slot: u32, parts: &[IoSlice<'_>]) -> Wrote {
        let Some(socket) = self.sockets.get_mut(slot as usize) else { return Wrote::Broken };
        let wrote = match parts {
            [part] => socket.write(part),
            parts => socket.write_parts(parts),
        };
        if socket.is_full && socket.await_room(slot, &self.registry).is_err() {
            return Wrote::Broken;
        }
        wrote
    }

    pub(super) fn shutdown_write(&mut self, slot: u32) {
        if let Some(socket) = self.sockets.get(slot as usize) {
            // It may be gone already, which is just as well.
            let _ = socket.stream.shutdown(std::net::Shutdown::Write);
        }
    }

    /// Drops a socket. Its slot is free from here on.
    pub(super) fn close(&mut self, slot: u32) {
        self.sockets.try_remove(slot as usize);
    }

    /// A socket counts towards its address no more.
    pub(super) fn release_permit(&mut self, slot: u32) {
        if let Some(socket) = self.sockets.get_mut(slot as usize) {
            socket.permit = None;
        }
    }
}

impl Socket {
    fn new(stream: socket2::Socket, permit: Option<UnauthenticatedPermit>) -> Self {
        let (is_read_closed, is_queued) = (false, false);
        Self { stream, permit, is_read_closed, is_queued, is_full: false, awaits_room: false }
    }

    /// Sockets are watched for room only while one is full: a Unix socket has an event for each read of
    /// its peer otherwise, which would wake the loop once for every message that it has sent.
    #[cold]
    fn await_room(&mut self, slot: u32, registry: &Registry) -> io::Result<()> {
        self.is_full = false;
        if !self.awaits_room {
            self.watch_for(Interest::READABLE | Interest::WRITABLE, slot, registry)?;
            self.awaits_room = true;
        }
        Ok(())
    }

    fn watch_for(&self, interest: Interest, slot: u32, registry: &Registry) -> io::Result<()> {
        let source = &mut SourceFd(&self.stream.as_raw_fd());
        // Where the socket is ready by now, there is an event at once.
        registry.reregister(source, Token(slot as usize), interest)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Got {
        loop {
            return match self.stream.read(buffer) {
                Ok(0) => Got::End(End::Finished),
                Ok(count) => {
                    // A short read has emptied the socket. Only its end may still stand there, and
                    // the edge that told of it is spent.
                    let is_emptied = count < buffer.len() && !self.is_read_closed;
                    Got::Bytes { count, is_emptied }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Got::Nothing,
                Err(_) => Got::End(End::Broken),
            };
        }
    }

    /// Writes one part, as most writes are, until all is written or the socket takes no more.
    fn write(&mut self, part: &[u8]) -> Wrote {
        let mut written = 0;
        while written < part.len() {
            match self.stream.write(&part[written..]) {
                Ok(0) => return Wrote::Broken,
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_full = true;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Wrote::Broken,
            }
        }
        Wrote::Bytes(written)
    }

    /// The same with several. Apart, so that one part alone does not pay for their copies.
    #[inline(never)]
    fn write_parts(&mut self, parts: &[IoSlice<'_>]) -> Wrote {
        let all: usize = parts.iter().map(|part| part.len()).sum();
        let mut written = 0;
        let mut rest = [IoSlice::new(&[]); MOST_PARTS];
        let mut rest = &mut rest[..parts.len()];
        rest.copy_from_slice(parts);
        while written < all {
            match self.stream.write_vectored(rest) {
                Ok(0) => return Wrote::Broken,
                Ok(count) => {
                    written += count;
                    IoSlice::advance_slices(&mut rest, count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_full = true;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Wrote::Broken,
            }
        }
        Wrote::Bytes(written)
    }
}

/// Parts that a hub writes at once, at most.
const MOST_PARTS: usize = herenow_hub::MAX_PARTS;

#[cfg(test)]
mod tests {
    use super::*;

    /// What a socket may take in its slab. With the 136 bytes of its hub's connection it is what a
    /// connection took when the memory of a million was stated.
    const STATED_BYTES: usize = 32;

    /// What the poll says of the one socket that it watches.
    fn writable(poll: &mut mio::Poll) -> Vec<bool> {
        let mut events = mio::Events::with_capacity(8);
        poll.poll(&mut events, Some(std::time::Duration::ZERO)).expect("a poll can be polled");
        events.iter().map(mio::event::Event::is_writable).collect()
    }

    #[test]
    fn a_peer_that_reads_wakes_the_loop_only_if_its_socket_was_full() {
        let mut poll = mio::Poll::new().expect("the system gives a poll");
        let (ours, mut peer) = std::os::unix::net::UnixStream::pair().expect("and sockets");
        ours.set_nonblocking(true).expect("a socket can be");
        let mut socket = Socket::new(std::os::fd::OwnedFd::from(ours).into(), None);
        let source = &mut SourceFd(&socket.stream.as_raw_fd());
        poll.registry().register(source, Token(0), Interest::READABLE).expect("it is new");
        let mut room = [0; 1024];
        assert!(matches!(socket.write(&[0; 1024]), Wrote::Bytes(1024)));
        peer.read_exact(&mut room).expect("it was written");
        assert!(writable(&mut poll).is_empty(), "a read of the peer is no event");
        while let Wrote::Bytes(1024) = socket.write(&[0; 1024]) {}
        assert!(socket.is_full);
        socket.await_room(0, poll.registry()).expect("it is registered");
        assert!(writable(&mut poll).is_empty(), "there is no room yet");
        peer.set_nonblocking(true).expect("a socket can be");
        while peer.read(&mut room).is_ok() {}
        assert_eq!(writable(&mut poll), [true]);
    }

    #[test]
    fn a_socket_is_no_larger_than_stated() {
        // An entry of a slab holds a socket or the number of the next vacant one.
        let bytes = std::mem::size_of::<Result<Socket, usize>>();
        assert!(bytes <= STATED_BYTES, "{bytes} bytes for each socket of a loop");
    }
}
