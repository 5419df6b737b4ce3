//! How fast a connection may talk, what waits above that, and what is refused.

use herenow_core::{Input, Limits, RateLimit};

use crate::given::{
    GOOD_UNTIL_MS, bad, channel, denied, good, granted, limits, nonsense, ping, subscribe, sync,
    track, unsubscribe, untrack, with_ref,
};
use crate::told::Talk;

/// Ten messages per second, two at once.
fn slow() -> Limits {
    Limits { rate: RateLimit { messages_per_second: 10, burst: 2 }, ..limits() }
}

/// Signed in, tracking in lobby and garden, with full buckets again at 10 s, of which both
/// messages have been spent.
fn spent() -> Talk {
    let mut talk = Talk::within(slow());
    talk.hear(0, good("jane"));
    for (ms, name) in [(1_000, "lobby"), (2_000, "garden")] {
        talk.hear(ms, track(name, "{}"));
        talk.hear(ms, granted(name));
        talk.hear(ms, granted(name));
    }
    talk.gives(10_000, ping(), &["pong"]);
    talk.gives(10_000, ping(), &["pong"]);
    talk
}

// P8.1
#[test]
fn a_burst_is_handled_at_once_and_after_it_the_rate() {
    let mut talk = Talk::of_jane();
    for _ in 0..399 {
        talk.gives(0, ping(), &["pong"]);
    }
    talk.gives(0, ping(), &["error RATE_LIMITED"]);
    for ms in (5..1_000).step_by(5) {
        talk.gives(ms, ping(), &["pong"]);
        talk.gives(ms, ping(), &["error RATE_LIMITED"]);
    }
}

// P8.1
#[test]
fn a_quiet_while_fills_the_bucket_and_never_above_the_burst() {
    let mut talk = spent();
    for _ in 0..2 {
        talk.gives(3_600_000 - 3_000_000, ping(), &["pong"]);
    }
    talk.gives(600_000, ping(), &["error RATE_LIMITED"]);
}

// P8.2
#[test]
fn of_joins_above_the_rate_the_newest_is_applied_as_soon_as_the_rate_allows() {
    let mut talk = spent();
    talk.gives(10_000, with_ref("1", track("lobby", r#"{"n":1}"#)), &[]);
    talk.gives(10_001, with_ref("2", track("lobby", r#"{"n":2}"#)), &["ack ref 1"]);
    talk.gives(10_002, track("lobby", r#"{"n":3}"#), &["ack ref 2"]);
    talk.gives(10_003, with_ref("4", track("lobby", r#"{"n":4}"#)), &[]);
    talk.sleeps_until(10_100);
    talk.wakes(10_099, &[]);
    talk.wakes(10_100, &[r#"put lobby {"n":4} as jane ref 4"#]);
    talk.sleeps_until(GOOD_UNTIL_MS + 60_000);
}

// P8.2
#[test]
fn joins_of_several_channels_wait_side_by_side_in_the_order_of_their_coming() {
    let mut talk = spent();
    talk.gives(10_000, track("garden", r#"{"n":1}"#), &[]);
    talk.gives(10_000, track("lobby", r#"{"n":2}"#), &[]);
    talk.gives(10_000, track("garden", r#"{"n":3}"#), &[]);
    talk.wakes(10_100, &[r#"put garden {"n":3} as jane"#]);
    talk.sleeps_until(10_200);
    talk.wakes(10_200, &[r#"put lobby {"n":2} as jane"#]);
}

// P8.2, P2.6
#[test]
fn what_waits_is_applied_before_what_comes_later() {
    let mut talk = spent();
    talk.gives(10_000, track("lobby", r#"{"n":1}"#), &[]);
    talk.gives(10_200, sync("lobby"), &[r#"put lobby {"n":1} as jane"#, "request snapshot lobby"]);
    talk.gives(10_200, track("lobby", r#"{"n":2}"#), &[]);
    // The one message that the rate allows by now is the join that waits.
    let refused = [r#"put lobby {"n":2} as jane"#, "error RATE_LIMITED lobby"];
    talk.gives(10_300, sync("lobby"), &refused);
}

// P8.3
#[test]
fn untrack_is_carried_out_at_once_and_takes_the_place_of_the_join_that_waits() {
    let mut talk = spent();
    talk.gives(10_000, with_ref("1", track("lobby", r#"{"n":1}"#)), &[]);
    talk.gives(
        10_001,
        with_ref("2", untrack("lobby")),
        &["ack ref 1", "remove lobby leave", "ack ref 2"],
    );
    talk.wakes(10_500, &[]);
}

// P8.3
#[test]
fn unsubscribe_is_carried_out_at_once_and_takes_the_place_of_the_join_that_waits() {
    let mut talk = spent();
    talk.gives(10_000, with_ref("1", track("lobby", r#"{"n":1}"#)), &[]);
    talk.gives(
        10_001,
        with_ref("2", unsubscribe("lobby")),
        &["ack ref 1", "remove lobby leave", "unlisten lobby", "unsubscribed lobby ref 2"],
    );
    talk.wakes(10_500, &[]);
}

// P8.3
#[test]
fn the_last_word_wins() {
    let mut talk = spent();
    talk.gives(10_000, track("lobby", r#"{"n":1}"#), &[]);
    talk.gives(10_000, untrack("lobby"), &["remove lobby leave"]);
    talk.gives(10_000, track("lobby", r#"{"n":2}"#), &[]);
    talk.wakes(10_100, &[r#"put lobby {"n":2} as jane"#]);
}

// P8.3
#[test]
fn a_join_that_waits_in_another_channel_stays() {
    let mut talk = spent();
    talk.gives(10_000, track("garden", r#"{"n":1}"#), &[]);
    talk.gives(10_000, untrack("lobby"), &["remove lobby leave"]);
    talk.wakes(10_100, &[r#"put garden {"n":1} as jane"#]);
}

// P8.3
#[test]
fn auth_is_never_refused_for_the_rate() {
    let mut talk = spent();
    talk.gives(10_000, bad(), &["error AUTH_REFRESH_FAILED"]);
    talk.gives(10_000, good("jane"), &["may jane subscribe lobby?"]);
}

// P8.4
#[test]
fn the_rest_is_refused_and_not_carried_out() {
    let mut talk = spent();
    talk.gives(10_000, with_ref("1", ping()), &["error RATE_LIMITED ref 1"]);
    talk.gives(10_000, with_ref("2", sync("lobby")), &["error RATE_LIMITED lobby ref 2"]);
    talk.gives(10_000, with_ref("3", subscribe("attic")), &["error RATE_LIMITED attic ref 3"]);
    talk.gives(10_000, with_ref("4", nonsense()), &["error RATE_LIMITED ref 4"]);
    talk.gives(10_100, sync("attic"), &["error NOT_SUBSCRIBED attic"]);
}

// P8.2, P3.6
#[test]
fn a_join_that_waited_is_judged_when_its_turn_comes() {
    let mut talk = Talk::within(slow());
    talk.hear(0, ping());
    talk.hear(0, ping());
    talk.gives(0, with_ref("1", track("lobby", "{}")), &[]);
    talk.wakes(100, &["error NOT_AUTHENTICATED lobby ref 1"]);
}

// P8.2, P4.16
#[test]
fn a_join_that_the_rate_held_back_is_not_lost_behind_a_full_queue() {
    let mut limits = slow();
    limits.max_waiting_messages = 1;
    let mut talk = Talk::within(limits);
    talk.hear(0, good("jane"));
    talk.hear(1_000, track("lobby", "{}"));
    talk.hear(1_000, granted("lobby"));
    talk.hear(1_000, granted("lobby"));
    talk.gives(2_000, subscribe("garden"), &["may jane subscribe garden?"]);
    talk.gives(2_000, with_ref("1", ping()), &[]);
    talk.gives(2_000, with_ref("2", track("lobby", r#"{"n":2}"#)), &[]);
    // The rate allows more by now, the queue does not.
    talk.gives(3_000, with_ref("3", ping()), &["error RATE_LIMITED ref 3"]);
    talk.gives(3_000, with_ref("4", track("lobby", r#"{"n":4}"#)), &["ack ref 2"]);
    talk.wakes(3_500, &[]);
    talk.gives(4_000, denied("garden"), &["error CHANNEL_ACCESS_DENIED garden", "pong ref 1"]);
    talk.wakes(4_000, &[r#"put lobby {"n":4} as jane ref 4"#]);
}

// P8.6
#[test]
fn joins_wait_for_as_many_channels_as_may_be_subscribed_and_no_more() {
    let mut limits = slow();
    limits.max_channels = 2;
    let mut talk = Talk::within(limits);
    talk.hear(0, good("jane"));
    talk.hear(1_000, track("lobby", "{}"));
    talk.hear(1_000, granted("lobby"));
    talk.hear(1_000, granted("lobby"));
    talk.hear(5_000, ping());
    talk.hear(5_000, ping());
    for name in ["a", "b"] {
        talk.gives(5_000, track(name, "{}"), &[]);
    }
    talk.gives(5_000, with_ref("1", track("c", "{}")), &["error RATE_LIMITED c ref 1"]);
    talk.gives(5_000, track("a", r#"{"n":1}"#), &[]);
    // A channel that is subscribed always has its place.
    talk.gives(5_000, track("lobby", r#"{"n":1}"#), &[]);
    assert!(talk.session.subscriptions().any(|(name, _)| *name == channel("lobby")));
}

/// Sends `frames` in each of the seconds; the second in which it is closed.
fn closed_in(seconds: impl IntoIterator<Item = u64>, frames: u32) -> Option<u64> {
    let mut talk = Talk::within(slow());
    talk.hear(0, good("jane"));
    for second in seconds {
        for _ in 0..frames {
            match talk.hear(second * 1_000, Input::Frame)[..] {
                [] => {}
                [ref close] => {
                    assert_eq!(close, "close 4029");
                    assert!(talk.session.has_ended());
                    return Some(second);
                }
                ref more => panic!("{more:?}"),
            }
        }
    }
    None
}

// P8.5
#[test]
fn ten_times_the_rate_for_five_seconds_on_end_closes() {
    assert_eq!(closed_in(10..30, 101), Some(15));
    assert_eq!(closed_in(10..30, 100), None, "ten times is not more than ten times");
    assert_eq!(closed_in(10..15, 500), None, "the fifth second is not over");
    let with_a_pause = (10..14).chain(15..19).chain(20..24);
    assert_eq!(closed_in(with_a_pause, 500), None);
}

// P8.5
#[test]
fn abuse_takes_the_members_along() {
    let mut talk = spent();
    let mut effects = Vec::new();
    for ms in (11_000..18_000).step_by(5) {
        effects.extend(talk.hear(ms, Input::Frame));
    }
    assert_eq!(
        effects,
        [
            "remove lobby disconnect",
            "unlisten lobby",
            "remove garden disconnect",
            "unlisten garden",
            "close 4029"
        ]
    );
}

// P8.5
#[test]
fn control_frames_cost_nothing_of_the_rate() {
    let mut talk = spent();
    for _ in 0..50 {
        talk.gives(10_050, Input::Frame, &[]);
    }
    talk.gives(10_100, ping(), &["pong"]);
}
