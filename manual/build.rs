//! Packs the documents of `docs` into one compressed file, so that a node shows its own documentation without a network.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use flate2::Compression;
use flate2::write::DeflateEncoder;

fn main() -> io::Result<()> {
    let crate_dir = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the crate's folder"));
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names a folder for what is generated"));
    let documents = crate_dir.join("../docs");
    println!("cargo::rerun-if-changed={}", documents.display());
    let mut pages = Vec::new();
    collect(&documents, "", &mut pages)?;
    pages.sort();
    let mut packed = DeflateEncoder::new(fs::File::create(out_dir.join("pages.json.deflate"))?, Compression::best());
    packed.write_all(&serde_json::to_vec(&pages)?)?;
    packed.finish().map(drop)
}

/// Collects the Markdown files below a folder: their paths from the root without the ending, and their texts.
fn collect(folder: &Path, path: &str, pages: &mut Vec<(String, String)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|_| io::Error::other("the name of a document is not UTF-8"))?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{path}{name}/"), pages)?;
        } else if let Some(stem) = name.strip_suffix(".md") {
            pages.push((format!("{path}{stem}"), fs::read_to_string(entry.path())?));
        }
    }
    Ok(())
}
