//! sprig's arithmetic: 64-bit integers that wrap, floats by way of decimals.

use crate::core::value::{Value, display};

use super::super::cast::{to_float, to_int};
use super::decimal::Decimal;
use super::{ANY, FLOAT, Failure, Function, INT, Outcome, TEXT, function, int_of, text_of, variadic};

pub(super) static TABLE: &[Function] = &[
    function("atoi", &[TEXT], |_, v| Ok(Value::int(atoi(text_of(v, 0))))),
    function("int", &[ANY], |_, v| Ok(Value::int(to_int(&v[0])))),
    function("int64", &[ANY], |_, v| Ok(Value::int64(to_int(&v[0])))),
    function("float64", &[ANY], |_, v| Ok(Value::Float(to_float(&v[0])))),
    function("toDecimal", &[ANY], |_, v| Ok(Value::int64(octal(&display(&v[0]))))),
    function("add1", &[ANY], |_, v| Ok(Value::int64(to_int(&v[0]).wrapping_add(1)))),
    variadic("add", &[ANY], |_, v| Ok(Value::int64(v.iter().fold(0, |sum, x| sum.wrapping_add(to_int(x)))))),
    function("sub", &[ANY, ANY], |_, v| Ok(Value::int64(to_int(&v[0]).wrapping_sub(to_int(&v[1]))))),
    function("div", &[ANY, ANY], |_, v| divide(v, i64::wrapping_div)),
    function("mod", &[ANY, ANY], |_, v| divide(v, i64::wrapping_rem)),
    variadic("mul", &[ANY, ANY], |_, v| {
        Ok(Value::int64(v[1..].iter().fold(to_int(&v[0]), |product, x| product.wrapping_mul(to_int(x)))))
    }),
    variadic("max", &[ANY, ANY], |_, v| Ok(Value::int64(v.iter().map(to_int).max().unwrap_or(0)))),
    variadic("biggest", &[ANY, ANY], |_, v| Ok(Value::int64(v.iter().map(to_int).max().unwrap_or(0)))),
    variadic("min", &[ANY, ANY], |_, v| Ok(Value::int64(v.iter().map(to_int).min().unwrap_or(0)))),
    variadic("maxf", &[ANY, ANY], |_, v| Ok(extreme(v, f64::max))),
    variadic("minf", &[ANY, ANY], |_, v| Ok(extreme(v, f64::min))),
    function("add1f", &[ANY], |_, v| decimals(&v[0], &[Value::int(1)], Decimal::add)),
    variadic("addf", &[ANY], |_, v| decimals(&Value::Float(0.0), v, Decimal::add)),
    variadic("subf", &[ANY, ANY], |_, v| decimals(&v[0], &v[1..], Decimal::sub)),
    variadic("mulf", &[ANY, ANY], |_, v| decimals(&v[0], &v[1..], Decimal::mul)),
    variadic("divf", &[ANY, ANY], |_, v| decimals(&v[0], &v[1..], Decimal::div)),
    function("ceil", &[ANY], |_, v| Ok(Value::Float(to_float(&v[0]).ceil()))),
    function("floor", &[ANY], |_, v| Ok(Value::Float(to_float(&v[0]).floor()))),
    variadic("round", &[ANY, INT, FLOAT], |_, v| Ok(Value::Float(round(v)))),
];

/// Go's `strconv.Atoi` with its error dropped: 0 for what is no number, the border for what is too large.
fn atoi(text: &str) -> i64 {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return 0;
    }
    text.parse().unwrap_or(if text.starts_with('-') { i64::MIN } else { i64::MAX })
}

fn octal(text: &str) -> i64 {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.starts_with(['+', '-']) { 0 } else { i64::from_str_radix(text, 8).unwrap_or(0) }
}

fn divide(values: &[Value], operation: fn(i64, i64) -> i64) -> Outcome {
    let divisor = to_int(&values[1]);
    if divisor == 0 {
        return Err("runtime error: integer divide by zero".into());
    }
    Ok(Value::int64(operation(to_int(&values[0]), divisor)))
}

fn extreme(values: &[Value], pick: fn(f64, f64) -> f64) -> Value {
    let numbers = values.iter().map(to_float);
    // Go's Max and Min give NaN as soon as one is.
    let picked = numbers.reduce(|a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { pick(a, b) });
    Value::Float(picked.unwrap_or(0.0))
}

fn decimals(first: &Value, others: &[Value], operation: fn(&Decimal, &Decimal) -> Result<Decimal, Failure>) -> Outcome {
    let mut result = Decimal::of(to_float(first))?;
    for other in others {
        result = operation(&result, &Decimal::of(to_float(other))?)?;
    }
    Ok(Value::Float(result.to_float()))
}

/// Rounds up from `.5`, or from the third argument, on the number line scaled by ten to the places.
fn round(values: &[Value]) -> f64 {
    let round_on = values.get(2).map_or(0.5, to_float);
    let scale = 10f64.powi(int_of(values, 1).clamp(-400, 400) as i32);
    let scaled = scale * to_float(&values[0]);
    let rounded = if scaled.fract() >= round_on { scaled.ceil() } else { scaled.floor() };
    rounded / scale
}
