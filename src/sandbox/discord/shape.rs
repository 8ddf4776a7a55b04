//! Shapes of request bodies, as data, and the check of a body against one. Stricter than Discord, which overlooks unknown fields.

use serde_json::Value;

use super::refusal::{Problem, Refusal};
use super::snowflake::Snowflake;

/// What a value must be. `null` passes wherever the field is not required.
pub(super) enum Shape {
    /// A string of so many characters.
    Text {
        least: usize,
        most: usize,
    },
    /// An integer.
    Integer {
        least: i64,
        most: i64,
    },
    /// A number.
    Number,
    Flag,
    /// A snowflake, as a string or a number.
    Id,
    /// An ISO 8601 time.
    Time,
    /// One of these numbers.
    Choice(&'static [i64]),
    /// One of these words.
    Word(&'static [&'static str]),
    List {
        least: usize,
        most: usize,
        of: &'static Shape,
    },
    Object(&'static [Field]),
    /// A string, or an integer or a float: the value of a choice, or a nonce.
    Scalar {
        most: usize,
    },
    /// Text by language; the emulator speaks one.
    Localised {
        most: usize,
    },
    /// The shape depends on the value; `None` if no shape fits.
    By(fn(&Value) -> Option<&'static Shape>),
}

/// A field of an object.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) required: bool,
    pub(super) shape: Shape,
}

pub(super) const fn required(name: &'static str, shape: Shape) -> Field {
    Field { name, required: true, shape }
}

pub(super) const fn optional(name: &'static str, shape: Shape) -> Field {
    Field { name, required: false, shape }
}

pub(super) const fn text(most: usize) -> Shape {
    Shape::Text { least: 0, most }
}

pub(super) const fn list(most: usize, of: &'static Shape) -> Shape {
    Shape::List { least: 0, most, of }
}

/// Any URL that Discord takes.
pub(super) const URL: Shape = Shape::Text { least: 1, most: 2048 };

/// A set of bits.
pub(super) const BITS: Shape = Shape::Integer { least: 0, most: 1 << 30 };

impl Shape {
    /// Checks a whole body.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn check(&self, body: &Value) -> Result<(), Refusal> {
        let mut problems = Vec::new();
        self.find(body, &mut Vec::new(), &mut problems);
        if problems.is_empty() { Ok(()) } else { Err(Refusal::Invalid(problems)) }
    }

    fn find(&self, value: &Value, path: &mut Vec<String>, problems: &mut Vec<Problem>) {
        let mut wrong = |code, message: String| problems.push(Problem { path: path.clone(), code, message });
        match self {
            Self::Text { least, most } => match value.as_str() {
                Some(text) => length(text.chars().count(), *least, *most, &mut wrong),
                None => wrong("BASE_TYPE_STRING", "Could not interpret value as string.".into()),
            },
            Self::Integer { least, most } => match value.as_i64().or_else(|| value.as_str()?.parse().ok()) {
                Some(number) if number < *least => {
                    wrong("NUMBER_TYPE_MIN", format!("int value should be greater than or equal to {least}."));
                }
                Some(number) if number > *most => {
                    wrong("NUMBER_TYPE_MAX", format!("int value should be less than or equal to {most}."));
                }
                Some(_) => {}
                None => wrong("NUMBER_TYPE_COERCE", "Value is not int.".into()),
            },
            Self::Number if !value.is_number() => wrong("NUMBER_TYPE_COERCE", "Value is not float.".into()),
            Self::Flag if !value.is_boolean() => wrong("BOOLEAN_TYPE_CONVERT", "Must be either true or false.".into()),
            Self::Id if id(value).is_none() => wrong("NUMBER_TYPE_COERCE", "Value is not snowflake.".into()),
            Self::Time if value.as_str().is_none_or(|text| text.parse::<jiff::Timestamp>().is_err()) => {
                wrong("DATE_TIME_TYPE_PARSE", "Could not parse value. Should be ISO8601.".into());
            }
            Self::Choice(known) if value.as_i64().is_none_or(|number| !known.contains(&number)) => {
                wrong("BASE_TYPE_CHOICES", format!("Value must be one of {known:?}."));
            }
            Self::Word(known) if value.as_str().is_none_or(|word| !known.contains(&word)) => {
                wrong("BASE_TYPE_CHOICES", format!("Value must be one of {known:?}."));
            }
            Self::Scalar { most } => match value.as_str() {
                Some(text) => length(text.chars().count(), 0, *most, &mut wrong),
                None if value.is_number() => {}
                None => wrong("BASE_TYPE_STRING", "Could not interpret value as string.".into()),
            },
            Self::Localised { most } => self.find_localised(value, *most, path, problems),
            Self::List { least, most, of } => match value.as_array() {
                Some(elements) => {
                    if !(*least..=*most).contains(&elements.len()) {
                        wrong("BASE_TYPE_BAD_LENGTH", format!("Must be between {least} and {most} in length."));
                    }
                    elements
                        .iter()
                        .enumerate()
                        .for_each(|(index, element)| at(path, &index.to_string(), |path| of.find(element, path, problems)));
                }
                None => wrong("LIST_TYPE_CONVERT", "Only iterables may be used in a ListType.".into()),
            },
            Self::Object(fields) => find_in_object(value, fields, path, problems),
            Self::By(choose) => match choose(value) {
                Some(shape) => shape.find(value, path, problems),
                None => at(path, "type", |path| {
                    let message = "Value of field \"type\" must be one of those that the emulator knows.".into();
                    problems.push(Problem { path: path.clone(), code: "UNION_TYPE_CHOICES", message });
                }),
            },
            Self::Number | Self::Flag | Self::Id | Self::Time | Self::Choice(_) | Self::Word(_) => {}
        }
    }

    fn find_localised(&self, value: &Value, most: usize, path: &mut Vec<String>, problems: &mut Vec<Problem>) {
        let Some(words) = value.as_object() else {
            let message = "Only dictionaries may be used in a DictType".into();
            return problems.push(Problem { path: path.clone(), code: "DICT_TYPE_CONVERT", message });
        };
        for (language, word) in words {
            at(path, language, |path| text(most).find(word, path, problems));
        }
    }
}

fn find_in_object(value: &Value, fields: &[Field], path: &mut Vec<String>, problems: &mut Vec<Problem>) {
    let Some(given) = value.as_object() else {
        let message = "Only dictionaries may be used in a ModelType".into();
        return problems.push(Problem { path: path.clone(), code: "MODEL_TYPE_CONVERT", message });
    };
    for field in fields {
        at(path, field.name, |path| match given.get(field.name).filter(|value| !value.is_null()) {
            Some(value) => field.shape.find(value, path, problems),
            None if field.required => {
                problems.push(Problem { path: path.clone(), code: "BASE_TYPE_REQUIRED", message: "This field is required".into() });
            }
            None => {}
        });
    }
    // What is null is not there: some clients say so of every field.
    let said = given.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name);
    for name in said.filter(|name| !fields.iter().any(|field| field.name == **name)) {
        at(path, name, |path| {
            problems.push(Problem { path: path.clone(), code: "UNKNOWN_FIELD", message: "The emulator knows no such field.".into() });
        });
    }
}

fn at(path: &mut Vec<String>, step: &str, look: impl FnOnce(&mut Vec<String>)) {
    path.push(step.to_owned());
    look(path);
    path.pop();
}

fn length(length: usize, least: usize, most: usize, wrong: &mut impl FnMut(&'static str, String)) {
    if length < least && length == 0 {
        wrong("BASE_TYPE_REQUIRED", "This field is required".into());
    } else if length < least || (length > most && least > 0) {
        wrong("BASE_TYPE_BAD_LENGTH", format!("Must be between {least} and {most} in length."));
    } else if length > most {
        wrong("BASE_TYPE_MAX_LENGTH", format!("Must be {most} or fewer in length."));
    }
}

/// A snowflake in JSON.
pub(super) fn id(value: &Value) -> Option<Snowflake> {
    value.as_u64().map(Snowflake::new).or_else(|| value.as_str()?.parse().ok())
}
