//! One decision at a time: what waits behind it, in what order it goes on, and how much may wait.

use herenow_core::Input;

use crate::given::{
    bad, denied, good, granted, nonsense, ping, subscribe, sync, track, unsubscribe, untrack,
    with_ref,
};
use crate::told::Talk;

/// Signed in, and a decision on lobby is awaited.
fn deciding() -> Talk {
    let mut talk = Talk::of_jane();
    talk.gives(0, subscribe("lobby"), &["may jane subscribe lobby?"]);
    talk
}

// P2.6, P4.16
#[test]
fn what_comes_while_a_rule_runs_waits_and_goes_on_in_order() {
    let mut talk = deciding();
    talk.gives(1, with_ref("1", ping()), &[]);
    talk.gives(1, with_ref("2", nonsense()), &[]);
    talk.gives(1, with_ref("3", sync("lobby")), &[]);
    talk.gives(1, with_ref("4", unsubscribe("lobby")), &[]);
    talk.gives(
        2,
        granted("lobby"),
        &[
            "subscribed lobby",
            "listen lobby",
            "pong ref 1",
            "error UNKNOWN_TYPE ref 2",
            "ack ref 3",
            "request snapshot lobby",
            "unlisten lobby",
            "unsubscribed lobby ref 4",
        ],
    );
}

// P4.16
#[test]
fn one_decision_is_asked_for_at_a_time() {
    let mut talk = deciding();
    talk.gives(1, subscribe("garden"), &[]);
    talk.gives(1, track("lobby", "{}"), &[]);
    talk.gives(1, with_ref("1", ping()), &[]);
    talk.gives(
        2,
        granted("lobby"),
        &["subscribed lobby", "listen lobby", "may jane subscribe garden?"],
    );
    talk.gives(
        3,
        denied("garden"),
        &["error CHANNEL_ACCESS_DENIED garden", "may jane track lobby?"],
    );
    talk.gives(4, granted("lobby"), &["put lobby {} as jane", "pong ref 1"]);
}

// P2.6
#[test]
fn a_refusal_lets_the_next_go_on_as_well() {
    let mut talk = deciding();
    talk.gives(1, subscribe("lobby"), &[]);
    talk.gives(
        2,
        denied("lobby"),
        &["error CHANNEL_ACCESS_DENIED lobby", "may jane subscribe lobby?"],
    );
    talk.gives(3, granted("lobby"), &["subscribed lobby", "listen lobby"]);
}

// P2.6
#[test]
fn messages_sent_before_the_answer_to_auth_count() {
    let mut talk = Talk::new();
    talk.gives(0, subscribe("lobby"), &["may nobody subscribe lobby?"]);
    talk.gives(0, good("jane"), &[]);
    talk.gives(0, track("lobby", "{}"), &[]);
    talk.gives(1, denied("lobby"), &["error NOT_AUTHENTICATED lobby", "verify t"]);
    talk.gives(
        2,
        good("jane").verified(2),
        &["admitted", "auth_success jane c", "may jane subscribe lobby?"],
    );
    talk.gives(3, granted("lobby"), &["may jane track lobby?"]);
    talk.gives(4, granted("lobby"), &["put lobby {} as jane", "listen lobby"]);
}

// P3.2
#[test]
fn a_bad_token_that_waited_ends_the_session_and_what_came_after_it() {
    let mut talk = Talk::new();
    talk.gives(0, subscribe("lobby"), &["may nobody subscribe lobby?"]);
    talk.gives(0, bad(), &[]);
    talk.gives(0, ping(), &[]);
    talk.gives(1, granted("lobby"), &["admitted", "subscribed lobby", "listen lobby", "verify t"]);
    talk.gives(2, bad().verified(2), &["auth_error", "unlisten lobby", "close 4002"]);
}

// P4.16
#[test]
fn sixty_four_messages_wait_and_the_next_is_refused() {
    let mut talk = deciding();
    for _ in 0..64 {
        talk.gives(1, ping(), &[]);
    }
    talk.gives(1, with_ref("1", ping()), &["error RATE_LIMITED ref 1"]);
    talk.gives(1, with_ref("2", sync("lobby")), &["error RATE_LIMITED lobby ref 2"]);
    talk.gives(1, with_ref("3", nonsense()), &["error RATE_LIMITED ref 3"]);
    let effects = talk.hear(2, granted("lobby"));
    assert_eq!(effects.len(), 2 + 64, "{effects:?}");
    talk.gives(3, ping(), &["pong"]);
}

// P4.16, P8.2
#[test]
fn the_newest_join_is_kept_where_no_more_messages_may_wait() {
    let mut talk = deciding();
    for _ in 0..64 {
        talk.gives(1, ping(), &[]);
    }
    talk.gives(1, with_ref("1", track("lobby", r#"{"n":1}"#)), &[]);
    talk.gives(1, with_ref("2", track("lobby", r#"{"n":2}"#)), &["ack ref 1"]);
    talk.hear(2, granted("lobby"));
    talk.wakes(2, &["may jane track lobby?"]);
    talk.gives(3, granted("lobby"), &[r#"put lobby {"n":2} as jane ref 2"#]);
}

// P4.16
#[test]
fn what_ends_something_is_let_in_past_the_bound() {
    let mut talk = deciding();
    for _ in 0..64 {
        talk.gives(1, ping(), &[]);
    }
    talk.gives(1, with_ref("1", untrack("garden")), &[]);
    talk.gives(1, with_ref("2", unsubscribe("lobby")), &[]);
    talk.gives(1, with_ref("3", good("jane")), &[]);
    let effects = talk.hear(2, granted("lobby"));
    assert_eq!(
        effects[66..],
        ["ack ref 1", "unlisten lobby", "unsubscribed lobby ref 2", "verify t"]
    );
    talk.gives(3, good("jane").verified(3), &["auth_refreshed jane [] ref 3"]);
}

// P4.16, P8.3
#[test]
fn of_what_ends_something_in_a_channel_the_last_word_waits_and_each_is_answered() {
    let mut talk = deciding();
    for _ in 0..64 {
        talk.gives(1, ping(), &[]);
    }
    talk.gives(1, with_ref("1", untrack("lobby")), &[]);
    talk.gives(1, with_ref("2", untrack("lobby")), &["ack ref 1"]);
    talk.gives(1, with_ref("3", unsubscribe("lobby")), &["ack ref 2"]);
    talk.gives(1, with_ref("4", untrack("lobby")), &["ack ref 4"]);
    talk.gives(1, with_ref("5", unsubscribe("lobby")), &["error NOT_SUBSCRIBED lobby ref 5"]);
    let effects = talk.hear(2, granted("lobby"));
    assert_eq!(effects[66..], ["unlisten lobby", "unsubscribed lobby ref 3"]);
}

// P4.16
#[test]
fn what_ends_something_waits_for_as_many_channels_as_may_be_subscribed_and_no_more() {
    let mut talk = deciding();
    talk.limits.max_channels = 3;
    for _ in 0..64 {
        talk.gives(1, ping(), &[]);
    }
    // The two places more are for a token and a review.
    for name in ["a", "b", "c", "d", "e"] {
        talk.gives(1, untrack(name), &[]);
    }
    talk.gives(1, with_ref("1", untrack("f")), &["close 1013"]);
}

// P4.16
#[test]
fn a_decision_that_nobody_asked_for_is_ignored() {
    let mut talk = Talk::of_jane();
    talk.gives(1, granted("lobby"), &[]);
    talk.gives(2, sync("lobby"), &["error NOT_SUBSCRIBED lobby"]);
}

// P4.17, P4.16
#[test]
fn a_review_waits_for_the_decision_under_way() {
    let mut talk = Talk::in_lobby();
    talk.gives(0, with_ref("1", subscribe("garden")), &["may jane subscribe garden?"]);
    talk.gives(1, Input::Review, &[]);
    talk.gives(1, Input::Review, &[]);
    talk.gives(
        2,
        granted("garden"),
        &["subscribed garden ref 1", "listen garden", "may jane subscribe lobby?"],
    );
    talk.gives(3, granted("lobby"), &["may jane subscribe garden?"]);
    talk.gives(
        4,
        denied("garden"),
        &["unsubscribed garden CHANNEL_ACCESS_DENIED", "unlisten garden"],
    );
    talk.gives(5, ping(), &["pong"]);
}

// P4.17, P4.16
#[test]
fn a_review_that_comes_during_a_review_asks_once_more() {
    let mut talk = Talk::in_lobby();
    talk.gives(0, Input::Review, &["may jane subscribe lobby?"]);
    talk.gives(1, Input::Review, &[]);
    talk.gives(2, granted("lobby"), &["may jane subscribe lobby?"]);
    talk.gives(3, granted("lobby"), &[]);
}

// P4.17
#[test]
fn a_review_is_let_in_past_the_bound() {
    let mut talk = Talk::in_lobby();
    talk.hear(0, subscribe("garden"));
    for _ in 0..64 {
        talk.gives(1, ping(), &[]);
    }
    talk.gives(1, Input::Review, &[]);
    let effects = talk.hear(2, granted("garden"));
    assert_eq!(effects.last().expect("it is the last"), "may jane subscribe lobby?");
}

// P8.3, P8.8
#[test]
fn a_message_that_a_leave_replaces_for_lack_of_room_is_answered() {
    for (message, answers) in [
        (subscribe("garden"), vec!["error RATE_LIMITED garden ref 1"]),
        (sync("garden"), vec!["ack ref 1"]),
        (track("garden", "{}"), vec!["ack ref 1"]),
    ] {
        let mut talk = deciding();
        talk.limits.max_waiting_bytes = 4_000;
        talk.gives(1, with_ref("1", message), &[]);
        while talk.hear(1, ping()).is_empty() {}
        talk.gives(1, with_ref("2", unsubscribe("garden")), &answers);
    }
}
