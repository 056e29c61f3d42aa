//! Measures expressions on a delivery of the usual size: GitHub's pull request of 22 KB.
//!
//! Run it with `cargo bench -p ensue-expression`. The figures are listed in `docs/performance.md`.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use ensue_expression::{Budget, Document, Expression, Roots, Scope, Template, Value};
use serde_json::json;

/// The delivery of the demonstration and of `ensue bench`.
const PULL_REQUEST: &[u8] = include_bytes!("../../bench/fixtures/pull_request.json");

const TWO_EQUALITIES: &str = r#"event.payload.action == "opened" && event.payload.repository.full_name == "harbour/lamplight""#;

const TYPICAL: &str = r#"
    event.payload.action in ["opened", "reopened", "synchronize"]
      && event.payload.pull_request.base.ref == event.payload.repository.default_branch
      && !event.payload.pull_request.draft
      && event.payload.pull_request.user.login != config.bot
      && (event.payload.pull_request.title.startsWith("Release")
        || event.payload.pull_request.labels.exists(label, label.name == "enhancement"))
"#;

const PATTERN: &str = r#"event.payload.pull_request.html_url.matches("^https://github\\.com/[a-z]+/[a-z]+/pull/[0-9]+$")"#;

fn roots() -> Roots {
    Roots::new(["event", "config"])
}

fn scope(document: &Document) -> Scope<'_> {
    let event = Value::map([("payload", Value::from(document.root())), ("trigger", Value::from("github.pull_request"))]);
    Scope::new().with("event", event).with("config", Value::map([("bot", Value::from("robot"))]))
}

fn documents(criterion: &mut Criterion) {
    criterion.bench_function("parse the document", |bencher| {
        bencher.iter_batched(
            || PULL_REQUEST.to_vec(),
            |bytes| Document::parse(Bytes::from(bytes)).expect("the delivery is JSON"),
            criterion::BatchSize::SmallInput,
        );
    });
}

fn compiling(criterion: &mut Criterion) {
    let roots = roots();
    for (name, source) in [("compile two equalities", TWO_EQUALITIES), ("compile a typical rule", TYPICAL), ("compile a pattern", PATTERN)]
    {
        criterion.bench_function(name, |bencher| bencher.iter(|| Expression::compile(black_box(source), &roots).expect("it compiles")));
    }
}

fn evaluating(criterion: &mut Criterion) {
    let document = Document::parse(Bytes::from_static(PULL_REQUEST)).expect("the delivery is JSON");
    let scope = scope(&document);
    for (name, source) in
        [("evaluate two equalities", TWO_EQUALITIES), ("evaluate a typical rule", TYPICAL), ("evaluate a pattern", PATTERN)]
    {
        let expression = Expression::compile(source, &roots()).expect("it compiles");
        assert_eq!(expression.holds(&scope, &mut Budget::default()), Ok(true), "{name}: all of it is looked at");
        criterion.bench_function(name, |bencher| bencher.iter(|| expression.holds(black_box(&scope), &mut Budget::default())));
    }
    let typical = Expression::compile(TYPICAL, &roots()).expect("it compiles");
    criterion.bench_function("explain a typical rule", |bencher| {
        bencher.iter(|| typical.explain(black_box(&scope), &mut Budget::default()));
    });
    let template = json!({
        "repository": "${{ event.payload.repository.full_name }}",
        "number": "${{ event.payload.pull_request.number }}",
        "body": "Thanks, ${{ event.payload.pull_request.user.login }}: ${{ event.payload.pull_request.title }}",
        "labels": "${{ event.payload.pull_request.labels.map(label, label.name) }}",
    });
    let template = Template::compile(&template, &roots()).expect("it compiles");
    assert!(template.render(&scope, &mut Budget::default()).is_ok());
    criterion.bench_function("render parameters", |bencher| {
        bencher.iter(|| template.render(black_box(&scope), &mut Budget::default()));
    });
}

criterion_group!(benches, documents, compiling, evaluating);
criterion_main!(benches);
