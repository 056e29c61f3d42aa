//! Lists in SQL: selects the index that finds the rows for a set of filters in the order of their positions.
//!
//! SQL text is built from closed lists of names only; values from callers are bound.

use std::collections::BTreeSet;

use ensue_engine::access::limit::Pattern;
use ensue_engine::fact::Fact;
use ensue_views::dead_letters::LetterStatus;
use ensue_views::enforcements::OutcomeName;
use ensue_views::executions::Status;
use ensue_views::inquiries::InquiryStatus;
use ensue_views::store::{COUNTED_ROWS_MAX, CountQuery, Filter, KEYS_BETWEEN_MAX, LIST_ROWS_MAX, Order, WALKED_ROWS_MAX};
use ensue_views::{Column, ListQuery, Term, ViewName};
use rusqlite::types::Value;

use super::groups::GROUPS;
use super::scopes::{AdmittedScopes, Scopes};
use super::{ColumnForm, SPAN, form, place, side_tables};

/// A query in SQL, with the values to bind.
#[derive(Debug)]
pub(super) struct SqlQuery {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
    /// A query for the last row that this one may look at, if it looks at a limited number of rows.
    pub(super) stop: Option<Box<SqlQuery>>,
}

impl SqlQuery {
    /// Returns the rows of a list. Returns `None` if a value is impossible for its column, so that no row matches.
    #[cfg(test)]
    pub(super) fn of(query: &ListQuery) -> Option<Self> {
        Self::within(query, &AdmittedScopes::All)
    }

    /// Returns the rows of a list that are admitted. Returns `None` if no row can match.
    pub(super) fn within(query: &ListQuery, admitted: &AdmittedScopes) -> Option<Self> {
        let order = match query.order {
            Order::OldestFirst => "ASC",
            Order::NewestFirst => "DESC",
        };
        let (plan, is_tested) = QueryPlan::of(query, admitted)?;
        if let (AdmittedScopes::Only(scopes), true) = (admitted, is_tested) {
            let mut stop = Self::rows(query, "position", plan.clone())?;
            // Without the scopes, an index has all that is read. The rows themselves are on a page each.
            stop.sql = format!("SELECT position FROM ({} ORDER BY position {order} LIMIT 1 OFFSET {})", stop.sql, WALKED_ROWS_MAX - 1);
            let mut asked = Self::rows(query, "position, scope, root_action", plan)?;
            asked.stop = Some(Box::new(stop));
            let walked = format!("{} ORDER BY position {order}", asked.sql);
            let test = asked.scope_condition(scopes, "walked.");
            let limit = asked.bound(query.limit.min(LIST_ROWS_MAX) as i64);
            // The walk is in the right order already, and SQLite reads it row by row.
            asked.sql = format!(
                "SELECT found.position, found.key, found.document FROM ({walked} LIMIT {WALKED_ROWS_MAX}) AS walked \
                 CROSS JOIN {} AS found ON found.position = walked.position WHERE {test} LIMIT {limit}",
                query.view
            );
            return Some(asked);
        }
        let mut asked = Self::rows(query, "position, key, document", plan)?;
        let limit = asked.bound(query.limit.min(LIST_ROWS_MAX) as i64);
        asked.sql = format!("{} ORDER BY position {order} LIMIT {limit}", asked.sql);
        Some(asked)
    }

    /// Returns the test whether the scope of a row is admitted; the columns of the row have this prefix.
    fn scope_condition(&mut self, scopes: &Scopes, row: &str) -> String {
        let mut any: Vec<String> = Vec::new();
        for (actions, numbers) in &scopes.groups {
            let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            let list = self.bound(format!("[{}]", numbers.join(",")));
            let mut all = vec![format!("{row}scope IN (SELECT value FROM json_each({list}))")];
            all.extend(actions.iter().map(|patterns| {
                let names: Vec<String> = patterns.iter().map(|pattern| self.name_condition(pattern)).collect();
                format!("{row}root_action IN (SELECT number FROM names WHERE {})", names.join(" OR "))
            }));
            any.push(format!("({})", all.join(" AND ")));
        }
        if !scopes.asked.is_empty() {
            let names: Vec<String> = scopes.asked.iter().map(|name| self.bound(name.clone())).collect();
            let names = format!("SELECT number FROM names WHERE name IN ({})", names.join(", "));
            any.push(format!(
                "EXISTS (SELECT 1 FROM inquiries_by_assignee AS asked WHERE asked.position = {row}position AND asked.assignee IN ({names}))"
            ));
        }
        if any.is_empty() { "false".to_owned() } else { format!("({})", any.join(" OR ")) }
    }

    /// Returns the condition that a name matches a pattern.
    fn name_condition(&mut self, pattern: &Pattern) -> String {
        let text = pattern.to_string();
        match text.strip_suffix('*') {
            Some("") => "true".to_owned(),
            Some(beginning) => {
                let (from, to) = (self.bound(beginning.to_owned()), self.bound(format!("{beginning}{}", char::MAX)));
                format!("(name >= {from} AND name <= {to})")
            }
            None => format!("name = {}", self.bound(text)),
        }
    }

    /// Returns the number of rows in each group, with the values of the columns before it. One row more than is
    /// counted shows that there are more.
    pub(super) fn to_count(query: &CountQuery, admitted: &AdmittedScopes) -> Option<Self> {
        if query.is_of_groups() {
            return Self::to_add_up(query, admitted);
        }
        let columns: Vec<String> = query.by.iter().map(|column| format!(", \"{column}\"")).collect();
        let rows = ListQuery { after: None, ..query.rows.clone() };
        let (plan, is_tested) = QueryPlan::of(&rows, admitted)?;
        let plan =
            QueryPlan { test: if let AdmittedScopes::Only(scopes) = admitted { Some(scopes).filter(|_| is_tested) } else { None }, ..plan };
        let mut asked = Self::rows(&rows, &format!("position{}", columns.concat()), plan)?;
        let limit = asked.bound(COUNTED_ROWS_MAX as i64 + 1);
        asked.sql = group_query(&query.by, "count(*)", &format!("(SELECT * FROM ({}) LIMIT {limit})", asked.sql));
        Some(asked)
    }

    /// Returns the number of executions in each group, from the numbers that are kept.
    fn to_add_up(query: &CountQuery, admitted: &AdmittedScopes) -> Option<Self> {
        let mut asked = Self { sql: String::new(), values: Vec::new(), stop: None };
        let mut demands = vec!["true".to_owned()];
        if let AdmittedScopes::Only(scopes) = admitted {
            demands.push(asked.scope_condition(scopes, ""));
        }
        for filter in &query.rows.filters {
            let values = asked.bound_all(filter)?;
            demands.push(filter_condition(query.rows.view, filter.column, &values));
        }
        asked.sql = group_query(&query.by, "ifnull(sum(rows), 0)", &format!("{GROUPS} WHERE {}", demands.join(" AND ")));
        Some(asked)
    }

    /// Selects the rows of a query, with these columns, in no particular order.
    fn rows(query: &ListQuery, selected: &str, QueryPlan { way, scopes, test }: QueryPlan<'_>) -> Option<Self> {
        let mut asked = Self { sql: String::new(), values: Vec::new(), stop: None };
        let mut demands: Vec<String> = test.map(|scopes| asked.scope_condition(scopes, "")).into_iter().collect();
        if let Some(keys) = &query.keys {
            let keys: Vec<Term> = keys.iter().filter_map(|key| query.view.key(key)).collect();
            let bound: Vec<String> = keys.iter().map(|key| asked.bound(stored_value(key))).collect();
            if bound.is_empty() {
                return None;
            }
            demands.push(format!("key IN ({})", bound.join(", ")));
        }
        if let Some((first, last)) = query.between {
            let (first, last) = (asked.bound(stored_value(&first.into())), asked.bound(stored_value(&last.into())));
            // The index of the keys alone answers the inner query.
            demands.push(format!(
                "key IN (SELECT key FROM {} WHERE key BETWEEN {first} AND {last} ORDER BY key LIMIT {KEYS_BETWEEN_MAX})",
                query.view
            ));
        }
        // The values for which the access path itself selects.
        let mut apart = None;
        let mut branches = Branches::of(&way);
        if let Some(scopes) = scopes {
            let scopes: Vec<String> = scopes.iter().map(|scope| asked.bound(*scope)).collect();
            branches.split_by("scope", &scopes);
        }
        for filter in &query.filters {
            let values = asked.bound_all(filter)?;
            match (&way, &apart) {
                (AccessPath::Apart { column, .. }, None) if filter.column == *column => apart = Some(values),
                (AccessPath::Index { columns, .. } | AccessPath::Scopes { columns, .. }, _)
                    if columns.contains(&filter.column) && branches.can_have(values.len()) =>
                {
                    branches.split(filter.column, &values);
                }
                (AccessPath::Table | AccessPath::Index { .. } | AccessPath::Scopes { .. } | AccessPath::Apart { .. }, _) => {
                    demands.push(filter_condition(query.view, filter.column, &values))
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
        let side = match query.order {
            Order::OldestFirst => &mut behind,
            Order::NewestFirst => &mut before,
        };
        side.extend(query.after.map(|after| asked.bound(place(after))));
        demands.extend(nearest("max", &behind).map(|bound| format!("position > {bound}")));
        demands.extend(nearest("min", &before).map(|bound| format!("position < {bound}")));
        let demands = if demands.is_empty() { "true".to_owned() } else { demands.join(" AND ") };
        let from = |index: &str| format!("SELECT {selected} FROM {}{index} WHERE {demands}", query.view);
        let rows = match way {
            AccessPath::Table => from(""),
            AccessPath::Index { index, .. } | AccessPath::Scopes { index, .. } => {
                let rows = from(&format!(" INDEXED BY {index}"));
                branches.each.iter().map(|branch| format!("{rows}{branch}")).collect::<Vec<_>>().join(" UNION ALL ")
            }
            AccessPath::Apart { states, .. } if states.is_empty() => return None,
            AccessPath::Apart { column, table, states } => {
                let rows = format!("SELECT {selected} FROM {table} CROSS JOIN {} USING (position) WHERE {demands}", query.view);
                let mut each = Vec::new();
                for name in apart.iter().flatten() {
                    each.extend(states.iter().map(|state| format!("{rows} AND {column} = {name} AND state = '{state}'")));
                }
                // An inquiry whose assignee matches both by name and by role is listed once.
                each.join(" UNION ")
            }
        };
        asked.sql = rows;
        Some(asked)
    }

    /// Binds the values of a filter, as their column stores them. Returns `None` if all of them are
    /// impossible for the column.
    fn bound_all(&mut self, filter: &Filter) -> Option<Vec<String>> {
        // A value that is given twice must not find its rows twice.
        let values: BTreeSet<Term> = filter.any_of.iter().filter_map(|value| filter.column.value(value)).collect();
        let bound: Vec<String> = values
            .into_iter()
            .map(|value| {
                let bound = self.bound(stored_value(&value));
                match form(filter.column) {
                    ColumnForm::Number | ColumnForm::Apart => format!("(SELECT number FROM names WHERE name = {bound})"),
                    ColumnForm::AsItIs => bound,
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

/// Returns a value as its column stores it.
fn stored_value(value: &Term) -> Value {
    match value {
        Term::Id(id) => Value::Blob(id.as_bytes().to_vec()),
        text @ (Term::Text(_) | Term::Texts(_)) => Value::Text(text.to_string()),
    }
}

/// The maximum number of branches of a query. A filter that would make more is checked by `IN`, so that the
/// rows that it finds are sorted.
const BRANCHES_MAX: usize = 64;

/// The conditions of each branch of a query: an index returns rows in the order of their positions only for one
/// value of each of its columns, so each combination of values is a branch, and the branches are merged.
struct Branches {
    each: Vec<String>,
    max: usize,
}

impl Branches {
    fn of(way: &AccessPath) -> Self {
        let max = if let AccessPath::Scopes { .. } = way { ARMS_MAX } else { BRANCHES_MAX };
        let mut branches = Self { each: vec![String::new()], max };
        if let AccessPath::Index { ending: Some((column, values)), .. } = way {
            let values: Vec<String> = values.iter().map(|value| format!("'{value}'")).collect();
            branches.split(*column, &values);
        }
        branches
    }

    fn can_have(&self, values: usize) -> bool {
        self.each.len() * values <= self.max
    }

    fn split(&mut self, column: Column, values: &[String]) {
        self.split_by(column.as_str(), values);
    }

    fn split_by(&mut self, column: &str, values: &[String]) {
        let each = self.each.iter().flat_map(|branch| values.iter().map(move |value| format!("{branch} AND \"{column}\" = {value}")));
        self.each = each.collect();
    }
}

/// Returns a query for a sum over rows in groups, with the values that make each group before it.
fn group_query(by: &[Column], sum: &str, rows: &str) -> String {
    let shown = by.iter().map(|column| match form(*column) {
        ColumnForm::Number => format!("(SELECT name FROM names WHERE number = \"{column}\"), "),
        ColumnForm::AsItIs | ColumnForm::Apart => format!("\"{column}\", "),
    });
    let groups: Vec<String> = by.iter().map(|column| format!("\"{column}\"")).collect();
    let by = if groups.is_empty() { String::new() } else { format!(" GROUP BY {}", groups.join(", ")) };
    format!("SELECT {}{sum} FROM {rows}{by}", shown.collect::<String>())
}

fn filter_condition(view: ViewName, column: Column, values: &[String]) -> String {
    let is_one = match values {
        [one] => format!("= {one}"),
        several => format!("IN ({})", several.join(", ")),
    };
    match side_tables::of_view(view).filter(|(apart, _)| *apart == column) {
        None => format!("\"{column}\" {is_one}"),
        Some((_, table)) => {
            format!("EXISTS (SELECT 1 FROM {table} AS asked WHERE asked.position = {view}.position AND asked.{column} {is_one})")
        }
    }
}

/// The maximum number of branches of a query for the rows of some scopes. SQLite accepts 500.
const ARMS_MAX: usize = 400;

/// How the rows are found that a caller may see.
#[derive(Clone)]
struct QueryPlan<'a> {
    way: AccessPath,
    /// The scopes, each of which is a branch.
    scopes: Option<Vec<i64>>,
    /// The scopes by which each row is tested.
    test: Option<&'a Scopes>,
}

impl<'a> QueryPlan<'a> {
    /// Chooses a plan, and returns with it whether each row that it finds must be tested. Returns `None` if no row is
    /// admitted.
    fn of(query: &ListQuery, admitted: &'a AdmittedScopes) -> Option<(Self, bool)> {
        let AdmittedScopes::Only(scopes) = admitted else {
            return Some((Self { way: AccessPath::of(query), scopes: None, test: None }, false));
        };
        if scopes.groups.is_empty() && scopes.asked.is_empty() {
            return None;
        }
        let (numbers, is_few) = (scopes.numbers(), scopes.rows <= WALKED_ROWS_MAX as u64);
        let of_status = query.filters.iter().filter(|filter| filter.column == Column::Status);
        let statuses: usize = of_status.clone().map(|filter| filter.any_of.len()).product();
        let has_status = query.view == ViewName::Executions && of_status.clone().count() == 1;
        let arms = numbers.len().saturating_mul(if has_status { statuses } else { 1 });
        let is_by_scope = query.filters.iter().all(|filter| has_status && filter.column == Column::Status);
        if query.keys.is_some()
            || query.between.is_some()
            || !scopes.asked.is_empty()
            || numbers.is_empty()
            || arms > ARMS_MAX
            || !(is_few || is_by_scope)
        {
            return Some((Self { way: AccessPath::of(query), scopes: None, test: None }, true));
        }
        let way = AccessPath::of_scopes(query.view, has_status)?;
        let is_tested = scopes.demand_actions();
        Some((Self { way, scopes: Some(numbers), test: None }, is_tested))
    }
}

/// How the rows of a list are found. SQLite has no statistics about the values, so the choice is made here.
#[derive(Clone, Debug)]
enum AccessPath {
    /// In the order of the table, or by their keys.
    Table,
    /// By an index with these columns. If the last one has no filter, it has a closed list of values, which are
    /// merged.
    Index { index: &'static str, columns: &'static [Column], ending: Option<(Column, Vec<&'static str>)> },
    /// By the scope of the rows, for each scope, merged; and by these columns.
    Scopes { index: &'static str, columns: &'static [Column] },
    /// By a column with several values per row, in each of these states, merged.
    Apart { column: Column, table: &'static str, states: Vec<&'static str> },
}

impl AccessPath {
    /// Returns the way by scopes; `None` if rows of the view have none.
    fn of_scopes(view: ViewName, has_status: bool) -> Option<Self> {
        Some(match view {
            ViewName::Executions if has_status => Self::Scopes { index: "executions_by_scope_and_status", columns: &[Column::Status] },
            ViewName::Executions => Self::Scopes { index: "executions_by_scope", columns: &[] },
            ViewName::Events => Self::Scopes { index: "events_by_scope", columns: &[] },
            ViewName::Enforcements => Self::Scopes { index: "enforcements_by_scope", columns: &[] },
            ViewName::Inquiries => Self::Scopes { index: "inquiries_by_scope", columns: &[] },
            ViewName::DeadLetters => Self::Scopes { index: "dead_letters_by_scope", columns: &[] },
            _ => return None,
        })
    }

    fn of(query: &ListQuery) -> Self {
        use Column::{
            Action, Actor, Assignee, Correlation, Event, Execution, Label, Of, Outcome, Parent, RerunOf, Rule, Sensor, Source, Status,
            Trigger, What,
        };
        if query.keys.is_some() || query.between.is_some() {
            return Self::Table;
        }
        let has = |column| query.filters.iter().any(|filter| filter.column == column);
        let by = |index, columns| Self::Index { index, columns, ending: None };
        let ending = |index, columns: &'static [Column], values: fn() -> Vec<&'static str>| {
            let ending = columns.last().filter(|last| !has(**last)).map(|last| (*last, values()));
            Self::Index { index, columns, ending }
        };
        let apart = |states| side_tables::of_view(query.view).map_or(Self::Table, |(column, table)| Self::Apart { column, table, states });
        // A chain of causes and an event have few rows, whatever the other filters are.
        match query.view {
            ViewName::Events if has(Correlation) => by("events_by_correlation", &[Correlation]),
            ViewName::Events if has(Trigger) && has(Source) => by("events_by_trigger_and_source", &[Trigger, Source]),
            ViewName::Events if has(Trigger) => by("events_by_trigger", &[Trigger]),
            ViewName::Events if has(Source) => by("events_by_source", &[Source]),
            ViewName::Enforcements if has(Event) => by("enforcements_by_event", &[Event]),
            ViewName::Enforcements if has(Rule) => ending("enforcements_by_rule", &[Rule, Outcome], outcomes),
            ViewName::Enforcements if has(Outcome) => by("enforcements_by_outcome", &[Outcome]),
            // An execution has few reruns.
            ViewName::Executions if has(RerunOf) => by("executions_by_rerun_of", &[RerunOf]),
            ViewName::Executions if has(Parent) && has(Rule) => by("executions_by_parent_and_rule", &[Parent, Rule]),
            ViewName::Executions if has(Parent) && has(Action) => {
                ending("executions_by_parent_and_action", &[Parent, Action, Status], statuses)
            }
            ViewName::Executions if has(Parent) => ending("executions_by_parent", &[Parent, Status], statuses),
            ViewName::Executions if has(Correlation) => by("executions_by_correlation", &[Correlation]),
            // A label has fewer rows than an action that runs every day; the other filters are checked row by
            // row.
            ViewName::Executions if has(Label) => apart(wanted_statuses(query, statuses())),
            ViewName::Executions if has(Action) && has(Rule) => ending("executions_by_action_and_rule", &[Action, Rule, Status], statuses),
            ViewName::Executions if has(Rule) => ending("executions_by_rule", &[Rule, Status], statuses),
            ViewName::Executions if has(Action) => ending("executions_by_action", &[Action, Status], statuses),
            ViewName::Executions if has(Status) => by("executions_by_status", &[Status]),
            ViewName::Artifacts if has(Execution) => by("artifacts_by_execution", &[Execution]),
            // An execution opens one inquiry.
            ViewName::Inquiries if has(Execution) => by("inquiries_by_execution", &[Execution]),
            ViewName::Inquiries if has(Parent) => ending("inquiries_by_parent", &[Parent, Status], inquiry_statuses),
            ViewName::Inquiries if has(Assignee) => apart(wanted_statuses(query, inquiry_statuses())),
            ViewName::Inquiries if has(Status) => by("inquiries_by_status", &[Status]),
            ViewName::Rules if has(Rule) => by("rules_by_rule", &[Rule]),
            ViewName::Schedules if has(Rule) => by("schedules_by_rule", &[Rule]),
            ViewName::Schedules if has(Sensor) => by("schedules_by_sensor", &[Sensor]),
            ViewName::Locks if has(Rule) => by("locks_by_rule", &[Rule]),
            ViewName::Locks if has(Action) => by("locks_by_action", &[Action]),
            // A thing has few rows.
            ViewName::Audit if has(Of) => by("audit_by_of", &[Of]),
            ViewName::Audit if has(Actor) => ending("audit_by_actor", &[Actor, What], kinds),
            ViewName::Audit if has(What) => by("audit_by_what", &[What]),
            ViewName::DeadLetters if has(Sensor) => ending("dead_letters_by_sensor", &[Sensor, Status], letter_statuses),
            ViewName::DeadLetters if has(Status) => by("dead_letters_by_status", &[Status]),
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
fn wanted_statuses(query: &ListQuery, all: Vec<&'static str>) -> Vec<&'static str> {
    let is_wanted = |status: &&str| {
        let mut of_status = query.filters.iter().filter(|filter| filter.column == Column::Status);
        of_status.all(|filter| filter.any_of.iter().any(|wanted| wanted == status))
    };
    all.into_iter().filter(is_wanted).collect()
}

fn kinds() -> Vec<&'static str> {
    Fact::KINDS.iter().map(|(kind, _)| *kind).collect()
}

fn outcomes() -> Vec<&'static str> {
    OutcomeName::ALL.map(OutcomeName::as_str).to_vec()
}
