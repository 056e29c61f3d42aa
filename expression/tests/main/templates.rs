//! Templates: values with expressions in their strings.

use ensue_expression::{Budget, Document, ErrorKind, Piece, Roots, Scope, Template, Value};
use serde_json::{Value as Json, json};

use super::{EVENT, document, roots};

fn render(template: &Json) -> Result<Json, ensue_expression::EvaluationError> {
    let event = document(EVENT);
    let config = Value::map([("owner", Value::from("acme"))]);
    let scope = Scope::new().with("event", event.root()).with("config", config);
    let template = Template::compile(template, &roots()).expect("the template has no mistakes");
    let document = template.render_document(&scope, &mut Budget::default());
    let rendered = template.render(&scope, &mut Budget::default());
    assert_eq!(document.map(|document| document.root().to_value()), rendered, "the document and the value of {template:?}");
    rendered
}

#[track_caller]
fn renders(template: &Json, expected: &Json) {
    assert_eq!(render(template).as_ref(), Ok(expected), "{template}");
}

#[test]
fn string_of_exactly_one_expression_keeps_its_type() {
    renders(&json!("${{ event.payload.number }}"), &json!(7));
    renders(&json!("${{event.payload.labels}}"), &json!([{"name": "bug"}, {"name": "urgent"}]));
    renders(&json!("${{ null }}"), &json!(null));
    renders(&json!({"a": ["${{ event.payload.draft }}", 1]}), &json!({"a": [false, 1]}));
}

#[test]
fn part_of_a_document_keeps_its_text() {
    const BODY: &str = r#"{ "z": [1.0, 1e2,  {"b": "\u0041", "a": {"\u0061\"": 123456789012345678901234567890}}], "a": "x" }"#;
    let body = document(BODY);
    let scope = Scope::new().with("body", body.root());
    let text = |template: Json| {
        let template = Template::compile(&template, &Roots::new(["body"])).unwrap();
        let document = template.render_document(&scope, &mut Budget::default()).unwrap();
        std::str::from_utf8(document.bytes()).unwrap().to_owned()
    };
    assert_eq!(text(json!("${{ body }}")), BODY);
    assert_eq!(text(json!("${{ body.z[2].a }}")), r#"{"\u0061\"": 123456789012345678901234567890}"#);
    assert_eq!(
        text(json!({"it": ["${{ body.z[2] }}", 1]})),
        r#"{"it":[{"b": "\u0041", "a": {"\u0061\"": 123456789012345678901234567890}},1]}"#
    );
    assert_eq!(text(json!("${{ [body.a] }}")), r#"["x"]"#);
}

#[test]
fn rendered_document_is_no_deeper_than_others() {
    let deep = document(&format!("{}{}", "[".repeat(127), "]".repeat(127)));
    let scope = Scope::new().with("body", deep.root());
    let render = |template: Json| {
        let template = Template::compile(&template, &Roots::new(["body"])).unwrap();
        template.render_document(&scope, &mut Budget::default()).map(|document| document.bytes().len()).map_err(|error| error.kind)
    };
    assert_eq!(render(json!(["${{ body }}"])), Ok(256));
    assert_eq!(render(json!([["${{ body }}"]])), Err(ErrorKind::Budget));
}

#[test]
fn other_strings_are_joined_as_text() {
    renders(&json!("#${{ event.payload.number }} by ${{ config.owner }}"), &json!("#7 by acme"));
    renders(&json!(" ${{ 1 }}"), &json!(" 1"));
    renders(&json!("${{ 1 }}${{ 2 }}"), &json!("12"));
    renders(&json!("x: ${{ event.payload.counts }}, ${{ null }}, ${{ 1.5 }}"), &json!("x: {\"a\":1,\"b\":2,\"c\":3}, null, 1.5"));
    renders(&json!("in ${{ duration('90s') }}"), &json!("in 90s"));
}

#[test]
fn double_dollar_escapes_an_expression() {
    renders(&json!("$${{ x }}"), &json!("${{ x }}"));
    renders(&json!("a $${{ ${{ 1 }} }}"), &json!("a ${{ 1 }}"));
    renders(&json!("$5 and {{ x }}"), &json!("$5 and {{ x }}"));
    assert!(Template::compile(&json!("$${{ x }}"), &roots()).unwrap().is_literal());
}

#[test]
fn braces_inside_an_expression_do_not_end_it() {
    renders(&json!("${{ {'a': {'b': 1}} }}"), &json!({"a": {"b": 1}}));
    renders(&json!("${{{'a': 1}}}"), &json!({"a": 1}));
    renders(&json!("${{ '}}' }}!"), &json!("}}!"));
}

#[test]
fn result_of_an_expression_is_never_parsed_again() {
    renders(&json!("${{ '$' + '{{ 1 + 1 }}' }}"), &json!("${{ 1 + 1 }}"));
    renders(&json!("a${{ '$' + '{{ 1 }}' }}"), &json!("a${{ 1 }}"));
}

#[test]
fn all_template_errors_are_reported_at_once_with_their_places() {
    let template = json!({
        "a": "x ${{ evnt.a }} ${{ 1 + }}",
        "b": ["fine", "${{ 1 "],
        "c/d": {"e~": "${{ now() }}"},
        "${{ k }}": 1,
        "f": "${{ }}",
        "g": "${{ } }}",
    });
    let errors = Template::compile(&template, &roots()).unwrap_err();
    let reported: Vec<_> = errors.iter().map(|error| (error.pointer.as_str(), error.span.clone(), error.message.as_str())).collect();
    assert_eq!(
        reported,
        [
            ("/${{ k }}", 0..0, "a key cannot contain `${{ }}`"),
            ("/a", 6..10, "unknown name `evnt`"),
            ("/a", 24..24, "the expression ends where a value is expected"),
            ("/b/1", 0..3, "`${{` is not closed"),
            ("/c~1d/e~0", 4..7, "unknown function `now`"),
            ("/f", 3..4, "the expression is empty"),
            ("/g", 4..5, "unmatched `}`"),
        ]
    );
    assert_eq!(errors[1].hint.as_deref(), Some("did you mean `event`?"));
}

#[test]
fn rendering_error_names_its_string() {
    let error = render(&json!({"with": {"user": "${{ event.payload.assignee.login }}"}})).unwrap_err();
    assert_eq!(error.message, "/with/user: `event.payload.assignee` is null and has no field `login`");
    assert_eq!(render(&json!("${{ event.payload.?nope }}")).unwrap_err().kind, ErrorKind::Type);
    assert_eq!(render(&json!("x ${{ b'a' }}")).unwrap_err().kind, ErrorKind::Type);
}

#[test]
fn strings_with_expressions_can_be_inspected() {
    let template = json!({"url": "https://x/${{ event.payload.number }}?q=${{ config.owner }}", "n": "${{ 1 }}", "t": "plain"});
    let template = Template::compile(&template, &roots()).unwrap();
    let strings = template.parts();
    let pointers: Vec<_> = strings.iter().map(|string| string.pointer.as_str()).collect();
    assert_eq!(pointers, ["/n", "/url"]);
    assert!(strings[0].sole_expression().is_some());
    assert!(strings[1].sole_expression().is_none());
    let texts: Vec<_> = strings[1]
        .pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Expression { expression, offset } => format!("{offset}:{}", expression.source()),
            _ => unreachable!("there are two kinds of pieces"),
        })
        .collect();
    assert_eq!(texts, ["https://x/", "13: event.payload.number ", "?q=", "43: config.owner "]);
    let read: Vec<_> = template.reads().iter().map(|path| path.segments.join(".")).collect();
    assert_eq!(read, ["event.payload.number", "config.owner"]);
}

#[test]
fn interpolations_can_be_encoded_when_joined() {
    let event = document(EVENT);
    let scope = Scope::new().with("event", event.root());
    let template = Template::compile(&json!("https://x/a b/${{ event.payload.title }}"), &roots()).unwrap();
    let text = template.render_text(&scope, &mut Budget::default(), |text| text.replace(' ', "%20"));
    assert_eq!(text, Some(Ok("https://x/a b/Grüße%20\"an\"%20alle".to_owned())));
    let list = Template::compile(&json!(["${{ 1 }}"]), &roots()).unwrap();
    assert!(list.render_text(&scope, &mut Budget::default(), str::to_owned).is_none());
}

#[test]
fn template_shares_one_budget_among_its_strings() {
    let template = json!(["${{ lists.range(600) }}", "${{ lists.range(600) }}"]);
    let template = Template::compile(&template, &roots()).unwrap();
    let error = template.render(&Scope::new(), &mut Budget::steps(1_000)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Budget);
}

#[test]
fn integer_over_64_bits_is_rendered_exactly_or_is_an_error() {
    let payload = Document::parse(
        br#"{"n": 123456789012345678901234567890, "fits": 18446744073709551615, "list": [99999999999999999999], "near": 1e20}"#[..].into(),
    )
    .unwrap();
    let event = Value::map([("payload", Value::from(payload.root()))]);
    let render = |template: serde_json::Value| {
        let template = Template::compile(&template, &roots()).unwrap();
        template.render(&Scope::new().with("event", event.clone()), &mut Budget::default())
    };
    for wrong in [
        "${{ event.payload.n }}",
        "n is ${{ event.payload.n }}",
        "${{ event.payload }}",
        "${{ event.payload.list }}",
        "${{ event.payload.list[0] }}",
        "${{ event.payload.list.map(x, x) }}",
        "${{ event.payload.n > 5.0 ? 'much' : 'little' }}",
    ] {
        let error = render(json!(wrong)).expect_err(wrong);
        assert_eq!(error.kind, ErrorKind::Invalid, "{wrong}");
        assert!(error.message.contains("does not fit in 64 bits"), "{wrong}: {}", error.message);
    }
    assert_eq!(render(json!("${{ event.payload.fits }}")).unwrap(), json!(18_446_744_073_709_551_615_u64));
    assert_eq!(render(json!("${{ event.payload.near }}")).unwrap(), json!(1e20));
    assert_eq!(render(json!("${{ event.payload.list.size() }}")).unwrap(), json!(1));
}
