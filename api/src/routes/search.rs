//! Search: things by the beginning of their id, a part of their name, a label, or the title of an inquiry, among
//! those that the caller may see.

use std::time::Instant;

use axum::http::Method;
use ensue_engine::access::limit::Target;
use ensue_engine::access::permission::Permission;
use ensue_engine::executions::labels;
use ensue_engine::ids::Id;
use ensue_engine::time::Timestamp;
use ensue_views::store::{LIST_ROWS_MAX, ListQuery};
use ensue_views::{Column, DeadLetter, Enforcement, Event, Execution, Inquiry, Row, View};

use super::Routes;
use crate::auth::{KnownCaller, Proof as _};
use crate::call::Call;
use crate::operation::Operation;
use crate::ports::Ports;
use crate::problem::{Outcome, Problem};
use crate::query::{ParameterRefusal, Query, QueryValue, bad};
use crate::respond;
use crate::wire::search::{WireFound, WireFoundItem, WireFoundKind};
use serde_json::{Value, json};

/// The minimum length of what is searched for.
pub(crate) const SEARCHED_CHARS_MIN: usize = 2;
/// The maximum length of what is searched for.
pub(crate) const SEARCHED_CHARS_MAX: usize = 256;
/// The maximum number of found things of one kind.
const FOUND_MAX: usize = 10;
/// The minimum number of digits of the beginning of an id.
const ID_DIGITS_MIN: usize = 8;

/// The parameter of a search.
#[derive(Query)]
struct SearchQuery {
    /// What is searched for: the beginning of an id, a part of a name, a label such as `site=eu`, or a part of the title of an
    /// inquiry. Required.
    #[query(required = describe_length())]
    q: SearchText,
}

/// The text that is searched for.
struct SearchText(String);

impl QueryValue for SearchText {
    fn schema() -> Value {
        json!({ "type": "string", "minLength": SEARCHED_CHARS_MIN, "maxLength": SEARCHED_CHARS_MAX, "pattern": "^[^\\u0000]*$" })
    }

    fn parse(name: &'static str, text: &str) -> Result<Self, ParameterRefusal> {
        let is_long_enough = (SEARCHED_CHARS_MIN..=SEARCHED_CHARS_MAX).contains(&text.chars().count());
        if is_long_enough { Ok(Self(text.to_owned())) } else { Err(bad(name, describe_length())) }
    }
}

fn describe_length() -> String {
    format!("must have {SEARCHED_CHARS_MIN} to {SEARCHED_CHARS_MAX} characters")
}

/// Declares the route of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.for_any_caller(
        Method::GET,
        "/search",
        get,
        Operation::shows::<WireFound>("search_get", "Finds things by a part of their id or name, by a label, or by a title")
            .with_query(&[SearchQuery::PARAMETERS])
            .sees_views(),
    );
}

/// Searches.
pub(super) async fn get(known: KnownCaller, call: Call) -> Outcome {
    let began = Instant::now();
    let SearchQuery { q: SearchText(given) } = call.parameters()?;
    let given = given.trim().to_owned();
    if given.is_empty() {
        return respond::json(&WireFound { items: Vec::new(), took_ms: 0.0 });
    }
    let items = call.api().threads.blocking(move |ports| Searcher { ports, known: &known, wanted: given.to_lowercase(), given }.search());
    respond::json(&WireFound { items: items.await??, took_ms: began.elapsed().as_secs_f64() * 1e3 })
}

/// Searches among what a caller sees.
struct Searcher<'a> {
    ports: &'a Ports,
    known: &'a KnownCaller,
    given: String,
    /// The same in lower case.
    wanted: String,
}

/// A kind of thing that belongs to a pack: its kind, the permission, and the names with descriptions.
type NamedKind = (WireFoundKind, Permission, Vec<(String, String)>);

impl Searcher<'_> {
    /// Blocking.
    fn search(&self) -> Result<Vec<WireFoundItem>, Problem> {
        let mut found = self.by_id()?;
        found.extend(self.by_name());
        found.extend(self.by_label()?);
        found.extend(self.by_title()?);
        Ok(found)
    }

    fn by_id(&self) -> Result<Vec<WireFoundItem>, Problem> {
        let Some(between) = ids_beginning_with(&self.wanted) else { return Ok(Vec::new()) };
        let with_ids = |query: ListQuery| ListQuery { between: Some(between), ..query };
        let mut found = self.rows(Permission::ExecutionsRead, with_ids, execution)?;
        found.extend(self.rows(Permission::EventsRead, with_ids, event)?);
        found.extend(self.rows(Permission::EnforcementsRead, with_ids, enforcement)?);
        found.extend(self.rows(Permission::InquiriesRead, with_ids, inquiry)?);
        found.extend(self.rows(Permission::DeadLettersRead, with_ids, dead_letter)?);
        Ok(found)
    }

    fn by_label(&self) -> Result<Vec<WireFoundItem>, Problem> {
        let Ok((name, value)) = labels::parse(&self.given) else { return Ok(Vec::new()) };
        self.rows(Permission::ExecutionsRead, |query| query.with(Column::Label, labels::render_label(&name, &value)), execution)
    }

    /// Looks at the newest inquiries only.
    fn by_title(&self) -> Result<Vec<WireFoundItem>, Problem> {
        let Some(reach) = self.known.rows(Permission::InquiriesRead) else { return Ok(Vec::new()) };
        let newest = self.ports.views.list(&ListQuery { limit: LIST_ROWS_MAX, ..ListQuery::newest(Inquiry::NAME, reach) })?;
        let newest: Vec<Inquiry> = newest.iter().map(Row::read).collect::<Result<_, _>>()?;
        let fitting = newest.iter().filter(|inquiry| inquiry.title.to_lowercase().contains(&self.wanted));
        Ok(fitting.take(FOUND_MAX).map(inquiry).collect())
    }

    /// Reads the newest rows of a query that a permission reaches.
    fn rows<V: View>(
        &self,
        permission: Permission,
        query: impl FnOnce(ListQuery) -> ListQuery,
        shown: fn(&V) -> WireFoundItem,
    ) -> Result<Vec<WireFoundItem>, Problem> {
        let Some(reach) = self.known.rows(permission) else { return Ok(Vec::new()) };
        let query = query(ListQuery { limit: FOUND_MAX, ..ListQuery::newest(V::NAME, reach) });
        self.ports.views.list(&query)?.iter().map(|row| Ok(shown(&row.read()?))).collect()
    }

    /// Searches the installed catalog.
    fn by_name(&self) -> Vec<WireFoundItem> {
        let catalog = self.ports.installed.current();
        let rights = &self.known.holder().rights;
        let of_packs: [NamedKind; 5] = [
            (
                WireFoundKind::Pack,
                Permission::PacksRead,
                catalog.packs().iter().map(|(name, pack)| (name.to_string(), pack.description.clone())).collect(),
            ),
            (
                WireFoundKind::Rule,
                Permission::RulesRead,
                catalog.rules().iter().map(|(name, rule)| (name.to_string(), rule.description.clone())).collect(),
            ),
            (
                WireFoundKind::Action,
                Permission::ActionsRead,
                catalog.actions().iter().map(|(name, action)| (name.to_string(), action.description.clone())).collect(),
            ),
            (
                WireFoundKind::Trigger,
                Permission::TriggersRead,
                catalog.triggers().iter().map(|(name, trigger)| (name.to_string(), trigger.description.clone())).collect(),
            ),
            (
                WireFoundKind::Sensor,
                Permission::SensorsRead,
                catalog.sensors().iter().map(|(name, sensor)| (name.to_string(), sensor.description.clone())).collect(),
            ),
        ];
        let mut found = Vec::new();
        for (kind, permission, names) in of_packs {
            let is_seen = |name: &str| match (kind, permission) {
                (WireFoundKind::Pack, _) => rights.include(permission, &Target::of_pack(name)),
                (WireFoundKind::Action, _) => rights.include(permission, &Target { action: Some(name), ..Target::in_pack_of(name) }),
                (_, _) => rights.include(permission, &Target::in_pack_of(name)),
            };
            let fitting = names.into_iter().filter(|(name, _)| name.to_lowercase().contains(&self.wanted) && is_seen(name));
            found.extend(fitting.take(FOUND_MAX).map(|(id, title)| WireFoundItem { kind, id, title, status: None, at: None }));
        }
        found
    }
}

/// Returns the first and the last id that begin with these hexadecimal digits, with or without hyphens.
fn ids_beginning_with(text: &str) -> Option<(Id, Id)> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
    if !(ID_DIGITS_MIN..=32).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let filled = |with: u8| {
        let digits: Vec<u8> = digits.iter().copied().chain(std::iter::repeat(with)).take(32).collect();
        u128::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok().map(|number| Id::from_bytes(number.to_be_bytes()))
    };
    Some((filled(b'0')?, filled(b'f')?))
}

fn item(kind: WireFoundKind, (id, title): (Id, String), status: Option<&'static str>, at: Timestamp) -> WireFoundItem {
    WireFoundItem { kind, id: id.to_string(), title, status, at: Some(at) }
}

fn execution(found: &Execution) -> WireFoundItem {
    item(WireFoundKind::Execution, (found.id.0, found.action.to_string()), Some(found.status.as_str()), found.requested_at)
}

fn event(found: &Event) -> WireFoundItem {
    item(WireFoundKind::Event, (found.id.0, found.trigger.to_string()), None, found.received_at)
}

fn enforcement(found: &Enforcement) -> WireFoundItem {
    item(WireFoundKind::Enforcement, (found.id.0, found.rule.to_string()), Some(found.outcome.as_str()), found.time)
}

fn inquiry(found: &Inquiry) -> WireFoundItem {
    item(WireFoundKind::Inquiry, (found.id.0, found.title.clone()), Some(found.status.as_str()), found.opened_at)
}

fn dead_letter(found: &DeadLetter) -> WireFoundItem {
    let at = found.began_at();
    item(WireFoundKind::DeadLetter, (found.id, found.reason.clone()), Some(found.status.as_str()), at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginning_of_an_id_has_at_least_eight_digits() {
        let (first, last) = ids_beginning_with("019d3450-be07").unwrap();
        assert_eq!(first.to_string(), "019d3450-be07-0000-0000-000000000000");
        assert_eq!(last.to_string(), "019d3450-be07-ffff-ffff-ffffffffffff");
        let whole = "019d3450-be07-8d3f-a37a-95b42c30d4a4";
        assert_eq!(ids_beginning_with(whole).unwrap().0.to_string(), whole);
        for text in ["019d345", "019d3450-x", "release", "019d3450-be07-8d3f-a37a-95b42c30d4a4a", "ä19d34500"] {
            assert!(ids_beginning_with(text).is_none(), "{text}");
        }
    }
}
