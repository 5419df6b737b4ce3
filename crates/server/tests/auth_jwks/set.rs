//! Which key sets are taken, in whole or in part, and which are refused.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use herenow_server::auth::{Jwks, JwksError, KeyName, MAX_JWKS_BYTES, Unused, UnusedKey};
use serde_json::{Value, json};

use crate::keys::{PUBLIC, judge, jwk, member, set, token, verifier_with};

fn parse(keys: &[Value]) -> Result<Jwks, JwksError> {
    Jwks::parse(&set(keys))
}

fn with(id: &str, name: &str, value: Value) -> Value {
    let mut key = jwk(id);
    key[name] = value;
    key
}

fn without(id: &str, name: &str) -> Value {
    let mut key = jwk(id);
    key.as_object_mut().expect("a key is an object").remove(name);
    key
}

/// Why the last of these keys is not used: alone, and beside one that is.
fn unused(keys: &[Value]) -> Option<Unused> {
    let beside = parse(&[&[jwk("ed-next")], keys].concat()).expect("a key can be used");
    let reason = match parse(keys) {
        Ok(set) if set.warnings().is_empty() => None,
        Ok(_) => return Some(Unused::SameName),
        Err(JwksError::NoUsableKey(unused)) => unused.last().map(|key| key.reason),
        Err(other) => panic!("{other}"),
    };
    assert_eq!(beside.warnings().is_empty(), reason.is_none(), "{:?}", beside.warnings());
    reason
}

fn malformed(member: &'static str) -> Option<Unused> {
    Some(Unused::Malformed(member))
}

fn number(bytes: &[u8]) -> Value {
    URL_SAFE_NO_PAD.encode(bytes).into()
}

#[test]
fn a_set_as_issuers_publish_it_is_taken_without_a_word() {
    let jwks = Jwks::parse(PUBLIC.as_bytes()).expect("the set is right");
    assert_eq!((jwks.count(), jwks.warnings()), (4, &[][..]));
}

#[test]
fn what_is_no_set_is_refused() {
    for text in [
        "",
        "[]",
        "{}",
        "null",
        r#"{"keys":{}}"#,
        r#"{"keys":[1]}"#,
        r#"{"keys":[]} {}"#,
        r#"{"keys":[],"keys":[]}"#,
        r#"{"keys":[{"kty":"RSA","kty":"EC"}]}"#,
        "-----BEGIN PUBLIC KEY-----",
        "\u{feff}{}",
        "\u{feff}\u{feff}{\"keys\":[]}",
    ] {
        assert_eq!(Jwks::parse(text.as_bytes()).err(), Some(JwksError::NotASet), "{text}");
    }
    assert_eq!(Jwks::parse(b"{\"keys\":[\xff]}").err(), Some(JwksError::NotASet));
    let long = format!("{PUBLIC}{}", " ".repeat(MAX_JWKS_BYTES));
    assert_eq!(Jwks::parse(long.as_bytes()).err(), Some(JwksError::TooLong));
    assert_eq!(parse(&[]).err(), Some(JwksError::NoUsableKey(Vec::new())));
}

#[test]
fn keys_for_something_else_are_passed_over_with_a_warning() {
    for key in [
        with("rsa", "use", json!("enc")),
        with("rsa", "use", json!(null)),
        with("rsa", "alg", json!("PS256")),
        with("rsa", "alg", json!("RS512")),
        with("rsa", "alg", json!("RSA-OAEP")),
        with("rsa", "alg", json!("HS256")),
        with("rsa", "alg", json!("none")),
        with("rsa", "key_ops", json!(["sign"])),
        with("rsa", "key_ops", json!([])),
        with("rsa", "key_ops", json!("verify")),
        with("ec", "alg", json!("ES384")),
        with("ec", "alg", json!("ECDH-ES")),
        with("ec", "crv", json!("P-384")),
        with("ec", "crv", json!("secp256k1")),
        with("ed", "crv", json!("X25519")),
        with("ed", "crv", json!("Ed448")),
        with("ed", "kty", json!("AKP")),
        with("ed", "kty", json!(7)),
        without("ec", "kty"),
        without("ec", "crv"),
        json!({ "kty": "oct", "kid": "s", "k": "c2VjcmV0" }),
    ] {
        assert!(unused(std::slice::from_ref(&key)).is_some(), "{key}");
        let mixed = parse(&[key.clone(), jwk("ed-next")]).expect("the other key is right");
        assert_eq!((mixed.count(), mixed.warnings().len()), (1, 1), "{key}");
        assert!(mixed.warnings()[0].contains("is not used"), "{:?}", mixed.warnings());
        assert!(!mixed.warnings()[0].contains("c2VjcmV0"), "{:?}", mixed.warnings());
    }
    let fit = with("rsa", "key_ops", json!(["verify", "encrypt"]));
    assert_eq!(parse(&[fit]).expect("it may verify").warnings(), &[] as &[String]);
}

#[test]
fn an_rsa_key_has_2048_to_4096_bits() {
    let short = include_bytes!("keys/rsa_of_1024_bits.json");
    let refused = Jwks::parse(short).expect_err("it is weak");
    let weak = UnusedKey { key: KeyName::Id("weak".into()), reason: Unused::RsaBits(1024) };
    assert_eq!(refused, JwksError::NoUsableKey(vec![weak]));
    assert!(refused.to_string().contains("1024 bits; it should have 2048 to 4096"), "{refused}");
    let bits = |modulus: &[u8]| match unused(&[with("rsa", "n", number(modulus))]) {
        None => None,
        Some(Unused::RsaBits(bits)) => Some(bits),
        Some(other) => panic!("{other}"),
    };
    assert_eq!(bits(&[&[0x7f][..], &[0xff; 255]].concat()), Some(2047));
    assert_eq!(bits(&[0xff; 256]), None);
    assert_eq!(bits(&[0xff; 512]), None);
    assert_eq!(bits(&[&[1][..], &[0xff; 512]].concat()), Some(4097));
    assert_eq!(bits(&[]), Some(0));
    // Zeros in front make no key longer.
    assert_eq!(bits(&[vec![0; 200], vec![0xff; 128]].concat()), Some(1024));
    assert_eq!(bits(&[vec![0; 7], vec![0xff; 256]].concat()), None);
}

#[test]
fn an_rsa_key_needs_an_odd_modulus_and_an_exponent_that_hides_something() {
    let even = [vec![0xff; 255], vec![0xfe]].concat();
    assert_eq!(unused(&[with("rsa", "n", number(&even))]), malformed("n"));
    assert_eq!(unused(&[with("rsa", "e", number(&[0, 1]))]), Some(Unused::Weak));
    for exponent in [&[][..], &[0], &[2], &[1, 0, 0], &[2, 0, 0, 0, 1], &[1; 9]] {
        let refused = unused(&[with("rsa", "e", number(exponent))]);
        assert_eq!(refused, malformed("e"), "{exponent:?}");
    }
    assert!(parse(&[with("rsa", "e", number(&[3]))]).is_ok());
}

#[test]
fn members_that_are_missing_or_no_base64url_are_named() {
    for (id, member_name) in [("rsa", "n"), ("rsa", "e"), ("ec", "x"), ("ec", "y"), ("ed", "x")] {
        assert_eq!(unused(&[without(id, member_name)]), malformed(member_name));
        let bytes = member(&jwk(id), member_name);
        let mut wrong = vec![json!(null), json!(1), json!([1]), json!("?"), json!(" AQAB")];
        // Three bytes look the same in every alphabet.
        if bytes.len() > 3 {
            let odd = [&bytes[..bytes.len() - 1], &[0xfb, 0xff, 0xff]].concat();
            wrong.push(STANDARD.encode(odd).into());
        }
        for value in wrong {
            let refused = unused(&[with(id, member_name, value.clone())]);
            assert_eq!(refused, malformed(member_name), "{value}");
        }
        let padded = with(id, member_name, URL_SAFE.encode(&bytes).into());
        assert_eq!(unused(&[padded]), None, "{member_name} of {id} with padding");
    }
}

#[test]
fn points_have_their_length_and_lie_on_their_curve() {
    for id in ["ec", "ed"] {
        let x = member(&jwk(id), "x");
        for wrong in [x[1..].to_vec(), [&[0][..], &x].concat(), Vec::new()] {
            let refused = unused(&[with(id, "x", number(&wrong))]);
            assert_eq!(refused, malformed("x"), "{wrong:?}");
        }
    }
    let mut beside = member(&jwk("ec"), "x");
    beside[31] ^= 1;
    assert_eq!(unused(&[with("ec", "x", number(&beside))]), malformed("x"));
    let mut nowhere = [0; 32];
    nowhere[0] = 2;
    assert_eq!(unused(&[with("ed", "x", number(&nowhere))]), malformed("x"));
}

#[test]
fn a_point_of_small_order_is_refused_since_anybody_can_sign_for_it() {
    let mut one = [0; 32];
    one[0] = 1;
    let mut minus_one = [0xff; 32];
    (minus_one[0], minus_one[31]) = (0xec, 0x7f);
    for point in [[0; 32], one, minus_one] {
        let refused = unused(&[with("ed", "x", number(&point))]);
        assert_eq!(refused, Some(Unused::Weak), "{point:?}");
    }
}

#[test]
fn of_two_keys_with_one_kid_and_algorithm_the_first_is_used() {
    assert_eq!(unused(&[jwk("ed"), jwk("ed")]), Some(Unused::SameName));
    let twice = verifier_with(&[jwk("ed"), with("ed-next", "kid", json!("ed"))], None);
    assert_eq!(judge(&twice, &token("ed")), Ok("jane".into()));
    // A kid may stand for a key of each kind, as RFC 7517 says.
    let kinds = verifier_with(&[with("ec", "kid", json!("ed")), jwk("ed")], None);
    assert_eq!(judge(&kinds, &token("ed")), Ok("jane".into()));
    let mut for_encryption = with("rsa", "kid", json!("ed"));
    for_encryption["use"] = "enc".into();
    assert!(parse(&[for_encryption, jwk("ed")]).is_ok());
    // Without a name they cannot be told apart, and tokens without one are refused then.
    assert!(parse(&[without("ed", "kid"), without("ed-next", "kid")]).is_ok());
}

#[test]
fn a_kid_that_is_no_text_keeps_no_other_key_from_being_used() {
    for kid in [json!(1), json!([]), json!(true)] {
        assert_eq!(unused(&[with("ed", "kid", kid.clone())]), Some(Unused::NoText), "{kid}");
        let mut for_encryption = with("rsa", "kid", kid.clone());
        for_encryption["use"] = "enc".into();
        assert_eq!(unused(&[for_encryption]), Some(Unused::OtherUse), "{kid}");
    }
    let nameless = parse(&[with("ed", "kid", json!(null))]).expect("null is no name");
    assert_eq!((nameless.count(), nameless.warnings()), (1, &[][..]));
}

#[test]
fn a_byte_order_mark_before_a_set_is_ignored() {
    let marked = [b"\xef\xbb\xbf", PUBLIC.as_bytes()].concat();
    assert_eq!(Jwks::parse(&marked).expect("the set is right").count(), 4);
}

#[test]
fn eddsa_may_be_called_by_the_name_of_its_curve() {
    assert_eq!(unused(&[with("ed", "alg", json!("Ed25519"))]), None);
    assert_eq!(unused(&[with("ec", "alg", json!("Ed25519"))]), Some(Unused::OtherKind));
}

#[test]
fn of_a_private_key_the_public_part_is_used_and_the_rest_warned_of_unseen() {
    let private = with("ed", "d", json!("dGhpcyBpcyBwcml2YXRl"));
    let jwks = parse(std::slice::from_ref(&private)).expect("its public part is right");
    assert_eq!((jwks.count(), jwks.warnings().len()), (1, 1));
    assert!(jwks.warnings()[0].contains("key \"ed\" holds its private part"));
    let shown = format!("{jwks:?}");
    assert!(!shown.contains("dGhpcyBpcyBwcml2YXRl"), "{shown}");
    assert_eq!(judge(&verifier_with(&[private], None), &token("ed")), Ok("jane".into()));
}

#[test]
fn errors_show_no_more_of_a_kid_than_fits_a_line() {
    let long = format!("a\n{}", "b".repeat(10_000));
    let key = with("ed", "kid", json!(long));
    let set = parse(&[key.clone(), key]).expect("one of them is used");
    let said = &set.warnings()[0];
    assert!(said.len() < 200 && !said.contains('\n'), "{said}");
    let odd = without("ed", "x");
    let said = parse(&vec![odd; 1000]).expect_err("none is used").to_string();
    assert!(said.len() < 600 && said.ends_with("and 996 more keys are not used"), "{said}");
}
