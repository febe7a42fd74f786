//! A request's way as an OpenTelemetry trace: in the queue, on the device, the reply; sent to a collector by OTLP.
//!
//! Spans are made when a request is over, of the times that it has anyway: one that is not traced costs nothing but the
//! question. What the collector does not take in time is dropped; requests never wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{
    SpanBuilder, SpanKind, Status as SpanStatus, TraceContextExt, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::config;
use crate::session::Session;

/// Longest that the last spans may take to be sent when the daemon ends.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// Makes traces and sends them.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
    share: f64,
    /// Requests whose callers have said nothing of traces.
    count: AtomicU64,
}

/// The times of a request that has had the device.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    /// It was handed in.
    pub arrived: Instant,
    /// It had the device.
    pub started: Instant,
    /// It had had it.
    pub finished: Instant,
}

/// A request that is traced.
#[derive(Debug)]
pub struct Traced {
    traces: Arc<Traces>,
    parent: Context,
    received: (Instant, SystemTime),
    tenant: Option<String>,
    course: Option<Course>,
}

struct Headers<'a>(&'a MetadataMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        Vec::new()
    }
}

impl Traces {
    /// To the collector that the configuration names, if it names one. Within the runtime that is to do the sending.
    pub fn start(config: &config::Telemetry) -> Result<Option<Arc<Self>>, ExporterBuildError> {
        let Some(endpoint) = &config.otlp_endpoint else { return Ok(None) };
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder().with_service_name("edgemuxd").with_attribute(version).build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            // Which requests are traced is decided before anything is made of them.
            .with_sampler(Sampler::AlwaysOn)
            .with_resource(resource)
            .build();
        let tracer = provider.tracer("edgemuxd");
        let propagator = TraceContextPropagator::new();
        Ok(Some(Arc::new(Self {
            provider,
            tracer,
            propagator,
            share: config.trace_share,
            count: AtomicU64::new(0),
        })))
    }

    /// Whether a request is traced: as its caller says in `traceparent`, else as many as the configured share of all are,
    /// evenly.
    pub fn begin(self: &Arc<Self>, metadata: &MetadataMap, tenant: Option<&str>) -> Option<Traced> {
        let parent = self.propagator.extract_with_context(&Context::new(), &Headers(metadata));
        let asked = parent.span().span_context().clone();
        let is_traced = if asked.is_valid() { asked.is_sampled() } else { self.has_turn() };
        is_traced.then(|| Traced {
            traces: Arc::clone(self),
            parent,
            received: (Instant::now(), SystemTime::now()),
            tenant: tenant.map(str::to_owned),
            course: None,
        })
    }

    fn has_turn(&self) -> bool {
        let before = self.count.fetch_add(1, Ordering::Relaxed) as f64;
        (before * self.share).floor() < ((before + 1.0) * self.share).floor()
    }

    /// Sends what is left.
    pub fn end(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH_MAX) {
            tracing::warn!(%error, "the last traces are not sent");
        }
    }
}

impl Traced {
    /// It has had the device.
    pub fn had(&mut self, course: Course) {
        self.course = Some(course);
    }

    /// It is answered.
    pub fn end(self, session: &Session, answer: Result<(), &Status>) {
        let answered = Instant::now();
        let tracer = &self.traces.tracer;
        let mut attributes = vec![
            KeyValue::new("edgemux.model", session.file.model.clone()),
            KeyValue::new("edgemux.version", session.file.version as i64),
            KeyValue::new("edgemux.device", session.device.clone()),
            KeyValue::new("edgemux.runtime", session.runtime.name()),
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.grpc.status_code", answer.map_or_else(|status| status.code() as i64, |()| 0)),
        ];
        attributes.extend(self.tenant.clone().map(|tenant| KeyValue::new("edgemux.tenant", tenant)));
        let whole = SpanBuilder::from_name("infer")
            .with_kind(SpanKind::Server)
            .with_start_time(self.received.1)
            .with_attributes(attributes);
        let whole = self.parent.with_span(tracer.build_with_context(whole, &self.parent));
        let part = |name: &'static str, from: Instant, until: Instant| {
            let span = SpanBuilder::from_name(name).with_start_time(self.at(from));
            let span = tracer.build_with_context(span, &whole);
            whole.with_span(span).span().end_with_timestamp(self.at(until));
        };
        if let Some(Course { arrived, started, finished }) = self.course {
            part("queue", arrived, started);
            part("device", started, finished);
            part("reply", finished, answered);
        }
        if let Err(status) = answer {
            whole.span().set_status(SpanStatus::error(status.message().to_owned()));
        }
        whole.span().end_with_timestamp(self.at(answered));
    }

    fn at(&self, instant: Instant) -> SystemTime {
        self.received.1 + instant.saturating_duration_since(self.received.0)
    }
}
