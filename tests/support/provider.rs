//! A real OpenID provider on this machine: the npm package `oidc-provider`. Included by the tests of several crates.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use super::skipped::not_installed;

/// The secret of the clients.
pub(crate) const SECRET: &str = "a secret of 32 bytes + and: more!";

/// How long it may take to do something.
const PATIENCE: Duration = Duration::from_secs(60);

/// The provider; it ends when it is dropped.
pub(crate) struct Provider {
    process: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    issuer: String,
}

impl Provider {
    /// Starts a provider, or skips the test by name if the package is not installed.
    pub(crate) fn start(test: &str) -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let folder = root.join("target/npm");
        if !folder.join("node_modules/oidc-provider").is_dir() {
            not_installed(test, "the npm package oidc-provider");
            return None;
        }
        let script = root.join("tests/support/provider.mjs");
        let started =
            Command::new("node").arg(script).arg(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut process = match started {
            Ok(process) => process,
            Err(error) => {
                not_installed(test, &format!("node ({error})"));
                return None;
            }
        };
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (printed, lines) = sync_channel(8);
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| printed.send(line)));
        let issuer = lines.recv_timeout(PATIENCE).unwrap();
        Some(Self { process, input, lines, issuer })
    }

    /// Returns its name, as tokens have it.
    pub(crate) fn url(&self) -> &str {
        &self.issuer
    }

    /// Sends a command of `provider.mjs`.
    pub(crate) fn send_command(&mut self, command: &str) {
        writeln!(self.input, "{command}").unwrap();
        assert_eq!(self.lines.recv_timeout(PATIENCE).unwrap(), "done");
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
