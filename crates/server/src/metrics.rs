//! What the server counts, as Prometheus reads it. Knows names and meanings; the loops and the
//! front door do the counting. Nothing here names a user, a channel or a state.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use herenow_hub::Histogram;
use herenow_wire::LeaveReason;

use crate::auth::RenewalMetrics;
use crate::cluster::ClusterMetrics;
use crate::logs;
use crate::loops::LoopsMetrics;
use crate::probe::ProbeMetrics;
use crate::webhooks::EndpointMetrics;

/// What the front door counts.
#[derive(Debug, Default)]
pub struct DoorMetrics {
    /// Handshakes that became WebSockets.
    pub upgraded: AtomicU64,
    /// Upgrades answered 429 and sockets dropped: their address holds too many unauthenticated
    /// connections or unfinished requests.
    pub refused_address_full: AtomicU64,
    /// Upgrades answered 503 or closed with 1013: the server is full.
    pub refused_server_full: AtomicU64,
    /// HTTP connections closed to make room for another.
    pub gave_way: AtomicU64,
    /// Failures to take a connection from the listener, as when files run out.
    pub accept_failures: AtomicU64,
}

/// What is counted beside the loops and the front door, where it is configured.
#[derive(Debug, Default)]
pub struct BesideMetrics {
    /// Of each endpoint of webhooks.
    pub webhooks: Vec<EndpointMetrics>,
    /// Of a key set that is fetched from a URL.
    pub key_set: Option<RenewalMetrics>,
    /// Of other nodes, if this one is not alone.
    pub cluster: Option<ClusterMetrics>,
}

/// The whole of `/metrics`.
pub fn render(loops: &LoopsMetrics, door: &DoorMetrics, beside: &BesideMetrics) -> String {
    let mut page = Page(String::with_capacity(4096));
    page.gauge("connections", "Connections now.", loops.connections);
    page.gauge(
        "detached_sessions",
        "Broken connections now that are kept for `disconnectGraceMs`.",
        loops.detached_sessions,
    );
    page.gauge("members", "Members of all channels now.", loops.members);
    page.gauge("subscriptions", "Subscriptions now.", loops.subscriptions);
    page.gauge("channels", "Channels in use now.", loops.channels);
    page.gauge("queued_messages", "Messages waiting between loops now.", loops.queued);
    page.counter(
        "connections_accepted_total",
        "Connections that event loops accepted.",
        loops.connections_accepted,
    );
    page.counter("frames_in_total", "Whole frames read.", loops.frames_in);
    page.counter(
        "writes_total",
        "Writes to sockets; each carries everything that waits for one socket.",
        loops.writes,
    );
    page.counter("bytes_in_total", "Bytes read from WebSockets.", loops.bytes_in);
    page.counter("bytes_out_total", "Bytes written to WebSockets.", loops.bytes_out);
    page.counter("flushes_total", "Flushes of a channel.", loops.flushes);
    page.counter(
        "flushes_forwarded_total",
        "Flushes sent to another loop: one message, however many subscribers it has.",
        loops.flushes_forwarded,
    );
    page.counter(
        "updates_merged_total",
        "Updates that a newer one of the same member replaced before they were sent.",
        loops.updates_merged,
    );
    page.counter(
        "slow_subscriber_drops_total",
        "Times that one snapshot replaced the deltas of a slow subscriber.",
        loops.slow_subscriber_drops,
    );
    page.errors(loops);
    page.answers(loops);
    page.probe(loops.probe.as_ref());
    page.door(door);
    page.key_set(beside.key_set);
    page.webhooks(&beside.webhooks);
    page.cluster(beside.cluster, loops.copied_members);
    page.counter(
        "log_lines_dropped_total",
        "Log lines dropped because standard error was blocked.",
        logs::dropped_lines(),
    );
    if let Some(bytes) = resident_bytes() {
        page.family("process_resident_memory_bytes", "gauge", "Resident memory.");
        let _ = writeln!(page.0, "process_resident_memory_bytes {bytes}");
    }
    page.0
}

/// Why lists were sent again, as a label.
fn resyncs(loops: &LoopsMetrics) -> [(&'static str, u64); 3] {
    let resyncs = loops.resyncs;
    [("slow", resyncs.slow), ("requested", resyncs.requested), ("rebuilt", resyncs.rebuilt)]
        .map(|(cause, count)| (cause, count as u64))
}

/// What is read of an endpoint of webhooks.
type Read = fn(&EndpointMetrics) -> u64;

struct Page(String);

impl Page {
    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.single(name, "gauge", help, value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.single(name, "counter", help, value);
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        let name = format!("herenow_{name}");
        self.family(&name, kind, help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    /// One sample for each value of a label.
    fn by_label<'a>(
        &mut self,
        (name, help): (&str, &str),
        label: &str,
        samples: impl IntoIterator<Item = (&'a str, u64)>,
    ) {
        let samples =
            samples.into_iter().map(|(value, count)| (format!("{label}=\"{value}\""), count));
        self.by_labels((name, "counter", help), samples);
    }

    /// One sample for each set of labels.
    fn by_labels(
        &mut self,
        (name, kind, help): (&str, &str, &str),
        samples: impl IntoIterator<Item = (String, u64)>,
    ) {
        let name = format!("herenow_{name}");
        self.family(&name, kind, help);
        for (labels, count) in samples {
            let _ = writeln!(self.0, "{name}{{{labels}}} {count}");
        }
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        let name = format!("herenow_{name}");
        self.family(&name, "histogram", help);
        let mut sum = 0;
        let bounds = Histogram::BOUNDS_US.map(|us| seconds(us).to_string());
        let bounds = bounds.iter().map(String::as_str).chain(["+Inf"]);
        for (count, bound) in histogram.counts.iter().zip(bounds) {
            sum += count;
            let _ = writeln!(self.0, "{name}_bucket{{le=\"{bound}\"}} {sum}");
        }
        let _ = writeln!(self.0, "{name}_sum {}\n{name}_count {sum}", seconds(histogram.sum_us));
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn errors(&mut self, loops: &LoopsMetrics) {
        let errors = loops.errors.iter().map(|(code, count)| (code.as_str(), *count));
        self.by_label(("errors_total", "Errors sent to clients, by code."), "code", errors);
    }

    /// How long things took, and how they ended.
    fn answers(&mut self, loops: &LoopsMetrics) {
        self.histogram(
            "flush_wait_seconds",
            "How long the oldest change of each flush waited for it.",
            &loops.flush_waits,
        );
        let leaves = LeaveReason::ALL.map(|reason| (reason.as_str(), loops.leaves.of(reason)));
        let family = ("leaves_total", "Members that left a channel, by reason.");
        self.by_label(family, "reason", leaves);
        let family = ("resyncs_total", "Lists of members that were sent again, by cause.");
        self.by_label(family, "cause", resyncs(loops));
        self.histogram(
            "rule_decision_seconds",
            "How long access rules took to decide, from the question to the answer.",
            &loops.rule_decisions,
        );
        let results = loops.rule_results.iter().map(|(result, count)| (result.as_str(), *count));
        let family = ("rule_decisions_total", "Questions to access rules, by result.");
        self.by_label(family, "result", results);
        self.histogram(
            "token_verification_seconds",
            "How long tokens took to be verified, from the message to the result.",
            &loops.token_verifications,
        );
        let results = loops.token_results.iter().map(|(result, count)| (result.as_str(), *count));
        let family = ("token_verifications_total", "Tokens that clients showed, by result.");
        self.by_label(family, "result", results);
    }

    /// Nothing if there is no probe.
    fn probe(&mut self, probe: Option<&ProbeMetrics>) {
        let Some(probe) = probe else { return };
        self.histogram(
            "probe_join_to_visible_seconds",
            "How long the probe waited until a client saw that another one had joined.",
            &probe.join_to_visible,
        );
        self.histogram(
            "probe_close_to_leave_seconds",
            "How long the probe waited until a client saw that another one had closed.",
            &probe.close_to_leave,
        );
        let help = "Rounds of the probe in which a client did not see the other one come or go.";
        self.counter("probe_failures_total", help, probe.failures);
    }

    /// Nothing if no key set is fetched.
    fn key_set(&mut self, fetches: Option<RenewalMetrics>) {
        let Some(RenewalMetrics { taken, failed, age }) = fetches else { return };
        let family = ("jwks_fetches_total", "Fetches of the key set, by result.");
        self.by_label(family, "result", [("taken", taken), ("failed", failed)]);
        if let Some(age) = age {
            let help = "Seconds since the key set in force was fetched.";
            self.gauge("jwks_age_seconds", help, age.as_secs());
        }
    }

    /// Nothing if there is no endpoint. An endpoint is its number in the configuration: its URL may hold
    /// a secret.
    fn webhooks(&mut self, endpoints: &[EndpointMetrics]) {
        if endpoints.is_empty() {
            return;
        }
        let by_result = |results: [(&'static str, Read); 2]| {
            let each = endpoints.iter().enumerate().flat_map(move |(number, endpoint)| {
                results.map(|(result, read)| {
                    (format!("endpoint=\"{number}\",result=\"{result}\""), read(endpoint))
                })
            });
            each.collect::<Vec<_>>()
        };
        let help = "Events of webhooks that were delivered, or dropped since a queue was full or the \
                    endpoint never took them.";
        let results = by_result([("delivered", |e| e.delivered), ("dropped", |e| e.dropped)]);
        self.by_labels(("webhook_events_total", "counter", help), results);
        let help = "Messages of webhooks that were sent: each has up to a hundred events, and is sent \
                    again if it failed.";
        let results =
            by_result([("taken", |e| e.messages_taken), ("failed", |e| e.messages_failed)]);
        self.by_labels(("webhook_messages_total", "counter", help), results);
        let waiting = endpoints.iter().enumerate();
        let waiting = waiting.map(|(number, e)| (format!("endpoint=\"{number}\""), e.waiting));
        let help = "Events that wait for an endpoint now.";
        self.by_labels(("webhook_waiting_events", "gauge", help), waiting);
    }

    /// Nothing if this server is alone.
    fn cluster(&mut self, cluster: Option<ClusterMetrics>, copied_members: u64) {
        let Some(cluster) = cluster else { return };
        self.gauge(
            "cluster_view",
            "The number of the newest list of nodes known here.",
            cluster.view,
        );
        self.gauge("cluster_nodes", "Nodes in that list.", cluster.nodes);
        self.gauge(
            "cluster_active",
            "1 while this node may act for the cluster.",
            cluster.is_active,
        );
        self.family(
            "herenow_cluster_lease_seconds",
            "gauge",
            "How long it may without a heartbeat.",
        );
        let lease_s = seconds(cluster.lease_ms * 1000);
        let _ = writeln!(self.0, "herenow_cluster_lease_seconds {lease_s}");
        self.family(
            "herenow_cluster_stale_seconds",
            "gauge",
            "For how long the lists of other nodes have not been known to be right.",
        );
        let _ =
            writeln!(self.0, "herenow_cluster_stale_seconds {}", seconds(cluster.stale_ms * 1000));
        let help = "Nodes with other settings than this one.";
        self.gauge("cluster_differing_nodes", help, cluster.differing_nodes);
        let help = "Shards, of 1024, whose channels this node decides.";
        self.gauge("cluster_home_shards", help, cluster.home_shards);
        let family = ("cluster_batches_total", "Messages between nodes.");
        self.by_label(family, "direction", cluster.batches);
        let family = ("cluster_bytes_total", "Bytes of messages between nodes.");
        self.by_label(family, "direction", cluster.bytes);
        let family =
            ("cluster_batches_dropped_total", "Messages between nodes dropped, by reason.");
        self.by_label(family, "reason", cluster.dropped);
        let help = "Times that everything was sent to another node again after a message was lost.";
        self.counter("cluster_resets_total", help, cluster.resets);
        let help = "Bytes that wait for the acknowledgement of other nodes now.";
        self.gauge("cluster_held_bytes", help, cluster.held_bytes);
        let help =
            "Reports and snapshots owed to other nodes, since a link had no room for changes.";
        self.gauge("cluster_owed", help, cluster.owed);
        let help = "Members in lists whose changes other nodes decide.";
        self.gauge("cluster_copied_members", help, copied_members);
        let help = "Shards of this node whose changes wait until all nodes have reported.";
        self.gauge("cluster_collecting_shards", help, cluster.collecting_shards);
        let name = "herenow_cluster_collect_seconds";
        let help = "How long the changes of a shard waited until all nodes had reported.";
        self.family(name, "summary", help);
        let _ = writeln!(self.0, "{name}_sum {}", seconds(cluster.collect_ms * 1000));
        let _ = writeln!(self.0, "{name}_count {}", cluster.collects);
    }

    fn door(&mut self, door: &DoorMetrics) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        self.counter("upgrades_total", "Handshakes that became WebSockets.", read(&door.upgraded));
        let refused = [
            ("address_full", read(&door.refused_address_full)),
            ("server_full", read(&door.refused_server_full)),
        ];
        let family = ("upgrades_refused_total", "Connections refused, by reason.");
        self.by_label(family, "reason", refused);
        self.counter(
            "http_gave_way_total",
            "HTTP connections closed to make room for new ones.",
            read(&door.gave_way),
        );
        self.counter(
            "accept_failures_total",
            "Failures to accept a connection.",
            read(&door.accept_failures),
        );
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// Only Linux tells it without a library.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use herenow_wire::ErrorCode;

    #[test]
    fn every_sample_stands_behind_its_type_and_holds_its_count() {
        let loops = LoopsMetrics {
            connections: 7,
            members: 5,
            copied_members: 6,
            connections_accepted: 9,
            flushes_forwarded: 4,
            updates_merged: 3,
            errors: vec![(ErrorCode::RateLimited, 2)],
            ..LoopsMetrics::default()
        };
        let age = Some(std::time::Duration::from_secs(61));
        let key_set = Some(RenewalMetrics { taken: 2, failed: 3, age });
        let webhooks = vec![EndpointMetrics::default()];
        let cluster = Some(ClusterMetrics { nodes: 3, lease_ms: 1500, ..Default::default() });
        let beside = BesideMetrics { webhooks, key_set, cluster };
        let page = render(&loops, &DoorMetrics::default(), &beside);
        let mut family = "";
        for line in page.lines() {
            if let Some(declared) = line.strip_prefix("# TYPE ") {
                family = declared.split(' ').next().expect("a name");
            } else if !line.starts_with('#') {
                assert!(line.starts_with(family), "{line} stands below {family}");
            }
        }
        for sample in [
            "herenow_connections 7",
            "herenow_members 5",
            "herenow_connections_accepted_total 9",
            "herenow_flushes_forwarded_total 4",
            "herenow_updates_merged_total 3",
            "herenow_errors_total{code=\"RATE_LIMITED\"} 2",
            "herenow_upgrades_refused_total{reason=\"address_full\"} 0",
            "herenow_jwks_fetches_total{result=\"failed\"} 3",
            "herenow_jwks_age_seconds 61",
            "herenow_cluster_nodes 3",
            "herenow_cluster_copied_members 6",
            "herenow_cluster_lease_seconds 1.5",
        ] {
            assert!(page.lines().any(|line| line == sample), "{sample}\n{page}");
        }
    }
}
