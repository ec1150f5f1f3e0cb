//! Builds a template from its tokens by Go's text/template grammar. Every function name is checked here, so that a
//! misspelt one is found at load.

mod operands;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::lexer::{self, Kind, LexError, Token};
use super::literal::unquote;
use super::node::{Branches, Item, ItemKind, Items};
use super::{Functions, MAX_DEPTH};

/// A parsed source: what it does itself and the templates it defines.
#[derive(Debug)]
pub(super) struct Parsed {
    pub root: Items,
    pub defined: BTreeMap<Arc<str>, Items>,
}

/// A fault and where it is.
#[derive(Debug)]
pub(super) struct Fault {
    pub at: usize,
    pub text: String,
    pub hint: String,
}

type Result<T> = std::result::Result<T, Fault>;

pub(super) fn parse(source: &str, functions: Functions) -> Result<Parsed> {
    let tokens = lexer::tokens(source);
    let mut parser = Parser {
        tokens: tokens.list,
        fault: tokens.fault,
        next: 0,
        variables: vec!["$".into()],
        range_depth: 0,
        depth: 0,
        functions,
        defined: BTreeMap::new(),
    };
    let root = parser.top()?;
    Ok(Parsed { root, defined: parser.defined })
}

/// What ended a list of items.
enum End {
    End,
    /// The position behind `else`; an `if` or `with` may follow.
    Else,
}

enum Step {
    Item(Item),
    End(End),
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    fault: Option<LexError>,
    next: usize,
    variables: Vec<Arc<str>>,
    range_depth: usize,
    depth: usize,
    functions: Functions,
    defined: BTreeMap<Arc<str>, Items>,
}

fn fault<T>(at: usize, text: impl Into<String>) -> Result<T> {
    Err(Fault { at, text: text.into(), hint: String::new() })
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        let last = self.tokens.len() - 1;
        self.tokens[self.next.min(last)]
    }

    fn advance(&mut self) -> Token<'a> {
        let token = self.peek();
        self.next = (self.next + 1).min(self.tokens.len());
        token
    }

    fn skip_space(&mut self) {
        while self.peek().kind == Kind::Space {
            self.next += 1;
        }
    }

    fn next_non_space(&mut self) -> Token<'a> {
        self.skip_space();
        self.advance()
    }

    fn peek_non_space(&mut self) -> Token<'a> {
        self.skip_space();
        self.peek()
    }

    fn unexpected<T>(&mut self, token: Token<'a>, context: &str) -> Result<T> {
        if token.kind == Kind::Eof {
            if let Some(error) = self.fault.take() {
                return fault(error.at, error.text);
            }
            return fault(token.at, format!("unexpected EOF in {context}"));
        }
        let shown = match token.kind {
            kind if is_keyword(kind) => format!("<{}>", token.text),
            _ if token.text.chars().count() > 10 => {
                format!("{:?}...", token.text.chars().take(10).collect::<String>())
            }
            _ => format!("{:?}", token.text),
        };
        fault(token.at, format!("unexpected {shown} in {context}"))
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Result<Token<'a>> {
        let token = self.next_non_space();
        if token.kind == kind { Ok(token) } else { self.unexpected(token, context) }
    }

    fn top(&mut self) -> Result<Items> {
        let mut items = Items::new();
        loop {
            let token = self.peek();
            if token.kind == Kind::Eof {
                return match self.fault.take() {
                    Some(error) => fault(error.at, error.text),
                    None => Ok(items),
                };
            }
            if token.kind == Kind::LeftDelim {
                let back = self.next;
                self.advance();
                if self.next_non_space().kind == Kind::Define {
                    self.definition()?;
                    continue;
                }
                self.next = back;
            }
            match self.text_or_action()? {
                Step::Item(item) => items.push(item),
                Step::End(End::End) => return fault(token.at, "unexpected {{end}}"),
                Step::End(End::Else) => return fault(token.at, "unexpected {{else}}"),
            }
        }
    }

    fn definition(&mut self) -> Result<()> {
        const CONTEXT: &str = "define clause";
        let token = self.next_non_space();
        let name = self.template_name(token, CONTEXT)?;
        self.expect(Kind::RightDelim, CONTEXT)?;
        let body = self.own_template(CONTEXT)?;
        self.add(token.at, name, body)
    }

    /// The body of a `define` or `block`, which sees no variables from outside.
    fn own_template(&mut self, context: &str) -> Result<Items> {
        let variables = std::mem::replace(&mut self.variables, vec!["$".into()]);
        let range_depth = std::mem::take(&mut self.range_depth);
        let at = self.peek().at;
        let (body, end) = self.item_list()?;
        self.variables = variables;
        self.range_depth = range_depth;
        match end {
            End::End => Ok(body),
            End::Else => fault(at, format!("unexpected {{{{else}}}} in {context}")),
        }
    }

    /// An empty definition never replaces another; two that are not empty clash.
    fn add(&mut self, at: usize, name: Arc<str>, body: Items) -> Result<()> {
        match self.defined.get(&name) {
            Some(known) if !is_empty(known) => {
                if !is_empty(&body) {
                    return fault(at, format!("template: multiple definition of template {name:?}"));
                }
            }
            _ => {
                self.defined.insert(name, body);
            }
        }
        Ok(())
    }

    fn item_list(&mut self) -> Result<(Items, End)> {
        self.deeper()?;
        let mut items = Items::new();
        loop {
            let token = self.peek_non_space();
            if token.kind == Kind::Eof {
                return match self.fault.take() {
                    Some(error) => fault(error.at, error.text),
                    None => fault(token.at, "unexpected EOF"),
                };
            }
            match self.text_or_action()? {
                Step::Item(item) => items.push(item),
                Step::End(end) => {
                    self.depth -= 1;
                    return Ok((items, end));
                }
            }
        }
    }

    fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return fault(self.peek().at, format!("nested deeper than {MAX_DEPTH} levels"));
        }
        Ok(())
    }

    fn text_or_action(&mut self) -> Result<Step> {
        let token = self.next_non_space();
        match token.kind {
            Kind::Text => Ok(Step::Item(Item { at: token.at, kind: ItemKind::Text(token.text.into()) })),
            Kind::LeftDelim => self.action(token.at),
            _ => self.unexpected(token, "input"),
        }
    }

    fn action(&mut self, at: usize) -> Result<Step> {
        let back = self.next;
        let token = self.next_non_space();
        let kind = match token.kind {
            Kind::Block => self.block(token)?,
            Kind::Break | Kind::Continue => self.jump(token)?,
            Kind::Else => {
                let next = self.peek_non_space();
                if !matches!(next.kind, Kind::If | Kind::With) {
                    self.expect(Kind::RightDelim, "else")?;
                }
                return Ok(Step::End(End::Else));
            }
            Kind::End => {
                self.expect(Kind::RightDelim, "end")?;
                return Ok(Step::End(End::End));
            }
            Kind::If => ItemKind::If(self.branches(Kind::If)?),
            Kind::With => ItemKind::With(self.branches(Kind::With)?),
            Kind::Range => self.range()?,
            Kind::Template => self.call_template(token)?,
            _ => {
                self.next = back;
                // The variables of an action stay until the end of the list it stands in.
                ItemKind::Action(self.pipeline("command", Kind::RightDelim)?)
            }
        };
        Ok(Step::Item(Item { at, kind }))
    }

    fn jump(&mut self, token: Token<'a>) -> Result<ItemKind> {
        let context = format!("{{{{{}}}}}", token.text);
        let next = self.next_non_space();
        if next.kind != Kind::RightDelim {
            return self.unexpected(next, &context);
        }
        if self.range_depth == 0 {
            return fault(token.at, format!("{context} outside {{{{range}}}}"));
        }
        Ok(if token.kind == Kind::Break { ItemKind::Break } else { ItemKind::Continue })
    }

    /// `if` or `with`, with its chain of `else if` or `else with`.
    fn branches(&mut self, word: Kind) -> Result<Branches> {
        let context = if word == Kind::If { "if" } else { "with" };
        let known = self.variables.len();
        let mut branches = Vec::new();
        let mut otherwise = None;
        loop {
            let pipe = self.pipeline(context, Kind::RightDelim)?;
            let (body, end) = self.item_list()?;
            branches.push((pipe, body));
            match end {
                End::End => break,
                End::Else if self.peek_non_space().kind == word => {
                    self.advance();
                }
                End::Else => {
                    otherwise = Some(self.else_list()?);
                    break;
                }
            }
        }
        self.variables.truncate(known);
        Ok(Branches { branches, otherwise })
    }

    fn else_list(&mut self) -> Result<Items> {
        let at = self.peek().at;
        let (body, end) = self.item_list()?;
        match end {
            End::End => Ok(body),
            End::Else => fault(at, "expected end; found {{else}}"),
        }
    }

    fn range(&mut self) -> Result<ItemKind> {
        let known = self.variables.len();
        let pipe = self.pipeline("range", Kind::RightDelim)?;
        self.range_depth += 1;
        let (body, end) = self.item_list()?;
        self.range_depth -= 1;
        let otherwise = match end {
            End::End => None,
            End::Else => Some(self.else_list()?),
        };
        self.variables.truncate(known);
        Ok(ItemKind::Range { pipe, body, otherwise })
    }

    fn template_name(&mut self, token: Token<'a>, context: &str) -> Result<Arc<str>> {
        match token.kind {
            Kind::Str | Kind::RawStr => match unquote(token.text) {
                Some(name) => Ok(name.into()),
                None => fault(token.at, "invalid syntax"),
            },
            _ => self.unexpected(token, context),
        }
    }

    fn block(&mut self, _: Token<'a>) -> Result<ItemKind> {
        const CONTEXT: &str = "block clause";
        let token = self.next_non_space();
        let name = self.template_name(token, CONTEXT)?;
        let pipe = self.pipeline(CONTEXT, Kind::RightDelim)?;
        let body = self.own_template(CONTEXT)?;
        self.add(token.at, name.clone(), body)?;
        Ok(ItemKind::Template { at: token.at, name, pipe: Some(pipe) })
    }

    fn call_template(&mut self, _: Token<'a>) -> Result<ItemKind> {
        const CONTEXT: &str = "template clause";
        let token = self.next_non_space();
        let name = self.template_name(token, CONTEXT)?;
        let mut pipe = None;
        if self.peek_non_space().kind == Kind::RightDelim {
            self.advance();
        } else {
            pipe = Some(self.pipeline(CONTEXT, Kind::RightDelim)?);
        }
        Ok(ItemKind::Template { at: token.at, name, pipe })
    }
}

fn is_keyword(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Dot
            | Kind::Nil
            | Kind::Block
            | Kind::Break
            | Kind::Continue
            | Kind::Define
            | Kind::Else
            | Kind::End
            | Kind::If
            | Kind::Range
            | Kind::Template
            | Kind::With
    )
}

/// Nothing but white space.
fn is_empty(items: &[Item]) -> bool {
    items.iter().all(|item| matches!(&item.kind, ItemKind::Text(text) if text.trim().is_empty()))
}
