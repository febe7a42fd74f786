//! One inference request: checked against the model's signature, handed to the device, its answer put into words.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use edgemux_proto::inference::infer_parameter::ParameterChoice;
use edgemux_proto::inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use edgemux_proto::inference::model_infer_response::InferOutputTensor;
use edgemux_proto::inference::{InferParameter, ModelInferRequest, ModelInferResponse};
use edgemux_runtime_api::client::{Contents, InputTensor, OutputContents, OutputTarget, RegionSlice};
use edgemux_runtime_api::tensor::{DataType, Signature, TensorSpec, byte_len};
use tonic::Status;

use super::contents;
use super::status;
use crate::access::{Caller, Permit};
use crate::device::{Purpose, Response, Submission, Ticket};
use crate::node::{NoSession, Node};
use crate::regions::Own;
use crate::session::{Loaded, Session, State};
use crate::traces::Traced;

type Parameters = BTreeMap<String, InferParameter>;

/// A request under way: its ticket and what is needed to word its responses.
#[derive(Debug)]
pub(super) struct Underway {
    id: String,
    session: Arc<Session>,
    loaded: Arc<Loaded>,
    /// The outputs asked for, in the order asked; empty means all, in the signature's order.
    wanted: Vec<Wanted>,
    deadline: Option<Instant>,
    ticket: Ticket,
    traced: Option<Traced>,
    /// It counts as under way until this is dropped.
    _permits: [Option<Permit>; 2],
}

#[derive(Debug)]
struct Wanted {
    index: usize,
    /// The region it goes to, with the parameters that named it.
    region: Option<Parameters>,
}

/// Checks a request and hands it to its device.
pub(super) fn start(node: &Node, mut request: ModelInferRequest, way: Way<'_>) -> Result<Underway, Status> {
    let arrived = Instant::now();
    let model = std::mem::take(&mut request.model_name);
    let version = std::mem::take(&mut request.model_version);
    if !way.caller.may_use(&model) {
        return Err(NoSession::Unknown(model).into());
    }
    let permits = way.caller.enter().map_err(|error| Status::resource_exhausted(error.to_string()))?;
    let submit = |session: &Arc<Session>| submit(node, session, request, arrived, way, permits);
    node.with_session(&model, &version, submit).map_err(status::brief)
}

/// How a request came.
#[derive(Debug)]
pub(super) struct Way<'a> {
    /// Who sent it.
    pub caller: &'a Caller,
    /// The transport's deadline, if it has one.
    pub deadline: Option<Instant>,
    /// By a stream, which may have any number of responses?
    pub streaming: bool,
    /// If it is traced.
    pub traced: Option<Traced>,
}

fn submit(
    node: &Node,
    session: &Arc<Session>,
    request: ModelInferRequest,
    arrived: Instant,
    Way { caller, deadline, streaming, traced }: Way<'_>,
    permits: [Option<Permit>; 2],
) -> Result<Underway, Status> {
    let model = &session.file.model;
    let Some(loaded) = session.serving() else {
        let reason = match session.state() {
            State::Failed(reason) => reason,
            state => format!("it is {}", state.name()),
        };
        return Err(NoSession::NotReady { model: model.clone(), reason }.into());
    };
    if loaded.signature.decoupled && !streaming {
        return Err(Status::unimplemented(format!(
            "model '{}' may give any number of responses to a request (it is decoupled): use ModelStreamInfer",
            model
        )));
    }
    let asked = Asked::read(&request.parameters)?;
    let own = node.regions.of(caller);
    let inputs = inputs(own, model, &loaded.signature, request.inputs, request.raw_input_contents)?;
    let (wanted, outputs) = outputs(own, model, &loaded.signature, &request.outputs)?;
    check_overlaps(&inputs, &outputs)?;
    let deadline = [deadline, asked.timeout.map(|timeout| arrived + timeout)].into_iter().flatten().min();
    let device = node
        .device(&session.device)
        .ok_or_else(|| Status::internal(format!("device '{}' of model '{model}' is gone", session.device)))?;
    let submission = Submission {
        received: arrived,
        inputs,
        outputs,
        priority: asked.priority,
        deadline,
        decoupled: loaded.signature.decoupled,
        purpose: Purpose::Client,
    };
    let ticket = device.submit(session, submission);
    let session = Arc::clone(session);
    Ok(Underway { id: request.id, session, loaded, wanted, deadline, ticket, traced, _permits: permits })
}

impl Underway {
    /// The request's id, as the client gave it.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The next response; none after the last or an error.
    pub(super) async fn next(&mut self) -> Option<Result<ModelInferResponse, Status>> {
        let model = &self.session.file.model;
        let answer = match self.deadline {
            None => self.ticket.next().await,
            Some(deadline) => match tokio::time::timeout_at(deadline.into(), self.ticket.next()).await {
                Ok(answer) => answer,
                Err(_) => {
                    let late = Status::deadline_exceeded(format!(
                        "the request's deadline passed before model '{model}' answered"
                    ));
                    return Some(Err(self.traced_to(late)));
                }
            },
        };
        Some(match answer? {
            Ok(response) => {
                if response.last
                    && let Some(mut traced) = self.traced.take()
                {
                    traced.had(response.course);
                    traced.end(&self.session, Ok(()));
                }
                Ok(self.word(response))
            }
            Err(failure) => {
                let status = status::failure(model, &failure);
                Err(self.traced_to(status))
            }
        })
    }

    /// It ends with this error.
    fn traced_to(&mut self, error: Status) -> Status {
        if let Some(traced) = self.traced.take() {
            traced.end(&self.session, Err(&error));
        }
        error
    }

    fn word(&self, response: Response) -> ModelInferResponse {
        let file = &self.session.file;
        let mut words = ModelInferResponse {
            model_name: file.model.clone(),
            model_version: file.version.to_string(),
            id: self.id.clone(),
            ..Default::default()
        };
        if self.loaded.signature.decoupled {
            words.parameters.insert("triton_final_response".into(), boolean(response.last));
        }
        let mut outputs = response.outputs;
        outputs.sort_by_key(|output| {
            self.wanted.iter().position(|wanted| wanted.index == output.index).unwrap_or(output.index)
        });
        let mut bytes = 0;
        for output in outputs {
            let Some(spec) = self.loaded.signature.outputs.get(output.index) else { continue };
            let region = self.wanted.iter().find(|wanted| wanted.index == output.index);
            let mut parameters = region.and_then(|wanted| wanted.region.clone()).unwrap_or_default();
            let raw = match output.contents {
                OutputContents::Inline(raw) => raw,
                OutputContents::Region(len) => {
                    let len =
                        InferParameter { parameter_choice: Some(ParameterChoice::Int64Param(len as i64)) };
                    parameters.insert(REGION_SIZE.into(), len);
                    // Clients count raw contents by output, those in shared memory included.
                    Bytes::new()
                }
            };
            bytes += raw.len() + edgemux_runtime_api::shm::ALIGNMENT;
            words.raw_output_contents.push(raw);
            words.outputs.push(InferOutputTensor {
                name: spec.name.clone(),
                datatype: spec.datatype.name().to_owned(),
                shape: output.shape,
                parameters,
                contents: None,
            });
        }
        self.session.saw_output_bytes(bytes);
        words
    }
}

/// A boolean parameter.
pub(super) fn boolean(value: bool) -> InferParameter {
    InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(value)) }
}

// === parameters ===

const REGION: &str = "shared_memory_region";
const REGION_SIZE: &str = "shared_memory_byte_size";
const REGION_OFFSET: &str = "shared_memory_offset";

/// What a request's parameters ask for. Those of other extensions are none of our business.
struct Asked {
    priority: u32,
    timeout: Option<Duration>,
}

impl Asked {
    fn read(parameters: &Parameters) -> Result<Self, Status> {
        let priority = unsigned(parameters, "priority")?.unwrap_or(0);
        let timeout = unsigned(parameters, "timeout")?.filter(|&microseconds| microseconds > 0);
        Ok(Self {
            priority: u32::try_from(priority).unwrap_or(u32::MAX),
            timeout: timeout.map(Duration::from_micros),
        })
    }
}

fn unsigned(parameters: &Parameters, key: &str) -> Result<Option<u64>, Status> {
    let Some(parameter) = parameters.get(key) else { return Ok(None) };
    let value = match &parameter.parameter_choice {
        Some(ParameterChoice::Uint64Param(value)) => Some(*value),
        Some(ParameterChoice::Int64Param(value)) => u64::try_from(*value).ok(),
        Some(ParameterChoice::StringParam(value)) => value.parse().ok(),
        _ => None,
    };
    value.map(Some).ok_or_else(|| {
        Status::invalid_argument(format!("parameter '{key}' must be a whole number of at least 0"))
    })
}

/// The stretch of shared memory that an input's or output's parameters name.
fn region(own: Own<'_>, tensor: &str, parameters: &Parameters) -> Result<Option<RegionSlice>, Status> {
    if parameters.is_empty() {
        return Ok(None);
    }
    let name = match parameters.get(REGION).map(|parameter| &parameter.parameter_choice) {
        None => return Ok(None),
        Some(Some(ParameterChoice::StringParam(name))) => name,
        Some(_) => return Err(Status::invalid_argument(format!("'{tensor}': {REGION} must be a string"))),
    };
    let size = unsigned(parameters, REGION_SIZE)?.ok_or_else(|| {
        Status::invalid_argument(format!("'{tensor}': {REGION} needs {REGION_SIZE} beside it"))
    })?;
    let offset = unsigned(parameters, REGION_OFFSET)?.unwrap_or(0);
    Ok(Some(own.slice(name, offset, size)?))
}

// === inputs ===

fn inputs(
    own: Own<'_>,
    model: &str,
    signature: &Signature,
    given: Vec<InferInputTensor>,
    raw: Vec<Bytes>,
) -> Result<Vec<InputTensor>, Status> {
    let wanted = &signature.inputs;
    if given.len() != wanted.len() {
        return Err(Status::invalid_argument(format!(
            "expected {} inputs but got {} inputs for model '{model}'. Got input(s) [{}], but missing required \
             input(s) [{}]. Please provide all required input(s).",
            wanted.len(),
            given.len(),
            names(given.iter().map(|input| input.name.as_str())),
            names(
                wanted
                    .iter()
                    .map(|spec| spec.name.as_str())
                    .filter(|name| !given.iter().any(|input| input.name == *name))
            ),
        )));
    }
    let any_raw = !raw.is_empty();
    let mut raw = raw.into_iter();
    let mut inputs: Vec<Option<InputTensor>> = vec![None; wanted.len()];
    for input in given {
        let Some(index) = wanted.iter().position(|spec| spec.name == input.name) else {
            return Err(Status::invalid_argument(format!(
                "unexpected inference input '{}' for model '{model}': it takes [{}]",
                input.name,
                names(wanted.iter().map(|spec| spec.name.as_str())),
            )));
        };
        let tensor = read_input(own, model, &wanted[index], input, any_raw, &mut raw)?;
        if inputs[index].replace(tensor).is_some() {
            return Err(Status::invalid_argument(format!(
                "input '{}' is given twice for model '{model}'",
                wanted[index].name
            )));
        }
    }
    if raw.next().is_some() {
        return Err(Status::invalid_argument(format!(
            "raw_input_contents holds more entries than model '{model}' has inputs that are not in shared memory"
        )));
    }
    // As many as wanted, each wanted, none twice: every place is filled.
    Ok(inputs.into_iter().flatten().collect())
}

fn read_input(
    own: Own<'_>,
    model: &str,
    spec: &TensorSpec,
    input: InferInputTensor,
    any_raw: bool,
    raw: &mut impl Iterator<Item = Bytes>,
) -> Result<InputTensor, Status> {
    let name = &spec.name;
    let refuse =
        |why: String| Err(Status::invalid_argument(format!("input '{name}' of model '{model}': {why}")));
    if input.datatype != spec.datatype.name() {
        return refuse(format!("its datatype is {}, got {}", spec.datatype, input.datatype));
    }
    if !spec.accepts(&input.shape) {
        return refuse(format!("its shape is {:?}, got {:?}", spec.shape, input.shape));
    }
    let contents = match (region(own, name, &input.parameters)?, input.contents) {
        (Some(_), Some(_)) => return refuse("both shared memory and contents are given".into()),
        (Some(slice), None) => Contents::Region(slice),
        (None, Some(_)) if any_raw => {
            return refuse("contents must not be set when raw_input_contents is used".into());
        }
        (None, Some(typed)) => {
            Contents::Inline(contents::to_raw(spec.datatype, &typed).map_err(|error| {
                Status::invalid_argument(format!("input '{name}' of model '{model}': {error}"))
            })?)
        }
        (None, None) => match raw.next() {
            Some(bytes) => Contents::Inline(bytes),
            // An empty tensor needs no contents.
            None if byte_len(spec.datatype, &input.shape) == Some(0) => Contents::Inline(Bytes::new()),
            None => return refuse("no contents are given".into()),
        },
    };
    let got = contents.byte_size();
    match (byte_len(spec.datatype, &input.shape), &contents) {
        (Some(want), _) if want as u64 == got => {}
        (None, Contents::Inline(bytes)) if spec.datatype == DataType::Bytes => {
            let elements = byte_len(DataType::Uint8, &input.shape).unwrap_or(usize::MAX);
            if !contents::is_strings(bytes, elements) {
                return refuse(format!("its {got} bytes are not {elements} strings, each after its length"));
            }
        }
        (None, Contents::Region(_)) if spec.datatype == DataType::Bytes => {}
        (want, _) => {
            let want = want.map_or("too many".into(), |bytes| bytes.to_string());
            return refuse(format!("shape {:?} takes {want} bytes, got {got}", input.shape));
        }
    }
    Ok(InputTensor { shape: input.shape, contents })
}

// === outputs ===

fn outputs(
    own: Own<'_>,
    model: &str,
    signature: &Signature,
    asked: &[InferRequestedOutputTensor],
) -> Result<(Vec<Wanted>, Vec<OutputTarget>), Status> {
    if asked.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let mut wanted: Vec<Wanted> = Vec::with_capacity(asked.len());
    let mut targets = vec![OutputTarget::Skip; signature.outputs.len()];
    for output in asked {
        let Some(index) = signature.outputs.iter().position(|spec| spec.name == output.name) else {
            return Err(Status::invalid_argument(format!(
                "unexpected inference output '{}' for model '{model}': it gives [{}]",
                output.name,
                names(signature.outputs.iter().map(|spec| spec.name.as_str())),
            )));
        };
        if unsigned(&output.parameters, "classification")?.unwrap_or(0) > 0 {
            return Err(Status::unimplemented("the classification extension is not served: take the tensor"));
        }
        let slice = region(own, &output.name, &output.parameters)?;
        let region = slice.is_some().then(|| output.parameters.clone());
        if wanted.iter().any(|other| other.index == index) {
            return Err(Status::invalid_argument(format!(
                "output '{}' is asked for twice of model '{model}'",
                output.name
            )));
        }
        wanted.push(Wanted { index, region });
        targets[index] = slice.map_or(OutputTarget::Inline, OutputTarget::Region);
    }
    Ok((wanted, targets))
}

/// An output written over an input, or over another output, while the model still reads or the client still waits.
fn check_overlaps(inputs: &[InputTensor], outputs: &[OutputTarget]) -> Result<(), Status> {
    let mut taken: Vec<&RegionSlice> = inputs
        .iter()
        .filter_map(|input| match &input.contents {
            Contents::Region(slice) => Some(slice),
            Contents::Inline(_) | Contents::Parts(_) => None,
        })
        .collect();
    for target in outputs {
        let OutputTarget::Region(slice) = target else { continue };
        if taken.iter().any(|other| slice.overlaps(other)) {
            return Err(Status::invalid_argument(
                "an output's shared memory overlaps an input's or another output's of the same request",
            ));
        }
        taken.push(slice);
    }
    Ok(())
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("'{name}'")).collect::<Vec<_>>().join(",")
}
