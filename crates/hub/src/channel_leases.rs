//! Leases of channels whose namespace sets a `presenceTTL` of its own: how long a member there
//! outlives the silence of its connection. Kept apart from the leases of connections, since
//! hardly anybody sets one, and who does not is not to pay for it.

use std::collections::BTreeMap;
use std::time::Duration;

use herenow_core::{Input, Instant};

use crate::api::Io;
use crate::work::Work;

/// See the module. By slot, and only connections that show something in such a channel.
#[derive(Debug, Default)]
pub(crate) struct ChannelLeases {
    watched: BTreeMap<u32, Watched>,
}

#[derive(Debug, Clone, Copy)]
struct Watched {
    /// The shortest lease of its members.
    shortest: Duration,
    /// Silence before this does not count: the lease was another then.
    since: Instant,
    is_pinged: bool,
}

impl ChannelLeases {
    pub(crate) fn len(&self) -> usize {
        self.watched.len()
    }

    /// The connection is gone, or its slot another's.
    pub(crate) fn forget(&mut self, slot: u32) {
        self.watched.remove(&slot);
    }
}

impl<I: Io> Work<'_, I> {
    /// The connection in `slot` shows something in `channel`, whose members outlive silence by
    /// `ttl`.
    pub(crate) fn watch_lease(&mut self, slot: u32, ttl: Duration) {
        let of_connections = self.hub.config.presence_ttl;
        let all_watched = &mut self.hub.channel_leases.watched;
        if let Some(watched) = all_watched.get_mut(&slot) {
            watched.shortest = watched.shortest.min(ttl);
        } else if ttl != of_connections {
            // It may show something in other channels already, whose lease is that of connections.
            let shortest = ttl.min(of_connections);
            all_watched.insert(slot, Watched { shortest, since: self.now, is_pinged: false });
        }
        // The connection lives as long as the member that may outlive the most.
        self.hub.leases.extend(slot, ttl);
    }

    /// Watches what the session in `slot` has now, and nothing else: after its members or the
    /// namespaces may have changed. It is given the whole of a lease that has become shorter.
    pub(crate) fn reset_leases(&mut self, slot: u32) {
        let Some(connection) = self.hub.connections.get_mut(slot) else { return };
        let of_connections = self.hub.config.presence_ttl;
        let (mut shortest, mut longest) = (Duration::MAX, of_connections);
        for ttl in connection.session.leases(&self.hub.policy) {
            (shortest, longest) = (shortest.min(ttl), longest.max(ttl));
        }
        self.hub.leases.set_to_common(slot);
        self.hub.leases.extend(slot, longest);
        let before = self.hub.channel_leases.watched.remove(&slot);
        let is_common = shortest >= of_connections && longest == of_connections;
        if is_common || shortest == Duration::MAX {
            return;
        }
        let whole = Watched { shortest, since: self.now, is_pinged: false };
        let watched = match before {
            Some(before) if before.shortest <= shortest => Watched { shortest, ..before },
            _ => whole,
        };
        self.hub.channel_leases.watched.insert(slot, watched);
    }

    /// Pings who has been silent for half of its shortest lease, and ends the members whose lease
    /// is over.
    pub(crate) fn scan_channel_leases(&mut self) {
        if self.hub.channel_leases.watched.is_empty() {
            return;
        }
        let mut to_ping = Vec::new();
        let mut over = Vec::new();
        for (slot, watched) in &mut self.hub.channel_leases.watched {
            let silent =
                self.hub.leases.silent_for(*slot, self.now).min(self.now.since(watched.since));
            if silent < watched.shortest / 2 {
                watched.is_pinged = false;
            } else if !watched.is_pinged {
                watched.is_pinged = true;
                to_ping.push(*slot);
            }
            if silent > watched.shortest {
                over.push((*slot, silent));
            }
        }
        for slot in to_ping {
            self.ping(slot);
        }
        for (slot, silent) in over {
            self.end_channel_leases(slot, silent);
        }
    }

    /// What stays may have a longer lease, or none of its own: then the connection has the common
    /// one again, which may be over as well.
    fn end_channel_leases(&mut self, slot: u32, silent: Duration) {
        self.handle_input(slot, Input::Silent { silent });
        self.reset_leases(slot);
        self.apply_session_effects(slot);
        self.apply_shard_effects();
    }
}
