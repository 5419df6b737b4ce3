//! How long a change takes to be seen in a channel that has nothing to do with the attack: a few
//! members change their states at fixed times, and one of them watches. A change that is late does
//! not delay the next one, so a server that stands still is seen in every change of that time.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::socket::{Socket, Width, subscribe, track};

/// See the module.
pub struct Probe {
    writers: Vec<Socket>,
    watcher: Socket,
    /// Tells the changes of one second from late ones of the second before.
    window: usize,
}

const WRITERS: usize = 4;
const CHANGES: usize = 500;
/// Together a second; each writer stays below the rate that a connection has.
const CHANGE_EVERY: Duration = Duration::from_millis(2);
/// What a change counts as that has not been seen by then.
const LONGEST: Duration = Duration::from_secs(5);

impl Probe {
    pub fn new(server: SocketAddr) -> Self {
        let writer = |n| {
            let mut writer =
                Socket::sign_in(server, Width::Usual, &format!("quiet-{n}"), &track("quiet", "{}"));
            writer.until("presence_sync");
            // What it is told is not what is measured, and a pipe that fills would be.
            let reading = writer.stream.try_clone().expect("a socket can be shared");
            std::thread::spawn(move || std::io::copy(&mut &reading, &mut std::io::sink()));
            writer
        };
        let writers = (0..WRITERS).map(writer).collect();
        let mut watcher = Socket::sign_in(server, Width::Usual, "watcher", &subscribe("quiet"));
        watcher.until("presence_sync");
        watcher.stream.set_read_timeout(Some(LONGEST)).expect("an open socket takes the option");
        Self { writers, watcher, window: 0 }
    }

    /// The 99th percentile of a second.
    pub fn p99(&mut self) -> Duration {
        self.window += 1;
        let (window, start) = (self.window, Instant::now());
        let sent: Vec<AtomicU64> = (0..CHANGES).map(|_| AtomicU64::new(0)).collect();
        let mut delays: Vec<Duration> = Vec::with_capacity(CHANGES);
        std::thread::scope(|scope| {
            let (writers, times) = (&mut self.writers, &sent);
            scope.spawn(move || change(writers, (window, start), times));
            // The oldest change of each writer that has not been seen.
            let mut oldest: Vec<usize> = (0..WRITERS).collect();
            while oldest.iter().any(|n| *n < CHANGES) && start.elapsed() < LONGEST {
                let Ok(update) = self.watcher.next_text() else { break };
                let Some(n) = number(&update, window) else { continue };
                let now = start.elapsed();
                // A newer state takes the place of those before it, which are seen with it.
                let unseen = &mut oldest[n % WRITERS];
                while *unseen <= n {
                    let at = Duration::from_micros(sent[*unseen].load(Ordering::Acquire));
                    delays.push(now.saturating_sub(at));
                    *unseen += WRITERS;
                }
            }
        });
        delays.resize(CHANGES, LONGEST);
        delays.sort_unstable();
        delays[CHANGES * 99 / 100]
    }
}

/// Sends each change at its time, and notes when it did.
fn change(writers: &mut [Socket], (window, start): (usize, Instant), sent: &[AtomicU64]) {
    let (_never, clock) = channel::<()>();
    for (n, at) in sent.iter().enumerate() {
        let due = start + CHANGE_EVERY * n as u32;
        // Nothing is ever received: the wait is the clock.
        let _ = clock.recv_timeout(due.saturating_duration_since(Instant::now()));
        at.store(start.elapsed().as_micros() as u64, Ordering::Release);
        writers[n % WRITERS].send(&track("quiet", &format!(r#"{{"w":{window},"n":{n}}}"#)));
    }
}

/// Which change of this window it is.
fn number(update: &str, window: usize) -> Option<usize> {
    let (_, rest) = update.split_once(&format!(r#"{{"w":{window},"n":"#))?;
    rest.split_once('}')?.0.parse().ok()
}
