//! Many channels: who is told what, what is asked for, and what is freed.

use herenow_core::{Command, Owner, Put};
use herenow_wire::LeaveReason;

use crate::given::{
    OWNER, ROOMY, at, channel, id, put, put_among, put_with_ref, remove, remove_of, shown,
    subscribe_peer, unsubscribe_peer,
};
use crate::told::House;

// P5.3
#[test]
fn a_change_asks_for_one_flush_however_many_follow() {
    let mut house = House::new();
    house.gives(10, put("lobby", 'a', "{}"), &["dirty lobby since 0"]);
    house.gives(11, put("lobby", 'b', "{}"), &[]);
    house.gives(12, remove("lobby", 'a', LeaveReason::Leave), &[]);
    house.owes("lobby", 13, &["1: join a{}", "2: join b{}", "3: leave(leave) a{}"]);
    house.gives(14, put("lobby", 'c', "{}"), &["dirty lobby since 13"]);
}

// P4.8
#[test]
fn a_track_with_a_ref_is_answered_and_one_without_is_not() {
    let mut house = House::new();
    let put = shown('a', "{}");
    let command = put_with_ref("lobby", put, "7");
    house.gives(0, command, &["dirty lobby since 0", "answer a lobby done ref 7"]);
    house.gives(0, self::put("lobby", 'b', "{}"), &[]);
}

// P4.13
#[test]
fn a_state_that_is_there_already_is_answered_and_tells_nobody_anything() {
    let mut house = House::after([put("lobby", 'a', "{}"), subscribe_peer("lobby", 0, 1)]);
    house.gives(5, put("lobby", 'a', "{}"), &[]);
    let put = shown('a', " {} ");
    let again = put_with_ref("lobby", put, "\"x\"");
    house.gives(5, again, &[r#"answer a lobby done ref "x""#]);
    house.owes("lobby", 6, &["to 0: deltas"]);
}

// P4.13
#[test]
fn a_state_that_is_there_already_keeps_its_place_among_the_rows() {
    let mut house = House::after([put("lobby", 'a', "{}"), put("lobby", 'b', "{}")]);
    house.hear(1, put("lobby", 'a', "{}"));
    house.hear(1, subscribe_peer("lobby", 0, 1));
    house.owes("lobby", 2, &["to 0: snapshot up to 1", "snapshot 7:2 [a{} b{}]"]);
}

/// What `a` shows on the socket of this generation.
fn shown_by_socket(generation: u32, json: &str) -> Put {
    Put { generation, ..shown('a', json) }
}

// P7.9
#[test]
fn a_put_that_comes_late_from_a_socket_whose_connection_was_taken_over_changes_nothing() {
    let mut house = House::after([put_among("lobby", shown_by_socket(1, "{}"), ROOMY)]);
    let late = shown_by_socket(0, r#"{"late":1}"#);
    house.gives(5, put_among("lobby", late, ROOMY), &["answer a lobby superseded"]);
    house.hear(6, subscribe_peer("lobby", 0, 1));
    house.owes("lobby", 6, &["to 0: snapshot up to 1", "snapshot 7:1 [a{}]"]);
}

// P7.9
#[test]
fn a_socket_that_shows_the_same_state_as_the_one_before_it_tells_nobody_anything_and_counts() {
    let mut house = House::after([put_among("lobby", shown_by_socket(0, "{}"), ROOMY)]);
    house.gives(5, put_among("lobby", shown_by_socket(1, "{}"), ROOMY), &[]);
    let late = shown_by_socket(0, r#"{"late":1}"#);
    house.gives(6, put_among("lobby", late, ROOMY), &["answer a lobby superseded"]);
    let next = shown_by_socket(1, r#"{"n":1}"#);
    house.gives(7, put_among("lobby", next, ROOMY), &["dirty lobby since 0"]);
}

// P7.9
#[test]
fn a_leave_that_comes_late_from_a_socket_whose_connection_was_taken_over_changes_nothing() {
    let full = [put_among("lobby", shown_by_socket(1, "{}"), 1)];
    let mut house = House::after(full);
    house.gives(5, remove("lobby", 'a', LeaveReason::Disconnect), &[]);
    let (channel, connection, owner) = (channel("lobby"), id('a'), OWNER);
    house.gives(6, Command::Detach { channel, connection, owner, generation: 0 }, &[]);
    // It would be the first to give way.
    house.gives(7, put_among("lobby", shown('b', "{}"), 1), &["answer b lobby full"]);
}

// P7.9
#[test]
fn a_later_socket_counts_as_later_though_the_numbers_wrap() {
    let last = shown_by_socket(u32::MAX, "{}");
    let mut house = House::after([put_among("lobby", last.clone(), ROOMY)]);
    house.hear(5, put_among("lobby", shown_by_socket(0, r#"{"n":1}"#), ROOMY));
    house.gives(6, put_among("lobby", last, ROOMY), &["answer a lobby superseded"]);
}

// P4.14
#[test]
fn a_full_channel_refuses_a_newcomer_even_without_a_ref_and_nothing_changes() {
    let mut house = House::new();
    house.gives(0, put_among("lobby", shown('a', "{}"), 1), &["dirty lobby since 0"]);
    house.gives(0, put_among("lobby", shown('b', "{}"), 1), &["answer b lobby full"]);
    house.owes("lobby", 1, &["1: join a{}"]);
    house.gives(1, put_among("lobby", shown('a', r#"{"n":1}"#), 1), &["dirty lobby since 1"]);
    house.holds(1, 1);
}

// P4.14
#[test]
fn a_refusal_in_an_empty_channel_leaves_nothing_behind() {
    let mut house = House::new();
    house.gives(0, put_among("lobby", shown('a', "{}"), 0), &["answer a lobby full"]);
    house.holds(0, 0);
}

// P6.11
#[test]
fn a_leave_of_nobody_does_nothing() {
    let mut house = House::after([put("lobby", 'a', "{}")]);
    house.gives(1, remove("lobby", 'b', LeaveReason::Leave), &[]);
    house.gives(1, remove("elsewhere", 'a', LeaveReason::Leave), &[]);
    house.gives(1, remove_of("lobby", 'a', Owner(9), LeaveReason::Disconnect), &[]);
    house.holds(1, 1);
}

// P6.3
#[test]
fn an_entry_that_leaves_twice_is_told_once() {
    let mut house = House::after([put("lobby", 'a', "{}"), subscribe_peer("lobby", 0, 1)]);
    house.hear(1, remove("lobby", 'a', LeaveReason::Leave));
    house.hear(1, remove("lobby", 'a', LeaveReason::Disconnect));
    house.owes("lobby", 2, &["2: leave(leave) a{}", "to 0: deltas"]);
}

// P5.4
#[test]
fn a_leave_says_why() {
    for (reason, line) in [
        (LeaveReason::Leave, "2: leave(leave) a{}"),
        (LeaveReason::Disconnect, "2: leave(disconnect) a{}"),
        (LeaveReason::Timeout, "2: leave(timeout) a{}"),
        (LeaveReason::Kicked, "2: leave(kicked) a{}"),
    ] {
        let mut house = House::after([put("lobby", 'a', "{}")]);
        house.gives(1, remove("lobby", 'a', reason), &["dirty lobby since 0"]);
        house.owes("lobby", 1, &[line]);
    }
}

// P1.5
#[test]
fn members_are_kept_apart_by_connection_and_by_channel() {
    let mut house = House::new();
    let tab = |letter| Put { user: shown('u', "{}").user, ..shown(letter, "{}") };
    for letter in ['a', 'b', 'c'] {
        house.hear(0, put_among("lobby", tab(letter), ROOMY));
    }
    house.hear(0, put("garden", 'a', "{}"));
    house.holds(2, 4);
    house.hear(0, remove("lobby", 'a', LeaveReason::Leave));
    house.hear(0, subscribe_peer("lobby", 0, 1));
    house.hear(0, subscribe_peer("garden", 0, 2));
    house.flush("lobby", 1);
    assert_eq!(house.flush("garden", 1).last().expect("a snapshot"), "snapshot 7:4 [a{}]");
}

// P6.8
#[test]
fn one_counter_serves_all_channels_of_a_shard() {
    let mut house = House::new();
    house.hear(0, put("lobby", 'a', "{}"));
    house.hear(0, put("garden", 'a', "{}"));
    house.hear(0, put("lobby", 'b', "{}"));
    house.owes("garden", 1, &["2: join a{}"]);
    house.owes("lobby", 1, &["1: join a{}", "3: join b{}"]);
}

// P6.8
#[test]
fn a_channel_that_was_freed_and_made_again_goes_on_counting() {
    let mut house = House::after([put("lobby", 'a', "{}")]);
    house.hear(1, remove("lobby", 'a', LeaveReason::Leave));
    house.flush("lobby", 1);
    house.holds(0, 0);
    house.hear(2, subscribe_peer("lobby", 0, 1));
    house.owes("lobby", 2, &["to 0: snapshot up to 1", "snapshot 7:2 []"]);
    house.hear(3, put("lobby", 'b', "{}"));
    house.owes("lobby", 3, &["3: join b{}", "to 0: deltas"]);
}

// P6.1
#[test]
fn a_channel_with_neither_entry_nor_subscriber_is_freed() {
    let mut house = House::after([put("lobby", 'a', "{}"), subscribe_peer("lobby", 0, 1)]);
    house.gives(1, unsubscribe_peer("lobby", 0), &[]);
    house.holds(1, 1);
    house.hear(1, remove("lobby", 'a', LeaveReason::Leave));
    house.flush("lobby", 1);
    house.holds(0, 0);

    let mut house = House::after([subscribe_peer("lobby", 0, 1)]);
    house.holds(1, 0);
    house.gives(1, unsubscribe_peer("lobby", 0), &[]);
    house.holds(0, 0);
    house.gives(1, unsubscribe_peer("lobby", 0), &[]);
}

// P6.11
#[test]
fn a_lost_owner_takes_its_members_of_every_channel_along_and_no_others() {
    let lost = Owner(3);
    let of_lost = |letter| Put { owner: lost, ..shown(letter, "{}") };
    let mut house = House::after([
        put_among("lobby", of_lost('b'), ROOMY),
        put_among("lobby", of_lost('a'), ROOMY),
        put("lobby", 'c', "{}"),
        put_among("garden", of_lost('a'), ROOMY),
        put("attic", 'c', "{}"),
    ]);
    let effects = house.lose_owner(lost, at(1));
    assert_eq!(effects, ["dirty garden since 0", "dirty lobby since 0"]);
    house.owes("garden", 1, &["6: leave(disconnect) a{}"]);
    house.owes("lobby", 1, &["7: leave(disconnect) b{}", "8: leave(disconnect) a{}"]);
    house.owes("attic", 1, &[]);
    house.holds(2, 2);
    let again = house.lose_owner(lost, at(2));
    assert_eq!(again, [""; 0]);
    assert_ne!(lost, OWNER);
}
