//! A shard that several nodes have: one decides, the others copy, and the deciding moves.

use herenow_core::{Command, Contents, Owner, Peer, Put, Replica, RequestId, Shard};
use herenow_wire::LeaveReason;
use herenow_wire::link::{Item, Report};

use crate::given::{at, channel, id, put_among, remove, shown, state};
use crate::nodes::{EPOCH, Nodes, put, put_of_socket, subscribe};

#[test]
fn subscribers_at_a_copy_hear_what_subscribers_at_the_home_hear() {
    let mut nodes = Nodes::new(2);
    nodes.ask(0, subscribe());
    nodes.ask(1, subscribe());
    assert_eq!(nodes.heard(0), nodes.heard(1));
    nodes.ask(1, put('a', r#"{"n":1}"#));
    nodes.ask(0, put('b', "{}"));
    nodes.ask(1, put('a', r#"{"n":2}"#));
    nodes.ask(1, remove("lobby", 'a', LeaveReason::Leave));
    let heard = nodes.heard(1);
    assert_eq!(nodes.heard(0), heard);
    assert_eq!(heard.len(), 4, "{heard:?}");
}

// P4.8
#[test]
fn a_put_at_a_copy_is_answered_when_its_home_has_told_of_it() {
    let mut nodes = Nodes::new(2);
    nodes.ask(1, put('a', "{}"));
    assert_eq!(nodes.answers(1), [""; 0]);
    nodes.acknowledge(1);
    assert_eq!(nodes.answers(1), ["a done"]);
}

// P4.14
#[test]
fn a_full_channel_refuses_at_every_node_and_what_was_refused_is_in_no_report() {
    let mut nodes = Nodes::new(2);
    nodes.ask(0, put_among("lobby", shown('a', "{}"), 1));
    nodes.ask(1, put_among("lobby", shown('b', "{}"), 1));
    nodes.acknowledge(1);
    assert_eq!(nodes.answers(1), ["b full"]);
    let Report { channels, .. } = nodes.nodes[1].replica.report(EPOCH, None);
    assert_eq!(channels, []);
    nodes.move_home(1, EPOCH + 1);
    assert_eq!(nodes.list(1), "a");
}

// P4.14
#[test]
fn members_that_a_home_has_admitted_stay_in_its_successor_above_the_limit() {
    let mut nodes = Nodes::new(2);
    nodes.ask(0, put_among("lobby", shown('a', "{}"), 2));
    nodes.ask(1, put_among("lobby", shown('b', "{}"), 2));
    nodes.acknowledge(1);
    nodes.begin(1, EPOCH + 1);
    nodes.ask(1, put_among("lobby", shown('c', "{}"), 1));
    assert_eq!(nodes.answers(1), [""; 0], "it is judged when all is known");
    nodes.with(1, |replica, out| replica.open(at(0), out));
    assert_eq!(nodes.answers(1), ["c full"]);
    assert_eq!(nodes.list(1), "ab");
}

// P5.2
#[test]
fn a_new_home_keeps_the_order_of_rows_and_puts_those_that_no_home_has_told_of_last() {
    let mut nodes = Nodes::new(3);
    nodes.ask(1, subscribe());
    nodes.ask(2, subscribe());
    for (node, letter) in [(2, 'a'), (0, 'b'), (1, 'c'), (2, 'd')] {
        nodes.ask(node, put(letter, "{}"));
        nodes.acknowledge(node);
    }
    nodes.nodes[1].is_cut = true;
    nodes.ask(1, put('x', "{}"));
    nodes.nodes[1].is_cut = false;
    nodes.move_home(1, EPOCH + (1 << 20));
    assert_eq!(nodes.list(1), "abcdx");
    assert_eq!(nodes.list(2), "abcdx");
}

// P6.8
#[test]
fn subscribers_hear_the_differences_to_a_new_homes_list_after_its_epoch() {
    let mut nodes = Nodes::new(3);
    nodes.ask(2, subscribe());
    for letter in ['a', 'b', 'c', 'd', 'e'] {
        nodes.ask(1, put(letter, "{}"));
    }
    nodes.acknowledge(1);
    nodes.ask(0, put('z', "{}"));
    nodes.heard(2);
    // The home is lost with its own connection.
    let lost = nodes.nodes[0].from;
    nodes.nodes[0].replica = Replica::new(channel("lobby").shard(), Shard::new(0));
    nodes.move_home(1, 9 << 20);
    nodes.with(1, |replica, out| replica.gone(lost, at(0), out));
    let heard = nodes.heard(2);
    assert_eq!(heard[0], format!("epoch {}", 9 << 20));
    assert!(heard[1].contains("leave(disconnect) z"), "{heard:?}");
    assert_eq!(heard.len(), 2, "{heard:?}");
}

// P5.2
#[test]
fn a_member_whose_place_in_the_list_is_another_is_told_though_it_shows_the_same() {
    let mut nodes = Nodes::new(3);
    nodes.ask(2, subscribe());
    for letter in ['a', 'b', 'c', 'd', 'e', 'f'] {
        nodes.ask(1, put(letter, "{}"));
    }
    nodes.acknowledge(1);
    nodes.heard(2);
    let (home, to) = (nodes.nodes[0].from, nodes.nodes[2].from.peer);
    let whole = nodes.nodes[0].replica.snapshot(&channel("lobby"), to);
    let Some(Item::Snap(mut snap)) = whole else { panic!("it wants the list") };
    // It went and came back, and neither was heard at the other node.
    snap.position.seq += 2;
    snap.rows[1].seq = snap.position.seq;
    nodes.give(2, home, Item::Snap(snap));
    assert_eq!(nodes.list(2), "acdefb");
    let heard = nodes.heard(2);
    assert!(heard.iter().any(|line| line.contains("update b")), "{heard:?}");
}

// P6.8
#[test]
fn a_flush_holds_one_epoch_and_is_a_snapshot_where_older_changes_wait() {
    let mut nodes = Nodes::new(2);
    nodes.ask(1, subscribe());
    for letter in ['a', 'b', 'c', 'd', 'e'] {
        nodes.ask(0, put(letter, "{}"));
    }
    nodes.heard(1);
    nodes.nodes[1].is_slow = true;
    nodes.ask(0, put('f', "{}"));
    nodes.move_home(0, 9 << 20);
    nodes.nodes[1].is_slow = false;
    nodes.ask(0, put('g', "{}"));
    let heard = nodes.heard(1);
    assert!(heard[0].starts_with(&format!("snapshot {}:", 9 << 20)), "{heard:?}");
    assert_eq!(heard.len(), 1, "{heard:?}");
}

// P5.5
#[test]
fn a_home_lives_in_a_later_epoch_than_any_that_a_report_names() {
    let mut nodes = Nodes::new(2);
    nodes.ask(1, subscribe());
    nodes.ask(1, put('a', "{}"));
    nodes.acknowledge(1);
    nodes.heard(1);
    // The bucket was lost, and views are numbered from the beginning.
    nodes.move_home(0, 1 << 20);
    let list = nodes.nodes[0].replica.shard();
    let Contents::Live(list) = list.contents(&channel("lobby")) else { panic!("it has a list") };
    assert_eq!(list.epoch(), EPOCH + 1);
}

// P7.9
#[test]
fn a_connection_that_has_come_back_at_another_node_is_told_to_nobody_but_the_node_it_left() {
    let mut nodes = Nodes::new(3);
    nodes.ask(0, subscribe());
    nodes.ask(1, put_of_socket('a', 3, "{}"));
    nodes.acknowledge(1);
    nodes.heard(0);
    nodes.ask(2, put_of_socket('a', 4, "{}"));
    assert_eq!(nodes.heard(0), [""; 0]);
    assert_eq!(nodes.nodes[1].taken, ["a 3"]);
    nodes.ask(1, remove("lobby", 'a', LeaveReason::Disconnect));
    assert_eq!(
        (nodes.list(0).as_str(), nodes.heard(0).len()),
        ("a", 0),
        "it is not there to leave"
    );
}

// P7.9
#[test]
fn of_two_nodes_that_show_a_connection_equally_late_the_first_counts() {
    let mut nodes = Nodes::new(3);
    nodes.ask(1, put_of_socket('a', 4, "{}"));
    nodes.ask(2, put_of_socket('a', 4, r#"{"n":2}"#));
    assert_eq!(nodes.answers(2), ["a superseded"]);
    nodes.acknowledge(2);
    assert_eq!(nodes.answers(2), [""; 0], "each is answered once");
}

#[test]
fn a_member_that_two_nodes_report_is_that_of_the_later_socket() {
    let mut nodes = Nodes::new(3);
    nodes.ask(1, put_of_socket('a', 4, "{}"));
    nodes.acknowledge(1);
    nodes.nodes[2].is_cut = true;
    nodes.ask(2, put_of_socket('a', 3, r#"{"old":1}"#));
    nodes.acknowledge(2);
    nodes.nodes[2].is_cut = false;
    nodes.move_home(0, EPOCH + 1);
    assert_eq!(nodes.nodes[2].taken, ["a 3"]);
    nodes.ask(0, subscribe());
    assert!(nodes.heard(0)[0].contains("[a{}]"));
}

#[test]
fn a_put_that_waits_is_answered_once_whoever_becomes_the_home() {
    let mut nodes = Nodes::new(3);
    nodes.nodes[1].is_cut = true;
    nodes.ask(1, put('a', "{}"));
    nodes.nodes[1].is_cut = false;
    nodes.begin(1, EPOCH + 1);
    nodes.begin(1, EPOCH + 2);
    nodes.begin(2, EPOCH + 3);
    nodes.with(2, |replica, out| replica.open(at(0), out));
    nodes.acknowledge(1);
    nodes.acknowledge(1);
    assert_eq!(nodes.answers(1), ["a done"]);
    assert_eq!(nodes.list(2), "a");
}

// P8.2
#[test]
fn while_the_home_is_out_of_reach_few_puts_of_a_member_wait_and_the_newest_is_among_them() {
    const FEW: usize = 4;
    const MANY: usize = 100;
    let mut nodes = Nodes::new(2);
    nodes.nodes[1].is_cut = true;
    for n in 0..MANY {
        nodes.ask(1, put('a', &format!(r#"{{"n":{n}}}"#)));
    }
    assert_eq!(nodes.answers(1).len(), MANY - FEW, "those that a newer one has replaced");
    nodes.nodes[1].tickets.clear();
    nodes.nodes[1].is_cut = false;
    nodes.ask(0, subscribe());
    nodes.with(1, Replica::put_again);
    assert_eq!(nodes.nodes[1].tickets.len(), FEW);
    nodes.acknowledge(1);
    assert_eq!(nodes.answers(1).len(), FEW);
    assert!(nodes.nodes[1].replica.is_settled());
    let heard = nodes.heard(0);
    assert!(heard.last().is_some_and(|last| last.contains(r#"{"n":99}"#)), "{heard:?}");
}

// P6.7
#[test]
fn a_put_that_met_no_home_is_not_done_when_its_batch_is_acknowledged() {
    let mut nodes = Nodes::new(3);
    // The second has not heard that it is the home.
    nodes.home = 2;
    nodes.ask(1, put('a', "{}"));
    nodes.acknowledge(1);
    assert_eq!(nodes.answers(1), [""; 0]);
    nodes.move_home(2, EPOCH + 1);
    nodes.acknowledge(1);
    assert_eq!(nodes.answers(1), ["a done"]);
}

// P4.23
#[test]
fn fields_that_ended_stay_ended_whoever_becomes_the_home() {
    let mut nodes = Nodes::new(2);
    nodes.ask(0, subscribe());
    nodes.nodes[1].is_cut = true;
    nodes.ask(1, put('a', r#"{"n":1,"typing":true}"#));
    let (channel, connection, state) = (channel("lobby"), id('a'), state(r#"{"n":1}"#));
    nodes.ask(1, Command::Restate { channel, connection, generation: 0, state });
    nodes.nodes[1].is_cut = false;
    nodes.begin(1, EPOCH + 1);
    nodes.begin(0, EPOCH + 2);
    nodes.heard(0);
    nodes.with(0, |replica, out| replica.open(at(0), out));
    assert!(nodes.heard(0).last().is_some_and(|line| line.contains(r#"a{"n":1}"#)));
}

#[test]
fn a_put_that_was_taken_back_is_not_sent_to_another_home() {
    let mut nodes = Nodes::new(2);
    nodes.nodes[1].is_cut = true;
    nodes.ask(1, put('a', "{}"));
    nodes.ask(1, remove("lobby", 'a', LeaveReason::Leave));
    nodes.nodes[1].is_cut = false;
    nodes.move_home(0, EPOCH + 1);
    assert_eq!(nodes.answers(1), ["a done"]);
    assert_eq!(nodes.list(0), "");
}

#[test]
fn a_node_that_is_gone_takes_its_own_members_along_and_no_others() {
    let mut nodes = Nodes::new(3);
    nodes.ask(1, put('a', "{}"));
    nodes.ask(2, put('b', "{}"));
    let gone = nodes.nodes[1].from;
    nodes.with(0, |replica, out| replica.gone(gone, at(0), out));
    assert_eq!(nodes.list(0), "b");
}

#[test]
fn a_report_that_comes_again_replaces_what_the_node_had() {
    let mut nodes = Nodes::new(2);
    nodes.ask(0, subscribe());
    nodes.ask(1, put('a', "{}"));
    nodes.ask(1, put('b', "{}"));
    nodes.acknowledge(1);
    nodes.nodes[1].is_cut = true;
    nodes.ask(1, remove("lobby", 'a', LeaveReason::Leave));
    nodes.heard(0);
    let (from, report) = (nodes.nodes[1].from, nodes.nodes[1].replica.report(EPOCH, None));
    nodes.give(0, from, Item::Report(report));
    assert_eq!(nodes.list(0), "b");
    assert_eq!(nodes.heard(0).len(), 1, "one leave");
}

#[test]
fn a_detached_member_gives_way_in_a_full_channel_though_the_home_has_moved() {
    let mut nodes = Nodes::new(2);
    nodes.ask(1, put_among("lobby", shown('a', "{}"), 1));
    nodes.acknowledge(1);
    let (connection, owner) = (id('a'), Owner(0));
    nodes.ask(1, Command::Detach { channel: channel("lobby"), connection, owner, generation: 0 });
    nodes.move_home(1, EPOCH + 1);
    nodes.move_home(0, EPOCH + 2);
    nodes.ask(0, put_among("lobby", shown('b', "{}"), 1));
    assert_eq!(nodes.list(0), "b");
}

#[test]
fn a_copy_that_nobody_subscribes_to_is_freed() {
    let mut nodes = Nodes::new(2);
    nodes.ask(1, subscribe());
    nodes.ask(0, put('a', "{}"));
    assert_eq!(nodes.list(1), "a");
    nodes.ask(1, Command::Unsubscribe { channel: channel("lobby"), peer: Peer(0) });
    assert_eq!(nodes.nodes[1].replica.shard().channels(), 0);
    nodes.ask(0, put('b', "{}"));
    assert_eq!(nodes.list(1), "");
    let (channel, peer, request_id) = (channel("lobby"), Peer(0), RequestId(2));
    nodes.ask(1, Command::Subscribe { channel, peer, request_id });
    assert_eq!(nodes.list(1), "ab");
}

// P7.9
#[test]
fn what_an_earlier_socket_says_late_is_not_what_a_later_one_shows() {
    for opens in [false, true] {
        let mut nodes = Nodes::new(2);
        nodes.ask(0, subscribe());
        nodes.nodes[1].is_cut = true;
        if opens {
            // The home moves to the node that is asked, and has not opened.
            nodes.begin(1, EPOCH + (1 << 20));
        }
        nodes.ask(1, put_of_socket('a', 2, r#"{"field":1,"rest":1}"#));
        nodes.ask(1, put_of_socket('a', 1, r#"{"field":1}"#));
        let put = Put { generation: 1, ..shown('a', r#"{"field":1}"#) };
        nodes.ask(1, Command::Keep { channel: channel("lobby"), put, max_members: 100 });
        assert_eq!(nodes.answers(1), ["a superseded"]);
        let (channel, connection) = (channel("lobby"), id('a'));
        assert_eq!(nodes.nodes[1].replica.generation_of(&channel, connection), Some(2));
        let state = state(r#"{"rest":1}"#);
        nodes.ask(1, Command::Restate { channel, connection, generation: 2, state });
        nodes.nodes[1].is_cut = false;
        if opens {
            nodes.with(1, |replica, out| replica.open(at(0), out));
        } else {
            nodes.with(1, Replica::put_again);
        }
        let heard = nodes.heard(0);
        let shows = r#"a{"rest":1}"#;
        assert!(heard.last().is_some_and(|last| last.contains(shows)), "{heard:?}");
    }
}

// P4.23
#[test]
fn fields_end_in_the_newest_put_although_as_many_wait_as_may() {
    let mut nodes = Nodes::new(2);
    nodes.ask(0, subscribe());
    nodes.nodes[1].is_cut = true;
    for generation in 0..4 {
        nodes.ask(1, put_of_socket('a', generation, r#"{"n":1,"typing":true}"#));
    }
    let (channel, connection, state) = (channel("lobby"), id('a'), state(r#"{"n":1}"#));
    nodes.ask(1, Command::Restate { channel, connection, generation: 3, state });
    nodes.nodes[1].is_cut = false;
    nodes.with(1, Replica::put_again);
    assert!(nodes.heard(0).last().is_some_and(|last| last.contains(r#"a{"n":1}"#)));
}

// P5.4
#[test]
fn a_put_that_is_not_acknowledged_when_a_stream_begins_anew_is_no_leave() {
    let mut nodes = Nodes::new(2);
    nodes.ask(0, subscribe());
    nodes.ask(1, put('a', "{}"));
    nodes.ask(1, put('b', "{}"));
    nodes.ask(1, remove("lobby", 'b', LeaveReason::Leave));
    nodes.heard(0);
    let (from, report) = (nodes.nodes[1].from, nodes.nodes[1].replica.report(EPOCH, None));
    nodes.give(0, from, Item::Report(report));
    nodes.with(1, Replica::put_again);
    assert_eq!((nodes.list(0).as_str(), nodes.heard(0)), ("a", vec![]));
}
