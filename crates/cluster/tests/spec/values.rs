//! Names of nodes, and what stands in a beat key.

use herenow_cluster::{Beat, NodeName};
use herenow_wire::link::{Incarnation, LinkError};

#[test]
fn a_name_is_1_to_63_letters_digits_dashes_and_underscores() {
    for good in ["a", "node-7", "Host_1", &"x".repeat(63)] {
        assert_eq!(NodeName::parse(good).expect("a name").as_str(), good);
    }
    for bad in ["", "a.b", "a b", "a*", "é", &"x".repeat(64)] {
        assert_eq!(NodeName::parse(bad), None, "{bad:?} could not stand in a key");
    }
}

#[test]
fn a_beat_comes_back_from_its_bytes() {
    let alive = Beat::Alive { incarnation: Incarnation(u64::MAX), count: 300, v: 1 << 33 };
    let closed = Beat::Closed { incarnation: Incarnation(7) };
    for beat in [alive, closed] {
        assert_eq!(Beat::decode(&beat.encode()), Ok(beat));
    }
}

#[test]
fn a_beat_of_another_version_or_kind_is_refused() {
    let mut bytes = Beat::Closed { incarnation: Incarnation(7) }.encode();
    bytes[0] = 9;
    assert_eq!(Beat::decode(&bytes), Err(LinkError::Version(9)));
    (bytes[0], bytes[1]) = (1, 9);
    assert_eq!(Beat::decode(&bytes), Err(LinkError::Kind(9)));
    assert_eq!(Beat::decode(&[1, 1, 0]), Err(LinkError::Truncated));
}
