//! Connections at rest: what each one costs in memory and in CPU time.
//!
//! Everybody tracks one state in a channel of ten and pings each 30 s, no more.

use std::time::Duration;

use super::{Case, Effort, HANDSHAKES_AT_ONCE, Load, SETTLING, Trial};
use crate::crowd::{Crowd, Greeting, Pace};
use crate::ledger::Shape;
use crate::measure::{Measure, Numbers, Window};
use crate::server::Settings;

const CHANNEL_MEMBERS: usize = 10;
const PING_INTERVAL_S: f64 = 30.0;
/// What is allocated once, or given back late, does not belong to the rest.
const COMING_TO_REST: Duration = Duration::from_millis(1500);

/// See the module.
pub struct Idle {
    pub connections: usize,
    pub at_once: usize,
    pub period: Duration,
}

pub fn cases(effort: Effort) -> Vec<Case> {
    let (sizes, period, runs): (&[(usize, usize)], _, _) = match effort {
        Effort::Short => (&[(1000, 64), (4000, 64)], Duration::from_secs(2), 1),
        Effort::Full => (&[(5000, 64), (19_000, 64), (19_000, 3000)], Duration::from_secs(30), 3),
    };
    let case = |&(connections, at_once): &(usize, usize)| Case {
        scenario: "idle",
        name: match at_once {
            HANDSHAKES_AT_ONCE => format!("{connections} connected"),
            _ => format!("{connections} after {at_once} handshakes at once"),
        },
        runs,
        settings: Settings::default(),
        load: Load::Idle(Idle { connections, at_once, period }),
    };
    sizes.iter().map(case).collect()
}

impl Idle {
    pub fn run(&self, trial: &Trial) -> Result<Numbers, String> {
        let shape = Shape::of_members(self.connections / CHANNEL_MEMBERS, CHANNEL_MEMBERS);
        let empty_kb = trial.anonymous_kb()?;
        let mut driver = trial.driver()?;
        let mut crowd = Crowd::new(shape, Greeting::TakePart);
        crowd.connect(&mut driver, self.at_once, SETTLING)?;
        crowd.wait(&mut driver, SETTLING, |crowd| crowd.ledger.all_know_all())?;

        let connections = shape.connections() as f64;
        let mut pings = Pace::new(connections / PING_INTERVAL_S);
        let mut rest = |crowd: &mut Crowd, driver: &mut _, period| {
            crowd.pace(driver, pings.lasting(period), |crowd, driver, turn| {
                crowd.ping(driver, turn % shape.connections());
                Ok(())
            })
        };
        rest(&mut crowd, &mut driver, COMING_TO_REST)?;
        let window = Window::open(trial.process, &driver, &crowd)?;
        rest(&mut crowd, &mut driver, self.period)?;
        let spent = window.close(trial.process, &driver, &crowd)?;
        let resting_kb = trial.anonymous_kb()?;
        trial.settle(&mut driver, &mut crowd)?;

        Ok(Numbers::from([
            (Measure::RssBase, empty_kb),
            (Measure::RssGrowthPerConnection, (resting_kb - empty_kb) / connections),
            (Measure::RssAllInPerConnection, resting_kb / connections),
            (
                Measure::CpuPerConnectionSecond,
                spent.server_cpu_s * 1e6 / connections / spent.seconds,
            ),
            (Measure::ServerCore, 100.0 * spent.server_cpu_s / spent.seconds),
            (Measure::Driver, spent.driver_percent()),
        ]))
    }
}
