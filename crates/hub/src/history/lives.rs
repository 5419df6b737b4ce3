//! What is kept of each socket while it is open: one dense array by slot, in pages, so that it is
//! never larger than what is in use. At most 64 bytes a connection, and texts that many share.

use std::collections::BTreeMap;
use std::sync::Arc;

use herenow_core::{Heard, Instant};
use herenow_wire::UserId;

use crate::history::facts::{Address, Life, Origin, SocketEnd};

/// What is kept of one socket.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Who it is, once it has authenticated.
    pub(crate) user: Option<UserId>,
    opened: Instant,
    /// Milliseconds after it was opened.
    signed_in_ms: u32,
    agent: TextIndex,
    key: TextIndex,
    pub(crate) address: Address,
    pub(crate) end: Option<SocketEnd>,
    pub(crate) has_resumed: bool,
}

/// The sockets of a hub.
#[derive(Debug, Default)]
pub(crate) struct Lives {
    pages: Vec<Page>,
    open: usize,
    texts: Texts,
}

type Page = Box<[Option<Kept>]>;

/// Texts of which many connections have the same, such as user agents. Bounded: when it is full, a
/// further text is not kept.
#[derive(Debug, Default)]
struct Texts {
    by_index: Vec<Option<(Arc<str>, u32)>>,
    by_text: BTreeMap<Arc<str>, TextIndex>,
    free: Vec<TextIndex>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TextIndex(u16);

/// Slots of one page.
const PAGE: usize = 1024;

/// Different texts of a hub.
const MAX_TEXTS: usize = 1024;

/// Bytes of a text that are kept: the beginning of a `User-Agent` names the browser.
pub(crate) const MAX_TEXT_BYTES: usize = 128;

impl Lives {
    pub(crate) fn open(&mut self, slot: u32, origin: Option<&Origin>, now: Instant) {
        let agent = origin.and_then(|origin| origin.agent.as_deref());
        let kept = Kept {
            user: None,
            opened: now,
            signed_in_ms: NEVER,
            agent: self.texts.add(agent),
            key: TextIndex::NONE,
            address: origin.map_or(Address::Internal, |origin| origin.address),
            end: None,
            has_resumed: false,
        };
        let (page, at) = place(slot);
        while self.pages.len() <= page {
            self.pages.push((0..PAGE).map(|_| None).collect());
        }
        self.pages[page][at] = Some(kept);
        self.open += 1;
    }

    /// The slot may be used again from here on.
    pub(crate) fn close(&mut self, slot: u32) {
        let (page, at) = place(slot);
        let Some(kept) = self.pages.get_mut(page).and_then(|page| page[at].take()) else { return };
        self.texts.drop(kept.agent);
        self.texts.drop(kept.key);
        self.open -= 1;
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&Kept> {
        let (page, at) = place(slot);
        self.pages.get(page)?[at].as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Kept> {
        let (page, at) = place(slot);
        self.pages.get_mut(page)?[at].as_mut()
    }

    /// The connection in `slot` has authenticated.
    pub(crate) fn sign_in(&mut self, slot: u32, user: UserId, now: Instant) {
        let Some(kept) = self.get_mut(slot) else { return };
        kept.user = Some(user);
        // It shows its first token within seconds of its opening, or after weeks of watching.
        kept.signed_in_ms = u32::try_from(now.since(kept.opened).as_millis()).unwrap_or(NEVER - 1);
    }

    /// The connection in `slot` has shown a token of this key. The first one counts.
    pub(crate) fn set_key(&mut self, slot: u32, key: Option<&str>) {
        if self.get(slot).is_some_and(|kept| kept.key == TextIndex::NONE) {
            let key = self.texts.add(key);
            if let Some(kept) = self.get_mut(slot) {
                kept.key = key;
            }
        }
    }

    /// All that is known of the socket in `slot`.
    pub(crate) fn life(&self, slot: u32, (heard, heard_at): (Heard, Instant)) -> Option<Life> {
        let kept = self.get(slot)?;
        let after = std::time::Duration::from_millis(kept.signed_in_ms.into());
        Some(Life {
            opened: kept.opened,
            address: kept.address,
            agent: self.texts.get(kept.agent),
            signed_in: (kept.signed_in_ms != NEVER).then(|| kept.opened + after),
            key: self.texts.get(kept.key),
            has_resumed: kept.has_resumed,
            heard_at: heard_at.max(kept.opened),
            heard,
        })
    }

    /// How many sockets there are.
    pub(crate) fn len(&self) -> usize {
        self.open
    }

    /// How many texts are kept.
    pub(crate) fn texts(&self) -> usize {
        self.texts.by_text.len()
    }

    /// The first slot above all that were used.
    pub(crate) fn slots_end(&self) -> u32 {
        (self.pages.len() * PAGE) as u32
    }
}

impl TextIndex {
    const NONE: Self = Self(u16::MAX);
}

impl Texts {
    fn add(&mut self, text: Option<&str>) -> TextIndex {
        let Some(text) = text.map(beginning) else { return TextIndex::NONE };
        if let Some(index) = self.by_text.get(text).copied() {
            if let Some(Some((_, uses))) = self.by_index.get_mut(usize::from(index.0)) {
                *uses += 1;
            }
            return index;
        }
        if self.by_text.len() >= MAX_TEXTS {
            return TextIndex::NONE;
        }
        let text: Arc<str> = text.into();
        let index = self.free.pop().unwrap_or(TextIndex(self.by_index.len() as u16));
        if usize::from(index.0) == self.by_index.len() {
            self.by_index.push(None);
        }
        self.by_index[usize::from(index.0)] = Some((text.clone(), 1));
        self.by_text.insert(text, index);
        index
    }

    fn get(&self, index: TextIndex) -> Option<Arc<str>> {
        let (text, _) = self.by_index.get(usize::from(index.0))?.as_ref()?;
        Some(text.clone())
    }

    fn drop(&mut self, index: TextIndex) {
        let Some(place) = self.by_index.get_mut(usize::from(index.0)) else { return };
        let Some((text, uses)) = place else { return };
        *uses -= 1;
        if *uses == 0 {
            self.by_text.remove(text);
            *place = None;
            self.free.push(index);
        }
    }
}

/// As much of a text as is kept.
pub(crate) fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT_BYTES)]
}

fn place(slot: u32) -> (usize, usize) {
    (slot as usize / PAGE, slot as usize % PAGE)
}

/// In place of a time: it has not authenticated.
const NEVER: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    /// What a connection at rest may cost where there is a service key.
    const STATED_BYTES: usize = 64;

    fn origin(agent: &str) -> Origin {
        Origin { address: Address::Unix, agent: Some(agent.into()) }
    }

    #[test]
    fn a_socket_is_kept_in_no_more_bytes_than_stated() {
        let bytes = size_of::<Option<Kept>>();
        assert!(bytes <= STATED_BYTES, "{bytes} bytes for each connection");
    }

    #[test]
    fn a_text_that_many_share_is_kept_once_and_for_as_long_as_one_of_them() {
        let mut lives = Lives::default();
        for slot in 0..3000 {
            lives.open(slot, Some(&origin("browser")), Instant::default());
        }
        assert_eq!((lives.len(), lives.texts()), (3000, 1));
        for slot in 0..3000 {
            lives.close(slot);
        }
        assert_eq!((lives.len(), lives.texts()), (0, 0));
    }

    #[test]
    fn different_texts_are_bounded_in_number_and_length() {
        let mut lives = Lives::default();
        let long = "\u{e9}".repeat(MAX_TEXT_BYTES);
        lives.open(0, Some(&origin(&long)), Instant::default());
        let kept = lives.life(0, (Heard::Opening, Instant::default())).expect("it is open");
        assert_eq!(kept.agent.map(|agent| agent.len()), Some(MAX_TEXT_BYTES));
        for slot in 1..=2 * MAX_TEXTS as u32 {
            lives.open(slot, Some(&origin(&slot.to_string())), Instant::default());
        }
        assert_eq!(lives.texts(), MAX_TEXTS);
        let slot = 2 * MAX_TEXTS as u32;
        let further = lives.life(slot, (Heard::Opening, Instant::default())).expect("it is open");
        assert_eq!(further.agent, None);
    }
}
