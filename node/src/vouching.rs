//! Callers whom a trusted proxy names, or a client certificate. The crate `login` decides whom.

use std::net::IpAddr;
use std::sync::Arc;

use ensue_api::ports::{Access as _, Credential, Finding, PortError, VouchedCaller};
use ensue_engine::names::IssuerName;
use ensue_engine::ports::Secret;
use ensue_login::certificates::{Certificate, CertificateRefused, CertificateSettings};
use ensue_login::proxy::{ProxyRefusal, ProxySettings};
use ensue_login::settings::SecretSource;
use ensue_login::{Groups, IssuerIdentity, Kind};
use reqwest::header::HeaderMap;

use crate::certificates::NamingAuthorities;
use crate::clock::SteppedClock;
use crate::config::read_secret;
use crate::key_ring::KeyRing;
use crate::machine::note;
use crate::people::NodePeople;

/// The name of the findings about proxies.
const CHECK: &str = "proxy";
/// A credential counts until the end of the hour after this one, so that its rights are compiled once in an hour. A request
/// proves it again; a stream ends then.
const HOUR_MILLIS: u64 = 60 * 60 * 1_000;

/// Those who vouch for callers.
pub(crate) struct NodeVouching {
    pub(crate) proxy: Option<ProxySettings>,
    pub(crate) certificates: Option<(CertificateSettings, NamingAuthorities)>,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) people: Arc<NodePeople>,
    pub(crate) clock: Arc<dyn SteppedClock>,
}

impl NodeVouching {
    /// Reports a secret that is not set.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let Some(proxy) = self.proxy.as_ref().filter(|proxy| self.secret(proxy).is_none()) else { return Vec::new() };
        let hint = match &proxy.secret {
            SecretSource::Key(key) => format!("set it with `ensue keys set {key}`: at least 32 bytes, the same as at the proxy"),
            SecretSource::File(file) => format!("write it into {}: at least 32 bytes, the same as at the proxy", file.display()),
        };
        vec![note(CHECK, "no proxy can name anybody: the secret of `login.proxy` is not set", &hint)]
    }

    fn secret(&self, proxy: &ProxySettings) -> Option<Secret> {
        match &proxy.secret {
            SecretSource::Key(key) => self.keys.open(key).ok().flatten().map(|secret| (*secret).clone()),
            SecretSource::File(file) => read_secret(file).ok(),
        }
    }

    fn to_admitted(vouched: &VouchedCaller) -> IssuerIdentity {
        IssuerIdentity {
            issuer: vouched.source.clone(),
            subject: vouched.name.clone(),
            // Programs have certificates; people come by a proxy.
            kind: if vouched.source == IssuerName::certificate() { Kind::Service } else { Kind::Person },
            name: vouched.name.clone(),
            groups: vouched.groups.clone().map_or(Groups::NotSaid, Groups::Said),
            issued: None,
            until: ensue_engine::time::Timestamp::from_micros(i64::MAX),
        }
    }

    fn credential(&self, vouched: &VouchedCaller, identity: ensue_engine::ids::IdentityId) -> Credential {
        let now = self.clock.now();
        let until = now.plus_millis(2 * HOUR_MILLIS - now.unix_millis() % HOUR_MILLIS);
        Credential::Issuer { identity, issuer: vouched.source.clone(), until }
    }
}

impl ensue_api::ports::Vouching for NodeVouching {
    fn by_proxy(&self, peer: IpAddr, headers: &HeaderMap) -> Result<Option<VouchedCaller>, PortError> {
        let Some(proxy) = self.proxy.as_ref().filter(|proxy| headers.keys().any(|name| proxy.reads(name.as_str()))) else {
            return Ok(None);
        };
        let pairs: Vec<(String, String)> = headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        // Without a secret, nobody is a proxy.
        let secret = self.secret(proxy).unwrap_or_else(|| Secret::new(Vec::new()));
        let named = proxy.identify(peer, &pairs, &secret).inspect_err(|refusal| {
            if let ProxyRefusal::NotAProxy { header } = refusal {
                tracing::warn!(%peer, header, "a header of a trusted proxy came from somebody else, or without the secret");
            }
        })?;
        let groups = |groups| match groups {
            Groups::Said(groups) => Some(groups),
            Groups::NotSaid => None,
        };
        Ok(named.map(|named| VouchedCaller { source: IssuerName::proxy(), name: named.name, groups: groups(named.groups) }))
    }

    fn by_certificate(&self, chain: &[Vec<u8>]) -> Result<Option<VouchedCaller>, PortError> {
        let Some(((settings, authorities), own)) = self.certificates.as_ref().zip(chain.first()) else { return Ok(None) };
        authorities.verify(chain).map_err(|why| CertificateRefused { setting: "ca", why })?;
        let name = settings.admit(&Certificate::read(own)?)?;
        Ok(Some(VouchedCaller { source: IssuerName::certificate(), name, groups: None }))
    }

    fn known_credential(&self, vouched: &VouchedCaller) -> Option<Credential> {
        let identity = self.people.table.identity_of(&vouched.source, &vouched.name)?;
        let directory = self.people.table.directory();
        let link = directory.identity(&identity)?.link(&vouched.source)?;
        let is_same = vouched.groups.as_ref().is_none_or(|groups| link.groups == *groups);
        is_same.then(|| self.credential(vouched, identity))
    }

    fn admit(&self, vouched: &VouchedCaller) -> Result<Credential, PortError> {
        let identity = self.people.admit(&Self::to_admitted(vouched))?;
        Ok(self.credential(vouched, identity))
    }
}
