//! Tests of pulling sensors: what their next messages would make, without taking them.

use std::time::Duration;

use ensue_engine::access::limit::Target;
use ensue_engine::command::Ask;
use ensue_engine::names::SensorRef;

use super::Routes;
use super::sensor_runs::sensor_of;
use crate::auth::{AllowedCaller, Proof as _, Secrecy};
use crate::call::Call;
use crate::operation::{Operation, WRITTEN};
use crate::permissions::{EventsRead, Permission as _, SensorsRead, SensorsWrite};
use crate::ports::{SensorTest, TestedFrom};
use crate::problem::Outcome;
use crate::respond::{self, WriteOutcome};
use crate::wire::sensor_tests::{WireSensorTest, WireSensorTested, WireTestPlace};

/// How many messages a test reads if the caller does not say.
const COUNT: usize = 1;
/// How long a test waits if the caller does not say.
const TIMEOUT_SECONDS: u64 = 10;

/// Declares the route of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.post::<SensorsWrite>(
        "/sensors/{ref}/test",
        test,
        Operation::new("sensor_test", "Reads the next messages of a pulling sensor and returns what they would make, without taking them")
            .passes_keys_over()
            .takes_json::<WireSensorTest>(r#"{"count": 3}"#)
            .gives::<WireSensorTested>(200, "What was found. That somebody tested the sensor is recorded.", WRITTEN)
            .refuses(&[(422, "sensor_does_not_pull"), (429, "busy")]),
    );
}

/// Tests a sensor.
pub(super) async fn test(allowed: AllowedCaller<SensorsWrite>, mut call: Call) -> Outcome {
    let name: SensorRef = call.parse_part("ref", SensorsRead::THING)?;
    let target = Target::in_pack_of(name.as_str());
    allowed.demand_on(name.as_str(), &target)?;
    // The answer shows what would be events, and the rules that match them.
    let reads = AllowedCaller::<EventsRead>::demand(&*call.api().ports.access, call.request(), &Secrecy::Open)?;
    if !reads.includes(&target) {
        return Err(reads.beyond_limit(name.as_str()));
    }
    let WireSensorTest { count, timeout_seconds, place } = call.json_or_nothing().await?;
    sensor_of(&call, &name)?;
    let committed = call.api().submit(call.on_behalf(&allowed)?, Ask::NoteSensorTest { sensor: name.clone() }).await?;
    let asked = SensorTest {
        sensor: name.clone(),
        count: count.unwrap_or(COUNT),
        timeout: Duration::from_secs(timeout_seconds.unwrap_or(TIMEOUT_SECONDS)),
        from: match place {
            Some(WireTestPlace::Start) => TestedFrom::Start,
            None => TestedFrom::Cursor,
        },
    };
    let tested = call.api().ports.sensors.test(asked).await?;
    respond::answer_write(WriteOutcome::Done, committed.position, &WireSensorTested::new(name, tested))
}
