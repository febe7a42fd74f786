//! An API server in memory, behind a client's service: it keeps versions, streams watches, and fails when it is told to.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Body as Answered;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::service_fn;

/// After which a client gives up.
const READ_MAX: Duration = Duration::from_secs(75);

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is answered.
    None,
    /// It is refused with this status.
    Refused(u16),
    /// It is not answered, and not done.
    Hangs,
    /// It is done, and not answered.
    Unheard,
    /// It is done so late.
    Slow(Duration),
    /// It is done at once, and answered so late.
    SlowAnswer(Duration),
    /// A watch is told that its version is too old.
    Gone,
    /// A watch ends at once.
    Closed,
}

type Faults = Box<dyn FnMut(&Method, &str) -> Fault + Send>;

/// The server.
#[derive(Clone)]
pub(crate) struct Server {
    state: Arc<Mutex<State>>,
    changed: Arc<watch::Sender<u64>>,
}

struct State {
    version: u64,
    /// By `RESOURCE/NAMESPACE/NAME`.
    objects: BTreeMap<String, Value>,
    log: Vec<(u64, String, &'static str, Value)>,
    faults: Faults,
    /// Method and path of each request.
    requests: Vec<String>,
    /// Watches that began before then are over.
    epoch: u64,
}

impl Server {
    pub(crate) fn new() -> Self {
        let state = State {
            version: 1,
            objects: BTreeMap::new(),
            log: Vec::new(),
            faults: Box::new(|_, _| Fault::None),
            requests: Vec::new(),
            epoch: 0,
        };
        Self { state: Arc::new(Mutex::new(state)), changed: Arc::new(watch::channel(0).0) }
    }

    pub(crate) fn client(&self) -> Client {
        self.client_through(|_, _| Fault::None)
    }

    /// A client whose way to the server has faults of its own.
    pub(crate) fn client_through(
        &self,
        faults: impl FnMut(&Method, &str) -> Fault + Send + 'static,
    ) -> Client {
        let (server, mut faults) = (self.clone(), faults);
        let serve = move |request: Request<Body>| {
            let fault = faults(request.method(), request.uri().path());
            server.clone().serve(request, fault)
        };
        Client::new(service_fn(serve), "edgemux-system")
    }

    pub(crate) fn fail(&self, faults: impl FnMut(&Method, &str) -> Fault + Send + 'static) {
        self.state().faults = Box::new(faults);
    }

    /// Ends every watch that there is.
    pub(crate) fn break_watches(&self) {
        self.state().epoch += 1;
        self.changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    /// An object, as it is.
    pub(crate) fn get(&self, key: &str) -> Option<Value> {
        self.state().objects.get(key).cloned()
    }

    pub(crate) fn all(&self, resource: &str) -> Vec<Value> {
        let prefix = format!("{resource}/");
        let state = self.state();
        state
            .objects
            .iter()
            .filter(|(key, _)| key.starts_with(&prefix))
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// Writes an object as whoever it is of does.
    pub(crate) fn put(&self, key: &str, object: Value) {
        self.state().put(key, object);
        self.changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn change(&self, key: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.get(key).unwrap();
        change(&mut object);
        self.put(key, object);
    }

    /// Deletes an object, as soon as it has no finaliser.
    pub(crate) fn delete(&self, key: &str) {
        let mut object = self.get(key).unwrap();
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        self.put(key, object);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn serve(
        self,
        request: Request<Body>,
        on_the_way: Fault,
    ) -> Result<Response<Answered>, Infallible> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap();
        let path = parts.uri.path().to_owned();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let fault = {
            let mut state = self.state();
            state.requests.push(format!("{} {path}", parts.method));
            let fault = (state.faults)(&parts.method, &path);
            if on_the_way == Fault::None { fault } else { on_the_way }
        };
        match fault {
            Fault::Slow(time) => tokio::time::sleep(time).await,
            Fault::Refused(code) => return Ok(refusal(code, "injected")),
            Fault::Hangs => {
                tokio::time::sleep(READ_MAX).await;
                return Ok(refusal(504, "no answer"));
            }
            Fault::None | Fault::SlowAnswer(_) | Fault::Unheard | Fault::Gone | Fault::Closed => {}
        }
        let answer = if query.contains("watch=true") {
            self.watch(&path, &query, fault)
        } else {
            let answer = self.state().answer(&parts.method, &path, &body);
            self.changed.send_modify(|count| *count += 1);
            answer
        };
        if let Fault::SlowAnswer(time) = fault {
            tokio::time::sleep(time).await;
        }
        if fault == Fault::Unheard {
            tokio::time::sleep(READ_MAX).await;
            return Ok(refusal(504, "no answer"));
        }
        Ok(answer)
    }

    fn watch(&self, path: &str, query: &str, fault: Fault) -> Response<Answered> {
        let from = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion="));
        let from: u64 = from.and_then(|version| version.parse().ok()).unwrap_or_default();
        let (resource, namespace, _) = place(path);
        let prefix = format!("{resource}/{namespace}");
        let gone = json!({ "type": "ERROR", "object": status(410, "too old") });
        if fault == Fault::Gone {
            return Response::new(Answered::from(format!("{gone}\n")));
        }
        if fault == Fault::Closed {
            return Response::new(Answered::empty());
        }
        let epoch = self.state().epoch;
        let follow = (self.clone(), self.changed.subscribe(), from, prefix);
        let lines =
            futures_util::stream::unfold(follow, move |(server, mut changed, from, prefix)| async move {
                loop {
                    changed.borrow_and_update();
                    {
                        let state = server.state();
                        if state.epoch != epoch {
                            return None;
                        }
                        let new = state
                            .log
                            .iter()
                            .filter(|(version, key, ..)| *version > from && key.starts_with(&prefix));
                        let lines: String = new
                            .map(|(_, _, type_, object)| {
                                format!("{}\n", json!({ "type": type_, "object": object }))
                            })
                            .collect();
                        if !lines.is_empty() {
                            let upto = state.version;
                            drop(state);
                            return Some((
                                Ok::<_, Infallible>(Bytes::from(lines)),
                                (server, changed, upto, prefix),
                            ));
                        }
                    }
                    changed.changed().await.ok()?;
                }
            });
        Response::new(Answered::from_stream(lines))
    }
}

impl State {
    fn answer(&mut self, method: &Method, path: &str, body: &Bytes) -> Response<Answered> {
        let (resource, namespace, rest) = place(path);
        let name = rest.split('/').next().unwrap_or_default().to_owned();
        let key = format!("{resource}/{namespace}/{name}");
        let sent: Value = serde_json::from_slice(body).unwrap_or_default();
        match *method {
            Method::GET if name.is_empty() => {
                let prefix = format!("{resource}/{namespace}");
                let items = self.objects.iter().filter(|(key, _)| key.starts_with(&prefix));
                let items: Vec<_> = items.map(|(_, object)| object.clone()).collect();
                let metadata = json!({ "resourceVersion": self.version.to_string() });
                let list =
                    json!({ "apiVersion": "v1", "kind": "List", "metadata": metadata, "items": items });
                Response::new(Answered::from(list.to_string()))
            }
            Method::GET => match self.objects.get(&key) {
                Some(object) => Response::new(Answered::from(object.to_string())),
                None => refusal(404, "not found"),
            },
            Method::POST => {
                let name = sent["metadata"]["name"].as_str().map(str::to_owned);
                let name = name.unwrap_or_else(|| format!("generated-{}", self.version));
                let key = format!("{resource}/{namespace}/{name}");
                if self.objects.contains_key(&key) {
                    return refusal(409, "already exists");
                }
                let object = self.put(&key, sent);
                Response::new(Answered::from(object.to_string()))
            }
            Method::PUT | Method::PATCH => {
                let Some(present) = self.objects.get(&key).cloned() else { return refusal(404, "not found") };
                let wanted = &sent["metadata"]["resourceVersion"];
                if wanted.is_string() && *wanted != present["metadata"]["resourceVersion"] {
                    return refusal(409, "changed meanwhile");
                }
                let mut object = present;
                if rest.ends_with("/status") {
                    object["status"] = sent["status"].clone();
                } else if *method == Method::PATCH {
                    merge(&mut object, sent);
                } else {
                    object = sent;
                }
                let object = self.put(&key, object);
                Response::new(Answered::from(object.to_string()))
            }
            _ => refusal(405, "not here"),
        }
    }

    fn put(&mut self, key: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let finalizers = object["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty());
        let deleted = object["metadata"]["deletionTimestamp"].is_string() && !finalizers;
        let type_ = match (deleted, self.objects.contains_key(key)) {
            (true, _) => "DELETED",
            (false, true) => "MODIFIED",
            (false, false) => "ADDED",
        };
        if deleted {
            self.objects.remove(key);
        } else {
            self.objects.insert(key.to_owned(), object.clone());
        }
        self.log.push((self.version, key.to_owned(), type_, object.clone()));
        object
    }
}

/// Resource, namespace (empty where there is none) and what follows.
fn place(path: &str) -> (String, String, String) {
    let parts: Vec<_> = path.trim_matches('/').split('/').collect();
    // apis/GROUP/VERSION/… or api/VERSION/…
    let rest = if parts[0] == "apis" { &parts[3..] } else { &parts[2..] };
    match rest {
        ["namespaces", namespace, resource, rest @ ..] => {
            ((*resource).to_owned(), (*namespace).to_owned(), rest.join("/"))
        }
        [resource, rest @ ..] => ((*resource).to_owned(), String::new(), rest.join("/")),
        [] => unreachable!("{path}"),
    }
}

fn merge(object: &mut Value, patch: Value) {
    match (object, patch) {
        (Value::Object(object), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    object.remove(&key);
                } else {
                    merge(object.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (object, patch) => *object = patch,
    }
}

fn status(code: u16, message: &str) -> Value {
    let reason = StatusCode::from_u16(code).unwrap().canonical_reason().unwrap_or_default().replace(' ', "");
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "message": message, "reason": reason,
    })
}

fn refusal(code: u16, message: &str) -> Response<Answered> {
    let body = Answered::from(status(code, message).to_string());
    Response::builder().status(code).body(body).unwrap()
}
