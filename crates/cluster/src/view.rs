//! The view: the one value that all nodes share. Which nodes there are, and which of them is the
//! home of each shard. Plain data with its bytes, and the rule by which shards are placed.

use std::collections::BTreeMap;

use herenow_wire::SHARDS;
use herenow_wire::link::{Incarnation, LinkError, Reader, put_varint};

use crate::terms::Term;
use crate::value::NodeName;

/// See the module. Every change of it is one swap of the bucket's key, so all nodes see one
/// sequence of views.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// Its number. It grows with each, and over a bucket that was lost.
    pub v: u64,
    /// The version of the protocol between nodes.
    pub protocol: u32,
    /// The nodes, each name once.
    pub nodes: Vec<Member>,
    /// The term of each shard.
    shards: Vec<Term>,
}

/// A node of a view.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its name.
    pub name: NodeName,
    /// Which of its lives.
    pub incarnation: Incarnation,
    /// The number of the view that admitted it: the owner of its connections' members.
    pub admitted: u64,
    /// Whether it may be a home.
    pub serving: Serving,
}

/// Whether a node may be a home.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Serving {
    /// It may.
    Open,
    /// It is about to leave: its shards move to others.
    Draining,
}

impl View {
    /// The most nodes of a cluster: each should have a few shards.
    pub const MAX_NODES: usize = 512;
    /// The highest number: an epoch on the clients' wire is a number with 20 bits below it, and must
    /// stay below 2^53. It is the second in which the year 2242 is reached.
    pub const MAX_NUMBER: u64 = (1 << 33) - 1;

    /// Before there is any.
    pub fn empty(protocol: u32) -> Self {
        Self { v: 0, protocol, nodes: Vec::new(), shards: vec![Term::NONE; usize::from(SHARDS)] }
    }

    /// The term of a shard.
    pub fn term(&self, shard: u16) -> Term {
        self.shards[usize::from(shard)]
    }

    /// A node, if it is in the view.
    pub fn node(&self, incarnation: Incarnation) -> Option<&Member> {
        self.nodes.iter().find(|node| node.incarnation == incarnation)
    }

    /// Of how many shards a node is the home.
    pub fn shards_of(&self, incarnation: Incarnation) -> usize {
        self.shards.iter().filter(|term| term.home == incarnation).count()
    }

    /// A copy with the number that follows: the wall clock's where that is higher, so that numbers
    /// grow even if the bucket and every node were lost.
    pub fn successor(&self, above: u64, unix_seconds: u64) -> View {
        let next = (self.v.max(above) + 1).max(unix_seconds.min(Self::MAX_NUMBER));
        View { v: next, ..self.clone() }
    }

    /// Gives a shard a new term, with the home that it has.
    pub fn renew(&mut self, shard: u16) {
        self.shards[usize::from(shard)].epoch = self.v;
    }

    /// Gives every shard a home among the nodes: as few as possible move, and two nodes that are
    /// open differ by one shard at most. Where all are draining, only shards without a home move.
    pub fn place(&mut self) {
        let open: Vec<Incarnation> = self
            .nodes
            .iter()
            .filter(|node| node.serving == Serving::Open)
            .map(|node| node.incarnation)
            .collect();
        let all = || self.nodes.iter().map(|node| node.incarnation).collect();
        let (takers, may_keep): (Vec<_>, _) =
            if open.is_empty() { (all(), MayKeep::Everything) } else { (open, MayKeep::ItsShare) };
        if takers.is_empty() {
            return self.abandon();
        }
        let mut counts: BTreeMap<Incarnation, usize> = takers.iter().map(|id| (*id, 0)).collect();
        for term in &self.shards {
            if let Some(count) = counts.get_mut(&term.home) {
                *count += 1;
            }
        }
        let shares = shares(&counts, may_keep);
        let mut homeless = Vec::new();
        for (shard, term) in self.shards.iter().enumerate() {
            match counts.get_mut(&term.home) {
                Some(count) if *count <= shares[&term.home] => {}
                Some(count) => {
                    *count -= 1;
                    homeless.push(shard);
                }
                None => homeless.push(shard),
            }
        }
        for shard in homeless {
            let missing = |id: &Incarnation| shares[id].saturating_sub(counts[id]);
            let home = *takers
                .iter()
                .max_by_key(|id| (missing(id), std::cmp::Reverse(counts[id]), **id))
                .expect("there is a taker");
            *counts.get_mut(&home).expect("every taker is counted") += 1;
            self.shards[shard] = Term { epoch: self.v, home };
        }
    }

    /// The last node has left: no shard has a home.
    fn abandon(&mut self) {
        for term in &mut self.shards {
            if term.home != Term::NOBODY {
                *term = Term { epoch: self.v, home: Term::NOBODY };
            }
        }
    }

    /// Its bytes: about 6 KB, and 20 for each node.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_varint(self.v, &mut out);
        put_varint(u64::from(self.protocol), &mut out);
        put_varint(self.nodes.len() as u64, &mut out);
        for node in &self.nodes {
            node.name.write(&mut out);
            out.extend(node.incarnation.0.to_le_bytes());
            put_varint(node.admitted, &mut out);
            out.push(match node.serving {
                Serving::Open => OPEN,
                Serving::Draining => DRAINING,
            });
        }
        for term in &self.shards {
            // 0 means that the shard has no home.
            let at = self.nodes.iter().position(|node| node.incarnation == term.home);
            put_varint(at.map_or(0, |at| at as u64 + 1), &mut out);
            put_varint(term.epoch, &mut out);
        }
        out
    }

    /// From its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, LinkError> {
        let mut reader = Reader::new(bytes);
        reader.version(VERSION)?;
        let v = number_up_to(&mut reader, Self::MAX_NUMBER)?;
        let protocol = reader.varint_u32()?;
        let count = reader.count(MIN_NODE_BYTES)?;
        if count > Self::MAX_NODES {
            return Err(LinkError::TooMany);
        }
        let mut nodes: Vec<Member> = Vec::with_capacity(count);
        for _ in 0..count {
            let node = decode_node(&mut reader, v)?;
            let is_twin =
                |other: &Member| other.name == node.name || other.incarnation == node.incarnation;
            if node.incarnation == Term::NOBODY || nodes.iter().any(is_twin) {
                return Err(LinkError::Choice);
            }
            nodes.push(node);
        }
        let mut shards = Vec::with_capacity(usize::from(SHARDS));
        for _ in 0..SHARDS {
            let at = number_up_to(&mut reader, count as u64)?;
            let home = match at.checked_sub(1) {
                None => Term::NOBODY,
                Some(at) => nodes[at as usize].incarnation,
            };
            shards.push(Term { epoch: number_up_to(&mut reader, v)?, home });
        }
        Ok(Self { v, protocol, nodes, shards })
    }
}

/// What a node keeps of the shards that it has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MayKeep {
    Everything,
    ItsShare,
}

/// How many shards each taker is to have. The larger shares go to those that have most.
fn shares(
    counts: &BTreeMap<Incarnation, usize>,
    may_keep: MayKeep,
) -> BTreeMap<Incarnation, usize> {
    if may_keep == MayKeep::Everything {
        return counts.keys().map(|id| (*id, usize::from(SHARDS))).collect();
    }
    let (share, larger) = (usize::from(SHARDS) / counts.len(), usize::from(SHARDS) % counts.len());
    let mut by_count: Vec<(std::cmp::Reverse<usize>, Incarnation)> =
        counts.iter().map(|(id, count)| (std::cmp::Reverse(*count), *id)).collect();
    by_count.sort_unstable();
    let each = by_count.into_iter().enumerate();
    each.map(|(rank, (_, id))| (id, share + usize::from(rank < larger))).collect()
}

fn decode_node(reader: &mut Reader<'_>, v: u64) -> Result<Member, LinkError> {
    Ok(Member {
        name: NodeName::read(reader)?,
        incarnation: Incarnation(reader.fixed_u64()?),
        admitted: number_up_to(reader, v)?,
        serving: match reader.byte()? {
            OPEN => Serving::Open,
            DRAINING => Serving::Draining,
            _ => return Err(LinkError::Choice),
        },
    })
}

fn number_up_to(reader: &mut Reader<'_>, most: u64) -> Result<u64, LinkError> {
    reader
        .varint()
        .and_then(|number| if number <= most { Ok(number) } else { Err(LinkError::Number) })
}

const VERSION: u8 = 1;
const OPEN: u8 = 0;
const DRAINING: u8 = 1;

/// A length and a letter of the name, the incarnation, two numbers.
const MIN_NODE_BYTES: usize = 12;
