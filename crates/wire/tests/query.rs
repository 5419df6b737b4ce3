//! The default channel, as the upgrade's query names it.

use herenow_wire::{ChannelName, DefaultChannel};

// P2.4
#[test]
fn the_default_channel_is_decoded_once_from_the_query() {
    let named = |name: &str| {
        DefaultChannel::Named(ChannelName::parse(&format!("presence:{name}")).unwrap())
    };
    for (query, expected) in [
        ("channel=presence:a", named("a")),
        ("channel=presence%3Aa", named("a")),
        ("channel=realtime%3apresence%3aa", named("a")),
        ("x=1&channel=presence:a&channel=presence:b", named("a")),
        ("&&channel=presence:a", named("a")),
        ("ch%61nnel=presence:a", named("a")),
        ("channel=presence:a+b%2Bc%20d", named("a b+c d")),
        ("channel=presence:a%2541", named("a%41")),
        ("channel=presence:a=b", named("a=b")),
        ("channel=presence:100%", named("100%")),
        ("channel=presence:%zz%4", named("%zz%4")),
        ("channel=presence:%C3%BC", named("ü")),
        ("channel=presence:%ff", named("\u{fffd}")),
        ("channel=presence:\u{fc}", named("ü")),
        ("channel=", DefaultChannel::None),
        ("channel", DefaultChannel::None),
        ("channel=&channel=presence:a", DefaultChannel::None),
        ("Channel=presence:a", DefaultChannel::None),
        ("", DefaultChannel::None),
    ] {
        assert_eq!(DefaultChannel::from_query(Some(query)), expected, "{query}");
    }
    assert_eq!(DefaultChannel::from_query(None), DefaultChannel::None);
    for bad in ["channel=a", "channel=presence:", "channel=presence:%00", "channel=+presence:a"] {
        assert!(
            matches!(DefaultChannel::from_query(Some(bad)), DefaultChannel::Invalid(_)),
            "{bad}"
        );
    }
}
