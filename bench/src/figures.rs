//! The measurements as figures: latencies, rates, and the cost of an event.
//!
//! This module measures nothing itself.

use std::time::Duration;

use crate::table::{bytes, laid_out};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// The longest distinguishable latency: two minutes, in microseconds.
const LATENCY_MICROS_MAX: u64 = 120_000_000;

/// A collection of latencies.
pub(crate) struct Latencies {
    micros: Histogram<u64>,
}

impl Latencies {
    /// Collects latencies with a precision of three digits.
    pub(crate) fn of(latencies: impl Iterator<Item = Duration>) -> Self {
        let micros = Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3).expect("the bounds are right, they are constants");
        let mut gathered = Self { micros };
        latencies.for_each(|latency| gathered.add(latency));
        gathered
    }

    /// Adds one more.
    pub(crate) fn add(&mut self, latency: Duration) {
        self.micros.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LATENCY_MICROS_MAX));
    }

    /// Returns how many there are.
    pub(crate) fn count(&self) -> u64 {
        self.micros.len()
    }

    fn millis(&self, quantile: f64) -> f64 {
        round_to_hundredths(micros_to_millis(self.micros.value_at_quantile(quantile)))
    }

    /// Returns them as JSON; null if there are none.
    pub(crate) fn to_json(&self) -> Value {
        if self.count() == 0 {
            return Value::Null;
        }
        json!({ "count": self.count(), "p50_ms": self.millis(0.5), "p99_ms": self.millis(0.99), "max_ms": round_to_hundredths(micros_to_millis(self.micros.max())) })
    }
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn micros_to_millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

pub(crate) fn millis(duration: Duration) -> f64 {
    round_to_hundredths(duration.as_secs_f64() * 1000.0)
}

pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000_000.0
}

/// Returns a figure for people; `-` if there is none.
pub(crate) fn number(value: &Value) -> String {
    match value.as_f64() {
        None => "-".to_owned(),
        Some(number) if number >= 1000.0 => format!("{number:.0}"),
        Some(number) => format!("{number}"),
    }
}

/// Returns latencies for people; `-` if there are none.
pub(crate) fn latency(value: &Value) -> String {
    match value.is_null() {
        true => "-".to_owned(),
        false => format!("{} / {} / {}", number(&value["p50_ms"]), number(&value["p99_ms"]), number(&value["max_ms"])),
    }
}

pub(crate) fn round_to_hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// The fewest events whose size on disk is meaningful: with fewer, the write-ahead file of some megabytes
/// outweighs them.
const EVENTS_ON_DISK_MIN: u64 = 5_000;

/// The results of a run of a scenario.
pub(crate) struct Figures {
    /// Its name.
    pub(crate) scenario: String,
    /// How deliveries were sent.
    pub(crate) pace: String,
    /// The time from the intended sending to the answer.
    pub(crate) answered: Latencies,
    /// The time from the intended sending to the end of the event's work: the record of the last execution's
    /// end.
    pub(crate) finished: Latencies,
    /// The time from the intended sending to the HTTP call's arrival.
    pub(crate) called: Latencies,
    /// The latency of reads during the load, if there were any.
    pub(crate) read: Latencies,
    /// How many deliveries were rejected or lost.
    pub(crate) refused: u64,
    /// How many accepted ones had no end when the log was idle, if they lead to one.
    pub(crate) unfinished: u64,
    /// The time from the first intended sending to the last answer.
    pub(crate) answering: Duration,
    /// The time from the first intended sending to the last end.
    pub(crate) finishing: Duration,
    /// The duration of the reads.
    pub(crate) reading: Duration,
    /// The length of the log before the load.
    pub(crate) records_before: u64,
    /// The records that were written.
    pub(crate) records: u64,
    /// The commits they were written in.
    pub(crate) commits: u64,
    /// How many reads were rejected.
    pub(crate) reads_refused: u64,
    /// The number of events in each delivery.
    pub(crate) events_per_delivery: u64,
    /// The lag of the views at the end of the load, if it was measured.
    pub(crate) lag: Option<Lag>,
    /// The figures of streams, if any were open.
    pub(crate) streams: Option<StreamFigures>,
    /// The costs.
    pub(crate) costs: Costs,
}

/// The lag of the views at the end of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lag {
    /// In records.
    pub(crate) records: u64,
    /// How long they took to catch up.
    pub(crate) caught_up: Duration,
}

/// The figures of streams.
pub(crate) struct StreamFigures {
    /// How many there were.
    pub(crate) count: usize,
    /// The time from a record to its arrival.
    pub(crate) arrived: Latencies,
    /// How many records did not arrive.
    pub(crate) lost: u64,
    /// The additional memory of the node for them, in bytes.
    pub(crate) memory_bytes: u64,
}

/// The costs of a node.
#[derive(Default)]
pub(crate) struct Costs {
    /// The growth of its data directory in bytes, from a stop without events to one after the load.
    pub(crate) disk_bytes: u64,
    /// The number of events in it, including those of the warm-up.
    pub(crate) events_on_disk: u64,
    /// The processor time of its process from the beginning of the load to the end of all work, if it is known.
    pub(crate) processor: Option<Duration>,
    /// The time in which its rules judge one event, if it was measured.
    pub(crate) judged: Option<Duration>,
    /// Its memory at rest before its first delivery, in bytes.
    pub(crate) memory_rest_bytes: Option<u64>,
    /// Its memory before the load, in bytes.
    pub(crate) memory_idle_bytes: u64,
    /// Its peak memory, in bytes.
    pub(crate) memory_peak_bytes: u64,
    /// How long it rested after the load.
    pub(crate) rest: Duration,
    /// Its memory at rest after the load, in bytes.
    pub(crate) memory_after_rest_bytes: Option<u64>,
    /// The time from its start in an empty directory until it is ready, if there was such a start.
    pub(crate) first_start: Option<Duration>,
    /// The time from its start until it is ready.
    pub(crate) ready: Duration,
}

impl Costs {
    /// Returns the processor time of each of this many events, in microseconds.
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    fn processor_us_per_event(&self, events: u64) -> Option<f64> {
        self.processor.filter(|_| events > 0).map(|processor| round_to_hundredths(micros(processor) / events as f64))
    }

    fn disk_bytes_per_event(&self) -> Option<u64> {
        (self.events_on_disk >= EVENTS_ON_DISK_MIN).then(|| self.disk_bytes / self.events_on_disk)
    }
}

impl Figures {
    /// As JSON, for programs.
    pub(crate) fn to_json(&self) -> Value {
        let streams = self.streams.as_ref();
        let events = self.events();
        json!({
            "scenario": self.scenario,
            "pace": self.pace,
            "events": events,
            "refused": self.refused,
            "unfinished": self.unfinished,
            "answered_per_second": round_to_hundredths(self.rate(events, self.answering)),
            "finished_per_second": round_to_hundredths(self.rate(self.finished.count(), self.finishing)),
            "answered": self.answered.to_json(),
            "finished": self.finished.to_json(),
            "called": self.called.to_json(),
            "reads_per_second": round_to_hundredths(self.rate(self.read.count(), self.reading)),
            "read": self.read.to_json(),
            "reads_refused": self.reads_refused,
            "views_lag_records": self.lag.map(|lag| lag.records),
            "views_caught_up_ms": self.lag.map(|lag| millis(lag.caught_up)),
            "streams": streams.map(|streams| streams.count),
            "arrived": streams.map(|streams| streams.arrived.to_json()),
            "lost": streams.map(|streams| streams.lost),
            "memory_per_stream_bytes": streams.map(|streams| streams.memory_bytes / streams.count.max(1) as u64),
            "records_before": self.records_before,
            "records": self.records,
            "records_per_event": round_to_hundredths(self.per_event(self.records)),
            "commits": self.commits,
            "events_per_commit": round_to_hundredths(if self.commits == 0 { 0.0 } else { self.rate(events, Duration::from_secs(self.commits)) }),
            "disk_bytes_per_event": self.costs.disk_bytes_per_event(),
            "processor_us_per_event": self.costs.processor_us_per_event(events),
            "judged_us": self.costs.judged.map(|judged| round_to_hundredths(micros(judged))),
            "memory_rest_bytes": self.costs.memory_rest_bytes,
            "memory_idle_bytes": self.costs.memory_idle_bytes,
            "memory_peak_bytes": self.costs.memory_peak_bytes,
            "rest_s": self.costs.rest.as_secs(),
            "memory_after_rest_bytes": self.costs.memory_after_rest_bytes,
            "first_start_ms": self.costs.first_start.map(millis),
            "ready_ms": millis(self.costs.ready),
        })
    }

    #[allow(clippy::cast_precision_loss, clippy::unused_self, reason = "figures for people")]
    fn rate(&self, count: u64, over: Duration) -> f64 {
        if over.is_zero() { 0.0 } else { count as f64 / over.as_secs_f64() }
    }

    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    fn per_event(&self, total: u64) -> f64 {
        total as f64 / self.events().max(1) as f64
    }

    /// Returns how many events were accepted.
    fn events(&self) -> u64 {
        self.answered.count() * self.events_per_delivery
    }
}

/// Returns the figures of several runs as two tables: speed and costs.
pub(crate) fn tables(all: &[Value]) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let memory = |value: &Value| value.as_u64().map_or_else(|| "-".to_owned(), bytes);
    let time = |value: &Value| value.as_f64().map_or_else(|| "-".to_owned(), |_| format!("{} ms", number(value)));
    let speed = laid_out(
        ["SCENARIO", "PACE", "EVENTS/S", "ANSWER ms", "FINISH ms", "CALL ms"].map(str::to_owned).to_vec(),
        all.iter().map(|run| {
            let per_second = match run["finished_per_second"].as_f64() {
                Some(finished) if finished > 0.0 => &run["finished_per_second"],
                Some(_) | None => &run["answered_per_second"],
            };
            vec![
                text(&run["scenario"]),
                text(&run["pace"]),
                number(per_second),
                latency(&run["answered"]),
                latency(&run["finished"]),
                latency(&run["called"]),
            ]
        }),
    );
    let cost = laid_out(
        ["SCENARIO", "EVENTS", "REFUSED", "RECORDS", "COMMITS", "BYTES", "CPU µs", "REST", "IDLE", "PEAK", "AFTER", "FIRST", "READY"]
            .map(str::to_owned)
            .to_vec(),
        all.iter().map(|run| {
            vec![
                text(&run["scenario"]),
                number(&run["events"]),
                number(&run["refused"]),
                number(&run["records_per_event"]),
                number(&run["commits"]),
                number(&run["disk_bytes_per_event"]),
                number(&run["processor_us_per_event"]),
                memory(&run["memory_rest_bytes"]),
                memory(&run["memory_idle_bytes"]),
                memory(&run["memory_peak_bytes"]),
                memory(&run["memory_after_rest_bytes"]),
                time(&run["first_start_ms"]),
                time(&run["ready_ms"]),
            ]
        }),
    );
    let notes: String = all.iter().flat_map(notes).map(|line| format!("{line}\n\n")).collect();
    let shares = shares(all);
    format!(
        "{speed}\n\n{notes}{shares}Latencies are p50 / p99 / max, from the moment a delivery was meant to be sent.\n\n\
         {cost}\n\nRecords, bytes on the disk and processor time are per event. Rest, idle, peak and after are the node's memory: at rest before\n\
         any delivery, before the load, at most, and at rest after it. First and ready are starts in an empty directory and later."
    )
}

/// Returns further observations during the load.
fn notes(run: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    let scenario = run["scenario"].as_str().unwrap_or_default();
    if run["unfinished"].as_u64().is_some_and(|unfinished| unfinished > 0) {
        let unfinished = number(&run["unfinished"]);
        lines.push(format!(
            "Of `{scenario}`, {unfinished} accepted deliveries had not succeeded at the end: they are in no figure of what finished."
        ));
    }
    if !run["judged_us"].is_null() {
        lines.push(format!("The rules of `{scenario}` judge one event in {} µs.", number(&run["judged_us"])));
    }
    if !run["read"].is_null() {
        let (rate, refused) = (number(&run["reads_per_second"]), number(&run["reads_refused"]));
        let took = latency(&run["read"]);
        lines.push(format!("Beside `{scenario}` there were {rate} reads a second, p50 / p99 / max {took} ms; {refused} were refused."));
    }
    if !run["views_lag_records"].is_null() {
        let (lag, took) = (number(&run["views_lag_records"]), number(&run["views_caught_up_ms"]));
        lines.push(format!("At the end of `{scenario}` the views were {lag} records behind, and had caught up {took} ms later."));
    }
    if !run["streams"].is_null() {
        let memory = bytes(run["memory_per_stream_bytes"].as_u64().unwrap_or_default());
        let (streams, lost) = (number(&run["streams"]), number(&run["lost"]));
        let took = latency(&run["arrived"]);
        lines.push(format!(
            "Over {streams} streams records were under way for {took} ms; {lost} were lost. A stream takes {memory} of the node."
        ));
    }
    lines
}

/// Returns the figures as shares of the machine's limits, if those were measured.
fn shares(all: &[Value]) -> String {
    let measured: Vec<&Value> = all.iter().filter(|run| run["share"].is_object()).collect();
    if measured.is_empty() {
        return String::new();
    }
    let percent = |value: &Value| value.as_f64().map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", share * 100.0));
    let rows = measured.iter().map(|run| {
        let share = &run["share"];
        let scenario = run["scenario"].as_str().unwrap_or_default().to_owned();
        vec![scenario, percent(&share["handled"]), percent(&share["inserted_in_groups"]), percent(&share["spawned"])]
    });
    let titles = ["SHARE OF", "BARE HANDLER", "SQLITE IN GROUPS", "SPAWNS"];
    format!("{}\n\n", laid_out(titles.map(str::to_owned).to_vec(), rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_printed_in_two_tables() {
        let millis = |list: &[u64]| Latencies::of(list.iter().map(|millis| Duration::from_millis(*millis)));
        let figures = Figures {
            scenario: "rule".into(),
            pace: "64 connections".into(),
            answered: millis(&[4, 4, 4, 11]),
            finished: millis(&[5, 5, 5, 14]),
            called: millis(&[]),
            read: millis(&[]),
            refused: 0,
            unfinished: 0,
            answering: Duration::from_secs(2),
            finishing: Duration::from_secs(4),
            reading: Duration::ZERO,
            reads_refused: 0,
            events_per_delivery: 1,
            lag: None,
            streams: None,
            records_before: 9,
            records: 24,
            commits: 2,
            costs: Costs {
                disk_bytes: 20_480_000,
                events_on_disk: 5_000,
                processor: Some(Duration::from_micros(1_700)),
                memory_rest_bytes: Some(18 << 20),
                first_start: Some(Duration::from_micros(60_500)),
                memory_idle_bytes: 20 << 20,
                memory_peak_bytes: 64 << 20,
                ready: Duration::from_millis(41),
                ..Costs::default()
            },
        };
        insta::assert_snapshot!(tables(&[figures.to_json()]), @r"
        SCENARIO  PACE            EVENTS/S  ANSWER ms          FINISH ms          CALL ms
        rule      64 connections  1         4 / 11.01 / 11.01  5 / 14.01 / 14.01  -

        Latencies are p50 / p99 / max, from the moment a delivery was meant to be sent.

        SCENARIO  EVENTS  REFUSED  RECORDS  COMMITS  BYTES  CPU µs  REST      IDLE      PEAK      AFTER  FIRST    READY
        rule      4       0        6        2        4096   425     18.0 MiB  20.0 MiB  64.0 MiB  -      60.5 ms  41 ms

        Records, bytes on the disk and processor time are per event. Rest, idle, peak and after are the node's memory: at rest before
        any delivery, before the load, at most, and at rest after it. First and ready are starts in an empty directory and later.
        ");
    }
    #[test]
    fn reads_and_shares_are_printed_only_if_measured() {
        let run = json!({
            "scenario": "api", "pace": "8 connections", "finished_per_second": 1_200.0, "answered": null, "finished": null, "called": null,
            "reads_per_second": 3_100.5, "reads_refused": 2, "unfinished": 3, "judged_us": 9.5, "views_lag_records": 120, "views_caught_up_ms": 31.5, "streams": 1_000, "lost": 0,
            "memory_per_stream_bytes": 32_768, "arrived": { "p50_ms": 2.5, "p99_ms": 11.0, "max_ms": 12.0 }, "read": { "p50_ms": 1.1, "p99_ms": 9.0, "max_ms": 20.0 },
            "share": { "handled": 0.4, "inserted_in_groups": 0.515, "spawned": null },
        });
        insta::assert_snapshot!(tables(&[run]), @r"
        SCENARIO  PACE           EVENTS/S  ANSWER ms  FINISH ms  CALL ms
        api       8 connections  1200      -          -          -

        Of `api`, 3 accepted deliveries had not succeeded at the end: they are in no figure of what finished.

        The rules of `api` judge one event in 9.5 µs.

        Beside `api` there were 3100 reads a second, p50 / p99 / max 1.1 / 9 / 20 ms; 2 were refused.

        At the end of `api` the views were 120 records behind, and had caught up 31.5 ms later.

        Over 1000 streams records were under way for 2.5 / 11 / 12 ms; 0 were lost. A stream takes 32.0 KiB of the node.

        SHARE OF  BARE HANDLER  SQLITE IN GROUPS  SPAWNS
        api       40 %          52 %              -

        Latencies are p50 / p99 / max, from the moment a delivery was meant to be sent.

        SCENARIO  EVENTS  REFUSED  RECORDS  COMMITS  BYTES  CPU µs  REST  IDLE  PEAK  AFTER  FIRST  READY
        api       -       -        -        -        -      -       -     -     -     -      -      -

        Records, bytes on the disk and processor time are per event. Rest, idle, peak and after are the node's memory: at rest before
        any delivery, before the load, at most, and at rest after it. First and ready are starts in an empty directory and later.
        ");
    }
}
