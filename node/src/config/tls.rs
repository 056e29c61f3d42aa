//! The files of the node's certificate. They are read elsewhere, because they change while the node runs.

use std::path::{Path, PathBuf};

use serde::Deserialize;

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
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenTls {
    cert: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

impl WrittenTls {
    /// Returns the settings; the paths are relative to `base`.
    pub(super) fn read(self, base: &Path) -> TlsSettings {
        let Self { cert, key, client_ca } = self;
        TlsSettings { cert: Some(base.join(cert)), key: Some(base.join(key)), client_ca: client_ca.map(|path| base.join(path)) }
    }
}

impl TlsSettings {
    /// Returns true if TLS is to be served.
    pub fn is_set(&self) -> bool {
        self != &Self::default()
    }

    /// Takes a variable, and returns whether it is one of these settings.
    pub(super) fn take_variable(&mut self, name: &str, value: &str) -> bool {
        let setting = match name {
            "ENSUE_TLS_CERT" => &mut self.cert,
            "ENSUE_TLS_KEY" => &mut self.key,
            "ENSUE_TLS_CLIENT_CA" => &mut self.client_ca,
            _ => return false,
        };
        *setting = Some(PathBuf::from(value));
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
        assert!(config.secret_files().any(|secret| secret == Path::new("other.key")), "no program may read it");
        assert_eq!(config.url_at(([127, 0, 0, 1], 1).into()), "https://127.0.0.1:1");
        std::fs::write(&file, "tls: { cert: node.pem }").unwrap();
        assert!(Config::read(Some(&file), [].into_iter()).unwrap_err().to_string().contains("key"));
    }
}
