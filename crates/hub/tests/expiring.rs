//! Fields of a state that end by themselves, and exactly when.

#[path = "../examples/one_hub/mod.rs"]
mod one_hub;

use std::time::Duration;

use herenow_core::{ChannelSettings, Patterns, Policy};
use herenow_hub::{End, Event};
use one_hub::{OneHub, masked, settings};

/// Shorter than a pause that would be forgiven.
const STEP: Duration = Duration::from_millis(250);

fn say(one_hub: &mut OneHub, slot: u32, text: &str) {
    one_hub.receive(slot, &masked(text));
    one_hub.turn();
}

fn track(one_hub: &mut OneHub, slot: u32, state: &str) {
    let channel = r#""channel":"presence:lobby""#;
    say(one_hub, slot, &format!(r#"{{"type":"presence_update",{channel},"state":{state}}}"#));
}

/// Tracks, and names fields that end.
fn track_for(one_hub: &mut OneHub, slot: u32, (state, expire): (&str, &str)) {
    let channel = r#""channel":"presence:lobby""#;
    say(
        one_hub,
        slot,
        &format!(r#"{{"type":"presence_update",{channel},"state":{state},"expire":{{{expire}}}}}"#),
    );
}

/// The states of the updates that were written since the last call, and `left` for each leave.
fn told(one_hub: &mut OneHub) -> Vec<String> {
    let written = one_hub.take_recorded();
    let text = String::from_utf8_lossy(&written).into_owned();
    one_hub.record();
    let messages = text.split("{\"type\":\"").skip(1).filter_map(|rest| {
        if rest.starts_with("presence_leave") {
            return Some("left".to_owned());
        }
        let is_update = rest.starts_with("presence_update");
        let (_, state) = rest.split_once("\"state\":").filter(|_| is_update)?;
        Some(state[..=state.find('}')?].to_owned())
    });
    messages.collect()
}

fn wait(one_hub: &mut OneHub, ms: u64) -> Vec<String> {
    for _ in 0..Duration::from_millis(ms).div_duration_f64(STEP) as u32 {
        one_hub.wait(STEP);
        one_hub.turn();
    }
    told(one_hub)
}

fn watched(change: impl FnOnce(&mut ChannelSettings)) -> (OneHub, u32) {
    let mut settings = settings();
    change(&mut settings);
    let mut one_hub = OneHub::with_policy(Policy::new(settings, Patterns::default()));
    one_hub.record();
    let watcher = one_hub.connect();
    say(&mut one_hub, watcher, r#"{"type":"subscribe","channel":"presence:lobby"}"#);
    let slot = one_hub.connect();
    track(&mut one_hub, slot, "{}");
    say(&mut one_hub, slot, r#"{"type":"subscribe","channel":"presence:other"}"#);
    told(&mut one_hub);
    (one_hub, slot)
}

const TYPING: (&str, &str) = (r#"{"a":1,"typing":true}"#, r#""typing":3000"#);

/// The watcher, and the member's own connection.
fn twice(state: &str) -> [String; 2] {
    [state.to_owned(), state.to_owned()]
}

// P4.23
#[test]
fn a_field_ends_when_its_time_is_up_though_the_client_says_nothing() {
    let (mut one_hub, slot) = watched(|_| {});
    track_for(&mut one_hub, slot, TYPING);
    assert_eq!(told(&mut one_hub), twice(TYPING.0));
    assert_eq!(wait(&mut one_hub, 2750), [""; 0]);
    assert_eq!(wait(&mut one_hub, 250), twice(r#"{"a":1}"#));
    assert_eq!(wait(&mut one_hub, 10_000), [""; 0]);
    assert_eq!(one_hub.holdings().expiring, 0);
}

// P4.23
#[test]
fn each_field_has_its_own_time_and_an_update_that_names_it_again_begins_it_anew() {
    let (mut one_hub, slot) = watched(|_| {});
    let both = (r#"{"says":"hi","typing":1}"#, r#""typing":1000,"says":3000"#);
    track_for(&mut one_hub, slot, both);
    assert_eq!(told(&mut one_hub), twice(both.0));
    assert_eq!(wait(&mut one_hub, 1000), twice(r#"{"says":"hi"}"#));
    // The same state again is no event, and yet its time begins anew.
    track_for(&mut one_hub, slot, (r#"{"says":"hi"}"#, r#""says":3000"#));
    assert_eq!(wait(&mut one_hub, 2750), [""; 0]);
    assert_eq!(wait(&mut one_hub, 250), twice("{}"));
}

// P4.23
#[test]
fn a_field_that_the_next_update_does_not_name_stays() {
    let (mut one_hub, slot) = watched(|_| {});
    track_for(&mut one_hub, slot, TYPING);
    track(&mut one_hub, slot, r#"{"typing":"for good"}"#);
    told(&mut one_hub);
    assert_eq!(wait(&mut one_hub, 10_000), [""; 0]);
    // What the state does not have is not kept.
    track_for(&mut one_hub, slot, (r#"{"b":1}"#, r#""typing":3000"#));
    assert_eq!(one_hub.holdings().expiring, 0);
}

// P4.23, P7.8
#[test]
fn a_field_ends_in_time_while_the_connection_has_no_socket_and_stays_until_then_when_it_is_resumed()
{
    let (mut one_hub, slot) = watched(|settings| settings.disconnect_grace_ms = 20_000);
    track_for(&mut one_hub, slot, TYPING);
    told(&mut one_hub);
    one_hub.tell(Event::Ended { slot, how: End::Broken });
    assert_eq!(wait(&mut one_hub, 1000), [""; 0]);
    let claim = one_hub.claimable().expect("there is a grace");
    let back = one_hub.connect_claiming(claim);
    one_hub.turn();
    assert_eq!(wait(&mut one_hub, 1000), [""; 0], "it still has a second");
    one_hub.tell(Event::Ended { slot: back, how: End::Broken });
    assert_eq!(wait(&mut one_hub, 1000), [r#"{"a":1}"#.to_owned()]);
    let claim = one_hub.claimable().expect("there is a grace");
    one_hub.connect_claiming(claim);
    one_hub.turn();
    assert_eq!(wait(&mut one_hub, 1000), [""; 0], "what has ended does not come back");
}

#[test]
fn nothing_is_kept_of_members_that_have_left() {
    let (mut one_hub, slot) = watched(|_| {});
    track_for(&mut one_hub, slot, TYPING);
    assert_eq!(one_hub.holdings().expiring, 1);
    one_hub.tell(Event::Ended { slot, how: End::Broken });
    one_hub.turn();
    assert_eq!(one_hub.holdings().expiring, 0);
    told(&mut one_hub);
    assert_eq!(wait(&mut one_hub, 5000), [""; 0]);
}

#[test] // P4.23, P9.2
fn the_end_of_a_field_wakes_a_channel_that_hibernates() {
    let (mut one_hub, slot) = watched(|_| ());
    track_for(&mut one_hub, slot, (r#"{"typing":true}"#, r#""typing":120000"#));
    told(&mut one_hub);
    one_hub.hibernate();
    one_hub.take_recorded();
    one_hub.record();
    for _ in 0..240 {
        one_hub.wait(STEP);
        one_hub.turn();
    }
    let written = one_hub.take_recorded();
    let asked = String::from_utf8_lossy(&written).matches("PRESENCE_RESYNC").count();
    assert_eq!(asked, 2, "the watcher still sees the field, and the member says what it shows");
}
