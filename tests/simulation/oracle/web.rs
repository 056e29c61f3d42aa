//! I6 for requests: the effect of an action's request happens as often as its delivery class allows, and a
//! success had a matching answer.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::oracle::records::Raw;
use crate::oracle::{Ledger, Violation, demand};
use crate::pack::{MAPPED_POST, POSTS};
use crate::sometimes;
use crate::web::ReceivedRequest;

/// The records of one execution that sends requests.
#[derive(Default)]
struct RequestHistory<'r> {
    request: Option<&'r Raw>,
    /// The number of each attempt by its id.
    attempts: BTreeMap<&'r str, u64>,
    succeeded: Vec<&'r Raw>,
    was_settled_to_retry: bool,
}

pub(super) fn check(records: &[Raw], ledger: &Ledger<'_>) -> Result<(), Violation> {
    let heard = ledger.server.received_requests();
    let mut told: BTreeMap<&str, RequestHistory<'_>> = BTreeMap::new();
    for record in records {
        let Some(id) = record.stream.strip_prefix("execution/") else { continue };
        let execution = told.entry(id).or_default();
        match record.kind.as_str() {
            "execution.requested" => execution.request = Some(record),
            "attempt.started" => drop(execution.attempts.insert(&record.id, record.number("number"))),
            "attempt.succeeded" => execution.succeeded.push(record),
            "execution.settled" => execution.was_settled_to_retry |= record.said.get("outcome") == Some(&Value::String("retry".into())),
            _ => {}
        }
    }
    let mut by_key: BTreeMap<&str, Vec<&ReceivedRequest>> = BTreeMap::new();
    for one in &heard {
        by_key.entry(&one.key).or_default().push(one);
        demand!(!(one.is_redirected && one.has_secret), "I18", "a secret for one server was sent to another one for {}", one.key);
        sometimes!(one.is_redirected, "an action's request was redirected to another server");
    }
    for (id, execution) in &told {
        let Some(request) = execution.request else { continue };
        let Some((_, class)) = POSTS.iter().find(|(name, _)| request.text("action") == format!("sim.{name}")) else { continue };
        let of_execution = by_key.remove(id).unwrap_or_default();
        let effects = of_execution.iter().filter(|one| one.has_effect).count();
        let may_be_twice = ["idempotent: true", "on_lost: retry"].iter().any(|said| class.lines().any(|line| line == *said))
            || execution.was_settled_to_retry;
        demand!(may_be_twice || effects <= 1, "I6", "execution {id} of {} had {effects} effects", request.text("action"));
        sometimes!(effects > 1, "an effect of a request happened twice, where that is allowed");
        let numbers: BTreeSet<u64> = execution.attempts.values().copied().collect();
        for number in of_execution.iter().filter_map(|one| one.attempt) {
            demand!(numbers.contains(&number), "I6", "execution {id} sent a request for attempt {number}, which is not in the log");
            let of_attempt = of_execution.iter().filter(|one| one.has_effect && one.attempt == Some(number)).count();
            demand!(of_attempt <= 1, "I6", "execution {id}: attempt {number} had {of_attempt} effects");
        }
        for record in &execution.succeeded {
            let result = record.payload();
            let code = result.get("code").and_then(Value::as_u64);
            let expected = request.text("action").ends_with(MAPPED_POST).then_some(200);
            demand!(
                code == expected,
                "I6",
                "execution {id} succeeded at {} with {result}, which `output` did not compute",
                record.position
            );
            let number = result.pointer("/body/effect").and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
            let answered = number.and_then(|number| heard.get(number.checked_sub(1)?));
            let is_true = answered.is_some_and(|one| one.key == *id && one.status == Some(200));
            demand!(is_true, "I6", "execution {id} succeeded at {} with {result}, which no server answered", record.position);
            let number = execution.attempts.get(record.text("attempt")).copied();
            let is_its_own = answered.is_some_and(|one| one.is_redirected || one.attempt == number);
            demand!(is_its_own, "I6", "execution {id} succeeded at {} with the answer to another attempt", record.position);
            demand!(effects > 0, "I6", "execution {id} succeeded at {} without any effect", record.position);
        }
    }
    let unknown: Vec<_> = by_key.keys().collect();
    demand!(unknown.is_empty(), "I6", "requests were sent for executions that are not in the log: {unknown:?}");
    Ok(())
}
