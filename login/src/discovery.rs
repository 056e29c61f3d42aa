//! The discovery document of an issuer: where its keys are, and where people log in.

use bytes::Bytes;
use ensue_expression::{Document, Node, NodeKind};
use thiserror::Error;
use url::Url;

use crate::refusal::to_short_line;
use crate::settings::is_protected;

/// The path of the document below the URL of the issuer.
const PATH: &str = "/.well-known/openid-configuration";

/// What an issuer says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Where its keys are.
    pub jwks_uri: Url,
    /// Where the browser goes to log in.
    pub authorization_endpoint: Option<Url>,
    /// Where a code is exchanged for tokens.
    pub token_endpoint: Option<Url>,
    /// Whether each response in the browser names the issuer (RFC 9207).
    pub response_issuer: ResponseIssuer,
    /// How a client with a secret authenticates.
    pub client_authentication: ClientAuthentication,
}

/// Whether a response in the browser names the issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseIssuer {
    /// Always.
    Always,
    /// The issuer does not promise it.
    NotPromised,
}

/// How a client with a secret authenticates at the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// In the header `Authorization`.
    Basic,
    /// In the form.
    Post,
}

/// Why a discovery document is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// The document is not JSON.
    #[error("the discovery document is not a JSON object")]
    NotJson,
    /// The document is that of another issuer.
    #[error("the discovery document is that of the issuer `{found}`; the setting `issuer` must be the same, byte for byte")]
    OtherIssuer {
        /// The issuer that it names.
        found: String,
    },
    /// A member is missing or malformed.
    #[error("`{0}` of the discovery document is missing or malformed")]
    Malformed(&'static str),
    /// A URL is not encrypted. Only an issuer that is configured as a server on this machine may name URLs of itself that
    /// are not.
    #[error("`{0}` of the discovery document must start with `https://`")]
    Unprotected(&'static str),
    /// The keys are on a host that the operator did not name.
    #[error("the keys are on the host `{host}`; if that is right, add it to `keys_from.hosts`")]
    OtherHost {
        /// The host.
        host: String,
    },
    /// The issuer cannot do what a login needs.
    #[error("the issuer does not support {0}")]
    Unsupported(&'static str),
}

/// Returns the URL of the discovery document. The issuer's URL was checked before.
pub(crate) fn url_of(issuer: &str) -> Result<Url, DiscoveryError> {
    Url::parse(&format!("{}{PATH}", issuer.trim_end_matches('/'))).map_err(|_| DiscoveryError::Malformed("issuer"))
}

/// Reads the discovery document of `issuer`. The keys may be on its host, or on one of `hosts`.
///
/// # Errors
/// If the document is of another issuer, a member is not valid, or the keys are on a host that is not named.
pub fn read(document: &[u8], issuer: &str, hosts: &[String]) -> Result<Metadata, DiscoveryError> {
    let document = Document::parse(Bytes::copy_from_slice(document)).map_err(|_| DiscoveryError::NotJson)?;
    let root = document.root();
    if root.kind() != NodeKind::Object {
        return Err(DiscoveryError::NotJson);
    }
    let found = root.get("issuer").and_then(Node::as_str).ok_or(DiscoveryError::Malformed("issuer"))?;
    if found != issuer {
        return Err(DiscoveryError::OtherIssuer { found: to_short_line(&found) });
    }
    let own = Url::parse(issuer).map_err(|_| DiscoveryError::Malformed("issuer"))?;
    let url = |member| url(root, member, &own);
    let jwks_uri = url("jwks_uri")?.ok_or(DiscoveryError::Malformed("jwks_uri"))?;
    let host = jwks_uri.host_str().unwrap_or_default();
    if own.host_str() != Some(host) && !hosts.iter().any(|named| named == host) {
        return Err(DiscoveryError::OtherHost { host: to_short_line(host) });
    }
    if names(root, "code_challenge_methods_supported")?.is_some_and(|methods| !methods.iter().any(|method| method == "S256")) {
        return Err(DiscoveryError::Unsupported("PKCE with S256"));
    }
    let response_issuer = match root.get("authorization_response_iss_parameter_supported") {
        None => ResponseIssuer::NotPromised,
        Some(node) => match node.as_bool() {
            Some(true) => ResponseIssuer::Always,
            Some(false) => ResponseIssuer::NotPromised,
            None => return Err(DiscoveryError::Malformed("authorization_response_iss_parameter_supported")),
        },
    };
    let methods = names(root, "token_endpoint_auth_methods_supported")?;
    let has = |name: &str| methods.as_ref().is_none_or(|methods| methods.iter().any(|method| method == name));
    let client_authentication =
        if !has("client_secret_basic") && has("client_secret_post") { ClientAuthentication::Post } else { ClientAuthentication::Basic };
    Ok(Metadata {
        jwks_uri,
        authorization_endpoint: url("authorization_endpoint")?,
        token_endpoint: url("token_endpoint")?,
        response_issuer,
        client_authentication,
    })
}

/// Returns the URL of a member. Secrets are sent there, so it is encrypted, unless the operator configured the issuer
/// without encryption on this machine, and the URL is on the same server.
fn url(root: Node<'_>, member: &'static str, issuer: &Url) -> Result<Option<Url>, DiscoveryError> {
    let Some(node) = root.get(member) else { return Ok(None) };
    let text = node.as_str().ok_or(DiscoveryError::Malformed(member))?;
    let url = Url::parse(&text).map_err(|_| DiscoveryError::Malformed(member))?;
    let is_own = is_protected(issuer) && url.origin() == issuer.origin();
    let is_encrypted = url.scheme() == "https" && url.has_host();
    if is_encrypted || (url.scheme() == "http" && is_own) { Ok(Some(url)) } else { Err(DiscoveryError::Unprotected(member)) }
}

fn names(root: Node<'_>, member: &'static str) -> Result<Option<Vec<String>>, DiscoveryError> {
    let Some(node) = root.get(member) else { return Ok(None) };
    if node.kind() != NodeKind::Array {
        return Err(DiscoveryError::Malformed(member));
    }
    let names: Option<Vec<String>> = node.items().map(|item| item.as_str().map(std::borrow::Cow::into_owned)).collect();
    names.map(Some).ok_or(DiscoveryError::Malformed(member))
}
