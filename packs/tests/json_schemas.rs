//! The JSON Schemas and `check`: one rejects what the other rejects, as far as a JSON Schema can express it.
//!
//! The module `support` also applies this to each golden error of this test binary.

use ensue_packs::{Colour, FileKind, PackSource, check, library};
use serde_json::{Value, json};

use crate::support::agreement::{disagreement, fits, kind_of, of_yaml};

#[test]
fn each_json_schema_is_valid() {
    for kind in FileKind::ALL {
        let schema = kind.json_schema();
        assert!(jsonschema::meta::is_valid(&schema), "{}", kind.name());
    }
}

#[test]
fn every_file_of_the_library_matches_its_schema() {
    let mut files = 0;
    for pack in library() {
        for (path, file) in &pack.files {
            let Some(kind) = kind_of(path) else { continue };
            let value = of_yaml(&file.bytes).unwrap();
            assert!(fits(kind, &value), "{}/{path}", pack.origin);
            files += 1;
        }
    }
    assert!(files > 30, "{files}");
}

#[test]
fn every_file_of_a_new_project_matches_its_schema() {
    let files = ensue_packs::init_files(&"my_automation".parse().unwrap());
    let inside = files.iter().filter_map(|(path, text)| Some((path.strip_prefix("packs/my_automation/")?, text)));
    let fitting = inside.filter_map(|(path, text)| Some((path, kind_of(path)?, text)));
    assert_eq!(fitting.map(|(path, kind, text)| assert!(fits(kind, &of_yaml(text.as_bytes()).unwrap()), "{path}")).count(), 5);
}

/// A separate pack that uses every field of every kind of file.
const WHOLE: [(&str, &str); 37] = [
    (
        "pack.yaml",
        "name: whole\nversion: 1.0.0\ndescription: All of it.\nrequires: { ensue: '>=0.1', packs: { core: ^0.1 } }\n\
         config: { owner: 'string = \"acme\"', server: 'connection<http>?' }\nkeys: [token, whole.other]\nconnections: [orders]\npermissions: [actions:execute on action=core.shell]\n",
    ),
    (
        "triggers/ping.yaml",
        "description: A ping.\npayload:\n  host: string\n  load: number?\nindex: [host]\nversion: 2\nupcasts: { 1: { host: '${{ payload.name }}' } }\n",
    ),
    ("triggers/several.yaml", "triggers:\n  pong: { payload: { schema: { type: object } } }\n  pang: { description: Loud. }\n"),
    (
        "sensors/meter.yaml",
        "description: A meter.\nwebhook:\n  verify:\n    { scheme: hmac, key: whole.token, header: x-a, algorithm: sha512, encoding: base64, prefix: 'v=' }\n\
         emits:\n  - trigger: whole.ping\n    when: 'headers[\"x-kind\"] == \"a\"'\n    dedupe: 'headers[\"x-id\"]'\n    payload: { host: '${{ body.host }}' }\n",
    ),
    (
        "sensors/shop.yaml",
        "webhook:\n  verify:\n    { scheme: hmac, key: whole.token, header: x-a, parse: commas, prefix: 's=', id: x-id,\n      \
         timestamp: { entry: 't=', unit: ms }, tolerance: 1m, signed: '${id}.${timestamp}.${body}' }\nemits:\n  - trigger: whole.pang\n",
    ),
    (
        "sensors/timed.yaml",
        "webhook:\n  verify: { scheme: hmac, key: whole.token, header: x-a, timestamp: { header: x-t }, signed: '${timestamp}.${body}' }\n\
         emits:\n  - trigger: whole.pang\n",
    ),
    ("sensors/hub.yaml", "webhook: { verify: { scheme: github, key: whole.token }, repeats: allow }\nemits:\n  - trigger: whole.pang\n"),
    (
        "sensors/chat.yaml",
        "webhook:\n  verify: { scheme: slack, key: whole.token }\n  accept: [json, form, multipart, text]\n  types: { application/csp-report: json }\n  charset: windows-1252\n  invalid: replace\n  decode: body.payload\n\
         \x20 methods: [POST, GET]\n  path: /rooms/{room}\n  allow: [192.0.2.0/24]\n  rate: 600/1m\n  body_max: 65536\n  reply:\n\
         \x20   - { unproven: true, when: method == 'GET', status: 200, body: a }\n\
         \x20   - { when: path.room == 'a', headers: { x-a: '1' }, body: b }\n\
         \x20   - { wait: 2s, rule: whole.greet, body: '${{ result }}', late: { body: c }, failed: { status: 200 }, none: { body: d } }\n\
         emits:\n  - trigger: whole.pang\n",
    ),
    (
        "sensors/topic.yaml",
        "webhook:\n  verify: { scheme: sns, topics: ['arn:aws:sns:eu-west-1:123456789012:alarms'], hosts: ['localhost:4566'], sha1: false }\n\
         emits:\n  - trigger: whole.pang\n",
    ),
    (
        "sensors/issued.yaml",
        "webhook:\n  verify: { scheme: jwt, issuer: 'https://id.example.test', audience: [a], jwks: 'https://id.example.test/keys', claims: { email: a }, leeway: 10s }\n\
         emits:\n  - trigger: whole.pang\n",
    ),
    (
        "sensors/certified.yaml",
        "webhook:\n  verify: { scheme: mtls, names: ['dns:a.example.test'], fingerprints: ['abababababababababababababababababababababababababababababababab'], header: x-client }\nemits:\n  - trigger: whole.pang\n",
    ),
    (
        "sensors/several.yaml",
        "sensors:\n  door: { webhook: { verify: { scheme: github, key: whole.token } }, emits: [{ trigger: whole.pang }] }\n",
    ),
    (
        "rules/greet.yaml",
        "description: Greets.\nmode: shadow\ntrigger: [whole.ping]\nwhen: event.payload.host == config.owner\nlocal: { host: event.payload.host }\n\
         action: whole.deploy\nwith: { region: '${{ local.host }}', env: dev, sizes: [1] }\npriority: 10\n",
    ),
    (
        "rules/due.yaml",
        "schedule: { cron: 0 3 * * *, timezone: Europe/Berlin, misfire: fire_all, missed_max: 5, jitter: 30s }\naction: core.noop\n",
    ),
    (
        "sensors/clock.yaml",
        "timer: { at: '2026-12-24T18:00:00+01:00' }\nemits:\n  - trigger: whole.ping\n    payload: { host: '${{ scheduled_at }}' }\n",
    ),
    (
        "sensors/program.yaml",
        "process: { command: [watch, --fast], input: { a: '${{ config.owner }}' }, env: { STAGE: dev }, grace: 5s, restart: on_failure }\n\
         decode: json\nschema: { host: string }\npoison: { limit: 10, per: 1m }\non_poison: stop\n\
         emits:\n  - trigger: whole.ping\n    payload: { host: '${{ line.host }}' }\n",
    ),
    (
        "sensors/feed.yaml",
        "poll:\n  every: 1m\n  http: { url: 'https://example.test/', query: { since: '${{ cursor }}', page: '${{ page }}' } }\n  items: body.items\n\
         \x20 next_page: body.?next.orValue(null)\n  max_pages: 3\n  max_items: 50\n  cursor: { start: '0', next: 'items.map(i, i.at).max()' }\n\
         \x20 only_new: item.id\n  remember: { ids: 100, for: 7d }\n  first: emit\nemits:\n  - trigger: whole.ping\n    payload: { host: '${{ item.host }}' }\n",
    ),
    ("sensors/fetched.yaml", "poll: { every: 1m, action: whole.ask, with: {}, only_new: item.id }\nemits:\n  - trigger: whole.pang\n"),
    (
        "sensors/nightly.yaml",
        "poll: { cron: 0 3 * * *, timezone: Europe/Berlin, http: { url: 'https://example.test/' }, only_new: item.id }\nemits:\n  - trigger: whole.pang\n",
    ),
    (
        "sensors/inbox.yaml",
        "file: { path: '/srv/in/*.json', on: [created], settle: 1s, read: json, start: all, rescan: 1m, after: { move: done } }\n\
         emits:\n  - trigger: whole.ping\n    when: has(file.body)\n    payload: { host: '${{ file.name }}' }\n",
    ),
    (
        "sensors/log.yaml",
        "file: { path: /var/log/app.log, tail: true }\ndecode: { form: text, charset: windows-1252, invalid: replace }\nemits:\n  - trigger: whole.ping\n    payload: { host: '${{ line }}' }\n",
    ),
    (
        "rules/several.yaml",
        "rules:\n  one: { trigger: whole.ping, action: core.echo }\n  two: { trigger: whole.pang, action: core.echo }\n\
         \x20 paced:\n    trigger: whole.ping\n    action: core.echo\n    dedupe: { key: event.payload.host, within: 10m }\n\
         \x20   throttle: { limit: 5, per: 1m, key: event.payload.host, excess: delay }\n    debounce: { quiet: 30s, key: event.payload.host }\n\
         \x20   window: { count: 3, within: 5m, key: event.payload.host }\n    missing: { for: 26h, key: event.payload.host }\n    concurrency: { limit: 2, key: event.payload.host, conflict: skip }\n    retry: { attempts: 2 }\n\
         \x20 calm: { trigger: whole.ping, action: core.echo, debounce: { quiet: 30s, most: 10m, events: all } }\n\
         \x20 gathered: { trigger: whole.ping, action: core.echo, window: { until: 10m, count: 50, key: event.payload.host } }\n\
         \x20 both: { trigger: [whole.ping, whole.pang], action: core.echo, window: { of: [whole.ping, whole.pang], within: 1h } }\n\
         \x20 differ: { trigger: whole.ping, action: core.echo, window: { count: 3, distinct: event.payload.host, within: 5m } }\n\
         \x20 three:\n    trigger: whole.ping\n    local: { host: event.payload.host }\n    steps:\n      look: { action: core.noop }\n\
         \x20     tell: { needs: look, action: core.echo, with: { message: '${{ local.host }} ${{ steps.look.status }}' } }\n",
    ),
    (
        "actions/deploy.yaml",
        "description: Deploys.\nparameters:\n  region: { type: string, pattern: '^[a-z]+$', description: Where. }\n  env: dev | prod\n  sizes: [integer]\n\
         \x20 note: { type: any, optional: true }\n  limit: { type: [number], default: [0.5] }\n  code: { type: string, x-ensue: code, default: 'true' }\n\
         result: { schema: { type: object } }\nlocal: { where: params.region }\nrun:\n  process:\n    command: [make, --fast]\n    input: { a: 1 }\n\
         \x20   env: { STAGE: '${{ params.env }}', FAST: 1 }\n    files: { CONFIG: { a: [1] } }\n\
         timeout: 90s\ngrace: 250ms\ntoken: true\nidempotent: true\non_lost: retry\npriority: -100\nqueue: heavy\nmock: { done: true }\n\
         templates: { nightly: { region: eu, sizes: [1] } }\nlabels: { site: '${{ params.region }}', canary: true }\n\
         concurrency: { limit: 2, key: params.region, conflict: queue }\n\
         retry: { attempts: 4, backoff: linear, delay: 2s, max_delay: 1m, jitter: false, respect_retry_after: false, when: error.kind != 'exit_code' }\n",
    ),
    ("actions/shell.yaml", "run: { shell: { script: make, env: { STAGE: dev } } }\n"),
    ("actions/made.yaml", "result: { text: string }\noutput: { text: '${{ stdout }}' }\nrun: { shell: { script: make } }\n"),
    (
        "actions/several.yaml",
        "actions:\n  tell: { parameters: { host: string }, run: { emit: { trigger: whole.ping, payload: { host: '${{ params.host }}' } } } }\n",
    ),
    (
        "actions/ask.yaml",
        "run:\n  http: { url: 'https://example.test/', method: POST, headers: { x-a: b }, query: { a: [1, two] }, json: { a: null }, parse: base64, sign: { scheme: standard, key: '${{ keys[\"whole.token\"] }}' } }\n",
    ),
    (
        "actions/ship.yaml",
        "parameters: { regions: [string] }\nresult: { all: [string] }\nrun_as: caller\nrun:\n  workflow:\n    steps:\n      build: { action: core.noop }\n\
         \x20     deploy:\n        needs: [build]\n        if: steps.build.status == 'succeeded' || always()\n        for_each: params.regions\n\
         \x20       parallel: 3\n        fail_fast: true\n        action: core.echo\n        with: { message: '${{ item }}' }\n        on_failure: continue\n\
         \x20       cancel_others: false\n        undo: { action: core.noop, with: { seconds: 1 }, retry: { attempts: 2 }, timeout: 1m }\n        priority: 5\n        timeout: 5m\n        retry: { attempts: 3 }\n      come: { wait: { trigger: whole.ping, when: event.payload.host == 'a', expires: 1h, since: start } }\n      settle: { sleep: 10m, cancel_when: { trigger: whole.ping, when: event.payload.host == 'b', since: step } }\n\
         \x20     ask:\n        inquiry:\n          title: Ship?\n          text: To ${{ string(size(params.regions)) }} regions.\n\
         \x20         answer: { ship: boolean, note: 'string?' }\n          assignees: ['role:managers', ana]\n          quorum: 2\n\
         \x20         veto: answer.ship == false\n          exclude: requester\n          digest: optional\n          expires: 24h\n          on_expire: { answer: { ship: false } }\n          notify: { action: core.echo, with: { message: '${{ inquiry.url }}' } }\n          remind: { every: 2h, max: 3 }\n          escalate: [{ after: 8h, to: ['role:leads'] }]\n      again: { action: core.noop, repeat: { max: 3, while: previous == null, until: result == null, every: 1s, collect: '[result]' } }\n      stop: { needs: deploy, if: failed(), fail: 'no: ${{ steps.deploy.status }}' }\n\
         \x20     ready: { local: { all: params.regions.size() }, assert: local.all > 1, message: 'only ${{ string(local.all) }}' }\n\
         \x20     made: { needs: { any: 1, of: [ready, settle], cancel_rest: true }, for_each: params.regions, fail_at: 10%, action: whole.made }\n\
         \x20   result: { all: '${{ steps.deploy.items.map(i, i.status) }}' }\n",
    ),
    (
        "tests/ship.test.yaml",
        "- it: greets\n  config: { owner: acme }\n  vars: { sync.cursor: 1 }\n  given: { events: [{ trigger: whole.ping, payload: { host: acme }, source: api, time: '2026-03-28T12:00:00Z', after: 1m }] }\n\
         \x20 mocks: { greet: { result: {} } }\n\
         \x20 expect:\n    - { rule: whole.greet, action: whole.deploy, with: { env: dev }, outcome: shadowed, exactly: true }\n\
         \x20   - { rule: whole.one, status: succeeded, result: {} }\n    - { rule: whole.three, steps: { look: succeeded }, error: { message: nope } }\n\
         - it: judges one\n  given: { event: { trigger: whole.pang } }\n  expect: []\n  vars_after: { sync.cursor: null }\n\
         - it: ships\n  vars: { sync.cursor: 1 }\n  run: { action: whole.ship, with: { regions: [eu] } }\n  vars_after: { sync.cursor: 1 }\n\
         \x20 mocks:\n    build: [{ error: { kind: lost, message: gone, detail: 3 } }, { result: 1 }]\n    ask: [{ answer: { ship: true }, by: ana }, { expired: true }]\n    made: { raw: { stdout: done, exit_code: 0 } }\n    come: { event: { host: a } }\n    settle: { cancelled_by: { host: b } }\n\
         \x20   again: [{ result: 1 }, [{ error: { kind: network } }]]\n\
         \x20 expect:\n    status: failed\n    result: { all: [] }\n    error: { kind: fail, message: nope, detail: 1 }\n    exactly: false\n    undone: [deploy]\n    steps:\n      settle: skipped\n\
         \x20     deploy:\n        status: failed\n        with: { message: eu }\n        result: 1\n        error: { kind: child_failed }\n        attempts: 2\n        exactly: true\n\
         \x20       items: [succeeded, { status: failed, with: { message: us }, result: 1, error: { kind: exit_code }, attempts: 1, exactly: true }]\n",
    ),
    ("actions/order.yaml", "run: { http: { url: 'https://example.test/', method: POST, form: { a: 1, b: { c: two }, d: [x, y] } } }\n"),
    (
        "tests/real.test.yaml",
        "- it: asks\n  real: true\n  keys: { token: other }\n  run: { action: whole.ask }\n  expect: { status: succeeded }\n\
         - it: asks over a connection\n  real: true\n  connection: true\n  run: { action: whole.ask }\n  expect: { status: succeeded }\n",
    ),
    (
        "actions/either.yaml",
        "run:\n  http:\n    connection: ${{ config.server }}\n    url: /items\n    json: { a: 1 }\n\
         \x20   without_connection: { url: 'https://example.test/', headers: { x-a: b }, json: { b: '${{ keys[\"whole.token\"] }}' } }\n",
    ),
    (
        "fake/server.yaml",
        "setting: owner\nauth: { header: { name: x-a, value: { key: token } } }\nroutes: [{ request: GET /, answers: [{ status: 204 }] }]\n",
    ),
    ("actions/fetch.yaml", "run: { http: { connection: orders, url: /items } }\n"),
    (
        "actions/mail.yaml",
        "parameters: { relay: 'connection<smtp>?' }\nrun:\n  mail:\n    connection: ${{ params.relay }}\n    server: { host: smtp.example.test, port: 587, security: starttls, user: a, password: '${{ keys[\"whole.token\"] }}', ca: x, hello: a.example.test }\n\
         \x20   from: a@example.test\n    to: b@example.test\n    cc: [c@example.test]\n    bcc: d@example.test\n    reply_to: e@example.test\n    subject: s\n    text: t\n    html: h\n\
         \x20   in_reply_to: '<1@example.test>'\n    headers: { X-A: b }\n    attachments: [{ name: a.txt, type: text/plain, text: a }, { name: b.bin, type: application/octet-stream, base64: AA== }]\n",
    ),
    (
        "tests/feed.test.yaml",
        "- it: reads\n  given: { message: { sensor: whole.program, body: { host: a }, events: [{ trigger: whole.ping, payload: { host: a } }] } }\n  expect: []\n\
         - it: refuses\n  given: { messages: [{ sensor: whole.feed, body: 7, about: { index: 0 }, refused: host }] }\n  expect: []\n",
    ),
    (
        "actions/say.yaml",
        "run: { http: { url: { secret: true, value: 'https://example.test/${{ keys[\"whole.token\"] }}' }, headers: '${{ {} }}', body: hello, charset: latin1, invalid: replace } }\n",
    ),
];

fn whole() -> Vec<PackSource> {
    let pack = PackSource::of("packs/whole", WHOLE.map(|(path, text)| (path, text.to_owned()))).expect("the paths are fine");
    // The rest of the library is not needed and would take time.
    library().into_iter().filter(|pack| pack.origin == "library/core").chain([pack]).collect()
}

#[test]
fn complete_sample_pack_uses_every_field() {
    let reported: String = check(&whole(), &Default::default()).diagnostics.iter().map(|one| one.render(Colour::Plain)).collect();
    assert_eq!(reported, "");
    let mut there = Vec::new();
    for (path, text) in WHOLE {
        let value = of_yaml(text.as_bytes()).unwrap();
        assert!(kind_of(path).is_none_or(|kind| fits(kind, &value)), "{path}");
        names(&value, &mut there);
    }
    for kind in FileKind::ALL {
        let mut known = Vec::new();
        properties(&kind.json_schema(), &mut known);
        // The field `builtin` is only for the library, which is checked there.
        let missing: Vec<_> = known.iter().filter(|name| *name != "builtin" && !there.contains(name)).collect();
        assert!(missing.is_empty(), "no file has {missing:?} of a {}", kind.name());
    }
}

fn names(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(entries) => entries.iter().for_each(|(name, value)| {
            found.push(name.clone());
            names(value, found);
        }),
        Value::Array(items) => items.iter().for_each(|item| names(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The names of all fields in a schema, at any depth.
fn properties(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(entries) => entries.iter().for_each(|(name, value)| {
            if let (true, Some(fields)) = (name == "properties", value.as_object()) {
                found.extend(fields.keys().cloned());
            }
            properties(value, found);
        }),
        Value::Array(items) => items.iter().for_each(|item| properties(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Every edit of one place of a value: the place removed, renamed, or replaced by another value.
fn edits(value: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    let others = [json!(null), json!(true), json!(7), json!("seven"), json!([]), json!([[]]), json!({}), json!({ "nonsense": 1 })];
    for place in places(value, "") {
        for other in others.iter().filter(|other| value.pointer(&place) != Some(*other)) {
            let mut edited = value.clone();
            *edited.pointer_mut(&place).expect("the place is one of the value") = other.clone();
            found.push((format!("{other} at `{place}`"), edited));
        }
        let Some((above, _)) = place.rsplit_once('/') else { continue };
        let name = name_of(&place);
        if let Some(fields) = value.pointer(above).and_then(Value::as_object) {
            let without: serde_json::Map<_, _> =
                fields.iter().filter(|(key, _)| **key != name).map(|(k, v)| (k.clone(), v.clone())).collect();
            for (what, renamed) in [("without", None), ("misspelt", Some(format!("{name}x"))), ("in capitals", Some(name.to_uppercase()))] {
                let mut edited = value.clone();
                let mut without = without.clone();
                without.extend(renamed.map(|name| (name, fields[&name_of(&place)].clone())));
                *edited.pointer_mut(above).expect("the place is one of the value") = Value::Object(without);
                found.push((format!("{what} `{place}`"), edited));
            }
        }
    }
    found
}

fn name_of(place: &str) -> String {
    place.rsplit('/').next().unwrap_or_default().replace("~1", "/")
}

/// Every place of a value, as JSON Pointers.
fn places(value: &Value, at: &str) -> Vec<String> {
    let mut found = vec![at.to_owned()];
    match value {
        Value::Object(entries) => {
            entries.iter().for_each(|(name, value)| found.extend(places(value, &format!("{at}/{}", name.replace('/', "~1")))))
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| found.extend(places(value, &format!("{at}/{index}"))));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    found
}

#[test]
fn check_and_schema_agree_on_every_edit_of_a_valid_file() {
    let packs = whole();
    let mut found = Vec::new();
    let (mut tried, mut refused) = (0, 0);
    for (path, text) in WHOLE {
        // The file of a fake vendor has no JSON Schema.
        let Some(kind) = kind_of(path) else { continue };
        for (edit, edited) in edits(&of_yaml(text.as_bytes()).unwrap()) {
            let mut packs = packs.clone();
            // JSON is YAML.
            packs.last_mut().unwrap().files.get_mut(path).unwrap().bytes = edited.to_string().into();
            let checked = check(&packs, &Default::default());
            tried += 1;
            refused += usize::from(!fits(kind, &edited));
            found.extend(disagreement(packs.last().unwrap(), path, &checked).map(|why| format!("{path}: {edit}: {why}")));
        }
    }
    assert!(tried > 1_500 && refused > tried / 2, "{refused} of {tried} were refused; the edits have become tame");
    assert!(found.is_empty(), "{} of {tried}:\n{}", found.len(), found.join("\n"));
}
