//! I1: a dedupe key belongs to one event of one caller and does not affect other callers.
//!
//! `answers.rs` checks that a key is accepted once while it is remembered.

use std::collections::BTreeMap;

use ensue_engine::command::Answer;
use serde_json::Value;

use crate::oracle::records::Raw;
use crate::oracle::{Ledger, Violation, demand};
use crate::sometimes;
use crate::traffic::{Outcome, Wish};

/// What a refusal says that a key was used before, as text or as its problem's code.
const USED_BEFORE: [&str; 2] = ["dedupe key was already used", "dedupe_key_reused"];

pub(super) fn check(records: &[Raw], ledger: &Ledger<'_>) -> Result<(), Violation> {
    let mut accepted: BTreeMap<(String, String), Vec<&Raw>> = BTreeMap::new();
    for record in records.iter().filter(|record| record.kind == "event.received") {
        let payload = record.payload();
        if let Some((caller, key)) = payload.get("key").and_then(Value::as_str).and_then(|key| key.split_once('-')) {
            accepted.entry((caller.to_owned(), key.to_owned())).or_default().push(record);
        }
    }
    for (number, request) in ledger.requests {
        let Wish::Send { payload, key: Some(key), .. } = &request.wish else { continue };
        let caller = format!("client{}", request.client);
        let own = accepted.get(&(caller.clone(), key.clone())).map(Vec::as_slice).unwrap_or_default();
        let is_same = |record: &Raw| record.content.as_deref() == Some(payload.as_bytes());
        for said in &request.said {
            match &said.outcome {
                Outcome::Not(why) if USED_BEFORE.iter().any(|used| why.contains(used)) => {
                    sometimes!("a key was refused that had been used for another event");
                    demand!(
                        own.iter().any(|record| !is_same(record)),
                        "I1",
                        "request {number} was rejected ({why}), but no other event of {caller} was accepted under {key}"
                    );
                }
                Outcome::Done(committed) => {
                    let Answer::Events(events) = &committed.answer else { continue };
                    for event in events {
                        let before = own.iter().any(|record| is_same(record) && record.position == event.position.0);
                        demand!(
                            before,
                            "I1",
                            "request {number} was accepted under {key} of {caller} as the event at {}, which is not {caller}'s",
                            event.position.0
                        );
                    }
                }
                Outcome::Not(_) | Outcome::Seen | Outcome::NotYet | Outcome::Unknown | Outcome::NoNode => {}
            }
        }
    }
    Ok(())
}
