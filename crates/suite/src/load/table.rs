//! Tables: one case for each cell.
//!
//! A `[[table]]` is a `case` with `{row}`, `{column}` and `{cell}` in it, and `cells`, the text of a table whose first line
//! names the columns and whose first words name the rows.

use sklookup_policy::reading::quote;

use super::tree::{Keys, Node, Read, Value, Wrong};

/// The most cases a table may have.
const MAX_CELLS: usize = 10_000;

/// The most bytes a table may grow to when it is written out.
const MAX_BYTES: usize = 64 << 20;

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
pub(super) fn expand(mut keys: Keys) -> Read<Vec<Node>> {
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
    let weight = weight(&case);
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
            if expanded.len() == MAX_CELLS || expanded.len() * weight > MAX_BYTES {
                let help = format!("a table has at most {MAX_CELLS} cells and, written out, {} MiB", MAX_BYTES >> 20);
                return Err(Wrong::new(cells.line, "the table is too large", help));
            }
            let meanings = [
                ("{row}", rows.value(label, line)),
                ("{column}", columns.value(column, line)),
                ("{cell}", words.value(cell, line)),
            ];
            let mut entries: Vec<(String, Node)> =
                template.iter().map(|(key, value)| (filled(key, &meanings), written(value, &meanings))).collect();
            let named = Node { line, value: Value::Text(format!("{name}/{label}/{column}")) };
            entries.insert(0, ("name".to_owned(), named));
            expanded.push(Node { line, value: Value::Table(entries) });
        }
    }
    Ok(expanded)
}

/// The value with the words of the cell in it. A string that is nothing but a placeholder becomes what stands for it,
/// number or table.
fn written(node: &Node, meanings: &[(&str, Node); 3]) -> Node {
    let value = match &node.value {
        Value::Text(text) => match meanings.iter().find(|(placeholder, _)| placeholder == text) {
            Some((_, meaning)) => meaning.value.clone(),
            None => Value::Text(filled(text, meanings)),
        },
        Value::List(items) => Value::List(items.iter().map(|item| written(item, meanings)).collect()),
        Value::Table(entries) => {
            Value::Table(entries.iter().map(|(key, value)| (filled(key, meanings), written(value, meanings))).collect())
        }
        other => other.clone(),
    };
    Node { line: node.line, value }
}

fn filled(text: &str, meanings: &[(&str, Node); 3]) -> String {
    meanings.iter().fold(text.to_owned(), |text, (placeholder, meaning)| match &meaning.value {
        Value::Text(word) => text.replace(placeholder, word),
        Value::Number(number) => text.replace(placeholder, &number.to_string()),
        _ => text,
    })
}

/// About how many bytes a value takes.
fn weight(node: &Node) -> usize {
    const NODE: usize = size_of::<Node>();
    NODE + match &node.value {
        Value::Text(text) => text.len(),
        Value::List(items) => items.iter().map(weight).sum(),
        Value::Table(entries) => entries.iter().map(|(key, value)| key.len() + weight(value)).sum(),
        Value::Number(_) | Value::Flag(_) | Value::Other(_) => 0,
    }
}
