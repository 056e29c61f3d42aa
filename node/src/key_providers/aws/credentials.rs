//! Where the credentials for AWS come from.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ensue_engine::ports::Secret;
use ensue_engine::time::Timestamp;
use ensue_executor::web::Letter;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde_json::Value;

use super::super::ProviderError;
use super::super::exchange::{Exchange, ServerAnswer};
use super::signature::secret;
use crate::config::{AwsCredentials, AwsProfile, read_secret};

/// How long before their end temporary credentials are replaced.
const REPLACED_BEFORE: Duration = Duration::from_secs(300);
/// The host of `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`.
const CONTAINER_HOST: &str = "http://169.254.170.2";
/// The metadata service of a machine.
const METADATA: &str = "http://169.254.169.254/latest";

/// What signs requests.
pub(super) struct Credentials {
    pub(super) key_id: String,
    pub(super) secret_key: Secret,
    pub(super) session_token: Option<Secret>,
}

/// Reads a variable of the environment.
pub(super) type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Where the credentials come from, and the temporary ones that are in use.
pub(super) struct CredentialSource {
    from: AwsCredentials,
    exchange: Exchange,
    environment: Environment,
    temporary: Mutex<Option<(Arc<Credentials>, Timestamp)>>,
}

impl CredentialSource {
    pub(super) fn new(from: AwsCredentials, exchange: Exchange, environment: Environment) -> Self {
        Self { from, exchange, environment, temporary: Mutex::default() }
    }

    /// Returns the credentials. Blocking.
    pub(super) fn current(&self, now: Timestamp) -> Result<Arc<Credentials>, ProviderError> {
        match &self.from {
            AwsCredentials::Environment {} => self.of_environment().map(Arc::new),
            AwsCredentials::File(AwsProfile { path, profile }) => of_file(path, profile).map(Arc::new),
            AwsCredentials::Container {} => self.temporary(now, || self.of_container()),
            AwsCredentials::Instance {} => self.temporary(now, || self.of_instance()),
        }
    }

    /// Drops temporary credentials, so that the next request gets others.
    pub(super) fn forget(&self) {
        *self.temporary.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn temporary(&self, now: Timestamp, get: impl Fn() -> Result<Value, ProviderError>) -> Result<Arc<Credentials>, ProviderError> {
        let mut temporary = self.temporary.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((credentials, until)) = &*temporary
            && now < *until
        {
            return Ok(credentials.clone());
        }
        let granted = get()?;
        let text = |name: &str| granted[name].as_str().filter(|text| !text.is_empty());
        let (Some(key_id), Some(key)) = (text("AccessKeyId"), text("SecretAccessKey")) else {
            return Err(ProviderError("the answer has no credentials".to_owned()));
        };
        let credentials =
            Arc::new(Credentials { key_id: key_id.to_owned(), secret_key: secret(key), session_token: text("Token").map(secret) });
        let end = text("Expiration").and_then(|end| end.parse::<Timestamp>().ok());
        *temporary = end.map(|end| {
            let early = Timestamp::from_micros(end.micros() - REPLACED_BEFORE.as_micros() as i64);
            (credentials.clone(), early)
        });
        Ok(credentials)
    }

    fn of_environment(&self) -> Result<Credentials, ProviderError> {
        let variable = |name: &str| (self.environment)(name).filter(|value| !value.is_empty());
        let needed = |name: &str| variable(name).ok_or_else(|| ProviderError(format!("the variable {name} is not set")));
        Ok(Credentials {
            key_id: needed("AWS_ACCESS_KEY_ID")?,
            secret_key: secret(&needed("AWS_SECRET_ACCESS_KEY")?),
            session_token: variable("AWS_SESSION_TOKEN").map(|token| secret(&token)),
        })
    }

    fn of_container(&self) -> Result<Value, ProviderError> {
        let variable = |name: &str| (self.environment)(name).filter(|value| !value.is_empty());
        let relative = || variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").map(|path| format!("{CONTAINER_HOST}{path}"));
        let url = variable("AWS_CONTAINER_CREDENTIALS_FULL_URI").or_else(relative).ok_or_else(|| {
            ProviderError("neither AWS_CONTAINER_CREDENTIALS_FULL_URI nor AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is set".to_owned())
        })?;
        let token = match variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some(file) => Some(read_secret(Path::new(&file)).map_err(|error| ProviderError(error.to_string()))?),
            None => variable("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(|token| secret(&token)),
        };
        let header = token.as_ref().map(|token| (AUTHORIZATION, token.reveal()));
        Ok(self.ask(Method::GET, &url, header)?.body)
    }

    fn of_instance(&self) -> Result<Value, ProviderError> {
        let life = (HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds"), b"60".as_slice());
        let token = self.ask(Method::PUT, &format!("{METADATA}/api/token"), Some(life))?.bytes;
        let get = |path: &str| {
            let token = (HeaderName::from_static("x-aws-ec2-metadata-token"), token.as_slice());
            self.ask(Method::GET, &format!("{METADATA}/meta-data/iam/security-credentials/{path}"), Some(token))
        };
        let role = get("")?.bytes;
        let role = std::str::from_utf8(&role).ok().and_then(|names| names.lines().next()).map(str::trim);
        let is_name = |name: &&str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte));
        let role = role.filter(is_name).ok_or_else(|| ProviderError("the machine has no role".to_owned()))?;
        Ok(get(role)?.body)
    }

    fn ask(&self, method: Method, url: &str, header: Option<(HeaderName, &[u8])>) -> Result<ServerAnswer, ProviderError> {
        let url = Url::parse(url).map_err(|_| ProviderError("the address of the credentials is not a URL".to_owned()))?;
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = header {
            let invalid = |_| ProviderError("the token for the credentials has invalid characters".to_owned());
            let mut value = HeaderValue::from_bytes(value.trim_ascii()).map_err(invalid)?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let told = self.exchange.send(Letter { method, url, headers, body: None })?;
        match told.status.as_u16() {
            200..300 => Ok(told),
            status => Err(ProviderError(format!("the credentials were not returned (status {status})"))),
        }
    }
}

/// Reads a profile of a shared credentials file.
fn of_file(path: &Path, profile: &str) -> Result<Credentials, ProviderError> {
    let content = read_secret(path).map_err(|error| ProviderError(error.to_string()))?;
    let content = std::str::from_utf8(content.reveal()).map_err(|_| ProviderError("the credentials file is not text".to_owned()))?;
    let mut is_in = false;
    let (mut key_id, mut key, mut token) = (None, None, None);
    for line in content.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            is_in = name.trim() == profile;
        } else if let (true, Some((name, value))) = (is_in, line.split_once('=')) {
            match name.trim() {
                "aws_access_key_id" => key_id = Some(value.trim().to_owned()),
                "aws_secret_access_key" => key = Some(secret(value.trim())),
                "aws_session_token" => token = Some(secret(value.trim())),
                _ => {}
            }
        }
    }
    let (Some(key_id), Some(secret_key)) = (key_id, key) else {
        return Err(ProviderError(format!("the credentials file has no profile `{profile}` with a key id and a secret key")));
    };
    Ok(Credentials { key_id, secret_key, session_token: token })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profile_is_read_from_a_shared_credentials_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        let content = "# mine\n[default]\naws_access_key_id = A0\naws_secret_access_key = k0\n\n[ ensue ]\naws_access_key_id=A1\n\
                       aws_secret_access_key = k1=\naws_session_token = t1\nregion = eu-central-1\n[half]\naws_access_key_id = A2\n";
        std::fs::write(&path, content).unwrap();
        let read = |profile: &str| of_file(&path, profile);
        let default = read("default").unwrap();
        assert_eq!((default.key_id.as_str(), default.secret_key.reveal()), ("A0", b"k0".as_slice()));
        assert!(default.session_token.is_none());
        let ensue = read("ensue").unwrap();
        assert_eq!((ensue.key_id.as_str(), ensue.secret_key.reveal()), ("A1", b"k1=".as_slice()));
        assert_eq!(ensue.session_token.unwrap().reveal(), b"t1");
        for profile in ["half", "missing"] {
            let why = read(profile).err().unwrap().to_string();
            assert!(why.contains(profile) && !why.contains("k0"), "{why}");
        }
        assert!(of_file(&folder.path().join("missing"), "default").is_err());
    }
}
