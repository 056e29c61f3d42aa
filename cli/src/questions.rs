//! Inquiries for people: the question, what an execution waits for, and the fields of an answer.
//!
//! It asks the node only for the question of an execution; the commands are in `commands/inquiries.rs`.

use serde_json::{Map, Value};

use crate::client::{Client, segment};
use crate::report::printable;
use crate::table::{pairs, text};
use crate::wording::step_name;

/// The field of an execution document that holds its question while it waits for an answer.
pub(crate) const QUESTION: &str = "question";

/// Returns true if an execution may wait for an answer.
pub(crate) fn may_wait(execution: &Value) -> bool {
    execution["inquiry"].is_string() && matches!(execution["status"].as_str(), Some("waiting" | "indeterminate"))
}

/// Adds its question to an execution, if it waits for an answer and the caller may see the question.
pub(crate) async fn attach(client: &Client, execution: &mut Value) {
    if !may_wait(execution) {
        return;
    }
    let Some(inquiry) = execution["inquiry"].as_str() else { return };
    if let Ok(question) = client.get(&format!("/inquiries/{}", segment(inquiry)), &[]).await {
        execution[QUESTION] = question;
    }
}

/// Returns what an execution with a question waits for: `an answer of role:leads or ana, until …`; empty for
/// any other.
pub(crate) fn waits_for(execution: &Value) -> String {
    let question = &execution[QUESTION];
    if question.is_null() {
        return String::new();
    }
    let quorum = question["quorum"].as_u64().unwrap_or(1);
    let answers = if quorum > 1 { format!("{quorum} answers of ") } else { "an answer of ".to_owned() };
    let so_far = match list(&question["answers"]).len() {
        0 => String::new(),
        given => format!(" ({given} so far)"),
    };
    let until = question["expires_at"].as_str().map(|until| format!(", until {until}")).unwrap_or_default();
    format!("{answers}{}{so_far}{until}", people(&question["assignees"], " or "))
}

/// Returns the command that shows how to answer an execution's question; empty if it has none.
pub(crate) fn command(execution: &Value) -> String {
    match execution[QUESTION]["id"].as_str() {
        Some(id) => format!("ensue inquiries show {id}"),
        None => String::new(),
    }
}

/// Returns names on one line.
pub(crate) fn people(names: &Value, between: &str) -> String {
    list(names).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(between)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Returns an inquiry for people.
pub(crate) fn render(inquiry: &Value) -> String {
    let quorum = inquiry["quorum"].as_u64().unwrap_or(1);
    let mut shown = pairs(&[
        ("id", text(inquiry, "id")),
        ("title", text(inquiry, "title")),
        ("status", text(inquiry, "status")),
        ("asked", people(&inquiry["assignees"], ", ")),
        ("not", people(&inquiry["excluded"], ", ")),
        ("needed", if quorum > 1 { format!("{quorum} answers") } else { String::new() }),
        ("veto", text(inquiry, "veto")),
        ("reminded", count(inquiry, "reminders")),
        ("escalated", count(inquiry, "escalations")),
        ("opened", text(inquiry, "opened_at")),
        ("expires", text(inquiry, "expires_at")),
        ("overdue", if inquiry["is_overdue"] == true { "yes".to_owned() } else { String::new() }),
        ("you", standing(inquiry)),
        ("ended", text(inquiry, "ended_at")),
        ("execution", text(inquiry, "execution")),
        ("parent", text(inquiry, "parent")),
        ("step", step_name(inquiry)),
        ("digest", text(inquiry, "digest")),
        ("url", text(inquiry, "url")),
    ]);
    if let Some(text) = inquiry["text"].as_str() {
        shown.push_str(&printable(&format!("\n{}\n", text.trim_end())));
    }
    let fields = fields(&inquiry["answer_schema"]);
    if inquiry["status"] == "open" {
        shown.push_str(&section("the answer's fields", fields.iter().map(AnswerField::line)));
        if fields.is_empty() && !inquiry["answer_schema"].is_null() {
            shown.push_str(&printable(&format!("\nthe answer's JSON Schema\n{:#}\n", inquiry["answer_schema"])));
        }
    }
    shown.push_str(&section("notifications", list(&inquiry["notifications"]).iter().map(notification)));
    let delegation = |delegation: &Value| format!("{} to {}", text(delegation, "by"), text(delegation, "to"));
    shown.push_str(&section("delegated", list(&inquiry["delegations"]).iter().map(delegation)));
    shown.push_str(&section("answers", list(&inquiry["answers"]).iter().map(answer)));
    if !inquiry["answer"].is_null() {
        shown.push_str(&printable(&format!("\nthe answer that counts\n{:#}\n", inquiry["answer"])));
    }
    if inquiry["status"] == "open" {
        shown.push_str(&printable(&format!("\nanswer it with\n{}\n", how_to_answer(&text(inquiry, "id"), &fields))));
    }
    shown
}

/// Returns what the inquiry is to its reader.
fn standing(inquiry: &Value) -> String {
    match (&inquiry["may_answer"], inquiry["answered_by_me"].as_bool()) {
        (_, Some(true)) => "have answered it".to_owned(),
        (Value::Bool(true), _) => "may answer it".to_owned(),
        (_, _) => String::new(),
    }
}

/// Returns what led to an inquiry for people: a line for each cause, the first one first.
pub(crate) fn led_to_it(why: &Value) -> String {
    let mut shown = String::new();
    for cause in list(&why["chain"]) {
        let what = ["trigger", "ref", "action"].iter().find_map(|name| cause[*name].as_str()).unwrap_or_default();
        let labels = cause["labels"].as_object().into_iter().flatten();
        let labels: String = labels.map(|(name, value)| format!(" {name}={}", value.as_str().unwrap_or_default())).collect();
        let description = cause["description"].as_str().filter(|text| !text.is_empty()).map(|text| format!(": {text}")).unwrap_or_default();
        let at = cause["at"].as_str().map(|at| format!(" at {at}")).unwrap_or_default();
        shown.push_str(&format!("{} {what}{labels}{at}{description}\n", text(cause, "kind")));
        for step in list(&cause["ended"]) {
            let seconds = step["seconds"].as_f64().map(|seconds| format!(" after {seconds:.3} s")).unwrap_or_default();
            shown.push_str(&format!("  {} {}{seconds}\n", text(step, "step"), text(step, "state")));
        }
    }
    let waiting = people(&why["waiting"], ", ");
    if !waiting.is_empty() {
        shown.push_str(&format!("then: {waiting}\n"));
    }
    printable(&shown)
}

fn count(inquiry: &Value, name: &str) -> String {
    inquiry[name].as_u64().filter(|count| *count > 0).map(|count| count.to_string()).unwrap_or_default()
}

/// Returns that people were notified, on one line.
fn notification(sent: &Value) -> String {
    let by = match sent["execution"].as_str() {
        Some(execution) => format!("by execution {execution}"),
        None => format!("nobody: {}", text(sent, "error")),
    };
    format!("{} at {} {by}", text(sent, "of"), text(sent, "at"))
}

fn section(title: &str, lines: impl Iterator<Item = String>) -> String {
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() { String::new() } else { printable(&format!("\n{title}\n{}\n", lines.join("\n"))) }
}

fn answer(answer: &Value) -> String {
    let means = match answer["verdict"].as_str() {
        Some("decides") => ", which decided",
        Some("vetoes") => ", a veto, which decided",
        Some(_) | None => "",
    };
    let said = if answer["answer"].is_null() { String::new() } else { format!(": {}", answer["answer"]) };
    let place = answer["on_behalf_of"].as_str().map_or_else(String::new, |of| format!(" on behalf of {of}"));
    format!("{}{place} at {}{means}{said}", text(answer, "by"), text(answer, "at"))
}

/// A field of an answer.
struct AnswerField {
    name: String,
    kind: String,
    is_required: bool,
    description: Option<String>,
}

impl AnswerField {
    fn line(&self) -> String {
        let need = if self.is_required { "" } else { ", optional" };
        let description = self.description.as_ref().map(|about| format!(": {about}")).unwrap_or_default();
        format!("{} ({}{need}){description}", self.name, self.kind)
    }
}

/// Returns the fields that the schema of an answer declares, in its order.
fn fields(schema: &Value) -> Vec<AnswerField> {
    let none = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&none);
    let is_required = |name: &String| list(&schema["required"]).iter().any(|required| required.as_str() == Some(name));
    let field = |(name, schema): (&String, &Value)| AnswerField {
        name: name.clone(),
        kind: kind(schema),
        is_required: is_required(name),
        description: schema["description"].as_str().map(str::to_owned),
    };
    properties.iter().map(field).collect()
}

fn kind(schema: &Value) -> String {
    if let Some(choices) = schema["enum"].as_array() {
        return choices
            .iter()
            .map(|choice| choice.as_str().map_or_else(|| choice.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join(" | ");
    }
    match &schema["type"] {
        Value::String(kind) => kind.clone(),
        Value::Array(_) => people(&schema["type"], " or "),
        _ => "any".to_owned(),
    }
}

fn how_to_answer(id: &str, fields: &[AnswerField]) -> String {
    if fields.is_empty() {
        return format!("ensue inquiries respond {id} --json '{{…}}'");
    }
    let set = fields.iter().filter(|field| field.is_required || fields.iter().all(|field| !field.is_required));
    let set: String = set.map(|field| format!(" --set {}=…", field.name)).collect();
    format!("ensue inquiries respond {id}{set}")
}

/// Returns the fields that a schema declares, one per line; none if it declares no fields.
pub(crate) fn field_lines(schema: &Value) -> Vec<String> {
    fields(schema).iter().map(AnswerField::line).collect()
}

/// Converts a typed answer field to what the schema wants: a text if that is allowed, otherwise JSON.
pub(crate) fn parse_field(schema: &Value, name: &str, typed: &str) -> Value {
    let field = &schema["properties"][name];
    let text = || Value::from(typed);
    let may_be_text = match (&field["type"], field["enum"].as_array()) {
        (_, Some(choices)) => choices.contains(&text()),
        (Value::String(kind), None) => kind == "string",
        (Value::Array(kinds), None) => kinds.iter().any(|kind| kind == "string"),
        // The schema does not declare its type.
        (_, None) => true,
    };
    if may_be_text { text() } else { serde_json::from_str(typed).unwrap_or_else(|_| text()) }
}

/// Returns the lock that an execution waits for, or the queue in which it waits for a worker.
pub(crate) fn queue_wait(execution: &Value) -> String {
    let lock = &execution["awaits_lock"];
    if lock.is_null() {
        let waits = execution["queued_at"].is_string();
        return if waits { format!("waits for a worker of the queue {}", text(execution, "queue")) } else { String::new() };
    }
    let (noun, name) = match text(lock, "rule") {
        none if none.is_empty() => ("action", text(lock, "action")),
        rule => ("rule", rule),
    };
    let behind = lock["behind"][0].as_str().map_or_else(String::new, |first| format!(" behind {first}"));
    format!("waits for the lock of {noun} {name}{behind}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn inquiry() -> Value {
        json!({
            "id": "019c1f3a-0000-7000-8000-000000000001", "title": "Ship v1?", "status": "open", "quorum": 2, "step": "approve", "item": null,
            "assignees": ["role:release_managers", "ana"], "excluded": ["bo"], "expires_at": "2026-03-29T09:00:00.000000Z",
            "opened_at": "2026-03-28T09:00:00.000000Z", "ended_at": null, "text": "It was tested.\n", "answer": null, "veto": null,
            "execution": "019c1f3a-0000-7000-8000-000000000002", "parent": null, "digest": "00", "url": "http://x/1",
            "answer_schema": {
                "type": "object", "required": ["ship"],
                "properties": {
                    "note": { "type": ["string", "null"] },
                    "ring": { "enum": ["one", "all"] },
                    "ship": { "type": "boolean", "description": "Whether it goes out." },
                },
            },
            "answers": [{ "by": "ana", "at": "2026-03-28T10:00:00.000000Z", "verdict": "counts", "answer": { "ship": true } }],
        })
    }

    #[test]
    fn inquiry_shows_question_assignees_deadline_and_how_to_answer() {
        insta::assert_snapshot!(render(&inquiry()), @"
        id         019c1f3a-0000-7000-8000-000000000001
        title      Ship v1?
        status     open
        asked      role:release_managers, ana
        not        bo
        needed     2 answers
        opened     2026-03-28T09:00:00.000000Z
        expires    2026-03-29T09:00:00.000000Z
        execution  019c1f3a-0000-7000-8000-000000000002
        step       approve
        digest     00
        url        http://x/1

        It was tested.

        the answer's fields
        note (string or null, optional)
        ring (one | all, optional)
        ship (boolean): Whether it goes out.

        answers
        ana at 2026-03-28T10:00:00.000000Z: {\"ship\":true}

        answer it with
        ensue inquiries respond 019c1f3a-0000-7000-8000-000000000001 --set ship=…
        ");
    }

    #[test]
    fn waiting_execution_shows_its_inquiry() {
        let mut execution = json!({ "status": "waiting" });
        assert_eq!((waits_for(&execution), command(&execution)), (String::new(), String::new()));
        execution[QUESTION] = inquiry();
        let expected = "2 answers of role:release_managers or ana (1 so far), until 2026-03-29T09:00:00.000000Z";
        assert_eq!(waits_for(&execution), expected);
        assert_eq!(command(&execution), "ensue inquiries show 019c1f3a-0000-7000-8000-000000000001");
    }

    #[test]
    fn typed_answer_is_parsed_by_the_field_s_type() {
        let schema = &inquiry()["answer_schema"];
        assert_eq!(parse_field(schema, "ship", "true"), json!(true));
        assert_eq!(parse_field(schema, "ship", "yes"), json!("yes"));
        assert_eq!(parse_field(schema, "note", "true"), json!("true"));
        assert_eq!(parse_field(schema, "ring", "all"), json!("all"));
        assert_eq!(parse_field(schema, "other", "3"), json!("3"));
    }
}
