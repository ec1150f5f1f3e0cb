//! Calls: methods, functions, `and` and `or` that stop early, function values by `call`.

use crate::core::value::{Func, Value, type_name};

use super::exec::{Result, Run};
use super::functions::{Body, Failure, Function, P};
use super::node::Operand;
use super::val::{Val, truth};

impl<'t> Run<'t> {
    pub(super) fn call_method(
        &mut self,
        dot: &Val,
        node: &'t Operand,
        func: &Func,
        arguments: &'t [Operand],
        piped: Option<Val>,
    ) -> Result<Val> {
        let params: Vec<P> = func.params.iter().map(|p| P::Typed(*p)).collect();
        let name = func.name.to_string();
        let values = self.arguments(dot, node, &name, &params, func.variadic, arguments, piped)?;
        match func.call(&values) {
            Ok(value) => Ok(Val::of(value)),
            Err(error) => {
                self.at = node.at;
                self.failed(node, error.into(), Some(&name))
            }
        }
    }

    pub(super) fn function(
        &mut self,
        dot: &Val,
        node: &'t Operand,
        function: &'static Function,
        arguments: &'t [Operand],
        piped: Option<Val>,
    ) -> Result<Val> {
        let at = self.at;
        match function.body {
            Body::And | Body::Or => self.and_or(dot, node, function, arguments, piped),
            Body::Call => {
                let params = [P::Raw, P::Raw];
                let name = arguments.first().map_or_else(|| "value".to_owned(), ToString::to_string);
                let values = self.arguments(dot, node, function.name, &params, true, arguments, piped)?;
                match self.call(&name, &values) {
                    Ok(value) => Ok(Val::of(value)),
                    Err(failure) => {
                        self.at = at;
                        self.failed(node, failure, Some(function.name))
                    }
                }
            }
            Body::Plain(body) => {
                let (params, variadic) = (function.params, function.variadic);
                let values = self.arguments(dot, node, function.name, params, variadic, arguments, piped)?;
                let result = self.ctx.charge_values(&values).and_then(|()| {
                    let value = body(&self.ctx, &values)?;
                    self.ctx.charge_result(&value)?;
                    Ok(value)
                });
                match result {
                    Ok(value) => Ok(Val::of(value)),
                    Err(failure) => {
                        self.at = at;
                        self.failed(node, failure, Some(function.name))
                    }
                }
            }
        }
    }

    /// `and` and `or` stop at the first operand that decides.
    fn and_or(
        &mut self,
        dot: &Val,
        node: &'t Operand,
        function: &Function,
        arguments: &'t [Operand],
        piped: Option<Val>,
    ) -> Result<Val> {
        if arguments.is_empty() && piped.is_none() {
            let name = function.name;
            return self.stop(node, format!("wrong number of args for {name}: want at least 1 got 0"));
        }
        let stops_at = matches!(function.body, Body::Or);
        let mut value = Val::Missing;
        for operand in arguments {
            value = self.argument_val(dot, operand)?;
            if truth(&value) == stops_at {
                return Ok(value);
            }
        }
        Ok(piped.unwrap_or(value))
    }

    /// The function `call`: a function value, called with arguments that are converted where Go converts them.
    fn call(&self, name: &str, values: &[Value]) -> std::result::Result<Value, Failure> {
        let (func, arguments) = match values.split_first() {
            Some((Value::Func(func), arguments)) => (func, arguments),
            Some((Value::Nil, _)) | None => return Err("call of nil".into()),
            Some((other, _)) => return Err(format!("non-function {name} of type {}", type_name(other)).into()),
        };
        let (given, wanted) = (arguments.len(), func.params.len());
        if func.variadic && given + 1 < wanted {
            let least = wanted - 1;
            return Err(format!("wrong number of args for {name}: got {given} want at least {least}").into());
        }
        if !func.variadic && given != wanted {
            return Err(format!("wrong number of args for {name}: got {given} want {wanted}").into());
        }
        let mut prepared = Vec::with_capacity(given);
        for (i, argument) in arguments.iter().enumerate() {
            let Some(param) = func.params.get(i).or(func.params.last()) else { break };
            match super::arg::prepare(argument, *param) {
                Ok(value) => prepared.push(value),
                Err(text) => return Err(format!("arg {i}: {text}").into()),
            }
        }
        Ok(func.call(&prepared)?)
    }
}
