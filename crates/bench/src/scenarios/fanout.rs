//! Members who update at a steady rate, each update for everybody in the channel.
//!
//! Three scenarios differ in the load only: quiet (each update is alone), busy (there
//! begins to be something to merge into one write) and hot (a million deliveries a second).

use std::time::Duration;

use super::{Case, Effort, Load, Trial};
use crate::crowd::{Crowd, Pace};
use crate::driver::Driver;
use crate::ledger::Shape;
use crate::measure::{Numbers, Window};
use crate::server::Settings;

/// See the module.
#[derive(Clone)]
pub struct FanOut {
    pub shape: Shape,
    /// Updates per second of all members together, for each loop of the server: what a second loop
    /// is worth shows at twice the load.
    pub per_second: f64,
    pub warm_up: Duration,
    pub period: Duration,
}

/// Scenario, channels, members of each, updates per second in all.
const LOADS: [(&str, usize, usize, u32); 8] = [
    ("quiet", 10, 100, 200),
    ("quiet", 1, 100, 500),
    ("quiet", 1, 1000, 20),
    ("busy", 1, 100, 2000),
    ("busy", 1, 1000, 100),
    ("hot", 1, 100, 10_000),
    ("hot", 1, 1000, 1000),
    ("hot", 10, 100, 10_000),
];

pub fn cases(effort: Effort) -> Vec<Case> {
    let (warm_up, period) = match effort {
        Effort::Short => (Duration::from_millis(500), Duration::from_millis(1500)),
        Effort::Full => (Duration::from_secs(2), Duration::from_secs(8)),
    };
    let case = |(scenario, channels, members, per_second): (&'static str, _, _, u32)| Case {
        scenario,
        name: format!("{channels} x {members}, {per_second}/s"),
        runs: match (effort, scenario) {
            // Held against a bound of a twentieth.
            (Effort::Short, "hot") => 3,
            (Effort::Short, _) => 1,
            // Single runs of a quiet load differ by a quarter.
            (Effort::Full, "quiet") => 5,
            (Effort::Full, _) => 3,
        },
        settings: Settings::default(),
        load: Load::FanOut(FanOut {
            shape: Shape::of_members(channels, members),
            per_second: per_second.into(),
            warm_up,
            period,
        }),
    };
    LOADS.into_iter().map(case).collect()
}

impl FanOut {
    pub fn run(&self, trial: &Trial) -> Result<Numbers, String> {
        let (mut driver, mut crowd) = trial.gather(self.shape)?;
        let mut updates = Pace::new(self.per_second * trial.server.loops() as f64);
        let mut update = |crowd: &mut Crowd, driver: &mut Driver, period| {
            crowd.pace(driver, updates.lasting(period), |crowd, driver, turn| {
                crowd.update(driver, self.shape.tracker(turn));
                Ok(())
            })
        };
        update(&mut crowd, &mut driver, self.warm_up)?;
        crowd.ledger.record();
        let window = Window::open(trial.process, &driver, &crowd)?;
        update(&mut crowd, &mut driver, self.period)?;
        let spent = window.close(trial.process, &driver, &crowd)?;
        let numbers = spent.fan_out(&crowd);
        trial.settle(&mut driver, &mut crowd)?;
        Ok(numbers)
    }
}
