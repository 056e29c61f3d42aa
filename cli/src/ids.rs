//! Ids as people type them: whole, or as a unique beginning or end.
//!
//! The ids of one chain begin alike, so their ends distinguish them. Tables on a terminal show the ends.

use serde_json::Value;

use crate::client::Client;
use crate::id_ends::WHOLE;
use crate::pages::{self, PAGE_MAX};
use crate::report::{Exit, Failure};
use crate::table::text;

/// The fewest characters of a partial id.
pub(crate) const PART_MIN: usize = 4;
/// The most things of a kind that are searched, newest first.
const SEARCHED_MAX: usize = 1_000;
/// The most candidates listed in an error.
const CANDIDATES_MAX: usize = 10;

/// Executions.
pub(crate) const EXECUTION: Kind = Kind { path: "/executions", name: "execution", plural: "executions" };
/// Events.
pub(crate) const EVENT: Kind = Kind { path: "/events", name: "event", plural: "events" };
/// Enforcements.
pub(crate) const ENFORCEMENT: Kind = Kind { path: "/enforcements", name: "enforcement", plural: "enforcements" };
/// Inquiries.
pub(crate) const INQUIRY: Kind = Kind { path: "/inquiries", name: "inquiry", plural: "inquiries" };
/// Dead letters.
pub(crate) const DEAD_LETTER: Kind = Kind { path: "/dead_letters", name: "dead letter", plural: "dead letters" };

/// A kind of thing that has ids.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    path: &'static str,
    name: &'static str,
    plural: &'static str,
}

/// Returns the whole id for the typed id of a thing of one of these kinds.
///
/// A whole id, and a text that cannot be part of an id, is returned unchanged: the node reports errors. A
/// part is matched against the beginning and the end of the ids of the newest [`SEARCHED_MAX`] things of each
/// kind. Fails if no id or several ids match.
pub(crate) async fn whole(client: &Client, kinds: &[Kind], typed: &str) -> Result<String, Failure> {
    let Some(part) = part(typed) else { return Ok(typed.to_owned()) };
    let mut found: Vec<(Kind, Value)> = Vec::new();
    for kind in kinds {
        match search(client, *kind, &part).await {
            Ok(things) => found.extend(things.into_iter().map(|thing| (*kind, thing))),
            // A list that the caller may not read is skipped if there are others.
            Err(failure) if failure.exit() == Exit::NotAllowed && kinds.len() > 1 => {}
            Err(failure) => return Err(failure),
        }
    }
    // A failed execution is a dead letter with the same id, which counts as one match.
    let mut ids: Vec<String> = found.iter().map(|(_, thing)| text(thing, "id")).collect();
    ids.sort();
    ids.dedup();
    match ids.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(not_found(kinds, &part)),
        several => Err(ambiguous(&part, several.len(), &found)),
    }
}

/// Does the same for an optional id.
pub(crate) async fn whole_if_any(client: &Client, kinds: &[Kind], typed: Option<String>) -> Result<Option<String>, Failure> {
    match typed {
        Some(typed) => Ok(Some(whole(client, kinds, &typed).await?)),
        None => Ok(None),
    }
}

/// Returns a text as part of an id; `None` if it is a whole id or cannot be part of one.
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

/// Returns a candidate on one line: its id and distinguishing details.
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
