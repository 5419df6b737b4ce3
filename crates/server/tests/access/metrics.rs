//! What `/metrics` says after some people have come, asked and gone.

use std::net::SocketAddr;
use std::time::Duration;

use herenow_server::config::{Network, Settings};
use herenow_testing::{Setup, unix_seconds};
use serde_json::json;

use crate::support::{Server, rules, subscribe, token, track};

const NAMESPACES: &str = "{
    'presence:open': { access: { subscribe: () => true, track: () => true } },
    'presence:closed': { access: { subscribe: () => false } },
    'presence:broken': { access: { subscribe: () => { throw new Error('no') } } } }";

/// How long a count may take to be shown: a loop shows what it has counted at the end of its turn.
const PATIENCE: Duration = Duration::from_secs(20);

struct Counts(SocketAddr);

impl Counts {
    fn page(&self) -> String {
        let url = format!("http://{}/metrics", self.0);
        let mut answer = ureq::get(&url).call().expect("the page is open to this machine");
        answer.body_mut().read_to_string().expect("it is text")
    }

    /// The samples of the page whose line begins so, summed.
    fn read(&self, prefix: &str) -> f64 {
        let page = self.page();
        let values = page.lines().filter_map(|line| line.strip_prefix(prefix));
        values.map(|line| line.rsplit(' ').next().unwrap_or("").parse::<f64>().unwrap_or(0.0)).sum()
    }

    fn becomes(&self, sample: &str, value: f64) {
        let is_so = herenow_testing::until(PATIENCE, || self.read(sample) == value);
        assert!(is_so, "{sample} is {} and not {value}", self.read(sample));
    }
}

fn start(change: impl FnOnce(&mut Settings)) -> (Server, Counts) {
    let mut setup = Setup::default();
    setup.settings.rules = rules(NAMESPACES);
    setup.settings.metrics_from = vec![Network::parse("127.0.0.0/8").expect("a network")];
    change(&mut setup.settings);
    let server = Server::with(setup);
    let counts = Counts(server.addr);
    (server, counts)
}

#[tokio::test]
async fn leaves_resyncs_rules_and_tokens_are_counted_by_what_became_of_them() {
    let (server, counts) = start(|_| {});
    let mut jane = server.sign_in(json!({"sub": "jane"})).await;
    assert_eq!(subscribe(&mut jane, "presence:open").await, None);
    assert!(subscribe(&mut jane, "presence:closed").await.is_some());
    assert!(subscribe(&mut jane, "presence:broken").await.is_some());
    let mut bob = server.sign_in(json!({"sub": "bob"})).await;
    assert_eq!(track(&mut bob, "presence:open").await, None);
    bob.send(json!({"type": "presence_leave", "channel": "presence:open"})).await;
    jane.next_of_type("presence_leave").await;
    assert_eq!(track(&mut bob, "presence:open").await, None);
    drop(bob);
    jane.next_of_type("presence_leave").await;
    jane.send(json!({"type": "presence_sync", "channel": "presence:open"})).await;
    jane.next_of_type("presence_sync").await;
    let expired = json!({"sub": "eve", "exp": unix_seconds() - 3600.0});
    let good = token(json!({"sub": "eve"}));
    let (signed, _) = good.rsplit_once('.').expect("a token has a signature");
    let forged = format!("{signed}.{}", "A".repeat(43));
    for bad in [herenow_testing::token(&expired), forged, "a.b".into()] {
        let mut eve = server.anonymous().await;
        eve.send(json!({"type": "auth", "token": bad})).await;
        eve.next_of_type("auth_error").await;
        eve.expect_close().await;
    }
    for (sample, value) in [
        ("herenow_leaves_total{reason=\"leave\"}", 1.0),
        ("herenow_leaves_total{reason=\"disconnect\"}", 1.0),
        ("herenow_leaves_total{reason=\"timeout\"}", 0.0),
        ("herenow_resyncs_total{cause=\"requested\"}", 1.0),
        ("herenow_resyncs_total{cause=\"slow\"}", 0.0),
        ("herenow_token_verifications_total{result=\"valid\"}", 2.0),
        ("herenow_token_verifications_total{result=\"expired\"}", 1.0),
        ("herenow_token_verifications_total{result=\"bad_signature\"}", 1.0),
        ("herenow_token_verifications_total{result=\"malformed\"}", 1.0),
        ("herenow_token_verification_seconds_count", 5.0),
        ("herenow_token_verification_seconds_bucket{le=\"+Inf\"}", 5.0),
        ("herenow_rule_decisions_total{result=\"denied\"}", 1.0),
        ("herenow_rule_decisions_total{result=\"failed\"}", 1.0),
        ("herenow_rule_decisions_total{result=\"unavailable\"}", 0.0),
    ] {
        counts.becomes(sample, value);
    }
    assert!(counts.read("herenow_rule_decisions_total{result=\"granted\"}") >= 2.0);
    let decided = counts.read("herenow_rule_decisions_total");
    counts.becomes("herenow_rule_decision_seconds_count", decided);
    assert!(counts.read("herenow_rule_decision_seconds_sum") > 0.0);
    // New rules go on with the counts of the old ones.
    server.reload(NAMESPACES).await;
    assert!(subscribe(&mut jane, "presence:closed").await.is_some());
    counts.becomes("herenow_rule_decisions_total{result=\"denied\"}", 2.0);
}

#[tokio::test]
async fn each_flush_counts_how_long_its_oldest_change_has_waited() {
    let (server, counts) = start(|settings| settings.flush_delay_us = Some(300_000));
    let mut jane = server.sign_in(json!({"sub": "jane"})).await;
    assert_eq!(subscribe(&mut jane, "presence:open").await, None);
    jane.next_of_type("presence_sync").await;
    assert_eq!(track(&mut jane, "presence:open").await, None);
    jane.next_of_type("presence_join").await;
    counts.becomes("herenow_flushes_total", 2.0);
    counts.becomes("herenow_flush_wait_seconds_count", 2.0);
    // The flush of the join was held back for 300 ms after that of the list.
    assert!(counts.read("herenow_flush_wait_seconds_bucket{le=\"0.00001\"}") < 2.0);
    assert!(counts.read("herenow_flush_wait_seconds_sum") > 0.0);
}

#[tokio::test]
async fn the_probe_sees_its_own_joins_and_leaves_whatever_the_rules_say() {
    const CLOSED: &str = "{ 'presence:*': { access: { subscribe: () => false } } }";
    let (server, counts) = start(|settings| {
        settings.rules = rules(CLOSED);
        settings.truth_probe_ms = 10;
        // A close frame ends a member at once, with a grace too.
        settings.disconnect_grace_ms = 3_600_000;
    });
    let seen = |rounds: f64| {
        herenow_testing::until(PATIENCE, || {
            counts.read("herenow_probe_close_to_leave_seconds_count") >= rounds
        })
    };
    assert!(seen(3.0), "the probe measures nothing");
    let rounds = counts.read("herenow_probe_join_to_visible_seconds_count");
    assert!(counts.read("herenow_probe_join_to_visible_seconds_sum") > 0.0);
    // New rules are for everybody else.
    server.reload(CLOSED).await;
    assert!(seen(rounds + 3.0), "the probe has stopped");
    assert_eq!(counts.read("herenow_probe_failures_total"), 0.0);
    assert_eq!(counts.read("herenow_rule_decisions_total"), 0.0);
    let mut jane = server.sign_in(json!({"sub": "jane"})).await;
    assert!(subscribe(&mut jane, "presence:herenow-probe").await.is_some());
    counts.becomes("herenow_token_verifications_total", 1.0);
}

#[tokio::test]
async fn without_a_setting_nothing_is_probed() {
    let (_server, counts) = start(|_| {});
    assert!(!counts.page().contains("herenow_probe"));
    assert_eq!(counts.read("herenow_connections_accepted_total"), 0.0);
}
