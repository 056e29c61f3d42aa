//! The supervisor: a process beside the node that holds one program at a time, so that the program survives
//! the node's end.
//!
//! It owns the program's processes, its output and its end, and reports all of it to any node that presents
//! its key. It reads no settings and knows neither the log nor what an action is. It ends when it has neither
//! a node nor a program.

pub(crate) mod folder;
pub(crate) mod isolation;
pub(crate) mod keeper;
mod memory;
pub(crate) mod namespace;
pub(crate) mod process_limit;
mod program;
pub(crate) mod protocol;
pub(crate) mod spool;
mod system_calls;
pub(crate) mod tree;
pub(crate) mod user;

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use subtle::ConstantTimeEq;
use tokio::io::BufReader;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use folder::Folder;
use isolation::System;
use namespace::UserNamespace;
use process_limit::Bound;
use program::{Descriptor3, HeldProgram, NoStart, StopOrder};
use protocol::{
    FRAME_BYTES_MAX, GREETING_BYTES_MAX, NodeSays, NotStarted, PROTOCOL_NEWEST, PROTOCOL_OLDEST, ProgramStream, SupervisorSays,
};
use user::User;

/// How long a supervisor without a program waits for its first node.
const FIRST_NODE_PATIENCE: Duration = Duration::from_secs(10);
/// How long a new connection may take to present the key.
const GREETING_PATIENCE: Duration = Duration::from_secs(10);
/// The number of connections without the key that are served at once.
const GREETINGS_MAX: usize = 16;
/// The maximum number of messages that wait for a node. A program needs a few.
const WORDS_WAITING_MAX: usize = 64;

/// What a supervisor prints once it accepts connections.
pub(crate) const READY: &[u8] = b"ready\n";

/// Runs a supervisor in its folder until it ends, or a keeper if the folder is one of a keeper. It must be the first thing that its
/// process does. With [`namespace::PROBE`] as the folder, it only prints whether programs get namespaces here.
pub fn run(folder: &Path, release: &str) -> io::Result<()> {
    if folder == Path::new(namespace::PROBE) {
        return io::stdout().write_all(&namespace::try_out()?);
    }
    // Before any thread is started, and before this process holds a secret.
    let user_namespace = UserNamespace::prepare(folder)?;
    if keeper::is_meant(folder) {
        return keeper::run(folder, &user_namespace);
    }
    let slot = Descriptor3::reserve()?;
    // From here the socket's name is short, however long the folder's is.
    std::env::set_current_dir(folder)?;
    // If a person starts it by hand, it already leads a session.
    let _ = rustix::process::setsid();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    // No program of the same user may inspect it.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    let folder = Folder::at(folder);
    let key = folder.key()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = UnixListener::bind("socket")?;
        let supervisor = Supervisor {
            folder,
            key,
            release: release.to_owned(),
            slot,
            bound: Bound::default(),
            system: System::open(),
            user_namespace,
            held: None,
            is_discarded: false,
        };
        // Its starter reads this, and nothing else, from its standard output.
        std::io::stdout().write_all(READY)?;
        std::io::stdout().flush()?;
        supervisor.serve(listener).await
    })
}

struct Supervisor {
    folder: Folder,
    key: String,
    release: String,
    slot: Descriptor3,
    bound: Bound,
    system: System,
    user_namespace: UserNamespace,
    held: Option<Arc<HeldProgram>>,
    /// Nobody wants to know how it ends.
    is_discarded: bool,
}

/// A node that has presented the key.
struct Node {
    said: mpsc::Receiver<(NodeSays, Bytes)>,
    say: mpsc::Sender<Say>,
}

/// A message for the node.
enum Say {
    Word(SupervisorSays),
    /// Everything that this program prints, from the beginning, and its end.
    Follow(Arc<HeldProgram>),
}

impl Supervisor {
    async fn serve(mut self, listener: UnixListener) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        // An interrupt from the keyboard may be meant for the process that started it, but not for the
        // program that it holds.
        let (_interrupt, _hang_up) = (signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?);
        let (greeted_into, mut greeted) = mpsc::channel::<(UnixStream, u32)>(GREETINGS_MAX);
        let greetings = Arc::new(tokio::sync::Semaphore::new(GREETINGS_MAX));
        let mut node: Option<Node> = None;
        let mut first = Some(tokio::time::Instant::now() + FIRST_NODE_PATIENCE);
        loop {
            if self.is_discarded && !self.is_needed() {
                self.forget(node.as_ref())?;
            }
            if node.is_none() && first.is_none() && !self.is_needed() {
                return self.leave();
            }
            let is_end_awaited = node.is_none() || self.is_discarded;
            let ended = self.wait_for_end();
            tokio::select! {
                biased;
                Some((stream, protocol)) = greeted.recv() => {
                    first = None;
                    node = Some(self.meet(stream, protocol));
                }
                said = next_message(&mut node) => match said {
                    Some((word, tail)) => self.hear(word, &tail, node.as_ref()),
                    None => node = None,
                },
                accepted = listener.accept() => {
                    if let Ok((stream, _)) = accepted
                        && let Ok(permit) = Arc::clone(&greetings).try_acquire_owned()
                    {
                        let (key, greeted) = (self.key.clone(), greeted_into.clone());
                        tokio::spawn(async move {
                            let _permit = permit;
                            if let Ok(Some(met)) = tokio::time::timeout(GREETING_PATIENCE, greet(stream, &key)).await {
                                let _ = greeted.send(met).await;
                            }
                        });
                    }
                }
                _ = terminate.recv() => match &self.held {
                    Some(held) => held.order_stop(StopOrder::by_machine()),
                    None => return self.leave(),
                },
                () = ended, if is_end_awaited => {}
                () = patience(first), if node.is_none() => first = None,
            }
        }
    }

    /// Ends, and leaves only what the next node needs to find.
    fn leave(self) -> io::Result<()> {
        self.bound.leave();
        match self.held {
            Some(_) => Ok(()),
            // Its node is gone: the next one finds here whether a program was started.
            None if self.folder.has_reservation() => Ok(()),
            None => self.folder.remove(),
        }
    }

    /// Returns true if it holds a running program. The end of a program is in the folder, for the next node.
    fn is_needed(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.end.borrow().is_none())
    }

    /// Completes when the held program ends. Never completes if there is none.
    fn wait_for_end(&self) -> impl Future<Output = ()> + use<> {
        let end = self.held.as_ref().map(|held| held.end.clone());
        async move {
            match end {
                Some(mut end) => {
                    // The sender is dropped only after the program has ended.
                    let _ = end.wait_for(Option::is_some).await;
                }
                None => std::future::pending().await,
            }
        }
    }

    fn meet(&mut self, stream: UnixStream, protocol: u32) -> Node {
        let (read, write) = stream.into_split();
        let (said_into, said) = mpsc::channel(16);
        let (say, to_say) = mpsc::channel(WORDS_WAITING_MAX);
        tokio::spawn(listen(read, said_into));
        tokio::spawn(speak(write, to_say));
        let holds = self.held.as_ref().map(|held| held.holds());
        let node = Node { said, say };
        node.send(Say::Word(SupervisorSays::Hello { protocol, release: self.release.clone(), holds }));
        if let Some(held) = &self.held {
            node.send(Say::Follow(Arc::clone(held)));
        }
        node
    }

    fn hear(&mut self, word: NodeSays, tail: &Bytes, node: Option<&Node>) {
        let answer = |say| {
            if let Some(node) = node {
                node.send(say);
            }
        };
        match word {
            // It was already greeted.
            NodeSays::Hello { .. } => {}
            NodeSays::Start(_) if self.held.is_some() => {
                let why = "it holds another program".to_owned();
                answer(Say::Word(SupervisorSays::NotStarted { kind: NotStarted::Supervisor, why }));
            }
            NodeSays::Start(order) => {
                let user = User::of(order.isolation.users, std::process::id());
                let raised = self.bound.raise(order.limits.processes, user.as_ref().ok().copied().flatten(), &self.user_namespace);
                let started = user.map_err(|why| NoStart { kind: NotStarted::Isolation, why }).and_then(|user| {
                    HeldProgram::start(&self.folder, &mut self.slot, &self.system, &order, tail, (user, &self.user_namespace))
                });
                if let Some(raised) = raised {
                    raised.fasten();
                }
                match started {
                    Ok(held) => {
                        answer(Say::Word(SupervisorSays::Started));
                        answer(Say::Follow(Arc::clone(&held)));
                        self.held = Some(held);
                    }
                    Err(no_start) => {
                        // Nobody needs what was created for it. Its reservation stays: it may prove that nothing was started.
                        let _ = std::fs::remove_dir_all(&order.private);
                        let _ = self.folder.clear();
                        answer(Say::Word(SupervisorSays::NotStarted { kind: no_start.kind, why: no_start.why }));
                    }
                }
            }
            NodeSays::Stop { grace_millis } => self.order_stop(StopOrder::by_node(Duration::from_millis(grace_millis))),
            NodeSays::Kill => self.order_stop(StopOrder::by_node(Duration::ZERO)),
            NodeSays::Collected => {
                self.order_stop(StopOrder::by_node(Duration::ZERO));
                self.is_discarded = true;
            }
            NodeSays::Ping => answer(Say::Word(SupervisorSays::Pong)),
        }
    }

    /// Removes everything that is left of a program that has ended. A supervisor that cannot do so, or that
    /// has processes of the program left, must not hold another: it ends, and the node removes the folder or
    /// reports why it cannot.
    fn forget(&mut self, node: Option<&Node>) -> io::Result<()> {
        self.is_discarded = false;
        let held = self.held.take();
        if let Some(held) = &held {
            let _ = crate::programs::remove_directory(held.private());
        }
        self.folder.withdraw()?;
        self.folder.clear()?;
        if held.is_some_and(|held| held.has_remains()) {
            // They would be taken for the next program's, whose end would wait for theirs.
            return Err(io::Error::other("processes of its last program do not end although they were killed"));
        }
        if let Some(node) = node {
            node.send(Say::Word(SupervisorSays::Idle));
        }
        Ok(())
    }

    fn order_stop(&self, told: StopOrder) {
        if let Some(held) = &self.held {
            held.order_stop(told);
        }
    }
}

impl Node {
    fn send(&self, say: Say) {
        // The node may be gone. It hears what it misses when it connects again.
        let _ = self.say.try_send(say);
    }
}

async fn next_message(node: &mut Option<Node>) -> Option<(NodeSays, Bytes)> {
    match node {
        Some(node) => node.said.recv().await,
        None => std::future::pending().await,
    }
}

async fn patience(until: Option<tokio::time::Instant>) {
    match until {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Reads the first message of a connection. Returns none if it is not from a node that knows the key.
async fn greet(mut stream: UnixStream, key: &str) -> Option<(UnixStream, u32)> {
    let peer = stream.peer_cred().ok()?;
    if peer.uid() != rustix::process::geteuid().as_raw() {
        return None;
    }
    let (word, _) = protocol::read::<NodeSays>(&mut stream, GREETING_BYTES_MAX).await.ok()??;
    let NodeSays::Hello { oldest, newest, key: shown, .. } = word else { return None };
    if !bool::from(shown.as_bytes().ct_eq(key.as_bytes())) {
        return None;
    }
    if oldest > PROTOCOL_NEWEST || newest < PROTOCOL_OLDEST {
        let none = SupervisorSays::NoProtocol { oldest: PROTOCOL_OLDEST, newest: PROTOCOL_NEWEST };
        let _ = protocol::write(&mut stream, &none, &[]).await;
        return None;
    }
    Some((stream, newest.min(PROTOCOL_NEWEST)))
}

async fn listen(from: OwnedReadHalf, said: mpsc::Sender<(NodeSays, Bytes)>) {
    let mut from = BufReader::new(from);
    while let Ok(Some(word)) = protocol::read::<NodeSays>(&mut from, FRAME_BYTES_MAX).await {
        if said.send(word).await.is_err() {
            return;
        }
    }
}

async fn speak(mut to: OwnedWriteHalf, mut say: mpsc::Receiver<Say>) {
    let mut following: Option<Following> = None;
    loop {
        let next = tokio::select! {
            biased;
            say = say.recv() => match say {
                Some(Say::Word(word)) => Some((word, Vec::new())),
                Some(Say::Follow(held)) => {
                    following = Some(Following { held, sent: [0; 3] });
                    continue;
                }
                None => return,
            },
            piece = piece(&mut following) => piece,
        };
        let Some((word, tail)) = next else { return };
        // Messages do not wait for output: nothing more is sent of a program that is forgotten.
        if matches!(word, SupervisorSays::Ended(_) | SupervisorSays::Idle) {
            following = None;
        }
        if protocol::write(&mut to, &word, &tail).await.is_err() {
            return;
        }
    }
}

/// How much of a program's output was sent.
struct Following {
    held: Arc<HeldProgram>,
    sent: [u64; 3],
}

/// Returns the next piece of a program's output, and its end after the last piece, or none if the output can
/// no longer be read.
async fn piece(following: &mut Option<Following>) -> Option<(SupervisorSays, Vec<u8>)> {
    let Some(Following { held, sent }) = following else { return std::future::pending().await };
    loop {
        let grown = held.spools.growth().notified();
        tokio::pin!(grown);
        grown.as_mut().enable();
        // The end is read first: the output that is there after it is complete.
        let end = *held.end.borrow();
        for stream in ProgramStream::ALL {
            let offset = sent[stream.index()];
            let bytes = held.spools.read(stream, offset).ok()?;
            if !bytes.is_empty() {
                sent[stream.index()] += bytes.len() as u64;
                return Some((SupervisorSays::Output { stream, offset }, bytes));
            }
        }
        if let Some(end) = end {
            return Some((SupervisorSays::Ended(end), Vec::new()));
        }
        grown.await;
    }
}
