//! Tokens with scopes, identities, roles and grants: what each caller may do, and what it learns about that.

use axum::http::Method;
use ensue_api::routes::Demand;
use ensue_engine::access::permission::Permission;
use serde_json::{Value, json};

use crate::support::{Answer, TestApi, fill_path};

const TOKENS: &str = "/api/v1/tokens";
const GRANTS: &str = "/api/v1/grants";
const IDENTITIES: &str = "/api/v1/identities";

/// Adds a token and returns it whole.
async fn token(api: &TestApi, body: &Value) -> String {
    let added = api.post(TOKENS).by("admin").json(body).answer().await.expect(201).json();
    added["token"].as_str().unwrap().to_owned()
}

async fn identity(api: &TestApi, name: &str, groups: &[&str]) -> String {
    api.post(IDENTITIES).by("admin").json(&json!({ "name": name, "groups": groups })).answer().await.expect(201);
    token(api, &json!({ "name": format!("{name}-laptop"), "identity": name })).await
}

async fn grant(api: &TestApi, body: &Value) -> String {
    let added = api.post(GRANTS).by("admin").json(body).answer().await.expect(201).json();
    added["id"].as_str().unwrap().to_owned()
}

async fn get(api: &TestApi, path: &str, token: &str) -> Answer {
    api.get(path).bearing(token).answer().await
}

/// The resource in the path of a route, as a limit names it.
fn limit_of(path: &str) -> Option<(&'static str, &'static str)> {
    match path.split('/').nth(3)? {
        "actions" => Some(("pack=core", "pack=demo")),
        "triggers" | "sensors" | "rules" | "hooks" | "packs" => Some(("pack=demo", "pack=core")),
        _ => None,
    }
}

#[tokio::test]
async fn limited_permission_is_honored_on_every_route_that_requires_it() {
    let api = TestApi::new();
    let mut seen = 0;
    for route in api.front.routes() {
        let Demand::Permission { noun, verb, .. } = route.demands else { continue };
        let permission = Permission::from_name(&format!("{noun}:{verb}")).unwrap();
        let (Some((inside, outside)), true) = (limit_of(&route.path), permission.is_limitable()) else { continue };
        if !route.path.contains('{') {
            continue;
        }
        seen += 1;
        let path = fill_path(&route.path);
        let read = format!("{noun}:read");
        let status = async |limit: &str, scopes: &[&str]| {
            let api = TestApi::new();
            let mut scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
            scopes.push(format!("{} on {limit}", permission.name()));
            if route.path.ends_with("/judgements") || route.path.ends_with("/test") {
                // It shows events, too.
                scopes.push("events:read".to_owned());
            }
            let token = token(&api, &json!({ "name": "t", "roles": ["admin"], "scopes": scopes })).await;
            api.ask(route.method.clone(), &path).bearing(&token).json(&json!({})).response().await.status().as_u16()
        };
        let whole = TestApi::new();
        let by_admin = whole.ask(route.method.clone(), &path).by("admin").json(&json!({})).response().await.status().as_u16();
        assert_eq!(status(inside, &[]).await, by_admin, "{} {path} inside", route.method);
        assert_eq!(status(outside, &[]).await, 404, "{} {path} outside, unseen", route.method);
        if permission.verb() != "read" {
            assert_eq!(status(outside, &[&read]).await, 403, "{} {path} outside, seen", route.method);
        }
    }
    assert!(seen >= 13, "{seen} routes");
}

#[tokio::test]
async fn list_shows_only_what_a_limit_covers() {
    let api = TestApi::new();
    let scopes: Vec<String> =
        ["packs", "actions", "triggers", "sensors", "rules", "hooks"].map(|noun| format!("{noun}:read on pack=demo")).to_vec();
    let token = token(&api, &json!({ "name": "t", "roles": ["viewer"], "scopes": scopes })).await;
    for (path, field) in
        [("packs", "name"), ("actions", "ref"), ("triggers", "ref"), ("sensors", "ref"), ("rules", "ref"), ("hooks", "ref")]
    {
        let path = format!("/api/v1/{path}?limit=200");
        let names = |answer: Value| -> Vec<String> {
            let items = answer["items"].as_array().unwrap();
            items.iter().map(|item| item[field].as_str().or(item["sensor"].as_str()).unwrap_or_default().to_owned()).collect()
        };
        let all = names(api.get(&path).by("admin").answer().await.expect(200).json());
        let expected: Vec<String> = all.into_iter().filter(|name| name == "demo" || name.starts_with("demo.")).collect();
        assert_eq!(names(get(&api, &path, &token).await.expect(200).json()), expected, "{path}");
        assert!(!expected.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn event_outside_the_limit_is_rejected_in_every_form() {
    let api = TestApi::new();
    let token = token(&api, &json!({ "name": "feed", "roles": ["author"], "scopes": ["events:write on pack=shop"] })).await;
    let ours = json!({ "trigger": "demo.hello", "payload": { "name": "bo" } });
    let send = |body: &Value| api.post("/api/v1/events").bearing(&token).json(body);
    send(&ours).answer().await.expect_problem(403, "forbidden");
    send(&json!([ours])).answer().await.expect_problem(403, "forbidden");
    let event = json!({ "specversion": "1.0", "id": "1", "source": "s", "type": "demo.hello", "data": { "name": "bo" } });
    let structured = api.post("/api/v1/events").bearing(&token).with("content-type", "application/cloudevents+json");
    structured.body(event.to_string()).answer().await.expect_problem(403, "forbidden");
    get(&api, "/api/v1/events", &token).await.expect_problem(403, "forbidden");
}

#[tokio::test]
async fn token_with_nothing_but_a_scope_sends_its_events() {
    let api = TestApi::new();
    let token = token(&api, &json!({ "name": "feed", "scopes": ["events:write on pack=demo"] })).await;
    let event = json!({ "trigger": "demo.hello", "payload": { "name": "bo" } });
    api.post("/api/v1/events").bearing(&token).json(&event).answer().await.expect(202);
    get(&api, "/api/v1/events", &token).await.expect_problem(403, "forbidden");
}

#[tokio::test]
async fn trigger_shows_only_the_rules_that_its_caller_may_see() {
    let api = TestApi::new();
    let path = "/api/v1/triggers/demo.hello";
    let seen = api.get(path).by("viewer").answer().await.expect(200).json();
    assert!(!seen["rules"].as_array().unwrap().is_empty(), "{seen}");
    let scopes = json!(["triggers:read", "rules:read on pack=core"]);
    let token = token(&api, &json!({ "name": "t", "roles": ["viewer"], "scopes": scopes })).await;
    assert_eq!(get(&api, path, &token).await.expect(200).json()["rules"], json!([]));
}

#[tokio::test]
async fn identity_that_requested_the_work_cannot_answer_by_another_token() {
    let api = TestApi::new();
    let ana = identity(&api, "ana", &["release"]).await;
    let phone = token(&api, &json!({ "name": "phone", "identity": "ana" })).await;
    let bo = identity(&api, "bo", &["release"]).await;
    grant(&api, &json!({ "subject": "group:release", "role": "approver" })).await;
    grant(&api, &json!({ "subject": "group:release", "role": "author" })).await;
    let params = json!({ "title": "Go on?", "answer": {}, "assignees": ["role:release"], "exclude": ["requester"], "digest": "optional" });
    let run = api.post("/api/v1/actions/core.inquiry/execute").bearing(&ana).json(&json!({ "params": params }));
    let inquiry = run.answer().await.expect(202).json()["inquiry"].as_str().unwrap().to_owned();
    let answer = |token: &str| api.post(&format!("/api/v1/inquiries/{inquiry}/respond")).bearing(token).json(&json!({ "answer": {} }));
    answer(&phone).answer().await.expect_problem(403, "inquiry_not_asked");
    answer(&bo).answer().await.expect(200);
}

#[tokio::test]
async fn expired_token_is_rejected_as_such() {
    let api = TestApi::new();
    let token = token(&api, &json!({ "name": "t", "roles": ["viewer"], "expires_in": "5ms" })).await;
    get(&api, "/api/v1/events", &token).await.expect(200);
    for _ in 0..6 {
        api.event("ana").await;
    }
    get(&api, "/api/v1/events", &token).await.expect_problem(401, "token_expired");
    get(&api, "/api/v1/me", &token).await.expect_problem(401, "token_expired");
}

#[tokio::test]
async fn expired_token_and_token_of_a_disabled_identity_reach_no_route() {
    let api = TestApi::new();
    let expired = token(&api, &json!({ "name": "t", "roles": ["admin"], "expires_in": "5ms" })).await;
    let disabled = identity(&api, "ana", &[]).await;
    grant(&api, &json!({ "subject": "identity:ana", "role": "admin" })).await;
    for _ in 0..6 {
        api.event("somebody").await;
    }
    get(&api, "/api/v1/me", &disabled).await.expect(200);
    api.post("/api/v1/identities/ana/disable").by("admin").json(&json!({})).answer().await;
    let mut asked = 0;
    for route in api.front.routes().iter().filter(|route| route.demands != Demand::Nothing) {
        for (token, code) in [(&expired, "token_expired"), (&disabled, "identity_disabled")] {
            let request = api.ask(route.method.clone(), &fill_path(&route.path)).bearing(token).json(&json!({}));
            request.answer().await.expect_problem(401, code);
        }
        asked += 1;
    }
    assert!(asked > 100, "{asked} routes");
}

#[tokio::test]
async fn invalid_scopes_periods_and_holders_are_rejected() {
    let api = TestApi::new();
    let add = |body: Value| api.post(TOKENS).by("admin").json(&body);
    for body in [
        json!({ "name": "t", "scopes": ["events:erase"] }),
        json!({ "name": "t", "scopes": [] }),
        json!({ "name": "t", "scopes": ["log:read on pack=a"] }),
        json!({ "name": "t", "scopes": ["events:write on colour=red"] }),
        json!({ "name": "t", "roles": ["viewer"], "expires_in": "-1h" }),
        json!({ "name": "t", "roles": ["viewer"], "expires_in": "0s" }),
    ] {
        add(body.clone()).answer().await.expect_problem(422, "body_invalid");
    }
    add(json!({ "name": "t", "identity": "nobody" })).answer().await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn caller_passes_on_no_more_than_it_may_do() {
    let api = TestApi::new();
    let token = token(
        &api,
        &json!({
            "name": "deputy", "roles": ["admin"], "scopes": ["tokens:write", "grants:write", "events:write", "inquiries:answer"],
        }),
    )
    .await;
    let post = |path: &str, body: Value| api.post(path).bearing(&token).json(&body);
    post(TOKENS, json!({ "name": "a", "roles": ["admin"] })).answer().await.expect_problem(403, "beyond_own_rights");
    post(TOKENS, json!({ "name": "a", "roles": ["admin"], "scopes": ["keys:write"] }))
        .answer()
        .await
        .expect_problem(403, "beyond_own_rights");
    post(TOKENS, json!({ "name": "a", "roles": ["admin"], "scopes": ["events:write on pack=a"] })).answer().await.expect(201);
    post(GRANTS, json!({ "subject": "everyone", "role": "viewer" })).answer().await.expect_problem(403, "beyond_own_rights");
    post(GRANTS, json!({ "subject": "everyone", "role": "ingester" })).answer().await.expect(201);
}

#[tokio::test]
async fn identity_has_the_rights_of_its_grants_until_they_end() {
    let api = TestApi::new();
    let ana = identity(&api, "ana", &["release"]).await;
    get(&api, "/api/v1/rules", &ana).await.expect_problem(403, "forbidden");
    let own = grant(&api, &json!({ "subject": "identity:ana", "role": "viewer" })).await;
    get(&api, "/api/v1/rules", &ana).await.expect(200);
    api.ask(Method::DELETE, &format!("{GRANTS}/{own}")).by("admin").answer().await.expect(204);
    get(&api, "/api/v1/rules", &ana).await.expect_problem(403, "forbidden");
    grant(&api, &json!({ "subject": "group:release", "role": "author", "on": { "packs": ["demo"] } })).await;
    api.post("/api/v1/rules/demo.greet/disable").bearing(&ana).answer().await.expect(200);
    assert!(api.node.newest().actor.to_string().starts_with("identity/"), "{}", api.node.newest().actor);
    api.post("/api/v1/actions/core.echo/execute").bearing(&ana).json(&json!({})).answer().await.expect_problem(404, "not_found");
    let me = get(&api, "/api/v1/me", &ana).await.expect(200).json();
    assert_eq!((&me["name"], &me["by"]["name"], &me["roles"]), (&json!("ana"), &json!("ana-laptop"), &json!(["release"])));
    let rules = me["permissions"].as_array().unwrap().iter().find(|one| one["permission"] == "rules:write").unwrap().clone();
    assert_eq!(rules, json!({ "permission": "rules:write", "reach": "limited", "on": ["pack=demo"] }));
    api.ask(Method::PUT, &format!("{IDENTITIES}/ana/groups")).by("admin").json(&json!({ "groups": [] })).answer().await.expect(200);
    api.post("/api/v1/rules/demo.greet/disable").bearing(&ana).answer().await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn disabled_identity_is_not_admitted_and_an_erased_one_is_forgotten() {
    let api = TestApi::new();
    let ana = identity(&api, "ana", &[]).await;
    let change = |how: &str| api.post(&format!("{IDENTITIES}/ana/{how}")).by("admin").json(&json!({}));
    assert_eq!(change("disable").answer().await.expect(200).json()["status"], "disabled");
    get(&api, "/api/v1/me", &ana).await.expect_problem(401, "identity_disabled");
    change("enable").answer().await.expect(200);
    get(&api, "/api/v1/me", &ana).await.expect(200);
    api.ask(Method::DELETE, &format!("{IDENTITIES}/ana")).by("admin").answer().await.expect(204);
    get(&api, "/api/v1/me", &ana).await.expect_problem(401, "token_invalid");
    api.get(&format!("{IDENTITIES}/ana")).by("admin").answer().await.expect_problem(404, "not_found");
    assert_eq!(api.get(IDENTITIES).by("admin").answer().await.expect(200).json()["items"], json!([]));
}

#[tokio::test]
async fn can_i_names_the_grant_or_the_limits() {
    let api = TestApi::new();
    let ana = identity(&api, "ana", &[]).await;
    let id = grant(&api, &json!({ "subject": "identity:ana", "role": "author", "on": { "packs": ["demo"] } })).await;
    let ask = async |query: &str, token: &str| get(&api, &format!("/api/v1/auth/can-i?{query}"), token).await.expect(200).json();
    let inside = ask("permission=actions:execute&action=demo.greet", &ana).await;
    assert_eq!((&inside["allowed"], &inside["on"]), (&json!(true), &json!(["pack=demo"])));
    assert_eq!(ask("permission=actions:execute&action=core.echo", &ana).await["allowed"], false);
    assert_eq!(ask("permission=actions:execute", &ana).await["allowed"], false, "not for all");
    assert_eq!(ask("permission=log:read", &ana).await["reach"], Value::Null);
    let admin = api.node.token_of("admin");
    let of_ana = ask("permission=actions:execute&pack=demo&as=ana", &admin).await;
    assert_eq!((&of_ana["by"]["grant"], &of_ana["by"]["role"]), (&json!(id), &json!("author")));
    get(&api, "/api/v1/auth/can-i?permission=log:read&as=ana", &ana).await.expect_problem(403, "forbidden");
    get(&api, "/api/v1/auth/can-i?permission=log:erase", &ana).await.expect_problem(400, "bad_parameter");
    get(&api, "/api/v1/auth/can-i", &ana).await.expect_problem(400, "bad_parameter");
}

#[tokio::test]
async fn token_rotates_itself_and_others_need_the_permission() {
    let api = TestApi::new();
    let ci = token(&api, &json!({ "name": "ci", "roles": ["viewer"] })).await;
    let rotate = |name: &str, token: &str, key: &str| {
        api.post(&format!("{TOKENS}/{name}/rotate")).bearing(token).with("idempotency-key", key).json(&json!({ "overlap": "10ms" }))
    };
    rotate("ana.viewer", &ci, "1").answer().await.expect_problem(404, "not_found");
    let new = rotate("ci", &ci, "2").answer().await.expect(201).json()["token"].as_str().unwrap().to_owned();
    get(&api, "/api/v1/me", &ci).await.expect(200);
    get(&api, "/api/v1/me", &new).await.expect(200);
    rotate("ci", &ci, "2").answer().await.expect_problem(409, "secret_shown");
    rotate("ci", &ci, "3").answer().await.expect_problem(404, "not_found");
    for _ in 0..11 {
        api.event("ana").await;
    }
    get(&api, "/api/v1/me", &ci).await.expect_problem(401, "token_expired");
    let listed = api.get(TOKENS).by("admin").answer().await.expect(200).json();
    assert_eq!(listed["items"].as_array().unwrap().iter().filter(|token| token["name"] == "ci").count(), 1);
    let too_long = api.post(&format!("{TOKENS}/ci/rotate")).bearing(&new).json(&json!({ "overlap": "31d" }));
    too_long.answer().await.expect_problem(422, "body_invalid");
}

#[tokio::test]
async fn own_role_is_set_listed_and_removed_only_when_unused() {
    let api = TestApi::new();
    let role = "/api/v1/roles/restarter";
    let set = |permissions: Value| api.ask(Method::PUT, role).by("admin").json(&json!({ "permissions": permissions }));
    set(json!(["executions:erase"])).answer().await.expect_problem(422, "scope_invalid");
    set(json!(["executions:rerun", "executions:read"])).answer().await.expect(200);
    let listed = api.get("/api/v1/roles").by("admin").answer().await.expect(200).json();
    let names: Vec<&str> = listed["items"].as_array().unwrap().iter().filter_map(|role| role["name"].as_str()).collect();
    assert_eq!(names, ["admin", "approver", "author", "ingester", "operator", "restarter", "viewer"]);
    let bo = token(&api, &json!({ "name": "bo", "roles": ["restarter"] })).await;
    get(&api, "/api/v1/executions", &bo).await.expect(200);
    api.ask(Method::DELETE, role).by("admin").answer().await.expect_problem(409, "role_in_use");
    api.ask(Method::DELETE, &format!("{TOKENS}/bo")).by("admin").answer().await.expect(204);
    api.ask(Method::DELETE, role).by("admin").answer().await.expect(204);
    api.ask(Method::PUT, "/api/v1/roles/viewer")
        .by("admin")
        .json(&json!({ "permissions": [] }))
        .answer()
        .await
        .expect_problem(409, "role_in_use");
}

#[tokio::test]
async fn invalid_grants_are_rejected_with_their_place() {
    let api = TestApi::new();
    let add = |body: Value| api.post(GRANTS).by("admin").json(&body);
    add(json!({ "subject": "ana", "role": "viewer" })).answer().await.expect_problem(422, "body_invalid");
    add(json!({ "subject": "identity:ana", "role": "viewer" })).answer().await.expect_problem(404, "not_found");
    add(json!({ "subject": "everyone", "role": "nothing" })).answer().await.expect_problem(404, "not_found");
    add(json!({ "subject": "everyone", "role": "author", "on": {} })).answer().await.expect_problem(422, "limit_invalid");
    let whole = api.ask(Method::PUT, "/api/v1/roles/watcher").by("admin").json(&json!({ "permissions": ["log:read"] }));
    whole.answer().await.expect(200);
    add(json!({ "subject": "everyone", "role": "watcher", "on": { "packs": ["a"] } })).answer().await.expect_problem(422, "limit_invalid");
    let past = add(json!({ "subject": "everyone", "role": "viewer", "until": "2001-01-01T00:00:00Z" }));
    assert_eq!(past.answer().await.expect_problem(422, "body_invalid")["errors"][0]["pointer"], "/until");
}

#[tokio::test]
async fn two_tokens_of_one_identity_answer_an_inquiry_once() {
    let api = TestApi::new();
    let ana = identity(&api, "ana", &["release"]).await;
    let phone = token(&api, &json!({ "name": "phone", "identity": "ana" })).await;
    grant(&api, &json!({ "subject": "group:release", "role": "approver" })).await;
    let params = json!({ "title": "Go on?", "answer": {}, "assignees": ["role:release"], "quorum": 2, "digest": "optional" });
    let run = api.post("/api/v1/actions/core.inquiry/execute").by("admin").json(&json!({ "params": params }));
    let inquiry = run.answer().await.expect(202).json()["inquiry"].as_str().unwrap().to_owned();
    let answer = |token: &str| api.post(&format!("/api/v1/inquiries/{inquiry}/respond")).bearing(token).json(&json!({ "answer": {} }));
    answer(&ana).answer().await.expect(200);
    answer(&phone).answer().await.expect_problem(409, "inquiry_answered_before");
}

#[tokio::test]
async fn issuer_is_linked_to_an_identity_once_and_only_by_callers_that_may_do_what_it_may() {
    let api = TestApi::new();
    identity(&api, "ana", &["oncall"]).await;
    grant(&api, &json!({ "subject": "identity:ana", "role": "viewer" })).await;
    let path = format!("{IDENTITIES}/ana/issuers");
    let link = json!({ "issuer": "corp", "subject": "4711" });
    let weak = token(&api, &json!({ "name": "weak", "scopes": ["identities:write"] })).await;
    api.post(&path).bearing(&weak).json(&link).answer().await.expect_problem(403, "beyond_own_rights");
    let linked = api.post(&path).by("admin").json(&link).answer().await.expect(200).json();
    assert_eq!((&linked["groups"], &linked["issuers"]), (&json!(["oncall"]), &json!([{ "issuer": "corp", "groups": [] }])));
    api.post(&path).by("admin").json(&link).answer().await.expect_problem(409, "name_taken");
    for bad in [json!({ "issuer": "Corp", "subject": "1" }), json!({ "issuer": "local", "subject": "1" }), json!({ "issuer": "corp" })] {
        api.post(&path).by("admin").json(&bad).answer().await.expect_problem(422, "body_invalid");
    }
    let one = format!("{path}/corp");
    api.ask(Method::DELETE, &one).by("admin").answer().await.expect(204);
    api.ask(Method::DELETE, &one).by("admin").answer().await.expect_problem(404, "not_found");
    api.ask(Method::DELETE, &format!("{path}/Corp")).by("admin").answer().await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn rerun_needs_the_permission_to_run_the_action() {
    let api = TestApi::new();
    let id = api.execution().await;
    api.node.succeed(&id, "{}");
    let one = format!("/api/v1/executions/{id}/rerun");
    let many = format!("/api/v1/executions/rerun?id={id}&until=2999-01-01T00:00:00Z&again=true");
    let holder = async |name: &str, scopes: &[&str]| {
        let scopes: Vec<&str> = ["executions:read", "executions:rerun"].iter().chain(scopes).copied().collect();
        token(&api, &json!({ "name": name, "scopes": scopes })).await
    };
    let without = holder("without", &[]).await;
    api.post(&one).bearing(&without).answer().await.expect_problem(403, "forbidden");
    api.post(&many).bearing(&without).answer().await.expect_problem(403, "forbidden");
    let elsewhere = holder("elsewhere", &["actions:execute on action=core.shell"]).await;
    let refused = api.post(&one).bearing(&elsewhere).answer().await.expect_problem(403, "forbidden");
    assert!(refused["detail"].as_str().unwrap().contains("`actions:execute` for `core.echo`"), "{refused}");
    let refused = api.post(&many).bearing(&elsewhere).answer().await.expect(200).json();
    assert_eq!(refused["items"][0]["error"]["code"], "forbidden", "{refused}");
    let listed = get(&api, &format!("/api/v1/executions?rerun_of={id}"), &without).await.json();
    assert_eq!(listed["items"], json!([]), "nothing was requested");
    let allowed = holder("allowed", &["actions:execute on action=core.echo"]).await;
    let rerun = api.post(&one).bearing(&allowed).answer().await.expect(202).json();
    assert_eq!((rerun["rerun_of"].as_str(), rerun["principal"].as_str()), (Some(id.as_str()), Some("token/allowed")));
    api.post(&many).bearing(&allowed).answer().await.expect(200);
}

#[tokio::test]
async fn quota_of_the_caller_s_group_limits_events_and_executions() {
    let api = TestApi::new();
    let ana = identity(&api, "ana", &["trial"]).await;
    grant(&api, &json!({ "subject": "group:trial", "role": "author" })).await;
    let event = json!({ "trigger": "demo.hello", "payload": { "name": "bo" } });
    let send = |body: &Value| api.post("/api/v1/events").bearing(&ana).json(body);
    send(&json!([event, event])).answer().await.expect(202);
    let before = api.node.head_position();
    let answer = send(&json!([event, event])).answer().await;
    assert_eq!(answer.header("retry-after").unwrap().parse::<u64>().unwrap().div_ceil(3_600), 12, "until midnight");
    let problem = answer.expect_problem(429, "quota_exceeded");
    assert_eq!([&problem["what"], &problem["limit"], &problem["used"]], [&json!("events_per_day"), &json!(3), &json!(2)]);
    assert_eq!(problem["resets_at"], "2026-03-29T00:00:00.000000Z");
    assert_eq!(api.node.head_position(), before, "nothing is recorded");
    let run = || api.post("/api/v1/actions/demo.greet/execute").bearing(&ana).json(&json!({ "params": { "name": "bo" } })).answer();
    run().await.expect(202);
    let problem = run().await.expect_problem(429, "quota_exceeded");
    assert_eq!([&problem["what"], &problem["limit"], &problem["resets_at"]], [&json!("concurrent"), &json!(1), &Value::Null]);
    let usage = get(&api, "/api/v1/usage", &ana).await.expect(200).json();
    let used: Vec<_> = usage["quotas"].as_array().unwrap().iter().map(|quota| quota["used"].as_u64().unwrap()).collect();
    assert_eq!((usage["tier"].as_str(), used), (Some("free"), vec![2, 1, 1]), "{usage}");
}

#[tokio::test]
async fn use_of_others_requires_a_permission() {
    let api = TestApi::new();
    let ana = identity(&api, "ana", &["trial"]).await;
    identity(&api, "bo", &[]).await;
    get(&api, "/api/v1/usage?of=bo", &ana).await.expect_problem(403, "forbidden");
    api.get("/api/v1/usage?of=bo").by("viewer").answer().await.expect_problem(403, "forbidden");
    let of = |name: &str| api.get(&format!("/api/v1/usage?of={name}")).by("operator").answer();
    assert_eq!(of("ana").await.expect(200).json()["tier"], "free");
    assert_eq!(of("bo").await.expect(200).json()["tier"], Value::Null);
    of("nobody").await.expect_problem(404, "not_found");
    let own = api.get("/api/v1/usage").by("viewer").answer().await.expect(200).json();
    assert_eq!((&own["id"], &own["quotas"]), (&Value::Null, &json!([])), "a token without an identity");
}

/// Opens an inquiry that asks `ana`, requested by an author.
async fn open_inquiry(api: &TestApi, more: &Value) -> String {
    let mut params = json!({ "title": "Go on?", "answer": {}, "assignees": ["ana"], "digest": "optional" });
    more.as_object().unwrap().iter().for_each(|(name, value)| params[name] = value.clone());
    let run = api.post("/api/v1/actions/core.inquiry/execute").by("author").json(&json!({ "params": params }));
    run.answer().await.expect(202).json()["inquiry"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn delegated_inquiry_is_listed_shown_and_answered_by_the_deputy() {
    let api = TestApi::new();
    let (ana, bo, cy) = (identity(&api, "ana", &[]).await, identity(&api, "bo", &[]).await, identity(&api, "cy", &[]).await);
    grant(&api, &json!({ "subject": "everyone", "role": "approver" })).await;
    let inquiry = open_inquiry(&api, &json!({})).await;
    let path = format!("/api/v1/inquiries/{inquiry}");
    get(&api, &path, &bo).await.expect_problem(404, "not_found");
    let delegate = |token: &str, to: &str| api.post(&format!("{path}/delegate")).bearing(token).json(&json!({ "to": to })).answer();
    delegate(&bo, "cy").await.expect_problem(404, "not_found");
    delegate(&ana, "ana").await.expect_problem(409, "delegation_refused");
    delegate(&ana, "nobody").await.expect_problem(404, "not_found");
    let shown = delegate(&ana, "bo").await.expect(200).json();
    assert_eq!(shown["delegations"].as_array().unwrap().len(), 1, "{shown}");
    let mine = get(&api, "/api/v1/inquiries?mine=true&status=open", &bo).await.expect(200).json();
    assert_eq!(mine["items"][0]["id"], inquiry.as_str());
    assert_eq!(mine["items"][0]["may_answer"], true, "{mine}");
    assert_eq!(get(&api, "/api/v1/now", &bo).await.expect(200).json()["needs_person"]["inquiries_mine"], 1);
    let seen = get(&api, "/api/v1/inquiries?mine=true", &cy).await.expect(200).json();
    assert_eq!(seen["items"], json!([]), "it is listed for nobody else");
    delegate(&bo, "cy").await.expect_problem(403, "inquiry_not_asked");
    let respond = |token: &str| api.post(&format!("{path}/respond")).bearing(token).json(&json!({ "answer": true })).answer();
    respond(&cy).await.expect_problem(404, "not_found");
    let answered = respond(&bo).await.expect(200).json();
    let (me, ana_id) = (get(&api, "/api/v1/me", &bo).await.json(), get(&api, "/api/v1/me", &ana).await.json());
    assert_eq!((&answered["answers"][0]["by"], &answered["answers"][0]["on_behalf_of"]), (&me["id"], &ana_id["id"]));
    let audit = api.get("/api/v1/audit?what=inquiry.delegated").by("admin").answer().await.expect(200).json();
    assert_eq!(audit["items"][0]["actor_name"], "ana", "{audit}");
}

#[tokio::test]
async fn deputy_of_an_absent_assignee_answers_until_the_assignee_is_back() {
    let api = TestApi::new();
    let (ana, bo) = (identity(&api, "ana", &["release"]).await, identity(&api, "bo", &[]).await);
    grant(&api, &json!({ "subject": "everyone", "role": "approver" })).await;
    let inquiry = open_inquiry(&api, &json!({ "assignees": ["role:release"] })).await;
    let path = format!("/api/v1/inquiries/{inquiry}");
    let absence = |path: &str, token: &str, body: &Value| api.ask(Method::PUT, path).bearing(token).json(body).answer();
    let own = "/api/v1/me/absence";
    absence(own, &ana, &json!({ "deputy": "ana" })).await.expect_problem(422, "absence_invalid");
    absence(own, &ana, &json!({ "until": "2020-01-01T00:00:00Z" })).await.expect_problem(422, "absence_invalid");
    absence("/api/v1/identities/ana/absence", &bo, &json!({ "deputy": "bo" })).await.expect_problem(404, "not_found");
    let set = absence(own, &ana, &json!({ "until": "2030-01-01T00:00:00Z", "deputy": "bo" })).await.expect(200).json();
    assert_eq!((&set["absence"]["deputy_name"], &set["absence"]["from"]), (&json!("bo"), &Value::Null), "{set}");
    assert_eq!(get(&api, &path, &bo).await.expect(200).json()["may_answer"], true);
    absence(own, &ana, &json!({})).await.expect(200);
    get(&api, &path, &bo).await.expect_problem(404, "not_found");
    let by_admin = api.ask(Method::PUT, "/api/v1/identities/ana/absence").by("admin").json(&json!({ "deputy": "bo" }));
    by_admin.answer().await.expect(200);
    let respond = |token: &str| api.post(&format!("{path}/respond")).bearing(token).json(&json!({ "answer": true })).answer();
    let answered = respond(&bo).await.expect(200).json();
    assert!(answered["answers"][0]["on_behalf_of"].is_string(), "{answered}");
    respond(&ana).await.expect_problem(409, "inquiry_closed");
}
