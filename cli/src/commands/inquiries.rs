//! `ensue inquiries`: questions to people, and their answers.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::run::{TypedValue, parse_assignment};
use super::{AsOf, Asking, List, SortedPage, TimeRangeArgs, Watching, print_page};
use crate::client::{Client, segment};
use crate::questions::{led_to_it, parse_field, people, render};
use crate::redraw::RefreshOn;
use crate::report::{CommandResult, Exit, Failure, eprint_line, say};
use crate::table::{Column, cell, text, time};
use crate::{ids, nearest};

/// List, answer, delegate and cancel inquiries (questions).
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue inquiries list --mine --status open
  ensue inquiries show 019c…
  ensue inquiries why 019c…
  ensue inquiries respond 019c… --set ship=true --set note=\"after lunch\"
  ensue inquiries respond 019c… --json '{\"ship\": false}'
  ensue inquiries delegate 019c… --to bo
  ensue inquiries cancel 019c…")]
pub(crate) enum Inquiries {
    /// List inquiries, newest first.
    #[command(after_help = "\
Examples:
  ensue inquiries list --mine --status open
  ensue inquiries list --assignee role:release_managers
  ensue inquiries list --watch")]
    List(InquiryListArgs),
    /// Show an inquiry with its question, assignees, deadline and answers.
    #[command(after_help = "\
Examples:
  ensue inquiries show 019c…
  ensue inquiries show 019c… --as-of 4711     as it was at this position
  ensue inquiries show 019c… -o json")]
    Show {
        /// The inquiry.
        id: String,
        #[command(flatten)]
        as_of: AsOf,
    },
    /// Show what led to an inquiry: the event, the rule and the workflows, without their data.
    #[command(after_help = "\
Examples:
  ensue inquiries why 019c…")]
    Why {
        /// The inquiry.
        id: String,
    },
    /// Answer an inquiry.
    #[command(after_help = "\
Examples:
  ensue inquiries respond 019c… --set ship=true --set note=\"after lunch\"
  ensue inquiries respond 019c… --set hosts:='[\"web-1\", \"web-2\"]'
  ensue inquiries respond 019c… --json '{\"ship\": false}'")]
    Respond(Respond),
    /// Create a link with which one person sees and answers an inquiry, and nothing else.
    #[command(after_help = "\
Examples:
  ensue inquiries link 019c… --for ana")]
    Link {
        /// The inquiry.
        id: String,
        /// The name of the identity that the link is for.
        #[arg(long, value_name = "NAME")]
        r#for: String,
    },
    /// Let another identity answer an inquiry in your place.
    #[command(after_help = "\
Examples:
  ensue inquiries delegate 019c… --to bo")]
    Delegate {
        /// The inquiry.
        id: String,
        /// The name of the other identity.
        #[arg(long, value_name = "NAME")]
        to: String,
    },
    /// Cancel an inquiry, and the execution that asks it.
    #[command(after_help = "\
Examples:
  ensue inquiries cancel 019c…")]
    Cancel {
        /// The inquiry.
        id: String,
    },
}

/// The possible statuses of an inquiry.
const STATUSES: [&str; 5] = ["open", "answered", "expired", "cancelled", "withdrawn"];

/// Which inquiries are listed.
#[derive(Debug, Args)]
pub(crate) struct InquiryListArgs {
    /// Only inquiries assigned to you, by your name or one of your roles.
    #[arg(long)]
    mine: bool,
    /// Only open inquiries of which people were reminded, or that are older than a day.
    #[arg(long)]
    overdue: bool,
    /// Only items with this status.
    #[arg(long, value_name = "STATUS", value_parser = STATUSES)]
    status: Option<String>,
    /// Only inquiries with this assignee: role:<role>, or the name of a token.
    #[arg(long, value_name = "WHO")]
    assignee: Option<String>,
    /// Only the inquiry of this execution.
    #[arg(long, value_name = "ID")]
    execution: Option<String>,
    /// Only inquiries of the steps of this workflow execution.
    #[arg(long, value_name = "ID")]
    parent: Option<String>,
    #[command(flatten)]
    between: TimeRangeArgs,
    #[command(flatten)]
    page: SortedPage,
    #[command(flatten)]
    watching: Watching,
}

/// What is answered.
#[derive(Debug, Args)]
pub(crate) struct Respond {
    /// The inquiry.
    id: String,
    /// A field of the answer: `name=value`, read as the type of the field, or `name:=json`.
    #[arg(long, value_name = "NAME=VALUE", required_unless_present = "json")]
    set: Vec<String>,
    /// The whole answer as JSON. --set overrides its fields.
    #[arg(long, value_name = "JSON")]
    json: Option<String>,
    /// The digest that `show` printed. The answer is rejected if the question has changed since.
    /// Without it, the answer is to the current question.
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
}

const COLUMNS: &[Column] = &[
    Column::id("ID", |inquiry| cell(inquiry, "id")),
    Column::cut("TITLE", |inquiry| cell(inquiry, "title")),
    Column::whole("STATUS", |inquiry| cell(inquiry, "status")),
    Column::cut("ASKED", |inquiry| people(&inquiry["assignees"], ", ")),
    Column::cut("EXPIRES", |inquiry| time(inquiry, "expires_at")),
];

impl Inquiries {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        let client = asking.client()?;
        match self {
            Self::List(InquiryListArgs { mine, overdue, status, assignee, execution, parent, between, page, watching }) => {
                let mut query = page.query();
                query.extend(mine.then(|| ("mine", "true".to_owned())));
                query.extend(overdue.then(|| ("overdue", "true".to_owned())));
                let execution = ids::whole_if_any(&client, &[ids::EXECUTION], execution).await?;
                let parent = ids::whole_if_any(&client, &[ids::EXECUTION], parent).await?;
                query.extend(between.query());
                let given = [("status", status), ("assignee", assignee), ("execution", execution), ("parent", parent)];
                query.extend(given.into_iter().filter_map(|(name, value)| Some((name, value?))));
                let refresh_on = RefreshOn::Changes("inquiries");
                print_page(asking, &client, &List { path: "/inquiries", query, columns: COLUMNS, refresh_on }, watching).await
            }
            Self::Show { id, as_of } => {
                let id = ids::whole(&client, &[ids::INQUIRY], &id).await?;
                let inquiry = nearest::get_by_id_with(&client, "/inquiries", &id, &as_of.query()).await?;
                asking.output.print_one(&inquiry, render);
                Ok(())
            }
            Self::Why { id } => {
                let id = ids::whole(&client, &[ids::INQUIRY], &id).await?;
                let why = client.get(&path(&id, "/why"), &[]).await?;
                asking.output.print_one(&why, led_to_it);
                Ok(())
            }
            Self::Respond(respond) => respond.run(asking, &client).await,
            Self::Link { id, r#for: name } => {
                let id = ids::whole(&client, &[ids::INQUIRY], &id).await?;
                let made = client.post(&path(&id, "/links"), &json!({ "for": name })).await?.body;
                asking.output.print(&made, || {
                    say(text(&made, "code"));
                    eprint_line(format!(
                        "the code is shown only this once: it lets `{name}` answer once it is posted to /api/v1/inquiries/links/open, until {}",
                        text(&made, "until")
                    ));
                });
                Ok(())
            }
            Self::Delegate { id, to } => {
                let id = ids::whole(&client, &[ids::INQUIRY], &id).await?;
                let answer = client.post(&path(&id, "/delegate"), &json!({ "to": to })).await?.body;
                asking.output.print(&answer, || eprint_line(format!("`{to}` may answer `{}` in your place", text(&answer, "title"))));
                Ok(())
            }
            Self::Cancel { id } => {
                let id = ids::whole(&client, &[ids::INQUIRY], &id).await?;
                let answer = client.post(&path(&id, "/cancel"), &json!({})).await?.body;
                asking.output.print_one(&answer, |inquiry| text(inquiry, "status"));
                Ok(())
            }
        }
    }
}

impl Respond {
    async fn run(self, asking: &Asking, client: &Client) -> CommandResult {
        let sets: Vec<(String, TypedValue)> = self.set.iter().map(|set| parse_assignment("--set", set)).collect::<Result<_, _>>()?;
        let whole = self.json.as_deref().map(json_of).transpose()?;
        let id = ids::whole(client, &[ids::INQUIRY], &self.id).await?;
        let inquiry = nearest::get_by_id(client, "/inquiries", &id).await?;
        let mut answer = whole.unwrap_or_else(|| Value::Object(Map::new()));
        if !sets.is_empty() {
            let Value::Object(fields) = &mut answer else {
                return Err(Failure::with(Exit::Usage, "`--set` needs an object, but the value of `--json` is not an object"));
            };
            for (name, value) in sets {
                let value = match value {
                    TypedValue::Text(value) => parse_field(&inquiry["answer_schema"], &name, &value),
                    TypedValue::Json(value) => value,
                };
                fields.insert(name, value);
            }
        }
        let digest = self.digest.unwrap_or_else(|| text(&inquiry, "digest"));
        if asking.output.is_for_people() {
            eprint_line(format!("{}: {answer}", text(&inquiry, "title")));
        }
        let answered = client.post(&path(&id, "/respond"), &json!({ "answer": answer, "digest": digest })).await?.body;
        asking.output.print_one(&answered, |inquiry| text(inquiry, "status"));
        if asking.output.is_for_people() && answered["status"] == "open" {
            let given = answered["answers"].as_array().map_or(0, Vec::len);
            eprint_line(format!("your answer is recorded; {given} of {} answers have been given", text(&answered, "quorum")));
        }
        Ok(())
    }
}

fn json_of(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::with(Exit::Usage, format!("the value of `--json` is not JSON: {error}")))
}

fn path(id: &str, rest: &str) -> String {
    format!("/inquiries/{}{rest}", segment(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_filter_values_match_the_api() {
        let document: Value = serde_json::from_str(include_str!("../../../docs/reference/openapi.json")).unwrap();
        assert_eq!(document["components"]["schemas"]["InquiryStatus"]["enum"], json!(STATUSES));
    }
}
