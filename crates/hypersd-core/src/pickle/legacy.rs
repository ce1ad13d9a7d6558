//! PyTorch's files before 1.6: five pickles one after the other (a magic number, a version, facts of the machine, what was
//! saved, the names of the storages), and then each storage, with its length before it.

use std::collections::BTreeMap;

use super::{
    Entry, FORMAT, LONGEST,
    archive::{self, Stored},
    machine::{self, Id, Unpickled, Value},
    tensors,
};
use crate::{cursor::Cursor, error::Error, file::Bytes, location::Location, numbers};

/// The version of this layout.
const VERSION: i64 = 1001;

/// The tensors of a file, by name.
pub(super) fn read(location: &Location, bytes: &Bytes) -> Result<BTreeMap<String, Entry>, Error> {
    let mut cursor = Cursor::new(location, bytes, 0..bytes.size(), LONGEST, FORMAT);
    // The magic number is longer than any other, so that it is not kept.
    let magic = machine::read(&mut cursor)?;
    if !matches!(magic.values[magic.root as usize], Value::Opaque) {
        let instead = "give a checkpoint that torch.save wrote, or a .safetensors file";
        return Err(cursor.unsupported("a pickle that PyTorch did not write", instead));
    }
    let version = machine::read(&mut cursor)?;
    if !matches!(version.values[version.root as usize], Value::Int(VERSION)) {
        return Err(cursor.wrong(&format!("version {VERSION}"), "another"));
    }
    let machine = machine::read(&mut cursor)?;
    if let Some(Value::Bool(false)) = value(&machine, machine.root, "little_endian") {
        return Err(
            cursor.unsupported("a checkpoint of the other byte order", "save it again on this machine")
        );
    }
    let saved = machine::read(&mut cursor)?;
    let keys = machine::read(&mut cursor)?;
    let named = tensors::named(&saved, &cursor)?;
    // Only references to storages say how wide their elements are.
    let width = |value: &'_ Value| match value {
        Value::Storage(storage) => {
            Some((storage.key.clone(), storage.dtype.and_then(numbers::width)? as u64))
        }
        _ => None,
    };
    let widths: BTreeMap<String, u64> = saved.values.iter().filter_map(width).collect();
    let storages = storages(&cursor, location, bytes, &keys, &widths)?;
    named
        .into_iter()
        .map(|(name, tensor)| {
            let key = &tensor.storage.key;
            let range = storages.get(key.as_str()).cloned();
            let range = range.ok_or_else(|| cursor.wrong(&format!("a storage {key:?}"), "none"))?;
            let size = range.end - range.start;
            let entry = archive::entry(&cursor, &name, tensor, size, Stored::Range(range))?;
            Ok((name, entry))
        })
        .collect()
}

/// Where each storage is.
fn storages<'a>(
    cursor: &Cursor<'_>,
    location: &Location,
    bytes: &Bytes,
    keys: &'a Unpickled,
    widths: &BTreeMap<String, u64>,
) -> Result<BTreeMap<&'a str, std::ops::Range<u64>>, Error> {
    let Value::List(listed) = &keys.values[keys.root as usize] else {
        return Err(cursor.wrong("a list of storages", "something else"));
    };
    let mut at = cursor.at();
    let mut storages = BTreeMap::new();
    for &key in listed {
        let Value::Text(key) = &keys.values[key as usize] else {
            return Err(cursor.wrong("names of storages", "something else"));
        };
        let Some(&width) = widths.get(key.as_str()) else {
            let found = format!("{key:?}, which nothing refers to");
            return Err(cursor.wrong("storages that tensors see", found));
        };
        let count = Cursor::new(location, bytes, at..bytes.size(), 8, FORMAT).u64()?;
        let start = at + 8;
        let end = count.checked_mul(width).and_then(|size| start.checked_add(size));
        let Some(end) = end.filter(|&end| end <= bytes.size()) else {
            let found = format!("{} bytes, which end before: truncated or damaged", bytes.size());
            return Err(cursor.wrong("all of its storages", found));
        };
        storages.insert(key.as_str(), start..end);
        at = end;
    }
    Ok(storages)
}

fn value<'a>(unpickled: &'a Unpickled, mapping: Id, key: &str) -> Option<&'a Value> {
    let Value::Mapping(entries) = &unpickled.values[mapping as usize] else { return None };
    let is_key = |id: Id| matches!(&unpickled.values[id as usize], Value::Text(text) if text == key);
    entries.iter().find(|(id, _)| is_key(*id)).map(|(_, value)| &unpickled.values[*value as usize])
}
