//! One change of many things, page by page of the list that chooses them, each with an answer of its own.

use serde_json::Value;

use super::Asking;
use crate::client::{Client, with_query};
use crate::report::{Exit, Failure, Outcome, tell};

/// How many are changed by one request: some changes take longer than others.
const PAGE: &str = "50";

/// Changes all that fit, and tells what came of each in a line; ends with 1 where some were refused.
pub(super) async fn change_all(
    asking: &Asking,
    client: &Client,
    path: &str,
    filters: Vec<(&str, String)>,
    (body, line): (&Value, fn(&Value) -> String),
) -> Outcome {
    let (mut changed, mut refused) = (0, 0);
    let mut cursor: Option<String> = None;
    loop {
        let page = filters.iter().cloned().chain([("limit", PAGE.to_owned())]).chain(cursor.map(|cursor| ("cursor", cursor)));
        let answer = client.post(&with_query(path, &page.collect::<Vec<_>>()), body).await?.body;
        for item in answer["items"].as_array().into_iter().flatten() {
            match item["error"].is_null() {
                true => changed += 1,
                false => refused += 1,
            }
            asking.output.print_next(item, line);
        }
        match answer["next"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    if refused > 0 {
        return Err(Failure::with(Exit::Failed, format!("refused: {refused} of {}", refused + changed)));
    }
    if changed == 0 {
        tell("none fits");
    }
    Ok(())
}
