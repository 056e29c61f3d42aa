//! Tests which proofs pass, and which are rejected, scheme by scheme.

use std::sync::Arc;

use ensue_engine::catalog::{HmacVerify, SignatureTime, SignedPart, TOLERANCE_SECONDS, TimePlace};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::*;

const BODY: &[u8] = br#"{"action":"opened","number":7,"webhookTimestamp":1800000000000}"#;
const SECONDS: i64 = 1_800_000_000;
const NOW: Timestamp = Timestamp::from_micros(SECONDS * 1_000_000);

fn make_delivery<'a>(headers: &'a [(String, String)], body: &'a [u8]) -> ReceivedDelivery<'a> {
    ReceivedDelivery { headers, body, url: "", method: HookMethod::Post }
}

fn key() -> Secret {
    Secret::new(b"a secret that is long enough".to_vec())
}

/// A key in the form of Standard Webhooks.
fn standard_key() -> Secret {
    Secret::new(format!("whsec_{}", STANDARD.encode(b"a secret that is long enough")).into_bytes())
}

fn key_of(scheme: &Scheme) -> Secret {
    if *scheme == Scheme::Standard { standard_key() } else { key() }
}

fn sample_hmac() -> HmacVerify {
    HmacVerify {
        header: "x-shop-signature".into(),
        algorithm: HmacAlgorithm::Sha256,
        encoding: SignatureEncoding::Hex,
        prefix: String::new(),
        parse: SignatureList::One,
        signed: vec![SignedPart::Body],
        timestamp: None,
        id: None,
        tolerance_seconds: TOLERANCE_SECONDS,
    }
}

fn hmac(algorithm: HmacAlgorithm, encoding: SignatureEncoding, prefix: &str) -> Scheme {
    Scheme::Hmac(Arc::new(HmacVerify { algorithm, encoding, prefix: prefix.into(), ..sample_hmac() }))
}

/// Signs an id, a time in milliseconds and the body.
fn signs_everything() -> Scheme {
    Scheme::Hmac(Arc::new(HmacVerify {
        parse: SignatureList::Commas,
        prefix: "s=".into(),
        signed: vec![SignedPart::Id, SignedPart::Text(":".into()), SignedPart::Timestamp, SignedPart::Text("\n".into()), SignedPart::Body],
        timestamp: Some(SignatureTime { place: TimePlace::Entry("at=".into()), unit: TimeUnit::Milliseconds }),
        id: Some("x-shop-id".into()),
        tolerance_seconds: 60,
        ..sample_hmac()
    }))
}

/// Every scheme that can sign, and whose proof covers the body.
fn signing() -> Vec<Scheme> {
    vec![
        Scheme::Bitbucket,
        Scheme::Dropbox,
        Scheme::Github,
        Scheme::Jira,
        Scheme::Linear,
        Scheme::Meta,
        Scheme::Pagerduty,
        Scheme::Sentry,
        Scheme::Shopify,
        Scheme::Slack,
        Scheme::Standard,
        Scheme::Stripe,
        Scheme::Zoom,
        hmac(HmacAlgorithm::Sha256, SignatureEncoding::Hex, ""),
        hmac(HmacAlgorithm::Sha256, SignatureEncoding::Base64, "v1,"),
        hmac(HmacAlgorithm::Sha512, SignatureEncoding::Hex, "sha512="),
        hmac(HmacAlgorithm::Sha512, SignatureEncoding::Base64Url, ""),
        hmac(HmacAlgorithm::Sha1, SignatureEncoding::Base64, ""),
        signs_everything(),
    ]
}

fn timed_schemes() -> Vec<Scheme> {
    vec![Scheme::Slack, Scheme::Standard, Scheme::Stripe, Scheme::Zoom, signs_everything()]
}

fn tokens() -> Vec<Scheme> {
    vec![Scheme::Gitlab, Scheme::Basic, Scheme::Bearer, Scheme::Header("x-hook-token".into())]
}

fn signed_at(scheme: &Scheme, now: Timestamp) -> Vec<(String, String)> {
    sign(scheme, UnsignedDelivery { body: BODY, id: "d-1", now, url: "", method: HookMethod::Post }, Some(&key_of(scheme))).unwrap()
}

fn sign_now(scheme: &Scheme) -> Vec<(String, String)> {
    signed_at(scheme, NOW)
}

fn check_with_key(scheme: &Scheme, headers: &[(String, String)], body: &[u8]) -> Result<(), SignatureRefusal> {
    check(scheme, make_delivery(headers, body), Some(&key_of(scheme)), NOW)
}

/// Returns the only header that `scheme` adds, for schemes that sign the body alone.
fn only_header(scheme: &Scheme) -> (String, String) {
    let mut headers = sign_now(scheme);
    assert_eq!(headers.len(), 1);
    headers.remove(0)
}

fn header(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

/// GitHub's own worked example (docs.github.com, "Validating webhook deliveries").
#[test]
fn github_s_published_example_passes() {
    let example = header("x-hub-signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
    let secret = Secret::new(b"It's a Secret to Everybody".to_vec());
    assert_eq!(check(&Scheme::Github, make_delivery(&[example], b"Hello, World!"), Some(&secret), NOW), Ok(()));
}

/// Atlassian's own worked example (developer.atlassian.com, "Secure admin webhooks").
#[test]
fn atlassian_s_published_example_passes() {
    let secret = Secret::new(b"It's a Secret to Everybody".to_vec());
    let example = [header("x-hub-signature", "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9")];
    for scheme in [Scheme::Jira, Scheme::Bitbucket] {
        assert_eq!(check(&scheme, make_delivery(&example, b"Hello World!"), Some(&secret), NOW), Ok(()), "{scheme:?}");
        let altered = check(&scheme, make_delivery(&example, b"Hello, World!"), Some(&secret), NOW);
        assert!(matches!(altered, Err(SignatureRefusal::Wrong { .. })), "{scheme:?}: {altered:?}");
    }
}

/// Slack's own worked example (docs.slack.dev, "Verifying requests from Slack").
#[test]
fn slack_s_published_example_passes_at_its_time() {
    let body = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&\
        user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2F\
        T1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let headers = [
        header("x-slack-request-timestamp", "1531420618"),
        header("x-slack-signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
    ];
    let secret = Secret::new(b"8f742231b10e8888abcd99yyyzzz85a5".to_vec());
    let then = Timestamp::from_micros(1_531_420_618_000_000);
    assert_eq!(check(&Scheme::Slack, make_delivery(&headers, body), Some(&secret), then), Ok(()));
    assert!(matches!(check(&Scheme::Slack, make_delivery(&headers, body), Some(&secret), NOW), Err(SignatureRefusal::OutOfTime { .. })));
}

/// The example of the specification of Standard Webhooks.
#[test]
fn published_example_of_standard_webhooks_passes_under_both_header_names() {
    let body = br#"{"test": 2432232314}"#;
    let secret = Secret::new(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_vec());
    let then = Timestamp::from_micros(1_614_265_330_000_000);
    for names in ["webhook", "svix"] {
        let headers = [
            header(&format!("{names}-id"), "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            header(&format!("{names}-timestamp"), "1614265330"),
            header(&format!("{names}-signature"), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ];
        assert_eq!(check(&Scheme::Standard, make_delivery(&headers, body), Some(&secret), then), Ok(()), "{names}");
    }
}

#[test]
fn names_of_standard_webhooks_count_where_those_of_svix_are_there_too() {
    let named = |prefix: &str, headers: Vec<(String, String)>| -> Vec<_> {
        headers.into_iter().map(|(name, value)| (name.replace("webhook-", prefix), value)).collect()
    };
    let right = sign_now(&Scheme::Standard);
    let wrong = [header("webhook-id", "d-2"), header("webhook-timestamp", "1"), header("webhook-signature", "v1,AAAA")].to_vec();
    let both = [named("svix-", wrong.clone()), right.clone()].concat();
    assert_eq!((check_with_key(&Scheme::Standard, &both, BODY), signed_id(&Scheme::Standard, &both)), (Ok(()), Some("d-1")));
    assert_eq!(header_of(&Scheme::Standard, &both), "webhook-signature");
    assert!(check_with_key(&Scheme::Standard, &[named("svix-", right.clone()), wrong].concat(), BODY).is_err());
    let svix = named("svix-", right);
    assert_eq!((check_with_key(&Scheme::Standard, &svix, BODY), header_of(&Scheme::Standard, &svix).as_str()), (Ok(()), "svix-signature"));
}

#[test]
fn valid_proof_passes_with_every_scheme() {
    for scheme in signing().iter().chain(&tokens()) {
        assert_eq!(check_with_key(scheme, &sign_now(scheme), BODY), Ok(()), "{scheme:?}");
    }
}

#[test]
fn body_changed_by_one_byte_is_rejected_by_every_signature() {
    for scheme in signing() {
        for altered in [&br#"{"action":"opened","number":7} "#[..], br#"{"number":7,"action":"opened"}"#, b"", b"{}"] {
            let refusal = check_with_key(&scheme, &sign_now(&scheme), altered).unwrap_err();
            assert!(matches!(refusal, SignatureRefusal::Wrong { .. }), "{scheme:?}: {refusal}");
        }
    }
}

#[test]
fn each_signed_header_counts() {
    for scheme in signing() {
        let headers = sign_now(&scheme);
        for index in 0..headers.len() {
            let mut without = headers.clone();
            let (name, value) = without.remove(index);
            assert_eq!(check_with_key(&scheme, &without, BODY), Err(SignatureRefusal::Missing { header: name.clone() }), "{scheme:?}");
            let mut twice = headers.clone();
            twice.push((name.clone(), value.clone()));
            assert_eq!(check_with_key(&scheme, &twice, BODY), Err(SignatureRefusal::Repeated { header: name, times: 2 }), "{scheme:?}");
            let mut altered = headers.clone();
            altered[index].1 = value.replace(['0', '1', '2', 'a', 'b', 'd'], "7");
            assert!(check_with_key(&scheme, &altered, BODY).is_err(), "{scheme:?}: {altered:?}");
        }
    }
}

#[test]
fn delivery_that_was_signed_too_early_or_too_late_is_rejected() {
    for scheme in timed_schemes() {
        let tolerance = if scheme == signs_everything() { 60 } else { 300 };
        for (offset, passes) in [(0, true), (-tolerance, true), (tolerance, true), (-tolerance - 1, false), (tolerance + 1, false)] {
            let headers = signed_at(&scheme, Timestamp::from_micros((SECONDS + offset) * 1_000_000));
            let outcome = check_with_key(&scheme, &headers, BODY);
            assert_eq!(outcome.is_ok(), passes, "{scheme:?}, {offset} s: {outcome:?}");
            assert!(passes || matches!(outcome, Err(SignatureRefusal::OutOfTime { .. })));
        }
    }
}

#[test]
fn linear_s_time_in_the_body_may_be_a_minute_away_and_must_be_there() {
    let outcome = |body: &str| {
        let unsigned = UnsignedDelivery { body: body.as_bytes(), id: "d-1", now: NOW, url: "", method: HookMethod::Post };
        let headers = sign(&Scheme::Linear, unsigned, Some(&key())).unwrap();
        check_with_key(&Scheme::Linear, &headers, body.as_bytes())
    };
    for (offset, passes) in [(0, true), (-60, true), (60, true), (-61, false), (61, false), (-86_400, false)] {
        let outcome = outcome(&format!(r#"{{"webhookTimestamp":{}}}"#, (SECONDS + offset) * 1_000));
        assert_eq!(outcome.is_ok(), passes, "{offset} s: {outcome:?}");
        assert!(passes || matches!(outcome, Err(SignatureRefusal::OutOfTime { tolerance: 60, .. })), "{offset} s: {outcome:?}");
    }
    for body in [
        r#"{"action":"create"}"#,
        r#"{"webhookTimestamp":null}"#,
        r#"{"webhookTimestamp":"1800000000000"}"#,
        r#"{"webhookTimestamp":1.8e12}"#,
        r#"{"data":{"webhookTimestamp":1800000000000}}"#,
        r#"{"webhookTimestamp":1,"webhookTimestamp":1800000000000}"#,
        "[1800000000000]",
        "webhookTimestamp=1800000000000",
        "",
    ] {
        let refusal = outcome(body).unwrap_err();
        assert!(matches!(&refusal, SignatureRefusal::MalformedPart { part, .. } if part == "webhookTimestamp"), "{body}: {refusal}");
    }
}

#[test]
fn time_that_is_not_a_plain_number_is_rejected_even_if_it_is_signed() {
    for time in ["", "-1800000000", "+1800000000", "1800000000.0", " 1800000000", "18000000000000000000000", "now", "1e9"] {
        let text = format!("v0:{time}:{}", String::from_utf8_lossy(BODY));
        let mac = HmacAlgorithm::Sha256.mac(&[text.as_bytes()], key().reveal());
        let headers = [header("x-slack-request-timestamp", time), header("x-slack-signature", format!("v0={}", hex::encode(mac)))];
        let refusal = check_with_key(&Scheme::Slack, &headers, BODY).unwrap_err();
        assert!(matches!(refusal, SignatureRefusal::Malformed { .. }), "{time}: {refusal}");
    }
}

#[test]
fn one_valid_signature_of_several_is_enough_but_not_of_hundreds() {
    for scheme in [Scheme::Stripe, Scheme::Standard, Scheme::Pagerduty] {
        let mut headers = sign_now(&scheme);
        let last = headers.len() - 1;
        let (separator, wrong) = match scheme {
            Scheme::Standard => (" ", format!("v1,{}", STANDARD.encode([7; 32]))),
            _ => (",", format!("v1={}", "7".repeat(64))),
        };
        let right = headers[last].1.clone();
        headers[last].1 = format!("{wrong}{separator}v0=other{separator}{right}");
        assert_eq!(check_with_key(&scheme, &headers, BODY), Ok(()), "{scheme:?}");
        headers[last].1 = format!("{}{separator}{right}", vec![wrong.clone(); 16].join(separator));
        assert!(matches!(check_with_key(&scheme, &headers, BODY), Err(SignatureRefusal::Malformed { .. })), "{scheme:?}");
        headers[last].1 = right.replace("v1", "v9");
        assert!(matches!(check_with_key(&scheme, &headers, BODY), Err(SignatureRefusal::Malformed { .. })), "{scheme:?}");
    }
}

#[test]
fn stripe_s_time_may_be_there_once() {
    let (name, right) = only_header(&Scheme::Stripe);
    for malformed in [right.replace("t=", "u="), format!("t=1,{right}")] {
        let refusal = check_with_key(&Scheme::Stripe, &[(name.clone(), malformed)], BODY).unwrap_err();
        assert!(matches!(refusal, SignatureRefusal::Malformed { .. }), "{refusal}");
    }
}

#[test]
fn ed25519_signatures_pass_under_the_public_key_alone() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let public = pair.public_key().as_ref().to_vec();
    let time = SECONDS.to_string();
    let discord = Secret::new(hex::encode(&public).into_bytes());
    let text = [time.as_bytes(), BODY].concat();
    let headers = [header("x-signature-timestamp", time.clone()), header("x-signature-ed25519", hex::encode(pair.sign(&text)))];
    assert_eq!(check(&Scheme::Discord, make_delivery(&headers, BODY), Some(&discord), NOW), Ok(()));
    assert!(matches!(check(&Scheme::Discord, make_delivery(&headers, b"{}"), Some(&discord), NOW), Err(SignatureRefusal::Wrong { .. })));

    let standard = Secret::new(format!("whpk_{}", STANDARD.encode(&public)).into_bytes());
    let text = [b"d-1.", time.as_bytes(), b".", BODY].concat();
    let headers = [
        header("webhook-id", "d-1"),
        header("webhook-timestamp", time),
        header("webhook-signature", format!("v1a,{}", STANDARD.encode(pair.sign(&text)))),
    ];
    assert_eq!(check(&Scheme::Standard, make_delivery(&headers, BODY), Some(&standard), NOW), Ok(()));
    for (scheme, key) in [(Scheme::Discord, discord), (Scheme::Standard, standard)] {
        let unsigned = UnsignedDelivery { body: BODY, id: "d-1", now: NOW, url: "", method: HookMethod::Post };
        assert_eq!(sign(&scheme, unsigned, Some(&key)), Err(SignatureRefusal::NoPrivateKey));
    }
}

#[test]
fn key_that_is_not_written_as_its_scheme_wants_it_passes_nothing() {
    for (scheme, key) in [
        (Scheme::Discord, "not hexadecimal digits"),
        (Scheme::Discord, "00112233445566778899aabbccddeeff"),
        (Scheme::Standard, "whsec_not!base64!at!all"),
        (Scheme::Standard, "whpk_AAAAAAAAAAAAAAAAAAAAAA=="),
    ] {
        let key = Secret::new(key.as_bytes().to_vec());
        let refusal = check(&scheme, make_delivery(&[], BODY), Some(&key), NOW).unwrap_err();
        assert!(matches!(refusal, SignatureRefusal::MalformedKey { .. }), "{scheme:?}: {refusal}");
    }
    let short = Secret::new(b"whsec_c2hvcnQga2V5".to_vec());
    assert_eq!(check(&Scheme::Standard, make_delivery(&[], BODY), Some(&short), NOW), Err(SignatureRefusal::ShortKey { bytes: 9 }));
}

#[test]
fn token_passes_only_as_it_is() {
    for scheme in tokens() {
        let (name, right) = only_header(&scheme);
        for wrong in [format!("{right}x"), format!("{right} "), right[..right.len() - 1].to_owned(), String::new(), "Bearer".into()] {
            let refusal = check_with_key(&scheme, &[(name.clone(), wrong.clone())], BODY).unwrap_err();
            let is_refused = matches!(refusal, SignatureRefusal::WrongToken { .. } | SignatureRefusal::Malformed { .. });
            assert!(is_refused, "{scheme:?}, `{wrong}`: {refusal}");
        }
        assert_eq!(check_with_key(&scheme, &[(name, right)], b"any body"), Ok(()), "a token does not cover the body");
    }
    let lower = header("authorization", "bearer a secret that is long enough");
    assert_eq!(check_with_key(&Scheme::Bearer, &[lower], BODY), Ok(()), "the scheme has no case (RFC 9110)");
}

#[test]
fn unsigned_and_sha1_signed_deliveries_are_rejected() {
    let sha1 = header("x-hub-signature", "sha1=0123456789012345678901234567890123456789");
    for headers in [vec![], vec![sha1]] {
        let refusal = check_with_key(&Scheme::Github, &headers, BODY).unwrap_err();
        assert_eq!(refusal, SignatureRefusal::Missing { header: "x-hub-signature-256".into() });
    }
}

#[test]
fn malformed_signature_is_rejected() {
    let (name, right) = only_header(&Scheme::Github);
    let digits = right.strip_prefix("sha256=").unwrap();
    for malformed in [
        String::new(),
        "sha256=".into(),
        digits.into(),
        format!("sha256={}", digits.to_uppercase()),
        format!("SHA256={digits}"),
        format!("sha256={}", &digits[1..]),
        format!("sha256={digits}0"),
        format!("sha256={digits}{digits}"),
        format!("sha256= {digits}"),
        format!("{right}, {right}"),
        format!("sha256={}", "z".repeat(64)),
        format!("sha256={}", "0".repeat(1 << 20)),
    ] {
        let refusal = check_with_key(&Scheme::Github, &[(name.clone(), malformed.clone())], BODY).unwrap_err();
        assert!(matches!(refusal, SignatureRefusal::Malformed { .. }), "{malformed:.80}: {refusal}");
    }
}

#[test]
fn base64_signature_has_one_valid_spelling() {
    let scheme = hmac(HmacAlgorithm::Sha256, SignatureEncoding::Base64, "");
    let (name, right) = only_header(&scheme);
    let unpadded = right.trim_end_matches('=').to_owned();
    let url_safe = STANDARD.encode([0xFB; 32]).replace('+', "-").replace('/', "_");
    for malformed in [unpadded, url_safe, format!("{right}\n"), format!("v1,{right}")] {
        let refusal = check_with_key(&scheme, &[(name.clone(), malformed.clone())], BODY).unwrap_err();
        assert!(matches!(refusal, SignatureRefusal::Malformed { .. }), "{malformed}: {refusal}");
    }
}

#[test]
fn missing_or_short_key_passes_nothing_and_signs_nothing() {
    let with_empty_key = {
        let mac = HmacAlgorithm::Sha256.mac(&[BODY], b"");
        header("x-hub-signature-256", format!("sha256={}", hex::encode(mac)))
    };
    let short = Secret::new(b"only15byteslong".to_vec());
    for (key, refusal) in [
        (None, SignatureRefusal::NoKey),
        (Some(Secret::new(Vec::new())), SignatureRefusal::ShortKey { bytes: 0 }),
        (Some(short), SignatureRefusal::ShortKey { bytes: 15 }),
    ] {
        let headers = [with_empty_key.clone()];
        assert_eq!(check(&Scheme::Github, make_delivery(&headers, BODY), key.as_ref(), NOW), Err(refusal.clone()));
        assert_eq!(
            sign(&Scheme::Github, UnsignedDelivery { body: BODY, id: "d-1", now: NOW, url: "", method: HookMethod::Post }, key.as_ref()),
            Err(refusal)
        );
    }
}

#[test]
fn only_a_signed_id_tells_deliveries_with_the_same_body_apart() {
    assert_eq!(signed_id(&Scheme::Standard, &sign_now(&Scheme::Standard)), Some("d-1"));
    assert_eq!(signed_id(&signs_everything(), &sign_now(&signs_everything())), Some("d-1"));
    assert_eq!(signed_id(&Scheme::Github, &[header("x-github-delivery", "d-1")]), None);
}
