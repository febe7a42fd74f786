"""Whatever a client sends, it gets a clear error, and the server goes on serving."""

import grpc
import pytest
import tritonclient.grpc as grpcclient
from tritonclient.grpc import service_pb2

from harness import (
    CALL_S_MAX,
    SERVICE,
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

# Larger than any message that the daemon takes with its default limit (64 MiB).
TOO_LARGE_BYTES = 65 << 20

CLIMBING = [
    "../outside",
    "..",
    ".",
    "a/b",
    "",
    "/etc",
    "arith/../arith",
    "arith/1",
    "a\\b",
    "a\nb",
    "a b",
    "ä",
    "a" * 65,
]


@pytest.fixture(autouse=True)
def still_serving(request):
    """After each test here the server answers a good request."""
    yield
    if "served" in request.fixturenames:
        served, arrays = request.getfixturevalue("served"), arith_arrays()
        assert served.process.poll() is None
        with served.client() as client:
            assert_arith(infer(client, "arith", arith_inputs(arrays)), arrays)


def good_request():
    """A request to `arith` that is answered as it is; each test spoils one thing in it."""
    request = service_pb2.ModelInferRequest(model_name="arith")
    for index, array in enumerate(arith_arrays()):
        request.inputs.add(name=f"INPUT{index}", datatype="INT32", shape=[1, 16])
        request.raw_input_contents.append(array.tobytes())
    return request


def refuse(daemon, request, codes="INVALID_ARGUMENT"):
    content = request if isinstance(request, bytes) else request.SerializeToString()
    return fails_with(codes, call_bytes, daemon.address, SERVICE + "ModelInfer", content)


def test_the_good_request_is_good(served):
    answer = call_bytes(served.address, SERVICE + "ModelInfer", good_request().SerializeToString())
    assert_arith(grpcclient.InferResult(service_pb2.ModelInferResponse.FromString(answer)), arith_arrays())


# === Bytes ===


def test_a_message_cut_off_anywhere_is_refused(served):
    content = good_request().SerializeToString()
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(served.address, options=options) as channel:
        call = channel.unary_unary(SERVICE + "ModelInfer", request_serializer=bytes, response_deserializer=bytes)
        for length in range(len(content)):
            # Cut inside a field it is no protobuf; between two fields it is a message with something missing.
            fails_with(("INTERNAL", "INVALID_ARGUMENT", "NOT_FOUND"), call, content[:length], timeout=CALL_S_MAX)


def test_bytes_that_are_no_protobuf_are_refused_by_every_rpc(served):
    service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    # A field of wire type 7, which does not exist; a length that the message does not have; a varint without an end.
    for content in (b"\x0f", b"\x0a\xff\xff\xff\xff\x07abc", b"\xff" * 11):
        for method in service.methods:
            if method.name != "ModelStreamInfer":
                codes = ("INTERNAL", "INVALID_ARGUMENT", "UNIMPLEMENTED")
                fails_with(codes, call_bytes, served.address, SERVICE + method.name, content)


def test_random_bytes_are_refused(served):
    random = np.random.RandomState(1)
    codes = ("INTERNAL", "INVALID_ARGUMENT", "NOT_FOUND")
    with grpc.insecure_channel(served.address) as channel:
        call = channel.unary_unary(SERVICE + "ModelInfer", request_serializer=bytes, response_deserializer=bytes)
        for _ in range(300):
            fails_with(codes, call, random.bytes(random.randint(0, 200)), timeout=CALL_S_MAX)


def test_a_request_with_any_one_byte_changed_never_ends_the_server(served):
    """Some of these are still good requests, with another number in them; none may be worse than refused."""
    content = good_request().SerializeToString()
    refused = {"StatusCode.INTERNAL", "StatusCode.INVALID_ARGUMENT", "StatusCode.NOT_FOUND"}
    with grpc.insecure_channel(served.address) as channel:
        call = channel.unary_unary(SERVICE + "ModelInfer", request_serializer=bytes, response_deserializer=bytes)
        for position in range(len(content)):
            for flipped in (0x01, 0x80, 0xFF):
                changed = bytearray(content)
                changed[position] ^= flipped
                try:
                    call(bytes(changed), timeout=CALL_S_MAX)
                except grpc.RpcError as error:
                    assert str(error.code()) in refused, (
                        f"byte {position} ^ {flipped:#x}: {error.code()} {error.details()}"
                    )


def test_a_name_that_is_not_utf8_is_refused(served):
    refuse(served, b"\x0a\x02\xc3\x28", ("INTERNAL", "INVALID_ARGUMENT"))


def test_a_message_over_the_limit_is_refused_and_says_so(served, client):
    message = fails_with(
        ("RESOURCE_EXHAUSTED", "OUT_OF_RANGE"),
        infer,
        client,
        "identity",
        [tensor("INPUT0", np.zeros((1, TOO_LARGE_BYTES // 4), np.float32))],
    )
    assert "large" in message or "limit" in message, message


def test_an_unknown_rpc_is_unimplemented(served):
    for method in (SERVICE + "NoSuchRpc", "/no.such.Service/Call", "/"):
        with pytest.raises(grpc.RpcError) as raised:
            call_bytes(served.address, method, b"")
        assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_bad_bytes_in_a_stream_end_that_stream_only(served, client):
    with grpc.insecure_channel(served.address) as channel:
        call = channel.stream_stream(
            SERVICE + "ModelStreamInfer", request_serializer=bytes, response_deserializer=bytes
        )
        with pytest.raises(grpc.RpcError) as raised:
            list(call(iter([b"\x0a\xff\xff\xff\xff\x07abc"]), timeout=CALL_S_MAX))
        assert raised.value.code() in (grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT)


# === Tensors ===


def test_an_unknown_model_or_version_is_not_found(served, client):
    arrays = arith_inputs(arith_arrays())
    assert "no_such_model" in fails_with("NOT_FOUND", infer, client, "no_such_model", arrays)
    assert "7" in fails_with("NOT_FOUND", infer, client, "arith", arrays, model_version="7")


@pytest.mark.parametrize("version", ["x", "1.0", "-1", "99999999999999999999", "../1", "1/", " 1", "01x"])
def test_a_version_that_is_no_number_is_refused(served, client, version):
    fails_with(
        ("INVALID_ARGUMENT", "NOT_FOUND"), infer, client, "arith", arith_inputs(arith_arrays()), model_version=version
    )


@pytest.mark.parametrize("name", ["INPUT2", "input0", "", "OUTPUT0", "I" * 10_000])
def test_a_wrong_input_name_is_refused(served, name):
    request = good_request()
    request.inputs[1].name = name
    refuse(served, request)


def test_a_wrong_input_name_is_named_in_the_error(served):
    request = good_request()
    request.inputs[1].name = "INPUT_TYPO"
    assert "INPUT_TYPO" in refuse(served, request)


def test_a_missing_input_is_refused_and_named(served, client):
    assert "INPUT1" in fails_with("INVALID_ARGUMENT", infer, client, "arith", arith_inputs(arith_arrays())[:1])
    fails_with("INVALID_ARGUMENT", infer, client, "arith", [])


def test_an_input_too_many_is_refused(served, client):
    given = arith_inputs(arith_arrays())
    fails_with("INVALID_ARGUMENT", infer, client, "arith", [*given, tensor("INPUT2", arith_arrays()[0])])
    fails_with("INVALID_ARGUMENT", infer, client, "arith", [given[0], given[1], given[0]])


@pytest.mark.parametrize("name", ["OUTPUT2", "output0", "", "INPUT0"])
def test_a_wrong_output_name_is_refused(served, name):
    request = good_request()
    request.outputs.add(name=name)
    refuse(served, request)


@pytest.mark.parametrize(
    "shape",
    [
        [16],
        [1, 15],
        [1, 17],
        [16, 1],
        [1, 1, 16],
        [],
        [-1, 16],
        [1, -16],
        [-1, -16],
        [0, 16],
        [2, 16],
        [2**62, 16],
        [2**60, 16],
        [2**32, 2**32],
        [-(2**63), 16],
        [1] * 200 + [16],
        [1, 2**63 - 1],
    ],
    ids=lambda shape: "x".join(map(str, shape[:4])) or "scalar",
)
def test_a_wrong_shape_is_refused(served, shape):
    request = good_request()
    request.inputs[0].shape[:] = shape
    refuse(served, request)


def test_a_dynamic_shape_too_large_to_exist_is_refused_without_being_allocated(served):
    request = service_pb2.ModelInferRequest(model_name="identity")
    for shape in ([2**31, 2**31], [2**62, 4], [2**63 - 1, 2**63 - 1], [2**40, 1], [3, 2**62]):
        del request.inputs[:], request.raw_input_contents[:]
        request.inputs.add(name="INPUT0", datatype="FP32", shape=shape)
        request.raw_input_contents.append(bytes(16))
        refuse(served, request)


@pytest.mark.parametrize("datatype", ["FP32", "INT64", "UINT32", "BOOL", "BYTES", "FP99", "int32", "", "TYPE_INT32"])
def test_a_wrong_datatype_is_refused(served, datatype):
    request = good_request()
    request.inputs[0].datatype = datatype
    refuse(served, request)


@pytest.mark.parametrize("length", [0, 1, 60, 63, 65, 68, 128, 1 << 20])
def test_raw_contents_of_the_wrong_length_are_refused(served, length):
    request = good_request()
    request.raw_input_contents[0] = bytes(length)
    message = refuse(served, request)
    assert "64" in message, "the message does not say how many bytes were expected"


def test_as_many_raw_contents_as_inputs_are_asked_for(served):
    request = good_request()
    request.raw_input_contents.append(bytes(64))
    refuse(served, request)
    request = good_request()
    del request.raw_input_contents[1]
    refuse(served, request)
    request = good_request()
    del request.raw_input_contents[:]
    refuse(served, request)


def test_raw_and_typed_contents_together_are_refused(served):
    request = good_request()
    request.inputs[0].contents.int_contents.extend(range(16))
    refuse(served, request)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("int_contents", range(15)),
        ("int_contents", range(17)),
        ("int_contents", []),
        ("int64_contents", range(16)),
        ("uint_contents", range(16)),
        ("fp32_contents", [0.5] * 16),
        ("bytes_contents", [b"abcd"] * 16),
    ],
)
def test_typed_contents_of_the_wrong_kind_or_number_are_refused(served, field, values):
    request = service_pb2.ModelInferRequest(model_name="arith")
    for index in range(2):
        added = request.inputs.add(name=f"INPUT{index}", datatype="INT32", shape=[1, 16])
        if index:
            added.contents.int_contents.extend(range(16))
        else:
            getattr(added.contents, field).extend(values)
    refuse(served, request)


@pytest.mark.parametrize(
    ("parameter", "field", "value"),
    [
        ("priority", "string_param", "high"),
        ("priority", "int64_param", -1),
        ("timeout", "string_param", "soon"),
        ("timeout", "int64_param", -5),
        ("timeout", "double_param", float("nan")),
    ],
)
def test_a_parameter_of_the_wrong_kind_is_refused_or_ignored_but_does_no_harm(served, parameter, field, value):
    request = good_request()
    setattr(request.parameters[parameter], field, value)
    try:
        call_bytes(served.address, SERVICE + "ModelInfer", request.SerializeToString())
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert parameter in error.details()


# === Names that climb out of the repository ===


@pytest.fixture
def beside(start_daemon):
    """A daemon beside whose repository lies a model that must never be served."""
    daemon = start_daemon(lambda repository: add_model(repository.parent, "outside", onnx_bytes("arith")))
    with daemon.client() as client:
        yield daemon, client
        assert client.is_server_ready()
        assert not client.get_model_repository_index().models


def test_a_name_that_climbs_is_never_loaded(beside):
    daemon, client = beside
    absolute = str(daemon.repository.parent / "outside")
    for name in [*CLIMBING, absolute, "./../outside", "../models/../outside", "..%2foutside"]:
        fails_with(("INVALID_ARGUMENT", "NOT_FOUND"), client.load_model, name, client_timeout=CALL_S_MAX)
        assert not client.is_model_ready(name) if name else True


def test_a_climbing_version_is_never_loaded(beside):
    daemon, client = beside
    (daemon.repository / "hollow").mkdir()
    for version in ("../../outside/1", "..", "/etc"):
        request = service_pb2.RepositoryModelLoadRequest(model_name="hollow")
        request.parameters["version"].string_param = version
        fails_with(
            ("INVALID_ARGUMENT", "NOT_FOUND"),
            call_bytes,
            daemon.address,
            SERVICE + "RepositoryModelLoad",
            request.SerializeToString(),
        )
    (daemon.repository / "hollow").rmdir()


@pytest.mark.parametrize("name", CLIMBING)
def test_a_name_that_climbs_is_refused_by_every_rpc(served, client, name):
    codes = ("INVALID_ARGUMENT", "NOT_FOUND")
    fails_with(codes, infer, client, name, arith_inputs(arith_arrays()))
    fails_with(codes, client.get_model_metadata, name)
    fails_with(codes, client.get_model_config, name)
    if name:
        # Without a name, these two speak of every model.
        fails_with(codes, client.get_inference_statistics, name)
        assert_not_ready(client, name)


def assert_not_ready(client, name):
    try:
        assert client.is_model_ready(name) is False
    except grpcclient.InferenceServerException as error:
        assert error.status() == "StatusCode.INVALID_ARGUMENT"


@pytest.mark.parametrize("path", ["1/model.onnx", "../../escaped", "/escaped"])
def test_files_sent_along_with_a_load_are_refused_and_never_written(beside, path):
    """Triton takes a model's files in the request; a daemon that does not must say so, not load something else."""
    daemon, client = beside
    before = sorted(daemon.repository.parent.rglob("*"))
    fails_with(
        ("INVALID_ARGUMENT", "UNIMPLEMENTED", "NOT_FOUND"),
        client.load_model,
        "sent",
        config='{"name": "sent", "backend": "onnxruntime"}',
        files={f"file:{path}": onnx_bytes("arith")},
        client_timeout=CALL_S_MAX,
    )
    assert sorted(daemon.repository.parent.rglob("*")) == before
