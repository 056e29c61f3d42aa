//! Senders of webhooks for whom an authority vouches: Amazon SNS, an issuer of tokens, the authority of a client certificate.
//!
//! The crates `sensors` and `login` decide what counts. This module fetches certificates and keys, within limits, and keeps
//! the questions of Amazon SNS until an operator confirms them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use ensue_api::ports::ConfirmedTopic;
use ensue_engine::catalog::{JwtVerify, MtlsVerify, SnsVerify, Vouched};
use ensue_engine::explain::Explain;
use ensue_engine::names::SensorRef;
use ensue_engine::ports::{HookPeer, HookRequest};
use ensue_engine::time::Timestamp;
use ensue_login::certificates::Certificate;
use ensue_login::fetch::{HostBy, Method, Request};
use ensue_login::senders::Senders;
use ensue_login::{Fetch, Refusal};
use ensue_sensors::signatures::SignatureRefusal;
use ensue_sensors::sns::{self, Kind, Message};
use thiserror::Error;
use url::Url;

/// How long a certificate of Amazon SNS is used before it is fetched again.
const CERTIFICATE_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long a certificate that cannot be fetched is not asked for again.
const FETCH_INTERVAL: Duration = Duration::from_secs(30);
/// The maximum number of certificates that are held.
const CERTIFICATES_MAX: usize = 64;
/// The maximum number of certificates that are fetched at once.
const FETCHES_MAX: usize = 8;
/// The maximum number of certificates that nobody has asked for before and that are fetched in a minute. Their URLs are in
/// messages that are not verified yet.
const NEW_IN_A_MINUTE_MAX: u32 = 20;
/// How long Amazon SNS accepts the confirmation of a subscription.
const CONFIRMATION_AGE_MAX: Duration = Duration::from_secs(3 * 24 * 3600);
/// The maximum number of subscriptions that wait to be confirmed.
const CONFIRMATIONS_MAX: usize = 256;

/// Why no subscription is confirmed.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
pub(crate) enum ConfirmError {
    /// Amazon SNS has asked nothing since the node started.
    #[error("no subscription waits to be confirmed at the hook `{0}`")]
    #[explain(slug = "nothing-to-confirm", fault = Conflict,
        hint = "create the subscription in Amazon SNS, or choose \"Request confirmation\" there; a restart of the node forgets the question")]
    Nothing(SensorRef),
    /// The request failed.
    #[error("the subscription to `{topic}` cannot be confirmed: {why}")]
    #[explain(slug = "confirmation-failed", fault = Unavailable, hint = "try again; request a new confirmation in Amazon SNS if it has expired")]
    Failed {
        /// The topic.
        topic: String,
        /// What happened.
        why: String,
    },
}

/// Asks authorities about senders.
#[derive(Default)]
pub struct HookSenders {
    web: OnceLock<Box<dyn Fetch>>,
    issuers: Senders,
    certificates: Mutex<Certificates>,
    fetches: AtomicUsize,
    asked: Mutex<BTreeMap<(SensorRef, String), Asked>>,
}

/// A question of Amazon SNS whether a hook wants the messages of a topic.
struct Asked {
    at: Timestamp,
    url: Url,
}

#[derive(Default)]
struct Certificates {
    by_url: BTreeMap<Url, Held>,
    /// The minute in which new URLs were counted last, and their number.
    new: (u64, u32),
}

/// A certificate, and when it was asked for.
struct Held {
    certificate: Result<Arc<sns::Certificate>, String>,
    at: Timestamp,
    /// Whether it has verified a message.
    is_good: bool,
}

impl HookSenders {
    /// Sets the way to certificates and keys.
    pub(crate) fn connect(&self, web: Box<dyn Fetch>) {
        // A node connects once.
        let _ = self.web.set(web);
    }

    /// Returns whether the authority that a hook names vouches for the sender of a delivery. May wait for a certificate or for keys,
    /// unless the hook demands client certificates.
    pub(crate) fn vouch(&self, vouched: &Vouched, request: &HookRequest, now: Timestamp) -> Result<(), SignatureRefusal> {
        match vouched {
            Vouched::Sns(sns) => self.sns(sns, request, now),
            Vouched::Jwt(jwt) => self.jwt(jwt, request, now),
            Vouched::Mtls(mtls) => by_certificate(mtls, request),
        }
    }

    fn web(&self) -> Result<&dyn Fetch, SignatureRefusal> {
        let not_yet = || SignatureRefusal::CannotAsk { why: "the node is starting".to_owned() };
        self.web.get().map(|web| &**web).ok_or_else(not_yet)
    }

    fn jwt(&self, jwt: &JwtVerify, request: &HookRequest, now: Timestamp) -> Result<(), SignatureRefusal> {
        let mut given = request.headers.iter().filter(|(name, _)| name == "authorization").map(|(_, value)| value.as_str());
        let header = match (given.next(), given.count()) {
            (Some(header), 0) => header,
            (None, _) => return Err(SignatureRefusal::Missing { header: "authorization".to_owned() }),
            (Some(_), more) => return Err(SignatureRefusal::Repeated { header: "authorization".to_owned(), times: more + 1 }),
        };
        let token = header.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
        let token = token
            .ok_or_else(|| SignatureRefusal::Malformed { header: "authorization".to_owned(), form: "`Bearer` and a token".to_owned() })?;
        self.issuers.verify(jwt, token, now, self.web()?).map(drop).map_err(|refusal| match refusal {
            Refusal::IssuerUnavailable { why, .. } => SignatureRefusal::CannotAsk { why: format!("the issuer {}: {why}", jwt.issuer) },
            Refusal::TokenInvalid(fault) => SignatureRefusal::NotVouched { why: fault.to_string() },
            Refusal::IssuerUnknown => SignatureRefusal::NotVouched { why: "the token is of another issuer".to_owned() },
            other => SignatureRefusal::NotVouched { why: other.to_string() },
        })
    }

    fn sns(&self, accepted: &SnsVerify, request: &HookRequest, now: Timestamp) -> Result<(), SignatureRefusal> {
        let message = Message::read(accepted, &request.body)?;
        let certificate = self.certificate(message.certificate(), now)?;
        message.check(&certificate, now)?;
        if let Some(held) = open(&self.certificates).by_url.get_mut(message.certificate()) {
            held.is_good = true;
        }
        if let (Kind::SubscriptionConfirmation, Some(url)) = (message.kind(), message.subscribe()) {
            let mut asked = open(&self.asked);
            asked.retain(|_, asked| is_within(asked.at, now, CONFIRMATION_AGE_MAX));
            let key = (request.sensor.clone(), message.topic().to_owned());
            if asked.len() < CONFIRMATIONS_MAX || asked.contains_key(&key) {
                tracing::info!(sensor = %request.sensor, topic = message.topic(), "Amazon SNS asks to confirm a subscription");
                asked.insert(key, Asked { at: now, url: url.clone() });
            }
        }
        Ok(())
    }

    /// Returns the certificate at a URL: the one that is held, or the fetched one.
    fn certificate(&self, url: &Url, now: Timestamp) -> Result<Arc<sns::Certificate>, SignatureRefusal> {
        let cannot = |why: &str| SignatureRefusal::CannotAsk { why: why.to_owned() };
        {
            let mut certificates = open(&self.certificates);
            if let Some(held) = certificates.by_url.get(url) {
                let age_max = if held.certificate.is_ok() { CERTIFICATE_AGE_MAX } else { FETCH_INTERVAL };
                if is_within(held.at, now, age_max) {
                    return held.certificate.clone().map_err(|why| cannot(&why));
                }
            }
            if !certificates.by_url.get(url).is_some_and(|held| held.is_good) {
                certificates.count_new(now).map_err(cannot)?;
            }
        }
        let web = self.web()?;
        if self.fetches.fetch_add(1, Ordering::AcqRel) >= FETCHES_MAX {
            self.fetches.fetch_sub(1, Ordering::AcqRel);
            return Err(cannot("too many certificates are being fetched"));
        }
        let fetched = fetch(web, url);
        self.fetches.fetch_sub(1, Ordering::AcqRel);
        open(&self.certificates).hold(url, fetched.map(Arc::new), now).map_err(|why| cannot(&why))
    }

    /// Confirms the subscriptions that wait at a hook. Waits for Amazon SNS.
    pub(crate) fn confirm(&self, sensor: &SensorRef, now: Timestamp) -> Result<Vec<ConfirmedTopic>, ConfirmError> {
        let waiting: Vec<(String, Url)> = {
            let mut asked = open(&self.asked);
            asked.retain(|_, asked| is_within(asked.at, now, CONFIRMATION_AGE_MAX));
            asked.iter().filter(|((of, _), _)| of == sensor).map(|((_, topic), asked)| (topic.clone(), asked.url.clone())).collect()
        };
        if waiting.is_empty() {
            return Err(ConfirmError::Nothing(sensor.clone()));
        }
        let mut confirmed = Vec::new();
        for (topic, url) in waiting {
            let failed = |why: String| ConfirmError::Failed { topic: topic.clone(), why };
            let web = self.web().map_err(|why| failed(why.to_string()))?;
            get(web, &url).map_err(failed)?;
            open(&self.asked).remove(&(sensor.clone(), topic.clone()));
            confirmed.push(ConfirmedTopic { topic });
        }
        Ok(confirmed)
    }
}

impl Certificates {
    /// Counts a URL that has verified nothing yet.
    fn count_new(&mut self, now: Timestamp) -> Result<(), &'static str> {
        let minute = now.unix_millis() / 60_000;
        if self.new.0 != minute {
            self.new = (minute, 0);
        }
        if self.new.1 >= NEW_IN_A_MINUTE_MAX {
            return Err("too many unknown certificates were named in the last minute");
        }
        self.new.1 += 1;
        Ok(())
    }

    /// Holds what was fetched.
    fn hold(&mut self, url: &Url, fetched: Result<Arc<sns::Certificate>, String>, now: Timestamp) -> Result<Arc<sns::Certificate>, String> {
        let before = self.by_url.remove(url);
        if before.is_none() && self.by_url.len() >= CERTIFICATES_MAX {
            // What has verified nothing goes first, and of these the oldest.
            let oldest = self.by_url.iter().min_by_key(|(_, held)| (held.is_good, held.at)).map(|(url, _)| url.clone());
            oldest.and_then(|url| self.by_url.remove(&url));
        }
        let is_good = before.as_ref().is_some_and(|held| held.is_good);
        self.by_url.insert(url.clone(), Held { certificate: fetched.clone(), at: now, is_good });
        fetched
    }
}

fn get(web: &dyn Fetch, url: &Url) -> Result<Vec<u8>, String> {
    let request = Request { url: url.clone(), host_by: HostBy::Issuer, method: Method::Get, ca: None };
    let host = url.host_str().unwrap_or_default();
    let response = web.fetch(&request).map_err(|error| format!("{host}: {error}"))?;
    if response.status == 200 { Ok(response.body) } else { Err(format!("{host}: the status is {}", response.status)) }
}

fn fetch(web: &dyn Fetch, url: &Url) -> Result<sns::Certificate, String> {
    sns::Certificate::read(&get(web, url)?)
}

/// Checks the client certificate of a delivery, or what a trusted proxy reports of it.
fn by_certificate(mtls: &MtlsVerify, request: &HookRequest) -> Result<(), SignatureRefusal> {
    let not_vouched = |why: &str| SignatureRefusal::NotVouched { why: why.to_owned() };
    let is_known = |name: &str| mtls.names.iter().any(|known| known == name) || mtls.fingerprints.iter().any(|known| *known == name);
    let Some(header) = &mtls.header else {
        let der = request.connection.certificate.as_deref();
        let der = der.ok_or_else(|| not_vouched("the sender showed no client certificate that the node's TLS accepts"))?;
        let certificate = Certificate::read(der).map_err(|error| not_vouched(&error.why))?;
        let is_one =
            is_known(&certificate.subject) || is_known(&certificate.fingerprint) || certificate.san.iter().any(|san| is_known(san));
        return if is_one { Ok(()) } else { Err(not_vouched("the client certificate is none of the hook's")) };
    };
    if request.connection.from != HookPeer::TrustedProxy {
        return Err(not_vouched("the delivery does not come from one of `trusted_proxies`"));
    }
    let mut given = request.headers.iter().filter(|(name, _)| name == header).map(|(_, value)| value.as_str());
    match (given.next(), given.count()) {
        (None, _) => Err(SignatureRefusal::Missing { header: header.clone() }),
        (Some(name), 0) if is_known(name) => Ok(()),
        (Some(_), 0) => Err(not_vouched("the client certificate is none of the hook's")),
        (Some(_), more) => Err(SignatureRefusal::Repeated { header: header.clone(), times: more + 1 }),
    }
}

fn is_within(since: Timestamp, now: Timestamp, duration: Duration) -> bool {
    now < since.plus_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// Locks, even if a thread panicked with the lock: what it guards is changed in one step each.
fn open<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
