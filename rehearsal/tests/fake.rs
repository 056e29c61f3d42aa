//! The fake vendor of a pack: which answer a request gets, and what is noted about it.

use std::collections::BTreeMap;

use ensue_packs::{PackSource, library, tests};
use ensue_rehearsal::fake::{FakeRequest, Vendor, VendorResponse};
use serde_json::{Value, json};

const FAKE: &str = "\
keys: { token: right }
unauthorized: { status: 401, body: { error: who are you } }
invalid: { status: 422, body: { error: wrong } }
routes:
  - request: POST /items/{id}
    authorized: headers[\"authorization\"] == \"Bearer \" + keys[\"demo.token\"]
    headers: { x-version: ^2 }
    body: { type: object, required: [name], properties: { name: { type: string } } }
    answers:
      - { when: calls == 0, status: 503, headers: { retry-after: '1' } }
      - { when: body.name != \"\", status: 201, body: { id: '${{ path.id }}', name: '${{ body.name }}' } }
  - request: GET /items
    query: { type: object, required: [page] }
    answers: [{ body: { page: '${{ query.page }}' } }]
  - request: POST /forms
    encoding: form
    body: { type: object, required: ['metadata[site]'] }
    answers: [{ body: '${{ body[\"metadata[site]\"] }}' }]
";

fn vendor() -> Vendor {
    let files = [
        ("pack.yaml", "name: demo\nversion: 1.0.0\nconfig: { api: 'string = \"\"' }\nkeys: [token]\n"),
        ("fake/server.yaml", FAKE),
        ("tests/a.test.yaml", "- { it: goes, real: true, run: { action: core.noop }, expect: {} }\n"),
    ];
    let pack = PackSource::of("packs/demo", files).unwrap();
    let packs: Vec<PackSource> = library().into_iter().filter(|pack| pack.origin == "library/core").chain([pack]).collect();
    let tested = tests(&packs, &BTreeMap::new());
    assert!(tested.diagnostics.is_empty(), "{:?}", tested.diagnostics);
    let (_, suite) = tested.suites.into_iter().next_back().unwrap();
    Vendor::new(suite.fake.unwrap())
}

fn texts(given: &[(&str, &str)]) -> BTreeMap<String, String> {
    given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn post(body: &Value) -> FakeRequest {
    FakeRequest {
        method: "POST".to_owned(),
        path: "/items/7".to_owned(),
        query: BTreeMap::new(),
        headers: texts(&[("authorization", "Bearer right"), ("x-version", "2.1"), ("content-type", "application/json; charset=utf-8")]),
        body: body.to_string().into_bytes(),
        form: BTreeMap::new(),
    }
}

fn bare(status: u16, body: Value) -> VendorResponse {
    VendorResponse { status, headers: BTreeMap::new(), body: Some(body) }
}

#[test]
fn first_answer_whose_condition_holds_is_given() {
    let mut vendor = vendor();
    let busy = vendor.answer(&post(&json!({ "name": "mill" })));
    assert_eq!((busy.status, busy.headers["retry-after"].as_str(), busy.body), (503, "1", None));
    assert_eq!(vendor.answer(&post(&json!({ "name": "mill" }))), bare(201, json!({ "id": "7", "name": "mill" })));
    assert!(vendor.strays().is_empty() && vendor.refusals().is_empty());
}

#[test]
fn wrong_proof_is_refused_before_the_request_is_looked_at() {
    let mut vendor = vendor();
    let mut request = post(&json!({}));
    request.headers.insert("authorization".to_owned(), "Bearer wrong".to_owned());
    assert_eq!(vendor.answer(&request), bare(401, json!({ "error": "who are you" })));
    assert!(vendor.refusals().is_empty());
}

#[test]
fn request_that_does_not_fit_is_refused_with_the_reasons() {
    let mut vendor = vendor();
    let mut request = post(&json!({ "name": 7 }));
    request.headers.remove("x-version");
    assert_eq!(vendor.answer(&request), bare(422, json!({ "error": "wrong" })));
    let [refusal] = vendor.refusals() else { panic!("{:?}", vendor.refusals()) };
    assert!(refusal.contains("the header `x-version` is missing") && refusal.contains("the body does not fit: /name"), "{refusal}");
    let mut request = post(&json!({ "name": "mill" }));
    request.headers.insert("content-type".to_owned(), "text/plain".to_owned());
    assert_eq!(vendor.answer(&request).status, 422);
}

#[test]
fn unknown_request_and_missing_answer_fail_the_case() {
    let mut vendor = vendor();
    let mut request = post(&json!({ "name": "" }));
    vendor.answer(&request);
    assert_eq!(vendor.answer(&request).status, 500);
    request.path = "/items".to_owned();
    assert_eq!(vendor.answer(&request).status, 404);
    let [no_answer, no_route] = vendor.strays() else { panic!("{:?}", vendor.strays()) };
    assert!(no_answer.starts_with("no answer of packs/demo/fake/server.yaml:5 is meant for POST /items/7"), "{no_answer}");
    assert_eq!(no_route, "the fake vendor has no route for POST /items");
}

#[test]
fn query_and_form_are_objects_of_texts() {
    let mut vendor = vendor();
    let get = FakeRequest {
        method: "GET".to_owned(),
        path: "/items".to_owned(),
        query: texts(&[("page", "2")]),
        headers: BTreeMap::new(),
        body: Vec::new(),
        form: BTreeMap::new(),
    };
    assert_eq!(vendor.answer(&get), bare(200, json!({ "page": "2" })));
    let form = FakeRequest {
        method: "POST".to_owned(),
        path: "/forms".to_owned(),
        query: BTreeMap::new(),
        headers: texts(&[("content-type", "application/x-www-form-urlencoded")]),
        body: b"metadata%5Bsite%5D=eu".to_vec(),
        form: texts(&[("metadata[site]", "eu")]),
    };
    assert_eq!(vendor.answer(&form), bare(200, json!("eu")));
}
