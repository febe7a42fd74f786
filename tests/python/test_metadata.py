"""What the server says about a model is what the model's file says."""

import pytest

from harness import fails_with

INT32 = {"datatype": "INT32", "shape": ["-1", "16"]}
FP32 = "FP32"


def test_a_loaded_model_is_ready_and_an_unknown_one_is_not(client):
    assert client.is_model_ready("arith") is True
    assert client.is_model_ready("arith", "1") is True
    assert client.is_model_ready("arith", "7") is False
    assert client.is_model_ready("no_such_model") is False
    assert client.is_model_ready("spare") is False


@pytest.mark.parametrize("version", ["", "1"])
def test_model_metadata_lists_versions_and_tensors(client, version):
    metadata = client.get_model_metadata("arith", version)
    assert metadata.name == "arith"
    assert list(metadata.versions) == ["1"]
    assert metadata.platform
    assert {(t.name, t.datatype, tuple(t.shape)) for t in metadata.inputs} == {
        ("INPUT0", "INT32", (-1, 16)),
        ("INPUT1", "INT32", (-1, 16)),
    }
    assert {(t.name, t.datatype, tuple(t.shape)) for t in metadata.outputs} == {
        ("OUTPUT0", "INT32", (-1, 16)),
        ("OUTPUT1", "INT32", (-1, 16)),
    }


@pytest.mark.parametrize(
    ("model", "inputs", "outputs"),
    [
        ("arith64", {"INPUT0": ("INT64", [-1, 16]), "INPUT1": ("INT64", [-1, 16])}, {"OUTPUT0": ("INT64", [-1, 16])}),
        ("identity", {"INPUT0": (FP32, [-1, -1])}, {"OUTPUT0": (FP32, [-1, -1])}),
        ("mobilenet_tiny", {"image": (FP32, [-1, 3, 96, 96])}, {"scores": (FP32, [-1, 10])}),
        ("keywords", {"mfcc": (FP32, [-1, 1, 49, 10])}, {"scores": (FP32, [-1, 12])}),
        ("mobilenet_v2", {"image": (FP32, [-1, 3, 224, 224])}, {"logits": (FP32, [-1, 1000])}),
    ],
)
def test_names_datatypes_and_shapes_are_those_of_the_file(client, model, inputs, outputs):
    metadata = client.get_model_metadata(model)
    assert {t.name: (t.datatype, list(t.shape)) for t in metadata.inputs} == inputs
    assert outputs.items() <= {t.name: (t.datatype, list(t.shape)) for t in metadata.outputs}.items()


def test_model_metadata_is_the_same_as_json(client):
    metadata = client.get_model_metadata("arith", as_json=True)
    assert metadata["name"] == "arith"
    assert metadata["versions"] == ["1"]
    assert sorted(metadata["inputs"], key=lambda t: t["name"]) == [
        {"name": "INPUT0", **INT32},
        {"name": "INPUT1", **INT32},
    ]


def test_model_config_agrees_with_the_metadata(client):
    config = client.get_model_config("arith").config
    assert config.name == "arith"
    assert config.platform or config.backend
    # Where the configuration speaks of batches, its dimensions leave the batch out.
    batch = [-1] if config.max_batch_size > 0 else []
    assert {(t.name, t.data_type, tuple(batch + list(t.dims))) for t in config.input} == {
        ("INPUT0", config.input[0].data_type, (-1, 16)),
        ("INPUT1", config.input[0].data_type, (-1, 16)),
    }
    assert {t.name for t in config.output} == {"OUTPUT0", "OUTPUT1"}
    assert not config.model_transaction_policy.decoupled


def test_model_config_is_readable_as_json(client):
    config = client.get_model_config("arith", "1", as_json=True)["config"]
    assert config["name"] == "arith"
    assert {t["name"]: t["data_type"] for t in config["input"]} == {"INPUT0": "TYPE_INT32", "INPUT1": "TYPE_INT32"}
    assert {t["name"]: t["data_type"] for t in config["output"]} == {"OUTPUT0": "TYPE_INT32", "OUTPUT1": "TYPE_INT32"}


def test_the_configuration_of_a_decoupled_model_says_so(emulated_client):
    assert emulated_client.get_model_config("thrice").config.model_transaction_policy.decoupled


@pytest.mark.parametrize("call", ["get_model_metadata", "get_model_config", "get_inference_statistics"])
def test_an_unknown_model_or_version_is_not_found(client, call):
    assert "no_such_model" in fails_with("NOT_FOUND", getattr(client, call), "no_such_model")
    fails_with("NOT_FOUND", getattr(client, call), "arith", "7")
