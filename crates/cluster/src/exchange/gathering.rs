//! The contents of a stream that begins anew, which every loop has a part of. A loop's mail from before
//! its part goes to the link, which keeps of it what no contents replace. Mail from after its part has to
//! wait for the parts of all loops, as the contents would come later and take it back.

use std::collections::BTreeSet;

use herenow_core::NodeMail;
use herenow_wire::ChannelName;
use herenow_wire::link::{Item, encoded_bytes};

use crate::api::Contents;

/// So much mail waits for the slowest loop. With more the contents are asked for once more.
pub(super) const MAX_HELD_BYTES: usize = 4 * 1024 * 1024;
/// What a small piece of mail counts for, so that their number is bounded too.
const LEAST_COUNTED_BYTES: usize = 256;

/// See the module.
#[derive(Debug)]
pub(super) struct Gathering {
    request: u32,
    contents: Contents,
    /// The loops whose parts have not come.
    missing: BTreeSet<u16>,
    /// Mail for the node from after its loop's part, with the loop that it came from.
    held: Vec<(u16, NodeMail)>,
    held_bytes: usize,
}

impl Gathering {
    /// Every loop is asked.
    pub(super) fn new(request: u32, hubs: u16) -> Self {
        let (contents, held) = (Contents::default(), Vec::new());
        Self { request, contents, missing: (0..hubs).collect(), held, held_bytes: 0 }
    }

    pub(super) fn request(&self) -> u32 {
        self.request
    }

    /// Whether mail of a loop has to wait.
    pub(super) fn holds(&self, hub: u16) -> bool {
        !self.missing.contains(&hub)
    }

    /// Takes mail that has to wait. Whether there is room for it; if not, it is kept all the same
    /// until the contents are asked for once more.
    pub(super) fn hold(&mut self, hub: u16, mail: NodeMail) -> bool {
        let bytes = match &mail {
            NodeMail::Items { items, .. }
            | NodeMail::ToAll { items }
            | NodeMail::Owed { items, .. } => encoded_bytes(items),
            NodeMail::Told { .. } | NodeMail::Contents { .. } | NodeMail::Lost { .. } => 0,
        };
        self.held_bytes += bytes.max(LEAST_COUNTED_BYTES);
        self.held.push((hub, mail));
        self.held_bytes <= MAX_HELD_BYTES
    }

    /// Takes the part of a loop. Whether all are here.
    pub(super) fn add(
        &mut self,
        hub: u16,
        (items, channels): (Vec<Item>, Vec<ChannelName>),
    ) -> bool {
        if self.missing.remove(&hub) {
            self.contents.items.extend(items);
            self.contents.channels.extend(channels);
        }
        self.missing.is_empty()
    }

    /// The parts of all loops, and the mail that has waited.
    pub(super) fn finish(self) -> (Contents, Vec<(u16, NodeMail)>) {
        (self.contents, self.held)
    }
}
