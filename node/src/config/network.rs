//! Whose reports about senders the node believes, and whose pages may use it.

use std::net::IpAddr;

use ensue_api::{Origin, ProxyHeader};
use ensue_derive::Settings;
use ipnet::IpNet;
use serde::Deserialize;

/// The form of a list of networks, for messages.
pub(super) const NETWORKS_FORM: &str = "IP addresses or networks like 10.0.0.0/8, and not all addresses";
/// The names of headers in which proxies report their clients, for messages.
pub(super) const PROXY_HEADER_FORM: &str = "`x_forwarded_for` or `forwarded`";
/// The form of a list of origins, for messages.
pub(super) const ORIGINS_FORM: &str = "origins like https://app.example.test, without a path and without `*`";

/// The `cors` section as written in the file.
#[derive(Debug, Default, Deserialize, Settings)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WrittenCors {
    /// The origins of those pages: `https://app.example.test`, without a path.
    #[setting(variable = "ENSUE_CORS_ORIGINS")]
    pub(super) origins: Vec<String>,
}

/// Parses networks; a single address is a network of its own. Fails with the invalid one: a network of all addresses would let
/// every caller invent its address.
pub(super) fn networks(texts: &[String]) -> Result<Vec<IpNet>, String> {
    let one = |text: &String| text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| text.clone());
    let few = |text: &String| one(text).and_then(|network| if network.prefix_len() == 0 { Err(text.clone()) } else { Ok(network) });
    texts.iter().map(few).collect()
}

/// Parses the name of the header in which proxies report their clients.
pub(super) fn proxy_header(text: &str) -> Option<ProxyHeader> {
    ProxyHeader::ALL.into_iter().find(|header| header.as_str() == text)
}

/// Parses origins of pages. Fails with the invalid one.
pub(super) fn origins(texts: &[String]) -> Result<Vec<Origin>, String> {
    texts.iter().map(|text| text.parse().map_err(|_| text.clone())).collect()
}

#[cfg(test)]
mod tests {
    use ensue_api::ProxyHeader;

    use crate::config::Config;

    fn read(text: &str) -> Result<Config, String> {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("ensue.yaml");
        std::fs::write(&file, text).unwrap();
        Config::read(Some(&file), [].into_iter()).map_err(|error| error.to_string())
    }

    #[test]
    fn trusted_proxies_are_networks_or_single_addresses() {
        let config = read("trusted_proxies: [10.0.0.0/8, 192.0.2.7, '2001:db8::/32']").unwrap();
        let shown: Vec<String> = config.trusted_proxies.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"]);
        for bad in ["proxy", "10.0.0.0/33", "*", "0.0.0.0/0", "::/0"] {
            let why = read(&format!("trusted_proxies: ['{bad}']")).unwrap_err();
            assert!(why.contains(&format!("`trusted_proxies` has `{bad}`, but must be IP addresses or networks")), "{why}");
        }
    }

    #[test]
    fn proxies_report_their_clients_in_one_header() {
        assert_eq!(read("{}").unwrap().proxy_header, ProxyHeader::XForwardedFor);
        assert_eq!(read("proxy_header: forwarded").unwrap().proxy_header, ProxyHeader::Forwarded);
        let why = read("proxy_header: x-real-ip").unwrap_err();
        assert!(why.contains("`proxy_header` is `x-real-ip`, but must be `x_forwarded_for` or `forwarded`"), "{why}");
    }

    #[test]
    fn origins_of_pages_are_written_out_in_full() {
        assert_eq!(read("cors: { origins: ['http://localhost:5173'] }").unwrap().cors_origins.len(), 1);
        for bad in ["*", "https://app.example.test/", "app.example.test"] {
            let why = read(&format!("cors: {{ origins: ['{bad}'] }}")).unwrap_err();
            assert!(why.contains(&format!("`cors.origins` has `{bad}`, but must be origins like")), "{why}");
        }
    }

    #[test]
    fn limits_for_an_address_are_at_least_one() {
        assert_eq!(read("limits: { connections_per_address: 7 }").unwrap().connections_per_address, 7);
        let why = read("limits: { connections_per_address: 0 }").unwrap_err();
        assert!(why.contains("`limits.connections_per_address` is 0, but must be a whole number of at least 1"), "{why}");
    }
}
