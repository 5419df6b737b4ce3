//! Curves: how cost and latency move with one quantity while the others stay.
//!
//! Knows which points make which chart. Each point is a fan-out case on a fresh server.
//! The sweep holds the flush delay fixed, to find the rule by which the server should
//! choose it; growth leaves the server its own rule.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::ledger::Shape;
use crate::measure::{self, Measure, Numbers};
use crate::plot::{Chart, Line};
use crate::run;
use crate::scenarios::{Case, Load, fanout::FanOut};
use crate::server::{Places, Server, Settings};

/// What is drawn of each point.
const DRAWN: [(Measure, &str); 3] = [
    (Measure::CpuPerCovered, "server CPU, µs per update covered"),
    (Measure::Latency99, "p99 latency, ms"),
    (Measure::ServerCore, "server CPU, % of a core"),
];
const SWEPT_DELAYS_MS: [u32; 6] = [0, 1, 2, 5, 10, 20];
const SWEPT_MEMBERS: [usize; 3] = [10, 100, 1000];
const DELIVERIES_PER_SECOND: [f64; 7] = [10e3, 20e3, 50e3, 100e3, 200e3, 500e3, 1e6];
/// A channel of 10 needs more updates from each member than the default limit allows.
const MESSAGES_PER_SECOND: u32 = 100_000;

/// A point of a line of a chart.
pub struct Point {
    chart: &'static str,
    title: String,
    x_label: &'static str,
    line: String,
    x: f64,
    server: Server,
    settings: Settings,
    shape: Shape,
    per_second: f64,
}

/// Flush delay against rate, for three sizes of a channel.
pub fn sweep() -> Vec<Point> {
    let mut points = Vec::new();
    let own_rule = SWEPT_DELAYS_MS.map(Some).into_iter().chain([None]);
    for (members, chart) in SWEPT_MEMBERS.into_iter().zip(["sweep-10", "sweep-100", "sweep-1000"]) {
        for delay_ms in own_rule.clone() {
            for x in DELIVERIES_PER_SECOND {
                points.push(Point {
                    chart,
                    title: format!("Flush delay against rate, one channel of {members}"),
                    x_label: "deliveries per second",
                    line: delay_ms.map_or("own rule".to_owned(), |ms| format!("{ms} ms")),
                    x,
                    server: Server::HERENOW,
                    settings: Settings {
                        flush_delay_us: delay_ms.map(|ms| ms * 1000),
                        max_messages_per_second: Some(MESSAGES_PER_SECOND),
                        ..Settings::default()
                    },
                    shape: Shape::of_members(1, members),
                    per_second: x / members as f64,
                });
            }
        }
    }
    points
}

/// Cost against members, against update rate and against channels.
pub fn growth(servers: &[Server]) -> Vec<Point> {
    let mut points = Vec::new();
    for server in servers {
        let point = |chart, title: &str, x_label, (x, channels, members, per_second)| Point {
            chart,
            title: title.to_owned(),
            x_label,
            line: server.to_string(),
            x,
            server: *server,
            settings: Settings::default(),
            shape: Shape::of_members(channels, members),
            per_second,
        };
        for members in [10, 30, 100, 300, 1000, 3000] {
            let load = (members as f64, 1, members, 50.0);
            points.push(point("members", "One channel, 50 updates/s", "members", load));
        }
        for rate in [50.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0] {
            let load = (rate, 1, 100, rate);
            points.push(point("rate", "One channel of 100", "updates per second", load));
        }
        for channels in [1, 3, 10, 30, 100, 300] {
            let load = (channels as f64, channels, 10, 20.0 * channels as f64);
            points.push(point("channels", "Channels of 10, 20 updates/s each", "channels", load));
        }
    }
    points
}

/// Measures all points and writes the charts and one JSON file into `folder`.
pub fn draw(
    points: &[Point],
    places: &Places,
    (runs, folder): (usize, &Path),
    mut tell: impl FnMut(&str),
) -> Result<(), String> {
    let mut found = Vec::new();
    for point in points {
        let case = point.case(runs);
        let (mut good, mut failure) = (Vec::new(), None);
        for _ in 0..runs {
            match run::run_once(places, &case, point.server) {
                Ok(numbers) => good.push(numbers),
                Err(why) => failure = Some(why),
            }
        }
        let word = failure.as_deref().unwrap_or("measured");
        tell(&format!("{} {} at {}: {word}", point.chart, point.line, point.x));
        found.push((point, measure::medians(&good), failure));
    }
    let mut charts: Vec<&str> = points.iter().map(|point| point.chart).collect();
    charts.dedup();
    for chart in charts {
        for drawn in DRAWN {
            let of_chart = found.iter().filter(|(point, ..)| point.chart == chart);
            let path = folder.join(format!("{chart}-{}.svg", drawn.0.key().replace('_', "-")));
            write(&path, &svg(of_chart.map(|(point, numbers, _)| (*point, numbers)), drawn))?;
        }
    }
    let all: Vec<Value> =
        found.iter().map(|(point, numbers, why)| point.json(numbers, why)).collect();
    write(&folder.join("curves.json"), &format!("{:#}\n", Value::from(all)))
}

fn svg<'a>(
    points: impl Iterator<Item = (&'a Point, &'a Numbers)>,
    (measure, y_label): (Measure, &str),
) -> String {
    let mut chart = Chart {
        title: String::new(),
        x_label: String::new(),
        y_label: y_label.to_owned(),
        lines: Vec::new(),
    };
    for (point, numbers) in points {
        chart.title.clone_from(&point.title);
        chart.x_label = point.x_label.to_owned();
        if chart.lines.last().is_none_or(|line| line.name != point.line) {
            chart.lines.push(Line { name: point.line.clone(), points: Vec::new() });
        }
        let Some(y) = numbers.get(&measure).copied().filter(|y| *y > 0.0) else { continue };
        chart.lines.last_mut().expect("one was pushed above").points.push((point.x, y));
    }
    chart.svg()
}

/// Writes a file of the results.
pub fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

impl Point {
    fn case(&self, runs: usize) -> Case {
        Case {
            scenario: self.chart,
            name: self.line.clone(),
            runs,
            settings: self.settings,
            load: Load::FanOut(FanOut {
                shape: self.shape,
                per_second: self.per_second,
                warm_up: Duration::from_millis(500),
                period: Duration::from_millis(1500),
            }),
        }
    }

    fn json(&self, numbers: &Numbers, failure: &Option<String>) -> Value {
        let numbers: Value =
            numbers.iter().map(|(measure, number)| (measure.key(), json!(number))).collect();
        json!({
            "chart": self.chart,
            "line": self.line,
            "x": self.x,
            "failure": failure,
            "median": numbers,
        })
    }
}
