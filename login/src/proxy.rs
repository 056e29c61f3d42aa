//! Identities that a trusted proxy in front of the node names in headers: `login.proxy`.
//!
//! A header counts only from a configured peer that also sends the shared secret. From anyone else it is refused, so
//! that a wrong network setting is noticed, and is never a way in.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ensue_engine::explain::Explain;
use ensue_engine::ports::Secret;
use ipnet::IpNet;
use serde::Deserialize;
use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::claim_rules::{GROUPS_MAX, Groups, check_name, group, groups_of};
use crate::settings::{OneOrMany, SecretSource, SettingsError, WrittenSecret};

/// The header with the shared secret.
pub const PROXY_SECRET_HEADER: &str = "x-ensue-proxy-secret";
/// The minimum length of the shared secret, in bytes.
pub const PROXY_SECRET_BYTES_MIN: usize = 32;
/// The prefix of the groups that a proxy names.
const GROUP_PREFIX: &str = "proxy";

/// The setting `login.proxy` as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "`ProxySettings` describes the fields")]
pub struct WrittenProxy {
    pub from: OneOrMany,
    pub user: String,
    pub groups: Option<String>,
    pub secret: WrittenSecret,
}

/// The setting `login.proxy`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxySettings {
    /// The networks of the proxies.
    pub from: Vec<IpNet>,
    /// The header with the name, in lower case.
    pub user: String,
    /// The header with the groups, separated by commas, in lower case.
    pub groups: Option<String>,
    /// Where the shared secret is.
    pub secret: SecretSource,
}

/// Whom a proxy names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyIdentity {
    /// The name.
    pub name: String,
    /// The groups, each with `proxy:` before it.
    pub groups: Groups,
}

/// Why the headers of a proxy are refused.
#[derive(Clone, Debug, PartialEq, Eq, Error, Explain)]
#[non_exhaustive]
#[explain(slug = "proxy-header-refused", fault = Malformed)]
pub enum ProxyRefusal {
    /// The peer is not a proxy, or does not know the secret.
    #[error("the header `{header}` is accepted only from a configured proxy with its secret")]
    #[explain(hint = "send the request without this header, or check `login.proxy` in `ensue.yaml`")]
    NotAProxy {
        /// The first such header.
        header: String,
    },
    /// A header is missing, repeated or not text.
    #[error("the proxy must send the header `{header}` once")]
    NotOnce {
        /// The header.
        header: String,
    },
    /// The name or a group is not valid.
    #[error("the header `{header}` of the proxy is not valid: {why}")]
    Invalid {
        /// The header.
        header: String,
        /// What is wrong.
        why: String,
    },
}

impl ProxySettings {
    /// Checks the setting.
    ///
    /// # Errors
    /// If a network, a header or the secret is not valid.
    pub fn check(written: WrittenProxy) -> Result<Self, SettingsError> {
        let invalid = |setting: &str, why: String| SettingsError::Invalid { setting: format!("login.proxy.{setting}"), why };
        let network = |text: &String| {
            let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            network.map_err(|_| invalid("from", format!("`{text}` is not a network like 10.0.0.7/32")))
        };
        let from: Vec<IpNet> = written.from.into_vec().iter().map(network).collect::<Result<_, _>>()?;
        if from.is_empty() {
            return Err(invalid("from", "write the network of at least one proxy".to_owned()));
        }
        if let Some(wide) = from.iter().find(|network| network.prefix_len() == 0) {
            return Err(invalid("from", format!("`{wide}` is everybody; write the addresses of the proxies")));
        }
        let header = |setting: &str, name: String| {
            let name = name.to_ascii_lowercase();
            let is_token = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            let is_taken = ["authorization", "cookie", "host", PROXY_SECRET_HEADER].contains(&name.as_str());
            if is_token && !is_taken { Ok(name) } else { Err(invalid(setting, format!("`{name}` cannot be used as such a header"))) }
        };
        let user = header("user", written.user)?;
        let groups = written.groups.map(|name| header("groups", name)).transpose()?;
        if groups.as_ref() == Some(&user) {
            return Err(invalid("groups", "it is the same header as `user`".to_owned()));
        }
        Ok(Self { from, user, groups, secret: written.secret.check("login.proxy.secret")? })
    }

    /// Returns true if a header with this name, in lower case, counts only from a proxy. Many programs read `_` as `-`, so a
    /// proxy may have let such a name pass: it counts as the other one here, and is refused.
    pub fn reads(&self, name: &str) -> bool {
        let own = [Some(self.user.as_str()), self.groups.as_deref(), Some(PROXY_SECRET_HEADER)];
        own.contains(&Some(&name.replace('_', "-")))
    }

    /// Returns the caller that the proxy names, or `None` if it names nobody. The names of `headers` must be in lower case, and
    /// `peer` must be the address of the connection.
    ///
    /// # Errors
    /// If the peer is not a proxy or does not send the secret, or if a header is missing, repeated or not valid.
    pub fn identify(&self, peer: IpAddr, headers: &[(String, String)], secret: &Secret) -> Result<Option<ProxyIdentity>, ProxyRefusal> {
        let Some((header, _)) = headers.iter().find(|(name, _)| self.reads(name)) else { return Ok(None) };
        if let Some((header, _)) = headers.iter().find(|(name, _)| name.contains('_') && self.reads(name)) {
            return Err(ProxyRefusal::NotAProxy { header: header.clone() });
        }
        let expected = secret.reveal().trim_ascii_end();
        let given = only(headers, PROXY_SECRET_HEADER).unwrap_or_default();
        let is_secret = expected.len() >= PROXY_SECRET_BYTES_MIN && bool::from(given.as_bytes().ct_eq(expected));
        let peer = peer.to_canonical();
        if !is_secret || !self.from.iter().any(|network| network.contains(&peer)) {
            return Err(ProxyRefusal::NotAProxy { header: header.clone() });
        }
        let names = |header: &str| headers.iter().any(|(name, _)| name == header);
        // A proxy may send its secret with every request, also where nobody has logged in.
        if !names(&self.user) && !self.groups.as_deref().is_some_and(names) {
            return Ok(None);
        }
        let name = only(headers, &self.user).ok_or_else(|| ProxyRefusal::NotOnce { header: self.user.clone() })?;
        check_name(name).map_err(|why| ProxyRefusal::Invalid { header: self.user.clone(), why })?;
        let groups = match &self.groups {
            Some(header) if names(header) => {
                let text = only(headers, header).ok_or_else(|| ProxyRefusal::NotOnce { header: header.clone() })?;
                parse_groups(text).map_err(|why| ProxyRefusal::Invalid { header: header.clone(), why })?
            }
            _ => Groups::NotSaid,
        };
        Ok(Some(ProxyIdentity { name: name.to_owned(), groups }))
    }
}

fn only<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    let mut found = headers.iter().filter(|(known, _)| known == name);
    found.next().map(|(_, value)| value.as_str()).filter(|_| found.next().is_none())
}

fn parse_groups(text: &str) -> Result<Groups, String> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let groups: BTreeSet<_> = names.map(|name| group(Some(GROUP_PREFIX), name)).collect::<Result<_, _>>()?;
    groups_of(groups).ok_or_else(|| format!("there are over {GROUPS_MAX} groups, or their names are too long"))
}
