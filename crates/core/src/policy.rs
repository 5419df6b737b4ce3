//! What holds in which channel, beside the access rules: settings of a pattern over the defaults.
//! Finding the pattern of a channel compares it with one pattern after another, so who asks for
//! the same channel again and again keeps the [`Row`] that was found.

use std::sync::Arc;
use std::time::Duration;

use herenow_wire::ChannelName;

use crate::kicks::Kicks;
use crate::patterns::{Pattern, Patterns};

/// What holds in one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelSettings {
    /// Members that it may hold.
    pub max_members: u32,
    /// How long a silent connection keeps its member there.
    pub presence_ttl_ms: u64,
    /// How long the member of a broken connection waits for it to come back.
    pub disconnect_grace_ms: u64,
}

impl ChannelSettings {
    /// How long a silent connection keeps its member there.
    pub fn presence_ttl(&self) -> Duration {
        Duration::from_millis(self.presence_ttl_ms)
    }

    /// How long the member of a broken connection waits for it to come back.
    pub fn disconnect_grace(&self) -> Duration {
        Duration::from_millis(self.disconnect_grace_ms)
    }
}

/// What a pattern says differently from the defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Its own `maxMembers`.
    pub max_members: Option<u32>,
    /// Its own `presenceTTL`.
    pub presence_ttl_ms: Option<u64>,
    /// Its own `disconnectGraceMs`.
    pub disconnect_grace_ms: Option<u64>,
}

/// What is told of a channel to those who follow it from outside. The later ones include those before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Announces {
    /// Nothing.
    #[default]
    Nothing,
    /// Who joins and who leaves.
    Membership,
    /// And what members show.
    Updates,
}

/// The settings of all channels.
#[derive(Clone, Debug)]
pub struct Policy {
    defaults: ChannelSettings,
    /// Resolved once, when the policy is made.
    patterns: Patterns<ChannelSettings>,
    /// What is told of the channels of each pattern. Several may match one channel.
    announced: Vec<(Pattern, Announces)>,
}

impl Policy {
    /// Of `defaults`, and what each pattern says instead.
    pub fn new(defaults: ChannelSettings, patterns: Patterns<Overrides>) -> Self {
        let patterns = patterns.map(|overrides| overrides.over(defaults));
        Self { defaults, patterns, announced: Vec::new() }
    }

    /// The same, with what is told of channels to those who follow them from outside.
    pub fn announcing(self, announced: Vec<(Pattern, Announces)>) -> Self {
        Self { announced, ..self }
    }

    /// What holds in a channel.
    pub fn settings_for(&self, channel: &ChannelName) -> ChannelSettings {
        self.settings_at(self.place_of(channel))
    }

    /// The pattern whose settings hold in a channel.
    pub fn pattern_for(&self, channel: &ChannelName) -> Option<&Pattern> {
        self.patterns.find(channel).map(|at| &self.patterns.rows()[at].0)
    }

    /// Where the settings of a channel stand: 0 for the defaults, then pattern by pattern.
    fn place_of(&self, channel: &ChannelName) -> usize {
        self.patterns.find(channel).map_or(0, |at| at + 1)
    }

    fn settings_at(&self, place: usize) -> ChannelSettings {
        match place.checked_sub(1) {
            Some(at) => self.patterns.rows()[at].1,
            None => self.defaults,
        }
    }

    /// The most that anybody who follows the channel is told.
    pub fn announces(&self, channel: &ChannelName) -> Announces {
        let of_channel = self.announced.iter().filter(|(pattern, _)| pattern.is_of(channel));
        of_channel.map(|(_, announces)| *announces).max().unwrap_or_default()
    }

    /// Whether any channel lets the member of a broken connection wait for it.
    pub fn allows_grace(&self) -> bool {
        let mut all = self.patterns.rows().iter().map(|(_, settings)| settings);
        self.defaults.disconnect_grace_ms > 0 || all.any(|s| s.disconnect_grace_ms > 0)
    }
}

impl Overrides {
    /// What holds in the pattern's channels.
    pub fn over(&self, defaults: ChannelSettings) -> ChannelSettings {
        ChannelSettings {
            max_members: self.max_members.unwrap_or(defaults.max_members),
            presence_ttl_ms: self.presence_ttl_ms.unwrap_or(defaults.presence_ttl_ms),
            disconnect_grace_ms: self.disconnect_grace_ms.unwrap_or(defaults.disconnect_grace_ms),
        }
    }
}

/// The policy that holds now. Another one may take its place, and rows that were found before are
/// then found anew.
#[derive(Clone, Debug)]
pub struct CurrentPolicy {
    policy: Arc<Policy>,
    /// Which one it is. Never 0, which no row was found in.
    version: u16,
    /// Whom a backend keeps out.
    kicks: Kicks,
}

/// Where the settings of one channel stand in a [`CurrentPolicy`], once they have been looked for.
/// Four bytes, since every subscription keeps one. Means nothing to another hub's policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    version: u16,
    place: u16,
}

impl CurrentPolicy {
    /// The first one.
    pub fn new(policy: Arc<Policy>) -> Self {
        Self { policy, version: 1, kicks: Kicks::default() }
    }

    /// Another policy holds from here on. Returns the one before.
    pub fn replace(&mut self, policy: Arc<Policy>) -> Arc<Policy> {
        self.version = self.version.checked_add(1).unwrap_or(1);
        std::mem::replace(&mut self.policy, policy)
    }

    /// Whom a backend keeps out.
    pub fn kicks(&self) -> &Kicks {
        &self.kicks
    }

    /// The same, to keep others out.
    pub fn kicks_mut(&mut self) -> &mut Kicks {
        &mut self.kicks
    }

    /// What holds in a channel.
    pub fn settings_for(&self, channel: &ChannelName) -> ChannelSettings {
        self.policy.settings_for(channel)
    }

    /// The same for who keeps the channel's `row`: patterns are compared only if the policy is
    /// another than the last time.
    pub fn settings_by(&self, row: &mut Row, channel: &ChannelName) -> ChannelSettings {
        if row.version == self.version {
            return self.policy.settings_at(row.place.into());
        }
        let place = self.policy.place_of(channel);
        // With more patterns than a row can number, those at the end are looked for each time.
        if let Ok(small) = u16::try_from(place) {
            *row = Row { version: self.version, place: small };
        }
        self.policy.settings_at(place)
    }

    /// Whether any channel is followed from outside.
    pub fn announces_any(&self) -> bool {
        !self.policy.announced.is_empty()
    }

    /// What is told of a channel to those who follow it from outside.
    pub fn announces(&self, channel: &ChannelName) -> Announces {
        self.policy.announces(channel)
    }

    /// The pattern whose settings hold in a channel.
    pub fn pattern_for(&self, channel: &ChannelName) -> Option<&Pattern> {
        self.policy.pattern_for(channel)
    }

    /// Whether any channel lets the member of a broken connection wait for it.
    pub fn allows_grace(&self) -> bool {
        self.policy.allows_grace()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> ChannelName {
        ChannelName::parse(&format!("presence:{name}")).expect("a valid name")
    }

    /// Channels hold 10 members, those that match `text` hold `max_members`.
    fn policy(text: &str, max_members: u32) -> Arc<Policy> {
        let defaults =
            ChannelSettings { max_members: 10, presence_ttl_ms: 0, disconnect_grace_ms: 0 };
        let own = Overrides { max_members: Some(max_members), ..Overrides::default() };
        let pattern = Pattern::parse(text).expect("a channel can match it");
        Arc::new(Policy::new(defaults, Patterns::new(vec![(pattern, own)])))
    }

    #[test]
    fn a_row_that_was_found_is_not_looked_for_again() {
        let current = CurrentPolicy::new(policy("presence:game-*", 3));
        let mut row = Row::default();
        assert_eq!(current.settings_by(&mut row, &channel("game-1")).max_members, 3);
        // The name does not matter any more.
        assert_eq!(current.settings_by(&mut row, &channel("lobby")).max_members, 3);
        assert_eq!(current.settings_by(&mut Row::default(), &channel("lobby")).max_members, 10);
    }

    #[test]
    fn under_another_policy_a_row_is_found_anew() {
        let mut current = CurrentPolicy::new(policy("presence:game-*", 3));
        let mut row = Row::default();
        assert_eq!(current.settings_by(&mut row, &channel("game-1")).max_members, 3);
        current.replace(policy("presence:lobby", 5));
        assert_eq!(current.settings_by(&mut row, &channel("game-1")).max_members, 10);
        current.replace(policy("presence:game-1", 7));
        assert_eq!(current.settings_by(&mut row, &channel("game-1")).max_members, 7);
    }

    #[test]
    fn no_policy_has_the_version_of_a_row_that_was_never_found() {
        let mut current = CurrentPolicy::new(policy("presence:game-*", 3));
        for _ in 0..u16::MAX {
            assert_ne!(current.version, Row::default().version);
            current.replace(policy("presence:game-*", 3));
        }
        assert_eq!(current.version, 1);
    }
}
