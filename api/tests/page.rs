//! The page: its files need no token, load nothing from elsewhere, and reveal nothing of the node.

use axum::http::Method;
use ensue_api::PageServing;

use crate::support::TestApi;

/// What a browser sends when a person types an address.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

async fn shell(api: &TestApi) -> String {
    api.get("/ui/").with("accept", BROWSER).answer().await.expect(200).text
}

/// Returns the addresses of the files that the shell loads.
fn loaded_files(shell: &str) -> Vec<String> {
    let links = shell.split("\"/ui/assets/").skip(1);
    links.map(|rest| format!("/ui/assets/{}", rest.split('"').next().unwrap())).collect()
}

#[tokio::test]
async fn browser_is_sent_from_the_root_to_the_page_and_a_program_is_not() {
    let api = TestApi::new();
    let sent = api.get("/").with("accept", BROWSER).answer().await.expect(303);
    assert_eq!(sent.header("location"), Some("/ui/"));
    for accept in ["application/json", "*/*", "application/json, text/html"] {
        api.get("/").with("accept", accept).answer().await.expect_problem(404, "no_such_path");
    }
    api.get("/ui").answer().await.expect(303);
}

#[tokio::test]
async fn every_address_of_the_page_leads_to_the_shell_with_its_policy() {
    let api = TestApi::new();
    let first = shell(&api).await;
    for path in ["/ui/", "/ui/inbox", "/ui/executions/019d3450-be07-7000-8000-070000000000", "/ui/nowhere/at/all"] {
        let answer = api.get(path).with("accept", BROWSER).answer().await.expect(200);
        assert_eq!(answer.text, first, "{path}");
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
        assert_eq!(answer.header("cross-origin-opener-policy"), Some("same-origin"));
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let policy = answer.header("content-security-policy").unwrap();
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
    }
    assert!(!first.contains("<style") && !first.contains("onload="), "nothing is inline: {first}");
}

#[tokio::test]
async fn unchanged_shell_is_not_sent_again() {
    let api = TestApi::new();
    let tag = api.get("/ui/").answer().await.expect(200).header("etag").unwrap().to_owned();
    let again = api.get("/ui/inbox").with("if-none-match", &tag).answer().await.expect(304);
    assert!(again.text.is_empty());
    api.get("/ui/").with("if-none-match", "\"another\"").answer().await.expect(200);
}

#[tokio::test]
async fn files_have_addresses_that_never_change_their_content() {
    let api = TestApi::new();
    let files = loaded_files(&shell(&api).await);
    assert!(files.iter().any(|file| file.ends_with("/app.js")), "{files:?}");
    for file in &files {
        let answer = api.get(file).answer().await.expect(200);
        assert_eq!(answer.header("cache-control"), Some("public, max-age=31536000, immutable"));
        assert!(answer.header("content-security-policy").unwrap().contains("connect-src 'self'"), "a worker has the policy of its file");
    }
    let script = files.iter().find(|file| file.ends_with("/app.js")).unwrap();
    let folder = script.strip_suffix("app.js").unwrap();
    for missing in [format!("{folder}nothing.js"), format!("{folder}../app.js"), "/ui/assets/0123456789abcdef/app.js".to_owned()] {
        api.get(&missing).answer().await.expect_problem(404, "no_such_path");
    }
}

#[tokio::test]
async fn files_are_compressed_as_a_browser_accepts() {
    let api = TestApi::new();
    let script = loaded_files(&shell(&api).await).into_iter().find(|file| file.ends_with("/app.js")).unwrap();
    let big = script.replace("/app.js", "/svelte.js");
    for coding in ["br", "gzip", "zstd"] {
        let response = api.get(&big).with("accept-encoding", coding).response().await;
        assert_eq!(response.headers()["content-encoding"], coding);
        assert_eq!(response.headers()["vary"], "accept-encoding");
    }
}

#[tokio::test]
async fn page_is_only_read() {
    let api = TestApi::new();
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let refused = api.ask(method, "/ui/").answer().await;
        assert_eq!(refused.header("allow"), Some("GET,HEAD,OPTIONS"));
        refused.expect_problem(405, "method_not_allowed");
    }
}

#[tokio::test]
async fn node_without_the_page_has_none_of_its_paths() {
    let api = TestApi::with_settings(|settings| settings.page = PageServing::Off);
    for path in ["/", "/ui", "/ui/", "/ui/inbox"] {
        api.get(path).with("accept", BROWSER).answer().await.expect_problem(404, "no_such_path");
    }
}
