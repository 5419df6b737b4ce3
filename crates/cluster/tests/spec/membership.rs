//! Which nodes are in the view: founding, joining, draining, leaving, and a bucket that was lost.

use herenow_cluster::{Fact, Input, Serving};

use crate::rig::{Rig, UNIX_SECONDS};

/// A cluster of these nodes that has been running for ten seconds.
pub fn cluster(names: &[&'static str]) -> Rig {
    let mut rig = Rig::default();
    for name in names {
        rig.start(name);
        rig.advance(5_000);
    }
    rig.advance(10_000);
    for name in names {
        assert!(rig.node(name).is_in(), "{name} has joined");
        rig.facts(name);
    }
    rig
}

#[test]
fn a_node_founds_a_cluster_only_after_it_found_no_view_for_2_seconds() {
    let mut rig = Rig::default();
    rig.start("a");
    rig.advance(1_900);
    assert_eq!(rig.view(), None, "another node may know a view and write it again");
    rig.advance(2_000);
    assert!(rig.node("a").is_in());
    assert_eq!(rig.shards_of("a"), 1024);
    assert!(rig.view().expect("it wrote one").v >= UNIX_SECONDS);
}

#[test]
fn a_node_that_joins_gets_its_share_of_the_shards() {
    let mut rig = cluster(&["a"]);
    rig.start("b");
    rig.advance(3_000);
    assert!(rig.node("b").is_in());
    assert_eq!((rig.shards_of("a"), rig.shards_of("b")), (512, 512));
    assert_eq!(rig.node("a").view(), rig.node("b").view());
}

#[test]
fn a_node_that_joins_is_told_so_before_it_is_asked_for_what_it_has() {
    let mut rig = cluster(&["a"]);
    rig.start("b");
    rig.advance(3_000);
    let facts = rig.facts("b");
    let position = |is_it: fn(&Fact) -> bool| facts.iter().position(is_it).expect("it was told");
    let joined = position(|fact| matches!(fact, Fact::Joined));
    let wanted = facts.iter().rposition(|fact| matches!(fact, Fact::ResetWanted(_)));
    assert!(Some(joined) < wanted, "{joined} {wanted:?}");
}

#[test]
fn a_node_of_another_protocol_does_not_join() {
    let mut rig = cluster(&["a"]);
    rig.start_with("b", 2);
    rig.advance(10_000);
    assert!(!rig.node("b").is_in());
    assert_eq!(rig.view().expect("there is one").nodes.len(), 1);
}

#[test]
fn a_draining_node_keeps_its_membership_and_loses_its_shards() {
    let mut rig = cluster(&["a", "b"]);
    rig.tell("a", Input::Drain);
    rig.advance(2_000);
    assert!(rig.node("a").is_in());
    assert_eq!((rig.shards_of("a"), rig.shards_of("b")), (0, 1024));
    let view = rig.view().expect("there is one");
    assert_eq!(view.node(rig.id("a")).expect("it is in it").serving, Serving::Draining);
}

#[test]
fn a_node_that_leaves_has_no_lease_from_then_on_and_is_not_judged() {
    let mut rig = cluster(&["a", "b"]);
    let id = rig.id("a");
    rig.tell("a", Input::Leave);
    assert!(!rig.has_lease("a"), "its successor need not wait");
    rig.advance(2_000);
    assert!(rig.facts("a").contains(&Fact::Left));
    assert!(rig.facts("b").contains(&Fact::Gone(id)));
    assert_eq!(rig.shards_of("b"), 1024);
}

#[test]
fn a_process_that_is_started_again_takes_its_place_when_the_old_lease_is_over() {
    let mut rig = cluster(&["a", "b"]);
    let old = rig.id("a");
    rig.kill("a");
    rig.start("a");
    rig.advance(2_500);
    assert!(!rig.node("a").is_in(), "the lease of the first one may not be over");
    rig.advance(2_500);
    assert!(rig.node("a").is_in());
    assert_ne!(rig.id("a"), old);
    let view = rig.view().expect("there is one");
    assert_eq!((view.nodes.len(), view.node(old)), (2, None));
}

#[test]
fn a_view_that_the_bucket_has_lost_is_written_again_with_a_higher_number() {
    let mut rig = cluster(&["a", "b"]);
    let before = rig.view().expect("there is one");
    rig.engine.forget();
    rig.advance(2_000);
    let after = rig.view().expect("a node has written it again");
    assert!(after.v > before.v);
    assert_eq!(after.nodes, before.nodes);
    assert_eq!((rig.shards_of("a"), rig.shards_of("b")), (512, 512));
    assert!(rig.node("a").is_in() && rig.node("b").is_in());
}

#[test]
fn a_view_that_the_bucket_has_rolled_back_is_written_again_with_a_higher_number() {
    let mut rig = cluster(&["a"]);
    rig.engine.back_up();
    rig.start("b");
    rig.advance(5_000);
    let before = rig.view().expect("there is one");
    rig.engine.restore();
    rig.advance(2_000);
    let after = rig.view().expect("there is one");
    assert!(after.v > before.v);
    assert_eq!(after.nodes, before.nodes, "the node that joined since is not forgotten");
}

#[test]
fn a_node_whose_name_another_process_has_taken_burns_its_incarnation() {
    let mut rig = cluster(&["a", "b"]);
    let old = rig.id("a");
    // What a second process with the same name would write into the key.
    let foreign = herenow_cluster::Beat::Alive {
        incarnation: herenow_wire::link::Incarnation(1),
        count: 1,
        v: 0,
    };
    rig.write_beat("a", foreign);
    rig.advance(2_000);
    assert_ne!(rig.id("a"), old);
    assert!(rig.facts("a").contains(&Fact::Out(rig.id("a"))));
}
