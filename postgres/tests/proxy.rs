//! A proxy in front of a server that cuts or holds the writer's connection after a number of bytes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The direction of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    ToServer,
    ToClient,
}

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Both sides see that it is closed.
    Cut,
    /// No further byte passes in this direction, and no side sees why.
    Hold,
}

/// The connections of which bytes count, and in which faults happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counts {
    /// All but those of the threads that beat.
    Writers,
    /// Those of the threads that beat.
    Leases,
}

/// The proxy.
pub(crate) struct Proxy {
    port: u16,
    plan: Arc<Plan>,
}

#[derive(Default)]
struct Plan {
    armed: Mutex<Option<(Fault, Direction, usize)>>,
    to_server: Mutex<Vec<u8>>,
    to_client: AtomicUsize,
    struck: AtomicUsize,
    /// Whether a client asked something on each connection that counts.
    asked: Mutex<Vec<bool>>,
}

/// The message with which a client says goodbye.
const GOODBYE: &[u8] = b"X\0\0\0\x04";

impl Proxy {
    /// Starts a proxy in front of a port of this machine that counts the bytes of writers.
    pub(crate) fn before(target: u16) -> Self {
        Self::counting(Counts::Writers, target)
    }

    /// Starts a proxy in front of a port of this machine.
    pub(crate) fn counting(counts: Counts, target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let plan = Arc::new(Plan::default());
        let shared = plan.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                let plan = shared.clone();
                thread::spawn(move || pass(client, server, counts, &plan));
            }
        });
        Self { port, plan }
    }

    /// Returns its port on loopback.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the address of a database through the proxy. A request for TLS would hide the name of the application.
    pub(crate) fn address(&self, database: &str) -> String {
        format!("postgres://ensue@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// Plans a fault after so many more bytes in one direction.
    pub(crate) fn arm(&self, fault: Fault, way: Direction, after: usize) {
        *self.plan.armed.lock().unwrap_or_else(PoisonError::into_inner) = Some((fault, way, after));
    }

    /// Takes back a plan that was not carried out.
    pub(crate) fn disarm(&self) {
        *self.plan.armed.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Returns how many faults were carried out.
    pub(crate) fn fault_count(&self) -> usize {
        self.plan.struck.load(Ordering::SeqCst)
    }

    /// Returns how many bytes of the connections that count were passed on.
    pub(crate) fn passed_bytes(&self, way: Direction) -> usize {
        match way {
            Direction::ToServer => self.plan.to_server.lock().unwrap_or_else(PoisonError::into_inner).len(),
            Direction::ToClient => self.plan.to_client.load(Ordering::SeqCst),
        }
    }

    /// Returns the newest bytes of those that count and were passed on to the server.
    pub(crate) fn newest_to_server(&self, count: usize) -> Vec<u8> {
        let passed = self.plan.to_server.lock().unwrap_or_else(PoisonError::into_inner);
        passed[passed.len() - count..].to_vec()
    }

    /// Returns how many connections that count there were, and begins to note on which of them the client asks something.
    pub(crate) fn connections(&self) -> usize {
        let mut asked = self.plan.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.fill(false);
        asked.len()
    }

    /// Returns on how many of the first connections the client asked something.
    pub(crate) fn used_connections(&self, first: usize) -> usize {
        self.plan.asked.lock().unwrap_or_else(PoisonError::into_inner)[..first].iter().filter(|asked| **asked).count()
    }
}

fn pass(mut client: TcpStream, mut server: TcpStream, counts: Counts, plan: &Arc<Plan>) {
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let mut first = vec![0; 4096];
    let Ok(length) = client.read(&mut first) else { return };
    // The startup packet has the name of the application.
    let beats = first[..length].windows(6).any(|part| part == b"/lease");
    let counts = beats == (counts == Counts::Leases);
    if server.write_all(&first[..length]).is_err() {
        return;
    }
    let place = counts.then(|| {
        let mut asked = plan.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push(false);
        asked.len() - 1
    });
    let (back_from, back_to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let other = plan.clone();
    thread::spawn(move || pump(back_from, back_to, Direction::ToClient, place, &other));
    pump(client, server, Direction::ToServer, place, plan);
}

/// Passes bytes on. The connection has a place among those that count.
fn pump(mut from: TcpStream, mut to: TcpStream, way: Direction, place: Option<usize>, plan: &Plan) {
    let mut chunk = vec![0; 16 * 1024];
    while let Ok(length) = from.read(&mut chunk) {
        if length == 0 {
            break;
        }
        let mut pass = length;
        let mut fault = None;
        if let Some(place) = place {
            let mut armed = plan.armed.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((kind, planned, left)) = armed.as_mut()
                && *planned == way
            {
                if length > *left {
                    (pass, fault) = (*left, Some(*kind));
                    *armed = None;
                } else {
                    *left -= length;
                }
            }
            match way {
                Direction::ToServer => {
                    plan.to_server.lock().unwrap_or_else(PoisonError::into_inner).extend(&chunk[..pass]);
                    if chunk[..length] != *GOODBYE {
                        plan.asked.lock().unwrap_or_else(PoisonError::into_inner)[place] = true;
                    }
                }
                Direction::ToClient => drop(plan.to_client.fetch_add(pass, Ordering::SeqCst)),
            }
        }
        if to.write_all(&chunk[..pass]).is_err() {
            break;
        }
        match fault {
            Some(Fault::Cut) => {
                plan.struck.fetch_add(1, Ordering::SeqCst);
                break;
            }
            Some(Fault::Hold) => {
                plan.struck.fetch_add(1, Ordering::SeqCst);
                loop {
                    thread::park();
                }
            }
            None => {}
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
