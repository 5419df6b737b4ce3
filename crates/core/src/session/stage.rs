//! How far a session's life has come: who it is, and when it has to do something about that.

use herenow_wire::ChannelName;

use crate::auth::Auth;
use crate::time::Instant;

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has shown no good token and subscribes to nothing.
    Unauthenticated {
        /// When the time to show a token is over.
        until: Instant,
    },
    /// It has shown no good token and subscribes to public channels.
    Observing,
    /// The server itself opened it, to watch a channel for a backend. It needs no token and no right.
    Watching,
    /// It has shown a good token.
    Authenticated {
        /// Who it is.
        auth: Box<Auth>,
        /// When the token ends.
        until: Instant,
    },
    /// It has lost its socket and may come back.
    Detached {
        /// Who it is.
        auth: Box<Auth>,
        /// For how long its members stay.
        graces: Box<Graces>,
    },
    /// It takes no input any more.
    Ended,
}

/// When the member of each channel goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Graces {
    pub(super) until: Vec<(ChannelName, Instant)>,
}

impl Stage {
    /// Who it is, once it has shown a good token.
    pub(super) fn auth(&self) -> Option<&Auth> {
        match self {
            Self::Authenticated { auth, .. } | Self::Detached { auth, .. } => Some(auth),
            Self::Unauthenticated { .. } | Self::Observing | Self::Watching | Self::Ended => None,
        }
    }

    /// When it is over, or something in it is.
    pub(super) fn until(&self) -> Instant {
        match self {
            Self::Unauthenticated { until } | Self::Authenticated { until, .. } => *until,
            Self::Detached { graces, .. } => {
                let until = graces.until.iter().map(|(_, until)| *until);
                until.min().unwrap_or(Instant::NEVER)
            }
            Self::Observing | Self::Watching | Self::Ended => Instant::NEVER,
        }
    }
}
