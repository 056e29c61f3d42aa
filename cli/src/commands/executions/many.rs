//! One change applied to many executions, selected with the filters of a list.

use clap::Args;
use ensue_engine::executions::labels::{LabelValue, written};
use ensue_engine::names::LabelName;
use ensue_engine::time::Timestamp;
use serde_json::{Value, json};

use super::{Asking, CHAIN, STATUSES, changed, error_kinds};
use crate::ago::moment_of;
use crate::client::{Client, with_query};
use crate::commands::many;
use crate::commands::one_execution::{label_of, path};
use crate::ids;
use crate::report::{Failure, Outcome};
use crate::table::text;
use crate::this_machine::now;

/// Which executions: one by its id, or those that fit.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The execution.
    #[arg(required_unless_present = "filters", conflicts_with = "filters")]
    pub(super) id: Option<String>,
    #[command(flatten)]
    pub(super) filters: Filters,
}

/// What all of many have in common.
#[derive(Debug, Args)]
#[group(id = "filters", multiple = true)]
pub(crate) struct Filters {
    /// Only items with this status.
    #[arg(long, value_name = "STATUS", value_parser = STATUSES)]
    pub(super) status: Option<String>,
    /// Only items of this action.
    #[arg(long, value_name = "REF")]
    action: Option<String>,
    /// Only executions requested by this rule.
    #[arg(long, value_name = "REF")]
    rule: Option<String>,
    /// Only executions with this label. Repeat the option to require several labels.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label_of)]
    labels: Vec<(LabelName, LabelValue)>,
    /// Only executions that failed with this kind of error.
    #[arg(long, value_name = "KIND", value_parser = error_kinds())]
    pub(super) error_kind: Option<String>,
    /// Only executions caused by this event or request.
    #[arg(long, value_name = "ID")]
    correlation: Option<String>,
    /// Only the steps of this workflow execution. Steps are changed only with this option.
    #[arg(long, value_name = "ID")]
    pub(super) parent: Option<String>,
    /// Only executions requested since this time, or since so long ago (`30d`, `12h`).
    #[arg(long, value_name = "TIME", value_parser = moment_of)]
    since: Option<Timestamp>,
    /// Only executions requested before this time.
    #[arg(long, value_name = "TIME", value_parser = moment_of)]
    until: Option<Timestamp>,
}

/// Whether anything is done.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Trying {
    /// Print what would happen, and change nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Whether what was rerun already is rerun once more; only `rerun` has a flag for it.
    #[arg(skip)]
    pub(super) again: bool,
}

impl Filters {
    /// Returns the action that all of them must have, if one is given.
    pub(super) fn action(&self) -> Option<&str> {
        self.action.as_deref()
    }

    /// Returns the same filters with the whole ids of things that were given by the beginnings of their ids.
    pub(super) async fn with_whole_ids(self, client: &Client) -> Result<Self, Failure> {
        let correlation = ids::whole_if_any(client, CHAIN, self.correlation).await?;
        let parent = ids::whole_if_any(client, &[ids::EXECUTION], self.parent).await?;
        Ok(Self { correlation, parent, ..self })
    }

    pub(super) fn query(self) -> Vec<(&'static str, String)> {
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
        let all = [
            ("status", self.status),
            ("action", self.action),
            ("rule", self.rule),
            ("correlation", self.correlation),
            ("parent", self.parent),
            ("error_kind", self.error_kind),
            ("since", time(self.since)),
            ("until", time(self.until)),
        ];
        let labels = self.labels.iter().map(|(name, value)| ("label", written(name, value)));
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).chain(labels).collect()
    }
}

/// Changes one execution, or all that match.
pub(super) async fn change(asking: &Asking, client: &Client, which: Which, trying: Trying, how: &str) -> Outcome {
    match ids::whole_if_any(client, &[ids::EXECUTION], which.id).await? {
        Some(id) if trying.dry_run => {
            client.post(&with_query(&path(&id, &format!("/{how}")), &[("dry_run", "true".to_owned())]), &json!({})).await?;
            Ok(())
        }
        Some(id) => changed(asking, client, &id, &format!("/{how}")).await,
        None => change_all(asking, client, which.filters, trying, (how, &json!({}))).await,
    }
}

/// Changes all executions that match, and prints the result for each; exits with 1 if some were rejected.
pub(super) async fn change_all(
    asking: &Asking,
    client: &Client,
    filters: Filters,
    trying: Trying,
    (how, body): (&str, &Value),
) -> Outcome {
    let mut query = filters.with_whole_ids(client).await?.query();
    if trying.again {
        query.push(("again", "true".to_owned()));
    }
    // The executions created by a rerun are not run again.
    if how == "rerun" && !query.iter().any(|(name, _)| *name == "until") {
        query.push(("until", now().to_string()));
    }
    if trying.dry_run {
        query.push(("dry_run", "true".to_owned()));
    }
    many::change_all(asking, client, &format!("/executions/{how}"), query, (body, line)).await
}

/// Returns the result for one execution, for people.
fn line(item: &Value) -> String {
    let execution = text(item, "execution");
    if let Value::String(rerun) = &item["rerun_before"] {
        return format!("{execution}  left out: already rerun as {rerun}");
    }
    match (&item["error"], &item["rerun"]) {
        (Value::Null, Value::String(rerun)) => format!("{execution}  runs again as {rerun}"),
        (Value::Null, _) if item["position"].is_null() => format!("{execution}  would be done"),
        (Value::Null, _) => format!("{execution}  done"),
        (error, _) => format!("{execution}  rejected: {}", text(error, "detail")),
    }
}
