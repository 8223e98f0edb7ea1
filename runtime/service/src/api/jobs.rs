//! Jobs: submitted with their input, watched, cancelled, their results fetched.

use super::{Asked, Caller, Named, Shared, blocking, digest, octets, schema, text_header};
use crate::disk::Partial;
use crate::engine::TRIES_MAX;
use crate::error::{Kind, Refusal};
use crate::limits::{drain, receive};
use crate::models::Model;
use crate::record::{Accepted, Job, JobId, Outcome, Refused, Request};
use crate::service::Service;
use crate::tokens::Scope;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use cipherloom_ir::Digest;
use cipherloom_ir::container::{ContainerReader, Kind as FileKind};
use cipherloom_ir::wire::{JobFacts, JobState};
use serde::Deserialize;
use std::fs::File;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use utoipa::IntoParams;

/// Longest name of a request.
const IDEMPOTENCY_KEY_BYTES: usize = 128;

/// What a client is told of a job.
fn facts(id: JobId, job: &Job) -> JobFacts {
    let (mut evaluation, mut bytes, mut result, mut why) = (None, None, None, None);
    match &job.outcome {
        Some(Outcome::Result { digest, bytes: size, evaluation_ms }) => {
            (evaluation, bytes, result) = (Some(*evaluation_ms), Some(*size), Some(*digest));
        }
        Some(Outcome::Failure { reason }) => why = Some(reason.clone()),
        None => {}
    }
    JobFacts {
        id: id.to_string(),
        state: job.state,
        model: job.model,
        keys: job.keys,
        input: job.input,
        input_bytes: job.input_bytes,
        accepted_ms: job.accepted_ms,
        finished_ms: job.finished_ms,
        evaluation_ms: evaluation,
        result_bytes: bytes,
        result,
        reason: why,
    }
}

/// What to evaluate.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Submission {
    /// Digest of the model.
    model: String,
    /// Digest of the client's registered keys.
    keys: String,
}

/// How long to wait.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wait {
    /// Seconds to wait for the end of the job before answering as it stands.
    #[serde(default)]
    wait: f64,
}

fn job_id(text: &str) -> Result<JobId, Refusal> {
    text.parse().map_err(|()| Refusal::absent("job", "job"))
}

/// Submits an encrypted input. The answer comes when the job is on disk: from then on it is finished, or reported failed,
/// whatever happens to the server. With `Idempotency-Key` a repeated request gives the job of the first.
#[utoipa::path(post, path = "/v1/jobs", tag = "jobs", security(("bearer" = ["jobs"])),
    params(Submission, ("Idempotency-Key" = Option<String>, Header, description = "at most 128 visible characters")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 202, body = schema::JobFacts, description = "accepted, or accepted before"),
        (status = 429, body = schema::Problem, description = "the queue is full; see Retry-After"),
        (status = 409, body = schema::Problem, description = "keys incomplete or foreign, or the name was used"),
        (status = "4XX", body = schema::Problem), (status = "5XX", body = schema::Problem)))]
pub(crate) async fn submit(
    State(service): Shared,
    caller: Caller,
    Asked(submission): Asked<Submission>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let (model, wanted) = match check(&service, caller, &submission, &headers) {
        Ok(checked) => checked,
        Err(refusal) => {
            drain(body).await;
            return Err(refusal);
        }
    };
    let id = JobId::random()?;
    let mut hasher = blake3::Hasher::new();
    let mut partial =
        Partial::create(service.files.jobs().join(format!("{id}.part"))).map_err(|e| Refusal::disk(&e))?;
    let input_bytes = receive(&service, &wanted.client, body, model.input_bytes_max(), |piece| {
        hasher.update(piece);
        partial.write(piece)
    })
    .await?;
    let input = Digest(*hasher.finalize().as_bytes());
    let seconds = model.manifest.forecast.seconds;
    let Wanted { client, keys, idempotency } = wanted;
    let model_id = model.manifest.circuit;
    let request = Request { client, model: model_id, keys, idempotency, input, input_bytes, seconds };
    let (id, job) = blocking(move || accept(&service, &model, id, partial, request)).await?;
    Ok((StatusCode::ACCEPTED, Json(facts(id, &job))).into_response())
}

/// Who wants what, under which name.
struct Wanted {
    client: String,
    keys: Digest,
    idempotency: Option<String>,
}

/// All that can be refused before the input has come.
fn check(
    service: &Service,
    caller: Caller,
    submission: &Submission,
    headers: &HeaderMap,
) -> Result<(Arc<Model>, Wanted), Refusal> {
    let client = caller.may(Scope::Jobs)?;
    if service.is_stopping() {
        return Err(Refusal::unavailable("the server is stopping"));
    }
    let (model_id, keys) = (digest("model", &submission.model)?, digest("keys", &submission.keys)?);
    let model = service.models.get(&model_id).ok_or_else(|| Refusal::absent("model", "model"))?.clone();
    let registered =
        service.ledger.keys(&(client.clone(), keys)).ok_or_else(|| Refusal::absent("keys", "keys"))?;
    if registered.model != model_id {
        return Err(Refusal::conflict("keys", "these keys belong to another model"));
    }
    if !registered.complete {
        return Err(
            Refusal::conflict("keys", "these keys have not arrived yet").remedy("send the rest of them")
        );
    }
    let idempotency = request_name(headers)?;
    let declared = text_header(headers, "content-length").and_then(|t| t.parse().ok());
    let input_bytes = declared.unwrap_or(u64::MAX).min(model.input_bytes_max());
    // What the client may not, it learns before it sends; what others take meanwhile, when it has.
    match service.ledger.foresees(&client, idempotency.as_deref(), input_bytes, service.job_limits()) {
        Some(refused) => Err(refusal(service, refused)),
        None => Ok((model, Wanted { client, keys, idempotency })),
    }
}

fn request_name(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    if !headers.contains_key("idempotency-key") {
        return Ok(None);
    }
    match text_header(headers, "idempotency-key") {
        Some(name) if (1..=IDEMPOTENCY_KEY_BYTES).contains(&name.len()) => Ok(Some(name.to_owned())),
        _ => Err(Refusal::bad("Idempotency-Key", "1 to 128 visible characters are taken")),
    }
}

fn full(service: &Service) -> Refusal {
    // Half of the queue will be done in about this time, if all jobs were like the first model's.
    let seconds = service.models.all().next().map_or(1.0, |m| m.manifest.forecast.seconds);
    let wait = (seconds * service.ledger.queued() as f64 / 2.0).clamp(1.0, 60.0);
    Refusal::busy("queue", "too many jobs are waiting", wait.ceil() as u32)
}

fn refusal(service: &Service, refused: Refused) -> Refusal {
    match refused {
        Refused::Full => full(service),
        Refused::OverQuota => Refusal::quota(service.settings.quota_bytes),
        Refused::Reused => Refusal::conflict("Idempotency-Key", "this name was used for another request")
            .remedy("take a new name"),
    }
}

/// Checks the form of the input, makes it durable, then the record: in this order, so that no record lacks its input.
fn accept(
    service: &Arc<Service>,
    model: &Model,
    id: JobId,
    partial: Partial,
    request: Request,
) -> Result<(JobId, Job), Refusal> {
    check_input(&partial, model).map_err(|what| Refusal::bad("input", what))?;
    partial.keep(&service.files.input(id)).map_err(|e| Refusal::disk(&e))?;
    let client = request.client.clone();
    let accepted = service.ledger.accept(id, request, service.job_limits());
    if !matches!(accepted, Ok(Accepted::New(_))) {
        service.remove_job_files(id);
    }
    let id = match accepted? {
        Accepted::New(id) => {
            service.metrics.job("accepted");
            id
        }
        Accepted::Repeated(id) => id,
        Accepted::Not(refused) => return Err(refusal(service, refused)),
    };
    let job = service.ledger.job(&client, id).ok_or_else(|| Refusal::absent("job", "job"))?;
    Ok((id, job))
}

fn check_input(partial: &Partial, model: &Model) -> Result<(), String> {
    let file = File::open(partial.path()).map_err(|e| e.kind().to_string())?;
    let mut input = ContainerReader::open(file, FileKind::EncryptedInput).map_err(|e| e.to_string())?;
    input.header().belongs_to(&model.manifest.circuit).map_err(|e| e.to_string())?;
    let wanted: u32 = model.manifest.inputs.iter().map(|i| i.layout.ciphertexts).sum();
    let found = input.header().sections.len();
    if found != wanted as usize {
        return Err(format!("holds {found} ciphertexts, the circuit takes {wanted}"));
    }
    (0..found)
        .try_for_each(|index| input.read_section(index, model.input_bytes_max()).map(drop))
        .map_err(|e| e.to_string())
}

/// The client's jobs, oldest first.
#[utoipa::path(get, path = "/v1/jobs", tag = "jobs", security(("bearer" = ["jobs"])),
    responses((status = 200, body = Vec<schema::JobFacts>), (status = "4XX", body = schema::Problem)))]
pub(crate) async fn list(State(service): Shared, caller: Caller) -> Result<Json<Vec<JobFacts>>, Refusal> {
    let client = caller.may(Scope::Jobs)?;
    Ok(Json(all(&service, &client)))
}

/// All jobs of a client.
pub(crate) fn all(service: &Service, client: &str) -> Vec<JobFacts> {
    service.ledger.jobs(client).iter().map(|(id, job)| facts(*id, job)).collect()
}

/// A job of this client once it is final, or as it stands when the time is over.
async fn wait_for(service: &Service, client: &str, id: JobId, seconds: f64) -> Result<Job, Refusal> {
    let longest = service.settings.wait_max.as_secs_f64();
    // NaN becomes no wait.
    let wait = Duration::from_secs_f64(if seconds > 0.0 { seconds.min(longest) } else { 0.0 });
    let deadline = Instant::now() + wait;
    let mut changes = service.ledger.changes();
    loop {
        changes.borrow_and_update();
        let job = service.ledger.job(client, id).ok_or_else(|| Refusal::absent("job", "job"))?;
        if job.state.is_final() || service.is_stopping() {
            return Ok(job);
        }
        if !matches!(tokio::time::timeout_at(deadline, changes.changed()).await, Ok(Ok(()))) {
            return Ok(job);
        }
    }
}

/// Where a job stands.
#[utoipa::path(get, path = "/v1/jobs/{id}", tag = "jobs", security(("bearer" = ["jobs"])),
    params(("id" = String, Path), Wait),
    responses((status = 200, body = schema::JobFacts), (status = "4XX", body = schema::Problem)))]
pub(crate) async fn show(
    State(service): Shared,
    caller: Caller,
    Named(id): Named,
    Asked(Wait { wait }): Asked<Wait>,
) -> Result<Json<JobFacts>, Refusal> {
    let client = caller.may(Scope::Jobs)?;
    let id = job_id(&id)?;
    let job = wait_for(&service, &client, id, wait).await?;
    Ok(Json(facts(id, &job)))
}

/// Cancels a job that has not ended, deletes one that has, with its result; answers as it stood last. A running evaluation
/// goes on, and its result is dropped.
#[utoipa::path(delete, path = "/v1/jobs/{id}", tag = "jobs", security(("bearer" = ["jobs"])),
    params(("id" = String, Path)),
    responses((status = 200, body = schema::JobFacts), (status = "4XX", body = schema::Problem)))]
pub(crate) async fn cancel(
    State(service): Shared,
    caller: Caller,
    Named(id): Named,
) -> Result<Json<JobFacts>, Refusal> {
    let client = caller.may(Scope::Jobs)?;
    let id = job_id(&id)?;
    blocking(move || {
        let absent = || Refusal::absent("job", "job");
        let before = service.ledger.job(&client, id).ok_or_else(absent)?;
        if before.state.is_final() {
            service.ledger.drop_jobs(|j| j.sequence == before.sequence)?;
            service.remove_job_files(id);
            return Ok(Json(facts(id, &before)));
        }
        if service.ledger.cancel(id)? {
            service.metrics.job("cancelled");
            if before.state == JobState::Queued {
                service.remove_job_files(id);
            }
        }
        let job = service.ledger.job(&client, id).ok_or_else(absent)?;
        Ok(Json(facts(id, &job)))
    })
    .await
}

/// The encrypted output.
#[utoipa::path(get, path = "/v1/jobs/{id}/result", tag = "jobs", security(("bearer" = ["jobs"])),
    params(("id" = String, Path), Wait),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>),
        (status = 202, body = schema::JobFacts, description = "not done yet"),
        (status = 410, body = schema::Problem, description = "failed or cancelled"),
        (status = "4XX", body = schema::Problem)))]
pub(crate) async fn result(
    State(service): Shared,
    caller: Caller,
    Named(id): Named,
    Asked(Wait { wait }): Asked<Wait>,
) -> Result<Response, Refusal> {
    let client = caller.may(Scope::Jobs)?;
    let id = job_id(&id)?;
    let job = wait_for(&service, &client, id, wait).await?;
    let gone = |what: &str| Refusal::new(StatusCode::GONE, Kind::Mismatch, "job", what);
    match (job.state, &job.outcome) {
        (JobState::Done, Some(Outcome::Result { evaluation_ms, .. })) => {
            let path = service.files.output(id);
            let read = move || {
                std::fs::read(path).map_err(|e| match e.kind() {
                    ErrorKind::NotFound => gone("the result has expired or was deleted"),
                    _ => Refusal::disk(&e),
                })
            };
            let bytes = blocking(read).await?;
            let mut response = octets(bytes);
            if let Ok(value) = format!("{evaluation_ms:.3}").parse() {
                response.headers_mut().insert("evaluation-ms", value);
            }
            Ok(response)
        }
        (JobState::Failed, Some(Outcome::Failure { reason })) => {
            let remedy =
                format!("the job will not be tried again (at most {TRIES_MAX} tries); mend the cause");
            Err(gone(reason).remedy(&remedy))
        }
        (JobState::Cancelled, _) => Err(gone("the job was cancelled")),
        _ => Ok((StatusCode::ACCEPTED, Json(facts(id, &job))).into_response()),
    }
}
