//! The header of a GGUF file: settings, then what lies where.

use std::collections::BTreeMap;

use super::{ElementKind, Entry, blocks::Blocks};
use crate::{cursor::Cursor, error::Error, file::Bytes, host::Dtype, location::Location, numbers};

/// What ComfyUI-GGUF's converter puts before a tensor's name where it wrote the tensor in another shape, because the last
/// extent does not divide into blocks.
const ORIGINAL_SHAPE: &str = "comfy.gguf.orig_shape.";
const ALIGNMENT: &str = "general.alignment";
/// The alignment where the file does not say another.
const DEFAULT_ALIGNMENT: u64 = 32;
/// Most extents of a tensor: ggml has four.
const MOST_EXTENTS: u64 = 8;
const LONGEST_NAME: u64 = 1 << 16;
/// Most bytes that a header may have. Those of language models, which list a vocabulary, have some 10 million.
const LONGEST: u64 = 100_000_000;

/// The tensors of a file, by their names.
pub(super) fn read(location: &Location, bytes: &Bytes) -> Result<BTreeMap<String, Entry>, Error> {
    let mut cursor = Cursor::new(location, bytes, 0..bytes.size(), LONGEST, "a GGUF file");
    cursor.skip(4)?; // the magic number, by which it is known
    check_version(&mut cursor)?;
    let (tensors, settings) = (cursor.u64()?, cursor.u64()?);
    let mut reader = Reader { cursor, alignment: DEFAULT_ALIGNMENT, shapes: BTreeMap::new() };
    for _ in 0..settings {
        reader.setting()?;
    }
    let mut entries = BTreeMap::new();
    for _ in 0..tensors {
        let (name, entry) = reader.tensor()?;
        if let Some(_other) = entries.insert(name.clone(), entry) {
            return Err(reader.cursor.wrong("tensors of different names", format!("two called {name:?}")));
        }
    }
    let start = reader.cursor.at().next_multiple_of(reader.alignment);
    for (name, entry) in &mut entries {
        place(&reader.cursor, start, bytes.size(), name, entry)?;
    }
    Ok(entries)
}

fn check_version(cursor: &mut Cursor<'_>) -> Result<(), Error> {
    match cursor.u32()? {
        2 | 3 => Ok(()),
        1 => Err(cursor.unsupported("version 1 of GGUF", "convert the model again with a newer program")),
        other if matches!(other.swap_bytes(), 1..=3) => Err(cursor
            .unsupported("GGUF for machines of the other byte order", "convert the model again on this one")),
        other => Err(cursor.wrong("version 2 or 3", format!("version {other}"))),
    }
}

/// Moves the place of a tensor from where the data begin to the file's beginning, and checks that the file has it.
fn place(cursor: &Cursor<'_>, start: u64, size: u64, name: &str, entry: &mut Entry) -> Result<(), Error> {
    let place = |offset: u64| start.checked_add(offset).filter(|&at| at <= size);
    let (Some(from), Some(to)) = (place(entry.bytes.start), place(entry.bytes.end)) else {
        let found = format!("{size} bytes, which end before tensor {name:?} does: truncated or damaged");
        return Err(cursor.wrong("all of its tensors", found));
    };
    entry.bytes = from..to;
    Ok(())
}

struct Reader<'a> {
    cursor: Cursor<'a>,
    alignment: u64,
    /// Tensor name to the shape that it had before it was written.
    shapes: BTreeMap<String, Vec<usize>>,
}

impl Reader<'_> {
    fn setting(&mut self) -> Result<(), Error> {
        let key = self.name()?;
        let kind = self.cursor.u32()?;
        if key == ALIGNMENT {
            self.alignment = match kind {
                UINT32 => u64::from(self.cursor.u32()?),
                _ => 0,
            };
            if !self.alignment.is_power_of_two() {
                return Err(self.cursor.wrong("a power of two as alignment", self.alignment));
            }
        } else if let Some(tensor) = key.strip_prefix(ORIGINAL_SHAPE).filter(|_| kind == ARRAY) {
            let shape = self.shape(&key)?;
            self.shapes.insert(tensor.to_string(), shape);
        } else {
            self.skip(kind)?;
        }
        Ok(())
    }

    fn name(&mut self) -> Result<String, Error> {
        match self.cursor.u64()? {
            length @ ..=LONGEST_NAME => self.cursor.text(length),
            length => {
                let expected = format!("names of at most {LONGEST_NAME} bytes");
                Err(self.cursor.wrong(&expected, format!("one of {length}")))
            }
        }
    }

    /// An array of integers.
    fn shape(&mut self, key: &str) -> Result<Vec<usize>, Error> {
        let (kind, count) = (self.cursor.u32()?, self.cursor.u64()?);
        let width = scalar_width(kind).filter(|_| !matches!(kind, FLOAT32 | FLOAT64 | BOOL));
        let (Some(width), 1..=MOST_EXTENTS) = (width, count) else {
            let expected = format!("{key:?} as 1 to {MOST_EXTENTS} integers");
            return Err(self.cursor.wrong(&expected, format!("{count} values of type {kind}")));
        };
        (0..count).map(|_| self.cursor.integer(width).map(|extent| extent as usize)).collect()
    }

    /// Skips a value.
    fn skip(&mut self, kind: u32) -> Result<(), Error> {
        if let Some(width) = scalar_width(kind) {
            return self.cursor.skip(width);
        }
        match kind {
            STRING => {
                let length = self.cursor.u64()?;
                self.cursor.skip(length)
            }
            ARRAY => {
                let (kind, count) = (self.cursor.u32()?, self.cursor.u64()?);
                match (scalar_width(kind), kind) {
                    (Some(width), _) => self.cursor.skip(width.saturating_mul(count)),
                    // Each takes bytes of the header, which is not endless.
                    (None, STRING) => (0..count).try_for_each(|_| self.skip(STRING)),
                    _ => Err(self.cursor.wrong("arrays of scalars and strings", format!("type {kind}"))),
                }
            }
            _ => Err(self.cursor.wrong("settings of types that GGUF has", format!("type {kind}"))),
        }
    }

    /// The name of a tensor and what is said of it, its place counted from where the data begin.
    fn tensor(&mut self) -> Result<(String, Entry), Error> {
        let name = self.name()?;
        let extents = u64::from(self.cursor.u32()?);
        if extents > MOST_EXTENTS {
            let expected = format!("at most {MOST_EXTENTS} extents of {name:?}");
            return Err(self.cursor.wrong(&expected, extents));
        }
        // The innermost comes first.
        let stored: Vec<u64> = (0..extents).map(|_| self.cursor.u64()).collect::<Result<_, _>>()?;
        let kind = self.cursor.u32()?;
        let offset = self.cursor.u64()?;
        let kind = ElementKind::of(kind)
            .ok_or_else(|| self.cursor.wrong(&format!("a type of {name:?} that ggml has"), kind))?;

        let extent = |&extent: &u64| usize::try_from(extent).ok();
        let shape: Option<Vec<usize>> = stored.iter().rev().map(extent).collect();
        let elements = |shape: &[usize]| shape.iter().try_fold(1_usize, |n, &extent| n.checked_mul(extent));
        let count = shape.as_deref().and_then(elements);
        let size = count.and_then(|count| kind.size(count, stored.first().copied().unwrap_or(1)));
        let end = size.and_then(|size| offset.checked_add(size));
        let (Some(shape), Some(count), Some(end)) = (shape, count, end) else {
            let expected = format!("a shape of {name:?} that divides into blocks and fits memory");
            return Err(self.cursor.wrong(&expected, format!("{stored:?}, {}", kind.dtype())));
        };
        if !offset.is_multiple_of(self.alignment) {
            let expected = format!("{name:?} at a multiple of {} bytes", self.alignment);
            return Err(self.cursor.wrong(&expected, offset));
        }
        let shape = match self.shapes.remove(&name) {
            Some(original) if elements(&original) == Some(count) => original,
            Some(original) => {
                let expected = format!("{name:?} in its original shape, {original:?}");
                return Err(self.cursor.wrong(&expected, format!("{shape:?}")));
            }
            None => shape,
        };
        Ok((name, Entry { shape, kind, bytes: offset..end }))
    }
}

const FLOAT32: u32 = 6;
const BOOL: u32 = 7;
const UINT32: u32 = 4;
const STRING: u32 = 8;
const ARRAY: u32 = 9;
const FLOAT64: u32 = 12;

/// Bytes of a setting's value, if it is a scalar.
fn scalar_width(kind: u32) -> Option<u64> {
    Some(match kind {
        0 | 1 | BOOL => 1,         // u8, i8
        2 | 3 => 2,                // u16, i16
        UINT32 | 5 | FLOAT32 => 4, // u32, i32
        10 | 11 | FLOAT64 => 8,    // u64, i64
        _ => return None,
    })
}

impl ElementKind {
    /// ggml's numbers for types of elements.
    fn of(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Plain(Dtype::F32),
            1 => Self::Plain(Dtype::F16),
            24 => Self::Plain(Dtype::Integer("I8")),
            25 => Self::Plain(Dtype::Integer("I16")),
            26 => Self::Plain(Dtype::Integer("I32")),
            27 => Self::Plain(Dtype::Integer("I64")),
            28 => Self::Plain(Dtype::F64),
            30 => Self::Plain(Dtype::BF16),
            9 => Self::Unread("Q8_1"),
            15 => Self::Unread("Q8_K"),
            16 => Self::Unread("IQ2_XXS"),
            17 => Self::Unread("IQ2_XS"),
            18 => Self::Unread("IQ3_XXS"),
            19 => Self::Unread("IQ1_S"),
            20 => Self::Unread("IQ4_NL"),
            21 => Self::Unread("IQ3_S"),
            22 => Self::Unread("IQ2_S"),
            23 => Self::Unread("IQ4_XS"),
            29 => Self::Unread("IQ1_M"),
            34 => Self::Unread("TQ1_0"),
            35 => Self::Unread("TQ2_0"),
            39 => Self::Unread("MXFP4"),
            number => Self::Blocks(Blocks::of(number)?),
        })
    }

    /// Bytes of so many elements in rows of `row`; `None` where they do not divide into blocks or cannot be counted.
    fn size(self, elements: usize, row: u64) -> Option<u64> {
        let elements = u64::try_from(elements).ok()?;
        match self {
            Self::Plain(dtype) => elements.checked_mul(numbers::width(dtype)? as u64),
            Self::Blocks(blocks) => {
                let whole = row.is_multiple_of(blocks.elements as u64);
                (whole.then_some(elements / blocks.elements as u64))?.checked_mul(blocks.bytes as u64)
            }
            Self::Unread(_) => Some(0),
        }
    }
}
