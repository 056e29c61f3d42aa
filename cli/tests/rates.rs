//! Rate limits set by an operator, as callers of a real node see them.

use std::time::Duration;

use reqwest::{Method, StatusCode};

use crate::support::NodeFolder;

#[tokio::test(flavor = "multi_thread")]
async fn caller_over_its_rate_succeeds_after_the_reported_wait() {
    let place = NodeFolder::new().with_variable("ENSUE_RATE_LIMITS_READS", "5/5s");
    let node = place.start();
    let client = node.client();
    let ask = async || client.request(Method::GET, "/api/v1/rules").send().await.unwrap();
    let mut asked = 0;
    let refused = loop {
        let answer = ask().await;
        asked += 1;
        assert_eq!(answer.headers()["ratelimit-policy"], r#""reads";q=5;w=5"#);
        if answer.status() != StatusCode::OK {
            break answer;
        }
        assert!(asked < 100, "nobody is refused");
    };
    assert!(asked > 5, "the first five are free");
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert_eq!(wait, 1);
    assert_eq!(
        client.post("/rules/nothing.here/enable", &serde_json::json!({})).await.status,
        StatusCode::NOT_FOUND,
        "writes are not counted"
    );
    tokio::time::sleep(Duration::from_secs(wait)).await;
    assert_eq!(ask().await.status(), StatusCode::OK);
    // Probes do not count for any caller.
    let alive = client.anonymous(Method::GET, "/livez").send().await.unwrap();
    assert!(alive.status().is_success() && !alive.headers().contains_key("ratelimit"));
}
