//! A real OpenID provider on this machine: the npm package `oidc-provider`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::skipped::not_installed;
use super::{Node, Place, free_port};

/// The secret of the clients.
pub(crate) const SECRET: &str = "a secret of 32 bytes + and: more!";

/// The provider; it ends when it is dropped.
pub(crate) struct Provider {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
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
        let script = root.join("login/tests/main/provider/provider.mjs");
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
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let issuer = line(&mut output);
        Some(Self { process, input, output, issuer })
    }

    /// Returns its name, as tokens have it.
    pub(crate) fn url(&self) -> &str {
        &self.issuer
    }

    pub(crate) fn tell(&mut self, command: &str) {
        writeln!(self.input, "{command}").unwrap();
        assert_eq!(line(&mut self.output), "done");
    }

    /// Returns the settings of the issuer for people, as they are written below its name.
    pub(crate) fn settings(&self) -> Value {
        json!({
            "issuer": self.issuer, "use": ["browser"], "client_id": "ES256", "client_secret": { "file": "corp.secret" },
            "scopes": ["openid", "profile", "email", "groups"], "allow": "claims.email_verified",
            "name": "claims.preferred_username", "groups": "claims.?groups.orValue(null)",
        })
    }

    /// Starts a node at a fixed address, to which the provider sends people back.
    pub(crate) fn node(&mut self, settings: &Value) -> (Place, Node) {
        let place = Place::new().listening_on(&format!("127.0.0.1:{}", free_port()));
        let node = self.node_at(&place, settings);
        (place, node)
    }

    /// The same, in a place that has a fixed address.
    pub(crate) fn node_at(&mut self, place: &Place, settings: &Value) -> Node {
        std::fs::write(place.path().join("corp.secret"), format!("{SECRET}\n")).unwrap();
        std::fs::write(place.path().join("ensue.yaml"), json!({ "login": settings }).to_string()).unwrap();
        let node = place.start();
        for issuer in settings["issuers"].as_object().unwrap().keys() {
            self.tell(&format!("redirect {}/api/v1/auth/oidc/callback/{issuer}", node.url()));
        }
        node
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn line(output: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}
