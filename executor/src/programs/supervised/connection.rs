//! The node's end of a connection to a supervisor, and hearing a program over it.
//!
//! Where the connection breaks, what the supervisor left in its folder says the rest.

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
use crate::programs::{End, Heard, WhyLost};
use crate::supervisor::folder::Folder;
use crate::supervisor::protocol::{
    self, FRAME_BYTES_MAX, Holds, NodeSays, PROTOCOL_NEWEST, PROTOCOL_OLDEST, PROTOCOL_WITH_PINGS, Stream, SupervisorSays,
};
use crate::supervisor::spool::Spools;
use crate::supervisor::tree;

/// How long a supervisor may take to greet back; one that takes longer is taken for dead, so a busy machine must not look like that.
pub(super) const GREETING_PATIENCE: Duration = Duration::from_secs(10);

/// How long reading what a supervisor left may take.
const DISK_PATIENCE: Duration = Duration::from_secs(30);

/// A supervisor that a node talks to.
pub(super) struct Connection {
    pub(super) folder: Folder,
    pub(super) say: Sayer,
    /// The supervisor's process; none where the kernel does not name it.
    pub(super) supervisor: Option<SupervisorProcess>,
    /// The version of the protocol that is spoken.
    pub(super) protocol: u32,
    /// It raises the walls of this release.
    pub(super) is_of_this_release: bool,
    from: BufReader<OwnedReadHalf>,
}

/// The process of a supervisor that has answered: its number, and when it was started, in ticks since the boot.
#[derive(Clone, Copy, Debug)]
pub(super) struct SupervisorProcess {
    pub(super) number: i32,
    pub(super) started_at: u64,
}

/// The most words that wait for a supervisor; a program needs four.
const WORDS_WAITING_MAX: usize = 64;

/// What says words to a supervisor; a clone says them to the same.
#[derive(Clone)]
pub(super) struct Sayer {
    frames: mpsc::Sender<Bytes>,
}

impl Sayer {
    /// Says a word. Says whether somebody may hear it.
    pub(super) fn say(&self, word: &NodeSays) -> bool {
        protocol::framed(word, &[]).is_ok_and(|frame| self.say_framed(frame))
    }

    /// Says a word that is framed already. Says whether somebody may hear it.
    pub(super) fn say_framed(&self, frame: Bytes) -> bool {
        self.frames.try_send(frame).is_ok()
    }

    /// Gives one that nobody hears.
    pub(super) fn to_nobody() -> Self {
        Self { frames: mpsc::channel(1).0 }
    }
}

impl Connection {
    /// Connects to the supervisor of a folder, and hears what it holds.
    pub(super) async fn to(folder: Folder, release: &str) -> io::Result<(Self, Option<Holds>)> {
        timeout(GREETING_PATIENCE, Self::greeted(folder, release)).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    async fn greeted(folder: Folder, release: &str) -> io::Result<(Self, Option<Holds>)> {
        // By the opened folder: the name of a socket may have a hundred bytes, a path more.
        let opened = File::open(folder.path())?;
        let mut stream = UnixStream::connect(format!("/proc/self/fd/{}/socket", opened.as_raw_fd())).await?;
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
        let (from, to) = stream.into_split();
        let (frames, to_say) = mpsc::channel(WORDS_WAITING_MAX);
        tokio::spawn(speak(to, to_say));
        Ok((Self { folder, say: Sayer { frames }, supervisor: process, protocol, is_of_this_release, from: BufReader::new(from) }, holds))
    }

    /// Gives the next word; none where the supervisor is gone. Must not be broken off.
    pub(super) async fn next(&mut self) -> Option<(SupervisorSays, Bytes)> {
        protocol::read(&mut self.from, FRAME_BYTES_MAX).await.ok().flatten()
    }
}

async fn speak(mut to: OwnedWriteHalf, mut frames: mpsc::Receiver<Bytes>) {
    while let Some(frame) = frames.recv().await {
        if to.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// What hears a program over a connection, to its end and until it is forgotten.
pub(super) struct Listener {
    connection: Connection,
    teller: Teller,
    end_by: watch::Receiver<Option<Instant>>,
    answers_within: Duration,
}

impl Listener {
    /// Hears for `heard`. A supervisor that is silent at the moment of `end_by` is given up, and so is one that answers nothing for as
    /// long as `answers_within`.
    pub(super) fn new(
        connection: Connection,
        heard: mpsc::Sender<Heard>,
        end_by: watch::Receiver<Option<Instant>>,
        answers_within: Duration,
    ) -> Self {
        Self { connection, teller: Teller::to(heard), end_by, answers_within }
    }

    /// Hears to the end, and until the supervisor has forgotten the program or is gone.
    pub(super) async fn listen(mut self) -> Listened {
        enum Next {
            Word(Option<(SupervisorSays, Bytes)>),
            Silent,
            Unanswered,
        }
        loop {
            let has_ended = self.teller.has_ended;
            let end_by = self.end_by.clone();
            let (say, answers_pings) = (self.connection.say.clone(), self.connection.protocol >= PROTOCOL_WITH_PINGS);
            // Begun again with each word: a supervisor that says anything is there. What is not read yet counts neither way.
            let next = tokio::select! {
                biased;
                word = self.connection.next() => Next::Word(word),
                () = silence(end_by), if !has_ended => Next::Silent,
                () = unanswered(|| { say.say(&NodeSays::Ping); }, self.answers_within), if answers_pings => Next::Unanswered,
            };
            match next {
                Next::Word(Some((SupervisorSays::Output { stream, offset }, bytes))) => self.teller.output(stream, offset, bytes).await,
                Next::Word(Some((SupervisorSays::Ended(end), _))) => self.teller.end(end).await,
                Next::Word(Some((SupervisorSays::Idle, _))) => return Listened::Idle(self.connection),
                Next::Word(Some((
                    SupervisorSays::Hello { .. }
                    | SupervisorSays::NoProtocol { .. }
                    | SupervisorSays::Started
                    | SupervisorSays::NotStarted { .. }
                    | SupervisorSays::Pong,
                    _,
                ))) => {}
                Next::Word(None) | Next::Silent => return Listened::Gone(self.teller),
                Next::Unanswered => return Listened::Hangs(self.teller),
            }
        }
    }
}

/// How hearing a program ended.
pub(super) enum Listened {
    /// Its supervisor can hold another.
    Idle(Connection),
    /// Its supervisor is gone, or silent for too long; the end may not have been heard.
    Gone(Teller),
    /// Its supervisor is there and has answered nothing for as long as it may.
    Hangs(Teller),
}

/// How many questions a supervisor leaves unanswered before it is given up.
const PINGS_UNANSWERED_MAX: u32 = 2;

/// Asks again and again, and ends when nothing was answered for so long: whoever waits drops it with the answer. The time in which this
/// process itself stood still, or was too busy to look, does not count: what was answered meanwhile may not have been read.
async fn unanswered(ask: impl Fn(), within: Duration) {
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

/// Ends at the moment that is waited for, which may become an earlier one meanwhile.
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
                // Nobody can say another.
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

/// Makes of what a supervisor sends what is heard of a program.
pub(super) struct Teller {
    heard: mpsc::Sender<Heard>,
    sent: [u64; 3],
    line: BytesMut,
    lines: u32,
    has_ended: bool,
}

impl Teller {
    /// Tells from the beginning.
    pub(super) fn to(heard: mpsc::Sender<Heard>) -> Self {
        Self { heard, sent: [0; 3], line: BytesMut::new(), lines: 0, has_ended: false }
    }

    async fn output(&mut self, stream: Stream, offset: u64, bytes: Bytes) {
        self.sent[stream.index()] = offset + bytes.len() as u64;
        let stream = match stream {
            Stream::Stdout => OutputStream::Stdout,
            Stream::Stderr => OutputStream::Stderr,
            Stream::Messages => return self.messages(&bytes).await,
        };
        self.tell(Heard::Output { stream, offset, bytes }).await;
    }

    async fn messages(&mut self, bytes: &Bytes) {
        self.line.extend_from_slice(bytes);
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let line = self.line.split_to(end).freeze();
            self.line.advance(1);
            let index = self.lines;
            self.lines += 1;
            self.tell(Heard::Message { index, line }).await;
        }
    }

    async fn end(&mut self, end: End) {
        self.has_ended = true;
        self.tell(Heard::Ended(end)).await;
    }

    /// Says whether the end was told.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Tells the rest from what a supervisor that is gone has left: what came before its own end counts, also where that was too early.
    /// Where its end is not there, it is lost, for the reason that is known.
    pub(super) async fn tell_from_folder(mut self, folder: &Folder, why: WhyLost) {
        let is_whole = self.spooled(folder).await.is_ok();
        let folder = folder.clone();
        match off_the_runtime(move || folder.end()).await {
            Ok(Some(end)) if is_whole => self.end(end).await,
            Ok(_) | Err(_) => self.tell(Heard::Lost(why)).await,
        }
    }

    async fn spooled(&mut self, folder: &Folder) -> io::Result<()> {
        let folder = folder.clone();
        let spools = Arc::new(off_the_runtime(move || Spools::left(folder)).await?);
        for stream in Stream::ALL {
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

    async fn tell(&self, heard: Heard) {
        // A long line takes the room of several pieces, so that what waits to be heard is bounded in bytes as well.
        let bytes = match &heard {
            Heard::Message { line, .. } => line.len(),
            Heard::Output { .. } | Heard::Ended(_) | Heard::Lost(_) => 0,
        };
        let places = (1 + bytes * HEARD_WAITING_MAX / LINE_BYTES_MAX).min(HEARD_WAITING_MAX);
        // Nobody may listen any more, and the supervisor is still to be heard until it is idle.
        if let Ok(mut permits) = self.heard.reserve_many(places).await
            && let Some(permit) = permits.next()
        {
            permit.send(heard);
        }
    }
}

/// Reads from the disk where nothing waits for it, for a while at most: a disk that stands still must not hold up the loss of an attempt.
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
        unanswered(|| asked.set(asked.get() + 1), Duration::from_millis(300)).await;
        assert!(asked.get() >= PINGS_UNANSWERED_MAX, "{}", asked.get());
    }

    #[tokio::test]
    async fn paused_node_pings_again_before_it_gives_up() {
        let within = Duration::from_millis(300);
        let asked = Cell::new(0);
        let waiting = unanswered(|| asked.set(asked.get() + 1), within);
        tokio::pin!(waiting);
        for _ in 0..5 {
            tokio::select! {
                biased;
                () = &mut waiting => panic!("it is given up although it had no time to answer"),
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
            // Nothing of this process runs meanwhile, as in a SIGSTOP.
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
