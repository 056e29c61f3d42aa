//! A node that serves TLS: HTTP/1.1 and HTTP/2 on one port, and certificates that change while it runs.

use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::json;

use crate::support::{ADMIN_TOKEN, Client, CommandOutput, Node, NodeFolder, skipped, until};

/// An authority that issues certificates, in memory.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in the PEM format.
struct PemCertificate {
    cert: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issues(&self, names: &[&str]) -> PemCertificate {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let cert = CertificateParams::new(names).unwrap().signed_by(&key, &self.0).unwrap();
        PemCertificate { cert: cert.pem(), key: key.serialize_pem() }
    }
}

fn write(place: &NodeFolder, name: &str, text: &str) {
    std::fs::write(place.path().join(name), text).unwrap();
}

fn with_certificate(place: NodeFolder, issued: &PemCertificate) -> NodeFolder {
    write(&place, "cert.pem", &issued.cert);
    write(&place, "key.pem", &issued.key);
    place.with_arguments(&["--tls-cert", "cert.pem", "--tls-key", "key.pem"])
}

/// Returns the output of the command line, which asks this node.
fn ask(place: &NodeFolder, node: &Node, arguments: &[&str]) -> CommandOutput {
    let mut command = place.ensue(arguments);
    CommandOutput::by(command.env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN))
}

/// Returns a client that trusts this authority only.
fn trusting(authority: &Authority, node: &Node) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let root = reqwest::Certificate::from_pem(authority.0.pem().as_bytes()).unwrap();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([root]).pool_max_idle_per_host(0).build().unwrap();
    Client::over(http, node.url())
}

async fn is_trusted(authority: &Authority, node: &Node) -> bool {
    trusting(authority, node).anonymous(Method::GET, "/livez").send().await.is_ok()
}

#[tokio::test]
async fn command_line_works_over_tls_and_names_what_is_missing() {
    let authority = Authority::new();
    let place = with_certificate(NodeFolder::new(), &authority.issues(&["127.0.0.1", "localhost"]));
    write(&place, "ca.pem", &authority.0.pem());
    let node = place.start();
    assert!(node.url().starts_with("https://"), "{}", node.url());

    let unknown = ask(&place, &node, &["status"]);
    assert_eq!(unknown.code, Some(3), "{unknown:?}");
    assert!(unknown.stderr.contains("--ca or ENSUE_CA"), "{}", unknown.stderr);
    let ca = ask(&place, &node, &["status", "--ready", "--ca", "ca.pem"]);
    assert_eq!(ca.code, Some(0), "{ca:?}");
    let sent = ask(&place, &node, &["run", "core.echo", "--param", "message=over TLS", "--wait", "--ca", "ca.pem"]);
    assert!(sent.code == Some(0) && sent.stdout.contains("over TLS"), "{sent:?}");
    let doctor = ask(&place, &node, &["doctor", "--ca", "ca.pem"]);
    assert_eq!(doctor.code, Some(0), "{doctor:?}");

    let plain = CommandOutput::by(place.ensue(&["status"]).env("ENSUE_SERVER", node.url().replace("https", "http")));
    assert!(plain.stderr.contains("accepts only TLS") && plain.stderr.contains("https://"), "{plain:?}");

    std::fs::write(place.path().join("token"), ADMIN_TOKEN).unwrap();
    let added =
        CommandOutput::by(&mut place.ensue(&["profiles", "add", "node", "--url", &node.url(), "--ca", "ca.pem", "--token-file", "token"]));
    assert_eq!(added.code, Some(0), "{added:?}");
    let by_profile = CommandOutput::by(&mut place.ensue(&["status", "--profile", "node"]));
    assert_eq!(by_profile.code, Some(0), "{by_profile:?}");
    assert_eq!(node.stop(), Some(0));
}

#[tokio::test]
async fn certificate_is_replaced_while_the_node_runs_and_a_bad_one_is_rejected() {
    let (old, new) = (Authority::new(), Authority::new());
    let place = with_certificate(NodeFolder::new(), &old.issues(&["127.0.0.1"]));
    let node = place.start();
    assert!(is_trusted(&old, &node).await && !is_trusted(&new, &node).await);
    let open = trusting(&old, &node);
    let mut stream = open.request(Method::GET, "/api/v1/log/stream").send().await.unwrap();

    let next = new.issues(&["127.0.0.1"]);
    write(&place, "cert.pem", &next.cert);
    node.signal(Signal::HUP);
    until("the half pair is rejected", async || node.stderr_text().contains("is rejected, and the old one stays in use")).await;
    assert!(node.stderr_text().contains("the key belongs to another certificate"), "{}", node.stderr_text());
    assert!(is_trusted(&old, &node).await);

    write(&place, "key.pem", &next.key);
    node.signal(Signal::HUP);
    until("the pair is used", async || node.stderr_text().contains("the TLS certificate was replaced")).await;
    assert!(is_trusted(&new, &node).await && !is_trusted(&old, &node).await);
    assert!(stream.chunk().await.unwrap().is_some(), "a connection that is open stays open");
    node.signal(Signal::HUP);
    until("nothing changes", async || node.stderr_text().contains("the TLS certificate is unchanged")).await;
    drop(stream);
    assert_eq!(node.stop(), Some(0));
}

#[test]
fn node_does_not_start_with_an_unusable_certificate_and_explains_it() {
    let authority = Authority::new();
    let (issued, other) = (authority.issues(&["127.0.0.1"]), authority.issues(&["127.0.0.1"]));
    let place = with_certificate(NodeFolder::new(), &PemCertificate { key: other.key, ..issued });
    let said = place.try_start().err().unwrap();
    assert!(said.contains("the key belongs to another certificate") && said.contains("use the key that"), "{said}");
    let said = NodeFolder::new().with_arguments(&["--tls-cert", "cert.pem"]).try_start().err().unwrap();
    assert!(said.contains("`tls.key` is missing") && said.contains("set `tls.cert` and `tls.key`"), "{said}");
    let said = NodeFolder::new().with_arguments(&["--tls-cert", "none.pem", "--tls-key", "none.pem"]).try_start().err().unwrap();
    assert!(said.contains("`none.pem` of `tls.cert` cannot be read: No such file"), "{said}");
}

#[tokio::test]
async fn only_callers_with_a_certificate_are_served_if_authorities_are_set() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let place = with_certificate(NodeFolder::new(), &authority.issues(&["127.0.0.1"])).with_variable("ENSUE_TLS_CLIENT_CA", "ca.pem");
    write(&place, "ca.pem", &authority.0.pem());
    for (name, issued) in [("ana.pem", authority.issues(&["ana"])), ("eve.pem", stranger.issues(&["eve"]))] {
        write(&place, name, &format!("{}{}", issued.cert, issued.key));
    }
    let node = place.start();
    let with = |cert: &[&str]| ask(&place, &node, &[&["status", "--ca", "ca.pem"], cert].concat());
    assert_eq!(with(&["--client-cert", "ana.pem"]).code, Some(0));
    for cert in [&["--client-cert", "eve.pem"][..], &[]] {
        let refused = with(cert);
        assert!(refused.code == Some(3) && refused.stderr.contains("--client-cert or ENSUE_CLIENT_CERT"), "{refused:?}");
    }
    assert_eq!(node.stop(), Some(0));
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_served_and_older_versions_are_not() {
    let place = with_certificate(NodeFolder::new(), &Authority::new().issues(&["127.0.0.1"]));
    let node = place.start();
    let address = node.url().replace("https://", "");
    if !skipped::has_program("tls_1_2_and_1_3_are_served_and_older_versions_are_not", "openssl") {
        return;
    }
    let offered = |version: &str| {
        let mut command = Command::new("openssl");
        let command = command.args(["s_client", "-connect", &address, version, "-cipher", "ALL:@SECLEVEL=0"]);
        String::from_utf8_lossy(&command.stdin(std::process::Stdio::null()).output().unwrap().stdout).into_owned()
    };
    let newest = offered("-tls1_3");
    assert!(newest.contains("TLSv1.3"), "{newest}");
    assert!(offered("-tls1_2").contains("Cipher is ECDHE"));
    for old in ["-tls1_1", "-tls1"] {
        assert!(offered(old).contains("Cipher is (NONE)"), "{old}");
    }
    assert_eq!(node.stop(), Some(0));
}

#[tokio::test]
async fn http_2_is_served_to_callers_that_choose_it() {
    let place = with_certificate(NodeFolder::new(), &Authority::new().issues(&["127.0.0.1"]));
    let node = place.start();
    if !skipped::has_program("http_2_is_served_to_callers_that_choose_it", "curl") {
        return;
    }
    let curl = |arguments: &[&str]| {
        let bearer = format!("authorization: Bearer {ADMIN_TOKEN}");
        let url = format!("{}/api/v1/events", node.url());
        let mut command = Command::new("curl");
        command.args(["-sk", "--http2", "-w", "\n%{http_version} %{response_code}", "-H", &bearer]).args(arguments).arg(url);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let listed = curl(&[]);
    assert!(listed.ends_with("\n2 200"), "{listed}");
    let body = json!({ "trigger": "core.nothing", "payload": {} }).to_string();
    let refused = curl(&["-H", "content-type: application/json", "-d", &body]);
    assert!(refused.contains("\"code\":\"trigger_") && refused.contains("\n2 4"), "{refused}");
    std::fs::write(place.path().join("large"), "x".repeat(5 * 1024 * 1024)).unwrap();
    let large = curl(&["-H", "content-type: application/json", "--data-binary", &format!("@{}", place.path().join("large").display())]);
    assert!(large.contains("body_too_large") && large.ends_with("\n2 413"), "{large}");
    let elsewhere = curl(&["-H", "host: attacker.test"]);
    assert!(elsewhere.ends_with("\n2 421"), "{elsewhere}");
    let response = trusting_any(&node).get(format!("{}/livez", node.url())).send().await.unwrap();
    assert_eq!((response.status(), response.version()), (StatusCode::OK, reqwest::Version::HTTP_11));
    assert_eq!(node.stop(), Some(0));
}

#[tokio::test]
async fn browsers_are_told_to_use_tls_for_the_node_s_own_name_only() {
    let names = ["ensue.example.test", "localhost", "127.0.0.1"];
    let place =
        with_certificate(NodeFolder::new(), &Authority::new().issues(&names)).with_variable("ENSUE_URL", "https://ensue.example.test");
    let node = place.start();
    let address: std::net::SocketAddr = node.url().replace("https://", "").parse().unwrap();
    let builder = reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true).resolve(names[0], address);
    let http = builder.build().unwrap();
    for name in names {
        let answer = http.get(format!("https://{name}:{}/livez", address.port())).send().await.unwrap();
        let told = answer.headers().get("strict-transport-security").map(|value| value.to_str().unwrap());
        assert_eq!(told, (name == names[0]).then_some("max-age=31536000"), "{name}");
    }
    assert_eq!(node.stop(), Some(0));
}

fn trusting_any(_: &Node) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().http1_only().tls_danger_accept_invalid_certs(true).build().unwrap()
}
