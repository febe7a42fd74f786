//! Daemons over gRPC, real sockets: what their answers, and their silence, come to.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser;
use edgemux_client::Credentials;
use edgemux_controller::args::Args;
use edgemux_controller::daemons::grpc::Grpc;
use edgemux_controller::daemons::{Daemons, Request, Token, What};
use edgemux_controller::decide::answers::Answer;
use edgemux_proto::edgemux::v1::admission_server::{Admission, AdmissionServer};
use edgemux_proto::edgemux::v1::devices_server::{Devices, DevicesServer};
use edgemux_proto::edgemux::v1::{
    CommitRequest, CommitResponse, ListDevicesRequest, ListDevicesResponse, ReleaseRequest, ReleaseResponse,
    ReserveRequest, ReserveResponse, Session, Verdict,
};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Response, Status};

type Said<T> = Result<Response<T>, Status>;

/// A daemon that answers what it is told to.
#[derive(Clone, Default)]
struct Daemon {
    says: Arc<Mutex<Option<Code>>>,
    epoch: Arc<Mutex<String>>,
    uid: Arc<Mutex<String>>,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Daemon {
    fn hears<T>(&self, what: String, request: &tonic::Request<T>) -> Result<(), Status> {
        let token = request.metadata().get("authorization").map(|token| token.to_str().unwrap().to_owned());
        self.heard.lock().unwrap().push(format!("{what} {}", token.unwrap_or_default()));
        match *self.says.lock().unwrap() {
            Some(code) => Err(Status::new(code, "as it is told")),
            None => Ok(()),
        }
    }
}

#[tonic::async_trait]
impl Admission for Daemon {
    async fn reserve(&self, request: tonic::Request<ReserveRequest>) -> Said<ReserveResponse> {
        self.hears(format!("reserve {}", request.get_ref().uid), &request)?;
        let verdict = Some(Verdict { admitted: true, device: "gpu0".into(), ..Verdict::default() });
        let epoch = self.epoch.lock().unwrap().clone();
        Ok(Response::new(ReserveResponse { verdict, reservation: "r-1".into(), expires_in_s: 60.0, epoch }))
    }
    async fn commit(&self, request: tonic::Request<CommitRequest>) -> Said<CommitResponse> {
        self.hears(format!("commit {}", request.get_ref().reservation), &request)?;
        let session = Session { uid: self.uid.lock().unwrap().clone(), ..Session::default() };
        Ok(Response::new(CommitResponse { session: Some(session) }))
    }
    async fn release(&self, request: tonic::Request<ReleaseRequest>) -> Said<ReleaseResponse> {
        self.hears(format!("release {}", request.get_ref().reservation), &request)?;
        Ok(Response::new(ReleaseResponse {}))
    }
}

#[tonic::async_trait]
impl Devices for Daemon {
    async fn list(&self, _: tonic::Request<ListDevicesRequest>) -> Said<ListDevicesResponse> {
        let epoch = self.epoch.lock().unwrap().clone();
        Ok(Response::new(ListDevicesResponse { devices: Vec::new(), epoch }))
    }
}

async fn serve(daemon: &Daemon) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = tonic::transport::Server::builder()
        .add_service(AdmissionServer::new(daemon.clone()))
        .add_service(DevicesServer::new(daemon.clone()));
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    endpoint
}

fn token() -> Token {
    Token { reservation: "r-1".into(), epoch: "e1".into(), uid: "u".into() }
}

fn all(endpoint: &str) -> [Request; 3] {
    let reserve = ReserveRequest { uid: "u".into(), ..ReserveRequest::default() };
    [What::Reserve(Box::new(reserve)), What::Commit(token()), What::Release(token())]
        .map(|what| Request { endpoint: endpoint.to_owned(), what })
}

fn word(answer: &Answer) -> String {
    match answer {
        Answer::Held(held) => format!("held {} {}", held.reservation, held.epoch),
        Answer::Refused(why) => format!("refused {}", why[0].reason),
        Answer::Serves => "serves".into(),
        Answer::NoSuch(_) => "no such".into(),
        Answer::Failed(_) => "failed".into(),
        Answer::Busy(_) => "busy".into(),
        Answer::None(_) => "none".into(),
    }
}

#[tokio::test]
async fn every_answer_of_a_daemon_means_something() {
    let daemon = Daemon::default();
    "e1".clone_into(&mut daemon.epoch.lock().unwrap());
    let endpoint = serve(&daemon).await;
    let grpc = Grpc::new(Credentials::default());
    for (says, reserve, commit, release) in [
        (None, "held r-1 e1", "serves", "serves"),
        (Some(Code::NotFound), "refused NoModel", "no such", "no such"),
        (Some(Code::Aborted), "busy", "busy", "busy"),
        (Some(Code::FailedPrecondition), "refused NotSuited", "failed", "none"),
        (Some(Code::AlreadyExists), "refused NameTaken", "failed", "none"),
        (Some(Code::ResourceExhausted), "refused Limit", "failed", "none"),
        (Some(Code::PermissionDenied), "refused NotAllowed", "failed", "none"),
        (Some(Code::Unauthenticated), "refused NotAllowed", "failed", "none"),
        (Some(Code::InvalidArgument), "refused Invalid", "failed", "none"),
        (Some(Code::Internal), "refused Failed", "failed", "none"),
        (Some(Code::Unavailable), "none", "none", "none"),
        (Some(Code::DeadlineExceeded), "none", "none", "none"),
        (Some(Code::Cancelled), "none", "none", "none"),
    ] {
        *daemon.says.lock().unwrap() = says;
        for (request, expected) in all(&endpoint).into_iter().zip([reserve, commit, release]) {
            let answer = grpc.ask(request.clone()).await;
            assert_eq!(word(&answer), expected, "{says:?} to {request:?}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_place_of_an_earlier_run_is_neither_committed_nor_released() {
    let daemon = Daemon::default();
    "e2".clone_into(&mut daemon.epoch.lock().unwrap());
    let endpoint = serve(&daemon).await;
    let grpc = Grpc::new(Credentials::default());
    for request in all(&endpoint).into_iter().skip(1) {
        assert_eq!(word(&grpc.ask(request).await), "no such");
    }
    assert!(daemon.heard.lock().unwrap().is_empty(), "the daemon was asked about another's place");
    "e1".clone_into(&mut daemon.epoch.lock().unwrap());
    "somebody".clone_into(&mut daemon.uid.lock().unwrap());
    let commit = all(&endpoint)[1].clone();
    assert_eq!(word(&grpc.ask(commit).await), "no such", "it is another's session");
}

#[tokio::test]
async fn a_token_is_sent_as_it_is_in_the_file_then() {
    let daemon = Daemon::default();
    let endpoint = serve(&daemon).await;
    let file = std::env::temp_dir().join(format!("edgemux-controller-token-{}", std::process::id()));
    let args = Args::parse_from(["edgemux-controller", "--token-file", file.to_str().unwrap()]);
    let grpc = Grpc::new(args.run.credentials);
    let reserve = all(&endpoint)[0].clone();
    assert_eq!(word(&grpc.ask(reserve.clone()).await), "none", "there is no file");
    for token in ["one", "two"] {
        std::fs::write(&file, format!("{token}\n")).unwrap();
        assert_eq!(word(&grpc.ask(reserve.clone()).await), "held r-1 ");
    }
    std::fs::remove_file(&file).unwrap();
    assert_eq!(*daemon.heard.lock().unwrap(), ["reserve u Bearer one", "reserve u Bearer two"]);
}

#[tokio::test]
async fn nobody_there_is_no_answer_and_comes_soon() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let grpc = Grpc::new(Credentials::default());
    let began = std::time::Instant::now();
    for request in all(&endpoint).into_iter().chain(all("http://:x")).chain(all("nonsense")) {
        assert_eq!(word(&grpc.ask(request.clone()).await), "none", "{request:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
