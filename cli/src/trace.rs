//! The causal graph around a thing, made a tree for people.
//!
//! The node says what led to what and when; here it is only told.

use std::collections::BTreeMap;

use ensue_engine::time::Timestamp;
use serde_json::Value;

use crate::client::{Client, segment};
use crate::report::Failure;
use crate::table::text;
use crate::tree::{Branch, Mood};

/// The most executions of one tree that are shown with what they gave.
const RESULTS_MAX: usize = 32;
/// The most lines of what an execution gave that are shown in a tree.
const RESULT_LINES_MAX: usize = 8;

/// Whether a tree names the ids of what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ids {
    /// It does: to go on with.
    Shown,
    /// It does not: it is to be read.
    Hidden,
}

/// Makes the tree of a graph that the node gave; asks the node for what the executions in it gave.
pub(crate) async fn tree(client: &Client, graph: &Value, ids: Ids) -> Result<Branch, Failure> {
    let nodes = graph["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let arrival = arrival(client, graph, nodes).await?;
    let mut gave = BTreeMap::new();
    for execution in nodes.iter().filter(|node| node["kind"] == "execution").take(RESULTS_MAX) {
        let id = text(execution, "id");
        gave.insert(id.clone(), outcome(client, &id).await?);
    }
    let root = text(graph, "root");
    let drawing = Drawing { nodes, gave: &gave, early_micros: arrival, ids };
    let mut roots = drawing.children_of(None);
    let is_cut = graph["truncated"] == true;
    let mut tree = match roots.len() {
        1 => roots.remove(0),
        _ => Branch { title: format!("what began with {root}"), children: roots, ..Branch::default() },
    };
    if is_cut {
        tree.children.push(Branch { title: "… and more than is shown".into(), mood: Mood::Faint, ..Branch::default() });
    }
    Ok(tree)
}

/// How long before the first record the event arrived at the node, in microseconds.
async fn arrival(client: &Client, graph: &Value, nodes: &[Value]) -> Result<i64, Failure> {
    let root = text(graph, "root");
    if !nodes.iter().any(|node| node["kind"] == "event" && text(node, "id") == root) {
        return Ok(0);
    }
    let event = client.get(&format!("/events/{}", segment(&root)), &[]).await?;
    let moment = |value: &Value, name: &str| text(value, name).parse::<Timestamp>().ok();
    Ok(match (moment(graph, "began_at"), moment(&event, "time")) {
        (Some(began), Some(arrived)) => began.micros_since(arrived).max(0),
        (_, _) => 0,
    })
}

/// What an execution gave, line by line: its result, or what it printed.
async fn outcome(client: &Client, id: &str) -> Result<Vec<String>, Failure> {
    let execution = client.get(&format!("/executions/{}", segment(id)), &[]).await?;
    let given = match &execution["result"] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut lines: Vec<String> = given.lines().map(str::to_owned).collect();
    if lines.len() > RESULT_LINES_MAX {
        let more = lines.len() - RESULT_LINES_MAX;
        lines.truncate(RESULT_LINES_MAX);
        lines.push(format!("… {more} lines more: ensue executions show {id}"));
    }
    Ok(lines)
}

struct Drawing<'a> {
    nodes: &'a [Value],
    gave: &'a BTreeMap<String, Vec<String>>,
    early_micros: i64,
    ids: Ids,
}

impl Drawing<'_> {
    /// The branches of what a thing led to; of none, what nothing that is shown led to. A node stands after its parent, so that
    /// there are no circles.
    fn children_of(&self, parent: Option<usize>) -> Vec<Branch> {
        let first = parent.map_or(0, |at| at + 1);
        let of_parent = |node: &Value| {
            let named = node["parent"].as_str().and_then(|id| self.nodes.iter().position(|other| other["id"].as_str() == Some(id)));
            match (named, parent) {
                (Some(named), Some(parent)) => named == parent,
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            }
        };
        let mut children: Vec<Branch> = Vec::new();
        for (offset, node) in self.nodes[first..].iter().enumerate().filter(|(_, node)| of_parent(node)) {
            children.push(self.branch(first + offset, node));
        }
        children
    }

    fn branch(&self, at: usize, node: &Value) -> Branch {
        let mut branch = match text(node, "kind").as_str() {
            "event" => event(node),
            "enforcement" => enforcement(node),
            "execution" => self.execution(node),
            other => Branch { title: other.to_owned(), ..Branch::default() },
        };
        if branch.time.is_empty() {
            branch.time = self.since(node["micros"].as_i64());
        }
        if self.ids == Ids::Shown {
            branch.details.insert(0, text(node, "id"));
        }
        branch.children.extend(self.children_of(Some(at)));
        branch.children.extend(others(node));
        branch
    }

    fn execution(&self, node: &Value) -> Branch {
        let status = text(node, "status");
        let took = match (node["started_micros"].as_i64(), node["ended_micros"].as_i64()) {
            (Some(started), Some(ended)) => format!(" in {}", duration(ended - started)),
            (_, _) => String::new(),
        };
        let tries = match node["attempt"].as_u64() {
            Some(attempt) if attempt > 1 => format!(", attempt {attempt}"),
            Some(_) | None => String::new(),
        };
        let mut details = Vec::new();
        if !node["error"].is_null() {
            details.push(format!("{}: {}", text(node, "error.kind"), text(node, "error.message")));
        }
        details.extend(self.gave.get(&text(node, "id")).into_iter().flatten().cloned());
        Branch {
            title: format!("{} {status}{took}{tries}", text(node, "action")),
            mood: mood(&status),
            time: self.since(node["ended_micros"].as_i64().or(node["micros"].as_i64())),
            details,
            children: Vec::new(),
        }
    }

    fn since(&self, micros: Option<i64>) -> String {
        micros.map(|micros| format!("+{}", duration(micros + self.early_micros))).unwrap_or_default()
    }
}

/// How the status of an execution or an attempt is to be read.
pub(crate) fn mood(status: &str) -> Mood {
    match status {
        "succeeded" => Mood::Good,
        "failed" | "timed_out" | "cancelled" | "indeterminate" | "lost" => Mood::Bad,
        _ => Mood::Plain,
    }
}

fn event(node: &Value) -> Branch {
    Branch { title: format!("event {} from {}", text(node, "trigger"), text(node, "source")), ..Branch::default() }
}

fn enforcement(node: &Value) -> Branch {
    let (outcome, mood) = match text(node, "outcome").as_str() {
        "executed" => ("matched".to_owned(), Mood::Plain),
        "shadowed" => ("matched, and only watches".to_owned(), Mood::Faint),
        other => (other.to_owned(), Mood::Bad),
    };
    let details = node["error"].as_str().map(str::to_owned).into_iter().collect();
    Branch { title: format!("rule {} {outcome}", text(node, "rule")), mood, details, ..Branch::default() }
}

/// The rules that did not match an event, each with why.
fn others(node: &Value) -> Vec<Branch> {
    let verdicts = node["not_matched"].as_array().map(Vec::as_slice).unwrap_or_default();
    let told = verdicts.iter().map(|verdict| {
        let (word, mood) = if verdict["verdict"] == "erred" { ("erred", Mood::Bad) } else { ("did not match", Mood::Faint) };
        let why = verdict["why"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut details: Vec<String> = why.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        details.extend(verdict["error"].as_str().map(str::to_owned));
        Branch { title: format!("rule {} {word}", text(verdict, "rule")), mood, details, ..Branch::default() }
    });
    told.collect()
}

/// A length of time for people: `0.4 ms`, `12 ms`, `3.2 s`.
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::style::Style;
    use crate::tree::draw;

    fn graph() -> Vec<Value> {
        vec![
            json!({ "id": "e", "parent": null, "micros": 0, "kind": "event", "trigger": "github.pull_request", "source": "github.webhook",
                "not_matched": [{
                    "rule": "examples.celebrate_merge",
                    "verdict": "not_matched",
                    "why": [r#"event.payload.action == "closed" is false: event.payload.action is "opened""#],
                }] }),
            json!({ "id": "m1", "parent": "e", "micros": 40, "kind": "enforcement", "rule": "examples.greet_pull_request", "outcome": "executed" }),
            json!({ "id": "m2", "parent": "e", "micros": 41, "kind": "enforcement", "rule": "examples.broken", "outcome": "rejected",
                "error": "the parameters do not fit: /url: is missing" }),
            json!({ "id": "x", "parent": "m1", "micros": 50, "kind": "execution", "action": "core.shell", "status": "succeeded",
                "attempt": 1, "started_micros": 60, "ended_micros": 2400, "error": null }),
        ]
    }

    #[test]
    fn a_tree_tells_what_led_to_what_and_why_the_rest_did_not() {
        let nodes = graph();
        let gave = BTreeMap::from([("x".to_owned(), vec!["Hello octomona, thank you for pull request #42".to_owned()])]);
        let drawing = Drawing { nodes: &nodes, gave: &gave, early_micros: 300, ids: Ids::Hidden };
        let roots = drawing.children_of(None);
        assert_eq!(roots.len(), 1);
        insta::assert_snapshot!(draw(&roots[0], Style::PLAIN), @r#"
        event github.pull_request from github.webhook                            +0.3 ms
        ├─ rule examples.greet_pull_request matched                              +0.3 ms
        │  └─ core.shell succeeded in 2.3 ms                                     +2.7 ms
        │        Hello octomona, thank you for pull request #42
        ├─ rule examples.broken rejected                                         +0.3 ms
        │     the parameters do not fit: /url: is missing
        └─ rule examples.celebrate_merge did not match
              event.payload.action == "closed" is false: event.payload.action is
              "opened"
        "#);
    }

    #[test]
    fn lengths_of_time_have_two_or_three_digits() {
        let told: Vec<_> = [0, 430, 12_345, 150_000, 3_200_000, 600_000_000].map(duration).into();
        assert_eq!(told, ["0.0 ms", "0.4 ms", "12.3 ms", "150 ms", "3.2 s", "10 min"]);
    }
}
