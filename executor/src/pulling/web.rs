//! Requests of sensors: rendered like those of the runner `http`, and sent by the same port.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use ensue_connectors::world::{self, WebAnswer, WebRequest};
use ensue_connectors::{Pending, SensorErrorKind, SourceError};
use ensue_engine::catalog::HttpBody;
use reqwest::header::{HeaderName, HeaderValue};

use super::{open_keys, source_error};
use crate::render::Renderer;
use crate::runners::{HTTP_HOPS_MAX, Request, retry_after_of};
use crate::web::{NoWay, Web};

/// Sends the requests of sensors.
pub struct SensorWeb {
    web: Arc<dyn Web>,
}

impl SensorWeb {
    /// Sends requests over the web of the worker.
    pub fn new(web: Arc<dyn Web>) -> Self {
        Self { web }
    }

    async fn exchange(&self, order: WebRequest) -> Result<WebAnswer, SourceError> {
        let http = &order.poll.http;
        let body = match &http.body {
            HttpBody::None => Vec::new(),
            HttpBody::Json(template) | HttpBody::Text(template) | HttpBody::Form(template) => vec![template],
            HttpBody::Either { json, text } => vec![json, text],
        };
        let templates = [&http.url, &http.method, &http.headers, &http.query].into_iter().chain(body);
        let keys = open_keys(templates, &order.sensor, &*order.keys)?;
        let mut request = {
            let mut renderer = Renderer::of_sensor(&order.sensor, &order.values, &keys);
            Request::composed(http, &mut renderer).map_err(source_error)?
        };
        for (name, value) in &order.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                request.add_header(HeaderName::from_static(name), value);
            }
        }
        for _ in 0..=HTTP_HOPS_MAX {
            let way = self.web.way(request.target()).await.map_err(|error| {
                let kind = match error {
                    NoWay::Denied => SensorErrorKind::EgressDenied,
                    NoWay::Unreachable(_) => SensorErrorKind::Connect,
                };
                SourceError::new(kind, format!("{} {error}", request.server()))
            })?;
            let broken =
                |error: &dyn std::fmt::Display| SourceError::new(SensorErrorKind::Connect, format!("{}: {error}", request.server()));
            let mut answer = way.send(request.to_send()).await.map_err(|error| broken(&error))?;
            if let Some(next) = request.redirected(answer.status, &answer.headers).map_err(source_error)? {
                request = next;
                continue;
            }
            let mut bytes = BytesMut::new();
            while let Some(piece) = answer.body.piece().await.map_err(|error| broken(&error))? {
                if bytes.len() + piece.len() > order.answer_bytes_max {
                    let message = format!("{} answered with more than {} bytes", request.server(), order.answer_bytes_max);
                    return Err(SourceError::new(SensorErrorKind::Limit, message));
                }
                bytes.extend_from_slice(&piece);
            }
            let mut headers = BTreeMap::new();
            for name in answer.headers.keys() {
                let values: Vec<_> = answer.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
                headers.insert(name.as_str().to_owned(), values.join(", "));
            }
            return Ok(WebAnswer {
                status: answer.status.as_u16(),
                retry_after: retry_after_of(&answer.headers, order.now),
                headers,
                body: bytes.freeze(),
            });
        }
        let message = format!("the server answered with more than {HTTP_HOPS_MAX} redirects");
        Err(SourceError::new(SensorErrorKind::EgressDenied, message))
    }
}

impl world::Web for SensorWeb {
    fn fetch(&self, order: WebRequest) -> Pending<'_, Result<WebAnswer, SourceError>> {
        Box::pin(async move {
            let timeout = order.timeout;
            tokio::time::timeout(timeout, self.exchange(order)).await.unwrap_or_else(|_| Err(late(timeout)))
        })
    }
}

fn late(timeout: Duration) -> SourceError {
    SourceError::new(SensorErrorKind::Timeout, format!("the complete answer did not arrive within {} seconds", timeout.as_secs_f64()))
}
