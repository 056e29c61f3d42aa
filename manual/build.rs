//! Packs the documents of `docs` into one compressed file, and lists the pictures that they show, so that a node shows its own
//! documentation without a network.

use std::collections::BTreeMap;
use std::fmt::Write as _;
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
    packed.finish()?;
    write_pictures(&documents, &pages, &out_dir.join("pictures.rs"))
}

/// Writes a list of the pictures that pages show: their names and their bytes.
fn write_pictures(documents: &Path, pages: &[(String, String)], to: &Path) -> io::Result<()> {
    let mut pictures: BTreeMap<String, PathBuf> = BTreeMap::new();
    for (path, markdown) in pages {
        let folder = documents.join(path).parent().map(Path::to_owned).unwrap_or_default();
        for target in markdown.split("![").skip(1).filter_map(|rest| rest.split_once("](")?.1.split_once(')')).map(|(target, _)| target) {
            let file = folder.join(target).canonicalize().map_err(|error| io::Error::other(format!("{path} shows {target}: {error}")))?;
            println!("cargo::rerun-if-changed={}", file.display());
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if pictures.insert(name.clone(), file.clone()).is_some_and(|other| other != file) {
                return Err(io::Error::other(format!("two pictures are called {name}")));
            }
        }
    }
    let mut list = String::from("&[\n");
    for (name, file) in pictures {
        writeln!(list, "    ({name:?}, include_bytes!({:?})),", file.display().to_string()).map_err(io::Error::other)?;
    }
    list.push_str("]\n");
    fs::write(to, list)
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
