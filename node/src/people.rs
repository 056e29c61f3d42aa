//! Creating and erasing identities.
//!
//! The name of an identity is in the vault before the identity is in the log, and nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ensue_api::ports::{Access as _, AskedIdentity, AskedLink, OnBehalf, People, PortError};
use ensue_engine::access::facts::{IdentityKind, SessionEnd};
use ensue_engine::command::{Admission, AdmittedIdentity, Answer, Ask, Command, IssuerGroups, Refusal};
use ensue_engine::explain::Explain;
use ensue_engine::ids::{Id, IdentityId, SessionId};
use ensue_engine::names::IssuerName;
use ensue_engine::ports::{CommitReceipt, SealedKind, SubmitError};
use ensue_engine::record::{Actor, CredentialId};
use ensue_login::{Groups, IssuerIdentity, Kind, SUBJECT_BYTES_MAX};
use thiserror::Error;

use crate::access::{Profile, TokenTable};
use crate::clock::SteppedClock;
use crate::sequencer::Asking;
use crate::sessions::ENDED_AT_ONCE;
use crate::tokens::check_name;

/// Why an identity is not created.
#[derive(Debug, Error, Explain)]
pub(crate) enum IdentityRefusal {
    /// The name has an invalid form.
    #[error("`{0}` is not a valid name for an identity: use 1 to 64 of a-z, 0-9, `_`, `-` and `.`")]
    #[explain(slug = "name-invalid", fault = Invalid, hint = "name the identity after the person or the program, for example `ana` or `ci.release`")]
    Name(String),
    /// The subject has an invalid form.
    #[error("the subject has from 1 to {SUBJECT_BYTES_MAX} bytes, without control characters")]
    #[explain(slug = "name-invalid", fault = Invalid, hint = "copy `sub` from a token of the person; of a service, the name that the settings render")]
    Subject,
    /// Another identity has the subject.
    #[error("another identity logs in through the issuer `{issuer}` under this subject")]
    #[explain(slug = "name-taken", fault = Conflict, hint = "unlink or erase that identity first")]
    SubjectTaken {
        /// The issuer.
        issuer: IssuerName,
    },
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
    pub clock: Arc<dyn SteppedClock>,
    /// Held while a name is checked and taken.
    pub adding: Mutex<()>,
}

impl People for NodePeople {
    fn add(&self, asked: &AskedIdentity, by: &OnBehalf) -> Result<(IdentityId, CommitReceipt), PortError> {
        check_name(&asked.name).map_err(|_| IdentityRefusal::Name(asked.name.chars().take(64).collect()))?;
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        self.demand_free(&asked.name)?;
        let moment = self.clock.moment();
        let id = IdentityId(Id::root(moment.time, moment.entropy));
        let profile = Profile::with_name(asked.name.clone());
        self.table.vault.put_profile(id, &profile.sealed_form())?;
        self.being_added().insert(id, profile);
        let ask = Ask::AddIdentity { id, kind: asked.kind, groups: asked.groups.clone() };
        let ask = match by.request.clone() {
            Some(request) => Ask::Once { request, ask: Box::new(ask) },
            None => ask,
        };
        let added = self.sequencer.ask(Command { actor: by.actor.clone(), trace: by.trace.clone(), ask });
        self.being_added().remove(&id);
        let is_added = matches!(&added, Ok(CommitReceipt { answer, .. }) if !matches!(answer, Answer::Before(_)));
        // If it is unknown whether the identity was added, the name must stay in case it was; if it was not, the next
        // start destroys the name.
        if !is_added && !matches!(&added, Err(SubmitError::Unknown)) {
            self.destroy(id);
        }
        Ok((id, added?))
    }

    fn erase(&self, id: IdentityId, by: &OnBehalf) -> Result<CommitReceipt, PortError> {
        let ask = Ask::EraseIdentity(id);
        let committed = self.sequencer.ask(Command { actor: by.actor.clone(), trace: by.trace.clone(), ask })?;
        self.destroy(id);
        Ok(committed)
    }
}

impl NodePeople {
    /// Returns the identity that an issuer admits, with the groups that it names. Adds the identity if it is new.
    pub(crate) fn admit(&self, admitted: &IssuerIdentity) -> Result<IdentityId, PortError> {
        let IssuerIdentity { issuer, subject, .. } = admitted;
        let groups = self.said_groups(admitted);
        if let Some(id) = self.table.identity_of(issuer, subject) {
            return self.set_groups(id, issuer, groups);
        }
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        // Another request may have added it meanwhile.
        if let Some(id) = self.table.identity_of(issuer, subject) {
            return self.set_groups(id, issuer, groups);
        }
        self.demand_free(&admitted.name)?;
        let moment = self.clock.moment();
        let id = IdentityId(Id::root(moment.time, moment.entropy));
        let profile = Profile { name: admitted.name.clone(), subjects: [(issuer.clone(), subject.clone())].into() };
        self.table.vault.put_profile(id, &profile.sealed_form())?;
        self.being_added().insert(id, profile);
        let kind = match admitted.kind {
            Kind::Person => IdentityKind::Person,
            Kind::Service => IdentityKind::Service,
        };
        let added = self.ask_to_admit(AdmittedIdentity { id, issuer: issuer.clone(), admission: Admission::New(kind), groups });
        self.being_added().remove(&id);
        if added.as_ref().is_err_and(|error| !matches!(error, SubmitError::Unknown)) {
            self.destroy(id);
        }
        added?;
        Ok(id)
    }

    /// Sets the groups that an issuer names for an identity that is known.
    pub(crate) fn set_groups_of(&self, id: IdentityId, admitted: &IssuerIdentity) -> Result<(), PortError> {
        self.set_groups(id, &admitted.issuer, self.said_groups(admitted)).map(drop)
    }

    fn said_groups(&self, admitted: &IssuerIdentity) -> Option<IssuerGroups> {
        let now = self.clock.now();
        match &admitted.groups {
            Groups::Said(groups) => {
                Some(IssuerGroups { groups: groups.clone(), said_at: admitted.issued.map_or(now, |said| said.min(now)) })
            }
            Groups::NotSaid => None,
        }
    }

    fn set_groups(&self, id: IdentityId, issuer: &IssuerName, groups: Option<IssuerGroups>) -> Result<IdentityId, PortError> {
        let directory = self.table.directory();
        let known = directory.identity(&id).and_then(|identity| identity.link(issuer));
        if groups.as_ref().is_some_and(|said| known.is_none_or(|known| known.groups != said.groups)) {
            self.ask_to_admit(AdmittedIdentity { id, issuer: issuer.clone(), admission: Admission::Known, groups })?;
        }
        Ok(id)
    }

    fn ask_to_admit(&self, admitted: AdmittedIdentity) -> Result<CommitReceipt, SubmitError> {
        let actor = Actor::Identity { id: admitted.id, by: CredentialId::Issuer(admitted.issuer.clone()) };
        self.sequencer.ask(Command { actor, trace: None, ask: Ask::AdmitIdentity(admitted) })
    }

    /// Lets an issuer be a way in for an identity, under this subject.
    pub(crate) fn link(&self, id: IdentityId, link: &AskedLink, by: &OnBehalf) -> Result<CommitReceipt, PortError> {
        let AskedLink { issuer, subject } = link;
        let is_clean = !subject.is_empty() && subject.len() <= SUBJECT_BYTES_MAX && !subject.chars().any(char::is_control);
        if !is_clean {
            return Err(IdentityRefusal::Subject.into());
        }
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        if self.table.identity_of(issuer, subject).is_some_and(|other| other != id) {
            return Err(IdentityRefusal::SubjectTaken { issuer: issuer.clone() }.into());
        }
        let before = self.table.profile(id).ok_or_else(|| Refusal::NoIdentity(id.to_string()))?;
        let is_linked = self.table.directory().identity(&id).is_some_and(|identity| identity.link(issuer).is_some());
        if is_linked {
            return Err(Refusal::LinkedBefore { issuer: issuer.clone() }.into());
        }
        let mut profile = before.clone();
        profile.subjects.insert(issuer.clone(), subject.clone());
        self.table.vault.put_profile(id, &profile.sealed_form())?;
        self.being_added().insert(id, profile);
        let ask = Ask::LinkIdentity { id, issuer: issuer.clone() };
        let ask = match by.request.clone() {
            Some(request) => Ask::Once { request, ask: Box::new(ask) },
            None => ask,
        };
        let linked = self.sequencer.ask(Command { actor: by.actor.clone(), trace: by.trace.clone(), ask });
        self.being_added().remove(&id);
        if linked.as_ref().is_err_and(|error| !matches!(error, SubmitError::Unknown)) {
            self.store(id, &before);
        }
        Ok(linked?)
    }

    /// Ends that an issuer is a way in for an identity.
    pub(crate) fn unlink(&self, id: IdentityId, issuer: &IssuerName, by: &OnBehalf) -> Result<CommitReceipt, PortError> {
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let ask = Ask::UnlinkIdentity { id, issuer: issuer.clone() };
        let committed = self.sequencer.ask(Command { actor: by.actor.clone(), trace: by.trace.clone(), ask })?;
        // The log has ended the sessions that came in by the issuer. Those of terminals that they approved follow.
        let depending = self.table.sessions.issuer_logins.sessions_of(|login| login.identity == id && login.issuer == *issuer);
        self.end_sessions(&depending, SessionEnd::CredentialGone, &by.actor)?;
        if let Some(mut profile) = self.table.profile(id) {
            profile.subjects.remove(issuer);
            self.store(id, &profile);
        }
        Ok(committed)
    }

    /// Ends the sessions of a login because its issuer says that its person has logged out there.
    pub(crate) fn end_by_issuer(&self, issuer: &IssuerName, sessions: BTreeSet<SessionId>) -> Result<(), PortError> {
        let directory = self.table.directory();
        let mut of_identity: BTreeMap<IdentityId, Vec<SessionId>> = BTreeMap::new();
        for id in sessions {
            if let Some(identity) = directory.session(&id).and_then(|session| session.identity) {
                of_identity.entry(identity).or_default().push(id);
            }
        }
        for (id, sessions) in of_identity {
            let actor = Actor::Identity { id, by: CredentialId::Issuer(issuer.clone()) };
            self.end_sessions(&sessions, SessionEnd::Logout, &actor)?;
        }
        Ok(())
    }

    /// Ends sessions, and destroys their secrets.
    pub(crate) fn end_sessions(&self, sessions: &[SessionId], reason: SessionEnd, actor: &Actor) -> Result<(), PortError> {
        for ended in sessions.chunks(ENDED_AT_ONCE) {
            let ask = Ask::EndSessions { sessions: ended.to_vec(), reason };
            self.sequencer.ask(Command { actor: actor.clone(), trace: None, ask })?;
            self.table.sessions.forget(ended)?;
        }
        Ok(())
    }

    /// Checks that no identity and no token has this name: inquiries name people by either.
    fn demand_free(&self, name: &str) -> Result<(), IdentityRefusal> {
        let is_token = self.table.directory().token_named(name).is_some_and(|(_, token)| token.identity.is_none());
        if is_token || self.table.identity_named(name).is_some() { Err(IdentityRefusal::Taken(name.to_owned())) } else { Ok(()) }
    }

    fn being_added(&self) -> MutexGuard<'_, BTreeMap<IdentityId, Profile>> {
        self.table.being_added.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores a profile whose link the log has ended, or has not begun. Nothing reads the link meanwhile.
    fn store(&self, id: IdentityId, profile: &Profile) {
        if let Err(error) = self.table.vault.put_profile(id, &profile.sealed_form()) {
            tracing::warn!(%error, "the subject of an issuer that is not linked stays in the vault");
        }
    }

    fn destroy(&self, id: IdentityId) {
        if let Err(error) = self.table.vault.destroy_profile(id) {
            tracing::warn!(%error, "the name of an identity that does not exist stays in the vault until the next start");
        }
        for kind in [SealedKind::Password, SealedKind::Otp] {
            if let Err(error) = self.table.vault.destroy(kind, &id.to_string()) {
                tracing::warn!(%error, "the password of an identity that does not exist stays in the vault until the next start");
            }
        }
    }
}
