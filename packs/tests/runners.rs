//! What runners return: `ensue check` rejects a `result`, or a mock of one, that can never come.

use ensue_engine::catalog::Run;
use ensue_engine::ids::{Id, RuleId};
use ensue_engine::record::CatalogRevision;
use ensue_engine::time::Timestamp;
use ensue_packs::{Code, build, library};

use crate::support::{check_packs, demo, shown_with};

/// The findings of an action that makes a request.
fn request(text: &str) -> String {
    shown_with(&[("actions/comment.yaml", &format!("{text}run: {{ http: {{ url: 'https://example.test/', method: POST }} }}\n"))])
}

#[test]
fn result_that_an_http_action_never_gives_is_an_error() {
    let reported = request("result: { id: integer, status: string }\n");
    assert!(reported.contains("`id` is never in the result: `http` always returns `{ status, headers, body }`"), "{reported}");
    assert!(reported.contains("`status` of the result is never string"), "{reported}");
    let whole = "{ type: object, required: [id], properties: { id: { type: integer } } }";
    assert!(request(&format!("result: {{ schema: {whole} }}\n")).contains("no result can ever fit this schema"));
    for fits in [
        "{ status: integer, headers: object, body: any }",
        "{ body: object }",
        "{ status: number, body: 'string?' }",
        "{ schema: { type: object, properties: { status: { enum: [200, 201] }, body: { type: object, required: [id] } } } }",
        "{ schema: { type: object, required: [status, headers, body], additionalProperties: false, properties: { status: {}, headers: {}, body: {} } } }",
    ] {
        assert_eq!(request(&format!("result: {fits}\n")), "", "{fits}");
    }
    let emits = "result: { id: string }\nrun: { emit: { trigger: demo.ping, payload: { host: a } } }\n";
    assert!(shown_with(&[("actions/tell.yaml", emits)]).contains("`emit` always returns `{ event }`"));
}

#[test]
fn mock_that_an_http_action_never_gives_is_an_error() {
    let case = |mock: &str| {
        let test =
            format!("- it: comments\n  run: {{ action: demo.comment }}\n  mocks: {{ comment: {{ result: {mock} }} }}\n  expect: {{}}\n");
        let action = "run: { http: { url: 'https://example.test/', method: POST } }\n";
        shown_with(&[("actions/comment.yaml", action), ("tests/all.test.yaml", &test)])
    };
    let reported = case("{ id: 1, status: ok }");
    assert!(reported.contains("`id` is never in the result") && reported.contains("`status` is never a string"), "{reported}");
    assert!(case("[1]").contains("the result is a list: `http` always returns `{ status, headers, body }`"));
    assert!(case("{ status: 404 }").contains("{ error: { kind: http_status, detail: 404 } }"));
    for fits in ["{}", "{ status: 201, body: { id: 1 } }", "{ body: null }", "{ headers: { etag: x } }"] {
        assert_eq!(case(fits), "", "{fits}");
    }
    assert!(request("mock: { id: 1 }\n").contains("result_impossible"));
}

#[test]
fn type_of_the_body_follows_from_parse() {
    let request = |text: &str, parse: &str| {
        let action = format!("{text}run: {{ http: {{ url: 'https://example.test/', parse: {parse} }} }}\n");
        shown_with(&[("actions/comment.yaml", &action)])
    };
    for (parse, fits, never) in [
        ("json", "object", ""),
        ("text", "string", "object"),
        ("base64", "string", "'[string]'"),
        ("artifact", "object", "string"),
        ("\"${{ execution.attempt > 1 ? 'text' : null }}\"", "integer", ""),
    ] {
        assert_eq!(request(&format!("result: {{ body: {fits} }}\n"), parse), "", "{parse}");
        if !never.is_empty() {
            let reported = request(&format!("result: {{ body: {never} }}\n"), parse);
            assert!(reported.contains("`body` of the result is never"), "{parse}: {reported}");
        }
    }
    let mapped = |output: &str, parse: &str| request(&format!("result: {{ a: any }}\noutput: {{ a: '${{{{ {output} }}}}' }}\n"), parse);
    assert_eq!(mapped("body.artifact + string(body.bytes)", "artifact"), "");
    assert!(mapped("body.name", "artifact").contains("`name`"));
    let reported = request("", "Text");
    assert!(reported.contains("`Text` is not a way to read an answer") && reported.contains("did you mean `text`?"), "{reported}");
    assert!(request("", "'${{ 7 }}'").contains("`parse`"));
}

#[test]
fn author_says_how_an_answer_becomes_text() {
    let request = |fields: &str| {
        let action = format!("run: {{ http: {{ url: 'https://example.test/', {fields} }} }}\n");
        shown_with(&[("actions/comment.yaml", &action)])
    };
    for fields in ["charset: windows-1252", "invalid: replace", "parse: text, charset: latin1, invalid: reject"] {
        assert_eq!(request(fields), "", "{fields}");
    }
    assert!(request("charset: ebcdic").contains("the charset `ebcdic` is not known"));
    assert!(request("invalid: ignore").contains("`invalid` cannot be `ignore`"));
    for form in ["base64", "artifact"] {
        let reported = request(&format!("parse: {form}, charset: latin1"));
        assert!(reported.contains(&format!("`charset` and `invalid` have no effect with `parse: {form}`")), "{reported}");
    }
}

#[test]
fn poll_reads_its_answers_by_decode_and_not_by_parse() {
    let sensor = "poll: { every: 1m, only_new: item.id, http: { url: 'https://example.test/', parse: text } }\nemits: [{ trigger: demo.ping, payload: { host: a } }]\n";
    let reported = shown_with(&[("sensors/feed.yaml", sensor)]);
    assert!(reported.contains("unknown field `parse`"), "{reported}");
}

#[test]
fn installed_pack_with_an_impossible_result_still_builds() {
    let action = "result: { id: integer }\nrun: { http: { url: 'https://example.test/' } }\n";
    let pack = demo(&[("actions/comment.yaml", action)]);
    assert!(check_packs(std::slice::from_ref(&pack), &[]).good.iter().all(|good| good.name.as_str() != "demo"));
    let good = check_packs(&[demo(&[])], &[]).good;
    let ids = |_: &_| RuleId(Id::root(Timestamp::from_micros(1), 1));
    let mut installed: Vec<_> = good.iter().map(|pack| (pack.source.clone(), pack.manifest(ids))).collect();
    installed.iter_mut().filter(|(source, _)| source.origin == pack.origin).for_each(|(source, _)| *source = pack.clone());
    assert!(build(CatalogRevision(1), &installed).is_ok());
}

#[test]
fn argument_that_names_a_file_of_the_pack_is_found_next_to_the_action() {
    let action = "run: { process: { command: [python3, ./mail.py, ./lib, ./out.txt, --fast] } }\n";
    let pack = demo(&[("actions/mail.yaml", action), ("actions/mail.py", "print()\n"), ("actions/lib/a.py", "x = 1\n")]);
    let packs: Vec<_> = library().into_iter().chain([pack]).collect();
    let checked = check_packs(&packs[packs.len() - 1..], &[]);
    let ids = |_: &_| RuleId(Id::root(Timestamp::from_micros(1), 1));
    let installed: Vec<_> = checked.good.iter().map(|pack| (pack.source.clone(), pack.manifest(ids))).collect();
    let catalog = build(CatalogRevision(1), &installed).unwrap();
    let Run::Process(process) = &catalog.actions()[&"demo.mail".parse().unwrap()].run else { panic!("it is a process") };
    assert_eq!(process.beside.iter().copied().collect::<Vec<_>>(), [1, 2]);
    let misspelt = action.replace("./mail.py", "./mial.py");
    let reported = shown_with(&[("actions/mail.yaml", &misspelt), ("actions/mail.py", "print()\n")]);
    assert!(reported.contains("did you mean `./mail.py`?") && reported.contains("warning[no_such_program]"), "{reported}");
}

#[test]
fn retry_condition_that_errs_without_a_detail_is_warned_about() {
    let reported = |when: &str| request(&format!("retry: {{ attempts: 3, when: '{when}' }}\n"));
    assert!(reported("error.detail >= 500").contains("`error.detail` is null if `error.kind` is \"timeout\""));
    for fine in ["error.kind == \"http_status\" && error.detail >= 500", "error.detail == 503", "attempt < 2"] {
        assert_eq!(reported(fine), "", "{fine}");
    }
}

#[test]
fn braces_without_a_dollar_are_warned_about() {
    let reported = |text: &str| {
        shown_with(&[("rules/say.yaml", &format!("trigger: demo.ping\naction: core.echo\nwith: {{ message: \"{text}\" }}\n"))])
    };
    assert!(reported("hi {{ event.payload.host }}").contains("write `${{ event.payload.host }}`"));
    assert!(reported("hi {{ name }}").contains("warning[braces_without_dollar]"));
    assert!(reported("hi {{ name | upper }}").contains("warning[braces_without_dollar]"));
    for fine in ["{{.State}}", "{{json .}}", "{{ range .Items }}", "hi ${{ event.payload.host }}", "{{", "{{ 'text' }}"] {
        assert_eq!(reported(fine), "", "{fine}");
    }
}

#[test]
fn invalid_test_is_reported_and_does_not_prevent_an_installation() {
    for (test, code) in [
        ("- it: runs\n  run: { action: core.ecko }\n  expect: {}\n", Code::UnknownAction),
        ("- it: [\n", Code::YamlSyntax),
        ("it: runs\n", Code::WrongType),
    ] {
        let checked = check_packs(&[demo(&[("tests/all.test.yaml", test)])], &[]);
        assert!(checked.has_errors() && checked.diagnostics.iter().any(|one| one.code == code), "{:?}", checked.diagnostics);
        assert!(checked.good.iter().any(|good| good.name.as_str() == "demo"), "{code}");
    }
}
