//! Paths of the node to which a login leads: nobody can send a person to another site with one.

use crate::route::BASE;

/// The longest path, in characters.
const CHARS_MAX: usize = 1_024;

/// Returns a path if it stays on this node whatever browser reads it; `/` otherwise. Paths of the API are not for people.
pub(crate) fn local_path(given: &str) -> &str {
    let path = given.split(['?', '#']).next().unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~');
    let is_local = path.starts_with('/')
        && path.bytes().all(is_plain)
        && !path.contains("//")
        && path.split('/').all(|part| part != "." && part != "..")
        && !path.starts_with(BASE);
    let rest = &given[path.len()..];
    let is_fine =
        given.len() <= CHARS_MAX && rest.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'<' | b'>' | b'"'));
    if is_local && is_fine { given } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_of_the_node_is_kept() {
        for path in ["/", "/ui/", "/auth/device", "/ui/executions?status=failed&x=%2F", "/ui/inbox#42", "/a-b_c.d~e"] {
            assert_eq!(local_path(path), path);
        }
    }

    #[test]
    fn path_that_a_browser_could_read_as_another_site_is_replaced() {
        let tricks = [
            "",
            "x",
            "//evil.test",
            "///evil.test",
            "/\\evil.test",
            "\\\\evil.test",
            "/%2fevil.test",
            "/%5cevil.test",
            "/%2F%2Fevil.test",
            "https://evil.test",
            "HTTPS:evil.test",
            "javascript:alert(1)",
            "/\t/evil.test",
            "/ /evil.test",
            "/\n/evil.test",
            "/.//evil.test",
            "/..//evil.test",
            "/../evil",
            "/./evil",
            "/a//evil.test",
            "/@evil.test",
            "/:evil",
            "/é",
            "/?\\evil",
            "/x?a b",
            "/x\r\nset-cookie: a=b",
            "/api/v1/auth/oidc/start?issuer=corp",
        ];
        for trick in tricks {
            assert_eq!(local_path(trick), "/", "{trick:?}");
        }
        assert_eq!(local_path(&format!("/{}", "x".repeat(2000))), "/");
    }
}
