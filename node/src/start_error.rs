//! Why a node does not start.

use ensue_engine::explain::Explain;
use ensue_engine::ports::{LogError, VaultError};
use ensue_engine::record::Position;
use ensue_store::master_key::MasterKeyError;
use ensue_store::state_folder::StateFolderError;
use thiserror::Error;

use crate::backend::{FolderError, StorageError};
use crate::catalogs::CatalogError;
use crate::certificates::TlsError;
use crate::config::ConfigError;

/// Why a node does not start, or a directory cannot be worked on.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
#[explain(fault = World)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    #[explain(transparent)]
    DataDir(#[from] FolderError),
    /// The storage cannot be opened.
    #[error(transparent)]
    #[explain(transparent)]
    Storage(#[from] StorageError),
    /// The state folder cannot be used.
    #[error(transparent)]
    #[explain(transparent)]
    StateFolder(#[from] StateFolderError),
    /// The master key cannot be read.
    #[error(transparent)]
    #[explain(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// The settings cannot be used.
    #[error(transparent)]
    #[explain(transparent)]
    Config(#[from] ConfigError),
    /// TLS cannot be served.
    #[error(transparent)]
    #[explain(transparent)]
    Tls(#[from] TlsError),
    /// The log cannot be read.
    #[error(transparent)]
    #[explain(transparent)]
    Log(#[from] LogError),
    /// The vault cannot be used.
    #[error(transparent)]
    #[explain(transparent)]
    Vault(#[from] VaultError),
    /// A catalog cannot be built.
    #[error(transparent)]
    #[explain(slug = "catalog-unbuildable")]
    Catalog(#[from] CatalogError),
    /// The log ends before a position that was once acknowledged.
    #[error("the log ends at position {found}, but position {known} was already written: its tail is missing")]
    #[explain(
        slug = "log-tail-missing",
        hint = "if you restored this backup, run `ensue restore accept --data DIR`; otherwise restore the newest backup first"
    )]
    TailMissing {
        /// The newest position of the log.
        found: Position,
        /// The newest position known outside the log.
        known: Position,
    },
    /// The log is not the one that was written.
    #[error("the log is not the one that was written: {0}")]
    #[explain(
        slug = "log-chain-broken",
        hint = "keep a copy; `ensue log verify --data DIR` reports where it differs; if you restored a backup, run `ensue restore accept --data DIR`"
    )]
    Chain(String),
    /// The packs in the database and their copies in the data directory cannot be exchanged.
    #[error("the packs of the database cannot be copied to and from the data directory: {0}")]
    #[explain(slug = "catalog-unbuildable")]
    PackArchive(String),
    /// The log failed while the start wrote to it.
    #[error("the log failed while the node started: {0}")]
    #[explain(
        slug = "log-unavailable",
        hint = "run `ensue log verify --data DIR`: if it reports damage, restore the data directory from its last good backup; otherwise \
                check the disk, and start the node again"
    )]
    LogFailed(String),
    /// A resource of the machine cannot be used.
    #[error("{doing}: {why}")]
    #[explain(slug = "machine-unusable")]
    Machine {
        /// What was attempted.
        doing: String,
        /// Why it failed.
        why: String,
    },
    /// Programs cannot be isolated here, and the operator requires that.
    #[error("`actions.isolation` is `required`, but programs run as children of the node, without isolation: {why}")]
    #[explain(
        slug = "machine-unusable",
        hint = "run the node on Linux with /proc, or set `actions.isolation: auto` and run packs that you trust"
    )]
    NoWalls {
        /// Why there is no supervisor to isolate them.
        why: &'static str,
    },
    /// Programs cannot run as the user that the operator set.
    #[error("programs cannot run as `actions.user` requires: {why}")]
    #[explain(
        slug = "machine-unusable",
        hint = "fix this, or leave `actions.user` out of ensue.yaml; `ensue doctor` shows what then applies"
    )]
    NoUsers {
        /// Why not.
        why: String,
    },
    /// A fact that must be recorded at the start was refused.
    #[error("{doing}: {why}")]
    #[explain(slug = "start-refused", fault = Conflict, hint = hint.clone())]
    Refused {
        /// What was attempted.
        doing: &'static str,
        /// Why it was refused.
        why: String,
        /// What to do.
        hint: Option<String>,
    },
}

/// Creates the error that a resource of the machine cannot be used.
pub fn machine(doing: &str, why: &dyn std::fmt::Display) -> StartError {
    StartError::Machine { doing: doing.to_owned(), why: why.to_string() }
}
