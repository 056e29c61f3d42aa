//! The isolation of programs, as far as the machine supports it; tests of missing parts are skipped by name.

use ensue_engine::executions::facts::FailureKind;
use ensue_executor::probes::walls_of_this_machine;
use ensue_executor::programs::{Isolation, IsolationMode, ProgramUsers};
use serde_json::json;

use crate::kernel::{WallKind, supervisor};
use crate::skipped::has_program;
use crate::world::{Plan, failure, result, sh};

pub(crate) async fn output_of(plan: Plan) -> String {
    let mut world = plan.begin();
    let report = world.report_of(json!({})).await;
    result(&report).as_str().unwrap().to_owned()
}

#[tokio::test]
async fn program_writes_in_its_private_directory_and_nowhere_else() {
    let test = "program_writes_in_its_private_directory_and_nowhere_else";
    if !WallKind::Files.stands_for(test) {
        return;
    }
    let outside = tempfile::TempDir::new().unwrap();
    let path = outside.path().display();
    let script = format!(
        "echo mine > file; for file in {path}/a /tmp/ensue-wall /etc/ensue-wall /dev/shm/ensue-wall /usr/ensue-wall; do \
         (echo x > $file) 2> /dev/null && echo \"wrote $file\"; done; cat file; echo > /dev/null; mktemp > /dev/null && echo temporary"
    );
    assert_eq!(output_of(Plan::new(sh(&script)).with_supervisors()).await, "mine\ntemporary");
    let isolation = Isolation { writable: vec![outside.path().to_owned()], ..Isolation::default() };
    assert!(output_of(Plan::new(sh(&script)).with_isolation(isolation)).await.starts_with(&format!("wrote {path}/a\n")));
}

#[tokio::test]
async fn program_can_read_the_system_but_neither_hidden_nor_private_files() {
    let test = "program_can_read_the_system_but_neither_hidden_nor_private_files";
    if !WallKind::Files.stands_for(test) {
        return;
    }
    let data = tempfile::Builder::new().tempdir_in("/var/tmp").unwrap();
    std::fs::write(data.path().join("vault"), "secret").unwrap();
    let script =
        format!("cat {0}/vault 2>/dev/null || echo hidden; head -c 4 /etc/passwd; ls ../ 2>/dev/null || echo alone", data.path().display());
    let isolation = Isolation { readable: vec!["/var/tmp".into()], hidden: vec![data.path().to_owned()], ..Isolation::default() };
    assert_eq!(output_of(Plan::new(sh(&script)).with_isolation(isolation)).await, "hidden\nrootalone");
}

#[tokio::test]
async fn ordinary_programs_work_when_isolated() {
    let scripts = [
        (
            "python3",
            "python3 -c 'import json, tempfile, subprocess, sqlite3; tempfile.TemporaryFile(); subprocess.run([\"true\"], check=True); print(\"ok\")'",
        ),
        ("git", "git init -q r && cd r && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x && echo ok"),
        ("curl", "curl -s file:///etc/hostname > got; test -s got && echo ok"),
    ];
    for (program, script) in scripts {
        if has_program("ordinary_programs_work_when_isolated", program) {
            assert_eq!(output_of(Plan::new(sh(script)).with_supervisors()).await, "ok", "{program}");
        }
    }
}

#[tokio::test]
async fn isolated_program_cannot_signal_processes_outside() {
    let test = "isolated_program_cannot_signal_processes_outside";
    if !WallKind::Signals.stands_for(test) {
        return;
    }
    let script = format!("kill -0 {} 2>/dev/null && echo reached; kill -0 $PPID 2>/dev/null && echo reached; echo ok", std::process::id());
    assert_eq!(output_of(Plan::new(sh(&script)).with_supervisors()).await, "ok");
}

#[tokio::test]
async fn program_cannot_inspect_another_of_the_same_user() {
    let test = "program_cannot_inspect_another_of_the_same_user";
    if !WallKind::Files.stands_for(test) {
        return;
    }
    // Both have the same user, and the canary is in the environment of the other.
    let mut other = std::process::Command::new("sleep").arg("1000").env("CANARY", crate::world::SECRET).spawn().unwrap();
    let script = format!("grep -c {} /proc/{}/environ 2>/dev/null || echo nothing", crate::world::SECRET, other.id());
    let found = output_of(Plan::new(sh(&script)).with_supervisors()).await;
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(found, "nothing");
}

#[tokio::test]
async fn system_calls_that_escape_the_isolation_are_blocked() {
    let test = "system_calls_that_escape_the_isolation_are_blocked";
    if !WallKind::SystemCalls.stands_for(test) {
        return;
    }
    let script = "unshare -Ur true 2>/dev/null && echo unshared; unshare -n true 2>/dev/null && echo unshared; \
                  mount -t tmpfs none . 2>/dev/null && echo mounted; kill -9 -1 2>/dev/null && echo killed; echo ok";
    assert_eq!(output_of(Plan::new(sh(script)).with_supervisors()).await, "ok");
    if !has_program(test, "python3") {
        return;
    }
    // ptrace, keyctl, bpf and io_uring_setup, with their numbers on this machine.
    let numbers = [libc::SYS_ptrace, libc::SYS_keyctl, libc::SYS_bpf, libc::SYS_io_uring_setup];
    let script = format!(
        "python3 -c 'import ctypes; c = ctypes.CDLL(None, use_errno=True); \
         print([(c.syscall(n, 0, 0, 0, 0), ctypes.get_errno()) for n in {numbers:?}])'"
    );
    assert_eq!(output_of(Plan::new(sh(&script)).with_supervisors()).await, "[(-1, 1), (-1, 1), (-1, 1), (-1, 1)]");
}

/// A program that makes each system call of a list, with the given processes for `P` and a buffer for `B`. It
/// prints the calls that did not fail with EPERM.
const CALLER: &str = r"
import ctypes, json, sys
libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(256)
calls, targets = json.loads(sys.argv[1]), [int(pid) for pid in sys.argv[2:]]
def refused(number, values):
    ctypes.set_errno(0)
    return libc.syscall(*[ctypes.c_long(value) for value in [number, *values]]) == -1 and ctypes.get_errno() == 1
for target in targets:
    known = {'P': target, 'B': ctypes.addressof(buffer)}
    for name, number, values in calls:
        if not refused(number, [known.get(value, value) for value in values]):
            print(name, values, 'on', target, 'errno', ctypes.get_errno())
print('done')
";

/// Returns every system call that names another process and changes or inspects it: its name, its number, and
/// its arguments.
fn calls_on_processes(are_signals_walled: bool) -> serde_json::Value {
    let mut calls = vec![
        json!(["prlimit64", libc::SYS_prlimit64, ["P", 4, "B", 0]]),
        json!(["prlimit64", libc::SYS_prlimit64, ["P", 4, 0, "B"]]),
        json!(["setpriority", libc::SYS_setpriority, [0, "P", 0]]),
        json!(["setpriority", libc::SYS_setpriority, [1, "P", 0]]),
        json!(["setpriority", libc::SYS_setpriority, [1, 0, 0]]),
        json!(["setpriority", libc::SYS_setpriority, [2, 0, 0]]),
        json!(["ioprio_set", libc::SYS_ioprio_set, [1, "P", 0]]),
        json!(["ioprio_set", libc::SYS_ioprio_set, [2, "P", 0]]),
        json!(["ioprio_set", libc::SYS_ioprio_set, [2, 0, 0]]),
        json!(["ioprio_set", libc::SYS_ioprio_set, [3, 0, 0]]),
        json!(["sched_setaffinity", libc::SYS_sched_setaffinity, ["P", 8, "B"]]),
        json!(["sched_setscheduler", libc::SYS_sched_setscheduler, ["P", 0, "B"]]),
        json!(["sched_setparam", libc::SYS_sched_setparam, ["P", "B"]]),
        json!(["sched_setattr", libc::SYS_sched_setattr, ["P", "B", 0]]),
        json!(["migrate_pages", libc::SYS_migrate_pages, ["P", 64, "B", "B"]]),
        json!(["move_pages", libc::SYS_move_pages, ["P", 0, 0, 0, 0, 0]]),
        json!(["get_robust_list", libc::SYS_get_robust_list, ["P", "B", "B"]]),
        json!(["process_vm_readv", libc::SYS_process_vm_readv, ["P", 0, 0, 0, 0, 0]]),
        json!(["process_vm_writev", libc::SYS_process_vm_writev, ["P", 0, 0, 0, 0, 0]]),
        json!(["process_madvise", libc::SYS_process_madvise, [0, 0, 0, 0, 0]]),
        json!(["process_mrelease", libc::SYS_process_mrelease, [0, 0]]),
        json!(["pidfd_getfd", libc::SYS_pidfd_getfd, [0, 0, 0]]),
        json!(["ptrace", libc::SYS_ptrace, [0x4206, "P", 0, 0]]),
        json!(["kcmp", libc::SYS_kcmp, ["P", "P", 0, 0, 0]]),
        json!(["perf_event_open", libc::SYS_perf_event_open, ["B", "P", -1, -1, 0]]),
        json!(["prctl", libc::SYS_prctl, [62, 2, "P", 0, 0]]),
        json!(["kill", libc::SYS_kill, [-1, 0]]),
    ];
    if are_signals_walled {
        calls.push(json!(["kill", libc::SYS_kill, ["P", 0]]));
        calls.push(json!(["tkill", libc::SYS_tkill, ["P", 0]]));
        calls.push(json!(["tgkill", libc::SYS_tgkill, ["P", "P", 0]]));
        calls.push(json!(["rt_sigqueueinfo", libc::SYS_rt_sigqueueinfo, ["P", 0, "B"]]));
        calls.push(json!(["rt_tgsigqueueinfo", libc::SYS_rt_tgsigqueueinfo, ["P", "P", 0, "B"]]));
    }
    json!(calls)
}

/// Returns a script that makes each of these calls on the process of this test, which is what a node is to a
/// program, and on its own supervisor. It prints `done`, preceded by the calls that were not rejected.
pub(crate) fn caller(python: &str, are_signals_walled: bool) -> String {
    let calls = calls_on_processes(are_signals_walled);
    let this = std::process::id();
    format!("CALLER=$(cat <<'END'\n{CALLER}\nEND\n)\nexec {python} -c \"$CALLER\" '{calls}' {this} $PPID")
}

#[tokio::test]
async fn isolated_program_changes_no_process_outside() {
    let test = "isolated_program_changes_no_process_outside";
    if !WallKind::SystemCalls.stands_for(test) || !has_program(test, "python3") {
        return;
    }
    let script = caller("python3", WallKind::Signals.stands());
    assert_eq!(output_of(Plan::new(sh(&script)).with_supervisors()).await, "done");
}

#[tokio::test]
async fn isolated_program_may_limit_and_schedule_itself() {
    let test = "isolated_program_may_limit_and_schedule_itself";
    let scripts = [
        ("sh", "ulimit -n 64 && ulimit -n"),
        ("nice", "nice -n 5 true && echo 64"),
        ("prlimit", "prlimit --nofile=64 sh -c 'ulimit -n'"),
        ("taskset", "taskset 0xff true && echo 64"),
        ("ionice", "ionice -c 3 true && echo 64"),
        ("chrt", "chrt --batch 0 true && echo 64"),
        (
            "python3",
            "python3 -c 'import os, resource as r; r.setrlimit(r.RLIMIT_NOFILE, (64, 64)); os.nice(1); print(r.prlimit(0, r.RLIMIT_NOFILE)[0])'",
        ),
    ];
    for (program, script) in scripts {
        if has_program(test, program) {
            assert_eq!(output_of(Plan::new(sh(script)).with_supervisors()).await, "64", "{program}");
        }
    }
}

#[tokio::test]
async fn required_isolation_is_applied_or_the_program_does_not_start() {
    let kernel_has_all = WallKind::ALL.into_iter().all(WallKind::stands);
    let mut world = Plan::new(sh("echo ran")).with_isolation(Isolation { mode: IsolationMode::Required, ..Isolation::default() }).begin();
    let report = world.report_of(json!({})).await;
    if kernel_has_all {
        assert_eq!(result(&report), json!("ran"));
    } else {
        assert!(
            failure(&report, FailureKind::Sandbox)
                .message
                .contains(&walls_of_this_machine(ProgramUsers::Node, Some(&supervisor())).missing()[0])
        );
    }
}

/// Tries every system call that changes something by its name, and prints those that did not fail: the path, and the number of the
/// call.
const CHANGER: &str = r#"
import ctypes, json, sys
libc = ctypes.CDLL(None, use_errno=True)
calls, paths = json.loads(sys.argv[1]), sys.argv[2:]
buffer = ctypes.create_string_buffer(256)
new = b"new"
kept = []
def argument(value, path):
    if value == "PATH":
        text = ctypes.create_string_buffer(path.encode())
    elif isinstance(value, str):
        text = ctypes.create_string_buffer(value.encode())
    else:
        return ctypes.c_long(value)
    kept.append(text)
    return ctypes.c_long(ctypes.addressof(text))
for path in paths:
    for name, number, values in calls:
        if libc.syscall(ctypes.c_long(number), *[argument(value, path) for value in values]) != -1:
            print(name, path)
print("done")
"#;

/// Lists the system calls that change a file, or what is known about it, by its path, with their arguments. The times, the user and
/// the attribute are what the owner of a file may set.
fn calls_by_path() -> serde_json::Value {
    const AT_FDCWD: i64 = -100;
    const WRITE_ONLY: i64 = libc::O_WRONLY as i64;
    // Of fchmodat2 and the calls of attributes by folder; the crate of numbers does not have all of them.
    const FCHMODAT2: i64 = 452;
    const SETXATTRAT: i64 = 463;
    const REMOVEXATTRAT: i64 = 466;
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let mut calls = vec![
        json!(["fchmodat", libc::SYS_fchmodat, [AT_FDCWD, "PATH", 0o777]]),
        json!(["fchmodat2", FCHMODAT2, [AT_FDCWD, "PATH", 0o777, 0]]),
        json!(["fchownat", libc::SYS_fchownat, [AT_FDCWD, "PATH", user, group, 0]]),
        json!(["utimensat", libc::SYS_utimensat, [AT_FDCWD, "PATH", 0, 0]]),
        json!(["setxattr", libc::SYS_setxattr, ["PATH", "user.x", "y", 1, 0]]),
        json!(["lsetxattr", libc::SYS_lsetxattr, ["PATH", "user.x", "y", 1, 0]]),
        json!(["setxattrat", SETXATTRAT, [AT_FDCWD, "PATH", 0, "user.x", 0, 0]]),
        json!(["removexattr", libc::SYS_removexattr, ["PATH", "user.kept"]]),
        json!(["lremovexattr", libc::SYS_lremovexattr, ["PATH", "user.kept"]]),
        json!(["removexattrat", REMOVEXATTRAT, [AT_FDCWD, "PATH", 0, "user.kept"]]),
        json!(["truncate", libc::SYS_truncate, ["PATH", 0]]),
        json!(["openat", libc::SYS_openat, [AT_FDCWD, "PATH", WRITE_ONLY]]),
        json!(["linkat", libc::SYS_linkat, [AT_FDCWD, "PATH", AT_FDCWD, "linked", 0]]),
        json!(["renameat2", libc::SYS_renameat2, [AT_FDCWD, "PATH", AT_FDCWD, "moved", 0]]),
        json!(["unlinkat", libc::SYS_unlinkat, [AT_FDCWD, "PATH", 0]]),
        json!(["unlinkat of a folder", libc::SYS_unlinkat, [AT_FDCWD, "PATH", libc::AT_REMOVEDIR]]),
    ];
    #[cfg(target_arch = "x86_64")]
    calls.extend([
        json!(["chmod", libc::SYS_chmod, ["PATH", 0o777]]),
        json!(["chown", libc::SYS_chown, ["PATH", user, group]]),
        json!(["lchown", libc::SYS_lchown, ["PATH", user, group]]),
        json!(["utime", libc::SYS_utime, ["PATH", 0]]),
        json!(["utimes", libc::SYS_utimes, ["PATH", 0]]),
        json!(["futimesat", libc::SYS_futimesat, [AT_FDCWD, "PATH", 0]]),
        json!(["rename", libc::SYS_rename, ["PATH", "moved"]]),
        json!(["link", libc::SYS_link, ["PATH", "linked"]]),
        json!(["unlink", libc::SYS_unlink, ["PATH"]]),
        json!(["rmdir", libc::SYS_rmdir, ["PATH"]]),
    ]);
    json!(calls)
}

/// What a system call by path could change.
fn facts_of(path: &std::path::Path) -> (u32, u32, i64, i64, u64, Vec<u8>) {
    use std::os::unix::fs::MetadataExt;
    let about = std::fs::symlink_metadata(path).unwrap();
    let content = if about.is_file() { std::fs::read(path).unwrap() } else { Vec::new() };
    (about.mode(), about.uid(), about.mtime(), about.mtime_nsec(), about.nlink(), content)
}

#[tokio::test]
async fn program_of_the_node_s_user_changes_nothing_about_any_file_outside() {
    let test = "program_of_the_node_s_user_changes_nothing_about_any_file_outside";
    if !WallKind::ALL.into_iter().all(|wall| wall.stands_for(test)) || !has_program(test, "python3") {
        return;
    }
    let place = tempfile::TempDir::new().unwrap();
    let at = |name: &str| place.path().join(name);
    for folder in ["data", "data/empty", "readable", "writable", "elsewhere"] {
        std::fs::create_dir(at(folder)).unwrap();
    }
    let files = ["data/log.sqlite", "data/master.key", "readable/file", "writable/ensue.yaml", "elsewhere/file"];
    for file in files {
        std::fs::write(at(file), file).unwrap();
    }
    std::os::unix::fs::symlink(at("elsewhere/file"), at("elsewhere/link")).unwrap();
    std::fs::write(at("writable/own"), "").unwrap();
    std::fs::write(at("readable/changer.py"), CHANGER).unwrap();
    let folders = ["data", "data/empty", "readable", "elsewhere", "elsewhere/link"];
    let watched: Vec<_> = files.into_iter().chain(folders).map(at).collect();
    let before: Vec<_> = watched.iter().map(|path| facts_of(path)).collect();
    let isolation = Isolation {
        readable: vec![at("readable")],
        writable: vec![at("writable")],
        hidden: vec![at("data"), at("writable/ensue.yaml"), at("missing")],
        ..Isolation::default()
    };
    let listed: Vec<_> = watched.iter().map(|path| format!("'{}'", path.display())).collect();
    let script = format!(
        "python3 {}/changer.py '{}' {}; cat {}/ensue.yaml 2>/dev/null; test -e {}/log.sqlite && echo seen; \
         chmod 640 {}/own && touch -d 2001-01-01 own && chmod 600 own && mv own moved && echo changed",
        at("readable").display(),
        calls_by_path(),
        listed.join(" "),
        at("writable").display(),
        at("data").display(),
        at("writable").display(),
    );
    assert_eq!(output_of(Plan::new(sh(&script)).with_isolation(isolation)).await, "done\nchanged");
    let after: Vec<_> = watched.iter().map(|path| facts_of(path)).collect();
    assert_eq!(after, before);
}
