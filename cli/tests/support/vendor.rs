//! A server on loopback that answers as the systems of other companies do, by a script.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A request that the server got.
#[derive(Clone, Debug)]
pub(crate) struct VendorRequest {
    /// The method, a space and the path.
    pub(crate) what: String,
    /// The headers; their names are in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The raw body.
    pub(crate) text: String,
}

impl VendorRequest {
    /// Returns the value of a header, or an empty text.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Returns the body as JSON, or null if it is not JSON.
    pub(crate) fn body(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

/// Returns the status and the body of the answer to a request, given the earlier requests.
type Script = dyn Fn(&VendorRequest, &[VendorRequest]) -> (u16, String) + Send + Sync;

/// A running server.
pub(crate) struct Vendor {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<VendorRequest>>>,
}

impl Vendor {
    /// Starts a server that answers each request as the script says. It keeps the requests.
    pub(crate) async fn start(script: impl Fn(&VendorRequest, &[VendorRequest]) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (script, kept): (Arc<Script>, _) = (Arc::new(script), asked.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, script.clone(), kept.clone()));
            }
        });
        Self { address, asked }
    }

    /// Returns its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the requests for a method and the beginning of a path, the oldest first.
    pub(crate) fn requests(&self, what: &str) -> Vec<VendorRequest> {
        self.asked.lock().unwrap().iter().filter(|asked| asked.what.starts_with(what)).cloned().collect()
    }

    /// Returns the methods and paths of the requests whose methods are not `GET`, the oldest first.
    pub(crate) fn changes(&self) -> Vec<String> {
        self.requests("").into_iter().map(|asked| asked.what).filter(|what| !what.starts_with("GET ")).collect()
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Script>, kept: Arc<Mutex<Vec<VendorRequest>>>) {
    let Some(asked) = read(&mut stream).await else { return };
    let (status, body) = {
        let mut kept = kept.lock().unwrap();
        let answer = script(&asked, &kept);
        kept.push(asked);
        answer
    };
    let kind = if body.starts_with('<') { "text/xml" } else { "application/json" };
    let head = format!("HTTP/1.1 {status} -\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len());
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
}

/// Reads a request; returns `None` if the client ends before.
async fn read(stream: &mut TcpStream) -> Option<VendorRequest> {
    let mut bytes = Vec::new();
    let mut more = async |bytes: &mut Vec<u8>| stream.read_buf(bytes).await.ok().filter(|count| *count > 0);
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        more(&mut bytes).await?;
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let what = lines.next()?.rsplit_once(' ')?.0.to_owned();
    let headers: Vec<(String, String)> =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
    while bytes.len() < end + 4 + length {
        more(&mut bytes).await?;
    }
    Some(VendorRequest { what, headers, text: String::from_utf8(bytes.split_off(end + 4)).unwrap() })
}
