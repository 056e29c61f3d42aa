//! Plain HTTP/1.1 for the tests: the browser of a person, and the port of the node.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use ensue_login::Fetch;
use ensue_login::fetch::{FETCH_BYTES_MAX, FETCH_TIME_MAX, FetchError, Method, Request, Response};
use url::Url;

/// A response with its headers, in lower case.
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Sends one request on a connection of its own.
pub(crate) fn send(method: &str, url: &Url, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, FetchError> {
    let unreachable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => FetchError::Timeout,
        _ => FetchError::Unreachable(error.to_string()),
    };
    let address = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(80));
    let mut stream = TcpStream::connect(address).map_err(unreachable)?;
    stream.set_read_timeout(Some(FETCH_TIME_MAX)).map_err(unreachable)?;
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {}:{}\r\nconnection: close\r\n", address.0, address.1);
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).map_err(unreachable)?;
    let mut bytes = Vec::new();
    stream.take(2 * FETCH_BYTES_MAX as u64).read_to_end(&mut bytes).map_err(unreachable)?;
    read(&bytes).ok_or_else(|| FetchError::Unreachable("the response is not HTTP".to_owned()))
}

fn read(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> =
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let is_chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if is_chunked { chunks(&bytes[end + 4..])? } else { bytes[end + 4..].to_vec() };
    Some(Answer { status, headers, body })
}

fn chunks(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = bytes.windows(2).position(|window| window == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).ok()?, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend(bytes.get(line + 2..line + 2 + length)?);
        bytes = bytes.get(line + 4 + length..)?;
    }
}

/// The port over real connections. Requests are counted.
#[derive(Default)]
pub(crate) struct Port {
    requests: AtomicUsize,
}

impl Port {
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Fetch for Port {
    fn fetch(&self, request: &Request) -> Result<Response, FetchError> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let answer = match &request.method {
            Method::Get => send("GET", &request.url, &[("accept", "application/json")], b"")?,
            Method::Post { form, authorization } => {
                let authorization = authorization.as_ref().map(|value| String::from_utf8(value.reveal().to_vec()).unwrap());
                let mut headers = vec![("accept", "application/json"), ("content-type", "application/x-www-form-urlencoded")];
                headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
                send("POST", &request.url, &headers, form.reveal())?
            }
        };
        if answer.body.len() > FETCH_BYTES_MAX {
            return Err(FetchError::TooLarge);
        }
        let cache_control = answer.header("cache-control").map(str::to_owned);
        Ok(Response { status: answer.status, cache_control, body: answer.body })
    }

    fn read(&self, file: &Path) -> Result<Vec<u8>, FetchError> {
        std::fs::read(file).map_err(|error| FetchError::Unreadable(error.to_string()))
    }
}

/// A browser: it keeps cookies, and follows redirects within the provider.
#[derive(Default)]
pub(crate) struct Browser {
    cookies: BTreeMap<String, String>,
}

impl Browser {
    /// Requests a page, follows redirects, and returns the last URL with the page, or the first URL outside the
    /// provider.
    pub(crate) fn open(&mut self, url: Url, provider: &Url) -> (Url, String) {
        self.follow("GET", url, String::new(), provider)
    }

    /// Sends a form.
    pub(crate) fn submit(&mut self, url: Url, form: &str, provider: &Url) -> (Url, String) {
        self.follow("POST", url, form.to_owned(), provider)
    }

    fn follow(&mut self, method: &str, mut url: Url, form: String, provider: &Url) -> (Url, String) {
        let mut answer = self.send(method, &url, &form);
        for _ in 0..10 {
            let Some(location) = answer.header("location") else { break };
            url = url.join(location).unwrap();
            if url.origin() != provider.origin() {
                return (url, String::new());
            }
            answer = self.send("GET", &url, "");
        }
        assert_eq!(answer.status, 200, "{url}: {}", String::from_utf8_lossy(&answer.body));
        (url, String::from_utf8_lossy(&answer.body).into_owned())
    }

    fn send(&mut self, method: &str, url: &Url, form: &str) -> Answer {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let mut headers = vec![("cookie", cookies.as_str()), ("accept", "text/html")];
        if method == "POST" {
            headers.push(("content-type", "application/x-www-form-urlencoded"));
        }
        let answer = send(method, url, &headers, form.as_bytes()).unwrap();
        for (_, cookie) in answer.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let (name, value) = cookie.split(';').next().and_then(|pair| pair.split_once('=')).unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        answer
    }
}
