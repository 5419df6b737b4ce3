//! Turns over simulated sockets: many of them, many small frames, and readers that stop. Drives the
//! pieces that the loop reads and writes with, without a socket.

use std::collections::VecDeque;
use std::io::{self, Write};

use herenow_wire::encode::{self, Reply};
use herenow_wire::frame::write_pong;
use herenow_wire::{ClientMessage, DefaultChannel, Incoming, Refusal};
use proptest::prelude::*;

use super::super::outbox::Outbox;
use super::super::replies::{Place, Replies};
use super::*;

/// What a socket that has not authenticated may cost, with what the loop adds left out.
const MAX_HELD_BYTES: usize = 64 * 1024;
const QUEUE_BYTES: usize = 16 * 1024;

/// One simulated socket.
#[derive(Default)]
struct Peer {
    reader: Reader,
    outbox: Option<Outbox>,
    /// What the peer has sent and the loop has not read.
    sent: VecDeque<u8>,
    /// How many bytes the kernel still takes for it.
    room: usize,
    /// What the peer has got.
    got: Vec<u8>,
    is_queued: bool,
}

struct Turns {
    peers: Vec<Peer>,
    readable: VecDeque<u32>,
    replies: Replies,
    places: Vec<Place>,
    frames_in_turn: usize,
}

impl Write for &mut Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.room);
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.room -= count;
        self.got.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Turns {
    fn of(peers: usize) -> Self {
        Self {
            peers: (0..peers).map(|_| Peer::default()).collect(),
            readable: VecDeque::new(),
            replies: Replies::default(),
            places: vec![Place::NONE; peers],
            frames_in_turn: 0,
        }
    }

    fn send(&mut self, slot: u32, bytes: &[u8]) {
        self.peers[slot as usize].sent.extend(bytes);
        self.queue(slot);
    }

    fn queue(&mut self, slot: u32) {
        let peer = &mut self.peers[slot as usize];
        if !std::mem::replace(&mut peer.is_queued, true) {
            self.readable.push_back(slot);
        }
    }

    /// The kernel takes `bytes` more for the peer.
    fn take(&mut self, slot: u32, bytes: usize) {
        let peer = &mut self.peers[slot as usize];
        peer.room += bytes;
        if let Some(mut outbox) = peer.outbox.take() {
            let (_, is_done) = outbox.write_to(&mut *peer).expect("this socket does not fail");
            if is_done {
                self.queue(slot);
            } else {
                peer.outbox = Some(outbox);
            }
        }
    }

    fn turn(&mut self) {
        self.frames_in_turn = 0;
        let mut budget = TurnBudget::of_a_turn();
        for _ in 0..self.readable.len() {
            let Some(slot) = self.readable.pop_front() else { break };
            self.peers[slot as usize].is_queued = false;
            let mut share = budget.share();
            let bytes = self.read(slot, &mut share);
            budget.charge(&share, bytes);
            if budget.is_spent() {
                break;
            }
        }
        self.send_replies();
        for peer in &self.peers {
            let queued = peer.outbox.as_ref().map_or(0, Outbox::held_bytes);
            let held = queued + peer.reader.held_bytes();
            assert!(held <= MAX_HELD_BYTES, "{held} bytes are held for one socket");
        }
    }

    fn read(&mut self, slot: u32, share: &mut Share) -> usize {
        let peer = &mut self.peers[slot as usize];
        if flow(peer, &self.replies, self.places[slot as usize]) == Flow::Full {
            if peer.outbox.is_none() {
                self.queue(slot);
            }
            return 0;
        }
        let mut bytes = peer.reader.take_unread();
        let mut count = 0;
        if bytes.is_empty() {
            count = peer.sent.len().min(UNAUTHENTICATED_READ_BYTES);
            bytes = peer.sent.drain(..count).collect();
        }
        let mut reader = std::mem::take(&mut peer.reader);
        let (peer, replies) = (&self.peers[slot as usize], &mut self.replies);
        let (place, frames) = (&mut self.places[slot as usize], &mut self.frames_in_turn);
        let mut chunk = Chunk::new(&mut bytes);
        let room = (&mut reader, UNAUTHENTICATED_MESSAGE_BYTES);
        read_frames(room, &mut chunk, share, |inbound| {
            *frames += 1;
            answer(inbound, replies.to(slot, place), peer);
            flow(peer, replies, *place)
        });
        let peer = &mut self.peers[slot as usize];
        peer.reader = reader;
        if !peer.sent.is_empty() || peer.reader.held_bytes() > 0 {
            self.queue(slot);
        }
        count
    }

    fn send_replies(&mut self) {
        let slots = self.replies.take_slots();
        for slot in &slots {
            let place = std::mem::replace(&mut self.places[*slot as usize], Place::NONE);
            let bytes = self.replies.of(place);
            let peer = &mut self.peers[*slot as usize];
            let mut outbox = peer.outbox.take().unwrap_or_default();
            outbox.push_reply(bytes, QUEUE_BYTES);
            let (_, is_done) = outbox.write_to(&mut *peer).expect("this socket does not fail");
            peer.outbox = (!is_done).then_some(outbox);
        }
        self.replies.end_turn(slots);
    }
}

fn flow(peer: &Peer, replies: &Replies, place: Place) -> Flow {
    let queued = peer.outbox.as_ref().map_or(0, Outbox::reply_bytes);
    Flow::behind(replies.of(place).len() + queued, QUEUE_BYTES)
}

/// A pong for a ping, and a refusal for anything else.
fn answer(inbound: Inbound<'_>, out: &mut Vec<u8>, peer: &Peer) {
    let text = match inbound {
        Inbound::Text(text) => text,
        Inbound::Ping(payload) => return write_pong(out, payload),
        _ => return,
    };
    let mut decoded = Vec::new();
    herenow_wire::decode(text, &DefaultChannel::None, &mut decoded);
    for message in decoded {
        let start = out.len();
        match message {
            Ok(Incoming { message: ClientMessage::Ping, reference }) => {
                encode::reply(out, &Reply::Pong, reference.as_ref());
            }
            Ok(_) => panic!("the test sends pings alone"),
            Err(Refusal { code, message, channel, reference }) => {
                let refusal = Reply::Error { code, message, channel };
                encode::reply(out, &refusal, reference.as_ref());
                Replies::drop_repeated(out, start, |new| {
                    peer.outbox.as_ref().is_some_and(|outbox| outbox.ends_with(new))
                });
            }
        }
    }
}

/// A frame with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | short as u8),
        long => {
            frame.push(0x80 | 126);
            frame.extend((long as u16).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend_from_slice(payload);
    frame
}

fn ping(n: usize) -> Vec<u8> {
    frame(0x81, format!(r#"{{"type":"ping","ref":{n}}}"#).as_bytes())
}

/// The numbers of the pongs in what a peer has got.
fn pongs(got: &[u8]) -> Vec<usize> {
    let text = String::from_utf8_lossy(got);
    let refs = text.split(r#""pong","ref":"#).skip(1);
    refs.map(|rest| rest.split('}').next().expect("a number").parse().expect("a number")).collect()
}

/// What a hostile peer sends over and over.
fn flood() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(frame(0x81, b"")),
        Just(frame(0x01, b"")),
        Just(frame(0x89, &[b'p'; 125])),
        Just(frame(0x81, b"{")),
        Just([frame(0x81, b"{"), frame(0x81, b"[]")].concat()),
        Just(frame(0x81, &[b'x'; 9000])),
        // Begun and never ended.
        Just(frame(0x81, &[b'x'; 16_000])[..15_000].to_vec()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    // P6.9
    #[test]
    fn a_socket_holds_bounded_memory_and_no_socket_waits_for_more_than_one_round(
        floods in prop::collection::vec((flood(), 1..3_000_usize), 1..100),
        room in 0..2_000_usize,
    ) {
        let mut turns = Turns::of(floods.len() + 1);
        let quiet = floods.len() as u32;
        turns.take(quiet, usize::MAX / 2);
        for (slot, (bytes, times)) in (0..).zip(&floods) {
            turns.take(slot, room);
            let times = (*times).min(200_000 / bytes.len()).max(1);
            turns.send(slot, &bytes.repeat(times));
        }
        // A round gives each a share: by frames or by bytes, whichever is more turns.
        let sockets = floods.len() + 1;
        let by_frames = sockets * FRAMES_PER_SHARE / FRAMES_PER_TURN;
        let by_bytes = sockets * UNAUTHENTICATED_READ_BYTES / BYTES_PER_TURN;
        let round = by_frames.max(by_bytes) + 1;
        for n in 0..5 {
            turns.send(quiet, &ping(n));
            for _ in 0..round {
                turns.turn();
                prop_assert!(turns.frames_in_turn <= FRAMES_PER_TURN);
            }
            let pongs = pongs(&turns.peers[quiet as usize].got);
            prop_assert_eq!(pongs.last(), Some(&n));
        }
        // As long as it takes to read more from each than may be held for it.
        for _ in 0..round * MAX_HELD_BYTES / (FRAMES_PER_SHARE * 64) {
            turns.turn();
        }
    }

    // P1.8
    #[test]
    fn each_message_with_a_ref_is_answered_once_and_in_order_however_slowly_the_peer_reads(
        between in prop::collection::vec(0..40_usize, 1..400),
        step in 1..5_000_usize,
    ) {
        let mut turns = Turns::of(1);
        let mut bytes = Vec::new();
        for (n, nonsense) in between.iter().enumerate() {
            bytes.extend(frame(0x81, b"").repeat(*nonsense));
            bytes.extend(ping(n));
        }
        turns.send(0, &bytes);
        let all: Vec<usize> = (0..between.len()).collect();
        while turns.peers[0].outbox.is_some() || !turns.readable.is_empty() {
            turns.turn();
            turns.take(0, step);
        }
        prop_assert_eq!(pongs(&turns.peers[0].got), all);
    }
}
