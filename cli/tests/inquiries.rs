//! Inquiries on a running node: listed, answered once by their assignees, and kept over restarts.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Answer, Client, CommandOutput, Node, NodeFolder, PATIENCE};

const SHIP: &str = "\
description: Asks whether to ship, and does as is said.
parameters: { version: string }
run:
  workflow:
    steps:
      approve:
        inquiry:
          title: \"Ship ${{ params.version }}?\"
          text: Everything was tested.
          assignees: [\"role:release_managers\", boss]
          answer:
            ship: boolean
            note: string?
      deploy:
        needs: [approve]
        action: core.echo
        with: { message: \"${{ steps.approve.answer.ship ? 'shipped' : 'kept back' }}\" }
    result: { said: \"${{ steps.deploy.result.message }}\" }
";

fn place() -> NodeFolder {
    let place = NodeFolder::new();
    place.write_pack_file("release/pack.yaml", "name: release\nversion: 1.0.0\ndescription: Ships.\n");
    place.write_pack_file("release/actions/ship.yaml", SHIP);
    place
}

/// Creates a token and returns it.
async fn token(client: &Client, name: &str, roles: &[&str]) -> String {
    let added = client.post("/tokens", &json!({ "name": name, "roles": roles })).await;
    added.body["token"].as_str().unwrap_or_else(|| panic!("{added:#?}")).to_owned()
}

fn ensue(place: &NodeFolder, node: &Node, token: &str, arguments: &[&str]) -> CommandOutput {
    CommandOutput::by(place.ensue(arguments).env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", token).env("COLUMNS", "80"))
}

async fn ask(client: &Client, token: &str, method: Method, path: &str, body: Option<&Value>) -> Answer {
    let mut request = client.anonymous(method, &format!("/api/v1{path}")).bearer_auth(token);
    if let Some(body) = body {
        request = request.json(body);
    }
    Answer::of(request.send().await.unwrap()).await
}

async fn respond(client: &Client, token: &str, inquiry: &str, answer: &Value) -> Answer {
    let shown = ask(client, token, Method::GET, &format!("/inquiries/{inquiry}"), None).await.body;
    let given = json!({ "answer": answer, "digest": shown["digest"] });
    ask(client, token, Method::POST, &format!("/inquiries/{inquiry}/respond"), Some(&given)).await
}

fn question(assignees: &[&str]) -> Value {
    json!({
        "title": "Go on?",
        "assignees": assignees,
        "answer": { "type": "object", "required": ["go"], "properties": { "go": { "type": "boolean" } } },
    })
}

/// Opens an inquiry directly, and returns the execution and the inquiry.
async fn open_inquiry(client: &Client, params: &Value) -> (String, String) {
    let id = client.execute("core.inquiry", params).await;
    let shown = client.until(&format!("/executions/{id}"), |shown| shown["inquiry"].is_string()).await;
    (id, shown["inquiry"].as_str().unwrap().to_owned())
}

/// Runs the workflow with an inquiry, and returns the workflow and the inquiry.
async fn shipping(client: &Client) -> (String, String) {
    let flow = client.execute("release.ship", &json!({ "version": "v1" })).await;
    let of_flow = format!("/inquiries?parent={flow}");
    let listed = client.until(&of_flow, |listed| listed["items"].as_array().is_some_and(|all| all.len() == 1)).await;
    (flow, listed["items"][0]["id"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn step_asks_and_its_workflow_continues_with_the_answer() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let maria = token(&client, "maria", &["release_managers"]).await;
    let (flow, inquiry) = shipping(&client).await;
    let tree = ensue(&place, &node, ADMIN_TOKEN, &["executions", "show", &flow, "--tree"]).stdout;
    assert!(tree.contains("waits for an answer of role:release_managers or boss") && tree.contains("ensue inquiries show"), "{tree}");
    let execution = client.get(&format!("/inquiries/{inquiry}")).await["execution"].as_str().unwrap().to_owned();
    let shown = ensue(&place, &node, ADMIN_TOKEN, &["executions", "show", &execution]).stdout;
    assert!(shown.contains("an answer of role:release_managers or boss") && shown.contains("Ship v1?"), "{shown}");
    let why = ensue(&place, &node, ADMIN_TOKEN, &["why", &inquiry]);
    assert!(why.code == Some(0) && why.stdout.contains(&execution), "the tree is around the execution that asks: {why:?}");

    let mine = ensue(&place, &node, &maria, &["inquiries", "list", "--mine", "--status", "open"]);
    assert!(mine.stdout.contains(&inquiry) && mine.stdout.contains("Ship v1?"), "{mine:?}");
    let shown = ensue(&place, &node, &maria, &["inquiries", "show", &inquiry]).stdout;
    for told in ["Everything was tested.", "ship (boolean)", "note (", "optional)", "inquiries respond", "--set ship="] {
        assert!(shown.contains(told), "{told}: {shown}");
    }
    let answered = ensue(&place, &node, &maria, &["inquiries", "respond", &inquiry, "--set", "ship=true", "--set", "note=3"]);
    assert_eq!((answered.code, answered.stdout.trim()), (Some(0), "answered"), "{answered:?}");
    let ended = client.until(&format!("/executions/{flow}"), |shown| shown["ended_at"].is_string()).await;
    assert_eq!((&ended["status"], &ended["result"]), (&json!("succeeded"), &json!({ "said": "shipped" })));

    let shown = ensue(&place, &node, &maria, &["inquiries", "show", &inquiry, "-o", "json"]);
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!((&shown["status"], &shown["answer"]), (&json!("answered"), &json!({ "ship": true, "note": "3" })));
    let at = shown["answers"][0]["at"].as_str().unwrap();
    let late = ensue(&place, &node, &maria, &["inquiries", "respond", &inquiry, "--set", "ship=false"]);
    assert_eq!(late.code, Some(6), "{late:?}");
    assert!(late.stderr.contains(&format!("it was answered by `maria` at {at}")), "{late:?}");
    assert!(!ensue(&place, &node, &maria, &["inquiries", "list", "--mine", "--status", "open"]).stdout.contains(&inquiry));
}

#[tokio::test]
async fn custom_role_reaches_only_its_own_inquiries() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let maria = token(&client, "maria", &["release_managers"]).await;
    let (_, mine) = open_inquiry(&client, &question(&["role:release_managers"])).await;
    let (execution, others) = open_inquiry(&client, &question(&["role:leads", "admin"])).await;
    let listed = ask(&client, &maria, Method::GET, "/inquiries", None).await;
    let ids: Vec<&str> = listed.body["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [mine.as_str()]);
    let status = async |path: &str| ask(&client, &maria, Method::GET, path, None).await.status;
    assert_eq!(status(&format!("/inquiries/{mine}")).await, StatusCode::OK);
    assert_eq!(status(&format!("/inquiries/{others}")).await, StatusCode::NOT_FOUND);
    assert_eq!(status(&format!("/executions/{execution}")).await, StatusCode::NOT_FOUND);
    assert_eq!(status("/executions").await, StatusCode::FORBIDDEN);
    assert_eq!(respond(&client, &maria, &others, &json!({ "go": true })).await.status, StatusCode::NOT_FOUND);
    // An admin who may do everything else may not answer for others.
    let admin = respond(&client, ADMIN_TOKEN, &mine, &json!({ "go": true })).await;
    assert_eq!((admin.status, &admin.body["code"]), (StatusCode::FORBIDDEN, &json!("inquiry_not_asked")));
}

#[tokio::test]
async fn invalid_answer_is_reported_with_the_field() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let maria = token(&client, "maria", &["release_managers"]).await;
    let (_, inquiry) = shipping(&client).await;
    let wrong = ensue(&place, &node, &maria, &["inquiries", "respond", &inquiry, "--set", "ship=maybe", "--set", "nite=x"]);
    assert_eq!(wrong.code, Some(6), "{wrong:?}");
    assert!(wrong.stderr.contains("/answer/ship: ") && wrong.stderr.contains("/answer: "), "{wrong:?}");
    let stale = ensue(&place, &node, &maria, &["inquiries", "respond", &inquiry, "--set", "ship=true", "--digest", &"0".repeat(64)]);
    assert!(stale.code == Some(6) && stale.stderr.contains("another question"), "{stale:?}");
    let no_json = ensue(&place, &node, &maria, &["inquiries", "respond", &inquiry, "--json", "{ship"]);
    assert_eq!(no_json.code, Some(2), "{no_json:?}");
    let whole = ensue(&place, &node, &maria, &["inquiries", "respond", &inquiry, "--json", "{\"ship\": false}"]);
    assert_eq!(whole.code, Some(0), "{whole:?}");
}

#[tokio::test]
async fn one_of_many_concurrent_answers_wins_and_the_others_learn_whose() {
    const MANY: usize = 64;
    let place = place();
    let node = place.start();
    let client = node.client();
    let mut tokens = Vec::new();
    for number in 0..MANY {
        tokens.push(token(&client, &format!("m{number}"), &["release_managers"]).await);
    }
    let (execution, inquiry) = open_inquiry(&client, &question(&["role:release_managers"])).await;
    let answers = tokens.iter().enumerate().map(|(number, token)| {
        let (client, inquiry) = (node.client(), inquiry.clone());
        let token = token.clone();
        tokio::spawn(async move { respond(&client, &token, &inquiry, &json!({ "go": number % 2 == 0 })).await })
    });
    let answers: Vec<_> = answers.collect();
    let (mut won, mut lost) = (Vec::new(), Vec::new());
    for (number, answer) in answers.into_iter().enumerate() {
        let answer = answer.await.unwrap();
        match answer.status {
            StatusCode::OK => won.push(number),
            StatusCode::CONFLICT => lost.push(answer.body),
            other => panic!("{other}: {:#}", answer.body),
        }
    }
    assert_eq!((won.len(), lost.len()), (1, MANY - 1));
    let shown = client.get(&format!("/inquiries/{inquiry}")).await;
    assert_eq!(shown["answers"].as_array().unwrap().len(), 1);
    let whose = format!("it was answered by `m{}` at {}", won[0], shown["answers"][0]["at"].as_str().unwrap());
    for late in &lost {
        assert_eq!(late["code"], "inquiry_closed");
        assert!(late["detail"].as_str().is_some_and(|detail| detail.ends_with(&whose)), "{whose}: {late:#}");
    }
    let ended = client.get(&format!("/executions/{execution}")).await;
    assert_eq!(ended["result"]["answer"], json!({ "go": won[0] % 2 == 0 }));
}

#[tokio::test]
async fn quorum_of_two_excludes_the_requester_even_over_a_kill() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let (ana, bo) = (token(&client, "ana", &["operator", "release_managers"]).await, token(&client, "bo", &["release_managers"]).await);
    let cy = token(&client, "cy", &["release_managers"]).await;
    let mut params = question(&["role:release_managers"]);
    params["quorum"] = json!(2);
    params["exclude"] = json!(["requester"]);
    let execute = ask(&client, &ana, Method::POST, "/actions/core.inquiry/execute", Some(&json!({ "params": params }))).await;
    let id = execute.body["id"].as_str().unwrap_or_else(|| panic!("{execute:#?}")).to_owned();
    let shown = client.until(&format!("/executions/{id}"), |shown| shown["inquiry"].is_string()).await;
    let inquiry = shown["inquiry"].as_str().unwrap();
    let go = json!({ "go": true });
    let own = respond(&client, &ana, inquiry, &go).await;
    assert_eq!((own.status, &own.body["code"]), (StatusCode::FORBIDDEN, &json!("inquiry_not_asked")));
    assert_eq!(respond(&client, &bo, inquiry, &go).await.body["status"], "open");
    node.kill();
    let node = place.start();
    let client = node.client();
    let twice = respond(&client, &bo, inquiry, &go).await;
    assert_eq!((twice.status, &twice.body["code"]), (StatusCode::CONFLICT, &json!("inquiry_answered_before")));
    let still = client.get(&format!("/executions/{id}")).await;
    assert_eq!(still["status"], "waiting");
    assert_eq!(respond(&client, &cy, inquiry, &json!({ "go": false })).await.body["status"], "answered");
    let ended = client.until(&format!("/executions/{id}"), |shown| shown["ended_at"].is_string()).await;
    let by: Vec<&Value> = ended["result"]["answers"].as_array().unwrap().iter().map(|answer| &answer["by"]).collect();
    assert_eq!((&ended["result"]["answer"], by), (&json!({ "go": false }), vec![&json!("bo"), &json!("cy")]));
}

#[tokio::test]
async fn late_answer_is_rejected_and_the_default_answer_counts() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let maria = token(&client, "maria", &["release_managers"]).await;
    let mut params = question(&["role:release_managers"]);
    params["expires"] = json!("1s");
    let (failing, nobody) = open_inquiry(&client, &params).await;
    params["on_expire"] = json!({ "answer": { "go": false } });
    let (standing_in, somebody) = open_inquiry(&client, &params).await;
    let failed = client.until(&format!("/executions/{failing}"), |shown| shown["ended_at"].is_string()).await;
    assert_eq!((&failed["status"], &failed["error"]["kind"]), (&json!("failed"), &json!("expired")));
    let stood_in = client.until(&format!("/executions/{standing_in}"), |shown| shown["ended_at"].is_string()).await;
    assert_eq!((&stood_in["status"], &stood_in["result"]["answer"]), (&json!("succeeded"), &json!({ "go": false })));
    for (inquiry, answer) in [(nobody, Value::Null), (somebody, json!({ "go": false }))] {
        let shown = client.get(&format!("/inquiries/{inquiry}")).await;
        assert_eq!((&shown["status"], &shown["answer"], shown["ended_at"].is_string()), (&json!("expired"), &answer, true));
        let late = respond(&client, &maria, &inquiry, &json!({ "go": true })).await;
        assert_eq!((late.status, &late.body["code"]), (StatusCode::CONFLICT, &json!("inquiry_closed")));
        assert!(late.body["detail"].as_str().is_some_and(|detail| detail.contains("it expired at ")), "{:#}", late.body);
    }
}

#[tokio::test]
async fn cancel_closes_the_inquiry_and_ends_its_workflow() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let (flow, inquiry) = shipping(&client).await;
    let cancelled = ensue(&place, &node, ADMIN_TOKEN, &["inquiries", "cancel", &inquiry]);
    assert_eq!((cancelled.code, cancelled.stdout.trim()), (Some(0), "cancelled"), "{cancelled:?}");
    let ended = client.until(&format!("/executions/{flow}"), |shown| shown["ended_at"].is_string()).await;
    assert_ne!(ended["status"], "succeeded");
    let boss = token(&client, "boss", &["a_role"]).await;
    let late = ensue(&place, &node, &boss, &["inquiries", "respond", &inquiry, "--set", "ship=true"]);
    assert!(late.code == Some(6) && late.stderr.contains("it was cancelled at "), "{late:?}");
    let another = client.execute("release.ship", &json!({ "version": "v2" })).await;
    client.until(&format!("/inquiries?parent={another}"), |listed| listed["items"].as_array().is_some_and(|all| all.len() == 1)).await;
    client.post(&format!("/executions/{another}/cancel"), &json!({})).await;
    let listed = client.until(&format!("/inquiries?parent={another}"), |listed| listed["items"][0]["status"] == "cancelled").await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn inquiry_and_its_answers_survive_a_restart_and_a_rebuild() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let maria = token(&client, "maria", &["release_managers"]).await;
    let (flow, inquiry) = shipping(&client).await;
    let mut before = client.get(&format!("/inquiries/{inquiry}")).await;
    node.stop_well();
    let node = place.start();
    let client = node.client();
    let rebuilt = ensue(&place, &node, ADMIN_TOKEN, &["views", "rebuild"]);
    assert_eq!(rebuilt.code, Some(0), "{rebuilt:?}");
    let mut after = client.get(&format!("/inquiries/{inquiry}")).await;
    // The node listens on another port now.
    for shown in [&mut before, &mut after] {
        shown["url"].take();
    }
    assert_eq!(after, before);
    let metrics = client.anonymous(Method::GET, "/metrics").bearer_auth(ADMIN_TOKEN).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("ensue_inquiries_open 1\n"), "{metrics}");
    assert_eq!(respond(&client, &maria, &inquiry, &json!({ "ship": false })).await.status, StatusCode::OK);
    let ended = client.until(&format!("/executions/{flow}"), |shown| shown["ended_at"].is_string()).await;
    assert_eq!(ended["result"], json!({ "said": "kept back" }));
}

const PAGE: &str = "\
description: Asks whoever is on call, and their leads when nobody answers.
run:
  workflow:
    steps:
      decide:
        inquiry:
          title: Restart it?
          assignees: on_call
          answer: { restart: boolean }
          notify: { action: core.echo, with: { message: \"${{ inquiry.occasion }} ${{ inquiry.url }}\" } }
          remind: { every: 1s, max: 1 }
          escalate: [{ after: 2s, to: role:leads }]
";

#[tokio::test]
async fn reminder_and_escalation_happen_once_each_even_over_a_kill() {
    let place = place().with_variable("ENSUE_URL", "https://ensue.example.test");
    place.write_pack_file("release/actions/page.yaml", PAGE);
    let node = place.start();
    let client = node.client();
    let lead = token(&client, "lena", &["leads"]).await;
    let flow = client.execute("release.page", &json!({})).await;
    let listed = client.until(&format!("/inquiries?parent={flow}"), |listed| listed["items"][0]["notifications"].is_array()).await;
    let inquiry = listed["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(ask(&client, &lead, Method::GET, &format!("/inquiries/{inquiry}"), None).await.status, StatusCode::NOT_FOUND);
    node.kill();
    let node = place.start();
    let client = node.client();
    let told = client.until(&format!("/inquiries/{inquiry}"), |shown| shown["notifications"].as_array().unwrap().len() == 3).await;
    assert_eq!((&told["reminders"], &told["escalations"], &told["assignees"]), (&json!(1), &json!(1), &json!(["on_call", "role:leads"])));
    let mut messages = Vec::new();
    for notification in told["notifications"].as_array().unwrap() {
        let by = format!("/executions/{}", notification["execution"].as_str().unwrap());
        messages.push(client.until(&by, |shown| shown["status"] == "succeeded").await["result"]["message"].clone());
    }
    let url = format!("https://ensue.example.test/ui/inbox/{inquiry}");
    let expected: Vec<_> = ["opened", "reminded", "escalated"].map(|occasion| json!(format!("{occasion} {url}"))).into();
    assert_eq!(messages, expected);
    let shown = ensue(&place, &node, &lead, &["inquiries", "show", &inquiry]);
    assert!(shown.stdout.contains("\nnotifications\nopened at "), "{shown:?}");
    assert_eq!(respond(&client, &lead, &inquiry, &json!({ "restart": true })).await.status, StatusCode::OK);
    let ended = client.until(&format!("/executions/{flow}"), |shown| shown["ended_at"].is_string()).await;
    assert_eq!(ended["status"], "succeeded");
}

#[tokio::test]
async fn inquiry_tells_people_who_may_not_read_traces_what_led_to_it() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let (flow, inquiry) = shipping(&client).await;
    let maria = token(&client, "maria", &["release_managers"]).await;
    let why = ask(&client, &maria, Method::GET, &format!("/inquiries/{inquiry}/why"), None).await.body;
    let kinds: Vec<&str> = why["chain"].as_array().unwrap().iter().map(|cause| cause["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["workflow", "question"], "{why:#}");
    assert_eq!((&why["chain"][0]["id"], &why["chain"][0]["step"]), (&json!(flow), &json!("approve")));
    assert_eq!(why["waiting"], json!(["deploy"]));
    assert!(!why.to_string().contains("v1"), "the parameters are absent: {why:#}");
    let printed = ensue(&place, &node, &maria, &["inquiries", "why", &inquiry]).stdout;
    assert!(printed.contains("workflow") && printed.contains("release.ship") && printed.contains("then: deploy"), "{printed}");
}

#[tokio::test]
async fn answer_schema_lists_its_fields_in_the_order_of_the_file() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let (_, inquiry) = shipping(&client).await;
    let shown = client.get(&format!("/inquiries/{inquiry}")).await;
    assert_eq!(shown["answer_schema"]["x-order"], json!(["ship", "note"]), "{shown:#}");
}

#[tokio::test]
async fn people_who_may_not_read_the_log_watch_their_inquiries() {
    let place = place();
    let node = place.start();
    let client = node.client();
    let maria = token(&client, "maria", &["release_managers"]).await;
    let mut command = place.ensue(&["inquiries", "list", "--mine", "--watch"]);
    command.env("ENSUE_SERVER", node.url()).env("ENSUE_TOKEN", &maria).stdout(std::process::Stdio::piped());
    let mut watching = command.spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(watching.stdout.take().unwrap()));
    let (_, inquiry) = shipping(&client).await;
    let told = tokio::task::spawn_blocking(move || lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("Ship v1?"))));
    let told = tokio::time::timeout(PATIENCE, told).await;
    watching.kill().unwrap();
    watching.wait().unwrap();
    assert!(told.is_ok_and(|told| told.unwrap().is_some()), "{inquiry} is shown as soon as it is opened");
}
