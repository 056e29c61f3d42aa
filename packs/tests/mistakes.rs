//! Every kind of error that an author can make beyond YAML, as the author sees it.

use crate::support::{check_packs, demo, findings_of, render_findings, shown_with};
use ensue_packs::PackSource;
use serde_json::json;

fn rule(text: &str) -> String {
    shown_with(&[("rules/greet.yaml", text)])
}

fn action(text: &str) -> String {
    shown_with(&[("actions/go.yaml", text)])
}

fn sensor(text: &str) -> String {
    shown_with(&[("sensors/hook.yaml", text)])
}

/// The findings of each of several errors.
fn list_findings(mistakes: &[(&str, String)]) -> String {
    mistakes.iter().map(|(what, reported)| format!("── {what}\n{reported}\n")).collect()
}

fn pack(text: &str) -> String {
    shown_with(&[("pack.yaml", text)])
}

mod shape {
    use super::*;

    #[test]
    fn unknown_field_error_suggests_the_nearest_one() {
        insta::assert_snapshot!(rule("trigger: demo.ping\nwhem: true\naction: core.echo\n"));
    }

    #[test]
    fn unknown_field_without_a_near_match_lists_all_fields() {
        insta::assert_snapshot!(rule("trigger: demo.ping\ncolour: red\naction: core.echo\n"));
    }

    #[test]
    fn field_of_a_later_release_is_reported_as_such() {
        insta::assert_snapshot!(rule("trigger: demo.ping\nlabels: { team: core }\nsteps:\n  one: { action: core.echo }\n"));
    }

    #[test]
    fn retry_settings_are_checked() {
        insta::assert_snapshot!(action(
            "run: { shell: { script: make } }\nretry: { attempts: 200, when: 'error.kind != \"exit\"', delay: 2 s }\n"
        ));
    }

    #[test]
    fn runner_of_a_later_release_is_reported_as_such() {
        insta::assert_snapshot!(action("run:\n  docker: { image: alpine }\nconcurrency: { limit: 3 }\n"));
    }

    #[test]
    fn sensor_source_of_a_later_release_is_reported_as_such() {
        insta::assert_snapshot!(sensor("kafka: { topic: a }\nemits:\n  - trigger: demo.ping\n"));
    }

    #[test]
    fn schedule_replaces_the_trigger() {
        insta::assert_snapshot!(rule("trigger: { schedule: { cron: '0 9 * * 1-5' } }\naction: core.echo\n"));
    }

    #[test]
    fn invalid_schedule_of_a_rule_is_reported() {
        let due = |schedule: &str| rule(&format!("schedule: {schedule}\naction: core.echo\n"));
        insta::assert_snapshot!(list_findings(&[
            ("a wrong expression", due("{ cron: '0 25 * * *', timezone: Europe/Berlin }")),
            ("one in double quotes", due("{ cron: \"0 9 * * MON-FRY\" }")),
            ("too few fields", due("{ cron: 0 9 * * }")),
            ("a day that there never is", due("{ cron: 0 0 30 2 * }")),
            ("no such zone", due("{ cron: 0 9 * * 1, timezone: Europe/Berlni }")),
            ("a time of no zone", due("{ at: '2026-12-24T18:00:00' }")),
            ("no time", due("{ at: tomorrow }")),
            ("far too often", due("{ every: 10ms }")),
            ("no duration", due("{ every: 1w }")),
            ("a jitter over the period", due("{ every: 10s, jitter: 11s }")),
            ("a jitter over the shortest gap", due("{ cron: '0,5 3 * * *', jitter: 6m }")),
            ("an unknown word", due("{ every: 1h, misfire: fire_onec }")),
            ("a grace without skip", due("{ every: 1h, grace: 5m }")),
            ("a grace of no second", due("{ every: 1h, misfire: skip, grace: 10ms }")),
            ("a number without fire_all", due("{ every: 1h, misfire: skip, missed_max: 5 }")),
            ("too many at once", due("{ every: 1h, misfire: fire_all, missed_max: 1001 }")),
            ("two at once", due("{ every: 1h, cron: '@daily' }")),
            ("nothing", due("{ jitter: 5s }")),
            ("a zone of no clock", due("{ every: 1h, timezone: UTC }")),
            ("beside a trigger", rule("trigger: demo.ping\nschedule: { every: 1h }\naction: core.echo\n")),
            ("the engine's own trigger", rule("trigger: core.schedule\naction: core.echo\n")),
            ("a field that its event has not", due("{ every: 1h }\nwhen: event.payload.at == ''")),
        ]));
    }

    #[test]
    fn invalid_timer_of_a_sensor_is_reported() {
        let timer = |rest: &str| sensor(&format!("timer: {{ every: 1h }}\n{rest}"));
        insta::assert_snapshot!(list_findings(&[
            ("beside a webhook", timer("webhook: { verify: { scheme: none } }\nemits:\n  - trigger: demo.ping\n")),
            (
                "a key for once",
                timer("emits:\n  - trigger: demo.ping\n    dedupe: scheduled_at\n    payload: { host: '${{ scheduled_at }}' }\n")
            ),
            ("what only a delivery has", timer("emits:\n  - trigger: demo.ping\n    payload: { host: '${{ body.host }}' }\n")),
            ("of the wrong type", timer("emits:\n  - trigger: demo.ping\n    payload: { host: '${{ late_seconds }}' }\n")),
        ]));
    }

    #[test]
    fn misspelled_or_empty_field_is_not_also_reported_as_missing() {
        insta::assert_snapshot!(rule("triger: demo.ping\naction:\n"));
    }

    #[test]
    fn missing_required_fields_are_reported() {
        insta::assert_snapshot!(rule("description: Nothing.\n"));
    }

    #[test]
    fn rule_must_be_a_mapping() {
        insta::assert_snapshot!(rule("- trigger: demo.ping\n"));
    }

    #[test]
    fn values_must_have_their_type() {
        insta::assert_snapshot!(rule("description: 12\nmode: on_hold\ntrigger: 7\nwith: hello\naction: core.echo\npriority: 101\n"));
    }

    #[test]
    fn action_has_exactly_one_runner() {
        insta::assert_snapshot!(action("run:\n  shell: { script: make }\n  http: { url: 'https://example.test/' }\n"));
    }

    #[test]
    fn action_without_a_runner_is_reported() {
        insta::assert_snapshot!(action("run: {}\n"));
    }

    #[test]
    fn duration_without_a_unit_is_reported() {
        insta::assert_snapshot!(action("run: { shell: { script: make } }\ntimeout: '10'\ngrace: 1 day\n"));
    }

    #[test]
    fn zero_timeout_is_reported() {
        insta::assert_snapshot!(action("run: { shell: { script: make } }\ntimeout: 0s\n"));
    }

    #[test]
    fn duplicate_trigger_in_a_list_is_reported() {
        insta::assert_snapshot!(rule("trigger: [demo.ping, demo.ping]\naction: core.echo\n"));
    }

    #[test]
    fn names_must_be_usable_in_expressions() {
        insta::assert_snapshot!(action("parameters:\n  Region-Name: string\nlocal: { in: '1' }\nrun: { shell: { script: make } }\n"));
    }

    #[test]
    fn misplaced_files_are_reported() {
        insta::assert_snapshot!(shown_with(&[
            ("rule/greet.yaml", "trigger: demo.ping\n"),
            ("rules/more/deep.yaml", "trigger: demo.ping\n"),
            ("rules/notes.txt", ""),
            ("rules/other.yml", "trigger: demo.ping\n"),
            ("rules/Bad-Name.yaml", "trigger: demo.ping\n"),
            ("extra.yaml", "a: 1\n"),
            ("tests/greet.yaml", "- it: greets\n"),
        ]));
    }

    #[test]
    fn file_of_several_definitions_has_nothing_else() {
        insta::assert_snapshot!(rule(
            "description: Two rules.\nrules:\n  one: { trigger: demo.ping, action: core.echo }\n  One: { trigger: demo.ping, action: core.echo }\n"
        ));
    }

    #[test]
    fn duplicate_name_is_reported() {
        insta::assert_snapshot!(shown_with(&[("rules/all.yaml", "rules:\n  greet: { trigger: demo.ping, action: core.echo }\n")]));
    }

    #[test]
    fn test_that_is_not_yaml_is_reported() {
        insta::assert_snapshot!(shown_with(&[(
            "tests/greet.test.yaml",
            "- it: \"a\" b\n  given: { event: { trigger: demo.ping } }\n  expect: []\n"
        )]));
    }

    #[test]
    fn file_that_is_not_utf_8_is_reported() {
        let mut source = demo(&[]);
        source.files.get_mut("rules/greet.yaml").unwrap().bytes = b"trigger: \xff\n".to_vec().into();
        insta::assert_snapshot!(findings_of(&[source]));
    }
}

mod schemas {
    use super::*;

    #[test]
    fn unknown_type_is_reported() {
        insta::assert_snapshot!(action(
            "parameters:\n  a: strng\n  b: int\n  c: string | integer\n  d: 7\n  e: [string, string]\n  f: string = abc\n  g: integer = \"x\"\n  h: string? = \"x\"\nrun: { shell: { script: make } }\n"
        ));
    }

    #[test]
    fn inconsistent_long_form_is_reported() {
        insta::assert_snapshot!(action(
            "parameters:\n  a: { type: string, pattern: '(' }\n  b: { type: integer, pattern: x }\n  c: { type: integer, x-ensue: code }\n  d: { type: string, default: x, optional: true }\n  e: { typ: string }\n  f: { type: string, pattern: '(?=a)' }\nrun: { shell: { script: make } }\n"
        ));
    }

    #[test]
    fn json_schema_must_be_valid_and_the_only_field() {
        insta::assert_snapshot!(shown_with(&[
            ("triggers/a.yaml", "payload:\n  schema: { type: object }\n  host: string\n"),
            ("triggers/b.yaml", "payload:\n  schema:\n    type: object\n    properties:\n      a: { type: strng }\n"),
            ("triggers/c.yaml", "payload:\n  schema: { $ref: 'https://example.test/s.json' }\n"),
        ]));
    }

    #[test]
    fn index_must_be_a_field_of_the_payload() {
        insta::assert_snapshot!(shown_with(&[("triggers/ping.yaml", "payload:\n  host: string\nindex: [hots]\n")]));
    }
}

mod refs {
    use super::*;

    #[test]
    fn unknown_trigger_and_action_are_reported() {
        insta::assert_snapshot!(rule("trigger: [demo.pign, github.push]\naction: core.ecko\n"));
    }

    #[test]
    fn ref_without_a_pack_is_reported() {
        insta::assert_snapshot!(rule("trigger: ping\naction: ship\nwith: { version: v1 }\n"));
    }

    #[test]
    fn missing_pack_is_reported() {
        insta::assert_snapshot!(rule("trigger: demo.ping\naction: chat.post\n"));
    }

    #[test]
    fn own_trigger_of_a_later_release_is_reported_as_such() {
        insta::assert_snapshot!(rule("trigger: core.backlog_high\naction: core.echo\n"));
    }

    #[test]
    fn packs_cannot_emit_the_engine_s_own_triggers() {
        let hints = [("core.execution_ended", "define a trigger in this pack"), ("core.schedule", "to run a rule on a schedule")];
        for (trigger, hint) in hints {
            let emitted = action(&format!("run: {{ emit: {{ trigger: {trigger} }} }}\n"));
            let sensed = sensor(&format!("timer: {{ every: 1h }}\nemits:\n  - trigger: {trigger}\n"));
            for reported in [emitted, sensed] {
                assert!(reported.contains(&format!("only the engine can create events of its own trigger `{trigger}`")), "{reported}");
                assert!(reported.contains(hint), "{reported}");
            }
        }
    }

    #[test]
    fn parser_error_within_a_character_is_reported() {
        let reported =
            action("run:\n  workflow:\n   \n      b: { needs: [a] }\n      c:\u{7c4}\u{7d1}eeds: c, with: { version: '${{ item }}' } }\n");
        assert!(reported.contains(":5:"), "{reported}");
    }

    #[test]
    fn action_ref_cannot_be_an_expression() {
        insta::assert_snapshot!(rule("trigger: demo.ping\naction: ${{ event.payload.host }}\n"));
    }

    #[test]
    fn requirements_of_a_pack_are_checked() {
        insta::assert_snapshot!(pack(
            "name: demo\nversion: 1.0\nrequires: { ensue: '>=9', packs: { githab: ^1, github: ^3, core: newest }, programs: { python3: '>=3' } }\nkeys: [other.key, Bad]\n"
        ));
    }

    #[test]
    fn undeclared_mutual_use_of_packs_is_a_cycle() {
        let uses = |name: &str, other: &str| {
            let files = [
                ("pack.yaml".to_owned(), format!("name: {name}\nversion: 1.0.0\n")),
                ("triggers/one.yaml".to_owned(), "payload: {}\n".to_owned()),
                ("rules/go.yaml".to_owned(), format!("trigger: {other}.one\naction: core.noop\n")),
            ];
            ensue_packs::PackSource::of(format!("packs/{name}"), files.iter().map(|(path, text)| (path.as_str(), text.clone()))).unwrap()
        };
        let checked = check_packs(&[uses("left", "right"), uses("right", "left")], &[]);
        let reported: Vec<_> = checked.diagnostics.iter().filter(|one| one.code == ensue_packs::Code::PackCycle).collect();
        assert!(matches!(reported.as_slice(), [one] if one.message.contains("`left` → `right` → `left`")), "{:?}", checked.diagnostics);
        assert!(checked.good.iter().all(|good| !["left", "right"].contains(&good.name.as_str())));
    }

    #[test]
    fn sensor_without_a_source_names_all_kinds() {
        let reported = sensor("emits:\n  - trigger: demo.ping\n");
        assert!(
            reported.contains("a sensor needs `webhook`, `timer`, `process`, `poll` or `file`")
                && reported.contains("timer: { every: 5m }"),
            "{reported}"
        );
    }

    #[test]
    fn one_file_may_define_several_sensors() {
        let one = "timer: { every: 5m }, emits: [{ trigger: demo.ping, payload: { host: a } }]";
        assert_eq!(sensor(&format!("sensors:\n  a: {{ {one} }}\n  b: {{ {one} }}\n")), "");
    }

    #[test]
    fn unknown_scheme_lists_the_known_ones() {
        let reported = sensor("webhook: { verify: { scheme: token } }\nemits:\n  - trigger: demo.ping\n");
        assert!(reported.contains("use one of `basic`, `bearer`"), "{reported}");
    }

    #[test]
    fn undeclared_dependency_on_a_pack_is_reported() {
        let text = "name: demo\nversion: 1.0.0\n";
        insta::assert_snapshot!(shown_with(&[("pack.yaml", text), ("rules/greet.yaml", "trigger: github.push\naction: core.echo\n"),]));
    }

    #[test]
    fn folder_without_a_pack_file_is_reported() {
        let source = PackSource::of("packs/stray", [("rules/a.yaml", "trigger: b\nwhem: c\n")]).unwrap();
        insta::assert_snapshot!(findings_of(&[source]));
    }

    #[test]
    fn library_packs_cannot_be_replaced_and_names_are_unique() {
        let core = PackSource::of("packs/core", [("pack.yaml", "name: core\nversion: 9.0.0\n")]).unwrap();
        let mut again = demo(&[]);
        again.origin = "packs/again".into();
        insta::assert_snapshot!(findings_of(&[core, demo(&[]), again]));
    }

    #[test]
    fn pack_that_needs_an_invalid_one_is_rejected() {
        let broken = demo(&[("rules/greet.yaml", "whem: true\ntrigger: demo.ping\naction: core.echo\n")]);
        let needy = PackSource::of(
            "packs/needy",
            [
                ("pack.yaml", "name: needy\nversion: 1.0.0\nrequires: { packs: { demo: ^1 } }\n"),
                ("rules/a.yaml", "trigger: demo.ping\naction: core.echo\n"),
            ],
        )
        .unwrap();
        let free = PackSource::of("packs/free", [("pack.yaml", "name: free\nversion: 1.0.0\n")]).unwrap();
        let checked = check_packs(&[broken, needy, free], &[]);
        let good: Vec<&str> = checked.good.iter().map(|pack| pack.name.as_str()).collect();
        assert_eq!(good, ["core", "examples", "free", "github"]);
        insta::assert_snapshot!(render_findings(&checked));
    }

    #[test]
    fn operator_s_settings_are_checked() {
        let pack = demo(&[("pack.yaml", "name: demo\nversion: 1.0.0\nconfig: { owner: string, size: integer = 3 }\n")]);
        insta::assert_snapshot!(render_findings(&check_packs(&[pack], &[("demo", json!({ "ownr": "acme", "size": "big" }))])));
    }

    #[test]
    fn settings_of_an_unknown_pack_are_reported() {
        insta::assert_snapshot!(render_findings(&check_packs(&[demo(&[])], &[("dmeo", json!({}))])));
    }
}

mod parameters {
    use super::*;

    #[test]
    fn parameters_of_an_action_are_checked() {
        insta::assert_snapshot!(rule("trigger: demo.ping\naction: demo.ship\nwith:\n  versoin: v1\n  count: many\n"));
    }

    #[test]
    fn missing_required_parameter_is_reported() {
        insta::assert_snapshot!(rule("trigger: demo.ping\naction: demo.ship\n"));
    }

    #[test]
    fn text_around_an_expression_makes_a_text() {
        insta::assert_snapshot!(rule(
            "trigger: demo.ping\naction: demo.ship\nwith:\n  version: ${{ event.payload.host }}\n  count: n${{ event.payload.host }}\n"
        ));
    }

    #[test]
    fn emitted_payload_is_checked_against_its_trigger() {
        insta::assert_snapshot!(shown_with(&[
            (
                "sensors/hook.yaml",
                "webhook: { verify: { scheme: github, key: demo.token } }\nemits:\n  - trigger: demo.ping\n    payload: { load: much }\n"
            ),
            ("actions/tell.yaml", "run:\n  emit: { trigger: demo.ping }\n"),
        ]));
    }
}

mod expressions {
    use super::*;

    #[test]
    fn error_is_shown_at_its_place_in_every_yaml_style() {
        insta::assert_snapshot!(shown_with(&[
            ("rules/a.yaml", "trigger: demo.ping\nwhen: |\n  event.payload.host == \"a\"\n    && nonsense.x\naction: core.echo\n"),
            ("rules/b.yaml", "trigger: demo.ping\nwhen: 'event.payload.host == ''a'' && nonsense.x'\naction: core.echo\n"),
            ("rules/c.yaml", "trigger: demo.ping\nwhen: \"event.payload.host == \\\"a\\\" && nonsense.x\"\naction: core.echo\n"),
            ("rules/d.yaml", "trigger: demo.ping\nwhen: event.payload.host == 'a' && nonsense.x\naction: core.echo\n"),
            ("rules/e.yaml", "trigger: demo.ping\nwhen: >-\n  event.payload.host == 'a'\n  && nonsense.x\naction: core.echo\n"),
            ("rules/f.yaml", "trigger: demo.ping\nwhen: ${{ nonsense.x }}\naction: core.echo\n"),
            ("rules/g.yaml", "trigger: demo.ping\naction: core.echo\nwith: { message: ['ä ${{ 1 +}}', \"${{ nonsense.x }}\"] }\n"),
        ]));
    }

    #[test]
    fn unknown_field_of_a_schema_is_reported() {
        insta::assert_snapshot!(shown_with(&[
            (
                "rules/greet.yaml",
                "trigger: demo.ping\nwhen: |\n  event.payload.hots == config.ownr\n    && event.tigger == rule.name\nlocal:\n  a: local.b\n  b: local.a\naction: core.echo\nwith: { message: '${{ local.c }} ${{ event.payload.laod }}' }\n"
            ),
            (
                "actions/go.yaml",
                "parameters: { region: string }\nrun:\n  shell:\n    script: make\n    env: { REGION: '${{ params.regoin }}', RUN: '${{ execution.number }}', WHO: '${{ config.owner }}' }\n"
            ),
        ]));
    }

    #[test]
    fn field_missing_in_one_of_several_triggers_is_reported() {
        insta::assert_snapshot!(shown_with(&[
            ("triggers/other.yaml", "payload: { name: string }\n"),
            ("rules/greet.yaml", "trigger: [demo.ping, demo.other]\nwhen: event.payload.host == 'a'\naction: core.echo\n"),
        ]));
    }

    #[test]
    fn vars_are_readable_only_in_rules_and_actions() {
        insta::assert_snapshot!(shown_with(&[
            ("rules/a.yaml", "trigger: demo.ping\nwhen: vars[\"sync.cursor\"] == 'a' && vars[?\"n\"].orValue(0) > 1\naction: core.echo\n"),
            (
                "actions/go.yaml",
                "local: { n: 'vars.n' }\nconcurrency: { limit: 1, key: vars.n }\nretry: { attempts: 2, when: vars.n == 1 }\nrun:\n  shell:\n    script: make\n    env: { A: '${{ vars.n }}' }\n"
            ),
            (
                "sensors/hook.yaml",
                "webhook: { verify: { scheme: github, key: demo.token } }\nemits:\n  - { trigger: demo.ping, when: vars.n == 1, payload: { host: '${{ body.host }}' } }\n"
            ),
        ]));
    }

    #[test]
    fn names_are_available_only_where_they_belong() {
        insta::assert_snapshot!(shown_with(&[
            ("rules/greet.yaml", "trigger: demo.ping\nwhen: params.x\naction: core.echo\n"),
            ("actions/go.yaml", "run:\n  shell:\n    script: make\n    env: { A: '${{ event.payload.x }}' }\n"),
            (
                "sensors/hook.yaml",
                "webhook: { verify: { scheme: github, key: demo.token } }\nemits:\n  - { trigger: demo.ping, when: event.payload.host, payload: { host: '${{ body.host }}' } }\n"
            ),
        ]));
    }

    #[test]
    fn expression_instead_of_a_list_is_reported() {
        insta::assert_snapshot!(rule("trigger: demo.ping\nwhen: [true]\naction: core.echo\n"));
    }
}

mod secrets_and_code {
    use super::*;

    #[test]
    fn expression_in_code_is_reported() {
        insta::assert_snapshot!(shown_with(&[
            (
                "actions/go.yaml",
                "parameters: { version: string }\nrun:\n  shell:\n    script: |\n      set -x\n      make release VERSION=\"${{ params.version }}\"\n"
            ),
            ("actions/other.yaml", "parameters: { script: string }\nrun: { shell: { script: '${{ params.script }}' } }\n"),
            (
                "actions/whole.yaml",
                "parameters: { schema: { type: object, properties: { a: { type: string }, b: { type: string, x-ensue: code } } } }\nrun: { shell: { script: '${{ params.a }}' } }\n",
            ),
            ("rules/whole.yaml", "trigger: demo.ping\naction: demo.whole\nwith: { b: 'echo ${{ event.payload.host }}' }\n"),
            ("actions/third.yaml", "parameters: { file: string }\nrun: { process: { command: [cat, '${{ params.file }}'] } }\n"),
            ("rules/greet.yaml", "trigger: demo.ping\naction: core.shell\nwith:\n  script: echo ${{ event.payload.host }}\n"),
        ]));
    }

    #[test]
    fn parameter_declared_as_code_may_be_the_script() {
        let text = "parameters:\n  script: { type: string, x-ensue: code }\nrun: { shell: { script: '${{ params.script }}' } }\n";
        assert_eq!(action(text), "");
    }

    #[test]
    fn keys_must_be_declared_and_used_only_in_run() {
        insta::assert_snapshot!(shown_with(&[
            (
                "actions/go.yaml",
                "run:\n  http:\n    url: https://example.test/${{ keys[\"demo.token\"] }}\n    headers:\n      a: '${{ keys[\"demo.token\"] }}'\n      b: '${{ keys[\"demo.tokn\"] }}'\n      c: '${{ keys[\"other.secret\"] }}'\n      d: '${{ keys[config.owner] }}'\n"
            ),
            ("actions/other.yaml", "local: { a: 'keys[\"demo.token\"]' }\nrun: { shell: { script: make } }\n"),
            ("rules/greet.yaml", "trigger: demo.ping\naction: core.echo\nwith: { message: '${{ keys[\"demo.token\"] }}' }\n"),
        ]));
    }

    #[test]
    fn secret_in_the_environment_is_a_note() {
        insta::assert_snapshot!(action("run:\n  process:\n    command: [make]\n    env: { TOKEN: '${{ keys[\"demo.token\"] }}' }\n"));
    }

    #[test]
    fn undeclared_key_of_a_sensor_is_reported() {
        insta::assert_snapshot!(sensor("webhook: { verify: { scheme: github, key: demo.secret } }\nemits:\n  - trigger: demo.ping\n"));
    }

    #[test]
    fn unverified_webhook_is_a_warning() {
        insta::assert_snapshot!(sensor("webhook:\n  verify: { scheme: none }\nemits:\n  - trigger: demo.ping\n"));
    }

    #[test]
    fn fields_must_match_the_signature_scheme() {
        insta::assert_snapshot!(shown_with(&[
            ("sensors/a.yaml", "webhook: { verify: { scheme: github, key: token, header: x } }\nemits:\n  - trigger: demo.ping\n"),
            ("sensors/b.yaml", "webhook: { verify: { scheme: sns, key: demo.token } }\nemits:\n  - trigger: demo.ping\n"),
            ("sensors/c.yaml", "webhook: { verify: { scheme: hmca, key: demo.token } }\nemits:\n  - trigger: demo.ping\n"),
            (
                "sensors/d.yaml",
                "webhook: { verify: { scheme: hmac, key: demo.token, header: 'a b', algorithm: md5 } }\nemits:\n  - trigger: demo.ping\n"
            ),
            ("sensors/e.yaml", "webhook: { verify: { scheme: github, key: demo.token } }\nemits: []\n"),
        ]));
    }

    #[test]
    fn parts_of_a_signature_must_fit_together() {
        let hmac = |fields: &str| {
            format!("webhook:\n  verify: {{ scheme: hmac, key: demo.token, header: x-s, {fields} }}\nemits:\n  - trigger: demo.ping\n")
        };
        let files = [
            ("sensors/a.yaml", hmac("timestamp: { header: x-t }")),
            ("sensors/b.yaml", hmac("signed: '${timestamp}.${body}'")),
            ("sensors/c.yaml", hmac("id: x-id, signed: '${body}'")),
            ("sensors/d.yaml", hmac("timestamp: { header: x-t }, signed: '${timestamp}'")),
            ("sensors/e.yaml", hmac("signed: '${host}${body}'")),
            ("sensors/f.yaml", hmac("tolerance: 1m")),
            ("sensors/g.yaml", hmac("timestamp: { entry: 't=' }, signed: '${timestamp}${body}'")),
            ("sensors/h.yaml", hmac("timestamp: { entry: 't=', header: x-t }, signed: '${timestamp}${body}'")),
            ("sensors/i.yaml", hmac("algorithm: sha1")),
            ("sensors/j.yaml", "webhook: { verify: { scheme: header, key: demo.token } }\nemits:\n  - trigger: demo.ping\n".to_owned()),
            ("sensors/k.yaml", "webhook: { verify: { scheme: sns, key: demo.token } }\nemits:\n  - trigger: demo.ping\n".to_owned()),
        ];
        let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
        insta::assert_snapshot!(shown_with(&files));
    }

    #[test]
    fn sender_for_whom_others_vouch_must_be_named() {
        let verify = |fields: &str| format!("webhook:\n  verify: {{ {fields} }}\nemits:\n  - trigger: demo.ping\n");
        let files = [
            ("sensors/a.yaml", verify("scheme: sns")),
            ("sensors/b.yaml", verify("scheme: sns, topics: [alarms], hosts: ['https://a.test'], sha1: true")),
            ("sensors/c.yaml", verify("scheme: sns, topics: ['arn:aws:sns:eu-west-1:123456789012:a'], sha1: true")),
            ("sensors/d.yaml", verify("scheme: jwt, issuer: 'http://id.example.test'")),
            ("sensors/e.yaml", verify("scheme: jwt, issuer: 'https://id.example.test', audience: [x], jwks: keys, leeway: 1h")),
            ("sensors/f.yaml", verify("scheme: mtls")),
            ("sensors/g.yaml", verify("scheme: mtls, fingerprints: [AB], header: 'a b'")),
            ("sensors/h.yaml", "timer: { every: 5m }\nemits:\n  - trigger: demo.ping\n    dedupe: none\n".to_owned()),
        ];
        let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
        insta::assert_snapshot!(shown_with(&files));
    }

    #[test]
    fn host_of_a_url_must_be_literal() {
        insta::assert_snapshot!(shown_with(&[
            ("actions/a.yaml", "parameters: { host: string }\nrun: { http: { url: 'https://${{ params.host }}/x' } }\n"),
            ("actions/b.yaml", "parameters: { x: string }\nrun: { http: { url: 'https://example.test${{ params.x }}' } }\n"),
            ("actions/c.yaml", "run: { http: { url: 'ftp://example.test/' } }\n"),
            ("actions/d.yaml", "run: { http: { url: 'https://ada:pw@example.test/', method: get } }\n"),
            ("actions/e.yaml", "run: { http: { url: 'https://example.test/', json: { a: 1 }, body: x } }\n"),
        ]));
    }

    #[test]
    fn key_that_signs_a_request_must_come_from_the_vault() {
        let sign = |sign: &str| format!("run: {{ http: {{ url: 'https://example.test/', sign: {sign} }} }}\n");
        let files = [
            ("actions/a.yaml", sign("{ scheme: standard, key: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw }")),
            ("actions/b.yaml", sign("{ scheme: standard, key: 'whsec_${{ keys[\"demo.token\"] }}' }")),
            ("actions/c.yaml", sign("{ scheme: svix, key: '${{ keys[\"demo.token\"] }}' }")),
            ("actions/d.yaml", sign("{ key: '${{ config.owner }}' }")),
        ];
        let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
        insta::assert_snapshot!(shown_with(&files));
        assert!(action(&sign("{ scheme: standard, key: '${{ keys[\"demo.token\"] }}' }")).is_empty());
    }

    #[test]
    fn url_may_be_one_expression_or_have_expressions_in_its_path() {
        let texts = [
            "parameters: { url: string }\nrun: { http: { url: '${{ params.url }}' } }\n",
            "parameters: { id: string }\nrun: { http: { url: 'https://example.test/items/${{ params.id }}' } }\n",
        ];
        assert!(texts.iter().all(|text| action(text).is_empty()));
    }

    #[test]
    fn program_must_be_in_the_pack_and_executable() {
        insta::assert_snapshot!(shown_with(&[
            ("actions/deploy.sh", "#!/bin/sh\n"),
            ("actions/build.py", "print()\n"),
            ("actions/a.yaml", "run: { process: { command: [./deploy.sh, --fast] } }\n"),
            ("actions/b.yaml", "run: { process: { command: [./build.py] } }\n"),
            ("actions/c.yaml", "run: { process: { command: [./deplyo.sh] } }\n"),
            ("actions/d.yaml", "run: { process: { command: [/bin/sh] } }\n"),
            ("actions/e.yaml", "run: { process: { command: make, env: { ENSUE_X: a, 1A: b } } }\n"),
        ]));
    }

    #[test]
    fn built_in_actions_are_reserved_for_the_library() {
        insta::assert_snapshot!(action("run: { builtin: echo }\n"));
    }
}

mod permissions {
    use super::*;

    const USES: &str = "name: demo\nversion: 1.0.0\n";

    fn held_to(permissions: &str) -> String {
        let manifest = format!("{USES}permissions: {permissions}\n");
        let flow = "run:\n  workflow:\n    steps:\n      one: { action: core.shell, with: { script: make } }\n      two: { action: core.sleep, with: { duration: 1s } }\n";
        let emits = "run:\n  emit: { trigger: github.ping }\n";
        shown_with(&[("pack.yaml", &manifest), ("actions/go.yaml", flow), ("actions/tell.yaml", emits)])
    }

    #[test]
    fn use_of_another_pack_that_is_not_listed_is_reported() {
        insta::assert_snapshot!(held_to("[events:write on pack=demo]"));
    }

    #[test]
    fn permissions_that_are_not_permissions_are_reported() {
        insta::assert_snapshot!(held_to("[actions:run, actions:execute on file=x, 7, log:read on pack=a, keys:read]"));
    }

    #[test]
    fn listed_permissions_allow_what_they_cover() {
        let fine = held_to("[actions:execute on action=core.sh*, events:write on pack=github]");
        assert!(!fine.contains("not_permitted"), "{fine}");
    }

    #[test]
    fn run_as_is_for_workflows() {
        insta::assert_snapshot!(action("run_as: caller\nrun: { shell: { script: make } }\n"));
    }
}
