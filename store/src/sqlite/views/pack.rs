//! The stored form of documents: JSON whose ids, hashes, times and field names are packed into a third of the
//! space.
//!
//! It does not depend on the views: any text is restored byte for byte. Texts that are not such documents
//! only shrink less.

use ensue_engine::ids::Id;

/// Another list or code means other bytes for the same text, so the views are rebuilt.
pub(super) const VERSION: u32 = 1;

// JSON text has no control characters: they are escaped in strings, and documents have no surrounding white
// space.

/// Precedes a byte that is meant literally although it is one of these codes.
const LITERAL: u8 = 0x00;
/// Precedes the 16 bytes of an id, which was 36 characters in quotes.
const ID: u8 = 0x01;
/// Precedes the number of an id that occurred before, or that is the row's key, which has the number 0.
const KNOWN_ID: u8 = 0x02;
/// Precedes the 32 bytes of a hash, which was 64 hex digits in quotes.
const HASH: u8 = 0x03;
/// Precedes the 9 bytes of a time: the 20 digits of `"2026-03-28T12:00:00.000000Z"` as one number.
const TIME: u8 = 0x04;
/// Precedes the number of a phrase.
const PHRASE: u8 = 0x05;
/// The first phrase; the codes after it are the next phrases.
const FIRST_PHRASE: u8 = 0x06;

/// Phrases that occur in many documents. The first 26 take one byte, the others two.
const PHRASES: [&str; 48] = [
    "{\"id\":",
    ",\"position\":",
    ",\"correlation\":",
    ",\"catalog\":",
    ",\"rule\":",
    ",\"event\":",
    ",\"status\":\"succeeded\"",
    ",\"started_at\":",
    ",\"ended_at\":",
    ",\"time\":",
    ",\"actor\":\"engine\"",
    ",\"actor\":\"sensor/",
    ",\"payload\":{\"position\":",
    ",\"params\":{\"position\":",
    ",\"result\":{\"position\":",
    ",\"bytes\":",
    ",\"digest\":",
    ",\"action\":",
    ",\"trigger\":",
    ",\"source\":",
    ",\"sensor\":",
    ",\"received_at\":",
    ",\"requested_at\":",
    ",\"enforcement\":",
    ",\"outcome\":\"executed\",\"execution\":",
    ",\"attempts\":[{\"id\":",
    ",\"attempt\":1",
    ",\"number\":1",
    ",\"token\":",
    ",\"worker\":\"local\"",
    ",\"priority\":0",
    ",\"matched\":",
    ",\"erred\":0",
    ",\"rule_id\":",
    ",\"rule_revision\":",
    ",\"parent\":",
    ",\"outcome\":\"shadowed\"",
    ",\"outcome\":\"rejected\",\"error\":\"",
    ",\"status\":\"failed\"",
    ",\"status\":\"timed_out\"",
    ",\"status\":\"cancelled\"",
    ",\"status\":\"running\"",
    ",\"status\":\"queued\"",
    ",\"error\":{\"kind\":\"",
    "\",\"message\":\"",
    ",\"detail\":",
    ",\"actor\":\"token/",
    ",\"evidence\":\"",
];

/// The shape of a time in quotes; `0` is any digit.
const TIME_SHAPE: &[u8; 29] = b"\"0000-00-00T00:00:00.000000Z\"";

/// Packs a document of the row with this key.
pub(super) fn pack(document: &[u8], key: Option<Id>) -> Vec<u8> {
    let mut packed = Vec::with_capacity(document.len() / 2);
    let mut known = KnownIds::with(key);
    let mut rest = document;
    while let Some(&first) = rest.first() {
        let taken = match first {
            b',' | b'{' | b'"' => {
                phrase(rest, &mut packed).or_else(|| if first == b'"' { string(rest, &mut packed, &mut known) } else { None })
            }
            _ => None,
        };
        let taken = taken.unwrap_or_else(|| {
            if first < b' ' {
                packed.push(LITERAL);
            }
            packed.push(first);
            1
        });
        rest = &rest[taken..];
    }
    packed
}

/// Returns the document that was packed, or `None` if the bytes are not an output of [`pack`].
pub(super) fn unpack(packed: &[u8], key: Option<Id>) -> Option<Vec<u8>> {
    let mut document = Vec::with_capacity(packed.len() * 3);
    let mut known = KnownIds::with(key);
    let mut rest = packed;
    while let Some((&code, after)) = rest.split_first() {
        rest = after;
        match code {
            LITERAL => document.push(*take::<1>(&mut rest)?.first()?),
            ID => write_quoted(&mut document, known.add(Id::from_bytes(take(&mut rest)?))),
            KNOWN_ID => write_quoted(&mut document, known.at(take::<1>(&mut rest)?[0])?),
            HASH => write_quoted(&mut document, ensue_engine::record::Digest::from_bytes(take(&mut rest)?)),
            TIME => time_text(take(&mut rest)?, &mut document),
            PHRASE => document.extend(PHRASES.get(usize::from(take::<1>(&mut rest)?[0]))?.bytes()),
            FIRST_PHRASE..b' ' => document.extend(PHRASES.get(usize::from(code - FIRST_PHRASE))?.bytes()),
            _ => document.push(code),
        }
    }
    Some(document)
}

/// The ids that occurred before, at most as many as a byte can number.
struct KnownIds(Vec<Id>);

impl KnownIds {
    fn with(key: Option<Id>) -> Self {
        Self(key.into_iter().collect())
    }

    fn add(&mut self, id: Id) -> Id {
        if self.0.len() <= usize::from(u8::MAX) {
            self.0.push(id);
        }
        id
    }

    fn number(&self, id: Id) -> Option<u8> {
        self.0.iter().position(|known| *known == id).and_then(|number| u8::try_from(number).ok())
    }

    fn at(&self, number: u8) -> Option<Id> {
        self.0.get(usize::from(number)).copied()
    }
}

fn phrase(rest: &[u8], packed: &mut Vec<u8>) -> Option<usize> {
    let mut number = FIRST_WITH[usize::from(*rest.get(2)?)];
    while let Some(phrase) = PHRASES.get(usize::from(number)) {
        if rest.starts_with(phrase.as_bytes()) {
            match FIRST_PHRASE + number {
                code if code < b' ' => packed.push(code),
                _ => packed.extend([PHRASE, number]),
            }
            return Some(phrase.len());
        }
        number = NEXT_WITH[usize::from(number)];
    }
    None
}

/// A value that is not the number of a phrase.
const NONE: u8 = u8::MAX;

/// The first phrase with each byte in the third place; the first two bytes are the same in nearly all
/// phrases.
const FIRST_WITH: [u8; 256] = phrase_chains().0;

/// The next phrase with the same byte in the third place, for each phrase.
const NEXT_WITH: [u8; PHRASES.len()] = phrase_chains().1;

const fn phrase_chains() -> ([u8; 256], [u8; PHRASES.len()]) {
    let mut first = [NONE; 256];
    let mut next = [NONE; PHRASES.len()];
    let mut number = PHRASES.len();
    while number > 0 {
        number -= 1;
        let byte = PHRASES[number].as_bytes()[2] as usize;
        next[number] = first[byte];
        first[byte] = number as u8;
    }
    (first, next)
}

fn string(rest: &[u8], packed: &mut Vec<u8>, known: &mut KnownIds) -> Option<usize> {
    if let Some(id) = quoted_text(rest, 36).and_then(|text| text.parse::<Id>().ok()) {
        match known.number(id) {
            Some(number) => packed.extend([KNOWN_ID, number]),
            None => {
                packed.push(ID);
                packed.extend(known.add(id).as_bytes());
            }
        }
        return Some(38);
    }
    if let Some(text) = quoted_text(rest, 64)
        && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
        && let Ok(hash) = text.parse::<ensue_engine::record::Digest>()
    {
        packed.push(HASH);
        packed.extend(hash.as_bytes());
        return Some(66);
    }
    let digits = time_digits(rest.get(..TIME_SHAPE.len())?)?;
    packed.push(TIME);
    packed.extend(&digits.to_be_bytes()[7..]);
    Some(TIME_SHAPE.len())
}

/// Returns the text in quotes at the start of `rest`, if it has this length.
fn quoted_text(rest: &[u8], bytes: usize) -> Option<&str> {
    let text = rest.get(1..=bytes)?;
    (rest.get(bytes + 1) == Some(&b'"')).then(|| std::str::from_utf8(text).ok())?
}

fn write_quoted(document: &mut Vec<u8>, text: impl std::fmt::Display) {
    use std::io::Write;
    // Writing to a Vec cannot fail.
    let _ = write!(document, "\"{text}\"");
}

fn time_digits(text: &[u8]) -> Option<u128> {
    text.iter().zip(TIME_SHAPE).try_fold(0, |digits, (byte, shape)| match (byte, shape) {
        (b'0'..=b'9', b'0') => Some(digits * 10 + u128::from(byte - b'0')),
        (byte, shape) if byte == shape => Some(digits),
        _ => None,
    })
}

fn time_text(number: [u8; 9], document: &mut Vec<u8>) {
    let mut bytes = [0; 16];
    bytes[7..].copy_from_slice(&number);
    let mut digits = u128::from_be_bytes(bytes);
    let mut text = *TIME_SHAPE;
    for place in text.iter_mut().rev().filter(|place| **place == b'0') {
        *place = b'0' + (digits % 10) as u8;
        digits /= 10;
    }
    document.extend(text);
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "019d3450-be00-86bf-8e4d-acfbb237b96a";

    fn key() -> Option<Id> {
        KEY.parse().ok()
    }

    #[test]
    fn ids_hashes_times_and_field_names_are_packed_smaller() {
        let hash = "f4e622e46ecee66313f3dc8214cf2d4169fb2ecbc10cd628c6116b1d9cf16ce2";
        let document =
            format!("{{\"id\":\"{KEY}\",\"correlation\":\"{KEY}\",\"time\":\"2026-03-28T12:00:00.500000Z\",\"digest\":\"{hash}\"}}");
        let packed = pack(document.as_bytes(), key());
        assert_eq!(unpack(&packed, key()).unwrap(), document.as_bytes());
        assert_eq!(packed.len(), (1 + 2) + (1 + 2) + (1 + 10) + (1 + 33) + 1);
    }

    #[test]
    fn phrase_is_never_hidden_by_an_earlier_one() {
        for (number, phrase) in PHRASES.iter().enumerate() {
            let packed = pack(phrase.as_bytes(), None);
            assert!(packed.len() <= 2, "phrase {number} is cut short by one before it: {phrase}");
        }
    }

    #[test]
    fn malformed_packed_text_is_not_unpacked() {
        for broken in [&[ID, 1, 2][..], &[KNOWN_ID, 9], &[HASH], &[TIME, 0], &[PHRASE, 200], &[LITERAL]] {
            assert_eq!(unpack(broken, key()), None, "{broken:?}");
        }
    }

    fn likely() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            proptest::sample::select(PHRASES.to_vec()).prop_map(|phrase| phrase.as_bytes().to_vec()),
            Just(format!("\"{KEY}\"").into_bytes()),
            "\"[0-9a-fA-F]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\"".prop_map(String::into_bytes),
            "\"[0-9a-fA-F]{64}\"".prop_map(String::into_bytes),
            "\"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6}Z\"".prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..20),
            ".{0,20}".prop_map(String::into_bytes),
        ];
        proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn packed_text_unpacks_to_the_original(document in likely(), has_key: bool) {
            let key = if has_key { key() } else { None };
            prop_assert_eq!(unpack(&pack(&document, key), key), Some(document));
        }

        #[test]
        fn unpacking_never_panics(packed in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = unpack(&packed, key());
        }
    }
}
