//! Logins by password, two at a time, and requests by token.

use std::time::Instant;

use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

use super::{Bed, summarize};

const PASSWORD: &str = "seven brave otters swim";
/// An account has ten attempts in 15 minutes.
const PEOPLE: usize = 10;
const LOGINS_OF_EACH: usize = 8;
const REQUESTS: usize = 2_000;

/// Measures both.
pub(super) async fn measure(bed: &Bed) {
    for person in 0..PEOPLE {
        let name = format!("ana{person}");
        bed.call(Method::POST, "/identities", &json!({ "name": name })).await;
        let reset = bed.call(Method::POST, &format!("/identities/{name}/reset"), &json!({})).await;
        post(bed, person, "/auth/reset", &json!({ "code": reset["code"], "new": PASSWORD }))
            .send()
            .await
            .unwrap()
            .error_for_status()
            .unwrap();
    }
    let mut two = JoinSet::new();
    for half in 0..2 {
        let logins: Vec<_> = (0..PEOPLE * LOGINS_OF_EACH)
            .filter(|number| number % 2 == half)
            .map(|number| {
                let login = json!({ "name": format!("ana{}", number % PEOPLE), "password": PASSWORD });
                post(bed, 100 + number, "/auth/login", &login)
            })
            .collect();
        two.spawn(async move {
            let mut times = Vec::new();
            for login in logins {
                let begun = Instant::now();
                login.send().await.unwrap().error_for_status().unwrap();
                times.push(begun.elapsed());
            }
            times
        });
    }
    println!("  logins by password, two at a time: {}", summarize(two.join_all().await.concat()));
    let token = bed.identity("bo", &[], "viewer", &json!(null)).await;
    let mut times = Vec::new();
    for _ in 0..REQUESTS {
        let begun = Instant::now();
        bed.request(Method::GET, "/me", &token).send().await.unwrap().error_for_status().unwrap();
        times.push(begun.elapsed());
    }
    println!("  requests by token, one at a time: {}", summarize(times));
}

/// Returns a public request of a caller from an address.
fn post(bed: &Bed, address: usize, path: &str, body: &serde_json::Value) -> reqwest::RequestBuilder {
    let request = bed.http.post(format!("http://{}/api/v1{path}", bed.node.address()));
    let address = format!("10.{}.{}.1", address / 256, address % 256);
    request.header("x-forwarded-for", address).header("x-forwarded-proto", "https").json(body)
}
