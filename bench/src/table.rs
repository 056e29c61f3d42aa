//! Lays out figures for people.

use comfy_table::{ContentArrangement, Table, presets};

/// Lays rows out under titles.
pub(crate) fn laid_out(titles: Vec<String>, rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(titles);
    for row in rows {
        table.add_row(row.iter().map(|cell| cell.replace(['\n', '\t'], " ")).collect::<Vec<_>>());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Returns a number of bytes for people: `4.2 MiB`.
#[allow(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
pub(crate) fn bytes(count: u64) -> String {
    let units = [(1_u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| count >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", count as f64 / unit as f64),
        None => format!("{count} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_said_as_people_say_them() {
        assert_eq!([bytes(0), bytes(1023), bytes(1024), bytes(4_404_019)], ["0 B", "1023 B", "1.0 KiB", "4.2 MiB"]);
    }
}
