//! Decimal arithmetic for sprig's `addf`, `divf` and kin: 0.1 + 0.2 is 0.3 there. A float is taken as the shortest
//! decimal that names it; results beyond 38 digits fall back to float arithmetic.

use super::Failure;

/// Digits that a division keeps behind the point.
const DIVISION_DIGITS: i32 = 16;

#[derive(Clone, Debug)]
pub(super) enum Decimal {
    /// `digits · 10^exponent`
    Exact { digits: i128, exponent: i32 },
    /// Too many digits for the exact form.
    Float(f64),
}

impl Decimal {
    pub(super) fn of(f: f64) -> Result<Decimal, Failure> {
        if !f.is_finite() {
            return Err(format!("Cannot create a Decimal from {}", crate::core::value::number::float_text(f)).into());
        }
        let text = format!("{f:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let places = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len() as i32);
        match (mantissa.replace('.', "").parse(), exponent.parse::<i32>()) {
            (Ok(digits), Ok(exponent)) => Ok(Decimal::Exact { digits, exponent: exponent - places }),
            _ => Ok(Decimal::Float(f)),
        }
    }

    pub(super) fn to_float(&self) -> f64 {
        match self {
            Decimal::Exact { digits, exponent } => format!("{digits}e{exponent}").parse().unwrap_or(f64::NAN),
            Decimal::Float(f) => *f,
        }
    }

    /// Both with the smaller exponent.
    fn aligned(&self, other: &Decimal) -> Option<(i128, i128, i32)> {
        let (Decimal::Exact { digits: a, exponent: ea }, Decimal::Exact { digits: b, exponent: eb }) = (self, other)
        else {
            return None;
        };
        let exponent = *ea.min(eb);
        Some((scaled(*a, ea - exponent)?, scaled(*b, eb - exponent)?, exponent))
    }

    pub(super) fn add(&self, other: &Decimal) -> Result<Decimal, Failure> {
        let exact = self
            .aligned(other)
            .and_then(|(a, b, exponent)| Some(Decimal::Exact { digits: a.checked_add(b)?, exponent }));
        Ok(exact.unwrap_or_else(|| Decimal::Float(self.to_float() + other.to_float())))
    }

    pub(super) fn sub(&self, other: &Decimal) -> Result<Decimal, Failure> {
        let exact = self
            .aligned(other)
            .and_then(|(a, b, exponent)| Some(Decimal::Exact { digits: a.checked_sub(b)?, exponent }));
        Ok(exact.unwrap_or_else(|| Decimal::Float(self.to_float() - other.to_float())))
    }

    pub(super) fn mul(&self, other: &Decimal) -> Result<Decimal, Failure> {
        if let (Decimal::Exact { digits: a, exponent: ea }, Decimal::Exact { digits: b, exponent: eb }) = (self, other)
            && let Some(digits) = a.checked_mul(*b)
        {
            return Ok(Decimal::Exact { digits, exponent: ea + eb });
        }
        Ok(Decimal::Float(self.to_float() * other.to_float()))
    }

    /// To 16 digits behind the point, halves away from zero.
    pub(super) fn div(&self, other: &Decimal) -> Result<Decimal, Failure> {
        if matches!(other, Decimal::Exact { digits: 0, .. }) {
            return Err("decimal division by 0".into());
        }
        let exact = || {
            let (Decimal::Exact { digits: a, exponent: ea }, Decimal::Exact { digits: b, exponent: eb }) =
                (self, other)
            else {
                return None;
            };
            let shift = DIVISION_DIGITS + ea - eb;
            // Quotients that come out even need no more digits than they have.
            for places in 0..shift.clamp(0, 38) {
                match scaled(*a, places) {
                    Some(a) if a % b == 0 => return Some(Decimal::Exact { digits: a / b, exponent: ea - eb - places }),
                    Some(_) => {}
                    None => break,
                }
            }
            let (a, b) = if shift >= 0 { (scaled(*a, shift)?, *b) } else { (*a, scaled(*b, -shift)?) };
            let (quotient, rest) = (a / b, a % b);
            let up = rest.unsigned_abs() * 2 >= b.unsigned_abs();
            let sign = if (a < 0) == (b < 0) { 1 } else { -1 };
            Some(Decimal::Exact { digits: quotient + if up { sign } else { 0 }, exponent: -DIVISION_DIGITS })
        };
        Ok(exact().unwrap_or_else(|| Decimal::Float(self.to_float() / other.to_float())))
    }
}

fn scaled(digits: i128, places: i32) -> Option<i128> {
    if digits == 0 {
        return Some(0);
    }
    digits.checked_mul(10i128.checked_pow(u32::try_from(places).ok()?)?)
}
