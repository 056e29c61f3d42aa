//! Explains to people why a condition gave its result: the parts that decided, and what would flip it.
//!
//! It renders explanations from the API and computes nothing. Anything that could control a terminal is
//! removed before colors are added.

use ensue_packs::excerpt;
use serde_json::Value;

use crate::flow;
use crate::report::{printable, printable_document};
use crate::style::Style;

/// The width up to which the parts of a message are aligned.
const ALIGNED_COLUMNS_MAX: usize = 64;
/// The most ways to flip a condition that are listed.
const WAYS_MAX: usize = 3;
/// The most characters of a line about one rule of many.
const LINE_CHARS_MAX: usize = 160;

/// The words for the outcomes of a condition.
pub(crate) struct Words {
    /// For true, false, and neither.
    pub(crate) outcomes: [&'static str; 3],
    /// What it would do if it were true, and if it were false.
    pub(crate) would: [&'static str; 2],
}

/// The words for rules.
const OF_RULES: Words = Words { outcomes: ["matched", "not matched", "erred"], would: ["it would match", "it would not match"] };

/// Returns what one rule decided about an event.
pub(crate) fn of_rule(told: &Value, style: Style) -> String {
    let outcome = ConditionOutcome::of_verdict(told);
    let printed = printable_document(told);
    let mut lines = if told["when"].is_null() {
        let trigger = printed["trigger"].as_str().unwrap_or_default();
        vec![format!("{}: the rule has no condition, every event of `{trigger}` matches", outcome.headline(&OF_RULES, style))]
    } else {
        of_condition(told, outcome, &OF_RULES, style)
    };
    lines.extend(upcast(&printed).map(|line| format!("  {line}")));
    lines.extend(consequences(&printed).into_iter().map(|line| format!("  {line}")));
    lines.join("\n")
}

/// Returns what each of many rules decided about an event, one line each.
pub(crate) fn of_rules(items: &[Value], style: Style) -> String {
    if items.is_empty() {
        return "no rule handles events of its trigger".to_owned();
    }
    let items: Vec<Value> = items.iter().map(printable_document).collect();
    let name = |item: &Value| item["rule"].as_str().unwrap_or_default().to_owned();
    let width = items.iter().map(|item| columns(&name(item))).max().unwrap_or_default();
    let lines = items.iter().map(|item| {
        let outcome = ConditionOutcome::of_verdict(item);
        let why: Vec<&str> = item["why"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let first = why.iter().find(|line| outcome != ConditionOutcome::Neither || line.contains("→ error")).or(why.first());
        let more = match why.len() {
            0 | 1 => String::new(),
            count => format!("   and {} more", count - 1),
        };
        let said = match (outcome, item["outcome"].as_str(), first) {
            (ConditionOutcome::True, Some(_), _) => match item["error"].as_str() {
                Some(error) => format!("matched, {}: {error}", flow::outcome(item)),
                None => format!("matched, {}", flow::outcome(item)),
            },
            (ConditionOutcome::True, None, _) => "matched".to_owned(),
            (ConditionOutcome::False, _, Some(first)) => format!("{first}{more}"),
            (ConditionOutcome::False, _, None) => "not matched; run it for this rule alone to see why".to_owned(),
            (ConditionOutcome::Neither, _, Some(first)) => (*first).to_owned(),
            (ConditionOutcome::Neither, _, None) if item["verdict"] == "undecided" => {
                "reads all of `vars`, so its verdict cannot be determined".to_owned()
            }
            (ConditionOutcome::Neither, _, None) => "erred".to_owned(),
        };
        let name = name(item);
        let gap = " ".repeat(width - columns(&name));
        format!("{} {name}{gap}  {}", style_of(outcome, style, outcome.sign()), cut(&said))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns the result of a condition, line by line: `{explanation, decisive, flips}`, and the place of an
/// error (`erred`).
pub(crate) fn of_condition(told: &Value, outcome: ConditionOutcome, words: &Words, style: Style) -> Vec<String> {
    let place = place(&told["erred"]);
    let told = &printable_document(told);
    let headline = outcome.headline(words, style);
    let flips = array(&told["flips"]);
    let ways: Vec<OutcomeFlip<'_>> =
        flips.iter().map(OutcomeFlip::of).filter(|way| way.to != (outcome == ConditionOutcome::True)).collect();
    let decisive: Vec<&Value> =
        array(&told["decisive"]).iter().filter(|part| outcome != ConditionOutcome::Neither || !is_truth(part)).collect();
    let telling = Telling { width: width_of(&decisive, &ways), style };
    let mut lines = Vec::new();
    let erred = &told["erred"];
    if decisive.is_empty() {
        // A local value that erred, or a verdict that could not be recomputed.
        let local = erred["in"].as_str().filter(|name| *name != "when");
        let why = erred["message"].as_str().map(|message| match local {
            Some(local) => format!("{headline}, because {local} failed: {message}"),
            None => format!("{headline}: {message}"),
        });
        lines.push(why.unwrap_or_else(|| format!("{headline}; the reason could not be determined")));
    } else {
        lines.push(format!("{headline}, because"));
    }
    let block = block(&decisive, &ways);
    lines.extend(block.iter().map(|part| telling.line(part)));
    // A condition that is not boolean, or a local value that erred: the parts alone do not explain it.
    let is_told = |message: &str| block.iter().any(|part| part["value"].as_str().is_some_and(|value| value == message));
    if let Some(message) = erred["message"].as_str().filter(|message| !decisive.is_empty() && !is_told(message)) {
        lines.push(format!("  {}: {message}", erred["in"].as_str().unwrap_or("when")));
    }
    lines.extend(place.into_iter().map(|line| format!("  {line}")));
    lines.extend(flip_lines(&block, &ways, flips, outcome, words, &telling));
    lines
}

/// Returns the parts listed under "because": those that decided, or, if there are more of them, those that
/// would all have to change.
fn block<'t>(decisive: &[&'t Value], ways: &[OutcomeFlip<'t>]) -> Vec<&'t Value> {
    match ways.first() {
        Some(way) if way.target().is_some() && decisive.iter().all(|part| way.parts().any(|turned| is_same(turned, part))) => {
            way.parts().collect()
        }
        Some(_) | None => decisive.to_vec(),
    }
}

/// Returns the ways to another outcome of the condition.
fn flip_lines(
    block: &[&Value],
    ways: &[OutcomeFlip<'_>],
    flips: &[Value],
    outcome: ConditionOutcome,
    words: &Words,
    telling: &Telling,
) -> Vec<String> {
    let Some(first) = ways.first() else { return Vec::new() };
    let would = words.would[usize::from(!first.to)];
    let mut lines = Vec::new();
    let is_block =
        |way: &OutcomeFlip<'_>| way.turns.len() == block.len() && way.parts().all(|part| block.iter().any(|one| is_same(one, part)));
    let singles: Vec<_> = ways.iter().filter(|way| way.turns.len() == 1 && way.to == first.to).collect();
    let is_any = block.len() > 1
        && singles.len() == block.len()
        && ways.iter().all(|way| way.turns.len() == 1 || way.to != first.to)
        && block.iter().all(|part| singles.iter().any(|way| way.parts().any(|turned| is_same(turned, part))))
        && singles.iter().all(|way| way.target() == first.target());
    if let (true, Some(target)) = (is_any, first.target()) {
        return vec![format!("  {would} if one of these were {target}")];
    }
    let rest = if let (true, Some(target)) = (is_block(first), first.target()) {
        let (of_these, other) = (of_these(first.turns.len()), other_verdict(first, flips, outcome, words));
        lines.push(format!("  {would} if {of_these} were {target}{other}{}", already(first, target)));
        lines.extend(first.already.iter().map(|part| telling.line(part)));
        &ways[1..]
    } else {
        ways
    };
    let others: Vec<_> = rest.iter().filter(|way| way.to == first.to).collect();
    for (index, way) in others.iter().take(WAYS_MAX).enumerate() {
        let lead = if index == 0 && rest.len() == ways.len() { format!("{would} if") } else { "or if".to_owned() };
        match way.target() {
            Some(target) => lines.push(format!("  {lead} {} were {target}:", this_or_these(way.turns.len()))),
            None => lines.push(format!("  {lead} {} changed:", of_these(way.turns.len()))),
        }
        lines.extend(way.turns.iter().map(|turn| match way.target() {
            Some(_) => telling.line(&turn["part"]),
            None => telling.wanted_line(&turn["part"], turn["to"] == true),
        }));
    }
    if let more @ 1.. = others.len().saturating_sub(WAYS_MAX) {
        lines.push(format!("  … and {more} more ways; -o json shows them all"));
    }
    lines
}

/// For an outcome that erred through one part: returns that it would also be decided if that part were the
/// opposite.
fn other_verdict(way: &OutcomeFlip<'_>, flips: &[Value], outcome: ConditionOutcome, words: &Words) -> String {
    let opposite = flips.iter().map(OutcomeFlip::of).find(|other| other.to != way.to && other.turns.len() == 1);
    match (outcome, way.turns, opposite) {
        (ConditionOutcome::Neither, [turn], Some(other)) if other.parts().all(|part| is_same(part, &turn["part"])) => {
            let opposite = other.turns[0]["to"] == true;
            format!(", and {} if it were {opposite}", words.would[1].trim_start_matches("it would ").replace("not match", "not"))
        }
        _ => String::new(),
    }
}

/// Returns that the decisive parts outside of a way already have the required value; the parts follow.
fn already(way: &OutcomeFlip<'_>, target: bool) -> String {
    let wanted = if target { "true" } else { "false" };
    let is_target = way.already.iter().all(|part| part["outcome"] == wanted);
    match (way.already.len(), is_target) {
        (0, _) => String::new(),
        (1, true) => "; the other part already is:".into(),
        (_, true) => "; the other parts already are:".into(),
        (1, false) => "; the other part already has the right value:".into(),
        (_, false) => "; the other parts already have the right values:".into(),
    }
}

/// Returns that the rule reads another form of the payload than the one that came.
fn upcast(told: &Value) -> Option<String> {
    let (version, newest) = (told["version"].as_u64()?, told["upcast_to"].as_u64()?);
    let trigger = told["trigger"].as_str().unwrap_or_default();
    Some(format!("its payload came in version {version} of `{trigger}`; the rule reads it in version {newest}"))
}

/// Returns the consequences, actual or hypothetical, of a verdict.
fn consequences(told: &Value) -> Vec<String> {
    let plan = &told["plan"];
    let action = plan["action"].as_str().unwrap_or_default();
    let is_now = told["definitions"] == "now";
    let mut lines = Vec::new();
    match (told["outcome"].as_str(), plan["rejected"].as_str()) {
        (_, _) if plan.is_null() => {}
        (Some("executed"), _) if !is_now => {
            lines.push(format!("it ran {action}: ensue executions show {}", told["execution"].as_str().unwrap_or_default()));
        }
        (Some("shadowed"), _) if !is_now => lines.push("nothing was run: the rule is only observed (mode: shadow)".into()),
        (Some("held"), _) if !is_now => lines.extend(of_held(told, action)),
        (Some("deduplicated"), _) if !is_now => lines.push("nothing was run: it duplicates another match (dedupe)".into()),
        (Some("throttled"), _) if !is_now => lines.push("nothing was run: there were too many matches in the period (throttle)".into()),
        (Some(outcome), _) if !is_now => {
            lines.push(format!("nothing was run ({outcome}): {}", told["error"].as_str().unwrap_or_default()));
        }
        (_, Some(rejected)) => lines.push(format!("it could not run {action}: {rejected}")),
        (None, None) if !is_now => lines.push("nothing was run: the rule was disabled or suspended at that time".into()),
        (_, None) => {
            lines.push(match &plan["params"] {
                Value::Null => format!("it would run {action} together with other events"),
                params => cut(&format!("it would run {action} with {params}")),
            });
            match told["mode"].as_str() {
                Some("disabled") => lines.push("but nothing runs: the rule is disabled".into()),
                Some("shadow") => lines.push("but nothing runs: the rule is only observed (mode: shadow)".into()),
                Some(_) | None => {}
            }
        }
    }
    if is_now && !told["event"].is_null() {
        lines.push("this uses the current definitions, not those that judged the event when it arrived".into());
    }
    lines
}

/// Returns the outcome of a match that was held.
fn of_held(told: &Value, action: &str) -> Vec<String> {
    let (held, became) = (flow::describe_hold(&told["held"]), &told["became"]);
    let then = match became["outcome"].as_str() {
        None => "it is still held: nothing has run yet".to_owned(),
        Some("executed") => format!("then it ran {action}: ensue executions show {}", told["execution"].as_str().unwrap_or_default()),
        Some("rejected") => format!("then nothing was run (rejected): {}", told["error"].as_str().unwrap_or_default()),
        Some("shadowed") => "then nothing was run: the rule is only observed (mode: shadow)".to_owned(),
        Some(_) => format!("then nothing was run{}", flow::superseded_reason(became)),
    };
    vec![format!("it was held {held}"), then]
}

/// Returns the place of an error, drawn as `ensue check` does: in the source as written, in which places are
/// counted.
fn place(erred: &Value) -> Vec<String> {
    let (Some(source), Some(start), Some(end)) = (erred["source"].as_str(), erred["span"]["start"].as_u64(), erred["span"]["end"].as_u64())
    else {
        return Vec::new();
    };
    let name = erred["in"].as_str().unwrap_or("expression");
    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
    let mut lines = excerpt(name, source, at(start)..at(end));
    lines.extend(erred["hint"].as_str().map(|hint| format!("  = help: {hint}")));
    lines.iter().map(|line| printable(line)).collect()
}

/// The outcome of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConditionOutcome {
    /// True: a rule matched.
    True,
    /// False: it did not.
    False,
    /// It erred, or returned something else.
    Neither,
}

impl ConditionOutcome {
    fn of_verdict(told: &Value) -> Self {
        match told["verdict"].as_str() {
            Some("matched") => Self::True,
            Some("not_matched") => Self::False,
            Some(_) | None => Self::Neither,
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Self::True => "✓",
            Self::False => "✗",
            Self::Neither => "!",
        }
    }

    fn headline(self, words: &Words, style: Style) -> String {
        let word = match self {
            Self::True => words.outcomes[0],
            Self::False => words.outcomes[1],
            Self::Neither => words.outcomes[2],
        };
        style_of(self, style, &format!("{} {word}", self.sign()))
    }
}

fn style_of(outcome: ConditionOutcome, style: Style, text: &str) -> String {
    match outcome {
        ConditionOutcome::True => style.good(text),
        ConditionOutcome::False => style.strong(text),
        ConditionOutcome::Neither => style.bad(text),
    }
}

/// A way to flip a condition.
struct OutcomeFlip<'t> {
    to: bool,
    turns: &'t [Value],
    already: &'t [Value],
}

impl<'t> OutcomeFlip<'t> {
    fn of(flip: &'t Value) -> Self {
        Self { to: flip["to"] == true, turns: array(&flip["turns"]), already: array(&flip["already"]) }
    }

    fn parts(&self) -> impl Iterator<Item = &'t Value> {
        self.turns.iter().map(|turn| &turn["part"])
    }

    /// Returns the value that all of its parts would need; `None` if they differ.
    fn target(&self) -> Option<bool> {
        let first = self.turns.first()?["to"] == true;
        self.turns.iter().all(|turn| (turn["to"] == true) == first).then_some(first)
    }
}

/// The layout of lines.
struct Telling {
    width: usize,
    style: Style,
}

impl Telling {
    /// `event.payload.draft → true   (…)`
    fn line(&self, part: &Value) -> String {
        let source = part["source"].as_str().unwrap_or_default();
        let gap = " ".repeat(self.width.saturating_sub(columns(source)));
        let note = part["note"].as_str().map(|note| self.style.faint(&format!("   ({note})"))).unwrap_or_default();
        format!("    {source}{gap} → {}{note}", value_of(part))
    }

    fn wanted_line(&self, part: &Value, to: bool) -> String {
        format!("{}, would have to be {to}", self.line(part))
    }
}

/// Returns the value of a part.
pub(crate) fn value_of(part: &Value) -> String {
    let value = part["value"].as_str().unwrap_or_default();
    match part["outcome"].as_str() {
        Some("value") => value.to_owned(),
        Some("error") => format!("error: {value}"),
        Some("unknown") | None => "not evaluated again: it takes too many steps".to_owned(),
        Some(truth) => truth.to_owned(),
    }
}

fn width_of(decisive: &[&Value], ways: &[OutcomeFlip<'_>]) -> usize {
    let told = ways.iter().flat_map(|way| way.parts().chain(way.already));
    let widths = decisive.iter().copied().chain(told).map(|part| columns(part["source"].as_str().unwrap_or_default()));
    widths.filter(|width| *width <= ALIGNED_COLUMNS_MAX).max().unwrap_or_default()
}

fn is_truth(part: &Value) -> bool {
    matches!(part["outcome"].as_str(), Some("true" | "false"))
}

fn is_same(one: &Value, other: &Value) -> bool {
    one["span"] == other["span"]
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn of_these(count: usize) -> String {
    match count {
        1 => "that".to_owned(),
        2 => "both of these".to_owned(),
        count => format!("all {} of these", number(count)),
    }
}

fn this_or_these(count: usize) -> &'static str {
    if count == 1 { "this" } else { "these" }
}

fn number(count: usize) -> String {
    const WORDS: [&str; 10] = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    WORDS.get(count).map_or_else(|| count.to_string(), |word| (*word).to_owned())
}

fn columns(text: &str) -> usize {
    text.chars().count()
}

fn cut(text: &str) -> String {
    let line = text.replace('\n', " ");
    if columns(&line) <= LINE_CHARS_MAX {
        return line;
    }
    let cut: String = line.chars().take(LINE_CHARS_MAX - 1).collect();
    format!("{cut}…")
}

#[cfg(test)]
mod tests;
