//! The compact form of a state: what `JSON.stringify` gives for what `JSON.parse` read, keys in
//! the order in which they first came. The oracle is built on another parser and on nothing of ours.

use std::fmt;

use herenow_wire::{JsonError, State, StateError};
use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

fn compact(json: &str) -> Result<String, StateError> {
    State::parse(json).map(|state| state.as_str().to_owned())
}

/// The compact form of one value.
fn value(json: &str) -> String {
    let object =
        compact(&format!("{{\"v\":{json}}}")).unwrap_or_else(|error| panic!("{json}: {error}"));
    object.strip_prefix("{\"v\":").unwrap().strip_suffix('}').unwrap().to_owned()
}

// P1.7
#[test]
fn numbers_are_written_as_ecmascript_writes_the_same_double() {
    for (json, expected) in [
        ("0", "0"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("0e5", "0"),
        ("-0E-400", "0"),
        ("1e-400", "0"),
        ("1", "1"),
        ("-1", "-1"),
        ("1.0", "1"),
        ("1.50", "1.5"),
        ("1e3", "1000"),
        ("1E+3", "1000"),
        ("123456789012345", "123456789012345"),
        ("-123456789012345", "-123456789012345"),
        ("9007199254740993", "9007199254740992"),
        ("12345678901234567890", "12345678901234567000"),
        ("100000000000000000000", "100000000000000000000"),
        ("1e20", "100000000000000000000"),
        ("1e21", "1e+21"),
        ("123e20", "1.23e+22"),
        ("0.000001", "0.000001"),
        ("0.0000001", "1e-7"),
        ("1.5e-7", "1.5e-7"),
        ("5e-324", "5e-324"),
        ("2e-324", "0"),
        ("3e-324", "5e-324"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("0.1", "0.1"),
        ("0.30000000000000004", "0.30000000000000004"),
        ("4.35", "4.35"),
        ("1e23", "1e+23"),
        ("9.999999999999999e22", "1e+23"),
        ("0.1e1", "1"),
        ("0.5", "0.5"),
        ("100.25", "100.25"),
        ("-12345678.1234567", "-12345678.1234567"),
        ("1.10", "1.1"),
        ("6.000000000000002E14", "600000000000000.2"),
        ("2.2250738585072011e-308", "2.225073858507201e-308"),
    ] {
        assert_eq!(value(json), expected, "{json}");
    }
}

// P1.7
#[test]
fn texts_carry_only_the_escapes_that_json_asks_for() {
    for (json, expected) in [
        (r#""\/""#, r#""/""#),
        (r#""\u002f\u0041""#, r#""/A""#),
        (r#""\u0022\u005C""#, r#""\"\\""#),
        (r#""\u0008\u0009\u000A\u000c\u000D""#, r#""\b\t\n\f\r""#),
        (r#""\u0000\u000B\u001F""#, r#""\u0000\u000b\u001f""#),
        ("\"\u{7f}\u{80}\u{2028}\u{2029}\"", "\"\u{7f}\u{80}\u{2028}\u{2029}\""),
        (r#""\u007f\u2028\u00e9""#, "\"\u{7f}\u{2028}\u{e9}\""),
        (r#""\uD83D\uDE00""#, "\"\u{1f600}\""),
        (r#""\uD83D\u0041""#, r#""\ud83dA""#),
        (r#""\uD83D""#, r#""\ud83d""#),
        (r#""\uDE00\uD83D""#, r#""\ude00\ud83d""#),
        (r#""\uD83D\uD83D\uDE00""#, "\"\\ud83d\u{1f600}\""),
        (r#""\uDBFFx\uDFFF""#, r#""\udbffx\udfff""#),
        ("\"\\uD83D\u{1f600}\"", "\"\\ud83d\u{1f600}\""),
        (r#""\uD83D\n""#, r#""\ud83d\n""#),
        ("\"\\uD83D\u{e9}\u{e9}\u{e9}\"", "\"\\ud83d\u{e9}\u{e9}\u{e9}\""),
        (r#""\uFFFE\uFFFF""#, "\"\u{fffe}\u{ffff}\""),
    ] {
        assert_eq!(value(json), expected, "{json}");
    }
}

// P1.7
#[test]
fn of_equal_keys_the_last_value_stands_once_in_the_place_of_the_first() {
    let many: String = (0..40).map(|number| format!("\"{number}\":{number},")).collect();
    let many_once = many.trim_end_matches(',').replace("\"7\":7", "\"7\":[]");
    for (json, expected) in [
        (r#"{"a":1,"b":2,"a":3}"#.to_owned(), r#"{"a":3,"b":2}"#.to_owned()),
        (r#"{"a":1,"\u0061":2,"a":{"b":1,"b":2}}"#.into(), r#"{"a":{"b":2}}"#.into()),
        (r#"{"2":1,"1":1,"2":0}"#.into(), r#"{"2":0,"1":1}"#.into()),
        (r#"{"":1,"":2}"#.into(), r#"{"":2}"#.into()),
        (r#"{"\ud800":1,"\uD800":2}"#.into(), r#"{"\ud800":2}"#.into()),
        (
            r#"{"__proto__":1,"a":[{"x":1,"x":2},{"x":3}]}"#.into(),
            r#"{"__proto__":1,"a":[{"x":2},{"x":3}]}"#.into(),
        ),
        (r#"{"o":{"a":1,"a":2},"o":{"b":1}}"#.into(), r#"{"o":{"b":1}}"#.into()),
        (r#"{"a":1,"ab":2,"a":3,"ab":4}"#.into(), r#"{"a":3,"ab":4}"#.into()),
        (format!("{{{many}\"7\":[]}}"), format!("{{{many_once}}}")),
    ] {
        assert_eq!(compact(&json).as_ref(), Ok(&expected), "{json}");
    }
}

// P1.6
#[test]
fn a_state_is_exactly_one_object() {
    assert_eq!(compact(" { } \n").as_deref(), Ok("{}"));
    assert_eq!(compact("[]"), Err(StateError::NotAnObject));
    assert_eq!(compact("{}{}"), Err(StateError::NotJson(JsonError::Syntax)));
    assert_eq!(compact(r#"{"a":1e999}"#), Err(StateError::NotJson(JsonError::NumberOutOfRange)));
}

/// A value as the oracle's parser tells it.
enum Tree {
    Null,
    Boolean(bool),
    Number(f64),
    Text(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Boolean(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Number(value as f64))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Number(value as f64))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Number(value))
    }
    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Tree, A::Error> {
        let mut array = Vec::new();
        while let Some(element) = elements.next_element()? {
            array.push(element);
        }
        Ok(Tree::Array(array))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut object: Vec<(String, Tree)> = Vec::new();
        while let Some((key, value)) = entries.next_entry::<String, Tree>()? {
            match object.iter_mut().find(|(earlier, _)| *earlier == key) {
                Some((_, old)) => *old = value,
                None => object.push((key, value)),
            }
        }
        Ok(Tree::Object(object))
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

impl Tree {
    fn stringify(&self) -> String {
        match self {
            Self::Null => "null".into(),
            Self::Boolean(value) => value.to_string(),
            Self::Number(value) => number_to_string(*value),
            Self::Text(text) => serde_json::to_string(text).unwrap(),
            Self::Array(elements) => {
                let elements: Vec<String> = elements.iter().map(Self::stringify).collect();
                format!("[{}]", elements.join(","))
            }
            Self::Object(members) => {
                let member = |(key, value): &(String, Self)| {
                    format!("{}:{}", serde_json::to_string(key).unwrap(), value.stringify())
                };
                format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
            }
        }
    }
}

/// ECMA-262, Number::toString, on the shortest digits that Rust finds.
fn number_to_string(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    if value < 0.0 {
        return format!("-{}", number_to_string(-value));
    }
    let shortest = format!("{value:e}");
    let places = shortest.bytes().take_while(|&byte| byte != b'e').count().saturating_sub(2);
    // Of two shortest forms that lie equally near, ECMAScript takes the even one and Rust the upper.
    let nearest = format!("{value:.places$e}");
    let scientific = if nearest.parse() == Ok(value) { nearest } else { shortest };
    let (mantissa, exponent) = scientific.split_once('e').unwrap();
    let digits = mantissa.replace('.', "");
    let (k, n) = (digits.len() as i32, exponent.parse::<i32>().unwrap() + 1);
    let zeros = |count: i32| "0".repeat(count as usize);
    match n {
        _ if k <= n && n <= 21 => format!("{digits}{}", zeros(n - k)),
        1..=21 => format!("{}.{}", &digits[..n as usize], &digits[n as usize..]),
        -5..=0 => format!("0.{}{digits}", zeros(-n)),
        _ => {
            let sign = if n > 0 { '+' } else { '-' };
            let point = if k == 1 { "" } else { "." };
            format!("{}{point}{}e{sign}{}", &digits[..1], &digits[1..], (n - 1).abs())
        }
    }
}

/// JSON of every shape around such texts; no lone surrogates, which the oracle refuses.
fn any_json(text: BoxedStrategy<String>) -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        any_number(),
        text.clone(),
    ];
    scalar.prop_recursive(4, 40, 8, move |inner| {
        let member =
            (text.clone(), inner.clone()).prop_map(|(key, value)| format!("{key} : {value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..6)
                .prop_map(|elements| format!("[ {} ]", elements.join(" ,"))),
            prop::collection::vec(member, 0..20)
                .prop_map(|members| format!("{{\t{}\n}}", members.join(",\r"))),
        ]
    })
}

fn any_number() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?(0|[1-9][0-9]{0,24})",
        "-?(0|[1-9][0-9]{0,5})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?",
        "-?[1-9]\\.[0-9]{15,18}[eE]-?(30[0-7]|[12]?[0-9]{1,2})",
        any::<u64>()
            .prop_map(f64::from_bits)
            .prop_filter("finite", |value| value.is_finite())
            .prop_map(|value| format!("{value:e}")),
        any::<f64>()
            .prop_filter("finite", |value| value.is_finite())
            .prop_map(|value| format!("{value}")),
    ]
}

fn any_text() -> BoxedStrategy<String> {
    let pair = "\\\\u[dD][89abAB][0-9a-fA-F]{2}\\\\u[dD][c-fC-F][0-9a-fA-F]{2}";
    text_of(prop_oneof![8 => any_piece(), 1 => pair])
}

fn text_of(piece: impl Strategy<Value = String> + 'static) -> BoxedStrategy<String> {
    let pieces = prop::collection::vec(piece, 0..3);
    pieces.prop_map(|pieces| format!("\"{}\"", pieces.concat())).boxed()
}

fn any_piece() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[a-c]{0,2}",
        2 => "[ !#-\\[\\]-~]{0,20}",
        1 => "[^\"\\\\\u{0}-\u{1f}]{0,3}",
        1 => r#"\\["\\/bfnrt]"#,
        1 => "\\\\u00[0-9a-fA-F]{2}",
        1 => "\\\\u[0-9a-cA-Ce-fE-F][0-9a-fA-F]{3}",
    ]
}

/// Around a value, so that it is a state; split, so that its size never decides.
fn check_against_oracle(json: &str) -> Result<(), TestCaseError> {
    let object = format!("{{\"v\":{json}}}");
    let oracle = serde_json::from_str::<Tree>(&object).map(|tree| tree.stringify());
    match (State::parse(&object), oracle) {
        (Ok(state), Ok(expected)) => {
            prop_assert_eq!(state.as_str(), &expected, "{}", object);
            prop_assert_eq!(State::parse(state.as_str()), Ok(state));
        }
        (Err(StateError::TooLarge { bytes }), Ok(expected)) => {
            prop_assert_eq!(bytes, expected.len());
            prop_assert!(bytes > State::MAX_BYTES);
        }
        (Err(StateError::NotJson(_)), Err(_)) => {}
        (ours, oracle) => prop_assert!(false, "{object}: {ours:?} but {oracle:?}"),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn every_json_text_is_written_as_the_oracle_writes_it(json in any_json(any_text())) {
        check_against_oracle(&json)?;
    }

    #[test]
    fn a_text_with_one_character_changed_is_taken_where_the_oracle_takes_it(
        json in any_json(text_of(any_piece())), place in any::<prop::sample::Index>(), other in "[\"\\\\{}\\[\\],:0-9eE.+\\-tnu\u{0}-\u{20}a\u{e9}]",
    ) {
        let mut characters: Vec<char> = json.chars().collect();
        let place = place.index(characters.len());
        characters[place] = other.chars().next().unwrap();
        let changed: String = characters.into_iter().collect();
        // Half a pair of surrogates is JSON; the oracle alone refuses it.
        prop_assume!(!changed.contains("\\ud") && !changed.contains("\\uD"));
        check_against_oracle(&changed)?;
    }
}
