//! What one run is made of, drawn from its seed.

use crate::chance::Chance;
use crate::clock::{Clock, MS, Micros, SECOND};

pub struct Plan {
    pub nodes: usize,
    pub clocks: Vec<Clock>,
    /// The longest that anything is under way.
    pub longest_delay: Micros,
    /// So many of a thousand messages are lost.
    pub lost: u64,
    /// So many of a thousand messages come twice.
    pub doubled: u64,
    /// Whether the bucket may be lost or restored.
    pub bucket_suffers: bool,
    /// Whether reads may give what was there before.
    pub reads_lag: bool,
    pub max_payload_bytes: usize,
    /// The longest that mail between an exchange and a loop is under way.
    pub longest_mail: Micros,
    /// One of so many pieces of mail finds its loop busy with something else.
    pub busy_every: u64,
    /// Whether changes wait before they are flushed.
    pub is_lazy: bool,
    /// How long the members of a node that is gone stay.
    pub grace: Micros,
    /// How long things go wrong.
    pub storm: Micros,
    /// How often something goes wrong, on average.
    pub every: Micros,
}

/// How long everything is well afterwards.
pub const CALM: Micros = 40 * SECOND;

impl Plan {
    pub fn draw(chance: &mut Chance) -> Self {
        let nodes = chance.between(1, 5) as usize;
        Self {
            nodes,
            clocks: (0..nodes).map(|_| clock(chance)).collect(),
            longest_delay: [2 * MS, 20 * MS, 300 * MS, 2 * SECOND][chance.index(4)],
            lost: [0, 5, 50, 200][chance.index(4)],
            doubled: [0, 10, 100][chance.index(3)],
            bucket_suffers: chance.one_in(4),
            reads_lag: chance.one_in(4),
            max_payload_bytes: [1_100, 4_096, 64 * 1024][chance.index(3)],
            longest_mail: [0, MS, 10 * MS][chance.index(3)],
            busy_every: [20, 300][chance.index(2)],
            is_lazy: chance.one_in(2),
            grace: [0, 3 * SECOND][chance.index(2)],
            storm: chance.between(10, 60) * SECOND,
            every: [400 * MS, 2 * SECOND, 6 * SECOND][chance.index(3)],
        }
    }
}

fn clock(chance: &mut Chance) -> Clock {
    let hour = 3_600;
    let wall_offset = match chance.below(4) {
        0 => chance.between(0, 2 * hour) as i64 - hour as i64,
        _ => 0,
    };
    Clock {
        begins_at: chance.below(1_000 * SECOND),
        per_mille: if chance.one_in(4) { 1_050 } else { 1_000 },
        wall_offset,
    }
}
