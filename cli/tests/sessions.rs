//! Sessions of programs: their tokens, races, reuse, and what holds after a kill.

use std::collections::BTreeSet;
use std::process::Command;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Answer, Client, CommandOutput, Node, NodeFolder};

/// Logs in as the administrator, and returns the pair.
async fn log_in(client: &Client) -> Value {
    let request = client.anonymous(Method::POST, "/api/v1/auth/login").json(&json!({ "token": ADMIN_TOKEN }));
    let answer = Answer::of(request.send().await.unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.body
}

async fn refresh(client: &Client, token: &Value) -> Answer {
    let request = client.anonymous(Method::POST, "/api/v1/auth/refresh").json(&json!({ "refresh_token": token }));
    Answer::of(request.send().await.unwrap()).await
}

/// Reads who the holder of an access token is.
async fn me(client: &Client, access: &Value) -> Answer {
    let request = client.anonymous(Method::GET, "/api/v1/me").bearer_auth(access.as_str().unwrap());
    Answer::of(request.send().await.unwrap()).await
}

fn code(answer: &Answer) -> (u16, &str) {
    (answer.status.as_u16(), answer.body["code"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn sixteen_refreshes_at_once_make_one_successor() {
    let place = NodeFolder::new();
    let node = place.start();
    let client = node.client();
    let mut pair = log_in(&client).await;
    for round in 0..5 {
        let (client, token) = (&client, &pair["refresh_token"]);
        let answers = futures_util::future::join_all((0..16).map(|_| refresh(client, token))).await;
        let successors: BTreeSet<String> = answers.iter().map(|answer| answer.body["refresh_token"].to_string()).collect();
        assert_eq!(successors.len(), 1, "round {round}: {answers:?}");
        let access: BTreeSet<String> = answers.iter().map(|answer| answer.body["access_token"].to_string()).collect();
        assert_eq!(access.len(), 1, "round {round}");
        pair = answers[0].body.clone();
    }
    assert_eq!(me(&client, &pair["access_token"]).await.body["by"]["kind"], "session");
}

#[tokio::test]
async fn second_use_of_an_older_refresh_token_ends_the_session() {
    let place = NodeFolder::new();
    let node = place.start();
    let client = node.client();
    let first = log_in(&client).await;
    let second = refresh(&client, &first["refresh_token"]).await.body;
    let third = refresh(&client, &second["refresh_token"]).await.body;
    assert_eq!(me(&client, &third["access_token"]).await.status, StatusCode::OK);
    assert_eq!(code(&refresh(&client, &first["refresh_token"]).await), (401, "refresh_reused"));
    assert_eq!(code(&me(&client, &third["access_token"]).await), (401, "session_unknown"));
    assert_eq!(code(&refresh(&client, &third["refresh_token"]).await), (401, "session_unknown"));
    let records = client.records().await;
    let ended = records.iter().find(|record| record["kind"] == "session.ended").unwrap();
    assert_eq!((ended["fact"]["reason"].as_str(), ended["actor"].as_str()), (Some("reuse"), Some("engine")));
}

#[tokio::test]
async fn tokens_of_another_kind_and_of_another_node_are_refused() {
    let (place, other) = (NodeFolder::new(), NodeFolder::new());
    let (node, other) = (place.start(), other.start());
    let client = node.client();
    let pair = log_in(&client).await;
    assert_eq!(code(&me(&client, &pair["refresh_token"]).await), (401, "token_invalid"), "a refresh token gives no access");
    assert_eq!(code(&refresh(&client, &pair["access_token"]).await), (401, "token_invalid"), "an access token is not exchanged");
    assert_eq!(code(&refresh(&client, &json!(ADMIN_TOKEN)).await), (401, "token_invalid"));
    assert_eq!(code(&me(&other.client(), &pair["access_token"]).await), (401, "issuer_unknown"), "another node has another key");
    let keys = client.get("/auth/jwks").await;
    assert_eq!((keys["keys"][0]["kty"].as_str(), keys["keys"][0]["d"].as_str()), (Some("OKP"), None), "the private part stays");
}

#[tokio::test]
async fn ended_session_is_refused_at_once_and_after_a_kill_and_a_restart() {
    let place = NodeFolder::new();
    let node = place.start();
    let client = node.client();
    let (kept, ended) = (log_in(&client).await, log_in(&client).await);
    client.post("/tokens", &json!({ "name": "short", "roles": ["viewer"] })).await;
    let logout = client.anonymous(Method::POST, "/api/v1/auth/logout").bearer_auth(ended["access_token"].as_str().unwrap());
    assert_eq!(logout.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(code(&me(&client, &ended["access_token"]).await), (401, "session_unknown"));
    node.kill();
    let node = place.start();
    let client = node.client();
    assert_eq!(code(&me(&client, &ended["access_token"]).await), (401, "session_unknown"));
    assert_eq!(code(&refresh(&client, &ended["refresh_token"]).await).0, 401);
    assert_eq!(me(&client, &kept["access_token"]).await.status, StatusCode::OK, "the other session continues");
    let next = refresh(&client, &kept["refresh_token"]).await;
    assert_eq!(next.status, StatusCode::OK, "{next:?}");
}

#[tokio::test]
async fn session_ends_with_its_token_and_with_its_identity() {
    let place = NodeFolder::new();
    let node = place.start();
    let client = node.client();
    client.post("/identities", &json!({ "name": "ana" })).await;
    let made = client.post("/tokens", &json!({ "name": "laptop", "identity": "ana" })).await.body;
    let log_in = async || {
        let request = client.anonymous(Method::POST, "/api/v1/auth/login").json(&json!({ "token": made["token"] }));
        Answer::of(request.send().await.unwrap()).await.body
    };
    let pair = log_in().await;
    let shown = me(&client, &pair["access_token"]).await.body;
    assert_eq!((shown["name"].as_str(), shown["session"]["of"].as_str()), (Some("ana"), Some("ana")));
    client.post("/identities/ana/disable", &json!({})).await;
    assert_eq!(code(&me(&client, &pair["access_token"]).await).0, 401);
    client.post("/identities/ana/enable", &json!({})).await;
    assert_eq!(code(&me(&client, &pair["access_token"]).await), (401, "session_unknown"), "an ended session stays ended");
    let pair = log_in().await;
    let revoked = client.request(Method::DELETE, "/api/v1/tokens/laptop").send().await.unwrap();
    assert_eq!(revoked.status(), StatusCode::NO_CONTENT);
    assert_eq!(code(&me(&client, &pair["access_token"]).await), (401, "session_unknown"));
}

#[tokio::test]
async fn login_link_opens_one_session_also_after_a_kill() {
    let place = NodeFolder::new();
    let node = place.start();
    let client = node.client();
    client.post("/tokens", &json!({ "name": "maria", "roles": ["shippers"] })).await;
    let mint = async |client: &Client| client.post("/tokens/maria/login_links", &json!({})).await.body["code"].clone();
    let open = async |client: &Client, body: Value| {
        let request = client.anonymous(Method::POST, "/api/v1/sessions").json(&body);
        Answer::of(request.send().await.unwrap()).await
    };
    let (used, kept) = (mint(&client).await, mint(&client).await);
    let opened = open(&client, json!({ "code": used })).await;
    assert_eq!(opened.status, StatusCode::CREATED, "{opened:?}");
    let cookie = opened.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let me = client.anonymous(Method::GET, "/api/v1/me").header("cookie", &cookie).send().await.unwrap();
    let me = Answer::of(me).await.body;
    assert_eq!((me["name"].as_str(), me["session"]["way"].as_str()), (Some("maria"), Some("link")));
    // The log says who created the link, and the session names it.
    let records = client.get("/log?limit=200").await["items"].as_array().unwrap().clone();
    let of_kind = |kind: &str| records.iter().filter(|record| record["kind"] == kind).collect::<Vec<_>>();
    let (minted, opened) = (of_kind("login_link.minted"), of_kind("session.opened"));
    assert_eq!((minted.len(), opened.len()), (2, 1), "{records:#?}");
    assert_eq!(opened[0]["fact"]["link"], minted[0]["fact"]["id"], "{opened:#?}");
    assert_eq!((minted[0]["actor"].as_str(), opened[0]["actor"].as_str()), (Some("token/admin"), Some("token/maria")));
    // So does the session of a terminal that the first one approves.
    let post = async |path: &str, cookie: Option<&str>, body: Value| {
        let mut request = client.anonymous(Method::POST, path).json(&body);
        if let Some(cookie) = cookie {
            request = request.header("cookie", cookie).header("ensue-page", "1").header("sec-fetch-site", "same-origin");
        }
        Answer::of(request.send().await.unwrap()).await
    };
    let begun = Answer::of(client.anonymous(Method::POST, "/api/v1/auth/device").send().await.unwrap()).await.body;
    let decision = json!({ "user_code": begun["user_code"], "decision": "approve" });
    let decided = post("/api/v1/auth/device/decide", Some(&cookie), decision).await;
    assert_eq!(decided.status, StatusCode::NO_CONTENT, "{decided:?}");
    let pair = post("/api/v1/auth/device/token", None, json!({ "device_code": begun["device_code"] })).await;
    assert_eq!(pair.status, StatusCode::OK, "{pair:?}");
    let records = client.get("/log?limit=200").await["items"].as_array().unwrap().clone();
    let sessions: Vec<&Value> = records.iter().filter(|record| record["kind"] == "session.opened").collect();
    assert_eq!(sessions.iter().map(|session| session["fact"]["way"].as_str()).collect::<Vec<_>>(), [Some("link"), Some("device")]);
    assert_eq!(sessions[1]["fact"]["link"], sessions[0]["fact"]["link"]);
    node.kill();
    let node = place.start();
    let client = node.client();
    assert_eq!(code(&open(&client, json!({ "code": used })).await), (409, "link_used"));
    let wrong = kept.as_str().unwrap().replace('7', "8");
    assert_eq!(code(&open(&client, json!({ "code": wrong })).await), (401, "token_invalid"));
    assert_eq!(code(&open(&client, json!({ "code": kept, "verifier": "x" })).await), (401, "token_invalid"));
    assert_eq!(open(&client, json!({ "code": kept })).await.status, StatusCode::CREATED);
    assert_eq!(code(&open(&client, json!({ "code": kept, "token": ADMIN_TOKEN })).await), (422, "body_invalid"));
}

/// Prepares a command that asks a node without any token.
fn without_token(place: &NodeFolder, node: &Node, arguments: &[&str]) -> Command {
    let mut command = place.ensue(arguments);
    command.env("ENSUE_SERVER", node.url()).env_remove("ENSUE_TOKEN");
    command
}

#[tokio::test]
async fn commands_use_the_session_of_a_login_until_the_logout() {
    let place = NodeFolder::new();
    let node = place.start();
    let ask = |arguments: &[&str]| CommandOutput::by(&mut without_token(&place, &node, arguments));
    assert_eq!(ask(&["whoami"]).code, Some(4));
    let wrong = CommandOutput::by_feeding(&mut without_token(&place, &node, &["login", "--token"]), b"ens_nothing");
    assert_eq!(wrong.code, Some(4), "{wrong:?}");
    let login = CommandOutput::by_feeding(&mut without_token(&place, &node, &["login", "--token"]), format!("{ADMIN_TOKEN}\n").as_bytes());
    assert_eq!(login.code, Some(0), "{login:?}");
    let who = ask(&["whoami"]);
    assert!(who.code == Some(0) && who.stdout.contains("admin, by the session"), "{who:?}");
    assert!(ask(&["sessions", "list"]).stdout.contains("ensue/"), "the session shows its program");

    // The access token has ended: commands at the same time exchange it once.
    let folder = place.path().join("state/ensue/credentials");
    let file =
        std::fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|e| e == "json"));
    let file = file.unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions()) & 0o777, 0o600);
    let mut stored: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    stored["expires_at"] = 0.into();
    std::fs::write(&file, stored.to_string()).unwrap();
    let running: Vec<_> = (0..4).map(|_| without_token(&place, &node, &["whoami"]).spawn().unwrap()).collect();
    for mut one in running {
        assert_eq!(one.wait().unwrap().code(), Some(0));
    }
    let refreshed: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert!(refreshed["refresh_token"].as_str().unwrap().contains("_2_"), "one exchange");

    assert_eq!(ask(&["logout"]).code, Some(0));
    assert!(!file.exists());
    assert_eq!((ask(&["whoami"]).code, ask(&["logout"]).code), (Some(4), Some(5)));
}

#[tokio::test]
async fn admin_token_of_a_second_start_is_ignored_with_a_warning() {
    let place = NodeFolder::new();
    let node = place.start();
    let head = node.client().records().await.len();
    assert!(!node.stderr_text().contains("admin token"));
    node.stop();
    let another = format!("ens_01a21601-8266-7f49-86c4-ef652fbbc5c5_{}", "5e".repeat(32));
    let place = place.with_variable("ENSUE_ADMIN_TOKEN", &another);
    let node = place.start();
    assert!(node.stderr_text().contains("the given admin token is ignored"), "{}", node.stderr_text());
    let refused = node.client().anonymous(Method::GET, "/api/v1/me").bearer_auth(&another).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert!(node.client().records().await[head..].iter().all(|record| record["kind"] != "token.added"));
}
