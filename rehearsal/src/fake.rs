//! Answers requests as the fake vendor of a pack does, and notes what was wrong with them.
//!
//! Nothing is received or sent here: the caller has the server.

use std::collections::BTreeMap;
use std::sync::Arc;

use ensue_engine::names::KeyRef;
use ensue_expression::{Budget, Document, EvaluationError, Scope, Value as Computed};
use ensue_packs::fake::{Encoding, Fake, FakeAnswer, FakeRoute, Segment};
use serde_json::{Map, Value};

/// The most misfits that a note lists.
const MISFITS_SHOWN_MAX: usize = 5;

/// A request, as a server received it.
#[derive(Clone, Debug)]
pub struct FakeRequest {
    /// The method.
    pub method: String,
    /// The path, decoded, with its leading slash.
    pub path: String,
    /// The fields of the query, decoded.
    pub query: BTreeMap<String, String>,
    /// The headers by their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
    /// The fields of the body, decoded, if it is a form.
    pub form: BTreeMap<String, String>,
}

/// An answer, as a server sends it.
#[derive(Clone, Debug, PartialEq)]
pub struct VendorResponse {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Option<Value>,
}

/// A fake vendor during a case.
#[derive(Debug)]
pub struct Vendor {
    fake: Arc<Fake>,
    keys: Document,
    calls: Vec<i64>,
    strays: Vec<String>,
    refusals: Vec<String>,
}

/// The parts of a request that expressions read.
struct RequestParts {
    headers: Document,
    query: Document,
    path: Document,
    body: Document,
}

impl Vendor {
    /// Creates a vendor to which no request was sent yet.
    pub fn new(fake: Arc<Fake>) -> Self {
        let named = |(key, value): (&KeyRef, &String)| (key.as_str().to_owned(), Value::from(value.as_str()));
        let keys = Document::from_value(&Value::Object(fake.keys.iter().map(named).collect()));
        Self { calls: vec![0; fake.routes.len()], keys, fake, strays: Vec::new(), refusals: Vec::new() }
    }

    /// Returns the requests that the vendor does not know, and what it could not compute. Each of them fails the case.
    pub fn strays(&self) -> &[String] {
        &self.strays
    }

    /// Returns why requests were refused because of their form, which may be what the case is about.
    pub fn refusals(&self) -> &[String] {
        &self.refusals
    }

    /// Answers a request.
    pub fn answer(&mut self, request: &FakeRequest) -> VendorResponse {
        let fake = Arc::clone(&self.fake);
        let found = fake.routes.iter().enumerate().find_map(|(index, route)| Some((index, route, captures(route, request)?)));
        let Some((index, route, path)) = found else {
            self.strays.push(format!("the fake vendor has no route for {} {}", request.method, request.path));
            return VendorResponse { status: 404, headers: BTreeMap::new(), body: None };
        };
        let calls = self.calls[index];
        self.calls[index] += 1;
        let body = match body_of(route, request) {
            Ok(body) => body,
            Err(why) => {
                self.refusals.push(format!("{} {}: {why}", request.method, request.path));
                Value::Null
            }
        };
        let parts = RequestParts {
            headers: texts(&request.headers),
            query: texts(&request.query),
            path: texts(&path),
            body: Document::from_value(&body),
        };
        let keys = self.keys.clone();
        let scope = Scope::new()
            .with("headers", parts.headers.root())
            .with("query", parts.query.root())
            .with("path", parts.path.root())
            .with("body", parts.body.root())
            .with("keys", keys.root())
            .with("calls", Computed::from(calls));
        match self.answer_route(&fake, route, request, &parts, &scope) {
            Ok(answered) => answered,
            Err(error) => {
                let place = format!("{}:{}", fake.file, route.line);
                self.strays
                    .push(format!("the answer to {} {} ({place}) cannot be computed: {}", request.method, request.path, error.message));
                VendorResponse { status: 500, headers: BTreeMap::new(), body: None }
            }
        }
    }

    fn answer_route(
        &mut self,
        fake: &Fake,
        route: &FakeRoute,
        request: &FakeRequest,
        parts: &RequestParts,
        scope: &Scope<'_>,
    ) -> Result<VendorResponse, EvaluationError> {
        if let Some(authorized) = &route.authorized
            && !authorized.holds(scope, &mut Budget::default())?
        {
            return render_answer(&fake.unauthorized, scope);
        }
        let misfits = misfits(route, request, parts);
        if !misfits.is_empty() {
            self.refusals.push(format!("{} {}: {}", request.method, request.path, misfits.join("; ")));
            return render_answer(&fake.invalid, scope);
        }
        for answer in &route.answers {
            let is_meant = match &answer.when {
                Some(when) => when.holds(scope, &mut Budget::default())?,
                None => true,
            };
            if is_meant {
                return render_answer(answer, scope);
            }
        }
        self.strays.push(format!("no answer of {}:{} is meant for {} {}", fake.file, route.line, request.method, request.path));
        Ok(VendorResponse { status: 500, headers: BTreeMap::new(), body: None })
    }
}

fn render_answer(answer: &FakeAnswer, scope: &Scope<'_>) -> Result<VendorResponse, EvaluationError> {
    let body = answer.body.as_ref().map(|body| body.render(scope, &mut Budget::default())).transpose()?;
    Ok(VendorResponse { status: answer.status, headers: answer.headers.clone(), body })
}

/// Returns the named segments of the path if the request is that of the route.
fn captures(route: &FakeRoute, request: &FakeRequest) -> Option<BTreeMap<String, String>> {
    let segments: Vec<&str> = request.path.strip_prefix('/')?.split('/').collect();
    if route.method != request.method || segments.len() != route.path.len() {
        return None;
    }
    let mut captures = BTreeMap::new();
    for (segment, given) in route.path.iter().zip(segments) {
        match segment {
            Segment::Text(text) if text == given => {}
            Segment::Text(_) => return None,
            Segment::Any(_) if given.is_empty() => return None,
            Segment::Any(name) => drop(captures.insert(name.clone(), given.to_owned())),
        }
    }
    Some(captures)
}

/// Returns the body as JSON, null if there is none; or why it cannot be read.
fn body_of(route: &FakeRoute, request: &FakeRequest) -> Result<Value, String> {
    if request.body.is_empty() {
        return Ok(Value::Null);
    }
    let kind = request.headers.get("content-type").map(String::as_str).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    match (route.encoding, kind) {
        (Encoding::Json, "application/json") => {
            serde_json::from_slice(&request.body).map_err(|error| format!("the body is not JSON: {error}"))
        }
        (Encoding::Form, "application/x-www-form-urlencoded") => Ok(object(&request.form)),
        (Encoding::Json, kind) => Err(format!("the content type is `{kind}`, not `application/json`")),
        (Encoding::Form, kind) => Err(format!("the content type is `{kind}`, not `application/x-www-form-urlencoded`")),
    }
}

/// Returns how a request does not fit its route.
fn misfits(route: &FakeRoute, request: &FakeRequest, parts: &RequestParts) -> Vec<String> {
    let mut found = Vec::new();
    for (name, pattern) in &route.headers {
        match request.headers.get(name) {
            None => found.push(format!("the header `{name}` is missing")),
            Some(value) if !pattern.is_match(value) => found.push(format!("the header `{name}` does not match `{pattern}`")),
            Some(_) => {}
        }
    }
    let checked = [("query", &route.query, &parts.query), ("body", &route.body, &parts.body)];
    for (what, schema, value) in checked {
        let Some(schema) = schema else { continue };
        let misfits = schema.misfits(value.root());
        found.extend(misfits.into_iter().take(MISFITS_SHOWN_MAX).map(|misfit| format!("the {what} does not fit: {misfit}")));
    }
    if route.body.is_none() && !request.body.is_empty() {
        found.push("it has a body, and the route takes none".to_owned());
    }
    found
}

fn texts(given: &BTreeMap<String, String>) -> Document {
    Document::from_value(&object(given))
}

fn object(given: &BTreeMap<String, String>) -> Value {
    Value::Object(given.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect::<Map<_, _>>())
}
