//! Versions of software.

use semver::{Version, VersionReq};

use super::signature::{BOOL, Gives, INT, MAP, STRING, takes};
use super::{Arguments, CallForm, Function};
use crate::error::Fault;
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new(
        CallForm::Either,
        "semver",
        "semver(version, \"^1.2\")",
        &[takes(&[STRING], Gives::A(MAP)), takes(&[STRING, STRING], Gives::A(BOOL))],
        semver,
    ),
    Function::new(
        CallForm::Function,
        "semver.compare",
        "semver.compare(one, other)",
        &[takes(&[STRING, STRING], Gives::A(INT))],
        |arguments| {
            let (one, other) = (version(arguments, 0)?, version(arguments, 1)?);
            Ok(Value::Int(one.cmp_precedence(&other) as i64))
        },
    ),
];

/// Returns whether a version meets a requirement, or without one, the version's parts.
fn semver<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let version = version(arguments, 0)?;
    if arguments.len() == 2 {
        let requirement = arguments.read_text(1)?;
        return match VersionReq::parse(&requirement) {
            Ok(requirement) => Ok(Value::Bool(requirement.matches(&version))),
            Err(error) => Err(arguments.invalid(error)),
        };
    }
    Ok(Value::map([
        ("major", whole(version.major)),
        ("minor", whole(version.minor)),
        ("patch", whole(version.patch)),
        ("pre", Value::from(version.pre.to_string())),
        ("build", Value::from(version.build.to_string())),
    ]))
}

/// Returns an int if the number fits, as for the numbers of JSON.
fn whole<'a>(number: u64) -> Value<'a> {
    i64::try_from(number).map_or(Value::Uint(number), Value::Int)
}

/// Parses a version, with or without the `v` that tags have.
fn version(arguments: &mut Arguments<'_, '_>, index: usize) -> Result<Version, Fault> {
    let text = arguments.read_text(index)?;
    Version::parse(text.strip_prefix('v').unwrap_or(&text))
        .map_err(|error| arguments.invalid(format_args!("{}: {error}", arguments.values[index].brief())))
}
