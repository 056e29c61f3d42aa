//! `ensue why`: the causal tree around a thing, or why rules handled an event as they did.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, ValueEnum};
use serde_json::{Value, json};

use super::rules::backtest::{pack_of, unreadable};
use super::{AsOf, Asking, PageArgs, print_next_cursor, read_json};
use crate::client::{Client, segment};
use crate::ids;
use crate::output::Output;
use crate::reason;
use crate::report::{CommandResult, Exit, Failure, say};
use crate::svg;
use crate::table::text;
use crate::trace::{self, Ids};
use crate::tree::{self, Branch};

/// The most pages of rules that are read.
const PAGES_MAX: usize = 500;

/// Show the causes and consequences of an event or execution. With --event or --data, show why rules
/// matched or did not.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").args(["id", "event", "data"]).required(true),
    after_help = "\
Examples:
  ensue why 019c…              times count from the arrival of the event that started it
  ensue why 019c… --svg > why.svg
  ensue why 019c… --as-of 2h   what had happened two hours ago
  ensue why --event 019c…      the verdict of each rule on the event, and why
  ensue why --rule release.ship --event 019c…
  ensue why --rule release.ship --event 019c… --definitions now
  ensue why --rule release.ship --data payload.json      an event that was never sent
  ensue why --rule release.ship --event 019c… --file packs/release/rules/ship.yaml"
)]
pub(crate) struct Why {
    /// An event, an enforcement, an execution, or an inquiry.
    #[arg(conflicts_with = "rule")]
    id: Option<String>,
    /// The rule to explain.
    #[arg(long, value_name = "REF")]
    rule: Option<String>,
    /// The event to explain. Without --rule, every rule of its trigger is explained.
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// The file with the JSON payload of an event that was never sent. `-` reads standard input.
    #[arg(long, visible_alias = "payload", value_name = "FILE", requires = "rule")]
    data: Option<PathBuf>,
    /// The trigger of that event, if the rule has several.
    #[arg(long, value_name = "REF", requires = "data")]
    trigger: Option<String>,
    /// The definitions to use: `then`, as installed when the event arrived, or `now`.
    #[arg(long, value_enum, default_value_t, value_name = "WHEN", conflicts_with = "data")]
    definitions: DefinitionTime,
    /// Judge with this file of the rule, in the folder of its pack, instead of the installed one.
    #[arg(long, value_name = "FILE", requires = "rule", conflicts_with = "definitions")]
    file: Option<PathBuf>,
    /// Print the tree as an SVG diagram.
    #[arg(long, requires = "id")]
    svg: bool,
    /// Show all rules, even if there are many.
    #[arg(long, requires = "event", conflicts_with = "cursor")]
    all: bool,
    #[command(flatten)]
    as_of: AsOf,
    #[command(flatten)]
    page: PageArgs,
}

/// By which definitions an event is judged.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum DefinitionTime {
    /// With the definitions that were installed when it arrived.
    #[default]
    Then,
    /// With the definitions that are installed now.
    Now,
}

impl DefinitionTime {
    fn name(self) -> &'static str {
        match self {
            Self::Then => "then",
            Self::Now => "now",
        }
    }
}

impl Why {
    pub(super) async fn run(self, asking: &Asking) -> CommandResult {
        if self.svg {
            asking.output.must_be_plain("--svg")?;
        }
        if self.id.is_none() && !self.as_of.is_now() {
            return Err(Failure::with(Exit::Usage, "`--as-of` needs the id of an event, an enforcement, an execution or an inquiry"));
        }
        let client = asking.client()?;
        let id = ids::whole_if_any(&client, &[ids::EVENT, ids::EXECUTION, ids::ENFORCEMENT, ids::INQUIRY], self.id.clone()).await?;
        let event = ids::whole_if_any(&client, &[ids::EVENT], self.event.clone()).await?;
        match (&id, &self.rule, &event, &self.data) {
            (Some(id), ..) if self.svg => print_picture(&client, id, &self.as_of.query()).await,
            (Some(id), ..) => causes(&client, id, &self.as_of.query(), asking.output).await,
            (None, Some(rule), Some(event), _) => {
                let definitions = if self.file.is_some() { DefinitionTime::Now } else { self.definitions };
                let path = format!("/rules/{}/explain?definitions={}", segment(rule), definitions.name());
                print_explanation(&client, &path, &json!({ "event": event, "file": self.file()? }), asking.output).await
            }
            (None, Some(rule), None, Some(data)) => {
                let event = build_event(&client, rule, self.trigger.as_deref(), data).await?;
                print_explanation(
                    &client,
                    &format!("/rules/{}/explain", segment(rule)),
                    &json!({ "event": event, "file": self.file()? }),
                    asking.output,
                )
                .await
            }
            (None, None, Some(event), _) => self.rules(&client, event, asking.output).await,
            (None, _, None, _) => {
                Err(Failure::with(Exit::Usage, "no event, enforcement or execution is named")
                    .hint("see the examples with `ensue help why`"))
            }
        }
    }

    /// Returns the changed file of the rule; null if none is named.
    fn file(&self) -> Result<Value, Failure> {
        let Some(path) = &self.file else { return Ok(Value::Null) };
        let text = std::fs::read_to_string(path).map_err(|why| unreadable(path, &why))?;
        let whole = path.canonicalize().map_err(|why| unreadable(path, &why))?;
        match pack_of(&whole) {
            Some((_, inside)) => Ok(json!({ "path": inside, "text": text })),
            None => Err(Failure::new(format!("{} does not belong to a pack: no folder above it has a `pack.yaml`", path.display()))
                .hint("name a file in a pack's `rules/`: the rule judges with the rest of its pack")),
        }
    }

    /// Prints what each rule decided about an event.
    async fn rules(&self, client: &Client, event: &str, output: Output) -> CommandResult {
        let path = format!("/events/{}/rules", segment(event));
        let mut query = self.page.query();
        query.push(("definitions", self.definitions.name().to_owned()));
        let mut answer = client.get(&path, &query).await?;
        for _ in 0..PAGES_MAX {
            let (true, Some(next)) = (self.all, answer["next"].as_str()) else { break };
            query.retain(|(name, _)| *name != "cursor");
            query.push(("cursor", next.to_owned()));
            let mut more = client.get(&path, &query).await?;
            answer["next"] = more["next"].take();
            if let (Some(items), Some(new)) = (answer["items"].as_array_mut(), more["items"].as_array_mut()) {
                items.append(new);
            }
        }
        output.print_one(&answer, |answer| {
            let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
            reason::of_rules(items, output.style())
        });
        print_next_cursor(&answer);
        Ok(())
    }
}

/// Reads the causal graph around a thing; for an inquiry, that of the execution that asks.
async fn graph(client: &Client, id: &str, at: &[(&str, String)]) -> Result<Value, Failure> {
    let failure = match client.get(&format!("/trace/{}", segment(id)), at).await {
        Err(failure) if failure.exit() == Exit::Missing => failure,
        answered => return answered,
    };
    match client.get(&format!("/inquiries/{}", segment(id)), &[]).await {
        Ok(inquiry) => client.get(&format!("/trace/{}", segment(&text(&inquiry, "execution"))), at).await,
        Err(_) => Err(failure),
    }
}

/// Draws the causal tree around a thing.
async fn causes(client: &Client, id: &str, at: &[(&str, String)], output: Output) -> CommandResult {
    let graph = graph(client, id, at).await?;
    let tree = match output.is_for_people() {
        true => trace::tree(client, &graph, Ids::Shown, at).await?,
        false => Branch::default(),
    };
    output.print_one(&graph, |_| tree::draw(&tree, output.style()));
    Ok(())
}

/// Draws the causal tree around a thing as a picture.
async fn print_picture(client: &Client, id: &str, at: &[(&str, String)]) -> CommandResult {
    let graph = graph(client, id, at).await?;
    say(svg::of_tree(&trace::tree(client, &graph, Ids::Shown, at).await?).trim_end());
    Ok(())
}

/// Requests what a rule decides about an event, and prints it.
async fn print_explanation(client: &Client, path: &str, asked: &Value, output: Output) -> CommandResult {
    let told = client.post(path, asked).await?.body;
    output.print_one(&told, |told| reason::of_rule(told, output.style()));
    Ok(())
}

/// Creates an event from a payload, with the given trigger or the rule's only one.
async fn build_event(client: &Client, rule: &str, trigger: Option<&str>, data: &Path) -> Result<Value, Failure> {
    let payload = read_json(data)?;
    if let Some(trigger) = trigger {
        return Ok(json!({ "trigger": trigger, "payload": payload }));
    }
    let shown = client.get(&format!("/rules/{}", segment(rule)), &[]).await?;
    let triggers: Vec<&str> = shown["triggers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match triggers.as_slice() {
        [only] => Ok(json!({ "trigger": only, "payload": payload })),
        several => Err(Failure::with(Exit::Usage, format!("rule `{rule}` names several triggers: {}", several.join(", ")))
            .hint("name the trigger of the event: --trigger REF")),
    }
}
