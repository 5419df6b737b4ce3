//! Which of several patterns speaks for a channel. Pure: knows how patterns are written, how they
//! match, and which of two is the more specific; nothing of what hangs on them.

use std::cmp::Reverse;
use std::fmt;

use herenow_wire::ChannelName;

/// A pattern of channels, such as `presence:game-*`. `*` stands for any run of characters, the
/// empty one included; everything else for itself, byte by byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
}

/// Why no channel can match a pattern. Each says what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmatched {
    /// No channel begins as it does.
    OtherPrefix {
        /// The pattern that was meant, perhaps.
        meant: Option<String>,
    },
    /// Nothing follows `presence:`.
    NoName,
    /// A name has fewer bytes than it asks for.
    TooLong,
    /// It holds a character that no name has.
    ControlCharacter,
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
/// Signs of shell globs, regular expressions and templates.
const FOREIGN_SIGNS: &[char] = &['?', '[', ']', '{', '}', '(', ')', '|', '^', '\\', '<', '>'];

impl Pattern {
    /// Reads a pattern as an operator writes it.
    pub fn parse(text: &str) -> Result<Self, Unmatched> {
        let text = text.strip_prefix(DROPPED).unwrap_or(text);
        let pattern = Self { text: text.into() };
        let literal = pattern.literal_prefix();
        let may_begin = if pattern.is_exact() || literal.len() >= PREFIX.len() {
            text.starts_with(PREFIX)
        } else {
            PREFIX.starts_with(literal)
        };
        if !may_begin {
            let is_bare = !text.is_empty() && !text.contains(':');
            let meant = is_bare.then(|| format!("{PREFIX}{text}"));
            return Err(Unmatched::OtherPrefix { meant });
        }
        if text == PREFIX {
            return Err(Unmatched::NoName);
        }
        if text.chars().any(char::is_control) {
            return Err(Unmatched::ControlCharacter);
        }
        let asked_for = text.bytes().filter(|byte| *byte != b'*').count();
        if asked_for > PREFIX.len() + ChannelName::MAX_BYTES {
            return Err(Unmatched::TooLong);
        }
        Ok(pattern)
    }

    /// A sign in it that is special in other languages of patterns, and here stands for itself.
    pub fn foreign_sign(&self) -> Option<char> {
        self.text.chars().find(|sign| FOREIGN_SIGNS.contains(sign))
    }

    /// Whether every channel that matches `other` matches this one: a `*` there is matched by a `*`
    /// here alone.
    pub fn covers(&self, other: &Self) -> bool {
        self.matches(other.text.as_bytes())
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a channel is one of those meant.
    pub fn is_of(&self, channel: &ChannelName) -> bool {
        self.matches(channel.to_string().as_bytes())
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
        // Of two that are equally long, only those with the same text can match the same channel.
        rows.sort_by(|(a, _), (b, _)| {
            let length = |pattern: &Pattern| Reverse(pattern.literal_prefix().len());
            (!a.is_exact(), length(a), a.literal_prefix()).cmp(&(
                !b.is_exact(),
                length(b),
                b.literal_prefix(),
            ))
        });
        Self { rows }
    }

    /// The most specific of those that match, by its place in [`Patterns::rows`].
    pub fn find(&self, channel: &ChannelName) -> Option<usize> {
        if self.rows.is_empty() {
            return None;
        }
        let canonical = channel.to_string();
        self.rows.iter().position(|(pattern, _)| pattern.matches(canonical.as_bytes()))
    }

    /// The first pattern that speaks for no channel, since another one, which comes before it, matches
    /// all that it matches: that one and the one before it.
    pub fn shadowed(&self) -> Option<(&Pattern, &Pattern)> {
        // A pattern that covers another one and comes before it begins as it does.
        let groups = self.rows.chunk_by(|(a, _), (b, _)| {
            a.is_exact() == b.is_exact() && a.literal_prefix() == b.literal_prefix()
        });
        for group in groups {
            for (at, (later, _)) in group.iter().enumerate() {
                let before = group[..at].iter().find(|(earlier, _)| earlier.covers(later));
                if let Some((earlier, _)) = before {
                    return Some((later, earlier));
                }
            }
        }
        None
    }

    /// The same patterns, with something else on each.
    pub fn map<U>(self, change: impl Fn(T) -> U) -> Patterns<U> {
        let rows = self.rows.into_iter().map(|(pattern, row)| (pattern, change(row)));
        Patterns { rows: rows.collect() }
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

impl fmt::Display for Unmatched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherPrefix { meant } => {
                f.write_str("no channel can match it, since channels are written presence:<name>")?;
                match meant {
                    Some(meant) => write!(f, "; did you mean `{meant}`?"),
                    None => Ok(()),
                }
            }
            Self::NoName => f.write_str(
                "no channel can match it, since a name follows `presence:`; did you mean \
                 `presence:*`?",
            ),
            Self::TooLong => write!(
                f,
                "no channel can match it, since a name has at most {} bytes",
                ChannelName::MAX_BYTES
            ),
            Self::ControlCharacter => {
                f.write_str("no channel can match it, since a name has no control characters")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).expect("a channel can match it")
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
    fn what_can_match_no_channel_is_told_apart() {
        let meant = |meant: &str| Unmatched::OtherPrefix { meant: Some(meant.into()) };
        let long = format!("presence:*{}", "x".repeat(201));
        for (text, why) in [
            ("chat:*", Unmatched::OtherPrefix { meant: None }),
            ("Presence:*", Unmatched::OtherPrefix { meant: None }),
            ("presences:*", Unmatched::OtherPrefix { meant: None }),
            ("", Unmatched::OtherPrefix { meant: None }),
            ("secret-*", meant("presence:secret-*")),
            ("presence", meant("presence:presence")),
            ("realtime:lobby", meant("presence:lobby")),
            ("presence:", Unmatched::NoName),
            ("realtime:presence:", Unmatched::NoName),
            ("presence:a\n", Unmatched::ControlCharacter),
            (&long, Unmatched::TooLong),
        ] {
            assert_eq!(Pattern::parse(text), Err(why), "{text}");
        }
        for text in ["presence:x", "presence:*", "pre*", "*", "*:x", &long[..long.len() - 1]] {
            assert!(Pattern::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_sign_of_another_language_is_told() {
        for (text, sign) in [
            ("presence:room-?", Some('?')),
            ("presence:[ab]", Some('[')),
            ("presence:{a,b}", Some('{')),
            ("presence:a|b", Some('|')),
            ("presence:<id>", Some('<')),
            ("presence:caf\u{e9}/a.b-c_d:e+f#g$h%i!j~k@l'*", None),
        ] {
            assert_eq!(pattern(text).foreign_sign(), sign, "{text}");
        }
    }

    // P4.18
    #[test]
    fn a_pattern_that_never_speaks_is_found() {
        let shadowed = |texts: &[&str]| {
            let rows = texts.iter().map(|text| (pattern(text), ())).collect();
            let patterns = Patterns::new(rows);
            patterns.shadowed().map(|(later, earlier)| (later.to_string(), earlier.to_string()))
        };
        for (texts, found) in [
            (&["presence:*", "presence:*-secret"][..], Some(("presence:*-secret", "presence:*"))),
            (&["presence:*-secret", "presence:*"], None),
            (&["presence:*", "presence:a*", "presence:a"], None),
            (&["presence:a", "realtime:presence:a"], Some(("presence:a", "presence:a"))),
            (
                &["presence:a*", "presence:b*", "presence:a**"],
                Some(("presence:a**", "presence:a*")),
            ),
            (
                &["presence:*a*", "presence:*b", "presence:*cab"],
                Some(("presence:*cab", "presence:*a*")),
            ),
            (
                &["presence:*a", "presence:*b", "presence:*a*b"],
                Some(("presence:*a*b", "presence:*b")),
            ),
            (&["presence:*a*b", "presence:*b"], None),
        ] {
            let found = found.map(|(later, earlier)| (later.to_owned(), earlier.to_owned()));
            assert_eq!(shadowed(texts), found, "{texts:?}");
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
