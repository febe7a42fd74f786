//! A request's way, told to an OpenTelemetry collector, which the test plays.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use edgemux_tests::{Emulated, PATIENCE, Setup, echo, eventually};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};

const DEVICE: &str =
    "[[device]]\nname = 'gpu0'\nkind = 'gpu'\nruntimes = ['emulator']\nmultiplexing = 'exclusive'\n";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let spans = request.into_inner().resource_spans.into_iter().flat_map(|of| of.scope_spans);
        self.0.lock().unwrap().extend(spans.flat_map(|scope| scope.spans));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Where it listens.
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = TraceServiceServer::new(self.clone());
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        format!("http://{address}")
    }

    fn spans(&self) -> Vec<Span> {
        self.0.lock().unwrap().clone()
    }
}

fn text(span: &Span, key: &str) -> String {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == key);
    match attribute.and_then(|attribute| attribute.value.clone()).and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{key}: {other:?} in {span:?}"),
    }
}

fn ms(span: &Span) -> f64 {
    (span.end_time_unix_nano - span.start_time_unix_nano) as f64 / 1e6
}

#[tokio::test]
async fn a_request_that_its_caller_traces_is_told_part_by_part() {
    let collector = Collector::default();
    let endpoint = collector.start().await;
    let config = format!("[telemetry]\notlp-endpoint = '{endpoint}'\ntrace-share = 0.0\n{DEVICE}");
    let daemon = Setup::bare(&config).emulated("model", Emulated::new(50.0)).start().await;
    let client = daemon.client().await;
    client.infer(echo("model", [1.0; 4])).await.unwrap();
    let first = client.spawn(echo("model", [1.0; 4]));
    client.until_load("model", 0, 1).await;
    let traced = |flags: &str| {
        let mut request = Request::new(echo("model", [1.0; 4]));
        let parent = format!("00-{TRACE}-{PARENT}-{flags}");
        request.metadata_mut().insert("traceparent", parent.parse().unwrap());
        request
    };
    client.inference.clone().model_infer(traced("01")).await.unwrap();
    client.inference.clone().model_infer(traced("00")).await.unwrap();
    first.await.unwrap().unwrap();
    let mut late = traced("01");
    late.set_timeout(std::time::Duration::from_millis(5));
    let late = client.inference.clone().model_infer(late).await.unwrap_err();
    assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&late.code()), "{late:?}");
    // What is under way when the daemon ends is sent before it does.
    daemon.stop().await;
    let spans = collector.spans();
    let whole: Vec<_> = spans.iter().filter(|span| span.name == "infer").collect();
    assert!(!whole.is_empty(), "{spans:#?}");
    for span in &spans {
        assert_eq!(span.trace_id, hex(TRACE), "only what was asked for: {span:?}");
    }
    let served =
        *whole.iter().find(|span| text(span, "rpc.grpc.status_code") == "0").expect("one that was answered");
    assert_eq!(served.parent_span_id, hex(PARENT));
    assert_eq!(
        (text(served, "edgemux.model"), text(served, "edgemux.device")),
        ("model".into(), "gpu0".into())
    );
    let parts = spans.iter().filter(|span| span.parent_span_id == served.span_id);
    let parts: HashMap<_, _> = parts.map(|span| (span.name.as_str(), span)).collect();
    assert_eq!(parts.len(), 3, "{parts:?}");
    // It waited for the one before it, had the device, and was answered: one after the other.
    assert!(ms(parts["device"]) >= 50.0, "{parts:?}");
    assert!(ms(served) >= ms(parts["queue"]) + ms(parts["device"]) - 0.01, "{parts:?}");
    assert!(parts["queue"].end_time_unix_nano <= parts["device"].start_time_unix_nano + 1000);
    assert!(parts["device"].end_time_unix_nano <= parts["reply"].start_time_unix_nano + 1000);
}

#[tokio::test]
async fn a_share_of_those_that_nobody_asks_for_is_traced_and_a_missing_collector_harms_nobody() {
    let collector = Collector::default();
    let endpoint = collector.start().await;
    let config =
        |endpoint: &str| format!("[telemetry]\notlp-endpoint = '{endpoint}'\ntrace-share = 0.25\n{DEVICE}");
    for (endpoint, expected) in [(endpoint.as_str(), 25), ("http://127.0.0.1:9", 0)] {
        let daemon = Setup::bare(&config(endpoint)).emulated("model", Emulated::new(0.2)).start().await;
        let client = daemon.client().await;
        for _ in 0..100 {
            client.infer(echo("model", [1.0; 4])).await.unwrap();
        }
        daemon.stop().await;
        let mut spans = collector.0.lock().unwrap();
        assert_eq!(spans.drain(..).filter(|span| span.name == "infer").count(), expected, "{endpoint}");
    }
}

#[tokio::test]
async fn traces_are_sent_while_it_serves() {
    let collector = Collector::default();
    let endpoint = collector.start().await;
    let config = format!("[telemetry]\notlp-endpoint = '{endpoint}'\ntrace-share = 1.0\n{DEVICE}");
    let daemon = Setup::bare(&config).emulated("model", Emulated::new(0.2)).start().await;
    daemon.client().await.infer(echo("model", [1.0; 4])).await.unwrap();
    eventually("a span has come", PATIENCE, async || (!collector.spans().is_empty()).then_some(())).await;
    daemon.stop().await;
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
