//! `ensue hooks listen`: deliveries as they arrive, what they led to, and their way to a program of a developer.

use std::ops::ControlFlow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Method, Url};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::outcome;
use crate::client::Client;
use crate::output::Output;
use crate::report::{CommandResult, Exit, Failure, eprint_line};
use crate::sse::follow_on;
use crate::table::{excerpt, text, time};

/// How many deliveries wait to be shown. More are not shown.
const WAITING_MAX: usize = 256;
/// How long the program of the developer may take to answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// How long the views may take to show what a delivery led to, and the pause between two looks.
const LOOKS: u32 = 20;
const LOOK_EVERY: Duration = Duration::from_millis(150);
/// The longest answer of the developer's program that is shown, in bytes.
const ANSWER_BYTES_MAX: usize = 4 * 1024;

pub(super) async fn run(client: &Client, output: Output, path: &str, forward_to: Option<Url>) -> CommandResult {
    let forward = forward_to.map(Forward::to).transpose()?;
    // An unknown hook, or a missing permission, is reported before anything is followed.
    client.get(path, &[]).await?;
    eprint_line("waiting for deliveries; stop with Ctrl+C");
    let (heard, waiting) = mpsc::channel(WAITING_MAX);
    let listen = format!("{path}/stream");
    let following = follow_on(client, &listen, &[], |told| {
        if told.name != crate::sse::END && heard.try_send(told.data.clone()).is_err() {
            eprint_line("a delivery is not shown: too many are waiting");
        }
        ControlFlow::Continue(())
    });
    tokio::select! {
        followed = following => followed,
        shown = show_all(client, output, forward.as_ref(), waiting) => shown,
    }
}

async fn show_all(client: &Client, output: Output, forward: Option<&Forward>, mut waiting: mpsc::Receiver<Value>) -> CommandResult {
    while let Some(mut heard) = waiting.recv().await {
        if let Some(forward) = forward {
            heard["answer"] = forward.send(&heard["content"]).await;
        }
        heard["led_to"] = led_to(client, &heard["delivery"]).await;
        output.print_one(&heard, render);
    }
    Ok(())
}

/// Returns the decisions of rules about the events of a delivery, once the views show them.
async fn led_to(client: &Client, delivery: &Value) -> Value {
    let mut decisions = Vec::new();
    if text(delivery, "outcome") != "accepted" {
        return Value::from(decisions);
    }
    let events = delivery["events"].as_array().map(Vec::as_slice).unwrap_or_default();
    for event in events.iter().filter_map(Value::as_str) {
        for _ in 0..LOOKS {
            // A caller may be allowed to listen and not to see what follows.
            match client.get(&format!("/events/{event}"), &[]).await {
                Ok(event) if event["undecided"].as_u64().unwrap_or(0) == 0 => break,
                Err(failure) if failure.exit() == Exit::NotAllowed => return Value::from(decisions),
                Ok(_) | Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
        if let Ok(page) = client.get("/enforcements", &[("event", event.to_owned())]).await {
            decisions.extend(page["items"].as_array().cloned().unwrap_or_default());
        }
    }
    Value::from(decisions)
}

fn render(heard: &Value) -> String {
    let delivery = &heard["delivery"];
    let why = text(delivery, "why");
    let why = if why.is_empty() { String::new() } else { format!(": {}", excerpt(&why)) };
    let mut shown = format!("{}  {}{why}\n", time(delivery, "at"), outcome(delivery));
    for event in delivery["events"].as_array().map(Vec::as_slice).unwrap_or_default() {
        shown.push_str(&format!("  event {}\n", event.as_str().unwrap_or_default()));
    }
    for decision in heard["led_to"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let execution = text(decision, "execution");
        let execution = if execution.is_empty() { String::new() } else { format!("  execution {execution}") };
        shown.push_str(&format!("  rule {}  {}{execution}\n", text(decision, "rule"), text(decision, "outcome")));
    }
    match &heard["answer"] {
        Value::Null => {}
        answer if answer["error"].is_string() => shown.push_str(&format!("  not forwarded: {}\n", text(answer, "error"))),
        answer => shown.push_str(&format!("  forwarded: {} {}\n", answer["status"], excerpt(&text(answer, "body")))),
    }
    shown
}

/// The way to the program of a developer.
struct Forward {
    to: Url,
    client: reqwest::Client,
}

impl Forward {
    fn to(to: Url) -> Result<Self, Failure> {
        if !matches!(to.scheme(), "http" | "https") {
            return Err(Failure::with(Exit::Usage, format!("`{to}` is not a URL of a server")).hint("write `http://localhost:3000/hook`"));
        }
        let builder = reqwest::Client::builder().no_proxy().http1_only().redirect(Policy::none()).timeout(ANSWER_TIME_MAX);
        let client = builder.build().map_err(|error| Failure::with(Exit::Unreachable, error.to_string()))?;
        Ok(Self { to, client })
    }

    /// Sends what a delivery contains, and returns the answer, or why there is none.
    async fn send(&self, content: &Value) -> Value {
        let failed = |why: String| json!({ "error": why });
        if content.is_null() {
            return failed("the node sends the contents of new, accepted deliveries of at most 256 KiB".to_owned());
        }
        let Ok(body) = STANDARD.decode(text(content, "body_base64")) else { return failed("its body is malformed".to_owned()) };
        let Ok(method) = Method::from_bytes(text(content, "method").as_bytes()) else {
            return failed("its method is malformed".to_owned());
        };
        let mut headers = HeaderMap::new();
        for header in content["headers"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let name = HeaderName::try_from(text(header, "name"));
            let value = HeaderValue::try_from(text(header, "value"));
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
        let request = self.client.request(method, self.url(&text(content, "target"))).headers(headers).body(body);
        let mut answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return failed(error.without_url().to_string()),
        };
        let mut said = Vec::new();
        while said.len() < ANSWER_BYTES_MAX {
            match answer.chunk().await {
                Ok(Some(chunk)) => said.extend_from_slice(&chunk),
                Ok(None) | Err(_) => break,
            }
        }
        said.truncate(ANSWER_BYTES_MAX);
        json!({ "status": answer.status().as_u16(), "body": String::from_utf8_lossy(&said) })
    }

    /// Returns the URL with the path below the hook's, and the query, of a delivery.
    fn url(&self, target: &str) -> Url {
        let mut url = self.to.clone();
        let (below, query) = target.split_once('?').map_or((target, None), |(below, query)| (below, Some(query)));
        if !below.is_empty() {
            let path = format!("{}{below}", url.path().trim_end_matches('/'));
            url.set_path(&path);
        }
        if let Some(query) = query {
            let all = url.query().map_or_else(|| query.to_owned(), |own| format!("{own}&{query}"));
            url.set_query(Some(&all));
        }
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_of_a_delivery_is_added_to_the_url_of_the_program() {
        crate::client::install_cryptography();
        let to = |to: &str, target: &str| Forward::to(to.parse().unwrap()).unwrap().url(target).to_string();
        assert_eq!(to("http://localhost:3000/hook", ""), "http://localhost:3000/hook");
        assert_eq!(to("http://localhost:3000/", "/rooms/a%2Fb?x=1"), "http://localhost:3000/rooms/a%2Fb?x=1");
        assert_eq!(to("http://localhost:3000/hook?key=a", "?x=1"), "http://localhost:3000/hook?key=a&x=1");
        assert!(Forward::to("file:///etc/passwd".parse().unwrap()).is_err());
    }
}
