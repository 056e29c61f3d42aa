//! SVG pictures for documents and tickets: a causal tree, and the timeline of an execution.
//!
//! A picture is self-contained: no scripts, links, fonts or styles from elsewhere. Text from senders appears
//! as text, never as markup.

use std::fmt::Write as _;

use ensue_engine::time::Timestamp;
use serde_json::Value;

use crate::report::printable;
use crate::steps::{Flow, StepPart, StepRun, because, fold_items};
use crate::table::{cut, text};
use crate::tree::{Branch, Mood, wrap};
use crate::wording::{duration, mood};

/// The margin of a picture, in pixels.
const MARGIN: usize = 16;
/// The height of a line.
const LINE: usize = 20;
/// The width of a character in a monospaced font.
const CHARACTER: usize = 8;
/// The indentation of a branch relative to its parent.
const INDENT: usize = 24;
/// The width of a tree, and of a timeline.
const WIDTH: usize = 800;
/// The number of characters to which details are wrapped.
const DETAIL_CHARS: usize = 72;
/// The left edge of the bars of a timeline.
const BARS_LEFT: usize = 160;
/// The number of characters of a row's name that fit before its bar.
const NAME_CHARS: usize = (BARS_LEFT - MARGIN) / CHARACTER - 1;

/// A picture that is being drawn.
#[derive(Debug, Default)]
struct Picture {
    body: String,
}

impl Picture {
    fn line(&mut self, [from_x, from_y]: [usize; 2], [to_x, to_y]: [usize; 2]) {
        let _ = writeln!(self.body, r##"<path d="M{from_x} {from_y}V{to_y}H{to_x}" fill="none" stroke="#8c959f"/>"##);
    }

    fn text(&mut self, [x, y]: [usize; 2], mood: Mood, anchor: Anchor, text: &str) {
        let (colour, anchor) = (colour(mood), anchor.name());
        let _ = writeln!(self.body, r#"<text x="{x}" y="{y}" fill="{colour}" text-anchor="{anchor}">{}</text>"#, escape_xml(text));
    }

    fn bar(&mut self, [x, y]: [usize; 2], width: usize, mood: Mood, title: &str) {
        let (colour, height, width) = (colour(mood), LINE - 8, width.max(2));
        let _ = writeln!(
            self.body,
            r#"<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="2" fill="{colour}"><title>{}</title></rect>"#,
            escape_xml(title)
        );
    }

    fn finish(self, title: &str, width: usize, height: usize) -> String {
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" font-family="monospace" font-size="13" xml:space="preserve">
<title>{}</title>
<rect width="100%" height="100%" fill="#ffffff"/>
{}</svg>
"##,
            escape_xml(title),
            self.body
        )
    }
}

/// Which end of a text is at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Anchor {
    Start,
    End,
}

impl Anchor {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::End => "end",
        }
    }
}

/// Colors that are readable on white, each with a contrast ratio over 4.5.
fn colour(mood: Mood) -> &'static str {
    match mood {
        Mood::Plain => "#1f2328",
        Mood::Good => "#1a7f37",
        Mood::Bad => "#cf222e",
        Mood::Faint => "#59636e",
    }
}

/// Returns the text escaped for XML, without markup or characters that XML does not allow.
fn escape_xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in printable(text).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(' '),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Draws a causal tree.
pub(crate) fn of_tree(root: &Branch) -> String {
    let mut picture = Picture::default();
    let (mut y, mut width) = (MARGIN, WIDTH);
    push_branch(&mut picture, root, 0, &mut y, &mut width);
    picture.finish(&root.title, width + MARGIN, y + MARGIN)
}

/// Draws a branch and its children. Returns the position of its title.
fn push_branch(picture: &mut Picture, branch: &Branch, depth: usize, y: &mut usize, width: &mut usize) -> usize {
    let x = MARGIN + depth * INDENT;
    let mut put = |picture: &mut Picture, mood: Mood, line: &str, time: &str| {
        *y += LINE;
        picture.text([x, *y], mood, Anchor::Start, line);
        let time_width = if time.is_empty() { 0 } else { (time.chars().count() + 2) * CHARACTER };
        *width = (*width).max(x + line.chars().count() * CHARACTER + time_width);
        if !time.is_empty() {
            picture.text([WIDTH.max(x + line.chars().count() * CHARACTER + time_width), *y], Mood::Faint, Anchor::End, time);
        }
        *y
    };
    let mut lines = wrap(&branch.title, DETAIL_CHARS).into_iter();
    let titled = put(picture, branch.mood, &lines.next().unwrap_or_default(), &branch.time);
    for line in lines {
        put(picture, branch.mood, &line, "");
    }
    for line in branch.details.iter().flat_map(|detail| wrap(detail, DETAIL_CHARS)) {
        put(picture, Mood::Faint, &line, "");
    }
    for child in &branch.children {
        let at = push_branch(picture, child, depth + 1, y, width);
        picture.line([x + 6, titled + 6], [x + INDENT - 4, at - 5]);
    }
    titled
}

/// A row of a timeline: its name, its beginning and its end.
struct Bar {
    name: String,
    from: Option<i64>,
    until: Option<i64>,
    mood: Mood,
    said: String,
}

/// The time base of a timeline; times are in microseconds since its beginning.
struct Since {
    begin: Option<Timestamp>,
}

impl Since {
    fn at(&self, value: &Value, name: &str) -> Option<i64> {
        Some(text(value, name).parse::<Timestamp>().ok()?.micros_since(self.begin?).max(0))
    }

    /// Returns the bar of a document with a status, a beginning and an end.
    fn bar(&self, name: String, value: &Value, from: Option<i64>) -> Bar {
        let status = text(value, "status");
        Bar { name, from, until: self.at(value, "ended_at"), mood: mood(&status), said: status }
    }
}

/// Draws when an execution was requested, and when each of its attempts and steps ran; anything that has not
/// ended lasts until `now`.
pub(crate) fn of_execution(flow: &Flow, now: Timestamp) -> String {
    let execution = &flow.execution;
    let attempts = execution["attempts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let since = Since { begin: text(execution, "requested_at").parse().ok() };
    let waited = since.at(execution, "started_at").or_else(|| since.at(execution, "ended_at"));
    let has_steps = !flow.steps.is_empty() || execution["status"] == "waiting";
    let waiting = if has_steps { "waiting" } else { "queued" };
    let mut bars = vec![Bar { name: waiting.into(), from: Some(0), until: waited, mood: Mood::Faint, said: waiting.into() }];
    bars.extend(attempts.iter().map(|one| since.bar(format!("attempt {}", text(one, "number")), one, since.at(one, "started_at"))));
    bars.extend(flow.steps.iter().flat_map(|step| of_parts(step, execution, &since)));
    if flow.is_cut {
        bars.push(Bar { name: "… and more".into(), from: None, until: None, mood: Mood::Faint, said: String::new() });
    }
    let known = bars.iter().flat_map(|bar| [bar.from, bar.until]).chain([since.at(execution, "ended_at")]).flatten().max();
    let known = known.unwrap_or_default();
    let has_ended = since.at(execution, "ended_at").is_some();
    // The node's clock may be ahead of ours.
    let end = if has_ended { known } else { since.begin.map_or(0, |begin| now.micros_since(begin)).max(known) };
    draw_timeline(execution, &bars, end)
}

/// Returns the rows of a step: one, or one for each item. If there are many items, one row sums up those that
/// are not shown individually.
fn of_parts(step: &StepRun, workflow: &Value, since: &Since) -> Vec<Bar> {
    let (name, parts) = (&step.name, &step.parts);
    let statuses: Vec<String> = parts.iter().map(StepPart::status).collect();
    let fold = fold_items(statuses.iter().map(|status| (status.as_str(), false)));
    let mut bars: Vec<Bar> = fold.shown.iter().map(|at| of_part(&parts[*at], workflow, since)).collect();
    if let Some(rest) = fold.rest {
        let others = (0..parts.len()).filter(|at| !fold.shown.contains(at)).map(|at| of_part(&parts[at], workflow, since));
        let others: Vec<Bar> = others.collect();
        let from = others.iter().filter_map(|bar| bar.from).min();
        let until = others.iter().map(|bar| bar.until).collect::<Option<Vec<i64>>>().and_then(|ends| ends.into_iter().max());
        let mood = if others.iter().all(|bar| bar.mood == Mood::Good) { Mood::Good } else { Mood::Plain };
        bars.push(Bar { name: format!("{name} …"), from, until, mood, said: format!("{name}: {}", rest.trim_start_matches("… ")) });
    }
    bars
}

fn of_part(part: &StepPart, workflow: &Value, since: &Since) -> Bar {
    match part {
        StepPart::Begun(flow) => {
            let step = &flow.execution;
            let bar = since.bar(part.name(), step, since.at(step, "started_at").or_else(|| since.at(step, "requested_at")));
            Bar { said: format!("{}: {}", bar.name, bar.said), ..bar }
        }
        StepPart::NotStarted(told) => Bar {
            name: part.name(),
            from: None,
            until: None,
            mood: mood(&part.status()),
            said: format!("{}: {}", part.status(), because(told, workflow)),
        },
    }
}

fn draw_timeline(execution: &Value, bars: &[Bar], end: i64) -> String {
    let scale = |micros: i64| {
        let share = i128::from(micros) * (WIDTH - BARS_LEFT) as i128 / i128::from(end.max(1));
        BARS_LEFT + usize::try_from(share).unwrap_or_default()
    };
    let mut picture = Picture::default();
    let title = format!("{} {}", text(execution, "action"), text(execution, "status"));
    let mut y = MARGIN + LINE;
    picture.text([MARGIN, y], mood(&text(execution, "status")), Anchor::Start, &title);
    picture.text([WIDTH, y], Mood::Faint, Anchor::End, &duration(end));
    y += LINE;
    picture.text([MARGIN, y], Mood::Faint, Anchor::Start, &text(execution, "id"));
    for bar in bars {
        y += LINE;
        picture.text([MARGIN, y], Mood::Plain, Anchor::Start, &cut(&bar.name, NAME_CHARS));
        match bar.from {
            Some(from) => {
                let until = bar.until.unwrap_or(end).max(from);
                let told = format!("{}: +{} to +{}", bar.said, duration(from), duration(until));
                picture.bar([scale(from), y + 8 - LINE + 2], scale(until) - scale(from), bar.mood, &told);
            }
            None => {
                let told = cut(&bar.said, (WIDTH - BARS_LEFT) / CHARACTER);
                picture.text([BARS_LEFT, y], if bar.mood == Mood::Bad { Mood::Bad } else { Mood::Faint }, Anchor::Start, &told);
            }
        }
    }
    picture.finish(&title, WIDTH + MARGIN, y + MARGIN)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::steps::in_steps;

    /// Ten seconds after the executions of these tests were requested.
    const LATER: &str = "2026-03-28T09:00:10Z";

    /// Checks a picture: each tag is closed, in order, and nothing refers to the outside.
    fn hold(picture: &str) {
        let mut open = Vec::new();
        for tag in picture.split('<').skip(1) {
            let (tag, _) = tag.split_once('>').expect("a tag has an end");
            match tag.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name), "in {picture}"),
                None if tag.ends_with('/') => {}
                None => open.push(tag.split(' ').next().unwrap_or_default()),
            }
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        }
        assert_eq!(open, Vec::<&str>::new());
        let own = picture.replacen("http://www.w3.org/2000/svg", "", 1);
        for outside in ["http", "href", "url(", "<script", "<style", "<image", "<foreignObject"] {
            assert!(!own.contains(outside), "`{outside}` in {picture}");
        }
    }

    fn branch(title: &str, time: &str, mood: Mood, children: Vec<Branch>) -> Branch {
        Branch { title: title.into(), time: time.into(), mood, children, ..Branch::default() }
    }

    fn alone(execution: &Value) -> Flow {
        Flow { execution: execution.clone(), steps: Vec::new(), is_cut: false }
    }

    #[test]
    fn tree_is_drawn_as_a_self_contained_svg() {
        let execution = Branch { details: vec!["hello".into()], ..branch("core.echo succeeded", "+3.1 ms", Mood::Good, vec![]) };
        let rules = vec![
            branch("rule examples.greet matched", "+1.2 ms", Mood::Plain, vec![execution]),
            branch("rule examples.close did not match", "", Mood::Faint, vec![]),
        ];
        let picture = of_tree(&branch("event github.push", "+1.0 ms", Mood::Plain, rules));
        hold(&picture);
        insta::assert_snapshot!(picture);
    }

    #[test]
    fn attempts_of_an_execution_are_drawn_on_a_time_axis() {
        let execution = json!({
            "id": "019c1f3a-0000-7000-8000-000000000001",
            "action": "core.shell",
            "status": "succeeded",
            "requested_at": "2026-03-28T09:00:00Z",
            "started_at": "2026-03-28T09:00:01Z",
            "ended_at": "2026-03-28T09:00:04Z",
            "attempts": [
                { "number": 1, "status": "lost", "started_at": "2026-03-28T09:00:01Z", "ended_at": "2026-03-28T09:00:02Z" },
                { "number": 2, "status": "succeeded", "started_at": "2026-03-28T09:00:02Z", "ended_at": "2026-03-28T09:00:04Z" },
            ],
        });
        let picture = of_execution(&alone(&execution), LATER.parse().unwrap());
        hold(&picture);
        insta::assert_snapshot!(picture);
    }

    fn step(name: &str, item: Option<u64>, status: &str, from: u32, until: Option<u32>) -> StepPart {
        let at = |second: u32| format!("2026-03-28T09:00:{second:02}Z");
        StepPart::Begun(alone(&json!({
            "step": name, "item": item, "status": status, "requested_at": at(from), "started_at": at(from), "ended_at": until.map(at),
        })))
    }

    #[test]
    fn steps_of_a_workflow_are_rows_of_its_picture() {
        let execution = json!({
            "id": "019c1f3a-0000-7000-8000-000000000001", "action": "release.ship", "status": "waiting", "attempt": 0,
            "requested_at": "2026-03-28T09:00:00Z", "attempts": [],
        });
        let mut parts = vec![step("build", None, "succeeded", 0, Some(2)), step("a_step_with_a_long_name", None, "failed", 2, Some(3))];
        parts.extend((0..25).map(|item| {
            let status = if item == 3 { "failed" } else { "succeeded" };
            step("deploy", Some(item), status, 3, Some(5))
        }));
        parts.push(step("check", None, "running", 5, None));
        let skipped = json!({ "step": "announce", "item": null, "at": "2026-03-28T09:00:04Z", "skipped": "condition", "error": null });
        parts.push(StepPart::NotStarted(skipped));
        let flow = Flow { execution, steps: in_steps(parts), is_cut: false };
        let picture = of_execution(&flow, LATER.parse().unwrap());
        hold(&picture);
        insta::assert_snapshot!(picture);
    }

    #[test]
    fn open_execution_is_drawn_until_now() {
        let mut running = json!({
            "action": "core.shell", "status": "running", "requested_at": "2026-03-28T09:00:00Z", "started_at": "2026-03-28T09:00:01Z",
            "attempts": [{ "number": 1, "status": "running", "started_at": "2026-03-28T09:00:01Z" }],
        });
        let picture = of_execution(&alone(&running), LATER.parse().unwrap());
        assert!(picture.contains("queued: +0.0 ms to +1.0 s") && picture.contains("running: +1.0 s to +10.0 s"), "{picture}");
        let ahead = of_execution(&alone(&running), "2026-03-28T08:59:00Z".parse().unwrap());
        assert!(ahead.contains("running: +1.0 s to +1.0 s"), "{ahead}");
        running["attempts"] = json!([]);
        running["started_at"] = Value::Null;
        let waiting = of_execution(&alone(&running), LATER.parse().unwrap());
        assert!(waiting.contains("queued: +0.0 ms to +10.0 s"), "{waiting}");
    }

    #[test]
    fn text_from_outside_is_escaped_in_svg_and_missing_times_are_allowed() {
        let bad = "</text><script>alert(\"&amp;\")</script>\u{0}\u{1b}\u{ffff}";
        hold(&of_tree(&branch(bad, bad, Mood::Bad, vec![branch(bad, "", Mood::Faint, vec![])])));
        let status = json!({ "id": bad, "action": bad, "status": bad, "attempts": [{ "number": bad, "status": bad }] });
        hold(&of_execution(&alone(&status), LATER.parse().unwrap()));
        assert_eq!(escape_xml("a<b>&\"\u{0}"), "a&lt;b&gt;&amp;&quot;\u{fffd}");
    }

    #[test]
    fn queued_execution_is_drawn_with_its_waiting_time_only() {
        let queued = json!({ "action": "core.echo", "status": "queued", "requested_at": "2026-03-28T09:00:00Z" });
        let picture = of_execution(&alone(&queued), LATER.parse().unwrap());
        hold(&picture);
        assert!(picture.contains(">queued<") && !picture.contains("attempt"), "{picture}");
    }
}
