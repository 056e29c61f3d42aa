//! What the operator sets of the worker, or the node for him.

use std::ffi::OsString;
use std::time::Duration;

use crate::blocking::Blocking;
use crate::programs::ProgramLimits;

/// How many bytes a file that a program gives away may have, where nothing else is said: 100 MiB.
pub const ARTIFACT_BYTES_MAX: u64 = 100 * 1024 * 1024;
/// How long the exchange may take, redirects and all.
const HTTP_TIMEOUT: Duration = Duration::from_secs(60);

/// What the operator, or the node for him, sets.
#[derive(Clone, Debug)]
pub struct ExecutorSettings {
    /// The worker's name, as the log writes it.
    pub worker: String,
    /// How long its right to an attempt lasts without being renewed.
    pub lease: Duration,
    /// The operator's `PATH`: where programs are looked up, and what they are given.
    pub path: OsString,
    /// How long an HTTP exchange may take.
    pub http_timeout: Duration,
    /// What becomes of programs that run when the worker stops.
    pub at_stop: AtStop,
    /// How many bytes a file that a program gives away may have.
    pub artifact_bytes_max: u64,
    /// What each process of a program may use.
    pub limits: ProgramLimits,
    /// What the programs and requests of attempts are told of their trace.
    pub traced: Traced,
    /// Where work that blocks is done.
    pub blocking: Blocking,
}

/// What the programs and requests of attempts are told of their trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Traced {
    /// That they are part of what led to the execution: nobody has spans of attempts.
    #[default]
    UnderCaller,
    /// That they are part of the attempt, whose span is exported.
    UnderAttempt,
}

/// What becomes of programs that run when the worker stops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AtStop {
    /// They go on, where what runs them outlives the node, and the next start adopts them.
    #[default]
    GoOn,
    /// They may end while the patience lasts, and are ended then.
    End,
}

impl ExecutorSettings {
    /// Sets what has a default: a lease of 30 s, 60 s for an HTTP exchange.
    pub fn new(path: impl Into<OsString>) -> Self {
        Self {
            worker: "local".to_owned(),
            lease: Duration::from_secs(30),
            path: path.into(),
            http_timeout: HTTP_TIMEOUT,
            artifact_bytes_max: ARTIFACT_BYTES_MAX,
            at_stop: AtStop::default(),
            limits: ProgramLimits::default(),
            traced: Traced::default(),
            blocking: Blocking::default(),
        }
    }
}
