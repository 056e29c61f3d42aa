//! Tokens of issuers on the API of the built binary: whom they admit, what is refused, and what an issuer that
//! misbehaves can do.

use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::issuer::{Issuer, Mood, encode, seconds};
use crate::support::{ADMIN_TOKEN, Answer, CommandOutput, Node, NodeFolder, until};

/// The settings of one issuer, as they are written below its name.
fn settings(issuer: &Issuer) -> Value {
    json!({
        "issuer": issuer.url(), "use": ["bearer"], "audience": "https://ensue.example.test", "allow": "claims.ok",
        "name": "claims.preferred_username", "groups": "claims.?groups.orValue(null)",
    })
}

fn place(issuers: &[(&str, Value)]) -> NodeFolder {
    let place = NodeFolder::new();
    let issuers: serde_json::Map<_, _> = issuers.iter().map(|(name, settings)| ((*name).to_owned(), settings.clone())).collect();
    std::fs::write(place.path().join("ensue.yaml"), json!({ "login": { "issuers": issuers } }).to_string()).unwrap();
    place
}

async fn get(node: &Node, path: &str, token: &str) -> Answer {
    let asked = node.client().anonymous(Method::GET, &format!("/api/v1{path}")).bearer_auth(token);
    Answer::of(asked.send().await.unwrap()).await
}

async fn me(node: &Node, token: &str) -> Answer {
    get(node, "/me", token).await
}

/// Checks that the token is refused so.
async fn expect_refusal(node: &Node, token: &str, status: u16, code: &str) {
    let answer = me(node, token).await;
    assert_eq!((answer.status.as_u16(), answer.body["code"].as_str()), (status, Some(code)), "{token}: {}", answer.body);
    if status == 401 {
        assert!(answer.headers.contains_key("www-authenticate"));
    }
}

fn ensue(place: &NodeFolder, node: &Node, arguments: &[&str]) -> CommandOutput {
    let mut command = place.ensue(arguments);
    CommandOutput::by(command.env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN))
}

#[tokio::test(flavor = "multi_thread")]
async fn token_of_an_issuer_admits_a_new_identity_with_the_rights_of_its_groups() {
    let corp = Issuer::start(Mood::Well);
    let place = place(&[("corp", settings(&corp))]);
    let node = place.start();
    let token = corp.token(&json!({}));
    assert_eq!(corp.requests(), 0, "nothing is fetched at the start");
    let ana = me(&node, &token).await.body;
    assert_eq!(
        (&ana["name"], &ana["roles"], &ana["by"]["kind"], &ana["by"]["id"]),
        (&json!("ana"), &json!(["corp:ops"]), &json!("issuer"), &json!("corp"))
    );
    assert_eq!(get(&node, "/events", &token).await.status, 403);
    let granted = node.client().post("/grants", &json!({ "subject": "group:corp:ops", "role": "viewer" })).await;
    assert_eq!(granted.status, 201, "{}", granted.body);
    assert_eq!(get(&node, "/events", &token).await.status, 200);
    for _ in 0..20 {
        me(&node, &corp.token(&json!({}))).await;
    }
    assert_eq!(corp.requests(), 2);

    let records = node.client().records().await;
    let of_ana = |kind: &str| records.iter().filter(|record| record["kind"] == kind).count();
    assert_eq!((of_ana("identity.added"), of_ana("identity.groups_set")), (1, 1));
    let added = records.iter().find(|record| record["kind"] == "identity.added").unwrap();
    assert_eq!(added["fact"]["by_issuer"], "corp", "{added}");
    assert_eq!(added["actor"], format!("identity/{}/issuer/corp", ana["id"].as_str().unwrap()));
    let log = json!(records).to_string();
    assert!(!log.contains("subject-4711") && !log.contains("canary") && !log.contains("\"ana\""), "names are only in the vault");

    let mut whoami = place.ensue(&["whoami"]);
    let whoami = CommandOutput::by(whoami.env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", &token));
    assert!(whoami.stdout.starts_with("ana, by the issuer corp, until "), "{whoami:?}");
    let shown = ensue(&place, &node, &["identities", "show", "ana"]);
    assert!(shown.stdout.contains("issuer corp, which names the groups: corp:ops"), "{shown:?}");

    assert_eq!(ensue(&place, &node, &["identities", "disable", "ana"]).code, Some(0));
    expect_refusal(&node, &token, 401, "identity_disabled").await;
    assert_eq!(ensue(&place, &node, &["identities", "enable", "ana"]).code, Some(0));
    // The identity survives a restart, even while its issuer is away.
    node.kill();
    corp.becomes(Mood::Fails);
    let node = place.start();
    expect_refusal(&node, &token, 503, "issuer_unavailable").await;
    node.client().get("/me").await;
    let doctor = ensue(&place, &node, &["doctor"]);
    assert!(doctor.stdout.contains("the keys of the issuer `corp` cannot be fetched"), "{doctor:?}");
    node.kill();
    corp.becomes(Mood::Well);
    let node = place.start();
    assert_eq!(me(&node, &token).await.body["id"], ana["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_token_of_an_issuer_is_in_the_audit() {
    let (corp, stranger) = (Issuer::start(Mood::Well), Issuer::start(Mood::Well));
    let place = place(&[("corp", settings(&corp))]);
    let node = place.start();
    expect_refusal(&node, &stranger.token(&json!({ "iss": corp.url() })), 401, "token_invalid").await;
    let recorded = node.client().until("/audit?what=login.refused", |page| page["items"][0].is_object()).await;
    assert_eq!(recorded["items"].as_array().unwrap().len(), 1, "{recorded:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_and_invalid_tokens_are_refused_without_asking_the_issuer() {
    let (corp, stranger) = (Issuer::start(Mood::Well), Issuer::start(Mood::Well));
    let place = place(&[("corp", settings(&corp))]);
    let node = place.start();
    let now = seconds();
    let claims = corp.claims(&json!({})).to_string();
    let signed = |header: Value| corp.sign(&header.to_string(), &claims);
    let unsigned = |alg: &str| format!("{}.{}.", encode(json!({ "alg": alg, "typ": "JWT" }).to_string()), encode(&claims));
    let hmac_with = |key: &[u8], alg: &str| {
        let message = format!("{}.{}", encode(json!({ "alg": alg, "kid": "1" }).to_string()), encode(&claims));
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(message.as_bytes());
        format!("{message}.{}", encode(mac.finalize().into_bytes()))
    };
    let key = corp.public_jwk();
    // A01: no signature at all. A02: the public key as the secret of an HMAC.
    let mut forged: Vec<String> = ["none", "None", "nOnE", ""].into_iter().map(unsigned).collect();
    forged.extend(["none", "None", "nOnE", ""].iter().map(|alg| signed(json!({ "alg": alg, "kid": "1" }))));
    forged.extend(["HS256", "HS384", "HS512"].iter().map(|alg| hmac_with(key.to_string().as_bytes(), alg)));
    forged.push(hmac_with(key["x"].as_str().unwrap().as_bytes(), "HS256"));
    // A03: the header names a key.
    for header in [
        json!({ "alg": "ES256", "jwk": stranger.public_jwk() }),
        json!({ "alg": "ES256", "kid": "1", "jku": format!("{}/keys", stranger.url()) }),
        json!({ "alg": "ES256", "kid": "1", "x5u": format!("{}/keys", stranger.url()) }),
        json!({ "alg": "ES256", "kid": "1", "x5c": ["AA"] }),
        json!({ "alg": "ES256", "kid": "1", "crit": ["exp"] }),
        json!({ "alg": "ES256", "kid": "1", "b64": false }),
        json!({ "alg": "ES256", "kid": "1", "zip": "DEF" }),
        json!({ "alg": "ES256", "kid": "1", "typ": "logout+jwt" }),
        json!({ "alg": "ES256", "kid": ["1"] }),
    ] {
        forged.push(signed(header));
    }
    // A04: claims of a wrong type. A05: expired, or too early. A06: for others, or of another kind.
    for changes in [
        json!({ "exp": "99999999999" }),
        json!({ "exp": -1 }),
        json!({ "exp": null }),
        json!({ "nbf": "0" }),
        json!({ "iat": "0" }),
        json!({ "sub": 4711 }),
        json!({ "sub": "" }),
        json!({ "nbf": now + 90 }),
        json!({ "exp": now + 200_000 }),
        json!({ "aud": "https://other.example.test" }),
        json!({ "aud": null }),
        json!({ "aud": [] }),
        json!({ "nonce": "of a login" }),
    ] {
        forged.push(corp.token(&changes));
    }
    forged.push(corp.sign(r#"{"alg":"ES256","kid":"1"}"#, &claims.replace("\"exp\":", "\"exp\":1e400,\"x\":")));
    forged.push(format!("{}x", corp.token(&json!({}))).replace('.', ".."));
    for token in &forged {
        expect_refusal(&node, token, 401, "token_invalid").await;
    }
    expect_refusal(&node, &corp.token(&json!({ "exp": now - 31, "iat": now - 60 })), 401, "token_expired").await;
    for iss in [format!("{}/", corp.url()), corp.url().to_uppercase(), stranger.url()] {
        expect_refusal(&node, &corp.token(&json!({ "iss": iss })), 401, "issuer_unknown").await;
    }
    assert_eq!((corp.requests(), stranger.requests()), (0, 0));

    // From here on the keys are needed: the signature is that of somebody else, or of a key that nobody knows.
    expect_refusal(&node, &stranger.token(&json!({ "iss": corp.url() })), 401, "token_invalid").await;
    for id in ["../../dev/null", "x' UNION SELECT 'k", "2", ""] {
        expect_refusal(&node, &signed(json!({ "alg": "ES256", "kid": id })), 401, "token_invalid").await;
    }
    for alg in ["RS256", "PS256", "ES384", "EdDSA", "ES256"] {
        expect_refusal(&node, &hmac_with(key.to_string().as_bytes(), alg), 401, "token_invalid").await;
    }
    let good = corp.token(&json!({}));
    let other_end = if good.ends_with('A') { 'Q' } else { 'A' };
    expect_refusal(&node, &format!("{}{other_end}", &good[..good.len() - 1]), 401, "token_invalid").await;
    assert_eq!((corp.requests(), stranger.requests()), (2, 0));
    // Nobody was added by any of these.
    assert_eq!(node.client().get("/identities").await["items"], json!([]));
    assert_eq!(me(&node, &good).await.status, 200);
    // A14: in the URL, twice, or in another scheme.
    assert_eq!(get(&node, &format!("/me?access_token={good}"), &good).await.body["code"], "token_in_url");
    let twice = node.client().anonymous(Method::GET, "/api/v1/me").bearer_auth(&good).header("authorization", format!("Bearer {good}"));
    assert_eq!(Answer::of(twice.send().await.unwrap()).await.body["code"], "doubled_authorization");
}

/// Lets bad issuers keep their callers out. Returns whether a caller of a good one was answered while those of the issuer that hangs
/// were still waiting.
async fn is_answered_beside_bad_issuers() -> bool {
    const CALLERS: usize = 10;
    let moods = [Mood::Hangs, Mood::Grows, Mood::Garbage, Mood::Redirects, Mood::Lies, Mood::Fails];
    let bad: Vec<Issuer> = moods.into_iter().map(Issuer::start).collect();
    let corp = Issuer::start(Mood::Well);
    let names: Vec<String> = (0..bad.len()).map(|number| format!("bad{number}")).collect();
    let mut issuers: Vec<(&str, Value)> = names.iter().map(String::as_str).zip(bad.iter().map(settings)).collect();
    issuers.push(("corp", settings(&corp)));
    let place = place(&issuers);
    let node = place.start();
    let answers: Vec<_> = bad
        .iter()
        .flat_map(|issuer| (0..CALLERS).map(|_| issuer.token(&json!({}))))
        .map(|token| {
            let asked = node.client().anonymous(Method::GET, "/api/v1/me").bearer_auth(token);
            tokio::spawn(async move { Answer::of(asked.send().await.unwrap()).await })
        })
        .collect();
    until("a caller of the issuer that hangs", async || bad[0].requests() > 0).await;
    assert_eq!(me(&node, &corp.token(&json!({}))).await.status, 200);
    node.client().get("/me").await;
    let are_waiting = answers[..CALLERS].iter().all(|answer| !answer.is_finished());
    for answer in answers {
        let answer = answer.await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.body["code"]), (503, &json!("issuer_unavailable")), "{}", answer.body);
    }
    assert!(bad.iter().all(|issuer| issuer.requests() <= 2), "{:?}", bad.iter().map(Issuer::requests).collect::<Vec<_>>());
    are_waiting
}

#[tokio::test(flavor = "multi_thread")]
async fn issuer_that_hangs_grows_or_lies_keeps_only_its_own_callers_out() {
    // Nobody waits for longer than five seconds for the issuer that hangs. A machine can be that slow once.
    for _ in 0..5 {
        if is_answered_beside_bad_issuers().await {
            return;
        }
    }
    panic!("others wait for the issuer that hangs");
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_follow_the_issuer_and_never_go_back() {
    let corp = Issuer::start(Mood::Well);
    let place = place(&[("corp", settings(&corp))]);
    let node = place.start();
    let now = seconds();
    let groups = async |changes: Value| {
        let answer = me(&node, &corp.token(&changes)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["roles"].clone()
    };
    assert_eq!(groups(json!({ "iat": now - 20 })).await, json!(["corp:ops"]));
    assert_eq!(groups(json!({ "iat": now - 19, "groups": null })).await, json!(["corp:ops"]), "absent is not empty");
    assert_eq!(groups(json!({ "iat": now - 10, "groups": [] })).await, json!([]));
    assert_eq!(groups(json!({ "iat": now - 15 })).await, json!([]), "the token is from before the change");
    assert_eq!(groups(json!({ "iat": now - 5, "groups": ["Release Team", "admin"] })).await, json!(["corp:Release Team", "corp:admin"]));
    let many: Vec<String> = (0..201).map(|number| format!("g{number}")).collect();
    expect_refusal(&node, &corp.token(&json!({ "groups": many })), 403, "groups_overage").await;
    expect_refusal(&node, &corp.token(&json!({ "groups": null, "_claim_names": { "groups": "x" } })), 403, "groups_overage").await;
    for changes in [
        json!({ "ok": false }),
        json!({ "ok": null }),
        json!({ "ok": "true" }),
        json!({ "groups": "admin" }),
        json!({ "groups": ["a\nb"] }),
        json!({ "preferred_username": "Ana Example" }),
        json!({ "preferred_username": null }),
    ] {
        expect_refusal(&node, &corp.token(&changes), 403, "claims_refused").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn name_of_another_is_taken_until_an_administrator_links_the_issuer() {
    let corp = Issuer::start(Mood::Well);
    let place = place(&[("corp", settings(&corp))]);
    let node = place.start();
    assert_eq!(ensue(&place, &node, &["identities", "add", "ana"]).code, Some(0));
    let token = corp.token(&json!({}));
    expect_refusal(&node, &token, 409, "name_taken").await;
    expect_refusal(&node, &corp.token(&json!({ "sub": "1", "preferred_username": "admin" })), 409, "name_taken").await;
    let linked = ensue(&place, &node, &["identities", "link", "ana", "--issuer", "corp", "--sub", "subject-4711"]);
    assert!(linked.code == Some(0) && linked.stderr.contains("`ana` can log in through `corp`"), "{linked:?}");
    let id = node.client().get("/identities/ana").await["id"].clone();
    assert_eq!(me(&node, &token).await.body["id"], id);
    expect_refusal(&node, &corp.token(&json!({ "sub": "4712" })), 409, "name_taken").await;
    for (arguments, hint) in [
        (["identities", "link", "ana", "--issuer", "corp", "--sub", "subject-4711"], "already linked"),
        (["identities", "link", "ana", "--issuer", "other", "--sub", "subject-4711"], "has no issuer `other`"),
        (["identities", "link", "bo", "--issuer", "corp", "--sub", "subject-4711"], "bo"),
    ] {
        let refused = ensue(&place, &node, &arguments);
        assert!(refused.code != Some(0) && refused.stderr.contains(hint), "{refused:?}");
    }
    assert_eq!(ensue(&place, &node, &["identities", "add", "bo"]).code, Some(0));
    let other = ensue(&place, &node, &["identities", "link", "bo", "--issuer", "corp", "--sub", "subject-4711"]);
    assert!(other.code != Some(0) && other.stderr.contains("another identity logs in"), "{other:?}");
    // The link survives a restart.
    node.kill();
    let node = place.start();
    assert_eq!(me(&node, &token).await.body["id"], id);
    assert_eq!(ensue(&place, &node, &["identities", "unlink", "ana", "--issuer", "corp"]).code, Some(0));
    expect_refusal(&node, &token, 409, "name_taken").await;
    assert_eq!(ensue(&place, &node, &["grants", "add", "group:old:ops", "--role", "viewer"]).code, Some(0));
    let doctor = ensue(&place, &node, &["doctor"]);
    assert!(doctor.stdout.contains("grants name groups of the issuer `old`"), "{doctor:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn service_is_the_same_identity_for_each_of_its_jobs_and_a_new_key_is_found() {
    let ci = Issuer::start(Mood::Well);
    let mut job = settings(&ci);
    job["kind"] = json!("service");
    job["name"] = json!("'ci.' + claims.repository");
    job["groups"] = json!("['ci']");
    let place = place(&[("ci", job)]);
    let node = place.start();
    let run = |sub: &str| ci.token(&json!({ "sub": sub, "repository": "shop" }));
    let first = me(&node, &run("run 1")).await.body;
    let second = me(&node, &run("run 2")).await.body;
    assert_eq!((&first["name"], &first["id"], &first["roles"]), (&json!("ci.shop"), &second["id"], &json!(["ci:ci"])));
    ci.rotate("2");
    // The issuer was asked less than 30 s ago.
    expect_refusal(&node, &run("run 3"), 401, "token_invalid").await;
}
