//! The words of the schema: what a value may look like, as data. [`super::table`] says with them what the file may
//! hold; decoding, defaults, the JSON schema and the reference page are all read off that one table.

use serde_json::Value;

/// What a value may look like.
#[derive(Debug)]
pub enum Shape {
    /// Text in a certain format.
    Text(&'static Format),
    /// A whole number between the two, both allowed.
    Whole(u64, u64),
    /// `true` or `false`.
    Flag,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// One, or a list of at least one; a list in the end.
    Several(&'static Shape),
    /// A list; the flag says whether it must hold something.
    List(&'static Shape, Least),
    /// A mapping whose keys the user chooses.
    Map(&'static Format, &'static Shape),
    /// A mapping with known keys.
    Object(&'static Object),
    /// A mapping that is passed on as it is.
    Free,
}

/// How many elements a list needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Least {
    /// May be empty.
    None,
    /// At least one.
    One,
}

/// A mapping with known keys.
#[derive(Debug)]
pub struct Object {
    /// One sentence for editors and the reference.
    pub doc: &'static str,
    /// Its keys in the order in which the reference shows them.
    pub fields: &'static [Field],
}

/// One known key.
#[derive(Debug)]
pub struct Field {
    /// The key.
    pub key: &'static str,
    /// What its value may look like.
    pub shape: Shape,
    /// What holds when it is left out.
    pub presence: Presence,
    /// One sentence for editors and the reference.
    pub doc: &'static str,
}

/// What holds when a key is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It may not be left out.
    Required,
    /// As if this had been written.
    Default(&'static str),
    /// As if an empty list, mapping or object had been written; an object's own defaults apply.
    Empty,
    /// It stays unset; the sentence on the field says what that means.
    Unset,
}

/// What text must look like.
#[derive(Debug)]
pub struct Format {
    /// Completes "… is not …", such as "a DNS label".
    pub what: &'static str,
    /// Code of the finding when it is not.
    pub code: &'static str,
    /// Says what is wrong.
    pub check: fn(&str) -> Result<(), String>,
    /// A value of that format, for examples, and in place of one that could not be read so that the rest can be checked.
    pub example: &'static str,
    /// Whether numbers and booleans are taken as their text, as in label values and flags.
    pub loose: bool,
}

impl Object {
    /// The field of that key.
    pub fn field(&self, key: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.key == key)
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.fields.iter().map(|field| field.key)
    }

    /// The object as if every key had been left out, with stand-ins for those that may not be.
    pub fn stand_in(&self) -> Value {
        let value = |field: &Field| field.when_left_out().unwrap_or_else(|| field.shape.stand_in());
        self.fields.iter().map(|field| (field.key.to_owned(), value(field))).collect()
    }
}

impl Shape {
    /// Completes "… is expected".
    pub fn expectation(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Whole(..) => "a whole number",
            Self::Flag => "true or false",
            Self::OneOf(_) => "one word",
            Self::Several(_) => "one value or a list",
            Self::List(..) => "a list",
            Self::Map(..) | Self::Object(_) | Self::Free => "a mapping",
        }
    }

    /// A value of this shape, in place of one that could not be read.
    pub fn stand_in(&self) -> Value {
        match self {
            Self::Text(format) => Value::from(format.example),
            Self::Whole(least, _) => Value::from(*least),
            Self::Flag => Value::from(false),
            Self::OneOf(words) => words.first().map_or(Value::Null, |word| Value::from(*word)),
            Self::Several(_) | Self::List(..) => Value::Array(Vec::new()),
            Self::Map(..) | Self::Free => Value::Object(serde_json::Map::new()),
            Self::Object(object) => object.stand_in(),
        }
    }
}

impl Field {
    /// The value when the key is left out; `None` if it may not be.
    pub fn when_left_out(&self) -> Option<Value> {
        match self.presence {
            Presence::Required => None,
            Presence::Unset => Some(Value::Null),
            Presence::Empty => Some(self.shape.stand_in()),
            // A number or a flag is written in the table as in the file.
            Presence::Default(text) => Some(match self.shape {
                Shape::Whole(..) | Shape::Flag => serde_json::from_str(text).unwrap_or(Value::Null),
                _ => Value::from(text),
            }),
        }
    }
}
