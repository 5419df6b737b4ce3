//! A herd that signs in at once, as after a restart, with tokens whose signatures need a public
//! key, and a quiet channel beside it that should not notice.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use super::{Case, Effort, HANDSHAKES_AT_ONCE, Load, SETTLING, Trial};
use crate::crowd::{Crowd, Greeting, Pace};
use crate::ledger::Shape;
use crate::measure::{Measure, Numbers, Window};
use crate::messages::{self, Signature};
use crate::process;
use crate::server::Settings;

/// The channel beside it: ten members, each twenty times a second, so that even a short herd is
/// seen by thousands of deliveries.
const BESIDE: Shape = Shape { channels: 1, members: 10, observers: 0 };
const BESIDE_PER_SECOND: f64 = 200.0;
/// The herd's channel has number 0; it never subscribes to it.
const BESIDE_CHANNEL: usize = 1;
/// How long the channel beside it is paced between two looks at what the herd does.
const GLANCE: Duration = Duration::from_millis(20);

/// See the module.
pub struct Herd {
    pub connections: usize,
    pub signature: Signature,
}

/// What the thread of the channel beside waits for.
const BEFORE: u8 = 0;
const RUNS: u8 = 1;
const OVER: u8 = 2;

pub fn cases(effort: Effort) -> Vec<Case> {
    let runs = match effort {
        Effort::Short => 1,
        Effort::Full => 3,
    };
    let connections = 5000;
    let case = |signature: Signature| Case {
        scenario: "herd",
        name: format!("{connections} by {}", signature.name()),
        runs,
        settings: Settings { has_public_keys: true, ..Settings::default() },
        load: Load::Herd(Herd { connections, signature }),
    };
    [Signature::Rs256, Signature::Es256].map(case).into()
}

impl Herd {
    pub fn run(&self, trial: &Trial) -> Result<Numbers, String> {
        let shape = Shape { channels: 1, members: 0, observers: self.connections };
        let tokens = (0..self.connections).map(|it| messages::signed_token(self.signature, it));
        let mut crowd = Crowd::with_tokens(shape, Greeting::Wait, tokens.collect());
        let mut driver = trial.driver()?;
        let stage = AtomicU8::new(BEFORE);
        std::thread::scope(|scope| {
            let beside = scope.spawn(|| {
                process::prefer_this_thread();
                run_beside(trial, &stage)
            });
            let herd = (|| {
                crowd.connect(&mut driver, HANDSHAKES_AT_ONCE, SETTLING)?;
                let window = Window::open(trial.process, &driver, &crowd)?;
                stage.store(RUNS, Ordering::SeqCst);
                for connection in 0..self.connections {
                    crowd.sign_in(&mut driver, connection);
                }
                let everybody = self.connections as u64;
                crowd.wait(&mut driver, SETTLING, |crowd| crowd.signed_in() == everybody)?;
                window.close(trial.process, &driver, &crowd)
            })();
            stage.store(OVER, Ordering::SeqCst);
            let beside = beside.join().map_err(|_| "the quiet channel's thread panicked")?;
            let (spent, quiet_ms) = (herd?, beside?);
            Ok(Numbers::from([
                (Measure::QuietLatency99, quiet_ms),
                (Measure::AllKnow, spent.seconds * 1e3),
                (Measure::CpuPerConnection, spent.server_cpu_s * 1e6 / self.connections as f64),
                (Measure::Driver, spent.driver_percent()),
            ]))
        })
    }
}

/// The p99 of a small channel while the herd signs in.
fn run_beside(trial: &Trial, stage: &AtomicU8) -> Result<f64, String> {
    let mut driver = trial.driver()?;
    let mut crowd = Crowd::in_channels_from(BESIDE_CHANNEL, BESIDE, Greeting::TakePart);
    crowd.connect(&mut driver, HANDSHAKES_AT_ONCE, SETTLING)?;
    let mut updates = Pace::new(BESIDE_PER_SECOND);
    let mut is_recording = false;
    while stage.load(Ordering::SeqCst) != OVER {
        if !is_recording && stage.load(Ordering::SeqCst) == RUNS {
            is_recording = true;
            crowd.ledger.record();
        }
        crowd.pace(&mut driver, updates.lasting(GLANCE), |crowd, driver, turn| {
            crowd.update(driver, BESIDE.tracker(turn));
            Ok(())
        })?;
    }
    trial.settle(&mut driver, &mut crowd)?;
    Ok(crowd.ledger.latency.percentile_ms(0.99))
}
