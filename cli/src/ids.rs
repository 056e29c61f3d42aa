//! Ids as people type them: whole, or by a beginning or an end that only one thing has.
//!
//! The ids of one chain begin alike, so it is their ends that tell them apart: tables on a terminal show those.

use serde_json::Value;

use crate::client::Client;
use crate::id_ends::WHOLE;
use crate::pages::{self, PAGE_MAX};
use crate::report::{Exit, Failure};
use crate::table::text;

/// The least characters of a part of an id.
pub(crate) const PART_MIN: usize = 4;
/// The most things of a kind that an id is looked for among: the newest.
const SEARCHED_MAX: usize = 1_000;
/// The most candidates that an error names.
const CANDIDATES_MAX: usize = 10;

/// The list of executions, and what one is called.
pub(crate) const EXECUTION: Kind = Kind { path: "/executions", name: "execution", plural: "executions" };
/// The list of events.
pub(crate) const EVENT: Kind = Kind { path: "/events", name: "event", plural: "events" };
/// The list of enforcements.
pub(crate) const ENFORCEMENT: Kind = Kind { path: "/enforcements", name: "enforcement", plural: "enforcements" };
/// The list of inquiries.
pub(crate) const INQUIRY: Kind = Kind { path: "/inquiries", name: "inquiry", plural: "inquiries" };
/// The list of dead letters.
pub(crate) const DEAD_LETTER: Kind = Kind { path: "/dead_letters", name: "dead letter", plural: "dead letters" };

/// A kind of things that have ids.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    path: &'static str,
    name: &'static str,
    plural: &'static str,
}

/// Returns the whole id of what was typed for a thing of one of these kinds.
///
/// A whole id, and what cannot be a part of one, is returned as it is: the node answers for it. A part is looked for among the newest
/// [`SEARCHED_MAX`] things of each kind, at its beginning and its end. Fails if none or several have it.
pub(crate) async fn whole(client: &Client, kinds: &[Kind], typed: &str) -> Result<String, Failure> {
    let Some(part) = part(typed) else { return Ok(typed.to_owned()) };
    let mut found: Vec<(Kind, Value)> = Vec::new();
    for kind in kinds {
        match search(client, *kind, &part).await {
            Ok(things) => found.extend(things.into_iter().map(|thing| (*kind, thing))),
            // A list that the caller may not read is not searched, if there are others.
            Err(failure) if failure.exit() == Exit::NotAllowed && kinds.len() > 1 => {}
            Err(failure) => return Err(failure),
        }
    }
    // A failed execution is a dead letter of the same id: one id is one answer.
    let mut ids: Vec<String> = found.iter().map(|(_, thing)| text(thing, "id")).collect();
    ids.sort();
    ids.dedup();
    match ids.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(not_found(kinds, &part)),
        several => Err(ambiguous(&part, several.len(), &found)),
    }
}

/// The same for an id that may not have been given.
pub(crate) async fn whole_if_any(client: &Client, kinds: &[Kind], typed: Option<String>) -> Result<Option<String>, Failure> {
    match typed {
        Some(typed) => Ok(Some(whole(client, kinds, &typed).await?)),
        None => Ok(None),
    }
}

/// Returns the part of an id that a text is; none if it is a whole id, or no part of one.
fn part(typed: &str) -> Option<String> {
    let part = typed.trim_start_matches('…').trim_end_matches('…').to_ascii_lowercase();
    let is_part =
        (PART_MIN..WHOLE).contains(&part.len()) && part.chars().all(|character| character.is_ascii_hexdigit() || character == '-');
    is_part.then_some(part)
}

/// Returns the newest things whose id begins or ends with a part.
async fn search(client: &Client, kind: Kind, part: &str) -> Result<Vec<Value>, Failure> {
    let read = pages::read(client, kind.path, &[], (SEARCHED_MAX, SEARCHED_MAX / PAGE_MAX), None).await?;
    Ok(read.items.into_iter().filter(|thing| has(&text(thing, "id"), part)).collect())
}

fn has(id: &str, part: &str) -> bool {
    id.starts_with(part) || id.ends_with(part)
}

fn not_found(kinds: &[Kind], part: &str) -> Failure {
    let plurals: Vec<&str> = kinds.iter().map(|kind| kind.plural).collect();
    let message = format!("no id among the newest {SEARCHED_MAX} {} begins or ends with `{part}`", plurals.join(", "));
    Failure::with(Exit::Missing, message).hint("give the complete id; a list in a pipe or with `-o json` prints complete ids")
}

fn ambiguous(part: &str, count: usize, found: &[(Kind, Value)]) -> Failure {
    let mut notes: Vec<String> = found.iter().take(CANDIDATES_MAX).map(|(kind, thing)| candidate(*kind, thing)).collect();
    if found.len() > CANDIDATES_MAX {
        notes.push(format!("… and {} more", found.len() - CANDIDATES_MAX));
    }
    Failure::with(Exit::Refused, format!("`{part}` is ambiguous: {count} ids begin or end with it"))
        .notes(notes)
        .hint("give more of the id: ids of one chain begin alike, so type the end of the id")
}

/// A thing in a line: its id, and what else tells it apart.
fn candidate(kind: Kind, thing: &Value) -> String {
    let about = ["action", "trigger", "rule", "title", "sensor", "status"].map(|name| text(thing, name));
    let about: Vec<&str> = about.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
    format!("{}  {} {}", text(thing, "id"), kind.name, about.join(" ")).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_id_is_hexadecimal_and_not_a_complete_id() {
        assert_eq!(part("3C8f12ab").as_deref(), Some("3c8f12ab"));
        assert_eq!(part("…12ab").as_deref(), Some("12ab"));
        assert_eq!(part("01a206ce-21ac").as_deref(), Some("01a206ce-21ac"));
        for other in ["abc", "core.echo", "last", "", "01a206ce-21ac-884f-8000-000000000001"] {
            assert_eq!(part(other), None, "{other}");
        }
    }

    #[test]
    fn part_is_found_at_the_beginning_and_at_the_end() {
        let id = "01a206ce-21ac-884f-8000-00000000abcd";
        assert!(has(id, "01a2") && has(id, "abcd") && has(id, "8000-00000000abcd"));
        assert!(!has(id, "884f"));
    }

    #[test]
    fn ambiguous_part_names_its_candidates() {
        let thing = |end: &str| {
            (EXECUTION, serde_json::json!({ "id": format!("01a206ce-21ac-884f-8000-{end}"), "action": "core.echo", "status": "failed" }))
        };
        let found = [thing("000000000001"), thing("000000010001")];
        let failure = ambiguous("0001", 2, &found);
        assert_eq!((failure.exit(), failure.to_string().as_str()), (Exit::Refused, "`0001` is ambiguous: 2 ids begin or end with it"));
        assert_eq!(candidate(EXECUTION, &found[0].1), "01a206ce-21ac-884f-8000-000000000001  execution core.echo failed");
    }
}
