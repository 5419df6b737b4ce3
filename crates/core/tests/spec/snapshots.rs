//! How often a connection gets a snapshot, and what becomes of requests above that.

use herenow_core::{Cause, SnapshotRequests, When};

use crate::given::{at, channel};

const HERE: u32 = 4;
const MIB: usize = 1 << 20;

/// What slot 4 asks for at `ms`.
fn asks(requests: &mut SnapshotRequests, ms: u64) -> Vec<String> {
    let mut ready = Vec::new();
    requests.take_ready(at(ms), &mut ready);
    let mut asked = Vec::new();
    if ready.contains(&HERE) {
        while let Some(channel) = requests.next(HERE, at(ms)) {
            asked.push(channel.as_str().to_owned());
        }
    }
    asked
}

fn repeat(requests: &mut SnapshotRequests, name: &str, ms: u64) -> When {
    let when = requests.request(HERE, &channel(name), Cause::Repetition, at(ms));
    if when == When::Now {
        requests.answered(HERE, &channel(name), 100, at(ms));
    }
    when
}

// P8.9
#[test]
fn three_repetitions_come_at_once_and_then_one_a_second() {
    let mut requests = SnapshotRequests::default();
    for _ in 0..3 {
        assert_eq!(repeat(&mut requests, "lobby", 0), When::Now);
    }
    for ms in [0, 1, 500] {
        assert_eq!(repeat(&mut requests, "lobby", ms), When::Later);
    }
    assert_eq!(asks(&mut requests, 999), [""; 0]);
    assert_eq!(requests.poll_timeout(), at(1_000));
    assert_eq!(asks(&mut requests, 1_000), ["lobby"], "one for all that waited");
    requests.answered(HERE, &channel("lobby"), 100, at(1_000));
    assert_eq!(asks(&mut requests, 1_000), [""; 0]);
    for second in 1..20 {
        let ms = second * 1_000 + 1;
        assert_eq!(repeat(&mut requests, "lobby", ms), When::Later);
        assert_eq!(asks(&mut requests, ms), [""; 0]);
        assert_eq!(asks(&mut requests, ms + 999), ["lobby"]);
        requests.answered(HERE, &channel("lobby"), 100, at(ms + 999));
    }
}

// P8.9
#[test]
fn whoever_unsubscribes_and_subscribes_again_gets_no_more_than_one_that_repeats() {
    let mut requests = SnapshotRequests::default();
    let mut answers = 0;
    for ms in (0..10_000).step_by(10) {
        let lobby = channel("lobby");
        if requests.request(HERE, &lobby, Cause::Subscription, at(ms)) == When::Now {
            answers += 1;
            requests.answered(HERE, &lobby, 100, at(ms));
        }
        answers += asks(&mut requests, ms).len();
        requests.ended(HERE, &lobby, at(ms));
    }
    assert!((11..=14).contains(&answers), "{answers} snapshots in ten seconds");
}

// P8.9
#[test]
fn a_connection_gets_so_many_bytes_of_snapshots_whatever_the_number_of_its_channels() {
    let mut requests = SnapshotRequests::default();
    let mut bytes = 0;
    for ms in (0..10_000).step_by(10) {
        for n in 0..100 {
            let name = channel(&format!("n{n}"));
            if requests.request(HERE, &name, Cause::Repetition, at(ms)) == When::Now {
                bytes += 2 * MIB;
                requests.answered(HERE, &name, 2 * MIB, at(ms));
            }
        }
        for name in asks(&mut requests, ms) {
            bytes += 2 * MIB;
            requests.answered(HERE, &channel(&name), 2 * MIB, at(ms));
        }
    }
    assert!(bytes <= (10 * 8 + 16 + 2 * 4) * MIB, "{} MiB in ten seconds", bytes / MIB);
    assert!(bytes >= 10 * 8 * MIB, "the budget can be used: {} MiB", bytes / MIB);
}

// P8.9
#[test]
fn few_are_asked_for_at_once_and_each_answer_lets_the_next_through() {
    let mut requests = SnapshotRequests::default();
    let names: Vec<String> = (0..10).map(|n| format!("n{n}")).collect();
    let when: Vec<When> = names
        .iter()
        .map(|name| requests.request(HERE, &channel(name), Cause::Subscription, at(0)))
        .collect();
    assert_eq!(when.iter().filter(|when| **when == When::Now).count(), 4);
    assert_eq!(asks(&mut requests, 0), [""; 0]);
    for (answered, next) in names.iter().zip(&names[4..]) {
        requests.answered(HERE, &channel(answered), 100, at(0));
        assert_eq!(asks(&mut requests, 0), [next.as_str()]);
    }
}

// P6.9
#[test]
fn who_lags_asks_when_its_socket_has_drained_and_what_was_asked_before_is_void() {
    let mut requests = SnapshotRequests::default();
    let lobby = channel("lobby");
    assert_eq!(requests.request(HERE, &lobby, Cause::Subscription, at(0)), When::Now);
    requests.wait(HERE, &lobby, Cause::Subscription, at(0));
    requests.wait(HERE, &lobby, Cause::Subscription, at(1));
    assert_eq!(asks(&mut requests, 1), [""; 0], "its socket is full");
    requests.wake(HERE);
    assert_eq!(asks(&mut requests, 2), ["lobby"], "once, however often it lagged");
    requests.ended(HERE, &lobby, at(2));
    requests.wake(HERE);
    assert_eq!(asks(&mut requests, 2), [""; 0], "nothing is asked for what has ended");
}

// P8.9
#[test]
fn a_connection_is_remembered_only_while_it_waits_or_has_used_its_budget() {
    let mut requests = SnapshotRequests::default();
    let lobby = channel("lobby");
    requests.request(HERE, &lobby, Cause::Subscription, at(0));
    requests.answered(HERE, &lobby, 100, at(0));
    assert!(requests.is_empty(), "a subscription leaves nothing behind");
    repeat(&mut requests, "lobby", 0);
    requests.sweep(at(999));
    assert_eq!(requests.len(), 1);
    requests.sweep(at(1_000));
    assert!(requests.is_empty());
    requests.wait(HERE, &lobby, Cause::Subscription, at(2_000));
    requests.sweep(at(100_000));
    assert_eq!(requests.len(), 1, "it is still owed a snapshot");
    requests.forget(HERE);
    requests.wake(HERE);
    assert!(requests.is_empty() && !requests.is_ready());
    // However many channels it goes through.
    for n in 0..1_000 {
        requests.ended(HERE, &channel(&format!("n{n}")), at(200_000));
    }
    requests.forget(HERE);
    assert_eq!(requests.poll_timeout(), herenow_core::Instant::NEVER);
}
