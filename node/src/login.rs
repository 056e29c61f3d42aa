//! Callers with tokens of issuers: the crate `login` decides whom a token admits, and this module keeps the identities.

mod fetch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ensue_api::ports::{Access as _, AskedLink, Credential, Finding, OnBehalf, PortError};
use ensue_engine::access::facts::SessionEnd;
use ensue_engine::access::subject::Subject;
use ensue_engine::explain::Explain;
use ensue_engine::ids::{IdentityId, SessionId};
use ensue_engine::names::{IssuerName, Names};
use ensue_engine::ports::{CommitReceipt, Secret};
use ensue_engine::record::Actor;
use ensue_engine::time::Timestamp;
use ensue_login::flow::{LoggedIn, LoginRandom, LoginRefusal, LoginRenewal, LoginStart, NotRenewed, Pending};
use ensue_login::logout::{Logout, LogoutRefusal};
use ensue_login::settings::{Client, Renewal, SecretSource};
use ensue_login::{Groups, IssuerIdentity, IssuerSettings, Issuers, LEEWAY, Refusal};
use thiserror::Error;
use url::Url;

use crate::clock::SteppedClock;
use crate::issuer_logins::IssuerLogin;
use crate::key_ring::KeyRing;
use crate::machine::{good, note};
use crate::people::NodePeople;

pub(crate) use fetch::IssuerWeb;

/// The time between two looks at keys that are no longer fresh.
const REFRESH_EVERY: Duration = Duration::from_secs(5);
/// The name of the findings about issuers.
const CHECK: &str = "issuers";
const DAY_MILLIS: u64 = 24 * 60 * 60 * 1_000;

/// An issuer that is not configured.
#[derive(Debug, Error, Explain)]
#[error("`login.issuers` has no issuer `{issuer}`")]
#[explain(slug = "issuer-unknown", fault = Invalid, hint = "use the name that the issuer has in `ensue.yaml`")]
struct NoSuchIssuer {
    issuer: IssuerName,
}

/// What came of a question whether a login is still in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Names)]
pub(crate) enum RenewalOutcome {
    /// It is.
    Renewed,
    /// It has ended.
    Ended,
    /// The issuer did not answer.
    Failed,
}

/// How the questions of this start went.
#[derive(Default)]
struct RenewalStats {
    counts: [AtomicU64; RenewalOutcome::ALL.len()],
    /// Why an issuer did not answer last.
    troubles: Mutex<BTreeMap<IssuerName, String>>,
    /// The issuers that sent no refresh token.
    without_token: Mutex<BTreeSet<IssuerName>>,
}

/// The issuers whose tokens the node accepts.
pub(crate) struct NodeIssuers {
    issuers: Issuers,
    web: IssuerWeb,
    people: Arc<NodePeople>,
    clock: Arc<dyn SteppedClock>,
    /// The other sources of identities.
    others: Vec<IssuerName>,
    /// The day of the last warning that an issuer names no groups.
    warned: Mutex<BTreeMap<IssuerName, u64>>,
    asked: RenewalStats,
}

impl NodeIssuers {
    /// Creates the issuers of the settings. Nothing is fetched: the first use does that.
    pub(crate) fn new(
        (issuers, others): (Issuers, Vec<IssuerName>),
        web: IssuerWeb,
        people: Arc<NodePeople>,
        clock: Arc<dyn SteppedClock>,
    ) -> Self {
        Self { issuers, others, web, people, clock, warned: Mutex::default(), asked: RenewalStats::default() }
    }

    /// Fetches keys that are in use and no longer fresh, until the runtime ends.
    pub(crate) async fn keep_fresh(self: Arc<Self>) {
        if self.issuers.settings().next().is_none() {
            return;
        }
        let mut ticks = tokio::time::interval(REFRESH_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut troubles = Vec::new();
        loop {
            ticks.tick().await;
            let issuers = self.clone();
            let refreshed = tokio::task::spawn_blocking(move || {
                issuers.issuers.refresh(issuers.clock.now(), &issuers.web);
                issuers.issuers.troubles()
            });
            let Ok(now) = refreshed.await else { return };
            for (issuer, why) in now.iter().filter(|trouble| !troubles.contains(*trouble)) {
                tracing::warn!(%issuer, why, "the keys of an issuer cannot be fetched");
            }
            troubles = now;
        }
    }

    /// Reports issuers whose keys cannot be fetched or used, client secrets that are not set, and grants to groups of
    /// issuers that left the settings or whose sessions last long.
    pub(crate) fn findings(&self, keys: &KeyRing) -> Vec<Finding> {
        let mut findings = Vec::new();
        for settings in self.issuers.settings() {
            if let Some(SecretSource::Key(key)) = settings.client.as_ref().and_then(|client| client.secret.as_ref())
                && matches!(keys.open(key), Ok(None))
            {
                let message = format!("nobody can log in through the issuer `{}`: its `client_secret` is not set", settings.name);
                findings.push(note(CHECK, &message, &format!("set it with `ensue keys set {key}`")));
            }
        }
        for (issuer, why) in self.issuers.troubles() {
            let message = format!("the keys of the issuer `{issuer}` cannot be fetched: {why}");
            let hint = "known keys count for 24 hours; check that the node reaches the issuer, and `login.issuers` in `ensue.yaml`";
            findings.push(note(CHECK, &message, hint));
        }
        for (issuer, left_out) in self.issuers.keys_left_out() {
            let message = format!("key {} that the issuer `{issuer}` publishes is not used: {}", left_out.index + 1, left_out.fault);
            findings.push(note(
                CHECK,
                &message,
                "tokens that it signs are refused; nothing needs to be done if the issuer signs with others",
            ));
        }
        let is_known = |name: &str| name.parse().is_ok_and(|name| self.is_way_in(&name));
        let directory = self.people.table.directory();
        let named: BTreeSet<&str> = directory.grants().filter_map(|(_, grant)| issuer_of(&grant.subject)).collect();
        for (issuer, why) in open(&self.asked.troubles).iter() {
            let message = format!("logins through the issuer `{issuer}` cannot be renewed: {why}");
            let hint = "their sessions continue, and the node asks again; check that the node reaches the issuer";
            findings.push(note(CHECK, &message, hint));
        }
        for issuer in open(&self.asked.without_token).iter() {
            let message = format!("logins through the issuer `{issuer}` are not renewed: it sends no refresh token");
            let hint = "allow it for the client at the issuer, or add the scope `offline_access` to `scopes`, then log in again";
            findings.push(note(CHECK, &message, hint));
        }
        let lasts = |settings: &&IssuerSettings| {
            settings.client.as_ref().is_some_and(|client| client.renewal == Renewal::Never) && settings.session_max.is_none()
        };
        for settings in self.issuers.settings().filter(lasts) {
            if named.contains(settings.name.as_str()) {
                let message = format!("groups of the issuer `{}` have grants, and a login through it lasts up to 30 days", settings.name);
                let hint = "groups change with the next login only; set `refresh: true` or shorten the sessions with `session_max` in `ensue.yaml`";
                findings.push(note(CHECK, &message, hint));
            }
        }
        for gone in named.into_iter().filter(|name| !is_known(name)) {
            let message = format!("grants name groups of the issuer `{gone}`, which `login.issuers` does not have");
            let hint = "identities keep the groups that it named; remove the grants with `ensue grants remove`, or add the issuer";
            findings.push(note(CHECK, &message, hint));
        }
        let count = self.issuers.settings().count();
        if findings.is_empty() && count > 0 {
            findings.push(good(CHECK, &format!("{count} issuers are configured, and none of those that were asked has failed")));
        }
        findings
    }

    /// Returns true if the settings have an issuer, or another source of identities, of this name.
    fn is_way_in(&self, name: &IssuerName) -> bool {
        self.others.contains(name) || self.issuers.settings().any(|settings| settings.name == *name)
    }

    /// Warns once a day for each issuer whose settings read groups that its tokens do not have.
    fn note_groups(&self, admitted: &IssuerIdentity, now: Timestamp) {
        let reads_groups = |issuer: &&IssuerSettings| issuer.name == admitted.issuer && issuer.reads_groups();
        if admitted.groups != Groups::NotSaid || self.issuers.settings().find(reads_groups).is_none() {
            return;
        }
        let today = now.unix_millis() / DAY_MILLIS;
        let mut warned = open(&self.warned);
        if warned.insert(admitted.issuer.clone(), today) != Some(today) {
            tracing::warn!(issuer = %admitted.issuer, "a token of an issuer names no groups, so the groups of its identity stay as they are");
        }
    }

    /// Names the issuers through which people log in.
    pub(crate) fn of_browsers(&self) -> Vec<IssuerName> {
        self.issuers.settings().filter(|settings| settings.client.is_some()).map(|settings| settings.name.clone()).collect()
    }

    /// Returns the client of the node at an issuer, if people log in through it.
    pub(crate) fn client(&self, issuer: &IssuerName) -> Option<&Client> {
        self.issuers.settings().find(|settings| settings.name == *issuer)?.client.as_ref()
    }

    /// Ends the sessions that came in by issuers through which people no longer log in.
    pub(crate) fn end_sessions_of_removed(&self) -> Result<(), PortError> {
        let known = self.of_browsers();
        let is_gone = |issuer: &str| !known.iter().any(|known| known.as_str() == issuer);
        let directory = self.people.table.directory();
        let gone = directory.sessions().filter(|(_, session)| session.issuer().is_some_and(is_gone)).map(|(id, _)| *id);
        let depending = self.people.table.sessions.issuer_logins.sessions_of(|login| is_gone(login.issuer.as_str()));
        let gone: BTreeSet<SessionId> = gone.chain(depending).collect();
        if !gone.is_empty() {
            tracing::warn!(sessions = gone.len(), "the sessions end whose issuers `login.issuers` no longer has for browsers");
        }
        self.people.end_sessions(&gone.into_iter().collect::<Vec<_>>(), SessionEnd::CredentialGone, &Actor::Engine)
    }

    /// Returns true if logins through an issuer are renewed.
    pub(crate) fn is_renewed(&self, issuer: &IssuerName) -> bool {
        self.client(issuer).is_some_and(|client| client.renewal == Renewal::Hourly)
    }

    /// Asks an issuer whether a login is still in force.
    pub(crate) fn renew(
        &self,
        login: &IssuerLogin,
        refresh: &Secret,
        secret: Option<&Secret>,
        now: Timestamp,
    ) -> Result<LoginRenewal, NotRenewed> {
        self.issuers.renew_login(&login.issuer, &login.subject, refresh, secret, now, &self.web)
    }

    /// Ends the sessions that a logout token of an issuer names.
    pub(crate) fn log_out(&self, issuer: &IssuerName, token: &Secret) -> Result<(), PortError> {
        let text = std::str::from_utf8(token.reveal()).unwrap_or_default();
        let logout = self.issuers.log_out(issuer, text, self.clock.now(), &self.web).inspect_err(|refusal| {
            if let LogoutRefusal::Invalid(fault) = refusal {
                tracing::debug!(%issuer, %fault, "a logout token is not valid");
            }
        })?;
        let Logout { subject, session, .. } = &logout;
        let is_named = |login: &IssuerLogin| {
            let is_subject = subject.as_ref().is_none_or(|subject| login.subject == *subject);
            login.issuer == *issuer && is_subject && session.as_ref().is_none_or(|session| login.issuer_session.as_ref() == Some(session))
        };
        let mut ended: BTreeSet<SessionId> = self.people.table.sessions.issuer_logins.sessions_of(is_named).into_iter().collect();
        if let (None, Some(subject)) = (session, subject)
            && let Some(identity) = self.people.table.identity_of(issuer, subject)
        {
            let directory = self.people.table.directory();
            let own = directory.sessions().filter(|(_, one)| one.identity == Some(identity) && one.issuer() == Some(issuer.as_str()));
            ended.extend(own.map(|(id, _)| *id));
        }
        self.people.end_by_issuer(issuer, ended).inspect_err(|_| self.issuers.not_logged_out(&logout))
    }

    /// Returns true if the issuer of a login is still a way in for its identity.
    pub(crate) fn is_known(&self, login: &IssuerLogin) -> bool {
        self.people.table.identity_of(&login.issuer, &login.subject) == Some(login.identity)
    }

    /// Sets the groups that an issuer names for an identity that is known.
    pub(crate) fn set_groups_of(&self, id: IdentityId, admitted: &IssuerIdentity, now: Timestamp) -> Result<(), PortError> {
        self.note_groups(admitted, now);
        self.people.set_groups_of(id, admitted)
    }

    /// Counts the renewal of a login.
    pub(crate) fn note_renewal(&self, issuer: &IssuerName, outcome: RenewalOutcome) {
        self.asked.counts[outcome as usize].fetch_add(1, Ordering::Relaxed);
        if outcome != RenewalOutcome::Failed && open(&self.asked.troubles).remove(issuer).is_some() {
            tracing::info!(%issuer, "logins through an issuer can be renewed again");
        }
    }

    /// Notes that an issuer could not be asked about a login; warns the first time.
    pub(crate) fn note_trouble(&self, issuer: &IssuerName, why: &str) {
        if open(&self.asked.troubles).insert(issuer.clone(), why.to_owned()).is_none() {
            tracing::warn!(%issuer, why, "logins through an issuer cannot be renewed; their sessions continue, and the node asks again");
        }
    }

    /// Notes whether an issuer whose logins are to be renewed sent a refresh token.
    pub(crate) fn note_refresh_token(&self, issuer: &IssuerName, token: Option<&Secret>) {
        if token.is_some() {
            open(&self.asked.without_token).remove(issuer);
        } else if open(&self.asked.without_token).insert(issuer.clone()) {
            tracing::warn!(%issuer, "an issuer sends no refresh token, so logins through it cannot be renewed");
        }
    }

    /// Returns the numbers of renewals since the start, by their outcome.
    pub(crate) fn renewals(&self) -> [(RenewalOutcome, u64); RenewalOutcome::ALL.len()] {
        RenewalOutcome::ALL.map(|outcome| (outcome, self.asked.counts[outcome as usize].load(Ordering::Relaxed)))
    }

    /// Starts a login through an issuer.
    pub(crate) fn start_login(
        &self,
        issuer: &IssuerName,
        redirect_uri: &Url,
        random: &LoginRandom,
        now: Timestamp,
    ) -> Result<LoginStart, LoginRefusal> {
        self.issuers.start_login(issuer, redirect_uri, random, now, &self.web)
    }

    /// Ends a login with the callback of its issuer.
    pub(crate) fn finish_login(
        &self,
        issuer: &IssuerName,
        pending: Pending,
        query: &str,
        secret: Option<&Secret>,
        now: Timestamp,
    ) -> Result<LoggedIn, LoginRefusal> {
        let finished = self.issuers.finish_login(issuer, pending, query, secret, now, &self.web);
        finished.inspect_err(|refusal| tracing::debug!(%issuer, %refusal, "a login through an issuer failed"))
    }

    /// Returns the identity that an issuer admits. Adds it if it is new.
    pub(crate) fn admit(&self, admitted: &IssuerIdentity, now: Timestamp) -> Result<IdentityId, PortError> {
        self.note_groups(admitted, now);
        self.people.admit(admitted)
    }

    fn credential(&self, identity: IdentityId, admitted: IssuerIdentity) -> Credential {
        let leeway = u64::try_from(LEEWAY.as_millis()).unwrap_or(u64::MAX);
        Credential::Issuer { identity, issuer: admitted.issuer, until: admitted.until.plus_millis(leeway) }
    }
}

impl ensue_api::ports::Issuers for NodeIssuers {
    fn cached_credential(&self, token: &str) -> Option<Credential> {
        let admitted = self.issuers.find_checked(token, self.clock.now())?;
        let identity = self.people.table.identity_of(&admitted.issuer, &admitted.subject)?;
        Some(self.credential(identity, admitted))
    }

    fn verify(&self, token: &str) -> Result<Option<Credential>, PortError> {
        let now = self.clock.now();
        let admitted = match self.issuers.admit(token, now, &self.web) {
            Ok(admitted) => admitted,
            Err(Refusal::IssuerUnknown) => return Ok(None),
            Err(refusal) => {
                if let Refusal::TokenInvalid(fault) = &refusal {
                    tracing::debug!(%fault, "a signed token is not valid");
                }
                return Err(refusal.into());
            }
        };
        let identity = self.admit(&admitted, now)?;
        Ok(Some(self.credential(identity, admitted)))
    }

    fn link(&self, id: IdentityId, link: &AskedLink, by: &OnBehalf) -> Result<CommitReceipt, PortError> {
        if !self.is_way_in(&link.issuer) {
            return Err(NoSuchIssuer { issuer: link.issuer.clone() }.into());
        }
        self.people.link(id, link, by)
    }

    fn unlink(&self, id: IdentityId, issuer: &IssuerName, by: &OnBehalf) -> Result<CommitReceipt, PortError> {
        self.people.unlink(id, issuer, by)
    }
}

/// Locks, even if a thread panicked with the lock: what it guards is changed in one step each.
fn open<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the issuer of the group that a grant is to.
fn issuer_of(subject: &Subject) -> Option<&str> {
    match subject {
        Subject::Group(group) => group.as_str().split_once(':').map(|(issuer, _)| issuer),
        Subject::Identity(_) | Subject::Everyone => None,
    }
}
