//! Channels that hibernate on several nodes.

use std::time::Duration;

use herenow_core::{Command, Peer, RequestId};
use herenow_wire::link::{Interest, Item, Report, Shown};

use crate::given::{at, channel, id, subscribe_peer};
use crate::nodes::{EPOCH, Nodes, put, subscribe};

const SILENCE: Duration = Duration::from_secs(8);

/// Three nodes with a member at each of the last two, and subscribers at the first two.
fn awake() -> Nodes {
    let mut nodes = Nodes::new(3);
    for node in 0..3 {
        nodes.with(node, |replica, _| replica.hibernate_after(SILENCE));
    }
    nodes.ask(0, subscribe());
    nodes.ask(1, subscribe());
    nodes.ask(1, put('a', "{}"));
    nodes.ask(2, put('b', "{}"));
    (1..3).for_each(|node| nodes.acknowledge(node));
    (0..2).for_each(|node| drop(nodes.heard(node)));
    nodes
}

fn asleep() -> Nodes {
    let mut nodes = awake();
    nodes.pass_time(0, SILENCE);
    nodes
}

fn shown_in(report: &Report) -> Vec<&Shown> {
    report.channels.iter().flat_map(|one| &one.members).map(|member| &member.shown).collect()
}

#[test] // P9.1
fn a_channel_that_falls_asleep_is_freed_at_every_node() {
    let nodes = asleep();
    for node in 0..3 {
        assert_eq!(nodes.list(node), "", "node {node}");
        let report = nodes.nodes[node].replica.report(EPOCH, None);
        assert!(shown_in(&report).iter().all(|shown| **shown == Shown::Sleeping), "{report:?}");
    }
    let report = nodes.nodes[1].replica.report(EPOCH, None);
    assert_eq!(report.channels[0].interest, Interest::Asleep);
    assert_eq!(report.channels[0].members[0].presence.connection, id('a'));
}

#[test] // P9.2
fn a_message_at_any_node_wakes_a_channel_at_every_node() {
    for (node, command) in [(2, put('b', "{}")), (1, subscribe_peer("lobby", 1, 1))] {
        let mut nodes = asleep();
        nodes.ask(node, command);
        for node in 0..3 {
            assert_eq!(nodes.resyncs(node), 1, "node {node} asks its sockets");
        }
    }
}

#[test] // P9.4
fn what_members_of_all_nodes_send_again_is_told_by_one_snapshot() {
    let mut nodes = asleep();
    nodes.ask(2, put('b', r#"{"n":1}"#));
    assert_eq!(nodes.heard(1), [""; 0], "another has yet to answer");
    nodes.ask(1, put('a', r#"{"n":2}"#));
    let heard = nodes.heard(1);
    assert_eq!(nodes.heard(0), heard);
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!((nodes.list(0).as_str(), nodes.list(1).as_str()), ("ba", "ba"));
}

#[test] // P9.1
fn a_channel_sleeps_on_under_another_home() {
    let mut nodes = asleep();
    nodes.move_home(2, EPOCH + (1 << 20));
    for node in 0..3 {
        assert_eq!(nodes.resyncs(node), 0, "node {node} is not asked");
        assert_eq!(nodes.heard(node), [""; 0]);
    }
    nodes.ask(1, put('a', "{}"));
    assert_eq!(nodes.heard(1), [""; 0], "it waits for the member of the home");
    nodes.ask(2, put('b', "{}"));
    assert_eq!(nodes.list(1), "ab");
}

#[test] // P9.2
fn a_node_that_does_not_know_that_a_channel_sleeps_wakes_it_by_its_report() {
    let mut nodes = awake();
    nodes.nodes[1].is_deaf = true;
    nodes.pass_time(0, SILENCE);
    nodes.nodes[1].is_deaf = false;
    let (from, report) = (nodes.nodes[1].from, nodes.nodes[1].replica.report(EPOCH, None));
    nodes.give(0, from, Item::Report(report));
    assert_eq!(nodes.resyncs(0), 1);
}

#[test] // P9.2
fn a_node_that_missed_that_a_channel_woke_is_told_when_it_reports() {
    let mut nodes = asleep();
    nodes.nodes[1].is_deaf = true;
    nodes.ask(2, put('b', "{}"));
    nodes.nodes[1].is_deaf = false;
    let (from, report) = (nodes.nodes[1].from, nodes.nodes[1].replica.report(EPOCH, None));
    nodes.give(0, from, Item::Report(report));
    assert_eq!(nodes.resyncs(1), 1);
}

#[test] // P9.1
fn a_list_that_is_used_at_a_copy_does_not_sleep() {
    let mut nodes = awake();
    let sync = || Command::Subscribe {
        channel: channel("lobby"),
        peer: Peer(0),
        request_id: RequestId(2),
    };
    let mut effects = Vec::new();
    let half = at(SILENCE.as_millis() as u64 / 2);
    nodes.nodes[1].replica.handle(sync(), half, &mut effects);
    nodes.nodes[1].replica.handle(sync(), half, &mut effects);
    let told = nodes.nodes[1].replica.take_outgoing();
    assert_eq!(told.len(), 1, "once in a while is enough: {told:?}");
    let (from, item) = (nodes.nodes[1].from, told[0].item.clone());
    assert_eq!(item, Item::Heard { channel: channel("lobby") });
    nodes.nodes[0].replica.receive(from, item, half, &mut Vec::new());
    nodes.pass_time(0, SILENCE);
    assert_eq!(nodes.list(0), "ab", "it was used since");
}

#[test] // P9.1
fn a_list_that_somebody_is_owed_is_asked_for_when_its_home_has_freed_it() {
    let mut nodes = awake();
    nodes.nodes[1].is_slow = true;
    nodes.ask(1, subscribe_peer("lobby", 1, 1));
    nodes.pass_time(0, SILENCE);
    assert_eq!(nodes.resyncs(0), 1, "the request has woken it");
    assert!(!nodes.has_slept(1));
}

#[test] // P9.1
fn what_a_home_was_sent_again_is_known_to_the_next_home() {
    let mut nodes = awake();
    nodes.ask(0, put('c', "{}"));
    nodes.pass_time(0, SILENCE);
    nodes.ask(0, put('c', r#"{"again":true}"#));
    assert_eq!(nodes.list(0), "", "the other two have not answered");
    nodes.move_home(1, EPOCH + (1 << 20));
    assert_eq!(nodes.list(1), "c");
}

#[test] // P9.1
fn a_copy_that_has_missed_a_change_asks_for_the_list_instead_of_falling_asleep() {
    let mut nodes = awake();
    nodes.nodes[1].is_deaf = true;
    nodes.ask(0, put('c', "{}"));
    nodes.nodes[1].is_deaf = false;
    nodes.pass_time(0, SILENCE);
    assert_eq!(nodes.resyncs(0), 1, "the channel wakes for it");
    for (node, letter) in [(0, 'c'), (1, 'a'), (2, 'b')] {
        nodes.ask(node, put(letter, "{}"));
    }
    assert_eq!((nodes.list(0), nodes.list(1)), ("cab".to_owned(), "cab".to_owned()));
}
