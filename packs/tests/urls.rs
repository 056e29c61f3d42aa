//! URLs that contain keys: only where they are marked as a secret, and only after the host.

use crate::support::shown_with;

/// The findings of an action with a URL.
fn action(url: &str) -> String {
    shown_with(&[("actions/tell.yaml", &format!("parameters: {{ room: string }}\nrun:\n  http:\n    method: POST\n    url: {url}\n"))])
}

#[test]
fn secret_url_may_read_keys_after_its_host() {
    let url = "{ secret: true, value: 'https://example.test/hooks/${{ keys[\"demo.token\"] }}?room=${{ params.room }}' }";
    assert_eq!(action(url), "");
    let poll = "poll:\n  every: 1m\n  http: { url: { secret: true, value: 'https://example.test/${{ keys[\"demo.token\"] }}/items' } }\n  \
                only_new: item.id\nemits:\n  - trigger: demo.ping\n    payload: { host: a }\n";
    assert_eq!(shown_with(&[("sensors/hook.yaml", poll)]), "");
}

#[test]
fn mistakes_in_secret_urls_are_reported() {
    let mistakes = [
        ("a key in a URL that is shown", "'https://example.test/hooks/${{ keys[\"demo.token\"] }}'"),
        ("a key in the host", "{ secret: true, value: 'https://${{ keys[\"demo.token\"] }}/hooks' }"),
        ("a key as the whole URL", "{ secret: true, value: '${{ keys[\"demo.token\"] }}' }"),
        ("a key that is not listed", "{ secret: true, value: 'https://example.test/${{ keys[\"demo.other\"] }}' }"),
        ("not a secret", "{ secret: false, value: 'https://example.test/' }"),
        ("no value", "{ secret: true }"),
        ("a list", "[https://example.test/]"),
    ];
    let all: String = mistakes.iter().map(|(what, url)| format!("── {what}\n{}\n", action(url))).collect();
    insta::assert_snapshot!(all);
}
