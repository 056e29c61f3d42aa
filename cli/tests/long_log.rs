//! A small version of the log for measurements: the tool that generates it and the one that reads it agree.

use crate::support::{CommandOutput, NodeFolder};

/// The number of its records.
const RECORDS: &str = "6000";

#[test]
fn generated_log_is_valid_and_a_node_starts_on_it() {
    let place = NodeFolder::new();
    let folder = place.path().join("long");
    let folder = folder.to_str().expect("a temporary folder has a plain name");
    let made =
        CommandOutput::by(&mut place.ensue(&["bench", "log", "--records", RECORDS, "--open", "100", "--folder", folder, "-o", "json"]));
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let figures: serde_json::Value = serde_json::from_str(&made.stdout).unwrap_or_else(|error| panic!("{error}: {}", made.stdout));
    let text = figures.to_string();
    assert!(text.contains("starts_after_kills_ms"), "{text}");
    let mut verify = place.ensue(&["log", "verify", "--data", &format!("{folder}/data")]);
    let verified = CommandOutput::by(verify.env("XDG_STATE_HOME", format!("{folder}/state")));
    assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);
}
