//! Serves the fake vendor of a pack on the loopback interface of this machine, for the cases of `ensue pack test --real`.
//!
//! What it answers is decided in `ensue-rehearsal`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use ensue_packs::fake::Fake;
use ensue_rehearsal::fake::{FakeRequest, Vendor, VendorResponse};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// The most bytes of a request's body.
const REQUEST_BYTES_MAX: usize = 4 << 20;

/// A server that is a vendor during one case. It ends when it is dropped.
pub(crate) struct FakeServer {
    address: SocketAddr,
    vendor: Arc<Mutex<Vendor>>,
    accepting: JoinHandle<()>,
}

impl FakeServer {
    /// Starts the server at a free port.
    pub(crate) fn start(runtime: &Runtime, fake: &Arc<Fake>) -> std::io::Result<Self> {
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let vendor = Arc::new(Mutex::new(Vendor::new(Arc::clone(fake))));
        let accepting = runtime.spawn(accept(listener, Arc::clone(&vendor)));
        Ok(Self { address, vendor, accepting })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns what fails the case whatever it expects, and why requests were refused because of their form.
    pub(crate) fn notes(&self) -> (Vec<String>, Vec<String>) {
        let vendor = self.vendor.lock().unwrap_or_else(PoisonError::into_inner);
        (vendor.strays().to_vec(), vendor.refusals().to_vec())
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, vendor: Arc<Mutex<Vendor>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let vendor = Arc::clone(&vendor);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &vendor));
            // A client that goes away ends only its own connection.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, vendor: &Mutex<Vendor>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, REQUEST_BYTES_MAX).collect().await else {
        return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE));
    };
    let body = body.to_bytes().to_vec();
    let headers =
        head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let request = FakeRequest {
        method: head.method.to_string(),
        path: decode_percent(head.uri.path()),
        query: pairs(head.uri.query().unwrap_or_default()),
        headers: headers.collect(),
        form: std::str::from_utf8(&body).map(pairs).unwrap_or_default(),
        body,
    };
    let answered = vendor.lock().unwrap_or_else(PoisonError::into_inner).answer(&request);
    Ok(response(answered))
}

fn response(answered: VendorResponse) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(answered.status);
    for (name, value) in &answered.headers {
        response = response.header(name, value);
    }
    let body = match answered.body {
        Some(body) => {
            if !answered.headers.contains_key("content-type") {
                response = response.header("content-type", "application/json");
            }
            Bytes::from(body.to_string())
        }
        None => Bytes::new(),
    };
    response.body(Full::new(body)).unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR))
}

fn plain(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// Returns the fields of a form or a query. The last value of a repeated name counts.
fn pairs(text: &str) -> BTreeMap<String, String> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode_percent(&name.replace('+', " ")), decode_percent(&value.replace('+', " ")))
    };
    text.split('&').filter(|text| !text.is_empty()).map(pair).collect()
}

fn decode_percent(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_fields_are_decoded() {
        let pairs = pairs("name=Ada+L%C3%B6w&metadata%5Bsite%5D=eu&empty=");
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("empty", ""), ("metadata[site]", "eu"), ("name", "Ada Löw")]);
    }
}
