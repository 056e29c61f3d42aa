//! The packs of the library at work: on a running node, with the servers that they talk to.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::Method;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::smtp::{Instead, MailProtection, MailServer, Rules, USER};
use crate::support::skipped::has_program;
use crate::support::{Client, CommandOutput, NodeFolder, free_port, until};

const PASSWORD: &str = "correct horse battery";

/// Creates a place with a pack of the library and its settings.
fn place(pack: &str, settings: &Value) -> NodeFolder {
    let place = NodeFolder::new();
    let added = CommandOutput::by(&mut place.ensue(&["packs", "add", pack]));
    assert_eq!(added.code, Some(0), "{added:#?}");
    std::fs::write(place.path().join("ensue.yaml"), settings.to_string()).unwrap();
    place
}

/// Shortens a time in a file of the place's pack that is too long for a test.
fn hurry(place: &NodeFolder, file: &str, from: &str, to: &str) {
    let path = place.path().join("packs").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} no longer has `{from}`");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

/// Returns the payloads of the events of a trigger, the oldest first, once there are that many.
pub(crate) async fn payloads(client: &Client, trigger: &str, count: usize) -> Vec<Value> {
    let are_enough = |page: &Value| page["items"].as_array().is_some_and(|items| items.len() >= count);
    let page = client.until(&format!("/events?trigger={trigger}&limit=200"), are_enough).await;
    let mut payloads = Vec::new();
    for event in page["items"].as_array().unwrap().iter().rev() {
        payloads.push(client.get(&format!("/events/{}", event["id"].as_str().unwrap())).await["payload"].clone());
    }
    payloads
}

/// A site on loopback whose only page changes.
struct Site {
    address: std::net::SocketAddr,
    page: Arc<Mutex<String>>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Site {
    async fn start(page: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (page, heads) = (Arc::new(Mutex::new(page)), Arc::new(Mutex::new(Vec::new())));
        let site = Self { address, page: page.clone(), heads: heads.clone() };
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.windows(4).any(|window| window == b"\r\n\r\n") {
                    if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        break;
                    }
                }
                heads.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
                let body = page.lock().unwrap().clone();
                let kind = if body.starts_with('<') { "text/xml" } else { "application/json" };
                let answer =
                    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        site
    }

    fn set(&self, page: String) {
        *self.page.lock().unwrap() = page;
    }
}

/// Returns the certificate of an authority, as PEM, and a server's that is valid for 127.0.0.1.
pub(crate) fn certificate() -> (String, TlsAcceptor) {
    let mut issuer = CertificateParams::new(Vec::new()).unwrap();
    issuer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(issuer, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let signed = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = config.with_single_cert(vec![signed.der().clone()], key).unwrap();
    (issuer.pem(), TlsAcceptor::from(Arc::new(config)))
}

async fn mail_server(rules: Rules) -> (MailServer, NodeFolder) {
    let server = MailServer::start(Rules { protected: MailProtection::Starttls, password: Some(PASSWORD), ..rules }, certificate()).await;
    let config = json!({
        "host": "127.0.0.1",
        "port": server.address.port(),
        "user": USER,
        "from": "Robot <robot@example.org>",
        "ca": server.authority,
    });
    let settings = json!({
        "egress": { "allow": [server.address.to_string()] },
        "packs": { "mail": { "config": config, "keys": { "password": { "file": "password" } } } },
    });
    let place = place("mail", &settings);
    let file = place.path().join("password");
    std::fs::write(&file, PASSWORD).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    (server, place)
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_sent_encrypted_with_a_login_that_nothing_shows() {
    let (server, place) = mail_server(Rules::plain()).await;
    let node = place.start();
    let client = node.client();
    let params = json!({ "to": ["ada@example.org", "gone@example.org"], "subject": "Hello", "text": "It is done." });
    let sent = client.run("mail.send", &params).await;
    assert_eq!(sent["status"], "succeeded", "{sent:#}");
    assert_eq!((&sent["result"]["accepted"], &sent["result"]["refused"][0]["code"]), (&json!(["ada@example.org"]), &json!(550)));
    let mails = server.mails();
    assert_eq!((mails.len(), mails[0].to.as_slice()), (1, ["ada@example.org".to_owned()].as_slice()));
    let id = format!("<{}@example.org>", sent["id"].as_str().unwrap());
    assert_eq!(mails[0].header("Message-ID"), Some(id));
    let records = json!(client.records().await).to_string();
    assert!(!records.contains(PASSWORD) && !node.stderr_text().contains(PASSWORD));
}

/// Creates a place whose pack `mail` uses the connection `relay`, which leads to a new server.
async fn mail_over_a_connection(rules: Rules) -> (MailServer, NodeFolder) {
    let server = MailServer::start(Rules { protected: MailProtection::Starttls, password: Some(PASSWORD), ..rules }, certificate()).await;
    let relay = json!({
        "smtp": { "host": "127.0.0.1", "port": server.address.port(), "user": USER, "password": { "key": "relay.password" }, "ca": "ca.pem" },
        "breaker": { "failures": 2, "open_for": "1h" },
    });
    let settings = json!({
        "egress": { "allow": [server.address.to_string()] },
        "connections": { "relay": relay },
        "packs": { "mail": { "config": { "connection": "relay", "from": "Robot <robot@example.org>" } } },
    });
    let place = place("mail", &settings);
    place.write_pack_file("relay/pack.yaml", "name: relay\nversion: 1.0.0\ndescription: The key of the relay.\nkeys: [password]\n");
    std::fs::write(place.path().join("ca.pem"), &server.authority).unwrap();
    (server, place)
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_sent_over_a_connection_whose_password_the_pack_never_reads() {
    let (server, place) = mail_over_a_connection(Rules::plain()).await;
    let checked = CommandOutput::by(&mut place.ensue(&["check", "packs"]));
    assert_eq!(checked.code, Some(0), "{checked:#?}");
    let node = place.start();
    let client = node.client();
    let params = json!({ "to": ["ada@example.org", "gone@example.org"], "subject": "Hello", "text": "It is done." });
    let set = async |value: &str| {
        let request = client.request(Method::PUT, "/api/v1/keys/relay.password").json(&json!({ "value": value }));
        assert!(request.send().await.unwrap().status().is_success());
    };
    set("wrong").await;
    let refused = client.run("mail.send", &params).await;
    assert_eq!((&refused["error"]["kind"], &refused["error"]["detail"]), (&json!("smtp_status"), &json!(535)), "{refused:#}");
    assert_eq!(client.get("/connections/relay").await["last_error"]["kind"], "auth");
    set(PASSWORD).await;
    let sent = client.run("mail.send", &params).await;
    assert_eq!(sent["status"], "succeeded", "{sent:#}");
    assert_eq!((&sent["result"]["accepted"], &sent["result"]["refused"][0]["code"]), (&json!(["ada@example.org"]), &json!(550)));
    assert_eq!(server.mails().len(), 1);
    assert!(server.client_lines().iter().any(|said| said.starts_with("STARTTLS")));
    let shown = client.get("/connections/relay").await;
    assert_eq!((&shown["succeeded_count"], &shown["failed_count"]), (&json!(1), &json!(1)), "{shown:#}");
    let audit = client.until("/audit?what=key.used", |audit| !audit["items"][0].is_null()).await;
    assert!(audit["items"].as_array().unwrap().iter().all(|row| row.to_string().contains("relay.password")), "{audit:#}");
    let records = json!(client.records().await).to_string();
    assert!(!records.contains(PASSWORD) && !node.stderr_text().contains(PASSWORD));
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_server_that_closes_opens_the_breaker_and_a_refused_mail_does_not() {
    let closes = |said: &str| said.starts_with("MAIL FROM:<down@").then(|| Instead::Say("421 4.3.2 Closing".to_owned()));
    let (server, place) = mail_over_a_connection(Rules::plain().instead(closes)).await;
    hurry(&place, "mail/actions/send.yaml", "retry: { attempts: 5, delay: 30s, max_delay: 30m }", "");
    let node = place.start();
    let client = node.client();
    let request = client.request(Method::PUT, "/api/v1/keys/relay.password").json(&json!({ "value": PASSWORD }));
    assert!(request.send().await.unwrap().status().is_success());
    let run = async |from: &str, to: &str| {
        let params = json!({ "from": from, "to": to, "subject": "Hello", "text": "It is done." });
        client.run("mail.send", &params).await["error"].clone()
    };
    for _ in 0..3 {
        assert_eq!(run("a@example.org", "gone@example.org").await["detail"], 550);
    }
    assert_eq!(client.get("/connections/relay").await["breaker"], "closed");
    for _ in 0..2 {
        assert_eq!(run("down@example.org", "ada@example.org").await["detail"], 421);
    }
    let said = server.client_lines().len();
    let paused = run("a@example.org", "ada@example.org").await;
    assert!(paused["message"].as_str().unwrap().contains("is paused after repeated failures"), "{paused}");
    assert_eq!(server.client_lines().len(), said, "nothing is said while it is paused");
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_was_not_confirmed_is_left_to_a_person() {
    let (server, place) = mail_server(Rules::plain().instead(|said| (said == ".").then_some(Instead::KeepAndClose))).await;
    let node = place.start();
    let client = node.client();
    let id = client.execute("mail.send", &json!({ "to": "ada@example.org", "subject": "Hello", "text": "It is done." })).await;
    client.until(&format!("/executions/{id}"), |shown| shown["status"] == "indeterminate").await;
    let asked = client.until("/inquiries?status=open", |listed| listed["items"].as_array().is_some_and(|items| items.len() == 1)).await;
    assert_eq!(asked["items"][0]["execution"], json!(id), "{asked:#}");
    assert_eq!(server.mails().len(), 1, "it is not sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_feeds_become_events_once_over_a_restart() {
    if !has_program("entries_of_feeds_become_events_once_over_a_restart", "python3") {
        return;
    }
    let rss = |numbers: &[u32]| {
        let items: Vec<String> =
            numbers.iter().map(|n| format!("<item><title>Number {n}</title><guid>https://a.example/{n}</guid></item>")).collect();
        format!("<rss version=\"2.0\"><channel><title>News</title>{}</channel></rss>", items.join(""))
    };
    let site = Site::start(rss(&[2, 1])).await;
    let url = format!("http://{}/feed", site.address);
    let place = place("rss", &json!({ "packs": { "rss": { "config": { "feeds": [url] } } } }));
    hurry(&place, "rss/sensors/feeds.py", "max(30, int((first.get(\"input\") or {}).get(\"every\", 600)))", "0.2");
    let node = place.start();
    // The first reading only moves the cursor.
    node.client().until("/sensors/rss.entries", |sensor| sensor["cursor"].is_object()).await;
    node.kill();
    site.set(rss(&[4, 3, 2]));
    let node = place.start();
    payloads(&node.client(), "rss.entry", 2).await;
    node.kill();
    site.set(rss(&[5, 4, 3]));
    let node = place.start();
    let found = payloads(&node.client(), "rss.entry", 3).await;
    let titles: Vec<&Value> = found.iter().map(|entry| &entry["title"]).collect();
    assert_eq!(titles, ["Number 3", "Number 4", "Number 5"]);
    let expected = json!({
        "feed": url, "feed_title": "News", "id": "https://a.example/5", "title": "Number 5", "link": "https://a.example/5",
        "published": "", "summary": "", "author": "",
    });
    assert_eq!(found[2], expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn address_that_stops_answering_is_reported_until_it_is_back() {
    if !has_program("address_that_stops_answering_is_reported_until_it_is_back", "python3") {
        return;
    }
    let address = format!("127.0.0.1:{}", free_port());
    let target = format!("tcp://{address}");
    let config = json!({ "targets": [target], "failures": 2 });
    let place = place("probe", &json!({ "packs": { "probe": { "config": config } } }));
    hurry(&place, "probe/sensors/probes.py", "max(5, int((first.get(\"input\") or {}).get(\"every\", 60)))", "0.2");
    hurry(&place, "probe/sensors/probes.py", "time.sleep(max(1,", "time.sleep(max(0,");
    let node = place.start();
    let down = payloads(&node.client(), "probe.down", 1).await;
    assert_eq!(down[0]["target"], json!(target));
    assert!(down[0]["error"].as_str().unwrap().contains("refused"), "{down:?}");
    node.kill();
    let _back = std::net::TcpListener::bind(&address).unwrap();
    let node = place.start();
    let up = payloads(&node.client(), "probe.up", 1).await;
    assert_eq!((&up[0]["target"], &up[0]["since"]), (&json!(target), &down[0]["since"]));
    assert_eq!(payloads(&node.client(), "probe.down", 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn items_of_a_json_api_become_events_with_the_token() {
    let site = Site::start(json!({ "rows": [{ "key": 1 }] }).to_string()).await;
    let url = format!("http://{}/rows", site.address);
    let settings = json!({
        "egress": { "allow": [site.address.to_string()] },
        "packs": { "http": { "config": { "url": url, "items": "rows", "id": "key" }, "keys": { "token": { "file": "secret" } } } },
    });
    let place = place("http", &settings);
    hurry(&place, "http/sensors/items.yaml", "every: 1m", "every: 1s");
    let node = place.start();
    // The entries at the first request make no events. The second comes after they were read.
    until("a second request", async || site.heads.lock().unwrap().len() > 1).await;
    site.set(json!({ "rows": [{ "key": 2, "name": "loom" }, { "key": 1 }] }).to_string());
    let found = payloads(&node.client(), "http.item", 1).await;
    assert_eq!(found, [json!({ "id": "2", "item": { "key": 2, "name": "loom" } })]);
    let heads = site.heads.lock().unwrap().clone();
    let secret = std::fs::read_to_string(place.path().join("secret")).unwrap();
    assert!(
        heads[0].to_ascii_lowercase().contains(&format!("authorization: bearer {}", secret.trim()).to_ascii_lowercase()),
        "{}",
        heads[0]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn job_that_does_not_call_in_is_missed_and_recovers() {
    let place = place("heartbeat", &json!({ "packs": { "heartbeat": { "keys": { "token": { "file": "secret" } } } } }));
    hurry(&place, "heartbeat/rules/hourly.yaml", "for: 2h", "for: 1s");
    let node = place.start();
    let client = node.client();
    let secret = std::fs::read_to_string(place.path().join("secret")).unwrap();
    let call = async |job: &str| {
        let request = client.anonymous(Method::POST, &format!("/hooks/heartbeat/calls/{job}"));
        let request = request.bearer_auth(secret.trim()).header("content-type", "application/json").body("{}");
        request.send().await.unwrap().status()
    };
    assert!(call("hourly/dump").await.is_success());
    assert!(call("never/dump").await.is_success(), "it is accepted, and creates no event");
    let missed = payloads(&client, "heartbeat.missed", 1).await;
    assert_eq!((&missed[0]["job"], &missed[0]["every"]), (&json!("dump"), &json!("hourly")));
    // A second call with the same body counts.
    assert!(call("hourly/dump").await.is_success());
    let recovered = payloads(&client, "heartbeat.recovered", 1).await;
    assert_eq!((&recovered[0]["job"], &recovered[0]["missing_since"]), (&json!("dump"), &missed[0]["last_at"]));
    assert_eq!(payloads(&client, "heartbeat.called", 2).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_of_a_topic_become_one_message() {
    let place = place("digest", &json!({}));
    hurry(&place, "digest/rules/quick.yaml", "until: 10m", "until: 2s");
    let node = place.start();
    let client = node.client();
    for (text, url) in [("one", json!("https://a.example/1")), ("two", Value::Null)] {
        let mut params = json!({ "topic": "builds", "every": "quick", "text": text });
        if !url.is_null() {
            params["url"] = url;
        }
        assert_eq!(client.run("digest.add", &params).await["status"], "succeeded");
    }
    let ready = payloads(&client, "digest.ready", 1).await;
    let shown: BTreeMap<&str, &Value> = ["topic", "count", "subject", "text"].into_iter().map(|name| (name, &ready[0][name])).collect();
    let expected = json!({ "topic": "builds", "count": 2, "subject": "builds: 2 notes", "text": "- one https://a.example/1\n- two" });
    assert_eq!(json!(shown), expected);
}

#[test]
fn programs_of_the_library_pass_their_own_tests() {
    if has_program("programs_of_the_library_pass_their_own_tests", "python3") {
        for file in ["rss/tests/feeds_test.py", "probe/tests/probes_test.py"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packs/library").join(file);
            let ended = Command::new("python3").arg("-B").arg(path).output().unwrap();
            assert!(ended.status.success(), "{file}: {}", String::from_utf8_lossy(&ended.stderr));
        }
    }
}
