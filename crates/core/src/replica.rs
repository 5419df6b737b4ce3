//! A shard as one node of a cluster has it. Either its *home* is here, and this node decides what
//! changes in its channels; or it is elsewhere, and this node keeps *copies* of the lists that its
//! connections subscribe to. The same commands go in and the same effects and flushes come out, so
//! that who holds the connections notices no difference.
//!
//! A home is not told to be one and complete at once: while it *opens*, the other nodes report
//! what their connections show, and what is asked meanwhile waits.

mod copying;
mod deciding;
mod gone;
mod graces;
mod held;
mod keeping;
mod opening;
mod own;
mod queues;
mod reporting;
mod sleeping;
mod waiting;

use std::collections::BTreeSet;

use herenow_wire::link::{self, Incarnation, Item, Position, Snap, Ticket};
use herenow_wire::{ChannelName, ConnectionId, SHARDS};

use self::graces::Graces;
use self::held::UNTIL_OPEN;
pub use self::keeping::Showing;
use self::opening::{Opened, Opening};
use self::own::{Own, Seen};
use self::sleeping::Sleep;
use crate::change::{Member, Owner, Snapshot};
use crate::command::{Command, Effect, Flush, Peer, PutResult, Receiver, SnapshotFor};
use crate::decision::is_up_to;
use crate::shard::Shard;
use crate::time::Instant;

/// See the module.
#[derive(Debug)]
pub struct Replica {
    number: u16,
    /// Who vouches for the connections of this node. Another one after each exclusion.
    me: Owner,
    shard: Shard,
    role: Role,
    /// What goes to the home, or from the home to others, since this was last taken.
    outgoing: Vec<Outgoing>,
    /// Boxed, since a node that is alone has none.
    graces: Option<Box<Graces>>,
    /// The members that no home had told of when this one opened, since they were last taken.
    unannounced: Vec<(ChannelName, ConnectionId)>,
    /// Where channels hibernate on several nodes.
    sleep: Option<Box<Sleep>>,
}

#[derive(Debug)]
enum Role {
    /// The home is another node, or nobody knows which. Boxed, as most shards of a large cluster have
    /// nothing in it.
    Copy(Box<Own>),
    /// The home is here, and does not know everything yet.
    Opening(Box<Opening>),
    /// The home is here.
    Home,
}

/// Something for another node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outgoing {
    /// To whom.
    pub to: To,
    /// What.
    pub item: Item,
}

/// Which node something is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum To {
    /// The home of the shard.
    Home,
    /// Every other one.
    All,
    /// This one, as the process has numbered it.
    Node(Peer),
    /// The one that vouches for these connections. It may be this node itself.
    Owner(Owner),
}

/// Another node, as this process knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct From {
    /// Its life.
    pub incarnation: Incarnation,
    /// The receiver of what goes to it.
    pub peer: Peer,
    /// Who vouches for its connections.
    pub owner: Owner,
}

impl Replica {
    /// A shard of which nothing is known.
    pub fn new(number: u16, shard: Shard) -> Self {
        debug_assert!(number < SHARDS, "there are no more shards");
        let shard = shard.unknown();
        Self {
            number,
            me: Owner::NOBODY,
            shard,
            role: Role::copy(),
            outgoing: Vec::new(),
            graces: None,
            unannounced: Vec::new(),
            sleep: None,
        }
    }

    /// Says who vouches for the connections of this node from here on.
    pub fn set_owner(&mut self, me: Owner) {
        self.forget_adopted();
        self.forget_asleep();
        self.me = me;
    }

    /// The lists that it has.
    pub fn shard(&self) -> &Shard {
        &self.shard
    }

    /// Whether its home is another node.
    pub fn is_copy(&self) -> bool {
        matches!(self.role, Role::Copy(_))
    }

    /// Whether this node decides about it now.
    pub fn is_open(&self) -> bool {
        matches!(self.role, Role::Home)
    }

    /// Whether the home is here, and does not know everything yet.
    pub fn is_opening(&self) -> bool {
        matches!(self.role, Role::Opening(_))
    }

    /// Whether it does not learn in this term of all members that are to keep their grace: another term is to
    /// begin instead of its opening.
    pub fn is_incomplete(&self) -> bool {
        match &self.role {
            Role::Opening(opening) => opening.is_incomplete && self.allows_grace(),
            Role::Home | Role::Copy(_) => false,
        }
    }

    /// Takes in what a connection of this node asks, or a loop of it.
    #[inline]
    pub fn handle(&mut self, mut command: Command, now: Instant, out: &mut Vec<Effect>) {
        self.vouch_for(&mut command);
        match &self.role {
            Role::Home => self.decide(command, now, out),
            _ if self.comes_late(&command) => refuse_late(command, out),
            Role::Opening(_) => self.wait_to_open(command, now, out),
            Role::Copy(_) => self.pass_on(command, now, out),
        }
    }

    /// Moves the pending changes of a channel into `out`. The receivers that are nodes get
    /// [`Replica::item_for`].
    pub fn flush(&mut self, channel: &ChannelName, now: Instant, out: &mut Flush) {
        self.shard.flush(channel, now, out);
    }

    /// What a flush tells a node.
    pub fn item_for(channel: &ChannelName, flush: &Flush, receiver: &Receiver) -> Option<Item> {
        let position = Position { epoch: flush.epoch, seq: flush.seq };
        if receiver.snapshot_for != SnapshotFor::None {
            return flush.snapshot.as_ref().map(|whole| snap(channel, whole));
        }
        if flush.ops.is_empty() {
            return None;
        }
        let ops = flush.ops.iter().map(own::link_op).collect();
        let change = link::Change { channel: channel.clone(), prev: flush.prev, position, ops };
        Some(Item::Change(change))
    }

    /// What is to go to other nodes, in order.
    pub fn take_outgoing(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.outgoing)
    }

    /// What another node says, as one that has no say in this shard is not let to.
    pub fn receive(&mut self, from: From, item: Item, now: Instant, out: &mut Vec<Effect>) {
        match item {
            Item::Snap(snap) => self.copy_snapshot(snap, now, out),
            Item::Change(change) => self.copy_change(change, now, out),
            Item::Refused(refused) => self.refused(&refused, out),
            Item::Hibernated { channel, position } => self.copy_asleep(&channel, position, out),
            Item::Woke { channel } => self.copy_woke(channel, out),
            item => self.receive_at_home(from, item, now, out),
        }
    }

    /// The home is this node from here on. It decides when [`Replica::open`] is called.
    /// `others` are the nodes that it waits for.
    pub fn become_home(
        &mut self,
        (epoch, others): (u64, BTreeSet<Owner>),
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        // A term may follow another one of this node: what was said in that counts no more.
        self.become_copy(now, out);
        let report = self.report(0, Some(&others));
        let role = std::mem::replace(&mut self.role, Role::Home);
        let mut opening = Opening::new(epoch, others);
        opening.report(self.me, None, report);
        if let Role::Copy(mut own) = role {
            opening.held = std::mem::take(&mut own.held);
            opening.held.wait_for(UNTIL_OPEN);
            for mut command in own.into_commands(out) {
                self.vouch_for(&mut command);
                opening.wait(self.me, command);
            }
        }
        self.role = Role::Opening(Box::new(opening));
    }

    /// The home is another node from here on.
    pub fn become_copy(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let mut refused = Vec::new();
        match std::mem::replace(&mut self.role, Role::copy()) {
            Role::Copy(own) => self.role = Role::Copy(own),
            Role::Opening(mut opening) => {
                refused = opening.refusals();
                let held = std::mem::take(&mut opening.held);
                let (mine, waiting) = opening.of_this_node(self.me);
                self.role = Role::Copy(Box::new(Own::of(mine)));
                for command in waiting {
                    self.pass_on(command, now, out);
                }
                self.hold_on(held, out);
            }
            Role::Home => {
                self.adopt_lost();
                self.note_decided();
                self.role = Role::Copy(Box::new(Own::of(self.own_members())));
                self.shard.become_copies();
            }
        }
        // It goes to the new home with the report that this asks for.
        self.outgoing = refused;
    }

    /// Every node has reported.
    pub fn open(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let role = std::mem::replace(&mut self.role, Role::Home);
        let Role::Opening(mut opening) = role else { return };
        let released = opening.held.take_all();
        let until = |channel: &_, gone_at| gone_at + self.grace_of(channel);
        opening.take_left(now);
        let gone = opening.take_gone(until, now);
        self.unannounced = opening.unannounced();
        let from = out.len();
        let Opened { waiting, taken } = opening.open(&mut self.shard, now, out);
        self.tell_taken(taken);
        self.tell_sleep(from, out);
        for gone in gone {
            self.begin_graces(gone, now, out);
        }
        for command in waiting {
            self.decide(command, now, out);
        }
        self.answer(released, out);
    }

    /// The members that no home had told of when this one opened: they join with its first flushes. All
    /// others have been told to whoever follows their channels.
    pub fn take_unannounced(&mut self) -> Vec<(ChannelName, ConnectionId)> {
        std::mem::take(&mut self.unannounced)
    }

    /// The channels whose changes a node wants, while this node decides.
    pub fn wanted_by(&self, node: Peer) -> Vec<ChannelName> {
        if !self.is_open() {
            return Vec::new();
        }
        let wanted = self.shard.slots().filter(|slot| slot.has_peer(node));
        wanted.map(|slot| slot.name.clone()).collect()
    }

    /// The whole of a channel, for a node that is owed it; or that it hibernates. One that is being rebuilt
    /// is told when it has been.
    pub fn snapshot(&self, channel: &ChannelName, node: Peer) -> Option<Item> {
        if !self.is_open() {
            return None;
        }
        let slot = self.shard.slots().find(|slot| slot.name == channel && slot.has_peer(node))?;
        match slot.map {
            Some(list) => Some(snap(channel, &list.snapshot())),
            None if self.shard.is_asleep(channel) => Some(self.hibernated(channel)),
            None => None,
        }
    }

    /// Whether nothing waits for another node's word.
    pub fn is_settled(&self) -> bool {
        match &self.role {
            Role::Copy(own) => own.is_settled(),
            Role::Opening(_) => false,
            Role::Home => true,
        }
    }

    /// Whether a later socket of the same connection has put something here already. A home decides that by
    /// itself; what waits for a home must not be mixed up, as fields end in what is newest here.
    fn comes_late(&self, command: &Command) -> bool {
        let (Command::Put { channel, put, .. } | Command::Keep { channel, put, .. }) = command
        else {
            return false;
        };
        let known = self.generation_of(channel, put.connection);
        known.is_some_and(|known| !is_up_to(known, put.generation))
    }

    /// Makes it a command of who vouches for this node's connections now.
    fn vouch_for(&self, command: &mut Command) {
        match command {
            Command::Put { put, .. } | Command::Keep { put, .. } => put.owner = self.me,
            Command::Detach { owner, .. } | Command::Remove { owner, .. } => *owner = self.me,
            Command::Restate { .. }
            | Command::Subscribe { .. }
            | Command::Recover { .. }
            | Command::Unsubscribe { .. } => {}
        }
    }

    /// What this node's connections show, while this node decides.
    fn own_members(&self) -> Vec<Seen> {
        let mut own = Vec::new();
        for slot in self.shard.slots() {
            let channel = slot.name;
            own.extend(slot.answers_of(self.me).into_iter().map(|(put, connectivity)| {
                let attachment = own::attachment(connectivity);
                Seen { channel: channel.clone(), put, attachment, position: None }
            }));
            let Some(list) = slot.map else { continue };
            for (member, _) in list.members().filter(|(member, _)| member.owner == self.me) {
                let position = Some(Position { epoch: list.epoch(), seq: member.seq });
                let attachment = own::attachment(list.connectivity(member.connection));
                let put = own::put_of(member.clone());
                own.push(Seen { channel: channel.clone(), put, attachment, position });
            }
        }
        own
    }
}

impl Role {
    fn copy() -> Self {
        Self::Copy(Box::default())
    }
}

/// The whole of a list, as a home tells it.
fn snap(channel: &ChannelName, whole: &Snapshot) -> Item {
    let position = Position { epoch: whole.epoch, seq: whole.seq };
    let rows = whole.members.iter().map(row).collect();
    Item::Snap(Snap { channel: channel.clone(), position, rows })
}

/// A member, as a home tells it.
fn row(member: &Member) -> link::Row {
    link::Row {
        presence: own::presence(member),
        owner: member.owner.id(),
        state: member.state.clone(),
        seq: member.seq,
    }
}

/// See [`Replica::comes_late`].
fn refuse_late(command: Command, out: &mut Vec<Effect>) {
    if let Command::Put { asker, reference, channel, .. } = command {
        out.push(Effect::Answer { asker, reference, channel, result: PutResult::Superseded });
    }
}

/// The number by which an owner of a put gets its refusal back.
fn ticket_of(number: u32) -> Ticket {
    Ticket(u64::from(number))
}
