//! `herenow check`: what a configuration means, in words and tables. Asks the rules as a running
//! server would; starts none.

use std::fmt::Write as _;
use std::path::Path;

use herenow_core::Right;
use herenow_server::access::{Explanation, Reason, Rules};
use herenow_server::auth::ServiceKeys;
use herenow_server::config::{self, Settings};
use herenow_wire::ChannelName;
use serde_json::{Map, Value};

/// The configuration's file, patterns and settings.
pub fn overview(path: Option<&Path>, settings: &Settings, service_keys: &ServiceKeys) -> String {
    let mut out = match path {
        Some(path) => format!("Configuration: {}\n", path.display()),
        None => {
            format!("Configuration: none ({} were looked for)\n", config::FILE_NAMES.join(", "))
        }
    };
    out.push_str(&match service_keys.count() {
        0 => "Service key: none, so /api/presence lets no backend in (SERVICE_KEY or \
              SERVICE_KEY_FILE sets one)\n"
            .to_owned(),
        1 => "Service key: set\n".to_owned(),
        count => format!("Service key: {count} are set\n"),
    });
    if let Some(cluster) = &settings.cluster {
        let (name, node, servers) = (cluster.name(), cluster.node(), cluster.shown_servers());
        let _ = writeln!(out, "Cluster: {name}, with this node as {node}, over {servers}");
    }
    out.push_str("\nPatterns, the most specific first\n");
    out.push_str(&patterns(settings));
    if !settings.webhooks.is_empty() {
        out.push_str("\nWebhooks\n");
        for (number, webhook) in settings.webhooks.iter().enumerate() {
            let _ = writeln!(out, "  {number}  {webhook}");
        }
    }
    out.push_str("\nSettings in effect\n");
    for (key, value) in config::in_effect(settings) {
        let _ = writeln!(out, "  {key:<30}{value}");
    }
    out
}

/// Who decides about a channel for one connection, and how. `claims`: of its token, if it has authenticated.
pub fn decision(
    rules: &Rules,
    channel: &ChannelName,
    claims: Option<&Map<String, Value>>,
) -> String {
    let who = match claims.and_then(|claims| claims.get("sub")) {
        Some(id) => id.to_string(),
        None => "an unauthenticated connection".into(),
    };
    let mut out = format!("{channel} for {who}\n");
    let pattern = rules.find(channel).map(|row| rules.rows()[row].0.as_str());
    let _ = writeln!(out, "  {:<11}{}", "pattern", pattern.unwrap_or("none matches"));
    for (name, right) in [("subscribe", Right::Subscribe), ("track", Right::Track)] {
        let explanation = rules.explain(channel, right, claims);
        let answer = if explanation.grants() { "yes" } else { "no" };
        let _ = writeln!(out, "  {name:<11}{answer}: {}", why(&explanation));
    }
    out
}

/// The claims that stand behind what rules see as `auth`.
pub fn claims_of(auth: &Map<String, Value>) -> Map<String, Value> {
    let mut claims = match auth.get("claims") {
        Some(Value::Object(claims)) => claims.clone(),
        _ => Map::new(),
    };
    for (key, value) in auth {
        match key.as_str() {
            "claims" => {}
            "id" => drop(claims.insert("sub".into(), value.clone())),
            key => drop(claims.insert(key.into(), value.clone())),
        }
    }
    claims
}

fn patterns(settings: &Settings) -> String {
    let defaults = settings.channel_defaults();
    let head = ["pattern", "subscribe", "track", "maxMembers", "presenceTTL", "disconnectGraceMs"];
    let mut rows = vec![head.map(str::to_owned)];
    let said = |has_rule: bool| if has_rule { "rule" } else { "authenticated" };
    for (pattern, namespace) in settings.rules.rows() {
        let own = namespace.overrides().over(defaults);
        let track = match (namespace.has_track, namespace.has_subscribe) {
            (false, true) => "as subscribe",
            (has_track, _) => said(has_track),
        };
        rows.push([
            pattern.to_string(),
            said(namespace.has_subscribe).into(),
            track.into(),
            own.max_members.to_string(),
            own.presence_ttl_ms.to_string(),
            own.disconnect_grace_ms.to_string(),
        ]);
    }
    rows.push([
        "(all others)".into(),
        said(false).into(),
        said(false).into(),
        defaults.max_members.to_string(),
        defaults.presence_ttl_ms.to_string(),
        defaults.disconnect_grace_ms.to_string(),
    ]);
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut out = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(out, "  {}", line.trim_end());
    }
    out
}

fn why(explanation: &Explanation) -> String {
    match explanation {
        Explanation::Default(Reason::SignedIn) => {
            "no rule decides, and the user is authenticated".into()
        }
        Explanation::Default(Reason::NotSignedIn) => {
            "no rule decides, and the connection is unauthenticated".into()
        }
        Explanation::Default(Reason::Anonymous) => {
            "an unauthenticated connection may not track, whatever the rules return".into()
        }
        Explanation::Rule { name, outcome } => format!("the rule `{name}` was asked; {outcome}"),
        Explanation::NoEngine(failure) => format!("the rule could not be called: {failure}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_rules_see_leads_back_to_claims() {
        let auth = json!({"id": "jane", "role": "admin", "claims": {"team": 7, "sub": "other"}});
        let claims = claims_of(auth.as_object().expect("an object"));
        assert_eq!(Value::Object(claims), json!({"team": 7, "sub": "jane", "role": "admin"}));
    }
}
