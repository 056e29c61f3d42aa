//! `ensue cron next` for people and programs: it needs no node.

use serde_json::{Value, json};

use crate::support::{CommandOutput, NodeFolder};

fn run_cron(arguments: &[&str]) -> CommandOutput {
    CommandOutput::by(&mut NodeFolder::new().ensue(&[&["cron", "next"], arguments].concat()))
}

#[test]
fn schedule_is_printed_as_a_table_or_as_a_document() {
    let asked = ["0 9 * * 1-5", "--zone", "Europe/Berlin", "--from", "2026-03-27T12:00:00Z", "--count", "2"];
    let table = run_cron(&asked);
    assert_eq!((table.code, table.stderr.as_str()), (Some(0), ""));
    assert!(
        table.stdout.starts_with("LOCAL TIME") && table.stdout.contains("Mon 2026-03-30 09:00:00 +02:00\t2026-03-30T07:00:00Z"),
        "{table:?}"
    );
    let document = run_cron(&[&asked[..], &["-o", "json"]].concat());
    let expected = json!({
        "expr": "0 9 * * 1-5",
        "zone": "Europe/Berlin",
        "from": "2026-03-27T12:00:00Z",
        "next": ["2026-03-30T07:00:00Z", "2026-03-31T07:00:00Z"],
        "local": ["2026-03-30T09:00:00+02:00", "2026-03-31T09:00:00+02:00"],
    });
    assert_eq!(serde_json::from_str::<Value>(&document.stdout).unwrap(), expected);
    let yaml = run_cron(&[&asked[..], &["-o", "yaml"]].concat());
    assert!(yaml.stdout.contains("zone: Europe/Berlin"), "{yaml:?}");
}

#[test]
fn default_start_is_now_in_utc() {
    let document = run_cron(&["@hourly", "--count", "1", "-o", "json"]);
    let document: Value = serde_json::from_str(&document.stdout).unwrap();
    assert_eq!(document["zone"], "UTC");
    assert!(document["next"][0].as_str() > document["from"].as_str(), "{document}");
}

#[test]
fn end_of_a_schedule_is_reported() {
    let ended = run_cron(&["0 0 0 1 1 * 2020-2021", "--from", "2020-06-01T00:00:00Z"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), "it is not due again after 2021-01-01T00:00:00Z\n"));
    assert_eq!(ended.stdout.lines().count(), 2, "{ended:?}");
}

#[test]
fn invalid_expression_is_shown_at_its_place_with_a_suggestion() {
    let refused = run_cron(&["0 22-2 * * *"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(6), ""));
    for told in ["error: the range `22-2` ends before it begins", "expression:1:3", "^^^^", "hint: write `22-23,0-2`"] {
        assert!(refused.stderr.contains(told), "{told}: {}", refused.stderr);
    }
    for (arguments, code, told) in [
        (&["0 0 30 2 *"][..], 6, "is never due"),
        (&["@daily", "--zone", "Europe/Berlni"], 6, "did you mean `Europe/Berlin`?"),
        (&["@daily", "--from", "yesterday"], 6, "use RFC 3339"),
        (&["@daily", "--from", "9999-12-31T23:59:59-01:00"], 6, "outside the years"),
        (&["@daily", "--count", "1001"], 2, "1..=1000"),
        (&["@daily", "--batch"], 2, "cannot be used with"),
        (&[], 2, "required"),
    ] {
        let refused = run_cron(arguments);
        assert_eq!(refused.code, Some(code), "{arguments:?}: {refused:?}");
        assert!(refused.stderr.contains(told), "{arguments:?}: {refused:?}");
    }
}

#[test]
fn invalid_line_does_not_stop_the_others() {
    let lines = "{\"expr\":\"@daily\",\"count\":1}\nnonsense\n\u{0}\n{\"expr\":\"61 * * * *\"}\n{\"expr\":\"@daily\",\"zone\":\"Europe/Berlin\",\"count\":1}";
    let place = NodeFolder::new();
    let arguments = ["cron", "next", "--batch", "--from", "2026-03-28T00:00:00Z"];
    let answered = CommandOutput::by_feeding(&mut place.ensue(&arguments), lines.as_bytes());
    assert_eq!((answered.code, answered.stderr.as_str()), (Some(0), ""));
    let answers: Vec<Value> = answered.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 5, "{answers:?}");
    assert_eq!(answers[0], json!({ "next": ["2026-03-29T00:00:00Z"] }));
    let kinds: Vec<_> = answers[1..4].iter().map(|answer| answer["error"]["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["line", "line", "expr"]);
    assert_eq!(answers[4], json!({ "next": ["2026-03-28T23:00:00Z"] }));
}
