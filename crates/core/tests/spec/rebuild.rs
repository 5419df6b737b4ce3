//! Maps that are lost, by silence or by a fault, and rebuilt from what clients send again.

use std::time::Duration;

use herenow_core::{COLLECT_FOR, Command, Owner, Peer, Put, RequestId};
use herenow_wire::LeaveReason;

use crate::given::{
    OWNER, ROOMY, at, channel, id, put, put_among, remove, remove_of, shown, subscribe_peer,
    unsubscribe_peer,
};
use crate::told::House;

const SILENCE: Duration = Duration::from_secs(300);
const SILENCE_MS: u64 = SILENCE.as_millis() as u64;
const COLLECT_MS: u64 = COLLECT_FOR.as_millis() as u64;

/// `a` and `b` are in lobby, peers 0 and 1 are told, and all of it has been told at 0 ms.
fn two_in_lobby() -> House {
    House::after([
        put("lobby", 'a', "{}"),
        put("lobby", 'b', "{}"),
        subscribe_peer("lobby", 0, 1),
        subscribe_peer("lobby", 1, 1),
    ])
}

fn look(house: &mut House, ms: u64) -> Vec<String> {
    house.out(|shard, out| shard.handle_timeout(at(ms), Some(SILENCE), out))
}

fn asleep() -> House {
    let mut house = two_in_lobby();
    assert_eq!(look(&mut house, SILENCE_MS), ["hibernated lobby [0 1]"]);
    house.holds(1, 0);
    house
}

fn lose_all(house: &mut House, ms: u64) -> Vec<String> {
    house.out(|shard, out| shard.lose_all(at(ms), out))
}

const RESYNC: &str = "resync lobby [0 1]";
const DIRTY: &str = "dirty lobby since 0";

// P9.1
#[test]
fn a_channel_is_freed_after_its_silence_and_not_before() {
    let mut house = two_in_lobby();
    house.hear(1_000, put("lobby", 'a', "{}"));
    look(&mut house, SILENCE_MS + 999);
    house.holds(1, 2);
    look(&mut house, SILENCE_MS + 1_000);
    house.holds(1, 0);
}

// P9.1
#[test]
fn by_default_no_channel_hibernates() {
    let mut house = two_in_lobby();
    let effects = house.out(|shard, out| shard.handle_timeout(at(u64::MAX / 1_000), None, out));
    assert_eq!(effects, [""; 0]);
    house.holds(1, 2);
    assert!(!house.shard.has_deadlines(None));
    assert!(house.shard.has_deadlines(Some(SILENCE)));
}

// P9.1
#[test]
fn what_is_still_to_be_told_keeps_a_channel_awake() {
    let mut house = two_in_lobby();
    house.hear(0, put("lobby", 'a', r#"{"n":1}"#));
    look(&mut house, SILENCE_MS);
    house.holds(1, 2);
    house.owes(
        "lobby",
        SILENCE_MS,
        &[r#"3: update a{"n":1} was {}"#, "to 0: deltas", "to 1: deltas"],
    );
    look(&mut house, SILENCE_MS);
    house.holds(1, 0);
}

// P9.2, P9.3
#[test]
fn a_track_wakes_it_and_is_held_back() {
    let mut house = asleep();
    house.gives(SILENCE_MS, put("lobby", 'a', r#"{"n":1}"#), &[RESYNC]);
    house.owes("lobby", SILENCE_MS, &[]);
    house.holds(1, 0);
    assert!(house.shard.has_deadlines(None));
}

// P9.4
#[test]
fn when_all_have_answered_everybody_is_told_the_whole() {
    let mut house = asleep();
    house.hear(SILENCE_MS, put("lobby", 'b', r#"{"n":1}"#));
    house.gives(SILENCE_MS + 9, put("lobby", 'a', "{}"), &[DIRTY]);
    house.owes(
        "lobby",
        SILENCE_MS + 10,
        &[
            "to 0: snapshot to all up to 1",
            "to 1: snapshot to all up to 1",
            r#"snapshot 8:4 [b{"n":1} a{}]"#,
        ],
    );
    house.holds(1, 2);
    assert!(!house.shard.has_deadlines(None));
    house.hear(SILENCE_MS + 11, put("lobby", 'a', r#"{"n":1}"#));
    let update = r#"5: update a{"n":1} was {}"#;
    house.owes("lobby", SILENCE_MS + 12, &[update, "to 0: deltas", "to 1: deltas"]);
}

// P9.5
#[test]
fn after_two_seconds_who_has_not_answered_is_out() {
    let mut house = asleep();
    house.hear(SILENCE_MS, put("lobby", 'a', "{}"));
    assert_eq!(look(&mut house, SILENCE_MS + COLLECT_MS - 1), [""; 0]);
    assert_eq!(look(&mut house, SILENCE_MS + COLLECT_MS), [DIRTY]);
    house.owes(
        "lobby",
        SILENCE_MS + COLLECT_MS,
        &["to 0: snapshot to all up to 1", "to 1: snapshot to all up to 1", "snapshot 8:3 [a{}]"],
    );
    // A late answer is a join like any other.
    house.hear(SILENCE_MS + 9_000, put("lobby", 'b', "{}"));
    house.owes("lobby", SILENCE_MS + 9_000, &["4: join b{}", "to 0: deltas", "to 1: deltas"]);
}

// P9.2
#[test]
fn a_subscriber_wakes_it_and_is_answered_with_the_rest() {
    let mut house = asleep();
    house.gives(SILENCE_MS, subscribe_peer("lobby", 2, 5), &[RESYNC]);
    house.hear(SILENCE_MS, put("lobby", 'a', "{}"));
    house.gives(SILENCE_MS, put("lobby", 'b', "{}"), &[DIRTY]);
    house.owes(
        "lobby",
        SILENCE_MS,
        &[
            "to 0: snapshot to all up to 1",
            "to 1: snapshot to all up to 1",
            "to 2: snapshot up to 5",
            "snapshot 8:4 [a{} b{}]",
        ],
    );
}

// P9.4
#[test]
fn a_wish_that_came_while_it_was_rebuilt_is_answered_by_the_same_snapshot() {
    let mut house = asleep();
    house.hear(SILENCE_MS, put("lobby", 'a', "{}"));
    house.gives(SILENCE_MS, subscribe_peer("lobby", 0, 6), &[]);
    house.hear(SILENCE_MS, put("lobby", 'b', "{}"));
    house.owes(
        "lobby",
        SILENCE_MS,
        &[
            "to 0: snapshot to all up to 6",
            "to 1: snapshot to all up to 1",
            "snapshot 8:4 [a{} b{}]",
        ],
    );
}

// P9.4
#[test]
fn who_leaves_while_it_is_rebuilt_is_awaited_no_more() {
    let mut house = asleep();
    house.gives(SILENCE_MS, remove("lobby", 'a', LeaveReason::Disconnect), &[RESYNC]);
    house.hear(SILENCE_MS, put("lobby", 'c', "{}"));
    house.gives(SILENCE_MS, remove("lobby", 'b', LeaveReason::Leave), &[DIRTY]);
    let lines = house.flush("lobby", SILENCE_MS);
    assert_eq!(lines.last().expect("a snapshot"), "snapshot 8:3 [c{}]");
}

// P9.4
#[test]
fn who_answers_and_then_leaves_is_not_in_the_set() {
    let mut house = asleep();
    house.hear(SILENCE_MS, put("lobby", 'a', "{}"));
    house.gives(SILENCE_MS, remove("lobby", 'a', LeaveReason::Leave), &[]);
    house.gives(SILENCE_MS, put("lobby", 'b', "{}"), &[DIRTY]);
    let lines = house.flush("lobby", SILENCE_MS);
    assert_eq!(lines.last().expect("a snapshot"), "snapshot 8:3 [b{}]");
}

// P9.2
#[test]
fn a_goodbye_that_changes_nothing_wakes_nobody() {
    let mut house = asleep();
    house.gives(SILENCE_MS, remove("lobby", 'x', LeaveReason::Leave), &[]);
    let late = remove_of("lobby", 'a', Owner(9), LeaveReason::Disconnect);
    house.gives(SILENCE_MS, late, &[]);
    house.gives(SILENCE_MS, unsubscribe_peer("lobby", 0), &[]);
    house.gives(SILENCE_MS, put("lobby", 'a', "{}"), &["resync lobby [1]"]);
}

// P9.4
#[test]
fn of_several_answers_of_one_connection_the_newest_counts() {
    let mut house = asleep();
    house.hear(SILENCE_MS, put("lobby", 'a', r#"{"n":1}"#));
    house.hear(SILENCE_MS, put("lobby", 'a', r#"{"n":2}"#));
    house.gives(SILENCE_MS, put("lobby", 'b', "{}"), &[DIRTY]);
    let lines = house.flush("lobby", SILENCE_MS);
    assert_eq!(lines.last().expect("a snapshot"), r#"snapshot 8:4 [a{"n":2} b{}]"#);
}

// P9.2
#[test]
fn a_channel_that_only_had_an_audience_wakes_with_an_empty_set() {
    let mut house = House::after([subscribe_peer("lobby", 0, 1)]);
    look(&mut house, SILENCE_MS);
    house.gives(SILENCE_MS, subscribe_peer("lobby", 0, 2), &["resync lobby [0]", DIRTY]);
    house.owes("lobby", SILENCE_MS, &["to 0: snapshot to all up to 2", "snapshot 8:0 []"]);
}

// P9.5
#[test]
fn the_places_of_those_who_have_yet_to_answer_are_kept_for_them() {
    let mut house = asleep();
    house.hear(SILENCE_MS, put_among("lobby", shown('a', "{}"), 2));
    house.gives(SILENCE_MS, put_among("lobby", shown('c', "{}"), 2), &["answer c lobby full"]);
    house.gives(SILENCE_MS, put_among("lobby", shown('b', "{}"), 2), &[DIRTY]);
    house.holds(1, 2);
}

// P9.6
#[test]
fn a_fault_loses_every_map_of_the_shard_and_each_is_rebuilt() {
    let mut house = two_in_lobby();
    house.hear(1, put("garden", 'a', "{}"));
    house.hear(1, subscribe_peer("garden", 0, 9));
    let effects = lose_all(&mut house, 2);
    assert_eq!(effects, ["resync garden [0]", RESYNC]);
    house.holds(2, 0);
    house.gives(3, put("garden", 'a', "{}"), &["dirty garden since 0"]);
    house.owes("garden", 3, &["to 0: snapshot to all up to 9", "snapshot 9:4 [a{}]"]);
    house.hear(3, put("lobby", 'a', "{}"));
    house.hear(3, put("lobby", 'b', "{}"));
    let lines = house.flush("lobby", 3);
    assert_eq!(lines.last().expect("a snapshot"), "snapshot 9:6 [a{} b{}]");
}

// P9.6
#[test]
fn a_second_fault_while_a_map_is_rebuilt_starts_the_wait_anew_and_forgets_nobody() {
    let mut house = two_in_lobby();
    lose_all(&mut house, 0);
    house.hear(100, put("lobby", 'a', "{}"));
    house.hear(100, put("lobby", 'c', "{}"));
    assert_eq!(lose_all(&mut house, 1_000), [RESYNC]);
    assert_eq!(look(&mut house, COLLECT_MS), [""; 0]);
    house.hear(2_100, put("lobby", 'c', "{}"));
    house.hear(2_100, put("lobby", 'b', "{}"));
    house.gives(2_100, put("lobby", 'a', "{}"), &[DIRTY]);
    let lines = house.flush("lobby", 2_100);
    assert_eq!(lines.last().expect("a snapshot"), "snapshot 9:5 [c{} b{} a{}]");
}

/// What a peer knows of lobby after a fault.
fn recover(peer: u16, request_id: u32, trackers: &[char]) -> Command {
    let trackers = trackers.iter().map(|letter| (id(*letter), OWNER)).collect();
    Command::Recover {
        channel: channel("lobby"),
        peer: Peer(peer),
        request_id: RequestId(request_id),
        trackers,
    }
}

fn with_fault(house: &House) -> House {
    House { shard: house.shard.successor() }
}

// P9.6, P6.8
#[test]
fn after_a_fault_an_empty_shard_is_told_who_was_there_and_its_numbers_go_on() {
    let mut house = with_fault(&two_in_lobby());
    house.holds(0, 0);
    house.gives(0, recover(0, 5, &['a']), &["resync lobby [0]"]);
    house.gives(0, recover(1, 7, &['b']), &[]);
    house.gives(0, put("lobby", 'a', "{}"), &[]);
    house.gives(0, put("lobby", 'b', "{}"), &[DIRTY]);
    house.owes(
        "lobby",
        0,
        &[
            "to 0: snapshot to all up to 5",
            "to 1: snapshot to all up to 7",
            "snapshot 9:4 [a{} b{}]",
        ],
    );
}

// P9.6
#[test]
fn what_was_sent_between_the_fault_and_the_report_is_asked_for_again() {
    let mut house = with_fault(&two_in_lobby());
    house.gives(0, put("lobby", 'a', r#"{"n":1}"#), &[DIRTY]);
    house.gives(0, recover(0, 5, &['a', 'b']), &["resync lobby [0]"]);
    house.owes("lobby", 0, &[]);
    house.hear(0, put("lobby", 'b', "{}"));
    house.gives(0, put("lobby", 'a', r#"{"n":1}"#), &[DIRTY]);
    let lines = house.flush("lobby", 0);
    assert_eq!(lines.last().expect("a snapshot"), r#"snapshot 9:5 [b{} a{"n":1}]"#);
}

// P9.6
#[test]
fn a_report_that_comes_after_the_rebuilding_starts_it_anew() {
    let mut house = with_fault(&two_in_lobby());
    house.hear(0, recover(0, 5, &['a']));
    house.gives(0, put("lobby", 'a', "{}"), &[DIRTY]);
    house.gives(0, recover(1, 7, &['b']), &[RESYNC]);
    house.hear(0, put("lobby", 'b', "{}"));
    house.gives(0, put("lobby", 'a', "{}"), &[DIRTY]);
    let lines = house.flush("lobby", 0);
    assert_eq!(lines.last().expect("a snapshot"), "snapshot 10:5 [b{} a{}]");
}

// P9.6
#[test]
fn nothing_counts_as_complete_before_all_peers_have_reported() {
    let mut house = with_fault(&two_in_lobby());
    house.shard.await_reports();
    house.gives(0, recover(0, 5, &[]), &["resync lobby [0]"]);
    house.owes("lobby", 0, &[]);
    house.gives(0, recover(1, 7, &['a', 'b']), &[]);
    house.gives(0, put("lobby", 'a', "{}"), &[]);
    house.gives(0, put("lobby", 'b', "{}"), &[]);
    assert_eq!(house.out(|shard, out| shard.all_have_reported(at(0), out)), [DIRTY]);
    let lines = house.flush("lobby", 0);
    assert_eq!(lines.last().expect("a snapshot"), "snapshot 9:4 [a{} b{}]");
}

// P9.6
#[test]
fn who_comes_before_the_reports_is_not_shown_a_list_without_the_others() {
    let mut house = with_fault(&two_in_lobby());
    house.shard.await_reports();
    house.gives(0, subscribe_peer("lobby", 0, 6), &["resync lobby []"]);
    house.gives(0, put("lobby", 'c', "{}"), &[]);
    house.owes("lobby", 0, &[]);
    house.gives(0, recover(1, 7, &['a']), &[]);
    assert_eq!(house.out(|shard, out| shard.all_have_reported(at(0), out)), [""; 0]);
    house.gives(0, put("lobby", 'a', "{}"), &[DIRTY]);
    let lines = house.flush("lobby", 0);
    assert_eq!(lines.last().expect("a snapshot"), "snapshot 9:4 [c{} a{}]");
}

// P9.4
#[test]
fn a_peer_that_never_reports_costs_two_seconds() {
    let mut house = with_fault(&two_in_lobby());
    house.shard.await_reports();
    house.gives(0, recover(0, 5, &['a']), &["resync lobby [0]"]);
    house.gives(0, put("lobby", 'a', "{}"), &[]);
    assert_eq!(look(&mut house, COLLECT_MS - 1), [""; 0]);
    assert_eq!(look(&mut house, COLLECT_MS), [DIRTY]);
}

// P9.6
#[test]
fn who_has_answered_already_is_not_waited_for_again() {
    let mut house = with_fault(&two_in_lobby());
    house.hear(0, recover(0, 5, &['a', 'b']));
    house.hear(0, put("lobby", 'a', "{}"));
    house.gives(0, recover(1, 7, &['a']), &[]);
    house.gives(0, put("lobby", 'b', "{}"), &[DIRTY]);
}

// P9.6
#[test]
fn an_audience_alone_recovers_at_once() {
    let mut house = with_fault(&two_in_lobby());
    house.gives(0, recover(0, 5, &[]), &["resync lobby [0]", DIRTY]);
    house.owes("lobby", 0, &["to 0: snapshot to all up to 5", "snapshot 9:2 []"]);
}

// P5.5
#[test]
fn the_epoch_grows_with_every_loss_and_the_numbers_go_on() {
    let mut house = two_in_lobby();
    for (epoch, seq) in [(8, 4), (9, 6), (10, 8)] {
        lose_all(&mut house, 0);
        house.hear(0, put("lobby", 'a', "{}"));
        house.hear(0, put("lobby", 'b', "{}"));
        let lines = house.flush("lobby", 0);
        let expected = format!("snapshot {epoch}:{seq} [a{{}} b{{}}]");
        assert_eq!(*lines.last().expect("a snapshot"), expected);
    }
}

// P9.6
#[test]
fn a_lost_owner_is_awaited_no_more() {
    let mut house = two_in_lobby();
    lose_all(&mut house, 0);
    house.hear(0, put("lobby", 'a', "{}"));
    let effects = house.lose_owner(OWNER, at(1));
    assert_eq!(effects, [DIRTY]);
    let lines = house.flush("lobby", 1);
    assert_eq!(lines.last().expect("a snapshot"), "snapshot 8:2 []");
}

// P9.4
#[test]
fn a_channel_that_everybody_leaves_while_it_is_rebuilt_is_freed() {
    let mut house = asleep();
    house.hear(SILENCE_MS, put("lobby", 'a', "{}"));
    house.hear(SILENCE_MS, unsubscribe_peer("lobby", 0));
    house.hear(SILENCE_MS, unsubscribe_peer("lobby", 1));
    house.hear(SILENCE_MS, remove("lobby", 'a', LeaveReason::Disconnect));
    house.hear(SILENCE_MS, remove("lobby", 'b', LeaveReason::Disconnect));
    house.holds(0, 0);
    assert!(!house.shard.has_deadlines(Some(SILENCE)));
}

const GATHERED_MS: u64 = 5_000;

fn gathering() -> House {
    let mut house = House::after([]);
    house.shard.gather_until(at(GATHERED_MS));
    house
}

// P7.14
#[test]
fn a_channel_that_is_first_used_while_clients_come_back_is_told_at_the_end_as_a_whole() {
    let mut house = gathering();
    house.gives(0, subscribe_peer("lobby", 0, 1), &[]);
    house.gives(1, put("lobby", 'a', "{}"), &[]);
    house.owes("lobby", 1, &[]);
    assert_eq!(look(&mut house, GATHERED_MS - 1), [""; 0]);
    house.gives(GATHERED_MS - 1, put("lobby", 'b', "{}"), &[]);
    house.gives(GATHERED_MS - 1, remove("lobby", 'a', LeaveReason::Leave), &[]);
    house.gives(GATHERED_MS - 1, put("lobby", 'c', "{}"), &[]);
    assert_eq!(look(&mut house, GATHERED_MS), [DIRTY]);
    let told = ["to 0: snapshot up to 1", "snapshot 7:2 [b{} c{}]"];
    house.owes("lobby", GATHERED_MS, &told);
    assert!(!house.shard.has_deadlines(None));
}

// P7.14
#[test]
fn a_channel_that_is_first_used_later_is_told_at_once() {
    let mut house = gathering();
    house.gives(GATHERED_MS, put("lobby", 'a', "{}"), &["dirty lobby since 0"]);
    house.holds(1, 1);
}

// P7.14
#[test]
fn a_channel_that_is_left_while_clients_come_back_is_freed() {
    let mut house = gathering();
    house.gives(0, subscribe_peer("lobby", 0, 1), &[]);
    house.gives(1, unsubscribe_peer("lobby", 0), &[]);
    house.holds(0, 0);
    assert!(!house.shard.has_deadlines(None));
}

// P7.9
#[test]
fn a_put_that_comes_late_from_an_earlier_socket_does_not_replace_what_was_sent_again() {
    let mut house = two_in_lobby();
    lose_all(&mut house, 10);
    let of_socket = |generation, json| Put { generation, ..shown('a', json) };
    house.gives(11, put_among("lobby", of_socket(1, "{}"), ROOMY), &[]);
    let late = put_among("lobby", of_socket(0, r#"{"late":1}"#), ROOMY);
    house.gives(12, late, &["answer a lobby superseded"]);
    house.gives(13, put("lobby", 'b', "{}"), &[DIRTY]);
    let lines = house.flush("lobby", 14);
    assert!(lines.iter().all(|line| !line.contains("late")), "{lines:?}");
}
