//! When what loops have for other nodes goes out: at once while that is seldom, else all of it together each few
//! milliseconds of the wall clock. What a loop has for one node is then one batch. Nodes whose clocks agree write at the
//! same moments, so that a NATS server writes to each receiver once for all of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use herenow_core::{NodeMail, Peer};

use super::outbox::FromLoop;

/// See the module.
#[derive(Debug)]
pub(super) struct Pacing {
    window_began: Instant,
    /// Batches that were taken since, as they came.
    batches: usize,
    is_busy: bool,
    hold_until: Option<Instant>,
}

/// Over how long batches are counted.
const WINDOW: Duration = Duration::from_millis(100);
/// So many in a window are a thousand a second.
const BUSY_FROM: usize = 100;
/// How often a busy node sends.
const PERIOD: Duration = Duration::from_millis(10);

impl Pacing {
    pub(super) fn new(now: Instant) -> Self {
        Self { window_began: now, batches: 0, is_busy: false, hold_until: None }
    }

    /// When mail is taken next, if it is not taken as it comes.
    pub(super) fn hold_until(&self) -> Option<Instant> {
        self.hold_until
    }

    /// Mail was taken.
    pub(super) fn taken(&mut self, mail: &[FromLoop], now: Instant) {
        let is_batch = |mail: &&NodeMail| matches!(mail, NodeMail::Items { .. });
        self.batches += mail.iter().flat_map(|from| &from.mail).filter(is_batch).count();
        if now.duration_since(self.window_began) >= WINDOW {
            self.is_busy = self.batches >= BUSY_FROM;
            (self.window_began, self.batches) = (now, 0);
        }
        self.hold_until = self.is_busy.then(|| now + until_next_period(SystemTime::now()));
    }
}

fn until_next_period(now: SystemTime) -> Duration {
    let unix_us = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let period_us = PERIOD.as_micros();
    Duration::from_micros((period_us - unix_us % period_us) as u64)
}

/// The same mail, with what a loop has for one node in as few flushes as its order allows.
pub(super) fn merge(mail: Vec<FromLoop>) -> Vec<FromLoop> {
    let mut merged: Vec<FromLoop> = Vec::new();
    let mut last_of: BTreeMap<u16, (usize, Open)> = BTreeMap::new();
    for from in mail {
        match last_of.get_mut(&from.hub) {
            Some((at, open)) if merged[*at].owner == from.owner => {
                let into = &mut merged[*at];
                from.mail.into_iter().for_each(|one| open.add(&mut into.mail, one));
            }
            _ => {
                let mut open = Open::default();
                let FromLoop { hub, owner, mail, items } = from;
                let mut into = Vec::with_capacity(mail.len());
                mail.into_iter().for_each(|one| open.add(&mut into, one));
                last_of.insert(hub, (merged.len(), open));
                merged.push(FromLoop { hub, owner, mail: into, items });
            }
        }
    }
    merged
}

/// Where the last flush to each node stands that more can be added to.
#[derive(Default)]
struct Open(BTreeMap<Peer, usize>);

impl Open {
    fn add(&mut self, into: &mut Vec<NodeMail>, mail: NodeMail) {
        match mail {
            NodeMail::Items { to, items: more } => match self.0.get(&to).copied() {
                Some(at) => {
                    if let NodeMail::Items { items, .. } = &mut into[at] {
                        items.extend(more);
                    }
                }
                None => {
                    self.0.insert(to, into.len());
                    into.push(NodeMail::Items { to, items: more });
                }
            },
            other => {
                // Its place among flushes to the same node means something. An acknowledgement may only
                // go later than it did, not earlier, which adding to a flush before it does not change.
                match &other {
                    NodeMail::Owed { to, .. } => drop(self.0.remove(to)),
                    NodeMail::ToAll { .. } | NodeMail::Contents { .. } => self.0.clear(),
                    NodeMail::Items { .. } | NodeMail::Told { .. } | NodeMail::Lost { .. } => {}
                }
                into.push(other);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use herenow_core::Owner;
    use herenow_wire::ConnectionId;
    use herenow_wire::link::Item;

    use super::*;

    fn from(hub: u16, owner: u32, mail: Vec<NodeMail>) -> FromLoop {
        FromLoop { hub, owner: Owner(owner), mail, items: 0 }
    }

    fn flush(to: u16, generations: &[u32]) -> NodeMail {
        let connection = ConnectionId::from_bytes([1; 16]);
        let item = |generation: &u32| Item::Taken { connection, generation: *generation };
        NodeMail::Items { to: Peer(to), items: generations.iter().map(item).collect() }
    }

    fn told(batch: u64) -> NodeMail {
        NodeMail::Told { from: Peer(1), batch }
    }

    fn mail_of(merged: Vec<FromLoop>) -> Vec<(u16, u32, Vec<NodeMail>)> {
        merged.into_iter().map(|from| (from.hub, from.owner.0, from.mail)).collect()
    }

    #[test]
    fn what_a_loop_has_for_one_node_becomes_one_flush_in_order() {
        let merged = merge(vec![
            from(0, 1, vec![flush(1, &[1]), flush(2, &[2])]),
            from(1, 1, vec![flush(1, &[3])]),
            from(0, 1, vec![told(7), flush(1, &[4, 5])]),
        ]);
        let wanted = vec![
            (0, 1, vec![flush(1, &[1, 4, 5]), flush(2, &[2]), told(7)]),
            (1, 1, vec![flush(1, &[3])]),
        ];
        assert_eq!(mail_of(merged), wanted);
    }

    #[test]
    fn a_flush_does_not_overtake_what_replaces_it() {
        let contents = || NodeMail::Contents { request: 1, items: vec![], channels: vec![] };
        let merged = merge(vec![
            from(0, 1, vec![flush(1, &[1]), contents()]),
            from(0, 1, vec![flush(1, &[2])]),
        ]);
        assert_eq!(mail_of(merged), [(0, 1, vec![flush(1, &[1]), contents(), flush(1, &[2])])]);
    }

    #[test]
    fn mail_of_two_lives_of_a_node_is_kept_apart() {
        let mail = vec![from(0, 1, vec![flush(1, &[1])]), from(0, 2, vec![flush(1, &[2])])];
        let wanted = vec![(0, 1, vec![flush(1, &[1])]), (0, 2, vec![flush(1, &[2])])];
        assert_eq!(mail_of(merge(mail)), wanted);
    }

    #[test]
    fn a_node_holds_mail_back_only_while_it_sends_a_thousand_batches_a_second() {
        let began = Instant::now();
        let mut pacing = Pacing::new(began);
        let few = [from(0, 1, vec![flush(1, &[1])])];
        pacing.taken(&few, began + WINDOW);
        assert_eq!(pacing.hold_until(), None);
        let many = [from(0, 1, vec![flush(1, &[1]); BUSY_FROM])];
        let later = began + 2 * WINDOW;
        pacing.taken(&many, later);
        let held_for = pacing.hold_until().expect("it is busy").duration_since(later);
        assert!(held_for <= PERIOD, "{held_for:?}");
        pacing.taken(&few, later + WINDOW);
        assert_eq!(pacing.hold_until(), None);
    }
}
