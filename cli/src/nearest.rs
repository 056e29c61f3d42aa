//! Suggestions after a wrong name or id: the nearest name, and the kind of an id.
//!
//! The node is asked only after it has answered "not found".

use ensue_expression::nearest;
use serde_json::Value;

use crate::client::{Client, segment};
use crate::report::{Exit, Failure};

/// The most names searched: a page of the API.
const NAMES_MAX: u16 = 200;
/// The kinds of things that have an id, each with the API path and the command that shows it.
const KINDS: [(&str, &str, &str); 5] = [
    ("an event", "/events", "ensue events show"),
    ("an enforcement", "/enforcements", "ensue enforcements show"),
    ("an execution", "/executions", "ensue executions show"),
    ("an inquiry", "/inquiries", "ensue inquiries show"),
    ("a dead letter", "/dead_letters", "ensue dead-letters show"),
];

/// Reads the thing with an id in the list at the path.
///
/// Fails as the read does. If the id belongs to another kind, the hint names the kind and the command that
/// shows it.
pub(crate) async fn get_by_id(client: &Client, path: &str, id: &str) -> Result<Value, Failure> {
    get_by_id_with(client, path, id, &[]).await
}

/// The same, with parameters.
pub(crate) async fn get_by_id_with(client: &Client, path: &str, id: &str, query: &[(&str, String)]) -> Result<Value, Failure> {
    let failure = match client.get(&format!("{path}/{}", segment(id)), query).await {
        Err(failure) if failure.exit() == Exit::Missing => failure,
        answered => return answered,
    };
    for (kind, other, command) in KINDS.iter().filter(|(_, other, _)| *other != path) {
        if client.get(&format!("{other}/{}", segment(id)), &[]).await.is_ok() {
            return Err(failure.hint(format!("this is {kind}: {command} {id}")));
        }
    }
    Err(failure)
}

/// Reads the thing with a name in the list at the path.
///
/// Fails as the read does. If there is no such name, the hint is the nearest one on the list's first page.
pub(crate) async fn get_by_name(client: &Client, path: &str, name: &str) -> Result<Value, Failure> {
    or_nearest(client, path, name, client.get(&format!("{path}/{}", segment(name)), &[]).await).await
}

/// Returns the answer about the thing with a name in the list at the path.
///
/// If there is no such name, the failure's hint is the nearest one on the list's first page.
pub(crate) async fn or_nearest<T>(client: &Client, path: &str, name: &str, answered: Result<T, Failure>) -> Result<T, Failure> {
    match answered {
        Err(failure) if failure.exit() == Exit::Missing => Err(of_list(client, path, name, failure).await),
        answered => answered,
    }
}

/// Adds the nearest name in the list at the path to a failure, if one is near.
pub(crate) async fn of_list(client: &Client, path: &str, name: &str, failure: Failure) -> Failure {
    let Ok(answer) = client.get(path, &[("limit", NAMES_MAX.to_string())]).await else { return failure };
    let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let names = items.iter().filter_map(|item| item["ref"].as_str().or(item["name"].as_str()));
    match nearest(name, names) {
        Some(near) => failure.hint(format!("did you mean `{near}`?")),
        None => failure,
    }
}
