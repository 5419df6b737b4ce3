//! The one table of settings: key, environment variable, flag, unit, bounds and meaning of each. The
//! file loader, the environment, the command line with its `--help`, and docs/configuration.md all
//! read it, so they cannot disagree.

use std::net::SocketAddr;

use super::network::Network;
use super::origin::Origin;
use super::settings::Settings;

/// One setting as an operator sees it.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The key under `realtime` in the settings file.
    pub key: &'static str,
    /// The environment variable that overrides the file.
    pub env: &'static str,
    /// The flag that overrides both, without its dashes.
    pub flag: &'static str,
    /// What it does, in one sentence.
    pub meaning: &'static str,
    /// What it may hold.
    pub kind: Kind,
}

/// What a setting may hold, and where it goes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A whole number within bounds.
    Number {
        /// What is counted.
        unit: &'static str,
        /// The smallest allowed.
        min: u64,
        /// The largest allowed.
        max: u64,
        /// Reads the field.
        read: fn(&Settings) -> u64,
        /// Writes the field; the value is within the bounds.
        write: fn(&mut Settings, u64),
    },
    /// Addresses and networks.
    Networks {
        /// The field.
        field: fn(&mut Settings) -> &mut Vec<Network>,
    },
    /// An address and a port to listen on, or none.
    Address {
        /// The field.
        field: fn(&mut Settings) -> &mut Option<SocketAddr>,
    },
    /// Origins of pages, or all below a domain.
    Origins {
        /// The field.
        field: fn(&mut Settings) -> &mut Vec<Origin>,
    },
}

macro_rules! number {
    ($field:ident, $unit:literal, $min:literal..=$max:literal) => {
        Kind::Number {
            unit: $unit,
            min: $min,
            max: $max,
            read: |settings| settings.$field as u64,
            // The bounds of every row fit the type of its field; a test holds them to it.
            write: |settings, value| settings.$field = value as _,
        }
    };
}

/// Every setting.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "presenceTTL",
        env: "HERENOW_PRESENCE_TTL",
        flag: "presence-ttl",
        meaning: "How long a silent connection stays a member of its channels; then it leaves with `timeout`.",
        kind: number!(presence_ttl_ms, "ms", 1_000..=86_400_000),
    },
    Setting {
        key: "authTimeoutMs",
        env: "HERENOW_AUTH_TIMEOUT_MS",
        flag: "auth-timeout-ms",
        meaning: "How long a connection may stay without authenticating or subscribing to a public channel.",
        kind: number!(auth_timeout_ms, "ms", 100..=600_000),
    },
    Setting {
        key: "hibernateAfterMs",
        env: "HERENOW_HIBERNATE_AFTER_MS",
        flag: "hibernate-after-ms",
        meaning: "How long a channel may be without a presence message before the server frees its memory; 0: never.",
        kind: number!(hibernate_after_ms, "ms", 0..=86_400_000),
    },
    Setting {
        key: "disconnectGraceMs",
        env: "HERENOW_DISCONNECT_GRACE_MS",
        flag: "disconnect-grace-ms",
        meaning: "How long the members of a broken connection stay, so that it can resume (if a page went away, at most 15 s); 0: they leave at once.",
        kind: number!(disconnect_grace_ms, "ms", 0..=3_600_000),
    },
    Setting {
        key: "drainMs",
        env: "HERENOW_DRAIN_MS",
        flag: "drain-ms",
        meaning: "The period over which clients are told to reconnect after a stop or an upgrade; \
                  0: one second plus 0.25 ms for each connection, at most 30 s.",
        kind: number!(drain_ms, "ms", 0..=600_000),
    },
    Setting {
        key: "truthProbeMs",
        env: "HERENOW_TRUTH_PROBE_MS",
        flag: "truth-probe-ms",
        meaning: "How often two clients within the server measure the time until a join and a \
                  leave reach another client, for /metrics; 0: never.",
        kind: number!(truth_probe_ms, "ms", 0..=3_600_000),
    },
    Setting {
        key: "maxMessagesPerSecond",
        env: "HERENOW_MAX_MESSAGES_PER_SECOND",
        flag: "max-messages-per-second",
        meaning: "Messages per second of one connection that are handled at once; above this rate updates merge.",
        kind: number!(max_messages_per_second, "messages/s", 1..=100_000),
    },
    Setting {
        key: "messageBurst",
        env: "HERENOW_MESSAGE_BURST",
        flag: "message-burst",
        meaning: "Messages that a connection may send at once before the rate applies.",
        kind: number!(message_burst, "messages", 1..=1_000_000),
    },
    Setting {
        key: "maxChannelsPerConnection",
        env: "HERENOW_MAX_CHANNELS_PER_CONNECTION",
        flag: "max-channels-per-connection",
        meaning: "Channels that one connection may subscribe to; one more is answered `CHANNEL_LIMIT`.",
        kind: number!(max_channels_per_connection, "channels", 1..=10_000),
    },
    Setting {
        key: "maxMembers",
        env: "HERENOW_MAX_MEMBERS",
        flag: "max-members",
        meaning: "Members that one channel may have; one more is answered `MEMBER_LIMIT`.",
        kind: number!(max_members, "members", 1..=1_000_000),
    },
    Setting {
        key: "maxFrameBytes",
        env: "HERENOW_MAX_FRAME_BYTES",
        flag: "max-frame-bytes",
        meaning: "Size of one message from a client, all fragments together; a larger one closes \
                  the connection with 1009.",
        kind: number!(max_frame_bytes, "bytes", 2_048..=1_048_576),
    },
    Setting {
        key: "sendQueueBytes",
        env: "HERENOW_SEND_QUEUE_BYTES",
        flag: "send-queue-bytes",
        meaning: "Replies and deltas that may wait in the send queue of a slow connection; above \
                  this size one snapshot replaces the deltas. Before the connection has \
                  authenticated: 16384.",
        kind: number!(send_queue_bytes, "bytes", 16_384..=67_108_864),
    },
    Setting {
        key: "maxConnections",
        env: "HERENOW_MAX_CONNECTIONS",
        flag: "max-connections",
        meaning: "Connections that the server holds; an upgrade above this number is answered 503.",
        kind: number!(max_connections, "connections", 1..=10_000_000),
    },
    Setting {
        key: "maxDetachedPerUser",
        env: "HERENOW_MAX_DETACHED_PER_USER",
        flag: "max-detached-per-user",
        meaning: "Broken connections of one user that are kept for `disconnectGraceMs`; above this \
                  number the oldest one ends.",
        kind: number!(max_detached_per_user, "connections", 1..=10_000),
    },
    Setting {
        key: "maxUnauthenticatedPerAddress",
        env: "HERENOW_MAX_UNAUTHENTICATED_PER_ADDRESS",
        flag: "max-unauthenticated-per-address",
        meaning: "Connections per address (IPv6: per /64, and eight times as many per /48) that \
                  have neither authenticated nor subscribed to a public channel; an upgrade above \
                  this number is answered 429. Loopback is not counted.",
        kind: number!(max_unauthenticated_per_address, "connections", 1..=1_000_000),
    },
    Setting {
        key: "trustedProxies",
        env: "HERENOW_TRUSTED_PROXIES",
        flag: "trusted-proxies",
        meaning: "Proxies that name the address of each client in `X-Forwarded-For` or \
                  `Forwarded`; these headers of other peers are ignored.",
        kind: Kind::Networks { field: |settings| &mut settings.trusted_proxies },
    },
    Setting {
        key: "metricsFrom",
        env: "HERENOW_METRICS_FROM",
        flag: "metrics-from",
        meaning: "Peers that may read /metrics without a token, except through a proxy; by default \
                  none, not even this machine.",
        kind: Kind::Networks { field: |settings| &mut settings.metrics_from },
    },
    Setting {
        key: "metricsListen",
        env: "HERENOW_METRICS_LISTEN",
        flag: "metrics-listen",
        meaning: "A separate port for /metrics and /health, which the load on the main port does \
                  not affect. Other machines need metricsFrom or a token there too.",
        kind: Kind::Address { field: |settings| &mut settings.metrics_listen },
    },
    Setting {
        key: "allowedOrigins",
        env: "HERENOW_ALLOWED_ORIGINS",
        flag: "allowed-origins",
        meaning: "Origins that browsers may connect from; empty means any.",
        kind: Kind::Origins { field: |settings| &mut settings.allowed_origins },
    },
];

impl Setting {
    /// The value without which it works, with its unit.
    pub fn default(&self) -> String {
        match self.kind {
            Kind::Number { unit, read, .. } => format!("{} {unit}", read(&Settings::default())),
            Kind::Networks { .. } | Kind::Address { .. } => "none".into(),
            Kind::Origins { .. } => "any".into(),
        }
    }

    /// What it may hold.
    pub fn allowed(&self) -> String {
        match self.kind {
            Kind::Number { min, max, .. } => format!("{min} to {max}"),
            Kind::Networks { .. } => "IP addresses, CIDR networks".into(),
            Kind::Address { .. } => "an address and a port such as 127.0.0.1:9460".into(),
            Kind::Origins { .. } => {
                "origins such as https://example.com, https://*.example.com".into()
            }
        }
    }

    /// What its flag's value is called.
    pub fn value_name(&self) -> &'static str {
        match self.kind {
            Kind::Number { unit: "ms", .. } => "MS",
            Kind::Number { .. } => "N",
            Kind::Networks { .. } | Kind::Origins { .. } => "LIST",
            Kind::Address { .. } => "ADDR:PORT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bound_survives_the_field_that_holds_it_and_every_default_is_within() {
        for setting in SETTINGS {
            if let Kind::Number { min, max, read, write, .. } = setting.kind {
                let mut settings = Settings::default();
                let default = read(&settings);
                assert!((min..=max).contains(&default), "{}", setting.key);
                for value in [min, max] {
                    write(&mut settings, value);
                    assert_eq!(read(&settings), value, "{}", setting.key);
                }
            }
        }
    }

    #[test]
    fn the_guide_shows_this_table() {
        let mut table = String::from(
            "| key under `realtime` | environment | flag | default | allowed | meaning |\n\
             | --- | --- | --- | --- | --- | --- |\n",
        );
        for setting in SETTINGS {
            let Setting { key, env, flag, meaning, .. } = setting;
            let (value, default) = (setting.value_name(), setting.default());
            let allowed = setting.allowed();
            table.push_str(&format!(
                "| `{key}` | `{env}` | `--{flag} {value}` | {default} | {allowed} | {meaning} |\n"
            ));
        }
        let guide = include_str!("../../../../docs/configuration.md");
        assert!(guide.contains(&table), "docs/configuration.md should contain:\n{table}");
    }

    #[test]
    fn a_flag_is_its_variable_in_other_letters() {
        for setting in SETTINGS {
            let from_env = setting.env.strip_prefix("HERENOW_").expect("ours begin so");
            assert_eq!(setting.flag, from_env.to_lowercase().replace('_', "-"));
        }
    }
}
