//! Three nodes with clients on each, and what all of these must be told and agree about.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use herenow_testing::until;
use serde_json::Value;

use crate::PATIENCE;
use crate::client::{Client, Told};
use crate::node::{Node, serve};

/// Channels have different nodes for a home.
const CHANNELS: usize = 12;
const NODES: usize = 3;
/// Members on each node, beside a subscriber that is none. Each is in every channel.
const MEMBERS: usize = 2;
/// Gauges that are zero without clients.
const GAUGES: [&str; 6] =
    ["connections", "detached_sessions", "members", "subscriptions", "channels", "queued_messages"];

/// See the module.
pub struct Cluster {
    pub nodes: Vec<Node>,
    pub channels: Vec<String>,
    seats: Vec<Seat>,
    settings: Settings,
    /// By node, what clients there are told of the members of nodes, and nothing else.
    expected: BTreeMap<usize, Vec<(usize, Vec<Told>)>>,
}

/// How the nodes are started.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What each node names as `--cluster`.
    pub urls: Vec<String>,
    /// No other test has it that uses the same NATS servers.
    pub name: String,
    pub arguments: Vec<&'static str>,
    /// The clock of each node for `faketime`, or none.
    pub clocks: Vec<&'static str>,
}

/// A client on a node.
struct Seat {
    node: usize,
    is_member: bool,
    client: Client,
}

impl Settings {
    pub fn at(url: &str, name: &str) -> Self {
        let urls = vec![url.to_owned(); NODES];
        Self { urls, name: name.to_owned(), ..Self::default() }
    }

    fn spawn(&self, node: usize) -> Node {
        let own = ["--loops", "1", "--drain-ms", "300", "--cluster-name", &self.name];
        let arguments = [&own, self.arguments.as_slice()].concat();
        let command = serve(&self.urls[node], &format!("node{node}"), &arguments);
        Node::spawn(match self.clocks.get(node) {
            Some(clock) => with_clock(clock, command),
            None => command,
        })
    }
}

/// The program `faketime` runs another one and stays before it, and a signal would not reach that. So it only
/// says which library does it.
fn with_clock(clock: &str, mut command: Command) -> Command {
    let asked =
        Command::new("faketime").args(["-m", "-f", clock, "printenv", "LD_PRELOAD"]).output();
    let library = asked.expect("faketime is there: see scripts/install-needs").stdout;
    let library = String::from_utf8(library).expect("a path in UTF-8");
    command.env("LD_PRELOAD", library.trim()).env("FAKETIME", clock);
    command
}

impl Cluster {
    /// Everybody is there, and knows it.
    pub fn start(settings: Settings) -> Self {
        let nodes: Vec<_> = (0..NODES).map(|node| settings.spawn(node)).collect();
        nodes.iter().for_each(Node::until_ready);
        let channels = (0..CHANNELS).map(|n| format!("presence:{n}")).collect();
        let (seats, expected) = (Vec::new(), BTreeMap::new());
        let mut cluster = Self { nodes, channels, seats, settings, expected };
        for node in 0..NODES {
            cluster.fill(node);
        }
        cluster.settle();
        cluster
    }

    /// Clients connect to a node.
    pub fn fill(&mut self, node: usize) {
        for n in 0..=MEMBERS {
            let user = format!("{}{node}{n}", if n == 0 { "subscriber" } else { "member" });
            let client = Client::connect(self.nodes[node].address, &user, None);
            client.subscribe(&self.channels);
            let seat = Seat { node, is_member: n > 0, client };
            if seat.is_member {
                self.channels.iter().for_each(|channel| seat.client.track(channel, 0));
            }
            self.seats.push(seat);
        }
    }

    /// Waits until everybody sees everybody. Of what comes then, nothing may be unexpected.
    pub fn settle(&mut self) {
        self.settle_lists();
        self.agree();
        self.forget();
    }

    fn settle_lists(&self) {
        let count = self.members().count();
        for seat in &self.seats {
            seat.client.until("it sees everybody", |record| {
                self.channels.iter().all(|channel| record.lists[channel].members.len() == count)
            });
        }
    }

    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// No client was told what no server may say.
    pub fn assert_right(&self) {
        self.clients().for_each(Client::assert_right);
    }

    pub fn forget(&mut self) {
        self.expected.clear();
        self.seats.iter().for_each(|seat| seat.client.forget());
    }

    pub fn clients(&self) -> impl Iterator<Item = &Client> {
        self.seats.iter().map(|seat| &seat.client)
    }

    pub fn members(&self) -> impl Iterator<Item = &Client> {
        self.seats.iter().filter(|seat| seat.is_member).map(|seat| &seat.client)
    }

    pub fn members_of(&self, node: usize) -> impl Iterator<Item = &Client> {
        let seats = self.seats.iter().filter(move |seat| seat.is_member && seat.node == node);
        seats.map(|seat| &seat.client)
    }

    pub fn clients_of(&self, node: usize) -> impl Iterator<Item = &Client> {
        self.seats.iter().filter(move |seat| seat.node == node).map(|seat| &seat.client)
    }

    /// The clients of a node leave the test, without a word.
    pub fn drop_clients_of(&mut self, node: usize) {
        self.clients_of(node).for_each(Client::assert_right);
        self.seats.retain(|seat| seat.node != node);
    }

    /// The members of a node are clients of another one now, with what resumes their connections there.
    pub fn move_clients(&mut self, from: usize, to: usize) {
        for seat in self.seats.iter_mut().filter(|seat| seat.node == from) {
            let resume = seat.client.record().resume.clone().expect("it can come back");
            let address = self.nodes[to].address;
            let client = Client::connect(address, &seat.client.user, Some(&resume));
            client.subscribe(&self.channels);
            if seat.is_member {
                self.channels.iter().for_each(|channel| client.track(channel, 0));
            }
            seat.client = client;
            seat.node = to;
        }
    }

    pub fn kill(&mut self, node: usize) {
        self.nodes[node].process.kill();
    }

    pub fn start_again(&mut self, node: usize) {
        self.nodes[node] = self.settings.spawn(node);
        self.nodes[node].until_ready();
    }

    pub fn start_all_again(&mut self) {
        self.nodes = (0..NODES).map(|node| self.settings.spawn(node)).collect();
        self.until_all_act();
    }

    /// Each node is in, and has a lease.
    pub fn until_all_act(&self) {
        self.nodes.iter().for_each(Node::until_ready);
    }

    /// The number of the view.
    pub fn view(&self) -> f64 {
        self.nodes[0].metric("cluster_view").expect("it is there")
    }

    /// Each node knows a newer view.
    pub fn until_view_is_above(&self, old: f64) {
        let is_above = |node: &Node| node.metric("cluster_view").is_some_and(|view| view > old);
        assert!(until(PATIENCE, || self.nodes.iter().all(is_above)), "{} after {old}", self.view());
    }

    /// The shards are spread evenly over the nodes.
    pub fn until_shards_are_even(&self) {
        let shards = || self.nodes.iter().map(|node| node.metric("cluster_home_shards"));
        let are_even =
            || shards().all(|count| count.is_some_and(|count| (340.0..=343.0).contains(&count)));
        assert!(until(PATIENCE, are_even), "{:?}", shards().collect::<Vec<_>>());
    }

    /// Waits until each client on these nodes was told this of each member of these nodes in each channel,
    /// and nothing of the others. From now on nothing more may be told to them.
    pub fn expect(&mut self, on: &[usize], about: &[(usize, &[Told])]) {
        let about: Vec<_> = about.iter().map(|(node, told)| (*node, told.to_vec())).collect();
        self.expected.extend(on.iter().map(|node| (*node, about.clone())));
        let mut wrong = Vec::new();
        until(PATIENCE, || {
            wrong = self.unexpected(on);
            wrong.is_empty()
        });
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// Nobody is told anything.
    pub fn expect_nothing(&mut self) {
        self.expect(&[0, 1, 2], &[]);
    }

    /// Waits until everybody sees everybody, and forgets. The members of these nodes may have left and come
    /// back meanwhile, and no other has.
    pub fn expect_back(&mut self, nodes: &[usize]) {
        self.settle_lists();
        for is_late in [false, true] {
            let mut wrong = Vec::new();
            until(if is_late { Duration::ZERO } else { PATIENCE }, || {
                wrong = self.not_back(nodes);
                wrong.is_empty()
            });
            assert!(wrong.is_empty(), "{wrong:#?}");
            self.agree();
        }
        self.forget();
    }

    fn not_back(&self, nodes: &[usize]) -> Vec<String> {
        let mut wrong = Vec::new();
        for seat in &self.seats {
            let record = seat.client.record();
            for ((channel, user), told) in &record.told {
                let is_of = |node: &usize| user.starts_with(&format!("member{node}"));
                let in_turns = told.windows(2).all(|two| two[0] != two[1]);
                let is_back = told.last() == Some(&Told::Joined);
                if !(nodes.iter().any(is_of) && in_turns && is_back) {
                    wrong.push(format!("{}: {told:?} of {user} in {channel}", seat.client.user));
                }
            }
        }
        wrong
    }

    /// Nothing was told since that was not expected.
    pub fn still_as_expected(&self) {
        let nodes: Vec<_> = self.expected.keys().copied().collect();
        let wrong = self.unexpected(&nodes);
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    fn unexpected(&self, on: &[usize]) -> Vec<String> {
        let mut wrong = Vec::new();
        for seat in self.seats.iter().filter(|seat| on.contains(&seat.node)) {
            let wanted = self.wanted(seat.node);
            let record = seat.client.record();
            let of = |key: &(String, String)| record.told.get(key).cloned().unwrap_or_default();
            let missing = wanted.iter().filter(|(key, told)| of(key) != **told);
            let missing = missing.map(|(key, told)| (key, told.clone()));
            let more = record.told.keys().filter(|key| !wanted.contains_key(*key));
            for (key, told) in missing.chain(more.map(|key| (key, Vec::new()))) {
                let user = &seat.client.user;
                wrong.push(format!("{user} is told {:?} of {key:?}, not {told:?}", of(key)));
            }
        }
        wrong
    }

    /// What a client on a node is to be told, by channel and user.
    fn wanted(&self, on: usize) -> BTreeMap<(String, String), Vec<Told>> {
        let mut wanted = BTreeMap::new();
        for (node, told) in &self.expected[&on] {
            for (channel, n) in
                self.channels.iter().flat_map(|one| (1..=MEMBERS).map(move |n| (one, n)))
            {
                wanted.insert((channel.clone(), format!("member{node}{n}")), told.clone());
            }
        }
        wanted
    }

    /// Each member that is connected to these nodes shows another state in each channel.
    pub fn update(&self, nodes: &[usize]) {
        let seats = self.seats.iter().filter(|seat| seat.is_member && nodes.contains(&seat.node));
        for (client, channel) in
            seats.flat_map(|seat| self.channels.iter().map(move |channel| (&seat.client, channel)))
        {
            let state = client.record().shown.get(channel).copied().unwrap_or_default();
            client.track(channel, state + 1);
        }
    }

    /// A list that is asked for is the same on each node that has clients, at the same position, and has
    /// what the members show last.
    pub fn agree(&self) {
        let shown = self.shown();
        let mut lists = Vec::new();
        let agree = until(PATIENCE, || {
            let seats = self.seats.iter().filter(|seat| !seat.is_member);
            lists = seats.map(|seat| seat.client.sync(&self.channels)).collect();
            lists.windows(2).all(|two| two[0] == two[1]) && states_in(&lists[0]) == shown
        });
        assert!(agree, "not {shown:?}, but {lists:#?}");
    }

    /// By channel, what each member shows.
    fn shown(&self) -> Vec<BTreeMap<String, u64>> {
        let of = |channel| {
            let state = |client: &Client| (client.user.clone(), client.record().shown[channel]);
            self.members().map(state).collect()
        };
        self.channels.iter().map(of).collect()
    }

    /// Everybody has one list; then everybody goes, and nothing is left on any node. No log names a
    /// channel or a user.
    pub fn end(mut self) {
        self.agree();
        self.still_as_expected();
        for seat in self.seats.drain(..) {
            seat.client.assert_right();
            seat.client.close();
        }
        for node in &self.nodes {
            let gauges = || GAUGES.map(|name| (name, node.metric(name)));
            let is_empty =
                until(PATIENCE, || gauges().iter().all(|(_, gauge)| *gauge == Some(0.0)));
            assert!(is_empty, "{:?}", gauges());
            let log = node.process.log();
            assert!(!log.contains("presence:") && !log.contains("member"), "{log}");
        }
    }
}

/// By channel, the states by user, each of which is there once.
fn states_in(lists: &[Value]) -> Vec<BTreeMap<String, u64>> {
    let row = |row: &Value| {
        let user = row["userId"].as_str().unwrap_or_default();
        (user.to_owned(), row["state"]["n"].as_u64().unwrap_or_default())
    };
    let states = |list: &Value| {
        let mut states = BTreeMap::new();
        for (user, state) in list[2].as_array().into_iter().flatten().map(row) {
            // Two rows of one user are what nobody shows.
            states.entry(user).and_modify(|state| *state = u64::MAX).or_insert(state);
        }
        states
    };
    lists.iter().map(states).collect()
}
