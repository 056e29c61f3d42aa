//! The operator's settings: `ensue.yaml`, then `ENSUE_…`, then flags; later sources override earlier ones.
//!
//! This module reads the file and the environment; the code that starts the node applies the values.

mod actions;
mod connections;
mod database;
mod declared_rights;
mod key_providers;
mod layer;
mod login;
mod login_shapes;
mod network;
mod otel;
mod paths;
mod queues;
mod rates;
mod retention;
mod rights;
mod setting;
mod tls;
mod tool_files;
mod variables;
mod written_values;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use ensue_api::{Feature, Limits, Origin, PageServing, ProxyHeader, Rates};
use ensue_derive::Settings;
use ensue_engine::access::quota::Tiers;
use ensue_engine::catalog::{DELIVERY_BYTES_DEFAULT, DELIVERY_BYTES_MAX};
use ensue_engine::explain::Explain;
use ensue_engine::names::{ConnectionName, KeyRef, LabelName, PackName, TierName, WorkerQueueName};
use ensue_engine::ports::Secret;
pub use ensue_executor::AtStop;
use ensue_executor::connections::ConnectionSettings;
pub use ensue_executor::programs::SupervisorCommand;
use ensue_executor::programs::{GivenKey, NodeSecrets};
use ensue_packs::DeclaredConnection;
use ensue_views::ViewRetention;
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;

use actions::WrittenActions;
use connections::WrittenConnection;
pub use database::{DATABASE_PASSWORD, DATABASE_PASSWORD_FILE, DatabaseAddress, DatabaseAddressError, OwnPassword, PasswordFrom};
use database::{WrittenDatabase, WrittenPassword};
pub use declared_rights::{DeclaredGrant, DeclaredRights, DeclaredSubject};
pub use ensue_objects::{BucketAddress, BucketAddressError};
use layer::SettingsLayer;
use login::{WrittenInquiries, WrittenLogin};
use network::{NETWORKS_FORM, ORIGINS_FORM, PROXY_HEADER_FORM, WrittenCors};
pub use paths::NamedPaths;
use queues::WrittenQueue;
use rates::WrittenRates;
use retention::WrittenRetention;
pub use rights::AcceptedPermissions;
use rights::{WrittenRights, WrittenTier};
use setting::{Setting as _, required};
use tls::WrittenTls;
pub use tool_files::ToolFiles;

use crate::memory_limits::{MEMORY_BYTES, MEMORY_BYTES_MIN, memory_for_deliveries_of};

pub use actions::{ActionSettings, UserSetting};
pub use key_providers::{
    AppRole, AwsCredentials, AwsProfile, AwsSecrets, Hashicorp, HashicorpLogin, KeyProviderSettings, KeyStore, KubernetesRole, ProvidedAt,
    SecretIdForm,
};
use key_providers::{WrittenKeyProvider, check_names};
pub use login::{DeviceLogins, InquiryLinks, LoginSettings, PasswordLogin};
pub use queues::QueueSettings;
pub use setting::settings_schema;
pub use tls::TlsSettings;
pub use variables::UnknownVariable;
pub use written_values::WrittenValues;

use crate::output_stores::{StorageLimits, days};
use crate::refusals::RecordedAddress;
use crate::traces::{CollectorError, TraceSettings};

/// The maximum size of the file, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// The default amount of free space that is required to accept input: 256 MiB.
const MIN_FREE_BYTES: u64 = 256 * 1024 * 1024;

/// The name of the database's password in the text that masks it.
static PASSWORD_NAME: LazyLock<KeyRef> = LazyLock::new(|| "ensue.database_password".parse().expect("it is a ref"));

/// The default time that a worker's lease on an attempt lasts without being renewed.
const LEASE: Duration = Duration::from_secs(30);
/// The minimum lease: a node that is merely slow must be able to renew it.
const LEASE_MIN: Duration = Duration::from_secs(1);

/// The settings of a node.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The address under which the node is known, for links; if not set, the address that it listens on.
    pub url: Option<String>,
    /// The host names that the node accepts, in addition to that of `url`.
    pub hosts: Vec<String>,
    /// The files for TLS; if none is set, the node serves plain HTTP.
    pub tls: TlsSettings,
    /// The networks of the proxies whose reports about their clients are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which they report their clients.
    pub proxy_header: ProxyHeader,
    /// The origins whose pages may read answers in a browser.
    pub cors_origins: Vec<Origin>,
    /// The ways in besides tokens.
    pub login: LoginSettings,
    /// Whether there are links to inquiries.
    pub inquiry_links: InquiryLinks,
    /// Whether the node serves the page to browsers.
    pub page: PageServing,
    /// How many connections one address may have open.
    pub connections_per_address: usize,
    /// How many connections without a request yet may be open per address.
    pub silent_per_address: usize,
    /// The longest body of a delivery at a webhook, in bytes.
    pub delivery_bytes_max: usize,
    /// The data directory.
    pub data: PathBuf,
    /// The database that has the log; if not set, the data directory has it.
    pub database: Option<DatabaseAddress>,
    /// The object store that has outputs and artifacts; if not set, the database has them.
    pub objects: Option<BucketAddress>,
    /// The folder of packs.
    pub packs: PathBuf,
    /// When the folder of packs is read.
    pub reread: Reread,
    /// The file of the master key; if not set, the one in the state folder.
    pub master_key: Option<PathBuf>,
    /// The base of the state folder; if not set, `XDG_STATE_HOME` and `HOME` determine it.
    pub state_base: Option<PathBuf>,
    /// How many attempts of the queue `default` run at once; if not set, four per core.
    pub workers: Option<u32>,
    /// The other queues, and the start rates of all queues.
    pub queues: QueueSettings,
    /// How long a worker's lease on an attempt lasts without being renewed.
    pub lease: Duration,
    /// How much space must be free for the node to accept input, in bytes.
    pub min_free_bytes: u64,
    /// How much memory the node may use, in bytes.
    pub memory_bytes: u64,
    /// How much of the output of attempts is kept.
    pub outputs: StorageLimits,
    /// How much is kept of the files that attempts publish as artifacts.
    pub artifacts: StorageLimits,
    /// How long ended executions and other finished items remain in the views.
    pub retention: ViewRetention,
    /// How much of an address is recorded.
    pub audit_address: RecordedAddress,
    /// The endpoints with credentials that packs may use, by name.
    pub connections: BTreeMap<ConnectionName, ConnectionSettings>,
    /// The destinations beyond the public internet that the `http` runner may connect to.
    pub egress_allow: Vec<String>,
    /// How programs of actions are run.
    pub actions: ActionSettings,
    /// The command that starts a supervisor of programs; if not set, programs are children of the node and end with
    /// it.
    pub supervisor: Option<SupervisorCommand>,
    /// Where traces are sent, and which.
    pub traces: TraceSettings,
    /// How many requests a caller may send in a period.
    pub rates: Rates,
    /// The stores that hold the values of keys, by name.
    pub key_providers: BTreeMap<String, KeyProviderSettings>,
    /// How much the members of groups may use.
    pub tiers: Tiers,
    /// The names of the labels by which rights can be limited to executions.
    pub scope_labels: BTreeSet<LabelName>,
    /// What the packs of the folder may do with other packs.
    pub accepted_permissions: AcceptedPermissions,
    /// The roles and grants that the settings declare.
    pub declared_rights: DeclaredRights,
    /// The operator's settings for packs.
    pub pack_settings: BTreeMap<PackName, PackSettings>,
    /// The token that gives an admin access from the first start.
    pub admin_token: AdminToken,
    /// The environment's `ENSUE_KEY_<PACK>_<NAME>_FILE` variables and their values.
    pub key_files: BTreeMap<String, PathBuf>,
    /// The files and folders that settings name and that programs must not reach.
    pub named_paths: NamedPaths,
    /// The files that the variables of other tools name, such as those of the object store.
    pub tool_files: ToolFiles,
    /// The password of the database, if it was written apart from the address.
    pub database_password: Option<OwnPassword>,
    /// The settings as they were written, and where.
    pub written: WrittenValues,
    /// Environment variables that look like settings but are not.
    pub unknown_variables: Vec<UnknownVariable>,
    /// OpenTelemetry variables that do not have the effect that the operator may expect, each as a sentence.
    pub otel_warnings: Vec<String>,
}

/// When the packs folder is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reread {
    /// At each start.
    #[default]
    AtStart,
    /// At each start, and at each change while the node runs.
    OnChange,
}

/// The source of the first admin's token.
#[derive(Clone, Default)]
pub enum AdminToken {
    /// The node creates it and shows it once.
    #[default]
    Made,
    /// The operator provides it.
    Given {
        /// The token.
        token: Secret,
    },
}

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Made => "Made",
            Self::Given { .. } => "Given",
        })
    }
}

/// The operator's settings for a pack.
#[derive(Clone, Debug, Default, Deserialize, Settings)]
#[serde(default, deny_unknown_fields)]
pub struct PackSettings {
    /// The pack's settings, as its `pack.yaml` declares them under `config`.
    pub config: Map<String, Value>,
    /// The sources of the pack's keys, by name. Set other keys with `ensue keys set`.
    pub keys: BTreeMap<String, KeySource>,
}

/// Where a key's value comes from.
#[derive(Clone, Debug, Deserialize, Settings)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum KeySource {
    /// A file. At each start, the key is set to the file's content if they differ. One line break at the end is ignored.
    File(PathBuf),
    /// A store from which the value is read when it is used.
    From(ProvidedAt),
}

/// Why the settings are invalid.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
#[explain(slug = "config-invalid", fault = Malformed)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{} cannot be read: {why}", .path.display())]
    #[explain(hint = "name the file with --config, or leave it out to use the defaults")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The file is invalid.
    #[error("{}: {why}", .path.display())]
    #[explain(hint = LISTED.to_owned())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The location and the reason.
        why: String,
    },
    /// The longest body of a delivery does not fit into the memory.
    #[error("`webhooks.body_max` is {body_max}, for which the node needs a `memory` of at least {least} bytes; it has {memory}")]
    #[explain(hint = "set `memory` in ensue.yaml, or lower `webhooks.body_max`")]
    MemoryForDeliveries {
        /// The longest body, in bytes.
        body_max: usize,
        /// The least memory, in bytes.
        least: u64,
        /// The memory, in bytes.
        memory: u64,
    },
    /// A variable is invalid. Its value is not shown if it may contain credentials.
    #[error("{name} {why}")]
    Variable {
        /// The variable.
        name: String,
        /// What continues its name: what it is, or has, and what it must be.
        why: String,
    },
    /// Two variables set the first admin's token.
    #[error("ENSUE_ADMIN_TOKEN and ENSUE_ADMIN_TOKEN_FILE are both set")]
    #[explain(hint = "unset one of them, or set it to the empty string")]
    AdminTokenTwice,
    /// Two variables set the password of the database.
    #[error("{DATABASE_PASSWORD} and {DATABASE_PASSWORD_FILE} are both set")]
    #[explain(hint = "unset one of them, or set it to the empty string")]
    DatabasePasswordTwice,
}

/// A hint to the page that lists all settings.
const LISTED: &str = "see docs/reference/ensue-yaml.md for all settings";

/// `ensue.yaml` as written.
#[derive(Debug, Default, Deserialize, Settings)]
#[serde(default, deny_unknown_fields)]
struct WrittenConfig {
    /// The address and port to listen on. Default: `127.0.0.1:3678`.
    #[setting(variable = "ENSUE_LISTEN")]
    listen: Option<SocketAddr>,
    /// The address under which the node is known, for links: `https://ensue.example.test`.
    #[setting(variable = "ENSUE_URL")]
    url: Option<String>,
    /// Names under which the node answers, in addition to the host of `url`, `localhost` and IP addresses.
    #[setting(variable = "ENSUE_HOSTS")]
    hosts: Vec<String>,
    /// The files for TLS. Default: none, and the node serves plain HTTP.
    #[setting(section)]
    tls: Option<WrittenTls>,
    /// The addresses and networks of the proxies in front of the node, whose reports about their clients are believed.
    #[setting(variable = "ENSUE_TRUSTED_PROXIES")]
    trusted_proxies: Vec<String>,
    /// The header in which they report their clients. Default: `x_forwarded_for`.
    #[setting(variable = "ENSUE_PROXY_HEADER", words = ["x_forwarded_for", "forwarded"])]
    proxy_header: Option<String>,
    /// The other sites whose pages may use the API in a browser. Default: none.
    cors: WrittenCors,
    /// The ways in besides tokens.
    login: Option<WrittenLogin>,
    /// How people answer inquiries.
    inquiries: Option<WrittenInquiries>,
    /// Whether the node serves the page to browsers, under `/ui/`. Default: true.
    page: Option<bool>,
    /// Limits for a single IP address.
    limits: WrittenLimits,
    /// Limits of webhooks.
    webhooks: WrittenWebhooks,
    /// The data directory, on a local disk. Default: `./ensue-data`.
    #[setting(variable = "ENSUE_DATA")]
    data: Option<PathBuf>,
    /// The address of a PostgreSQL database that has the log: `postgres://USER@HOST/DATABASE`, alone or as `url` with the place
    /// of its password. Default: the data directory has it.
    #[setting(variable = "ENSUE_DATABASE")]
    database: Option<WrittenDatabase>,
    /// The address of an object store for outputs and artifacts, used with `database`: `s3://BUCKET/PREFIX`,
    /// `gs://BUCKET/PREFIX`, `az://CONTAINER/PREFIX` or `file:///FOLDER`. Default: the database has them.
    #[setting(variable = "ENSUE_OBJECTS")]
    objects: Option<String>,
    /// The folder of packs. Default: `./packs`.
    #[setting(variable = "ENSUE_PACKS_DIR")]
    packs_dir: Option<PathBuf>,
    /// How many attempts of the queue `default` run at once. Default: four per core.
    #[setting(variable = "ENSUE_WORKERS", from = 1)]
    workers: Option<u32>,
    /// The queues in which executions wait for a worker, by name. Actions name one as their `queue`.
    queues: BTreeMap<WorkerQueueName, WrittenQueue>,
    /// How long a worker's right to an attempt lasts without being renewed, at least one second. Default: 30s.
    #[setting(variable = "ENSUE_LEASE", form = SomeTime)]
    lease: Option<String>,
    /// How many bytes of the disk must be free for the node to accept input. Default: 268435456 (256 MiB).
    #[setting(variable = "ENSUE_MIN_FREE")]
    min_free: Option<u64>,
    /// How many bytes of memory the node may use. Default: 536870912 (512 MiB).
    #[setting(variable = "ENSUE_MEMORY", from = MEMORY_BYTES_MIN)]
    memory: Option<u64>,
    /// How much of the output of attempts is kept, and how long.
    outputs: WrittenOutputs,
    /// How many files that attempts create as artifacts are kept, and how long.
    artifacts: WrittenArtifacts,
    /// How long executions stay in the views after they have ended. The log keeps them forever.
    retention: WrittenRetention,
    /// What the log says about rejected logins.
    audit: WrittenAudit,
    /// The endpoints with credentials that packs may use, by name. A pack lists the ones it uses in its `pack.yaml`.
    connections: BTreeMap<ConnectionName, WrittenConnection>,
    /// Where actions may connect with the runner `http`.
    #[setting(section)]
    egress: Option<WrittenEgress>,
    /// How programs of actions are run.
    actions: WrittenActions,
    /// Where traces are sent. Default: nowhere.
    #[setting(section)]
    traces: Option<WrittenTraces>,
    /// How many requests a caller may send in a period. Default: no limit for callers with a token.
    rate_limits: WrittenRates,
    /// Stores that hold the values of keys, by a name of your choice.
    #[setting(names = Name)]
    key_providers: BTreeMap<String, WrittenKeyProvider>,
    /// What callers and packs may do, and how much callers may use.
    access: Option<WrittenRights>,
    /// How much an identity may use, by the name of a tier. `access.tiers` assigns tiers to groups.
    tiers: BTreeMap<TierName, WrittenTier>,
    /// The settings of packs, by the pack's name.
    packs: BTreeMap<PackName, PackSettings>,
}

/// The `audit` section as written in the file.
#[derive(Debug, Default, Deserialize, Settings)]
#[serde(default, deny_unknown_fields)]
struct WrittenAudit {
    /// How much of the sender's address is recorded: all of it, its network (24 bits, or 48 of IPv6), or nothing. Default:
    /// truncated.
    #[setting(variable = "ENSUE_AUDIT_ADDRESS")]
    address: Option<RecordedAddress>,
}

#[derive(Debug, Default, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
struct WrittenLimits {
    /// How many open connections one address may have that have not sent a request yet. Default: 64.
    #[setting(variable = "ENSUE_LIMITS_SILENT_PER_ADDRESS", from = 1)]
    silent_per_address: Option<u32>,
    /// How many open connections one address may have. Default: 50.
    #[setting(variable = "ENSUE_LIMITS_CONNECTIONS_PER_ADDRESS", from = 1)]
    connections_per_address: Option<u32>,
}

#[derive(Debug, Default, Deserialize, Settings)]
#[serde(default, deny_unknown_fields)]
struct WrittenWebhooks {
    /// The longest body of a delivery in bytes, before and after it is decompressed. `memory` must be 16 times as large. Default:
    /// 4194304 (4 MiB).
    #[setting(from = 1, to = DELIVERY_BYTES_MAX)]
    body_max: Option<u64>,
}

impl WrittenWebhooks {
    /// Applies it to the current setting. The error names the number.
    fn over(self, bytes_max: &mut usize, layer: SettingsLayer<'_>) -> Result<(), ConfigError> {
        let Some(given) = self.body_max else { return Ok(()) };
        let expected = format!("a number of bytes from 1 to {DELIVERY_BYTES_MAX} (32 MiB)");
        let bytes = usize::try_from(given).ok().filter(|bytes| (1..=DELIVERY_BYTES_MAX).contains(bytes));
        *bytes_max = bytes.ok_or_else(|| layer.reject("webhooks.body_max", given, &expected))?;
        Ok(())
    }
}

#[derive(Debug, Default, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
struct WrittenTraces {
    /// The address of an OpenTelemetry collector that accepts OTLP over HTTP: `http://127.0.0.1:4318`.
    #[setting(variable = "ENSUE_TRACES_ENDPOINT", required)]
    #[serde(deserialize_with = "required")]
    endpoint: Option<String>,
}

#[derive(Debug, Default, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
struct WrittenOutputs {
    /// The maximum number of bytes of an attempt. Default: 10485760 (10 MiB).
    attempt_max: Option<u64>,
    /// The maximum number of bytes of all attempts; the oldest are removed first. Default: 2147483648 (2 GiB).
    quota: Option<u64>,
    /// How many days the output of an attempt is kept after its end. Default: 30.
    keep_days: Option<u32>,
}

#[derive(Debug, Default, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
struct WrittenArtifacts {
    /// The maximum number of bytes of a file. Default: 104857600 (100 MiB).
    file_max: Option<u64>,
    /// The maximum number of bytes of all files; the oldest are removed first. Default: 5368709120 (5 GiB).
    quota: Option<u64>,
    /// How many days a file is kept. Default: 30.
    keep_days: Option<u32>,
}

#[derive(Debug, Default, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
struct WrittenEgress {
    /// Where the runner `http` may connect in addition to public addresses at the ports 80 and 443: addresses, networks or hosts,
    /// each with or without a port.
    #[setting(variable = "ENSUE_EGRESS_ALLOW")]
    #[serde(default)]
    allow: Vec<String>,
}

/// Reads the text of the file. The error names the setting that it is about, and its place.
fn parse_file(text: &str) -> Result<WrittenConfig, String> {
    let options = serde_saphyr::options! { strict_booleans: true };
    let mut setting = String::new();
    let read = serde_saphyr::with_deserializer_from_str_with_options(text, options, |deserializer| {
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            setting = error.path().to_string();
            error.into_inner()
        })
    });
    read.map_err(|error| {
        let why = error.without_snippet().to_string();
        // A dot is the file as a whole.
        if setting.is_empty() || setting == "." { why } else { format!("`{setting}`: {why}") }
    })
}

impl Config {
    /// Returns the default settings, with the data in `data`.
    pub fn new(data: PathBuf) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 3678)),
            url: None,
            hosts: Vec::new(),
            tls: TlsSettings::default(),
            trusted_proxies: Vec::new(),
            proxy_header: ProxyHeader::default(),
            cors_origins: Vec::new(),
            login: LoginSettings::default(),
            inquiry_links: InquiryLinks::default(),
            page: PageServing::default(),
            connections_per_address: Limits::default().connections_per_address,
            silent_per_address: Limits::default().silent_per_address,
            delivery_bytes_max: DELIVERY_BYTES_DEFAULT,
            data,
            database: None,
            objects: None,
            packs: PathBuf::from("packs"),
            reread: Reread::AtStart,
            master_key: None,
            state_base: None,
            workers: None,
            queues: QueueSettings::default(),
            lease: LEASE,
            min_free_bytes: MIN_FREE_BYTES,
            memory_bytes: MEMORY_BYTES,
            outputs: StorageLimits::of_outputs(),
            artifacts: StorageLimits::of_artifacts(),
            retention: ViewRetention::default(),
            audit_address: RecordedAddress::default(),
            connections: BTreeMap::new(),
            egress_allow: Vec::new(),
            actions: ActionSettings::default(),
            supervisor: None,
            traces: TraceSettings::default(),
            rates: rates::by_default(),
            key_providers: BTreeMap::new(),
            tiers: Tiers::default(),
            scope_labels: BTreeSet::new(),
            accepted_permissions: AcceptedPermissions::default(),
            declared_rights: DeclaredRights::default(),
            pack_settings: BTreeMap::new(),
            admin_token: AdminToken::Made,
            key_files: BTreeMap::new(),
            named_paths: NamedPaths::default(),
            tool_files: ToolFiles::default(),
            database_password: None,
            written: WrittenValues::default(),
            unknown_variables: Vec::new(),
            otel_warnings: Vec::new(),
        }
    }

    /// Reads the settings: the file, if there is one, then the variables, which override it. Paths in the file are
    /// relative to its folder.
    pub fn read(file: Option<&Path>, variables: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut config = Self::new(PathBuf::from("ensue-data"));
        if let Some(path) = file {
            config.take_file(path)?;
        }
        let mut written = WrittenConfig::default();
        let mut otel = BTreeMap::new();
        let mut passwords = PasswordVariables::default();
        for (name, value) in variables {
            config.tool_files.note(&name, &value);
            // An empty variable counts as not set: compose files and units unset a variable this way.
            if value.is_empty() {
                continue;
            }
            match written.set_variable(&name, &value) {
                Some(set) => {
                    set.map_err(|expected| invalid_variable(&name, &value, &expected))?;
                    config.written.note_variable(&name, &value);
                }
                None => config.take_variable(&name, &value, &mut passwords)?,
            }
            if name.starts_with(otel::PREFIX) {
                otel.insert(name, value);
            }
        }
        let mut paths = NamedPaths::default();
        config.take(written, SettingsLayer::Variables, &mut paths)?;
        config.named_paths.hide_all_of(paths);
        config.otel_warnings = otel::read(&otel, &mut config.traces);
        if let Some(password) = passwords.read(&mut config.named_paths)? {
            config.database_password = Some(OwnPassword(password));
        }
        if memory_for_deliveries_of(config.delivery_bytes_max) > config.memory_bytes {
            return Err(ConfigError::MemoryForDeliveries {
                body_max: config.delivery_bytes_max,
                least: memory_for_deliveries_of(config.delivery_bytes_max),
                memory: config.memory_bytes,
            });
        }
        if let Some(address) = config.database.take() {
            let with_password = config.with_password(address);
            config.database = Some(
                with_password.map_err(|why| ConfigError::Variable { name: "the database's address".to_owned(), why: why.to_string() })?,
            );
        }
        Ok(config)
    }

    /// Returns the keys whose values stores provide, each with its place. Names that no key can have are left out.
    pub(crate) fn provided_keys(&self) -> impl Iterator<Item = (KeyRef, &ProvidedAt)> {
        let keys =
            self.pack_settings.iter().flat_map(|(pack, settings)| settings.keys.iter().map(move |(name, source)| (pack, name, source)));
        keys.filter_map(|(pack, name, source)| match source {
            KeySource::From(at) => Some((KeyRef::new(pack, name).ok()?, at)),
            KeySource::File(_) => None,
        })
    }

    /// Returns the connections as checks of packs see them.
    pub fn declared_connections(&self) -> BTreeMap<ConnectionName, DeclaredConnection> {
        let declared = self.connections.iter().map(|(name, connection)| {
            (name.clone(), DeclaredConnection { kind: connection.endpoint.kind(), packs: connection.packs.clone() })
        });
        declared.collect()
    }

    /// Returns the files and folders that only the node opens, which must be hidden from all programs: those that settings
    /// name, the settings file itself, and those that its libraries find by the variables of other tools.
    pub fn hidden_paths(&self) -> Vec<PathBuf> {
        let mut hidden: Vec<PathBuf> = self.named_paths.hidden_paths().map(Path::to_path_buf).collect();
        hidden.extend(self.database.iter().flat_map(DatabaseAddress::files).cloned());
        hidden.extend(self.tool_files.of(self));
        if let Some(BucketAddress::Folder(folder)) = &self.objects {
            hidden.push(folder.clone());
        }
        hidden
    }

    /// Returns the secrets of the node that are masked in the output of programs.
    pub(crate) fn secrets(&self) -> NodeSecrets {
        let password = self.database.as_ref().and_then(DatabaseAddress::password);
        NodeSecrets::new(password.map(|value| GivenKey { key: PASSWORD_NAME.clone(), value }))
    }

    /// Sets the database, in place of the one of the file and of the variables.
    pub fn set_database(&mut self, address: DatabaseAddress) -> Result<(), DatabaseAddressError> {
        self.database = Some(self.with_password(address)?);
        Ok(())
    }

    /// Adds the password that was written apart from the address, if there is one.
    fn with_password(&self, address: DatabaseAddress) -> Result<DatabaseAddress, DatabaseAddressError> {
        match &self.database_password {
            Some(OwnPassword(password)) => address.with_password(password),
            None => Ok(address),
        }
    }

    /// Returns the address under which the node is known if it listens on `address`.
    pub fn url_at(&self, address: SocketAddr) -> String {
        let scheme = if self.tls.is_set() { "https" } else { "http" };
        self.url.clone().unwrap_or_else(|| format!("{scheme}://{address}"))
    }

    /// Returns the features outside the API that are switched on.
    pub(crate) fn features(&self) -> BTreeSet<Feature> {
        let tls = self.tls.is_set().then_some(Feature::Tls);
        let database = self.database.as_ref().map(|_| Feature::Database);
        let objects = self.objects.as_ref().map(|_| Feature::Objects);
        let traces = self.traces.collector.as_ref().map(|_| Feature::Traces);
        [tls, database, objects, traces].into_iter().flatten().collect()
    }

    /// Returns the URL under which programs on this machine reach a node that listens on an address.
    pub(crate) fn url_for_programs(&self, mut address: SocketAddr) -> String {
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            IpAddr::V4(_) | IpAddr::V6(_) => {}
        }
        self.url_at(address)
    }

    fn take_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let unreadable = |why: String| ConfigError::Unreadable { path: path.to_owned(), why };
        let size = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
        if size > FILE_BYTES_MAX {
            return Err(unreadable(format!("it has {size} bytes; the limit is {FILE_BYTES_MAX}")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
        let mut written: WrittenConfig = if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            WrittenConfig::default()
        } else {
            parse_file(&text).map_err(|why| ConfigError::Malformed { path: path.to_owned(), why })?
        };
        self.written.note_file(path, &text).map_err(|why| ConfigError::Malformed { path: path.to_owned(), why })?;
        // It may have secrets, whatever its name.
        self.named_paths.hide(path);
        let mut paths = NamedPaths::from_folder(path.parent().unwrap_or(Path::new("")));
        written.packs_dir.get_or_insert_with(|| PathBuf::from("packs"));
        self.take(written, SettingsLayer::File(path), &mut paths)?;
        self.named_paths.hide_all_of(paths);
        Ok(())
    }

    /// Applies what is written at one place. What is not written there stays as it is.
    fn take(&mut self, written: WrittenConfig, layer: SettingsLayer<'_>, paths: &mut NamedPaths) -> Result<(), ConfigError> {
        self.listen = written.listen.unwrap_or(self.listen);
        self.url = written.url.or(self.url.take());
        if !written.hosts.is_empty() {
            self.hosts = written.hosts;
        }
        if let Some(tls) = written.tls {
            tls.over(&mut self.tls, paths);
        }
        let WrittenLimits { silent_per_address, connections_per_address } = written.limits;
        for (setting, given, limit) in [
            ("limits.silent_per_address", silent_per_address, &mut self.silent_per_address),
            ("limits.connections_per_address", connections_per_address, &mut self.connections_per_address),
        ] {
            let Some(given) = given else { continue };
            *limit = at_least_one(given).ok_or_else(|| layer.reject(setting, given, AT_LEAST_ONE))?;
        }
        written.webhooks.over(&mut self.delivery_bytes_max, layer)?;
        if !written.trusted_proxies.is_empty() {
            let wrong = |text: String| layer.reject_item("trusted_proxies", "has", text, NETWORKS_FORM);
            self.trusted_proxies = network::networks(&written.trusted_proxies).map_err(wrong)?;
        }
        if let Some(text) = written.proxy_header {
            self.proxy_header = network::proxy_header(&text).ok_or_else(|| layer.reject("proxy_header", text, PROXY_HEADER_FORM))?;
        }
        if !written.cors.origins.is_empty() {
            let wrong = |text: String| layer.reject_item("cors.origins", "has", text, ORIGINS_FORM);
            self.cors_origins = network::origins(&written.cors.origins).map_err(wrong)?;
        }
        if let Some(inquiries) = written.inquiries {
            self.inquiry_links = inquiries.links();
        }
        self.page = if written.page == Some(false) { PageServing::Off } else { self.page };
        if let Some(login) = written.login {
            self.login = login.read(paths).map_err(|error| {
                layer.malformed(match error.hint() {
                    Some(hint) => format!("{error}: {hint}"),
                    None => error.to_string(),
                })
            })?;
        }
        if let Some(data) = written.data {
            self.data = paths.share(data);
        }
        if let Some(WrittenDatabase { url, password }) = written.database {
            let address: DatabaseAddress = url.parse().map_err(|why: DatabaseAddressError| layer.refuse("database", &why.to_string()))?;
            self.database = Some(address.with_place(match layer {
                SettingsLayer::File(_) => PasswordFrom::SettingsFile,
                SettingsLayer::Variables => PasswordFrom::Address,
            }));
            if let Some(WrittenPassword { file }) = password {
                self.database_password = Some(OwnPassword(read_secret(&paths.hide(file))?));
            }
        }
        if let Some(address) = written.objects {
            let address = address.parse().map_err(|why: BucketAddressError| layer.refuse("objects", &why.to_string()))?;
            self.objects = Some(address);
        }
        if let Some(packs) = written.packs_dir {
            self.packs = paths.share(packs);
        }
        if written.access.is_some() || !written.tiers.is_empty() {
            let rights = written.access.unwrap_or_default().read(written.tiers).map_err(|why| layer.malformed(why))?;
            (self.scope_labels, self.accepted_permissions, self.tiers) = (rights.labels, rights.packs, rights.tiers);
            self.declared_rights = rights.declared;
        }
        // By the variable, `ensue bench` starts nodes that run nothing.
        if written.workers == Some(0) && matches!(layer, SettingsLayer::File(_)) {
            return Err(layer.reject("workers", 0, AT_LEAST_ONE));
        }
        let (workers, queues) = queues::read(written.queues, written.workers).map_err(|why| layer.malformed(why))?;
        self.workers = workers.or(self.workers);
        self.queues.workers.extend(queues.workers);
        self.queues.rates.extend(queues.rates);
        if let Some(text) = written.lease {
            self.lease = lease(&text).ok_or_else(|| layer.reject("lease", text, LEASE_FORM))?;
        }
        self.min_free_bytes = written.min_free.unwrap_or(self.min_free_bytes);
        if let Some(bytes) = written.memory {
            let expected = format!("a number of bytes, at least {MEMORY_BYTES_MIN} (128 MiB)");
            self.memory_bytes = enough(bytes).ok_or_else(|| layer.reject("memory", bytes, &expected))?;
        }
        let WrittenOutputs { attempt_max, quota, keep_days } = written.outputs;
        take_kept(&mut self.outputs, attempt_max, quota, keep_days);
        let WrittenArtifacts { file_max, quota, keep_days } = written.artifacts;
        take_kept(&mut self.artifacts, file_max, quota, keep_days);
        written.retention.over(&mut self.retention, layer)?;
        self.audit_address = written.audit.address.unwrap_or(self.audit_address);
        for (name, connection) in written.connections {
            let read = connection.read(paths).map_err(|why| layer.malformed(format!("`connections.{name}`: {why}")))?;
            self.connections.insert(name, read);
        }
        if let Some(egress) = written.egress {
            self.egress_allow = egress.allow;
        }
        self.actions.take(written.actions, layer, paths)?;
        if let Some(endpoint) = written.traces.and_then(|traces| traces.endpoint) {
            let wrong = |why: CollectorError| layer.refuse("traces.endpoint", &why.to_string());
            self.traces.collector = Some(endpoint.parse().map_err(wrong)?);
        }
        written.rate_limits.over(&mut self.rates, layer)?;
        for (name, provider) in written.key_providers {
            let read = provider.read(paths).map_err(|why| layer.malformed(format!("`key_providers.{name}`: {why}")))?;
            self.key_providers.insert(name, read);
        }
        for (name, mut settings) in written.packs {
            for key in settings.keys.values_mut() {
                if let KeySource::File(file) = key {
                    *file = paths.hide(&*file);
                }
            }
            self.pack_settings.insert(name, settings);
        }
        check_names(&self.key_providers, self.provided_keys().map(|(_, at)| at)).map_err(|why| layer.malformed(why))
    }

    /// Takes a variable that is not a setting of the file as well.
    fn take_variable(&mut self, name: &str, value: &str, passwords: &mut PasswordVariables) -> Result<(), ConfigError> {
        match name {
            "ENSUE_MASTER_KEY_FILE" => self.master_key = Some(self.named_paths.hide(value)),
            DATABASE_PASSWORD => passwords.value = Some(value.to_owned()),
            DATABASE_PASSWORD_FILE => passwords.file = Some(value.to_owned()),
            "ENSUE_ADMIN_TOKEN" => self.take_admin_token(Secret::new(value.as_bytes().to_vec()))?,
            "ENSUE_ADMIN_TOKEN_FILE" => {
                let path = self.named_paths.hide(value);
                self.take_admin_token(read_secret(&path)?)?;
            }
            _ if variables::is_of_a_key(name) => {
                self.key_files.insert(name.to_owned(), self.named_paths.hide(value));
            }
            _ => self.unknown_variables.extend(variables::unknown(name, value)),
        }
        Ok(())
    }

    /// The variables come in no particular order, so neither of the two can take precedence.
    fn take_admin_token(&mut self, token: Secret) -> Result<(), ConfigError> {
        match self.admin_token {
            AdminToken::Given { .. } => Err(ConfigError::AdminTokenTwice),
            AdminToken::Made => {
                self.admin_token = AdminToken::Given { token };
                Ok(())
            }
        }
    }
}

/// The variables with the password of the database. They come in no particular order, so neither can take precedence.
#[derive(Default)]
struct PasswordVariables {
    value: Option<String>,
    file: Option<String>,
}

impl PasswordVariables {
    fn read(self, paths: &mut NamedPaths) -> Result<Option<Secret>, ConfigError> {
        match (self.value, self.file) {
            (Some(_), Some(_)) => Err(ConfigError::DatabasePasswordTwice),
            (Some(value), None) => Ok(Some(Secret::new(value.into_bytes()))),
            (None, Some(file)) => read_secret(&paths.hide(file)).map(Some),
            (None, None) => Ok(None),
        }
    }
}

fn take_kept(kept: &mut StorageLimits, one: Option<u64>, quota: Option<u64>, keep_days: Option<u32>) {
    kept.one_bytes_max = one.unwrap_or(kept.one_bytes_max);
    kept.quota_bytes = quota.unwrap_or(kept.quota_bytes);
    kept.keep = keep_days.map_or(kept.keep, days);
}

/// Returns the amount if it is enough memory for a node.
fn enough(memory_bytes: u64) -> Option<u64> {
    (memory_bytes >= MEMORY_BYTES_MIN).then_some(memory_bytes)
}

/// Returns the error of a variable that is not what it must be.
fn invalid_variable(name: &str, value: &str, expected: &str) -> ConfigError {
    ConfigError::Variable { name: name.to_owned(), why: format!("is `{value}`, but must be {expected}") }
}

/// The form of a limit for an address, for messages.
const AT_LEAST_ONE: &str = "a whole number of at least 1";

fn at_least_one(most: u32) -> Option<usize> {
    usize::try_from(most).ok().filter(|most| *most > 0)
}

/// The form of a lease, for messages.
const LEASE_FORM: &str = "a duration of at least one second, like 30s";

fn lease(text: &str) -> Option<Duration> {
    ensue_packs::parse_duration(text).filter(|lease| *lease >= LEASE_MIN)
}

/// Reads a secret from a file; one trailing newline is ignored.
pub fn read_secret(path: &Path) -> Result<Secret, ConfigError> {
    let mut bytes = std::fs::read(path).map_err(|error| ConfigError::Unreadable { path: path.to_owned(), why: error.to_string() })?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Ok(Secret::new(bytes))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn unreadable_file_is_reported_once_with_reason_and_place() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("ensue.yaml");
        std::fs::write(&file, "actions: { isolation: maybe }").unwrap();
        let said = Config::read(Some(&file), [].into_iter()).unwrap_err().to_string();
        assert!(said.contains("line 1") && !said.contains('\n'), "{said}");
        assert_eq!(said.matches("`maybe`").count() + said.matches("'maybe'").count(), 1, "{said}");
    }

    fn read(text: &str) -> Result<Config, String> {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("ensue.yaml");
        std::fs::write(&file, text).unwrap();
        Config::read(Some(&file), [].into_iter()).map_err(|error| error.to_string())
    }

    #[test]
    fn error_in_the_file_names_its_setting_and_its_place() {
        for (text, setting, line) in [
            ("listen: 5", "`listen`: ", "line 1"),
            ("workers: 2\nlimits: { silent_per_address: few }", "`limits.silent_per_address`: ", "line 2"),
            ("queues:\n  http: { workers: [] }", "`queues.http.workers`: ", "line 2"),
            ("egress: { allow: [a, {}] }", "`egress.allow[1]`: ", "line 1"),
            ("webhooks: { body_max: -1 }", "`webhooks.body_max`: ", "line 1"),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.contains(setting) && said.contains(line), "{said}");
        }
        let whole = read("- a list").unwrap_err();
        assert!(whole.contains("line 1") && !whole.contains('`'), "{whole}");
    }

    #[test]
    fn longest_delivery_is_what_the_operator_allows_within_the_memory() {
        assert_eq!(read("{}").unwrap().delivery_bytes_max, 4 << 20);
        assert_eq!(read("webhooks: { body_max: 26214400 }").unwrap().delivery_bytes_max, 26_214_400);
        assert_eq!(read("webhooks: { body_max: 33554432 }").unwrap().delivery_bytes_max, 32 << 20);
        for wrong in [0, 33_554_433] {
            let said = read(&format!("webhooks: {{ body_max: {wrong} }}")).unwrap_err();
            assert!(said.contains(&format!("`webhooks.body_max` is {wrong}, but must be a number of bytes from 1 to 33554432")), "{said}");
        }
        let said = read("webhooks: { body_max: 26214400 }\nmemory: 268435456").unwrap_err();
        assert!(said.ends_with("for which the node needs a `memory` of at least 419430400 bytes; it has 268435456"), "{said}");
    }

    #[test]
    fn features_are_those_that_settings_switch_on() {
        let features = |variables: &[(&str, &str)]| {
            let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Config::read(None, variables).unwrap().features()
        };
        assert_eq!(features(&[]), BTreeSet::new());
        let all = [
            ("ENSUE_TLS_CERT", "cert.pem"),
            ("ENSUE_TLS_KEY", "key.pem"),
            ("ENSUE_DATABASE", "postgres://ensue@db/ensue"),
            ("ENSUE_OBJECTS", "s3://bucket/node"),
            ("ENSUE_TRACES_ENDPOINT", "https://collector.example.test"),
        ];
        assert_eq!(features(&all), BTreeSet::from([Feature::Tls, Feature::Database, Feature::Objects, Feature::Traces]));
    }

    #[test]
    fn every_file_that_a_variable_names_is_hidden_and_so_is_the_settings_file() {
        let folder = TempDir::new().unwrap();
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("admin"), "ens_token\n").unwrap();
        std::fs::write(file("ensue.yaml"), "packs: { release: { keys: { deploy: { file: deploy } } } }").unwrap();
        let variables =
            [("ENSUE_MASTER_KEY_FILE", "master"), ("ENSUE_ADMIN_TOKEN_FILE", "admin"), ("ENSUE_KEY_GITHUB_SECRET_FILE", "github")];
        let variables = variables.map(|(name, of)| (name.to_owned(), file(of).to_str().unwrap().to_owned()));
        let config = Config::read(Some(&file("ensue.yaml")), variables.into_iter()).unwrap();
        let hidden: BTreeSet<PathBuf> = config.hidden_paths().into_iter().collect();
        assert_eq!(hidden, BTreeSet::from(["master", "admin", "github", "deploy", "ensue.yaml"].map(file)));
    }

    #[test]
    fn admin_token_and_admin_token_file_together_are_rejected() {
        let both = [("ENSUE_ADMIN_TOKEN", "ens_token"), ("ENSUE_ADMIN_TOKEN_FILE", "/dev/null")];
        let both = both.map(|(name, value)| (name.to_owned(), value.to_owned()));
        for order in [both.clone(), [both[1].clone(), both[0].clone()]] {
            assert!(matches!(Config::read(None, order.into_iter()), Err(ConfigError::AdminTokenTwice)));
        }
    }
}
