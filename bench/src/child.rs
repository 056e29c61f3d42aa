//! A node of the same binary as a separate process in a directory of its own, and its costs.
//!
//! This module knows the process and its directory, not the measurements.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ensue_node::Scratch;
use serde_json::{Value, json};

use crate::cores::Cores;
use crate::wire::{self, HttpConnection};

/// How long a node may take to become ready.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a node may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// A running node.
pub(crate) struct Node {
    process: Child,
    folder: PathBuf,
    /// The address where it listens.
    pub(crate) address: SocketAddr,
    /// The token that it accepts.
    pub(crate) token: String,
    /// The time from its start until it is ready.
    pub(crate) ready: Duration,
    /// The added delay of each of its commits, if it simulates a slow disk.
    pub(crate) slow_disk: Option<Duration>,
}

/// The parameters for starting a node.
pub(crate) struct Start<'a> {
    /// Its directory, which already contains `packs`.
    pub(crate) folder: &'a Path,
    /// The admin token, valid from the very first start in the directory.
    pub(crate) token: &'a str,
    /// Its environment variables.
    pub(crate) variables: Vec<(&'static str, String)>,
    /// Its share of the machine.
    pub(crate) machine: &'a Machine,
}

/// A node's share of the machine.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// The cores.
    pub(crate) cores: Cores,
    /// The added delay of each commit, to simulate a slow disk.
    pub(crate) slow_disk: Option<Duration>,
    /// The address of a database on the server that stores the logs, if they are not in the data directory.
    pub(crate) database: Option<String>,
}

impl Node {
    /// Starts a node and waits until it is ready.
    pub(crate) async fn start(start: Start<'_>) -> io::Result<Self> {
        let begin = Instant::now();
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data", "data", "--packs", "packs"]);
        if let Some(delay) = start.machine.slow_disk {
            command.args(["--slow-disk-for-a-measurement", &delay.as_millis().to_string()]);
        }
        command
            .current_dir(start.folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", start.folder)
            .env("XDG_STATE_HOME", start.folder.join("state"))
            .env("ENSUE_ADMIN_TOKEN", start.token)
            // The directory is removed with the node.
            .env("ENSUE_ACTIONS_AT_STOP", "end")
            .envs(start.variables)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut process = start.machine.cores.on_those_of_the_node(|| command.spawn())?;
        let stderr = process.stderr.take().ok_or_else(|| io::Error::other("the node's messages cannot be read"))?;
        let address = match listening(stderr) {
            Ok(address) => address,
            Err(error) => {
                let _ = process.kill();
                let _ = process.wait();
                return Err(error);
            }
        };
        let (folder, token) = (start.folder.to_owned(), start.token.to_owned());
        let mut node = Self { process, folder, address, token, ready: Duration::ZERO, slow_disk: start.machine.slow_disk };
        node.wait_until_ready(begin).await?;
        Ok(node)
    }

    async fn wait_until_ready(&mut self, begin: Instant) -> io::Result<()> {
        loop {
            if let Ok(mut connection) = HttpConnection::open(self.address).await
                && let Ok(reply) = connection.exchange(&wire::get(self.address, "/readyz", &self.token)).await
                && reply.status == 200
            {
                self.ready = begin.elapsed();
                return Ok(());
            }
            if begin.elapsed() > READY_TIMEOUT {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the node was not ready within a minute"));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Returns the processor time that the node's process has used so far; `None` if the machine has no `/proc`.
    pub(crate) fn processor_time(&self) -> Option<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).ok()?;
        let ticks_per_second = u32::try_from(rustix::param::clock_ticks_per_second()).ok()?;
        Some(Duration::from_secs(used_ticks(&stat)?) / ticks_per_second)
    }

    /// Returns the processor time that the node's process has used since it was `before`.
    pub(crate) fn processor_time_since(&self, before: Option<Duration>) -> Option<Duration> {
        self.processor_time().zip(before).map(|(now, before)| now.saturating_sub(before))
    }

    /// Returns the current memory of the node, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.status_kib("VmRSS:") * 1024
    }

    /// Returns the peak memory of the node, in bytes.
    pub(crate) fn memory_peak_bytes(&self) -> u64 {
        self.status_kib("VmHWM:") * 1024
    }

    /// Returns a figure of `/proc/<pid>/status`; 0 if the machine has none.
    fn status_kib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
    }

    /// Returns the size on disk of all files of the data directory, in bytes.
    pub(crate) fn disk_bytes(&self) -> u64 {
        used_bytes(&self.folder.join("data"))
    }

    /// Kills the node at once, like a power cut, and waits until it is gone.
    pub(crate) fn kill(mut self) -> io::Result<()> {
        self.process.kill()?;
        self.process.wait().map(drop)
    }

    /// Asks the node to stop, and waits until it has.
    pub(crate) async fn stop(mut self) -> io::Result<u64> {
        if let Some(pid) = rustix::process::Pid::from_raw(self.process.id().cast_signed()) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        let begin = Instant::now();
        while self.process.try_wait()?.is_none() {
            if begin.elapsed() > STOP_TIMEOUT {
                self.process.kill()?;
                self.process.wait()?;
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the node did not stop within a minute"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(self.disk_bytes())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A node that was stopped is already gone. One left running after an error must not stay.
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

/// Reads the node's address from its messages, and keeps reading them so that the node never blocks.
fn listening(stderr: std::process::ChildStderr) -> io::Result<SocketAddr> {
    let mut lines = BufReader::new(stderr).lines();
    let mut said = Vec::new();
    for line in lines.by_ref() {
        let line = line?;
        if let Some(address) = listening_address(&line) {
            std::thread::spawn(move || lines.for_each(drop));
            return Ok(address);
        }
        said.push(line);
    }
    Err(io::Error::other(format!("the node ended before it listened: {}", said.join(" "))))
}

/// Parses the address from the line in which a node reports where it listens.
fn listening_address(line: &str) -> Option<SocketAddr> {
    let after = line.split("listens on http://").nth(1)?;
    after.split(|character: char| character == ',' || character.is_whitespace()).next()?.parse().ok()
}

/// Parses the processor time from `/proc/<pid>/stat`, in user and in kernel mode together, in ticks.
fn used_ticks(stat: &str) -> Option<u64> {
    const USER_TIME_AFTER_NAME: usize = 11;
    // The name is in parentheses and may contain anything.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut times = after_name.split_whitespace().skip(USER_TIME_AFTER_NAME).map(str::parse::<u64>);
    Some(times.next()?.ok()? + times.next()?.ok()?)
}

/// Returns the size of this binary, which is also the node's, as JSON.
pub(crate) fn binary() -> Value {
    let file = std::env::current_exe().and_then(std::fs::metadata);
    let build = if cfg!(debug_assertions) { "debug build" } else { "release build" };
    json!({ "scenario": "binary", "pace": build, "bytes": file.ok().map(|file| file.len()) })
}

fn used_bytes(path: &Path) -> u64 {
    let Ok(meta) = std::fs::symlink_metadata(path) else { return 0 };
    if !meta.is_dir() {
        return meta.len();
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| used_bytes(&entry.path())).sum()
}

/// Creates a token for an admin of a node.
pub(crate) fn admin_token() -> io::Result<String> {
    Ok(format!("ens_00000000-0000-7000-8000-000000000001_{}", hex::encode(entropy()?)))
}

/// Creates a database for one node. Connecting waits for the server.
pub(crate) fn database_on(address: &str) -> io::Result<Scratch> {
    let name = format!("ensue_bench_{}", &hex::encode(entropy()?)[..16]);
    tokio::task::block_in_place(|| Scratch::create(address, &name)).map_err(io::Error::other)
}

/// Returns random bytes from the system, for tokens and secrets of a measurement.
pub(crate) fn entropy() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_address_is_parsed_from_the_node_s_line() {
        let line = "ensue 0.1.0 listens on http://127.0.0.1:41873, data in ./ensue-data, packs in ./packs";
        assert_eq!(listening_address(line), Some("127.0.0.1:41873".parse().unwrap()));
        assert_eq!(listening_address("ensue 0.1.0 listens on http://[::1]:80, data in x"), Some("[::1]:80".parse().unwrap()));
        assert_eq!(listening_address("warning: nothing"), None);
    }

    #[test]
    fn processor_time_is_user_and_kernel_time_together() {
        let stat = "4211 (a (b) c) S 1 4211 4211 0 -1 4194560 2902 0 3 0 250 40 7 9 20 0 9 0 1234 5678";
        assert_eq!(used_ticks(stat), Some(290));
        assert_eq!(used_ticks("4211 (ensue) S 1"), None);
    }
}
