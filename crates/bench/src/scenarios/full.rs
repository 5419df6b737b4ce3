//! Updates as many as it takes: the highest rate at which a server keeps up.
//!
//! Counted in updates covered, since merging is how a server can take more. The rate
//! grows by half until the server falls behind, then the last step is halved a few times.
//! Where the driver's own core was full at the best rate, the limit was the driver's.

use std::time::Duration;

use super::{Case, Effort, Load, SETTLING, Trial};
use crate::crowd::{Crowd, Pace};
use crate::driver::Driver;
use crate::ledger::Shape;
use crate::measure::{Numbers, Spent, Window};
use crate::server::Settings;

/// A server keeps up where it covers this share of what was sent in the same time ...
const KEEPS_UP: f64 = 0.95;
/// ... and nothing waits longer than this.
const KEEPS_UP_P99_MS: f64 = 100.0;
const STEP: f64 = 1.5;
/// The limit that a connection has by default is for its protection, and comes before
/// the server's own.
const MESSAGES_PER_SECOND: u32 = 100_000;

/// See the module.
pub struct Full {
    pub members: usize,
    pub probe: Duration,
    pub refinements: usize,
}

pub fn cases(effort: Effort) -> Vec<Case> {
    let (probe, refinements, runs) = match effort {
        Effort::Short => (Duration::from_millis(400), 1, 1),
        Effort::Full => (Duration::from_millis(1500), 3, 3),
    };
    let case = |members| Case {
        scenario: "full",
        name: format!("1 x {members}"),
        runs,
        settings: Settings {
            max_messages_per_second: Some(MESSAGES_PER_SECOND),
            ..Settings::default()
        },
        load: Load::Full(Full { members, probe, refinements }),
    };
    [100, 1000].into_iter().map(case).collect()
}

impl Full {
    pub fn run(&self, trial: &Trial) -> Result<Numbers, String> {
        let (mut driver, mut crowd) = trial.gather(Shape::of_members(1, self.members))?;
        let members = self.members as f64;
        let (mut good, mut bad) = (0.0, f64::INFINITY);
        let mut best = None;
        let mut per_second = 200_000.0 / members;
        let (mut refinements, mut failures_in_a_row) = (0, 0);
        while refinements <= self.refinements {
            let spent = self.probe(trial, (&mut driver, &mut crowd), per_second)?;
            if keeps_up(&spent, &crowd, per_second * members) {
                good = per_second;
                best = Some(spent.fan_out(&crowd));
                failures_in_a_row = 0;
            } else {
                failures_in_a_row += 1;
            }
            crowd.wait(&mut driver, SETTLING, |crowd| crowd.ledger.all_is_read())?;
            // A stumble of the machine is no limit of the server: only twice is.
            match failures_in_a_row {
                1 => continue,
                2 => bad = per_second,
                _ => {}
            }
            failures_in_a_row = 0;
            per_second = if bad.is_finite() {
                refinements += 1;
                (good.max(bad / (STEP * STEP)) * bad).sqrt()
            } else {
                good * STEP
            };
        }
        trial.settle(&mut driver, &mut crowd)?;
        best.ok_or_else(|| "it did not keep up at any rate".to_owned())
    }

    fn probe(
        &self,
        trial: &Trial,
        (driver, crowd): (&mut Driver, &mut Crowd),
        per_second: f64,
    ) -> Result<Spent, String> {
        let mut updates = Pace::new(per_second);
        crowd.pace(driver, updates.lasting(self.probe / 4), |crowd, driver, turn| {
            crowd.update(driver, crowd.ledger.shape.tracker(turn));
            Ok(())
        })?;
        crowd.ledger.record();
        let window = Window::open(trial.process, driver, crowd)?;
        crowd.pace(driver, updates.lasting(self.probe), |crowd, driver, turn| {
            crowd.update(driver, crowd.ledger.shape.tracker(turn));
            Ok(())
        })?;
        window.close(trial.process, driver, crowd)
    }
}

fn keeps_up(spent: &Spent, crowd: &Crowd, deliveries_per_second: f64) -> bool {
    let covered_per_second = spent.covered / spent.seconds;
    covered_per_second >= KEEPS_UP * deliveries_per_second
        && crowd.ledger.staleness.percentile_ms(0.99) <= KEEPS_UP_P99_MS
}
