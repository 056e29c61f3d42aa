//! Mistakes in the use of connections, as the author sees them, and what `ensue.yaml` is compared with.

use std::collections::BTreeMap;

use ensue_engine::catalog::ConnectionKind;
use ensue_packs::{Colour, DeclaredConnection, connection_findings};

use serde_json::json;

use crate::support::{check_packs, demo, shown_with};

const LISTED: &str = "name: demo\nversion: 1.0.0\nconnections: [orders]\nconfig: { server: 'connection<http>?', mail: 'connection<smtp>?' }\n\
                      permissions: []\n";

fn fetch(http: &str) -> String {
    let action = format!("parameters: {{ server: 'connection<http>', relay: 'connection<smtp>', text: string }}\nrun:\n  http:\n{http}");
    shown_with(&[("pack.yaml", LISTED), ("actions/fetch.yaml", &action)])
}

#[test]
fn wrong_uses_of_a_connection_are_reported() {
    let mistakes = [
        "    connection: order\n    url: /items\n",
        "    connection: Orders\n    url: /items\n",
        "    connection: orders\n    url: items\n",
        "    connection: orders\n    url: https://example.test/items\n",
        "    connection: orders\n    url: //example.test/items\n",
        "    connection: ${{ params.text }}\n    url: /items\n",
        "    connection: ${{ params.relay }}\n    url: /items\n",
        "    connection: ${{ params.sever }}\n    url: /items\n",
        "    connection: ${{ config.mail }}\n    url: /items\n",
        "    connection: ${{ params.server + '' }}\n    url: /items\n",
        "    connection: 7\n    url: /items\n",
    ];
    insta::assert_snapshot!(mistakes.map(|mistake| format!("── {mistake}\n{}\n", fetch(mistake))).concat());
}

#[test]
fn connection_may_be_a_name_a_parameter_or_a_setting() {
    for connection in ["orders", "${{ params.server }}", "${{ config.server }}", "${{params.server}}"] {
        let reported = fetch(&format!("    connection: {connection}\n    url: /items/${{{{ params.text }}}}\n"));
        assert_eq!(reported, "", "{connection}");
    }
}

const EITHER: &str = "    connection: ${{ config.server }}
    url: /items/${{ params.text }}
    json: { a: 1 }
    without_connection:
      url: https://example.test/items/${{ params.text }}
      headers: { authorization: 'Bearer ${{ keys[\"demo.token\"] }}' }
      json: { b: '${{ keys[\"demo.token\"] }}' }
";

fn fetch_either(from: &str, to: &str) -> String {
    assert!(EITHER.contains(from), "{from}");
    let action = format!("parameters: {{ server: 'connection<http>', text: string }}\nrun:\n  http:\n{}", EITHER.replace(from, to));
    let pack = LISTED.replace("permissions", "keys: [token]\npermissions");
    shown_with(&[("pack.yaml", &pack), ("actions/fetch.yaml", &action)])
}

#[test]
fn request_may_have_another_url_and_further_headers_and_fields_without_a_connection() {
    for (from, to) in [
        ("/items", "/other"),
        ("https://example.test/items/${{ params.text }}", "${{ 'https://example.test' + params.text }}"),
        (
            "url: https://example.test/items/${{ params.text }}",
            "url: { secret: true, value: 'https://example.test/${{ keys[\"demo.token\"] }}' }",
        ),
        ("{ b: '${{ keys[\"demo.token\"] }}' }", "\"${{ {'b': 1} }}\""),
    ] {
        assert_eq!(fetch_either(from, to), "", "{to}");
    }
}

#[test]
fn wrong_uses_of_what_a_request_has_without_a_connection_are_reported() {
    let mistakes = [
        ("    connection: ${{ config.server }}\n", ""),
        ("${{ config.server }}", "orders"),
        ("${{ config.server }}", "${{ params.server }}"),
        ("url: /items", "url: https://example.test/items"),
        ("url: https://example.test/items", "url: /items"),
        ("      url: https://example.test/items/${{ params.text }}\n", ""),
        ("    json: { a: 1 }\n", ""),
        ("    json: { a: 1 }\n", "    form: { a: 1 }\n"),
        ("json: { b: '${{ keys[\"demo.token\"] }}' }", "json: 7"),
        ("demo.token", "demo.tokem"),
        ("headers:", "query:"),
    ];
    insta::assert_snapshot!(mistakes.map(|(from, to)| format!("── {from} -> {to}\n{}\n", fetch_either(from, to))).concat());
}

#[test]
fn wrong_lists_and_types_of_connections_are_reported() {
    let lists = ["connections: orders", "connections: [Orders]", "connections: [7]"];
    let lists =
        lists.map(|list| format!("── {list}\n{}\n", shown_with(&[("pack.yaml", &format!("name: demo\nversion: 1.0.0\n{list}\n"))])));
    let types = ["connection", "connection<htp>", "connection<>"];
    let types = types.map(|kind| {
        let action = format!("parameters: {{ server: '{kind}' }}\nrun:\n  shell:\n    script: echo\n");
        format!("── {kind}\n{}\n", shown_with(&[("actions/fetch.yaml", &action)]))
    });
    insta::assert_snapshot!(lists.concat() + &types.concat());
}

#[test]
fn passed_connection_must_be_listed_by_the_pack_that_passes_it() {
    let take = "parameters: { server: 'connection<http>' }\nrun:\n  http: { connection: '${{ params.server }}', url: /items }\n";
    let rule = "trigger: demo.ping\naction: demo.take\nwith: { server: order }\n";
    let flow = "run:\n  workflow:\n    steps:\n      take: { action: demo.take, with: { server: order } }\n";
    let pack = "name: demo\nversion: 1.0.0\nconnections: [orders]\n";
    let reported = shown_with(&[("pack.yaml", pack), ("actions/take.yaml", take), ("rules/greet.yaml", rule), ("actions/flow.yaml", flow)]);
    assert_eq!(reported.matches("`pack.yaml` does not list the connection `order`; did you mean `orders`?").count(), 2, "{reported}");
    let right = [rule.replace("order }", "orders }"), flow.replace("order }", "orders }")];
    let reported =
        shown_with(&[("pack.yaml", pack), ("actions/take.yaml", take), ("rules/greet.yaml", &right[0]), ("actions/flow.yaml", &right[1])]);
    assert_eq!(reported, "");
}

#[test]
fn listed_connections_are_compared_with_those_that_are_declared() {
    let fetch = "run:\n  http: { connection: orders, url: /items }\n";
    let pack = demo(&[("pack.yaml", "name: demo\nversion: 1.0.0\nconnections: [orders, stock]\n"), ("actions/fetch.yaml", fetch)]);
    let checked = check_packs(&[pack], &[]);
    let declared = |kind, packs: Option<&str>| DeclaredConnection { kind, packs: packs.map(|name| [name.parse().unwrap()].into()) };
    let told = |connections: &[(&str, DeclaredConnection)]| {
        let declared: BTreeMap<_, _> = connections.iter().map(|(name, one)| (name.parse().unwrap(), one.clone())).collect();
        connection_findings(&checked.good, &declared).iter().map(|one| one.render(Colour::Plain)).collect::<Vec<_>>().join("\n")
    };
    let http = || declared(ConnectionKind::Http, None);
    assert_eq!(told(&[("orders", http()), ("stock", declared(ConnectionKind::Smtp, Some("demo")))]), "");
    insta::assert_snapshot!(
        [
            told(&[]),
            told(&[("order", http()), ("stock", http())]),
            told(&[("orders", declared(ConnectionKind::Smtp, None)), ("stock", declared(ConnectionKind::Http, Some("shop")))]),
        ]
        .join("\n──\n")
    );
}

#[test]
fn connections_in_settings_are_compared_with_those_that_are_declared() {
    let fetch = "run:\n  http: { connection: '${{ config.server }}', url: /items }\n";
    let pack = demo(&[("pack.yaml", LISTED), ("actions/fetch.yaml", fetch)]);
    let declared = BTreeMap::from([
        ("orders".parse().unwrap(), DeclaredConnection { kind: ConnectionKind::Http, packs: None }),
        ("relay".parse().unwrap(), DeclaredConnection { kind: ConnectionKind::Smtp, packs: None }),
        ("stock".parse().unwrap(), DeclaredConnection { kind: ConnectionKind::Http, packs: Some(["shop".parse().unwrap()].into()) }),
    ]);
    let told = |config: serde_json::Value, declared: &BTreeMap<_, _>| {
        let checked = check_packs(std::slice::from_ref(&pack), &[("demo", config)]);
        connection_findings(&checked.good, declared).iter().map(|one| one.render(Colour::Plain)).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(told(json!({ "server": "orders", "mail": "relay" }), &declared), "");
    let wrong = ["order", "relay", "stock"].map(|name| told(json!({ "server": name }), &declared));
    insta::assert_snapshot!(wrong.join("\n──\n") + "\n──\n" + &told(json!({ "server": "orders" }), &BTreeMap::new()));
}

fn send(mail: &str) -> String {
    let action = format!(
        "parameters: {{ relay: 'connection<smtp>', other: 'connection<smtp>?' }}\nrun:\n  mail:\n    from: a@example.test\n    to: b@example.test\n    text: Hello\n{mail}"
    );
    shown_with(&[("pack.yaml", LISTED), ("actions/send.yaml", &action)])
}

#[test]
fn mail_has_one_server() {
    let server = "    server: { host: mail.example.test }\n";
    for right in [
        server.to_owned(),
        "    connection: orders\n".to_owned(),
        format!("    connection: ${{{{ params.other }}}}\n{server}"),
        format!("    connection: ${{{{ config.mail }}}}\n{server}"),
    ] {
        assert!(!send(&right).contains("error"), "{right}: {}", send(&right));
    }
    let mistakes = [
        "".to_owned(),
        format!("    connection: orders\n{server}"),
        format!("    connection: ${{{{ params.relay }}}}\n{server}"),
        "    connection: ${{ params.other }}\n".to_owned(),
        "    connection: ${{ config.server }}\n".to_owned(),
        "    connection: order\n".to_owned(),
    ];
    insta::assert_snapshot!(mistakes.map(|mistake| format!("── {mistake}\n{}\n", send(&mistake))).concat());
}
