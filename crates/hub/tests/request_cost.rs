//! What answering backends costs in one turn is bounded, however much is listed: a flush waits for
//! one turn's share and no longer. Counted in the hub's own measure and in turns, since a clock would
//! count the machine's other work as well.

#[path = "../examples/one_hub/mod.rs"]
mod one_hub;

use std::time::Duration;

use herenow_core::{ChannelSettings, Patterns, Policy, Target};
use herenow_hub::{
    End, Event, Holdings, LOOKS_PER_TURN, MemberKey, PutMember, ReadRequest, Request, Response,
    WriteRequest,
};
use herenow_wire::{ChannelName, ConnectionId, State, UserId};
use one_hub::{OneHub, masked, settings, track};

/// No request of these tests takes so many.
const MOST_TURNS: usize = 1000;
const STATE_BYTES: usize = 100;
const CROWD: u32 = 12_000;
/// What a request may cost beside the members of the channels that it lists whole.
const FEW_LOOKS: u64 = 1000;

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(&format!("presence:{name}")).expect("a valid name")
}

fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a valid id")
}

/// What answering took.
#[derive(Debug)]
struct Cost {
    turns: usize,
    looks: u64,
    most_looks_of_a_turn: u64,
}

fn ask(one_hub: &mut OneHub, request: impl Into<Request>) -> (Response, Cost) {
    one_hub.tell(Event::Request { id: 1, request: request.into() });
    answer(one_hub)
}

/// Turns until the request is answered that was made.
fn answer(one_hub: &mut OneHub) -> (Response, Cost) {
    let before = one_hub.steps().requests;
    let mut cost = Cost { turns: 0, looks: 0, most_looks_of_a_turn: 0 };
    while cost.turns < MOST_TURNS {
        let looks = one_hub.steps().requests;
        one_hub.turn();
        cost.turns += 1;
        cost.looks = one_hub.steps().requests - before;
        cost.most_looks_of_a_turn = cost.most_looks_of_a_turn.max(one_hub.steps().requests - looks);
        if let Some((_, response)) = one_hub.take_responses().pop() {
            return (response, cost);
        }
    }
    panic!("no answer in {MOST_TURNS} turns");
}

fn show(one_hub: &mut OneHub, name: &str) -> u32 {
    let slot = one_hub.connect();
    one_hub.receive(slot, &track(name, 0, STATE_BYTES));
    slot
}

/// Turns until every subscriber has been told everything.
fn settle(one_hub: &mut OneHub) {
    for _ in 0..MOST_TURNS {
        one_hub.turn();
        let Holdings { unread, recipients, postponed, planned, .. } = one_hub.holdings();
        if [unread, recipients, postponed, planned] == [0; 4] {
            return;
        }
    }
    panic!("deliveries are left after {MOST_TURNS} turns");
}

fn put_keyed(one_hub: &mut OneHub, name: &str, n: u32) {
    let member = WriteRequest::PutMember(PutMember {
        channel: channel(name),
        key: MemberKey::parse(&format!("bot-{n}")).expect("a valid key"),
        user: user(&format!("bot-{}", n % 100)),
        state: State::parse("{}").expect("a valid state"),
        ttl: Duration::from_secs(3600),
        connection: ConnectionId::from_bytes((u128::from(n) << 64).to_be_bytes()),
    });
    one_hub.tell(Event::Request { id: 0, request: member.into() });
    one_hub.take_responses();
}

#[test]
fn a_walk_over_connections_detached_sessions_and_keyed_members_takes_many_turns() {
    let settings = ChannelSettings { disconnect_grace_ms: 3_600_000, ..settings() };
    let mut one_hub = OneHub::with_policy(Policy::new(settings, Patterns::default()));
    let slots: Vec<u32> = (0..CROWD).map(|_| show(&mut one_hub, "lobby")).collect();
    settle(&mut one_hub);
    for slot in slots.into_iter().step_by(2) {
        one_hub.tell(Event::Ended { slot, how: End::Broken });
    }
    for n in 0..CROWD {
        put_keyed(&mut one_hub, "lobby", n);
    }
    settle(&mut one_hub);
    let holdings = one_hub.holdings();
    assert_eq!(holdings.detached, CROWD as usize / 2);
    assert_eq!(holdings.keyed_members, CROWD as usize);
    let users = ["bot-7", "user-8", "user-9", "nobody"].map(user).to_vec();
    let (counted, count) = ask(&mut one_hub, ReadRequest::CountUsers { users, channel: None });
    assert_eq!(counted, Response::Counts(vec![CROWD as usize / 100, 1, 1, 0]));
    let (found, find) = ask(&mut one_hub, ReadRequest::FindUser { user: user("bot-7") });
    assert_eq!(found, Response::ChannelNames(vec![channel("lobby")]));
    for cost in [count, find] {
        // Each is looked at, and no turn looks at more than its share of them.
        assert!(cost.looks >= u64::from(2 * CROWD), "{cost:?}");
        assert!(cost.turns as u64 >= cost.looks / LOOKS_PER_TURN as u64, "{cost:?}");
        assert!(cost.turns >= 4, "{cost:?}");
        assert!(cost.most_looks_of_a_turn <= LOOKS_PER_TURN as u64 + FEW_LOOKS, "{cost:?}");
    }
}

fn kick(name: &str, time: Duration) -> Request {
    let target = Target::User(user(name));
    WriteRequest::Kick { channel: channel("lobby"), target, time }.into()
}

/// Whether a user is in the lobby.
fn has_member(one_hub: &mut OneHub, name: &str) -> bool {
    let list = ReadRequest::CountUsers { users: vec![user(name)], channel: Some(channel("lobby")) };
    ask(one_hub, list).0 != Response::Counts(vec![0])
}

#[test]
fn a_kick_and_a_disconnection_take_many_turns_and_keep_out_from_the_first_on() {
    let settings = ChannelSettings { disconnect_grace_ms: 3_600_000, ..settings() };
    let mut one_hub = OneHub::with_policy(Policy::new(settings, Patterns::default()));
    let slots: Vec<u32> = (0..CROWD).map(|_| show(&mut one_hub, "lobby")).collect();
    settle(&mut one_hub);
    for slot in slots.iter().copied().step_by(2) {
        one_hub.tell(Event::Ended { slot, how: End::Broken });
    }
    for n in 0..CROWD {
        put_keyed(&mut one_hub, "lobby", n);
    }
    settle(&mut one_hub);
    // One without a socket, and one that is found among the last.
    let (gone, late) = (CROWD - 2, CROWD - 1);
    for (name, found) in [("bot-7", CROWD / 100), (&*format!("user-{gone}"), 1)] {
        let (response, cost) = ask(&mut one_hub, kick(name, Duration::from_secs(60)));
        assert_eq!(response, Response::Counts(vec![found as usize]), "{name}");
        assert!(!has_member(&mut one_hub, name), "{name}");
        assert!(cost.looks >= u64::from(2 * CROWD), "{name}: {cost:?}");
        assert!(cost.turns >= 4, "{name}: {cost:?}");
        let most = LOOKS_PER_TURN as u64 + u64::from(CROWD) + FEW_LOOKS;
        assert!(cost.most_looks_of_a_turn <= most, "{name}: {cost:?}");
    }
    let name = format!("user-{late}");
    let time = Duration::from_secs(60);
    let disconnect = WriteRequest::Disconnect { user: user(&name), time }.into();
    for request in [kick(&name, time), disconnect] {
        one_hub.tell(Event::Request { id: 1, request });
        one_hub.turn();
        assert!(one_hub.take_responses().is_empty(), "it takes several turns");
        one_hub.record();
        one_hub.receive(late, &track("lobby", 1, STATE_BYTES));
        let (response, cost) = answer(&mut one_hub);
        assert_eq!(response, Response::Counts(vec![1]));
        assert!(cost.turns >= 2, "{cost:?}");
        let most = LOOKS_PER_TURN as u64 + 2 * FEW_LOOKS;
        assert!(cost.most_looks_of_a_turn <= most, "{cost:?}");
        let told = String::from_utf8_lossy(&one_hub.take_recorded()).into_owned();
        assert!(told.contains(r#""code":"KICKED""#), "{told}");
        assert!(!has_member(&mut one_hub, &name));
    }
}

#[test]
fn a_session_that_is_claimed_while_its_user_is_looked_for_is_kept_out() {
    let settings = ChannelSettings { disconnect_grace_ms: 3_600_000, ..settings() };
    let mut one_hub = OneHub::with_policy(Policy::new(settings, Patterns::default()));
    // More than a turn looks at.
    let crowd = CROWD / 2;
    for _ in 0..crowd {
        show(&mut one_hub, "lobby");
    }
    settle(&mut one_hub);
    let slot = crowd - 1;
    let name = format!("user-{slot}");
    let claim = one_hub.claimable().expect("each has a token to resume with");
    one_hub.tell(Event::Ended { slot, how: End::Broken });
    settle(&mut one_hub);
    assert!(has_member(&mut one_hub, &name));
    one_hub.tell(Event::Request { id: 1, request: kick(&name, Duration::from_secs(60)) });
    one_hub.turn();
    assert!(one_hub.take_responses().is_empty(), "it takes several turns");
    one_hub.return_to(slot, Some(claim));
    assert_eq!(one_hub.holdings().detached, 0, "it is claimed");
    answer(&mut one_hub);
    assert!(!has_member(&mut one_hub, &name));
}

#[test]
fn a_page_of_a_large_channel_costs_a_look_at_each_member_and_counting_it_does_not() {
    let mut one_hub = OneHub::new();
    for _ in 0..CROWD {
        show(&mut one_hub, "large");
    }
    settle(&mut one_hub);
    let list = |limit| ReadRequest::ListMembers { channel: channel("large"), after: None, limit };
    let (_, page) = ask(&mut one_hub, list(1000));
    assert_eq!(page.turns, 1, "a list is of one moment");
    assert!((u64::from(CROWD)..u64::from(CROWD) + FEW_LOOKS).contains(&page.looks), "{page:?}");
    let user = user("user-7");
    for request in [
        list(0),
        ReadRequest::ListChannels { prefix: "".into(), after: None, limit: 1000 },
        ReadRequest::CountMembers { channels: vec![channel("large")] },
        ReadRequest::CountUsers { users: vec![user.clone()], channel: Some(channel("large")) },
        ReadRequest::ListUser { user: user.clone(), channels: vec![channel("large")] },
    ] {
        let (_, cost) = ask(&mut one_hub, request.clone());
        assert!(cost.looks < FEW_LOOKS, "{request:?}: {cost:?}");
    }
}

#[test]
fn a_listing_of_many_channels_takes_many_turns() {
    const CHANNELS: usize = 1000;
    const EACH: u32 = 30;
    let mut one_hub = OneHub::new();
    for n in 0..CHANNELS {
        for _ in 0..EACH {
            show(&mut one_hub, &format!("room-{n:03}"));
        }
    }
    settle(&mut one_hub);
    let list = ReadRequest::ListChannels { prefix: "room-".into(), after: None, limit: CHANNELS };
    let (response, cost) = ask(&mut one_hub, list);
    let Response::Channels(channels) = response else { panic!("{response:?}") };
    assert_eq!(channels.len(), CHANNELS);
    assert!(cost.turns >= 5, "{cost:?}");
    assert!(cost.most_looks_of_a_turn <= LOOKS_PER_TURN as u64 + FEW_LOOKS, "{cost:?}");
}

#[test]
fn a_turn_looks_at_one_channel_of_a_request_that_waits_for_many_to_be_rebuilt() {
    const CHANNELS: usize = 1000;
    const REQUESTS: u64 = 30;
    let mut one_hub = OneHub::new();
    let names: Vec<String> = (0..CHANNELS).map(|n| format!("room-{n:03}")).collect();
    let slots: Vec<u32> = names.iter().map(|name| show(&mut one_hub, name)).collect();
    settle(&mut one_hub);
    one_hub.hibernate();
    for id in 0..REQUESTS {
        let channels = names.iter().map(|name| channel(name)).collect();
        let request = ReadRequest::ListUser { user: user("user-7"), channels };
        one_hub.tell(Event::Request { id, request: request.into() });
    }
    // All of them find out that they have to wait.
    settle(&mut one_hub);
    for _ in 0..REQUESTS {
        one_hub.turn();
    }
    let before = one_hub.steps().requests;
    one_hub.turn();
    let looks = one_hub.steps().requests - before;
    assert!((1..=100 * REQUESTS).contains(&looks), "{looks} looks of {REQUESTS} requests");
    for (slot, name) in slots.into_iter().zip(&names) {
        one_hub.receive(slot, &track(name, 1, STATE_BYTES));
    }
    settle(&mut one_hub);
    for _ in 0..10 * REQUESTS {
        one_hub.turn();
    }
    let answers = one_hub.take_responses();
    assert_eq!(answers.len() as u64, REQUESTS);
    for (_, answer) in answers {
        let Response::UserMembers(found) = answer else { panic!("{answer:?}") };
        assert_eq!(found.len(), 1);
    }
}

#[test]
fn a_flush_goes_out_while_a_long_request_is_answered() {
    let mut one_hub = OneHub::new();
    for _ in 0..CROWD {
        show(&mut one_hub, "lobby");
    }
    let quiet = show(&mut one_hub, "quiet");
    settle(&mut one_hub);
    one_hub.record();
    let find = ReadRequest::FindUser { user: user("user-7") };
    one_hub.tell(Event::Request { id: 1, request: find.into() });
    one_hub.turn();
    assert!(one_hub.take_responses().is_empty(), "it takes several turns");
    one_hub.receive(
        quiet,
        &masked(r#"{"type":"presence_join","channel":"presence:quiet","state":{"n":7}}"#),
    );
    one_hub.turn();
    let told = String::from_utf8_lossy(&one_hub.take_recorded()).into_owned();
    assert!(told.contains(r#""n":7"#), "{told}");
    assert!(one_hub.take_responses().is_empty(), "the flush did not wait for it");
}
