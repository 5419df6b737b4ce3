//! A user of the client library, at a server or at a proxy before it.

use std::net::SocketAddr;
use std::time::Duration;

use herenow_client::Client;
use herenow_client::client::Events;
use herenow_client::machine::Event;
use herenow_client::roster::{RosterEvent, UserRow};
use herenow_wire::{ChannelName, State};
use tokio::time::timeout;

use super::{GAME, token};

const PATIENCE: Duration = Duration::from_secs(20);

/// One user of the client library.
pub struct User {
    pub client: Client,
    pub events: Events,
}

impl User {
    pub fn connect(addr: SocketAddr, name: &str) -> Self {
        let origin = format!("ws://{}", addr);
        let (client, events) = Client::connect(&origin, Some(&token(name)));
        Self { client, events }
    }

    pub async fn event(&mut self) -> Event {
        timeout(PATIENCE, self.events.next()).await.expect("an event comes").expect("not closed")
    }

    /// Reads events until the list is as wanted.
    pub async fn until(&mut self, wanted: impl Fn(&[UserRow]) -> bool) {
        while !wanted(&self.list().await) {
            self.event().await;
        }
    }

    /// The list as it is now.
    pub async fn list(&self) -> Vec<UserRow> {
        self.client.users(game()).await.expect("not closed")
    }

    /// The next difference of the list.
    pub async fn difference(&mut self) -> RosterEvent {
        loop {
            if let Event::Roster { event, .. } = self.event().await {
                return event;
            }
        }
    }

    /// Listens and tracks in [`GAME`], and waits until the list says so.
    pub async fn join(addr: SocketAddr, name: &str) -> Self {
        let mut user = Self::connect(addr, name);
        user.client.listen(game()).await.expect("not closed");
        user.client.track(game(), state(r#"{"n":1}"#)).await.expect("not closed");
        user.until(|users| names(users).contains(&name)).await;
        user
    }
}

pub fn game() -> ChannelName {
    ChannelName::parse(GAME).expect("a good name")
}

pub fn state(json: &str) -> State {
    State::parse(json).expect("a good state")
}

pub fn names(users: &[UserRow]) -> Vec<&str> {
    let mut names: Vec<_> = users.iter().map(|user| &*user.user_id).collect();
    names.sort_unstable();
    names
}
