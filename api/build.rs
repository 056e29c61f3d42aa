//! Embeds the pages of `docs/errors`, so that every problem's `type` can be read on the node that answered with it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let crate_dir = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the crate's folder"));
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names a folder for what is generated"));
    let pages = crate_dir.join("../docs/errors");
    println!("cargo::rerun-if-changed={}", pages.display());
    fs::write(out_dir.join("error_pages.rs"), generated(&pages)?)
}

/// The source of a list of `(slug, text)`, in the order of the slugs.
fn generated(pages: &Path) -> io::Result<String> {
    let mut files: Vec<PathBuf> = fs::read_dir(pages)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "md"));
    files.sort();
    let mut source = String::from("pub(crate) const PAGES: &[(&str, &str)] = &[\n");
    for file in &files {
        let slug = file.file_stem().and_then(|stem| stem.to_str()).ok_or_else(|| io::Error::other("a page's name is not UTF-8"))?;
        let path = fs::canonicalize(file)?;
        writeln!(source, "    ({slug:?}, include_str!({path:?})),").expect("writing to a string does not fail");
    }
    source.push_str("];\n");
    Ok(source)
}
