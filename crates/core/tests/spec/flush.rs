//! What a flush owes whom.

use herenow_core::Flush;
use herenow_wire::LeaveReason;

use crate::given::{at, channel, put, remove, subscribe_peer, unsubscribe_peer};
use crate::told::{House, flush_lines};

// P6.2
#[test]
fn who_asks_is_owed_one_snapshot_and_then_deltas() {
    let mut house = House::after([put("lobby", 'a', "{}")]);
    house.gives(1, subscribe_peer("lobby", 0, 1), &["dirty lobby since 0"]);
    house.owes("lobby", 1, &["to 0: snapshot up to 1", "snapshot 7:1 [a{}]"]);
    house.hear(2, put("lobby", 'b', "{}"));
    house.owes("lobby", 2, &["2: join b{}", "to 0: deltas"]);
}

// P6.7
#[test]
fn a_snapshot_holds_every_change_of_its_own_flush() {
    let mut house = House::new();
    house.gives(0, put("lobby", 'a', "{}"), &["dirty lobby since 0"]);
    house.gives(0, subscribe_peer("lobby", 0, 1), &[]);
    house.gives(0, put("lobby", 'b', "{}"), &[]);
    house.owes(
        "lobby",
        1,
        &["1: join a{}", "2: join b{}", "to 0: snapshot up to 1", "snapshot 7:2 [a{} b{}]"],
    );
}

// P6.1
#[test]
fn each_peer_is_owed_what_it_asked_for() {
    let mut house = House::after([put("lobby", 'a', "{}"), subscribe_peer("lobby", 3, 1)]);
    house.hear(1, subscribe_peer("lobby", 5, 8));
    house.hear(1, put("lobby", 'b', "{}"));
    house.owes(
        "lobby",
        2,
        &["2: join b{}", "to 3: deltas", "to 5: snapshot up to 8", "snapshot 7:2 [a{} b{}]"],
    );
}

// P4.11
#[test]
fn of_several_wishes_of_a_peer_the_newest_counts_and_one_snapshot_answers_all() {
    let mut house = House::after([subscribe_peer("lobby", 0, 1)]);
    house.gives(1, subscribe_peer("lobby", 0, 2), &["dirty lobby since 0"]);
    house.gives(1, subscribe_peer("lobby", 0, 3), &[]);
    house.owes("lobby", 1, &["to 0: snapshot up to 3", "snapshot 7:0 []"]);
}

// P6.8
#[test]
fn a_repeated_snapshot_may_have_the_same_number() {
    let mut house = House::after([put("lobby", 'a', "{}"), subscribe_peer("lobby", 0, 1)]);
    for request_id in 2..4 {
        house.hear(1, subscribe_peer("lobby", 0, request_id));
        let line = format!("to 0: snapshot up to {request_id}");
        house.owes("lobby", 1, &[&line, "snapshot 7:1 [a{}]"]);
    }
}

// P6.4
#[test]
fn a_flush_counts_what_was_merged_away() {
    let mut house = House::after([put("lobby", 'a', r#"{"n":0}"#), subscribe_peer("lobby", 0, 1)]);
    for n in 1..=5 {
        house.hear(1, put("lobby", 'a', &format!(r#"{{"n":{n}}}"#)));
    }
    let update = r#"6: update a{"n":5} was {"n":0}"#;
    house.owes("lobby", 2, &[update, "merged 4", "to 0: deltas"]);
}

// P6.10
#[test]
fn a_channel_in_which_enough_changes_wait_says_so_once() {
    let mut house = House::after([put("lobby", 'a', r#"{"n":0}"#)]);
    let change = |n: u32| put("lobby", 'a', &format!(r#"{{"n":{n}}}"#));
    house.gives(1, change(1), &["dirty lobby since 0"]);
    for n in 2..32 {
        house.gives(1, change(n), &[]);
    }
    house.gives(1, change(32), &["flush now lobby since 0"]);
    house.gives(1, change(33), &[]);
    house.flush("lobby", 2);
    house.gives(2, change(34), &["dirty lobby since 2"]);
}

// P6.5
#[test]
fn join_leave_join_in_one_flush_are_three_events() {
    let mut house = House::after([subscribe_peer("lobby", 0, 1)]);
    house.hear(1, put("lobby", 'a', "{}"));
    house.hear(1, remove("lobby", 'a', LeaveReason::Leave));
    house.hear(1, put("lobby", 'a', "{}"));
    house.owes("lobby", 2, &["1: join a{}", "2: leave(leave) a{}", "3: join a{}", "to 0: deltas"]);
}

// P4.7
#[test]
fn a_peer_without_subscribers_is_owed_nothing() {
    let mut house = House::after([subscribe_peer("lobby", 0, 1), subscribe_peer("lobby", 1, 1)]);
    house.hear(1, put("lobby", 'a', "{}"));
    house.hear(1, unsubscribe_peer("lobby", 0));
    house.owes("lobby", 1, &["1: join a{}", "to 1: deltas"]);
}

// P6.2
#[test]
fn a_peer_that_went_and_came_back_is_owed_a_snapshot() {
    let mut house = House::after([put("lobby", 'a', "{}"), subscribe_peer("lobby", 0, 1)]);
    house.hear(1, unsubscribe_peer("lobby", 0));
    house.hear(1, subscribe_peer("lobby", 0, 2));
    house.owes("lobby", 1, &["to 0: snapshot up to 2", "snapshot 7:1 [a{}]"]);
}

// P6.1
#[test]
fn what_is_told_to_nobody_is_told_all_the_same() {
    let mut house = House::new();
    house.hear(0, put("lobby", 'a', "{}"));
    house.owes("lobby", 1, &["1: join a{}"]);
    house.owes("lobby", 2, &[]);
}

// P6.1
#[test]
fn a_channel_that_is_not_there_owes_nothing_and_the_buffer_is_emptied() {
    let mut house = House::new();
    house.owes("nowhere", 0, &[]);
    let mut flush = Flush::default();
    house.hear(0, put("lobby", 'a', "{}"));
    house.shard.flush(&channel("lobby"), at(0), &mut flush);
    house.shard.flush(&channel("nowhere"), at(0), &mut flush);
    assert_eq!(flush_lines(&flush), [""; 0]);
}
