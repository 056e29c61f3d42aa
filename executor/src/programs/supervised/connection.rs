//! The node's end of a connection to a supervisor, and listening to a program over it.
//!
//! If the connection breaks, the files that the supervisor left in its folder provide the rest.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use ensue_engine::ports::OutputStream;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use super::HEARD_WAITING_MAX;
use crate::lease::Lease;
use crate::messages::LINE_BYTES_MAX;
use crate::programs::{End, KILLED_PATIENCE, ProgramUpdate, WhyLost};
use crate::supervisor::folder::Folder;
use crate::supervisor::namespace;
use crate::supervisor::protocol::{
    self, FRAME_BYTES_MAX, Holds, NodeSays, PROTOCOL_NEWEST, PROTOCOL_OLDEST, PROTOCOL_WITH_PINGS, ProgramStream, SupervisorSays,
};
use crate::supervisor::spool::Spools;
use crate::supervisor::tree;

/// How long a supervisor may take to answer the greeting. A slower one is considered dead, so the time must
/// be long enough for a busy machine.
pub(super) const GREETING_PATIENCE: Duration = Duration::from_secs(10);

/// How long reading the files that a supervisor left may take.
const DISK_PATIENCE: Duration = Duration::from_secs(30);

/// The pause between two looks at whether a supervisor is gone.
const DESERTED_PAUSE: Duration = Duration::from_millis(5);

/// A connection to a supervisor.
pub(super) struct SupervisorConnection {
    pub(super) folder: Folder,
    pub(super) say: Sayer,
    /// The supervisor's process, or `None` if the kernel does not name it.
    pub(super) supervisor: Option<SupervisorProcess>,
    /// The protocol version in use.
    pub(super) protocol: u32,
    /// It may hold other programs later: it raises the walls of this release, and lacks none for a reason
    /// that may pass.
    pub(super) is_reusable: bool,
    from: BufReader<OwnedReadHalf>,
}

/// The process of a supervisor that has answered: its number, and when it was started, in ticks since the
/// boot.
#[derive(Clone, Copy, Debug)]
pub(super) struct SupervisorProcess {
    pub(super) number: i32,
    pub(super) started_at: u64,
}

/// The maximum number of messages that wait for a supervisor. A program needs four.
const WORDS_WAITING_MAX: usize = 64;

/// Sends messages to a supervisor. A clone sends to the same supervisor.
#[derive(Clone)]
pub(super) struct Sayer {
    frames: mpsc::Sender<Bytes>,
}

impl Sayer {
    /// Sends a message. Returns true if somebody may receive it.
    pub(super) fn say(&self, word: &NodeSays) -> bool {
        protocol::encode_frame(word, &[]).is_ok_and(|frame| self.say_framed(frame))
    }

    /// Sends a message that is already framed. Returns true if somebody may receive it.
    pub(super) fn say_framed(&self, frame: Bytes) -> bool {
        self.frames.try_send(frame).is_ok()
    }

    /// Returns a sender that nobody listens to.
    pub(super) fn to_nobody() -> Self {
        Self { frames: mpsc::channel(1).0 }
    }
}

impl SupervisorConnection {
    /// Connects to the supervisor of a folder, and learns which program it holds.
    pub(super) async fn to(folder: Folder, release: &str) -> io::Result<(Self, Option<Holds>)> {
        timeout(GREETING_PATIENCE, Self::greet(folder, release)).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    async fn greet(folder: Folder, release: &str) -> io::Result<(Self, Option<Holds>)> {
        let mut stream = connect(&folder).await?;
        let hello = NodeSays::Hello { oldest: PROTOCOL_OLDEST, newest: PROTOCOL_NEWEST, release: release.to_owned(), key: folder.key()? };
        let process = stream
            .peer_cred()
            .ok()
            .and_then(|peer| peer.pid())
            .and_then(|number| tree::started_at(number).map(|started_at| SupervisorProcess { number, started_at }));
        protocol::write(&mut stream, &hello, &[]).await?;
        let (protocol, holds, is_of_this_release) = match protocol::read(&mut stream, FRAME_BYTES_MAX).await? {
            Some((SupervisorSays::Hello { holds, protocol, release: its }, _)) => {
                tracing::debug!(protocol, release = its, "a supervisor greets");
                (protocol, holds, its == release)
            }
            Some((SupervisorSays::NoProtocol { oldest, newest }, _)) => {
                let why = format!(
                    "it supports the protocols {oldest} to {newest}, but this release supports {PROTOCOL_OLDEST} to {PROTOCOL_NEWEST}"
                );
                return Err(io::Error::new(io::ErrorKind::Unsupported, why));
            }
            Some(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "it did not send a greeting")),
            None => return Err(io::ErrorKind::ConnectionReset.into()),
        };
        let is_reusable = is_of_this_release && namespace::is_lasting(folder.path());
        let (from, to) = stream.into_split();
        let (frames, to_say) = mpsc::channel(WORDS_WAITING_MAX);
        tokio::spawn(speak(to, to_say));
        Ok((Self { folder, say: Sayer { frames }, supervisor: process, protocol, is_reusable, from: BufReader::new(from) }, holds))
    }

    /// Returns the next message, or `None` if the supervisor is gone. Must not be cut off.
    pub(super) async fn next(&mut self) -> Option<(SupervisorSays, Bytes)> {
        protocol::read(&mut self.from, FRAME_BYTES_MAX).await.ok().flatten()
    }
}

async fn connect(folder: &Folder) -> io::Result<UnixStream> {
    // Use the opened folder: a socket's name may have about a hundred bytes, and a path may have more.
    let opened = File::open(folder.path())?;
    UnixStream::connect(format!("/proc/self/fd/{}/socket", opened.as_raw_fd())).await
}

/// Returns true once nobody listens on the socket of a folder, for which it waits a little: a process that was killed may take
/// some time to end. A supervisor listens as long as it runs, wherever it runs, so none is there any longer.
pub(super) async fn is_deserted(folder: &Folder) -> bool {
    let until = Instant::now() + KILLED_PATIENCE;
    loop {
        match timeout(KILLED_PATIENCE, connect(folder)).await {
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => return true,
            _ if Instant::now() >= until => return false,
            _ => tokio::time::sleep(DESERTED_PAUSE).await,
        }
    }
}

async fn speak(mut to: OwnedWriteHalf, mut frames: mpsc::Receiver<Bytes>) {
    while let Some(frame) = frames.recv().await {
        if to.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// Listens to a program over a connection, until it ends and is forgotten.
pub(super) struct Listener {
    connection: SupervisorConnection,
    teller: Teller,
    end_by: watch::Receiver<Option<Instant>>,
    answers_within: Duration,
}

impl Listener {
    /// Creates a listener that sends to `heard`. It gives up a supervisor that is silent at the moment of
    /// `end_by`, or that does not answer for as long as `answers_within`.
    pub(super) fn new(
        connection: SupervisorConnection,
        heard: mpsc::Sender<ProgramUpdate>,
        end_by: watch::Receiver<Option<Instant>>,
        answers_within: Duration,
    ) -> Self {
        Self { connection, teller: Teller::to(heard), end_by, answers_within }
    }

    /// Listens until the program has ended and the supervisor has forgotten it or is gone.
    pub(super) async fn listen(mut self) -> ListenOutcome {
        enum ListenerStep {
            Word(Option<(SupervisorSays, Bytes)>),
            Silent,
            Unanswered,
        }
        loop {
            let has_ended = self.teller.has_ended;
            let end_by = self.end_by.clone();
            let (say, answers_pings) = (self.connection.say.clone(), self.connection.protocol >= PROTOCOL_WITH_PINGS);
            // Restarted with each message: a supervisor that says anything is alive. A message that is not
            // read yet counts neither way.
            let next = tokio::select! {
                biased;
                word = self.connection.next() => ListenerStep::Word(word),
                () = silence(end_by), if !has_ended => ListenerStep::Silent,
                () = ping_until_unanswered(|| { say.say(&NodeSays::Ping); }, self.answers_within), if answers_pings => ListenerStep::Unanswered,
            };
            match next {
                ListenerStep::Word(Some((SupervisorSays::Output { stream, offset }, bytes))) => {
                    self.teller.output(stream, offset, bytes).await
                }
                ListenerStep::Word(Some((SupervisorSays::Ended(end), _))) => self.teller.end(end).await,
                ListenerStep::Word(Some((SupervisorSays::Idle, _))) => return ListenOutcome::Idle(self.connection),
                ListenerStep::Word(Some((
                    SupervisorSays::Hello { .. }
                    | SupervisorSays::NoProtocol { .. }
                    | SupervisorSays::Started
                    | SupervisorSays::NotStarted { .. }
                    | SupervisorSays::Pong,
                    _,
                ))) => {}
                ListenerStep::Word(None) | ListenerStep::Silent => return ListenOutcome::Gone(self.teller),
                ListenerStep::Unanswered => return ListenOutcome::Hangs(self.teller),
            }
        }
    }
}

/// How listening to a program ended.
pub(super) enum ListenOutcome {
    /// Its supervisor can hold another program.
    Idle(SupervisorConnection),
    /// Its supervisor is gone, or was silent for too long. The program's end may not have been heard.
    Gone(Teller),
    /// Its supervisor is there and has not answered within the limit.
    Hangs(Teller),
}

/// The number of pings that a supervisor may leave unanswered before it is given up.
const PINGS_UNANSWERED_MAX: u32 = 2;

/// Pings repeatedly, and completes when no answer came for this long. The caller drops it when an answer
/// arrives. Time in which this process itself was stopped, or was too busy to look, does not count: an answer
/// may have arrived without being read.
async fn ping_until_unanswered(ask: impl Fn(), within: Duration) {
    let beat = Lease::beat(within);
    let mut asked = 0;
    loop {
        let due = Instant::now() + beat;
        tokio::time::sleep_until(due).await;
        if Instant::now() > due + beat {
            asked = 0;
        }
        if asked == PINGS_UNANSWERED_MAX {
            return;
        }
        ask();
        asked += 1;
    }
}

/// Completes at the given moment, which may be moved to an earlier one meanwhile.
async fn silence(mut end_by: watch::Receiver<Option<Instant>>) {
    loop {
        let moment = *end_by.borrow_and_update();
        let passed = async {
            match moment {
                Some(moment) => tokio::time::sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        let changed = async {
            if end_by.changed().await.is_err() {
                // No earlier moment can be set.
                std::future::pending().await
            }
        };
        tokio::select! {
            biased;
            () = passed => return,
            () = changed => {}
        }
    }
}

/// Converts the messages of a supervisor to what is heard of a program.
pub(super) struct Teller {
    heard: mpsc::Sender<ProgramUpdate>,
    sent: [u64; 3],
    line: BytesMut,
    lines: u32,
    has_ended: bool,
}

impl Teller {
    /// Starts from the beginning.
    pub(super) fn to(heard: mpsc::Sender<ProgramUpdate>) -> Self {
        Self { heard, sent: [0; 3], line: BytesMut::new(), lines: 0, has_ended: false }
    }

    async fn output(&mut self, stream: ProgramStream, offset: u64, bytes: Bytes) {
        self.sent[stream.index()] = offset + bytes.len() as u64;
        let stream = match stream {
            ProgramStream::Stdout => OutputStream::Stdout,
            ProgramStream::Stderr => OutputStream::Stderr,
            ProgramStream::Messages => return self.messages(&bytes).await,
        };
        self.deliver(ProgramUpdate::Output { stream, offset, bytes }).await;
    }

    async fn messages(&mut self, bytes: &Bytes) {
        self.line.extend_from_slice(bytes);
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let line = self.line.split_to(end).freeze();
            self.line.advance(1);
            let index = self.lines;
            self.lines += 1;
            self.deliver(ProgramUpdate::Message { index, line }).await;
        }
    }

    async fn end(&mut self, end: End) {
        self.has_ended = true;
        self.deliver(ProgramUpdate::Ended(end)).await;
    }

    /// Returns true if the end was delivered.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Delivers the rest from the files that a vanished supervisor left. Everything that came before the
    /// supervisor's own end counts, even if it ended too early. If the program's end is not recorded there,
    /// the program is lost, for the given reason.
    pub(super) async fn deliver_from_folder(mut self, folder: &Folder, why: WhyLost) {
        let is_whole = self.deliver_spooled(folder).await.is_ok();
        let folder = folder.clone();
        match off_the_runtime(move || folder.end()).await {
            Ok(Some(end)) if is_whole => self.end(end).await,
            Ok(_) | Err(_) => self.deliver(ProgramUpdate::Lost(why)).await,
        }
    }

    async fn deliver_spooled(&mut self, folder: &Folder) -> io::Result<()> {
        let folder = folder.clone();
        let spools = Arc::new(off_the_runtime(move || Spools::open_left(folder)).await?);
        for stream in ProgramStream::ALL {
            loop {
                let offset = self.sent[stream.index()];
                let reads = Arc::clone(&spools);
                let bytes = off_the_runtime(move || reads.read(stream, offset)).await?;
                if bytes.is_empty() {
                    break;
                }
                self.output(stream, offset, bytes.into()).await;
            }
        }
        Ok(())
    }

    async fn deliver(&self, heard: ProgramUpdate) {
        // A long line takes the room of several pieces, so that the bytes waiting to be heard are limited as
        // well.
        let bytes = match &heard {
            ProgramUpdate::Message { line, .. } => line.len(),
            ProgramUpdate::Output { .. } | ProgramUpdate::Ended(_) | ProgramUpdate::Lost(_) => 0,
        };
        let places = (1 + bytes * HEARD_WAITING_MAX / LINE_BYTES_MAX).min(HEARD_WAITING_MAX);
        // Even if nobody is listening, the supervisor must be heard until it is idle.
        if let Ok(mut permits) = self.heard.reserve_many(places).await
            && let Some(permit) = permits.next()
        {
            permit.send(heard);
        }
    }
}

/// Reads from the disk outside the runtime, for a limited time: a disk that hangs must not delay reporting an
/// attempt as lost.
async fn off_the_runtime<T: Send + 'static>(read: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    let read = timeout(DISK_PATIENCE, tokio::task::spawn_blocking(read)).await.map_err(|_| io::ErrorKind::TimedOut)?;
    read.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn silent_supervisor_is_pinged_before_it_is_given_up() {
        let asked = Cell::new(0);
        ping_until_unanswered(|| asked.set(asked.get() + 1), Duration::from_millis(300)).await;
        assert!(asked.get() >= PINGS_UNANSWERED_MAX, "{}", asked.get());
    }

    #[tokio::test]
    async fn paused_node_pings_again_before_it_gives_up() {
        let within = Duration::from_millis(300);
        let asked = Cell::new(0);
        let waiting = ping_until_unanswered(|| asked.set(asked.get() + 1), within);
        tokio::pin!(waiting);
        for _ in 0..5 {
            tokio::select! {
                biased;
                () = &mut waiting => panic!("it is given up although it had no time to answer"),
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
            // Nothing of this process runs meanwhile, as during a SIGSTOP.
            std::thread::sleep(within * 2);
        }
        assert!(asked.get() >= 4, "{}", asked.get());
    }

    #[tokio::test]
    async fn earlier_deadline_replaces_a_later_one_while_waiting() {
        let (say, end_by) = watch::channel(Some(Instant::now() + Duration::from_secs(3_600)));
        let waiting = tokio::spawn(silence(end_by));
        tokio::task::yield_now().await;
        say.send_replace(Some(Instant::now()));
        timeout(Duration::from_secs(60), waiting).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn deadline_counts_even_if_no_other_can_be_set() {
        let (say, end_by) = watch::channel(Some(Instant::now() + Duration::from_millis(10)));
        drop(say);
        timeout(Duration::from_secs(60), silence(end_by)).await.unwrap();
    }
}
