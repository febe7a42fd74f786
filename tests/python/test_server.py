"""The server's own answers: is it live and ready, what is it, and how does it end."""

import urllib.error
import urllib.request

import grpc
from tritonclient.grpc import service_pb2

from harness import CALL_S_MAX, EMULATED_GPU, Answers, add_emulated, all_sent, call_bytes, infer, np, tensor


def test_a_started_server_is_live_and_ready(client):
    assert client.is_server_live() is True
    assert client.is_server_ready() is True


def test_server_metadata_names_the_server_and_the_extensions_it_serves(client):
    metadata = client.get_server_metadata()
    assert metadata.name.startswith("edgemux")
    assert metadata.version.split(".")[0].isdigit()
    served = {"model_repository", "model_configuration", "statistics", "system_shared_memory", "binary_tensor_data"}
    assert served <= set(metadata.extensions)
    assert client.get_server_metadata(as_json=True) == {
        "name": metadata.name,
        "version": metadata.version,
        "extensions": list(metadata.extensions),
    }


def test_the_standard_health_service_says_serving(served):
    # An empty HealthCheckRequest asks for the whole server; field 1 of the answer is the status, 1 is SERVING.
    assert call_bytes(served.address, "/grpc.health.v1.Health/Check", b"") == b"\x08\x01"


def test_reflection_lists_the_services(served):
    list_services = b"\x3a\x00"
    with grpc.insecure_channel(served.address) as channel:
        call = channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=bytes,
            response_deserializer=bytes,
        )
        (answer,) = call(iter([list_services]), timeout=CALL_S_MAX)
    assert b"inference.GRPCInferenceService" in answer
    assert b"grpc.health.v1.Health" in answer


def test_the_metrics_address_serves_health_and_metrics(served):
    for path in ("healthz", "metrics"):
        with urllib.request.urlopen(f"http://{served.metrics}/{path}", timeout=CALL_S_MAX) as answer:
            assert answer.status == 200
            assert answer.read()


def test_every_rpc_of_the_service_is_known(served):
    """Even an RPC that is not built yet answers for itself: with its own words, not as an unknown path."""
    unknown = None
    try:
        call_bytes(served.address, "/inference.GRPCInferenceService/NoSuchRpc", b"")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED
        unknown = error.details()
    service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert len(service.methods) == 20
    for method in service.methods:
        if method.name == "ModelStreamInfer":
            continue
        try:
            call_bytes(served.address, f"/{service.full_name}/{method.name}", b"")
        except grpc.RpcError as error:
            known = error.code() != grpc.StatusCode.UNIMPLEMENTED or (error.details() and error.details() != unknown)
            assert known, f"{method.name} is unknown: {error.code()} {error.details()!r}"


def test_sigterm_lets_a_running_request_finish(start_daemon):
    daemon = start_daemon(lambda repository: add_emulated(repository, "slow", mean_ms=500.0), EMULATED_GPU)
    sent = np.arange(4, dtype=np.float32)
    answers = Answers()
    with daemon.client() as client:
        infer(client, "slow", [tensor("INPUT0", sent)])
        client.async_infer("slow", [tensor("INPUT0", sent)], answers.callback(), client_timeout=CALL_S_MAX)
        all_sent(client)
        daemon.terminate()
        _, result = answers.next_result()
        np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), sent)


def test_a_server_that_was_never_asked_ends_cleanly(start_daemon):
    start_daemon()
