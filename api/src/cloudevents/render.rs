//! Events written as CloudEvents in JSON: one that came as a CloudEvent is written as it came, any other with
//! the node's own names.

use bytes::Bytes;
use ensue_views::Event;
use serde_json::json;
use serde_json::value::RawValue;

use super::{CONTEXT, Members, SPECVERSION, is_own_source};
use crate::wire::embed_body;

/// Writes an event; its payload is `None` if it was erased, in which case the names from its sender are lost
/// as well.
pub(crate) fn render_event(event: &Event, payload: Option<&Bytes>) -> String {
    let payload = payload.map(embed_body);
    payload.as_deref().and_then(|payload| as_it_came(event, payload)).unwrap_or_else(|| as_ours(event, payload.as_deref()))
}

/// Reassembles a CloudEvent from its payload. The payload of any other event may look similar, which must not
/// count: no CloudEvent comes through a sensor, or from a source of the node's own.
fn as_it_came(event: &Event, payload: &RawValue) -> Option<String> {
    if event.sensor.is_some() || is_own_source(&event.source) {
        return None;
    }
    let members: Members<'_> = serde_json::from_str(payload.get()).ok()?;
    let context = members.get(CONTEXT)?.get();
    let attributes: Members<'_> = serde_json::from_str(context).ok()?;
    let says = |name: &str, text: &str| {
        attributes.get(name).and_then(|value| serde_json::from_str::<String>(value.get()).ok()).is_some_and(|value| value == text)
    };
    if !(says("source", &event.source) && says("type", event.trigger.as_str()) && says("specversion", SPECVERSION)) {
        return None;
    }
    let fields: Vec<String> =
        members.0.iter().filter(|(name, _)| name != CONTEXT).map(|(name, value)| format!("{}:{value}", json!(name))).collect();
    let attributes = context.trim_end().strip_suffix('}')?;
    Some(if fields.is_empty() { context.to_owned() } else { format!("{attributes},\"data\":{{{}}}}}", fields.join(",")) })
}

fn as_ours(event: &Event, payload: Option<&RawValue>) -> String {
    let attributes = json!({
        "specversion": SPECVERSION,
        "id": event.id,
        "source": event.source,
        "type": event.trigger,
        "time": event.time,
    });
    let mut written = attributes.to_string();
    if let Some(payload) = payload {
        written.truncate(written.len() - 1);
        written.push_str(&format!(",\"datacontenttype\":\"application/json\",\"data\":{payload}}}"));
    }
    written
}
