//! Mistakes in what a webhook accepts and replies, as the author sees them.

use std::collections::BTreeMap;

use ensue_packs::{Colour, check, library, url_findings};

use crate::support::{demo, shown_with};

fn hook(webhook: &str) -> String {
    let fields: String = webhook.lines().map(|line| format!("  {line}\n")).collect();
    let sensor = format!("webhook:\n  verify: {{ scheme: github, key: demo.token }}\n{fields}emits:\n  - trigger: demo.ping\n");
    shown_with(&[("sensors/hook.yaml", &sensor)])
}

fn list_findings(mistakes: &[&str]) -> String {
    mistakes.iter().map(|webhook| format!("── {webhook}\n{}\n", hook(webhook))).collect()
}

#[test]
fn wrong_limits_of_a_webhook_are_reported() {
    insta::assert_snapshot!(list_findings(&[
        "accept: [xml]",
        "accept: [json, json]",
        "methods: [PATCH]",
        "path: rooms",
        "path: /{room}/{room}",
        "allow: [10.0.0.1]",
        "headers: []",
        "rate: 600/m",
        "body_max: 0",
        "body_max: 33554433",
        "types: { csp-report: json }",
        "types: { application/csp-report: xml }",
        "charset: ebcdic",
        "invalid: ignore",
        "decode: 1 + 1",
    ]));
}

#[test]
fn content_types_whose_names_differ_in_case_only_are_an_error() {
    let reported = hook("types:\n  application/csp-report: json\n  Application/CSP-Report: text");
    assert!(reported.contains("error[duplicate_key]: `Application/CSP-Report` is there twice"), "{reported}");
    assert!(reported.contains("sensors/hook.yaml:5:5"), "{reported}");
    let reported = hook("types: { CSP-Report: json }");
    assert!(reported.contains("`CSP-Report` is not a content type"), "{reported}");
}

#[test]
fn wrong_replies_are_reported() {
    insta::assert_snapshot!(list_findings(&[
        "reply: []",
        "reply:\n  - wait: 2s\n    body: a\n  - body: b",
        "reply:\n  - wait: 26s\n    body: a",
        "reply:\n  - late: { body: a }",
        "reply:\n  - unproven: true\n    wait: 2s",
        "reply:\n  - unproven: true\n    body: ${{ body.x }}",
        "reply:\n  - headers: { Set-Cookie: a }",
        "reply:\n  - status: 100",
        "reply:\n  - wait: 2s\n    body: ${{ body.x }}",
        "reply:\n  - wait: 2s\n    rule: demo.nothing\n    body: a",
    ]));
}

#[test]
fn header_that_is_never_there_is_an_error() {
    let reported = |verify: &str, reads: &str| {
        let sensor = format!("webhook:\n  verify: {verify}\nemits:\n  - trigger: demo.ping\n    when: {reads}\n");
        shown_with(&[("sensors/hook.yaml", &sensor)])
    };
    let (github, header) = ("{ scheme: github, key: demo.token }", "{ scheme: header, header: X-Shop, key: demo.token }");
    insta::assert_snapshot!(
        [
            reported(github, "'\"authorization\" in headers'"),
            reported(header, "has(headers.Cookie)"),
            reported(header, "'headers[?\"x-shop\"].orValue(\"\") == \"a\"'"),
            reported(github, "'headers[\"X-GitHub-Event\"] == \"push\"'"),
        ]
        .join("\n")
    );
    for (verify, reads) in
        [(github, "'\"x-shop\" in headers'"), (header, "'headers[\"x-github-event\"] == \"push\"'"), (header, "headers.size() > 3")]
    {
        assert!(!reported(verify, reads).contains("unknown_read"), "{}", reported(verify, reads));
    }
}

#[test]
fn path_has_only_its_parameters() {
    let reported = hook("path: /{room}\nreply:\n  - when: path.hall == 'a'\n    body: a");
    assert!(reported.contains("hall"), "{reported}");
}

#[test]
fn wait_without_dedupe_is_a_warning_unless_repeats_are_recognized() {
    let of = |verify: &str, emit: &str| {
        let reply = "  reply:\n    - wait: 2s\n      body: ${{ result }}\n";
        shown_with(&[("sensors/hook.yaml", &format!("webhook:\n  verify: {verify}\n{reply}emits:\n  - trigger: demo.ping\n{emit}"))])
    };
    assert_eq!(of("{ scheme: github, key: demo.token }", ""), "");
    assert_eq!(of("{ scheme: bearer, key: demo.token }", "    dedupe: body.id\n"), "");
    let reported = of("{ scheme: bearer, key: demo.token }", "");
    assert!(reported.contains("warning[wait_without_dedupe]"), "{reported}");
}

#[test]
fn reply_that_names_no_rule_is_a_warning_if_several_could_answer() {
    let rule = "trigger: demo.ping\naction: core.noop\n";
    let of = |wait: &str, rules: &[&str]| {
        let sensor = format!(
            "webhook:\n  verify: {{ scheme: github, key: demo.token }}\n  reply:\n    - wait: 2s\n{wait}      body: a\nemits:\n  - trigger: demo.ping\n"
        );
        let files: Vec<(&str, &str)> = rules.iter().map(|name| (*name, rule)).chain([("sensors/hook.yaml", sensor.as_str())]).collect();
        shown_with(&files)
    };
    let (first, second) = ("rules/first.yaml", "rules/second.yaml");
    assert_eq!(of("", &[]), "", "the pack has one rule on the trigger");
    assert_eq!(of("      rule: demo.first\n", &[first, second]), "");
    let reported = of("", &[first]);
    assert!(reported.contains("warning[reply_rule_unnamed]") && reported.contains("`demo.first`, `demo.greet`"), "{reported}");
}

#[test]
fn webhook_whose_senders_sign_the_url_needs_one() {
    let verify = |verify: &str| format!("webhook: {{ verify: {verify} }}\nemits:\n  - trigger: demo.ping\n    payload: {{ host: a }}\n");
    let of_body = verify("{ scheme: github, key: demo.token }");
    let of_url = verify("{ scheme: twilio, key: demo.token }");
    let pack = demo(&[("sensors/call.yaml", &of_url), ("sensors/push.yaml", &of_body)]);
    let checked = check(&library().into_iter().chain([pack]).collect::<Vec<_>>(), &BTreeMap::new());
    let found: String = url_findings(&checked.good).iter().map(|one| one.render(Colour::Plain)).collect();
    insta::assert_snapshot!(found);
}

#[test]
fn header_with_credentials_is_not_kept() {
    let kept = |names: &str| {
        let sensor = format!("webhook:\n  verify: {{ scheme: none }}\n  headers: {names}\nemits:\n  - trigger: demo.ping\n");
        let packs = [library(), vec![demo(&[("sensors/hook.yaml", &sensor)])]].concat();
        check(&packs, &BTreeMap::new()).diagnostics.into_iter().map(|one| one.message).collect::<Vec<_>>()
    };
    assert!(!kept("[X-Shop-Id, stripe-account]").iter().any(|message| message.contains("header")));
    for name in ["Cookie", "authorization", "Proxy-Authorization"] {
        let told = kept(&format!("[x-shop-id, {name}]"));
        assert!(told.iter().any(|message| message.contains("kept nowhere")), "{told:?}");
    }
}
