//! Links with which one person answers one inquiry: whom they let in, what they reach, and what holds after a kill.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Answer, Client, CommandOutput, Node, NodeFolder, files_below};

async fn send_request(request: RequestBuilder) -> Answer {
    Answer::of(request.send().await.unwrap()).await
}

fn code(answer: &Answer) -> (u16, &str) {
    (answer.status.as_u16(), answer.body["code"].as_str().unwrap_or_default())
}

/// Adds a person who may answer what it is asked.
async fn add_person(client: &Client, name: &str) {
    assert_eq!(client.post("/identities", &json!({ "name": name })).await.status, 201);
    let grant = json!({ "subject": format!("identity:{name}"), "role": "approver" });
    assert_eq!(client.post("/grants", &grant).await.status, 201);
}

/// Opens an inquiry, and returns its id.
async fn open_inquiry(client: &Client, more: &Value) -> String {
    let mut params = json!({
        "title": "Go on?",
        "assignees": ["ana"],
        "answer": { "type": "object", "required": ["go"], "properties": { "go": { "type": "boolean" } } },
    });
    more.as_object().unwrap().iter().for_each(|(name, value)| params[name] = value.clone());
    let id = client.execute("core.inquiry", &params).await;
    let shown = client.until(&format!("/executions/{id}"), |shown| shown["inquiry"].is_string()).await;
    shown["inquiry"].as_str().unwrap().to_owned()
}

/// Starts a node with these persons.
async fn node_with(names: &[&str]) -> (NodeFolder, Node, Client) {
    let place = NodeFolder::new();
    let node = place.start();
    let client = node.client();
    for name in names {
        add_person(&client, name).await;
    }
    (place, node, client)
}

async fn link(client: &Client, inquiry: &str, name: &str) -> Answer {
    client.post(&format!("/inquiries/{inquiry}/links"), &json!({ "for": name })).await
}

async fn open(client: &Client, code: &Value) -> Answer {
    send_request(client.anonymous(Method::POST, "/api/v1/inquiries/links/open").json(&json!({ "code": code }))).await
}

fn cookie(opened: &Answer) -> String {
    assert_eq!(opened.status, 201, "{opened:?}");
    opened.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
}

/// Sends a request as a page of the node does, with the cookie of a session.
async fn by_page(client: &Client, cookie: &str, method: Method, path: &str, body: &Value) -> Answer {
    let request = client.anonymous(method.clone(), &format!("/api/v1{path}")).header("cookie", cookie);
    let request = request.header("ensue-page", "1").header("sec-fetch-site", "same-origin");
    send_request(if method == Method::GET { request } else { request.json(body) }).await
}

fn ensue(place: &NodeFolder, node: &Node, arguments: &[&str]) -> CommandOutput {
    CommandOutput::by(place.ensue(arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN))
}

#[tokio::test]
async fn link_answers_its_inquiry_once_and_reaches_no_other() {
    let (place, node, client) = node_with(&["ana"]).await;
    let (inquiry, other) = (open_inquiry(&client, &json!({})).await, open_inquiry(&client, &json!({})).await);
    let printed = ensue(&place, &node, &["inquiries", "link", &inquiry, "--for", "ana"]);
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let given = json!(printed.stdout.trim());

    // A mail scanner that reads the address of the link changes nothing.
    let scanned = send_request(client.anonymous(Method::GET, "/api/v1/inquiries/links/open")).await;
    assert_eq!(scanned.status, 405, "{scanned:?}");
    let wrong = given.as_str().unwrap().chars().map(|digit| if digit == '7' { '8' } else { digit }).collect::<String>();
    assert_eq!(code(&open(&client, &json!(wrong)).await), (401, "token_invalid"));
    for elsewhere in ["/sessions", "/auth/login"] {
        let login = send_request(client.anonymous(Method::POST, &format!("/api/v1{elsewhere}")).json(&json!({ "code": given }))).await;
        assert_eq!(code(&login), (401, "token_invalid"), "the code of a link does not log anybody in");
    }
    let cookie = cookie(&open(&client, &given).await);
    let shown = by_page(&client, &cookie, Method::GET, &format!("/inquiries/{inquiry}"), &json!({})).await;
    assert_eq!((shown.status.as_u16(), &shown.body["status"]), (200, &json!("open")), "{shown:?}");
    for (method, path) in [
        (Method::GET, format!("/inquiries/{other}")),
        (Method::POST, format!("/inquiries/{other}/respond")),
        (Method::GET, "/inquiries".to_owned()),
        (Method::GET, "/sessions".to_owned()),
        (Method::GET, "/auth/can-i?permission=inquiries:answer".to_owned()),
        (Method::GET, format!("/executions/{}", shown.body["execution"].as_str().unwrap())),
        (Method::POST, format!("/inquiries/{inquiry}/links")),
        (Method::POST, "/auth/password".to_owned()),
    ] {
        let refused = by_page(&client, &cookie, method, &path, &json!({ "answer": { "go": true }, "for": "ana" })).await;
        assert_eq!(code(&refused), (401, "only_one_inquiry"), "{path}");
    }
    assert_eq!(client.get(&format!("/inquiries/{other}")).await["status"], "open");
    node.kill();
    let node = place.start();
    let client = node.client();
    assert_eq!(code(&open(&client, &given).await), (409, "link_used"));
    let answer = json!({ "answer": { "go": true }, "digest": shown.body["digest"] });
    let answered = by_page(&client, &cookie, Method::POST, &format!("/inquiries/{inquiry}/respond"), &answer).await;
    assert_eq!((answered.status.as_u16(), &answered.body["status"]), (200, &json!("answered")), "{answered:?}");

    let records = client.records().await;
    let of = |kind: &str| records.iter().find(|record| record["kind"] == kind).unwrap_or_else(|| panic!("{kind}")).clone();
    let (minted, used, opened) = (of("link.minted"), of("link.used"), of("session.opened"));
    assert_eq!((&minted["actor"], &minted["fact"]["inquiry"]), (&json!("token/admin"), &json!(inquiry)));
    assert_eq!((&used["fact"]["id"], &opened["fact"]["only"]), (&minted["fact"]["id"], &json!(inquiry)));
    let log = json!(records).to_string();
    let secret = given.as_str().unwrap().split_once('_').unwrap().1;
    assert!(!log.contains(secret), "no record has the secret of the link");
}

#[tokio::test]
async fn link_is_for_somebody_who_is_asked_and_ends_with_its_inquiry() {
    let (_place, _node, client) = node_with(&["ana", "bo"]).await;
    client.post("/identities", &json!({ "name": "cy" })).await;
    let inquiry = open_inquiry(&client, &json!({ "assignees": ["ana", "cy"] })).await;
    assert_eq!(code(&link(&client, &inquiry, "bo").await), (403, "inquiry_not_asked"));
    assert_eq!(code(&link(&client, &inquiry, "cy").await), (403, "inquiry_not_asked"), "cy may answer nothing");
    assert_eq!(code(&link(&client, &inquiry, "nobody").await), (404, "not_found"));
    client.post("/tokens", &json!({ "name": "operator", "roles": ["operator"] })).await;
    let (first, second) = (link(&client, &inquiry, "ana").await.body, link(&client, &inquiry, "ana").await.body);
    let kept = cookie(&open(&client, &first["code"]).await);
    let cancelled = client.post(&format!("/inquiries/{inquiry}/cancel"), &json!({})).await;
    assert_eq!(cancelled.status, 202, "{cancelled:?}");
    client.until(&format!("/inquiries/{inquiry}"), |shown| shown["status"] == "cancelled").await;
    for _ in 0..2 {
        assert_eq!(code(&open(&client, &second["code"]).await), (410, "link_expired"));
    }
    assert_eq!(code(&link(&client, &inquiry, "ana").await), (409, "inquiry_closed"));
    let late = by_page(&client, &kept, Method::POST, &format!("/inquiries/{inquiry}/respond"), &json!({ "answer": { "go": true } })).await;
    assert_eq!(late.status, 409, "{late:?}");

    let short = open_inquiry(&client, &json!({ "expires": "1s" })).await;
    let expiring = link(&client, &short, "ana").await.body;
    client.until(&format!("/inquiries/{short}"), |shown| shown["status"] == "expired").await;
    assert_eq!(code(&open(&client, &expiring["code"]).await), (410, "link_expired"));
    client.post("/identities/ana/disable", &json!({})).await;
    let disabled = by_page(&client, &kept, Method::GET, "/me", &json!({})).await;
    assert_eq!(disabled.status, 401, "{disabled:?}");
}

#[tokio::test]
async fn of_many_who_open_a_link_at_once_one_gets_in() {
    let (_place, _node, client) = node_with(&["ana"]).await;
    let inquiry = open_inquiry(&client, &json!({})).await;
    let given = link(&client, &inquiry, "ana").await.body["code"].clone();
    let opened = futures_util::future::join_all((0..16).map(|_| open(&client, &given))).await;
    let mut codes: Vec<_> = opened.iter().map(|answer| answer.status.as_u16()).collect();
    codes.sort_unstable();
    assert_eq!((codes[0], &codes[1..]), (201, &[409; 15][..]));
    let records = client.records().await;
    assert_eq!(records.iter().filter(|record| record["kind"] == "link.used").count(), 1);
}

#[tokio::test]
async fn node_with_links_switched_off_has_none() {
    let (place, node, client) = node_with(&["ana"]).await;
    let inquiry = open_inquiry(&client, &json!({})).await;
    let given = link(&client, &inquiry, "ana").await.body["code"].clone();
    drop(node);
    std::fs::write(place.path().join("ensue.yaml"), "inquiries: { links: false }\n").unwrap();
    let node = place.start();
    let client = node.client();
    assert_eq!(code(&open(&client, &given).await), (403, "links_off"));
    assert_eq!(code(&link(&client, &inquiry, "ana").await), (403, "links_off"));
}

/// An action that prints its text as it is, and backward: nobody masks what a program changed.
const SEND: &str = r#"
parameters: { text: string }
run: { process: { command: [sh, -c, 'printf "sent %s\n" "$TEXT"; printf "%s\n" "$TEXT" | rev'], env: { TEXT: '${{ params.text }}' } } }
"#;

/// A workflow that asks somebody, and notifies them.
fn notifying(assignees: &str) -> String {
    let ask = "title: Restart it, answer: { go: boolean }";
    let notify = "{ action: release.send, with: { text: '${{ inquiry.link }}' } }";
    format!("run: {{ workflow: {{ steps: {{ decide: {{ inquiry: {{ {ask}, assignees: {assignees}, notify: {notify} }} }} }} }} }}\n")
}

/// Returns the inquiry of a workflow and the finished execution that notified people of it.
async fn await_notification(client: &Client, action: &str) -> (Value, Value) {
    let flow = client.execute(action, &json!({})).await;
    let is_told = |listed: &Value| listed["items"][0]["notifications"].is_array();
    let inquiry = client.until(&format!("/inquiries?parent={flow}"), is_told).await["items"][0].clone();
    let by = format!("/executions/{}", inquiry["notifications"][0]["execution"].as_str().unwrap());
    let told = client.until(&by, |shown| shown["ended_at"].is_string()).await;
    assert_eq!(told["status"], "succeeded", "{told:#}");
    (inquiry, told)
}

/// Returns what a program printed.
async fn output(client: &Client, execution: &Value) -> String {
    let logs = client.request(Method::GET, &format!("/api/v1/executions/{}/logs?stream=stdout", execution["id"].as_str().unwrap()));
    logs.header("accept", "text/plain").send().await.unwrap().text().await.unwrap()
}

/// Returns the last line of an output as the program was given it.
fn original_last_line(output: &str) -> String {
    output.trim_end().lines().last().unwrap().chars().rev().collect()
}

#[tokio::test]
async fn notification_has_a_link_that_the_log_never_has() {
    let place = NodeFolder::new().with_variable("ENSUE_URL", "https://ensue.example.test");
    place.write_pack_file("release/pack.yaml", "name: release\nversion: 1.0.0\ndescription: Ships.\n");
    place.write_pack_file("release/actions/send.yaml", SEND);
    for (name, assignees) in [("one", "ana"), ("nobody", "xe"), ("lacking", "bo"), ("several", "\"${{ ['ana', 'bo'] }}\"")] {
        place.write_pack_file(&format!("release/actions/{name}.yaml"), &notifying(assignees));
    }
    let node = place.start();
    let client = node.client();
    add_person(&client, "ana").await;
    client.post("/identities", &json!({ "name": "bo" })).await;

    let (inquiry, told) = await_notification(&client, "release.one").await;
    let printed = output(&client, &told).await;
    let address = original_last_line(&printed);
    let (page, secret) = address.split_once('#').unwrap_or_else(|| panic!("{printed}"));
    assert_eq!(page, "https://ensue.example.test/ui/answer");
    assert!(printed.contains("[redacted ensue.link]") && !printed.contains(secret), "{printed}");
    let place_of_link = format!("{}#link-{}", inquiry["url"].as_str().unwrap(), told["id"].as_str().unwrap());
    assert_eq!(told["params"]["text"], json!(place_of_link));

    // The link is that of the person, and answers this inquiry.
    let records = client.records().await;
    let minted = records.iter().find(|record| record["kind"] == "link.minted").expect("a link was created");
    assert_eq!(
        (&minted["fact"]["inquiry"], &minted["actor"]),
        (&inquiry["id"], &json!(format!("execution/{}/1", told["id"].as_str().unwrap())))
    );
    let cookie = cookie(&open(&client, &json!(secret)).await);
    let answer = json!({ "answer": { "go": true }, "digest": inquiry["digest"] });
    let id = inquiry["id"].as_str().unwrap();
    let answered = by_page(&client, &cookie, Method::POST, &format!("/inquiries/{id}/respond"), &answer).await;
    assert_eq!((answered.status.as_u16(), &answered.body["status"]), (200, &json!("answered")), "{answered:?}");
    assert_eq!(code(&open(&client, &json!(secret)).await), (409, "link_used"));

    // Nobody without an identity, nobody who may not answer, and no group of people gets one.
    for action in ["release.nobody", "release.lacking", "release.several"] {
        let (inquiry, told) = await_notification(&client, action).await;
        let address = original_last_line(&output(&client, &told).await);
        assert_eq!(address.split('#').next(), inquiry["url"].as_str(), "{action}");
    }
    let records = client.records().await;
    assert_eq!(records.iter().filter(|record| record["kind"] == "link.minted").count(), 1);
    let secret = secret.split_once('_').unwrap().1.to_owned();
    assert!(!json!(records).to_string().contains(&secret), "a record has the secret of a link");
    node.stop();
    // The files of a supervisor may go away meanwhile.
    let read: Vec<_> = files_below(&place.data()).into_iter().filter_map(|file| Some((std::fs::read(&file).ok()?, file))).collect();
    assert!(read.iter().any(|(_, file)| file.ends_with("log.sqlite")), "the log is among the files");
    for (bytes, file) in read {
        assert!(!String::from_utf8_lossy(&bytes).contains(&secret), "{}", file.display());
    }
}
