//! Members whose connection has no socket: in a full channel they give way to those that have one.

use herenow_core::{Command, Owner, Shard};
use herenow_wire::LeaveReason;

use crate::given::{OWNER, at, channel, id, put_among, remove, shown, subscribe_peer};
use crate::told::House;

const ROOM: u32 = 3;
/// Longer than a channel collects.
const REBUILT_MS: u64 = 2_000;

fn put(letter: char) -> Command {
    put_among("lobby", shown(letter, "{}"), ROOM)
}

fn keep(letter: char) -> Command {
    Command::Keep { channel: channel("lobby"), put: shown(letter, "{}"), max_members: ROOM }
}

fn detach(letter: char) -> Command {
    detach_of(letter, OWNER)
}

fn detach_of(letter: char, owner: Owner) -> Command {
    Command::Detach { channel: channel("lobby"), connection: id(letter), owner, generation: 0 }
}

/// Full with a, b and c.
fn full() -> House {
    House::after([put('a'), put('b'), put('c'), subscribe_peer("lobby", 0, 1)])
}

// P4.14
#[test]
fn in_a_full_channel_the_member_detached_longest_ago_gives_way() {
    let mut house = full();
    house.gives(1, detach('b'), &[]);
    house.gives(2, detach('a'), &[]);
    house.gives(3, put('d'), &["dirty lobby since 0"]);
    house.owes("lobby", 3, &["4: leave(disconnect) b{}", "5: join d{}", "to 0: deltas"]);
    house.gives(4, put('e'), &["dirty lobby since 3"]);
    house.owes("lobby", 4, &["6: leave(disconnect) a{}", "7: join e{}", "to 0: deltas"]);
    house.gives(5, put('f'), &["answer f lobby full"]);
    house.holds(1, 3);
}

// P4.14
#[test]
fn a_member_that_is_back_gives_way_to_nobody() {
    let mut house = full();
    house.gives(1, detach('a'), &[]);
    house.gives(2, put('a'), &[]);
    house.gives(3, put('d'), &["answer d lobby full"]);
    house.gives(4, detach('a'), &[]);
    house.gives(5, put_among("lobby", shown('a', r#"{"n":1}"#), ROOM), &["dirty lobby since 0"]);
    house.gives(6, put('d'), &["answer d lobby full"]);
}

// P4.14
#[test]
fn a_member_that_is_there_takes_nobodys_place_and_neither_does_who_finds_room() {
    let mut house = full();
    house.hear(1, detach('b'));
    house.gives(2, put('a'), &[]);
    house.gives(3, remove("lobby", 'c', LeaveReason::Leave), &["dirty lobby since 0"]);
    house.gives(4, put('d'), &[]);
    house.owes("lobby", 5, &["4: leave(leave) c{}", "5: join d{}", "to 0: deltas"]);
}

// P4.14
#[test]
fn where_members_with_a_socket_fill_the_channel_nobody_gives_way() {
    let mut house = full();
    house.hear(1, detach('b'));
    let two = |letter| put_among("lobby", shown(letter, "{}"), 2);
    house.gives(2, two('d'), &["answer d lobby full"]);
    house.holds(1, 3);
}

// P4.14
#[test]
fn a_member_that_left_and_came_again_is_not_detached_any_more() {
    let mut house = full();
    house.hear(1, detach('b'));
    house.hear(2, remove("lobby", 'b', LeaveReason::Disconnect));
    house.hear(3, put('b'));
    house.gives(4, put('d'), &["answer d lobby full"]);
}

// P4.14
#[test]
fn only_its_own_process_detaches_a_member() {
    let mut house = full();
    house.gives(1, detach_of('b', Owner(9)), &[]);
    house.gives(1, detach('x'), &[]);
    house.gives(2, put('d'), &["answer d lobby full"]);
}

// P9.3, P4.14
#[test]
fn a_rebuilt_channel_knows_who_is_detached() {
    let mut house = full();
    house.out(|shard, out| shard.lose_all(at(0), out));
    house.hear(0, keep('a'));
    house.hear(0, keep('b'));
    house.gives(0, put('c'), &["dirty lobby since 0"]);
    house.flush("lobby", 0);
    house.gives(1, put('d'), &["dirty lobby since 0"]);
    let lines = ["7: leave(disconnect) a{}", "8: join d{}", "to 0: deltas"];
    house.owes("lobby", 1, &lines);
}

// P9.5, P4.14
#[test]
fn while_a_channel_is_rebuilt_a_detached_member_gives_way_and_takes_nobodys_place() {
    let mut house = full();
    house.out(|shard, out| shard.lose_all(at(0), out));
    house.hear(0, put('a'));
    house.gives(0, keep('b'), &[]);
    // The place of c is kept for it, and b's is not.
    house.gives(0, put('d'), &[]);
    house.gives(0, put('e'), &["answer e lobby full"]);
    house.gives(0, keep('b'), &[]);
    house.out(|shard, out| shard.handle_timeout(at(REBUILT_MS), None, out));
    let lines = house.flush("lobby", REBUILT_MS);
    assert_eq!(lines.last().expect("a snapshot"), "snapshot 8:5 [a{} d{}]");
}

// P9.5, P4.14
#[test]
fn who_loses_its_socket_while_a_channel_is_rebuilt_is_detached_in_it() {
    let mut house = full();
    house.out(|shard, out| shard.lose_all(at(0), out));
    house.hear(0, put('a'));
    house.hear(0, detach('a'));
    house.hear(0, put('b'));
    house.hear(0, put('c'));
    house.flush("lobby", 0);
    house.hear(1, put('d'));
    assert_eq!(house.flush("lobby", 1)[0], "7: leave(disconnect) a{}");
}

#[test]
fn leaves_are_counted_by_reason_the_eviction_of_a_detached_member_too() {
    let mut shard = Shard::new(1);
    let commands = [put('a'), put('b'), put('c'), detach('b'), put('d')];
    for command in commands.into_iter().chain([
        remove("lobby", 'a', LeaveReason::Leave),
        remove("lobby", 'a', LeaveReason::Timeout),
        remove("lobby", 'c', LeaveReason::Disconnect),
    ]) {
        shard.handle(command, at(1), &mut Vec::new());
    }
    assert!(shard.has_leaves());
    let leaves = shard.take_leaves();
    let counts = LeaveReason::ALL.map(|reason| (reason, leaves.of(reason)));
    let expected = [
        (LeaveReason::Disconnect, 2),
        (LeaveReason::Timeout, 0),
        (LeaveReason::Leave, 1),
        (LeaveReason::Kicked, 0),
    ];
    assert_eq!(counts, expected);
    assert!(!shard.has_leaves());
}
