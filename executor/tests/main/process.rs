//! Programs: the contract with them, and how they are ended.

use std::time::Duration;

use ensue_engine::catalog::{Field, Fields, Presence};
use ensue_engine::catalog::{ProcessCommand, Run, Schema, Type};
use ensue_engine::executions::facts::FailureKind;
use ensue_engine::ports::OutputStream::{Stderr, Stdout};
use ensue_engine::ports::Secret;
use ensue_executor::programs::{GivenKey, NodeSecrets};
use ensue_expression::{Expression, Roots};
use serde_json::{Value, json};

use crate::world::{GRACE, Plan, SECRET, TIMEOUT, TRACE, attempt, body, execution, failure, result, sh, stands_in_files, template};

fn command(command: &[&str]) -> ProcessCommand {
    let command = command.iter().map(ToString::to_string).collect();
    ProcessCommand { command, beside: Default::default(), input: None, env: Vec::new(), files: Vec::new() }
}

fn program(parts: &[&str]) -> Run {
    Run::Process(command(parts))
}

fn declares_count() -> Option<Schema> {
    let count =
        Field { name: "count".into(), title: None, description: None, kind: Type::Integer, presence: Presence::Required, is_code: false };
    Some(Schema::Fields(Fields(vec![count])))
}

#[tokio::test]
async fn program_reads_its_parameters_and_prints_its_result() {
    let mut world = Plan::new(program(&["cat"])).begin();
    let report = world.report_of(json!({ "region": "eu" })).await;
    assert_eq!(result(&report), json!({ "region": "eu" }));
    assert_eq!((report.execution, report.attempt, report.token), (execution(1), attempt(1), 7));
    assert!(world.outputs.is_finished(1));
}

#[tokio::test]
async fn uncached_parameters_are_read_from_the_log() {
    let mut world = Plan::new(program(&["cat"])).bodies_in_the_log().begin();
    assert_eq!(result(&world.report_of(json!({ "a": 1 })).await), json!({ "a": 1 }));
}

#[tokio::test]
async fn input_is_rendered_from_everything_in_scope() {
    let input = json!({
        "region": "${{ params.region }}", "local": "${{ local.upper }}", "owner": "${{ config.owner }}", "actor": "${{ execution.actor }}",
        "id": "${{ execution.id }}", "attempt": "${{ execution.attempt }}", "at": "${{ execution.started_at }}", "key": "${{ keys['test.token'] }}",
    });
    let run = Run::Process(ProcessCommand { input: Some(template(input)), ..command(&["cat"]) });
    let local = Expression::compile("params.region.upperAscii()", &Roots::new(["params", "local", "config", "execution"])).unwrap();
    let mut world = Plan::new(program(&[])).action(run, |action| action.local = vec![("upper".into(), local)]).begin();
    let report = world.report_of(json!({ "region": "eu" })).await;
    let expected = json!({
        "region": "eu", "local": "EU", "owner": "acme", "actor": "token/ana", "id": execution(1), "attempt": 1,
        "at": "2026-03-28T12:00:00.000000Z", "key": "[redacted test.token]",
    });
    assert_eq!(result(&report), expected);
}

#[tokio::test]
async fn secret_of_the_node_is_masked_in_the_output_of_an_action_without_keys() {
    let secrets = || {
        let of_the_database = GivenKey { key: "ensue.database_password".parse().unwrap(), value: Secret::new(b"s3cret-1".to_vec()) };
        NodeSecrets::new([of_the_database])
    };
    let plan =
        Plan::new(sh("echo 'postgres://ensue:s3cret-1@db'; echo s3cret-1 >&2")).settings(move |settings| settings.masked = secrets());
    let mut world = plan.begin();
    assert_eq!(result(&world.report_of(json!({})).await), json!("postgres://ensue:[redacted ensue.database_password]@db"));
    assert_eq!(world.outputs.stream_head(1, Stderr).0, b"[redacted ensue.database_password]\n");
    let mut world = Plan::new(sh("echo s3cret-1; exit 3")).settings(move |settings| settings.masked = secrets()).begin();
    let report = world.report_of(json!({})).await;
    let message = &failure(&report, FailureKind::ExitCode).message;
    assert!(!message.contains("s3cret-1"), "{message}");
}

#[tokio::test]
async fn output_that_is_not_an_object_is_text() {
    let mut world = Plan::new(sh("echo v1.2; echo working >&2")).begin();
    assert_eq!(result(&world.report_of(json!({})).await), json!("v1.2"));
    assert_eq!(world.outputs.stream_head(1, Stdout).0, b"v1.2\n");
    assert_eq!(world.outputs.stream_head(1, Stderr).0, b"working\n");
}

#[tokio::test]
async fn declared_result_must_be_valid_json() {
    for (script, says) in [
        ("echo nothing", "must contain only JSON"),
        ("printf '\\357\\273\\277'", "must contain only JSON"),
        (r#"echo '{"count": "three"}'"#, "/count"),
        (r#"echo '{}'"#, "/count"),
        (r#"echo '{"count": 1} {"count": 2}'"#, "must contain only JSON"),
    ] {
        let mut world = Plan::new(program(&[])).action(sh(script), |action| action.result = declares_count()).begin();
        let report = world.report_of(json!({})).await;
        let failure = failure(&report, FailureKind::ResultInvalid);
        assert!(failure.message.contains(says), "{script}: {}", failure.message);
        assert_ne!(body(&report), Value::Null, "the given output is kept");
    }
    let mut world = Plan::new(program(&[])).action(sh(r#"echo '{"count": 3}'"#), |action| action.result = declares_count()).begin();
    assert_eq!(result(&world.report_of(json!({})).await), json!({ "count": 3 }));
}

#[tokio::test]
async fn result_is_computed_from_what_the_program_printed() {
    let mapped = |script: &str, output: Value| {
        Plan::new(program(&[])).action(sh(script), |action| {
            action.result = declares_count();
            action.output = Some(template(output));
        })
    };
    let output = json!({ "count": "${{ json_parse(stdout).n + exit_code }}" });
    let mut world = mapped("echo '{\"n\": 3}'", output.clone()).begin();
    assert_eq!(result(&world.report_of(json!({})).await), json!({ "count": 3 }));
    for (script, output, says) in [
        ("echo nothing", output, "`output` cannot be computed"),
        ("echo three", json!({ "count": "${{ stdout }}" }), "the value of `output` does not fit `result`"),
    ] {
        let report = mapped(script, output).begin().report_of(json!({})).await;
        let failure = failure(&report, FailureKind::Output);
        assert!(failure.message.contains(says), "{}", failure.message);
        assert_eq!(body(&report)["exit_code"], 0, "what the program returned is kept");
    }
}

#[tokio::test]
async fn exit_code_or_signal_is_a_failure_that_keeps_the_output() {
    let mut world = Plan::new(sh("echo half; exit 3")).begin();
    let report = world.report_of(json!({})).await;
    assert_eq!(failure(&report, FailureKind::ExitCode).detail, Some(3));
    assert_eq!(body(&report), json!("half"));

    let mut world = Plan::new(sh("kill -9 $$")).begin();
    let report = world.report_of(json!({})).await;
    let killed = failure(&report, FailureKind::Signal);
    assert_eq!((killed.detail, killed.message.contains("SIGKILL")), (Some(9), true));
}

#[tokio::test]
async fn missing_program_is_reported_by_name() {
    let mut world = Plan::new(program(&["no-such-program-here"])).begin();
    let report = world.report_of(json!({})).await;
    assert!(failure(&report, FailureKind::Spawn).message.contains("`no-such-program-here`"));
    assert!(!world.begun_text().contains(&attempt(1).to_string()), "nothing began");

    for outside in ["/bin/sh", "../sh", "", "a/b"] {
        let mut world = Plan::new(program(&[outside])).begin();
        failure(&world.report_of(json!({})).await, FailureKind::Spawn);
    }
}

#[tokio::test]
async fn file_of_the_pack_runs_relative_to_its_action() {
    let mut world = Plan::new(program(&["./deploy.sh", "--fast", "a b;c"])).begin();
    let script = "#!/bin/sh\nfor argument in \"$@\"; do echo \"$argument\"; done\necho \"$ENSUE_PACK_DIR\"\n";
    world.pack_file("actions/deploy.sh", script, 0o755);
    let pack = world.folder.path().join("pack");
    let expected = format!("--fast\na b;c\n{}", pack.display());
    assert_eq!(result(&world.report_of(json!({})).await), json!(expected));
}

#[tokio::test]
async fn unusable_file_of_the_pack_is_reported_with_advice() {
    let mut world = Plan::new(program(&["./deploy.sh"])).begin();
    world.pack_file("actions/deploy.sh", "#!/bin/sh\n", 0o644);
    let report = world.report_of(json!({})).await;
    assert!(failure(&report, FailureKind::Spawn).message.contains("chmod +x"));

    let mut world = Plan::new(program(&["./../pack.yaml"])).begin();
    world.pack_file("pack.yaml", "", 0o755);
    let report = world.report_of(json!({})).await;
    assert!(failure(&report, FailureKind::Spawn).message.contains("is outside the folder"));
}

#[tokio::test]
async fn program_s_environment_is_exactly_the_contract_s() {
    let run = Run::Process(ProcessCommand { env: vec![("REGION".into(), template(json!("${{ params.region }}")))], ..command(&["env"]) });
    let mut world = Plan::new(run).begin();
    let report = world.report_of(json!({ "region": "eu" })).await;
    let printed = result(&report);
    let mut lines: Vec<(&str, &str)> = printed.as_str().unwrap().lines().map(|line| line.split_once('=').unwrap()).collect();
    lines.sort_unstable();
    let private = world.folder.path().join("private").join(attempt(1).to_string());
    let (private, pack) = (private.to_str().unwrap(), world.folder.path().join("pack"));
    let (execution, path) = (execution(1).to_string(), std::env::var("PATH").unwrap());
    let expected = [
        ("ENSUE_ATTEMPT", "1"),
        ("ENSUE_DEADLINE", "2026-03-28T12:10:00.000000Z"),
        ("ENSUE_EXECUTION_ID", &execution),
        ("ENSUE_FENCING_TOKEN", "7"),
        ("ENSUE_IDEMPOTENCY_KEY", &execution),
        ("ENSUE_PACK_DIR", pack.to_str().unwrap()),
        ("HOME", private),
        ("LANG", "C.UTF-8"),
        ("PATH", &path),
        ("REGION", "eu"),
        ("TMPDIR", private),
        ("TRACEPARENT", TRACE),
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn program_has_only_its_three_streams_open() {
    // A descriptor that the process that started the node may have left open.
    let _inheritable = rustix::io::dup(std::io::stderr()).unwrap();
    let mut world = Plan::new(program(&["ls", "/proc/self/fd"])).begin();
    // 3 is the folder that `ls` itself reads.
    assert_eq!(result(&world.report_of(json!({})).await), json!("0\n1\n2\n3"));
}

#[tokio::test]
async fn program_has_a_private_directory_that_is_removed_afterwards() {
    let mut world = Plan::new(sh("pwd; stat -c %a .; touch a; mkdir b; [ \"$PWD\" = \"$HOME\" ]")).begin();
    let private = world.folder.path().join("private").join(attempt(1).to_string());
    assert_eq!(result(&world.report_of(json!({})).await), json!(format!("{}\n700", private.display())));
    assert!(!world.has_private_directories());
    for failing in ["touch a; exit 1", "kill -9 $$"] {
        let mut world = Plan::new(sh(failing)).begin();
        world.report_of(json!({})).await;
        assert!(!world.has_private_directories(), "{failing}");
    }
}

#[tokio::test]
async fn relative_data_directory_is_resolved_for_programs() {
    let data = tempfile::TempDir::new().unwrap();
    let up = std::env::current_dir().unwrap().components().skip(1).map(|_| "..").collect::<std::path::PathBuf>();
    let named = up.join(data.path().strip_prefix("/").unwrap());
    let mut world = Plan::new(sh("cd /; cd \"$HOME\"; cd /; cd \"$TMPDIR\"; pwd")).private_dir(named).begin();
    let report = world.report_of(json!({})).await;
    assert!(result(&report).as_str().unwrap().starts_with(data.path().to_str().unwrap()));
}

#[tokio::test]
async fn key_is_passed_in_a_private_file_and_is_nowhere_else() {
    let files = vec![("PGPASSFILE".into(), template(json!("${{ keys['test.file'] }}")))];
    let run = Run::Process(ProcessCommand {
        files,
        ..command(&["sh", "-c", "stat -c %a $PGPASSFILE; wc -c < $PGPASSFILE; cat /proc/$$/environ"])
    });
    let mut world = Plan::new(run).begin();
    let report = world.report_of(json!({})).await;
    let printed = String::from_utf8(world.outputs.stream_head(1, Stdout).0).unwrap();
    assert!(printed.starts_with(&format!("600\n{}\n", SECRET.len())), "{printed}");
    assert!(!format!("{report:?}{printed}").contains(SECRET));
    assert!(!stands_in_files(world.folder.path(), SECRET));
}

#[tokio::test]
async fn unreadable_key_is_reported_by_name() {
    for (expression, says) in [
        ("${{ keys['test.unset'] }}", "ensue keys set test.unset"),
        ("${{ keys['other.token'] }}", "keys:use on pack=other"),
        ("${{ keys['nothing'] }}", "`nothing`"),
    ] {
        let run = Run::Process(ProcessCommand { input: Some(template(json!(expression))), ..command(&["cat"]) });
        let mut world = Plan::new(run).begin();
        let report = world.report_of(json!({})).await;
        let failure = failure(&report, FailureKind::KeyMissing);
        assert!(failure.message.contains(says), "{}", failure.message);
    }
}

#[tokio::test]
async fn expression_error_is_a_failure_that_shows_no_key() {
    let cases = [
        ("${{ params.nothing }}", true),
        ("${{ int(keys['test.token']) }}", false),
        ("${{ {'a': 1}[keys['test.token']] }}", false),
        ("${{ {'a': 1}[keys[params.which]] }}", false),
    ];
    for (expression, may_explain) in cases {
        let run = Run::Process(ProcessCommand { input: Some(template(json!({ "value": expression }))), ..command(&["cat"]) });
        let mut world = Plan::new(run).begin();
        let report = world.report_of(json!({ "which": "test.token" })).await;
        let failure = failure(&report, FailureKind::Expression);
        assert!(!failure.message.contains(SECRET), "{}", failure.message);
        assert_eq!(failure.message.contains("nothing"), may_explain, "{}", failure.message);
    }
}

#[tokio::test]
async fn invalid_utf_8_is_stored_raw_and_replaced_in_the_result() {
    let mut world = Plan::new(sh(r"printf 'a\377b'")).begin();
    assert_eq!(result(&world.report_of(json!({})).await), json!("a\u{fffd}b"));
    assert_eq!(world.outputs.stream_head(1, Stdout).0, b"a\xffb");
}

#[tokio::test]
async fn gigabyte_of_output_is_read_to_its_end_and_only_its_beginning_stored() {
    const GIGABYTE: u64 = 1 << 30;
    let mut world = Plan::new(sh("yes | head -c 1073741824")).begin();
    let report = world.report_of(json!({})).await;
    assert_eq!(result(&report).as_str().unwrap().len(), (1 << 20) - 1, "the first MiB without its last line break");
    assert_eq!(world.outputs.stream_head(1, Stdout).1, GIGABYTE);
}

#[tokio::test]
async fn declared_result_of_a_gigabyte_exceeds_the_limit() {
    let run = sh("yes | head -c 4000000");
    let mut world = Plan::new(program(&[])).action(run, |action| action.result = declares_count()).begin();
    failure(&world.report_of(json!({})).await, FailureKind::OutputLimit);
}

#[tokio::test]
async fn program_may_ignore_its_input() {
    let large = "x".repeat(1 << 20);
    let mut world = Plan::new(sh("exec <&-; echo done")).begin();
    assert_eq!(result(&world.report_of(json!({ "large": large })).await), json!("done"));
}

#[tokio::test]
async fn program_that_closes_its_pipes_is_ended_by_its_timeout() {
    let mut world = Plan::new(sh("echo ready; exec <&- >&- 2>&-; sleep 1000")).time_in_hand().begin();
    world.dispatch(1, json!({}));
    world.outputs.says(1, Stdout, "ready").await;
    world.clock.advance(TIMEOUT);
    let report = world.report().await;
    assert!(failure(&report, FailureKind::Timeout).message.contains("600 s"));
}

#[tokio::test]
async fn program_that_ignores_sigterm_is_killed_after_the_grace_period() {
    let script = "trap 'echo heard' TERM; echo ready; while :; do sleep 0.01; done";
    let mut world = Plan::new(sh(script)).time_in_hand().begin();
    world.dispatch(1, json!({}));
    world.outputs.says(1, Stdout, "ready").await;
    world.stop(1);
    world.outputs.says(1, Stdout, "heard").await;
    world.clock.advance(GRACE - Duration::from_millis(1));
    assert_eq!(world.executor.running(), 1);
    world.clock.advance(Duration::from_millis(1));
    failure(&world.report().await, FailureKind::Cancelled);
    assert!(!world.has_private_directories());
}

#[tokio::test]
async fn cancelled_program_may_clean_up() {
    let script = "trap 'echo cleaned; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
    let mut world = Plan::new(sh(script)).time_in_hand().begin();
    world.dispatch(1, json!({}));
    world.outputs.says(1, Stdout, "ready").await;
    world.stop(1);
    failure(&world.report().await, FailureKind::Cancelled);
    world.outputs.says(1, Stdout, "cleaned").await;
}

#[tokio::test]
async fn background_processes_are_ended_with_their_program() {
    // The clock does not advance: only the end of all processes with the pipes can cause the report.
    let mut world = Plan::new(sh("sleep 1000 & echo left")).time_in_hand().begin();
    assert_eq!(result(&world.report_of(json!({})).await), json!("left"));
}

#[tokio::test]
async fn escaped_process_with_the_pipes_cannot_hold_the_attempt() {
    let script = "setsid sh -c 'echo outside; sleep 5' & while [ ! -e go ]; do sleep 0.01; done; echo done";
    let mut world = Plan::new(sh(script)).drain_patience(Duration::from_millis(50)).begin();
    world.dispatch(1, json!({}));
    world.outputs.says(1, Stdout, "outside").await;
    let private = world.folder.path().join("private").join(attempt(1).to_string());
    std::fs::write(private.join("go"), "").unwrap();
    assert_eq!(result(&world.report().await), json!("outside\ndone"));
}

#[tokio::test]
async fn shell_metacharacters_in_arguments_are_literal() {
    let mut world = Plan::new(program(&["printf", "%s|", "$(id)", "`id`", "; rm -rf /", "a\nb"])).begin();
    assert_eq!(result(&world.report_of(json!({})).await), json!("$(id)|`id`|; rm -rf /|a\nb|"));
}
