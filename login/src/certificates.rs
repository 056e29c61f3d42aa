//! Identities of client certificates: `login.certificates`.
//!
//! The node ends TLS and has verified the chain. What is decided here is whom the certificate admits.

use std::path::PathBuf;

use ensue_engine::explain::Explain;
use ensue_expression::{Budget, Document, Expression, Roots, Scope, Value};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::refusal::shown;
use crate::rules::{RULE_STEPS_MAX, check_name};
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
        let refused = |setting, why: String| CertificateRefused { setting, why: shown(&why) };
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
