//! `ensue rules judgements`: what a rule decided about past events, and which parts of its condition decided.

use clap::Args;
use ensue_engine::time::Timestamp;
use serde_json::{Value, json};

use crate::ago::moment_of;
use crate::client::segment;
use crate::commands::{Asking, PageArgs, print_next_cursor};
use crate::report::{CommandResult, eprint_line, say};
use crate::table::{Column, cell, page, time};

/// Which judgements.
#[derive(Debug, Args)]
pub(crate) struct Judgements {
    /// The rule.
    rule: String,
    /// Only these verdicts.
    #[arg(long, value_name = "VERDICT", value_delimiter = ',', value_parser = ["matched", "not_matched", "erred", "undecided"])]
    verdict: Vec<String>,
    /// The definitions to use: `then`, as installed when the event arrived, or `now`.
    #[arg(long, value_name = "WHEN", value_parser = ["then", "now"], default_value = "then")]
    definitions: String,
    /// Only events received since this time, or since so long ago (`30d`, `12h`).
    #[arg(long, value_name = "TIME", value_parser = moment_of)]
    since: Option<Timestamp>,
    /// Only events received before this time.
    #[arg(long, value_name = "TIME", value_parser = moment_of)]
    until: Option<Timestamp>,
    #[command(flatten)]
    page: PageArgs,
}

const GROUPS: &[Column] = &[
    Column::whole("COUNT", |group| cell(group, "count")),
    Column::whole("VERDICT", |group| cell(group, "verdict")),
    Column::cut("DECIDED BY", |group| join_texts(&group["decisive"], " and ")),
];

const ITEMS: &[Column] = &[
    Column::id("EVENT", |item| cell(item, "event")),
    Column::whole("RECEIVED", |item| time(item, "received_at")),
    Column::whole("VERDICT", |item| cell(item, "verdict")),
    Column::cut("WHY", |item| join_texts(&item["why"], "; ")),
];

impl Judgements {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        let path = format!("/rules/{}/judgements", segment(&self.rule));
        let moment = |time: Option<Timestamp>| time.map(|time| time.to_string());
        let given = [("since", moment(self.since)), ("until", moment(self.until)), ("definitions", Some(self.definitions))];
        let mut query = self.page.query();
        query.extend(given.into_iter().filter_map(|(name, value)| Some((name, value?))));
        query.extend(self.verdict.into_iter().map(|verdict| ("verdict", verdict)));
        let answer = asking.client()?.get(&path, &query).await?;
        asking.output.print(&answer, || {
            if answer["items"].as_array().is_some_and(|items| !items.is_empty()) {
                say(page(&json!({ "items": answer["groups"] }), GROUPS));
                say(format!("\n{}", page(&answer, ITEMS)));
            }
            eprint_line(format!("{} of the rule's triggers were examined", event_count(&answer["examined"])));
            if answer["unreadable"].as_u64().is_some_and(|unreadable| unreadable > 0) {
                eprint_line(format!(
                    "{} cannot be judged again: their payload or their definitions are gone",
                    event_count(&answer["unreadable"])
                ));
            }
        });
        print_next_cursor(&answer);
        Ok(())
    }
}

fn event_count(events: &Value) -> String {
    match events.as_u64().unwrap_or_default() {
        1 => "1 event".to_owned(),
        events => format!("{events} events"),
    }
}

fn join_texts(texts: &Value, between: &str) -> String {
    texts.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(between)
}
