//! A check for requests that the parser would tolerate, or would reject without an explanation: such a request
//! is answered with a problem, and its connection is closed (RFC 9112 §2.2, §6.1, §7.1).
//!
//! It tracks where heads, bodies and chunks begin, and reads nothing else. It alters a request that it rejects
//! so that the parser rejects it too.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::framing::Ambiguous;
use crate::sizes::READ_BYTES_MAX;

/// A byte that no valid request contains where it is placed.
const REFUSED_BYTE: u8 = 0;
/// The prefix of every response that the parser writes on its own.
const REFUSAL_BEGIN: &[u8] = b"HTTP/1.1 4";

/// A request's head that the server could not read: the parser's status, and the reason if the gate knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    /// The status.
    pub(super) status: u16,
    /// Why it is ambiguous.
    pub(super) why: Option<Ambiguous>,
}

/// Writes the response to an unreadable request.
pub(super) type Refuse = dyn Fn(Unreadable) -> Vec<u8> + Send + Sync;

/// A connection whose requests must be framed strictly.
pub(super) struct Gate<S> {
    stream: S,
    strict: Strict,
    refuse: Arc<Refuse>,
    /// True once another protocol has taken over the connection.
    is_open: Arc<AtomicBool>,
    /// The response that is written instead of the parser's own.
    answer: Vec<u8>,
    written: usize,
}

impl<S> Gate<S> {
    pub(super) fn new(stream: S, is_open: Arc<AtomicBool>, refuse: Arc<Refuse>) -> Self {
        Self { stream, strict: Strict::default(), refuse, is_open, answer: Vec::new(), written: 0 }
    }

    /// Returns true if these bytes are a response that the parser wrote on its own: each response of the API
    /// has an id.
    fn is_of_the_parser(&self, bytes: &[u8]) -> bool {
        bytes.starts_with(REFUSAL_BEGIN)
            && self.strict.is_in_a_head()
            && bytes.ends_with(b"\r\n\r\n")
            && !bytes.windows(12).any(|window| window == b"x-request-id")
    }
}

impl<S: AsyncWrite + Unpin> Gate<S> {
    /// Writes the rest of the gate's own response.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.answer.len() {
            let bytes = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.answer[self.written..]))?;
            if bytes == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += bytes;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes the parser's own response, and sends the gate's response instead.
    fn replaces(&mut self, bytes: &[u8]) -> bool {
        if !self.is_of_the_parser(bytes) {
            return false;
        }
        let status = bytes[REFUSAL_BEGIN.len() - 1..].get(..3).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        self.answer = (self.refuse)(Unreadable { status: status.unwrap_or(400), why: self.strict.refused });
        self.written = 0;
        true
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gate<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        if !this.is_open.load(Ordering::Relaxed) {
            this.strict.follow(&mut buffer.filled_mut()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_answer(cx))?;
        if this.replaces(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut this.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, buffers: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_answer(cx))?;
        if let Some(first) = buffers.iter().find(|buffer| !buffer.is_empty())
            && this.replaces(first)
        {
            return Poll::Ready(Ok(first.len()));
        }
        Pin::new(&mut this.stream).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_answer(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_answer(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

/// A connection's place in its requests.
#[derive(Debug, Default)]
struct Strict {
    at: FramingState,
    /// The received part of an unfinished line.
    line: Vec<u8>,
    refused: Option<Ambiguous>,
}

#[derive(Debug)]
enum FramingState {
    /// In a head.
    Head(Head),
    /// The number of bytes of a body that are still to come.
    Body(u64),
    /// In the line with a chunk's size.
    ChunkSize,
    /// The number of bytes of a chunk, including the line break after it, that are still to come.
    Chunk(u64),
    /// In the fields after the last chunk.
    Trailers,
    /// Tracking has stopped: the parser rejects the request, or closes the connection after it.
    Over,
}

impl Default for FramingState {
    fn default() -> Self {
        Self::Head(Head::default())
    }
}

/// The fields of a head that have been read so far.
#[derive(Debug, Default)]
struct Head {
    is_begun: bool,
    length: Option<u64>,
    is_coded: bool,
}

impl Strict {
    fn is_in_a_head(&self) -> bool {
        matches!(self.at, FramingState::Head(_) | FramingState::Over)
    }

    /// Tracks received bytes; a byte that makes a request ambiguous is replaced by one that the parser rejects.
    fn follow(&mut self, bytes: &mut [u8]) {
        let mut from = 0;
        while from < bytes.len() {
            match &mut self.at {
                FramingState::Over => return,
                FramingState::Body(left) | FramingState::Chunk(left) => {
                    let here = (*left).min((bytes.len() - from) as u64);
                    *left -= here;
                    // This is at most the rest of the slice.
                    from += here as usize;
                    if *left == 0 {
                        self.at = if matches!(self.at, FramingState::Body(_)) { FramingState::default() } else { FramingState::ChunkSize };
                    }
                }
                FramingState::Head(_) | FramingState::ChunkSize | FramingState::Trailers => {
                    let Some(end) = bytes[from..].iter().position(|byte| *byte == b'\n').map(|at| from + at) else {
                        self.line.extend_from_slice(&bytes[from..]);
                        if self.line.len() > READ_BYTES_MAX {
                            self.at = FramingState::Over;
                        }
                        return;
                    };
                    let is_clear = if self.line.is_empty() {
                        self.process_line(&bytes[from..=end])
                    } else {
                        let mut line = std::mem::take(&mut self.line);
                        line.extend_from_slice(&bytes[from..=end]);
                        self.process_line(&line)
                    };
                    if let Err(why) = is_clear {
                        self.refused = Some(why);
                        self.at = FramingState::Over;
                        bytes[end] = REFUSED_BYTE;
                        return;
                    }
                    from = end + 1;
                }
            }
        }
    }

    /// Processes a complete line.
    fn process_line(&mut self, line: &[u8]) -> Result<(), Ambiguous> {
        let Some(line) = line.strip_suffix(b"\r\n") else { return Err(Ambiguous::BareLineFeed) };
        match &mut self.at {
            FramingState::Head(head) if line.is_empty() => {
                // Blank lines before a request are ignored (RFC 9112 §2.2).
                if head.is_begun {
                    self.at = match (head.is_coded, head.length) {
                        (true, _) => FramingState::ChunkSize,
                        (false, Some(bytes)) if bytes > 0 => FramingState::Body(bytes),
                        (false, _) => FramingState::default(),
                    };
                }
                Ok(())
            }
            FramingState::Head(head) if !head.is_begun => {
                head.is_begun = true;
                Ok(())
            }
            FramingState::Head(head) => head.field(line),
            FramingState::ChunkSize => {
                let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
                let rest = &line[digits..];
                if !rest.is_empty() && rest[0] != b';' {
                    return Err(Ambiguous::ChunkSize);
                }
                let size = std::str::from_utf8(&line[..digits]).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok());
                self.at = match size {
                    Some(0) => FramingState::Trailers,
                    Some(size) => FramingState::Chunk(size.saturating_add(2)),
                    None => return Err(Ambiguous::ChunkSize),
                };
                Ok(())
            }
            FramingState::Trailers => {
                if line.is_empty() {
                    self.at = FramingState::default();
                }
                Ok(())
            }
            FramingState::Body(_) | FramingState::Chunk(_) | FramingState::Over => Ok(()),
        }
    }
}

impl Head {
    /// Processes a field that determines the length of the body.
    fn field(&mut self, line: &[u8]) -> Result<(), Ambiguous> {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return Ok(()) };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            // The parser itself rejects an invalid length, or two lengths that differ.
            self.length = std::str::from_utf8(value).ok().and_then(|length| length.parse().ok()).or(Some(0));
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.is_coded = true;
        } else {
            return Ok(());
        }
        if self.is_coded && self.length.is_some() { Err(Ambiguous::TwoLengths) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds a text in pieces of each length, and returns why it is rejected, which must not depend on the
    /// pieces.
    #[track_caller]
    fn refusal_of(text: &str) -> Option<Ambiguous> {
        let whole = in_pieces(text, text.len());
        for bytes in 1..text.len() {
            assert_eq!(in_pieces(text, bytes), whole, "in pieces of {bytes}: {text:?}");
        }
        whole
    }

    fn in_pieces(text: &str, bytes: usize) -> Option<Ambiguous> {
        let mut strict = Strict::default();
        for piece in text.as_bytes().chunks(bytes) {
            let mut followed = piece.to_vec();
            let was_refused = strict.refused.is_some();
            strict.follow(&mut followed);
            assert_eq!(followed != piece, !was_refused && strict.refused.is_some(), "only what is refused is changed");
        }
        strict.refused
    }

    #[test]
    fn pipelined_requests_are_separated() {
        let posted = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n\nX:\n";
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\n\n\n\n\r\n0\r\nx-sum: 1\r\n\r\n";
        let got = "\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n";
        for text in [posted, chunked, got] {
            assert_eq!(refusal_of(&format!("{text}{text}{got}")), None, "{text:?}");
        }
        let bare = "GET / HTTP/1.1\r\nhost: x\nx: y\r\n\r\n";
        for before in [posted, chunked, got, ""] {
            assert_eq!(refusal_of(&format!("{before}{bare}")), Some(Ambiguous::BareLineFeed), "behind {before:?}");
        }
    }

    #[test]
    fn ambiguous_lengths_are_rejected() {
        for head in ["content-length: 2\r\nTRANSFER-ENCODING: chunked", "transfer-encoding: chunked\r\nContent-Length: 2"] {
            assert_eq!(refusal_of(&format!("POST / HTTP/1.1\r\n{head}\r\n\r\n")), Some(Ambiguous::TwoLengths), "{head:?}");
        }
        for size in ["2 ", " 2", "2\t;a", "0x2", "", "-2", "11111111111111111"] {
            let text = format!("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{size}\r\nab\r\n0\r\n\r\n");
            assert_eq!(refusal_of(&text), Some(Ambiguous::ChunkSize), "{size:?}");
        }
        let bare = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\nab\r\n0\r\n\r\n";
        assert_eq!(refusal_of(bare), Some(Ambiguous::BareLineFeed));
    }
}
