//! Logins with a password: one-time codes, resets, attempts that are refused, and what holds after a kill.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{Answer, Client, CommandOutput, Node, NodeFolder, until};

const PASSWORD: &str = "seven brave otters swim";
const NEW_PASSWORD: &str = "eight brave otters swim";

/// A place whose nodes accept passwords, and believe the proxy on this machine.
fn place() -> NodeFolder {
    let place = NodeFolder::new();
    let settings = json!({ "login": { "password": true }, "trusted_proxies": ["127.0.0.1"] });
    std::fs::write(place.path().join("ensue.yaml"), settings.to_string()).unwrap();
    place
}

/// A caller at an address behind the proxy.
fn from(request: RequestBuilder, address: &str) -> RequestBuilder {
    request.header("x-forwarded-for", address).header("x-forwarded-proto", "https")
}

async fn send_request(request: RequestBuilder) -> Answer {
    Answer::of(request.send().await.unwrap()).await
}

/// Posts to a public path as a caller at an address.
async fn post_from(client: &Client, address: &str, path: &str, body: &Value) -> Answer {
    send_request(from(client.anonymous(Method::POST, &format!("/api/v1{path}")), address).json(body)).await
}

async fn log_in(client: &Client, address: &str, body: &Value) -> Answer {
    post_from(client, address, "/auth/login", body).await
}

/// Posts with the access token of a session.
async fn post_as(client: &Client, pair: &Value, path: &str, body: &Value) -> Answer {
    let request = client.anonymous(Method::POST, &format!("/api/v1{path}")).bearer_auth(pair["access_token"].as_str().unwrap());
    send_request(request.json(body)).await
}

async fn me(client: &Client, pair: &Value) -> Answer {
    let request = client.anonymous(Method::GET, "/api/v1/me").bearer_auth(pair["access_token"].as_str().unwrap());
    send_request(request).await
}

fn code(answer: &Answer) -> (u16, &str) {
    (answer.status.as_u16(), answer.body["code"].as_str().unwrap_or_default())
}

/// Adds a person with a password.
async fn add_person(client: &Client, name: &str) {
    client.post("/identities", &json!({ "name": name })).await;
    let reset = client.post(&format!("/identities/{name}/reset"), &json!({})).await;
    assert_eq!(reset.status, 201, "{reset:?}");
    let set = post_from(client, "198.51.100.1", "/auth/reset", &json!({ "code": reset.body["code"], "new": PASSWORD })).await;
    assert_eq!(set.status, 204, "{set:?}");
}

fn login_of(name: &str, password: &str) -> Value {
    json!({ "name": name, "password": password })
}

/// Returns the code that an authenticator app shows `steps` after now.
fn totp(url: &str, steps: i64) -> String {
    let secret = url.split("secret=").nth(1).unwrap().split('&').next().unwrap();
    let bits = secret.bytes().fold(String::new(), |bits, letter| {
        let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|known| *known == letter).unwrap();
        bits + &format!("{value:05b}")
    });
    let bytes: Vec<u8> = (0..bits.len() / 8).map(|at| u8::from_str_radix(&bits[at * 8..at * 8 + 8], 2).unwrap()).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 30;
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &bytes);
    let tag = ring::hmac::sign(&key, &now.checked_add_signed(steps).unwrap().to_be_bytes());
    let tag = tag.as_ref();
    let at = usize::from(tag[19] & 15);
    let number = u32::from_be_bytes(tag[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

#[tokio::test]
async fn password_is_set_by_a_code_opens_sessions_and_is_in_no_record() {
    let place = place();
    let node = place.start();
    let client = node.client();
    add_person(&client, "ana").await;
    let pair = log_in(&client, "192.0.2.1", &login_of("ana", PASSWORD)).await;
    assert_eq!(pair.status, 200, "{pair:?}");
    let shown = me(&client, &pair.body).await.body;
    assert_eq!((shown["name"].as_str(), shown["session"]["way"].as_str()), (Some("ana"), Some("password")));
    assert_eq!(client.get("/public/status").await["logins"], json!(["token", "password", "device"]));
    let without_issuer = CommandOutput::by(place.ensue(&["login"]).env("ENSUE_SERVER", node.url()));
    assert!(without_issuer.stderr.contains("`ensue login --name NAME`"), "{without_issuer:?}");
    let browser = post_from(&client, "192.0.2.1", "/sessions", &login_of("ana", PASSWORD)).await;
    assert!(browser.status == 201 && browser.headers.contains_key("set-cookie"), "{browser:?}");
    // The same text in another form of Unicode is the same password.
    let change = json!({ "old": PASSWORD, "new": "caf\u{e9} at the old harbor" });
    assert_eq!(post_as(&client, &pair.body, "/auth/password", &change).await.status, 204);
    let composed = log_in(&client, "192.0.2.1", &login_of("ana", "cafe\u{301} at the old harbor")).await;
    assert_eq!(composed.status, 200, "{composed:?}");

    let records = client.records().await;
    let changed: Vec<_> = records.iter().filter(|record| record["kind"] == "credential.changed").collect();
    let how: Vec<_> = changed.iter().map(|record| record["fact"]["how"].as_str().unwrap()).collect();
    assert_eq!(how, ["reset", "set", "set"]);
    assert_eq!(changed[0]["actor"], "token/admin");
    let id = shown["id"].as_str().unwrap();
    assert!(changed[1]["actor"].as_str().unwrap().starts_with(&format!("identity/{id}/code/")), "{}", changed[1]);
    assert!(changed[2]["actor"].as_str().unwrap().starts_with(&format!("identity/{id}/session/")), "{}", changed[2]);
    let log = json!(records).to_string();
    for secret in [PASSWORD, "harbor", "argon2", "192.0.2"] {
        assert!(!log.contains(secret), "{secret}");
    }
    drop(node);
    let files = crate::support::files_below(&place.data());
    let has =
        |secret: &str| files.iter().any(|file| std::fs::read(file).unwrap().windows(secret.len()).any(|bytes| bytes == secret.as_bytes()));
    assert!(!has(PASSWORD) && !has("argon2id"), "the vault seals the hash");
}

#[tokio::test]
async fn new_password_ends_the_other_sessions_and_the_old_one_counts_no_more() {
    let place = place();
    let node = place.start();
    let client = node.client();
    add_person(&client, "ana").await;
    let (own, other) = (
        log_in(&client, "192.0.2.1", &login_of("ana", PASSWORD)).await.body,
        log_in(&client, "192.0.2.1", &login_of("ana", PASSWORD)).await.body,
    );
    let change = |old: &str, new: &str| json!({ "old": old, "new": new });
    for (new, why) in [("short", "at least 12"), ("password12345", "most common"), ("anaanaanaana", "most common")] {
        let refused = post_as(&client, &own, "/auth/password", &change(PASSWORD, new)).await;
        assert_eq!(code(&refused), (422, "password_weak"), "{new}");
        assert!(refused.body["detail"].as_str().unwrap().contains(why), "{refused:?}");
    }
    let wrong = post_as(&client, &own, "/auth/password", &change("not this one at all", NEW_PASSWORD)).await;
    assert_eq!(code(&wrong), (401, "login_refused"));
    assert_eq!(post_as(&client, &own, "/auth/password", &change(PASSWORD, NEW_PASSWORD)).await.status, 204);
    assert_eq!(me(&client, &own).await.status, 200);
    assert_eq!(code(&me(&client, &other).await), (401, "session_unknown"));
    node.kill();
    let node = place.start();
    let client = node.client();
    assert_eq!(code(&log_in(&client, "192.0.2.1", &login_of("ana", PASSWORD)).await), (401, "login_refused"));
    let again = log_in(&client, "192.0.2.1", &login_of("ana", NEW_PASSWORD)).await;
    assert_eq!(again.status, 200, "{again:?}");
    let records = client.records().await;
    let ended = records.iter().find(|record| record["kind"] == "session.ended").unwrap();
    assert_eq!(ended["fact"]["reason"], "password_changed");
}

#[tokio::test]
async fn code_of_a_reset_sets_one_password_and_opens_no_session() {
    let place = place();
    let node = place.start();
    let client = node.client();
    add_person(&client, "ana").await;
    let own = log_in(&client, "192.0.2.1", &login_of("ana", PASSWORD)).await.body;
    let reset = async |client: &Client| client.post("/identities/ana/reset", &json!({})).await.body["code"].clone();
    let set = async |client: &Client, given: &Value, new: &str| {
        post_from(client, "198.51.100.2", "/auth/reset", &json!({ "code": given, "new": new })).await
    };
    let (before, given) = (reset(&client).await, reset(&client).await);
    assert_eq!(code(&set(&client, &before, NEW_PASSWORD).await), (401, "token_invalid"), "a newer code replaces it");
    let as_login = post_from(&client, "198.51.100.2", "/auth/login", &json!({ "code": given })).await;
    assert_eq!(code(&as_login), (401, "token_invalid"));
    assert_eq!(code(&set(&client, &given, "short").await), (422, "password_weak"), "the code still works");
    assert_eq!(set(&client, &given, NEW_PASSWORD).await.status, 204);
    assert_eq!(code(&me(&client, &own).await), (401, "session_unknown"));
    node.kill();
    let node = place.start();
    let client = node.client();
    assert_eq!(code(&set(&client, &given, PASSWORD).await), (409, "link_used"));
    assert_eq!(log_in(&client, "192.0.2.1", &login_of("ana", NEW_PASSWORD)).await.status, 200);

    client.post("/identities", &json!({ "name": "ci", "kind": "service" })).await;
    assert_eq!(code(&client.post("/identities/ci/reset", &json!({})).await), (409, "person_required"));
    let erased = send_request(client.request(Method::DELETE, "/api/v1/identities/ana").json(&json!({}))).await;
    assert_eq!(erased.status, 204, "{erased:?}");
    assert_eq!(code(&log_in(&client, "192.0.2.1", &login_of("ana", NEW_PASSWORD)).await), (401, "login_refused"));
}

#[tokio::test]
async fn each_code_of_an_app_and_each_recovery_code_works_once_also_after_a_kill() {
    let place = place();
    let node = place.start();
    let client = node.client();
    add_person(&client, "ana").await;
    let own = log_in(&client, "192.0.2.1", &login_of("ana", PASSWORD)).await.body;
    assert_eq!(code(&post_as(&client, &own, "/auth/otp", &json!({ "password": "not this one at all" })).await), (401, "login_refused"));
    let new = post_as(&client, &own, "/auth/otp", &json!({ "password": PASSWORD })).await;
    assert_eq!(new.status, 200, "{new:?}");
    let url = new.body["url"].as_str().unwrap().to_owned();
    assert!(url.starts_with("otpauth://totp/") && url.contains(new.body["secret"].as_str().unwrap()), "{url}");
    assert_eq!(log_in(&client, "192.0.2.2", &login_of("ana", PASSWORD)).await.status, 200, "it counts once it is confirmed");
    assert_eq!(code(&post_as(&client, &own, "/auth/otp/confirm", &json!({ "code": "000000" })).await).1, "otp_wrong");
    let confirmed = post_as(&client, &own, "/auth/otp/confirm", &json!({ "code": totp(&url, 0) })).await;
    let recovery: Vec<String> =
        serde_json::from_value(confirmed.body["recovery_codes"].clone()).unwrap_or_else(|_| panic!("{confirmed:?}"));
    assert_eq!(recovery.len(), 10);

    let with = |otp: &str| json!({ "name": "ana", "password": PASSWORD, "otp": otp });
    assert_eq!(code(&log_in(&client, "192.0.2.2", &login_of("ana", PASSWORD)).await), (401, "otp_required"));
    let shown = totp(&url, 1);
    let body = with(&shown);
    let (one, other) = tokio::join!(log_in(&client, "192.0.2.2", &body), log_in(&client, "192.0.2.2", &body));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401], "of two at once, one succeeds");
    assert_eq!(log_in(&client, "192.0.2.3", &with(&recovery[3])).await.status, 200);
    node.kill();
    let node = place.start();
    let client = node.client();
    for used in [&shown, &recovery[3]] {
        assert_eq!(code(&log_in(&client, "192.0.2.4", &with(used)).await), (401, "otp_required"), "{used}");
    }
    let again = log_in(&client, "192.0.2.4", &with(&recovery[4].to_uppercase().replace('-', " "))).await;
    assert_eq!(again.status, 200, "{again:?}");
    let gone = json!({ "password": PASSWORD, "otp": recovery[5] });
    assert_eq!(post_as(&client, &again.body, "/auth/otp/remove", &gone).await.status, 204);
    assert_eq!(log_in(&client, "192.0.2.4", &login_of("ana", PASSWORD)).await.status, 200);
    let log = json!(client.records().await).to_string();
    assert!(!log.contains(&recovery[4]) && !log.contains(new.body["secret"].as_str().unwrap()));
}

#[tokio::test]
async fn refused_login_does_not_show_whether_the_name_exists() {
    let place = place();
    let node = place.start();
    let client = node.client();
    for name in ["ana", "bo"] {
        add_person(&client, name).await;
    }
    client.post("/identities", &json!({ "name": "cy" })).await;
    client.post("/identities/bo/disable", &json!({})).await;
    let mut answers = Vec::new();
    for (name, password) in
        [("ana", NEW_PASSWORD), ("bo", PASSWORD), ("cy", PASSWORD), ("nobody", PASSWORD), ("", "x"), ("no\u{0}body", PASSWORD)]
    {
        let answer = log_in(&client, "192.0.2.7", &login_of(name, password)).await;
        let headers: Vec<_> = answer
            .headers
            .iter()
            .filter(|(name, _)| !["date", "ensue-request-id", "traceparent", "x-request-id"].contains(&name.as_str()))
            // What remains of the rate depends on the time.
            .filter(|(name, _)| !name.as_str().contains("ratelimit"))
            .collect();
        let mut body = answer.body.clone();
        body.as_object_mut().unwrap().remove("request_id");
        answers.push(format!("{} {headers:?} {body}", answer.status));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:#?}");
    let too_long = log_in(&client, "192.0.2.7", &login_of("ana", &"x".repeat(1_025))).await;
    assert_eq!(code(&too_long), (422, "password_weak"));
    let huge = log_in(&client, "192.0.2.7", &login_of("ana", &"x".repeat(1_000_000))).await;
    assert_eq!(huge.status.as_u16() / 100, 4, "{huge:?}");
}

#[tokio::test]
async fn attempts_on_one_account_are_limited_but_not_on_a_device_that_came_in_before() {
    let place = place();
    let node = place.start();
    let client = node.client();
    add_person(&client, "ana").await;
    let opened = post_from(&client, "192.0.2.1", "/sessions", &login_of("ana", PASSWORD)).await;
    let cookie = opened.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let ended = client.request(Method::DELETE, &format!("/api/v1/sessions/{}", opened.body["id"].as_str().unwrap())).json(&json!({}));
    assert_eq!(send_request(ended).await.status, 204, "the session has ended");
    node.kill();
    let node = place.start();
    let client = node.client();
    let mut codes = std::collections::BTreeMap::new();
    for attempt in 0..40 {
        let answer = log_in(&client, &format!("203.0.{attempt}.9"), &login_of("ana", "a wrong password")).await;
        if answer.status == 429 {
            let after: u32 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=900).contains(&after), "{after}");
        }
        *codes.entry(code(&answer).1.to_owned()).or_insert(0) += 1;
    }
    assert_eq!(codes.into_iter().collect::<Vec<_>>(), [("login_refused".to_owned(), 10), ("login_throttled".to_owned(), 30)]);
    // The right password does not count from an unknown device, but it does from the device of before.
    assert_eq!(code(&log_in(&client, "192.0.2.1", &login_of("ana", PASSWORD)).await), (429, "login_throttled"));
    let known = |cookie: &str| from(client.anonymous(Method::POST, "/api/v1/sessions"), "192.0.2.1").header("cookie", cookie.to_owned());
    let other = send_request(known(&cookie.replace('a', "b")).json(&login_of("ana", PASSWORD))).await;
    assert_eq!(code(&other), (429, "login_throttled"), "the cookie is not one of the node");
    let owner = send_request(known(&cookie).json(&login_of("ana", PASSWORD))).await;
    assert_eq!(owner.status, 201, "{owner:?}");

    let audit = client.until("/audit?limit=200", |audit| audit.to_string().contains("login.refused")).await;
    let rows: Vec<_> = audit["items"].as_array().unwrap().iter().filter(|row| row["kind"] == "login.refused").collect();
    assert!(rows.iter().all(|row| !row.to_string().contains("203.0.1.9")), "{rows:?}");
    let records = client.records().await;
    let refused: Vec<_> = records.iter().filter(|record| record["kind"] == "login.refused").collect();
    let id = client.get("/identities/ana").await["id"].clone();
    assert!(refused.iter().any(|record| record["fact"]["way"] == "password" && record["fact"]["identity"] == id), "{refused:?}");
}

#[tokio::test]
async fn one_network_tries_twenty_accounts_a_minute() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let mut codes = Vec::new();
    for attempt in 0..23 {
        let answer = log_in(&client, &format!("203.0.113.{attempt}"), &login_of(&format!("user{attempt}"), "summer at the lake")).await;
        codes.push(code(&answer).1.to_owned());
    }
    assert_eq!(codes.iter().position(|code| code == "login_throttled"), Some(20), "{codes:?}");
    assert_eq!(code(&log_in(&client, "203.0.114.1", &login_of("user99", "summer at the lake")).await), (401, "login_refused"));
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_logins_at_once_take_little_memory_and_delay_nothing_else() {
    let place = place();
    let node = place.start();
    let client = node.client();
    client.get("/events").await;
    let before = peak_memory(&node);
    let logins = (0..500).map(|attempt| {
        let (client, address) = (client.clone(), format!("10.{}.{}.1", attempt / 250, attempt % 250));
        tokio::spawn(async move { log_in(&client, &address, &login_of(&format!("user{attempt}"), "summer at the lake")).await })
    });
    let logins: Vec<_> = logins.collect();
    until("an answer to a login", async || logins.iter().any(|login| login.is_finished())).await;
    client.get("/events").await;
    assert!(logins.iter().any(|login| !login.is_finished()), "another request waits until all logins are answered");
    let mut codes = std::collections::BTreeMap::new();
    for login in logins {
        let answer = login.await.unwrap();
        if answer.status == 503 {
            assert!(answer.headers.contains_key("retry-after"));
        }
        *codes.entry(code(&answer).1.to_owned()).or_insert(0) += 1;
    }
    assert_eq!(codes.values().sum::<i32>(), 500);
    assert!(codes.keys().all(|code| ["busy", "login_refused"].contains(&code.as_str())), "{codes:?}");
    assert!(codes["login_refused"] >= 34, "{codes:?}");
    let grown = peak_memory(&node) - before;
    assert!(grown <= 200 * 1024, "{grown} KiB");
}

/// Returns the largest memory of a node until now, in KiB.
fn peak_memory(node: &Node) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn node_without_the_setting_has_no_passwords() {
    let place = NodeFolder::new();
    let node = place.start();
    let client = node.client();
    client.post("/identities", &json!({ "name": "ana" })).await;
    let request = client.anonymous(Method::POST, "/api/v1/auth/login").json(&login_of("ana", PASSWORD));
    assert_eq!(code(&send_request(request).await), (403, "passwords_off"));
    assert_eq!(code(&client.post("/identities/ana/reset", &json!({})).await), (403, "passwords_off"));
    let both = client.anonymous(Method::POST, "/api/v1/auth/login").json(&json!({ "name": "ana", "password": "x", "code": "y" }));
    assert_eq!(code(&send_request(both).await), (422, "body_invalid"));
}

#[tokio::test]
async fn commands_set_a_password_and_log_in_with_it() {
    let place = NodeFolder::new();
    std::fs::write(place.path().join("ensue.yaml"), json!({ "login": { "password": true } }).to_string()).unwrap();
    let node = place.start();
    node.client().post("/identities", &json!({ "name": "ana" })).await;
    let admin =
        |arguments: &[&str]| CommandOutput::by(without_token(&place, &node, arguments).env("ENSUE_TOKEN", crate::support::ADMIN_TOKEN));
    let ask = |arguments: &[&str], lines: &[&str]| {
        CommandOutput::by_feeding(&mut without_token(&place, &node, arguments), (lines.join("\n") + "\n").as_bytes())
    };
    let reset = admin(&["identities", "reset", "ana"]);
    assert!(reset.code == Some(0) && reset.stderr.contains("ensue password set --code"), "{reset:?}");
    let given = reset.stdout.trim();
    let set = ask(&["password", "set", "--code"], &[given, PASSWORD]);
    assert_eq!(set.code, Some(0), "{set:?}");
    let wrong = ask(&["login", "--name", "ana"], &["a wrong password"]);
    assert!(wrong.code == Some(4) && wrong.stderr.contains("the name or the password is wrong"), "{wrong:?}");
    let login = ask(&["login", "--name", "ana"], &[PASSWORD]);
    assert_eq!(login.code, Some(0), "{login:?}");
    let who = ask(&["whoami"], &[]);
    assert!(who.stdout.contains("ana"), "{who:?}");
    let changed = ask(&["password", "set"], &[PASSWORD, NEW_PASSWORD]);
    assert_eq!(changed.code, Some(0), "{changed:?}");
    assert!(ask(&["whoami"], &[]).stdout.contains("ana"), "the session of the change stays");

    // The app is added by two commands here, since its code is not known before its secret.
    let pair: Value = {
        let folder = place.path().join("state/ensue/credentials");
        let mut files = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
        let file = files.find(|path| path.extension().is_some_and(|extension| extension == "json")).unwrap();
        serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
    };
    let client = node.client();
    let url = post_as(&client, &pair, "/auth/otp", &json!({ "password": NEW_PASSWORD })).await.body["url"].as_str().unwrap().to_owned();
    let confirmed = post_as(&client, &pair, "/auth/otp/confirm", &json!({ "code": totp(&url, 0) })).await.body;
    let without = ask(&["login", "--name", "ana"], &[NEW_PASSWORD]);
    assert!(without.code == Some(4) && without.stderr.contains("authenticator app"), "{without:?}");
    assert_eq!(ask(&["login", "--name", "ana"], &[NEW_PASSWORD, &totp(&url, 1)]).code, Some(0));
    let removed = ask(&["password", "otp", "remove"], &[NEW_PASSWORD, confirmed["recovery_codes"][0].as_str().unwrap()]);
    assert_eq!(removed.code, Some(0), "{removed:?}");
    let added = ask(&["password", "otp", "add"], &[NEW_PASSWORD, "000000"]);
    assert!(added.code != Some(0) && added.stdout.contains("otpauth://totp/"), "{added:?}");
}

/// Prepares a command that asks a node without any token.
fn without_token(place: &NodeFolder, node: &Node, arguments: &[&str]) -> Command {
    let mut command = place.ensue(arguments);
    command.env("ENSUE_SERVER", node.url()).env_remove("ENSUE_TOKEN");
    command
}
