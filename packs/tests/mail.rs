//! Mistakes in the runner `mail`, as the author sees them.

use crate::support::shown_with;

const SERVER: &str = "server: { host: smtp.example.test }";

/// The findings of an action that sends a mail.
fn mail(fields: &str) -> String {
    shown_with(&[("actions/tell.yaml", &format!("parameters: {{ to: string, count: integer }}\nrun:\n  mail:\n    {fields}\n"))])
}

#[test]
fn mistakes_in_mails_are_reported() {
    let from = "from: a@example.test";
    let whole = format!("{from}\n    to: b@example.test\n    text: t");
    let with = |rest: &str| format!("{SERVER}\n    {rest}");
    let mistakes = [
        ("no server", whole.clone()),
        ("a server without a host", format!("server: {{ port: 25 }}\n    {whole}")),
        ("an unknown encryption", format!("server: {{ host: a.example.test, security: startls }}\n    {whole}")),
        ("no port", format!("server: {{ host: a.example.test, port: 70000 }}\n    {whole}")),
        ("no sender", with("to: b@example.test\n    text: t")),
        ("no recipient", with(&format!("{from}\n    text: t"))),
        ("nothing to say", with(&format!("{from}\n    to: b@example.test\n    subject: s"))),
        ("a number as the recipient", with(&format!("{from}\n    to: ${{{{ params.count }}}}\n    text: t"))),
        ("a key in the text", with(&format!("{from}\n    to: b@example.test\n    text: '${{{{ keys[\"demo.token\"] }}}}'"))),
        ("a name that is not there", with(&format!("{from}\n    to: ${{{{ params.too }}}}\n    text: t"))),
        ("an unknown field", with(&format!("{whole}\n    bc: c@example.test"))),
    ];
    let all: String = mistakes.iter().map(|(what, fields)| format!("── {what}\n{}\n", mail(fields))).collect();
    insta::assert_snapshot!(all);
}
