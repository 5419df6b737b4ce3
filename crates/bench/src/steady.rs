//! A long run at half load: memory should be flat.
//!
//! Knows one load and looks at the server's memory once a second.

use std::path::Path;
use std::time::Duration;

use crate::crowd::{Crowd, Greeting, Pace};
use crate::curves;
use crate::driver::Driver;
use crate::ledger::Shape;
use crate::plot::{Chart, Line};
use crate::process::{self, DRIVER_CORE};
use crate::server::{Places, Server, Settings};

/// Half of what the hot scenario sends.
const SHAPE: Shape = Shape { channels: 10, members: 100, observers: 0 };
const UPDATES_PER_SECOND: f64 = 5000.0;
const LOOKS_PER_MINUTE: usize = 60;
const LOOK_PERIOD: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs for so many minutes, writes a chart and says what became of memory.
pub fn run(
    server: Server,
    places: &Places,
    (minutes, chart): (usize, &Path),
) -> Result<String, String> {
    process::pin(&[DRIVER_CORE]).map_err(|error| format!("cannot pin the driver: {error}"))?;
    let process = server.start(places, Settings::default())?;
    let failed = |error: std::io::Error| format!("cannot look at the server: {error}");
    let mut driver = Driver::new(process.endpoint()).map_err(failed)?;
    let mut crowd = Crowd::new(SHAPE, Greeting::TakePart);
    crowd.connect(&mut driver, 64, PATIENCE)?;
    let mut updates = Pace::new(UPDATES_PER_SECOND);
    let mut points = Vec::new();
    for second in 1..=minutes * LOOKS_PER_MINUTE {
        crowd.pace(&mut driver, updates.lasting(LOOK_PERIOD), |crowd, driver, turn| {
            crowd.update(driver, SHAPE.tracker(turn));
            Ok(())
        })?;
        let kilobytes = process.anonymous_bytes().map_err(failed)? as f64 / 1024.0;
        points.push((second as f64, kilobytes));
    }
    crowd.wait(&mut driver, PATIENCE, |crowd| crowd.ledger.all_is_read())?;
    if let Some(untruth) = crowd.ledger.untruth() {
        return Err(untruth);
    }
    let mean = |points: &[(f64, f64)]| {
        points.iter().map(|point| point.1).sum::<f64>() / points.len() as f64
    };
    let (first, last) =
        (mean(&points[..LOOKS_PER_MINUTE]), mean(&points[points.len() - LOOKS_PER_MINUTE..]));
    let lines = vec![Line { name: server.to_string(), points }];
    let title = format!("Memory over {minutes} minutes at 500,000 deliveries/s");
    let chart_of_run =
        Chart { title, x_label: "seconds".into(), y_label: "anonymous KB".into(), lines };
    curves::write(chart, &chart_of_run.svg())?;
    Ok(format!(
        "{server}: {first:.0} KB in the first minute, {last:.0} KB in the last, \
         {} updates covered, none lost",
        crowd.ledger.tally.covered
    ))
}
