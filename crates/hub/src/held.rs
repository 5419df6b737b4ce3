//! The encodings that slow sockets hold: one for all who wait for the same snapshot, and a bound on
//! the large ones. A socket that has begun a piece must finish it, so each distinct piece that a
//! slow socket has begun stays in memory; nothing else would keep readers that stop from holding
//! one version of a large channel each.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use herenow_core::Instant;
use herenow_wire::ChannelName;
use herenow_wire::encode::Position;

/// Bytes that many sockets are sent. The box is apart from the count of its owners, so that its
/// memory goes with the last of them, even if a weak reference is left.
#[derive(Debug)]
pub struct Encoded(Box<[u8]>);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// The newest snapshot of each channel, for as long as a socket holds it.
    newest: BTreeMap<ChannelName, (Position, Weak<Encoded>)>,
    sweep_at: usize,
    /// The distinct large pieces.
    large: Vec<Weak<Encoded>>,
    /// By slot: a socket begins a large piece only once it has taken all before.
    holders: BTreeMap<u32, Holder>,
    /// Slots that wait for room.
    waiting: Vec<u32>,
}

/// A socket that has begun a large piece.
#[derive(Debug)]
struct Holder {
    piece: Weak<Encoded>,
    /// What its socket had taken of its queue, and when that was looked at.
    taken_bytes: usize,
    seen_at: Instant,
    is_slow: bool,
}

/// Pieces above this are large: the bound counts them, and below it there is nothing to bound.
pub(crate) const LARGE_BYTES: usize = 64 * 1024;
/// Bytes of distinct large pieces of one loop. One more is let in while there are fewer, so that no
/// channel is too large to be seen.
const MAX_LARGE_BYTES: usize = 16 << 20;
/// A socket that holds a large piece has to take `PROGRESS_BYTES` of it in this time, or gives way
/// when others wait for room.
const PROGRESS_WINDOW: Duration = Duration::from_secs(5);
/// 512 kbit/s for the length of the window.
const PROGRESS_BYTES: usize = 320 * 1024;
const FIRST_SWEEP: usize = 64;

impl Encoded {
    pub(crate) fn of(bytes: &[u8]) -> Arc<Self> {
        Arc::new(Self(bytes.into()))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Held {
    /// The channel's snapshot at this position, where a socket holds it.
    pub(crate) fn snapshot(
        &self,
        channel: &ChannelName,
        position: Position,
    ) -> Option<Arc<Encoded>> {
        let (known, snapshot) = self.newest.get(channel)?;
        (*known == position).then(|| snapshot.upgrade()).flatten()
    }

    /// A socket holds this snapshot, or may soon.
    pub(crate) fn note_snapshot(
        &mut self,
        channel: &ChannelName,
        position: Position,
        snapshot: &Arc<Encoded>,
    ) {
        if self.newest.len() >= self.sweep_at.max(FIRST_SWEEP) {
            self.newest.retain(|_, (_, snapshot)| snapshot.strong_count() > 0);
            // Doubling the mark keeps the sweep's cost per snapshot constant.
            self.sweep_at = self.newest.len() * 2;
        }
        self.newest.insert(channel.clone(), (position, Arc::downgrade(snapshot)));
    }

    /// Whether a socket may begin a large piece: one that is held already, or one more.
    pub(crate) fn admits(&mut self, piece: Option<&Arc<Encoded>>) -> bool {
        let piece = piece.map(Arc::as_ptr);
        self.large.iter().any(|held| Some(held.as_ptr()) == piece) || self.has_room()
    }

    /// Whether the distinct large pieces are fewer than they may be.
    pub(crate) fn has_room(&mut self) -> bool {
        self.large.retain(|piece| piece.strong_count() > 0);
        let pieces = self.large.iter().filter_map(Weak::upgrade);
        pieces.map(|piece| piece.bytes().len()).sum::<usize>() < MAX_LARGE_BYTES
    }

    /// The socket in `slot` has begun a large piece.
    pub(crate) fn begin(&mut self, slot: u32, piece: &Arc<Encoded>, now: Instant) {
        if !self.large.iter().any(|held| held.as_ptr() == Arc::as_ptr(piece)) {
            self.large.push(Arc::downgrade(piece));
        }
        let piece = Arc::downgrade(piece);
        let holder = Holder { piece, taken_bytes: 0, seen_at: now, is_slow: false };
        self.holders.insert(slot, holder);
    }

    /// The socket in `slot` waits for room.
    pub(crate) fn wait(&mut self, slot: u32) {
        self.waiting.push(slot);
    }

    /// Those that waited for room, once there is some.
    pub(crate) fn take_waiting(&mut self) -> Vec<u32> {
        if self.waiting.is_empty() || !self.has_room() {
            return Vec::new();
        }
        std::mem::take(&mut self.waiting)
    }

    /// Looks how much the holders have taken; `taken_bytes` says so of the one that holds the piece
    /// still. Returns those that give way: there is none while nobody waits for room.
    pub(crate) fn poll_slow(
        &mut self,
        now: Instant,
        taken_bytes: impl Fn(u32, &Weak<Encoded>) -> Option<usize>,
    ) -> Vec<u32> {
        self.holders.retain(|slot, holder| {
            let Some(taken) = taken_bytes(*slot, &holder.piece) else { return false };
            if now.since(holder.seen_at) >= PROGRESS_WINDOW {
                holder.is_slow = taken.saturating_sub(holder.taken_bytes) < PROGRESS_BYTES;
                holder.taken_bytes = taken;
                holder.seen_at = now;
            }
            true
        });
        if self.waiting.is_empty() || self.has_room() {
            return Vec::new();
        }
        let slow = self.holders.iter().filter(|(_, holder)| holder.is_slow);
        slow.map(|(slot, _)| *slot).collect()
    }

    /// How many sockets have begun a large piece or wait for room.
    pub(crate) fn len(&self) -> usize {
        self.holders.len() + self.waiting.len()
    }

    /// The connection is gone: its slot may soon be another's.
    pub(crate) fn forget(&mut self, slot: u32) {
        self.holders.remove(&slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel() -> ChannelName {
        ChannelName::parse("presence:lobby").expect("a valid channel")
    }

    fn large(mebibytes: usize) -> Arc<Encoded> {
        Encoded::of(&vec![b'x'; mebibytes << 20])
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1000)
    }

    #[test]
    fn a_snapshot_is_shared_at_its_position_for_as_long_as_it_is_held() {
        let mut held = Held::default();
        let (here, later) = (Position { epoch: 1, seq: 7 }, Position { epoch: 1, seq: 8 });
        let snapshot = Encoded::of(b"snapshot");
        held.note_snapshot(&channel(), here, &snapshot);
        let shared = held.snapshot(&channel(), here).expect("it is held");
        assert!(Arc::ptr_eq(&shared, &snapshot));
        assert!(held.snapshot(&channel(), later).is_none(), "the channel has changed");
        drop((shared, snapshot));
        assert!(held.snapshot(&channel(), here).is_none(), "nobody holds it");
    }

    #[test]
    fn large_pieces_have_so_much_room_and_one_that_is_held_needs_none() {
        let mut held = Held::default();
        let pieces: Vec<_> = (0..8).map(|_| large(2)).collect();
        for (slot, piece) in (0..).zip(&pieces) {
            assert!(held.admits(None), "{slot} pieces fit");
            held.begin(slot, piece, at(0));
        }
        assert!(!held.admits(Some(&large(2))));
        assert!(held.admits(Some(&pieces[3])), "it is held already");
        held.wait(20);
        held.wait(21);
        assert!(held.take_waiting().is_empty());
        drop(pieces);
        assert_eq!(held.take_waiting(), [20, 21]);
        // However large it is, one is let in.
        held.begin(1, &large(100), at(0));
        assert!(held.admits(None), "it is not held any more");
    }

    #[test]
    fn who_takes_almost_nothing_gives_way_when_others_wait_and_only_then() {
        let mut held = Held::default();
        let piece = large(16);
        held.begin(1, &piece, at(0));
        held.begin(2, &piece, at(0));
        let taken = |slot: u32, _: &Weak<Encoded>| Some(slot as usize * 200 * 1024);
        assert!(held.poll_slow(at(5), taken).is_empty(), "nobody waits");
        held.wait(9);
        assert_eq!(held.poll_slow(at(6), taken), [1]);
        assert_eq!(held.poll_slow(at(10), taken), [1, 2], "neither took more since");
        held.forget(1);
        assert!(held.poll_slow(at(11), |_, _| None).is_empty(), "it has finished");
    }
}
