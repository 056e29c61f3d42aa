//! The connections and the `url` of `ensue.yaml`, compared with what packs list and use.
//!
//! It does not read `ensue.yaml`: callers pass what it declares.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use ensue_engine::catalog::ConnectionKind;
use ensue_engine::names::{ConnectionName, PackName, SensorRef};
use ensue_expression::nearest;

use crate::check::GoodPack;
use crate::diagnostics::{Code, Diagnostic, Severity};
use crate::fields::quote_names;
use crate::source::SourceText;
use crate::yaml::WithSpan;

/// The name of the settings file in diagnostics.
pub(crate) const SETTINGS_FILE: &str = "ensue.yaml";

/// A connection that `ensue.yaml` declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredConnection {
    /// Its kind.
    pub kind: ConnectionKind,
    /// The only packs that may use it; `None` if every pack that lists it may.
    pub packs: Option<BTreeSet<PackName>>,
}

/// The connections that a pack lists, with their places, and the kinds as which it uses them.
#[derive(Clone, Debug, Default)]
pub(crate) struct PackConnections {
    pub(crate) file: Option<SourceText>,
    pub(crate) listed: Vec<WithSpan<ConnectionName>>,
    pub(crate) used: BTreeSet<(ConnectionName, ConnectionKind)>,
    /// Those that the operator chose in the settings of the pack.
    pub(crate) chosen: Vec<ChosenConnection>,
}

/// A connection that a setting of a pack names.
#[derive(Clone, Debug)]
pub(crate) struct ChosenConnection {
    /// The setting.
    pub(crate) setting: String,
    /// What it names.
    pub(crate) name: String,
    /// The kind that the pack uses it as.
    pub(crate) kind: ConnectionKind,
}

/// A webhook whose senders sign the public URL, with its place.
#[derive(Clone, Debug)]
pub(crate) struct UrlSigned {
    pub(crate) sensor: SensorRef,
    pub(crate) file: SourceText,
    pub(crate) at: Range<usize>,
}

/// The longest body that a webhook asks for, with its place.
#[derive(Clone, Debug)]
pub(crate) struct BodyLimit {
    pub(crate) sensor: SensorRef,
    pub(crate) bytes: usize,
    pub(crate) file: SourceText,
    pub(crate) at: Range<usize>,
}

impl GoodPack {
    /// Reports its webhooks that ask for longer bodies than a node takes, whose `ensue.yaml` says so with `webhooks.body_max`.
    pub fn body_findings(&self, bytes_max: usize) -> Vec<Diagnostic> {
        let tell = |limit: &BodyLimit| {
            let BodyLimit { sensor, bytes, .. } = limit;
            let message = format!("`body_max` of `{sensor}` is {bytes}, but this node takes bodies of at most {bytes_max} bytes");
            let mut one = Diagnostic::new(Severity::Error, Code::InvalidValue, &limit.file, limit.at.clone(), message);
            one.pack = Some(self.name.clone());
            one.hint(format!("set `webhooks: {{ body_max: {bytes} }}` in `ensue.yaml`, or lower `body_max` of the sensor"));
            one
        };
        self.body_limits.iter().filter(|limit| limit.bytes > bytes_max).map(tell).collect()
    }
}

/// Reports webhooks whose senders sign the public URL, for a node whose `ensue.yaml` has no `url`.
pub fn url_findings(packs: &[GoodPack]) -> Vec<Diagnostic> {
    let tell = |pack: &GoodPack, signed: &UrlSigned| {
        let message = format!(
            "the senders of `{}` sign the public URL, and `ensue.yaml` has no `url`: deliveries through a proxy are rejected",
            signed.sensor
        );
        let mut one = Diagnostic::new(Severity::Warning, Code::UrlUnset, &signed.file, signed.at.clone(), message);
        one.pack = Some(pack.name.clone());
        one.hint("set it there to the address that the sender has, for example `url: https://ensue.example.test`");
        one
    };
    packs.iter().flat_map(|pack| pack.url_signed.iter().map(move |signed| tell(pack, signed))).collect()
}

/// Reports connections that packs list, or that their settings name, and that `ensue.yaml` does not declare, does not let them use, or
/// declares as another kind.
pub fn connection_findings(packs: &[GoodPack], declared: &BTreeMap<ConnectionName, DeclaredConnection>) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = packs
        .iter()
        .flat_map(|pack| pack.connections.chosen.iter().filter_map(|chosen| finding_of_setting(pack, chosen, declared)))
        .collect();
    for pack in packs {
        let Some(file) = &pack.connections.file else { continue };
        for name in &pack.connections.listed {
            let written = name.value.as_str();
            let tell = |code, message: String, near: Option<&str>, hint: String| {
                let mut one = Diagnostic::new(Severity::Error, code, file, name.span.clone(), message);
                one.pack = Some(pack.name.clone());
                one.did_you_mean(near);
                one.hint(hint);
                one
            };
            let Some(one) = declared.get(&name.value) else {
                let names: Vec<&str> = declared.keys().map(ConnectionName::as_str).collect();
                let hint = match names.is_empty() {
                    true => "declare it there under `connections`".to_owned(),
                    false => format!("it has {}", quote_names(&names)),
                };
                let near = nearest(written, names.iter().copied());
                found.push(tell(Code::UnknownConnection, format!("`ensue.yaml` has no connection `{written}`"), near, hint));
                continue;
            };
            if one.packs.as_ref().is_some_and(|packs| !packs.contains(&pack.name)) {
                let message = format!("`ensue.yaml` does not let the pack `{}` use the connection `{written}`", pack.name);
                found.push(tell(Code::UnknownConnection, message, None, format!("add `{}` to `packs` of the connection", pack.name)));
            }
            for (_, kind) in pack.connections.used.iter().filter(|(used, kind)| *used == name.value && *kind != one.kind) {
                let (is, uses) = (one.kind.as_str(), kind.as_str());
                let message = format!("the connection `{written}` is of the kind `{is}`, but the pack uses it as `{uses}`");
                found.push(tell(Code::ConnectionKind, message, None, format!("use a connection of the kind `{uses}`")));
            }
        }
    }
    found
}

/// Returns what is wrong with a connection that a setting of a pack names.
fn finding_of_setting(
    pack: &GoodPack,
    chosen: &ChosenConnection,
    declared: &BTreeMap<ConnectionName, DeclaredConnection>,
) -> Option<Diagnostic> {
    let ChosenConnection { setting, name, kind } = chosen;
    let at = format!("packs.{}.config.{setting}", pack.name);
    let file = SourceText::new(SETTINGS_FILE, "");
    let tell = |code, message: String, near: Option<&str>, hint: String| {
        let mut one = Diagnostic::new(Severity::Error, code, &file, 0..0, message);
        one.did_you_mean(near);
        one.hint(hint);
        Some(one)
    };
    let Some((_, one)) = declared.iter().find(|(known, _)| known.as_str() == name) else {
        let names: Vec<&str> = declared.keys().map(ConnectionName::as_str).collect();
        let hint = match names.is_empty() {
            true => "declare it under `connections`".to_owned(),
            false => format!("`connections` has {}", quote_names(&names)),
        };
        let message = format!("`{at}` names the connection `{name}`, which is not declared");
        return tell(Code::UnknownConnection, message, nearest(name, names.iter().copied()), hint);
    };
    if one.kind != *kind {
        let message =
            format!("`{at}` must name a connection of the kind `{}`, but `{name}` is of the kind `{}`", kind.as_str(), one.kind.as_str());
        return tell(Code::ConnectionKind, message, None, format!("use a connection of the kind `{}`", kind.as_str()));
    }
    if one.packs.as_ref().is_some_and(|packs| !packs.contains(&pack.name)) {
        let message = format!("`{at}` names the connection `{name}`, whose `packs` do not name `{}`", pack.name);
        return tell(Code::UnknownConnection, message, None, format!("add `{}` to `packs` of the connection", pack.name));
    }
    None
}
