//! `Table` answers: what `kubectl get` prints.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::columns::{self, Column, Content, labels, plain};
use super::object::{at, number, put, time};
use super::resources::Resource;

/// What a row carries besides its cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    None,
    /// Metadata only.
    Metadata,
    /// The whole object.
    Object,
}

/// The objects as a table. A watch names the columns once, so later ones can be left out.
pub fn table<'a>(
    resource: &Resource,
    objects: impl IntoIterator<Item = &'a Value>,
    include: Include,
    with_columns: bool,
    now: Timestamp,
) -> Value {
    let columns = columns::of(resource);
    let definitions = || columns.iter().map(column_definition).collect::<Vec<_>>();
    let row = |object: &Value| {
        let mut row = json!({ "cells": columns.iter().map(|column| cell(column, object, now)).collect::<Vec<_>>() });
        match include {
            Include::None => {}
            Include::Metadata => put(&mut row, &["object"], metadata_only(object)),
            Include::Object => put(&mut row, &["object"], object.clone()),
        }
        row
    };
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {},
        "columnDefinitions": if with_columns { json!(definitions()) } else { Value::Null },
        "rows": objects.into_iter().map(row).collect::<Vec<_>>(),
    })
}

/// A `PartialObjectMetadata` of the object.
pub fn metadata_only(object: &Value) -> Value {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": at(object, &["metadata"]) })
}

fn column_definition(column: &Column) -> Value {
    let format = if column.name == "Name" { "name" } else { "" };
    json!({ "name": column.name, "type": "string", "format": format, "description": column.name, "priority": i32::from(column.wide) })
}

fn cell(column: &Column, object: &Value, now: Timestamp) -> String {
    match column.content {
        Content::Field(path) => plain(at(object, path)),
        Content::Count(path) => number(object, path).to_string(),
        Content::Age(path) => age(object, path, now),
        Content::Labels(path) => labels(at(object, path)),
        Content::From(read) => read(object),
    }
}

fn age(object: &Value, path: &[&str], now: Timestamp) -> String {
    time(object, path).map_or("<unknown>".into(), |since| human_duration(now.duration_since(since).as_secs().max(0)))
}

/// A duration in two units at most, as `kubectl` shows ages.
fn human_duration(seconds: i64) -> String {
    let pair = |big: i64, big_unit: &str, small: i64, small_unit: &str| {
        if small == 0 { format!("{big}{big_unit}") } else { format!("{big}{big_unit}{small}{small_unit}") }
    };
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => pair(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => pair(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => pair(days, "d", hours % 24, "h"),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let shown = [5, 119, 125, 600, 7_200, 10_860, 90_000, 183_600, 864_000].map(human_duration);
        assert_eq!(shown, ["5s", "119s", "2m5s", "10m", "120m", "3h1m", "25h", "2d3h", "10d"]);
    }
}
