//! The identity of a sensor: a digest of everything that gives its cursor a meaning.

use std::collections::BTreeMap;

use ensue_expression::{Expression, Path, Template};
use serde_json::{Value, json};

use super::{FileContent, PollTarget, PolledAction, Sensor, Source};
use crate::catalog::{HttpRequest, Route, UsedConnection};
use crate::record::Digest;

/// The name of the configuration in expressions.
const CONFIG: &str = "config";

pub(super) fn of(sensor: &Sensor) -> Digest {
    let meaning = match &sensor.source {
        Source::Webhook { .. } | Source::Timer { .. } => Value::Null,
        Source::Process(process) => {
            let settings = settings(&sensor.config, process.input.iter().flat_map(Template::reads));
            json!({ "command": process.command, "input": process.input.as_ref().map(Template::to_source), "config": settings })
        }
        Source::Poll(poll) => {
            let cursor = poll.cursor.as_ref();
            let starts = cursor.iter().flat_map(|cursor| cursor.start.reads());
            let (start, next) = (cursor.map(|cursor| cursor.start.source()), cursor.map(|cursor| cursor.next.source()));
            let only_new = poll.only_new.as_ref().map(Expression::source);
            // Sensors without a connection keep the identity that they had before there were connections.
            let used = poll.asked.http().and_then(|request| of_connection(request, &sensor.config));
            let mut meaning = match &poll.asked {
                PollTarget::Http(request) => {
                    let url = request.url(if used.is_some() { Route::Connection } else { Route::Own });
                    json!({
                        "url": url.to_source(),
                        "start": start,
                        "next": next,
                        "only_new": only_new,
                        "config": settings(&sensor.config, url.reads().into_iter().chain(starts)),
                    })
                }
                PollTarget::Action(PolledAction { action, with }) => json!({
                    "action": action.as_str(),
                    "with": with.to_source(),
                    "start": start,
                    "next": next,
                    "only_new": only_new,
                    "config": settings(&sensor.config, with.reads().into_iter().chain(starts)),
                }),
            };
            if let (Some(used), Value::Object(meaning)) = (used, &mut meaning) {
                meaning.insert("connection".to_owned(), used);
            }
            meaning
        }
        Source::File(file) => json!({
            "path": file.path.to_source(),
            "tail": file.content == FileContent::Tail,
            "config": settings(&sensor.config, file.path.reads()),
        }),
    };
    Digest::of(format!("{} {meaning}", sensor.source.word()).as_bytes())
}

/// Returns the name of the connection that a request uses. A setting without a value counts, unless the request says what it
/// has instead.
fn of_connection(request: &HttpRequest, config: &Value) -> Option<Value> {
    let name = match request.connection.as_ref()? {
        UsedConnection::Named(name) => name.as_str().into(),
        // A sensor has no parameters.
        UsedConnection::Parameter(_) => Value::Null,
        UsedConnection::Setting(name) => config.get(name).cloned().unwrap_or_default(),
    };
    (!name.is_null() || request.without_connection.is_none()).then_some(name)
}

/// Returns the values of the configuration that these paths read, by path.
fn settings(config: &Value, paths: impl IntoIterator<Item = Path>) -> BTreeMap<String, Value> {
    let read = paths.into_iter().filter(|path| path.segments.first().is_some_and(|root| root == CONFIG));
    read.map(|path| {
        let inner = path.segments.iter().skip(1);
        let value = inner.fold(config, |value, name| value.get(name.as_str()).unwrap_or(&Value::Null));
        (path.segments.join("."), value.clone())
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::time::Duration;

    use ensue_expression::Roots;

    use super::*;
    use crate::catalog::sensor::{FirstPoll, PollCursor, PollMemory, PollSource, PollTimes, ProcessSource, Reading, Restart};
    use crate::catalog::{HttpBody, TextDecoding, WithoutConnection};

    fn roots() -> Roots {
        Roots::new(["config", "cursor", "items", "keys"])
    }

    fn template(value: &Value) -> Template {
        Template::compile(value, &roots()).unwrap()
    }

    fn expression(source: &str) -> Expression {
        Expression::compile(source, &roots()).unwrap()
    }

    fn reading() -> Reading {
        Reading::default()
    }

    fn request() -> HttpRequest {
        HttpRequest {
            connection: None,
            without_connection: None,
            url: template(&json!("${{ config.api }}/items")),
            method: template(&json!("GET")),
            headers: template(&json!({})),
            query: template(&json!({ "since": "${{ cursor }}" })),
            body: HttpBody::None,
            parse: None,
            text_decoding: TextDecoding::default(),
            signing: None,
        }
    }

    fn poll() -> PollSource {
        PollSource {
            times: PollTimes::Every(Duration::from_secs(60)),
            asked: PollTarget::Http(Arc::new(request())),
            items: None,
            next_page: None,
            pages_max: 100,
            items_max: 100,
            cursor: Some(PollCursor { start: expression("''"), next: expression("items.map(i, i.at).sort().last()") }),
            only_new: None,
            remember: PollMemory::default(),
            first: FirstPoll::Skip,
            reading: reading(),
        }
    }

    fn sensor(source: Source, config: Value) -> Sensor {
        let name = "feed.items".parse().unwrap();
        Sensor { name, description: String::new(), source, emits: Vec::new(), config: Arc::new(config) }
    }

    fn polling(poll: PollSource) -> Digest {
        sensor(Source::Poll(Arc::new(poll)), json!({ "api": "http://a.example", "other": 1 })).identity()
    }

    #[test]
    fn identity_of_a_poll_survives_another_period_and_other_keys() {
        let as_it_was = polling(poll());
        assert_eq!(polling(PollSource { times: PollTimes::Every(Duration::from_secs(5)), ..poll() }), as_it_was);
        let headers = template(&json!({ "Authorization": "${{ keys[\"feed.token\"] }}" }));
        assert_eq!(polling(PollSource { asked: PollTarget::Http(Arc::new(HttpRequest { headers, ..request() })), ..poll() }), as_it_was);
        let elsewhere = sensor(Source::Poll(Arc::new(poll())), json!({ "api": "http://a.example", "other": 2 }));
        assert_eq!(elsewhere.identity(), as_it_was);
    }

    #[test]
    fn identity_of_a_poll_changes_with_its_url_and_its_cursor() {
        let as_it_was = polling(poll());
        let elsewhere = sensor(Source::Poll(Arc::new(poll())), json!({ "api": "http://b.example" }));
        assert_ne!(elsewhere.identity(), as_it_was);
        assert_ne!(polling(PollSource { cursor: None, ..poll() }), as_it_was);
        assert_ne!(polling(PollSource { only_new: Some(expression("items.size()")), ..poll() }), as_it_was);
    }

    #[test]
    fn identity_of_a_poll_survives_a_connection_that_is_possible_and_not_used() {
        let as_it_was = polling(poll());
        let request = HttpRequest {
            connection: Some(UsedConnection::Setting("connection".to_owned())),
            without_connection: Some(Box::new(WithoutConnection { url: request().url, headers: template(&json!({})), json: None })),
            url: template(&json!("/items")),
            ..request()
        };
        let source = Source::Poll(Arc::new(PollSource { asked: PollTarget::Http(Arc::new(request)), ..poll() }));
        assert_eq!(sensor(source.clone(), json!({ "api": "http://a.example", "connection": null })).identity(), as_it_was);
        assert_ne!(sensor(source, json!({ "api": "http://a.example", "connection": "feed" })).identity(), as_it_was);
    }

    #[test]
    fn identity_of_a_polled_action_changes_with_the_action_and_its_parameters() {
        let action = |name: &str, with: Value| {
            let action = PolledAction { action: name.parse().unwrap(), with: template(&with) };
            polling(PollSource { asked: PollTarget::Action(action), ..poll() })
        };
        let as_it_was = action("feed.fetch", json!({ "api": "${{ config.api }}", "since": "${{ cursor }}" }));
        assert_eq!(action("feed.fetch", json!({ "api": "${{ config.api }}", "since": "${{ cursor }}" })), as_it_was);
        assert_ne!(action("feed.other", json!({ "api": "${{ config.api }}", "since": "${{ cursor }}" })), as_it_was);
        assert_ne!(action("feed.fetch", json!({ "since": "${{ cursor }}" })), as_it_was);
        assert_ne!(as_it_was, polling(poll()));
    }

    #[test]
    fn identity_of_a_process_survives_an_upgrade_of_its_pack() {
        let process = |pack: &str, command: &str| {
            let source = ProcessSource {
                command: vec![command.to_owned()],
                beside: BTreeSet::new(),
                input: Some(template(&json!({ "url": "${{ config.api }}" }))),
                env: Vec::new(),
                grace: Duration::from_secs(10),
                restart: Restart::Always,
                reading: reading(),
                pack: Digest::of(pack.as_bytes()),
            };
            sensor(Source::Process(Arc::new(source)), json!({ "api": "http://a.example" })).identity()
        };
        assert_eq!(process("1", "./watch.py"), process("2", "./watch.py"));
        assert_ne!(process("1", "./watch.py"), process("1", "./other.py"));
    }
}
