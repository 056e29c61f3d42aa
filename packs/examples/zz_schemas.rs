//! Temporary.
fn main() {
    for kind in ensue_packs::FileKind::ALL {
        std::fs::write(format!("/tmp/schemas/{}.json", kind.name()), format!("{:#}\n", kind.json_schema())).unwrap();
    }
}
