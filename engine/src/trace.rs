//! W3C traces (<https://www.w3.org/TR/trace-context/>), and the spans of the things in the log.
//!
//! This module sends nothing: the exporter decides what becomes a span, and how long the span is.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use crate::ids::Id;
use crate::record::Digest;

/// The length of a `traceparent`.
const TEXT_BYTES: usize = 55;
/// The maximum size in bytes of a `tracestate` that is passed on. The W3C requires no more.
pub const STATE_BYTES_MAX: usize = 512;
/// The maximum number of entries in a `tracestate`.
const STATE_ENTRIES_MAX: usize = 32;
/// The maximum size in bytes of a key and of a value in a `tracestate`.
const STATE_PART_BYTES_MAX: usize = 256;
/// Entries longer than this are dropped first if a `tracestate` is too long.
const STATE_ENTRY_LONG_BYTES: usize = 128;
/// The flag that says that the caller that began the trace records it.
const SAMPLED: u8 = 1;

/// A `traceparent`: a trace, and the parent span for everything that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    trace: TraceId,
    span: SpanId,
    flags: u8,
}

/// A `tracestate`: data of the tracing systems that a trace has passed through. It is passed on unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceState(String);

/// A trace as in `cause.trace` of a record: a `traceparent`, then a space and the `tracestate` if there was
/// one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace, and the parent span for everything that follows.
    pub parent: TraceParent,
    /// The `tracestate`, if there was one.
    pub state: Option<TraceState>,
}

/// Which traces are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampler {
    /// The share of the traces that begin here.
    pub begun: Share,
    /// The share of the traces that callers began; `None` means those that the caller records.
    pub continued: Option<Share>,
}

/// A share of all traces, in 2^63rds. All systems that select the same share by the trace's id select the
/// same traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u64);

/// The id of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

/// The id of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId([u8; 8]);

impl TraceParent {
    /// Begins a trace from random bits, with a span in it. The trace is recorded.
    pub fn from_entropy(entropy: [u8; 24]) -> Self {
        let (mut trace, mut span) = ([0; 16], [0; 8]);
        trace.copy_from_slice(&entropy[..16]);
        span.copy_from_slice(&entropy[16..]);
        // An id of zeros is invalid; this bit prevents it.
        trace[15] |= 1;
        Self { trace: TraceId(trace), span: SpanId::of_entropy(span), flags: SAMPLED }
    }

    /// Returns the trace.
    pub fn trace(&self) -> TraceId {
        self.trace
    }

    /// Returns the parent span for everything that follows.
    pub fn span(&self) -> SpanId {
        self.span
    }

    /// Returns true if the caller that began the trace records it. Only then should others record it.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Returns the same with the flag for recording set or cleared.
    #[must_use]
    pub fn with_sampled(self, is_sampled: bool) -> Self {
        let flags = if is_sampled { self.flags | SAMPLED } else { self.flags & !SAMPLED };
        Self { flags, ..self }
    }

    /// Returns the same trace with another parent span.
    #[must_use]
    pub fn under(self, span: SpanId) -> Self {
        Self { span, ..self }
    }
}

impl SpanId {
    /// Returns the span of the thing with this id: the last eight of its bytes, which are 62 random or
    /// derived bits and never zero.
    pub fn of(thing: Id) -> Self {
        let mut last = [0; 8];
        last.copy_from_slice(&thing.as_bytes()[8..]);
        Self(last)
    }

    /// Returns the span of the `index`-th request that the thing with this id sends: the same whenever it is computed.
    pub fn of_request(thing: Id, index: u32) -> Self {
        let digest = Digest::of(&[thing.as_bytes().as_slice(), b"request", &index.to_be_bytes()].concat());
        let mut first = [0; 8];
        first.copy_from_slice(&digest.as_bytes()[..8]);
        Self::of_entropy(first)
    }

    /// Creates a span id from random bits.
    pub fn of_entropy(mut entropy: [u8; 8]) -> Self {
        entropy[7] |= 1;
        Self(entropy)
    }
}

impl TraceContext {
    /// Returns the context of a `traceparent` alone.
    pub fn of(parent: TraceParent) -> Self {
        Self { parent, state: None }
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parent.fmt(f)?;
        match &self.state {
            Some(state) => write!(f, " {state}"),
            None => Ok(()),
        }
    }
}

impl FromStr for TraceContext {
    type Err = NotATraceParent;

    fn from_str(text: &str) -> Result<Self, NotATraceParent> {
        match text.split_once(' ') {
            Some((parent, state)) => Ok(Self { parent: parent.parse()?, state: state.parse().ok() }),
            None => text.parse().map(Self::of),
        }
    }
}

impl TraceState {
    /// Returns it as the header's value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not a valid `tracestate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a valid `tracestate`")]
pub struct NotATraceState;

impl FromStr for TraceState {
    type Err = NotATraceState;

    /// Parses a list of entries. A list that is too long loses its long entries first, then its last.
    fn from_str(text: &str) -> Result<Self, NotATraceState> {
        let entries = text.split(',').map(|entry| entry.trim_matches([' ', '\t'])).filter(|entry| !entry.is_empty());
        let mut kept: Vec<&str> = Vec::new();
        for entry in entries {
            let (key, value) = entry.split_once('=').ok_or(NotATraceState)?;
            let is_doubled = kept.iter().any(|kept| kept.split_once('=').is_some_and(|(known, _)| known == key));
            if !is_state_key(key) || !is_state_value(value) || is_doubled || kept.len() == STATE_ENTRIES_MAX {
                return Err(NotATraceState);
            }
            kept.push(entry);
        }
        let length = |kept: &[&str]| kept.iter().map(|entry| entry.len() + 1).sum::<usize>().saturating_sub(1);
        while length(&kept) > STATE_BYTES_MAX {
            let long = kept.iter().rposition(|entry| entry.len() > STATE_ENTRY_LONG_BYTES);
            kept.remove(long.unwrap_or(kept.len() - 1));
        }
        if kept.is_empty() { Err(NotATraceState) } else { Ok(Self(kept.join(","))) }
    }
}

fn is_state_key(key: &str) -> bool {
    let is_first = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=STATE_PART_BYTES_MAX).contains(&key.len())
        && key.as_bytes().first().is_some_and(is_first)
        && key.bytes().all(|byte| is_first(&byte) || b"_-*/@".contains(&byte))
}

fn is_state_value(value: &str) -> bool {
    (1..=STATE_PART_BYTES_MAX).contains(&value.len()) && value.bytes().all(|byte| matches!(byte, b' '..=b'~') && !b",=".contains(&byte))
}

impl Default for Sampler {
    /// Records the traces that the caller records, and all traces that begin here.
    fn default() -> Self {
        Self { begun: Share::ALL, continued: None }
    }
}

impl Sampler {
    /// Returns true if a trace that begins here is recorded.
    pub fn takes_begun(&self, trace: TraceId) -> bool {
        self.begun.holds(trace)
    }

    /// Returns true if a trace that a caller began is recorded.
    pub fn takes_continued(&self, caller: &TraceParent) -> bool {
        self.continued.map_or(caller.is_sampled(), |share| share.holds(caller.trace()))
    }
}

impl Share {
    /// All traces.
    pub const ALL: Self = Self(1 << 63);
    /// No traces.
    pub const NONE: Self = Self(0);

    /// Returns the share for a ratio from 0 to 1, or `None` if it is outside that range.
    pub fn of_ratio(ratio: f64) -> Option<Self> {
        // 2^63 is a power of two, so the product is exact, and a ratio within the bounds fits.
        (0.0..=1.0).contains(&ratio).then_some(Self((ratio * (1_u64 << 63) as f64) as u64))
    }

    fn holds(self, trace: TraceId) -> bool {
        let mut last = [0; 8];
        last.copy_from_slice(&trace.0[8..]);
        u64::from_be_bytes(last) >> 1 < self.0
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

/// The text is not a valid `traceparent` of version 00.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a valid `traceparent` of version 00")]
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

/// Parses lower-case hexadecimal digits, two for each byte.
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
    fn traceparent_round_trips() {
        let parent: TraceParent = TRACE.parse().unwrap();
        assert_eq!((parent.to_string().as_str(), parent.is_sampled()), (TRACE, true));
        assert_eq!(parent.trace().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(parent.span().to_string(), "b7ad6b7169203331");
        assert!(!TRACE.replace("-01", "-00").parse::<TraceParent>().unwrap().is_sampled());
    }

    #[test]
    fn malformed_traceparent_is_rejected() {
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
    fn new_traceparent_is_valid_with_any_entropy() {
        for entropy in [[0; 24], [0xff; 24]] {
            let begun = TraceParent::from_entropy(entropy);
            assert_eq!(begun.to_string().parse(), Ok(begun));
        }
    }

    #[test]
    fn tracestate_is_passed_on_unchanged_and_a_malformed_one_is_rejected() {
        for (text, kept) in [
            ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
            (" a=1 ,\t, fw529a3039@dt=FfAxo 2", "a=1,fw529a3039@dt=FfAxo 2"),
            ("0a_-*/@z=~!", "0a_-*/@z=~!"),
        ] {
            assert_eq!(text.parse::<TraceState>().unwrap().as_str(), kept);
        }
        let many = (0..33).map(|number| format!("k{number}=v")).collect::<Vec<_>>().join(",");
        let long = format!("a={}", "x".repeat(257));
        for text in ["", ",", "a", "a=", "=1", "A=1", "_a=1", "a=1,a=2", "a=1=2", "a=\u{e9}", "a=\n", &many, &long] {
            assert_eq!(text.parse::<TraceState>(), Err(NotATraceState), "{text}");
        }
    }

    #[test]
    fn oversized_tracestate_drops_long_entries_first_and_then_the_last() {
        let long = format!("long={}", "x".repeat(200));
        let short: Vec<String> = (0..5).map(|number| format!("k{number}={}", "y".repeat(97))).collect();
        let given = format!("first=1,{long},{}", short.join(","));
        let kept: TraceState = given.parse().unwrap();
        assert_eq!(kept.as_str(), format!("first=1,{}", short.join(",")));
        let longer = format!("{given},k5={}", "y".repeat(97));
        assert_eq!(longer.parse(), Ok(kept));
    }

    #[test]
    fn trace_context_round_trips_without_a_malformed_state() {
        let with_state = format!("{TRACE} rojo=1,congo=a b");
        for text in [TRACE, &with_state] {
            assert_eq!(text.parse::<TraceContext>().unwrap().to_string(), text);
        }
        assert_eq!(format!("{TRACE} Rojo").parse::<TraceContext>(), Ok(TraceContext::of(TRACE.parse().unwrap())));
        assert_eq!("no trace".parse::<TraceContext>(), Err(NotATraceParent));
    }

    #[test]
    fn ratio_sampler_uses_the_last_bytes_of_the_trace_id() {
        let trace = |last: &str| format!("00-0af7651916cd43dd{last}-b7ad6b7169203331-01").parse::<TraceParent>().unwrap().trace();
        let half = Share::of_ratio(0.5).unwrap();
        assert!(half.holds(trace("7fffffffffffffff")) && !half.holds(trace("8000000000000000")));
        for last in ["0000000000000000", "ffffffffffffffff"] {
            assert!(Share::of_ratio(1.0).unwrap().holds(trace(last)) && !Share::of_ratio(0.0).unwrap().holds(trace(last)));
        }
        for ratio in [-0.1, 1.1, f64::NAN] {
            assert_eq!(Share::of_ratio(ratio), None);
        }
    }

    #[test]
    fn sampler_follows_the_caller_unless_configured_otherwise() {
        let (sampled, unsampled) = (TRACE.parse::<TraceParent>().unwrap(), TRACE.parse::<TraceParent>().unwrap().with_sampled(false));
        let default = Sampler::default();
        assert!(default.takes_begun(sampled.trace()) && default.takes_continued(&sampled) && !default.takes_continued(&unsampled));
        let always = Sampler { continued: Some(Share::ALL), ..default };
        assert!(always.takes_continued(&unsampled));
        assert_eq!(unsampled.with_sampled(true), sampled);
    }

    #[test]
    fn child_context_has_the_same_trace_and_the_new_span() {
        let thing = Id::root(Timestamp::from_micros(1_774_699_200_000_000), 7);
        let under = TRACE.parse::<TraceParent>().unwrap().under(SpanId::of(thing));
        assert_eq!(under.to_string(), "00-0af7651916cd43dd8448eb211c80319c-8000000000000007-01");
    }
}
