//! The audit: what callers did, with the names that identities and tokens have now.

use ensue_derive::wire;
use ensue_engine::access::state::Access as Directory;
use ensue_engine::ids::{IdentityId, TokenId};
use ensue_engine::record::{Position, StreamId};
use ensue_engine::time::Timestamp;
use ensue_views::AuditEntry;
use serde::Serialize;

use crate::ports::Access;

/// The columns of the audit as CSV, in their order.
const CSV_COLUMNS: &str = "time,position,actor,actor_name,credential,credential_name,what,of,of_name,permission,way,count,trace_id\n";

/// What a caller did, or what was refused to it.
#[wire(Serialize)]
pub(crate) struct WireAuditEntry {
    position: Position,
    time: Timestamp,
    /// The actor: `identity/<id>`, `token/<name>`, `operator`, or `engine` for sums.
    actor: String,
    /// The name that the identity or token has now; null if it has none.
    actor_name: Option<String>,
    /// The credential: `token/<id>` or `token/<name>`, or null.
    credential: Option<String>,
    /// The name of the credential; null if it is unknown.
    credential_name: Option<String>,
    /// The kind of the fact.
    what: String,
    /// The stream of the record.
    of: String,
    /// The name of the identity or token that the stream is about, or null.
    of_name: Option<String>,
    /// The permission that was missing, or null.
    permission: Option<String>,
    /// The way of rejected logins, or null.
    way: Option<String>,
    /// The number of rejected requests or logins, or of exported rows; null for anything else.
    count: Option<u64>,
    /// The id of the trace of the request, which the log of the node has too; null if there is none.
    trace_id: Option<String>,
}

/// The names of identities and tokens.
pub(crate) struct KnownNames<'a> {
    access: &'a dyn Access,
    directory: std::sync::Arc<Directory>,
}

impl<'a> KnownNames<'a> {
    /// Returns the names as they are now.
    pub(crate) fn of(access: &'a dyn Access) -> Self {
        Self { access, directory: access.directory() }
    }

    fn identity(&self, id: IdentityId) -> Option<String> {
        self.access.name_of(id)
    }

    fn token(&self, id: TokenId) -> Option<String> {
        self.directory.token(&id).map(|token| token.name.clone())
    }

    /// Returns the name of `identity/<id>`, `token/<id>` or `token/<name>`.
    fn name(&self, text: &str) -> Option<String> {
        match text.split_once('/')? {
            ("identity", id) => self.identity(id.parse().ok()?),
            ("token", token) => match token.parse() {
                Ok(id) => self.token(id),
                Err(_) => Some(token.to_owned()),
            },
            _ => None,
        }
    }

    /// Returns the stream of a text in which identities and tokens may have names.
    pub(crate) fn stream(&self, text: &str) -> Option<StreamId> {
        match text.split_once('/') {
            Some(("identity", name)) if name.parse::<IdentityId>().is_err() => self.access.identity_named(name).map(StreamId::Identity),
            Some(("token", name)) if name.parse::<TokenId>().is_err() => {
                self.directory.token_named(name).map(|(id, _)| StreamId::Token(id))
            }
            _ => text.parse().ok(),
        }
    }

    /// Returns the actor of a text: the name of an identity or of a token, or the actor as the log writes it.
    pub(crate) fn actor(&self, text: &str) -> String {
        match (text, text.split_once('/')) {
            ("operator" | "engine", _) => text.to_owned(),
            (_, Some(("identity", name))) => {
                self.access.identity_named(name).map_or_else(|| text.to_owned(), |id| format!("identity/{id}"))
            }
            (_, Some(_)) => text.to_owned(),
            (name, None) => self.access.identity_named(name).map_or_else(|| format!("token/{name}"), |id| format!("identity/{id}")),
        }
    }
}

impl WireAuditEntry {
    /// Shows a row with the names that its ids have now.
    pub(crate) fn new(row: AuditEntry, names: &KnownNames<'_>) -> Self {
        Self {
            position: row.position,
            time: row.time,
            actor_name: names.name(&row.actor),
            actor: row.actor,
            credential_name: row.credential.as_deref().and_then(|credential| names.name(credential)),
            credential: row.credential,
            what: row.what,
            of_name: names.name(&row.of),
            of: row.of,
            permission: row.permission,
            way: row.way,
            count: row.count,
            trace_id: row.trace,
        }
    }

    /// Returns the head of the CSV form.
    pub(crate) fn csv_head() -> &'static str {
        CSV_COLUMNS
    }

    /// Returns the row as CSV, with its line end.
    pub(crate) fn csv(&self) -> String {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let cells = [
            self.time.to_string(),
            self.position.to_string(),
            self.actor.clone(),
            text(&self.actor_name),
            text(&self.credential),
            text(&self.credential_name),
            self.what.clone(),
            self.of.clone(),
            text(&self.of_name),
            text(&self.permission),
            text(&self.way),
            self.count.map(|count| count.to_string()).unwrap_or_default(),
            text(&self.trace_id),
        ];
        let mut line = cells.iter().map(|text| cell(text)).collect::<Vec<_>>().join(",");
        line.push('\n');
        line
    }
}

/// Returns a cell of CSV (RFC 4180), on one line and without control characters. A spreadsheet would compute a text that
/// begins like a formula, so such a text gets an apostrophe.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let guarded: String = is_formula.then_some('\'').into_iter().chain(plain).collect();
    if guarded.contains([',', '"']) { format!("\"{}\"", guarded.replace('"', "\"\"")) } else { guarded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cell_that_begins_like_a_formula_gets_an_apostrophe() {
        for formula in ["=1+1", "+1", "-1", "@sum"] {
            assert_eq!(cell(formula), format!("'{formula}"));
        }
        assert_eq!(cell("\tx\u{1b}"), "' x ");
        assert_eq!(cell("ana"), "ana");
        assert_eq!(cell("a,b \"c\"\nd"), "\"a,b \"\"c\"\" d\"");
        assert_eq!(cell("=\"a\",b"), "\"'=\"\"a\"\",b\"");
    }
}
