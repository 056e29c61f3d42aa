//! Bearer tokens of issuers: which are admitted, and that every other one is refused.

use ensue_engine::explain::Explain;
use ensue_login::jose::TokenFault;
use ensue_login::{Groups, Kind, Refusal, is_signed_token};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{AUDIENCE, ISSUER, NOW, Signer, Web, at, claims, claims_with, corp, encode, issuer_groups, issuers, now, settings};

fn admit(token: &str) -> Result<ensue_login::IssuerIdentity, Refusal> {
    corp().admit(token, now(), &Web::new())
}

/// Demands that a token is refused without a request to anybody.
#[track_caller]
fn refused_at_once(token: &str) -> Refusal {
    let web = Web::new();
    let refusal = corp().admit(token, now(), &web).unwrap_err();
    assert_eq!(web.requests(), 0, "{refusal:?}");
    refusal
}

#[test]
fn token_of_each_algorithm_admits_its_identity() {
    for signer in Signer::all() {
        let token = signer.token(&claims());
        assert!(is_signed_token(&token));
        let ana = admit(&token).unwrap();
        assert_eq!((ana.issuer.as_str(), ana.subject.as_str(), ana.name.as_str(), ana.kind), ("corp", "4711", "ana", Kind::Person));
        assert_eq!(ana.groups, issuer_groups(&["corp:ops", "corp:release"]));
        assert_eq!(ana.until, at(NOW + 600));
    }
}

#[test]
fn service_is_identified_by_its_rendered_name() {
    let ci = issuers(&[(
        "github",
        json!({
            "issuer": ISSUER,
            "use": ["bearer"],
            "audience": AUDIENCE,
            "kind": "service",
            "allow": "claims.repository_owner_id == '4711' && claims.ref == 'refs/heads/main'",
            "name": "'gha.' + claims.repository.split('/')[1]",
            "groups": "['ci']",
            "local_groups": true,
        }),
    )]);
    let signer = Signer::rs256();
    let of = |branch: &str| {
        signer.token(&claims_with(&json!({ "repository_owner_id": "4711", "ref": branch, "repository": "example/site", "sub": "repo:x" })))
    };
    let web = Web::new();
    let site = ci.admit(&of("refs/heads/main"), now(), &web).unwrap();
    assert_eq!((site.kind, site.subject.as_str(), site.name.as_str()), (Kind::Service, "gha.site", "gha.site"));
    assert_eq!(site.groups, issuer_groups(&["ci"]));
    let refusal = ci.admit(&of("refs/heads/other"), now(), &web).unwrap_err();
    assert_eq!(refusal.to_string(), "`allow` of the issuer `github` does not admit these claims: it is false");
    assert_eq!(refusal.slug(), "claims-refused");
}

#[test]
fn token_without_an_algorithm_of_the_list_is_refused_without_a_request() {
    let signature = encode("x");
    let payload = encode(claims().to_string());
    for algorithm in ["none", "None", "nOnE", "NONE", "", "HS256", "HS384", "HS512", "RS1", "rs256", "ES256K", "RS256 ", "dir", "RSA-OAEP"]
    {
        let header = encode(json!({ "alg": algorithm, "kid": "rsa" }).to_string());
        for token in [format!("{header}.{payload}."), format!("{header}.{payload}.{signature}")] {
            assert_eq!(refused_at_once(&token), Refusal::TokenInvalid(TokenFault::Algorithm), "{algorithm}");
        }
    }
    for header in [json!({}), json!({ "alg": null }), json!({ "alg": 5 }), json!({ "alg": ["RS256"] })] {
        let token = format!("{}.{payload}.{signature}", encode(header.to_string()));
        assert!(matches!(refused_at_once(&token), Refusal::TokenInvalid(TokenFault::Algorithm | TokenFault::Malformed("alg"))));
    }
}

#[test]
fn public_key_is_never_used_as_a_shared_secret() {
    use hmac::{Hmac, KeyInit, Mac};
    let signer = Signer::ed_dsa();
    let published = signer.public_jwk();
    let secrets = [published.to_string(), published["x"].as_str().unwrap().to_owned(), "-----BEGIN PUBLIC KEY-----".to_owned()];
    for secret in secrets {
        for kid in ["ed", "rsa"] {
            let message = format!("{}.{}", encode(json!({ "alg": "HS256", "kid": kid }).to_string()), encode(claims().to_string()));
            let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
            mac.update(message.as_bytes());
            let token = format!("{message}.{}", encode(mac.finalize().into_bytes()));
            assert_eq!(refused_at_once(&token), Refusal::TokenInvalid(TokenFault::Algorithm));
        }
    }
}

#[test]
fn header_that_points_to_a_key_or_changes_the_form_is_refused_without_a_request() {
    let stranger = Signer::stranger("p256");
    for (parameter, value) in [
        ("jku", json!("https://evil.example.test/keys")),
        ("x5u", json!("https://evil.example.test/cert")),
        ("x5c", json!(["MII="])),
        ("jwk", stranger.public_jwk()),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("zip", json!("DEF")),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("enc", json!("A256GCM")),
        ("cty", json!("JWT")),
        ("jku", Value::Null),
    ] {
        let mut header = stranger.header();
        header[parameter] = value;
        let token = stranger.sign(&header.to_string(), &claims().to_string());
        assert!(matches!(refused_at_once(&token), Refusal::TokenInvalid(TokenFault::Parameter(found)) if found == parameter));
    }
}

#[test]
fn key_id_is_only_compared() {
    let stranger = Signer::stranger("p256");
    for kid in ["../../dev/null", "x' UNION SELECT 'k", "/etc/passwd", "p256\u{0}", "P256", ""] {
        let mut header = stranger.header();
        header["kid"] = json!(kid);
        let token = stranger.sign(&header.to_string(), &claims().to_string());
        assert_eq!(admit(&token).unwrap_err(), Refusal::TokenInvalid(TokenFault::UnknownKey), "{kid}");
    }
    // The id of a real key, under a signature of another one.
    assert_eq!(admit(&stranger.token(&claims())).unwrap_err(), Refusal::TokenInvalid(TokenFault::Signature));
    for kid in [json!(5), json!(["p256"]), json!({ "p256": 1 }), Value::Null, json!("k".repeat(257))] {
        let mut header = stranger.header();
        header["kid"] = kid;
        let token = stranger.sign(&header.to_string(), &claims().to_string());
        assert_eq!(refused_at_once(&token), Refusal::TokenInvalid(TokenFault::Malformed("kid")));
    }
}

#[test]
fn algorithm_of_the_header_must_be_that_of_the_key() {
    // The key `rsa` says RS256, and `pss` says PS256, although both are the same numbers.
    for (signer, kid) in [(Signer::rs256(), "pss"), (Signer::ps256(), "rsa"), (Signer::es256(), "rsa"), (Signer::ed_dsa(), "p256")] {
        let mut header = signer.header();
        header["kid"] = json!(kid);
        let token = signer.sign(&header.to_string(), &claims().to_string());
        assert_eq!(admit(&token).unwrap_err(), Refusal::TokenInvalid(TokenFault::UnknownKey), "{kid}");
    }
}

#[test]
fn times_of_the_wrong_type_or_range_are_refused() {
    let signer = Signer::es256();
    let raw = |claim: &str, value: &str| {
        let mut claims = claims_with(&json!({ claim: null })).to_string();
        claims.pop();
        format!("{claims},\"{claim}\":{value}}}")
    };
    for claim in ["exp", "nbf", "iat"] {
        for value in ["\"99999999999\"", "1e400", "-1", "null", "true", "[]", "{}", "1e300", "253402300800", "-0.5"] {
            let token = signer.sign(&signer.header().to_string(), &raw(claim, value));
            let refusal = refused_at_once(&token);
            assert!(matches!(refusal, Refusal::TokenInvalid(_)), "{claim}: {value}: {refusal:?}");
        }
    }
    assert_eq!(refused_at_once(&signer.token(&claims_with(&json!({ "exp": null })))), Refusal::TokenInvalid(TokenFault::Malformed("exp")));
    for claim in ["nbf", "iat"] {
        admit(&signer.token(&claims_with(&json!({ claim: null })))).unwrap();
    }
    let fraction = admit(&signer.sign(&signer.header().to_string(), &raw("exp", &format!("{}.5", NOW + 60)))).unwrap();
    assert_eq!(fraction.until.micros(), (NOW + 60) * 1_000_000 + 500_000);
}

#[test]
fn token_counts_from_thirty_seconds_before_until_thirty_seconds_after_its_times() {
    let signer = Signer::es256();
    let with = |changes: Value| signer.token(&claims_with(&changes));
    assert_eq!(refused_at_once(&with(json!({ "exp": NOW - 31 }))), Refusal::TokenExpired { at: at(NOW - 31) });
    assert_eq!(refused_at_once(&with(json!({ "exp": NOW - 30 }))), Refusal::TokenExpired { at: at(NOW - 30) });
    admit(&with(json!({ "exp": NOW - 29 }))).unwrap();
    for claim in ["nbf", "iat"] {
        assert_eq!(refused_at_once(&with(json!({ claim: NOW + 31 }))), Refusal::TokenInvalid(TokenFault::TooEarly));
        admit(&with(json!({ claim: NOW + 30 }))).unwrap();
    }
}

#[test]
fn token_that_lasts_longer_than_the_maximum_is_refused() {
    let signer = Signer::es256();
    let with = |changes: Value| signer.token(&claims_with(&changes));
    let day = 24 * 3600;
    admit(&with(json!({ "exp": NOW + day }))).unwrap();
    assert_eq!(refused_at_once(&with(json!({ "exp": NOW + day + 1 }))), Refusal::TokenInvalid(TokenFault::Lifetime));
    assert_eq!(refused_at_once(&with(json!({ "exp": NOW + day + 1, "iat": null }))), Refusal::TokenInvalid(TokenFault::Lifetime));
    assert_eq!(refused_at_once(&with(json!({ "exp": NOW + 60, "iat": NOW - day }))), Refusal::TokenInvalid(TokenFault::Lifetime));
}

#[test]
fn token_of_another_kind_audience_or_issuer_is_refused() {
    let signer = Signer::es256();
    let with = |changes: Value| signer.token(&claims_with(&changes));
    for audience in [json!("https://other.example.test"), json!([]), json!(null), json!(["a", "b"]), json!(format!("{AUDIENCE}/"))] {
        assert_eq!(refused_at_once(&with(json!({ "aud": audience }))), Refusal::TokenInvalid(TokenFault::Audience));
    }
    for audience in [json!(5), json!([AUDIENCE, 5]), json!({ "aud": AUDIENCE })] {
        assert_eq!(refused_at_once(&with(json!({ "aud": audience }))), Refusal::TokenInvalid(TokenFault::Malformed("aud")));
    }
    admit(&with(json!({ "aud": ["other", AUDIENCE] }))).unwrap();
    for issuer in ["https://id.example.test/realms/corp/", "https://id.example.test", "https://ID.example.test/realms/corp", "ensue"] {
        assert_eq!(refused_at_once(&with(json!({ "iss": issuer }))), Refusal::IssuerUnknown, "{issuer}");
    }
    for (claim, value) in [("iss", json!(null)), ("iss", json!([ISSUER])), ("sub", json!(null)), ("sub", json!("")), ("sub", json!(5))] {
        assert!(matches!(refused_at_once(&with(json!({ claim: value }))), Refusal::TokenInvalid(TokenFault::Malformed(_))));
    }
    assert_eq!(refused_at_once(&with(json!({ "nonce": "n" }))), Refusal::TokenInvalid(TokenFault::IdToken));
    for kind in ["logout+jwt", "secevent+jwt", "JOSE", "ensr", "dpop+jwt"] {
        let header = json!({ "alg": "ES256", "kid": "p256", "typ": kind }).to_string();
        assert_eq!(refused_at_once(&signer.sign(&header, &claims().to_string())), Refusal::TokenInvalid(TokenFault::Type));
    }
    for kind in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"] {
        let header = json!({ "alg": "ES256", "kid": "p256", "typ": kind }).to_string();
        admit(&signer.sign(&header, &claims().to_string())).unwrap();
    }
    admit(&signer.sign(r#"{"alg":"ES256","kid":"p256"}"#, &claims().to_string())).unwrap();
}

#[test]
fn issuer_for_browsers_admits_no_bearer_token() {
    let browser = json!({ "issuer": ISSUER, "use": ["browser"], "client_id": "ensue", "name": "claims.sub" });
    let web = Web::new();
    let refusal = issuers(&[("corp", browser)]).admit(&Signer::es256().token(&claims()), now(), &web).unwrap_err();
    assert_eq!((refusal, web.requests()), (Refusal::IssuerUnknown, 0));
}

#[test]
fn text_that_is_no_token_is_refused_without_a_request() {
    let good = Signer::es256().token(&claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let doubled = r#"{"alg":"ES256","kid":"p256","alg":"none"}"#;
    let twice = claims().to_string().replace("\"sub\"", "\"iss\":\"x\",\"sub\"");
    let cases = [
        String::new(),
        "ensr_01980000-0000-7000-8000-000000000001_1_00".to_owned(),
        "ens_01980000-0000-7000-8000-000000000001_00".to_owned(),
        "eyJ".to_owned(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        message.to_owned(),
        format!("{message}."),
        format!("{good}."),
        format!("{good}.{signature}"),
        format!("{good}="),
        format!(" {good}"),
        format!("{good}\n"),
        good.replace('-', "+").replace('_', "/") + "+/",
        format!("{message}.{signature}.{signature}.{signature}.{signature}"),
        format!("{}.{}.{signature}", encode("[]"), encode(claims().to_string())),
        format!("{}.{}.{signature}", encode("{\"alg\":\"ES256\"}"), encode("[1]")),
        format!("{}.{}.{signature}", encode("{\"alg\":\"ES256\"} "), encode("not json")),
        format!("{}.{}.{signature}", encode([0xff, 0xfe]), encode(claims().to_string())),
        format!("{}.{}.{signature}", encode(doubled), encode(claims().to_string())),
        format!("{}.{}.{signature}", encode(Signer::es256().header().to_string()), encode(twice)),
        format!("{}.{}.{signature}", encode(Signer::es256().header().to_string()), "e30\u{e9}"),
        "a".repeat(20_000),
        format!("{message}.{}", encode(vec![7_u8; 20_000])),
    ];
    for token in cases {
        let refusal = refused_at_once(&token);
        assert!(matches!(refusal, Refusal::TokenInvalid(_)), "{token}: {refusal:?}");
        assert_eq!(refusal.to_string(), "the token is not valid", "callers do not learn why");
    }
}

#[test]
fn expression_that_fails_at_a_claim_refuses_and_never_admits() {
    let signer = Signer::es256();
    let refusal = |change: Value, changed: Value| {
        let mut settings = settings();
        for (name, value) in change.as_object().unwrap() {
            settings[name] = value.clone();
        }
        issuers(&[("corp", settings)]).admit(&signer.token(&claims_with(&changed)), now(), &Web::new()).unwrap_err()
    };
    for (change, changed, setting) in [
        (json!({}), json!({ "email": null }), "allow"),
        (json!({}), json!({ "email": 5 }), "allow"),
        (json!({}), json!({ "email_verified": "true" }), "allow"),
        (json!({ "allow": "'yes'" }), json!({}), "allow"),
        (
            json!({ "allow": "claims.groups.all(a, claims.groups.all(b, a != b || b != 'x'))" }),
            json!({ "groups": vec!["g"; 200] }),
            "allow",
        ),
        (json!({}), json!({ "preferred_username": null }), "name"),
        (json!({}), json!({ "preferred_username": "" }), "name"),
        (json!({}), json!({ "preferred_username": " ana" }), "name"),
        (json!({}), json!({ "preferred_username": "a\u{7}na" }), "name"),
        (json!({}), json!({ "preferred_username": "a".repeat(65) }), "name"),
        (json!({ "name": "5" }), json!({}), "name"),
        (json!({}), json!({ "groups": "release" }), "groups"),
        (json!({}), json!({ "groups": ["release", 5] }), "groups"),
        (json!({}), json!({ "groups": [""] }), "groups"),
        (json!({ "groups": "claims.groups.map(g, g + 1)" }), json!({}), "groups"),
        (json!({ "local_groups": true }), json!({ "groups": ["other:admins"] }), "groups"),
        (json!({ "local_groups": true }), json!({ "groups": ["Release Team"] }), "groups"),
        (json!({}), json!({ "preferred_username": "Ana" }), "name"),
    ] {
        match refusal(change.clone(), changed.clone()) {
            Refusal::ClaimsRefused { setting: found, .. } => assert_eq!(found, setting, "{change} {changed}"),
            other => panic!("{change} {changed}: {other:?}"),
        }
    }
}

#[test]
fn groups_that_are_absent_are_not_the_same_as_none() {
    let signer = Signer::es256();
    let groups = |changes: Value| admit(&signer.token(&claims_with(&changes))).map(|admitted| admitted.groups);
    assert_eq!(groups(json!({ "groups": null })).unwrap(), Groups::NotSaid);
    assert_eq!(groups(json!({ "groups": [] })).unwrap(), Groups::Said(Vec::new()));
    assert_eq!(groups(json!({ "groups": ["b", "a", "b"] })).unwrap(), issuer_groups(&["corp:a", "corp:b"]));
    let many = |count: usize| json!((0..count).map(|n| format!("g{n}")).collect::<Vec<_>>());
    assert!(matches!(groups(json!({ "groups": many(200) })).unwrap(), Groups::Said(said) if said.len() == 200));
    let overage = groups(json!({ "groups": many(201) })).unwrap_err();
    assert_eq!(overage.slug(), "groups-overage");
    // With the prefix of the issuer, a record could not hold them.
    let long: Vec<String> = (0..180).map(|n| format!("{n:050}")).collect();
    let prefixed = issuers(&[(&"a".repeat(32), settings())]);
    let refusal = prefixed.admit(&signer.token(&claims_with(&json!({ "groups": long }))), now(), &Web::new()).unwrap_err();
    assert_eq!(refusal.slug(), "groups-overage", "{refusal:?}");
    let entra =
        json!({ "groups": null, "_claim_names": { "groups": "src1" }, "_claim_sources": { "src1": { "endpoint": "https://x.test" } } });
    assert_eq!(groups(entra).unwrap_err(), overage);
    let mut without = settings();
    without.as_object_mut().unwrap().remove("groups");
    let admitted = issuers(&[("corp", without)]).admit(&signer.token(&claims()), now(), &Web::new()).unwrap();
    assert_eq!(admitted.groups, Groups::NotSaid);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Neither a changed byte, nor one that is missing or added, is accepted anywhere in a token.
    #[test]
    fn any_change_of_a_good_token_is_refused(which in 0..5_usize, place in any::<prop::sample::Index>(), byte in 32_u8..127, what in 0..4) {
        let good = Signer::all()[which].token(&claims());
        let web = Web::new();
        let corp = corp();
        corp.admit(&good, now(), &web).unwrap();
        let mut bytes = good.clone().into_bytes();
        let at = place.index(bytes.len());
        match what {
            0 => bytes[at] = byte,
            1 => { bytes.remove(at); }
            2 => bytes.insert(at, byte),
            _ => bytes.truncate(at),
        }
        let changed = String::from_utf8(bytes).unwrap();
        prop_assume!(changed != good);
        prop_assert!(corp.admit(&changed, now(), &web).is_err(), "{}", changed);
    }

    /// A changed bit of what the base64 of a token encodes is refused, too.
    #[test]
    fn any_flipped_bit_of_a_part_is_refused(which in 0..5_usize, part in 0..3_usize, place in any::<prop::sample::Index>(), bit in 0..8_u8) {
        use base64::Engine as _;
        let good = Signer::all()[which].token(&claims());
        let mut parts: Vec<Vec<u8>> =
            good.split('.').map(|part| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
        let at = place.index(parts[part].len());
        parts[part][at] ^= 1 << bit;
        let changed = parts.iter().map(encode).collect::<Vec<_>>().join(".");
        prop_assert!(admit(&changed).is_err(), "{}", changed);
    }

    /// No text makes the reader panic.
    #[test]
    fn any_text_is_refused(text in "[a-zA-Z0-9_.{}\":,=-]{0,200}") {
        prop_assert!(admit(&text).is_err());
    }
}
