//! Content codings of answers: the same content compressed, with separate tags.

use std::io::Read as _;

use axum::http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::json;

use crate::support::TestApi;

const PATH: &str = "/api/v1/log?limit=200";
const CODINGS: [&str; 3] = ["zstd", "br", "gzip"];

async fn got(api: &TestApi, path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Vec<u8>) {
    let asked = headers.iter().fold(api.get(path).by("admin"), |asked, (name, value)| asked.with(name, value));
    let (parts, body) = asked.response().await.into_parts();
    (parts.status, parts.headers, body.collect().await.unwrap().to_bytes().to_vec())
}

fn decompress(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match coding {
        "zstd" => plain = zstd::decode_all(bytes).unwrap(),
        "br" => drop(brotli::Decompressor::new(bytes, 4096).read_to_end(&mut plain).unwrap()),
        _ => drop(flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).unwrap()),
    }
    plain
}

async fn with_records(records: usize) -> TestApi {
    let api = TestApi::new();
    for _ in 0..records {
        api.event("ana").await;
    }
    api
}

#[tokio::test]
async fn codings_return_the_same_answer_with_fewer_bytes_and_separate_tags() {
    let api = with_records(20).await;
    let (_, headers, plain) = got(&api, PATH, &[]).await;
    assert!(plain.len() > 16 * 1024, "both ways of coding are tried");
    assert_eq!((headers.get("content-encoding"), &headers["vary"]), (None, &"accept-encoding".parse().unwrap()));
    let mut tags = vec![headers["etag"].clone()];
    for path in [PATH, "/api/v1/log?limit=5"] {
        let (_, _, plain) = got(&api, path, &[]).await;
        for coding in CODINGS {
            let (status, headers, bytes) = got(&api, path, &[("accept-encoding", coding)]).await;
            assert_eq!((status, &headers["content-encoding"]), (StatusCode::OK, &coding.parse().unwrap()));
            assert!(bytes.len() < plain.len() / 2, "{coding}: {} of {}", bytes.len(), plain.len());
            assert_eq!(decompress(coding, &bytes), plain, "{coding}");
            tags.push(headers["etag"].clone());
            let tag = headers["etag"].to_str().unwrap();
            let (status, headers, bytes) = got(&api, path, &[("accept-encoding", coding), ("if-none-match", tag)]).await;
            assert_eq!((status, bytes.len(), headers["etag"].to_str().unwrap()), (StatusCode::NOT_MODIFIED, 0, tag));
        }
    }
    tags.sort_by_key(|tag| tag.to_str().unwrap().to_owned());
    assert!(tags.windows(2).all(|two| two[0] != two[1]), "{tags:?}");
}

#[tokio::test]
async fn small_answers_streams_and_write_answers_are_not_compressed() {
    let api = with_records(20).await;
    let all = ("accept-encoding", "zstd, br, gzip");
    for (path, more) in [("/api/v1/log/head", None), ("/api/v1/log/stream", Some(("accept", "text/event-stream")))] {
        let mut headers = vec![all];
        headers.extend(more);
        let asked = headers.iter().fold(api.get(path).by("admin"), |asked, (name, value)| asked.with(name, value));
        assert!(!asked.response().await.headers().contains_key("content-encoding"), "{path}");
    }
    let events: Vec<_> = (0..100).map(|_| json!({ "trigger": "demo.hello", "payload": { "name": "ana" } })).collect();
    let sent = api.post("/api/v1/events").by("admin").with(all.0, all.1).json(&json!(events)).answer().await.expect(202);
    assert!(sent.text.len() > 1024 && sent.header("content-encoding").is_none());
    let squeezed = api.post("/api/v1/events").by("admin").with("content-encoding", "gzip").json(&json!(events));
    squeezed.answer().await.expect_problem(415, "unsupported_media_type");
}
