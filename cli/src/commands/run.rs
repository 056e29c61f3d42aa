//! `ensue run`: runs an action by hand.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ensue_engine::executions::labels::{LabelValue, Labels};
use ensue_engine::names::LabelName;
use ensue_engine::time::{Timestamp, parse_duration};
use serde_json::{Map, Value, json};

use super::one_execution::{ExecutionShape, ended_well, has_ended, label_of};
use super::{Asking, read_json, step_progress};
use crate::client::{ApiAnswer, Client, segment, with_query};
use crate::report::{CommandResult, Exit, Failure, eprint_line, printable};
use crate::table::text;
use crate::this_machine;
use crate::wording::failure;
use crate::{nearest, questions};

/// How long one request waits for an execution's end, in seconds; it is repeated until the end.
const WAIT_SECONDS: u64 = 30;

/// Run an action.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ensue run core.echo --param message=hello --wait
  ensue run core.http --param url=https://example.com --wait
  ensue run core.noop --param seconds=3
  ensue run core.echo --in 10m
  ensue run release.ship --param version=v2 --dry-run
  ensue run release.ship --template nightly --param version=v2
  ensue run release.ship --params release.json
  ensue run release.ship --param version=v2 --label team=web")]
pub(crate) struct RunArgs {
    /// The action.
    action: String,
    /// A parameter: `name=value`, read as the type that the action declares, or `name:=json`.
    #[arg(long = "param", value_name = "NAME=VALUE")]
    param: Vec<String>,
    /// The file with the parameters as a JSON object. `-` reads standard input. --param overrides its
    /// values.
    #[arg(long, value_name = "FILE")]
    params: Option<PathBuf>,
    /// The action's template. It supplies the parameters that are not given here.
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
    /// A label to add to those of the action. Find the execution by it with `ensue executions list
    /// --label team=web`.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label_of)]
    labels: Vec<(LabelName, LabelValue)>,
    /// The earliest time at which it starts, in RFC 3339: 2026-03-28T09:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = time_of, conflicts_with = "in_a_while")]
    at: Option<Timestamp>,
    /// The delay before it starts: 90s, 10m, 24h.
    #[arg(long = "in", value_name = "DURATION", value_parser = while_of)]
    in_a_while: Option<Duration>,
    /// Wait for the end and print the result. Exits with code 1 if the execution does not succeed. For a
    /// workflow, report each step on standard error when it begins and ends.
    #[arg(long)]
    wait: bool,
    /// Check the action, its parameters and your rights, and run nothing. Exits as the run would if it is
    /// rejected.
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
}

impl RunArgs {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        let given = self.typed_params()?;
        let client = asking.client()?;
        let action = self.action(&client).await;
        let params = self.parameters(given, &action["parameters"])?;
        let path = format!("/actions/{}/execute", segment(&self.action));
        let mut body = json!({ "params": params });
        if let Some(template) = &self.template {
            body["template"] = Value::from(template.as_str());
        }
        if !self.labels.is_empty() {
            body["labels"] = json!(self.labels()?);
        }
        if let Some(at) = self.start_at() {
            body["start_at"] = at.to_string().into();
        }
        if self.dry_run {
            let dry = client.post(&with_query(&path, &[("dry_run", "true".to_owned())]), &body).await;
            self.requested_execution(&client, dry).await?;
            let document = json!({ "action": self.action, "would_run": true });
            asking.output.print_one(&document, |_| format!("`{}` would run", self.action));
            return Ok(());
        }
        if !self.wait {
            print_request(asking, &self.requested_execution(&client, client.post(&path, &body).await).await?);
            return Ok(());
        }
        let (execution, made) = if asking.output.is_for_people() && action["runner"] == "workflow" {
            let execution = self.requested_execution(&client, client.post(&path, &body).await).await?;
            (step_progress::follow(&client, &text(&execution, "id")).await?, ExecutionShape::OfSteps)
        } else {
            (self.await_end(&client, client.post_and_wait(&path, &body, WAIT_SECONDS).await).await?, ExecutionShape::Whole)
        };
        print_result(asking, &execution, made)
    }

    /// Returns the action; null if it cannot be read. A caller that may not see actions, or misspelled the name, gets the error when the action is run.
    async fn action(&self, client: &Client) -> Value {
        if self.param.is_empty() && !self.wait {
            return Value::Null;
        }
        client.get(&format!("/actions/{}", segment(&self.action)), &[]).await.unwrap_or_default()
    }

    async fn await_end(&self, client: &Client, answered: Result<ApiAnswer, Failure>) -> Result<Value, Failure> {
        until_its_end(client, self.requested_execution(client, answered).await?).await
    }

    /// Returns the requested execution.
    async fn requested_execution(&self, client: &Client, answered: Result<ApiAnswer, Failure>) -> Result<Value, Failure> {
        Ok(nearest::or_nearest(client, "/actions", &self.action, answered).await?.body)
    }

    /// Returns when it starts; a relative delay counts from this machine's clock.
    fn start_at(&self) -> Option<Timestamp> {
        let after = |wait: &Duration| this_machine::now().plus_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        self.at.or_else(|| self.in_a_while.as_ref().map(after))
    }

    fn labels(&self) -> Result<Labels, Failure> {
        let mut labels = Labels::new();
        for (name, value) in &self.labels {
            if labels.insert(name.clone(), value.clone()).is_some_and(|before| before != *value) {
                return Err(Failure::with(Exit::Usage, format!("the label `{name}` is given with two values, but it can have only one")));
            }
        }
        Ok(labels)
    }

    fn typed_params(&self) -> Result<Vec<(String, TypedValue)>, Failure> {
        self.param.iter().map(|param| parse_assignment("--param", param)).collect()
    }

    fn parameters(&self, given: Vec<(String, TypedValue)>, schema: &Value) -> Result<Value, Failure> {
        let mut params = match &self.params {
            None => Map::new(),
            Some(path) => match read_json(path)? {
                Value::Object(params) => params,
                _ => return Err(Failure::with(Exit::Refused, format!("`{}` does not contain an object", path.display()))),
            },
        };
        params.extend(read_as(given, schema));
        Ok(Value::Object(params))
    }
}

/// Converts typed parameters to the types that the schema declares.
pub(super) fn read_as(given: Vec<(String, TypedValue)>, schema: &Value) -> Map<String, Value> {
    let read = |(name, given): (String, TypedValue)| {
        let value = match given {
            TypedValue::Text(text) => questions::parse_field(schema, &name, &text),
            TypedValue::Json(value) => value,
        };
        (name, value)
    };
    given.into_iter().map(read).collect()
}

/// Reports a requested execution, and how to see more of it.
pub(super) fn print_request(asking: &Asking, execution: &Value) {
    let id = text(execution, "id");
    asking.output.print_one(execution, |_| id.clone());
    if asking.output.is_for_people() {
        match text(execution, "status").as_str() {
            "delayed" => eprint_line(format!("it starts at {}; see it with: ensue executions show {id}", text(execution, "waits_until"))),
            "waiting" if execution["inquiry"].is_string() => {
                eprint_line(format!(
                    "it waits for an answer; see the question and how to answer with: ensue inquiries show {}",
                    text(execution, "inquiry")
                ));
            }
            "waiting" => eprint_line(format!("requested; see its steps with: ensue executions show {id} --tree")),
            _ => eprint_line(format!("requested; follow it with: ensue executions logs {id} --follow")),
        }
    }
}

/// Prints the result of an execution, and fails if it did not succeed.
pub(super) fn print_result(asking: &Asking, execution: &Value, made: ExecutionShape) -> CommandResult {
    asking.output.print_one(execution, result);
    let why = failure(&execution["error"]);
    ended_well(&text(execution, "id"), made, &text(execution, "status"), &why)
}

/// Waits for an execution's end.
pub(super) async fn until_its_end(client: &Client, mut execution: Value) -> Result<Value, Failure> {
    while !has_ended(&execution) {
        execution = wait_more(client, &execution).await?;
    }
    Ok(execution)
}

fn time_of(text: &str) -> Result<Timestamp, String> {
    text.parse()
}

fn while_of(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .ok_or_else(|| format!("`{text}` is not a duration; write numbers with units: 250ms, 90s, 1h30m or 2d, at most 365d"))
}

/// The value typed for a name.
#[derive(Debug, PartialEq)]
pub(super) enum TypedValue {
    /// A text.
    Text(String),
    /// A value marked as JSON.
    Json(Value),
}

/// Parses `name=text` or `name:=json`, as typed after a flag.
pub(super) fn parse_assignment(flag: &str, typed: &str) -> Result<(String, TypedValue), Failure> {
    let usage = |why: String| {
        Failure::with(Exit::Usage, why).hint(format!("write name=text, or name:=json for values other than text: {flag} count:=3"))
    };
    let (name, value) = typed.split_once('=').ok_or_else(|| usage(format!("`{typed}` is not a parameter")))?;
    match name.strip_suffix(':') {
        None => Ok((name.to_owned(), TypedValue::Text(value.to_owned()))),
        Some(name) => {
            let value = serde_json::from_str(value).map_err(|error| usage(format!("the value of `{name}` is not JSON: {error}")))?;
            Ok((name.to_owned(), TypedValue::Json(value)))
        }
    }
}

async fn wait_more(client: &Client, execution: &Value) -> Result<Value, Failure> {
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(500);
    tokio::time::sleep(PAUSE).await;
    client.get(&format!("/executions/{}", segment(&text(execution, "id"))), &[]).await
}

/// Returns the result of an execution: a text as it is, anything else as JSON.
fn result(execution: &Value) -> String {
    match &execution["result"] {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        other => printable(&format!("{other:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_is_parsed_as_its_declared_type() {
        let schema = json!({ "type": "object", "properties": {
            "count": { "type": "integer" }, "fast": { "type": "boolean" }, "url": { "type": "string" }, "either": { "type": ["string", "null"] },
        }});
        let parameter = |typed: &str| parse_assignment("--param", typed).map(|given| Value::Object(read_as(vec![given], &schema)));
        assert_eq!(parameter("url=http://a/?b=c").unwrap(), json!({ "url": "http://a/?b=c" }));
        assert_eq!(parameter("count=3").unwrap(), json!({ "count": 3 }));
        assert_eq!(parameter("count=three").unwrap(), json!({ "count": "three" }));
        assert_eq!(parameter("fast=true").unwrap(), json!({ "fast": true }));
        assert_eq!(parameter("url=3").unwrap(), json!({ "url": "3" }));
        assert_eq!(parameter("either=null").unwrap(), json!({ "either": "null" }));
        assert_eq!(parameter("undeclared=3").unwrap(), json!({ "undeclared": "3" }));
        assert_eq!(parameter("count:=4").unwrap(), json!({ "count": 4 }));
        assert_eq!(parameter("url=").unwrap(), json!({ "url": "" }));
        for bad in ["count", "count:=three"] {
            assert_eq!(parameter(bad).unwrap_err().exit(), Exit::Usage, "{bad}");
        }
    }
}
