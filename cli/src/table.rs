//! Tables and lines of JSON documents, for people.
//!
//! It does not interpret the documents: each command chooses the fields to show.

use std::io::IsTerminal as _;

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::id_ends;
use crate::report::printable;

/// The assumed width of a terminal that does not report it, in columns.
const WIDTH_DEFAULT: usize = 80;
/// The columns between two cells.
const GAP: usize = 2;
/// The narrowest width to which a cell is cut.
const CELL_MIN: usize = 8;
/// The narrowest width to which a cell is cut in favor of a column that can be left out.
const CELL_ROOMY: usize = 20;
/// The fewest characters of an id's end that are shown: few enough to type, and more than enough to
/// distinguish the ids on a page.
const END_MIN: usize = 8;
/// The maximum width of the last part of a line in a series. It does not depend on the terminal: such lines
/// are read by scrolling and searching.
const EXCERPT_MAX: usize = 100;

/// A column: its title, how its cell is read from a document, and what happens to it if there is too little
/// room.
pub(crate) struct Column {
    title: &'static str,
    cell: fn(&Value) -> String,
    fit: Fit,
}

/// What happens to a column if there is too little room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// It is shown whole: half an id is useless.
    Whole,
    /// It is cut.
    Cut,
    /// The column is left out.
    LeftOut,
    /// It is an id: on a terminal its end is shown, which every command accepts.
    Id,
}

/// The room for rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableWidth {
    /// A terminal of this many columns.
    Columns(usize),
    /// A pipe or a file: values are whole and separated by tabs.
    Unbounded,
}

impl TableWidth {
    /// Returns the room of standard output: that of the terminal, or the value of `COLUMNS`.
    pub(crate) fn of_output() -> Self {
        if std::io::stdout().is_terminal() { Self::Columns(width()) } else { Self::Unbounded }
    }
}

impl Column {
    /// Returns its title with what it shows of a document.
    pub(crate) fn of(&self, document: &Value) -> (&'static str, String) {
        (self.title, (self.cell)(document))
    }

    /// Returns a column that is always shown whole: ids, statuses, times.
    pub(crate) const fn whole(title: &'static str, cell: fn(&Value) -> String) -> Self {
        Self { title, cell, fit: Fit::Whole }
    }

    /// Returns a column that is cut if there is too little room: names and descriptions.
    pub(crate) const fn cut(title: &'static str, cell: fn(&Value) -> String) -> Self {
        Self { title, cell, fit: Fit::Cut }
    }

    /// Returns a column that is shown whole if there is room, and left out if not.
    pub(crate) const fn roomy(title: &'static str, cell: fn(&Value) -> String) -> Self {
        Self { title, cell, fit: Fit::LeftOut }
    }

    /// Returns a column of ids: on a terminal the shortest ends that distinguish them, elsewhere whole ids.
    pub(crate) const fn id(title: &'static str, cell: fn(&Value) -> String) -> Self {
        Self { title, cell, fit: Fit::Id }
    }
}

/// Returns the width: that of the output terminal, or the value of `COLUMNS`.
fn width() -> usize {
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).filter(|columns| *columns > 0);
    said.or_else(|| terminal().map(|(width, _)| width)).unwrap_or(WIDTH_DEFAULT)
}

/// Returns the columns and lines of the output terminal; `None` if standard output is a pipe or a file,
/// whatever the other streams are.
pub(crate) fn terminal() -> Option<(usize, usize)> {
    let (width, height) = terminal_size::terminal_size_of(std::io::stdout())?;
    Some((width.0.into(), height.0.into()))
}

/// Lays out a page of the API under titles, for the current terminal.
pub(crate) fn page(answer: &Value, columns: &[Column]) -> String {
    rows(answer["items"].as_array().map(Vec::as_slice).unwrap_or_default(), columns, TableWidth::of_output())
}

/// Lays out documents under titles; only the titles if there are none. No line is wider than the room, except
/// for values that are always shown whole.
pub(crate) fn rows(items: &[Value], columns: &[Column], room: TableWidth) -> String {
    let mut rows: Vec<Vec<String>> = vec![columns.iter().map(|column| column.title.to_owned()).collect()];
    rows.extend(items.iter().map(|item| columns.iter().map(|column| one_line(&(column.cell)(item))).collect()));
    let TableWidth::Columns(width) = room else {
        return rows.iter().map(|row| row.join("\t")).collect::<Vec<_>>().join("\n");
    };
    let mut fits: Vec<Fit> = columns.iter().map(|column| column.fit).collect();
    shorten_ids(&mut rows, &fits);
    leave_out(&mut rows, &mut fits, width);
    let widths = widths(&rows, &fits, width);
    for row in &mut rows {
        for (cell, width) in row.iter_mut().zip(&widths) {
            *cell = cut(cell, *width);
        }
    }
    let titles = rows.remove(0);
    laid_out(titles, rows.into_iter())
}

/// Shortens ids to the ends that distinguish those of a column.
fn shorten_ids(rows: &mut [Vec<String>], fits: &[Fit]) {
    for (column, _) in fits.iter().enumerate().filter(|(_, fit)| **fit == Fit::Id) {
        let ids = rows.iter().skip(1).filter_map(|row| row.get(column).map(String::as_str));
        let characters = id_ends::shortest_end(ids, END_MIN);
        for cell in rows.iter_mut().skip(1).filter_map(|row| row.get_mut(column)) {
            *cell = id_ends::end_of(cell, characters).to_owned();
        }
    }
}

/// Leaves out columns that can be left out, the last one first, until the others have room.
fn leave_out(rows: &mut [Vec<String>], fits: &mut Vec<Fit>, width: usize) {
    while let Some(last) = fits.iter().rposition(|fit| *fit == Fit::LeftOut) {
        let narrow = |(fit, widest): (&Fit, usize)| if *fit == Fit::Cut { widest.min(CELL_ROOMY) } else { widest };
        let needed: usize = fits.iter().zip(widest(rows, fits.len())).map(narrow).sum();
        if needed + GAP * fits.len().saturating_sub(1) <= width {
            return;
        }
        fits.remove(last);
        for row in rows.iter_mut().filter(|row| last < row.len()) {
            row.remove(last);
        }
    }
}

/// Returns the width of the widest cell of each column.
fn widest(rows: &[Vec<String>], columns: usize) -> Vec<usize> {
    let of = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).max().unwrap_or_default();
    (0..columns).map(of).collect()
}

/// Returns the width of each column: the widest of those that can be cut shrink first, down to [`CELL_MIN`].
fn widths(rows: &[Vec<String>], fits: &[Fit], width: usize) -> Vec<usize> {
    let mut widths = widest(rows, fits.len());
    let gaps = GAP * fits.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > width {
        let can_give = fits.iter().zip(&mut widths).filter(|(fit, width)| **fit == Fit::Cut && **width > CELL_MIN);
        let Some((_, widest)) = can_give.max_by_key(|(_, width)| **width) else { break };
        *widest -= 1;
    }
    widths
}

/// Cuts a text to at most `width` columns, with `…` where it was cut.
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

/// Lays out rows under titles.
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

/// Lays out names and values below each other: `name   value`.
pub(crate) fn pairs(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        let indented = printable(value.trim_end()).replace('\n', &format!("\n{}", " ".repeat(width + 2)));
        text.push_str(&format!("{name:width$}  {indented}\n"));
    }
    text
}

/// Returns a field of a document as text, by its path of names and dots; `-` if it is absent.
pub(crate) fn cell(value: &Value, path: &str) -> String {
    match text(value, path) {
        empty if empty.is_empty() => "-".to_owned(),
        text => text,
    }
}

/// Returns a field of a document as text, by its path of names and dots; empty if it is absent.
pub(crate) fn text(value: &Value, path: &str) -> String {
    match path.split('.').fold(value, |value, name| &value[name]) {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Returns the owner of a thing: its rule, or else what its field of this name has.
pub(crate) fn owner(value: &Value, other: &str) -> String {
    match text(value, "rule") {
        none if none.is_empty() => format!("{other} {}", text(value, other)),
        rule => format!("rule {rule}"),
    }
}

/// Returns a time field, to the second: `2026-03-28 09:00:00Z`.
pub(crate) fn time(value: &Value, path: &str) -> String {
    let text = cell(value, path);
    match (text.get(..10), text.get(10..11), text.get(11..19)) {
        (Some(date), Some("T"), Some(time)) => format!("{date} {time}Z"),
        _ => text,
    }
}

/// Returns a text on one line, for a cell.
fn one_line(text: &str) -> String {
    printable(text).replace(['\n', '\t'], " ")
}

/// Returns the beginning of a text on one line, for the end of a line in a series.
pub(crate) fn excerpt(text: &str) -> String {
    cut(&one_line(text), EXCERPT_MAX)
}

/// Returns a number of bytes for people: `4.2 MiB`.
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
        insta::assert_snapshot!(rows(&items, &columns, TableWidth::Columns(80)), @r"
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
        insta::assert_snapshot!(rows(&items, &EXECUTIONS, TableWidth::Columns(70)), @r"
        ID                                    ACTION                 STATUS
        019c1f3a-0000-7000-8000-000000000001  release_management.a…  succeeded
        019c1f3a-0000-7000-8000-000000000002  日本語日本語日本語日…  failed
        ");
        let narrowest = "019c1f3a-0000-7000-8000-000000000001".len() + GAP + CELL_MIN + GAP + "succeeded".len();
        for width in 1..120 {
            let rows = rows(&items, &EXECUTIONS, TableWidth::Columns(width));
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
        insta::assert_snapshot!(rows(&[item("000000000001"), item("000000000002")], &columns, TableWidth::Columns(80)), @r"
        ID        STATUS
        00000001  failed
        00000002  failed
        ");
        insta::assert_snapshot!(rows(&[item("000000000001"), item("000100000001")], &columns, TableWidth::Columns(80)), @r"
        ID         STATUS
        000000001  failed
        100000001  failed
        ");
    }

    #[test]
    fn columns_without_room_are_left_out_from_the_last_one() {
        let columns = [
            Column::whole("ID", |item| cell(item, "id")),
            Column::roomy("TOOK", |item| cell(item, "took")),
            Column::roomy("RULE", |item| cell(item, "rule")),
            Column::cut("ERROR", |item| cell(item, "error")),
        ];
        let items = [json!({ "id": "one", "took": "1.0 s", "rule": "demo.greet", "error": "exit_code: it ended with 3" })];
        insta::assert_snapshot!(rows(&items, &columns, TableWidth::Columns(44)), @r"
        ID   TOOK   RULE        ERROR
        one  1.0 s  demo.greet  exit_code: it ended…
        ");
        insta::assert_snapshot!(rows(&items, &columns, TableWidth::Columns(43)), @r"
        ID   TOOK   ERROR
        one  1.0 s  exit_code: it ended with 3
        ");
        insta::assert_snapshot!(rows(&items, &columns, TableWidth::Columns(20)), @r"
        ID   ERROR
        one  exit_code: it …
        ");
        assert_eq!(rows(&items, &columns, TableWidth::Unbounded).lines().next(), Some("ID\tTOOK\tRULE\tERROR"));
    }

    #[test]
    fn pipe_gets_full_values_separated_by_tabs() {
        let items = [json!({ "id": "019c1f3a-0000-7000-8000-000000000001", "action": "a\tb".repeat(60), "status": "failed" })];
        let action = "a b".repeat(60);
        let shown = format!("ID\tACTION\tSTATUS\n019c1f3a-0000-7000-8000-000000000001\t{action}\tfailed");
        assert_eq!(rows(&items, &EXECUTIONS, TableWidth::Unbounded), shown);
    }

    #[test]
    fn wide_terminal_shows_long_cells_completely() {
        let long = "word ".repeat(60);
        let items = [json!({ "id": long.trim_end(), "action": long.trim_end(), "status": "failed" })];
        let rows = rows(&items, &EXECUTIONS, TableWidth::Columns(1_000));
        assert!(!rows.contains('…') && rows.ends_with("failed"), "{rows}");
        assert_eq!(excerpt(&long).width(), EXCERPT_MAX);
    }

    #[test]
    fn sizes_are_printed_for_people() {
        assert_eq!([bytes(0), bytes(1023), bytes(1024), bytes(4_404_019)], ["0 B", "1023 B", "1.0 KiB", "4.2 MiB"]);
    }
}
