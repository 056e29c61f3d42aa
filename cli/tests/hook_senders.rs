//! Senders of webhooks for whom an authority vouches: Amazon SNS, an issuer of tokens, a client certificate.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use reqwest::{Method, RequestBuilder, StatusCode};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};

use crate::support::issuer::{Issuer, Mood, seconds};
use crate::support::{ADMIN_TOKEN, Client, CommandOutput, Node, NodeFolder, http};

#[path = "../../tests/support/sns.rs"]
mod signer;

use signer::{Signer, TOPIC};

/// An authority that issues certificates, in memory.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Returns a certificate and its key.
    fn issues(&self, name: &str, alternative: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([alternative.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        (params.signed_by(&key, &self.0).unwrap(), key)
    }
}

/// A server with TLS: answers by path, and the paths that were asked for.
#[derive(Clone, Default)]
struct Files {
    answers: Arc<Mutex<BTreeMap<String, String>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Files {
    /// Serves, and returns the port.
    fn serve(&self, authority: &Authority) -> u16 {
        let (cert, key) = authority.issues("files", "localhost");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = Arc::new(builder.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let files = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (files, config) = (files.clone(), config.clone());
                std::thread::spawn(move || {
                    let stream = rustls::StreamOwned::new(rustls::ServerConnection::new(config).unwrap(), stream);
                    let mut stream = BufReader::new(stream);
                    let mut lines = Vec::new();
                    loop {
                        let mut line = String::new();
                        if stream.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                            break;
                        }
                        lines.push(line);
                    }
                    let Some(path) = lines.first().and_then(|line| line.split(' ').nth(1)) else { return };
                    files.asked.lock().unwrap().push(path.to_owned());
                    let (status, body) = match files.answers.lock().unwrap().get(path) {
                        Some(body) => ("200 OK", body.clone()),
                        None => ("404 Not Found", String::new()),
                    };
                    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                    let _ = stream.get_mut().write_all(format!("{head}{body}").as_bytes());
                    stream.get_mut().conn.send_close_notify();
                    let _ = stream.get_mut().flush();
                });
            }
        });
        port
    }

    fn answer(&self, path: &str, body: &str) {
        self.answers.lock().unwrap().insert(path.to_owned(), body.to_owned());
    }

    fn requests(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn write_pack(place: &NodeFolder, verify: &str, more: &str) {
    place.write_pack_file("watch/pack.yaml", "name: watch\nversion: 1.0.0\ndescription: Alarms.\n");
    place.write_pack_file("watch/triggers/alarm.yaml", "payload: { alarm: string }\n");
    let sensor = format!("webhook:\n  verify: {verify}\n{more}emits:\n  - trigger: watch.alarm\n");
    place.write_pack_file("watch/sensors/alarms.yaml", &sensor);
}

async fn send_request(request: RequestBuilder) -> (StatusCode, String) {
    let answer = request.send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

async fn event_count(client: &Client) -> usize {
    client.get("/events").await["items"].as_array().unwrap().len()
}

/// A hook for messages of Amazon SNS, whose certificates come from a server on this machine.
struct Sns {
    place: NodeFolder,
    node: Node,
    files: Files,
    signer: Signer,
    at: String,
}

impl Sns {
    fn start() -> Self {
        let (authority, files) = (Authority::new(), Files::default());
        let port = files.serve(&authority);
        let place = NodeFolder::new();
        let ca = place.path().join("ca.pem");
        std::fs::write(&ca, authority.0.pem()).unwrap();
        std::fs::write(place.path().join("ensue.yaml"), json!({ "egress": { "allow": ["localhost"] } }).to_string()).unwrap();
        let place = place.with_variable("SSL_CERT_FILE", &ca.display().to_string());
        let verify = format!("{{ scheme: sns, topics: ['{TOPIC}'], hosts: ['localhost:{port}'] }}");
        write_pack(&place, &verify, "  decode: body.Message\n");
        let node = place.start();
        Self { place, node, files, signer: Signer::new(), at: format!("https://localhost:{port}") }
    }

    fn restart(self) -> Self {
        let Self { place, node, files, signer, at } = self;
        assert_eq!(node.stop(), Some(0));
        let node = place.start();
        Self { place, node, files, signer, at }
    }

    fn message(&self, parts: &Value) -> Value {
        let now = ensue_engine::time::Timestamp::from_micros(seconds() * 1_000_000);
        self.signer.message(&self.at, &now.to_string(), parts)
    }

    async fn deliver(&self, message: &Value) -> (StatusCode, String) {
        let request = self.node.client().anonymous(Method::POST, "/hooks/watch/alarms");
        send_request(request.header("content-type", "text/plain; charset=UTF-8").body(message.to_string())).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_amazon_sns_are_verified_with_a_certificate_that_is_fetched_once() {
    let sns = Sns::start();
    let message = sns.message(&json!({}));
    let (status, text) = sns.deliver(&message).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "the certificate is not there: {text}");
    assert!(text.contains("hook_unusable") && text.contains("the status is 404"), "{text}");
    // Another certificate is asked for at once, and the first not before half a minute.
    sns.files.answer("/SimpleNotificationService-2.pem", &sns.signer.certificate);
    let named = |message: &Value| {
        let mut message = message.clone();
        message["SigningCertURL"] = json!(format!("{}/SimpleNotificationService-2.pem", sns.at));
        message
    };
    for _ in 0..2 {
        assert_eq!(sns.deliver(&message).await.0, StatusCode::SERVICE_UNAVAILABLE);
    }
    let (status, text) = sns.deliver(&named(&message)).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{text}");
    let client = sns.node.client();
    let id = serde_json::from_str::<Value>(&text).unwrap()["events"][0]["id"].as_str().unwrap().to_owned();
    client.until(&format!("/events/{id}"), |event| event["payload"] == json!({ "alarm": "disk" })).await;
    // A repeat with another part that nobody signs is a repeat.
    let mut repeat = named(&message);
    repeat["UnsubscribeURL"] = json!("https://example.test/");
    assert_eq!(sns.deliver(&repeat).await.0, StatusCode::OK);
    let mut forged = named(&message);
    forged["Message"] = json!("{\"alarm\": \"none\"}");
    assert_eq!(sns.deliver(&forged).await.0, StatusCode::UNAUTHORIZED);
    let foreign = sns.message(&json!({ "TopicArn": "arn:aws:sns:eu-west-1:999999999999:theirs" }));
    assert_eq!(sns.deliver(&foreign).await.0, StatusCode::UNAUTHORIZED);
    let mut elsewhere = message.clone();
    elsewhere["SigningCertURL"] = json!("https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-a.pem");
    assert_eq!(sns.deliver(&elsewhere).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(event_count(&client).await, 1);
    let expected = ["/SimpleNotificationService-1.pem", "/SimpleNotificationService-2.pem"];
    assert_eq!(sns.files.requests(), expected, "each certificate is fetched once");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_certificates_are_fetched_twenty_times_a_minute_at_most() {
    let sns = Sns::start();
    for number in 0..30 {
        let mut message = sns.message(&json!({}));
        message["SigningCertURL"] = json!(format!("{}/SimpleNotificationService-{number}a.pem", sns.at));
        assert_eq!(sns.deliver(&message).await.0, StatusCode::SERVICE_UNAVAILABLE);
    }
    // A minute may end in between.
    assert!((20..30).contains(&sns.files.requests().len()), "{:?}", sns.files.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn known_certificate_verifies_after_a_restart_whatever_strangers_named() {
    let mut sns = Sns::start();
    sns.files.answer("/SimpleNotificationService-1.pem", &sns.signer.certificate);
    let (status, text) = sns.deliver(&sns.message(&json!({}))).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{text}");
    sns = sns.restart();
    for number in 0..25 {
        let mut message = sns.message(&json!({}));
        message["SigningCertURL"] = json!(format!("{}/SimpleNotificationService-{number}b.pem", sns.at));
        assert_eq!(sns.deliver(&message).await.0, StatusCode::SERVICE_UNAVAILABLE);
    }
    let (status, text) = sns.deliver(&sns.message(&json!({ "MessageId": "m-2" }))).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{text}");
    let of_amazon = |asked: &&String| *asked == "/SimpleNotificationService-1.pem";
    assert_eq!(sns.files.requests().iter().filter(of_amazon).count(), 1, "it was kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn subscription_is_confirmed_by_an_operator_and_never_by_itself() {
    let sns = Sns::start();
    sns.files.answer("/SimpleNotificationService-1.pem", &sns.signer.certificate);
    sns.files.answer("/?Action=ConfirmSubscription&Token=t", "<ConfirmSubscriptionResponse/>");
    let confirm = || {
        CommandOutput::by(
            sns.place.ensue(&["hooks", "confirm", "watch/alarms"]).env("ENSUE_SERVER", sns.node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN),
        )
    };
    let nothing = confirm();
    assert!(nothing.code != Some(0) && nothing.stderr.contains("no subscription waits"), "{nothing:?}");
    let url = format!("{}/?Action=ConfirmSubscription&Token=t", sns.at);
    let parts = json!({ "Type": "SubscriptionConfirmation", "Message": "You have chosen", "Token": "t", "SubscribeURL": url });
    let (status, text) = sns.deliver(&sns.message(&parts)).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    assert_eq!(sns.files.requests(), ["/SimpleNotificationService-1.pem"], "nothing is confirmed yet");
    let confirmed = confirm();
    assert_eq!((confirmed.code, confirmed.stdout.trim()), (Some(0), format!("{TOPIC}  confirmed").as_str()), "{confirmed:?}");
    assert_eq!(sns.files.requests().last().map(String::as_str), Some("/?Action=ConfirmSubscription&Token=t"));
    assert!(confirm().stderr.contains("no subscription waits"));
    assert_eq!(event_count(&sns.node.client()).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn token_of_an_issuer_proves_the_sender_of_a_delivery() {
    let issuer = Issuer::start(Mood::Well);
    let place = NodeFolder::new();
    std::fs::write(place.path().join("ensue.yaml"), json!({ "egress": { "allow": ["127.0.0.1"] } }).to_string()).unwrap();
    let verify = format!("{{ scheme: jwt, issuer: '{}', audience: [hooks], claims: {{ email: push@example.test }} }}", issuer.url());
    write_pack(&place, &verify, "");
    let node = place.start();
    let client = node.client();
    let deliver = async |token: Option<String>| {
        let request = client.anonymous(Method::POST, "/hooks/watch/alarms").json(&json!({ "alarm": "disk" }));
        send_request(token.into_iter().fold(request, |request, token| request.bearer_auth(token))).await
    };
    let claims =
        |email: &str| json!({ "iss": issuer.url(), "aud": "hooks", "sub": "1", "email": email, "iat": seconds(), "exp": seconds() + 600 });
    let genuine = issuer.token(&claims("push@example.test"));
    issuer.becomes(Mood::Fails);
    let (status, text) = deliver(Some(genuine.clone())).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{text}");
    let before = issuer.requests();
    for _ in 0..5 {
        assert_eq!(deliver(Some(genuine.clone())).await.0, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(issuer.requests(), before, "a failing issuer is left alone for half a minute");
    issuer.becomes(Mood::Well);
    drop(client);
    node.stop();
    let node = place.start();
    let client = node.client();
    let deliver = async |token: Option<String>| {
        let request = client.anonymous(Method::POST, "/hooks/watch/alarms").json(&json!({ "alarm": "disk" }));
        send_request(token.into_iter().fold(request, |request, token| request.bearer_auth(token))).await
    };
    for _ in 0..2 {
        assert_eq!(deliver(Some(genuine.clone())).await.0, StatusCode::ACCEPTED, "a sender may use a token again");
    }
    assert_eq!(deliver(Some(issuer.token(&claims("eve@example.test")))).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(deliver(None).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(deliver(Some(ADMIN_TOKEN.to_owned())).await.0, StatusCode::UNAUTHORIZED);
    client.until("/events", |events| events["items"].as_array().is_some_and(|items| items.len() == 2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn client_certificate_proves_the_sender_of_a_delivery() {
    let (place, servers, clients) = (NodeFolder::new(), Authority::new(), Authority::new());
    let (cert, key) = servers.issues("node", "127.0.0.1");
    for (name, text) in [("cert.pem", cert.pem()), ("key.pem", key.serialize_pem()), ("clients.pem", clients.0.pem())] {
        std::fs::write(place.path().join(name), text).unwrap();
    }
    let certificates = json!({ "ca": "clients.pem", "allow": "false", "name": "cert.subject" });
    let settings = json!({ "tls": { "cert": "cert.pem", "key": "key.pem" }, "login": { "certificates": certificates } });
    std::fs::write(place.path().join("ensue.yaml"), settings.to_string()).unwrap();
    write_pack(&place, "{ scheme: mtls, names: ['dns:hooks.example.test'] }", "");
    let node = place.start();
    let deliver = async |issued: Option<(rcgen::Certificate, KeyPair)>| {
        let root = reqwest::Certificate::from_pem(servers.0.pem().as_bytes()).unwrap();
        let builder = http().tls_certs_only([root]);
        let builder = match issued {
            Some((cert, key)) => {
                builder.identity(reqwest::Identity::from_pem(format!("{}{}", cert.pem(), key.serialize_pem()).as_bytes()).unwrap())
            }
            None => builder,
        };
        let client = Client::over(builder.build().unwrap(), node.url());
        send_request(client.anonymous(Method::POST, "/hooks/watch/alarms").json(&json!({ "alarm": "disk" }))).await
    };
    let (status, text) = deliver(Some(clients.issues("hooks", "hooks.example.test"))).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{text}");
    assert_eq!(deliver(Some(clients.issues("hooks", "other.example.test"))).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(deliver(None).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn header_about_a_client_certificate_counts_from_a_trusted_proxy_only() {
    for (trusted, expected) in [(vec!["127.0.0.1/32"], StatusCode::ACCEPTED), (vec!["192.0.2.1/32"], StatusCode::UNAUTHORIZED)] {
        let place = NodeFolder::new();
        std::fs::write(place.path().join("ensue.yaml"), json!({ "trusted_proxies": trusted }).to_string()).unwrap();
        write_pack(&place, "{ scheme: mtls, names: ['CN=hooks,O=Example'], header: x-client-subject }", "");
        let node = place.start();
        let client = node.client();
        let deliver = async |subjects: &[&str]| {
            let request = client.anonymous(Method::POST, "/hooks/watch/alarms").json(&json!({ "alarm": "disk" }));
            send_request(subjects.iter().fold(request, |request, subject| request.header("x-client-subject", *subject))).await.0
        };
        assert_eq!(deliver(&["CN=hooks,O=Example"]).await, expected, "{trusted:?}");
        for bad in [&[][..], &["CN=other"], &["CN=hooks,O=Example", "CN=other"]] {
            assert_eq!(deliver(bad).await, StatusCode::UNAUTHORIZED, "{bad:?}");
        }
    }
}
