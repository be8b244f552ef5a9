//! A case file as a tree of values that know their lines.

use sklookup_policy::Problem;
use sklookup_policy::reading::{Lines, quote, unknown_key};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) line: u32,
    pub(super) value: Value,
}

/// A value. Tables keep the order of the file: sockets are made in it.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Flag(bool),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
    /// Nothing that a case has a use for.
    Other(&'static str),
}

/// What is wrong, and in which line.
pub(super) struct Wrong {
    pub(super) line: u32,
    pub(super) problem: Problem,
}

pub(super) type Read<T> = Result<T, Wrong>;

impl Wrong {
    pub(super) fn new(line: u32, message: impl Into<String>, help: impl Into<String>) -> Wrong {
        Wrong { line, problem: Problem::new(message).help(help) }
    }
}

/// The tables of a file, in its order.
pub(super) fn tree(document: &DeTable<'_>, lines: &Lines<'_>) -> Vec<(String, Node)> {
    let mut parts: Vec<_> = document.iter().collect();
    // A table that only has sub-tables is an empty span: its place is that of its first part.
    parts.sort_by_key(|(key, value)| (key.span().start, value.span().start));
    parts.into_iter().map(|(key, value)| (key.get_ref().to_string(), node(value, key.span().start, lines))).collect()
}

fn node(value: &Spanned<DeValue<'_>>, start: usize, lines: &Lines<'_>) -> Node {
    let kind = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Number(number),
            Err(_) => Value::Other("a number that does not fit 64 bits"),
        },
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Array(items) => Value::List(items.iter().map(|item| node(item, item.span().start, lines)).collect()),
        DeValue::Table(table) => Value::Table(tree(table, lines)),
        DeValue::Float(_) => Value::Other("a float"),
        DeValue::Datetime(_) => Value::Other("a datetime"),
    };
    Node { line: lines.number(start), value: kind }
}

impl Node {
    /// What it is, for messages.
    pub(super) fn what(&self) -> String {
        match &self.value {
            Value::Text(text) => quote(text),
            Value::Number(number) => number.to_string(),
            Value::Flag(flag) => flag.to_string(),
            Value::List(_) => "an array".to_owned(),
            Value::Table(_) => "a table".to_owned(),
            Value::Other(what) => (*what).to_owned(),
        }
    }

    /// That it is something else than expected: `form` is what to write.
    pub(super) fn not(&self, what: &str, form: &str) -> Wrong {
        Wrong::new(self.line, format!("{what} is {}", self.what()), format!("write {form}"))
    }

    pub(super) fn text(&self, what: &str, form: &str) -> Read<&str> {
        match &self.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.not(what, form)),
        }
    }

    /// A number that fits the type.
    pub(super) fn number<T: TryFrom<i64>>(&self, what: &str, form: &str) -> Read<T> {
        match self.value {
            Value::Number(number) => T::try_from(number).map_err(|_| self.not(what, form)),
            _ => Err(self.not(what, form)),
        }
    }

    /// The strings of an array.
    pub(super) fn texts(&self, what: &str, form: &str) -> Read<Vec<String>> {
        match &self.value {
            Value::List(items) => {
                items.iter().map(|item| item.text(&format!("an item of {what}"), form).map(str::to_owned)).collect()
            }
            _ => Err(self.not(what, form)),
        }
    }

    /// A table to take keys from.
    pub(super) fn keys(self, what: &str, form: &str) -> Read<Keys> {
        match self.value {
            Value::Table(entries) => Ok(Keys { line: self.line, entries, known: Vec::new() }),
            _ => Err(self.not(what, form)),
        }
    }
}

/// The keys of a table that were not taken yet.
pub(super) struct Keys {
    pub(super) line: u32,
    entries: Vec<(String, Node)>,
    /// What was asked for, for the message about a key that nobody asked for.
    known: Vec<&'static str>,
}

impl Keys {
    pub(super) fn take(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        let at = self.entries.iter().position(|(name, _)| name == key)?;
        Some(self.entries.remove(at).1)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, _)| name == key)
    }

    pub(super) fn required(&mut self, key: &'static str, form: &str) -> Read<Node> {
        self.take(key)
            .ok_or_else(|| Wrong::new(self.line, format!("{key} is missing"), format!("write {key} = {form}")))
    }

    /// A text, if the key is there.
    pub(super) fn text(&mut self, key: &'static str, form: &str) -> Read<Option<String>> {
        self.take(key).map(|node| node.text(key, form).map(str::to_owned)).transpose()
    }

    /// A number, if the key is there.
    pub(super) fn number<T: TryFrom<i64>>(&mut self, key: &'static str, form: &str) -> Read<Option<T>> {
        self.take(key).map(|node| node.number(key, form)).transpose()
    }

    /// The names and values of a table of tables, such as `socket`.
    pub(super) fn named(&mut self, key: &'static str, form: &str) -> Read<Vec<(String, Node)>> {
        match self.take(key) {
            None => Ok(Vec::new()),
            Some(Node { value: Value::Table(entries), .. }) => Ok(entries),
            Some(node) => Err(node.not(key, form)),
        }
    }

    /// Ends the reading: a key that nobody took is a mistake.
    pub(super) fn end(self) -> Read<()> {
        match self.entries.first() {
            None => Ok(()),
            Some((key, node)) => Err(Wrong { line: node.line, problem: unknown_key(key, &self.known) }),
        }
    }
}
