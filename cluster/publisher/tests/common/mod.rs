//! An API server that is a function: it keeps what it was asked and answers as it is told.

use std::sync::{Arc, Mutex};

use edgemux_cluster_api::access::{self, OF_PUBLISHER};
use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// A request, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Value,
}

/// What is answered: a status code and a body, or nothing at all.
pub(crate) type Answer = Option<(u16, Value)>;

type Answers = Box<dyn FnMut(&Asked) -> Answer + Send>;

/// The API server.
#[derive(Clone)]
pub(crate) struct ApiServer {
    asked: Arc<Mutex<Vec<Asked>>>,
    answer: Arc<Mutex<Answers>>,
}

// === impl Asked ===

impl Asked {
    /// `node`, `status` or `lease`.
    pub(crate) fn object(&self) -> &'static str {
        match self.path.as_str() {
            path if path.ends_with("/status") => "status",
            path if path.contains("/acceleratornodes/") => "node",
            path if path.contains("/leases/") => "lease",
            _ => "other",
        }
    }

    /// Every request is of the table that the shipped roles are made from.
    fn assert_allowed(&self) {
        let parts: Vec<_> = self.path.trim_start_matches("/apis/").split('/').collect();
        let (group, resource, namespace) = match parts[..] {
            [group, _, "namespaces", namespace, resource, _] => (group, resource.to_owned(), Some(namespace)),
            [group, _, resource, _] => (group, resource.to_owned(), None),
            [group, _, resource, _, sub] => (group, format!("{resource}/{sub}"), None),
            _ => panic!("{self:?}"),
        };
        assert_eq!(self.method, Method::PATCH, "{self:?}");
        assert!(access::allows(OF_PUBLISHER, group, &resource, "patch", namespace), "{self:?}");
    }
}

// === impl ApiServer ===

impl ApiServer {
    /// One that answers so, and its client.
    pub(crate) fn new(answer: impl FnMut(&Asked) -> Answer + Send + 'static) -> (Self, Client) {
        let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let server = Self { asked: Arc::default(), answer: Arc::new(Mutex::new(Box::new(answer))) };
        let this = server.clone();
        tokio::spawn(async move {
            // What is not answered is kept, or it would be a refusal.
            let mut unanswered = Vec::new();
            while let Some((request, respond)) = handle.next_request().await {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                let asked = Asked {
                    method: parts.method,
                    path: parts.uri.path().to_owned(),
                    query: parts.uri.query().unwrap_or_default().to_owned(),
                    body: serde_json::from_slice(&body).unwrap_or_default(),
                };
                asked.assert_allowed();
                let answer = (this.answer.lock().unwrap())(&asked);
                this.asked.lock().unwrap().push(asked);
                match answer {
                    Some((code, body)) => {
                        let response =
                            Response::builder().status(code).body(Body::from(body.to_string().into_bytes()));
                        respond.send_response(response.unwrap());
                    }
                    None => unanswered.push(respond),
                }
            }
        });
        (server, Client::new(service, "default"))
    }

    /// Answers so from now on.
    pub(crate) fn answer(&self, answer: impl FnMut(&Asked) -> Answer + Send + 'static) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The last that was asked of this object.
    pub(crate) fn last(&self, object: &str) -> Option<Asked> {
        self.asked().into_iter().rev().find(|asked| asked.object() == object)
    }
}

/// It takes everything and answers with it.
pub(crate) fn takes(asked: &Asked) -> Answer {
    let mut object = asked.body.clone();
    if asked.object() != "lease" {
        object["spec"] = json!({ "endpoint": "http://10.0.0.7:8001" });
    }
    Some((200, object))
}

/// An error, as Kubernetes words it.
pub(crate) fn refusal(code: u16, reason: &str, message: &str) -> Answer {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    Some((code, status))
}
