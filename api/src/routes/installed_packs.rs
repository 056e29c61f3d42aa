//! The installed packs, triggers and sensors.
//!
//! Actions and rules have files of their own, because callers can do things with them.

use std::collections::BTreeSet;
use std::sync::Arc;

use ensue_engine::access::limit::Target;
use ensue_engine::access::permission::Permission;
use ensue_engine::catalog::{Sensor, Source};
use ensue_engine::names::{PackName, RuleRef, SensorRef, TriggerRef};
use ensue_engine::schedule::facts::ScheduleOwner;
use ensue_views::Pack;

use super::Routes;
use crate::auth::{AllowedCaller, Proof as _};
use crate::call::Call;
use crate::listing;
use crate::operation::Operation;
use crate::paging::PageQuery;
use crate::permissions::{PacksRead, Permission as _, SensorsRead, TriggersRead};
use crate::ports::Ports;
use crate::problem::{Missing, Outcome, Problem};
use crate::query::Query;
use crate::respond;
use crate::routes::{hooks, timers};
use crate::rows::read_row;
use crate::wire::packs::WirePack;
use crate::wire::sensors::WireSensor;
use crate::wire::triggers::WireTrigger;

/// The parameter that selects what a pack contains.
#[derive(Query)]
pub(super) struct PackQuery {
    /// Only those with this name or id.
    pub(super) pack: Option<String>,
}

/// Declares the routes of packs.
pub(super) fn declare_packs(routes: &mut Routes) {
    routes.get::<PacksRead>(
        "/packs",
        packs,
        Operation::lists::<WirePack>("pack_list", "Lists packs, including those that were rejected", &[PageQuery::PARAMETERS]).sees_views(),
    );
    routes.get::<PacksRead>(
        "/packs/{pack}",
        pack,
        Operation::shows::<WirePack>("pack_get", "Returns a pack with its findings").sees_views(),
    );
}

/// Declares the routes of triggers and sensors.
pub(super) fn declare_triggers_and_sensors(routes: &mut Routes) {
    routes.get::<TriggersRead>(
        "/triggers",
        triggers,
        Operation::lists::<WireTrigger>("trigger_list", "Lists triggers", &[PackQuery::PARAMETERS, PageQuery::PARAMETERS]),
    );
    routes.get::<TriggersRead>(
        "/triggers/{ref}",
        trigger,
        Operation::shows::<WireTrigger>("trigger_get", "Returns a trigger with the schema of its payload"),
    );
    routes.get::<SensorsRead>(
        "/sensors",
        sensors,
        Operation::lists::<WireSensor>("sensor_list", "Lists sensors", &[PackQuery::PARAMETERS, PageQuery::PARAMETERS]).sees_views(),
    );
    routes.get::<SensorsRead>("/sensors/{ref}", sensor, Operation::shows::<WireSensor>("sensor_get", "Returns a sensor").sees_views());
}

/// Lists packs: the installed ones, and those in the folder that could not be installed.
pub(super) async fn packs(allowed: AllowedCaller<PacksRead>, call: Call) -> Outcome {
    let installed = &call.api().ports.installed;
    let names: BTreeSet<PackName> = installed.current().packs().keys().chain(installed.findings().keys()).cloned().collect();
    let names = names.into_iter().filter(|name| allowed.includes(&Target::of_pack(name.as_str())));
    let listed = listing::of_catalog(&call, &allowed, names, ToString::to_string)?;
    let names = listed.items;
    let items = call
        .api()
        .threads
        .blocking(move |ports| names.iter().map(|name| pack_to_wire(ports, name)).collect::<Result<Vec<_>, _>>())
        .await??;
    call.answer_page(items, listed.next.as_deref(), &listed.page)
}

/// Shows a pack with its findings.
pub(super) async fn pack(allowed: AllowedCaller<PacksRead>, call: Call) -> Outcome {
    let name: PackName = call.parse_part("pack", PacksRead::THING)?;
    allowed.demand_on(name.as_str(), &Target::of_pack(name.as_str()))?;
    let installed = &call.api().ports.installed;
    if !installed.current().packs().contains_key(&name) && !installed.findings().contains_key(&name) {
        return Err(Missing::new(PacksRead::THING, name.as_str()).into());
    }
    respond::json(&call.api().threads.blocking(move |ports| pack_to_wire(ports, &name)).await??)
}

/// Shows a pack. Blocking.
fn pack_to_wire(ports: &Ports, name: &PackName) -> Result<WirePack, Problem> {
    let catalog = ports.installed.current();
    let pack = catalog.packs().get(name);
    let installed = pack.map(|_| read_row::<Pack>(ports, name.as_str())).transpose()?.flatten();
    let findings = ports.installed.findings();
    Ok(WirePack::new(name, pack.map(|pack| &**pack), installed, findings.get(name).map_or(&[], Vec::as_slice)))
}

/// Lists triggers.
pub(super) async fn triggers(allowed: AllowedCaller<TriggersRead>, call: Call) -> Outcome {
    let catalog = call.api().ports.installed.current();
    let PackQuery { pack } = call.parameters()?;
    let of_pack = catalog.triggers().keys().filter(|name| pack.as_ref().is_none_or(|pack| name.pack().as_str() == pack));
    let of_pack = of_pack.filter(|name| allowed.includes(&Target::in_pack_of(name.as_str())));
    let listed = listing::of_catalog(&call, &allowed, of_pack, ToString::to_string)?;
    let items = listed.items.iter().filter_map(|name| trigger_shown(&allowed, &call, name)).collect();
    call.answer_page(items, listed.next.as_deref(), &listed.page)
}

/// Shows a trigger.
pub(super) async fn trigger(allowed: AllowedCaller<TriggersRead>, call: Call) -> Outcome {
    let name: TriggerRef = call.parse_part("ref", TriggersRead::THING)?;
    allowed.demand_on(name.as_str(), &Target::in_pack_of(name.as_str()))?;
    let shown = trigger_shown(&allowed, &call, &name).ok_or_else(|| Missing::new(TriggersRead::THING, name.as_str()))?;
    respond::json(&shown)
}

/// Shows a trigger with its rules, as far as the caller may see them.
fn trigger_shown(allowed: &AllowedCaller<TriggersRead>, call: &Call, name: &TriggerRef) -> Option<WireTrigger> {
    let catalog = call.api().ports.installed.current();
    let trigger = catalog.triggers().get(name)?;
    let rules = catalog.index().of_trigger(name).iter().map(|rule| &rule.name);
    let rights = &allowed.holder().rights;
    let rules: Vec<RuleRef> =
        rules.filter(|rule| rights.include(Permission::RulesRead, &Target::in_pack_of(rule.as_str()))).cloned().collect();
    Some(WireTrigger::new(trigger, rules))
}

/// Lists sensors.
pub(super) async fn sensors(allowed: AllowedCaller<SensorsRead>, call: Call) -> Outcome {
    let catalog = call.api().ports.installed.current();
    let PackQuery { pack } = call.parameters()?;
    let of_pack = catalog.sensors().values().filter(|sensor| pack.as_ref().is_none_or(|pack| sensor.name.pack().as_str() == pack));
    let of_pack = of_pack.filter(|sensor| allowed.includes(&Target::in_pack_of(sensor.name.as_str())));
    let listed = listing::of_catalog(&call, &allowed, of_pack, |sensor| sensor.name.to_string())?;
    let sensors: Vec<(Arc<Sensor>, String)> =
        listed.items.into_iter().map(|sensor| (sensor.clone(), hooks::url(call.api(), &sensor.name))).collect();
    let shown =
        move |ports: &Ports| sensors.into_iter().map(|(sensor, url)| sensor_shown(ports, &sensor, url)).collect::<Result<Vec<_>, _>>();
    let items = call.api().threads.blocking(shown).await??;
    call.answer_page(items, listed.next.as_deref(), &listed.page)
}

/// Shows a sensor.
pub(super) async fn sensor(allowed: AllowedCaller<SensorsRead>, call: Call) -> Outcome {
    let name: SensorRef = call.parse_part("ref", SensorsRead::THING)?;
    allowed.demand_on(name.as_str(), &Target::in_pack_of(name.as_str()))?;
    let catalog = call.api().ports.installed.current();
    let sensor = catalog.sensors().get(&name).cloned().ok_or_else(|| Missing::new(SensorsRead::THING, name.as_str()))?;
    let url = hooks::url(call.api(), &name);
    respond::json(&call.api().threads.blocking(move |ports| sensor_shown(ports, &sensor, url)).await??)
}

/// Shows a sensor. Blocking.
fn sensor_shown(ports: &Ports, sensor: &Sensor, url: String) -> Result<WireSensor, Problem> {
    let waiting = match sensor.source {
        Source::Timer { .. } => timers::of(ports, &ScheduleOwner::Sensor(sensor.name.clone()))?,
        Source::Webhook { .. } | Source::Process(_) | Source::Poll(_) | Source::File(_) => None,
    };
    Ok(WireSensor::new(sensor, url, waiting, ports.sensors.status(&sensor.name)))
}
