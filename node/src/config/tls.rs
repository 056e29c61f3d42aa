//! The files of the node's certificate. They are read elsewhere, because they change while the node runs.

use std::path::PathBuf;

use ensue_derive::Settings;
use serde::Deserialize;

use super::paths::NamedPaths;
use super::setting::required;

/// The files for TLS, as the operator sets them. Without a certificate and a key, the node serves plain HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// The file of the certificate and its intermediate certificates.
    pub cert: Option<PathBuf>,
    /// The file of the certificate's private key.
    pub key: Option<PathBuf>,
    /// The file of the authorities whose certificates callers must have; if not set, callers need none.
    pub client_ca: Option<PathBuf>,
}

/// The `tls` section as written in the file.
#[derive(Debug, Default, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenTls {
    /// The file of the certificate and its intermediate certificates, in the PEM format.
    #[setting(variable = "ENSUE_TLS_CERT", required)]
    #[serde(deserialize_with = "required")]
    cert: Option<PathBuf>,
    /// The file of the certificate's private key, in the PEM format and without a password.
    #[setting(variable = "ENSUE_TLS_KEY", required)]
    #[serde(deserialize_with = "required")]
    key: Option<PathBuf>,
    /// The file of authorities, in the PEM format. Every caller must have a certificate of one of them. Default: callers need
    /// none.
    #[setting(variable = "ENSUE_TLS_CLIENT_CA")]
    client_ca: Option<PathBuf>,
}

impl WrittenTls {
    /// Applies the files that are written. The certificate is hidden like its key, because the same file may have both.
    pub(super) fn over(self, settings: &mut TlsSettings, paths: &mut NamedPaths) {
        let Self { cert, key, client_ca } = self;
        if let Some(cert) = cert {
            settings.cert = Some(paths.hide(cert));
        }
        if let Some(key) = key {
            settings.key = Some(paths.hide(key));
        }
        if let Some(client_ca) = client_ca {
            settings.client_ca = Some(paths.share(client_ca));
        }
    }
}

impl TlsSettings {
    /// Returns true if TLS is to be served.
    pub fn is_set(&self) -> bool {
        self != &Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn files_are_relative_to_the_settings_file_and_variables_override_them() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("ensue.yaml");
        std::fs::write(&file, "tls: { cert: node.pem, key: /etc/node.key }").unwrap();
        let variables = [("ENSUE_TLS_KEY".to_owned(), "other.key".to_owned())];
        let config = Config::read(Some(&file), variables.into_iter()).unwrap();
        let expected = TlsSettings { cert: Some(folder.path().join("node.pem")), key: Some("other.key".into()), client_ca: None };
        assert_eq!(config.tls, expected);
        assert!(config.hidden_paths().contains(&"other.key".into()), "no program may read it");
        assert_eq!(config.url_at(([127, 0, 0, 1], 1).into()), "https://127.0.0.1:1");
        std::fs::write(&file, "tls: { cert: node.pem }").unwrap();
        assert!(Config::read(Some(&file), [].into_iter()).unwrap_err().to_string().contains("key"));
    }
}
