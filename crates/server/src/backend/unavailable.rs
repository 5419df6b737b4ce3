//! Why a backend gets no answer. It is to ask again later.

use std::fmt;

use herenow_cluster::NodeName;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unavailable {
    /// A loop was too busy to be asked, or did not answer in time.
    Busy,
    /// These nodes of the cluster did not answer in time.
    Silent(Vec<NodeName>),
    /// This node is not in the cluster, or must not speak for it now.
    Outside,
    /// The home of a channel has moved, and the new one did not know everything in time.
    Moving,
    /// The answer is larger than nodes send each other.
    TooLarge,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("The server is too busy to answer. Send it again."),
            Self::Silent(nodes) => {
                f.write_str("These nodes of the cluster did not answer in time: ")?;
                for (at, node) in nodes.iter().enumerate() {
                    let comma = if at > 0 { ", " } else { "" };
                    write!(f, "{comma}{node}")?;
                }
                f.write_str(". The others may have done what was asked. Send it again.")
            }
            Self::Outside => f.write_str(
                "This server does not reach its cluster. Send it again, or to another server.",
            ),
            Self::Moving => f.write_str("The channel is moving to another server. Send it again."),
            Self::TooLarge => {
                f.write_str("The answer is too large. Ask for less, with a lower `limit`.")
            }
        }
    }
}
