//! The YAML forms that silently change a meaning: each is reported, and the quoted form can be pasted.

use crate::support::shown_with;

fn rule_with(line: &str) -> String {
    let rule = format!("trigger: demo.ping\n{line}\naction: core.echo\n");
    shown_with(&[("rules/greet.yaml", &rule)])
}

fn trigger_with(line: &str) -> String {
    shown_with(&[("triggers/other.yaml", line)])
}

#[test]
fn plain_value_with_brackets_between_braces_is_quoted_in_the_hint() {
    let line = "  - { trigger: demo.ping, dedupe: headers[\"x-delivery\"], payload: { host: '${{ body.host }}' } }";
    let reported = shown_with(&[("sensors/hook.yaml", &format!("webhook: {{ verify: {{ scheme: none }} }}\nemits:\n{line}\n"))]);
    assert!(reported.contains("dedupe: 'headers[\"x-delivery\"]', payload: { host: '${{ body.host }}' } }"), "{reported}");
}

#[test]
fn any_whitespace_may_follow_a_value_in_the_hint() {
    for space in ["\t", "\u{b}", "\u{c}", "\u{85}", "\u{3000}"] {
        let line =
            format!("  - {{ trigger: demo.ping, dedupe: headers[\"x-delivery\"], payload{space}: {{ host: '${{{{ body.host }}}}' }} }}");
        let reported = shown_with(&[("sensors/hook.yaml", &format!("webhook: {{ verify: {{ scheme: none }} }}\nemits:\n{line}\n"))]);
        assert!(reported.contains("dedupe: 'headers[\"x-delivery\"]',"), "{reported}");
    }
}

#[test]
fn negation_is_not_parsed_as_a_tag() {
    insta::assert_snapshot!(rule_with("when: !event.payload.host.startsWith(\"a\")"));
}

#[test]
fn negated_parenthesis_is_not_parsed_as_a_tag_and_anchor() {
    insta::assert_snapshot!(rule_with("when: !(event.payload.host == 'a' && true)"));
}

#[test]
fn tag_on_a_mapping_is_reported_once() {
    insta::assert_snapshot!(rule_with("with: !include { message: hello }"));
}

#[test]
fn standard_yaml_tag_is_rejected() {
    insta::assert_snapshot!(rule_with("description: !!str 12"));
}

#[test]
fn alias_where_text_was_meant_is_reported() {
    insta::assert_snapshot!(rule_with("with: { message: '' }\ndescription: *bold* words"));
}

#[test]
fn other_syntax_errors_have_their_line() {
    let texts = [
        "payload:\n\ta: string\n",
        "description: \"open\n",
        "payload:\n  a: string\n b: string\n",
        "payload: { a: string\n",
        "index: [a\n",
        "description: one: two\n",
        "just words\n",
    ];
    let reported: Vec<String> = texts.iter().map(|text| trigger_with(text)).collect();
    insta::assert_snapshot!(reported.join("\n"));
}

#[test]
fn conditional_is_not_parsed_as_a_mapping() {
    insta::assert_snapshot!(rule_with("when: event.payload.load > 1 ? true : false"));
}

#[test]
fn comparison_that_begins_with_a_quoted_text_is_reported() {
    insta::assert_snapshot!(rule_with("when: \"a\" == event.payload.host"));
}

#[test]
fn comparison_with_both_quotes_is_shown_as_a_block() {
    insta::assert_snapshot!(rule_with("when: \"a\" == event.payload.host || event.payload.host == 'b'"));
}

#[test]
fn method_call_on_a_list_is_not_parsed_as_a_list() {
    insta::assert_snapshot!(rule_with("when: [1].size() > 0"));
}

#[test]
fn unquoted_expression_in_braces_is_reported() {
    insta::assert_snapshot!(rule_with("with: { message: ${{ event.payload.host }} }"));
}

#[test]
fn double_braces_alone_are_not_an_expression() {
    insta::assert_snapshot!(rule_with("when: {{ event.payload.host }}"));
}

#[test]
fn unquoted_optional_type_in_braces_is_reported() {
    insta::assert_snapshot!(trigger_with("payload: { note: string? }\n"));
}

#[test]
fn yes_is_reported_as_ambiguous() {
    insta::assert_snapshot!(shown_with(&[("actions/go.yaml", "run: { shell: { script: make } }\nidempotent: yes\n")]));
}

#[test]
fn on_is_reported_as_ambiguous() {
    insta::assert_snapshot!(rule_with("with: { message: on }"));
}

#[test]
fn number_is_refused_where_its_text_would_not_be_what_was_written() {
    insta::assert_snapshot!(shown_with(&[
        (
            "actions/build.yaml",
            "labels: { python: 3.10 }\nrun: { process: { command: [make], env: { PY: 3.10, N: 3 }, files: { F: 1.0, G: [1.0] } } }\n"
        ),
        (
            "actions/call.yaml",
            "run:\n  http:\n    url: https://example.test\n    headers: { x-version: 2.0 }\n    query: { v: [1.10, 1.5] }\n    form: { a: { b: 0.50 } }\n"
        ),
        ("actions/body.yaml", "run: { http: { url: https://example.test, json: { price: 1.50 } } }\n"),
    ]));
}

#[test]
fn number_that_a_parameter_may_use_as_text_is_refused() {
    let action = "action: core.shell\nwith: { script: 'echo \"$PY\"', env: { PY: 3.10, NODE: 18.0, LOAD: 0.5 } }\n";
    let schema = "{ type: object, properties: { env: { type: object, additionalProperties: { type: [string, number] } }, load: { type: number }, json: {} } }";
    insta::assert_snapshot!(shown_with(&[
        ("rules/greet.yaml", &format!("trigger: demo.ping\n{action}")),
        ("rules/typed.yaml", "trigger: demo.ping\naction: demo.ship\nwith: { version: 3.10 }\n"),
        ("rules/whole.yaml", "trigger: demo.ping\naction: demo.whole\nwith: { env: { PY: 3.10 }, load: 1.50, json: [1.0] }\n"),
        (
            "actions/whole.yaml",
            &format!(
                "parameters:\n  schema: {schema}\ntemplates: {{ old: {{ env: {{ PY: 2.70 }} }} }}\nrun: {{ shell: {{ script: make }} }}\n"
            )
        ),
        ("actions/long.yaml", "parameters: { env: { type: object, default: { PY: 3.10 } } }\nrun: { shell: { script: make } }\n"),
    ]));
}

const WHOLE: (&str, &str) = (
    "actions/whole.yaml",
    "parameters:\n  schema: { type: object, properties: { env: { type: object, additionalProperties: { type: [string, number] } } } }\n\
     run: { shell: { script: make } }\n",
);

fn whole_with(env: &str) -> String {
    let rule = format!("trigger: demo.ping\naction: demo.whole\nwith: {{ env: {{ {env} }} }}\n");
    shown_with(&[WHOLE, ("rules/whole.yaml", &rule)])
}

#[test]
fn expression_beside_a_number_does_not_hide_it_in_a_whole_schema() {
    let reported = whole_with("HOST: '${{ event.payload.host }}', PY: 3.10");
    assert!(reported.contains("`3.10` is a number, and becomes `3.1`"), "{reported}");
}

#[test]
fn all_numbers_of_a_whole_schema_are_checked() {
    let env: Vec<String> = (1..=50).map(|number| format!("V{number}: {number}.0")).collect();
    let reported = whole_with(&env.join(", "));
    assert_eq!(reported.matches("error[ambiguous_value]").count(), 50, "{reported}");
    assert_eq!(whole_with("PY: 3.1, V: 50"), "");
}

#[test]
fn number_below_alternatives_of_a_whole_schema_is_checked() {
    let env = "anyOf: [{ type: object, additionalProperties: { type: [string, number] } }, { type: 'null' }]";
    let schema =
        format!("{{ type: object, properties: {{ env: {{ {env} }}, load: {{ oneOf: [{{ type: number }}, {{ type: 'null' }}] }} }} }}");
    let action = format!("parameters:\n  schema: {schema}\nrun: {{ shell: {{ script: make }} }}\n");
    let rule = "trigger: demo.ping\naction: demo.either\nwith: { env: { PY: 3.10, NODE: 18.0, V: 1.5 }, load: 2.0 }\n";
    let reported = shown_with(&[("actions/either.yaml", &action), ("rules/either.yaml", rule)]);
    assert!(reported.contains("`3.10` is a number") && reported.contains("`18.0` is a number"), "{reported}");
    assert_eq!(reported.matches("error[").count(), 2, "{reported}");
}

#[test]
fn number_in_an_object_of_a_default_is_refused() {
    let of =
        |env: &str| shown_with(&[("actions/go.yaml", &format!("parameters: {{ env: {env} }}\nrun: {{ shell: {{ script: make }} }}\n"))]);
    insta::assert_snapshot!(
        [
            "{ type: [object], default: [{ PY: 3.10 }] }",
            "'object = {\"PY\": 3.10}'",
            "'object = {\"a\": [true, {\"PY\": 1e3}]}'",
            "'[object] = [{\"PY\": 18.0}]'",
        ]
        .map(of)
        .join("\n")
    );
    for exact in ["'object = {\"PY\": 3.1, \"A\": \"3.10\"}'", "'number = 3.10'", "'any = {\"PY\": 3.10}'"] {
        assert_eq!(of(exact), "", "{exact}");
    }
}

#[test]
fn number_with_a_leading_zero_is_reported() {
    insta::assert_snapshot!(rule_with("priority: 012"));
}

#[test]
fn underscore_in_a_number_is_reported() {
    insta::assert_snapshot!(rule_with("with: { message: 1_000 }"));
}

#[test]
fn unquoted_date_is_reported() {
    insta::assert_snapshot!(rule_with("with: { message: 2026-03-28 }"));
}

#[test]
fn empty_field_is_distinguished_from_an_absent_one() {
    insta::assert_snapshot!(rule_with("when:"));
}

#[test]
fn text_cut_by_a_comment_is_a_warning() {
    insta::assert_snapshot!(rule_with("description: Fix #12"));
}

#[test]
fn duplicate_key_is_reported() {
    insta::assert_snapshot!(rule_with("trigger: github.push"));
}

#[test]
fn merge_key_is_reported() {
    insta::assert_snapshot!(rule_with("with:\n  <<: { message: hello }"));
}

#[test]
fn alias_without_an_anchor_is_reported() {
    insta::assert_snapshot!(rule_with("when: *everything"));
}

#[test]
fn unquoted_list_type_with_a_suffix_is_reported() {
    insta::assert_snapshot!(trigger_with("payload:\n  regions: [string] = [\"eu\"]\n  notes: [string]?\n"));
}

#[test]
fn second_document_in_a_file_is_reported() {
    insta::assert_snapshot!(trigger_with("description: One.\n---\ndescription: Two.\n"));
}

#[test]
fn empty_file_is_reported() {
    insta::assert_snapshot!(trigger_with("# nothing yet\n"));
}

#[test]
fn several_syntax_errors_are_reported_in_one_run() {
    insta::assert_snapshot!(rule_with("when: a ? b : c\nwith: { message: ${{ x }} }\ndescription: \"a\" b"));
}

#[test]
fn alias_bomb_is_rejected() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let previous = format!("*a{}", level - 1);
        text.push_str(&format!("a{level}: &a{level} [{}]\n", [previous.as_str(); 9].join(", ")));
    }
    let reported = trigger_with(&text);
    assert!(reported.contains("error[file_too_large]") || reported.contains("error[yaml_alias]"), "{reported}");
}

#[test]
fn endlessly_nested_file_is_rejected() {
    for text in ["[".repeat(100_000), format!("a: {}", "{a: ".repeat(200)), "- ".repeat(5_000)] {
        let reported = trigger_with(&text);
        assert!(reported.contains("error["), "{reported}");
    }
}

#[test]
fn file_over_a_megabyte_is_rejected() {
    let reported = trigger_with(&format!("description: {}\n", "x".repeat(1 << 20)));
    assert!(reported.contains("error[file_too_large]"), "{reported}");
}

#[test]
fn yaml_attacks_are_reported_without_reading_or_running_anything() {
    let anchors: String = (0..50_000).map(|at| format!("a{at}: &a{at} x\n")).collect();
    let aliases = format!("a: &a x\nb: [{}]\n", ["*a"; 100_000].join(", "));
    for (name, text, code) in [
        ("fifty thousand anchors", anchors.as_str(), "unknown_field"),
        ("a hundred thousand aliases", aliases.as_str(), "yaml_alias"),
        ("an alias to what it stands in", "description: &a [*a]\n", "yaml_alias"),
        ("an object of another language", "description: !!python/object/apply:os.system ['true']\n", "yaml_tag"),
        ("a file to be read in", "description: !include /etc/passwd\n", "yaml_tag"),
        ("a key that is given twice", "description: a\ndescription: b\n", "duplicate_key"),
        ("a mapping merged in", "payload:\n  <<: { a: string }\n", "yaml_merge_key"),
        ("a word that some read as false", "payload: { a: no }\n", "ambiguous_value"),
        ("a number beyond all", "payload:\n  schema: { type: number, maximum: 1e400 }\n", "ambiguous_value"),
        ("a second document", "description: a\n---\ndescription: b\n", "several_documents"),
        ("a tab as indentation", "payload:\n\ta: string\n", "yaml_syntax"),
        ("a directive", "%YAML 1.1\n---\ndescription: a\n", "yaml_syntax"),
        ("ten thousand levels", &format!("payload: {}", "[".repeat(10_000)), "file_too_large"),
        ("ten thousand levels of blocks", &format!("payload:\n  {}", "- ".repeat(10_000)), "file_too_large"),
        ("ten thousand question marks", &"? ".repeat(10_000), "complex_key"),
    ] {
        let reported = trigger_with(text);
        let cut: String = reported.chars().take(400).collect();
        assert!(reported.contains(&format!("error[{code}]")), "{name}: {cut}");
    }
}
