//! Creating and erasing identities.
//!
//! The name of an identity is in the vault before the identity is in the log, and nowhere else.

use std::sync::{Arc, Mutex, PoisonError};

use ensue_api::ports::{Access as _, AskedIdentity, Declined, OnBehalf, People};
use ensue_engine::command::{Answer, Ask, Command};
use ensue_engine::explain::Explain;
use ensue_engine::ids::{Id, IdentityId};
use ensue_engine::ports::{Committed, SubmitError};
use thiserror::Error;

use crate::access::{Profile, TokenTable};
use crate::clock::Clock;
use crate::sequencer::Asking;
use crate::tokens::check_name;

/// Why an identity is not created.
#[derive(Debug, Error, Explain)]
pub(crate) enum IdentityRefusal {
    /// The name has an invalid form.
    #[error("`{0}` is not a valid name for an identity: use 1 to 64 of a-z, 0-9, `_`, `-` and `.`")]
    #[explain(slug = "name-invalid", fault = Invalid, hint = "name the identity after the person or the program, for example `ana` or `ci.release`")]
    Name(String),
    /// The name is in use.
    #[error("an identity or a token named `{0}` already exists")]
    #[explain(slug = "name-taken", fault = Conflict, hint = "choose another name; `ensue identities list` and `ensue tokens list` show those in use")]
    Taken(String),
}

/// Creates and erases identities.
pub struct NodePeople {
    /// The identities.
    pub table: Arc<TokenTable>,
    /// The access to the sequencer.
    pub sequencer: Arc<dyn Asking>,
    /// The source of ids.
    pub clock: Arc<dyn Clock>,
    /// Held while a name is checked and taken.
    pub adding: Mutex<()>,
}

impl People for NodePeople {
    fn add(&self, asked: &AskedIdentity, by: &OnBehalf) -> Result<(IdentityId, Committed), Declined> {
        check_name(&asked.name).map_err(|_| IdentityRefusal::Name(asked.name.chars().take(64).collect()))?;
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        // Inquiries name people by either.
        let is_token = self.table.directory().token_named(&asked.name).is_some_and(|(_, token)| token.identity.is_none());
        if is_token || self.table.identity_named(&asked.name).is_some() {
            return Err(IdentityRefusal::Taken(asked.name.clone()).into());
        }
        let moment = self.clock.moment();
        let id = IdentityId(Id::root(moment.time, moment.entropy));
        self.table.vault.put_profile(id, &Profile { name: asked.name.clone() }.sealed_form())?;
        let being_added = || self.table.being_added.lock().unwrap_or_else(PoisonError::into_inner);
        being_added().insert(id, asked.name.clone());
        let ask = Ask::AddIdentity { id, kind: asked.kind, groups: asked.groups.clone() };
        let ask = match by.request.clone() {
            Some(request) => Ask::Once { request, ask: Box::new(ask) },
            None => ask,
        };
        let added = self.sequencer.ask(Command { actor: by.actor.clone(), trace: by.trace.clone(), ask });
        being_added().remove(&id);
        let is_added = matches!(&added, Ok(Committed { answer, .. }) if !matches!(answer, Answer::Before(_)));
        // If it is unknown whether the identity was added, the name must stay in case it was; if it was not, the next
        // start destroys the name.
        if !is_added && !matches!(&added, Err(SubmitError::Unknown)) {
            self.destroy(id);
        }
        Ok((id, added?))
    }

    fn erase(&self, id: IdentityId, by: &OnBehalf) -> Result<Committed, Declined> {
        let ask = Ask::EraseIdentity(id);
        let committed = self.sequencer.ask(Command { actor: by.actor.clone(), trace: by.trace.clone(), ask })?;
        self.destroy(id);
        Ok(committed)
    }
}

impl NodePeople {
    fn destroy(&self, id: IdentityId) {
        if let Err(error) = self.table.vault.destroy_profile(id) {
            tracing::warn!(%error, "the name of an identity that does not exist stays in the vault until the next start");
        }
    }
}
