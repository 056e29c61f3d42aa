//! The page: what Ensue shows in a browser.
//!
//! `app` has its source, `npm run build` turns that into `dist`, and this crate embeds the files of `dist`.
//! Building the crate needs no Node.js. `docs/contributing/work-on-the-page.md` says how to change the page.

mod files;

pub use files::FILES;

/// The name of the file that every address of the page leads to. Its links start with [`LINK`].
pub const SHELL: &str = "index.html";

/// How the shell refers to another file. Whoever serves the files replaces it with their folder.
pub const LINK: &str = "\"./";

/// A built file.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// Its name. All files are in one folder.
    pub name: &'static str,
    /// Its content.
    pub bytes: &'static [u8],
}

impl File {
    /// Returns its media type.
    pub fn media_type(&self) -> &'static str {
        match self.name.rsplit_once('.').map_or("", |(_, ending)| ending) {
            "html" => "text/html; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            _ => "application/octet-stream",
        }
    }
}
