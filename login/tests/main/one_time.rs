//! Codes of authenticator apps and recovery codes: each counts once.

use ensue_engine::ports::Secret;
use ensue_login::one_time::{Authenticator, OtpRequired, RECOVERY_CODES, RecoveryCodes};

use crate::support::at;

/// The secret of the examples of RFC 6238.
const SECRET: [u8; 20] = *b"12345678901234567890";

fn authenticator() -> Authenticator {
    Authenticator::new(SECRET, "ensue.example.test", "ana").unwrap()
}

fn text(secret: &Secret) -> String {
    String::from_utf8(secret.reveal().to_vec()).unwrap()
}

#[test]
fn codes_of_the_standard_are_accepted_at_their_times() {
    // The last six digits of the codes in appendix B of RFC 6238.
    for (seconds, code) in
        [(59, "287082"), (1_111_111_109, "081804"), (1_111_111_111, "050471"), (1_234_567_890, "005924"), (2_000_000_000, "279037")]
    {
        let mut app = authenticator();
        app.check(code, at(seconds)).unwrap();
        assert_eq!(app.check(code, at(seconds)), Err(OtpRequired), "a code counts once");
    }
}

#[test]
fn code_counts_one_step_before_and_after_its_own() {
    let code = "050471";
    // The step of 1111111111 is 1111111110 to 1111111139.
    for (seconds, counts) in
        [(1_111_111_079, false), (1_111_111_080, true), (1_111_111_139, true), (1_111_111_169, true), (1_111_111_170, false)]
    {
        assert_eq!(authenticator().check(code, at(seconds)).is_ok(), counts, "{seconds}");
    }
}

#[test]
fn older_code_does_not_count_after_a_newer_one_even_over_a_restart() {
    let mut app = authenticator();
    app.check("050471", at(1_111_111_111)).unwrap();
    let mut restored = Authenticator::restore(&app.to_stored()).unwrap();
    assert_eq!(restored.check("050471", at(1_111_111_111)), Err(OtpRequired));
    assert_eq!(restored.check("081804", at(1_111_111_111)), Err(OtpRequired), "the code of the step before");
}

#[test]
fn text_that_is_no_code_is_refused() {
    for code in ["", "05047", "0504711", "abcdef", "-50471", "05047１", "0x0471"] {
        assert_eq!(authenticator().check(code, at(1_111_111_111)), Err(OtpRequired), "{code}");
    }
    authenticator().check("050 471", at(1_111_111_111)).unwrap();
    assert!(Authenticator::restore(&Secret::new(b"short".to_vec())).is_none());
    assert!(Authenticator::new(SECRET, "", "ana").is_err() || Authenticator::new(SECRET, "a:b", "ana").is_err());
}

#[test]
fn app_reads_a_url_with_the_secret() {
    let url = text(&authenticator().url().unwrap());
    assert!(url.starts_with("otpauth://totp/"), "{url}");
    for part in ["secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "ensue.example.test", "ana"] {
        assert!(url.contains(part), "{part}: {url}");
    }
}

#[test]
fn each_recovery_code_counts_once_in_any_spelling() {
    let random: [[u8; 10]; RECOVERY_CODES] = std::array::from_fn(|n| [n as u8 * 17 + 1; 10]);
    let (mut codes, shown) = RecoveryCodes::new(&random);
    let shown: Vec<String> = shown.iter().map(text).collect();
    assert_eq!((shown.len(), codes.count_left()), (10, 10));
    assert!(shown.iter().all(|code| code.len() == 19 && code.split('-').count() == 4), "{shown:?}");
    codes.take(&shown[3].to_uppercase().replace('-', " ")).unwrap();
    assert_eq!((codes.take(&shown[3]), codes.count_left()), (Err(OtpRequired), 9));
    let mut restored = RecoveryCodes::restore(&codes.to_stored()).unwrap();
    assert_eq!(restored.take(&shown[3]), Err(OtpRequired));
    for code in shown.iter().enumerate().filter(|(n, _)| *n != 3).map(|(_, code)| code) {
        restored.take(code).unwrap();
    }
    assert_eq!((restored.count_left(), restored.take("")), (0, Err(OtpRequired)));
    assert!(RecoveryCodes::restore(&Secret::new(vec![0; 33])).is_none());
    for secret in codes.to_stored().reveal().chunks(32).zip(&shown) {
        assert_ne!(secret.0, secret.1.as_bytes(), "only hashes are stored");
    }
}
