//! What a type of `ensue.yaml` may be, and how variables set it. `#[derive(Settings)]` implements it, so that each setting is
//! declared once: as a field of what `serde` reads.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use ensue_engine::names::{ConnectionName, GroupName, KeyRef, LabelName, PackName, TierName, WorkerQueueName};
use ensue_executor::programs::IsolationMode;
use ensue_packs::json_schema;
use ensue_packs::shape::{Form, Kind, Shape};
use serde::de::value::{Error as WordError, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use serde_saphyr::Spanned;

use super::WrittenConfig;
use crate::refusals::RecordedAddress;

/// Returns the JSON Schema of `ensue.yaml`.
pub fn settings_schema() -> Value {
    let mut schema = json_schema::of_one("The settings of an Ensue node", WrittenConfig::SHAPE);
    // A file that contains only comments is valid.
    schema["type"] = json!(["object", "null"]);
    schema
}

/// A value in the file.
pub(super) trait Setting {
    /// The form of the value, if it is a text.
    const FORM: Form = Form::Any;
    /// The kind of the value.
    const KIND: Kind = Kind::Text(Self::FORM);
    /// The kind of a list of such values.
    const LIST: Kind = Kind::Texts { of: Self::FORM, least: 0 };
    /// The fields of the value, if it is a mapping.
    const SHAPE: &'static Shape = &Shape { what: "", fields: &[], later: &[], between: &[] };
    /// The settings in the value.
    const DECLARED: &'static [DeclaredSetting] = &[];

    /// Sets the setting of a variable, if it is one of those in the value. The error says what the variable must be.
    fn set_variable(&mut self, _variable: &str, _text: &str) -> Option<Result<(), String>> {
        None
    }
}

/// A value that a variable can set.
pub(super) trait FromVariable: Sized {
    /// Reads the text of a variable. The error says what it must be.
    fn from_variable(text: &str) -> Result<Self, String>;
}

/// A setting, and those in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeclaredSetting {
    /// The name of its field.
    pub(super) name: &'static str,
    /// What it is, for people.
    pub(super) about: &'static str,
    /// The environment variable that overrides the file.
    pub(super) variable: Option<&'static str>,
    /// The settings in it.
    pub(super) parts: &'static [DeclaredSetting],
}

/// Returns the variables of settings.
pub(super) fn variables(of: &'static [DeclaredSetting]) -> Vec<&'static str> {
    of.iter().flat_map(|setting| setting.variable.into_iter().chain(variables(setting.parts))).collect()
}

/// Returns true if a variable is that of one of the settings.
pub(super) fn has_variable(of: &'static [DeclaredSetting], variable: &str) -> bool {
    of.iter().any(|setting| setting.variable == Some(variable) || has_variable(setting.parts, variable))
}

/// Returns the variable of the setting at a path such as `limits.silent_per_address`, if it has one.
pub(super) fn variable_of(of: &'static [DeclaredSetting], path: &str) -> Option<&'static str> {
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    let setting = of.iter().find(|setting| setting.name == name)?;
    if rest.is_empty() { setting.variable } else { variable_of(setting.parts, rest) }
}

/// Reads a field that the file must have, although it is an `Option`.
pub(super) fn required<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Reads one of the words of an enum. The error lists them.
pub(super) fn word<T: DeserializeOwned>(words: &[&str], text: &str) -> Result<T, String> {
    let word: StrDeserializer<'_, WordError> = text.into_deserializer();
    T::deserialize(word).map_err(|_| match words {
        [others @ .., last] if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => words.concat(),
    })
}

impl<T: FromVariable> FromVariable for Option<T> {
    fn from_variable(text: &str) -> Result<Self, String> {
        T::from_variable(text).map(Some)
    }
}

/// The items of a list are separated by commas.
impl<T: FromVariable> FromVariable for Vec<T> {
    fn from_variable(text: &str) -> Result<Self, String> {
        text.split(',').map(|item| T::from_variable(item.trim())).collect()
    }
}

impl FromVariable for String {
    fn from_variable(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl FromVariable for PathBuf {
    fn from_variable(text: &str) -> Result<Self, String> {
        Ok(text.into())
    }
}

impl FromVariable for SocketAddr {
    fn from_variable(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "an address like 127.0.0.1:3678".to_owned())
    }
}

/// A mapping without fields.
impl Setting for () {
    const KIND: Kind = Kind::Fields(Self::SHAPE);
}

/// Returns the kind of a whole number from one number to another. Without `to`, the end is that of the number's type. Another
/// kind does not compile.
pub(super) const fn within(kind: Kind, from: i64, to: Option<i64>) -> Kind {
    match (kind, to) {
        (Kind::Integer { .. }, Some(to)) | (Kind::Integer { to, .. }, None) => Kind::Integer { from, to },
        _ => panic!("only a whole number has ends"),
    }
}

/// Returns the kind of a mapping whose names have this form. Another kind does not compile.
pub(super) const fn with_names(kind: &Kind, names: Form) -> Kind {
    match kind {
        Kind::Mapping { of, .. } => Kind::Mapping { names, of },
        _ => panic!("only a mapping has names"),
    }
}

impl<T: Setting> Setting for Option<T> {
    const KIND: Kind = T::KIND;
    const DECLARED: &'static [DeclaredSetting] = T::DECLARED;
}

impl<T: Setting> Setting for Spanned<T> {
    const KIND: Kind = T::KIND;
}

impl<T: Setting> Setting for Vec<T> {
    const KIND: Kind = T::LIST;
}

impl<T: Setting> Setting for BTreeSet<T> {
    const KIND: Kind = T::LIST;
}

impl<N: Setting, T: Setting> Setting for BTreeMap<N, T> {
    const KIND: Kind = Kind::Mapping { names: N::FORM, of: &T::KIND };
}

impl Setting for Map<String, Value> {
    const KIND: Kind = Kind::Mapping { names: Form::Any, of: &Kind::Anything };
}

impl Setting for bool {
    const KIND: Kind = Kind::Boolean;
}

/// Implements `Setting` for types whose values are texts of one form.
macro_rules! texts {
    ($($form:ident: $($name:ty),*;)*) => {$($(impl Setting for $name { const FORM: Form = Form::$form; })*)*};
}

texts! {
    Any: String, PathBuf, GroupName;
    Name: ConnectionName, LabelName, PackName, TierName, WorkerQueueName;
    Ref: KeyRef;
    Address: SocketAddr;
}

/// Implements `Setting` for whole numbers.
macro_rules! numbers {
    ($($name:ty: $to:expr;)*) => {$(
        impl Setting for $name {
            const KIND: Kind = Kind::Integer { from: 0, to: $to };
        }

        impl FromVariable for $name {
            fn from_variable(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| "a whole number".to_owned())
            }
        }
    )*};
}

numbers! {
    u16: u16::MAX as i64;
    u32: u32::MAX as i64;
    u64: i64::MAX;
    usize: i64::MAX;
}

/// Implements `Setting` for enums of other crates, by the names of their variants.
macro_rules! choices {
    ($($name:ty: $words:expr;)*) => {$(
        impl Setting for $name {
            const KIND: Kind = Kind::Choice($words);
        }

        impl FromVariable for $name {
            fn from_variable(text: &str) -> Result<Self, String> {
                word($words, text)
            }
        }
    )*};
}

choices! {
    IsolationMode: &["auto", "none", "required"];
    RecordedAddress: &["full", "truncated", "none"];
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ensue_api::ports::SettingSource;

    use super::*;
    use crate::config::{Config, WrittenValues};

    const ALL_SETTINGS: &str = "\
listen: 127.0.0.1:3678
url: https://ensue.example.test
hosts: [ensue]
tls: { cert: cert.pem, key: key.pem, client_ca: ca.pem }
trusted_proxies: [10.0.0.0/8]
proxy_header: forwarded
cors: { origins: ['https://app.example.test'] }
login:
  device: true
  issuers:
    corp:
      issuer: https://id.example.test
      use: [bearer, browser]
      client_id: ensue
      client_secret: { key: ensue.corp_secret }
      scopes: [openid, email]
      session_max: 12h
      refresh: true
      name: claims.sub
      audience: [https://ensue.example.test]
      allow: 'true'
      groups: 'null'
      local_groups: false
      kind: person
      max_lifetime: 1h
      ca: corp.pem
      keys_from: { hosts: [keys.example.test] }
  proxy: { from: 10.0.0.7/32, user: X-Forwarded-User, groups: X-Forwarded-Groups, secret: { key: ensue.proxy_secret } }
  certificates: { ca: clients.pem, allow: 'true', name: 'cert.san[0]' }
  password: true
inquiries: { links: false }
page: false
limits: { connections_per_address: 50, silent_per_address: 64 }
webhooks: { body_max: 26214400 }
data: ./data
database: { url: 'postgres://ensue@db.example.test/ensue', password: { file: db.password } }
objects: s3://bucket/ensue
packs_dir: ./packs
workers: 8
queues: { default: { rate: { limit: 50, per: 1s } }, heavy: { workers: 2 } }
lease: 30s
min_free: 1000000
memory: 536870912
outputs: { attempt_max: 1000000, quota: 10000000, keep_days: 7 }
artifacts: { file_max: 1000000, quota: 10000000, keep_days: 7 }
retention: { executions: 90d }
audit: { address: full }
access:
  labels: [site]
  packs: listed
  tiers: [{ group: trial, tier: free }]
  roles: { restarter: ['executions:read', 'executions:rerun'] }
  grants: [{ subject: 'group:release', role: restarter, on: 'pack=release', until: 2027-01-01T00:00:00Z }]
tiers: { free: { events_per_day: 10000, executions_per_hour: 500, concurrent: 10 } }
connections:
  orders:
    http:
      url: https://orders.example.test/api
      auth: { bearer: { key: shop.token } }
      headers: { Accept: application/json }
      ca: orders.pem
      timeout: 30s
      connect_timeout: 5s
      test_path: /health
    packs: [shop]
    max: 8
    breaker: { failures: 5, open_for: 30s }
  stock: { http: { url: 'https://stock.example.test', auth: { basic: { user: app, password: { key: shop.password } } } } }
  search: { http: { url: 'https://search.example.test', auth: { header: { name: X-Api-Key, prefix: 'Token ', value: { key: shop.api } } } } }
  pager: { http: { url: 'https://events.example.test', auth: { json_field: { name: routing_key, value: { key: shop.pager } } } } }
  crm:
    http:
      url: https://crm.example.test
      auth: { oauth2: { token_url: 'https://id.example.test', client_id: a, client_secret: { key: shop.crm }, scopes: [read], audience: crm } }
  relay: { smtp: { host: mail.example.test, port: 465, tls: implicit, user: app, password: { key: shop.mail }, ca: mail.pem, timeout: 30s } }
egress: { allow: ['10.0.0.0/8'] }
actions:
  isolation: auto
  readable: [/srv/data]
  writable: [/srv/www]
  user: www-data
  at_stop: go_on
  memory: 1073741824
  file_size: 1073741824
  open_files: 1024
  cpu_seconds: 3600
rate_limits: { reads: 600/1m, writes: 120/1m, hooks: 50/1s, anonymous: 600/1m }
traces: { endpoint: 'http://127.0.0.1:4318' }
packs:
  release:
    config: { owner: acme, sizes: [1, null] }
    keys:
      deploy_token: { file: /run/secrets/t }
      signing: { from: { provider: pods, path: team/release, field: signing } }
key_providers:
  mounted: { file: { folder: /run/secrets, ttl: 10s, stale_for: 2h } }
  process: { env: {} }
  team: { hashicorp: { url: 'https://vault.example.test:8200', mount: kv, namespace: team, login: { token_file: token }, ttl: 60s, stale_for: 1h } }
  roles: { hashicorp: { url: 'https://vault.example.test', login: { approle: { role_id: r, secret_id_file: f, secret_id: wrapped, mount: a } } } }
  cloud: { aws: { region: eu-central-1, url: 'https://vpce.example.test', credentials: { file: { path: aws, profile: ensue } }, ttl: 60s, stale_for: 1h } }
  machine: { aws: { region: eu-central-1, credentials: { instance: {} } } }
  container: { aws: { region: eu-central-1, credentials: { container: {} } } }
  variables: { aws: { region: cn-north-1, credentials: { environment: {} } } }
  pods: { hashicorp: { url: 'https://vault.example.test', login: { kubernetes: { role: ensue, jwt_file: j, mount: k } } } }
";

    fn is_read(settings: &Value) -> bool {
        serde_saphyr::from_str::<WrittenConfig>(&settings.to_string()).is_ok()
    }

    fn fits(settings: &Value) -> bool {
        jsonschema::validator_for(&settings_schema()).unwrap().is_valid(settings)
    }

    /// Collects the location of every value, as JSON Pointers.
    fn places(value: &Value, at: &str, found: &mut Vec<String>) {
        found.push(at.to_owned());
        if let Value::Object(entries) = value {
            for (name, value) in entries {
                places(value, &format!("{at}/{name}"), found);
            }
        }
    }

    #[test]
    fn every_setting_of_a_file_is_listed_with_its_line() {
        let mut written = WrittenValues::default();
        written.note_file(Path::new("ensue.yaml"), ALL_SETTINGS).unwrap();
        let (from_file, absent): (Vec<_>, Vec<_>) = written.settings().into_iter().partition(|one| one.source == SettingSource::File);
        let absent: Vec<String> = absent.into_iter().map(|setting| setting.name).collect();
        assert_eq!(absent, ["actions.processes"]);
        for setting in from_file {
            let line = setting.place.as_deref().and_then(|place| place.strip_prefix("ensue.yaml:")).unwrap().parse::<usize>().unwrap();
            let key = format!("{}:", setting.name.rsplit('.').next().unwrap());
            assert!(ALL_SETTINGS.lines().nth(line - 1).unwrap().contains(&key), "{}: {line}", setting.name);
        }
    }

    #[test]
    fn schema_for_editors_is_the_published_one() {
        let published: Value = serde_json::from_str(include_str!("../../../packs/schemas/settings.json")).unwrap();
        assert_eq!(settings_schema(), published, "write it with `ensue schema --all packs/schemas`");
    }

    #[test]
    fn file_with_every_setting_is_valid_and_accepted() {
        let settings: Value = serde_saphyr::from_str(ALL_SETTINGS).unwrap();
        let read = serde_saphyr::from_str::<WrittenConfig>(&settings.to_string()).map(drop);
        assert!(read.is_ok() && fits(&settings), "{read:?}");
        for name in WrittenConfig::SHAPE.names() {
            assert!(settings.get(name).is_some(), "{name} is missing from the example");
        }
        assert!(fits(&Value::Null), "a file of comments alone");
    }

    #[test]
    fn every_path_that_the_settings_name_is_hidden_unless_programs_may_reach_it() {
        const SHARED: [&str; 9] =
            ["ca.pem", "clients.pem", "corp.pem", "data", "mail.pem", "orders.pem", "packs", "for_programs/data", "for_programs/www"];
        let folder = tempfile::TempDir::new().unwrap();
        let text = ALL_SETTINGS.replace("/run/secrets", "secrets").replace("/srv/", "for_programs/").replace("./", "");
        let text = text.replace("secret: { key: ensue.proxy_secret }", "secret: { file: proxy.secret }");
        let text = text.replace("client_secret: { key: ensue.corp_secret }", "client_secret: { file: corp.secret }");
        let text = text.replace("keys_from: { hosts: [keys.example.test] }", "keys_from: { file: keys.json }");
        let text = text.replace("s3://bucket/ensue", &format!("file://{}/bucket", folder.path().display()));
        std::fs::write(folder.path().join("node.yaml"), &text).unwrap();
        std::fs::write(folder.path().join("db.password"), "s3cret-password").unwrap();
        let config = Config::read(Some(&folder.path().join("node.yaml")), std::iter::empty()).unwrap();
        let shown = format!("{config:?}");
        assert!(!shown.contains("s3cret-password"), "{shown}");
        // Whatever the settings resolved to is in what they show of themselves, so a new setting needs no line here.
        let prefix = format!("\"{}/", folder.path().display());
        let named: BTreeSet<&str> = shown.split(&prefix).skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let hidden = config.hidden_paths();
        let visible = named.iter().filter(|name| !hidden.contains(&folder.path().join(name))).copied();
        assert_eq!(visible.collect::<BTreeSet<_>>(), BTreeSet::from(SHARED));
        for name in ["node.yaml", "bucket", "cert.pem", "key.pem", "db.password", "secrets/t", "aws", "f", "j", "keys.json"] {
            assert!(hidden.contains(&folder.path().join(name)), "{name}: {hidden:?}");
        }
    }

    #[test]
    fn unknown_or_mistyped_setting_is_rejected_by_reader_and_schema() {
        let settings: Value = serde_saphyr::from_str(ALL_SETTINGS).unwrap();
        let mut all = Vec::new();
        places(&settings, "", &mut all);
        for place in all.iter().filter(|place| !place.starts_with("/packs/release/config/")) {
            let mut edited = settings.clone();
            let value = edited.pointer_mut(place).unwrap();
            let is_open = ["/keys", "/config", "/headers"].iter().any(|open| place.ends_with(open)) || place == "/packs";
            if let Value::Object(entries) = value
                && !is_open
            {
                entries.insert("nonsense".into(), json!(1));
                assert!(!is_read(&edited) && !fits(&edited), "an unknown field in `{place}`");
            }
            let mut edited = settings.clone();
            *edited.pointer_mut(place).unwrap() = json!([[]]);
            assert!(!is_read(&edited) && !fits(&edited), "a list of lists at `{place}`");
        }
        let mut edited = settings;
        edited["packs"]["release"]["keys"]["deploy_token"] = json!({});
        assert!(!is_read(&edited) && !fits(&edited), "a key from nowhere");
    }
}
