//! Several logs at once: how fast their writers append to databases of one server, and to as many files.
//!
//! Each log is that of a node, so it has a database of its own: a node refuses a database with several logs.

use std::io;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use ensue_node::long_log::{AppendStats, Appending};
use serde_json::{Value, json};

use crate::child::Machine;
use crate::figures::{Latencies, number};
use crate::log_folder::KeptLog;
use crate::long_log::{self, Length};
use crate::table::laid_out;

/// Appends this many records to each of so many logs in the databases, then in files. Returns the figures of both as JSON.
pub(crate) async fn measure(folder: &Path, (logs, records): (u16, u64), machine: &Machine) -> io::Result<Vec<Value>> {
    let on_files = Machine { database: None, ..machine.clone() };
    let mut figures = Vec::new();
    for (store, machine) in [("PostgreSQL", machine), ("SQLite", &on_files)] {
        let folders: Vec<_> = (0..logs).map(|log| folder.join(format!("{store}-{log}"))).collect();
        let mut kept = Vec::new();
        for folder in &folders {
            kept.push(KeptLog::open(folder, long_log::write_pack, machine).await?);
        }
        let plan = long_log::plan(Length { records, open: 0 })?;
        let mut open: Vec<Appending> = kept.iter().map(|log| log.appending(plan.clone())).collect::<io::Result<_>>()?;
        let (appended, took) = tokio::task::block_in_place(|| at_once(&mut open))?;
        figures.push(to_json(store, &appended, took));
    }
    Ok(figures)
}

/// Writes to all logs, each from a thread of its own, until the first one has its records. The others end with it, so that
/// all of them are written all the time.
fn at_once(logs: &mut [Appending]) -> io::Result<(Vec<AppendStats>, Duration)> {
    let (is_over, are_ready) = (AtomicBool::new(false), Barrier::new(logs.len() + 1));
    let (appended, took) = thread::scope(|scope| {
        let (is_over, are_ready) = (&is_over, &are_ready);
        let write = |log: &'_ mut Appending| {
            are_ready.wait();
            log.write(is_over)
        };
        let writers: Vec<_> = logs.iter_mut().map(|log| scope.spawn(move || write(log))).collect();
        are_ready.wait();
        let begin = Instant::now();
        let joined = writers.into_iter().map(|writer| writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        (joined.collect::<Result<Vec<AppendStats>, _>>(), begin.elapsed())
    });
    Ok((appended.map_err(|error| io::Error::other(error.to_string()))?, took))
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn to_json(store: &str, appended: &[AppendStats], took: Duration) -> Value {
    let per_second = |count: u64| (count as f64 / took.as_secs_f64()).round();
    let commits: Vec<Duration> = appended.iter().flat_map(|log| log.commits.iter().copied()).collect();
    let records: u64 = appended.iter().map(|log| log.records).sum();
    json!({
        "store": store,
        "logs": appended.len(),
        "records": records,
        "records_per_second": per_second(records),
        "least_per_second": per_second(appended.iter().map(|log| log.records).min().unwrap_or_default()),
        "commits_per_second": (commits.len() as f64 / took.as_secs_f64() * 10.0).round() / 10.0,
        "commit": Latencies::of(commits.into_iter()).to_json(),
    })
}

/// Lays the figures out for people.
pub(crate) fn table(all: &[Value]) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    laid_out(
        ["STORE", "LOGS", "RECORDS/S", "SLOWEST LOG/S", "COMMITS/S", "COMMIT p50 ms", "p99 ms", "max ms"].map(str::to_owned).to_vec(),
        all.iter().map(|of| {
            let figures = [&of["logs"], &of["records_per_second"], &of["least_per_second"], &of["commits_per_second"]];
            let commit = ["p50_ms", "p99_ms", "max_ms"].map(|name| &of["commit"][name]);
            std::iter::once(text(&of["store"])).chain(figures.into_iter().chain(commit).map(number)).collect()
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_count_all_logs_and_name_the_slowest_one() {
        let of = |records, commits: u64| AppendStats { records, commits: (1..=commits).map(Duration::from_millis).collect() };
        let figures = to_json("SQLite", &[of(3_000, 3), of(1_000, 1)], Duration::from_secs(2));
        assert_eq!((&figures["records_per_second"], &figures["least_per_second"]), (&2_000.0.into(), &500.0.into()));
        assert_eq!((&figures["commits_per_second"], &figures["commit"]["max_ms"]), (&2.0.into(), &3.0.into()));
        assert!(table(&[figures]).contains("SQLite  2     2000"));
    }
}
