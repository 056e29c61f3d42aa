//! `--data`: work on a data directory on which no node runs.
//!
//! `ensue_node::offline` does the work. This file calls it and returns its results in the shapes of the API.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use ensue_engine::command::Refusal;
use ensue_engine::names::KeyRef;
use ensue_engine::ports::Secret;
use ensue_engine::record::{Chain, Position};
use ensue_engine::time::Timestamp;
use ensue_node::config::{ConfigError, DATABASE_PASSWORD, DATABASE_PASSWORD_FILE, DatabaseAddress, read_secret};
use ensue_node::offline::{
    CopyStage, Format, HeadReference, KeyState, Location, Offline, OfflineError, chains_at as read_chains, copy_log as copy_location,
    verify_directory,
};
use ensue_node::{AskedToken, Config, Finding, FindingVerdict};
use serde_json::{Value, json};

use crate::progress::TerminalProgress;
use crate::report::{CommandResult, Exit, Failure};
use crate::table::bytes;
use crate::this_machine;

/// The label of the bar while the log is verified.
pub(super) const VERIFYING: &str = "verifying";

/// The label of the bar while the read models are rebuilt.
pub(super) const REBUILDING: &str = "rebuilding";

/// Work on a data directory itself instead of asking a node.
#[derive(Clone, Debug, Args)]
pub(crate) struct AtRest {
    /// Read this data directory instead of calling a node. No node may be running on it.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    beside: DataLocationArgs,
}

/// What belongs to a data directory, and is in another place.
#[derive(Clone, Debug, Args)]
pub(super) struct DataLocationArgs {
    /// The PostgreSQL database that has the log of the data directory: `postgres://USER@HOST/DATABASE`.
    #[arg(long, value_name = "URL", requires = "data")]
    database: Option<DatabaseAddress>,
    /// The file of the master key, if it is not in its default place; ENSUE_MASTER_KEY_FILE names it too.
    #[arg(long, value_name = "FILE", requires = "data")]
    master_key: Option<PathBuf>,
}

/// The variable that names the file of the master key. The parser does not read it, because a variable that is set for a
/// node must not make commands that ask a node demand `--data`.
const MASTER_KEY_FILE: &str = "ENSUE_MASTER_KEY_FILE";

impl AtRest {
    /// Opens the data directory; `None` if a node is to be asked.
    pub(super) fn open(&self) -> Result<Option<Directory>, Failure> {
        let Some(config) = self.config()? else { return Ok(None) };
        let offline = Offline::open(&config).map_err(|error| to_failure(&error))?;
        Ok(Some(Directory { offline }))
    }

    /// Returns the configuration for the data directory, which must exist; `None` if a node is to be asked.
    pub(super) fn config(&self) -> Result<Option<Config>, Failure> {
        let Some(data) = &self.data else { return Ok(None) };
        directory(data, &self.beside).map(Some)
    }
}

/// Returns the configuration for a data directory, which must exist.
pub(super) fn directory(data: &Path, beside: &DataLocationArgs) -> Result<Config, Failure> {
    demand_directory(data)?;
    let mut config = Config::new(data.to_owned());
    config.master_key = beside.master_key.clone().or_else(|| std::env::var_os(MASTER_KEY_FILE).map(PathBuf::from));
    config.database = beside.database.clone().map(with_password).transpose()?;
    Ok(config)
}

/// Adds the password that the environment has to the address of a database that has none.
fn with_password(address: DatabaseAddress) -> Result<DatabaseAddress, Failure> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let password = match (set(DATABASE_PASSWORD), set(DATABASE_PASSWORD_FILE)) {
        (_, _) if address.has_password() => return Ok(address),
        (None, None) => return Ok(address),
        (Some(value), None) => Secret::new(value.into_encoded_bytes()),
        (None, Some(file)) => read_secret(Path::new(&file)).map_err(|error| Failure::from_error(&error))?,
        (Some(_), Some(_)) => return Err(Failure::from_error(&ConfigError::DatabasePasswordTwice)),
    };
    address.with_password(&password).map_err(|why| Failure::with(Exit::Usage, format!("the address of the database {why}")))
}

fn demand_directory(data: &Path) -> CommandResult {
    if !data.is_dir() {
        return Err(Failure::with(Exit::Missing, format!("there is no data directory at `{}`", data.display()))
            .hint("create one with `ensue serve`; by default it is in ./ensue-data"));
    }
    Ok(())
}

fn to_failure(error: &OfflineError) -> Failure {
    Failure::from_error(error)
}

/// Verifies the log of a data directory on which no node runs.
pub(super) fn verify_log(config: &Config, against: HeadReference) -> Result<Value, Failure> {
    let progress = TerminalProgress::through_records(VERIFYING, 0);
    let verified =
        verify_directory(config, against, |position, end| progress.at_of(position.0, end.0)).map_err(|error| to_failure(&error))?;
    Ok(json!({ "job": "log_verify", "status": "succeeded", "position": verified.head.position }))
}

/// Returns the chain's hash at each of these positions of a verified log; `None` beyond its end.
pub(super) fn chains_at(config: &Config, positions: &[Position]) -> Result<Vec<Option<Chain>>, Failure> {
    read_chains(config, positions).map_err(|error| to_failure(&error))
}

/// Copies the log of a data directory on which no node runs, or of a database.
pub(super) fn copy_log(from: Location, to: Location, format: Format) -> Result<Value, Failure> {
    let ready = |location| match location {
        Location::Directory(data) => Ok(Location::Directory(data)),
        Location::Database(address) => with_password(address).map(Location::Database),
    };
    let (from, to) = (ready(from)?, ready(to)?);
    if let Location::Directory(data) = &from {
        demand_directory(data)?;
    }
    let mut shown: Option<(CopyStage, TerminalProgress)> = None;
    let copied = copy_location(&from, &to, format, |stage, done, end| {
        let progress = match shown.take() {
            Some((shown, progress)) if shown == stage => progress,
            Some(_) | None => TerminalProgress::through_records(name_of(stage), end),
        };
        progress.at_of(done, end);
        shown = Some((stage, progress));
    });
    drop(shown);
    let copied = copied.map_err(|error| to_failure(&error))?;
    let head = copied.first().map(|log| log.verified.head).unwrap_or_default();
    Ok(json!({ "position": head.position, "chain": head.chain }))
}

fn name_of(stage: CopyStage) -> &'static str {
    match stage {
        CopyStage::Checking => "checking",
        CopyStage::Copying => "copying",
        CopyStage::Verifying => VERIFYING,
    }
}

/// An opened data directory.
pub(super) struct Directory {
    offline: Offline,
}

impl Directory {
    pub(super) fn keys(&self) -> Vec<Value> {
        let keys = self.offline.keys();
        let shown = |key: KeyState| json!({ "ref": key.key, "version": key.versions.current, "expires_at": key.versions.expires_at });
        keys.into_iter().map(shown).collect()
    }

    /// Returns the stored versions of a key. When they were set, and by whom, is in the read models.
    pub(super) fn key_versions(&self, key: &KeyRef) -> Result<Vec<Value>, Failure> {
        let key =
            self.offline.keys().into_iter().find(|set| set.key == *key).ok_or_else(|| Failure::from_error(&Refusal::NoKey(key.clone())))?;
        let current = json!({ "version": key.versions.current, "status": "current", "expires_at": key.versions.expires_at });
        let now = this_machine::now();
        let before = key.versions.previous.filter(|previous| now < previous.until);
        let before = before.map(|before| json!({ "version": before.version, "status": "accepted", "accepted_until": before.until }));
        Ok([current].into_iter().chain(before).collect())
    }

    pub(super) fn set_key(&mut self, key: &KeyRef, value: Vec<u8>, expires_at: Option<Timestamp>) -> CommandResult {
        self.offline.set_key(key, &Secret::new(value), expires_at).map_err(|error| to_failure(&error))?;
        Ok(())
    }

    pub(super) fn rotate_key(&mut self, key: &KeyRef, value: Vec<u8>, overlap: Duration, expires_at: Option<Timestamp>) -> CommandResult {
        let overlap_millis = u64::try_from(overlap.as_millis()).unwrap_or(u64::MAX);
        self.offline.rotate_key(key, &Secret::new(value), overlap_millis, expires_at).map_err(|error| to_failure(&error))?;
        Ok(())
    }

    /// Returns the version and its value.
    pub(super) fn reveal_key(&mut self, key: &KeyRef, version: Option<u32>) -> Result<(u32, Secret), Failure> {
        self.offline.reveal_key(key, version).map_err(|error| to_failure(&error))
    }

    pub(super) fn rotate_master_key(&mut self) -> Result<Value, Failure> {
        let (from, to) = self.offline.rotate_master_key().map_err(|error| to_failure(&error))?;
        Ok(json!({ "job": "master_key_rotate", "status": "succeeded", "from": from, "to": to }))
    }

    pub(super) fn remove_key(&mut self, key: &KeyRef) -> CommandResult {
        self.offline.remove_key(key).map_err(|error| to_failure(&error))
    }

    pub(super) fn tokens(&self) -> Vec<Value> {
        let tokens = self.offline.tokens();
        tokens
            .into_iter()
            .map(|token| {
                json!({
                    "id": token.id, "name": token.name, "roles": token.roles, "scopes": token.scopes, "expires_at": token.expires_at,
                })
            })
            .collect()
    }

    /// Returns the complete token, which is available only this once.
    pub(super) fn add_token(&mut self, token: &AskedToken) -> Result<String, Failure> {
        let token = self.offline.add_token(token).map_err(|error| to_failure(&error))?;
        Ok(String::from_utf8_lossy(token.reveal()).into_owned())
    }

    /// Makes an identity an administrator again: creates it if needed, and returns a new token of it, only this once.
    pub(super) fn recover(&mut self, name: &str) -> Result<String, Failure> {
        let token = self.offline.recover(name).map_err(|error| to_failure(&error))?;
        Ok(String::from_utf8_lossy(token.reveal()).into_owned())
    }

    pub(super) fn revoke_token(&mut self, name: &str) -> CommandResult {
        self.offline.revoke_token(name).map_err(|error| to_failure(&error))
    }

    pub(super) fn head(&self) -> Value {
        let head = self.offline.head();
        json!({ "position": head.position, "chain": head.chain })
    }

    pub(super) fn rebuild_views(&self) -> Result<Value, Failure> {
        let progress = self.progress(REBUILDING);
        let position = self.offline.rebuild_views(|position| progress.at(position.0)).map_err(|error| to_failure(&error))?;
        Ok(json!({ "job": "views_rebuild", "status": "succeeded", "position": position }))
    }

    fn progress(&self, what: &'static str) -> TerminalProgress {
        TerminalProgress::through_records(what, self.offline.head().position.0)
    }

    /// Checks the directory as `doctor` does. That it could be opened means that its lock, master key and
    /// newest head are valid.
    pub(super) fn doctor(&self) -> Value {
        let good = |check: &str, message: String| json!({ "check": check, "verdict": "good", "message": message, "hint": null });
        let bad = |check: &str, failure: &Failure| json!({ "check": check, "verdict": "bad", "message": failure.to_string(), "hint": failure.hint_text() });
        let mut findings = vec![good("directory", "no node is using it, and its master key opens it".to_owned())];
        let progress = self.progress(VERIFYING);
        let verified = self.offline.verify(|position| progress.at(position.0));
        drop(progress);
        findings.push(match verified {
            Ok(verified) => good("log", format!("the chain is intact up to position {}", verified.head.position)),
            Err(error) => bad("log", &to_failure(&error)),
        });
        findings.push(match self.offline.free_bytes() {
            Ok(free) => good("disk", format!("{} free", bytes(free))),
            Err(error) => bad("disk", &to_failure(&error)),
        });
        findings.extend(self.offline.database_findings().into_iter().map(|Finding { check, verdict, message, hint }| {
            let verdict = match verdict {
                FindingVerdict::Good => "good",
                FindingVerdict::Warning => "warning",
                FindingVerdict::Bad => "bad",
            };
            json!({ "check": check, "verdict": verdict, "message": message, "hint": hint })
        }));
        json!({ "findings": findings })
    }
}
