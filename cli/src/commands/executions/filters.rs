//! The filters that select executions, to list them or to change all of them.

use clap::Args;
use ensue_engine::executions::labels::{LabelValue, render_label};
use ensue_engine::names::LabelName;
use ensue_engine::time::Timestamp;

use super::{CHAIN, STATUSES, error_kinds};
use crate::ago::moment_of;
use crate::client::Client;
use crate::commands::one_execution::label_of;
use crate::commands::several;
use crate::ids;
use crate::report::Failure;

/// What all of the executions have in common.
#[derive(Debug, Args)]
#[group(id = "filters", multiple = true)]
pub(crate) struct ExecutionFilters {
    /// Only items with one of these statuses, separated by commas.
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = STATUSES)]
    pub(super) status: Vec<String>,
    /// Only items of one of these actions.
    #[arg(long, value_name = "REF", value_delimiter = ',')]
    action: Vec<String>,
    /// Only executions requested by one of these rules.
    #[arg(long, value_name = "REF", value_delimiter = ',')]
    rule: Vec<String>,
    /// Only executions with this label. Repeat the option to require several labels.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label_of)]
    labels: Vec<(LabelName, LabelValue)>,
    /// Only executions that failed with this kind of error.
    #[arg(long, value_name = "KIND", value_parser = error_kinds())]
    pub(super) error_kind: Option<String>,
    /// Only executions caused by this event or request.
    #[arg(long, value_name = "ID")]
    correlation: Option<String>,
    /// Only the steps of this workflow execution.
    #[arg(long, value_name = "ID")]
    pub(super) parent: Option<String>,
    /// Only executions requested since this time, or since so long ago (`30d`, `12h`).
    #[arg(long, value_name = "TIME", value_parser = moment_of)]
    since: Option<Timestamp>,
    /// Only executions requested before this time.
    #[arg(long, value_name = "TIME", value_parser = moment_of)]
    until: Option<Timestamp>,
}

impl ExecutionFilters {
    /// Returns the action that all of them must have, if only one is given.
    pub(super) fn action(&self) -> Option<&str> {
        match self.action.as_slice() {
            [one] => Some(one),
            [] | [_, _, ..] => None,
        }
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
            ("status", several(&self.status)),
            ("action", several(&self.action)),
            ("rule", several(&self.rule)),
            ("correlation", self.correlation),
            ("parent", self.parent),
            ("error_kind", self.error_kind),
            ("since", time(self.since)),
            ("until", time(self.until)),
        ];
        let labels = self.labels.iter().map(|(name, value)| ("label", render_label(name, value)));
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).chain(labels).collect()
    }
}
