//! What a pickle describes, found out without running it.
//!
//! A pickle is a program for a machine with a stack and a memo (Python's `pickletools` tells of every operation). Those here are
//! the ones that PyTorch's own safe unpickler has (`torch/_weights_only_unpickler.py`), and those of newer protocols that do the
//! same. What is called is never called: [`Global`]s are understood, by a table.
//!
//! Everything that a pickle makes lies in one list, and refers to other things by their place in it. So nothing is nested, and what
//! contains itself is no trouble.

use std::collections::HashMap;

use super::globals::Global;
use crate::{cursor::Cursor, error::Error, host::Dtype};

/// Most things that a pickle may make: SDXL's names, shapes and strides are some 30 thousand.
const MOST: usize = if cfg!(test) { 1 << 12 } else { 1 << 22 };

/// Most arguments of a call: a tensor has 8.
const MOST_ARGUMENTS: usize = 64;
/// Most extents of a tensor.
const MOST_EXTENTS: usize = 8;
/// Longest name of a storage: they are numbers.
const LONGEST_KEY: usize = 256;

/// A thing's place in the list of all.
pub(super) type Id = u32;

/// A thing.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// What holds no weights.
    Opaque,
    None,
    Bool(bool),
    Int(i64),
    Text(String),
    /// Tuples, lists, sets
    List(Vec<Id>),
    Mapping(Vec<(Id, Id)>),
    /// A mapping that gets its entries when its state is set.
    ParameterDict(Vec<(Id, Id)>),
    Global(Global),
    Storage(Storage),
    Tensor(Tensor),
}

/// A run of elements beside the pickle.
#[derive(Debug, Clone)]
pub(super) struct Storage {
    /// `None` for a storage of bytes, whose tensors say their types.
    pub(super) dtype: Option<Dtype>,
    pub(super) key: String,
    /// Elements, or bytes.
    pub(super) count: u64,
}

/// A view of a storage.
#[derive(Debug, Clone)]
pub(super) struct Tensor {
    pub(super) storage: Storage,
    pub(super) dtype: Dtype,
    pub(super) offset: u64,
    pub(super) shape: Vec<u64>,
    pub(super) strides: Vec<u64>,
}

/// All that a pickle made, and which thing it is.
pub(super) struct Unpickled {
    pub(super) values: Vec<Value>,
    pub(super) root: Id,
}

/// Reads the pickle at a cursor, which is behind it afterwards.
pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Unpickled, Error> {
    let mut machine = Machine {
        cursor,
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        copied: 0,
    };
    while machine.step()? {}
    let root = machine.pop()?;
    Ok(Unpickled { values: machine.values, root })
}

struct Machine<'a, 'b> {
    cursor: &'a mut Cursor<'b>,
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// References that calls copied.
    copied: usize,
}

impl Machine<'_, '_> {
    /// One operation; false for the last one.
    fn step(&mut self) -> Result<bool, Error> {
        match self.cursor.u8()? {
            b'.' => return Ok(false),
            0x80 => match self.cursor.u8()? {
                2..=5 => {}
                version => return Err(self.wrong("protocol 2 to 5", format!("protocol {version}"))),
            },
            0x95 => self.cursor.skip(8)?, // the length of what follows, for who reads ahead
            b'(' => {
                self.check_count(self.marks.len())?;
                self.marks.push(self.stack.len());
            }
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            code @ (b'N' | 0x88 | 0x89 | b'J' | b'K' | b'M' | 0x8a | 0x8b | b'G') => self.scalar(code)?,
            code @ (b'X' | 0x8c | 0x8d | b'U' | b'T' | b'B' | b'C' | 0x8e) => self.string(code)?,
            b']' | b')' | 0x8f => self.push(Value::List(Vec::new()))?,
            b'}' => self.push(Value::Mapping(Vec::new()))?,
            b'a' => {
                let item = self.pop()?;
                self.extend(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_to_mark()?;
                self.extend(items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.insert(vec![(key, value)])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                let pairs = self.pairs(&items)?;
                self.insert(pairs)?;
            }
            b't' | b'l' | 0x91 => {
                let items = self.pop_to_mark()?;
                self.push(Value::List(items))?;
            }
            b'd' => {
                let items = self.pop_to_mark()?;
                let pairs = self.pairs(&items)?;
                self.push(Value::Mapping(pairs))?;
            }
            code @ 0x85..=0x87 => {
                let count = usize::from(code - 0x84);
                let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
                items.reverse();
                self.push(Value::List(items))?;
            }
            code @ (b'q' | b'r' | 0x94 | b'h' | b'j') => self.remember(code)?,
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(&module, &name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (module, name) = (self.text(module)?, self.text(name)?);
                self.global(&module, &name)?;
            }
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                let made = self.call(callable, arguments)?;
                self.push(made)?;
            }
            b'b' => {
                let state = self.pop()?;
                self.build(state)?;
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(id)?;
                self.push(Value::Storage(storage))?;
            }
            code => {
                let found = format!("the operation {code:#04x} at byte {}", self.cursor.at() - 1);
                return Err(self.wrong("the operations that describe tensors", found));
            }
        }
        Ok(true)
    }

    fn scalar(&mut self, code: u8) -> Result<(), Error> {
        let value = match code {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'J' => Value::Int(i64::from(self.cursor.u32()? as i32)),
            b'K' => Value::Int(i64::from(self.cursor.u8()?)),
            b'M' => Value::Int(i64::from(self.cursor.u16()?)),
            b'G' => {
                self.cursor.skip(8)?;
                Value::Opaque
            }
            _ => {
                let length =
                    if code == 0x8a { u64::from(self.cursor.u8()?) } else { u64::from(self.cursor.u32()?) };
                let bytes = self.cursor.take(length)?;
                // Little-endian with a sign; what is longer is nobody's size.
                let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
                let mut wide = [if negative { 0xff } else { 0 }; 8];
                match wide.get_mut(..bytes.len()) {
                    Some(low) => {
                        low.copy_from_slice(bytes);
                        Value::Int(i64::from_le_bytes(wide))
                    }
                    None => Value::Opaque,
                }
            }
        };
        self.push(value)
    }

    fn string(&mut self, code: u8) -> Result<(), Error> {
        let length = match code {
            0x8c | b'U' | b'C' => u64::from(self.cursor.u8()?),
            b'X' | b'T' | b'B' => u64::from(self.cursor.u32()?),
            _ => self.cursor.u64()?,
        };
        let value = match code {
            b'B' | b'C' | 0x8e => {
                self.cursor.skip(length)?;
                Value::Opaque
            }
            // Python 2's strings are bytes; names are ASCII.
            b'U' | b'T' => Value::Text(String::from_utf8_lossy(self.cursor.take(length)?).into_owned()),
            _ => Value::Text(self.cursor.text(length)?),
        };
        self.push(value)
    }

    fn remember(&mut self, code: u8) -> Result<(), Error> {
        let key = match code {
            b'q' | b'h' => u32::from(self.cursor.u8()?),
            b'r' | b'j' => self.cursor.u32()?,
            _ => self.memo.len() as u32,
        };
        if let b'h' | b'j' = code {
            let id = self.memo.get(&key).copied();
            let id = id.ok_or_else(|| self.wrong("things that it remembers", format!("none at {key}")))?;
            self.check_count(self.stack.len())?;
            self.stack.push(id);
        } else {
            let id = self.top()?;
            self.check_count(self.memo.len())?;
            self.memo.insert(key, id);
        }
        Ok(())
    }

    /// A line of text, without its end.
    fn line(&mut self) -> Result<String, Error> {
        const LONGEST: usize = 1 << 10;
        let mut line = Vec::new();
        loop {
            match self.cursor.u8()? {
                b'\n' => return Ok(String::from_utf8_lossy(&line).into_owned()),
                _ if line.len() == LONGEST => return Err(self.wrong("names of Python's", "a long line")),
                byte => line.push(byte),
            }
        }
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), Error> {
        match Global::of(module, name) {
            Some(global) => self.push(Value::Global(global)),
            None => Err(self.cursor.unsupported(
                format!("a pickle that wants Python's `{module}.{name}`"),
                "hypersd runs nothing that a file asks for: take the .safetensors file of the same model, or save only \
                 its state_dict",
            )),
        }
    }

    /// What a call makes.
    fn call(&mut self, callable: Id, arguments: Id) -> Result<Value, Error> {
        let Value::Global(global) = self.values[callable as usize] else {
            return Err(self.wrong("calls of what it names", "a call of something else"));
        };
        let arguments = self.list(arguments)?;
        let first = arguments.first().copied();
        Ok(match (global, first.map(|id| &self.values[id as usize])) {
            (Global::Mapping, Some(Value::List(_))) => {
                let items = self.copy(|machine| machine.items(first))?;
                Value::Mapping(self.entries(&items)?)
            }
            (Global::Mapping, Some(Value::Mapping(_))) => {
                Value::Mapping(self.copy(|machine| machine.mapping(first))?)
            }
            (Global::Mapping, _) => Value::Mapping(Vec::new()),
            (Global::ParameterDict, _) => Value::ParameterDict(Vec::new()),
            (Global::Tensor | Global::TypedTensor, _) => Value::Tensor(self.tensor(&arguments, global)?),
            (Global::Parameter, Some(Value::Tensor(tensor))) => Value::Tensor(tensor.clone()),
            (Global::Size, Some(Value::List(_))) => Value::List(self.copy(|machine| machine.items(first))?),
            (Global::Opaque, _) => Value::Opaque,
            _ => return Err(self.wrong("calls that make tensors", format!("a call of {global:?}"))),
        })
    }

    fn items(&self, id: Option<Id>) -> Option<&Vec<Id>> {
        match &self.values[id? as usize] {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    fn mapping(&self, id: Option<Id>) -> Option<&Vec<(Id, Id)>> {
        match &self.values[id? as usize] {
            Value::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    /// The items of a list that are pairs, as entries.
    fn entries(&self, items: &[Id]) -> Result<Vec<(Id, Id)>, Error> {
        let pair = |&item: &Id| match &self.values[item as usize] {
            Value::List(pair) if pair.len() == 2 => Ok((pair[0], pair[1])),
            _ => Err(self.wrong("mappings of pairs", "something else in one")),
        };
        items.iter().map(pair).collect()
    }

    fn tensor(&self, arguments: &[Id], global: Global) -> Result<Tensor, Error> {
        let wrong = || self.wrong("tensors of a storage, an offset, a shape and strides", "something else");
        let argument = |at: usize| arguments.get(at).map(|&id| &self.values[id as usize]);
        let Some(Value::Storage(storage)) = argument(0) else { return Err(wrong()) };
        let whole = |value: &Value| match value {
            Value::Int(number) => u64::try_from(*number).map_err(|_| wrong()),
            _ => Err(wrong()),
        };
        let extents = |at: usize| match argument(at) {
            Some(Value::List(items)) if items.len() <= MOST_EXTENTS => {
                items.iter().map(|&id| whole(&self.values[id as usize])).collect::<Result<Vec<_>, _>>()
            }
            _ => Err(wrong()),
        };
        let (shape, strides) = (extents(2)?, extents(3)?);
        if shape.len() != strides.len() {
            return Err(wrong());
        }
        let dtype = match (global, argument(6)) {
            (Global::TypedTensor, Some(Value::Global(Global::Elements(dtype)))) => *dtype,
            (Global::TypedTensor, _) => return Err(wrong()),
            _ => storage.dtype.ok_or_else(wrong)?,
        };
        let offset = whole(argument(1).ok_or_else(wrong)?)?;
        Ok(Tensor { storage: storage.clone(), dtype, offset, shape, strides })
    }

    /// The storage that a tuple stands for: `("storage", type, key, device, count)`, and in old files what it is a part of.
    fn storage(&self, id: Id) -> Result<Storage, Error> {
        let wrong = || self.wrong("references to storages", "another reference");
        let parts = self.list(id)?;
        let part = |at: usize| parts.get(at).map(|&id| &self.values[id as usize]);
        match [part(0), part(1), part(2), part(4)] {
            [
                Some(Value::Text(kind)),
                Some(Value::Global(Global::Storage(dtype))),
                Some(Value::Text(key)),
                Some(Value::Int(count)),
            ] if kind == "storage"
                && key.len() <= LONGEST_KEY
                && matches!(part(5), None | Some(Value::None)) =>
            {
                Ok(Storage {
                    dtype: *dtype,
                    key: key.clone(),
                    count: u64::try_from(*count).map_err(|_| wrong())?,
                })
            }
            _ => Err(wrong()),
        }
    }

    /// Sets the state of what is on top of the stack. Mappings have theirs for what is no entry of them.
    fn build(&mut self, state: Id) -> Result<(), Error> {
        let top = self.top()?;
        let Value::ParameterDict(_) = self.values[top as usize] else { return Ok(()) };
        let is_parameters =
            |id: Id| matches!(&self.values[id as usize], Value::Text(key) if key == "_parameters");
        let found =
            self.mapping(Some(state)).and_then(|state| state.iter().find(|(key, _)| is_parameters(*key)));
        if let Some(&(_, parameters)) = found {
            let entries = self.copy(|machine| machine.mapping(Some(parameters)))?;
            self.values[top as usize] = Value::Mapping(entries);
        }
        Ok(())
    }

    fn extend(&mut self, items: Vec<Id>) -> Result<(), Error> {
        let top = self.top()?;
        match &mut self.values[top as usize] {
            Value::List(list) => list.extend(items),
            Value::Opaque => {}
            _ => return Err(self.wrong("items of lists", "items of something else")),
        }
        Ok(())
    }

    fn insert(&mut self, pairs: Vec<(Id, Id)>) -> Result<(), Error> {
        let top = self.top()?;
        match &mut self.values[top as usize] {
            Value::Mapping(entries) | Value::ParameterDict(entries) => entries.extend(pairs),
            Value::Opaque => {}
            _ => return Err(self.wrong("entries of mappings", "entries of something else")),
        }
        Ok(())
    }

    fn pairs(&self, items: &[Id]) -> Result<Vec<(Id, Id)>, Error> {
        match items.as_chunks::<2>() {
            (pairs, []) => Ok(pairs.iter().map(|&[key, value]| (key, value)).collect()),
            _ => Err(self.wrong("a value for every key", "a key alone")),
        }
    }

    fn push(&mut self, value: Value) -> Result<(), Error> {
        self.check_count(self.values.len())?;
        self.stack.push(self.values.len() as Id);
        self.values.push(value);
        Ok(())
    }

    /// Makes sure that one more of something may be there: a small file must not ask for all memory.
    fn check_count(&self, count: usize) -> Result<(), Error> {
        if count < MOST { Ok(()) } else { Err(self.wrong(&format!("at most {MOST} things"), "more")) }
    }

    /// Counts references that are copied, of which a loop over a long list could make any number.
    fn copy<T: Clone>(&mut self, references: impl Fn(&Self) -> Option<&Vec<T>>) -> Result<Vec<T>, Error> {
        let count = references(self).map_or(0, Vec::len);
        self.copied += count;
        self.check_count(self.copied)?;
        Ok(references(self).cloned().unwrap_or_default())
    }

    /// The height below which nothing is taken.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Id, Error> {
        match self.stack.len() > self.floor() {
            true => self.stack.pop().ok_or_else(|| self.empty()),
            false => Err(self.empty()),
        }
    }

    fn top(&self) -> Result<Id, Error> {
        self.stack[self.floor()..].last().copied().ok_or_else(|| self.empty())
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, Error> {
        let mark = self.marks.pop().ok_or_else(|| self.empty())?;
        Ok(self.stack.split_off(mark))
    }

    fn list(&self, id: Id) -> Result<Vec<Id>, Error> {
        match &self.values[id as usize] {
            Value::List(items) if items.len() <= MOST_ARGUMENTS => Ok(items.clone()),
            _ => Err(self.wrong("tuples of arguments", "something else")),
        }
    }

    fn text(&self, id: Id) -> Result<String, Error> {
        match &self.values[id as usize] {
            Value::Text(text) => Ok(text.clone()),
            _ => Err(self.wrong("names of Python's", "something else")),
        }
    }

    fn empty(&self) -> Error {
        self.wrong("operands for every operation", "none")
    }

    fn wrong(&self, expected: &str, found: impl std::fmt::Display) -> Error {
        self.cursor.wrong(&format!("a pickle of {expected}"), found)
    }
}
