//! What a hub remembers of each cause that takes time, or another member, and exactly when.

#[path = "../examples/one_hub/mod.rs"]
mod one_hub;

use std::sync::Arc;
use std::time::Duration;

use herenow_core::{ChannelSettings, Patterns, Policy, Target};
use herenow_hub::{
    Cause, End, Event, GaveWayTo, Lost, MemberKey, Past, PastMember, PutMember, RECORDS_KEPT_FOR,
    ReadRequest, Request, Response, SocketEnd, UserEvent, UserFacts, WriteRequest,
};
use herenow_wire::{ChannelName, CloseCode, ConnectionId, State, UserId};
use one_hub::{OneHub, masked, settings};

/// No request of these tests takes so many.
const MOST_TURNS: usize = 100;
/// Shorter than a pause that would be forgiven.
const STEP: Duration = Duration::from_millis(250);
/// How often ends of leases and graces are looked for, and a step.
const LATE: Duration = Duration::from_millis(1250);

const LEASE: Duration = Duration::from_secs(20);
const GRACE: Duration = Duration::from_secs(10);

fn lobby() -> ChannelName {
    ChannelName::parse("presence:lobby").expect("a valid name")
}

fn user(slot: u32) -> UserId {
    UserId::parse(&format!("user-{slot}")).expect("a valid id")
}

fn remembering(change: impl FnOnce(&mut ChannelSettings)) -> OneHub {
    let mut settings = settings();
    change(&mut settings);
    OneHub::remembering(Policy::new(settings, Patterns::default()))
}

fn join(one_hub: &mut OneHub) -> u32 {
    let slot = one_hub.connect();
    track(one_hub, slot);
    slot
}

fn track(one_hub: &mut OneHub, slot: u32) {
    one_hub.receive(
        slot,
        &masked(r#"{"type":"presence_join","channel":"presence:lobby","state":{}}"#),
    );
    one_hub.turn();
}

/// The socket breaks.
fn break_off(one_hub: &mut OneHub, slot: u32) {
    one_hub.tell(Event::Ended { slot, how: End::Broken });
    one_hub.turn();
}

fn live(one_hub: &mut OneHub, time: Duration) {
    for _ in 0..time.div_duration_f64(STEP).ceil() as u32 {
        one_hub.wait(STEP);
        one_hub.turn();
    }
}

fn ask(one_hub: &mut OneHub, request: impl Into<Request>) -> Response {
    one_hub.tell(Event::Request { id: 7, request: request.into() });
    for _ in 0..MOST_TURNS {
        if let Some((_, response)) = one_hub.take_responses().pop() {
            return response;
        }
        one_hub.turn();
    }
    panic!("no answer in {MOST_TURNS} turns");
}

/// Who has left, the oldest first.
fn left(one_hub: &mut OneHub, user: UserId) -> Vec<Past<PastMember>> {
    match ask(one_hub, ReadRequest::ExplainMember { channel: lobby(), user }) {
        Response::MemberFacts(facts) => facts.left,
        other => panic!("{other:?} explains nothing"),
    }
}

fn user_facts(one_hub: &mut OneHub, user: UserId) -> UserFacts {
    match ask(one_hub, ReadRequest::ExplainUser { channel: lobby(), user }) {
        Response::UserFacts(facts) => *facts,
        other => panic!("{other:?} explains nothing"),
    }
}

/// Why the user left, who has left once.
#[track_caller]
fn cause(one_hub: &mut OneHub, user: UserId) -> Cause {
    let [only] = <[_; 1]>::try_from(left(one_hub, user)).expect("one leave");
    only.what.cause
}

fn is_about(time: Duration, expected: Duration) -> bool {
    (expected..=expected + LATE).contains(&time)
}

fn put(key: &str) -> WriteRequest {
    WriteRequest::PutMember(PutMember {
        channel: lobby(),
        key: MemberKey::parse(key).expect("a valid key"),
        user: user(9),
        state: State::parse("{}").expect("a valid state"),
        ttl: GRACE,
        connection: ConnectionId::from_bytes([9; 16]),
    })
}

#[test]
fn a_lease_of_a_channel_ends_with_how_long_nothing_was_heard() {
    let mut one_hub = remembering(|settings| settings.presence_ttl_ms = LEASE.as_millis() as u64);
    let slot = join(&mut one_hub);
    live(&mut one_hub, LEASE + LATE);
    let [past] = <[_; 1]>::try_from(left(&mut one_hub, user(slot))).expect("one leave");
    match past.what.cause {
        Cause::ChannelLeaseEnded { silent } => assert!(is_about(silent, LEASE), "{silent:?}"),
        other => panic!("{other:?}"),
    }
    let life = past.what.life.expect("its socket is known");
    assert_eq!(life.key.as_deref(), Some("JWT_USER_SECRET"));
    assert!(is_about(past.at.since(life.heard_at), LEASE));
}

#[test]
fn a_lease_of_a_connection_ends_with_its_close_code() {
    let mut one_hub = remembering(|_| {});
    let slot = join(&mut one_hub);
    // Another connection keeps the channel awake.
    let other = one_hub.connect();
    for _ in 0..=one_hub::PRESENCE_TTL.div_duration_f64(GRACE) as u32 {
        live(&mut one_hub, GRACE);
        track(&mut one_hub, other);
    }
    match cause(&mut one_hub, user(slot)) {
        Cause::LeaseEnded { silent } => assert!(is_about(silent, one_hub::PRESENCE_TTL)),
        other => panic!("{other:?}"),
    }
    let events = user_facts(&mut one_hub, user(slot)).events;
    let end = SocketEnd::ServerClosed(CloseCode::PresenceTimeout.number());
    assert!(
        events
            .iter()
            .any(|past| matches!(past.what, UserEvent::Ended { end: is, .. } if is == end)),
        "{events:?}"
    );
}

#[test]
fn a_grace_ends_with_how_the_socket_was_lost() {
    let mut one_hub =
        remembering(|settings| settings.disconnect_grace_ms = GRACE.as_millis() as u64);
    let slot = join(&mut one_hub);
    break_off(&mut one_hub, slot);
    let waiting = user_facts(&mut one_hub, user(slot)).connections;
    let lost = waiting.first().and_then(|one| one.lost).expect("it waits for another socket");
    assert_eq!((waiting.len(), lost.end), (1, SocketEnd::Broken));
    live(&mut one_hub, GRACE + LATE);
    assert_eq!(cause(&mut one_hub, user(slot)), Cause::GraceEnded(lost));
    assert_eq!(user_facts(&mut one_hub, user(slot)).connections, []);
}

#[test]
fn a_session_without_a_socket_gives_way_to_a_new_connection() {
    let mut one_hub = remembering(|settings| settings.disconnect_grace_ms = 600_000);
    let slot = join(&mut one_hub);
    break_off(&mut one_hub, slot);
    one_hub.tell(Event::EvictDetached);
    match cause(&mut one_hub, user(slot)) {
        Cause::GaveWay(Lost { end, .. }, to) => {
            assert_eq!((end, to), (SocketEnd::Broken, GaveWayTo::Connection));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_member_that_lost_its_socket_gives_way_in_a_full_channel() {
    let mut one_hub = remembering(|settings| {
        settings.disconnect_grace_ms = 600_000;
        settings.max_members = 1;
    });
    let first = join(&mut one_hub);
    break_off(&mut one_hub, first);
    let second = join(&mut one_hub);
    assert_eq!(one_hub.shown(second), 1);
    assert_eq!(cause(&mut one_hub, user(first)), Cause::Evicted);
}

#[test]
fn each_member_that_gives_way_after_the_limit_was_lowered_is_told() {
    let with_limit = |max_members| {
        let grace = ChannelSettings { disconnect_grace_ms: 600_000, ..settings() };
        Policy::new(ChannelSettings { max_members, ..grace }, Patterns::default())
    };
    let mut one_hub = OneHub::remembering(with_limit(3));
    let broken: Vec<u32> = (0..3).map(|_| join(&mut one_hub)).collect();
    broken.iter().for_each(|slot| break_off(&mut one_hub, *slot));
    one_hub.tell(Event::Reload(Arc::new(with_limit(2))));
    let last = join(&mut one_hub);
    assert_eq!(one_hub.shown(last), 1);
    for slot in &broken[..2] {
        assert_eq!(cause(&mut one_hub, user(*slot)), Cause::Evicted);
    }
    assert_eq!(left(&mut one_hub, user(broken[2])), [], "there is room for it");
}

#[test]
fn a_right_that_is_lost_with_a_reload_is_the_cause_of_a_leave() {
    let mut one_hub = remembering(|_| {});
    let slot = join(&mut one_hub);
    one_hub.deny();
    one_hub.tell(Event::Reload(Arc::new(Policy::new(settings(), Patterns::default()))));
    one_hub.turn();
    one_hub.turn();
    assert_eq!(cause(&mut one_hub, user(slot)), Cause::RightLost(None));
}

#[test]
fn a_member_of_a_backend_leaves_when_it_is_not_renewed_or_when_it_is_kicked() {
    let mut one_hub = remembering(|_| {});
    ask(&mut one_hub, put("bot-1"));
    live(&mut one_hub, GRACE + LATE);
    let key = |text| MemberKey::parse(text).expect("a valid key");
    assert_eq!(cause(&mut one_hub, user(9)), Cause::KeyEnded(key("bot-1")));
    ask(&mut one_hub, put("bot-2"));
    let target = Target::User(user(9));
    ask(&mut one_hub, WriteRequest::Kick { channel: lobby(), target, time: Duration::ZERO });
    let last = left(&mut one_hub, user(9)).pop().expect("it has left");
    assert_eq!(last.what.cause, Cause::KeyKicked(key("bot-2")));
}

#[test]
fn what_is_over_is_forgotten_after_its_time() {
    let mut one_hub = remembering(|_| {});
    let slot = join(&mut one_hub);
    break_off(&mut one_hub, slot);
    let is_known = |one_hub: &mut OneHub| {
        let facts = user_facts(one_hub, user(slot));
        (left(one_hub, user(slot)).len(), facts.events.len())
    };
    live(&mut one_hub, RECORDS_KEPT_FOR - LATE);
    assert_eq!(is_known(&mut one_hub), (1, 1));
    live(&mut one_hub, LATE + LATE);
    assert_eq!(is_known(&mut one_hub), (0, 0));
    assert_eq!(one_hub.holdings().records, 0);
}

#[test]
fn a_hub_that_remembers_nothing_says_so() {
    let mut one_hub = OneHub::new();
    join(&mut one_hub);
    let request = ReadRequest::ExplainMember { channel: lobby(), user: user(0) };
    assert_eq!(ask(&mut one_hub, request), Response::NotFound);
}
