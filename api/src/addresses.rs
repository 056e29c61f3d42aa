//! The address of a request's sender: that of its connection, or the one that a trusted proxy reports.
//!
//! What is limited by address is decided elsewhere.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Which addresses are proxies that report their clients, and which have no limits for an address.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    trusted: Vec<IpNet>,
    unlimited: Vec<IpNet>,
}

/// Who sent a request, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    /// The address of the client, not of a trusted proxy.
    pub(crate) address: IpAddr,
    /// The scheme that the client used.
    pub(crate) scheme: Scheme,
}

/// How a request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// In plain text, as far as the node knows.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// Returns its name in a URL.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl Addresses {
    /// Creates the addresses of a node with these trusted proxies. Callers on its own machine have no limits for an address.
    pub fn trusting(trusted: Vec<IpNet>) -> Self {
        let loopback = ["127.0.0.0/8", "::1/128"].map(|network| network.parse().expect("it is a network"));
        Self { trusted, unlimited: loopback.to_vec() }
    }

    /// Reports whether requests and connections of an address are limited.
    pub(crate) fn are_limited(&self, address: IpAddr) -> bool {
        !contain(&self.trusted, address) && !contain(&self.unlimited, address)
    }

    /// Returns the sender of a request on a connection from `peer`. A trusted proxy adds the address that it got the request from
    /// at the end of `Forwarded`, or of `X-Forwarded-For`. From there, the first address that is not a trusted proxy is the
    /// client's; anything before it may be invented.
    pub(crate) fn sender(&self, peer: IpAddr, scheme: Scheme, headers: &HeaderMap) -> Sender {
        let mut sender = Sender { address: peer.to_canonical(), scheme };
        if !contain(&self.trusted, peer) {
            return sender;
        }
        let hops = if headers.contains_key(header::FORWARDED) { forwarded(headers) } else { x_forwarded(headers) };
        for hop in hops.into_iter().rev() {
            sender.scheme = if scheme == Scheme::Https { scheme } else { hop.scheme };
            let Some(address) = hop.from else { break };
            sender.address = address;
            if !contain(&self.trusted, address) {
                break;
            }
        }
        sender
    }
}

/// Returns the address to count by: an IPv4 address in IPv6 form is that IPv4 address, and an IPv6 address
/// counts as its network, because its owner has the whole network.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

fn contain(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// One proxy's report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hop {
    /// The address that the request came from; `None` if it is unknown or hidden.
    from: Option<IpAddr>,
    scheme: Scheme,
}

/// Parses `Forwarded` (RFC 7239).
fn forwarded(headers: &HeaderMap) -> Vec<Hop> {
    let values = headers.get_all(header::FORWARDED).iter().map(|value| value.to_str().unwrap_or_default());
    values.flat_map(|value| split(value, ',')).map(hop_of).collect()
}

fn hop_of(element: &str) -> Hop {
    let mut hop = Hop { from: None, scheme: Scheme::Http };
    for pair in split(element, ';') {
        let Some((name, value)) = pair.split_once('=') else { continue };
        let value = value.trim().trim_matches('"');
        match name.trim() {
            name if name.eq_ignore_ascii_case("for") => hop.from = address(value),
            name if name.eq_ignore_ascii_case("proto") => hop.scheme = scheme_of(value),
            _ => {}
        }
    }
    hop
}

/// Parses the headers that proxies used before `Forwarded`. Only one scheme is known: that of the last proxy.
fn x_forwarded(headers: &HeaderMap) -> Vec<Hop> {
    let texts = |name| headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default());
    let scheme =
        texts(X_FORWARDED_PROTO).flat_map(|value| value.split(',')).next_back().map_or(Scheme::Http, |last| scheme_of(last.trim()));
    texts(X_FORWARDED_FOR).flat_map(|value| value.split(',')).map(|value| Hop { from: address(value.trim()), scheme }).collect()
}

fn scheme_of(text: &str) -> Scheme {
    if text.eq_ignore_ascii_case("https") { Scheme::Https } else { Scheme::Http }
}

/// Parses an address with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let read = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    read.map(|address: IpAddr| address.to_canonical())
}

/// Splits a text at a separator outside of quotes.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut begin, mut is_quoted, mut is_escaped) = (Vec::new(), 0, false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if character == separator && !is_quoted => {
                parts.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn addresses() -> Addresses {
        Addresses::trusting(vec!["10.0.0.0/8".parse().unwrap(), "2001:db8:f::/48".parse().unwrap()])
    }

    fn sender(peer: &str, headers: &[(&'static str, &str)]) -> (String, Scheme) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let Sender { address, scheme } = addresses().sender(peer.parse().unwrap(), Scheme::Http, &map);
        (address.to_string(), scheme)
    }

    #[test]
    fn reported_address_is_ignored_unless_a_trusted_proxy_reports_it() {
        for name in ["forwarded", "x-forwarded-for"] {
            let value = if name == "forwarded" { "for=127.0.0.1;proto=https" } else { "127.0.0.1" };
            assert_eq!(sender("192.0.2.7", &[(name, value)]), ("192.0.2.7".to_owned(), Scheme::Http), "{name}");
        }
        assert_eq!(sender("10.0.0.1", &[]).0, "10.0.0.1");
        assert_eq!(sender("10.0.0.1", &[("x-forwarded-for", "192.0.2.7")]).0, "192.0.2.7");
        assert_eq!(sender("::ffff:10.0.0.1", &[("x-forwarded-for", "192.0.2.7")]).0, "192.0.2.7");
        assert_eq!(sender("10.0.0.1", &[("x-real-ip", "192.0.2.7"), ("x-original-url", "/admin")]).0, "10.0.0.1");
    }

    #[test]
    fn client_is_the_last_address_that_is_not_a_trusted_proxy() {
        let forwarded_for = |value: &str| sender("10.0.0.1", &[("x-forwarded-for", value)]).0;
        assert_eq!(forwarded_for("127.0.0.1, 192.0.2.7, 10.0.0.2"), "192.0.2.7", "what is before it may be invented");
        assert_eq!(forwarded_for("10.0.0.3, 10.0.0.2"), "10.0.0.3", "all are proxies");
        assert_eq!(forwarded_for("192.0.2.7, nonsense, 10.0.0.2"), "10.0.0.2", "an unreadable one ends the search");
        assert_eq!(forwarded_for("192.0.2.7:4711"), "192.0.2.7");
        let twice = [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-for", "192.0.2.7")];
        assert_eq!(sender("10.0.0.1", &twice).0, "192.0.2.7");
    }

    #[test]
    fn forwarded_is_read_with_its_quotes_and_goes_before_the_older_header() {
        let forwarded = |value: &str| sender("10.0.0.1", &[("forwarded", value), ("x-forwarded-for", "198.51.100.1")]);
        let of = |address: &str, scheme| (address.to_owned(), scheme);
        assert_eq!(forwarded("For=\"[2001:db8:cafe::17]:4711\";Proto=HTTPS"), of("2001:db8:cafe::17", Scheme::Https));
        assert_eq!(forwarded("for=192.0.2.7;proto=https, for=10.0.0.2;proto=http"), of("192.0.2.7", Scheme::Https));
        assert_eq!(forwarded("for=127.0.0.1, by=\"a,for=127.0.0.1\";for=192.0.2.7"), of("192.0.2.7", Scheme::Http));
        for hidden in ["for=unknown", "for=_hidden", "proto=http", "", "for=\"192.0.2.7", "for=\"\\", "for=127.0.0.1, for=unknown"] {
            let address = forwarded(hidden).0;
            assert!(["10.0.0.1", "192.0.2.7"].contains(&address.as_str()), "{hidden}: {address}");
        }
    }

    #[test]
    fn scheme_of_the_older_headers_is_that_of_the_last_proxy() {
        let with = |proto: &str| sender("10.0.0.1", &[("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", proto)]).1;
        assert_eq!([with("https"), with("http"), with("http, https"), with("nonsense")], {
            use Scheme::{Http, Https};
            [Https, Http, Https, Http]
        });
    }

    #[test]
    fn own_machine_and_trusted_proxies_have_no_limits_for_an_address() {
        let are_limited = |address: &str| addresses().are_limited(address.parse().unwrap());
        for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "10.1.2.3", "2001:db8:f::1"] {
            assert!(!are_limited(address), "{address}");
        }
        assert!(are_limited("192.0.2.7") && are_limited("2001:db8::1"));
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let network = |text: &str| network_of(text.parse().unwrap()).to_string();
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_ne!(network("192.0.2.7"), network("192.0.2.8"));
    }

    proptest! {
        #[test]
        fn untrusted_prefix_never_changes_the_client(before in "[ -~]{0,80}", name in prop::sample::select(vec!["forwarded", "x-forwarded-for"])) {
            // A quote that the client left open hides what the proxy added; the proxy's own address counts then.
            let own = if name == "forwarded" { "for=192.0.2.7" } else { "192.0.2.7" };
            let mut headers = HeaderMap::new();
            headers.append(name, before.parse().unwrap());
            headers.append(name, own.parse().unwrap());
            let found = addresses().sender("10.0.0.1".parse().unwrap(), Scheme::Http, &headers);
            prop_assert_eq!(found.address.to_string(), "192.0.2.7");
        }
    }
}
