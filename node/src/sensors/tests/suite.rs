//! The conformance suite of pulling sensors. Each case runs on every source, over a trait for what is at the other
//! side of it, under the real supervisor and sequencer, with a log in memory.
//!
//! A new source implements [`PeerUnderTest`] in a file here, and calls `suite!`. A case that cannot apply to it is listed
//! there with the reason, and shown as ignored.

mod cases;
mod files;
mod in_memory;
mod poll;
#[cfg(target_os = "linux")]
mod process;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ensue_connectors::SensorErrorKind;
use ensue_connectors::world::Programs;

use super::site::Setting;
use crate::catalogs::NodeCatalogs;

/// What is at the other side of a source.
pub(super) trait PeerUnderTest {
    /// Returns what the sensor reads, and how.
    fn setting(&self) -> Setting;

    /// Returns what the source promises.
    fn promises(&self) -> Promises;

    /// Adds messages, behind all others. Their numbers grow.
    fn put(&self, messages: &[TestMessage]);

    /// Makes the other side unreachable.
    fn go_away(&self);

    /// Makes it reachable again.
    fn come_back(&self);

    /// Breaks off at one of [`cuts`](Self::cuts) places within the next messages.
    fn cut(&self, place: usize);

    /// Returns at how many places it can break off.
    fn cuts(&self) -> usize;

    /// Returns true if it has broken off since the last [`cut`](Self::cut).
    fn was_cut(&self) -> bool;

    /// Returns the numbers of the messages of which it knows that they are in the log.
    fn settled_numbers(&self) -> BTreeSet<u64>;

    /// Returns what becomes of an odd message.
    fn becomes(&self, odd: Odd) -> Becomes;

    /// Takes odd messages back that fail the sensor.
    fn take_back_odd(&self) {}

    /// Delivers messages again that are settled.
    fn deliver_again(&self, _: &[u64]) {}
}

/// What a source promises.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promises {
    /// Whether events come in the order of their messages.
    pub(super) order: Order,
    /// Whether the other side learns what is in the log.
    pub(super) settling: Settling,
    /// How a sensor fails while the other side is away.
    pub(super) away: SensorErrorKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// In that of their messages.
    Kept,
    /// In any.
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settling {
    /// It learns of each message, sooner or later.
    Always,
    /// It learns of a message unless the node ends just then.
    Once,
    /// It learns nothing.
    Never,
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TestMessage {
    /// It makes an event with this number.
    Item(u64),
    /// It makes a dead letter.
    Poison(u64),
    /// It has the bytes of [`Odd::bytes`].
    Odd(Odd, u64),
}

impl TestMessage {
    fn number(self) -> u64 {
        match self {
            Self::Item(number) | Self::Poison(number) | Self::Odd(_, number) => number,
        }
    }

    /// Returns its bytes. Poison has a text where `emits` compares a number.
    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Item(number) => format!(r#"{{"n":{number},"times":1}}"#).into_bytes(),
            Self::Poison(number) => format!(r#"{{"n":{number},"times":"one"}}"#).into_bytes(),
            Self::Odd(odd, number) => odd.bytes(number),
        }
    }
}

/// A message that few senders send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Odd {
    Empty,
    /// As large as a message may be.
    Largest,
    /// Larger by a byte.
    TooLarge,
    NotUtf8,
    /// With a byte 0 in a text.
    Nul,
    /// More nested than JSON may be.
    Deep,
}

impl Odd {
    pub(super) const ALL: [Self; 6] = [Self::Empty, Self::Largest, Self::TooLarge, Self::NotUtf8, Self::Nul, Self::Deep];

    fn bytes(self, number: u64) -> Vec<u8> {
        let around = |inner: &[u8]| [format!(r#"{{"n":{number},"times":1,"pad":"#).as_bytes(), inner, b"}"].concat();
        let text = |inner: &[u8]| around(&[b"\"", inner, b"\""].concat());
        match self {
            Self::Empty => Vec::new(),
            Self::Largest => text(&vec![b'x'; ensue_connectors::MESSAGE_BYTES_MAX - text(b"").len()]),
            Self::TooLarge => text(&vec![b'x'; ensue_connectors::MESSAGE_BYTES_MAX + 1 - text(b"").len()]),
            Self::NotUtf8 => text(b"\xff\xfe"),
            Self::Nul => text(b"\0"),
            Self::Deep => around(&[[b'['; 200], [b']'; 200]].concat()),
        }
    }
}

/// What becomes of an odd message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Becomes {
    Event,
    Letter,
    Nothing,
    /// The sensor fails until the message is taken back.
    Failure,
}

impl Becomes {
    /// Returns what becomes of it where each message has its own bytes.
    fn usual(odd: Odd) -> Self {
        if odd == Odd::Largest { Self::Event } else { Self::Letter }
    }
}

/// The programs of sensors, as a node runs them.
#[cfg(target_os = "linux")]
pub(super) fn programs_of_sensors(data: &Path, folders: &[PathBuf], catalogs: &Arc<NodeCatalogs>) -> Arc<dyn Programs> {
    Arc::new(process::programs(data, folders, catalogs))
}

/// The programs of sensors need supervisors, which need Linux.
#[cfg(not(target_os = "linux"))]
pub(super) fn programs_of_sensors(_: &Path, _: &[PathBuf], _: &Arc<NodeCatalogs>) -> Arc<dyn Programs> {
    Arc::new(super::site::Nowhere)
}

/// The tests of one source: each case, and with the reason each that cannot apply to it.
macro_rules! suite {
    ($peer:expr, does_not_apply [$($case:ident: $why:literal),* $(,)?]) => {
        $crate::sensors::tests::suite::suite!(@ ($) $peer, [$($case: $why),*]);
    };
    // A macro that another one defines needs its dollar sign handed over.
    (@ ($dollar:tt) $peer:expr, [$($other:ident: $why:literal),*]) => {
        #[deny(unused_macro_rules)]
        macro_rules! test {
            $(
                ($other) => {
                    #[test]
                    #[ignore = $why]
                    fn $other() {}
                };
            )*
            ($dollar case:ident) => {
                #[test]
                fn $dollar case() {
                    $crate::sensors::tests::suite::cases::$dollar case(&$peer);
                }
            };
        }
        $crate::sensors::tests::suite::cases::each_case!(test);
    };
}
use suite;
