//! Callers whom a trusted proxy names in headers: whom it lets in, and that nobody else can send these headers.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Answer, CommandOutput, Node, NodeFolder};

const SECRET: &str = "the secret of the proxy, 32 bytes at least";
const KEY: (&str, &str) = ("x-ensue-proxy-secret", SECRET);
const ANA: (&str, &str) = ("x-forwarded-user", "ana");
const OPS: (&str, &str) = ("x-forwarded-groups", "ops, release");

/// Starts a node behind a proxy at this address.
fn behind(proxy: &str) -> (NodeFolder, Node) {
    let place = NodeFolder::new();
    std::fs::write(place.path().join("proxy.secret"), format!("{SECRET}\n")).unwrap();
    let login = json!({ "proxy": {
        "from": [proxy], "user": "X-Forwarded-User", "groups": "X-Forwarded-Groups", "secret": { "file": "proxy.secret" },
    } });
    std::fs::write(place.path().join("ensue.yaml"), json!({ "login": login }).to_string()).unwrap();
    let node = place.start();
    (place, node)
}

fn with(node: &Node, method: Method, path: &str, headers: &[(&str, &str)]) -> RequestBuilder {
    headers.iter().fold(node.client().anonymous(method, path), |request, (name, value)| request.header(*name, *value))
}

async fn send_request(request: RequestBuilder) -> Answer {
    Answer::of(request.send().await.unwrap()).await
}

async fn get(node: &Node, path: &str, headers: &[(&str, &str)]) -> Answer {
    send_request(with(node, Method::GET, path, headers)).await
}

fn code(answer: &Answer) -> (u16, &str) {
    (answer.status.as_u16(), answer.body["code"].as_str().unwrap_or_default())
}

fn ensue(place: &NodeFolder, node: &Node, arguments: &[&str]) -> CommandOutput {
    CommandOutput::by(place.ensue(arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN))
}

#[tokio::test]
async fn proxy_that_knows_the_secret_says_who_calls_and_in_which_groups() {
    let (place, node) = behind("127.0.0.1");
    let ana = get(&node, "/api/v1/me", &[KEY, ANA, OPS]).await;
    assert_eq!((ana.status.as_u16(), &ana.body["name"], &ana.body["roles"]), (200, &json!("ana"), &json!(["proxy:ops", "proxy:release"])));
    assert_eq!(code(&get(&node, "/api/v1/events", &[KEY, ANA, OPS]).await), (403, "forbidden"));
    let granted = ensue(&place, &node, &["grants", "add", "group:proxy:ops", "--role", "viewer"]);
    assert_eq!(granted.code, Some(0), "{granted:?}");
    assert_eq!(get(&node, "/api/v1/events", &[KEY, ANA, OPS]).await.status, 200);
    // The groups are those of the last request that says something about them.
    assert_eq!(get(&node, "/api/v1/events", &[KEY, ANA]).await.status, 200, "nothing is said about groups");
    let before = node.client().records().await.len();
    for _ in 0..20 {
        assert_eq!(get(&node, "/api/v1/me", &[KEY, ANA, ("x-forwarded-groups", "release,ops")]).await.status, 200);
    }
    assert_eq!(node.client().records().await.len(), before, "the same groups in another order write nothing");
    assert_eq!(code(&get(&node, "/api/v1/events", &[KEY, ANA, ("x-forwarded-groups", "")]).await), (403, "forbidden"));

    let records = node.client().records().await;
    let added = records.iter().find(|record| record["kind"] == "identity.added" && record["fact"]["by_issuer"] == "proxy").unwrap();
    assert!(added["actor"].as_str().unwrap().ends_with("/issuer/proxy"), "{added}");
    assert!(!json!(records).to_string().contains("\"ana\""), "names are not in the log");
    // Disabling the identity is in force at once, and after a kill.
    assert_eq!(ensue(&place, &node, &["identities", "disable", "ana"]).code, Some(0));
    assert_eq!(code(&get(&node, "/api/v1/me", &[KEY, ANA, OPS]).await), (401, "identity_disabled"));
    node.kill();
    let node = place.start();
    assert_eq!(code(&get(&node, "/api/v1/me", &[KEY, ANA, OPS]).await), (401, "identity_disabled"));
    assert_eq!(get(&node, "/api/v1/me", &[KEY, ("x-forwarded-user", "bo")]).await.body["name"], "bo");
}

#[tokio::test]
async fn header_of_a_proxy_from_anyone_else_is_refused_everywhere() {
    let (_place, node) = behind("127.0.0.1");
    let wrong = ("x-ensue-proxy-secret", "the secret of the proxy, 32 bytes at leasT");
    for headers in [
        &[ANA][..],
        &[OPS],
        &[wrong, ANA],
        &[wrong],
        &[KEY, KEY, ANA],
        &[("x-ensue-proxy-secret", ""), ANA],
        &[KEY, ANA, ANA],
        &[KEY, ANA, ("x-forwarded-user", "admin")],
        &[KEY, OPS],
        &[KEY, ANA, OPS, OPS],
        &[KEY, ("x-forwarded-user", "")],
        &[KEY, ("x-forwarded-user", "Ana Lytics")],
        &[KEY, ("x-forwarded-user", "ana, admin")],
        // Programs that read `_` as `-` remove only one of the two.
        &[KEY, ("x_forwarded_user", "admin")],
        &[KEY, ANA, ("x_forwarded_user", "admin")],
        &[("x_forwarded_groups", "admin")],
    ] {
        for path in ["/api/v1/me", "/api/v1/public/status", "/livez"] {
            let refused = get(&node, path, headers).await;
            assert_eq!(code(&refused), (400, "proxy_header_refused"), "{path} {headers:?}: {refused:?}");
        }
    }
    let with_token = with(&node, Method::GET, "/api/v1/me", &[ANA]).bearer_auth(ADMIN_TOKEN);
    assert_eq!(code(&send_request(with_token).await), (400, "proxy_header_refused"), "a token does not make up for it");
    let delivery = with(&node, Method::POST, "/hooks/a/b", &[ANA]).body("{}");
    assert_eq!(code(&send_request(delivery).await), (400, "proxy_header_refused"));
    let identities = node.client().get("/identities").await;
    assert_eq!(identities["items"].as_array().unwrap().len(), 0, "{identities}");
    let recorded = node.client().until("/audit?what=login.refused", |page| page.to_string().contains("\"proxy\"")).await;
    assert!(!recorded.to_string().contains(SECRET));

    let (_place, elsewhere) = behind("10.0.0.7/32");
    let refused = get(&elsewhere, "/api/v1/me", &[KEY, ANA]).await;
    assert_eq!(code(&refused), (400, "proxy_header_refused"), "the address is that of the connection");
    let claimed = get(&elsewhere, "/api/v1/me", &[KEY, ANA, ("x-forwarded-for", "10.0.0.7")]).await;
    assert_eq!(code(&claimed), (400, "proxy_header_refused"));
}

#[tokio::test]
async fn page_of_another_site_cannot_use_the_login_at_the_proxy() {
    let (place, node) = behind("127.0.0.1");
    get(&node, "/api/v1/me", &[KEY, ANA]).await;
    assert_eq!(ensue(&place, &node, &["grants", "add", "identity:ana", "--role", "admin"]).code, Some(0));
    let own = node.url();
    let write = async |headers: &[(&str, &str)]| {
        let asked = with(&node, Method::POST, "/api/v1/identities", &[&[KEY, ANA], headers].concat());
        let body: Value = json!({ "name": "bo" });
        code(&send_request(asked.json(&body)).await).0
    };
    for headers in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("sec-fetch-site", "cross-site"), ("ensue-page", "1")],
        &[("sec-fetch-site", "same-site"), ("ensue-page", "1")],
        &[("sec-fetch-site", "same-origin")],
        &[("origin", "https://evil.example.test"), ("ensue-page", "1")],
        &[("origin", "null")],
    ] {
        assert_eq!(write(headers).await, 403, "{headers:?}");
    }
    let read = get(&node, "/api/v1/events", &[KEY, ANA, ("sec-fetch-site", "cross-site")]).await;
    assert_eq!(code(&read), (403, "origin_refused"));
    assert_ne!(write(&[("sec-fetch-site", "same-origin"), ("origin", &own), ("ensue-page", "1")]).await, 403);
    assert_ne!(write(&[]).await, 403, "a program sends none of these headers");
    // Two credentials make the caller ambiguous.
    let doubled = with(&node, Method::GET, "/api/v1/me", &[KEY, ANA]).bearer_auth(ADMIN_TOKEN);
    assert_eq!(code(&send_request(doubled).await), (400, "doubled_authorization"));
    let cookie = format!("__Host-ensue=01980000-0000-7000-8000-00000000000a_{}", "a1".repeat(32));
    assert_eq!(code(&get(&node, "/api/v1/me", &[KEY, ANA, ("cookie", &cookie)]).await), (400, "doubled_authorization"));
}

#[tokio::test]
async fn proxy_that_names_nobody_adds_nothing_to_a_request_and_its_secret_is_stored_nowhere() {
    let place = NodeFolder::new();
    place.write_pack_file("site/pack.yaml", "name: site\nversion: 1.0.0\n");
    place.write_pack_file("site/triggers/pushed.yaml", "payload: { headers: object }\n");
    let sensor = "webhook: { verify: { scheme: none } }\nemits:\n  - { trigger: site.pushed, payload: { headers: '${{ headers }}' } }\n";
    place.write_pack_file("site/sensors/hook.yaml", sensor);
    std::fs::write(place.path().join("proxy.secret"), SECRET).unwrap();
    let login = json!({ "proxy": { "from": "127.0.0.1", "user": "X-Forwarded-User", "secret": { "file": "proxy.secret" } } });
    std::fs::write(place.path().join("ensue.yaml"), json!({ "login": login }).to_string()).unwrap();
    let node = place.start();
    assert_eq!(code(&get(&node, "/api/v1/me", &[KEY]).await), (401, "unauthenticated"));
    let by_token = with(&node, Method::GET, "/api/v1/me", &[KEY]).bearer_auth(ADMIN_TOKEN);
    assert_eq!(send_request(by_token).await.body["name"], "admin");
    let delivered =
        send_request(with(&node, Method::POST, "/hooks/site/hook", &[KEY, ("content-type", "application/json")]).body("{\"a\":1}")).await;
    assert!(delivered.status.is_success(), "{delivered:?}");
    let events = node.client().until("/events?trigger=site.pushed", |page| page["items"][0].is_object()).await;
    let event = node.client().get(&format!("/events/{}", events["items"][0]["id"].as_str().unwrap())).await;
    assert!(event.to_string().contains("content-type"), "the headers are in the event: {event}");
    assert!(!event.to_string().contains("proxy-secret") && !event.to_string().contains(SECRET), "{event}");
}

#[tokio::test]
async fn name_that_somebody_has_is_taken_until_an_administrator_links_the_proxy() {
    let (place, node) = behind("127.0.0.1");
    assert_eq!(ensue(&place, &node, &["identities", "add", "ana"]).code, Some(0));
    assert_eq!(code(&get(&node, "/api/v1/me", &[KEY, ANA]).await), (409, "name_taken"));
    let linked = ensue(&place, &node, &["identities", "link", "ana", "--issuer", "proxy", "--sub", "ana"]);
    assert_eq!(linked.code, Some(0), "{linked:?}");
    assert_eq!(get(&node, "/api/v1/me", &[KEY, ANA]).await.body["name"], "ana");
    // Without its secret, nobody is a proxy, and the doctor says so.
    std::fs::remove_file(place.path().join("proxy.secret")).unwrap();
    assert_eq!(code(&get(&node, "/api/v1/me", &[KEY, ANA]).await), (400, "proxy_header_refused"));
    let report = ensue(&place, &node, &["doctor"]).stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(report.contains("the secret of `login.proxy` is not set"), "{report}");
}
