use super::*;

const ME: Incarnation = Incarnation(1);
const OTHER: Incarnation = Incarnation(2);
const ID: AskId = AskId(7);

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

fn part(bytes: &[u8]) -> Part<'_> {
    Part { id: ID.0, index: 0, count: 1, bytes }
}

/// A node that has asked another one at the beginning.
fn asking() -> Asking {
    let mut asking = Asking::default();
    asking.ask((ID, OTHER), b"?"[..].into(), at(0)).unwrap();
    asking
}

#[test]
fn a_request_is_sent_each_250_milliseconds_until_it_is_answered() {
    let mut asking = asking();
    assert_eq!(asking.poll(at(0)), [(ID, OTHER, b"?"[..].into())]);
    assert_eq!(asking.poll(at(249)), []);
    assert_eq!(asking.next_deadline(), at(250));
    assert_eq!(asking.poll(at(250)).len(), 1);
    assert_eq!(asking.response(OTHER, &part(b"!")), Some((ID, b"!".to_vec())));
    assert_eq!(asking.poll(at(500)), []);
    assert_eq!(asking.next_deadline(), Instant::NEVER);
    assert_eq!(asking.response(OTHER, &part(b"!")), None, "it is answered once");
}

#[test]
fn only_the_node_that_was_asked_can_answer() {
    assert_eq!(asking().response(ME, &part(b"!")), None);
}

#[test]
fn a_request_is_given_up_after_2_seconds() {
    let mut asking = asking();
    assert_eq!(asking.expire(at(1_999)), []);
    assert_eq!(asking.expire(at(2_000)), [ID]);
    assert!(asking.is_idle());
    assert_eq!(asking.open_bytes, 0);
}

#[test]
fn a_request_to_a_node_that_leaves_the_view_is_given_up_at_once() {
    assert_eq!(asking().keep(&View::empty(1)), [ID]);
}

#[test]
fn a_request_that_comes_again_is_answered_again_and_not_carried_out_twice() {
    let mut asking = Asking::default();
    assert_eq!(asking.request(ME, &part(b"?"), at(0)), Came::Whole(b"?".to_vec()));
    assert_eq!(asking.request(ME, &part(b"?"), at(250)), Came::Nothing, "it is being carried out");
    let answer: Arc<[u8]> = b"!"[..].into();
    assert_eq!(asking.answer((ME, ID.0), b"!".to_vec()), Some(Arc::clone(&answer)));
    assert_eq!(asking.request(ME, &part(b"?"), at(5_999)), Came::Again(answer));
    assert_eq!(asking.answer((ME, ID.0), b"2".to_vec()), None, "it is answered once");
}

#[test]
fn requests_of_two_nodes_with_one_number_are_two() {
    let mut asking = Asking::default();
    assert_eq!(asking.request(ME, &part(b"1"), at(0)), Came::Whole(b"1".to_vec()));
    assert_eq!(asking.request(OTHER, &part(b"2"), at(0)), Came::Whole(b"2".to_vec()));
}

#[test]
fn what_others_have_asked_is_forgotten_after_6_seconds() {
    let mut asking = Asking::default();
    asking.request(ME, &part(b"?"), at(0));
    asking.answer((ME, ID.0), b"!".to_vec());
    assert_eq!(asking.next_deadline(), at(6_000));
    asking.expire(at(6_000));
    assert_eq!((asking.remembered.len(), asking.remembered_bytes), (0, 0));
    assert_eq!(asking.next_deadline(), Instant::NEVER);
}

#[test]
fn a_request_in_parts_is_carried_out_when_all_have_come_and_answered_once_for_each_round() {
    let mut asking = Asking::default();
    let parts: Vec<_> = Part::all_of(ID.0, b"12345", 2).collect();
    assert_eq!(asking.request(ME, &parts[2], at(0)), Came::Nothing);
    assert_eq!(asking.request(ME, &parts[0], at(0)), Came::Nothing);
    assert_eq!(asking.remembered_bytes, 3);
    assert_eq!(asking.request(ME, &parts[1], at(250)), Came::Whole(b"12345".to_vec()));
    assert_eq!(asking.remembered_bytes, 0);
    asking.answer((ME, ID.0), b"!".to_vec());
    let again: Vec<_> = parts.iter().map(|part| asking.request(ME, part, at(500))).collect();
    assert_eq!(again, [Came::Again(b"!"[..].into()), Came::Nothing, Came::Nothing]);
}

#[test]
fn the_oldest_answer_makes_room_for_a_new_one() {
    let mut asking = Asking::default();
    let mib = |mib: usize| vec![0; mib * 1024 * 1024];
    for id in 0..9 {
        asking.request(ME, &Part { id, ..part(b"?") }, at(0));
        assert!(asking.answer((ME, id), mib(8)).is_some());
        assert!(asking.remembered_bytes <= MAX_REMEMBERED_BYTES);
    }
    let again = |asking: &mut Asking, id| asking.request(ME, &Part { id, ..part(b"?") }, at(1));
    assert_eq!(again(&mut asking, 0), Came::Nothing, "it was carried out, and its answer dropped");
    assert!(matches!(again(&mut asking, 1), Came::Again(_)));
}

#[test]
fn more_requests_than_1024_or_one_above_8_mebibytes_are_not_sent() {
    let mut asking = Asking::default();
    let large = vec![0; MAX_MESSAGE_BYTES + 1];
    assert_eq!(asking.ask((ID, OTHER), large.into(), at(0)), Err(AskError::NoRoom));
    for id in 0..MAX_OPEN as u64 {
        asking.ask((AskId(id), OTHER), b"?"[..].into(), at(0)).unwrap();
    }
    let one_more = (AskId(MAX_OPEN as u64), OTHER);
    assert_eq!(asking.ask(one_more, b"?"[..].into(), at(0)), Err(AskError::NoRoom));
}
