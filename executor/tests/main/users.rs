//! Programs of a node that runs as root: other users, or root without any privilege. On other machines these
//! tests are skipped by name.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use ensue_engine::executions::facts::FailureKind;
use ensue_executor::probes::why_not_as;
use ensue_executor::programs::{Isolation, IsolationMode, ProgramUsers};
use serde_json::json;
use tempfile::TempDir;

use crate::kernel::WallKind;
use crate::program_file;
use crate::skipped::skipped;
use crate::walls::{caller, output_of};
use crate::world::{Plan, World, failure, result, sh};

/// The first of more users than a machine has processes.
const FIRST: u32 = 1_900_000_000;
pub(crate) const RANGE: ProgramUsers = ProgramUsers::Range { first: FIRST, last: FIRST + (1 << 22) };
pub(crate) const ONE: ProgramUsers = ProgramUsers::One { user: 65_534, group: 65_533 };

/// Returns true if this machine lets programs run as these users; otherwise the test is skipped by name.
fn can_be(test: &str, users: ProgramUsers) -> bool {
    why_not_as(users).inspect(|why| skipped(test, why)).is_none()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A plan in a folder that others may enter.
fn plan(script: &str, isolation: Isolation) -> Plan {
    let folder = TempDir::new().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    Plan::new(sh(script)).with_isolation(isolation).home(Arc::new(folder))
}

fn running_as(users: ProgramUsers) -> Isolation {
    Isolation { users, ..Isolation::default() }
}

async fn run_and_read(mut world: World) -> String {
    let report = world.report_of(json!({})).await;
    result(&report).as_str().unwrap().to_owned()
}

#[tokio::test]
async fn program_of_a_root_node_is_another_user_without_capabilities() {
    let test = "program_of_a_root_node_is_another_user_without_capabilities";
    let script = "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs)' /proc/self/status | tr -s '\\t ' ' '; \
                  for file in /etc/shadow /etc/gshadow; do cat $file 2> /dev/null; done; \
                  echo mine > file && cat file && ls -ld . | cut -d' ' -f1";
    for users in [RANGE, ONE] {
        for mode in [IsolationMode::Auto, IsolationMode::None] {
            if !can_be(test, users) {
                return;
            }
            let found = run_and_read(plan(script, Isolation { mode, ..running_as(users) }).begin()).await;
            let line = |name: &str| found.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap().trim().to_owned();
            let ids = |name| line(name).split(' ').map(|id| id.parse::<u32>().unwrap()).collect::<Vec<_>>();
            let (user, group) = (ids("Uid"), ids("Gid"));
            match users {
                ProgramUsers::Range { first, last } => {
                    assert!(user.iter().all(|id| *id == user[0] && (first + 1..=last).contains(id)), "{user:?}");
                    assert_eq!(group, [first; 4]);
                }
                ProgramUsers::One { .. } | ProgramUsers::Node => assert_eq!((user, group), (vec![65_534; 4], vec![65_533; 4])),
            }
            for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
                assert_eq!(line(set), "0000000000000000", "{set}");
            }
            if mode == IsolationMode::Auto {
                assert_eq!((&*line("CapBnd"), &*line("NoNewPrivs")), ("0000000000000000", "1"));
            }
            assert!(!found.lines().any(|line| line.starts_with("Groups: ") && line.trim() != "Groups:"), "{found}");
            assert!(found.ends_with("mine\ndrwx------"), "{found}");
        }
    }
}

#[tokio::test]
async fn program_of_a_root_node_keeps_no_capability_as_root() {
    let test = "program_of_a_root_node_keeps_no_capability_as_root";
    if !is_root() {
        return skipped(test, "this test does not run as root");
    }
    if !WallKind::Files.stands_for(test) {
        return;
    }
    let script = "grep -E '^Cap' /proc/self/status | cut -f2 | sort -u; \
                  for file in /etc/shadow /etc/gshadow /etc/shadow- /etc/ssh/ssh_host_*_key; do head -c 1 $file 2> /dev/null && echo read $file; done; \
                  head -c 4 /etc/passwd; echo; cat /etc/ssl/openssl.cnf > /dev/null 2>&1; ls /etc > /dev/null && echo listed";
    assert_eq!(output_of(Plan::new(sh(script)).with_supervisors()).await, "0000000000000000\nroot\nlisted");
}

#[tokio::test]
async fn program_of_another_user_gets_its_files_streams_and_limits() {
    let test = "program_of_another_user_gets_its_files_streams_and_limits";
    if !can_be(test, RANGE) {
        return;
    }
    let script = "echo out > /dev/stdout; echo err > /dev/stderr; cat /dev/stdin | head -c 1; echo '{\"progress\": 0.5}' > /dev/fd/3; \
                  echo; until [ $(ulimit -n) = 99 ]; do sleep 0.01; done; ulimit -n; ulimit -u > /dev/null; ./tool; mkdir locked && touch locked/file && chmod 0 locked";
    let world = plan(&format!("cp $ENSUE_PACK_DIR/actions/tool tool; {script}"), running_as(RANGE))
        .settings(|settings| settings.limits.open_files = Some(99))
        .begin();
    world.pack_file("actions/tool", "#!/bin/sh\necho tool", 0o555);
    let mut world = world;
    world.dispatch(1, json!({}));
    assert!(matches!(world.asked.recv().await, Some(ensue_engine::command::Ask::TakeMessage(_))), "it said how far it is");
    let report = world.report().await;
    assert_eq!(result(&report), json!("out\n{\n99\ntool"));
    assert!(!world.has_private_directories(), "what the program locked is removed");
}

#[tokio::test]
async fn program_of_another_user_changes_no_process_outside() {
    let test = "program_of_another_user_changes_no_process_outside";
    if !can_be(test, RANGE) || !WallKind::SystemCalls.stands_for(test) {
        return;
    }
    if !std::path::Path::new("/usr/bin/python3").exists() {
        return skipped(test, "there is no /usr/bin/python3, which another user can start");
    }
    let script = caller("/usr/bin/python3", WallKind::Signals.stands());
    assert_eq!(run_and_read(plan(&script, running_as(RANGE)).begin()).await, "done");
}

#[tokio::test]
async fn program_that_its_user_may_not_run_fails_with_the_reason() {
    let test = "program_that_its_user_may_not_run_fails_with_the_reason";
    if !can_be(test, RANGE) {
        return;
    }
    let closed = TempDir::new().unwrap();
    std::fs::set_permissions(closed.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let path = std::env::join_paths([closed.path(), "/usr/bin".as_ref(), "/bin".as_ref()]).unwrap();
    let tool = |name: &str| {
        program_file::write(&closed.path().join(name), &std::fs::read("/bin/true").unwrap());
        let command = vec![name.to_owned()];
        let run = ensue_engine::catalog::Run::Process(ensue_engine::catalog::ProcessCommand {
            command,
            beside: Default::default(),
            env: Vec::new(),
            files: Vec::new(),
            input: None,
        });
        let folder = TempDir::new().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = path.clone();
        Plan::new(run).with_isolation(running_as(RANGE)).home(Arc::new(folder)).settings(move |settings| settings.path = path)
    };
    // The folder is closed to others: a program of the same name that they can start is used instead.
    let mut world = tool("true").begin();
    result(&world.report_of(json!({})).await);
    let mut world = tool("only-here").begin();
    let report = world.report_of(json!({})).await;
    let message = &failure(&report, FailureKind::Spawn).message;
    assert!(message.contains("Permission denied") && message.contains("`actions.user`"), "{message}");
}

#[tokio::test]
async fn permission_denied_in_a_shared_folder_names_the_setting_of_the_user() {
    let test = "permission_denied_in_a_shared_folder_names_the_setting_of_the_user";
    for users in [RANGE, ONE] {
        if !can_be(test, users) {
            return;
        }
        let shared = TempDir::new().unwrap();
        std::fs::set_permissions(shared.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let isolation = Isolation { writable: vec![shared.path().to_owned()], ..running_as(users) };
        let folder = shared.path().join("made");
        // Each world starts a supervisor of its own, whose programs have another user than those of the others.
        let mut world = plan(&format!("mkdir {}", folder.display()), isolation.clone()).begin();
        result(&world.report_of(json!({})).await);
        // The reason need not be in the last line.
        let script = format!("touch {}/file || {{ echo giving up >&2; exit 3; }}", folder.display());
        let mut other = plan(&script, isolation).begin();
        let report = other.report_of(json!({})).await;
        match users {
            ProgramUsers::Range { .. } => {
                let message = &failure(&report, FailureKind::ExitCode).message;
                assert!(message.contains("giving up") && message.contains("`actions.user`"), "{message}");
            }
            ProgramUsers::One { .. } | ProgramUsers::Node => {
                result(&report);
            }
        }
    }
    let refused_login = "echo 'git@host: Permission denied (publickey).' >&2; exit 128";
    let sharing = Isolation { writable: vec!["/tmp".into()], ..running_as(RANGE) };
    for (script, isolation) in [("cat /etc/shadow", running_as(ONE)), ("cat /etc/shadow", running_as(RANGE)), (refused_login, sharing)] {
        let mut world = plan(script, isolation).begin();
        let report = world.report_of(json!({})).await;
        let message = &failure(&report, FailureKind::ExitCode).message;
        assert!(message.contains("Permission denied") && !message.contains("`actions.user`"), "{message}");
    }
}

#[test]
fn too_few_or_missing_users_are_rejected() {
    if !can_be("too_few_or_missing_users_are_rejected", RANGE) {
        return;
    }
    let few = ProgramUsers::Range { first: FIRST, last: FIRST + 9 };
    assert!(why_not_as(few).unwrap().contains("too few users"));
    assert_eq!(why_not_as(ProgramUsers::Node), None);
}
