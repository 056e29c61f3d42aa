//! The pack of a simulated world: rules drawn from a closed grammar and written as YAML, as an author would.
//!
//! `oracle/meaning.rs` states the meaning of each condition again, without CEL.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use ensue_expression::planted_bug::BUGGY_FIELD;
use serde_json::Value;

use crate::flow::{Does, Stage};
use crate::random::Random;
use crate::web::EFFECTS;

/// The triggers of the pack: `sim.t0`, `sim.t1`, `sim.t2`.
pub(crate) const TRIGGERS: u64 = 3;
/// The trigger of the events that the pack's webhook creates.
pub(crate) const DOOR_TRIGGER: u64 = 1;
/// The trigger whose payloads have two versions. In the first, which clients mark, numbers are larger by [`OFFSET`].
const VERSIONED_TRIGGER: u64 = 2;
/// How much larger a number is in the first version.
const OFFSET: u64 = 10;
/// The field that marks a payload of the first version.
const OLD: &str = "old";
/// The number of rule names. A rule with one of these names is added, changed and removed.
const RULES_MAX: u64 = 8;
/// The maximum nesting depth of a condition.
const DEPTH_MAX: u32 = 3;
/// The largest number in conditions and payloads.
pub(crate) const NUMBER_MAX: u64 = 4;

/// A condition, or a part of one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Condition {
    /// `true`
    Always,
    /// `event.payload.n == <number>`
    NumberIs(u64),
    /// `event.payload.n < <number>`
    NumberBelow(u64),
    /// `event.payload.n < config.least`
    NumberBelowSetting,
    /// `event.payload.n in [<numbers>]`
    NumberIn(Vec<u64>),
    /// `event.payload.text == "<text>"`
    TextIs(&'static str),
    /// `event.payload.flag`
    Flag,
    /// `has(event.payload.<field>)`
    Has(&'static str),
    /// `event.source == "<source>"`
    SourceIs(&'static str),
    /// Both.
    And(Box<Condition>, Box<Condition>),
    /// At least one.
    Or(Box<Condition>, Box<Condition>),
    /// Not.
    Not(Box<Condition>),
    /// `event.payload.simulated_bug`, which panics during evaluation; never a part of another condition.
    Bug,
}

/// The texts that payloads may hold.
pub(crate) const TEXTS: [&str; 3] = ["red", "green", "blue"];

impl Condition {
    fn draw(random: &mut Random, depth: u32) -> Self {
        let deep = if depth < DEPTH_MAX { 4 } else { 0 };
        let inner = |random: &mut Random| Box::new(Self::draw(random, depth + 1));
        match random.pick_weighted(&[2, 4, 3, 2, 4, 2, 3, 1, deep, deep, deep / 2, 2]) {
            0 => Self::Always,
            1 => Self::NumberIs(random.below(NUMBER_MAX)),
            2 => Self::NumberBelow(random.below(NUMBER_MAX)),
            3 => Self::NumberIn((0..random.between(1, 3)).map(|_| random.below(NUMBER_MAX)).collect()),
            4 => Self::TextIs(random.pick(&TEXTS).copied().unwrap_or_default()),
            5 => Self::Flag,
            6 => Self::Has(random.pick(&["n", "text", "flag"]).copied().unwrap_or_default()),
            7 => Self::SourceIs(random.pick(&["api", "nobody"]).copied().unwrap_or_default()),
            8 => Self::And(inner(random), inner(random)),
            9 => Self::Or(inner(random), inner(random)),
            11 => Self::NumberBelowSetting,
            _ => Self::Not(inner(random)),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("true"),
            Self::Bug => write!(f, "event.payload.{BUGGY_FIELD}"),
            Self::NumberIs(number) => write!(f, "event.payload.n == {number}"),
            Self::NumberBelow(number) => write!(f, "event.payload.n < {number}"),
            Self::NumberBelowSetting => f.write_str("event.payload.n < config.least"),
            Self::NumberIn(numbers) => {
                let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
                write!(f, "event.payload.n in [{}]", numbers.join(", "))
            }
            Self::TextIs(text) => write!(f, "event.payload.text == \"{text}\""),
            Self::Flag => f.write_str("event.payload.flag"),
            Self::Has(field) => write!(f, "has(event.payload.{field})"),
            Self::SourceIs(source) => write!(f, "event.source == \"{source}\""),
            Self::And(one, other) => write!(f, "({one} && {other})"),
            Self::Or(one, other) => write!(f, "({one} || {other})"),
            Self::Not(one) => write!(f, "!({one})"),
        }
    }
}

/// Returns the trigger of an event as a client names it, with the version of the payload.
pub(crate) fn trigger_of(trigger: u64, payload: &str) -> String {
    let is_old = trigger == VERSIONED_TRIGGER && payload.contains(&format!("\"{OLD}\":true"));
    format!("sim.t{trigger}{}", if is_old { "@1" } else { "" })
}

/// Returns a payload in the first version of the trigger, if it has two.
pub(crate) fn in_first_version(trigger: u64, payload: String) -> String {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(&payload) else { return payload };
    if trigger != VERSIONED_TRIGGER {
        return payload;
    }
    if let Some(number) = fields.get("n").and_then(Value::as_u64) {
        fields.insert("n".into(), (number + OFFSET).into());
    }
    fields.insert(OLD.into(), true.into());
    Value::Object(fields).to_string()
}

/// Returns the payload of a stored event as its rules see it, or the reason why its version is wrong.
pub(crate) fn in_newest_version(trigger: &str, version: u64, mut payload: Value) -> Result<Value, String> {
    let is_versioned = trigger == format!("sim.t{VERSIONED_TRIGGER}");
    let is_old = is_versioned && payload.get(OLD) == Some(&Value::Bool(true));
    let expected = if is_versioned && !is_old { 2 } else { 1 };
    if version != expected {
        return Err(format!("it has version {version} of {trigger}, and was sent in version {expected}"));
    }
    if let Some(number) = payload.get("n").and_then(Value::as_u64).filter(|_| is_old) {
        payload["n"] = (number - OFFSET).into();
    }
    Ok(payload)
}

/// What happens to a rule's matches, as the pack says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WrittenMode {
    /// They run.
    Enabled,
    /// The rule is not evaluated.
    Disabled,
    /// They are only recorded.
    Shadow,
}

impl WrittenMode {
    /// Returns the YAML value.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Shadow => "shadow",
        }
    }
}

/// What a rule runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Doing {
    /// `core.echo` with `event.payload.n`, which may be missing: then the match is rejected.
    Echo,
    /// `core.noop` for so many milliseconds.
    Wait(u64),
    /// `core.sleep` for so many milliseconds.
    Sleep(u64),
    /// `sim.<name>`, which starts a program.
    Start(&'static str),
    /// `sim.<name>`, which sends a request.
    Post(&'static str),
    /// `core.echo` with the value of a var.
    Tell(&'static str),
    /// `sim.<name>`, which is a workflow.
    Flow(&'static str),
    /// `sim.again`, which emits an event of the trigger with that number.
    Again(u64),
}

impl Doing {
    /// An action of so many milliseconds. For some lengths it is a workflow, without another draw, so that
    /// recorded seeds keep their behavior.
    fn of_a_while(millis: u64, else_: fn(u64) -> Self) -> Self {
        match millis % 10 {
            1 | 2 => Self::Flow("steps"),
            3 => Self::Flow("queued"),
            4 => Self::Flow("only"),
            5 => Self::Flow("newest"),
            6 => Self::Flow(CHOICE),
            _ => else_(millis),
        }
    }
}

/// The actions that start a program, with their settings for lost attempts and timeouts.
pub(crate) const PROGRAMS: [(&str, &str); 4] = [
    ("ask", "on_lost: ask\ntimeout: 6s"),
    ("fail", "on_lost: fail\ntimeout: 6s"),
    ("retry", "on_lost: retry\ntimeout: 20s"),
    ("safe", "idempotent: true\ntimeout: 40s\nqueue: heavy"),
];

/// The actions that send a request, with their settings for lost attempts; the last sends a key.
pub(crate) const POSTS: [(&str, &str); 5] = [
    ("post_ask", "on_lost: ask"),
    ("post_fail", "on_lost: fail"),
    ("post_retry", "on_lost: retry\nqueue: heavy"),
    ("post_safe", "idempotent: true"),
    (MAPPED_POST, "idempotent: true\noutput: '${{ {\"code\": status, \"body\": body} }}'\nresult: { code: integer, body: any }"),
];

/// The action that maps what the server answers to its result.
pub(crate) const MAPPED_POST: &str = "post_key";

/// The workflows, with their limits of concurrent executions.
pub(crate) const FLOWS: [(&str, &str); 4] = [
    ("steps", ""),
    ("queued", "concurrency: { limit: 2 }\n"),
    ("only", "concurrency: { limit: 1, conflict: skip }\n"),
    ("newest", "concurrency: { limit: 1, conflict: cancel_running }\n"),
];

/// The vars of a world.
pub(crate) const VARS: [&str; 2] = ["sim.a", "sim.b"];
/// The value that a reader of an unset var gets.
pub(crate) const NO_VALUE: &str = "nothing";

/// The workflow that sets a var.
pub(crate) const VARY: &str = "vary";
/// Its steps with their needs.
const VARY_STEPS: [(&str, &[&str]); 3] = [("first", &[]), ("change", &["first"]), ("then", &["change"])];

/// The workflow with an assertion, steps of which some are enough, items that may fail, and a sleep and a wait that an
/// event cancels. Its steps have values of their own.
pub(crate) const CHOICE: &str = "choice";
/// Its steps with their needs.
const CHOICE_STEPS: [(&str, &[&str]); 9] = [
    ("sure", &[]),
    ("nap", &["sure"]),
    ("work", &["sure"]),
    ("late", &["sure"]),
    (JOIN, &["nap", "work", "late"]),
    ("each", &[JOIN]),
    ("hush", &["sure"]),
    (HEARD, &["sure"]),
    ("after", &["hush"]),
];
/// The step that starts once some of those that it needs have succeeded.
const JOIN: &str = "join";
/// How many of them are enough.
const JOIN_COUNT: usize = 2;
/// How many items of a step may fail.
pub(crate) const FAIL_AT: usize = 1;
/// How many items it has, by a value of its own.
pub(crate) const ITEMS: u64 = 3;
/// The step that waits for an event, for a time that is computed.
pub(crate) const HEARD: &str = "heard";
/// That time.
pub(crate) const HEARD_MILLIS: u64 = 2_000;
/// The trigger of the events that cancel steps.
pub(crate) const CANCELLING: &str = "sim.t1";

/// The definition. The assertion is false for one id in sixteen.
const CHOICE_FLOW: &str = "\
parameters:
  n: any?
run:
  workflow:
    steps:
      sure: { assert: '!execution.id.endsWith(\"7\")', message: 'it is ${{ execution.id }}' }
      nap: { needs: sure, sleep: 300ms }
      work: { needs: sure, action: core.noop, with: { seconds: 0.3 } }
      late: { needs: sure, sleep: 4s }
      join: { needs: { any: 2, of: [nap, work, late], cancel_rest: true }, action: core.echo, with: { message: '${{ steps.late.status }}' } }
      each: { needs: join, local: { last: '1 + 2' }, for_each: '[1, 2, local.last]', fail_at: 1, action: sim.retry, with: { n: '${{ item }}' } }
      hush: { needs: sure, sleep: 3s, cancel_when: { trigger: sim.t1 } }
      heard:
        needs: sure
        local: { patience: '\"2s\"' }
        wait: { trigger: sim.t0, when: event.payload.n == 3, since: step, expires: '${{ local.patience }}', on_expire: succeed }
        cancel_when: { trigger: sim.t1, since: step }
      after: { needs: hush, action: core.echo, with: { message: 1 } }
";

/// The steps of every other workflow with their needs.
const STEPS: [(&str, &[&str]); 4] = [("nap", &[]), ("work", &["nap"]), ("start", &["nap"]), ("last", &["work", "start"])];

/// Returns the steps of a workflow with their needs, in topological order.
pub(crate) fn steps_of(action: &str) -> &'static [(&'static str, &'static [&'static str])] {
    match action.strip_prefix("sim.") {
        Some(VARY) => &VARY_STEPS,
        Some(CHOICE) => &CHOICE_STEPS,
        _ => &STEPS,
    }
}

/// Returns how many of the steps that a step needs must have succeeded before it starts.
pub(crate) fn enough_of(step: &str, needs: &[&str]) -> usize {
    if step == JOIN { JOIN_COUNT } else { needs.len() }
}

/// Their definitions: the program may fail, be lost, and be retried.
const FLOW: &str = "\
parameters:
  n: any?
run:
  workflow:
    steps:
      nap: { sleep: 800ms }
      work: { needs: [nap], action: core.noop, with: { seconds: 0.3 } }
      start: { needs: [nap], action: sim.retry, with: {} }
      last: { needs: [work, start], action: core.echo, with: { message: 1 } }
";

/// The retry settings of programs.
const RETRY: &str = "retry: { attempts: 3, delay: 2s, max_delay: 10s }\n";
/// How many attempts they allow.
const ATTEMPTS: u64 = 3;

/// Returns true if a program is retried, whatever the rule says that starts it.
fn is_retried(name: &str) -> bool {
    matches!(name, "retry" | "safe")
}

/// A rule as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WrittenRule {
    /// Its name, without the pack's.
    pub(crate) name: String,
    /// The trigger it listens to.
    pub(crate) trigger: u64,
    /// Its condition, if any.
    pub(crate) when: Option<Condition>,
    /// Its mode.
    pub(crate) mode: WrittenMode,
    /// What it runs.
    pub(crate) doing: Doing,
    /// Its flow control, in order; drawn separately from the rest.
    pub(crate) flow: Vec<Stage>,
    /// How many attempts it allows instead of its action; drawn with the flow control.
    pub(crate) attempts: Option<u64>,
}

/// One version of the pack.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Edition {
    /// Its number: the version is `0.1.<number>`.
    pub(crate) number: u64,
    /// Its rules.
    pub(crate) rules: Vec<WrittenRule>,
}

impl Edition {
    /// Draws the next edition: some rules stay, some change, some are removed and some are added.
    ///
    /// At most one of the rules for the same trigger emits an event, so that a loop is a chain. With two, the
    /// sixteen events that a chain may have would be 65,536.
    pub(crate) fn draw(random: &mut Random, number: u64, before: Option<&Self>) -> Self {
        let mut rules = Vec::new();
        for place in 0..RULES_MAX {
            let name = format!("r{place}");
            let old = before.and_then(|before| before.rules.iter().find(|rule| rule.name == name));
            match (old, random.pick_weighted(&[5, 2, 3])) {
                (Some(old), 0) => rules.push(old.clone()),
                (_, 2) => {}
                _ => rules.push(WrittenRule::draw(random, name)),
            }
        }
        let mut leads_on = BTreeSet::new();
        for rule in &mut rules {
            if matches!(rule.doing, Doing::Again(_)) && !leads_on.insert(rule.trigger) {
                rule.doing = Doing::Echo;
            }
        }
        Self { number, rules }
    }

    /// Writes the pack into a folder of packs.
    pub(crate) fn write(&self, packs: &Path) -> std::io::Result<()> {
        let folder = packs.join("sim");
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        for inside in ["rules", "triggers", "actions", "sensors"] {
            std::fs::create_dir_all(folder.join(inside))?;
        }
        std::fs::write(
            folder.join("pack.yaml"),
            format!("name: sim\nversion: 0.1.{}\nkeys: [canary, door]\nconfig:\n  least: integer = 2\n", self.number),
        )?;
        let door = format!(
            "webhook:\n  verify: {{ scheme: hmac, key: sim.door, header: X-Signature }}\nemits:\n  - trigger: sim.t{DOOR_TRIGGER}\n    dedupe: headers[\"x-delivery\"]\n"
        );
        std::fs::write(folder.join("sensors/door.yaml"), format!("description: A door that was simulated.\n{door}"))?;
        for trigger in 0..TRIGGERS {
            let upcast = format!("payload.transformMap(key, value, key == \"n\" && type(value) == int ? value - {OFFSET} : value)");
            let versions = match trigger {
                VERSIONED_TRIGGER => format!("version: 2\nupcasts:\n  1: '${{{{ {upcast} }}}}'\n"),
                _ => String::new(),
            };
            let text = format!("description: Something was simulated.\n{versions}");
            std::fs::write(folder.join(format!("triggers/t{trigger}.yaml")), text)?;
            let again = format!(
                "parameters:\n  n: any?\nrun:\n  emit:\n    trigger: sim.t{trigger}\n    payload:\n      n: ${{{{ params.?n.orValue(1) }}}}\n"
            );
            std::fs::write(folder.join(format!("actions/again{trigger}.yaml")), again)?;
        }
        for (name, settings) in PROGRAMS {
            // Actions that may run twice are retried on failure, with delays long enough for clock steps and
            // kills.
            let retry = if is_retried(name) { RETRY } else { "" };
            let text = format!("parameters:\n  n: any?\nrun:\n  process:\n    command: [worker]\ngrace: 2s\n{settings}\n{retry}");
            std::fs::write(folder.join(format!("actions/{name}.yaml")), text)?;
        }
        for (name, settings) in POSTS {
            std::fs::write(folder.join(format!("actions/{name}.yaml")), post(name, settings))?;
        }
        for (name, settings) in FLOWS {
            std::fs::write(folder.join(format!("actions/{name}.yaml")), format!("{FLOW}{settings}"))?;
        }
        std::fs::write(folder.join(format!("actions/{VARY}.yaml")), vary())?;
        std::fs::write(folder.join(format!("actions/{CHOICE}.yaml")), CHOICE_FLOW)?;
        for rule in &self.rules {
            std::fs::write(folder.join(format!("rules/{}.yaml", rule.name)), rule.yaml())?;
        }
        Ok(())
    }
}

/// Writes the workflow that reports a var, sets it to its own id and reports it again.
fn vary() -> String {
    let tell = format!("action: core.echo, with: {{ message: '${{{{ vars[?params.name].orValue(\"{NO_VALUE}\") }}}}' }}");
    let set = "action: core.set_var, with: { name: '${{ params.name }}', value: '${{ execution.id }}' }";
    format!(
        "parameters:\n  name: string\nrun:\n  workflow:\n    steps:\n      first: {{ {tell} }}\n      change: {{ needs: [first], {set} }}\n      then: {{ needs: [change], {tell} }}\n"
    )
}

/// Writes an action that sends a request.
fn post(name: &str, settings: &str) -> String {
    let mut text = format!(
        "parameters:\n  n: any?\nrun:\n  http:\n    url: {EFFECTS}\n    method: POST\n    headers:\n      X-Attempt: ${{{{ execution.attempt }}}}\n"
    );
    if name == MAPPED_POST {
        text.push_str("      Authorization: 'Bearer ${{ keys[\"sim.canary\"] }}'\n");
    }
    text.push_str("    json:\n      n: ${{ params.?n.orValue(1) }}\n");
    text.push_str(&format!("timeout: 6s\n{settings}\n"));
    text
}

impl WrittenRule {
    fn draw(random: &mut Random, name: String) -> Self {
        let doing = match random.pick_weighted(&[4, 4, 2, 5, 3, 2]) {
            5 => Doing::of_a_while(random.between(10, 20_000), Doing::Sleep),
            0 => Doing::Echo,
            1 => Doing::of_a_while(if random.chance(0.4) { 0 } else { random.between(10, 4_000) }, Doing::Wait),
            2 => Doing::Again(random.below(TRIGGERS)),
            3 => Doing::Post(random.pick(&POSTS).map_or("post_ask", |(name, _)| name)),
            _ => Doing::Start(random.pick(&PROGRAMS).map_or("ask", |(name, _)| name)),
        };
        let mode = [WrittenMode::Enabled, WrittenMode::Disabled, WrittenMode::Shadow][random.pick_weighted(&[8, 1, 1])];
        let when = match random.pick_weighted(&[15, 80, 5]) {
            0 => None,
            1 => Some(Condition::draw(random, 0)),
            _ => Some(Condition::Bug),
        };
        Self { name, trigger: random.below(TRIGGERS), when, mode, doing, flow: Vec::new(), attempts: None }
    }

    /// Returns the triggers that it listens to: two for a window that waits for both.
    pub(crate) fn triggers(&self) -> Vec<u64> {
        let is_of_both = self.flow.iter().any(|stage| matches!(stage.does, Does::Each(_)));
        if is_of_both { vec![self.trigger, (self.trigger + 1) % TRIGGERS] } else { vec![self.trigger] }
    }

    /// Returns how many attempts an execution of the action that it requested may have, or `None` if the
    /// action is not a program. The action is not always the current one of the rule: a rerun repeats the
    /// action of the execution, and honors the `retry` that the rule has now.
    pub(crate) fn attempts_max(&self, action: &str) -> Option<u64> {
        let (name, _) = PROGRAMS.iter().find(|(name, _)| action.strip_prefix("sim.") == Some(name))?;
        Some(self.attempts.unwrap_or(if is_retried(name) { ATTEMPTS } else { 1 }))
    }

    fn yaml(&self) -> String {
        let triggers = self.triggers();
        let names: Vec<String> = triggers.iter().map(|trigger| format!("sim.t{trigger}")).collect();
        let mut text = format!("mode: {}\ntrigger: [{}]\n", self.mode.as_str(), names.join(", "));
        if let Some(when) = &self.when {
            text.push_str(&format!("when: |\n  {when}\n"));
        }
        for stage in &self.flow {
            text.push_str(&format!("{}\n", stage.yaml(&triggers)));
        }
        text.push_str(&match &self.doing {
            Doing::Echo => "action: core.echo\nwith:\n  message: ${{ event.payload.n }}\n".to_owned(),
            Doing::Tell(var) => format!("action: core.echo\nwith:\n  message: '${{{{ vars[?\"{var}\"].orValue(\"{NO_VALUE}\") }}}}'\n"),
            Doing::Sleep(millis) => format!("action: core.sleep\nwith:\n  duration: {millis}ms\n"),
            Doing::Wait(millis) => format!("action: core.noop\nwith:\n  seconds: {}\n", *millis as f64 / 1e3),
            Doing::Start(name) | Doing::Post(name) | Doing::Flow(name) => format!("action: sim.{name}\nwith: {{}}\n"),
            Doing::Again(trigger) => format!("action: sim.again{trigger}\nwith: {{}}\n"),
        });
        if let Some(attempts) = self.attempts {
            text.push_str(&format!("retry: {{ attempts: {attempts}, delay: 2s, max_delay: 10s }}\n"));
        }
        text
    }
}
