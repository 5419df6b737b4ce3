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
mod copies;
mod engine;
mod home;
mod network;
mod owed;
mod owner;
mod plan;
mod storm;
mod tally;
mod watch;
mod world;

use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use self::tally::Tally;
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
    let (failed, tally) = run_all(first, number_from("SIM_SEEDS").unwrap_or(FEW));
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

/// Runs so many seeds on all cores, up to the first that fails.
fn run_all(first: u64, count: u64) -> (Option<(u64, String)>, Tally) {
    let next = AtomicU64::new(first);
    let failed: Mutex<Option<(u64, String)>> = Mutex::new(None);
    let all = Mutex::new(Tally::default());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while failed.lock().expect("nobody panics with it").is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    match catch_unwind(|| world::run(seed, Trace::Silent)) {
                        Ok(tally) => all.lock().expect("nobody panics with it").add(&tally),
                        Err(panic) => {
                            let fixed = panic.downcast_ref::<&str>().map(|why| why.to_string());
                            let why = panic.downcast_ref::<String>().cloned().or(fixed);
                            let why = why.unwrap_or_default();
                            *failed.lock().expect("nobody panics with it") = Some((seed, why));
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("nobody panics with it");
    (failed, all.into_inner().expect("nobody panics with it"))
}

fn number_from(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a whole number"))
}
