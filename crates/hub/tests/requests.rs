//! What a backend asks of a hub, and exactly what it is answered.

#[path = "../examples/one_hub/mod.rs"]
mod one_hub;

use std::time::Duration;

use herenow_core::{ChannelSettings, Patterns, Policy, Target};
use herenow_hub::{
    End, Event, ListedMember, MemberKey, MemberPage, PutMember, ReadRequest, Request, Response,
    WriteRequest,
};
use herenow_wire::{ChannelName, ConnectionId, State, UserId};
use one_hub::{OneHub, masked, settings};

/// No request of these tests takes so many.
const MOST_TURNS: usize = 100;

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(&format!("presence:{name}")).expect("a valid name")
}

fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a valid id")
}

fn state(json: &str) -> State {
    State::parse(json).expect("a valid state")
}

fn track(name: &str, state: &str) -> Vec<u8> {
    let channel = format!("presence:{name}");
    masked(&format!(r#"{{"type":"presence_join","channel":"{channel}","state":{state}}}"#))
}

/// Asks, and turns until the answer has come. Returns it, and after how many turns.
fn ask(one_hub: &mut OneHub, request: impl Into<Request>) -> (Response, usize) {
    one_hub.tell(Event::Request { id: 7, request: request.into() });
    for turns in 0..MOST_TURNS {
        if let Some((id, response)) = one_hub.take_responses().pop() {
            assert_eq!(id, 7);
            return (response, turns);
        }
        one_hub.turn();
    }
    panic!("no answer in {MOST_TURNS} turns");
}

fn list(one_hub: &mut OneHub, name: &str, after: Option<u64>, limit: usize) -> MemberPage {
    let request = ReadRequest::ListMembers { channel: channel(name), after, limit };
    match ask(one_hub, request).0 {
        Response::Members(page) => page,
        other => panic!("{other:?} answers no list"),
    }
}

/// So many connections show themselves in a channel. They subscribe to nothing else.
fn crowd(one_hub: &mut OneHub, name: &str, count: u32) -> Vec<u32> {
    let slots: Vec<u32> = (0..count).map(|_| one_hub.connect()).collect();
    for slot in &slots {
        one_hub.receive(*slot, &track(name, r#"{"n":0}"#));
    }
    one_hub.turn();
    slots
}

fn put(name: &str, key: &str, json: &str) -> WriteRequest {
    WriteRequest::PutMember(PutMember {
        channel: channel(name),
        key: MemberKey::parse(key).expect("a valid key"),
        user: user("bot"),
        state: state(json),
        ttl: Duration::from_secs(5),
        connection: ConnectionId::from_bytes([9; 16]),
    })
}

/// Time passes without a pause that would be forgiven.
fn live(one_hub: &mut OneHub, time: Duration) {
    let step = Duration::from_millis(250);
    for _ in 0..time.div_duration_f64(step) as u32 {
        one_hub.wait(step);
        one_hub.turn();
    }
}

fn users(members: &[ListedMember]) -> Vec<&str> {
    members.iter().map(|member| member.user.as_str()).collect()
}

#[test]
fn a_channel_that_nobody_uses_is_empty_and_has_no_position() {
    let mut one_hub = OneHub::new();
    assert_eq!(list(&mut one_hub, "nowhere", None, 10), MemberPage::default());
}

#[test]
fn a_list_comes_in_pages_in_the_order_of_the_last_track() {
    let mut one_hub = OneHub::new();
    let slots = crowd(&mut one_hub, "lobby", 5);
    one_hub.receive(slots[0], &track("lobby", r#"{"n":1}"#));
    let first = list(&mut one_hub, "lobby", None, 3);
    assert_eq!(users(&first.members), ["user-1", "user-2", "user-3"]);
    assert_eq!((first.users, first.connections, first.has_more), (5, 5, true));
    let last = first.members.last().map(|member| member.seq);
    let second = list(&mut one_hub, "lobby", last, 3);
    assert_eq!(users(&second.members), ["user-4", "user-0"]);
    assert_eq!(second.members[1].state, state(r#"{"n":1}"#));
    assert!(!second.has_more);
    assert_eq!(second.position, first.position);
}

#[test]
fn a_list_shows_what_subscribers_have_been_told() {
    let mut one_hub = OneHub::new();
    let slots = crowd(&mut one_hub, "lobby", 2);
    one_hub.record();
    one_hub.receive(slots[0], &track("lobby", r#"{"n":1}"#));
    let page = list(&mut one_hub, "lobby", None, 10);
    let told = String::from_utf8_lossy(&one_hub.take_recorded()).into_owned();
    let seq = page.position.expect("the channel is used").seq;
    assert!(told.contains(&format!(r#""seq":{seq}"#)), "{seq} is not in {told}");
}

#[test]
fn a_channel_that_hibernates_is_rebuilt_before_it_is_listed() {
    let mut one_hub = OneHub::new();
    let slots = crowd(&mut one_hub, "lobby", 2);
    let page = list(&mut one_hub, "lobby", None, 1);
    let joined = page.members[0].since;
    one_hub.hibernate();
    one_hub.tell(Event::Request {
        id: 1,
        request: ReadRequest::CountMembers { channels: vec![channel("lobby")] }.into(),
    });
    one_hub.tell(Event::Request {
        id: 2,
        request: ReadRequest::ListMembers { channel: channel("lobby"), after: None, limit: 10 }
            .into(),
    });
    one_hub.turn();
    let counted = one_hub.take_responses();
    let Some((1, Response::Channels(channels))) = counted.first() else {
        panic!("{counted:?}");
    };
    assert_eq!((channels[0].users, channels[0].connections), (2, 2));
    assert_eq!(channels[0].position, page.position, "nothing has changed since");
    assert_eq!(counted.len(), 1, "the list waits for the clients");
    for slot in &slots {
        one_hub.receive(*slot, &track("lobby", r#"{"n":2}"#));
    }
    one_hub.turn();
    one_hub.turn();
    let listed = one_hub.take_responses();
    let [(2, Response::Members(page))] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!(users(&page.members), ["user-0", "user-1"]);
    assert_eq!(page.members[0].since, joined, "it has been there all the while");
}

#[test]
fn channels_are_listed_by_name_with_their_users_and_connections() {
    let mut one_hub = OneHub::new();
    for name in ["b-2", "a-1", "b-1", "b-10"] {
        crowd(&mut one_hub, name, 2);
    }
    let names_after = |one_hub: &mut OneHub, after: Option<&str>| {
        let request =
            ReadRequest::ListChannels { prefix: "b-".into(), after: after.map(channel), limit: 2 };
        let Response::Channels(channels) = ask(one_hub, request).0 else { panic!("no channels") };
        assert!(channels.iter().all(|count| (count.users, count.connections) == (2, 2)));
        channels.iter().map(|count| count.channel.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names_after(&mut one_hub, None), ["b-1", "b-10"]);
    assert_eq!(names_after(&mut one_hub, Some("b-10")), ["b-2"]);
    assert_eq!(names_after(&mut one_hub, Some("b-2")), [""; 0]);
    let request = ReadRequest::CountSubscribers { channels: vec![channel("b-1"), channel("none")] };
    assert_eq!(ask(&mut one_hub, request).0, Response::Counts(vec![2, 0]));
}

#[test]
fn a_channel_counts_its_own_changes_whatever_happens_in_others_of_its_shard() {
    let mut one_hub = OneHub::new();
    let slots = crowd(&mut one_hub, "a", 1);
    // More channels than there are shards: some share one with `a`, and its `seq`.
    let others: Vec<_> = (0..2000).map(|n| format!("other-{n}")).collect();
    let others: Vec<_> = others.iter().map(|name| (name, crowd(&mut one_hub, name, 1))).collect();
    let count = |one_hub: &mut OneHub| {
        let request = ReadRequest::CountMembers { channels: vec![channel("a")] };
        let Response::Channels(channels) = ask(one_hub, request).0 else { panic!("no channels") };
        channels[0].position.expect("the channel is used")
    };
    let before = count(&mut one_hub);
    for (name, other) in &others {
        one_hub.receive(other[0], &track(name, r#"{"n":1}"#));
    }
    one_hub.receive(slots[0], &track("a", r#"{"n":1}"#));
    one_hub.receive(slots[0], &track("a", r#"{"n":2}"#));
    let after = count(&mut one_hub);
    assert_eq!((before.epoch, before.changes), (after.epoch, after.changes - 2));
    assert!(after.seq > before.seq + 2, "{before:?}, {after:?}");
}

#[test]
fn a_user_is_found_wherever_it_is_and_counted() {
    let mut one_hub = OneHub::new();
    let slots = crowd(&mut one_hub, "lobby", 3);
    one_hub.receive(slots[1], &track("game", r#"{"score":1}"#));
    one_hub.receive(slots[2], &masked(r#"{"type":"subscribe","channel":"presence:game"}"#));
    one_hub.turn();
    let found = ask(&mut one_hub, ReadRequest::FindUser { user: user("user-1") }).0;
    assert_eq!(found, Response::ChannelNames(vec![channel("game"), channel("lobby")]));
    let request = ReadRequest::ListUser {
        user: user("user-1"),
        channels: vec![channel("game"), channel("other"), channel("lobby")],
    };
    let Response::UserMembers(members) = ask(&mut one_hub, request).0 else { panic!("no members") };
    let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["game", "lobby"]);
    assert_eq!(members[0].1[0].state, state(r#"{"score":1}"#));
    let wanted = vec![user("user-2"), user("nobody"), user("user-0")];
    let request = ReadRequest::CountUsers { users: wanted.clone(), channel: None };
    assert_eq!(ask(&mut one_hub, request).0, Response::Counts(vec![1, 0, 1]));
    let request = ReadRequest::CountUsers { users: wanted, channel: Some(channel("game")) };
    assert_eq!(ask(&mut one_hub, request).0, Response::Counts(vec![0, 0, 0]));
}

#[test]
fn a_connection_that_shows_nothing_is_not_counted_with_a_socket_or_without_one() {
    let settings = ChannelSettings { disconnect_grace_ms: 30_000, ..settings() };
    let mut one_hub = OneHub::with_policy(Policy::new(settings, Patterns::default()));
    let slots = crowd(&mut one_hub, "lobby", 1);
    let watching = one_hub.connect();
    one_hub.receive(watching, &masked(r#"{"type":"subscribe","channel":"presence:lobby"}"#));
    one_hub.tell(Event::Ended { slot: slots[0], how: End::Broken });
    one_hub.turn();
    assert_eq!(one_hub.holdings().detached, 1);
    let count = |one_hub: &mut OneHub| {
        let users = ["user-0", "user-1", "user-2"].map(user).to_vec();
        ask(one_hub, ReadRequest::CountUsers { users, channel: None }).0
    };
    assert_eq!(count(&mut one_hub), Response::Counts(vec![1, 0, 0]));
    let kick = WriteRequest::Kick {
        channel: channel("lobby"),
        target: Target::User(user("user-0")),
        time: Duration::ZERO,
    };
    ask(&mut one_hub, kick);
    assert_eq!(count(&mut one_hub), Response::Counts(vec![0, 0, 0]));
}

#[test]
fn a_member_without_a_connection_is_put_renewed_and_ends_with_its_time() {
    let mut one_hub = OneHub::new();
    crowd(&mut one_hub, "lobby", 1);
    let connection = ConnectionId::from_bytes([9; 16]);
    let answer = ask(&mut one_hub, put("lobby", "bot-1", r#"{"n":1}"#)).0;
    assert_eq!(answer, Response::Put { connection, is_new: true });
    live(&mut one_hub, Duration::from_secs(4));
    let answer = ask(&mut one_hub, put("lobby", "bot-1", r#"{"n":2}"#)).0;
    assert_eq!(answer, Response::Put { connection, is_new: false });
    live(&mut one_hub, Duration::from_secs(4));
    let page = list(&mut one_hub, "lobby", None, 10);
    assert_eq!(users(&page.members), ["user-0", "bot"]);
    assert_eq!(page.members[1].state, state(r#"{"n":2}"#));
    one_hub.record();
    live(&mut one_hub, Duration::from_secs(2));
    let told = String::from_utf8_lossy(&one_hub.take_recorded()).into_owned();
    assert!(told.contains(r#""reason":"timeout""#), "{told}");
    assert_eq!(users(&list(&mut one_hub, "lobby", None, 10).members), ["user-0"]);
    assert_eq!(one_hub.holdings().keyed_members, 0);
}

#[test]
fn a_member_without_a_connection_survives_hibernation_and_is_removed_by_its_key() {
    let mut one_hub = OneHub::new();
    let request = put("lobby", "bot-1", r#"{"n":1}"#);
    let WriteRequest::PutMember(mut long) = request else { panic!("a put") };
    long.ttl = Duration::from_secs(3600);
    ask(&mut one_hub, WriteRequest::PutMember(long));
    one_hub.hibernate();
    assert_eq!(users(&list(&mut one_hub, "lobby", None, 10).members), ["bot"]);
    let key = MemberKey::parse("bot-1").expect("a valid key");
    let remove = WriteRequest::RemoveMember {
        channel: channel("lobby"),
        key,
        connection: ConnectionId::from_bytes([9; 16]),
    };
    assert_eq!(ask(&mut one_hub, remove.clone()).0, Response::Removed);
    assert_eq!(ask(&mut one_hub, remove).0, Response::NotFound);
    assert_eq!(list(&mut one_hub, "lobby", None, 10).connections, 0);
}

// P4.20
#[test]
fn whoever_is_kicked_leaves_the_channel_and_is_kept_out_for_the_time() {
    let mut one_hub = OneHub::new();
    let slots = crowd(&mut one_hub, "lobby", 2);
    one_hub.record();
    let kick = WriteRequest::Kick {
        channel: channel("lobby"),
        target: Target::User(user("user-1")),
        time: Duration::from_secs(60),
    };
    assert_eq!(ask(&mut one_hub, kick).0, Response::Counts(vec![1]));
    one_hub.turn();
    let told = String::from_utf8_lossy(&one_hub.take_recorded()).into_owned();
    assert!(told.contains(r#""reason":"kicked""#), "{told}");
    assert!(told.contains(r#""code":"KICKED","retryAfterMs":60000"#), "{told}");
    assert_eq!(users(&list(&mut one_hub, "lobby", None, 10).members), ["user-0"]);
    one_hub.wait(Duration::from_secs(10));
    one_hub.record();
    one_hub.receive(slots[1], &track("lobby", r#"{"n":1}"#));
    one_hub.turn();
    let told = String::from_utf8_lossy(&one_hub.take_recorded()).into_owned();
    assert!(told.contains(r#""retryAfterMs":50000"#), "{told}");
    assert_eq!(list(&mut one_hub, "lobby", None, 10).connections, 1);
    one_hub.wait(Duration::from_secs(50));
    one_hub.receive(slots[1], &track("lobby", r#"{"n":1}"#));
    one_hub.turn();
    assert_eq!(list(&mut one_hub, "lobby", None, 10).connections, 2);
}

// P3.16
#[test]
fn whoever_is_disconnected_ends_everywhere_and_cannot_sign_in_for_the_time() {
    let mut one_hub = OneHub::new();
    let slots = crowd(&mut one_hub, "lobby", 2);
    one_hub.record();
    let request = WriteRequest::Disconnect { user: user("user-1"), time: Duration::from_secs(60) };
    assert_eq!(ask(&mut one_hub, request).0, Response::Counts(vec![1]));
    one_hub.turn();
    let told = String::from_utf8_lossy(&one_hub.take_recorded()).into_owned();
    assert!(told.contains(r#""code":"KICKED""#), "{told}");
    assert_eq!(users(&list(&mut one_hub, "lobby", None, 10).members), ["user-0"]);
    one_hub.tell(Event::Ended { slot: slots[1], how: End::Broken });
    one_hub.turn();
    one_hub.return_to(slots[1], None);
    one_hub.receive(slots[1], &track("lobby", r#"{"n":1}"#));
    one_hub.turn();
    assert_eq!(list(&mut one_hub, "lobby", None, 10).connections, 1);
}
