//! Egress: which addresses requests may be sent to.
//!
//! These are public addresses at ports 80 and 443, and the addresses that the operator allows. This module
//! resolves nothing and connects to nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use thiserror::Error;

/// The ports that may be reached at public addresses.
const PUBLIC_PORTS: [u16; 2] = [80, 443];

/// The addresses that may be reached beyond public ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressPolicy {
    allow: Vec<Allowance>,
}

/// One line of `egress.allow`: an address, a network or a host, each with or without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    target: AllowedTarget,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum AllowedTarget {
    Network(IpNet),
    Host(String),
}

/// Why a text is not a valid line of `egress.allow`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{text}` is not a valid destination; write an address, a network or a host, each with or without a port: `127.0.0.1:8080`, `10.0.0.0/8`, `[fd00::1]:443`, `intranet.example:8080`"
)]
pub struct AllowanceError {
    text: String,
}

/// The address may not be reached. The error shows neither the rule that denied it nor the addresses that the
/// name resolved to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AddressDenied;

impl EgressPolicy {
    /// Allows the addresses that the operator lists.
    pub fn allowing(allow: Vec<Allowance>) -> Self {
        Self { allow }
    }

    /// Checks all addresses that a host resolves to. If one may not be reached, the host is denied.
    pub(crate) fn check(&self, host: &str, port: u16, addresses: &[IpAddr]) -> Result<(), AddressDenied> {
        let host = plain_host(host);
        let may_reach = |address: &IpAddr| {
            (is_public(*address) && PUBLIC_PORTS.contains(&port))
                || self.allow.iter().any(|allowance| allowance.covers(&host, port, *address))
        };
        if !addresses.is_empty() && addresses.iter().all(may_reach) { Ok(()) } else { Err(AddressDenied) }
    }
}

impl Allowance {
    fn covers(&self, host: &str, port: u16, address: IpAddr) -> bool {
        let is_target = match &self.target {
            AllowedTarget::Network(network) => network.contains(&address.to_canonical()),
            AllowedTarget::Host(allowed) => allowed == host,
        };
        is_target && self.port.is_none_or(|allowed| allowed == port)
    }
}

impl FromStr for Allowance {
    type Err = AllowanceError;

    fn from_str(text: &str) -> Result<Self, AllowanceError> {
        let refused = || AllowanceError { text: text.chars().take(80).collect() };
        if let Some(target) = network(text) {
            return Ok(Self { target, port: None });
        }
        let (target, port) = text.rsplit_once(':').map_or((text, None), |(target, port)| (target, Some(port)));
        let port = port.map(str::parse).transpose().map_err(|_| refused())?;
        let bare = target.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(target);
        if let Some(target) = network(bare) {
            return Ok(Self { target, port });
        }
        let host = plain_host(target);
        let is_host = !host.is_empty()
            && host.len() <= 253
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
            // A host that ends in a number is meant to be an address.
            && !host.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
        if is_host { Ok(Self { target: AllowedTarget::Host(host), port }) } else { Err(refused()) }
    }
}

fn network(text: &str) -> Option<AllowedTarget> {
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    network.map(|network| AllowedTarget::Network(network.trunc()))
}

fn plain_host(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Returns true if an address is on the public internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// Excludes the ranges that IANA lists as not globally reachable, multicast, and the reserved rest.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = match a {
        0 | 10 | 127 => true,
        100 => (64..128).contains(&b),
        169 => b == 254,
        172 => (16..32).contains(&b),
        192 => b == 168 || (b == 0 && (c == 0 || c == 2)) || (b == 88 && c == 99),
        198 => b == 18 || b == 19 || (b == 51 && c == 100),
        203 => b == 0 && c == 113,
        224.. => true,
        _ => false,
    };
    !is_special
}

/// Allows only 2000::/3, the assigned range, and excludes addresses that embed an IPv4 address or are for
/// documentation: an embedded address would be reached without having been checked.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let is_given_out = a & 0xE000 == 0x2000;
    let is_special = (a == 0x2001 && (b < 0x0200 || b == 0x0DB8)) || a == 0x2002 || (a == 0x3FFF && b < 0x1000);
    is_given_out && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allow: &[&str]) -> EgressPolicy {
        EgressPolicy::allowing(allow.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn reaches(policy: &EgressPolicy, host: &str, port: u16, addresses: &[&str]) -> bool {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        policy.check(host, port, &addresses).is_ok()
    }

    #[test]
    fn public_addresses_are_reachable_only_at_web_ports() {
        let policy = EgressPolicy::default();
        for address in ["93.184.216.34", "2606:2800:220:1::1", "2001:200::1", "9.9.9.9", "172.15.0.1", "100.128.0.1"] {
            assert!(reaches(&policy, "a.example", 443, &[address]), "{address}");
            assert!(reaches(&policy, "a.example", 80, &[address]), "{address}");
            for port in [22, 25, 5432, 6379, 8080] {
                assert!(!reaches(&policy, "a.example", port, &[address]), "{address}:{port}");
            }
        }
    }

    #[test]
    fn private_and_special_addresses_are_denied() {
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:93.184.216.34",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:2::1",
            "2001:20::1",
            "2001:1ff:ffff::1",
            "2001:db8::1",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
            "5f00::1",
        ] {
            assert!(!reaches(&EgressPolicy::default(), "a.example", 80, &[address]), "{address}");
        }
    }

    #[test]
    fn one_forbidden_address_denies_the_whole_destination() {
        assert!(!reaches(&EgressPolicy::default(), "a.example", 443, &["93.184.216.34", "10.0.0.1"]));
        assert!(!reaches(&EgressPolicy::default(), "a.example", 443, &[]));
    }

    #[test]
    fn only_allowed_addresses_and_ports_are_reached() {
        let policy = policy(&["127.0.0.1:8080", "10.0.0.0/8", "[fd00::1]:443", "intranet.example:8443"]);
        assert!(reaches(&policy, "127.0.0.1", 8080, &["127.0.0.1"]));
        assert!(reaches(&policy, "localhost", 8080, &["127.0.0.1"]));
        assert!(!reaches(&policy, "127.0.0.1", 8081, &["127.0.0.1"]));
        assert!(!reaches(&policy, "localhost", 8080, &["127.0.0.1", "::1"]));
        assert!(reaches(&policy, "db", 5432, &["10.9.9.9"]));
        assert!(reaches(&policy, "[fd00::1]", 443, &["fd00::1"]));
        assert!(reaches(&policy, "INTRANET.example.", 8443, &["192.168.0.5"]));
        assert!(!reaches(&policy, "intranet.example", 8444, &["192.168.0.5"]));
        assert!(!reaches(&policy, "other.example", 8443, &["192.168.0.5"]));
    }

    #[test]
    fn invalid_allowance_is_rejected() {
        for text in ["", ":80", "a b", "10.0.0.0/33", "127.1:80", "host:99999", "http://x", "1.2.3", "*", "[::1"] {
            assert!(text.parse::<Allowance>().is_err(), "{text}");
        }
    }
}
