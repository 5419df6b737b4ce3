//! What the operator's settings mean for sessions.

use std::time::Duration;

use herenow_core::{Limits, RateLimit};

use crate::config::Settings;

/// What sessions have to keep to, from the operator's settings.
pub(super) fn of_sessions(settings: &Settings) -> Limits {
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

/// Messages of one connection that wait behind a decision of the access rules.
const MAX_WAITING_MESSAGES: usize = 64;
/// Memory that everything of one authenticated connection that waits may use, and for each channel
/// that it may subscribe to: a join with the largest state.
const MAX_WAITING_BYTES: usize = 32 * 1024;
const MAX_WAITING_BYTES_PER_CHANNEL: usize = 1536;
/// The same for a connection that has not authenticated.
const MAX_UNAUTHENTICATED_WAITING_BYTES: usize = 16 * 1024;
