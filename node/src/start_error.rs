//! Why a node does not start.

use ensue_engine::explain::{Explain, Fault};
use ensue_engine::ports::{LogError, VaultError};
use ensue_engine::record::Position;
use ensue_store::master_key::MasterKeyError;
use ensue_store::state_folder::StateFolderError;
use thiserror::Error;

use crate::backend::{FolderError, OpenError};
use crate::catalogs::CatalogError;
use crate::config::ConfigError;

/// Why a node does not start, or a directory cannot be worked on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] FolderError),
    /// A file of the directory cannot be opened.
    #[error(transparent)]
    File(#[from] OpenError),
    /// The state folder cannot be used.
    #[error(transparent)]
    StateFolder(#[from] StateFolderError),
    /// The master key cannot be read.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// The settings cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The vault cannot be used.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A catalog cannot be built.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The log ends before a position that was once acknowledged.
    #[error("the log ends at position {found}, but position {known} was already written: its tail is missing")]
    TailMissing {
        /// The newest position of the log.
        found: Position,
        /// The newest position known outside the log.
        known: Position,
    },
    /// The log is not the one that was written.
    #[error("the log is not the one that was written: {0}")]
    Chain(String),
    /// A resource of the machine cannot be used.
    #[error("{doing}: {why}")]
    Machine {
        /// What was attempted.
        doing: String,
        /// Why it failed.
        why: String,
    },
    /// Programs cannot be isolated here, and the operator requires that.
    #[error("`actions.isolation` is `required`, but programs run as children of the node, without isolation: {why}")]
    NoWalls {
        /// Why there is no supervisor to isolate them.
        why: &'static str,
    },
    /// Programs cannot run as the user that the operator set.
    #[error("programs cannot run as `actions.user` requires: {why}")]
    NoUsers {
        /// Why not.
        why: String,
    },
    /// A fact that must be recorded at the start was refused.
    #[error("{doing}: {why}")]
    Refused {
        /// What was attempted.
        doing: &'static str,
        /// Why it was refused.
        why: String,
        /// What to do.
        hint: Option<String>,
    },
}

impl Explain for StartError {
    fn slug(&self) -> &'static str {
        match self {
            Self::DataDir(error) => error.slug(),
            Self::File(error) => error.slug(),
            Self::StateFolder(error) => error.slug(),
            Self::MasterKey(error) => error.slug(),
            Self::Config(error) => error.slug(),
            Self::Log(error) => error.slug(),
            Self::Vault(error) => error.slug(),
            Self::Catalog(_) => "catalog-unbuildable",
            Self::TailMissing { .. } => "log-tail-missing",
            Self::Chain(_) => "log-chain-broken",
            Self::Machine { .. } | Self::NoWalls { .. } | Self::NoUsers { .. } => "machine-unusable",
            Self::Refused { .. } => "start-refused",
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::DataDir(error) => error.fault(),
            Self::File(error) => error.fault(),
            Self::StateFolder(error) => error.fault(),
            Self::MasterKey(error) => error.fault(),
            Self::Config(error) => error.fault(),
            Self::Log(error) => error.fault(),
            Self::Vault(error) => error.fault(),
            Self::Catalog(_)
            | Self::TailMissing { .. }
            | Self::Chain(_)
            | Self::Machine { .. }
            | Self::NoWalls { .. }
            | Self::NoUsers { .. } => Fault::World,
            Self::Refused { .. } => Fault::Conflict,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::DataDir(error) => error.hint(),
            Self::File(error) => error.hint(),
            Self::StateFolder(error) => error.hint(),
            Self::MasterKey(error) => error.hint(),
            Self::Config(error) => error.hint(),
            Self::Log(error) => error.hint(),
            Self::Vault(error) => error.hint(),
            Self::Catalog(_) => None,
            Self::TailMissing { .. } => {
                Some("if you restored this backup, run `ensue restore accept --data DIR`; otherwise restore the newest backup first".into())
            }
            Self::Chain(_) => Some(
                "keep a copy; `ensue log verify --data DIR` reports where it differs; if you restored a backup, run `ensue restore accept --data DIR`"
                    .into(),
            ),
            Self::Machine { .. } => None,
            Self::NoWalls { .. } => {
                Some("run the node on Linux with /proc, or set `actions.isolation: auto` and run packs that you trust".into())
            }
            Self::NoUsers { .. } => {
                Some("fix this, or leave `actions.user` out of ensue.yaml; `ensue doctor` shows what then applies".into())
            }
            Self::Refused { hint, .. } => hint.clone(),
        }
    }
}

/// Creates the error that a resource of the machine cannot be used.
pub fn machine(doing: &str, why: &dyn std::fmt::Display) -> StartError {
    StartError::Machine { doing: doing.to_owned(), why: why.to_string() }
}
