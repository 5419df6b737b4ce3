//! The view as plain data: how shards are placed, which bytes it has.

use herenow_cluster::{Member, NodeName, Serving, Term, View};
use herenow_wire::SHARDS;
use herenow_wire::link::Incarnation;

fn member(n: u64) -> Member {
    let name = NodeName::parse(&format!("node-{n}")).expect("a valid name");
    Member { name, incarnation: Incarnation(n), admitted: 1, serving: Serving::Open }
}

/// A view of nodes 1 to `count`, placed.
fn view_of(count: u64) -> View {
    let mut view = View::empty(1).successor(0, 0);
    view.nodes = (1..=count).map(member).collect();
    view.place();
    view
}

fn shards_of(view: &View, n: u64) -> Vec<u16> {
    (0..SHARDS).filter(|shard| view.term(*shard).home == Incarnation(n)).collect()
}

fn moved(before: &View, after: &View) -> usize {
    (0..SHARDS).filter(|shard| before.term(*shard) != after.term(*shard)).count()
}

#[test]
fn two_nodes_differ_by_one_shard_at_most() {
    for count in [1, 2, 3, 7, 100, View::MAX_NODES as u64] {
        let view = view_of(count);
        let counts: Vec<usize> = (1..=count).map(|n| shards_of(&view, n).len()).collect();
        assert_eq!(counts.iter().sum::<usize>(), usize::from(SHARDS));
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(most - least <= 1, "{count} nodes have {counts:?}");
    }
}

#[test]
fn a_node_that_joins_moves_its_own_share_and_no_other_shard() {
    let before = view_of(3);
    let mut after = before.successor(0, 0);
    after.nodes.push(member(4));
    after.place();
    assert_eq!(shards_of(&after, 4).len(), 256);
    assert_eq!(moved(&before, &after), 256);
}

#[test]
fn a_node_that_leaves_moves_its_own_shards_and_no_other_shard() {
    let before = view_of(4);
    let mut after = before.successor(0, 0);
    after.nodes.retain(|node| node.incarnation != Incarnation(2));
    after.place();
    assert_eq!(moved(&before, &after), 256);
    assert!(shards_of(&after, 2).is_empty());
}

#[test]
fn a_shard_that_moves_has_the_number_of_the_view_as_its_epoch() {
    let before = view_of(1);
    let mut after = before.successor(0, 1_000);
    after.nodes.push(member(2));
    after.place();
    for shard in 0..SHARDS {
        let expected = match after.term(shard).home {
            Incarnation(2) => 1_000,
            _ => before.v,
        };
        assert_eq!(after.term(shard).epoch, expected);
    }
}

#[test]
fn a_draining_node_has_no_shards() {
    let mut view = view_of(3);
    view.nodes[0].serving = Serving::Draining;
    view.place();
    assert!(shards_of(&view, 1).is_empty());
    assert_eq!(shards_of(&view, 2).len(), 512);
}

#[test]
fn shards_stay_where_they_are_if_every_node_is_draining() {
    let before = view_of(3);
    let mut after = before.clone();
    for node in &mut after.nodes {
        node.serving = Serving::Draining;
    }
    after.place();
    assert_eq!(moved(&before, &after), 0);
}

#[test]
fn no_shard_has_a_home_after_the_last_node_left() {
    let mut view = view_of(1);
    view.nodes.clear();
    view.place();
    assert!((0..SHARDS).all(|shard| view.term(shard).home == Term::NOBODY));
}

#[test]
fn the_number_of_a_view_follows_the_wall_clock_and_never_falls() {
    let view = View::empty(1).successor(0, 1_800_000_000);
    assert_eq!(view.v, 1_800_000_000);
    assert_eq!(view.successor(0, 5).v, 1_800_000_001, "the clock was set back");
    assert_eq!(view.successor(1_900_000_000, 5).v, 1_900_000_001, "a higher one is known");
    assert_eq!(view.successor(0, u64::MAX).v, View::MAX_NUMBER, "the clock is wrong");
}

#[test]
fn a_view_comes_back_from_its_bytes() {
    let mut view = view_of(5);
    view.nodes[3].serving = Serving::Draining;
    view.place();
    let bytes = view.encode();
    assert!(bytes.len() < 10_000, "a view of 5 nodes takes {} bytes", bytes.len());
    assert_eq!(View::decode(&bytes), Ok(view));
}

#[test]
fn bytes_that_are_cut_off_are_no_view() {
    let bytes = view_of(5).encode();
    for length in (0..200).chain([bytes.len() - 1]) {
        assert!(View::decode(&bytes[..length]).is_err(), "the first {length} bytes");
    }
}

#[test]
fn a_view_in_which_a_name_or_an_incarnation_stands_twice_is_refused() {
    let mut same_name = view_of(2);
    same_name.nodes[1].name = same_name.nodes[0].name.clone();
    assert!(View::decode(&same_name.encode()).is_err());
    let mut same_incarnation = view_of(2);
    same_incarnation.nodes[1].incarnation = same_incarnation.nodes[0].incarnation;
    assert!(View::decode(&same_incarnation.encode()).is_err());
}

#[test]
fn an_epoch_above_the_number_of_the_view_is_refused() {
    let mut view = view_of(2).successor(0, 1_000);
    view.place();
    view.renew(0);
    view.v -= 1;
    assert!(View::decode(&view.encode()).is_err());
}
