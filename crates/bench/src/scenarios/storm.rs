//! All members join one channel at once, until everyone knows everyone.
//!
//! They are connected and signed in before, so that what is measured is the channel's
//! work, which grows with the square of its members whatever a server does.

use std::time::Duration;

use super::{Case, Effort, HANDSHAKES_AT_ONCE, Load, SETTLING, Trial};
use crate::crowd::{Crowd, Greeting};
use crate::ledger::Shape;
use crate::measure::{Measure, Numbers, Window};
use crate::server::Settings;

/// A slow server's storm is a figure too.
const STORM_PATIENCE: Duration = Duration::from_secs(60);
const GLANCE: Duration = Duration::from_millis(5);

/// See the module.
pub struct Storm {
    pub members: usize,
}

pub fn cases(effort: Effort) -> Vec<Case> {
    let (sizes, runs): (&[usize], _) = match effort {
        Effort::Short => (&[1000], 1),
        Effort::Full => (&[1000, 2000, 5000], 3),
    };
    let case = |&members: &usize| Case {
        scenario: "storm",
        name: format!("{members}"),
        runs,
        settings: Settings::default(),
        load: Load::Storm(Storm { members }),
    };
    sizes.iter().map(case).collect()
}

impl Storm {
    pub fn run(&self, trial: &Trial) -> Result<Numbers, String> {
        let mut driver = trial.driver()?;
        let mut crowd = Crowd::new(Shape::of_members(1, self.members), Greeting::SignIn);
        crowd.connect(&mut driver, HANDSHAKES_AT_ONCE, SETTLING)?;
        let before_kb = trial.anonymous_kb()?;

        let window = Window::open(trial.process, &driver, &crowd)?;
        let began = driver.now();
        let mut peak_kb = before_kb;
        for member in 0..self.members {
            crowd.take_part(&mut driver, member);
        }
        while !crowd.ledger.all_know_all() {
            crowd.poll(&mut driver, GLANCE)?;
            peak_kb = peak_kb.max(trial.anonymous_kb_now());
            if driver.now() - began > STORM_PATIENCE.as_nanos() as u64 {
                return Err(crowd.ledger.untruth().unwrap_or_default());
            }
        }
        let spent = window.close(trial.process, &driver, &crowd)?;
        trial.settle(&mut driver, &mut crowd)?;
        Ok(Numbers::from([
            (Measure::Cpu, spent.server_cpu_s),
            (Measure::AllKnow, spent.seconds * 1e3),
            (Measure::RssPeak, peak_kb / 1024.0),
            (Measure::RssPeakGrowth, peak_kb - before_kb),
            (Measure::Snapshots, spent.snapshots),
            (Measure::KilobytesPerReceiver, spent.read_bytes / self.members as f64 / 1024.0),
            (Measure::Driver, spent.driver_percent()),
        ]))
    }
}
