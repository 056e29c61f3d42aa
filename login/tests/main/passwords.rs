//! Passwords: which may be set, and that they are checked with bounded work and memory.

use ensue_engine::explain::Explain;
use ensue_login::passwords::{Hashing, NewPassword, PasswordCheck, PasswordHash, PasswordRefusal, TypedPassword};

const GOOD: &str = "correct horse battery";

fn set(text: &str) -> Result<NewPassword, PasswordRefusal> {
    NewPassword::new(text, "ana")
}

fn typed_password(text: &str) -> TypedPassword {
    TypedPassword::new(text).unwrap()
}

fn hash_password(text: &str) -> PasswordHash {
    Hashing::default().hash(&set(text).unwrap(), [7; 16]).unwrap()
}

#[test]
fn password_is_right_and_every_other_one_wrong() {
    let hashing = Hashing::default();
    let stored = hash_password(GOOD);
    assert_eq!(hashing.check(Some(&stored), &typed_password(GOOD)).unwrap(), PasswordCheck::Right);
    for wrong in ["", "correct horse batterz", "Correct horse battery", "correct horse battery ", "correct horse battery\0"] {
        assert_eq!(hashing.check(Some(&stored), &typed_password(wrong)).unwrap(), PasswordCheck::Wrong, "{wrong:?}");
    }
}

#[test]
fn stored_text_has_the_parameters_and_is_read_back() {
    let stored = hash_password(GOOD).to_stored();
    let text = std::str::from_utf8(stored.reveal()).unwrap();
    assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$BwcHBwcHBwcHBwcHBwcHBw$"), "{text}");
    let read = PasswordHash::read(text).unwrap();
    assert_eq!(Hashing::default().check(Some(&read), &typed_password(GOOD)).unwrap(), PasswordCheck::Right);
    for other in [
        "",
        "correct horse battery",
        "$argon2i$v=19$m=19456,t=2,p=1$BwcHBwcHBwcHBwcHBwcHBw$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$argon2id$v=19$m=4194304,t=2,p=1$BwcHBwcHBwcHBwcHBwcHBw$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$argon2id$v=19$m=19456,t=2,p=1$BwcHBwcHBwcHBwcHBwcHBw$AAAA",
        "$argon2id$v=19$m=19456,t=2,p=1$AAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$argon2id$v=19$m=1,t=2,p=1$BwcHBwcHBwcHBwcHBwcHBw$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$argon2id$v=19$m=19456,t=2,p=1",
    ] {
        assert!(PasswordHash::read(other).is_none(), "{other}");
    }
}

#[test]
fn known_answer_of_argon2id_is_computed() {
    // Computed with the reference implementation: `argon2 somesalt -id -t 2 -k 256 -p 1`, password `password`.
    let text = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    let old = PasswordHash::read(text).unwrap();
    assert_eq!(Hashing::default().check(Some(&old), &typed_password("password")).unwrap(), PasswordCheck::RightButOld);
    assert_eq!(Hashing::default().check(Some(&old), &typed_password("passwore")).unwrap(), PasswordCheck::Wrong);
    let new = Hashing::default().rehash(&typed_password("password"), [1; 16]).unwrap();
    assert_eq!(Hashing::default().check(Some(&new), &typed_password("password")).unwrap(), PasswordCheck::Right);
}

#[test]
fn composed_and_decomposed_forms_are_one_password() {
    let hashing = Hashing::default();
    let stored = hash_password("caf\u{e9} in \u{c5}rhus");
    for same in ["cafe\u{301} in A\u{30a}rhus", "caf\u{e9} in \u{212b}rhus", "\u{ff43}af\u{e9} in \u{c5}rhus"] {
        assert_eq!(hashing.check(Some(&stored), &typed_password(same)).unwrap(), PasswordCheck::Right, "{same}");
    }
}

#[test]
fn length_is_that_of_the_normalized_bytes() {
    assert_eq!(set("elevenbytes").err(), Some(PasswordRefusal::TooShort));
    set("twelve bytes").unwrap();
    let long = |length: usize| (0..length).map(|n| char::from(b'a' + (n * n % 23) as u8)).collect::<String>();
    set(&long(1_024)).unwrap();
    for length in [1_025, 5_000, 1 << 20] {
        assert_eq!(set(&long(length)).err(), Some(PasswordRefusal::TooLong), "{length}");
        assert_eq!(TypedPassword::new(&long(length)).err(), Some(PasswordRefusal::TooLong), "{length}");
    }
    // One letter of three bytes that becomes 33 bytes.
    assert_eq!(TypedPassword::new(&"\u{fdfa}".repeat(40)).err(), Some(PasswordRefusal::TooLong));
    set("a\0b\0c\0d\0e\0f\0g\0").unwrap();
    let refusal = set("short").err().unwrap();
    assert_eq!((refusal.to_string().as_str(), refusal.slug()), ("a password must have at least 12 bytes", "password-weak"));
}

#[test]
fn common_passwords_their_variations_and_the_name_are_refused() {
    for common in [
        "1qaz2wsx3edc4rfv",
        "1QAZ2wsx3edc4rfv",
        "password1234",
        "Password123!",
        "!!!!dragon2026",
        "passwordpassword",
        "Monkeymonkey12",
        "aaaaaaaaaaaa",
        "abcabcabcabc",
        "123456789012",
        "098765432109",
        "111111111111",
        "administrator",
    ] {
        assert_eq!(set(common).err(), Some(PasswordRefusal::Common), "{common}");
    }
    let named = |text: &str, name: &str| NewPassword::new(text, name).err();
    assert_eq!(named("Ana.Lopez.2026", "ana.lopez"), Some(PasswordRefusal::Name));
    assert_eq!(named("annalise12345", "annalise"), Some(PasswordRefusal::Name));
    assert_eq!(named("lopezlopezlopez", "lopez"), Some(PasswordRefusal::Name));
    for good in [GOOD, "analyse the log", "dragon and monkey", "8f3Kq0zP1xYw", "ünïcödé ist schön", "49201847562093"] {
        assert_eq!(named(good, "ana"), None, "{good}");
    }
}

#[test]
fn unknown_account_costs_the_same_work_as_a_wrong_password() {
    let hashing = Hashing::default();
    let stored = hash_password(GOOD);
    assert_eq!(hashing.check(Some(&stored), &typed_password("a wrong password")).unwrap(), PasswordCheck::Wrong);
    assert_eq!(hashing.hash_count(), 1);
    assert_eq!(hashing.check(None, &typed_password("a wrong password")).unwrap(), PasswordCheck::Wrong);
    assert_eq!(hashing.hash_count(), 2);
    assert_eq!(hashing.check(None, &typed_password("nobody has this!")).unwrap(), PasswordCheck::Wrong);
}
