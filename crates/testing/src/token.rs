//! Tokens of the secret that every server of a test has.

use std::time::{Duration, SystemTime};

use herenow_server::auth::{Keys, Secret, mint};
use serde_json::Value;

/// What tokens are signed with.
pub const SECRET: &str = "a secret of the tests, long enough for HS256";

/// A token with these claims, `sub` and `exp` among them.
pub fn token(claims: &Value) -> String {
    // Minting refuses what has expired, so it is told a time before that.
    let long_ago = 0;
    mint(&secret(), claims.as_object().expect("claims are an object"), long_ago)
        .expect("the claims are good")
}

/// The present as claims state it.
pub fn unix_seconds() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_secs_f64()
}

/// Keys with [`SECRET`] alone.
pub(crate) fn keys() -> Keys {
    Keys { secret: Some(secret()), ..Keys::default() }
}

fn secret() -> Secret {
    Secret::new(SECRET.as_bytes()).expect("the secret is not empty")
}
