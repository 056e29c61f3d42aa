//! What a job that does not end is waiting for: its processes and threads, read from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

/// A process, as `/proc/<id>/stat` and `cmdline` show it.
struct Process {
    parent: u32,
    /// Its command line, shortened.
    command: String,
}

/// How much of a command line is shown.
const COMMAND_MAX: usize = 160;

/// Describes a process and all that descend from it, one line each: the id, the state and where the kernel has it wait, and the
/// command. Threads with a name of their own are listed below their process: a test's thread has the beginning of its name.
pub(crate) fn describe(root: u32) -> Vec<String> {
    let mut lines = Vec::new();
    describe_below(root, 0, &processes(), &mut lines);
    lines
}

/// Kills a process and all that descend from it. They are stopped first, parents before children: one that ran on could start another
/// process that is not in the list, or end as if all were well when its child is gone.
pub(crate) fn kill(root: u32) {
    let mut ids: Vec<u32> = Vec::new();
    loop {
        let mut below = Vec::new();
        collect(root, &processes(), &mut below);
        let fresh: Vec<u32> = below.into_iter().filter(|id| !ids.contains(id)).collect();
        if fresh.is_empty() {
            break;
        }
        signal("STOP", &fresh);
        ids.extend(fresh);
    }
    signal("KILL", &ids);
}

fn signal(name: &str, ids: &[u32]) {
    for id in ids {
        // Its end may have come first.
        let _ = Command::new("kill").args([&format!("-{name}"), &id.to_string()]).status();
    }
}

fn processes() -> BTreeMap<u32, Process> {
    let ids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter_map(|id| Some((id, process(id)?))).collect()
}

fn process(id: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name of the program, in parentheses, may contain spaces.
    let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
    let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    Some(Process { parent, command: line.trim_end().chars().take(COMMAND_MAX).collect() })
}

fn collect(id: u32, processes: &BTreeMap<u32, Process>, into: &mut Vec<u32>) {
    into.push(id);
    for (child, _) in processes.iter().filter(|(_, process)| process.parent == id) {
        collect(*child, processes, into);
    }
}

fn describe_below(id: u32, depth: usize, processes: &BTreeMap<u32, Process>, lines: &mut Vec<String>) {
    let Some(process) = processes.get(&id) else { return };
    let indent = "  ".repeat(depth);
    lines.push(format!("{indent}{id} {}: {}", waits(&format!("/proc/{id}")), process.command));
    let own_name = name(&format!("/proc/{id}"));
    let threads = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    for thread in threads.filter_map(|entry| entry.path().to_str().map(str::to_owned)) {
        let name = name(&thread);
        if name != own_name {
            lines.push(format!("{indent}  thread `{name}` {}", waits(&thread)));
        }
    }
    for (child, _) in processes.iter().filter(|(_, process)| process.parent == id) {
        describe_below(*child, depth + 1, processes, lines);
    }
}

/// Returns the name of a process or thread, which the kernel cuts after 15 bytes.
fn name(folder: &str) -> String {
    fs::read_to_string(format!("{folder}/comm")).unwrap_or_default().trim_end().to_owned()
}

/// Returns the state of a process or thread, and the function of the kernel in which it sleeps.
fn waits(folder: &str) -> String {
    let status = fs::read_to_string(format!("{folder}/status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:\t")).unwrap_or("ended");
    match fs::read_to_string(format!("{folder}/wchan")).unwrap_or_default().as_str() {
        "" | "0" => state.to_owned(),
        function => format!("{state} in {function}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Stdio;

    use super::*;

    #[test]
    fn processes_below_a_job_are_described_and_killed() {
        let mut job = Command::new("sh").args(["-c", "sleep 3600; true"]).stdout(Stdio::null()).spawn().unwrap();
        let described = loop {
            let lines = describe(job.id());
            if lines.iter().any(|line| line.starts_with("  ") && line.ends_with("sleep 3600")) {
                break lines;
            }
            std::thread::yield_now();
        };
        assert!(described[0].starts_with(&format!("{} S (sleeping)", job.id())), "{described:?}");
        kill(job.id());
        assert_eq!(job.wait().unwrap().signal(), Some(9), "the shell ran on after its child was gone");
        let child = described.iter().find(|line| line.ends_with("sleep 3600")).unwrap();
        let child: u32 = child.split_whitespace().next().unwrap().parse().unwrap();
        while process(child).is_some_and(|process| process.command == "sleep 3600") {
            std::thread::yield_now();
        }
    }
}
