//! Keys: which are set, and setting and removing them. No answer ever holds a value.

use axum::http::header;
use ensue_engine::catalog::{KEY_BYTES_MIN, Sensor, Verify};
use ensue_engine::explain::{Explain, Fault};
use ensue_engine::names::{KeyRef, SensorRef};
use ensue_engine::ports::Secret;
use ensue_views::Key;
use thiserror::Error;

use crate::api::read_row;
use crate::auth::Allowed;
use crate::body;
use crate::call::Call;
use crate::listing;
use crate::permissions::{KeysRead, KeysWrite, Permission as _};
use crate::ports::Ports;
use crate::problem::{Outcome, Problem};
use crate::respond::{self, Written};
use crate::wire::keys::{WireKey, WireKeyValue, WireSetKey};

/// The most bytes of a key's value.
const VALUE_BYTES_MAX: usize = 64 * 1024;

/// A value that cannot be a key's.
#[derive(Debug, Error)]
#[non_exhaustive]
enum ValueInvalid {
    /// There is none.
    #[error("the value is empty")]
    Empty,
    /// It is too large.
    #[error("the value is longer than {VALUE_BYTES_MAX} bytes")]
    TooLarge,
    /// It is too short for what it is to prove.
    #[error("the value has {bytes} bytes, but the hook `{hook}` requires a signing key of at least {KEY_BYTES_MIN} bytes")]
    ShortForHook {
        /// The hook.
        hook: SensorRef,
        /// How long it is.
        bytes: usize,
    },
}

impl Explain for ValueInvalid {
    fn slug(&self) -> &'static str {
        "key-value-invalid"
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Empty | Self::ShortForHook { .. } => Fault::Invalid,
            Self::TooLarge => Fault::TooLarge,
        }
    }

    fn hint(&self) -> Option<String> {
        if let Self::ShortForHook { .. } = self {
            return Some("create one with `openssl rand -hex 32`, and give the sender the same value".into());
        }
        Some(r#"send the raw value with `Content-Type: application/octet-stream`, or as `{"value": "…"}` with `application/json`"#.into())
    }
}

/// Lists the keys that are set, the newest first.
pub(super) async fn list(allowed: Allowed<KeysRead>, call: Call) -> Outcome {
    let listed = listing::rows::<Key, _>(&call, &allowed, &[]).await?;
    let items = listed.items.into_iter().map(WireKey::from).collect();
    call.answer_page(items, listed.next.as_deref(), &listed.page)
}

/// Shows that a key is set, since when and by whom.
pub(super) async fn get(_: Allowed<KeysRead>, call: Call) -> Outcome {
    let key: KeyRef = call.named("ref", KeysRead::THING)?;
    let key: Key = call.api().row(key.to_string(), KeysRead::THING).await?;
    respond::json(&WireKey::from(key))
}

/// Reads what [`get`] shows. Blocking.
fn read(ports: &Ports, key: &str) -> Result<Option<WireKey>, Problem> {
    Ok(read_row::<Key>(ports, key)?.map(WireKey::from))
}

/// Sets a key: the value as it is, or as JSON.
pub(super) async fn set(allowed: Allowed<KeysWrite>, mut call: Call) -> Outcome {
    let key: KeyRef = call.named("ref", KeysWrite::THING)?;
    let value = value(&mut call).await?;
    demand_long_enough(&call, &key, &value)?;
    let by = allowed.on_behalf(call.context());
    let turn = call.turn::<KeysRead, _>(key.as_str(), read).await?;
    let named = key.clone();
    let set = move |ports: &Ports| {
        let set = ports.keys.set(&key, value, &by);
        drop(turn);
        set
    };
    let set = call.api().blocking(set).await??;
    let how = if set.version == 1 { Written::Created } else { Written::Done };
    let wire = WireSetKey { r#ref: named.clone(), version: set.version };
    let position = set.committed.position;
    let answer = respond::located(respond::written(how, position, &wire)?, &format!("{}/keys/{named}", super::BASE));
    let as_set = move |ports: &Ports| {
        let key = read_row::<Key>(ports, named.as_str())?.filter(|key| key.position == position);
        Ok(key.map(WireKey::from))
    };
    Ok(call.with_new_tag(answer, position, as_set).await)
}

/// Refuses the secret of a hook that the hook would not take.
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

/// Forgets a key.
pub(super) async fn remove(allowed: Allowed<KeysWrite>, call: Call) -> Outcome {
    let key: KeyRef = call.named("ref", KeysWrite::THING)?;
    let by = allowed.on_behalf(call.context());
    let turn = call.turn::<KeysRead, _>(key.as_str(), read).await?;
    let remove = move |ports: &Ports| {
        let removed = ports.keys.remove(&key, &by);
        drop(turn);
        removed
    };
    let committed = call.api().blocking(remove).await??;
    Ok(respond::gone(committed.position))
}
