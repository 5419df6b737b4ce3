//! Who a verified token speaks for. Knows nothing of signatures: the shell verifies, the session
//! is told the outcome.

use herenow_wire::User;

/// The verified identity of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// The token's `sub`, and its claim `presence.info`.
    pub user: User,
    /// The token's `exp` in milliseconds since the Unix epoch, saturated: a date far ahead means
    /// for ever.
    pub expires_at_unix_ms: u64,
    /// The token's payload as compact JSON, kept for access rules that run later.
    pub claims: Box<str>,
}
