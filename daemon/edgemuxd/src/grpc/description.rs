//! A model described: metadata, configuration, statistics.

use edgemux_proto::inference::model_instance_group::Kind;
use edgemux_proto::inference::model_metadata_response::TensorMetadata;
use edgemux_proto::inference::{
    DataType as WireDataType, InferBatchStatistics, InferStatistics, MemoryUsage, ModelConfig, ModelInput,
    ModelInstanceGroup, ModelMetadataResponse, ModelOutput, ModelParameter, ModelStatistics,
    ModelTransactionPolicy, ModelVersionPolicy, StatisticDuration, model_version_policy,
};
use edgemux_runtime_api::runtime::DeviceKind;
use edgemux_runtime_api::tensor::{DataType, TensorSpec};

use crate::session::{Loaded, Session};
use crate::statistics::Total;

/// A model's metadata; `versions` are those loaded.
pub(super) fn metadata(session: &Session, loaded: &Loaded, versions: Vec<String>) -> ModelMetadataResponse {
    let describe = |specs: &[TensorSpec]| {
        let tensor = |spec: &TensorSpec| TensorMetadata {
            name: spec.name.clone(),
            datatype: spec.datatype.name().to_owned(),
            shape: spec.shape.clone(),
        };
        specs.iter().map(tensor).collect()
    };
    ModelMetadataResponse {
        name: session.file.model.clone(),
        versions,
        platform: platform(session),
        inputs: describe(&loaded.signature.inputs),
        outputs: describe(&loaded.signature.outputs),
    }
}

/// A model's configuration in Triton's words.
pub(super) fn config(session: &Session, loaded: &Loaded, kind: DeviceKind) -> ModelConfig {
    let input = |spec: &TensorSpec| ModelInput {
        name: spec.name.clone(),
        data_type: wire(spec.datatype).into(),
        dims: spec.shape.clone(),
        optional: false,
    };
    let output = |spec: &TensorSpec| ModelOutput {
        name: spec.name.clone(),
        data_type: wire(spec.datatype).into(),
        dims: spec.shape.clone(),
    };
    let parameter =
        |(name, value): &(String, String)| (name.clone(), ModelParameter { string_value: value.clone() });
    let kind = if kind == DeviceKind::Cpu { Kind::Cpu } else { Kind::Gpu };
    let latest = model_version_policy::Latest { num_versions: 1 };
    ModelConfig {
        name: session.file.model.clone(),
        platform: platform(session),
        backend: session.runtime.name().to_owned(),
        version_policy: Some(ModelVersionPolicy {
            policy_choice: Some(model_version_policy::PolicyChoice::Latest(latest)),
        }),
        input: loaded.signature.inputs.iter().map(input).collect(),
        output: loaded.signature.outputs.iter().map(output).collect(),
        instance_group: vec![ModelInstanceGroup {
            name: session.device.clone(),
            count: 1,
            gpus: Vec::new(),
            kind: kind.into(),
        }],
        default_model_filename: session.file.name(),
        parameters: loaded.details.parameters.iter().map(parameter).collect(),
        model_transaction_policy: Some(ModelTransactionPolicy { decoupled: loaded.signature.decoupled }),
        ..Default::default()
    }
}

/// A model's counts and times.
pub(super) fn statistics(session: &Session) -> ModelStatistics {
    let statistics = session.statistics().clone();
    let stage = |total: Total| Some(StatisticDuration { count: total.count, ns: total.ns });
    let memory = session.state().loaded().map(|loaded| MemoryUsage {
        r#type: session.device.clone(),
        id: 0,
        byte_size: loaded.memory.at_rest_bytes,
    });
    ModelStatistics {
        name: session.file.model.clone(),
        version: session.file.version.to_string(),
        last_inference: statistics.last_inference_ms,
        inference_count: statistics.success.count,
        execution_count: statistics.executions,
        inference_stats: Some(InferStatistics {
            success: stage(statistics.success),
            fail: stage(statistics.fail),
            queue: stage(statistics.queue),
            compute_input: stage(statistics.compute_input),
            compute_infer: stage(statistics.compute_infer),
            compute_output: stage(statistics.compute_output),
            cache_hit: stage(Total::default()),
            cache_miss: stage(Total::default()),
        }),
        batch_stats: vec![InferBatchStatistics {
            batch_size: 1,
            compute_input: stage(statistics.compute_input),
            compute_infer: stage(statistics.compute_infer),
            compute_output: stage(statistics.compute_output),
        }],
        memory_usage: memory.into_iter().collect(),
        response_stats: Default::default(),
    }
}

fn platform(session: &Session) -> String {
    format!("{}_{}", session.file.format.name(), session.runtime.name())
}

fn wire(datatype: DataType) -> WireDataType {
    match datatype {
        DataType::Bool => WireDataType::TypeBool,
        DataType::Uint8 => WireDataType::TypeUint8,
        DataType::Uint16 => WireDataType::TypeUint16,
        DataType::Uint32 => WireDataType::TypeUint32,
        DataType::Uint64 => WireDataType::TypeUint64,
        DataType::Int8 => WireDataType::TypeInt8,
        DataType::Int16 => WireDataType::TypeInt16,
        DataType::Int32 => WireDataType::TypeInt32,
        DataType::Int64 => WireDataType::TypeInt64,
        DataType::Fp16 => WireDataType::TypeFp16,
        DataType::Bf16 => WireDataType::TypeBf16,
        DataType::Fp32 => WireDataType::TypeFp32,
        DataType::Fp64 => WireDataType::TypeFp64,
        DataType::Bytes => WireDataType::TypeString,
    }
}
