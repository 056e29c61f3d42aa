//! Lints report valid definitions that are probably unintended, and nothing else.

use crate::support::{demo, lint_packs};
use ensue_packs::{Code, Colour, Diagnostic, PackSource, library};

/// The findings with these codes for a demo with these files.
fn findings_with(codes: &[Code], changes: &[(&str, &str)]) -> String {
    reported_of(codes, &[demo(changes)])
}

fn reported_of(codes: &[Code], packs: &[PackSource]) -> String {
    let checked = lint_packs(packs);
    assert!(!checked.has_errors(), "{:?}", checked.diagnostics);
    let of_kind = |one: &&Diagnostic| codes.contains(&one.code);
    checked.diagnostics.iter().filter(of_kind).map(|one| one.render(Colour::Plain)).collect::<Vec<_>>().join("\n")
}

/// The findings for rules that all listen to `demo.ping`.
fn of_rules(codes: &[Code], rules: &[(&str, &str)]) -> String {
    let files: Vec<(String, String)> =
        rules.iter().map(|(name, text)| (format!("rules/{name}.yaml"), format!("trigger: demo.ping\n{text}"))).collect();
    let files: Vec<(&str, &str)> =
        [("rules/greet.yaml", RESTING)].into_iter().chain(files.iter().map(|(path, text)| (path.as_str(), text.as_str()))).collect();
    findings_with(codes, &files)
}

/// A disabled rule without effects.
const RESTING: &str = "trigger: demo.ping\nmode: disabled\naction: core.echo\n";

const NEVER: &[Code] = &[Code::RuleNeverMatches];
const CONTAINED: &[Code] = &[Code::RuleContained];
const ITSELF: &[Code] = &[Code::RuleTriggersItself];

#[test]
fn library_has_no_lint_findings() {
    let of_user = library().into_iter().map(|mut pack| {
        // The library's packs are not linted, so this makes them look like a user's.
        pack.files.insert("LICENSE".to_owned(), pack.files["pack.yaml"].clone());
        pack
    });
    let packs: Vec<PackSource> = of_user.collect();
    let checked = ensue_packs::lint(&packs, &Default::default());
    let shown: String =
        checked.diagnostics.iter().filter(|one| one.code != Code::LibraryPackShadowed).map(|one| one.render(Colour::Plain)).collect();
    assert_eq!(shown, "");
}

mod conditions {
    use super::*;

    #[test]
    fn contradicting_parts_of_a_condition_are_named() {
        insta::assert_snapshot!(of_rules(
            NEVER,
            &[(
                "a",
                "when: |\n  event.payload.host.startsWith(\"web\")\n    && event.payload.load > 3\n    && event.payload.host == \"db\"\naction: core.echo\n"
            ),]
        ));
    }

    #[test]
    fn condition_without_an_integer_in_its_range_never_matches() {
        let pack = |when: &str| {
            let rule = |action: &str, when: &str| format!("trigger: demo.count\nwhen: {when}\naction: {action}\n");
            lint_packs(&[demo(&[
                ("triggers/count.yaml", "payload: { n: integer, share: number }\n"),
                ("rules/narrow.yaml", &rule("core.noop", when)),
                ("rules/wide.yaml", &rule("core.noop", "event.payload.n > 1")),
            ])])
        };
        let codes = |when: &str| -> Vec<Code> {
            pack(when).diagnostics.iter().filter(|one| one.file.contains("narrow")).map(|one| one.code).collect()
        };
        for never in ["event.payload.n > 5 && event.payload.n < 7 && event.payload.n != 6", "event.payload.n > 5 && event.payload.n < 6"] {
            assert_eq!(codes(never), NEVER, "{never}");
        }
        assert_eq!(codes("event.payload.n > 5 && event.payload.n < 8 && event.payload.n != 6"), CONTAINED);
        assert!(codes("event.payload.share > 5 && event.payload.share < 7 && event.payload.share != 6").is_empty());
        assert_eq!(codes("event.payload.n > 5 && event.payload.n < 7 && event.payload.n == 6.0"), CONTAINED);
    }

    #[test]
    fn trigger_of_a_rule_that_never_matches_is_named() {
        insta::assert_snapshot!(findings_with(
            NEVER,
            &[("rules/greet.yaml", "trigger: [demo.ping, github.push]\nwhen: event.trigger == 'demo.ping'\naction: core.echo\n")]
        ));
    }
}

mod contained {
    use super::*;

    #[test]
    fn rule_that_duplicates_another_s_effect_is_reported_with_an_event_of_both() {
        insta::assert_snapshot!(of_rules(
            CONTAINED,
            &[
                ("a", "when: event.payload.host == \"a\" && event.payload.load > 20\naction: core.echo\nwith: { message: hi }\n"),
                ("b", "when: event.payload.load > 10 && \"a\" == event.payload[\"host\"]\naction: core.echo\nwith: { message: hi }\n"),
            ]
        ));
    }

    #[test]
    fn second_of_two_rules_for_the_same_events_is_reported() {
        insta::assert_snapshot!(of_rules(
            CONTAINED,
            &[
                ("a", "when: event.payload.host in [\"a\", \"b\"]\naction: core.echo\nwith: { message: one }\n"),
                ("b", "when: event.payload.host == \"a\" || event.payload.host == \"b\"\naction: core.echo\nwith: { message: two }\n"),
            ]
        ));
    }

    #[test]
    fn other_action_for_the_same_events_is_only_a_note() {
        insta::assert_snapshot!(of_rules(
            CONTAINED,
            &[
                ("a", "when: event.payload.host.startsWith(\"web\")\naction: core.echo\nwith: { message: hi }\n"),
                ("b", "when: event.payload.host == \"web1\"\naction: core.noop\n"),
            ]
        ));
    }

    #[test]
    fn rule_that_is_not_contained_in_another_is_not_reported() {
        let first = ("a", "when: event.payload.host == \"a\"\naction: core.echo\nwith: { message: hi }\n");
        for second in [
            "when: event.payload.host == \"b\"\naction: core.echo\nwith: { message: hi }\n",
            "when: event.payload.load > 3\naction: core.echo\nwith: { message: hi }\n",
            "action: core.noop\n",
            "mode: disabled\nwhen: event.payload.host == \"a\"\naction: core.noop\n",
            "mode: shadow\nwhen: event.payload.host == \"a\"\naction: core.noop\n",
            "local: { host: event.payload.host }\nwhen: local.host == \"a\"\naction: core.noop\n",
            "when: event.payload.host == \"a\"\nthrottle: { limit: 1, per: 1m }\naction: core.noop\n",
        ] {
            assert_eq!(of_rules(CONTAINED, &[first, ("b", second)]), "", "{second}");
        }
    }

    #[test]
    fn settings_of_different_packs_are_different_values() {
        let rule = "trigger: demo.ping\nwhen: event.payload.host == config.owner\naction: core.noop\n";
        let one = demo(&[("rules/greet.yaml", rule)]);
        let manifest = "name: other\nversion: 1.0.0\nrequires: { packs: { demo: ^1 } }\nconfig: { owner: 'string = \"x\"' }\n";
        let other = PackSource::of("packs/other", [("pack.yaml", manifest), ("rules/greet.yaml", rule)]).unwrap();
        assert_eq!(reported_of(CONTAINED, &[one, other]), "");
    }

    #[test]
    fn thousand_rules_of_a_trigger_are_compared_in_bounded_work() {
        let rules: String = (0..1_000)
            .map(|at| format!("  r{at}: {{ trigger: demo.count, when: 'event.payload.n > {at}', action: core.noop }}\n"))
            .collect();
        let found = findings_with(
            CONTAINED,
            &[
                ("triggers/count.yaml", "payload: { n: integer }\n"),
                ("rules/greet.yaml", RESTING),
                ("rules/many.yaml", &format!("rules:\n{rules}")),
            ],
        );
        assert!(found.contains("matches the rule `demo.r1` also matches `demo.r0`"), "{found}");
    }
}

mod loops {
    use super::*;

    const AGAIN: (&str, &str) = (
        "actions/again.yaml",
        "parameters: { host: string }\nrun:\n  emit:\n    trigger: demo.ping\n    payload: { host: '${{ params.host }}' }\n",
    );

    #[test]
    fn loop_through_several_rules_is_written_out() {
        insta::assert_snapshot!(findings_with(
            ITSELF,
            &[
                ("triggers/pong.yaml", "payload: { host: string }\n"),
                ("actions/answer.yaml", "run: { emit: { trigger: demo.pong, payload: { host: a } } }\n"),
                ("rules/greet.yaml", "trigger: demo.ping\naction: demo.answer\n"),
                (
                    "rules/hail.yaml",
                    "trigger: [demo.pong, github.push]\naction: core.emit\nwith: { trigger: demo.ping, payload: { host: b } }\n"
                ),
            ]
        ));
    }

    #[test]
    fn rule_whose_own_action_emits_its_trigger_is_reported() {
        insta::assert_snapshot!(findings_with(
            ITSELF,
            &[AGAIN, ("rules/greet.yaml", "trigger: demo.ping\naction: demo.again\nwith: { host: '${{ event.payload.host }}' }\n")]
        ));
    }

    #[test]
    fn loop_ended_by_a_condition_is_not_reported() {
        for rule in [
            "trigger: demo.ping\nwhen: event.payload.host != \"done\"\naction: demo.again\nwith: { host: done }\n",
            "trigger: demo.ping\nwhen: event.payload.load > 3\naction: demo.again\nwith: { host: x }\n",
            "trigger: demo.ping\nwhen: event.payload.host == 'a'\naction: core.emit\nwith: { trigger: demo.ping, payload: { host: b } }\n",
            "trigger: demo.ping\nmode: shadow\naction: demo.again\nwith: { host: x }\n",
            "trigger: demo.ping\naction: core.emit\nwith: { trigger: 'demo.${{ event.payload.host }}', payload: { host: b } }\n",
        ] {
            assert_eq!(findings_with(ITSELF, &[AGAIN, ("rules/greet.yaml", rule)]), "", "{rule}");
        }
    }

    #[test]
    fn loop_is_reported_once() {
        let rules =
            "rules:\n  a: { trigger: demo.ping, action: demo.again, with: { host: a } }\n  b: { trigger: demo.ping, action: core.echo }\n";
        let shown = findings_with(ITSELF, &[AGAIN, ("rules/several.yaml", rules), ("rules/greet.yaml", RESTING)]);
        assert_eq!(shown.matches("rule_triggers_itself").count(), 1, "{shown}");
    }
}

mod unused {
    use super::*;

    const UNUSED: &[Code] = &[Code::UnusedParameter, Code::UnusedLocal, Code::UnusedSetting, Code::UnusedKey];

    #[test]
    fn unused_definition_is_reported_at_its_place() {
        insta::assert_snapshot!(findings_with(
            UNUSED,
            &[
                (
                    "pack.yaml",
                    "name: demo\nversion: 1.0.0\nconfig:\n  owner: 'string = \"acme\"'\n  colour: 'string = \"red\"'\nkeys: [token, demo.other]\n"
                ),
                (
                    "actions/several.yaml",
                    "actions:\n  call:\n    parameters: { url: string, colour: string }\n    local: { full: params.url, half: '1' }\n    run:\n      http: { url: '${{ local.full }}', headers: { a: '${{ keys[\"demo.token\"] }}' } }\n"
                ),
                (
                    "actions/ship.yaml",
                    "parameters: { version: string }\nrun: { shell: { script: make, env: { V: '${{ params.version }}' } } }\n"
                ),
                (
                    "rules/greet.yaml",
                    "trigger: demo.ping\nlocal: { a: event.payload.host, b: config.owner }\naction: core.echo\nwith: { message: '${{ local.b }}' }\n"
                ),
            ]
        ));
    }

    #[test]
    fn possibly_used_definition_is_not_reported() {
        let files = [
            ("pack.yaml", "name: demo\nversion: 1.0.0\nconfig: { owner: 'string = \"acme\"' }\nkeys: [token]\n"),
            ("actions/ship.yaml", "parameters: { version: string }\nrun: { process: { command: [make] } }\n"),
            ("actions/tell.yaml", "parameters: { a: string }\nrun: { http: { url: 'https://example.test/', json: '${{ params }}' } }\n"),
            (
                "actions/pick.yaml",
                "parameters: { a: string }\nlocal: { n: 'params[config.owner]' }\nrun: { shell: { script: make, env: { N: '${{ local }}' } } }\n",
            ),
            ("sensors/hook.yaml", "webhook: { verify: { scheme: github, key: demo.token } }\nemits:\n  - trigger: demo.ping\n"),
        ];
        assert_eq!(findings_with(UNUSED, &files), "");
    }

    #[test]
    fn file_may_allow_lint_findings() {
        let manifest =
            "# lint: allow unused_key, unused_setting\nname: demo\nversion: 1.0.0\nconfig: { owner: 'string = \"acme\"' }\nkeys: [token]\n";
        let action = "parameters: { version: string }\nrun: { shell: { script: make } }\n";
        let shown = findings_with(UNUSED, &[("pack.yaml", manifest), ("actions/ship.yaml", action)]);
        assert!(shown.contains("unused_parameter") && !shown.contains("unused_key") && !shown.contains("unused_setting"), "{shown}");
    }
}
