//! Collects the titles of the pages of `docs/errors`, which are those of the problems, and compresses the OpenAPI document and its
//! page, which a node serves: as they are, they would be 2.7 MB of its binary.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use flate2::Compression;
use flate2::write::DeflateEncoder;

fn main() -> io::Result<()> {
    let crate_dir = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the crate's folder"));
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names a folder for what is generated"));
    let pages = crate_dir.join("../docs/errors");
    println!("cargo::rerun-if-changed={}", pages.display());
    fs::write(out_dir.join("error_titles.rs"), generate_titles(&pages)?)?;
    for name in ["openapi.json", "openapi.html"] {
        let document = crate_dir.join("../docs/reference").join(name);
        println!("cargo::rerun-if-changed={}", document.display());
        compress(&document, &out_dir.join(format!("{name}.deflate")))?;
    }
    Ok(())
}

fn compress(document: &Path, to: &Path) -> io::Result<()> {
    let mut encoder = DeflateEncoder::new(fs::File::create(to)?, Compression::best());
    encoder.write_all(&fs::read(document)?)?;
    encoder.finish().map(drop)
}

/// The source of a list of `(slug, title)`, in the order of the slugs.
fn generate_titles(pages: &Path) -> io::Result<String> {
    let mut files: Vec<PathBuf> = fs::read_dir(pages)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "md"));
    files.sort();
    let mut source = String::from("pub(crate) const TITLES: &[(&str, &str)] = &[\n");
    for file in &files {
        let slug = file.file_stem().and_then(|stem| stem.to_str()).ok_or_else(|| io::Error::other("a page's name is not UTF-8"))?;
        let text = fs::read_to_string(file)?;
        let title = text.lines().next().and_then(|line| line.strip_prefix("# "));
        let title = title.ok_or_else(|| io::Error::other(format!("{} does not begin with a title", file.display())))?;
        writeln!(source, "    ({slug:?}, {title:?}),").expect("writing to a string does not fail");
    }
    source.push_str("];\n");
    Ok(source)
}
