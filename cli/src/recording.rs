//! Converts an execution to a case of a pack's tests: its request, the outcomes of its steps as mocks, and
//! its end.
//!
//! It reads over the API. `ensue pack test` runs the case.

mod mocks;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ensue_engine::schedule::SCHEDULE_TRIGGER;
use ensue_engine::time::Timestamp;
use serde_json::{Map, Value, json};

use self::mocks::Mocks;
use crate::client::{Client, segment};
use crate::report::{Exit, Failure};
use crate::steps::{self, Flow, StepPart, StepRun};
use crate::table::text;
use crate::yaml;

/// The most bytes of a result that a case expects.
const RESULT_BYTES_MAX: usize = 16 << 10;

/// A case, its parts in the order in which people write them.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    parts: Vec<(&'static str, Value)>,
    of: String,
}

impl Recording {
    /// Reads an ended execution and all its outcomes.
    pub(crate) async fn of(client: &Client, execution: Value) -> Result<Self, Failure> {
        let id = text(&execution, "id");
        let action = text(&execution, "action");
        require_end(&execution, &format!("`{id}`"))?;
        let event = led_to(client, &execution).await?;
        let of = if event.is_some() { text(&execution, "rule") } else { action.clone() };
        let pack = of.split('.').next().unwrap_or_default().to_owned();
        let mut parts = vec![("it", json!(format!("repeats what `{action}` did")))];
        let config = client.get(&format!("/packs/{}", segment(&pack)), &[]).await?["config"].take();
        if config.as_object().is_some_and(|config| !config.is_empty()) {
            parts.push(("config", config));
        }
        let mut mocks = Mocks::default();
        let is_of_rule = event.is_some();
        let expect = if let Some(event) = event {
            require_declared_modes(client, &event, &pack).await?;
            let expect = decisions(client, &event, &pack, &mut mocks).await?;
            parts.push(("given", json!({ "event": case_event(&event) })));
            expect
        } else {
            parts.push(("run", json!({ "action": action, "with": execution["params"] })));
            let flow = steps::read(client, execution).await?;
            mocks.read(client, &flow, "").await?;
            end(&flow, &mocks)?
        };
        // Without mocks, a case of events runs nothing.
        if is_of_rule || !mocks.is_empty() {
            parts.push(("mocks", mocks.into_value()));
        }
        parts.push(("expect", expect));
        Ok(Self { parts, of: id })
    }

    /// Returns the case as a test file.
    pub(crate) fn file(&self) -> String {
        let mut file = format!("# Recorded from the execution {}.\n", self.of);
        for (place, (name, value)) in self.parts.iter().enumerate() {
            let lead = if place == 0 { "- " } else { "  " };
            let part = yaml::document(&json!({ *name: value }));
            for (number, line) in part.lines().enumerate() {
                let _ = writeln!(file, "{}{line}", if number == 0 { lead } else { "  " });
            }
        }
        file
    }

    /// Returns the case as a list of one.
    pub(crate) fn document(&self) -> Value {
        let case: Map<String, Value> = self.parts.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        json!([case])
    }
}

/// Fails if an execution has not ended, or ended in a way that a case cannot describe.
fn require_end(execution: &Value, name: &str) -> Result<(), Failure> {
    let status = text(execution, "status");
    match status.as_str() {
        "succeeded" | "failed" | "timed_out" => Ok(()),
        "cancelled" => {
            let message = format!("{name} was cancelled, and a test case cannot describe a cancellation by a person");
            Err(Failure::with(Exit::Refused, message))
        }
        _ => {
            let failure = Failure::with(Exit::Refused, format!("{name} has not ended: it is {status}"));
            Err(failure.hint(format!("wait for its end with `ensue executions watch {}`", text(execution, "id"))))
        }
    }
}

/// Fails if a rule of the pack that heard the event had another mode than its file says: a test knows only
/// the file, and decides otherwise.
async fn require_declared_modes(client: &Client, event: &Value, pack: &str) -> Result<(), Failure> {
    let asked = [("pack", pack.to_owned()), ("trigger", text(event, "trigger")), ("limit", "200".to_owned())];
    let listed = client.get("/rules", &asked).await?;
    for rule in listed["items"].as_array().into_iter().flatten() {
        let name = text(rule, "ref");
        let at = [("as_of", text(event, "position"))];
        let rule = match client.get(&format!("/rules/{}", segment(&name)), &at).await {
            Ok(rule) => rule,
            // It was installed after the event, or nobody knows any longer what it was.
            Err(failure) if failure.exit() == Exit::Missing || failure.code() == Some("catalog_gone") => continue,
            Err(failure) => return Err(failure),
        };
        let (mode, declared) = (text(&rule, "mode"), text(&rule, "declared_mode"));
        if mode != declared {
            let message = format!("`{name}` was {mode} at this event, but its file says {declared}, and a test case knows only the file");
            return Err(Failure::with(Exit::Refused, message)
                .hint(format!("record an execution that began while `{name}` was {declared}: `ensue rules set {name} {declared}`")));
        }
    }
    Ok(())
}

/// Reads the event that led to an execution by a rule. Returns `None` if a case cannot contain it: nobody
/// sends the events of a schedule, and a rerun may have begun in the middle.
async fn led_to(client: &Client, execution: &Value) -> Result<Option<Value>, Failure> {
    if execution["rule"].is_null() || execution["event"].is_null() || !execution["rerun_of"].is_null() {
        return Ok(None);
    }
    let event = client.get(&format!("/events/{}", segment(&text(execution, "event"))), &[]).await?;
    Ok(Some(event).filter(|event| event["trigger"] != SCHEDULE_TRIGGER))
}

/// Writes an event in the form of a case.
fn case_event(event: &Value) -> Value {
    json!({
        "trigger": event["trigger"],
        "payload": event["payload"],
        "source": event["source"],
        "time": event["time"],
    })
}

/// Reads the decision of each rule of a pack on an event.
async fn decisions(client: &Client, event: &Value, pack: &str, mocks: &mut Mocks) -> Result<Value, Failure> {
    let asked = [("event", text(event, "id")), ("sort", "position".to_owned()), ("limit", "200".to_owned())];
    let made = client.get("/enforcements", &asked).await?;
    let (mut expect, mut ends) = (Vec::new(), Vec::new());
    let of_pack = |made: &&Value| made["rule"].as_str().is_some_and(|rule| rule.split('.').next() == Some(pack));
    for made in made["items"].as_array().into_iter().flatten().filter(of_pack) {
        let rule = text(made, "rule");
        let outcome = if made["became"].is_null() { text(made, "outcome") } else { text(&made["became"], "outcome") };
        let mut expected = Map::from_iter([("rule".to_owned(), json!(rule))]);
        match made["execution"].as_str() {
            Some(of) => {
                let of = client.get(&format!("/executions/{}", segment(of)), &[]).await?;
                require_end(&of, &format!("`{}`, which `{rule}` began at the same event,", text(&of, "id")))?;
                let flow = steps::read(client, of).await?;
                mocks.read(client, &flow, rule.rsplit('.').next().unwrap_or_default()).await?;
                let params = &flow.execution["params"];
                let is_given = params.as_object().is_some_and(|params| !params.is_empty());
                if is_given && text(&flow.execution, "action") != rule && !is_of_this_run(params, &[event.to_string()]) {
                    expected.insert("with".to_owned(), params.clone());
                }
                ends.push((expect.len(), flow));
            }
            None => drop(expected.insert("outcome".to_owned(), json!(outcome))),
        }
        expect.push(Value::Object(expected));
    }
    for (place, flow) in ends {
        if let (Value::Object(expected), Value::Object(end)) = (&mut expect[place], end(&flow, mocks)?) {
            expected.extend(end);
        }
    }
    Ok(Value::Array(expect))
}

/// Returns how an execution and its steps ended.
fn end(flow: &Flow, mocks: &Mocks) -> Result<Value, Failure> {
    if flow.is_cut {
        let message = format!("`{}` has more steps than can be read at once", text(&flow.execution, "id"));
        return Err(Failure::with(Exit::Refused, message).hint("record the execution of one of its inner workflows"));
    }
    let mut steps = BTreeMap::new();
    statuses(flow, "", &mut steps);
    let mut end = Map::from_iter([("status".to_owned(), flow.execution["status"].clone())]);
    if let Some(kind) = flow.execution["error"]["kind"].as_str() {
        end.insert("error".to_owned(), json!({ "kind": kind }));
    }
    let result = mocks::plain(flow.execution["result"].clone());
    let known = [mocks.to_json_text(), flow.execution["params"].to_string()];
    if !result.is_null() && result.to_string().len() <= RESULT_BYTES_MAX && !is_of_this_run(&result, &known) {
        end.insert("result".to_owned(), result);
    }
    if !steps.is_empty() {
        end.insert("steps".to_owned(), json!(steps));
    }
    let mut undone = Vec::new();
    undone_steps(flow, "", &mut undone);
    if !undone.is_empty() {
        undone.sort();
        let mut names: Vec<String> = undone.into_iter().map(|(_, name)| name).collect();
        names.dedup();
        end.insert("undone".to_owned(), json!(names));
    }
    Ok(Value::Object(end))
}

/// Returns true if a value contains an id or time that was not passed to the execution: another run has a
/// different one.
fn is_of_this_run(value: &Value, known: &[String]) -> bool {
    match value {
        Value::String(text) => {
            let is_own = |word: &str| is_id_or_time(word) && !known.iter().any(|known| known.contains(word));
            text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.'))).any(is_own)
        }
        Value::Array(items) => items.iter().any(|item| is_of_this_run(item, known)),
        Value::Object(fields) => fields.values().any(|field| is_of_this_run(field, known)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn is_id_or_time(word: &str) -> bool {
    let is_id =
        word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && word.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit());
    is_id || (word.len() >= 20 && word.as_bytes().get(10) == Some(&b'T') && word.ends_with('Z') && word.parse::<Timestamp>().is_ok())
}

fn statuses(flow: &Flow, before: &str, steps: &mut BTreeMap<String, Value>) {
    for step in flow.steps.iter().filter(|step| !step.undoes()) {
        let path = format!("{before}{}", step.name);
        if let ([StepPart::Begun(within)], false) = (step.parts.as_slice(), step.is_for_each()) {
            statuses(within, &format!("{path}."), steps);
        }
        steps.insert(path, json!(status(step)));
    }
}

/// Finds the steps that were undone, each with the position of its undo.
fn undone_steps(flow: &Flow, before: &str, undone: &mut Vec<(u64, String)>) {
    for step in &flow.steps {
        for part in &step.parts {
            match part {
                StepPart::Begun(of) if step.undoes() => {
                    let position = of.execution["position"].as_u64().unwrap_or_default();
                    undone.push((position, format!("{before}{}", text(&of.execution, "step"))));
                }
                StepPart::Begun(within) => undone_steps(within, &format!("{before}{}.", step.name), undone),
                StepPart::NotStarted(_) => {}
            }
        }
    }
}

fn status(step: &StepRun) -> String {
    match step.parts.as_slice() {
        [only] if only.item().is_none() => only.status(),
        parts if parts.iter().all(|part| part.status() == "succeeded") => "succeeded".to_owned(),
        _ => "failed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_with_the_run_s_own_ids_or_times_is_recognized() {
        let id = "01a206ce-21ac-884f-8000-0123456789ab";
        let is_of_it = |value: Value, known: &str| is_of_this_run(&value, &[known.to_owned()]);
        assert!(is_of_it(json!({ "a": [{ "b": format!("run/{id}") }] }), ""));
        assert!(!is_of_it(json!({ "event": id }), &format!("{{\"result\":\"{id}\"}}")));
        assert!(is_of_it(json!("at 2026-03-28T12:00:00Z"), "") && is_of_it(json!("2026-03-28T12:00:00.123456Z"), ""));
        assert!(!is_of_it(json!([1, "2026-03-28", "v1.4.0", "a-b-c-d-e", null]), ""));
    }

    #[test]
    fn recorded_test_is_written_in_the_usual_order() {
        let parts = vec![
            ("it", json!("repeats what `release.ship` did")),
            ("run", json!({ "action": "release.ship", "with": { "text": "two\nlines", "yes": "no", "list": [1, "012", null] } })),
            ("mocks", json!({ "build": { "result": {} }, "wide": [{ "result": "?" }, [{ "error": { "kind": "signal" } }]] })),
            ("expect", json!({ "status": "succeeded" })),
        ];
        let recording = Recording { parts, of: "019c".to_owned() };
        insta::assert_snapshot!(recording.file());
    }
}
