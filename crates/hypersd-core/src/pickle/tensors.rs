//! The tensors in what a pickle made, by name.

use std::collections::BTreeMap;

use super::machine::{Id, Tensor, Unpickled, Value};
use crate::{cursor::Cursor, error::Error};

/// Most levels of mappings and lists in each other: an optimizer's state has five.
const DEEPEST: usize = 16;
/// Most things that are looked at. Things may be in several others, so that this is not their number.
const MOST: usize = if cfg!(test) { 1 << 12 } else { 1 << 22 };
/// Longest name of a tensor.
const LONGEST_NAME: usize = 1 << 10;

/// Every tensor under the names that lead to it, with dots between; of a file that has a `state_dict`, those in there alone,
/// under their own.
pub(super) fn named<'a>(
    unpickled: &'a Unpickled,
    cursor: &Cursor<'_>,
) -> Result<BTreeMap<String, &'a Tensor>, Error> {
    let root = match &unpickled.values[unpickled.root as usize] {
        Value::Mapping(entries) => {
            let weights = entries.iter().rev().find(|(key, value)| {
                let is_mapping = matches!(unpickled.values[*value as usize], Value::Mapping(_));
                is_mapping && key_of(unpickled, *key).as_deref() == Some("state_dict")
            });
            weights.map_or(unpickled.root, |(_, value)| *value)
        }
        Value::ParameterDict(_) | Value::List(_) => unpickled.root,
        _ => return Err(cursor.wrong("tensors by name", "something else")),
    };
    let mut walk = Walk { unpickled, cursor, seen: 0, found: BTreeMap::new() };
    walk.visit(root, &mut String::new(), 0)?;
    match walk.found.is_empty() {
        true => Err(cursor.wrong("tensors by name", "none")),
        false => Ok(walk.found),
    }
}

fn key_of(unpickled: &Unpickled, key: Id) -> Option<String> {
    match &unpickled.values[key as usize] {
        Value::Text(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

struct Walk<'a, 'b> {
    unpickled: &'a Unpickled,
    cursor: &'b Cursor<'b>,
    seen: usize,
    found: BTreeMap<String, &'a Tensor>,
}

impl Walk<'_, '_> {
    fn visit(&mut self, id: Id, name: &mut String, depth: usize) -> Result<(), Error> {
        self.seen += 1;
        if self.seen > MOST || depth > DEEPEST || name.len() > LONGEST_NAME {
            let expected = format!("a pickle of at most {DEEPEST} levels and {MOST} things");
            return Err(self.cursor.wrong(&expected, "more"));
        }
        let unpickled = self.unpickled;
        match &unpickled.values[id as usize] {
            Value::Tensor(tensor) => {
                self.found.insert(name.clone(), tensor);
            }
            Value::Mapping(entries) | Value::ParameterDict(entries) => {
                for &(key, value) in entries {
                    if let Some(key) = key_of(unpickled, key) {
                        self.visit_in(&key, value, name, depth)?;
                    }
                }
            }
            Value::List(items) => {
                for (at, &item) in items.iter().enumerate() {
                    self.visit_in(&at.to_string(), item, name, depth)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn visit_in(&mut self, key: &str, id: Id, name: &mut String, depth: usize) -> Result<(), Error> {
        let outer = name.len();
        if outer > 0 {
            name.push('.');
        }
        name.push_str(key);
        self.visit(id, name, depth + 1)?;
        name.truncate(outer);
        Ok(())
    }
}
