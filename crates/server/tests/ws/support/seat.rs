//! Connections that may break and come back to their place.

use std::net::SocketAddr;

use herenow_client::raw::{RawConnection, Received};
use serde_json::{Value, json};

use super::{GAME, View, ask, token, track};

/// A connection that knows how it may come back.
pub struct Seat {
    pub peer: RawConnection,
    pub id: String,
    pub resume: Value,
}

impl Seat {
    pub async fn take(addr: SocketAddr, user: &str, resume: Option<Value>) -> Self {
        let mut peer = RawConnection::connect(addr, "").await;
        let mut message = json!({"type": "auth", "token": token(user)});
        if let Some(resume) = resume {
            message["resume"] = resume;
        }
        let reply = ask(&mut peer, message).await;
        assert_eq!((&reply["type"], &reply["userId"]), (&json!("auth_success"), &json!(user)));
        let id = reply["connectionId"].as_str().expect("an id is a string").to_owned();
        assert!(reply["resume"].is_string(), "there is a way back: {reply}");
        Self { peer, id, resume: reply["resume"].clone() }
    }

    /// With a member that the watcher has seen.
    pub async fn tracked(addr: SocketAddr, watcher: &mut (RawConnection, View)) -> Self {
        let mut seat = Self::take(addr, "jane", None).await;
        track(&mut seat.peer, json!({"n": 0})).await;
        watcher.1.read_until(&mut watcher.0, |view| view.users() == ["jane"]).await;
        seat
    }

    /// Comes back on a new socket, and finds its subscription and its entry.
    pub async fn again(addr: SocketAddr, resume: &Value, id: &str) -> Self {
        let mut seat = Self::take(addr, "jane", Some(resume.clone())).await;
        assert_eq!(seat.id, id, "the same connection");
        let mut view = View::new(GAME);
        view.apply(&seat.peer.next_message().await);
        assert!(view.members().contains_key(id));
        seat
    }

    /// Changes its state; that is all the watcher has heard since.
    pub async fn expect_only(&mut self, n: usize, (watcher, view): &mut (RawConnection, View)) {
        track(&mut self.peer, json!({"n": n})).await;
        let update = watcher.next_message().await;
        let expected = (&json!("presence_update"), &json!(self.id));
        assert_eq!((&update["type"], &update["connectionId"]), expected, "{update}");
        let (epoch, _) = view.position();
        view.apply(&update);
        assert_eq!(view.position().0, epoch);
        let own = self.peer.next_message().await;
        assert_eq!(own, update, "it hears of itself like everybody");
    }
}

/// The code of the close that comes; what comes before it is dropped.
pub async fn next_close(peer: &mut RawConnection) -> u16 {
    loop {
        match peer.next().await {
            Received::Close(code, _) => return code,
            Received::End => panic!("it ended without a close"),
            _ => {}
        }
    }
}
