//! What is recorded: what it costs, and what says the same.

use std::sync::Arc;

use crate::history::facts::{Life, PastMember, RefusedRequest, RefusedToken, UserEvent};
use crate::history::records::{Absorbed, Recorded};
use crate::keyed_members::MemberKey;

impl Recorded for PastMember {
    fn heap_bytes(&self) -> usize {
        let life = self.life.as_ref().map_or(0, Life::heap_bytes);
        self.user.as_str().len() + text_bytes(&self.pattern) + life + MemberKey::MAX_BYTES
    }

    fn has_author_of(&self, other: &Self) -> bool {
        self.user == other.user
    }
}

impl Recorded for UserEvent {
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Ended { life, .. } => life.heap_bytes(),
            Self::Refused(refused) => {
                let channel = refused.channel.as_ref().map_or(0, |name| name.as_str().len());
                channel + text_bytes(&refused.pattern)
            }
        }
    }

    fn absorb(&mut self, older: &Self) -> Absorbed {
        let (Self::Refused(new), Self::Refused(old)) = (self, older) else { return Absorbed::No };
        let what = |one: &RefusedRequest| (one.code, one.is_end_of_subscription, one.rule);
        if (&new.channel, what(new)) != (&old.channel, what(old)) {
            return Absorbed::No;
        }
        new.count = new.count.saturating_add(old.count);
        new.first = old.first;
        Absorbed::Yes
    }
}

impl Recorded for RefusedToken {
    fn heap_bytes(&self) -> usize {
        self.reason.len() + text_bytes(&self.key)
    }

    fn absorb(&mut self, older: &Self) -> Absorbed {
        if (&self.reason, &self.key) != (&older.reason, &older.key) {
            return Absorbed::No;
        }
        self.count = self.count.saturating_add(older.count);
        self.first = older.first;
        Absorbed::Yes
    }
}

impl Life {
    fn heap_bytes(&self) -> usize {
        text_bytes(&self.agent) + text_bytes(&self.key)
    }
}

fn text_bytes(text: &Option<Arc<str>>) -> usize {
    text.as_ref().map_or(0, |text| text.len())
}
