//! Who is pinged, who has been silent too long, and what a pause of the process does.

use std::time::Duration;

use herenow_core::{Due, Heard, Instant, Leases, SCAN_EVERY};

use crate::given::at;

const TTL_MS: u64 = 60_000;
const STEP_MS: u64 = SCAN_EVERY.as_millis() as u64;

/// Leases, looked over as often as they ask for it.
struct Clock {
    leases: Leases,
    now_ms: u64,
}

impl Clock {
    /// Slot 0 was opened at `ms`.
    fn opened_at(ms: u64) -> Self {
        let mut leases = Leases::new(Duration::from_millis(TTL_MS), at(ms));
        leases.open(0, at(ms));
        Self { leases, now_ms: ms }
    }

    /// What is due until `ms`, and when it was found.
    fn run_until(&mut self, ms: u64) -> Vec<(u64, Due)> {
        let mut found = Vec::new();
        while self.now_ms + STEP_MS <= ms {
            found.extend(self.look_at(self.now_ms + STEP_MS).map(|due| (self.now_ms, due)));
        }
        found
    }

    fn look_at(&mut self, ms: u64) -> std::vec::IntoIter<Due> {
        let mut dues = Vec::new();
        self.leases.scan(at(ms), &mut dues);
        self.now_ms = ms;
        assert_eq!(self.leases.poll_timeout(), at(ms) + SCAN_EVERY);
        dues.into_iter()
    }
}

// P7.2
#[test]
fn half_a_lease_of_silence_is_answered_with_one_ping() {
    let mut clock = Clock::opened_at(0);
    assert_eq!(clock.run_until(TTL_MS), [(30_000, Due::Ping(0))]);
}

// P7.3
#[test]
fn a_lease_ends_after_the_whole_ttl_and_less_than_a_second_late() {
    for heard_ms in [0, 1, 249, 250, 333] {
        let mut clock = Clock::opened_at(0);
        clock.run_until(heard_ms);
        clock.leases.renew(0, Heard::Message, at(heard_ms));
        let found = clock.run_until(TTL_MS + heard_ms + 1_000);
        let [(_, Due::Ping(0)), (ended_ms, Due::Ended(0))] = found[..] else {
            panic!("a ping and an end were due, not {found:?}");
        };
        assert!(ended_ms > TTL_MS + heard_ms, "{ended_ms} is before the TTL");
        assert!(ended_ms <= TTL_MS + heard_ms + 1_000, "{ended_ms} is late");
    }
}

// P7.3
#[test]
fn no_lease_ends_a_microsecond_early_where_time_is_counted_in_milliseconds() {
    let mut leases = Leases::new(Duration::from_millis(TTL_MS), at(0));
    let heard_us = 999;
    leases.open(0, Instant::from_micros(heard_us));
    let mut dues = Vec::new();
    for ms in (STEP_MS..TTL_MS).step_by(STEP_MS as usize) {
        leases.scan(at(ms), &mut dues);
    }
    leases.scan(Instant::from_micros(TTL_MS * 1_000 + heard_us - 1), &mut dues);
    assert_eq!(dues, [Due::Ping(0)]);
}

// P7.1
#[test]
fn a_whole_frame_renews_the_lease_and_earns_a_ping_of_its_own() {
    let mut clock = Clock::opened_at(0);
    assert_eq!(clock.run_until(30_000), [(30_000, Due::Ping(0))]);
    clock.leases.renew(0, Heard::Message, at(30_000));
    assert_eq!(clock.run_until(90_000), [(60_000, Due::Ping(0))]);
    clock.leases.renew(0, Heard::Message, at(90_000));
    assert_eq!(clock.run_until(119_000), []);
}

// P7.3
#[test]
fn an_end_is_said_once_until_the_slot_is_closed() {
    let mut clock = Clock::opened_at(0);
    clock.run_until(TTL_MS);
    assert_eq!(clock.run_until(TTL_MS + 5_000), [(TTL_MS + STEP_MS, Due::Ended(0))]);
    clock.leases.close(0);
    assert_eq!(clock.run_until(4 * TTL_MS), []);
}

// P7.1
#[test]
fn a_closed_slot_is_silent_and_its_next_connection_starts_anew() {
    let mut clock = Clock::opened_at(0);
    clock.leases.close(0);
    clock.leases.renew(0, Heard::Message, at(10_000));
    assert_eq!(clock.run_until(50_000), []);
    clock.leases.open(0, at(50_000));
    assert_eq!(clock.run_until(109_000), [(80_000, Due::Ping(0))]);
}

// P7.1
#[test]
fn slots_are_looked_at_one_by_one_and_unknown_ones_harm_nobody() {
    let mut clock = Clock::opened_at(0);
    clock.leases.open(5, at(0));
    clock.leases.renew(99, Heard::Message, at(0));
    clock.leases.close(99);
    clock.leases.set_deadline(99, at(0));
    clock.run_until(20_000);
    clock.leases.renew(5, Heard::Message, at(20_000));
    assert_eq!(clock.run_until(50_000), [(30_000, Due::Ping(0)), (50_000, Due::Ping(5))]);
}

// P3.4
#[test]
fn a_deadline_is_met_once_and_frames_do_not_move_it() {
    let mut clock = Clock::opened_at(0);
    clock.leases.set_deadline(0, at(5_000));
    clock.run_until(4_000);
    clock.leases.renew(0, Heard::Message, at(4_000));
    assert_eq!(clock.run_until(10_000), [(5_000, Due::Deadline(0))]);
    clock.leases.set_deadline(0, Instant::NEVER);
    assert_eq!(clock.run_until(20_000), []);
}

// P7.5
#[test]
fn a_pause_of_the_process_extends_every_lease_by_its_length_once() {
    let mut clock = Clock::opened_at(0);
    clock.run_until(20_000);
    // 90 s in which nobody could be heard: 20 s of silence count.
    assert_eq!(clock.look_at(110_000 + STEP_MS).collect::<Vec<_>>(), []);
    let found = clock.run_until(180_000);
    assert_eq!(found, [(120_000, Due::Ping(0)), (150_000 + STEP_MS, Due::Ended(0))]);
}

// P7.5
#[test]
fn who_was_heard_right_after_a_pause_gains_nothing_by_it() {
    let mut clock = Clock::opened_at(0);
    clock.run_until(20_000);
    // What had arrived meanwhile is read before the leases are looked over.
    clock.leases.renew(0, Heard::Message, at(110_000));
    assert_eq!(clock.look_at(110_000).collect::<Vec<_>>(), []);
    let found = clock.run_until(171_000);
    assert_eq!(found, [(140_000, Due::Ping(0)), (170_000 + STEP_MS, Due::Ended(0))]);
}

// P7.5
#[test]
fn a_look_that_comes_a_second_late_is_no_pause() {
    let mut clock = Clock::opened_at(0);
    clock.run_until(59_500);
    let late_ms = 59_500 + STEP_MS + 1_000;
    assert_eq!(clock.look_at(late_ms).collect::<Vec<_>>(), [Due::Ended(0)]);
}

// P7.5
#[test]
fn a_server_that_has_run_for_49_days_still_counts_right() {
    let wraps_ms = u64::from(u32::MAX) + 1;
    let mut clock = Clock::opened_at(wraps_ms - 30_000);
    let found = clock.run_until(wraps_ms + 31_000);
    assert_eq!(found, [(wraps_ms, Due::Ping(0)), (wraps_ms + 30_000 + STEP_MS, Due::Ended(0))]);
}
