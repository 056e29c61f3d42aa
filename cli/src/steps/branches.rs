//! Renders the steps of a workflow as branches of a tree.

use std::collections::BTreeMap;

use ensue_engine::time::Timestamp;
use serde_json::Value;

use super::{Flow, StepPart, StepRun, because, standing};
use crate::questions;
use crate::table::text;
use crate::tree::{Branch, Mood};
use crate::wording::{duration, failure, mood, step_name};

/// The most items of a step that are shown individually.
const ITEMS_MAX: usize = 20;

/// Returns the tree of an execution and its steps; anything that has not ended lasts until `now`.
pub(crate) fn tree(flow: &Flow, now: Timestamp) -> Branch {
    let mut tree = of_execution(flow, &text(&flow.execution, "action"), now);
    tree.details.insert(0, text(&flow.execution, "id"));
    tree
}

fn of_execution(flow: &Flow, name: &str, now: Timestamp) -> Branch {
    let execution = &flow.execution;
    let status = text(execution, "status");
    let mut details = Vec::new();
    let (waits_for, queued) = (questions::waits_for(execution), questions::queue_wait(execution));
    if !queued.is_empty() {
        details.push(queued);
    } else if !waits_for.is_empty() {
        details.extend([format!("waits for {waits_for}"), questions::command(execution)]);
    } else if let (Some(until), attempt) = (execution["waits_until"].as_str(), &execution["attempt"]) {
        details.push(match (status.as_str(), attempt.as_u64()) {
            ("delayed", Some(failed)) if failed > 0 => format!("attempt {failed} failed; the next follows at {until}"),
            ("delayed", _) => format!("starts at {until}"),
            _ => format!("until {until}"),
        });
    }
    if !execution["error"].is_null() {
        details.push(failure(&execution["error"]));
    }
    let mut children: Vec<Branch> = flow.steps.iter().map(|step| of_step(step, flow, now)).collect();
    if flow.is_cut {
        children.push(more(format!("… and more: ensue executions list --parent {}", text(execution, "id"))));
    }
    Branch { title: format!("{name} {status}"), mood: mood(&status), time: duration_so_far(execution, now), details, children }
}

fn of_step(step: &StepRun, flow: &Flow, now: Timestamp) -> Branch {
    match step.parts.as_slice() {
        [only] if only.item().is_none() && only.turn().is_none() => of_part(only, flow, now),
        parts => of_items(step, parts, flow, now),
    }
}

fn of_part(part: &StepPart, workflow: &Flow, now: Timestamp) -> Branch {
    match part {
        StepPart::Begun(flow) => {
            let mut branch = of_execution(flow, &format!("{}: {}", part.name(), text(&flow.execution, "action")), now);
            if flow.execution["status"] != "succeeded" {
                branch.details.insert(0, text(&flow.execution, "id"));
            }
            branch
        }
        StepPart::NotStarted(told) => not_started(told, &workflow.execution),
    }
}

/// Returns the branch of a step or item without an execution.
pub(crate) fn not_started(told: &Value, workflow: &Value) -> Branch {
    let (name, why) = (step_name(told), because(told, workflow));
    match standing(told) {
        "failed" => {
            let details = std::iter::once(why).chain(explanation_lines(&told["error"])).collect();
            Branch { title: format!("{name} failed"), mood: Mood::Bad, details, ..Branch::default() }
        }
        status => Branch { title: format!("{name} {status}: {why}"), mood: Mood::Faint, ..Branch::default() },
    }
}

/// Returns a line for each part of the condition that a step asserts, with its value.
fn explanation_lines(error: &Value) -> impl Iterator<Item = String> {
    let parts = error["explained"].as_array().map(Vec::as_slice).unwrap_or_default();
    parts.iter().map(|part| format!("{} → {}", text(part, "part"), text(part, "value")))
}

fn of_items(step: &StepRun, parts: &[StepPart], flow: &Flow, now: Timestamp) -> Branch {
    let statuses: Vec<String> = parts.iter().map(StepPart::status).collect();
    let fold = fold_items(statuses.iter().map(|status| (status.as_str(), false)));
    let mut children: Vec<Branch> = fold.shown.iter().map(|at| of_part(&parts[*at], flow, now)).collect();
    children.extend(fold.rest.map(|rest| more(format!("{rest}: ensue executions list --parent {}", text(&flow.execution, "id")))));
    let others = Others::of(step, flow);
    let mood = match (mood_of_all(&statuses), others) {
        (Mood::Good, Others::NotStarted(_) | Others::NotRead(_) | Others::Unknown) => Mood::Plain,
        (mood, _) => mood,
    };
    let called = if parts.iter().any(|part| part.turn().is_some()) { ["turn", "turns"] } else { ["item", "items"] };
    Branch { title: format!("{}: {}", step.name, counts(called, &statuses, others)), mood, children, ..Branch::default() }
}

/// The items of a step whose status was not read.
#[derive(Clone, Copy)]
enum Others {
    None,
    NotStarted(u64),
    NotRead(u64),
    Unknown,
}

impl Others {
    fn of(step: &StepRun, flow: &Flow) -> Self {
        let Some(items) = step.items else { return if step.is_for_each() || flow.is_cut { Self::Unknown } else { Self::None } };
        match (items.saturating_sub(step.parts.len() as u64), flow.is_cut) {
            (0, _) => Self::None,
            (others, false) => Self::NotStarted(others),
            (others, true) => Self::NotRead(others),
        }
    }
}

fn more(title: String) -> Branch {
    Branch { title, mood: Mood::Faint, ..Branch::default() }
}

/// The items that are shown, and the summary of the rest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FoldedItems {
    /// The indexes of those that are shown.
    pub(crate) shown: Vec<usize>,
    /// The summary of the others; `None` if all are shown.
    pub(crate) rest: Option<String>,
}

/// Folds items, each with its status and whether it is always shown. If there are too many, the first of
/// those that did not succeed are shown.
pub(crate) fn fold_items<'s>(items: impl Iterator<Item = (&'s str, bool)>) -> FoldedItems {
    let items: Vec<(&str, bool)> = items.collect();
    if items.len() <= ITEMS_MAX {
        return FoldedItems { shown: (0..items.len()).collect(), rest: None };
    }
    let mut left = ITEMS_MAX;
    let (mut shown, mut rest) = (Vec::new(), Vec::new());
    for (at, (status, is_kept)) in items.into_iter().enumerate() {
        let is_shown = is_kept || (status != "succeeded" && left > 0);
        if is_shown {
            left = left.saturating_sub(1);
            shown.push(at);
        } else {
            rest.push(status.to_owned());
        }
    }
    let rest = (!rest.is_empty()).then(|| format!("… {} more, {}", rest.len(), of_each(&rest)));
    FoldedItems { shown, rest }
}

/// `25 items, 20 succeeded, 3 failed, 2 not started`
fn counts([one, several]: [&str; 2], statuses: &[String], others: Others) -> String {
    let read = statuses.len() as u64;
    let (at_least, count, rest) = match others {
        Others::None => ("", read, String::new()),
        Others::NotStarted(others) => ("", read + others, format!(", {others} not started")),
        Others::NotRead(others) => ("", read + others, format!(", {others} more that were not read")),
        Others::Unknown => ("at least ", read, String::new()),
    };
    let called = if count == 1 { one } else { several };
    format!("{at_least}{count} {called}, {}{rest}", of_each(statuses))
}

fn of_each(statuses: &[String]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for status in statuses {
        *counts.entry(status).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.iter().map(|(status, count)| format!("{count} {status}")).collect::<Vec<_>>().join(", ")
}

/// Returns the common mood of several statuses.
fn mood_of_all(statuses: &[String]) -> Mood {
    let moods: Vec<Mood> = statuses.iter().map(|status| mood(status)).collect();
    if moods.contains(&Mood::Bad) {
        Mood::Bad
    } else if moods.iter().all(|mood| *mood == Mood::Good) {
        Mood::Good
    } else {
        Mood::Plain
    }
}

/// Returns how long an execution has taken: since its first attempt, or since its request if it has none.
fn duration_so_far(execution: &Value, now: Timestamp) -> String {
    let moment = |name: &str| text(execution, name).parse::<Timestamp>().ok();
    let Some(from) = moment("started_at").or_else(|| moment("requested_at")) else { return String::new() };
    duration(moment("ended_at").unwrap_or(now).micros_since(from).max(0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::steps::in_steps;
    use crate::style::{Style, visible};
    use crate::tree::{WIDTH, draw};

    const NOON: &str = "2026-03-28T09:01:00Z";

    fn execution(step: &str, status: &str, begin: u32, end: Option<u32>) -> Value {
        let at = |second: u32| format!("2026-03-28T09:00:{second:02}.000000Z");
        json!({
            "id": format!("019c1f3a-0000-7000-8000-{:012x}", begin * 1000), "step": step, "action": "core.shell", "status": status,
            "attempt": 1, "requested_at": at(begin), "started_at": at(begin), "ended_at": end.map(at), "error": null, "item": null,
        })
    }

    fn flow(execution: Value, parts: Vec<StepPart>) -> Flow {
        let mut steps = in_steps(parts);
        steps.iter_mut().for_each(|step| step.items = Some(step.parts.len() as u64));
        Flow { execution, steps, is_cut: false }
    }

    fn does(execution: Value) -> StepPart {
        StepPart::Begun(flow(execution, Vec::new()))
    }

    fn with_error(mut execution: Value) -> Value {
        execution["error"] = json!({ "kind": "exit_code", "detail": 3, "message": "it ended with 3" });
        execution
    }

    fn items(count: u64, status: impl Fn(u64) -> &'static str) -> Vec<StepPart> {
        let item = |index| {
            let mut item = execution("deploy", status(index), 2, Some(4));
            item["item"] = json!(index);
            does(if status(index) == "failed" { with_error(item) } else { item })
        };
        (0..count).map(item).collect()
    }

    #[test]
    fn repeated_turns_and_undo_are_separate_branches() {
        let with = |mut value: Value, name: &str, is: Value| {
            value[name] = is;
            does(value)
        };
        let mut workflow = execution("", "undoing", 0, None);
        workflow["action"] = json!("release.ship");
        let mut parts: Vec<StepPart> = (1..=2).map(|turn| with(execution("pages", "succeeded", 1, Some(2)), "turn", json!(turn))).collect();
        parts.push(with(execution("build", "succeeded", 0, Some(2)), "item", Value::Null));
        parts.push(with(execution("build", "running", 8, None), "undoes", json!(true)));
        let mut drawn = flow(workflow, parts);
        drawn.steps.iter_mut().for_each(|step| step.items = None);
        let titles: Vec<String> = tree(&drawn, NOON.parse().unwrap()).children.into_iter().map(|child| child.title).collect();
        assert_eq!(titles, ["build: core.shell succeeded", "pages: 2 turns, 2 succeeded", "undo of build: core.shell running"]);
    }

    fn not(step: &str, at: u32, skipped: Option<&str>, error: Option<&Value>) -> StepPart {
        let at = format!("2026-03-28T09:00:{at:02}.000000Z");
        StepPart::NotStarted(json!({ "step": step, "item": null, "at": at, "skipped": skipped, "error": error }))
    }

    fn sample_branch() -> Branch {
        let mut workflow = with_error(execution("", "failed", 0, Some(9)));
        workflow["action"] = json!("release.ship");
        workflow["error"] = json!({ "kind": "child_failed", "detail": null, "message": "step `deploy` failed: it ended with 3" });
        let mut inside = execution("check", "succeeded", 4, Some(6));
        inside["action"] = json!("release.check");
        let inside = StepPart::Begun(flow(inside, vec![does(execution("ping", "succeeded", 4, Some(5)))]));
        let mut parts = vec![does(execution("build", "succeeded", 0, Some(2))), inside];
        parts.extend(items(3, |index| if index == 1 { "failed" } else { "succeeded" }));
        parts.extend([
            not("announce", 6, Some("failing"), None),
            not("nobody", 7, None, None),
            not("stop", 8, None, Some(&json!({ "kind": "fail", "message": "the error rate is 0.2", "detail": null }))),
        ]);
        tree(&flow(workflow, parts), NOON.parse().unwrap())
    }

    #[test]
    fn each_step_shows_its_outcome_duration_and_reason() {
        insta::assert_snapshot!(draw(&sample_branch(), Style::PLAIN), @"
        release.ship failed                                                        9.0 s
        │  019c1f3a-0000-7000-8000-000000000000
        │  child_failed: step `deploy` failed: it ended with 3
        ├─ build: core.shell succeeded                                             2.0 s
        ├─ deploy: 3 items, 2 succeeded, 1 failed
        │  ├─ deploy[0]: core.shell succeeded                                      2.0 s
        │  ├─ deploy[1]: core.shell failed                                         2.0 s
        │  │     019c1f3a-0000-7000-8000-0000000007d0
        │  │     exit_code 3: it ended with 3
        │  └─ deploy[2]: core.shell succeeded                                      2.0 s
        ├─ check: release.check succeeded                                          2.0 s
        │  └─ ping: core.shell succeeded                                           1.0 s
        ├─ announce skipped: the workflow is failing: step `deploy` failed
        ├─ nobody succeeded: it has no items
        └─ stop failed
              fail: the error rate is 0.2
        ");
    }

    #[test]
    fn color_marks_the_outcome_of_each_step() {
        insta::assert_snapshot!(visible(&draw(&sample_branch(), Style::COLOURED)));
    }

    #[test]
    fn many_items_are_folded_to_the_unsuccessful_ones() {
        let mut workflow = execution("", "waiting", 0, None);
        workflow["action"] = json!("release.ship");
        let parts = items(120, |index| match index {
            7 | 90 => "failed",
            119 => "running",
            _ => "succeeded",
        });
        let drawn = draw(&tree(&flow(workflow, parts), NOON.parse().unwrap()), Style::PLAIN);
        assert!(drawn.lines().all(|line| line.chars().count() <= WIDTH));
        insta::assert_snapshot!(drawn, @"
        release.ship waiting                                                      60.0 s
        │  019c1f3a-0000-7000-8000-000000000000
        └─ deploy: 120 items, 117 succeeded, 2 failed, 1 running
           ├─ deploy[7]: core.shell failed                                         2.0 s
           │     019c1f3a-0000-7000-8000-0000000007d0
           │     exit_code 3: it ended with 3
           ├─ deploy[90]: core.shell failed                                        2.0 s
           │     019c1f3a-0000-7000-8000-0000000007d0
           │     exit_code 3: it ended with 3
           ├─ deploy[119]: core.shell running                                      2.0 s
           │     019c1f3a-0000-7000-8000-0000000007d0
           └─ … 117 more, 117 succeeded: ensue executions list --parent
                 019c1f3a-0000-7000-8000-000000000000
        ");
    }

    #[test]
    fn step_title_counts_items_that_were_not_read_or_never_started() {
        let titled = |counted: Option<u64>, is_cut: bool| {
            let mut flow = flow(execution("", "waiting", 0, None), items(2, |_| "succeeded"));
            flow.steps[0].items = counted;
            flow.is_cut = is_cut;
            let tree = tree(&flow, NOON.parse().unwrap());
            (tree.children[0].title.clone(), tree.children.len())
        };
        assert_eq!(titled(Some(2), false), ("deploy: 2 items, 2 succeeded".to_owned(), 1));
        assert_eq!(titled(Some(90), false), ("deploy: 90 items, 2 succeeded, 88 not started".to_owned(), 1));
        assert_eq!(titled(Some(90), true), ("deploy: 90 items, 2 succeeded, 88 more that were not read".to_owned(), 2));
        assert_eq!(titled(None, false), ("deploy: at least 2 items, 2 succeeded".to_owned(), 1));
        assert_eq!(titled(None, true), ("deploy: at least 2 items, 2 succeeded".to_owned(), 2));
    }

    #[test]
    fn up_to_twenty_items_or_failed_items_are_shown_individually() {
        let of = |count: usize, status: &'static str| fold_items(std::iter::repeat_n((status, false), count));
        assert_eq!((of(20, "succeeded").shown.len(), of(20, "succeeded").rest), (20, None));
        assert_eq!(of(21, "succeeded"), FoldedItems { shown: Vec::new(), rest: Some("… 21 more, 21 succeeded".into()) });
        assert_eq!((of(50, "failed").shown.len(), of(50, "failed").rest), (20, Some("… 30 more, 30 failed".into())));
        let kept = fold_items((0..30).map(|at| ("succeeded", at == 29)));
        assert_eq!((kept.shown, kept.rest.as_deref()), (vec![29], Some("… 29 more, 29 succeeded")));
    }
}
