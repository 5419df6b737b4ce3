//! What an operator is told about rules that do not work. Bounded: a rule that fails for everybody
//! must not fill a disk. Nothing of a token but the user's id is written.

use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::outcome::{Failure, Outcome};
use super::pool::Job;
use crate::line_rate::LineRate;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    window: Mutex<Option<Window>>,
    denials: LineRate,
}

/// How many lines have been written since when.
#[derive(Clone, Copy, Debug)]
struct Window {
    began: Instant,
    asked: u32,
}

/// Lines that are written in a window; what is more is counted.
const LINES_PER_WINDOW: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

impl Complaints {
    /// A rule denied by not saying `true` or `false`.
    pub(super) fn denied_by(&self, pattern: &str, job: &Job, outcome: &Outcome) {
        if self.may_write(Instant::now()) {
            tracing::warn!(
                pattern,
                rule = job.function.name(),
                user = job.user.as_ref().map(|user| user.as_str()),
                reason = %outcome,
                "an access rule denied, since it did not return true or false"
            );
        }
    }

    /// A rule returned `false`. That is no mistake of the rule, and still the answer to an operator
    /// who asks why a user sees nothing.
    pub(super) fn denied(&self, pattern: &str, job: &Job) {
        if let Some(left_out) = self.denials.take(Instant::now()) {
            tracing::info!(
                pattern,
                rule = job.function.name(),
                user = job.user.as_ref().map(|user| user.as_str()),
                left_out,
                "an access rule returned false"
            );
        }
    }

    /// No engine could be had.
    pub(super) fn no_engine(&self, failure: &Failure) {
        if self.may_write(Instant::now()) {
            tracing::error!(
                reason = %failure,
                "the configuration could not be evaluated for the access rules"
            );
        }
    }

    /// No thread could be had.
    pub(super) fn no_thread(&self, error: &io::Error) {
        if self.may_write(Instant::now()) {
            tracing::error!(%error, "cannot start a thread for the access rules");
        }
    }

    fn may_write(&self, now: Instant) -> bool {
        // A thread that panicked while it counted lines has left a count that is as good as any.
        let mut window = self.window.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match window.as_mut() {
            Some(window) if now.saturating_duration_since(window.began) < WINDOW => {
                window.asked += 1;
                window.asked <= LINES_PER_WINDOW
            }
            _ => {
                let unwritten = window.map_or(0, |w| w.asked.saturating_sub(LINES_PER_WINDOW));
                if unwritten > 0 {
                    tracing::warn!(unwritten, "further log lines about access rules were omitted");
                }
                *window = Some(Window { began: now, asked: 1 });
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_lines_are_written_in_a_second() {
        let complaints = Complaints::default();
        let began = Instant::now();
        let written = (0..100).filter(|_| complaints.may_write(began)).count();
        assert_eq!(written, LINES_PER_WINDOW as usize);
        assert!(complaints.may_write(began + WINDOW));
    }
}
