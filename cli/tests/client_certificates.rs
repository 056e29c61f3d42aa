//! Callers whom a client certificate names: whom it lets in, and what a certificate of somebody else does.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::support::{ADMIN_TOKEN, Answer, Client, CommandOutput, Node, NodeFolder, http, until};

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

/// A node that serves TLS and takes certificates of `clients`.
struct World {
    place: NodeFolder,
    node: Node,
    servers: Authority,
    clients: Authority,
}

impl World {
    fn start(more: &serde_json::Value) -> Self {
        let (place, servers, clients) = (NodeFolder::new(), Authority::new(), Authority::new());
        let (cert, key) = servers.issues("node", &["127.0.0.1", "localhost"]);
        for (name, text) in [("cert.pem", &cert), ("key.pem", &key), ("clients.pem", &clients.0.pem()), ("ca.pem", &servers.0.pem())] {
            std::fs::write(place.path().join(name), text).unwrap();
        }
        let mut tls = json!({ "cert": "cert.pem", "key": "key.pem" });
        more.as_object().unwrap().iter().for_each(|(name, value)| tls[name] = value.clone());
        let certificates = json!({
            "ca": "clients.pem", "allow": "cert.san.exists(name, name.endsWith('.ci.example.test'))",
            "name": "cert.subject.split(',')[0].replace('CN=', '')",
        });
        let settings = json!({ "tls": tls, "login": { "certificates": certificates } });
        std::fs::write(place.path().join("ensue.yaml"), settings.to_string()).unwrap();
        let node = place.start();
        Self { place, node, servers, clients }
    }

    /// Returns a client that shows this certificate.
    fn showing(&self, issued: Option<&(String, String)>) -> Client {
        let root = reqwest::Certificate::from_pem(self.servers.0.pem().as_bytes()).unwrap();
        let builder = http().tls_certs_only([root]);
        let builder = match issued {
            Some((cert, key)) => builder.identity(reqwest::Identity::from_pem(format!("{cert}{key}").as_bytes()).unwrap()),
            None => builder,
        };
        Client::over(builder.build().unwrap(), self.node.url())
    }

    fn ensue(&self, arguments: &[&str]) -> CommandOutput {
        let mut command = self.place.ensue(arguments);
        let command = command.env("ENSUE_SERVER", self.node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN).env("ENSUE_CA", "ca.pem");
        CommandOutput::by(command)
    }
}

async fn send_request(request: RequestBuilder) -> Answer {
    Answer::of(request.send().await.unwrap()).await
}

fn code(answer: &Answer) -> (u16, &str) {
    (answer.status.as_u16(), answer.body["code"].as_str().unwrap_or_default())
}

fn me(client: &Client) -> RequestBuilder {
    client.anonymous(Method::GET, "/api/v1/me")
}

#[tokio::test]
async fn certificate_that_the_settings_admit_names_who_calls() {
    let world = World::start(&json!({}));
    let runner = world.showing(Some(&world.clients.issues("runner", &["a.ci.example.test"])));
    let named = send_request(me(&runner)).await;
    assert_eq!((named.status.as_u16(), &named.body["name"]), (200, &json!("runner")));
    assert!(world.ensue(&["identities", "show", "runner"]).stdout.contains("service"));
    let events = || runner.anonymous(Method::GET, "/api/v1/events");
    assert_eq!(code(&send_request(events()).await), (403, "forbidden"));
    let granted = world.ensue(&["grants", "add", "identity:runner", "--role", "viewer"]);
    assert_eq!(granted.code, Some(0), "{granted:?}");
    assert_eq!(send_request(events()).await.status, 200);
    // A token of the request goes before the certificate of the connection.
    assert_eq!(send_request(me(&runner).bearer_auth(ADMIN_TOKEN)).await.body["name"], "admin");
    assert_eq!(code(&send_request(me(&runner).bearer_auth("nothing")).await), (401, "token_invalid"));
    // A browser shows the certificate to pages of all sites.
    let foreign = runner.anonymous(Method::POST, "/api/v1/identities").header("sec-fetch-site", "cross-site").json(&json!({ "name": "x" }));
    assert_eq!(code(&send_request(foreign).await), (403, "origin_refused"));
    assert_eq!(world.ensue(&["identities", "disable", "runner"]).code, Some(0));
    assert_eq!(code(&send_request(events()).await), (401, "identity_disabled"), "on the same connection");
}

#[tokio::test]
async fn certificate_that_is_not_admitted_is_refused_and_none_is_needed() {
    let world = World::start(&json!({}));
    let outside = world.showing(Some(&world.clients.issues("outside", &["example.test"])));
    assert_eq!(code(&send_request(me(&outside)).await), (403, "claims_refused"));
    let bad_name = world.showing(Some(&world.clients.issues("Not A Name", &["a.ci.example.test"])));
    assert_eq!(code(&send_request(me(&bad_name)).await), (403, "claims_refused"));
    // A comma in a value cannot pass for another part of the name.
    let tricky = world.showing(Some(&world.clients.issues("runner,O=x", &["a.ci.example.test"])));
    assert_eq!(code(&send_request(me(&tricky)).await), (403, "claims_refused"));
    assert_eq!(send_request(me(&outside).bearer_auth(ADMIN_TOKEN)).await.status, 200, "its token counts");
    let without = world.showing(None);
    assert_eq!(code(&send_request(me(&without)).await), (401, "unauthenticated"));
    assert_eq!(send_request(me(&without).bearer_auth(ADMIN_TOKEN)).await.status, 200);
    // The handshake refuses the certificate of another authority.
    let stranger = world.showing(Some(&Authority::new().issues("runner", &["a.ci.example.test"])));
    assert!(me(&stranger).send().await.is_err());
    let identities = world.showing(None).anonymous(Method::GET, "/api/v1/identities").bearer_auth(ADMIN_TOKEN);
    assert_eq!(send_request(identities).await.body["items"], json!([]));
    let audit = || world.showing(None).anonymous(Method::GET, "/api/v1/audit?what=login.refused").bearer_auth(ADMIN_TOKEN);
    until("the record of the refused certificates", async || send_request(audit()).await.body.to_string().contains("\"certificate\""))
        .await;
}

#[tokio::test]
async fn certificate_that_every_caller_must_have_names_nobody_unless_it_is_of_the_other_authority() {
    // `tls.client_ca` lets connections in; `login.certificates.ca` says who they are.
    let gate = Authority::new();
    let world = World::start(&json!({}));
    std::fs::write(world.place.path().join("gate.pem"), gate.0.pem()).unwrap();
    let settings = std::fs::read_to_string(world.place.path().join("ensue.yaml")).unwrap();
    let settings = settings.replace("\"key\":\"key.pem\"", "\"key\":\"key.pem\",\"client_ca\":\"gate.pem\"");
    std::fs::write(world.place.path().join("ensue.yaml"), settings).unwrap();
    let World { place, node, servers, clients } = world;
    node.kill();
    let node = place.start();
    let world = World { place, node, servers, clients };
    let of_gate = world.showing(Some(&gate.issues("runner", &["a.ci.example.test"])));
    assert_eq!(code(&send_request(me(&of_gate)).await), (403, "claims_refused"));
    assert_eq!(send_request(me(&of_gate).bearer_auth(ADMIN_TOKEN)).await.status, 200);
    let runner = world.showing(Some(&world.clients.issues("runner", &["a.ci.example.test"])));
    assert!(me(&runner).send().await.is_err(), "the gate does not know its authority");
    assert!(me(&world.showing(None)).send().await.is_err());
}

#[test]
fn certificates_name_nobody_without_tls() {
    let place = NodeFolder::new();
    std::fs::write(place.path().join("clients.pem"), Authority::new().0.pem()).unwrap();
    let settings = json!({ "login": { "certificates": { "ca": "clients.pem", "allow": "true", "name": "'x'" } } });
    std::fs::write(place.path().join("ensue.yaml"), settings.to_string()).unwrap();
    let why = place.try_start().map(|_| ()).unwrap_err();
    assert!(why.contains("`tls.cert` is missing"), "{why}");
}
