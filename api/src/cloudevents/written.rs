//! Events as CloudEvents in JSON: one that came as such goes out as it came, any other under the names that it has here.

use bytes::Bytes;
use ensue_views::Event;
use serde_json::json;
use serde_json::value::RawValue;

use super::{CONTEXT, Members, SPECVERSION};
use crate::wire::embedded;

/// Writes an event; its payload is none where it was erased, and then the names that its sender gave it are gone as well.
pub(crate) fn written(event: &Event, payload: Option<&Bytes>) -> String {
    let payload = payload.map(embedded);
    payload.as_deref().and_then(|payload| as_it_came(event, payload)).unwrap_or_else(|| as_ours(event, payload.as_deref()))
}

/// Puts together again what was taken apart. A payload that only looks so has another source: none of our own can be claimed.
fn as_it_came(event: &Event, payload: &RawValue) -> Option<String> {
    let members: Members<'_> = serde_json::from_str(payload.get()).ok()?;
    let context = members.named(CONTEXT)?.get();
    let attributes: Members<'_> = serde_json::from_str(context).ok()?;
    let source: String = serde_json::from_str(attributes.named("source")?.get()).ok()?;
    if source != event.source || attributes.named("specversion").is_none() {
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
