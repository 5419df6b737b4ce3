//! What holds in which channel, beside the access rules: settings of a pattern over the defaults.

use herenow_wire::ChannelName;

use crate::patterns::Patterns;

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

/// The settings of all channels.
#[derive(Clone, Debug)]
pub struct Policy {
    defaults: ChannelSettings,
    /// Resolved once, when the policy is made.
    patterns: Patterns<ChannelSettings>,
}

impl Policy {
    /// Of `defaults`, and what each pattern says instead.
    pub fn new(defaults: ChannelSettings, patterns: Patterns<Overrides>) -> Self {
        Self { defaults, patterns: patterns.map(|overrides| overrides.over(defaults)) }
    }

    /// What holds in a channel.
    pub fn settings_for(&self, channel: &ChannelName) -> ChannelSettings {
        match self.patterns.find(channel) {
            Some(row) => self.patterns.rows()[row].1,
            None => self.defaults,
        }
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
