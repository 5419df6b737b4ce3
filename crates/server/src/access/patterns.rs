//! Which of several patterns speaks for a channel. Pure: knows how patterns are written, how they
//! match, and which of two is the more specific; nothing of what hangs on them.

use std::fmt;

use herenow_wire::ChannelName;

/// A pattern of channels, such as `presence:game-*`. `*` stands for any run of characters, the
/// empty one included; everything else for itself, byte by byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
}

/// What a pattern may speak of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Channels of presence, perhaps among others.
    Presence(Pattern),
    /// Other things alone: no channel of presence can match.
    Other,
}

/// Patterns with what hangs on each, the most specific first: those without `*`, then those with
/// the longest text before their first `*`, then in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patterns<T> {
    rows: Vec<(Pattern, T)>,
}

/// How every channel begins in its canonical form.
const PREFIX: &str = "presence:";
/// What may stand before it and means nothing.
const DROPPED: &str = "realtime:";

impl Pattern {
    /// Reads a pattern as an operator writes it.
    pub fn parse(text: &str) -> Scope {
        let text = text.strip_prefix(DROPPED).unwrap_or(text);
        let pattern = Self { text: text.into() };
        let literal = pattern.literal_prefix();
        let may_match = if pattern.is_exact() || literal.len() >= PREFIX.len() {
            text.starts_with(PREFIX)
        } else {
            PREFIX.starts_with(literal)
        };
        if may_match { Scope::Presence(pattern) } else { Scope::Other }
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a channel, in its canonical form, is one of those meant.
    fn matches(&self, channel: &[u8]) -> bool {
        let pattern = self.text.as_bytes();
        let (mut at, mut read) = (0, 0);
        // Where the last `*` stands, and up to where it has swallowed the channel. Only the last
        // one is ever tried again, so the work is bounded by the product of both lengths.
        let mut star = None;
        while read < channel.len() {
            if pattern.get(at) == Some(&b'*') {
                star = Some((at, read));
                at += 1;
            } else if pattern.get(at) == Some(&channel[read]) {
                at += 1;
                read += 1;
            } else if let Some((starred, swallowed)) = star {
                star = Some((starred, swallowed + 1));
                at = starred + 1;
                read = swallowed + 1;
            } else {
                return false;
            }
        }
        pattern[at..].iter().all(|byte| *byte == b'*')
    }

    fn is_exact(&self) -> bool {
        !self.text.contains('*')
    }

    fn literal_prefix(&self) -> &str {
        self.text.split('*').next().unwrap_or_default()
    }
}

impl<T> Patterns<T> {
    /// Sorts by how specific the patterns are.
    pub fn new(mut rows: Vec<(Pattern, T)>) -> Self {
        rows.sort_by_key(|(pattern, _)| {
            let length = pattern.literal_prefix().len();
            (!pattern.is_exact(), std::cmp::Reverse(length))
        });
        Self { rows }
    }

    /// The most specific of those that match, by its place in [`Patterns::rows`].
    pub fn find(&self, channel: &ChannelName) -> Option<usize> {
        let canonical = channel.to_string();
        self.rows.iter().position(|(pattern, _)| pattern.matches(canonical.as_bytes()))
    }

    /// All of them, the most specific first.
    pub fn rows(&self) -> &[(Pattern, T)] {
        &self.rows
    }
}

impl<T> Default for Patterns<T> {
    fn default() -> Self {
        Self { rows: Vec::new() }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        match Pattern::parse(text) {
            Scope::Presence(pattern) => pattern,
            Scope::Other => panic!("{text} speaks of presence"),
        }
    }

    // P4.18
    #[test]
    fn a_star_stands_for_any_run_and_all_else_for_itself() {
        for (text, channel, matches) in [
            ("presence:game", "presence:game", true),
            ("presence:game", "presence:games", false),
            ("presence:game", "presence:Game", false),
            ("presence:*", "presence:anything/at:all", true),
            ("presence:game-*", "presence:game-", true),
            ("presence:game-*", "presence:game", false),
            ("presence:*-*-x", "presence:a-b-c-x", true),
            ("presence:*-*-x", "presence:a-x", false),
            ("presence:a*b*c", "presence:aXbYbZc", true),
            ("presence:a*b*c", "presence:aXbYbZ", false),
            ("presence:**", "presence:x", true),
            ("presence:?[a].", "presence:?[a].", true),
            ("presence:?", "presence:x", false),
            ("presence:caf\u{e9}", "presence:cafe\u{301}", false),
            ("*", "presence:x", true),
            ("pres*x", "presence:x", true),
            ("realtime:presence:x", "presence:x", true),
        ] {
            assert_eq!(pattern(text).matches(channel.as_bytes()), matches, "{text} on {channel}");
        }
    }

    #[test]
    fn many_stars_cost_no_more_than_a_few() {
        let text = format!("presence:{}b", "a*".repeat(100));
        let channel = format!("presence:{}", "a".repeat(200));
        assert!(!pattern(&text).matches(channel.as_bytes()));
    }

    #[test]
    fn what_can_match_no_channel_of_presence_is_told_apart() {
        for text in ["chat:*", "presence", "Presence:*", "presences:*", "p", "", "presence-*"] {
            assert_eq!(Pattern::parse(text), Scope::Other, "{text}");
        }
        for text in ["presence:x", "presence:*", "pre*", "*", "*:x"] {
            assert!(matches!(Pattern::parse(text), Scope::Presence(_)), "{text}");
        }
    }

    // P4.18
    #[test]
    fn exact_wins_then_the_longest_prefix_then_the_order_given() {
        let texts = [
            "*",
            "presence:*",
            "presence:g*1",
            "presence:g*",
            "presence:game-*",
            "presence:game-1",
        ];
        let rows = texts.iter().map(|text| (pattern(text), *text)).collect();
        let patterns = Patterns::new(rows);
        for (channel, expected) in [
            ("presence:game-1", "presence:game-1"),
            ("presence:game-11", "presence:game-*"),
            ("presence:g1", "presence:g*1"),
            ("presence:g2", "presence:g*"),
            ("presence:x", "presence:*"),
        ] {
            let channel = ChannelName::parse(channel).expect("a channel");
            let found = patterns.find(&channel).map(|at| patterns.rows()[at].1);
            assert_eq!(found, Some(expected), "{channel}");
        }
    }
}
