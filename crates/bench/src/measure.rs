//! What is measured: named numbers, their medians, and the window between two looks at
//! all the books.
//!
//! Knows units. Refuses to know what a number should be: targets say that.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::crowd::Crowd;
use crate::driver::{Driver, Traffic};
use crate::ledger::Tally;
use crate::process::{self, Process};

/// Above this share of a core the driver may be what limits a run.
pub const DRIVER_FULL_PERCENT: f64 = 95.0;

/// Where other processes took more than this share of a core the figures are not to be trusted.
pub const DISTURBED_PERCENT: f64 = 10.0;

macro_rules! measures {
    ($($name:ident: $key:literal, $head:literal, $decimals:literal;)*) => {
        /// A named number; the order is the order of columns.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Measure { $($name),* }

        impl Measure {
            /// Its name in JSON, unit included.
            pub fn key(self) -> &'static str { match self { $(Self::$name => $key),* } }
            /// The head of its column.
            pub fn head(self) -> &'static str { match self { $(Self::$name => $head),* } }
            pub fn decimals(self) -> usize { match self { $(Self::$name => $decimals),* } }
        }
    };
}

measures! {
    CpuPerCovered: "cpu_us_per_covered_update", "µs/covered", 3;
    CpuPerSeen: "cpu_us_per_delivered_frame", "µs/frame", 3;
    CpuPerConnection: "cpu_us_per_connection", "µs/conn", 1;
    CpuPerConnectionSecond: "cpu_us_per_connection_second", "µs/conn/s", 3;
    CpuPerSubscription: "cpu_us_per_subscription", "µs/sub", 2;
    CpuPerReturn: "cpu_us_per_return", "µs/return", 1;
    Cpu: "server_cpu_s", "CPU s", 3;
    ServerCore: "server_core_percent", "core %", 1;
    Latency50: "latency_p50_ms", "p50 ms", 2;
    Latency99: "latency_p99_ms", "p99 ms", 2;
    Latency999: "latency_p999_ms", "p99.9 ms", 2;
    Staleness99: "oldest_covered_p99_ms", "stale p99 ms", 2;
    LeaveLatency50: "leave_p50_ms", "leave p50 ms", 2;
    LeaveLatency99: "leave_p99_ms", "leave p99 ms", 2;
    QuietLatency99: "quiet_channel_p99_ms", "quiet p99 ms", 2;
    OthersBefore99: "others_before_p99_ms", "before p99 ms", 2;
    Others99: "others_p99_ms", "others p99 ms", 2;
    OthersRatio: "others_p99_ratio", "ratio", 2;
    AllKnow: "all_know_all_ms", "all know ms", 0;
    CoveredPerSecond: "covered_per_s", "covered/s", 0;
    SeenPerSecond: "frames_per_s", "frames/s", 0;
    Merged: "merged_percent", "merged %", 1;
    FramesPerRead: "frames_per_read", "frames/read", 2;
    KilobytesPerReceiver: "kilobytes_per_receiver", "KB/recv", 1;
    KilobytesPerReceiverSecond: "kilobytes_per_receiver_second", "KB/recv/s", 1;
    CountsPerConnectionSecond: "counts_per_connection_second", "counts/conn/s", 2;
    Snapshots: "snapshots", "syncs", 0;
    RssBase: "anonymous_empty_kb", "empty KB", 0;
    RssGrowthPerConnection: "growth_kb_per_connection", "growth KB/conn", 3;
    RssAllInPerConnection: "all_in_kb_per_connection", "all in KB/conn", 3;
    RssPeak: "anonymous_peak_mb", "peak MB", 1;
    RssPeakGrowth: "anonymous_peak_growth_kb", "peak growth KB", 0;
    RssLeft: "anonymous_left_kb", "left KB", 0;
    KernelPeak: "kernel_peak_kb", "kernel KB", 0;
    Driver: "driver_core_percent", "driver %", 0;
    Others: "other_processes_core_percent", "others %", 0;
}

/// The numbers of one run, or the medians of several.
pub type Numbers = BTreeMap<Measure, f64>;

/// The median of each measure over all runs that have it.
pub fn medians(runs: &[Numbers]) -> Numbers {
    let mut by_measure: BTreeMap<Measure, Vec<f64>> = BTreeMap::new();
    for (measure, number) in runs.iter().flatten() {
        by_measure.entry(*measure).or_default().push(*number);
    }
    by_measure.into_iter().map(|(measure, numbers)| (measure, median(numbers))).collect()
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.len() % 2 {
        0 => (numbers[middle - 1] + numbers[middle]) / 2.0,
        _ => numbers[middle],
    }
}

/// All the books at one moment.
pub struct Window {
    began: Instant,
    server_cpu_s: f64,
    driver_cpu_s: f64,
    traffic: Traffic,
    tally: Tally,
}

/// What happened in a window.
pub struct Spent {
    pub seconds: f64,
    pub server_cpu_s: f64,
    pub driver_cpu_s: f64,
    pub reads: f64,
    pub read_bytes: f64,
    pub frames: f64,
    pub seen: f64,
    pub covered: f64,
    pub snapshots: f64,
}

impl Window {
    pub fn open(process: &Process, driver: &Driver, crowd: &Crowd) -> Result<Self, String> {
        Ok(Self {
            began: Instant::now(),
            server_cpu_s: seconds(process.cpu_time())?,
            driver_cpu_s: seconds(process::own_cpu_time())?,
            traffic: driver.traffic(),
            tally: crowd.ledger.tally,
        })
    }

    pub fn close(
        &self,
        process: &Process,
        driver: &Driver,
        crowd: &Crowd,
    ) -> Result<Spent, String> {
        let now = Self::open(process, driver, crowd)?;
        let between = |later: u64, earlier: u64| (later - earlier) as f64;
        Ok(Spent {
            seconds: (now.began - self.began).as_secs_f64(),
            server_cpu_s: now.server_cpu_s - self.server_cpu_s,
            driver_cpu_s: now.driver_cpu_s - self.driver_cpu_s,
            reads: between(now.traffic.reads, self.traffic.reads),
            read_bytes: between(now.traffic.read_bytes, self.traffic.read_bytes),
            frames: between(now.traffic.frames, self.traffic.frames),
            seen: between(now.tally.seen, self.tally.seen),
            covered: between(now.tally.covered, self.tally.covered),
            snapshots: between(now.tally.snapshots, self.tally.snapshots),
        })
    }
}

impl Spent {
    pub fn driver_percent(&self) -> f64 {
        100.0 * self.driver_cpu_s / self.seconds
    }

    /// What every window tells of fan-out.
    pub fn fan_out(&self, crowd: &Crowd) -> Numbers {
        let receivers = crowd.ledger.shape.connections() as f64;
        let latency = &crowd.ledger.latency;
        Numbers::from([
            (Measure::CpuPerCovered, per(self.server_cpu_s * 1e6, self.covered)),
            (Measure::CpuPerSeen, per(self.server_cpu_s * 1e6, self.seen)),
            (Measure::ServerCore, 100.0 * self.server_cpu_s / self.seconds),
            (Measure::Latency50, latency.percentile_ms(0.5)),
            (Measure::Latency99, latency.percentile_ms(0.99)),
            (Measure::Latency999, latency.percentile_ms(0.999)),
            (Measure::Staleness99, crowd.ledger.staleness.percentile_ms(0.99)),
            (Measure::CoveredPerSecond, self.covered / self.seconds),
            (Measure::SeenPerSecond, self.seen / self.seconds),
            (Measure::Merged, 100.0 * per(self.covered - self.seen, self.covered)),
            (Measure::FramesPerRead, per(self.frames, self.reads)),
            (
                Measure::KilobytesPerReceiverSecond,
                self.read_bytes / receivers / 1024.0 / self.seconds,
            ),
            (Measure::Driver, self.driver_percent()),
        ])
    }
}

/// A quotient that is nought where nothing was counted.
pub fn per(amount: f64, count: f64) -> f64 {
    if count > 0.0 { amount / count } else { 0.0 }
}

fn seconds(time: std::io::Result<std::time::Duration>) -> Result<f64, String> {
    time.map(|time| time.as_secs_f64()).map_err(|error| format!("cannot read a CPU clock: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_taken_measure_by_measure() {
        let runs = [(3.0, 10.0), (1.0, 30.0), (2.0, 20.0)]
            .map(|(cpu, p99)| Numbers::from([(Measure::Cpu, cpu), (Measure::Latency99, p99)]));
        let medians = medians(&runs);
        assert_eq!((medians[&Measure::Cpu], medians[&Measure::Latency99]), (2.0, 20.0));
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
    }
}
