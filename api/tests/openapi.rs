//! The OpenAPI document: that it is kept, whole and right. That answers are what it tells of is demanded of every answer in `support`.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::TestApi;
use crate::support::contract::{DOCUMENT, validator};

fn operations() -> impl Iterator<Item = (String, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
    })
}

#[test]
fn the_kept_document_is_what_the_routes_say() {
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/openapi.json");
    let real = format!("{:#}\n", *DOCUMENT);
    if std::env::var_os("ENSUE_OPENAPI_UPDATE").is_some() {
        std::fs::write(kept, &real).unwrap();
    }
    let is_kept = std::fs::read_to_string(kept).unwrap() == real;
    assert!(is_kept, "docs/reference/openapi.json is stale; renew it with `ENSUE_OPENAPI_UPDATE=1 cargo test -p ensue-api openapi`");
}

#[tokio::test]
async fn the_document_is_served_to_everybody() {
    let served = TestApi::new().get("/api/v1/openapi.json").answer().await.expect(200);
    assert_eq!(served.text, ensue_api::openapi::KEPT);
}

#[test]
fn every_route_is_in_the_document_and_nothing_else_is() {
    let api = TestApi::new();
    let routes: BTreeSet<String> = api.front.routes().iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    let told: BTreeSet<String> = operations().map(|(route, _)| route).collect();
    assert_eq!(told, routes);
}

#[test]
fn every_operation_has_a_name_of_its_own() {
    let mut names = BTreeSet::new();
    for (route, operation) in operations() {
        let name = operation["operationId"].as_str().unwrap();
        assert!(name.contains('_') && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{route}: {name}");
        assert!(names.insert(name), "{route}: `{name}` is another's name too");
    }
}

#[test]
fn every_problem_has_its_page() {
    let pages: BTreeSet<String> = ensue_api::slugs().map(|slug| slug.replace('-', "_")).collect();
    for (route, operation) in operations() {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let codes = &response["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"]["code"]["enum"];
            for code in codes.as_array().into_iter().flatten() {
                assert!(pages.contains(code.as_str().unwrap()), "{route} {status}: there is no page about {code}");
            }
        }
    }
}

#[test]
fn every_schema_compiles_and_every_example_holds() {
    let mut examples = 0;
    for shape in DOCUMENT["components"]["schemas"].as_object().unwrap().values() {
        let compiled = validator(shape);
        for example in shape["examples"].as_array().into_iter().flatten() {
            assert!(compiled.is_valid(example), "{example}");
        }
    }
    for (route, operation) in operations() {
        for parameter in operation["parameters"].as_array().unwrap() {
            validator(&parameter["schema"]);
        }
        for response in operation["responses"].as_object().unwrap().values() {
            for content in response["content"].as_object().unwrap().values().filter(|content| !content["schema"].is_null()) {
                validator(&content["schema"]);
            }
        }
        for content in operation["requestBody"]["content"].as_object().into_iter().flat_map(|content| content.values()) {
            if let Some(example) = content.get("example") {
                examples += 1;
                let errors: Vec<String> = validator(&content["schema"]).iter_errors(example).map(|error| error.to_string()).collect();
                assert!(errors.is_empty(), "{route}: {errors:?}");
            }
        }
    }
    assert!(examples > 10, "{examples} examples were found");
}
