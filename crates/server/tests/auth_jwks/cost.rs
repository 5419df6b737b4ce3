//! What checking a token costs a loop. Not part of the suite: run it alone, optimised, with
//! `cargo test --release -p herenow-server --test auth_jwks -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use herenow_server::auth::{Secret, mint};
use serde_json::json;

use crate::keys::{NOW_MS, jwk, token, verifier_with};

const ROUNDS: usize = 7;
const CHECKS_A_ROUND: u32 = 1_000;

/// A loop that takes a herd of reconnecting clients in spends this on each of them.
const HS256_BOUND: Duration = Duration::from_micros(20);

#[test]
#[ignore = "a measurement, for an idle machine"]
fn a_token_under_a_secret_is_checked_in_20_microseconds() {
    let secret = b"an example secret of 32 bytes!!!";
    let verifier = verifier_with(&["rsa", "ec", "ed"].map(jwk), Some(secret));
    let fastest = |token: &str| {
        let round = || {
            let started = Instant::now();
            for _ in 0..CHECKS_A_ROUND {
                assert!(verifier.verify(token, NOW_MS).is_ok());
            }
            started.elapsed() / CHECKS_A_ROUND
        };
        (0..ROUNDS).map(|_| round()).min().expect("there are rounds")
    };
    for id in ["rsa", "ec", "ed"] {
        println!("{id}: {:?} a token", fastest(&token(id)));
    }
    let claims = json!({ "sub": "jane", "exp": 2_000_000, "email": "jane@example.com" });
    let secret = Secret::new(secret).expect("it is not empty");
    let claims = claims.as_object().expect("an object");
    let hs256 = fastest(&mint(&secret, claims, NOW_MS).expect("good claims"));
    println!("secret: {hs256:?} a token");
    assert!(hs256 < HS256_BOUND, "{hs256:?}");
}
