//! Identities of client certificates: `login.certificates`.
//!
//! The node ends TLS and has verified the chain. This module decides which caller the certificate admits.

use std::net::IpAddr;
use std::path::PathBuf;

use ensue_engine::explain::Explain;
use ensue_expression::{Budget, Document, Expression, Roots, Scope, Value};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use x509_parser::prelude::{AttributeTypeAndValue, FromDer as _, GeneralName, X509Certificate, X509Name};

use crate::claim_rules::{RULE_STEPS_MAX, check_name};
use crate::refusal::to_short_line;
use crate::settings::{SettingsError, compile};

/// The setting `login.certificates` as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "`CertificateSettings` describes the fields")]
pub struct WrittenCertificates {
    pub ca: PathBuf,
    pub allow: String,
    pub name: String,
}

/// The setting `login.certificates`, checked.
#[derive(Clone, Debug)]
pub struct CertificateSettings {
    /// A file with the certificates of the authorities that may sign.
    pub ca: PathBuf,
    allow: Expression,
    name: Expression,
}

/// A certificate whose chain was verified, as expressions see it under the name `cert`.
#[derive(Clone, Debug, Serialize)]
pub struct Certificate {
    /// The distinguished name of the subject (RFC 4514).
    pub subject: String,
    /// The alternative names, such as `dns:ci.example.test`.
    pub san: Vec<String>,
    /// The SHA-256 of the certificate, as lower-case hexadecimal digits.
    pub fingerprint: String,
}

/// The certificate admits nobody.
#[derive(Clone, Debug, PartialEq, Eq, Error, Explain)]
#[error("`login.certificates.{setting}` does not admit this certificate: {why}")]
#[explain(slug = "claims-refused", fault = Forbidden, hint = "compare the certificate with the settings `allow` and `name`")]
pub struct CertificateRefused {
    /// `allow` or `name`.
    pub setting: &'static str,
    /// What happened.
    pub why: String,
}

impl Certificate {
    /// Reads a certificate in the DER format.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(der: &[u8]) -> Result<Self, CertificateRefused> {
        let unreadable = |why: String| CertificateRefused { setting: "allow", why: to_short_line(&why) };
        let (_, read) = X509Certificate::from_der(der).map_err(|error| unreadable(error.to_string()))?;
        let san = match read.subject_alternative_name().map_err(|error| unreadable(error.to_string()))? {
            Some(extension) => extension.value.general_names.iter().filter_map(alternative).collect(),
            None => Vec::new(),
        };
        Ok(Self { subject: render_distinguished_name(read.subject()), san, fingerprint: hex::encode(Sha256::digest(der)) })
    }
}

/// Returns an alternative name as expressions see it.
fn alternative(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(format!("dns:{name}")),
        GeneralName::RFC822Name(name) => Some(format!("email:{name}")),
        GeneralName::URI(name) => Some(format!("uri:{name}")),
        GeneralName::IPAddress(bytes) => {
            let address = match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes).ok().map(IpAddr::from),
                16 => <[u8; 16]>::try_from(*bytes).ok().map(IpAddr::from),
                _ => None,
            };
            address.map(|address| format!("ip:{address}"))
        }
        _ => None,
    }
}

/// Writes a name as RFC 4514 does, and in the order of OpenSSL: the last part first.
fn render_distinguished_name(name: &X509Name<'_>) -> String {
    let attribute =
        |attribute: &AttributeTypeAndValue<'_>| match (attribute_short_name(&attribute.attr_type().to_id_string()), attribute.as_str()) {
            (Some(kind), Ok(text)) => format!("{kind}={}", escape_value(text)),
            (kind, _) => {
                let kind = kind.map_or_else(|| attribute.attr_type().to_id_string(), str::to_owned);
                format!("{kind}=#{}", hex::encode(attribute.as_slice()))
            }
        };
    let reversed = |parts: Vec<String>, separator: &str| parts.into_iter().rev().collect::<Vec<_>>().join(separator);
    reversed(name.iter_rdn().map(|part| reversed(part.iter().map(attribute).collect(), "+")).collect(), ",")
}

/// Returns the short names of RFC 4514, section 3.
fn attribute_short_name(id: &str) -> Option<&'static str> {
    Some(match id {
        "2.5.4.3" => "CN",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.6" => "C",
        "2.5.4.9" => "STREET",
        "0.9.2342.19200300.100.1.25" => "DC",
        "0.9.2342.19200300.100.1.1" => "UID",
        _ => return None,
    })
}

/// Escapes a value, so that no value can look like another part of the name.
fn escape_value(text: &str) -> String {
    let last = text.chars().count().saturating_sub(1);
    let mut escaped = String::with_capacity(text.len());
    for (at, c) in text.chars().enumerate() {
        let is_special =
            matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=') || (at == 0 && matches!(c, ' ' | '#')) || (at == last && c == ' ');
        match c {
            '\0' => escaped.push_str("\\00"),
            _ if is_special => escaped.extend(['\\', c]),
            _ => escaped.push(c),
        }
    }
    escaped
}

impl CertificateSettings {
    /// Checks the setting.
    ///
    /// # Errors
    /// If an expression does not compile.
    pub fn check(written: WrittenCertificates) -> Result<Self, SettingsError> {
        let roots = Roots::new(["cert"]);
        Ok(Self {
            ca: written.ca,
            allow: compile("login.certificates.allow", &written.allow, &roots)?,
            name: compile("login.certificates.name", &written.name, &roots)?,
        })
    }

    /// Returns the name of the identity that the certificate admits.
    ///
    /// # Errors
    /// If `allow` is not true, or `name` is not a valid name.
    pub fn admit(&self, certificate: &Certificate) -> Result<String, CertificateRefused> {
        let refused = |setting, why: String| CertificateRefused { setting, why: to_short_line(&why) };
        let value = serde_json::to_value(certificate).map_err(|error| refused("allow", error.to_string()))?;
        let document = Document::from_value(&value);
        let scope = Scope::new().with("cert", Value::from(document.root()));
        match self.allow.holds(&scope, &mut Budget::steps(RULE_STEPS_MAX)) {
            Ok(true) => {}
            Ok(false) => return Err(refused("allow", "it is false".to_owned())),
            Err(error) => return Err(refused("allow", error.to_string())),
        }
        let value = self.name.evaluate(&scope, &mut Budget::steps(RULE_STEPS_MAX)).map_err(|error| refused("name", error.to_string()))?;
        let name = value.as_str().ok_or_else(|| refused("name", format!("it is not a text but {}", value.brief())))?;
        check_name(&name).map_err(|why| refused("name", why))?;
        Ok(name.into_owned())
    }
}
