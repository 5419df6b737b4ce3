//! Faults by chance, two at a time, under load: after each pair the lists are true again, only members of nodes
//! that were hurt have left, and no client was told what contradicts itself. `SEED=7` repeats the faults of a run, though not their moments.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use herenow_testing::{Direction, Proxy};

use crate::cluster::Cluster;
use crate::load::Load;
use crate::nats::Nats;
use crate::{PATIENCE, cut, has_time, last};

#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill(usize),
    Stop(usize),
    Pause(usize),
    StandStill(usize),
    Hold(usize, Direction),
    Cut(usize),
    PauseNats,
    KillNats,
    Wipe,
}

impl Fault {
    /// Whose members may leave by it.
    fn node(self) -> Option<usize> {
        match self {
            Self::Kill(node) | Self::Stop(node) | Self::Pause(node) => Some(node),
            Self::StandStill(node) | Self::Hold(node, _) | Self::Cut(node) => Some(node),
            Self::PauseNats | Self::KillNats | Self::Wipe => None,
        }
    }
}

/// Numbers by chance, the same from the same seed.
struct Chance {
    state: u64,
    /// What repeats it.
    said: String,
}

impl Chance {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        // An ordinary run has the same faults each time.
        let other = if has_time() { now.as_millis() as u64 } else { 5 };
        let seed: u64 = given.unwrap_or(other);
        Self { state: seed | 1, said: format!("SEED={seed}") }
    }

    fn below(&mut self, bound: u64) -> u64 {
        // Xorshift.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % bound
    }

    fn fault(&mut self) -> Fault {
        let node = self.below(3) as usize;
        match self.below(10) {
            0 => Fault::Kill(node),
            1 => Fault::Stop(node),
            2 | 3 => Fault::Pause(node),
            4 => Fault::StandStill(node),
            5 => Fault::Hold(node, Direction::ToServer),
            6 => Fault::Hold(node, Direction::ToClient),
            7 => Fault::Cut(node),
            8 => [Fault::PauseNats, Fault::KillNats][self.below(2) as usize],
            _ => Fault::Wipe,
        }
    }
}

/// What the faults are of.
struct Soak {
    nats: Nats,
    cluster: Cluster,
    nets: Vec<Proxy>,
    /// Nodes without a process, or with one that ends.
    is_gone: [bool; 3],
    is_dead: [bool; 3],
    is_nats_gone: bool,
    clients: Clients,
}

/// What clients do whose node is gone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clients {
    /// They are others when it is back.
    Change,
    /// They come back on the next one, within the grace.
    Resume,
}

impl Soak {
    fn start(clients: Clients) -> Self {
        let nats = Nats::start();
        let (name, arguments): (_, &[_]) = match clients {
            Clients::Change => ("soak", &[]),
            Clients::Resume => ("soakgrace", &["--disconnect-grace-ms", "120000"]),
        };
        let (cluster, nets) = cut::start(&nats, name, arguments);
        let (is_gone, is_dead) = ([false; 3], [false; 3]);
        Self { nats, cluster, nets, is_gone, is_dead, is_nats_gone: false, clients }
    }

    fn begin(&mut self, fault: Fault) {
        let process = |node: usize| &self.cluster.nodes[node].process;
        match fault {
            Fault::Kill(node) => {
                self.cluster.kill(node);
                (self.is_gone[node], self.is_dead[node]) = (true, true);
            }
            Fault::Stop(node) if !self.is_gone[node] => {
                process(node).signal("TERM");
                self.is_gone[node] = true;
            }
            Fault::Pause(node) if !self.is_gone[node] => process(node).signal("STOP"),
            Fault::Stop(_) | Fault::Pause(_) => {}
            Fault::StandStill(node) => self.nets[node].stand_still(),
            Fault::Hold(node, direction) => self.nets[node].hold(direction),
            Fault::Cut(node) => self.nets[node].cut(),
            Fault::PauseNats if !self.is_nats_gone => self.nats.signal("STOP"),
            Fault::KillNats => {
                self.nats.kill();
                self.is_nats_gone = true;
            }
            Fault::Wipe if !self.is_nats_gone => {
                // Another fault may keep it from an answer.
                let delete = format!("$JS.API.STREAM.DELETE.KV_hn_{}", self.cluster.name());
                let _ = self.nats.try_connect().and_then(|tap| tap.ask(&delete, ""));
            }
            Fault::PauseNats | Fault::Wipe => {}
        }
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.is_nats_gone) {
            self.nats.start_again();
        } else {
            self.nats.signal("CONT");
        }
        self.nets.iter().for_each(Proxy::go_on);
        for (node, is_gone) in self.is_gone.into_iter().enumerate() {
            let process = &mut self.cluster.nodes[node].process;
            if !std::mem::take(&mut self.is_dead[node]) {
                process.signal("CONT");
            }
            if is_gone && process.ended_within(PATIENCE).is_none() {
                panic!("it ends: {}", process.log());
            }
        }
        let gone: Vec<_> = (0..3).filter(|node| std::mem::take(&mut self.is_gone[*node])).collect();
        let left = (0..3).find(|node| !gone.contains(node)).expect("one fault spares a node");
        for node in gone {
            match self.clients {
                Clients::Change => {
                    self.cluster.drop_clients_of(node);
                    self.cluster.start_again(node);
                    self.cluster.fill(node);
                }
                Clients::Resume => {
                    self.cluster.move_clients(node, left);
                    self.cluster.start_again(node);
                }
            }
        }
        self.cluster.until_all_act();
    }
}

#[test]
fn after_faults_by_chance_lists_are_true_again() {
    let (mut chance, mut soak) = (Chance::new(), Soak::start(Clients::Change));
    for round in 0..if has_time() { 12 } else { 2 } {
        let (one, other) = (chance.fault(), chance.fault());
        let (first, second) = (chance.below(5_000), chance.below(6_000));
        let said = &chance.said;
        eprintln!("{said}, {round}: {one:?}, after {first} ms {other:?} for {second} ms");
        let load = Load::start(&soak.cluster, &[0, 1, 2]);
        soak.begin(one);
        last(Duration::from_millis(first));
        soak.begin(other);
        last(Duration::from_millis(second));
        load.stop();
        soak.end();
        let nodes: Vec<_> = [one, other].into_iter().filter_map(Fault::node).collect();
        soak.cluster.expect_back(&nodes);
        soak.cluster.assert_right();
    }
    soak.cluster.end();
}

#[test]
fn with_a_grace_no_fault_by_chance_is_seen() {
    let (mut chance, mut soak) = (Chance::new(), Soak::start(Clients::Resume));
    for round in 0..if has_time() { 15 } else { 2 } {
        let (fault, time) = (chance.fault(), chance.below(9_000));
        eprintln!("{}, {round}: {fault:?} for {time} ms", chance.said);
        let load = Load::start(&soak.cluster, &[0, 1, 2]);
        soak.begin(fault);
        last(Duration::from_millis(time));
        load.stop();
        soak.end();
        soak.cluster.agree();
        soak.cluster.expect_nothing();
        soak.cluster.assert_right();
    }
    soak.cluster.end();
}
