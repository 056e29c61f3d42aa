//! The table of schemes: which header has the proof, what is signed, and how.

use std::borrow::Cow;

use ensue_engine::catalog::{
    HmacAlgorithm, HmacVerify, Scheme, SignatureEncoding, SignatureList, SignedPart, TOLERANCE_SECONDS, TimePlace, TimeUnit,
};

/// What proves the sender of a delivery.
pub(crate) enum SenderProof<'s> {
    /// A signature.
    Signature(Box<Signature<'s>>),
    /// The key itself, in a header.
    Token(Token<'s>),
    /// Twilio's signature, which covers the URL.
    Twilio,
}

/// A signature: its place, its form, and what it covers.
pub(crate) struct Signature<'s> {
    /// The header, in lower case.
    pub(crate) header: &'s str,
    /// How many signatures it may contain.
    pub(crate) list: SignatureList,
    /// The text before each.
    pub(crate) prefix: &'s str,
    /// How a signature is computed.
    pub(crate) algorithm: Algorithm,
    /// How it is encoded.
    pub(crate) encoding: SignatureEncoding,
    /// The signed parts, in order.
    pub(crate) signed: Cow<'s, [SignaturePart<'s>]>,
    /// The place and unit of the time, if one is signed.
    pub(crate) time: Option<(TimeLocation<'s>, TimeUnit)>,
    /// The header with the id of the delivery, if it is signed.
    pub(crate) id: Option<&'s str>,
    /// The greatest distance of the time from the node's clock, in seconds.
    pub(crate) tolerance_seconds: u32,
    /// How the key is written.
    pub(crate) key: KeyForm,
}

/// How a signature is computed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// As a MAC, under a secret that the sender has too.
    Hmac(HmacAlgorithm),
    /// With the sender's private key.
    Ed25519,
}

/// How a key is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyForm {
    /// Its bytes as they are.
    Bytes,
    /// Hexadecimal digits.
    Hex,
    /// Base64 after this text, which may be missing.
    Base64After(&'static str),
}

/// A part of the signed text.
#[derive(Clone)]
pub(crate) enum SignaturePart<'s> {
    /// These characters.
    Text(&'s str),
    /// The raw body.
    Body,
    /// The time, as the header has it.
    Time,
    /// The id of the delivery.
    Id,
    /// The public URL, with its query.
    Url,
    /// The method.
    Method,
    /// The path and query of the public URL.
    Path,
}

/// Where a time is.
#[derive(Clone, Copy)]
pub(crate) enum TimeLocation<'s> {
    /// In the header with this name.
    Header(&'s str),
    /// In the header of the signature, as an entry that begins with this text.
    Entry(&'s str),
    /// In the body, as this field of an object, which is signed with the body.
    Field(&'s str),
}

/// A token: the key, as the sender sends it.
#[derive(Clone, Copy)]
pub(crate) struct Token<'s> {
    /// The header, in lower case.
    pub(crate) header: &'s str,
    /// How the header contains it.
    pub(crate) form: TokenForm,
}

/// How a header contains a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenForm {
    /// Alone.
    Plain,
    /// As the credentials of `Bearer` (RFC 6750).
    Bearer,
    /// As the credentials of `Basic` (RFC 7617): the base64 of `user:password`.
    Basic,
}

/// The headers with which a sender names what happened, and the delivery.
pub(crate) struct Naming {
    /// The header with the name of what happened.
    pub(crate) event: &'static str,
    /// The header with the id of the delivery.
    pub(crate) delivery: &'static str,
}

/// The header with Twilio's signature.
pub(crate) const TWILIO_HEADER: &str = "x-twilio-signature";
/// The field of the body in which Linear puts the time.
const LINEAR_TIME: &str = "webhookTimestamp";
/// How far Linear's own package lets the time of a delivery be from the clock.
const LINEAR_TOLERANCE_SECONDS: u32 = 60;
const BODY: &[SignaturePart<'static>] = &[SignaturePart::Body];
const SHA256: Algorithm = Algorithm::Hmac(HmacAlgorithm::Sha256);

impl<'s> SenderProof<'s> {
    /// Returns what proves the sender of a delivery with these headers, whose key is `key`.
    pub(crate) fn of(scheme: &'s Scheme, headers: &[(String, String)], key: &[u8]) -> Self {
        let token_header = scheme.token_header().unwrap_or_default();
        let of_body = |header, prefix| Self::Signature(Box::new(Signature::of_body(header, prefix)));
        match scheme {
            Scheme::Github | Scheme::Meta => of_body("x-hub-signature-256", "sha256="),
            Scheme::Bitbucket | Scheme::Jira => of_body("x-hub-signature", "sha256="),
            Scheme::Dropbox => of_body("x-dropbox-signature", ""),
            Scheme::Linear => Self::Signature(Box::new(Signature {
                time: Some((TimeLocation::Field(LINEAR_TIME), TimeUnit::Milliseconds)),
                tolerance_seconds: LINEAR_TOLERANCE_SECONDS,
                ..Signature::of_body("linear-signature", "")
            })),
            Scheme::Sentry => of_body("sentry-hook-signature", ""),
            Scheme::Shopify => Self::Signature(Box::new(Signature {
                encoding: SignatureEncoding::Base64,
                ..Signature::of_body("x-shopify-hmac-sha256", "")
            })),
            Scheme::Pagerduty => {
                Self::Signature(Box::new(Signature { list: SignatureList::Commas, ..Signature::of_body("x-pagerduty-signature", "v1=") }))
            }
            Scheme::Stripe => Self::Signature(Box::new(Signature {
                list: SignatureList::Commas,
                signed: Cow::Borrowed(&[SignaturePart::Time, SignaturePart::Text("."), SignaturePart::Body]),
                time: Some((TimeLocation::Entry("t="), TimeUnit::Seconds)),
                ..Signature::of_body("stripe-signature", "v1=")
            })),
            Scheme::Slack => Self::Signature(Box::new(Signature::v0("x-slack-signature", "x-slack-request-timestamp"))),
            Scheme::Zoom => Self::Signature(Box::new(Signature::v0("x-zm-signature", "x-zm-request-timestamp"))),
            Scheme::Discord => Self::Signature(Box::new(Signature {
                algorithm: Algorithm::Ed25519,
                signed: Cow::Borrowed(&[SignaturePart::Time, SignaturePart::Body]),
                time: Some((TimeLocation::Header("x-signature-timestamp"), TimeUnit::Seconds)),
                key: KeyForm::Hex,
                ..Signature::of_body("x-signature-ed25519", "")
            })),
            Scheme::Standard => Self::Signature(Box::new(Signature::standard(headers, key))),
            Scheme::Hmac(hmac) => Self::Signature(Box::new(Signature::from_hmac(hmac))),
            Scheme::Gitlab | Scheme::Header(_) => Self::Token(Token { header: token_header, form: TokenForm::Plain }),
            Scheme::Basic => Self::Token(Token { header: token_header, form: TokenForm::Basic }),
            Scheme::Bearer => Self::Token(Token { header: token_header, form: TokenForm::Bearer }),
            Scheme::Twilio => Self::Twilio,
        }
    }

    /// Returns the header of the proof, in lower case.
    pub(crate) fn header(&self) -> &'s str {
        match self {
            Self::Signature(signature) => signature.header,
            Self::Token(token) => token.header,
            Self::Twilio => TWILIO_HEADER,
        }
    }
}

impl<'s> Signature<'s> {
    /// Returns one HMAC-SHA256 of the body, in hexadecimal digits.
    fn of_body(header: &'s str, prefix: &'s str) -> Self {
        Self {
            header,
            list: SignatureList::One,
            prefix,
            algorithm: SHA256,
            encoding: SignatureEncoding::Hex,
            signed: Cow::Borrowed(BODY),
            time: None,
            id: None,
            tolerance_seconds: TOLERANCE_SECONDS,
            key: KeyForm::Bytes,
        }
    }

    /// Returns the version 0 of Slack, which Zoom uses too.
    fn v0(header: &'s str, time: &'s str) -> Self {
        Self {
            signed: Cow::Borrowed(&[SignaturePart::Text("v0:"), SignaturePart::Time, SignaturePart::Text(":"), SignaturePart::Body]),
            time: Some((TimeLocation::Header(time), TimeUnit::Seconds)),
            ..Self::of_body(header, "v0=")
        }
    }

    /// Returns the form of Standard Webhooks, under the names of Svix if the sender uses those. The key decides
    /// whether signatures are symmetric (`v1`) or not (`v1a`).
    fn standard(headers: &[(String, String)], key: &[u8]) -> Self {
        let has = |name: &str| headers.iter().any(|(header, _)| header == name);
        let (header, time, id) = if has("svix-signature") && !has("webhook-signature") {
            ("svix-signature", "svix-timestamp", "svix-id")
        } else {
            ("webhook-signature", "webhook-timestamp", "webhook-id")
        };
        let (prefix, algorithm, key) = if key.starts_with(b"whpk_") {
            ("v1a,", Algorithm::Ed25519, KeyForm::Base64After("whpk_"))
        } else {
            ("v1,", SHA256, KeyForm::Base64After("whsec_"))
        };
        Self {
            list: SignatureList::Spaces,
            algorithm,
            encoding: SignatureEncoding::Base64,
            signed: Cow::Borrowed(&[
                SignaturePart::Id,
                SignaturePart::Text("."),
                SignaturePart::Time,
                SignaturePart::Text("."),
                SignaturePart::Body,
            ]),
            time: Some((TimeLocation::Header(time), TimeUnit::Seconds)),
            id: Some(id),
            key,
            ..Self::of_body(header, prefix)
        }
    }

    /// Returns the form that a pack describes.
    fn from_hmac(hmac: &'s HmacVerify) -> Self {
        let part = |part: &'s SignedPart| match part {
            SignedPart::Text(text) => SignaturePart::Text(text),
            SignedPart::Body => SignaturePart::Body,
            SignedPart::Timestamp => SignaturePart::Time,
            SignedPart::Id => SignaturePart::Id,
            SignedPart::Url => SignaturePart::Url,
            SignedPart::Method => SignaturePart::Method,
            SignedPart::Path => SignaturePart::Path,
        };
        Self {
            list: hmac.parse,
            algorithm: Algorithm::Hmac(hmac.algorithm),
            encoding: hmac.encoding,
            signed: hmac.signed.iter().map(part).collect(),
            time: hmac.timestamp.as_ref().map(|time| {
                let place = match &time.place {
                    TimePlace::Header(header) => TimeLocation::Header(header),
                    TimePlace::Entry(prefix) => TimeLocation::Entry(prefix),
                };
                (place, time.unit)
            }),
            id: hmac.id.as_deref(),
            tolerance_seconds: hmac.tolerance_seconds,
            ..Self::of_body(&hmac.header, &hmac.prefix)
        }
    }
}

/// Returns the field of the body in which the sender of a scheme puts the time, in milliseconds, if it puts it there.
pub(crate) fn time_field(scheme: &Scheme) -> Option<&'static str> {
    (*scheme == Scheme::Linear).then_some(LINEAR_TIME)
}

/// Returns the headers with which the sender of a scheme names an event and a delivery, if it has its own.
pub(crate) fn naming(scheme: Option<&Scheme>) -> Naming {
    match scheme {
        Some(Scheme::Github) => Naming { event: "x-github-event", delivery: "x-github-delivery" },
        Some(Scheme::Gitlab) => Naming { event: "x-gitlab-event", delivery: "x-gitlab-event-uuid" },
        Some(Scheme::Bitbucket) => Naming { event: "x-event-key", delivery: "x-request-uuid" },
        Some(Scheme::Twilio) => Naming { event: "x-event", delivery: "i-twilio-idempotency-token" },
        Some(Scheme::Shopify) => Naming { event: "x-shopify-topic", delivery: "x-shopify-webhook-id" },
        Some(_) | None => Naming { event: "x-event", delivery: "webhook-id" },
    }
}

/// Where the id of a delivery is, which its repeats have too.
pub(crate) enum NaturalKey {
    /// In the first of these headers that is there.
    Headers(&'static [&'static str]),
    /// In the first of these places in the body that is there.
    Body(&'static [&'static [&'static str]]),
    /// Nowhere.
    Nowhere,
}

/// Returns where the senders of a scheme put the id of a delivery.
pub(crate) fn natural_key(scheme: &Scheme) -> NaturalKey {
    match scheme {
        Scheme::Github => NaturalKey::Headers(&["x-github-delivery"]),
        Scheme::Bitbucket => NaturalKey::Headers(&["x-request-uuid"]),
        Scheme::Gitlab => NaturalKey::Headers(&["idempotency-key", "x-gitlab-event-uuid"]),
        Scheme::Stripe | Scheme::Discord => NaturalKey::Body(&[&["id"]]),
        Scheme::Slack => NaturalKey::Body(&[&["event_id"], &["trigger_id"]]),
        Scheme::Standard => NaturalKey::Headers(&["webhook-id", "svix-id"]),
        Scheme::Shopify => NaturalKey::Headers(&["x-shopify-webhook-id"]),
        Scheme::Twilio => NaturalKey::Headers(&["i-twilio-idempotency-token"]),
        Scheme::Pagerduty => NaturalKey::Body(&[&["event", "id"]]),
        Scheme::Linear => NaturalKey::Headers(&["linear-delivery"]),
        Scheme::Sentry => NaturalKey::Headers(&["request-id"]),
        Scheme::Jira => NaturalKey::Headers(&["x-atlassian-webhook-identifier"]),
        Scheme::Basic | Scheme::Bearer | Scheme::Header(_) | Scheme::Hmac(_) | Scheme::Dropbox | Scheme::Meta | Scheme::Zoom => {
            NaturalKey::Nowhere
        }
    }
}
