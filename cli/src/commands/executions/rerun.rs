//! `ensue executions rerun`: runs an ended execution again.

use clap::Args;
use serde_json::{Value, json};

use super::Asking;
use super::bulk_change::{Trying, Which, change_all};
use crate::client::{Client, segment, with_query};
use crate::commands::one_execution::{ExecutionShape, path};
use crate::commands::run::{parse_assignment, print_request, print_result, read_as, until_its_end};
use crate::commands::step_progress;
use crate::ids;
use crate::report::{CommandResult, printable, say};
use crate::table::text;

/// How an execution is run again.
#[derive(Debug, Args)]
#[command(after_help = "\
Steps that are taken over do not run: the new execution contains them with their results. Steps that need a step that runs again run again,
and so do steps that were undone. A question that people answered is asked again, unless it is exactly the same.

Examples:
  ensue executions rerun 019c…                              all of it
  ensue executions rerun 019c… --from failed --wait         the parts that did not succeed
  ensue executions rerun 019c… --from announce              this step, and the steps that need it
  ensue executions rerun 019c… --param version=v2
  ensue executions rerun --status failed --since 2h --from failed")]
pub(crate) struct Rerun {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    trying: Trying,
    /// Where to start: `start` reruns everything, `failed` reruns the steps that did not succeed, and
    /// the name of a step reruns from that step.
    #[arg(long, value_name = "start|failed|STEP", default_value = "start")]
    from: String,
    /// A parameter to change: `name=value`, read as the type that the action declares, or `name:=json`.
    /// The other parameters stay the same.
    #[arg(long = "param", value_name = "NAME=VALUE")]
    param: Vec<String>,
    /// With filters: also rerun executions that were already rerun.
    #[arg(long, requires = "filters")]
    again: bool,
    /// Wait for the end and print the result. Exits with code 1 if the execution does not succeed. For a
    /// workflow, report each step on standard error when it begins and ends.
    #[arg(long, conflicts_with_all = ["filters", "dry_run"])]
    wait: bool,
}

impl Rerun {
    pub(super) async fn run(self, asking: &Asking, client: &Client) -> CommandResult {
        let mut body = json!({ "from": self.from });
        let given = self.param.iter().map(|param| parse_assignment("--param", param)).collect::<Result<Vec<_>, _>>()?;
        let Some(id) = ids::whole_if_any(client, &[ids::EXECUTION], self.which.id).await? else {
            if !given.is_empty() {
                let schema = parameters_of(client, self.which.filters.action()).await;
                body["params"] = Value::Object(read_as(given, &schema));
            }
            let trying = Trying { again: self.again, ..self.trying };
            return change_all(asking, client, self.which.filters, trying, ("rerun", &body)).await;
        };
        if !given.is_empty() {
            let execution = client.get(&path(&id, ""), &[]).await.unwrap_or_default();
            let schema = parameters_of(client, execution["action"].as_str()).await;
            body["params"] = Value::Object(read_as(given, &schema));
        }
        if self.trying.dry_run {
            let plan = client.post(&with_query(&path(&id, "/rerun"), &[("dry_run", "true".to_owned())]), &body).await?.body;
            asking.output.print(&plan, || explain(&plan));
            return Ok(());
        }
        let execution = client.post(&path(&id, "/rerun"), &body).await?.body;
        if !self.wait {
            print_request(asking, &execution);
            return Ok(());
        }
        let action = client.get(&format!("/actions/{}", text(&execution, "action")), &[]).await;
        let is_workflow = action.map_or(execution["rule"].is_string(), |action| action["runner"] == "workflow");
        if asking.output.is_for_people() && is_workflow {
            let ended = step_progress::follow(client, &text(&execution, "id")).await?;
            return print_result(asking, &ended, ExecutionShape::OfSteps);
        }
        print_result(asking, &until_its_end(client, execution).await?, ExecutionShape::Whole)
    }
}

/// Prints what a rerun would do.
fn explain(plan: &Value) {
    let steps = |list: &str| plan[list].as_array().map(Vec::as_slice).unwrap_or_default();
    if ["runs", "taken_over", "decided_again"].iter().all(|list| steps(list).is_empty()) {
        return say("it would run again as a whole");
    }
    for (list, what) in
        [("runs", "would run"), ("taken_over", "would be taken over"), ("decided_again", "was skipped; that is decided again")]
    {
        for step in steps(list) {
            let name = step.as_str().map_or_else(|| text(step, "step"), str::to_owned);
            match step["items"].as_u64() {
                Some(1) => say(printable(&format!("{name}: 1 item {what}"))),
                Some(items) => say(printable(&format!("{name}: {items} items {what}"))),
                None => say(printable(&format!("{name}: {what}"))),
            }
        }
    }
}

/// Returns the schema of an action's parameters; null if no action is named, or it cannot be read.
async fn parameters_of(client: &Client, action: Option<&str>) -> Value {
    let Some(action) = action else { return Value::Null };
    client.get(&format!("/actions/{}", segment(action)), &[]).await.map(|mut action| action["parameters"].take()).unwrap_or_default()
}
