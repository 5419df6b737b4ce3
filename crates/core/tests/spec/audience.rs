//! What each subscriber of one loop is owed of a flush.

use herenow_core::{Audience, Part, Phase, RequestId, SnapshotFor, Subscriber};
use herenow_wire::ChannelName;

use crate::given::channel;

const HERE: u32 = 4;

fn lobby() -> ChannelName {
    channel("lobby")
}

/// Slot 4 in the given phase.
fn subscriber(phase: Phase) -> Subscriber {
    Subscriber { slot: HERE, phase }
}

fn phase(audience: &mut Audience) -> Phase {
    assert_eq!(audience.count(&lobby()), 1);
    audience.subscribers(&lobby()).next().expect("one is there").phase
}

/// What everybody takes of a flush, by slot.
fn take(audience: &mut Audience, snapshot_for: SnapshotFor) -> Vec<(u32, Option<Part>)> {
    audience.subscribers(&lobby()).map(|one| (one.slot, one.take(snapshot_for))).collect()
}

// P6.2
#[test]
fn what_a_subscriber_takes_follows_from_its_phase_and_from_what_is_owed() {
    let asked = |request_id| Phase::Requested(RequestId(request_id));
    let (deltas, snapshot) = (Some(Part::Deltas), Some(Part::Snapshot));
    let (up_to, to_all) = (
        |request_id| SnapshotFor::UpTo(RequestId(request_id)),
        |request_id| SnapshotFor::All(RequestId(request_id)),
    );
    for (before, snapshot_for, part, after) in [
        (Phase::Live, SnapshotFor::None, deltas, Phase::Live),
        (Phase::Live, up_to(9), deltas, Phase::Live),
        (Phase::Live, to_all(9), snapshot, Phase::Live),
        (asked(5), SnapshotFor::None, None, asked(5)),
        (asked(5), up_to(4), None, asked(5)),
        (asked(5), up_to(5), snapshot, Phase::Live),
        (asked(5), up_to(6), snapshot, Phase::Live),
        (asked(5), to_all(5), snapshot, Phase::Live),
        (asked(5), to_all(4), None, asked(5)),
        (Phase::Lagging, SnapshotFor::None, None, Phase::Lagging),
        (Phase::Lagging, up_to(9), None, Phase::Lagging),
        (Phase::Lagging, to_all(9), None, Phase::Lagging),
    ] {
        let mut one = subscriber(before);
        assert_eq!(one.take(snapshot_for), part, "{before:?} of {snapshot_for:?}");
        assert_eq!(one, subscriber(after), "{before:?} of {snapshot_for:?}");
    }
}

// P6.7
#[test]
fn a_rebuilt_snapshot_that_crosses_with_a_wish_is_no_answer_to_it() {
    // It was made before the wish came, and so before the member that was sent ahead of the wish.
    let mut audience = Audience::default();
    let old = audience.listen(&lobby(), 1);
    let new = audience.listen(&lobby(), 2);
    assert_eq!(take(&mut audience, SnapshotFor::All(old)), [(1, Some(Part::Snapshot)), (2, None)]);
    assert_eq!(take(&mut audience, SnapshotFor::None), [(1, Some(Part::Deltas)), (2, None)]);
    assert_eq!(
        take(&mut audience, SnapshotFor::UpTo(new)),
        [(1, Some(Part::Deltas)), (2, Some(Part::Snapshot))]
    );
}

// P6.2
#[test]
fn wishes_are_numbered_and_the_numbers_may_wrap() {
    assert!(RequestId(5).is_answered_by(RequestId(5)));
    assert!(RequestId(5).is_answered_by(RequestId(6)));
    assert!(!RequestId(6).is_answered_by(RequestId(5)));
    assert!(RequestId(u32::MAX).is_answered_by(RequestId(0)));
    assert!(!RequestId(0).is_answered_by(RequestId(u32::MAX)));
    let mut audience = Audience::default();
    let asks = [1, 2, 3].map(|slot| audience.listen(&lobby(), slot));
    assert_eq!(asks, [RequestId(1), RequestId(2), RequestId(3)]);
}

// P6.2
#[test]
fn a_new_subscriber_gets_nothing_before_its_snapshot() {
    let mut audience = Audience::default();
    let request_id = audience.listen(&lobby(), HERE);
    assert_eq!(phase(&mut audience), Phase::Requested(request_id));
    assert_eq!(take(&mut audience, SnapshotFor::None), [(HERE, None)]);
    assert_eq!(take(&mut audience, SnapshotFor::UpTo(request_id)), [(HERE, Some(Part::Snapshot))]);
    assert_eq!(take(&mut audience, SnapshotFor::None), [(HERE, Some(Part::Deltas))]);
}

// P4.11
#[test]
fn who_asks_again_gets_no_delta_until_the_answer() {
    let mut audience = Audience::default();
    let first = audience.listen(&lobby(), HERE);
    take(&mut audience, SnapshotFor::UpTo(first));
    let second = audience.request_again(&lobby(), HERE).expect("it is a subscriber");
    assert_ne!(first, second);
    assert_eq!(take(&mut audience, SnapshotFor::UpTo(first)), [(HERE, None)]);
    assert_eq!(take(&mut audience, SnapshotFor::UpTo(second)), [(HERE, Some(Part::Snapshot))]);
}

// P6.9
#[test]
fn a_subscriber_that_lags_gets_nothing_until_it_has_drained_and_then_one_snapshot() {
    let mut audience = Audience::default();
    let first = audience.listen(&lobby(), HERE);
    take(&mut audience, SnapshotFor::UpTo(first));
    audience.lag(&lobby(), HERE);
    assert_eq!(take(&mut audience, SnapshotFor::None), [(HERE, None)]);
    assert_eq!(
        audience.request_again(&lobby(), HERE),
        None,
        "it asks by itself when it has drained"
    );
    let request_id = audience.catch_up(&lobby(), HERE).expect("it lags");
    assert_eq!(phase(&mut audience), Phase::Requested(request_id));
    assert_eq!(take(&mut audience, SnapshotFor::UpTo(request_id)), [(HERE, Some(Part::Snapshot))]);
}

// P6.9
#[test]
fn a_snapshot_that_was_dropped_is_asked_for_anew() {
    let mut audience = Audience::default();
    let dropped = audience.listen(&lobby(), HERE);
    audience.lag(&lobby(), HERE);
    assert_eq!(take(&mut audience, SnapshotFor::UpTo(dropped)), [(HERE, None)]);
    let request_id = audience.catch_up(&lobby(), HERE).expect("it lags");
    assert_eq!(take(&mut audience, SnapshotFor::UpTo(dropped)), [(HERE, None)]);
    assert_eq!(take(&mut audience, SnapshotFor::UpTo(request_id)), [(HERE, Some(Part::Snapshot))]);
}

// P6.9
#[test]
fn who_does_not_lag_or_is_gone_has_nothing_to_catch_up_with() {
    let mut audience = Audience::default();
    let request_id = audience.listen(&lobby(), HERE);
    assert_eq!(audience.catch_up(&lobby(), HERE), None);
    take(&mut audience, SnapshotFor::UpTo(request_id));
    assert_eq!(audience.catch_up(&lobby(), HERE), None);
    audience.lag(&lobby(), HERE);
    audience.unlisten(&lobby(), HERE);
    assert_eq!(audience.catch_up(&lobby(), HERE), None);
    assert_eq!(audience.request_again(&lobby(), HERE), None);
    audience.lag(&lobby(), HERE);
    assert_eq!(audience.subscriptions(), 0);
}

// P9.6
#[test]
fn after_a_fault_nobody_takes_anything_of_the_new_life_before_the_shard_knows_of_all() {
    let mut audience = Audience::default();
    let first = audience.listen(&lobby(), 1);
    take(&mut audience, SnapshotFor::UpTo(first));
    let on_its_way = audience.listen(&lobby(), 2);
    audience.listen(&lobby(), 3);
    audience.lag(&lobby(), 3);
    let request_id = audience.request_for_all(&lobby());
    let nothing = [(1, None), (2, None), (3, None)];
    assert_eq!(take(&mut audience, SnapshotFor::None), nothing);
    assert_eq!(take(&mut audience, SnapshotFor::UpTo(on_its_way)), nothing);
    assert_eq!(
        take(&mut audience, SnapshotFor::All(request_id)),
        [(1, Some(Part::Snapshot)), (2, Some(Part::Snapshot)), (3, None)]
    );
}

// P9.6
#[test]
fn a_fault_concerns_the_channels_of_its_own_shard() {
    let mut audience = Audience::default();
    let (one, other) = (channel("lobby"), channel("garden"));
    assert_ne!(one.shard(), other.shard());
    audience.listen(&one, 1);
    audience.listen(&other, 1);
    assert_eq!(audience.channels_of(one.shard()), [one]);
}

// P4.7
#[test]
fn the_last_to_go_is_known_as_the_last() {
    let mut audience = Audience::default();
    audience.listen(&lobby(), 1);
    audience.listen(&lobby(), 2);
    audience.listen(&channel("garden"), 1);
    assert_eq!((audience.channels(), audience.subscriptions()), (2, 3));
    assert!(!audience.unlisten(&lobby(), 1));
    assert!(!audience.unlisten(&lobby(), 1), "it is gone already");
    assert!(audience.unlisten(&lobby(), 2));
    assert!(!audience.unlisten(&lobby(), 2), "nobody is left to be the last");
    assert_eq!((audience.channels(), audience.subscriptions()), (1, 1));
    assert_eq!(audience.count(&lobby()), 0);
}

// P1.2
#[test]
fn a_name_is_stored_once_however_many_subscribe() {
    let mut audience = Audience::default();
    let first = lobby();
    audience.listen(&first, 1);
    let known = audience.canonical(lobby());
    assert!(std::ptr::eq(known.as_str(), first.as_str()));
    let unknown = channel("garden");
    let address = unknown.as_str().as_ptr();
    assert_eq!(audience.canonical(unknown).as_str().as_ptr(), address);
}
