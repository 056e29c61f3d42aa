//! Tables and lines of JSON documents, for people.
//!
//! It does not know what the documents mean; each command says which of their fields it shows.

use std::io::IsTerminal as _;

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::id_ends;
use crate::report::printable;

/// The columns of a terminal that does not say how many it has.
const WIDTH_DEFAULT: usize = 80;
/// The columns between two cells.
const GAP: usize = 2;
/// The least columns that a cell is cut to.
const CELL_MIN: usize = 8;
/// The least characters of an id's end that is shown: few enough to type, and more than tell a page of ids apart.
const END_MIN: usize = 8;
/// The most columns of what a line of a series ends with. It does not go by the terminal: such lines are read by scrolling and searching.
const EXCERPT_MAX: usize = 100;

/// A column: its title, how it is read off a document, and what becomes of it where room is short.
pub(crate) struct Column {
    title: &'static str,
    cell: fn(&Value) -> String,
    fit: Fit,
}

/// What becomes of a column where room is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// It is shown whole: half an id is none.
    Whole,
    /// It is cut.
    Cut,
    /// It is an id: on a terminal its end is shown, which every command takes.
    Id,
}

/// How much room there is for rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// A terminal of so many columns.
    Columns(usize),
    /// A pipe or a file: values are whole, and stand behind each other with tabs between them.
    Unbounded,
}

impl Room {
    /// Returns the room of standard output: that of the terminal, or as `COLUMNS` says.
    pub(crate) fn of_output() -> Self {
        if std::io::stdout().is_terminal() { Self::Columns(width()) } else { Self::Unbounded }
    }
}

impl Column {
    /// A column that is shown whole, however short the room: ids, states, times.
    pub(crate) const fn whole(title: &'static str, cell: fn(&Value) -> String) -> Self {
        Self { title, cell, fit: Fit::Whole }
    }

    /// A column that is cut where room is short: names and descriptions.
    pub(crate) const fn cut(title: &'static str, cell: fn(&Value) -> String) -> Self {
        Self { title, cell, fit: Fit::Cut }
    }

    /// A column of ids: on a terminal the shortest ends that tell them apart, whole elsewhere.
    pub(crate) const fn id(title: &'static str, cell: fn(&Value) -> String) -> Self {
        Self { title, cell, fit: Fit::Id }
    }
}

/// Gives the columns that there are: of the terminal that is printed to, or as `COLUMNS` says.
fn width() -> usize {
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).filter(|columns| *columns > 0);
    said.or_else(|| terminal().map(|(width, _)| width)).unwrap_or(WIDTH_DEFAULT)
}

/// Gives the columns and lines of the terminal that is printed to; none where that is a pipe or a file, whatever the other streams are.
pub(crate) fn terminal() -> Option<(usize, usize)> {
    let (width, height) = terminal_size::terminal_size_of(std::io::stdout())?;
    Some((width.0.into(), height.0.into()))
}

/// Lays a page of the API out under titles, for the terminal that there is.
pub(crate) fn page(answer: &Value, columns: &[Column]) -> String {
    rows(answer["items"].as_array().map(Vec::as_slice).unwrap_or_default(), columns, Room::of_output())
}

/// Lays documents out under titles; only the titles where there are none. No line is wider than the room, unless what is shown whole is.
pub(crate) fn rows(items: &[Value], columns: &[Column], room: Room) -> String {
    let mut rows: Vec<Vec<String>> = vec![columns.iter().map(|column| column.title.to_owned()).collect()];
    rows.extend(items.iter().map(|item| columns.iter().map(|column| one_line(&(column.cell)(item))).collect()));
    let Room::Columns(width) = room else {
        return rows.iter().map(|row| row.join("\t")).collect::<Vec<_>>().join("\n");
    };
    let fits: Vec<Fit> = columns.iter().map(|column| column.fit).collect();
    shorten_ids(&mut rows, &fits);
    let widths = widths(&rows, &fits, width);
    for row in &mut rows {
        for (cell, width) in row.iter_mut().zip(&widths) {
            *cell = cut(cell, *width);
        }
    }
    let titles = rows.remove(0);
    laid_out(titles, rows.into_iter())
}

/// Leaves of ids the ends that tell those of a column apart.
fn shorten_ids(rows: &mut [Vec<String>], fits: &[Fit]) {
    for (column, _) in fits.iter().enumerate().filter(|(_, fit)| **fit == Fit::Id) {
        let ids = rows.iter().skip(1).filter_map(|row| row.get(column).map(String::as_str));
        let characters = id_ends::shortest_end(ids, END_MIN);
        for cell in rows.iter_mut().skip(1).filter_map(|row| row.get_mut(column)) {
            *cell = id_ends::end_of(cell, characters).to_owned();
        }
    }
}

/// How wide each column may be: the widest of those that can be cut give way first, down to [`CELL_MIN`].
fn widths(rows: &[Vec<String>], fits: &[Fit], width: usize) -> Vec<usize> {
    let widest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).max().unwrap_or_default();
    let mut widths: Vec<usize> = (0..fits.len()).map(widest).collect();
    let gaps = GAP * fits.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > width {
        let can_give = fits.iter().zip(&mut widths).filter(|(fit, width)| **fit == Fit::Cut && **width > CELL_MIN);
        let Some((_, widest)) = can_give.max_by_key(|(_, width)| **width) else { break };
        *widest -= 1;
    }
    widths
}

/// A text of so many columns at most; `…` where it was cut.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut taken = 0;
    let mut cut: String = text
        .chars()
        .take_while(|character| {
            taken += character.width().unwrap_or_default();
            taken < width
        })
        .collect();
    cut.push('…');
    cut
}

/// Lays rows out under titles.
pub(crate) fn laid_out(titles: Vec<String>, rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(titles);
    for row in rows {
        table.add_row(row.iter().map(|cell| one_line(cell)).collect::<Vec<_>>());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Lays out names and values under each other: `name   value`.
pub(crate) fn pairs(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        let indented = printable(value.trim_end()).replace('\n', &format!("\n{}", " ".repeat(width + 2)));
        text.push_str(&format!("{name:width$}  {indented}\n"));
    }
    text
}

/// A field of a document as text, by its path of names and dots; `-` where it is not there.
pub(crate) fn cell(value: &Value, path: &str) -> String {
    match text(value, path) {
        empty if empty.is_empty() => "-".to_owned(),
        text => text,
    }
}

/// A field of a document as text, by its path of names and dots; empty where it is not there.
pub(crate) fn text(value: &Value, path: &str) -> String {
    match path.split('.').fold(value, |value, name| &value[name]) {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A field that holds a time, to the second: `2026-03-28 09:00:00Z`.
pub(crate) fn time(value: &Value, path: &str) -> String {
    let text = cell(value, path);
    match (text.get(..10), text.get(10..11), text.get(11..19)) {
        (Some(date), Some("T"), Some(time)) => format!("{date} {time}Z"),
        _ => text,
    }
}

/// A text on one line, fit for a cell.
fn one_line(text: &str) -> String {
    printable(text).replace(['\n', '\t'], " ")
}

/// The beginning of a text on one line, for the end of a line of a series.
pub(crate) fn excerpt(text: &str) -> String {
    cut(&one_line(text), EXCERPT_MAX)
}

/// A number of bytes as people say it: `4.2 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    #[allow(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
    let mut amount = count as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if amount < 1024.0 {
            break;
        }
        amount /= 1024.0;
        unit = next;
    }
    format!("{amount:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_are_rows_below_their_titles() {
        let items = [
            json!({ "id": "one", "rule": null, "note": "two\nlines" }),
            json!({ "id": "twenty-two", "rule": { "name": "a.b" }, "note": "\u{1b}[2J" }),
        ];
        let columns = [
            Column::whole("ID", |item| cell(item, "id")),
            Column::cut("RULE", |item| cell(item, "rule.name")),
            Column::cut("NOTE", |item| cell(item, "note")),
        ];
        insta::assert_snapshot!(rows(&items, &columns, Room::Columns(80)), @r"
        ID          RULE  NOTE
        one         -     two lines
        twenty-two  a.b   �[2J
        ");
    }

    const EXECUTIONS: [Column; 3] = [
        Column::whole("ID", |item| cell(item, "id")),
        Column::cut("ACTION", |item| cell(item, "action")),
        Column::whole("STATUS", |item| cell(item, "status")),
    ];

    #[test]
    fn table_is_truncated_to_the_terminal_but_ids_never() {
        let items = [
            json!({ "id": "019c1f3a-0000-7000-8000-000000000001", "action": "release_management.announce_in_every_room", "status": "succeeded" }),
            json!({ "id": "019c1f3a-0000-7000-8000-000000000002", "action": "日本語日本語日本語日本語日本語日本語", "status": "failed" }),
        ];
        insta::assert_snapshot!(rows(&items, &EXECUTIONS, Room::Columns(70)), @r"
        ID                                    ACTION                 STATUS
        019c1f3a-0000-7000-8000-000000000001  release_management.a…  succeeded
        019c1f3a-0000-7000-8000-000000000002  日本語日本語日本語日…  failed
        ");
        let narrowest = "019c1f3a-0000-7000-8000-000000000001".len() + GAP + CELL_MIN + GAP + "succeeded".len();
        for width in 1..120 {
            let rows = rows(&items, &EXECUTIONS, Room::Columns(width));
            assert!(rows.lines().all(|line| line.width() <= width.max(narrowest)), "at {width}");
            for (row, item) in rows.lines().skip(1).zip(&items) {
                assert!(row.starts_with(&text(item, "id")) && row.ends_with(&text(item, "status")), "at {width}: {row}");
            }
        }
    }

    #[test]
    fn terminal_shows_the_shortest_ends_of_ids_that_differ() {
        let columns = [Column::id("ID", |item| cell(item, "id")), Column::whole("STATUS", |item| cell(item, "status"))];
        let item = |end: &str| json!({ "id": format!("019c1f3a-0000-7000-8000-{end}"), "status": "failed" });
        insta::assert_snapshot!(rows(&[item("000000000001"), item("000000000002")], &columns, Room::Columns(80)), @r"
        ID        STATUS
        00000001  failed
        00000002  failed
        ");
        insta::assert_snapshot!(rows(&[item("000000000001"), item("000100000001")], &columns, Room::Columns(80)), @r"
        ID         STATUS
        000000001  failed
        100000001  failed
        ");
    }

    #[test]
    fn pipe_gets_full_values_separated_by_tabs() {
        let items = [json!({ "id": "019c1f3a-0000-7000-8000-000000000001", "action": "a\tb".repeat(60), "status": "failed" })];
        let action = "a b".repeat(60);
        let shown = format!("ID\tACTION\tSTATUS\n019c1f3a-0000-7000-8000-000000000001\t{action}\tfailed");
        assert_eq!(rows(&items, &EXECUTIONS, Room::Unbounded), shown);
    }

    #[test]
    fn wide_terminal_shows_long_cells_completely() {
        let long = "word ".repeat(60);
        let items = [json!({ "id": long.trim_end(), "action": long.trim_end(), "status": "failed" })];
        let rows = rows(&items, &EXECUTIONS, Room::Columns(1_000));
        assert!(!rows.contains('…') && rows.ends_with("failed"), "{rows}");
        assert_eq!(excerpt(&long).width(), EXCERPT_MAX);
    }

    #[test]
    fn sizes_are_printed_for_people() {
        assert_eq!([bytes(0), bytes(1023), bytes(1024), bytes(4_404_019)], ["0 B", "1023 B", "1.0 KiB", "4.2 MiB"]);
    }
}
