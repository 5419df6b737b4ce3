//! When a home opens, and whom it asks.

use herenow_cluster::{Fact, Input};
use herenow_wire::link::{Body, Incarnation, Packet};

use crate::membership::cluster;
use crate::rig::{Answers, Rig};

fn opened(rig: &mut Rig, name: &str) -> usize {
    rig.facts(name).iter().filter(|fact| matches!(fact, Fact::Opened { .. })).count()
}

/// A packet in which `home` says to a node that it is the home of a shard.
fn collect(rig: &Rig, home: Incarnation, (to, shard, epoch): (&str, u16, u64)) -> Vec<u8> {
    let body = Body::Collect { shards: vec![(shard, epoch)] };
    Packet { from: home, to: rig.id(to), n: 0, ack: 0, received: 0, body }.encode()
}

fn reports_wanted(rig: &mut Rig, name: &str) -> Vec<Vec<(u16, u64)>> {
    let facts = rig.facts(name).into_iter();
    let wanted = facts.filter_map(|fact| match fact {
        Fact::ReportWanted { shards, .. } => Some(shards),
        _ => None,
    });
    wanted.collect()
}

#[test]
fn the_first_node_opens_every_shard_at_once() {
    let mut rig = Rig::default();
    rig.start("a");
    rig.advance(4_000);
    assert_eq!(opened(&mut rig, "a"), 1024);
}

#[test]
fn a_home_opens_only_when_every_node_of_its_view_has_reported() {
    let mut rig = cluster(&["a"]);
    rig.set_answers("a", Answers::Never);
    rig.start("b");
    rig.advance(4_000);
    let homes = rig.facts("b").iter().filter(|fact| matches!(fact, Fact::Home { .. })).count();
    assert_eq!(homes, 512);
    assert_eq!(
        opened(&mut rig, "b"),
        0,
        "there is no deadline: a has members that b does not know"
    );
    rig.kill("a");
    rig.advance(5_000);
    assert_eq!(opened(&mut rig, "b"), 1024, "a has left the view");
}

#[test]
fn the_old_home_is_deposed_by_the_request_of_the_new_one() {
    let mut rig = cluster(&["a", "b"]);
    let shard = (0..1024).find(|shard| rig.node("a").term(*shard).home == rig.id("a"));
    let shard = shard.expect("a is a home");
    let epoch = rig.view().expect("there is one").v + 1;
    // The node reads the view that says so only later.
    let bytes = collect(&rig, rig.id("b"), ("a", shard, epoch));
    rig.tell("a", Input::Packet(&bytes));
    let facts = rig.facts("a");
    let is_deposed = |fact: &Fact| matches!(fact, Fact::Moved { shard: of, .. } if *of == shard);
    assert!(facts.iter().any(is_deposed), "{facts:?}");
}

#[test]
fn a_request_for_a_report_is_answered_though_the_view_of_its_home_is_not_read_yet() {
    let mut rig = cluster(&["a"]);
    let epoch = rig.view().expect("there is one").v + 1;
    let bytes = collect(&rig, Incarnation(9), ("a", 3, epoch));
    rig.tell("a", Input::Packet(&bytes));
    let facts = rig.facts("a");
    assert!(facts.contains(&Fact::ResetWanted(Incarnation(9))), "{facts:?}");
}

#[test]
fn a_request_for_a_report_in_an_epoch_that_is_over_is_ignored() {
    let mut rig = cluster(&["a", "b"]);
    let term = rig.node("a").term(3);
    let bytes = collect(&rig, rig.id("b"), ("a", 3, term.epoch - 1));
    rig.tell("a", Input::Packet(&bytes));
    assert_eq!(rig.facts("a"), []);
    assert_eq!(rig.node("a").term(3), term);
    assert_eq!(rig.node("a").counters().old_collects, 1);
}

#[test]
fn a_request_for_a_report_that_comes_again_is_answered_once() {
    let mut rig = cluster(&["a", "b"]);
    let epoch = rig.view().expect("there is one").v + 1;
    let bytes = collect(&rig, rig.id("b"), ("a", 3, epoch));
    rig.tell("a", Input::Packet(&bytes));
    rig.tell("a", Input::Packet(&bytes));
    assert_eq!(reports_wanted(&mut rig, "a"), [vec![(3, epoch)]]);
}

#[test]
fn a_shard_that_its_home_has_lost_gets_another_term_in_which_every_node_reports_again() {
    let mut rig = cluster(&["a", "b"]);
    let shard = (0..1024).find(|shard| rig.node("a").term(*shard).home == rig.id("a"));
    let shard = shard.expect("a is a home");
    let term = rig.node("a").term(shard);
    rig.tell("a", Input::Renew(shard, term));
    rig.advance(2_000);
    let next = rig.node("a").term(shard);
    assert!(next.epoch > term.epoch && next.home == term.home, "{next:?}");
    assert_eq!(reports_wanted(&mut rig, "b"), [vec![(shard, next.epoch)]]);
    assert_eq!(opened(&mut rig, "a"), 1);
    rig.tell("a", Input::Renew(shard, term));
    rig.advance(2_000);
    assert_eq!(rig.node("a").term(shard), next, "that term is over already");
}

#[test]
fn a_packet_for_an_earlier_incarnation_is_dropped() {
    let mut rig = cluster(&["a", "b"]);
    let body = Body::Collect { shards: vec![(3, u64::from(u32::MAX))] };
    let packet = Packet { from: rig.id("b"), to: Incarnation(1), n: 0, ack: 0, received: 0, body };
    rig.tell("a", Input::Packet(&packet.encode()));
    assert_eq!(rig.facts("a"), []);
    assert_eq!(rig.node("a").counters().misdirected_packets, 1);
}

#[test]
fn bytes_that_are_no_packet_are_counted_and_change_nothing() {
    let mut rig = cluster(&["a", "b"]);
    rig.tell("a", Input::Packet(b"nonsense"));
    assert_eq!(rig.facts("a"), []);
    assert_eq!(rig.node("a").counters().broken_packets, 1);
}

#[test]
fn nodes_that_owe_each_other_nothing_are_quiet() {
    let mut rig = cluster(&["a", "b", "c"]);
    for name in ["a", "b", "c"] {
        assert!(rig.node(name).is_quiet());
        assert_eq!(rig.node(name).held().1, 0);
    }
    assert_eq!(rig.packets_within(30_000), 0);
}
