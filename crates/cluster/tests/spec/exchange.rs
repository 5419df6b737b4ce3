//! What an exchange promises the loops, and what it needs of them.

use herenow_core::{NodeEvent, NodeMail, Owner};
use herenow_wire::link::{Body, Follows, Incarnation, Item, Report, Ticket, Urgency};
use herenow_wire::{ConnectionId, SHARDS};

use crate::exchange_rig::{Desk, HUBS, OTHER, Writes, put, refused, snap};

/// The loops that were told something that is so.
fn hubs(told: &[(u16, NodeEvent)], is_it: impl Fn(&NodeEvent) -> bool) -> Vec<u16> {
    told.iter().filter(|(_, event)| is_it(event)).map(|(hub, _)| *hub).collect()
}

fn is_received(event: &NodeEvent) -> bool {
    matches!(event, NodeEvent::Received { .. })
}

/// The puts that are done, as the loops were told.
fn done(told: &[(u16, NodeEvent)]) -> Vec<(u16, Ticket)> {
    let done = told.iter().filter_map(|(hub, event)| match event {
        NodeEvent::Done(tickets) => Some(tickets.iter().map(|(_, ticket)| (*hub, *ticket))),
        _ => None,
    });
    done.flatten().collect()
}

fn told(desk: &Desk, batch: u64) -> NodeMail {
    NodeMail::Told { from: desk.other(), batch }
}

#[test]
fn loops_are_told_at_the_start_whom_they_speak_for() {
    let mut desk = Desk::new();
    let owner = desk.exchange.owner();
    let told = desk.take_told();
    assert_eq!(told, [(0, NodeEvent::Out { owner }), (1, NodeEvent::Out { owner })]);
}

#[test]
fn what_concerns_a_shard_goes_to_the_loop_that_it_is_at() {
    let mut desk = Desk::new();
    desk.advance(4_000);
    let mut homes = 0;
    for (hub, event) in desk.take_told() {
        if let NodeEvent::Home { shard, term } | NodeEvent::Opened { shard, term } = event {
            assert_eq!(hub, shard % HUBS);
            assert_eq!(term.home, desk.exchange.incarnation());
            homes += 1;
        }
    }
    assert_eq!(homes, 2 * usize::from(SHARDS));
}

#[test]
fn a_batch_is_divided_among_loops_and_acknowledged_when_each_has_told_its_part() {
    let mut desk = Desk::beside_another();
    let me = desk.exchange.incarnation();
    let items = [0, 1].map(|hub| put(desk.channel(hub, me), 1));
    let batch = desk.other_says(items.to_vec());
    let parts: Vec<_> =
        desk.take_told().into_iter().filter(|(_, event)| is_received(event)).collect();
    for ((hub, event), item) in parts.into_iter().zip(items) {
        let NodeEvent::Received { batch: n, items, .. } = event else { unreachable!() };
        assert_eq!((n, items), (batch, vec![item]), "the part of loop {hub}");
    }
    desk.mail(0, vec![told(&desk, batch)]);
    desk.advance(60);
    assert!(desk.acknowledged() < batch, "loop 1 has not told it");
    desk.mail(1, vec![told(&desk, batch)]);
    desk.advance(60);
    assert_eq!(desk.acknowledged(), batch);
}

#[test]
fn a_loop_without_a_part_in_a_batch_is_told_nothing_and_not_waited_for() {
    let mut desk = Desk::beside_another();
    let me = desk.exchange.incarnation();
    let batch = desk.other_says(vec![put(desk.channel(1, me), 1)]);
    assert_eq!(hubs(&desk.take_told(), is_received), [1]);
    desk.mail(1, vec![told(&desk, batch)]);
    desk.advance(60);
    assert_eq!(desk.acknowledged(), batch);
}

#[test]
fn what_concerns_no_shard_goes_to_every_loop() {
    let mut desk = Desk::beside_another();
    let connection = ConnectionId::from_bytes([1; 16]);
    desk.other_says(vec![Item::Taken { connection, generation: 3 }]);
    assert_eq!(hubs(&desk.take_told(), is_received), [0, 1]);
}

#[test]
fn a_batch_that_concerns_no_loop_is_acknowledged_at_once() {
    let mut desk = Desk::beside_another();
    let batch = desk.other_says(Vec::new());
    assert_eq!(desk.take_told(), []);
    desk.advance(60);
    assert_eq!(desk.acknowledged(), batch);
}

#[test]
fn a_put_is_done_when_the_batch_that_it_went_with_is_acknowledged() {
    let mut desk = Desk::beside_another();
    for hub in 0..HUBS {
        desk.send(hub, vec![desk.put(hub, 40 + u64::from(hub))]);
    }
    assert_eq!(done(&desk.take_told()), [], "the home may refuse it");
    desk.acknowledge();
    assert_eq!(done(&desk.take_told()), [(0, Ticket(40)), (1, Ticket(41))]);
}

#[test]
fn only_what_a_client_waits_for_is_wanted_acknowledged_soon() {
    let mut desk = Desk::beside_another();
    let me = desk.exchange.incarnation();
    desk.send(0, vec![snap(desk.channel(0, me))]);
    desk.send(0, vec![desk.put(0, 1)]);
    let batches = desk.take_sent().into_iter().filter_map(|sent| sent.batch);
    let urgencies: Vec<_> = batches.map(|(_, urgency, _)| urgency).collect();
    assert_eq!(urgencies, [Urgency::Whenever, Urgency::Soon]);
}

#[test]
fn a_put_that_was_lost_with_its_stream_is_done_only_if_its_loop_has_put_it_again() {
    let mut desk = Desk::beside_another();
    desk.send(0, vec![desk.put(0, 1)]);
    desk.miss();
    desk.send(1, vec![desk.put(1, 2)]);
    desk.answer_reset(0, vec![desk.put(0, 3)]);
    desk.answer_reset(1, Vec::new());
    desk.acknowledge();
    assert_eq!(done(&desk.take_told()), [(0, Ticket(3))]);
}

#[test]
fn mail_from_before_a_loop_heard_that_the_node_is_out_is_dropped() {
    let mut desk = Desk::beside_another();
    let before = desk.exchange.owner();
    let me = desk.exchange.incarnation();
    desk.write_view(|view| view.nodes.retain(|node| node.incarnation != me));
    let after = desk.exchange.owner();
    assert_ne!(before, after);
    assert_eq!(hubs(desk.told(), |event| *event == NodeEvent::Out { owner: after }), [0, 1]);
    // It comes back, and loop 1 is behind.
    desk.advance(2_000);
    assert!(desk.exchange.is_in());
    desk.answer_reset(0, Vec::new());
    let request = desk.requests(1)[0];
    let (items, channels) = (Vec::new(), Vec::new());
    desk.mail_as(before, 1, vec![NodeMail::Contents { request, items, channels }]);
    desk.take_sent();
    desk.mail_as(
        before,
        0,
        vec![NodeMail::Items { to: desk.other(), items: vec![desk.put(0, 1)] }],
    );
    assert_eq!(desk.take_items(), []);
    assert_eq!(desk.exchange.counters().late_mail, 2);
    desk.answer_reset(1, Vec::new());
    assert_eq!(desk.take_sent().len(), 1, "now all have said what they owe");
}

#[test]
fn a_stream_begins_anew_with_the_parts_of_all_loops_together() {
    let mut desk = Desk::beside_another();
    desk.send(0, vec![desk.put(0, 1)]);
    desk.miss();
    desk.take_sent();
    desk.answer_reset(1, vec![desk.put(1, 2)]);
    assert_eq!(desk.take_sent(), [], "loop 0 has not answered");
    desk.answer_reset(0, vec![desk.put(0, 3)]);
    let sent = desk.take_sent();
    let (follows, _, items) = sent[0].batch.clone().expect("a batch");
    assert_eq!(follows, Follows::Nothing);
    assert_eq!(items, [desk.put(1, 2), desk.put(0, 3)]);
}

#[test]
fn mail_from_after_the_part_of_a_loop_waits_for_the_parts_of_all() {
    let mut desk = Desk::beside_another();
    desk.send(0, vec![desk.put(0, 1)]);
    desk.miss();
    desk.answer_reset(0, vec![desk.put(0, 2)]);
    desk.send(0, vec![desk.put(0, 3)]);
    // Loop 1 has not answered yet, so its part will hold this, under another ticket.
    desk.send(1, vec![desk.put(1, 8)]);
    desk.take_sent();
    desk.answer_reset(1, vec![desk.put(1, 9)]);
    assert_eq!(desk.take_items(), [desk.put(0, 2), desk.put(1, 9), desk.put(0, 3)]);
}

#[test]
fn a_refusal_that_waits_for_contents_goes_before_the_acknowledgement_of_its_put() {
    let mut desk = Desk::beside_another();
    let me = desk.exchange.incarnation();
    let channel = desk.channel(0, me);
    desk.send(0, vec![desk.put(0, 1)]);
    desk.miss();
    desk.answer_reset(0, Vec::new());
    let batch = desk.other_says(vec![put(channel.clone(), 5)]);
    let (to, items) = (desk.other(), vec![refused(channel.clone())]);
    desk.mail(0, vec![NodeMail::Items { to, items }, told(&desk, batch)]);
    desk.take_sent();
    desk.answer_reset(1, Vec::new());
    let sent = desk.take_sent();
    assert!(sent[0].ack < batch, "the refusal is not on its way");
    let (.., items) = sent[1].batch.clone().expect("a batch");
    assert_eq!(items, [refused(channel)]);
}

#[test]
fn contents_are_asked_for_once_more_if_more_than_4_mib_wait_and_no_refusal_is_lost() {
    let mut desk = Desk::beside_another();
    let me = desk.exchange.incarnation();
    let channel = desk.channel(0, me);
    desk.send(0, vec![desk.put(0, 1)]);
    desk.miss();
    desk.answer_reset(0, vec![desk.put(0, 2)]);
    desk.send(0, vec![refused(channel.clone())]);
    for _ in 0..20_000 {
        desk.send(0, vec![snap(channel.clone())]);
    }
    assert_eq!(desk.requests(0).len(), 2);
    desk.take_sent();
    let first = desk.requests(1)[0];
    let (items, channels) = (vec![desk.put(1, 3)], Vec::new());
    desk.mail(1, vec![NodeMail::Contents { request: first, items, channels }]);
    desk.answer_reset(1, Vec::new());
    assert_eq!(desk.take_items(), [], "loop 0 was asked once more");
    desk.answer_reset(0, vec![desk.put(0, 4)]);
    assert_eq!(desk.take_items(), [desk.put(0, 4), refused(channel)]);
}

#[test]
fn a_home_that_asks_while_contents_are_gathered_is_answered_by_a_loop_that_gave_its_part() {
    let mut desk = Desk::beside_another();
    let me = desk.exchange.incarnation();
    let shard = desk.channel(0, me).shard();
    desk.send(0, vec![desk.put(0, 1)]);
    desk.miss();
    desk.answer_reset(0, Vec::new());
    desk.take_told();
    let epoch = desk.exchange.view().expect("there is one").v + 1;
    desk.packet(0, Body::Collect { shards: vec![(shard, epoch)] });
    let is_asked = |event: &NodeEvent| matches!(event, NodeEvent::ReportWanted { .. });
    assert_eq!(hubs(&desk.take_told(), is_asked), [0]);
}

#[test]
fn a_node_that_joins_asks_its_loops_for_contents_once_more_though_a_stream_waits_for_them() {
    let mut desk = Desk::beside_another();
    let (me, put) = (desk.exchange.incarnation(), desk.put(0, 1));
    desk.writes = Writes::Unknown;
    desk.write_view(|view| view.nodes.retain(|node| node.incarnation != me));
    assert!(!desk.exchange.is_in());
    desk.send(0, vec![put]);
    desk.answer_reset(0, Vec::new());
    assert_eq!(desk.requests(0).len(), 1);
    desk.writes = Writes::Done;
    desk.advance(3_000);
    assert!(desk.exchange.is_in());
    assert_eq!(desk.requests(0).len(), 2, "homes may have changed since it handed in its part");
    desk.take_sent();
    desk.answer_reset(1, Vec::new());
    assert_eq!(desk.take_items(), [], "loop 0 has not answered the second request");
}

#[test]
fn the_home_of_shards_at_several_loops_is_answered_by_each_of_them() {
    let mut desk = Desk::beside_another();
    let me = desk.exchange.incarnation();
    let shards = [0, 1].map(|hub| desk.channel(hub, me).shard());
    let epoch = desk.exchange.view().expect("there is one").v + 1;
    desk.packet(0, Body::Collect { shards: shards.map(|shard| (shard, epoch)).to_vec() });
    for (hub, shard) in (0..HUBS).zip(shards) {
        let told = desk.take_told_by(hub);
        let Some(NodeEvent::ReportWanted { home, shards }) = told.last() else {
            panic!("loop {hub} was told {told:?}");
        };
        assert_eq!((home.incarnation, shards[0].0, shards.len()), (OTHER, shard, 1));
    }
}

#[test]
fn a_node_that_left_the_view_is_gone_for_every_loop_and_is_sent_nothing() {
    let mut desk = Desk::beside_another();
    let put = desk.put(0, 1);
    desk.write_view(|view| view.nodes.retain(|node| node.incarnation != OTHER));
    let is_gone =
        |event: &NodeEvent| matches!(event, NodeEvent::Gone(gone) if gone.incarnation == OTHER);
    assert_eq!(hubs(&desk.take_told(), is_gone), [0, 1]);
    desk.send(0, vec![put]);
    assert_eq!(desk.take_sent(), []);
    assert_eq!(desk.exchange.counters().unknown_receivers, 0, "its number is nobody's");
}

#[test]
fn a_home_that_never_was_in_a_view_is_gone_with_the_next_one() {
    let mut desk = Desk::beside_another();
    let me = desk.exchange.incarnation();
    let shard = desk.channel(0, me).shard();
    let epoch = desk.exchange.view().expect("there is one").v + 1;
    let stranger = Incarnation(99);
    desk.collect(stranger, (shard, epoch));
    let is_stranger = |event: &NodeEvent| match event {
        NodeEvent::Moved { home, .. } => home.incarnation == stranger,
        _ => false,
    };
    assert_eq!(hubs(&desk.take_told(), is_stranger), [0]);
    desk.write_view(|view| view.renew(shard));
    let is_gone =
        |event: &NodeEvent| matches!(event, NodeEvent::Gone(gone) if gone.incarnation == stranger);
    assert_eq!(hubs(&desk.take_told(), is_gone), [0, 1]);
}

#[test]
fn what_a_link_owes_is_asked_of_the_loops_that_have_it() {
    let mut desk = Desk::beside_another();
    let me = desk.exchange.incarnation();
    let channels = [0, 1].map(|hub| desk.channel(hub, me));
    // Each batch counts for 256 bytes, and 4 MiB may be unacknowledged.
    for _ in 0..4 * 1024 * 1024 / 256 {
        desk.send(0, vec![snap(channels[0].clone())]);
    }
    let sent = desk.take_sent();
    for hub in 0..HUBS {
        desk.send(hub, vec![snap(channels[usize::from(hub)].clone())]);
    }
    assert_eq!(desk.take_sent(), []);
    let last = sent.last().expect("a batch").n;
    desk.packet(last, Body::Ack);
    for hub in 0..HUBS {
        let told = desk.take_told_by(hub);
        let Some(NodeEvent::OwedWanted { to, owed }) = told.last().cloned() else {
            panic!("loop {hub} was told {told:?}");
        };
        assert_eq!(owed.channels, [channels[usize::from(hub)].clone()]);
        let items = vec![snap(channels[usize::from(hub)].clone())];
        desk.mail(hub, vec![NodeMail::Owed { to: to.peer, owed, items: items.clone() }]);
        assert_eq!(desk.take_items(), items);
    }
}

#[test]
fn a_node_that_has_left_is_the_home_of_nothing() {
    let mut desk = Desk::beside_another();
    desk.handle(herenow_cluster::Event::Leave);
    desk.advance(1_000);
    let owner = desk.exchange.owner();
    assert_eq!(hubs(&desk.take_told(), |event| *event == NodeEvent::Out { owner }), [0, 1]);
}

#[test]
fn no_owner_is_used_twice() {
    let mut desk = Desk::beside_another();
    let mut owners: Vec<Owner> = vec![desk.exchange.owner()];
    for _ in 0..3 {
        let me = desk.exchange.incarnation();
        desk.write_view(|view| view.nodes.retain(|node| node.incarnation != me));
        owners.push(desk.exchange.owner());
        desk.advance(2_000);
    }
    owners.sort_unstable();
    owners.dedup();
    assert_eq!(owners.len(), 4);
    assert!(!owners.contains(&Owner::NOBODY));
}

#[test]
fn reports_of_a_node_go_to_it_in_the_stream() {
    let mut desk = Desk::beside_another();
    let report = Report {
        shard: desk.channel(0, OTHER).shard(),
        epoch: 1,
        decided: None,
        channels: Vec::new(),
    };
    desk.send(0, vec![Item::Report(report.clone())]);
    assert_eq!(desk.take_items(), [Item::Report(report)]);
}

#[test]
fn what_is_for_every_node_goes_to_each_that_the_view_names() {
    let mut desk = Desk::beside_another();
    let me = desk.exchange.incarnation();
    let items = vec![Item::Woke { channel: desk.channel(0, me) }];
    desk.mail(0, vec![NodeMail::ToAll { items: items.clone() }]);
    assert_eq!(desk.take_items(), items);
}
