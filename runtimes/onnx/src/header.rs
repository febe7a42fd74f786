//! What an ONNX file says of itself, before the weights are read.
//!
//! rten computes in four element types and forgets what the file declared: INT64 and BOOL both become 32-bit integers.
//! Clients are to see what the file says, so its declarations are read here, skipping nodes and weights. And rten
//! believes a length before it has seen the bytes, so the lengths that bound all others are compared with the file's.

use std::fs::File;

use rten_onnx::onnx::{StringStringEntryProto, ValueInfoProto};
use rten_onnx::protobuf::{
    DecodeMessage, Field, FieldValue, Fields, OwnedValues, ProtobufError, ReadValue, ValueReader,
};

/// Field numbers of onnx.proto.
mod number {
    pub(super) const MODEL_GRAPH: u64 = 7;
    pub(super) const GRAPH_INITIALIZER: u64 = 5;
    pub(super) const GRAPH_INPUT: u64 = 11;
    pub(super) const GRAPH_OUTPUT: u64 = 12;
    pub(super) const TENSOR_EXTERNAL_DATA: u64 = 13;
}

/// A file's declarations.
#[derive(Debug, Default)]
pub(crate) struct Header {
    /// Inputs, and with old files initializers too.
    pub(crate) inputs: Vec<ValueInfoProto>,
    pub(crate) outputs: Vec<ValueInfoProto>,
    /// Bytes of weights that lie in other files.
    pub(crate) external_bytes: u64,
}

impl Header {
    /// Reads `file`, which is `file_bytes` long.
    pub(crate) fn read(file: File, file_bytes: u64) -> Result<Self, String> {
        let mut header = Self::default();
        let mut reader = ValueReader::from_file(file);
        let mut fields = Fields::new(&mut reader, Some("ModelProto"));
        while let Some(mut field) = fields.next().map_err(said)? {
            // A part within a part is held to its parent's length by the reader itself.
            if let FieldValue::Len(len) = field.value()
                && len > file_bytes
            {
                return Err(format!("a part of {len} bytes in a file of {file_bytes}"));
            }
            match field.number() {
                number::MODEL_GRAPH => header.read_graph(&mut field).map_err(said)?,
                _ => field.skip().map_err(said)?,
            }
        }
        Ok(header)
    }

    fn read_graph<R: ReadValue<Types = OwnedValues>>(
        &mut self,
        graph: &mut Field<'_, R>,
    ) -> Result<(), ProtobufError> {
        let mut fields = graph.read_message(Some("GraphProto"))?;
        while let Some(mut field) = fields.next()? {
            match field.number() {
                number::GRAPH_INITIALIZER => self.read_initializer(&mut field)?,
                number::GRAPH_INPUT => self.inputs.push(ValueInfoProto::decode_field(&mut field)?),
                number::GRAPH_OUTPUT => self.outputs.push(ValueInfoProto::decode_field(&mut field)?),
                _ => field.skip()?,
            }
        }
        Ok(())
    }

    fn read_initializer<R: ReadValue<Types = OwnedValues>>(
        &mut self,
        tensor: &mut Field<'_, R>,
    ) -> Result<(), ProtobufError> {
        let mut fields = tensor.read_message(Some("TensorProto"))?;
        while let Some(mut field) = fields.next()? {
            if field.number() != number::TENSOR_EXTERNAL_DATA {
                field.skip()?;
                continue;
            }
            let entry = StringStringEntryProto::decode_field(&mut field)?;
            if entry.key.as_deref() == Some("length") {
                let bytes = entry.value.and_then(|value| value.parse().ok()).unwrap_or(0);
                self.external_bytes = self.external_bytes.saturating_add(bytes);
            }
        }
        Ok(())
    }
}

fn said(error: ProtobufError) -> String {
    format!("not an ONNX file: {error}")
}
