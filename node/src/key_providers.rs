//! Keys whose values another store holds. They are read when they are used, kept in memory for a while, and never
//! written.

mod aws;
mod exchange;
mod hashicorp;
mod local;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ensue_engine::names::KeyRef;
use ensue_engine::ports::{Secret, VaultError};
use ensue_executor::web::Web;
use thiserror::Error;

use crate::config::{Config, KeyProviderSettings, KeyStore, ProvidedAt};
use aws::AwsProvider;
use exchange::Exchange;
use hashicorp::HashicorpProvider;
use local::{EnvironmentProvider, FileProvider};

/// How long after a failed attempt the store is asked again.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The maximum size of a value, in bytes.
const VALUE_BYTES_MAX: usize = 64 * 1024;

/// A store of keys.
pub(crate) trait KeyProvider: Send + Sync {
    /// Reads the value of a field at a path. Blocking.
    fn read(&self, path: &str, field: Option<&str>) -> Result<Secret, ProviderError>;
}

/// Why a store does not provide a value. No message contains a secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub(crate) struct ProviderError(String);

/// A key whose value a store provides.
pub(crate) struct ProvidedKey {
    key: KeyRef,
    provider: Arc<dyn KeyProvider>,
    path: String,
    field: Option<String>,
    ttl: Duration,
    stale_for: Duration,
    cached: Mutex<CachedValue>,
}

/// What is known of the value of a key.
#[derive(Default)]
struct CachedValue {
    /// The value, and when it was read.
    value: Option<(Arc<Secret>, Instant)>,
    /// When reading it failed last, and why, if it failed since.
    failed: Option<(Instant, ProviderError)>,
}

impl ProvidedKey {
    /// Returns the value, from memory if it was read recently. Blocking.
    pub(crate) fn open(&self, now: Instant) -> Result<Arc<Secret>, VaultError> {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let age = |at: Instant| now.saturating_duration_since(at);
        let stale = match &cached.value {
            Some((value, at)) if age(*at) < self.ttl => return Ok(value.clone()),
            Some((value, at)) if age(*at) < self.ttl + self.stale_for => Some(value.clone()),
            Some(_) | None => None,
        };
        // Many callers may wait for the key of a store that is down, and each request to it may take seconds.
        if let Some((at, error)) = &cached.failed
            && age(*at) < ASKED_AGAIN_AFTER
        {
            return stale.ok_or_else(|| self.unavailable(error));
        }
        match self.provider.read(&self.path, self.field.as_deref()).and_then(check_value) {
            Ok(value) => {
                let value = Arc::new(value);
                *cached = CachedValue { value: Some((value.clone(), now)), failed: None };
                Ok(value)
            }
            Err(error) => {
                cached.failed = Some((now, error.clone()));
                if stale.is_none() {
                    cached.value = None;
                }
                let key = self.key.clone();
                stale
                    .inspect(|_| tracing::warn!(%key, %error, "the key's value as it was read before is used"))
                    .ok_or_else(|| self.unavailable(&error))
            }
        }
    }

    fn unavailable(&self, error: &ProviderError) -> VaultError {
        VaultError::Unavailable { key: self.key.to_string(), why: error.to_string() }
    }
}

fn check_value(value: Secret) -> Result<Secret, ProviderError> {
    match value.reveal().len() {
        0 => Err(ProviderError("the value is empty".to_owned())),
        bytes if bytes > VALUE_BYTES_MAX => Err(ProviderError(format!("the value is longer than {VALUE_BYTES_MAX} bytes"))),
        _ => Ok(value),
    }
}

/// Returns the field of an object of texts, or its only one.
fn field_of(object: &serde_json::Map<String, serde_json::Value>, field: Option<&str>) -> Result<Secret, ProviderError> {
    let value = match field {
        Some(field) => object.get(field).ok_or_else(|| ProviderError(format!("there is no field `{field}`")))?,
        None if object.len() == 1 => object.values().next().unwrap_or(&serde_json::Value::Null),
        None => return Err(ProviderError(format!("there are {} fields; name one with `field`", object.len()))),
    };
    match value {
        serde_json::Value::String(text) => Ok(Secret::new(text.clone().into_bytes())),
        _ => Err(ProviderError("the field is not a text".to_owned())),
    }
}

/// Returns the keys whose values the stores in the settings provide. The web reaches those that are servers.
pub(crate) fn open_provided_keys(config: &Config, web: &Arc<dyn Web>) -> BTreeMap<KeyRef, Arc<ProvidedKey>> {
    let exchange = Exchange::new(web.clone(), tokio::runtime::Handle::current());
    let opened = |settings: &KeyProviderSettings| -> Arc<dyn KeyProvider> {
        match &settings.store {
            KeyStore::Files(folder) => Arc::new(FileProvider { folder: folder.clone() }),
            KeyStore::Environment => Arc::new(EnvironmentProvider),
            KeyStore::Hashicorp(server) => Arc::new(HashicorpProvider::new(server.clone(), exchange.clone())),
            KeyStore::Aws(secrets) => Arc::new(AwsProvider::new(secrets.clone(), exchange.clone())),
        }
    };
    let providers: BTreeMap<&String, Arc<dyn KeyProvider>> = config.key_providers.iter().map(|(name, of)| (name, opened(of))).collect();
    let mut provided = BTreeMap::new();
    for (key, ProvidedAt { provider, path, field }) in config.provided_keys() {
        let (Some(settings), Some(opened)) = (config.key_providers.get(provider), providers.get(provider)) else { continue };
        let of = ProvidedKey {
            key: key.clone(),
            provider: opened.clone(),
            path: path.clone(),
            field: field.clone(),
            ttl: settings.ttl,
            stale_for: settings.stale_for,
            cached: Mutex::default(),
        };
        provided.insert(key, Arc::new(of));
    }
    provided
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store that answers as the test says, and counts how often it was asked.
    #[derive(Default)]
    struct CountingProvider {
        answer: Mutex<Option<&'static str>>,
        asked: Mutex<u32>,
    }

    impl CountingProvider {
        fn says(&self, answer: Option<&'static str>) {
            *self.answer.lock().unwrap() = answer;
        }

        fn read_count(&self) -> u32 {
            *self.asked.lock().unwrap()
        }
    }

    impl KeyProvider for CountingProvider {
        fn read(&self, path: &str, field: Option<&str>) -> Result<Secret, ProviderError> {
            assert_eq!((path, field), ("team/release", Some("token")));
            *self.asked.lock().unwrap() += 1;
            let answer = *self.answer.lock().unwrap();
            answer.map(|text| Secret::new(text.as_bytes().to_vec())).ok_or_else(|| ProviderError("it is down".to_owned()))
        }
    }

    fn key(told: &Arc<CountingProvider>) -> ProvidedKey {
        ProvidedKey {
            key: "release.deploy_token".parse().unwrap(),
            provider: told.clone(),
            path: "team/release".to_owned(),
            field: Some("token".to_owned()),
            ttl: Duration::from_secs(60),
            stale_for: Duration::from_secs(3600),
            cached: Mutex::default(),
        }
    }

    #[test]
    fn value_is_used_for_its_time_and_longer_while_its_store_is_down() {
        let told = Arc::new(CountingProvider::default());
        let key = key(&told);
        let start = Instant::now();
        let at = |seconds: u64| key.open(start + Duration::from_secs(seconds)).map(|value| value.reveal().to_vec());
        told.says(Some("one"));
        assert_eq!(at(0).unwrap(), b"one");
        told.says(Some("two"));
        assert_eq!((at(59).unwrap(), told.read_count()), (b"one".to_vec(), 1));
        assert_eq!((at(60).unwrap(), told.read_count()), (b"two".to_vec(), 2));
        told.says(None);
        assert_eq!((at(130).unwrap(), told.read_count()), (b"two".to_vec(), 3));
        assert_eq!((at(134).unwrap(), told.read_count()), (b"two".to_vec(), 3), "it is not asked each time");
        assert_eq!((at(60 + 3659).unwrap(), told.read_count()), (b"two".to_vec(), 4));
        let error = at(60 + 3660).unwrap_err();
        assert_eq!(ensue_engine::explain::Explain::slug(&error), "key-unavailable");
        assert!(error.to_string().contains("release.deploy_token") && error.to_string().contains("it is down"), "{error}");
        told.says(Some("three"));
        assert!(at(60 + 3663).is_err(), "a store that failed is not asked each time");
        assert_eq!((at(60 + 3664).unwrap(), told.read_count()), (b"three".to_vec(), 5));
    }

    #[test]
    fn empty_and_oversized_values_are_rejected() {
        let told = Arc::new(CountingProvider::default());
        told.says(Some(""));
        assert!(key(&told).open(Instant::now()).is_err());
        told.says(Some(String::from_utf8(vec![b'x'; VALUE_BYTES_MAX + 1]).unwrap().leak()));
        assert!(key(&told).open(Instant::now()).is_err());
    }
}
