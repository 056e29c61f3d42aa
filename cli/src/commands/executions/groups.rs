//! `ensue executions list --by`: how many executions have the same error or action.
//!
//! They are counted here, page by page, up to a bound that is reported.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::error_line;
use crate::client::Client;
use crate::commands::Asking;
use crate::pages::{self, PAGE_MAX};
use crate::report::{CommandResult, eprint_line};
use crate::table::{Column, cell, text, time};

/// The most executions of one status that are counted, newest first.
const COUNTED_MAX: usize = 5_000;

/// What executions are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GroupKey {
    /// By error. Without `--status`, only executions that failed or timed out.
    Error,
    /// By action.
    Action,
}

impl GroupKey {
    fn key(self, execution: &Value) -> String {
        match self {
            Self::Error => error_line(&execution["error"]),
            Self::Action => text(execution, "action"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Action => "action",
        }
    }

    fn columns(self) -> &'static [Column] {
        match self {
            Self::Error => BY_ERROR,
            Self::Action => BY_ACTION,
        }
    }
}

const BY_ERROR: &[Column] = &[
    Column::whole("COUNT", |group| cell(group, "count")),
    Column::cut("ERROR", |group| cell(group, "error")),
    Column::whole("NEWEST", |group| time(group, "newest_at")),
    Column::id("EXAMPLE", |group| cell(group, "newest")),
];
const BY_ACTION: &[Column] = &[
    Column::whole("COUNT", |group| cell(group, "count")),
    Column::cut("ACTION", |group| cell(group, "action")),
    Column::whole("NEWEST", |group| time(group, "newest_at")),
    Column::id("EXAMPLE", |group| cell(group, "newest")),
];

/// Counts the executions that match, and prints a row for each group, the largest first.
pub(super) async fn print(asking: &Asking, client: &Client, query: Vec<(&str, String)>, by: GroupKey) -> CommandResult {
    let has_status = query.iter().any(|(name, _)| *name == "status" || *name == "error_kind");
    let statuses: &[Option<&str>] = if by == GroupKey::Error && !has_status { &[Some("failed"), Some("timed_out")] } else { &[None] };
    let (mut executions, mut is_complete) = (Vec::new(), true);
    for status in statuses {
        let mut query = query.clone();
        query.extend(status.map(|status| ("status", status.to_owned())));
        let read = pages::read(client, "/executions", &query, (COUNTED_MAX, COUNTED_MAX / PAGE_MAX), None).await?;
        is_complete &= read.next.is_none();
        executions.extend(read.items);
    }
    let groups = groups(&executions, by);
    let counted = executions.len();
    asking.output.print_list(&json!({ "by": by.name(), "counted": counted, "complete": is_complete, "items": groups }), by.columns());
    if !is_complete {
        eprint_line(format!("only the newest {counted} executions were counted; use --since or another filter to narrow the list"));
    }
    Ok(())
}

/// Returns the groups, the largest first. Among groups of equal size, the one with the newest execution comes
/// first.
fn groups(executions: &[Value], by: GroupKey) -> Vec<Value> {
    let mut groups: BTreeMap<String, (usize, &Value)> = BTreeMap::new();
    for execution in executions {
        let (count, newest) = groups.entry(by.key(execution)).or_insert((0, execution));
        *count += 1;
        if place(execution) > place(newest) {
            *newest = execution;
        }
    }
    let mut groups: Vec<(String, (usize, &Value))> = groups.into_iter().collect();
    groups.sort_by_key(|(_, (count, newest))| std::cmp::Reverse((*count, place(newest))));
    let shown = |(key, (count, newest)): (String, (usize, &Value))| json!({ by.name(): key, "count": count, "newest": newest["id"], "newest_at": newest["requested_at"] });
    groups.into_iter().map(shown).collect()
}

fn place(execution: &Value) -> u64 {
    execution["position"].as_u64().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn execution(position: u64, action: &str, message: &str) -> Value {
        json!({
            "id": format!("id-{position}"), "position": position, "action": action, "requested_at": format!("2026-03-28T09:00:{position:02}Z"),
            "error": { "kind": "exit_code", "message": message, "detail": 4 },
        })
    }

    #[test]
    fn groups_have_counts_and_their_newest_execution() {
        let all = [execution(3, "a.x", "no route"), execution(9, "a.y", "refused"), execution(5, "a.x", "refused")];
        assert_eq!(
            groups(&all, GroupKey::Error),
            [
                json!({ "error": "exit_code 4: refused", "count": 2, "newest": "id-9", "newest_at": "2026-03-28T09:00:09Z" }),
                json!({ "error": "exit_code 4: no route", "count": 1, "newest": "id-3", "newest_at": "2026-03-28T09:00:03Z" }),
            ]
        );
        let by_action = groups(&all, GroupKey::Action);
        assert_eq!((&by_action[0]["action"], &by_action[0]["count"]), (&json!("a.x"), &json!(2)));
    }
}
