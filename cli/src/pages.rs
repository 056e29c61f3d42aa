//! Reads lists page by page, up to a bound.

use serde_json::Value;

use crate::client::Client;
use crate::report::Failure;

/// The most things on a page of the API.
pub(crate) const PAGE_MAX: usize = 200;

/// The part of a list that was read.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    /// The things, in the order of the list.
    pub(crate) items: Vec<Value>,
    /// The cursor of the rest; `None` at the end.
    pub(crate) next: Option<String>,
}

/// Reads a list until `enough` things are read, it ends, or the limit of requests is reached. `query` has
/// neither limit nor cursor.
pub(crate) async fn read(
    client: &Client,
    path: &str,
    query: &[(&str, String)],
    (enough, requests_max): (usize, usize),
    begin: Option<String>,
) -> Result<Pages, Failure> {
    let mut pages = Pages { items: Vec::new(), next: begin };
    for _ in 0..requests_max {
        let limit = PAGE_MAX.min(enough.saturating_sub(pages.items.len()));
        let mut asked: Vec<(&str, String)> = query.to_vec();
        asked.push(("limit", limit.to_string()));
        asked.extend(pages.next.take().map(|next| ("cursor", next)));
        let mut answer = client.get(path, &asked).await?;
        if let Value::Array(items) = answer["items"].take() {
            pages.items.extend(items);
        }
        pages.next = answer["next"].as_str().map(str::to_owned);
        if pages.next.is_none() || pages.items.len() >= enough {
            break;
        }
    }
    Ok(pages)
}
