//! Snapshots at a copy that must show what a connection of the same node has put before it asked.

use herenow_core::{Replica, RequestId};
use herenow_wire::LeaveReason;
use herenow_wire::link::{Item, Refused, RefusedWhy};

use crate::given::{at, channel, id, put_among, remove, shown, subscribe_peer, unsubscribe_peer};
use crate::nodes::{EPOCH, Nodes, put, subscribe};

/// When a snapshot that was asked for at zero is no longer held back.
const HELD_UNTIL_MS: u64 = 1_000;

/// Node 1 is a copy of a list with `z` in it, with a subscriber. Its puts reach the home no more, and one
/// of them waits.
fn copy_that_is_cut() -> Nodes {
    let mut nodes = Nodes::new(2);
    nodes.ask(0, put('z', "{}"));
    nodes.ask(1, subscribe());
    nodes.nodes[1].is_cut = true;
    nodes.ask(1, put('a', "{}"));
    assert_eq!(nodes.heard(1).len(), 1);
    nodes
}

fn is_snapshot_with(heard: &[String], members: &str) -> bool {
    heard.len() == 1 && heard[0].starts_with("snapshot") && heard[0].ends_with(members)
}

// P6.7
#[test]
fn who_tracks_at_a_copy_finds_itself_in_its_first_snapshot() {
    let mut nodes = Nodes::new(2);
    nodes.nodes[1].is_cut = true;
    nodes.ask(1, put('a', "{}"));
    nodes.nodes[1].is_cut = false;
    nodes.ask(1, subscribe());
    assert_eq!(nodes.list(1), "", "the home's snapshot is here, and lacks the member");
    assert_eq!(nodes.heard(1), [""; 0]);
    nodes.with(1, Replica::put_again);
    assert_eq!(nodes.list(1), "a");
    assert_eq!(nodes.heard(1), [""; 0], "the home has not acknowledged it");
    nodes.acknowledge(1);
    let heard = nodes.heard(1);
    assert!(heard[0].starts_with("snapshot") && heard[0].contains("[a{}]"), "{heard:?}");
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(!nodes.nodes[1].replica.has_deadlines(None));
}

// P4.11
#[test]
fn a_snapshot_that_is_requested_after_a_put_shows_it_and_deltas_go_on_until_then() {
    let mut nodes = copy_that_is_cut();
    nodes.ask(1, subscribe_peer("lobby", 0, 2));
    nodes.ask(0, put('y', "{}"));
    let heard = nodes.heard(1);
    assert!(heard.len() == 1 && heard[0].contains("join y"), "{heard:?}");
    nodes.nodes[1].is_cut = false;
    nodes.with(1, Replica::put_again);
    nodes.heard(1);
    nodes.acknowledge(1);
    let heard = nodes.heard(1);
    assert!(is_snapshot_with(&heard, "[z{} y{} a{}]"), "{heard:?}");
}

// P6.7
#[test]
fn while_the_home_is_out_of_reach_a_new_subscriber_gets_the_last_known_copy_after_a_second() {
    let mut nodes = copy_that_is_cut();
    nodes.ask(1, subscribe_peer("lobby", 0, 2));
    nodes.timeout(1, HELD_UNTIL_MS - 1);
    assert_eq!(nodes.heard(1), [""; 0]);
    nodes.timeout(1, HELD_UNTIL_MS);
    let heard = nodes.heard(1);
    assert!(is_snapshot_with(&heard, "[z{}]"), "{heard:?}");
    assert!(!nodes.nodes[1].replica.has_deadlines(None));
    nodes.acknowledge(1);
    assert_eq!(nodes.heard(1), [""; 0], "it is answered once");
}

// P6.7
#[test]
fn a_subscriber_that_asks_later_waits_for_the_later_put() {
    let mut nodes = copy_that_is_cut();
    nodes.ask(1, subscribe_peer("lobby", 0, 2));
    let first = std::mem::take(&mut nodes.nodes[1].tickets);
    nodes.ask(1, put('b', "{}"));
    nodes.ask(1, subscribe_peer("lobby", 0, 3));
    nodes.with(1, |replica, out| replica.done(&first, out));
    assert_eq!(nodes.nodes[1].requested[0], Some(RequestId(3)), "it is not answered by that");
    nodes.acknowledge(1);
    assert_eq!(nodes.nodes[1].requested[0], None);
}

#[test]
fn a_put_of_one_loop_does_not_hold_back_the_snapshots_of_another() {
    let mut nodes = copy_that_is_cut();
    nodes.ask(1, subscribe_peer("lobby", 1, 1));
    let heard = nodes.heard(1);
    assert!(is_snapshot_with(&heard, "[z{}]"), "{heard:?}");
}

// P6.7
#[test]
fn a_snapshot_waits_for_a_put_that_the_next_home_decides() {
    let mut nodes = copy_that_is_cut();
    nodes.ask(1, subscribe_peer("lobby", 0, 2));
    nodes.nodes[1].is_cut = false;
    nodes.move_home(0, EPOCH + 1);
    assert_eq!(nodes.nodes[1].requested[0], Some(RequestId(2)));
    nodes.acknowledge(1);
    let heard = nodes.heard(1);
    assert!(heard.last().is_some_and(|last| last.ends_with("[z{} a{}]")), "{heard:?}");
}

// P6.7
#[test]
fn a_node_that_becomes_the_home_answers_with_what_had_waited() {
    let mut nodes = copy_that_is_cut();
    nodes.ask(1, subscribe_peer("lobby", 0, 2));
    nodes.begin(1, EPOCH + 1);
    nodes.ask(1, put('b', "{}"));
    nodes.ask(1, subscribe_peer("lobby", 0, 3));
    assert_eq!(nodes.heard(1), [""; 0]);
    nodes.with(1, |replica, out| replica.open(at(0), out));
    let heard = nodes.heard(1);
    assert!(is_snapshot_with(&heard, "[z{} a{} b{}]"), "{heard:?}");
}

#[test]
fn a_home_that_does_not_open_serves_the_last_known_copy_after_a_second() {
    let mut nodes = copy_that_is_cut();
    nodes.ask(1, subscribe_peer("lobby", 0, 2));
    nodes.begin(1, EPOCH + 1);
    nodes.timeout(1, HELD_UNTIL_MS);
    let heard = nodes.heard(1);
    assert!(is_snapshot_with(&heard, "[z{}]"), "{heard:?}");
}

// P4.14
#[test]
fn a_put_that_is_refused_holds_back_no_snapshot_any_more() {
    let mut nodes = Nodes::new(2);
    nodes.ask(0, put('z', "{}"));
    nodes.ask(1, put_among("lobby", shown('a', "{}"), 1));
    assert_eq!(nodes.answers(1), ["a full"]);
    nodes.ask(1, subscribe());
    let heard = nodes.heard(1);
    assert!(is_snapshot_with(&heard, "[z{}]"), "{heard:?}");
}

// P4.7
#[test]
fn a_loop_that_unsubscribes_is_sent_no_snapshot_that_was_held_back() {
    let mut nodes = copy_that_is_cut();
    nodes.ask(1, subscribe_peer("lobby", 0, 2));
    nodes.ask(1, unsubscribe_peer("lobby", 0));
    assert!(!nodes.nodes[1].replica.has_deadlines(None));
    nodes.acknowledge(1);
    assert_eq!(nodes.heard(1), [""; 0]);
    assert_eq!(nodes.nodes[1].replica.shard().channels(), 0);
}

#[test]
fn a_request_of_a_put_that_was_taken_back_is_answered_with_the_next_one() {
    let mut nodes = copy_that_is_cut();
    nodes.ask(1, subscribe_peer("lobby", 0, 2));
    nodes.ask(1, remove("lobby", 'a', LeaveReason::Leave));
    nodes.begin(1, EPOCH + 1);
    nodes.ask(1, subscribe_peer("lobby", 0, 3));
    nodes.with(1, |replica, out| replica.open(at(0), out));
    assert_eq!(nodes.nodes[1].requested[0], None);
    assert!(is_snapshot_with(&nodes.heard(1), "[z{}]"));
}

// P6.7
#[test]
fn a_request_waits_for_the_put_that_takes_the_place_of_one_without_a_home() {
    let mut nodes = Nodes::new(2);
    nodes.nodes[1].is_cut = true;
    nodes.ask(1, put('a', "{}"));
    let ticket = nodes.nodes[1].tickets.last().copied();
    nodes.nodes[1].is_cut = false;
    nodes.ask(1, subscribe());
    nodes.nodes[1].is_cut = true;
    nodes.ask(1, put('a', r#"{"n":1}"#));
    let (channel, connection, generation) = (channel("lobby"), id('a'), 0);
    let refused = Refused { channel, connection, generation, ticket, why: RefusedWhy::NotHome };
    let home = nodes.nodes[0].from;
    nodes.give(1, home, Item::Refused(refused));
    assert_eq!(nodes.heard(1), [""; 0], "the later one is not answered");
    nodes.nodes[1].is_cut = false;
    nodes.with(1, Replica::put_again);
    nodes.acknowledge(1);
    assert!(is_snapshot_with(&nodes.heard(1), r#"[a{"n":1}]"#));
}
