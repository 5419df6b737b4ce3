//! What one event costs does not grow with the number of those whom it does not concern. Counted in
//! steps of the hub, since a clock would count the machine's other work as well.

#[path = "../examples/one_hub/mod.rs"]
mod one_hub;

use std::sync::Arc;

use herenow_core::{ChannelSettings, Claim, Overrides, Pattern, Patterns, Peer, Place, Policy};
use herenow_hub::{End, Event, Holdings};
use herenow_wire::{ChannelName, ConnectionId, DefaultChannel};
use one_hub::{OneHub, masked, settings, track};

const IDLE: usize = 20_000;
const STATE_BYTES: usize = 120;
/// What a connection's opening, authentication and claim may look at.
const FEW_LOOKS: u64 = 40;

fn with_idle(policy: Policy) -> OneHub {
    let mut one_hub = OneHub::with_policy(policy);
    connect_idle(&mut one_hub, IDLE);
    one_hub
}

fn connect_idle(one_hub: &mut OneHub, count: usize) -> Vec<u32> {
    let connect = |_| {
        let slot = one_hub.connect();
        one_hub.turn();
        slot
    };
    (0..count).map(connect).collect()
}

/// Turns until nothing is left to be read or written.
fn settle(one_hub: &mut OneHub) {
    one_hub.turn();
    let has_work = |held: Holdings| held.unread + held.deliveries + held.planned > 0;
    while has_work(one_hub.holdings()) {
        one_hub.turn();
    }
}

fn end(one_hub: &mut OneHub, slot: u32) {
    one_hub.tell(Event::Ended { slot, how: End::Broken });
}

fn looks(one_hub: &mut OneHub, take: impl FnOnce(&mut OneHub)) -> u64 {
    let before = one_hub.steps().connections;
    take(one_hub);
    one_hub.turn();
    one_hub.steps().connections - before
}

fn with_grace() -> Policy {
    let settings = ChannelSettings { disconnect_grace_ms: 30_000, ..settings() };
    Policy::new(settings, Patterns::default())
}

fn subscribe(channel: &str) -> Vec<u8> {
    masked(&format!(r#"{{"type":"subscribe","channel":"presence:{channel}"}}"#))
}

fn count_of(text: &str, bytes: &[u8]) -> usize {
    bytes.windows(text.len()).filter(|window| *window == text.as_bytes()).count()
}

// P7.9
#[test]
fn a_claim_looks_at_the_one_place_that_it_names_and_elsewhere_is_an_ordinary_sign_in() {
    let mut one_hub = with_idle(with_grace());
    one_hub.record();
    let nobody = ConnectionId::from_bytes([7; 16]);
    for (peer, slot) in [(0, 17), (0, u32::MAX), (9, 17)] {
        let claim = Claim {
            connection: nobody,
            generation: 0,
            place: Some(Place { peer: Peer(peer), slot }),
        };
        let seen = looks(&mut one_hub, |one_hub| {
            one_hub.connect_claiming(claim);
        });
        assert!(seen <= FEW_LOOKS, "{seen} looks at {IDLE} connections for {claim:?}");
        let told = one_hub.take_recorded();
        assert_eq!(count_of("auth_success", &told), 1, "it is a new connection");
    }
}

// P7.9
#[test]
fn a_claim_that_names_the_place_finds_its_session_with_and_without_a_socket() {
    let mut one_hub = with_idle(with_grace());
    // The outside names users by their slots, and a session is claimed by its own user alone.
    let connection = |claimed: Option<Claim>| claimed.expect("a token was given").connection;
    let first = one_hub.connect();
    let claim = one_hub.claimable().expect("a token was given");
    one_hub.receive(first, &track("lobby", 1, STATE_BYTES));
    one_hub.turn();
    one_hub.tell(Event::Ended { slot: first, how: End::Broken });
    one_hub.turn();
    assert_eq!(one_hub.holdings().detached, 1);
    let seen = looks(&mut one_hub, |one_hub| one_hub.return_to(first, Some(claim)));
    assert!(seen <= FEW_LOOKS, "{seen} looks at {IDLE} connections");
    assert_eq!(one_hub.holdings().detached, 0, "it was taken over");
    assert_eq!(connection(one_hub.claimable()), claim.connection);
    assert_eq!(one_hub.holdings().members, 1);
}

// P9.3
#[test]
fn a_channel_that_wakes_concerns_its_subscribers_and_those_that_named_it_alone() {
    const SUBSCRIBERS: usize = 10;
    const NAMED: usize = 3;
    let mut one_hub = with_idle(Policy::new(settings(), Patterns::default()));
    let slots: Vec<u32> = (0..SUBSCRIBERS).map(|_| one_hub.connect()).collect();
    for slot in &slots {
        one_hub.receive(*slot, &track("sleepy", 1, STATE_BYTES));
    }
    one_hub.turn();
    one_hub.hibernate();
    for _ in 0..NAMED {
        let name = ChannelName::parse("presence:sleepy").expect("a valid name");
        one_hub.connect_idle(DefaultChannel::Named(name));
    }
    one_hub.turn();
    one_hub.record();
    let seen = looks(&mut one_hub, |one_hub| {
        one_hub.receive(slots[0], &track("sleepy", 2, STATE_BYTES));
    });
    let told = count_of("PRESENCE_RESYNC", &one_hub.take_recorded());
    assert_eq!(told, SUBSCRIBERS + NAMED);
    assert!(seen <= 10 * told as u64, "{seen} looks at {IDLE} connections");
}

#[test]
fn a_channel_whose_delivery_runs_waits_once_however_much_happens_in_it() {
    const SUBSCRIBERS: usize = 2000;
    let mut one_hub = OneHub::new();
    let slots: Vec<u32> = (0..SUBSCRIBERS as u32).collect();
    for slot in &slots {
        one_hub.connect();
        one_hub.receive(*slot, &subscribe("stage"));
        one_hub.turn();
    }
    let mut most = 0;
    for turn in 0..100 {
        for slot in &slots[..8] {
            one_hub.receive(*slot, &track("stage", turn, STATE_BYTES));
        }
        one_hub.turn();
        let holdings = one_hub.holdings();
        most = most.max(holdings.postponed);
        assert!(holdings.deliveries <= 1 && holdings.planned <= 1, "{holdings:?}");
    }
    assert_eq!(most, 1, "a flush waited for the one before it");
    (0..20).for_each(|_| one_hub.turn());
    let holdings = one_hub.holdings();
    assert_eq!((holdings.postponed, holdings.deliveries, holdings.planned), (0, 0, 0));
}

#[test]
fn a_reload_reviews_each_connection_at_the_same_cost_however_many_there_are() {
    let looks_each = |connections: usize| {
        let mut one_hub = OneHub::new();
        for number in 0..connections {
            let slot = one_hub.connect();
            one_hub.receive(slot, &subscribe(&format!("c{}", number / 10)));
            one_hub.turn();
        }
        let policy = Arc::new(Policy::new(settings(), Patterns::default()));
        let before = one_hub.steps().connections;
        one_hub.tell(Event::Reload(policy));
        while one_hub.holdings().reviews > 0 {
            one_hub.turn();
        }
        (one_hub.steps().connections - before) / connections as u64
    };
    let (few, many) = (looks_each(IDLE / 10), looks_each(IDLE));
    assert!(many <= few + 1, "{few} looks each for few, {many} for many");
}

/// What a lookup in a channel of that many subscribers may look at, and what is done about the one
/// that is found.
const FEW_LOOKUPS: u64 = 80;

#[test]
fn those_who_leave_a_large_channel_are_found_without_a_walk_over_it() {
    let mut one_hub = OneHub::new();
    let slots = connect_idle(&mut one_hub, IDLE);
    slots.iter().for_each(|slot| one_hub.receive(*slot, &subscribe("stage")));
    settle(&mut one_hub);
    let before = one_hub.steps().subscribers;
    for (number, slot) in slots.iter().enumerate() {
        match number % 2 {
            0 => end(&mut one_hub, *slot),
            _ => one_hub
                .receive(*slot, &masked(r#"{"type":"unsubscribe","channel":"presence:stage"}"#)),
        }
    }
    settle(&mut one_hub);
    assert_eq!(one_hub.holdings().subscriptions, 0);
    let each = (one_hub.steps().subscribers - before) / IDLE as u64;
    assert!((1..=FEW_LOOKUPS).contains(&each), "{each} looks at subscribers for each that left");
}

// P9.3
#[test]
fn a_channel_that_wakes_is_answered_for_without_a_look_at_those_taken_over_in_others() {
    const IN_ONE_CHANNEL: u32 = 10;
    let mut one_hub = OneHub::with_policy(with_grace());
    let sleeper = one_hub.connect();
    one_hub.receive(sleeper, &track("sleepy", 1, STATE_BYTES));
    one_hub.turn();
    one_hub.hibernate();
    let mut claims = Vec::new();
    for slot in 1..=IDLE as u32 {
        assert_eq!(one_hub.connect(), slot);
        claims.push((slot, one_hub.claimable().expect("a token was given")));
        one_hub.receive(slot, &track(&format!("c{}", slot / IN_ONE_CHANNEL), 1, STATE_BYTES));
        one_hub.turn();
    }
    claims.iter().for_each(|(slot, _)| end(&mut one_hub, *slot));
    one_hub.turn();
    one_hub.silence_rules();
    for (slot, claim) in claims {
        one_hub.return_to(slot, Some(claim));
        one_hub.turn();
    }
    assert_eq!(one_hub.holdings().taken_over, IDLE);
    one_hub.record();
    let seen = looks(&mut one_hub, |one_hub| {
        one_hub.receive(sleeper, &track("sleepy", 2, STATE_BYTES));
    });
    assert_eq!(count_of("PRESENCE_RESYNC", &one_hub.take_recorded()), 1);
    assert!(seen <= FEW_LOOKS, "{seen} looks at {IDLE} connections");
}

#[test]
fn a_put_in_a_namespace_with_a_lease_of_its_own_looks_at_its_own_connection_alone() {
    let own = Overrides { presence_ttl_ms: Some(60_000), ..Overrides::default() };
    let games = Pattern::parse("presence:game-*").expect("a valid pattern");
    let patterns = Patterns::new(vec![(games, own)]);
    let mut one_hub = OneHub::with_policy(Policy::new(settings(), patterns));
    let slots = connect_idle(&mut one_hub, IDLE);
    for slot in &slots {
        one_hub.receive(*slot, &track(&format!("game-{}", slot / 10), 1, STATE_BYTES));
        one_hub.turn();
    }
    assert_eq!(one_hub.holdings().channel_leases, IDLE);
    let seen = looks(&mut one_hub, |one_hub| {
        one_hub.receive(slots[7], &track("game-0", 2, STATE_BYTES));
    });
    assert!((1..=FEW_LOOKS).contains(&seen), "{seen} looks at {IDLE} connections");
}

#[test]
fn a_turn_in_which_nothing_happened_looks_at_no_connection() {
    let mut one_hub = with_idle(with_grace());
    assert_eq!(looks(&mut one_hub, |one_hub| one_hub.shell_turn()), 0);
}
