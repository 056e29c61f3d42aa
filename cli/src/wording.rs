//! The wording of single values: a failure, a duration, a status, the name of a step.

use serde_json::Value;

use crate::table::text;
use crate::tree::Mood;

/// Returns a failure for people: its kind, its number and its message; empty for none.
pub(crate) fn failure(error: &Value) -> String {
    if error.is_null() {
        return String::new();
    }
    match text(error, "detail") {
        empty if empty.is_empty() => format!("{}: {}", text(error, "kind"), text(error, "message")),
        detail => format!("{} {detail}: {}", text(error, "kind"), text(error, "message")),
    }
}

/// Returns a duration for people: `0.4 ms`, `12 ms`, `3.2 s`.
pub(crate) fn duration(micros: i64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "two digits are shown")]
    let millis = micros as f64 / 1000.0;
    if millis < 100.0 {
        format!("{millis:.1} ms")
    } else if millis < 1000.0 {
        format!("{millis:.0} ms")
    } else if millis < 120_000.0 {
        format!("{:.1} s", millis / 1000.0)
    } else {
        format!("{:.0} min", millis / 60_000.0)
    }
}

/// Returns the mood for the status of an execution or an attempt.
pub(crate) fn mood(status: &str) -> Mood {
    match status {
        "succeeded" => Mood::Good,
        "failed" | "timed_out" | "cancelled" | "indeterminate" | "lost" => Mood::Bad,
        _ => Mood::Plain,
    }
}

/// Returns the name of the step in a document, with its item or turn if it has one.
pub(crate) fn step_name(told: &Value) -> String {
    let step = plain_step_name(told);
    match (told["item"].as_u64(), told["turn"].as_u64()) {
        (Some(item), _) => format!("{step}[{item}]"),
        (None, Some(turn)) => format!("{step}, turn {turn}"),
        (None, None) => step,
    }
}

/// Returns the name of a step without its item or turn.
pub(crate) fn plain_step_name(told: &Value) -> String {
    let step = text(told, "step");
    if told["undoes"] == true { format!("undo of {step}") } else { step }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_or_three_digits() {
        let told: Vec<_> = [0, 430, 12_345, 150_000, 3_200_000, 600_000_000].map(duration).into();
        assert_eq!(told, ["0.0 ms", "0.4 ms", "12.3 ms", "150 ms", "3.2 s", "10 min"]);
    }
}
