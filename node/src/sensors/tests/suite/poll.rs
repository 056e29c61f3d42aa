//! A server on loopback that is polled. It returns the items after a number, and takes that number as the word that all
//! before are in the log.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use ensue_connectors::{Connectors, SensorErrorKind};

use super::super::site::{Outside, Setting};
use super::{Becomes, Odd, Order, PeerUnderTest, Promises, Settling, TestMessage};

/// At how many places of an answer the connection can break off.
const CUTS: usize = 20;

struct Server {
    address: SocketAddr,
    feed: Arc<Mutex<Feed>>,
}

#[derive(Default)]
struct Feed {
    items: Vec<TestMessage>,
    /// The number after which the sensor has asked for items, at most.
    asked_after: Option<u64>,
    is_away: bool,
    cut: Option<usize>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { address: listener.local_addr().unwrap(), feed: Arc::default() };
        server.serve(listener);
        server
    }

    fn serve(&self, listener: TcpListener) {
        let feed = self.feed.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if feed.lock().unwrap().is_away {
                    // The port is closed with the listener.
                    return;
                }
                // A client that is gone needs no answer.
                let _ = stream.and_then(|stream| answer(stream, &feed));
            }
        });
    }
}

/// Answers one request.
fn answer(mut stream: TcpStream, feed: &Mutex<Feed>) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut part)? {
            0 => return Ok(()),
            count => head.extend_from_slice(&part[..count]),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let after = head.split("after=").nth(1).and_then(|rest| rest.split([' ', '&']).next()).and_then(|after| after.parse::<u64>().ok());
    let mut feed = feed.lock().unwrap();
    feed.asked_after = feed.asked_after.max(after);
    let new: Vec<Vec<u8>> =
        feed.items.iter().filter(|said| after.is_none_or(|after| said.number() > after)).map(|said| said.bytes()).collect();
    let body = [b"[".as_slice(), &new.join(b",".as_slice()), b"]"].concat();
    let mut all = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    all.extend(body);
    let end = match feed.cut.take_if(|_| !new.is_empty()) {
        Some(place) => all.len() * place / CUTS,
        None => all.len(),
    };
    drop(feed);
    stream.write_all(&all[..end])
}

impl PeerUnderTest for Server {
    fn setting(&self) -> Setting {
        let source = |path: &str| {
            format!(
                "poll:\n  every: 1s\n  http: {{ url: 'http://{}/{path}', query: {{ after: '${{{{ cursor }}}}' }} }}\n  items: body\n  \
                 cursor: {{ start: \"''\", next: 'items.map(i, i.n).max()' }}\n  first: emit",
                self.address
            )
        };
        Setting {
            source: source("items"),
            other_source: source("others"),
            name: "item",
            connect: Arc::new(Connectors),
            outside: Outside::Machine(Vec::new()),
        }
    }

    fn promises(&self) -> Promises {
        Promises { order: Order::Kept, settling: Settling::Always, away: SensorErrorKind::Connect }
    }

    fn put(&self, messages: &[TestMessage]) {
        self.feed.lock().unwrap().items.extend_from_slice(messages);
    }

    fn go_away(&self) {
        self.feed.lock().unwrap().is_away = true;
        // The thread that accepts connections sees it with the next one, and ends.
        while TcpStream::connect(self.address).is_ok() {
            std::thread::yield_now();
        }
    }

    fn come_back(&self) {
        self.feed.lock().unwrap().is_away = false;
        self.serve(TcpListener::bind(self.address).unwrap());
    }

    fn cut(&self, place: usize) {
        self.feed.lock().unwrap().cut = Some(place);
    }

    fn cuts(&self) -> usize {
        CUTS
    }

    fn was_cut(&self) -> bool {
        self.feed.lock().unwrap().cut.is_none()
    }

    fn settled_numbers(&self) -> BTreeSet<u64> {
        let feed = self.feed.lock().unwrap();
        feed.items.iter().map(|said| said.number()).filter(|number| feed.asked_after.is_some_and(|after| *number <= after)).collect()
    }

    fn becomes(&self, odd: Odd) -> Becomes {
        match odd {
            Odd::Largest => Becomes::Event,
            Odd::TooLarge => Becomes::Letter,
            // One invalid item makes the whole response invalid JSON.
            Odd::Empty | Odd::NotUtf8 | Odd::Nul | Odd::Deep => Becomes::Failure,
        }
    }

    fn take_back_odd(&self) {
        self.feed.lock().unwrap().items.retain(|said| !matches!(said, TestMessage::Odd(..)));
    }
}

super::suite! {
    Server::start(),
    does_not_apply [
        settled_message_that_comes_again_makes_no_event: "with a cursor alone, an item that the server repeats is another item",
    ]
}
