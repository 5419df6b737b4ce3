//! When a flush waits, and for how long.

use std::time::Duration;

use herenow_core::{Instant, Pace};

use crate::given::at;

/// What a flush waits for, right after the last one, at so many deliveries per second.
fn wait_at(deliveries_per_second: usize) -> Duration {
    let mut pace = Pace::default();
    // A second of even load: the memory is far shorter.
    for ms in 0..1_000 {
        pace.record(deliveries_per_second / 1_000, at(ms));
    }
    let now = at(999);
    pace.due(now, now).since(now)
}

// P6.10
#[test]
fn a_quiet_loop_flushes_at_once() {
    let pace = Pace::default();
    assert_eq!(pace.due(at(5), at(5)), at(5));
    for load in [0, 1_000, 20_000, 50_000] {
        assert_eq!(wait_at(load), Duration::ZERO, "{load} deliveries per second");
    }
}

// P6.10
#[test]
fn a_busy_loop_waits_longer_the_busier_it_is_and_never_above_ten_milliseconds() {
    let waits = [100_000, 200_000, 400_000, 600_000].map(wait_at);
    assert!(waits[0] > Duration::ZERO, "{waits:?}");
    assert!(waits.windows(2).all(|pair| pair[0] < pair[1]), "{waits:?}");
    assert!(waits[3] <= Duration::from_millis(10), "{waits:?}");
    assert_eq!(wait_at(5_000_000), Duration::from_millis(10));
}

// P6.10
#[test]
fn a_channel_with_enough_to_tell_waits_for_less() {
    let mut pace = Pace::default();
    pace.record(20_000, at(1_000));
    let now = at(1_000);
    assert!(pace.due_early(now, now) > now);
    assert!(pace.due_early(now, now) < pace.due(now, now));
    let idle = Pace::default();
    assert_eq!(idle.due_early(now, now), now);
}

// P6.10
#[test]
fn a_channel_that_was_flushed_long_ago_does_not_wait_in_a_busy_loop() {
    let mut pace = Pace::default();
    pace.record(1_000_000, at(1_000));
    assert_eq!(pace.due(Instant::default(), at(1_000)), at(1_000));
    assert_eq!(pace.due(at(995), at(1_000)), at(1_005));
    assert_eq!(pace.due(at(1_000), at(1_000)), at(1_010));
}

// P6.10
#[test]
fn a_storm_counts_at_once_and_is_soon_forgotten() {
    let mut pace = Pace::default();
    pace.record(100_000, at(0));
    assert!(pace.load(at(0)) > 1_000_000.0);
    assert!(pace.load(at(100)) < pace.load(at(50)));
    assert!(pace.load(at(1_000)) < 1.0);
    assert_eq!(pace.due(at(1_000), at(1_000)), at(1_000));
}

// P6.10
#[test]
fn a_fixed_pace_does_not_look_at_the_load() {
    let mut pace = Pace::fixed(Duration::from_millis(7));
    assert_eq!(pace.due(at(100), at(100)), at(107));
    pace.record(10_000_000, at(100));
    assert_eq!(pace.due(at(100), at(100)), at(107));
}
