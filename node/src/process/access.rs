//! Prepares access to a node: keys from files, the first token, the key of cursors.
//!
//! Authorization is decided elsewhere.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ensue_api::ports::{Access as _, AskedToken, NewValue, OnBehalf, Tokens};
use ensue_engine::access::subject::Subject;
use ensue_engine::command::{Ask, Command, DeclaredAccess, NewGrant, Refusal};
use ensue_engine::explain::Explain as _;
use ensue_engine::ids::{GrantId, Id};
use ensue_engine::names::KeyRef;
use ensue_engine::ports::{Secret, SubmitError};
use ensue_engine::record::Actor;

use crate::catalogs::NodeCatalogs;
use crate::config::{AdminToken, Config, DeclaredRights, DeclaredSubject, KeySource, read_secret};
use crate::key_ring::NodeKeys;
use crate::start_error::{StartError, machine};
use crate::tokens::NodeTokens;

/// The name of the first token.
const ADMIN: &str = "admin";

/// Sets the keys whose values the operator keeps in files, if they differ from the stored values.
pub(super) fn set_keys(config: &Config, catalogs: &NodeCatalogs, keys: &NodeKeys) -> Result<Vec<String>, StartError> {
    let mut files: BTreeMap<KeyRef, PathBuf> = BTreeMap::new();
    let mut warnings = Vec::new();
    for (pack, settings) in &config.pack_settings {
        for (name, source) in &settings.keys {
            match (KeyRef::new(pack, name), source) {
                (Ok(key), KeySource::File(file)) => {
                    files.insert(key, file.clone());
                }
                (Ok(key), KeySource::From(at)) if keys.ring.is_set(&key) => {
                    warnings.push(format!(
                        "the key `{key}` has a value in the vault that is not used: the provider `{}` has its value; remove it with `ensue keys remove {key}`",
                        at.provider
                    ));
                }
                (Ok(_), KeySource::From(_)) => {}
                (Err(error), _) => warnings.push(format!("a key of pack `{pack}` in the settings is not set: {error}")),
            }
        }
    }
    let declared: Vec<KeyRef> = catalogs.current().packs().values().flat_map(|pack| pack.keys.iter().cloned()).collect();
    for (variable, path) in &config.key_files {
        match declared.iter().find(|key| variable_of(key) == *variable) {
            Some(key) => {
                files.insert(key.clone(), path.clone());
            }
            None => warnings.push(format!("{variable} does not name a key that an installed pack declares; it is ignored")),
        }
    }
    let by = OnBehalf { actor: Actor::Operator, trace: None, request: None };
    let provided: Vec<KeyRef> = config.provided_keys().map(|(key, _)| key).collect();
    for (key, path) in files {
        if provided.contains(&key) {
            warnings.push(format!("{} is ignored: a provider has the value of the key `{key}`", variable_of(&key)));
            continue;
        }
        let value = read_secret(&path)?;
        let is_same = keys.ring.open(&key)?.is_some_and(|set| set.reveal() == value.reveal());
        if !is_same {
            ensue_api::ports::KeyWriter::set(keys, &key, NewValue { value, expires_at: None }, &by)
                .map_err(|declined| declined_start("setting a key from its file", &declined))?;
        }
    }
    Ok(warnings)
}

fn variable_of(key: &KeyRef) -> String {
    format!("ENSUE_KEY_{}_{}_FILE", key.pack().as_str().to_ascii_uppercase(), key.name().to_ascii_uppercase())
}

/// Creates the first admin's access, at the very first start only.
pub(super) fn first_token(config: &Config, is_first_start: bool, tokens: &NodeTokens) -> Result<Option<Secret>, StartError> {
    if !is_first_start && !tokens.table.is_empty() {
        if let AdminToken::Given { token } = &config.admin_token
            && !tokens.table.has(token)
        {
            tracing::warn!(
                "the given admin token is ignored, because the node has tokens already; add one with `ensue tokens add NAME --role admin --data DIR` on the stopped node"
            );
        }
        return Ok(None);
    }
    let lost = tokens.table.lost_tokens();
    if !lost.is_empty() {
        return Err(StartError::Refused {
            doing: "adding the tokens",
            why: format!("the vault has lost the secret of every token in the log: {}", lost.join(", ")),
            hint: Some(
                "restore the data directory's vault from a backup; or revoke each token with `ensue tokens revoke NAME --data DIR`, and the next start creates a new one"
                    .into(),
            ),
        });
    }
    let by = OnBehalf { actor: Actor::Operator, trace: None, request: None };
    let roles = [ADMIN.to_owned()];
    let doing = "adding the first admin token";
    match &config.admin_token {
        AdminToken::Given { token } => {
            tokens.add_given(ADMIN, &roles, token, &by).map_err(|declined| declined_start(doing, &declined))?;
            Ok(None)
        }
        AdminToken::Made => {
            let made = tokens
                .add(&AskedToken { name: ADMIN.to_owned(), roles: roles.to_vec(), ..AskedToken::default() }, &by)
                .map_err(|declined| declined_start(doing, &declined))?;
            Ok(Some(made.token))
        }
    }
}

fn declined_start(doing: &'static str, declined: &ensue_api::ports::PortError) -> StartError {
    StartError::Refused { doing, why: declined.why.to_string(), hint: declined.why.hint() }
}

/// Sets the roles and grants that the settings declare, and removes those that left them: all of it, or nothing.
pub(super) fn declare_rights(declared: &DeclaredRights, tokens: &NodeTokens) -> Result<(), StartError> {
    let stopped = |line: Option<u64>, why: String, hint: Option<String>| StartError::Refused {
        doing: "applying `access.roles` and `access.grants` of the settings",
        why: line.map_or(why.clone(), |line| format!("line {line}: {why}")),
        hint,
    };
    let grants = declared.grants.iter().map(|grant| {
        let subject = match &grant.subject {
            DeclaredSubject::Everyone => Subject::Everyone,
            DeclaredSubject::Group(group) => Subject::Group(group.clone()),
            DeclaredSubject::Identity(name) => Subject::Identity(tokens.table.identity_named(name).ok_or_else(|| {
                let hint = "start the node without this grant, add the identity with `ensue identities add`, and restart the node";
                stopped(Some(grant.line), format!("the identity `{name}` does not exist"), Some(hint.to_owned()))
            })?),
        };
        let moment = tokens.clock.moment();
        let (id, role, on) = (GrantId(Id::root(moment.time, moment.entropy)), grant.role.clone(), grant.on.clone());
        Ok(NewGrant { id, subject, role, on, until: grant.until })
    });
    let access = DeclaredAccess { roles: declared.roles.clone(), grants: grants.collect::<Result<_, StartError>>()? };
    let command = Command { actor: Actor::Operator, trace: None, ask: Ask::DeclareAccess(access) };
    tokens.sequencer.ask(command).map(|_| ()).map_err(|error| {
        let role = match &error {
            SubmitError::Refused(Refusal::NoRole(role) | Refusal::RoleNotLimitable(role)) => Some(role),
            _ => None,
        };
        let at = declared.grants.iter().find(|grant| Some(&grant.role) == role);
        stopped(at.map(|grant| grant.line), error.to_string(), error.hint())
    })
}

/// Returns the key that signs cursors. It is created once and stays the same after a restart.
pub(super) fn cursor_key(path: &Path) -> Result<[u8; 32], StartError> {
    let doing = "storing the key of cursors";
    if let Ok(bytes) = std::fs::read(path)
        && let Ok(key) = <[u8; 32]>::try_from(bytes)
    {
        return Ok(key);
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|why| machine(doing, &why))?;
    let mut file =
        std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(|why| machine(doing, &why))?;
    file.write_all(&key).map_err(|why| machine(doing, &why))?;
    Ok(key)
}
