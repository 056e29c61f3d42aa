//! Workflows as authors write them: the findings of each error, and the engine's form of a valid one.

use std::fmt::Write as _;

use ensue_engine::catalog::{ItemFailure, OnFailure, Run, StartsIf, Task, WhenCancelled, WhenFailing};
use ensue_engine::ids::{Id, RuleId};
use ensue_engine::record::CatalogRevision;
use ensue_engine::time::Timestamp;
use ensue_packs::{build, library};

use crate::support::{check_packs, demo, lint_packs, render_findings, shown_with};

/// Actions for the steps: one declares its result, the other takes code.
const ACTIONS: &str = "actions:
  deploy:
    parameters: { region: string, count: integer = 1 }
    result: { url: string, healthy: boolean, note: 'string?' }
    run: { shell: { script: make deploy, env: { REGION: '${{ params.region }}', COUNT: '${{ params.count }}' } } }
";

/// The documented example as far as it can run: a build, parallel regions, a check, and a notification in any
/// case.
const SHIP: &str = r#"description: Builds a version and brings it to every region.
parameters: { version: string, regions: [string] }
result:
  urls: [string]
run:
  workflow:
    steps:
      build:
        action: core.shell
        with: { script: make release VERSION="$VERSION", env: { VERSION: "${{ params.version }}" } }
      deploy:
        needs: [build]
        for_each: params.regions
        parallel: 3
        fail_fast: true
        action: demo.deploy
        with: { region: "${{ item }}", count: "${{ index }}" }
        undo: { action: core.echo, with: { message: "${{ item }} ${{ result.url }}" }, retry: { attempts: 3 } }
        priority: 10
      check:
        needs: deploy
        if: steps.deploy.items.exists(i, !i.result.healthy)
        action: core.noop
        cancel_others: true
      stop:
        needs: [check]
        fail: "unhealthy: ${{ string(steps.deploy.items.filter(i, !i.result.healthy).size()) }}"
      announce:
        needs: [deploy]
        if: always()
        action: core.echo
        with: { message: "${{ params.version }}: ${{ steps.deploy.status }}" }
        on_failure: continue
      mourn:
        needs: [deploy, build]
        if: failed() && steps.build.status != "timed_out"
        action: core.echo
        with: { message: "${{ steps.build.error }}" }
    result: { urls: "${{ steps.deploy.items.map(i, i.result.url) }}" }
"#;

/// The findings of a pack with one workflow.
fn workflow(text: &str) -> String {
    shown_with(&[("actions/several.yaml", ACTIONS), ("actions/ship.yaml", text)])
}

/// The findings of the steps of a workflow with the parameters `regions` and `version`.
fn steps(steps: &str) -> String {
    workflow(&with_steps(steps))
}

fn with_steps(steps: &str) -> String {
    let indented: String = steps.lines().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "      {line}");
        text
    });
    format!("parameters: {{ regions: [string], version: string, spec: object }}\nrun:\n  workflow:\n    steps:\n{indented}")
}

mod good {
    use super::*;

    #[test]
    fn workflow_with_all_fields_is_accepted() {
        assert_eq!(workflow(SHIP), "");
    }

    #[test]
    fn engine_gets_the_workflow_as_written() {
        let packs: Vec<_> =
            library().into_iter().chain([demo(&[("actions/several.yaml", ACTIONS), ("actions/ship.yaml", SHIP)])]).collect();
        let checked = check_packs(&packs[packs.len() - 1..], &[]);
        let ids = |_: &_| RuleId(Id::root(Timestamp::from_micros(1), 1));
        let installed: Vec<_> = checked.good.iter().map(|pack| (pack.source.clone(), pack.manifest(ids))).collect();
        let catalog = build(CatalogRevision(1), &installed).unwrap();
        let action = &catalog.actions()[&"demo.ship".parse().unwrap()];
        let Run::Workflow(workflow) = &action.run else { panic!("{:?}", action.run) };
        let step = |name: &str| workflow.step(&name.parse().unwrap()).unwrap();
        assert_eq!(workflow.steps().len(), 6);
        assert_eq!(
            workflow.dependents(&"deploy".parse().unwrap()).map(|step| step.name.as_str()).collect::<Vec<_>>(),
            ["check", "announce", "mourn"]
        );
        assert!(workflow.result().is_some());

        let deploy = step("deploy");
        let each = deploy.for_each.as_ref().unwrap();
        assert_eq!((each.parallel, each.failure, deploy.priority), (3, ItemFailure::StopsOthers, Some(10)));
        assert!(matches!(&deploy.task, Task::Action { action, .. } if action.as_str() == "demo.deploy"));
        assert!(matches!(deploy.starts, StartsIf::Succeeded));
        assert!(matches!(step("check").starts, StartsIf::SucceededAnd(_)) && step("check").on_failure == OnFailure::CancelOthers);
        assert!(matches!(step("stop").task, Task::Fail { .. }));
        let (announce, mourn) = (step("announce"), step("mourn"));
        assert_eq!(announce.on_failure, OnFailure::Continue);
        assert_eq!((announce.starts.when_failing(), announce.starts.when_cancelled()), (WhenFailing::MayStart, WhenCancelled::MayStart));
        assert_eq!((mourn.starts.when_failing(), mourn.starts.when_cancelled()), (WhenFailing::MayStart, WhenCancelled::IsSkipped));
    }

    #[test]
    fn step_may_read_an_indirect_dependency() {
        assert_eq!(
            steps(
                "last: { needs: [middle], action: core.echo, with: { message: '${{ steps.first.result }}' } }\n\
                 middle: { needs: first, action: core.noop }\n\
                 first: { action: core.noop }"
            ),
            ""
        );
    }

    #[test]
    fn parameters_read_by_steps_count_as_used() {
        let unused = |text: &str| -> Vec<String> {
            let reported = lint_packs(&[demo(&[("actions/several.yaml", ACTIONS), ("actions/ship.yaml", text)])]).diagnostics;
            reported.into_iter().filter(|one| one.file.ends_with("ship.yaml")).map(|one| one.message).collect()
        };
        assert_eq!(unused(SHIP), [""; 0]);
        let wider = SHIP.replace("parameters: {", "parameters: { force: boolean,");
        assert_eq!(unused(&wider), ["the action `demo.ship` does not read its parameter `force`"]);
    }

    #[test]
    fn step_with_a_literal_false_condition_is_not_reported() {
        assert_eq!(steps("idle: { if: false, action: core.noop }\nafter: { needs: idle, action: core.noop }"), "");
    }
}

mod names {
    use super::*;

    #[test]
    fn unknown_needed_step_is_reported() {
        insta::assert_snapshot!(steps("build: { action: core.noop }\ntest: { needs: [biuld, nothing], action: core.noop }"));
    }

    #[test]
    fn cycle_of_steps_is_reported() {
        insta::assert_snapshot!(steps(
            "a: { needs: [c], action: core.noop }\nb: { needs: [a], action: core.noop }\nc: { needs: [b], action: core.noop }\n\
             x: { needs: [y], action: core.noop }\ny: { needs: [x, a], action: core.noop }\nbehind: { needs: [a], action: core.noop }\n\
             self: { needs: self, action: core.noop }"
        ));
    }

    #[test]
    fn step_names_must_be_usable_in_expressions() {
        insta::assert_snapshot!(steps(
            "Build-It: { action: core.noop }\nin: { action: core.noop }\nok: { action: core.noop }\nok: { action: core.noop }"
        ));
    }

    #[test]
    fn unknown_action_of_a_step_is_reported() {
        insta::assert_snapshot!(steps(
            "a: { action: demo.deplyo }\nb: { action: deploy }\nc: { action: '${{ params.version }}' }\nd: { action: nowhere.go }"
        ));
    }

    #[test]
    fn undeclared_pack_used_by_a_step_is_reported() {
        let other = ensue_packs::PackSource::of(
            "packs/other",
            [("pack.yaml", "name: other\nversion: 2.1.0\n"), ("actions/go.yaml", "run: { shell: { script: make } }\n")],
        );
        let pack = demo(&[("actions/ship.yaml", &with_steps("a: { action: other.go }"))]);
        insta::assert_snapshot!(render_findings(&check_packs(&[other.unwrap(), pack], &[])));
    }
}

mod shape {
    use super::*;

    #[test]
    fn steps_of_a_workflow_must_be_a_mapping() {
        insta::assert_snapshot!(
            [
                workflow("run: { workflow: {} }\n"),
                workflow("run: { workflow: { steps: {} } }\n"),
                workflow("run: { workflow: { steps: [{ action: core.noop }] } }\n"),
                workflow("run: { workflow: { steps: build } }\n"),
                workflow("run: { workflow: { steps: { build: core.noop } } }\n"),
                workflow("run: { workflow: { steps: { build: } } }\n"),
                workflow("run: { workflow: { step: { build: { action: core.noop } } } }\n"),
            ]
            .join("\n")
        );
    }

    #[test]
    fn step_has_exactly_one_kind() {
        insta::assert_snapshot!(steps(
            "nothing: { needs: two }\ntwo: { action: core.noop, fail: oops }\nwrong: { fail: true }\nmisspelt: { acton: core.noop, with: { seconds: 1 } }"
        ));
    }

    #[test]
    fn dependent_field_requires_its_main_field() {
        insta::assert_snapshot!(steps(
            "a: { with: { message: hi } }\nb: { action: core.noop, parallel: 2, fail_fast: true }\nc: { fail: oops, for_each: params.regions, parallel: 2 }\nd: { fail: oops, priority: 3 }"
        ));
    }

    #[test]
    fn types_of_step_fields_are_checked() {
        insta::assert_snapshot!(steps(
            "a: { action: core.noop, needs: [] }\n\
             b: { action: core.noop, needs: { a: true } }\n\
             c: { action: core.noop, needs: [a, a] }\n\
             d: { action: core.noop, for_each: [eu, us] }\n\
             e: { action: core.noop, for_each: params.regions, parallel: 0, fail_fast: 1 }\n\
             f: { action: core.noop, on_failure: carry_on, cancel_others: maybe, priority: 101 }\n\
             g: { action: core.noop, with: [1], if: [true] }\n\
             h: { action: core.noop, needs: 7 }"
        ));
    }

    #[test]
    fn tolerated_failure_cannot_cancel_others() {
        insta::assert_snapshot!(steps("a: { action: core.noop, on_failure: continue, cancel_others: true }"));
    }

    #[test]
    fn field_names_of_other_tools_get_a_suggestion() {
        insta::assert_snapshot!(steps(
            "a: { uses: core.noop }\nb: { action: core.noop, depends_on: [a], when: always() }\nc: { action: core.noop, foreach: params.regions }\nd: { action: core.noop, colour: red }"
        ));
    }

    #[test]
    fn notifications_reminders_and_escalations_are_checked() {
        let asks = |more: &str| format!("inquiry: {{ title: Ship, answer: {{ ship: boolean }}, assignees: ana, {more} }}");
        let reported =
            |more: &str| asks(&format!("notify: {{ action: core.echo, with: {{ message: '${{{{ inquiry.url }}}}' }} }}, {more}"));
        let steps_of = [
            asks("notify: { action: core.ecko }, remind: { evry: 2h }"),
            asks("notify: { action: core.echo, with: { message: '${{ inquiry.lnik }} ${{ result }}' } }"),
            asks("notify: { action: core.sleep, with: { duration: 1s } }"),
            asks("notify: { with: { message: hi } }"),
            asks("remind: { every: 2h }"),
            reported("expires: 1h, remind: { every: 2h, max: 0 }"),
            reported("expires: 1h, remind: { every: 2h }, escalate: [{ after: 30m, to: role:leads }, { after: 1h, to: [bo] }]"),
            reported("escalate: [{ after: soon, to: [] }, { to: bo }, { after: 1h }]"),
            reported("escalate: []"),
            reported("escalate: role:leads"),
        ];
        let steps_of: Vec<String> = steps_of.iter().enumerate().map(|(place, step)| format!("s{place}: {{ {step} }}")).collect();
        insta::assert_snapshot!(steps(&steps_of.join("\n")));
    }

    #[test]
    fn link_to_an_inquiry_needs_one_person_and_an_action_that_sends_it() {
        let asks = |assignees: &str, action: &str| {
            format!(
                "inquiry: {{ title: Ship, answer: {{ ship: boolean }}, assignees: {assignees}, \
                 notify: {{ action: {action}, with: {{ region: '${{{{ inquiry.link }}}}' }} }} }}"
            )
        };
        let echo = asks("ana", "core.echo").replace("region:", "message:");
        let steps_of = [asks("role:leads", "demo.deploy"), asks("[ana, bo]", "demo.deploy"), echo];
        let steps_of: Vec<String> = steps_of.iter().enumerate().map(|(place, step)| format!("s{place}: {{ {step} }}")).collect();
        insta::assert_snapshot!(steps(&steps_of.join("\n")));
        // Whom an expression names is known once it asks.
        for assignees in ["ana", "[ana]", "'${{ params.regions }}'"] {
            let reported = steps(&format!("a: {{ {} }}", asks(assignees, "demo.deploy")));
            assert!(!reported.contains("link"), "{assignees}: {reported}");
        }
    }

    #[test]
    fn wait_for_an_unknown_trigger_is_reported() {
        insta::assert_snapshot!(steps(
            "a: { action: core.noop }\n\
             b: { needs: a, wait: { trigger: github.pusch, when: 'event.payload.ref == params.regions[0]' } }\n\
             c: { wait: { trigger: github.push, when: event.payload.reff == 'x', since: stert, expires: soon } }\n\
             d: { needs: a, wait: { trigger: github.push, when: event.payload.ref == steps.a.status } }\n\
             e: { needs: a, wait: { trigger: github.push, when: event.payload.ref == steps.a.status, since: step }, timeout: 1m, for_each: params.regions }\n\
             f: { wait: { when: 'true' } }\n\
             g: { needs: e, action: core.echo, with: { message: '${{ steps.e.event.payload.reff }} ${{ steps.e.result }}' } }\n\
             h: { action: core.wait, with: { trigger: github.push } }"
        ));
    }

    #[test]
    fn undo_must_be_an_action_with_valid_parameters() {
        insta::assert_snapshot!(steps(
            "build: { action: core.noop }\n\
             deploy: { needs: build, for_each: params.regions, action: demo.deploy, with: { region: '${{ item }}' }, \
             undo: { action: demo.deplay, with: { region: '${{ result.urll }}' } } }\n\
             again: { action: demo.deploy, with: { region: eu }, undo: { action: demo.deploy, with: { region: '${{ steps.build.status }}', cuont: 1 }, \
             timeout: 0s, retries: 3 } }\n\
             nothing: { action: core.noop, undo: { with: {} } }\n\
             wait: { sleep: 1m, undo: { action: core.noop } }"
        ));
    }

    #[test]
    fn workflow_has_no_attempt_settings() {
        insta::assert_snapshot!(workflow(
            "run: { workflow: { steps: { a: { action: core.noop } } } }\ntimeout: 1h\ngrace: 1s\nidempotent: true\non_lost: retry\nretry: { attempts: 2 }\n"
        ));
    }

    #[test]
    fn sleep_must_be_a_duration_or_a_text_expression() {
        insta::assert_snapshot!(steps(
            "soon: { sleep: soon }\nten: { sleep: 10 }\nmany: { sleep: '${{ params.regions }}' }\nboth: { sleep: 1m, fail: no }\n\
             with: { sleep: 1m, with: { duration: 2m }, retry: { attempts: 2 }, timeout: 1m }\nlong: { sleep: 400d }"
        ));
    }

    #[test]
    fn result_type_of_a_sleep_is_known() {
        insta::assert_snapshot!(steps("wait: { sleep: 1m }\nthen: { needs: wait, fail: '${{ steps.wait.result.woken }}' }"));
    }

    #[test]
    fn workflow_that_always_runs_itself_is_reported() {
        insta::assert_snapshot!(shown_with(&[
            ("actions/one.yaml", "run: { workflow: { steps: { a: { action: demo.two }, b: { action: core.noop } } } }"),
            ("actions/two.yaml", "run: { workflow: { steps: { a: { action: demo.three }, b: { action: demo.one } } } }"),
            ("actions/three.yaml", "run: { workflow: { steps: { a: { action: core.noop } } } }"),
            ("actions/self.yaml", "run: { workflow: { steps: { a: { action: demo.self }, b: { action: demo.self } } } }"),
            ("actions/into.yaml", "run: { workflow: { steps: { a: { action: demo.self } } } }"),
            (
                "actions/guarded.yaml",
                "run: { workflow: { steps: { check: { if: 'false', action: core.noop }, a: { needs: check, action: core.noop }, again: { needs: a, action: demo.guarded } } } }",
            ),
            (
                "actions/ends.yaml",
                "parameters: { n: integer }\nrun: { workflow: { steps: { a: { if: params.n > 0, action: demo.ends, with: { n: '${{ params.n - 1 }}' } } } } }",
            ),
        ]));
    }

    #[test]
    fn inquiry_requires_assignees_and_an_answer_schema() {
        insta::assert_snapshot!(steps(
            "none: { inquiry: {} }\ntext: { inquiry: Ship }\nlist: { inquiry: { title: [a], answer: { ship: boolen }, assignees: [] } }\n\
             nobody: { inquiry: { title: Ship, answer: { ship: boolean }, assignees: [] } }\n\
             numbers: { inquiry: { title: Ship, answer: { ship: boolean }, assignees: [7], quorum: 0 } }\n\
             misspelt: { inquiry: { title: Ship, answers: { ship: boolean }, assignees: ana } }\n\
             late: { inquiry: { title: Ship, answer: { ship: boolean }, assignees: ana, expires: soon, on_expire: { answer: { ship: no } } } }\n\
             zero: { inquiry: { title: Ship, answer: { ship: boolean }, assignees: ana, expires: 0s } }\n\
             never: { inquiry: { title: Ship, answer: { ship: boolean }, assignees: ana, on_expire: fail } }\n\
             stated: { inquiry: { title: Ship, answer: { ship: boolean, note: 'string?' }, assignees: ana, expires: 1h, \
             on_expire: { answer: { shipp: false } } } }\n\
             veto: { inquiry: { title: Ship, answer: { ship: boolean }, assignees: ana, veto: answer.shipped == false } }\n\
             text_veto: { inquiry: { title: Ship, answer: { ship: boolean }, assignees: ana, veto: params.version == 'v1' } }\n\
             roles: { inquiry: { title: Ship, answer: { ship: boolean }, assignees: ana, exclude: 'role:leads' } }\n\
             both: { inquiry: { title: Ship, answer: { ship: boolean }, assignees: ana }, sleep: 1m }\n\
             more: { inquiry: { title: Ship, answer: { ship: boolean }, assignees: ana }, timeout: 1h, for_each: params.regions }"
        ));
    }

    #[test]
    fn result_type_of_an_inquiry_is_known() {
        insta::assert_snapshot!(steps(
            "ask: { inquiry: { title: 'Ship ${{ params.version }}?', answer: { ship: boolean, note: 'string?' }, assignees: '${{ params.regions }}' } }\n\
             good: { needs: ask, if: steps.ask.answer.ship, action: core.echo, with: { message: '${{ steps.ask.answers[0].by }}' } }\n\
             wrong: { needs: ask, if: steps.ask.answer.shipp, action: core.noop }\n\
             result: { needs: ask, if: steps.ask.result.answer.ship, action: core.noop }\n\
             number: { inquiry: { title: '${{ params.regions }}', answer: { ship: boolean }, assignees: '${{ params }}' } }"
        ));
    }

    #[test]
    fn retry_requires_a_step_with_failing_attempts() {
        insta::assert_snapshot!(steps(
            "one: { action: core.sleep, with: { duration: 1s }, retry: { attempts: 2 } }\ntwo: { action: core.noop, timeout: 0s }\n\
             three: { action: core.noop, retry: { attempts: 1 } }\nfour: { action: core.noop, retry: 3 }\n\
             five: { action: core.noop, retry: { backoff: doubling } }\nsix: { action: core.noop, retry: { attempts: 3, delay: 5, jitter: 2s } }\n\
             seven: { action: core.noop, retry: { attempts: 3, delay: 10s, max_delay: 5s } }\n\
             eight: { action: core.noop, retry: { attempts: 3, when: error.kind == 'exitcode' } }\n\
             nine: { action: core.noop, retry: { attempts: 3, when: error.code == 1 && steps.one.status == 'failed' } }\n\
             ten: { action: core.noop, retry: { attempts: 3, when: error.message } }\neleven: { action: core.noop, retry: { tries: 3 } }\n\
             twelve: { action: core.noop, undo: { action: core.sleep, with: { duration: 1s }, retry: { attempts: 2 } } }"
        ));
    }

    #[test]
    fn too_many_steps_are_reported() {
        let many: String = (0..=10_000).fold(String::new(), |mut text, number| {
            let _ = writeln!(text, "s{number}: {{ action: core.noop }}");
            text
        });
        insta::assert_snapshot!(steps(&many));
    }
}

mod reads {
    use super::*;

    #[test]
    fn step_may_read_only_the_steps_it_needs() {
        insta::assert_snapshot!(steps(
            "build: { action: core.noop }\n\
             beside: { action: core.echo, with: { message: '${{ steps.build.result }}' } }\n\
             before: { if: steps.after.status == \"failed\", action: core.noop }\n\
             after: { needs: [before, build], action: core.noop }\n\
             itself: { for_each: steps.itself.items, action: core.noop }\n\
             twice: { needs: after, action: core.echo, with: { message: ['${{ steps.beside.result }}', '${{ steps.beside.error }}'] } }"
        ));
    }

    #[test]
    fn unknown_step_name_is_reported() {
        insta::assert_snapshot!(steps(
            "build: { action: core.noop }\n\
             a: { needs: build, if: 'steps[params.version].status == \"failed\"', action: core.noop }\n\
             b: { needs: build, action: core.echo, with: { message: '${{ steps.biuld.result }} of ${{ size(steps) }}' } }"
        ));
    }

    #[test]
    fn result_type_of_a_step_is_known() {
        insta::assert_snapshot!(steps(
            "one: { action: demo.deploy, with: { region: eu } }\n\
             each: { action: demo.deploy, for_each: params.regions, with: { region: '${{ item }}' } }\n\
             stop: { fail: oops }\n\
             read:\n  needs: [one, each, stop]\n  if: |\n    always() && (steps.one.status == \"sucess\" || steps.one.result.ulr == \"\"\n\
             \x20     || steps.each.result.url == \"\" || steps.each.items[0].result.healthy == \"yes\" || steps.stop.result == 1\n\
             \x20     || steps.one.error.knd == \"exit_code\")\n  action: core.noop"
        ));
    }

    #[test]
    fn optional_result_field_must_be_tested() {
        insta::assert_snapshot!(steps(
            "one: { action: demo.deploy, with: { region: eu } }\ntwo: { needs: one, action: demo.deploy, with: { region: '${{ steps.one.result.note }}' } }"
        ));
    }

    #[test]
    fn names_are_available_only_where_they_belong() {
        insta::assert_snapshot!(
            [
                steps(
                    "a: { action: core.echo, with: { message: '${{ item }}' } }\n\
                     b: { action: core.noop, for_each: params.regions, if: item == \"eu\" }\n\
                     c: { action: core.echo, with: { message: '${{ failed() }}' } }\n\
                     d: { needs: a, if: success(), action: core.noop }\n\
                     e: { needs: a, if: always(1), action: core.noop }\n\
                     f: { action: core.echo, with: { message: '${{ keys[\"demo.token\"] }}' } }\n\
                     g: { action: core.echo, with: { message: '${{ event.payload }}' } }"
                ),
                workflow("local: { a: steps.x.result }\nrun: { workflow: { steps: { x: { action: core.noop } } } }\n"),
            ]
            .join("\n")
        );
    }
}

mod values {
    use super::*;

    #[test]
    fn parameters_of_an_action_are_checked() {
        insta::assert_snapshot!(steps(
            "a: { action: demo.deploy, with: { regin: eu } }\n\
             b: { action: demo.deploy }\n\
             c: { action: demo.deploy, with: { region: 7, count: '${{ params.version }}' } }\n\
             d: { action: core.shell, with: { script: 'echo ${{ params.version }}' } }\n\
             e: { action: demo.deploy, for_each: '[1, 2]', with: { region: '${{ item }}' } }"
        ));
    }

    #[test]
    fn condition_must_be_boolean() {
        insta::assert_snapshot!(steps(
            "a: { if: params.version, action: core.noop }\nb: { if: size(params.regions) > 1 &&, action: core.noop }"
        ));
    }

    #[test]
    fn for_each_must_be_a_list() {
        insta::assert_snapshot!(steps(
            "a: { for_each: params.version, action: core.noop }\nb: { for_each: params.spec, action: core.noop }\nc: { for_each: 7, action: core.noop }"
        ));
    }

    #[test]
    fn failure_message_must_be_text() {
        insta::assert_snapshot!(steps("a: { fail: '${{ size(params.regions) }}' }"));
    }

    #[test]
    fn result_of_a_workflow_is_checked() {
        let given = |result: &str| {
            workflow(&format!(
                "result: {{ count: integer, name: string }}\nrun:\n  workflow:\n    steps: {{ a: {{ action: core.noop }} }}\n{result}"
            ))
        };
        insta::assert_snapshot!(
            [
                given(""),
                given("    result: { count: many, nmae: a }\n"),
                given("    result: { count: '${{ steps.a.status }}', name: '${{ steps.b.status }}' }\n"),
            ]
            .join("\n")
        );
    }
}

#[test]
fn step_that_never_starts_is_reported() {
    insta::assert_snapshot!(steps(
        "build: { action: core.noop }\n\
         stop: { needs: build, if: size(params.regions) == 0, fail: no regions }\n\
         after_stop: { needs: [build, stop], action: core.noop }\n\
         behind: { needs: after_stop, action: core.noop }\n\
         mourn: { needs: build, if: 'steps.build.status == \"failed\"', action: core.noop }\n\
         excuse: { needs: build, if: steps.build.error != null, action: core.noop }\n\
         first: { if: failed(), action: core.noop }\n\
         asks: { needs: stop, if: succeeded(), action: core.noop }\n\
         never: { needs: build, if: size(params.regions) < 0, action: core.noop }\n\
         fine: { needs: stop, if: 'always() && steps.stop.status == \"skipped\"', action: core.noop }\n\
         carried: { needs: carries, action: core.noop }\n\
         carries: { fail: oops, on_failure: continue }"
    ));
}

#[test]
fn reads_across_thousands_of_steps_are_checked_quickly() {
    // A chain in which each step reads the first one, and a step that needs all: anything quadratic takes
    // minutes here.
    let mut text = String::from("s0: { action: core.noop }\n");
    for number in 1..9_000 {
        let _ = writeln!(text, "s{number}: {{ needs: s{}, if: steps.s0.result != 7, action: core.noop }}", number - 1);
    }
    let all: Vec<String> = (0..9_000).map(|number| format!("s{number}")).collect();
    let _ = writeln!(text, "last: {{ needs: [{}], action: core.noop }}", all.join(", "));
    let checked = check_packs(&[demo(&[("actions/ship.yaml", &with_steps(&text))])], &[]);
    assert!(checked.diagnostics.is_empty(), "{:?}", checked.diagnostics.first());
}
