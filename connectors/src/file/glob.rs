//! Paths with `*`, `?` and `**`. As in shells, none of them stands for the dot at the beginning of a name: programs write such
//! names while a file is not complete.

/// A path in parts: a folder without patterns, and the pattern of what is below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob {
    /// The folder: an absolute path.
    pub(super) base: String,
    /// The pattern below it, part by part.
    parts: Vec<String>,
}

/// Any number of folders, also none.
const ANY_FOLDERS: &str = "**";

impl Glob {
    /// Splits a path. Returns `None` if it is not an absolute path of something in a folder, or has `.` or `..` in it.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        if parts.iter().any(|part| part.is_empty() || *part == "." || *part == ".." || part.contains('\0')) {
            return None;
        }
        let fixed = parts.iter().take_while(|part| !part.contains(['*', '?'])).count().min(parts.len() - 1);
        let (base, below) = parts.split_at(fixed);
        Some(Self { base: format!("/{}", base.join("/")), parts: below.iter().map(|part| (*part).to_owned()).collect() })
    }

    /// Returns true if a path below the folder matches.
    pub(super) fn matches(&self, below: &str) -> bool {
        let parts: Vec<&str> = below.split('/').collect();
        all_match(&self.parts, &parts)
    }

    /// Returns the greatest number of parts that a matching path below the folder has, or `None` if there is no limit.
    pub(super) fn depth(&self) -> Option<usize> {
        (!self.parts.iter().any(|part| part == ANY_FOLDERS)).then_some(self.parts.len())
    }
}

fn all_match(pattern: &[String], parts: &[&str]) -> bool {
    match (pattern.split_first(), parts.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == ANY_FOLDERS => {
            let shown = parts.iter().take_while(|part| !part.starts_with('.')).count();
            (0..=shown).any(|from| all_match(rest, &parts[from..]))
        }
        (Some((first, _)), Some((part, _))) if part.starts_with('.') && !first.starts_with('.') => false,
        (Some((first, rest)), Some((part, others))) => {
            let (first, part): (Vec<char>, Vec<char>) = (first.chars().collect(), part.chars().collect());
            one_matches(&first, &part) && all_match(rest, others)
        }
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Compares a name with a pattern, going back to the last `*` where they differ.
fn one_matches(pattern: &[char], name: &[char]) -> bool {
    let (mut at, mut named, mut star) = (0, 0, None);
    while named < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, named));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || *wanted == name[named] => {
                at += 1;
                named += 1;
            }
            Some(_) | None => {
                let Some((star_at, from)) = star else { return false };
                star = Some((star_at, from + 1));
                at = star_at + 1;
                named = from + 1;
            }
        }
    }
    pattern[at..].iter().all(|wanted| *wanted == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(path: &str, below: &str) -> bool {
        Glob::parse(path).unwrap().matches(below)
    }

    #[test]
    fn folder_ends_before_the_first_pattern() {
        assert_eq!(Glob::parse("/srv/in/*.csv").unwrap().base, "/srv/in");
        assert_eq!(Glob::parse("/srv/*/x/y").unwrap().base, "/srv");
        assert_eq!(Glob::parse("/var/log/app.log").unwrap().base, "/var/log");
        assert_eq!(Glob::parse("/app.log").unwrap().base, "/");
    }

    #[test]
    fn path_that_is_not_absolute_or_climbs_is_rejected() {
        for path in ["", "/", "a", "a/b", "/a/../b", "/a/./b", "/a//b", "/a/", "/a\0b"] {
            assert_eq!(Glob::parse(path), None, "{path:?}");
        }
    }

    #[test]
    fn star_stays_within_a_name_and_two_stars_do_not() {
        assert!(matches("/in/*.csv", "a.csv") && !matches("/in/*.csv", "a/b.csv") && !matches("/in/*.csv", "a.csv.tmp"));
        assert!(matches("/in/*/x", "a/x") && !matches("/in/*/x", "x"));
        assert!(matches("/in/**/x", "x") && matches("/in/**/x", "a/b/x") && !matches("/in/**/x", "a/y"));
        assert!(matches("/in/?.txt", "a.txt") && !matches("/in/?.txt", "ab.txt"));
        assert!(matches("/in/a*b*c", "a12b3bc") && !matches("/in/a*b*c", "a12b3b"));
        assert!(matches("/in/x", "x") && !matches("/in/x", "y"));
    }

    #[test]
    fn dot_at_the_beginning_of_a_name_must_be_written() {
        for path in ["/in/*.json", "/in/?a.json", "/in/**/a.json", "/in/**/*.json", "/in/*/a.json", "/in/**"] {
            for below in [".a.json", ".tmp/a.json", "b/.a.json", ".b/c/a.json", "b/.c/a.json"] {
                assert!(!matches(path, below), "{path} {below}");
            }
        }
        assert!(matches("/in/.*.json", ".a.json") && matches("/in/*/.x", "b/.x") && matches("/in/**/.a", "b/.a"));
        assert!(matches("/in/*.json", "a.b.json") && matches("/in/**/x.d/*", "a/x.d/b"));
    }

    #[test]
    fn depth_is_limited_only_without_two_stars() {
        assert_eq!(Glob::parse("/in/*/x").unwrap().depth(), Some(2));
        assert_eq!(Glob::parse("/in/**").unwrap().depth(), None);
    }
}
