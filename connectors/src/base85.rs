//! Numbers with a fixed number of digits, in the alphabet of [Z85](https://rfc.zeromq.org/spec/32/).
//!
//! Cursors list thousands of hashes. In base64, a hash that is added shifts the bits of all letters behind it; here each has
//! letters of its own, so that the log needs only the ten that are new. JSON escapes none of them.

use ensue_engine::record::Digest;

/// The digits of a number of 64 bits.
pub(crate) const DIGITS: usize = 10;

const ALPHABET: &[u8; 85] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// Returns the hash that stands for something in a cursor: an id, an item, a path, or what a file was.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *Digest::of(bytes).as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// Writes a number behind a text, with at most [`DIGITS`] digits. What needs more of them is left out.
pub(crate) fn write(text: &mut String, number: u64, digits: usize) {
    let mut left = number;
    let mut written = [0_u8; DIGITS];
    for digit in written.iter_mut().rev() {
        *digit = ALPHABET[(left % 85) as usize];
        left /= 85;
    }
    text.extend(written[DIGITS.saturating_sub(digits)..].iter().copied().map(char::from));
}

/// Reads a number. Returns `None` if other letters than digits are in the text, or if it is too large.
pub(crate) fn read(digits: &[u8]) -> Option<u64> {
    let value = |digit: &u8| ALPHABET.iter().position(|one| one == digit).and_then(|value| u64::try_from(value).ok());
    digits.iter().try_fold(0_u64, |number, digit| number.checked_mul(85)?.checked_add(value(digit)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(number: u64, digits: usize) -> String {
        let mut text = String::new();
        write(&mut text, number, digits);
        text
    }

    #[test]
    fn number_has_as_many_digits_as_are_asked_for() {
        for (number, text) in [(0, "0000000000"), (84, "000000000#"), (85, "0000000010"), (u64::MAX, "{SW2>[/%o0")] {
            assert_eq!((encode(number, DIGITS).as_str(), read(text.as_bytes())), (text, Some(number)));
        }
        assert_eq!((encode(85, 4).as_str(), read(b"0010")), ("0010", Some(85)));
    }

    #[test]
    fn text_with_other_letters_and_number_that_is_too_large_are_not_read() {
        for text in ["000000000 ", "000000000\"", "{SW2>[/%o1", "##########", "00000000\u{e4}"] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn json_escapes_no_digit() {
        let alphabet = std::str::from_utf8(ALPHABET).unwrap();
        assert_eq!(serde_json::to_string(alphabet).unwrap(), format!("\"{alphabet}\""));
    }

    proptest! {
        #[test]
        fn any_number_is_read_back_as_it_was_written(number in any::<u64>()) {
            prop_assert_eq!(read(encode(number, DIGITS).as_bytes()), Some(number));
        }

        #[test]
        fn any_text_that_is_read_is_written_the_same(text in "[0-9a-zA-Z.:+=^!/*?&<>()\\[\\]{}@%$#-]{1,10}") {
            prop_assert!(read(text.as_bytes()).is_none_or(|number| encode(number, text.len()) == text));
        }
    }
}
