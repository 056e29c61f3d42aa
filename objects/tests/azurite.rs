//! A server that speaks the protocol of Azure Blob Storage: Azurite, which `.ci/run` installs.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

const ACCOUNT: &str = "ensue";
const KEY: &[u8] = b"the key of the account";

/// A running server with one container. It stops when this is dropped.
pub(crate) struct Azurite {
    process: Child,
    port: u16,
}

impl Azurite {
    /// The name of its container.
    pub(crate) const CONTAINER: &str = "ensue-tests";

    /// Starts a server; `None` if the folder of npm packages does not have it.
    pub(crate) fn start(npm: &Path) -> Option<Self> {
        let program = npm.join("node_modules/.bin/azurite-blob");
        if !program.exists() {
            return None;
        }
        // It ends with its input, and so with the process of the test, however that ends.
        let mut command = Command::new("sh");
        let arguments = "--blobHost 127.0.0.1 --blobPort 0 --inMemoryPersistence --silent";
        command.args(["-c", &format!("\"$0\" {arguments} & cat; kill $!")]).arg(program);
        command.env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{}", STANDARD.encode(KEY)));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("sh starts");
        let mut said = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut line = String::new();
        let port = loop {
            line.clear();
            assert!(said.read_line(&mut line).expect("Azurite says where it listens") > 0, "Azurite ended");
            if let Some((_, port)) = line.trim().split_once("listens on http://127.0.0.1:") {
                break port.parse().expect("a port");
            }
        };
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let azurite = Self { process, port };
        azurite.create_container();
        Some(azurite)
    }

    /// Returns the variables with which a client finds it.
    pub(crate) fn environment(&self) -> [(String, String); 4] {
        let variables = [
            ("AZURE_STORAGE_ENDPOINT", format!("http://127.0.0.1:{}/{ACCOUNT}", self.port)),
            ("AZURE_ALLOW_HTTP", "true".to_owned()),
            ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT.to_owned()),
            ("AZURE_STORAGE_ACCOUNT_KEY", STANDARD.encode(KEY)),
        ];
        variables.map(|(name, value)| (name.to_owned(), value))
    }

    /// Creates the container, with a request signed as the page "Authorize with Shared Key" of Azure says.
    fn create_container(&self) {
        let (container, version) = (Self::CONTAINER, "2021-08-06");
        let date = httpdate::fmt_http_date(std::time::SystemTime::now());
        let signed = format!(
            "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:{version}\n/{ACCOUNT}/{ACCOUNT}/{container}\nrestype:container"
        );
        let mut mac = Hmac::<Sha256>::new_from_slice(KEY).expect("HMAC takes keys of any length");
        mac.update(signed.as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        let request = format!(
            "PUT /{ACCOUNT}/{container}?restype=container HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: 0\r\nx-ms-date: {date}\r\n\
             x-ms-version: {version}\r\nAuthorization: SharedKey {ACCOUNT}:{signature}\r\nConnection: close\r\n\r\n",
            self.port
        );
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).expect("Azurite listens");
        connection.write_all(request.as_bytes()).expect("Azurite reads");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("Azurite answers");
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
