//! Connections of the kind `smtp`: their settings for the runner `mail`, and their test: the greeting of a server, TLS and the
//! login (RFC 5321, RFC 3207, RFC 4954).
//!
//! It sends no mail.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::connection_test::{Problem, kind_of, kind_of_broken};
use super::settings::{Endpoint, SmtpEndpoint, SmtpTls};
use super::status::ConnectionErrorKind;
use super::{LentConnection, Pool};
use crate::web::NoWay;

/// The maximum size of one answer, in bytes.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// The name by which the node introduces itself: it needs no name of its own here.
const OWN_NAME: &str = "[127.0.0.1]";

/// A stream of bytes.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A conversation with a server.
struct Conversation {
    stream: Box<dyn Stream>,
    waiting: Vec<u8>,
}

/// An answer: its code, and the texts of its lines.
struct SmtpReply {
    code: u16,
    lines: Vec<String>,
}

impl LentConnection {
    /// Returns the settings of a connection of the kind `smtp`.
    pub(crate) fn smtp(&self) -> Option<&SmtpEndpoint> {
        match &self.connection.settings().endpoint {
            Endpoint::Smtp(smtp) => Some(smtp),
            Endpoint::Http(_) => None,
        }
    }
}

impl SmtpEndpoint {
    /// Returns the user and the password, or `None` for a server without a login.
    pub(crate) fn login<'a>(&'a self, pool: &'a Pool) -> Option<(&'a str, &'a [u8])> {
        // A value from a file may end with a line break.
        self.login.as_ref().map(|(user, password)| (user.as_str(), pool.secret(password).trim_ascii()))
    }

    /// Connects, begins TLS and logs in. Returns what the server says of itself.
    pub(super) async fn greet(&self, pool: &Pool) -> Result<String, Problem> {
        let addresses = pool.web.addresses(&self.host, self.port).await;
        let addresses = addresses.map_err(|why: NoWay| (kind_of(&why), format!("`{}:{}` {why}", self.host, self.port)))?;
        let unreachable = |error: std::io::Error| (ConnectionErrorKind::Connect, format!("`{}:{}`: {error}", self.host, self.port));
        let stream = TcpStream::connect(addresses.as_slice()).await.map_err(unreachable)?;
        let mut stream: Box<dyn Stream> = Box::new(stream);
        if self.tls == SmtpTls::Implicit {
            stream = self.start_tls(stream, pool).await?;
        }
        let mut with = Conversation { stream, waiting: Vec::new() };
        let greeting = with.answer().await?.expect(220)?;
        let mut hello = with.ask(&format!("EHLO {OWN_NAME}")).await?.expect(250)?;
        if self.tls == SmtpTls::StartTls {
            if !hello.has("STARTTLS") {
                return Err((ConnectionErrorKind::Tls, "the server does not offer STARTTLS".to_owned()));
            }
            with.ask("STARTTLS").await?.expect(220)?;
            // What came in plain text must not count as said over TLS.
            if !with.waiting.is_empty() {
                return Err((ConnectionErrorKind::Protocol, "the server sent more than its answer to STARTTLS".to_owned()));
            }
            with.stream = self.start_tls(with.stream, pool).await?;
            hello = with.ask(&format!("EHLO {OWN_NAME}")).await?.expect(250)?;
        }
        if let Some((user, password)) = self.login(pool) {
            with.log_in(&hello, user, password).await?;
        }
        // The answer changes nothing.
        let _ = with.ask("QUIT").await;
        Ok(format!("the server answered {}", greeting.lines.first().map_or("", String::as_str)))
    }

    async fn start_tls(&self, stream: Box<dyn Stream>, pool: &Pool) -> Result<Box<dyn Stream>, Problem> {
        let broken = |why: String| (ConnectionErrorKind::Tls, why);
        let config = pool.web.tls_config().await.map_err(|why| broken(why.to_string()))?;
        let name = ServerName::try_from(self.host.clone()).map_err(|error| broken(error.to_string()))?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        stream.map(|stream| Box::new(stream) as Box<dyn Stream>).map_err(|error| broken(error.to_string()))
    }
}

impl Conversation {
    async fn log_in(&mut self, hello: &SmtpReply, user: &str, password: &[u8]) -> Result<(), Problem> {
        let offered = hello.lines.iter().find_map(|line| line.strip_prefix("AUTH ")).unwrap_or_default().to_owned();
        let offers = |way: &str| offered.split_ascii_whitespace().any(|one| one.eq_ignore_ascii_case(way));
        let answer = if offers("PLAIN") {
            let plain = BASE64_STANDARD.encode([b"\0", user.as_bytes(), b"\0", password].concat());
            self.ask(&format!("AUTH PLAIN {plain}")).await?
        } else if offers("LOGIN") {
            self.ask("AUTH LOGIN").await?.expect(334)?;
            self.ask(&BASE64_STANDARD.encode(user)).await?.expect(334)?;
            self.ask(&BASE64_STANDARD.encode(password)).await?
        } else {
            return Err((ConnectionErrorKind::Auth, "the server offers neither the login PLAIN nor LOGIN".to_owned()));
        };
        // The text of the server is not shown: it may repeat what it was sent.
        if answer.code == 235 {
            Ok(())
        } else {
            Err((ConnectionErrorKind::Auth, format!("the server rejected the login with {}", answer.code)))
        }
    }

    async fn ask(&mut self, line: &str) -> Result<SmtpReply, Problem> {
        let sent = async {
            self.stream.write_all(format!("{line}\r\n").as_bytes()).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|error| broken_off(&error))?;
        self.answer().await
    }

    /// Reads an answer, which may have several lines.
    async fn answer(&mut self) -> Result<SmtpReply, Problem> {
        let mut lines = Vec::new();
        let mut bytes = 0;
        loop {
            while let Some(end) = self.waiting.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.waiting.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                let code = line.get(..3).and_then(|code| code.parse::<u16>().ok());
                let code = code.ok_or_else(|| (ConnectionErrorKind::Protocol, "the server does not speak SMTP".to_owned()))?;
                let text = line.get(4..).unwrap_or_default();
                lines.push(text.chars().filter(|char| !char.is_control()).take(200).collect());
                if line.as_bytes().get(3) != Some(&b'-') {
                    return Ok(SmtpReply { code, lines });
                }
            }
            let mut piece = [0; 1024];
            let read = self.stream.read(&mut piece).await.map_err(|error| broken_off(&error))?;
            bytes += read;
            if read == 0 {
                return Err((ConnectionErrorKind::Connect, "the server closed the connection".to_owned()));
            }
            if bytes > ANSWER_BYTES_MAX {
                return Err((ConnectionErrorKind::Protocol, format!("the server answered with more than {ANSWER_BYTES_MAX} bytes")));
            }
            self.waiting.extend_from_slice(&piece[..read]);
        }
    }
}

impl SmtpReply {
    fn expect(self, code: u16) -> Result<Self, Problem> {
        if self.code == code {
            return Ok(self);
        }
        let kind = if self.code >= 500 { ConnectionErrorKind::Rejected } else { ConnectionErrorKind::Server };
        Err((kind, format!("the server answered {} {}", self.code, self.lines.first().map_or("", String::as_str))))
    }

    fn has(&self, word: &str) -> bool {
        self.lines.iter().any(|line| line.eq_ignore_ascii_case(word))
    }
}

fn broken_off(error: &std::io::Error) -> Problem {
    let why = error.to_string();
    (kind_of_broken(&why), why)
}
