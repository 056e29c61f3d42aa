//! Passwords: which are accepted, and how they are hashed and checked.
//!
//! A hash takes 19 MiB and some 50 ms, which is what makes it slow to guess. [`Hashing`] therefore runs two at a
//! time and lets a few wait, so that logins use a fixed amount of memory.

mod hashing;

use std::collections::HashSet;
use std::sync::LazyLock;

use ensue_engine::explain::Explain;
use thiserror::Error;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

pub use hashing::{AT_ONCE_MAX, Busy, Hashing, MEMORY_KIB, PASSES, PasswordCheck, PasswordHash, WAITING_MAX};

/// The minimum length of a password after normalization, in bytes.
pub const PASSWORD_BYTES_MIN: usize = 12;
/// The maximum length of a password after normalization, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1_024;
/// The maximum length before normalization: decomposed text is longer.
const TYPED_BYTES_MAX: usize = 4 * PASSWORD_BYTES_MAX;
/// The minimum length of a common password that may be part of a weak one.
const BASE_CHARS_MIN: usize = 4;
/// The minimum length of a part that may make up a password by repetition, in characters.
const REPEATED_CHARS_MIN: usize = 8;

/// Common passwords in lower case, one in each line.
static COMMON: LazyLock<HashSet<&'static str>> = LazyLock::new(|| include_str!("passwords/common.txt").lines().collect());

/// A password as somebody typed it to log in, in the one form in which it is hashed (NFKC).
pub struct TypedPassword(Zeroizing<String>);

/// A password that may be set.
pub struct NewPassword(TypedPassword);

/// Why a password is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Explain)]
#[non_exhaustive]
#[explain(slug = "password-weak", fault = Invalid, hint = "use a password manager, or a sentence that nobody else would think of")]
pub enum PasswordRefusal {
    /// It is too short.
    #[error("a password must have at least {PASSWORD_BYTES_MIN} bytes")]
    TooShort,
    /// It is too long.
    #[error("a password must have at most {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
    /// Many people have it, or one that is hardly different.
    #[error("the password is one of the most common ones, or one of them with digits or signs around it")]
    Common,
    /// It contains the name of its owner.
    #[error("the password consists of the name of its owner")]
    Name,
}

impl TypedPassword {
    /// Normalizes what was typed.
    ///
    /// # Errors
    /// If it is longer than any password may be.
    pub fn new(text: &str) -> Result<Self, PasswordRefusal> {
        if text.len() > TYPED_BYTES_MAX {
            return Err(PasswordRefusal::TooLong);
        }
        let mut normal = Zeroizing::new(String::with_capacity(PASSWORD_BYTES_MAX + 4));
        for c in text.nfkc() {
            normal.push(c);
            if normal.len() > PASSWORD_BYTES_MAX {
                return Err(PasswordRefusal::TooLong);
            }
        }
        Ok(Self(normal))
    }

    fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl NewPassword {
    /// Accepts a new password of the identity with this name.
    ///
    /// # Errors
    /// If it is too short or too long, common, or the name. There are no rules on the characters.
    pub fn new(text: &str, name: &str) -> Result<Self, PasswordRefusal> {
        let typed = TypedPassword::new(text)?;
        if typed.0.len() < PASSWORD_BYTES_MIN {
            return Err(PasswordRefusal::TooShort);
        }
        let folded = Zeroizing::new(typed.0.to_lowercase());
        let core = folded.trim_matches(|c: char| !c.is_alphabetic());
        let name = name.nfkc().collect::<String>().to_lowercase();
        let is_name = |text: &str| text == name || (name.chars().count() >= BASE_CHARS_MIN && is_repeated(text, |part| part == name));
        if is_name(&folded) || is_name(core) {
            return Err(PasswordRefusal::Name);
        }
        let is_common = |text: &str| text.chars().count() >= BASE_CHARS_MIN && COMMON.contains(text);
        if COMMON.contains(folded.as_str()) || is_common(core) || (core.is_empty() && is_plain(&folded)) {
            return Err(PasswordRefusal::Common);
        }
        let is_short = |part: &str| part.chars().count() < REPEATED_CHARS_MIN;
        if is_repeated(&folded, |part| is_short(part) || is_common(part)) || is_repeated(core, is_common) {
            return Err(PasswordRefusal::Common);
        }
        Ok(Self(typed))
    }
}

/// Returns true if a text is a part that is accepted, two or more times in a row; single characters count as parts.
fn is_repeated(text: &str, accepts: impl Fn(&str) -> bool) -> bool {
    let repeats = |length: usize| {
        text.len().is_multiple_of(length)
            && text.is_char_boundary(length)
            && text.as_bytes().chunks(length).all(|part| part == &text.as_bytes()[..length])
            && accepts(&text[..length])
    };
    (1..=text.len() / 2).any(repeats)
}

/// Returns true if a text without letters counts up or down, as a keyboard has its digits.
fn is_plain(text: &str) -> bool {
    let steps: HashSet<u8> = text.as_bytes().windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    steps.iter().all(|step| matches!(step, 1 | 247)) || steps.iter().all(|step| matches!(step, 255 | 9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_of_common_passwords_is_in_the_binary_in_lower_case() {
        assert!(COMMON.len() >= 10_000, "{}", COMMON.len());
        assert!(COMMON.iter().all(|common| *common == common.to_lowercase() && !common.is_empty()));
    }
}
