//! One error is reported once: a table of typical slips, each of them alone in an otherwise valid pack.
//!
//! The snapshots show the messages in the order of the tables; the tests check that there is only one.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::support::{check_packs, demo};
use ensue_packs::{Colour, Diagnostic, PackSource, check, library};

/// A slip and its files.
pub(crate) struct Slip(pub(crate) &'static str, pub(crate) &'static [(&'static str, &'static str)]);

/// Returns the findings of each slip, which must be exactly one.
#[track_caller]
pub(crate) fn findings_of_slips(slips: &[Slip]) -> String {
    let mut shown = String::new();
    let mut wrong = Vec::new();
    for Slip(what, files) in slips {
        // Without comparing with the JSON Schemas, which cannot detect a few of these slips.
        let packs: Vec<PackSource> = library().into_iter().chain([demo(files)]).collect();
        let diagnostics = check(&packs, &BTreeMap::new()).diagnostics;
        let _ = writeln!(shown, "── {what}");
        for one in &diagnostics {
            shown.push_str(&one.render(Colour::Plain));
        }
        shown.push('\n');
        if diagnostics.len() != 1 {
            let codes: Vec<String> = diagnostics.iter().map(|one: &Diagnostic| format!("{}: {}", one.code, one.message)).collect();
            wrong.push(format!("{what}: {codes:?}"));
        }
    }
    assert!(wrong.is_empty(), "each of these must be reported once:\n{}\n\n{shown}", wrong.join("\n"));
    shown
}

const RULE: &str = "rules/greet.yaml";
pub(crate) const ACTION: &str = "actions/go.yaml";
const TRIGGER: &str = "triggers/other.yaml";
const SENSOR: &str = "sensors/hook.yaml";
const PACK: &str = "pack.yaml";

#[test]
fn unknown_field_of_every_mapping_is_reported_once() {
    insta::assert_snapshot!(findings_of_slips(&[
        Slip("of a pack", &[(PACK, "name: demo\nversion: 1.0.0\ndescripton: A demo.\n")]),
        Slip("of what a pack requires", &[(PACK, "name: demo\nversion: 1.0.0\nrequires: { pack: { github: ^0.1 } }\n")]),
        Slip("of a trigger", &[(TRIGGER, "payloads: { host: string }\n")]),
        Slip("of a sensor", &[(SENSOR, "webhook: { verify: { scheme: github, key: demo.token } }\nemit:\n  - trigger: demo.ping\n")]),
        Slip("of a webhook", &[(SENSOR, "webhook: { verfy: { scheme: github, key: demo.token } }\nemits:\n  - trigger: demo.ping\n")]),
        Slip("of a signature", &[(SENSOR, "webhook: { verify: { scheme: github, keys: demo.token } }\nemits:\n  - trigger: demo.ping\n")]),
        Slip(
            "of what is emitted",
            &[(SENSOR, "webhook: { verify: { scheme: github, key: demo.token } }\nemits:\n  - trigger: demo.ping\n    if: body.x\n")]
        ),
        Slip("of an action", &[(ACTION, "parametrs: { a: string }\nrun: { shell: { script: make } }\n")]),
        Slip("of a runner's name", &[(ACTION, "run: { shel: { script: make } }\n")]),
        Slip("of a shell", &[(ACTION, "run: { shell: { scripts: make } }\n")]),
        Slip("of a process", &[(ACTION, "run: { process: { command: [make], stdin: x } }\n")]),
        Slip("of a request", &[(ACTION, "run: { http: { url: 'https://example.test/', header: { a: b } } }\n")]),
        Slip("of an event to emit", &[(ACTION, "run: { emit: { trigger: demo.ping, paylod: { host: a } } }\n")]),
        Slip("of a parameter", &[(ACTION, "parameters: { a: { type: string, descr: x } }\nrun: { shell: { script: make } }\n")]),
        Slip("of a rule", &[(RULE, "trigger: demo.ping\ncondition: event.payload.host == \"a\"\naction: core.echo\n")]),
        Slip("of a rule, as GitHub Actions has it", &[(RULE, "on: demo.ping\naction: core.echo\n")]),
        Slip(
            "of a rule in a file of several",
            &[("rules/all.yaml", "rules:\n  one:\n    trigger: demo.ping\n    wehn: true\n    action: core.echo\n")]
        ),
        Slip("with a capital", &[(RULE, "Trigger: demo.ping\naction: core.echo\n")]),
    ]));
}

#[test]
fn wrong_type_in_every_kind_of_field_is_reported_once() {
    insta::assert_snapshot!(findings_of_slips(&[
        Slip("a number for a text", &[(RULE, "description: 12\ntrigger: demo.ping\naction: core.echo\n")]),
        Slip("a list for a text", &[(RULE, "description: [a]\ntrigger: demo.ping\naction: core.echo\n")]),
        Slip("a version that YAML takes for a number", &[(PACK, "name: demo\nversion: 1.0\n")]),
        Slip("a text for a boolean", &[(ACTION, "run: { shell: { script: make } }\nidempotent: 'true'\n")]),
        Slip("a text for a number", &[(RULE, "trigger: demo.ping\naction: core.echo\npriority: high\n")]),
        Slip("a number that is not whole", &[(RULE, "trigger: demo.ping\naction: core.echo\npriority: 1.5\n")]),
        Slip("a number beyond its range", &[(RULE, "trigger: demo.ping\naction: core.echo\npriority: 101\n")]),
        Slip("a number without a unit", &[(ACTION, "run: { shell: { script: make } }\ntimeout: 10\n")]),
        Slip("a duration in weeks", &[(ACTION, "run: { shell: { script: make } }\ntimeout: 2w\n")]),
        Slip("a word that is not one of the choices", &[(ACTION, "run: { shell: { script: make } }\non_lost: retri\n")]),
        Slip("a text for a list", &[(TRIGGER, "payload: { host: string }\nindex: host\n")]),
        Slip("a text for a mapping", &[(RULE, "trigger: demo.ping\naction: core.echo\nwith: hello\n")]),
        Slip(
            "a mapping for a list",
            &[(SENSOR, "webhook: { verify: { scheme: github, key: demo.token } }\nemits: { trigger: demo.ping }\n")]
        ),
        Slip("a list for an expression", &[(RULE, "trigger: demo.ping\nwhen: [true]\naction: core.echo\n")]),
        Slip("a mapping for a trigger", &[(RULE, "trigger: { name: demo.ping }\naction: core.echo\n")]),
        Slip("a list for an action", &[(RULE, "trigger: demo.ping\naction: [core.echo]\n")]),
        Slip("a text for a command", &[(ACTION, "run: { process: { command: ./go.sh --fast } }\n")]),
        Slip("a list for a script", &[(ACTION, "run: { shell: { script: [make, all] } }\n")]),
        Slip("a text for a schema", &[(TRIGGER, "payload: string\n")]),
        Slip("a text for a rule", &[(RULE, "demo.ping\n")]),
        Slip("a list of rules", &[(RULE, "rules:\n  - trigger: demo.ping\n    action: core.echo\n")]),
        Slip("a list of names for a key", &[(PACK, "name: demo\nversion: 1.0.0\nkeys: { token: x }\n")]),
        Slip("a runner without its fields", &[(ACTION, "run: shell\n")]),
        Slip("an empty list of triggers", &[(RULE, "trigger: []\naction: core.echo\n")]),
        Slip("an empty name", &[(RULE, "trigger: ''\naction: core.echo\n")]),
    ]));
}

#[test]
fn empty_field_is_reported_wherever_it_is() {
    insta::assert_snapshot!(findings_of_slips(&[
        Slip("of a rule", &[(RULE, "trigger: demo.ping\nwith:\naction: core.echo\n")]),
        Slip("as `~`", &[(RULE, "trigger: demo.ping\nwhen: ~\naction: core.echo\n")]),
        Slip("as `null`", &[(RULE, "trigger: demo.ping\nmode: null\naction: core.echo\n")]),
        Slip("that must be there", &[(RULE, "trigger: demo.ping\naction:\n")]),
        Slip("of a runner", &[(ACTION, "run:\n  shell:\n    script:\n")]),
        Slip(
            "of an item",
            &[(SENSOR, "webhook: { verify: { scheme: github, key: demo.token } }\nemits:\n  - trigger: demo.ping\n    when:\n")]
        ),
        Slip("of a schema", &[(TRIGGER, "payload:\n  host:\n")]),
        Slip("of a local value", &[(RULE, "trigger: demo.ping\nlocal: { a: }\naction: core.echo\n")]),
        Slip("a file that is only a comment", &[(RULE, "# later\n")]),
    ]));
}

#[test]
fn yaml_trap_in_every_kind_of_file_is_reported_once() {
    insta::assert_snapshot!(findings_of_slips(&[
        Slip("a negation", &[(RULE, "trigger: demo.ping\nwhen: !has(event.payload.load)\naction: core.echo\n")]),
        Slip("a negation in a list", &[(RULE, "trigger: demo.ping\naction: core.echo\nwith: { message: [!x] }\n")]),
        Slip("a tag of Python's", &[(RULE, "trigger: demo.ping\naction: core.echo\nwith: { message: !!python/object:os.system x }\n")]),
        Slip("an include", &[(RULE, "trigger: demo.ping\naction: core.echo\nwith: !include other.yaml\n")]),
        Slip("a tag on a list", &[(TRIGGER, "payload: { host: string }\nindex: !!set [host]\n")]),
        Slip("a conditional", &[(RULE, "trigger: demo.ping\nwhen: event.payload.load > 1 ? true : false\naction: core.echo\n")]),
        Slip(
            "a comparison that begins with a quote",
            &[(RULE, "trigger: demo.ping\nwhen: 'a' == event.payload.host\naction: core.echo\n")]
        ),
        Slip(
            "a list with a method",
            &[(RULE, "trigger: demo.ping\nwhen: [\"a\", \"b\"].exists(x, x == event.payload.host)\naction: core.echo\n")]
        ),
        Slip("a map that is looked into", &[(RULE, "trigger: demo.ping\nwhen: {\"a\": 1}[event.payload.host] == 1\naction: core.echo\n")]),
        Slip("an expression in braces", &[(RULE, "trigger: demo.ping\naction: core.echo\nwith: { message: ${{ event.payload.host }} }\n")]),
        Slip("an optional type in braces", &[(TRIGGER, "payload: { note: string? }\n")]),
        Slip("a list type with a default", &[(TRIGGER, "payload:\n  regions: [string] = [\"eu\"]\n")]),
        Slip("`yes`", &[(ACTION, "run: { shell: { script: make } }\nidempotent: yes\n")]),
        Slip("`Off`", &[(RULE, "trigger: demo.ping\naction: core.echo\nwith: { message: Off }\n")]),
        Slip("`TRUE`", &[(ACTION, "run: { shell: { script: make } }\nidempotent: TRUE\n")]),
        Slip("a number with a zero before it", &[(RULE, "trigger: demo.ping\naction: core.echo\npriority: 012\n")]),
        Slip("a number with underscores", &[(RULE, "trigger: demo.ping\naction: core.echo\nwith: { message: 1_000 }\n")]),
        Slip("a hexadecimal number", &[(RULE, "trigger: demo.ping\naction: core.echo\nwith: { message: 0x1F }\n")]),
        Slip("a number with an exponent", &[(RULE, "trigger: demo.ping\naction: core.echo\nwith: { message: 1e3 }\n")]),
        Slip("a number beyond all readers", &[(RULE, "trigger: demo.ping\naction: core.echo\nwith: { message: 1e400 }\n")]),
        Slip("a whole number of 20 digits", &[(RULE, "trigger: demo.ping\naction: core.echo\nwith: { message: 99999999999999999999 }\n")]),
        Slip("a time of day", &[(RULE, "trigger: demo.ping\naction: core.echo\nwith: { message: 12:30 }\n")]),
        Slip("a date", &[(RULE, "trigger: demo.ping\naction: core.echo\nwith: { message: 2026-03-28 }\n")]),
        Slip("an infinite number", &[(RULE, "trigger: demo.ping\naction: core.echo\nwith: { message: .inf }\n")]),
        Slip("a comment behind a text", &[(RULE, "description: Fix #12\ntrigger: demo.ping\naction: core.echo\n")]),
        Slip("a colon in a text", &[(RULE, "description: Note: this is one\ntrigger: demo.ping\naction: core.echo\n")]),
        Slip("a text that begins with a quote", &[(RULE, "description: \"Fix\" the build\ntrigger: demo.ping\naction: core.echo\n")]),
        Slip("a text that begins with `@`", &[(RULE, "description: @ada wrote it\ntrigger: demo.ping\naction: core.echo\n")]),
        Slip("a text that begins with a backtick", &[(RULE, "description: `make` runs\ntrigger: demo.ping\naction: core.echo\n")]),
        Slip("a text that begins with `%`", &[(RULE, "description: %d builds\ntrigger: demo.ping\naction: core.echo\n")]),
        Slip("a text that begins with `*`", &[(RULE, "description: *all* builds\ntrigger: demo.ping\naction: core.echo\n")]),
        Slip("a text that begins with `&`", &[(RULE, "description: &c and so on\ntrigger: demo.ping\naction: core.echo\n")]),
        Slip("a tab before a field", &[(RULE, "trigger: demo.ping\naction: core.echo\nwith:\n\tmessage: hello\n")]),
        Slip(
            "a field that is not indented as its neighbours",
            &[(RULE, "trigger: demo.ping\naction: core.echo\nwith:\n    message: a\n  other: b\n")]
        ),
        Slip("a quote that is not closed", &[(RULE, "trigger: demo.ping\naction: core.echo\ndescription: 'open\n")]),
        Slip("a bracket that is not closed", &[(RULE, "trigger: [demo.ping\naction: core.echo\n")]),
        Slip("a brace that is not closed", &[(RULE, "trigger: demo.ping\naction: core.echo\nwith: { message: a\n")]),
        Slip("a field without a space behind its colon", &[(RULE, "trigger:demo.ping\naction: core.echo\n")]),
        Slip("a merge key", &[(RULE, "trigger: demo.ping\naction: core.echo\nwith: { <<: { message: a } }\n")]),
        Slip("a second document", &[(RULE, "trigger: demo.ping\naction: core.echo\n---\ntrigger: demo.ping\naction: core.echo\n")]),
        Slip("a directive", &[(RULE, "%YAML 1.1\n---\ntrigger: demo.ping\naction: core.echo\n")]),
        Slip("a key twice", &[(RULE, "trigger: demo.ping\naction: core.echo\nwith: { message: a, message: b }\n")]),
        Slip("a key that is a list", &[(RULE, "trigger: demo.ping\naction: core.echo\nwith: { [a]: b }\n")]),
        Slip(
            "an escape that YAML does not have",
            &[(RULE, "trigger: demo.ping\nwhen: \"event.payload.host.matches('\\d+')\"\naction: core.echo\n")]
        ),
        Slip(
            "an anchor that is used before its definition",
            &[(RULE, "trigger: demo.ping\naction: core.echo\nwith: { message: *name, other: &name a }\n")]
        ),
        Slip("an anchor inside what it names", &[(RULE, "trigger: demo.ping\naction: core.echo\nwith: &all { message: *all }\n")]),
    ]));
}

#[test]
fn artifacts_of_editors_in_files_are_accepted() {
    let rule = "trigger: demo.ping\nwhen: |\n  event.payload.host == \"a\"\naction: core.echo\n";
    for (what, text) in [
        ("a byte order mark", format!("\u{feff}{rule}")),
        ("carriage returns", rule.replace('\n', "\r\n")),
        ("a mark of the document's beginning", format!("---\n{rule}")),
        ("a mark of the document's end", format!("{rule}...\n")),
        ("no line end at the end", rule.trim_end().to_owned()),
        ("a line for the language server", format!("# yaml-language-server: $schema=rule.schema.json\n{rule}")),
    ] {
        let found = check_packs(&[demo(&[(RULE, &text)])], &[]).diagnostics;
        assert!(found.is_empty(), "{what}: {found:?}");
    }
}

#[test]
fn invalid_ref_or_name_is_reported_once() {
    insta::assert_snapshot!(findings_of_slips(&[
        Slip("a ref without its pack", &[(RULE, "trigger: ping\naction: core.echo\n")]),
        Slip("a ref without a name", &[(RULE, "trigger: demo.\naction: core.echo\n")]),
        Slip("a ref of three parts", &[(RULE, "trigger: demo.ping.more\naction: core.echo\n")]),
        Slip("a ref with a slash", &[(RULE, "trigger: demo/ping\naction: core.echo\n")]),
        Slip("a ref with a capital", &[(RULE, "trigger: demo.Ping\naction: core.echo\n")]),
        Slip("a trigger that is misspelt", &[(RULE, "trigger: demo.pign\naction: core.echo\n")]),
        Slip("a trigger that is far from all", &[(RULE, "trigger: demo.deployment\naction: core.echo\n")]),
        Slip("a trigger of a pack that is not there", &[(RULE, "trigger: gitlab.push\naction: core.echo\n")]),
        Slip("an action that is misspelt", &[(RULE, "trigger: demo.ping\naction: demo.shipp\nwith: { version: v1 }\n")]),
        Slip("an action that is a rule", &[(RULE, "trigger: demo.ping\naction: demo.greet\n")]),
        Slip("an action that is an expression", &[(RULE, "trigger: demo.ping\naction: '${{ event.payload.host }}'\n")]),
        Slip("a trigger that is an expression", &[(RULE, "trigger: '${{ config.owner }}'\naction: core.echo\n")]),
        Slip("an event to emit that is not there", &[(ACTION, "run: { emit: { trigger: demo.pong } }\n")]),
        Slip("a file's name with a capital", &[("rules/Greet.yaml", "trigger: demo.ping\naction: core.echo\n")]),
        Slip("a file's name with a dash", &[("rules/greet-all.yaml", "trigger: demo.ping\naction: core.echo\n")]),
        Slip("a parameter's name with a dash", &[(ACTION, "parameters: { dry-run: boolean }\nrun: { shell: { script: make } }\n")]),
        Slip(
            "a parameter's name that is a word of the language",
            &[(ACTION, "parameters: { in: string }\nrun: { shell: { script: make } }\n")]
        ),
        Slip("a local name with a capital", &[(RULE, "trigger: demo.ping\nlocal: { userName: '1' }\naction: core.echo\n")]),
        Slip("a pack's name with a dash", &[(PACK, "name: my-demo\nversion: 1.0.0\n")]),
        Slip("a version of two numbers", &[(PACK, "name: demo\nversion: '1.0'\n")]),
        Slip("a version with a v", &[(PACK, "name: demo\nversion: v1.0.0\n")]),
        Slip("an invalid range", &[(PACK, "name: demo\nversion: 1.0.0\nrequires: { packs: { github: newest } }\n")]),
        Slip("a pack that requires itself", &[(PACK, "name: demo\nversion: 1.0.0\nrequires: { packs: { demo: ^1 } }\n")]),
        Slip("a key of another pack", &[(PACK, "name: demo\nversion: 1.0.0\nkeys: [other.token]\n")]),
        Slip("a variable's name", &[(ACTION, "run: { shell: { script: make, env: { my-var: a } } }\n")]),
        Slip("a variable of Ensue's own", &[(ACTION, "run: { shell: { script: make, env: { ENSUE_DEADLINE: a } } }\n")]),
    ]));
}

#[test]
fn invalid_type_in_either_form_is_reported_once() {
    insta::assert_snapshot!(findings_of_slips(&[
        Slip("a type that is misspelt", &[(TRIGGER, "payload: { a: strng }\n")]),
        Slip("a type of another language", &[(TRIGGER, "payload: { a: int }\n")]),
        Slip("a type with a capital", &[(TRIGGER, "payload: { a: String }\n")]),
        Slip("two question marks", &[(TRIGGER, "payload:\n  a: string??\n")]),
        Slip("a default of another type", &[(TRIGGER, "payload:\n  a: integer = \"x\"\n")]),
        Slip("a default without quotes", &[(TRIGGER, "payload:\n  a: string = abc\n")]),
        Slip("a default that is missing", &[(TRIGGER, "payload:\n  a: integer =\n")]),
        Slip("a default of an optional", &[(TRIGGER, "payload:\n  a: integer? = 1\n")]),
        Slip("a default that is not one of the choices", &[(TRIGGER, "payload:\n  a: dev | prod = \"tset\"\n")]),
        Slip("a list that is not closed", &[(TRIGGER, "payload:\n  a: '[string'\n")]),
        Slip("a list of two types", &[(TRIGGER, "payload:\n  a: [string, integer]\n")]),
        Slip("an empty list", &[(TRIGGER, "payload:\n  a: []\n")]),
        Slip("an empty choice", &[(TRIGGER, "payload:\n  a: dev |\n")]),
        Slip("a choice twice", &[(TRIGGER, "payload:\n  a: dev | prod | dev\n")]),
        Slip("a choice of types", &[(TRIGGER, "payload:\n  a: string | integer\n")]),
        Slip("an empty type", &[(TRIGGER, "payload:\n  a: ''\n")]),
        Slip("a number for a type", &[(TRIGGER, "payload:\n  a: 7\n")]),
        Slip("a list of optional items", &[(TRIGGER, "payload:\n  a: '[string?]'\n")]),
        Slip("a long form without its type", &[(TRIGGER, "payload:\n  a: { description: x }\n")]),
        Slip("an invalid pattern", &[(TRIGGER, "payload:\n  a: { type: string, pattern: '(' }\n")]),
        Slip("a pattern of a number", &[(TRIGGER, "payload:\n  a: { type: integer, pattern: x }\n")]),
        Slip("a mapping that is a nested schema", &[(TRIGGER, "payload:\n  repository: { owner: string, name: string }\n")]),
        Slip("a JSON Schema that is not under `schema`", &[(TRIGGER, "payload:\n  type: object\n  properties: { a: { type: string } }\n")]),
        Slip("a JSON Schema with an unknown type", &[(TRIGGER, "payload:\n  schema: { type: objekt }\n")]),
        Slip("a field beside a JSON Schema", &[(TRIGGER, "payload:\n  schema: { type: object }\n  host: string\n")]),
    ]));
}

/// A rule with a condition, in a block.
macro_rules! when {
    ($what:literal, $when:literal) => {
        Slip($what, &[(RULE, concat!("trigger: demo.ping\nwhen: |\n  ", $when, "\naction: core.echo\n"))])
    };
}

#[test]
fn invalid_expressions_and_unknown_names_are_reported_once() {
    insta::assert_snapshot!(findings_of_slips(&[
        when!("one equals sign", "event.payload.host = \"a\""),
        when!("three equals signs", "event.payload.host === \"a\""),
        when!("`!==`", "event.payload.host !== \"a\""),
        when!("`and`", "event.payload.host == \"a\" and true"),
        when!("`or`", "event.payload.host == \"a\" or true"),
        when!("`not` before a value", "not event.payload.host.startsWith(\"a\")"),
        when!("`not in`", "event.payload.host not in [\"a\"]"),
        when!("`is`", "event.payload.host is \"a\""),
        when!("`is null`", "event.payload.load is null"),
        when!("`None`", "event.payload.load == None"),
        when!("`True`", "true == True"),
        when!("`undefined`", "event.payload.load == undefined"),
        when!("one ampersand", "true & true"),
        when!("one bar", "true | true"),
        when!("`<>`", "event.payload.host <> \"a\""),
        when!("`??`", "event.payload.load ?? 1 == 1"),
        when!("`?.`", "event.payload?.load == 1.0"),
        when!("`=~`", "event.payload.host =~ \"a.*\""),
        when!("`~`", "event.payload.host ~ \"a\""),
        when!("a pattern between slashes", "/a.*/.test(event.payload.host)"),
        when!("`.length()`", "event.payload.host.length() > 3"),
        when!("`len(x)`", "len(event.payload.host) > 3"),
        when!("`.includes`", "event.payload.host.includes(\"a\")"),
        when!("`.toLowerCase`", "event.payload.host.toLowerCase() == \"a\""),
        when!("`.lower`", "event.payload.host.lower() == \"a\""),
        when!("`.startswith`", "event.payload.host.startswith(\"a\")"),
        when!("`contains(x, y)`", "contains(event.payload.host, \"a\")"),
        when!("`startsWith(x, y)`", "startsWith(event.payload.host, \"a\")"),
        when!("`.match`", "event.payload.host.match(\"a\")"),
        when!("`.some`", "[1].some(x, x > 0)"),
        when!("`.any`", "[1].any(x, x > 0)"),
        when!("an arrow", "[1].exists(x => x > 0)"),
        when!("`now()`", "now() > timestamp(event.time)"),
        when!("`str(x)`", "str(event.payload.load) == \"1\""),
        when!("`toJSON(x)`", "toJSON(event.payload.host) == \"a\""),
        when!("`exists(x)`", "exists(event.payload.load)"),
        when!("`defined`", "defined(event.payload.load)"),
        when!("`event.payload.load exists`", "event.payload.load exists"),
        when!("a Jinja expression", "{{ event.payload.host }} == \"a\""),
        when!("a Jinja filter", "event.payload.host | lower == \"a\""),
        when!("a `${{` inside", "event.payload.host == ${{ config.owner }}"),
        when!("a `$`", "$event.payload.host == \"a\""),
        when!("a quote that is not closed", "event.payload.host == \"a"),
        when!("a bracket that is not closed", "(event.payload.host == \"a\""),
        when!("a bracket too many", "event.payload.host == \"a\")"),
        when!("a list that is not closed", "event.payload.host in [\"a\", \"b\""),
        when!("an operator at the end", "event.payload.host == \"a\" &&"),
        when!("an operator at the beginning", "&& event.payload.host == \"a\""),
        when!("two values side by side", "event.payload.host \"a\""),
        when!("a semicolon at the end", "event.payload.host == \"a\";"),
        when!("typographic quotes", "event.payload.host == “a”"),
        when!("a text without quotes", "event.payload.host == web"),
        when!("a root that is left out", "payload.host == \"a\""),
        when!("the trigger for the event", "trigger.payload.host == \"a\""),
        when!("a root that is misspelt", "evnt.payload.host == \"a\""),
        when!("`if` … `then`", "if event.payload.host == \"a\" then true else false"),
        when!("a lambda", "lambda x: x"),
        when!("a conditional without its else", "event.payload.load > 1.0 ? true"),
        when!("an assignment", "host := event.payload.host"),
        when!("a power", "2 ** 3 == 8"),
        when!("`++`", "event.payload.load++ > 1"),
        when!("an invalid escape", "event.payload.host.matches(\"\\d+\")"),
        when!("an invalid pattern", "event.payload.host.matches(\"(\")"),
        when!("too few arguments", "event.payload.host.startsWith()"),
        when!("too many arguments", "size(event.payload.host, 1) == 1"),
        when!("an unfinished path", "event.payload. == 1"),
        when!("a field with a dash", "event.payload.user-name == \"a\""),
        when!("a number with a comma", "event.payload.load > 1,5"),
        when!("a number with a unit", "event.payload.load > 10m"),
        Slip("nothing", &[(RULE, "trigger: demo.ping\nwhen: ''\naction: core.echo\n")]),
        Slip("an empty `${{ }}`", &[(RULE, "trigger: demo.ping\nwhen: ${{ }}\naction: core.echo\n")]),
        Slip("a `${{` that is not closed", &[(RULE, "trigger: demo.ping\nwhen: '${{ event.payload.host == \"a\"'\naction: core.echo\n")]),
        Slip("a `{{` in place of a value", &[(RULE, "trigger: demo.ping\nwhen: '{{ event.payload.host }}'\naction: core.echo\n")]),
        Slip(
            "a value's `${{` that is not closed",
            &[(RULE, "trigger: demo.ping\naction: core.echo\nwith: { message: 'a ${{ event.payload.host' }\n")]
        ),
        Slip(
            "a value's `}}` with one brace",
            &[(RULE, "trigger: demo.ping\naction: core.echo\nwith: { message: 'a ${{ event.payload.host } b' }\n")]
        ),
        Slip(
            "an expression in a key",
            &[(RULE, "trigger: demo.ping\naction: core.echo\nwith: { message: { '${{ config.owner }}': 1 } }\n")]
        ),
    ]));
}

#[test]
fn misuse_of_code_and_secrets_is_reported_once() {
    insta::assert_snapshot!(findings_of_slips(&[
        Slip(
            "a value in a script",
            &[(ACTION, "parameters: { tag: string }\nrun:\n  shell:\n    script: |\n      make release TAG=${{ params.tag }}\n")]
        ),
        Slip(
            "a value between quotes in a script",
            &[(ACTION, "parameters: { tag: string }\nrun: { shell: { script: 'git tag \"${{ params.tag }}\"' } }\n")]
        ),
        Slip(
            "two values in a script that has variables",
            &[(
                ACTION,
                "parameters: { a: string, b: string }\nrun:\n  shell:\n    script: echo ${{ params.a }} ${{ params.b }}\n    env: { C: c }\n"
            )]
        ),
        Slip(
            "a value in a command",
            &[(ACTION, "parameters: { tag: string }\nrun: { process: { command: [git, tag, '${{ params.tag }}'] } }\n")]
        ),
        Slip(
            "an event in the script of a rule",
            &[(RULE, "trigger: demo.ping\naction: core.shell\nwith:\n  script: echo ${{ event.payload.host }}\n")]
        ),
        Slip(
            "a parameter that is not declared as code",
            &[(ACTION, "parameters: { script: string }\nrun: { shell: { script: '${{ params.script }}' } }\n")]
        ),
        Slip("a value in a host", &[(ACTION, "parameters: { host: string }\nrun: { http: { url: 'https://${{ params.host }}/' } }\n")]),
        Slip("a URL without a scheme", &[(ACTION, "run: { http: { url: example.test/items } }\n")]),
        Slip("a URL with a password", &[(ACTION, "run: { http: { url: 'https://ada:pw@example.test/' } }\n")]),
        Slip("a key in a rule", &[(RULE, "trigger: demo.ping\naction: core.echo\nwith: { message: '${{ keys[\"demo.token\"] }}' }\n")]),
        Slip(
            "a key that is not listed",
            &[(ACTION, "run: { http: { url: 'https://example.test/', headers: { a: '${{ keys[\"demo.tokn\"] }}' } } }\n")]
        ),
        Slip(
            "a key by its bare name",
            &[(ACTION, "run: { http: { url: 'https://example.test/', headers: { a: '${{ keys.token }}' } } }\n")]
        ),
        Slip(
            "a key whose name is computed",
            &[(ACTION, "run: { http: { url: 'https://example.test/', headers: { a: '${{ keys[config.owner] }}' } } }\n")]
        ),
        Slip("a program that is not there", &[(ACTION, "run: { process: { command: [./go.sh] } }\n")]),
        Slip("a program by its absolute path", &[(ACTION, "run: { process: { command: [/usr/bin/make] } }\n")]),
    ]));
}
