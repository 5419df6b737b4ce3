//! What a configuration says of channels: per pattern its rules and its own settings. Knows which
//! rule answers a question; asks none.

use std::sync::Arc;

use herenow_core::Right;
use herenow_hub::{ChannelSettings, Overrides, Pattern, Patterns, Policy};
use herenow_wire::ChannelName;
use serde_json::{Map, Value};

use super::engine::{Call, Engine, RuleFunction};
use super::outcome::{Failure, Outcome};
use super::program::Program;

/// The rules of one configuration. Clones are one and the same.
#[derive(Clone, Debug, Default)]
pub struct Rules(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    patterns: Patterns<Namespace>,
    /// Where the rules are written; `None` where there are none.
    program: Option<Arc<Program>>,
}

/// What a configuration says of the channels of one pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// The key as it is written, by which the configuration's code knows it.
    pub key: String,
    /// Whether there is a rule `access.subscribe`.
    pub has_subscribe: bool,
    /// Whether there is a rule `access.track`.
    pub has_track: bool,
    /// Its own `maxMembers`.
    pub max_members: Option<u32>,
    /// Its own `presenceTTL`.
    pub presence_ttl_ms: Option<u64>,
    /// Its own `disconnectGraceMs`.
    pub disconnect_grace_ms: Option<u64>,
}

/// Who answers a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judge {
    /// Nobody has to be asked.
    Nobody(Reason),
    /// A rule.
    Rule {
        /// Of which namespace, by its row.
        row: usize,
        /// Which one.
        function: RuleFunction,
    },
}

/// Why a question answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// If no rule matches, any authenticated user may subscribe and track.
    SignedIn,
    /// And nobody else.
    NotSignedIn,
    /// An unauthenticated connection may never track, whatever a rule says.
    Anonymous,
}

/// Who decided about a right in a channel, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Explanation {
    /// Nobody had to be asked.
    Default(Reason),
    /// A rule was asked.
    Rule {
        /// Its name: `subscribe` or `track`.
        name: &'static str,
        /// What it said.
        outcome: Outcome,
    },
    /// The rule could not be asked.
    NoEngine(Failure),
}

impl Rules {
    /// What these namespaces say. `program`: where their rules are written.
    pub fn new(patterns: Patterns<Namespace>, program: Option<Arc<Program>>) -> Self {
        if patterns.rows().is_empty() {
            return Self::default();
        }
        Self(Some(Arc::new(Inner { patterns, program })))
    }

    /// Whether any namespace has a rule.
    pub fn has_any(&self) -> bool {
        self.rows().iter().any(|(_, namespace)| !namespace.rules().is_empty())
    }

    /// The namespaces, the most specific pattern first.
    pub fn rows(&self) -> &[(Pattern, Namespace)] {
        self.0.as_ref().map_or(&[], |inner| inner.patterns.rows())
    }

    /// The namespace that speaks for a channel, by its row.
    pub fn find(&self, channel: &ChannelName) -> Option<usize> {
        self.0.as_ref()?.patterns.find(channel)
    }

    /// What holds in which channel; `defaults` where a namespace says nothing.
    pub fn policy(&self, defaults: ChannelSettings) -> Policy {
        let overrides = self.0.as_ref().map(|inner| {
            let rows = inner.patterns.rows().iter();
            rows.map(|(pattern, namespace)| (pattern.clone(), namespace.overrides())).collect()
        });
        Policy::new(defaults, Patterns::new(overrides.unwrap_or_default()))
    }

    /// Decides as a running server would, here and now, and says why. For people who want to
    /// know; `claims` is a token's payload.
    pub fn explain(
        &self,
        channel: &ChannelName,
        right: Right,
        claims: Option<&Map<String, Value>>,
    ) -> Explanation {
        let (row, function) = match self.judge(channel, right, claims.is_some()) {
            Judge::Nobody(reason) => return Explanation::Default(reason),
            Judge::Rule { row, function } => (row, function),
        };
        let claims = claims.map(|claims| Value::Object(claims.clone()).to_string());
        let channel = channel.to_string();
        let call = Call { rule: row, function, channel: &channel, claims: claims.as_deref() };
        match self.engine() {
            Ok(mut engine) => {
                Explanation::Rule { name: function.name(), outcome: engine.call(call) }
            }
            Err(failure) => Explanation::NoEngine(failure),
        }
    }

    /// Who answers. A namespace without `track` lets an authenticated user track if it may subscribe.
    pub(super) fn judge(
        &self,
        channel: &ChannelName,
        right: Right,
        is_authenticated: bool,
    ) -> Judge {
        if right == Right::Track && !is_authenticated {
            return Judge::Nobody(Reason::Anonymous);
        }
        let Some(row) = self.find(channel) else { return Judge::by_default(is_authenticated) };
        let namespace = &self.rows()[row].1;
        let function = match right {
            Right::Track if namespace.has_track => RuleFunction::Track,
            _ if namespace.has_subscribe => RuleFunction::Subscribe,
            _ => return Judge::by_default(is_authenticated),
        };
        Judge::Rule { row, function }
    }

    /// An engine that knows each namespace by its row. Only rules lead to it, and where there are
    /// rules, there is a program.
    pub(super) fn engine(&self) -> Result<Engine, Failure> {
        let program = self.0.as_ref().and_then(|inner| inner.program.clone());
        let engine = Engine::start(program.expect("rules are written in a program"))?;
        let namespaces = self.rows().iter().map(|(_, row)| (row.key.as_str(), row.rules()));
        engine.bind(&namespaces.collect::<Vec<_>>())?;
        Ok(engine)
    }
}

/// The same rules, not rules that say the same.
impl PartialEq for Rules {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Eq for Rules {}

impl Namespace {
    /// The rules that it has.
    fn rules(&self) -> &'static [RuleFunction] {
        match (self.has_subscribe, self.has_track) {
            (true, true) => &[RuleFunction::Subscribe, RuleFunction::Track],
            (true, false) => &[RuleFunction::Subscribe],
            (false, true) => &[RuleFunction::Track],
            (false, false) => &[],
        }
    }

    /// What it says differently from the defaults.
    pub fn overrides(&self) -> Overrides {
        let Self { max_members, presence_ttl_ms, disconnect_grace_ms, .. } = *self;
        Overrides { max_members, presence_ttl_ms, disconnect_grace_ms }
    }
}

impl Judge {
    fn by_default(is_authenticated: bool) -> Self {
        Self::Nobody(if is_authenticated { Reason::SignedIn } else { Reason::NotSignedIn })
    }
}

impl Explanation {
    /// Whether the answer is yes.
    pub fn grants(&self) -> bool {
        match self {
            Self::Default(reason) => reason.grants(),
            Self::Rule { outcome, .. } => *outcome == Outcome::Granted,
            Self::NoEngine(_) => false,
        }
    }
}

impl Reason {
    /// Whether the answer is yes.
    pub fn grants(self) -> bool {
        self == Self::SignedIn
    }
}

impl RuleFunction {
    /// The right that it decides about.
    pub(super) fn right(self) -> Right {
        match self {
            Self::Subscribe => Right::Subscribe,
            Self::Track => Right::Track,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Track => "track",
        }
    }
}
