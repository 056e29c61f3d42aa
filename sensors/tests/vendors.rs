//! Signatures against the vendors' own packages, both ways: what they sign passes here, and what is signed here
//! passes there. `.ci/run` installs the packages.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ensue_engine::catalog::{
    HmacAlgorithm, HmacVerify, HookMethod, Scheme, SignatureEncoding, SignatureList, SignedPart, SnsVerify, SnsVersion1, TOLERANCE_SECONDS,
};
use ensue_engine::ports::Secret;
use ensue_engine::time::Timestamp;
use ensue_sensors::signatures::{ReceivedDelivery, SignatureRefusal, UnsignedDelivery, check, sign};
use ensue_sensors::sns::{Certificate, SnsMessage};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Map, Value, json};

#[path = "../../tests/support/skipped.rs"]
mod skipped;

#[path = "../../tests/support/sns.rs"]
mod signer;

use skipped::not_installed;

const BODY: &str = r#"{"name": "Zoë", "amount": 12.50, "id": "evt_1"}"#;
const TEXT_KEY: &str = "a secret that is long enough";
const STANDARD_KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The packages of npm that `vendors.mjs` loads.
const NPM: [&str; 8] = [
    "@linear/sdk",
    "@octokit/webhooks-methods",
    "@shopify/shopify-api",
    "discord-interactions",
    "sns-validator",
    "standardwebhooks",
    "stripe",
    "svix",
];

/// A program that signs and verifies with packages of vendors.
struct Vendors {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Vendors {
    fn start(test: &str, needed: &[PathBuf], mut command: Command) -> Option<Self> {
        if let Some(missing) = needed.iter().find(|needed| !needed.exists()) {
            not_installed(test, &missing.display().to_string());
            return None;
        }
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Some(Self { process, input, output })
    }

    fn of_npm(test: &str) -> Option<Self> {
        Self::of_npm_trusting(test, Path::new(""))
    }

    /// Starts it with a file of authorities that it trusts for TLS.
    fn of_npm_trusting(test: &str, authorities: &Path) -> Option<Self> {
        let packages = root().join("target/npm");
        let mut command = Command::new("node");
        command.arg(root().join("sensors/tests/vendors.mjs")).arg(&packages);
        if authorities.exists() {
            command.env("NODE_EXTRA_CA_CERTS", authorities);
        }
        let needed = NPM.map(|name| packages.join("node_modules").join(name));
        Self::start(test, &needed, command)
    }

    fn of_python(test: &str, package: &str) -> Option<Self> {
        let python = root().join("target/python/bin/python");
        let has_package = Command::new(&python).args(["-c", &format!("import {package}")]).stderr(Stdio::null()).status();
        if !has_package.is_ok_and(|status| status.success()) {
            not_installed(test, &format!("the Python package {package}"));
            return None;
        }
        let mut command = Command::new(&python);
        command.arg(root().join("sensors/tests/vendors.py"));
        Self::start(test, &[python], command)
    }

    fn ask(&mut self, question: &Value) -> Value {
        writeln!(self.input, "{question}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("the answer to {question} is `{line}`: {error}"))
    }

    /// Returns the headers with which the vendor signs a body.
    fn sign(&mut self, scheme: &str, key: &str) -> Vec<(String, String)> {
        let answer = self.ask(&json!({ "scheme": scheme, "key": key, "body": BODY, "id": "msg_1", "sign": true }));
        header_list(&answer["headers"])
    }

    /// Asks the vendor whether headers verify a body.
    fn accepts(&mut self, scheme: &str, key: &str, body: &str, headers: &[(String, String)]) -> bool {
        let headers: Map<String, Value> = headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        self.ask(&json!({ "scheme": scheme, "key": key, "body": body, "headers": headers }))["valid"] == true
    }
}

impl Drop for Vendors {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the names and values of headers that a program answered with.
fn header_list(headers: &Value) -> Vec<(String, String)> {
    headers.as_object().unwrap().iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap())
}

fn secret(key: &str) -> Secret {
    Secret::new(key.as_bytes().to_vec())
}

/// Demands that a delivery of the vendor passes here, and neither altered, nor old, nor under another key.
fn demand_only_as_it_is(scheme: &Scheme, headers: &[(String, String)], key: &str, time_is_signed: bool) {
    let checked = |body: &str, key: &str, now| {
        check(scheme, ReceivedDelivery { headers, body: body.as_bytes(), url: "", method: HookMethod::Post }, Some(&secret(key)), now)
    };
    assert_eq!(checked(BODY, key, now()), Ok(()), "{scheme:?}");
    let altered = BODY.replace("12.50", "99.50");
    assert!(matches!(checked(&altered, key, now()), Err(SignatureRefusal::Wrong { .. })), "{scheme:?}");
    let later = now().plus_millis(3_600_000);
    let replayed = checked(BODY, key, later);
    assert_eq!(replayed.is_err(), time_is_signed, "{scheme:?}: {replayed:?}");
}

/// Demands that the vendor accepts a delivery that is signed here, and neither altered nor old.
fn demand_acceptance(vendors: &mut Vendors, (name, scheme): (&str, &Scheme), key: &str, time_is_signed: bool) {
    let signed_at = |now| {
        sign(scheme, UnsignedDelivery { body: BODY.as_bytes(), id: "msg_1", now, url: "", method: HookMethod::Post }, Some(&secret(key)))
            .unwrap()
    };
    let headers = signed_at(now());
    assert!(vendors.accepts(name, key, BODY, &headers), "{name}: {headers:?}");
    assert!(!vendors.accepts(name, key, &BODY.replace("12.50", "99.50"), &headers), "{name}");
    let old = signed_at(now().minus_millis(3_600_000));
    assert_eq!(vendors.accepts(name, key, BODY, &old), !time_is_signed, "{name}");
}

#[test]
fn packages_of_vendors_and_this_crate_accept_each_other() {
    let Some(mut vendors) = Vendors::of_npm("packages_of_vendors_and_this_crate_accept_each_other") else { return };
    for (name, scheme, key, time_is_signed) in [
        ("github", Scheme::Github, TEXT_KEY, false),
        ("shopify", Scheme::Shopify, TEXT_KEY, false),
        ("stripe", Scheme::Stripe, STANDARD_KEY, true),
        ("standard", Scheme::Standard, STANDARD_KEY, true),
    ] {
        let headers = vendors.sign(name, key);
        demand_only_as_it_is(&scheme, &headers, key, time_is_signed);
        demand_acceptance(&mut vendors, (name, &scheme), key, time_is_signed);
    }
    // Svix has header names of its own, under which nothing is signed here.
    let headers = vendors.sign("svix", STANDARD_KEY);
    demand_only_as_it_is(&Scheme::Standard, &headers, STANDARD_KEY, true);
}

#[test]
fn linear_s_package_and_this_crate_accept_each_other() {
    let Some(mut vendors) = Vendors::of_npm("linear_s_package_and_this_crate_accept_each_other") else { return };
    // Linear signs the time as a part of the body, and its package rejects a body that is older than a minute.
    let body = |at: Timestamp| json!({ "type": "Issue", "action": "create", "webhookTimestamp": at.micros() / 1_000 }).to_string();
    let fresh = body(now());
    let question = json!({ "scheme": "linear", "key": TEXT_KEY, "body": fresh, "sign": true });
    let of_linear = header_list(&vendors.ask(&question)["headers"]);
    let sign_here = |body: &str| {
        let unsigned = UnsignedDelivery { body: body.as_bytes(), id: "msg_1", now: now(), url: "", method: HookMethod::Post };
        sign(&Scheme::Linear, unsigned, Some(&secret(TEXT_KEY))).unwrap()
    };
    assert!(vendors.accepts("linear", TEXT_KEY, &fresh, &sign_here(&fresh)));
    let checked = |body: &str, key: &str| {
        let delivered = ReceivedDelivery { headers: &of_linear, body: body.as_bytes(), url: "", method: HookMethod::Post };
        check(&Scheme::Linear, delivered, Some(&secret(key)), now())
    };
    assert_eq!(checked(&fresh, TEXT_KEY), Ok(()));
    let old = body(now().minus_millis(3_600_000));
    for (body, key) in [(&fresh.replace("create", "remove"), TEXT_KEY), (&old, TEXT_KEY), (&fresh, "another key that is long enough")] {
        assert!(matches!(checked(body, key), Err(SignatureRefusal::Wrong { .. })), "{body}");
        assert!(!vendors.accepts("linear", key, body, &of_linear), "{body}");
    }
    let late = body(now().minus_millis(120_000));
    let untimed = r#"{"type":"Issue","action":"create"}"#;
    let quoted = fresh.replace("\"webhookTimestamp\":", "\"webhookTimestamp\":\"").replace('}', "\"}");
    for (body, expected) in [(&*body(now().minus_millis(30_000)), true), (&late, false), (&old, false), (untimed, false), (&quoted, false)]
    {
        let headers = sign_here(body);
        let delivered = ReceivedDelivery { headers: &headers, body: body.as_bytes(), url: "", method: HookMethod::Post };
        assert_eq!(check(&Scheme::Linear, delivered, Some(&secret(TEXT_KEY)), now()).is_ok(), expected, "{body}");
        assert_eq!(vendors.accepts("linear", TEXT_KEY, body, &headers), expected, "{body}");
    }
}

#[test]
fn square_s_package_accepts_what_a_described_signature_signs() {
    let Some(mut vendors) = Vendors::of_python("square_s_package_accepts_what_a_described_signature_signs", "square") else { return };
    let scheme = Scheme::Hmac(Arc::new(HmacVerify {
        header: "x-square-hmacsha256-signature".to_owned(),
        algorithm: HmacAlgorithm::Sha256,
        encoding: SignatureEncoding::Base64,
        prefix: String::new(),
        parse: SignatureList::One,
        signed: vec![SignedPart::Url, SignedPart::Body],
        timestamp: None,
        id: None,
        tolerance_seconds: TOLERANCE_SECONDS,
    }));
    let (url, other) = ("https://ensue.example.test/hooks/shop/square?team=a%20b", "https://ensue.example.test/hooks/shop/other");
    let unsigned = UnsignedDelivery { body: BODY.as_bytes(), id: "msg_1", now: now(), url, method: HookMethod::Post };
    let headers = sign(&scheme, unsigned, Some(&secret(TEXT_KEY))).unwrap();
    let given: Map<String, Value> = headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let altered = BODY.replace("12.50", "99.50");
    for (url, body, key, expected) in [
        (url, BODY, TEXT_KEY, true),
        (url, &altered, TEXT_KEY, false),
        (other, BODY, TEXT_KEY, false),
        (url, BODY, "another key that is long enough", false),
    ] {
        let question = json!({ "scheme": "square", "key": key, "url": url, "body": body, "headers": given });
        assert_eq!(vendors.ask(&question)["valid"], expected, "{url} {body}");
        let delivered = ReceivedDelivery { headers: &headers, body: body.as_bytes(), url, method: HookMethod::Post };
        assert_eq!(check(&scheme, delivered, Some(&secret(key)), now()).is_ok(), expected, "{url} {body}");
    }
}

#[test]
fn delivery_that_discord_s_package_accepts_passes() {
    let Some(mut vendors) = Vendors::of_npm("delivery_that_discord_s_package_accepts_passes") else { return };
    let (key, headers): (Vec<_>, Vec<_>) = vendors.sign("discord", "").into_iter().partition(|(name, _)| name == "key");
    demand_only_as_it_is(&Scheme::Discord, &headers, &key[0].1, true);
}

#[test]
fn what_counts_here_as_a_message_of_amazon_sns_counts_for_its_package() {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    let test = "what_counts_here_as_a_message_of_amazon_sns_counts_for_its_package";
    let Some(mut vendors) = Vendors::of_npm_trusting(test, &file) else { return };
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "localhost");
    let cert = params.signed_by(&key, &authority).unwrap().pem();
    let signer = signer::Signer::new();
    let tls = json!({ "cert": cert, "key": key.serialize_pem() });
    let serving = vendors.ask(&json!({ "scheme": "sns", "sign": true, "body": "", "tls": tls, "signer": signer.certificate }));
    let host = serving["headers"]["address"].as_str().unwrap().to_owned();
    let at = format!("https://{host}");
    let hook = SnsVerify { topics: vec![signer::TOPIC.to_owned()], hosts: vec![host], version_1: SnsVersion1::Refused };
    let certificate = Certificate::read(signer.certificate.as_bytes()).unwrap();
    let asks = json!({ "Type": "SubscriptionConfirmation", "Token": "t", "SubscribeURL": format!("{at}/?Action=ConfirmSubscription") });
    for parts in [json!({}), json!({ "Subject": "Zoë" }), asks] {
        let message = signer.message(&at, &now().to_string(), &parts);
        let mut altered = message.clone();
        altered["Message"] = json!("other");
        for (message, expected) in [(&message, true), (&altered, false)] {
            let read = SnsMessage::read(&hook, &message.to_string().into_bytes().into()).unwrap();
            assert_eq!(read.check(&certificate, now()).is_ok(), expected, "{message}");
            let question = json!({ "scheme": "sns", "body": message.to_string() });
            assert_eq!(vendors.ask(&question)["valid"], expected, "{message}");
        }
    }
}

#[test]
fn slack_s_package_and_this_crate_accept_each_other() {
    let Some(mut vendors) = Vendors::of_python("slack_s_package_and_this_crate_accept_each_other", "slack_sdk") else { return };
    let headers = vendors.sign("slack", TEXT_KEY);
    demand_only_as_it_is(&Scheme::Slack, &headers, TEXT_KEY, true);
    demand_acceptance(&mut vendors, ("slack", &Scheme::Slack), TEXT_KEY, true);
}

#[test]
fn twilio_s_package_and_this_crate_accept_each_other() {
    let Some(mut vendors) = Vendors::of_python("twilio_s_package_and_this_crate_accept_each_other", "twilio") else { return };
    const FORM: &str = "application/x-www-form-urlencoded";
    let url = "https://ensue.example.test/hooks/chat/sms?team=a%20b";
    let digest = ring::digest::digest(&ring::digest::SHA256, BODY.as_bytes());
    let hashed = format!("{url}&bodySHA256={}", hex::encode(digest));
    let form = "From=%2B14158675309&Body=good+morning&Tag=b&Tag=a&Empty=";
    for (url, content_type, body) in [(url, FORM, form), (hashed.as_str(), "application/json", BODY)] {
        let question = json!({ "scheme": "twilio", "key": TEXT_KEY, "url": url, "type": content_type, "body": body, "sign": true });
        let answer = vendors.ask(&question);
        let headers = header_list(&answer["headers"]);
        let checked = |url: &str, body: &str, key: &str| {
            check(
                &Scheme::Twilio,
                ReceivedDelivery { headers: &headers, body: body.as_bytes(), url, method: HookMethod::Post },
                Some(&secret(key)),
                now(),
            )
        };
        assert_eq!(checked(url, body, TEXT_KEY), Ok(()), "{content_type}");
        let replayed = url.replace("/sms", "/other");
        for (url, body, key) in [
            (url, &body.replace('o', "0"), TEXT_KEY),
            (&replayed, &body.to_owned(), TEXT_KEY),
            (url, &body.to_owned(), "another key that is long enough"),
        ] {
            assert!(matches!(checked(url, body, key), Err(SignatureRefusal::Wrong { .. })), "{content_type}: {url} {body}");
        }
    }
    let unsigned = UnsignedDelivery { body: BODY.as_bytes(), id: "msg_1", now: now(), url: &hashed, method: HookMethod::Post };
    let signed: Map<String, Value> =
        sign(&Scheme::Twilio, unsigned, Some(&secret(TEXT_KEY))).unwrap().into_iter().map(|(name, value)| (name, json!(value))).collect();
    let mut accepts = |body: &str| {
        let question =
            json!({ "scheme": "twilio", "key": TEXT_KEY, "url": hashed, "type": "application/json", "body": body, "headers": signed });
        vendors.ask(&question)["valid"] == true
    };
    assert!(accepts(BODY));
    assert!(!accepts("{}"));
}
