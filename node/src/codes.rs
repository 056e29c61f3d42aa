//! The codes of the node: each is shown once, and the vault holds the hash of its secret.

use ensue_api::ports::{MintedCode, PortError};
use ensue_engine::command::{Moment, Refusal};
use ensue_engine::ids::{Id, IdentityId};
use ensue_engine::ports::{SealedKind, Secret, SubmitError};
use ensue_engine::time::Timestamp;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::session_table::{CodePurpose, CodeState, SessionTable, StoredAtIssuer, StoredCode, random};

/// How the holder of a link logs in.
pub(crate) const LINK: &str = "link";
/// The random bytes of a code.
pub(crate) const CODE_SECRET_BYTES: usize = 16;
/// The maximum number of codes that are known.
const CODES_MAX: usize = 10_000;

impl SessionTable {
    /// Creates a code of an identity for a purpose, valid from a moment until a time.
    pub(crate) fn mint_for(
        &self,
        identity: IdentityId,
        way: &str,
        purpose: CodePurpose,
        (moment, until): (Moment, Timestamp),
    ) -> Result<(Id, MintedCode), PortError> {
        let id = Id::root(moment.time, moment.entropy);
        let secret = Zeroizing::new(hex::encode(&random()?[..CODE_SECRET_BYTES]));
        let code = StoredCode {
            sha256: hex::encode(Sha256::digest(secret.as_bytes())),
            token: None,
            identity: Some(identity),
            way: way.to_owned(),
            challenge: None,
            until: until.micros(),
            ends_by: None,
            at_issuer: StoredAtIssuer::default(),
            used: CodeState::Fresh,
            purpose,
        };
        self.keep_code(id, code)?;
        Ok((id, MintedCode { code: Secret::new(format!("{id}_{}", *secret).into_bytes()), until }))
    }

    /// Stores a code.
    pub(crate) fn keep_code(&self, id: Id, code: StoredCode) -> Result<(), PortError> {
        let mut codes = self.codes();
        if codes.len() >= CODES_MAX {
            return Err(Refusal::LimitReached { what: "login codes", max: CODES_MAX }.into());
        }
        self.vault.put_all(SealedKind::Code, &[(id.to_string(), code.sealed_form())])?;
        codes.insert(id, code);
        Ok(())
    }

    /// Forgets a code that was not recorded.
    pub(crate) fn forget_unless_unknown(&self, id: Id, error: &SubmitError) {
        if matches!(error, SubmitError::Unknown) {
            return;
        }
        self.codes().remove(&id);
        if let Err(error) = self.vault.destroy(SealedKind::Code, &id.to_string()) {
            tracing::warn!(%error, "the code of a link that does not exist stays in the vault until it expires");
        }
    }
}
