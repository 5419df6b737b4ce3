//! What each case is meant to reach, and whether it did.
//!
//! Knows bounds: absolute ones, and ones relative to a yardstick of the same run, which
//! hold on any machine. A target whose case or yardstick did not run has no verdict.

use serde_json::{Value, json};

use crate::measure::Measure;
use crate::report::Row;
use crate::server::Server;

/// What a number is held against.
#[derive(Clone, Copy)]
enum Bound {
    /// At most this.
    Limit(f64),
    /// At most so many times the same number of another server.
    Times(f64, &'static str),
    /// At least so many times the same number of another server.
    Exceeds(f64, &'static str),
}

use Bound::{Exceeds, Limit, Times};
use Measure as M;

/// Scenario, how its case begins, measure, bound.
const TARGETS: &[(&str, &str, Measure, Bound)] = &[
    ("idle", "5000 connected", M::RssGrowthPerConnection, Limit(1.0)),
    ("idle", "19000 connected", M::RssGrowthPerConnection, Limit(1.0)),
    ("idle", "19000 after", M::RssGrowthPerConnection, Limit(1.3)),
    ("idle", "19000 connected", M::RssAllInPerConnection, Limit(1.3)),
    ("idle", "19000 connected", M::CpuPerConnectionSecond, Limit(1.0)),
    ("connect", "", M::CpuPerConnection, Limit(60.0)),
    ("quiet", "", M::CpuPerCovered, Times(1.1, "floor")),
    ("quiet", "", M::CpuPerCovered, Times(1.0, "bun")),
    ("quiet", "1 x 100,", M::Latency99, Limit(1.0)),
    ("quiet", "10 x 100,", M::Latency99, Limit(1.0)),
    ("busy", "1 x 100,", M::CpuPerCovered, Times(0.5, "bun")),
    ("busy", "1 x 100,", M::Latency99, Limit(6.0)),
    ("busy", "1 x 1000,", M::CpuPerCovered, Times(1.0, "bun")),
    ("busy", "1 x 1000,", M::Latency99, Limit(10.0)),
    ("hot", "1 x 100,", M::CpuPerCovered, Limit(0.25)),
    ("hot", "1 x 100,", M::Latency99, Limit(10.0)),
    ("hot", "1 x 1000,", M::CpuPerCovered, Limit(0.6)),
    ("hot", "1 x 1000,", M::Latency99, Limit(20.0)),
    ("hot", "10 x 100,", M::CpuPerCovered, Limit(0.5)),
    ("hot", "10 x 100,", M::Latency99, Limit(15.0)),
    ("hot", "", M::Merged, Limit(0.0)),
    ("full", "", M::CoveredPerSecond, Exceeds(1.0, "bun")),
    ("storm", "1000", M::Cpu, Limit(0.15)),
    ("storm", "2000", M::Cpu, Limit(0.7)),
    ("storm", "5000", M::Cpu, Times(0.5, "bun")),
    ("churn", "", M::LeaveLatency99, Limit(2.0)),
    ("herd", "", M::QuietLatency99, Limit(20.0)),
    ("audience", "", M::Staleness99, Limit(250.0)),
    ("audience", "", M::QuietLatency99, Limit(10.0)),
    ("audience", "", M::Snapshots, Limit(0.0)),
    ("counting", "", M::CpuPerConnectionSecond, Limit(8.0)),
    ("counting", "", M::CountsPerConnectionSecond, Limit(1.1)),
    ("counting", "", M::RssGrowthPerConnection, Limit(0.5)),
    ("friends", "", M::CpuPerSubscription, Limit(15.0)),
    ("friends", "", M::CpuPerSeen, Limit(9.0)),
    ("friends", "", M::RssGrowthPerConnection, Limit(17.0)),
    ("slow-reader", "", M::OthersRatio, Limit(1.2)),
    ("slow-reader", "", M::KernelPeak, Limit(256.0)),
    ("slow-reader", "", M::Snapshots, Limit(1.0)),
];

/// The same for a server with a second loop beside the driver, held against one loop: it
/// carries 1.7 times the load if a delivery takes at most 2 / 1.7 of the CPU time.
const TARGETS_OF_TWO_LOOPS: &[(&str, &str, Measure, Bound)] = &[
    ("hot", "", M::CpuPerCovered, Times(2.0 / 1.7, "herenow")),
    ("idle", "", M::RssGrowthPerConnection, Times(1.1, "herenow")),
    ("idle", "", M::CpuPerConnectionSecond, Times(1.1, "herenow")),
];

/// The same for a server that is driven over a Unix socket, held against loopback.
const TARGETS_OF_UNIX: &[(&str, &str, Measure, Bound)] =
    &[("quiet", "", M::CpuPerCovered, Times(0.5, "herenow"))];

/// The same for a server with a webhook whose receiver is dead, held against one without.
const TARGETS_OF_WEBHOOKS: &[(&str, &str, Measure, Bound)] =
    &[("hot", "", M::CpuPerCovered, Times(1.05, "herenow"))];

/// The same for a server beside another build of it, in the same run. One binary moves by a tenth from run to run, so a
/// smaller difference than a fifth says nothing.
const TARGETS_OF_A_CHANGE: &[(&str, &str, Measure, Bound)] = &[
    ("idle", "4000 connected", M::RssGrowthPerConnection, Times(1.05, "herenow@before")),
    ("idle", "19000 connected", M::RssGrowthPerConnection, Times(1.05, "herenow@before")),
    ("quiet", "", M::CpuPerCovered, Times(1.2, "herenow@before")),
    ("busy", "", M::CpuPerCovered, Times(1.2, "herenow@before")),
    ("hot", "", M::CpuPerCovered, Times(1.2, "herenow@before")),
];

/// A target held against what was found.
pub struct Verdict {
    scenario: &'static str,
    case: String,
    server: Server,
    measure: Measure,
    found: f64,
    limit: f64,
    bound: Bound,
}

/// All targets that the rows allow to judge.
pub fn verdicts(rows: &[Row]) -> Vec<Verdict> {
    let two_loops = Server::Herenow { loops: 2 };
    let mut verdicts = of_server(rows, Server::HERENOW, TARGETS);
    verdicts.extend(of_server(rows, Server::HERENOW, TARGETS_OF_A_CHANGE));
    verdicts.extend(of_server(rows, two_loops, TARGETS_OF_TWO_LOOPS));
    verdicts.extend(of_server(rows, Server::HerenowUnix, TARGETS_OF_UNIX));
    verdicts.extend(of_server(rows, Server::HerenowWebhooks, TARGETS_OF_WEBHOOKS));
    verdicts
}

fn of_server(
    rows: &[Row],
    server: Server,
    targets: &[(&'static str, &str, Measure, Bound)],
) -> Vec<Verdict> {
    let name = server.to_string();
    let mut verdicts = Vec::new();
    for row in rows.iter().filter(|row| row.server == name) {
        let of_row = targets.iter().filter(|(scenario, begins, ..)| {
            *scenario == row.scenario && row.case.starts_with(begins)
        });
        for &(scenario, _, measure, bound) in of_row {
            let Some(&found) = row.numbers.get(&measure) else { continue };
            let Some(limit) = limit(rows, row, (measure, bound)) else { continue };
            let case = row.case.clone();
            verdicts.push(Verdict { scenario, case, server, measure, found, limit, bound });
        }
    }
    verdicts
}

fn limit(rows: &[Row], own: &Row, (measure, bound): (Measure, Bound)) -> Option<f64> {
    match bound {
        Limit(limit) => Some(limit),
        Times(factor, server) | Exceeds(factor, server) => {
            let same = |row: &&Row| {
                (row.scenario, &*row.case, &*row.server) == (own.scenario, &*own.case, server)
            };
            rows.iter().find(same)?.numbers.get(&measure).map(|number| number * factor)
        }
    }
}

impl Verdict {
    pub fn is_met(&self) -> bool {
        match self.bound {
            Limit(_) | Times(..) => self.found <= self.limit,
            Exceeds(..) => self.found >= self.limit,
        }
    }

    pub fn json(&self) -> Value {
        json!({
            "scenario": self.scenario,
            "case": self.case,
            "server": self.server.to_string(),
            "measure": self.measure.key(),
            "found": self.found,
            "limit": self.limit,
            "bound": self.words(),
            "met": self.is_met(),
        })
    }

    fn words(&self) -> String {
        match self.bound {
            Limit(limit) => format!("at most {limit}"),
            Times(factor, server) => format!("at most {} x {server}", rounded(factor)),
            Exceeds(factor, server) => format!("at least {} x {server}", rounded(factor)),
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (digits, head) = (self.measure.decimals(), self.measure.head());
        let verdict = if self.is_met() { "met   " } else { "MISSED" };
        let (scenario, case, server) = (self.scenario, &self.case, self.server);
        write!(f, "{verdict} {scenario} {case}, {server}: {head} ")?;
        write!(f, "{:.digits$}, {} = {:.digits$}", self.found, self.words(), self.limit)
    }
}

fn rounded(factor: f64) -> f64 {
    (factor * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Numbers;

    fn row(server: &str, cpu: f64) -> Row {
        Row {
            scenario: "quiet",
            case: "1 x 1000, 20/s".to_owned(),
            server: server.to_owned(),
            numbers: Numbers::from([(Measure::CpuPerCovered, cpu)]),
            runs: Vec::new(),
            failures: Vec::new(),
        }
    }

    #[test]
    fn a_relative_target_is_held_against_the_yardstick_of_the_same_case() {
        let verdicts = verdicts(&[row("herenow", 4.2), row("bun", 4.0), row("floor", 4.0)]);
        let met: Vec<bool> = verdicts.iter().map(Verdict::is_met).collect();
        assert_eq!(met, [true, false], "1.1 times the floor, 1.0 times Bun");
    }

    #[test]
    fn two_loops_are_held_against_one() {
        let of_hot = |server, cpu| Row { scenario: "hot", ..row(server, cpu) };
        let verdicts = verdicts(&[of_hot("herenow", 0.2), of_hot("herenow@2", 0.23)]);
        let of_two = verdicts.iter().find(|verdict| verdict.server == Server::Herenow { loops: 2 });
        assert!(of_two.is_some_and(|verdict| verdict.is_met()), "1.15 is below 2 / 1.7");
    }

    #[test]
    fn a_dead_webhook_may_cost_a_twentieth_of_a_hot_load() {
        let of_hot = |server, cpu| Row { scenario: "hot", ..row(server, cpu) };
        let met = |cpu| {
            let verdicts = verdicts(&[of_hot("herenow", 0.2), of_hot("herenow@webhooks", cpu)]);
            let of_webhooks = verdicts.iter().find(|it| it.server == Server::HerenowWebhooks);
            of_webhooks.map(Verdict::is_met)
        };
        assert_eq!((met(0.209), met(0.211)), (Some(true), Some(false)));
    }

    #[test]
    fn a_server_is_held_against_another_build_of_it_in_the_same_run() {
        let verdicts = verdicts(&[row("herenow", 4.8), row("herenow@before", 3.9)]);
        let met: Vec<bool> = verdicts.iter().map(Verdict::is_met).collect();
        assert_eq!(met, [false], "1.23 times the other build");
    }

    #[test]
    fn a_target_without_its_yardstick_has_no_verdict() {
        assert!(verdicts(&[row("herenow", 4.2)]).is_empty());
    }
}
