//! The members of a node that is gone, while the grace of their channel runs at the home.

use herenow_core::{Command, From, Overrides, Owner, Replica, Shard};
use herenow_wire::LeaveReason;
use herenow_wire::link::{Channel, Item, Report};

use crate::given::{
    at, channel, id, policy, policy_but_for, put_among, settings, shown, unsubscribe_peer,
};
use crate::nodes::{EPOCH, Nodes, put, put_of_socket, subscribe};

const GRACE_MS: u64 = 5_000;
/// When node 1 goes.
const GONE_AT_MS: u64 = 1_000;

/// Node 0 is the home and has a subscriber; nodes 1 and 2 have members.
fn three_nodes() -> Nodes {
    let mut nodes = Nodes::new(3);
    let mut with_grace = settings();
    with_grace.disconnect_grace_ms = GRACE_MS;
    for node in 0..3 {
        nodes.nodes[node].replica.set_policy(policy(with_grace));
    }
    nodes.ask(0, subscribe());
    nodes.ask(1, put_of_socket('a', 3, "{}"));
    nodes.acknowledge(1);
    nodes.ask(2, put('b', "{}"));
    nodes.acknowledge(2);
    nodes.heard(0);
    nodes
}

fn lose_node(nodes: &mut Nodes, lost: usize) {
    let from = nodes.nodes[lost].from;
    nodes.with(0, |replica, out| replica.gone(from, at(GONE_AT_MS), out));
}

// P7.8
#[test]
fn members_of_a_node_that_is_gone_stay_for_the_grace_of_their_channel() {
    let mut nodes = three_nodes();
    lose_node(&mut nodes, 1);
    nodes.timeout(0, GONE_AT_MS + GRACE_MS - 1);
    assert_eq!((nodes.list(0).as_str(), nodes.heard(0).len()), ("ab", 0));
    nodes.timeout(0, GONE_AT_MS + GRACE_MS);
    assert_eq!(nodes.list(0), "b");
    let heard = nodes.heard(0);
    assert!(heard.len() == 1 && heard[0].contains("leave(disconnect) a"), "{heard:?}");
    assert!(!nodes.nodes[0].replica.has_deadlines(None));
}

// P7.8
#[test]
fn members_of_a_node_that_is_gone_leave_at_once_where_no_grace_is_in_effect() {
    let mut nodes = three_nodes();
    let none = Overrides { disconnect_grace_ms: Some(0), ..Overrides::default() };
    let mut with_grace = settings();
    with_grace.disconnect_grace_ms = GRACE_MS;
    nodes.nodes[0].replica.set_policy(policy_but_for("lobby", none, with_grace));
    lose_node(&mut nodes, 1);
    assert_eq!(nodes.list(0), "b");
}

// P7.9
#[test]
fn a_connection_that_comes_back_at_another_node_within_the_grace_neither_leaves_nor_joins() {
    let mut nodes = three_nodes();
    lose_node(&mut nodes, 1);
    nodes.ask(2, put_of_socket('a', 4, "{}"));
    nodes.timeout(0, GONE_AT_MS + GRACE_MS);
    assert_eq!((nodes.list(0).as_str(), nodes.heard(0).len()), ("ab", 0));
    // It has a socket again: nobody takes its place.
    nodes.ask(0, put_among("lobby", shown('c', "{}"), 2));
    assert_eq!(nodes.answers(0), ["c full"]);
}

// P4.14
#[test]
fn members_of_a_node_that_is_gone_give_way_in_a_full_channel() {
    let mut nodes = three_nodes();
    lose_node(&mut nodes, 1);
    nodes.ask(0, put_among("lobby", shown('c', "{}"), 2));
    assert_eq!(nodes.list(0), "bc");
    nodes.timeout(0, GONE_AT_MS + GRACE_MS);
    assert_eq!(nodes.list(0), "bc");
}

// P7.8
#[test]
fn a_node_that_goes_while_a_home_opens_has_its_grace_from_then_on() {
    let mut nodes = three_nodes();
    nodes.begin(0, EPOCH + 1);
    lose_node(&mut nodes, 1);
    nodes.with(0, |replica, out| replica.open(at(GONE_AT_MS + 1), out));
    assert_eq!((nodes.list(0).as_str(), nodes.heard(0).len()), ("ab", 0));
    nodes.timeout(0, GONE_AT_MS + GRACE_MS);
    assert_eq!(nodes.list(0), "b");
}

// P7.8
#[test]
fn a_node_whose_grace_has_ended_before_a_home_opens_has_no_members_there() {
    let mut nodes = three_nodes();
    nodes.begin(0, EPOCH + 1);
    lose_node(&mut nodes, 1);
    nodes.ask(0, put('c', "{}"));
    nodes.with(0, |replica, out| replica.open(at(GONE_AT_MS + GRACE_MS), out));
    assert_eq!(nodes.list(0), "bc");
    assert!(!nodes.nodes[0].replica.has_deadlines(None));
}

// P7.8
#[test]
fn a_node_that_was_taken_for_dead_has_its_members_again_without_a_leave_and_a_join() {
    let mut nodes = three_nodes();
    lose_node(&mut nodes, 1);
    // It has joined again, for another owner.
    let from = From { owner: Owner(7), ..nodes.nodes[1].from };
    let report = nodes.nodes[1].replica.report(EPOCH, None);
    nodes.give(0, from, Item::Report(report));
    nodes.timeout(0, GONE_AT_MS + GRACE_MS);
    assert_eq!((nodes.list(0).as_str(), nodes.heard(0).len()), ("ab", 0));
    assert_eq!(nodes.nodes[1].taken, [""; 0]);
}

// P7.8
#[test]
fn a_node_that_was_taken_for_dead_while_a_home_opens_has_its_members_there() {
    let mut nodes = three_nodes();
    nodes.ask(1, subscribe());
    nodes.begin(0, EPOCH + 1);
    lose_node(&mut nodes, 1);
    let from = From { owner: Owner(7), ..nodes.nodes[1].from };
    let report = nodes.nodes[1].replica.report(EPOCH + 1, None);
    nodes.give(0, from, Item::Report(report));
    nodes.with(0, |replica, out| replica.open(at(GONE_AT_MS), out));
    assert_eq!(nodes.list(0), "ab");
    assert!(!nodes.nodes[0].replica.has_deadlines(None));
    assert_eq!(nodes.nodes[1].taken, [""; 0]);
}

/// Node 1 is gone, and node 2 has become the home since.
fn moved_home() -> Nodes {
    let mut nodes = three_nodes();
    lose_node(&mut nodes, 1);
    nodes.nodes[1].replica = Replica::new(channel("lobby").shard(), Shard::new(0));
    nodes.move_home(2, EPOCH + 1);
    assert_eq!((nodes.list(2).as_str(), nodes.heard(0).len()), ("ab", 0));
    nodes
}

// P7.8
#[test]
fn members_of_a_node_that_is_gone_keep_their_grace_when_the_home_moves() {
    let mut nodes = moved_home();
    nodes.timeout(0, GONE_AT_MS + GRACE_MS - 1);
    assert_eq!(nodes.list(2), "ab");
    nodes.timeout(0, GONE_AT_MS + GRACE_MS);
    assert_eq!(nodes.list(2), "b");
    let heard = nodes.heard(0);
    assert!(heard.len() == 2 && heard[1].contains("leave(disconnect) a"), "{heard:?}");
    assert!(!nodes.nodes[0].replica.has_deadlines(None));
}

// P7.9
#[test]
fn a_connection_that_comes_back_after_the_home_has_moved_neither_leaves_nor_joins() {
    // With a later socket, and at a node that was taken for dead with the one that it had.
    for generation in [4, 3] {
        let mut nodes = moved_home();
        nodes.ask(1, put_of_socket('a', generation, "{}"));
        nodes.acknowledge(1);
        assert_eq!(nodes.answers(1), [""; 0], "it is not refused");
        nodes.timeout(0, GONE_AT_MS + GRACE_MS);
        assert_eq!((nodes.list(2).as_str(), nodes.heard(0).len()), ("ab", 0));
    }
}

// P7.9
#[test]
fn a_connection_that_comes_back_at_the_former_home_does_not_leave_when_its_grace_has_ended() {
    let mut nodes = moved_home();
    nodes.nodes[0].is_cut = true;
    nodes.ask(0, put_of_socket('a', 4, "{}"));
    nodes.timeout(0, GONE_AT_MS + GRACE_MS);
    nodes.nodes[0].is_cut = false;
    nodes.with(0, Replica::put_again);
    nodes.acknowledge(0);
    assert_eq!((nodes.list(2).as_str(), nodes.heard(0).len()), ("ab", 0));
}

// P7.8
#[test]
fn a_home_that_was_the_home_before_ends_the_graces_that_it_has_adopted() {
    let mut nodes = moved_home();
    nodes.move_home(0, EPOCH + 2);
    assert_eq!(nodes.list(0), "ab");
    nodes.timeout(0, GONE_AT_MS + GRACE_MS);
    assert_eq!(nodes.list(0), "b");
}

#[test]
fn a_node_that_was_left_out_itself_reports_no_members_of_others() {
    let mut nodes = moved_home();
    nodes.with(0, |replica, _| replica.set_owner(Owner(9)));
    assert!(!nodes.nodes[0].replica.has_deadlines(None));
    let report = nodes.nodes[0].replica.report(EPOCH + 2, None);
    assert!(report.channels.iter().all(|channel| channel.members.is_empty()));
}

/// Node 1 dies as the home, with its own member 'a'. Node 2 has a member and a copy, and node 0 is the next home.
fn lose_home_with_its_members() -> Nodes {
    let mut nodes = three_nodes();
    nodes.ask(1, subscribe());
    nodes.ask(2, subscribe());
    nodes.move_home(1, EPOCH + (1 << 20));
    nodes.heard(0);
    nodes
}

/// A node becomes the home after node 1, which is gone. The others have read the view, or not.
fn succeed(nodes: &mut Nodes, home: usize, reports: Vec<(usize, Report)>) {
    nodes.home = home;
    nodes.nodes[1].is_deaf = true;
    let others = reports.iter().map(|(node, _)| nodes.nodes[*node].from.owner).collect();
    let term = (EPOCH + (2 << 20), others);
    nodes.with(home, |replica, out| replica.become_home(term, at(GONE_AT_MS), out));
    for (node, report) in reports {
        let from = nodes.nodes[node].from;
        nodes.give(home, from, Item::Report(report));
    }
    nodes.with(home, |replica, out| replica.open(at(GONE_AT_MS), out));
}

fn report_of(nodes: &Nodes, node: usize, speaking: &[usize]) -> Report {
    let owners = speaking.iter().map(|node| nodes.nodes[*node].from.owner).collect();
    nodes.nodes[node].replica.report(EPOCH + (2 << 20), Some(&owners))
}

// P7.8
#[test]
fn members_whose_node_was_also_the_home_keep_their_grace() {
    // The node that reports knows that node 1 is gone, or thinks that it still speaks for its members: then the
    // copy of the new home shows them.
    for speaking in [&[0_usize, 2][..], &[0, 1, 2]] {
        let mut nodes = lose_home_with_its_members();
        let report = report_of(&nodes, 2, speaking);
        succeed(&mut nodes, 0, vec![(2, report)]);
        assert_eq!((nodes.list(0).as_str(), nodes.heard(0).len()), ("ab", 0));
        nodes.timeout(0, GONE_AT_MS + GRACE_MS - 1);
        assert_eq!(nodes.list(0), "ab");
        nodes.timeout(0, GONE_AT_MS + GRACE_MS);
        assert_eq!(nodes.list(0), "b");
        let heard = nodes.heard(0);
        assert!(heard.len() == 2 && heard[1].contains("leave(disconnect) a"), "{heard:?}");
    }
}

// P7.8
#[test]
fn a_home_without_a_copy_learns_from_another_node_who_is_to_keep_a_grace() {
    let mut nodes = lose_home_with_its_members();
    nodes.nodes[0].replica = replica_with_grace();
    let report = report_of(&nodes, 2, &[0, 2]);
    succeed(&mut nodes, 0, vec![(2, report)]);
    assert_eq!(nodes.list(0), "ab");
    nodes.timeout(0, GONE_AT_MS + GRACE_MS);
    assert_eq!(nodes.list(0), "b");
    assert!(nodes.heard(2).last().is_some_and(|last| last.contains("leave(disconnect) a")));
}

// P7.9
#[test]
fn a_connection_of_a_dead_home_that_comes_back_at_another_node_neither_leaves_nor_joins() {
    let mut nodes = lose_home_with_its_members();
    let report = report_of(&nodes, 2, &[0, 2]);
    succeed(&mut nodes, 0, vec![(2, report)]);
    nodes.ask(2, put_of_socket('a', 4, "{}"));
    nodes.timeout(0, GONE_AT_MS + GRACE_MS);
    assert_eq!((nodes.list(0).as_str(), nodes.heard(0).len()), ("ab", 0));
}

// P7.8
#[test]
fn members_of_a_dead_home_leave_at_once_where_no_grace_is_in_effect() {
    let mut nodes = lose_home_with_its_members();
    for node in [0, 2] {
        nodes.nodes[node].replica.set_policy(policy(settings()));
    }
    let report = report_of(&nodes, 2, &[0, 2]);
    assert_eq!(report.channels[0].copied, None, "it costs nothing without a grace");
    succeed(&mut nodes, 0, vec![(2, report)]);
    assert_eq!(nodes.list(0), "b");
}

// P7.8
#[test]
fn who_had_left_before_the_home_died_is_not_brought_back_by_an_older_copy() {
    let mut nodes = lose_home_with_its_members();
    let older = report_of(&nodes, 2, &[0, 2]);
    let (channel, connection, owner) = (channel("lobby"), id('a'), Owner::NOBODY);
    let reason = LeaveReason::Leave;
    nodes.ask(1, Command::Remove { channel, connection, owner, generation: 3, reason });
    assert_eq!(nodes.list(0), "b");
    succeed(&mut nodes, 0, vec![(2, older)]);
    assert_eq!(nodes.list(0), "b");
}

// P7.8
#[test]
fn a_grace_that_a_living_home_has_ended_does_not_begin_anew_by_an_older_copy() {
    let mut nodes = three_nodes();
    nodes.ask(2, subscribe());
    let older = report_of(&nodes, 2, &[0, 2]);
    lose_node(&mut nodes, 1);
    nodes.timeout(0, GONE_AT_MS + GRACE_MS);
    nodes.nodes[2].replica = replica_with_grace();
    // It has no copy, as nobody subscribes there.
    nodes.ask(0, unsubscribe_peer("lobby", 0));
    nodes.with(0, |replica, out| replica.become_copy(at(GONE_AT_MS), out));
    let report = report_of(&nodes, 0, &[0, 2]);
    nodes.home = 2;
    let others = [0, 1].map(|node| nodes.nodes[node].from.owner).into();
    let term = (EPOCH + (2 << 20), others);
    nodes.with(2, |replica, out| replica.become_home(term, at(GONE_AT_MS), out));
    // Some third node has the older copy.
    for (owner, report) in [(0, report), (8, Report { channels: older.channels, ..older })] {
        let from = From { owner: Owner(owner), ..nodes.nodes[0].from };
        let channels = report.channels.into_iter().map(|one| Channel { members: vec![], ..one });
        let report = Report { channels: channels.collect(), ..report };
        nodes.give(2, from, Item::Report(report));
    }
    nodes.with(2, |replica, out| replica.open(at(GONE_AT_MS), out));
    assert_eq!(nodes.list(2), "");
}

// P7.8
#[test]
fn a_home_asks_again_if_a_node_goes_before_it_has_reported_and_there_are_graces() {
    let mut nodes = three_nodes();
    let begin = |nodes: &mut Nodes| {
        let term = (EPOCH + (2 << 20), [Owner(1), Owner(2)].into());
        nodes.with(0, |replica, out| replica.become_home(term, at(0), out));
    };
    begin(&mut nodes);
    let report = nodes.nodes[1].replica.report(EPOCH + (2 << 20), None);
    let from = nodes.nodes[1].from;
    nodes.give(0, from, Item::Report(report));
    lose_node(&mut nodes, 1);
    assert!(!nodes.nodes[0].replica.is_incomplete(), "it had reported");
    lose_node(&mut nodes, 2);
    assert!(nodes.nodes[0].replica.is_incomplete());
    begin(&mut nodes);
    assert!(!nodes.nodes[0].replica.is_incomplete(), "another term begins");
    nodes.nodes[0].replica.set_policy(policy(settings()));
    lose_node(&mut nodes, 2);
    assert!(!nodes.nodes[0].replica.is_incomplete(), "nobody has a grace");
}

fn replica_with_grace() -> Replica {
    let mut replica = Replica::new(channel("lobby").shard(), Shard::new(0));
    let mut with_grace = settings();
    with_grace.disconnect_grace_ms = GRACE_MS;
    replica.set_policy(policy(with_grace));
    replica
}
