//! A mail server on loopback that speaks SMTP, refuses what a real one refuses, and keeps the mails that it accepted.
//!
//! It is a file and no crate, because crates that tests share use no network.

#![allow(dead_code, reason = "each crate uses a part of it")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// The user who may log in, and the password.
pub(crate) const USER: &str = "robot";
/// The longest mail that is accepted, in bytes.
const SIZE: usize = 2 << 20;

/// How the server protects its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MailProtection {
    /// It does not.
    Not,
    /// It encrypts by STARTTLS, and accepts no mail before.
    Starttls,
    /// It encrypts from the beginning.
    Tls,
}

/// What the server does instead of what it would do.
#[derive(Clone, Debug)]
pub(crate) enum Instead {
    /// It says this line, without its end.
    Say(String),
    /// It closes the connection.
    Close,
    /// It says nothing more.
    Hang,
    /// It keeps the mail, and closes the connection without confirming it.
    KeepAndClose,
}

/// Returns what happens instead.
type Otherwise = dyn Fn(&str) -> Option<Instead> + Send + Sync;

/// The rules of a server.
pub(crate) struct Rules {
    pub(crate) protected: MailProtection,
    /// The password of [`USER`]; none means that no login is offered.
    pub(crate) password: Option<&'static str>,
    /// The login that is offered.
    pub(crate) mechanism: &'static str,
    /// Further words that it offers, such as `SMTPUTF8`.
    pub(crate) offers: &'static [&'static str],
    /// What happens instead, by the line that the client says. The greeting is an empty line, and the end of a mail is `.`.
    pub(crate) instead: Box<Otherwise>,
}

impl Rules {
    pub(crate) fn plain() -> Self {
        Self { protected: MailProtection::Not, password: None, mechanism: "PLAIN", offers: &[], instead: Box::new(|_| None) }
    }

    pub(crate) fn instead(self, instead: impl Fn(&str) -> Option<Instead> + Send + Sync + 'static) -> Self {
        Self { instead: Box::new(instead), ..self }
    }
}

/// A mail that was accepted.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReceivedMail {
    /// The sender of the envelope.
    pub(crate) from: String,
    /// The recipients that were accepted.
    pub(crate) to: Vec<String>,
    /// The headers and the body, as they were sent, with single dots.
    pub(crate) text: String,
}

impl ReceivedMail {
    /// Returns the value of a header whose lines are joined.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default().replace("\r\n ", " ");
        let mut headers = head.split("\r\n").filter_map(|line| line.split_once(": "));
        headers.find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    }
}

/// A running server.
pub(crate) struct MailServer {
    pub(crate) address: SocketAddr,
    /// The certificate of the authority that signed its own, as PEM.
    pub(crate) authority: String,
    shared: Arc<MailServerState>,
}

struct MailServerState {
    rules: Rules,
    tls: TlsAcceptor,
    mails: Mutex<Vec<ReceivedMail>>,
    said: watch::Sender<Vec<String>>,
}

impl MailServer {
    /// Starts a server with the certificate of its authority, as PEM, and its own, which is valid for 127.0.0.1.
    pub(crate) async fn start(rules: Rules, (authority, tls): (String, TlsAcceptor)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(MailServerState { rules, tls, mails: Mutex::default(), said: watch::Sender::default() });
        let server = Self { address, authority, shared: shared.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                tokio::spawn(async move { serve(&shared, stream).await });
            }
        });
        server
    }

    /// Returns the mails that were accepted.
    pub(crate) fn mails(&self) -> Vec<ReceivedMail> {
        self.shared.mails.lock().unwrap().clone()
    }

    /// Returns the lines that clients said outside of mails, and `.` for the end of each mail.
    pub(crate) fn client_lines(&self) -> Vec<String> {
        self.shared.said.borrow().clone()
    }

    /// Waits until a client has said a line that begins like this.
    pub(crate) async fn hears(&self, line: &str) {
        let mut said = self.shared.said.subscribe();
        said.wait_for(|said| said.iter().any(|said| said.starts_with(line))).await.unwrap();
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn serve(shared: &MailServerState, stream: TcpStream) {
    let mut stream: Box<dyn Stream> = Box::new(stream);
    if shared.rules.protected == MailProtection::Tls {
        let Ok(encrypted) = shared.tls.accept(stream).await else { return };
        stream = Box::new(encrypted);
    }
    let mut session = Session { is_encrypted: shared.rules.protected == MailProtection::Tls, ..Session::default() };
    let mut stream = BufReader::new(stream);
    let mut command = String::new();
    loop {
        let instead = (shared.rules.instead)(&command);
        let says = match instead {
            Some(Instead::Say(line)) => line,
            Some(Instead::Close) => return,
            Some(Instead::Hang) => return std::future::pending().await,
            Some(Instead::KeepAndClose) => return shared.mails.lock().unwrap().push(session.mail.clone()),
            None => session.answer(shared, &command),
        };
        if stream.get_mut().write_all(format!("{says}\r\n").as_bytes()).await.is_err() || command.eq_ignore_ascii_case("QUIT") {
            return;
        }
        if says.starts_with("220") && command == "STARTTLS" {
            let Ok(encrypted) = shared.tls.accept(stream.into_inner()).await else { return };
            stream = BufReader::new(Box::new(encrypted));
            session = Session { is_encrypted: true, ..Session::default() };
        }
        if says.starts_with("354") {
            let Some(text) = data(&mut stream).await else { return };
            session.mail.text = text;
            command = ".".to_owned();
            shared.said.send_modify(|said| said.push(command.clone()));
            continue;
        }
        let Some(line) = line(&mut stream).await else { return };
        command = line;
        shared.said.send_modify(|said| said.push(command.clone()));
    }
}

/// What a connection has reached.
#[derive(Default)]
struct Session {
    is_encrypted: bool,
    has_greeted: bool,
    is_logged_in: bool,
    /// The answers of `AUTH LOGIN` so far, or none outside of it.
    login: Option<Vec<String>>,
    /// Whether the sender of the mail was named with `SMTPUTF8`.
    takes_utf8: bool,
    mail: ReceivedMail,
}

impl Session {
    fn answer(&mut self, shared: &MailServerState, command: &str) -> String {
        let Rules { protected, password, mechanism, .. } = &shared.rules;
        if let Some(answers) = &mut self.login {
            answers.push(command.to_owned());
            if answers.len() < 2 {
                return "334 UGFzc3dvcmQ6".to_owned();
            }
            let given = answers.join(" ");
            self.login = None;
            return self.logged_in(given == format!("{} {}", base64(USER), base64(password.unwrap_or_default())));
        }
        let verb = command.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        let must_encrypt = *protected == MailProtection::Starttls && !self.is_encrypted;
        match verb.as_str() {
            "" => "220 127.0.0.1 ESMTP".to_owned(),
            "EHLO" => {
                self.has_greeted = true;
                let login = password.filter(|_| !must_encrypt).map_or(String::new(), |_| format!("250-AUTH {mechanism}\r\n"));
                let starttls = if must_encrypt { "250-STARTTLS\r\n" } else { "" };
                let offers: String = shared.rules.offers.iter().map(|offer| format!("250-{offer}\r\n")).collect();
                format!("250-127.0.0.1 greets you\r\n{starttls}{login}{offers}250 SIZE {SIZE}")
            }
            "STARTTLS" if must_encrypt => "220 go ahead".to_owned(),
            "QUIT" => "221 bye".to_owned(),
            _ if !self.has_greeted => "503 say EHLO first".to_owned(),
            _ if must_encrypt => "530 5.7.0 Must issue a STARTTLS command first".to_owned(),
            "AUTH" if self.is_logged_in || password.is_none() => "503 no login now".to_owned(),
            "AUTH" if command == "AUTH LOGIN" && *mechanism == "LOGIN" => {
                self.login = Some(Vec::new());
                "334 VXNlcm5hbWU6".to_owned()
            }
            "AUTH" => {
                let expected = base64(&format!("\0{USER}\0{}", password.unwrap_or_default()));
                self.logged_in(*mechanism == "PLAIN" && command == format!("AUTH PLAIN {expected}"))
            }
            _ if password.is_some() && !self.is_logged_in => "530 5.7.0 Authentication required".to_owned(),
            // As RFC 6531 asks for.
            "MAIL" | "RCPT" if !(command.is_ascii() || self.takes_utf8 || command.contains(" SMTPUTF8")) => {
                "553 5.6.7 SMTPUTF8 was not said".to_owned()
            }
            "MAIL" => self.mail_from(command),
            "RCPT" => self.recipient(command),
            "DATA" if self.mail.to.is_empty() => "503 no recipient".to_owned(),
            "DATA" => "354 end with a dot".to_owned(),
            "." => self.accept_mail(shared),
            _ => "502 unknown command".to_owned(),
        }
    }

    fn logged_in(&mut self, is_right: bool) -> String {
        self.is_logged_in = is_right;
        if is_right { "235 2.7.0 welcome" } else { "535 5.7.8 Username and Password not accepted" }.to_owned()
    }

    fn mail_from(&mut self, command: &str) -> String {
        let Some(from) = parse_address(command, "MAIL FROM:") else { return "501 no sender".to_owned() };
        let size: usize = command.split("SIZE=").nth(1).and_then(|size| size.split(' ').next()?.parse().ok()).unwrap_or(0);
        if size > SIZE {
            return "552 5.3.4 Message too big".to_owned();
        }
        if from.ends_with("@spam.example") {
            return "550 5.7.1 Sender rejected".to_owned();
        }
        self.takes_utf8 = command.contains(" SMTPUTF8");
        self.mail = ReceivedMail { from, ..ReceivedMail::default() };
        "250 2.1.0 Ok".to_owned()
    }

    fn recipient(&mut self, command: &str) -> String {
        if self.mail.from.is_empty() {
            return "503 no sender".to_owned();
        }
        let Some(to) = parse_address(command, "RCPT TO:") else { return "501 no recipient".to_owned() };
        match to.split('@').next() {
            Some("gone") => "550 5.1.1 No such user".to_owned(),
            Some("full") => "452 4.2.2 Mailbox full".to_owned(),
            _ => {
                self.mail.to.push(to);
                "250 2.1.5 Ok".to_owned()
            }
        }
    }

    fn accept_mail(&mut self, shared: &MailServerState) -> String {
        let lines_end_well = !self.mail.text.replace("\r\n", "").contains(['\r', '\n']);
        if !lines_end_well || self.mail.text.split("\r\n").any(|line| line.len() > 998) {
            return "554 5.6.0 the mail is malformed".to_owned();
        }
        let mut mails = shared.mails.lock().unwrap();
        mails.push(std::mem::take(&mut self.mail));
        format!("250 2.0.0 Ok: queued as {}", mails.len())
    }
}

fn parse_address(command: &str, before: &str) -> Option<String> {
    let (_, rest) = command.split_once(before)?;
    let (address, _) = rest.strip_prefix('<')?.split_once('>')?;
    Some(address.to_owned())
}

/// Encodes as Base64. It is written out, so that the client's encoder is not compared with itself.
fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.as_bytes().chunks(3).flat_map(|chunk| {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        (0..4).map(move |digit| if digit > chunk.len() { '=' } else { char::from(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63]) })
    });
    digits.collect()
}

/// Reads a mail up to its end, and removes the doubled dots.
async fn data(from: &mut (impl AsyncBufRead + Unpin)) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let start = text.len();
        if from.read_until(b'\n', &mut text).await.ok()? == 0 {
            return None;
        }
        if &text[start..] == b".\r\n" {
            text.truncate(start);
            return String::from_utf8(text).ok();
        }
        if text[start] == b'.' {
            text.remove(start);
        }
    }
}

async fn line(from: &mut (impl AsyncBufRead + Unpin)) -> Option<String> {
    let mut line = String::new();
    let bytes = from.read_line(&mut line).await.ok()?;
    (bytes > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
}
