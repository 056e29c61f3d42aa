//! One error in the steps of a workflow is also reported once.

use crate::one_mistake::{ACTION, Slip, findings_of_slips};

#[test]
fn one_error_in_the_steps_of_a_workflow_is_reported_once() {
    insta::assert_snapshot!(findings_of_slips(&[
        Slip("a list of steps", &[(ACTION, "run:\n  workflow:\n    steps:\n      - { action: core.noop }\n")]),
        Slip(
            "no task",
            &[(
                ACTION,
                "parameters: { regions: [string], version: string }\nrun:\n  workflow:\n    steps:\n      a: { needs: b }\n      b: { action: core.noop }\n"
            )]
        ),
        Slip(
            "parameters for no task",
            &[(
                ACTION,
                "parameters: { regions: [string], version: string }\nrun:\n  workflow:\n    steps:\n      a: { with: { message: hi } }\n"
            )]
        ),
        Slip(
            "two tasks",
            &[(
                ACTION,
                "parameters: { regions: [string], version: string }\nrun:\n  workflow:\n    steps:\n      a: { action: core.noop, fail: oops }\n"
            )]
        ),
        Slip(
            "a task of a later release with fields beside it",
            &[(
                ACTION,
                "parameters: { regions: [string], version: string }\nrun:\n  workflow:\n    steps:\n      a: { wait: { trigger: demo.ping }, needs: b, priority: 3 }\n      b: { action: core.noop }\n"
            )]
        ),
        Slip(
            "a task that is misspelt, with its parameters",
            &[(
                ACTION,
                "parameters: { regions: [string], version: string }\nrun:\n  workflow:\n    steps:\n      a: { acton: core.echo, with: { message: hi } }\n"
            )]
        ),
        Slip(
            "a step that is misspelt in `needs`, and read",
            &[(
                ACTION,
                "parameters: { regions: [string], version: string }\nrun:\n  workflow:\n    steps:\n      build: { action: core.noop }\n      a: { needs: [biuld], action: core.echo, with: { message: '${{ steps.build.result }}' } }\n"
            )]
        ),
        Slip(
            "`needs` that is misspelt, and its steps read",
            &[(
                ACTION,
                "parameters: { regions: [string], version: string }\nrun:\n  workflow:\n    steps:\n      build: { action: core.noop }\n      a: { need: [build], action: core.echo, with: { message: '${{ steps.build.result }}' } }\n"
            )]
        ),
        Slip(
            "a step that is misspelt in an expression, twice",
            &[(
                ACTION,
                "parameters: { regions: [string], version: string }\nrun:\n  workflow:\n    steps:\n      build: { action: core.noop }\n      a: { needs: build, action: core.echo, with: { message: '${{ steps.biuld.result.a + steps.biuld.result.b }}' } }\n"
            )]
        ),
        Slip(
            "a step that is read and not needed, in several fields",
            &[(
                ACTION,
                "parameters: { regions: [string], version: string }\nrun:\n  workflow:\n    steps:\n      build: { action: core.noop }\n      a: { if: steps.build.result != 1, action: core.echo, with: { message: '${{ steps.build.result }}' } }\n"
            )]
        ),
        Slip(
            "an action that is misspelt, and what it gives read",
            &[(
                ACTION,
                "parameters: { regions: [string], version: string }\nrun:\n  workflow:\n    steps:\n      build: { action: core.nop }\n      a: { needs: build, action: core.echo, with: { message: '${{ steps.build.result.x }}' } }\n"
            )]
        ),
        Slip(
            "steps in a circle that read each other",
            &[(
                ACTION,
                "parameters: { regions: [string], version: string }\nrun:\n  workflow:\n    steps:\n      a: { needs: b, action: core.echo, with: { message: '${{ steps.b.result }}' } }\n      b: { needs: a, action: core.echo, with: { message: '${{ steps.a.result }}' } }\n"
            )]
        ),
        Slip(
            "`for_each` that is misspelt, and its item read",
            &[(
                ACTION,
                "parameters: { regions: [string], version: string }\nrun:\n  workflow:\n    steps:\n      a: { for_eech: params.regions, parallel: 2, action: core.echo, with: { message: '${{ item }}' } }\n"
            )]
        ),
        Slip(
            "`for_each` that is empty, and its item read",
            &[(
                ACTION,
                "parameters: { regions: [string], version: string }\nrun:\n  workflow:\n    steps:\n      a: { for_each: , action: core.echo, with: { message: '${{ item }}' } }\n"
            )]
        ),
        Slip(
            "`for_each` over a text, and its item read",
            &[(
                ACTION,
                "parameters: { regions: [string], version: string }\nrun:\n  workflow:\n    steps:\n      a: { for_each: params.version, action: core.echo, with: { message: '${{ item.name }}' } }\n"
            )]
        ),
        Slip(
            "`for_each` of what fails",
            &[(
                ACTION,
                "parameters: { regions: [string], version: string }\nrun:\n  workflow:\n    steps:\n      a: { fail: 'oops ${{ item }}', for_each: params.regions, parallel: 2, fail_fast: true }\n"
            )]
        ),
        Slip(
            "a negation of a function",
            &[(
                ACTION,
                "parameters: { regions: [string], version: string }\nrun:\n  workflow:\n    steps:\n      b: { action: core.noop }\n      a: { needs: b, if: !failed(), action: core.noop }\n"
            )]
        ),
        Slip(
            "a condition that is never true, and what waits for it",
            &[(
                ACTION,
                "parameters: { regions: [string], version: string }\nrun:\n  workflow:\n    steps:\n      b: { action: core.noop }\n      a: { needs: b, if: 'steps.b.status == \"failed\"', action: core.noop }\n      c: { needs: a, if: 'steps.a.status == \"failed\"', action: core.noop }\n"
            )]
        ),
        Slip(
            "a status that there is not",
            &[(
                ACTION,
                "parameters: { regions: [string], version: string }\nrun:\n  workflow:\n    steps:\n      b: { action: core.noop }\n      a: { needs: b, if: 'always() && steps.b.status == \"success\"', action: core.noop }\n"
            )]
        ),
        Slip(
            "a parameter of a step that is misspelt",
            &[(
                ACTION,
                "parameters: { regions: [string], version: string }\nrun:\n  workflow:\n    steps:\n      a: { action: core.echo, with: { mesage: hi } }\n"
            )]
        ),
        Slip(
            "a retry of a workflow",
            &[(
                ACTION,
                "parameters: { regions: [string], version: string }\nrun:\n  workflow:\n    steps:\n      a: { action: core.noop }\nretry: { attempts: 3 }\n"
            )]
        ),
        Slip(
            "a result without an expression's end",
            &[(
                ACTION,
                "parameters: { regions: [string], version: string }\nrun:\n  workflow:\n    steps:\n      a: { action: core.noop }\n    result: { a: '${{ steps.a.result' }\n"
            )]
        ),
        Slip(
            "a step that is misspelt in the result",
            &[(
                ACTION,
                "parameters: { regions: [string], version: string }\nrun:\n  workflow:\n    steps:\n      build: { action: core.noop }\n    result: { a: '${{ steps.biuld.result }}' }\n"
            )]
        ),
    ]));
}
