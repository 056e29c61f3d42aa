//! One change applied to many things, page by page of the list that selects them, each with a result of its
//! own.

use serde_json::Value;

use super::Asking;
use crate::client::{Client, with_query};
use crate::report::{CommandResult, Exit, Failure, eprint_line};

/// How many are changed per request: some changes take longer than others.
const PAGE: &str = "50";

/// Changes all that match. Prints the result for each on a line, then the total on standard error. Fails if
/// some were rejected.
pub(super) async fn change_all(
    asking: &Asking,
    client: &Client,
    path: &str,
    filters: Vec<(&str, String)>,
    (body, line): (&Value, fn(&Value) -> String),
) -> CommandResult {
    let is_dry = filters.iter().any(|(name, _)| *name == "dry_run");
    let (mut changed, mut left_out, mut refused) = (0, 0, 0);
    let mut cursor: Option<String> = None;
    loop {
        let page = filters.iter().cloned().chain([("limit", PAGE.to_owned())]).chain(cursor.map(|cursor| ("cursor", cursor)));
        let answer = client.post(&with_query(path, &page.collect::<Vec<_>>()), body).await?.body;
        for item in answer["items"].as_array().into_iter().flatten() {
            match (&item["error"], &item["rerun_before"]) {
                (Value::Null, Value::String(_)) => left_out += 1,
                (Value::Null, _) => changed += 1,
                _ => refused += 1,
            }
            asking.output.print_next(item, line);
        }
        match answer["next"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    if changed + left_out > 0 {
        eprint_line(totals(changed, left_out, is_dry));
    }
    if refused > 0 {
        return Err(Failure::with(Exit::Failed, format!("rejected: {refused} of {}", refused + changed + left_out)));
    }
    if changed + left_out == 0 {
        eprint_line("none fits");
    }
    Ok(())
}

/// Returns how many were changed and how many were left out.
fn totals(changed: usize, left_out: usize, is_dry: bool) -> String {
    let done = if is_dry { "would be done" } else { "done" };
    match left_out {
        0 => format!("{done}: {changed}"),
        _ => format!("{done}: {changed}; left out because they were already rerun: {left_out} (--again reruns these too)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_report_what_was_left_out() {
        assert_eq!(totals(500, 0, false), "done: 500");
        assert_eq!(totals(0, 2, true), "would be done: 0; left out because they were already rerun: 2 (--again reruns these too)");
    }
}
