//! Who gives way to whom: a caller and a time in, the connections that are told out.

use std::net::IpAddr;

use tokio::sync::futures::Notified;

use super::*;
use crate::client_address::Peer;

const LIMITS: Limits = Limits { all: 8, subnet: 3, site: 5 };

fn caller(peer: &str, share: Share) -> Caller {
    let peer: IpAddr = peer.parse().expect("an address");
    Caller { source: Source::of(Peer::at(peer)), share }
}

/// A house, and the names of the peers in it in the order in which they came.
struct House {
    places: Places,
    inside: Vec<(String, Place)>,
}

impl House {
    fn new() -> Self {
        Self { places: Places::new(LIMITS), inside: Vec::new() }
    }

    /// Each of these peers comes at its time and finds room.
    fn with(peers: &[(&str, u64)]) -> Self {
        let mut house = Self::new();
        for (peer, ms) in peers {
            assert_eq!(house.comes(peer, *ms), Ok(None), "{peer}");
        }
        house
    }

    /// Which peer gives way to a new one, or why the new one is not let in.
    fn comes(&mut self, peer: &str, now_ms: u64) -> Result<Option<String>, Room> {
        self.calls(caller(peer, Share::Limited), peer, now_ms)
    }

    fn calls(&mut self, caller: Caller, peer: &str, now_ms: u64) -> Result<Option<String>, Room> {
        match self.places.make_room(caller, now_ms) {
            Room::Now => {}
            other => return Err(other),
        }
        let told = self.told();
        let place = self.places.take(caller, now_ms);
        self.inside.push((format!("{peer} of {now_ms}"), place));
        Ok(told)
    }

    /// Takes the connection that was told to give way out of the house.
    fn told(&mut self) -> Option<String> {
        let is_told = |place: &Place| {
            let told: Notified<'_> = place.shared.gives_way.notified();
            let mut told = std::pin::pin!(told);
            told.as_mut().enable()
        };
        let index = self.inside.iter().position(|(_, place)| is_told(place))?;
        Some(self.inside.remove(index).0)
    }
}

fn gives_way(peer: &str) -> Result<Option<String>, Room> {
    Ok(Some(peer.to_owned()))
}

#[test]
fn in_a_full_house_the_address_that_holds_most_loses_its_oldest() {
    let mut house = House::with(&[
        ("192.0.2.1", 0),
        ("192.0.2.2", 1),
        ("192.0.2.3", 2),
        ("192.0.2.4", 3),
        ("192.0.2.5", 4),
        ("192.0.2.9", 5),
        ("192.0.2.9", 6),
        ("192.0.2.9", 7),
    ]);
    assert_eq!(house.comes("192.0.2.6", 1_000), gives_way("192.0.2.9 of 5"));
    assert_eq!(house.comes("192.0.2.7", 1_001), gives_way("192.0.2.9 of 6"));
    // Everybody holds one: the oldest of all.
    assert_eq!(house.comes("192.0.2.8", 1_002), gives_way("192.0.2.1 of 0"));
}

#[test]
fn a_caller_whose_own_address_holds_most_closes_one_of_its_own() {
    let mut house = House::with(&[
        ("192.0.2.1", 0),
        ("192.0.2.2", 1),
        ("192.0.2.3", 2),
        ("192.0.2.4", 3),
        ("192.0.2.8", 4),
        ("192.0.2.8", 5),
        ("192.0.2.9", 6),
        ("192.0.2.9", 7),
    ]);
    // Counted as if it were inside, the caller's address holds three.
    assert_eq!(house.comes("192.0.2.9", 1_000), gives_way("192.0.2.9 of 6"));
}

#[test]
fn an_address_at_its_share_closes_its_oldest_however_much_room_there_is() {
    let mut house = House::with(&[("192.0.2.1", 0), ("192.0.2.9", 1)]);
    assert_eq!(house.comes("192.0.2.9", 2), Ok(None));
    assert_eq!(house.comes("192.0.2.9", 3), Ok(None));
    assert_eq!(house.comes("192.0.2.9", 1_000), gives_way("192.0.2.9 of 1"));
    // Faster than any head could follow: the caller itself is sent away.
    let mut crowd = House::with(&[("192.0.2.9", 0), ("192.0.2.9", 1), ("192.0.2.9", 2)]);
    assert_eq!(crowd.comes("192.0.2.9", 49), Err(Room::No));
    assert_eq!(crowd.comes("192.0.2.1", 49), Ok(None));
}

#[test]
fn ipv6_has_a_share_by_64_and_a_higher_one_by_48() {
    let mut house =
        House::with(&[("2001:db8::1", 0), ("2001:db8::2", 1), ("2001:db8::3", 2), ("::2", 3)]);
    assert_eq!(house.comes("2001:db8::4", 1_000), gives_way("2001:db8::1 of 0"));
    assert_eq!(house.comes("2001:db8:0:1::1", 1_001), Ok(None));
    assert_eq!(house.comes("2001:db8:0:2::1", 1_002), Ok(None));
    // The site holds five: of its subnets the one that holds most loses its oldest.
    assert_eq!(house.comes("2001:db8:0:3::1", 2_000), gives_way("2001:db8::2 of 1"));
}

#[test]
fn an_address_that_many_share_may_fill_the_house_and_loses_first_then() {
    let mut house = House::with(&[("192.0.2.1", 0)]);
    let proxy = caller("10.1.2.3", Share::Unlimited);
    for ms in 1..8 {
        assert_eq!(house.calls(proxy, "proxy", ms), Ok(None));
    }
    assert_eq!(house.calls(proxy, "proxy", 1_000), gives_way("proxy of 1"));
    assert_eq!(house.comes("192.0.2.2", 1_001), gives_way("proxy of 2"));
}

#[test]
fn a_connection_is_left_the_time_that_its_head_needs() {
    let mut house = House::new();
    let proxy = caller("10.1.2.3", Share::Unlimited);
    for ms in 0..8 {
        assert_eq!(house.calls(proxy, "proxy", ms), Ok(None));
    }
    assert_eq!(house.comes("192.0.2.1", 10), Err(Room::NotBefore { ms: MIN_STAY_MS }));
    assert_eq!(house.comes("192.0.2.1", MIN_STAY_MS), gives_way("proxy of 0"));
}

#[test]
fn connections_that_are_told_and_stay_are_bounded_too() {
    let mut places = Places::new(LIMITS);
    let one = caller("10.1.2.3", Share::Unlimited);
    let mut inside = Vec::new();
    for ms in (0..).step_by(100).take(LIMITS.all + MAX_LEAVING) {
        assert_eq!(places.make_room(one, ms), Room::Now);
        inside.push(places.take(one, ms));
    }
    assert_eq!(places.make_room(one, 99_000), Room::NotBefore { ms: 99_000 + MIN_STAY_MS });
    inside.remove(0);
    assert_eq!(places.make_room(one, 99_000), Room::Now);
}

#[test]
fn one_connection_at_a_time_gives_its_file_back() {
    let mut house = House::with(&[("192.0.2.1", 0), ("192.0.2.2", 1)]);
    assert_eq!(house.places.free_one(20), Err(Young { until_ms: MIN_STAY_MS }));
    assert_eq!(house.places.free_one(1_000), Ok(()));
    assert_eq!(house.places.free_one(1_001), Ok(()));
    assert_eq!(house.told(), Some("192.0.2.1 of 0".into()));
    assert_eq!(house.told(), None);
    let mut empty = House::new();
    assert!(empty.places.free_one(1_000).is_err());
}
