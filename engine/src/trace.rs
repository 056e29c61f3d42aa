//! Traces as the W3C writes them (<https://www.w3.org/TR/trace-context/>), and the spans that things of the log are in them.
//!
//! It sends nothing: what is a span, and of how long, is said by whoever exports them.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use crate::ids::Id;

/// How long a `traceparent` is.
const TEXT_BYTES: usize = 55;
/// The flag that says that whoever began the trace records it.
const SAMPLED: u8 = 1;

/// A `traceparent`: a trace, and the span in it that what follows belongs under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    trace: TraceId,
    span: SpanId,
    flags: u8,
}

/// The id of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

/// The id of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId([u8; 8]);

impl TraceParent {
    /// Begins a trace of random bits, with a span in it; it is recorded.
    pub fn begun(entropy: [u8; 24]) -> Self {
        let (mut trace, mut span) = ([0; 16], [0; 8]);
        trace.copy_from_slice(&entropy[..16]);
        span.copy_from_slice(&entropy[16..]);
        // Zeros are no id; this bit of each keeps it from being that.
        trace[15] |= 1;
        Self { trace: TraceId(trace), span: SpanId::of_entropy(span), flags: SAMPLED }
    }

    /// Gives the trace.
    pub fn trace(&self) -> TraceId {
        self.trace
    }

    /// Gives the span that what follows belongs under.
    pub fn span(&self) -> SpanId {
        self.span
    }

    /// Says whether whoever began the trace records it: only then are others to do so.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Gives what follows under another span of the same trace.
    #[must_use]
    pub fn under(self, span: SpanId) -> Self {
        Self { span, ..self }
    }
}

impl SpanId {
    /// Gives the span of the thing with this id: the last eight of its bytes, which are 62 random or derived bits and never zeros.
    pub fn of(thing: Id) -> Self {
        let mut last = [0; 8];
        last.copy_from_slice(&thing.as_bytes()[8..]);
        Self(last)
    }

    /// Makes one of random bits.
    pub fn of_entropy(mut entropy: [u8; 8]) -> Self {
        entropy[7] |= 1;
        Self(entropy)
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or_default();
    bytes.iter().try_for_each(|byte| f.write_char(digit(byte >> 4)).and_then(|()| f.write_char(digit(byte & 15))))
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, self.flags)
    }
}

/// The text is no `traceparent` of version 00.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no `traceparent` of version 00")]
pub struct NotATraceParent;

impl FromStr for TraceParent {
    type Err = NotATraceParent;

    fn from_str(text: &str) -> Result<Self, NotATraceParent> {
        let bytes = text.as_bytes();
        let has_shape = bytes.len() == TEXT_BYTES && bytes.starts_with(b"00-") && (bytes[35], bytes[52]) == (b'-', b'-');
        if !has_shape {
            return Err(NotATraceParent);
        }
        let trace: [u8; 16] = hex(&bytes[3..35])?;
        let span: [u8; 8] = hex(&bytes[36..52])?;
        let [flags] = hex(&bytes[53..])?;
        if trace == [0; 16] || span == [0; 8] {
            return Err(NotATraceParent);
        }
        Ok(Self { trace: TraceId(trace), span: SpanId(span), flags })
    }
}

/// Reads twice as many lower-case digits as there are bytes.
fn hex<const BYTES: usize>(digits: &[u8]) -> Result<[u8; BYTES], NotATraceParent> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(NotATraceParent),
    };
    let mut read = [0; BYTES];
    for (byte, pair) in read.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_one_is_read_and_written_alike() {
        let parent: TraceParent = TRACE.parse().unwrap();
        assert_eq!((parent.to_string().as_str(), parent.is_sampled()), (TRACE, true));
        assert_eq!(parent.trace().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(parent.span().to_string(), "b7ad6b7169203331");
        assert!(!TRACE.replace("-01", "-00").parse::<TraceParent>().unwrap().is_sampled());
    }

    #[test]
    fn what_is_none_is_refused() {
        let cut = &TRACE[..54];
        let zeros = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        let of_no_span = "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01";
        for text in ["", "00", cut, zeros, of_no_span, &TRACE.to_uppercase(), &TRACE.replacen("00", "01", 1), &TRACE.replace('-', "_")] {
            assert_eq!(text.parse::<TraceParent>(), Err(NotATraceParent), "{text}");
        }
        let wide = format!("00-{}-b7ad6b7169203331-01", "é".repeat(16));
        assert_eq!((wide.len(), wide.parse::<TraceParent>()), (55, Err(NotATraceParent)));
    }

    #[test]
    fn one_that_is_begun_is_one_whatever_the_entropy() {
        for entropy in [[0; 24], [0xff; 24]] {
            let begun = TraceParent::begun(entropy);
            assert_eq!(begun.to_string().parse(), Ok(begun));
        }
    }

    #[test]
    fn what_follows_is_in_the_same_trace_under_the_span_of_the_thing() {
        let thing = Id::root(Timestamp::from_micros(1_774_699_200_000_000), 7);
        let under = TRACE.parse::<TraceParent>().unwrap().under(SpanId::of(thing));
        assert_eq!(under.to_string(), "00-0af7651916cd43dd8448eb211c80319c-8000000000000007-01");
    }
}
