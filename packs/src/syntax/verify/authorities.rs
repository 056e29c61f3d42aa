//! Schemes without a key of the node: an authority vouches for the sender.

use ensue_engine::catalog::{JwtVerify, MtlsVerify, SenderAuthority, SnsVerify, SnsVersion1, VOUCHED_MAX};

use super::{SCHEME, Verify, header_name};
use crate::diagnostics::{Code, Report};
use crate::fields::{FieldReader, is_scalar, text};
use crate::shape::{Form, Kind, Shape, optional_field, required_field};
use crate::source::SourceText;
use crate::yaml::{Node, WithSpan};

/// The default of `leeway`, in seconds.
const LEEWAY_SECONDS: u32 = 60;
/// The maximum of `leeway`, in seconds.
const LEEWAY_SECONDS_MAX: u32 = 600;
/// The longest URL, ARN or name, in bytes.
const TEXT_BYTES_MAX: usize = 2_048;

pub(in crate::syntax) static SNS: Shape = Shape {
    what: "`verify` with the scheme `sns`",
    fields: &[
        SCHEME,
        required_field(
            "topics",
            "topics: [\"arn:aws:sns:eu-west-1:123456789012:alarms\"]",
            Kind::Texts { of: Form::Any, least: 1 },
            "The ARNs of the topics whose messages are accepted. Amazon SNS signs for everybody who has a topic.",
        ),
        optional_field("sha1", Kind::Boolean, "If `true`, signatures of version 1 are accepted too. They use SHA-1, which is a warning."),
        optional_field(
            "hosts",
            Kind::Texts { of: Form::Any, least: 1 },
            "The hosts of certificates, for a server that is compatible with Amazon SNS, for example `sns.example.test:8443`. By default \
             the host of Amazon SNS in the topic's region.",
        ),
    ],
    ..Shape::BARE
};

pub(in crate::syntax) static JWT: Shape = Shape {
    what: "`verify` with the scheme `jwt`",
    fields: &[
        SCHEME,
        required_field(
            "issuer",
            "issuer: https://accounts.google.com",
            Kind::Text(Form::Any),
            "The issuer of the token in `Authorization: Bearer`, exactly as tokens have it in `iss`.",
        ),
        required_field(
            "audience",
            "audience: [\"https://ensue.example.test\"]",
            Kind::Texts { of: Form::Any, least: 1 },
            "For whom the token must be: one of these is in its `aud`.",
        ),
        optional_field(
            "jwks",
            Kind::Text(Form::Any),
            "The URL of the issuer's keys. By default, the issuer's discovery document has it, and it is on the issuer's host.",
        ),
        optional_field(
            "claims",
            Kind::Mapping { names: Form::Any, of: &Kind::Scalar },
            "Claims that the token must have, with these values, for example `email`. Many issuers sign for everybody, so that the audience \
             alone does not prove the sender.",
        ),
        optional_field("leeway", Kind::Text(Form::SomeTime), "How far the clocks may differ, at most `10m`; `60s` by default."),
    ],
    ..Shape::BARE
};

pub(in crate::syntax) static MTLS: Shape = Shape {
    what: "`verify` with the scheme `mtls`",
    fields: &[
        SCHEME,
        optional_field(
            "names",
            Kind::Texts { of: Form::Any, least: 1 },
            "The names of client certificates: the subject, for example `CN=hooks,O=Example`, or an alternative name with its kind, for \
             example `dns:hooks.example.test`.",
        ),
        optional_field(
            "fingerprints",
            Kind::Texts { of: Form::Any, least: 1 },
            "The SHA-256 fingerprints of client certificates, as lower-case hexadecimal digits.",
        ),
        optional_field(
            "header",
            Kind::Text(Form::Header),
            "The header in which one of the `trusted_proxies` reports the subject or the fingerprint. By default, the node itself ends TLS.",
        ),
    ],
    ..Shape::BARE
};

pub(super) fn sns(node: Node, file: &SourceText, report: &mut Report) -> Option<Verify> {
    let mut fields = FieldReader::open(node, &SNS, file, report)?;
    let topics = texts(&mut fields, "topics", is_topic, "the ARN of a topic", report);
    let hosts = optional_texts(&mut fields, "hosts", is_host, "a host, or a host and a port", report);
    let sha1_at = fields.span_of("sha1");
    let is_version_1 = fields.boolean("sha1", report).unwrap_or(false);
    let version_1 = if is_version_1 { SnsVersion1::Accepted } else { SnsVersion1::Refused };
    let vouched = SenderAuthority::Sns(SnsVerify { topics: topics?, hosts: hosts?, version_1 });
    Some(Verify::Vouched { vouched, weak: is_version_1.then_some(sha1_at) })
}

pub(super) fn jwt(node: Node, file: &SourceText, report: &mut Report) -> Option<Verify> {
    let mut fields = FieldReader::open(node, &JWT, file, report)?;
    let issuer = fields.take_required("issuer", report).and_then(|entry| text(entry.value, "`issuer`", file, report));
    let issuer = issuer.and_then(|issuer| url(issuer, file, report));
    let audience = texts(&mut fields, "audience", |text| !text.is_empty(), "an audience", report);
    let jwks = match fields.text("jwks", report) {
        Some(jwks) => url(jwks, file, report).map(Some),
        None => Some(None),
    };
    let claims_at = fields.span_of("claims");
    let mut claims = Vec::new();
    let mut are_values = true;
    for entry in fields.mapping("claims", report).unwrap_or_default() {
        are_values &= is_scalar(&entry.value, &format!("`{}`", entry.key.value), file, report);
        claims.push((entry.key.value, entry.value.to_value()));
    }
    if !are_values {
        return None;
    }
    if claims.len() > VOUCHED_MAX {
        report.error(Code::InvalidValue, file, claims_at, format!("`claims` has {} claims; the limit is {VOUCHED_MAX}", claims.len()));
        return None;
    }
    let leeway_at = fields.span_of("leeway");
    let leeway = fields.duration("leeway", report).map_or(u64::from(LEEWAY_SECONDS), |leeway| leeway.as_secs());
    let leeway_seconds = u32::try_from(leeway).ok().filter(|seconds| *seconds <= LEEWAY_SECONDS_MAX);
    if leeway_seconds.is_none() {
        report.error(Code::InvalidValue, file, leeway_at, "`leeway` is longer than `10m`").hint("correct the clocks");
    }
    let vouched =
        SenderAuthority::Jwt(JwtVerify { issuer: issuer?, audience: audience?, jwks: jwks?, claims, leeway_seconds: leeway_seconds? });
    Some(Verify::Vouched { vouched, weak: None })
}

pub(super) fn mtls(node: Node, file: &SourceText, report: &mut Report) -> Option<Verify> {
    let mut fields = FieldReader::open(node, &MTLS, file, report)?;
    let names = optional_texts(&mut fields, "names", |text| !text.is_empty(), "a name", report);
    let fingerprints = optional_texts(&mut fields, "fingerprints", is_fingerprint, "a SHA-256 in lower-case hexadecimal digits", report);
    let header = match fields.text("header", report) {
        Some(header) => header_name(header, file, report).map(Some),
        None => Some(None),
    };
    let (names, fingerprints) = (names?, fingerprints?);
    if names.is_empty() && fingerprints.is_empty() {
        report
            .error(Code::MissingField, file, fields.start.clone(), "`mtls` needs `names` or `fingerprints`, or every certificate would do")
            .hint("for example `names: [\"dns:hooks.example.test\"]`");
        return None;
    }
    Some(Verify::Vouched { vouched: SenderAuthority::Mtls(MtlsVerify { names, fingerprints, header: header? }), weak: None })
}

fn texts(fields: &mut FieldReader<'_>, name: &str, is_good: impl Fn(&str) -> bool, what: &str, report: &mut Report) -> Option<Vec<String>> {
    if !fields.has(name) {
        fields.take_required(name, report);
        return None;
    }
    optional_texts(fields, name, is_good, what, report)
}

/// Takes a list of texts; without the field, it is empty.
fn optional_texts(
    fields: &mut FieldReader<'_>,
    name: &str,
    is_good: impl Fn(&str) -> bool,
    what: &str,
    report: &mut Report,
) -> Option<Vec<String>> {
    if !fields.has(name) {
        return Some(Vec::new());
    }
    let place = fields.span_of(name);
    let written = fields.texts(name, report)?;
    if written.is_empty() || written.len() > VOUCHED_MAX {
        let message = format!("`{name}` has {} items; write 1 to {VOUCHED_MAX}", written.len());
        report.error(Code::InvalidValue, fields.file, place, message);
        return None;
    }
    for text in &written {
        if !is_good(&text.value) || text.value.len() > TEXT_BYTES_MAX {
            report.error(Code::InvalidValue, fields.file, text.span.clone(), format!("`{}` is not {what}", text.value));
            return None;
        }
    }
    Some(written.into_iter().map(|text| text.value).collect())
}

/// Demands a URL that nobody on the way can change, or of this machine.
fn url(url: WithSpan<String>, file: &SourceText, report: &mut Report) -> Option<String> {
    let of_this_machine = ["http://127.0.0.1:", "http://localhost:"];
    let rest = url.value.strip_prefix("https://").or_else(|| of_this_machine.iter().find_map(|start| url.value.strip_prefix(start)));
    let is_plain = |rest: &str| !rest.is_empty() && !rest.starts_with('/') && !rest.contains(['@', '#', ' ']) && rest.is_ascii();
    if rest.is_some_and(is_plain) && url.value.len() <= TEXT_BYTES_MAX {
        return Some(url.value);
    }
    report
        .error(Code::InvalidValue, file, url.span, format!("`{}` is not a URL that begins with `https://`", url.value))
        .hint("keys that come unencrypted prove nothing; `http://` is accepted for `127.0.0.1` and `localhost` with a port only");
    None
}

fn is_topic(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    matches!(parts.as_slice(), ["arn", partition, "sns", region, account, topic]
        if [partition, region, account, topic].iter().all(|part| !part.is_empty() && part.is_ascii()))
}

fn is_host(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "443"));
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte)) && port.parse::<u16>().is_ok()
}

fn is_fingerprint(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
