//! Who of one's friends is online: each user has a channel of its own, `presence:user-<id>`, and each
//! subscribes to those of its friends, 100 of them with one message.
//!
//! Friendship is mutual here: everybody has half of its friends before it and half behind it.

use std::time::{Duration, Instant};

use super::{Case, Effort, HANDSHAKES_AT_ONCE, Load, SETTLING, Trial};
use crate::driver::{Arrival, Driver, Sink};
use crate::frames;
use crate::guests::{self, Guests};
use crate::inbound::Event;
use crate::measure::{Measure, Numbers, per};
use crate::messages::{self, Writer};
use crate::server::Settings;

/// At most so many channels stand in one message.
const CHANNELS_PER_MESSAGE: usize = 100;
/// Users who go offline or come online again, in all.
const CHANGES_PER_SECOND: f64 = 20.0;

/// See the module.
pub struct Friends {
    pub users: usize,
    pub friends: usize,
    pub period: Duration,
}

pub fn cases(effort: Effort) -> Vec<Case> {
    let (users, friends) = (1000, 200);
    let (period, runs) = match effort {
        Effort::Short => (Duration::from_secs(3), 1),
        Effort::Full => (Duration::from_secs(10), 3),
    };
    // A user is subscribed to its own channel as well.
    let settings = Settings { max_channels: Some(friends as u32 + 1), ..Settings::default() };
    let load = Load::Friends(Friends { users, friends, period });
    let name = format!("{users} with {friends} each");
    vec![Case { scenario: "friends", name, runs, settings, load }]
}

impl Friends {
    pub fn run(&self, trial: &Trial) -> Result<Numbers, String> {
        let mut driver = trial.driver()?;
        let mut users = Users::new(self);
        let (empty_kb, empty_cpu_s) = (trial.anonymous_kb()?, trial.cpu_s()?);
        let began = Instant::now();
        let all = (self.users, HANDSHAKES_AT_ONCE);
        guests::connect(&mut driver, &mut users, all, SETTLING)?;
        let subscribed_after = began.elapsed();
        let subscribing_cpu_s = trial.cpu_s()? - empty_cpu_s;
        let subscribed_kb = trial.anonymous_kb()?;

        for user in 0..self.users {
            users.come_online(&mut driver, user);
        }
        // Each knows its friends and itself.
        let everybody = self.friends + 1;
        guests::wait(&mut driver, &mut users, SETTLING, |users| users.all_know(everybody))?;

        users.told = 0;
        let online_cpu_s = trial.cpu_s()?;
        let changes = self.change(&mut driver, &mut users)?;
        let told = (changes * everybody) as u64;
        guests::wait(&mut driver, &mut users, SETTLING, |users| users.told >= told)?;
        let changing_cpu_s = trial.cpu_s()? - online_cpu_s;
        if users.told != told || !users.all_know(everybody) {
            return Err(format!("{} changes were told, not {told}", users.told));
        }
        let subscriptions = (self.users * self.friends) as f64;
        Ok(Numbers::from([
            (Measure::AllKnow, subscribed_after.as_secs_f64() * 1e3),
            (Measure::Cpu, subscribing_cpu_s),
            (Measure::CpuPerSubscription, subscribing_cpu_s * 1e6 / subscriptions),
            (Measure::CpuPerSeen, per(changing_cpu_s * 1e6, told as f64)),
            (Measure::RssGrowthPerConnection, (subscribed_kb - empty_kb) / self.users as f64),
        ]))
    }

    /// One user after the other goes offline and comes back. Returns how many changes that were.
    fn change(&self, driver: &mut Driver, users: &mut Users) -> Result<usize, String> {
        let changes = (CHANGES_PER_SECOND * self.period.as_secs_f64()) as usize / 2 * 2;
        let began = Instant::now();
        for change in 0..changes {
            let user = change / 2 % self.users;
            match change % 2 {
                0 => users.go_offline(driver, user),
                _ => users.come_online(driver, user),
            }
            let next = Duration::from_secs_f64((change + 1) as f64 / CHANGES_PER_SECOND);
            loop {
                let left = next.saturating_sub(began.elapsed());
                if left.is_zero() {
                    break;
                }
                guests::poll(driver, users, left)?;
            }
        }
        Ok(changes)
    }
}

/// The connections, one for each user.
struct Users {
    channels: Vec<String>,
    tokens: Vec<String>,
    friends: usize,
    /// How many snapshots each has read.
    snapshots: Vec<usize>,
    /// How many users each takes to be online.
    online: Vec<i32>,
    states: Vec<u32>,
    ready: usize,
    told: u64,
    problem: Option<String>,
    writer: Writer,
    out: Vec<u8>,
}

impl Users {
    fn new(load: &Friends) -> Self {
        Self {
            channels: (0..load.users).map(|user| format!("presence:user-{user:06}")).collect(),
            tokens: (0..load.users).map(messages::token).collect(),
            friends: load.friends,
            snapshots: vec![0; load.users],
            online: vec![0; load.users],
            states: vec![0; load.users],
            ready: 0,
            told: 0,
            problem: None,
            writer: Writer::default(),
            out: Vec::new(),
        }
    }

    fn come_online(&mut self, driver: &mut Driver, user: usize) {
        self.states[user] += 1;
        self.out.clear();
        self.writer.track(&mut self.out, &self.channels[user], (user, self.states[user]));
        driver.send(user, &self.out);
    }

    fn go_offline(&mut self, driver: &mut Driver, user: usize) {
        self.out.clear();
        self.writer.untrack(&mut self.out, &self.channels[user]);
        driver.send(user, &self.out);
    }

    fn all_know(&self, users: usize) -> bool {
        self.online.iter().all(|online| *online == users as i32)
    }

    fn subscribe(&mut self, user: usize, out: &mut Vec<u8>) {
        let (all, half) = (self.channels.len(), self.friends / 2);
        let friends: Vec<usize> =
            (1..=half).flat_map(|step| [(user + step) % all, (user + all - step) % all]).collect();
        for some in friends.chunks(CHANNELS_PER_MESSAGE) {
            let channels = some.iter().map(|friend| &*self.channels[*friend]);
            self.writer.subscribe_to_all(out, channels);
        }
    }
}

impl Guests for Users {
    fn ready(&self) -> usize {
        self.ready
    }

    fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }
}

impl Sink for Users {
    fn arrived(&mut self, arrival: Arrival<'_>, reply: &mut Vec<u8>) {
        let user = arrival.connection;
        match arrival.event {
            Event::Opened => {
                self.writer.auth(reply, &self.tokens[user]);
                self.subscribe(user, reply);
            }
            Event::SnapshotEnds => {
                self.snapshots[user] += 1;
                self.ready += usize::from(self.snapshots[user] == self.friends);
            }
            Event::Row(_) => self.online[user] += 1,
            Event::Joined(_) => {
                self.online[user] += 1;
                self.told += 1;
            }
            Event::Left { .. } => {
                self.online[user] -= 1;
                self.told += 1;
            }
            Event::Ping(payload) => frames::push_masked(reply, frames::PONG, payload),
            Event::Authenticated | Event::SnapshotBegins | Event::Pong | Event::Other => {}
            wrong @ (Event::Error(_)
            | Event::Closed
            | Event::Updated(_)
            | Event::Counted { .. }) => {
                self.problem.get_or_insert_with(|| format!("user {user} is told {wrong:?}"));
            }
        }
    }
}
