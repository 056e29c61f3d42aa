//! Checks that any document is read as a set of keys or a discovery document, or refused, within its bounds.

use ensue_login::discovery;
use ensue_login::jose::{Algorithm, KEYS_MAX, KeySet, Token};

/// The token of RFC 7515, appendix A.3, with a changed signature.
const WRONG: &str =
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UifQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

/// Checks one input.
pub(crate) fn check_input(document: &[u8]) {
    let _ = discovery::read(document, "https://id.test", &["keys.test".to_owned()]);
    let Ok(set) = KeySet::read(document) else { return };
    assert!(set.len() + set.left_out().len() <= KEYS_MAX);
    for algorithm in Algorithm::ALL {
        let Some(key) = set.find(None, algorithm) else { continue };
        assert!(key.fits(algorithm) && set.contains(key));
        if let Some(id) = key.id() {
            assert_eq!(set.find(Some(id), algorithm), Some(key), "an id names one key");
        }
        assert!(Token::read(WRONG).expect("it has the form of a token").verify(key).is_err());
    }
}
