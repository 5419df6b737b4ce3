//! A stage and its audience: few who update, thousands who only watch, and a small
//! channel beside it that should not notice.

use std::time::Duration;

use super::{Case, Effort, HANDSHAKES_AT_ONCE, Load, SETTLING, Trial};
use crate::crowd::{Crowd, Greeting, Pace};
use crate::driver::Driver;
use crate::ledger::Shape;
use crate::measure::{Measure, Numbers, Window};
use crate::process;
use crate::server::Settings;

const ON_STAGE: usize = 50;
const UPDATES_PER_SECOND_EACH: f64 = 10.0;
/// The channel beside it: ten members, each once a second.
const BESIDE: Shape = Shape { channels: 1, members: 10, observers: 0 };
const BESIDE_PER_SECOND: f64 = 10.0;
/// The stage's channel has number 0.
const BESIDE_CHANNEL: usize = 1;

/// See the module.
pub struct Audience {
    pub subscribers: usize,
    pub warm_up: Duration,
    pub period: Duration,
}

pub fn cases(effort: Effort) -> Vec<Case> {
    let (subscribers, warm_up, period, runs) = match effort {
        Effort::Short => (3000, Duration::from_millis(500), Duration::from_secs(2), 1),
        Effort::Full => (15_000, Duration::from_secs(3), Duration::from_secs(10), 3),
    };
    vec![Case {
        scenario: "audience",
        name: format!("{subscribers} and {ON_STAGE} on stage"),
        runs,
        settings: Settings::default(),
        load: Load::Audience(Audience { subscribers, warm_up, period }),
    }]
}

impl Audience {
    pub fn run(&self, trial: &Trial) -> Result<Numbers, String> {
        let shape =
            Shape { channels: 1, members: ON_STAGE, observers: self.subscribers - ON_STAGE };
        let (mut driver, mut crowd) = trial.gather(shape)?;
        std::thread::scope(|scope| {
            // A thread of its own, so that the wait for the audience's frames in this one
            // is not measured as the small channel's latency.
            let beside = scope.spawn(|| {
                process::prefer_this_thread();
                self.run_beside(trial)
            });
            let mut updates = Pace::new(ON_STAGE as f64 * UPDATES_PER_SECOND_EACH);
            let mut perform = |crowd: &mut Crowd, driver: &mut Driver, period| {
                crowd.pace(driver, updates.lasting(period), |crowd, driver, turn| {
                    crowd.update(driver, shape.tracker(turn));
                    Ok(())
                })
            };
            perform(&mut crowd, &mut driver, self.warm_up)?;
            crowd.ledger.record();
            let window = Window::open(trial.process, &driver, &crowd)?;
            perform(&mut crowd, &mut driver, self.period)?;
            let spent = window.close(trial.process, &driver, &crowd)?;
            let mut numbers = spent.fan_out(&crowd);
            numbers.insert(Measure::Snapshots, spent.snapshots);
            trial.settle(&mut driver, &mut crowd)?;
            let beside = beside.join().map_err(|_| "the small channel's thread panicked")?;
            numbers.insert(Measure::QuietLatency99, beside?);
            Ok(numbers)
        })
    }

    fn run_beside(&self, trial: &Trial) -> Result<f64, String> {
        let mut driver = trial.driver()?;
        let mut crowd = Crowd::in_channels_from(BESIDE_CHANNEL, BESIDE, Greeting::TakePart);
        crowd.connect(&mut driver, HANDSHAKES_AT_ONCE, SETTLING)?;
        let mut updates = Pace::new(BESIDE_PER_SECOND);
        for period in [self.warm_up, self.period] {
            crowd.ledger.record();
            crowd.pace(&mut driver, updates.lasting(period), |crowd, driver, turn| {
                crowd.update(driver, BESIDE.tracker(turn));
                Ok(())
            })?;
        }
        trial.settle(&mut driver, &mut crowd)?;
        Ok(crowd.ledger.latency.percentile_ms(0.99))
    }
}
