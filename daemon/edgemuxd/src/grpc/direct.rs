//! `ModelInfer` without copies of tensors.
//!
//! The stock path gathers a request's frames in one buffer, and writes a response's message into another: two copies of
//! every tensor and two large allocations. Here a request is decoded from the frames as they came, so that a tensor
//! that came in one frame shares its memory, and a response goes out as its fields followed by the tensors, each from
//! where the worker wrote it. Every other RPC takes the stock path.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use edgemux_proto::inference::grpc_inference_service_server::GrpcInferenceServiceServer;
use edgemux_proto::inference::{ModelInferRequest, ModelInferResponse};
use futures_util::future::BoxFuture;
use http_body::{Body as _, Frame};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;

use super::gate::caller;
use super::inference::InferenceService;

const MODEL_INFER: &str = "/inference.GRPCInferenceService/ModelInfer";
/// Number of `raw_output_contents` in `ModelInferResponse`, its last field.
const RAW_OUTPUT_CONTENTS: u32 = 6;
/// A message is preceded by whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// The inference service with its own way for `ModelInfer`.
#[derive(Clone, Debug)]
pub(super) struct Inference {
    stock: GrpcInferenceServiceServer<InferenceService>,
    service: InferenceService,
    message_bytes_max: usize,
}

impl Inference {
    pub(super) fn new(service: InferenceService, message_bytes_max: usize) -> Self {
        let stock = GrpcInferenceServiceServer::new(service.clone())
            .max_decoding_message_size(message_bytes_max)
            .max_encoding_message_size(usize::MAX);
        Self { stock, service, message_bytes_max }
    }

    async fn infer(self, request: http::Request<Body>) -> Result<ModelInferResponse, Status> {
        let (parts, body) = request.into_parts();
        if let Some(encoding) = parts.headers.get("grpc-encoding")
            && encoding != "identity"
        {
            return Err(Status::unimplemented(format!("compressed messages ({encoding:?}) are not taken")));
        }
        let message = read_message(body, self.message_bytes_max).await?;
        let request = ModelInferRequest::decode(message)
            .map_err(|error| Status::internal(format!("the request cannot be decoded: {error}")))?;
        let caller = caller(&parts.extensions)?.clone();
        self.service.infer(&caller, &MetadataMap::from_headers(parts.headers), request).await
    }
}

impl NamedService for Inference {
    const NAME: &'static str = <GrpcInferenceServiceServer<InferenceService> as NamedService>::NAME;
}

impl Service<http::Request<Body>> for Inference {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != MODEL_INFER {
            return Box::pin(self.stock.call(request));
        }
        let service = self.clone();
        Box::pin(async move {
            Ok(match service.infer(request).await {
                Err(status) => status.into_http(),
                Ok(response) => {
                    let mut answer = http::Response::new(Body::new(ResponseBody::new(response)));
                    let grpc = http::HeaderValue::from_static("application/grpc");
                    answer.headers_mut().insert(http::header::CONTENT_TYPE, grpc);
                    answer
                }
            })
        })
    }
}

// === requests ===

/// Frames as they came, read as one run of bytes.
#[derive(Debug, Default)]
struct Frames {
    frames: VecDeque<Bytes>,
    remaining: usize,
}

impl Frames {
    fn push(&mut self, frame: Bytes) {
        self.remaining += frame.len();
        if !frame.is_empty() {
            self.frames.push_back(frame);
        }
    }
}

impl Buf for Frames {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.frames.front().map_or(&[], |frame| frame)
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining, "advanced past the end");
        self.remaining -= count;
        while let Some(front) = self.frames.front_mut() {
            if count < front.len() {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.frames.pop_front();
        }
    }

    fn copy_to_bytes(&mut self, count: usize) -> Bytes {
        match self.frames.front_mut() {
            Some(front) if count < front.len() => {
                self.remaining -= count;
                front.split_to(count)
            }
            Some(front) if count == front.len() => {
                self.remaining -= count;
                self.frames.pop_front().unwrap_or_default()
            }
            // It came in several frames: one copy makes one tensor of it.
            _ => {
                let mut whole = BytesMut::with_capacity(count);
                whole.put(self.take(count));
                whole.freeze()
            }
        }
    }
}

/// Reads the one message of a unary request.
async fn read_message(mut body: Body, bytes_max: usize) -> Result<Frames, Status> {
    let mut frames = Frames::default();
    let mut length = None;
    while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        // Trailers of a request say nothing.
        if let Ok(data) = frame?.into_data() {
            frames.push(data);
        }
        if length.is_none() && frames.remaining >= PREFIX_BYTES {
            if frames.get_u8() != 0 {
                return Err(Status::unimplemented("compressed messages are not taken"));
            }
            let announced = frames.get_u32() as usize;
            if announced > bytes_max {
                return Err(Status::out_of_range(format!(
                    "Error, decoded message length too large: found {announced} bytes, the limit is: {bytes_max} bytes"
                )));
            }
            length = Some(announced);
        }
        if length.is_some_and(|length| frames.remaining > length) {
            return Err(Status::internal("more than one message in a unary request"));
        }
    }
    match length {
        Some(length) if frames.remaining == length => Ok(frames),
        _ => Err(Status::internal("the request ended before its message did")),
    }
}

// === responses ===

/// A response's message in pieces: its fields, then each tensor from where it lies; and the trailers.
struct ResponseBody {
    pieces: VecDeque<Bytes>,
    ended: bool,
}

impl ResponseBody {
    fn new(mut response: ModelInferResponse) -> Self {
        let tensors = std::mem::take(&mut response.raw_output_contents);
        let tagged = |tensor: &Bytes| 1 + encoded_len_varint(tensor.len() as u64) + tensor.len();
        let fields = response.encoded_len();
        let length = fields + tensors.iter().map(tagged).sum::<usize>();

        let mut piece = BytesMut::with_capacity(PREFIX_BYTES + fields + 16);
        piece.put_u8(0);
        // Longer than 4 GiB cannot be: a worker's buffer holds 2 GiB at most.
        piece.put_u32(length as u32);
        // A buffer that grows takes everything.
        let _ = response.encode(&mut piece);
        let mut pieces = VecDeque::with_capacity(2 * tensors.len());
        for tensor in tensors {
            encode_key(RAW_OUTPUT_CONTENTS, WireType::LengthDelimited, &mut piece);
            encode_varint(tensor.len() as u64, &mut piece);
            pieces.push_back(piece.split().freeze());
            if !tensor.is_empty() {
                pieces.push_back(tensor);
            }
        }
        if !piece.is_empty() {
            pieces.push_back(piece.freeze());
        }
        Self { pieces, ended: false }
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(piece) = self.pieces.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        self.ended = true;
        let mut trailers = http::HeaderMap::with_capacity(1);
        trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}

#[cfg(test)]
mod tests {
    use edgemux_proto::inference::model_infer_response::InferOutputTensor;

    use super::*;

    fn frames(pieces: &[&'static [u8]]) -> Frames {
        let mut frames = Frames::default();
        pieces.iter().for_each(|piece| frames.push(Bytes::from_static(piece)));
        frames
    }

    #[test]
    fn a_tensor_that_came_in_one_frame_is_not_copied() {
        static FRAME: [u8; 6] = *b"abcdef";
        let mut frames = frames(&[&FRAME, b"gh"]);
        frames.advance(1);
        let tensor = frames.copy_to_bytes(4);
        assert_eq!((&tensor[..], tensor.as_ptr()), (&b"bcde"[..], FRAME[1..].as_ptr()));
        assert_eq!(frames.copy_to_bytes(3)[..], *b"fgh");
        assert_eq!(frames.remaining(), 0);
    }

    #[test]
    fn a_request_reads_the_same_however_it_is_cut() {
        let request = ModelInferRequest {
            model_name: "m".into(),
            raw_input_contents: vec![
                Bytes::from_static(&[7; 300]),
                Bytes::new(),
                Bytes::from_static(&[1, 2]),
            ],
            ..Default::default()
        };
        let encoded = Bytes::from(request.encode_to_vec());
        for size in 1..encoded.len() {
            let mut frames = Frames::default();
            (0..encoded.len()).step_by(size).for_each(|at| {
                frames.push(encoded.slice(at..(at + size).min(encoded.len())));
            });
            assert_eq!(ModelInferRequest::decode(frames).unwrap(), request, "frames of {size} bytes");
        }
        for end in 1..encoded.len() {
            let mut frames = Frames::default();
            frames.push(encoded.slice(..end));
            // A cut between two fields is a shorter message; any other is an error, never a panic.
            let _ = ModelInferRequest::decode(frames);
        }
    }

    #[test]
    fn the_pieces_of_a_response_are_its_message() {
        let output = InferOutputTensor { name: "o".into(), shape: vec![1, 3], ..Default::default() };
        for tensors in
            [vec![], vec![Bytes::new()], vec![Bytes::from_static(&[9; 1000]), Bytes::from_static(b"x")]]
        {
            let response = ModelInferResponse {
                model_name: "m".into(),
                id: "7".into(),
                outputs: vec![output.clone(); tensors.len()],
                raw_output_contents: tensors,
                ..Default::default()
            };
            let body = ResponseBody::new(response.clone());
            let written: Vec<u8> = body.pieces.iter().flat_map(|piece| piece.to_vec()).collect();
            assert_eq!(written[0], 0);
            assert_eq!(u32::from_be_bytes(written[1..5].try_into().unwrap()) as usize, written.len() - 5);
            assert_eq!(ModelInferResponse::decode(&written[5..]).unwrap(), response);
        }
    }
}
