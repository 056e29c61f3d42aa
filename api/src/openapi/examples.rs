//! An example of each successful answer, as a node returned it: by the name of the schema, or by the media
//! type if the schema has no name.
//!
//! A test checks each example against its schema, and finds answers without an example.

use serde_json::{Map, Value};

use super::DATA_OF_EVENTS;

/// The answers in JSON, by the names of their schemas.
const OF_SCHEMAS: &str = include_str!("examples.json");

/// The events of streams, by the names of the schemas of their data: the lines before the data.
const OF_EVENTS: &[(&str, &str)] =
    &[("Changes", "id: 31\n"), ("Heard", "id: 7\n"), ("Output", "id: 1.stdout.23.stderr.0\nevent: output\n"), ("Record", "id: 10\n")];

/// The other answers: the operation, or all of them, the media type, and the answer.
const OF_MEDIA: &[(Option<&str>, &str, &str)] = &[
    (Some("metrics_get"), "text/plain", "# TYPE ensue_events_total counter\nensue_events_total 152\n"),
    (None, "*/*", "7 files, 3 of them new\n"),
    (None, "application/octet-stream", "7 files, 3 of them new\n"),
    (None, "application/openmetrics-text", "# TYPE ensue_events counter\nensue_events_total 152\n# EOF\n"),
    (
        None,
        "application/x-ndjson",
        "{\"position\":152,\"time\":\"2026-03-28T09:00:00.250000Z\",\"actor\":\"token/ci\",\"actor_name\":\"ci\",\"credential\":\"token/ci\",\"credential_name\":\"ci\",\"what\":\"key.set\",\"of\":\"key/release.deploy_token\",\"of_name\":null,\"permission\":null,\"way\":null,\"count\":null,\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\"}\n",
    ),
    (None, "image/png", "the bytes of the picture"),
    (
        None,
        "text/csv",
        "time,position,actor,actor_name,credential,credential_name,what,of,of_name,permission,way,count,trace_id\n\
         2026-03-28T09:00:00.250000Z,152,token/ci,ci,token/ci,ci,key.set,key/release.deploy_token,,,,,0af7651916cd43dd8448eb211c80319c\n",
    ),
    (None, "text/html", "<!doctype html>\n<title>There is nothing at this path</title>\n"),
    (None, "text/markdown", "# There is nothing at this path\n"),
    (None, "text/plain", "7 files, 3 of them new\n"),
];

/// Adds the examples to a document.
pub(super) fn add(document: &mut Value) {
    let of_schemas: Map<String, Value> =
        serde_json::from_str(OF_SCHEMAS).expect("our own examples are JSON, as a test of the document shows");
    let methods = document["paths"].as_object_mut().into_iter().flatten();
    let operations = methods.flat_map(|(_, methods)| methods.as_object_mut().into_iter().flatten());
    for (_, operation) in operations {
        let id = operation["operationId"].as_str().map(str::to_owned);
        for (_, response) in operation["responses"].as_object_mut().into_iter().flatten() {
            let Some(content) = response.get_mut("content").and_then(Value::as_object_mut) else { continue };
            for (media, content) in content {
                let is_of = |of: Option<&str>, known: &str| known == media && (of.is_none() || of == id.as_deref());
                let example = match (schema_name(content, "/schema"), schema_name(content, &format!("/schema{DATA_OF_EVENTS}"))) {
                    (Some(name), _) => of_schemas.get(name).cloned(),
                    (None, Some(data)) => event(&of_schemas, data),
                    (None, None) => OF_MEDIA.iter().find(|(of, known, _)| is_of(*of, known)).map(|(_, _, text)| (*text).into()),
                };
                if let Some(example) = example {
                    content["example"] = example;
                }
            }
        }
    }
}

/// Returns the name of the schema at a place, if it has one.
fn schema_name<'a>(content: &'a Value, at: &str) -> Option<&'a str> {
    content.pointer(at)?["$ref"].as_str()?.rsplit('/').next()
}

/// Returns an event whose data is the example of a schema.
fn event(of_schemas: &Map<String, Value>, data: &str) -> Option<Value> {
    let (_, lines) = OF_EVENTS.iter().find(|(name, _)| *name == data)?;
    Some(format!("{lines}data: {}\n\n", of_schemas.get(data)?).into())
}
