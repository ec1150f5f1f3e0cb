//! Requests and their answers.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::patch::{Refused, merged, stepped};
use super::store::Exists;
use super::watch::{Asked, Wanted, stream};
use super::{KINDS, Kind, Shared, text};

/// The API server's own limit of a request.
const MOST_BODY_BYTES: usize = 3 << 20;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(serve).with_state(shared)
}

/// Where a request points to.
#[derive(Debug, PartialEq)]
struct Path<'a> {
    api: String,
    namespace: Option<&'a str>,
    plural: &'a str,
    name: Option<&'a str>,
}

impl Path<'_> {
    /// `/api/v1/…`, `/apis/<group>/<version>/…`; what is below an object is none.
    fn parse(path: &str) -> Option<Path<'_>> {
        let mut parts = path.trim_matches('/').split('/').peekable();
        let api = match parts.next()? {
            "api" => parts.next()?.to_owned(),
            "apis" => format!("{}/{}", parts.next()?, parts.next()?),
            _ => return None,
        };
        let namespace = match parts.peek() {
            Some(&"namespaces") => {
                parts.next();
                Some(parts.next()?)
            }
            _ => None,
        };
        let (plural, name) = (parts.next().unwrap_or_default(), parts.next());
        parts.next().is_none().then_some(Path { api, namespace, plural, name })
    }
}

async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, MOST_BODY_BYTES).await else {
        return status(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", "request is too large");
    };
    let Some(path) = Path::parse(parts.uri.path()) else { return unknown() };
    if path.plural == "selfsubjectaccessreviews" && parts.method == Method::POST {
        return review(&shared, &body);
    }
    if path.plural.is_empty() {
        return discovery(&path.api);
    }
    let Some(kind) = KINDS.iter().find(|kind| kind.api == path.api && kind.plural == path.plural) else {
        return unknown();
    };
    let query: Vec<(String, String)> =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let asked = |name: &str| query.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    let watches = asked("watch") == "true" || asked("watch") == "1";
    let verb = match (&parts.method, path.name) {
        (&Method::GET, Some(_)) => "get",
        (&Method::GET, None) if watches => "watch",
        (&Method::GET, None) => "list",
        (&Method::POST, None) => "create",
        (&Method::PATCH, Some(_)) => "patch",
        (&Method::DELETE, Some(_)) => "delete",
        _ => return status(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "this is not supported here"),
    };
    if shared.forbids(verb, kind.plural) {
        let text = format!("{} is forbidden: User \"stage\" cannot {verb} resource", plural_in_group(kind));
        return status(StatusCode::FORBIDDEN, "Forbidden", &text);
    }
    let (namespace, name) = (path.namespace.unwrap_or_default(), path.name.unwrap_or_default());
    match verb {
        "get" => match shared.store().get(kind, namespace, name) {
            Some(object) => shown(object, parts.headers.get(header::ACCEPT)),
            None => missing(kind, name),
        },
        "list" | "watch" => {
            let wanted = Wanted::parse(path.namespace, asked("labelSelector"), asked("fieldSelector"));
            match wanted {
                Err(text) => status(StatusCode::BAD_REQUEST, "BadRequest", &text),
                Ok(wanted) if verb == "list" => list(&shared, kind, &wanted, asked("limit"), asked("continue")),
                Ok(wanted) => watch(shared, kind, wanted, &asked),
            }
        }
        "create" => create(&shared, kind, namespace, &body),
        "delete" => match shared.store().remove(kind, namespace, name) {
            Some(version) => {
                shared.woke(version);
                done(&json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}))
            }
            None => missing(kind, name),
        },
        _ => {
            let form = parts.headers.get(header::CONTENT_TYPE).and_then(|form| form.to_str().ok()).unwrap_or_default();
            match patch(&shared, kind, (namespace, name), form, &body) {
                Ok(object) => shown(&object, parts.headers.get(header::ACCEPT)),
                Err(answer) => answer,
            }
        }
    }
}

fn list(shared: &Shared, kind: &Kind, wanted: &Wanted, limit: &str, from: &str) -> Response {
    let store = shared.store();
    let mut version = store.version();
    let mut after = None;
    if !from.is_empty() {
        // A page of an earlier list: version, namespace and name of the last object told.
        let mut parts = from.splitn(3, '/');
        let first = parts.next().and_then(|v| v.parse::<u64>().ok());
        let (Some(first), Some(ns), Some(name)) = (first, parts.next(), parts.next()) else {
            return status(StatusCode::BAD_REQUEST, "BadRequest", "continue key is not valid");
        };
        if store.since(first).is_none() {
            let text = "The provided continue parameter is too old to display a consistent list result.";
            return status(StatusCode::GONE, "Expired", text);
        }
        version = first;
        after = Some((ns.to_owned(), name.to_owned()));
    }
    let key = |object: &Value| {
        let meta = &object["metadata"];
        (text(&meta["namespace"]).to_owned(), text(&meta["name"]).to_owned())
    };
    let mut items: Vec<&Value> = store.all(kind, None).filter(|object| wanted.takes(object)).collect();
    items.retain(|object| after.as_ref().is_none_or(|last| key(object) > *last));
    let limit = limit.parse::<usize>().ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let mut next = String::new();
    if items.len() > limit {
        let (namespace, name) = key(items[limit - 1]);
        next = format!("{version}/{namespace}/{name}");
        items.truncate(limit);
    }
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if !next.is_empty() {
        metadata["continue"] = next.into();
    }
    let list = format!("{}List", kind.name);
    done(&json!({"apiVersion": kind.api, "kind": list, "metadata": metadata, "items": items}))
}

fn watch<'a>(shared: Arc<Shared>, kind: &'static Kind, wanted: Wanted, asked: &impl Fn(&str) -> &'a str) -> Response {
    let since = match asked("resourceVersion") {
        // From now on, after everything that is there: the versions of one server only grow.
        "" | "0" => shared.store().version(),
        text => match text.parse() {
            Ok(version) => version,
            Err(_) => return status(StatusCode::BAD_REQUEST, "BadRequest", "resourceVersion is no number"),
        },
    };
    let limit = asked("timeoutSeconds").parse().ok().map(Duration::from_secs);
    let bookmarks = asked("allowWatchBookmarks") == "true";
    stream(shared, kind, Asked { wanted, since, bookmarks, limit })
}

fn create(shared: &Shared, kind: &'static Kind, namespace: &str, body: &Bytes) -> Response {
    let Ok(mut object) = serde_json::from_slice::<Value>(body) else {
        return status(StatusCode::BAD_REQUEST, "BadRequest", "the body is no JSON");
    };
    if text(&object["metadata"]["name"]).is_empty() {
        let prefix = text(&object["metadata"]["generateName"]).to_owned();
        if prefix.is_empty() {
            let text = "metadata.name: Required value: name or generateName is required";
            return status(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", text);
        }
        object["metadata"]["name"] = format!("{prefix}{:05x}", fastrand::u32(..) & 0xfffff).into();
    }
    let own = text(&object["metadata"]["namespace"]);
    if !own.is_empty() && own != namespace {
        let text = "the namespace of the provided object does not match the namespace sent on the request";
        return status(StatusCode::BAD_REQUEST, "BadRequest", text);
    }
    object["metadata"]["namespace"] = namespace.into();
    let name = text(&object["metadata"]["name"]).to_owned();
    let mut store = shared.store();
    match store.create(kind, object) {
        Ok(made) => {
            shared.woke(store.version());
            (StatusCode::CREATED, [(header::CONTENT_TYPE, "application/json")], made.to_string()).into_response()
        }
        Err(Exists) => {
            let text = format!("{} \"{name}\" already exists", plural_in_group(kind));
            status(StatusCode::CONFLICT, "AlreadyExists", &text)
        }
    }
}

fn patch(
    shared: &Shared,
    kind: &'static Kind,
    (namespace, name): (&str, &str),
    form: &str,
    body: &Bytes,
) -> Result<Value, Response> {
    let malformed = |text: &str| status(StatusCode::BAD_REQUEST, "BadRequest", text);
    let wish: Value = serde_json::from_slice(body).map_err(|_| malformed("the body is no JSON"))?;
    let mut store = shared.store();
    let current = store.get(kind, namespace, name).ok_or_else(|| missing(kind, name))?;
    let changed = match form.split(';').next().unwrap_or_default().trim() {
        "application/merge-patch+json" => merged(current, &wish),
        "application/json-patch+json" => stepped(current, &wish),
        other => {
            let text = format!("{other} is no kind of patch this server knows");
            return Err(status(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", &text));
        }
    };
    let object = changed.map_err(|refused| match refused {
        Refused::Conflict(why) => {
            let text = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", plural_in_group(kind));
            status(StatusCode::CONFLICT, "Conflict", &text)
        }
        Refused::Invalid(why) => status(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", &why),
        Refused::Malformed(why) => malformed(&why),
    })?;
    let version = store.replace(kind, namespace, name, object);
    shared.woke(version);
    store.get(kind, namespace, name).cloned().ok_or_else(|| missing(kind, name))
}

fn review(shared: &Shared, body: &Bytes) -> Response {
    let Ok(mut review) = serde_json::from_slice::<Value>(body) else {
        return status(StatusCode::BAD_REQUEST, "BadRequest", "the body is no JSON");
    };
    let asked = &review["spec"]["resourceAttributes"];
    let allowed = !shared.forbids(text(&asked["verb"]), text(&asked["resource"]));
    review["status"] = json!({"allowed": allowed});
    (StatusCode::CREATED, [(header::CONTENT_TYPE, "application/json")], review.to_string()).into_response()
}

fn discovery(api: &str) -> Response {
    let kinds: Vec<Value> = KINDS
        .iter()
        .filter(|kind| kind.api == api)
        .map(|kind| {
            let verbs = ["create", "delete", "get", "list", "patch", "watch"];
            json!({"name": kind.plural, "singularName": "", "namespaced": true, "kind": kind.name, "verbs": verbs})
        })
        .collect();
    if kinds.is_empty() {
        return unknown();
    }
    done(&json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api, "resources": kinds}))
}

/// The object, or only its metadata where that is what the caller accepts.
fn shown(object: &Value, accept: Option<&axum::http::HeaderValue>) -> Response {
    let accept = accept.and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accept.contains("as=PartialObjectMetadata") {
        let metadata = &object["metadata"];
        return done(&json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}));
    }
    done(object)
}

fn done(object: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], Body::from(object.to_string())).into_response()
}

fn plural_in_group(kind: &Kind) -> String {
    match kind.api.split_once('/') {
        Some((group, _)) => format!("{}.{group}", kind.plural),
        None => kind.plural.to_owned(),
    }
}

fn missing(kind: &Kind, name: &str) -> Response {
    status(StatusCode::NOT_FOUND, "NotFound", &format!("{} \"{name}\" not found", plural_in_group(kind)))
}

fn unknown() -> Response {
    (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "text/plain")], "404 page not found\n").into_response()
}

fn status(code: StatusCode, reason: &str, message: &str) -> Response {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code.as_u16(),
    });
    (code, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// What a watch is told whose version is forgotten.
pub(super) fn expired(version: u64) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Expired", "code": 410,
        "message": format!("too old resource version: {version}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart() {
        let path = |api: &str, namespace, plural, name| Some(Path { api: api.into(), namespace, plural, name });
        for (text, expected) in [
            ("/api/v1/namespaces/n/secrets/s", path("v1", Some("n"), "secrets", Some("s"))),
            ("/api/v1/secrets", path("v1", None, "secrets", None)),
            ("/apis/argoproj.io/v1alpha1/applications", path("argoproj.io/v1alpha1", None, "applications", None)),
            ("/apis/argoproj.io/v1alpha1", path("argoproj.io/v1alpha1", None, "", None)),
            ("/api/v1/namespaces/n/secrets/s/status", None),
            ("/healthz", None),
        ] {
            assert_eq!(Path::parse(text), expected, "{text}");
        }
    }
}
