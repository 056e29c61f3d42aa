//! Answers for people and for programs: tables of JSON documents, and the documents themselves.
//!
//! It does not know what the documents mean; each command says which of their fields it shows.

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use crate::report::{printable, say};

/// How an answer is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs: one JSON document.
    Json,
}

/// A column: its title, and how it is read off a document.
pub(crate) struct Column {
    /// The title.
    pub(crate) title: &'static str,
    /// The cell's text.
    pub(crate) cell: fn(&Value) -> String,
}

/// Prints documents as rows, or as they are.
pub(crate) fn print_list(output: Output, answer: &Value, columns: &[Column]) {
    match output {
        Output::Json => print_json(answer),
        Output::Table => {
            let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
            say(rows(items, columns));
        }
    }
}

/// Prints one document as the lines that `show` makes of it, of which there may be none, or as it is.
pub(crate) fn print_one(output: Output, answer: &Value, show: impl FnOnce(&Value) -> String) {
    match output {
        Output::Json => print_json(answer),
        Output::Table => {
            let shown = show(answer);
            if !shown.trim_end().is_empty() {
                say(shown.trim_end());
            }
        }
    }
}

/// Prints a document as JSON.
pub(crate) fn print_json(value: &Value) {
    say(format!("{value:#}"));
}

/// Lays documents out under titles; only the titles where there are none.
pub(crate) fn rows(items: &[Value], columns: &[Column]) -> String {
    let cells = items.iter().map(|item| columns.iter().map(|column| (column.cell)(item)).collect());
    laid_out(columns.iter().map(|column| column.title.to_owned()).collect(), cells)
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

/// A text on one line of bounded length, fit for a cell.
pub(crate) fn one_line(text: &str) -> String {
    const CHARACTERS_MAX: usize = 100;
    let flat = printable(text).replace(['\n', '\t'], " ");
    if flat.chars().count() <= CHARACTERS_MAX {
        return flat;
    }
    let cut: String = flat.chars().take(CHARACTERS_MAX - 1).collect();
    format!("{cut}…")
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
    fn documents_stand_in_rows_under_their_titles() {
        let items = [
            json!({ "id": "one", "rule": null, "note": "two\nlines" }),
            json!({ "id": "twenty-two", "rule": { "name": "a.b" }, "note": "\u{1b}[2J" }),
        ];
        let columns = [
            Column { title: "ID", cell: |item| cell(item, "id") },
            Column { title: "RULE", cell: |item| cell(item, "rule.name") },
            Column { title: "NOTE", cell: |item| cell(item, "note") },
        ];
        insta::assert_snapshot!(rows(&items, &columns), @r"
        ID          RULE  NOTE
        one         -     two lines
        twenty-two  a.b   �[2J
        ");
    }

    #[test]
    fn sizes_are_said_as_people_say_them() {
        assert_eq!([bytes(0), bytes(1023), bytes(1024), bytes(4_404_019)], ["0 B", "1023 B", "1.0 KiB", "4.2 MiB"]);
    }
}
