//! The settings `login.issuers` of `ensue.yaml`: as written, and checked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ensue_engine::explain::Explain;
pub use ensue_engine::names::IssuerName;
use ensue_engine::names::{KeyRef, NameError};
use ensue_engine::time::parse_duration;
use ensue_expression::{Expression, Roots};
use serde::Deserialize;
use thiserror::Error;
use url::{Host, Url};

use crate::claim_rules::ClaimRules;
use crate::fetch::HostBy;

/// The maximum number of issuers.
pub const ISSUERS_MAX: usize = 50;
/// The default of `max_lifetime`.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// The minimum of `max_lifetime` and `session_max`.
const LIFETIME_MIN: Duration = Duration::from_secs(60);
/// The maximum length of a URL, in bytes.
const URL_BYTES_MAX: usize = 2_048;
/// The maximum number of elements of `audience`, `scopes` and `keys_from`.
const LIST_MAX: usize = 50;

/// How tokens of an issuer may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// People log in with a browser.
    Browser,
    /// Requests to the API carry a token of the issuer.
    Bearer,
}

/// What an identity is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A person. The issuer's `sub` identifies it.
    #[default]
    Person,
    /// A program. The rendered `name` identifies it.
    Service,
}

/// One text or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

/// Where a client secret is, as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenSecret {
    /// The ref of a key: `ensue.corp_secret`.
    pub key: Option<String>,
    /// A file.
    pub file: Option<PathBuf>,
}

/// Where keys may come from, as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenKeysFrom {
    /// Further hosts.
    pub hosts: Option<OneOrMany>,
    /// A file.
    pub file: Option<PathBuf>,
}

/// An issuer as written in `ensue.yaml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "`IssuerSettings` describes the fields")]
pub struct WrittenIssuer {
    pub issuer: String,
    pub client_id: Option<String>,
    pub client_secret: Option<WrittenSecret>,
    #[serde(rename = "use")]
    pub uses: Vec<Use>,
    pub audience: Option<OneOrMany>,
    pub scopes: Option<Vec<String>>,
    pub allow: Option<String>,
    pub name: String,
    pub groups: Option<String>,
    #[serde(default)]
    pub local_groups: bool,
    #[serde(default)]
    pub kind: Kind,
    pub max_lifetime: Option<String>,
    pub session_max: Option<String>,
    #[serde(default)]
    pub refresh: bool,
    pub ca: Option<PathBuf>,
    pub keys_from: Option<WrittenKeysFrom>,
}

/// Where a client secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// In the vault, under this ref.
    Key(KeyRef),
    /// In a file.
    File(PathBuf),
}

/// Where an issuer's keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysFrom {
    /// From the URL of the discovery document, whose host is that of the issuer or one of these.
    Discovery {
        /// Further hosts.
        hosts: Vec<String>,
    },
    /// From a file; nothing is fetched.
    File(PathBuf),
    /// From where a pack says: this URL, or the URL of the discovery document on the issuer's host. The operator has not
    /// confirmed the hosts.
    Pack(Option<Url>),
}

/// The client at an issuer through which people log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client's id.
    pub id: String,
    /// Its secret; a public client has none.
    pub secret: Option<SecretSource>,
    /// The scopes that are requested, with `openid` among them.
    pub scopes: Vec<String>,
    /// Whether the issuer is asked again while a session lasts.
    pub renewal: Renewal,
}

/// Whether an issuer is asked again while a session lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// Each hour, with its refresh token.
    Hourly,
    /// Never: groups change with the next login.
    Never,
}

/// An issuer, checked.
#[derive(Clone, Debug)]
pub struct IssuerSettings {
    /// The operator's name for it.
    pub name: IssuerName,
    /// Its URL, byte for byte as its tokens have it in `iss`.
    pub issuer: String,
    /// The client, if people log in with a browser.
    pub client: Option<Client>,
    /// The accepted audiences of a bearer token; empty if bearer tokens are not accepted.
    pub audience: Vec<String>,
    /// What its identities are.
    pub kind: Kind,
    /// Whether its groups have its name before them.
    pub group_prefix: GroupPrefix,
    /// How long a token may last.
    pub lifetime_max: Duration,
    /// How long a session may last, if the issuer shortens it.
    pub session_max: Option<Duration>,
    /// A file of certificates of the authorities that are trusted for it, instead of those of the machine.
    pub ca: Option<PathBuf>,
    /// Where its keys come from.
    pub keys_from: KeysFrom,
    pub(crate) rules: ClaimRules,
}

/// How the groups of an issuer are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupPrefix {
    /// `corp:release`.
    Issuer,
    /// `release`, so that the issuer can put identities into local groups.
    None,
}

/// Why the settings of an issuer are invalid.
#[derive(Clone, Debug, PartialEq, Eq, Error, Explain)]
#[non_exhaustive]
#[explain(slug = "config-invalid", fault = Malformed)]
pub enum SettingsError {
    /// A name is not valid.
    #[error("`login.issuers`: {why}")]
    Name {
        /// What is wrong with it.
        why: String,
    },
    /// A setting is missing that another one needs.
    #[error("`{setting}` is missing: {why}")]
    Missing {
        /// The setting, from the top of the file.
        setting: String,
        /// Why it is needed.
        why: &'static str,
    },
    /// A setting is not valid.
    #[error("`{setting}` is not valid: {why}")]
    Invalid {
        /// The setting, from the top of the file.
        setting: String,
        /// What is wrong, and what to write.
        why: String,
    },
    /// An expression does not compile.
    #[error("`{setting}`, line {line}, column {column}: {why}")]
    #[explain(hint = hint.clone())]
    Expression {
        /// The setting, from the top of the file.
        setting: String,
        /// The line of the expression, counted from 1.
        line: usize,
        /// The column, in characters counted from 1.
        column: usize,
        /// What is wrong.
        why: String,
        /// What to write instead, if known.
        hint: Option<String>,
    },
    /// Two issuers have the same URL, so nobody can say which one a token means.
    #[error("`login.issuers.{first}` and `login.issuers.{second}` have the same `issuer`")]
    SameIssuer {
        /// One of them.
        first: String,
        /// The other one.
        second: String,
    },
    /// There are too many issuers.
    #[error("`login.issuers` has {0} issuers, but may have at most {ISSUERS_MAX}")]
    TooMany(usize),
}

/// Checks the setting `login.issuers`.
///
/// # Errors
/// The first setting that is missing or not valid, with its place and what to write.
pub fn check_issuers(written: BTreeMap<String, WrittenIssuer>) -> Result<Vec<IssuerSettings>, SettingsError> {
    if written.len() > ISSUERS_MAX {
        return Err(SettingsError::TooMany(written.len()));
    }
    let mut checked: Vec<IssuerSettings> = Vec::new();
    for (name, issuer) in written {
        let parsed: IssuerName = name.parse().map_err(|error: NameError| SettingsError::Name { why: error.to_string() })?;
        if [IssuerName::proxy(), IssuerName::certificate()].contains(&parsed) {
            return Err(SettingsError::Name { why: format!("`{parsed}` is the name of another way in; choose another name") });
        }
        let settings = IssuerSettings::check(parsed, issuer)?;
        if let Some(same) = checked.iter().find(|other| other.issuer == settings.issuer) {
            return Err(SettingsError::SameIssuer { first: same.name.to_string(), second: name });
        }
        checked.push(settings);
    }
    Ok(checked)
}

impl IssuerSettings {
    /// Returns true if the API accepts tokens of the issuer.
    pub fn takes_bearer(&self) -> bool {
        !self.audience.is_empty()
    }

    /// Returns true if the settings read the groups of tokens.
    pub fn reads_groups(&self) -> bool {
        self.rules.groups.is_some()
    }

    /// Returns who named the host of a URL.
    pub(crate) fn host_by(&self, url: &Url) -> HostBy {
        let named: &[String] = match &self.keys_from {
            KeysFrom::Discovery { hosts } => hosts,
            KeysFrom::File(_) => &[],
            KeysFrom::Pack(_) => return HostBy::Issuer,
        };
        let is_host = |host: &str| Url::parse(&self.issuer).is_ok_and(|issuer| issuer.host_str() == Some(host));
        let is_named = url.host_str().is_some_and(|host| is_host(host) || named.iter().any(|one| one == host));
        if is_named { HostBy::Operator } else { HostBy::Issuer }
    }

    /// Returns the settings of an issuer whose tokens prove the sender of a webhook, as a pack names it.
    pub(crate) fn of_pack(name: IssuerName, issuer: String, jwks: Option<Url>) -> Result<Self, SettingsError> {
        let at = IssuerContext(&name);
        at.check_issuer(&issuer)?;
        let rules = ClaimRules { allow: None, name: at.compile("name", "claims.sub")?, groups: None };
        Ok(Self {
            client: None,
            audience: Vec::new(),
            kind: Kind::Service,
            group_prefix: GroupPrefix::Issuer,
            lifetime_max: LIFETIME,
            session_max: None,
            ca: None,
            keys_from: KeysFrom::Pack(jwks),
            rules,
            issuer,
            name,
        })
    }

    fn check(name: IssuerName, written: WrittenIssuer) -> Result<Self, SettingsError> {
        let at = IssuerContext(&name);
        at.check_issuer(&written.issuer)?;
        if written.uses.is_empty() {
            return Err(at.missing("use", "write `[browser]`, `[bearer]` or both"));
        }
        let audience = match (written.uses.contains(&Use::Bearer), written.audience) {
            (true, Some(audience)) => at.texts("audience", audience.into_vec(), "an audience that tokens have in `aud`")?,
            (true, None) => return Err(at.missing("audience", "with `bearer` it names the tokens that are for this node")),
            (false, None) => Vec::new(),
            (false, Some(_)) => return Err(at.invalid("audience", "it is for `bearer`, which `use` does not have")),
        };
        if !audience.is_empty() && written.allow.is_none() {
            return Err(at.missing("allow", "with `bearer` it chooses among those for whom the issuer signs; write `true` for everybody"));
        }
        let client = if written.uses.contains(&Use::Browser) {
            if written.kind == Kind::Service {
                return Err(at.invalid("kind", "a service cannot log in with a browser; remove `browser` from `use`"));
            }
            let id = written.client_id.filter(|id| !id.is_empty());
            let id = id.ok_or_else(|| at.missing("client_id", "with `browser` it names the node at the issuer"))?;
            let secret = written.client_secret.map(|secret| secret.check(&at.path("client_secret"))).transpose()?;
            let scopes = written.scopes.unwrap_or_else(|| vec!["openid".to_owned()]);
            let scopes = at.texts("scopes", scopes, "a scope, for example `openid`")?;
            if scopes.iter().any(|scope| scope.contains(char::is_whitespace)) {
                return Err(at.invalid("scopes", "a scope has no spaces; write a list"));
            }
            if !scopes.iter().any(|scope| scope == "openid") {
                return Err(at.invalid("scopes", "without `openid` the issuer sends no ID token; add it"));
            }
            let renewal = if written.refresh { Renewal::Hourly } else { Renewal::Never };
            Some(Client { id, secret, scopes, renewal })
        } else {
            let given = [
                ("client_id", written.client_id.is_some()),
                ("client_secret", written.client_secret.is_some()),
                ("refresh", written.refresh),
            ];
            if let Some((setting, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
                return Err(at.invalid(setting, "it is for `browser`, which `use` does not have"));
            }
            None
        };
        let rules = ClaimRules {
            allow: written.allow.map(|source| at.compile("allow", &source)).transpose()?,
            name: at.compile("name", &written.name)?,
            groups: written.groups.map(|source| at.compile("groups", &source)).transpose()?,
        };
        Ok(Self {
            client,
            audience,
            kind: written.kind,
            group_prefix: if written.local_groups { GroupPrefix::None } else { GroupPrefix::Issuer },
            lifetime_max: at.duration("max_lifetime", written.max_lifetime)?.unwrap_or(LIFETIME),
            session_max: at.duration("session_max", written.session_max)?,
            ca: written.ca,
            keys_from: at.keys_from(written.keys_from)?,
            rules,
            issuer: written.issuer,
            name,
        })
    }
}

impl WrittenSecret {
    /// Checks the setting at this path.
    pub(crate) fn check(self, setting: &str) -> Result<SecretSource, SettingsError> {
        let invalid = |why: String| SettingsError::Invalid { setting: setting.to_owned(), why };
        match (self.key, self.file) {
            (Some(key), None) => key.parse().map(SecretSource::Key).map_err(|error| invalid(format!("`key`: {error}"))),
            (None, Some(file)) => Ok(SecretSource::File(file)),
            _ => Err(invalid("write either `{ key: <pack>.<name> }` or `{ file: <path> }`".to_owned())),
        }
    }
}

impl OneOrMany {
    pub(crate) fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        }
    }
}

/// The issuer whose settings are being checked, for errors.
struct IssuerContext<'n>(&'n IssuerName);

impl IssuerContext<'_> {
    fn missing(&self, setting: &str, why: &'static str) -> SettingsError {
        SettingsError::Missing { setting: self.path(setting), why }
    }

    fn invalid(&self, setting: &str, why: impl Into<String>) -> SettingsError {
        SettingsError::Invalid { setting: self.path(setting), why: why.into() }
    }

    fn check_issuer(&self, text: &str) -> Result<(), SettingsError> {
        let invalid = |why: &str| self.invalid("issuer", why);
        if text.len() > URL_BYTES_MAX {
            return Err(invalid("it is too long"));
        }
        let url = Url::parse(text).map_err(|error| self.invalid("issuer", format!("{error}; write the URL that tokens have in `iss`")))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("the URL of an issuer has no query and no fragment"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("the URL of an issuer has no user and no password"));
        }
        if is_protected(&url) {
            Ok(())
        } else {
            Err(invalid("the URL must start with `https://`; `http://` is accepted for this machine only"))
        }
    }

    fn texts(&self, setting: &'static str, texts: Vec<String>, what: &str) -> Result<Vec<String>, SettingsError> {
        let is_bad = |text: &String| text.is_empty() || text.len() > URL_BYTES_MAX || text.chars().any(char::is_control);
        if texts.is_empty() || texts.len() > LIST_MAX || texts.iter().any(is_bad) {
            return Err(self.invalid(setting, format!("write {what}, or a list of at most {LIST_MAX}")));
        }
        Ok(texts)
    }

    fn keys_from(&self, written: Option<WrittenKeysFrom>) -> Result<KeysFrom, SettingsError> {
        let Some(WrittenKeysFrom { hosts, file }) = written else { return Ok(KeysFrom::Discovery { hosts: Vec::new() }) };
        match (hosts, file) {
            (None, Some(file)) => Ok(KeysFrom::File(file)),
            (Some(hosts), None) => {
                let hosts = self.texts("keys_from.hosts", hosts.into_vec(), "a host name")?;
                // Hosts are compared in the form that `url` writes.
                let parsed: Result<Vec<_>, _> = hosts.iter().map(|host| Host::parse(host).map(|host| host.to_string())).collect();
                match parsed {
                    Ok(hosts) => Ok(KeysFrom::Discovery { hosts }),
                    Err(error) => {
                        Err(self.invalid("keys_from.hosts", format!("{error}; write a host name without a scheme, port or path")))
                    }
                }
            }
            _ => Err(self.invalid("keys_from", "write either `{ hosts: [<host>] }` or `{ file: <path> }`")),
        }
    }

    fn duration(&self, setting: &'static str, text: Option<String>) -> Result<Option<Duration>, SettingsError> {
        let Some(text) = text else { return Ok(None) };
        let duration = parse_duration(&text).filter(|duration| *duration >= LIFETIME_MIN);
        duration.map(Some).ok_or_else(|| self.invalid(setting, format!("`{text}` is not a duration of at least a minute like `12h`")))
    }

    fn compile(&self, setting: &'static str, source: &str) -> Result<Expression, SettingsError> {
        compile(&self.path(setting), source, &ClaimRules::roots())
    }

    fn path(&self, setting: &str) -> String {
        format!("login.issuers.{}.{setting}", self.0)
    }
}

/// Compiles the expression of the setting at this path.
pub(crate) fn compile(setting: &str, source: &str, roots: &Roots) -> Result<Expression, SettingsError> {
    Expression::compile(source, roots).map_err(|error| {
        let before = source.get(..error.span.start).unwrap_or(source);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        SettingsError::Expression {
            setting: setting.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            why: error.message,
            hint: error.hint,
        }
    })
}

/// Returns true if what is sent to `url` can be read by nobody else: it is encrypted, or stays on the machine.
pub(crate) fn is_protected(url: &Url) -> bool {
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(Host::Ipv4(address))) => address.is_loopback(),
        ("http", Some(Host::Ipv6(address))) => address.is_loopback(),
        ("http", Some(Host::Domain(name))) => name == "localhost",
        _ => false,
    }
}
