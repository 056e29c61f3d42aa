//! Rotates the master key of a running node.

use std::sync::Arc;

use ensue_api::ports::OnBehalf;
use ensue_engine::command::{Ask, Command};
use ensue_engine::explain::Explain;
use ensue_engine::ports::{CommitReceipt, SubmitError};
use ensue_engine::record::Position;
use ensue_store::master_key::{MasterKeyError, MasterKeyFile};
use ensue_store::rotation::{CompletedRotation, rotate};
use ensue_store::vault::{Rotation, SealedVault};

use crate::sequencer::Asking;

/// The vault whose master key can be rotated, and the file of that key.
#[derive(Clone)]
pub(crate) struct MasterKeyRotation {
    /// The file.
    pub(crate) file: MasterKeyFile,
    /// The vault.
    pub(crate) vault: Arc<dyn SealedVault>,
    /// The access to the sequencer.
    pub(crate) sequencer: Arc<dyn Asking>,
}

impl MasterKeyRotation {
    /// Returns true if a rotation has begun and is not complete.
    pub(crate) fn has_begun(&self) -> bool {
        self.vault.rotation().is_some()
    }

    /// Replaces the master key, or completes a rotation that was interrupted. Returns the position that the log has
    /// reached, or what is wrong and what to do. Blocking.
    pub(crate) fn run(&self, by: &OnBehalf) -> Result<Position, String> {
        let record = |Rotation { from, to }| -> Result<CommitReceipt, SubmitError> {
            self.sequencer.ask(Command { actor: by.actor.clone(), trace: by.trace.clone(), ask: Ask::NoteMasterKey { from, to } })
        };
        let rotated = rotate(&self.file, &*self.vault, record).map_err(|error| describe_error(&error))?;
        let CompletedRotation { from, to, values, recorded, left } = rotated;
        tracing::info!(%from, %to, values, "the values of the vault are sealed under the next master key");
        match left {
            None => Ok(recorded.position),
            Some(error) => Err(left_over(&self.file, &error)),
        }
    }
}

/// Says that the next master key must replace the other by hand.
pub(crate) fn left_over(file: &MasterKeyFile, error: &MasterKeyError) -> String {
    let (path, next) = (file.path().display(), file.next_path());
    format!(
        "all values are sealed under the next master key, but its file cannot replace {path}: {error}; replace it with the content of {}, and remove that file",
        next.display()
    )
}

/// Returns an error with its advice.
pub(crate) fn describe_error(error: &dyn Explain) -> String {
    match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}
