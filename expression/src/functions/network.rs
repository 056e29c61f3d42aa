//! Network addresses.

use std::net::IpAddr;

use ipnet::IpNet;

use super::signature::{BOOL, Gives, STRING, takes};
use super::{Arguments, CallForm, Function};
use crate::error::Fault;
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] =
    &[Function::new(CallForm::Either, "cidr", "address.cidr(\"10.0.0.0/8\")", &[takes(&[STRING, STRING], Gives::A(BOOL))], cidr)];

/// Returns whether an address is in a network. A version 4 address in its version 6 form is the same address.
fn cidr<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let (address, network) = (arguments.read_text(0)?, arguments.read_text(1)?);
    let address: IpAddr =
        address.parse().map_err(|_| arguments.invalid(format_args!("{} is not an IP address", arguments.values[0].brief())))?;
    let network: IpNet = network.parse().map_err(|_| {
        arguments.invalid(format_args!("{} is not a network", arguments.values[1].brief())).hint("write it as `10.0.0.0/8`")
    })?;
    Ok(Value::Bool(network.contains(&address) || network.contains(&address.to_canonical())))
}
