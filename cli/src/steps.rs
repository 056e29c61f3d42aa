//! The steps of a workflow: their executions, and the steps that never had one.
//!
//! They are assembled here; `steps/branches.rs` renders them as trees, `svg.rs` as pictures.

mod branches;

use std::collections::BTreeMap;

use serde_json::{Value, json};

pub(crate) use branches::{fold_items, not_started, tree};

use crate::client::{Client, segment};
use crate::questions;
use crate::report::Failure;
use crate::table::text;
use crate::wording::{failure, plain_step_name, step_name};

/// The most executions read below one workflow.
const EXECUTIONS_MAX: usize = 2_000;
/// The most nested workflows examined below one.
const WORKFLOWS_MAX: usize = 100;
/// The most inquiries read with their questions.
const QUESTIONS_MAX: usize = 50;
/// The most pages of a workflow's timeline searched for the number of items of its steps.
const TIMELINE_PAGES_MAX: usize = 10;
/// The number of executions per request: the API's maximum.
const PAGE: usize = 200;

/// The state of a step, or of one of its items.
#[derive(Debug)]
pub(crate) enum StepPart {
    /// It has an execution, which may be a workflow again.
    Begun(Flow),
    /// It has none: `{step, item, at, skipped, error}`.
    NotStarted(Value),
}

/// An execution with everything below it.
#[derive(Debug)]
pub(crate) struct Flow {
    /// The execution.
    pub(crate) execution: Value,
    /// Its steps in the order in which they began.
    pub(crate) steps: Vec<StepRun>,
    /// Whether there are more than were read.
    pub(crate) is_cut: bool,
}

/// A step with its items, or its single part.
#[derive(Debug)]
pub(crate) struct StepRun {
    /// Its name.
    pub(crate) name: String,
    /// Its single part, or its items in order, as far as they were read.
    pub(crate) parts: Vec<StepPart>,
    /// The number of its items, including those that never started or were not read; `None` if unknown.
    pub(crate) items: Option<u64>,
}

/// How much may still be read.
struct ReadBudget {
    executions: usize,
    workflows: usize,
    questions: usize,
}

/// Reads an execution's steps, and recursively theirs.
pub(crate) async fn read(client: &Client, execution: Value) -> Result<Flow, Failure> {
    let mut left = ReadBudget { executions: EXECUTIONS_MAX, workflows: WORKFLOWS_MAX, questions: QUESTIONS_MAX };
    below(client, execution, &mut left).await
}

async fn below(client: &Client, mut execution: Value, left: &mut ReadBudget) -> Result<Flow, Failure> {
    if questions::may_wait(&execution) && left.questions > 0 {
        left.questions -= 1;
        questions::attach(client, &mut execution).await;
    }
    if !may_have_steps(&execution) {
        return Ok(Flow { execution, steps: Vec::new(), is_cut: false });
    }
    if left.workflows == 0 {
        return Ok(Flow { execution, steps: Vec::new(), is_cut: true });
    }
    left.workflows -= 1;
    let id = text(&execution, "id");
    if execution["not_started"].is_null() && execution["not_started_count"].as_u64().is_some_and(|count| count > 0) {
        execution = client.get(&format!("/executions/{}", segment(&id)), &[]).await?;
    }
    let (children, is_cut) = children(client, &id, left).await?;
    let has_ended = !execution["ended_at"].is_null();
    if !has_ended && !children.is_empty() {
        // A step that failed before it had an execution may have led to one that is visible here: it must not
        // be printed later.
        let mut newer = client.get(&format!("/executions/{}", segment(&id)), &[]).await?;
        for name in ["not_started", "not_started_count"] {
            execution[name] = newer[name].take();
        }
    }
    let mut parts = Vec::new();
    for child in children {
        parts.push(StepPart::Begun(Box::pin(below(client, child, left)).await?));
    }
    let not_started = execution["not_started"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_cut = is_cut || execution["not_started_count"].as_u64().is_some_and(|count| count > not_started.len() as u64);
    parts.extend(not_started.iter().cloned().map(StepPart::NotStarted));
    let mut steps = in_steps(parts);
    if steps.iter().any(StepRun::is_for_each) {
        let counts = items_of_steps(client, &id).await;
        steps.iter_mut().for_each(|step| step.items = counts.get(&step.name).copied());
    }
    Ok(Flow { execution, steps, is_cut })
}

/// Returns the number of items of each step of a workflow, from the log. Steps whose number cannot be read
/// are left out: their items are counted as far as they are known.
async fn items_of_steps(client: &Client, id: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    let mut query = vec![("limit", PAGE.to_string())];
    for _ in 0..TIMELINE_PAGES_MAX {
        let Ok(page) = client.get(&format!("/executions/{}/timeline", segment(id)), &query).await else { break };
        let told = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        for position in told.iter().filter(|told| told["kind"] == "step.expanded").filter_map(|told| told["position"].as_u64()) {
            // The timeline words it for people.
            let Ok(record) = client.get(&format!("/log/{position}"), &[]).await else { break };
            let fact = &record["fact"];
            counts.extend(fact["step"].as_str().map(str::to_owned).zip(fact["count"].as_u64()));
        }
        let Some(next) = page["next"].as_str() else { break };
        query.truncate(1);
        query.push(("cursor", next.to_owned()));
    }
    counts
}

/// Executions that are made of steps have no attempts; nor have those that never reached one, or that ask a
/// question.
pub(crate) fn may_have_steps(execution: &Value) -> bool {
    execution["attempt"] == 0 && execution["inquiry"].is_null() && execution["status"] != "queued" && execution["status"] != "delayed"
}

async fn children(client: &Client, of: &str, left: &mut ReadBudget) -> Result<(Vec<Value>, bool), Failure> {
    let mut found: Vec<Value> = Vec::new();
    let mut query = vec![("parent", of.to_owned()), ("sort", "position".to_owned()), ("limit", PAGE.to_string())];
    loop {
        if left.executions == 0 {
            return Ok((found, true));
        }
        let mut page = client.get("/executions", &query).await?;
        let mut items = match page["items"].take() {
            Value::Array(items) => items,
            _ => Vec::new(),
        };
        let is_cut = items.len() > left.executions;
        items.truncate(left.executions);
        left.executions -= items.len();
        found.append(&mut items);
        let Some(next) = page["next"].as_str().filter(|_| !is_cut) else { return Ok((found, is_cut)) };
        query.retain(|(name, _)| *name != "cursor");
        query.push(("cursor", next.to_owned()));
    }
}

/// Groups parts into steps, in the order in which the steps began; their items are in order too. Steps that a
/// rerun took over come first: they ran before it.
pub(crate) fn in_steps(mut parts: Vec<StepPart>) -> Vec<StepRun> {
    parts.sort_by_key(|part| (!part.is_taken_over(), part.began_at()));
    let mut steps: Vec<StepRun> = Vec::new();
    for part in parts {
        let name = part.step();
        match steps.iter_mut().find(|step| step.name == name) {
            Some(step) => step.parts.push(part),
            None => steps.push(StepRun { name, parts: vec![part], items: None }),
        }
    }
    for step in &mut steps {
        step.parts.sort_by_key(|part| (part.item(), part.turn()));
    }
    steps
}

impl StepRun {
    /// Returns true if it runs for each of several items.
    pub(crate) fn is_for_each(&self) -> bool {
        !self.undoes() && self.parts.iter().any(|part| part.item().is_some())
    }

    /// Returns true if it undoes a step and is not a step itself.
    pub(crate) fn undoes(&self) -> bool {
        self.parts.iter().any(|part| part.as_value()["undoes"] == true)
    }
}

impl StepPart {
    /// Returns the execution, or the description of a part that has none.
    pub(crate) fn as_value(&self) -> &Value {
        match self {
            Self::Begun(flow) => &flow.execution,
            Self::NotStarted(told) => told,
        }
    }

    /// Returns true if a rerun took it over from an earlier execution.
    fn is_taken_over(&self) -> bool {
        self.as_value()["taken_over"] == true
    }

    /// Returns the key that it is grouped under: the undo of a step is a group of its own.
    fn step(&self) -> String {
        plain_step_name(self.as_value())
    }

    /// Returns its item, from 0; `None` if the step runs once.
    pub(crate) fn item(&self) -> Option<u64> {
        self.as_value()["item"].as_u64()
    }

    /// Returns its turn, from 1; `None` if the step is not repeated.
    pub(crate) fn turn(&self) -> Option<u64> {
        self.as_value()["turn"].as_u64()
    }

    /// Returns when it was requested, or found not to start. Times of equal width sort as text.
    pub(crate) fn began_at(&self) -> String {
        match self {
            Self::Begun(flow) => text(&flow.execution, "requested_at"),
            Self::NotStarted(told) => text(told, "at"),
        }
    }

    /// Returns its name, with its item if it has one: `deploy[3]`.
    pub(crate) fn name(&self) -> String {
        step_name(self.as_value())
    }

    /// Returns its status.
    pub(crate) fn status(&self) -> String {
        match self {
            Self::Begun(flow) => text(&flow.execution, "status"),
            Self::NotStarted(told) => standing(told).to_owned(),
        }
    }
}

/// Returns the status of a part without an execution.
pub(crate) fn standing(not_started: &Value) -> &'static str {
    match (not_started["skipped"].is_null(), not_started["error"].is_null()) {
        (false, _) => "skipped",
        (true, false) => "failed",
        (true, true) => "succeeded",
    }
}

/// Returns why a part has no execution; `workflow` is the execution that it is a step of.
pub(crate) fn because(not_started: &Value, workflow: &Value) -> String {
    match not_started["skipped"].as_str() {
        Some(reason @ "failing") => match step_that_failed(workflow) {
            Some(step) => format!("{}: step `{step}` failed", why_skipped(reason)),
            None => why_skipped(reason).to_owned(),
        },
        Some(reason) => why_skipped(reason).to_owned(),
        None if not_started["taken_over"] == true => match not_started["taken_from"].as_str() {
            Some(from) => format!("taken over from {from}"),
            None => "taken over".to_owned(),
        },
        None if not_started["error"].is_null() => "it has no items".to_owned(),
        None => failure(&not_started["error"]),
    }
}

/// Returns the step that made a workflow fail: the error of the workflow begins with its name. `None` while
/// the workflow runs.
fn step_that_failed(workflow: &Value) -> Option<&str> {
    let error = &workflow["error"];
    let message = error["message"].as_str().filter(|_| error["kind"] == "child_failed")?;
    Some(message.strip_prefix("step `")?.split_once('`')?.0)
}

/// Returns why a step was skipped, from the API's word for it.
pub(crate) fn why_skipped(reason: &str) -> &str {
    match reason {
        "condition" => "its condition does not hold",
        "needs" => "a step that it needs did not succeed",
        "failing" => "the workflow is failing",
        "cancelled" => "the workflow was cancelled",
        "event" => "the event that cancels it came",
        other => other,
    }
}

impl Flow {
    /// Returns the executions below it that ran something themselves, each with its name (`deploy[3]/check`),
    /// in the order in which they began.
    pub(crate) fn programs(&self) -> Vec<(String, &Value)> {
        fn below<'a>(flow: &'a Flow, above: &str, found: &mut Vec<(String, &'a Value)>) {
            for part in flow.steps.iter().flat_map(|step| &step.parts) {
                let StepPart::Begun(step) = part else { continue };
                let name = format!("{above}{}", part.name());
                if step.steps.is_empty() {
                    found.push((name, &step.execution));
                } else {
                    below(step, &format!("{name}/"), found);
                }
            }
        }
        let mut found = Vec::new();
        below(self, "", &mut found);
        found.sort_by_key(|(_, execution)| text(execution, "requested_at"));
        found
    }

    /// Returns it as one document: the execution with its `steps`, the number of `items` of steps with
    /// several, and whether not all steps were read (`truncated`).
    pub(crate) fn document(&self) -> Value {
        let mut document = self.execution.clone();
        let parts = self.steps.iter().flat_map(|step| &step.parts);
        let begun = parts.filter_map(|part| match part {
            StepPart::Begun(flow) => Some(flow.document()),
            StepPart::NotStarted(_) => None,
        });
        document["steps"] = json!(begun.collect::<Vec<_>>());
        let counted = self.steps.iter().filter_map(|step| Some((step.name.clone(), json!(step.items?))));
        document["items"] = Value::Object(counted.collect());
        document["truncated"] = json!(self.is_cut);
        document
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn execution(id: &str, step: &str, attempt: u32) -> Value {
        json!({ "id": id, "step": step, "item": null, "attempt": attempt, "status": "succeeded", "requested_at": "2026-03-28T09:00:00Z",
            "ended_at": "2026-03-28T09:00:00Z", "not_started_count": 0 })
    }

    /// Returns a node's answer for a path: a workflow of two pages that contains a workflow with a step that
    /// never started.
    fn answer(path: &str) -> Value {
        let never = json!({ "step": "never", "item": null, "at": "2026-03-28T09:00:00Z", "skipped": "condition", "error": null });
        let mut inside = execution("inside", "inside", 0);
        inside["not_started_count"] = json!(1);
        match path {
            "/api/v1/executions?parent=flow&sort=position&limit=200" => json!({ "items": [execution("a", "a", 1)], "next": "more" }),
            "/api/v1/executions?parent=flow&sort=position&limit=200&cursor=more" => json!({ "items": [inside], "next": null }),
            "/api/v1/executions/inside" => {
                inside["not_started"] = json!([never]);
                inside
            }
            "/api/v1/executions?parent=wide&sort=position&limit=200" => {
                let items: Vec<Value> = (0..3)
                    .map(|n| {
                        let mut item = execution(&format!("i{n}"), "each", 1);
                        item["item"] = json!(n);
                        item
                    })
                    .collect();
                json!({ "items": items, "next": null })
            }
            "/api/v1/executions/wide/timeline?limit=200" => {
                json!({ "items": [{ "kind": "execution.requested", "position": 7 }], "next": "more" })
            }
            "/api/v1/executions/wide/timeline?limit=200&cursor=more" => {
                json!({ "items": [{ "kind": "step.expanded", "position": 9 }], "next": null })
            }
            "/api/v1/log/9" => json!({ "position": 9, "fact": { "step": "each", "count": 5000 } }),
            "/api/v1/executions?parent=inside&sort=position&limit=200" => json!({ "items": [execution("b", "b", 2)], "next": null }),
            other => panic!("nobody needs `{other}`"),
        }
    }

    async fn read_from_a_node(execution: Value, mut left: ReadBudget) -> Flow {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(&format!("http://{}", listener.local_addr().unwrap()), None, &Default::default()).unwrap();
        let node = async {
            loop {
                let (mut connection, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(connection.read_u8().await.unwrap());
                }
                let request = String::from_utf8(request).unwrap();
                let body = answer(request.split(' ').nth(1).unwrap()).to_string();
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length";
                connection.write_all(format!("{head}: {}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
            }
        };
        tokio::select! {
            () = node => unreachable!("it listens without end"),
            flow = below(&client, execution, &mut left) => flow.unwrap(),
        }
    }

    fn names(flow: &Flow) -> Vec<&str> {
        flow.steps.iter().map(|step| step.name.as_str()).collect()
    }

    #[tokio::test]
    async fn steps_are_read_page_by_page_down_to_the_innermost_workflow() {
        let left = ReadBudget { executions: EXECUTIONS_MAX, workflows: WORKFLOWS_MAX, questions: QUESTIONS_MAX };
        let flow = read_from_a_node(execution("flow", "", 0), left).await;
        assert_eq!((names(&flow), flow.is_cut), (vec!["a", "inside"], false));
        let StepPart::Begun(inside) = &flow.steps[1].parts[0] else { panic!("it has an execution") };
        assert_eq!(names(inside), ["b", "never"]);
        assert_eq!(flow.document()["steps"][1]["steps"][0]["id"], "b");
        assert_eq!(flow.document()["steps"][1]["not_started"][0]["step"], "never");
    }

    #[tokio::test]
    async fn truncated_steps_are_reported() {
        let flow = read_from_a_node(execution("flow", "", 0), ReadBudget { executions: 1, workflows: 9, questions: 9 }).await;
        assert_eq!((names(&flow), flow.is_cut), (vec!["a"], true));
        let flow = read_from_a_node(execution("flow", "", 0), ReadBudget { executions: 9, workflows: 1, questions: 9 }).await;
        let StepPart::Begun(inside) = &flow.steps[1].parts[0] else { panic!("it has an execution") };
        assert_eq!((flow.is_cut, inside.steps.len(), inside.is_cut), (false, 0, true));
    }

    #[tokio::test]
    async fn item_count_comes_from_the_log_and_truncation_is_reported() {
        let flow = read_from_a_node(execution("wide", "", 0), ReadBudget { executions: 2, workflows: 9, questions: 9 }).await;
        assert_eq!((flow.steps[0].parts.len(), flow.steps[0].items), (2, Some(5000)));
        let document = flow.document();
        assert_eq!((&document["items"], &document["truncated"]), (&json!({ "each": 5000 }), &json!(true)));
        assert_eq!(document["steps"][0]["truncated"], false);
    }

    #[tokio::test]
    async fn execution_with_attempts_is_not_asked_for_steps() {
        let left = ReadBudget { executions: 9, workflows: 9, questions: 9 };
        assert!(read_from_a_node(execution("alone", "", 1), left).await.steps.is_empty());
    }
}
