use herenow_wire::link::{Attachment, Interest, OwnerId, Position, Presence, Row, Snap};
use herenow_wire::{ConnectionId, State, UserId};

use super::*;

fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1_000)
}

fn channel(n: usize) -> ChannelName {
    ChannelName::parse(&format!("presence:c{n}")).expect("a valid name")
}

fn interest(n: usize) -> Item {
    Item::Interest { channel: channel(n), interest: Interest::Changes }
}

fn snap(n: usize) -> Item {
    let position = Position { epoch: 1, seq: 1 };
    Item::Snap(Snap { channel: channel(n), position, rows: Vec::new() })
}

/// An item that no report and no snapshot replaces.
fn heard(n: usize) -> Item {
    Item::Heard { channel: channel(n) }
}

/// The numbers of the batches that may go, and the first of them that begins the stream anew.
fn sent(sending: &mut Sending) -> Vec<(u64, Follows)> {
    let next = || sending.poll_batch(at(0)).map(|(n, follows, ..)| (n, follows));
    std::iter::from_fn(next).collect()
}

/// A stream that began with batch 101, which is acknowledged.
fn begun() -> Sending {
    let mut sending = Sending::new(64 * 1024, 100);
    assert_eq!(sending.contents(Contents::default()), Some(101));
    assert_eq!(sent(&mut sending), [(101, Follows::Nothing)]);
    assert!(sending.acknowledged(101));
    sending
}

/// Fills a stream until what comes next is only remembered.
fn fill(sending: &mut Sending) {
    let padding = "x".repeat(1000);
    let state = State::parse(&format!("{{\"x\":\"{padding}\"}}")).expect("an object");
    let rows = vec![row(state); 50];
    while sending.unacked_bytes < MAX_UNACKED_BYTES {
        let position = Position { epoch: 1, seq: 1 };
        let large = Snap { channel: channel(1_000), position, rows: rows.clone() };
        sending.take(vec![Item::Snap(large)], Urgency::Whenever);
        sent(sending);
    }
}

/// Everything that waits is sent and acknowledged.
fn drain(sending: &mut Sending) {
    while sending.received(sending.sent()) {
        sending.acknowledged(sending.sent());
        sent(sending);
    }
}

fn row(state: State) -> Row {
    let presence = Presence {
        connection: ConnectionId::from_bytes([1; 16]),
        generation: 0,
        user: UserId::parse("user").expect("a valid id").into(),
        attachment: Attachment::Socket,
        since_ms: 0,
    };
    Row { presence, owner: OwnerId(1), state, seq: 1 }
}

#[test]
fn batches_have_numbers_without_a_gap() {
    let mut sending = begun();
    for n in 102..110 {
        assert_eq!(sending.take(vec![interest(1)], Urgency::Soon), Taken::UpTo(n));
        assert_eq!(sent(&mut sending), [(n, Follows::Previous)]);
    }
}

#[test]
fn a_batch_is_asked_about_each_250_milliseconds_until_it_is_acknowledged() {
    let mut sending = begun();
    assert_eq!(sending.next_tick(), Instant::NEVER, "a stream without news is silent");
    sending.take(vec![interest(1)], Urgency::Soon);
    sent(&mut sending);
    assert_eq!(sending.next_tick(), at(250));
    assert!(sending.poll_tick(at(250)).is_some());
    assert_eq!(sending.next_tick(), at(500));
    assert!(sending.acknowledged(102));
    assert_eq!(sending.next_tick(), Instant::NEVER);
}

#[test]
fn an_acknowledgement_of_what_was_not_sent_or_is_old_does_not_count() {
    let mut sending = begun();
    sending.take(vec![interest(1)], Urgency::Soon);
    assert!(!sending.acknowledged(102), "it is not sent");
    sent(&mut sending);
    assert!(!sending.acknowledged(101), "it is no news");
    sending.begin_anew();
    assert!(!sending.acknowledged(102), "the contents will hold what it was about");
}

#[test]
fn a_stream_that_begins_anew_sends_nothing_before_its_contents() {
    let mut sending = begun();
    assert!(sending.begin_anew());
    assert!(!sending.begin_anew(), "it is news once");
    assert_eq!(sending.take(vec![interest(1)], Urgency::Soon), Taken::Owed);
    assert_eq!(sent(&mut sending), []);
    assert_eq!(sending.contents(Contents::default()), Some(102));
    assert_eq!(sent(&mut sending), [(102, Follows::Nothing)]);
}

#[test]
fn what_no_report_makes_good_is_sent_again_with_the_contents_until_it_is_acknowledged() {
    let mut sending = begun();
    sending.take(vec![heard(1)], Urgency::Soon);
    sent(&mut sending);
    sending.begin_anew();
    sending.contents(Contents::default());
    let (_, _, _, body) = sending.poll_batch(at(0)).expect("the contents");
    assert!(!body.is_empty(), "it is said again");
    assert!(sending.acknowledged(103));
    sending.begin_anew();
    sending.contents(Contents::default());
    let (_, _, _, body) = sending.poll_batch(at(0)).expect("the contents");
    assert!(body.is_empty(), "it was acknowledged");
}

#[test]
fn above_4_mib_a_link_remembers_only_what_is_owed() {
    let mut sending = begun();
    fill(&mut sending);
    let held = sending.held_bytes();
    for n in 0..100 {
        assert_eq!(sending.take(vec![snap(n), interest(n)], Urgency::Whenever), Taken::Owed);
    }
    assert_eq!(sent(&mut sending), []);
    assert_eq!(sending.held_bytes(), held, "nothing of it is kept");
    assert!(!sending.is_idle());
}

#[test]
fn what_is_owed_is_asked_for_64_at_a_time_when_there_is_room() {
    let mut sending = begun();
    fill(&mut sending);
    for n in 0..100 {
        sending.take(vec![snap(n)], Urgency::Whenever);
    }
    assert_eq!(sending.poll_owed(), None, "there is no room");
    drain(&mut sending);
    let first = sending.poll_owed().expect("there is room");
    assert_eq!(first.channels.len(), 64);
    assert_eq!(sending.poll_owed(), None, "the first were not answered");
    sending.answered(&first);
    let second = sending.poll_owed().expect("they were");
    assert_eq!(second.channels.len(), 36);
    assert!(!sending.is_idle());
    sending.answered(&second);
    assert!(sending.is_idle());
}

#[test]
fn what_was_asked_for_counts_as_owed_until_the_owner_has_answered() {
    let mut sending = begun();
    fill(&mut sending);
    sending.take(vec![snap(1), interest(1)], Urgency::Whenever);
    drain(&mut sending);
    let owed = sending.poll_owed().expect("there is room");
    // It was on its way to the link when the owner was asked: the answer holds it.
    assert_eq!(sending.take(vec![interest(1)], Urgency::Soon), Taken::Owed);
    assert_eq!(sending.take(vec![snap(1)], Urgency::Soon), Taken::Owed);
    sending.answered(&owed);
    assert!(matches!(sending.take(vec![snap(1)], Urgency::Soon), Taken::UpTo(_)));
    assert_eq!(sending.poll_owed(), None, "it is not asked for twice");
}

#[test]
fn what_has_come_makes_room_before_anybody_is_told_of_it() {
    let mut sending = begun();
    fill(&mut sending);
    sending.take(vec![snap(1)], Urgency::Whenever);
    assert_eq!(sending.poll_owed(), None, "there is no room");
    while sending.received(sending.sent()) {
        sent(&mut sending);
    }
    assert!(sending.poll_owed().is_some());
}

#[test]
fn nothing_is_acknowledged_while_a_snapshot_is_owed() {
    let mut sending = begun();
    fill(&mut sending);
    sending.take(vec![snap(1), interest(1)], Urgency::Whenever);
    drain(&mut sending);
    assert!(!sending.has_said_all(), "the snapshot tells what is acknowledged");
    let owed = sending.poll_owed().expect("there is room");
    assert!(!sending.has_said_all(), "it is asked for");
    sending.answered(&owed);
    assert!(sending.has_said_all());
}

#[test]
fn a_change_of_a_channel_whose_snapshot_is_owed_is_owed_too() {
    let mut sending = begun();
    fill(&mut sending);
    sending.take(vec![snap(1)], Urgency::Whenever);
    drain(&mut sending);
    assert_eq!(sending.take(vec![snap(1)], Urgency::Whenever), Taken::Owed);
    assert!(matches!(sending.take(vec![snap(2)], Urgency::Whenever), Taken::UpTo(_)));
}

#[test]
fn a_complaint_about_what_was_sent_before_the_stream_began_anew_is_old() {
    let mut sending = begun();
    sending.take(vec![interest(1)], Urgency::Soon);
    sent(&mut sending);
    assert!(sending.is_broken_by(102));
    sending.begin_anew();
    sending.contents(Contents::default());
    sent(&mut sending);
    assert!(!sending.is_broken_by(102), "a stream that begins with 103 is on its way");
    assert!(sending.is_broken_by(103));
}

#[test]
fn nothing_may_be_acknowledged_while_a_refusal_waits() {
    let mut sending = begun();
    assert!(sending.has_said_all());
    sending.take(vec![heard(1)], Urgency::Soon);
    assert!(!sending.has_said_all());
    sent(&mut sending);
    assert!(sending.has_said_all());
}
