//! How the sender of a delivery is verified: schemes of vendors, and forms that a pack describes.

use std::sync::Arc;

use serde_json::Value;

use crate::names::KeyRef;

/// The minimum size in bytes of a key that verifies deliveries. A shorter key can be guessed, and with an
/// empty key anybody can sign.
pub const KEY_BYTES_MIN: usize = 16;

/// How deliveries are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verify {
    /// By something that only the sender can know.
    Proof {
        /// The form of the proof.
        scheme: Scheme,
        /// The shared secret, or the sender's public key.
        key: KeyRef,
    },
    /// By an authority that the sender and this node both trust, without a key of this node.
    Vouched(Arc<SenderAuthority>),
    /// Not at all: anybody may deliver.
    None,
}

impl Verify {
    /// Returns the key that verifies deliveries, or `None` if anybody may deliver.
    pub fn key(&self) -> Option<&KeyRef> {
        match self {
            Self::Proof { key, .. } => Some(key),
            Self::Vouched(_) | Self::None => None,
        }
    }

    /// Returns the form of the proof under a key, or `None` if there is no key.
    pub fn scheme(&self) -> Option<&Scheme> {
        match self {
            Self::Proof { scheme, .. } => Some(scheme),
            Self::Vouched(_) | Self::None => None,
        }
    }

    /// Returns how deliveries of Amazon SNS are verified, or `None` for another sender.
    pub fn sns(&self) -> Option<&SnsVerify> {
        match self {
            Self::Vouched(vouched) => match &**vouched {
                SenderAuthority::Sns(sns) => Some(sns),
                SenderAuthority::Jwt(_) | SenderAuthority::Mtls(_) => None,
            },
            Self::Proof { .. } | Self::None => None,
        }
    }

    /// Returns true if the proof covers the body, so that nobody else can change it.
    pub fn signs_the_body(&self) -> bool {
        self.scheme().is_some_and(Scheme::signs_the_body) || self.sns().is_some()
    }
}

/// The authority that vouches for a sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SenderAuthority {
    /// Amazon SNS, which signs each message with a certificate that it publishes.
    Sns(SnsVerify),
    /// The issuer of the token in `Authorization: Bearer`.
    Jwt(JwtVerify),
    /// The authority that signed the sender's client certificate.
    Mtls(MtlsVerify),
}

/// The maximum number of topics, audiences, claims, names or fingerprints of one hook.
pub const VOUCHED_MAX: usize = 64;

/// Which messages of Amazon SNS are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnsVerify {
    /// The ARNs of the topics. SNS signs for everybody who has a topic, so that its signature alone proves nothing.
    pub topics: Vec<String>,
    /// The hosts of certificates, with their ports, instead of Amazon's.
    pub hosts: Vec<String>,
    /// Whether signatures of version 1 are accepted.
    pub version_1: SnsVersion1,
}

/// Whether signatures of version 1 are accepted, which use SHA-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnsVersion1 {
    /// They are.
    Accepted,
    /// They are not.
    Refused,
}

/// Which tokens of an issuer are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtVerify {
    /// The issuer, as tokens have it in `iss`.
    pub issuer: String,
    /// For whom a token must be.
    pub audience: Vec<String>,
    /// The URL of the issuer's keys; `None` if its discovery document has it.
    pub jwks: Option<String>,
    /// The values that claims must have.
    pub claims: Vec<(String, Value)>,
    /// How far the clocks may differ, in seconds.
    pub leeway_seconds: u32,
}

/// Which client certificates are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MtlsVerify {
    /// Subjects, and alternative names such as `dns:hooks.example.test`.
    pub names: Vec<String>,
    /// SHA-256 fingerprints, in lower-case hexadecimal digits.
    pub fingerprints: Vec<String>,
    /// The header in which a trusted proxy reports the subject or the fingerprint, in lower case; `None` if the node itself
    /// ends TLS.
    pub header: Option<String>,
}

/// The form of a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// A user and a password, `Authorization: Basic` (RFC 7617). The key holds `user:password`.
    Basic,
    /// A token, `Authorization: Bearer` (RFC 6750).
    Bearer,
    /// Bitbucket's signature of the body.
    Bitbucket,
    /// Discord's Ed25519 signature of a time and the body. The key holds the application's public key.
    Discord,
    /// Dropbox's signature of the body.
    Dropbox,
    /// GitHub's signature of the body.
    Github,
    /// GitLab's secret token, which GitLab sends as it is.
    Gitlab,
    /// A token in the header with this name, in lower case.
    Header(String),
    /// A MAC as the pack describes it.
    Hmac(Arc<HmacVerify>),
    /// Jira's signature of the body.
    Jira,
    /// Linear's signature of the body, which contains a time.
    Linear,
    /// The signature of the body by Meta: Facebook, Instagram, WhatsApp.
    Meta,
    /// The signatures of the body by PagerDuty, one for each of its secrets.
    Pagerduty,
    /// Sentry's signature of the body.
    Sentry,
    /// Shopify's signature of the body.
    Shopify,
    /// Slack's signature of a time and the body.
    Slack,
    /// The signatures of an id, a time and the body by Standard Webhooks, under its own header names or those
    /// of Svix. The key is `whsec_` and base64, or `whpk_` and the base64 of an Ed25519 public key.
    Standard,
    /// Stripe's signatures of a time and the body.
    Stripe,
    /// Twilio's signature of the public URL and the body.
    Twilio,
    /// Zoom's signature of a time and the body.
    Zoom,
}

impl Scheme {
    /// Returns the header with the token that proves the sender, in lower case; `None` if a signature does.
    pub fn token_header(&self) -> Option<&str> {
        match self {
            Self::Basic | Self::Bearer => Some("authorization"),
            Self::Gitlab => Some("x-gitlab-token"),
            Self::Header(header) => Some(header),
            Self::Bitbucket
            | Self::Discord
            | Self::Dropbox
            | Self::Github
            | Self::Hmac(_)
            | Self::Jira
            | Self::Linear
            | Self::Meta
            | Self::Pagerduty
            | Self::Sentry
            | Self::Shopify
            | Self::Slack
            | Self::Standard
            | Self::Stripe
            | Self::Twilio
            | Self::Zoom => None,
        }
    }

    /// Returns true if the proof covers the public URL, so that the node must know its own.
    pub fn signs_the_url(&self) -> bool {
        match self {
            Self::Twilio => true,
            Self::Hmac(hmac) => hmac.signed.iter().any(|part| matches!(part, SignedPart::Url | SignedPart::Path)),
            _ => false,
        }
    }

    /// Returns true if its senders give each delivery an id, which repeats have too.
    pub fn has_natural_key(&self) -> bool {
        match self {
            Self::Basic | Self::Bearer | Self::Header(_) | Self::Hmac(_) | Self::Dropbox | Self::Meta | Self::Zoom => false,
            Self::Bitbucket
            | Self::Discord
            | Self::Github
            | Self::Gitlab
            | Self::Jira
            | Self::Linear
            | Self::Pagerduty
            | Self::Sentry
            | Self::Shopify
            | Self::Slack
            | Self::Standard
            | Self::Stripe
            | Self::Twilio => true,
        }
    }

    /// Returns true if the proof covers the method.
    pub fn signs_the_method(&self) -> bool {
        matches!(self, Self::Hmac(hmac) if hmac.signed.contains(&SignedPart::Method))
    }

    /// Returns true if the proof covers the body, so that nobody else can change it.
    pub fn signs_the_body(&self) -> bool {
        self.token_header().is_none()
    }
}

/// The headers with credentials of a caller to the node itself, in lower case.
pub const CREDENTIAL_HEADERS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

impl Verify {
    /// Returns true if no expression reads a header of deliveries, by its name in lower case: it has credentials to the node, or
    /// the token that proves the sender.
    pub fn hides(&self, header: &str) -> bool {
        CREDENTIAL_HEADERS.contains(&header) || self.scheme().and_then(Scheme::token_header) == Some(header)
    }
}

/// A MAC in a header, as a pack describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HmacVerify {
    /// The header with the signature, in lower case.
    pub header: String,
    /// The hash algorithm.
    pub algorithm: HmacAlgorithm,
    /// How the signature is encoded.
    pub encoding: SignatureEncoding,
    /// The text before the signature.
    pub prefix: String,
    /// How many signatures the header may contain.
    pub parse: SignatureList,
    /// The signed parts, in order.
    pub signed: Vec<SignedPart>,
    /// Where the time of the signature is, if it is signed.
    pub timestamp: Option<SignatureTime>,
    /// The header with the id of the delivery, in lower case, if it is signed.
    pub id: Option<String>,
    /// The greatest distance in seconds between the time of the signature and the node's clock, either way.
    pub tolerance_seconds: u32,
}

/// The default of [`HmacVerify::tolerance_seconds`], and the tolerance of vendors' schemes: five minutes.
pub const TOLERANCE_SECONDS: u32 = 300;

/// How many signatures a header contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureList {
    /// One.
    One,
    /// Several, separated by commas. Other entries are ignored.
    Commas,
    /// Several, separated by spaces. Other entries are ignored.
    Spaces,
}

/// A part of a text that is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignedPart {
    /// These characters.
    Text(String),
    /// The raw body.
    Body,
    /// The time of the signature, as the header has it.
    Timestamp,
    /// The id of the delivery.
    Id,
    /// The public URL, with its query.
    Url,
    /// The method, in capitals.
    Method,
    /// The path and query of the public URL.
    Path,
}

/// Where the time of a signature is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureTime {
    /// The place.
    pub place: TimePlace,
    /// The unit in which it counts since the Unix epoch.
    pub unit: TimeUnit,
}

/// The place of a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimePlace {
    /// In the header with this name, in lower case.
    Header(String),
    /// In the header of the signature, as an entry that begins with this text.
    Entry(String),
}

/// The unit of a time since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
}

/// The hash algorithm of a MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HmacAlgorithm {
    /// SHA-1, for senders that have nothing better.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// How a signature is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureEncoding {
    /// Hexadecimal digits.
    Hex,
    /// Base64 with padding, RFC 4648 §4.
    Base64,
    /// Base64 for URLs without padding, RFC 4648 §5.
    Base64Url,
}
