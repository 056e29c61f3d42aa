//! Limits of rights to executions, events and what belongs to them: each route, inside and outside of a limit.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::Method;
use ensue_api::routes::{Demand, Route};
use ensue_engine::access::permission::Permission;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::streams::Stream;
use crate::support::{Answer, TestApi, fill_path};

/// The callers of the matrix, with the limits of their rights: inside and outside of the resources.
const CALLERS: [&str; 4] = ["pack", "label", "scoped", "disabled"];

/// Adds an identity with a grant of a role, and returns a token of it.
pub(crate) async fn token_with_grant(api: &TestApi, name: &str, role: &str, on: &Value) -> String {
    api.post("/api/v1/identities").by("admin").json(&json!({ "name": name })).answer().await.expect(201);
    let grant = json!({ "subject": format!("identity:{name}"), "role": role, "on": on });
    api.post("/api/v1/grants").by("admin").json(&grant).answer().await.expect(201);
    let token = json!({ "name": format!("{name}-laptop"), "identity": name });
    let added = api.post("/api/v1/tokens").by("admin").json(&token).answer().await.expect(201).json();
    added["token"].as_str().unwrap().to_owned()
}

/// Runs `demo.deploy` for a site, and returns the execution.
pub(crate) async fn deploy(api: &TestApi, site: &str) -> String {
    let run = api.post("/api/v1/actions/demo.deploy/execute").by("admin").json(&json!({ "params": { "site": site } }));
    run.answer().await.expect(202).json()["id"].as_str().unwrap().to_owned()
}

async fn get(api: &TestApi, path: &str, token: &str) -> Answer {
    api.get(path).bearing(token).answer().await
}

async fn ids(api: &TestApi, path: &str, token: &str) -> BTreeSet<String> {
    items(&get(api, path, token).await.expect(200).json())
}

/// Returns the ids of the items of a list.
fn items(list: &Value) -> BTreeSet<String> {
    list["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

/// Opens the session of a browser with a token, and returns its cookie.
async fn logged_in(api: &TestApi, token: &str) -> String {
    let opened = api.post("/api/v1/sessions").json(&json!({ "token": token })).answer().await.expect(201);
    opened.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn callers_who_read_the_same_list_at_once_share_no_row_beyond_their_limits() {
    let api = TestApi::new();
    let (eu, us) = (deploy(&api, "eu").await, deploy(&api, "us").await);
    let of_site = async |name: &str, site: &str| token_with_grant(&api, name, "viewer", &json!({ "labels": { "site": [site] } })).await;
    let (ana, bo, cy) = (of_site("ana", "eu").await, of_site("bo", "us").await, of_site("cy", "eu").await);
    let list = format!("/api/v1/executions?id={eu}&id={us}");
    let (pages, at) = ([logged_in(&api, &ana).await, logged_in(&api, &bo).await, logged_in(&api, &cy).await], api.node.head_position());
    let read = async |page: usize, position: u64| {
        let asked = api.get(&list).with("cookie", &pages[page]).with("ensue-position", &position.to_string());
        let answer = asked.answer().await.expect(200);
        let shown: u64 = answer.header("ensue-position").unwrap().parse().unwrap();
        (items(&answer.json()), shown)
    };
    let (first, second, third) = tokio::join!(read(0, at), read(1, at), read(2, at));
    assert_eq!((first.0, second.0, third.0), ([eu.clone()].into(), [us.clone()].into(), [eu.clone()].into()));
    // An answer that was read for another page shows what the views showed then.
    let mut is_shared = false;
    for _ in 0..100 {
        let at = api.node.head_position();
        read(0, at).await;
        api.event("ana").await;
        let (of_bo, of_cy) = (read(1, at).await, read(2, at).await);
        assert_eq!((of_bo.0, &of_cy.0), ([us.clone()].into(), &[eu.clone()].into()));
        is_shared |= of_cy.1 == at;
    }
    assert!(is_shared, "ana and cy have the same rights");
    let grants = api.get("/api/v1/grants?subject=identity:ana").by("admin").answer().await.expect(200).json();
    let path = format!("/api/v1/grants/{}", grants["items"][0]["id"].as_str().unwrap());
    api.ask(Method::DELETE, &path).by("admin").answer().await.expect(204);
    get(&api, &list, &ana).await.expect_problem(403, "forbidden");
    api.get(&list).with("cookie", &pages[0]).answer().await.expect_problem(403, "forbidden");
}

/// Creates the resource that the path of a route is about, and returns its id. Returns `None` if the route is about no
/// resource that limits by labels can cover.
async fn create_resource(api: &TestApi, path: &str) -> Option<String> {
    let segments: Vec<&str> = path.split('/').skip(3).collect();
    match *segments.first()? {
        _ if !path.contains("{id}") => None,
        "executions" | "trace" => Some(deploy(api, "eu").await),
        "events" => Some(api.event("ana").await),
        "enforcements" => {
            api.event("ana").await;
            let list = api.get("/api/v1/enforcements").by("admin").answer().await.expect(200).json();
            Some(list["items"][0]["id"].as_str().unwrap().to_owned())
        }
        "inquiries" => Some(api.inquiry().await),
        "dead_letters" => {
            let failed = deploy(api, "eu").await;
            api.node.fail(&failed);
            Some(failed)
        }
        "backtests" | "grants" | "parked_reactions" => None,
        other => panic!("add a row for the resources of `{other}` in {path}"),
    }
}

/// Returns the limits inside of which the resource of a route is, and outside of which it is, for a kind of caller.
fn limits(path: &str, caller: &str) -> [Value; 2] {
    let (inside, outside) = if path.contains("/inquiries") { ("core", "demo") } else { ("demo", "core") };
    match caller {
        "label" => [json!({ "labels": { "site": ["eu"] } }), json!({ "labels": { "site": ["us"] } })],
        _ => [json!({ "packs": [inside] }), json!({ "packs": [outside] })],
    }
}

async fn status(route: &Route, caller: &str, which: usize) -> u16 {
    let api = TestApi::new();
    let id = create_resource(&api, &route.path).await;
    let on = limits(&route.path, caller)[which].clone();
    let token = match caller {
        "scoped" => {
            let pack = on["packs"][0].as_str().unwrap();
            let limitable = Permission::ALL.iter().filter(|permission| permission.is_limitable());
            let scopes: Vec<String> = limitable.map(|permission| format!("{} on pack={pack}", permission.name())).collect();
            let token = json!({ "name": "t", "roles": ["admin"], "scopes": scopes });
            let added = api.post("/api/v1/tokens").by("admin").json(&token).answer().await.expect(201).json();
            added["token"].as_str().unwrap().to_owned()
        }
        _ => token_with_grant(&api, "ana", "operator", &on).await,
    };
    if caller == "disabled" {
        api.post("/api/v1/identities/ana/disable").by("admin").json(&json!({})).answer().await.expect(200);
    }
    let path = match id {
        Some(id) => fill_path(&route.path.replace("{id}", &id).replace("{other}", &id)),
        None => fill_path(&route.path),
    };
    api.ask(route.method.clone(), &path).bearing(&token).json(&body(&path)).response().await.status().as_u16()
}

/// Returns a body that fits a route about one resource.
fn body(path: &str) -> Value {
    match path.rsplit('/').next() {
        Some("settle") => json!({ "outcome": "retry" }),
        Some("respond") => json!({ "answer": {} }),
        Some("delegate") => json!({ "to": "ana" }),
        _ => json!({}),
    }
}

#[tokio::test]
async fn routes_allow_limited_callers_what_is_inside_and_hide_what_is_outside() {
    let mut matrix = format!("route: {} (inside/outside)\n", CALLERS.join(", "));
    for route in TestApi::new().front.routes() {
        let Demand::Permission { noun, verb, .. } = route.demands else { continue };
        let permission = Permission::from_name(&format!("{noun}:{verb}")).unwrap();
        let is_about_one = create_resource(&TestApi::new(), &route.path).await.is_some();
        let mut cells = Vec::new();
        for caller in CALLERS {
            let (inside, outside) = (status(route, caller, 0).await, status(route, caller, 1).await);
            let place = format!("{} {} for {caller}", route.method, route.path);
            if caller == "disabled" {
                assert_eq!((inside, outside), (401, 401), "{place}");
            } else if !permission.is_limitable() {
                assert!(inside == outside && matches!(inside, 403 | 404), "{place}: {inside}, {outside}");
            } else if is_about_one {
                assert_eq!(outside, 404, "{place}");
                let has_labels =
                    route.path.contains("/executions") || route.path.contains("/dead_letters") || route.path.contains("/trace");
                // The caller may answer, but is not asked.
                let is_not_asked = ["/respond", "/delegate"].iter().any(|end| route.path.ends_with(end));
                // The deputy that the body names is not there for a caller without an identity.
                let is_missing_inside =
                    caller == "label" && !has_labels || route.path.contains("{artifact}") || route.path.ends_with("/delegate");
                assert!((inside != 403 || is_not_asked) && (inside != 404 || is_missing_inside), "{place}: {inside}");
            }
            cells.push(format!("{inside}/{outside}"));
        }
        matrix.push_str(&format!("{} {} [{noun}:{verb}]: {}\n", route.method, route.path, cells.join(", ")));
    }
    insta::assert_snapshot!(matrix);
}

#[tokio::test]
async fn hidden_resource_is_the_same_404_as_one_that_never_existed() {
    let api = TestApi::new();
    let token = token_with_grant(&api, "ana", "operator", &json!({ "labels": { "site": ["eu"] } })).await;
    let hidden = deploy(&api, "us").await;
    let never = "01980000-0000-7000-8000-0000000000fe";
    for (method, path) in [
        (Method::GET, ""),
        (Method::GET, "/attempts"),
        (Method::GET, "/timeline"),
        (Method::GET, "/logs"),
        (Method::GET, "/graph"),
        (Method::GET, "/artifacts"),
        (Method::GET, "/stream"),
        (Method::POST, "/cancel"),
        (Method::POST, "/pause"),
        (Method::POST, "/rerun"),
        (Method::POST, "/settle"),
    ] {
        let told = async |id: &str| {
            let path = format!("/api/v1/executions/{id}{path}");
            let asked = api.ask(method.clone(), &path).bearing(&token);
            let mut problem = asked.json(&body(&path)).answer().await.expect(404).json();
            problem["request_id"] = Value::Null;
            problem.to_string().replace(id, "ID")
        };
        assert_eq!(told(&hidden).await, told(never).await, "{method} {path}");
    }
}

#[tokio::test]
async fn list_has_exactly_the_rows_inside_the_limit() {
    let api = TestApi::new();
    let (eu, us) = (deploy(&api, "eu").await, deploy(&api, "us").await);
    let echo = api.execution().await;
    let event = api.event("ana").await;
    let greeted = ids(&api, "/api/v1/executions?rule=demo.greet", &api.node.token_of("admin")).await;
    api.node.fail(&us);
    api.inquiry().await;
    let label = token_with_grant(&api, "bo", "viewer", &json!({ "labels": { "site": ["eu"] } })).await;
    let demo = token_with_grant(&api, "cy", "viewer", &json!({ "packs": ["demo"] })).await;
    let action = token_with_grant(&api, "di", "viewer", &json!({ "actions": ["demo.*"] })).await;
    let set = |ids: &[&String]| ids.iter().map(|id| (*id).clone()).collect::<BTreeSet<String>>();
    let of_demo: BTreeSet<String> = greeted.iter().chain([&eu, &us]).cloned().collect();
    assert_eq!(ids(&api, "/api/v1/executions", &label).await, set(&[&eu]));
    assert_eq!(ids(&api, "/api/v1/executions", &demo).await, of_demo, "a rule's execution belongs to the pack of the rule");
    assert_eq!(ids(&api, "/api/v1/executions", &action).await, set(&[&eu, &us]));
    assert_eq!(ids(&api, &format!("/api/v1/executions?id={us},{eu},{echo}"), &label).await, set(&[&eu]));
    assert_eq!(ids(&api, "/api/v1/executions?status=failed", &label).await, set(&[]));
    assert_eq!(ids(&api, "/api/v1/executions?status=failed", &demo).await, set(&[&us]));
    assert_eq!(ids(&api, "/api/v1/dead_letters", &demo).await, set(&[&us]));
    assert_eq!(ids(&api, "/api/v1/dead_letters", &label).await, set(&[]));
    assert_eq!(ids(&api, "/api/v1/events", &demo).await, set(&[&event]));
    assert_eq!(ids(&api, "/api/v1/events", &label).await, set(&[]), "an event has no labels");
    assert_eq!(ids(&api, "/api/v1/enforcements", &demo).await.len(), 1);
    assert_eq!(ids(&api, "/api/v1/inquiries", &demo).await, set(&[]), "the inquiry belongs to the pack `core`");
    let counted = |list: Value| list["total"].as_u64().unwrap();
    assert_eq!(counted(get(&api, "/api/v1/counts?of=executions", &label).await.expect(200).json()), 1);
    assert_eq!(counted(get(&api, "/api/v1/counts?of=executions", &demo).await.expect(200).json()), of_demo.len() as u64);
}

#[tokio::test]
async fn nothing_of_a_hidden_execution_is_in_any_answer() {
    let api = TestApi::new();
    let inside = deploy(&api, "eu").await;
    let canary = deploy(&api, "canaryplace").await;
    let failed = deploy(&api, "canaryplace").await;
    api.node.fail(&failed);
    let event = api.event("canaryperson").await;
    let token = token_with_grant(&api, "ana", "operator", &json!({ "labels": { "site": ["eu"] } })).await;
    let secrets = ["canaryplace", "canaryperson", &canary, &failed, &event];
    let mut asked = 0;
    for route in api.front.routes() {
        let path = fill_path(&route.path.replace("{id}", &inside));
        let is_read = route.method == Method::GET && !path.ends_with("/stream") && !path.contains("follow");
        let is_bulk = ["/executions/cancel", "/executions/pause", "/executions/resume"].iter().any(|end| path.ends_with(end));
        let is_public = route.demands == Demand::Nothing;
        if is_public || !(is_read || is_bulk && route.method == Method::POST) {
            continue;
        }
        asked += 1;
        if path.ends_with("/changes") {
            // It has no end, so only its first message is read, which has everything until now.
            let mut stream = Stream::of(api.get(&format!("{path}?after=0")).bearing(&token)).await;
            let told = stream.next().await.unwrap().data.to_string();
            assert!(told.contains(&inside) && secrets.iter().all(|secret| !told.contains(secret)), "{told}");
            continue;
        }
        let filters = match path.rsplit('/').next() {
            _ if is_bulk => "?action=demo.deploy&dry_run=true",
            Some("search") => "?q=canaryplace",
            Some("series") => "?of=events&by=trigger&since=2026-03-28T11:30:00Z&until=2026-03-28T12:30:00Z",
            _ => "",
        };
        let answer = api.ask(route.method.clone(), &format!("{path}{filters}")).bearing(&token).answer().await;
        for secret in secrets {
            assert!(!answer.text.contains(secret), "{} {path} shows {secret}: {}", route.method, answer.text);
            assert!(answer.headers.values().all(|value| !value.to_str().unwrap_or_default().contains(secret)), "{path}");
        }
    }
    assert!(asked > 60, "{asked} routes");
}

#[tokio::test]
async fn limited_caller_does_not_learn_how_many_rules_of_other_packs_matched() {
    let api = TestApi::new();
    let event = api.event("somebody").await;
    let limited = token_with_grant(&api, "ana", "viewer", &json!({ "packs": ["demo"] })).await;
    let path = format!("/api/v1/events/{event}");
    let (seen, whole) = (get(&api, &path, &limited).await.expect(200).json(), api.get(&path).by("admin").answer().await.expect(200).json());
    for count in ["matched", "erred", "undecided"] {
        assert!(seen[count].is_null() && whole[count].is_number(), "{count}: {seen} {whole}");
    }
    get(&api, "/api/v1/events?matched=any", &limited).await.expect_problem(400, "bad_parameter");
    let trace = get(&api, &format!("/api/v1/trace/{event}"), &limited).await.expect(200).json();
    assert!(trace["nodes"][0]["kind"] == "event" && trace["nodes"][0]["matched"].is_null(), "{trace}");
}

#[tokio::test]
async fn write_outside_the_limit_is_a_403_if_the_execution_is_seen() {
    let api = TestApi::new();
    let us = deploy(&api, "us").await;
    let token = token_with_grant(&api, "ana", "operator", &json!({ "labels": { "site": ["eu"] } })).await;
    let grant = json!({ "subject": "identity:ana", "role": "viewer" });
    api.post("/api/v1/grants").by("admin").json(&grant).answer().await.expect(201);
    for verb in ["cancel", "pause", "rerun"] {
        let path = format!("/api/v1/executions/{us}/{verb}");
        api.post(&path).bearing(&token).json(&json!({})).answer().await.expect_problem(403, "forbidden");
    }
    get(&api, &format!("/api/v1/executions/{us}"), &token).await.expect(200);
}

#[tokio::test]
async fn bulk_change_changes_only_what_is_inside_the_limit() {
    let api = TestApi::new();
    let (eu, us) = (deploy(&api, "eu").await, deploy(&api, "us").await);
    let token = token_with_grant(&api, "ana", "operator", &json!({ "labels": { "site": ["eu"] } })).await;
    let changed = api.post(&format!("/api/v1/executions/cancel?id={eu},{us}")).bearing(&token).json(&json!({})).answer().await;
    let items = changed.expect(200).json()["items"].clone();
    assert_eq!(items.as_array().map(Vec::len), Some(1), "{items}");
    assert_eq!(items[0]["execution"], eu);
    let of_us = api.get(&format!("/api/v1/executions/{us}")).by("admin").answer().await.expect(200).json();
    assert_ne!(of_us["status"], "cancelling");
}

#[tokio::test(start_paused = true)]
async fn stream_ends_when_its_execution_is_no_longer_covered() {
    let api = TestApi::new();
    let eu = deploy(&api, "eu").await;
    let token = token_with_grant(&api, "ana", "viewer", &json!({ "labels": { "site": ["eu"] } })).await;
    let other = json!({ "subject": "identity:ana", "role": "viewer", "on": { "labels": { "site": ["us"] } } });
    api.post("/api/v1/grants").by("admin").json(&other).answer().await.expect(201);
    let stream = api.get(&format!("/api/v1/executions/{eu}/stream")).bearing(&token).response().await;
    assert_eq!(stream.status(), 200);
    let grants = api.get("/api/v1/grants?subject=identity:ana").by("admin").answer().await.expect(200).json();
    let of_eu = grants["items"].as_array().unwrap().iter().find(|grant| grant["on"]["labels"]["site"][0] == "eu").unwrap();
    let path = format!("/api/v1/grants/{}", of_eu["id"].as_str().unwrap());
    api.ask(Method::DELETE, &path).by("admin").answer().await.expect(204);
    let ended = tokio::time::timeout(Duration::from_secs(1), stream.into_body().collect()).await;
    assert!(ended.is_ok(), "a right to other executions does not keep the stream open");
}
