//! What a run did: how long each step took, what failed, and how to repeat it.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::jobs::EndedJob;
use crate::{Step, gate, seed};

/// How many lines about the failures of one job are repeated at the end.
const FAILURE_LINES_MAX: usize = 120;

/// The steps of a run.
#[derive(Default)]
pub(crate) struct Ledger {
    lines: Vec<String>,
    failures: Vec<Failure>,
}

/// A step or a job that failed.
struct Failure {
    name: String,
    why: String,
    repeat: String,
    /// What it printed about the failure.
    printed: Vec<String>,
}

impl Ledger {
    /// Runs a step of cargo, with its output on the terminal.
    pub(crate) fn cargo(&mut self, step: &Step) {
        self.command(step.name, &format!("cargo {}", step.arguments.join(" ")), gate::command_of(step));
    }

    /// Runs a command as a step, with its output on the terminal.
    pub(crate) fn command(&mut self, name: &str, repeat: &str, mut command: Command) {
        self.time(name, repeat, || {
            let status = command.status().with_context(|| format!("`{repeat}` does not start"))?;
            if !status.success() {
                bail!("`{repeat}` ended with {status}");
            }
            Ok(())
        });
    }

    /// Runs and times a step. Returns what it made, or nothing if it failed.
    pub(crate) fn time<T>(&mut self, name: &str, repeat: &str, work: impl FnOnce() -> Result<T>) -> Option<T> {
        eprintln!("verify: {name}");
        let begin = Instant::now();
        let outcome = work();
        self.line(name, begin.elapsed());
        match outcome {
            Ok(made) => Some(made),
            Err(error) => {
                eprintln!("verify: {name}: FAILED: {error:#}");
                self.fail(name, repeat, &format!("{error:#}"));
                None
            }
        }
    }

    /// Notes how long a step took.
    pub(crate) fn line(&mut self, name: &str, took: Duration) {
        self.lines.push(format!("{name:<36} {:>9}", seconds(took)));
    }

    /// Notes that a step failed.
    pub(crate) fn fail(&mut self, name: &str, repeat: &str, why: &str) {
        self.failures.push(Failure { name: name.to_owned(), why: why.to_owned(), repeat: repeat.to_owned(), printed: Vec::new() });
    }

    /// Notes that a job failed, with what it said about that.
    pub(crate) fn fail_job(&mut self, job: &EndedJob, why: &str) {
        let about = if job.output.failures.is_empty() { &job.last_lines } else { &job.output.failures };
        let mut printed: Vec<String> = about.iter().take(FAILURE_LINES_MAX).cloned().collect();
        if about.len() > FAILURE_LINES_MAX {
            printed.push(format!("({} more lines in {})", about.len() - FAILURE_LINES_MAX, job.log.display()));
        }
        let mut failure = Failure { name: job.name.clone(), why: why.to_owned(), repeat: job.repeat.clone(), printed };
        if !job.output.failed.is_empty() {
            failure.repeat = format!("{} -- --exact {}", job.repeat, job.output.failed.join(" "));
        }
        self.failures.push(failure);
    }

    /// Prints how long each step took, and at the very end what failed.
    pub(crate) fn print(&self) {
        eprintln!("\nverify:");
        self.lines.iter().for_each(|line| eprintln!("  {line}"));
        for failure in &self.failures {
            eprintln!("\nverify: FAILED: {}: {}", failure.name, failure.why);
            failure.printed.iter().for_each(|line| eprintln!("  {line}"));
        }
        if !self.failures.is_empty() {
            eprintln!("\nverify: {} failed (seed {}):", count(self.failures.len(), "step"), seed());
            for failure in &self.failures {
                eprintln!("  {}\n    repeat it with: {}", failure.name, failure.repeat);
            }
        }
    }

    /// Fails if a step failed.
    ///
    /// # Errors
    /// With how many failed.
    pub(crate) fn outcome(&self) -> Result<()> {
        match self.failures.len() {
            0 => Ok(()),
            failed => bail!("{} failed", count(failed, "step")),
        }
    }
}

/// Returns a duration as `4 min 05 s`.
pub(crate) fn seconds(took: Duration) -> String {
    format!("{} min {:02} s", took.as_secs() / 60, took.as_secs() % 60)
}

/// Returns a number with its noun: `1 step`, `2 steps`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
