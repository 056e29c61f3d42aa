//! What happens around the pulling sensors of a world: messages come to their peers, and people disable,
//! enable, restart and rewind them.

use ensue_engine::command::{Ask, Command};
use ensue_engine::record::Actor;
use ensue_engine::sensors::cursor::Cursor;
use ensue_engine::sensors::facts::SensorMode;

use super::{Event, World};
use crate::peers::{self, read_of};
use crate::sometimes;

/// How often each sensor is restarted once faults have ended: its last back-off may be long.
const RESTARTS_AT_END: u32 = 3;

impl World {
    /// Schedules the next messages of the peers.
    pub(super) fn schedule_messages(&mut self) {
        if let Some(after) = self.peers.until_next() {
            self.after(after, Event::Messages);
        }
    }

    /// Messages come.
    pub(super) fn bring_messages(&mut self) {
        self.peers.give();
        self.wake_worker();
        self.schedule_messages();
    }

    /// A person looks after the sensors: does something to one of them, and brings all back once faults have ended.
    pub(super) fn attend_to_sensors(&mut self) {
        let Some(node) = self.node.as_ref().filter(|node| node.accepts() && self.peers.are_there()) else { return };
        let command = |ask| Command { actor: Actor::Token("attendant".to_owned()), trace: None, ask };
        if self.ground.is_healed() {
            let is_restarted = self.sensors_restarted >= RESTARTS_AT_END;
            self.sensors_restarted += 1;
            for sensor in peers::sensors() {
                let is_disabled = node.look(|engine| engine.sensors().mode(&sensor) == SensorMode::Disabled);
                if is_disabled == Some(true) {
                    node.submit(command(Ask::SetSensorMode { sensor: sensor.clone(), mode: SensorMode::Enabled }));
                } else if !is_restarted {
                    node.submit(command(Ask::RestartSensor { sensor }));
                }
            }
            return;
        }
        let Some(mut random) = self.peers.meddle() else { return };
        let [tape, queue] = peers::sensors();
        let sensor = if random.chance(0.6) { tape.clone() } else { queue };
        let Some((is_disabled, read)) = node.look(|engine| {
            let read = engine.sensors().of(&tape).map_or(0, |(_, pulling)| read_of(pulling.cursor.as_ref()));
            (engine.sensors().mode(&sensor) == SensorMode::Disabled, read)
        }) else {
            return;
        };
        let ask = match random.pick_weighted(&[3, 2, 2]) {
            0 if is_disabled => Ask::SetSensorMode { sensor, mode: SensorMode::Enabled },
            0 => {
                sometimes!("a sensor was disabled");
                Ask::SetSensorMode { sensor, mode: SensorMode::Disabled }
            }
            1 => Ask::RestartSensor { sensor },
            _ => {
                sometimes!(read > 0, "a sensor was rewound");
                let to = random.below(read as u64 + 1);
                let cursor = random.chance(0.7).then(|| Cursor::of_json(to.to_string()).expect("it is JSON"));
                Ask::SetSensorCursor { sensor: tape, cursor }
            }
        };
        self.ground.trace("attendant", format!("asks of a sensor: {ask:?}"));
        node.submit(command(ask));
        // Its run has messages to offer before it learns of this.
        self.peers.give();
        self.wake_worker();
    }
}
