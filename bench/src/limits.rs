//! Limits: the best that this machine can do with the operations that an event's path consists of.
//!
//! They involve no node, so that a node's figures can be expressed as shares of them.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ensue_node::insert_rate::inserts;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};

use crate::cores::Cores;
use crate::delivery::Delivery;
use crate::figures::round_to_hundredths;
use crate::github;
use crate::load::{Load, LoadResult, Pace, Until};
use crate::table::laid_out;

/// How many writes are synced as one group: the default number of connections.
const GROUP: u32 = 64;
/// The answer of a bare handler: an event's id, as from a node.
const ANSWER: &[u8] = br#"{"events":[{"id":"00000000-0000-0000-0000-000000000000"}]}"#;

/// The most bytes written for one limit: the folder may be in memory.
const BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Measures each limit for the given time, in a folder on the disk in question, and leaves nothing there.
/// Returns them as JSON.
pub(crate) async fn measure(folder: &Path, connections: usize, each: Duration, cores: &Cores) -> io::Result<Value> {
    let body = github::PULL_REQUEST;
    let inserted = |rows| {
        let folder = tempfile::tempdir_in(folder)?;
        inserts(folder.path(), body, rows, each).map_err(|error| io::Error::other(error.to_string()))
    };
    Ok(json!({
        "body_bytes": body.len(),
        "group": GROUP,
        "handled_per_second": rate(measure_http(connections, each, cores).await?),
        "synced_per_second": rate(measure_syncs(folder, body, 1, each)?),
        "synced_in_groups_per_second": rate(measure_syncs(folder, body, GROUP, each)?),
        "inserted_per_second": rate(inserted(1)?),
        "inserted_in_groups_per_second": rate(inserted(GROUP)?),
        "spawned_per_second": rate(measure_spawns(each)?),
    }))
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn rate((count, took): (u64, Duration)) -> f64 {
    if took.is_zero() { 0.0 } else { round_to_hundredths(count as f64 / took.as_secs_f64()) }
}

/// Sends the same body over as many connections to a handler that reads it and does nothing.
async fn measure_http(connections: usize, each: Duration, cores: &Cores) -> io::Result<(u64, Duration)> {
    let (tell, told) = sync_channel(1);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    // On threads of its own, as a node has them, and on the node's cores.
    let serving = move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            tokio::select! {
                // The measurement waits for it.
                ended = serve(|address| { let _ = tell.send(address); }) => ended,
                _ = stopped => Ok::<_, io::Error>(()),
            }
        })
    };
    let server = cores.on_those_of_the_node(|| Ok(std::thread::spawn(serving)))?;
    let node = tokio::task::block_in_place(|| told.recv()).map_err(io::Error::other)?;
    let load = Load {
        node,
        delivery: Delivery::new(node, "/hooks/bench/github", b"a secret of sixteen bytes"),
        pace: Pace::Closed,
        until: Until::Answered,
        connections,
        duration: each,
        first: 0,
    };
    let begin = Instant::now();
    let loaded = load.run().await?;
    let took = begin.elapsed();
    drop(stop);
    server.join().map_err(|_| io::Error::other("the bare handler stopped at an internal error"))??;
    Ok((all_taken(loaded)?, took))
}

/// Returns how many deliveries the bare handler accepted. It rejects none, so a missing one means that the
/// measurement was wrong.
fn all_taken(loaded: LoadResult) -> io::Result<u64> {
    match loaded.refused {
        0 => Ok(loaded.sent.len() as u64),
        refused => {
            let why = loaded.first_refusal.unwrap_or_default();
            Err(io::Error::other(format!("the bare handler rejected {refused} deliveries, the first one with: {why}")))
        }
    }
}

async fn serve(listens: impl FnOnce(SocketAddr)) -> io::Result<()> {
    let listener = tokio::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
    listens(listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let handler = service_fn(async |request: Request<Incoming>| {
            // An incomplete body is answered too: its sender is gone.
            let _ = request.into_body().collect().await;
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(ANSWER))))
        });
        let connection =
            hyper::server::conn::http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), handler);
        tokio::spawn(connection);
    }
}

/// Appends the same body to a file, and syncs a group of them to disk at once.
fn measure_syncs(folder: &Path, body: &[u8], group: u32, each: Duration) -> io::Result<(u64, Duration)> {
    let mut file = tempfile::tempfile_in(folder)?;
    let begin = Instant::now();
    let mut count = 0;
    while begin.elapsed() < each && count * (body.len() as u64) < BYTES_MAX {
        for _ in 0..group {
            file.write_all(body)?;
        }
        file.sync_data()?;
        count += u64::from(group);
    }
    Ok((count, begin.elapsed()))
}

/// Starts a program that does nothing, and waits for it, one after the other.
fn measure_spawns(each: Duration) -> io::Result<(u64, Duration)> {
    let begin = Instant::now();
    let mut count = 0;
    while begin.elapsed() < each {
        Command::new("true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        count += 1;
    }
    Ok((count, begin.elapsed()))
}

/// Returns the figures of a run as shares of the limits that apply to its work.
pub(crate) fn shares(run: &Value, limits: &Value) -> Value {
    let of = |limit: &str| {
        let per_second = run["finished_per_second"].as_f64().filter(|finished| *finished > 0.0).or(run["answered_per_second"].as_f64())?;
        limits[limit].as_f64().filter(|limit| *limit > 0.0).map(|limit| round_to_hundredths(per_second / limit))
    };
    json!({
        "handled": of("handled_per_second"),
        "inserted_in_groups": of("inserted_in_groups_per_second"),
        "spawned": if run["scenario"] == "process" { of("spawned_per_second") } else { None },
    })
}

/// Returns the limits as a table for people.
pub(crate) fn table(limits: &Value) -> String {
    const ROWS: [(&str, &str); 6] = [
        ("handled_per_second", "a bare HTTP handler that reads the body"),
        ("synced_per_second", "the body appended to a file and on the disk, one at a time"),
        ("synced_in_groups_per_second", "the same in groups"),
        ("inserted_per_second", "the body as a row of SQLite, one a transaction"),
        ("inserted_in_groups_per_second", "the same in groups"),
        ("spawned_per_second", "`true` started and waited for, one at a time"),
    ];
    let rows = ROWS
        .into_iter()
        .map(|(name, what)| vec![what.to_owned(), limits[name].as_f64().map_or_else(String::new, |rate| format!("{rate:.0}"))]);
    let table = laid_out(["LIMIT", "PER SECOND"].map(str::to_owned).to_vec(), rows);
    format!("{table}\n\nBodies have {} bytes, groups {} of them.", limits["body_bytes"], limits["group"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Value {
        json!({
            "body_bytes": 22_017, "group": 64, "handled_per_second": 20_000.0, "synced_per_second": 900.0,
            "synced_in_groups_per_second": 30_000.0, "inserted_per_second": 800.5, "inserted_in_groups_per_second": 16_000.0,
            "spawned_per_second": 1_954.0,
        })
    }

    #[test]
    fn limits_are_printed_in_a_table() {
        insta::assert_snapshot!(table(&limits()), @r"
        LIMIT                                                       PER SECOND
        a bare HTTP handler that reads the body                     20000
        the body appended to a file and on the disk, one at a time  900
        the same in groups                                          30000
        the body as a row of SQLite, one a transaction              800
        the same in groups                                          16000
        `true` started and waited for, one at a time                1954

        Bodies have 22017 bytes, groups 64 of them.
        ");
    }

    #[test]
    fn limit_with_rejected_deliveries_is_an_error() {
        assert_eq!(all_taken(LoadResult::default()).unwrap(), 0);
        let refused = LoadResult { refused: 2, first_refusal: Some("connection reset".into()), ..LoadResult::default() };
        let told = all_taken(refused).unwrap_err().to_string();
        assert!(told.contains("2 deliveries") && told.contains("connection reset"), "{told}");
    }

    #[test]
    fn figure_is_a_share_of_the_limits_that_apply_to_it() {
        let run = json!({ "scenario": "rule", "answered_per_second": 11_000.0, "finished_per_second": 8_000.0 });
        assert_eq!(shares(&run, &limits()), json!({ "handled": 0.4, "inserted_in_groups": 0.5, "spawned": null }));
        let stored = json!({ "scenario": "ingest", "answered_per_second": 10_000.0, "finished_per_second": 0.0 });
        assert_eq!(shares(&stored, &limits())["handled"], 0.5);
        let programs = json!({ "scenario": "process", "answered_per_second": 977.0, "finished_per_second": 977.0 });
        assert_eq!(shares(&programs, &limits())["spawned"], 0.5);
    }
}
