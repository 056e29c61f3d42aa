//! The certificates of a connection to a node: which of the node's are trusted, and the caller's own.

use std::path::{Path, PathBuf};

use crate::report::{Exit, Failure};

/// The variable that names the file of trusted authorities.
pub(crate) const CA_VARIABLE: &str = "ENSUE_CA";
/// The variable that names the file of the caller's own certificate.
pub(crate) const CLIENT_CERT_VARIABLE: &str = "ENSUE_CLIENT_CERT";

/// The files with the certificates of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trust {
    /// The file of the authorities that may have issued the node's certificate; without it, those that this machine trusts.
    pub(crate) ca: Option<PathBuf>,
    /// The file of the caller's own certificate and its key, for a node that requires one.
    pub(crate) client_cert: Option<PathBuf>,
}

impl Trust {
    /// Fills in the files that are not set yet from others.
    pub(crate) fn or(self, others: &Self) -> Self {
        Self { ca: self.ca.or_else(|| others.ca.clone()), client_cert: self.client_cert.or_else(|| others.client_cert.clone()) }
    }

    /// Reads the trusted authorities; `None` if the machine decides.
    pub(crate) fn authorities(&self) -> Result<Option<Vec<reqwest::Certificate>>, Failure> {
        let Some(path) = &self.ca else { return Ok(None) };
        let read = reqwest::Certificate::from_pem_bundle(&bytes_of(path)?);
        match read {
            Ok(authorities) if !authorities.is_empty() => Ok(Some(authorities)),
            Ok(_) | Err(_) => Err(unusable(path, "it has no certificate in the PEM format")),
        }
    }

    /// Reads the caller's own certificate; `None` if it has none.
    pub(crate) fn own(&self) -> Result<Option<reqwest::Identity>, Failure> {
        let Some(path) = &self.client_cert else { return Ok(None) };
        let own = reqwest::Identity::from_pem(&bytes_of(path)?);
        own.map(Some).map_err(|_| unusable(path, "it must have a certificate and its private key in the PEM format"))
    }
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| unusable(path, &error.to_string()))
}

fn unusable(path: &Path, why: &str) -> Failure {
    Failure::with(Exit::Usage, format!("the certificate file `{}` cannot be used: {why}", path.display()))
        .hint(format!("name another with --ca or {CA_VARIABLE}, or --client-cert or {CLIENT_CERT_VARIABLE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_file_without_a_certificate_is_a_usage_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, "no certificate").unwrap();
        for path in [file, folder.path().join("nothing")] {
            let trust = Trust { ca: Some(path.clone()), client_cert: Some(path) };
            assert_eq!(trust.authorities().unwrap_err().exit(), Exit::Usage);
            assert_eq!(trust.own().unwrap_err().exit(), Exit::Usage);
        }
    }
}
