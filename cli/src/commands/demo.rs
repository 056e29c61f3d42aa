//! `ensue demo`: a real webhook, from its arrival to a finished action, on a node that is started for it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use ensue_bench::github;
use ensue_engine::ports::Secret;
use ensue_engine::time::Timestamp;
use ensue_node::config::AtStop;
use ensue_node::{Config, Node};
use serde_json::{Value, json};

use super::Asking;
use super::one_execution::has_ended;
use crate::client::{Client, HookAnswer, Token};
use crate::open_files::OpenFiles;
use crate::report::{CommandResult, Failure, eprint_line, say};
use crate::style::Style;
use crate::table::text;
use crate::trace::{self, Ids};
use crate::tree;
use crate::trust::Trust;
use crate::wording;

/// The time limit for the work of the one event.
const PATIENCE: Duration = Duration::from_secs(20);
/// The polling interval.
const PAUSE: Duration = Duration::from_millis(2);

/// Run a demo: a signed webhook, its rules, their actions, and why.
///
/// Starts a node on an embedded SQLite in a new temporary directory, with the packs that ship with
/// Ensue. Sends it a pull request as GitHub does, and shows the results. The directory is removed
/// at the end.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ensue demo
  ensue demo --keep      leaves the node running until Ctrl-C, so that you can try it in a browser")]
pub(crate) struct Demo {
    /// Leave the node running until Ctrl-C.
    #[arg(long)]
    keep: bool,
}

impl Demo {
    pub(super) fn run(self, asking: &Asking) -> CommandResult {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new(format!("the runtime cannot be started: {error}")))?;
        super::serve::run_and_leave(runtime, self.play(asking.output.style()))
    }

    async fn play(self, style: Style) -> CommandResult {
        let begin = Instant::now();
        let failed = |error: std::io::Error| Failure::new(format!("the demonstration needs a temporary directory: {error}"));
        let folder = tempfile::Builder::new().prefix("ensue-demo-").tempdir().map_err(failed)?;
        let secret = hex::encode(entropy()?);
        let node = start(folder.path()).await?;
        let stage = DemoSetup { folder: folder.path(), secret, style, server: format!("http://{}", node.address()), stays: self.keep };
        let token = node.first_admin_token().map(Secret::reveal).map(String::from_utf8_lossy).unwrap_or_default().into_owned();
        let played = stage.play(&token, begin).await;
        if let (Ok(()), true) = (&played, self.keep) {
            eprint_line("\nThe node runs until Ctrl-C.");
            let _ = tokio::signal::ctrl_c().await;
        }
        let stopped = node.stop().await.map_err(|failure| Failure::new(failure.to_string()));
        played.and(stopped)?;
        if !self.keep {
            say("\nThe node is stopped, and its directory removed. To send requests yourself, run:\n  ensue demo --keep");
        }
        Ok(())
    }
}

async fn start(folder: &Path) -> Result<Node, Failure> {
    let packs = folder.join("packs");
    std::fs::create_dir(&packs).map_err(|error| Failure::new(format!("`{}` cannot be created: {error}", packs.display())))?;
    let mut config = Config::new(folder.join("data"));
    config.listen = (std::net::Ipv4Addr::LOCALHOST, 0).into();
    config.packs = packs;
    config.state_base = Some(folder.join("state"));
    config.min_free_bytes = 0;
    config.supervisor = Some(super::supervisor::command(OpenFiles(None)));
    // The directory is removed with the node.
    config.actions.at_stop = AtStop::End;
    Node::start(config).await.map_err(|error| Failure::from_error(&error))
}

fn entropy() -> Result<[u8; 32], Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| Failure::new(format!("the system provides no random bytes: {error}")))?;
    Ok(bytes)
}

/// The setting of the demonstration.
struct DemoSetup<'a> {
    folder: &'a Path,
    secret: String,
    style: Style,
    server: String,
    /// Whether the node and its folder outlive the demonstration.
    stays: bool,
}

impl DemoSetup<'_> {
    async fn play(&self, token: &str, begin: Instant) -> CommandResult {
        let client = Client::new(&self.server, Token::of_variable(token)?, &Trust::default())?;
        self.introduce(&client, begin).await?;
        let headers = self.headers();
        let position = client.get("/log/head", &[]).await?["position"].as_u64().unwrap_or_default();
        let sent = Instant::now();
        let delivered = client.deliver(HOOK, &headers, github::PULL_REQUEST).await?;
        let took = micros(sent.elapsed());
        say(format!("→ POST {HOOK}   a GitHub pull request, {} bytes, signed", thousands(github::PULL_REQUEST.len())));
        say(format!("← {} in {}: the answered events are on the disk\n", delivered.status, wording::duration(took)));
        let event = event_of(&delivered)?;
        self.follow(&client, position, &event).await?;
        say("\nThe reasons, rule by rule; times count from the webhook's arrival:\n");
        let graph = self.await_end(&client, &event).await?;
        let drawn = trace::tree(&client, &graph, Ids::Hidden, &[]).await?;
        say(tree::draw(&drawn, self.style));
        if self.stays {
            self.in_a_browser(&client, &event).await?;
            self.by_hand(token, &event)?;
        }
        say(self.style.strong("Your own"));
        say("\n  ensue init my-automation && cd my-automation\n  ensue check packs/\n  ensue serve --watch");
        Ok(())
    }

    async fn introduce(&self, client: &Client, begin: Instant) -> CommandResult {
        let packs = client.get("/packs", &[]).await?;
        let packs = packs["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let packs: Vec<String> = packs.iter().map(|pack| format!("{} {}", text(pack, "name"), text(pack, "version"))).collect();
        client.put(&format!("/keys/{KEY}"), &json!({ "value": self.secret })).await?;
        say(self.style.strong("A webhook, from its arrival to a finished action"));
        say(format!(
            "\n  node    {}, up in {}\n  data    an embedded SQLite in {}\n  packs   {}\n  secret  {KEY} is set; without it the hook accepts nothing\n",
            self.server,
            wording::duration(micros(begin.elapsed())),
            self.folder.display(),
            packs.join(", "),
        ));
        Ok(())
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        vec![
            ("Content-Type", "application/json".to_owned()),
            ("User-Agent", "GitHub-Hookshot/demo".to_owned()),
            ("X-GitHub-Event", "pull_request".to_owned()),
            ("X-Hub-Signature-256", github::signature(self.secret.as_bytes(), github::PULL_REQUEST)),
            ("X-GitHub-Delivery", "5a8c0b6e-0001-4000-8000-000000000001".to_owned()),
        ]
    }

    /// Prints the records that the event leads to as they are appended to the log, until all its work has
    /// ended.
    async fn follow(&self, client: &Client, mut position: u64, event: &str) -> CommandResult {
        let begin = Instant::now();
        let mut arrived = None;
        let mut actions = BTreeMap::new();
        let mut open = 0_i64;
        loop {
            let page = client.get("/log", &[("after", position.to_string()), ("limit", "200".to_owned())]).await?;
            for record in page["items"].as_array().map(Vec::as_slice).unwrap_or_default() {
                position = record["position"].as_u64().unwrap_or(position);
                if text(record, "cause.root") != event {
                    continue;
                }
                let kind = text(record, "kind");
                let at: Option<Timestamp> = text(record, "time").parse().ok();
                if kind == "event.received" {
                    arrived = text(record, "fact.occurred_at").parse().ok().or(at);
                }
                let since = match (at, arrived) {
                    (Some(at), Some(arrived)) => format!("+{}", wording::duration(at.micros_since(arrived).max(0))),
                    (_, _) => String::new(),
                };
                let stream = text(record, "stream");
                if kind == "execution.requested" {
                    actions.insert(stream.clone(), text(record, "fact.action"));
                }
                let what = about(&record["fact"]).or_else(|| actions.get(&stream).cloned()).unwrap_or_default();
                say(format!("{}  {since:>9}  {kind:<22} {what}", self.style.faint(&format!("{position:>6}"))));
                open += change_of_open(&kind);
            }
            if arrived.is_some() && open <= 0 {
                return Ok(());
            }
            if begin.elapsed() > PATIENCE {
                return Err(Failure::new(format!("the work for the event {event} did not end within {} seconds", PATIENCE.as_secs())));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until the read models are up to date with the log, and returns the causal graph.
    async fn await_end(&self, client: &Client, event: &str) -> Result<Value, Failure> {
        let begin = Instant::now();
        loop {
            let graph = client.get(&format!("/trace/{event}"), &[]).await?;
            let nodes = graph["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
            let mut executions = nodes.iter().filter(|node| node["kind"] == "execution").peekable();
            if executions.peek().is_some() && executions.all(has_ended) {
                return Ok(graph);
            }
            if begin.elapsed() > PATIENCE {
                return Err(Failure::new("the read models do not show the end of the work"));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Prints a link that logs the reader in, and where to ask why.
    async fn in_a_browser(&self, client: &Client, event: &str) -> CommandResult {
        let name = text(&client.get("/me", &[]).await?, "name");
        let link = client.post(&format!("/tokens/{name}/login_links"), &json!({})).await?;
        say(self.style.strong("In a browser"));
        say(format!(
            "\n  {server}/ui/login#{code}\n    logs you in, once, within a day\n\
             \x20 {server}/ui/events/{event}\n    shows what each rule decided about this webhook, and why\n\
             \x20 {server}/docs\n    is the documentation\n",
            server = self.server,
            code = text(&link.body, "code"),
        ));
        Ok(())
    }

    /// Prints the commands that do the same by hand. They need the node, which must still be running when
    /// they are read.
    fn by_hand(&self, token: &str, event: &str) -> CommandResult {
        let headers: Vec<String> = self
            .headers()
            .into_iter()
            .filter(|(name, _)| *name != "X-GitHub-Delivery")
            .map(|(name, value)| format!("{name}: {value}\n"))
            .collect();
        let write = |name: &str, bytes: &[u8]| {
            std::fs::write(self.folder.join(name), bytes).map_err(|error| Failure::new(format!("`{name}` cannot be written: {error}")))
        };
        write("webhook.headers", headers.concat().as_bytes())?;
        write("webhook.json", github::PULL_REQUEST)?;
        say(self.style.strong("The same by hand"));
        say(format!(
            "\n\
             \x20 cd {folder}\n\
             \x20 export ENSUE_SERVER={server}\n\
             \x20 export ENSUE_TOKEN={token}\n\
             \n\
             \x20 curl -i $ENSUE_SERVER{HOOK} -H @webhook.headers \\\n\
             \x20   -H \"X-GitHub-Delivery: $(date +%s%N)\" --data-binary @webhook.json\n\
             \x20 curl $ENSUE_SERVER/api/v1/executions -H \"Authorization: Bearer $ENSUE_TOKEN\"\n\
             \x20 curl $ENSUE_SERVER/api/v1/events -H \"Authorization: Bearer $ENSUE_TOKEN\" \\\n\
             \x20   -H 'Content-Type: application/json' \\\n\
             \x20   -d '{{\"trigger\":\"examples.hello\",\"payload\":{{\"name\":\"Ada\"}}}}'\n\
             \x20 ensue why {event}\n",
            folder = self.folder.display(),
            server = self.server,
        ));
        Ok(())
    }
}

const HOOK: &str = "/hooks/github/webhook";
const KEY: &str = "github.webhook_secret";

fn event_of(delivered: &HookAnswer) -> Result<String, Failure> {
    match delivered.body["events"][0]["id"].as_str() {
        Some(id) if delivered.status.as_u16() == 202 => Ok(id.to_owned()),
        Some(_) | None => Err(Failure::new(format!("the webhook was answered with {}: {}", delivered.status, delivered.body))),
    }
}

/// Returns the subject of a fact, if it names one.
fn about(fact: &Value) -> Option<String> {
    let names = ["error.message", "trigger", "action", "rule"];
    names.into_iter().map(|name| text(fact, name)).find(|text| !text.is_empty())
}

/// Returns how the number of open executions changes with a record of this kind.
fn change_of_open(kind: &str) -> i64 {
    match kind {
        "execution.requested" => 1,
        "execution.succeeded" | "execution.failed" | "execution.timed_out" | "execution.cancelled" | "execution.became_indeterminate" => -1,
        _ => 0,
    }
}

fn micros(length: Duration) -> i64 {
    i64::try_from(length.as_micros()).unwrap_or(i64::MAX)
}

fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}
