//! The configured issuers: admits bearer tokens, and holds the keys that they are verified with.
//!
//! Many threads may ask at once. Per issuer, one of them fetches while the others wait for it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ensue_engine::time::Timestamp;
use ensue_expression::Document;
use url::Url;

use crate::admission::{IssuerIdentity, admit_claims};
use crate::checked_tokens::{CheckedToken, CheckedTokens, hash_of};
use crate::claims::{Claims, Untimely};
use crate::discovery::{self, ClientAuthentication, Metadata, ResponseIssuer};
use crate::fetch::{FETCH_BYTES_MAX, FETCH_TIME_MAX, Fetch, Method, Request, Response};
use crate::issuer_keys::{CacheLookup, FetchedKeys, Keys};
use crate::jose::{Key, KeySet, LeftOut, Token, TokenFault};
use crate::refusal::{Refusal, to_short_line};
use crate::settings::{Client, IssuerName, IssuerSettings, KeysFrom};
use crate::used_tokens::UsedTokens;

/// How long a caller waits for the fetch of another one: two requests, and a little more.
const WAIT_MAX: Duration = Duration::from_secs(2 * FETCH_TIME_MAX.as_secs() + 1);

/// The maximum number of callers that wait for the fetch of one issuer. Each of them holds a thread.
pub const WAITING_MAX: usize = 32;

/// The configured issuers.
pub struct Issuers {
    by_name: BTreeMap<IssuerName, Issuer>,
    checked: Mutex<CheckedTokens>,
    used_logouts: Mutex<UsedTokens>,
}

/// An issuer with its keys.
pub(crate) struct Issuer {
    settings: IssuerSettings,
    keys: Mutex<Keys>,
    fetch_ended: Condvar,
    /// How many callers wait for it. It is only changed while `keys` is locked.
    waiting: AtomicUsize,
}

/// What a login through an issuer needs.
pub(crate) struct BrowserLogin<'i> {
    pub(crate) settings: &'i IssuerSettings,
    pub(crate) client: &'i Client,
    pub(crate) authorization_endpoint: Url,
    pub(crate) token_endpoint: Url,
    pub(crate) response_issuer: ResponseIssuer,
    pub(crate) client_authentication: ClientAuthentication,
}

/// Returns true if a credential has the form of an issuer's token, and not that of a token of the node.
pub fn is_signed_token(credential: &str) -> bool {
    credential.starts_with("eyJ")
}

impl Issuers {
    /// Creates the issuers of the settings. Nothing is fetched: the first use does that.
    pub fn new(settings: Vec<IssuerSettings>) -> Self {
        let by_name = settings.into_iter().map(|settings| (settings.name.clone(), Issuer::new(settings))).collect();
        Self { by_name, checked: Mutex::new(CheckedTokens::new()), used_logouts: Mutex::default() }
    }

    /// Returns the settings of the issuers, by name.
    pub fn settings(&self) -> impl Iterator<Item = &IssuerSettings> {
        self.by_name.values().map(|issuer| &issuer.settings)
    }

    /// Returns the caller that a bearer token admits, if the token was verified before and is still valid. Never waits.
    pub fn find_checked(&self, token: &str, now: Timestamp) -> Option<IssuerIdentity> {
        let CheckedToken { admitted, key } = lock(&self.checked).get(&hash_of(token), now)?;
        let issuer = self.by_name.get(&admitted.issuer)?;
        lock(&issuer.keys).has(&key, now).then_some(admitted)
    }

    /// Admits the bearer token of a request.
    ///
    /// # Errors
    /// If the token is not valid, not for this node or not admitted by the settings of its issuer, or if the
    /// issuer cannot be reached. A token that names no configured issuer causes no request.
    pub fn admit(&self, token: &str, now: Timestamp, fetch: &dyn Fetch) -> Result<IssuerIdentity, Refusal> {
        let hash = hash_of(token);
        let known = lock(&self.checked).get(&hash, now);
        if let Some(CheckedToken { admitted, key }) = known {
            let issuer = self.by_name.get(&admitted.issuer);
            if issuer.is_some_and(|issuer| lock(&issuer.keys).has(&key, now)) {
                return Ok(admitted);
            }
            lock(&self.checked).remove(&hash);
        }
        let token = Token::read(token).map_err(Refusal::TokenInvalid)?;
        if !matches!(token.kind(), None | Some("jwt" | "at+jwt")) {
            return Err(Refusal::TokenInvalid(TokenFault::Type));
        }
        let claims = Claims::read(token.unverified_claims()).map_err(Refusal::TokenInvalid)?;
        let issuer = self.by_name.values().find(|issuer| issuer.settings.takes_bearer() && issuer.settings.issuer == claims.issuer);
        let issuer = issuer.ok_or(Refusal::IssuerUnknown)?;
        check_time(&claims, &issuer.settings, now)?;
        claims.check_audience(&issuer.settings.audience).map_err(Refusal::TokenInvalid)?;
        if claims.nonce.is_some() {
            return Err(Refusal::TokenInvalid(TokenFault::IdToken));
        }
        let (document, key) = issuer.verify(token, now, fetch)?;
        let admitted = admit_claims(&issuer.settings, &claims, &document)?;
        lock(&self.checked).put(hash, CheckedToken { admitted: admitted.clone(), key });
        Ok(admitted)
    }

    /// Fetches the keys of the issuers that were used and whose keys are no longer fresh. The old ones hold
    /// meanwhile. The node calls this every few seconds, on a thread that may wait.
    pub fn refresh(&self, now: Timestamp, fetch: &dyn Fetch) {
        for issuer in self.by_name.values() {
            if lock(&issuer.keys).begin_refresh(now) {
                issuer.load(now, fetch);
            }
        }
    }

    /// Returns the issuers whose last fetch failed, with the reason: for `ensue doctor` and metrics.
    pub fn troubles(&self) -> Vec<(IssuerName, String)> {
        let trouble = |issuer: &Issuer| Some((issuer.settings.name.clone(), lock(&issuer.keys).trouble()?.to_owned()));
        self.by_name.values().filter_map(trouble).collect()
    }

    /// Returns the keys that issuers publish and that are not used, with the reason: for `ensue doctor`.
    pub fn keys_left_out(&self) -> Vec<(IssuerName, LeftOut)> {
        let left_out = |issuer: &Issuer| -> Vec<_> {
            lock(&issuer.keys).left_out().iter().map(|left| (issuer.settings.name.clone(), left.clone())).collect()
        };
        self.by_name.values().flat_map(left_out).collect()
    }

    /// Returns what a login through an issuer needs.
    pub(crate) fn login(&self, name: &IssuerName, now: Timestamp, fetch: &dyn Fetch) -> Result<BrowserLogin<'_>, Refusal> {
        let issuer = self.by_name.get(name).ok_or(Refusal::IssuerUnknown)?;
        let client = issuer.settings.client.as_ref().ok_or(Refusal::IssuerUnknown)?;
        let metadata = issuer.wait_for(now, fetch, |keys| keys.metadata(now))?;
        let metadata = metadata.ok_or_else(|| issuer.unavailable("it has no discovery document"))?;
        let missing = |endpoint: &str| issuer.unavailable(format!("its discovery document has no `{endpoint}`"));
        Ok(BrowserLogin {
            settings: &issuer.settings,
            client,
            authorization_endpoint: metadata.authorization_endpoint.clone().ok_or_else(|| missing("authorization_endpoint"))?,
            token_endpoint: metadata.token_endpoint.clone().ok_or_else(|| missing("token_endpoint"))?,
            response_issuer: metadata.response_issuer,
            client_authentication: metadata.client_authentication,
        })
    }

    /// Returns the logout tokens that were used.
    pub(crate) fn used_logouts(&self) -> MutexGuard<'_, UsedTokens> {
        lock(&self.used_logouts)
    }

    /// Verifies the signature of a token of an issuer, and returns its claims.
    pub(crate) fn verify_of(&self, name: &IssuerName, token: Token<'_>, now: Timestamp, fetch: &dyn Fetch) -> Result<Document, Refusal> {
        let issuer = self.by_name.get(name).ok_or(Refusal::IssuerUnknown)?;
        issuer.verify(token, now, fetch).map(|(document, _)| document)
    }

    /// Verifies the signature and the time of an ID token, and that the issuer signed it for the client.
    pub(crate) fn verify_id_token(
        &self,
        login: &BrowserLogin<'_>,
        token: &str,
        now: Timestamp,
        fetch: &dyn Fetch,
    ) -> Result<(Claims, Document), Refusal> {
        let client = &login.client.id;
        let issuer = self.by_name.get(&login.settings.name).ok_or(Refusal::IssuerUnknown)?;
        let token = Token::read(token).map_err(Refusal::TokenInvalid)?;
        if !matches!(token.kind(), None | Some("jwt")) {
            return Err(Refusal::TokenInvalid(TokenFault::Type));
        }
        let claims = Claims::read(token.unverified_claims()).map_err(Refusal::TokenInvalid)?;
        if claims.issuer != issuer.settings.issuer {
            return Err(Refusal::TokenInvalid(TokenFault::Malformed("iss")));
        }
        check_time(&claims, &issuer.settings, now)?;
        claims.check_audience(std::slice::from_ref(client)).map_err(Refusal::TokenInvalid)?;
        let is_shared = claims.audience.len() > 1;
        if claims.authorized_party.as_deref().map_or(is_shared, |party| party != client.as_str()) {
            return Err(Refusal::TokenInvalid(TokenFault::Audience));
        }
        let (document, _) = issuer.verify(token, now, fetch)?;
        Ok((claims, document))
    }
}

impl Issuer {
    pub(crate) fn new(settings: IssuerSettings) -> Self {
        Self { settings, keys: Mutex::default(), fetch_ended: Condvar::new(), waiting: AtomicUsize::new(0) }
    }

    pub(crate) fn name(&self) -> &IssuerName {
        &self.settings.name
    }

    /// Verifies the signature of a token, and returns its claims with the key.
    pub(crate) fn verify(&self, token: Token<'_>, now: Timestamp, fetch: &dyn Fetch) -> Result<(Document, Arc<Key>), Refusal> {
        let find = |set: &KeySet| set.find(token.key_id(), token.algorithm()).cloned();
        let key = self.wait_for(now, fetch, |keys| keys.key(now, find))?;
        let key = key.ok_or(Refusal::TokenInvalid(TokenFault::UnknownKey))?;
        let document = token.verify(&key).map_err(Refusal::TokenInvalid)?;
        Ok((document, key))
    }

    /// Asks until there is an answer: fetches if it is this caller's turn, and waits if it is another one's.
    /// Returns `None` if the issuer has no such thing.
    fn wait_for<T>(
        &self,
        now: Timestamp,
        fetch: &dyn Fetch,
        mut ask: impl FnMut(&mut Keys) -> CacheLookup<T>,
    ) -> Result<Option<T>, Refusal> {
        let mut keys = lock(&self.keys);
        loop {
            match ask(&mut keys) {
                CacheLookup::Use(found) => return Ok(Some(found)),
                CacheLookup::Unknown => return Ok(None),
                CacheLookup::Unavailable { why } => return Err(self.unavailable(why)),
                CacheLookup::Fetch => {
                    drop(keys);
                    self.load(now, fetch);
                    keys = lock(&self.keys);
                }
                CacheLookup::Wait => {
                    if self.waiting.load(Ordering::Relaxed) >= WAITING_MAX {
                        return Err(self.unavailable("too many requests wait for its keys"));
                    }
                    self.waiting.fetch_add(1, Ordering::Relaxed);
                    let (after, timeout) = self.fetch_ended.wait_timeout(keys, WAIT_MAX).unwrap_or_else(PoisonError::into_inner);
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                    if timeout.timed_out() {
                        return Err(self.unavailable("it does not answer"));
                    }
                    keys = after;
                }
            }
        }
    }

    /// Fetches, and wakes those who wait, even if the port panics.
    fn load(&self, now: Timestamp, fetch: &dyn Fetch) {
        let mut ending = Ending { issuer: self, now, result: Some(Err("the request did not end".to_owned())) };
        let known = lock(&self.keys).recent_metadata(now);
        ending.result = Some(self.request_keys(known, fetch));
    }

    fn request_keys(&self, known: Option<Arc<Metadata>>, fetch: &dyn Fetch) -> Result<FetchedKeys, String> {
        let metadata = match known {
            Some(metadata) => Some(metadata),
            None if self.needs_discovery() => {
                let url = discovery::url_of(&self.settings.issuer).map_err(|error| error.to_string())?;
                let response = self.get(url, fetch)?;
                let hosts: &[String] = match &self.settings.keys_from {
                    KeysFrom::Discovery { hosts } => hosts,
                    KeysFrom::File(_) | KeysFrom::Pack(_) => &[],
                };
                let metadata = discovery::read(&response.body, &self.settings.issuer, hosts).map_err(|error| error.to_string())?;
                Some(Arc::new(metadata))
            }
            None => None,
        };
        let (document, max_age) = match (&self.settings.keys_from, &metadata) {
            (KeysFrom::File(file), _) => (fetch.read(file).map_err(|error| error.to_string())?, None),
            (KeysFrom::Pack(Some(url)), _) => {
                let response = self.get(url.clone(), fetch)?;
                let max_age = response.max_age();
                (response.body, max_age)
            }
            (KeysFrom::Discovery { .. } | KeysFrom::Pack(None), Some(metadata)) => {
                let response = self.get(metadata.jwks_uri.clone(), fetch)?;
                let max_age = response.max_age();
                (response.body, max_age)
            }
            (KeysFrom::Discovery { .. } | KeysFrom::Pack(None), None) => return Err("there is no discovery document".to_owned()),
        };
        if document.len() > FETCH_BYTES_MAX {
            return Err(format!("the keys are longer than {FETCH_BYTES_MAX} bytes"));
        }
        let keys = KeySet::read(&document).map_err(|error| error.to_string())?;
        Ok(FetchedKeys { metadata, keys, max_age })
    }

    fn needs_discovery(&self) -> bool {
        self.settings.client.is_some() || matches!(self.settings.keys_from, KeysFrom::Discovery { .. } | KeysFrom::Pack(None))
    }

    fn get(&self, url: Url, fetch: &dyn Fetch) -> Result<Response, String> {
        let request = Request { host_by: self.settings.host_by(&url), url, method: Method::Get, ca: self.settings.ca.clone() };
        let response = fetch.fetch(&request).map_err(|error| format!("{}: {}", request.url, to_short_line(&error.to_string())))?;
        match response.status {
            200 if response.body.len() <= FETCH_BYTES_MAX => Ok(response),
            200 => Err(format!("{}: the response is longer than {FETCH_BYTES_MAX} bytes", request.url)),
            status => Err(format!("{}: the status is {status}", request.url)),
        }
    }

    fn unavailable(&self, why: impl Into<String>) -> Refusal {
        Refusal::IssuerUnavailable { issuer: self.settings.name.clone(), why: why.into() }
    }
}

/// Ends a fetch when it is dropped.
struct Ending<'i> {
    issuer: &'i Issuer,
    now: Timestamp,
    result: Option<Result<FetchedKeys, String>>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if let Some(result) = self.result.take() {
            lock(&self.issuer.keys).end_fetch(result, self.now);
        }
        self.issuer.fetch_ended.notify_all();
    }
}

fn check_time(claims: &Claims, settings: &IssuerSettings, now: Timestamp) -> Result<(), Refusal> {
    claims.check_time(now, settings.lifetime_max).map_err(|untimely| match untimely {
        Untimely::Expired { at } => Refusal::TokenExpired { at },
        Untimely::Fault(fault) => Refusal::TokenInvalid(fault),
    })
}

/// Locks, even if a thread panicked with the lock: what it guards is changed in one assignment each.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
