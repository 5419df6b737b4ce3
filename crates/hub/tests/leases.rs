//! Members of namespaces with a `presenceTTL` of their own: when they end in the silence of their
//! connection, and when the connection does.

#[path = "../examples/one_hub/mod.rs"]
mod one_hub;

use std::time::Duration;

use herenow_core::{ChannelSettings, Overrides, Pattern, Patterns, Policy, SCAN_EVERY};
use herenow_hub::{End, Event};
use one_hub::{OneHub, PRESENCE_TTL, masked, settings, track};

const STATE_BYTES: usize = 50;
const SHORT_TTL: Duration = Duration::from_secs(60);
const LONG_TTL: Duration = Duration::from_secs(2 * 3600);
/// How late the end of a lease may come.
const LATE: Duration = Duration::from_secs(1);
/// `presence:short` and `presence:long` have leases of their own; the others have the common one.
fn hub() -> OneHub {
    let row = |name: &str, ttl: Duration| {
        let pattern = Pattern::parse(&format!("presence:{name}")).expect("a valid pattern");
        let ttl_ms = Some(ttl.as_millis() as u64);
        (pattern, Overrides { presence_ttl_ms: ttl_ms, ..Overrides::default() })
    };
    let rows = vec![row("short", SHORT_TTL), row("long", LONG_TTL)];
    let settings = ChannelSettings { disconnect_grace_ms: 3_600_000, ..settings() };
    OneHub::with_policy(Policy::new(settings, Patterns::new(rows)))
}

fn show(one_hub: &mut OneHub, slot: u32, channel: &str) {
    one_hub.receive(slot, &track(channel, 1, STATE_BYTES));
    one_hub.turn();
}

fn hide(one_hub: &mut OneHub, slot: u32, channel: &str) {
    let text = format!(r#"{{"type":"presence_leave","channel":"presence:{channel}"}}"#);
    one_hub.receive(slot, &masked(&text));
    one_hub.turn();
}

/// Nobody says anything for so long.
fn be_silent(one_hub: &mut OneHub, time: Duration) {
    for _ in 0..time.as_millis() / SCAN_EVERY.as_millis() {
        one_hub.wait(SCAN_EVERY);
        one_hub.turn();
    }
}

// P7.3
#[test]
fn a_connection_that_left_the_channel_with_the_longer_lease_ends_with_the_common_one() {
    let mut one_hub = hub();
    let slot = one_hub.connect();
    show(&mut one_hub, slot, "long");
    show(&mut one_hub, slot, "common");
    hide(&mut one_hub, slot, "long");
    one_hub.record();
    be_silent(&mut one_hub, PRESENCE_TTL);
    assert_eq!(one_hub.shown(slot), 1, "not before its lease is over");
    be_silent(&mut one_hub, LATE);
    assert_eq!(one_hub.shown(slot), 0);
    let close_4008 = [0x0f, 0xa8];
    let told = one_hub.take_recorded();
    assert!(told.windows(2).any(|two| two == close_4008), "the connection has ended as well");
}

// P7.3
#[test]
fn what_is_shown_after_a_lease_has_ended_has_the_lease_of_its_own_channel() {
    let mut one_hub = hub();
    let slot = one_hub.connect();
    show(&mut one_hub, slot, "long");
    show(&mut one_hub, slot, "short");
    hide(&mut one_hub, slot, "long");
    be_silent(&mut one_hub, SHORT_TTL + LATE);
    assert_eq!(one_hub.shown(slot), 0);
    show(&mut one_hub, slot, "common");
    be_silent(&mut one_hub, PRESENCE_TTL);
    assert_eq!(one_hub.shown(slot), 1, "not before its lease is over");
    be_silent(&mut one_hub, LATE);
    assert_eq!(one_hub.shown(slot), 0);
}

// P7.3
#[test]
fn the_member_with_the_longer_lease_stays_when_the_others_have_ended() {
    let mut one_hub = hub();
    let slot = one_hub.connect();
    for channel in ["short", "common", "long"] {
        show(&mut one_hub, slot, channel);
    }
    be_silent(&mut one_hub, SHORT_TTL + LATE);
    assert_eq!(one_hub.shown(slot), 2);
    be_silent(&mut one_hub, PRESENCE_TTL - SHORT_TTL);
    assert_eq!(one_hub.shown(slot), 1);
    be_silent(&mut one_hub, LONG_TTL - PRESENCE_TTL - 2 * LATE);
    assert_eq!(one_hub.shown(slot), 1, "not before its lease is over");
    be_silent(&mut one_hub, 2 * LATE);
    assert_eq!(one_hub.shown(slot), 0);
}

// P7.3, P7.9
#[test]
fn members_that_are_taken_over_keep_their_leases_while_the_rules_are_asked() {
    let mut one_hub = hub();
    let slot = one_hub.connect();
    let claim = one_hub.claimable().expect("a token was given");
    show(&mut one_hub, slot, "short");
    one_hub.tell(Event::Ended { slot, how: End::Broken });
    one_hub.turn();
    one_hub.silence_rules();
    one_hub.return_to(slot, Some(claim));
    one_hub.turn();
    be_silent(&mut one_hub, SHORT_TTL);
    assert_eq!(one_hub.shown(slot), 1, "not before its lease is over");
    be_silent(&mut one_hub, LATE);
    assert_eq!(one_hub.shown(slot), 0);
}
