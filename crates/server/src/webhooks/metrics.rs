//! What endpoints have done, as Prometheus reads it. An endpoint is its number in the configuration: its
//! URL may hold a secret.

use std::fmt::Write as _;

use super::endpoint::EndpointMetrics;

/// Nothing if there is no endpoint.
pub(crate) fn render(endpoints: &[EndpointMetrics]) -> String {
    let mut out = String::new();
    if endpoints.is_empty() {
        return out;
    }
    let mut family = |name: &str, kind: &str, help: &str, values: &[(&str, Read)]| {
        let _ = writeln!(out, "# HELP herenow_webhook_{name} {help}");
        let _ = writeln!(out, "# TYPE herenow_webhook_{name} {kind}");
        for (number, endpoint) in endpoints.iter().enumerate() {
            for (labels, read) in values {
                let value = read(endpoint);
                let _ = writeln!(
                    out,
                    "herenow_webhook_{name}{{endpoint=\"{number}\"{labels}}} {value}"
                );
            }
        }
    };
    family(
        "events_total",
        "counter",
        "Events of webhooks that were delivered, or dropped since a queue was full or the endpoint never took them.",
        &[
            (",result=\"delivered\"", |endpoint| endpoint.delivered),
            (",result=\"dropped\"", |endpoint| endpoint.dropped),
        ],
    );
    family(
        "messages_total",
        "counter",
        "Messages of webhooks that were sent: each has up to a hundred events, and is sent again if it failed.",
        &[
            (",result=\"taken\"", |endpoint| endpoint.messages_taken),
            (",result=\"failed\"", |endpoint| endpoint.messages_failed),
        ],
    );
    let waiting: Read = |endpoint| endpoint.waiting;
    family("waiting_events", "gauge", "Events that wait for an endpoint now.", &[("", waiting)]);
    out
}

type Read = fn(&EndpointMetrics) -> u64;
