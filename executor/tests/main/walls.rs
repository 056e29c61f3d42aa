//! What programs are walled off from, where the machine has the walls; what it lacks is skipped by name.

use ensue_engine::executions::facts::FailureKind;
use ensue_executor::programs::{Isolation, IsolationMode, Wall, walls_of_this_machine};
use serde_json::json;

use crate::skipped::{has_program, skipped};
use crate::world::{Plan, failure, result, sh};

/// Says whether a wall stands here; where it does not, the test is skipped by name.
pub(crate) fn stands(test: &str, what: &str, wall: &Wall) -> bool {
    match wall {
        Wall::Stands => true,
        Wall::Missing { why } => {
            skipped(test, &format!("this machine has no wall around {what}: {why}"));
            false
        }
    }
}

pub(crate) async fn printed(plan: Plan) -> String {
    let mut world = plan.begin();
    let report = world.report_of(json!({})).await;
    result(&report).as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_program_writes_in_its_private_directory_and_nowhere_else() {
    let test = "a_program_writes_in_its_private_directory_and_nowhere_else";
    if !stands(test, "files", &walls_of_this_machine().files) {
        return;
    }
    let outside = tempfile::TempDir::new().unwrap();
    let path = outside.path().display();
    let script = format!(
        "echo mine > file; for file in {path}/a /tmp/ensue-wall /etc/ensue-wall /dev/shm/ensue-wall /usr/ensue-wall; do \
         (echo x > $file) 2> /dev/null && echo \"wrote $file\"; done; cat file; echo > /dev/null; mktemp > /dev/null && echo temporary"
    );
    assert_eq!(printed(Plan::new(sh(&script)).supervised()).await, "mine\ntemporary");
    let isolation = Isolation { writable: vec![outside.path().to_owned()], ..Isolation::default() };
    assert!(printed(Plan::new(sh(&script)).isolated(isolation)).await.starts_with(&format!("wrote {path}/a\n")));
}

#[tokio::test]
async fn a_program_reads_the_system_and_not_what_is_hidden_or_another_s() {
    let test = "a_program_reads_the_system_and_not_what_is_hidden_or_another_s";
    if !stands(test, "files", &walls_of_this_machine().files) {
        return;
    }
    let data = tempfile::Builder::new().tempdir_in("/var/tmp").unwrap();
    std::fs::write(data.path().join("vault"), "secret").unwrap();
    let script =
        format!("cat {0}/vault 2>/dev/null || echo hidden; head -c 4 /etc/passwd; ls ../ 2>/dev/null || echo alone", data.path().display());
    let isolation = Isolation { readable: vec!["/var/tmp".into()], hidden: vec![data.path().to_owned()], ..Isolation::default() };
    assert_eq!(printed(Plan::new(sh(&script)).isolated(isolation)).await, "hidden\nrootalone");
}

#[tokio::test]
async fn ordinary_programs_work_behind_the_walls() {
    let scripts = [
        (
            "python3",
            "python3 -c 'import json, tempfile, subprocess, sqlite3; tempfile.TemporaryFile(); subprocess.run([\"true\"], check=True); print(\"ok\")'",
        ),
        ("git", "git init -q r && cd r && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x && echo ok"),
        ("curl", "curl -s file:///etc/hostname > got; test -s got && echo ok"),
    ];
    for (program, script) in scripts {
        if has_program("ordinary_programs_work_behind_the_walls", program) {
            assert_eq!(printed(Plan::new(sh(script)).supervised()).await, "ok", "{program}");
        }
    }
}

#[tokio::test]
async fn no_program_signals_what_is_outside_of_its_walls() {
    let test = "no_program_signals_what_is_outside_of_its_walls";
    if !stands(test, "signals", &walls_of_this_machine().signals) {
        return;
    }
    let script = format!("kill -0 {} 2>/dev/null && echo reached; kill -0 $PPID 2>/dev/null && echo reached; echo ok", std::process::id());
    assert_eq!(printed(Plan::new(sh(&script)).supervised()).await, "ok");
}

#[tokio::test]
async fn no_program_looks_into_another_of_the_same_user() {
    let test = "no_program_looks_into_another_of_the_same_user";
    if !stands(test, "files", &walls_of_this_machine().files) {
        return;
    }
    // Both are of the same user, and the canary stands in the environment of the other.
    let mut other = std::process::Command::new("sleep").arg("1000").env("CANARY", crate::world::SECRET).spawn().unwrap();
    let script = format!("grep -c {} /proc/{}/environ 2>/dev/null || echo nothing", crate::world::SECRET, other.id());
    let found = printed(Plan::new(sh(&script)).supervised()).await;
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(found, "nothing");
}

#[tokio::test]
async fn system_calls_that_lead_out_are_refused() {
    let test = "system_calls_that_lead_out_are_refused";
    if !stands(test, "system calls", &walls_of_this_machine().system_calls) {
        return;
    }
    let script = "unshare -Ur true 2>/dev/null && echo unshared; unshare -n true 2>/dev/null && echo unshared; \
                  mount -t tmpfs none . 2>/dev/null && echo mounted; kill -9 -1 2>/dev/null && echo killed; echo ok";
    assert_eq!(printed(Plan::new(sh(script)).supervised()).await, "ok");
    if !has_program(test, "python3") {
        return;
    }
    // ptrace, keyctl, bpf and io_uring_setup, by their numbers here.
    let numbers = [libc::SYS_ptrace, libc::SYS_keyctl, libc::SYS_bpf, libc::SYS_io_uring_setup];
    let script = format!(
        "python3 -c 'import ctypes; c = ctypes.CDLL(None, use_errno=True); \
         print([(c.syscall(n, 0, 0, 0, 0), ctypes.get_errno()) for n in {numbers:?}])'"
    );
    assert_eq!(printed(Plan::new(sh(&script)).supervised()).await, "[(-1, 1), (-1, 1), (-1, 1), (-1, 1)]");
}

#[tokio::test]
async fn isolation_that_is_demanded_is_had_or_the_program_is_not_started() {
    let missing = walls_of_this_machine().missing();
    let mut world = Plan::new(sh("echo ran")).isolated(Isolation { mode: IsolationMode::Required, ..Isolation::default() }).begin();
    let report = world.report_of(json!({})).await;
    if missing.is_empty() {
        assert_eq!(result(&report), json!("ran"));
    } else {
        assert!(failure(&report, FailureKind::Sandbox).message.contains(&missing[0]));
    }
}
