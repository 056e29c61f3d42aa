//! One run on a pack with every kind of error reports all of them, each once.

use std::collections::BTreeSet;

use crate::support::{LINTS, check_packs, demo};
use ensue_packs::diagnostics::DIAGNOSTICS_MAX;
use ensue_packs::{Code, PackSource, Severity};
use serde_json::json;

#[test]
fn every_kind_of_error_is_reported_in_one_run() {
    let mut broken = demo(&[
        (
            "pack.yaml",
            "name: demo\nversion: '1'\nrequires:\n  ensue: '>=9'\n  packs: { githab: ^1, github: ^3 }\nconfig: { owner: string }\nkeys: [token]\n",
        ),
        ("triggers/ambiguous.yaml", "index: [012]\n"),
        ("triggers/alias.yaml", "description: *nowhere\n"),
        ("triggers/bad_type.yaml", "payload: { a: strng }\n"),
        ("triggers/complex.yaml", "? [a]\n: b\n"),
        ("triggers/doubled.yaml", "payload: { schema: { anyOf: [{ items: { $ref: '#' } }, { items: { $ref: '#' } }] } }\n"),
        ("triggers/duplicate.yaml", "index: []\nindex: []\n"),
        ("triggers/empty.yaml", "# nothing\n"),
        ("triggers/merge.yaml", "<<: { index: [] }\n"),
        ("triggers/null.yaml", "description:\n"),
        ("triggers/question.yaml", "payload: { a: string? }\n"),
        ("triggers/syntax.yaml", "a\n\tb: c\n"),
        ("triggers/tag.yaml", "description: !x\n"),
        ("triggers/gap.yaml", "version: 2\n"),
        ("triggers/two.yaml", "index: []\n---\nindex: []\n"),
        ("triggers/comment.yaml", "description: Fix #12\n"),
        ("triggers/bytes.yaml", ""),
        ("triggers/huge.yaml", &format!("description: {}\n", "x".repeat(1 << 20))),
        (
            "sensors/old.yaml",
            "webhook: { verify: { scheme: hmac, key: demo.token, header: x-a, algorithm: sha1 } }\nemits:\n  - trigger: demo.ping\n    payload: { host: a }\n",
        ),
        ("sensors/open.yaml", "webhook: { verify: { scheme: none } }\nemits:\n  - trigger: demo.ping\n    when: body..x\n"),
        (
            "sensors/replayed.yaml",
            "webhook: { verify: { scheme: github, key: demo.token }, repeats: allow }\nemits:\n  - trigger: demo.ping\n    dedupe: headers[\"x-id\"]\n    payload: { host: a }\n",
        ),
        (
            "sensors/repeats.yaml",
            "poll: { every: 1m, http: { url: 'https://example.test/' } }\nemits: [{ trigger: demo.ping, payload: { host: a } }]\n",
        ),
        (
            "sensors/unread.yaml",
            "poll:\n  every: 1m\n  http: { url: 'https://example.test/' }\n  cursor: { start: '1', next: 'items.size()' }\nemits: [{ trigger: demo.ping, payload: { host: a } }]\n",
        ),
        (
            "sensors/waits.yaml",
            "webhook: { verify: { scheme: bearer, key: demo.token }, reply: [{ wait: 2s, body: a }] }\nemits:\n  - trigger: demo.ping\n    payload: { host: a }\n",
        ),
        ("sensors/later.yaml", "kafka: { topic: a }\nemits: 7\n"),
        ("actions/ninth.yaml", "run: { emit: { trigger: demo.ping@9, payload: {} } }\n"),
        ("actions/builtin.yaml", "run: { builtin: echo }\n"),
        ("actions/code.yaml", "parameters: { a: string }\nrun: { shell: { script: 'echo ${{ params.a }}' } }\n"),
        ("actions/env.yaml", "run: { shell: { script: x, env: { A: '${{ keys[\"demo.token\"] }}' } } }\n"),
        ("actions/unlisted.yaml", "run: { shell: { script: x, env: { B: '${{ keys[\"demo.other\"] }}' } } }\n"),
        ("actions/host.yaml", "parameters: { a: string }\nrun: { http: { url: 'https://${{ params.a }}/' } }\n"),
        ("actions/fetch.yaml", "result: { id: integer }\nrun: { http: { url: 'https://example.test/' } }\n"),
        ("actions/shown.yaml", "run: { http: { url: 'https://example.test/${{ keys[\"demo.token\"] }}' } }\n"),
        ("actions/braces.yaml", "run: { http: { url: 'https://example.test/{{ params.a }}' } }\n"),
        ("actions/reach.yaml", "run: { http: { connection: orders, url: /items } }\n"),
        ("actions/relay.yaml", "parameters: { to: 'connection<smtp>' }\nrun: { http: { connection: '${{ params.to }}', url: /items } }\n"),
        ("actions/plain.py", "print()\n"),
        ("actions/plain.yaml", "run: { process: { command: [./plain.py] } }\ntimeout: soon\n"),
        ("actions/nowhere.yaml", "run: { process: { command: [./nowhere] } }\non_lost: panic\n"),
        ("actions/two.yaml", "run: { shell: { script: x }, builtin: echo }\n"),
        (
            "actions/steps.yaml",
            "run:\n  workflow:\n    steps:\n      a: { needs: nothing, action: core.noop, parallel: 2 }\n      b: { needs: [b], action: core.noop }\n      c: { action: demo.steps }\n",
        ),
        (
            "actions/ends.yaml",
            "run:\n  workflow:\n    steps:\n      a: { if: failed(), action: core.noop }\n      b: { action: core.echo, with: { message: '${{ steps.a.status }}' } }\n",
        ),
        ("actions/name.yaml", "parameters: { Name: string }\nrun: { shell: { script: x } }\n"),
        ("rules/all.yaml", "rules:\n  greet: { trigger: demo.ping, action: core.echo }\n"),
        ("rules/due.yaml", "schedule: { cron: 0 0 30 2 * }\naction: core.echo\n"),
        ("rules/needs.yaml", "action: core.echo\n"),
        ("rules/parameters.yaml", "trigger: demo.ping\naction: demo.ship\nwith: { count: many, colour: red }\n"),
        ("rules/quotes.yaml", "trigger: demo.ping\nwhen: \"a\" == b\naction: core.echo\n"),
        (
            "rules/reads.yaml",
            "trigger: demo.ping\nwhen: event.payload.x\naction: core.echo\nwith: { message: '${{ keys[\"demo.token\"] }}' }\n",
        ),
        (
            "rules/types.yaml",
            "trigger: demo.ping\nwhen: event.payload.host - 1 == 2 || event.payload.host == 7 || event.payload.host\naction: core.echo\n",
        ),
        ("rules/errs.yaml", "trigger: demo.ping\nwhen: size(event.payload.host) / 0 == 1\naction: core.echo\n"),
        ("rules/always.yaml", "trigger: demo.ping\nwhen: has(event.payload.host) || 1 > 2\naction: core.echo\n"),
        ("rules/missing.yaml", "trigger: demo.ping\nwhen: event.payload.load > 0.5\naction: core.echo\n"),
        ("rules/refs.yaml", "trigger: [demo.nothing, ping]\naction: demo.nothing\n"),
        ("rules/unknown.yaml", "whem: true\ntrigger: github.push\naction: core.echo\n"),
        ("rules/more/deep.yaml", "a: b\n"),
        (
            "tests/all.test.yaml",
            "- it: names no rule\n  given: { event: { trigger: demo.ping, payload: { host: 7 } } }\n  expect: [{ rule: demo.nothing }]\n\
             - it: mocks a step\n  run: { action: core.echo }\n  mocks: { echo: { expired: true } }\n  expect: {}\n",
        ),
    ]);
    broken.files.get_mut("triggers/bytes.yaml").unwrap().bytes = b"description: \xff\n".to_vec().into();
    let uses = PackSource::of(
        "packs/uses",
        [
            ("pack.yaml", "name: uses\nversion: 1.0.0\nconfig: { size: integer }\npermissions: []\n"),
            ("rules/a.yaml", "trigger: github.push\naction: demo.ship\nwith: { version: v1 }\n"),
        ],
    )
    .unwrap();
    let needy =
        PackSource::of("packs/needy", [("pack.yaml", "name: needy\nversion: 1.0.0\nrequires: { packs: { demo: '*' } }\n")]).unwrap();
    let circle =
        PackSource::of("packs/circle", [("pack.yaml", "name: circle\nversion: 1.0.0\nrequires: { packs: { circle: ^1 } }\n")]).unwrap();
    let mut again = demo(&[]);
    again.origin = "packs/again".into();
    let stray = PackSource::of("packs/stray", [("README.md", "")]).unwrap();
    let core = PackSource::of("packs/core", [("pack.yaml", "name: core\nversion: 9.0.0\n")]).unwrap();
    let checked = check_packs(&[broken, uses, needy, circle, again, stray, core], &[("demo", json!({ "owner": 7 }))]);

    let reported: BTreeSet<Code> = checked.diagnostics.iter().map(|one| one.code).collect();
    // The limit of shown findings has its own test below; lints do not run on packs with errors; the settings of the node are
    // compared with packs that have none; what is installed is known to the node alone; `effort.rs` has packs that are too much work.
    let of_others = |code: &Code| {
        matches!(code, Code::MoreLeftOut | Code::UrlUnset | Code::VersionLowered | Code::TooManyPatterns) || LINTS.contains(code)
    };
    let missing: Vec<&Code> = Code::ALL.iter().filter(|code| !reported.contains(code) && !of_others(code)).collect();
    assert!(missing.is_empty(), "{missing:?} were not reported");

    let places: Vec<_> = checked.diagnostics.iter().map(|one| (&one.file, one.span.start, one.code, &one.message)).collect();
    let once: BTreeSet<_> = places.iter().collect();
    assert_eq!(once.len(), places.len(), "no mistake is reported twice");
    assert!(checked.good.iter().all(|pack| ["core", "examples", "github"].contains(&pack.name.as_str())));
}

#[test]
fn errors_over_the_display_limit_are_counted() {
    let fields: String = (0..DIAGNOSTICS_MAX + 7).map(|number| format!("field_{number}: 1\n")).collect();
    let checked = check_packs(
        &[demo(&[("rules/a.yaml", "trigger: demo.ping\naction: core.echo # a warning\n"), ("triggers/many.yaml", &fields)])],
        &[],
    );
    assert_eq!(checked.diagnostics.len(), DIAGNOSTICS_MAX + 1);
    let last = &checked.diagnostics[DIAGNOSTICS_MAX];
    assert_eq!((last.code, last.message.as_str()), (Code::MoreLeftOut, "8 more diagnostics are not shown"));
    assert!(checked.has_errors() && checked.diagnostics[..DIAGNOSTICS_MAX].iter().all(|one| one.severity == Severity::Error));
    assert!(checked.diagnostics.iter().all(|one| one.pack.as_ref().is_some_and(|pack| pack.as_str() == "demo")));
}
