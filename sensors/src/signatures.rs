//! Proofs of senders: creates and checks signatures over the raw body, and tokens.
//!
//! The body is treated as bytes only. Anything but a well-formed proof under a real key is rejected.

pub(crate) mod twilio;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use ensue_engine::catalog::{HmacAlgorithm, HookMethod, Scheme, SignatureEncoding, SignatureList, TimeUnit};
use ensue_engine::ports::Secret;
use ensue_engine::time::Timestamp;
use ensue_expression::{Document, Node};
use ring::{hmac, signature};
use thiserror::Error;

use crate::schemes::{Algorithm, KeyForm, SenderProof, Signature, SignaturePart, TWILIO_HEADER, TimeLocation, Token, TokenForm};

pub use ensue_engine::catalog::KEY_BYTES_MIN;

/// The greatest number of signatures in one header that are compared.
const SIGNATURES_MAX: usize = 16;

/// Why a delivery does not prove its sender.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SignatureRefusal {
    /// The sensor watches something else.
    #[error("the sensor accepts no deliveries")]
    NoDeliveries,
    /// The key is not set, or cannot be opened.
    #[error("the key that verifies the sender is not set")]
    NoKey,
    /// The key is too short to prove anything.
    #[error("the key that verifies the sender is {bytes} bytes long, but it must have at least {KEY_BYTES_MIN}")]
    ShortKey {
        /// Its length.
        bytes: usize,
    },
    /// The key is not written as the scheme wants it.
    #[error("the key that verifies the sender is not {form}")]
    MalformedKey {
        /// The expected form.
        form: &'static str,
    },
    /// Only the sender can sign, because its private key is not known here.
    #[error("only the sender has the private key that signs its deliveries")]
    NoPrivateKey,
    /// The content of the delivery does not fit the hook.
    #[error("the hook accepts no such delivery: {why}")]
    NotComposed {
        /// What does not fit, and what to give.
        why: String,
    },
    /// The header is missing.
    #[error("the header `{header}` is missing")]
    Missing {
        /// The header, in lower case.
        header: String,
    },
    /// The header is there more than once, so nobody can say which one counts.
    #[error("the header `{header}` must be present once, but it is present {times} times")]
    Repeated {
        /// The header, in lower case.
        header: String,
        /// The number of repetitions.
        times: usize,
    },
    /// The header does not hold a proof.
    #[error("the header `{header}` does not contain {form}")]
    Malformed {
        /// The header, in lower case.
        header: String,
        /// The expected form.
        form: String,
    },
    /// A part of the body that proves the sender is missing or malformed.
    #[error("`{part}` of the body is not {form}")]
    MalformedPart {
        /// The part.
        part: String,
        /// The expected form.
        form: String,
    },
    /// The authority that the hook names does not vouch for the sender.
    #[error("nobody whom the hook names vouches for the sender: {why}")]
    NotVouched {
        /// What is missing or wrong.
        why: String,
    },
    /// The authority that the hook names cannot be asked now.
    #[error("the sender cannot be verified now: {why}")]
    CannotAsk {
        /// What happened.
        why: String,
    },
    /// The proof is not that of this body under this key.
    #[error("the signature in `{header}` does not match this body and this key")]
    Wrong {
        /// The header, in lower case.
        header: String,
    },
    /// The token is not the key.
    #[error("the token in `{header}` is not this hook's key")]
    WrongToken {
        /// The header, in lower case.
        header: String,
    },
    /// The delivery was signed too long ago, or in the future: it may be a replay.
    #[error("the delivery was signed {seconds} seconds {direction} the node's time, and the tolerance is {tolerance} seconds")]
    OutOfTime {
        /// The distance.
        seconds: u64,
        /// `before` or `after`.
        direction: &'static str,
        /// The greatest distance.
        tolerance: u32,
    },
}

/// What of a delivery a proof may cover.
#[derive(Clone, Copy, Debug)]
pub struct ReceivedDelivery<'a> {
    /// The headers, with names in lower case.
    pub headers: &'a [(String, String)],
    /// The raw body.
    pub body: &'a [u8],
    /// The public URL to which it was sent, with its query.
    pub url: &'a str,
    /// Its method.
    pub method: HookMethod,
}

/// Checks that the sender of a delivery has the key of `scheme`, at the time `now`.
///
/// # Errors
/// Returns what is missing or wrong. Without a usable key every delivery is rejected. The comparison takes
/// the same time whichever byte differs.
pub fn check(scheme: &Scheme, delivered: ReceivedDelivery<'_>, key: Option<&Secret>, now: Timestamp) -> Result<(), SignatureRefusal> {
    let key = usable(key)?;
    match SenderProof::of(scheme, delivered.headers, key) {
        SenderProof::Signature(signature) => signature.check(delivered, key, now),
        SenderProof::Token(token) => token.check(delivered.headers, key),
        SenderProof::Twilio => twilio::check(delivered, key),
    }
}

/// Returns what identifies the content of a delivery besides its body: the signed id, if the scheme has one.
/// Deliveries with another id are not repeats, even if their bodies are the same.
pub fn signed_id<'h>(scheme: &Scheme, headers: &'h [(String, String)]) -> Option<&'h str> {
    match SenderProof::of(scheme, headers, &[]) {
        SenderProof::Signature(signature) => only(headers, signature.id?).ok(),
        SenderProof::Token(_) | SenderProof::Twilio => None,
    }
}

/// Returns the header with the proof, in lower case.
pub fn header_of(scheme: &Scheme, headers: &[(String, String)]) -> String {
    SenderProof::of(scheme, headers, &[]).header().to_owned()
}

/// What a delivery that is signed contains, besides its key.
#[derive(Clone, Copy, Debug)]
pub struct UnsignedDelivery<'a> {
    /// The raw body.
    pub body: &'a [u8],
    /// The id of the delivery.
    pub id: &'a str,
    /// The time at which it is signed.
    pub now: Timestamp,
    /// The public URL to which it is sent, with its query.
    pub url: &'a str,
    /// Its method.
    pub method: HookMethod,
}

/// Returns the headers, names and values, with which a delivery passes [`check`].
///
/// # Errors
/// If the key is missing, too short or malformed, or if only the sender can sign.
pub fn sign(scheme: &Scheme, unsigned: UnsignedDelivery<'_>, key: Option<&Secret>) -> Result<Vec<(String, String)>, SignatureRefusal> {
    let key = usable(key)?;
    match SenderProof::of(scheme, &[], key) {
        SenderProof::Signature(signature) => signature.sign(unsigned, key),
        SenderProof::Token(token) => Ok(vec![(token.header.to_owned(), token.header_value(key))]),
        SenderProof::Twilio => Ok(vec![(TWILIO_HEADER.to_owned(), twilio::sign(unsigned.url, key))]),
    }
}

impl Signature<'_> {
    fn check(&self, delivered: ReceivedDelivery<'_>, key: &[u8], now: Timestamp) -> Result<(), SignatureRefusal> {
        let headers = delivered.headers;
        let key = self.key(key)?;
        let header = only(headers, self.header)?;
        let claimed = self.claimed_signatures(header)?;
        let time = self.time.and_then(|(place, _)| self.time_in(place, headers, header)).transpose()?;
        let id = self.id.map(|id| only(headers, id)).transpose()?;
        let content = Content { body: delivered.body, time, id, url: delivered.url, method: delivered.method };
        if !self.algorithm.verifies(&claimed, &self.signed_pieces(content), &key) {
            return Err(SignatureRefusal::Wrong { header: self.header.to_owned() });
        }
        match (time, self.time) {
            // The body is parsed only after its signature was verified.
            (None, Some((TimeLocation::Field(name), unit))) => {
                let body = Document::parse(Bytes::copy_from_slice(delivered.body)).ok();
                let time = body.as_ref().and_then(|body| body.root().get(name)).map_or("", Node::raw);
                self.demand_recent(time, TimeLocation::Field(name), unit, now)
            }
            (Some(time), Some((place, unit))) => self.demand_recent(time, place, unit, now),
            _ => Ok(()),
        }
    }

    fn sign(
        &self,
        UnsignedDelivery { body, id, now, url, method }: UnsignedDelivery<'_>,
        key: &[u8],
    ) -> Result<Vec<(String, String)>, SignatureRefusal> {
        let Algorithm::Hmac(algorithm) = self.algorithm else { return Err(SignatureRefusal::NoPrivateKey) };
        let key = self.key(key)?;
        let time = self.time.map(|(_, unit)| match unit {
            TimeUnit::Seconds => (now.unix_millis() / 1000).to_string(),
            TimeUnit::Milliseconds => now.unix_millis().to_string(),
        });
        let content = Content { body, time: time.as_deref(), id: self.id.map(|_| id), url, method };
        let mac = algorithm.mac(&self.signed_pieces(content), &key);
        let mut header = self.encode(mac.as_ref());
        let mut headers = Vec::new();
        if let (Some((place, _)), Some(time)) = (self.time, time) {
            match place {
                TimeLocation::Header(name) => headers.push((name.to_owned(), time)),
                TimeLocation::Entry(prefix) => header = format!("{prefix}{time},{header}"),
                TimeLocation::Field(_) => {}
            }
        }
        headers.extend(self.id.map(|name| (name.to_owned(), id.to_owned())));
        headers.push((self.header.to_owned(), header));
        Ok(headers)
    }

    /// Returns the bytes of a key.
    fn key(&self, written: &[u8]) -> Result<Vec<u8>, SignatureRefusal> {
        let (bytes, form) = match self.key {
            KeyForm::Bytes => return Ok(written.to_vec()),
            KeyForm::Hex => (hex::decode(written.trim_ascii()).ok(), "the hexadecimal digits of a public key"),
            KeyForm::Base64After(prefix) => {
                let written = written.trim_ascii();
                let digits = written.strip_prefix(prefix.as_bytes()).unwrap_or(written);
                (STANDARD.decode(digits).ok(), "`whsec_` or `whpk_`, and base64")
            }
        };
        let bytes = bytes.ok_or(SignatureRefusal::MalformedKey { form })?;
        match self.algorithm {
            Algorithm::Hmac(_) if bytes.len() < KEY_BYTES_MIN => Err(SignatureRefusal::ShortKey { bytes: bytes.len() }),
            Algorithm::Ed25519 if bytes.len() != signature::ED25519_PUBLIC_KEY_LEN => Err(SignatureRefusal::MalformedKey { form }),
            Algorithm::Hmac(_) | Algorithm::Ed25519 => Ok(bytes),
        }
    }

    /// Returns the signatures in the header, of which one must fit.
    fn claimed_signatures(&self, header: &str) -> Result<Vec<Vec<u8>>, SignatureRefusal> {
        let malformed = || SignatureRefusal::Malformed { header: self.header.to_owned(), form: self.form() };
        let claimed: Vec<_> = match self.list {
            SignatureList::One => vec![self.decode(header).ok_or_else(malformed)?],
            SignatureList::Commas | SignatureList::Spaces => self.entries(header).filter_map(|entry| self.decode(entry)).collect(),
        };
        if claimed.is_empty() || claimed.len() > SIGNATURES_MAX { Err(malformed()) } else { Ok(claimed) }
    }

    fn entries<'h>(&self, header: &'h str) -> impl Iterator<Item = &'h str> {
        let separator = if self.list == SignatureList::Spaces { ' ' } else { ',' };
        header.split(separator).map(|entry| entry.trim_matches(' '))
    }

    /// Returns the time in the headers, or `None` if it is in the body.
    fn time_in<'h>(
        &self,
        place: TimeLocation<'_>,
        headers: &'h [(String, String)],
        header: &'h str,
    ) -> Option<Result<&'h str, SignatureRefusal>> {
        match place {
            TimeLocation::Header(name) => Some(only(headers, name)),
            TimeLocation::Entry(prefix) => {
                let mut times = self.entries(header).filter_map(|entry| entry.strip_prefix(prefix));
                Some(match (times.next(), times.next()) {
                    (Some(time), None) => Ok(time),
                    (None, _) | (_, Some(_)) => Err(SignatureRefusal::Malformed {
                        header: self.header.to_owned(),
                        form: format!("one time, as `{prefix}` and a number"),
                    }),
                })
            }
            TimeLocation::Field(_) => None,
        }
    }

    /// Returns what is signed, in pieces, so that a body is not copied.
    fn signed_pieces<'p>(&'p self, content: Content<'p>) -> Vec<&'p [u8]> {
        let piece = |part: &'p SignaturePart<'_>| match part {
            SignaturePart::Text(text) => text.as_bytes(),
            SignaturePart::Body => content.body,
            SignaturePart::Time => content.time.unwrap_or_default().as_bytes(),
            SignaturePart::Id => content.id.unwrap_or_default().as_bytes(),
            SignaturePart::Url => content.url.as_bytes(),
            SignaturePart::Method => content.method.as_str().as_bytes(),
            SignaturePart::Path => path_of(content.url).as_bytes(),
        };
        self.signed.iter().map(piece).collect()
    }

    /// Demands a time near the node's own, so that a delivery cannot be replayed later.
    fn demand_recent(&self, time: &str, place: TimeLocation<'_>, unit: TimeUnit, now: Timestamp) -> Result<(), SignatureRefusal> {
        let is_number = !time.is_empty() && time.len() <= 16 && time.bytes().all(|byte| byte.is_ascii_digit());
        let Some(signed) = is_number.then(|| time.parse::<i64>().ok()).flatten() else {
            let number = "a time, as a number since 1970".to_owned();
            let (header, form) = match place {
                TimeLocation::Header(name) => (name, number),
                TimeLocation::Entry(prefix) => (self.header, format!("one time, as `{prefix}` and a number")),
                TimeLocation::Field(name) => return Err(SignatureRefusal::MalformedPart { part: name.to_owned(), form: number }),
            };
            return Err(SignatureRefusal::Malformed { header: header.to_owned(), form });
        };
        let millis = if unit == TimeUnit::Seconds { signed.saturating_mul(1000) } else { signed };
        let distance = millis.saturating_mul(1000).saturating_sub(now.micros());
        let seconds = distance.unsigned_abs() / 1_000_000;
        if seconds <= u64::from(self.tolerance_seconds) {
            return Ok(());
        }
        let direction = if distance < 0 { "before" } else { "after" };
        Err(SignatureRefusal::OutOfTime { seconds, direction, tolerance: self.tolerance_seconds })
    }

    fn encode(&self, signature: &[u8]) -> String {
        let text = match self.encoding {
            SignatureEncoding::Hex => hex::encode(signature),
            SignatureEncoding::Base64 => STANDARD.encode(signature),
            SignatureEncoding::Base64Url => URL_SAFE_NO_PAD.encode(signature),
        };
        format!("{}{text}", self.prefix)
    }

    /// Accepts only the exact spelling that [`Self::encode`] writes, so that a signature has only one form.
    fn decode(&self, text: &str) -> Option<Vec<u8>> {
        let digits = text.strip_prefix(self.prefix)?;
        let signature = match self.encoding {
            SignatureEncoding::Hex => hex::decode(digits).ok(),
            SignatureEncoding::Base64 => STANDARD.decode(digits).ok(),
            SignatureEncoding::Base64Url => URL_SAFE_NO_PAD.decode(digits).ok(),
        };
        signature.filter(|signature| signature.len() == self.algorithm.signature_bytes() && self.encode(signature) == text)
    }

    fn form(&self) -> String {
        let bytes = self.algorithm.signature_bytes();
        let one = match self.encoding {
            SignatureEncoding::Hex => format!("`{}` and {} lower-case hexadecimal digits", self.prefix, bytes * 2),
            SignatureEncoding::Base64 => format!("`{}` and the base64 of {bytes} bytes", self.prefix),
            SignatureEncoding::Base64Url => format!("`{}` and the URL-safe base64 of {bytes} bytes", self.prefix),
        };
        match self.list {
            SignatureList::One => format!("a signature of the form {one}"),
            SignatureList::Commas | SignatureList::Spaces => {
                format!("1 to {SIGNATURES_MAX} signatures of the form {one}")
            }
        }
    }
}

/// What of a delivery is signed.
#[derive(Clone, Copy)]
struct Content<'p> {
    body: &'p [u8],
    time: Option<&'p str>,
    id: Option<&'p str>,
    url: &'p str,
    method: HookMethod,
}

/// Returns the path and query of a URL.
fn path_of(url: &str) -> &str {
    let after = url.find("://").map_or(0, |at| at + 3);
    url[after..].find('/').map_or("/", |at| &url[after + at..])
}

impl Token<'_> {
    fn check(self, headers: &[(String, String)], key: &[u8]) -> Result<(), SignatureRefusal> {
        let header = only(headers, self.header)?;
        let malformed = |form: &str| SignatureRefusal::Malformed { header: self.header.to_owned(), form: form.to_owned() };
        let given = match self.form {
            TokenForm::Plain => header.as_bytes().to_vec(),
            TokenForm::Bearer => credentials(header, "bearer").ok_or_else(|| malformed("`Bearer` and a token"))?.as_bytes().to_vec(),
            TokenForm::Basic => credentials(header, "basic")
                .and_then(|credentials| STANDARD.decode(credentials).ok())
                .ok_or_else(|| malformed("`Basic` and the base64 of `user:password`"))?,
        };
        if equal(&given, key, key) { Ok(()) } else { Err(SignatureRefusal::WrongToken { header: self.header.to_owned() }) }
    }

    fn header_value(self, key: &[u8]) -> String {
        match self.form {
            TokenForm::Plain => String::from_utf8_lossy(key).into_owned(),
            TokenForm::Bearer => format!("Bearer {}", String::from_utf8_lossy(key)),
            TokenForm::Basic => format!("Basic {}", STANDARD.encode(key)),
        }
    }
}

/// Returns the credentials of an `Authorization` with this scheme, in lower case (RFC 9110 §11.4).
fn credentials<'h>(header: &'h str, scheme: &str) -> Option<&'h str> {
    let (given, credentials) = header.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| credentials.trim_start_matches(' '))
}

impl Algorithm {
    fn signature_bytes(self) -> usize {
        match self {
            Self::Hmac(algorithm) => algorithm.of_ring().digest_algorithm().output_len(),
            Self::Ed25519 => 64,
        }
    }

    /// Returns true if one of `claimed` is the signature of what is signed.
    fn verifies(self, claimed: &[Vec<u8>], signed: &[&[u8]], key: &[u8]) -> bool {
        match self {
            Self::Hmac(algorithm) => {
                let mac = algorithm.mac(signed, key);
                claimed.iter().any(|claimed| equal(claimed, mac.as_ref(), key))
            }
            Self::Ed25519 => {
                let (key, signed) = (signature::UnparsedPublicKey::new(&signature::ED25519, key), signed.concat());
                claimed.iter().any(|claimed| key.verify(&signed, claimed).is_ok())
            }
        }
    }
}

/// Compares by a MAC of each, which takes the same time whichever byte differs.
pub(crate) fn equal(given: &[u8], expected: &[u8], key: &[u8]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::verify(&key, given, hmac::sign(&key, expected).as_ref()).is_ok()
}

trait Ring {
    fn of_ring(self) -> hmac::Algorithm;
    fn mac(self, signed: &[&[u8]], key: &[u8]) -> hmac::Tag;
}

impl Ring for HmacAlgorithm {
    fn of_ring(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    fn mac(self, signed: &[&[u8]], key: &[u8]) -> hmac::Tag {
        let mut mac = hmac::Context::with_key(&hmac::Key::new(self.of_ring(), key));
        signed.iter().for_each(|piece| mac.update(piece));
        mac.sign()
    }
}

fn usable(key: Option<&Secret>) -> Result<&[u8], SignatureRefusal> {
    let key = key.ok_or(SignatureRefusal::NoKey)?.reveal();
    if key.len() < KEY_BYTES_MIN {
        return Err(SignatureRefusal::ShortKey { bytes: key.len() });
    }
    Ok(key)
}

pub(crate) fn only<'h>(headers: &'h [(String, String)], header: &str) -> Result<&'h str, SignatureRefusal> {
    let mut found = headers.iter().filter(|(name, _)| name == header).map(|(_, value)| value.as_str());
    match (found.next(), found.count()) {
        (None, _) => Err(SignatureRefusal::Missing { header: header.to_owned() }),
        (Some(value), 0) => Ok(value),
        (Some(_), more) => Err(SignatureRefusal::Repeated { header: header.to_owned(), times: more + 1 }),
    }
}

#[cfg(test)]
mod tests;
