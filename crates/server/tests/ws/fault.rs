//! A fault in the code that owns a shard costs that shard's channels one resync, and nobody else
//! anything.

use herenow_client::raw::RawConnection;
use herenow_wire::ChannelName;
use serde_json::{Value, json};

use crate::support::{Server, View, ask, fence, subscribe};

/// The channel whose shard fails on each state that is put into it.
const FAULTY: &str = "presence:faulty";
/// As many as `Server` runs.
const LOOPS: u16 = 2;

fn name(channel: &str) -> ChannelName {
    ChannelName::parse(channel).expect("a good name")
}

fn server() -> Server {
    Server::with(|settings| settings.fault_on_channel = Some(name(FAULTY)))
}

/// A channel whose shard is as wanted.
fn channel_where(wanted: impl Fn(u16) -> bool) -> String {
    let names = (0..).map(|n| format!("presence:near-or-far-{n}"));
    let mut fitting = names.filter(|channel| wanted(name(channel).shard()));
    fitting.next().expect("there are names without end")
}

/// A channel with those who watch it and those who track in it.
struct Party {
    channel: String,
    watchers: Vec<(RawConnection, View)>,
    members: Vec<RawConnection>,
}

/// Where the members' sockets are. The watchers' are on both loops.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Members {
    OnBothLoops,
    OnOneLoop,
}

impl Party {
    async fn in_channel(server: &Server, channel: String, place: Members) -> Self {
        // Connections go to the loops in turn.
        let mut sockets = Vec::new();
        for n in 0..4 {
            sockets.push(server.sign_in(&format!("user-{n}")).await);
        }
        let (second, first) = (sockets.split_off(2), sockets);
        let (mut members, others) = match place {
            Members::OnBothLoops => (second, first),
            Members::OnOneLoop => {
                let [a, b] = <[_; 2]>::try_from(first).expect("there are two");
                let [c, d] = <[_; 2]>::try_from(second).expect("there are two");
                (vec![a, c], vec![b, d])
            }
        };
        let mut watchers = Vec::new();
        for mut socket in others.into_iter().chain([server.sign_in("watcher").await]) {
            let view = subscribe(&mut socket, &channel).await;
            watchers.push((socket, view));
        }
        for member in &mut members {
            track(member, &channel, json!({})).await;
            assert_eq!(member.next_message().await["type"], "presence_sync");
            for (watcher, view) in &mut watchers {
                view.apply(&watcher.next_message().await);
            }
        }
        assert_eq!(members[0].next_message().await["type"], "presence_join");
        Self { channel, watchers, members }
    }

    /// Everybody is told to send again, does, and gets the true list, once.
    async fn expect_rebuilding(&mut self) {
        let resync = json!({"type": "PRESENCE_RESYNC", "channel": self.channel});
        for (watcher, _) in &mut self.watchers {
            assert_eq!(watcher.next_message().await, resync);
        }
        for member in &mut self.members {
            assert_eq!(member.next_message().await, resync);
            track(member, &self.channel, json!({})).await;
        }
        let mut told = Vec::new();
        for (watcher, view) in &mut self.watchers {
            let before = view.clone();
            let sync = watcher.next_message().await;
            view.apply(&sync);
            assert_eq!(view.members(), before.members());
            assert!(view.position().0 > before.position().0, "another life of the map");
            told.push(sync);
        }
        for member in &mut self.members {
            told.push(member.next_message().await);
        }
        assert!(told.iter().all(|sync| *sync == told[0]), "one snapshot for all");
        self.expect_silence().await;
    }

    async fn expect_silence(&mut self) {
        let watchers = self.watchers.iter_mut().map(|(watcher, _)| watcher);
        for peer in watchers.chain(&mut self.members) {
            fence(peer).await;
        }
    }

    fn epoch(&self) -> u64 {
        self.watchers[0].1.position().0
    }
}

async fn track(peer: &mut RawConnection, channel: &str, state: Value) {
    peer.send(json!({"type": "presence_join", "channel": channel, "state": state})).await;
}

// P9.6
#[tokio::test]
async fn a_fault_costs_its_shard_a_resync_and_the_others_nothing() {
    let faulty = name(FAULTY).shard();
    let server = server();
    let near = channel_where(|shard| shard == faulty);
    let beside = channel_where(|shard| shard != faulty && shard % LOOPS == faulty % LOOPS);
    let elsewhere = channel_where(|shard| shard % LOOPS != faulty % LOOPS);
    let mut near = Party::in_channel(&server, near, Members::OnBothLoops).await;
    let mut beside = Party::in_channel(&server, beside, Members::OnBothLoops).await;
    let mut elsewhere = Party::in_channel(&server, elsewhere, Members::OnBothLoops).await;
    let epochs = (beside.epoch(), elsewhere.epoch());
    // From sockets of both loops, again and again.
    for state in 0..4 {
        let mut trigger = server.sign_in("trigger").await;
        track(&mut trigger, FAULTY, json!({"state": state})).await;
        let resync = json!({"type": "PRESENCE_RESYNC", "channel": FAULTY});
        assert_eq!(trigger.next_message().await, resync);
        near.expect_rebuilding().await;
        beside.expect_silence().await;
        elsewhere.expect_silence().await;
        // What failed is never shown, and its sender can go on.
        trigger.send(json!({"type": "presence_leave", "channel": FAULTY})).await;
        let sync = trigger.next_message().await;
        assert_eq!((&sync["type"], &sync["presences"]), (&json!("presence_sync"), &json!([])));
        let pong = ask(&mut trigger, json!({"type": "ping"})).await;
        assert_eq!(pong, json!({"type": "pong"}), "its socket stands");
    }
    for party in [&mut beside, &mut elsewhere] {
        let question = json!({"type": "presence_sync", "channel": party.channel});
        let (watcher, view) = &mut party.watchers[0];
        view.apply(&ask(watcher, question).await);
    }
    assert_eq!((beside.epoch(), elsewhere.epoch()), epochs, "their maps live on");
}

#[tokio::test]
async fn a_loop_without_a_member_does_not_rebuild_an_empty_list() {
    let faulty = name(FAULTY).shard();
    // Once with the members on the loop that the shard lives on, once on the other.
    for earlier_sockets in [0, 1] {
        let server = server();
        let mut earlier = Vec::new();
        for _ in 0..earlier_sockets {
            earlier.push(server.connect().await);
        }
        let channel = channel_where(|shard| shard == faulty);
        let mut near = Party::in_channel(&server, channel, Members::OnOneLoop).await;
        for _ in 0..4 {
            let mut trigger = server.sign_in("trigger").await;
            track(&mut trigger, FAULTY, json!({})).await;
            near.expect_rebuilding().await;
        }
    }
}

#[tokio::test]
async fn a_rebuilt_channel_goes_on_as_before() {
    let faulty = name(FAULTY).shard();
    let server = server();
    let channel = channel_where(|shard| shard == faulty);
    let mut near = Party::in_channel(&server, channel, Members::OnBothLoops).await;
    let mut trigger = server.sign_in("trigger").await;
    track(&mut trigger, FAULTY, json!({})).await;
    near.expect_rebuilding().await;
    let Party { channel, watchers, members } = &mut near;
    let (watcher, view) = &mut watchers[0];
    for n in 0..10 {
        track(&mut members[0], channel, json!({"n": n})).await;
        let newest = json!({"n": n});
        let is_seen = |view: &View| view.members().values().any(|(_, state)| *state == newest);
        view.read_until(watcher, is_seen).await;
    }
    members.remove(0).reset();
    view.read_until(watcher, |view| view.members().len() == 1).await;
    server.until_gauge("members", 1).await;
}
