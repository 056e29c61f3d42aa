//! Keys: list them, set them and remove them. No response ever contains a value.

use axum::http::header;
use ensue_engine::catalog::{KEY_BYTES_MIN, Sensor, Verify};
use ensue_engine::explain::Explain;
use ensue_engine::names::{KeyRef, SensorRef};
use ensue_engine::ports::Secret;
use ensue_views::Key;
use thiserror::Error;

use super::Routes;
use crate::auth::Allowed;
use crate::body;
use crate::call::Call;
use crate::listing;
use crate::operation::{Conditional, Content, Operation, SET, Takes, WRITTEN, schema_of};
use crate::permissions::{KeysRead, KeysWrite, Permission as _};
use crate::ports::Ports;
use crate::problem::{Outcome, Problem};
use crate::respond::{self, Written};
use crate::rows::read_row;
use crate::wire::keys::{WireKey, WireKeyValue, WireSetKey};

/// The maximum size of a key's value in bytes.
const VALUE_BYTES_MAX: usize = 64 * 1024;

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
}

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<KeysRead>(
        "/keys",
        list,
        Operation::lists::<WireKey>("key_list", "Lists the keys that are set, without their values", &["sort", "limit", "cursor"])
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
            .refuses(&[(409, "key_version_old"), (413, "key_value_invalid"), (422, "key_value_invalid"), (503, "vault_unavailable")])
            .heeds_conditions(Conditional::MakingOrChange),
    );
    routes.delete::<KeysWrite>(
        "/keys/{ref}",
        remove,
        Operation::new("key_remove", "Removes a key")
            .gives_content(204, "The key was removed.", Content::Nothing, WRITTEN)
            .heeds_conditions(Conditional::Change),
    );
}

/// Lists the keys that are set, newest first.
pub(super) async fn list(allowed: Allowed<KeysRead>, call: Call) -> Outcome {
    let listed = listing::rows::<Key, _>(&call, &allowed, &[]).await?;
    let items = listed.items.into_iter().map(WireKey::from).collect();
    call.answer_page(items, listed.next.as_deref(), &listed.page)
}

/// Shows since when a key has been set, and by whom.
pub(super) async fn get(_: Allowed<KeysRead>, call: Call) -> Outcome {
    let key: KeyRef = call.named("ref", KeysRead::THING)?;
    let key: Key = call.api().row(key.to_string(), KeysRead::THING).await?;
    respond::json(&WireKey::from(key))
}

/// Reads what [`get`] shows. Blocking.
fn read(ports: &Ports, key: &str) -> Result<Option<WireKey>, Problem> {
    Ok(read_row::<Key>(ports, key)?.map(WireKey::from))
}

/// Sets a key: from the raw body, or from JSON.
pub(super) async fn set(allowed: Allowed<KeysWrite>, mut call: Call) -> Outcome {
    let key: KeyRef = call.named("ref", KeysWrite::THING)?;
    let value = value(&mut call).await?;
    demand_long_enough(&call, &key, &value)?;
    let by = allowed.on_behalf(call.context());
    let lock = call.lock::<KeysRead, _>(key.as_str(), read).await?;
    let named = key.clone();
    let set = move |ports: &Ports| {
        let set = ports.keys.set(&key, value, &by);
        drop(lock);
        set
    };
    let set = call.api().threads.blocking(set).await??;
    let how = if set.version == 1 { Written::Created } else { Written::Done };
    let wire = WireSetKey { r#ref: named.clone(), version: set.version };
    let position = set.committed.position;
    let answer = respond::located(respond::written(how, position, &wire)?, &format!("{}/keys/{named}", crate::route::BASE));
    let as_set = move |ports: &Ports| {
        let key = read_row::<Key>(ports, named.as_str())?.filter(|key| key.position == position);
        Ok(key.map(WireKey::from))
    };
    Ok(call.with_new_tag(answer, position, as_set).await)
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

async fn value(call: &mut Call) -> Result<Secret, Problem> {
    const RAW: [&str; 2] = ["application/octet-stream", "text/plain"];
    let given = call.headers().get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase());
    let is_raw = given.as_deref().is_some_and(|given| RAW.contains(&given.split(';').next().unwrap_or_default().trim()));
    if !is_raw {
        body::demand_json(call.headers())?;
    }
    let body = call.bytes().await?;
    let value = if is_raw { body.to_vec() } else { body::parse_secret::<WireKeyValue>(&body)?.value.into_bytes() };
    match value.len() {
        0 => Err(ValueInvalid::Empty.into()),
        bytes if bytes > VALUE_BYTES_MAX => Err(ValueInvalid::TooLarge.into()),
        _ => Ok(Secret::new(value)),
    }
}

/// Removes a key.
pub(super) async fn remove(allowed: Allowed<KeysWrite>, call: Call) -> Outcome {
    let key: KeyRef = call.named("ref", KeysWrite::THING)?;
    let by = allowed.on_behalf(call.context());
    let lock = call.lock::<KeysRead, _>(key.as_str(), read).await?;
    let remove = move |ports: &Ports| {
        let removed = ports.keys.remove(&key, &by);
        drop(lock);
        removed
    };
    let committed = call.api().threads.blocking(remove).await??;
    Ok(respond::gone(committed.position))
}
