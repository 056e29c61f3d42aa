//! The examples that use packs of the library, on a running node, with servers instead of the vendors: each keeps what its
//! README promises.

use reqwest::Method;
use serde_json::{Value, json};

use crate::examples::{answer, await_end, example, hurry, question, token};
use crate::library_at_work::{certificate, payloads};
use crate::smtp::{MailProtection, MailServer, Rules, USER};
use crate::support::skipped::has_program;
use crate::support::vendor::{Vendor, VendorRequest};
use crate::support::{Answer, Client, CommandOutput, Delivery, NodeFolder, SECRET, signature, until};

/// Creates a place with an example, with the packs of the library that it uses, and with these settings. Each key is [`SECRET`].
fn place(pack: &str, library: &[&str], packs: &[(&str, Value, &[&str])]) -> NodeFolder {
    let place = example(pack, "");
    for pack in library {
        let added = CommandOutput::by(&mut place.ensue(&["packs", "add", pack]));
        assert_eq!(added.code, Some(0), "{added:#?}");
    }
    let of_pack = |(pack, config, keys): &(&str, Value, &[&str])| {
        let keys: serde_json::Map<String, Value> = keys.iter().map(|key| ((*key).to_owned(), json!({ "file": "secret" }))).collect();
        ((*pack).to_owned(), json!({ "config": config, "keys": keys }))
    };
    let packs: serde_json::Map<String, Value> = packs.iter().map(of_pack).collect();
    let settings = json!({ "egress": { "allow": ["127.0.0.1"] }, "packs": packs });
    std::fs::write(place.path().join("ensue.yaml"), settings.to_string()).unwrap();
    place
}

/// Sends a delivery with the token that its hook asks for.
async fn deliver(client: &Client, path: &str, body: &Value) {
    let headers = [("content-type", "application/json".to_owned()), ("authorization", format!("Bearer {SECRET}"))];
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let delivery = Delivery { path: path.to_owned(), headers, body: body.to_string().into_bytes() };
    let answered = client.deliver(&delivery).await.unwrap();
    assert!(answered.status.is_success(), "{answered:#?}");
}

/// Waits until an action has this number of executions that have ended, and returns them, the newest first.
async fn all_ended(client: &Client, action: &str, count: usize) -> Vec<Value> {
    let are_all = |listed: &Value| {
        let items = listed["items"].as_array().unwrap();
        items.len() == count && items.iter().all(|item| item["ended_at"].is_string())
    };
    client.until(&format!("/executions?action={action}"), are_all).await["items"].as_array().unwrap().clone()
}

/// Answers as Slack does, and a message that is posted gets the number of its request as its time.
fn slack(asked: &VendorRequest, before: &[VendorRequest]) -> (u16, String) {
    let ts = if asked.what == "POST /chat.update" { asked.body()["ts"].clone() } else { json!(format!("{}.0", before.len())) };
    (200, json!({ "ok": true, "channel": "C1", "ts": ts }).to_string())
}

/// Returns the texts of the messages that were posted to Slack.
fn slack_messages(vendor: &Vendor) -> Vec<String> {
    vendor.requests("POST /chat.postMessage").iter().map(|asked| asked.body()["text"].as_str().unwrap().to_owned()).collect()
}

/// Returns what Alertmanager sends for a group with alerts of this severity.
fn alerts(group: &str, status: &str, severity: &str, count: usize) -> Value {
    let labels = json!({ "alertname": group, "severity": severity });
    let annotations = json!({ "summary": format!("{group} is bad.") });
    let alert = |number| {
        json!({
            "status": status, "labels": labels, "annotations": annotations, "startsAt": "2026-03-28T09:00:00Z",
            "endsAt": "2026-03-28T10:00:00Z", "fingerprint": format!("{group}-{number}"),
        })
    };
    json!({
        "version": "4", "groupKey": group, "status": status, "receiver": "ensue", "commonLabels": labels, "commonAnnotations": annotations,
        "externalURL": "https://alerts.example.test", "truncatedAlerts": 0, "alerts": (0..count).map(alert).collect::<Vec<_>>(),
    })
}

fn on_call(vendor: &Vendor) -> NodeFolder {
    let config = json!({ "api": vendor.url() });
    let settings = [
        ("alertmanager", config.clone(), &["webhook_token"][..]),
        ("pagerduty", config.clone(), &["routing_key"]),
        ("slack", config, &["bot_token"]),
    ];
    place("on_call", &["alertmanager", "digest", "pagerduty", "slack"], &settings)
}

#[tokio::test(flavor = "multi_thread")]
async fn alert_that_nobody_takes_pages_once_and_is_cleaned_up_over_a_kill() {
    let vendor = Vendor::start(|asked, before| match asked.what.as_str() {
        "POST /v2/enqueue" if before.iter().all(|asked| asked.what != "POST /v2/enqueue") => (503, String::new()),
        "POST /v2/enqueue" => (202, json!({ "status": "success" }).to_string()),
        _ => slack(asked, before),
    })
    .await;
    let place = on_call(&vendor);
    hurry(&place, "on_call/actions/triage.yaml", "expires: 10m", "expires: 1s");
    hurry(&place, "on_call/actions/triage.yaml", "remind: { every: 3m, max: 2 }", "");
    hurry(&place, "pagerduty/actions/events.yaml", "delay: 2s", "delay: 100ms");
    let node = place.start();
    let client = node.client();
    // Alertmanager repeats a notification, and then the group has one more alert.
    for count in [1, 1, 2] {
        deliver(&client, "/hooks/alertmanager/webhook", &alerts("disk", "firing", "critical", count)).await;
    }
    until("a page", async || vendor.requests("POST /v2/enqueue").len() == 2).await;
    // A kill in the middle of a post leaves the post to a person.
    all_ended(&client, "slack.post", 1).await;
    all_ended(&client, "slack.notify", 1).await;
    node.kill();
    let node = place.start();
    let client = node.client();
    deliver(&client, "/hooks/alertmanager/webhook", &alerts("disk", "resolved", "critical", 2)).await;
    let triage = await_end(&client, "on_call.triage").await;
    assert_eq!(triage["result"], json!({ "decision": "page", "paged": true, "resolved": true }), "{triage:#}");
    let pages: Vec<Value> = vendor.requests("POST /v2/enqueue").iter().map(VendorRequest::body).collect();
    let actions: Vec<&Value> = pages.iter().map(|page| &page["event_action"]).collect();
    assert_eq!(actions.first(), Some(&&json!("trigger")));
    assert_eq!(actions.iter().filter(|action| **action == "resolve").count(), 1, "{pages:#?}");
    assert!(pages.iter().all(|page| page["dedup_key"] == pages[0]["dedup_key"] && page["routing_key"] == SECRET), "{pages:#?}");
    let texts = slack_messages(&vendor);
    assert_eq!(texts.len(), 2, "the alert, and the question: {texts:#?}");
    assert!(texts[0].starts_with(":fire: *disk* (1 firing): disk is bad.") && texts[1].contains("Who takes it?"), "{texts:#?}");
    let updates = vendor.requests("POST /chat.update");
    assert_eq!((updates.len(), &updates[0].body()["ts"]), (1, &json!("0.0")), "{updates:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn alert_that_somebody_takes_or_that_is_resolved_pages_nobody() {
    let vendor = Vendor::start(|asked, before| match asked.what.as_str() {
        "POST /api/v2/silences" => (200, json!({ "silenceID": "1" }).to_string()),
        _ => slack(asked, before),
    })
    .await;
    let place = on_call(&vendor);
    let node = place.start();
    let client = node.client();
    let ana = token(&client, "ana", "on_call").await;
    for (group, act, decision) in [("taken", Some("take"), "take"), ("silenced", Some("silence"), "silence"), ("over", None, "none")] {
        deliver(&client, "/hooks/alertmanager/webhook", &alerts(group, "firing", "critical", 1)).await;
        let asked = question(&client, "ask").await;
        if let Some(act) = act {
            answer(&client, &ana, &asked, &json!({ "act": act })).await;
        }
        deliver(&client, "/hooks/alertmanager/webhook", &alerts(group, "resolved", "critical", 1)).await;
        let count = client.get("/executions?action=on_call.triage").await["items"].as_array().unwrap().len();
        let triage = all_ended(&client, "on_call.triage", count).await.remove(0);
        let triage = client.get(&format!("/executions/{}", triage["id"].as_str().unwrap())).await;
        assert_eq!(triage["result"], json!({ "decision": decision, "paged": false, "resolved": true }), "{group}: {triage:#}");
    }
    let silences = vendor.requests("POST /api/v2/silences");
    assert_eq!((silences.len(), &silences[0].body()["comment"]), (1, &json!("by ana: no note")));
    assert!(silences[0].body()["matchers"].to_string().contains("silenced"), "{silences:#?}");
    assert_eq!(vendor.requests("POST /v2/enqueue").len(), 0);
    assert_eq!(vendor.requests("POST /chat.update").len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_warnings_are_one_post() {
    let vendor = Vendor::start(slack).await;
    let place = on_call(&vendor);
    hurry(&place, "digest/rules/hourly.yaml", "until: 1h", "until: 20s");
    let node = place.start();
    let client = node.client();
    for group in ["disk", "memory", "clock"] {
        for count in [1, 1, 2] {
            deliver(&client, "/hooks/alertmanager/webhook", &alerts(group, "firing", "warning", count)).await;
        }
    }
    payloads(&client, "digest.noted", 3).await;
    node.kill();
    let node = place.start();
    let posts = all_ended(&node.client(), "slack.post", 1).await;
    assert_eq!(posts[0]["status"], "succeeded", "{posts:#?}");
    let texts = slack_messages(&vendor);
    let lines: Vec<&str> = texts[0].lines().collect();
    assert_eq!((texts.len(), lines[0]), (1, "*warnings: 3 notes*"), "{texts:#?}");
    let expected = ["disk", "memory", "clock"].map(|group| format!("- {group}: {group} is bad. https://alerts.example.test"));
    assert_eq!(lines[1..], expected);
}

/// Sends a paid checkout, signed as Stripe signs.
async fn send_paid_checkout(client: &Client, id: &str, reference: &str) {
    let session = json!({
        "id": format!("cs_{id}"), "object": "checkout.session", "payment_status": "paid", "customer": "cus_1",
        "customer_details": { "email": "ada@example.test" }, "client_reference_id": reference, "metadata": {},
    });
    let body = json!({ "id": format!("evt_{id}"), "type": "checkout.session.completed", "livemode": false, "data": { "object": session } });
    let body = body.to_string();
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let signed = signature(SECRET.as_bytes(), format!("{time}.{body}").as_bytes());
    let signature = format!("t={time},v1={}", signed.trim_start_matches("sha256="));
    let headers = [("content-type", "application/json".to_owned()), ("stripe-signature", signature)];
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let delivery = Delivery { path: "/hooks/stripe/webhook".to_owned(), headers, body: body.into_bytes() };
    let answered = client.deliver(&delivery).await.unwrap();
    assert!(answered.status.is_success(), "{answered:#?}");
}

fn provision(vendor: &Vendor) -> NodeFolder {
    let settings = [
        ("provision", json!({ "api": vendor.url(), "price": "price_1" }), &["api_token"][..]),
        ("stripe", json!({ "api": vendor.url() }), &["api_key", "webhook_secret"]),
    ];
    let place = place("provision", &["stripe"], &settings);
    hurry(&place, "provision/actions/product.yaml", "delay: 2s", "delay: 100ms");
    hurry(&place, "stripe/actions/api.yaml", "delay: 1s", "delay: 100ms");
    place
}

#[tokio::test(flavor = "multi_thread")]
async fn account_of_a_paid_checkout_is_set_up_once() {
    let vendor = Vendor::start(|asked, before| match asked.what.as_str() {
        what if before.iter().all(|asked| asked.what != what) => (503, String::new()),
        "POST /v1/subscriptions" => (200, json!({ "id": "sub_1", "status": "active" }).to_string()),
        _ => (201, json!({ "id": "order-1" }).to_string()),
    })
    .await;
    let place = provision(&vendor);
    let node = place.start();
    let client = node.client();
    // Stripe delivers an event again, and a checkout may have a second one.
    for id in ["1", "1", "2"] {
        send_paid_checkout(&client, id, "order-1").await;
    }
    let account = await_end(&client, "provision.account").await;
    assert_eq!(account["result"], json!({ "workspace": "order-1", "subscription": "sub_1" }), "{account:#}");
    let each = ["PUT /workspaces/order-1", "POST /v1/subscriptions", "PUT /workspaces/order-1/invitation"];
    assert_eq!(vendor.changes(), each.map(|what| [what; 2]).concat(), "each is refused once and tried again");
    let subscriptions = vendor.requests("POST /v1/subscriptions");
    let keys: Vec<&str> = subscriptions.iter().map(|asked| asked.header("idempotency-key")).collect();
    assert!(!keys[0].is_empty() && keys[0] == keys[1], "Stripe recognizes the second attempt by its key: {keys:?}");
    assert!(subscriptions[0].text.contains("customer=cus_1") && subscriptions[0].text.contains("price_1"), "{}", subscriptions[0].text);
}

#[tokio::test(flavor = "multi_thread")]
async fn account_is_taken_back_newest_first_if_a_later_step_fails() {
    let vendor = Vendor::start(|asked, before| match asked.what.as_str() {
        "POST /v1/subscriptions" if asked.text.contains("declined") => (402, json!({ "error": { "code": "card_declined" } }).to_string()),
        "POST /v1/subscriptions" => (200, json!({ "id": "sub_1", "status": "active" }).to_string()),
        "PUT /workspaces/unreachable/invitation" => (422, json!({ "error": "no such mailbox" }).to_string()),
        // An undo is tried again, too.
        what @ "DELETE /v1/subscriptions/sub_1" if before.iter().all(|asked| asked.what != what) => (503, String::new()),
        what if what.starts_with("DELETE /workspaces/") => (204, String::new()),
        _ => (200, json!({ "id": "it" }).to_string()),
    })
    .await;
    let place = provision(&vendor);
    let node = place.start();
    let client = node.client();
    send_paid_checkout(&client, "1", "declined").await;
    let failed = payloads(&client, "provision.failed", 1).await;
    let expected = json!({
        "reference": "declined", "customer": "cus_1", "workspace": "succeeded", "subscription": "failed", "invite": "skipped",
    });
    assert_eq!(failed, [expected]);
    assert_eq!(await_end(&client, "provision.account").await["status"], "failed");
    assert_eq!(vendor.changes(), ["PUT /workspaces/declined", "POST /v1/subscriptions", "DELETE /workspaces/declined"]);

    send_paid_checkout(&client, "2", "unreachable").await;
    let accounts = all_ended(&client, "provision.account", 2).await;
    assert_eq!(accounts[0]["status"], "failed", "{accounts:#?}");
    let expected = [
        "PUT /workspaces/unreachable",
        "POST /v1/subscriptions",
        "PUT /workspaces/unreachable/invitation",
        "DELETE /v1/subscriptions/sub_1",
        "DELETE /v1/subscriptions/sub_1",
        "DELETE /workspaces/unreachable",
    ];
    assert_eq!(vendor.changes()[3..], expected);
    let failed = payloads(&client, "provision.failed", 2).await;
    assert_eq!((failed.len(), &failed[1]["invite"], &failed[1]["subscription"]), (2, &json!("failed"), &json!("succeeded")));
}

async fn mail_server() -> MailServer {
    MailServer::start(Rules { protected: MailProtection::Starttls, password: Some(SECRET), ..Rules::plain() }, certificate()).await
}

fn desk(vendor: &Vendor, mails: &MailServer) -> NodeFolder {
    let mail = json!({
        "host": "127.0.0.1", "port": mails.address.port(), "user": USER, "from": "Support <support@example.org>", "ca": mails.authority,
    });
    let settings = [
        ("desk", json!({}), &["webhook_token"][..]),
        ("github", json!({ "api": vendor.url() }), &["token"]),
        ("mail", mail, &["password"]),
    ];
    let place = place("desk", &["mail"], &settings);
    // The secret must be closed to others.
    std::fs::set_permissions(place.path().join("secret"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    place
}

fn mail(id: &str, subject: &str, text: &str) -> Value {
    json!({ "message_id": format!("<{id}@example.org>"), "from": "ada@example.org", "name": "Ada", "subject": subject, "text": text })
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_becomes_one_ticket_and_is_answered_until_the_ticket_is_closed() {
    let vendor = Vendor::start(|_, _| (201, json!({ "number": 7 }).to_string())).await;
    let mails = mail_server().await;
    let place = desk(&vendor, &mails);
    let node = place.start();
    let client = node.client();
    let broken = mail("1", "The mill is down", "It has not moved since noon.\nPlease help, @acme/everybody.");
    for _ in 0..2 {
        deliver(&client, "/hooks/desk/inbox", &broken).await;
    }
    let mut automatic = mail("2", "Out of office", "I am away until the end of the month.");
    automatic["automatic"] = json!(true);
    deliver(&client, "/hooks/desk/inbox", &automatic).await;
    // A kill between the mail and its record would leave the mail to a person.
    let sent = all_ended(&client, "mail.send", 1).await;
    assert_eq!((&sent[0]["status"], mails.mails().len()), (&json!("succeeded"), 1));
    client.until("/executions?action=core.wait", |listed| listed["items"].as_array().unwrap().len() == 1).await;
    let handled = client.get("/executions?action=desk.handle").await;
    assert_eq!(handled["items"].as_array().unwrap().len(), 1, "{handled:#}");
    node.kill();
    let node = place.start();
    let client = node.client();
    let issue = |number: u32| json!({ "number": number, "title": "It", "state": "closed" });
    let repository = json!({ "full_name": "acme/support", "default_branch": "main", "private": true });
    for (id, number) in [("a", 6), ("b", 7), ("b", 7)] {
        let sender = json!({ "login": "maria", "type": "User" });
        let body = json!({ "action": "closed", "issue": issue(number), "repository": repository, "sender": sender }).to_string();
        assert!(client.deliver(&Delivery::github("issues", id, body.as_bytes())).await.unwrap().status.is_success());
    }
    let handled = await_end(&client, "desk.handle").await;
    assert_eq!(handled["result"], json!({ "ticket": 7, "closed": true }), "{handled:#}");
    let tickets = vendor.requests("POST /repos/acme/support/issues");
    assert_eq!((tickets.len(), &tickets[0].body()["labels"]), (1, &json!(["support", "urgent"])));
    assert_eq!(tickets[0].header("authorization"), format!("Bearer {SECRET}"));
    let text = tickets[0].body()["body"].as_str().unwrap().to_owned();
    assert!(text.ends_with("\n    It has not moved since noon.\n    Please help, @acme/everybody."), "{text}");
    let sent = mails.mails();
    assert_eq!(sent.len(), 2, "{sent:#?}");
    for (mail, says) in sent.iter().zip(["Its number is 7", "your ticket 7 is closed"]) {
        assert_eq!(
            (mail.to.as_slice(), mail.header("Subject")),
            (&["ada@example.org".to_owned()][..], Some("Re: The mill is down".to_owned()))
        );
        assert_eq!(mail.header("In-Reply-To"), Some("<1@example.org>".to_owned()));
        assert_eq!(mail.header("Auto-Submitted"), Some("auto-replied".to_owned()));
        assert!(mail.text.contains(says), "{mail:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn short_mail_is_no_ticket_if_the_team_says_so() {
    let vendor = Vendor::start(|_, _| (201, json!({ "number": 8 }).to_string())).await;
    let mails = mail_server().await;
    let place = desk(&vendor, &mails);
    let node = place.start();
    let client = node.client();
    let maria = token(&client, "maria", "support").await;
    deliver(&client, "/hooks/desk/inbox", &mail("1", "", "Thanks!")).await;
    answer(&client, &maria, &question(&client, "ask").await, &json!({ "ticket": false })).await;
    let handled = await_end(&client, "desk.handle").await;
    assert_eq!(handled["result"], json!({ "closed": false }), "{handled:#}");
    assert_eq!((vendor.requests("").len(), mails.mails().len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn short_mail_is_a_ticket_if_the_team_says_nothing() {
    let vendor = Vendor::start(|_, _| (201, json!({ "number": 8 }).to_string())).await;
    let mails = mail_server().await;
    let place = desk(&vendor, &mails);
    hurry(&place, "desk/actions/handle.yaml", "expires: 12h", "expires: 1s");
    let node = place.start();
    let client = node.client();
    deliver(&client, "/hooks/desk/inbox", &mail("1", "", "Help")).await;
    until("an answer", async || mails.mails().len() == 1).await;
    assert_eq!(vendor.requests("")[0].body()["title"], "(no subject)");
}

/// Starts a deployment system that has version 1.3 to release, and where a stage is not well.
async fn deployments(is_bad: &'static str) -> Vendor {
    Vendor::start(move |asked, _| match asked.what.as_str() {
        "GET /candidate" => (200, json!({ "version": "1.3", "current": "1.2", "changes": ["faster mill"] }).to_string()),
        what if what.starts_with("GET /stages/") => {
            (200, json!({ "ok": !what.contains(is_bad), "error_rate": if what.contains(is_bad) { 0.5 } else { 0.0 } }).to_string())
        }
        _ => (204, String::new()),
    })
    .await
}

fn release(vendor: &Vendor) -> NodeFolder {
    place("release", &[], &[("release", json!({ "api": vendor.url(), "soak": "50ms" }), &["api_token"])])
}

/// Returns the stages that got a version, with the version, the oldest first.
fn set(vendor: &Vendor) -> Vec<String> {
    let puts = vendor.requests("PUT /stages/");
    let stage = |what: &str| what.trim_start_matches("PUT /stages/").trim_end_matches("/version").to_owned();
    puts.iter().map(|asked| format!("{} {}", stage(&asked.what), asked.body()["version"].as_str().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn release_train_waits_for_its_approvals_over_a_kill() {
    let vendor = deployments("nowhere").await;
    let place = release(&vendor);
    let node = place.start();
    let client = node.client();
    let tess = token(&client, "tess", "qa").await;
    let [bob, eve] = [token(&client, "bob", "release_managers").await, token(&client, "eve", "release_managers").await];
    let id = client.execute("release.train", &json!({})).await;
    let tested = question(&client, "tested").await;
    let second = client.post("/actions/release.train/execute", &json!({ "params": {} })).await;
    answer(&client, &tess, &tested, &json!({ "tested": true, "note": "twice" })).await;
    let approved = question(&client, "approved").await;
    assert_eq!(payloads(&client, "release.approval_wanted", 1).await[0]["title"], "Release 1.3 to staging, canary, europe, world?");
    answer(&client, &bob, &approved, &json!({ "release": true })).await;
    // A tester may not approve, and a manager may approve only once.
    for token in [&tess, &bob] {
        let path = format!("/api/v1/inquiries/{approved}/respond");
        let request = client.anonymous(Method::POST, &path).bearer_auth(token).json(&json!({ "answer": { "release": true } }));
        let refused = Answer::of(request.send().await.unwrap()).await;
        assert!(refused.status.is_client_error(), "{refused:#?}");
    }
    node.kill();
    let node = place.start();
    let client = node.client();
    question(&client, "approved").await;
    assert_eq!(set(&vendor), Vec::<String>::new(), "one manager is not enough");
    answer(&client, &eve, &approved, &json!({ "release": true })).await;
    let train = client.until(&format!("/executions/{id}"), |shown| shown["ended_at"].is_string()).await;
    assert_eq!(train["result"], json!({ "version": "1.3", "released": true }), "{train:#}");
    assert_eq!(set(&vendor), ["staging 1.3", "canary 1.3", "europe 1.3", "world 1.3"]);
    assert_eq!(payloads(&client, "release.ended", 1).await, [json!({ "version": "1.3", "outcome": "released" })]);
    assert_eq!(vendor.requests("GET /candidate").len(), 1, "a second train did not start: {second:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn release_train_stops_at_a_refusal() {
    let vendor = deployments("nowhere").await;
    let place = release(&vendor);
    let node = place.start();
    let client = node.client();
    let tess = token(&client, "tess", "qa").await;
    let bob = token(&client, "bob", "release_managers").await;
    for is_tested in [false, true] {
        let id = client.execute("release.train", &json!({})).await;
        answer(&client, &tess, &question(&client, "tested").await, &json!({ "tested": is_tested })).await;
        if is_tested {
            answer(&client, &bob, &question(&client, "approved").await, &json!({ "release": false, "note": "not today" })).await;
        }
        let train = client.until(&format!("/executions/{id}"), |shown| shown["ended_at"].is_string()).await;
        assert_eq!((&train["status"], &train["result"]["released"]), (&json!("succeeded"), &json!(false)), "{train:#}");
    }
    assert_eq!(set(&vendor), Vec::<String>::new());
    let ended = payloads(&client, "release.ended", 2).await;
    assert!(ended.len() == 2 && ended.iter().all(|ended| ended["outcome"] == "not released"), "{ended:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stage_that_is_not_well_gives_all_stages_their_version_back() {
    let vendor = deployments("europe").await;
    let place = release(&vendor);
    let node = place.start();
    let client = node.client();
    let tess = token(&client, "tess", "qa").await;
    let [bob, eve] = [token(&client, "bob", "release_managers").await, token(&client, "eve", "release_managers").await];
    client.execute("release.train", &json!({})).await;
    answer(&client, &tess, &question(&client, "tested").await, &json!({ "tested": true })).await;
    let approved = question(&client, "approved").await;
    for token in [&bob, &eve] {
        answer(&client, token, &approved, &json!({ "release": true })).await;
    }
    let train = await_end(&client, "release.train").await;
    assert_eq!(train["status"], "failed", "{train:#}");
    let expected = ["staging 1.3", "canary 1.3", "europe 1.3", "europe 1.2", "canary 1.2", "staging 1.2"];
    assert_eq!(set(&vendor), expected, "the world got nothing");
    let outcome = payloads(&client, "release.ended", 1).await[0]["outcome"].as_str().unwrap().to_owned();
    assert!(outcome.starts_with("rolled back: ") && outcome.contains("europe is not well with 1.3"), "{outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn entry_of_a_feed_is_posted_once_over_kills() {
    if !has_program("entry_of_a_feed_is_posted_once_over_kills", "python3") {
        return;
    }
    let feed = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let set = |titles: &[&str]| {
        let item = |title: &&str| {
            let id = signature(b"", title.as_bytes());
            format!("<item><title><![CDATA[{title}]]></title><guid>{id}</guid><link>https://a.example/{}</link></item>", title.len())
        };
        let items: String = titles.iter().map(item).collect();
        *feed.lock().unwrap() = format!("<rss version=\"2.0\"><channel><title>Mills &amp; Co</title>{items}</channel></rss>");
    };
    let read = feed.clone();
    let vendor = Vendor::start(move |asked, before| match asked.what.as_str() {
        "GET /feed" => (200, read.lock().unwrap().clone()),
        what if before.iter().all(|asked| asked.what != what) => (429, String::new()),
        _ => slack(asked, before),
    })
    .await;
    set(&["Old news"]);
    let settings = [
        ("rss", json!({ "feeds": [format!("{}/feed", vendor.url())] }), &[][..]),
        ("slack", json!({ "api": vendor.url() }), &["bot_token"]),
    ];
    let place = place("news", &["rss", "digest", "slack"], &settings);
    hurry(&place, "rss/sensors/feeds.py", "max(30, int((first.get(\"input\") or {}).get(\"every\", 600)))", "0.2");
    hurry(&place, "digest/rules/daily.yaml", "until: 24h", "until: 20s");
    hurry(&place, "slack/actions/call.yaml", "delay: 1s", "delay: 100ms");
    let node = place.start();
    node.client().until("/sensors/rss.entries", |sensor| sensor["cursor"].is_object()).await;
    set(&["A CVE-2026-1 in <!channel>", "A new mill", "Another mill", "Old news"]);
    payloads(&node.client(), "digest.noted", 2).await;
    // A kill in the middle of a post leaves the post to a person.
    node.client().until("/executions?action=slack.post&status=succeeded", |listed| listed["items"][0].is_object()).await;
    node.kill();
    let node = place.start();
    let client = node.client();
    let posts = all_ended(&client, "slack.post", 2).await;
    assert!(posts.iter().all(|post| post["status"] == "succeeded"), "{posts:#?}");
    let mut texts: Vec<String> =
        vendor.requests("POST /chat.postMessage").iter().map(|asked| asked.body()["text"].as_str().unwrap().to_owned()).collect();
    texts.dedup();
    let link = |title: &str| format!("https://a.example/{}", title.len());
    let important = format!(":rotating_light: Mills &amp; Co: A CVE-2026-1 in &lt;!channel> {}", link("A CVE-2026-1 in <!channel>"));
    assert_eq!((texts.len(), &texts[0]), (2, &important), "the first post was refused once: {texts:#?}");
    let mut lines: Vec<&str> = texts[1].lines().collect();
    lines[1..].sort_unstable();
    let notes = ["A new mill", "Another mill"].map(|title| format!("- Mills &amp; Co: {title} {}", link(title)));
    assert_eq!(lines, ["*news: 2 notes*", &notes[0], &notes[1]]);
    assert_eq!(payloads(&client, "rss.entry", 3).await.len(), 3);
}
