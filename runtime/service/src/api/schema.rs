//! The OpenAPI descriptions of what the contract spells, which knows nothing of OpenAPI. Each stands under its own name.

use cipherloom_ir::wire::{self, Facts, Field, Form, JobState, Kind};
use serde::Serialize;
use std::borrow::Cow;
use std::marker::PhantomData;
use utoipa::openapi::schema::{
    ArrayBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

/// Describes facts by the fields that they list.
pub(super) struct Described<T>(PhantomData<T>);

pub(super) type Announcement = Described<wire::Announcement>;
pub(super) type ClientData = Described<wire::ClientData>;
pub(super) type Forgotten = Described<wire::Forgotten>;
pub(super) type JobFacts = Described<wire::JobFacts>;
pub(super) type KeyFacts = Described<wire::KeyFacts>;
pub(super) type ModelFacts = Described<wire::ModelFacts>;
pub(super) type Status = Described<wire::Status>;

impl<T: Facts> PartialSchema for Described<T> {
    fn schema() -> RefOr<Schema> {
        let all = ObjectBuilder::new().description(Some(T::ABOUT));
        let all = T::FIELDS.iter().fold(all, |all, field| {
            let all = all.property(field.name, property(field));
            if field.optional { all } else { all.required(field.name) }
        });
        all.build().into()
    }
}

impl<T: Facts> ToSchema for Described<T> {
    fn name() -> Cow<'static, str> {
        T::NAME.into()
    }
}

fn property(field: &Field) -> RefOr<Schema> {
    let one = |kind: Type, format: Option<KnownFormat>| {
        let types = match field.optional {
            true => SchemaType::from_iter([kind, Type::Null]),
            false => SchemaType::new(kind),
        };
        let format = format.map(SchemaFormat::KnownFormat);
        ObjectBuilder::new().schema_type(types).format(format).description(Some(field.about))
    };
    match field.form {
        Form::Text => one(Type::String, None).build().into(),
        Form::Flag => one(Type::Boolean, None).build().into(),
        Form::Count => one(Type::Integer, Some(KnownFormat::Int64)).minimum(Some(0)).build().into(),
        Form::Number => one(Type::Number, Some(KnownFormat::Double)).build().into(),
        Form::State => words(&JobState::ALL, field.about),
        Form::List(name) => {
            let items = Ref::from_schema_name(name);
            ArrayBuilder::new().items(items).description(Some(field.about)).build().into()
        }
    }
}

/// Describes [`wire::Problem`].
pub(super) struct Problem;

impl PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        let text =
            |about| ObjectBuilder::new().schema_type(Type::String).description(Some(about)).build().into();
        let properties: [(&str, RefOr<Schema>); 4] = [
            ("kind", words(&Kind::ALL, "Kind of the refusal.")),
            ("where", text("Which part of the request.")),
            ("what", text("What is wrong.")),
            ("remedy", text("What to do about it; may be empty.")),
        ];
        let problem = ObjectBuilder::new().description(Some("Body of every answer that is not a success."));
        let all = properties
            .into_iter()
            .fold(problem, |all, (name, schema)| all.property(name, schema).required(name));
        all.build().into()
    }
}

impl ToSchema for Problem {
    fn name() -> Cow<'static, str> {
        "Problem".into()
    }
}

/// One of these words, as they are written on the wire.
fn words<T: Serialize>(all: &[T], about: &str) -> RefOr<Schema> {
    let written = all.iter().filter_map(|word| serde_json::to_value(word).ok());
    let word = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(written));
    word.description(Some(about)).build().into()
}
