//! Text about the effects of flow control on the matches of rules.

use serde_json::Value;

use crate::table::text;

/// Returns the outcome of an enforcement, including after it was held.
pub(crate) fn outcome(made: &Value) -> String {
    match made["became"]["outcome"].as_str() {
        Some(became) => format!("{}, then {became}", text(made, "outcome")),
        None => text(made, "outcome"),
    }
}

/// Returns what holds an enforcement, or held it last; empty if it never was held.
pub(crate) fn describe_hold(held: &Value) -> String {
    match held {
        Value::Null => String::new(),
        held => format!("by {} until {}", text(held, "by"), text(held, "until")),
    }
}

/// Returns the outcome of an enforcement that was held; empty if it still is, or never was.
pub(crate) fn describe_end(became: &Value) -> String {
    match became {
        Value::Null => String::new(),
        became => format!("{}{} at {}", text(became, "outcome"), superseded_reason(became), text(became, "time")),
    }
}

/// Returns why an enforcement that was held is not acted on.
pub(crate) fn superseded_reason(became: &Value) -> String {
    let by = || text(became, "by");
    match became["why"].as_str() {
        Some("newer") => format!(": a newer match arrived, {}", by()),
        Some("window_filled") => format!(": its event is acted on together with others, by {}", by()),
        Some("window_passed") => ": its window did not become full in time".to_owned(),
        Some("crowded_out") => ": its rule held too many, and it was the oldest".to_owned(),
        Some("rule_changed") => ": the flow control of its rule was changed".to_owned(),
        Some("rule_removed") => ": its rule was removed".to_owned(),
        Some("rule_disabled") => ": its rule was disabled".to_owned(),
        Some(other) => format!(": {other}"),
        None => String::new(),
    }
}
