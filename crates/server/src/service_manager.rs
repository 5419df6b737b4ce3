//! Tells the service manager that started this process how far it is, as sd_notify(3) of systemd
//! defines it, and feeds the watchdog. Under no service manager all of it does nothing. Knows
//! nothing of what the server does meanwhile: others say when it is ready, reloads or stops.

use std::env;
use std::ffi::OsStr;
use std::future;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::loops::Loops;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct ServiceManager {
    socket: Option<SocketAddr>,
    /// The service manager ends the process if it is not fed for this long.
    watchdog: Option<Duration>,
}

/// How long one message may take: the service manager may be busy, and the server must not be
/// kept by it.
const SEND_TIME: Duration = Duration::from_secs(1);

impl ServiceManager {
    /// The one that `NOTIFY_SOCKET` names, if there is one.
    pub fn from_environment() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET") else { return Self::default() };
        let socket = address(&name).map_err(|error| {
            tracing::warn!(?name, %error, "NOTIFY_SOCKET is not a socket and is ignored");
        });
        let variable = |name| env::var(name).ok();
        let watchdog = watchdog(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"));
        Self { socket: socket.ok(), watchdog }
    }

    /// The server listens and serves, for the first time or after a reload.
    pub fn ready(&self) {
        self.tell("READY=1\n");
    }

    /// The server reads its configuration again. [`ServiceManager::ready`] has to follow.
    pub fn reloading(&self) {
        self.tell("RELOADING=1\n");
    }

    /// Another process has taken over and is the one to supervise. What that process sends before this
    /// message is ignored, so the message feeds the watchdog for it too: the last time may have been
    /// half the watchdog's time ago, and the new process feeds it only after another half.
    pub fn handed_over(&self, process: u32) {
        self.tell(&format!("MAINPID={process}\nWATCHDOG=1\n"));
    }

    /// The server has begun to stop.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\n");
    }

    /// Feeds the watchdog twice in its time, as long as every event loop has turned since the last
    /// time: a server whose loop stands still is ended and started anew. Has no end.
    pub(crate) async fn feed_watchdog(&self, loops: &Loops) {
        let Some(within) = self.watchdog else { return future::pending().await };
        let period = within / 2;
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let still = loops.standing_still(period);
            if still.is_empty() {
                self.tell("WATCHDOG=1\n");
            } else {
                tracing::error!(loops = ?still, "event loops hang; the watchdog is not notified");
            }
        }
    }

    fn tell(&self, message: &str) {
        let Some(socket) = &self.socket else { return };
        let send = || {
            let from = UnixDatagram::unbound()?;
            from.set_write_timeout(Some(SEND_TIME))?;
            from.send_to_addr(message.as_bytes(), socket)
        };
        if let Err(error) = send() {
            let message = message.trim_end();
            tracing::warn!(message, %error, "the service manager could not be notified");
        }
    }
}

/// A path, or the name of an abstract socket behind an `@`.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = name.as_bytes().strip_prefix(b"@") {
        use std::os::linux::net::SocketAddrExt as _;
        return SocketAddr::from_abstract_name(name);
    }
    if !name.as_bytes().starts_with(b"/") {
        return Err(io::Error::other(
            "it should be an absolute path, or a name that begins with @",
        ));
    }
    SocketAddr::from_pathname(name)
}

/// The watchdog's time, if it is meant for this process and not for its parent.
fn watchdog(microseconds: Option<String>, process: Option<String>) -> Option<Duration> {
    let is_mine = process.is_none_or(|id| id.parse() == Ok(process::id()));
    let microseconds = microseconds?.parse().ok().filter(|time| *time > 0);
    microseconds.filter(|_| is_mine).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_has_a_time_and_may_be_meant_for_another_process() {
        let some = |text: &str| Some(text.to_owned());
        let ten = Some(Duration::from_secs(10));
        assert_eq!(watchdog(some("10000000"), None), ten);
        assert_eq!(watchdog(some("10000000"), some(&process::id().to_string())), ten);
        assert_eq!(watchdog(some("10000000"), some("1")), None);
        assert_eq!(watchdog(some("0"), None), None);
        assert_eq!(watchdog(some("soon"), None), None);
        assert_eq!(watchdog(None, None), None);
    }

    #[test]
    fn a_socket_is_named_by_an_absolute_path_or_abstractly() {
        let path = address(OsStr::new("/run/notify")).expect("a path");
        assert_eq!(path.as_pathname(), Some("/run/notify".as_ref()));
        assert!(address(OsStr::new("run/notify")).is_err());
        assert!(address(OsStr::new("")).is_err());
        #[cfg(target_os = "linux")]
        assert!(address(OsStr::new("@notify")).expect("a name").as_pathname().is_none());
    }
}
