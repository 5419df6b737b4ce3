//! What `herenow upgrade` is told of the upgrade that it has asked for: one message on a socket beside
//! the pid file, which exists while the command waits.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::pid_file;

/// See the module.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Outcome {
    /// The process that has taken over serves.
    Serves { process: u32 },
    /// No process has taken over.
    Failed { reason: String },
}

/// The longest message: a reason and what stands around it.
pub const MAX_OUTCOME_BYTES: usize = 4096;

/// Where the command waits for the server with this pid file.
pub fn socket_path(pid_file: &Path) -> PathBuf {
    pid_file::beside(pid_file, "upgrade")
}

impl Outcome {
    /// Tells the command, if one waits.
    pub fn tell(&self, pid_file: &Path) {
        let message = serde_json::to_vec(self).expect("it is plain data");
        let tell = || {
            let socket = UnixDatagram::unbound()?;
            // A command that does not read must not keep the server.
            socket.set_nonblocking(true)?;
            socket.send_to(&message, socket_path(pid_file))
        };
        // Without such a socket the signal was sent by hand, and the log has the outcome.
        let _: std::io::Result<usize> = tell();
    }
}
