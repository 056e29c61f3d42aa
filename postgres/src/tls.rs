//! TLS to the server, by the parameters of the address that `libpq` has: `sslmode`, `sslrootcert`, `sslcert` and `sslkey`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_platform_verifier::Verifier;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The value of `sslrootcert` that means the authorities that the machine trusts.
const SYSTEM: &str = "system";

/// Where and how to connect.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) config: Config,
    pub(crate) tls: MakeRustlsConnect,
    pub(crate) verification: Verification,
}

/// What is checked of the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// Nothing: the connection may be encrypted, but anybody can have answered.
    None,
    /// That a trusted authority signed it.
    Authority,
    /// That a trusted authority signed it for the name in the address.
    Name,
}

impl Endpoint {
    /// Reads an address. The certificates and the key that it names are read too. An error does not repeat the address, which
    /// may have a password in it.
    pub(crate) fn at(address: &str) -> Result<Self, String> {
        let (address, parameters) = Parameters::taken_from(address)?;
        let mut config = Config::from_str(&address).map_err(|error| crate::classify::text(&error))?;
        if config.get_hosts().is_empty() {
            return Err("it names no host".to_owned());
        }
        let is_local = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        // In the form `host=… user=…` the driver reads `sslmode` itself.
        let mode = parameters.mode.unwrap_or_else(|| Mode::of(config.get_ssl_mode()));
        let verification = parameters.verification(mode);
        config.ssl_mode(match mode {
            // As in libpq, a Unix socket is never encrypted.
            _ if is_local => SslMode::Disable,
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => SslMode::Require,
        });
        let tls = MakeRustlsConnect::new(parameters.client(verification)?);
        Ok(Self { config, tls, verification })
    }
}

/// How strictly a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl Mode {
    fn of(mode: SslMode) -> Self {
        match mode {
            SslMode::Disable => Self::Disable,
            SslMode::Require => Self::Require,
            _ => Self::Prefer,
        }
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "disable" => Self::Disable,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            // `allow` tries without encryption first, which helps nobody here.
            other => return Err(format!("`sslmode={other}` is not supported; use disable, prefer, require, verify-ca or verify-full")),
        })
    }
}

/// The parameters that are about TLS.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    mode: Option<Mode>,
    root: Option<String>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Parameters {
    /// Takes the parameters out of the query of an address, because the driver does not know most of them.
    pub(crate) fn taken_from(address: &str) -> Result<(String, Self), String> {
        let mut taken = Self::default();
        let is_url = address.starts_with("postgres://") || address.starts_with("postgresql://");
        let Some((before, query)) = address.split_once('?').filter(|_| is_url) else { return Ok((address.to_owned(), taken)) };
        let mut left = Vec::new();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !matches!(name, "sslmode" | "sslrootcert" | "sslcert" | "sslkey") {
                left.push(pair);
                continue;
            }
            let value = percent_decode_str(value).decode_utf8().map_err(|_| format!("the value of `{name}` is not UTF-8"))?.into_owned();
            match name {
                "sslmode" => taken.mode = Some(value.parse()?),
                "sslrootcert" => taken.root = Some(value),
                "sslcert" => taken.cert = Some(value.into()),
                _ => taken.key = Some(value.into()),
            }
        }
        let address = if left.is_empty() { before.to_owned() } else { format!("{before}?{}", left.join("&")) };
        Ok((address, taken))
    }

    /// Returns the files of the client certificate and of its key.
    pub(crate) fn client_files(self) -> Vec<PathBuf> {
        self.cert.into_iter().chain(self.key).collect()
    }

    /// As in libpq, `require` with a root certificate is `verify-ca`, and the authorities of the machine, which sign for
    /// anybody, are only good together with the name.
    fn verification(&self, mode: Mode) -> Verification {
        match (mode, self.root.as_deref()) {
            (Mode::Disable | Mode::Prefer, _) | (Mode::Require, None) => Verification::None,
            (_, None | Some(SYSTEM)) | (Mode::VerifyFull, Some(_)) => Verification::Name,
            (Mode::Require | Mode::VerifyCa, Some(_)) => Verification::Authority,
        }
    }

    fn client(&self, verification: Verification) -> Result<ClientConfig, String> {
        let provider = Arc::new(ring::default_provider());
        let verifier = self.verifier(verification, &provider)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        match (&self.cert, &self.key) {
            (None, None) => Ok(builder.with_no_client_auth()),
            (Some(cert), Some(key)) => {
                let chain = certificates(cert, "sslcert")?;
                let key_of = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable("sslkey", key, &error))?;
                builder.with_client_auth_cert(chain, key_of).map_err(|error| format!("`sslcert` and `sslkey` cannot be used: {error}"))
            }
            (Some(_), None) => Err("`sslcert` needs `sslkey`, the file of its private key".to_owned()),
            (None, Some(_)) => Err("`sslkey` needs `sslcert`, the file of the certificate".to_owned()),
        }
    }

    fn verifier(&self, verification: Verification, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, String> {
        if verification == Verification::None {
            return Ok(Arc::new(Lenient { trusted: None, provider: provider.clone() }));
        }
        let trusted: Arc<dyn ServerCertVerifier> = match self.root.as_deref().filter(|root| *root != SYSTEM) {
            None => Arc::new(Verifier::new(provider.clone()).map_err(|error| format!("the authorities of this machine: {error}"))?),
            Some(file) => {
                let file = Path::new(file);
                let mut roots = RootCertStore::empty();
                for root in certificates(file, "sslrootcert")? {
                    roots.add(root).map_err(|error| unreadable("sslrootcert", file, &error))?;
                }
                let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
                built.map_err(|error| unreadable("sslrootcert", file, &error))?
            }
        };
        Ok(match verification {
            Verification::Authority => Arc::new(Lenient { trusted: Some(trusted), provider: provider.clone() }),
            Verification::None | Verification::Name => trusted,
        })
    }
}

fn certificates(file: &Path, parameter: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| unreadable(parameter, file, &error))?;
    if found.is_empty() {
        return Err(format!("the file of `{parameter}`, {}, has no certificate in PEM", file.display()));
    }
    Ok(found)
}

fn unreadable(parameter: &str, file: &Path, why: &dyn fmt::Display) -> String {
    format!("the file of `{parameter}`, {}, cannot be used: {why}", file.display())
}

/// Accepts certificates for another name, and without authorities to trust any certificate. The server must have its key.
#[derive(Debug)]
struct Lenient {
    trusted: Option<Arc<dyn ServerCertVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(trusted) = &self.trusted else { return Ok(ServerCertVerified::assertion()) };
        match trusted.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is compared after the signatures of the chain.
            Err(Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. })) => {
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verification(query: &str) -> Verification {
        let (_, parameters) = Parameters::taken_from(&format!("postgres://ada@db/cats?{query}")).unwrap();
        parameters.verification(parameters.mode.unwrap_or(Mode::Prefer))
    }

    #[test]
    fn certificate_is_verified_as_the_parameters_say() {
        assert_eq!(verification(""), Verification::None);
        assert_eq!(verification("sslmode=prefer&sslrootcert=ca.pem"), Verification::None);
        assert_eq!(verification("sslmode=require"), Verification::None);
        assert_eq!(verification("sslmode=require&sslrootcert=ca.pem"), Verification::Authority);
        assert_eq!(verification("sslmode=verify-ca&sslrootcert=ca.pem"), Verification::Authority);
        assert_eq!(verification("sslmode=verify-full&sslrootcert=ca.pem"), Verification::Name);
        for query in
            ["sslmode=verify-full", "sslmode=verify-ca", "sslmode=verify-ca&sslrootcert=system", "sslmode=require&sslrootcert=system"]
        {
            assert_eq!(verification(query), Verification::Name, "{query}");
        }
    }

    #[test]
    fn other_parameters_are_left_to_the_driver() {
        let (address, parameters) =
            Parameters::taken_from("postgres://ada@db/cats?connect_timeout=3&sslmode=require&options=-c%20a").unwrap();
        assert_eq!(address, "postgres://ada@db/cats?connect_timeout=3&options=-c%20a");
        assert_eq!(parameters.mode, Some(Mode::Require));
        let (address, parameters) = Parameters::taken_from("postgres:///cats?sslrootcert=%2Fetc%2Fca.pem&host=/run/postgresql").unwrap();
        assert_eq!(address, "postgres:///cats?host=/run/postgresql");
        assert_eq!(parameters.root.as_deref(), Some("/etc/ca.pem"));
    }

    #[test]
    fn parameters_that_cannot_be_used_are_refused() {
        let refused = |query: &str| Endpoint::at(&format!("postgres://ada:secret@db/cats?{query}")).err().unwrap();
        assert!(refused("sslmode=allow").contains("`sslmode=allow` is not supported"), "{}", refused("sslmode=allow"));
        assert!(refused("sslcert=a.pem").contains("needs `sslkey`"));
        assert!(refused("sslkey=a.pem").contains("needs `sslcert`"));
        assert!(refused("sslmode=verify-full&sslrootcert=/missing.pem").contains("/missing.pem"));
        let empty = tempfile::NamedTempFile::new().unwrap();
        let said = refused(&format!("sslmode=verify-ca&sslrootcert={}", empty.path().display()));
        assert!(said.contains("has no certificate"), "{said}");
    }

    #[test]
    fn unix_socket_is_not_encrypted() {
        let endpoint = Endpoint::at("postgres:///cats?host=/run/postgresql&sslmode=require").unwrap();
        assert_eq!(endpoint.config.get_ssl_mode(), SslMode::Disable);
        assert_eq!(Endpoint::at("postgres://ada@db/cats").unwrap().config.get_ssl_mode(), SslMode::Prefer);
    }
}
