//! I18: no secret is in the log, in any answer to a client, or in any file of the node. Views and HTTP
//! answers are checked when they are read.

use crate::oracle::records::Raw;
use crate::oracle::{Ledger, Violation, demand};
use crate::secrets::{around_secret, holds_secret};

pub(super) fn check(records: &[Raw], ledger: &Ledger<'_>) -> Result<(), Violation> {
    for record in records {
        let is_secret = record.holds_secret || record.content.as_deref().is_some_and(holds_secret);
        demand!(!is_secret, "I18", "a secret is in the record at {}", record.position);
    }
    for (number, request) in ledger.requests {
        for outcome in request.said.iter().map(|said| &said.outcome).chain(&request.heard) {
            demand!(!holds_secret(format!("{outcome:?}").as_bytes()), "I18", "request {number} was answered with a secret: {outcome:?}");
        }
    }
    let Some(first) = records.first() else { return Ok(()) };
    let Ok(log) = first.log.parse() else {
        return Err(Violation::of_the_world(format!("`{}` is not the id of a log, so no file was searched for secrets", first.log)));
    };
    let contents = ledger.disk.contents(log);
    for (name, content) in contents.map_err(|error| Violation::of_the_world(format!("the node's files cannot be read: {error}")))? {
        let around = around_secret(&content);
        demand!(around.is_none(), "I18", "a secret is in the file {name}: {around:?}");
    }
    Ok(())
}
