//! Twilio's signature: of the public URL and the fields of a form, or of a URL with the hash of any other body.

use std::borrow::Cow;
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ensue_content::decode_part;
use ensue_engine::catalog::Invalid;
use ring::{digest, hmac};

use super::{ReceivedDelivery, SignatureRefusal, equal, only};
use crate::forms;
use crate::schemes::TWILIO_HEADER as HEADER;

/// The parameter of the URL with the hash of a body that is not a form.
const BODY_HASH: &str = "bodySHA256";
/// The ports that a URL may leave out, by scheme.
const DEFAULT_PORTS: [(&str, &str); 2] = [("https://", ":443"), ("http://", ":80")];

/// Checks a signature.
pub(crate) fn check(delivered: ReceivedDelivery<'_>, key: &[u8]) -> Result<(), SignatureRefusal> {
    let header = only(delivered.headers, HEADER)?;
    let malformed = || SignatureRefusal::Malformed { header: HEADER.to_owned(), form: "the base64 of 20 bytes".to_owned() };
    let claimed = STANDARD.decode(header).ok().filter(|bytes| bytes.len() == 20).ok_or_else(malformed)?;
    let wrong = || SignatureRefusal::Wrong { header: HEADER.to_owned() };
    let fields = signed_fields(delivered).ok_or_else(wrong)?;
    // The sender may or may not write the port that its scheme implies.
    let is_signed = spellings(delivered.url).iter().any(|url| equal(&claimed, mac(url, &fields, key).as_ref(), key));
    if is_signed { Ok(()) } else { Err(wrong()) }
}

/// Returns the signature of a delivery with a body that is not a form, whose URL has [`BODY_HASH`].
pub(crate) fn sign(url: &str, key: &[u8]) -> String {
    STANDARD.encode(mac(url, "", key))
}

/// Returns the parameter of the URL for a body that is not a form, name and value.
pub(crate) fn body_hash(body: &[u8]) -> (&'static str, String) {
    (BODY_HASH, hex::encode(digest::digest(&digest::SHA256, body)))
}

/// Returns the signed fields of a delivery, or `None` if the body is not what the URL says.
fn signed_fields(delivered: ReceivedDelivery<'_>) -> Option<String> {
    let query = delivered.url.split_once('?').map_or("", |(_, query)| query);
    let hash = query.split('&').find_map(|pair| pair.strip_prefix(BODY_HASH)?.strip_prefix('='));
    if let Some(hash) = hash {
        let (_, actual) = body_hash(delivered.body);
        return hash.eq_ignore_ascii_case(&actual).then(String::new);
    }
    if delivered.body.is_empty() {
        return Some(String::new());
    }
    let is_form = delivered.headers.iter().any(|(name, value)| {
        name == "content-type"
            && value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
    });
    if !is_form {
        return None;
    }
    let fields = forms::pairs(delivered.body, |bytes| decode_part(bytes, None, Invalid::Reject)).ok()?;
    let fields: BTreeSet<(String, String)> = fields.into_iter().collect();
    Some(fields.into_iter().map(|(name, value)| name + &value).collect())
}

fn spellings(url: &str) -> Vec<Cow<'_, str>> {
    let mut spellings = vec![Cow::Borrowed(url)];
    for (scheme, port) in DEFAULT_PORTS {
        let Some(rest) = url.strip_prefix(scheme) else { continue };
        let (host, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let other = match host.strip_suffix(port) {
            Some(host) => format!("{scheme}{host}{target}"),
            None => format!("{scheme}{host}{port}{target}"),
        };
        spellings.push(Cow::Owned(other));
    }
    spellings
}

fn mac(url: &str, fields: &str, key: &[u8]) -> hmac::Tag {
    let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key));
    mac.update(url.as_bytes());
    mac.update(fields.as_bytes());
    mac.sign()
}

#[cfg(test)]
mod tests {
    use ensue_engine::catalog::HookMethod;

    use super::*;

    // The example of Twilio's documentation.
    const URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";
    const FORM: &[u8] = b"CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212";
    const KEY: &[u8] = b"12345";
    const SIGNATURE: &str = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";

    fn headers(content_type: &str, signature: &str) -> Vec<(String, String)> {
        vec![("content-type".into(), content_type.into()), (HEADER.into(), signature.into())]
    }

    fn check_signature(url: &str, content_type: &str, body: &[u8], signature: &str) -> Result<(), SignatureRefusal> {
        check(ReceivedDelivery { headers: &headers(content_type, signature), body, url, method: HookMethod::Post }, KEY)
    }

    const IS_FORM: &str = "application/x-www-form-urlencoded";

    #[test]
    fn example_of_the_documentation_passes_and_nothing_altered_does() {
        assert_eq!(check_signature(URL, IS_FORM, FORM, SIGNATURE), Ok(()));
        let wrong = Err(SignatureRefusal::Wrong { header: HEADER.into() });
        assert_eq!(check_signature(URL, IS_FORM, &FORM[..FORM.len() - 1], SIGNATURE), wrong);
        assert_eq!(check_signature(&URL.replace("bar=2", "bar=3"), IS_FORM, FORM, SIGNATURE), wrong);
        assert_eq!(check_signature(URL, "application/json", FORM, SIGNATURE), wrong);
        assert_eq!(check_signature(URL, IS_FORM, b"", SIGNATURE), wrong);
        assert!(matches!(check_signature(URL, IS_FORM, FORM, "RSOYDt4T"), Err(SignatureRefusal::Malformed { .. })));
    }

    #[test]
    fn message_that_begins_with_a_byte_order_mark_is_signed_with_it() {
        let form = b"Body=%EF%BB%BFhello&From=%2B14158675309";
        assert_eq!(check_signature(URL, IS_FORM, form, "0TGILv55T6/M5oYbooiqDpll//k="), Ok(()));
        assert!(check_signature(URL, IS_FORM, b"Body=hello&From=%2B14158675309", "0TGILv55T6/M5oYbooiqDpll//k=").is_err());
    }

    #[test]
    fn port_that_the_scheme_implies_may_be_written_or_left_out() {
        let with_port = URL.replace("mycompany.com/", "mycompany.com:443/");
        assert_eq!(check_signature(&with_port, IS_FORM, FORM, SIGNATURE), Ok(()));
        let other_port = URL.replace("mycompany.com/", "mycompany.com:8443/");
        assert!(check_signature(&other_port, IS_FORM, FORM, SIGNATURE).is_err());
    }

    #[test]
    fn body_that_is_not_a_form_is_signed_by_its_hash_in_the_url() {
        let body = br#"{"a":1}"#;
        let (name, hash) = body_hash(body);
        let url = format!("https://example.test/hooks/sms/in?{name}={hash}");
        let signature = sign(&url, KEY);
        assert_eq!(check_signature(&url, "application/json", body, &signature), Ok(()));
        for (content_type, body) in [("application/json", &b"{}"[..]), (IS_FORM, b""), (IS_FORM, b"a=1")] {
            assert!(check_signature(&url, content_type, body, &signature).is_err(), "{content_type}");
        }
        let unhashed = "https://example.test/hooks/sms/in";
        assert!(check_signature(unhashed, "application/json", body, &sign(unhashed, KEY)).is_err());
    }
}
