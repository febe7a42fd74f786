"""The model repository: what is listed, loaded, unloaded and replaced while the server runs."""

import re

import onnx
import pytest
from tritonclient.grpc import service_pb2

from harness import (
    CALL_S_MAX,
    EMULATED_GPU,
    SERVICE,
    add_emulated,
    add_model,
    arith_arrays,
    arith_inputs,
    assert_arith,
    call_bytes,
    fails_with,
    infer,
    np,
    onnx_bytes,
    tensor,
)

ARITH = onnx_bytes("arith")


def index(client):
    """The repository's index: for each name, its entries as (version, state, reason)."""
    found = {}
    for model in client.get_model_repository_index(client_timeout=CALL_S_MAX).models:
        found.setdefault(model.name, []).append((model.version, model.state, model.reason))
    return found


def fixed_identity(size):
    """An Identity of one fixed shape, by which versions of a model can be told apart."""
    return onnx_bytes("identity", f"--shape=1,{size}")


def input_shape(client, model, version=""):
    return list(client.get_model_metadata(model, version).inputs[0].shape)


def unknown_operator():
    """A well-formed ONNX file with an operator that exists nowhere."""
    model = onnx.load_from_string(onnx_bytes("identity"))
    model.graph.node[0].op_type = "NoSuchOperator"
    return model.SerializeToString()


BROKEN = {
    "text": b"this is not a model\n" * 20,
    "empty": b"",
    "truncated": onnx_bytes("keywords")[:50_000],
    "zeros": bytes(4096),
    "unknown operator": unknown_operator(),
}


# === Index ===


def test_the_index_lists_what_is_loaded_and_what_could_be(client):
    listed = index(client)
    loaded = {"arith", "arith64", "identity", "keywords", "mobilenet_tiny", "mobilenet_v2"}
    assert set(listed) == loaded | {"spare"}
    for name in loaded:
        assert [(version, state) for version, state, _ in listed[name]] == [("1", "READY")]
    ((_, state, _),) = listed["spare"]
    assert state in ("", "UNAVAILABLE")


def test_the_index_can_leave_out_what_is_not_ready(served):
    request = service_pb2.RepositoryIndexRequest(ready=True).SerializeToString()
    answer = service_pb2.RepositoryIndexResponse.FromString(
        call_bytes(served.address, SERVICE + "RepositoryIndex", request)
    )
    names = {model.name for model in answer.models}
    assert "arith" in names
    assert "spare" not in names


def test_the_index_is_readable_as_json(client):
    models = client.get_model_repository_index(as_json=True)["models"]
    assert {"name": "arith", "version": "1", "state": "READY"}.items() <= next(
        model for model in models if model["name"] == "arith"
    ).items()


def test_an_empty_repository_has_an_empty_index(start_daemon):
    with start_daemon().client() as client:
        assert index(client) == {}
        assert client.is_server_ready()


# === Load and unload ===


@pytest.mark.parametrize("call", ["get_model_metadata", "get_model_config", "get_inference_statistics"])
def test_a_model_that_is_not_loaded_is_unavailable(client, call):
    fails_with("UNAVAILABLE", getattr(client, call), "spare")


def test_inference_on_a_model_that_is_not_loaded_is_unavailable(client):
    message = fails_with("UNAVAILABLE", infer, client, "spare", arith_inputs(arith_arrays()))
    assert "spare" in message


def test_a_model_is_served_from_its_load_to_its_unload(start_daemon):
    daemon = start_daemon(lambda repository: add_model(repository, "calc", ARITH, load=False))
    arrays = arith_arrays()
    with daemon.client() as client:
        assert not client.is_model_ready("calc")
        for _ in range(2):
            client.load_model("calc", client_timeout=CALL_S_MAX)
            assert client.is_model_ready("calc")
            assert [entry[:2] for entry in index(client)["calc"]] == [("1", "READY")]
            assert_arith(infer(client, "calc", arith_inputs(arrays)), arrays)
            client.unload_model("calc", client_timeout=CALL_S_MAX)
            assert not client.is_model_ready("calc")
            fails_with("UNAVAILABLE", infer, client, "calc", arith_inputs(arrays))
            ((_, state, _),) = index(client)["calc"]
            assert state in ("", "UNAVAILABLE")


def test_loading_what_is_loaded_is_fine(start_daemon):
    arrays = arith_arrays()
    with start_daemon(lambda repository: add_model(repository, "calc", ARITH)).client() as client:
        client.load_model("calc", client_timeout=CALL_S_MAX)
        assert_arith(infer(client, "calc", arith_inputs(arrays)), arrays)


def test_a_model_that_arrives_later_can_be_loaded(start_daemon):
    daemon, arrays = start_daemon(), arith_arrays()
    with daemon.client() as client:
        fails_with("NOT_FOUND", client.load_model, "late")
        add_model(daemon.repository, "late", ARITH, load=False)
        client.load_model("late", client_timeout=CALL_S_MAX)
        assert_arith(infer(client, "late", arith_inputs(arrays)), arrays)


def test_an_unknown_model_cannot_be_loaded_and_need_not_be_unloaded(client):
    assert "no_such_model" in fails_with("NOT_FOUND", client.load_model, "no_such_model")
    client.unload_model("no_such_model", client_timeout=CALL_S_MAX)


def test_the_newest_version_is_the_one_that_is_served(start_daemon):
    def prepare(repository):
        # 10 is newer than 9, though it sorts before it.
        for version in (1, 9, 10):
            add_model(repository, "versions", fixed_identity(version), version)

    with start_daemon(prepare).client() as client:
        assert list(client.get_model_metadata("versions").versions) == ["10"]
        assert input_shape(client, "versions") == [1, 10]
        sent = np.ones((1, 10), np.float32)
        for version in ("", "10"):
            result = infer(client, "versions", [tensor("INPUT0", sent)], model_version=version)
            assert result.get_response().model_version == "10"
        assert client.is_model_ready("versions", "10")
        assert not client.is_model_ready("versions", "2")
        fails_with("NOT_FOUND", infer, client, "versions", [tensor("INPUT0", sent)], model_version="2")


def test_a_load_may_ask_for_a_version(start_daemon):
    def prepare(repository):
        for version in (1, 2):
            add_model(repository, "versions", fixed_identity(version), version, load=False)

    daemon = start_daemon(prepare)
    with daemon.client() as client:
        request = service_pb2.RepositoryModelLoadRequest(model_name="versions")
        request.parameters["version"].string_param = "1"
        call_bytes(daemon.address, SERVICE + "RepositoryModelLoad", request.SerializeToString())
        assert client.is_model_ready("versions", "1")
        result = infer(client, "versions", [tensor("INPUT0", np.ones((1, 1), np.float32))])
        assert result.get_response().model_version == "1"
        request.parameters["version"].string_param = "3"
        fails_with(
            ("NOT_FOUND", "INVALID_ARGUMENT"),
            call_bytes,
            daemon.address,
            SERVICE + "RepositoryModelLoad",
            request.SerializeToString(),
        )


def test_a_load_picks_up_a_new_version(start_daemon):
    daemon = start_daemon(lambda repository: add_model(repository, "versions", fixed_identity(1), 1))
    with daemon.client() as client:
        assert input_shape(client, "versions") == [1, 1]
        add_model(daemon.repository, "versions", fixed_identity(2), 2)
        client.load_model("versions", client_timeout=CALL_S_MAX)
        assert input_shape(client, "versions") == [1, 2]
        result = infer(client, "versions", [tensor("INPUT0", np.ones((1, 2), np.float32))])
        assert result.get_response().model_version == "2"


def test_emulated_models_are_loaded_and_unloaded_alike(start_daemon):
    daemon = start_daemon(lambda repository: add_emulated(repository, "copy", load=False), EMULATED_GPU)
    sent = np.arange(4, dtype=np.float32)
    with daemon.client() as client:
        client.load_model("copy", client_timeout=CALL_S_MAX)
        np.testing.assert_array_equal(infer(client, "copy", [tensor("INPUT0", sent)]).as_numpy("OUTPUT0"), sent)
        client.unload_model("copy", client_timeout=CALL_S_MAX)
        fails_with("UNAVAILABLE", infer, client, "copy", [tensor("INPUT0", sent)])


# === Broken models ===


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_model_is_refused_with_its_file_and_the_reason(start_daemon, kind):
    daemon = start_daemon(lambda repository: add_model(repository, "broken", BROKEN[kind], load=False))
    with daemon.client() as client:
        message = fails_with("INVALID_ARGUMENT", client.load_model, "broken", client_timeout=CALL_S_MAX)
        assert re.search(r"broken/1/model\.onnx", message), message
        assert len(message.partition("model.onnx")[2].strip(" :'\"")) > 5, f"no reason in {message!r}"
        ((_, state, reason),) = index(client)["broken"]
        assert state == "UNAVAILABLE"
        assert reason
        assert not client.is_model_ready("broken")
        fails_with("UNAVAILABLE", infer, client, "broken", [tensor("INPUT0", np.ones((1, 1), np.float32))])


def test_a_broken_model_at_start_keeps_no_other_from_being_served(start_daemon):
    def prepare(repository):
        add_model(repository, "calc", ARITH)
        add_model(repository, "broken", BROKEN["text"])
        (repository / "hollow").mkdir()
        (repository / "README").write_text("not a model")

    arrays = arith_arrays()
    with start_daemon(prepare).client() as client:
        assert_arith(infer(client, "calc", arith_inputs(arrays)), arrays)
        ((_, state, reason),) = index(client)["broken"]
        assert state == "UNAVAILABLE"
        assert reason
        assert not client.is_model_ready("broken")


def test_a_model_that_was_mended_can_be_loaded(start_daemon):
    daemon, arrays = start_daemon(lambda repository: add_model(repository, "calc", BROKEN["text"])), arith_arrays()
    with daemon.client() as client:
        assert not client.is_model_ready("calc")
        add_model(daemon.repository, "calc", ARITH)
        client.load_model("calc", client_timeout=CALL_S_MAX)
        assert_arith(infer(client, "calc", arith_inputs(arrays)), arrays)


@pytest.mark.parametrize(
    "content",
    [b"no toml [", b"[service]\nmean-ms = 1.0\n", b'[[input]]\nname = "A"\ndatatype = "FP99"\nshape = [1]\n'],
    ids=["no toml", "no tensors", "unknown datatype"],
)
def test_a_broken_emulated_model_is_refused_with_its_file(start_daemon, content):
    def prepare(repository):
        add_model(repository, "broken", content, file="model.emu.toml", load=False)

    with start_daemon(prepare, EMULATED_GPU).client() as client:
        message = fails_with("INVALID_ARGUMENT", client.load_model, "broken", client_timeout=CALL_S_MAX)
        assert "broken/1/model.emu.toml" in message


def test_a_model_that_no_device_can_run_is_refused(start_daemon):
    """An ONNX model on a node whose one device runs emulated models only."""
    with start_daemon(
        lambda repository: add_model(repository, "calc", ARITH, load=False), EMULATED_GPU
    ).client() as client:
        statuses = ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED", "UNAVAILABLE")
        fails_with(statuses, client.load_model, "calc", client_timeout=CALL_S_MAX)
        assert not client.is_model_ready("calc")
