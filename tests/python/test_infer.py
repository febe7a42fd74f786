"""Inference over the unary RPC, as the stock client sends it and with typed contents."""

import asyncio

import pytest
import tritonclient.grpc as grpcclient
import tritonclient.grpc.aio
from tritonclient.grpc import service_pb2

from conftest import COPY_DATATYPES
from harness import (
    CALL_S_MAX,
    SERVICE,
    Answers,
    arith_arrays,
    arith_inputs,
    assert_arith,
    call_bytes,
    infer,
    np,
    tensor,
)


def model_infer(daemon, request):
    """ModelInfer with a request built by hand; the answer as the stock client presents it."""
    answer = call_bytes(daemon.address, SERVICE + "ModelInfer", request.SerializeToString())
    return grpcclient.InferResult(service_pb2.ModelInferResponse.FromString(answer))


# === Raw contents ===


@pytest.mark.parametrize("shape", [(1, 1), (1, 1024), (7, 3), (64, 64)])
def test_fp32_comes_back_bit_for_bit(client, shape):
    sent = np.random.RandomState(3).standard_normal(shape).astype(np.float32)
    sent.flat[0] = np.finfo(np.float32).tiny
    answered = infer(client, "identity", [tensor("INPUT0", sent)]).as_numpy("OUTPUT0")
    assert answered.dtype == np.float32
    assert answered.shape == shape
    assert answered.tobytes() == sent.tobytes()


def test_602_kilobytes_come_back_bit_for_bit(client):
    sent = np.random.RandomState(4).standard_normal((3 * 224, 224)).astype(np.float32)
    assert infer(client, "identity", [tensor("INPUT0", sent)]).as_numpy("OUTPUT0").tobytes() == sent.tobytes()


@pytest.mark.parametrize(("model", "dtype"), [("arith", np.int32), ("arith64", np.int64)])
@pytest.mark.parametrize("batch", [1, 2, 9])
def test_integers_are_added_and_subtracted(client, model, dtype, batch):
    arrays = arith_arrays(dtype, batch, seed=batch)
    assert_arith(infer(client, model, arith_inputs(arrays)), arrays)


def test_inputs_are_taken_by_name_whatever_their_order(client):
    arrays = arith_arrays(seed=11)
    assert_arith(infer(client, "arith", arith_inputs(arrays)[::-1]), arrays)


def test_the_version_may_be_named(client):
    arrays = arith_arrays()
    result = infer(client, "arith", arith_inputs(arrays), model_version="1")
    assert_arith(result, arrays)
    assert result.get_response().model_version == "1"


def test_the_answer_names_model_version_and_request(client):
    response = infer(client, "arith", arith_inputs(arith_arrays()), request_id="request 42").get_response()
    assert (response.model_name, response.model_version, response.id) == ("arith", "1", "request 42")
    assert {(t.name, t.datatype, tuple(t.shape)) for t in response.outputs} == {
        ("OUTPUT0", "INT32", (1, 16)),
        ("OUTPUT1", "INT32", (1, 16)),
    }


def test_a_request_without_an_id_is_answered_without_one(client):
    assert infer(client, "arith", arith_inputs(arith_arrays())).get_response().id == ""


@pytest.mark.parametrize(("asked", "other"), [("OUTPUT0", "OUTPUT1"), ("OUTPUT1", "OUTPUT0")])
def test_only_the_requested_outputs_come_back(client, asked, other):
    arrays = arith_arrays(seed=5)
    outputs = [grpcclient.InferRequestedOutput(asked)]
    result = infer(client, "arith", arith_inputs(arrays), outputs=outputs)
    expected = arrays[0] + arrays[1] if asked == "OUTPUT0" else arrays[0] - arrays[1]
    np.testing.assert_array_equal(result.as_numpy(asked), expected)
    assert result.as_numpy(other) is None
    assert len(result.get_response().raw_output_contents) == 1


def test_parameters_that_mean_nothing_to_the_server_are_ignored(client):
    arrays = arith_arrays(seed=6)
    parameters = {"colour": "blue", "count": 3, "share": 0.5, "on": True}
    assert_arith(infer(client, "arith", arith_inputs(arrays), parameters=parameters), arrays)


def test_reserved_parameters_that_are_unknown_are_ignored(served):
    """The stock client refuses to send them itself; perf_analyzer does send them."""
    sent = np.arange(8, dtype=np.float32).reshape(2, 4)
    request = service_pb2.ModelInferRequest(model_name="identity")
    request.parameters["triton_something_new"].bool_param = True
    request.parameters["triton_other"].string_param = "value"
    request.inputs.add(name="INPUT0", datatype="FP32", shape=[2, 4])
    request.raw_input_contents.append(sent.tobytes())
    np.testing.assert_array_equal(model_infer(served, request).as_numpy("OUTPUT0"), sent)


# === Many at once ===


def test_every_asynchronous_request_gets_its_own_answer(client):
    answers, sent = Answers(), {}
    for seed in range(32):
        sent[seed] = arith_arrays(seed=seed)
        client.async_infer(
            "arith",
            arith_inputs(sent[seed]),
            answers.callback(seed),
            request_id=str(seed),
            client_timeout=CALL_S_MAX,
        )
    for _ in range(32):
        seed, result = answers.next_result()
        assert result.get_response().id == str(seed)
        assert_arith(result, sent.pop(seed))
    assert not sent
    assert answers.none_left()


def test_the_asyncio_client_is_served_too(served):
    async def ask():
        async with tritonclient.grpc.aio.InferenceServerClient(served.address) as client:
            assert await client.is_server_live()
            sent = [arith_arrays(seed=seed) for seed in range(8)]
            asked = [client.infer("arith", arith_inputs(arrays), client_timeout=CALL_S_MAX) for arrays in sent]
            for arrays, result in zip(sent, await asyncio.gather(*asked), strict=True):
                assert_arith(result, arrays)

    asyncio.run(ask())


# === Typed contents ===

# Which field of InferTensorContents carries a datatype, and values at the edges of the datatype.
TYPED = {
    "BOOL": ("bool_contents", np.bool_, [True, False, False, True]),
    "INT8": ("int_contents", np.int8, [-128, -1, 0, 127]),
    "INT16": ("int_contents", np.int16, [-32768, -1, 0, 32767]),
    "INT32": ("int_contents", np.int32, [-(2**31), -1, 0, 2**31 - 1]),
    "INT64": ("int64_contents", np.int64, [-(2**63), -1, 0, 2**63 - 1]),
    "UINT8": ("uint_contents", np.uint8, [0, 1, 128, 255]),
    "UINT16": ("uint_contents", np.uint16, [0, 1, 32768, 65535]),
    "UINT32": ("uint_contents", np.uint32, [0, 1, 2**31, 2**32 - 1]),
    "UINT64": ("uint64_contents", np.uint64, [0, 1, 2**63, 2**64 - 1]),
    "FP32": ("fp32_contents", np.float32, [-0.0, 1.5, 3.4e38, 1e-45]),
    "FP64": ("fp64_contents", np.float64, [-0.0, 1.5, 1.7e308, 5e-324]),
}


def add_typed(request, name, datatype, array):
    added = request.inputs.add(name=name, datatype=datatype, shape=array.shape)
    getattr(added.contents, TYPED[datatype][0]).extend(array.ravel().tolist())


@pytest.mark.parametrize("datatype", COPY_DATATYPES)
def test_typed_contents_arrive_as_the_same_bytes_as_raw_ones(emulated, emulated_client, datatype):
    _, dtype, values = TYPED[datatype]
    sent, model = np.array(values, dtype), f"copy_{datatype.lower()}"
    raw = infer(emulated_client, model, [tensor("INPUT0", sent)]).as_numpy("OUTPUT0")
    request = service_pb2.ModelInferRequest(model_name=model)
    add_typed(request, "INPUT0", datatype, sent)
    typed = model_infer(emulated, request).as_numpy("OUTPUT0")
    assert raw.dtype == typed.dtype == dtype
    assert raw.tobytes() == typed.tobytes() == sent.tobytes()


def test_fp16_has_raw_contents_only_and_they_come_back(emulated_client):
    sent = np.array([-0.0, 1.5, 65504.0, 6e-8], np.float16)
    assert infer(emulated_client, "copy_fp16", [tensor("INPUT0", sent)]).as_numpy("OUTPUT0").tobytes() == sent.tobytes()


@pytest.mark.parametrize(("model", "datatype"), [("arith", "INT32"), ("arith64", "INT64")])
def test_typed_integers_are_added_and_subtracted(served, model, datatype):
    arrays = arith_arrays(TYPED[datatype][1], batch=2)
    request = service_pb2.ModelInferRequest(model_name=model, id="typed")
    for index, array in enumerate(arrays):
        add_typed(request, f"INPUT{index}", datatype, array)
    result = model_infer(served, request)
    assert_arith(result, arrays)
    assert result.get_response().id == "typed"


def test_typed_fp32_comes_back_bit_for_bit(served):
    sent = np.random.RandomState(8).standard_normal((5, 3)).astype(np.float32)
    request = service_pb2.ModelInferRequest(model_name="identity")
    add_typed(request, "INPUT0", "FP32", sent)
    assert model_infer(served, request).as_numpy("OUTPUT0").tobytes() == sent.tobytes()
