//! A server on this machine with the part of the API of HashiCorp Vault that nodes use. It checks each request; a public
//! client library is tested against it as well, so that it cannot expect what only a node does.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

pub(crate) const ROLE_ID: &str = "8c1f0a3e-role";
pub(crate) const SECRET_ID: &str = "5d2e9b7c-secret";

#[derive(Default)]
struct VaultState {
    /// The versions of each secret.
    secrets: BTreeMap<String, Vec<Value>>,
    tokens: BTreeSet<String>,
    /// The tokens that unwrap the secret id, each once.
    wrapped: BTreeSet<String>,
    issued: usize,
}

/// A running server.
#[derive(Clone)]
pub(crate) struct SecretServer {
    held: Arc<Mutex<VaultState>>,
    pub(crate) address: SocketAddr,
}

impl SecretServer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { held: Arc::default(), address: listener.local_addr().unwrap() };
        let serving = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let server = serving.clone();
                std::thread::spawn(move || server.serve(&stream));
            }
        });
        server
    }

    /// Makes a token that unwraps the secret id once.
    pub(crate) fn wrap(&self) -> String {
        let mut held = self.held.lock().unwrap();
        held.issued += 1;
        let token = format!("wrapped-{}", held.issued);
        held.wrapped.insert(token.clone());
        token
    }

    /// Revokes all tokens, and returns how many there were.
    pub(crate) fn revoke_all(&self) -> usize {
        std::mem::take(&mut self.held.lock().unwrap().tokens).len()
    }

    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        loop {
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                match line.trim_end() {
                    "" => break,
                    line => lines.push(line.to_owned()),
                }
            }
            let headers: BTreeMap<String, String> = lines
                .iter()
                .skip(1)
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect();
            let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_err() {
                return;
            }
            let mut request = lines[0].split(' ');
            let (method, path) = (request.next().unwrap_or_default(), request.next().unwrap_or_default());
            let body = serde_json::from_slice(&body).unwrap_or_default();
            let (status, body) = self.answer(method, path, &headers, &body);
            let body = body.to_string();
            let head = format!("HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
            let mut writer = stream;
            if writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(body.as_bytes())).is_err() {
                return;
            }
        }
    }

    fn answer(&self, method: &str, path: &str, headers: &BTreeMap<String, String>, body: &Value) -> (u16, Value) {
        let mut held = self.held.lock().unwrap();
        let denied = || (403, json!({ "errors": ["permission denied"] }));
        if headers.get("x-vault-request").map(String::as_str) != Some("true") {
            return (400, json!({ "errors": ["missing the header X-Vault-Request"] }));
        }
        let token = headers.get("x-vault-token");
        let Some(path) = path.strip_prefix("/v1/") else { return (404, json!({ "errors": [] })) };
        match (method, path) {
            ("POST", "auth/approle/login") => {
                if (body["role_id"].as_str(), body["secret_id"].as_str()) != (Some(ROLE_ID), Some(SECRET_ID)) {
                    return (400, json!({ "errors": ["invalid role or secret ID"] }));
                }
                held.issued += 1;
                let token = format!("token-{}", held.issued);
                held.tokens.insert(token.clone());
                (200, json!({ "auth": { "client_token": token, "lease_duration": 3600, "renewable": true, "policies": ["default"] } }))
            }
            ("POST" | "PUT", "sys/wrapping/unwrap") => match token.filter(|token| held.wrapped.remove(*token)) {
                Some(_) => (200, json!({ "data": { "secret_id": SECRET_ID, "secret_id_accessor": "a" } })),
                None => (400, json!({ "errors": ["wrapping token is not valid or does not exist"] })),
            },
            _ if !token.is_some_and(|token| held.tokens.contains(token)) => denied(),
            _ => {
                let Some(name) = path.strip_prefix("secret/data/") else { return denied() };
                match method {
                    "POST" | "PUT" if body["data"].is_object() => {
                        let versions = held.secrets.entry(name.to_owned()).or_default();
                        versions.push(body["data"].clone());
                        (200, json!({ "data": { "version": versions.len(), "destroyed": false } }))
                    }
                    "GET" => match held.secrets.get(name) {
                        Some(versions) => (
                            200,
                            json!({ "data": { "data": versions.last(), "metadata": { "version": versions.len(), "destroyed": false } } }),
                        ),
                        None => (404, json!({ "errors": [] })),
                    },
                    _ => (405, json!({ "errors": ["unsupported operation"] })),
                }
            }
        }
    }
}
