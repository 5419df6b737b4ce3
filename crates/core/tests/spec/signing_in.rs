//! Tokens, clocks, and the ways in which a session ends.

use herenow_core::{AuthRefusal, Input, Session};
use herenow_wire::ClientMessage;

use crate::given::{
    GOOD_UNTIL_MS, at, bad, denied, good, good_until, granted, id, limits, ping, refused, say,
    subscribe, sync, track, unsubscribe, user, with_ref,
};
use crate::told::Talk;

/// Anonymous, and let into lobby.
fn observer() -> Talk {
    let mut talk = Talk::new();
    talk.hear(0, subscribe("lobby"));
    talk.hear(0, granted("lobby"));
    talk
}

// P3.1, P1.8
#[test]
fn a_good_token_signs_in_and_its_ref_comes_back() {
    let mut talk = Talk::new();
    assert_eq!(talk.session.auth(), None);
    talk.gives(1, with_ref("0", good("jane")), &["admitted", "auth_success jane c ref 0"]);
    let auth = talk.session.auth().expect("it has signed in");
    assert_eq!(*auth.user, user("jane"));
    assert_eq!(talk.session.connection(), id('c'));
}

// P3.2
#[test]
fn a_bad_first_token_is_told_and_closes() {
    let mut talk = Talk::new();
    talk.gives(1, with_ref("\"r\"", bad()), &["auth_error ref \"r\"", "close 4002"]);
    assert!(talk.session.has_ended());
    talk.gives(2, good("jane"), &[]);
}

// P3.2
#[test]
fn a_token_that_is_missing_counts_as_bad() {
    let mut talk = Talk::new();
    let auth = say(ClientMessage::Auth { token: None, resume: None });
    talk.gives(1, auth, &["auth_error", "close 4002"]);
}

// P3.3
#[test]
fn a_server_without_a_key_says_so_and_closes_with_4003() {
    let mut talk = Talk::new();
    talk.gives(1, refused(AuthRefusal::NoKey), &["auth_error", "close 4003"]);
}

// P3.4
#[test]
fn without_a_token_the_time_is_over_after_authtimeout() {
    let mut talk = Talk::new();
    talk.sleeps_until(5_000);
    talk.wakes(4_999, &[]);
    talk.wakes(5_000, &["error AUTH_TIMEOUT", "close 4001"]);
    assert!(talk.session.has_ended());
    talk.sleeps_for_ever();
    talk.wakes(9_000, &[]);
}

// P3.4
#[test]
fn the_clock_starts_when_the_connection_opens() {
    let limits = limits();
    let session = Session::new(id('c'), &limits, at(70_000));
    assert_eq!(session.poll_timeout(&limits), at(75_000));
}

// P3.4
#[test]
fn no_traffic_stops_the_clock() {
    let mut talk = Talk::new();
    talk.gives(1_000, ping(), &["pong"]);
    talk.gives(2_000, track("lobby", "{}"), &["error NOT_AUTHENTICATED lobby"]);
    talk.gives(3_000, subscribe("lobby"), &["may nobody subscribe lobby?"]);
    talk.gives(3_000, denied("lobby"), &["error NOT_AUTHENTICATED lobby"]);
    talk.hear(4_000, Input::Frame);
    talk.sleeps_until(5_000);
    talk.gives(4_500, subscribe("lobby"), &["may nobody subscribe lobby?"]);
    talk.wakes(5_000, &["error AUTH_TIMEOUT", "close 4001"]);
    talk.gives(5_001, granted("lobby"), &[]);
}

// P3.5
#[test]
fn whoever_is_let_in_without_a_token_stops_the_clock() {
    let mut talk = Talk::new();
    talk.gives(10, subscribe("lobby"), &["may nobody subscribe lobby?"]);
    talk.gives(20, granted("lobby"), &["admitted", "subscribed lobby", "listen lobby"]);
    talk.sleeps_for_ever();
    talk.wakes(1_000_000, &[]);
}

// P3.5
#[test]
fn an_observer_that_leaves_its_last_channel_has_the_clock_started_anew() {
    let mut talk = observer();
    talk.hear(0, subscribe("garden"));
    talk.hear(0, granted("garden"));
    talk.gives(60_000, unsubscribe("lobby"), &["unlisten lobby", "unsubscribed lobby"]);
    talk.sleeps_for_ever();
    talk.gives(70_000, unsubscribe("garden"), &["unlisten garden", "unsubscribed garden"]);
    talk.sleeps_until(75_000);
    talk.wakes(75_000, &["error AUTH_TIMEOUT", "close 4001"]);
}

// P3.5
#[test]
fn an_observer_may_ask_for_snapshots_and_sign_in_later() {
    let mut talk = observer();
    talk.gives(9_000, sync("lobby"), &["request snapshot lobby"]);
    talk.gives(
        9_000,
        good("jane"),
        &["admitted", "auth_success jane c", "may jane subscribe lobby?"],
    );
    talk.gives(9_000, granted("lobby"), &[]);
    talk.sleeps_until(GOOD_UNTIL_MS + 60_000);
}

// P3.6
#[test]
fn an_observer_may_not_track() {
    let mut talk = observer();
    let effect = "error NOT_AUTHENTICATED lobby ref 1";
    talk.gives(1, with_ref("1", track("lobby", "{}")), &[effect]);
    talk.gives(1, with_ref("2", track("garden", "{}")), &["error NOT_AUTHENTICATED garden ref 2"]);
}

// P3.2
#[test]
fn a_bad_first_token_ends_what_an_observer_saw() {
    let mut talk = observer();
    talk.gives(1, bad(), &["auth_error", "unlisten lobby", "close 4002"]);
}

// P3.12
#[test]
fn an_observer_that_signs_in_keeps_what_its_user_may_see() {
    let mut talk = observer();
    talk.hear(0, subscribe("garden"));
    talk.hear(0, granted("garden"));
    talk.gives(1, good("jane"), &["admitted", "auth_success jane c", "may jane subscribe lobby?"]);
    talk.gives(
        2,
        denied("lobby"),
        &[
            "unsubscribed lobby CHANNEL_ACCESS_DENIED",
            "unlisten lobby",
            "may jane subscribe garden?",
        ],
    );
    talk.gives(3, granted("garden"), &[]);
    talk.gives(4, ping(), &["pong"]);
}

// P3.7
#[test]
fn a_refresh_without_channels_is_answered_at_once() {
    let mut talk = Talk::of_jane();
    talk.gives(1, with_ref("1", good("jane")), &["auth_refreshed jane [] ref 1"]);
}

// P3.10
#[test]
fn a_refresh_that_fails_leaves_everything_as_it_is() {
    let mut talk = Talk::tracking();
    talk.gives(1, with_ref("1", bad()), &["error AUTH_REFRESH_FAILED ref 1"]);
    let other = good_until("joe", 2 * GOOD_UNTIL_MS);
    talk.gives(2, with_ref("2", other), &["error AUTH_USER_MISMATCH ref 2"]);
    talk.sleeps_until(GOOD_UNTIL_MS + 60_000);
    talk.gives(3, track("lobby", "{}"), &["put lobby {} as jane"]);
}

// P3.11
#[test]
fn a_token_ends_sixty_seconds_after_its_exp() {
    let mut talk = Talk::tracking();
    let end = GOOD_UNTIL_MS + 60_000;
    talk.sleeps_until(end);
    talk.wakes(end - 1, &[]);
    talk.wakes(
        end,
        &["error AUTH_EXPIRED", "remove lobby disconnect", "unlisten lobby", "close 4002"],
    );
}

// P3.11
#[test]
fn a_refresh_moves_the_end() {
    let mut talk = Talk::of_jane();
    talk.hear(1, good_until("jane", 5_000_000));
    talk.sleeps_until(5_060_000);
    talk.hear(2, good_until("jane", 3_000));
    talk.sleeps_until(63_000);
}

// P3.11
#[test]
fn a_date_far_ahead_means_for_ever() {
    let mut talk = Talk::new();
    talk.hear(0, good_until("jane", u64::MAX));
    talk.sleeps_for_ever();
    talk.wakes(u64::MAX / 1_000, &[]);
}

// P3.11
#[test]
fn a_token_that_ended_before_the_server_started_gets_its_sixty_seconds_and_no_more() {
    let mut talk = Talk::new();
    let mut token = good_until("jane", 0);
    if let Ok(auth) = &mut token.result {
        auth.expires_at_unix_ms -= 40_000;
    }
    talk.hear(1_000, token);
    talk.sleeps_until(20_000);
}

// P7.4
#[test]
fn a_broken_connection_loses_all_at_once() {
    let mut talk = Talk::tracking();
    talk.hear(0, subscribe("garden"));
    talk.hear(0, granted("garden"));
    talk.gives(1, Input::Closed, &["remove lobby disconnect", "unlisten lobby", "unlisten garden"]);
    talk.gives(2, Input::Closed, &[]);
    talk.gives(2, Input::LeaseEnded, &[]);
    talk.gives(2, ping(), &[]);
    assert_eq!(talk.session.subscriptions().count(), 0);
}

// P7.3
#[test]
fn a_lease_that_ends_takes_the_members_with_timeout_and_closes_with_4008() {
    let mut talk = Talk::tracking();
    talk.gives(
        60_001,
        Input::LeaseEnded,
        &["remove lobby timeout", "unlisten lobby", "close 4008"],
    );
    talk.gives(60_002, Input::Closed, &[]);
}

// P7.3
#[test]
fn a_session_that_ends_forgets_the_decision_it_waits_for() {
    let mut talk = Talk::of_jane();
    talk.hear(0, subscribe("lobby"));
    talk.gives(1, Input::Closed, &[]);
    talk.gives(2, granted("lobby"), &[]);
    talk.sleeps_for_ever();
}
