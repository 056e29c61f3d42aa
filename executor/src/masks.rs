//! Masking: finds the values of an attempt's keys in its output and messages, and replaces each by its key's
//! name.
//!
//! A value is found as it is and in the encodings that [`forms`] lists, even if it arrives in several pieces.
//! A value that a program changed in any other way is not found.

mod forms;

use std::collections::BTreeMap;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use ensue_engine::ports::masked_part;

/// The number of bytes at the start of a form that are searched for. The rest is compared, so that a long
/// value takes little memory.
const HEAD_BYTES_MAX: usize = 32;

/// The values of the keys of one attempt. It holds secrets, so it has no `Debug`.
pub(crate) struct Masks {
    heads: AhoCorasick,
    /// Longest first.
    patterns: Vec<MaskPattern>,
}

/// A form of a value, and the text that replaces it.
struct MaskPattern {
    form: Vec<u8>,
    mask: Arc<str>,
}

/// Whether more bytes of a stream may follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum More {
    MayCome,
    Never,
}

impl Masks {
    /// Returns the masks of these keys and values, or none if there is no value to mask.
    pub(crate) fn of_values<'k>(keys: impl IntoIterator<Item = (&'k str, &'k [u8])>) -> Option<Arc<Self>> {
        let mut masked: BTreeMap<Vec<u8>, Arc<str>> = BTreeMap::new();
        for (key, value) in keys {
            let Some(value) = masked_part(value) else { continue };
            let mask: Arc<str> = format!("[redacted {key}]").into();
            for form in forms::of(value) {
                masked.entry(form).or_insert_with(|| Arc::clone(&mask));
            }
        }
        if masked.is_empty() {
            return None;
        }
        let mut patterns: Vec<MaskPattern> = masked.into_iter().map(|(form, mask)| MaskPattern { form, mask }).collect();
        patterns.sort_by_key(|pattern| std::cmp::Reverse(pattern.form.len()));
        let heads = patterns.iter().map(|pattern| &pattern.form[..pattern.form.len().min(HEAD_BYTES_MAX)]);
        let heads = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .match_kind(MatchKind::LeftmostFirst)
            .build(heads)
            .expect("the heads are short, and far fewer than an automaton may have");
        Some(Arc::new(Self { heads, patterns }))
    }

    /// Masks complete bytes.
    pub(crate) fn whole(&self, bytes: &[u8]) -> Vec<u8> {
        let mut masked = Vec::with_capacity(bytes.len());
        self.replace(bytes, More::Never, &mut masked);
        masked
    }

    /// Masks a complete text.
    pub(crate) fn text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.whole(text.as_bytes())).into_owned()
    }

    /// Writes bytes with the values replaced, and returns how many bytes were used. The remaining bytes may
    /// be the beginning of a value.
    ///
    /// The output depends on the stream alone, not on the pieces in which it arrives.
    fn replace(&self, bytes: &[u8], more: More, to: &mut Vec<u8>) -> usize {
        let (mut written, mut from) = (0, 0);
        loop {
            let open = match more {
                More::MayCome => self.open_end(bytes, from),
                More::Never => bytes.len(),
            };
            let start = self.heads.find(&bytes[from..]).map(|head| from + head.start()).filter(|start| *start < open);
            let Some(start) = start else {
                to.extend_from_slice(&bytes[written..open]);
                return open;
            };
            let rest = &bytes[start..];
            if more == More::MayCome && self.is_open(rest) {
                to.extend_from_slice(&bytes[written..start]);
                return start;
            }
            from = match self.patterns.iter().find(|pattern| rest.starts_with(&pattern.form)) {
                Some(MaskPattern { form, mask }) => {
                    to.extend_from_slice(&bytes[written..start]);
                    to.extend_from_slice(mask.as_bytes());
                    written = start + form.len();
                    written
                }
                None => start + 1,
            };
        }
    }

    /// Returns the position at the end of the bytes from which they may be the beginning of a head, or the
    /// position after the last byte if there is none.
    fn open_end(&self, bytes: &[u8], from: usize) -> usize {
        let first = from.max(bytes.len().saturating_sub(HEAD_BYTES_MAX - 1));
        (first..bytes.len()).find(|start| self.is_open(&bytes[*start..])).unwrap_or(bytes.len())
    }

    /// Returns true if more bytes could make these a form.
    fn is_open(&self, bytes: &[u8]) -> bool {
        self.patterns.iter().any(|MaskPattern { form, .. }| form.len() > bytes.len() && form.starts_with(bytes))
    }
}

/// Masks one stream. Holds back only bytes that may be the beginning of a value.
pub(crate) struct Masking {
    masks: Arc<Masks>,
    held: Vec<u8>,
}

impl Masking {
    /// Begins a stream.
    pub(crate) fn begin(masks: Arc<Masks>) -> Self {
        Self { masks, held: Vec::new() }
    }

    /// Takes the next bytes, and returns those that can be kept.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let mut masked = Vec::with_capacity(self.held.len());
        let used = self.masks.replace(&self.held, More::MayCome, &mut masked);
        self.held.drain(..used);
        masked
    }

    /// Returns the bytes that were held back, at the end of the stream.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        self.masks.whole(&std::mem::take(&mut self.held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"s3cr3t/value+of \"a\" key";
    const MASK: &str = "[redacted a.b]";

    fn masks() -> Arc<Masks> {
        Masks::of_values([("a.b", SECRET)]).unwrap()
    }

    fn in_pieces(masks: &Arc<Masks>, bytes: &[u8], piece: usize) -> Vec<u8> {
        let mut masking = Masking::begin(Arc::clone(masks));
        let mut masked: Vec<u8> = bytes.chunks(piece).flat_map(|piece| masking.push(piece)).collect();
        masked.extend(masking.finish());
        masked
    }

    #[test]
    fn value_in_any_number_of_pieces_is_masked() {
        let text = [b"before ".as_slice(), SECRET, b" s3cr3t between ", SECRET, SECRET, b" s3cr3t/val"].concat();
        let expected = format!("before {MASK} s3cr3t between {MASK}{MASK} s3cr3t/val");
        for piece in 1..text.len() + 1 {
            assert_eq!(String::from_utf8(in_pieces(&masks(), &text, piece)).unwrap(), expected, "{piece}");
        }
    }

    #[test]
    fn bytes_that_cannot_begin_a_value_are_not_held_back() {
        let mut masking = Masking::begin(masks());
        assert_eq!(masking.push(b"Password: "), b"Password: ");
        assert_eq!(masking.push(b"50 % is"), b"50 % i");
        assert_eq!(masking.push(b" done\n"), b"s done\n");
    }

    #[test]
    fn longer_of_two_values_with_a_common_prefix_is_masked() {
        let masks = Masks::of_values([("a.short", b"password-1".as_slice()), ("a.long", b"password-12")]).unwrap();
        for piece in 1..30 {
            let masked = in_pieces(&masks, b"password-12 password-1 password-", piece);
            assert_eq!(String::from_utf8(masked).unwrap(), "[redacted a.long] [redacted a.short] password-", "{piece}");
        }
    }

    #[test]
    fn value_inside_the_beginning_of_another_is_masked_by_its_own_name() {
        let masks = Masks::of_values([("a.outer", b"x-password-y".as_slice()), ("a.inner", b"password")]).unwrap();
        for piece in 1..30 {
            let masked = in_pieces(&masks, b"x-password-y x-password-z x-password", piece);
            assert_eq!(String::from_utf8(masked).unwrap(), "[redacted a.outer] x-[redacted a.inner]-z x-[redacted a.inner]", "{piece}");
        }
    }

    #[test]
    fn long_value_is_masked_completely() {
        let value: Vec<u8> = (0..65_536_u32).map(|number| b'a' + (number.wrapping_mul(2_654_435_761) >> 16) as u8 % 26).collect();
        let masks = Masks::of_values([("a.b", value.as_slice())]).unwrap();
        let text = [b"<".as_slice(), &value, b">"].concat();
        for piece in [1_000, 65_000, text.len()] {
            assert_eq!(in_pieces(&masks, &text, piece), b"<[redacted a.b]>", "{piece}");
        }
        assert_eq!(in_pieces(&masks, &value[..60_000], 7_000), value[..60_000]);
    }

    #[test]
    fn value_under_eight_bytes_is_not_masked() {
        assert!(Masks::of_values([("a.b", b"1234567".as_slice()), ("a.c", b" 1234567\n")]).is_none());
        assert!(Masks::of_values([("a.b", b"12345678".as_slice())]).is_some());
    }
}
