//! Lists in SQL: selects the index that finds the rows for a set of filters in the order of their positions.
//!
//! SQL text is built from closed lists of names only; values from callers are bound.

use ensue_views::dead_letters::LetterStatus;
use ensue_views::enforcements::OutcomeName;
use ensue_views::executions::Status;
use ensue_views::inquiries::InquiryStatus;
use ensue_views::store::{Filter, LIST_ROWS_MAX, Order};
use ensue_views::{Column, ListQuery, Term, ViewName};
use rusqlite::types::Value;

use super::{Form, SPAN, apart, form, place};

/// A query in SQL, with the values to bind.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

impl Asked {
    /// Returns `None` if a value is impossible for its column, so that no row matches.
    pub(super) fn of(query: &ListQuery) -> Option<Self> {
        let mut asked = Self { sql: String::new(), values: Vec::new() };
        let mut demands = Vec::new();
        let way = Way::of(query);
        // The values for which the access path itself selects.
        let mut apart = None;
        for filter in &query.filters {
            let values = asked.bound_all(filter)?;
            match (&way, &apart) {
                (Way::Apart { column, .. }, None) if filter.column == *column => apart = Some(values),
                (Way::Table | Way::Index(_) | Way::Merged { .. } | Way::Apart { .. }, _) => {
                    demands.push(demanded(query.view, filter.column, &values))
                }
            }
        }
        // The rows are between the two. There is one bound on each side, because with two, SQLite starts at
        // one and skips rows up to the other.
        let (mut behind, mut before) = (Vec::new(), Vec::new());
        if let Some(since) = query.since {
            // The span of the first possible row, then the rows themselves.
            let since = asked.bound(since.micros());
            behind.push(format!("(SELECT min(span) * {SPAN} - 1 FROM spans WHERE latest >= {since})"));
            demands.push(format!("began_at >= {since}"));
        }
        if let Some(until) = query.until {
            let until = asked.bound(until.micros());
            before.push(format!("(SELECT (max(span) + 1) * {SPAN} FROM spans WHERE earliest < {until})"));
            demands.push(format!("began_at < {until}"));
        }
        let (order, side) = match query.order {
            Order::OldestFirst => ("ASC", &mut behind),
            Order::NewestFirst => ("DESC", &mut before),
        };
        side.extend(query.after.map(|after| asked.bound(place(after))));
        demands.extend(nearest("max", &behind).map(|bound| format!("position > {bound}")));
        demands.extend(nearest("min", &before).map(|bound| format!("position < {bound}")));
        let limit = asked.bound(query.limit.min(LIST_ROWS_MAX) as i64);
        let demands = if demands.is_empty() { "true".to_owned() } else { demands.join(" AND ") };
        let from = |index: &str| format!("SELECT position, key, document FROM {}{index} WHERE {demands}", query.view);
        let rows = match way {
            Way::Table => from(""),
            Way::Index(index) => from(&format!(" INDEXED BY {index}")),
            Way::Merged { index, column, values } => {
                let rows = from(&format!(" INDEXED BY {index}"));
                let each = values.iter().map(|value| format!("{rows} AND \"{column}\" = '{value}'"));
                each.collect::<Vec<_>>().join(" UNION ALL ")
            }
            Way::Apart { states, .. } if states.is_empty() => return None,
            Way::Apart { column, table, states } => {
                let rows =
                    format!("SELECT position, key, document FROM {table} CROSS JOIN {} USING (position) WHERE {demands}", query.view);
                let mut each = Vec::new();
                for name in apart.iter().flatten() {
                    each.extend(states.iter().map(|state| format!("{rows} AND {column} = {name} AND state = '{state}'")));
                }
                // An inquiry whose assignee matches both by name and by role is listed once.
                each.join(" UNION ")
            }
        };
        asked.sql = format!("{rows} ORDER BY position {order} LIMIT {limit}");
        Some(asked)
    }

    /// Binds the values of a filter, as their column stores them. Returns `None` if all of them are
    /// impossible for the column.
    fn bound_all(&mut self, filter: &Filter) -> Option<Vec<String>> {
        let values = filter.any_of.iter().filter_map(|value| filter.column.value(value));
        let bound: Vec<String> = values
            .map(|value| {
                let bound = self.bound(match value {
                    Term::Id(id) => Value::Blob(id.as_bytes().to_vec()),
                    text @ (Term::Text(_) | Term::Texts(_)) => Value::Text(text.to_string()),
                });
                match form(filter.column) {
                    Form::Number | Form::Apart => format!("(SELECT number FROM names WHERE name = {bound})"),
                    Form::AsItIs => bound,
                }
            })
            .collect();
        (!bound.is_empty()).then_some(bound)
    }

    /// Binds a value, and returns its placeholder, which may be used repeatedly.
    fn bound(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len())
    }
}

fn demanded(view: ViewName, column: Column, values: &[String]) -> String {
    let is_one = match values {
        [one] => format!("= {one}"),
        several => format!("IN ({})", several.join(", ")),
    };
    match apart::of_view(view).filter(|(apart, _)| *apart == column) {
        None => format!("\"{column}\" {is_one}"),
        Some((_, table)) => {
            format!("EXISTS (SELECT 1 FROM {table} AS asked WHERE asked.position = {view}.position AND asked.{column} {is_one})")
        }
    }
}

/// How the rows of a list are found. SQLite has no statistics about the values, so the choice is made here.
#[derive(Debug)]
enum Way {
    /// In the order of the table.
    Table,
    /// By an index whose columns all have filters, so that it returns rows in the order of positions.
    Index(&'static str),
    /// By an index whose last column has no filter and a closed list of values: for each of them, merged.
    Merged { index: &'static str, column: Column, values: Vec<&'static str> },
    /// By a column with several values per row, in each of these states, merged.
    Apart { column: Column, table: &'static str, states: Vec<&'static str> },
}

impl Way {
    fn of(query: &ListQuery) -> Self {
        let has = |column| query.filters.iter().any(|filter| filter.column == column);
        let ending = |index, column, values: fn() -> Vec<&'static str>| match has(column) {
            true => Self::Index(index),
            false => Self::Merged { index, column, values: values() },
        };
        let apart = |states| apart::of_view(query.view).map_or(Self::Table, |(column, table)| Self::Apart { column, table, states });
        // A chain of causes and an event have few rows, whatever the other filters are.
        match query.view {
            ViewName::Events if has(Column::Correlation) => Self::Index("events_by_correlation"),
            ViewName::Events if has(Column::Trigger) && has(Column::Source) => Self::Index("events_by_trigger_and_source"),
            ViewName::Events if has(Column::Trigger) => Self::Index("events_by_trigger"),
            ViewName::Events if has(Column::Source) => Self::Index("events_by_source"),
            ViewName::Enforcements if has(Column::Event) => Self::Index("enforcements_by_event"),
            ViewName::Enforcements if has(Column::Rule) => ending("enforcements_by_rule", Column::Outcome, outcomes),
            ViewName::Enforcements if has(Column::Outcome) => Self::Index("enforcements_by_outcome"),
            // An execution has few reruns.
            ViewName::Executions if has(Column::RerunOf) => Self::Index("executions_by_rerun_of"),
            ViewName::Executions if has(Column::Parent) && has(Column::Rule) => Self::Index("executions_by_parent_and_rule"),
            ViewName::Executions if has(Column::Parent) && has(Column::Action) => {
                ending("executions_by_parent_and_action", Column::Status, statuses)
            }
            ViewName::Executions if has(Column::Parent) => ending("executions_by_parent", Column::Status, statuses),
            ViewName::Executions if has(Column::Correlation) => Self::Index("executions_by_correlation"),
            // A label has fewer rows than an action that runs every day; the other filters are checked row by
            // row.
            ViewName::Executions if has(Column::Label) => apart(wanted(query, statuses())),
            ViewName::Executions if has(Column::Action) && has(Column::Rule) => {
                ending("executions_by_action_and_rule", Column::Status, statuses)
            }
            ViewName::Executions if has(Column::Rule) => ending("executions_by_rule", Column::Status, statuses),
            ViewName::Executions if has(Column::Action) => ending("executions_by_action", Column::Status, statuses),
            ViewName::Executions if has(Column::Status) => Self::Index("executions_by_status"),
            ViewName::Artifacts if has(Column::Execution) => Self::Index("artifacts_by_execution"),
            // An execution opens one inquiry.
            ViewName::Inquiries if has(Column::Execution) => Self::Index("inquiries_by_execution"),
            ViewName::Inquiries if has(Column::Parent) => ending("inquiries_by_parent", Column::Status, inquiry_statuses),
            ViewName::Inquiries if has(Column::Assignee) => apart(wanted(query, inquiry_statuses())),
            ViewName::Inquiries if has(Column::Status) => Self::Index("inquiries_by_status"),
            ViewName::Rules if has(Column::Rule) => Self::Index("rules_by_rule"),
            ViewName::Schedules if has(Column::Rule) => Self::Index("schedules_by_rule"),
            ViewName::Schedules if has(Column::Sensor) => Self::Index("schedules_by_sensor"),
            ViewName::Locks if has(Column::Rule) => Self::Index("locks_by_rule"),
            ViewName::Locks if has(Column::Action) => Self::Index("locks_by_action"),
            ViewName::DeadLetters if has(Column::Sensor) => ending("dead_letters_by_sensor", Column::Status, letter_statuses),
            ViewName::DeadLetters if has(Column::Status) => Self::Index("dead_letters_by_status"),
            // No index fits; the other views have few rows.
            _ => Self::Table,
        }
    }
}

/// Returns the nearest of several bounds; `of` is `max` or `min`. With a single argument these SQL functions
/// would be aggregates.
fn nearest(of: &str, bounds: &[String]) -> Option<String> {
    match bounds {
        [] => None,
        [one] => Some(one.clone()),
        [_, _, ..] => Some(format!("{of}({})", bounds.join(", "))),
    }
}

fn statuses() -> Vec<&'static str> {
    Status::ALL.map(Status::as_str).to_vec()
}

fn letter_statuses() -> Vec<&'static str> {
    LetterStatus::ALL.map(LetterStatus::as_str).to_vec()
}

fn inquiry_statuses() -> Vec<&'static str> {
    InquiryStatus::ALL.map(InquiryStatus::as_str).to_vec()
}

/// Returns the statuses that match the query.
fn wanted(query: &ListQuery, all: Vec<&'static str>) -> Vec<&'static str> {
    let is_wanted = |status: &&str| {
        let mut of_status = query.filters.iter().filter(|filter| filter.column == Column::Status);
        of_status.all(|filter| filter.any_of.iter().any(|wanted| wanted == status))
    };
    all.into_iter().filter(is_wanted).collect()
}

fn outcomes() -> Vec<&'static str> {
    OutcomeName::ALL.map(OutcomeName::as_str).to_vec()
}
