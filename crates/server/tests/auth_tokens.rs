//! Every rule of protocol.md's tokens, on tokens made by hand: header, payload and signature are
//! written here, so that the server's own minting is not what is tested.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use herenow_server::auth::{Keys, MAX_TOKEN_BYTES, Secret, TokenError, Verifier, mint};
use hmac::{Hmac, Mac};
use serde_json::json;
use sha2::{Sha256, Sha512};

const SECRET: &[u8] = b"an example secret of 32 bytes!!!";
const NOW_S: u64 = 1_000_000;
const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

fn verifier(issuer: Option<&str>, audience: Option<&str>) -> Verifier {
    Verifier::new(&Keys {
        secret: Secret::new(SECRET),
        issuer: issuer.map(str::to_owned),
        audience: audience.map(str::to_owned),
        ..Keys::default()
    })
}

fn signed(header: &str, payload: &str) -> String {
    let parts = unsigned(header, payload);
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).expect("any length will do");
    mac.update(parts.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("{parts}.{signature}")
}

fn unsigned(header: &str, payload: &str) -> String {
    let (header, payload) = (URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    format!("{header}.{payload}")
}

fn judge(token: &str) -> Result<String, TokenError> {
    let auth = verifier(None, None).verify(token, NOW_S * 1000)?;
    Ok(auth.user.as_str().to_owned())
}

fn judge_payload(payload: &str) -> Result<String, TokenError> {
    judge(&signed(HS256, payload))
}

#[test]
fn a_good_token_speaks_for_its_sub_until_its_exp_with_its_claims() {
    let payload = r#"{ "sub": "jane", "exp": 1000060.5, "role": "admin", "custom": {"b":1} }"#;
    let auth =
        verifier(None, None).verify(&signed(HS256, payload), NOW_S * 1000).expect("a good token");
    assert_eq!(auth.user.as_str(), "jane");
    assert_eq!(auth.expires_at_unix_ms, 1_000_060_500);
    let claims: serde_json::Value = serde_json::from_str(&auth.claims).expect("JSON");
    let expected = json!({"sub":"jane","exp":1_000_060.5,"role":"admin","custom":{"b":1}});
    assert_eq!(claims, expected);
}

// P3.14
#[test]
fn sub_is_a_string_of_1_to_256_bytes() {
    let with = |sub: &str| judge_payload(&format!(r#"{{"sub":{sub},"exp":2000000}}"#));
    assert_eq!(with(r#""a""#), Ok("a".into()));
    let longest = "x".repeat(256);
    assert_eq!(with(&format!("\"{longest}\"")), Ok(longest.clone()));
    for sub in ["\"\"", "1", "null", "[]", "{}", "true", &format!("\"{longest}y\"")] {
        assert_eq!(with(sub), Err(TokenError::BadSubject), "{sub}");
    }
    let missing = judge_payload(r#"{"exp":2000000}"#);
    assert_eq!(missing, Err(TokenError::BadSubject));
}

// P1.9
#[test]
fn presence_info_is_an_object_of_at_most_256_bytes() {
    let with = |claim: &str| {
        let payload = format!(r#"{{"sub":"a","exp":2000000,{claim}}}"#);
        let auth = verifier(None, None).verify(&signed(HS256, &payload), NOW_S * 1000)?;
        Ok(auth.user.info().map(|info| info.as_str().to_owned()))
    };
    let info = |json: &str| with(&format!(r#""presence":{{"info":{json}}}"#));
    assert_eq!(info(r#" { "name" : "Jane" } "#), Ok(Some(r#"{"name":"Jane"}"#.into())));
    assert_eq!(info(r#"{"n":9007199254740993}"#), Ok(Some(r#"{"n":9007199254740992}"#.into())));
    let longest = format!(r#"{{"name":"{}"}}"#, "j".repeat(245));
    assert_eq!(info(&longest), Ok(Some(longest.clone())));
    for json in ["1", "null", "[]", r#""Jane""#, &longest.replace("name", "names")] {
        assert_eq!(info(json), Err(TokenError::BadInfo), "{json}");
    }
    // Others may use a claim of that name for something else.
    for claim in [r#""presence":true"#, r#""presence":{"a":1}"#, r#""info":{}"#] {
        assert_eq!(with(claim), Ok(None), "{claim}");
    }
}

// P3.11, P3.14
#[test]
fn exp_is_a_number_with_60_seconds_of_leeway() {
    let with = |exp: &str| judge_payload(&format!(r#"{{"sub":"a","exp":{exp}}}"#));
    for exp in ["1000001", "1000000", "999940.001", "1e300", "18446744073709551615", "1000000.25"] {
        assert_eq!(with(exp), Ok("a".into()), "{exp}");
    }
    for exp in ["999940", "999939.999", "0", "-1", "-1e300"] {
        assert_eq!(with(exp), Err(TokenError::Expired), "{exp}");
    }
    for exp in ["\"2000000\"", "null", "true", "[2000000]", "{}"] {
        assert_eq!(with(exp), Err(TokenError::BadExpiry), "{exp}");
    }
    assert_eq!(judge_payload(r#"{"sub":"a"}"#), Err(TokenError::BadExpiry));
    assert_eq!(with("1e400"), Err(TokenError::BadPayload));
}

// P3.14
#[test]
fn a_date_in_milliseconds_is_refused_with_a_sentence_that_says_so() {
    let with = |claims: &str| judge_payload(&format!(r#"{{"sub":"a",{claims}}}"#));
    for date in ["1000000000000", "1826000000000", "1826000000000.5", "99999999999999"] {
        let exp = with(&format!(r#""exp":{date}"#)).expect_err("it is no date in seconds");
        assert_eq!(exp, TokenError::ExpiryInMilliseconds, "{date}");
        assert!(exp.to_string().contains("exp is in milliseconds"), "{exp}");
        let nbf = with(&format!(r#""exp":2000000,"nbf":{date}"#)).expect_err("nor is this");
        assert_eq!(nbf, TokenError::NotBeforeInMilliseconds, "{date}");
    }
    // The last second of the year 9999, and the largest safe integer, are meant to be for ever.
    for date in ["253402300799", "999999999999", "100000000000000", "9007199254740991"] {
        assert_eq!(with(&format!(r#""exp":{date}"#)), Ok("a".into()), "{date}");
    }
}

#[test]
fn a_claim_that_javascript_would_round_is_text_and_dates_are_not() {
    let payload = r#"{"sub":"a","exp":18446744073709551615,"org":9007199254740993,
                      "custom":{"ids":[-123456789012345678901234567890, 7]}}"#;
    let auth = verifier(None, None).verify(&signed(HS256, payload), 0).expect("a good token");
    assert_eq!(auth.expires_at_unix_ms, u64::MAX);
    let claims: serde_json::Value = serde_json::from_str(&auth.claims).expect("JSON");
    assert_eq!(claims["org"], "9007199254740993");
    assert_eq!(claims["custom"], json!({"ids": ["-123456789012345678901234567890", 7]}));
}

#[test]
fn a_date_far_ahead_is_for_ever() {
    let token = signed(HS256, r#"{"sub":"a","exp":1e300}"#);
    let auth = verifier(None, None).verify(&token, u64::MAX - 1).expect("for ever");
    assert_eq!(auth.expires_at_unix_ms, u64::MAX);
}

#[test]
fn nbf_is_a_number_with_60_seconds_of_leeway() {
    let with = |nbf: &str| judge_payload(&format!(r#"{{"sub":"a","exp":2000000,"nbf":{nbf}}}"#));
    for nbf in ["0", "1000000", "1000060", "1000059.9", "-5"] {
        assert_eq!(with(nbf), Ok("a".into()), "{nbf}");
    }
    for nbf in ["1000060.001", "1000061", "1e300"] {
        assert_eq!(with(nbf), Err(TokenError::NotYetValid), "{nbf}");
    }
    for nbf in ["\"0\"", "null", "false"] {
        assert_eq!(with(nbf), Err(TokenError::BadNotBefore), "{nbf}");
    }
}

#[test]
fn iat_is_never_looked_at() {
    for iat in ["9e9", "\"now\"", "null", "-1"] {
        let payload = format!(r#"{{"sub":"a","exp":2000000,"iat":{iat}}}"#);
        assert_eq!(judge_payload(&payload), Ok("a".into()), "{iat}");
    }
}

// P3.14
#[test]
fn iss_and_aud_are_checked_only_where_they_are_configured() {
    let judge = |issuer, audience, claims: &str| {
        let token = signed(HS256, &format!(r#"{{"sub":"a","exp":2000000{claims}}}"#));
        verifier(issuer, audience).verify(&token, NOW_S * 1000).map(|_| ())
    };
    for claims in ["", r#","iss":"x","aud":"y""#, r#","iss":7,"aud":null"#] {
        assert_eq!(judge(None, None, claims), Ok(()), "{claims}");
    }
    assert_eq!(judge(Some("me"), None, r#","iss":"me""#), Ok(()));
    for claims in ["", r#","iss":"you""#, r#","iss":["me"]"#] {
        assert_eq!(judge(Some("me"), None, claims), Err(TokenError::WrongIssuer), "{claims}");
    }
    for claims in [r#","aud":"app""#, r#","aud":["other","app"]"#] {
        assert_eq!(judge(None, Some("app"), claims), Ok(()), "{claims}");
    }
    for claims in
        ["", r#","aud":"apple""#, r#","aud":[]"#, r#","aud":[["app"]]"#, r#","aud":{"app":1}"#]
    {
        assert_eq!(judge(None, Some("app"), claims), Err(TokenError::WrongAudience), "{claims}");
    }
}

// P3.13
#[test]
fn the_header_has_to_name_the_pinned_algorithm() {
    let payload = r#"{"sub":"a","exp":2000000}"#;
    for alg in [
        "\"none\"",
        "\"None\"",
        "\"\"",
        "\"hs256\"",
        "\"HS384\"",
        "\"HS512\"",
        "\"RS256\"",
        "\"ES256\"",
        "\"EdDSA\"",
        "null",
        "256",
        "[\"HS256\"]",
    ] {
        let token = signed(&format!(r#"{{"alg":{alg}}}"#), payload);
        assert_eq!(judge(&token), Err(TokenError::WrongAlgorithm), "{alg}");
    }
    assert_eq!(judge(&signed("{}", payload)), Err(TokenError::WrongAlgorithm));
    let unsigned = unsigned(r#"{"alg":"none"}"#, payload);
    assert_eq!(judge(&format!("{unsigned}.")), Err(TokenError::WrongAlgorithm));
}

#[test]
fn another_algorithm_under_the_same_secret_is_no_way_in() {
    let parts = unsigned(HS256, r#"{"sub":"a","exp":2000000}"#);
    let mut mac = Hmac::<Sha512>::new_from_slice(SECRET).expect("any length will do");
    mac.update(parts.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    assert_eq!(judge(&format!("{parts}.{signature}")), Err(TokenError::BadSignature));
}

// P3.13
#[test]
fn a_critical_extension_is_refused_whatever_it_is() {
    for crit in [r#"["exp"]"#, r#"["b64"]"#, "[]", "null", "1"] {
        let token =
            signed(&format!(r#"{{"alg":"HS256","crit":{crit}}}"#), r#"{"sub":"a","exp":2000000}"#);
        assert_eq!(judge(&token), Err(TokenError::UnknownCritical), "{crit}");
    }
}

// P3.13
#[test]
fn keys_that_stand_twice_and_trailing_bytes_are_refused() {
    let good = r#"{"sub":"a","exp":2000000}"#;
    for payload in [
        r#"{"sub":"a","exp":2000000,"sub":"b"}"#,
        r#"{"sub":"a","exp":2000000,"role":1,"role":1}"#,
        r#"{"sub":"a","exp":2000000,"custom":{"level":1,"level":9}}"#,
        r#"{"sub":"a","exp":2000000,"teams":[{"id":1},[{"id":1,"\u0069d":2}]]}"#,
        r#"{"sub":"a","exp":2000000} {}"#,
        r#"{"sub":"a","exp":2000000}x"#,
        "[]",
        "",
        "\"a\"",
    ] {
        assert_eq!(judge_payload(payload), Err(TokenError::BadPayload), "{payload}");
    }
    let nested = r#"{"alg":"HS256","jwk":{"kty":"oct","kty":"RSA"}}"#;
    let twice = r#"{"alg":"none","alg":"HS256"}"#;
    for header in [twice, nested, r#"{"alg":"HS256"}{}"#, "[]", "", "1"] {
        assert_eq!(judge(&signed(header, good)), Err(TokenError::BadHeader), "{header}");
    }
}

// P3.13
#[test]
fn a_key_that_javascript_takes_for_a_prototype_is_refused_at_any_depth() {
    for claims in [
        r#""__proto__":{"role":"admin"}"#,
        r#""__proto__":null"#,
        r#""custom":{"__proto__":{"role":"admin"}}"#,
        r#""teams":[{"\u005f_proto__":1}]"#,
    ] {
        let payload = format!(r#"{{"sub":"a","exp":2000000,{claims}}}"#);
        assert_eq!(judge_payload(&payload), Err(TokenError::BadPayload), "{payload}");
    }
    let payload = r#"{"sub":"a","exp":2000000,"team":"__proto__","constructor":{"__proto":1}}"#;
    assert_eq!(judge_payload(payload), Ok("a".into()));
}

#[test]
fn a_token_that_is_altered_or_signed_with_another_key_is_refused() {
    let token = signed(HS256, r#"{"sub":"a","exp":2000000}"#);
    let (parts, signature) = token.rsplit_once('.').expect("three parts");
    let other = unsigned(HS256, r#"{"sub":"b","exp":2000000}"#);
    for altered in [
        format!("{other}.{signature}"),
        format!("{parts}."),
        format!("{parts}.{}", URL_SAFE_NO_PAD.encode([0; 32])),
        format!("{parts}.{}", &signature[..signature.len() - 3]),
    ] {
        assert_eq!(judge(&altered), Err(TokenError::BadSignature), "{altered}");
    }
    let stranger =
        Verifier::new(&Keys { secret: Secret::new(b"another secret"), ..Keys::default() });
    assert_eq!(stranger.verify(&token, NOW_S * 1000), Err(TokenError::BadSignature));
}

#[test]
fn what_is_no_jwt_is_refused() {
    let token = signed(HS256, r#"{"sub":"a","exp":2000000}"#);
    for text in [
        "".to_owned(),
        ".".into(),
        "a".into(),
        "a.b".into(),
        format!("{token}=="),
        format!(" {token}"),
        format!("{token}\n"),
        token.replace('.', "+"),
        "é.é.é".into(),
    ] {
        assert_eq!(judge(&text), Err(TokenError::NotThreeParts), "{text}");
    }
    assert!(judge(&format!("{token}.{token}")).is_err());
}

// P3.13
#[test]
fn a_token_of_8_kib_is_read_and_a_longer_one_is_not() {
    let padded = |bytes: usize| {
        let padding = "x".repeat(bytes);
        signed(HS256, &format!(r#"{{"sub":"a","exp":2000000,"p":"{padding}"}}"#))
    };
    let fits = padded(6_000);
    assert!(fits.len() <= MAX_TOKEN_BYTES);
    assert_eq!(judge(&fits), Ok("a".into()));
    let long = padded(6_200);
    assert!(long.len() > MAX_TOKEN_BYTES);
    assert_eq!(judge(&long), Err(TokenError::TooLong));
}

#[test]
fn without_a_key_every_token_is_refused() {
    let verifier = Verifier::new(&Keys::default());
    let token = signed(HS256, r#"{"sub":"a","exp":2000000}"#);
    assert_eq!(verifier.verify(&token, NOW_S * 1000), Err(TokenError::NoKey));
}

#[test]
fn what_is_minted_is_accepted_and_what_would_not_be_is_not_minted() {
    let secret = Secret::new(SECRET).expect("it is not empty");
    let claims = |value: serde_json::Value| value.as_object().expect("an object").clone();
    let good = claims(json!({"sub":"jane","exp":2_000_000,"role":"x"}));
    let token = mint(&secret, &good, NOW_S * 1000).expect("good claims");
    assert_eq!(judge(&token), Ok("jane".into()));
    let expired = claims(json!({"sub":"jane","exp":1}));
    assert_eq!(mint(&secret, &expired, NOW_S * 1000), Err(TokenError::Expired));
    let nobody = claims(json!({"exp":2_000_000}));
    assert_eq!(mint(&secret, &nobody, NOW_S * 1000), Err(TokenError::BadSubject));
}

#[test]
fn nothing_that_can_be_printed_shows_a_secret() {
    let keys = Keys { secret: Secret::new(SECRET), ..Keys::default() };
    let shown = format!("{keys:?} {:?}", Verifier::new(&keys));
    assert!(!shown.contains("example secret"), "{shown}");
    assert!(!shown.contains("97, 110"), "{shown}");
}
