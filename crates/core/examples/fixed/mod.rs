//! What the fixed scripts of the core and of the hub have in common: numbers that look random, states
//! and ids, the same each time, to the byte.

use herenow_wire::ConnectionId;

/// Numbers that look random and are the same each time.
pub struct Dice(pub u64);

impl Dice {
    /// From 0 up to, not including, `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % bound
    }
}

/// The text of a track whose state is about `state_bytes` long and differs with `number`.
pub fn track_text(channel: &str, number: u64, state_bytes: usize) -> String {
    let state = state_text(number, state_bytes);
    format!(r#"{{"type":"presence_join","channel":"presence:{channel}","state":{state}}}"#)
}

/// The text of that state.
pub fn state_text(number: u64, state_bytes: usize) -> String {
    let begin = format!(r#"{{"status":"online","cursor":{{"x":{number},"y":0}},"name":""#);
    let padding = "n".repeat(state_bytes.saturating_sub(begin.len() + 2));
    format!(r#"{begin}{padding}"}}"#)
}

/// The id of the connection in `slot` after so many returns. Real ids are random; these are spread as
/// widely.
pub fn connection_id(slot: u32, returns: u32) -> ConnectionId {
    let spread = u64::from(slot).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let both = (u128::from(spread) << 64) | (u128::from(slot) << 32) | u128::from(returns);
    ConnectionId::from_bytes(both.to_be_bytes())
}
