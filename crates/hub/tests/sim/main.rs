//! A deterministic simulation of many clients and one server, or the nodes of a cluster: the hubs and
//! exchanges of the one and the state machines of the others, as they ship, and networks between them that delay,
//! stall, cut, lose, double and swallow. A seed says all; `make sim SEED=…` replays one and prints what happens.
//!
//! `SIM_SEEDS` says how many seeds are run, beginning with `SIM_FIRST`.

mod application;
mod backend;
mod bounds;
mod chance;
mod client;
#[path = "../../../cluster/tests/sim/clock.rs"]
mod clock;
mod cluster;
mod counting;
#[path = "../../../cluster/tests/sim/engine.rs"]
mod engine;
mod expiring;
mod follower;
mod frames;
mod history;
mod homes;
mod network;
mod observer;
mod plan;
mod seeds;
mod server;
mod shell;
mod stage;
mod stopping;
mod storm;
mod world;

use std::sync::Once;

use herenow_hub::is_contained;

use self::chance::Chance;
use self::plan::Plan;
use self::seeds::{number_from, run_all};
use self::stage::{Tally, Trace};

/// How many seeds an ordinary test run takes: it is not optimised, and `make sim` runs many more.
const FEW: u64 = 100;
/// Among so many seeds everything that is drawn happens at least once.
const ENOUGH: u64 = 500;

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
    let tally = run_or_replay(Plan::draw, "");
    assert!(tally.is_none_or(|tally| tally.misses_nothing()), "something rare never happened");
}

#[test]
fn whatever_happens_to_nodes_everybody_ends_with_the_truth() {
    let tally = run_or_replay(Plan::draw_cluster, " OF=nodes");
    let has_all = |tally: Tally| tally.misses_nothing_of_a_cluster();
    assert!(tally.is_none_or(has_all), "something rare never happened");
}

/// Runs the seeds that the environment names, or replays the one that it names. Gives what has happened in
/// them, if they are enough.
fn run_or_replay(plan: fn(&mut Chance) -> Plan, of: &str) -> Option<Tally> {
    report_no_contained_fault();
    if let Some(seed) = number_from("SIM_SEED") {
        println!("seed {seed}: {:?}", world::run(seed, plan, Trace::Printed));
        return None;
    }
    let first = number_from("SIM_FIRST").unwrap_or(0);
    let count = number_from("SIM_SEEDS").unwrap_or(FEW);
    let run = |seed| world::run(seed, plan, Trace::Silent);
    let (failed, tally) = run_all((first, count), run, Tally::add);
    println!("{tally:?}");
    if let Some((seed, why)) = failed {
        panic!("seed {seed} fails, replay it with `make sim SEED={seed}{of}`: {why}");
    }
    (count >= ENOUGH).then_some(tally)
}

#[test]
fn a_seed_repeats_to_the_byte() {
    report_no_contained_fault();
    for seed in 0..20 {
        let run = || world::run(seed, Plan::draw, Trace::Silent);
        assert_eq!(run(), run(), "seed {seed}");
        let run = || world::run(seed, Plan::draw_cluster, Trace::Silent);
        assert_eq!(run(), run(), "seed {seed} of a cluster");
    }
}
