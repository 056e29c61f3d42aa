//! `page/dist` was built from the sources that are beside it. No Node.js is needed to see this.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// The files that decide what the build makes. `app` is a folder.
const SOURCES: [&str; 5] = ["app", "index.html", "package.json", "package-lock.json", "vite.config.ts"];
/// Types leave nothing in what is built, so a change of the API makes no build stale.
const TYPES: &str = "app/api/types.ts";
/// What the first load may have, compressed or not: the shell, the program and the styles.
const FIRST_LOAD_BYTES_MAX: usize = 300_000;

/// What a browser loads to try a change of a rule, which is the most that one screen loads.
const EDITING: [&str; 11] = [
    "index.html",
    "app.js",
    "app.css",
    "rolldown-runtime.js",
    "svelte.js",
    "parts.js",
    "stream.js",
    "rule.js",
    "why.js",
    "source.js",
    "editor.js",
];
/// How much that may be, compressed by gzip.
const EDITING_BYTES_MAX: usize = 250_000;
/// How much all files together may be, compressed by gzip. No browser loads all of them at once.
const ALL_BYTES_MAX: usize = 335_000;

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn hash_all(path: &Path, hashes: &mut BTreeMap<String, String>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            hash_all(&entry.unwrap().path(), hashes);
        }
        return;
    }
    let name = path.strip_prefix(here()).unwrap().to_str().unwrap().to_owned();
    if name != TYPES && !name.ends_with(".test.ts") {
        hashes.insert(name, hex::encode(Sha256::digest(fs::read(path).unwrap())));
    }
}

fn manifest() -> BTreeMap<String, BTreeMap<String, String>> {
    serde_json::from_str(&fs::read_to_string(here().join("dist/manifest.json")).unwrap()).unwrap()
}

#[test]
fn built_page_is_as_new_as_its_sources() {
    let mut sources = BTreeMap::new();
    for source in SOURCES {
        hash_all(&here().join(source), &mut sources);
    }
    let built_from = &manifest()["sources"];
    let differ = |name: &&String| sources.get(*name) != built_from.get(*name);
    let changed: Vec<&String> = sources.keys().chain(built_from.keys()).filter(differ).collect();
    assert!(changed.is_empty(), "run `npm run build` in page/, because these files changed after the last build: {changed:?}");
}

#[test]
fn embedded_files_are_the_built_ones() {
    let mut built = BTreeMap::new();
    for entry in fs::read_dir(here().join("dist")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name != "manifest.json" {
            built.insert(name, hex::encode(Sha256::digest(fs::read(path).unwrap())));
        }
    }
    let embedded: BTreeMap<String, String> =
        ensue_page::FILES.iter().map(|file| (file.name.to_owned(), hex::encode(Sha256::digest(file.bytes)))).collect();
    assert_eq!(embedded, built, "`npm run build` in page/ writes page/src/files.rs");
    assert_eq!(&built, &manifest()["built"]);
}

#[test]
fn first_load_is_small() {
    let first = ["index.html", "app.js", "app.css", "svelte.js", "parts.js"];
    let bytes: usize = ensue_page::FILES.iter().filter(|file| first.contains(&file.name)).map(|file| file.bytes.len()).sum();
    assert!(bytes > 0 && bytes <= FIRST_LOAD_BYTES_MAX, "the first load has {bytes} bytes");
}

fn compressed_bytes(file: &ensue_page::File) -> usize {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(file.bytes).unwrap();
    encoder.finish().unwrap().len()
}

#[test]
fn screen_with_the_editor_is_small() {
    for name in EDITING {
        assert!(ensue_page::FILES.iter().any(|file| file.name == name), "there is no {name}");
    }
    let bytes: usize = ensue_page::FILES.iter().filter(|file| EDITING.contains(&file.name)).map(compressed_bytes).sum();
    assert!(bytes <= EDITING_BYTES_MAX, "the screen with the editor has {bytes} bytes");
}

#[test]
fn whole_page_is_small() {
    let bytes: usize = ensue_page::FILES.iter().map(compressed_bytes).sum();
    assert!(bytes <= ALL_BYTES_MAX, "all files of the page have {bytes} bytes");
}

#[test]
fn every_embedded_file_has_a_media_type_that_browsers_run_or_show() {
    for file in ensue_page::FILES {
        assert_ne!(file.media_type(), "application/octet-stream", "{}", file.name);
    }
    let shell = ensue_page::FILES.iter().find(|file| file.name == ensue_page::SHELL).unwrap();
    assert!(std::str::from_utf8(shell.bytes).unwrap().contains(ensue_page::LINK));
}
