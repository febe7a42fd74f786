//! How messages that carry tensors are written.
//!
//! As prost's own codec, but for one thing: room for the whole message is taken before it is written. Letting the buffer
//! grow as it fills copies a 600 KB response seven times over.

use std::marker::PhantomData;

use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, EncodeBuf, Encoder};
use tonic_prost::ProstDecoder;

/// Encodes `T`, decodes `U`.
#[derive(Debug)]
pub struct TensorCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for TensorCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for TensorCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = TensorEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> TensorEncoder<T> {
        TensorEncoder(PhantomData)
    }

    fn decoder(&mut self) -> ProstDecoder<U> {
        ProstDecoder::new(BufferSettings::default())
    }
}

/// Writes `T` into a buffer that is large enough from the start.
#[derive(Debug)]
pub struct TensorEncoder<T>(PhantomData<T>);

impl<T: Message> Encoder for TensorEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.reserve(item.encoded_len());
        item.encode(buf).map_err(|error| Status::internal(error.to_string()))
    }
}
