//! States with a field that ends by itself. Such a state says when: `ends`, in milliseconds, stays in
//! it. Until then its client sends it with the field `t` and the time that is left, as the SDK does.
//! So whoever sees the state without `t` knows whether that came too early, and once everything is
//! quiet each list must hold the state alone.

use herenow_client::protocol::ServerMessage;
use herenow_core::Instant;

/// A server takes no shorter time, in ms.
const MIN_EXPIRE_MS: u64 = 1_000;
/// The longest in a run, in ms: shorter than the calm after a storm.
const MOST_EXPIRE_MS: u64 = 20_000;

/// The part of a state that says when its field ends, `drawn` ms after the shortest time.
pub fn ending(drawn: u64, now: Instant) -> String {
    let ends_ms = now.as_millis() + MIN_EXPIRE_MS + drawn % MOST_EXPIRE_MS;
    format!(r#","ends":{ends_ms}"#)
}

/// What is sent in place of a text: a state whose field has not ended yet has the field.
pub fn with_field(text: String, now: Instant) -> String {
    let Some((at, ends_ms)) = end_of(&text).filter(|_| text.contains("presence_join")) else {
        return text;
    };
    let left_ms = ends_ms.saturating_sub(now.as_millis());
    if left_ms == 0 {
        return text;
    }
    let expire = format!(r#"{{"expire":{{"t":{}}},"#, left_ms.max(MIN_EXPIRE_MS));
    let (before, after) = text.split_at(at);
    // First or last in its state.
    let (before, after) = match ends_ms % 2 {
        0 => (before.replacen(r#""state":{"#, r#""state":{"t":true,"#, 1), after.to_owned()),
        _ => (before.to_owned(), format!(r#","t":true{after}"#)),
    };
    format!("{before}{after}").replacen('{', &expire, 1)
}

/// Whether a state is the one before without its field.
pub fn has_ended(before: &str, state: &str) -> bool {
    let ends_ms = |state| end_of(state).map(|(_, ends_ms)| ends_ms);
    has_field(before) && !has_field(state) && ends_ms(before) == ends_ms(state)
}

fn has_field(state: &str) -> bool {
    state.contains(r#""t":true"#)
}

/// No field that this message shows has ended early.
///
/// A fast clock takes what is left of their time for more than it is: by so much it may be late.
pub fn check(message: &ServerMessage, now: Instant, per_mille: u64) {
    let early_ms = MOST_EXPIRE_MS * (per_mille - 1_000) / 1_000;
    let now_ms = now.as_millis() + early_ms;
    match message {
        ServerMessage::Sync(snapshot) => {
            snapshot.rows.iter().for_each(|row| check_state(&row.state, now_ms));
        }
        ServerMessage::Join(delta) | ServerMessage::Update(delta) => {
            check_state(&delta.row.state, now_ms);
        }
        _ => {}
    }
}

fn check_state(state: &str, now_ms: u64) {
    if let Some((_, ends_ms)) = end_of(state) {
        let is_there = has_field(state);
        assert!(is_there || now_ms >= ends_ms, "{state} ended early: {now_ms} ms");
    }
}

/// Behind the last digit of the time, and the time.
fn end_of(text: &str) -> Option<(usize, u64)> {
    const NAME: &str = r#""ends":"#;
    let from = text.find(NAME)? + NAME.len();
    let digits = text[from..].bytes().take_while(u8::is_ascii_digit).count();
    let at = from + digits;
    Some((at, text[from..at].parse().expect("some digits")))
}
