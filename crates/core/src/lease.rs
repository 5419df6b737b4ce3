//! Who has been heard from, and for how long not: one dense array for all connections of a loop,
//! looked over four times a second. A timer per connection would cost more than the connection.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Instant;

/// How often the leases are looked over: the most by which an end comes late.
pub const SCAN_EVERY: Duration = Duration::from_millis(250);

/// How late a look may come before it counts as a pause of the process itself.
pub const PAUSE_AFTER: Duration = Duration::from_secs(1);

/// What is due for a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    /// It has been silent for half its lease: ping it.
    Ping(u32),
    /// It has been silent for its whole lease: it is gone.
    Ended(u32),
    /// The deadline set for it has come.
    Deadline(u32),
}

/// What was heard last of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[repr(u8)]
pub enum Heard {
    /// Nothing since it opened.
    Opening,
    /// A message, or a part of one.
    Message,
    /// A ping of WebSocket.
    Ping,
    /// A pong of WebSocket.
    Pong,
    /// A close frame.
    Close,
}

/// The leases of all connections of one loop, by slot.
#[derive(Debug)]
pub struct Leases {
    ttl_ms: u32,
    scanned_at: Instant,
    leases: Vec<Lease>,
    /// The connections whose lease is longer than all others'.
    longer: BTreeMap<u32, u32>,
}

/// 16 bytes a connection.
#[derive(Debug, Clone, Copy)]
struct Lease {
    /// Milliseconds since the server's start, wrapping after 49 days: only differences count.
    heard_ms: u32,
    heard: Heard,
    phase: Phase,
    deadline: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Vacant,
    Heard,
    Pinged,
    /// Its end was said.
    Over,
}

impl Leases {
    /// Leases of `ttl` each.
    pub fn new(ttl: Duration, now: Instant) -> Self {
        let ttl_ms = whole_ms(ttl);
        Self { ttl_ms, scanned_at: now, leases: Vec::new(), longer: BTreeMap::new() }
    }

    /// A connection has taken `slot`.
    pub fn open(&mut self, slot: u32, now: Instant) {
        let (heard, deadline) = (Heard::Opening, Instant::NEVER);
        let vacant = Lease { heard_ms: 0, heard, phase: Phase::Vacant, deadline };
        let slot = slot as usize;
        if slot >= self.leases.len() {
            self.leases.resize(slot + 1, vacant);
        }
        self.leases[slot] = Lease { heard_ms: wrapping_ms(now), phase: Phase::Heard, ..vacant };
    }

    /// The connection in `slot` is gone.
    pub fn close(&mut self, slot: u32) {
        self.longer.remove(&slot);
        if let Some(lease) = self.leases.get_mut(slot as usize) {
            lease.phase = Phase::Vacant;
        }
    }

    /// The lease of `slot` lasts at least as long as `ttl`.
    pub fn extend(&mut self, slot: u32, ttl: Duration) {
        let ttl_ms = whole_ms(ttl);
        if ttl_ms > self.ttl_ms {
            let longest = self.longer.entry(slot).or_insert(ttl_ms);
            *longest = ttl_ms.max(*longest);
        }
    }

    /// The lease of `slot` is no longer than the others', until it is extended again.
    pub fn set_to_common(&mut self, slot: u32) {
        self.longer.remove(&slot);
    }

    /// For how long `slot` has not been heard from.
    pub fn silent_for(&self, slot: u32, now: Instant) -> Duration {
        let heard_ms = self.leases.get(slot as usize).map(|lease| lease.heard_ms);
        let silent_ms = heard_ms.map_or(0, |heard_ms| wrapping_ms(now).wrapping_sub(heard_ms));
        Duration::from_millis(silent_ms.into())
    }

    /// What was heard last of `slot`.
    pub fn last_heard(&self, slot: u32) -> Heard {
        self.leases.get(slot as usize).map_or(Heard::Opening, |lease| lease.heard)
    }

    /// A whole frame came from `slot`.
    pub fn renew(&mut self, slot: u32, heard: Heard, now: Instant) {
        if let Some(lease) = self.leases.get_mut(slot as usize)
            && lease.phase != Phase::Vacant
        {
            lease.heard_ms = wrapping_ms(now);
            lease.heard = heard;
            lease.phase = Phase::Heard;
        }
    }

    /// Sets when `slot` is to be looked at whatever it sends. Met up to one scan late.
    pub fn set_deadline(&mut self, slot: u32, deadline: Instant) {
        if let Some(lease) = self.leases.get_mut(slot as usize) {
            lease.deadline = deadline;
        }
    }

    /// When to scan next.
    pub fn poll_timeout(&self) -> Instant {
        self.scanned_at + SCAN_EVERY
    }

    /// How long the process itself was paused since the last look, which shows by this one's being
    /// late: nobody could be heard meanwhile.
    pub fn pause(&self, now: Instant) -> Duration {
        let late = now.since(self.scanned_at + SCAN_EVERY);
        if late > PAUSE_AFTER { late } else { Duration::ZERO }
    }

    /// Looks everybody over. Every lease is longer by a pause of the process, once.
    pub fn scan(&mut self, now: Instant, out: &mut Vec<Due>) {
        let pause_ms = self.pause(now).as_millis() as u32;
        self.scanned_at = now;
        let now_ms = wrapping_ms(now);
        for (slot, lease) in (0u32..).zip(&mut self.leases) {
            if lease.phase == Phase::Vacant {
                continue;
            }
            if now >= lease.deadline {
                lease.deadline = Instant::NEVER;
                out.push(Due::Deadline(slot));
            }
            // Who was heard after the pause began gains nothing by it beyond the present.
            let silent_ms = now_ms.wrapping_sub(lease.heard_ms);
            let extended = pause_ms.min(silent_ms);
            lease.heard_ms = lease.heard_ms.wrapping_add(extended);
            let silent_ms = silent_ms - extended;
            let is_over = lease.phase != Phase::Over
                && silent_ms > self.ttl_ms
                && self.longer.get(&slot).is_none_or(|longer_ms| silent_ms > *longer_ms);
            if is_over {
                // Said once; the socket lingers a while, until `close`.
                lease.phase = Phase::Over;
                out.push(Due::Ended(slot));
            } else if silent_ms >= self.ttl_ms / 2 && lease.phase == Phase::Heard {
                lease.phase = Phase::Pinged;
                out.push(Due::Ping(slot));
            }
        }
    }
}

fn whole_ms(ttl: Duration) -> u32 {
    u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX / 2)
}

fn wrapping_ms(now: Instant) -> u32 {
    now.as_millis() as u32
}
