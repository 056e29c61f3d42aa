//! The fake vendor of a pack: what is read from its file, and what is reported about it.

use std::collections::BTreeMap;

use ensue_packs::cases::{CaseBackend, FakeCredentials};
use ensue_packs::fake::{Encoding, Segment};
use ensue_packs::{Colour, PackSource, library, tests};

use crate::support::{demo, shown_with};

const PACK: &str = "name: demo\nversion: 1.0.0\nconfig: { api: 'string = \"https://example.test\"' }\nkeys: [token]\n";
const GREET: (&str, &str) = ("rules/greet.yaml", "trigger: demo.ping\naction: core.echo\n");
const FAKE: &str = "\
keys: { token: right }
unauthorized: { status: 403 }
routes:
  - request: POST /items/{id}
    authorized: headers[\"authorization\"] == keys[\"demo.token\"]
    headers: { x-kind: ^a }
    encoding: form
    body: { type: object }
    answers:
      - { when: calls == 0, status: 503, headers: { Retry-After: '1' } }
      - { body: { id: '${{ path.id }}' } }
";
const CALL: &str =
    "run: { http: { connection: '${{ config.server }}', url: /items, without_connection: { url: '${{ config.api }}/items' } } }\n";
const CASE: &str = "- it: goes\n  real: true\n  keys: { token: wrong }\n  run: { action: demo.ship, with: { version: a } }\n  expect: {}\n";

fn findings_of_fake(fake: &str) -> String {
    shown_with(&[("pack.yaml", PACK), GREET, ("fake/server.yaml", fake), ("tests/a.test.yaml", CASE)])
}

#[test]
fn fake_vendor_is_read_with_its_routes_and_keys() {
    let pack = demo(&[("pack.yaml", PACK), GREET, ("fake/server.yaml", FAKE), ("tests/a.test.yaml", CASE)]);
    let packs: Vec<PackSource> = library().into_iter().chain([pack]).collect();
    let tested = tests(&packs, &BTreeMap::new());
    let reported: String = tested.diagnostics.iter().map(|one| one.render(Colour::Plain)).collect();
    assert_eq!(reported, "");
    let (_, suite) = tested.suites.last().unwrap();
    let fake = suite.fake.as_ref().unwrap();
    let [route] = fake.routes.as_slice() else { panic!("there is one route") };
    assert_eq!((fake.setting.as_str(), fake.unauthorized.status, fake.invalid.status), ("api", 403, 400));
    assert_eq!((route.line, route.method.as_str(), route.encoding), (4, "POST", Encoding::Form));
    assert_eq!(route.path, [Segment::Text("items".to_owned()), Segment::Any("id".to_owned())]);
    assert_eq!(route.answers[0].headers["retry-after"], "1");
    let keys = BTreeMap::from([("demo.token".parse().unwrap(), "wrong".to_owned())]);
    assert_eq!(suite.cases[0].against, CaseBackend::Fake { keys, over: FakeCredentials::Keys });
}

#[test]
fn errors_of_a_fake_vendor_are_reported_at_their_place() {
    let changed = |from: &str, to: &str| {
        assert!(FAKE.contains(from), "{from}");
        format!("{from} -> {to}\n\n{}", findings_of_fake(&FAKE.replace(from, to)))
    };
    let all = [
        changed("POST /items/{id}", "/items/{id}"),
        changed("keys: { token: right }", "keys: { tokem: right }"),
        changed("keys: { token: right }", "setting: url\nkeys: { token: right }"),
        changed("keys[\"demo.token\"]", "keys[\"demo.other\"]"),
        changed("path.id", "path.ib"),
        changed("{ x-kind: ^a }", "{ x-kind: '(' }"),
        changed("{ type: object }", "{ type: thing }"),
        changed("encoding: form", "encoding: xml"),
        changed("calls == 0", "calls"),
        changed("status: 503", "status: 99"),
        changed("keys: { token: right }", "auth: { bearer: { key: tokem } }"),
        changed("keys: { token: right }", "auth: {}"),
        changed("keys: { token: right }", "auth: { bearer: { key: token }, header: { name: x-a, value: { key: token } } }"),
    ];
    insta::assert_snapshot!(all.join("\n----\n"));
}

#[test]
fn real_case_needs_a_fake_vendor_and_has_no_mocks() {
    let of = |case: &str, fake: bool| {
        let mut files = vec![("pack.yaml", PACK), GREET, ("tests/a.test.yaml", case)];
        files.extend(fake.then_some(("fake/server.yaml", FAKE)));
        shown_with(&files)
    };
    let with_mocks = CASE.replace("  expect", "  mocks: { ship: { result: 1 } }\n  expect");
    let not_real = CASE.replace("  real: true\n", "");
    let all = [of(CASE, false), of(&with_mocks, true), of(&not_real, true), of(&CASE.replace("token", "tokem"), true)];
    insta::assert_snapshot!(all.join("\n----\n"));
}

#[test]
fn case_over_a_connection_needs_a_vendor_that_says_how_one_proves_itself() {
    let pack = PACK.replace("config: { ", "config: { server: 'connection<http>?', ");
    let of = |case: &str, fake: &str| {
        shown_with(&[("pack.yaml", &pack), GREET, ("actions/call.yaml", CALL), ("fake/server.yaml", fake), ("tests/a.test.yaml", case)])
    };
    let with_auth = format!("auth: {{ header: {{ name: x-token, prefix: 'Token ', value: {{ key: token }} }} }}\n{FAKE}");
    let case = CASE.replace("  real: true\n", "  real: true\n  connection: true\n");
    assert_eq!(of(&case, &with_auth), "");
    let not_real = case.replace("  real: true\n", "").replace("  keys: { token: wrong }\n", "");
    let all = [
        of(&case, FAKE),
        of(&not_real, &with_auth),
        of(&case.replace("connection: true", "connection: 7"), &with_auth),
        findings_of_fake(&with_auth),
    ];
    insta::assert_snapshot!(all.join("\n----\n"));
}

#[test]
fn other_yaml_beside_the_fake_vendor_is_an_error() {
    let shown = shown_with(&[("fake/service.yaml", "routes: []\n")]);
    assert!(shown.contains("the fake vendor must be in `fake/server.yaml`"), "{shown}");
}

#[test]
fn form_is_the_only_body_of_a_request() {
    let action = "run:\n  http:\n    url: https://example.test/\n    method: POST\n    form: { a: 1 }\n    json: { a: 1 }\n";
    let shown = shown_with(&[("actions/send.yaml", action)]);
    assert!(shown.contains("`form` cannot be sent together with `json` or `body`"), "{shown}");
}
