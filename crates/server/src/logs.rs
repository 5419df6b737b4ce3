//! Log lines on their way to standard error. A thread of its own writes them, so a reader that stops
//! or goes away costs log lines and nothing else: writing a line here never blocks and never fails.
//! What does not fit into the queue is dropped, counted, and reported once lines can be written
//! again. Knows nothing of what the lines say.
//!
//! `tracing-appender` has such a writer, but it counts lines and not bytes, and it writes to standard
//! error itself, and so may block, when it cannot be flushed at the end.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Where log lines are written to. Clones write to the same place.
#[derive(Clone, Debug)]
pub struct Logs(Arc<Queue>);

#[derive(Debug)]
struct Queue {
    jobs: SyncSender<Job>,
    waiting_bytes: AtomicUsize,
    dropped_lines: &'static AtomicU64,
}

/// What the writing thread is given.
#[derive(Debug)]
enum Job {
    Write(Box<[u8]>),
    /// Report that all that came before has been written.
    Report(SyncSender<()>),
}

/// Lines that may wait to be written.
const MAX_WAITING_LINES: usize = 4096;
/// Bytes of all lines that may wait to be written.
const MAX_WAITING_BYTES: usize = 1024 * 1024;
/// How often dropped lines are reported while lines are being dropped.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// How long to wait before a descriptor is tried again that another program has set to nonblocking
/// and that takes no more at the moment.
const RETRY_AFTER: Duration = Duration::from_millis(10);
/// How often a flush looks for room in a full queue.
const FLUSH_RETRY: Duration = Duration::from_millis(5);

/// A process has one standard error, so this is counted for the process.
static DROPPED_LINES: AtomicU64 = AtomicU64::new(0);

/// Log lines of this process that were dropped because standard error did not take them.
pub fn dropped_lines() -> u64 {
    DROPPED_LINES.load(Ordering::Relaxed)
}

impl Logs {
    /// Starts the thread that writes to `out`.
    pub fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        Self::counting(out, &DROPPED_LINES)
    }

    fn counting(
        out: impl Write + Send + 'static,
        dropped_lines: &'static AtomicU64,
    ) -> io::Result<Self> {
        let (jobs, waiting) = sync_channel(MAX_WAITING_LINES);
        let waiting_bytes = AtomicUsize::new(0);
        let logs = Self(Arc::new(Queue { jobs, waiting_bytes, dropped_lines }));
        let queue = Arc::downgrade(&logs.0);
        let writer = std::thread::Builder::new().name("logs".into());
        writer.spawn(move || {
            let taken = |bytes| {
                if let Some(queue) = queue.upgrade() {
                    queue.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
                }
            };
            Writer { out, waiting, dropped_lines, reported: 0, reported_at: None }.run(taken);
        })?;
        Ok(logs)
    }

    /// Has a line written, if there is room for it.
    pub fn line(&self, line: &[u8]) {
        let waiting = self.0.waiting_bytes.fetch_add(line.len(), Ordering::Relaxed);
        let has_room = waiting.saturating_add(line.len()) <= MAX_WAITING_BYTES;
        if !has_room || self.0.jobs.try_send(Job::Write(line.into())).is_err() {
            self.0.waiting_bytes.fetch_sub(line.len(), Ordering::Relaxed);
            self.0.dropped_lines.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything up to here is written, or the time is over.
    pub fn flush(&self, within: Duration) {
        let until = Instant::now() + within;
        let (report, reported) = sync_channel(1);
        while self.0.jobs.try_send(Job::Report(report.clone())).is_err() {
            if Instant::now() >= until {
                return;
            }
            std::thread::sleep(FLUSH_RETRY);
        }
        // Nothing can be done about lines that are not written in time.
        let _ = reported.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

impl Write for Logs {
    /// Takes whole lines: the subscriber writes each with one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What runs on the writing thread.
struct Writer<W> {
    out: W,
    waiting: Receiver<Job>,
    dropped_lines: &'static AtomicU64,
    /// How many of the dropped lines have been reported, and when that was.
    reported: u64,
    reported_at: Option<Instant>,
}

impl<W: Write> Writer<W> {
    fn run(mut self, taken: impl Fn(usize)) {
        loop {
            match self.next() {
                Ok(Job::Write(line)) => {
                    let written = write_whole(&mut self.out, &line);
                    taken(line.len());
                    match written {
                        Ok(()) => self.report_dropped(),
                        // There is nowhere else to say so.
                        Err(_) => drop(self.dropped_lines.fetch_add(1, Ordering::Relaxed)),
                    }
                }
                Ok(Job::Report(to)) => drop(to.try_send(())),
                Err(RecvTimeoutError::Timeout) => self.report_dropped(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn next(&self) -> Result<Job, RecvTimeoutError> {
        match self.reported_at {
            // Lines were dropped lately, so a number may be left to report.
            Some(_) => self.waiting.recv_timeout(REPORT_EVERY),
            None => self.waiting.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    fn report_dropped(&mut self) {
        let lines = self.dropped_lines.load(Ordering::Relaxed) - self.reported;
        let is_due = self.reported_at.is_none_or(|at| at.elapsed() >= REPORT_EVERY);
        if !is_due {
            return;
        }
        self.reported_at = (lines > 0).then(Instant::now);
        if lines > 0 {
            self.reported += lines;
            // It becomes a line of the right format and waits in the queue like any other.
            tracing::warn!(lines, "log lines were dropped, since standard error was blocked");
        }
    }
}

fn write_whole(out: &mut impl Write, mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match out.write(line) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => line = &line[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(RETRY_AFTER);
            }
            Err(error) => return Err(error),
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::Sender;

    /// Passes on what is written to it once the test allows it.
    struct Gate {
        allowed: Receiver<()>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.allowed.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            let _ = self.written.send(bytes.into());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gated() -> (Logs, SyncSender<()>, Receiver<Vec<u8>>) {
        let (allow, allowed) = sync_channel(1);
        let (written, reads) = std::sync::mpsc::channel();
        let dropped: &AtomicU64 = Box::leak(Box::default());
        let logs = Logs::counting(Gate { allowed, written }, dropped);
        let logs = logs.expect("a thread can be had");
        (logs, allow, reads)
    }

    fn dropped(logs: &Logs) -> u64 {
        logs.0.dropped_lines.load(Ordering::Relaxed)
    }

    #[test]
    fn a_reader_that_stops_costs_lines_and_bounded_memory() {
        let (logs, allow, reads) = gated();
        let line = vec![b'x'; 1024];
        for _ in 0..4 * MAX_WAITING_BYTES / line.len() {
            logs.line(&line);
        }
        let before = dropped(&logs);
        assert!(before as usize >= 2 * MAX_WAITING_BYTES / line.len(), "{before}");
        assert!(logs.0.waiting_bytes.load(Ordering::Relaxed) <= MAX_WAITING_BYTES);
        // Short lines are bounded by their number.
        for _ in 0..2 * MAX_WAITING_LINES {
            logs.line(b"\n");
        }
        assert!(dropped(&logs) > before + MAX_WAITING_LINES as u64 / 2);
        allow.send(()).expect("the writer waits");
        assert_eq!(reads.recv().expect("a line comes"), line);
    }

    #[test]
    fn a_flush_waits_for_the_lines_before_it_and_no_longer_than_it_may() {
        let (logs, allow, reads) = gated();
        logs.line(b"one\n");
        let began = Instant::now();
        logs.flush(Duration::from_millis(50));
        assert!(began.elapsed() >= Duration::from_millis(50), "the line cannot have been written");
        allow.send(()).expect("the writer waits");
        logs.flush(Duration::from_secs(30));
        assert_eq!(reads.try_recv().expect("it was written before the flush returned"), b"one\n");
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let (logs, allow, _reads) = gated();
        drop(allow);
        logs.line(b"one\n");
        logs.flush(Duration::from_secs(30));
        assert_eq!(dropped(&logs), 1);
    }
}
