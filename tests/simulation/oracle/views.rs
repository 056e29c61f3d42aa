//! I13: the live views equal the fold of the log, byte for byte.

use ensue_api::ports::LogAccess;
use ensue_engine::ports::ReadLimit;
use ensue_engine::record::Position;
use ensue_store::memory::MemoryViews;
use ensue_views::{Projector, ViewReader};

use crate::node::Node;
use crate::oracle::records::Raw;
use crate::oracle::{Violation, demand};
use crate::secrets::holds_secret;

pub(super) fn check(node: &Node, records: &[Raw]) -> Result<(), Violation> {
    let failed = |why: String| Violation::new("I13", why);
    let mut views = MemoryViews::new();
    let mut projector = Projector::new();
    let mut at = Position(0);
    loop {
        let page = node.log().read(at, ReadLimit { records: 7, ..ReadLimit::default() }).map_err(|error| failed(error.to_string()))?;
        if page.is_empty() {
            break;
        }
        at = projector.advance(&mut views, &page).map_err(|error| failed(error.to_string()))?;
    }
    let rebuilt = dump_rows(&views.reader())?;
    let live = dump_rows(&**node.view_reader())?;
    demand!(live.0.0 == records.len() as u64, "I13", "the live views are at {}, the log at {}", live.0, records.len());
    for (one, other) in live.1.iter().zip(&rebuilt.1) {
        demand!(one == other, "I13", "a live view is {one}, but the log folds to {other}");
        demand!(!holds_secret(one.as_bytes()), "I18", "a secret is in a view: {one}");
    }
    demand!(live.1.len() == rebuilt.1.len(), "I13", "{} rows are live, but the log folds to {}", live.1.len(), rebuilt.1.len());
    Ok(())
}

fn dump_rows(reader: &dyn ViewReader) -> Result<(Position, Vec<String>), Violation> {
    let mut rows = Vec::new();
    let position = reader.dump(&mut |view, row| {
        rows.push(format!("{view:?} {} at {}: {}", row.key, row.position, String::from_utf8_lossy(&row.document)));
    });
    position.map(|position| (position, rows)).map_err(|error| Violation::new("I13", error.to_string()))
}
