//! I29: a reader of a var gets the newest earlier value in the log, and a conditional write is rejected if
//! the var has changed.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::oracle::in_force::InForce;
use crate::oracle::records::Raw;
use crate::oracle::{Ledger, Violation, demand};
use crate::pack::{Doing, NO_VALUE, VARY};
use crate::sometimes;

/// The vars up to the current record.
#[derive(Default)]
struct Book<'w> {
    in_force: InForce<'w>,
    /// By name: the newest value and its position.
    values: BTreeMap<&'w str, (u64, Value)>,
    /// The workflows that set a var, with its name.
    varying: BTreeMap<&'w str, String>,
    /// The executions that set a var: the value, and how many times they did.
    setting: BTreeMap<&'w str, (Value, u64)>,
}

pub(super) fn check<'w>(records: &'w [Raw], ledger: &Ledger<'w>) -> Result<(), Violation> {
    let mut book = Book::default();
    for record in records {
        book.note(record)?;
        book.in_force.note(record, ledger)?;
    }
    Ok(())
}

impl<'w> Book<'w> {
    fn note(&mut self, record: &'w Raw) -> Result<(), Violation> {
        let at = record.position;
        let id = record.stream.strip_prefix("execution/").unwrap_or_default();
        match record.kind.as_str() {
            "var.set" => {
                let (name, value) = (record.text("name"), record.payload());
                match record.said.get("execution").and_then(Value::as_str) {
                    Some(by) => {
                        let set = self.setting.get_mut(by);
                        let Some((wanted, times)) = set else {
                            return Err(Violation::new("I29", format!("{by} set {name} at {at} without a request")));
                        };
                        demand!(*wanted == value, "I29", "{by} set {name} at {at} to {value} instead of {wanted}");
                        *times += 1;
                        demand!(*times == 1, "I29", "{by} set {name} at {at}, for the {times}th time");
                        sometimes!("an execution set a var");
                    }
                    None => self.is_as_seen(record, name, &value)?,
                }
                self.values.insert(name, (at, value));
            }
            "var.removed" => {
                sometimes!("a var lost its value");
                self.values.remove(record.text("name"));
            }
            "execution.requested" => self.check_request(record, id)?,
            "execution.succeeded" => {
                if let Some((wanted, times)) = self.setting.get(id) {
                    demand!(*times == 1, "I29", "{id} succeeded at {at}, but set its var {times} times to {wanted}");
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Checks that a conditional write by a client names the var's current state.
    fn is_as_seen(&self, record: &Raw, name: &str, value: &Value) -> Result<(), Violation> {
        let at = record.position;
        let now = self.values.get(name).map(|(at, _)| *at);
        let is_so = match value.get("seen") {
            Some(Value::Number(seen)) => now.is_some() && now == seen.as_u64(),
            Some(Value::String(word)) if word == "there" => now.is_some(),
            Some(Value::String(word)) if word == "nowhere" => now.is_none(),
            Some(Value::String(word)) if word == "anyhow" => true,
            _ => false,
        };
        demand!(is_so, "I29", "{name} is set at {at} to {value}, but its value was {now:?}");
        sometimes!("a var was set by hand");
        Ok(())
    }

    fn check_request(&mut self, record: &'w Raw, id: &'w str) -> Result<(), Violation> {
        let (at, params) = (record.position, record.payload());
        let text = |field: &str| params.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        if record.text("action") == "core.set_var" {
            let part = record.said.pointer("/part_of/workflow").and_then(Value::as_str).unwrap_or_default();
            let value = params.get("value").cloned().unwrap_or(Value::Null);
            demand!(value == part, "I29", "{id} at {at} sets a var to {value}, but its workflow is {part}");
            self.setting.insert(id, (value, 0));
            return Ok(());
        }
        if record.text("action") == format!("sim.{VARY}") {
            self.varying.insert(id, text("name"));
            return Ok(());
        }
        if record.said.get("rerun_of").is_some() || record.text("action") != "core.echo" {
            return Ok(());
        }
        let workflow = record.said.pointer("/part_of/workflow").and_then(Value::as_str);
        let read = match workflow {
            Some(workflow) => self.varying.get(workflow).cloned(),
            None => {
                let (rule, catalog) = (record.text("rule"), record.number("catalog"));
                let written = rule.strip_prefix("sim.").and_then(|bare| {
                    let edition = self.in_force.revision(catalog).edition?;
                    edition.rules.iter().find(|rule| rule.name == bare)
                });
                written.and_then(|rule| if let Doing::Tell(var) = rule.doing { Some(var.to_owned()) } else { None })
            }
        };
        let Some(name) = read else { return Ok(()) };
        let expected = self.values.get(name.as_str()).map_or(Value::from(NO_VALUE), |(_, value)| value.clone());
        let message = params.get("message").cloned().unwrap_or(Value::Null);
        demand!(message == expected, "I29", "{id} at {at} has {message} for {name}, but its newest value is {expected}");
        sometimes!(workflow.is_some() && expected != NO_VALUE, "a workflow read a var");
        sometimes!(workflow.is_none() && expected != NO_VALUE, "a rule read a var");
        Ok(())
    }
}
