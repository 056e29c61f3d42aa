//! The content of the views: each row of each list, and the details of each execution.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::Client;

/// The lists that are read completely.
const LISTS: [&str; 9] = [
    "/events?limit=200",
    "/enforcements?limit=200",
    EXECUTIONS,
    "/dead_letters?limit=200",
    "/parked_reactions?limit=200",
    "/packs",
    "/keys",
    "/tokens",
    "/rules",
];
const EXECUTIONS: &str = "/executions?limit=200";
/// The details of an execution.
const OF_AN_EXECUTION: [&str; 2] = ["attempts", "timeline"];
/// The number of executions whose details are read; of more, an even selection.
const EXECUTIONS_MAX: usize = 500;
/// The number of concurrent requests.
const AT_ONCE: usize = 8;

/// The content by path. A path that cannot be read has the problem instead, which is equal to nothing.
#[derive(Debug, PartialEq)]
pub(super) struct ViewContent(BTreeMap<String, Value>);

impl ViewContent {
    /// Reads all of it.
    pub(super) async fn by(client: &Client) -> Self {
        let mut shown = BTreeMap::new();
        for list in LISTS {
            shown.insert(list.to_owned(), rows(client, list).await);
        }
        let executions: Vec<&str> = shown[EXECUTIONS].as_array().into_iter().flatten().filter_map(|row| row["id"].as_str()).collect();
        let chosen = executions.iter().step_by(executions.len().div_ceil(EXECUTIONS_MAX).max(1));
        let paths: Vec<String> = chosen.flat_map(|id| OF_AN_EXECUTION.map(|what| format!("/executions/{id}/{what}"))).collect();
        let mut reading = JoinSet::new();
        for path in paths {
            if reading.len() == AT_ONCE {
                shown.extend(reading.join_next().await.map(Result::unwrap));
            }
            let client = client.clone();
            reading.spawn(async move {
                let rows = rows(&client, &path).await;
                (path, rows)
            });
        }
        shown.extend(reading.join_all().await);
        Self(shown)
    }

    /// Returns the paths whose content differs.
    pub(super) fn differs_from(&self, other: &Self) -> Vec<String> {
        let paths: BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let differing = paths.into_iter().filter(|path| self.0.get(*path) != other.0.get(*path));
        differing.map(|path| format!("{path}: {:?} and {:?}", self.0.get(path), other.0.get(path))).collect()
    }

    /// Returns true if each path with different content is refused with this code.
    pub(super) fn is_refused_where_it_differs_from(&self, other: &Self, code: &str) -> bool {
        let paths: BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let mut differing = paths.into_iter().filter(|path| self.0.get(*path) != other.0.get(*path));
        differing.all(|path| self.0.get(path).is_some_and(|shown| shown["code"] == code))
    }

    /// Returns the number of rows of a list.
    pub(super) fn count(&self, list: &str) -> usize {
        self.0.iter().filter(|(path, _)| path.split('?').next() == Some(list)).filter_map(|(_, rows)| rows.as_array()).map(Vec::len).sum()
    }
}

/// Reads a list page by page; if a page cannot be read, returns the problem.
async fn rows(client: &Client, path: &str) -> Value {
    let (mut rows, mut next) = (Vec::new(), format!("/api/v1{path}"));
    loop {
        let answer = client.request(Method::GET, &next).send().await.unwrap();
        let mut page: Value = answer.json().await.unwrap();
        let Some(items) = page["items"].as_array_mut() else { return page };
        // The last use of a token is that of the test, and no content.
        items.iter_mut().filter_map(Value::as_object_mut).for_each(|item| drop(item.remove("used_at")));
        rows.append(items);
        let Some(cursor) = page["next"].as_str() else { return Value::Array(rows) };
        next = format!("/api/v1{path}{}cursor={cursor}", if path.contains('?') { '&' } else { '?' });
    }
}
