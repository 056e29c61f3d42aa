//! Keys: list them, set them, rotate them and remove them. Only one path returns a value, and the log records
//! it first.

use ensue_views::RowReach;
use std::borrow::Cow;

use axum::http::{HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ensue_engine::catalog::{KEY_BYTES_MIN, Sensor, Verify};
use ensue_engine::explain::Explain;
use ensue_engine::names::{KeyRef, SensorRef};
use ensue_engine::ports::Secret;
use ensue_engine::time::{Timestamp, parse_duration};
use ensue_views::Key;
use thiserror::Error;

use super::Routes;
use super::node::{begin, job, job_state};
use crate::auth::AllowedCaller;
use crate::body;
use crate::call::{Call, Nothing};
use crate::deliveries;
use crate::listing::{self, SortQuery};
use crate::operation::{BodyPresence, Conditional, Content, Operation, SET, Takes, WRITTEN, schema_of};
use crate::paging::PageQuery;
use crate::permissions::{KeysRead, KeysReveal, KeysRotate, KeysWrite, MasterKeyRotate, Permission as _};
use crate::ports::{JobKind, NewValue, Ports, SetKey};
use crate::problem::{Missing, Outcome, Problem};
use crate::respond::{self, WriteOutcome};
use crate::rows::read_row;
use crate::wire::WireList;
use crate::wire::keys::{
    ValueEncoding, WireGenerate, WireKey, WireKeyRotation, WireKeyValue, WireKeyVersion, WireReveal, WireRevealedKey, WireSetKey,
};
use crate::wire::node::WireJob;

/// The maximum size of a key's value in bytes.
const VALUE_BYTES_MAX: usize = 64 * 1024;

/// The minimum number of random bytes of a generated value.
const GENERATED_BYTES_MIN: usize = 16;
/// The maximum number of random bytes of a generated value.
const GENERATED_BYTES_MAX: usize = 1024;

/// A value that a key cannot have.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
#[explain(slug = "key-value-invalid")]
enum ValueInvalid {
    /// The value is empty.
    #[error("the value is empty")]
    #[explain(fault = Invalid,
        hint = r#"send the raw value with `Content-Type: application/octet-stream`, or as `{{"value": "…"}}` with `application/json`"#)]
    Empty,
    /// The value is too large.
    #[error("the value is longer than {VALUE_BYTES_MAX} bytes")]
    #[explain(fault = TooLarge,
        hint = r#"send the raw value with `Content-Type: application/octet-stream`, or as `{{"value": "…"}}` with `application/json`"#)]
    TooLarge,
    /// The value is too short for a signing key.
    #[error("the value has {bytes} bytes, but the hook `{hook}` requires a signing key of at least {KEY_BYTES_MIN} bytes")]
    #[explain(fault = Invalid, hint = "create one with `openssl rand -hex 32`, and give the sender the same value")]
    ShortForHook {
        /// The hook.
        hook: SensorRef,
        /// The value's length.
        bytes: usize,
    },
    /// The size of a generated value is out of range.
    #[error("a generated value has from {GENERATED_BYTES_MIN} to {GENERATED_BYTES_MAX} random bytes")]
    #[explain(fault = Invalid, hint = r#"send for example `"generate": {{"bytes": 32}}`"#)]
    Generated,
    /// There is no new value, or there are two.
    #[error("a rotation has either a `value` or `generate`, and not both")]
    #[explain(fault = Invalid, hint = r#"send `"value": "…"`, or `"generate": {{"bytes": 32}}`"#)]
    NotOne,
}

/// A time that a value cannot have. Times in the past and overlaps that are too long are rejected by the core.
#[derive(Debug, Error, Explain)]
#[non_exhaustive]
#[explain(slug = "key-lifetime-invalid", fault = Invalid)]
enum LifetimeInvalid {
    /// The overlap is not a duration.
    #[error("`overlap` must be a duration")]
    #[explain(hint = "write numbers with units: 24h, 1h30m, or 0s if the value before is not accepted")]
    Overlap,
    /// The expiry is not a time.
    #[error("`expires_at` must be a time")]
    #[explain(hint = "use RFC 3339, for example 2027-03-28T09:00:00Z")]
    Expiry,
}

/// Why a new value is refused.
const OF_A_NEW_VALUE: &[(u16, &str)] = &[
    (409, "key_version_old"),
    (413, "key_value_invalid"),
    (422, "key_value_invalid"),
    (422, "key_lifetime_invalid"),
    (503, "vault_unavailable"),
];

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<KeysRead>(
        "/keys",
        list,
        Operation::lists::<WireKey>(
            "key_list",
            "Lists the keys that are set, without their values",
            &[SortQuery::PARAMETERS, PageQuery::PARAMETERS],
        )
        .sees_views(),
    );
    routes.get::<KeysRead>(
        "/keys/{ref}",
        get,
        Operation::shows::<WireKey>("key_get", "Returns when a key was set, and by whom").sees_views(),
    );
    routes.put::<KeysWrite>(
        "/keys/{ref}",
        set,
        Operation::new("key_set", "Sets a key")
            .takes(Takes::JsonOr {
                schema: schema_of::<WireKeyValue>,
                example: r#"{"value": "a new value"}"#,
                others: &[("application/octet-stream", "the bytes of the value"), ("text/plain", "the text of the value")],
            })
            .gives::<WireSetKey>(201, "The key was set for the first time.", SET)
            .gives::<WireSetKey>(200, "The value of the key was replaced.", SET)
            .refuses(OF_A_NEW_VALUE)
            .honors_conditions(Conditional::MakingOrChange),
    );
    routes.get::<KeysRead>(
        "/keys/{ref}/versions",
        versions,
        Operation::new("key_versions", "Lists the last versions of a key, without their values")
            .gives::<WireList<WireKeyVersion>>(200, "The versions, the newest first.", &[])
            .sees_views(),
    );
    routes.post::<KeysRotate>(
        "/keys/{ref}/rotate",
        rotate,
        Operation::new("key_rotate", "Replaces the value of a key, and accepts the value before it for a while")
            .takes_json::<WireKeyRotation>(r#"{"generate": {"bytes": 32}, "overlap": "24h"}"#)
            .gives::<WireSetKey>(200, "The value of the key was replaced.", SET)
            .refuses(OF_A_NEW_VALUE)
            .honors_conditions(Conditional::Change),
    );
    routes.post::<KeysReveal>(
        "/keys/{ref}/reveal",
        reveal,
        Operation::new("key_reveal", "Shows a value, after it was recorded who asked for it")
            .takes(Takes::Json { schema: schema_of::<WireReveal>, example: r#"{"version": 1}"#, presence: BodyPresence::Optional })
            .gives::<WireRevealedKey<'static>>(200, "The value, in clear text.", WRITTEN)
            .passes_keys_over()
            .refuses(&[(503, "vault_integrity"), (503, "vault_unavailable")]),
    );
    routes.get::<MasterKeyRotate>(
        "/master_key/rotate",
        rotation_state,
        Operation::shows::<WireJob>("master_key_rotation_get", "Returns the status of the last rotation of the master key"),
    );
    routes.post::<MasterKeyRotate>(
        "/master_key/rotate",
        rotate_master,
        job("master_key_rotate", "Starts to seal all values of the vault under a new master key, or continues to"),
    );
    routes.delete::<KeysWrite>(
        "/keys/{ref}",
        remove,
        Operation::new("key_remove", "Removes a key")
            .gives_content(204, "The key was removed.", Content::Nothing, WRITTEN)
            .honors_conditions(Conditional::Change),
    );
}

/// Lists the keys that are set, newest first.
pub(super) async fn list(allowed: AllowedCaller<KeysRead>, call: Call) -> Outcome {
    let listed = listing::rows::<Key, _>(&call, &allowed, Vec::new()).await?;
    let items = listed.items.into_iter().map(WireKey::from).collect();
    call.answer_page(items, listed.next.as_deref(), &listed.page)
}

/// Shows since when a key has been set, and by whom.
pub(super) async fn get(_: AllowedCaller<KeysRead>, call: Call) -> Outcome {
    let key: KeyRef = call.parse_part("ref", KeysRead::THING)?;
    let key: Key = call.api().row(key.to_string(), KeysRead::THING, RowReach::Everything).await?;
    respond::json(&WireKey::from(key))
}

/// Reads what [`get`] shows. Blocking.
fn read(ports: &Ports, key: &str) -> Result<Option<WireKey>, Problem> {
    Ok(read_row::<Key>(ports, key)?.map(WireKey::from))
}

/// Lists the versions of a key, the newest first.
pub(super) async fn versions(_: AllowedCaller<KeysRead>, call: Call) -> Outcome {
    let key: KeyRef = call.parse_part("ref", KeysRead::THING)?;
    let key: Key = call.api().row(key.to_string(), KeysRead::THING, RowReach::Everything).await?;
    respond::json(&WireList { items: WireKeyVersion::of(key, deliveries::now()), next: None })
}

/// Sets a key: from the raw body, or from JSON.
pub(super) async fn set(allowed: AllowedCaller<KeysWrite>, mut call: Call) -> Outcome {
    let key: KeyRef = call.parse_part("ref", KeysWrite::THING)?;
    let new = new_value(&mut call).await?;
    demand_long_enough(&call, &key, &new.value)?;
    let by = allowed.on_behalf(call.context());
    let lock = call.lock::<KeysRead, _>(key.as_str(), read).await?;
    let named = key.clone();
    let set = move |ports: &Ports| {
        let set = ports.keys.set(&key, new, &by);
        drop(lock);
        set
    };
    let set = call.api().threads.blocking(set).await??;
    let how = if set.version == 1 { WriteOutcome::Created } else { WriteOutcome::Done };
    answer_set(&call, how, named, set).await
}

/// Replaces the value of a key that is set, and accepts the value before it for a while.
pub(super) async fn rotate(allowed: AllowedCaller<KeysRotate>, mut call: Call) -> Outcome {
    let key: KeyRef = call.parse_part("ref", KeysRotate::THING)?;
    if let Some((before, _)) = call.before().await? {
        // The version that the first request set; its value may have been replaced since.
        call.api().see_position(before.position).await?;
        let row: Key = call.api().row(key.to_string(), KeysRotate::THING, RowReach::Everything).await?;
        let mut versions = [row.current].into_iter().chain(row.replaced);
        let made = versions.find(|version| version.position <= before.position);
        let version = made.ok_or_else(|| Missing::new(KeysRotate::THING, key.as_str()))?.version;
        let wire = WireSetKey { r#ref: key.clone(), version };
        return Ok(respond::with_location(respond::answer_write(WriteOutcome::Done, before.position, &wire)?, &path_of(&key)));
    }
    body::demand_json(call.headers())?;
    let asked: WireKeyRotation = body::parse_secret(&call.bytes().await?)?;
    let overlap = parse_duration(&asked.overlap).ok_or(LifetimeInvalid::Overlap)?;
    let value = match (asked.value, asked.generate) {
        (Some(value), None) => check_value(value.into_bytes())?,
        (None, Some(WireGenerate { bytes })) => generate_value(bytes)?,
        (Some(_), Some(_)) | (None, None) => return Err(ValueInvalid::NotOne.into()),
    };
    let new = NewValue { value, expires_at: expiry(asked.expires_at.as_deref())? };
    demand_long_enough(&call, &key, &new.value)?;
    let by = call.on_behalf(&allowed)?;
    let lock = call.lock::<KeysRead, _>(key.as_str(), read).await?;
    let named = key.clone();
    let rotate = move |ports: &Ports| {
        let overlap_millis = u64::try_from(overlap.as_millis()).unwrap_or(u64::MAX);
        let rotated = ports.keys.rotate(&key, new, overlap_millis, &by);
        drop(lock);
        rotated
    };
    let rotated = call.api().threads.blocking(rotate).await??;
    answer_set(&call, WriteOutcome::Done, named, rotated).await
}

/// Shows a value. The log has the record of it before the answer is sent.
pub(super) async fn reveal(allowed: AllowedCaller<KeysReveal>, mut call: Call) -> Outcome {
    let key: KeyRef = call.parse_part("ref", KeysReveal::THING)?;
    let WireReveal { version } = call.json_or_nothing().await?;
    let by = allowed.on_behalf(call.context());
    let named = key.clone();
    let revealed = call.api().threads.blocking(move |ports| ports.keys.reveal(&key, version, &by)).await??;
    let bytes = revealed.value.reveal();
    let (value, encoding) = match std::str::from_utf8(bytes) {
        Ok(text) => (Cow::Borrowed(text), ValueEncoding::Text),
        Err(_) => (Cow::Owned(STANDARD.encode(bytes)), ValueEncoding::Base64),
    };
    let wire = WireRevealedKey { r#ref: &named, version: revealed.version, value: &value, encoding };
    let mut answer = respond::answer_write(WriteOutcome::Done, revealed.committed.position, &wire)?;
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

/// Starts to rotate the master key.
pub(super) async fn rotate_master(allowed: AllowedCaller<MasterKeyRotate>, mut call: Call) -> Outcome {
    let Nothing {} = call.json_or_nothing().await?;
    begin(&call, JobKind::MasterKeyRotate, allowed.on_behalf(call.context())).await
}

/// Shows the state of the last rotation of the master key.
pub(super) async fn rotation_state(_: AllowedCaller<MasterKeyRotate>, call: Call) -> Outcome {
    job_state(&call, JobKind::MasterKeyRotate)
}

/// Answers with the version that was set, and with the tag that the key has now.
async fn answer_set(call: &Call, how: WriteOutcome, key: KeyRef, set: SetKey) -> Outcome {
    let wire = WireSetKey { r#ref: key.clone(), version: set.version };
    let position = set.committed.position;
    let answer = respond::with_location(respond::answer_write(how, position, &wire)?, &path_of(&key));
    let as_set = move |ports: &Ports| {
        let key = read_row::<Key>(ports, key.as_str())?.filter(|key| key.current.version == set.version);
        Ok(key.map(WireKey::from))
    };
    Ok(call.with_new_tag(answer, position, as_set).await)
}

fn path_of(key: &KeyRef) -> String {
    format!("{}/keys/{key}", crate::route::BASE)
}

/// Rejects a secret of a hook that the hook would not accept.
fn demand_long_enough(call: &Call, key: &KeyRef, value: &Secret) -> Result<(), ValueInvalid> {
    let catalog = call.api().ports.installed.current();
    let proves = |sensor: &Sensor| sensor.source.webhook().and_then(Verify::key) == Some(key);
    let bytes = value.reveal().len();
    match catalog.sensors().values().find(|sensor| proves(sensor)) {
        Some(sensor) if bytes < KEY_BYTES_MIN => Err(ValueInvalid::ShortForHook { hook: sensor.name.clone(), bytes }),
        Some(_) | None => Ok(()),
    }
}

async fn new_value(call: &mut Call) -> Result<NewValue, Problem> {
    const RAW: [&str; 2] = ["application/octet-stream", "text/plain"];
    let given = call.headers().get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase());
    let is_raw = given.as_deref().is_some_and(|given| RAW.contains(&given.split(';').next().unwrap_or_default().trim()));
    if !is_raw {
        body::demand_json(call.headers())?;
    }
    let body = call.bytes().await?;
    let (value, expires_at) = if is_raw {
        (body.to_vec(), None)
    } else {
        let WireKeyValue { value, expires_at } = body::parse_secret(&body)?;
        (value.into_bytes(), expires_at)
    };
    Ok(NewValue { value: check_value(value)?, expires_at: expiry(expires_at.as_deref())? })
}

fn check_value(value: Vec<u8>) -> Result<Secret, ValueInvalid> {
    let bytes = value.len();
    let value = Secret::new(value);
    match bytes {
        0 => Err(ValueInvalid::Empty),
        bytes if bytes > VALUE_BYTES_MAX => Err(ValueInvalid::TooLarge),
        _ => Ok(value),
    }
}

/// Generates a value: the hexadecimal digits of random bytes.
fn generate_value(bytes: usize) -> Result<Secret, Problem> {
    if !(GENERATED_BYTES_MIN..=GENERATED_BYTES_MAX).contains(&bytes) {
        return Err(ValueInvalid::Generated.into());
    }
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).map_err(|why| Problem::bug(&why))?;
    let random = Secret::new(random);
    let digits = random.reveal().iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| b"0123456789abcdef"[usize::from(digit)]);
    Ok(Secret::new(digits.collect()))
}

fn expiry(given: Option<&str>) -> Result<Option<Timestamp>, LifetimeInvalid> {
    given.map(|text| text.parse().map_err(|_| LifetimeInvalid::Expiry)).transpose()
}

/// Removes a key.
pub(super) async fn remove(allowed: AllowedCaller<KeysWrite>, call: Call) -> Outcome {
    let key: KeyRef = call.parse_part("ref", KeysWrite::THING)?;
    let by = allowed.on_behalf(call.context());
    let lock = call.lock::<KeysRead, _>(key.as_str(), read).await?;
    let remove = move |ports: &Ports| {
        let removed = ports.keys.remove(&key, &by);
        drop(lock);
        removed
    };
    let committed = call.api().threads.blocking(remove).await??;
    Ok(respond::no_content(committed.position))
}
