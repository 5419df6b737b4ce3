//! What connections are told that only count, and exactly when.

#[path = "../examples/one_hub/mod.rs"]
mod one_hub;

use std::time::Duration;

use herenow_hub::{End, Event};
use herenow_wire::DefaultChannel;
use one_hub::{OneHub, masked};

const SECOND: Duration = Duration::from_secs(1);
const LESS: Duration = Duration::from_millis(900);
const COUNTING: &str = r#"{"type":"subscribe","channel":"presence:lobby","mode":"count"}"#;
const LISTING: &str = r#"{"type":"subscribe","channel":"presence:lobby"}"#;
const LEAVING: &str = r#"{"type":"presence_leave","channel":"presence:lobby"}"#;

fn say(one_hub: &mut OneHub, slot: u32, text: &str) {
    one_hub.receive(slot, &masked(text));
    one_hub.turn();
}

/// Tracks without having subscribed to anything that is of interest here.
fn track(one_hub: &mut OneHub, slot: u32, number: u32) {
    let state = format!(r#"{{"n":{number}}}"#);
    let join = r#"{"type":"presence_join","channel":"presence:lobby","state":"#;
    say(one_hub, slot, &format!("{join}{state}}}"));
}

/// What was written since the last call: of counts the two numbers, of all else the type.
fn told(one_hub: &mut OneHub) -> Vec<String> {
    let written = one_hub.take_recorded();
    let text = String::from_utf8_lossy(&written).into_owned();
    one_hub.record();
    let field = |rest: &str, name: &str| {
        let value = rest.split(&format!("\"{name}\":")).nth(1).unwrap_or_default();
        value.chars().take_while(char::is_ascii_digit).collect::<String>()
    };
    let messages = text.split("{\"type\":\"").skip(1).map(|rest| {
        let kind = rest.split('"').next().unwrap_or_default();
        match kind {
            "presence_count" => {
                format!("{} in {}", field(rest, "users"), field(rest, "connections"))
            }
            _ => kind.to_owned(),
        }
    });
    messages.collect()
}

fn counting(one_hub: &mut OneHub) -> u32 {
    let slot = one_hub.connect();
    one_hub.turn();
    told(one_hub);
    say(one_hub, slot, COUNTING);
    slot
}

fn recording() -> OneHub {
    let mut one_hub = OneHub::new();
    one_hub.record();
    one_hub
}

fn after(one_hub: &mut OneHub, time: Duration) -> Vec<String> {
    one_hub.wait(time);
    one_hub.turn();
    told(one_hub)
}

// P4.22, P5.8
#[test]
fn a_count_comes_at_once_and_then_at_most_once_a_second_if_it_has_changed() {
    let mut one_hub = recording();
    counting(&mut one_hub);
    assert_eq!(told(&mut one_hub), ["subscribed", "0 in 0"]);
    let joining = one_hub.connect();
    track(&mut one_hub, joining, 0);
    assert_eq!(told(&mut one_hub), ["auth_success", "presence_sync"], "a second is not over");
    track(&mut one_hub, joining, 1);
    assert_eq!(told(&mut one_hub), ["presence_update"], "the member is told, who counts is not");
    assert_eq!(after(&mut one_hub, LESS), [""; 0]);
    assert_eq!(after(&mut one_hub, SECOND - LESS), ["1 in 1"]);
    // A state that changes is no other count.
    track(&mut one_hub, joining, 2);
    assert_eq!(told(&mut one_hub), ["presence_update"]);
    assert_eq!(after(&mut one_hub, 2 * SECOND), [""; 0]);
    // After a quiet second a change is told at once.
    say(&mut one_hub, joining, LEAVING);
    assert_eq!(told(&mut one_hub), ["presence_leave", "0 in 0"]);
    // What has changed and changed back is not told.
    track(&mut one_hub, joining, 3);
    say(&mut one_hub, joining, LEAVING);
    assert_eq!(told(&mut one_hub), ["presence_join", "presence_leave"]);
    assert_eq!(after(&mut one_hub, 2 * SECOND), [""; 0]);
}

// P4.22
#[test]
fn who_counts_may_track_and_is_told_nothing_but_counts() {
    let mut one_hub = recording();
    let slot = counting(&mut one_hub);
    track(&mut one_hub, slot, 0);
    assert_eq!(told(&mut one_hub), ["subscribed", "0 in 0"]);
    assert_eq!(after(&mut one_hub, SECOND), ["1 in 1"]);
    track(&mut one_hub, slot, 1);
    assert_eq!(after(&mut one_hub, SECOND), [""; 0]);
    say(&mut one_hub, slot, r#"{"type":"presence_sync","channel":"presence:lobby"}"#);
    assert_eq!(told(&mut one_hub), ["1 in 1"], "it asked for the count");
}

// P4.22
#[test]
fn another_subscribe_changes_what_a_subscription_receives() {
    let mut one_hub = recording();
    let slot = counting(&mut one_hub);
    told(&mut one_hub);
    say(&mut one_hub, slot, LISTING);
    assert_eq!(told(&mut one_hub), ["subscribed", "presence_sync"]);
    track(&mut one_hub, slot, 0);
    assert_eq!(told(&mut one_hub), ["presence_join"]);
    say(&mut one_hub, slot, COUNTING);
    assert_eq!(told(&mut one_hub), ["subscribed", "1 in 1"]);
    track(&mut one_hub, slot, 1);
    assert_eq!(told(&mut one_hub), [""; 0]);
    say(&mut one_hub, slot, r#"{"type":"unsubscribe","channel":"presence:lobby"}"#);
    assert_eq!(told(&mut one_hub), ["unsubscribed"]);
    assert_eq!(after(&mut one_hub, 2 * SECOND), [""; 0], "it has left, and hears nothing of it");
}

// P5.8
#[test]
fn very_many_are_told_in_parts_each_by_one_write_and_nothing_of_what_fifty_show() {
    const MANY: u32 = 1_500;
    let mut one_hub = OneHub::new();
    for _ in 0..MANY {
        let slot = one_hub.connect_idle(DefaultChannel::None);
        one_hub.receive(slot, &masked(COUNTING));
    }
    for _ in 0..10 {
        one_hub.turn();
    }
    let shown: Vec<u32> = (0..50).map(|_| one_hub.connect()).collect();
    one_hub.turn();
    let before = one_hub.written();
    for (number, slot) in (0..).zip(&shown) {
        let join = r#"{"type":"presence_join","channel":"presence:other","state":{}}"#;
        one_hub.receive(*slot, &masked(join));
        let join = format!(
            r#"{{"type":"presence_join","channel":"presence:lobby","state":{{"n":{number}}}}}"#
        );
        one_hub.receive(*slot, &masked(&join));
        say(&mut one_hub, *slot, r#"{"type":"unsubscribe","channel":"presence:lobby"}"#);
    }
    let own = one_hub.written().writes - before.writes;
    assert!(own < u64::from(MANY), "{own} writes to those who show something");
    let join = r#"{"type":"presence_join","channel":"presence:lobby","state":{}}"#;
    say(&mut one_hub, shown[0], join);
    one_hub.wait(SECOND);
    let before = one_hub.written();
    one_hub.turn();
    let first = one_hub.written().writes - before.writes;
    assert!(first < u64::from(MANY), "{first} writes in one turn hold everything else up");
    for _ in 0..10 {
        one_hub.turn();
    }
    assert_eq!(one_hub.written().writes - before.writes, u64::from(MANY));
}

#[test]
fn nothing_is_kept_of_counts_that_nobody_receives() {
    let mut one_hub = recording();
    let slots = [counting(&mut one_hub), counting(&mut one_hub)];
    track(&mut one_hub, slots[0], 0);
    assert!(one_hub.holdings().counts > 0 && one_hub.holdings().subscriptions == 2);
    for slot in slots {
        one_hub.tell(Event::Ended { slot, how: End::Broken });
        one_hub.turn();
    }
    one_hub.wait(SECOND);
    one_hub.turn();
    let holdings = one_hub.holdings();
    assert_eq!((holdings.counts, holdings.subscriptions, holdings.channels), (0, 0, 0));
}

// P5.8
#[test]
fn a_channel_that_hibernates_is_counted_without_being_woken() {
    let mut one_hub = recording();
    let shown = one_hub.connect();
    track(&mut one_hub, shown, 0);
    one_hub.hibernate();
    told(&mut one_hub);
    counting(&mut one_hub);
    assert_eq!(told(&mut one_hub), ["subscribed", "1 in 1"]);
    assert_eq!(one_hub.counters().resyncs.rebuilt, 0);
}
