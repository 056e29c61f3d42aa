//! An issuer on this machine: it signs tokens with a real key, publishes the key over HTTP, and can misbehave.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

/// How the issuer answers requests for its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// It accepts connections and never answers.
    Hangs,
    /// Its keys never end.
    Grows,
    /// Its keys are a page.
    Garbage,
    /// Its keys are elsewhere.
    Redirects,
    /// Its discovery document is that of another issuer.
    Lies,
    Fails,
}

struct IssuerState {
    mood: Mutex<Mood>,
    pair: Mutex<(String, EcdsaKeyPair)>,
    requests: AtomicUsize,
    address: SocketAddr,
}

/// A running issuer.
#[derive(Clone)]
pub(crate) struct Issuer(Arc<IssuerState>);

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn seconds() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn pair() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random).unwrap()
}

impl Issuer {
    pub(crate) fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let pair = Mutex::new(("1".to_owned(), pair()));
        let issuer = Self(Arc::new(IssuerState { mood: Mutex::new(mood), pair, requests: AtomicUsize::new(0), address }));
        let serving = issuer.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let issuer = serving.clone();
                std::thread::spawn(move || issuer.answer(stream));
            }
        });
        issuer
    }

    /// Its URL, as its tokens have it in `iss`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.0.address)
    }

    pub(crate) fn becomes(&self, mood: Mood) {
        *self.0.mood.lock().unwrap() = mood;
    }

    /// Replaces the key.
    pub(crate) fn rotate(&self, id: &str) {
        *self.0.pair.lock().unwrap() = (id.to_owned(), pair());
    }

    /// Returns the number of requests until now.
    pub(crate) fn requests(&self) -> usize {
        self.0.requests.load(Ordering::SeqCst)
    }

    /// Returns the public key as the issuer publishes it.
    pub(crate) fn public_jwk(&self) -> Value {
        let pair = self.0.pair.lock().unwrap();
        let point = &pair.1.public_key().as_ref()[1..];
        json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": pair.0, "x": encode(&point[..32]), "y": encode(&point[32..]) })
    }

    /// Returns claims of the person `subject-4711`, valid now, with some replaced; `null` removes one.
    pub(crate) fn claims(&self, changes: &Value) -> Value {
        let now = seconds();
        let mut claims = json!({
            "iss": self.url(), "sub": "subject-4711", "aud": "https://ensue.example.test", "iat": now, "exp": now + 600,
            "email": "ana@canary.example", "preferred_username": "ana", "groups": ["ops"], "ok": true,
        });
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => claims.as_object_mut().unwrap().remove(name),
                value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
            };
        }
        claims
    }

    /// Returns a token with these claims.
    pub(crate) fn token(&self, changes: &Value) -> String {
        let id = self.0.pair.lock().unwrap().0.clone();
        self.sign(&json!({ "alg": "ES256", "typ": "JWT", "kid": id }).to_string(), &self.claims(changes).to_string())
    }

    /// Signs any header and payload.
    pub(crate) fn sign(&self, header: &str, payload: &str) -> String {
        let message = format!("{}.{}", encode(header), encode(payload));
        let signature = self.0.pair.lock().unwrap().1.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", encode(signature))
    }

    fn answer(&self, mut stream: TcpStream) {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read(&mut byte).unwrap_or(0) == 0 {
                return;
            }
            head.push(byte[0]);
        }
        self.0.requests.fetch_add(1, Ordering::SeqCst);
        let is_discovery = head.starts_with(b"GET /.well-known/openid-configuration ");
        let mood = *self.0.mood.lock().unwrap();
        let (status, body) = match mood {
            Mood::Hangs => return std::thread::sleep(Duration::from_secs(60)),
            Mood::Fails => ("500 Internal Server Error", String::new()),
            Mood::Lies if is_discovery => {
                ("200 OK", json!({ "issuer": "https://id.example.test", "jwks_uri": format!("{}/keys", self.url()) }).to_string())
            }
            _ if is_discovery => ("200 OK", json!({ "issuer": self.url(), "jwks_uri": format!("{}/keys", self.url()) }).to_string()),
            Mood::Garbage => ("200 OK", "<html>".to_owned()),
            Mood::Redirects => ("302 Found", String::new()),
            Mood::Grows => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"keys\":[");
                while stream.write_all(&[b' '; 65_536]).is_ok() {}
                return;
            }
            Mood::Well | Mood::Lies => ("200 OK", json!({ "keys": [self.public_jwk()] }).to_string()),
        };
        let location = if mood == Mood::Redirects { "location: /elsewhere\r\n" } else { "" };
        let head = format!(
            "HTTP/1.1 {status}\r\n{location}content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
    }
}
