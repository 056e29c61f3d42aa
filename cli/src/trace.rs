//! Renders the causal graph around a thing as a tree for people.
//!
//! The node determines causes and times; this file only renders them.

use std::collections::BTreeMap;

use ensue_engine::time::Timestamp;
use serde_json::Value;

use crate::client::{Client, segment};
use crate::flow;
use crate::questions::queue_wait;
use crate::report::Failure;
use crate::steps::{self, fold_items};
use crate::table::text;
use crate::tree::{Branch, Mood};
use crate::wording::{duration, failure, mood, step_name};

/// The most executions of one tree that are shown with their results.
const RESULTS_MAX: usize = 32;
/// The most lines of an execution's result that are shown in a tree.
const RESULT_LINES_MAX: usize = 8;

/// The number of records of a timeline in which the reason for a cancel is looked for: the API's maximum.
const TIMELINE_PAGE: usize = 200;

/// Whether a tree shows ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ids {
    /// Yes: for use in further commands.
    Shown,
    /// No: for reading.
    Hidden,
}

/// Returns the tree of a graph from the node; requests the results of the executions in it from the node. `at` is the
/// query for the position that the graph is about.
pub(crate) async fn tree(client: &Client, graph: &Value, ids: Ids, at: &[(&str, String)]) -> Result<Branch, Failure> {
    let nodes = graph["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let arrival = arrival(client, graph, nodes).await?;
    let mut gave = BTreeMap::new();
    let asked = text(graph, "asked");
    let executions = || nodes.iter().filter(|node| node["kind"] == "execution");
    let (first, others) =
        (executions().find(|node| node["id"] == asked.as_str()), executions().filter(|node| node["id"] != asked.as_str()));
    for execution in first.into_iter().chain(others).take(RESULTS_MAX) {
        let id = text(execution, "id");
        gave.insert(id.clone(), outcome(client, &id, at).await?);
    }
    let root = text(graph, "root");
    let drawing = Drawing { nodes, below: &below(nodes), asked: &asked, gave: &gave, early_micros: arrival, ids };
    let mut roots = drawing.roots();
    let is_cut = graph["truncated"] == true;
    let mut tree = match roots.len() {
        1 => roots.remove(0),
        _ => Branch { title: format!("all effects of {root}"), children: roots, ..Branch::default() },
    };
    if is_cut {
        tree.children.push(Branch { title: "… and more that are not shown".into(), mood: Mood::Faint, ..Branch::default() });
    }
    Ok(tree)
}

/// Returns how long before the first record the event arrived at the node, in microseconds.
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

/// Returns the outcome of an execution, line by line: its result or its output.
async fn outcome(client: &Client, id: &str, at: &[(&str, String)]) -> Result<Vec<String>, Failure> {
    let execution = client.get(&format!("/executions/{}", segment(id)), at).await?;
    let given = match &execution["result"] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut lines: Vec<String> = given.lines().map(str::to_owned).collect();
    if lines.len() > RESULT_LINES_MAX {
        let more = lines.len() - RESULT_LINES_MAX;
        lines.truncate(RESULT_LINES_MAX);
        lines.push(format!("… {more} more lines: ensue executions show {id}"));
    }
    lines.extend(Some(queue_wait(&execution)).filter(|queued| !queued.is_empty()));
    if execution["status"] == "cancelled" && !execution["step"].is_null() {
        lines.extend(why_cancelled(client, &execution).await);
    }
    Ok(lines)
}

/// Returns why a step was cancelled: by an event, or because enough of the steps that another one needs have ended.
/// `None` if it was cancelled with its workflow, or if the reason cannot be read.
async fn why_cancelled(client: &Client, step: &Value) -> Option<String> {
    let ended = timeline(client, &text(step, "id"), "execution.cancelled").await;
    if let Some(by_event) = ended.iter().map(|end| text(end, "what")).find(|what| what != "cancelled") {
        return Some(by_event);
    }
    for chosen in timeline(client, &text(step, "parent"), "step.chosen").await {
        // The timeline words it for people.
        let record = client.get(&format!("/log/{}", chosen["position"].as_u64()?), &[]).await.ok()?;
        if record["fact"]["cancelled"].as_array().is_some_and(|names| names.contains(&step["step"])) {
            return Some(text(&chosen, "what"));
        }
    }
    None
}

/// Returns the records of a kind on the first page of an execution's timeline.
async fn timeline(client: &Client, id: &str, kind: &str) -> Vec<Value> {
    let query = [("limit", TIMELINE_PAGE.to_string())];
    let Ok(mut page) = client.get(&format!("/executions/{}/timeline", segment(id)), &query).await else { return Vec::new() };
    let Value::Array(mut told) = page["items"].take() else { return Vec::new() };
    told.retain(|record| record["kind"] == kind);
    told
}

/// The children of each node, and the nodes without a visible cause, by index. A node comes after its cause,
/// so that there are no circles.
struct ChildIndex {
    of: Vec<Vec<usize>>,
    roots: Vec<usize>,
}

fn below(nodes: &[Value]) -> ChildIndex {
    let places: BTreeMap<&str, usize> = nodes.iter().enumerate().filter_map(|(at, node)| Some((node["id"].as_str()?, at))).collect();
    let mut below = ChildIndex { of: vec![Vec::new(); nodes.len()], roots: Vec::new() };
    for (at, node) in nodes.iter().enumerate() {
        match node["parent"].as_str().and_then(|parent| places.get(parent)).filter(|parent| **parent < at) {
            Some(parent) => below.of[*parent].push(at),
            None => below.roots.push(at),
        }
    }
    below
}

struct Drawing<'a> {
    nodes: &'a [Value],
    below: &'a ChildIndex,
    asked: &'a str,
    gave: &'a BTreeMap<String, Vec<String>>,
    early_micros: i64,
    ids: Ids,
}

impl Drawing<'_> {
    /// Returns the branches of the nodes without a visible cause.
    fn roots(&self) -> Vec<Branch> {
        self.below.roots.iter().map(|at| self.branch(*at)).collect()
    }

    /// Returns the branches of a node's children; for a step with many items, not all of them.
    fn children_of(&self, parent: usize) -> Vec<Branch> {
        let mut groups: Vec<(Option<&str>, Vec<usize>)> = Vec::new();
        for at in &self.below.of[parent] {
            let node = &self.nodes[*at];
            let step = if node["item"].is_null() { None } else { node["step"].as_str() };
            match groups.iter_mut().find(|(of, _)| step.is_some() && *of == step) {
                Some((_, items)) => items.push(*at),
                None => groups.push((step, vec![*at])),
            }
        }
        let mut children = Vec::new();
        for (step, items) in groups {
            let fold =
                fold_items(items.iter().map(|at| (self.nodes[*at]["status"].as_str().unwrap_or_default(), self.leads_to_asked(*at))));
            children.extend(fold.shown.iter().map(|at| self.branch(items[*at])));
            children.extend(fold.rest.map(|rest| {
                let title = format!("step {}: {rest}", step.unwrap_or_default());
                Branch { title, mood: Mood::Faint, ..Branch::default() }
            }));
        }
        children
    }

    fn leads_to_asked(&self, at: usize) -> bool {
        self.nodes[at]["id"] == self.asked || self.below.of[at].iter().any(|below| self.leads_to_asked(*below))
    }

    fn branch(&self, at: usize) -> Branch {
        let node = &self.nodes[at];
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
        branch.children.extend(self.children_of(at));
        branch.children.extend(others(node));
        branch.children.extend(not_started(node));
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
            details.push(failure(&node["error"]));
        }
        details.extend(self.gave.get(&text(node, "id")).into_iter().flatten().cloned());
        let step = if node["step"].is_null() { String::new() } else { format!("step {}: ", step_name(node)) };
        // Among many steps, the requested one would be hard to find.
        let mark = if !step.is_empty() && node["id"] == self.asked { " ← asked" } else { "" };
        Branch {
            title: format!("{step}{} {status}{took}{tries}{mark}", text(node, "action")),
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

fn event(node: &Value) -> Branch {
    Branch { title: format!("event {} from {}", text(node, "trigger"), text(node, "source")), ..Branch::default() }
}

fn enforcement(node: &Value) -> Branch {
    let (outcome, mood) = match text(node, "outcome").as_str() {
        "executed" => ("matched".to_owned(), Mood::Plain),
        "shadowed" => ("matched, but is only observed".to_owned(), Mood::Faint),
        "held" => describe_held(node),
        "deduplicated" => ("matched, but duplicates another match".to_owned(), Mood::Faint),
        "throttled" => ("matched, but there were too many in the period".to_owned(), Mood::Faint),
        other => (other.to_owned(), Mood::Bad),
    };
    let details = node["error"].as_str().map(str::to_owned).into_iter().collect();
    Branch { title: format!("rule {} {outcome}", text(node, "rule")), mood, details, ..Branch::default() }
}

/// Returns the outcome of a match that was held.
fn describe_held(node: &Value) -> (String, Mood) {
    let by = text(&node["held"], "by");
    match node["became"]["outcome"].as_str() {
        None => (format!("matched, and is held {}", flow::describe_hold(&node["held"])), Mood::Plain),
        Some("executed") => (format!("matched, and was held by {by}"), Mood::Plain),
        Some("rejected") => (format!("was held by {by}, then rejected"), Mood::Bad),
        Some("shadowed") => (format!("matched, was held by {by}, but is only observed"), Mood::Faint),
        Some(_) => (format!("matched, was held by {by}, and is not acted on{}", flow::superseded_reason(&node["became"])), Mood::Faint),
    }
}

/// Returns the steps of a workflow that have no execution, each with the reason.
fn not_started(node: &Value) -> Vec<Branch> {
    let told = node["not_started"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut branches: Vec<Branch> = told.iter().map(|step| steps::not_started(step, node)).collect();
    if let Some(more @ 1..) = node["not_started_count"].as_u64().map(|count| count.saturating_sub(told.len() as u64)) {
        branches.push(Branch { title: format!("… {more} more steps that did not start"), mood: Mood::Faint, ..Branch::default() });
    }
    branches
}

/// Returns the rules that did not match an event, each with the reason.
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

    fn draw_roots(nodes: &[Value], asked: &str, gave: &BTreeMap<String, Vec<String>>) -> Vec<Branch> {
        Drawing { nodes, below: &below(nodes), asked, gave, early_micros: 300, ids: Ids::Hidden }.roots()
    }

    #[test]
    fn trace_tree_shows_causes_and_why_other_rules_did_not_match() {
        let nodes = graph();
        let gave = BTreeMap::from([("x".to_owned(), vec!["Hello octomona, thank you for pull request #42".to_owned()])]);
        let roots = draw_roots(&nodes, "x", &gave);
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

    /// Returns an event whose rule runs a workflow, with one step and one step of `items` items.
    fn workflow(items: usize) -> Vec<Value> {
        let step = |id: &str, step: &str, item: Option<usize>| {
            json!({ "id": id, "parent": "w", "micros": 60, "kind": "execution", "action": "core.shell", "status": "succeeded", "attempt": 1,
                "started_micros": 60, "ended_micros": 2400, "error": null, "step": step, "item": item })
        };
        let mut nodes = graph();
        nodes.truncate(2);
        nodes.push(json!({ "id": "w", "parent": "m1", "micros": 50, "kind": "execution", "action": "release.ship", "status": "failed",
            "attempt": 0, "started_micros": null, "ended_micros": 9000,
            "error": { "kind": "child_failed", "message": "step `build` failed: it ended with 3" },
            "not_started": [{ "step": "announce", "item": null, "skipped": "failing", "error": null }], "not_started_count": 3 }));
        nodes.push(step("b", "build", None));
        nodes[3]["error"] = json!({ "kind": "exit_code", "message": "it ended with 3" });
        nodes[3]["status"] = json!("failed");
        nodes.extend((0..items).map(|item| step(&format!("d{item}"), "deploy", Some(item))));
        nodes
    }

    #[test]
    fn workflow_steps_are_drawn_below_it_and_the_requested_one_is_shown() {
        let roots = draw_roots(&workflow(2), "d1", &BTreeMap::new());
        insta::assert_snapshot!(draw(&roots[0], Style::PLAIN), @r#"
        event github.pull_request from github.webhook                            +0.3 ms
        ├─ rule examples.greet_pull_request matched                              +0.3 ms
        │  └─ release.ship failed                                                +9.3 ms
        │     │  child_failed: step `build` failed: it ended with 3
        │     ├─ step build: core.shell failed in 2.3 ms                         +2.7 ms
        │     │     exit_code: it ended with 3
        │     ├─ step deploy[0]: core.shell succeeded in 2.3 ms                  +2.7 ms
        │     ├─ step deploy[1]: core.shell succeeded in 2.3 ms ← asked          +2.7 ms
        │     ├─ announce skipped: the workflow is failing: step `build` failed
        │     └─ … 2 more steps that did not start
        └─ rule examples.celebrate_merge did not match
              event.payload.action == "closed" is false: event.payload.action is
              "opened"
        "#);
    }

    #[test]
    fn requested_item_is_shown_among_many() {
        let roots = draw_roots(&workflow(300), "d222", &BTreeMap::new());
        let told = draw(&roots[0], Style::PLAIN);
        assert!(told.contains("step deploy[222]: core.shell succeeded in 2.3 ms ← asked"), "{told}");
        assert!(told.contains("step deploy: … 299 more, 299 succeeded") && !told.contains("deploy[7]"), "{told}");
    }
}
