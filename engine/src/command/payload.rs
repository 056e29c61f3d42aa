//! What requests bring from outside: events and bodies.

use super::contents::{
    InquiryAnswer, ObservedEvent, PackChange, RefusedDelivery, RefusedLogin, Report, RequestExecution, RetriedDelivery, SensorBatch,
};
use super::message::{Message, MessageContent};
use crate::record::Body;

/// Events and bodies, as a part of a request brings them.
pub(super) trait Payload {
    /// Returns the events.
    fn events(&self) -> &[ObservedEvent] {
        &[]
    }

    /// Applies `change` to each body.
    fn change_bodies(&mut self, change: &mut dyn FnMut(&mut Body));
}

impl Payload for Body {
    fn change_bodies(&mut self, change: &mut dyn FnMut(&mut Body)) {
        change(self);
    }
}

impl Payload for Option<Body> {
    fn change_bodies(&mut self, change: &mut dyn FnMut(&mut Body)) {
        self.iter_mut().for_each(change);
    }
}

impl Payload for Vec<ObservedEvent> {
    fn events(&self) -> &[ObservedEvent] {
        self
    }

    fn change_bodies(&mut self, change: &mut dyn FnMut(&mut Body)) {
        self.iter_mut().for_each(|event| change(&mut event.body));
    }
}

impl Payload for RetriedDelivery {
    fn events(&self) -> &[ObservedEvent] {
        &self.events
    }

    fn change_bodies(&mut self, change: &mut dyn FnMut(&mut Body)) {
        self.events.change_bodies(change);
    }
}

impl Payload for RefusedDelivery {
    fn change_bodies(&mut self, change: &mut dyn FnMut(&mut Body)) {
        change(&mut self.body);
    }
}

impl Payload for SensorBatch {
    fn events(&self) -> &[ObservedEvent] {
        &self.events
    }

    fn change_bodies(&mut self, change: &mut dyn FnMut(&mut Body)) {
        self.events.change_bodies(change);
        self.refused.iter_mut().for_each(|refused| change(&mut refused.body));
    }
}

impl Payload for Report {
    fn events(&self) -> &[ObservedEvent] {
        Report::events(self)
    }

    fn change_bodies(&mut self, change: &mut dyn FnMut(&mut Body)) {
        self.body.change_bodies(change);
        self.emitted.iter_mut().for_each(|event| change(&mut event.body));
        self.vars.iter_mut().for_each(|var| var.value.change_bodies(change));
    }
}

impl Payload for Message {
    fn events(&self) -> &[ObservedEvent] {
        if let MessageContent::Event(event) = &self.said { std::slice::from_ref(event) } else { &[] }
    }

    fn change_bodies(&mut self, change: &mut dyn FnMut(&mut Body)) {
        match &mut self.said {
            MessageContent::Progress { body, .. } => body.change_bodies(change),
            MessageContent::Event(event) => change(&mut event.body),
            MessageContent::Artifact(_) | MessageContent::Unusable { .. } => {}
        }
    }
}

impl Payload for RequestExecution {
    fn change_bodies(&mut self, change: &mut dyn FnMut(&mut Body)) {
        change(&mut self.body);
        self.rerun.iter_mut().filter_map(|rerun| rerun.kept.as_mut()).for_each(|(_, list)| change(list));
    }
}

impl Payload for InquiryAnswer {
    fn change_bodies(&mut self, change: &mut dyn FnMut(&mut Body)) {
        change(&mut self.body);
    }
}

impl Payload for Vec<RefusedLogin> {
    fn change_bodies(&mut self, change: &mut dyn FnMut(&mut Body)) {
        self.iter_mut().for_each(|login| login.origin.change_bodies(change));
    }
}

impl Payload for Vec<PackChange> {
    fn change_bodies(&mut self, change: &mut dyn FnMut(&mut Body)) {
        for pack in self {
            if let PackChange::Install { manifest, .. } = pack {
                change(manifest);
            }
        }
    }
}
