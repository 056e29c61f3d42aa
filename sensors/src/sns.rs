//! Messages of Amazon SNS: the signed parts of a body, the certificate that it names, and the signature.
//!
//! SNS signs for everybody who has a topic, so that a message counts only if its topic is one of the hook's. Nothing is
//! fetched here: the certificate is an argument.

use bytes::Bytes;
use ensue_engine::catalog::{SnsVerify, SnsVersion1};
use ensue_engine::time::Timestamp;
use ensue_expression::{Document, Node};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use url::Url;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::ASN1Time;

use crate::signatures::SignatureRefusal;

/// How long ago a message may have been published, in seconds. SNS repeats deliveries for hours, and a key is remembered as
/// long as this.
const AGE_SECONDS_MAX: u32 = 24 * 60 * 60;
/// How far the time of a message may be after the node's, in seconds.
const AHEAD_SECONDS_MAX: u32 = 300;
/// The longest URL of a certificate, in bytes.
const URL_BYTES_MAX: usize = 512;
/// The maximum number of hexadecimal digits in the name of a certificate. Amazon's have 32.
const HEX_MAX: usize = 64;
/// The part of the body with the signature, in errors.
const SIGNATURE: &str = "Signature";

/// The kind of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What a publisher sent to the topic.
    Notification,
    /// The question whether the hook wants the messages of a topic.
    SubscriptionConfirmation,
    /// The notice that the subscription has ended.
    UnsubscribeConfirmation,
}

/// A message, read but not verified.
#[derive(Clone, Debug)]
pub struct SnsMessage {
    kind: Kind,
    id: String,
    topic: String,
    time: Timestamp,
    /// What is signed.
    text: String,
    version: Version,
    signature: Vec<u8>,
    certificate: Url,
    subscribe: Option<Url>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Sha1,
    Sha256,
}

impl SnsMessage {
    /// Reads the body of a delivery: the topic, and the URL of its certificate, are those that the hook accepts.
    ///
    /// # Errors
    /// What is missing, malformed or not accepted.
    pub fn read(accepted: &SnsVerify, body: &Bytes) -> Result<Self, SignatureRefusal> {
        let document = Document::parse(body.clone()).map_err(|_| part("the body", "a message of Amazon SNS as JSON"))?;
        let root = document.root();
        let text = |name: &'static str| optional_text(root, name)?.ok_or_else(|| part(name, "a string"));
        let kind = match text("Type")?.as_str() {
            "Notification" => Kind::Notification,
            "SubscriptionConfirmation" => Kind::SubscriptionConfirmation,
            "UnsubscribeConfirmation" => Kind::UnsubscribeConfirmation,
            _ => return Err(part("Type", "a type of a message of Amazon SNS")),
        };
        let version = match (text("SignatureVersion")?.as_str(), accepted.version_1) {
            ("2", _) => Version::Sha256,
            ("1", SnsVersion1::Accepted) => Version::Sha1,
            ("1", SnsVersion1::Refused) => return Err(part("SignatureVersion", "2; version 1 uses SHA-1, and needs `sha1: true` here")),
            _ => return Err(part("SignatureVersion", "1 or 2")),
        };
        let topic = text("TopicArn")?;
        if !accepted.topics.contains(&topic) {
            return Err(SignatureRefusal::NotVouched { why: "its topic is not one of the hook's `topics`".to_owned() });
        }
        let certificate = url_of(&text("SigningCertURL")?, &topic, accepted).filter(is_of_a_certificate);
        // Only servers that are compatible with Amazon's have them in a folder.
        let certificate = certificate.filter(|url| !accepted.hosts.is_empty() || url.path().matches('/').count() == 1);
        let certificate = certificate.ok_or_else(|| {
            part("SigningCertURL", "the URL of a certificate, `/SimpleNotificationService-….pem`, on a host of Amazon SNS in its region")
        })?;
        let signature = decode_base64(&text(SIGNATURE)?).ok_or_else(|| part(SIGNATURE, "base64"))?;
        let time = text("Timestamp")?.parse().map_err(|_| part("Timestamp", "a time"))?;
        let subscribe = match kind {
            Kind::Notification => None,
            Kind::SubscriptionConfirmation | Kind::UnsubscribeConfirmation => {
                let url = url_of(&text("SubscribeURL")?, &topic, accepted);
                Some(url.ok_or_else(|| part("SubscribeURL", "a URL on a host of Amazon SNS in its region"))?)
            }
        };
        let names: &[&'static str] = match kind {
            Kind::Notification => &["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"],
            Kind::SubscriptionConfirmation | Kind::UnsubscribeConfirmation => {
                &["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
            }
        };
        let mut signed = String::new();
        for name in names {
            match optional_text(root, name)? {
                Some(value) => signed.extend([name, "\n", value.as_str(), "\n"]),
                // Only a subject may be missing.
                None if *name == "Subject" => {}
                None => return Err(part(name, "a string")),
            }
        }
        Ok(Self { kind, id: text("MessageId")?, topic, time, text: signed, version, signature, certificate, subscribe })
    }

    /// Returns the kind of the message.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns its id, which repeats have too.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the ARN of its topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Returns the text that is signed: everything that nobody else can change.
    pub fn signed_text(&self) -> &str {
        &self.text
    }

    /// Returns the URL of the certificate that verifies it, on a host that the hook accepts.
    pub fn certificate(&self) -> &Url {
        &self.certificate
    }

    /// Returns the URL that confirms the subscription, on a host that the hook accepts.
    pub fn subscribe(&self) -> Option<&Url> {
        self.subscribe.as_ref()
    }

    /// Checks that the certificate's key signed the message, not too long ago.
    ///
    /// # Errors
    /// If the certificate is not valid now, the signature is not its, or the message is too old.
    pub fn check(&self, certificate: &Certificate, now: Timestamp) -> Result<(), SignatureRefusal> {
        if !certificate.is_valid_at(now) {
            return Err(SignatureRefusal::NotVouched { why: "the certificate of its signature is not valid now".to_owned() });
        }
        let algorithm: &'static dyn VerificationAlgorithm = match self.version {
            Version::Sha1 => &signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            Version::Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        };
        let verified = UnparsedPublicKey::new(algorithm, &certificate.key).verify(self.text.as_bytes(), &self.signature);
        verified.map_err(|_| SignatureRefusal::Wrong { header: SIGNATURE.to_owned() })?;
        let distance = self.time.micros_since(now);
        let (direction, tolerance) = if distance < 0 { ("before", AGE_SECONDS_MAX) } else { ("after", AHEAD_SECONDS_MAX) };
        let seconds = distance.unsigned_abs() / 1_000_000;
        if seconds <= u64::from(tolerance) { Ok(()) } else { Err(SignatureRefusal::OutOfTime { seconds, direction, tolerance }) }
    }
}

/// A certificate of Amazon SNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The public key, as PKCS #1 has it.
    key: Vec<u8>,
    /// From when and until when it is valid, in seconds since 1970.
    valid: (i64, i64),
}

impl Certificate {
    /// Reads a certificate in the PEM format.
    ///
    /// # Errors
    /// If it is none.
    pub fn read(pem: &[u8]) -> Result<Self, String> {
        let (_, pem) = parse_x509_pem(pem).map_err(|error| format!("it is not a certificate in the PEM format: {error}"))?;
        let read = pem.parse_x509().map_err(|error| format!("it is not a certificate: {error}"))?;
        let seconds = |time: ASN1Time| time.timestamp();
        let valid = (seconds(read.validity().not_before), seconds(read.validity().not_after));
        Ok(Self { key: read.public_key().subject_public_key.data.to_vec(), valid })
    }

    fn is_valid_at(&self, now: Timestamp) -> bool {
        let seconds = now.unix_millis() / 1000;
        i64::try_from(seconds).is_ok_and(|seconds| (self.valid.0..=self.valid.1).contains(&seconds))
    }
}

/// Returns a URL that a message names, if it is on a host of Amazon SNS in the region of the topic, or on one of the hook's.
fn url_of(text: &str, topic: &str, accepted: &SnsVerify) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|url| text.len() <= URL_BYTES_MAX * 4 && url.scheme() == "https")?;
    if !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    let host = url.host_str()?;
    let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let is_accepted = if accepted.hosts.is_empty() { is_amazons(&host, topic) } else { accepted.hosts.contains(&host) };
    is_accepted.then_some(url)
}

/// Returns true if a URL has the form that those of certificates have. Whoever sends a message that is not verified yet names one
/// that is fetched.
pub fn is_of_a_certificate(url: &Url) -> bool {
    let file = url.path().rsplit('/').next().unwrap_or_default();
    let hex = file.strip_prefix("SimpleNotificationService-").and_then(|rest| rest.strip_suffix(".pem"));
    let is_hex = hex.is_some_and(|hex| (1..=HEX_MAX).contains(&hex.len()) && hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    is_hex && url.query().is_none() && url.fragment().is_none()
}

fn is_amazons(host: &str, topic: &str) -> bool {
    // `arn:aws:sns:eu-west-1:123456789012:alarms`
    let Some(region) = topic.split(':').nth(3).filter(|region| !region.is_empty()) else { return false };
    let is_plain = region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let rest = host.strip_prefix("sns.").and_then(|rest| rest.strip_prefix(region));
    is_plain && matches!(rest, Some(".amazonaws.com" | ".amazonaws.com.cn"))
}

fn optional_text(root: Node<'_>, name: &'static str) -> Result<Option<String>, SignatureRefusal> {
    match root.get(name).filter(|value| !value.is_null()) {
        None => Ok(None),
        Some(value) => value.as_str().map(|text| Some(text.into_owned())).ok_or_else(|| part(name, "a string")),
    }
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

fn part(name: &str, form: &str) -> SignatureRefusal {
    SignatureRefusal::MalformedPart { part: name.to_owned(), form: form.to_owned() }
}
