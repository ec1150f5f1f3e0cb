//! Two kinds of patch: merge (RFC 7386) and operations (RFC 6902), with the preconditions an API server checks.

use serde_json::{Map, Value};

use super::text;

/// Why a patch is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// 409: made for another version or another object.
    Conflict(String),
    /// 422: it cannot be carried out on this object.
    Invalid(String),
    /// 400: it is no patch.
    Malformed(String),
}

/// The object as the patch wants it; `current` is left alone.
pub(super) fn merged(current: &Value, patch: &Value) -> Result<Value, Refused> {
    if !patch.is_object() {
        return Err(Refused::Malformed("a merge patch is an object".into()));
    }
    let mut wanted = current.clone();
    merge(&mut wanted, patch);
    checked(current, wanted)
}

/// The object after the operations, all of them or none.
pub(super) fn stepped(current: &Value, patch: &Value) -> Result<Value, Refused> {
    let Some(steps) = patch.as_array() else {
        return Err(Refused::Malformed("a JSON patch is a list of operations".into()));
    };
    let mut wanted = current.clone();
    for step in steps {
        carry_out(&mut wanted, step)?;
    }
    checked(current, wanted)
}

/// A version or uid that is there must be the current one.
fn checked(current: &Value, wanted: Value) -> Result<Value, Refused> {
    let (before, after) = (&current["metadata"], &wanted["metadata"]);
    if !after.is_object() {
        return Err(Refused::Invalid("metadata: Required value".into()));
    }
    let given = text(&after["uid"]);
    if !given.is_empty() && after["uid"] != before["uid"] {
        let text =
            format!("Precondition failed: UID in precondition: {given}, UID in object meta: {}", text(&before["uid"]));
        return Err(Refused::Conflict(text));
    }
    let given = text(&after["resourceVersion"]);
    if !given.is_empty() && after["resourceVersion"] != before["resourceVersion"] {
        let text = "the object has been modified; please apply your changes to the latest version and try again";
        return Err(Refused::Conflict(text.into()));
    }
    for fixed in ["name", "namespace"] {
        if after.get(fixed) != before.get(fixed) {
            return Err(Refused::Invalid(format!("metadata.{fixed}: field is immutable")));
        }
    }
    Ok(wanted)
}

fn merge(target: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(own) = target.as_object_mut() else { return };
    for (key, value) in fields {
        if value.is_null() {
            own.remove(key);
        } else {
            merge(own.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

fn carry_out(object: &mut Value, step: &Value) -> Result<(), Refused> {
    let (op, path) = (text(&step["op"]), text(&step["path"]));
    let missing = || Refused::Invalid(format!("the operation {op} has no place to act on: {path}"));
    let value = || step.get("value").cloned().ok_or_else(|| Refused::Malformed(format!("{op} {path} has no value")));
    match op {
        "test" => match object.pointer(path) {
            Some(found) if *found == value()? => Ok(()),
            _ => Err(Refused::Invalid(format!("testing value {path} failed"))),
        },
        "replace" => {
            let value = value()?;
            *object.pointer_mut(path).ok_or_else(missing)? = value;
            Ok(())
        }
        "add" => add(object, path, value()?).ok_or_else(missing),
        "remove" => take(object, path).map(drop).ok_or_else(missing),
        "move" => {
            let value = take(object, text(&step["from"])).ok_or_else(missing)?;
            add(object, path, value).ok_or_else(missing)
        }
        "copy" => {
            let value = object.pointer(text(&step["from"])).cloned().ok_or_else(missing)?;
            add(object, path, value).ok_or_else(missing)
        }
        _ => Err(Refused::Malformed(format!("{op:?} is no operation"))),
    }
}

/// Splits `/a/b~1c` into what holds the last part, and that part unescaped.
fn parent<'a>(object: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let (parent, last) = path.rsplit_once('/')?;
    Some((object.pointer_mut(parent)?, last.replace("~1", "/").replace("~0", "~")))
}

fn add(object: &mut Value, path: &str, value: Value) -> Option<()> {
    if path.is_empty() {
        *object = value;
        return Some(());
    }
    match parent(object, path)? {
        (Value::Object(fields), last) => drop(fields.insert(last, value)),
        (Value::Array(items), last) if last == "-" => items.push(value),
        (Value::Array(items), last) => {
            let at = last.parse::<usize>().ok().filter(|at| *at <= items.len())?;
            items.insert(at, value);
        }
        _ => return None,
    }
    Some(())
}

fn take(object: &mut Value, path: &str) -> Option<Value> {
    match parent(object, path)? {
        (Value::Object(fields), last) => fields.remove(&last),
        (Value::Array(items), last) => {
            let at = last.parse::<usize>().ok().filter(|at| *at < items.len())?;
            Some(items.remove(at))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn current() -> Value {
        json!({"metadata": {"name": "a", "uid": "u", "resourceVersion": "7", "annotations": {"x/y": "1"}}, "l": [1, 2]})
    }

    #[test]
    fn arg_1_a_patch_for_another_version_or_object_is_a_conflict() {
        for (patch, conflict) in [
            (json!({"metadata": {"resourceVersion": "7", "uid": "u"}, "l": [3]}), false),
            (json!({"metadata": {"resourceVersion": "6"}}), true),
            (json!({"metadata": {"uid": "v"}}), true),
        ] {
            assert_eq!(matches!(merged(&current(), &patch), Err(Refused::Conflict(_))), conflict, "{patch}");
        }
        let stale = json!([{"op": "replace", "path": "/metadata/resourceVersion", "value": "6"}]);
        assert!(matches!(stepped(&current(), &stale), Err(Refused::Conflict(_))));
    }

    #[test]
    fn patches_change_what_they_name() {
        let removed = merged(&current(), &json!({"metadata": {"annotations": {"x/y": null, "z": "2"}}})).unwrap();
        assert_eq!(removed["metadata"]["annotations"], json!({"z": "2"}));
        for (steps, expected) in [
            (json!([{"op": "add", "path": "/l/1", "value": 9}]), Some(json!([1, 9, 2]))),
            (json!([{"op": "add", "path": "/l/-", "value": 9}]), Some(json!([1, 2, 9]))),
            (json!([{"op": "remove", "path": "/l/0"}]), Some(json!([2]))),
            (
                json!([{"op": "test", "path": "/l/0", "value": 1}, {"op": "replace", "path": "/l/0", "value": 5}]),
                Some(json!([5, 2])),
            ),
            (json!([{"op": "test", "path": "/l/0", "value": 8}, {"op": "replace", "path": "/l/0", "value": 5}]), None),
            (json!([{"op": "replace", "path": "/l/4", "value": 5}]), None),
            (json!([{"op": "add", "path": "/l/4", "value": 5}]), None),
            (json!([{"op": "move", "from": "/l/0", "path": "/l/-"}]), Some(json!([2, 1]))),
            (json!([{"op": "copy", "from": "/l/0", "path": "/l/-"}]), Some(json!([1, 2, 1]))),
            (json!([{"op": "swap", "path": "/l/0"}]), None),
        ] {
            assert_eq!(stepped(&current(), &steps).ok().map(|o| o["l"].clone()), expected, "{steps}");
        }
        let escaped = json!([{"op": "remove", "path": "/metadata/annotations/x~1y"}]);
        assert_eq!(stepped(&current(), &escaped).unwrap()["metadata"]["annotations"], json!({}));
    }
}
