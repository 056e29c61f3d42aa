//! Converts the outcomes of an execution's steps to the mocks of a case.

use std::collections::BTreeMap;

use ensue_engine::catalog::{INQUIRY, WAIT};
use serde_json::{Map, Value, json};

use crate::client::{Client, segment};
use crate::report::{Exit, Failure};
use crate::steps::{Flow, StepPart};
use crate::table::text;

/// Actions that do the same in a case as on the node.
const BY_ITSELF: [&str; 3] = ["core.echo", "core.noop", "core.sleep"];

/// Mocks by the path of the mocked step.
#[derive(Debug, Default)]
pub(super) struct Mocks(BTreeMap<String, Tree>);

/// The outcomes of a step, each time it ran.
#[derive(Debug)]
enum Tree {
    /// Its attempts, or the answers to it.
    Tries(Vec<Value>),
    /// Its items or turns.
    Items(BTreeMap<u64, Tree>),
}

impl Mocks {
    /// Returns true if there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads the outcomes of an execution and everything below it. `root` is the beginning of its path, and
    /// empty if its steps are at the root.
    pub(super) async fn read(&mut self, client: &Client, flow: &Flow, root: &str) -> Result<(), Failure> {
        if is_workflow(flow) {
            return self.steps(client, flow, root, &[]).await;
        }
        let name = text(&flow.execution, "action").rsplit('.').next().unwrap_or_default().to_owned();
        self.leaf(client, &flow.execution, if root.is_empty() { name } else { root.to_owned() }, &[]).await
    }

    async fn steps(&mut self, client: &Client, flow: &Flow, root: &str, items: &[u64]) -> Result<(), Failure> {
        // In a case, the undo of a step has nothing to undo.
        for step in flow.steps.iter().filter(|step| !step.undoes()) {
            let path = if root.is_empty() { step.name.clone() } else { format!("{root}.{}", step.name) };
            for part in &step.parts {
                // A part that never started has no outcome.
                let StepPart::Begun(within) = part else { continue };
                let nth = part.item().or(part.turn().and_then(|turn| turn.checked_sub(1)));
                let items: Vec<u64> = items.iter().copied().chain(nth).collect();
                if is_workflow(within) {
                    Box::pin(self.steps(client, within, &path, &items)).await?;
                } else {
                    self.leaf(client, &within.execution, path.clone(), &items).await?;
                }
            }
        }
        Ok(())
    }

    async fn leaf(&mut self, client: &Client, execution: &Value, path: String, items: &[u64]) -> Result<(), Failure> {
        if execution["action"].as_str().is_some_and(|action| BY_ITSELF.contains(&action)) {
            return Ok(());
        }
        // The node also asks what became of an attempt, which is not an inquiry of the workflow.
        let tries = match (execution["action"].as_str(), execution["inquiry"].as_str()) {
            (Some(INQUIRY), Some(inquiry)) => answers(client, inquiry).await?,
            (Some(WAIT), _) => awaited_event(client, execution).await?,
            _ => attempts(client, execution).await?,
        };
        let leaf = items.iter().rev().fold(Tree::Tries(tries), |tree, item| Tree::Items(BTreeMap::from([(*item, tree)])));
        match self.0.get_mut(&path) {
            Some(there) => there.take_in(leaf),
            None => drop(self.0.insert(path, leaf)),
        }
        Ok(())
    }

    /// Returns them as JSON text.
    pub(super) fn to_json_text(&self) -> String {
        Value::Object(self.0.iter().map(|(path, tree)| (path.clone(), tree.to_value())).collect()).to_string()
    }

    /// Returns them in the form of a case.
    pub(super) fn into_value(self) -> Value {
        Value::Object(self.0.into_iter().map(|(path, tree)| (path, tree.into_value())).collect::<Map<_, _>>())
    }
}

impl Tree {
    fn take_in(&mut self, other: Self) {
        match (self, other) {
            (Self::Items(there), Self::Items(more)) => {
                for (item, tree) in more {
                    match there.get_mut(&item) {
                        Some(one) => one.take_in(tree),
                        None => drop(there.insert(item, tree)),
                    }
                }
            }
            // One step runs once or several times, the same for all of it.
            (there, other) => *there = other,
        }
    }

    fn to_value(&self) -> Value {
        match self {
            Self::Tries(tries) => Value::Array(tries.clone()),
            Self::Items(items) => items.values().map(Self::to_value).collect(),
        }
    }

    fn into_value(self) -> Value {
        match self {
            Self::Tries(mut tries) if tries.len() == 1 => tries.remove(0),
            Self::Tries(tries) if tries.is_empty() => never(),
            Self::Tries(tries) => Value::Array(tries),
            Self::Items(mut items) => {
                let count = items.last_key_value().map_or(0, |(last, _)| last + 1);
                (0..count).map(|item| items.remove(&item).map_or_else(never, Self::into_value)).collect()
            }
        }
    }
}

/// Returns a mock for an outcome that did not happen and will not happen.
fn never() -> Value {
    json!({ "error": { "kind": "signal", "message": "it had no outcome" } })
}

fn is_workflow(flow: &Flow) -> bool {
    !flow.steps.is_empty()
}

/// Returns the answers of people, and that nobody else answered if time ran out.
async fn answers(client: &Client, id: &str) -> Result<Vec<Value>, Failure> {
    let inquiry = client.get(&format!("/inquiries/{}", segment(id)), &[]).await?;
    let given = inquiry["answers"].as_array().into_iter().flatten();
    let mut answers: Vec<Value> = given.map(|given| json!({ "answer": given["answer"], "by": given["by"] })).collect();
    if inquiry["status"] == "expired" {
        answers.push(json!({ "expired": true }));
    }
    Ok(answers)
}

/// Returns the relevant part of the event that arrived, or that none did if time ran out.
async fn awaited_event(client: &Client, execution: &Value) -> Result<Vec<Value>, Failure> {
    let whole = client.get(&format!("/executions/{}", segment(&text(execution, "id"))), &[]).await?;
    Ok(vec![match whole["status"].as_str() {
        Some("succeeded") => json!({ "event": whole["result"]["event"]["payload"] }),
        _ => json!({ "expired": true }),
    }])
}

async fn attempts(client: &Client, execution: &Value) -> Result<Vec<Value>, Failure> {
    let id = text(execution, "id");
    let whole = client.get(&format!("/executions/{}", segment(&id)), &[]).await?;
    let gave = || json!({ "result": if whole["result"].is_null() { json!({}) } else { plain(whole["result"].clone()) } });
    if !whole["settled"].is_null() {
        // A person's statement replaces the unknown outcome.
        return Ok(vec![if whole["status"] == "succeeded" { gave() } else { error_mock(&whole["error"]) }]);
    }
    let attempts = client.get(&format!("/executions/{}/attempts", segment(&id)), &[]).await?["items"].take();
    let attempts = attempts.as_array().map(Vec::as_slice).unwrap_or_default();
    if whole["attempt"].as_u64().is_some_and(|count| count > attempts.len() as u64) {
        let message = format!("`{id}` had {} attempts, but only the last {} are stored", whole["attempt"], attempts.len());
        return Err(Failure::with(Exit::Refused, message));
    }
    let came_to = |attempt: &Value| match attempt["status"].as_str() {
        Some("succeeded") => Some(gave()),
        Some("failed" | "timed_out") => Some(error_mock(&attempt["error"])),
        Some("lost") => Some(json!({ "error": { "kind": "lost" } })),
        Some(_) | None => None,
    };
    Ok(attempts.iter().filter_map(came_to).collect())
}

/// Removes the headers of a response that are irrelevant to its content.
pub(super) fn plain(mut result: Value) -> Value {
    const OF_THE_WAY: [&str; 6] = ["connection", "content-length", "date", "keep-alive", "server", "transfer-encoding"];
    let is_answer = result
        .as_object()
        .is_some_and(|fields| fields.len() == 3 && fields.get("status").is_some_and(Value::is_u64) && fields.contains_key("body"));
    if is_answer && let Some(headers) = result["headers"].as_object_mut() {
        headers.retain(|name, _| !OF_THE_WAY.contains(&name.as_str()));
    }
    result
}

fn error_mock(error: &Value) -> Value {
    let known = error.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    json!({ "error": known.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>() })
}
