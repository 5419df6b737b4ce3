//! Broken networks: connections are cut without a word and come back at once.
//!
//! What counts is how soon the others hear of a leave, that nobody stays behind as a
//! ghost, and that memory is given back.

use std::time::Duration;

use super::{Case, Effort, Load, Trial};
use crate::crowd::Pace;
use crate::ledger::Shape;
use crate::measure::{Measure, Numbers, Window};
use crate::server::Settings;

const CHANNEL_MEMBERS: usize = 10;
/// Memory is looked at when the last ones have come back and rested.
const REST: Duration = Duration::from_secs(1);

/// See the module.
pub struct Churn {
    pub channels: usize,
    pub cuts_per_second: f64,
    pub period: Duration,
}

pub fn cases(effort: Effort) -> Vec<Case> {
    let (channels, cuts_per_second, seconds, runs) = match effort {
        Effort::Short => (100, 500.0, 4, 1),
        Effort::Full => (500, 1000.0, 30, 3),
    };
    vec![Case {
        scenario: "churn",
        name: format!("{channels} x {CHANNEL_MEMBERS}, {cuts_per_second}/s for {seconds} s"),
        runs,
        settings: Settings::default(),
        load: Load::Churn(Churn {
            channels,
            cuts_per_second,
            period: Duration::from_secs(seconds),
        }),
    }]
}

impl Churn {
    pub fn run(&self, trial: &Trial) -> Result<Numbers, String> {
        let shape = Shape::of_members(self.channels, CHANNEL_MEMBERS);
        let (mut driver, mut crowd) = trial.gather(shape)?;
        let mut cuts = Pace::new(self.cuts_per_second);
        let mut rest = Pace::new(1.0);
        crowd.pace(&mut driver, rest.lasting(REST), |_, _, _| Ok(()))?;
        let before_kb = trial.anonymous_kb()?;

        crowd.ledger.record();
        let window = Window::open(trial.process, &driver, &crowd)?;
        crowd.pace(&mut driver, cuts.lasting(self.period), |crowd, driver, turn| {
            crowd.come_back(driver, shape.tracker(turn))
        })?;
        let spent = window.close(trial.process, &driver, &crowd)?;
        trial.settle(&mut driver, &mut crowd)?;
        crowd.pace(&mut driver, rest.lasting(REST), |_, _, _| Ok(()))?;

        let leaves = &crowd.ledger.leave_latency;
        if leaves.is_empty() {
            return Err("nobody was told of a leave".into());
        }
        Ok(Numbers::from([
            (Measure::CpuPerReturn, spent.server_cpu_s * 1e6 / cuts.next as f64),
            (Measure::LeaveLatency50, leaves.percentile_ms(0.5)),
            (Measure::LeaveLatency99, leaves.percentile_ms(0.99)),
            (Measure::ServerCore, 100.0 * spent.server_cpu_s / spent.seconds),
            (Measure::RssLeft, trial.anonymous_kb()? - before_kb),
            (Measure::Driver, spent.driver_percent()),
        ]))
    }
}
