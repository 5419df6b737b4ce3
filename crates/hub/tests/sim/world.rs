//! A whole run: clients, links and a server, in one time. It storms, then it is calm for long
//! enough, and then everybody must know the truth: who is connected and shows what.

use std::time::{Duration, Instant as Wall};

use herenow_client::machine::{Input, Status};
use herenow_core::Instant;
use herenow_wire::{ChannelName, DefaultChannel, UserId};

use crate::application::{List, list_of};
use crate::chance::Chance;
use crate::client::Client;
use crate::cluster::Cluster;
use crate::counting::Counting;
use crate::plan::{Plan, token_of};
use crate::server::Server;
use crate::stage::{Stage, Tally, Trace, Weather};
use crate::stopping::Stop;

/// See the module.
pub struct World {
    pub(crate) stage: Stage,
    /// Of each node the process that runs there.
    pub(crate) servers: Vec<Option<Server>>,
    /// What makes them one, if there are several.
    pub(crate) cluster: Option<Cluster>,
    /// Nodes that are to start again, and when.
    pub(crate) restarts: Vec<(Instant, usize)>,
    /// Processes that were told to end.
    pub(crate) stops: Vec<Stop>,
    pub(crate) clients: Vec<Client>,
}

/// Long enough for every client to notice a dead socket, to come back with the longest backoff
/// twice, and for a rebuilt map.
const CALM: Duration = Duration::from_secs(120);

/// Long enough for nodes to be in one view again, and to have reported what they have.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);

/// Long enough for a close to arrive and a map to be rebuilt that hibernated.
const AFTER_A_LEAVE: Duration = Duration::from_secs(5);

/// More than any run needs: one that takes more is going round in circles.
const MOST_STEPS: u64 = 1_000_000;

/// Runs one seed to its end. Panics where anything is not as promised.
pub fn run(seed: u64, plan: fn(&mut Chance) -> Plan, trace: Trace) -> Tally {
    let mut world = World::new(Stage::new(seed, plan, trace));
    for _ in 0..world.stage.chance.between(1, 2) {
        world.storm();
        world.calm_down();
        world.agrees();
    }
    world.everybody_goes();
    let Stage { tally, history, .. } = &mut world.stage;
    (tally.counted, tally.counted_as_seen) = (history.counted, history.counted_as_seen);
    tally.fields_ended = history.fields_ended;
    tally.flushes = history.flushes;
    *tally
}

impl World {
    fn new(stage: Stage) -> Self {
        let count = stage.plan.servers();
        let cluster = stage.plan.is_cluster().then(|| Cluster::new(&stage.plan.clocks, stage.now));
        let servers = (0..count).map(|_| None).collect();
        let (clients, restarts, stops) = (Vec::new(), Vec::new(), Vec::new());
        let mut world = Self { servers, cluster, restarts, stops, clients, stage };
        for at in 0..count {
            world.start(at);
        }
        let stage = &world.stage;
        let epoch = beginning();
        let (members, all) = (stage.plan.members, stage.plan.members + stage.plan.observers);
        for number in 0..all {
            let token = (number < members).then(|| token_of(number));
            let mut default = world.stage.a_default_channel();
            // Every other observer is a backend, whose sockets the server opens itself.
            let is_backend = token.is_none() && number % 2 == 1;
            let watched = is_backend.then(|| world.stage.plan.channels[0].clone());
            if is_backend {
                default = DefaultChannel::None;
            }
            let mut client = Client::new(number, token, default, epoch);
            client.watched = watched;
            world.clients.push(client);
        }
        // They come first, so that they are the last who go and count all who go before.
        for number in all..all + world.stage.plan.counters {
            let mut client = Client::new(number, None, DefaultChannel::None, epoch);
            client.counting = Some(Counting::new(world.stage.plan.channels[0].clone()));
            world.clients.insert(0, client);
        }
        for client in &mut world.clients {
            client.tell(Input::Start, &mut world.stage);
            if client.token.is_none() && client.counting.is_none() {
                client.listen(world.stage.plan.channels[0].clone(), &mut world.stage);
            }
        }
        world
    }

    /// Lets everything happen that is to happen up to then.
    pub(crate) fn advance(&mut self, end: Instant) {
        for _ in 0..MOST_STEPS {
            self.divide_links();
            let (turn_at, turn) = self.next_turn();
            let cluster_at = self.next_of_cluster();
            let steps = self.clients.iter().enumerate();
            let (step_at, step) = steps
                .map(|(at, client)| (client.next_step(&mut self.stage), at))
                .min()
                .expect("there is at least one client");
            let next = turn_at.min(step_at).min(cluster_at);
            if next > end {
                self.stage.now = end;
                return;
            }
            self.stage.now = next;
            if turn_at == next {
                let (node, turn) = turn;
                self.with_server(node, |server, stage| server.turn(turn, stage));
                if let Some(cluster) = &mut self.cluster {
                    cluster.take_mail(&mut self.stage);
                }
            } else if cluster_at == next {
                self.step_of_cluster();
            } else {
                self.clients[step].step(&mut self.stage);
            }
            self.meet_new_homes();
        }
        panic!("it never comes to rest");
    }

    /// A process starts at a node.
    pub(crate) fn start(&mut self, at: usize) {
        if self.servers[at].is_some() {
            return;
        }
        let mut server = Server::start(at, &mut self.stage);
        if let Some(cluster) = &mut self.cluster {
            cluster.start(at, &mut server, &mut self.stage);
        }
        self.servers[at] = Some(server);
    }

    /// A process is no more, as by `kill -9`.
    pub(crate) fn kill(&mut self, at: usize) {
        self.with_server(at, Server::kill);
        self.servers[at] = None;
        if let Some(cluster) = &mut self.cluster {
            cluster.kill(at);
        }
    }

    pub(crate) fn with_server(&mut self, at: usize, act: impl FnOnce(&mut Server, &mut Stage)) {
        if let Some(server) = &mut self.servers[at] {
            act(server, &mut self.stage);
        }
    }

    /// Each link that was opened goes to some node that is there.
    fn divide_links(&mut self) {
        for link in std::mem::take(&mut self.stage.opened) {
            let servers = self.servers.iter_mut().flatten();
            let mut living: Vec<&mut Server> = servers.filter(|one| one.takes_clients()).collect();
            match living.len() {
                0 => {
                    let at = self.stage.arrival();
                    self.stage.network.link(link).cut(at);
                }
                1 => living[0].watch(link, &mut self.stage),
                count => {
                    let at = self.stage.chance.index(count);
                    living[at].watch(link, &mut self.stage);
                }
            }
        }
    }

    /// When which loop of which node turns next.
    fn next_turn(&mut self) -> (Instant, (usize, usize)) {
        let mut next = (Instant::NEVER, (0, 0));
        for (node, server) in self.servers.iter_mut().enumerate() {
            if let Some(server) = server {
                let (at, turn) = server.next_turn(&mut self.stage);
                next = next.min((at, (node, turn)));
            }
        }
        next
    }

    fn next_of_cluster(&self) -> Instant {
        let Some(cluster) = &self.cluster else { return Instant::NEVER };
        let restarts = self.restarts.iter().map(|(at, _)| *at);
        let due = restarts.chain(self.stops.iter().map(|stop| stop.at));
        due.fold(cluster.next_step(self.stage.now), Instant::min).max(self.stage.now)
    }

    fn step_of_cluster(&mut self) {
        let now = self.stage.now;
        for (_, node) in self.restarts.extract_if(.., |(at, _)| *at <= now).collect::<Vec<_>>() {
            self.start(node);
        }
        self.go_on_stopping();
        for server in self.servers.iter_mut().flatten() {
            if self.stage.weather == Weather::Rough {
                server.be_patient(now);
            }
        }
        if let Some(cluster) = &mut self.cluster {
            cluster.step(&mut self.servers, &mut self.stage);
            cluster.take_mail(&mut self.stage);
        }
    }

    fn calm_down(&mut self) {
        self.stage.weather = Weather::Calm;
        let now = self.stage.now;
        self.stage.note(|| "calm".to_owned());
        for client in &mut self.clients {
            client.asleep_until = now;
            client.deaf_until = now;
            client.timeless_until = now;
            if matches!(client.machine.status(), Status::Failed | Status::Closed) {
                client.tell(Input::Start, &mut self.stage);
            }
            // The rules may have had no answer when it asked before.
            client.count_anew(&mut self.stage);
        }
        if let Some(cluster) = &mut self.cluster {
            cluster.calm_down(now);
            for (_, at) in std::mem::take(&mut self.restarts) {
                self.start(at);
            }
            for server in self.servers.iter_mut().flatten() {
                server.go_on(now);
            }
            self.be_patient_with_nodes();
        }
        self.advance(now + CALM);
        self.stage.weather = Weather::Rough;
    }

    /// Nodes need time to be in one view again.
    pub(crate) fn be_patient_with_nodes(&mut self) {
        for server in self.servers.iter_mut().flatten() {
            server.be_patient(self.stage.now + SETTLES_WITHIN);
        }
    }

    /// Every list is the set of those who are connected and show something.
    fn agrees(&self) {
        if let Some(cluster) = &self.cluster {
            cluster.is_settled(self.stage.now);
        }
        for client in &self.clients {
            let who = client.number;
            assert_eq!(client.machine.status(), Status::Connected, "client {who}");
            if let Some(counting) = &client.counting {
                self.counts_all(who, counting);
            }
            for channel in client.wants.keys().filter(|name| self.may(client, name)) {
                let expected = self.expected(channel);
                let known = client.machine.roster(channel).map(list_of).unwrap_or_default();
                assert_eq!(
                    self.settled(channel, &known),
                    expected,
                    "what {who} knows of {channel}"
                );
                let told = client.application.list(channel);
                assert_eq!(told, Some(&known), "what {who} was told of {channel}");
            }
        }
    }

    /// The newest count is that of those who are there. Those who met a full channel may be or not.
    fn counts_all(&self, who: usize, counting: &Counting) {
        let expected = self.expected(&counting.channel);
        let mut users: Vec<&String> = expected.keys().map(|(user, _)| user).collect();
        users.dedup();
        let least = (users.len(), expected.len());
        let refused = self.clients.iter().filter(|client| client.was_refused).count();
        let told = counting.numbers().expect("it has asked, and was told");
        let is_between = |told, least| (least..=least + refused).contains(&told);
        let is_true = is_between(told.0, least.0) && is_between(told.1, least.1);
        assert!(is_true, "client {who} counts {told:?} in {}, not {least:?}", counting.channel);
    }

    /// A list without those who may be in it or not: whoever met a full channel.
    fn settled(&self, channel: &ChannelName, list: &List) -> List {
        let most = self.stage.plan.most_members(channel) as usize;
        // While a lost map is rebuilt, nobody knows yet how many of those who were in it come back:
        // they stay beside whoever came meanwhile.
        // Where a home has died, so it is with those that other nodes show.
        let may_be_more = self.stage.tally.faults > 0 || self.stage.tally.moves > 0;
        let is_kept = list.len() <= most || may_be_more;
        assert!(is_kept, "{channel} holds {} of at most {most}", list.len());
        let is_open = |connection: &str| {
            let of = |client: &&Client| client.connection.as_deref() == Some(connection);
            self.clients.iter().find(of).is_some_and(|client| client.was_refused)
        };
        list.clone().into_iter().filter(|((_, connection), _)| !is_open(connection)).collect()
    }

    fn expected(&self, channel: &ChannelName) -> List {
        let shown = self.clients.iter().filter(|client| !client.was_refused).filter_map(|client| {
            let state = client.wants.get(channel)?.shown.as_ref()?;
            let user = client.token.clone()?;
            let connection = client.connection.clone().expect("it is connected and signed in");
            self.may(client, channel).then(|| ((user, connection), state.as_str().to_owned()))
        });
        shown.collect()
    }

    fn may(&self, client: &Client, channel: &ChannelName) -> bool {
        let Some(token) = &client.token else { return true };
        let user = UserId::parse(token).expect("a token names a user");
        !self.stage.plan.is_shut_out(&user, channel)
    }

    /// They leave one by one, those who stay see each of them go, and nothing is left.
    fn everybody_goes(&mut self) {
        self.stage.weather = Weather::Calm;
        while self.clients.len() > 1 {
            self.clients.pop().expect("there are two").stop(&mut self.stage);
            self.advance(self.stage.now + AFTER_A_LEAVE);
            self.agrees();
        }
        self.clients[0].stop(&mut self.stage);
        let rest = self.stage.plan.longest_ttl() + self.stage.plan.grace + Duration::from_secs(10);
        self.advance(self.stage.now + rest);
        if let Some(cluster) = &self.cluster {
            cluster.is_quiet();
        }
        for server in self.servers.iter_mut().flatten() {
            server.is_drained(&mut self.stage);
        }
    }
}

/// The origin of the clients' time. Only differences count.
#[expect(
    clippy::disallowed_methods,
    reason = "the type has no other origin; it is never asked again"
)]
fn beginning() -> Wall {
    Wall::now()
}
