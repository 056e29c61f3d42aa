//! The address of a request's sender: that of its connection, or the one that a trusted proxy reports.
//!
//! What is limited by address is decided elsewhere.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, header};
use ensue_derive::Names;
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The header in which trusted proxies report their clients. The other one is ignored: a proxy that sets one header passes
/// the other on as the client sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Names)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`, with `X-Forwarded-Proto`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Which addresses are proxies that report their clients, and which have no limits for an address.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    trusted: Vec<IpNet>,
    unlimited: Vec<IpNet>,
    reported_in: ProxyHeader,
}

/// Who sent a request, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    /// The address of the client, not of a trusted proxy.
    pub(crate) address: IpAddr,
    /// The address of the connection, which may be that of a proxy.
    pub(crate) peer: IpAddr,
    /// The scheme that the client used.
    pub(crate) scheme: Scheme,
    /// The network whose limits apply to the request, if any do.
    pub(crate) limited_as: Option<IpAddr>,
}

/// The certificates that a caller showed in the handshake of its connection, in the DER format, its own first.
#[derive(Clone, Debug, Default)]
pub(crate) struct PeerCertificates(pub(crate) Arc<[Vec<u8>]>);

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
    /// Resolves client addresses behind the trusted proxies, which report their clients in this header. Callers on the node's
    /// own machine have no limits for each address.
    pub fn trusting(trusted: Vec<IpNet>, reported_in: ProxyHeader) -> Self {
        let loopback = ["127.0.0.0/8", "::1/128"].map(|network| network.parse().expect("it is a network"));
        Self { trusted, unlimited: loopback.to_vec(), reported_in }
    }

    /// Reports whether connections from an address are limited.
    pub(crate) fn are_limited(&self, address: IpAddr) -> bool {
        !contain(&self.trusted, address) && !contain(&self.unlimited, address)
    }

    /// Reports whether an address is that of a trusted proxy.
    pub(crate) fn are_trusted(&self, address: IpAddr) -> bool {
        contain(&self.trusted, address)
    }

    /// Returns the sender of a request on a connection from `peer`. A trusted proxy adds the address that it got the request from
    /// at the end of its header. From there, the first address that is not a trusted proxy is the client's; anything before
    /// it may be invented. A request that a proxy passes on is always limited, by the last address that is known.
    pub(crate) fn sender(&self, peer: IpAddr, scheme: Scheme, headers: &HeaderMap) -> Sender {
        let mut sender = self.resolve_sender(peer, scheme, headers);
        let is_passed_on =
            contain(&self.trusted, peer) && [header::FORWARDED, X_FORWARDED_FOR].iter().any(|name| headers.contains_key(name));
        sender.limited_as = (is_passed_on || self.are_limited(peer)).then(|| network_of(sender.address));
        sender
    }

    fn resolve_sender(&self, peer: IpAddr, scheme: Scheme, headers: &HeaderMap) -> Sender {
        let mut sender = Sender { address: peer.to_canonical(), peer: peer.to_canonical(), scheme, limited_as: None };
        if !contain(&self.trusted, peer) {
            return sender;
        }
        let hops = match self.reported_in {
            ProxyHeader::XForwardedFor => x_forwarded(headers),
            ProxyHeader::Forwarded => parse_forwarded(headers),
        };
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
fn parse_forwarded(headers: &HeaderMap) -> Vec<Hop> {
    let elements = |value: Cow<'_, str>| split(&value, ',').into_iter().map(hop_of).collect::<Vec<_>>();
    texts(headers, &header::FORWARDED).flat_map(elements).collect()
}

/// Returns the values of a header. Bytes that are not text become characters that no address has, so that they hide nothing
/// that comes after them.
fn texts<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl DoubleEndedIterator<Item = Cow<'a, str>> + use<'a> {
    headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()))
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
    let last = texts(headers, &X_FORWARDED_PROTO).next_back();
    let scheme = last.map_or(Scheme::Http, |text| scheme_of(text.rsplit(',').next().unwrap_or_default().trim()));
    let hops = |text: Cow<'_, str>| text.split(',').map(|hop| Hop { from: address(hop.trim()), scheme }).collect::<Vec<_>>();
    texts(headers, &X_FORWARDED_FOR).flat_map(hops).collect()
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

/// Splits a text at a separator outside of quotes. If a quote is left open, quotes mean nothing: otherwise a client could hide
/// the proxy's entry in a quote of its own.
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
    if is_quoted {
        return text.split(separator).collect();
    }
    parts.push(&text[begin..]);
    parts
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::ProxyHeader::{Forwarded, XForwardedFor};
    use super::*;

    fn addresses(reported_in: ProxyHeader) -> Addresses {
        Addresses::trusting(vec!["10.0.0.0/8".parse().unwrap(), "2001:db8:f::/48".parse().unwrap()], reported_in)
    }

    fn sender_of(reported_in: ProxyHeader, peer: &str, headers: &[(&'static str, &[u8])]) -> Sender {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        addresses(reported_in).sender(peer.parse().unwrap(), Scheme::Http, &map)
    }

    fn from(peer: &str, headers: &[(&'static str, &str)]) -> String {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        sender_of(XForwardedFor, peer, &headers).address.to_string()
    }

    #[test]
    fn reported_address_is_ignored_unless_a_trusted_proxy_reports_it() {
        for (reported_in, name, value) in
            [(Forwarded, "forwarded", "for=127.0.0.1;proto=https"), (XForwardedFor, "x-forwarded-for", "127.0.0.1")]
        {
            let sender = sender_of(reported_in, "192.0.2.7", &[(name, value.as_bytes())]);
            assert_eq!((sender.address.to_string().as_str(), sender.scheme), ("192.0.2.7", Scheme::Http), "{name}");
        }
        assert_eq!(from("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(from("10.0.0.1", &[("x-forwarded-for", "192.0.2.7")]), "192.0.2.7");
        assert_eq!(from("::ffff:10.0.0.1", &[("x-forwarded-for", "192.0.2.7")]), "192.0.2.7");
        assert_eq!(from("10.0.0.1", &[("x-real-ip", "192.0.2.7"), ("x-original-url", "/admin")]), "10.0.0.1");
    }

    #[test]
    fn header_that_the_proxy_does_not_set_is_ignored() {
        let both: [(&str, &[u8]); 2] = [("forwarded", b"for=198.51.100.1;proto=https"), ("x-forwarded-for", b"192.0.2.7")];
        let sender = sender_of(XForwardedFor, "10.0.0.1", &both);
        assert_eq!((sender.address.to_string().as_str(), sender.scheme), ("192.0.2.7", Scheme::Http));
        assert_eq!(sender_of(Forwarded, "10.0.0.1", &both).address.to_string(), "198.51.100.1");
    }

    #[test]
    fn client_is_the_last_address_that_is_not_a_trusted_proxy() {
        let forwarded_for = |value: &str| from("10.0.0.1", &[("x-forwarded-for", value)]);
        assert_eq!(forwarded_for("127.0.0.1, 192.0.2.7, 10.0.0.2"), "192.0.2.7", "what is before it may be invented");
        assert_eq!(forwarded_for("10.0.0.3, 10.0.0.2"), "10.0.0.3", "all are proxies");
        assert_eq!(forwarded_for("192.0.2.7, nonsense, 10.0.0.2"), "10.0.0.2", "an unreadable one ends the search");
        assert_eq!(forwarded_for("192.0.2.7:4711"), "192.0.2.7");
        let twice = [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-for", "192.0.2.7")];
        assert_eq!(from("10.0.0.1", &twice), "192.0.2.7");
    }

    #[test]
    fn forwarded_is_read_with_its_quotes() {
        let forwarded = |value: &str| {
            let sender = sender_of(Forwarded, "10.0.0.1", &[("forwarded", value.as_bytes())]);
            (sender.address.to_string(), sender.scheme)
        };
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
        let with = |proto: &str| {
            let headers: [(&str, &[u8]); 2] = [("x-forwarded-for", b"192.0.2.7"), ("x-forwarded-proto", proto.as_bytes())];
            sender_of(XForwardedFor, "10.0.0.1", &headers).scheme
        };
        assert_eq!([with("https"), with("http"), with("http, https"), with("nonsense")], {
            use Scheme::{Http, Https};
            [Https, Http, Https, Http]
        });
    }

    #[test]
    fn own_machine_and_trusted_proxies_have_no_limits_for_an_address() {
        let are_limited = |address: &str| addresses(XForwardedFor).are_limited(address.parse().unwrap());
        for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "10.1.2.3", "2001:db8:f::1"] {
            assert!(!are_limited(address), "{address}");
            assert_eq!(sender_of(XForwardedFor, address, &[]).limited_as, None);
        }
        assert!(are_limited("192.0.2.7") && are_limited("2001:db8::1"));
    }

    #[test]
    fn request_that_a_proxy_passes_on_is_limited_whatever_it_reports() {
        for reported in [&b"192.0.2.7"[..], b"127.0.0.1", b"10.0.0.9", b"\xff", b"", b"nonsense"] {
            assert!(sender_of(XForwardedFor, "10.0.0.1", &[("x-forwarded-for", reported)]).limited_as.is_some(), "{reported:?}");
            assert!(sender_of(XForwardedFor, "10.0.0.1", &[("forwarded", reported)]).limited_as.is_some(), "{reported:?}");
        }
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let network = |text: &str| network_of(text.parse().unwrap()).to_string();
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_ne!(network("192.0.2.7"), network("192.0.2.8"));
    }

    fn any_header_bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![b' '..=b'~', 0x80..=0xff_u8, prop::sample::select(&b"\"\\,;="[..])], 0..80)
    }

    proptest! {
        #[test]
        fn untrusted_prefix_never_changes_the_client(
            before in any_header_bytes(),
            reported_in in prop::sample::select(&ProxyHeader::ALL[..]),
            is_joined in any::<bool>(),
            is_quoted in any::<bool>(),
        ) {
            let (name, own) = match (reported_in, is_quoted) {
                (Forwarded, true) => ("forwarded", &b"for=\"[2001:db8::7]:80\";proto=https"[..]),
                (Forwarded, false) => ("forwarded", &b"for=\"[2001:db8::7]\""[..]),
                (XForwardedFor, _) => ("x-forwarded-for", &b"2001:db8::7"[..]),
            };
            let joined = [&before[..], b", ", own].concat();
            let headers = if is_joined { vec![(name, &joined[..])] } else { vec![(name, &before[..]), (name, own)] };
            let sender = sender_of(reported_in, "10.0.0.1", &headers);
            prop_assert_eq!(sender.address.to_string(), "2001:db8::7");
        }
    }
}
