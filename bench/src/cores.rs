//! Assigns cores to the node and to the bench's own threads, if there are enough for both.
//!
//! Threads and processes inherit the cores of the thread that starts them: each is started on a thread with
//! the right cores.

use std::io;

use serde_json::{Value, json};

/// The fewest cores for which it is worth reserving some for the bench.
const CORES_MIN: usize = 4;
/// One core in this many is the bench's.
const CLIENTS_SHARE: usize = 3;

/// Whether the bench has cores of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cores {
    /// Node and bench share all cores.
    Shared {
        /// The number of cores.
        count: usize,
    },
    /// Each has cores of its own, by number.
    Apart {
        /// The node's.
        node: Vec<usize>,
        /// The bench's.
        clients: Vec<usize>,
    },
}

impl Cores {
    /// Shares all cores between both.
    pub(crate) fn share_all() -> Self {
        Self::Shared { count: std::thread::available_parallelism().map_or(1, usize::from) }
    }

    /// Reserves some cores for the bench if this process may use enough of them.
    pub(crate) fn apart_where_there_are_enough() -> Self {
        // Fewer, if the process's group is limited to less CPU time than its cores would provide.
        let worth = std::thread::available_parallelism().map_or(1, usize::from);
        Self::split(&usable(), worth)
    }

    fn split(usable: &[usize], worth: usize) -> Self {
        if usable.len().min(worth) < CORES_MIN {
            return Self::Shared { count: worth };
        }
        let (node, clients) = usable.split_at(usable.len() - usable.len().div_ceil(CLIENTS_SHARE));
        Self::Apart { node: node.to_vec(), clients: clients.to_vec() }
    }

    /// Moves the calling thread, and everything it starts, to the bench's cores.
    pub(crate) fn take_those_of_the_bench(&self) -> io::Result<()> {
        match self {
            Self::Shared { .. } => Ok(()),
            Self::Apart { clients, .. } => pin(clients),
        }
    }

    /// Runs a function that starts a process or a thread on a thread that has the node's cores.
    pub(crate) fn on_those_of_the_node<T: Send>(&self, start: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        let Self::Apart { node, .. } = self else { return start() };
        let ended = std::thread::scope(|scope| scope.spawn(|| pin(node).and_then(|()| start())).join());
        ended.map_err(|_| io::Error::other("the thread on the node's cores stopped at an internal error"))?
    }

    /// As JSON, for programs.
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Shared { count } => json!({ "shared": count, "node": null, "bench": null }),
            Self::Apart { node, clients } => json!({ "shared": 0, "node": node.len(), "bench": clients.len() }),
        }
    }
}

/// Returns the cores of a document, for people.
pub(crate) fn describe(cores: &Value) -> String {
    match (cores["shared"].as_u64(), cores["node"].as_u64(), cores["bench"].as_u64()) {
        (_, Some(node), Some(bench)) => format!("Cores: {node} for the node and {bench} for the bench, pinned apart."),
        (Some(shared), ..) => format!("Node and bench shared {shared} cores; nothing was pinned."),
        (None, ..) => String::new(),
    }
}

/// Returns the numbers of the cores that this process may use; none if the machine does not report them.
#[cfg(target_os = "linux")]
fn usable() -> Vec<usize> {
    use rustix::thread::{CpuSet, sched_getaffinity};
    let Ok(set) = sched_getaffinity(None) else { return Vec::new() };
    (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

#[cfg(not(target_os = "linux"))]
fn usable() -> Vec<usize> {
    Vec::new()
}

#[cfg(target_os = "linux")]
fn pin(cores: &[usize]) -> io::Result<()> {
    use rustix::thread::{CpuSet, sched_setaffinity};
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    Ok(sched_setaffinity(None, &set)?)
}

#[cfg(not(target_os = "linux"))]
fn pin(_: &[usize]) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_cores_are_shared_and_a_third_of_many_goes_to_the_bench() {
        let split = |count: usize| Cores::split(&(0..count).collect::<Vec<_>>(), count);
        for few in 0..CORES_MIN {
            assert_eq!(split(few), Cores::Shared { count: few });
        }
        // CPU time for two cores on a machine with eight.
        assert_eq!(Cores::split(&(0..8).collect::<Vec<_>>(), 2), Cores::Shared { count: 2 });
        assert_eq!(split(4), Cores::Apart { node: vec![0, 1], clients: vec![2, 3] });
        assert_eq!(split(8), Cores::Apart { node: vec![0, 1, 2, 3, 4], clients: vec![5, 6, 7] });
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn child_process_runs_on_the_node_s_cores_and_our_affinity_is_restored() {
        let before = usable();
        let first = before[0];
        let cores = Cores::Apart { node: vec![first], clients: before.clone() };
        let says = || std::process::Command::new("sh").args(["-c", "grep Cpus_allowed_list /proc/self/status"]).output();
        let said = cores.on_those_of_the_node(says).unwrap();
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert_eq!(said.split_whitespace().last(), Some(first.to_string().as_str()), "{said}");
        assert_eq!(usable(), before);
    }

    #[test]
    fn document_says_how_cores_were_shared() {
        let apart = Cores::Apart { node: vec![0, 1], clients: vec![2] };
        assert_eq!(describe(&apart.to_json()), "Cores: 2 for the node and 1 for the bench, pinned apart.");
        assert_eq!(describe(&Cores::Shared { count: 2 }.to_json()), "Node and bench shared 2 cores; nothing was pinned.");
    }
}
