//! The issuers whose tokens the node accepts. The crate `login` defines and checks the settings.

use std::collections::BTreeMap;

use ensue_derive::Settings;
use ensue_engine::names::IssuerName;
use ensue_login::certificates::{CertificateSettings, WrittenCertificates};
use ensue_login::proxy::{ProxySettings, WrittenProxy};
use ensue_login::settings::{KeysFrom, SecretSource};
use ensue_login::{IssuerSettings, SettingsError, WrittenIssuer, check_issuers};
use serde::Deserialize;

use super::paths::NamedPaths;

/// Whether terminals may log in by device codes (RFC 8628).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceLogins {
    /// They may.
    #[default]
    Allowed,
    /// They may not.
    Off,
}

/// The ways in, as the operator sets them.
#[derive(Clone, Debug, Default)]
pub struct LoginSettings {
    /// The issuers whose tokens are accepted.
    pub issuers: Vec<IssuerSettings>,
    /// The proxy that names callers.
    pub proxy: Option<ProxySettings>,
    /// The client certificates that name callers.
    pub certificates: Option<CertificateSettings>,
    /// Whether terminals may log in by device codes.
    pub device: DeviceLogins,
    /// Whether persons log in with passwords.
    pub password: PasswordLogin,
}

/// Whether persons log in with passwords.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PasswordLogin {
    /// They do.
    On,
    /// They do not.
    #[default]
    Off,
}

/// Whether there are links with which one person answers one inquiry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InquiryLinks {
    /// There are.
    #[default]
    On,
    /// There are none.
    Off,
}

/// The `inquiries` section as written in the file.
#[derive(Debug, Default, Deserialize, Settings)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WrittenInquiries {
    /// Whether a link can let one person answer one inquiry without a login. Default: `true`.
    links: Option<bool>,
}

impl WrittenInquiries {
    /// Returns whether there are links.
    pub(super) fn links(&self) -> InquiryLinks {
        if self.links == Some(false) { InquiryLinks::Off } else { InquiryLinks::On }
    }
}

/// The `login` section as written in the file.
#[derive(Debug, Default, Deserialize, Settings)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WrittenLogin {
    /// The issuers whose tokens the node accepts, by a name that you choose.
    issuers: BTreeMap<String, WrittenIssuer>,
    /// A trusted proxy that names the callers of the requests which it passes on.
    proxy: Option<WrittenProxy>,
    /// The client certificates that name callers.
    certificates: Option<WrittenCertificates>,
    /// Whether terminals may log in by device codes. Default: true.
    device: Option<bool>,
    /// Whether persons log in with passwords. Default: `false`.
    password: bool,
}

impl LoginSettings {
    /// Returns the sources of identities that are not issuers of tokens.
    pub(crate) fn others(&self) -> Vec<IssuerName> {
        let proxy = self.proxy.as_ref().map(|_| IssuerName::proxy());
        proxy.into_iter().chain(self.certificates.as_ref().map(|_| IssuerName::certificate())).collect()
    }
}

impl WrittenLogin {
    /// Checks the section.
    pub(super) fn read(self, paths: &mut NamedPaths) -> Result<LoginSettings, SettingsError> {
        let mut issuers = check_issuers(self.issuers)?;
        if let Some(issuer) = issuers.iter().find(|issuer| issuer.session_max.is_some() && issuer.client.is_none()) {
            let setting = format!("login.issuers.{}.session_max", issuer.name);
            return Err(SettingsError::Invalid { setting, why: "it is for `browser`, which `use` does not have".to_owned() });
        }
        for issuer in &mut issuers {
            issuer.ca = issuer.ca.take().map(|ca| paths.share(ca));
            if let Some(SecretSource::File(file)) = issuer.client.as_mut().and_then(|client| client.secret.as_mut()) {
                *file = paths.hide(&*file);
            }
            if let KeysFrom::File(file) = &mut issuer.keys_from {
                *file = paths.hide(&*file);
            }
        }
        let device = if self.device == Some(false) { DeviceLogins::Off } else { DeviceLogins::Allowed };
        let password = if self.password { PasswordLogin::On } else { PasswordLogin::Off };
        let mut proxy = self.proxy.map(ProxySettings::check).transpose()?;
        if let Some(SecretSource::File(file)) = proxy.as_mut().map(|proxy| &mut proxy.secret) {
            *file = paths.hide(&*file);
        }
        let mut certificates = self.certificates.map(CertificateSettings::check).transpose()?;
        if let Some(certificates) = &mut certificates {
            certificates.ca = paths.share(&certificates.ca);
        }
        Ok(LoginSettings { issuers, proxy, certificates, device, password })
    }
}

#[cfg(test)]
mod tests {
    use ensue_engine::explain::Explain;

    use super::*;
    use crate::config::{Config, ConfigError};

    fn read(text: &str) -> Result<(Config, tempfile::TempDir), ConfigError> {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("ensue.yaml");
        std::fs::write(&file, text).unwrap();
        Config::read(Some(&file), [].into_iter()).map(|config| (config, folder))
    }

    const CORP: &str = "\
login:
  issuers:
    corp:
      issuer: https://id.example.test/realms/corp
      use: [bearer]
      audience: https://ensue.example.test
      allow: claims.email_verified
      name: claims.preferred_username
      groups: claims.?groups.orValue(null)
      ca: corp.pem
      keys_from: { file: keys.json }
";

    #[test]
    fn files_of_an_issuer_are_relative_to_the_settings_file() {
        let (config, folder) = read(CORP).unwrap();
        let file = |name: &str| folder.path().join(name);
        let [corp] = &config.login.issuers[..] else { panic!("{:?}", config.login) };
        assert_eq!((corp.ca.as_ref(), &corp.keys_from), (Some(&file("corp.pem")), &KeysFrom::File(file("keys.json"))));
    }

    #[test]
    fn client_secret_in_a_file_is_hidden_from_programs() {
        let browser = "use: [browser, bearer]\n      client_id: ensue\n      client_secret: { file: corp.secret }\n      session_max: 12h";
        let (config, folder) = read(&CORP.replace("use: [bearer]", browser)).unwrap();
        assert!(config.hidden_paths().contains(&folder.path().join("corp.secret")), "{:?}", config.hidden_paths());
    }

    #[test]
    fn mistakes_in_the_settings_of_an_issuer_are_reported_with_their_place() {
        let cases = [
            ("      allow: claims.email_verified\n", "", "`login.issuers.corp.allow` is missing"),
            ("claims.email_verified", "claims.email_verified &&", "`login.issuers.corp.allow`, line 1, column 25"),
            ("https://id", "http://id", "`login.issuers.corp.issuer` is not valid"),
            ("use: [bearer]", "use: [browsers]", "line 5"),
            ("use: [bearer]", "use: [browser, bearer]", "`login.issuers.corp.client_id` is missing"),
            ("use: [bearer]", "use: [bearer]\n      refresh: true", "it is for `browser`"),
            ("use: [bearer]", "use: [bearer]\n      session_max: 12h", "it is for `browser`"),
            ("ca: corp.pem", "cas: corp.pem", "unknown field `cas`"),
            ("    corp:", "    local:", "`local` is not a valid name for an issuer"),
        ];
        for (old, new, expected) in cases {
            let text = CORP.replace(old, new);
            assert_ne!(text, CORP);
            let error = read(&text).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(error.slug(), "config-invalid");
        }
    }
}
