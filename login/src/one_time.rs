//! The second factor: codes of an authenticator app (RFC 6238), and recovery codes.

use std::fmt::Write as _;

use ensue_engine::explain::Explain;
use ensue_engine::ports::Secret;
use ensue_engine::time::Timestamp;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;
use totp_rs::{Builder, Totp, TotpError};
use zeroize::Zeroizing;

/// The length of a secret for codes, in bytes: that of SHA-1, as RFC 4226 recommends.
pub const OTP_SECRET_BYTES: usize = 20;
/// The number of recovery codes.
pub const RECOVERY_CODES: usize = 10;
/// The length of a recovery code, in bytes.
pub const RECOVERY_CODE_BYTES: usize = 10;

/// The length of a code, in digits.
const DIGITS: u8 = 6;
/// How long a code is shown, in seconds.
const STEP_SECONDS: u64 = 30;
/// How many steps the clock of the app may differ.
const STEPS_BESIDE: u16 = 1;
/// The letters of recovery codes: no `i`, `l`, `o` or `u`, which are easily misread.
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The second factor is missing or wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Explain)]
#[error("a current code of the authenticator app or a recovery code is required")]
#[explain(slug = "otp-required", fault = Unauthenticated, hint = "send it as `otp`; each code works once")]
pub struct OtpRequired;

/// An authenticator app: its secret, and the last step that was used.
pub struct Authenticator {
    totp: Totp,
    last_step: Option<u64>,
}

impl Authenticator {
    /// Creates an authenticator from random bytes. `node` and `account` are what the app shows.
    ///
    /// # Errors
    /// If a name is empty or has a colon.
    pub fn new(secret: [u8; OTP_SECRET_BYTES], node: &str, account: &str) -> Result<Self, TotpError> {
        Self::with(secret.to_vec(), None, node, account)
    }

    /// Restores an authenticator from the vault. Returns `None` if what is stored has another form.
    pub fn restore(stored: &Secret) -> Option<Self> {
        let (step, secret) = stored.reveal().split_first_chunk::<8>()?;
        let last_step = Some(u64::from_be_bytes(*step)).filter(|step| *step > 0);
        Self::with(secret.to_vec(), last_step, "ensue", "restored").ok()
    }

    /// Returns what the vault stores: the last step, and the secret.
    pub fn to_stored(&self) -> Secret {
        let mut bytes = self.last_step.unwrap_or_default().to_be_bytes().to_vec();
        bytes.extend(self.totp.secret().as_ref());
        Secret::new(bytes)
    }

    /// Returns the URL that an app reads as a QR code. A restored authenticator has lost the names in it.
    ///
    /// # Errors
    /// If the names cannot be written as a URL.
    pub fn url(&self) -> Result<Secret, TotpError> {
        self.totp.to_url().map(|url| Secret::new(url.into_bytes()))
    }

    /// Checks a code at `now`. Each step counts once: store the authenticator before you answer.
    ///
    /// # Errors
    /// If the code is not that of now or of a step beside it, or was used before.
    pub fn check(&mut self, code: &str, now: Timestamp) -> Result<(), OtpRequired> {
        let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        if code.len() != usize::from(DIGITS) || !code.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(OtpRequired);
        }
        let step = self.totp.check(&code, now.unix_millis() / 1_000).ok_or(OtpRequired)?;
        if self.last_step.is_some_and(|last| step <= last) {
            return Err(OtpRequired);
        }
        self.last_step = Some(step);
        Ok(())
    }

    fn with(secret: Vec<u8>, last_step: Option<u64>, node: &str, account: &str) -> Result<Self, TotpError> {
        let totp = Builder::new()
            .with_algorithm(totp_rs::Algorithm::SHA1)
            .with_digits(DIGITS)
            .with_step_duration(STEP_SECONDS)
            .with_skew(STEPS_BESIDE)
            .with_secret(secret)
            .with_issuer(Some(node))
            .with_account_name(account)
            .build()?;
        Ok(Self { totp, last_step })
    }
}

/// The hashes of the recovery codes that were not used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryCodes {
    hashes: Vec<[u8; 32]>,
}

impl RecoveryCodes {
    /// Creates the codes from random bytes. Returns what is stored, and the texts that are shown once.
    pub fn new(random: &[[u8; RECOVERY_CODE_BYTES]; RECOVERY_CODES]) -> (Self, Vec<Secret>) {
        let texts: Vec<Zeroizing<String>> = random.iter().map(text_of).collect();
        let hashes = texts.iter().map(|text| Sha256::digest(plain(text).as_bytes()).into()).collect();
        let shown = texts.iter().map(|text| Secret::new(text.as_bytes().to_vec())).collect();
        (Self { hashes }, shown)
    }

    /// Restores codes from the vault. Returns `None` if what is stored has another form.
    pub fn restore(stored: &Secret) -> Option<Self> {
        let (hashes, rest) = stored.reveal().as_chunks::<32>();
        (rest.is_empty() && hashes.len() <= RECOVERY_CODES).then(|| Self { hashes: hashes.to_vec() })
    }

    /// Returns what the vault stores. The codes have 80 random bits, so a fast hash protects them.
    pub fn to_stored(&self) -> Secret {
        Secret::new(self.hashes.concat())
    }

    /// Returns the number of codes that were not used.
    pub fn count_left(&self) -> usize {
        self.hashes.len()
    }

    /// Uses up a code. Store the codes before you answer.
    ///
    /// # Errors
    /// If there is no such code, or it was used before.
    pub fn take(&mut self, code: &str) -> Result<(), OtpRequired> {
        let hash: [u8; 32] = Sha256::digest(plain(code).as_bytes()).into();
        let before = self.hashes.len();
        self.hashes.retain(|known| !bool::from(known.ct_eq(&hash)));
        if self.hashes.len() < before { Ok(()) } else { Err(OtpRequired) }
    }
}

/// Writes 80 bits as four groups of four letters.
fn text_of(bytes: &[u8; RECOVERY_CODE_BYTES]) -> Zeroizing<String> {
    let bits = bytes.iter().fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
    let mut text = Zeroizing::new(String::with_capacity(19));
    for place in 0..16 {
        if place > 0 && place % 4 == 0 {
            text.push('-');
        }
        let index = (bits >> (75 - 5 * place)) as usize & 31;
        write!(text, "{}", char::from(LETTERS[index])).expect("a string takes any text");
    }
    text
}

/// Returns a code as it is hashed: in lower case, without spaces and hyphens.
fn plain(code: &str) -> Zeroizing<String> {
    Zeroizing::new(code.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| c.to_ascii_lowercase()).take(64).collect())
}
