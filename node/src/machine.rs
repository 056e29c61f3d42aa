//! What this machine means for programs of actions: which isolation it supports, and whether programs outlive
//! the node on it.
//!
//! It changes nothing; `ensue doctor` shows the findings.

use std::fs;
use std::path::Path;

use ensue_api::ports::{Finding, FindingVerdict};
use ensue_executor::AtStop;
use ensue_executor::probes::{process_bound_of_this_machine, walls_of_this_machine};
use ensue_executor::programs::{AtEnd, IsolationMode, ProcessBound, ProgramUsers, SupervisorCommand, Wall};

use crate::config::ActionSettings;
use crate::programs::Users;

/// Where systemd looks for units; the first found counts.
const UNIT_FOLDERS: &[&str] =
    &["/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
/// The most bytes of a unit that are read.
const UNIT_BYTES_MAX: u64 = 1 << 20;

/// Reports what applies here to programs of actions. Blocks briefly.
pub(crate) fn findings(settings: &ActionSettings, users: &Users, at_end: AtEnd, supervisor: Option<&SupervisorCommand>) -> Vec<Finding> {
    let own = Own { user: rustix::process::geteuid().as_raw(), is_in_group_0: is_in_group_0() };
    vec![
        walls(settings, users.users, at_end, supervisor),
        reach(settings, users, own, at_end),
        network(users),
        restart(settings, at_end),
        limits(settings, at_end),
        processes(settings, users, at_end),
    ]
}

/// The node's own user, whose groups its programs keep if they run as that user.
#[derive(Clone, Copy, Debug)]
struct Own {
    user: u32,
    is_in_group_0: bool,
}

/// Returns true if this process has the group of root, as its own group or as a supplementary one. If the
/// groups cannot be read, only its own group counts.
fn is_in_group_0() -> bool {
    let own = [rustix::process::getegid(), rustix::process::getgid()];
    let others = rustix::process::getgroups().unwrap_or_default();
    own.into_iter().chain(others).any(|group| group.as_raw() == 0)
}

/// Reports which user programs run as, and what that lets them read and do besides what isolation leaves open.
fn reach(settings: &ActionSettings, users: &Users, own: Own, at_end: AtEnd) -> Finding {
    let node = own.user;
    let check = "user";
    let is_walled = at_end == AtEnd::GoOn && settings.isolation != IsolationMode::None;
    let system = "they can read whatever every user of the machine can read in /usr, /etc, /proc and /sys";
    match users.users {
        ProgramUsers::Range { first, last } => {
            let who = format!("each program runs as its own user ({first}-{last}), without any capability; {system}");
            good(check, &who)
        }
        ProgramUsers::One { user, .. } => {
            good(check, &format!("all programs run as the user {user}, without any capability; {system}, and whatever that user owns"))
        }
        ProgramUsers::Node if node != 0 && own.is_in_group_0 => {
            let what = if is_walled { format!("{system}, and whatever") } else { "they can read and write whatever".to_owned() };
            let message = format!(
                "programs run as the node's user, {node}, and with the group 0: {what} that user and group 0, the group of root, can"
            );
            note(
                check,
                &message,
                "take the node's user out of group 0: set `User`, `Group` and `SupplementaryGroups` of its unit or container",
            )
        }
        ProgramUsers::Node if node != 0 && is_walled => {
            good(check, &format!("programs run as the node's user, {node}; {system}, and whatever that user may read there"))
        }
        ProgramUsers::Node if node != 0 => {
            let message = format!("programs run as the node's user, {node}, and can read and write whatever it can");
            note(check, &message, "leave `actions.isolation` out of ensue.yaml, or run only packs that you trust")
        }
        ProgramUsers::Node => {
            let what = if is_walled {
                "without any capability, but with access to root's own files and sockets, such as Docker's"
            } else {
                "with all permissions of root"
            };
            let why = users.why_root.as_ref().map_or_else(String::new, |why| format!(", because {why}"));
            note(
                check,
                &format!("programs run as root{why}: {what}"),
                "run the node as an ordinary user, or let programs run as other users (`actions.user`)",
            )
        }
    }
}

/// Reports where programs can connect to, which nothing here limits.
fn network(users: &Users) -> Finding {
    let message = "programs have full network access, including services on localhost; `egress.allow` applies only to the runner `http`";
    let hint = match users.users {
        ProgramUsers::Range { first, last } => {
            format!("run only packs that you trust, or restrict the users {first}-{last} with the machine's firewall")
        }
        ProgramUsers::One { user, .. } => format!("run only packs that you trust, or restrict the user {user} with the machine's firewall"),
        ProgramUsers::Node => "run only packs that you trust, or restrict the node's user with the machine's firewall".to_owned(),
    };
    note("network", message, &hint)
}

fn walls(settings: &ActionSettings, users: ProgramUsers, at_end: AtEnd, supervisor: Option<&SupervisorCommand>) -> Finding {
    let check = "actions";
    if at_end == AtEnd::Ended {
        let message = "programs are not isolated: they run as children of the node and can access whatever its user can";
        return note(check, message, "run the node on Linux with /proc, or run only packs that you trust");
    }
    if settings.isolation == IsolationMode::None {
        let message = "programs of actions are not isolated: they can access whatever the node's own user can";
        return note(check, message, "leave `actions.isolation` out of ensue.yaml, or run only packs that you trust");
    }
    let walls = walls_of_this_machine(users, supervisor);
    let missing = walls.missing();
    if missing.is_empty() {
        return good(check, "programs write only in their private directory, cannot see the node, and cannot make dangerous system calls");
    }
    let message = format!("this machine cannot isolate programs completely: {}", missing.join("; "));
    let namespaces = "let the node's user create user namespaces, or run the node as root";
    let remedy = match (&walls.metadata, missing.len()) {
        (Wall::Stands, _) => "use a newer kernel".to_owned(),
        (Wall::Missing { .. }, 1) => namespaces.to_owned(),
        (Wall::Missing { .. }, _) => format!("use a newer kernel, and {namespaces}"),
    };
    match settings.isolation {
        IsolationMode::Required => bad(check, message + "; no program is started", &format!("{remedy}, or set `actions.isolation: auto`")),
        IsolationMode::Auto | IsolationMode::None => note(check, &message, &format!("{remedy}, or run only packs that you trust")),
    }
}

fn restart(settings: &ActionSettings, at_end: AtEnd) -> Finding {
    let check = "restart";
    if at_end == AtEnd::Ended {
        let message = "programs run as children of the node and end with it: supervisors need Linux with /proc";
        return note(check, message, "expect running attempts to be reported as lost at the next start");
    }
    if settings.at_stop == AtStop::End {
        return good(check, "running programs end when the node stops, as set with `actions.at_stop: end`");
    }
    if std::process::id() == 1 || ["/.dockerenv", "/run/.containerenv"].iter().any(|mark| Path::new(mark).exists()) {
        let message = "the node is in a container: programs outlive the node, but not the container";
        return note(check, message, "before you replace the container, wait until nothing is running (`ensue status`)");
    }
    match unit() {
        None => good(check, "programs keep running across a restart, a crash or an upgrade of the node, and the next node adopts them"),
        Some((unit, KillMode::Process)) => good(
            check,
            &format!("programs keep running across a restart or an upgrade of the node under `{unit}`, and the next node adopts them"),
        ),
        Some((unit, KillMode::Other(mode))) => note(
            check,
            &format!("`{unit}` has KillMode={mode}: systemd ends running programs together with the node"),
            &format!("run `systemctl edit {unit}`, and write `KillMode=process` under [Service]"),
        ),
        Some((unit, KillMode::Unknown)) => note(
            check,
            &format!("the unit file of `{unit}` was not found, so it is unknown whether systemd ends programs with the node"),
            "make sure that it has KillMode=process",
        ),
    }
}

fn limits(settings: &ActionSettings, at_end: AtEnd) -> Finding {
    let check = "limits";
    if at_end == AtEnd::Ended {
        let message =
            "the resources of programs are not limited: they run as children of the node, where the limits of `actions` do not apply";
        return note(check, message, "run the node on Linux with /proc, or limit the node itself");
    }
    let mut open = Vec::new();
    if settings.limits.memory_bytes.is_none() {
        open.push("their memory (`actions.memory`)");
    }
    if settings.limits.file_bytes.is_none() {
        open.push("the size of their files (`actions.file_size`)");
    }
    if open.is_empty() {
        return good(check, "the resources of programs are limited");
    }
    note(
        check,
        &format!("these resources of programs are not limited: {}", open.join(", ")),
        "set limits a little above what your packs need",
    )
}

/// Reports what limits the number of processes of a program, so that a fork bomb harms only itself.
fn processes(settings: &ActionSettings, users: &Users, at_end: AtEnd) -> Finding {
    let check = "processes";
    // Without a supervisor nothing enforces the limit.
    let bound = match (settings.limits.processes, at_end) {
        (Some(most), AtEnd::GoOn) => (most, process_bound_of_this_machine()),
        (Some(_) | None, _) => (0, ProcessBound::Missing { why: "programs run as children of the node".to_owned() }),
    };
    match bound {
        (most, ProcessBound::Group) => {
            good(check, &format!("a program can have at most {most} processes and threads, limited by its own control group"))
        }
        (most, ProcessBound::User) => good(
            check,
            &format!("a program can have at most {most} processes and threads, in addition to those of the node's user when it starts"),
        ),
        (most @ 1.., ProcessBound::Missing { .. }) if matches!(users.users, ProgramUsers::Range { .. }) => {
            good(check, &format!("a program can have at most {most} processes and threads, limited by its own user"))
        }
        (_, ProcessBound::Missing { .. }) if has_bounded_processes() => {
            good(check, "a control group limits the total number of processes of the node and all programs")
        }
        (_, ProcessBound::Missing { why }) => note(
            check,
            &format!("the number of processes of a program is not limited: {why}"),
            "run the node as an ordinary user, set `TasksMax` in its unit, or set `pids.max` in its control group",
        ),
    }
}

/// Reports whether a control group limits the number of processes, so that a fork bomb harms nothing else.
fn has_bounded_processes() -> bool {
    let Ok(groups) = fs::read_to_string("/proc/self/cgroup") else { return false };
    groups.lines().filter_map(|line| line.splitn(3, ':').nth(2)).any(|group| {
        ["/sys/fs/cgroup", "/sys/fs/cgroup/pids"].iter().any(|root| {
            Path::new(group).ancestors().any(|part| {
                let file = format!("{root}{}/pids.max", part.display());
                fs::read_to_string(file).is_ok_and(|most| most.trim().parse::<u64>().is_ok())
            })
        })
    })
}

enum KillMode {
    Process,
    Other(String),
    Unknown,
}

/// Returns the systemd service that this process belongs to and what ends with it, or none if it belongs to
/// none.
fn unit() -> Option<(String, KillMode)> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let unit = unit_of(&groups)?;
    let mode = kill_mode(&unit, UNIT_FOLDERS.iter().map(Path::new));
    Some((unit, mode))
}

/// Finds the service in the text of `/proc/self/cgroup`.
fn unit_of(groups: &str) -> Option<String> {
    let group =
        groups.lines().find_map(|line| line.strip_prefix("0::").or_else(|| line.split_once(":name=systemd:").map(|(_, path)| path)))?;
    let last = group.rsplit('/').find(|part| part.ends_with(".service"))?;
    // A login's own manager is not the node's unit.
    (!last.starts_with("user@")).then(|| last.to_owned())
}

fn kill_mode<'f>(unit: &str, folders: impl Iterator<Item = &'f Path> + Clone) -> KillMode {
    // A unit of a template, `ensue@eu.service`, is written as `ensue@.service`.
    let template = unit.split_once('@').map(|(name, _)| format!("{name}@.service"));
    let names: Vec<&str> = std::iter::once(unit).chain(template.as_deref()).collect();
    let Some(written) = folders.clone().flat_map(|folder| names.iter().map(|name| folder.join(name))).find_map(|path| read(&path)) else {
        return KillMode::Unknown;
    };
    let mut dropped_in = Vec::new();
    for folder in folders {
        for name in &names {
            let entries = fs::read_dir(folder.join(format!("{name}.d"))).into_iter().flatten().flatten();
            dropped_in.extend(entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "conf")));
        }
    }
    dropped_in.sort_by(|one, other| one.file_name().cmp(&other.file_name()));
    let texts = std::iter::once(written).chain(dropped_in.iter().filter_map(|path| read(path)));
    let mut said =
        texts.filter_map(|text| text.lines().rev().find_map(|line| Some(line.trim().strip_prefix("KillMode=")?.trim().to_owned())));
    match said.next_back().as_deref() {
        Some("process" | "none") => KillMode::Process,
        Some(mode) if !mode.is_empty() => KillMode::Other(mode.to_owned()),
        Some(_) | None => KillMode::Other("control-group".to_owned()),
    }
}

fn read(path: &Path) -> Option<String> {
    use std::io::Read;
    let mut text = String::new();
    fs::File::open(path).ok()?.take(UNIT_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Creates a finding that all is well.
pub(crate) fn good(check: &str, message: &str) -> Finding {
    Finding { check: check.to_owned(), verdict: FindingVerdict::Good, message: message.to_owned(), hint: None }
}

/// Creates a finding that the operator should know about.
pub(crate) fn note(check: &str, message: &str, hint: &str) -> Finding {
    Finding { check: check.to_owned(), verdict: FindingVerdict::Warning, message: message.to_owned(), hint: Some(hint.to_owned()) }
}

/// Creates a finding that something is wrong.
pub(crate) fn bad(check: &str, message: String, hint: &str) -> Finding {
    Finding { check: check.to_owned(), verdict: FindingVerdict::Bad, message, hint: Some(hint.to_owned()) }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn limits_that_need_supervisors_are_not_reported_as_active_without_them() {
        let mut settings = ActionSettings::default();
        settings.limits.memory_bytes = Some(1 << 30);
        settings.limits.file_bytes = Some(1 << 30);
        let said = findings(&settings, &Users::default(), AtEnd::Ended, None);
        for check in ["actions", "restart", "limits"] {
            let one = said.iter().find(|finding| finding.check == check).unwrap();
            assert_eq!(one.verdict, FindingVerdict::Warning, "{check}: {}", one.message);
        }
        let limits = limits(&settings, AtEnd::GoOn);
        assert_eq!(limits.verdict, FindingVerdict::Good, "{}", limits.message);
    }

    #[test]
    fn doctor_reports_what_a_program_can_still_do() {
        let said = |users: ProgramUsers, user, mode, is_in_group_0| {
            let settings = ActionSettings { isolation: mode, ..ActionSettings::default() };
            let found = reach(&settings, &Users { users, why_root: Some("it is closed".into()) }, Own { user, is_in_group_0 }, AtEnd::GoOn);
            (found.verdict, found.message)
        };
        let (auto, none) = (IsolationMode::Auto, IsolationMode::None);
        let range = ProgramUsers::Range { first: 70_000, last: 80_000 };
        for (users, node, mode, verdict, told) in [
            (range, 0, auto, FindingVerdict::Good, "as its own user (70000-80000), without any capability"),
            (ProgramUsers::One { user: 33, group: 33 }, 0, auto, FindingVerdict::Good, "as the user 33"),
            (ProgramUsers::Node, 0, auto, FindingVerdict::Warning, "as root, because it is closed: without any capability"),
            (ProgramUsers::Node, 0, none, FindingVerdict::Warning, "with all permissions of root"),
            (ProgramUsers::Node, 1_000, auto, FindingVerdict::Good, "as the node's user, 1000"),
            (ProgramUsers::Node, 1_000, none, FindingVerdict::Warning, "can read and write whatever it can"),
        ] {
            let (found, message) = said(users, node, mode, node == 0);
            assert!(found == verdict && message.contains(told), "{found:?} {message}");
        }
        for (mode, told) in
            [(auto, "and with the group 0: they can read whatever every user"), (none, "and with the group 0: they can read and write")]
        {
            let (found, message) = said(ProgramUsers::Node, 1_000, mode, true);
            assert!(found == FindingVerdict::Warning && message.contains(told), "{found:?} {message}");
            let (found, _) = said(range, 1_000, mode, true);
            assert_eq!(found, FindingVerdict::Good, "each program has a user and a group of its own");
        }
        let open = network(&Users { users: range, why_root: None });
        assert_eq!(open.verdict, FindingVerdict::Warning);
        assert!(open.hint.unwrap().contains("70000-80000"));
    }

    #[test]
    fn systemd_unit_is_read_from_the_control_group() {
        assert_eq!(unit_of("0::/system.slice/ensue.service\n").as_deref(), Some("ensue.service"));
        assert_eq!(unit_of("2:cpu:/\n1:name=systemd:/system.slice/ensue@eu.service\n0::/\n").as_deref(), Some("ensue@eu.service"));
        for none in
            ["0::/\n", "0::/user.slice/user-1000.slice/session-2.scope\n", "0::/user.slice/user@1000.service/app.slice/x.scope\n", ""]
        {
            assert_eq!(unit_of(none), None, "{none}");
        }
    }

    #[test]
    fn kill_mode_of_a_unit_comes_from_its_last_drop_in() {
        let folder = TempDir::new().unwrap();
        let mode = || match kill_mode("ensue.service", [folder.path()].into_iter()) {
            KillMode::Process => "process".to_owned(),
            KillMode::Other(mode) => mode,
            KillMode::Unknown => "unknown".to_owned(),
        };
        assert_eq!(mode(), "unknown");
        fs::write(folder.path().join("ensue.service"), "[Service]\nExecStart=/usr/bin/ensue serve\n").unwrap();
        assert_eq!(mode(), "control-group");
        fs::write(folder.path().join("ensue.service"), "[Service]\nKillMode=process\n").unwrap();
        assert_eq!(mode(), "process");
        fs::create_dir(folder.path().join("ensue.service.d")).unwrap();
        fs::write(folder.path().join("ensue.service.d/override.conf"), "[Service]\nKillMode=mixed\n").unwrap();
        assert_eq!(mode(), "mixed");
    }
}
