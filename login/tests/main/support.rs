//! An issuer in memory: it signs, it publishes keys, and it counts the requests.

#![allow(dead_code, reason = "the benchmarks use a part of it")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ensue_engine::time::Timestamp;
use ensue_login::fetch::{FetchError, Method, Request, Response};
use ensue_login::{Fetch, Groups, Issuers, WrittenIssuer, check_issuers};
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};

/// The issuer of the tests.
pub(crate) const ISSUER: &str = "https://id.example.test/realms/corp";
/// The audience of the node.
pub(crate) const AUDIENCE: &str = "https://ensue.example.test";
/// The time at which most tests begin, in seconds.
pub(crate) const NOW: i64 = 1_790_000_000;

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

pub(crate) fn now() -> Timestamp {
    at(NOW)
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A private key of a test, and the name of the algorithm that it signs with.
pub(crate) struct Signer {
    pub(crate) id: &'static str,
    pub(crate) algorithm: &'static str,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

fn private(text: &str) -> Vec<u8> {
    STANDARD.decode(text.replace('\n', "")).unwrap()
}

impl Signer {
    pub(crate) fn rs256() -> Self {
        let pair = RsaKeyPair::from_pkcs8(&private(include_str!("../keys/rsa.txt"))).unwrap();
        Self { id: "rsa", algorithm: "RS256", pair: Pair::Rsa(pair) }
    }

    pub(crate) fn ps256() -> Self {
        Self { id: "pss", algorithm: "PS256", ..Self::rs256() }
    }

    pub(crate) fn es256() -> Self {
        let key = private(include_str!("../keys/p256.txt"));
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key, &SystemRandom::new()).unwrap();
        Self { id: "p256", algorithm: "ES256", pair: Pair::Ec(pair) }
    }

    pub(crate) fn es384() -> Self {
        let key = private(include_str!("../keys/p384.txt"));
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &key, &SystemRandom::new()).unwrap();
        Self { id: "p384", algorithm: "ES384", pair: Pair::Ec(pair) }
    }

    pub(crate) fn ed_dsa() -> Self {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&private(include_str!("../keys/ed25519.txt"))).unwrap();
        Self { id: "ed", algorithm: "EdDSA", pair: Pair::Ed(pair) }
    }

    /// A key that no issuer has published.
    pub(crate) fn stranger(id: &'static str) -> Self {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random).unwrap();
        Self { id, algorithm: "ES256", pair: Pair::Ec(pair) }
    }

    pub(crate) fn with_id(self, id: &'static str) -> Self {
        Self { id, ..self }
    }

    pub(crate) fn all() -> Vec<Self> {
        vec![Self::rs256(), Self::ps256(), Self::es256(), Self::es384(), Self::ed_dsa()]
    }

    pub(crate) fn header(&self) -> Value {
        json!({ "alg": self.algorithm, "kid": self.id, "typ": "JWT" })
    }

    /// Signs claims with the usual header.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }

    /// Signs any header and payload.
    pub(crate) fn sign(&self, header: &str, payload: &str) -> String {
        let message = format!("{}.{}", encode(header), encode(payload));
        let signature = self.signature(message.as_bytes());
        format!("{message}.{}", encode(signature))
    }

    pub(crate) fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let padding: &'static dyn ring::signature::RsaEncoding =
                    if self.algorithm == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
            Pair::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// Returns the public key as an issuer publishes it.
    pub(crate) fn public_jwk(&self) -> Value {
        let mut key = match &self.pair {
            Pair::Rsa(pair) => {
                let public: PublicKeyComponents<Vec<u8>> = pair.public().into();
                json!({ "kty": "RSA", "n": encode(public.n), "e": encode(public.e) })
            }
            Pair::Ec(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let curve = if point.len() == 64 { "P-256" } else { "P-384" };
                json!({ "kty": "EC", "crv": curve, "x": encode(&point[..point.len() / 2]), "y": encode(&point[point.len() / 2..]) })
            }
            Pair::Ed(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref()) }),
        };
        key["kid"] = json!(self.id);
        key["alg"] = json!(self.algorithm);
        key["use"] = json!("sig");
        key
    }
}

/// Claims that the issuer `corp` of [`settings`] admits at [`NOW`].
pub(crate) fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "sub": "4711",
        "aud": AUDIENCE,
        "exp": NOW + 600,
        "iat": NOW,
        "email": "ana@example.test",
        "email_verified": true,
        "preferred_username": "ana",
        "groups": ["release", "ops"],
    })
}

/// Returns [`claims`] with some replaced; `null` removes one.
pub(crate) fn claims_with(changes: &Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

/// The settings of the issuer `corp`.
pub(crate) fn settings() -> Value {
    json!({
        "issuer": ISSUER,
        "use": ["bearer"],
        "audience": [AUDIENCE, "https://ensue.example.test/mcp"],
        "allow": "claims.email_verified && claims.email.endsWith('@example.test')",
        "name": "claims.preferred_username",
        "groups": "claims.?groups.orValue(null)",
    })
}

/// Creates the issuers of settings by name.
pub(crate) fn issuers(settings: &[(&str, Value)]) -> Issuers {
    let written: BTreeMap<String, WrittenIssuer> =
        settings.iter().map(|(name, settings)| ((*name).to_owned(), serde_json::from_value(settings.clone()).unwrap())).collect();
    Issuers::new(check_issuers(written).unwrap())
}

/// Creates the issuer `corp`.
pub(crate) fn corp() -> Issuers {
    issuers(&[("corp", settings())])
}

/// Returns groups as an issuer says them.
pub(crate) fn issuer_groups(names: &[&str]) -> Groups {
    Groups::Said(names.iter().map(|name| name.parse().unwrap()).collect())
}

type Answer = Result<Response, FetchError>;

/// A form that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    fields: Vec<(String, String)>,
    pub(crate) authorization: Option<String>,
}

impl Post {
    /// Returns the fields of the form, in order.
    pub(crate) fn fields(&self) -> Vec<(&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }
}

/// The web as the issuer has it: answers by URL. Each request is counted, and forms are kept.
#[derive(Default)]
pub(crate) struct Web {
    answers: Mutex<BTreeMap<String, Answer>>,
    posts: Mutex<Vec<Post>>,
    requests: AtomicUsize,
    delay: std::time::Duration,
}

impl Web {
    /// Returns a web in which the issuer publishes the keys of all signers.
    pub(crate) fn new() -> Self {
        Self::with_keys(&Signer::all().iter().map(Signer::public_jwk).collect::<Vec<_>>())
    }

    pub(crate) fn with_keys(keys: &[Value]) -> Self {
        let web = Self::default();
        let document = json!({ "issuer": ISSUER, "jwks_uri": format!("{ISSUER}/keys") });
        web.answer(&format!("{ISSUER}/.well-known/openid-configuration"), ok(document.to_string()));
        web.publish(keys);
        web
    }

    /// Lets each answer take this long.
    pub(crate) fn slow(self, delay: std::time::Duration) -> Self {
        Self { delay, ..self }
    }

    /// Replaces the published keys.
    pub(crate) fn publish(&self, keys: &[Value]) {
        self.answer(&format!("{ISSUER}/keys"), ok(json!({ "keys": keys }).to_string()));
    }

    pub(crate) fn answer(&self, url: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(url.to_owned(), answer);
    }

    /// Returns the forms that were sent, in order.
    pub(crate) fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap().clone()
    }

    /// Returns the number of requests until now.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Answer {
    Ok(Response { status: 200, cache_control: None, body: body.into() })
}

/// An answer with another status than 200.
pub(crate) fn error_answer(status: u16, body: &Value) -> Answer {
    Ok(Response { status, cache_control: None, body: body.to_string().into_bytes() })
}

impl Fetch for Web {
    fn fetch(&self, request: &Request) -> Answer {
        self.requests.fetch_add(1, Ordering::SeqCst);
        if let Method::Post { form, authorization } = &request.method {
            let text = |secret: &ensue_engine::ports::Secret| String::from_utf8(secret.reveal().to_vec()).unwrap();
            let fields = url::form_urlencoded::parse(form.reveal()).into_owned().collect();
            self.posts.lock().unwrap().push(Post { fields, authorization: authorization.as_ref().map(text) });
        }
        std::thread::sleep(self.delay);
        let answers = self.answers.lock().unwrap();
        answers.get(request.url.as_str()).cloned().unwrap_or_else(|| Err(FetchError::Unreachable("there is no such host".to_owned())))
    }

    fn read(&self, file: &Path) -> Result<Vec<u8>, FetchError> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let answers = self.answers.lock().unwrap();
        let answer = answers.get(&file.display().to_string()).cloned();
        answer.unwrap_or_else(|| Err(FetchError::Unreadable("there is no such file".to_owned()))).map(|response| response.body)
    }
}
