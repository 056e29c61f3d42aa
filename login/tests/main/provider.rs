//! Logins and tokens of a real OpenID provider: the npm package `oidc-provider`, driven as a browser would.

mod http;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use ensue_engine::explain::Explain;
use ensue_engine::ports::Secret;
use ensue_engine::time::Timestamp;
use ensue_login::flow::{IdTokenFault, LoggedIn, LoginRandom, LoginRefusal, Pending, RenewRefusal};
use ensue_login::jose::TokenFault;
use ensue_login::{Fetch, Groups, Issuers, Kind, Refusal};
use serde_json::{Value, json};
use url::Url;

use crate::openid::{Provider, SECRET};
use crate::support::{AUDIENCE, Signer, encode, issuer_groups, issuers};
use http::{Browser, Port, send};

const CALLBACK: &str = "https://ensue.example.test/api/v1/auth/oidc/callback/corp";
const ALGORITHMS: [&str; 5] = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];

impl Provider {
    /// Returns its URL, with the slash that `Url` adds.
    fn address(&self) -> Url {
        self.url().parse().unwrap()
    }

    /// Returns the issuers of a node that knows this provider, with this client.
    fn node(&self, client: &str) -> Issuers {
        let mut settings = json!({
            "issuer": self.url(),
            "client_id": client,
            "use": ["browser", "bearer"],
            "audience": AUDIENCE,
            "scopes": ["openid", "profile", "email", "groups"],
            "allow": "claims.?email_verified.orValue(true)",
            "name": "claims.?preferred_username.orValue(claims.sub).lowerAscii()",
            "groups": "claims.?groups.orValue(null)",
            "session_max": "12h",
        });
        if client != "public" {
            settings["client_secret"] = json!({ "key": "ensue.corp_secret" });
        }
        issuers(&[("corp", settings)])
    }

    /// Logs `person` in at the provider, and returns the URL at which the browser leaves it.
    fn log_in(&self, url: &Url, person: &str) -> Url {
        let mut browser = Browser::default();
        let (page, text) = browser.open(url.clone(), &self.address());
        assert!(text.contains("name=\"login\""), "{page}: {text}");
        let (page, text) = browser.submit(page, &format!("prompt=login&login={person}&password=x"), &self.address());
        assert!(text.contains("consent"), "{page}: {text}");
        browser.submit(page, "prompt=consent", &self.address()).0
    }

    /// Returns an access token of a program, as JWT.
    fn access_token(&self, client: &str) -> String {
        let id = url::form_urlencoded::byte_serialize(client.as_bytes()).collect::<String>();
        let secret = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect::<String>();
        let form = "grant_type=client_credentials&scope=api&resource=https://ensue.example.test";
        let credentials = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("{id}:{secret}"));
        let headers = [("content-type", "application/x-www-form-urlencoded"), ("authorization", &format!("Basic {credentials}") as &str)];
        let answer = send("POST", &self.address().join("token").unwrap(), &headers, form.as_bytes()).unwrap();
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        body["access_token"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned()
    }
}

/// The real time: the provider has a clock.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap())
}

fn random(n: u8) -> LoginRandom {
    LoginRandom { state: [n; 16], nonce: [n + 1; 16], verifier: [n + 2; 32] }
}

fn secret() -> Secret {
    Secret::new(format!("{SECRET}\n").into_bytes())
}

/// Starts a login and logs `ana` in. Returns what the node keeps, and the query of the callback.
fn start_login(provider: &Provider, node: &Issuers, port: &dyn Fetch) -> (Pending, String) {
    let started = node.start_login(&"corp".parse().unwrap(), &CALLBACK.parse().unwrap(), &random(1), now(), port).unwrap();
    let back = provider.log_in(&started.url, "ana");
    assert!(back.as_str().starts_with(CALLBACK), "{back}");
    (started.pending, back.query().unwrap().to_owned())
}

fn finish(node: &Issuers, pending: Pending, query: &str, at: Timestamp) -> Result<LoggedIn, LoginRefusal> {
    node.finish_login(&"corp".parse().unwrap(), pending, query, Some(&secret()), at, &Port::default())
}

/// Returns a copy, as if the node had failed to remove it.
fn copy(pending: &Pending) -> Pending {
    serde_json::from_value(serde_json::to_value(pending).unwrap()).unwrap()
}

fn refusal(result: Result<LoggedIn, LoginRefusal>) -> LoginRefusal {
    result.err().expect("the login is refused")
}

#[test]
fn person_logs_in_through_a_real_provider_with_each_algorithm_and_kind_of_client() {
    let Some(provider) = Provider::start("person_logs_in_through_a_real_provider_with_each_algorithm_and_kind_of_client") else { return };
    for client in ALGORITHMS.into_iter().chain(["posts", "public"]) {
        let node = provider.node(client);
        let (pending, query) = start_login(&provider, &node, &Port::default());
        let ana = finish(&node, pending, &query, now()).unwrap_or_else(|refusal| panic!("{client}: {refusal:?}"));
        assert_eq!((ana.admitted.subject.as_str(), ana.admitted.name.as_str(), ana.admitted.kind), ("ana", "ana", Kind::Person));
        assert_eq!(ana.admitted.groups, issuer_groups(&["corp:ops", "corp:release"]));
        assert_eq!(ana.session_max.unwrap().as_secs(), 12 * 3600);
    }
}

#[test]
fn code_is_exchanged_once_and_only_for_the_login_that_started_it() {
    let Some(provider) = Provider::start("code_is_exchanged_once_and_only_for_the_login_that_started_it") else { return };
    let node = provider.node("RS256");
    let corp = "corp".parse().unwrap();
    let (pending, query) = start_login(&provider, &node, &Port::default());
    assert!(query.contains("iss="), "the provider names itself: {query}");
    let port = Port::default();
    let attempt =
        |query: &str, pending: Pending, at: Timestamp| refusal(node.finish_login(&corp, pending, query, Some(&secret()), at, &port));
    // Nothing of this reaches the issuer.
    for query in [
        query.replace("state=", "state=x"),
        query.replace("state=", "other="),
        format!("{query}&state=x"),
        format!("{query}&code=x"),
        String::new(),
        format!("{query}&x={}", "x".repeat(9000)),
    ] {
        assert_eq!(attempt(&query, copy(&pending), now()), LoginRefusal::StateUnknown, "{query}");
    }
    assert_eq!(attempt(&query, copy(&pending), now().plus_millis(600_000)), LoginRefusal::StateUnknown);
    let other = node.start_login(&corp, &CALLBACK.parse().unwrap(), &random(9), now(), &Port::default()).unwrap();
    assert_eq!(attempt(&query, other.pending, now()), LoginRefusal::StateUnknown);
    let elsewhere = refusal(node.finish_login(&"other".parse().unwrap(), copy(&pending), &query, None, now(), &port));
    assert_eq!(elsewhere, LoginRefusal::StateUnknown);
    let mixed_up = query.replace("iss=http", "iss=https");
    assert!(attempt(&mixed_up, copy(&pending), now()).to_string().contains("the response is that of another issuer"));
    let unnamed: String = query.split('&').filter(|pair| !pair.starts_with("iss=")).collect::<Vec<_>>().join("&");
    assert!(attempt(&unnamed, copy(&pending), now()).to_string().contains("the response does not name its issuer"));
    assert_eq!(port.requests(), 0);

    let wrong_secret = Secret::new(b"wrong".to_vec());
    let by_issuer = refusal(node.finish_login(&corp, copy(&pending), &query, Some(&wrong_secret), now(), &port));
    assert!(by_issuer.to_string().contains("invalid_client"), "{by_issuer}");
    let unset = refusal(node.finish_login(&corp, copy(&pending), &query, None, now(), &port));
    assert!(unset.to_string().contains("the client secret is not set"), "{unset}");
    finish(&node, copy(&pending), &query, now()).unwrap();
    let again = attempt(&query, pending, now());
    assert!(again.to_string().contains("invalid_grant"), "{again}");
    assert_eq!(again.slug(), "login-refused");
}

#[test]
fn verifier_of_another_login_does_not_redeem_the_code() {
    let Some(provider) = Provider::start("verifier_of_another_login_does_not_redeem_the_code") else { return };
    let node = provider.node("ES256");
    let (pending, query) = start_login(&provider, &node, &Port::default());
    let mut stolen = serde_json::to_value(&pending).unwrap();
    stolen["verifier"] = json!(encode([9; 32]));
    let refused = refusal(finish(&node, serde_json::from_value(stolen).unwrap(), &query, now()));
    assert!(refused.to_string().contains("invalid_grant"), "{refused}");
}

#[test]
fn nonce_of_another_login_is_refused() {
    let Some(provider) = Provider::start("nonce_of_another_login_is_refused") else { return };
    let node = provider.node("ES256");
    let (pending, query) = start_login(&provider, &node, &Port::default());
    let mut replayed = serde_json::to_value(&pending).unwrap();
    replayed["nonce"] = json!(encode([9; 16]));
    let refused = refusal(finish(&node, serde_json::from_value(replayed).unwrap(), &query, now()));
    assert!(matches!(refused, LoginRefusal::IdToken { fault: IdTokenFault::Nonce, .. }), "{refused:?}");
}

#[test]
fn person_who_cancels_at_the_provider_is_refused_with_its_words() {
    let Some(provider) = Provider::start("person_who_cancels_at_the_provider_is_refused_with_its_words") else { return };
    let node = provider.node("RS256");
    let started = node.start_login(&"corp".parse().unwrap(), &CALLBACK.parse().unwrap(), &random(1), now(), &Port::default()).unwrap();
    let mut browser = Browser::default();
    let (page, _) = browser.open(started.url, &provider.address());
    let (back, _) = browser.open(format!("{page}/abort").parse().unwrap(), &provider.address());
    let refused = refusal(finish(&node, started.pending, back.query().unwrap(), now()));
    assert!(refused.to_string().contains("access_denied: End-User aborted interaction"), "{refused}");
}

#[test]
fn clocks_may_differ_by_thirty_seconds() {
    let Some(provider) = Provider::start("clocks_may_differ_by_thirty_seconds") else { return };
    let node = provider.node("ES256");
    let login = |at: fn(Timestamp) -> Timestamp| {
        let (pending, query) = start_login(&provider, &node, &Port::default());
        finish(&node, pending, &query, at(now()))
    };
    login(|now| now.minus_millis(25_000)).unwrap();
    let early = refusal(login(|now| now.minus_millis(40_000)));
    assert!(matches!(early, LoginRefusal::IdToken { fault: IdTokenFault::Token(TokenFault::TooEarly), .. }), "{early:?}");
    // The tokens of the provider last 10 minutes.
    let token = provider.access_token("ES256");
    node.admit(&token, now().plus_millis(625_000), &Port::default()).unwrap();
    let late = provider.node("ES256").admit(&token, now().plus_millis(635_000), &Port::default()).unwrap_err();
    assert!(matches!(late, Refusal::TokenExpired { .. }), "{late:?}");
}

#[test]
fn bearer_token_of_a_real_provider_is_admitted_with_each_algorithm() {
    let Some(provider) = Provider::start("bearer_token_of_a_real_provider_is_admitted_with_each_algorithm") else { return };
    let node = provider.node("RS256");
    let port = Port::default();
    for client in ["RS256", "PS256", "ES256", "EdDSA"] {
        let token = provider.access_token(client);
        let program = node.admit(&token, now(), &port).unwrap_or_else(|refusal| panic!("{client}: {refusal:?}"));
        assert_eq!((program.subject.as_str(), program.groups), (client, Groups::NotSaid));
    }
    assert_eq!(port.requests(), 2);
}

#[test]
fn id_token_of_a_login_is_no_bearer_token() {
    let Some(provider) = Provider::start("id_token_of_a_login_is_no_bearer_token") else { return };
    /// Keeps the body of the last response.
    struct Keeps(Port, std::sync::Mutex<Vec<u8>>);
    impl Fetch for Keeps {
        fn fetch(&self, request: &ensue_login::fetch::Request) -> Result<ensue_login::fetch::Response, ensue_login::fetch::FetchError> {
            let response = self.0.fetch(request)?;
            self.1.lock().unwrap().clone_from(&response.body);
            Ok(response)
        }

        fn read(&self, file: &Path) -> Result<Vec<u8>, ensue_login::fetch::FetchError> {
            self.0.read(file)
        }
    }
    let mut settings = json!({
        "issuer": provider.url(), "client_id": "ES256", "client_secret": { "key": "ensue.corp_secret" },
        "use": ["browser", "bearer"], "allow": "true", "name": "claims.sub",
    });
    // Even if an operator accepts the client's own audience.
    settings["audience"] = json!("ES256");
    let node = issuers(&[("corp", settings)]);
    let port = Keeps(Port::default(), std::sync::Mutex::default());
    let (pending, query) = start_login(&provider, &node, &port);
    node.finish_login(&"corp".parse().unwrap(), pending, &query, Some(&secret()), now(), &port).unwrap();
    let tokens: Value = serde_json::from_slice(&port.1.lock().unwrap()).unwrap();
    let refused = node.admit(tokens["id_token"].as_str().unwrap(), now(), &Port::default()).unwrap_err();
    assert_eq!(refused, Refusal::TokenInvalid(TokenFault::IdToken));
}

#[test]
fn login_is_renewed_with_new_groups_until_the_provider_ends_it() {
    let Some(mut provider) = Provider::start("login_is_renewed_with_new_groups_until_the_provider_ends_it") else { return };
    let corp = "corp".parse().unwrap();
    let node = provider.node("ES256");
    let (pending, query) = start_login(&provider, &node, &Port::default());
    let first = finish(&node, pending, &query, now()).unwrap().refresh_token.unwrap();
    let renew = |subject: &str, token: &Secret| node.renew_login(&corp, subject, token, Some(&secret()), now(), &Port::default());
    provider.send_command("regroup");
    let renewed = renew("ana", &first).ok().unwrap();
    assert_eq!(renewed.admitted.unwrap().groups, issuer_groups(&["corp:guests"]));
    let second = renewed.refresh_token.unwrap();
    let other = renew("ben", &second).err().unwrap().why;
    assert!(matches!(&other, RenewRefusal::Ended { why, .. } if why.contains("another person")), "{other:?}");
    provider.send_command("down");
    let down = renew("ana", &second).err().unwrap().why;
    assert!(matches!(&down, RenewRefusal::NotNow(_)) && down.slug() == "issuer-unavailable", "{down:?}");
    provider.send_command("up");
    let reused = renew("ana", &first).err().unwrap().why;
    assert!(matches!(&reused, RenewRefusal::Ended { why, .. } if why.contains("invalid_grant")), "{reused:?}");
}

#[test]
fn new_refresh_token_is_returned_even_if_the_id_token_cannot_be_verified() {
    /// Shows the keys from before a rotation.
    struct OldKeys(Port);
    impl Fetch for OldKeys {
        fn fetch(&self, request: &ensue_login::fetch::Request) -> Result<ensue_login::fetch::Response, ensue_login::fetch::FetchError> {
            let mut response = self.0.fetch(request)?;
            if request.url.path().ends_with("/jwks") {
                response.body = json!({ "keys": [Signer::stranger("old").public_jwk()] }).to_string().into();
            }
            Ok(response)
        }

        fn read(&self, file: &Path) -> Result<Vec<u8>, ensue_login::fetch::FetchError> {
            self.0.read(file)
        }
    }
    let Some(provider) = Provider::start("new_refresh_token_is_returned_even_if_the_id_token_cannot_be_verified") else { return };
    let (pending, query) = start_login(&provider, &provider.node("ES256"), &Port::default());
    let first = finish(&provider.node("ES256"), pending, &query, now()).unwrap().refresh_token.unwrap();
    let node = provider.node("ES256");
    let renew = |token: &Secret, at, port: &dyn Fetch| node.renew_login(&"corp".parse().unwrap(), "ana", token, Some(&secret()), at, port);
    let unverified = renew(&first, now(), &OldKeys(Port::default())).err().unwrap();
    assert!(matches!(&unverified.why, RenewRefusal::NotNow(_)), "{:?}", unverified.why);
    let second = unverified.refresh_token.expect("the provider sent a successor");
    assert!(renew(&second, now().plus_millis(31_000), &Port::default()).is_ok());
}

#[test]
fn keys_that_rotate_are_found_and_old_ones_refused() {
    let Some(mut provider) = Provider::start("keys_that_rotate_are_found_and_old_ones_refused") else { return };
    let node = provider.node("ES256");
    let old = provider.access_token("ES256");
    node.admit(&old, now(), &Port::default()).unwrap();
    provider.send_command("rotate");
    let new = provider.access_token("ES256");
    assert_eq!(node.admit(&new, now(), &Port::default()).unwrap_err(), Refusal::TokenInvalid(TokenFault::UnknownKey));
    node.admit(&old, now(), &Port::default()).unwrap();
    let later = now().plus_millis(31_000);
    node.admit(&new, later, &Port::default()).unwrap();
    assert_eq!(node.admit(&old, later, &Port::default()).unwrap_err(), Refusal::TokenInvalid(TokenFault::UnknownKey));
    let (pending, query) = start_login(&provider, &node, &Port::default());
    finish(&node, pending, &query, now()).unwrap();
}

#[test]
fn provider_that_is_down_keeps_nobody_out_whose_keys_are_known() {
    let Some(mut provider) = Provider::start("provider_that_is_down_keeps_nobody_out_whose_keys_are_known") else { return };
    let node = provider.node("ES256");
    let (first, second) = (provider.access_token("ES256"), provider.access_token("RS256"));
    node.admit(&first, now(), &Port::default()).unwrap();
    let (pending, query) = start_login(&provider, &node, &Port::default());
    provider.send_command("down");
    node.admit(&second, now(), &Port::default()).unwrap();
    node.refresh(now().plus_millis(3_600_000), &Port::default());
    assert_eq!(node.troubles().len(), 1);
    node.admit(&second, now(), &Port::default()).unwrap();
    let refused = refusal(finish(&node, copy(&pending), &query, now()));
    assert_eq!(refused.slug(), "issuer-unavailable");
    let fresh = provider.node("ES256");
    assert_eq!(fresh.admit(&first, now(), &Port::default()).unwrap_err().slug(), "issuer-unavailable");
    let start = fresh.start_login(&"corp".parse().unwrap(), &CALLBACK.parse().unwrap(), &random(1), now(), &Port::default());
    assert_eq!(start.err().unwrap().slug(), "issuer-unavailable");

    provider.send_command("up");
    finish(&node, pending, &query, now()).unwrap();
    fresh.admit(&first, now().plus_millis(31_000), &Port::default()).unwrap();
}
