//! A long array of a JSON document.

use serde_json::Value;

/// An array that is put into text element by element: as values, a million bindings would take gigabytes.
#[derive(Debug)]
pub struct Rows {
    /// The array without its closing bracket.
    text: String,
}

impl Rows {
    /// The array, brackets included.
    pub fn into_text(mut self) -> String {
        self.text.push(']');
        self.text
    }
}

impl<T: Into<Value>> FromIterator<T> for Rows {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Rows {
        let mut text = String::from("[");
        for (number, value) in values.into_iter().enumerate() {
            if number > 0 {
                text.push(',');
            }
            text.push_str(&value.into().to_string());
        }
        Rows { text }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_read_back_as_the_array() {
        for values in [vec![], vec![json!("a, ]\u{1}")], vec![json!({}), json!([]), json!(null)]] {
            let text = values.iter().cloned().collect::<Rows>().into_text();
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), Value::Array(values));
        }
    }
}
