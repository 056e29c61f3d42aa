//! The answers of a node that waits for its log: it is alive, and not ready.
//!
//! Everything else needs the log, so it gets the problem that the node is not ready.

use std::io;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Request, Response, header};
use ensue_engine::explain::Explain;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::context::{OwnSpan, RequestContext};
use crate::ports::{Dependency, DependencyState, Readiness};
use crate::problem::{Outcome, Problem};
use crate::respond::{self, Reachable};
use crate::route::Public;
use crate::wire::node::{WireAlive, WireReadiness};

/// What a node waits for; `None` if it is not known yet.
type WaitsFor = watch::Receiver<Option<String>>;

/// The node waits for its log.
#[derive(Debug, Error, Explain)]
#[error("this node waits for its log: {0}")]
#[explain(slug = "log-led-elsewhere", fault = Unavailable, hint = "send the request to the node that leads the log, or try again later")]
struct Standby(String);

/// Answers until it is dropped.
pub async fn serve(listener: TcpListener, waits_for: watch::Receiver<Option<String>>) -> io::Result<()> {
    let app = Router::new().fallback(answer).with_state(waits_for);
    axum::serve(listener, app).await
}

async fn answer(State(waits_for): State<WaitsFor>, request: Request<Body>) -> Response<Body> {
    let why = waits_for.borrow().clone().unwrap_or_else(|| "it is being opened".to_owned());
    let path = request.uri().path();
    let answered = answer_to(path, why);
    let mut response = answered.unwrap_or_else(|problem| problem.render(&RequestContext::of(request.headers(), OwnSpan::None), path));
    // The next request may be for a node that has its log, which has other connections.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn answer_to(path: &str, why: String) -> Outcome {
    let is = |routes: [Public; 2]| routes.iter().any(|route| route.path() == path);
    if is([Public::Livez, Public::Health]) {
        return respond::json(&WireAlive { status: "ok" });
    }
    if is([Public::Readyz, Public::Ready]) {
        let dependencies = vec![Dependency { name: "log", state: DependencyState::Down { why } }];
        return respond::probe(Reachable::NotNow, &WireReadiness::from(Readiness { is_ready: false, dependencies }));
    }
    Err(Problem::of(&Standby(why)))
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use http_body_util::BodyExt as _;

    use super::*;

    async fn get_answer(path: &str) -> (StatusCode, serde_json::Value) {
        let (_tell, waits_for) = watch::channel(Some("another node leads the log: a".to_owned()));
        let response = answer(State(waits_for), Request::get(path).body(Body::empty()).unwrap()).await;
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn waiting_node_is_alive_and_not_ready() {
        for path in ["/livez", "/health"] {
            assert_eq!(get_answer(path).await.0, StatusCode::OK, "{path}");
        }
        for path in ["/readyz", "/ready"] {
            let (status, body) = get_answer(path).await;
            assert_eq!((status, &body["status"]), (StatusCode::SERVICE_UNAVAILABLE, &"not_ready".into()), "{path}");
            assert_eq!(body["dependencies"][0]["why"], "another node leads the log: a");
        }
    }

    #[tokio::test]
    async fn waiting_node_refuses_everything_else() {
        let (status, body) = get_answer("/api/v1/events").await;
        assert_eq!((status, &body["status"]), (StatusCode::SERVICE_UNAVAILABLE, &503.into()));
        assert!(body["detail"].as_str().unwrap().contains("another node leads the log"), "{body}");
    }
}
