//! Turns of two hubs under many sockets: small frames, cut anywhere, readers that stop, verdicts and
//! rulings that come late, full mailboxes. After every turn each hub holds no more than is promised,
//! and once everybody has gone it holds nothing.

mod says;
mod side;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arbitrary::Arbitrary;
use herenow_core::{Instant, Limits, Peer, RateLimit, Ruling, SCAN_EVERY, UserIndex};
use herenow_hub::{
    ChannelSettings, Config, End, Event, Holdings, Hub, Mail, Membership, Opening, Patterns,
    Policy, RECORDS_KEPT_FOR, Remembers,
};
use herenow_wire::{ChannelName, ConnectionId, DefaultChannel};

pub use says::Says;
use side::{Late, Side, Socket};

/// What happens next. Numbers are taken modulo what there is.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Operation {
    /// A socket opens.
    Open(u8),
    /// A client sends a frame so many times.
    Send { who: u8, says: Says, times: u8 },
    /// A client sends bytes that are no frame.
    SendAnything(u8, [u8; 6]),
    /// So many of the bytes that a client has sent come.
    Arrive(u8, u16),
    /// A client takes so many bytes.
    Take(u8, u16),
    /// A socket breaks.
    Break(u8),
    /// A verdict or ruling comes, and what the rules say.
    Answer(Granted),
    /// From here on they come late, or at once.
    Late(Granted),
    /// A hub reads its mail.
    Mail(u8),
    /// A hub has its turn.
    Turn(u8),
    /// Time passes, in milliseconds.
    Wait(u16),
    /// The rules are replaced.
    Reload,
    /// The next state that is put into a channel ends in a fault.
    Fault(u8),
}

/// Yes or no.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted {
    Yes,
    No,
}

const HUBS: u16 = 2;
/// Sockets of each hub.
const SOCKETS: usize = 12;
const CHANNELS: u8 = 3;
const SEND_QUEUE_BYTES: usize = 4096;
const MAX_FRAME_BYTES: usize = 4096;
const MAX_WAITING_BYTES: usize = 16 * 1024;
/// Batches that a mailbox has room for.
const MAILBOX: usize = 2;
/// What the kernel takes for a client that reads nothing.
const WINDOW_BYTES: usize = 512;
/// Frames of one [`Operation::Send`].
const MAX_TIMES: u8 = 100;
/// Faults of a run: each is told to every socket, whether it reads or not.
const MAX_FAULTS: usize = 8;

/// What one socket may make a hub hold, of each kind: replies to the messages that wait for a ruling
/// are given without reading on.
const MOST_REPLY_BYTES: usize = SEND_QUEUE_BYTES + 32 * 1024;
/// The beginning of a message, grown by doubling, and one read behind it.
const MOST_READ_BYTES: usize = 2 * MAX_FRAME_BYTES + 16 * 1024 + 1024;
const MOST_WAITING_BYTES: usize = MAX_WAITING_BYTES + MAX_FRAME_BYTES + 1024;
/// What all of that may be for a socket that has not authenticated.
const MOST_UNAUTHENTICATED_BYTES: usize = 64 * 1024;
/// Mail that waits in a hub while the other's mailbox is full. It reads nothing then.
const MOST_MAIL: usize = 4096;

struct World {
    now: Instant,
    hubs: Vec<Hub>,
    sides: Vec<Side>,
    mail: Vec<VecDeque<Vec<Mail>>>,
    opened: u64,
    faults: usize,
    has_signed_in: bool,
}

/// Runs the operations, and then lets everybody go.
pub fn run(operations: Vec<Operation>) {
    let mut world = World::new();
    for operation in operations {
        world.perform(operation);
    }
    world.end();
}

impl World {
    fn new() -> Self {
        let now = Instant::from_millis(1);
        Self {
            now,
            hubs: (0..HUBS).map(|me| Hub::new(config(me), policy(), now)).collect(),
            sides: (0..HUBS).map(|_| Side::new()).collect(),
            mail: (0..HUBS).map(|_| VecDeque::new()).collect(),
            opened: 0,
            faults: 0,
            has_signed_in: false,
        }
    }

    fn perform(&mut self, operation: Operation) {
        match operation {
            Operation::Open(who) => self.open(who),
            Operation::Send { who, says, times } => {
                let (at, slot) = place(who);
                self.has_signed_in |= matches!(says, Says::Auth(_));
                for _ in 0..times % MAX_TIMES {
                    self.sides[at].sockets[slot].send(says);
                }
            }
            Operation::SendAnything(who, bytes) => {
                let (at, slot) = place(who);
                self.sides[at].sockets[slot].sent.extend(bytes);
            }
            Operation::Arrive(who, bytes) => self.arrive(who, bytes.into()),
            Operation::Take(who, bytes) => self.take(who, bytes.into()),
            Operation::Break(who) => self.end_socket(who),
            Operation::Answer(granted) => {
                (0..self.hubs.len()).for_each(|at| self.answer(at, granted))
            }
            Operation::Late(late) => {
                self.sides.iter_mut().for_each(|side| side.is_late = late == Granted::Yes);
            }
            Operation::Mail(hub) => self.read_mail(usize::from(hub) % self.hubs.len()),
            Operation::Turn(hub) => self.turn(usize::from(hub) % self.hubs.len()),
            Operation::Wait(ms) => self.now = self.now + Duration::from_millis(ms.into()),
            Operation::Reload => {
                (0..self.hubs.len()).for_each(|at| self.tell(at, Event::Reload(policy())));
            }
            Operation::Fault(channel) if self.faults < MAX_FAULTS => {
                self.faults += 1;
                self.hubs.iter_mut().for_each(|hub| hub.fail_next_put(name(channel)));
            }
            Operation::Fault(_) => {}
        }
    }

    fn open(&mut self, who: u8) {
        let (at, slot) = place(who);
        if self.sides[at].sockets[slot].is_open {
            return;
        }
        self.opened += 1;
        self.sides[at].sockets[slot] =
            Socket { is_open: true, room: WINDOW_BYTES, ..Socket::closed() };
        let default_channel = match self.opened % 2 {
            0 => DefaultChannel::Named(name(who)),
            _ => DefaultChannel::None,
        };
        let id = ConnectionId::from_bytes(u128::from(self.opened).to_be_bytes());
        let opening = Opening::Client { default_channel, origin: None };
        self.tell(at, Event::Opened { slot: slot as u32, id, opening });
    }

    fn arrive(&mut self, who: u8, bytes: usize) {
        let (at, slot) = place(who);
        let (hub, socket) = (&self.hubs[at], &mut self.sides[at].sockets[slot]);
        if !socket.is_open || hub.has_read_enough() {
            return;
        }
        let count = bytes.min(socket.sent.len()).min(hub.read_limit(slot as u32));
        let mut bytes: Vec<u8> = socket.sent.drain(..count).collect();
        if !bytes.is_empty() {
            self.tell(at, Event::Received { slot: slot as u32, bytes: &mut bytes });
        }
    }

    fn take(&mut self, who: u8, bytes: usize) {
        let (at, slot) = place(who);
        let socket = &mut self.sides[at].sockets[slot];
        socket.room = (socket.room + bytes).min(usize::from(u16::MAX));
        if socket.is_open && std::mem::take(&mut socket.is_blocked) {
            self.tell(at, Event::Writable { slot: slot as u32 });
        }
    }

    fn end_socket(&mut self, who: u8) {
        let (at, slot) = place(who);
        if self.sides[at].sockets[slot].is_open {
            self.tell(at, Event::Ended { slot: slot as u32, how: End::Broken });
        }
    }

    fn answer(&mut self, at: usize, granted: Granted) {
        let event = match self.sides[at].late.pop_front() {
            None => return,
            Some(Late::Verification(asker, verification)) => {
                Event::Verified { asker, checked: verification.into() }
            }
            Some(Late::Ruling(asker, channel)) => {
                let ruling = if granted == Granted::Yes { Ruling::Granted } else { Ruling::Denied };
                Event::Ruling { asker, channel, ruling, rule: None }
            }
        };
        self.tell(at, event);
    }

    fn tell(&mut self, at: usize, event: Event<'_>) {
        self.hubs[at].handle(event, self.now, &mut self.sides[at]);
    }

    fn read_mail(&mut self, at: usize) {
        while let Some(batch) = self.mail[at].pop_front() {
            self.tell(at, Event::Mail(batch));
        }
    }

    fn turn(&mut self, at: usize) {
        self.sides[at].room = [0, 1].map(|to| MAILBOX.saturating_sub(self.mail[to].len()));
        self.hubs[at].turn(self.now, &mut self.sides[at]);
        for (to, batch) in std::mem::take(&mut self.sides[at].outbox) {
            self.mail[usize::from(to.0)].push_back(batch);
        }
        self.is_bounded(&self.hubs[at].holdings());
    }

    fn is_bounded(&self, held: &Holdings) {
        let channels = usize::from(CHANNELS);
        let of_connections =
            [held.connections, held.taken_over, held.snapshot_requests, held.channel_leases];
        assert!(of_connections.iter().all(|count| *count <= SOCKETS), "{held:?}");
        let of_slots = [held.unread, held.reviews];
        assert!(of_slots.iter().all(|count| *count <= 2 * SOCKETS), "{held:?}");
        assert!(held.subscriptions <= SOCKETS * channels, "{held:?}");
        assert!(held.audience_channels <= channels && held.planned <= channels, "{held:?}");
        assert!(held.postponed <= channels && held.default_channels <= channels, "{held:?}");
        assert!(held.mail <= MOST_MAIL, "{held:?}");
        assert_eq!(held.replied, 0, "{held:?}");
        assert!(held.most_flush_bytes <= SEND_QUEUE_BYTES, "{held:?}");
        assert!(held.most_reply_bytes <= MOST_REPLY_BYTES, "{held:?}");
        assert!(held.most_read_bytes <= MOST_READ_BYTES, "{held:?}");
        assert!(held.most_waiting_bytes <= MOST_WAITING_BYTES, "{held:?}");
        let all = held.most_reply_bytes + held.most_read_bytes + held.most_waiting_bytes;
        assert!(self.has_signed_in || all <= MOST_UNAUTHENTICATED_BYTES, "{held:?}");
    }

    fn end(&mut self) {
        for who in 0..=u8::MAX {
            self.end_socket(who);
        }
        // Longer than any lease, grace or collection, in steps that are no pause of the process.
        for _ in 0..120 {
            for at in 0..self.hubs.len() {
                while !self.sides[at].late.is_empty() {
                    self.answer(at, Granted::No);
                }
                self.read_mail(at);
                self.turn(at);
            }
            self.now = self.now + Duration::from_millis(500);
        }
        for hub in &self.hubs {
            let but_records = Holdings { records: 0, ..hub.holdings() };
            assert_eq!(but_records, Holdings::default(), "something is left");
        }
        self.now = self.now + RECORDS_KEPT_FOR + SCAN_EVERY;
        for at in 0..self.hubs.len() {
            self.turn(at);
            assert_eq!(self.hubs[at].holdings(), Holdings::default(), "remembered for ever");
        }
        assert!(self.mail.iter().all(VecDeque::is_empty), "mail is left");
    }
}

/// Which hub, and which slot there.
fn place(who: u8) -> (usize, usize) {
    (usize::from(who) % usize::from(HUBS), usize::from(who) / usize::from(HUBS) % SOCKETS)
}

fn name(channel: u8) -> ChannelName {
    ChannelName::parse(&format!("presence:c{}", channel % CHANNELS)).expect("a valid name")
}

fn config(me: u16) -> Config {
    Config {
        me: Peer(me),
        hubs: HUBS,
        membership: Membership::Alone,
        epoch_base: 1,
        limits: Limits {
            auth_timeout: Duration::from_secs(5),
            expiry_leeway: Duration::ZERO,
            rate: RateLimit { messages_per_second: 50, burst: 100 },
            max_channels: 100,
            max_waiting_messages: 32,
            max_waiting_bytes: MAX_WAITING_BYTES,
            max_unauthenticated_waiting_bytes: MAX_WAITING_BYTES,
        },
        presence_ttl: Duration::from_secs(10),
        hibernate_after: Some(Duration::from_secs(3)),
        max_detached_per_user: 2,
        max_frame_bytes: MAX_FRAME_BYTES,
        send_queue_bytes: SEND_QUEUE_BYTES,
        writes_per_turn: 2,
        flush_delay: None,
        gather_for: None,
        user_index: UserIndex::LargeChannels,
        remembers: Remembers::Causes,
        fault_on_channel: None,
    }
}

fn policy() -> Arc<Policy> {
    let settings =
        ChannelSettings { max_members: 4, presence_ttl_ms: 10_000, disconnect_grace_ms: 2_000 };
    Arc::new(Policy::new(settings, Patterns::new(Vec::new())))
}
