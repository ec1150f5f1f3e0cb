//! sprig's functions for paths; those of the file system are the same here, with `/`.

use crate::core::value::Value;

use super::{Function, TEXT, function, text, text_of};

pub(super) static TABLE: &[Function] = &[
    function("base", &[TEXT], |_, v| text(base(text_of(v, 0)))),
    function("osBase", &[TEXT], |_, v| text(base(text_of(v, 0)))),
    function("clean", &[TEXT], |_, v| text(clean(text_of(v, 0)))),
    function("osClean", &[TEXT], |_, v| text(clean(text_of(v, 0)))),
    function("dir", &[TEXT], |_, v| text(dir(text_of(v, 0)))),
    function("osDir", &[TEXT], |_, v| text(dir(text_of(v, 0)))),
    function("ext", &[TEXT], |_, v| text(ext(text_of(v, 0)))),
    function("osExt", &[TEXT], |_, v| text(ext(text_of(v, 0)))),
    function("isAbs", &[TEXT], |_, v| Ok(Value::Bool(text_of(v, 0).starts_with('/')))),
    function("osIsAbs", &[TEXT], |_, v| Ok(Value::Bool(text_of(v, 0).starts_with('/')))),
];

fn base(path: &str) -> &str {
    if path.is_empty() {
        return ".";
    }
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() {
        return "/";
    }
    trimmed.rsplit('/').next().unwrap_or(trimmed)
}

/// Go's `path.Clean`: no empty or `.` elements, `..` resolved where something stands before it.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|p| *p != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

fn dir(path: &str) -> String {
    let end = path.rfind('/').map_or(0, |at| at + 1);
    clean(&path[..end])
}

fn ext(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rfind('.').map_or("", |at| &name[at..])
}
