//! What each message causes, where nothing stands in its way.

use herenow_core::{Input, PutResult};
use herenow_wire::{DefaultChannel, decode};

use crate::given::{
    answered, channel, count, denied, expiring, granted, limits, nonsense, ping, state, subscribe,
    subscribe_all, sync, track, unavailable, unsubscribe, untrack, with_ref,
};
use crate::told::Talk;

// P4.4
#[test]
fn subscribe_asks_the_rule_then_answers_then_listens() {
    let mut talk = Talk::of_jane();
    talk.gives(1, with_ref("1", subscribe("lobby")), &["may jane subscribe lobby?"]);
    talk.gives(2, granted("lobby"), &["subscribed lobby ref 1", "listen lobby"]);
}

// P4.5
#[test]
fn subscribe_twice_is_answered_asks_no_rule_and_adds_nothing() {
    let mut talk = Talk::in_lobby();
    let again = with_ref("2", subscribe("lobby"));
    talk.gives(1, again, &["subscribed lobby ref 2", "request snapshot lobby"]);
    talk.gives(2, unsubscribe("lobby"), &["unlisten lobby", "unsubscribed lobby"]);
    talk.gives(3, unsubscribe("lobby"), &["error NOT_SUBSCRIBED lobby"]);
}

// P4.23
#[test]
fn a_field_that_ends_goes_to_the_shard_with_its_time_and_is_not_said_again() {
    let mut talk = Talk::tracking();
    talk.gives(
        1,
        expiring("lobby", r#"{"a":1,"b":2}"#, r#"{"b":1000}"#),
        &[r#"put lobby {"a":1,"b":2} then {"a":1} as jane"#],
    );
    let kept = talk.session.subscriptions().next().and_then(|(_, state)| state.cloned());
    assert_eq!(kept, Some(state(r#"{"a":1}"#)), "what may be said again");
}

// P4.24
#[test]
fn a_message_subscribes_to_one_channel_after_the_other_ahead_of_what_came_since() {
    let mut talk = Talk::of_jane();
    let all = with_ref("1", subscribe_all(&["a", "b", "c"]));
    talk.gives(1, all, &["may jane subscribe a?"]);
    talk.gives(2, with_ref("2", ping()), &[]);
    talk.gives(3, granted("a"), &["subscribed a ref 1", "listen a", "may jane subscribe b?"]);
    talk.gives(4, denied("b"), &["error CHANNEL_ACCESS_DENIED b ref 1", "may jane subscribe c?"]);
    talk.gives(5, granted("c"), &["subscribed c ref 1", "listen c", "pong ref 2"]);
    // What is subscribed already asks no rule.
    let again = ["subscribed a", "request snapshot a", "subscribed c", "request snapshot c"];
    talk.gives(6, subscribe_all(&["a", "c"]), &again);
    assert_eq!(talk.session.waiting_bytes(), 0);
}

// P4.24, P4.15
#[test]
fn a_channel_too_many_is_refused_for_itself() {
    let mut talk = Talk::of_jane();
    let most = limits().max_channels;
    let names: Vec<String> = (0..=most).map(|n| n.to_string()).collect();
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    talk.hear(1, subscribe_all(&names));
    for name in &names[..most - 1] {
        talk.hear(2, granted(name));
    }
    let last = names[most - 1];
    let ends = [
        format!("subscribed {last}"),
        format!("listen {last}"),
        format!("error CHANNEL_LIMIT {}", names[most]),
    ];
    talk.gives(3, granted(last), &ends.each_ref().map(|end| &**end));
}

// P4.22
#[test]
fn a_subscription_that_counts_asks_the_same_rule_and_may_be_changed_without_one() {
    let mut talk = Talk::of_jane();
    talk.gives(1, with_ref("1", count("lobby")), &["may jane subscribe lobby?"]);
    talk.gives(2, granted("lobby"), &["subscribed lobby ref 1", "count lobby"]);
    talk.gives(3, count("lobby"), &["subscribed lobby", "count lobby"]);
    talk.gives(4, with_ref("2", sync("lobby")), &["ack ref 2", "count lobby"]);
    talk.gives(5, track("lobby", "{}"), &["may jane track lobby?"]);
    talk.gives(6, granted("lobby"), &["put lobby {} as jane"]);
    let to_list = ["subscribed lobby", "unlisten lobby", "listen lobby"];
    talk.gives(7, subscribe("lobby"), &to_list);
    talk.gives(8, subscribe("lobby"), &["subscribed lobby", "request snapshot lobby"]);
    talk.gives(9, count("lobby"), &["subscribed lobby", "unlisten lobby", "count lobby"]);
    let goes = ["remove lobby leave", "unlisten lobby", "unsubscribed lobby"];
    talk.gives(10, unsubscribe("lobby"), &goes);
}

// P4.6
#[test]
fn a_refusal_says_whether_signing_in_could_help() {
    let mut talk = Talk::new();
    talk.hear(1, with_ref("1", subscribe("lobby")));
    talk.gives(1, denied("lobby"), &["error NOT_AUTHENTICATED lobby ref 1"]);
    let mut talk = Talk::of_jane();
    talk.hear(1, with_ref("1", subscribe("lobby")));
    talk.gives(1, denied("lobby"), &["error CHANNEL_ACCESS_DENIED lobby ref 1"]);
    talk.hear(2, with_ref("2", track("lobby", "{}")));
    talk.gives(2, denied("lobby"), &["error CHANNEL_ACCESS_DENIED lobby ref 2"]);
}

// P4.6
#[test]
fn where_nobody_can_decide_the_request_fails_and_may_be_sent_again() {
    for request in [|| subscribe("lobby"), || track("lobby", "{}")] {
        let mut talk = Talk::of_jane();
        let asks = ["may jane subscribe lobby?"];
        talk.gives(1, with_ref("1", request()), &asks);
        talk.gives(2, unavailable("lobby"), &["error SERVER_ERROR lobby ref 1"]);
        talk.gives(3, request(), &asks);
    }
}

// P4.7
#[test]
fn unsubscribe_takes_the_entry_along_and_is_answered_last() {
    let mut talk = Talk::tracking();
    talk.gives(
        1,
        with_ref("1", unsubscribe("lobby")),
        &["remove lobby leave", "unlisten lobby", "unsubscribed lobby ref 1"],
    );
    assert_eq!(talk.session.subscriptions().count(), 0);
}

// P4.7
#[test]
fn unsubscribe_without_a_subscription_fails() {
    let mut talk = Talk::of_jane();
    let effects = ["error NOT_SUBSCRIBED lobby ref 1"];
    talk.gives(1, with_ref("1", unsubscribe("lobby")), &effects);
}

// P4.8
#[test]
fn the_first_track_asks_for_the_right_and_the_next_does_not() {
    let mut talk = Talk::in_lobby();
    talk.gives(1, with_ref("1", track("lobby", "{}")), &["may jane track lobby?"]);
    talk.gives(2, granted("lobby"), &["put lobby {} as jane ref 1"]);
    let again = track("lobby", r#"{"n":1}"#);
    talk.gives(3, again, &[r#"put lobby {"n":1} as jane"#]);
    let shown: Vec<_> = talk.session.subscriptions().collect();
    assert_eq!(shown, [(&channel("lobby"), Some(&state(r#"{"n":1}"#)))]);
}

// P9.1
#[test]
fn a_state_that_hibernates_is_kept_no_longer_and_still_leaves() {
    let mut talk = Talk::in_lobby();
    talk.gives(1, with_ref("1", track("lobby", "{}")), &["may jane track lobby?"]);
    talk.gives(2, granted("lobby"), &["put lobby {} as jane ref 1"]);
    talk.gives(2, Input::Hibernated { channel: channel("lobby") }, &[]);
    assert_eq!(talk.session.subscriptions().next(), Some((&channel("lobby"), None)));
    assert_eq!(talk.session.tracked().next(), Some(&channel("lobby")));
    talk.gives(3, untrack("lobby"), &["remove lobby leave"]);
    assert_eq!(talk.session.tracked().next(), None);
}

// P4.8, P1.8
#[test]
fn the_shards_answer_is_the_ack() {
    let mut talk = Talk::tracking();
    talk.gives(1, with_ref("\"\"", answered("lobby", PutResult::Done)), &["ack ref \"\""]);
    talk.gives(1, answered("lobby", PutResult::Done), &[]);
}

// P4.8
#[test]
fn a_denied_track_leaves_the_subscription_and_may_be_asked_again() {
    let mut talk = Talk::in_lobby();
    talk.hear(1, track("lobby", "{}"));
    talk.gives(1, denied("lobby"), &["error CHANNEL_ACCESS_DENIED lobby"]);
    talk.gives(2, sync("lobby"), &["request snapshot lobby"]);
    talk.gives(3, track("lobby", "{}"), &["may jane track lobby?"]);
}

// P4.9, P6.7
#[test]
fn a_track_without_a_subscription_asks_for_both_rights_and_shows_before_it_listens() {
    let mut talk = Talk::of_jane();
    talk.gives(1, with_ref("1", track("lobby", "{}")), &["may jane subscribe lobby?"]);
    talk.gives(2, granted("lobby"), &["may jane track lobby?"]);
    talk.gives(3, granted("lobby"), &["put lobby {} as jane ref 1", "listen lobby"]);
    talk.gives(4, subscribe("lobby"), &["subscribed lobby", "request snapshot lobby"]);
}

// P4.9
#[test]
fn a_track_that_is_refused_leaves_nothing_behind() {
    let mut talk = Talk::of_jane();
    talk.hear(1, track("lobby", "{}"));
    talk.hear(1, granted("lobby"));
    talk.gives(1, denied("lobby"), &["error CHANNEL_ACCESS_DENIED lobby"]);
    talk.gives(2, unsubscribe("lobby"), &["error NOT_SUBSCRIBED lobby"]);
}

// P4.10
#[test]
fn untrack_takes_the_entry_and_leaves_the_subscription() {
    let mut talk = Talk::tracking();
    talk.gives(1, with_ref("1", untrack("lobby")), &["remove lobby leave", "ack ref 1"]);
    talk.gives(2, sync("lobby"), &["request snapshot lobby"]);
    talk.gives(3, track("lobby", "{}"), &["put lobby {} as jane"]);
    talk.gives(4, untrack("lobby"), &["remove lobby leave"]);
}

// P4.10
#[test]
fn untrack_without_an_entry_is_acknowledged_and_does_nothing() {
    for mut talk in [Talk::new(), Talk::of_jane(), Talk::in_lobby()] {
        talk.gives(1, with_ref("1", untrack("lobby")), &["ack ref 1"]);
        talk.gives(1, untrack("lobby"), &[]);
    }
}

// P4.11
#[test]
fn sync_is_acknowledged_and_owes_a_snapshot() {
    let mut talk = Talk::in_lobby();
    talk.gives(1, with_ref("1", sync("lobby")), &["ack ref 1", "request snapshot lobby"]);
    talk.gives(1, sync("lobby"), &["request snapshot lobby"]);
    talk.gives(1, with_ref("2", sync("garden")), &["error NOT_SUBSCRIBED garden ref 2"]);
}

// P4.12
#[test]
fn ping_is_answered_with_or_without_a_token() {
    for mut talk in [Talk::new(), Talk::of_jane()] {
        talk.gives(1, with_ref("1.5", ping()), &["pong ref 1.5"]);
        talk.gives(1, ping(), &["pong"]);
    }
}

// P4.3
#[test]
fn a_message_that_makes_no_sense_is_answered_and_changes_nothing() {
    let mut talk = Talk::tracking();
    talk.gives(1, with_ref("1", nonsense()), &["error UNKNOWN_TYPE ref 1"]);
    talk.gives(2, sync("lobby"), &["request snapshot lobby"]);
}

// P1.4
#[test]
fn an_entry_is_the_tokens_users_whatever_the_message_says() {
    let text = r#"{"type":"presence_join","channel":"presence:lobby","userId":"joe",
        "connectionId":"AAAAAAAAAAAAAAAAAAAAAA","state":{}}"#;
    let mut decoded = Vec::new();
    decode(text, &DefaultChannel::None, &mut decoded);
    let incoming = decoded.remove(0).expect("a good message");
    let mut talk = Talk::tracking();
    talk.gives(1, herenow_core::Input::Message(incoming), &["put lobby {} as jane"]);
}

// P4.14
#[test]
fn a_full_channel_is_told_and_the_subscription_stays() {
    let mut talk = Talk::tracking();
    let full = with_ref("1", answered("lobby", PutResult::Full));
    talk.gives(1, full, &["error MEMBER_LIMIT lobby ref 1"]);
    talk.gives(1, answered("lobby", PutResult::Full), &["error MEMBER_LIMIT lobby"]);
    talk.gives(2, sync("lobby"), &["request snapshot lobby"]);
}

// P4.15
#[test]
fn one_channel_too_many_is_refused_until_another_is_left() {
    let mut limits = limits();
    limits.max_channels = 2;
    let mut talk = Talk::within(limits);
    talk.hear(0, crate::given::good("jane"));
    for name in ["lobby", "garden"] {
        talk.hear(0, subscribe(name));
        talk.hear(0, granted(name));
    }
    talk.gives(1, with_ref("1", subscribe("attic")), &["error CHANNEL_LIMIT attic ref 1"]);
    talk.gives(1, with_ref("2", track("attic", "{}")), &["error CHANNEL_LIMIT attic ref 2"]);
    talk.gives(1, subscribe("lobby"), &["subscribed lobby", "request snapshot lobby"]);
    talk.gives(1, track("lobby", "{}"), &["may jane track lobby?"]);
    talk.gives(1, granted("lobby"), &["put lobby {} as jane"]);
    talk.gives(2, unsubscribe("garden"), &["unlisten garden", "unsubscribed garden"]);
    talk.gives(2, subscribe("attic"), &["may jane subscribe attic?"]);
}
