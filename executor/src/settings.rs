//! The worker's settings, set by the operator or by the node on the operator's behalf.

use std::ffi::OsString;
use std::time::Duration;

use crate::blocking::Blocking;
use crate::programs::{NodeSecrets, ProgramLimits};

/// The default maximum size of a file that a program gives away: 100 MiB, in bytes.
pub const ARTIFACT_BYTES_MAX: u64 = 100 * 1024 * 1024;
/// The length in bytes up to which an answer is read without waiting for others.
pub(crate) const SHORT_ANSWER_BYTES: usize = 256 * 1024;
/// The default number of answers that are read at once and are longer, or may become so when they are decompressed.
const LONG_ANSWERS_MAX: usize = 8;
/// The default time limit of an HTTP exchange, redirects included.
const HTTP_TIMEOUT: Duration = Duration::from_secs(60);

/// The settings of the worker.
#[derive(Clone, Debug)]
pub struct ExecutorSettings {
    /// The worker's name in the log.
    pub worker: String,
    /// How long the right to an attempt lasts without being renewed.
    pub lease: Duration,
    /// The operator's `PATH`, in which programs are looked up and which they are given.
    pub path: OsString,
    /// The time limit of an HTTP exchange.
    pub http_timeout: Duration,
    /// How many answers are read at once that are longer than 256 KiB or compressed.
    pub long_answers_max: usize,
    /// What happens to running programs when the worker stops.
    pub at_stop: AtStop,
    /// The maximum size of a file that a program gives away, in bytes.
    pub artifact_bytes_max: u64,
    /// The limits of each process of a program.
    pub limits: ProgramLimits,
    /// The trace that programs and requests of attempts see.
    pub traced: TraceNesting,
    /// Where blocking work is done.
    pub blocking: Blocking,
    /// The secrets of the node.
    pub masked: NodeSecrets,
}

/// The trace that programs and requests of attempts see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TraceNesting {
    /// They are children of what led to the execution, because nobody has spans of attempts.
    #[default]
    UnderCaller,
    /// They are children of the attempt, whose span is exported.
    UnderAttempt,
}

/// What happens to running programs when the worker stops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AtStop {
    /// They continue if what runs them outlives the node, and the next start adopts them.
    #[default]
    GoOn,
    /// They may end by themselves within the patience of the stop, and are then ended.
    End,
}

impl ExecutorSettings {
    /// Creates settings with the defaults: a lease of 30 s, and 60 s for an HTTP exchange.
    pub fn new(path: impl Into<OsString>) -> Self {
        Self {
            worker: "local".to_owned(),
            lease: Duration::from_secs(30),
            path: path.into(),
            http_timeout: HTTP_TIMEOUT,
            long_answers_max: LONG_ANSWERS_MAX,
            artifact_bytes_max: ARTIFACT_BYTES_MAX,
            at_stop: AtStop::default(),
            limits: ProgramLimits::default(),
            traced: TraceNesting::default(),
            blocking: Blocking::default(),
            masked: NodeSecrets::default(),
        }
    }
}
