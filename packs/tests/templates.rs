//! Templates of actions: parameters that are stored with a name.

use crate::support::shown_with;

/// The findings of an action with a region and a count as parameters, and these templates.
fn action(templates: &str) -> String {
    let text =
        format!("parameters: {{ region: eu | us, times: 'integer = 1' }}\nrun: {{ shell: {{ script: make }} }}\ntemplates: {templates}\n");
    shown_with(&[("actions/deploy.yaml", &text)])
}

#[test]
fn template_may_have_only_some_of_the_parameters() {
    assert_eq!(action("{ nightly: { region: eu }, twice: { times: 2 }, usual: {} }"), "");
}

#[test]
fn invalid_template_parameters_are_reported() {
    insta::assert_snapshot!(action("{ nightly: { region: mars, colour: red }, twice: 2 }"));
    insta::assert_snapshot!(action("{ Night-ly: {} }"));
    insta::assert_snapshot!(action("[nightly]"));
}
