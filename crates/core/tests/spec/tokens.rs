//! The verification of tokens: what waits for it, how often it may be asked for, and by which
//! clock a token ends.

use herenow_core::{AuthRefusal, Input, VERIFICATION_BURST};

use crate::given::{
    GOOD_UNTIL_MS, STARTED_AT_UNIX_MS, bad, good, good_until, granted, ping, refused, subscribe,
    track, unavailable, unsubscribe, untrack, with_ref,
};
use crate::told::Talk;

/// A new connection whose token is being verified since it opened.
fn verifying() -> Talk {
    let mut talk = Talk::new();
    talk.gives(0, with_ref("1", good("jane")).message(), &["verify t"]);
    talk
}

/// Signed in as jane, and a refresh is being verified since `ms`.
fn refreshing(ms: u64) -> Talk {
    let mut talk = Talk::of_jane();
    talk.gives(ms, with_ref("1", good("jane")).message(), &["verify t"]);
    talk
}

// P2.6, P4.16
#[test]
fn messages_behind_a_token_wait_for_its_verdict_and_go_on_in_order() {
    let mut talk = verifying();
    talk.gives(1, with_ref("2", ping()), &[]);
    talk.gives(1, track("lobby", "{}"), &[]);
    talk.gives(1, with_ref("3", ping()), &[]);
    talk.gives(
        2,
        good("jane").verified(2),
        &["admitted", "auth_success jane c ref 1", "pong ref 2", "may jane subscribe lobby?"],
    );
    talk.gives(3, granted("lobby"), &["may jane track lobby?"]);
    talk.gives(4, granted("lobby"), &["put lobby {} as jane", "listen lobby", "pong ref 3"]);
}

// P4.16
#[test]
fn a_verdict_that_nobody_waits_for_is_ignored() {
    let mut talk = Talk::of_jane();
    talk.gives(1, bad().verified(1), &[]);
    talk.gives(2, subscribe("lobby"), &["may jane subscribe lobby?"]);
    talk.gives(3, bad().verified(3), &[]);
    talk.gives(4, granted("lobby"), &["subscribed lobby", "listen lobby"]);
}

// P4.16
#[test]
fn a_decision_of_a_rule_is_no_verdict_on_a_token() {
    let mut talk = verifying();
    talk.gives(1, granted("lobby"), &[]);
    talk.gives(1, unavailable("lobby"), &[]);
    talk.gives(2, good("jane").verified(2), &["admitted", "auth_success jane c ref 1"]);
}

// P8.7
#[test]
fn of_tokens_that_wait_behind_one_the_newest_is_verified_and_each_is_answered() {
    let mut talk = refreshing(1);
    talk.gives(1, with_ref("2", good("jane")), &[]);
    talk.gives(1, with_ref("3", ping()), &[]);
    talk.gives(1, with_ref("4", good("jane")), &["error AUTH_REFRESH_FAILED ref 2"]);
    talk.gives(2, good("jane").verified(2), &["auth_refreshed jane [] ref 1", "verify t"]);
    talk.gives(3, good("jane").verified(3), &["auth_refreshed jane [] ref 4", "pong ref 3"]);
}

// P8.7
#[test]
fn a_token_that_is_replaced_before_the_connection_has_authenticated_does_not_close_it() {
    let mut talk = verifying();
    talk.gives(1, with_ref("2", good("jane")), &[]);
    talk.gives(1, with_ref("3", good("jane")), &["error RATE_LIMITED ref 2"]);
    talk.gives(2, good("jane").verified(2), &["admitted", "auth_success jane c ref 1", "verify t"]);
    talk.gives(3, good("jane").verified(3), &["auth_refreshed jane [] ref 3"]);
}

// P8.7
#[test]
fn five_tokens_are_verified_at_once_and_then_one_per_second() {
    let mut talk = Talk::of_jane();
    for _ in 1..VERIFICATION_BURST {
        talk.gives(0, bad(), &["error AUTH_REFRESH_FAILED"]);
    }
    for second in 0..10 {
        // The message alone: a token that is refused for the rate is not handed out.
        let refusal = ["error AUTH_REFRESH_FAILED ref 1"];
        talk.gives(second * 1_000, with_ref("1", good("jane")).message(), &refusal);
        talk.gives(second * 1_000 + 999, with_ref("1", good("jane")).message(), &refusal);
        talk.gives((second + 1) * 1_000, good("jane"), &["auth_refreshed jane []"]);
    }
}

// P8.7
#[test]
fn a_quiet_while_allows_five_tokens_at_once_again_and_no_more() {
    let mut talk = Talk::of_jane();
    for ms in [60_000, 600_000] {
        for _ in 0..VERIFICATION_BURST {
            talk.gives(ms, good("jane"), &["auth_refreshed jane []"]);
        }
        talk.gives(ms, good("jane"), &["error AUTH_REFRESH_FAILED"]);
    }
}

// P8.7
#[test]
fn a_token_counts_against_the_rate_of_messages() {
    let mut talk = Talk::of_jane();
    talk.gives(0, good("jane"), &["auth_refreshed jane []"]);
    for _ in 2..400 {
        talk.gives(0, ping(), &["pong"]);
    }
    talk.gives(0, ping(), &["error RATE_LIMITED"]);
}

// P3.4
#[test]
fn the_clock_of_signing_in_stands_still_while_the_token_is_verified() {
    let mut talk = verifying();
    talk.wakes(29_999, &[]);
    talk.gives(29_999, good("jane").verified(29_999), &["admitted", "auth_success jane c ref 1"]);
    talk.sleeps_until(GOOD_UNTIL_MS + 60_000);
}

// P3.11
#[test]
fn a_token_that_ends_while_the_next_is_verified_ends_with_a_bad_verdict_and_not_before() {
    let end = GOOD_UNTIL_MS + 60_000;
    let mut talk = refreshing(end - 1);
    talk.wakes(end + 1, &[]);
    talk.gives(
        end + 2,
        bad().verified(end + 2),
        &["error AUTH_REFRESH_FAILED ref 1", "error AUTH_EXPIRED", "close 4002"],
    );
    let mut talk = refreshing(end - 1);
    talk.gives(
        end + 2,
        good_until("jane", 2 * end).verified(end + 2),
        &["auth_refreshed jane [] ref 1"],
    );
    talk.sleeps_until(2 * end + 60_000);
}

// P3.15
#[test]
fn a_verdict_that_does_not_come_ends_the_connection_and_not_the_token() {
    let mut talk = verifying();
    talk.sleeps_until(30_000);
    talk.wakes(30_000, &["error SERVER_ERROR ref 1", "close 1001"]);
    let mut talk = refreshing(10);
    talk.sleeps_until(30_010);
    talk.wakes(30_010, &["error SERVER_ERROR ref 1", "close 1001"]);
}

// P3.15
#[test]
fn a_token_that_cannot_be_verified_now_says_nothing_against_it() {
    let mut talk = Talk::new();
    let busy = || refused(AuthRefusal::Unavailable);
    talk.gives(0, with_ref("1", busy()), &["error SERVER_ERROR ref 1", "close 1001"]);
    let mut talk = Talk::of_jane();
    talk.gives(0, with_ref("1", busy()), &["error AUTH_REFRESH_FAILED ref 1"]);
    talk.gives(1, ping(), &["pong"]);
}

// P3.11
#[test]
fn what_is_left_of_a_token_is_measured_when_it_is_verified() {
    // The server started with a clock two hours ahead, or a year behind, that is right by now.
    const YEAR_MS: u64 = 365 * 86_400_000;
    for right_unix_ms in [STARTED_AT_UNIX_MS - 7_200_000, STARTED_AT_UNIX_MS + YEAR_MS] {
        let mut talk = Talk::new();
        let mut token = good("jane");
        if let Ok(auth) = &mut token.result {
            auth.expires_at_unix_ms = right_unix_ms + 900_000;
        }
        talk.gives(3_000, token.message(), &["verify t"]);
        let verified = token.verified_by_clock(right_unix_ms);
        talk.gives(4_000, verified, &["admitted", "auth_success jane c"]);
        talk.sleeps_until(4_000 + 900_000 + 60_000);
    }
}

// P8.8
#[test]
fn what_waits_is_bounded_in_bytes_and_less_may_wait_before_signing_in() {
    let state = format!(r#"{{"n":"{}"}}"#, "n".repeat(900));
    let mut talk = verifying();
    let waiting = (0..100).take_while(|n| talk.hear(1, track(&n.to_string(), &state)).is_empty());
    let count = waiting.count();
    assert!((10..=16).contains(&count), "{count} joins wait in 16,000 bytes");
    let refusal = "error RATE_LIMITED late ref 2";
    talk.gives(1, with_ref("2", track("late", &state)), &[refusal]);
    talk.gives(1, with_ref("3", good("jane")), &[]);
    let large = format!("t{}", "t".repeat(8_000));
    let large = herenow_wire::ClientMessage::Auth { token: Some(large.into()), resume: None };
    talk.gives(1, crate::given::say(large), &["error RATE_LIMITED"]);

    // What is left takes the place of what waits for its channel, though nothing else has room.
    let fill = |talk: &mut Talk| while talk.hear(1, ping()).is_empty() {};
    fill(&mut talk);
    talk.gives(1, with_ref("4", unsubscribe("0")), &[]);
    fill(&mut talk);
    talk.gives(1, untrack("unheard of"), &["close 1013"]);

    // All that an honest client can have waiting fits once it has signed in.
    let mut talk = refreshing(1);
    for n in 0..100 {
        talk.gives(1, track(&n.to_string(), &state), &[]);
    }
    talk.gives(1, Input::Review, &[]);
}
