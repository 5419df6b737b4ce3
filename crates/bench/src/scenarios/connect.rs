//! What it costs to come: handshake, token, subscription, state, and being seen by the
//! others of a channel of ten.

use super::{Case, Effort, HANDSHAKES_AT_ONCE, Load, SETTLING, Trial};
use crate::crowd::{Crowd, Greeting};
use crate::ledger::Shape;
use crate::measure::{Measure, Numbers, Window};
use crate::server::Settings;

const CHANNEL_MEMBERS: usize = 10;

/// See the module.
pub struct Connect {
    pub connections: usize,
}

pub fn cases(effort: Effort) -> Vec<Case> {
    let (connections, runs) = match effort {
        Effort::Short => (3000, 1),
        Effort::Full => (10_000, 3),
    };
    vec![Case {
        scenario: "connect",
        name: format!("{connections}"),
        runs,
        settings: Settings::default(),
        load: Load::Connect(Connect { connections }),
    }]
}

impl Connect {
    pub fn run(&self, trial: &Trial) -> Result<Numbers, String> {
        let shape = Shape::of_members(self.connections / CHANNEL_MEMBERS, CHANNEL_MEMBERS);
        let mut driver = trial.driver()?;
        let mut crowd = Crowd::new(shape, Greeting::TakePart);
        let window = Window::open(trial.process, &driver, &crowd)?;
        crowd.connect(&mut driver, HANDSHAKES_AT_ONCE, SETTLING)?;
        crowd.wait(&mut driver, SETTLING, |crowd| crowd.ledger.all_know_all())?;
        let spent = window.close(trial.process, &driver, &crowd)?;
        trial.settle(&mut driver, &mut crowd)?;
        Ok(Numbers::from([
            (Measure::CpuPerConnection, spent.server_cpu_s * 1e6 / shape.connections() as f64),
            (Measure::Cpu, spent.server_cpu_s),
            (Measure::AllKnow, spent.seconds * 1e3),
            (Measure::Driver, spent.driver_percent()),
        ]))
    }
}
