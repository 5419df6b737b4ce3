//! Fields of a state that end by themselves: which, and after what time.
//!
//! Knows how to take a field out of a compact state; knows nothing of when that is done.

use crate::canonical::push_text;
use crate::json::{JsonError, Reader, Skip, Value};
use crate::state::State;

/// The `expire` of a message: fields of its state, each with the time after which it ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExpiringFields {
    fields: Box<[ExpiringField]>,
    /// The state without any of them.
    rest: State,
}

/// One of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExpiringField {
    /// Its name.
    pub name: FieldName,
    /// After how many milliseconds it ends.
    pub after_ms: u32,
}

/// The name of a field as it stands in a compact state, without the quotes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FieldName(Box<str>);

/// What an `expire` has that is not valid is for one sentence to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ExpireError;

impl ExpiringFields {
    /// The most fields that may be named.
    pub const MAX_FIELDS: usize = 8;
    /// The shortest time.
    pub const MIN_MS: u32 = 1_000;
    /// The longest time: an hour.
    pub const MAX_MS: u32 = 3_600_000;

    /// What of these the state has. `None` if it has none of them.
    pub(crate) fn of(named: Vec<ExpiringField>, state: &State) -> Option<Box<Self>> {
        let mut rest = state.clone();
        let mut fields = Vec::with_capacity(named.len());
        for field in named {
            if let Some(less) = rest.without(&field.name) {
                rest = less;
                fields.push(field);
            }
        }
        (!fields.is_empty()).then(|| Box::new(Self { fields: fields.into(), rest }))
    }

    /// The fields.
    pub fn fields(&self) -> &[ExpiringField] {
        &self.fields
    }

    /// What is left when all of them have ended.
    pub fn rest(&self) -> &State {
        &self.rest
    }

    /// What it uses in memory beside the state of the message, estimated from above.
    pub fn bytes(&self) -> usize {
        const EACH: usize = size_of::<ExpiringField>() + 32;
        let names: usize = self.fields.iter().map(|field| field.name.0.len() + EACH).sum();
        size_of::<Self>() + names + self.rest.as_str().len() + 32
    }
}

/// Reads one `expire`. Of equal names the last counts, as in every object.
pub(crate) fn read_expire(
    reader: &mut Reader<'_>,
) -> Result<Result<Vec<ExpiringField>, ExpireError>, JsonError> {
    if !reader.is_at_object() {
        reader.value(&mut Skip)?;
        return Ok(Err(ExpireError));
    }
    let mut fields: Result<Vec<ExpiringField>, ExpireError> = Ok(Vec::new());
    reader.members(|reader, key| {
        let mut quoted = String::new();
        push_text(&mut quoted, key);
        let name = FieldName(quoted[1..quoted.len() - 1].into());
        let value = reader.value(&mut Skip)?;
        let Ok(known) = &mut fields else { return Ok(()) };
        known.retain(|field| field.name != name);
        match after_ms(value) {
            Some(after_ms) if known.len() < ExpiringFields::MAX_FIELDS => {
                known.push(ExpiringField { name, after_ms });
            }
            _ => fields = Err(ExpireError),
        }
        Ok(())
    })?;
    Ok(fields)
}

fn after_ms(value: Value<'_>) -> Option<u32> {
    let Value::Number(number) = value else { return None };
    let ms: f64 = number.json.parse().ok()?;
    let is_valid = ms.fract() == 0.0
        && (f64::from(ExpiringFields::MIN_MS)..=f64::from(ExpiringFields::MAX_MS)).contains(&ms);
    is_valid.then_some(ms as u32)
}

impl ExpireError {
    pub(crate) const SENTENCE: &str = "expire must be an object with at most 8 names of fields, each with a whole number of milliseconds from 1000 to 3600000";
}

impl State {
    /// The state without a field; `None` if it has no such field.
    pub fn without(&self, name: &FieldName) -> Option<Self> {
        let json = self.as_str();
        let mut reader = Reader::new(json);
        let mut found = None;
        let read = reader.members(|reader, key| {
            // A compact state has no blanks: the colon and the key in its quotes stand before this.
            let start = json.len() - reader.remaining_bytes() - key.raw.len() - 3;
            reader.value(&mut Skip)?;
            if key.raw == &*name.0 {
                found = Some((start, json.len() - reader.remaining_bytes()));
            }
            Ok(())
        });
        read.expect("a state is a JSON object");
        let (start, end) = found?;
        // With the comma after it, or with the one before it if it is the last.
        let (before, after) = (&json[..start], &json[end..]);
        let compact = match after.strip_prefix(',') {
            Some(after) => [before, after].concat(),
            None => [before.strip_suffix(',').unwrap_or(before), after].concat(),
        };
        Some(Self::from_compact(&compact).expect("it is shorter than it was"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(json: &str) -> FieldName {
        let fields = read_expire(&mut Reader::new(&format!("{{{json}:1000}}"))).expect("JSON");
        fields.expect("one field").remove(0).name
    }

    #[test]
    fn a_field_is_taken_out_wherever_it_stands() {
        let state = State::parse(r#"{"a":{"b":1},"b":[1,"}"],"\u00e9\n":"x"}"#).expect("a state");
        let without = |json: &str| state.without(&named(json)).map(|rest| rest.as_str().to_owned());
        assert_eq!(without(r#""a""#).expect("it has it"), "{\"b\":[1,\"}\"],\"\u{e9}\\n\":\"x\"}");
        assert_eq!(without(r#""b""#).expect("it has it"), "{\"a\":{\"b\":1},\"\u{e9}\\n\":\"x\"}");
        let last = without(r#""\u00e9\u000a""#).expect("it has it, however it is written");
        assert_eq!(last, r#"{"a":{"b":1},"b":[1,"}"]}"#);
        assert_eq!(without(r#""c""#), None);
        let only = State::parse(r#"{"a":1}"#).expect("a state");
        assert_eq!(only.without(&named(r#""a""#)).expect("it has it").as_str(), "{}");
    }
}
