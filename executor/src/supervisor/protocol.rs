//! The protocol between a node and a supervisor: frames over a Unix socket, each of a JSON message followed
//! by raw bytes.
//!
//! It is versioned: a node states the versions that it speaks, and the supervisor, which may be of an older
//! release, chooses the newest version that both know. This module holds no connection.

use std::io;

use bytes::Bytes;
use ensue_engine::ids::AttemptId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::spool::SPOOL_BYTES_MAX;
use crate::programs::{End, Isolation, ProgramLimits};

/// The oldest version that this release speaks.
pub(crate) const PROTOCOL_OLDEST: u32 = 1;
/// The newest version that this release speaks.
pub(crate) const PROTOCOL_NEWEST: u32 = 4;
/// The oldest version in which a supervisor masks the values of keys.
pub(crate) const PROTOCOL_OF_MASKS: u32 = 2;
/// The first version in which a supervisor answers [`NodeSays::Ping`].
pub(crate) const PROTOCOL_WITH_PINGS: u32 = 3;
/// The first version in which a supervisor notes on its reservation that the program begins.
pub(crate) const PROTOCOL_WITH_RESERVATIONS: u32 = 4;
/// The maximum size of a frame, in bytes. The largest frame is an order with its input and files.
pub(crate) const FRAME_BYTES_MAX: usize = 64 << 20;
/// The maximum size of a frame on a connection that has not presented the key, in bytes.
pub(crate) const GREETING_BYTES_MAX: usize = 4 << 10;

/// A message from a node.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NodeSays {
    /// Its identity. The first message.
    Hello {
        /// The oldest version it speaks.
        oldest: u32,
        /// The newest.
        newest: u32,
        /// Its release.
        release: String,
        /// The supervisor's key, which only its node and its folder have.
        key: String,
    },
    /// Start this program. The tail holds its files, the values of its keys and its input.
    Start(Box<WrittenOrder>),
    /// Ask the program to stop, and kill it after the grace period.
    Stop {
        /// The grace period.
        grace_millis: u64,
    },
    /// Kill the program.
    Kill,
    /// The end is known: forget the program.
    Collected,
    /// Answer with [`SupervisorSays::Pong`].
    Ping,
}

/// A message from a supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SupervisorSays {
    /// Its identity, and what it holds.
    Hello {
        /// The version to use from now on.
        protocol: u32,
        /// Its release.
        release: String,
        /// Its program. All of the program's output follows, from the beginning.
        holds: Option<Holds>,
    },
    /// There is no version that both know.
    NoProtocol {
        /// The oldest version it speaks.
        oldest: u32,
        /// The newest.
        newest: u32,
    },
    /// The program was started.
    Started,
    /// It was not started, and nothing of it is left.
    NotStarted {
        /// What failed.
        kind: NotStarted,
        /// Why.
        why: String,
    },
    /// The program printed the bytes in the tail.
    Output {
        /// The stream.
        stream: ProgramStream,
        /// The number of bytes before them.
        offset: u64,
    },
    /// The program has ended, and all of its output was sent.
    Ended(End),
    /// The program is forgotten. Another one can be started.
    Idle,
    /// The answer to [`NodeSays::Ping`].
    Pong,
}

/// The program that a supervisor holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Holds {
    /// The attempt.
    pub(crate) attempt: AttemptId,
    /// Its token.
    pub(crate) token: u64,
    /// The time left before its timeout, in milliseconds.
    pub(crate) remaining_millis: u64,
}

/// What failed when a program was not started.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NotStarted {
    /// The private directory.
    Directory,
    /// The program itself.
    Spawn,
    /// The required isolation.
    Isolation,
    /// Something of the supervisor itself, or it holds another program.
    Supervisor,
}

/// A stream that a program writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ProgramStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Descriptor 3: whole lines.
    Messages,
}

impl ProgramStream {
    /// All streams.
    pub(crate) const ALL: [Self; 3] = [Self::Stdout, Self::Stderr, Self::Messages];

    /// Returns its index in [`ALL`](Self::ALL).
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Stdout => 0,
            Self::Stderr => 1,
            Self::Messages => 2,
        }
    }
}

/// A program to start, in its transmitted form.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WrittenOrder {
    /// The attempt.
    pub(crate) attempt: AttemptId,
    /// Its token.
    pub(crate) token: u64,
    /// The program to start.
    pub(crate) program: String,
    /// Its arguments.
    pub(crate) arguments: Vec<String>,
    /// Its whole environment.
    pub(crate) env: Vec<(String, String)>,
    /// Its private directory.
    pub(crate) private: String,
    /// The folder of its pack.
    pub(crate) pack: String,
    /// The names and sizes of its private files. The tail holds the files one after the other.
    pub(crate) files: Vec<(String, usize)>,
    /// The names of its keys and the sizes of their values, which follow the files in the tail. They are
    /// masked in its output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) keys: Vec<(String, usize)>,
    /// Its timeout, in milliseconds.
    pub(crate) timeout_millis: u64,
    /// Its grace period after the timeout, in milliseconds.
    pub(crate) grace_millis: u64,
    /// The limits of its processes.
    pub(crate) limits: ProgramLimits,
    /// Its isolation.
    pub(crate) isolation: Isolation,
    /// The number of bytes kept of standard output, and of standard error.
    #[serde(default = "spool_bytes_max")]
    pub(crate) output_bytes_max: u64,
}

/// Returns the default for a node that does not send the field.
fn spool_bytes_max() -> u64 {
    SPOOL_BYTES_MAX
}

/// A frame is longer than allowed.
#[derive(Debug, Error)]
#[error("a frame would have {bytes} bytes; the limit is {FRAME_BYTES_MAX}")]
pub(crate) struct TooLong {
    /// Its size in bytes, without its head.
    pub(crate) bytes: usize,
}

impl From<TooLong> for io::Error {
    fn from(error: TooLong) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

/// Returns the bytes of a frame for a message and the pieces of its tail.
pub(crate) fn encode_frame(word: &impl Serialize, tail: &[&[u8]]) -> Result<Bytes, TooLong> {
    let word = serde_json::to_vec(word).expect("numbers and texts always have a JSON form");
    let tail_bytes: usize = tail.iter().map(|piece| piece.len()).sum();
    let bytes = word.len().saturating_add(tail_bytes);
    let (Ok(word_head), Ok(tail_head), ..=FRAME_BYTES_MAX) = (u32::try_from(word.len()), u32::try_from(tail_bytes), bytes) else {
        return Err(TooLong { bytes });
    };
    let mut frame = Vec::with_capacity(8 + bytes);
    frame.extend_from_slice(&word_head.to_le_bytes());
    frame.extend_from_slice(&tail_head.to_le_bytes());
    frame.extend_from_slice(&word);
    tail.iter().for_each(|piece| frame.extend_from_slice(piece));
    Ok(frame.into())
}

/// Writes a frame at once.
pub(crate) async fn write(to: &mut (impl AsyncWrite + Unpin), word: &impl Serialize, tail: &[u8]) -> io::Result<()> {
    to.write_all(&encode_frame(word, &[tail])?).await
}

/// Reads a frame of at most `bytes_max` bytes. Returns none if the other side is gone. Must not be cut off
/// midway.
pub(crate) async fn read<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin), bytes_max: usize) -> io::Result<Option<(T, Bytes)>> {
    let mut head = [0; 8];
    match from.read_exact(&mut head).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let [a, b, c, d, e, f, g, h] = head;
    let (word_bytes, tail_bytes) = (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]) as usize);
    if word_bytes.saturating_add(tail_bytes) > bytes_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is longer than allowed"));
    }
    let mut word = vec![0; word_bytes];
    from.read_exact(&mut word).await?;
    let mut tail = vec![0; tail_bytes];
    from.read_exact(&mut tail).await?;
    Ok(Some((serde_json::from_slice(&word)?, Bytes::from(tail))))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_back(bytes: &[u8], bytes_max: usize) -> io::Result<Option<(NodeSays, Bytes)>> {
        let mut from = bytes;
        read(&mut from, bytes_max).await
    }

    #[tokio::test]
    async fn frame_round_trips() {
        let mut sent = Vec::new();
        write(&mut sent, &NodeSays::Stop { grace_millis: 7 }, b"tail").await.unwrap();
        let (word, tail) = read_back(&sent, GREETING_BYTES_MAX).await.unwrap().unwrap();
        assert!(matches!(word, NodeSays::Stop { grace_millis: 7 }));
        assert_eq!(tail, b"tail"[..]);
    }

    #[test]
    fn oversized_frame_is_rejected_with_its_size() {
        let most = vec![0; FRAME_BYTES_MAX - r#""kill""#.len()];
        assert_eq!(encode_frame(&NodeSays::Kill, &[&most]).unwrap().len(), 8 + FRAME_BYTES_MAX);
        let refused = encode_frame(&NodeSays::Kill, &[&most, b"x"]).unwrap_err();
        assert_eq!(refused.bytes, FRAME_BYTES_MAX + 1);
    }

    #[tokio::test]
    async fn oversized_or_invalid_frame_is_rejected_before_it_is_buffered() {
        for forged in [&[0xff; 8][..], b"\x02\0\0\0\0\0\0\0{}", b"\x04\0\0\0\0\0\0\0null", b"\x01\0\0\0\0\0\0\0\xff"] {
            assert!(read_back(forged, GREETING_BYTES_MAX).await.is_err(), "{forged:?}");
        }
        for cut in [&b""[..], b"\x02\0\0"] {
            assert!(read_back(cut, GREETING_BYTES_MAX).await.unwrap().is_none(), "{cut:?}");
        }
        assert!(read_back(b"\x09\0\0\0\0\0\0\0\"kill", GREETING_BYTES_MAX).await.is_err(), "it breaks off within");
    }
}
