//! Leases, and how a silent node is excluded.

use herenow_cluster::{Beat, Fact};

use crate::membership::cluster;

#[test]
fn a_lease_lasts_2500_milliseconds_from_the_last_beat_that_was_acknowledged() {
    let mut rig = cluster(&["a", "b"]);
    // Just before a beat: the last one is 999 milliseconds old.
    rig.advance(999);
    rig.engine.is_down = true;
    assert!(rig.has_lease("a"));
    rig.advance(2_600);
    assert!(!rig.has_lease("a") && !rig.has_lease("b"));
}

#[test]
fn nobody_is_judged_while_the_engine_is_down_and_none_right_after() {
    let mut rig = cluster(&["a", "b", "c"]);
    let before = rig.view();
    rig.engine.is_down = true;
    rig.advance(60_000);
    rig.engine.is_down = false;
    rig.advance(20_000);
    assert_eq!(rig.view(), before, "no view was written");
    assert!(rig.has_lease("a") && rig.has_lease("b") && rig.has_lease("c"));
}

#[test]
fn a_killed_node_is_out_of_the_view_within_5_seconds_and_not_within_its_lease() {
    let mut rig = cluster(&["a", "b", "c"]);
    let dead = rig.id("b");
    rig.kill("b");
    rig.advance(2_400);
    assert!(rig.view().expect("there is one").node(dead).is_some());
    rig.advance(2_600);
    assert_eq!(rig.view().expect("there is one").node(dead), None);
    for name in ["a", "c"] {
        assert!(rig.facts(name).contains(&Fact::Gone(dead)), "{name} was told");
        assert_eq!(rig.shards_of(name), 512);
    }
}

#[test]
fn the_key_of_a_node_is_closed_before_a_view_leaves_it_out() {
    let mut rig = cluster(&["a", "b"]);
    let dead = rig.id("b");
    rig.kill("b");
    while rig.view().expect("there is one").node(dead).is_some() {
        assert!(rig.now_ms < 60_000, "it is never excluded");
        rig.advance(1);
    }
    assert_eq!(rig.beat("b"), Some(Beat::Closed { incarnation: dead }), "it can beat no more");
}

#[test]
fn a_node_that_was_excluded_while_it_stood_still_joins_as_a_new_incarnation() {
    let mut rig = cluster(&["a", "b"]);
    let old = rig.id("b");
    rig.pause("b", 10_000);
    assert_eq!(rig.view().expect("there is one").node(old), None);
    assert!(!rig.has_lease("b"), "it slept through the end of its lease");
    rig.advance(3_000);
    let new = rig.id("b");
    assert_ne!(new, old);
    assert!(rig.node("b").is_in());
    let facts = rig.facts("b");
    let out = facts.iter().position(|fact| *fact == Fact::Out(new)).expect("it was told");
    let joined = facts.iter().position(|fact| *fact == Fact::Joined).expect("it was told");
    assert!(out < joined);
}

#[test]
fn a_node_that_stands_still_for_2_seconds_is_not_excluded() {
    let mut rig = cluster(&["a", "b"]);
    let before = rig.view();
    rig.pause("b", 2_000);
    rig.advance(10_000);
    assert_eq!(rig.view(), before);
}

#[test]
fn a_judge_that_stood_still_itself_excludes_nobody() {
    let mut rig = cluster(&["a", "b"]);
    let before = rig.view();
    rig.pause("a", 2_400);
    rig.pause("b", 2_400);
    rig.advance(10_000);
    assert_eq!(rig.view(), before);
}
