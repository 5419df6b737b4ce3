//! A whole run: clients, links and a server, in one time. It storms, then it is calm for long
//! enough, and then everybody must know the truth: who is connected and shows what.

use std::time::{Duration, Instant as Wall};

use herenow_client::machine::{Input, Status};
use herenow_core::Instant;
use herenow_wire::{ChannelName, DefaultChannel, UserId};

use crate::application::{List, list_of};
use crate::client::Client;
use crate::counting::Counting;
use crate::plan::token_of;
use crate::server::Server;
use crate::stage::{Stage, Tally, Trace, Weather};

/// See the module.
pub struct World {
    pub(crate) stage: Stage,
    pub(crate) server: Server,
    pub(crate) clients: Vec<Client>,
}

/// Long enough for every client to notice a dead socket, to come back with the longest backoff
/// twice, and for a rebuilt map.
const CALM: Duration = Duration::from_secs(120);

/// Long enough for a close to arrive and a map to be rebuilt that hibernated.
const AFTER_A_LEAVE: Duration = Duration::from_secs(5);

/// More than any run needs: one that takes more is going round in circles.
const MOST_STEPS: u64 = 1_000_000;

/// Runs one seed to its end. Panics where anything is not as promised.
pub fn run(seed: u64, trace: Trace) -> Tally {
    let mut world = World::new(seed, trace);
    for _ in 0..world.stage.chance.between(1, 2) {
        world.storm();
        world.calm_down();
        world.agrees();
    }
    world.everybody_goes();
    let Stage { tally, history, .. } = &mut world.stage;
    (tally.counted, tally.counted_as_seen) = (history.counted, history.counted_as_seen);
    tally.fields_ended = history.fields_ended;
    *tally
}

impl World {
    fn new(seed: u64, trace: Trace) -> Self {
        let mut stage = Stage::new(seed, trace);
        let server = Server::start(&mut stage);
        let epoch = beginning();
        let (members, all) = (stage.plan.members, stage.plan.members + stage.plan.observers);
        let mut world = Self { server, clients: Vec::new(), stage };
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
            for link in std::mem::take(&mut self.stage.opened) {
                self.server.watch(link, &mut self.stage);
            }
            let (turn_at, turn) = self.server.next_turn(&mut self.stage);
            let steps = self.clients.iter().enumerate();
            let (step_at, step) = steps
                .map(|(at, client)| (client.next_step(&mut self.stage), at))
                .min()
                .expect("there is at least one client");
            if turn_at.min(step_at) > end {
                self.stage.now = end;
                return;
            }
            self.stage.now = turn_at.min(step_at);
            if turn_at <= step_at {
                self.server.turn(turn, &mut self.stage);
            } else {
                self.clients[step].step(&mut self.stage);
            }
        }
        panic!("it never comes to rest");
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
        self.advance(now + CALM);
        self.stage.weather = Weather::Rough;
    }

    /// Every list is the set of those who are connected and show something.
    fn agrees(&self) {
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
        let is_kept = list.len() <= most || self.stage.tally.faults > 0;
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
        self.server.is_drained(&mut self.stage);
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
