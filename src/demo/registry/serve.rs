//! The protocol: challenge, token, pages, manifests, blobs.

use super::faults::{Fault, On, answer};
use super::{Auth, Seen, State};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

type Right = (StatusCode, HeaderMap, Vec<u8>);
type Context = (Arc<Mutex<State>>, SocketAddr);

pub(super) fn router(shared: Arc<Mutex<State>>, address: SocketAddr) -> Router {
    Router::new().fallback(serve).with_state((shared, address))
}

/// A request, taken apart.
struct Asked<'a> {
    method: &'a Method,
    path: &'a str,
    query: &'a str,
    headers: &'a HeaderMap,
}

impl Asked<'_> {
    fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    }

    fn query(&self, name: &str) -> Option<String> {
        let pairs = url::form_urlencoded::parse(self.query.as_bytes());
        pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

enum What<'a> {
    Root,
    Token,
    Tags(&'a str),
    Manifest(&'a str, &'a str),
    Blob(&'a str, &'a str),
    Nothing,
}

async fn serve(Shared((shared, address)): Shared<Context>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let asked = Asked {
        method: &parts.method,
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        headers: &parts.headers,
    };
    let _at_once = AtOnce::enter(&shared);
    let (right, fault, poured) = {
        let mut state = shared.lock().unwrap_or_else(|e| e.into_inner());
        let what = what(&asked, &state.habits.token_path);
        let kind = kind(&what, asked.method);
        let fault = next_fault(&mut state, kind);
        let right = state.right_answer(&asked, &what, address);
        let status = match &fault {
            Some(Fault::Status(code, _)) => *code,
            Some(Fault::Redirect(_)) => 307,
            Some(Fault::Body(..)) => 200,
            _ => right.0.as_u16(),
        };
        state.log.push(seen(&asked, status));
        (right, fault, state.poured.clone())
    };
    match fault {
        Some(fault) => fault.apply(right, poured).await,
        None => {
            let (status, headers, body) = right;
            answer(status, headers, if parts.method == Method::HEAD { Body::empty() } else { Body::from(body) })
        }
    }
}

/// A request that is being answered.
struct AtOnce(Arc<Mutex<State>>);

impl AtOnce {
    fn enter(shared: &Arc<Mutex<State>>) -> AtOnce {
        let mut state = shared.lock().unwrap_or_else(|e| e.into_inner());
        state.at_once.0 += 1;
        state.at_once.1 = state.at_once.1.max(state.at_once.0);
        AtOnce(shared.clone())
    }
}

impl Drop for AtOnce {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).at_once.0 -= 1;
    }
}

fn seen(asked: &Asked<'_>, status: u16) -> Seen {
    Seen {
        method: asked.method.to_string(),
        path: asked.path.to_owned(),
        query: asked.query.to_owned(),
        authorization: asked.header("authorization"),
        if_none_match: asked.header("if-none-match"),
        user_agent: asked.header("user-agent").unwrap_or_default(),
        host: asked.header("host").unwrap_or_default(),
        status,
        at: std::time::Instant::now(),
    }
}

fn what<'a>(asked: &Asked<'a>, token_path: &str) -> What<'a> {
    if asked.path == token_path {
        return What::Token;
    }
    let Some(rest) = asked.path.strip_prefix("/v2/") else { return What::Nothing };
    if rest.is_empty() {
        return What::Root;
    }
    if let Some(name) = rest.strip_suffix("/tags/list") {
        return What::Tags(name);
    }
    if let Some((name, reference)) = rest.rsplit_once("/manifests/") {
        return What::Manifest(name, reference);
    }
    match rest.rsplit_once("/blobs/") {
        Some((name, digest)) => What::Blob(name, digest),
        None => What::Nothing,
    }
}

fn kind(what: &What<'_>, method: &Method) -> On {
    match what {
        What::Tags(_) => On::Tags,
        What::Manifest(..) if method == Method::HEAD => On::Head,
        What::Manifest(..) => On::Manifest,
        What::Blob(..) => On::Blob,
        What::Token => On::Token,
        What::Root | What::Nothing => On::Any,
    }
}

fn next_fault(state: &mut State, kind: On) -> Option<Fault> {
    let place = state.script.iter().position(|(on, _)| *on == On::Any || *on == kind)?;
    state.script.remove(place).map(|(_, fault)| fault)
}

impl State {
    fn right_answer(&mut self, asked: &Asked<'_>, what: &What<'_>, address: SocketAddr) -> Right {
        if let What::Token = what {
            return self.token(asked);
        }
        let repository = match what {
            What::Tags(name) | What::Manifest(name, _) | What::Blob(name, _) => *name,
            _ => "",
        };
        if !self.may_read(asked, repository) {
            return self.challenge(repository, address);
        }
        match what {
            What::Root => (StatusCode::OK, json_headers(), b"{}".to_vec()),
            What::Tags(name) => self.tags(asked, name),
            What::Manifest(name, reference) => self.manifest(asked, name, reference),
            What::Blob(name, digest) => {
                let blob = self.store.repository(name).and_then(|repository| repository.blobs.get(*digest));
                blob.map_or_else(|| missing("BLOB_UNKNOWN"), |blob| (StatusCode::OK, HeaderMap::new(), blob.clone()))
            }
            What::Token | What::Nothing => missing("UNSUPPORTED"),
        }
    }

    fn may_read(&self, asked: &Asked<'_>, repository: &str) -> bool {
        let sent = asked.header("authorization").unwrap_or_default();
        match &self.habits.auth {
            Auth::Open => true,
            Auth::Basic(user, password) => sent == basic(user, password),
            Auth::Token(_) => {
                let scope = format!("repository:{repository}:pull");
                let token = sent.strip_prefix("Bearer ").unwrap_or_default();
                self.tokens.iter().any(|(known, of)| known == token && (repository.is_empty() || *of == scope))
            }
        }
    }

    fn challenge(&self, repository: &str, address: SocketAddr) -> Right {
        let challenge = match &self.habits.auth {
            Auth::Token(_) => {
                let own = format!("http://{address}{}", self.habits.token_path);
                let realm = self.habits.realm.as_deref().unwrap_or(&own);
                let scope = format!("repository:{repository}:pull");
                format!(r#"Bearer realm="{realm}",service="stage, the registry",scope="{scope}""#)
            }
            _ => r#"Basic realm="stage""#.to_owned(),
        };
        let mut headers = json_headers();
        headers.extend(HeaderValue::from_str(&challenge).ok().map(|c| (axum::http::header::WWW_AUTHENTICATE, c)));
        (StatusCode::UNAUTHORIZED, headers, error("UNAUTHORIZED"))
    }

    fn token(&mut self, asked: &Asked<'_>) -> Right {
        let Auth::Token(account) = &self.habits.auth else { return missing("UNSUPPORTED") };
        let sent = asked.header("authorization");
        let known = match account {
            Some((user, password)) => sent == Some(basic(user, password)),
            None => true,
        };
        if !known || asked.query("service").as_deref() != Some("stage, the registry") {
            return (StatusCode::UNAUTHORIZED, json_headers(), error("UNAUTHORIZED"));
        }
        self.issued += 1;
        let token = format!("token-{}", self.issued);
        self.tokens.push((token.clone(), asked.query("scope").unwrap_or_default()));
        let mut body = json!({"token": token});
        if let Some(seconds) = self.habits.expires_in {
            body["expires_in"] = seconds.into();
        }
        (StatusCode::OK, json_headers(), body.to_string().into_bytes())
    }

    fn tags(&self, asked: &Asked<'_>, name: &str) -> Right {
        let Some(repository) = self.store.repository(name) else { return missing("NAME_UNKNOWN") };
        let asked_for = asked.query("n");
        if self.habits.rejects_n && asked_for.is_some() && asked.query("last").is_none() {
            return (StatusCode::BAD_REQUEST, json_headers(), error("PAGINATION_NUMBER_INVALID"));
        }
        let size = asked_for.and_then(|n| n.parse().ok()).unwrap_or(self.habits.page).min(self.habits.page);
        let last = asked.query("last").unwrap_or_default();
        let all = repository.listed();
        let rest: Vec<&str> = all.into_iter().filter(|tag| *tag > last.as_str()).collect();
        let page = &rest[..rest.len().min(size)];
        let body = json!({"name": name, "tags": page}).to_string().into_bytes();
        let mut headers = json_headers();
        if let Some(last) = page.last().filter(|_| rest.len() > page.len()) {
            let origin = self.habits.link_origin.as_deref().unwrap_or_default();
            let last: String = url::form_urlencoded::byte_serialize(last.as_bytes()).collect();
            let link = format!("<{origin}/v2/{name}/tags/list?n={size}&last={last}>; rel=\"next\"");
            headers.extend(HeaderValue::from_str(&link).ok().map(|link| (axum::http::header::LINK, link)));
        }
        if self.habits.etags {
            let etag = format!("\"{}\"", &super::images::digest_of(&body)[7..23]);
            if asked.header("if-none-match").as_deref() == Some(&etag) {
                return (StatusCode::NOT_MODIFIED, HeaderMap::new(), Vec::new());
            }
            headers.extend(HeaderValue::from_str(&etag).ok().map(|etag| (axum::http::header::ETAG, etag)));
        }
        (StatusCode::OK, headers, body)
    }

    fn manifest(&mut self, asked: &Asked<'_>, name: &str, reference: &str) -> Right {
        if asked.method == Method::HEAD && self.habits.rejects_head {
            return (StatusCode::METHOD_NOT_ALLOWED, HeaderMap::new(), Vec::new());
        }
        let found = self.store.repository(name).and_then(|repository| repository.manifest(reference));
        let Some((digest, kind, body)) = found.map(|(d, kind, body)| (d, kind.to_owned(), body.to_vec())) else {
            return missing("MANIFEST_UNKNOWN");
        };
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: String| {
            headers.extend(HeaderValue::from_str(&value).ok().map(|v| (axum::http::HeaderName::from_static(name), v)));
        };
        put("content-type", kind);
        if self.habits.digest_header {
            put("docker-content-digest", digest);
        }
        if let Some((limit, remaining)) = &mut self.habits.budget {
            if asked.method == Method::GET {
                *remaining = remaining.saturating_sub(1);
            }
            put("ratelimit-limit", format!("{limit};w=21600"));
            put("ratelimit-remaining", format!("{remaining};w=21600"));
        }
        (StatusCode::OK, headers, body)
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn json_headers() -> HeaderMap {
    HeaderMap::from_iter([(axum::http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"))])
}

fn missing(code: &str) -> Right {
    (StatusCode::NOT_FOUND, json_headers(), error(code))
}

fn error(code: &str) -> Vec<u8> {
    json!({"errors": [{"code": code, "message": "no"}]}).to_string().into_bytes()
}
