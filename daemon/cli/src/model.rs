//! What the commands know of a model: its tensors, as the server describes them.

use edgemux_proto::inference::ModelMetadataResponse;
use edgemux_proto::inference::model_metadata_response::TensorMetadata;
use serde::Serialize;

use crate::client::Client;
use crate::format;
use crate::rpc::RpcError;

/// One input or output of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TensorInfo {
    pub(crate) name: String,
    /// `FP32`, `INT64`, `BYTES`, …
    pub(crate) datatype: String,
    /// -1 stands for a dimension that each request chooses.
    pub(crate) shape: Vec<i64>,
}

/// A model that is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ModelInfo {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) platform: String,
    pub(crate) inputs: Vec<TensorInfo>,
    pub(crate) outputs: Vec<TensorInfo>,
}

// === impl ModelInfo ===

impl ModelInfo {
    /// Asks the server; an empty version means the one that it serves.
    pub(crate) async fn fetch(client: &Client, name: &str, version: &str) -> Result<Self, RpcError> {
        Ok(Self::from_wire(client.model_metadata(name, version).await?, version))
    }

    fn from_wire(wire: ModelMetadataResponse, asked: &str) -> Self {
        let served = wire.versions.last().cloned().unwrap_or_default();
        Self {
            name: wire.name,
            version: if asked.is_empty() { served } else { asked.to_owned() },
            platform: wire.platform,
            inputs: wire.inputs.into_iter().map(TensorInfo::from_wire).collect(),
            outputs: wire.outputs.into_iter().map(TensorInfo::from_wire).collect(),
        }
    }

    /// `MODEL/VERSION`, the session's name.
    pub(crate) fn session(&self) -> String {
        format!("{}/{}", self.name, self.version)
    }

    /// `image FP32 [-1,3,96,96] -> scores FP32 [-1,10]`
    pub(crate) fn signature(&self) -> String {
        format!("{} -> {}", tensors(&self.inputs), tensors(&self.outputs))
    }
}

impl TensorInfo {
    fn from_wire(wire: TensorMetadata) -> Self {
        Self { name: wire.name, datatype: wire.datatype, shape: wire.shape }
    }
}

/// `image FP32 [-1,3,96,96], mask BOOL [96,96]`
pub(crate) fn tensors(tensors: &[TensorInfo]) -> String {
    let each: Vec<String> =
        tensors.iter().map(|t| format!("{} {} {}", t.name, t.datatype, format::shape(&t.shape))).collect();
    each.join(", ")
}
