//! The endpoint of a delivery: which hook its address names, and whether the hook takes it from there, by this method.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Response, header};
use axum::response::IntoResponse as _;
use ensue_engine::catalog::{HookMethod, PathPart, Webhook};
use ensue_engine::explain::Explain;
use ensue_engine::names::{PackName, SensorRef};
use ipnet::IpNet;
use thiserror::Error;

use crate::addresses::Sender;
use crate::api::Api;
use crate::permissions::{HooksRead, Permission as _};
use crate::problem::{Missing, Problem};
use crate::query;

/// A hook, as the address of a delivery names it.
pub(super) struct Endpoint {
    pub(super) sensor: SensorRef,
    pub(super) webhook: Arc<Webhook>,
    /// The parameters of the path.
    pub(super) path: Vec<(String, String)>,
}

/// The hook takes nothing from this address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Explain)]
#[error("this hook accepts no deliveries from your address")]
#[explain(slug = "address-not-allowed", fault = Forbidden,
    hint = "add the network of the sender to `allow` of the sensor; behind a proxy, list it in `trusted_proxies`")]
struct AddressNotAllowed;

/// Finds the hook at `<pack>/<sensor>`, or at a path below it; anything else is a hook that does not exist.
pub(super) fn at(api: &Api, hook: &str) -> Result<Endpoint, Problem> {
    let missing = || Problem::from(Missing::new(HooksRead::THING, hook));
    let (pack, rest) = hook.split_once('/').ok_or_else(missing)?;
    let (name, below) = rest.split_once('/').map_or((rest, None), |(name, below)| (name, Some(below)));
    let (sensor, webhook) = find(api, pack, name).ok_or_else(missing)?;
    let path = parameters(&webhook.path, below).ok_or_else(missing)?;
    Ok(Endpoint { sensor, webhook, path })
}

/// Finds the hook `<pack>/<sensor>`, whatever path it has below.
pub(super) fn by_name(api: &Api, hook: &str) -> Result<(SensorRef, Arc<Webhook>), Problem> {
    let found = hook.split_once('/').and_then(|(pack, name)| find(api, pack, name));
    found.ok_or_else(|| Missing::new(HooksRead::THING, hook).into())
}

fn find(api: &Api, pack: &str, name: &str) -> Option<(SensorRef, Arc<Webhook>)> {
    let pack: PackName = pack.parse().ok()?;
    let sensor = SensorRef::new(&pack, name).ok()?;
    let catalog = api.ports.installed.current();
    let webhook = catalog.sensors().get(&sensor)?.source.shared_endpoint()?;
    Some((sensor, webhook))
}

/// Returns the parameters of a path below a sensor's name, if it is the declared one.
fn parameters(declared: &[PathPart], below: Option<&str>) -> Option<Vec<(String, String)>> {
    let given: Vec<&str> = below.map_or_else(Vec::new, |below| below.split('/').collect());
    if given.len() != declared.len() {
        return None;
    }
    let mut parameters = Vec::new();
    for (part, text) in declared.iter().zip(given) {
        // A `+` in a path is a plus.
        let text = query::decode_component(&text.replace('+', "%2B")).filter(|text| !text.is_empty() && !text.contains('\0'))?;
        match part {
            PathPart::Text(expected) if *expected == text => {}
            PathPart::Text(_) => return None,
            PathPart::Parameter(name) => parameters.push((name.clone(), text)),
        }
    }
    Some(parameters)
}

impl Endpoint {
    /// Returns the method of a delivery, if the hook has it.
    pub(super) fn method(&self, method: &Method) -> Option<HookMethod> {
        HookMethod::of(method.as_str()).filter(|method| self.webhook.methods.contains(method))
    }

    /// Returns the methods of the hook, for a header.
    pub(super) fn methods(&self) -> String {
        methods(&self.webhook.methods)
    }

    /// Rejects a delivery from an address that the hook does not list.
    pub(super) fn demand_address(&self, parts: &Parts) -> Result<(), Problem> {
        if self.webhook.allow.is_empty() {
            return Ok(());
        }
        let address = parts.extensions.get::<Sender>().map(|sender| sender.address);
        let is_allowed = address.is_some_and(|address| is_in(&self.webhook.allow, address));
        if is_allowed { Ok(()) } else { Err(Problem::of(&AddressNotAllowed)) }
    }

    /// Returns the longest body that the hook takes on this node.
    pub(super) fn body_bytes_max(&self, of_node: usize) -> usize {
        self.webhook.body_bytes_max.map_or(of_node, |own| of_node.min(own as usize))
    }
}

fn is_in(networks: &[String], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().filter_map(|network| network.parse::<IpNet>().ok()).any(|network| network.contains(&address))
}

fn methods(methods: &[HookMethod]) -> String {
    let names = methods.iter().map(|method| method.as_str()).chain(["OPTIONS"]);
    names.collect::<Vec<_>>().join(", ")
}

/// Answers a delivery by a method that a hook does not have. A hook that does not exist answers as most hooks do.
pub(super) fn other_method(endpoint: Option<&Endpoint>, method: &Method) -> Response<axum::body::Body> {
    let allowed = endpoint.map_or_else(|| methods(&[HookMethod::Post]), Endpoint::methods);
    let mut response = Problem::method_not_allowed(method).into_response();
    response.headers_mut().extend(HeaderValue::try_from(allowed).ok().map(|allowed| (header::ALLOW, allowed)));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room() -> [PathPart; 2] {
        [PathPart::Text("rooms".into()), PathPart::Parameter("room".into())]
    }

    #[test]
    fn path_below_a_sensor_has_its_parameters() {
        let of = |below| parameters(&room(), below).map(|found| found.into_iter().map(|(name, value)| format!("{name}={value}")).collect());
        let found = |text: &str| Some(vec![text.to_owned()]);
        assert_eq!(of(Some("rooms/shed")), found("room=shed"));
        assert_eq!(of(Some("rooms/a%2Fb+c%20d")), found("room=a/b+c d"));
        for bad in
            [None, Some(""), Some("rooms"), Some("rooms/"), Some("rooms/shed/"), Some("halls/shed"), Some("rooms/%ff"), Some("rooms/%00")]
        {
            assert_eq!(of(bad), None::<Vec<String>>, "{bad:?}");
        }
        assert_eq!(parameters(&[], None), Some(Vec::new()));
        assert_eq!(parameters(&[], Some("")), None);
    }

    #[test]
    fn address_is_compared_in_its_shortest_form() {
        let networks = ["10.0.0.0/8".to_owned(), "2001:db8::/32".to_owned()];
        for (address, expected) in
            [("10.1.2.3", true), ("::ffff:10.1.2.3", true), ("11.1.2.3", false), ("2001:db8::1", true), ("::1", false)]
        {
            assert_eq!(is_in(&networks, address.parse().unwrap()), expected, "{address}");
        }
    }
}
