//! Everything once, in its long version: what takes a night.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::turns::{FUZZING, Search};
use super::{Find, Kind, Turn};
use crate::report::{count, seconds};
use crate::{Report, RunsStep, Step, changed_code, image, page};

/// The log on two PostgreSQL servers: 1,000 promotions, 1,000 kills, and 200 schedules that a model also runs.
const DATABASES: Step = Step {
    name: "databases",
    arguments: &["test", "-p", "ensue-postgres", "--locked", "--test", "main", "--", "promoted", "killed", "schedule"],
    variables: &[("ENSUE_PROMOTIONS", "1000"), ("ENSUE_KILLS", "1000"), ("ENSUE_SCHEDULES", "200"), ("ENSUE_FAULTS", "long")],
};

/// The log on three PostgreSQL servers under Patroni: 100 failures of servers, of Patroni and of etcd. It runs alone, because
/// Patroni has leases of seconds there.
const FAILOVERS: Step = Step {
    name: "failovers",
    arguments: &["test", "-p", "ensue-postgres", "--locked", "--test", "main", "--", "patroni"],
    variables: &[("ENSUE_PATRONI", "100")],
};

/// A minute of severe overload, in the users' build profile.
const OVERLOAD: Step = Step {
    name: "overload, in release",
    arguments: &["test", "--release", "-p", "ensue", "--locked", "overload"],
    variables: &[("ENSUE_OVERLOAD_SECONDS", "60"), ("ENSUE_OVERLOAD_CONNECTIONS", "1000"), ("ENSUE_OVERLOAD_MEMORY", "536870912")],
};

/// The longest that one kind may take.
const LIMIT: Duration = Duration::from_secs(24 * 3_600);

/// Runs everything, or one kind. Returns how many faults were found.
pub(super) fn run(mut search: Search, only: Option<Kind>) -> Result<usize> {
    let begin = Instant::now();
    let mut finds: Vec<Find> = Vec::new();
    let mut take = |name: &str, turn: Turn| {
        eprintln!("explore: {}: {name}: {} tried, {}", seconds(begin.elapsed()), turn.tried, count(turn.finds.len(), "find"));
        turn.end.iter().for_each(|why| eprintln!("explore: {name}: {why}"));
        turn.finds.iter().for_each(super::print);
        finds.extend(turn.finds);
    };
    let deadline = || Instant::now() + LIMIT;
    let wants = |kind: Kind| only.is_none_or(|only| only == kind);
    if wants(Kind::Worlds) {
        take("worlds", search.worlds(&["--seeds", "20000", "--all-rare-states"], deadline())?);
    }
    if wants(Kind::Mutants) {
        take("planted bugs", search.mutants(&[], deadline())?);
    }
    if wants(Kind::Properties) {
        for _ in 0..search.programs.len() {
            take("property tests", search.turn(Kind::Properties, deadline())?);
        }
    }
    if wants(Kind::Openapi) {
        for _ in 0..10 {
            take("random requests", search.turn(Kind::Openapi, deadline())?);
        }
    }
    if wants(Kind::Faults) {
        for _ in 0..search.fault_tests()? {
            take("faults", search.faults(deadline(), &[("ENSUE_FAULTS", "long")])?);
        }
    }
    if wants(Kind::Fuzzers) {
        for _ in FUZZING {
            take("fuzzers", search.fuzzers("600")?);
        }
    }
    if wants(Kind::Once) {
        take("other checks", search.turn(Kind::Once, deadline())?);
    }
    let mut steps: Vec<(&str, RunsStep)> = Vec::new();
    if wants(Kind::Schedules) {
        steps.extend([("databases", run_databases as RunsStep), ("failovers", run_failovers)]);
    }
    if only.is_none() {
        steps.extend([
            ("overload", run_overload as RunsStep),
            ("shipped binary", image::check_shipped),
            ("page, looks and speed", page::measure),
            ("bugs in changed code", changed_code::check),
            ("advisories of the page", page::check_advisories),
        ]);
    }
    for (name, step) in steps {
        let mut report = Report::default();
        let outcome = step(&mut report);
        report.print();
        let find =
            outcome.err().map(|error| Find { what: format!("{name}: {error:#}"), repeat: "the command above".to_owned(), keep: None });
        take(name, Turn { tried: 1, finds: find.into_iter().collect(), end: None });
    }
    println!("explore: {} in {}", count(finds.len(), "find"), seconds(begin.elapsed()));
    finds.iter().for_each(super::print);
    Ok(finds.len())
}

fn run_databases(report: &mut Report) -> Result<()> {
    report.run(&DATABASES)
}

fn run_failovers(report: &mut Report) -> Result<()> {
    report.run(&FAILOVERS)
}

fn run_overload(report: &mut Report) -> Result<()> {
    report.run(&OVERLOAD)
}
