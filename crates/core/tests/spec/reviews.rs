//! Rights that are asked again: after a refresh, and after the rules have changed.

use herenow_core::Input;

use crate::given::{
    denied, good, granted, informed, ping, subscribe, sync, track, unavailable, untrack, with_ref,
};
use crate::told::Talk;

/// Tracks in lobby and watches garden.
fn in_two() -> Talk {
    let mut talk = Talk::tracking();
    talk.hear(0, subscribe("garden"));
    talk.hear(0, granted("garden"));
    talk
}

// P3.7
#[test]
fn a_refresh_asks_for_everything_again_and_is_answered_last() {
    let mut talk = in_two();
    talk.gives(1, with_ref("1", good("jane")), &["may jane subscribe lobby?"]);
    talk.gives(2, granted("lobby"), &["may jane track lobby?"]);
    talk.gives(3, granted("lobby"), &["may jane subscribe garden?"]);
    talk.gives(4, granted("garden"), &["auth_refreshed jane [] ref 1"]);
}

// P3.8
#[test]
fn a_refresh_names_the_channels_that_are_lost_and_their_members_are_kicked() {
    let mut talk = in_two();
    talk.gives(1, good("jane"), &["may jane subscribe lobby?"]);
    talk.gives(
        2,
        denied("lobby"),
        &["remove lobby kicked", "unlisten lobby", "may jane subscribe garden?"],
    );
    talk.gives(3, denied("garden"), &["unlisten garden", "auth_refreshed jane [lobby garden]"]);
    talk.gives(4, sync("lobby"), &["error NOT_SUBSCRIBED lobby"]);
}

// P3.9
#[test]
fn a_refresh_that_loses_the_right_to_track_keeps_the_subscription() {
    let mut talk = Talk::tracking();
    talk.gives(1, good("jane"), &["may jane subscribe lobby?"]);
    talk.gives(2, granted("lobby"), &["may jane track lobby?"]);
    talk.gives(3, denied("lobby"), &["remove lobby kicked", "auth_refreshed jane []"]);
    talk.gives(4, sync("lobby"), &["request snapshot lobby"]);
    talk.gives(5, with_ref("1", untrack("lobby")), &["ack ref 1"]);
    talk.gives(6, track("lobby", "{}"), &["may jane track lobby?"]);
}

// P5.7
#[test]
fn a_refresh_with_other_information_changes_the_members_that_may_still_be_shown() {
    let mut talk = in_two();
    let named = r#"{"name":"Jane"}"#;
    talk.gives(1, informed("jane", named), &["may jane subscribe lobby?"]);
    talk.gives(2, granted("lobby"), &["may jane track lobby?"]);
    let put = r#"put lobby {"n":0} as jane {"name":"Jane"}"#;
    talk.gives(3, granted("lobby"), &[put, "may jane subscribe garden?"]);
    talk.gives(4, granted("garden"), &["auth_refreshed jane []"]);
    // The same again changes nothing.
    talk.gives(5, informed("jane", named), &["may jane subscribe lobby?"]);
    talk.gives(6, granted("lobby"), &["may jane track lobby?"]);
    talk.gives(7, granted("lobby"), &["may jane subscribe garden?"]);
    talk.gives(8, granted("garden"), &["auth_refreshed jane []"]);
    // A member that is lost is not shown again.
    talk.gives(9, good("jane"), &["may jane subscribe lobby?"]);
    talk.gives(10, granted("lobby"), &["may jane track lobby?"]);
    talk.gives(11, denied("lobby"), &["remove lobby kicked", "may jane subscribe garden?"]);
}

// P3.9
#[test]
fn the_right_to_track_is_asked_for_even_where_nothing_is_shown_at_the_moment() {
    let mut talk = Talk::tracking();
    talk.hear(1, untrack("lobby"));
    talk.hear(2, good("jane"));
    talk.gives(2, granted("lobby"), &["may jane track lobby?"]);
    talk.gives(2, denied("lobby"), &["auth_refreshed jane []"]);
    talk.gives(3, track("lobby", "{}"), &["may jane track lobby?"]);
}

// P3.7
#[test]
fn what_comes_during_a_refresh_waits_for_its_answer() {
    let mut talk = Talk::tracking();
    talk.hear(1, good("jane"));
    talk.gives(1, track("lobby", r#"{"n":9}"#), &[]);
    talk.hear(2, granted("lobby"));
    talk.gives(
        3,
        denied("lobby"),
        &["remove lobby kicked", "auth_refreshed jane []", "may jane track lobby?"],
    );
}

// P4.17
#[test]
fn changed_rules_take_subscriptions_away_one_by_one() {
    let mut talk = in_two();
    talk.gives(1, Input::Review, &["may jane subscribe lobby?"]);
    talk.gives(
        2,
        denied("lobby"),
        &[
            "unsubscribed lobby CHANNEL_ACCESS_DENIED",
            "remove lobby kicked",
            "unlisten lobby",
            "may jane subscribe garden?",
        ],
    );
    talk.gives(3, granted("garden"), &[]);
    talk.gives(4, ping(), &["pong"]);
}

// P4.17
#[test]
fn changed_rules_may_take_the_right_to_track_alone() {
    let mut talk = Talk::tracking();
    talk.gives(1, Input::Review, &["may jane subscribe lobby?"]);
    talk.gives(2, granted("lobby"), &["may jane track lobby?"]);
    talk.gives(3, denied("lobby"), &["remove lobby kicked"]);
}

// P4.17
#[test]
fn where_nobody_can_decide_what_was_granted_stays() {
    let mut talk = in_two();
    talk.hear(1, Input::Review);
    talk.gives(2, unavailable("lobby"), &["may jane track lobby?"]);
    talk.gives(3, unavailable("lobby"), &["may jane subscribe garden?"]);
    talk.gives(4, unavailable("garden"), &["review later"]);
    talk.gives(5, track("lobby", "{}"), &["put lobby {} as jane"]);
    talk.gives(6, sync("garden"), &["request snapshot garden"]);
}

// P4.17, P3.7
#[test]
fn a_refresh_that_nobody_can_decide_about_is_answered_and_reviewed_later() {
    let mut talk = in_two();
    talk.hear(1, good("jane"));
    talk.gives(2, unavailable("lobby"), &["may jane track lobby?"]);
    talk.gives(3, granted("lobby"), &["may jane subscribe garden?"]);
    talk.gives(
        4,
        denied("garden"),
        &["unlisten garden", "review later", "auth_refreshed jane [garden]"],
    );
}

// P4.17
#[test]
fn a_review_of_nothing_asks_nothing() {
    Talk::new().gives(1, Input::Review, &[]);
    Talk::of_jane().gives(1, Input::Review, &[]);
}

// P4.17, P3.5
#[test]
fn an_observer_that_loses_its_last_channel_to_changed_rules_must_sign_in() {
    let mut talk = Talk::new();
    talk.hear(0, subscribe("lobby"));
    talk.hear(0, granted("lobby"));
    talk.gives(60_000, Input::Review, &["may nobody subscribe lobby?"]);
    talk.gives(
        61_000,
        denied("lobby"),
        &["unsubscribed lobby NOT_AUTHENTICATED", "unlisten lobby"],
    );
    talk.sleeps_until(66_000);
}
