//! The OpenAPI document as a page for people: a single HTML file that loads nothing. Its one script makes the forms with
//! which a reader tries a call; everything else is there without it.
//!
//! It is generated from the document alone, and kept next to it.

use serde_json::Value;

use super::DATA_OF_EVENTS;

/// The page as it is kept in the repository and served, compressed. A test compares it with the one generated from the
/// document.
pub(crate) const COMPRESSED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/openapi.html.deflate"));

/// The style of the page, which contains it.
pub(crate) const STYLE: &str = include_str!("page.css");

/// The script of the page, which contains it.
pub(crate) const SCRIPT: &str = include_str!("try.js");

/// Generates the page of a document.
pub(crate) fn page(document: &Value) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>The REST API of Ensue</title><style>{STYLE}</style></head>\n<body>\n<h1>The REST API of \
         Ensue</h1>\n<p>Release {}. For programs: <a href=\"/api/v1/openapi.json\">the OpenAPI document</a>. What each problem means, \
         and how to fix it: <a href=\"/docs/errors\">the error pages</a>. Everything else: <a href=\"/docs\">the \
         documentation</a>.</p>\n",
        text(&document["info"]["version"])
    );
    let operations = operations(document);
    let mut tags: Vec<&str> = operations.iter().map(|(_, _, operation)| tag(operation)).collect();
    tags.sort_unstable();
    tags.dedup();
    html.push_str("<nav>");
    for tag in &tags {
        html.push_str(&format!("<a href=\"#{tag}\">{tag}</a> "));
    }
    html.push_str("</nav>\n");
    for tag_shown in tags {
        html.push_str(&format!("<h2 id=\"{tag_shown}\">{tag_shown}</h2>\n"));
        for (path, method, operation) in operations.iter().filter(|(_, _, operation)| tag(operation) == tag_shown) {
            html.push_str(&render_operation(document, path, method, operation));
        }
    }
    html.push_str(&format!("<script>{SCRIPT}</script>\n</body>\n</html>\n"));
    html
}

/// Returns the operations with their path and method.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths.flat_map(|(path, methods)| of_path(path, methods)).collect()
}

fn of_path<'a>(path: &'a str, methods: &'a Value) -> impl Iterator<Item = (&'a str, &'a str, &'a Value)> {
    let methods = methods.as_object().into_iter().flatten();
    methods.map(move |(method, operation)| (path, method.as_str(), operation))
}

fn tag(operation: &Value) -> &str {
    operation["tags"][0].as_str().unwrap_or_default()
}

fn render_operation(document: &Value, path: &str, method: &str, operation: &Value) -> String {
    let media = operation["requestBody"]["content"].as_object().and_then(|content| content.keys().next());
    let media = media.map(|media| format!(" data-media=\"{}\"", escape_html(media))).unwrap_or_default();
    let mut html = format!(
        "<section id=\"{id}\" data-method=\"{}\" data-path=\"{}\"{media}>\n<h3><a href=\"#{id}\"><code>{} {}</code></a></h3>\n<p>{}. {}</p>\n",
        method.to_uppercase(),
        escape_html(path),
        method.to_uppercase(),
        escape_html(path),
        text(&operation["summary"]),
        render_text(&operation["description"]),
        id = text(&operation["operationId"]),
    );
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let rows: String = parameters.map(parameter).collect();
    if !rows.is_empty() {
        html.push_str(&format!("<table class=\"parameters\"><tr><th>parameter</th><th>in</th><th>is</th><th></th></tr>\n{rows}</table>\n"));
    }
    if let Some(also) = operation["requestBody"].get("description") {
        html.push_str(&format!("<p>{}</p>\n", render_text(also)));
    }
    let content = operation["requestBody"]["content"].as_object().into_iter().flatten();
    for (media, content) in content {
        html.push_str(&format!("<p>Takes <code>{}</code>{}</p>\n", escape_html(media), of_shape(&content["schema"])));
        if let Some(example) = content.get("example") {
            html.push_str(&format!("<pre class=\"body\">{}</pre>\n", escape_html(&format!("{example:#}"))));
        }
    }
    html.push_str("<table><tr><th>answer</th><th>means</th></tr>\n");
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        let response = resolve_reference(document, response);
        let shapes = response["content"].as_object().into_iter().flatten();
        let shapes: String = shapes.map(|(_, content)| of_shape(&content["schema"])).collect();
        html.push_str(&format!("<tr><td><code>{status}</code></td><td>{}{shapes}</td></tr>\n", render_text(&response["description"])));
    }
    html.push_str("</table>\n");
    if let Some((status, example)) = example_answer(operation) {
        html.push_str(&format!(
            "<p>An example answer with <code>{status}</code>:</p>\n<pre>{}</pre>\n",
            escape_html(&format!("{example:#}"))
        ));
    }
    html.push_str("</section>\n");
    html
}

/// Returns the example of the first successful JSON answer, if there is one.
fn example_answer(operation: &Value) -> Option<(&str, &Value)> {
    let mut responses = operation["responses"].as_object()?.iter().filter(|(status, _)| status.starts_with('2'));
    responses.find_map(|(status, response)| Some((status.as_str(), response.pointer("/content/application~1json/example")?)))
}

fn parameter(parameter: &Value) -> String {
    let schema = &parameter["schema"];
    let kind = match schema["enum"].as_array() {
        Some(words) => words.iter().map(|word| format!("<code>{}</code>", text(word))).collect::<Vec<_>>().join(", "),
        None => text(schema.get("format").unwrap_or(&schema["type"])),
    };
    let (name, place, means) = (text(&parameter["name"]), text(&parameter["in"]), render_text(&parameter["description"]));
    format!("<tr><td><code>{name}</code></td><td>{place}</td><td>{kind}</td><td>{means}</td></tr>\n")
}

/// Resolves a reference; any other value is returned as it is.
fn resolve_reference<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let at = value["$ref"].as_str().and_then(|at| document.pointer(at.strip_prefix('#')?));
    at.unwrap_or(value)
}

/// Returns the name of a schema, or of the data of its events, if it has one.
fn of_shape(schema: &Value) -> String {
    let schema = schema.pointer(DATA_OF_EVENTS).unwrap_or(schema);
    let name = schema["$ref"].as_str().and_then(|at| at.rsplit('/').next());
    name.map(|name| format!(" (<code>{}</code>)", escape_html(name))).unwrap_or_default()
}

fn text(value: &Value) -> String {
    escape_html(value.as_str().unwrap_or_default())
}

/// Renders one of the document's own texts, with the text between backticks as code.
fn render_text(value: &Value) -> String {
    let text = text(value);
    let parts = text.split('`').enumerate();
    parts.map(|(at, part)| if at % 2 == 1 { format!("<code>{part}</code>") } else { part.to_owned() }).collect()
}

/// Escapes a text for HTML.
pub(crate) fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_of_the_document_is_escaped_in_html() {
        let document = json!({ "paths": { "/<b>": { "get": {
            "operationId": "a", "tags": ["t"], "summary": "<script>", "description": "`<i>`",
            "responses": { "200": { "description": "<u>" } },
        } } } });
        let page = page(&document);
        assert!(page.contains("GET /&lt;b&gt;") && page.contains("<code>&lt;i&gt;</code>"), "{page}");
        let page = page.replace(SCRIPT, "").replace("<script></script>", "");
        assert!(["<script>", "<b>", "<i>", "<u>"].iter().all(|tag| !page.contains(tag)), "{page}");
    }
}
