//! Tables: one case for each cell.
//!
//! A `[[table]]` is a `case` with `{row}`, `{column}` and `{cell}` in it, and `cells`, the text of a table whose first line
//! names the columns and whose first words name the rows.

use sklookup_policy::reading::quote;

use super::room::Room;
use super::tree::{Keys, Node, Read, Value, Wrong};

/// The most cases a table may have.
const MAX_CELLS: usize = 10_000;

const CELLS: &str = "\"\"\" a line with the columns, then a line for each row \"\"\"";

/// What stands for a word of the table where the case is written out.
struct Words(Vec<(String, Node)>);

impl Words {
    /// What the table says that it stands for; else a number is a number, and anything else itself.
    fn value(&self, word: &str, line: u32) -> Node {
        if let Some((_, meaning)) = self.0.iter().find(|(known, _)| known == word) {
            return meaning.clone();
        }
        let number = word.parse().ok().filter(|number: &i64| number.to_string() == word);
        Node { line, value: number.map_or_else(|| Value::Text(word.to_owned()), Value::Number) }
    }
}

/// The cases of a table.
pub(super) fn expand(mut keys: Keys, room: &mut Room) -> Read<Vec<Node>> {
    let line = keys.line;
    let name = keys.required("name", "\"a-name\"")?.text("name", "\"a-name\"")?.to_owned();
    let cells = keys.required("cells", CELLS)?;
    let case = keys.required("case", "the keys of a case")?;
    let [rows, columns, words] = [
        keys.named("row", "{ WORD = VALUE }")?,
        keys.named("column", "{ WORD = VALUE }")?,
        keys.named("cell", "{ WORD = VALUE }")?,
    ]
    .map(Words);
    keys.end()?;
    let Value::Table(template) = &case.value else {
        return Err(case.not("case", "[table.case] and the keys of a case below"));
    };

    let mut lines = cells.text("cells", CELLS)?.lines().filter(|line| !line.trim().is_empty());
    let header: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    if header.is_empty() {
        return Err(Wrong::new(cells.line, "cells is empty", format!("write {CELLS}")));
    }
    let mut expanded = Vec::new();
    for row in lines {
        let mut fields = row.split_whitespace();
        let label = fields.next().unwrap_or_default();
        let fields: Vec<&str> = fields.collect();
        if fields.len() != header.len() {
            let message = format!("row {} has {} cells for {} columns", quote(label), fields.len(), header.len());
            return Err(Wrong::new(cells.line, message, "write - for a cell that is no case"));
        }
        for (column, cell) in header.iter().zip(fields).filter(|(_, cell)| *cell != "-") {
            if expanded.len() == MAX_CELLS {
                let help = format!("a table has at most {MAX_CELLS} cells");
                return Err(Wrong::new(cells.line, "the table is too large", help));
            }
            let meanings = [
                ("{row}", rows.value(label, line)),
                ("{column}", columns.value(column, line)),
                ("{cell}", words.value(cell, line)),
            ];
            let mut cell = Cell { meanings, line: cells.line, room: &mut *room };
            let mut entries = cell.table(template)?;
            let named = format!("{name}/{label}/{column}");
            cell.room.take(named.len(), line)?;
            entries.insert(0, ("name".to_owned(), Node { line, value: Value::Text(named) }));
            expanded.push(Node { line, value: Value::Table(entries) });
        }
    }
    Ok(expanded)
}

/// A cell that is written out.
struct Cell<'a> {
    /// What the placeholders stand for.
    meanings: [(&'static str, Node); 3],
    /// Of the table's cells.
    line: u32,
    room: &'a mut Room,
}

impl Cell<'_> {
    /// The value with the words of the cell in it. A string that is nothing but a placeholder becomes what stands for it,
    /// number or table.
    fn value(&mut self, node: &Node) -> Read<Node> {
        self.room.take(size_of::<Node>(), self.line)?;
        let value = match &node.value {
            Value::Text(text) => match self.meanings.iter().find(|(placeholder, _)| placeholder == text) {
                Some((_, meaning)) => {
                    self.room.take(weight(meaning), self.line)?;
                    meaning.value.clone()
                }
                None => Value::Text(self.text(text)?),
            },
            Value::List(items) => Value::List(items.iter().map(|item| self.value(item)).collect::<Read<_>>()?),
            Value::Table(entries) => Value::Table(self.table(entries)?),
            other => other.clone(),
        };
        Ok(Node { line: node.line, value })
    }

    fn table(&mut self, entries: &[(String, Node)]) -> Read<Vec<(String, Node)>> {
        entries.iter().map(|(key, value)| Ok((self.text(key)?, self.value(value)?))).collect()
    }

    fn text(&mut self, text: &str) -> Read<String> {
        let mut text = text.to_owned();
        for (placeholder, meaning) in &self.meanings {
            let word = match &meaning.value {
                Value::Text(word) => word.clone(),
                Value::Number(number) => number.to_string(),
                _ => continue,
            };
            // Before it is there: a long word in many places is more than the memory has.
            let places = text.matches(placeholder).count();
            self.room.take(places.saturating_mul(word.len()), self.line)?;
            text = text.replace(placeholder, &word);
        }
        self.room.take(text.len(), self.line)?;
        Ok(text)
    }
}

/// About how many bytes a value takes.
fn weight(node: &Node) -> usize {
    size_of::<Node>()
        + match &node.value {
            Value::Text(text) => text.len(),
            Value::List(items) => items.iter().map(weight).sum(),
            Value::Table(entries) => entries.iter().map(|(key, value)| key.len() + weight(value)).sum(),
            Value::Number(_) | Value::Flag(_) | Value::Other(_) => 0,
        }
}
