//! What must be true, during a run and after the calm.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use herenow_cluster::{Key, Read, Serving, Term, View};
use herenow_core::Contents;
use herenow_wire::link::Incarnation;
use herenow_wire::{ChannelName, ConnectionId, SHARDS, State};

use crate::channels::channels;
use crate::process::Process;
use crate::world::World;

/// What all nodes have said in a run.
#[derive(Default)]
pub struct History {
    lists: BTreeMap<(ChannelName, (u64, u64)), u64>,
    /// After the bucket was lost two homes may have used one epoch.
    pub is_torn: bool,
    terms: BTreeSet<(u16, Term)>,
    incarnations: BTreeSet<Incarnation>,
    /// The nodes of the newest view that was written, and those that were in one before.
    in_view: BTreeSet<Incarnation>,
    out_of_view: BTreeSet<Incarnation>,
}

impl History {
    /// One (channel, epoch, seq) names one list, wherever it is seen.
    pub fn note(
        &mut self,
        channel: &ChannelName,
        at: (u64, u64),
        rows: &BTreeMap<ConnectionId, State>,
    ) {
        if self.is_torn {
            return;
        }
        let mut hasher = DefaultHasher::new();
        rows.hash(&mut hasher);
        let hash = hasher.finish();
        let before = self.lists.insert((channel.clone(), at), hash);
        assert!(before.is_none_or(|before| before == hash), "{channel} at {at:?} is two lists");
    }

    /// A node is the home of a shard from here on: no term begins twice.
    pub fn begin(&mut self, shard: u16, term: Term) {
        assert!(self.terms.insert((shard, term)), "shard {shard} begins {term:?} twice");
    }

    pub fn born(&mut self, incarnation: Incarnation) {
        assert!(self.incarnations.insert(incarnation), "{incarnation} is used twice");
    }

    /// A view was written, and no bucket was ever lost: an incarnation that has left does not come back.
    pub fn written(&mut self, view: &View) {
        let nodes: BTreeSet<Incarnation> = view.nodes.iter().map(|node| node.incarnation).collect();
        self.out_of_view.extend(self.in_view.difference(&nodes));
        let back: Vec<_> = nodes.intersection(&self.out_of_view).collect();
        assert!(back.is_empty(), "{back:?} are in a view again");
        self.in_view = nodes;
    }
}

/// Two nodes differ by one shard at most, and no shard is without a home.
pub fn assert_balanced(view: &View) {
    let mut counts: BTreeMap<Incarnation, usize> = BTreeMap::new();
    for shard in 0..SHARDS {
        let home = view.term(shard).home;
        assert!(view.node(home).is_some(), "shard {shard} of view {} has no home", view.v);
        *counts.entry(home).or_default() += 1;
    }
    let open = view.nodes.iter().filter(|node| node.serving == Serving::Open);
    let counts: Vec<usize> =
        open.map(|node| counts.get(&node.incarnation).copied().unwrap_or(0)).collect();
    if let (Some(least), Some(most)) = (counts.iter().min(), counts.iter().max()) {
        assert!(most - least <= 1, "view {} is out of balance: {counts:?}", view.v);
    }
}

/// The calm is over.
pub fn assert_settled(world: &World) {
    let living: Vec<&Process> = world.living().collect();
    let Some(first) = living.first() else { return };
    let view = first.exchange.view().expect("it is in one");
    assert_balanced(view);
    assert_eq!(view.nodes.len(), living.len(), "the view holds who lives: {:?}", view.nodes);
    let kept = match world.engine.read(&Key::View) {
        Read::Found(_, bytes) => View::decode(&bytes).ok(),
        Read::Absent | Read::Unknown => None,
    };
    assert_eq!(kept.as_ref(), Some(&**view), "the bucket holds the view that all know");
    for process in &living {
        let node = &process.exchange;
        assert!(node.is_in(), "{} is in the view", node.incarnation());
        assert!(node.has_lease(process.clock.now(world.now).at), "and has a lease");
        assert_eq!(node.view(), Some(view), "all know one view");
        assert!(view.node(node.incarnation()).is_some());
        assert!(node.is_quiet(), "{} waits for something", node.incarnation());
        assert!(process.has_no_mail(), "its loops have handled everything");
        for hub in &process.hubs {
            assert_eq!(hub.owner, node.owner(), "a loop knows whom it speaks for");
        }
        let (links, bytes) = node.held();
        assert!(links <= 2 * (living.len() - 1), "{links} links of {} nodes", living.len());
        assert_eq!(bytes, 0, "nothing is kept for anybody");
        let pending = &process.sessions.pending;
        let me = node.incarnation();
        assert!(pending.is_empty(), "{me}: every put is answered: {pending:?}");
    }
    for shard in 0..SHARDS {
        let home = view.term(shard);
        let openers = living.iter().filter(|process| process.open.contains_key(&shard));
        let openers: Vec<Term> = openers.map(|process| process.open[&shard]).collect();
        assert_eq!(openers, [home], "shard {shard} is open at its home alone");
    }
    for channel in channels() {
        assert_channel(channel, &living, world);
    }
}

fn assert_channel(channel: &ChannelName, living: &[&Process], world: &World) {
    let view = living[0].exchange.view().expect("it is in one");
    let mut truth: BTreeMap<ConnectionId, State> = BTreeMap::new();
    for person in &world.people {
        let Some(slot) = world.session_at(person) else { continue };
        let process = world.slots[slot].process.as_ref().expect("it lives");
        let shown = process.sessions.connections[&person.session.0].mine.get(channel);
        truth.extend(shown.map(|state| (person.session.0, state.clone())));
    }
    let home = view.term(channel.shard()).home;
    for process in living {
        let (hub, me) = (process.hub(channel), process.exchange.incarnation());
        let replica = &hub.replicas[&channel.shard()];
        assert!(replica.is_settled(), "nothing waits at {me}");
        assert_eq!(replica.is_open(), me == home, "{channel} is decided at its home alone");
        if me == home {
            let rows = match replica.shard().contents(channel) {
                Contents::Live(list) => list.snapshot().members,
                Contents::Nothing | Contents::Freed { .. } => Vec::new(),
            };
            let rows: BTreeMap<ConnectionId, State> =
                rows.into_iter().map(|member| (member.connection, member.state)).collect();
            assert_eq!(rows, truth, "the home of {channel}, shard {}, at {me}", channel.shard());
        }
        if let Some(subscriber) = hub.subscribers.get(channel) {
            let (at, rows) = subscriber.list().expect("it has its list");
            assert_eq!(*rows, truth, "the list of {channel} at {me}, {at:?}");
        }
    }
}
