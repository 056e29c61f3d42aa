//! The login through the browser of this machine: the node sends the browser back to a port of this process, with a code
//! that only this process can exchange (RFC 8252, PKCE).

use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Url;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::ways;
use crate::client::Client;
use crate::report::{Exit, Failure, eprint_line};

/// How long a person has to log in: at the issuer, and on the node's own page.
const PATIENCE: Duration = Duration::from_secs(20 * 60);
/// How long a connection may take to send its request.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
/// The most bytes of a request that are read.
const REQUEST_BYTES_MAX: usize = 16 * 1024;
/// The programs that open an address in the browser of the desktop.
const OPENERS: &[&str] = if cfg!(target_os = "macos") { &["open"] } else { &["xdg-open"] };

/// Logs in, and returns the tokens.
pub(super) async fn log_in(client: &Client, issuer: Option<&str>) -> Result<Value, Failure> {
    let issuer = choose_issuer(client, issuer).await?;
    let unusable = |error: std::io::Error| Failure::new(format!("a port of this machine cannot be opened: {error}"));
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(unusable)?;
    let port = listener.local_addr().map_err(unusable)?.port();
    let (verifier, state) = (draw_random()?, draw_random()?);
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
    let start = format!("{}/api/v1/auth/oidc/start", client.server());
    let parameters = [("issuer", issuer.as_str()), ("cli", &port.to_string()), ("challenge", &challenge), ("state", &state)];
    let start = Url::parse_with_params(&start, parameters)
        .map_err(|error| Failure::new(format!("the address of the node is not valid: {error}")))?;
    eprint_line(format!("Log in in your browser. If it does not open, go to:\n\n    {start}\n"));
    open(start.as_str());
    let answered = tokio::time::timeout(PATIENCE, came_back(&listener, &state)).await;
    let code = answered.map_err(|_| Failure::new("nobody logged in in time").hint("run `ensue login` again"))??;
    Ok(client.post("/auth/login", &json!({ "code": code, "verifier": verifier })).await?.body)
}

/// Returns the issuer to log in through.
async fn choose_issuer(client: &Client, named: Option<&str>) -> Result<String, Failure> {
    let ways = ways(client).await?;
    let known: Vec<&str> = ways.iter().filter_map(|way| way.strip_prefix("oidc/")).collect();
    let listed = || known.join("`, `");
    match (named, &known[..]) {
        (_, []) => {
            let failure = Failure::with(Exit::Usage, format!("people do not log in to {} through an issuer", client.server()));
            Err(failure.hint(if ways.iter().any(|way| way == "password") {
                "log in with your password: `ensue login --name NAME`; or with a token: `ensue login --token`"
            } else {
                "log in with a token: `ensue login --token`"
            }))
        }
        (Some(named), _) if known.contains(&named) => Ok(named.to_owned()),
        (Some(named), _) => {
            Err(Failure::with(Exit::Usage, format!("there is no issuer `{named}`")).hint(format!("the node has `{}`", listed())))
        }
        (None, [only]) => Ok((*only).to_owned()),
        (None, _) => {
            Err(Failure::with(Exit::Usage, "the node has several issuers").hint(format!("name one with `--issuer`: `{}`", listed())))
        }
    }
}

/// Waits until the browser comes back with this state, and returns the code. Other programs of the machine and pages of
/// other sites can send requests to the port: they do not know the state.
async fn came_back(listener: &TcpListener, state: &str) -> Result<String, Failure> {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { continue };
        let Ok(Some(url)) = tokio::time::timeout(REQUEST_TIME_MAX, read_request_url(&mut stream)).await else { continue };
        let parameter = |name: &str| url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned());
        if parameter("state").as_deref() != Some(state) {
            answer(&mut stream, "404 Not Found", "This is not the login that `ensue login` waits for.").await;
            continue;
        }
        match parameter("code") {
            Some(code) => {
                answer(&mut stream, "200 OK", "The login is complete. You can close this page, and return to the terminal.").await;
                return Ok(code);
            }
            None => {
                answer(&mut stream, "200 OK", "The login was denied. You can close this page.").await;
                return Err(Failure::with(Exit::NotAllowed, "the login was denied in the browser"));
            }
        }
    }
}

/// Reads the head of a request, and returns its URL; `None` if it is not a `GET` of the page.
async fn read_request_url(stream: &mut TcpStream) -> Option<Url> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut piece = [0; 1024];
        let bytes = stream.read(&mut piece).await.ok().filter(|bytes| *bytes > 0)?;
        head.extend_from_slice(&piece[..bytes]);
        if head.len() > REQUEST_BYTES_MAX {
            return None;
        }
    }
    let line = head.split(|byte| *byte == b'\r').next()?;
    let target = std::str::from_utf8(line).ok()?.strip_prefix("GET ")?.split(' ').next()?;
    Url::parse("http://127.0.0.1/").ok()?.join(target).ok()
}

async fn answer(stream: &mut TcpStream, status: &str, text: &str) {
    let head = "content-type: text/plain; charset=utf-8\r\nreferrer-policy: no-referrer\r\ncache-control: no-store\r\nconnection: close";
    let whole = format!("HTTP/1.1 {status}\r\n{head}\r\ncontent-length: {}\r\n\r\n{text}\n", text.len() + 1);
    // A browser that has gone needs no answer.
    let _ = stream.write_all(whole.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// Opens an address in the browser, if the desktop has a program for it. The address is also printed.
fn open(url: &str) {
    for opener in OPENERS {
        let started = Command::new(opener).arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        if let Ok(mut program) = started {
            // It may last as long as the browser.
            std::thread::spawn(move || program.wait());
            return;
        }
    }
}

/// Draws 256 random bits, as text.
fn draw_random() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| Failure::new(format!("the system provides no randomness: {error}")))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
