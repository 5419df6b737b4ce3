//! What the operator's settings mean for hubs and for the sessions in them.

use std::time::Duration;

use herenow_core::{Limits, Peer, RateLimit};
use herenow_hub::Config;

use super::Settings;
use crate::backend::Backends;

/// What the settings do not say of a hub.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HubFacts {
    /// How many there are.
    pub(crate) hubs: u16,
    pub(crate) backends: Backends,
    pub(crate) started_at_unix_ms: u64,
}

/// What the hub `me` is made of.
pub(crate) fn hub_config(settings: &Settings, me: Peer, facts: HubFacts) -> Config {
    let over_zero = |ms: u64| (ms > 0).then(|| Duration::from_millis(ms));
    // Seconds times 2^20, the part of a second in the low bits: grows over restarts within one
    // second too, and stays below 2^53 for the clients' numbers.
    let epoch_base = ((u128::from(facts.started_at_unix_ms) << 20) / 1000) as u64;
    Config {
        me,
        hubs: facts.hubs,
        membership: settings.membership(),
        epoch_base,
        limits: limits(settings),
        presence_ttl: Duration::from_millis(settings.presence_ttl_ms),
        hibernate_after: over_zero(settings.hibernate_after_ms),
        max_detached_per_user: settings.max_detached_per_user,
        max_frame_bytes: settings.max_frame_bytes,
        send_queue_bytes: settings.send_queue_bytes,
        writes_per_turn: WRITES_PER_TURN,
        flush_delay: settings.flush_delay_us.map(Duration::from_micros),
        gather_for: over_zero(settings.gather_ms),
        user_index: facts.backends.user_index(),
        remembers: facts.backends.remembers(),
        fault_on_channel: settings.fault_on_channel.clone(),
    }
}

/// What sessions have to keep to, from the operator's settings.
fn limits(settings: &Settings) -> Limits {
    Limits {
        auth_timeout: Duration::from_millis(settings.auth_timeout_ms),
        expiry_leeway: Duration::from_millis(crate::auth::LEEWAY_MS),
        rate: RateLimit {
            messages_per_second: settings.max_messages_per_second,
            burst: settings.message_burst,
        },
        max_channels: settings.max_channels_per_connection,
        max_waiting_messages: MAX_WAITING_MESSAGES,
        max_waiting_bytes: MAX_WAITING_BYTES
            + settings.max_channels_per_connection * MAX_WAITING_BYTES_PER_CHANNEL,
        max_unauthenticated_waiting_bytes: MAX_UNAUTHENTICATED_WAITING_BYTES,
    }
}

/// Sockets written to in one go: some two milliseconds' worth.
const WRITES_PER_TURN: usize = 512;
/// Messages of one connection that wait behind a decision of the access rules.
const MAX_WAITING_MESSAGES: usize = 64;
/// Memory that everything of one authenticated connection that waits may use, and for each channel
/// that it may subscribe to: a join with the largest state.
const MAX_WAITING_BYTES: usize = 32 * 1024;
const MAX_WAITING_BYTES_PER_CHANNEL: usize = 1536;
/// The same for a connection that has not authenticated.
const MAX_UNAUTHENTICATED_WAITING_BYTES: usize = 16 * 1024;
