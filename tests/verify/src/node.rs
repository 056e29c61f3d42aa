//! A node for third-party tools.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

/// A separate node on loopback that runs until dropped.
pub(crate) struct Node {
    process: Child,
    pub(crate) url: String,
    /// Its admin token.
    pub(crate) token: String,
    _folder: TempDir,
}

impl Node {
    /// Starts a node with or without packs; it logs to a file.
    pub(crate) fn start(log: &Path, packs: Option<&Path>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| -> Result<PathBuf> {
            let path = folder.path().join(name);
            std::fs::create_dir(&path)?;
            Ok(path)
        };
        let packs = packs.map_or_else(|| at("packs"), |packs| Ok(packs.to_owned()))?;
        let ensue = std::env::current_exe()?.with_file_name("ensue");
        let mut process = Command::new(ensue)
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder.path().join("data"))
            .arg("--packs")
            .arg(packs)
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", folder.path())
            .env("XDG_STATE_HOME", at("state")?)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(log)?)
            .spawn()
            .context("the node does not start; `cargo build` makes it")?;
        let said = process.stdout.take().context("the node has no standard output")?;
        let mut node = Self { process, url: String::new(), token: String::new(), _folder: folder };
        for line in BufReader::new(said).lines() {
            if let Some(token) = line?.strip_prefix("export ENSUE_TOKEN=") {
                node.token = token.to_owned();
                // It prints its address before the token.
                let log = std::fs::read_to_string(log)?;
                let (_, rest) = log.split_once("listens on ").context("the node does not say where it listens")?;
                node.url = rest.split(',').next().unwrap_or_default().to_owned();
                return Ok(node);
            }
        }
        bail!("the node ended before it listened; {} says why", log.display())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Its data is discarded, so there is no need for an orderly stop.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
