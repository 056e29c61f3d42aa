//! Logins of people through a real OpenID provider, in a browser, at the built binary.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, Stdio};
use std::time::{Duration, Instant};

use ensue_engine::time::Timestamp;
use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};

use crate::support::browser::{Browser, Page};
use crate::support::page::blocks;
use crate::support::provider::{Provider, SECRET};
use crate::support::skipped::not_installed;
use crate::support::wall_clock::{WallClock, libfaketime};
use crate::support::{ADMIN_TOKEN, Answer, CommandOutput, Node, NodeFolder, PATIENCE, free_port, until};

const SESSION: &str = "__Host-ensue";
const LOGIN: &str = "__Host-ensue-login";
/// The time between two attempts of a person while an issuer cannot be asked.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

fn corp(provider: &Provider) -> Value {
    json!({ "issuers": { "corp": provider.settings() } })
}

fn start_url(node: &Node) -> String {
    format!("{}/api/v1/auth/oidc/start?issuer=corp&next=/docs/errors", node.url())
}

/// Goes to the provider and logs in there. Returns the callback, which the browser has not opened yet.
async fn callback(browser: &mut Browser, start: &str, person: &str) -> Url {
    // The provider would remember who logged in before.
    browser.keep_only(&start.parse().unwrap());
    let page = browser.open(start).await;
    let back = browser.log_in_at(page, person, |url| !url.path().starts_with("/api/v1/auth/oidc/callback/")).await;
    assert!(back.text.is_empty(), "{back:?}");
    back.url
}

/// Opens the callback as the provider's page leads there.
async fn come_back(browser: &mut Browser, url: &Url) -> Page {
    let provider: Url = "http://provider.example.test/".parse().unwrap();
    browser.follow(Method::GET, url.clone(), "", Some(provider), |_| true).await
}

async fn log_in(browser: &mut Browser, node: &Node, person: &str) -> Page {
    let back = callback(browser, &start_url(node), person).await;
    come_back(browser, &back).await
}

/// Reads who the browser is, as a page of the node would.
async fn me(browser: &mut Browser, node: &Node) -> Answer {
    let url: Url = format!("{}/api/v1/me", node.url()).parse().unwrap();
    Answer::of(browser.send(Method::GET, &url, "", Some(&url)).await).await
}

fn ensue(place: &NodeFolder, node: &Node, arguments: &[&str]) -> CommandOutput {
    let mut command = place.ensue(arguments);
    CommandOutput::by(command.env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN))
}

/// Returns what `ensue doctor` prints, without the breaks of its lines.
fn doctor(place: &NodeFolder, node: &Node) -> String {
    ensue(place, node, &["doctor"]).stdout.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Checks that the page reports a failed login.
fn expect_failure(page: &Page, status: u16, words: &str) {
    assert_eq!(page.status.as_u16(), status, "{page:?}");
    assert!(page.text.contains(words), "{page:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn person_logs_in_through_a_real_provider() {
    let Some(mut provider) = Provider::start("person_logs_in_through_a_real_provider") else { return };
    let mut settings = corp(&provider);
    settings["issuers"]["corp"]["session_max"] = json!("2h");
    let (place, node) = provider.node(&settings);
    let status = node.client().anonymous(Method::GET, "/api/v1/public/status").send().await.unwrap();
    assert_eq!(Answer::of(status).await.body["logins"], json!(["token", "device", "oidc/corp"]));
    node.client().post("/grants", &json!({ "subject": "group:corp:ops", "role": "viewer" })).await;

    let mut browser = Browser::new();
    let back = callback(&mut browser, &start_url(&node), "ana").await;
    let before = browser.cookie(&node.url(), LOGIN).unwrap();
    let page = come_back(&mut browser, &back).await;
    assert_eq!((page.status, page.url.path()), (StatusCode::OK, "/docs/errors"));
    assert_eq!((before.len(), browser.cookie(&node.url(), LOGIN)), (64, None), "the login has ended");
    let ana = me(&mut browser, &node).await.body;
    assert_eq!(
        (&ana["name"], &ana["session"]["way"], &ana["roles"]),
        (&json!("ana"), &json!("oidc/corp"), &json!(["corp:ops", "corp:release", "viewer"]))
    );
    let url: Url = format!("{}/api/v1/events", node.url()).parse().unwrap();
    assert_eq!(browser.send(Method::GET, &url, "", Some(&url)).await.status(), StatusCode::OK);

    let records = node.client().records().await;
    let opened = records.iter().find(|record| record["kind"] == "session.opened").unwrap();
    let moment = |value: &Value| serde_json::from_value::<Timestamp>(value.clone()).unwrap();
    let lasts = moment(&opened["fact"]["until"]).micros_since(moment(&opened["time"])) / 1_000_000;
    assert!((7190..=7200).contains(&lasts), "{opened}");
    let log = json!(records).to_string();
    assert!(!log.contains("\"ana\"") && !log.contains("ana@example.test") && !log.contains("127.0.0.1"), "{log}");

    // The identity is the same with the next login, and disabling it locks it out.
    let mut other = Browser::new();
    log_in(&mut other, &node, "ana").await;
    assert_eq!(me(&mut other, &node).await.body["id"], ana["id"]);
    assert_eq!(ensue(&place, &node, &["identities", "disable", "ana"]).code, Some(0));
    assert_eq!(me(&mut browser, &node).await.status, 401);
    expect_failure(&log_in(&mut browser, &node, "ana").await, 401, "disabled");
    let recorded = node.client().until("/audit?what=login.refused", |page| page.to_string().contains("oidc/corp")).await;
    assert!(recorded["items"].is_array());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_login_has_a_new_session_whatever_cookies_were_planted() {
    let Some(mut provider) = Provider::start("each_login_has_a_new_session_whatever_cookies_were_planted") else { return };
    let (_place, node) = provider.node(&corp(&provider));
    let mut attacker = Browser::new();
    log_in(&mut attacker, &node, "mallory").await;
    let planted = attacker.cookie(&node.url(), SESSION).unwrap();
    let mut browser = Browser::new();
    browser.plant(&node.url(), SESSION, &planted);
    log_in(&mut browser, &node, "ana").await;
    assert_ne!(browser.cookie(&node.url(), SESSION).unwrap(), planted);
    assert_eq!(me(&mut browser, &node).await.body["name"], "ana");
    assert_eq!(me(&mut attacker, &node).await.body["name"], "mallory");
    // A planted login belongs to the browser that began it: its state is unknown to the victim's provider.
    let mut attacker = Browser::new();
    attacker.open(&start_url(&node)).await;
    let planted = attacker.cookie(&node.url(), LOGIN).unwrap();
    let mut victim = Browser::new();
    let back = callback(&mut victim, &start_url(&node), "ana").await;
    victim.plant(&node.url(), LOGIN, &planted);
    expect_failure(&come_back(&mut victim, &back).await, 400, "was not started here");
}

#[tokio::test(flavor = "multi_thread")]
async fn callback_counts_once_and_only_in_the_browser_that_began_it() {
    let Some(mut provider) = Provider::start("callback_counts_once_and_only_in_the_browser_that_began_it") else { return };
    let (_place, node) = provider.node(&corp(&provider));
    // An attacker sends the callback of an own login to somebody, who would then act as the attacker.
    let (mut attacker, mut victim) = (Browser::new(), Browser::new());
    let of_attacker = callback(&mut attacker, &start_url(&node), "mallory").await;
    expect_failure(&come_back(&mut victim, &of_attacker).await, 400, "was not started here");
    let of_victim = callback(&mut victim, &start_url(&node), "ana").await;
    expect_failure(&come_back(&mut victim, &of_attacker).await, 400, "was not started here");
    assert_eq!(victim.cookie(&node.url(), SESSION), None);
    // The login that the victim began is not affected.
    for (old, new) in
        [("state=", "state=x"), ("state=", "other="), ("/callback/corp", "/callback/other"), ("/callback/corp", "/callback/CORP%2f")]
    {
        let changed: Url = of_victim.as_str().replace(old, new).parse().unwrap();
        expect_failure(&come_back(&mut victim, &changed).await, 400, "was not started here");
    }
    assert_eq!(come_back(&mut victim, &of_victim).await.status, StatusCode::OK);
    assert_eq!(me(&mut victim, &node).await.body["name"], "ana");
    expect_failure(&come_back(&mut victim, &of_victim).await, 400, "was not started here");
    // Somebody who copies the address and the cookie comes too late.
    let mut late = Browser::new();
    let of_late = callback(&mut late, &start_url(&node), "ana").await;
    let cookie = late.cookie(&node.url(), LOGIN).unwrap();
    come_back(&mut late, &of_late).await;
    late.plant(&node.url(), LOGIN, &cookie);
    expect_failure(&come_back(&mut late, &of_late).await, 400, "was not started here");
}

#[tokio::test(flavor = "multi_thread")]
async fn response_of_another_issuer_and_a_canceled_login_are_refused() {
    let Some(mut provider) = Provider::start("response_of_another_issuer_and_a_canceled_login_are_refused") else { return };
    let (_place, node) = provider.node(&corp(&provider));
    let mut browser = Browser::new();
    let back = callback(&mut browser, &start_url(&node), "ana").await;
    let mixed_up: Url = back.as_str().replace("iss=http", "iss=https").parse().unwrap();
    expect_failure(&come_back(&mut browser, &mixed_up).await, 401, "the response is that of another issuer");
    let back = callback(&mut browser, &start_url(&node), "ana").await;
    let unnamed: Url = back.as_str().split_once("&iss=").map(|(before, _)| before.to_owned()).unwrap().parse().unwrap();
    expect_failure(&come_back(&mut browser, &unnamed).await, 401, "the response does not name its issuer");
    browser.keep_only(&node.url().parse().unwrap());
    let page = browser.open(&start_url(&node)).await;
    let abort = format!("{}/abort", page.url);
    let is_of_provider = |url: &Url| !url.path().starts_with("/api/v1/");
    let back = browser.follow(Method::GET, abort.parse().unwrap(), "", Some(page.url), is_of_provider).await;
    expect_failure(&come_back(&mut browser, &back.url).await, 401, "access_denied");
    assert_eq!(browser.cookie(&node.url(), SESSION), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn login_leads_to_a_page_of_the_node_and_nowhere_else() {
    let Some(mut provider) = Provider::start("login_leads_to_a_page_of_the_node_and_nowhere_else") else { return };
    let (_place, node) = provider.node(&corp(&provider));
    let tricks =
        ["//evil.test", "/\\evil.test", "/%2fevil.test", "https://evil.test", "/.//evil.test", "/\t/evil.test", "/a\r\nset-cookie: x=y"];
    for trick in tricks {
        let mut browser = Browser::new();
        let mut start: Url = format!("{}/api/v1/auth/oidc/start?issuer=corp", node.url()).parse().unwrap();
        start.query_pairs_mut().append_pair("next", trick);
        let back = callback(&mut browser, start.as_str(), "ana").await;
        let page = browser.follow(Method::GET, back, "", None, |url| url.path() != "/").await;
        assert_eq!(page.url.as_str(), format!("{}/", node.url()), "{trick:?}");
        assert_eq!(page.headers["location"], "/", "{trick:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn provider_that_is_away_or_has_new_keys_ends_only_logins_that_need_it() {
    let Some(mut provider) = Provider::start("provider_that_is_away_or_has_new_keys_ends_only_logins_that_need_it") else { return };
    let (_place, node) = provider.node(&corp(&provider));
    let mut browser = Browser::new();
    provider.send_command("down");
    expect_failure(&browser.open(&start_url(&node)).await, 503, "is not available");
    provider.send_command("up");
    // The node asks an issuer at most each 30 seconds.
    let begin = Instant::now();
    let page = loop {
        let page = browser.open(&start_url(&node)).await;
        if page.status == StatusCode::OK {
            break page;
        }
        expect_failure(&page, 503, "is not available");
        assert!(begin.elapsed() < PATIENCE, "the issuer is not asked again");
        tokio::time::sleep(AGAIN_AFTER).await;
    };
    let back = browser.log_in_at(page, "ana", |url| !url.path().starts_with("/api/v1/")).await;
    provider.send_command("down");
    expect_failure(&come_back(&mut browser, &back.url).await, 503, "is not available");
    assert_eq!(browser.cookie(&node.url(), SESSION), None);
    provider.send_command("up");
    assert_eq!(log_in(&mut browser, &node, "ana").await.status, StatusCode::OK, "a new login works at once");
    provider.send_command("rotate");
    let begin = Instant::now();
    loop {
        let page = log_in(&mut browser, &node, "ana").await;
        if page.status == StatusCode::OK {
            break;
        }
        expect_failure(&page, 401, "ID token");
        assert!(begin.elapsed() < PATIENCE, "the issuer is not asked again");
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clock_of_the_provider_may_be_thirty_seconds_ahead() {
    let Some(mut provider) = Provider::start("clock_of_the_provider_may_be_thirty_seconds_ahead") else { return };
    let (_place, node) = provider.node(&corp(&provider));
    let mut browser = Browser::new();
    provider.send_command("clock 20");
    assert_eq!(log_in(&mut browser, &node, "ana").await.status, StatusCode::OK);
    provider.send_command("clock 60");
    expect_failure(&log_in(&mut browser, &node, "bo").await, 401, "ID token");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_decide_who_may_log_in_and_names_stay_with_their_holders() {
    let Some(mut provider) = Provider::start("settings_decide_who_may_log_in_and_names_stay_with_their_holders") else { return };
    let mut settings = corp(&provider);
    settings["issuers"]["corp"]["allow"] = json!("claims.email == 'ana@example.test'");
    let (place, node) = provider.node(&settings);
    let mut browser = Browser::new();
    expect_failure(&log_in(&mut browser, &node, "bo").await, 403, "does not admit");
    assert_eq!(ensue(&place, &node, &["identities", "add", "ana"]).code, Some(0));
    expect_failure(&log_in(&mut browser, &node, "ana").await, 409, "already exists");
    assert_eq!(ensue(&place, &node, &["identities", "link", "ana", "--issuer", "corp", "--sub", "ana"]).code, Some(0));
    assert_eq!(log_in(&mut browser, &node, "ana").await.status, StatusCode::OK);
    let unknown = browser.open(&format!("{}/api/v1/auth/oidc/start?issuer=other", node.url())).await;
    expect_failure(&unknown, 422, "do not log in through an issuer `other`");
}

/// A running command, whose standard error is read until it has printed what a person needs.
struct Waiting {
    process: Child,
    said: BufReader<ChildStderr>,
}

impl Waiting {
    fn start(place: &NodeFolder, node: &Node, arguments: &[&str]) -> Self {
        let mut command = place.ensue(arguments);
        let command = command.env("ENSUE_SERVER", node.url()).env_remove("ENSUE_TOKEN").env("XDG_STATE_HOME", place.path().join("state"));
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(process.stderr.take().unwrap());
        Self { process, said }
    }

    /// Returns the next line that is indented: what a person opens or types.
    fn next_indented_line(&mut self) -> String {
        let mut line = String::new();
        while !line.starts_with("    ") {
            line.clear();
            assert_ne!(self.said.read_line(&mut line).unwrap(), 0, "the command ended");
        }
        line.trim().to_owned()
    }

    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.said.read_to_string(&mut rest).unwrap();
        (self.process.wait().unwrap().code(), rest)
    }
}

/// Runs a command with the session of `ensue login`.
fn by_login(place: &NodeFolder, node: &Node, arguments: &[&str]) -> CommandOutput {
    let mut command = place.ensue(arguments);
    let command = command.env("ENSUE_SERVER", node.url()).env_remove("ENSUE_TOKEN").env("XDG_STATE_HOME", place.path().join("state"));
    CommandOutput::by(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn terminal_logs_in_through_the_browser_after_a_click() {
    let Some(mut provider) = Provider::start("terminal_logs_in_through_the_browser_after_a_click") else { return };
    let mut settings = corp(&provider);
    settings["issuers"]["corp"]["session_max"] = json!("2h");
    let (place, node) = provider.node(&settings);
    let mut waiting = Waiting::start(&place, &node, &["login"]);
    let start = waiting.next_indented_line();
    let mut browser = Browser::new();
    let back = callback(&mut browser, &start, "ana").await;
    let page = come_back(&mut browser, &back).await;
    assert_eq!((page.status, page.url.path()), (StatusCode::OK, "/auth/terminal"));
    assert!(page.text.contains("wants to act as <strong>ana</strong>"), "{page:?}");
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'") && policy.contains("form-action 'self' http://127.0.0.1:"), "{policy}");
    assert_eq!(browser.cookie(&node.url(), SESSION), None, "the browser itself has no session");

    // Nobody can click for the person.
    let token = page.text.split("name=\"token\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let evil: Url = "http://evil.example.test/".parse().unwrap();
    let forged = browser.send(Method::POST, &page.url, &format!("token={token}&answer=allow"), Some(&evil)).await;
    assert_eq!(forged.status(), StatusCode::FORBIDDEN);
    let guessed = browser.send(Method::POST, &page.url, &format!("token={}&answer=allow", "0".repeat(64)), Some(&page.url)).await;
    assert_eq!(guessed.status(), StatusCode::BAD_REQUEST);
    let mut other = Browser::new();
    assert_eq!(other.open(page.url.as_str()).await.status, StatusCode::BAD_REQUEST, "another browser has no login");

    // A page that does not know the state gets nothing from the terminal.
    let port = start.split("cli=").nth(1).unwrap().split('&').next().unwrap();
    let guessed = other.open(&format!("http://127.0.0.1:{port}/?code=x&state=x")).await;
    assert_eq!(guessed.status, StatusCode::NOT_FOUND);

    let done = browser.submit(&page, "answer=allow").await;
    assert!(
        done.url.as_str().starts_with(&format!("http://127.0.0.1:{port}/?code=")) && done.text.contains("login is complete"),
        "{done:?}"
    );
    let (code, said) = waiting.end();
    assert_eq!(code, Some(0), "{said}");
    let whoami = by_login(&place, &node, &["whoami"]);
    assert!(whoami.code == Some(0) && whoami.stdout.starts_with("ana"), "{whoami:?}");
    let opened = node.client().records().await.into_iter().find(|record| record["kind"] == "session.opened").unwrap();
    assert_eq!(opened["fact"]["way"], "oidc/corp");
    let moment = |value: &Value| serde_json::from_value::<Timestamp>(value.clone()).unwrap();
    let lasts = moment(&opened["fact"]["until"]).micros_since(moment(&opened["time"])) / 1_000_000;
    assert!((7100..=7200).contains(&lasts), "the issuer shortens the session: {opened}");

    // The code counts once, and only with the verifier of the terminal.
    let used = done.url.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let again = node.client().anonymous(Method::POST, "/api/v1/auth/login").json(&json!({ "code": used, "verifier": "x" })).send().await;
    assert_eq!(again.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(browser.submit(&page, "answer=allow").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(by_login(&place, &node, &["logout"]).code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn person_can_deny_a_terminal_and_its_parameters_are_checked() {
    let Some(mut provider) = Provider::start("person_can_deny_a_terminal_and_its_parameters_are_checked") else { return };
    let (place, node) = provider.node(&corp(&provider));
    let mut waiting = Waiting::start(&place, &node, &["login", "--issuer", "corp"]);
    let start = waiting.next_indented_line();
    let mut browser = Browser::new();
    let back = callback(&mut browser, &start, "ana").await;
    let page = come_back(&mut browser, &back).await;
    browser.submit(&page, "answer=deny").await;
    let (code, said) = waiting.end();
    assert!(code == Some(4) && said.contains("denied"), "{code:?} {said}");
    let challenge = "c".repeat(43);
    for (bad, words) in [
        (format!("cli=0&challenge={challenge}&state=s"), "`cli`"),
        (format!("cli=70000&challenge={challenge}&state=s"), "`cli`"),
        ("cli=4000&state=s".to_owned(), "`challenge`"),
        (format!("cli=4000&challenge={}&state=s", &challenge[1..]), "`challenge`"),
        (format!("cli=4000&challenge={challenge}"), "`state`"),
        (format!("cli=4000&challenge={challenge}&state=a%26b"), "`state`"),
        (format!("port=4000&challenge={challenge}&state=s"), "`port`"),
    ] {
        expect_failure(&browser.open(&format!("{}/api/v1/auth/oidc/start?issuer=corp&{bad}", node.url())).await, 400, words);
    }
    let other = by_login(&place, &node, &["login", "--issuer", "other"]);
    assert!(other.code == Some(2) && other.stderr.contains("the node has `corp`"), "{other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn terminal_without_a_browser_is_approved_on_a_page_of_the_node() {
    let Some(mut provider) = Provider::start("terminal_without_a_browser_is_approved_on_a_page_of_the_node") else { return };
    let mut settings = corp(&provider);
    settings["issuers"]["corp"]["session_max"] = json!("2h");
    let (place, node) = provider.node(&settings);
    let mut waiting = Waiting::start(&place, &node, &["login", "--device"]);
    let code = waiting.next_indented_line();
    let page_url = format!("{}/auth/device", node.url());
    let mut browser = Browser::new();
    // The page sends a person without a session to the issuer first, which sends them back.
    let page = browser.open(&page_url).await;
    let asked = browser.submit(&page, &format!("user_code={code}")).await;
    assert_eq!(asked.status, StatusCode::UNAUTHORIZED);
    let start = asked.text.split("href=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
    let back = callback(&mut browser, &format!("{}{start}", node.url()), "ana").await;
    let page = come_back(&mut browser, &back).await;
    assert_eq!((page.status, page.url.path()), (StatusCode::OK, "/auth/device"));

    let wrong = browser.submit(&page, "user_code=BBBB-BBBB").await;
    assert_eq!(wrong.status, StatusCode::NOT_FOUND, "{wrong:?}");
    let asked = browser.submit(&page, &format!("user_code={}", code.to_lowercase())).await;
    assert!(
        asked.text.contains("act as <strong>ana</strong>") && asked.text.contains("127.0.0.1") && asked.text.contains("ensue/"),
        "{asked:?}"
    );
    // Nobody can approve for the person: a form of another site comes without the cookie, and without the token.
    let url: Url = page_url.parse().unwrap();
    let evil: Url = "http://evil.example.test/".parse().unwrap();
    let forged = format!("user_code={code}&answer=approve");
    assert_eq!(browser.send(Method::POST, &url, &forged, Some(&evil)).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(browser.send(Method::POST, &url, &forged, Some(&url)).await.status(), StatusCode::BAD_REQUEST);
    let done = browser.submit(&asked, "answer=approve").await;
    assert!(done.text.contains("is logged in"), "{done:?}");
    let (exit, said) = waiting.end();
    assert_eq!(exit, Some(0), "{said}");
    let sessions = by_login(&place, &node, &["sessions", "list", "-o", "json"]);
    let sessions: Value = serde_json::from_str(&sessions.stdout).unwrap();
    let of = |way: &str| sessions["items"].as_array().unwrap().iter().find(|session| session["way"] == way).unwrap().clone();
    assert_eq!(of("device")["of"], "ana");
    assert_eq!(of("device")["until"], of("oidc/corp")["until"], "it ends no later than the session that approved it");
}

#[tokio::test(flavor = "multi_thread")]
async fn terminal_approves_another_one_and_passes_on_no_more_than_its_own_rights() {
    let place = NodeFolder::new();
    let node = place.start();
    node.client().post("/identities", &json!({ "name": "ana" })).await;
    node.client().post("/grants", &json!({ "subject": "identity:ana", "role": "admin" })).await;
    let limited = json!({ "name": "laptop", "identity": "ana", "scopes": ["events:read"], "expires_in": "1h" });
    let token = node.client().post("/tokens", &limited).await.body["token"].as_str().unwrap().to_owned();
    let mut waiting = Waiting::start(&place, &node, &["login", "--device"]);
    let code = waiting.next_indented_line();
    let approve = |arguments: &[&str]| CommandOutput::by(place.ensue(arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", &token));
    let unsure = approve(&["login", "approve", &code]);
    assert!(unsure.code == Some(2) && unsure.stderr.contains("--yes"), "{unsure:?}");
    let approved = approve(&["login", "approve", &code, "--yes"]);
    assert!(approved.code == Some(0) && approved.stderr.contains("to act as ana"), "{approved:?}");
    assert_eq!(approve(&["login", "approve", &code, "--yes"]).code, Some(5), "a code counts once");
    let (exit, said) = waiting.end();
    assert_eq!(exit, Some(0), "{said}");
    assert_eq!(by_login(&place, &node, &["events", "list"]).code, Some(0));
    assert_eq!(by_login(&place, &node, &["rules", "list"]).code, Some(4), "the scopes of the token hold");
    let revoked = node.client().request(Method::DELETE, "/api/v1/tokens/laptop").send().await.unwrap();
    assert_eq!(revoked.status(), StatusCode::NO_CONTENT);
    assert_eq!(by_login(&place, &node, &["whoami"]).code, Some(4), "the session ends with the token");

    let mut waiting = Waiting::start(&place, &node, &["login", "--device"]);
    assert_eq!(ensue(&place, &node, &["login", "deny", &waiting.next_indented_line()]).code, Some(0));
    let (exit, said) = waiting.end();
    assert!(exit != Some(0) && said.contains("denied"), "{exit:?} {said}");
    // Five wrong codes are too many, even if the sixth is right.
    let mut waiting = Waiting::start(&place, &node, &["login", "--device"]);
    let code = waiting.next_indented_line();
    let typed = async |code: &str| node.client().post("/auth/device/look_up", &json!({ "user_code": code })).await;
    for _ in 0..5 {
        assert_eq!(typed("BBBB-BBBB").await.status, StatusCode::NOT_FOUND);
    }
    let limited = typed(&code).await;
    assert_eq!((limited.status, limited.body["code"].as_str()), (StatusCode::TOO_MANY_REQUESTS, Some("rate_limited")));
    assert!(limited.headers["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 500);
    waiting.process.kill().unwrap();
    waiting.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn device_codes_can_be_switched_off() {
    let place = NodeFolder::new();
    std::fs::write(place.path().join("ensue.yaml"), "login: { device: false }").unwrap();
    let node = place.start();
    let refused = node.client().anonymous(Method::POST, "/api/v1/auth/device").json(&json!({})).send().await.unwrap();
    let refused = Answer::of(refused).await;
    assert_eq!((refused.status.as_u16(), refused.body["code"].as_str()), (403, Some("device_logins_off")));
    let status = node.client().anonymous(Method::GET, "/api/v1/public/status").send().await.unwrap();
    assert_eq!(Answer::of(status).await.body["logins"], json!(["token"]));
    let login = by_login(&place, &node, &["login"]);
    assert!(login.code == Some(2) && login.stderr.contains("ensue login --token"), "{login:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_team_guide_let_people_in_through_a_real_provider() {
    let Some(mut provider) = Provider::start("settings_of_the_team_guide_let_people_in_through_a_real_provider") else { return };
    let guide = include_str!("../../docs/guides/let-your-team-in.md");
    let settings = blocks(guide).into_iter().map(|block| block.text).find(|text| text.contains("use: [browser]")).unwrap();
    let place = NodeFolder::new().listening_on(&format!("127.0.0.1:{}", free_port()));
    let (address, own) = (provider.url().to_owned(), place.address());
    let settings = settings
        .replace("https://id.example.test/realms/corp", &address)
        .replace("https://ensue.example.test", &format!("http://{own}"))
        .replace("client_id: ensue", "client_id: ES256");
    std::fs::write(place.path().join("ensue.yaml"), settings).unwrap();
    std::fs::write(place.path().join("corp.secret"), SECRET).unwrap();
    let node = place.start();
    provider.send_command(&format!("redirect {}/api/v1/auth/oidc/callback/corp", node.url()));
    let granted = ensue(&place, &node, &["grants", "add", "group:corp:release", "--role", "operator"]);
    assert_eq!(granted.code, Some(0), "{granted:?}");
    let mut browser = Browser::new();
    assert_eq!(log_in(&mut browser, &node, "Ana").await.status, StatusCode::OK);
    let me = me(&mut browser, &node).await.body;
    assert_eq!((&me["name"], me["roles"].as_array().unwrap().contains(&json!("operator"))), (&json!("ana"), true), "{me}");
}

#[tokio::test(flavor = "multi_thread")]
async fn client_secret_can_be_a_key_and_doctor_reports_what_is_missing() {
    let Some(mut provider) = Provider::start("client_secret_can_be_a_key_and_doctor_reports_what_is_missing") else { return };
    let mut settings = corp(&provider);
    settings["issuers"]["corp"]["client_secret"] = json!({ "key": "ensue.corp_secret" });
    let (place, node) = provider.node(&settings);
    let doctor = self::doctor(&place, &node);
    assert!(doctor.contains("its `client_secret` is not set") && doctor.contains("ensue keys set ensue.corp_secret"), "{doctor:?}");
    let mut browser = Browser::new();
    expect_failure(&log_in(&mut browser, &node, "ana").await, 503, "`client_secret` cannot be read");
    let mut set = place.ensue(&["keys", "set", "ensue.corp_secret"]);
    let set = CommandOutput::by_feeding(set.env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", ADMIN_TOKEN), SECRET.as_bytes());
    assert_eq!(set.code, Some(0), "{set:?}");
    assert_eq!(log_in(&mut browser, &node, "ana").await.status, StatusCode::OK);
    node.client().post("/grants", &json!({ "subject": "group:corp:ops", "role": "viewer" })).await;
    let doctor = self::doctor(&place, &node);
    assert!(!doctor.contains("is not set") && doctor.contains("shorten the sessions with `session_max`"), "{doctor:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn login_over_plain_http_from_another_machine_is_refused() {
    let Some(mut provider) = Provider::start("login_over_plain_http_from_another_machine_is_refused") else { return };
    let mut settings = corp(&provider);
    settings["device"] = json!(true);
    let place = NodeFolder::new();
    std::fs::write(place.path().join("corp.secret"), SECRET).unwrap();
    let whole = json!({ "login": settings, "trusted_proxies": ["127.0.0.1/32"] });
    std::fs::write(place.path().join("ensue.yaml"), whole.to_string()).unwrap();
    let node = place.start();
    provider.send_command(&format!("redirect {}/api/v1/auth/oidc/callback/corp", node.url()));
    let from_elsewhere = async |method: Method, path: &str| {
        let request = node.client().anonymous(method, path).header("x-forwarded-for", "192.0.2.7").header("x-forwarded-proto", "http");
        Answer::of(request.json(&json!({})).send().await.unwrap()).await
    };
    for (method, path) in [
        (Method::GET, "/api/v1/auth/oidc/start?issuer=corp"),
        (Method::GET, "/api/v1/auth/oidc/callback/corp?code=x&state=x"),
        (Method::GET, "/auth/terminal"),
        (Method::POST, "/auth/terminal"),
        (Method::POST, "/auth/device"),
        (Method::POST, "/api/v1/auth/device"),
    ] {
        let answer = from_elsewhere(method, path).await;
        assert_eq!((answer.status.as_u16(), answer.body["code"].as_str()), (403, Some("insecure_transport")), "{path}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_of_one_address_are_limited() {
    let Some(mut provider) = Provider::start("logins_of_one_address_are_limited") else { return };
    let (_place, node) = provider.node(&corp(&provider));
    let start = async || node.client().anonymous(Method::GET, "/api/v1/auth/oidc/start?issuer=corp").send().await.unwrap();
    let mut statuses = Vec::new();
    for _ in 0..21 {
        let mut browser = Browser::new();
        let url: Url = start_url(&node).parse().unwrap();
        statuses.push(browser.send(Method::GET, &url, "", None).await.status().as_u16());
    }
    assert_eq!((statuses[..20].iter().all(|status| *status == 302), statuses[20]), (true, 429), "{statuses:?}");
    assert_eq!(start().await.status(), StatusCode::TOO_MANY_REQUESTS);
}

/// Waits until what the browser reads about its person has this status.
async fn until_status(browser: &mut Browser, node: &Node, status: u16) {
    until("another status", async || {
        let found = me(browser, node).await.status;
        if found == status { Ok(()) } else { Err(format!("{found}, not {status}")) }
    })
    .await;
}

/// Waits until the browser's person has these groups and roles.
async fn until_roles(browser: &mut Browser, node: &Node, roles: &Value) {
    until("other roles", async || {
        let found = me(browser, node).await.body;
        if found["roles"] == *roles { Ok(()) } else { Err(format!("not {roles}: {found:#}")) }
    })
    .await;
}

/// Returns how many renewals had this outcome since the start of the node.
async fn renewals(node: &Node, outcome: &str) -> u64 {
    let metrics = node.client().request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    let line = metrics.lines().find(|line| line.starts_with(&format!("ensue_issuer_renewals_total{{outcome=\"{outcome}\"}}")));
    line.unwrap_or_else(|| panic!("{metrics}")).rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn issuer_is_asked_each_hour_whether_a_login_is_in_force() {
    const TEST: &str = "issuer_is_asked_each_hour_whether_a_login_is_in_force";
    let Some(mut provider) = Provider::start(TEST) else { return };
    let Some(library) = libfaketime() else { return not_installed(TEST, "libfaketime") };
    let mut settings = corp(&provider);
    settings["issuers"]["corp"]["refresh"] = json!(true);
    let place = NodeFolder::new().listening_on(&format!("127.0.0.1:{}", free_port()));
    let (clock, place) = WallClock::for_nodes_at(place, &library);
    let node = provider.node_at(&place, &settings);
    let (mut browser, mut other) = (Browser::new(), Browser::new());
    log_in(&mut browser, &node, "ana").await;
    log_in(&mut other, &node, "bo").await;
    assert_eq!(me(&mut browser, &node).await.body["roles"], json!(["corp:ops", "corp:release"]));

    // An hour later, the groups follow the issuer, although nobody has logged in.
    provider.send_command("regroup");
    provider.send_command("clock 3700");
    clock.is_off_by(3700);
    until_roles(&mut browser, &node, &json!(["corp:guests"])).await;
    until_roles(&mut other, &node, &json!(["corp:guests"])).await;
    // The refresh token works once, so the next hour shows that its successor was stored, over a kill.
    node.kill();
    provider.send_command("clock 7400");
    clock.is_off_by(7400);
    provider.send_command("remove bo");
    let node = place.start();
    until_status(&mut other, &node, 401).await;
    assert_eq!(me(&mut browser, &node).await.status, 200);
    let records = node.client().records().await;
    let ended: Vec<&Value> = records.iter().filter(|record| record["kind"] == "session.ended").collect();
    assert_eq!((ended.len(), &ended[0]["fact"]["reason"]), (1, &json!("issuer_ended")), "{ended:#?}");
    assert!(ended[0]["actor"].as_str().unwrap().ends_with("/issuer/corp"), "{ended:#?}");
    until("a renewal", async || renewals(&node, "renewed").await == 1).await;
    assert_eq!([renewals(&node, "renewed").await, renewals(&node, "ended").await, renewals(&node, "failed").await], [1, 1, 0]);

    // An issuer that is down changes nothing, is reported, and is asked again.
    provider.send_command("down");
    clock.is_off_by(11_100);
    until("a failed renewal", async || renewals(&node, "failed").await > 0).await;
    assert_eq!(me(&mut browser, &node).await.status, 200);
    let report = doctor(&place, &node);
    assert!(report.contains("logins through the issuer `corp` cannot be renewed"), "{report}");
    provider.send_command("up");
    provider.send_command("clock 11400");
    clock.is_off_by(11_400);
    until("another renewal", async || renewals(&node, "renewed").await == 2).await;
    assert!(!doctor(&place, &node).contains("cannot be renewed"));
}

/// Logs out at the provider, in the browser.
async fn log_out_at(browser: &mut Browser, provider: &Provider) {
    let page = browser.open(&format!("{}/session/end", provider.url())).await;
    assert!(page.text.contains("op.logoutForm"), "{page:?}");
    let page = browser.submit(&page, "logout=yes").await;
    assert!(page.status.is_success(), "{page:?}");
}

/// Begins to follow the stream of changes in a session. Returns a task that returns when the stream ended.
async fn begun_stream(browser: &mut Browser, node: &Node) -> tokio::task::JoinHandle<Timestamp> {
    let cookie = browser.cookie(&node.url(), SESSION).unwrap();
    let request = node.client().anonymous(Method::GET, "/api/v1/changes").header("cookie", format!("{SESSION}={cookie}"));
    let mut response = request.header("sec-fetch-site", "same-origin").send().await.unwrap();
    assert_eq!(response.status(), 200);
    tokio::spawn(async move {
        while let Ok(Some(_)) = response.chunk().await {}
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp::from_micros(now.as_micros() as i64)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn logout_at_the_issuer_ends_the_sessions_here_within_a_second() {
    let Some(mut provider) = Provider::start("logout_at_the_issuer_ends_the_sessions_here_within_a_second") else { return };
    let (_place, node) = provider.node(&corp(&provider));
    provider.send_command(&format!("logout {}/api/v1/auth/oidc/logout/corp", node.url()));
    node.client().post("/grants", &json!({ "subject": "group:corp:ops", "role": "viewer" })).await;
    let (mut browser, mut elsewhere) = (Browser::new(), Browser::new());
    log_in(&mut browser, &node, "ana").await;
    log_in(&mut elsewhere, &node, "ana").await;
    let stream = begun_stream(&mut browser, &node).await;
    assert!(!stream.is_finished());
    log_out_at(&mut browser, &provider).await;
    let stream_ended_at = stream.await.unwrap();
    until_status(&mut browser, &node, 401).await;
    assert_eq!(me(&mut elsewhere, &node).await.status, 200, "the token names the session at the issuer, which is another one");
    let records = node.client().records().await;
    let ended = records.iter().find(|record| record["kind"] == "session.ended").unwrap();
    assert_eq!(ended["fact"]["reason"], "logout");
    assert!(ended["actor"].as_str().unwrap().ends_with("/issuer/corp"), "{ended}");
    let ended_at: Timestamp = ended["time"].as_str().unwrap().parse().unwrap();
    assert!(stream_ended_at.micros_since(ended_at) <= 1_000_000, "{stream_ended_at} {ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn logout_token_without_a_session_ends_all_sessions_of_its_person() {
    let Some(mut provider) = Provider::start("logout_token_without_a_session_ends_all_sessions_of_its_person") else { return };
    let mut settings = corp(&provider);
    settings["issuers"]["corp"]["client_id"] = json!("posts");
    let (_place, node) = provider.node(&settings);
    provider.send_command(&format!("logout {}/api/v1/auth/oidc/logout/corp", node.url()));
    let (mut browser, mut elsewhere, mut other) = (Browser::new(), Browser::new(), Browser::new());
    log_in(&mut browser, &node, "ana").await;
    log_in(&mut elsewhere, &node, "ana").await;
    log_in(&mut other, &node, "bo").await;
    log_out_at(&mut browser, &provider).await;
    until_status(&mut browser, &node, 401).await;
    until_status(&mut elsewhere, &node, 401).await;
    assert_eq!(me(&mut other, &node).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn logout_token_that_is_not_valid_changes_nothing() {
    let Some(mut provider) = Provider::start("logout_token_that_is_not_valid_changes_nothing") else { return };
    let (_place, node) = provider.node(&corp(&provider));
    let mut browser = Browser::new();
    log_in(&mut browser, &node, "ana").await;
    let send = async |issuer: &str, form: &str| {
        let request = node.client().anonymous(Method::POST, &format!("/api/v1/auth/oidc/logout/{issuer}"));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form.to_owned());
        let answer = Answer::of(request.send().await.unwrap()).await;
        assert_eq!(answer.headers["cache-control"], "no-store", "{answer:?}");
        (answer.status.as_u16(), answer.body["code"].as_str().unwrap_or_default().to_owned())
    };
    let invalid = (400, "logout_token_invalid".to_owned());
    for form in ["", "logout_token=", "logout_token=x", "logout_token=a&logout_token=b", "token=x", "logout_token=eyJh.eyJz.c2ln"] {
        assert_eq!(send("corp", form).await, invalid, "{form}");
    }
    assert_eq!(send("other", "logout_token=x").await, (404, "not_found".to_owned()));
    let request = node.client().anonymous(Method::POST, "/api/v1/auth/oidc/logout/corp").json(&json!({ "logout_token": "x" }));
    assert_eq!(Answer::of(request.send().await.unwrap()).await.status, 415);
    assert_eq!(me(&mut browser, &node).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_with_the_link_to_their_issuer_and_with_the_issuer() {
    let Some(mut provider) = Provider::start("sessions_end_with_the_link_to_their_issuer_and_with_the_issuer") else { return };
    let settings = corp(&provider);
    let place = NodeFolder::new().listening_on(&format!("127.0.0.1:{}", free_port()));
    let node = provider.node_at(&place, &settings);
    let (mut browser, mut other) = (Browser::new(), Browser::new());
    log_in(&mut browser, &node, "ana").await;
    log_in(&mut other, &node, "bo").await;
    assert_eq!(ensue(&place, &node, &["identities", "unlink", "ana", "--issuer", "corp"]).code, Some(0));
    assert_eq!((me(&mut browser, &node).await.status.as_u16(), me(&mut other, &node).await.status.as_u16()), (401, 200));
    node.kill();
    std::fs::write(place.path().join("ensue.yaml"), "{}").unwrap();
    let node = place.start();
    assert_eq!(me(&mut other, &node).await.status, 401);
    let records = node.client().records().await;
    let ended: Vec<&Value> =
        records.iter().filter(|record| record["kind"] == "session.ended").map(|record| &record["fact"]["reason"]).collect();
    assert_eq!(ended, ["credential_gone", "credential_gone"]);
}
