//! One of a hundred stops reading: what it costs, and whether the others notice.

use std::time::Duration;

use super::{Case, Effort, Load, SETTLING, Trial};
use crate::crowd::{Crowd, Pace};
use crate::driver::Driver;
use crate::ledger::Shape;
use crate::measure::{Measure, Numbers, Window, per};
use crate::server::Settings;

const MEMBERS: usize = 100;
/// 200,000 deliveries per second.
const BUSY: f64 = 2000.0;
/// 1,000,000 of them.
const HOT: f64 = 10_000.0;
const SLOW: usize = MEMBERS - 1;
/// The kernel's and the server's books are looked at once in so many updates.
const LOOK_EACH: usize = 200;
/// Who does not read still pings, or its lease would end.
const PING_PERIOD_S: f64 = 10.0;

/// See the module.
pub struct SlowReader {
    pub before: Duration,
    pub stopped: Duration,
    pub updates_per_second: f64,
}

pub fn cases(effort: Effort) -> Vec<Case> {
    let sizes: &[(u64, u64, f64, usize)] = match effort {
        Effort::Short => &[(2, 4, BUSY, 1)],
        Effort::Full => &[(8, 20, BUSY, 3), (8, 60, HOT, 1)],
    };
    let case = |&(before, stopped, updates_per_second, runs): &(u64, u64, f64, usize)| Case {
        scenario: "slow-reader",
        name: format!("1 of {MEMBERS} stops for {stopped} s, {updates_per_second}/s"),
        runs,
        settings: Settings::default(),
        load: Load::SlowReader(SlowReader {
            before: Duration::from_secs(before),
            stopped: Duration::from_secs(stopped),
            updates_per_second,
        }),
    };
    sizes.iter().map(case).collect()
}

impl SlowReader {
    pub fn run(&self, trial: &Trial) -> Result<Numbers, String> {
        let (mut driver, mut crowd) = trial.gather(Shape::of_members(1, MEMBERS))?;
        let mut updates = Pace::new(self.updates_per_second);
        let ping_each = (self.updates_per_second * PING_PERIOD_S) as usize;
        let mut peaks = Peaks { port: driver.local_port(SLOW).unwrap_or(0), ..Peaks::default() };
        let mut update = |crowd: &mut Crowd, driver: &mut Driver, period, peaks: &mut Peaks| {
            crowd.pace(driver, updates.lasting(period), |crowd, driver, turn| {
                // Who does not read writes neither; it would have to be asked for its last state.
                let member = turn % SLOW;
                if turn % LOOK_EACH == 0 {
                    peaks.look(trial);
                }
                if turn % ping_each == 0 {
                    crowd.ping(driver, SLOW);
                }
                crowd.update(driver, member);
                Ok(())
            })
        };
        crowd.ledger.excluded = Some(SLOW);
        update(&mut crowd, &mut driver, self.before / 4, &mut peaks)?;
        crowd.ledger.record();
        update(&mut crowd, &mut driver, self.before, &mut peaks)?;
        let before_ms = crowd.ledger.latency.percentile_ms(0.99);
        let before_kb = trial.anonymous_kb()?;

        driver.pause(SLOW).map_err(|error| format!("cannot pause: {error}"))?;
        crowd.ledger.record();
        peaks = Peaks { port: peaks.port, ..Peaks::default() };
        let window = Window::open(trial.process, &driver, &crowd)?;
        update(&mut crowd, &mut driver, self.stopped, &mut peaks)?;
        let stopped_ms = crowd.ledger.latency.percentile_ms(0.99);
        crowd.ledger.stop_recording();
        let snapshots = crowd.ledger.tally.snapshots;
        driver.resume(SLOW).map_err(|error| format!("cannot resume: {error}"))?;
        crowd.wait(&mut driver, SETTLING, |crowd| crowd.ledger.all_is_read())?;
        let spent = window.close(trial.process, &driver, &crowd)?;
        trial.settle(&mut driver, &mut crowd)?;

        Ok(Numbers::from([
            (Measure::OthersBefore99, before_ms),
            (Measure::Others99, stopped_ms),
            (Measure::OthersRatio, per(stopped_ms, before_ms)),
            (Measure::RssPeakGrowth, (peaks.anonymous_kb - before_kb).max(0.0)),
            (Measure::KernelPeak, peaks.kernel_kb),
            (Measure::Snapshots, (crowd.ledger.tally.snapshots - snapshots) as f64),
            (Measure::Driver, spent.driver_percent()),
        ]))
    }
}

/// The most that was held for the slow reader.
#[derive(Default)]
struct Peaks {
    port: u16,
    anonymous_kb: f64,
    kernel_kb: f64,
}

impl Peaks {
    fn look(&mut self, trial: &Trial) {
        self.anonymous_kb = self.anonymous_kb.max(trial.anonymous_kb_now());
        let queued = trial.process.queued_bytes(self.port).unwrap_or(0);
        self.kernel_kb = self.kernel_kb.max(queued as f64 / 1024.0);
    }
}
