//! `ensue bench` for its users: each scenario for a second, in the documented form.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::database_server::{Server, is_missing};
use crate::support::{CommandOutput, NodeFolder};

/// So few deliveries a second that a node of a debug build has little to do: for tests of the form of a report.
const FEW: [&str; 2] = ["--rate", "5"];

fn fields(of: &Value) -> BTreeSet<String> {
    of.as_object().unwrap().keys().cloned().collect()
}

/// The fields that a section of the reference lists in its table.
fn documented_fields(section: &str) -> BTreeSet<String> {
    let page = include_str!("../../docs/reference/bench.md");
    let section = page.split(&format!("\n## {section}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
    section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).map(str::to_owned).collect()
}

/// Runs a measurement with these arguments, without rests unless they say otherwise, writes the document into a
/// file of the place, and returns it.
fn measure(place: &NodeFolder, arguments: &[&str], file: &str) -> Value {
    let rest: &[&str] = if arguments.contains(&"--rest") { &[] } else { &["--rest", "0"] };
    let always = ["bench", "--seconds", "1", "--connections", "2", "-o", "json"];
    let printed = CommandOutput::by(&mut place.ensue(&[&always, rest, arguments].concat()));
    assert_eq!(printed.code, Some(0), "{printed:?}");
    std::fs::write(place.path().join(file), &printed.stdout).unwrap();
    serde_json::from_str(&printed.stdout).unwrap()
}

#[test]
fn hooks_are_measured_by_their_proof_and_with_a_reply_that_waits() {
    let place = NodeFolder::new();
    let document = measure(&place, &[&["hook"], &FEW[..]].concat(), "hooks.json");
    let runs = document["runs"].as_array().unwrap();
    let scenarios: Vec<&str> = runs.iter().map(|run| run["scenario"].as_str().unwrap()).collect();
    assert_eq!(scenarios, ["hook none", "hook github", "hook hmac", "hook rule", "hook wait"]);
    for run in runs {
        assert_eq!((&run["refused"], &run["unfinished"]), (&Value::from(0), &Value::from(0)), "{run:#}");
        assert!(run["events"].as_u64().is_some_and(|events| events > 0), "{run:#}");
    }
}

#[test]
fn sensors_are_measured_with_the_documented_figures() {
    let place = NodeFolder::new();
    let sensor = |arguments: &[&str]| {
        let printed = CommandOutput::by(&mut place.ensue(&[&["bench", "sensor"], arguments, &["-o", "json"]].concat()));
        assert_eq!(printed.code, Some(0), "{printed:?}");
        let document: Value = serde_json::from_str(&printed.stdout).unwrap();
        document["sensor"].clone()
    };
    let lines = sensor(&["process", "--rule", "--seconds", "1"]);
    assert_eq!(fields(&lines), documented_fields("Sensors"));
    assert!(lines["events"].as_u64() > Some(0) && lines["executions_per_second"].as_f64() > Some(0.0), "{lines:#}");
    assert_eq!(lines["refused"], 0, "{lines:#}");
    let polls = sensor(&["poll", "--idle", "3", "--every", "1", "--seconds", "2"]);
    assert_eq!(fields(&polls), documented_fields("Idle polls"));
    assert_eq!(polls["records"], 0, "{polls:#}");
    assert!(polls["polls_per_second"].as_f64() > Some(0.5), "{polls:#}");
}

#[test]
fn rule_is_measured_with_its_log_in_a_database_that_is_dropped_afterwards() {
    if is_missing() {
        return;
    }
    // Databases are counted in the whole server, so that it is shared with no other test.
    let (server, place) = (Server::start(), NodeFolder::new());
    let database = server.new_database();
    let address = server.address(&database);
    let document = measure(&place, &["rule", "--database", &address], "database.json");
    let run = &document["runs"][0];
    assert_eq!(fields(run), &documented_fields("Runs") - &BTreeSet::from(["share".to_owned()]));
    assert_eq!((&run["pace"], &run["refused"]), (&Value::from("2 connections, PostgreSQL"), &Value::from(0)), "{run:#}");
    assert!(run["finished_per_second"].as_f64() > Some(0.0), "{run:#}");
    let left = server.psql(&database, "SELECT count(*) FROM pg_database WHERE datname LIKE 'ensue_bench_%'");
    assert_eq!(left.trim(), "0");
    let refused = CommandOutput::by(&mut place.ensue(&["bench", "reads", "--database", &address]));
    assert!(refused.code == Some(2) && refused.stderr.contains("`--database` does not apply to `reads`"), "{refused:?}");
}

#[test]
fn several_logs_are_written_at_once_to_new_databases_and_to_files() {
    if is_missing() {
        return;
    }
    // Databases are counted in the whole server, so that it is shared with no other test.
    let (server, place) = (Server::start(), NodeFolder::new());
    let database = server.new_database();
    let address = server.address(&database);
    let document = measure(&place, &["log", "--database", &address, "--logs", "2", "--records", "5000"], "logs.json");
    let logs = document["logs"].as_array().unwrap();
    assert_eq!(logs.iter().map(|of| of["store"].as_str().unwrap()).collect::<Vec<_>>(), ["PostgreSQL", "SQLite"]);
    for of in logs {
        assert_eq!(fields(of), documented_fields("Logs in a database server"));
        assert_eq!(of["logs"], 2, "{of:#}");
        // The first log had all of its records, and the other one was written meanwhile.
        assert!(of["records"].as_u64() > Some(5_000) && of["least_per_second"].as_f64() > Some(0.0), "{of:#}");
        // One event in five leads to more records.
        let commits = of["commit"]["count"].as_u64().unwrap();
        assert!(commits >= 4 && of["records"].as_u64() > Some(commits * 1_000), "{of:#}");
    }
    let left = server.psql(&database, "SELECT count(*) FROM pg_database WHERE datname LIKE 'ensue_bench_%'");
    assert_eq!((left.trim(), server.psql(&database, "SELECT to_regclass('ensue.logs') IS NULL").trim()), ("0", "t"));
    for (line, told) in [
        ("bench log --folder some --database", "`--folder` continues an existing one"),
        ("bench log --open 5 --database", "`--open` does not apply with `--database`"),
        ("bench rule --logs 2 --database", "`--logs` applies only to `log`"),
    ] {
        let refused = CommandOutput::by(&mut place.ensue(&line.split(' ').chain([&*address]).collect::<Vec<_>>()));
        assert!(refused.code == Some(2) && refused.stderr.contains(told), "{line}: {refused:?}");
    }
}

#[test]
fn bench_scenarios_report_the_documented_figures_and_shares_of_limits() {
    let place = NodeFolder::new();
    let asked = ["limits", "ingest", "rule", "http", "process", "api", "batch", "streams", "--streams", "3"];
    let document = measure(&place, &[&asked, &FEW[..]].concat(), "first.json");
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(document["cores"]["node"].is_u64(), cfg!(target_os = "linux") && cores >= 4, "{:#}", document["cores"]);
    assert_eq!(fields(&document["limits"]), documented_fields("Limits"));
    let positive = |value: &Value| value.as_f64().is_some_and(|figure| figure > 0.0);
    for (limit, figure) in document["limits"].as_object().unwrap() {
        assert!(positive(figure), "{limit}: {figure}");
    }
    let runs = document["runs"].as_array().unwrap();
    let scenarios: Vec<&str> = runs.iter().map(|run| run["scenario"].as_str().unwrap()).collect();
    assert_eq!(scenarios, ["ingest", "rule", "http", "process", "api", "batch", "streams"]);
    for run in runs {
        let scenario = run["scenario"].as_str().unwrap();
        assert_eq!(fields(run), documented_fields("Runs"), "{scenario}");
        assert_eq!(run["refused"], 0, "{run:#}");
        assert!(positive(&run["answered_per_second"]) && positive(&run["answered"]["p50_ms"]), "{run:#}");
        assert_eq!(positive(&run["finished_per_second"]), !["ingest", "batch", "streams"].contains(&scenario), "{run:#}");
        assert_eq!(run["called"].is_object(), scenario == "http", "{run:#}");
        assert_eq!(run["processor_us_per_event"].is_number(), cfg!(target_os = "linux"), "{run:#}");
        assert!(positive(&run["first_start_ms"]) && positive(&run["ready_ms"]), "{run:#}");
        assert!(run["memory_rest_bytes"].is_null() && run["memory_after_rest_bytes"].is_null(), "{run:#}");
        assert_eq!(positive(&run["reads_per_second"]), scenario == "api", "{run:#}");
        assert_eq!(run["reads_refused"], 0, "{run:#}");
        assert_eq!(run["views_lag_records"].is_u64(), scenario == "batch", "{run:#}");
        if scenario == "batch" {
            assert_eq!(run["events"].as_u64().unwrap() % 100, 0, "{run:#}");
        }
        if scenario == "streams" {
            let (records, streams) = (run["records"].as_u64().unwrap(), run["streams"].as_u64().unwrap());
            assert_eq!((streams, &run["lost"], &run["arrived"]["count"]), (3, &Value::from(0), &Value::from(records * streams)), "{run:#}");
        } else {
            assert!(run["streams"].is_null() && run["lost"].is_null(), "{run:#}");
        }
        assert!(run["share"]["handled"].is_number(), "{run:#}");
        assert_eq!(run["share"]["spawned"].is_number(), scenario == "process", "{run:#}");
    }

    let closed = measure(&place, &["process"], "second.json");
    assert_eq!((&document["runs"][3]["pace"], &closed["runs"][0]["pace"]), (&"5/s".into(), &"2 connections".into()));
    let compared = CommandOutput::by(&mut place.ensue(&["bench", "compare", "first.json", "first.json"]));
    assert_eq!(compared.code, Some(0), "{compared:?}");
    assert!(compared.stdout.contains("answered a second") && compared.stdout.contains("1.00"), "{}", compared.stdout);
    let compared = CommandOutput::by(&mut place.ensue(&["bench", "compare", "first.json", "second.json"]));
    assert!(compared.stdout.contains("Only in the second: process (2 connections)."), "{}", compared.stdout);
}

#[test]
fn workflow_bench_compares_runs_with_graph_schedules_and_targets() {
    const ROOMS: &str = include_str!("../../tests/support/rooms.json");
    let place = NodeFolder::new();
    std::fs::create_dir(place.path().join("graphs")).unwrap();
    std::fs::write(place.path().join("graphs/rooms.json"), ROOMS).unwrap();
    let document = measure(&place, &["workflow", "--graphs", "graphs", "--timers", "101"], "first.json");
    let runs = document["runs"].as_array().unwrap();
    let run = |run: &Value| format!("{}, {}", run["scenario"].as_str().unwrap(), run["pace"].as_str().unwrap());
    let ran: Vec<String> = runs.iter().map(run).collect();
    let alone = "1 connections";
    assert_eq!(
        ran,
        [
            "workflow, 2 connections".to_owned(),
            "workflow, 100/s".to_owned(),
            format!("chain 200, {alone}"),
            format!("items 500, {alone}"),
            format!("steps 500, {alone}")
        ]
    );
    for run in runs {
        assert_eq!(fields(run), &documented_fields("Runs") - &BTreeSet::from(["share".to_owned()]));
        assert_eq!((&run["refused"], &run["unfinished"]), (&Value::from(0), &Value::from(0)), "{run:#}");
        assert!(run["finished"]["count"].as_u64() > Some(0) && run["finished"]["count"] == run["events"], "{run:#}");
    }
    let graphs = document["workflow"]["graphs"].as_array().unwrap();
    let schedules: Vec<(String, u64, Option<u64>)> =
        graphs.iter().map(|graph| (run(graph), graph["schedule_ms"].as_u64().unwrap(), graph["given_ms"].as_u64())).collect();
    assert_eq!(
        schedules,
        [
            ("graph rooms, 2 workers".to_owned(), 1_015, Some(965)),
            ("graph rooms, 8 workers".to_owned(), 950, Some(950)),
            ("graph rooms, sleeping".to_owned(), 950, None)
        ]
    );
    for graph in graphs {
        assert_eq!(fields(graph), documented_fields("Graphs"));
        assert!(graph["makespan_ms"].as_f64() >= graph["schedule_ms"].as_f64(), "{graph:#}");
    }
    let timers = &document["workflow"]["timers"];
    assert_eq!(fields(timers), documented_fields("Timers"));
    assert_eq!((&timers["pace"], timers["starts_after_kills_ms"].as_array().unwrap().len()), (&Value::from("101 pending"), 3));
    assert!(!cfg!(target_os = "linux") || timers["memory_bytes"].as_u64() > Some(1_000_000), "{timers:#}");
    let compared = CommandOutput::by(&mut place.ensue(&["bench", "compare", "first.json", "first.json"]));
    for told in ["graph rooms  sleeping", "makespan ms", "timers", "memory bytes after a start"] {
        assert!(compared.stdout.contains(told), "{told}: {}", compared.stdout);
    }
    // Printed for people: one part of it, with the targets.
    let shown = CommandOutput::by(&mut place.ensue(&["bench", "workflow", "--seconds", "1", "--rest", "0", "--parts", "fan-out"]));
    for told in ["items 500", "a step with 500 items, all at once", "AIM"] {
        assert!(shown.stdout.contains(told), "{told}: {}", shown.stdout);
    }
    assert!(!shown.stdout.contains("chain"), "{}", shown.stdout);
}

#[test]
fn rules_are_also_judged_alone_and_memory_is_read_after_rests() {
    let place = NodeFolder::new();
    let document = measure(&place, &[&["rules", "--rest", "1"], &FEW[..]].concat(), "rules.json");
    let runs = document["runs"].as_array().unwrap();
    assert_eq!([&runs[0]["scenario"], &runs[1]["scenario"]], ["rules 10", "rules 10000"]);
    for run in runs {
        assert!(run["judged_us"].as_f64() > Some(0.0), "{run:#}");
        let memory = |name: &str| run[name].as_u64().is_some_and(|bytes| bytes > 1_000_000);
        assert_eq!(memory("memory_rest_bytes") && memory("memory_after_rest_bytes"), cfg!(target_os = "linux"), "{run:#}");
    }
    let aims = CommandOutput::by(&mut place.ensue(&["bench", "aims", "rules.json", "rules.json", "-o", "json"]));
    let aims: Value = serde_json::from_str(&aims.stdout).unwrap();
    let of_rules: Vec<&Value> = aims["items"].as_array().unwrap().iter().filter(|aim| aim["scenario"] == "rules 10000").collect();
    assert_eq!((of_rules.len(), &of_rules[0]["figure"]), (2, &"/judged_us".into()), "{aims:#}");
    assert_eq!(fields(of_rules[0]), documented_fields("Aims"));
}

#[test]
fn backtest_judges_every_posted_event() {
    let place = NodeFolder::new();
    let document = measure(&place, &["backtest", "--events", "250"], "backtest.json");
    let backtest = &document["backtest"];
    assert_eq!(fields(backtest), documented_fields("Backtests"));
    assert_eq!((&backtest["pace"], &backtest["matched"]), (&"250 events".into(), &3.into()), "{backtest:#}");
    assert_eq!(backtest["rounds_ms"].as_array().unwrap().len(), 3, "{backtest:#}");
    assert_eq!((&document["runs"], document["binary"]["bytes"].as_u64() > Some(1_000_000)), (&Value::from(Vec::<Value>::new()), true));
    let compared = CommandOutput::by(&mut place.ensue(&["bench", "compare", "backtest.json", "backtest.json"]));
    assert!(compared.stdout.contains("events a second"), "{}", compared.stdout);
    let shown = CommandOutput::by(&mut place.ensue(&["bench", "backtest", "--events", "1"]));
    assert!(shown.stdout.contains("A backtest over 1 events of 2048 bytes"), "{}", shown.stdout);
}

#[test]
fn invalid_graphs_are_reported_before_anything_is_measured() {
    let place = NodeFolder::new();
    std::fs::create_dir_all(place.path().join("graphs")).unwrap();
    std::fs::create_dir_all(place.path().join("none")).unwrap();
    std::fs::write(place.path().join("graphs/circle.json"), r#"{"name":"c","nodes":[{"id":"a","needs":["a"],"duration_ms":1}]}"#).unwrap();
    for (line, code, told) in [
        ("bench workflow --graphs graphs", 6, "`graphs/circle.json`: 1 of its nodes need each other in a cycle"),
        ("bench workflow --graphs none", 6, "`none`: there is no file `*.json` in it"),
        ("bench workflow --graphs missing", 6, "`missing`"),
        ("bench workflow --parts graphs", 2, "name their folder with --graphs DIR"),
        ("bench workflow --parts chain --graphs graphs", 2, "add `graphs` to `--parts`"),
        ("bench rule --graphs graphs", 2, "apply only to `workflow`"),
        ("bench --parts chain", 2, "apply only to `workflow`"),
    ] {
        let refused = CommandOutput::by(&mut place.ensue(&line.split(' ').collect::<Vec<_>>()));
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(code), ""), "{line}: {refused:?}");
        assert!(refused.stderr.contains(told), "{line}: {}", refused.stderr);
    }
}

#[test]
fn slow_disk_option_delays_commits_as_given() {
    let place = NodeFolder::new();
    let document = measure(&place, &["ingest", "--slow-disk", "40", "--rate", "10"], "slow.json");
    let run = &document["runs"][0];
    assert_eq!(run["pace"], "10/s, disk 40 ms slower");
    assert_eq!(document["slow_disk_ms"], 40);
    assert!(run["answered"]["p50_ms"].as_f64().unwrap() >= 40.0, "{run:#}");
}

#[test]
fn read_bench_covers_every_filter_at_every_depth() {
    let place = NodeFolder::new();
    let folder = place.path().join("many");
    let folder = folder.to_str().unwrap();
    let document = measure(&place, &["reads", "--executions", "3000", "--folder", folder], "reads.json");
    let reads = &document["reads"];
    assert_eq!(fields(reads), documented_fields("Reads"));
    assert!(reads["totals"]["executions_succeeded"].as_u64().unwrap() > 1_000, "{:#}", reads["totals"]);
    assert!(reads["totals"]["executions_failed"].as_u64().unwrap() > 100, "{:#}", reads["totals"]);
    let lists = reads["lists"].as_array().unwrap();
    let list = |path: &str| lists.iter().find(|list| list["list"] == path).unwrap_or_else(|| panic!("no {path} in {lists:#?}"));
    assert!(lists.len() > 100, "{}", lists.len());
    // All of them starting from the newest, and some of them from deep pages.
    assert!(list("/executions?")["items"].as_u64().unwrap() > 3_000, "{:#}", list("/executions?"));
    assert!(list("/executions?")["pages"].as_u64().unwrap() > 20, "{:#}", list("/executions?"));
    for (path, is_found) in [
        ("/executions?status=failed&rule=bench.some", true),
        ("/executions?status=failed&rule=bench.most", false),
        ("/enforcements?rule=bench.watched&outcome=shadowed", true),
        ("/events?trigger=bench.none&source=api", false),
    ] {
        assert_eq!(list(path)["items"].as_u64().unwrap() > 0, is_found, "{:#}", list(path));
    }
    assert!(reads["one_per_second"].as_f64().unwrap() > 0.0);
    // Existing data is reused, not created again.
    let again = measure(&place, &["reads", "--executions", "10", "--folder", folder], "again.json");
    assert!(again["reads"]["records"].as_u64() >= reads["records"].as_u64(), "{:#}", again["reads"]["records"]);
    let mode = |path: &str| std::fs::metadata(place.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("many"), mode("many/token")), (0o700, 0o600));
}

#[test]
fn long_log_is_reused_and_its_nodes_are_ready_after_each_kill() {
    let place = NodeFolder::new();
    for records in ["200", "400"] {
        let document = measure(&place, &["log", "--records", records, "--folder", "long", "--slow-disk", "1"], "log.json");
        assert_eq!(fields(&document["log"]), documented_fields("Long logs"));
        assert!(document["log"]["records"].as_u64() >= records.parse().ok(), "{document:#}");
        assert_eq!(document["log"]["starts_after_kills_ms"].as_array().unwrap().len(), 3, "{document:#}");
        assert_eq!(document["slow_disk_ms"], 1);
    }
    // The other scenarios reuse it too.
    let document = measure(&place, &[&["ingest", "rule", "batch", "--folder", "long"], &FEW[..]].concat(), "on.json");
    for run in document["runs"].as_array().unwrap() {
        assert!(run["records_before"].as_u64() > Some(400) && run["refused"] == 0, "{run:#}");
        // None repeats an earlier one.
        assert!(run["records"].as_u64() >= run["events"].as_u64(), "{run:#}");
    }
    let refused = CommandOutput::by(&mut place.ensue(&["bench", "ingest", "--folder", "none"]));
    assert!(refused.code == Some(2) && refused.stderr.contains("ensue bench log --folder"), "{refused:?}");
    std::fs::remove_file(place.path().join("long/token")).unwrap();
    let refused = CommandOutput::by(&mut place.ensue(&["bench", "log", "--folder", "long"]));
    assert!(refused.code == Some(1) && refused.stderr.contains("name another folder"), "{refused:?}");
}

#[test]
fn file_that_is_not_a_measurement_is_rejected() {
    let place = NodeFolder::new();
    std::fs::write(place.path().join("other.json"), "{}").unwrap();
    let refused = CommandOutput::by(&mut place.ensue(&["bench", "compare", "other.json", "missing.json"]));
    assert_eq!(refused.code, Some(6), "{refused:?}");
    assert!(refused.stderr.contains("`missing.json` cannot be read"), "{}", refused.stderr);
    let refused = CommandOutput::by(&mut place.ensue(&["bench", "aims", "other.json"]));
    assert_eq!(refused.code, Some(6), "{refused:?}");
    assert!(refused.stderr.contains("`other.json` document has no `runs`"), "{}", refused.stderr);
}
