//! Draws `ensue top`: a node's rates, queues, running executions and erring rules, on a terminal of any size.
//!
//! It makes no requests: it receives snapshots of a node, and draws the latest with its changes since the one
//! before.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph};
use serde_json::Value;

use crate::report::{Failure, printable};
use crate::table::{Column, TableWidth, bytes, cell, rows, text, time};

/// The height of the rates, with their frame.
const RATES_HEIGHT: u16 = 9;
/// The width of the rates, with their frame.
const RATES_WIDTH: u16 = 36;
/// The minimum width of a frame.
const FRAMED_WIDTH_MIN: u16 = 16;

/// A snapshot of a node.
#[derive(Clone, Debug)]
pub(crate) struct StatusSample {
    /// Its time.
    pub(crate) at: Instant,
    /// The node's state, from `/status`.
    pub(crate) status: Value,
    /// The figures of its queues.
    pub(crate) metrics: Metrics,
    /// The list of running executions.
    pub(crate) running: Value,
    /// The list of rules.
    pub(crate) rules: Value,
}

/// The metrics of a node: each sample by its name with its labels, as in the text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    samples: BTreeMap<String, f64>,
}

impl Metrics {
    /// Parses the Prometheus text format; anything that is not a sample is skipped.
    pub(crate) fn read(text: &str) -> Self {
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse::<f64>().ok()?))
        };
        Self { samples: text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect() }
    }

    fn value(&self, name: &str) -> Option<f64> {
        self.samples.get(name).copied()
    }

    /// Returns each queue with its size and its capacity.
    fn queues(&self) -> Vec<(&str, f64, f64)> {
        let queues = self.samples.iter().filter_map(|(name, depth)| {
            let queue = name.strip_prefix("ensue_queue_depth{queue=\"")?.strip_suffix("\"}")?;
            Some((queue, *depth, self.value(&format!("ensue_queue_capacity{{queue=\"{queue}\"}}"))?))
        });
        queues.collect()
    }
}

/// The known state of a node.
#[derive(Debug)]
pub(crate) struct Screen {
    server: String,
    now: StatusSample,
    before: Option<StatusSample>,
    /// Why there is no newer snapshot.
    missing: Option<String>,
}

impl Screen {
    /// Creates a screen with a first snapshot of the node at this address.
    pub(crate) fn new(server: &str, look: StatusSample) -> Self {
        Self { server: server.to_owned(), now: look, before: None, missing: None }
    }

    /// Adds a newer snapshot.
    pub(crate) fn see(&mut self, look: StatusSample) {
        self.before = Some(std::mem::replace(&mut self.now, look));
        self.missing = None;
    }

    /// Records that there is no newer snapshot, and why.
    pub(crate) fn miss(&mut self, failure: &Failure) {
        self.missing = Some(failure.to_string());
    }

    /// Draws everything; if there is too little room, the lower parts are left out first.
    pub(crate) fn draw(&self, frame: &mut Frame) {
        let [head, figures, running, erring] =
            Layout::vertical([Constraint::Length(1), Constraint::Max(RATES_HEIGHT), Constraint::Fill(2), Constraint::Fill(1)])
                .areas(frame.area());
        let [rates, queues] = Layout::horizontal([Constraint::Max(RATES_WIDTH), Constraint::Fill(1)]).areas(figures);
        frame.render_widget(Paragraph::new(self.head(head.width)), head);
        render_panel(frame, rates, "rates", self.rates());
        render_panel(frame, queues, "queues", self.queues(inner_width(queues)));
        render_panel(frame, running, "running executions", running_lines(&self.now.running, inner_width(running)));
        render_panel(frame, erring, "rules that erred", erring_lines(&self.now.rules, inner_width(erring)));
    }

    fn head(&self, width: u16) -> Line<'static> {
        const QUIT: &str = "q quits";
        if let Some(why) = &self.missing {
            return Line::styled(printable(why), Style::new().add_modifier(Modifier::REVERSED));
        }
        let told =
            format!("ensue {} at {}, position {}", text(&self.now.status, "release"), self.server, text(&self.now.status, "position"));
        let told = printable(&told);
        let gap = usize::from(width).saturating_sub(told.chars().count() + QUIT.len());
        Line::from(vec![
            Span::styled(told, Style::new().add_modifier(Modifier::BOLD)),
            Span::raw(" ".repeat(gap.max(1))),
            Span::styled(QUIT, Style::new().add_modifier(Modifier::DIM)),
        ])
    }

    fn rates(&self) -> Vec<Line<'static>> {
        let status = &self.now.status;
        let ended = ["succeeded", "failed", "timed_out", "cancelled"].map(|how| format!("totals.executions_{how}"));
        let ended: Vec<&str> = ended.iter().map(String::as_str).collect();
        let pair = |name: &str, value: String| Line::raw(format!("{name:<15}{value:>17}"));
        let size = |name: &str| status[name].as_u64().map(bytes).unwrap_or_default();
        vec![
            pair("events", self.rate(&["totals.events"])),
            pair("executions", self.rate(&ended)),
            pair("records", self.rate(&["position"])),
            pair("open", text(status, "totals.executions_open")),
            pair("workers busy", format!("{} of {}", text(status, "workers_busy"), text(status, "workers"))),
            pair("memory", size("memory_bytes")),
            pair("views behind", self.behind()),
        ]
    }

    /// Returns the rate per second of some counters since the previous snapshot.
    fn rate(&self, counts: &[&str]) -> String {
        let sum = |look: &StatusSample| counts.iter().filter_map(|count| text(&look.status, count).parse::<f64>().ok()).sum::<f64>();
        let Some(before) = &self.before else { return "-".to_owned() };
        let passed = self.now.at.saturating_duration_since(before.at);
        // The counters of a restarted node begin at zero.
        let more = (sum(&self.now) - sum(before)).max(0.0);
        if passed < Duration::from_millis(1) { "-".to_owned() } else { format!("{:.1} /s", more / passed.as_secs_f64()) }
    }

    fn behind(&self) -> String {
        let number = |name: &str| self.now.status[name].as_u64().unwrap_or_default();
        number("position").saturating_sub(number("views_position")).to_string()
    }

    /// Returns the queues that are not empty, the fullest first.
    fn queues(&self, width: usize) -> Vec<Line<'static>> {
        let mut queues = self.now.metrics.queues();
        let share = |(_, depth, capacity): &(&str, f64, f64)| if *capacity > 0.0 { depth / capacity } else { 0.0 };
        queues.retain(|queue| queue.1 > 0.0);
        queues.sort_by(|one, other| share(other).total_cmp(&share(one)));
        if queues.is_empty() {
            return vec![Line::styled("all empty", Style::new().add_modifier(Modifier::DIM))];
        }
        let line = |queue: &(&str, f64, f64)| {
            let told = format!("{:<20}{:>5.0} %  {} of {}", queue.0, 100.0 * share(queue), queue.1, queue.2);
            Line::raw(crate::table::cut(&told, width))
        };
        queues.iter().map(line).collect()
    }
}

fn running_lines(list: &Value, width: usize) -> Vec<Line<'static>> {
    const COLUMNS: &[Column] = &[
        Column::id("ID", |execution| cell(execution, "id")),
        Column::cut("ACTION", |execution| cell(execution, "action")),
        Column::whole("STARTED", |execution| time(execution, "started_at")),
    ];
    table(list["items"].as_array().map(Vec::as_slice).unwrap_or_default(), COLUMNS, width, "none runs")
}

fn erring_lines(list: &Value, width: usize) -> Vec<Line<'static>> {
    const COLUMNS: &[Column] = &[
        Column::whole("ERRED", |rule| cell(rule, "erred")),
        Column::cut("RULE", |rule| cell(rule, "ref")),
        Column::cut("LAST", |rule| cell(&rule["errors"][0], "message")),
    ];
    let erred = |rule: &Value| rule["erred"].as_u64().unwrap_or_default();
    let mut rules: Vec<Value> = list["items"].as_array().into_iter().flatten().filter(|rule| erred(rule) > 0).cloned().collect();
    rules.sort_by_key(|rule| std::cmp::Reverse(erred(rule)));
    let none = if list["next"].is_null() { "none" } else { "none among the first 200" };
    table(&rules, COLUMNS, width, none)
}

/// Returns the lines of a table, or a placeholder if it is empty.
fn table(items: &[Value], columns: &[Column], width: usize, none: &'static str) -> Vec<Line<'static>> {
    if items.is_empty() {
        return vec![Line::styled(none, Style::new().add_modifier(Modifier::DIM))];
    }
    rows(items, columns, TableWidth::Columns(width)).lines().map(|line| Line::raw(line.to_owned())).collect()
}

fn render_panel(frame: &mut Frame, area: Rect, title: &'static str, lines: Vec<Line<'static>>) {
    // A frame without room for content is useless.
    if area.height >= 3 && area.width >= FRAMED_WIDTH_MIN {
        frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(title)), area);
    }
}

fn inner_width(area: Rect) -> usize {
    usize::from(area.width).saturating_sub(2)
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    use super::*;

    const METRICS: &str = "\
# HELP ensue_queue_depth How full a queue is.
ensue_queue_depth{queue=\"commands\"} 410
ensue_queue_depth{queue=\"attempts\"} 3
ensue_queue_depth{queue=\"reads\"} 0
ensue_queue_capacity{queue=\"commands\"} 8192
ensue_queue_capacity{queue=\"attempts\"} 4
ensue_queue_capacity{queue=\"reads\"} 5
# EOF
";

    fn look(at: Instant, seconds: u64) -> StatusSample {
        StatusSample {
            at: at + Duration::from_secs(seconds),
            status: json!({
                "release": "0.1.0", "position": 1_000 + 84 * seconds, "views_position": 1_000 + 80 * seconds, "workers": 4, "workers_busy": 3,
                "memory_bytes": 48 * 1024 * 1024,
                "totals": {
                    "events": 200 + 21 * seconds, "executions_open": 3, "executions_succeeded": 100 + 9 * seconds, "executions_failed": 7 + seconds,
                    "executions_timed_out": 0, "executions_cancelled": 0,
                },
            }),
            metrics: Metrics::read(METRICS),
            running: json!({ "items": [
                { "id": "019c1f3a-0000-7000-8000-000000000001", "action": "release.announce_in_every_room", "started_at": "2026-03-28T09:00:00Z" },
                { "id": "019c1f3a-0000-7000-8000-000000000002", "action": "core.shell\u{1b}[2J", "started_at": "2026-03-28T09:00:01Z" },
            ] }),
            rules: json!({ "items": [
                { "ref": "examples.good", "erred": 0, "errors": [] },
                { "ref": "examples.seldom", "erred": 2, "errors": [{ "message": "there is no `who`" }] },
                { "ref": "examples.often", "erred": 12, "errors": [{ "message": "`int` cannot be made of \"seven\"" }] },
            ] }),
        }
    }

    fn screen() -> Screen {
        let begin = Instant::now();
        let mut screen = Screen::new("http://127.0.0.1:3678", look(begin, 0));
        screen.see(look(begin, 2));
        screen
    }

    fn draw_at_size(screen: &Screen, width: u16, height: u16) -> Terminal<TestBackend> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        terminal
    }

    #[test]
    fn busy_node_fits_on_one_screen() {
        insta::assert_snapshot!(draw_at_size(&screen(), 80, 24).backend());
    }

    #[test]
    fn idle_and_unreachable_nodes_are_shown_as_such() {
        let mut idle = look(Instant::now(), 0);
        (idle.metrics, idle.running, idle.rules) = (Metrics::default(), json!({ "items": [] }), json!({ "items": [] }));
        let mut screen = Screen::new("http://127.0.0.1:3678", idle);
        screen.miss(&Failure::new("no node answers at http://127.0.0.1:3678: Connection refused"));
        insta::assert_snapshot!(draw_at_size(&screen, 80, 24).backend());
    }

    #[test]
    fn any_terminal_size_is_supported() {
        let screen = screen();
        for width in 0..100 {
            for height in [0, 1, 2, 3, 5, 8, 10, 11, 12, 13, 20, 40] {
                draw_at_size(&screen, width, height);
            }
        }
        insta::assert_snapshot!(draw_at_size(&screen, 40, 12).backend());
    }
}
