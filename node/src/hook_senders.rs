//! Senders of webhooks for whom an authority vouches: Amazon SNS, an issuer of tokens, the authority of a client certificate.
//!
//! The crates `sensors` and `login` decide what counts. This module fetches certificates and keys, within limits, and keeps
//! the questions of Amazon SNS until an operator confirms them.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use ensue_api::ports::ConfirmedTopic;
use ensue_engine::catalog::{JwtVerify, MtlsVerify, SenderAuthority, SnsVerify};
use ensue_engine::explain::Explain;
use ensue_engine::names::SensorRef;
use ensue_engine::ports::{HookPeer, HookRequest};
use ensue_engine::time::Timestamp;
use ensue_login::certificates::Certificate;
use ensue_login::fetch::{HostBy, Method, Request};
use ensue_login::senders::Senders;
use ensue_login::{Fetch, Refusal};
use ensue_sensors::signatures::SignatureRefusal;
use ensue_sensors::sns::{self, Kind, SnsMessage};
use ensue_store::sync::replace;
use serde::{Deserialize, Serialize};
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
/// The maximum number of these for one hook.
const FETCHES_OF_A_HOOK_MAX: usize = 2;
/// The maximum number of certificates that nobody has asked for before and that are fetched in a minute, for the deliveries of
/// one network at one hook. Their URLs are in messages that are not verified yet.
const NEW_IN_A_MINUTE_MAX: u32 = 20;
/// The maximum number of networks whose unknown certificates are counted in a minute at one hook.
const NETWORKS_MAX: usize = 512;
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
    kept: OnceLock<KeptCertificates>,
    fetches: Fetches,
    asked: Mutex<BTreeMap<(SensorRef, String), PendingSubscription>>,
}

/// A question of Amazon SNS whether a hook wants the messages of a topic.
struct PendingSubscription {
    at: Timestamp,
    url: Url,
}

#[derive(Default)]
struct Certificates {
    by_url: BTreeMap<Url, CachedCertificate>,
    new: NewUrls,
}

/// The URLs that were asked for without having verified anything, in the current minute.
#[derive(Default)]
struct NewUrls {
    minute: u64,
    /// By hook, then by network.
    by_hook: BTreeMap<SensorRef, BTreeMap<String, u32>>,
}

/// How many certificates are being fetched for each hook.
#[derive(Default)]
struct Fetches(Mutex<BTreeMap<SensorRef, usize>>);

/// The right to fetch a certificate, as long as it is held.
struct FetchSlot<'a> {
    fetches: &'a Fetches,
    hook: &'a SensorRef,
}

/// A certificate, and when it was asked for.
struct CachedCertificate {
    certificate: Result<Arc<sns::Certificate>, String>,
    at: Timestamp,
    /// Whether it has verified a message.
    is_verified: bool,
    /// Its text, to keep it.
    pem: Vec<u8>,
}

impl HookSenders {
    /// Sets the way to certificates and keys.
    pub(crate) fn connect(&self, web: Box<dyn Fetch>) {
        // A node connects once.
        let _ = self.web.set(web);
    }

    /// Keeps the certificates that verify something in a file, and begins with those that it has. What cannot be used is fetched
    /// again.
    pub(crate) fn keep_in(&self, file: PathBuf) {
        let kept = KeptCertificates { file, is_writing: Mutex::default() };
        open(&self.certificates).by_url.extend(kept.read());
        let _ = self.kept.set(kept);
    }

    /// Returns whether the authority that a hook names vouches for the sender of a delivery. May wait for a certificate or for keys,
    /// unless the hook demands client certificates.
    pub(crate) fn vouch(&self, vouched: &SenderAuthority, request: &HookRequest, now: Timestamp) -> Result<(), SignatureRefusal> {
        match vouched {
            SenderAuthority::Sns(sns) => self.sns(sns, request, now),
            SenderAuthority::Jwt(jwt) => self.jwt(jwt, request, now),
            SenderAuthority::Mtls(mtls) => by_certificate(mtls, request),
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
        let message = SnsMessage::read(accepted, &request.body)?;
        let certificate = self.certificate(message.certificate(), (request, now))?;
        message.check(&certificate, now)?;
        self.keep_verified(message.certificate());
        if let (Kind::SubscriptionConfirmation, Some(url)) = (message.kind(), message.subscribe()) {
            let mut asked = open(&self.asked);
            asked.retain(|_, asked| is_within(asked.at, now, CONFIRMATION_AGE_MAX));
            let key = (request.sensor.clone(), message.topic().to_owned());
            if asked.len() < CONFIRMATIONS_MAX || asked.contains_key(&key) {
                tracing::info!(sensor = %request.sensor, topic = message.topic(), "Amazon SNS asks to confirm a subscription");
                asked.insert(key, PendingSubscription { at: now, url: url.clone() });
            }
        }
        Ok(())
    }

    /// Marks the certificate at a URL as one of Amazon's, and writes it to the file the first time.
    fn keep_verified(&self, url: &Url) {
        let is_new = open(&self.certificates).by_url.get_mut(url).is_some_and(|held| !std::mem::replace(&mut held.is_verified, true));
        if let Some(kept) = self.kept.get().filter(|_| is_new) {
            kept.write(|| open(&self.certificates).verified_certificates());
        }
    }

    /// Returns the certificate at a URL: the one that is held, or the fetched one. One that has verified messages stays in use
    /// after its day if it cannot be fetched again now.
    fn certificate(&self, url: &Url, (request, now): (&HookRequest, Timestamp)) -> Result<Arc<sns::Certificate>, SignatureRefusal> {
        let cannot = |why: &str| SignatureRefusal::CannotAsk { why: why.to_owned() };
        let verified = {
            let mut certificates = open(&self.certificates);
            let held = certificates.by_url.get(url);
            if let Some(held) = held {
                let age_max = if held.certificate.is_ok() { CERTIFICATE_AGE_MAX } else { FETCH_INTERVAL };
                if is_within(held.at, now, age_max) {
                    return held.certificate.clone().map_err(|why| cannot(&why));
                }
            }
            let verified = held.filter(|held| held.is_verified).and_then(|held| held.certificate.clone().ok());
            if verified.is_none() {
                certificates.new.count((&request.sensor, &request.connection.network), now).map_err(cannot)?;
            }
            verified
        };
        let Some(_slot) = self.fetches.begin(&request.sensor) else {
            return verified.ok_or_else(|| cannot("too many certificates are being fetched"));
        };
        let web = match self.web() {
            Ok(web) => web,
            Err(refusal) => return verified.ok_or(refusal),
        };
        let fetched = fetch(web, url);
        open(&self.certificates).hold(url, fetched, now).map_err(|why| cannot(&why))
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

impl NewUrls {
    /// Counts a URL that has verified nothing yet, which a sender named at a hook.
    fn count(&mut self, (hook, network): (&SensorRef, &str), now: Timestamp) -> Result<(), &'static str> {
        const TOO_MANY: &str = "too many unknown certificates were named in the last minute";
        let minute = now.unix_millis() / 60_000;
        if self.minute != minute {
            *self = Self { minute, by_hook: BTreeMap::new() };
        }
        let by_network = self.by_hook.entry(hook.clone()).or_default();
        if by_network.len() >= NETWORKS_MAX && !by_network.contains_key(network) {
            return Err(TOO_MANY);
        }
        let count = by_network.entry(network.to_owned()).or_default();
        if *count >= NEW_IN_A_MINUTE_MAX {
            return Err(TOO_MANY);
        }
        *count += 1;
        Ok(())
    }
}

impl Fetches {
    /// Begins a fetch for a hook, unless too many are under way for it or for all.
    fn begin<'a>(&'a self, hook: &'a SensorRef) -> Option<FetchSlot<'a>> {
        let mut by_hook = open(&self.0);
        if by_hook.values().sum::<usize>() >= FETCHES_MAX || by_hook.get(hook).is_some_and(|count| *count >= FETCHES_OF_A_HOOK_MAX) {
            return None;
        }
        *by_hook.entry(hook.clone()).or_default() += 1;
        Some(FetchSlot { fetches: self, hook })
    }
}

impl Drop for FetchSlot<'_> {
    fn drop(&mut self) {
        let mut by_hook = open(&self.fetches.0);
        if let Some(count) = by_hook.get_mut(self.hook) {
            *count -= 1;
            if *count == 0 {
                by_hook.remove(self.hook);
            }
        }
    }
}

impl Certificates {
    /// Holds what was fetched. The URL of a certificate never has another one, so if one that has verified messages cannot be
    /// fetched again, the one that is held stays in use.
    fn hold(&mut self, url: &Url, fetched: Result<FetchedCertificate, String>, now: Timestamp) -> Result<Arc<sns::Certificate>, String> {
        let before = self.by_url.remove(url);
        if before.is_none() && self.by_url.len() >= CERTIFICATES_MAX {
            // What has verified nothing goes first, and of these the oldest.
            let oldest = self.by_url.iter().min_by_key(|(_, held)| (held.is_verified, held.at)).map(|(url, _)| url.clone());
            oldest.and_then(|url| self.by_url.remove(&url));
        }
        let held = match (fetched, before) {
            (Err(_), Some(before)) if before.is_verified => CachedCertificate { at: now, ..before },
            (Ok(FetchedCertificate { certificate, pem }), before) => CachedCertificate {
                certificate: Ok(Arc::new(certificate)),
                at: now,
                is_verified: before.is_some_and(|held| held.is_verified),
                pem,
            },
            (Err(why), _) => CachedCertificate { certificate: Err(why), at: now, is_verified: false, pem: Vec::new() },
        };
        let certificate = held.certificate.clone();
        self.by_url.insert(url.clone(), held);
        certificate
    }

    /// Returns those that have verified messages, as they are kept.
    fn verified_certificates(&self) -> Vec<KeptCertificate> {
        let verified = self.by_url.iter().filter(|(_, held)| held.is_verified);
        let kept = verified.map(|(url, held)| KeptCertificate {
            url: url.to_string(),
            at_micros: held.at.micros(),
            pem: String::from_utf8_lossy(&held.pem).into_owned(),
        });
        kept.collect()
    }
}

/// A certificate that was fetched.
struct FetchedCertificate {
    certificate: sns::Certificate,
    pem: Vec<u8>,
}

/// The file of the certificates that have verified something. A start does not wait for Amazon then, and strangers cannot keep
/// it from what it knew.
struct KeptCertificates {
    file: PathBuf,
    is_writing: Mutex<()>,
}

/// A certificate in that file.
#[derive(Serialize, Deserialize)]
struct KeptCertificate {
    url: String,
    /// When it was fetched, in microseconds since 1970.
    at_micros: i64,
    pem: String,
}

impl KeptCertificates {
    /// Reads the certificates. Damaged ones are not used.
    fn read(&self) -> BTreeMap<Url, CachedCertificate> {
        let bytes = match std::fs::read(&self.file) {
            Ok(bytes) => bytes,
            Err(why) if why.kind() == ErrorKind::NotFound => return BTreeMap::new(),
            Err(why) => {
                tracing::warn!(file = %self.file.display(), %why, "the certificates of Amazon SNS cannot be read; they are fetched again");
                return BTreeMap::new();
            }
        };
        let kept: Vec<KeptCertificate> = serde_json::from_slice(&bytes).unwrap_or_else(|why| {
            tracing::warn!(file = %self.file.display(), %why, "the kept certificates of Amazon SNS are damaged; they are fetched again");
            Vec::new()
        });
        let held = kept.into_iter().take(CERTIFICATES_MAX).filter_map(|KeptCertificate { url, at_micros, pem }| {
            let url = Url::parse(&url).ok().filter(sns::is_of_a_certificate)?;
            let certificate = Ok(Arc::new(sns::Certificate::read(pem.as_bytes()).ok()?));
            let at = Timestamp::from_micros(at_micros);
            Some((url, CachedCertificate { certificate, at, is_verified: true, pem: pem.into_bytes() }))
        });
        held.collect()
    }

    /// Writes the certificates, as they are once no other thread writes.
    fn write(&self, certificates: impl FnOnce() -> Vec<KeptCertificate>) {
        let _writing = open(&self.is_writing);
        let written = serde_json::to_vec(&certificates()).map_err(std::io::Error::from).and_then(|bytes| replace(&self.file, &bytes));
        if let Err(why) = written {
            tracing::warn!(file = %self.file.display(), %why, "a certificate of Amazon SNS cannot be kept; the next start fetches it again");
        }
    }
}

fn get(web: &dyn Fetch, url: &Url) -> Result<Vec<u8>, String> {
    let request = Request { url: url.clone(), host_by: HostBy::Issuer, method: Method::Get, ca: None };
    let host = url.host_str().unwrap_or_default();
    let response = web.fetch(&request).map_err(|error| format!("{host}: {error}"))?;
    if response.status == 200 { Ok(response.body) } else { Err(format!("{host}: the status is {}", response.status)) }
}

fn fetch(web: &dyn Fetch, url: &Url) -> Result<FetchedCertificate, String> {
    let pem = get(web, url)?;
    sns::Certificate::read(&pem).map(|certificate| FetchedCertificate { certificate, pem })
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

#[cfg(test)]
mod tests {
    use ensue_engine::catalog::HookMethod;
    use ensue_engine::ports::HookConnection;

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_774_699_200_000_000);
    const PEM: &[u8] = include_bytes!("../../sensors/tests/sns_sha1.pem");

    fn hook(name: &str) -> SensorRef {
        name.parse().unwrap()
    }

    fn url(hex: &str) -> Url {
        Url::parse(&format!("https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-{hex}.pem")).unwrap()
    }

    fn sample_certificate() -> Result<FetchedCertificate, String> {
        Ok(FetchedCertificate { certificate: sns::Certificate::read(PEM).unwrap(), pem: PEM.to_vec() })
    }

    #[test]
    fn unknown_certificates_of_one_sender_at_one_hook_do_not_count_for_others() {
        let mut new = NewUrls::default();
        let (one, other) = (hook("watch.alarms"), hook("watch.builds"));
        for _ in 0..NEW_IN_A_MINUTE_MAX {
            assert_eq!(new.count((&one, "203.0.113.7"), NOW), Ok(()));
        }
        assert!(new.count((&one, "203.0.113.7"), NOW).is_err());
        assert_eq!(new.count((&other, "203.0.113.7"), NOW), Ok(()));
        assert_eq!(new.count((&one, "198.51.100.1"), NOW), Ok(()));
        assert_eq!(new.count((&one, "203.0.113.7"), NOW.plus_millis(60_000)), Ok(()));
    }

    #[test]
    fn hook_with_too_many_networks_refuses_only_its_own_unknown_certificates() {
        let mut new = NewUrls::default();
        let (one, other) = (hook("watch.alarms"), hook("watch.builds"));
        for network in 0..NETWORKS_MAX {
            assert_eq!(new.count((&one, &network.to_string()), NOW), Ok(()));
        }
        assert!(new.count((&one, "one more"), NOW).is_err());
        assert_eq!(new.count((&one, "0"), NOW), Ok(()));
        for network in 0..NETWORKS_MAX {
            assert_eq!(new.count((&other, &network.to_string()), NOW), Ok(()));
        }
    }

    #[test]
    fn one_hook_leaves_fetches_to_the_others() {
        let fetches = Fetches::default();
        let hooks: Vec<SensorRef> = ["a", "b", "c", "d", "e"].iter().map(|name| hook(&format!("watch.{name}"))).collect();
        let mut slots = Vec::new();
        for one in &hooks[..FETCHES_MAX / FETCHES_OF_A_HOOK_MAX] {
            for _ in 0..FETCHES_OF_A_HOOK_MAX {
                slots.push(fetches.begin(one).unwrap());
            }
            assert!(fetches.begin(one).is_none(), "{one}");
        }
        assert!(fetches.begin(&hooks[4]).is_none(), "all are taken");
        slots.pop();
        assert!(fetches.begin(&hooks[4]).is_some());
        slots.clear();
        assert!(open(&fetches.0).is_empty());
    }

    #[test]
    fn certificate_that_has_verified_messages_stays_in_use_while_no_fetch_is_free() {
        let senders = HookSenders::default();
        for hex in ["a", "b"] {
            open(&senders.certificates).hold(&url(hex), sample_certificate(), NOW).unwrap();
        }
        senders.keep_verified(&url("a"));
        let request = HookRequest {
            sensor: hook("watch.alarms"),
            headers: Vec::new(),
            query: Vec::new(),
            body: bytes::Bytes::new(),
            body_bytes_max: 0,
            method: HookMethod::Post,
            path: Vec::new(),
            url: String::new(),
            connection: HookConnection::default(),
        };
        let later = NOW.plus_millis(25 * 3_600_000);
        let sensor = request.sensor.clone();
        let slots = [senders.fetches.begin(&sensor).unwrap(), senders.fetches.begin(&sensor).unwrap()];
        assert!(senders.certificate(&url("a"), (&request, later)).is_ok());
        let refusal = senders.certificate(&url("b"), (&request, later)).unwrap_err();
        assert!(refusal.to_string().contains("too many certificates are being fetched"), "{refusal}");
        drop(slots);
        let refusal = senders.certificate(&url("b"), (&request, later)).unwrap_err();
        assert!(refusal.to_string().contains("the node is starting"), "a fetch is free, and nothing to fetch with: {refusal}");
    }

    #[test]
    fn verified_certificates_and_no_others_are_there_after_a_restart() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("sns_certificates.json");
        let senders = HookSenders::default();
        senders.keep_in(file.clone());
        for hex in ["a", "b"] {
            open(&senders.certificates).hold(&url(hex), sample_certificate(), NOW).unwrap();
        }
        senders.keep_verified(&url("a"));
        let urls = |senders: &HookSenders| open(&senders.certificates).by_url.keys().cloned().collect::<Vec<_>>();
        let again = HookSenders::default();
        again.keep_in(file.clone());
        assert_eq!(urls(&again), [url("a")]);
        let held = open(&again.certificates);
        assert!(held.by_url[&url("a")].is_verified && held.by_url[&url("a")].at == NOW);
        for damaged in [&b"{"[..], b"[]", br#"[{"url": "https://example.test/x", "at_micros": 0, "pem": ""}]"#] {
            std::fs::write(&file, damaged).unwrap();
            let after = HookSenders::default();
            after.keep_in(file.clone());
            assert_eq!(urls(&after), []);
        }
    }

    #[test]
    fn verified_certificate_that_cannot_be_fetched_again_stays_in_use() {
        let mut certificates = Certificates::default();
        certificates.hold(&url("a"), sample_certificate(), NOW).unwrap();
        assert!(certificates.hold(&url("a"), Err("the status is 500".to_owned()), NOW).is_err(), "it has verified nothing");
        certificates.hold(&url("a"), sample_certificate(), NOW).unwrap();
        certificates.by_url.get_mut(&url("a")).unwrap().is_verified = true;
        assert!(certificates.hold(&url("a"), Err("the status is 500".to_owned()), NOW).is_ok());
    }
}
