//! Many well-behaved clients of the Rust library, and what each of them should see.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use herenow_client::Client;
use herenow_client::client::Events;
use herenow_client::machine::Event;
use herenow_wire::{ChannelName, State};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::process::token;

/// How long a list may take to be true.
const PATIENCE: Duration = Duration::from_secs(30);

/// A channel's users, each with the states of its connections.
pub type List = BTreeMap<String, Vec<String>>;

pub struct Member {
    pub name: String,
    client: Client,
    /// Counts what it was told.
    told: watch::Receiver<u64>,
    signed_in: mpsc::UnboundedReceiver<SignedIn>,
}

/// When it signed in, and as which connection.
pub type SignedIn = (Instant, String);

impl Member {
    pub fn connect(addr: SocketAddr, name: String) -> Self {
        let (client, events) = Client::connect(&format!("ws://{addr}"), Some(&token(&name)));
        let (telling, told) = watch::channel(0);
        let (signing_in, signed_in) = mpsc::unbounded_channel();
        tokio::spawn(read_on(events, telling, signing_in));
        Self { name, client, told, signed_in }
    }

    pub async fn listen(&self, channel: usize) {
        self.client.listen(channel_name(channel)).await.expect("not closed");
    }

    pub async fn track(&self, channel: usize, state: &str) {
        let state = State::parse(state).expect("a good state");
        self.client.track(channel_name(channel), state).await.expect("not closed");
    }

    pub async fn list(&self, channel: usize) -> List {
        let users = self.client.users(channel_name(channel)).await.expect("not closed");
        let states = |user: &herenow_client::roster::UserRow| {
            user.connections.iter().map(|connection| connection.state.to_string()).collect()
        };
        users.iter().map(|user| (user.user_id.to_string(), states(user))).collect()
    }

    /// Reads events until the list is this.
    pub async fn until(&mut self, channel: usize, wanted: &List) {
        let reading = async {
            while self.list(channel).await != *wanted {
                self.told.changed().await.expect("not closed");
            }
        };
        if timeout(PATIENCE, reading).await.is_err() {
            let list = self.list(channel).await;
            panic!("{} sees {list:?} in {channel} and not {wanted:?}", self.name);
        }
    }

    /// The same, and every entry is one of these connections.
    pub async fn until_connections(
        &mut self,
        channel: usize,
        wanted: &List,
        connections: &BTreeMap<String, String>,
    ) {
        let reading = async {
            loop {
                let users = self.client.users(channel_name(channel)).await.expect("not closed");
                let is_of_now = users.iter().all(|user| {
                    let known = connections.get(&*user.user_id);
                    user.connections
                        .iter()
                        .all(|row| known.is_some_and(|id| **id == *row.connection_id))
                });
                if is_of_now && self.list(channel).await == *wanted {
                    return;
                }
                self.told.changed().await.expect("not closed");
            }
        };
        let waited = timeout(PATIENCE, reading).await;
        assert!(waited.is_ok(), "{} has no true list", self.name);
    }

    /// The next time that it signs in.
    pub async fn signed_in(&mut self) -> SignedIn {
        let waited = timeout(PATIENCE, self.signed_in.recv()).await;
        waited.ok().flatten().unwrap_or_else(|| panic!("{} did not sign in", self.name))
    }
}

/// A client whose events wait is a slow consumer, so they are always read.
async fn read_on(
    mut events: Events,
    told: watch::Sender<u64>,
    signed_in: mpsc::UnboundedSender<SignedIn>,
) {
    while let Some(event) = events.next().await {
        if let Event::SignedIn { connection_id, .. } = &event {
            // A test that is over does not ask any more.
            let _ = signed_in.send((Instant::now(), connection_id.to_string()));
        }
        told.send_modify(|count| *count += 1);
    }
}

pub fn channel_name(channel: usize) -> ChannelName {
    ChannelName::parse(&channel_text(channel)).expect("a good name")
}

pub fn channel_text(channel: usize) -> String {
    format!("presence:place-{channel}")
}
