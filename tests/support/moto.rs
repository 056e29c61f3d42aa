//! A server that speaks the protocol of S3: `moto`, which `.ci/run` installs. Included by the tests of several crates.

#![allow(dead_code, reason = "each crate uses a part of it")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server with one bucket. It stops when this is dropped.
pub(crate) struct Moto {
    process: Child,
    port: u16,
}

impl Moto {
    /// The name of its bucket. It does not know a bucket whose name the client of Google Cloud Storage encodes.
    pub(crate) const BUCKET: &str = "ensuetests";

    /// Starts a server; `None` if the folder of Python programs does not have it.
    pub(crate) fn start(python: &Path) -> Option<Self> {
        Self::start_with(python, &[])
    }

    /// Starts a server that knows no credentials: it refuses every request but the one that creates its bucket.
    pub(crate) fn start_without_users(python: &Path) -> Option<Self> {
        Self::start_with(python, &[("INITIAL_NO_AUTH_ACTION_COUNT", "1")])
    }

    fn start_with(python: &Path, variables: &[(&str, &str)]) -> Option<Self> {
        let program = python.join("bin/moto_server");
        if !program.exists() {
            return None;
        }
        // It ends with its input, and so with the process of the test, however that ends.
        let mut command = Command::new("sh");
        command.args(["-c", "\"$0\" -H 127.0.0.1 -p 0 & cat; kill $!"]).arg(program);
        command.envs(variables.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("sh starts");
        let mut said = BufReader::new(process.stderr.take().expect("it is piped"));
        let mut line = String::new();
        let port = loop {
            line.clear();
            assert!(said.read_line(&mut line).expect("moto says where it listens") > 0, "moto ended");
            if let Some((_, port)) = line.trim().split_once("Running on http://127.0.0.1:") {
                break port.parse().expect("a port");
            }
        };
        // Its requests are logged; nobody reads them.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let moto = Self { process, port };
        moto.ask("PUT", &format!("/{}", Self::BUCKET));
        Some(moto)
    }

    /// Returns the variables with which a client finds it.
    pub(crate) fn environment(&self) -> [(String, String); 5] {
        let variables = [
            ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "id".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
        ];
        variables.map(|(name, value)| (name.to_owned(), value))
    }

    /// Returns the variables with which a client of Google Cloud Storage finds it. Its API in XML is that of S3, but for
    /// credentials, which it does not check.
    pub(crate) fn environment_of_gcs(&self) -> [(String, String); 2] {
        let variables = [("GOOGLE_BASE_URL", format!("http://127.0.0.1:{}", self.port)), ("GOOGLE_BEARER_TOKEN", "token".to_owned())];
        variables.map(|(name, value)| (name.to_owned(), value))
    }

    /// Returns the names of the objects in its bucket, the first thousand.
    pub(crate) fn names(&self) -> Vec<String> {
        let listed = self.ask("GET", &format!("/{}?list-type=2", Self::BUCKET));
        let keys = listed.split("<Key>").skip(1);
        keys.filter_map(|key| Some(key.split_once("</Key>")?.0.to_owned())).collect()
    }

    /// Sends a request without a body or a signature, and returns the answer.
    fn ask(&self, method: &str, path: &str) -> String {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).expect("moto listens");
        connection.set_read_timeout(Some(PATIENCE)).expect("a socket has a timeout");
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", self.port);
        connection.write_all(request.as_bytes()).expect("moto reads");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("moto answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
