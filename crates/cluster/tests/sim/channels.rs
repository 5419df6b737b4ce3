//! The channels of every run: few, in few of the shards.

use std::sync::OnceLock;

use herenow_wire::ChannelName;

/// Two of them share a shard in no run; it makes no difference to the machine.
pub const CHANNELS: usize = 6;

pub fn channels() -> &'static [ChannelName] {
    static ALL: OnceLock<Vec<ChannelName>> = OnceLock::new();
    ALL.get_or_init(|| {
        let name = |n| ChannelName::parse(&format!("presence:c{n}")).expect("a valid name");
        (0..CHANNELS).map(name).collect()
    })
}

/// One of the channels holds few.
pub fn max_members(channel: &ChannelName) -> u32 {
    if *channel == channels()[0] { 2 } else { 100 }
}
