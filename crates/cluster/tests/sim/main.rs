//! A deterministic simulation of a cluster: the nodes as they ship, and an engine that delays, loses,
//! doubles, is down, forgets its bucket, gives an old one back and leaves the outcome of a swap
//! unknown. A seed says all.
//!
//! Each node has its exchange and one to three loops, with the replicas that ship. The loops are
//! stand-ins (`hub.rs`), and so are their connections (`sessions.rs`): they show that what the exchange
//! promises is enough for homes and copies. Mail between an exchange and a loop takes its time.
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
mod hub;
mod network;
mod people;
mod plan;
mod process;
#[path = "../../../hub/tests/sim/seeds.rs"]
mod seeds;
mod sessions;
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
