//! Reads on a large log: how long the pages of lists take among many rows, at any depth, and how often a
//! single resource can be requested.
//!
//! Pages are followed by their cursors from the newest item on, and from times deep in the past.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use ensue_engine::time::Timestamp;
use ensue_node::long_log::LongLogPlan;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::child::{Machine, Node};
use crate::figures::{Latencies, latency, number, round_to_hundredths};
use crate::log_folder::KeptLog;
use crate::log_summary::success_body;
use crate::packs;
use crate::table::laid_out;
use crate::watcher::{Length, Watcher};
use crate::wire::{self, HttpConnection};

/// The length of a payload.
const PAYLOAD_BYTES: usize = 100;
/// How many executions wait for a worker that never comes.
const OPEN: u64 = 1_000;
/// The number of records of an event, its enforcements, its execution and its attempt, in tenths.
const RECORDS_OF_TEN: u64 = 55;
/// How many pages are followed from each starting point.
const PAGES: usize = 20;
/// The positions of the deep starting points in the whole time span, in hundredths.
const DEEP: [i64; 4] = [75, 50, 25, 5];
/// The most items of a page.
const LIMIT: usize = 200;
/// The goal: no page takes longer.
const AIM: Duration = Duration::from_millis(20);

/// The amount of data and requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// The number of executions to create.
    pub(crate) executions: u64,
    /// The number of connections that request a single resource.
    pub(crate) connections: usize,
    /// The duration of these requests.
    pub(crate) duration: Duration,
}

/// Creates this many executions in `folder`, if they do not exist yet, and reads them. Returns the figures as
/// JSON.
pub(crate) async fn measure(folder: &Path, size: Size, machine: &Machine, watcher: &dyn Watcher) -> io::Result<Value> {
    let log = KeptLog::open(folder, write_pack, machine).await?;
    let records = log.lengthen("making executions", &log_plan(size.executions)?, watcher)?;
    let node = log.start().await?;
    let mut asker = Asker { connection: HttpConnection::open(node.address).await?, node: &node };
    asker.catch_up().await?;
    let things = FilterValues::read(&mut asker).await?;
    let paths = things.paths();
    let bar = watcher.bar("asking", Length::Records(paths.len() as u64));
    let mut lists = Vec::new();
    for (at, path) in paths.iter().enumerate() {
        lists.push(asker.list(path, &things).await?);
        bar.at(at as u64 + 1);
    }
    drop(bar);
    let (took, over) = one_thing(&node, &format!("/executions/{}", things.execution), size).await?;
    let count = took.count();
    let totals = asker.ask("/status").await?["totals"].take();
    node.stop().await?;
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let per_second = round_to_hundredths(count as f64 / over.as_secs_f64());
    Ok(json!({
        "records": records,
        "totals": totals,
        "aim_ms": AIM.as_millis(),
        "lists": lists,
        "one_per_second": per_second,
        "one": took.to_json(),
    }))
}

fn log_plan(executions: u64) -> io::Result<LongLogPlan> {
    Ok(LongLogPlan {
        records: executions * RECORDS_OF_TEN / 10,
        trigger: packs::TICK_REF.parse().map_err(io::Error::other)?,
        payload_bytes: PAYLOAD_BYTES,
        open: OPEN.min(executions / 10),
        failing: Some("core.echo".parse().map_err(io::Error::other)?),
    })
}

/// Each event leads to one execution, of one of two actions. One in ten thousand also matches a rule that
/// rarely matches.
fn write_pack(pack: &Path) -> io::Result<()> {
    let file = |path: &str, text: &str| packs::write_file(pack, path, text);
    let rule = |name: &str, when: &str, then: &str| {
        file(&format!("rules/{name}.yaml"), &format!("description: Made for a measurement.\ntrigger: bench.tick\nwhen: {when}\n{then}"))
    };
    file("pack.yaml", "name: bench\nversion: 0.1.0\ndescription: Made for a measurement.\n")?;
    file("triggers/tick.yaml", packs::TICK)?;
    rule("most", "event.payload.n % 10 != 0", "action: core.noop\n")?;
    rule("some", "event.payload.n % 10 == 0", "action: core.echo\nwith: { message: some }\n")?;
    rule("rare", "event.payload.n % 10000 == 1", "action: core.echo\nwith: { message: rare }\n")?;
    rule("watched", "event.payload.n % 2 == 0", "action: core.noop\nmode: shadow\n")
}

/// The values used in filters.
struct FilterValues {
    execution: String,
    correlation: String,
    event: String,
    /// Times deep in the past.
    deep: Vec<String>,
}

impl FilterValues {
    async fn read(asker: &mut Asker<'_>) -> io::Result<Self> {
        let mut newest = asker.ask("/executions?status=succeeded&limit=1").await?;
        let newest = newest["items"][0].take();
        let text = |name: &str| newest[name].as_str().map(str::to_owned).ok_or_else(|| io::Error::other(format!("no `{name}`: {newest}")));
        let end: Timestamp = text("requested_at")?.parse().map_err(io::Error::other)?;
        let first = asker.ask("/log?limit=1").await?;
        let begin: Timestamp = first["items"][0]["time"].as_str().unwrap_or_default().parse().map_err(io::Error::other)?;
        let deep = |hundredths: i64| Timestamp::from_micros(begin.micros() + end.micros_since(begin) / 100 * hundredths).to_string();
        Ok(Self { execution: text("id")?, correlation: text("correlation")?, event: text("event")?, deep: DEEP.map(deep).to_vec() })
    }

    /// Returns every filter that the API has for these lists, alone and in common combinations.
    fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        let mut add = |list: &str, filters: String| paths.push(format!("/{list}?{filters}"));
        const STATUSES: [&str; 11] = [
            "delayed",
            "queued",
            "waiting",
            "running",
            "cancelling",
            "undoing",
            "indeterminate",
            "succeeded",
            "failed",
            "timed_out",
            "cancelled",
        ];
        const RULES: [&str; 4] = ["bench.most", "bench.some", "bench.rare", "bench.none"];
        let by = |by: &str, names: &[&str]| names.iter().map(|name| format!("{by}={name}")).collect::<Vec<_>>();
        let (statuses, rules) = (by("status", &STATUSES), by("rule", &RULES));
        let actions = by("action", &["core.noop", "core.echo", "core.none"]);
        let outcomes = by("outcome", &["executed", "shadowed", "rejected"]);
        let (triggers, sources) = (by("trigger", &["bench.tick", "bench.none"]), by("source", &["api", "none"]));
        let correlation = format!("correlation={}", self.correlation);
        let both = |ones: &[String], others: &[String]| -> Vec<String> {
            ones.iter().flat_map(|one| others.iter().map(move |other| format!("{one}&{other}"))).collect()
        };
        let parent = format!("parent={}", self.execution);
        let executions = [vec![String::new(), correlation.clone(), parent], statuses.clone(), actions.clone(), rules.clone()];
        let pairs = [both(&statuses, &actions), both(&statuses, &rules), both(&actions, &rules)];
        executions.into_iter().chain(pairs).flatten().for_each(|filters| add("executions", filters));
        let events = [vec![String::new(), correlation], both(&triggers, &sources), triggers, sources];
        events.into_iter().flatten().for_each(|filters| add("events", filters));
        let rules = [rules, by("rule", &["bench.watched"])].concat();
        let event = vec![String::new(), format!("event={}", self.event)];
        let enforcements = [event, both(&rules, &outcomes), rules, outcomes];
        enforcements.into_iter().flatten().for_each(|filters| add("enforcements", filters));
        paths
    }
}

struct Asker<'a> {
    connection: HttpConnection,
    node: &'a Node,
}

/// The fields of a page besides its items.
#[derive(Deserialize)]
struct ListPage {
    items: Vec<serde::de::IgnoredAny>,
    next: Option<String>,
}

impl Asker<'_> {
    async fn ask(&mut self, path: &str) -> io::Result<Value> {
        let reply = self.connection.ask(&wire::get(self.node.address, &format!("/api/v1{path}"), &self.node.token)).await?;
        serde_json::from_slice(success_body(&reply)?).map_err(io::Error::other)
    }

    async fn catch_up(&mut self) -> io::Result<()> {
        crate::log_summary::lag(self.node, &mut self.connection).await.map(drop)
    }

    /// Follows a list from its newest item and from deep starting points.
    async fn list(&mut self, path: &str, things: &FilterValues) -> io::Result<Value> {
        let mut took = Vec::new();
        let mut slowest = (Duration::ZERO, String::new());
        let mut items = 0;
        let places = std::iter::once(String::new()).chain(things.deep.iter().map(|until| format!("&until={until}")));
        for place in places {
            let mut next = Some(String::new());
            for _ in 0..PAGES {
                let Some(cursor) = next.take() else { break };
                let asked = format!("/api/v1{path}&limit={LIMIT}{place}{cursor}").replace("?&", "?");
                let begin = Instant::now();
                let reply = self.connection.ask(&wire::get(self.node.address, &asked, &self.node.token)).await?;
                let page: ListPage = serde_json::from_slice(success_body(&reply)?).map_err(io::Error::other)?;
                let page_took = begin.elapsed();
                took.push(page_took);
                items += page.items.len();
                if page_took > slowest.0 {
                    slowest = (page_took, asked);
                }
                next = page.next.map(|cursor| format!("&cursor={cursor}"));
            }
        }
        let over = took.iter().filter(|took| **took > AIM).count();
        Ok(json!({
            "list": path, "pages": took.len(), "items": items, "over_aim": over, "took": Latencies::of(took.into_iter()).to_json(),
            "slowest": slowest.1,
        }))
    }
}

/// Requests one resource over many connections. Returns the latencies of the answers, and the total duration.
async fn one_thing(node: &Node, path: &str, size: Size) -> io::Result<(Latencies, Duration)> {
    let request = wire::get(node.address, &format!("/api/v1{path}"), &node.token);
    let mut tasks = JoinSet::new();
    let begin = Instant::now();
    for _ in 0..size.connections {
        let (mut connection, request) = (HttpConnection::open(node.address).await?, request.clone());
        tasks.spawn(async move {
            let mut took = Vec::new();
            while begin.elapsed() < size.duration {
                let asked = Instant::now();
                success_body(&connection.ask(&request).await?)?;
                took.push(asked.elapsed());
            }
            Ok::<_, io::Error>(took)
        });
    }
    let mut took = Vec::new();
    while let Some(part) = tasks.join_next().await {
        took.extend(part.map_err(io::Error::other)??);
    }
    Ok((Latencies::of(took.into_iter()), begin.elapsed()))
}

/// Returns the figures as a table for people, ordered by the slowest page of each list, slowest first.
pub(crate) fn table(figures: &Value) -> String {
    let mut lists: Vec<&Value> = figures["lists"].as_array().into_iter().flatten().collect();
    let longest = |list: &Value| list["took"]["max_ms"].as_f64().unwrap_or_default();
    lists.sort_by(|one, other| longest(other).total_cmp(&longest(one)));
    let over: u64 = lists.iter().filter_map(|list| list["over_aim"].as_u64()).sum();
    let pages: u64 = lists.iter().filter_map(|list| list["pages"].as_u64()).sum();
    let rows = lists.iter().map(|list| {
        vec![list["list"].as_str().unwrap_or_default().to_owned(), number(&list["pages"]), number(&list["items"]), latency(&list["took"])]
    });
    let table = laid_out(["LIST", "PAGES", "ITEMS", "TOOK ms"].map(str::to_owned).to_vec(), rows);
    format!(
        "{table}\n\n{over} of {pages} pages of up to {LIMIT} took more than {} ms; p50 / p99 / max, the slowest list first.\n\
         One execution was given {} times a second, {} ms.",
        figures["aim_ms"],
        number(&figures["one_per_second"]),
        latency(&figures["one"]),
    )
}
