//! Secrets: keys that are set in every way and used in every way, by actions that succeed and actions that
//! fail, and tokens. Afterwards the test searches everything that the node stored, printed or answered for
//! them.
//!
//! Keys in a program's output are masked in the forms that the reference lists.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::world::World;
use crate::support::{ADMIN_TOKEN, Client, CommandOutput, Delivery, NodeFolder, Running, SECRET, files_below, until};

/// The values of keys by the way they were set; all of different lengths.
const BY_REST: &str = "canary-by-rest-5d1f0e";
const REPLACED: &str = "canary-replaced-by-rest-77aa31";
const BY_BYTES: &str = "canary-by-bytes-9b02c4d6";
const BY_COMMAND: &str = "canary-by-command-line-e81f";
const AT_REST: &str = "canary-at-rest-40c2aa917b";
const BY_FILE: &str = "canary-by-file-c7d3";
const REMOVED: &str = "canary-removed-again-1f2e3d4c";
const REFUSED: &str = "canary-in-a-body-that-is-refused-0b";

/// A text that is not secret: if it is not found, the search does not work.
const MARKER: &str = "marker-that-is-no-secret";

const USE: &str = r#"
description: Gets keys in each way in which a program can, and prints how long they are.
parameters: { code: integer, note: string }
run:
  process:
    command: [sh, -c, 'echo "$NOTE" >&2; printf %s "$TOKEN" | wc -c; wc -c < "$TOKEN_FILE"; wc -c; echo x > out; echo "{\"artifact\":{\"path\":\"out\"}}" >&3; exit $CODE']
    input: { token: '${{ keys["sealed.by_rest"] }}' }
    env: { TOKEN: '${{ keys["sealed.by_command"] }}', CODE: '${{ params.code }}', NOTE: '${{ params.note }}' }
    files: { TOKEN_FILE: '${{ keys["sealed.by_file"] }}' }
"#;
const ERR: &str = r#"
description: Errs in an expression that reads a key.
run: { process: { command: [cat], input: { n: '${{ int(keys["sealed.at_rest"]) }}' } } }
"#;
const STAY: &str = r#"
description: Takes too long.
timeout: 1s
run: { process: { command: [sleep, '60'], env: { TOKEN: '${{ keys["sealed.by_bytes"] }}' } } }
"#;
const MISS: &str = r#"
description: Names no program.
run: { process: { command: [no-program-of-this-name], input: { token: '${{ keys["sealed.by_bytes"] }}' } } }
"#;
const LACK: &str = r#"
description: Reads a key that is no longer set, and one that is.
run: { process: { command: [cat], input: '${{ keys["sealed.at_rest"] + keys["sealed.removed"] }}' } }
"#;

/// The actions that fail, with the kind of each failure.
const FAILING: [(&str, &str, &str); 4] =
    [("err", ERR, "expression"), ("stay", STAY, "timeout"), ("miss", MISS, "spawn"), ("lack", LACK, "key_missing")];

fn send(description: &str, url: &str) -> String {
    format!(
        "description: {description}\nidempotent: false\nrun:\n  http:\n    method: POST\n    url: {url}\n    headers: {{ authorization: 'Bearer ${{{{ keys[\"sealed.by_rest\"] }}}}' }}\n    json: {{ token: '${{{{ keys[\"sealed.by_bytes\"] }}}}' }}\n"
    )
}

fn place(world: &World) -> NodeFolder {
    let place = NodeFolder::new();
    let file = place.path().join("by-file");
    std::fs::write(&file, BY_FILE).unwrap();
    place.write_pack_file(
        "sealed/pack.yaml",
        "name: sealed\nversion: 1.0.0\ndescription: Uses keys.\nkeys: [by_rest, by_bytes, by_command, by_file, at_rest, removed]\n",
    );
    place.write_pack_file("sealed/triggers/asked.yaml", "description: Somebody asks.\npayload: { what: string }\n");
    place.write_pack_file(
        "sealed/rules/answer.yaml",
        "description: Answers.\ntrigger: sealed.asked\naction: sealed.use\nwith: { code: 0, note: '${{ event.payload.what }}' }\n",
    );
    place.write_pack_file("sealed/actions/use.yaml", USE);
    for (name, text, _) in FAILING {
        place.write_pack_file(&format!("sealed/actions/{name}.yaml"), text);
    }
    place.write_pack_file("sealed/actions/send.yaml", &send("Sends keys.", &world.url()));
    place.write_pack_file("sealed/actions/deny.yaml", &send("Would send keys where nothing may be sent.", "http://127.0.0.1:9/"));
    place
        .with_variable("ENSUE_KEY_SEALED_BY_FILE_FILE", &file.display().to_string())
        .with_variable("ENSUE_EGRESS_ALLOW", &world.address().to_string())
        .with_variable("ENSUE_LOG", "trace")
}

/// Texts that must be found nowhere: each secret in the forms in which it could be written.
struct Secrets(Vec<(String, String)>);

impl Secrets {
    fn new(secrets: &[&str]) -> Self {
        let forms = |secret: &&str| forms(secret).into_iter().map(|form| ((*secret).to_owned(), form)).collect::<Vec<_>>();
        Self(secrets.iter().flat_map(forms).collect())
    }

    #[track_caller]
    fn are_not_in(&self, place: &str, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        for (secret, form) in &self.0 {
            assert!(!text.contains(form.as_str()), "{place} holds `{secret}`, as `{form}`: {}", around(&text, form));
        }
    }
}

fn around(text: &str, found: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(found)).collect();
    lines.join("\n").chars().take(2_000).collect()
}

/// A text as it is, in hexadecimal, as the numbers of its bytes (the form in which Rust and JSON show bytes
/// that are not marked as text), and the part of its Base64 that does not depend on the neighboring bytes.
fn forms(secret: &str) -> Vec<String> {
    let numbers: Vec<String> = secret.bytes().map(|byte| byte.to_string()).collect();
    let mut forms = vec![secret.to_owned(), hex::encode(secret), hex::encode_upper(secret), numbers.join(", "), numbers.join(",")];
    for before in 0..3 {
        let encoded = STANDARD_NO_PAD.encode([&vec![0; before], secret.as_bytes()].concat());
        let (first, behind) = ((before * 8).div_ceil(6), (before + secret.len()) * 8 / 6);
        let own = &encoded[first..behind];
        forms.extend([own.to_owned(), own.replace('+', "-").replace('/', "_")]);
    }
    forms
}

/// Searches the files of the node: its data and its state. Returns true if the public text was found there.
fn search_files(place: &NodeFolder, secrets: &Secrets) -> bool {
    let mut is_seen = false;
    for path in files_below(&place.data()).into_iter().chain(files_below(&place.path().join("state"))) {
        // A process that ends in the meantime removes its files.
        let Ok(bytes) = std::fs::read(&path) else { continue };
        secrets.are_not_in(&path.display().to_string(), &bytes);
        is_seen |= String::from_utf8_lossy(&bytes).contains(MARKER);
    }
    is_seen
}

/// Lists the readable paths of the reference, each with all possible parameters.
async fn readable_paths(client: &Client) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rest-api");
    let pages: String = files_below(&folder).iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let rows = pages.lines().filter_map(|line| line.strip_prefix("| GET | `")?.split_once("` | "));
    // The pages about errors are part of the binary.
    let rows = rows.filter(|(path, _)| !path.starts_with("/docs/"));
    let mut open: Vec<String> = Vec::new();
    let mut paths = Vec::new();
    for (path, rest) in rows {
        let is_outside = rest.starts_with('—') || path == "/metrics";
        // A hook is named by the pack and the sensor.
        let path = path.replace("{pack}/{sensor}", "{sensor}");
        if is_outside { paths.push(path) } else { open.push(format!("/api/v1{path}")) }
    }
    assert!(open.len() > 30, "the reference is written otherwise: {open:?}");
    while let Some(path) = open.pop() {
        let Some((before, rest)) = path.split_once('{') else {
            paths.push(path);
            continue;
        };
        let (what, behind) = rest.split_once('}').unwrap();
        for name in path_values(client, before.trim_end_matches('/'), what).await {
            open.push(format!("{before}{name}{behind}"));
        }
    }
    paths
}

/// Returns the possible values of a path parameter from `list`.
async fn path_values(client: &Client, list: &str, what: &str) -> Vec<String> {
    let (list, field) = match (list.trim_start_matches("/api/v1"), what) {
        ("/trace", "id") => ("/events", "id"),
        // Backtests that continue without a request are in no list.
        ("/backtests", "id") | ("/parked_reactions", "position") => return Vec::new(),
        ("/log", "position") => ("/log", "position"),
        (list, "id" | "artifact") => (list, "id"),
        (_, "other") => return vec!["last_success".to_owned()],
        (list, "path") => (list, "path"),
        (list, "ref" | "sensor") => (list, "ref"),
        (list, "pack" | "name") => (list, "name"),
        (list, other) => panic!("say what can stand for `{other}` behind {list}"),
    };
    let page = client.get(&format!("{list}?limit=200")).await;
    assert_eq!(page["next"], Value::Null, "{list} has one page");
    let items = page["items"].as_array().unwrap();
    let names = items.iter().map(|item| match &item[field] {
        Value::String(name) if what == "sensor" => name.replace('.', "/"),
        Value::String(name) if what == "path" => name.replace('/', "%2F"),
        Value::String(name) => name.clone(),
        other => other.to_string(),
    });
    names.collect()
}

/// How long a stream is silent once it has sent everything.
const QUIET: Duration = Duration::from_millis(500);

/// How long the first message of a stream may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Searches everything readable, in the log at least up to the record `late`. Returns how many answers
/// contained the public text.
async fn search_answers(client: &Client, secrets: &Secrets, late: &str) -> usize {
    let mut seen = 0;
    let paths = readable_paths(client).await;
    for demanded in
        ["/rules", "/timeline", "/logs", "/artifacts/", "/api/v1/dead_letters/", "/api/v1/trace/", "/api/v1/keys/", "/api/v1/hooks/"]
    {
        assert!(paths.iter().any(|path| path.contains(demanded)), "nothing is read below {demanded}: {paths:?}");
    }
    for path in paths {
        // A stream starts at its first record and has no end.
        let is_streamed = path.ends_with("/stream") || path == "/api/v1/changes";
        let asked = match path.as_str() {
            path if path.starts_with("/api/v1/hooks/") => path.to_owned(),
            path if is_streamed => format!("{path}?after=0"),
            "/api/v1/counts" => format!("{path}?of=executions&by=status"),
            "/api/v1/series" => format!("{path}?of=executions&by=action"),
            "/api/v1/auth/can-i" => format!("{path}?permission=events:read"),
            "/api/v1/search" => format!("{path}?q={MARKER}"),
            path => path.to_owned(),
        };
        // A rotation and a login are shown once they have begun; none has.
        if path == "/api/v1/master_key/rotate" || path.starts_with("/api/v1/auth/oidc/") || path == "/auth/terminal" {
            continue;
        }
        // The stream of a webhook has no parameter for the place at which it begins.
        let answer = client.request(Method::GET, &asked).header("last-event-id", "0").send().await.unwrap();
        // Not each execution has a success before it, or is a workflow.
        if answer.status() == StatusCode::NOT_FOUND && (path.ends_with("/last_success") || path.ends_with("/spans")) {
            continue;
        }
        assert!(answer.status().is_success(), "GET {path}: {}", answer.status());
        secrets.are_not_in(&path, format!("{:?}", answer.headers()).as_bytes());
        let bytes = if is_streamed { until_quiet(answer).await } else { answer.bytes().await.unwrap().to_vec() };
        // A stream without any data would contain no secret either.
        assert!(!is_streamed || !bytes.is_empty(), "nothing came of {path}");
        if path == "/api/v1/log/stream" {
            assert!(String::from_utf8_lossy(&bytes).contains(late), "the stream of the log did not come as far as {late}");
        }
        secrets.are_not_in(&path, &bytes);
        seen += usize::from(String::from_utf8_lossy(&bytes).contains(MARKER));
    }
    seen
}

/// Reads a stream until it has sent something and is then silent for a while.
async fn until_quiet(mut stream: reqwest::Response) -> Vec<u8> {
    let first = tokio::time::timeout(PATIENCE, stream.chunk()).await.expect("a stream begins");
    let mut bytes = first.unwrap().unwrap_or_default().to_vec();
    while let Ok(Some(chunk)) = tokio::time::timeout(QUIET, stream.chunk()).await.unwrap_or(Ok(None)) {
        bytes.extend_from_slice(&chunk);
    }
    bytes
}

/// Sets a key over REST, or tries to; returns the answer.
async fn put(client: &Client, key: &str, media_type: &str, body: String) -> (StatusCode, String) {
    let request = client.request(Method::PUT, &format!("/api/v1/keys/sealed.{key}")).header("content-type", media_type).body(body);
    let answer = request.send().await.unwrap();
    (answer.status(), format!("{:?} {}", answer.headers().clone(), answer.text().await.unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_anything_that_a_node_stores_prints_or_returns() {
    let world = World::start().await;
    let place = place(&world);
    let mut told: Vec<(String, Vec<u8>)> = Vec::new();
    let mut tell = |what: &str, printed: &CommandOutput| told.push((what.to_owned(), format!("{printed:?}").into_bytes()));

    // Set keys in every way.
    assert_eq!(place.start().stop(), Some(0));
    let set = CommandOutput::by_feeding(&mut place.ensue(&["keys", "set", "sealed.at_rest", "--data", "data"]), AT_REST.as_bytes());
    assert_eq!(set.code, Some(0), "{set:?}");
    tell("keys set, at rest", &set);
    let node = place.start();
    let client = node.client();
    let asked = |arguments: &[&str], input: &str| {
        let mut command = place.ensue(arguments);
        command.args(["--server", &node.url()]).env("ENSUE_TOKEN", ADMIN_TOKEN);
        CommandOutput::by_feeding(&mut command, input.as_bytes())
    };
    let set = asked(&["keys", "set", "sealed.by_command"], BY_COMMAND);
    assert_eq!(set.code, Some(0), "{set:?}");
    tell("keys set", &set);
    let mut answers = Vec::new();
    for (key, media_type, body, status) in [
        ("by_rest", "application/json", json!({ "value": REPLACED }).to_string(), StatusCode::CREATED),
        ("by_rest", "application/json", json!({ "value": BY_REST }).to_string(), StatusCode::OK),
        ("by_bytes", "application/octet-stream", BY_BYTES.to_owned(), StatusCode::CREATED),
        ("removed", "text/plain", REMOVED.to_owned(), StatusCode::CREATED),
        ("by_rest", "application/json", json!(REFUSED).to_string(), StatusCode::UNPROCESSABLE_ENTITY),
        ("by_rest", "application/json", json!({ REFUSED: 1 }).to_string(), StatusCode::UNPROCESSABLE_ENTITY),
        ("by_rest", "application/json", json!({ "value": [REFUSED] }).to_string(), StatusCode::UNPROCESSABLE_ENTITY),
        ("by_rest", "application/json", REFUSED.to_owned(), StatusCode::BAD_REQUEST),
        ("by_rest", "application/xml", REFUSED.to_owned(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("not_the_pack_s", "application/octet-stream", REFUSED.to_owned(), StatusCode::CREATED),
    ] {
        let (answered, text) = put(&client, key, media_type, body).await;
        assert_eq!(answered, status, "{key}: {text}");
        answers.push((format!("PUT {key}"), text.into_bytes()));
    }
    let removed = client.request(Method::DELETE, "/api/v1/keys/sealed.removed").send().await.unwrap();
    assert_eq!(removed.status(), StatusCode::NO_CONTENT);
    let added = client.post("/tokens", &json!({ "name": "second", "roles": ["viewer"] })).await;
    let second = added.body["token"].as_str().unwrap().to_owned();
    let own = |token: &str| token.rsplit('_').next().unwrap().to_owned();
    let tokens = [own(ADMIN_TOKEN), own(&second)];
    let keys = [BY_REST, REPLACED, BY_BYTES, BY_COMMAND, AT_REST, BY_FILE, REMOVED, REFUSED, SECRET];
    let secrets = Secrets::new(&keys.into_iter().chain(tokens.iter().map(String::as_str)).collect::<Vec<_>>());

    // Use them, and check that they arrive.
    let used = client.run("sealed.use", &json!({ "code": 0, "note": MARKER })).await;
    let lengths = [BY_COMMAND.len(), BY_FILE.len(), json!({ "token": BY_REST }).to_string().len()].map(|length| length.to_string());
    assert_eq!((&used["status"], &used["result"]), (&json!("succeeded"), &json!(lengths.join("\n"))), "{used:#}");
    assert_eq!(client.run("sealed.send", &json!({})).await["status"], "succeeded");
    assert_eq!(world.effects().len(), 1);
    let mut failed = vec![("use", "exit_code", client.run("sealed.use", &json!({ "code": 3, "note": MARKER })).await)];
    failed.push(("deny", "egress_denied", client.run("sealed.deny", &json!({})).await));
    for (name, _, kind) in FAILING {
        failed.push((name, kind, client.run(&format!("sealed.{name}"), &json!({})).await));
    }
    for (name, kind, shown) in failed {
        assert_eq!(shown["error"]["kind"], kind, "{name}: {shown:#}");
    }
    let sent = client.post("/events", &json!({ "trigger": "sealed.asked", "payload": { "what": MARKER } })).await;
    let event = sent.body["id"].as_str().unwrap_or_else(|| panic!("{sent:#?}")).to_owned();
    client.until(&format!("/events/{event}/rules"), |rules| rules["items"][0]["execution"].is_string()).await;
    let quiet = |page: &Value| page["items"].as_array().is_some_and(|items| items.iter().all(|shown| shown["ended_at"].is_string()));
    client.until("/executions?limit=200", quiet).await;
    for (delivery, status) in [
        (Delivery::pull_request("good"), StatusCode::ACCEPTED),
        (Delivery::pull_request("forged").with_header("x-hub-signature-256", Some("sha256=00")), StatusCode::UNAUTHORIZED),
        (Delivery::github("pull_request", "misfit", b"{\"action\":7}"), StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let answer = client.deliver(&delivery).await.unwrap();
        assert_eq!(answer.status, status, "{answer:?}");
        answers.push(("a delivery".to_owned(), format!("{answer:?}").into_bytes()));
    }
    for arguments in [&["keys", "list"][..], &["tokens", "list"], &["why", &event], &["hooks", "list"], &["doctor"], &["log"]] {
        let printed = asked(arguments, "");
        assert!(printed.code == Some(0) || arguments == ["doctor"], "{printed:?}");
        tell(&arguments.join(" "), &printed);
    }

    for work in ["/views/rebuild", "/log/verify"] {
        let answer = client.post(work, &json!({})).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        client.until(work, |job| job["status"] == "succeeded").await;
    }

    // Four for `use`, which ran three times, two each for `send` and `deny`, one each for `err`, `stay`, `miss` and `lack`.
    let metrics = client.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    let uses = metrics.lines().find_map(|line| line.strip_prefix("ensue_key_uses_total ")).unwrap();
    assert!(uses.parse::<u64>().unwrap() >= 15, "{uses}");

    // They must be nowhere.
    for (place, bytes) in told.iter().chain(&answers) {
        secrets.are_not_in(place, bytes);
    }
    assert!(search_answers(&client, &secrets, &event).await > 3, "the search of answers finds nothing");
    assert!(search_files(&place, &secrets), "the search of files finds nothing");
    let said = node.stderr_text();
    assert!(said.contains(" TRACE "), "the node does not say all that it can: {said}");
    secrets.are_not_in("what the node said", said.as_bytes());
    secrets.are_not_in("what the node said", node.stop_well().as_bytes());
    assert!(search_files(&place, &secrets), "the search of files finds nothing");
}

/// An action that gets a key and leaks it in a way that its parameter selects.
const LEAK: &str = r#"
description: Lets a key out.
parameters: { way: string }
run:
  shell:
    env: { WAY: '${{ params.way }}', CANARY: '${{ keys["leak.canary"] }}', SHORT: '${{ keys["leak.short"] }}' }
    script: |
      echo "marker-that-is-no-secret" >&2
      first=$(printf %s "$CANARY" | cut -c 1-11) rest=$(printf %s "$CANARY" | cut -c 12-)
      case $WAY in
      printed) echo "$CANARY"; echo "$CANARY" >&2 ;;
      failed) echo "$CANARY"; echo "no way with $CANARY" >&2; exit 3 ;;
      base64) printf 'user:%s' "$CANARY" | base64 -w 0 ;;
      hex) printf %s "$CANARY" | od -An -tx1 | tr -d ' \n' ;;
      pieces) printf %s "$first"; sleep 0.3; printf %s "$rest" ;;
      event) echo "{\"emit\":{\"trigger\":\"leak.seen\",\"payload\":{\"what\":\"$CANARY\"}}}" >&3 ;;
      progress) echo "{\"progress\":0.5,\"message\":\"with $CANARY\"}" >&3 ;;
      artifact) echo harmless > out; echo "{\"artifact\":{\"path\":\"out\",\"name\":\"$CANARY.txt\"}}" >&3 ;;
      result) echo "{\"token\":\"$CANARY\",\"length\":${#CANARY}}" ;;
      reversed) printf %s "$CANARY" | rev ;;
      spaced) printf %s "$CANARY" | sed 's/./& /g' ;;
      short) echo "$SHORT" ;;
      restart) printf 'first %s' "$CANARY $first"; echo begun > begun; while [ ! -e go ]; do sleep 0.02; done; echo "$rest last $CANARY" ;;
      esac
"#;
const LEAKED: &str = "canary-let-out-6f80d1b7e2";
/// Under eight bytes.
const SHORT: &str = "c4n4ry7";
const MASK: &str = "[redacted leak.canary]";

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn key_leaked_by_a_program_is_masked_everywhere() {
    let place = NodeFolder::new().with_variable("ENSUE_LOG", "trace");
    place.write_pack_file("leak/pack.yaml", "name: leak\nversion: 1.0.0\ndescription: Leaks.\nkeys: [canary, short]\n");
    place.write_pack_file("leak/triggers/seen.yaml", "description: Something was seen.\npayload: { what: string }\n");
    place.write_pack_file("leak/actions/way.yaml", LEAK);
    let node = place.start();
    let client = node.client();
    for (key, value) in [("leak.canary", LEAKED), ("leak.short", SHORT)] {
        let mut set = place.ensue(&["keys", "set", key, "--server", &node.url()]);
        let set = CommandOutput::by_feeding(set.env("ENSUE_TOKEN", ADMIN_TOKEN), value.as_bytes());
        assert_eq!(set.code, Some(0), "{set:?}");
        assert_eq!(format!("{set:?}").contains("not masked"), value == SHORT, "{set:?}");
    }
    let secrets = Secrets::new(&[LEAKED]);
    let reversed: String = LEAKED.chars().rev().collect();
    let spaced: String = LEAKED.chars().flat_map(|character| [character, ' ']).collect();
    let mut event = None;
    for (way, status, result) in [
        ("printed", "succeeded", json!(MASK)),
        ("failed", "failed", Value::Null),
        ("hex", "succeeded", json!(MASK)),
        ("pieces", "succeeded", json!(MASK)),
        ("event", "succeeded", json!("")),
        ("progress", "succeeded", json!("")),
        ("artifact", "succeeded", json!("")),
        ("result", "succeeded", json!({ "token": MASK, "length": LEAKED.len() })),
        // Values that were changed in another way, or are too short, are not masked.
        ("reversed", "succeeded", json!(reversed)),
        ("spaced", "succeeded", json!(spaced)),
        ("short", "succeeded", json!(SHORT)),
    ] {
        let shown = client.run("leak.way", &json!({ "way": way })).await;
        assert_eq!((&shown["status"], &shown["result"]), (&json!(status), &result), "{way}: {shown:#}");
        let id = shown["id"].as_str().unwrap();
        match way {
            "printed" | "failed" => {
                let logs = client.request(Method::GET, &format!("/api/v1/executions/{id}/logs?stream=stderr")).send().await.unwrap();
                let logs = logs.text().await.unwrap();
                assert!(logs.contains(MASK), "{logs}");
                if way == "failed" {
                    let last = format!("no way with {MASK}");
                    let message = format!("the program ended with exit code 3: {last}");
                    assert_eq!(shown["error"]["message"], message, "{shown:#}");
                    assert!(shown["error"]["output_tail"].as_str().is_some_and(|tail| tail.ends_with(&last)), "{shown:#}");
                }
            }
            "event" => {
                let events = client.get("/events?trigger=leak.seen").await;
                let seen = events["items"][0]["id"].as_str().unwrap_or_else(|| panic!("{events:#}")).to_owned();
                assert_eq!(client.get(&format!("/events/{seen}")).await["payload"]["what"], MASK);
                event = Some(seen);
            }
            "progress" => assert!(format!("{shown}").contains(&format!("with {MASK}")), "{shown:#}"),
            "artifact" => {
                let artifacts = client.get(&format!("/executions/{id}/artifacts")).await;
                assert_eq!(artifacts["items"][0]["name"], format!("{MASK}.txt"), "{artifacts:#}");
            }
            _ => {}
        }
    }
    let shown = client.run("leak.way", &json!({ "way": "base64" })).await;
    assert!(shown["result"].as_str().is_some_and(|result| result.contains(MASK)), "{shown:#}");

    // The output of a program that outlives its node is masked as well, and is never in a file in plain text.
    let id = client.execute("leak.way", &json!({ "way": "restart" })).await;
    let program = Running::one(&place).await;
    until("its masked output", async || {
        let folders = std::fs::read_dir(place.data().join("supervisors")).unwrap().flatten();
        folders.map(|folder| folder.path().join("stdout")).any(|path| std::fs::read_to_string(path).is_ok_and(|text| text.contains(MASK)))
    })
    .await;
    search_files(&place, &secrets);
    node.kill();
    let node = place.start();
    let client = node.client();
    program.let_go();
    let shown = client.until(&format!("/executions/{id}"), |shown| shown["ended_at"].is_string()).await;
    assert_eq!(shown["result"], format!("first {MASK} {MASK} last {MASK}"), "{shown:#}");

    for work in ["/views/rebuild", "/log/verify"] {
        let answer = client.post(work, &json!({})).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        client.until(work, |job| job["status"] == "succeeded").await;
    }
    let event = event.expect("one was emitted");
    assert!(search_answers(&client, &secrets, &event).await > 3, "the search of answers finds nothing");
    assert!(search_files(&place, &secrets), "the search of files finds nothing");
    secrets.are_not_in("what the node said", node.stderr_text().as_bytes());
    secrets.are_not_in("what the node said", node.stop_well().as_bytes());
    assert!(search_files(&place, &secrets), "the search of files finds nothing");
}

#[test]
fn search_finds_a_secret_in_every_encoding() {
    let secret = BY_BYTES.as_bytes();
    let shown = [
        format!("Secret({secret:?})"),
        json!({ "value": secret }).to_string(),
        hex::encode(secret),
        STANDARD_NO_PAD.encode([b"x", secret, b"yz"].concat()),
        json!([BY_BYTES]).to_string(),
    ];
    for shown in shown {
        assert!(forms(BY_BYTES).iter().any(|form| shown.contains(form)), "{shown}");
    }
}
