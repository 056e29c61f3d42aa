//! Callers with tokens of issuers: the crate `login` decides whom a token admits, and this module keeps the identities.

mod fetch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ensue_api::ports::{Access as _, AskedLink, Credential, Declined, Finding, OnBehalf};
use ensue_engine::access::subject::Subject;
use ensue_engine::explain::Explain;
use ensue_engine::ids::IdentityId;
use ensue_engine::names::IssuerName;
use ensue_engine::ports::{Committed, Secret};
use ensue_engine::time::Timestamp;
use ensue_login::flow::{LoggedIn, LoginRandom, LoginRefusal, Pending, Started};
use ensue_login::settings::{Client, SecretSource};
use ensue_login::{Admitted, Groups, Issuers, LEEWAY, Refusal};
use thiserror::Error;
use url::Url;

use crate::clock::Clock;
use crate::keys::KeyRing;
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

/// The issuers whose tokens the node accepts.
pub(crate) struct NodeIssuers {
    issuers: Issuers,
    web: IssuerWeb,
    people: Arc<NodePeople>,
    clock: Arc<dyn Clock>,
    /// The day of the last warning that an issuer names no groups.
    warned: Mutex<BTreeMap<IssuerName, u64>>,
}

impl NodeIssuers {
    /// Creates the issuers of the settings. Nothing is fetched: the first use does that.
    pub(crate) fn new(issuers: Issuers, web: IssuerWeb, people: Arc<NodePeople>, clock: Arc<dyn Clock>) -> Self {
        Self { issuers, web, people, clock, warned: Mutex::default() }
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
        let is_known = |name: &str| self.issuers.settings().any(|settings| settings.name.as_str() == name);
        let directory = self.people.table.directory();
        let named: BTreeSet<&str> = directory.grants().filter_map(|(_, grant)| issuer_of(&grant.subject)).collect();
        for settings in self.issuers.settings().filter(|settings| settings.client.is_some() && settings.session_max.is_none()) {
            if named.contains(settings.name.as_str()) {
                let message = format!("groups of the issuer `{}` have grants, and a login through it lasts up to 30 days", settings.name);
                let hint = "groups change with the next login only; shorten the sessions with `session_max` in `ensue.yaml`";
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

    /// Warns once a day for each issuer whose settings read groups that its tokens do not have.
    fn note_groups(&self, admitted: &Admitted, now: Timestamp) {
        let reads_groups = |issuer: &&ensue_login::IssuerSettings| issuer.name == admitted.issuer && issuer.reads_groups();
        if admitted.groups != Groups::NotSaid || self.issuers.settings().find(reads_groups).is_none() {
            return;
        }
        let today = now.unix_millis() / DAY_MILLIS;
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// Starts a login through an issuer.
    pub(crate) fn start_login(
        &self,
        issuer: &IssuerName,
        redirect_uri: &Url,
        random: &LoginRandom,
        now: Timestamp,
    ) -> Result<Started, LoginRefusal> {
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
    pub(crate) fn admit(&self, admitted: &Admitted, now: Timestamp) -> Result<IdentityId, Declined> {
        self.note_groups(admitted, now);
        self.people.admit(admitted)
    }

    fn credential(&self, identity: IdentityId, admitted: Admitted) -> Credential {
        let leeway = u64::try_from(LEEWAY.as_millis()).unwrap_or(u64::MAX);
        Credential::Issuer { identity, issuer: admitted.issuer, until: admitted.until.plus_millis(leeway) }
    }
}

impl ensue_api::ports::Issuers for NodeIssuers {
    fn verified(&self, token: &str) -> Option<Credential> {
        let admitted = self.issuers.known(token, self.clock.now())?;
        let identity = self.people.table.identity_of(&admitted.issuer, &admitted.subject)?;
        Some(self.credential(identity, admitted))
    }

    fn verify(&self, token: &str) -> Result<Option<Credential>, Declined> {
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

    fn link(&self, id: IdentityId, link: &AskedLink, by: &OnBehalf) -> Result<Committed, Declined> {
        if !self.issuers.settings().any(|settings| settings.name == link.issuer) {
            return Err(NoSuchIssuer { issuer: link.issuer.clone() }.into());
        }
        self.people.link(id, link, by)
    }

    fn unlink(&self, id: IdentityId, issuer: &IssuerName, by: &OnBehalf) -> Result<Committed, Declined> {
        self.people.unlink(id, issuer, by)
    }
}

/// Returns the issuer of the group that a grant is to.
fn issuer_of(subject: &Subject) -> Option<&str> {
    match subject {
        Subject::Group(group) => group.as_str().split_once(':').map(|(issuer, _)| issuer),
        Subject::Identity(_) | Subject::Everyone => None,
    }
}
