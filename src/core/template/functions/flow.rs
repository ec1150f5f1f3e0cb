//! sprig's functions for defaults, JSON and types.

use crate::core::value::json_read::decode;
use crate::core::value::{Value, display, type_name};

use super::super::cast::{COMPARISONS, deep_equal, is_empty, kind_name};
use super::json::encode;
use super::{ANY, Failure, Function, Outcome, TEXT, function, text, text_of, variadic};

pub(super) static TABLE: &[Function] = &[
    variadic("default", &[ANY, ANY], |_, v| Ok(v.get(1).filter(|given| !is_empty(given)).unwrap_or(&v[0]).clone())),
    function("empty", &[ANY], |_, v| Ok(Value::Bool(is_empty(&v[0])))),
    variadic("coalesce", &[ANY], |_, v| Ok(v.iter().find(|v| !is_empty(v)).cloned().unwrap_or(Value::Nil))),
    variadic("all", &[ANY], |_, v| Ok(Value::Bool(!v.iter().any(is_empty)))),
    variadic("any", &[ANY], |_, v| Ok(Value::Bool(!v.iter().all(is_empty)))),
    function("fail", &[TEXT], |_, v| Err(text_of(v, 0).into())),
    function("fromJson", &[TEXT], |_, v| Ok(decode(text_of(v, 0)).unwrap_or(Value::Nil))),
    function("mustFromJson", &[TEXT], |_, v| decode(text_of(v, 0)).map_err(Failure::from)),
    function("toJson", &[ANY], |_, v| text(encode(&v[0], true, false).unwrap_or_default())),
    function("mustToJson", &[ANY], |_, v| json(&v[0], true, false)),
    function("toPrettyJson", &[ANY], |_, v| text(encode(&v[0], true, true).unwrap_or_default())),
    function("mustToPrettyJson", &[ANY], |_, v| json(&v[0], true, true)),
    function("toRawJson", &[ANY], |_, v| json(&v[0], false, false)),
    function("mustToRawJson", &[ANY], |_, v| json(&v[0], false, false)),
    function("deepEqual", &[ANY, ANY], |ctx, v| {
        let mut left = COMPARISONS;
        let same = deep_equal(&v[0], &v[1], &mut left);
        ctx.charge(u64::from(COMPARISONS - left) / 8)?;
        Ok(Value::Bool(same))
    }),
    function("typeOf", &[ANY], |_, v| text(type_name(&v[0]))),
    function("typeIs", &[TEXT, ANY], |_, v| Ok(Value::Bool(text_of(v, 0) == type_name(&v[1])))),
    function("typeIsLike", &[TEXT, ANY], |_, v| {
        let name = type_name(&v[1]);
        Ok(Value::Bool(text_of(v, 0) == name || format!("*{}", text_of(v, 0)) == name))
    }),
    function("kindOf", &[ANY], |_, v| text(kind_name(&v[0]))),
    function("kindIs", &[TEXT, ANY], |_, v| Ok(Value::Bool(text_of(v, 0) == kind_name(&v[1])))),
];

fn json(value: &Value, html: bool, pretty: bool) -> Outcome {
    match encode(value, html, pretty) {
        Ok(encoded) => text(encoded),
        Err(reason) => Err(format!("json: {reason}: {}", display(value).chars().take(40).collect::<String>()).into()),
    }
}
