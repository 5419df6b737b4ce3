//! The settings that mean the same only if all nodes have them. Each node tells the others its own from time to time;
//! they may differ while a change is rolled out, so what differs is logged and counted, and nothing more.

use std::collections::BTreeMap;
use std::time::Duration;

use herenow_cluster::{NodeName, View};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::config::{Settings, in_effect};

/// What a channel does is decided by its home, what a connection may do by its own node.
const SHARED: [&str; 5] =
    ["presenceTTL", "disconnectGraceMs", "maxMembers", "maxFrameBytes", "maxChannelsPerConnection"];
/// How often a node tells its settings.
const TELL_EVERY: Duration = Duration::from_secs(30);
/// A longer message is none of these.
const MAX_MESSAGE_BYTES: usize = 4096;

/// See the module.
#[derive(Debug)]
pub(super) struct Agreement {
    own: Told,
    tell_at: Instant,
    /// What differs at which node.
    differing: BTreeMap<NodeName, Vec<String>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Told {
    node: String,
    settings: BTreeMap<String, String>,
}

/// The settings that all nodes should have, for a node that starts.
pub(crate) fn shared(settings: &Settings) -> BTreeMap<String, String> {
    let all = in_effect(settings).into_iter();
    let shared = all.filter(|(key, _)| SHARED.contains(key));
    shared.map(|(key, value)| (key.to_owned(), value)).collect()
}

impl Agreement {
    pub(super) fn new(node: &NodeName, settings: BTreeMap<String, String>) -> Self {
        let own = Told { node: node.to_string(), settings };
        Self { own, tell_at: Instant::now(), differing: BTreeMap::new() }
    }

    /// What to tell the others, if it is time to.
    pub(super) fn poll_tell(&mut self) -> Option<Vec<u8>> {
        let now = Instant::now();
        (self.tell_at <= now).then(|| {
            self.tell_at = now + TELL_EVERY;
            serde_json::to_vec(&self.own).expect("text can be written")
        })
    }

    pub(super) fn until_due(&self) -> Duration {
        self.tell_at.saturating_duration_since(Instant::now())
    }

    /// The others hear soon that this node is there.
    pub(super) fn joined(&mut self) {
        self.tell_at = Instant::now();
    }

    /// A node of this view has told its settings. Says once what differs.
    pub(super) fn heard(&mut self, message: &[u8], view: Option<&View>) {
        let Some(view) = view.filter(|_| message.len() <= MAX_MESSAGE_BYTES) else { return };
        let Ok(told) = serde_json::from_slice::<Told>(message) else { return };
        self.differing.retain(|node, _| view.nodes.iter().any(|member| member.name == *node));
        let is_told = |name: &str| name == told.node && name != self.own.node;
        let Some(member) = view.nodes.iter().find(|member| is_told(member.name.as_str())) else {
            return;
        };
        let differs = |(key, value): &(&String, &String)| told.settings.get(*key) != Some(*value);
        let keys = self.own.settings.iter().filter(differs).map(|(key, _)| key.clone());
        let keys: Vec<String> = keys.collect();
        if keys.is_empty() {
            self.differing.remove(&member.name);
        } else if self.differing.get(&member.name) != Some(&keys) {
            let settings = keys.join(", ");
            tracing::warn!(node = %member.name, settings, "another node has other settings");
            self.differing.insert(member.name.clone(), keys);
        }
    }

    /// Nodes whose settings differ.
    pub(super) fn differing(&self) -> usize {
        self.differing.len()
    }
}

#[cfg(test)]
mod tests {
    use herenow_cluster::{Member, Serving};
    use herenow_wire::link::Incarnation;

    use super::*;

    fn name(text: &str) -> NodeName {
        NodeName::parse(text).expect("a valid name")
    }

    fn view(names: &[&str]) -> View {
        let mut view = View::empty(1);
        view.nodes.extend(names.iter().map(|text| Member {
            name: name(text),
            incarnation: Incarnation(7),
            admitted: 1,
            serving: Serving::Open,
        }));
        view
    }

    fn of(node: &str, max_members: usize) -> Agreement {
        let settings = Settings { max_members, ..Settings::default() };
        Agreement::new(&name(node), shared(&settings))
    }

    #[test]
    fn a_node_with_other_settings_is_counted_until_it_has_the_same_or_is_gone() {
        let tell = |max_members| of("b", max_members).poll_tell().expect("a start tells");
        let mut a = of("a", 10);
        a.heard(&tell(10), Some(&view(&["a", "b"])));
        assert_eq!(a.differing(), 0);
        a.heard(&tell(11), Some(&view(&["a", "b"])));
        assert_eq!(a.differing.get(&name("b")), Some(&vec!["maxMembers".to_owned()]));
        a.heard(&tell(10), Some(&view(&["a", "b"])));
        assert_eq!(a.differing(), 0);
        a.heard(&tell(11), Some(&view(&["a", "b"])));
        a.heard(&tell(11), Some(&view(&["a"])));
        assert_eq!(a.differing(), 0, "it is in no view");
    }

    #[test]
    fn what_no_node_has_told_is_ignored() {
        let mut a = of("a", 10);
        for junk in [&b""[..], b"{}", b"\xff\xff", &vec![b'['; 10_000]] {
            a.heard(junk, Some(&view(&["a", "b"])));
        }
        a.heard(&of("a", 11).poll_tell().expect("a start tells"), Some(&view(&["a"])));
        assert_eq!(a.differing(), 0);
    }
}
