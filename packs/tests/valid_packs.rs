//! Valid packs are accepted without any finding.

use crate::support::{check_packs, demo, findings_of, shown_with};
use ensue_packs::{Colour, FileMode, PackSource, check, library};
use serde_json::json;

#[test]
fn demo_pack_has_no_findings() {
    assert_eq!(shown_with(&[]), "");
}

#[test]
fn rule_with_all_fields_is_accepted() {
    let rule = r#"
description: Ships every version tag of a repository we own.
mode: shadow
trigger: [github.push]
when: |
  event.payload.ref.startsWith("refs/tags/v")
    && event.payload.repository.owner.login == config.owner
local: { version: 'event.payload.ref.split("/")[2]', tag: 'local.version + "!"' }
action: demo.ship
with:
  version: ${{ local.version }}
  count: ${{ event.payload.commits.size() }}
priority: 10
"#;
    assert_eq!(shown_with(&[("rules/ship.yaml", rule)]), "");
}

#[test]
fn action_with_all_fields_is_accepted() {
    let action = r#"
description: Deploys one region.
parameters:
  region: { type: string, pattern: '^[a-z]{2}$', description: Where. }
  env: dev | prod
  regions: [string]
  spec: object?
  limit: number = 0.5
result: { schema: { type: object, required: [ok] } }
local: { where: params.region }
run:
  process:
    command: [./deploy.sh, --fast]
    input: { region: '${{ local.where }}', token: '${{ keys["demo.token"] }}' }
    env: { STAGE: '${{ params.env }}' }
    files: { PASSFILE: '${{ keys["demo.token"] }}' }
timeout: 90s
grace: 250ms
idempotent: true
on_lost: retry
priority: -100
"#;
    assert_eq!(shown_with(&[("actions/deploy.yaml", action), ("actions/deploy.sh", "#!/bin/sh\n")]), "");
}

#[test]
fn mail_with_all_fields_is_accepted() {
    let action = r#"
description: Sends a mail.
parameters: { to: "[string]", cc: "string?", text: string }
result: { message_id: string, accepted: "[string]", refused: "[object]", response: string }
run:
  mail:
    server:
      host: smtp.example.org
      port: 465
      security: tls
      user: robot
      password: ${{ keys["demo.token"] }}
      ca: ${{ keys[?"demo.token"].orValue("") }}
      hello: node.example.org
    from: Robot <robot@example.org>
    to: ${{ params.to }}
    cc: ${{ params.?cc.orValue(null) }}
    bcc: [ada@example.org]
    reply_to: desk@example.org
    subject: ${{ params.text }}
    text: ${{ params.text }}
    html: <b>fixed</b>
    in_reply_to: <1@example.org>
    headers: { X-Priority: 1 }
    attachments: [{ name: a.txt, type: text/plain, text: "${{ params.text }}" }]
mock: { message_id: <1@example.org>, accepted: [ada@example.org], refused: [], response: 250 Ok }
"#;
    assert_eq!(shown_with(&[("actions/send.yaml", action)]), "");
}

#[test]
fn sensor_with_all_fields_is_accepted() {
    let sensor = r#"
description: A meter.
webhook:
  verify:
    scheme: hmac
    key: demo.token
    header: X-Signature
    algorithm: sha512
    encoding: base64
    prefix: "v1="
emits:
  - trigger: demo.ping
    when: |
      !has(body.silent) && query["kind"] == "meter"
    dedupe: 'headers["x-id"]'
    payload: { host: '${{ body.host }}', load: 1.5 }
"#;
    assert_eq!(shown_with(&[("sensors/meter.yaml", sensor)]), "");
}

#[test]
fn webhook_with_all_fields_is_accepted() {
    let sensor = r#"
description: Commands from a chat.
webhook:
  verify: { scheme: slack, key: demo.token }
  accept: [json, form, multipart, text]
  decode: body.payload
  methods: [POST, GET, PUT, DELETE]
  path: /teams/{team}/{room}
  allow: [192.0.2.0/24, "2001:db8::/32"]
  rate: 600/1m
  body_max: 65536
  reply:
    - unproven: true
      when: '"validationToken" in query && method == "POST" && headers[?"x-a"].orValue("") == ""'
      body: ${{ query.validationToken }}
    - when: body.?type.orValue("") == "ping" && path.team == "a"
      status: 201
      headers: { Content-Type: text/csv, x-room: '${{ path.room }}' }
      body: "a;b"
    - wait: 2500ms
      when: has(body.command)
      body: { text: '${{ result.message }}', event: '${{ event.id }}', status: '${{ status }}' }
      late: { body: 'Working on it: ${{ execution.url }}' }
      failed: { status: 200, body: 'failed: ${{ error.kind }}' }
      none: { headers: { x-none: '1' } }
emits:
  - trigger: demo.ping
    when: path.room != "" && method == "PUT"
    payload: { host: '${{ path.room }}', load: 1.5 }
"#;
    assert_eq!(shown_with(&[("sensors/commands.yaml", sensor)]), "");
}

#[test]
fn one_file_may_define_several_rules() {
    let rules = "rules:\n  one: { trigger: demo.ping, action: core.echo }\n  two: { trigger: demo.pong, action: demo.go }\n";
    let packs = demo(&[
        ("rules/several.yaml", rules),
        ("triggers/several.yaml", "triggers:\n  pong: { payload: { a: any } }\n"),
        ("actions/several.yaml", "actions:\n  go: { run: { shell: { script: make } } }\n"),
    ]);
    let checked = check_packs(&[packs], &[]);
    assert!(checked.diagnostics.is_empty());
    let demo = checked.good.iter().find(|pack| pack.name.as_str() == "demo").unwrap();
    let rules: Vec<&str> = demo.rules.iter().map(|rule| rule.as_str()).collect();
    assert_eq!(rules, ["demo.greet", "demo.one", "demo.two"]);
}

#[test]
fn anchor_may_be_repeated() {
    let rule = "trigger: demo.ping\naction: core.echo\nwith:\n  message: [&name ada, *name]\n";
    assert_eq!(shown_with(&[("rules/greet.yaml", rule)]), "");
}

#[test]
fn settings_are_completed_with_defaults() {
    let pack = demo(&[("pack.yaml", "name: demo\nversion: 1.0.0\nconfig:\n  owner: string\n  size: integer = 3\n")]);
    let checked = check_packs(&[pack], &[("demo", json!({ "owner": "acme" }))]);
    let demo = checked.good.iter().find(|pack| pack.name.as_str() == "demo").unwrap();
    assert_eq!(demo.config, json!({ "owner": "acme", "size": 3 }));
}

#[test]
fn order_of_packs_does_not_matter() {
    let forwards: Vec<PackSource> = library().into_iter().chain([demo(&[])]).collect();
    let backwards: Vec<PackSource> = forwards.iter().rev().cloned().collect();
    assert_eq!(check(&forwards, &Default::default()).good.len(), check(&backwards, &Default::default()).good.len());
}

#[test]
fn other_files_in_a_pack_are_ignored() {
    let mut source = demo(&[("docs/guide.md", "# Guide"), ("actions/lib/data.yaml", "!anything [at, all"), ("LICENSE", "…")]);
    source.files.get_mut("LICENSE").unwrap().mode = FileMode::Executable;
    assert_eq!(findings_of(&[source]), "");
}

#[test]
fn json_form_of_an_error_has_the_same_content_as_the_text() {
    let checked = check_packs(&[demo(&[("rules/greet.yaml", "trigger: demo.ping\nwhem: true\naction: core.echo\n")])], &[]);
    let one = &checked.diagnostics[0];
    assert_eq!(one.to_json()["suggestion"], "when");
    assert!(one.render(Colour::Plain).contains("rules/greet.yaml:2:1"));
}

#[test]
fn literal_is_a_valid_expression() {
    let rule = "trigger: demo.ping\nwhen: true\nlocal: { n: 7 }\naction: core.echo\nwith: { message: '${{ local.n }}' }\n";
    assert_eq!(shown_with(&[("rules/greet.yaml", rule)]), "");
}

#[test]
fn no_edit_of_a_file_causes_a_panic() {
    const EDITS: u64 = 3_000;
    const PIECES: [&str; 20] =
        ["!", "'", "\"", "{", "}", "[", "]", ":", " #", "- ", "\n", "  ", "|", "*a", "&a ", "${{", "}}", "? ", "\u{feff}", "ä"];
    let mut files: Vec<(PackSource, String)> = Vec::new();
    for pack in library() {
        files.extend(pack.files.keys().map(|path| (pack.clone(), path.clone())));
    }
    // A small random generator (Knuth's MMIX): the same edits in every run.
    let mut seed = 1_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    for _ in 0..EDITS {
        let (mut pack, path) = files[random(files.len())].clone();
        let mut text = String::from_utf8(pack.files[&path].bytes.to_vec()).unwrap();
        for _ in 0..=random(3) {
            let at = text.floor_char_boundary(random(text.len() + 1));
            match random(3) {
                0 => text.truncate(at),
                1 => text.insert_str(at, PIECES[random(PIECES.len())]),
                _ => text.replace_range(at..text.floor_char_boundary((at + random(9)).min(text.len())).max(at), ""),
            }
        }
        pack.files.get_mut(&path).unwrap().bytes = text.into();
        for one in check(&[pack], &Default::default()).diagnostics {
            assert!(one.line >= 1 && one.column >= 1 && !one.render(Colour::Plain).is_empty());
        }
    }
}
