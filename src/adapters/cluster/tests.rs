use std::time::Duration;

use kube::core::Status;

use super::object::{Object, resource};
use super::*;
use crate::core::retry::Retry;

#[test]
fn src_2_watch_namespaces_forms() {
    let list = |names: &[&str]| Ok(Namespaces::List(names.iter().map(|n| (*n).to_owned()).collect()));
    for (text, expected) in [
        ("", Ok(Namespaces::Own("argocd".into()))),
        ("*", Ok(Namespaces::All)),
        (" * ", Ok(Namespaces::All)),
        ("a", list(&["a"])),
        (" a , b,a,", list(&["a", "b"])),
        (",", Err(())),
        (" , ", Err(())),
        ("  ", Err(())),
    ] {
        assert_eq!(Namespaces::parse(text, "argocd").map_err(drop), expected, "{text:?}");
    }
}

#[test]
fn ct_13_an_objects_text_is_kept_whatever_is_in_it() {
    let page = r#"{"items":[
        {"metadata":{"name":"a","namespace":"n","uid":"1","resourceVersion":"7"},"spec":5},
        {"metadata":{"name":7}}, {"metadata":"odd"}, 12, "text", null]}"#;
    #[derive(serde::Deserialize)]
    struct Page {
        items: Vec<Object>,
    }
    let page: Page = serde_json::from_str(page).expect("no item is refused");
    let names: Vec<_> = page.items.iter().map(|o| o.name().to_owned()).collect();
    assert_eq!(names, ["a", "", "", "", "", ""]);
    assert_eq!(format!("{:?}", page.items[0]), "n/a");
    assert!(page.items[0].text().ends_with(r#""spec":5}"#));
}

#[test]
fn rbac_1_an_error_names_verb_resource_and_namespace() {
    let applications = resource("argoproj.io", "Application", "applications");
    let status = |code: u16| Status { code, message: "no".into(), ..Status::default() };
    let error = |code| Error::status(Call::one("list", &applications, Some("team"), ""), &status(code));
    for (code, kind, retry) in [
        (401, "kubernetes-forbidden", Retry::Never),
        (403, "kubernetes-forbidden", Retry::Never),
        (404, "kubernetes-unavailable", Retry::Never),
        (409, "kubernetes-conflict", Retry::Never),
        (410, "kubernetes-unavailable", Retry::Backoff),
        (422, "internal", Retry::Never),
        (429, "kubernetes-unavailable", Retry::Backoff),
        (500, "kubernetes-unavailable", Retry::Backoff),
        (503, "kubernetes-unavailable", Retry::Backoff),
    ] {
        assert_eq!((error(code).code(), error(code).retry()), (kind, retry), "{code}");
    }
    let text = error(403).problem().to_string();
    assert_eq!(
        text,
        "list applications.argoproj.io in namespace team: not permitted (no) \
         (grant \"list\" on applications.argoproj.io by a Role)"
    );
    let mut slow = status(429);
    slow.details = serde_json::from_str(r#"{"retryAfterSeconds":3}"#).expect("details");
    let slow = Error::status(Call::one("get", &applications, None, "web"), &slow);
    assert_eq!(slow.retry(), Retry::After(Duration::from_secs(3)));
    assert_eq!(slow.to_string(), "get applications.argoproj.io web in all namespaces: no");
}
