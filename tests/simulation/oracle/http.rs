//! I1, I17 and I18 over HTTP: each status agrees with the log, problems have the documented form, and no
//! answer contains a secret.
//!
//! The effects of a copy of a request are found by its trace, which is unique.

use std::collections::BTreeMap;

use crate::http::{BodyFault, ClientAnswer, Exchange};
use crate::oracle::records::Raw;
use crate::oracle::{Ledger, Violation, demand};
use crate::pack::DOOR_TRIGGER;
use crate::sometimes;
use crate::traffic::{Signature, Wish};

/// The first record of each accepted request that starts something.
const BEGINNINGS: [&str; 2] = ["event.received", "execution.requested"];
/// The record of a delivery with a valid signature that created no event.
const LETTER: &str = "delivery.refused";

pub(super) fn check(records: &[Raw], ledger: &Ledger<'_>) -> Result<(), Violation> {
    let mut begun: BTreeMap<&str, Vec<&Raw>> = BTreeMap::new();
    for record in records {
        if let (Some(trace), true) = (&record.cause.trace, record.is_asked_for()) {
            begun.entry(trace).or_default().push(record);
        }
    }
    for exchange in ledger.exchanges.all() {
        let trace = exchange.trace();
        let of_copy = begun.get(trace.as_str()).map(Vec::as_slice).unwrap_or_default();
        if let Some(told) = &exchange.told {
            form(&exchange, told, ledger)?;
        }
        if matches!(exchange.wish, Wish::Send { .. } | Wish::Deliver { .. } | Wish::Run { .. } | Wish::Rerun { .. }) {
            begins(&exchange, of_copy)?;
        }
    }
    Ok(())
}

/// Checks the form of an answer.
fn form(exchange: &Exchange, told: &ClientAnswer, ledger: &Ledger<'_>) -> Result<(), Violation> {
    let Exchange { number, .. } = exchange;
    let (status, code) = (told.status, told.code());
    demand!(!told.holds_secret, "I18", "the answer to request {number} ({status} {code}) has a secret in it");
    let is_its_own = told.request_id == exchange.request_id();
    demand!(is_its_own, "I17", "request {number} was answered under the id {}", told.request_id);
    let is_excused = status != 500 || ledger.ground.witness().has_refused(*number);
    demand!(is_excused, "I17", "request {number} was answered with an internal error, and no bug occurred: {}", told.body);
    if status < 400 {
        let writes = !matches!(exchange.wish, Wish::See { .. });
        let is_empty_delivery = told.body.pointer("/events/0").is_none() && matches!(exchange.wish, Wish::Deliver { .. });
        demand!(!writes || is_empty_delivery || told.position.is_some(), "I3", "request {number} was accepted without a position");
        return Ok(());
    }
    sometimes!(status == 401, "a request was not authenticated");
    sometimes!(status == 409, "a request met a conflict");
    sometimes!(status == 429, "a caller had its share");
    sometimes!(status == 503 && code == "busy", "the node had no room for a request");
    sometimes!(code == "view_behind", "a view was behind what its reader wrote");
    sometimes!(status == 408, "a body did not come in time");
    sometimes!(code == "body_incomplete", "a connection broke in the middle of a body");
    let is_problem = told.content_type == "application/problem+json"
        && !code.is_empty()
        && told.body.get("status").and_then(serde_json::Value::as_u64) == Some(u64::from(status))
        && told.body.get("type").is_some_and(serde_json::Value::is_string);
    demand!(is_problem, "I17", "request {number} was answered with {status} without a problem document: {}", told.body);
    let says_when = !matches!(status, 429 | 503) || told.retry_after.is_some_and(|seconds| seconds > 0);
    demand!(says_when, "I17", "request {number} was answered with {status} {code} without a time to retry");
    Ok(())
}

/// Checks a status against the effects of the request.
fn begins(exchange: &Exchange, of_copy: &[&Raw]) -> Result<(), Violation> {
    let Exchange { number, copy, .. } = exchange;
    let begun = of_copy.iter().filter(|record| BEGINNINGS.contains(&record.kind.as_str())).count();
    let letters = of_copy.iter().filter(|record| record.kind == LETTER).count();
    demand!(begun <= 1, "I1", "copy {copy} of request {number} began {begun} things");
    demand!(exchange.fault != BodyFault::Cut || begun == 0, "I1", "request {number} ended within its body, but began something");
    if let Wish::Deliver { signature, delivery, .. } = &exchange.wish {
        let is_signed = *signature == Signature::Right;
        demand!(is_signed || begun + letters == 0, "I1", "delivery {number} has no valid signature ({signature:?}) but is in the log");
        let is_right = of_copy.iter().all(|record| record.kind == LETTER || record.text("trigger") == format!("sim.t{DOOR_TRIGGER}"));
        demand!(is_right, "I1", "delivery {number} made an event of another trigger");
        sometimes!(is_signed && begun == 1, "a signed delivery made an event");
        sometimes!(is_signed && delivery.is_none() && begun == 1, "a delivery without an id was taken");
        sometimes!(letters > 0, "a signed delivery was kept as a dead letter");
    }
    let Some(told) = &exchange.told else {
        sometimes!(begun == 1, "a caller disconnected, and its request was carried out");
        return Ok(());
    };
    let (status, code) = (told.status, told.code());
    let is_repeat = status == 200 && !matches!(exchange.wish, Wish::Run { .. } | Wish::Rerun { .. });
    let expected = match status {
        200..=299 if is_repeat => Some(0),
        // Requests with an idempotency key are compared by their key.
        200..=299 if exchange.under.is_some() => None,
        200..=299 => Some(1),
        _ if code == "outcome_unknown" => None,
        _ => Some(0),
    };
    let is_true = expected.is_none_or(|expected| begun == expected);
    demand!(is_true, "I1", "copy {copy} of request {number} was answered with {status} {code}, and began {begun} things");
    sometimes!(is_repeat && matches!(exchange.wish, Wish::Deliver { .. }), "a delivery that came again was recognised");
    sometimes!(status == 200 && matches!(exchange.wish, Wish::Run { .. }), "a caller waited for the end of its execution");
    let is_kept = letters == usize::from(code == "body_not_json" && matches!(exchange.wish, Wish::Deliver { .. }));
    demand!(
        is_kept || code == "outcome_unknown",
        "I1",
        "delivery {number} was answered with {status} {code}, and {letters} dead letters are kept"
    );
    Ok(())
}
