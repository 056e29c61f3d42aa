//! The settings of stores that hold the values of keys: `key_providers` in `ensue.yaml`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ensue_derive::Settings;
use reqwest::Url;
use serde::Deserialize;

use super::paths::NamedPaths;

/// How long a value is used before it is read again, if the settings do not say.
const TTL: Duration = Duration::from_secs(60);
/// The longest time for which a value is used before it is read again.
const TTL_MAX: Duration = Duration::from_secs(300);
/// How long a value is used while its store cannot be reached, if the settings do not say.
const STALE_FOR: Duration = Duration::from_secs(3600);
/// The longest time for which a value is used while its store cannot be reached.
const STALE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Where Kubernetes puts the token of a pod.
const POD_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// A store that holds the values of keys, and how long they are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyProviderSettings {
    /// The store.
    pub store: KeyStore,
    /// How long a value is used before it is read again.
    pub ttl: Duration,
    /// How long a value is used while its store cannot be reached.
    pub stale_for: Duration,
}

/// A store that holds the values of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyStore {
    /// Files in a folder.
    Files(PathBuf),
    /// Variables of the node's own environment.
    Environment,
    /// A secret engine `kv`, version 2, of HashiCorp Vault or OpenBao.
    Hashicorp(Hashicorp),
    /// AWS Secrets Manager.
    Aws(AwsSecrets),
}

/// A server with the API of HashiCorp Vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashicorp {
    /// The address of the server.
    pub url: Url,
    /// Where the secret engine is mounted.
    pub mount: String,
    /// The namespace, if the server has namespaces.
    pub namespace: Option<String>,
    /// How the node logs in.
    pub login: HashicorpLogin,
}

/// How a node logs in to a server with the API of HashiCorp Vault.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Settings)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum HashicorpLogin {
    /// A file with a token.
    TokenFile(PathBuf),
    /// An AppRole.
    Approle(AppRole),
    /// The token of the pod in which the node runs.
    Kubernetes(KubernetesRole),
}

/// An AppRole.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
pub struct AppRole {
    /// The id of the role.
    pub role_id: String,
    /// A file with the secret id.
    pub secret_id_file: PathBuf,
    /// Whether the file has the secret id, or a token that unwraps it once. Default: `plain`.
    #[serde(default)]
    pub secret_id: SecretIdForm,
    /// Where the method is mounted. Default: `approle`.
    #[serde(default = "approle")]
    pub mount: String,
}

/// What the file of a secret id contains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Settings)]
#[serde(rename_all = "snake_case")]
pub enum SecretIdForm {
    /// The secret id.
    #[default]
    Plain,
    /// A token with which the secret id is unwrapped, once.
    Wrapped,
}

/// A role for the token of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
pub struct KubernetesRole {
    /// The name of the role.
    pub role: String,
    /// The file with the token. Default: where Kubernetes puts the token of a pod.
    #[serde(default = "pod_token")]
    pub jwt_file: PathBuf,
    /// Where the method is mounted. Default: `kubernetes`.
    #[serde(default = "kubernetes")]
    pub mount: String,
}

fn approle() -> String {
    "approle".to_owned()
}

fn kubernetes() -> String {
    "kubernetes".to_owned()
}

fn pod_token() -> PathBuf {
    POD_TOKEN.into()
}

/// AWS Secrets Manager in a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsSecrets {
    /// The region.
    pub region: String,
    /// The address of the service.
    pub url: Url,
    /// The credentials with which requests are signed.
    pub credentials: AwsCredentials,
}

/// Where the credentials for AWS come from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Settings)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AwsCredentials {
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` in the node's environment: `environment: {}`.
    Environment {},
    /// A profile in a shared credentials file.
    File(AwsProfile),
    /// The role of the container or pod in which the node runs: `container: {}`.
    Container {},
    /// The role of the machine on which the node runs: `instance: {}`.
    Instance {},
}

impl Default for AwsCredentials {
    fn default() -> Self {
        Self::Environment {}
    }
}

/// A profile in a shared credentials file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
pub struct AwsProfile {
    /// The file. No program of an action can read it.
    pub path: PathBuf,
    /// The profile. Default: `default`.
    #[serde(default = "default_profile")]
    pub profile: String,
}

fn default_profile() -> String {
    "default".to_owned()
}

/// Where the value of a key is in a store.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
pub struct ProvidedAt {
    /// The name of the store in `key_providers`.
    pub provider: String,
    /// The path: of a secret, of a file in the folder, or the name of a variable.
    pub path: String,
    /// The field at that path. It may be left out if there is one value.
    pub field: Option<String>,
}

#[derive(Debug, Deserialize, Settings)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum WrittenKeyProvider {
    /// Files in a folder.
    File(WrittenFiles),
    /// Variables of the environment of the node: `env: {}`.
    Env(WrittenEnvironment),
    /// The secret engine `kv`, version 2, of HashiCorp Vault or OpenBao.
    Hashicorp(WrittenHashicorp),
    /// AWS Secrets Manager.
    Aws(WrittenAws),
}

#[derive(Debug, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenFiles {
    /// The folder. No program of an action can read it.
    folder: PathBuf,
    /// How long a value is used before it is read again, at most 5m. Default: 60s.
    #[setting(form = Duration)]
    ttl: Option<String>,
    /// How long a value is used while its store cannot be reached, at most 24h. Default: 1h.
    #[setting(form = Duration)]
    stale_for: Option<String>,
}

#[derive(Debug, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenEnvironment {}

#[derive(Debug, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenHashicorp {
    /// The address of the server.
    url: String,
    /// Where the secret engine is mounted. Default: `secret`.
    #[serde(default = "secret")]
    mount: String,
    /// The namespace. Default: none.
    namespace: Option<String>,
    /// How the node logs in.
    login: HashicorpLogin,
    /// How long a value is used before it is read again, at most 5m. Default: 60s.
    #[setting(form = Duration)]
    ttl: Option<String>,
    /// How long a value is used while its store cannot be reached, at most 24h. Default: 1h.
    #[setting(form = Duration)]
    stale_for: Option<String>,
}

#[derive(Debug, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenAws {
    /// The region.
    region: String,
    /// The address of the service. Default: that of the region.
    url: Option<String>,
    /// Where the credentials come from. Default: `environment: {}`.
    #[serde(default)]
    credentials: AwsCredentials,
    /// How long a value is used before it is read again, at most 5m. Default: 60s.
    #[setting(form = Duration)]
    ttl: Option<String>,
    /// How long a value is used while its store cannot be reached, at most 24h. Default: 1h.
    #[setting(form = Duration)]
    stale_for: Option<String>,
}

fn secret() -> String {
    "secret".to_owned()
}

impl WrittenKeyProvider {
    /// Returns the settings.
    pub(super) fn read(self, paths: &mut NamedPaths) -> Result<KeyProviderSettings, String> {
        match self {
            Self::File(WrittenFiles { folder, ttl, stale_for }) => settings(KeyStore::Files(paths.hide(folder)), ttl, stale_for),
            Self::Env(WrittenEnvironment {}) => settings(KeyStore::Environment, None, None),
            Self::Hashicorp(WrittenHashicorp { url, mount, namespace, mut login, ttl, stale_for }) => {
                let url = address(&url, "https://vault.example.test:8200")?;
                let file = match &mut login {
                    HashicorpLogin::TokenFile(file) => file,
                    HashicorpLogin::Approle(role) => &mut role.secret_id_file,
                    HashicorpLogin::Kubernetes(role) => &mut role.jwt_file,
                };
                *file = paths.hide(&*file);
                settings(KeyStore::Hashicorp(Hashicorp { url, mount, namespace, login }), ttl, stale_for)
            }
            Self::Aws(WrittenAws { region, url, mut credentials, ttl, stale_for }) => {
                if region.is_empty() || !region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
                    return Err(format!("`region` is `{region}`, but must be like eu-central-1"));
                }
                // The regions of China have a domain of their own.
                let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
                let url = url.unwrap_or_else(|| format!("https://secretsmanager.{region}.{domain}"));
                let url = address(&url, "https://secretsmanager.eu-central-1.amazonaws.com")?;
                if let AwsCredentials::File(AwsProfile { path, .. }) = &mut credentials {
                    *path = paths.hide(&*path);
                }
                settings(KeyStore::Aws(AwsSecrets { region, url, credentials }), ttl, stale_for)
            }
        }
    }
}

/// Returns the address of a server.
fn address(url: &str, example: &str) -> Result<Url, String> {
    let parsed = Url::parse(url).ok().filter(|url| ["http", "https"].contains(&url.scheme()) && url.host().is_some());
    parsed.ok_or_else(|| format!("`url` is `{url}`, but must be like {example}"))
}

fn settings(store: KeyStore, ttl: Option<String>, stale_for: Option<String>) -> Result<KeyProviderSettings, String> {
    Ok(KeyProviderSettings {
        store,
        ttl: within("ttl", ttl, TTL, (Duration::from_secs(1), TTL_MAX))?,
        stale_for: within("stale_for", stale_for, STALE_FOR, (Duration::ZERO, STALE_MAX))?,
    })
}

fn within(name: &str, text: Option<String>, default: Duration, (least, most): (Duration, Duration)) -> Result<Duration, String> {
    let Some(text) = text else { return Ok(default) };
    let read = ensue_packs::parse_duration(&text).filter(|time| (least..=most).contains(time));
    read.ok_or_else(|| format!("`{name}` is `{text}`, but must be from {} to {} seconds, like 60s", least.as_secs(), most.as_secs()))
}

/// Checks that the stores that keys name exist.
pub(super) fn check_names<'s>(
    providers: &BTreeMap<String, KeyProviderSettings>,
    named: impl Iterator<Item = &'s ProvidedAt>,
) -> Result<(), String> {
    let mut unknown = named.filter(|at| !providers.contains_key(&at.provider));
    unknown.next().map_or(Ok(()), |at| Err(format!("a key names the provider `{}`, which is not in `key_providers`", at.provider)))
}
