//! Objects of JavaScript, read strictly: a member that there is not is a mistake, which would else do nothing.

use js_sys::{Error, Object};
use serde::{
    Deserializer,
    de::{DeserializeOwned, Error as _, Visitor, value},
    forward_to_deserialize_any,
};
use wasm_bindgen::{JsCast, JsValue};

use crate::error::argument;

/// The struct that an object has the members of.
pub(crate) fn read<T: DeserializeOwned>(name: &str, value: JsValue) -> Result<T, Error> {
    if !value.is_object() {
        return Err(argument(name, "an object", format_args!("{value:?}")));
    }
    let members = members::<T>();
    let object: &Object = value.unchecked_ref();
    let keys = Object::keys(object);
    let mut names = keys.iter().filter_map(|key| key.as_string());
    if let Some(unknown) = names.find(|name| !members.contains(&name.as_str())) {
        return Err(argument(name, &format!("members {}", members.join(", ")), unknown));
    }
    serde_wasm_bindgen::from_value(value).map_err(|error| Error::new(&format!("{name}: {error}")))
}

/// The same, and the default where there is nothing.
pub(crate) fn read_or_default<T: DeserializeOwned + Default>(name: &str, value: JsValue) -> Result<T, Error> {
    if is_nothing(&value) { Ok(T::default()) } else { read(name, value) }
}

/// True for `undefined` and `null`.
pub(crate) fn is_nothing(value: &JsValue) -> bool {
    value.is_undefined() || value.is_null()
}

/// The names of a struct's fields as they are read.
fn members<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut members: &[&str] = &[];
    // It gives no value, only the names.
    let _ = T::deserialize(Members(&mut members));
    members
}

/// What is asked for the fields of a struct, and notes their names.
struct Members<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Members<'_> {
    type Error = value::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, value::Error> {
        *self.0 = fields;
        Err(value::Error::custom(name))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, value::Error> {
        Err(value::Error::custom("a struct was expected"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_known_by_the_names_that_are_read() {
        #[derive(Default, serde::Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Options {
            low_memory: bool,
            model: String,
        }
        assert_eq!(members::<Options>(), ["lowMemory", "model"]);
    }
}
