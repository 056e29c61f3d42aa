//! WebSocket (RFC 6455): the handshake on the route of a stream, and the connection after its upgrade from
//! HTTP.
//!
//! The messages and the caller's position come from `streams.rs`. The only thing accepted from a caller is
//! signs of life.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use ensue_engine::explain::Explain;
use ensue_engine::record::Position;
use futures_util::{SinkExt as _, StreamExt as _};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as SocketError, Message, Utf8Bytes};

use crate::context::ENSUE_POSITION;
use crate::stream_message::StreamMessage;

const PROTOCOL: &str = "websocket";
const VERSION: &str = "13";
/// The length of a handshake key in bytes.
const KEY_BYTES: usize = 16;
/// The maximum length in bytes of a message from a caller, which has nothing to send.
const TAKEN_BYTES_MAX: usize = 1024;
/// The minimum size in bytes of the read buffer and the write buffer.
const BUFFER_BYTES: usize = 4 * 1024;
/// How many heartbeats can pass without a sign of life.
const BEATS_UNANSWERED_MAX: u32 = 2;
/// How long a caller can take to close its side.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Why a WebSocket request is rejected.
#[derive(Clone, Debug, PartialEq, Eq, Error, Explain)]
pub(crate) enum HandshakeRefusal {
    /// It has another version, or is incomplete.
    #[error("the request asks for a WebSocket and {0}")]
    #[explain(slug = "websocket-invalid", fault = Malformed,
        hint = "use a client for WebSocket version 13, or leave out `upgrade` to get server-sent events")]
    Invalid(&'static str),
    /// A page of another origin asks in a browser.
    #[error("a page from `{0}` is not allowed to open this WebSocket")]
    #[explain(slug = "origin-refused", fault = Forbidden,
        hint = "set `url` in `ensue.yaml` to the address of the page, or send no `origin`")]
    Origin(String),
}

/// A caller's request for a WebSocket.
#[derive(Debug)]
pub(crate) struct Handshake {
    accept: HeaderValue,
}

impl Handshake {
    /// Parses it from a request's head; returns `None` if the request does not ask for a WebSocket.
    /// `base_url` is the origin that pages may come from.
    pub(crate) fn parse(parts: &Parts, base_url: &str) -> Result<Option<Self>, HandshakeRefusal> {
        let headers = &parts.headers;
        if !lists(headers, &header::UPGRADE, PROTOCOL) || !lists(headers, &header::CONNECTION, "upgrade") {
            return Ok(None);
        }
        if parts.method != Method::GET || parts.version < Version::HTTP_11 {
            return Err(HandshakeRefusal::Invalid("is not an HTTP/1.1 GET"));
        }
        if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != VERSION) {
            return Err(HandshakeRefusal::Invalid("`sec-websocket-version` is not 13"));
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
        if BASE64.decode(key).is_ok_and(|key| key.len() != KEY_BYTES) || BASE64.decode(key).is_err() {
            return Err(HandshakeRefusal::Invalid("`sec-websocket-key` is not 16 bytes in base64"));
        }
        demand_own_page(headers, base_url)?;
        let accept = HeaderValue::try_from(derive_accept_key(key)).map_err(|_| HandshakeRefusal::Invalid("has no key"))?;
        Ok(Some(Self { accept }))
    }

    /// Answers the handshake. From then on, messages go over the connection, to a caller that knows
    /// everything up to `at`.
    pub(crate) fn answer(self, at: Position, told: mpsc::Receiver<StreamMessage>) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static(PROTOCOL));
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept);
        headers.insert(ENSUE_POSITION, HeaderValue::from(at.0));
        response.extensions_mut().insert(PromisedTalk(Arc::new(Mutex::new(Some(Talk { at, told })))));
        response
    }
}

/// Reports whether a header lists a word.
fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(word))
}

/// Rejects requests from pages that are not the node's own. Clients other than browsers do not send an
/// origin.
fn demand_own_page(headers: &HeaderMap, base_url: &str) -> Result<(), HandshakeRefusal> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return Ok(()) };
    if origins.next().is_some() {
        return Err(HandshakeRefusal::Invalid("has more than one `origin`"));
    }
    if origin.to_str().is_ok_and(|origin| without_default_port(origin) == without_default_port(origin_of(base_url))) {
        return Ok(());
    }
    Err(HandshakeRefusal::Origin(origin.to_str().unwrap_or("somebody").chars().take(200).collect()))
}

/// Returns the scheme, host and port of a URL.
fn origin_of(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    url[host..].find('/').map_or(url, |end| &url[..host + end])
}

/// Returns an origin as browsers write it: in lowercase, and without its scheme's default port.
fn without_default_port(origin: &str) -> String {
    let origin = origin.to_ascii_lowercase();
    let port = match origin.split_once("://") {
        Some(("https", _)) => ":443",
        Some(("http", _)) => ":80",
        Some(_) | None => return origin,
    };
    origin.strip_suffix(port).map(str::to_owned).unwrap_or(origin)
}

/// The conversation that follows an answer; the owner of the connection takes it out.
#[derive(Clone)]
pub(crate) struct PromisedTalk(Arc<Mutex<Option<Talk>>>);

impl PromisedTalk {
    /// Returns it, once.
    pub(crate) fn take(&self) -> Option<Talk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The messages to one caller over a WebSocket.
pub(crate) struct Talk {
    at: Position,
    told: mpsc::Receiver<StreamMessage>,
}

/// Why a conversation is over.
enum TalkEnd {
    /// The caller is gone.
    Gone,
    /// The caller is closing it, and waits for the node's side.
    Closing,
    /// The node closes it with this frame.
    Close(CloseFrame),
}

impl From<SocketError> for TalkEnd {
    fn from(error: SocketError) -> Self {
        match error {
            SocketError::ConnectionClosed => Self::Closing,
            _ => Self::Gone,
        }
    }
}

impl Talk {
    /// Sends the messages over a connection until one side ends it.
    pub(crate) async fn run<S: AsyncRead + AsyncWrite + Unpin>(mut self, connection: S) {
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(BUFFER_BYTES)
            .max_message_size(Some(TAKEN_BYTES_MAX))
            .max_frame_size(Some(TAKEN_BYTES_MAX));
        let mut socket = WebSocketStream::from_raw_socket(connection, Role::Server, Some(config)).await;
        let frame = match self.until_the_end(&mut socket).await {
            TalkEnd::Gone => return,
            TalkEnd::Closing => None,
            TalkEnd::Close(frame) => Some(frame),
        };
        // Nobody receives messages any longer, so nobody waits for this.
        drop(self.told);
        let closing = async {
            // Without a frame of the node's own, the reply to the caller's frame goes out.
            let is_said = match frame {
                Some(frame) => socket.close(Some(frame)).await.is_ok(),
                None => true,
            };
            if is_said {
                while let Some(Ok(_)) = socket.next().await {}
                // Both sides have closed, so the server ends the connection (RFC 6455 §7.1.1), first its own
                // side. It keeps reading what the other side still sends, because otherwise the system would
                // reset the connection and lose the close frame.
                if socket.get_mut().shutdown().await.is_ok() {
                    let _ = tokio::io::copy(socket.get_mut(), &mut tokio::io::sink()).await;
                }
            }
        };
        let _ = tokio::time::timeout(CLOSE_PATIENCE, closing).await;
    }

    async fn until_the_end<S: AsyncRead + AsyncWrite + Unpin>(&mut self, socket: &mut WebSocketStream<S>) -> TalkEnd {
        let mut unanswered = 0;
        loop {
            tokio::select! {
                said = self.told.recv() => match self.say(said, socket, &mut unanswered).await {
                    Ok(()) => {}
                    Err(over) => return over,
                },
                heard = socket.next() => match heard {
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => unanswered = 0,
                    // A message that is too long gets the same reply as a short one.
                    Some(Ok(Message::Text(_) | Message::Binary(_)) | Err(SocketError::Capacity(_))) => {
                        return TalkEnd::Close(self.closing(CloseCode::Unsupported, r#"{"reason":"nothing_is_taken"}"#));
                    }
                    Some(Err(SocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => return TalkEnd::Gone,
                    Some(Err(SocketError::Protocol(_))) => return TalkEnd::Close(self.closing(CloseCode::Protocol, r#"{"reason":"no_websocket"}"#)),
                    Some(Ok(Message::Close(_))) => return TalkEnd::Closing,
                    Some(Ok(Message::Frame(_)) | Err(_)) | None => return TalkEnd::Gone,
                },
            }
        }
    }

    async fn say<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        said: Option<StreamMessage>,
        socket: &mut WebSocketStream<S>,
        unanswered: &mut u32,
    ) -> Result<(), TalkEnd> {
        match said {
            Some(StreamMessage::Records(records)) => {
                for (position, record) in records {
                    let record = Utf8Bytes::try_from(record).map_err(|_| TalkEnd::Gone)?;
                    socket.feed(Message::Text(record)).await?;
                    self.at = position;
                }
                socket.flush().await?;
            }
            Some(StreamMessage::Beat) => {
                if *unanswered >= BEATS_UNANSWERED_MAX {
                    return Err(TalkEnd::Gone);
                }
                *unanswered += 1;
                socket.send(Message::Ping(Bytes::new())).await?;
            }
            Some(StreamMessage::End { why, code }) => return Err(TalkEnd::Close(self.closing(code.into(), &why))),
            Some(StreamMessage::Events(_)) => {}
            None => return Err(TalkEnd::Gone),
        }
        Ok(())
    }

    /// Returns the close frame with the reason and the place where the caller can continue: the last position
    /// that it received.
    fn closing(&self, code: CloseCode, why: &str) -> CloseFrame {
        let at = self.at;
        let reason = why.strip_suffix('}').map_or_else(|| why.to_owned(), |why| format!("{why},\"position\":{at}}}"));
        CloseFrame { code, reason: reason.into() }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use tokio::io::DuplexStream;
    use tokio::task::JoinHandle;

    use super::*;

    const BASE: &str = "https://ensue.example.test";

    fn parse_edited(edits: &[(HeaderName, Option<&'static str>)]) -> Result<Option<Handshake>, HandshakeRefusal> {
        Handshake::parse(&head(edits), BASE)
    }

    fn head(edits: &[(HeaderName, Option<&'static str>)]) -> Parts {
        let mut headers = HeaderMap::from_iter([
            (header::UPGRADE, HeaderValue::from_static("WebSocket")),
            (header::CONNECTION, HeaderValue::from_static("keep-alive, Upgrade")),
            (header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
            (header::SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==")),
        ]);
        for (name, value) in edits {
            headers.remove(name);
            headers.extend(value.map(|value| (name.clone(), HeaderValue::from_static(value))));
        }
        let mut parts = Request::new(()).into_parts().0;
        parts.headers = headers;
        parts
    }

    #[test]
    fn only_a_get_of_http_1_1_is_a_handshake() {
        let edits: [fn(&mut Parts); 3] =
            [|parts| parts.method = Method::HEAD, |parts| parts.method = Method::POST, |parts| parts.version = Version::HTTP_10];
        for edit in edits {
            let mut parts = head(&[]);
            edit(&mut parts);
            assert!(matches!(Handshake::parse(&parts, BASE), Err(HandshakeRefusal::Invalid(_))));
        }
    }

    #[test]
    fn accept_key_matches_the_standard_s_example() {
        assert_eq!(parse_edited(&[]).unwrap().unwrap().accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn request_without_upgrade_gets_no_websocket() {
        for edit in [(header::UPGRADE, None), (header::UPGRADE, Some("h2c")), (header::CONNECTION, Some("keep-alive"))] {
            assert!(parse_edited(&[edit]).unwrap().is_none());
        }
    }

    #[test]
    fn incomplete_handshake_is_rejected() {
        for edit in [
            (header::SEC_WEBSOCKET_VERSION, None),
            (header::SEC_WEBSOCKET_VERSION, Some("8")),
            (header::SEC_WEBSOCKET_KEY, None),
            (header::SEC_WEBSOCKET_KEY, Some("c2hvcnQ=")),
            (header::SEC_WEBSOCKET_KEY, Some("no base64 at all")),
        ] {
            assert!(matches!(parse_edited(&[edit]), Err(HandshakeRefusal::Invalid(_))));
        }
    }

    #[test]
    fn handshake_accepts_only_the_node_s_own_origin() {
        assert!(parse_edited(&[(header::ORIGIN, Some("https://ensue.example.test"))]).unwrap().is_some());
        for other in ["https://evil.example.test", "http://ensue.example.test", "https://ensue.example.test.evil", "null", ""] {
            assert_eq!(parse_edited(&[(header::ORIGIN, Some(other))]).unwrap_err(), HandshakeRefusal::Origin(other.to_owned()));
        }
        assert_eq!(origin_of("https://ensue.example.test/under/here/"), "https://ensue.example.test");
    }

    type Caller = WebSocketStream<DuplexStream>;

    /// Starts a conversation with a caller that knows everything up to 7; the task ends with the
    /// conversation.
    async fn talk() -> (mpsc::Sender<StreamMessage>, Caller, JoinHandle<()>) {
        let (say, told) = mpsc::channel(4);
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let talk = tokio::spawn(Talk { at: Position(7), told }.run(ours));
        (say, WebSocketStream::from_raw_socket(theirs, Role::Client, None).await, talk)
    }

    async fn expect_close(caller: &mut Caller) -> (u16, String) {
        match caller.next().await {
            Some(Ok(Message::Close(Some(frame)))) => (frame.code.into(), frame.reason.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn ping_is_answered_with_its_payload() {
        let (_say, mut caller, _talk) = talk().await;
        caller.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
        assert_eq!(caller.next().await.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"there?")));
    }

    #[tokio::test]
    async fn client_without_pongs_is_disconnected() {
        let (say, mut caller, talk) = talk().await;
        for _ in 0..3 * BEATS_UNANSWERED_MAX {
            say.send(StreamMessage::Beat).await.unwrap();
            // Reading it replies to it, and the reply goes out with the next message.
            assert_eq!(caller.next().await.unwrap().unwrap(), Message::Ping(Bytes::new()));
            caller.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
        assert!(!talk.is_finished());

        for _ in 0..BEATS_UNANSWERED_MAX {
            say.send(StreamMessage::Beat).await.unwrap();
        }
        tokio::task::yield_now().await;
        assert!(!talk.is_finished(), "it may still answer");
        say.send(StreamMessage::Beat).await.unwrap();
        talk.await.unwrap();
    }

    #[tokio::test]
    async fn every_end_closes_with_its_code_and_the_caller_s_position() {
        for code in [1000, 1001, 1008, 1011, 1013] {
            let (say, mut caller, _talk) = talk().await;
            say.send(StreamMessage::Records(vec![(Position(8), Bytes::from_static(b"{}"))])).await.unwrap();
            say.send(StreamMessage::End { why: r#"{"reason":"so"}"#.to_owned(), code }).await.unwrap();
            assert_eq!(caller.next().await.unwrap().unwrap(), Message::text("{}"));
            assert_eq!(expect_close(&mut caller).await, (code, r#"{"reason":"so","position":8}"#.to_owned()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn connection_ends_right_after_the_closing_handshake() {
        for is_the_node_first in [true, false] {
            let (say, mut caller, talk) = talk().await;
            let begin = tokio::time::Instant::now();
            if is_the_node_first {
                say.send(StreamMessage::End { why: "{}".to_owned(), code: 1000 }).await.unwrap();
            } else {
                caller.close(None).await.unwrap();
            }
            assert!(matches!(caller.next().await, Some(Ok(Message::Close(_)))));
            assert!(caller.next().await.is_none(), "the node ends its side without waiting for the caller's");
            assert_eq!(begin.elapsed(), Duration::ZERO);
            drop(caller);
            talk.await.unwrap();
            assert_eq!(begin.elapsed(), Duration::ZERO);
        }
    }

    #[tokio::test]
    async fn invalid_frame_closes_with_1002() {
        let unmasked = [0x81, 0x01, b'a'];
        let reserved = [0xf1, 0x80, 0, 0, 0, 0];
        for bad in [&unmasked[..], &reserved[..]] {
            let (_say, mut caller, talk) = talk().await;
            tokio::io::AsyncWriteExt::write_all(caller.get_mut(), bad).await.unwrap();
            assert_eq!(expect_close(&mut caller).await, (1002, r#"{"reason":"no_websocket","position":7}"#.to_owned()));
            drop(caller);
            talk.await.unwrap();
        }
    }

    #[test]
    fn origin_is_the_same_with_and_without_its_default_port() {
        let is_let_in = |origin: &'static str, base| {
            Handshake::parse(&head(&[(header::ORIGIN, Some(origin))]), base).is_ok_and(|asked| asked.is_some())
        };
        for (origin, base) in [
            ("https://a.test", "https://a.test:443/under"),
            ("https://A.test:443", "https://a.test"),
            ("http://a.test", "http://a.test:80"),
            ("http://[::1]", "http://[::1]:80"),
            ("http://a.test:8080", "http://a.test:8080"),
        ] {
            assert!(is_let_in(origin, base), "{origin} at {base}");
        }
        for (origin, base) in [
            ("https://a.test", "https://a.test:80"),
            ("http://a.test:443", "http://a.test"),
            ("http://a.test", "https://a.test"),
            ("http://a.test:8080", "http://a.test:80"),
        ] {
            assert!(!is_let_in(origin, base), "{origin} at {base}");
        }
    }

    #[test]
    fn several_origin_headers_are_rejected() {
        let mut parts = head(&[(header::ORIGIN, Some(BASE))]);
        parts.headers.append(header::ORIGIN, HeaderValue::from_static("https://evil.example.test"));
        assert!(matches!(Handshake::parse(&parts, BASE), Err(HandshakeRefusal::Invalid(_))));
    }
}
