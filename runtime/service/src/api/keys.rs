//! Registration of evaluation keys: announced by digest and size, sent in as many pieces as it takes, whole once their digest
//! holds.
//!
//! Keys belong to the client that sends them: the same bytes again cost nothing, another client's are not shared, so that
//! nobody can use, or learn of, keys that it has not sent.

use super::{Caller, Named, Shared, blocking, digest, schema, text_header};
use crate::disk;
use crate::error::Refusal;
use crate::ledger::KeyName;
use crate::limits::{drain, receive};
use crate::models::Model;
use crate::record::{Announced, KeyRecord};
use crate::service::Service;
use crate::tokens::Scope;
use crate::{clock::now_ms, files::private_folder};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use cipherloom_ir::Digest;
use cipherloom_ir::container::{ContainerReader, Kind as FileKind};
use cipherloom_ir::wire::{Announcement, KeyFacts};
use std::fs::{File, OpenOptions};
use std::io::{BufReader, ErrorKind, Write};
use std::sync::Arc;

/// What a client is told of its keys.
fn facts(service: &Service, client: &str, keys: &Digest, record: &KeyRecord) -> KeyFacts {
    let arrived = || std::fs::metadata(service.files.partial_keys(client, keys)).map_or(0, |m| m.len());
    KeyFacts {
        digest: *keys,
        model: record.model,
        bytes: record.bytes,
        offset: if record.complete { record.bytes } else { arrived() },
        complete: record.complete,
        expires_ms: record.used_ms.saturating_add(service.settings.keys_kept.as_millis() as u64),
    }
}

fn busy() -> Refusal {
    Refusal::conflict("keys", "another request is changing these keys").remedy("wait until it has ended")
}

/// Announces keys; what has arrived of them before is not sent again.
#[utoipa::path(post, path = "/v1/keys", tag = "keys", security(("bearer" = ["keys"])),
    request_body = schema::Announcement,
    responses((status = 200, body = schema::KeyFacts, description = "send from `offset` on, unless complete"),
        (status = "4XX", body = schema::Problem), (status = 507, body = schema::Problem, description = "disk full")))]
pub(crate) async fn announce(
    State(service): Shared,
    caller: Caller,
    body: Body,
) -> Result<Json<KeyFacts>, Refusal> {
    let client = caller.may(Scope::Keys)?;
    let mut text = Vec::new();
    receive(&service, &client, body, 4096, |piece| {
        text.extend_from_slice(piece);
        Ok(())
    })
    .await?;
    let wanted: Announcement = serde_json::from_slice(&text)
        .map_err(|e| Refusal::bad("body", format!("not an announcement: {e}")))?;
    let (keys, model_id) = (wanted.digest, wanted.model);
    let model = service.models.get(&model_id).ok_or_else(|| Refusal::absent("model", "model"))?;
    let name = (client.clone(), keys);
    let (least, limit) = (model.key_bytes_min(), model.key_bytes_max());
    if wanted.bytes > limit {
        return Err(Refusal::too_large("keys", limit));
    }
    if wanted.bytes < least {
        let what = format!("keys of this model have at least {least} bytes, not {}", wanted.bytes);
        return Err(Refusal::bad("bytes", what).remedy("announce the size of the keys' file"));
    }
    let now = now_ms();
    let record =
        KeyRecord { model: model_id, bytes: wanted.bytes, complete: false, created_ms: now, used_ms: now };
    blocking(move || {
        private_folder(&service.files.client(&client)).map_err(|e| Refusal::disk(&e))?;
        // What stands there without a record is of a registration that has been removed.
        let begin = || drop(disk::remove(&service.files.partial_keys(&client, &keys)));
        let quota = service.settings.quota_bytes;
        let record = match service.ledger.announce_keys(&name, record, quota, begin)? {
            Announced::New(record) => record,
            Announced::Known(known) if (known.model, known.bytes) == (model_id, wanted.bytes) => known,
            Announced::Known(_) => {
                let what = "these keys are registered with another model or size";
                return Err(Refusal::conflict("keys", what));
            }
            Announced::OverQuota => return Err(Refusal::quota(quota)),
        };
        Ok(Json(facts(&service, &client, &keys, &record)))
    })
    .await
}

/// Appends a piece at `Upload-Offset`; what arrives before a connection breaks stays. The last piece is acknowledged when
/// the keys are whole, checked and on disk.
#[utoipa::path(patch, path = "/v1/keys/{digest}", tag = "keys", security(("bearer" = ["keys"])),
    params(("digest" = String, Path), ("Upload-Offset" = u64, Header, description = "bytes that have arrived")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = schema::KeyFacts),
        (status = 409, body = schema::Problem, description = "wrong offset, or another request is at it"),
        (status = 422, body = schema::Problem, description = "digest or content do not hold; the bytes are gone"),
        (status = "4XX", body = schema::Problem), (status = 507, body = schema::Problem)))]
pub(crate) async fn append(
    State(service): Shared,
    caller: Caller,
    Named(keys): Named,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<KeyFacts>, Refusal> {
    let client = caller.may(Scope::Keys)?;
    let keys = digest("digest", &keys)?;
    let name = (client.clone(), keys);
    let ready = service.receive_keys(&name).ok_or_else(busy).and_then(|reserved| {
        let (record, left) = next_piece(&service, &name, &headers)?;
        Ok((reserved, record, left, open_partial(&service, &name)?))
    });
    let (_reserved, record, left, mut file) = match ready {
        Ok(all) => all,
        Err(refusal) => {
            drain(body).await;
            return Err(refusal);
        }
    };
    receive(&service, &client, body, left, |piece| file.write_all(piece)).await?;
    drop(file);
    let now = facts(&service, &client, &keys, &record);
    if now.offset < record.bytes {
        return Ok(Json(now));
    }
    let model = service.models.get(&record.model).ok_or_else(|| Refusal::absent("model", "model"))?.clone();
    let shared = service.clone();
    let record = blocking(move || complete(&shared, &model, &name, &record)).await?;
    Ok(Json(facts(&service, &client, &keys, &record)))
}

/// The keys that a piece is for, if it starts where they end, and how much they lack.
fn next_piece(service: &Service, name: &KeyName, headers: &HeaderMap) -> Result<(KeyRecord, u64), Refusal> {
    let record = service.ledger.keys(name).ok_or_else(|| Refusal::absent("keys", "keys"))?;
    let now = facts(service, &name.0, &name.1, &record);
    let offset = text_header(headers, "upload-offset").and_then(|t| t.parse().ok());
    let Some(left) = record.bytes.checked_sub(now.offset) else {
        disk::remove(&service.files.partial_keys(&name.0, &name.1)).map_err(|e| Refusal::disk(&e))?;
        let what = "more has arrived than was announced";
        return Err(Refusal::conflict("keys", what).remedy("send the file again from the beginning"));
    };
    match offset == Some(now.offset) && !now.complete {
        true => Ok((record, left)),
        false => {
            let what = format!("the next piece starts at {}", now.offset);
            Err(Refusal::conflict("Upload-Offset", what).remedy("ask for the offset and send from there"))
        }
    }
}

/// The file that a piece is appended to.
fn open_partial(service: &Service, name: &KeyName) -> Result<File, Refusal> {
    let path = service.files.partial_keys(&name.0, &name.1);
    let file = OpenOptions::new().create(true).append(true).open(&path).map_err(|e| Refusal::disk(&e))?;
    match service.ledger.keys(name) {
        Some(_) => Ok(file),
        None => {
            // Dropped since they were looked up: the file may be new, and nothing would remove it.
            let _ = disk::remove(&path);
            Err(Refusal::absent("keys", "keys"))
        }
    }
}

/// Holds all bytes against the digest, and the file against the model; makes it durable and registers it.
fn complete(
    service: &Arc<Service>,
    model: &Model,
    name: &KeyName,
    record: &KeyRecord,
) -> Result<KeyRecord, Refusal> {
    let (client, keys) = name;
    let partial = service.files.partial_keys(client, keys);
    let refuse = |refusal: Refusal| {
        let _ = disk::remove(&partial);
        refusal.remedy("send the file again from the beginning")
    };
    let dropped = || Refusal::absent("keys", "keys");
    let mut file = File::open(&partial).map_err(|e| match e.kind() {
        ErrorKind::NotFound => dropped(),
        _ => Refusal::disk(&e),
    })?;
    let mut hasher = blake3::Hasher::new();
    std::io::copy(&mut file, &mut hasher).map_err(|e| Refusal::disk(&e))?;
    if hasher.finalize().as_bytes() != &keys.0 {
        return Err(refuse(Refusal::bad("keys", "the bytes do not have the announced digest")));
    }
    check_keys(&file, model).map_err(|what| refuse(Refusal::bad("keys", what)))?;
    let place = service.files.keys(client, keys);
    disk::settle(&file, &partial, &place).map_err(|e| match e.kind() {
        ErrorKind::NotFound => dropped(),
        _ => Refusal::disk(&e),
    })?;
    let Some(record) = service.ledger.complete_keys(name, record)? else {
        // The client deleted them while they were checked.
        let _ = disk::remove(&place);
        return Err(dropped());
    };
    crate::log::event(
        "keys_registered",
        &[("client", client.as_str().into()), ("bytes", record.bytes.into())],
    );
    Ok(record)
}

/// The form of a file of keys, one section at a time; what stands in them is checked when they are expanded for a job.
fn check_keys(file: &File, model: &Model) -> Result<(), String> {
    let stream = BufReader::with_capacity(1 << 20, file);
    let mut keys = ContainerReader::open(stream, FileKind::EvaluationKeys).map_err(|e| e.to_string())?;
    keys.header().belongs_to(&model.manifest.circuit).map_err(|e| e.to_string())?;
    let (found, wanted) = (keys.header().sections.len(), model.manifest.keys.len());
    if found != wanted {
        return Err(format!("holds {found} evaluation keys, the circuit has {wanted}"));
    }
    (0..found)
        .try_for_each(|index| keys.read_section(index, model.key_bytes_max()).map(drop))
        .map_err(|e| e.to_string())
}

/// The client's keys.
#[utoipa::path(get, path = "/v1/keys", tag = "keys", security(("bearer" = ["keys"])),
    responses((status = 200, body = Vec<schema::KeyFacts>), (status = "4XX", body = schema::Problem)))]
pub(crate) async fn list(State(service): Shared, caller: Caller) -> Result<Json<Vec<KeyFacts>>, Refusal> {
    let client = caller.may(Scope::Keys)?;
    Ok(Json(all(&service, &client)))
}

/// All keys of a client.
pub(crate) fn all(service: &Service, client: &str) -> Vec<KeyFacts> {
    service.ledger.keys_of(client).iter().map(|(d, r)| facts(service, client, d, r)).collect()
}

/// One set of keys: how much has arrived.
#[utoipa::path(get, path = "/v1/keys/{digest}", tag = "keys", security(("bearer" = ["keys"])),
    params(("digest" = String, Path)),
    responses((status = 200, body = schema::KeyFacts), (status = "4XX", body = schema::Problem)))]
pub(crate) async fn show(
    State(service): Shared,
    caller: Caller,
    Named(keys): Named,
) -> Result<Json<KeyFacts>, Refusal> {
    let client = caller.may(Scope::Keys)?;
    let keys = digest("digest", &keys)?;
    let record =
        service.ledger.keys(&(client.clone(), keys)).ok_or_else(|| Refusal::absent("keys", "keys"))?;
    Ok(Json(facts(&service, &client, &keys, &record)))
}

/// Removes keys. Jobs that wait for them will fail.
#[utoipa::path(delete, path = "/v1/keys/{digest}", tag = "keys", security(("bearer" = ["keys"])),
    params(("digest" = String, Path)),
    responses((status = 204), (status = "4XX", body = schema::Problem)))]
pub(crate) async fn remove(
    State(service): Shared,
    caller: Caller,
    Named(keys): Named,
) -> Result<StatusCode, Refusal> {
    let client = caller.may(Scope::Keys)?;
    let name = (client, digest("digest", &keys)?);
    let shared = service.clone();
    blocking(move || {
        let _reserved = shared.receive_keys(&name).ok_or_else(busy)?;
        let gone = shared.drop_keys(|n, _| *n == name)?;
        match gone.is_empty() {
            true => Err(Refusal::absent("keys", "keys")),
            false => Ok(StatusCode::NO_CONTENT),
        }
    })
    .await
}
