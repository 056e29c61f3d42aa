//! A person's browser: it keeps cookies as browsers do, follows redirects, and sends forms.

use reqwest::{Method, Response, StatusCode, Url, header};

/// A cookie as a browser keeps it.
struct StoredCookie {
    origin: String,
    name: String,
    value: String,
    is_strict: bool,
}

/// A browser. Sites differ by their origin here, so that the node and an issuer on one machine are different sites.
pub(crate) struct Browser {
    http: reqwest::Client,
    cookies: Vec<StoredCookie>,
}

/// What a browser shows.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) url: Url,
    pub(crate) status: StatusCode,
    pub(crate) headers: header::HeaderMap,
    pub(crate) text: String,
}

impl Browser {
    pub(crate) fn new() -> Self {
        let http = super::http().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { http, cookies: Vec::new() }
    }

    /// Returns the value of a cookie that it sends to a site.
    pub(crate) fn cookie(&self, url: &str, name: &str) -> Option<String> {
        let origin = url.parse::<Url>().unwrap().origin().ascii_serialization();
        self.cookies.iter().find(|cookie| cookie.origin == origin && cookie.name == name).map(|cookie| cookie.value.clone())
    }

    /// Sets a cookie, as somebody who can write cookies of the site would.
    pub(crate) fn plant(&mut self, url: &str, name: &str, value: &str) {
        let origin = url.parse::<Url>().unwrap().origin().ascii_serialization();
        self.cookies.retain(|cookie| cookie.origin != origin || cookie.name != name);
        self.cookies.push(StoredCookie { origin, name: name.to_owned(), value: value.to_owned(), is_strict: false });
    }

    /// Forgets the cookies of all other sites.
    pub(crate) fn keep_only(&mut self, url: &Url) {
        let origin = url.origin().ascii_serialization();
        self.cookies.retain(|cookie| cookie.origin == origin);
    }

    /// Sends one request, and keeps the cookies of its answer. `from` is the site whose page causes it.
    pub(crate) async fn send(&mut self, method: Method, url: &Url, form: &str, from: Option<&Url>) -> Response {
        let (origin, is_post) = (url.origin().ascii_serialization(), method == Method::POST);
        let is_foreign = from.is_some_and(|from| from.origin() != url.origin());
        let sent = self.cookies.iter().filter(|cookie| cookie.origin == origin && !(is_foreign && (cookie.is_strict || is_post)));
        let sent: Vec<String> = sent.map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        let site = if is_foreign { "cross-site" } else { from.map_or("none", |_| "same-origin") };
        let mut request = self.http.request(method, url.clone()).header("accept", "text/html,*/*;q=0.8").header("sec-fetch-site", site);
        if !sent.is_empty() {
            request = request.header("cookie", sent.join("; "));
        }
        if is_post {
            let origin = from.map_or_else(|| "null".to_owned(), |from| from.origin().ascii_serialization());
            let sent = request.header("content-type", "application/x-www-form-urlencoded").header("origin", origin);
            request = sent.body(form.to_owned());
        }
        let response = request.send().await.unwrap();
        for cookie in response.headers().get_all(header::SET_COOKIE) {
            let mut parts = cookie.to_str().unwrap().split(';').map(str::trim);
            let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).unwrap();
            let attributes: Vec<String> = parts.map(str::to_ascii_lowercase).collect();
            self.cookies.retain(|kept| kept.origin != origin || kept.name != name);
            if !attributes.iter().any(|attribute| attribute == "max-age=0" || attribute.contains("1970")) {
                let is_strict = attributes.iter().any(|attribute| attribute == "samesite=strict");
                self.cookies.push(StoredCookie { origin: origin.clone(), name: name.to_owned(), value: value.to_owned(), is_strict });
            }
        }
        response
    }

    /// Opens an address that the person typed.
    pub(crate) async fn open(&mut self, url: &str) -> Page {
        self.follow(Method::GET, url.parse().unwrap(), "", None, |_| true).await
    }

    /// Sends the form of a page. `fields` are added to its hidden fields.
    pub(crate) async fn submit(&mut self, page: &Page, fields: &str) -> Page {
        self.follow(Method::POST, page.action(), &page.form(fields), Some(page.url.clone()), |_| true).await
    }

    /// Follows redirects while `goes_on` holds for the next address. Then the page is empty, at that address.
    pub(crate) async fn follow(&mut self, method: Method, url: Url, form: &str, from: Option<Url>, goes_on: impl Fn(&Url) -> bool) -> Page {
        let (mut method, mut url, mut from) = (method, url, from);
        for _ in 0..12 {
            let response = self.send(method, &url, form, from.as_ref()).await;
            let (status, headers) = (response.status(), response.headers().clone());
            let Some(location) = headers.get(header::LOCATION).filter(|_| status.is_redirection()) else {
                return Page { url, status, headers, text: response.text().await.unwrap() };
            };
            let next = url.join(location.to_str().unwrap()).unwrap();
            // A chain of redirects stays foreign once it was.
            from = from.filter(|from| from.origin() != next.origin()).or(Some(url));
            (method, url) = (Method::GET, next);
            if !goes_on(&url) {
                return Page { url, status, headers, text: String::new() };
            }
        }
        panic!("the redirects do not end: {url}");
    }

    /// Logs `person` in at the page of a provider, and follows redirects while `goes_on` holds.
    pub(crate) async fn log_in_at(&mut self, page: Page, person: &str, goes_on: impl Fn(&Url) -> bool) -> Page {
        assert!(page.text.contains("name=\"login\""), "{page:?}");
        let fields = format!("prompt=login&login={person}&password=x");
        let page = self.follow(Method::POST, page.url.clone(), &fields, Some(page.url), &goes_on).await;
        assert!(page.text.contains("consent"), "{page:?}");
        self.follow(Method::POST, page.url.clone(), "prompt=consent", Some(page.url), goes_on).await
    }
}

impl Page {
    fn attribute(&self, after: &str, name: &str) -> Option<String> {
        let rest = self.text.split_once(after)?.1;
        let value = rest.split_once(&format!("{name}=\""))?.1;
        Some(value.split('"').next().unwrap().replace("&amp;", "&"))
    }

    /// Returns where the form of the page goes.
    fn action(&self) -> Url {
        let action = self.attribute("<form", "action").unwrap_or_else(|| panic!("there is no form: {self:?}"));
        self.url.join(&action).unwrap()
    }

    /// Returns the hidden fields of the page, and others.
    fn form(&self, fields: &str) -> String {
        let hidden = self.text.split("<input type=\"hidden\" name=\"").skip(1).map(|rest| {
            let name = rest.split('"').next().unwrap();
            let value = rest.split_once("value=\"").unwrap().1.split('"').next().unwrap();
            format!("{name}={value}&")
        });
        format!("{}{fields}", hidden.collect::<String>())
    }
}
