"""System shared memory, as the stock client's own module makes it: in, out, and all that can be wrong with it."""

import itertools
import os
import time

import pytest
import tritonclient.grpc as grpcclient
from tritonclient.utils import shared_memory

from harness import CALL_S_MAX, Path, arith_arrays, arith_inputs, assert_arith, fails_with, infer, np

INPUT_BYTES = 16 * 4
KEYS = itertools.count()


@pytest.fixture
def region():
    """Makes regions: `region(name, byte_size)` gives the client's handle; the key is unique and its file is removed."""
    handles = []

    def make(name, byte_size):
        key = f"/edgemux_test_{os.getpid()}_{next(KEYS)}"
        handles.append(shared_memory.create_shared_memory_region(name, key, byte_size, create_only=True))
        return handles[-1]

    yield make
    for handle in handles:
        shared_memory.destroy_shared_memory_region(handle)


@pytest.fixture
def client(served):
    with served.client() as client:
        yield client
        client.unregister_system_shared_memory()
        assert client.get_system_shared_memory_status(as_json=True) == {}


def key_of(handle):
    return handle._shm_key


def register(client, handle, byte_size, offset=0, name=None):
    name = name or handle._triton_shm_name
    client.register_system_shared_memory(name, key_of(handle), byte_size, offset, client_timeout=CALL_S_MAX)


def inputs_in(name, byte_size=INPUT_BYTES, offsets=(0, INPUT_BYTES)):
    """The two inputs of `arith`, both inside the region `name`."""
    inputs = []
    for index, offset in enumerate(offsets):
        made = grpcclient.InferInput(f"INPUT{index}", [1, 16], "INT32")
        made.set_shared_memory(name, byte_size, offset)
        inputs.append(made)
    return inputs


def outputs_in(name, byte_size=INPUT_BYTES, offsets=(0, INPUT_BYTES)):
    outputs = []
    for index, offset in enumerate(offsets):
        made = grpcclient.InferRequestedOutput(f"OUTPUT{index}")
        made.set_shared_memory(name, byte_size, offset)
        outputs.append(made)
    return outputs


def put_arith(handle, seed=1):
    arrays = arith_arrays(seed=seed)
    shared_memory.set_shared_memory_region(handle, arrays)
    return arrays


# === In and out ===


def test_inputs_are_read_from_a_region(client, region):
    handle = region("in", 2 * INPUT_BYTES)
    arrays = put_arith(handle)
    register(client, handle, 2 * INPUT_BYTES)
    assert_arith(infer(client, "arith", inputs_in("in")), arrays)
    # What the client writes later is what the next request reads.
    arrays = put_arith(handle, seed=2)
    assert_arith(infer(client, "arith", inputs_in("in")), arrays)


def test_outputs_are_written_into_a_region_and_not_sent(client, region):
    handle, arrays = region("out", 2 * INPUT_BYTES), arith_arrays(seed=3)
    register(client, handle, 2 * INPUT_BYTES)
    result = infer(client, "arith", arith_inputs(arrays), outputs=outputs_in("out"))
    for index, expected in enumerate((arrays[0] + arrays[1], arrays[0] - arrays[1])):
        output = result.get_output(f"OUTPUT{index}")
        assert output.datatype == "INT32"
        assert list(output.shape) == [1, 16]
        assert output.parameters["shared_memory_region"].string_param == "out"
        assert output.parameters["shared_memory_byte_size"].int64_param == INPUT_BYTES
        assert output.parameters["shared_memory_offset"].int64_param == index * INPUT_BYTES
        written = shared_memory.get_contents_as_numpy(handle, np.int32, [1, 16], index * INPUT_BYTES)
        np.testing.assert_array_equal(written, expected)
    assert not any(result.get_response().raw_output_contents)


def test_one_request_may_have_all_its_tensors_in_shared_memory(client, region):
    source, target = region("source", 2 * INPUT_BYTES), region("target", 2 * INPUT_BYTES)
    register(client, source, 2 * INPUT_BYTES)
    register(client, target, 2 * INPUT_BYTES)
    for seed in range(3):
        arrays = put_arith(source, seed)
        infer(client, "arith", inputs_in("source"), outputs=outputs_in("target"))
        total = shared_memory.get_contents_as_numpy(target, np.int32, [1, 16])
        difference = shared_memory.get_contents_as_numpy(target, np.int32, [1, 16], INPUT_BYTES)
        np.testing.assert_array_equal(total, arrays[0] + arrays[1])
        np.testing.assert_array_equal(difference, arrays[0] - arrays[1])


def test_an_input_in_shared_memory_goes_with_one_in_the_message(client, region):
    handle, arrays = region("mixed", INPUT_BYTES), arith_arrays(seed=4)
    shared_memory.set_shared_memory_region(handle, [arrays[0]])
    register(client, handle, INPUT_BYTES)
    inputs = [inputs_in("mixed")[0], arith_inputs(arrays)[1]]
    assert_arith(infer(client, "arith", inputs), arrays)


def test_an_output_in_shared_memory_goes_with_one_in_the_message(client, region):
    handle, arrays = region("mixed", INPUT_BYTES), arith_arrays(seed=5)
    register(client, handle, INPUT_BYTES)
    outputs = [outputs_in("mixed")[0], grpcclient.InferRequestedOutput("OUTPUT1")]
    result = infer(client, "arith", arith_inputs(arrays), outputs=outputs)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), arrays[0] - arrays[1])
    written = shared_memory.get_contents_as_numpy(handle, np.int32, [1, 16])
    np.testing.assert_array_equal(written, arrays[0] + arrays[1])


def test_offsets_of_region_and_request_add_up(client, region):
    """The region is registered from byte 4096 on, and the request's offset counts from there."""
    handle, arrays = region("offset", 8192), arith_arrays(seed=6)
    shared_memory.set_shared_memory_region(handle, arrays, offset=4096 + 64)
    register(client, handle, 4096, offset=4096)
    result = infer(
        client,
        "arith",
        inputs_in("offset", offsets=(64, 64 + INPUT_BYTES)),
        outputs=outputs_in("offset", offsets=(1024, 2048)),
    )
    assert result.get_output("OUTPUT0").parameters["shared_memory_offset"].int64_param == 1024
    for offset, expected in ((1024, arrays[0] + arrays[1]), (2048, arrays[0] - arrays[1])):
        written = shared_memory.get_contents_as_numpy(handle, np.int32, [1, 16], 4096 + offset)
        np.testing.assert_array_equal(written, expected)


def test_602_kilobytes_pass_through_shared_memory_bit_for_bit(client, region):
    sent = np.random.RandomState(7).standard_normal((672, 224)).astype(np.float32)
    source, target = region("source", sent.nbytes), region("target", sent.nbytes)
    shared_memory.set_shared_memory_region(source, [sent])
    register(client, source, sent.nbytes)
    register(client, target, sent.nbytes)
    given = grpcclient.InferInput("INPUT0", list(sent.shape), "FP32")
    given.set_shared_memory("source", sent.nbytes)
    wanted = grpcclient.InferRequestedOutput("OUTPUT0")
    wanted.set_shared_memory("target", sent.nbytes)
    infer(client, "identity", [given], outputs=[wanted])
    assert shared_memory.get_contents_as_numpy(target, np.float32, sent.shape).tobytes() == sent.tobytes()


# === Registration ===


def test_the_status_shows_what_is_registered(client, region):
    first, second = region("first", 4096), region("second", 8192)
    register(client, first, 4096)
    register(client, second, 4096, offset=4096)
    regions = client.get_system_shared_memory_status().regions
    assert {name: (r.name, r.key, r.offset, r.byte_size) for name, r in regions.items()} == {
        "first": ("first", key_of(first), 0, 4096),
        "second": ("second", key_of(second), 4096, 4096),
    }
    only = client.get_system_shared_memory_status("second").regions
    assert [(name, r.key) for name, r in only.items()] == [("second", key_of(second))]
    as_json = client.get_system_shared_memory_status("first", as_json=True)["regions"]
    assert as_json["first"]["key"] == key_of(first)
    assert "absent" in fails_with("NOT_FOUND", client.get_system_shared_memory_status, "absent")


def test_one_region_or_all_can_be_unregistered(client, region):
    handles = [region(name, 4096) for name in ("a", "b", "c")]
    for handle in handles:
        register(client, handle, 4096)
    client.unregister_system_shared_memory("b")
    assert set(client.get_system_shared_memory_status().regions) == {"a", "c"}
    client.unregister_system_shared_memory()
    assert set(client.get_system_shared_memory_status().regions) == set()
    fails_with(("INVALID_ARGUMENT", "NOT_FOUND"), infer, client, "arith", inputs_in("a"))


def test_unregistering_when_nothing_is_registered_is_fine(client):
    client.unregister_system_shared_memory()
    client.unregister_cuda_shared_memory()


def test_an_unregistered_name_can_be_registered_again(client, region):
    for seed in range(3):
        handle = region("again", 2 * INPUT_BYTES)
        arrays = put_arith(handle, seed)
        register(client, handle, 2 * INPUT_BYTES)
        assert_arith(infer(client, "arith", inputs_in("again")), arrays)
        client.unregister_system_shared_memory("again")


def test_an_unregistered_region_is_let_go_by_every_process(served, client, region):
    handle = region("held", 2 * INPUT_BYTES)
    arrays = put_arith(handle)
    register(client, handle, 2 * INPUT_BYTES)
    assert_arith(infer(client, "arith", inputs_in("held")), arrays)
    client.unregister_system_shared_memory("held")
    deadline = time.monotonic() + CALL_S_MAX
    while holders := [pid for pid in served.processes() if key_of(handle) in Path(f"/proc/{pid}/maps").read_text()]:
        assert time.monotonic() < deadline, f"processes {holders} still map the region"
        infer(client, "arith", arith_inputs(arith_arrays()))


def test_a_name_is_registered_once(client, region):
    handle = region("twice", 4096)
    register(client, handle, 4096)
    assert "twice" in fails_with("ALREADY_EXISTS", register, client, handle, 4096)
    assert set(client.get_system_shared_memory_status().regions) == {"twice"}


def test_cuda_shared_memory_is_refused_and_its_status_is_empty(client):
    assert dict(client.get_cuda_shared_memory_status().regions) == {}
    fails_with(
        ("UNIMPLEMENTED", "INVALID_ARGUMENT", "UNAVAILABLE", "FAILED_PRECONDITION"),
        client.register_cuda_shared_memory,
        "cuda",
        b"A" * 64,
        0,
        64,
    )


# === What can be wrong ===


@pytest.mark.parametrize(
    "key",
    ["/edgemux_no_such_key", "", "/", "..", "../etc/passwd", "/../../etc/passwd", "a/b", "/a\0b", "/" + "k" * 300],
)
def test_a_key_that_names_no_region_is_refused(client, key):
    fails_with(
        ("INVALID_ARGUMENT", "NOT_FOUND"),
        client.register_system_shared_memory,
        "bad",
        key,
        64,
        client_timeout=CALL_S_MAX,
    )
    assert not client.get_system_shared_memory_status().regions


@pytest.mark.parametrize(
    ("byte_size", "offset"),
    [(8192, 0), (4096, 1), (1, 4096), (1, 2**40), (2**63, 2**63), (2**64 - 1, 1), (1, 2**64 - 1)],
)
def test_a_registration_beyond_the_regions_end_is_refused(client, region, byte_size, offset):
    handle = region("beyond", 4096)
    fails_with("INVALID_ARGUMENT", register, client, handle, byte_size, offset)
    assert not client.get_system_shared_memory_status().regions


def test_a_tensor_in_a_region_that_nobody_registered_is_refused(client):
    message = fails_with(("INVALID_ARGUMENT", "NOT_FOUND"), infer, client, "arith", inputs_in("nobodys"))
    assert "nobodys" in message


@pytest.mark.parametrize(
    ("byte_size", "offset"),
    [
        (INPUT_BYTES - 4, 0),
        (INPUT_BYTES + 4, 0),
        (0, 0),
        (INPUT_BYTES, 4096 - INPUT_BYTES + 1),
        (INPUT_BYTES, 4096),
        (INPUT_BYTES, 2**63 - 1),
        (2**63 - 1, 0),
        (2**63 - 1, 2**63 - 1),
        (INPUT_BYTES, -1),
        (-INPUT_BYTES, 0),
    ],
)
def test_an_input_that_does_not_fit_its_place_is_refused(client, region, byte_size, offset):
    handle, arrays = region("in", 4096), arith_arrays()
    register(client, handle, 4096)
    given = grpcclient.InferInput("INPUT0", [1, 16], "INT32")
    given.set_shared_memory("in", INPUT_BYTES)
    # Set by hand: the client leaves out an offset of zero, and must not check the rest either.
    given._get_tensor().parameters["shared_memory_byte_size"].int64_param = byte_size
    given._get_tensor().parameters["shared_memory_offset"].int64_param = offset
    fails_with("INVALID_ARGUMENT", infer, client, "arith", [given, arith_inputs(arrays)[1]])
    assert_arith(infer(client, "arith", arith_inputs(arrays)), arrays)


@pytest.mark.parametrize(
    ("byte_size", "offset"),
    [(INPUT_BYTES - 1, 0), (0, 0), (INPUT_BYTES, 4096), (INPUT_BYTES, 4096 - INPUT_BYTES + 1), (2**63 - 1, 2**63 - 1)],
)
def test_an_output_that_does_not_fit_its_place_is_refused(client, region, byte_size, offset):
    handle, arrays = region("out", 4096), arith_arrays()
    register(client, handle, 4096)
    wanted = grpcclient.InferRequestedOutput("OUTPUT0")
    wanted.set_shared_memory("out", byte_size, offset)
    fails_with(("INVALID_ARGUMENT", "INTERNAL"), infer, client, "arith", arith_inputs(arrays), outputs=[wanted])
    assert not any(handle._mpsm_handle.buf), "the region was written though the request was refused"
    assert_arith(infer(client, "arith", arith_inputs(arrays)), arrays)


def test_a_tensor_has_contents_or_a_region_not_both(client, region):
    handle = region("both", 4096)
    register(client, handle, 4096)
    given = arith_inputs(arith_arrays())
    parameters = given[0]._get_tensor().parameters
    parameters["shared_memory_region"].string_param = "both"
    parameters["shared_memory_byte_size"].int64_param = INPUT_BYTES
    fails_with("INVALID_ARGUMENT", infer, client, "arith", given)


def test_a_region_cut_short_by_its_owner_fails_the_request_and_not_the_server(served, client, region):
    """Touching a mapping beyond its file's end is a SIGBUS: it may cost a worker, never the daemon or the model."""
    handle, arrays = region("cut", 1 << 20), arith_arrays()
    register(client, handle, 1 << 20)
    os.truncate(f"/dev/shm{key_of(handle)}", 0)
    given = inputs_in("cut", offsets=(1 << 16, 1 << 17))
    with pytest.raises(grpcclient.InferenceServerException):
        infer(client, "identity", [tensor_in("cut")])
    with pytest.raises(grpcclient.InferenceServerException):
        infer(client, "arith", given)
    assert served.process.poll() is None
    assert client.is_server_live()
    client.unregister_system_shared_memory()
    deadline = time.monotonic() + CALL_S_MAX
    while not client.is_model_ready("arith"):
        assert time.monotonic() < deadline, "the model did not come back"
    assert_arith(infer(client, "arith", arith_inputs(arrays)), arrays)


def tensor_in(name):
    """An input of `identity` a page into the region `name`."""
    given = grpcclient.InferInput("INPUT0", [64, 64], "FP32")
    given.set_shared_memory(name, 64 * 64 * 4, 4096)
    return given
