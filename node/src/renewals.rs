//! Renewal of logins through issuers: each hour, the node asks the issuer of a login whether the login is still in
//! force, and for which identity.
//!
//! No request waits for it. The crate `login` decides what an answer means.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ensue_api::ports::{OnBehalf, Sessions as _};
use ensue_engine::access::facts::SessionEnd;
use ensue_engine::ids::SessionId;
use ensue_engine::ports::Secret;
use ensue_engine::record::{Actor, CredentialId};
use ensue_engine::time::Timestamp;
use ensue_login::flow::{LoginRenewal, NotRenewed, RenewRefusal};
use tokio::task::JoinSet;

use crate::clock::SteppedClock;
use crate::issuer_logins::{IssuerLogin, IssuerLogins, next_question};
use crate::login::{NodeIssuers, RenewalOutcome};
use crate::logins::NodeLogins;
use crate::session_table::millis;
use crate::sessions::NodeSessions;

/// The time until a question that was not answered is asked again.
const AGAIN_AFTER: Duration = Duration::from_secs(2 * 60);
/// The time between two looks at what is due.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The maximum number of questions at once.
const AT_ONCE: usize = 4;

/// Renews logins.
pub(crate) struct Renewals {
    issuers: Arc<NodeIssuers>,
    logins: Arc<NodeLogins>,
    sessions: Arc<NodeSessions>,
    clock: Arc<dyn SteppedClock>,
}

impl Renewals {
    /// Creates the renewals of a node.
    pub(crate) fn new(
        issuers: Arc<NodeIssuers>,
        logins: Arc<NodeLogins>,
        sessions: Arc<NodeSessions>,
        clock: Arc<dyn SteppedClock>,
    ) -> Self {
        Self { issuers, logins, sessions, clock }
    }

    /// Renews what is due, until the runtime ends.
    pub(crate) async fn keep_up(self: Arc<Self>) {
        if let Err(error) = self.issuer_logins().stop_asking(|issuer| self.issuers.is_renewed(issuer)) {
            tracing::warn!(%error, "refresh tokens of issuers that are no longer asked stay in the vault until the next start");
        }
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            // An issuer that does not answer must not hold up the others.
            let mut resting = BTreeSet::new();
            'look: loop {
                let due = self.issuer_logins().due(self.clock.now(), AT_ONCE, &resting);
                if due.is_empty() {
                    break;
                }
                let mut asked = JoinSet::new();
                for (first, login) in due {
                    let (renewals, issuer) = (self.clone(), login.issuer.clone());
                    asked.spawn_blocking(move || (issuer, renewals.renew(first, &login)));
                }
                while let Some(ended) = asked.join_next().await {
                    match ended {
                        Ok((_, RenewalOutcome::Renewed | RenewalOutcome::Ended)) => {}
                        Ok((issuer, RenewalOutcome::Failed)) => drop(resting.insert(issuer)),
                        Err(ended) if ended.is_cancelled() => return,
                        Err(_) => {
                            tracing::error!("the renewal of a login broke off; the node tries again");
                            break 'look;
                        }
                    }
                }
            }
        }
    }

    fn issuer_logins(&self) -> &IssuerLogins {
        &self.sessions.table.sessions.issuer_logins
    }

    /// Asks about one login, and does what follows from the answer.
    fn renew(&self, first: SessionId, login: &IssuerLogin) -> RenewalOutcome {
        let IssuerLogin { issuer, refresh, .. } = login;
        let Some(refresh) = refresh else { return RenewalOutcome::Renewed };
        if !self.issuers.is_known(login) {
            return self.end(login, SessionEnd::CredentialGone, "the identity is not linked to the issuer");
        }
        let now = self.clock.now();
        let asked = match self.logins.client_secret(issuer) {
            Ok(secret) => self.issuers.renew(login, refresh, secret.as_ref(), now).map_err(|NotRenewed { why, refresh_token }| {
                let ended = matches!(why, RenewRefusal::Ended { .. });
                (ended, why.to_string(), refresh_token)
            }),
            Err(error) => Err((false, error.to_string(), None)),
        };
        let outcome = match asked {
            Ok(LoginRenewal { admitted, refresh_token }) => {
                self.keep(first, refresh_token, next_question(now));
                match admitted.map(|admitted| self.issuers.set_groups_of(login.identity, &admitted, now)) {
                    None | Some(Ok(())) => RenewalOutcome::Renewed,
                    Some(Err(declined)) => self.later(first, login, None, &declined.why.to_string()),
                }
            }
            Err((true, why, _)) => self.end(login, SessionEnd::IssuerEnded, &why),
            Err((false, why, successor)) => self.later(first, login, successor, &why),
        };
        self.issuers.note_renewal(issuer, outcome);
        outcome
    }

    /// Stores the successor of a refresh token: the old one no longer counts.
    fn keep(&self, first: SessionId, successor: Option<Secret>, ask_at: Timestamp) {
        if let Err(error) = self.issuer_logins().note_next_ask(first, successor, ask_at) {
            tracing::error!(%error, "a refresh token of an issuer cannot be stored; if the node restarts before it can, the login ends");
        }
    }

    fn later(&self, first: SessionId, login: &IssuerLogin, successor: Option<Secret>, why: &str) -> RenewalOutcome {
        self.keep(first, successor, self.clock.now().plus_millis(millis(AGAIN_AFTER)));
        self.issuers.note_trouble(&login.issuer, why);
        RenewalOutcome::Failed
    }

    fn end(&self, login: &IssuerLogin, reason: SessionEnd, why: &str) -> RenewalOutcome {
        tracing::info!(issuer = %login.issuer, why, "a login through an issuer has ended");
        let actor = Actor::Identity { id: login.identity, by: CredentialId::Issuer(login.issuer.clone()) };
        let by = OnBehalf { actor, trace: None, request: None };
        match self.sessions.end(login.sessions.iter().copied().collect(), reason, &by) {
            Ok(_) => RenewalOutcome::Ended,
            Err(declined) => {
                tracing::warn!(why = %declined.why, "the sessions of a login that its issuer has ended cannot be ended; the node tries again");
                RenewalOutcome::Failed
            }
        }
    }
}
