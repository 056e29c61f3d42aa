//! TLS to the server: what each `sslmode` accepts and refuses, on a server with a certificate.

use std::path::{Path, PathBuf};

use ensue_engine::explain::Explain;
use ensue_postgres::{Database, DatabaseError, Protection, Verification};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::server::{Server, is_missing};

/// An authority that issues certificates, in memory.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Returns a certificate and its key, in the PEM format.
    fn issues(&self, name: &str, alternatives: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(alternatives.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

/// A server with a certificate for `localhost`, and the files that its clients need.
struct TlsServer {
    server: Server,
    files: tempfile::TempDir,
}

impl TlsServer {
    fn start() -> Self {
        let (authority, others) = (Authority::new(), Authority::new());
        let server = Server::start_after(|data| {
            let (cert, key) = authority.issues("db", &["localhost"]);
            for (name, text) in [("server.crt", &cert), ("server.key", &key), ("root.crt", &authority.0.pem())] {
                Server::write(&data.join(name), text);
            }
            append(&data.join("postgresql.conf"), "ssl = on\nssl_ca_file = 'root.crt'\n");
            let rules = "host all ensue 127.0.0.1/32 trust\nhostssl all certified 127.0.0.1/32 cert\n";
            Server::write(&data.join("pg_hba.conf"), rules);
        });
        server.psql("postgres", "CREATE ROLE certified LOGIN; GRANT CREATE ON DATABASE postgres TO certified");
        let encrypted = Self { server, files: tempfile::tempdir().unwrap() };
        encrypted.write("ca.pem", &authority.0.pem());
        encrypted.write("other-ca.pem", &others.0.pem());
        for (issuer, name) in [(&authority, "client"), (&others, "other")] {
            let (cert, key) = issuer.issues("certified", &[]);
            encrypted.write(&format!("{name}.pem"), &cert);
            encrypted.write(&format!("{name}-key.pem"), &key);
        }
        encrypted
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.file(name), text).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Connects as a role, with a query whose `FILE/` is the folder of the files.
    fn connect(&self, role: &str, host: &str, query: &str) -> Result<Protection, DatabaseError> {
        let query = query.replace("FILE", &self.files.path().display().to_string());
        let address = format!("postgres://{role}@{host}:{}/postgres?{query}", self.server.port());
        Ok(Database::at(&address).unwrap().health()?.protection)
    }

    fn refuses(&self, role: &str, host: &str, query: &str) -> String {
        let error = self.connect(role, host, query).expect_err(query);
        assert_eq!(error.slug(), "database-unavailable", "{error}");
        error.to_string()
    }
}

fn append(path: &Path, text: &str) {
    let before = std::fs::read_to_string(path).unwrap();
    Server::write(path, &format!("{before}{text}"));
}

#[test]
fn each_mode_protects_the_connection_as_much_as_it_says() {
    if is_missing() {
        return;
    }
    let encrypted = TlsServer::start();
    let protection = |host: &str, query: &str| encrypted.connect("ensue", host, query).unwrap();
    let tls = |verification| Protection::Tls { version: "TLSv1.3".to_owned(), verification };
    assert_eq!(protection("127.0.0.1", "sslmode=disable"), Protection::Local);
    assert_eq!(protection("127.0.0.1", ""), tls(Verification::None), "by default");
    assert_eq!(protection("127.0.0.1", "sslmode=require"), tls(Verification::None));
    assert_eq!(protection("127.0.0.1", "sslmode=verify-ca&sslrootcert=FILE/ca.pem"), tls(Verification::Authority));
    assert_eq!(protection("localhost", "sslmode=verify-full&sslrootcert=FILE/ca.pem"), tls(Verification::Name));
}

#[test]
fn server_that_cannot_prove_who_it_is_is_refused() {
    if is_missing() {
        return;
    }
    let encrypted = TlsServer::start();
    let said = encrypted.refuses("ensue", "127.0.0.1", "sslmode=verify-full&sslrootcert=FILE/ca.pem");
    assert!(said.contains("not valid for name"), "its certificate is for another name: {said}");
    for mode in ["require", "verify-ca", "verify-full"] {
        let said = encrypted.refuses("ensue", "localhost", &format!("sslmode={mode}&sslrootcert=FILE/other-ca.pem"));
        assert!(said.contains("certificate"), "{mode}: {said}");
    }
    encrypted.refuses("ensue", "localhost", "sslmode=verify-full");
}

#[test]
fn server_without_tls_is_refused_where_encryption_is_required() {
    if is_missing() {
        return;
    }
    let server = Server::instance();
    let at = |query: &str| Database::at(&format!("postgres://ensue@127.0.0.1:{}/postgres?{query}", server.port())).unwrap().health();
    assert_eq!(at("sslmode=prefer").unwrap().protection, Protection::Local);
    let error = at("sslmode=require").unwrap_err();
    assert!(error.to_string().contains("server does not support TLS"), "{error}");
}

#[test]
fn client_certificate_is_the_login_of_its_role() {
    if is_missing() {
        return;
    }
    let encrypted = TlsServer::start();
    let with = |name: &str| format!("sslmode=verify-ca&sslrootcert=FILE/ca.pem&sslcert=FILE/{name}.pem&sslkey=FILE/{name}-key.pem");
    encrypted.connect("certified", "127.0.0.1", &with("client")).unwrap();
    encrypted.refuses("certified", "127.0.0.1", "sslmode=verify-ca&sslrootcert=FILE/ca.pem");
    encrypted.refuses("certified", "127.0.0.1", &with("other"));
}
