//! `verify` of a webhook: the scheme by which a delivery proves its sender.

mod authorities;

use std::ops::Range;
use std::sync::Arc;

use ensue_engine::catalog::{
    HmacAlgorithm, HmacVerify, Scheme, SenderAuthority, SignatureEncoding, SignatureList, SignatureTime, SignedPart, TOLERANCE_SECONDS,
    TimePlace, TimeUnit,
};
use ensue_expression::nearest;

use crate::diagnostics::{Code, Report};
use crate::fields::{FieldReader, quote_names, text};
use crate::shape::{FieldConstraint, Form, Kind, Shape, ShapeField, optional_field, required_field, words};
use crate::source::SourceText;
use crate::yaml::{Content, Node, WithSpan};

/// How the sender of a delivery is verified, as written.
pub(crate) enum Verify {
    /// By a proof.
    Proof {
        scheme: Scheme,
        key: WithSpan<String>,
        /// The place of a hash that is known to be weak, which is reported as a warning.
        weak: Option<Range<usize>>,
    },
    /// By an authority, without a key.
    Vouched {
        vouched: SenderAuthority,
        /// The place of a hash that is known to be weak, which is reported as a warning.
        weak: Option<Range<usize>>,
    },
    /// Not at all, which is reported as a warning at this place.
    None(Range<usize>),
}

/// The schemes of vendors, which need nothing but a key.
const VENDORS: [(&str, Scheme); 15] = [
    ("bitbucket", Scheme::Bitbucket),
    ("discord", Scheme::Discord),
    ("dropbox", Scheme::Dropbox),
    ("github", Scheme::Github),
    ("gitlab", Scheme::Gitlab),
    ("jira", Scheme::Jira),
    ("linear", Scheme::Linear),
    ("meta", Scheme::Meta),
    ("pagerduty", Scheme::Pagerduty),
    ("sentry", Scheme::Sentry),
    ("shopify", Scheme::Shopify),
    ("slack", Scheme::Slack),
    ("stripe", Scheme::Stripe),
    ("twilio", Scheme::Twilio),
    ("zoom", Scheme::Zoom),
];

pub(super) static VERIFY: [(&str, &Shape); 24] = [
    ("basic", &BY_KEY),
    ("bearer", &BY_KEY),
    ("bitbucket", &BY_KEY),
    ("discord", &BY_KEY),
    ("dropbox", &BY_KEY),
    ("github", &BY_KEY),
    ("gitlab", &BY_KEY),
    ("header", &BY_HEADER),
    ("hmac", &BY_HMAC),
    ("jira", &BY_KEY),
    ("jwt", &authorities::JWT),
    ("linear", &BY_KEY),
    ("meta", &BY_KEY),
    ("mtls", &authorities::MTLS),
    ("none", &BY_NOTHING),
    ("pagerduty", &BY_KEY),
    ("sentry", &BY_KEY),
    ("shopify", &BY_KEY),
    ("slack", &BY_KEY),
    ("sns", &authorities::SNS),
    ("standard", &BY_KEY),
    ("stripe", &BY_KEY),
    ("twilio", &BY_KEY),
    ("zoom", &BY_KEY),
];
const SCHEMES: [&str; 24] = words(&VERIFY);

static BY_KEY: Shape = Shape { what: "`verify` with this scheme", fields: &[SCHEME, KEY], ..Shape::BARE };

static BY_HEADER: Shape = Shape {
    what: "`verify` with the scheme `header`",
    fields: &[
        SCHEME,
        KEY,
        required_field(
            "header",
            "header: x-hook-token",
            Kind::Text(Form::Header),
            "The header in which the sender sends the key as it is.",
        ),
    ],
    ..Shape::BARE
};

const ALGORITHMS: [(&str, HmacAlgorithm); 3] =
    [("sha256", HmacAlgorithm::Sha256), ("sha512", HmacAlgorithm::Sha512), ("sha1", HmacAlgorithm::Sha1)];
const ALGORITHM_WORDS: [&str; 3] = words(&ALGORITHMS);
const ENCODINGS: [(&str, SignatureEncoding); 3] =
    [("hex", SignatureEncoding::Hex), ("base64", SignatureEncoding::Base64), ("base64url", SignatureEncoding::Base64Url)];
const ENCODING_WORDS: [&str; 3] = words(&ENCODINGS);
const LISTS: [(&str, SignatureList); 3] =
    [("one", SignatureList::One), ("commas", SignatureList::Commas), ("spaces", SignatureList::Spaces)];
const LIST_WORDS: [&str; 3] = words(&LISTS);
const UNITS: [(&str, TimeUnit); 2] = [("s", TimeUnit::Seconds), ("ms", TimeUnit::Milliseconds)];
const UNIT_WORDS: [&str; 2] = words(&UNITS);

static BY_HMAC: Shape = Shape {
    what: "`verify` with the scheme `hmac`",
    fields: &[
        SCHEME,
        KEY,
        required_field("header", "header: x-signature", Kind::Text(Form::Header), "The header that contains the signature."),
        optional_field(
            "algorithm",
            Kind::Choice(&ALGORITHM_WORDS),
            "The hash: `sha256` (default), `sha512`, or `sha1`, which is a warning.",
        ),
        optional_field(
            "encoding",
            Kind::Choice(&ENCODING_WORDS),
            "How the signature is encoded: `hex` (default), `base64` or `base64url`.",
        ),
        optional_field("prefix", Kind::Text(Form::Any), "The text before the signature in the header, for example `sha256=`."),
        optional_field(
            "parse",
            Kind::Choice(&LIST_WORDS),
            "What the header contains: `one` signature (default), or entries separated by `commas` or `spaces`. Those that begin with \
             `prefix` are signatures, and one of them must match.",
        ),
        optional_field(
            "timestamp",
            Kind::Fields(&TIMESTAMP),
            "Where the time of the signature is. A delivery whose time is further from the node's clock than `tolerance` is rejected.",
        ),
        optional_field("id", Kind::Text(Form::Header), "The header with the id of the delivery, if it is signed."),
        optional_field(
            "signed",
            Kind::Text(Form::Any),
            "What is signed, with `${body}`, `${timestamp}`, `${id}`, `${url}`, `${method}` and `${path}` for the parts of the delivery. The \
             default is `${body}`.",
        ),
        optional_field("tolerance", Kind::Text(Form::SomeTime), "The tolerance of `timestamp`, `5m` by default."),
    ],
    ..Shape::BARE
};

static TIMESTAMP: Shape = Shape {
    what: "`timestamp`",
    fields: &[
        optional_field("header", Kind::Text(Form::Header), "The header with the time."),
        optional_field("entry", Kind::Text(Form::Any), "The text before the time in an entry of the signature's header, for example `t=`."),
        optional_field("unit", Kind::Choice(&UNIT_WORDS), "What the time counts since 1970: `s` (default) or `ms`."),
    ],
    between: &[FieldConstraint::ExactlyOneOf(&["header", "entry"])],
    ..Shape::BARE
};

static BY_NOTHING: Shape = Shape { what: "`verify` with the scheme `none`", fields: &[SCHEME], ..Shape::BARE };

pub(super) const SCHEME: ShapeField = required_field(
    "scheme",
    "verify: { scheme: github, key: release.webhook_secret }",
    Kind::Text(Form::Any),
    "How a delivery proves its sender: the name of a vendor; `standard` (Standard Webhooks, Svix); `hmac`, a signature that the fields \
     next to it describe; `basic`, `bearer` or `header`, a token that the sender sends as it is; `sns`, `jwt` or `mtls`, for whose sender an authority \
     vouches; or `none`: anyone who knows the URL can create events.",
);

const KEY: ShapeField = required_field(
    "key",
    "key: release.webhook_secret",
    Kind::Text(Form::Ref),
    "The secret that the sender and the sensor share, as `<pack>.<name>`; for `discord` the public key of the application. It is listed \
     in the `keys` of `pack.yaml`, and has at least 16 bytes.",
);

pub(super) fn read(node: Node, file: &SourceText, report: &mut Report) -> Option<Verify> {
    let scheme = node.at("/scheme").and_then(|scheme| match &scheme.content {
        Content::Text { value, .. } => Some(WithSpan { value: value.clone(), span: scheme.span.clone() }),
        _ => None,
    });
    let word = scheme.as_ref().map(|scheme| scheme.value.as_str());
    let vendor = VENDORS.iter().find(|(name, _)| Some(*name) == word).map(|(_, scheme)| scheme.clone());
    match (word, vendor) {
        (_, Some(scheme)) => by_key(node, scheme, file, report),
        (Some("basic"), _) => by_key(node, Scheme::Basic, file, report),
        (Some("bearer"), _) => by_key(node, Scheme::Bearer, file, report),
        (Some("standard"), _) => by_key(node, Scheme::Standard, file, report),
        (Some("header"), _) => {
            let mut fields = FieldReader::open(node, &BY_HEADER, file, report)?;
            let key = read_key(&mut fields, report);
            let header = fields.take_required("header", report).and_then(|entry| text(entry.value, "`header`", file, report));
            Some(Verify::Proof { scheme: Scheme::Header(header_name(header?, file, report)?), key: key?, weak: None })
        }
        (Some("hmac"), _) => by_hmac(node, file, report),
        (Some("jwt"), _) => authorities::jwt(node, file, report),
        (Some("mtls"), _) => authorities::mtls(node, file, report),
        (Some("sns"), _) => authorities::sns(node, file, report),
        (Some("none"), _) => {
            let fields = FieldReader::open(node, &BY_NOTHING, file, report)?;
            Some(Verify::None(scheme.map_or(fields.start, |scheme| scheme.span)))
        }
        (Some(_) | None, None) => {
            report_unknown(node, file, report);
            None
        }
    }
}

fn report_unknown(node: Node, file: &SourceText, report: &mut Report) -> Option<()> {
    let mut fields = FieldReader::open(node, &BY_HMAC, file, report)?;
    let entry = fields.take_required("scheme", report)?;
    let scheme = text(entry.value, "`scheme`", file, report)?;
    report
        .error(Code::InvalidValue, file, scheme.span, format!("`{}` is not a signature scheme", scheme.value))
        .did_you_mean(nearest(&scheme.value, SCHEMES))
        .hint(format!("use one of {}", quote_names(&SCHEMES)));
    Some(())
}

fn by_key(node: Node, scheme: Scheme, file: &SourceText, report: &mut Report) -> Option<Verify> {
    let mut fields = FieldReader::open(node, &BY_KEY, file, report)?;
    Some(Verify::Proof { scheme, key: read_key(&mut fields, report)?, weak: None })
}

fn by_hmac(node: Node, file: &SourceText, report: &mut Report) -> Option<Verify> {
    let mut fields = FieldReader::open(node, &BY_HMAC, file, report)?;
    let key = read_key(&mut fields, report);
    let header = fields.take_required("header", report).and_then(|entry| text(entry.value, "`header`", file, report));
    let algorithm_at = fields.span_of("algorithm");
    let algorithm = fields.choice("algorithm", &ALGORITHMS, report).unwrap_or(HmacAlgorithm::Sha256);
    let encoding = fields.choice("encoding", &ENCODINGS, report).unwrap_or(SignatureEncoding::Hex);
    let prefix = fields.text("prefix", report).map_or(String::new(), |text| text.value);
    let parse = fields.choice("parse", &LISTS, report).unwrap_or(SignatureList::One);
    let id_at = fields.span_of("id");
    let id = match fields.text("id", report) {
        Some(id) => Some(header_name(id, file, report)?),
        None => None,
    };
    let timestamp_at = fields.span_of("timestamp");
    let timestamp = match fields.take("timestamp") {
        Some(entry) => Some(read_timestamp(entry.value, parse, file, report)?),
        None => None,
    };
    let signed = fields.text("signed", report);
    let tolerance_at = fields.span_of("tolerance");
    let tolerance = fields.duration("tolerance", report);
    let signed_at = signed.as_ref().map(|signed| signed.span.clone());
    let signed = signed.map_or(Some(vec![SignedPart::Body]), |signed| read_signed(&signed, file, report))?;
    for (part, name, given, at) in
        [(SignedPart::Timestamp, "timestamp", timestamp.is_some(), timestamp_at), (SignedPart::Id, "id", id.is_some(), id_at)]
    {
        let (at, message) = match (signed.contains(&part), given, &signed_at) {
            (true, false, Some(signed_at)) => (signed_at.clone(), format!("`signed` has `${{{name}}}`, but there is no `{name}`")),
            (false, true, _) => (at, format!("`{name}` is not signed, so anyone can change it")),
            _ => continue,
        };
        report
            .error(Code::InvalidValue, file, at, message)
            .hint(format!("name the place with `{name}`, and the part with `${{{name}}}` in `signed`; or remove both"));
        return None;
    }
    if tolerance.is_some() && timestamp.is_none() {
        report.error(Code::FieldOutOfPlace, file, tolerance_at, "`tolerance` needs a `timestamp`").hint("remove it");
        return None;
    }
    let scheme = Scheme::Hmac(Arc::new(HmacVerify {
        header: header_name(header?, file, report)?,
        algorithm,
        encoding,
        prefix,
        parse,
        signed,
        timestamp,
        id,
        tolerance_seconds: tolerance.map_or(TOLERANCE_SECONDS, |tolerance| u32::try_from(tolerance.as_secs()).unwrap_or(u32::MAX)),
    }));
    Some(Verify::Proof { scheme, key: key?, weak: (algorithm == HmacAlgorithm::Sha1).then_some(algorithm_at) })
}

fn read_timestamp(node: Node, parse: SignatureList, file: &SourceText, report: &mut Report) -> Option<SignatureTime> {
    let mut fields = FieldReader::open(node, &TIMESTAMP, file, report)?;
    let unit = fields.choice("unit", &UNITS, report).unwrap_or(TimeUnit::Seconds);
    let place = match (fields.text("header", report), fields.text("entry", report)) {
        (Some(header), None) => TimePlace::Header(header_name(header, file, report)?),
        (None, Some(entry)) if entry.value.is_empty() || parse == SignatureList::One => {
            report
                .error(Code::InvalidValue, file, entry.span, "`entry` is the text before the time in a header with several entries")
                .hint("for example `parse: commas`, `prefix: \"v1=\"` and `entry: \"t=\"`");
            return None;
        }
        (None, Some(entry)) => TimePlace::Entry(entry.value),
        (Some(_), Some(_)) | (None, None) => {
            report
                .error(Code::NotExactlyOne, file, fields.start.clone(), "`timestamp` needs either `header` or `entry`")
                .hint("for example `timestamp: { header: x-timestamp }`");
            return None;
        }
    };
    Some(SignatureTime { place, unit })
}

/// Reads a text with the parts of a delivery, such as `${body}`.
fn read_signed(signed: &WithSpan<String>, file: &SourceText, report: &mut Report) -> Option<Vec<SignedPart>> {
    let mut parts = Vec::new();
    let mut rest = signed.value.as_str();
    while let Some((before, after)) = rest.split_once("${") {
        let part = after.split_once('}').and_then(|(name, rest)| {
            let part = match name {
                "body" => SignedPart::Body,
                "timestamp" => SignedPart::Timestamp,
                "id" => SignedPart::Id,
                "url" => SignedPart::Url,
                "method" => SignedPart::Method,
                "path" => SignedPart::Path,
                _ => return None,
            };
            Some((part, rest))
        });
        let Some((part, after)) = part else {
            report
                .error(Code::InvalidValue, file, signed.span.clone(), "`signed` names a part that a delivery does not have")
                .hint("use `${body}`, `${timestamp}`, `${id}`, `${url}`, `${method}` and `${path}`, and other characters as they are");
            return None;
        };
        if !before.is_empty() {
            parts.push(SignedPart::Text(before.to_owned()));
        }
        parts.push(part);
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(SignedPart::Text(rest.to_owned()));
    }
    if parts.contains(&SignedPart::Body) {
        return Some(parts);
    }
    report
        .error(Code::InvalidValue, file, signed.span.clone(), "`signed` does not contain `${body}`, so anyone could change the body")
        .hint("for example `signed: \"${timestamp}.${body}\"`");
    None
}

fn read_key(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<WithSpan<String>> {
    let entry = fields.take_required("key", report)?;
    text(entry.value, "`key`", fields.file, report)
}

pub(super) fn header_name(header: WithSpan<String>, file: &SourceText, report: &mut Report) -> Option<String> {
    let is_header = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !header.value.is_empty() && header.value.bytes().all(is_header) {
        return Some(header.value.to_ascii_lowercase());
    }
    report
        .error(Code::InvalidValue, file, header.span, format!("`{}` is not a valid header name", header.value))
        .hint("use letters, digits and `-`, for example `x-signature`");
    None
}
