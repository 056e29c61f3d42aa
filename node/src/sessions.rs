//! The sessions of a node: opening, refreshing and ending them.
//!
//! The log says which sessions are open. The vault holds the hashes of their cookies, the state of their refresh
//! tokens, and their last use; each is there before its session is in the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use ensue_api::ports::{
    Access as _, AskedCode, AskedInquiryLink, AskedLoginLink, Login, LoginFrom, LoginOf, MintedCode, OnBehalf, OpenedSession, Pair,
    PortError, RedeemedCode, SeenSession, SessionEnds, SessionForm, SessionSecret, Sessions,
};
use ensue_engine::access::facts::SessionEnd;
use ensue_engine::command::{Ask, Command, Moment, NewLoginLink, NewSession, OpenedLink, Refusal};
use ensue_engine::explain::Explain;
use ensue_engine::ids::{Id, IdentityId, InquiryId, LinkId, SessionId};
use ensue_engine::ports::{CommitReceipt, SealedKind, Secret, SubmitError, VaultError};
use ensue_engine::record::{Actor, CredentialId, Digest};
use ensue_engine::time::Timestamp;
use ensue_login::access_tokens::{ACCESS_TOKEN_LIFETIME, AccessClaims};
use ensue_login::refresh::{Family, RefreshOutcome, RefreshRefusal, RefreshToken};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use thiserror::Error;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::access::TokenTable;
use crate::answer_links::AnswerLinks;
use crate::clock::SteppedClock;
use crate::codes::{CODE_SECRET_BYTES, LINK};
use crate::config::InquiryLinks;
use crate::sequencer::Asking;
use crate::session_table::{
    CodePurpose, CodeRefusal, CodeState, IDLE, LIFETIME, Live, SessionRefusal, SessionTable, StoredAtIssuer, StoredCode, id_of, idle_after,
    millis, random, uuid_of,
};

/// How long the secrets of a session wait for its record.
const UNRECORDED: Duration = Duration::from_secs(60);
/// How many sessions one request of the node itself ends.
pub(crate) const ENDED_AT_ONCE: usize = 100;

/// Opens, refreshes and ends sessions.
pub struct NodeSessions {
    /// The sessions, with the identities and tokens.
    pub table: Arc<TokenTable>,
    /// The access to the sequencer.
    pub sequencer: Arc<dyn Asking>,
    /// The source of ids and of time.
    pub clock: Arc<dyn SteppedClock>,
    /// The address of the node, which access tokens name.
    pub issuer: String,
    /// Whether there are links to inquiries.
    pub links: InquiryLinks,
}

/// The link of a session for one inquiry.
struct UsedLink {
    id: LinkId,
    inquiry: InquiryId,
    /// The digest of what the person was to be shown.
    digest: Digest,
    until: Timestamp,
}

/// Links to inquiries are switched off.
#[derive(Clone, Copy, Debug, Error, Explain)]
#[error("links to inquiries are switched off on this node")]
#[explain(slug = "links-off", fault = Forbidden, hint = "log in to answer; the operator switches them on with `inquiries.links` in `ensue.yaml`")]
struct LinksOff;

impl NodeSessions {
    fn sessions(&self) -> &SessionTable {
        &self.table.sessions
    }

    fn ask(&self, actor: Actor, trace: Option<String>, ask: Ask) -> Result<CommitReceipt, SubmitError> {
        self.sequencer.ask(Command { actor, trace, ask })
    }

    /// Opens a session, perhaps for one inquiry only.
    fn open_for(&self, login: &Login, link: Option<&UsedLink>) -> Result<OpenedSession, PortError> {
        let (moment, table) = (self.clock.moment(), self.sessions());
        let directory = self.table.directory();
        let (held, credential) = match login.of {
            LoginOf::Token(token) => (directory.effective_rights(&token, moment.time), Some(token)),
            LoginOf::Identity(identity) => (directory.rights_of(identity, moment.time), None),
        };
        let held = held.map_err(|_| Refusal::CredentialGone)?;
        let latest = moment.time.plus_millis(millis(LIFETIME));
        let until = [held.expires_at, login.ends.by, link.map(|link| link.until)].into_iter().flatten().fold(latest, Timestamp::min);
        let identity = held.identity;
        let id = SessionId(Id::root(moment.time, moment.entropy));
        let now = moment.time.micros();
        let bytes = random()?;
        let secret = match (identity, bytes.first_chunk()) {
            (Some(identity), Some(bytes)) => table.devices.secret(uuid_of(id), Uuid::from_bytes(*identity.0.as_bytes()), bytes),
            (_, _) => Zeroizing::new(hex::encode(*bytes)),
        };
        let family = Family::new(uuid_of(id), *random()?, moment.time);
        let live = Live {
            sha256: (login.form == SessionForm::Cookie).then(|| Sha256::digest(secret.as_bytes()).into()),
            used_at: AtomicI64::new(now),
            stored_at: AtomicI64::new(now),
            agent: login.agent.clone(),
            address: login.address.map(|address| address.to_string()).unwrap_or_default(),
        };
        table.vault.put_all(SealedKind::Session, &[(id.to_string(), live.sealed_form())])?;
        if let Some(at_issuer) = &login.ends.with {
            table.issuer_logins.begin(id, at_issuer)?;
        }
        if login.form == SessionForm::Pair {
            table.vault.put_all(SealedKind::Family, &[(id.to_string(), family.to_stored())])?;
            table.families().insert(id, family.clone());
        }
        table.live.write().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::new(live));
        let (only, link) = (link.map(|link| link.inquiry), link.map(|link| OpenedLink::OfInquiry { id: link.id, digest: link.digest }));
        let link = link.or(login.link.map(OpenedLink::OfLogin));
        let new = NewSession { id, identity, way: login.way.clone(), credential, only, link, until, in_place_of: None };
        let new = NewSession { in_place_of: self.least_recently_used(&new), ..new };
        let actor = match identity {
            Some(identity) => Actor::Identity { id: identity, by: CredentialId::Session(id) },
            None => Actor::Token(held.name),
        };
        let opened = self.ask(actor, login.trace.clone(), Ask::OpenSession(new));
        // If it is unknown whether the session is open, its secrets stay in case it is.
        if matches!(&opened, Err(error) if !matches!(error, SubmitError::Unknown)) {
            table.forget(&[id])?;
        }
        let committed = opened?;
        let secret = match login.form {
            SessionForm::Cookie => SessionSecret::Cookie(Secret::new(secret.as_bytes().to_vec())),
            SessionForm::Pair => SessionSecret::Pair(self.pair(id, &family)?),
        };
        Ok(OpenedSession { id, until, secret, committed })
    }

    /// Returns the session of a holder that was not used for the longest time.
    fn least_recently_used(&self, new: &NewSession) -> Option<SessionId> {
        let directory = self.table.directory();
        let own = directory.sessions().filter(|(_, session)| session.is_of(new.identity, new.credential));
        own.map(|(id, _)| *id).min_by_key(|id| self.sessions().used_at(*id))
    }

    /// Returns the tokens of a family.
    fn pair(&self, id: SessionId, family: &Family) -> Result<Pair, PortError> {
        let now = self.clock.now();
        let directory = self.table.directory();
        let session = directory.session(&id).ok_or(SessionRefusal::Ended)?;
        let of_token = || session.credential.and_then(|token| directory.token(&token)).map(|token| token.name.clone());
        let subject = session.identity.map(|id| id.to_string()).or_else(of_token).unwrap_or_default();
        let claims = AccessClaims {
            issuer: &self.issuer,
            audience: &self.sessions().audience,
            subject: &subject,
            session: uuid_of(id),
            at: family.since(),
        };
        let access = self.sessions().signing_key(now)?.sign(&claims);
        let age = Duration::from_micros(now.micros_since(family.since()).max(0).unsigned_abs());
        let expires_in = ACCESS_TOKEN_LIFETIME.saturating_sub(age).as_secs();
        Ok(Pair { session: id, access, expires_in, refresh: family.token() })
    }

    /// Creates a code that opens a session once, and keeps its hash.
    fn keep_code(&self, asked: &AskedCode, purpose: CodePurpose, moment: Moment) -> Result<(Id, MintedCode), PortError> {
        let id = Id::root(moment.time, moment.entropy);
        let secret = Zeroizing::new(hex::encode(&random()?[..CODE_SECRET_BYTES]));
        let until = moment.time.plus_millis(millis(asked.valid_for));
        let (token, identity) = match asked.of {
            LoginOf::Token(token) => (Some(token), None),
            LoginOf::Identity(identity) => (None, Some(identity)),
        };
        let code = StoredCode {
            sha256: hex::encode(Sha256::digest(secret.as_bytes())),
            token,
            identity,
            way: asked.way.clone(),
            challenge: asked.challenge.clone(),
            until: until.micros(),
            ends_by: asked.ends.by.map(Timestamp::micros),
            at_issuer: StoredAtIssuer::of(asked.ends.with.as_ref()),
            used: CodeState::Fresh,
            purpose,
        };
        self.sessions().keep_code(id, code)?;
        Ok((id, MintedCode { code: Secret::new(format!("{id}_{}", *secret).into_bytes()), until }))
    }

    /// Creates a code of an identity for a purpose.
    pub(crate) fn mint_for(&self, identity: IdentityId, purpose: CodePurpose, until: Timestamp) -> Result<(Id, MintedCode), PortError> {
        self.sessions().mint_for(identity, LINK, purpose, (self.clock.moment(), until))
    }

    /// Returns a code that was not used and has not expired. It is not used up.
    pub(crate) fn valid_code(
        &self,
        code: &Secret,
        verifier: Option<&Secret>,
        is_for: impl Fn(CodePurpose) -> bool,
    ) -> Result<(Id, StoredCode), CodeRefusal> {
        let (id, secret) = std::str::from_utf8(code.reveal()).ok().and_then(|text| text.split_once('_')).ok_or(CodeRefusal::Unknown)?;
        let id: Id = id.parse().map_err(|_| CodeRefusal::Unknown)?;
        let stored = self.sessions().codes().get(&id).cloned().filter(|stored| is_for(stored.purpose)).ok_or(CodeRefusal::Unknown)?;
        let hash = hex::encode(Sha256::digest(secret.as_bytes()));
        let is_right: bool = hash.as_bytes().ct_eq(stored.sha256.as_bytes()).into();
        let is_of_beginner = match (&stored.challenge, verifier) {
            (None, None) => true,
            (Some(challenge), Some(verifier)) => ensue_login::flow::challenge_of(verifier.reveal()) == *challenge,
            _ => false,
        };
        if !is_right || !is_of_beginner {
            return Err(CodeRefusal::Unknown);
        }
        match stored.used {
            CodeState::Used => Err(CodeRefusal::Used),
            CodeState::Expired => Err(CodeRefusal::Expired),
            CodeState::Fresh if Timestamp::from_micros(stored.until) <= self.clock.now() => Err(CodeRefusal::Expired),
            CodeState::Fresh => Ok((id, stored)),
        }
    }

    /// Uses up a code. Of several requests with it, one succeeds.
    pub(crate) fn use_code(&self, id: Id) -> Result<(), PortError> {
        self.set_code(id, CodeState::Used)
    }

    fn set_code(&self, id: Id, used: CodeState) -> Result<(), PortError> {
        let table = self.sessions();
        let mut codes = table.codes();
        let stored = codes.get_mut(&id).ok_or(CodeRefusal::Unknown)?;
        if (stored.used, used) == (CodeState::Used, CodeState::Used) {
            return Err(CodeRefusal::Used.into());
        }
        let changed = StoredCode { used, at_issuer: StoredAtIssuer::None, ..stored.clone() };
        table.vault.put_all(SealedKind::Code, &[(id.to_string(), changed.sealed_form())])?;
        *stored = changed;
        Ok(())
    }

    /// Forgets the codes of an identity for a purpose.
    pub(crate) fn forget_codes_of(&self, identity: IdentityId, purpose: CodePurpose) -> Result<(), VaultError> {
        let table = self.sessions();
        let mut codes = table.codes();
        let is_one = |code: &StoredCode| code.identity == Some(identity) && code.purpose == purpose && code.used == CodeState::Fresh;
        let ids: Vec<Id> = codes.iter().filter(|(_, code)| is_one(code)).map(|(id, _)| *id).collect();
        for id in ids {
            table.vault.destroy(SealedKind::Code, &id.to_string())?;
            codes.remove(&id);
        }
        Ok(())
    }

    fn demand_links(&self) -> Result<(), LinksOff> {
        if self.links == InquiryLinks::On { Ok(()) } else { Err(LinksOff) }
    }

    /// SessionEnds the sessions whose time is over, stores the last uses, and destroys what no session needs. Called every
    /// half a minute.
    pub fn sweep(&self) -> Result<(), PortError> {
        let (now, table) = (self.clock.now(), self.sessions());
        let directory = self.table.directory();
        let mut over: BTreeMap<&str, (SessionEnd, Vec<SessionId>)> = BTreeMap::new();
        for (id, _) in directory.sessions() {
            let used_at = table.used_at(*id).unwrap_or_default();
            let reason = if directory.is_session_over(id, now) {
                SessionEnd::Expired
            } else if used_at.plus_millis(millis(IDLE)) > now {
                continue;
            } else {
                match directory.held_in_session(id, now) {
                    Ok(held) if used_at.plus_millis(millis(idle_after(&held.rights))) > now => continue,
                    Ok(_) => SessionEnd::Idle,
                    Err(_) => SessionEnd::CredentialGone,
                }
            };
            over.entry(reason.as_str()).or_insert((reason, Vec::new())).1.push(*id);
        }
        for (reason, ids) in over.into_values() {
            for sessions in ids.chunks(ENDED_AT_ONCE) {
                self.ask(Actor::Engine, None, Ask::EndSessions { sessions: sessions.to_vec(), reason })?;
            }
        }
        table.store_uses()?;
        let directory = self.table.directory();
        let is_recorded = |id: &SessionId| {
            let made = Timestamp::from_micros(i64::try_from(id.0.unix_millis() * 1_000).unwrap_or(i64::MAX));
            directory.session(id).is_some() || made.plus_millis(millis(UNRECORDED)) > now
        };
        let known: BTreeSet<SessionId> = table.live.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
        let orphans: Vec<SessionId> = known.into_iter().filter(|id| !is_recorded(id)).collect();
        table.forget(&orphans)?;
        Ok(table.forget_codes(now)?)
    }
}

impl Sessions for NodeSessions {
    fn open(&self, login: &Login) -> Result<OpenedSession, PortError> {
        self.open_for(login, None)
    }

    fn refresh(&self, token: &Secret) -> Result<Pair, PortError> {
        let token = std::str::from_utf8(token.reveal()).ok().and_then(RefreshToken::read).ok_or(SessionRefusal::Malformed)?;
        let (id, now, table) = (id_of(token.session()), self.clock.now(), self.sessions());
        let mut families = table.families();
        let family = families.get(&id).cloned().ok_or(SessionRefusal::Ended)?;
        match family.present(&token, now) {
            Err(refusal @ RefreshRefusal::Unknown) => Err(refusal.into()),
            _ if self.table.session(id).is_err() => Err(SessionRefusal::Ended.into()),
            Ok(RefreshOutcome::Again { .. }) => {
                drop(families);
                table.note_use(id, now);
                self.pair(id, &family)
            }
            Ok(RefreshOutcome::Next { family, .. }) => {
                table.vault.put_all(SealedKind::Family, &[(id.to_string(), family.to_stored())])?;
                families.insert(id, family.clone());
                drop(families);
                table.note_use(id, now);
                self.pair(id, &family)
            }
            Err(refusal) => {
                drop(families);
                tracing::warn!(session = %id, "a refresh token was used a second time, so its session ends");
                self.ask(Actor::Engine, None, Ask::EndSessions { sessions: vec![id], reason: SessionEnd::Reuse })?;
                Err(refusal.into())
            }
        }
    }

    fn mint(&self, asked: &AskedCode) -> Result<MintedCode, PortError> {
        self.keep_code(asked, CodePurpose::Login, self.clock.moment()).map(|(_, minted)| minted)
    }

    fn mint_login_link(&self, asked: &AskedLoginLink, by: &OnBehalf) -> Result<(MintedCode, CommitReceipt), PortError> {
        let AskedLoginLink { token, name, valid_for } = asked;
        let moment = self.clock.moment();
        let until = moment.time.plus_millis(millis(*valid_for));
        let new = |id: Id| Ask::MintLoginLink(NewLoginLink { id: LinkId(id), token: *token, name: name.clone(), until });
        let ask = |ask: Ask| self.ask(by.actor.clone(), by.trace.clone(), ask);
        // Nothing is kept for a link that is refused.
        ask(Ask::Check(Box::new(new(Id::root(moment.time, 0)))))?;
        let of = LoginOf::Token(*token);
        let code = AskedCode { of, way: LINK.to_owned(), valid_for: *valid_for, challenge: None, ends: SessionEnds::default() };
        let (id, minted) = self.keep_code(&code, CodePurpose::LoginLink, moment)?;
        let committed = ask(new(id)).inspect_err(|error| self.sessions().forget_unless_unknown(id, error))?;
        Ok((minted, committed))
    }

    fn redeem(&self, code: &Secret, verifier: Option<&Secret>) -> Result<RedeemedCode, PortError> {
        let (id, stored) = self.valid_code(code, verifier, |purpose| matches!(purpose, CodePurpose::Login | CodePurpose::LoginLink))?;
        let of = match (stored.token, stored.identity) {
            (Some(token), _) => LoginOf::Token(token),
            (None, Some(identity)) => LoginOf::Identity(identity),
            (None, None) => return Err(CodeRefusal::Unknown.into()),
        };
        self.use_code(id)?;
        let ends = SessionEnds { by: stored.ends_by.map(Timestamp::from_micros), with: stored.at_issuer.read() };
        let link = (stored.purpose == CodePurpose::LoginLink).then_some(LinkId(id));
        Ok(RedeemedCode { of, way: stored.way, link, ends })
    }

    fn mint_link(&self, link: &AskedInquiryLink, by: &OnBehalf) -> Result<(MintedCode, CommitReceipt), PortError> {
        self.demand_links()?;
        let links = AnswerLinks { table: self.table.clone(), sequencer: self.sequencer.clone(), clock: self.clock.clone() };
        links.mint(link, &by.actor, by.trace.as_deref())
    }

    fn open_link(&self, code: &Secret, from: &LoginFrom) -> Result<OpenedSession, PortError> {
        self.demand_links()?;
        let (id, stored) = self.valid_code(code, None, |purpose| matches!(purpose, CodePurpose::Inquiry { .. }))?;
        let (CodePurpose::Inquiry { id: inquiry, digest }, Some(identity)) = (stored.purpose, stored.identity) else {
            return Err(CodeRefusal::Unknown.into());
        };
        let link = UsedLink { id: LinkId(id), inquiry, digest, until: Timestamp::from_micros(stored.until) };
        self.use_code(id)?;
        self.open_for(&Login::of(LoginOf::Identity(identity), LINK, from), Some(&link)).map_err(|declined| {
            if declined.why.slug() != "inquiry-closed" {
                return declined;
            }
            // It opened nothing, so it is not one that was used.
            self.set_code(id, CodeState::Fresh).map_or_else(|declined| declined, |()| CodeRefusal::Expired.into())
        })
    }

    fn end(&self, sessions: Vec<SessionId>, reason: SessionEnd, by: &OnBehalf) -> Result<CommitReceipt, PortError> {
        let ended = self.ask(by.actor.clone(), by.trace.clone(), Ask::EndSessions { sessions: sessions.clone(), reason })?;
        if let Err(error) = self.sessions().forget(&sessions) {
            tracing::warn!(%error, "the secrets of a session that has ended stay in the vault until the node looks through them");
        }
        Ok(ended)
    }

    fn last_seen(&self, id: SessionId) -> Option<SeenSession> {
        self.sessions().last_seen(id)
    }

    fn public_keys(&self) -> Vec<serde_json::Value> {
        let now = self.clock.now();
        let keys = self.sessions().signing.read().unwrap_or_else(PoisonError::into_inner);
        keys.iter().filter(|key| !key.is_over(now)).map(|key| key.public()).collect()
    }
}
