//! Which key a token is checked with, and that nothing else lets one in.

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use herenow_server::auth::{Jwks, Keys, MAX_TOKEN_BYTES, TokenError, Verifier};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::keys::{
    NOW_MS, PAYLOAD, PUBLIC, algorithm, der, judge, jwk, member, set, sign_padded, signed,
    signed_text, token, unsigned, verifier, verifier_with,
};

const EACH: [&str; 3] = ["rsa", "ec", "ed"];

fn hs256(secret: &[u8], header: &Value) -> String {
    let parts = unsigned(&header.to_string(), PAYLOAD);
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length will do");
    mac.update(parts.as_bytes());
    format!("{parts}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

#[test]
fn tokens_of_each_algorithm_are_accepted_whoever_signed_them() {
    let by_openssl: Value =
        serde_json::from_str(include_str!("keys/signed_by_openssl.json")).expect("JSON");
    let all = verifier(&["rsa", "ec", "ed", "ed-next"]);
    for id in EACH {
        assert_eq!(judge(&all, &token(id)), Ok("jane".into()), "{id}");
        let token = by_openssl[id].as_str().expect("there is one of each");
        assert_eq!(judge(&all, token), Ok("jane".into()), "{id}");
    }
}

#[test]
fn a_token_without_a_kid_is_accepted_where_one_key_alone_fits_its_algorithm() {
    let nameless = |id: &str| signed(id, &json!({ "alg": algorithm(id) }), PAYLOAD);
    let some = verifier(&EACH);
    for id in EACH {
        assert_eq!(judge(&some, &nameless(id)), Ok("jane".into()), "{id}");
    }
    let all = verifier(&["rsa", "ec", "ed", "ed-next"]);
    assert_eq!(judge(&all, &nameless("rsa")), Ok("jane".into()));
    for id in ["ed", "ed-next"] {
        assert_eq!(judge(&all, &nameless(id)), Err(TokenError::UnnamedKey), "{id}");
    }
    // One key fits, and it is not the one that signed.
    assert_eq!(judge(&some, &nameless("ed-next")), Err(TokenError::BadSignature));
    assert_eq!(judge(&verifier(&["rsa"]), &nameless("ec")), Err(TokenError::WrongAlgorithm));
}

#[test]
fn a_kid_names_one_key_and_no_other_is_tried() {
    let all = verifier(&["rsa", "ec", "ed", "ed-next"]);
    let named =
        |id: &str, kid: Value| signed(id, &json!({ "alg": algorithm(id), "kid": kid }), PAYLOAD);
    assert_eq!(judge(&all, &named("ed", json!("ed-next"))), Err(TokenError::BadSignature));
    for kid in ["nobody", "", "ED", "ed ", "../keys/ed"] {
        assert_eq!(judge(&all, &named("ed", json!(kid))), Err(TokenError::UnknownKey), "{kid}");
    }
    for kid in [json!(null), json!(1), json!(["ed"]), json!({ "kid": "ed" })] {
        assert_eq!(judge(&all, &named("ed", kid.clone())), Err(TokenError::BadHeader), "{kid}");
    }
    let twice = signed_text("ed", r#"{"alg":"EdDSA","kid":"ec","kid":"ed"}"#, PAYLOAD);
    assert_eq!(judge(&all, &twice), Err(TokenError::BadHeader));
}

#[test]
fn a_key_without_a_kid_serves_tokens_without_one_alone() {
    let mut key = jwk("ec");
    key.as_object_mut().expect("a key is an object").remove("kid");
    let verifier = verifier_with(&[key], None);
    let nameless = signed("ec", &json!({ "alg": "ES256" }), PAYLOAD);
    assert_eq!(judge(&verifier, &nameless), Ok("jane".into()));
    assert_eq!(judge(&verifier, &token("ec")), Err(TokenError::UnknownKey));
}

#[test]
fn a_public_key_is_never_a_secret() {
    let public_pem = include_str!("keys/rsa.public.pem");
    let secret = b"an example secret of 32 bytes!!!";
    let keys: Vec<Value> = EACH.map(jwk).into();
    let alone = verifier(&EACH);
    let with_secret = verifier_with(&keys, Some(secret));
    let mut guesses: Vec<Vec<u8>> = vec![
        public_pem.into(),
        public_pem.trim_end().into(),
        der(public_pem),
        PUBLIC.into(),
        set(&keys),
        jwk("rsa").to_string().into(),
        member(&jwk("rsa"), "n"),
        member(&jwk("ec"), "x"),
        member(&jwk("ed"), "x"),
        jwk("ed")["x"].as_str().expect("text").into(),
        Vec::new(),
    ];
    guesses.push([vec![4], member(&jwk("ec"), "x"), member(&jwk("ec"), "y")].concat());
    for guess in &guesses {
        for id in EACH {
            let named = hs256(guess, &json!({ "alg": "HS256", "kid": id }));
            assert_eq!(judge(&alone, &named), Err(TokenError::WrongAlgorithm), "{id}");
            assert_eq!(judge(&with_secret, &named), Err(TokenError::WrongAlgorithm), "{id}");
            let honest_header = hs256(guess, &json!({ "alg": algorithm(id), "kid": id }));
            assert_eq!(judge(&alone, &honest_header), Err(TokenError::BadSignature), "{id}");
        }
        let nameless = hs256(guess, &json!({ "alg": "HS256" }));
        assert_eq!(judge(&alone, &nameless), Err(TokenError::WrongAlgorithm));
        assert_eq!(judge(&with_secret, &nameless), Err(TokenError::BadSignature));
    }
}

#[test]
fn the_key_pins_the_algorithm_whatever_the_header_says() {
    let all = verifier(&EACH);
    for id in EACH {
        for alg in [
            "none", "None", "NONE", "", "HS256", "HS384", "HS512", "RS256", "RS384", "RS512",
            "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "ES256K", "EdDSA", "rs256",
            "Ed25519",
        ] {
            // RFC 9864 calls EdDSA with Ed25519 so.
            if alg == algorithm(id) || (id, alg) == ("ed", "Ed25519") {
                continue;
            }
            let forged = signed(id, &json!({ "alg": alg, "kid": id }), PAYLOAD);
            assert_eq!(judge(&all, &forged), Err(TokenError::WrongAlgorithm), "{id} as {alg}");
        }
    }
    for header in [r#"{"alg":"none"}"#, r#"{"alg":"none","kid":"rsa"}"#, r#"{"kid":"rsa"}"#, "{}"] {
        let bare = format!("{}.", unsigned(header, PAYLOAD));
        assert_eq!(judge(&all, &bare), Err(TokenError::WrongAlgorithm), "{header}");
    }
}

#[test]
fn a_token_of_an_ed25519_key_may_name_the_curve_as_its_algorithm() {
    let by_curve = signed("ed", &json!({ "alg": "Ed25519", "kid": "ed" }), PAYLOAD);
    assert_eq!(judge(&verifier(&EACH), &by_curve), Ok("jane".into()));
    let nameless = signed("ed", &json!({ "alg": "Ed25519" }), PAYLOAD);
    assert_eq!(judge(&verifier(&EACH), &nameless), Ok("jane".into()));
}

#[test]
fn the_parts_of_a_token_may_be_padded() {
    let all = verifier(&EACH);
    for id in EACH {
        let header = json!({ "alg": algorithm(id), "kid": id }).to_string();
        let encode = |text: &str| URL_SAFE.encode(text);
        let parts = format!("{}.{}", encode(&header), encode(PAYLOAD));
        let padded = format!("{parts}.{}", sign_padded(id, &parts));
        assert!(padded.ends_with('='), "{padded}");
        assert_eq!(judge(&all, &padded), Ok("jane".into()), "{id}");
        let twice = format!("{padded}=");
        assert_eq!(judge(&all, &twice), Err(TokenError::NotThreeParts), "{id}");
    }
}

#[test]
fn a_secret_and_public_keys_stand_side_by_side() {
    let secret = b"an example secret of 32 bytes!!!";
    let both = verifier_with(&EACH.map(jwk), Some(secret));
    for id in EACH {
        assert_eq!(judge(&both, &token(id)), Ok("jane".into()), "{id}");
    }
    // What a backend calls its one secret is its own business.
    for header in [json!({ "alg": "HS256" }), json!({ "alg": "HS256", "kid": "2031-07" })] {
        assert_eq!(judge(&both, &hs256(secret, &header)), Ok("jane".into()), "{header}");
    }
    let unknown = signed("ec", &json!({ "alg": "ES256", "kid": "2031-07" }), PAYLOAD);
    assert_eq!(judge(&both, &unknown), Err(TokenError::UnknownKey));
}

#[test]
fn keys_that_a_token_brings_along_are_never_looked_at() {
    let ours = verifier(&["ed"]);
    let own = jwk("ed-next");
    for (name, value) in [
        ("jwk", own.clone()),
        ("jku", json!("https://example.com/keys.json")),
        ("x5u", json!("https://example.com/cert.pem")),
        ("x5c", json!(["MIIB"])),
    ] {
        let header = json!({ "alg": "EdDSA", "kid": "ed-next", name: value });
        let brought = signed("ed-next", &header, PAYLOAD);
        assert_eq!(judge(&ours, &brought), Err(TokenError::UnknownKey), "{name}");
        let header = json!({ "alg": "EdDSA", name: value });
        let brought = signed("ed-next", &header, PAYLOAD);
        assert_eq!(judge(&ours, &brought), Err(TokenError::BadSignature), "{name}");
    }
}

#[test]
fn a_critical_extension_is_refused_under_every_key() {
    let all = verifier(&EACH);
    for id in EACH {
        for crit in [json!(["b64"]), json!(["exp"]), json!([]), json!(null)] {
            let header = json!({ "alg": algorithm(id), "kid": id, "crit": crit, "b64": false });
            let token = signed(id, &header, PAYLOAD);
            assert_eq!(judge(&all, &token), Err(TokenError::UnknownCritical), "{id} {crit}");
        }
    }
}

#[test]
fn a_signature_that_was_altered_or_made_up_is_refused() {
    let all = verifier(&EACH);
    for id in EACH {
        let token = token(id);
        let (parts, signature) = token.rsplit_once('.').expect("three parts");
        let good = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
        let mut made_up = vec![
            Vec::new(),
            vec![0],
            vec![0; good.len()],
            vec![0xff; good.len()],
            [vec![0; good.len() - 1], vec![1]].concat(),
            good[1..].to_vec(),
            good[..good.len() - 1].to_vec(),
            [good.clone(), vec![0]].concat(),
            [vec![0], good.clone()].concat(),
            good.repeat(2),
        ];
        made_up.extend((0..good.len()).step_by(7).map(|at| {
            let mut altered = good.clone();
            altered[at] ^= 1;
            altered
        }));
        for signature in made_up {
            let forged = format!("{parts}.{}", URL_SAFE_NO_PAD.encode(&signature));
            assert_eq!(judge(&all, &forged), Err(TokenError::BadSignature), "{id} {signature:?}");
        }
        let other = unsigned(
            &json!({ "alg": algorithm(id), "kid": id }).to_string(),
            r#"{"sub":"root","exp":2000000}"#,
        );
        let moved = format!("{other}.{signature}");
        assert_eq!(judge(&all, &moved), Err(TokenError::BadSignature), "{id}");
    }
}

#[test]
fn dates_and_sizes_are_judged_as_under_a_secret() {
    let all = verifier(&EACH);
    for id in EACH {
        let with = |payload: &str| {
            let header = json!({ "alg": algorithm(id), "kid": id });
            judge(&all, &signed(id, &header, payload))
        };
        assert_eq!(with(r#"{"sub":"a"}"#), Err(TokenError::BadExpiry), "{id}");
        assert_eq!(with(r#"{"sub":"a","exp":999940}"#), Err(TokenError::Expired), "{id}");
        assert_eq!(with(r#"{"sub":"a","exp":"2000000"}"#), Err(TokenError::BadExpiry), "{id}");
        let early = with(r#"{"sub":"a","exp":2000000,"nbf":1000061}"#);
        assert_eq!(early, Err(TokenError::NotYetValid), "{id}");
        assert_eq!(with(r#"{"exp":2000000}"#), Err(TokenError::BadSubject), "{id}");
        let huge = format!(r#"{{"sub":"a","exp":2000000,"p":"{}"}}"#, "x".repeat(MAX_TOKEN_BYTES));
        assert_eq!(with(&huge), Err(TokenError::TooLong), "{id}");
    }
}

#[test]
fn iss_and_aud_are_checked_under_public_keys_too() {
    let verifier = Verifier::new(&Keys {
        issuer: Some("https://login.example.com/".into()),
        audience: Some("game".into()),
        ..Keys::default()
    });
    verifier.replace(&Jwks::parse(PUBLIC.as_bytes()).expect("the set is right"));
    let with = |claims: &str| {
        let payload = format!(r#"{{"sub":"jane","exp":2000000{claims}}}"#);
        judge(&verifier, &signed("ed", &json!({ "alg": "EdDSA", "kid": "ed" }), &payload))
    };
    let good = r#","iss":"https://login.example.com/","aud":["chat","game"]"#;
    assert_eq!(with(good), Ok("jane".into()));
    assert_eq!(with(r#","aud":"game""#), Err(TokenError::WrongIssuer));
    let other = with(r#","iss":"https://login.example.com/","aud":"chat""#);
    assert_eq!(other, Err(TokenError::WrongAudience));
}

#[test]
fn keys_that_are_replaced_are_out_and_in_at_once() {
    let verifier = verifier(&["ed"]);
    assert_eq!(judge(&verifier, &token("ed-next")), Err(TokenError::UnknownKey));
    verifier.replace(&Jwks::parse(&set(&[jwk("ed-next")])).expect("the set is right"));
    assert_eq!(judge(&verifier, &token("ed-next")), Ok("jane".into()));
    assert_eq!(judge(&verifier, &token("ed")), Err(TokenError::UnknownKey));
}

#[test]
fn no_refusal_quotes_the_token() {
    let all = verifier(&EACH);
    let token = signed("ed", &json!({ "alg": "EdDSA", "kid": "s3cret-kid" }), PAYLOAD);
    let refused = all.verify(&token, NOW_MS).expect_err("the key is unknown");
    assert!(!format!("{refused} {refused:?}").contains("s3cret"), "{refused}");
}
