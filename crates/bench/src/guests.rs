//! Connections that a scenario greets and hears by itself, because the books of a crowd do not fit
//! what they are told. Knows how they come and how long they are waited for.

use std::time::Duration;

use crate::driver::{Driver, Nanos, Sink};

/// See the module.
pub trait Guests: Sink {
    /// How many have come and were answered.
    fn ready(&self) -> usize;
    /// What went wrong first.
    fn problem(&self) -> Option<&str>;
}

/// How often a wait looks at its condition when nothing arrives.
const GLANCE: Duration = Duration::from_millis(5);

/// Connects so many, at most `at_once` at a time, and waits until each is answered.
pub fn connect(
    driver: &mut Driver,
    guests: &mut impl Guests,
    (count, at_once): (usize, usize),
    patience: Duration,
) -> Result<(), String> {
    let mut opened = 0;
    let deadline = driver.now() + patience.as_nanos() as Nanos;
    while guests.ready() < count {
        while opened < count && opened - guests.ready() < at_once {
            driver.open(opened).map_err(|error| format!("cannot connect: {error}"))?;
            opened += 1;
        }
        poll(driver, guests, GLANCE)?;
        if driver.now() > deadline {
            return Err(format!("{} of {count} connected in {patience:?}", guests.ready()));
        }
    }
    Ok(())
}

/// Waits until `condition` holds.
pub fn wait<G: Guests>(
    driver: &mut Driver,
    guests: &mut G,
    patience: Duration,
    condition: impl Fn(&G) -> bool,
) -> Result<(), String> {
    let deadline = driver.now() + patience.as_nanos() as Nanos;
    while !condition(guests) {
        if driver.now() > deadline {
            return Err(format!("not settled in {patience:?}"));
        }
        poll(driver, guests, GLANCE)?;
    }
    Ok(())
}

/// Hands over what arrives within `patience`.
pub fn poll(
    driver: &mut Driver,
    guests: &mut impl Guests,
    patience: Duration,
) -> Result<(), String> {
    driver.poll(patience, guests).map_err(|error| format!("cannot poll: {error}"))?;
    guests.problem().map_or(Ok(()), |problem| Err(problem.to_owned()))
}
