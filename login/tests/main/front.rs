//! Identities that a proxy or a client certificate names.

use std::net::IpAddr;

use crate::support::issuer_groups;
use ensue_engine::explain::Explain;
use ensue_engine::ports::Secret;
use ensue_login::Groups;
use ensue_login::certificates::{Certificate, CertificateSettings};
use ensue_login::proxy::{ProxyIdentity, ProxyRefusal, ProxySettings};
use serde_json::{Value, json};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn proxy(changes: &Value) -> Result<ProxySettings, String> {
    let mut settings = json!({
        "from": ["10.0.0.7/32", "fd00::/64"],
        "user": "X-Forwarded-User",
        "groups": "X-Forwarded-Groups",
        "secret": { "key": "ensue.proxy" },
    });
    for (name, value) in changes.as_object().unwrap() {
        settings[name] = value.clone();
    }
    ProxySettings::check(serde_json::from_value(settings).unwrap()).map_err(|error| error.to_string())
}

fn identify(peer: &str, headers: &[(&str, &str)]) -> Result<Option<ProxyIdentity>, ProxyRefusal> {
    named_with(SECRET, peer, headers)
}

fn named_with(secret: &str, peer: &str, headers: &[(&str, &str)]) -> Result<Option<ProxyIdentity>, ProxyRefusal> {
    let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let peer: IpAddr = peer.parse().unwrap();
    proxy(&json!({})).unwrap().identify(peer, &headers, &Secret::new(secret.as_bytes().to_vec()))
}

const USER: (&str, &str) = ("x-forwarded-user", "ana");
const KEY: (&str, &str) = ("x-ensue-proxy-secret", SECRET);

#[test]
fn identity_is_named_by_a_proxy_that_knows_the_secret() {
    let groups = ("x-forwarded-groups", "release, ops,,release");
    for peer in ["10.0.0.7", "::ffff:10.0.0.7", "fd00::5"] {
        let ana = identify(peer, &[USER, KEY, groups]).unwrap().unwrap();
        assert_eq!((ana.name.as_str(), ana.groups), ("ana", issuer_groups(&["proxy:ops", "proxy:release"])));
    }
    assert_eq!(identify("10.0.0.7", &[USER, KEY]).unwrap().unwrap().groups, Groups::NotSaid);
    let none = ("x-forwarded-groups", "");
    assert_eq!(identify("10.0.0.7", &[USER, KEY, none]).unwrap().unwrap().groups, Groups::Said(Vec::new()));
    assert_eq!(identify("192.0.2.1", &[("x-other", "ana")]).unwrap(), None);
}

#[test]
fn header_of_a_proxy_is_refused_from_anyone_else() {
    let wrong = ("x-ensue-proxy-secret", "0123456789abcdef0123456789abcdee");
    for (peer, headers) in [
        ("10.0.0.8", vec![USER, KEY]),
        ("10.0.0.7", vec![USER]),
        ("10.0.0.7", vec![USER, wrong]),
        ("10.0.0.7", vec![USER, KEY, KEY]),
        ("10.0.0.7", vec![USER, ("x-ensue-proxy-secret", "")]),
        ("192.0.2.1", vec![("x-forwarded-groups", "admin")]),
        ("192.0.2.1", vec![KEY]),
    ] {
        let refusal = identify(peer, &headers).unwrap_err();
        assert!(matches!(refusal, ProxyRefusal::NotAProxy { .. }), "{peer} {headers:?}: {refusal:?}");
        assert_eq!(refusal.slug(), "proxy-header-refused");
    }
    // A secret that was never set, or is too short to be one, admits nobody.
    for secret in ["", "short"] {
        let refusal = named_with(secret, "10.0.0.7", &[USER, ("x-ensue-proxy-secret", secret)]).unwrap_err();
        assert!(matches!(refusal, ProxyRefusal::NotAProxy { .. }));
    }
}

#[test]
fn headers_of_a_proxy_must_be_there_once_and_be_valid() {
    assert_eq!(identify("10.0.0.7", &[KEY]), Ok(None), "the proxy names nobody");
    assert!(matches!(identify("10.0.0.7", &[KEY, ("x-forwarded-groups", "admin")]), Err(ProxyRefusal::NotOnce { .. })));
    // A proxy that removes `x-forwarded-user` from the requests of its clients may let these names pass.
    for smuggled in ["x_forwarded_user", "x-forwarded_user", "x_forwarded_groups", "x_ensue_proxy_secret"] {
        let refusal = identify("10.0.0.7", &[KEY, USER, (smuggled, "admin")]).unwrap_err();
        assert_eq!(refusal, ProxyRefusal::NotAProxy { header: smuggled.to_owned() });
    }
    assert!(matches!(identify("10.0.0.7", &[KEY, USER, USER]), Err(ProxyRefusal::NotOnce { .. })));
    let groups = ("x-forwarded-groups", "a");
    assert!(matches!(identify("10.0.0.7", &[KEY, USER, groups, groups]), Err(ProxyRefusal::NotOnce { .. })));
    for name in ["", " ana", "a\u{7}na", &"a".repeat(65)] {
        assert!(matches!(identify("10.0.0.7", &[KEY, ("x-forwarded-user", name)]), Err(ProxyRefusal::Invalid { .. })), "{name:?}");
    }
    let many = (0..201).map(|n| format!("g{n}")).collect::<Vec<_>>().join(",");
    assert!(matches!(identify("10.0.0.7", &[KEY, USER, ("x-forwarded-groups", &many)]), Err(ProxyRefusal::Invalid { .. })));
}

#[test]
fn settings_of_a_proxy_are_checked() {
    for (change, expected) in [
        (json!({ "from": "10.0.0" }), "`10.0.0` is not a network like 10.0.0.7/32"),
        (json!({ "from": [] }), "`login.proxy.from` is not valid"),
        (json!({ "from": "0.0.0.0/0" }), "is everybody"),
        (json!({ "user": "Authorization" }), "`login.proxy.user` is not valid"),
        (json!({ "user": "x forwarded" }), "cannot be used as such a header"),
        (json!({ "groups": "x-forwarded-USER" }), "it is the same header as `user`"),
        (json!({ "secret": {} }), "`login.proxy.secret` is not valid: write either"),
    ] {
        let error = proxy(&change).unwrap_err();
        assert!(error.contains(expected), "{change}: {error}");
    }
    assert_eq!(proxy(&json!({ "from": "10.0.0.7" })).unwrap().from, ["10.0.0.7/32".parse().unwrap()]);
}

#[test]
fn certificate_admits_the_name_that_the_settings_render() {
    let settings = |allow: &str, name: &str| {
        let written = serde_json::from_value(json!({ "ca": "/etc/ensue/clients.pem", "allow": allow, "name": name })).unwrap();
        CertificateSettings::check(written).unwrap()
    };
    let certificate =
        Certificate { subject: "CN=ci,O=Example".to_owned(), san: vec!["dns:ci.example.test".to_owned()], fingerprint: "ab".repeat(32) };
    let good = settings("cert.san.exists(name, name.endsWith('.example.test'))", "cert.subject.split(',')[0].replace('CN=', '')");
    assert_eq!(good.admit(&certificate).unwrap(), "ci");
    for (allow, name, setting) in
        [("false", "'ci'", "allow"), ("cert.san[5] == 'x'", "'ci'", "allow"), ("true", "5", "name"), ("true", "''", "name")]
    {
        let refusal = settings(allow, name).admit(&certificate).unwrap_err();
        assert_eq!((refusal.setting, refusal.slug()), (setting, "claims-refused"), "{allow} {name}");
    }
    let written = serde_json::from_value(json!({ "ca": "/c", "allow": "claims.sub", "name": "'x'" })).unwrap();
    let error = CertificateSettings::check(written).unwrap_err().to_string();
    assert!(error.starts_with("`login.certificates.allow`, line 1, column 1: "), "{error}");
}

/// A certificate with the subject `C=DE, O=Example\, Inc.+OU=CI, CN=ci runner` and one alternative name of each kind. It was
/// made with `openssl req -x509 -newkey ed25519 -days 36500 -nodes`.
const CERTIFICATE: &str = include_str!("../keys/certificate.txt");
const FINGERPRINT: &str = "fd17096817a48cfeabcc120f0ace800d99cfa997f90cae714dca6b9c2ec32e05";

#[test]
fn certificate_is_read_as_expressions_see_it() {
    use base64::Engine as _;
    let der = base64::engine::general_purpose::STANDARD.decode(CERTIFICATE.replace('\n', "")).unwrap();
    let read = Certificate::read(&der).unwrap();
    assert_eq!(read.subject, r"CN=ci runner,O=Example\, Inc.+OU=CI,C=DE");
    assert_eq!(read.san, ["dns:ci.example.test", "email:ci@example.test", "uri:spiffe://example.test/ci", "ip:192.0.2.7", "ip:fd00::7"]);
    assert_eq!(read.fingerprint, FINGERPRINT);
    for bad in [&der[..der.len() - 1], b"", b"0"] {
        assert_eq!(Certificate::read(bad).unwrap_err().slug(), "claims-refused");
    }
}
