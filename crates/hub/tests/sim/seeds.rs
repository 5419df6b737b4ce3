//! Runs seeds of a simulation on all cores, up to the first that fails.

use std::panic::{RefUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// The seed that failed, if one did, with what its panic says; and the tallies of all others, which
/// `add` puts together.
pub fn run_all<T: Default + Send>(
    (first, count): (u64, u64),
    run: impl Fn(u64) -> T + Sync + RefUnwindSafe,
    add: impl Fn(&mut T, T) + Sync,
) -> (Option<(u64, String)>, T) {
    let next = AtomicU64::new(first);
    let failed: Mutex<Option<(u64, String)>> = Mutex::new(None);
    let all = Mutex::new(T::default());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while failed.lock().expect("nobody panics with it").is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    match catch_unwind(|| run(seed)) {
                        Ok(tally) => add(&mut all.lock().expect("nobody panics with it"), tally),
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

/// A number in the environment.
pub fn number_from(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a whole number"))
}
