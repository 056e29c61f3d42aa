//! Sensors that run a program.

use std::collections::BTreeSet;
use std::sync::Arc;

use ensue_connectors::Token;
use ensue_engine::catalog::{ProcessSource, Restart};

use super::*;

fn process(program: &str) -> ProcessSource {
    ProcessSource {
        command: vec![program.to_owned()],
        beside: BTreeSet::new(),
        input: None,
        env: Vec::new(),
        grace: Duration::from_millis(500),
        restart: Restart::OnFailure,
        reading: reading(Decode::Json),
        pack: Digest::of(b"pack"),
    }
}

async fn start_script(outside: &Outside, script: &str) -> Box<dyn Running> {
    with(outside, script, process("./watch.sh")).await
}

async fn with(outside: &Outside, script: &str, source: ProcessSource) -> Box<dyn Running> {
    outside.program("watch.sh", &format!("#!/bin/sh\n{script}\n"));
    outside.open(Source::Process(Arc::new(source)), None).await.unwrap()
}

fn is_alive(pid: &Value) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[tokio::test]
async fn lines_of_a_program_become_messages() {
    let outside = Outside::new();
    let script = r#"echo '{"event":{"a":1},"cursor":5,"time":"2026-01-01T00:00:00Z"}'; echo '{"log":"hello"}'; echo '{"b":2}'; echo '[3]'; echo '{"event":1,"other":2}'; echo no json; sleep 60"#;
    let mut source = start_script(&outside, script).await;
    let all = settle_next(&mut source, 5).await;
    let expected = [json!({ "a": 1 }), json!({ "b": 2 }), json!([3]), json!({ "event": 1, "other": 2 }), json!({ "bytes": "no json" })];
    assert_eq!(bodies(&all), expected);
    assert_eq!(all[0].time.map(|time| time.to_string()).as_deref(), Some("2026-01-01T00:00:00.000000Z"));
    assert_eq!(outside.lines(), ["hello"]);
    source.close().await;
}

#[tokio::test]
async fn input_and_cursor_are_in_the_first_line() {
    let outside = Outside::new();
    outside.program("watch.sh", "#!/bin/sh\nread line; echo \"{\\\"event\\\":$line,\\\"cursor\\\":$NUMBER}\"; sleep 60\n");
    let source = ProcessSource {
        input: Some(template(&json!({ "name": "${{ config.name }}", "token": "${{ keys[\"dev.token\"] }}" }))),
        env: vec![("NUMBER".to_owned(), template(&json!("8")))],
        ..process("./watch.sh")
    };
    let cursor_before = Document::from_value(&json!({ "at": 7 }));
    let mut source = outside.open(Source::Process(Arc::new(source)), Some(&cursor_before)).await.unwrap();
    let all = messages(&mut source).await;
    let line = json!({ "input": { "name": "device", "token": "sesame-open-wide" }, "cursor": { "at": 7 } });
    assert_eq!(bodies(&all), [line]);
    assert_eq!(cursor(&*source, &all[0]), json!(8));
    assert_eq!(cursor(&*source, &Message { token: Token(0), ..all[0].clone() }), json!({ "at": 7 }));
    source.close().await;
}

#[tokio::test]
async fn standard_error_is_the_log_without_the_values_of_keys() {
    let outside = Outside::new();
    outside.program("watch.sh", "#!/bin/sh\nread line; echo \"got $line\" >&2; echo 1; sleep 60\n");
    let input = Some(template(&json!("${{ keys[\"dev.token\"] }}")));
    let mut source = outside.open(Source::Process(Arc::new(ProcessSource { input, ..process("./watch.sh") })), None).await.unwrap();
    settle_next(&mut source, 1).await;
    until("the line is in the log", || !outside.lines().is_empty()).await;
    let line = outside.lines().remove(0);
    assert!(line.starts_with("got ") && !line.contains("sesame"), "{line}");
    source.close().await;
}

#[tokio::test]
async fn what_a_program_reports_of_a_part_and_logs_has_no_values_of_keys() {
    let outside = Outside::new();
    let report = r#"{\"part\":\"https://a.example/?key=$KEY\",\"state\":\"failing\",\"error\":\"no $KEY\"}"#;
    outside.program(
        "watch.sh",
        &format!("#!/bin/sh\nread line; echo \"{report}\"; echo \"{{\\\"log\\\":\\\"$KEY\\\"}}\"; echo 1; sleep 60\n"),
    );
    let env = vec![("KEY".to_owned(), template(&json!("${{ keys[\"dev.token\"] }}")))];
    let mut source = outside.open(Source::Process(Arc::new(ProcessSource { env, ..process("./watch.sh") })), None).await.unwrap();
    settle_next(&mut source, 1).await;
    let lines = outside.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("https://a.example/?key=") && lines[0].contains(" fails: no "), "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains("sesame")), "{lines:?}");
    source.close().await;
}

#[tokio::test]
async fn program_hears_how_many_of_its_messages_are_settled() {
    let outside = Outside::new();
    let mut source = start_script(&outside, r#"read first; echo 1; echo 2; while read line; do echo "{\"heard\":$line}"; done"#).await;
    let mut all = Vec::new();
    while all.len() < 2 {
        all.extend(messages(&mut source).await);
    }
    source.settle(&[all[0].token, all[1].token]).await.unwrap();
    assert_eq!(bodies(&messages(&mut source).await), [json!({ "heard": { "ack": 2 } })]);
    source.close().await;
}

#[tokio::test]
async fn program_that_ends_with_success_is_done_or_started_again() {
    let outside = Outside::new();
    let mut source = start_script(&outside, "echo 1; printf 2").await;
    assert_eq!(bodies(&settle_next(&mut source, 2).await), [json!(1), json!(2)], "its last line is complete even without a line break");
    assert!(matches!(next(&mut source).await, Ok(PullOutcome::Done)));
    source.close().await;
    let mut again = with(&outside, "echo 1", ProcessSource { restart: Restart::Always, ..process("./watch.sh") }).await;
    assert_eq!(bodies(&settle_next(&mut again, 3).await), [json!(1), json!(1), json!(1)]);
    again.close().await;
}

#[tokio::test]
async fn program_that_says_that_it_is_done_is_stopped() {
    let outside = Outside::new();
    let mut source = start_script(&outside, r#"echo 1; echo '{"done":true}'; echo 2; exec sleep 60"#).await;
    assert_eq!(bodies(&settle_next(&mut source, 1).await), [json!(1)]);
    assert!(matches!(next(&mut source).await, Ok(PullOutcome::Done)));
    source.close().await;
    until("nothing of it is left", || outside.keepers() == 0).await;
}

#[tokio::test]
async fn program_that_dies_at_once_is_reported_with_its_exit_code() {
    let outside = Outside::new();
    let mut source = start_script(&outside, "printf half; exit 3").await;
    let error = next(&mut source).await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (SensorErrorKind::Exited, "the program ended with exit code 3"));
    assert!(outside.lines()[0].contains("within a line"), "{:?}", outside.lines());
    let mut killed = start_script(&outside, "kill -9 $$").await;
    assert!(next(&mut killed).await.unwrap_err().message.contains("by signal 9"));
}

#[tokio::test]
async fn missing_program_is_not_found() {
    let outside = Outside::new();
    for program in ["./nothing", "no-such-program-anywhere"] {
        let error = outside.open(Source::Process(Arc::new(process(program))), None).await.err().unwrap();
        assert_eq!(error.kind, SensorErrorKind::NotFound, "{error}");
    }
    let unset = ProcessSource { input: Some(template(&json!("${{ keys[\"dev.other\"] }}"))), ..process("sh") };
    let error = outside.open(Source::Process(Arc::new(unset)), None).await.err().unwrap();
    assert_eq!(error.kind, SensorErrorKind::KeyMissing, "{error}");
}

#[tokio::test]
async fn program_that_prints_nothing_is_waited_for() {
    let outside = Outside::new();
    let mut source = start_script(&outside, "exec sleep 60").await;
    assert!(is_silent(&mut source).await);
    source.close().await;
    until("nothing of it is left", || outside.keepers() == 0).await;
}

#[tokio::test]
async fn half_a_line_and_invalid_text_are_no_loss_of_later_lines() {
    let outside = Outside::new();
    let mut source =
        start_script(&outside, r#"printf '{"a"'; sleep 0.2; printf ':1}\n'; printf '\377\376\n'; echo '"after"'; sleep 60"#).await;
    let all = settle_next(&mut source, 3).await;
    assert_eq!(bodies(&all)[0], json!({ "a": 1 }));
    assert!(matches!(&all[1].body, Body::Bytes(bytes) if **bytes == *b"\xff\xfe"));
    assert_eq!(bodies(&all)[2], json!("after"));
    source.close().await;
}

#[tokio::test]
async fn program_that_prints_a_gigabyte_waits_until_somebody_reads() {
    let outside = Outside::new();
    let source = ProcessSource { reading: reading(Decode::Text), ..process("./watch.sh") };
    let mut source = with(&outside, "yes 0123456789012345678901234567890123456789 | head -c 1073741824; sleep 60", source).await;
    let first = messages(&mut source).await;
    assert!(first.len() <= ROOM.messages);
    // Without a settled message, it stops at its limit.
    let (mut lines, mut last) = (first.len(), first.last().unwrap().token);
    while lines < 1_000 {
        let more = messages(&mut source).await;
        lines += more.len();
        last = more.last().unwrap().token;
    }
    while let Ok(pulled) = tokio::time::timeout(Duration::from_millis(300), source.next(ROOM)).await {
        let Ok(PullOutcome::Messages(more)) = pulled else { panic!("the source is done") };
        lines += more.len();
        last = more.last().unwrap().token;
        assert!(lines <= 1_500, "{lines}");
    }
    source.settle(&[last]).await.unwrap();
    assert!(!messages(&mut source).await.is_empty());
    source.close().await;
    until("nothing of it is left", || outside.keepers() == 0).await;
}

#[tokio::test]
async fn line_without_an_end_is_cut() {
    let outside = Outside::new();
    let source = ProcessSource { reading: reading(Decode::Text), ..process("./watch.sh") };
    let mut source = with(&outside, "head -c 6000000 /dev/zero | tr '\\0' x; echo; echo next; sleep 60", source).await;
    assert_eq!(bodies(&settle_next(&mut source, 2).await), [json!({ "cut": 6_000_000 }), json!({ "bytes": "next" })]);
    source.close().await;
}

#[tokio::test]
async fn program_that_ignores_sigterm_is_killed_after_its_grace_period() {
    let outside = Outside::new();
    let mut source = start_script(&outside, r#"trap "" TERM; echo $$; while :; do sleep 0.1; done"#).await;
    let pid = bodies(&settle_next(&mut source, 1).await).remove(0);
    assert!(is_alive(&pid));
    let begin = std::time::Instant::now();
    source.close().await;
    assert!(begin.elapsed() >= Duration::from_millis(400), "{:?}", begin.elapsed());
    assert!(!is_alive(&pid));
}

#[tokio::test]
async fn processes_that_a_program_started_end_with_it() {
    let outside = Outside::new();
    let mut source = start_script(&outside, "setsid sleep 61 & echo $!; wait").await;
    let pid = bodies(&settle_next(&mut source, 1).await).remove(0);
    assert!(is_alive(&pid));
    source.close().await;
    assert!(!is_alive(&pid));
}

#[tokio::test]
async fn dropped_program_ends_as_if_the_node_were_gone() {
    let outside = Outside::new();
    let mut source = start_script(&outside, r#"trap "" TERM; echo $$; while :; do sleep 0.1; done"#).await;
    let pid = bodies(&settle_next(&mut source, 1).await).remove(0);
    drop(source);
    until("the program has ended", || !is_alive(&pid)).await;
    until("nothing of it is left", || outside.keepers() == 0).await;
}

#[tokio::test]
async fn program_whose_keeper_was_killed_is_ended_by_the_next_node() {
    let outside = Outside::new();
    let mut source = start_script(&outside, r#"trap "" TERM HUP; echo "[$$,$PPID]"; while :; do sleep 0.1; done"#).await;
    let pids = bodies(&settle_next(&mut source, 1).await).remove(0);
    let keeper = rustix::process::Pid::from_raw(i32::try_from(pids[1].as_i64().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(keeper, rustix::process::Signal::KILL).unwrap();
    until("the keeper has ended", || !is_alive(&pids[1])).await;
    assert!(is_alive(&pids[0]), "its program has lost its keeper");
    assert_eq!(outside.keepers(), 1);
    // A node that was killed, too, cleans up when it starts.
    std::mem::forget(source);
    let _next = Outside::again(&outside);
    assert!(!is_alive(&pids[0]));
    assert_eq!(outside.keepers(), 0);
}

impl Outside {
    /// Opens the folders of a node that is gone.
    fn again(&self) -> SensorPrograms {
        let settings = SensorProgramsSettings {
            keepers: self.folder.path().join("keepers"),
            private: self.folder.path().join("private"),
            command: SupervisorCommand { program: SUPERVISOR.into(), arguments: Vec::new(), environment: Vec::new() },
            isolation: Isolation::default(),
            limits: ProgramLimits::default(),
            path: std::env::var_os("PATH").unwrap_or_default(),
            packs: Arc::new(OnePack(self.folder.path().join("pack"))),
            masked: NodeSecrets::default(),
        };
        SensorPrograms::open(settings).unwrap()
    }
}
