//! The server under test as a process: where it runs and what it costs.
//!
//! Knows the kernel's books: CPU clocks, anonymous memory, socket queues, cores.
//! Refuses to know which server it is.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::driver::Endpoint;

use rustix::thread::{CpuSet, sched_setaffinity};

/// Where the servers run, and where a second loop of one may run beside the driver.
pub const SERVER_CORE: usize = 0;
/// Where the driver runs.
pub const DRIVER_CORE: usize = 1;

/// A server that does not listen by then is broken.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// A running server. It ends with this value.
pub struct Process {
    child: Child,
    address: SocketAddrV4,
    /// Where it is driven.
    endpoint: Endpoint,
    log: PathBuf,
}

impl Process {
    /// Starts `command` on `cores` and waits until it listens at `address`.
    pub fn start(
        mut command: Command,
        address: SocketAddrV4,
        cores: &[usize],
    ) -> Result<Self, String> {
        let log = std::env::temp_dir().join(format!("herenow-bench-{}.log", address.port()));
        let output = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        // A child inherits the cores of the thread that starts it.
        pin(cores).map_err(|error| format!("cannot pin the server: {error}"))?;
        let spawned = command.spawn();
        pin(&[DRIVER_CORE]).map_err(|error| format!("cannot pin the driver: {error}"))?;
        let child = spawned
            .map_err(|error| format!("{}: {error}", command.get_program().to_string_lossy()))?;
        let mut process = Self { child, address, endpoint: Endpoint::Tcp(address), log };
        process.wait_until_it_listens()?;
        Ok(process)
    }

    /// The same process, driven over the Unix socket on which it listens as well.
    pub fn over_unix(mut self, path: PathBuf) -> Self {
        self.endpoint = Endpoint::Unix(path);
        self
    }

    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    pub fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    /// CPU time of all its threads so far, those that ended included.
    pub fn cpu_time(&self) -> io::Result<Duration> {
        cpu_time_of(self.child.id())
    }

    /// Bytes of anonymous memory that are resident: heap and stacks, not the program's text.
    pub fn anonymous_bytes(&self) -> io::Result<u64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:"));
        let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.map(|kilobytes| kilobytes * 1024).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "smaps_rollup without a line Anonymous")
        })
    }

    /// Nearly the same as [`Self::anonymous_bytes`], cheap enough to ask many times a second.
    pub fn anonymous_bytes_now(&self) -> io::Result<u64> {
        let pages = fs::read_to_string(format!("/proc/{}/statm", self.child.id()))?;
        let mut pages = pages.split_whitespace().skip(1).map_while(|count| count.parse().ok());
        let (resident, shared): (u64, u64) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
        Ok(resident.saturating_sub(shared) * rustix::param::page_size() as u64)
    }

    /// Bytes of the server that the kernel holds for the connection from `client_port`:
    /// not sent yet, or sent and not acknowledged.
    pub fn queued_bytes(&self, client_port: u16) -> io::Result<u64> {
        let (own, peer) = (format!(":{:04X}", self.address.port()), format!(":{client_port:04X}"));
        let table = fs::read_to_string("/proc/net/tcp")?;
        let queue = table.lines().find_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let is_it = fields.next()?.ends_with(&own) && fields.next()?.ends_with(&peer);
            let (waiting, _) = is_it.then(|| fields.nth(1)).flatten()?.split_once(':')?;
            u64::from_str_radix(waiting, 16).ok()
        });
        queue.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such connection"))
    }

    fn wait_until_it_listens(&mut self) -> Result<(), String> {
        let began = Instant::now();
        while began.elapsed() < START_PATIENCE {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("ended at once with {status}: {}", self.last_words()));
            }
            if TcpStream::connect_timeout(&self.address.into(), Duration::from_secs(1)).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(format!("does not listen at {}: {}", self.address, self.last_words()))
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().rev().take(3).collect::<Vec<_>>().join(" | ")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only where it is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.log);
    }
}

/// CPU time of the driver itself.
pub fn own_cpu_time() -> io::Result<Duration> {
    cpu_time_of(std::process::id())
}

/// How long all cores of the machine have been busy so far, for anybody.
pub fn machine_busy_time() -> io::Result<Duration> {
    let table = fs::read_to_string("/proc/stat")?;
    let total = table.lines().next().unwrap_or_default();
    let ticks: Vec<u64> =
        total.split_whitespace().skip(1).map_while(|ticks| ticks.parse().ok()).collect();
    let [user, nice, system, _idle, _waiting, interrupts, soft_interrupts, ..] = ticks[..] else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "/proc/stat without CPU times"));
    };
    let busy = user + nice + system + interrupts + soft_interrupts;
    Ok(Duration::from_secs_f64(busy as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// Lets the calling thread, and what it starts, run on these cores only.
pub fn pin(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    Ok(sched_setaffinity(None, &set)?)
}

/// Lets the calling thread run as soon as it can, before others of its core. Without the
/// right to it the thread waits its turn, which only makes what it measures look worse.
pub fn prefer_this_thread() {
    const PREFERRED: i32 = -15;
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), PREFERRED);
}

/// A loopback address that nobody listens at.
pub fn free_address() -> io::Result<SocketAddrV4> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    Ok(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

#[expect(unsafe_code, reason = "only libc offers the CPU clock of another process")]
fn cpu_time_of(process: u32) -> io::Result<Duration> {
    let mut clock: libc::clockid_t = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both calls write to the local variable whose address they are given, and no further.
    let failed = unsafe {
        libc::clock_getcpuclockid(process as libc::pid_t, &mut clock) != 0
            || libc::clock_gettime(clock, &mut time) != 0
    };
    if failed {
        return Err(io::Error::last_os_error());
    }
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_cpu_time_grows_with_work() {
        let before = own_cpu_time().expect("a process can read its own clock");
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(20) {
            std::hint::black_box(began);
        }
        let spent = own_cpu_time().expect("a process can read its own clock") - before;
        assert!(spent >= Duration::from_millis(1), "{spent:?}");
    }
}
