//! The small servers that simulate the outside world in the examples, as users start them.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;

use super::{CapturedStderr, PATIENCE, SECRET};

/// Returns a path below the folder of the examples.
pub(crate) fn examples(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(path)
}

/// A running server of an example; it is killed when dropped.
pub(crate) struct Fake {
    child: Child,
    address: SocketAddr,
    said: CapturedStderr,
}

impl Fake {
    /// Starts a program on a free port and waits until it listens. It accepts [`SECRET`].
    pub(crate) fn start(program: &str, more: &[&str]) -> Self {
        let mut command = Command::new("python3");
        command.arg("-B").arg(examples(program)).arg("0").args(more).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = CapturedStderr::default();
        let (listens, listening) = sync_channel(1);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let heard = said.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                heard.push(&line);
                if let Some(address) = line.split_once("listens on http://").and_then(|(_, address)| address.parse().ok()) {
                    let _ = listens.try_send(address);
                }
            }
        });
        let address = listening.recv_timeout(PATIENCE).unwrap();
        Self { child, address, said }
    }

    /// Starts one that requires a token.
    pub(crate) fn start_with_token(program: &str, more: &[&str]) -> Self {
        Self::start(program, &[&[SECRET], more].concat())
    }

    /// Returns its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the lines printed so far with this prefix.
    pub(crate) fn printed_lines(&self, beginning: &str) -> Vec<String> {
        self.said.text().lines().filter(|line| line.starts_with(beginning)).map(str::to_owned).collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
