//! The files of the node's certificate. They are read elsewhere, because they change while the node runs.

use std::path::PathBuf;

use ensue_derive::Settings;
use serde::Deserialize;

use super::paths::NamedPaths;

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
#[derive(Debug, Deserialize, Settings)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenTls {
    /// The file of the certificate and its intermediate certificates, in the PEM format.
    #[setting(variable = "ENSUE_TLS_CERT")]
    cert: PathBuf,
    /// The file of the certificate's private key, in the PEM format and without a password.
    #[setting(variable = "ENSUE_TLS_KEY")]
    key: PathBuf,
    /// The file of authorities, in the PEM format. Every caller must have a certificate of one of them. Default: callers need
    /// none.
    #[setting(variable = "ENSUE_TLS_CLIENT_CA")]
    client_ca: Option<PathBuf>,
}

impl WrittenTls {
    /// Returns the settings. The certificate is hidden like its key, because the same file may have both.
    pub(super) fn read(self, paths: &mut NamedPaths) -> TlsSettings {
        let Self { cert, key, client_ca } = self;
        let client_ca = client_ca.map(|path| paths.share(path));
        TlsSettings { cert: Some(paths.hide(cert)), key: Some(paths.hide(key)), client_ca }
    }
}

impl TlsSettings {
    /// Returns true if TLS is to be served.
    pub fn is_set(&self) -> bool {
        self != &Self::default()
    }

    /// Takes a variable, and returns whether it is one of these settings.
    pub(super) fn take_variable(&mut self, name: &str, value: &str, paths: &mut NamedPaths) -> bool {
        match name {
            "ENSUE_TLS_CERT" => self.cert = Some(paths.hide(value)),
            "ENSUE_TLS_KEY" => self.key = Some(paths.hide(value)),
            "ENSUE_TLS_CLIENT_CA" => self.client_ca = Some(paths.share(value)),
            _ => return false,
        }
        true
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
