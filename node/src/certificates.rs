//! The node's certificate: read at the start, and again when its files change.
//!
//! A certificate that cannot be used never replaces one that works.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ensue_api::server::Tls;
use ensue_engine::explain::Explain;
use ensue_engine::ports::Secret;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::config::TlsSettings;

/// How often the files are read.
const READ_EVERY: Duration = Duration::from_secs(60);
/// The maximum size of each file, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why TLS cannot be served with the operator's files.
#[derive(Clone, Debug, PartialEq, Eq, Error, Explain)]
#[non_exhaustive]
#[explain(slug = "tls-unusable", fault = Malformed)]
pub enum TlsError {
    /// Not all files are named.
    #[error("the setting `tls.{missing}` is missing")]
    #[explain(hint = "set `tls.cert` and `tls.key`, or remove all settings of `tls` to serve plain HTTP")]
    Missing {
        /// The setting.
        missing: &'static str,
    },
    /// A file cannot be read.
    #[error("the file `{}` of `{setting}` cannot be read: {why}", .path.display())]
    #[explain(hint = "check the path, and that the node's user may read the file")]
    Unreadable {
        /// The setting that names the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A file has the wrong content.
    #[error("the file `{}` of `{setting}` has no {wanted} in the PEM format: {why}", .path.display())]
    #[explain(hint = "the file must begin with a line like `-----BEGIN …-----`; a key must not have a password")]
    NotPem {
        /// The setting that names the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// The expected content.
        wanted: &'static str,
        /// Why.
        why: String,
    },
    /// The certificate and the key cannot be used together.
    #[error("the certificate in `{}` and the key in `{}` cannot be used: {why}", .cert.display(), .key.display())]
    #[explain(hint = "use the key that the certificate was issued for; the certificate comes first in its file, then its intermediates")]
    Mismatch {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// Why.
        why: String,
    },
    /// The authorities of callers cannot be used.
    #[error("the authorities in `{}` of `{setting}` cannot be used: {why}", .path.display())]
    #[explain(hint = "the file must contain the certificates of the authorities that issue your clients' certificates")]
    ClientCa {
        /// The setting that names the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// The result of reading the files again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateNews {
    /// New connections get the new certificate.
    Replaced,
    /// The files are the same. Reported only if somebody asked for it.
    Unchanged,
    /// The new files cannot be used; the old certificate stays.
    Refused(TlsError),
}

/// The node's certificate, and its files.
#[derive(Debug)]
pub struct Certificates {
    settings: TlsSettings,
    naming: Option<NamingAuthorities>,
    tls: Tls,
    /// The digest of the files that were read last, even if they were refused; `None` if they could not be read.
    seen: Option<[u8; 32]>,
}

impl Certificates {
    /// Reads the files. `naming` is the file of the authorities whose certificates name callers. Returns `None` if TLS is not
    /// set.
    pub(crate) fn open(settings: &TlsSettings, naming: Option<&Path>) -> Result<Option<Self>, TlsError> {
        if !settings.is_set() {
            return if naming.is_some() { Err(TlsError::Missing { missing: "cert" }) } else { Ok(None) };
        }
        let files = Files::read(settings, naming)?;
        let tls = Tls::new(files.config()?);
        let verifier = files.naming_verifier()?;
        let naming = naming
            .zip(verifier)
            .map(|(path, verifier)| NamingAuthorities { path: path.to_owned(), verifier: Arc::new(RwLock::new(verifier)) });
        Ok(Some(Self { settings: settings.clone(), naming, tls, seen: Some(files.digest()) }))
    }

    /// Returns the authorities whose certificates name callers.
    pub(crate) fn naming(&self) -> Option<NamingAuthorities> {
        self.naming.clone()
    }

    /// Returns what the server uses.
    pub(crate) fn tls(&self) -> Tls {
        self.tls.clone()
    }

    /// Waits until the files have changed, or `asked` completes, and then uses them if they are valid. Looks at the
    /// files once a minute.
    pub async fn next(&mut self, asked: impl Future<Output = ()>) -> CertificateNews {
        tokio::pin!(asked);
        loop {
            let is_asked = tokio::select! {
                () = &mut asked => true,
                () = tokio::time::sleep(READ_EVERY) => false,
            };
            match self.look() {
                CertificateNews::Unchanged if !is_asked => {}
                news => return news,
            }
        }
    }

    fn look(&mut self) -> CertificateNews {
        let files = match Files::read(&self.settings, self.naming.as_ref().map(|naming| &*naming.path)) {
            Ok(files) => files,
            Err(why) => {
                // It is reported once, until the files can be read again.
                return if self.seen.take().is_some() { CertificateNews::Refused(why) } else { CertificateNews::Unchanged };
            }
        };
        let digest = files.digest();
        if self.seen.replace(digest) == Some(digest) {
            return CertificateNews::Unchanged;
        }
        match files.config().and_then(|config| Ok((config, files.naming_verifier()?))) {
            Ok((config, verifier)) => {
                self.tls.replace(config);
                if let (Some(naming), Some(verifier)) = (&self.naming, verifier) {
                    *naming.verifier.write().unwrap_or_else(PoisonError::into_inner) = verifier;
                }
                CertificateNews::Replaced
            }
            Err(why) => CertificateNews::Refused(why),
        }
    }
}

/// The authorities whose certificates name callers. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct NamingAuthorities {
    path: PathBuf,
    verifier: Arc<RwLock<Arc<dyn ClientCertVerifier>>>,
}

impl NamingAuthorities {
    /// Checks that one of them has signed the first certificate, which is valid now. The handshake has proved that the
    /// caller has its key.
    pub(crate) fn verify(&self, chain: &[Vec<u8>]) -> Result<(), String> {
        let chain: Vec<CertificateDer<'_>> = chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let (own, others) = chain.split_first().ok_or("there is none")?;
        let verifier = self.verifier.read().unwrap_or_else(PoisonError::into_inner).clone();
        verifier.verify_client_cert(own, others, UnixTime::now()).map(drop).map_err(|error| error.to_string())
    }
}

/// A file that was read.
struct File {
    setting: &'static str,
    path: PathBuf,
    bytes: Secret,
}

impl File {
    fn read(setting: &'static str, path: &Path) -> Result<Self, TlsError> {
        let unreadable = |why: String| TlsError::Unreadable { setting, path: path.to_owned(), why };
        let size = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
        if size > FILE_BYTES_MAX {
            return Err(unreadable(format!("it has {size} bytes; the limit is {FILE_BYTES_MAX}")));
        }
        let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
        Ok(Self { setting, path: path.to_owned(), bytes: Secret::new(bytes) })
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(self.bytes.reveal()).collect();
        match read {
            Ok(read) if !read.is_empty() => Ok(read),
            Ok(_) => Err(self.not_pem("certificate", "it contains none".to_owned())),
            Err(error) => Err(self.not_pem("certificate", error.to_string())),
        }
    }

    /// Returns the certificates as those of authorities.
    fn roots(&self) -> Result<Arc<RootCertStore>, TlsError> {
        let mut roots = RootCertStore::empty();
        for authority in self.certificates()? {
            roots.add(authority).map_err(|error| self.unusable(error.to_string()))?;
        }
        Ok(Arc::new(roots))
    }

    fn unusable(&self, why: String) -> TlsError {
        TlsError::ClientCa { setting: self.setting, path: self.path.clone(), why }
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(self.bytes.reveal()).map_err(|error| self.not_pem("private key", error.to_string()))
    }

    fn not_pem(&self, wanted: &'static str, why: String) -> TlsError {
        TlsError::NotPem { setting: self.setting, path: self.path.clone(), wanted, why }
    }
}

/// The files as they were at one time.
struct Files {
    cert: File,
    key: File,
    client_ca: Option<File>,
    naming: Option<File>,
}

impl Files {
    fn read(settings: &TlsSettings, naming: Option<&Path>) -> Result<Self, TlsError> {
        let TlsSettings { cert, key, client_ca } = settings;
        let cert = cert.as_ref().ok_or(TlsError::Missing { missing: "cert" })?;
        let key = key.as_ref().ok_or(TlsError::Missing { missing: "key" })?;
        Ok(Self {
            cert: File::read("tls.cert", cert)?,
            key: File::read("tls.key", key)?,
            client_ca: client_ca.as_ref().map(|path| File::read("tls.client_ca", path)).transpose()?,
            naming: naming.map(|path| File::read("login.certificates.ca", path)).transpose()?,
        })
    }

    fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for file in [&self.cert, &self.key].into_iter().chain(&self.client_ca).chain(&self.naming) {
            digest.update((file.bytes.reveal().len() as u64).to_le_bytes());
            digest.update(file.bytes.reveal());
        }
        digest.finalize().into()
    }

    fn config(&self) -> Result<ServerConfig, TlsError> {
        let mismatch = |why: rustls::Error| TlsError::Mismatch {
            cert: self.cert.path.clone(),
            key: self.key.path.clone(),
            why: match why {
                rustls::Error::InconsistentKeys(_) => "the key belongs to another certificate".to_owned(),
                other => other.to_string(),
            },
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[&TLS13, &TLS12]).map_err(mismatch)?;
        // With `client_ca`, every caller must have a certificate. Otherwise some callers may have one that names them.
        let builder = match (&self.client_ca, &self.naming) {
            (None, None) => builder.with_no_client_auth(),
            (Some(file), _) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(file.roots()?, provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| file.unusable(error.to_string()))?)
            }
            (None, Some(file)) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(file.roots()?, provider).allow_unauthenticated().build();
                builder.with_client_cert_verifier(verifier.map_err(|error| file.unusable(error.to_string()))?)
            }
        };
        builder.with_single_cert(self.cert.certificates()?, self.key.key()?).map_err(mismatch)
    }

    /// Returns what verifies the certificates that name callers, if any do.
    fn naming_verifier(&self) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
        let Some(file) = &self.naming else { return Ok(None) };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(file.roots()?, provider).build();
        verifier.map(Some).map_err(|error| file.unusable(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use tempfile::TempDir;

    use super::*;

    fn make_certificate() -> (String, String) {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    fn write(folder: &TempDir, cert: &str, key: &str) -> TlsSettings {
        let (of_cert, of_key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&of_cert, cert).unwrap();
        std::fs::write(&of_key, key).unwrap();
        TlsSettings { cert: Some(of_cert), key: Some(of_key), client_ca: None }
    }

    #[test]
    fn unusable_files_are_rejected_with_their_setting_and_reason() {
        let folder = TempDir::new().unwrap();
        let ((cert, key), (_, another)) = (make_certificate(), make_certificate());
        let rejected = |cert: &str, key: &str| Certificates::open(&write(&folder, cert, key), None).unwrap_err();
        assert!(matches!(rejected(&cert, &another), TlsError::Mismatch { why, .. } if why == "the key belongs to another certificate"));
        assert!(matches!(rejected("", &key), TlsError::NotPem { setting: "tls.cert", .. }));
        assert!(matches!(rejected(&cert, &cert), TlsError::NotPem { setting: "tls.key", .. }));
        let mut settings = write(&folder, &cert, &key);
        assert!(Certificates::open(&settings, None).unwrap().is_some());
        settings.client_ca = settings.key.clone();
        assert!(matches!(Certificates::open(&settings, None).unwrap_err(), TlsError::NotPem { setting: "tls.client_ca", .. }));
        settings.client_ca = Some(folder.path().join("nothing"));
        assert!(matches!(Certificates::open(&settings, None).unwrap_err(), TlsError::Unreadable { setting: "tls.client_ca", .. }));
        settings.key = None;
        assert_eq!(Certificates::open(&settings, None).unwrap_err(), TlsError::Missing { missing: "key" });
        assert!(Certificates::open(&TlsSettings::default(), None).unwrap().is_none());
    }

    #[test]
    fn changed_files_replace_the_certificate_only_if_they_are_valid() {
        let folder = TempDir::new().unwrap();
        let ((cert, key), (next_cert, next_key)) = (make_certificate(), make_certificate());
        let mut certificates = Certificates::open(&write(&folder, &cert, &key), None).unwrap().unwrap();
        assert_eq!(certificates.look(), CertificateNews::Unchanged);
        write(&folder, &next_cert, &key);
        assert!(matches!(certificates.look(), CertificateNews::Refused(TlsError::Mismatch { .. })));
        assert_eq!(certificates.look(), CertificateNews::Unchanged, "a refusal is reported once");
        write(&folder, &next_cert, &next_key);
        assert_eq!(certificates.look(), CertificateNews::Replaced);
        std::fs::remove_file(folder.path().join("key.pem")).unwrap();
        assert!(matches!(certificates.look(), CertificateNews::Refused(TlsError::Unreadable { .. })));
        assert_eq!(certificates.look(), CertificateNews::Unchanged);
        write(&folder, &next_cert, &next_key);
        assert_eq!(certificates.look(), CertificateNews::Replaced);
    }
}
