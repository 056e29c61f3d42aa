//! Why the database cannot be used, for people.

use ensue_engine::explain::Explain;
use ensue_engine::ids::LogId;
use ensue_engine::record::Position;
use thiserror::Error;

/// Why a log in PostgreSQL cannot be opened.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The URL is not one of a database.
    #[error("the address of the database cannot be read: {0}")]
    #[explain(
        slug = "database-address",
        fault = Invalid,
        hint = "write `postgres://USER@HOST:5432/DATABASE`; for a Unix socket, `postgres:///DATABASE?host=/run/postgresql`"
    )]
    Address(String),
    /// There is no connection.
    #[error("{0} cannot be reached: {1}")]
    #[explain(
        slug = "database-unavailable",
        fault = Unavailable,
        hint = "check the address and the password, and that the server runs and accepts connections from this machine"
    )]
    Unavailable(String, String),
    /// The server that answers is a standby or an old primary. A failover may be under way.
    #[error("{at} cannot be reached: the server that answers is {what}")]
    #[explain(
        slug = "database-unavailable",
        fault = Unavailable,
        hint = "name the primary, or list all servers in the address: `postgres://USER@a,b/DATABASE`; the primary is then found"
    )]
    NotPrimary {
        /// The servers and the database.
        at: String,
        /// What the server is.
        what: &'static str,
    },
    /// The server lacks what it, or another one, acknowledged: a standby was promoted that did not have it, or an older state was
    /// restored.
    #[error("{at} lacks records of the log, which was acknowledged up to position {position}")]
    #[explain(
        slug = "log-tail-missing",
        fault = World,
        hint = "make the server the primary again that has them, or a standby that has them; another one was promoted, or an older state was restored"
    )]
    Rewritten {
        /// The servers and the database.
        at: String,
        /// The newest position that is known.
        position: Position,
    },
    /// The server has a setting with which acknowledged records can be lost or read wrongly.
    #[error("{at} cannot hold a log: {why}")]
    #[explain(slug = "database-unsuitable", fault = Conflict, hint = "{todo}")]
    Unsuitable {
        /// The server and the database.
        at: String,
        /// What is wrong with it.
        why: String,
        /// What to do about it.
        todo: String,
    },
    /// A newer release wrote the tables.
    #[error("{at} has tables of version {found}, but this release knows versions only up to {known}: a newer release wrote it")]
    #[explain(slug = "data-from-a-newer-release", fault = Conflict, hint = "start the release that wrote it, or a newer one")]
    Newer {
        /// The server and the database.
        at: String,
        /// The version of the tables.
        found: i32,
        /// The newest version known.
        known: i32,
    },
    /// The tables or the functions are not those of this release.
    #[error("{at} has a schema that is not the one of this release: {why}")]
    #[explain(
        slug = "foreign-database",
        fault = Conflict,
        hint = "name an empty database, or restore this one from its backup; somebody or something changed it"
    )]
    Foreign {
        /// The server and the database.
        at: String,
        /// The difference.
        why: String,
    },
    /// The log is not there.
    #[error("{at} has no log {log}")]
    #[explain(slug = "log-missing", fault = Missing, hint = "check the address of the database")]
    NoLog {
        /// The server and the database.
        at: String,
        /// The log.
        log: LogId,
    },
    /// There is no log at all.
    #[error("{at} has no log")]
    #[explain(slug = "log-missing", fault = Missing, hint = "check the address of the database")]
    Empty {
        /// The server and the database.
        at: String,
    },
    /// Another node created the log of the database meanwhile.
    #[error("{at} has a log that another node created at the same moment")]
    #[explain(slug = "log-led-elsewhere", fault = Unavailable, hint = "start this node again: it waits until the other one is gone")]
    CreatedElsewhere {
        /// The server and the database.
        at: String,
    },
    /// A copy of the log was interrupted.
    #[error("log {log} in {at} is the beginning of a copy that was not finished")]
    #[explain(slug = "log-copy-unfinished", fault = Conflict, hint = "copy the log again: the next copy replaces it")]
    Unfinished {
        /// The server and the database.
        at: String,
        /// The log.
        log: LogId,
    },
    /// The database is the target of a copy, and has the log already.
    #[error("{at} already has log {log}")]
    #[explain(slug = "copy-target-not-empty", fault = Conflict, hint = "name an empty database")]
    Exists {
        /// The server and the database.
        at: String,
        /// The log.
        log: LogId,
    },
    /// The database is the target of a copy, and has another log.
    #[error("{at} already has another log, {other}, and a node uses the only log of its database")]
    #[explain(
        slug = "copy-target-not-empty",
        fault = Conflict,
        hint = "create an empty database (`CREATE DATABASE …`), and name it: each installation has a database of its own"
    )]
    Occupied {
        /// The server and the database.
        at: String,
        /// The log that it has.
        other: LogId,
    },
    /// The log is to be copied, and a node leads it.
    #[error("log {log} is led by the node {leader}, which is alive: what it writes during a copy would be missing in the copy")]
    #[explain(slug = "log-led-elsewhere", fault = Conflict, hint = "stop that node, and each node that waits for the log; then copy again")]
    InUse {
        /// The log.
        log: LogId,
        /// The name of the node.
        leader: String,
    },
    /// Another node leads the log.
    #[error("log {log} is led by the node {leader}, which is alive")]
    #[explain(slug = "log-led-elsewhere", fault = Conflict, hint = "stop that node, or wait: this one takes over when it is gone for {seconds} seconds")]
    Led {
        /// The log.
        log: LogId,
        /// The name of the node.
        leader: String,
        /// How long a node must be silent before its lease is over.
        seconds: u64,
    },
    /// Another node took the log over.
    #[error("another node leads log {log} by now, so this one changed nothing")]
    #[explain(slug = "log-led-elsewhere", fault = Conflict, hint = "start this node again: it waits until the other one is gone")]
    NotLeading {
        /// The log.
        log: LogId,
    },
    /// The caller stopped waiting for the log.
    #[error("the node was stopped while it waited for log {log}")]
    #[explain(slug = "log-led-elsewhere", fault = Conflict)]
    GaveUp {
        /// The log.
        log: LogId,
    },
    /// There are logs of several installations.
    #[error("{at} has {count} logs, and a node uses the only one of its database")]
    #[explain(slug = "several-logs", fault = Conflict, hint = "give each installation a database of its own; `ensue log copy` copies a log into one")]
    Several {
        /// The server and the database.
        at: String,
        /// How many there are.
        count: usize,
    },
    /// A statement failed.
    #[error("{at} failed: {why}")]
    #[explain(slug = "database-failed", fault = Unavailable, hint = "read the log of the database server")]
    Failed {
        /// The server and the database.
        at: String,
        /// The reason.
        why: String,
    },
}
