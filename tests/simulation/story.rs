//! The event trace of a run: every line enters its hash and is printed on request.

use blake3::Hasher;

/// The maximum number of characters that are printed of a line.
const SHOWN_CHARS_MAX: usize = 400;

/// Whether the trace is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// Only its hash is computed.
    Quiet,
    /// It is written to standard output as events happen.
    Told,
}

/// The events in order.
pub(crate) struct Story {
    hasher: Hasher,
    verbosity: Verbosity,
}

impl Story {
    /// Starts an empty trace.
    pub(crate) fn new(verbosity: Verbosity) -> Self {
        Self { hasher: Hasher::new(), verbosity }
    }

    /// Adds a line: when, in microseconds since the world began, who, and what.
    pub(crate) fn add_line(&mut self, now: u64, who: &str, what: &str) {
        let line = format!("{:>12.6} {who:<12} {what}\n", now as f64 / 1e6);
        self.hasher.update(line.as_bytes());
        if self.verbosity == Verbosity::Told {
            let shown: String = line.trim_end().chars().take(SHOWN_CHARS_MAX).collect();
            println!("{shown}");
        }
    }

    /// Adds a record of the log, as JSON.
    pub(crate) fn note(&mut self, record: &str) {
        self.hasher.update(record.as_bytes());
        if self.verbosity == Verbosity::Told {
            println!("{record}");
        }
    }

    /// Returns the hash of the trace: equal for equal seeds.
    pub(crate) fn hash(&self) -> String {
        self.hasher.finalize().to_hex()[..32].to_owned()
    }
}
