//! One channel: what is a join, an update, a leave, and what waits to be told.

use herenow_core::{Change, Channel, Decision, Member, Op, Owner, Put, Snapshot};
use herenow_wire::{Info, LeaveReason, User};

use crate::given::{OWNER, id, shown, user};
use crate::told::{op_line, snapshot_line};

/// Decides and applies; the change that was made.
fn put(channel: &mut Channel, put: Put) -> Change {
    match channel.decide_put(put, 1_000, channel.seq() + 1) {
        Decision::Change(change) => {
            channel.apply(change.clone());
            change
        }
        other => panic!("{other:?} where a change was due"),
    }
}

fn remove(channel: &mut Channel, letter: char) {
    let reason = LeaveReason::Leave;
    match channel.decide_remove(id(letter), OWNER, reason, channel.seq() + 1) {
        Decision::Change(change) => channel.apply(change),
        other => panic!("{other:?} where a change was due"),
    }
}

fn told(channel: &mut Channel) -> Vec<String> {
    let mut ops = Vec::new();
    channel.take_pending(&mut ops);
    ops.iter().map(op_line).collect()
}

// P5.3
#[test]
fn the_first_state_is_a_join_the_next_an_update_and_the_end_a_leave() {
    let mut channel = Channel::new(7, 40);
    put(&mut channel, shown('a', "{}"));
    assert_eq!(told(&mut channel), ["41: join a{}"]);
    put(&mut channel, shown('a', r#"{"n":1}"#));
    assert_eq!(told(&mut channel), [r#"42: update a{"n":1} was {}"#]);
    remove(&mut channel, 'a');
    assert_eq!(told(&mut channel), [r#"43: leave(leave) a{"n":1}"#]);
    assert!(channel.is_empty() && channel.has_no_pending());
}

// P6.8
#[test]
fn a_change_names_the_life_and_the_numbers_before_and_after_it() {
    let mut channel = Channel::new(7, 40);
    let Change { epoch, prev, seq, op } = put(&mut channel, shown('a', "{}"));
    assert_eq!((epoch, prev, seq), (7, 40, 41));
    let Put { connection, owner, generation, user, state } = shown('a', "{}");
    let new = Member { connection, owner, generation, user, state, seq: 41 };
    assert_eq!(op, Op::Put { old: None, new });
    assert_eq!((channel.epoch(), channel.seq(), channel.len()), (7, 41, 1));
}

// P6.11
#[test]
fn deciding_changes_nothing() {
    let mut channel = Channel::new(7, 0);
    put(&mut channel, shown('a', "{}"));
    told(&mut channel);
    let first = channel.decide_put(shown('b', "{}"), 1_000, 2);
    assert_eq!(channel.decide_put(shown('b', "{}"), 1_000, 2), first);
    channel.decide_remove(id('a'), OWNER, LeaveReason::Leave, 2);
    assert_eq!(snapshot_line(&channel.snapshot()), "snapshot 7:1 [a{}]");
    assert!(channel.has_no_pending());
}

// P6.11
#[test]
fn an_entry_that_is_not_there_or_another_owners_does_not_leave() {
    let mut channel = Channel::new(7, 0);
    put(&mut channel, shown('a', "{}"));
    for (letter, owner) in [('b', OWNER), ('a', Owner(5))] {
        let decision = channel.decide_remove(id(letter), owner, LeaveReason::Disconnect, 2);
        assert_eq!(decision, Decision::Unchanged, "{letter} of {owner:?}");
    }
}

// P4.13
#[test]
fn the_same_bytes_again_change_nothing() {
    let mut channel = Channel::new(7, 0);
    put(&mut channel, shown('a', r#"{"n":1}"#));
    // Blanks and escapes are the sender's own affair.
    let again = shown('a', " { \"\\u006e\" : 1.0 } ");
    assert_eq!(channel.decide_put(again, 1_000, 2), Decision::Unchanged);
}

// P5.7
#[test]
fn the_same_bytes_of_a_user_with_other_information_are_an_update() {
    let mut channel = Channel::new(7, 0);
    put(&mut channel, shown('a', "{}"));
    let info = Info::parse(r#"{"name":"A"}"#).expect("a short object");
    let named = User::new(user("a"), Some(info));
    let again = Put { user: named.clone(), ..shown('a', "{}") };
    let Decision::Change(change) = channel.decide_put(again.clone(), 1_000, 2) else {
        panic!("the member shows something else")
    };
    assert!(matches!(&change.op, Op::Put { old: Some(_), new } if new.user == named));
    channel.apply(change);
    assert_eq!(channel.decide_put(again, 1_000, 3), Decision::Unchanged);
    assert_eq!((channel.users(), channel.members_of(&user("a")).len()), (1, 1));
}

// P6.11
#[test]
fn a_member_that_a_later_socket_shows_at_another_owner_is_that_owners_from_then_on() {
    let mut channel = Channel::new(7, 0);
    put(&mut channel, shown('a', "{}"));
    put(&mut channel, Put { owner: Owner(5), generation: 1, ..shown('a', r#"{"n":1}"#) });
    let late_goodbye = channel.decide_remove(id('a'), OWNER, LeaveReason::Disconnect, 3);
    assert_eq!(late_goodbye, Decision::Unchanged);
    assert_eq!(channel.owned_by(OWNER), []);
    assert_eq!(channel.owned_by(Owner(5)), [id('a')]);
}

// P4.14
#[test]
fn a_full_channel_takes_no_new_entry_and_still_takes_updates() {
    let mut channel = Channel::new(7, 0);
    put(&mut channel, shown('a', "{}"));
    put(&mut channel, shown('b', "{}"));
    assert_eq!(channel.decide_put(shown('c', "{}"), 2, 3), Decision::Full);
    let update = channel.decide_put(shown('a', r#"{"n":1}"#), 2, 3);
    assert!(matches!(update, Decision::Change(_)), "{update:?}");
    remove(&mut channel, 'b');
    let after = channel.decide_put(shown('c', "{}"), 2, 4);
    assert!(matches!(after, Decision::Change(_)), "{after:?}");
}

// P5.2
#[test]
fn rows_stand_in_the_order_of_their_last_track() {
    let mut channel = Channel::new(7, 0);
    for letter in ['a', 'b', 'c'] {
        put(&mut channel, shown(letter, "{}"));
    }
    put(&mut channel, shown('a', r#"{"n":1}"#));
    assert_eq!(snapshot_line(&channel.snapshot()), r#"snapshot 7:4 [b{} c{} a{"n":1}]"#);
    assert_eq!(channel.owned_by(OWNER), [id('b'), id('c'), id('a')]);
}

// P6.4
#[test]
fn updates_that_wait_merge_into_the_newest_which_takes_the_last_place() {
    let mut channel = Channel::new(7, 0);
    put(&mut channel, shown('a', r#"{"n":0}"#));
    put(&mut channel, shown('b', r#"{"n":0}"#));
    told(&mut channel);
    put(&mut channel, shown('a', r#"{"n":1}"#));
    put(&mut channel, shown('b', r#"{"n":1}"#));
    put(&mut channel, shown('a', r#"{"n":2}"#));
    put(&mut channel, shown('a', r#"{"n":3}"#));
    let mut ops = Vec::new();
    assert_eq!(channel.take_pending(&mut ops), 2, "two updates were replaced");
    let lines: Vec<String> = ops.iter().map(op_line).collect();
    assert_eq!(
        lines,
        [r#"4: update b{"n":1} was {"n":0}"#, r#"6: update a{"n":3} was {"n":0}"#],
        "the first `was` and the last `is`"
    );
}

// P6.4
#[test]
fn an_update_that_waits_with_its_join_becomes_part_of_it() {
    let mut channel = Channel::new(7, 0);
    put(&mut channel, shown('a', r#"{"n":1}"#));
    put(&mut channel, shown('a', r#"{"n":2}"#));
    assert_eq!(told(&mut channel), [r#"2: join a{"n":2}"#]);
}

// P6.4
#[test]
fn what_was_told_is_not_merged_with_what_comes_after() {
    let mut channel = Channel::new(7, 0);
    put(&mut channel, shown('a', r#"{"n":1}"#));
    told(&mut channel);
    put(&mut channel, shown('b', "{}"));
    put(&mut channel, shown('a', r#"{"n":2}"#));
    assert_eq!(told(&mut channel), ["2: join b{}", r#"3: update a{"n":2} was {"n":1}"#]);
}

// P6.5
#[test]
fn a_leave_ends_the_merging() {
    let mut channel = Channel::new(7, 0);
    put(&mut channel, shown('a', r#"{"n":1}"#));
    remove(&mut channel, 'a');
    put(&mut channel, shown('a', r#"{"n":2}"#));
    put(&mut channel, shown('a', r#"{"n":3}"#));
    remove(&mut channel, 'a');
    put(&mut channel, shown('a', r#"{"n":4}"#));
    assert_eq!(
        told(&mut channel),
        [
            r#"1: join a{"n":1}"#,
            r#"2: leave(leave) a{"n":1}"#,
            r#"4: join a{"n":3}"#,
            r#"5: leave(leave) a{"n":3}"#,
            r#"6: join a{"n":4}"#,
        ]
    );
}

// P6.5
#[test]
fn an_update_that_waits_before_a_leave_is_told_before_it() {
    let mut channel = Channel::new(7, 0);
    put(&mut channel, shown('a', r#"{"n":1}"#));
    told(&mut channel);
    put(&mut channel, shown('a', r#"{"n":2}"#));
    remove(&mut channel, 'a');
    assert_eq!(
        told(&mut channel),
        [r#"2: update a{"n":2} was {"n":1}"#, r#"3: leave(leave) a{"n":2}"#]
    );
}

// P9.4
#[test]
fn replacing_gives_the_net_differences_alone() {
    let mut channel = Channel::new(7, 0);
    for letter in ['a', 'b', 'c', 'd'] {
        put(&mut channel, shown(letter, "{}"));
    }
    told(&mut channel);
    let row = |letter: char, json: &str| {
        let Put { connection, owner, generation, user, state } = shown(letter, json);
        Member { connection, owner, generation, user, state, seq: 0 }
    };
    let members = vec![row('b', "{}"), row('c', r#"{"n":1}"#), row('e', "{}")];
    let mut seq = channel.seq();
    let differences = channel.replace(Snapshot { epoch: 0, seq: 0, members }, || {
        seq += 1;
        seq
    });
    assert_eq!(differences, 4);
    assert_eq!(
        told(&mut channel),
        [
            r#"6: update c{"n":1} was {}"#,
            "7: join e{}",
            "8: leave(disconnect) a{}",
            "9: leave(disconnect) d{}",
        ]
    );
    assert_eq!(snapshot_line(&channel.snapshot()), r#"snapshot 7:9 [b{} c{"n":1} e{}]"#);
}

// P9.4
#[test]
fn replacing_a_channel_by_itself_tells_nothing() {
    let mut channel = Channel::new(7, 0);
    put(&mut channel, shown('a', "{}"));
    put(&mut channel, shown('b', "{}"));
    told(&mut channel);
    let same = channel.snapshot();
    let mut seq = channel.seq();
    let differences = channel.replace(same.clone(), || {
        seq += 1;
        seq
    });
    assert_eq!(differences, 0);
    assert!(channel.has_no_pending());
    assert_eq!(channel.snapshot(), same);
}
