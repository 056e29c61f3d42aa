//! When the keys of an issuer are fetched, on simulated time, and which of them are used.

use std::sync::Arc;
use std::time::Duration;

use ensue_engine::explain::Explain;
use ensue_login::discovery::{self, DiscoveryError};
use ensue_login::fetch::{FETCH_BYTES_MAX, FetchError, HostBy, Response};
use ensue_login::flow::LoginRandom;
use ensue_login::jose::{KeyFault, KeySet, KeySetError, TokenFault};
use ensue_login::{Issuers, Refusal, WAITING_MAX};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{ISSUER, NOW, Signer, Web, at, claims_with, corp, encode, issuers, now, ok, settings};

const HOUR: i64 = 3600;

/// Admits a token that is valid at `seconds`.
fn admit(issuers: &Issuers, signer: &Signer, seconds: i64, web: &Web) -> Result<ensue_login::IssuerIdentity, Refusal> {
    issuers.admit(&token(signer, seconds), at(seconds), web)
}

fn token(signer: &Signer, seconds: i64) -> String {
    signer.token(&claims_with(&json!({ "iat": seconds, "exp": seconds + 600 })))
}

fn unknown_key() -> Refusal {
    Refusal::TokenInvalid(TokenFault::UnknownKey)
}

#[test]
fn first_token_fetches_the_discovery_document_and_the_keys_once() {
    let (web, corp) = (Web::new(), corp());
    assert_eq!(web.requests(), 0);
    for _ in 0..5 {
        admit(&corp, &Signer::es256(), NOW, &web).unwrap();
        admit(&corp, &Signer::rs256(), NOW + 1, &web).unwrap();
    }
    assert_eq!(web.requests(), 2);
}

#[test]
fn ten_thousand_random_key_ids_in_a_minute_cause_at_most_three_requests() {
    let (web, corp) = (Web::new(), corp());
    let signer = Signer::ed_dsa();
    for n in 0..10_000_i64 {
        let seconds = NOW + n * 60 / 10_000;
        let header = json!({ "alg": "EdDSA", "kid": format!("random-{n}") }).to_string();
        let token = signer.sign(&header, &claims_with(&json!({ "exp": seconds + 600 })).to_string());
        assert_eq!(corp.admit(&token, at(seconds), &web).unwrap_err(), unknown_key());
    }
    assert!(web.requests() <= 3, "{} requests", web.requests());
}

#[test]
fn new_key_is_found_when_a_token_names_it() {
    let web = Web::with_keys(&[Signer::rs256().public_jwk()]);
    let corp = corp();
    admit(&corp, &Signer::rs256(), NOW, &web).unwrap();
    web.publish(&[Signer::rs256().public_jwk(), Signer::es256().public_jwk()]);
    assert_eq!(admit(&corp, &Signer::es256(), NOW + 29, &web).unwrap_err(), unknown_key());
    assert_eq!(web.requests(), 2, "the issuer was asked less than 30 s ago");
    admit(&corp, &Signer::es256(), NOW + 30, &web).unwrap();
    assert_eq!(web.requests(), 3, "the discovery document is not asked for again");
}

#[test]
fn callers_wait_for_one_fetch_together() {
    let web = Web::new().slow(Duration::from_millis(50));
    let corp = corp();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..32)
            .map(|n| {
                let (web, corp) = (&web, &corp);
                scope.spawn(move || admit(corp, &Signer::all()[n % 5], NOW, web))
            })
            .collect();
        for caller in callers {
            caller.join().unwrap().unwrap();
        }
    });
    assert_eq!(web.requests(), 2);
}

#[test]
fn keys_are_refreshed_in_the_background_only_if_they_are_used() {
    let (web, corp) = (Web::new(), corp());
    corp.refresh(now(), &web);
    assert_eq!(web.requests(), 0, "nothing is fetched before the first use");
    admit(&corp, &Signer::es256(), NOW, &web).unwrap();
    corp.refresh(at(NOW + 899), &web);
    assert_eq!(web.requests(), 2);
    admit(&corp, &Signer::es256(), NOW + 900, &web).unwrap();
    assert_eq!(web.requests(), 2, "a request does not wait for a refresh");
    corp.refresh(at(NOW + 900), &web);
    assert_eq!(web.requests(), 3);
    corp.refresh(at(NOW + 2 * HOUR), &web);
    assert_eq!(web.requests(), 3, "nobody used the keys since");
}

/// Publishes keys with a header `Cache-Control`.
fn publish_saying(web: &Web, cache_control: &str, keys: &[Value]) {
    let cache_control = Some(cache_control.to_owned());
    let response = Response { status: 200, cache_control, body: json!({ "keys": keys }).to_string().into() };
    web.answer(&format!("{ISSUER}/keys"), Ok(response));
}

#[test]
fn withdrawn_key_is_refused_by_the_first_use_after_a_long_pause() {
    let text = token(&Signer::es256(), NOW);
    for pause in [60, 500, 20 * HOUR] {
        let (web, corp) = (Web::new(), corp());
        publish_saying(&web, "max-age=60", &[Signer::es256().public_jwk()]);
        corp.admit(&text, now(), &web).unwrap();
        corp.refresh(at(NOW + 60), &web);
        publish_saying(&web, "max-age=60", &[Signer::rs256().public_jwk()]);
        let seconds = NOW + 60 + pause;
        corp.refresh(at(seconds), &web);
        assert_eq!(web.requests(), 3, "nobody used the keys since");
        assert!(corp.find_checked(&text, at(seconds)).is_none(), "nor does a token count that was checked before");
        assert_eq!(admit(&corp, &Signer::es256(), seconds, &web).unwrap_err(), unknown_key());
        admit(&corp, &Signer::rs256(), seconds, &web).unwrap();
    }
}

#[test]
fn callers_wait_for_one_fetch_together_after_a_long_pause() {
    let web = Web::new().slow(Duration::from_millis(50));
    let corp = corp();
    admit(&corp, &Signer::es256(), NOW, &web).unwrap();
    corp.refresh(at(NOW + 900), &web);
    web.publish(&[Signer::rs256().public_jwk()]);
    let requests = web.requests();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..32).map(|_| scope.spawn(|| admit(&corp, &Signer::es256(), NOW + 1_800, &web))).collect();
        for caller in callers {
            assert_eq!(caller.join().unwrap().unwrap_err(), unknown_key());
        }
    });
    assert_eq!(web.requests(), requests + 1);
}

#[test]
fn keys_hold_after_a_long_pause_if_the_issuer_does_not_answer_and_only_the_first_caller_waits() {
    let (web, corp) = (Web::new(), corp());
    admit(&corp, &Signer::es256(), NOW, &web).unwrap();
    corp.refresh(at(NOW + 900), &web);
    web.answer(&format!("{ISSUER}/keys"), Err(FetchError::Timeout));
    let noon = NOW + 20 * HOUR;
    let requests = web.requests();
    admit(&corp, &Signer::es256(), noon, &web).unwrap();
    let after = web.requests();
    assert!(after > requests, "it was asked first");
    for seconds in [1, 29, 31, 600] {
        admit(&corp, &Signer::es256(), noon + seconds, &web).unwrap();
    }
    assert_eq!(web.requests(), after, "it is asked again in the background");
    corp.refresh(at(noon + 600), &web);
    assert!(web.requests() > after);
    let refusal = admit(&corp, &Signer::es256(), NOW + 900 + 24 * HOUR, &web).unwrap_err();
    assert_eq!(refusal.slug(), "issuer-unavailable");
}

#[test]
fn age_that_the_issuer_allows_is_honored_within_bounds() {
    for (cache_control, refreshed_at) in [
        ("max-age=1800", 1800),
        ("max-age=40", 40),
        ("max-age=1", 30),
        ("no-store", 30),
        ("max-age=999999999", 86_400 - 1),
        ("max-age=nonsense", 900),
    ] {
        let (web, corp) = (Web::new(), corp());
        let keys: Vec<Value> = Signer::all().iter().map(Signer::public_jwk).collect();
        publish_saying(&web, cache_control, &keys);
        admit(&corp, &Signer::es256(), NOW, &web).unwrap();
        admit(&corp, &Signer::es256(), NOW + 1, &web).unwrap();
        corp.refresh(at(NOW + refreshed_at - 1), &web);
        assert_eq!(web.requests(), 2, "{cache_control}");
        corp.refresh(at(NOW + refreshed_at + 1), &web);
        assert!(web.requests() > 2, "{cache_control}");
    }
}

#[test]
fn key_that_is_no_longer_published_is_refused_from_the_next_fetch_on_even_for_a_checked_token() {
    let (web, corp) = (Web::new(), corp());
    let text = token(&Signer::es256(), NOW);
    corp.admit(&text, now(), &web).unwrap();
    web.publish(&[Signer::rs256().public_jwk()]);
    corp.admit(&text, at(NOW + 40), &web).unwrap();
    assert_eq!(admit(&corp, &Signer::stranger("new"), NOW + 41, &web).unwrap_err(), unknown_key());
    assert_eq!(corp.admit(&text, at(NOW + 42), &web).unwrap_err(), unknown_key());
    admit(&corp, &Signer::rs256(), NOW + 43, &web).unwrap();
}

#[test]
fn keys_hold_for_a_day_while_the_issuer_fails_and_then_only_this_issuer_is_unavailable() {
    let mut second = settings();
    second["issuer"] = json!("https://other.example.test");
    second["keys_from"] = json!({ "file": "/etc/ensue/keys.json" });
    let both = issuers(&[("corp", settings()), ("other", second)]);
    let web = Web::new();
    web.answer("/etc/ensue/keys.json", ok(json!({ "keys": [Signer::es256().public_jwk()] }).to_string()));
    admit(&both, &Signer::es256(), NOW, &web).unwrap();
    let failures = [
        Err(FetchError::Timeout),
        Err(FetchError::TooLarge),
        Err(FetchError::Unreachable("connection refused".to_owned())),
        Ok(Response { status: 500, cache_control: None, body: Vec::new() }),
        Ok(Response { status: 302, cache_control: None, body: Vec::new() }),
        ok("<html>"),
        ok("{}"),
        ok(vec![b' '; FETCH_BYTES_MAX + 1]),
    ];
    for (n, failure) in (1_i64..).zip(failures) {
        web.answer(&format!("{ISSUER}/keys"), failure);
        let seconds = NOW + n * HOUR;
        admit(&both, &Signer::es256(), seconds, &web).unwrap();
        let requests = web.requests();
        both.refresh(at(seconds), &web);
        assert!(web.requests() > requests);
        admit(&both, &Signer::es256(), seconds + 1, &web).unwrap();
        assert_eq!(both.troubles().len(), 1);
    }
    admit(&both, &Signer::es256(), NOW + 24 * HOUR - 1, &web).unwrap();
    let refusal = admit(&both, &Signer::es256(), NOW + 24 * HOUR, &web).unwrap_err();
    assert!(matches!(&refusal, Refusal::IssuerUnavailable { issuer, .. } if issuer.as_str() == "corp"), "{refusal:?}");
    assert_eq!(refusal.slug(), "issuer-unavailable");
    let requests = web.requests();
    assert!(matches!(admit(&both, &Signer::es256(), NOW + 24 * HOUR + 1, &web), Err(Refusal::IssuerUnavailable { .. })));
    assert_eq!(web.requests(), requests, "the issuer was asked a second ago");
    let elsewhere = claims_with(&json!({ "iss": "https://other.example.test", "iat": NOW + 24 * HOUR, "exp": NOW + 24 * HOUR + 60 }));
    both.admit(&Signer::es256().token(&elsewhere), at(NOW + 24 * HOUR), &web).unwrap();

    web.publish(&[Signer::es256().public_jwk()]);
    admit(&both, &Signer::es256(), NOW + 24 * HOUR + 31, &web).unwrap();
    assert!(both.troubles().is_empty());
}

#[test]
fn issuer_that_never_answered_is_unavailable_and_asked_again_after_thirty_seconds() {
    let (web, corp) = (Web::default(), corp());
    for (seconds, requests) in [(0, 1), (1, 1), (29, 1), (30, 2), (59, 2), (60, 3)] {
        let refusal = admit(&corp, &Signer::es256(), NOW + seconds, &web).unwrap_err();
        assert!(refusal.to_string().contains("there is no such host"), "{refusal}");
        assert_eq!(web.requests(), requests, "after {seconds} s");
    }
}

#[test]
fn clock_that_was_set_back_does_not_block_fetches() {
    let (web, corp) = (Web::default(), corp());
    assert!(admit(&corp, &Signer::es256(), NOW + HOUR, &web).is_err());
    assert!(admit(&corp, &Signer::es256(), NOW, &web).is_err());
    assert_eq!(web.requests(), 2);
}

#[test]
fn port_that_panics_wakes_those_who_wait() {
    struct Panics;
    impl ensue_login::Fetch for Panics {
        fn fetch(&self, _: &ensue_login::fetch::Request) -> Result<Response, FetchError> {
            std::thread::sleep(Duration::from_millis(50));
            panic!("the port fails");
        }

        fn read(&self, _: &std::path::Path) -> Result<Vec<u8>, FetchError> {
            Err(FetchError::Timeout)
        }
    }
    let corp = Arc::new(corp());
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let corp = Arc::clone(&corp);
            std::thread::spawn(move || corp.admit(&token(&Signer::es256(), NOW), now(), &Panics).unwrap_err())
        })
        .collect();
    let ends: Vec<_> = callers.into_iter().map(std::thread::JoinHandle::join).collect();
    assert_eq!(ends.iter().filter(|end| end.is_err()).count(), 1, "only the one that fetched panics");
    assert!(ends.iter().flatten().all(|refusal| matches!(refusal, Refusal::IssuerUnavailable { .. })));
}

#[test]
fn checked_token_costs_no_signature_and_expires() {
    let (web, corp) = (Web::new(), corp());
    let text = token(&Signer::rs256(), NOW);
    for seconds in [0, 1, 599, 629] {
        corp.admit(&text, at(NOW + seconds), &web).unwrap();
    }
    assert!(matches!(corp.admit(&text, at(NOW + 630), &web), Err(Refusal::TokenExpired { .. })));
    assert_eq!(web.requests(), 2);
}

fn read(keys: &Value) -> KeySet {
    KeySet::read(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn key_with_member(signer: &Signer, member: &str, value: Value) -> Value {
    let mut key = signer.public_jwk();
    match value {
        Value::Null => drop(key.as_object_mut().unwrap().remove(member)),
        value => key[member] = value,
    }
    key
}

#[test]
fn each_key_that_cannot_be_used_is_left_out_with_its_reason() {
    let (rsa, ec, ed) = (Signer::rs256(), Signer::es256(), Signer::ed_dsa());
    // 1024 and 9000 bits.
    let short = encode([&[0xff_u8; 127][..], &[1]].concat());
    let long = encode([&[0xff_u8; 1124][..], &[1]].concat());
    let mut even = vec![0xff_u8; 256];
    even[255] = 2;
    let cases = [
        (json!(5), KeyFault::Malformed("kty")),
        (json!({}), KeyFault::Malformed("kty")),
        (json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "x" }), KeyFault::Symmetric),
        (key_with_member(&ec, "use", json!("enc")), KeyFault::OtherUse),
        (key_with_member(&ec, "use", json!(5)), KeyFault::Malformed("use")),
        (key_with_member(&ec, "key_ops", json!(["encrypt"])), KeyFault::OtherUse),
        (key_with_member(&ec, "key_ops", json!("verify")), KeyFault::Malformed("key_ops")),
        (key_with_member(&ec, "alg", json!("ES384")), KeyFault::WrongAlgorithm),
        (key_with_member(&ec, "alg", json!("HS256")), KeyFault::WrongAlgorithm),
        (key_with_member(&rsa, "alg", json!("RS512")), KeyFault::WrongAlgorithm),
        (key_with_member(&rsa, "alg", json!("none")), KeyFault::WrongAlgorithm),
        (key_with_member(&ec, "crv", json!("secp256k1")), KeyFault::Unsupported),
        (key_with_member(&ed, "crv", json!("X25519")), KeyFault::Unsupported),
        (key_with_member(&ec, "kty", json!("RSA")), KeyFault::Unsupported),
        (key_with_member(&ec, "x", json!("AQAB")), KeyFault::Malformed("x")),
        (key_with_member(&ec, "y", Value::Null), KeyFault::Malformed("y")),
        (key_with_member(&ed, "x", json!("AQ")), KeyFault::Malformed("x")),
        (key_with_member(&ed, "x", json!("not base64!")), KeyFault::Malformed("x")),
        (key_with_member(&rsa, "n", json!(short)), KeyFault::Length { bits: 1024 }),
        (key_with_member(&rsa, "n", json!(long)), KeyFault::Length { bits: 9000 }),
        (key_with_member(&rsa, "n", json!("")), KeyFault::Length { bits: 0 }),
        (key_with_member(&rsa, "n", json!(encode(even))), KeyFault::Malformed("n")),
        (key_with_member(&rsa, "e", json!(encode([2]))), KeyFault::Exponent),
        (key_with_member(&rsa, "e", json!(encode([1]))), KeyFault::Exponent),
        (key_with_member(&rsa, "e", json!("")), KeyFault::Exponent),
        (key_with_member(&rsa, "e", json!(encode([0xff; 40]))), KeyFault::Exponent),
        (key_with_member(&rsa, "d", json!("AQAB")), KeyFault::Published),
        (key_with_member(&ec, "kid", json!(5)), KeyFault::Malformed("kid")),
    ];
    for (key, fault) in cases {
        let set = read(&json!([key]));
        assert!(set.is_empty(), "{key}");
        assert_eq!(set.left_out().iter().map(|left| left.fault.clone()).collect::<Vec<_>>(), [fault], "{key}");
    }
    assert_eq!(read(&json!([key_with_member(&rsa, "n", json!("")), ec.public_jwk(), ed.public_jwk()])).len(), 2, "the others are used");
}

#[test]
fn two_keys_with_one_id_are_both_left_out_and_the_same_key_twice_is_one() {
    let (rsa, ec) = (Signer::rs256(), Signer::es256());
    let set = read(&json!([rsa.public_jwk(), key_with_member(&ec, "kid", json!("rsa")), Signer::ed_dsa().public_jwk()]));
    assert_eq!((set.len(), set.left_out().len()), (1, 2));
    assert!(set.left_out().iter().all(|left| left.fault == KeyFault::SameId));
    assert_eq!(read(&json!([rsa.public_jwk(), rsa.public_jwk()])).len(), 1);
    let (web, corp) = (Web::with_keys(&[rsa.public_jwk(), json!({ "kty": "oct", "k": "AA" })]), corp());
    admit(&corp, &rsa, NOW, &web).unwrap();
    let left_out = corp.keys_left_out();
    assert_eq!((left_out.len(), left_out[0].0.as_str(), left_out[0].1.index), (1, "corp", 1));
    // A key for encryption is no second key for signatures.
    let set = read(&json!([rsa.public_jwk(), key_with_member(&Signer::es256().with_id("rsa"), "use", json!("enc"))]));
    assert_eq!(set.len(), 1);
}

#[test]
fn token_without_a_key_id_needs_exactly_one_key_that_fits() {
    let ec = Signer::es256();
    let without = |keys: &[Value]| {
        let token = ec.sign(r#"{"alg":"ES256"}"#, &claims_with(&json!({})).to_string());
        corp().admit(&token, now(), &Web::with_keys(keys))
    };
    without(&[ec.public_jwk(), Signer::rs256().public_jwk()]).unwrap();
    without(&[key_with_member(&ec, "kid", Value::Null)]).unwrap();
    let other = Signer::stranger("other").public_jwk();
    assert_eq!(without(&[ec.public_jwk(), other]).unwrap_err(), unknown_key());
    assert_eq!(without(&[Signer::rs256().public_jwk()]).unwrap_err(), unknown_key());
}

#[test]
fn leading_zero_of_an_rsa_modulus_is_tolerated() {
    use base64::Engine as _;
    let rsa = Signer::rs256();
    let mut modulus = vec![0];
    modulus.extend(base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(rsa.public_jwk()["n"].as_str().unwrap()).unwrap());
    let web = Web::with_keys(&[key_with_member(&rsa, "n", json!(encode(modulus)))]);
    admit(&corp(), &rsa, NOW, &web).unwrap();
}

#[test]
fn set_that_is_too_large_or_is_no_set_is_refused_as_a_whole() {
    let key = Signer::es256().public_jwk();
    let keys = |count: usize| KeySet::read(json!({ "keys": vec![&key; count] }).to_string().as_bytes());
    assert_eq!(keys(100).unwrap().len(), 1);
    assert_eq!(keys(101).unwrap_err(), KeySetError::TooMany(101));
    for text in ["{}", "[]", "5", r#"{"keys":{}}"#, r#"{"keys":null}"#] {
        assert_eq!(KeySet::read(text.as_bytes()).unwrap_err(), KeySetError::NoKeys, "{text}");
    }
    for text in ["", "keys", r#"{"keys":[]"#, r#"{"keys":[],"keys":[]}"#] {
        assert!(matches!(KeySet::read(text.as_bytes()), Err(KeySetError::NotJson(_))), "{text}");
    }
}

#[test]
fn discovery_document_must_be_that_of_the_issuer_with_keys_on_its_host() {
    let document = |changes: &Value| {
        let mut document = json!({ "issuer": ISSUER, "jwks_uri": "https://id.example.test/keys" });
        for (name, value) in changes.as_object().unwrap() {
            document[name] = value.clone();
        }
        discovery::read(document.to_string().as_bytes(), ISSUER, &["keys.example.test".to_owned()])
    };
    document(&json!({})).unwrap();
    document(&json!({ "jwks_uri": "https://keys.example.test/v1", "authorization_endpoint": "https://login.example.test/a" })).unwrap();
    for issuer in ["https://id.example.test/realms/corp/", "https://id.example.test/realms/CORP", "http://id.example.test/realms/corp"] {
        assert!(matches!(document(&json!({ "issuer": issuer })), Err(DiscoveryError::OtherIssuer { .. })), "{issuer}");
    }
    for (change, error) in [
        (json!({ "issuer": null }), DiscoveryError::Malformed("issuer")),
        (json!({ "jwks_uri": 5 }), DiscoveryError::Malformed("jwks_uri")),
        (json!({ "jwks_uri": "keys" }), DiscoveryError::Malformed("jwks_uri")),
        (json!({ "jwks_uri": "http://id.example.test/keys" }), DiscoveryError::Unprotected("jwks_uri")),
        (json!({ "jwks_uri": "file:///etc/keys" }), DiscoveryError::Unprotected("jwks_uri")),
        (json!({ "jwks_uri": "https://evil.example.test/keys" }), DiscoveryError::OtherHost { host: "evil.example.test".to_owned() }),
        (json!({ "token_endpoint": "http://id.example.test/token" }), DiscoveryError::Unprotected("token_endpoint")),
        (json!({ "code_challenge_methods_supported": ["plain"] }), DiscoveryError::Unsupported("PKCE with S256")),
    ] {
        assert_eq!(document(&change).unwrap_err(), error, "{change}");
    }
    assert_eq!(discovery::read(b"<html>", ISSUER, &[]).unwrap_err(), DiscoveryError::NotJson);
}

#[test]
fn secrets_go_unencrypted_only_to_an_issuer_configured_on_this_machine() {
    let read = |issuer: &str, endpoint: &str| {
        let document = json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys"), "token_endpoint": endpoint });
        discovery::read(document.to_string().as_bytes(), issuer, &[])
    };
    let local = "http://127.0.0.1:8080/realms/corp";
    read(local, "http://127.0.0.1:8080/token").unwrap();
    read(local, "https://id.example.test/token").unwrap();
    for (issuer, endpoint) in [
        (ISSUER, "http://127.0.0.1:8080/token"),
        (ISSUER, "http://localhost/token"),
        (ISSUER, "http://[::1]/token"),
        (local, "http://127.0.0.1:8081/token"),
        (local, "http://127.0.0.2:8080/token"),
        (local, "http://localhost:8080/token"),
        (local, "http://id.example.test/token"),
    ] {
        assert_eq!(read(issuer, endpoint).unwrap_err(), DiscoveryError::Unprotected("token_endpoint"), "{issuer}: {endpoint}");
    }
}

#[test]
fn request_says_whether_the_operator_named_its_host() {
    struct Hosts(std::sync::Mutex<Vec<HostBy>>, Web);
    impl ensue_login::Fetch for Hosts {
        fn fetch(&self, request: &ensue_login::fetch::Request) -> Result<Response, FetchError> {
            self.0.lock().unwrap().push(request.host_by);
            self.1.fetch(request)
        }

        fn read(&self, file: &std::path::Path) -> Result<Vec<u8>, FetchError> {
            self.1.read(file)
        }
    }
    let mut settings = settings();
    settings["use"] = json!(["browser", "bearer"]);
    settings["client_id"] = json!("ensue");
    let corp = issuers(&[("corp", settings)]);
    let web = Web::new();
    let document = json!({
        "issuer": ISSUER, "jwks_uri": format!("{ISSUER}/keys"),
        "authorization_endpoint": format!("{ISSUER}/auth"), "token_endpoint": "https://10.0.0.5/token",
    });
    web.answer(&format!("{ISSUER}/.well-known/openid-configuration"), ok(document.to_string()));
    let hosts = Hosts(std::sync::Mutex::default(), web);
    let name = "corp".parse().unwrap();
    let random = LoginRandom { state: [1; 16], nonce: [2; 16], verifier: [3; 32] };
    let started = corp.start_login(&name, &"https://ensue.example.test/cb".parse().unwrap(), &random, now(), &hosts).unwrap();
    let state = started.url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let finished = corp.finish_login(&name, started.pending, &format!("code=x&state={state}"), None, now(), &hosts);
    assert!(finished.is_err());
    assert_eq!(*hosts.0.lock().unwrap(), [HostBy::Operator, HostBy::Operator, HostBy::Issuer]);
}

#[test]
fn callers_that_wait_for_a_fetch_are_limited_and_the_others_answered_at_once() {
    let web = Web::new().slow(Duration::from_millis(300));
    let corp = corp();
    let (served, turned_away) = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..WAITING_MAX + 20).map(|_| scope.spawn(|| admit(&corp, &Signer::es256(), NOW, &web))).collect();
        let ends: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
        let away = ends.iter().flat_map(|end| end.as_ref().err()).filter(|refusal| refusal.to_string().contains("too many requests"));
        (ends.iter().filter(|end| end.is_ok()).count(), away.count())
    });
    assert_eq!((served, turned_away), (WAITING_MAX + 1, 19));
    admit(&corp, &Signer::es256(), NOW, &web).unwrap();
}

proptest! {
    /// No document makes the readers panic, and a set never has more keys than the document.
    #[test]
    fn any_document_is_read_or_refused(text in r#"[{}\[\]":,a-z0-9]{0,80}"#) {
        let _ = KeySet::read(text.as_bytes());
        let _ = discovery::read(text.as_bytes(), ISSUER, &[]);
    }

    /// However requests and failures are spread over time, the issuer is never asked twice within 30 s.
    #[test]
    fn issuer_is_never_asked_twice_within_thirty_seconds(steps in prop::collection::vec((0..40_i64, any::<bool>(), 0..3_u8), 1..60)) {
        let web = Web::new();
        let corp = corp();
        let (mut seconds, mut asked) = (NOW, None::<i64>);
        for (pause, is_up, what) in steps {
            seconds += pause;
            if is_up {
                web.publish(&[Signer::es256().public_jwk()]);
            } else {
                web.answer(&format!("{ISSUER}/keys"), Err(FetchError::Timeout));
            }
            let before = web.requests();
            match what {
                0 => drop(admit(&corp, &Signer::es256(), seconds, &web)),
                1 => drop(admit(&corp, &Signer::ed_dsa(), seconds, &web)),
                _ => corp.refresh(at(seconds), &web),
            }
            if web.requests() > before {
                prop_assert!(asked.is_none_or(|last| seconds - last >= 30));
                prop_assert!(web.requests() - before <= 2);
                asked = Some(seconds);
            }
        }
    }
}
