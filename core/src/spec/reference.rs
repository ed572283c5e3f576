//! The table as a page for people: `docs/reference/spec.md`.

use std::fmt::Write;

use super::shape::{Field, Least, Object, Presence, Shape};
use super::table;

/// The page.
pub fn page() -> String {
    let mut page = String::from(
        "# The spec\n\n\
         Every key that a file may hold. Keys are strict: an unknown one is an error. `kubewright init` writes a file to begin \
         with, `kubewright validate` draws each mistake on its line ([findings](findings.md)), and editors that understand \
         JSON Schema complete and check it with [cluster.schema.json](cluster.schema.json).\n",
    );
    let mut shown = Vec::new();
    section(&mut page, "", &table::FILE, &mut shown);
    page
}

/// An object, then the objects in it; those that were shown under another path are referred to.
fn section(page: &mut String, path: &str, object: &'static Object, shown: &mut Vec<(&'static Object, String)>) {
    let title = if path.is_empty() { "The file".to_owned() } else { format!("`{path}`") };
    // Writing to a String cannot fail.
    let _ = write!(page, "\n## {title}\n\n{}\n\n", object.doc);
    page.push_str("| key | value | when left out | |\n| --- | --- | --- | --- |\n");
    shown.push((object, path.to_owned()));
    let mut below: Vec<(String, &'static Object)> = Vec::new();
    for field in object.fields {
        let at = if path.is_empty() { field.key.to_owned() } else { format!("{path}.{}", field.key) };
        let mut value = words(&field.shape);
        if let Some((object, suffix)) = inner(&field.shape) {
            let at = format!("{at}{suffix}");
            let before = shown.iter().map(|(known, place)| (*known, place.as_str()));
            let here = below.iter().map(|(place, known)| (*known, place.as_str()));
            match before.chain(here).find(|(known, _)| same(known, object)) {
                Some((_, place)) => value = format!("{value}, as `{place}`"),
                None => below.push((at, object)),
            }
        }
        let _ = writeln!(page, "| `{}` | {value} | {} | {} |", field.key, left_out(field), escaped(field.doc));
    }
    for (at, object) in below {
        if !shown.iter().any(|(known, _)| same(known, object)) {
            section(page, &at, object, shown);
        }
    }
}

/// Constants have no address of their own, so objects are told apart by what they hold.
fn same(one: &Object, other: &Object) -> bool {
    one.doc == other.doc && one.keys().eq(other.keys())
}

/// The object within a shape, and what its path ends with.
fn inner(shape: &Shape) -> Option<(&'static Object, &'static str)> {
    match shape {
        Shape::Object(object) => Some((object, "")),
        Shape::List(Shape::Object(object), _) => Some((object, "[]")),
        Shape::Map(_, Shape::Object(object)) => Some((object, ".<name>")),
        _ => None,
    }
}

fn words(shape: &Shape) -> String {
    match shape {
        // Many formats name an example themselves.
        Shape::Text(format) if format.what.contains("such as") => escaped(format.what),
        Shape::Text(format) => format!("{}, such as `{}`", escaped(format.what), escaped(format.example)),
        Shape::Whole(least, most) => format!("{least} to {most}"),
        Shape::Flag => "`true` or `false`".to_owned(),
        Shape::OneOf(choices) => choices.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" "),
        Shape::Several(element) => format!("{}; or a list of them", words(element)),
        Shape::List(element, Least::One) => format!("list of at least one: {}", words(element)),
        Shape::List(element, Least::None) => format!("list: {}", words(element)),
        Shape::Map(key, value) => format!("mapping from {} to {}", escaped(key.what), words(value)),
        Shape::Object(_) => "mapping".to_owned(),
        Shape::Free => "mapping, passed on as it is".to_owned(),
    }
}

fn left_out(field: &Field) -> String {
    match field.presence {
        Presence::Required => "**required**".to_owned(),
        Presence::Default("") => "empty".to_owned(),
        Presence::Default(text) => format!("`{}`", escaped(text)),
        Presence::Empty => "empty".to_owned(),
        Presence::Unset => "unset".to_owned(),
    }
}

/// Cells end at a bar.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}
