//! What the service's server and client say to each other in JSON beside ciphertexts: refusals, and facts about models, keys,
//! jobs and clients.
//!
//! Relies on serde alone and knows no HTTP. Promises: both sides use these types, so that neither spells a word differently;
//! facts list their own fields ([`Facts`]), from which the server describes them.

use crate::digest::Digest;
use serde::{Deserialize, Serialize};

/// Kind of a refusal; the command's exit code follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Arguments or credentials.
    Usage,
    /// Bytes that are not what they should be.
    BadInput,
    /// Things that do not belong together, or that this client does not have.
    Mismatch,
    /// Network, memory, disk, quota, load.
    Resources,
    /// A bug.
    Internal,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 5] = [Kind::Usage, Kind::BadInput, Kind::Mismatch, Kind::Resources, Kind::Internal];
}

/// Body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Kind.
    pub kind: Kind,
    /// Which part of the request.
    #[serde(rename = "where")]
    pub place: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it; may be empty.
    #[serde(default)]
    pub remedy: String,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Accepted and on disk.
    Queued,
    /// Being evaluated.
    Running,
    /// The result can be fetched.
    Done,
    /// It cannot be evaluated; the reason stands beside it.
    Failed,
    /// The client does not want it any more.
    Cancelled,
}

impl JobState {
    /// Every state.
    pub const ALL: [JobState; 5] =
        [JobState::Queued, JobState::Running, JobState::Done, JobState::Failed, JobState::Cancelled];

    /// Whether nothing will change any more.
    pub fn is_final(self) -> bool {
        !matches!(self, JobState::Queued | JobState::Running)
    }
}

/// A JSON object that lists its own fields.
pub trait Facts {
    /// Its name in the description of the interface.
    const NAME: &'static str;
    /// What it is.
    const ABOUT: &'static str;
    /// Its fields, in the order in which they are written.
    const FIELDS: &'static [Field];
}

/// A field of [`Facts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub about: &'static str,
    /// What stands there.
    pub form: Form,
    /// Whether null may stand there.
    pub optional: bool,
}

/// What stands in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A string.
    Text,
    /// True or false.
    Flag,
    /// A whole number, not negative.
    Count,
    /// A number.
    Number,
    /// A [`JobState`].
    State,
    /// A list of the facts of this name.
    List(&'static str),
}

/// A type that can stand in a field.
trait Formed {
    const FORM: Form;
    const OPTIONAL: bool = false;
}

impl Formed for String {
    const FORM: Form = Form::Text;
}

impl Formed for Digest {
    const FORM: Form = Form::Text;
}

impl Formed for bool {
    const FORM: Form = Form::Flag;
}

impl Formed for u64 {
    const FORM: Form = Form::Count;
}

impl Formed for f64 {
    const FORM: Form = Form::Number;
}

impl Formed for JobState {
    const FORM: Form = Form::State;
}

impl<T: Formed> Formed for Option<T> {
    const FORM: Form = T::FORM;
    const OPTIONAL: bool = true;
}

impl<T: Facts> Formed for Vec<T> {
    const FORM: Form = Form::List(T::NAME);
}

/// Declares objects of public fields, each with one line that says what it is; the lines are documentation and description.
macro_rules! facts {
    ($(#[doc = $about:literal] $name:ident {
        $(#[doc = $says:literal] $field:ident: $form:ty,)*
    })*) => {$(
        #[doc = $about]
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub struct $name {
            $(#[doc = $says] pub $field: $form,)*
        }

        impl Facts for $name {
            const NAME: &'static str = stringify!($name);
            const ABOUT: &'static str = $about.trim_ascii();
            const FIELDS: &'static [Field] = &[$(Field {
                name: stringify!($field),
                about: $says.trim_ascii(),
                form: <$form as Formed>::FORM,
                optional: <$form as Formed>::OPTIONAL,
            },)*];
        }
    )*};
}

facts! {
    /// State of the server.
    Status {
        /// Always "ok".
        status: String,
        /// Version of the server.
        version: String,
    }

    /// A model that the server evaluates.
    ModelFacts {
        /// Digest of the circuit, 64 hexadecimal digits; names the model everywhere.
        id: Digest,
        /// Name that its maker gave it.
        name: String,
        /// Evaluation keys that a client registers.
        keys: u64,
        /// Forecast of their size.
        key_bytes: u64,
        /// Forecast of an encrypted input's size.
        upload_bytes: u64,
        /// Forecast of an encrypted output's size.
        download_bytes: u64,
        /// Forecast of an evaluation on one thread.
        seconds: f64,
        /// Forecast of the precision of the output.
        precision_bits: f64,
    }

    /// What is to be registered.
    Announcement {
        /// Digest of the model that the keys are for.
        model: Digest,
        /// BLAKE3 of the keys' file, 64 hexadecimal digits.
        digest: Digest,
        /// Its size.
        bytes: u64,
    }

    /// A set of keys.
    KeyFacts {
        /// BLAKE3 of the file.
        digest: Digest,
        /// The model that they are for.
        model: Digest,
        /// Size of the file.
        bytes: u64,
        /// Bytes that have arrived: the next piece starts here.
        offset: u64,
        /// Whether all have arrived and the digest holds.
        complete: bool,
        /// When they are removed unless they are used again, milliseconds since 1970.
        expires_ms: u64,
    }

    /// A job.
    JobFacts {
        /// Names it.
        id: String,
        /// Where the job stands.
        state: JobState,
        /// Digest of the model.
        model: Digest,
        /// Digest of the keys.
        keys: Digest,
        /// BLAKE3 of the encrypted input.
        input: Digest,
        /// Size of the encrypted input.
        input_bytes: u64,
        /// Milliseconds since 1970.
        accepted_ms: u64,
        /// Milliseconds since 1970, once it has ended.
        finished_ms: Option<u64>,
        /// Time of the evaluation, milliseconds, once it is done.
        evaluation_ms: Option<f64>,
        /// Size of the encrypted output, once it is done.
        result_bytes: Option<u64>,
        /// BLAKE3 of the encrypted output, once it is done.
        result: Option<Digest>,
        /// Why it failed.
        reason: Option<String>,
    }

    /// The server's view of a client.
    ClientData {
        /// Its name.
        client: String,
        /// Bytes that it stores.
        stored_bytes: u64,
        /// Bytes that it may store.
        quota_bytes: u64,
        /// Its keys.
        keys: Vec<KeyFacts>,
        /// Its jobs.
        jobs: Vec<JobFacts>,
    }

    /// What was deleted.
    Forgotten {
        /// Sets of keys.
        keys: u64,
        /// Jobs, with inputs and results.
        jobs: u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that clients and servers of version 1 of the interface read and write.
    #[test]
    fn facts_keep_their_bytes() {
        let digest = |k: u8| Digest([k; 32]);
        let (one, two) = ("01".repeat(32), "02".repeat(32));
        let keys = KeyFacts {
            digest: digest(1),
            model: digest(2),
            bytes: 3,
            offset: 4,
            complete: false,
            expires_ms: 5,
        };
        let keys_text = format!(
            r#"{{"digest":"{one}","model":"{two}","bytes":3,"offset":4,"complete":false,"expires_ms":5}}"#
        );
        let job = JobFacts {
            id: "a".into(),
            state: JobState::Done,
            model: digest(2),
            keys: digest(1),
            input: digest(2),
            input_bytes: 6,
            accepted_ms: 7,
            finished_ms: Some(8),
            evaluation_ms: Some(1.5),
            result_bytes: None,
            result: Some(digest(1)),
            reason: None,
        };
        let job_text = format!(
            r#"{{"id":"a","state":"done","model":"{two}","keys":"{one}","input":"{two}","input_bytes":6,"accepted_ms":7,"finished_ms":8,"evaluation_ms":1.5,"result_bytes":null,"result":"{one}","reason":null}}"#
        );
        let data = ClientData {
            client: "c".into(),
            stored_bytes: 9,
            quota_bytes: 10,
            keys: vec![keys],
            jobs: vec![job],
        };
        let text = format!(
            r#"{{"client":"c","stored_bytes":9,"quota_bytes":10,"keys":[{keys_text}],"jobs":[{job_text}]}}"#
        );
        assert_eq!(serde_json::to_string(&data).unwrap(), text);
        assert_eq!(serde_json::from_str::<ClientData>(&text).unwrap(), data);
        let asked = Announcement { model: digest(2), digest: digest(1), bytes: 3 };
        let text = format!(r#"{{"model":"{two}","digest":"{one}","bytes":3}}"#);
        assert_eq!(serde_json::to_string(&asked).unwrap(), text);
    }

    #[test]
    fn facts_describe_what_they_write() {
        let field = |name: &str| *JobFacts::FIELDS.iter().find(|f| f.name == name).unwrap();
        assert_eq!(
            field("evaluation_ms"),
            Field {
                name: "evaluation_ms",
                about: "Time of the evaluation, milliseconds, once it is done.",
                form: Form::Number,
                optional: true
            }
        );
        assert_eq!((field("state").form, field("state").optional), (Form::State, false));
        assert_eq!(ClientData::FIELDS[3].form, Form::List("KeyFacts"));
        assert_eq!((Status::NAME, Status::ABOUT), ("Status", "State of the server."));
    }
}
