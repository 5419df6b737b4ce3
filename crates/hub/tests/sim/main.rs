//! A deterministic simulation of one server and many clients: the hubs of the one and the state
//! machines of the others, as they ship, and a network between them that delays, stalls, cuts and swallows. A seed
//! says all; `make sim SEED=…` replays one and prints what happens.
//!
//! `SIM_SEEDS` says how many seeds are run, beginning with `SIM_FIRST`.

mod application;
mod backend;
mod bounds;
mod chance;
mod client;
mod counting;
mod expiring;
mod follower;
mod frames;
mod history;
mod network;
mod observer;
mod plan;
mod seeds;
mod server;
mod shell;
mod stage;
mod storm;
mod world;

use std::sync::Once;

use herenow_hub::is_contained;

use self::seeds::{number_from, run_all};
use self::stage::{Tally, Trace};

/// How many seeds an ordinary test run takes.
const FEW: u64 = 1_000;

/// A contained fault is part of a run: a report of each would take most of its time.
fn report_no_contained_fault() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !is_contained() {
                report(panic);
            }
        }));
    });
}

#[test]
fn whatever_happens_everybody_ends_with_the_truth() {
    report_no_contained_fault();
    if let Some(seed) = number_from("SIM_SEED") {
        println!("seed {seed}: {:?}", world::run(seed, Trace::Printed));
        return;
    }
    let first = number_from("SIM_FIRST").unwrap_or(0);
    let count = number_from("SIM_SEEDS").unwrap_or(FEW);
    let run = |seed| world::run(seed, Trace::Silent);
    let (failed, tally) = run_all((first, count), run, Tally::add);
    println!("{tally:?}");
    if let Some((seed, why)) = failed {
        panic!("seed {seed} fails, replay it with `make sim SEED={seed}`: {why}");
    }
    assert!(tally.misses_nothing(), "something rare never happened: {tally:?}");
}

#[test]
fn a_seed_repeats_to_the_byte() {
    report_no_contained_fault();
    for seed in 0..20 {
        let run = || world::run(seed, Trace::Silent);
        assert_eq!(run(), run(), "seed {seed}");
    }
}
