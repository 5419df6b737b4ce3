//! Requests from node to node, as an exchange sends and answers them.

use std::sync::Arc;

use herenow_cluster::{Action, AskError, AskId, Event, Serving};
use herenow_wire::link::{Body, Incarnation, Packet, Part};

use crate::exchange_rig::{Apart, Desk, OTHER};

const ID: AskId = AskId(5);

fn ask(to: Incarnation) -> Event<'static> {
    let body: Arc<[u8]> = b"?"[..].into();
    Event::Ask { id: ID, to, body }
}

fn part(bytes: &[u8]) -> Part<'_> {
    Part { id: ID.0, index: 0, count: 1, bytes }
}

fn answered(answer: Result<&[u8], AskError>) -> Vec<Action> {
    vec![Action::Answered { id: ID, answer: answer.map(<[u8]>::to_vec) }]
}

#[test]
fn a_request_is_sent_until_the_answer_comes() {
    let mut desk = Desk::beside_another();
    desk.handle(ask(OTHER));
    let request = Apart::Request(ID.0, b"?".to_vec());
    assert_eq!(desk.take_apart(), std::slice::from_ref(&request));
    desk.advance(250);
    assert_eq!(desk.take_apart(), [request], "it may have been lost");
    assert!(!desk.exchange.is_quiet());
    desk.packet(0, Body::Response(part(b"!")));
    assert_eq!(desk.take_asked(), answered(Ok(b"!")));
    desk.packet(0, Body::Response(part(b"!")));
    desk.advance(3_000);
    assert_eq!((desk.take_asked(), desk.take_apart()), (vec![], vec![]));
}

#[test]
fn a_request_without_an_answer_fails_after_2_seconds() {
    let mut desk = Desk::beside_another();
    desk.handle(ask(OTHER));
    desk.advance(1_999);
    assert_eq!(desk.take_asked(), []);
    desk.advance(1);
    assert_eq!(desk.take_asked(), answered(Err(AskError::Silent)));
}

#[test]
fn a_request_to_a_node_outside_of_the_view_fails_at_once() {
    let mut desk = Desk::beside_another();
    desk.handle(ask(Incarnation(99)));
    assert_eq!(desk.take_asked(), answered(Err(AskError::Silent)));
    desk.handle(ask(OTHER));
    desk.write_view(|view| view.nodes.retain(|node| node.incarnation != OTHER));
    assert_eq!(desk.take_asked(), answered(Err(AskError::Silent)));
}

#[test]
fn a_request_of_a_node_that_has_left_the_cluster_fails_at_once() {
    let mut desk = Desk::beside_another();
    desk.handle(ask(OTHER));
    desk.handle(Event::Leave);
    desk.advance(2_000);
    desk.handle(Event::Ask { id: AskId(6), to: OTHER, body: b"?"[..].into() });
    let ids = desk.take_asked().into_iter().map(|action| match action {
        Action::Answered { id, answer: Err(AskError::Silent) } => id.0,
        other => panic!("{other:?}"),
    });
    assert_eq!(ids.collect::<Vec<_>>(), [5, 6]);
}

#[test]
fn a_request_that_comes_again_is_carried_out_once_and_answered_each_time() {
    let mut desk = Desk::beside_another();
    let asked = Action::Asked { from: OTHER, id: ID, body: b"?".to_vec() };
    desk.packet(0, Body::Request(part(b"?")));
    desk.packet(0, Body::Request(part(b"?")));
    assert_eq!(desk.take_asked(), [asked]);
    let body = b"!".to_vec();
    desk.handle(Event::Answer { to: OTHER, id: ID, body: body.clone() });
    desk.packet(0, Body::Request(part(b"?")));
    let response = Apart::Response(ID.0, body);
    assert_eq!(desk.take_apart(), [response.clone(), response]);
    assert_eq!(desk.take_asked(), []);
}

#[test]
fn a_node_outside_of_the_view_is_not_answered() {
    let mut desk = Desk::beside_another();
    let to = desk.exchange.incarnation();
    let body = Body::Request(part(b"?"));
    let from = Incarnation(99);
    let bytes = Packet { from, to, n: 0, ack: 0, received: 0, body }.encode();
    desk.handle(Event::Packet(&bytes));
    assert_eq!(desk.take_asked(), []);
}

#[test]
fn a_draining_node_is_asked_as_any_other() {
    let mut desk = Desk::beside_another();
    desk.write_view(|view| {
        view.nodes.iter_mut().for_each(|node| node.serving = Serving::Draining);
    });
    desk.handle(ask(OTHER));
    assert_eq!(desk.take_apart().len(), 1);
}
