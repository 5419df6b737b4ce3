//! Where the next page of a list begins, as text that a client gives back unread.
//!
//! A cursor has a checksum over itself and the list that it is of: one that is damaged, or that was
//! given by another list, is refused and not taken for some other place. It is no secret.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::problem::{Code, Problem};

/// A list: what it lists, and of what.
#[derive(Clone, Copy, Debug)]
pub(super) struct List<'a> {
    pub(super) kind: &'static str,
    pub(super) of: &'a str,
}

/// Enough that no mistake meets it.
const SUM_BYTES: usize = 8;

impl List<'_> {
    /// The cursor of a place in it.
    pub(super) fn cursor(&self, place: &[u8]) -> String {
        let cursor = [&self.sum(place), place].concat();
        URL_SAFE_NO_PAD.encode(cursor)
    }

    /// The place that a cursor of this list stands for.
    pub(super) fn place(&self, cursor: &str) -> Result<Vec<u8>, Problem> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).unwrap_or_default();
        match bytes.split_at_checked(SUM_BYTES) {
            Some((sum, place)) if sum == self.sum(place) => Ok(place.into()),
            _ => Err(wrong()),
        }
    }

    fn sum(&self, place: &[u8]) -> [u8; SUM_BYTES] {
        let mut hash = Sha256::new();
        for part in [self.kind.as_bytes(), self.of.as_bytes(), place] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        *hash.finalize().first_chunk().expect("it has 32 bytes")
    }
}

/// The refusal of a cursor that stands for no place of the list.
pub(super) fn wrong() -> Problem {
    Problem::new(
        Code::InvalidCursor,
        "The cursor is none that this list has given, or the list has begun anew. Send `next` of \
         the page before as it is, with the other parameters unchanged, or begin without a cursor.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_good_in_its_own_list_alone() {
        let list = List { kind: "channels", of: "game-" };
        for place in ["", "game-1", "\u{e9}"] {
            let cursor = list.cursor(place.as_bytes());
            assert_eq!(list.place(&cursor).expect("its own"), place.as_bytes());
            for other in [List { kind: "user", ..list }, List { of: "game", ..list }] {
                assert!(other.place(&cursor).is_err(), "{other:?}");
            }
            for at in 0..cursor.len() {
                let mut changed = cursor.clone().into_bytes();
                changed[at] ^= 1;
                let changed = String::from_utf8(changed).expect("ASCII");
                assert!(list.place(&changed).is_err(), "{changed}");
                assert!(list.place(&cursor[..at]).is_err(), "{at}");
            }
        }
    }
}
