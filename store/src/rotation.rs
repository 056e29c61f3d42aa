//! The rotation of a vault's master key, while the vault is in use.
//!
//! The steps: the next key is written beside the current one and synced; every data key is sealed under it; the caller
//! records the rotation; the next key's file replaces the other. If the process ends at any step, the files that are
//! there open every value, and [`rotate`] continues.

use thiserror::Error;

use ensue_engine::access::keys::MasterKeyId;
use ensue_engine::explain::Explain;
use ensue_engine::ports::VaultError;

use crate::master_key::{MasterKeyError, MasterKeyFile, MasterKeys};
use crate::vault::{Rotation, SealedVault};

/// A rotation whose values are all sealed under the new key.
#[derive(Debug)]
pub struct CompletedRotation<R> {
    /// The master key before.
    pub from: MasterKeyId,
    /// The master key now.
    pub to: MasterKeyId,
    /// How many values this call sealed under it.
    pub values: usize,
    /// What recording it returned.
    pub recorded: R,
    /// Why the next key's file could not replace the other. Both keys are in use until a person replaces it.
    pub left: Option<MasterKeyError>,
}

/// Why a rotation was not completed. What was done stays, and the next call continues.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
pub enum RotateError<E: Explain + 'static> {
    /// The next key cannot be written or read.
    #[error(transparent)]
    #[explain(transparent)]
    Key(#[from] MasterKeyError),
    /// The vault cannot be used, or a value in it cannot be opened.
    #[error(transparent)]
    #[explain(transparent)]
    Vault(#[from] VaultError),
    /// The rotation was not recorded.
    #[error(transparent)]
    #[explain(transparent)]
    Record(E),
}

/// Replaces the master key of a vault, or continues a replacement that was interrupted. `record` is called once all
/// values are sealed under the next key, and may be called again after an interruption.
pub fn rotate<R, E: Explain + 'static>(
    file: &MasterKeyFile,
    vault: &dyn SealedVault,
    record: impl FnOnce(Rotation) -> Result<R, E>,
) -> Result<CompletedRotation<R>, RotateError<E>> {
    let rotation = match vault.rotation() {
        Some(begun) => begun,
        None => {
            // Nothing is changed if a value cannot be opened: it could not be sealed under the next key.
            vault.check()?;
            vault.begin_rotation(file.make_next()?)
        }
    };
    let (mut values, mut last) = (0, None);
    while let Some(step) = vault.rewrap(last.as_ref())? {
        values += step.rewrapped;
        last = Some(step.last);
    }
    if vault.named_keys()?.contains(&rotation.from) {
        return Err(VaultError::Store("values are still sealed under the master key before".to_owned()).into());
    }
    let recorded = record(rotation).map_err(RotateError::Record)?;
    let left = file.adopt_next().err();
    if left.is_none() {
        vault.end_rotation()?;
    }
    Ok(CompletedRotation { from: rotation.from, to: rotation.to, values, recorded, left })
}

/// Checks that one of the master keys is among those that the values of a vault name. A vault of which only some
/// values name another key is not rejected: those are damaged.
pub fn check_master_key(file: &MasterKeyFile, keys: &MasterKeys, named: &[MasterKeyId]) -> Result<(), MasterKeyError> {
    match named.first() {
        Some(sealed) if !named.iter().any(|id| keys.get(*id).is_some()) => {
            Err(MasterKeyError::Wrong { path: file.path().to_owned(), found: keys.current.id(), sealed: *sealed })
        }
        Some(_) | None => Ok(()),
    }
}
