//! The OpenAPI document: it is stored, complete and correct. The module `support` compares every answer with
//! it.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::TestApi;
use crate::support::contract::{DOCUMENT, responses_of, validator};

fn operations() -> impl Iterator<Item = (String, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
    })
}

/// The codes of the problems of a response.
fn codes_of(response: &'static Value) -> impl Iterator<Item = &'static str> {
    response["x-problem-codes"].as_array().into_iter().flatten().map(|code| code.as_str().unwrap())
}

/// Every schema of the document with its path, and all schemas below it.
fn schemas() -> Vec<(String, &'static Value)> {
    let mut found = Vec::new();
    let mut open = vec![(String::new(), &*DOCUMENT, false)];
    while let Some((at, value, is_schema)) = open.pop() {
        if is_schema {
            found.push((at.clone(), value));
        }
        match value {
            Value::Object(members) => {
                open.extend(members.iter().filter(|(name, _)| *name != "example" && *name != "examples").map(|(name, below)| {
                    let is_map = at.ends_with("/properties") || at.ends_with("/patternProperties") || at == "/components/schemas";
                    (format!("{at}/{name}"), below, is_map || matches!(name.as_str(), "schema" | "items"))
                }))
            }
            Value::Array(items) => {
                let is_schema = ["/oneOf", "/anyOf", "/allOf"].iter().any(|keyword| at.ends_with(keyword));
                open.extend(items.iter().enumerate().map(|(index, below)| (format!("{at}/{index}"), below, is_schema)));
            }
            _ => {}
        }
    }
    found
}

#[test]
fn every_schema_is_supported_by_client_generators() {
    let schemas = schemas();
    assert!(schemas.len() > 1_000, "{} schemas were found", schemas.len());
    for (at, schema) in schemas {
        assert!(schema.is_object(), "{at} is {schema}, and no object");
        let is_parameter = at.contains("/parameters/");
        assert!(is_parameter || schema.get("default").is_none(), "{at} has a default: its member would count as always there");
        assert_ne!(schema["enum"], json!(["true", "false"]), "{at} is a boolean");
        assert!(schema.get("const").is_none() || at.ends_with("/specversion") || schema["type"] == "string", "{at} is one value");
    }
}

#[test]
fn every_union_of_objects_has_named_variants_and_a_tag() {
    for (at, schema) in schemas() {
        let Some(variants) = schema["oneOf"].as_array() else { continue };
        assert!(variants.iter().all(|variant| variant["$ref"].is_string()), "{at} has a variant without a name");
        let tag = schema["discriminator"]["propertyName"].as_str().unwrap_or_else(|| panic!("{at} has no discriminator"));
        let mapping = schema["discriminator"]["mapping"].as_object().unwrap();
        assert_eq!(mapping.len(), variants.len(), "{at}");
        for (word, reference) in mapping {
            let variant = DOCUMENT.pointer(reference.as_str().unwrap().strip_prefix('#').unwrap()).unwrap();
            assert_eq!(variant["properties"][tag]["const"], json!(word), "{at}");
            assert!(variant["required"].as_array().unwrap().contains(&json!(tag)), "{at}");
        }
    }
}

#[test]
fn every_problem_response_has_the_problem_schema_and_lists_its_codes() {
    for (route, operation) in operations() {
        for (status, response) in responses_of(operation) {
            let Some(content) = response["content"].get("application/problem+json") else { continue };
            assert_eq!(content["schema"], json!({ "$ref": "#/components/schemas/Problem" }), "{route} {status}");
            let is_shared = response["content"].as_object().unwrap().len() > 1;
            for code in codes_of(response) {
                let described = response["description"].as_str().unwrap();
                assert!(is_shared || described.contains(&format!("`{code}`")), "{route} {status}: {described}");
            }
        }
    }
}

#[test]
fn every_request_body_is_documented_with_json_as_its_only_media_type() {
    for (route, operation) in operations() {
        let media: Vec<&String> = operation["requestBody"]["content"].as_object().into_iter().flat_map(|content| content.keys()).collect();
        assert!(media.is_empty() || media == ["application/json"], "{route}: {media:?}");
    }
}

#[test]
fn no_route_changes_a_record() {
    let of_the_log: Vec<String> = DOCUMENT["paths"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(path, _)| path.split('/').any(|part| part == "log"))
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |method| format!("{method} {path}")))
        .filter(|operation| !operation.starts_with("get ") && !operation.starts_with("parameters "))
        .collect();
    assert_eq!(of_the_log.len(), 1, "{of_the_log:?}");
    assert!(of_the_log[0].starts_with("post ") && of_the_log[0].ends_with("/log/verify"), "{of_the_log:?}");
}

#[test]
fn every_tag_is_declared_and_used() {
    let declared: BTreeSet<&str> = DOCUMENT["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    let used: BTreeSet<&str> = operations().map(|(_, operation)| operation["tags"][0].as_str().unwrap()).collect();
    assert_eq!(declared, used);
}

#[test]
fn every_successful_answer_with_a_body_has_a_valid_example() {
    let mut examples = 0;
    for (route, operation) in operations() {
        for (status, response) in responses_of(operation) {
            for (media, content) in response["content"].as_object().unwrap() {
                if media == "application/problem+json" {
                    continue;
                }
                let example = content.get("example").unwrap_or_else(|| panic!("{route} {status}: {media} has no example"));
                examples += 1;
                if content.get("schema").is_some() {
                    let errors: Vec<String> = validator(&content["schema"])
                        .iter_errors(example)
                        .map(|error| format!("{}: {error}", error.instance_path()))
                        .collect();
                    assert!(errors.is_empty(), "{route} {status}: {errors:#?}");
                }
            }
        }
    }
    assert!(examples > 90, "{examples} examples were found");
}

#[test]
fn data_of_every_event_stream_has_a_schema_and_a_valid_example() {
    let mut streams = BTreeMap::new();
    for (route, operation) in operations() {
        for (_, response) in responses_of(operation) {
            let Some(content) = response["content"].get("text/event-stream") else { continue };
            let schema = &content["schema"];
            assert_eq!(schema.get("type"), None, "{route}: the example is a text, and each event is an object");
            let data = &schema["properties"]["data"];
            assert_eq!((&data["type"], &data["contentMediaType"]), (&json!("string"), &json!("application/json")), "{route}");
            let of_data = &data["contentSchema"];
            let example = content["example"].as_str().unwrap();
            let (_, data) = example.strip_suffix("\n\n").unwrap().split_once("data: ").unwrap();
            let data: Value = serde_json::from_str(data).unwrap();
            let errors: Vec<String> = validator(of_data).iter_errors(&data).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{route}: {errors:?}");
            streams.insert(route.clone(), of_data["anyOf"][0]["$ref"].as_str().unwrap());
        }
    }
    let record = "#/components/schemas/Record";
    let expected = [
        ("GET /api/v1/changes", "#/components/schemas/Changes"),
        ("GET /api/v1/executions/{id}/logs", "#/components/schemas/Output"),
        ("GET /api/v1/executions/{id}/stream", record),
        ("GET /api/v1/hooks/{pack}/{sensor}/stream", "#/components/schemas/Heard"),
        ("GET /api/v1/log/stream", record),
    ];
    assert_eq!(streams, expected.map(|(route, schema)| (route.to_owned(), schema)).into());
}

#[test]
fn kinds_of_records_are_listed_and_not_closed() {
    let schemas = &DOCUMENT["components"]["schemas"];
    assert_eq!(schemas["Record"]["properties"]["kind"], json!({ "$ref": "#/components/schemas/FactKind" }));
    let kind = &schemas["FactKind"];
    let all: Vec<&str> = ensue_engine::fact::Fact::KINDS.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kind["examples"], json!(all));
    assert!(validator(kind).is_valid(&json!("release.later")));
}

#[test]
fn every_stored_example_belongs_to_an_answer() {
    let kept: BTreeMap<String, Value> = serde_json::from_str(include_str!("../src/openapi/examples.json")).unwrap();
    let text = DOCUMENT["paths"].to_string();
    for name in kept.keys() {
        assert!(text.contains(&format!("#/components/schemas/{name}\"")), "no answer has the schema `{name}`");
    }
}

#[test]
fn stored_document_matches_the_routes() {
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/openapi.json");
    let real = format!("{:#}\n", *DOCUMENT);
    if std::env::var_os("ENSUE_OPENAPI_UPDATE").is_some() {
        std::fs::write(kept, &real).unwrap();
    }
    let is_kept = std::fs::read_to_string(kept).unwrap() == real;
    assert!(is_kept, "docs/reference/openapi.json is stale; renew it with `ENSUE_OPENAPI_UPDATE=1 cargo test -p ensue-api openapi`");
}

#[test]
fn stored_page_matches_the_document() {
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/openapi.html");
    let real = TestApi::new().front.openapi_page();
    if std::env::var_os("ENSUE_OPENAPI_UPDATE").is_some() {
        std::fs::write(kept, &real).unwrap();
    }
    let is_kept = std::fs::read_to_string(kept).unwrap() == real;
    assert!(is_kept, "docs/reference/openapi.html is stale; renew it with `ENSUE_OPENAPI_UPDATE=1 cargo test -p ensue-api openapi`");
}

#[tokio::test]
async fn docs_page_is_public_loads_nothing_and_allows_only_its_own_style_and_script() {
    let page = TestApi::new().get("/docs/reference/openapi").answer().await.expect(200);
    for (route, operation) in operations() {
        assert!(page.text.contains(&format!("<section id=\"{}\" ", operation["operationId"].as_str().unwrap())), "{route}");
    }
    assert_eq!(page.text.matches("<script").count(), 1);
    for foreign in ["<script ", "<img", "<link", "<iframe", " src=", "=\"http", "=\"//", "@import", "url("] {
        assert!(!page.text.contains(foreign), "{foreign}");
    }
    let within = |tag: &str| {
        let (_, rest) = page.text.split_once(&format!("<{tag}>")).unwrap();
        BASE64.encode(Sha256::digest(rest.split_once(&format!("</{tag}>")).unwrap().0))
    };
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with(&format!("default-src 'none'; style-src 'sha256-{}';", within("style"))), "{policy}");
    assert!(policy.ends_with(&format!("; script-src 'sha256-{}'; connect-src 'self'", within("script"))), "{policy}");
}

#[tokio::test]
async fn document_is_public() {
    let served = TestApi::new().get("/api/v1/openapi.json").answer().await.expect(200);
    assert_eq!(served.text, include_str!("../../docs/reference/openapi.json"));
}

#[test]
fn document_lists_exactly_the_routes() {
    let api = TestApi::new();
    let routes: BTreeSet<String> = api.front.routes().iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    let told: BTreeSet<String> = operations().map(|(route, _)| route).collect();
    assert_eq!(told, routes);
}

#[test]
fn every_operation_has_a_unique_name() {
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
    let all = DOCUMENT["components"]["schemas"]["ProblemCode"]["enum"].as_array().unwrap();
    let mut problems = 0;
    for (route, operation) in operations() {
        for (status, response) in responses_of(operation) {
            for code in codes_of(response) {
                problems += 1;
                assert!(pages.contains(code), "{route} {status}: there is no page about `{code}`");
                assert!(all.contains(&json!(code)), "{route} {status}: `ProblemCode` lacks `{code}`");
            }
        }
    }
    assert!(problems > 1_000, "{problems} problems were found");
}

/// Problems that no operation returns: those of the command line, of a node's start, of its workers, of a
/// check of its files, of a connection without TLS, and of a method that no operation has.
const NOT_ANSWERED: &[&str] = &[
    "attempt-not-running",
    "catalog-unbuildable",
    "config-invalid",
    "copy-target-not-empty",
    "damaged-file",
    "data-from-a-newer-release",
    "data-in-use",
    "data-not-local",
    "data-unusable",
    "database-address",
    "database-failed",
    "database-unavailable",
    "database-unsuitable",
    "fact-newer-than-format",
    "fencing-token-old",
    "file-unusable",
    "filter-unknown",
    "foreign-database",
    "foreign-file",
    "key-unavailable",
    "log-chain-broken",
    "log-copy-unfinished",
    "log-cut",
    "log-damaged",
    "log-elsewhere",
    "log-led-elsewhere",
    "log-missing",
    "log-refused",
    "log-rewritten",
    "log-tail-missing",
    "master-key-exists",
    "master-key-exposed",
    "master-key-malformed",
    "master-key-missing",
    "master-key-unusable",
    "master-key-wrong",
    "method-not-allowed",
    "nothing-restored",
    "objects-unusable",
    "outside-head-malformed",
    "pack-copy-unusable",
    "programs-left",
    "proxy-header-refused",
    "schedule-invalid",
    "sensor-run-over",
    "several-logs",
    "sqlite-too-old",
    "start-refused",
    "state-folder-unset",
    "state-folder-unusable",
    "tls-required",
    "tls-unusable",
    "too-many-dead-letters",
    "too-many-messages",
];

#[test]
fn every_error_page_is_of_a_documented_or_unanswered_problem() {
    let mut told = BTreeSet::new();
    for (_, operation) in operations() {
        for response in responses_of(operation).values() {
            told.extend(codes_of(response).map(|code| code.replace('_', "-")));
        }
    }
    let untold: Vec<&str> = ensue_api::slugs().filter(|slug| !told.contains(*slug)).collect();
    assert_eq!(untold, NOT_ANSWERED);
}

#[test]
fn every_schema_compiles_and_every_example_is_valid() {
    let mut examples = 0;
    for shape in DOCUMENT["components"]["schemas"].as_object().unwrap().values() {
        let compiled = validator(shape);
        for example in shape["examples"].as_array().into_iter().flatten() {
            assert!(compiled.is_valid(example), "{example}");
        }
    }
    for (route, operation) in operations() {
        for parameter in operation["parameters"].as_array().unwrap() {
            let compiled = validator(&parameter["schema"]);
            for example in parameter["schema"]["examples"].as_array().into_iter().flatten() {
                assert!(compiled.is_valid(example), "{route}: {example} is no {}", parameter["name"]);
            }
        }
        for response in responses_of(operation).values() {
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
