//! A deterministic simulation of a cluster: the nodes as they ship, and an engine that delays, loses,
//! doubles, is down, forgets its bucket, gives an old one back and leaves the outcome of a swap
//! unknown. A seed says all.
//!
//! What the nodes carry for each other is a stand-in (`owner.rs`): one connection of each node in a
//! few channels. It is there to show that what the links and the collecting promise is enough for
//! homes and copies; the shards that ship take its place when they are joined to this machine.
//!
//! `SIM_SEEDS` says how many seeds are run, beginning with `SIM_FIRST`; `make sim SEED=… OF=cluster`
//! replays one and prints what happens.

// The simulation of the hub uses more of it.
#[allow(dead_code)]
#[path = "../../../hub/tests/sim/chance.rs"]
mod chance;
mod channels;
mod check;
mod clock;
mod engine;
mod network;
mod owner;
mod people;
mod plan;
#[path = "../../../hub/tests/sim/seeds.rs"]
mod seeds;
mod storm;
mod subscriber;
mod tally;
mod watch;
mod world;

use self::seeds::{number_from, run_all};
use self::world::Trace;

/// How many seeds an ordinary test run takes.
const FEW: u64 = 100;

#[test]
fn whatever_happens_the_nodes_end_with_one_view_and_the_truth() {
    if let Some(seed) = number_from("SIM_SEED") {
        println!("seed {seed}: {:?}", world::run(seed, Trace::Printed));
        return;
    }
    let first = number_from("SIM_FIRST").unwrap_or(0);
    let count = number_from("SIM_SEEDS").unwrap_or(FEW);
    let run = |seed| world::run(seed, Trace::Silent);
    let (failed, tally) = run_all((first, count), run, |all, one| all.add(&one));
    println!("{tally:?}");
    if let Some((seed, why)) = failed {
        panic!("seed {seed} fails, replay it with `make sim SEED={seed} OF=cluster`: {why}");
    }
    assert!(tally.misses_nothing(), "something rare never happened: {tally:?}");
}

#[test]
fn a_seed_repeats() {
    for seed in 0..5 {
        let run = || world::run(seed, Trace::Silent);
        assert_eq!(run(), run(), "seed {seed}");
    }
}
