"""The streaming RPC: many requests and answers on one stream, errors inside it, models with several answers each."""

import pytest

from harness import (
    Answers,
    all_sent,
    arith_arrays,
    arith_inputs,
    assert_arith,
    fails_with,
    infer,
    np,
    success_count,
    tensor,
)


@pytest.fixture
def stream(client):
    answers = Answers()
    client.start_stream(answers.callback())
    yield answers
    client.stop_stream()
    assert answers.none_left()


@pytest.fixture
def emulated_stream(emulated_client):
    answers = Answers()
    emulated_client.start_stream(answers.callback())
    yield answers
    emulated_client.stop_stream()


def is_final(result):
    return result.get_response().parameters["triton_final_response"].bool_param


def test_one_streams_requests_to_a_model_are_answered_in_the_order_sent(client, stream):
    sent = [arith_arrays(seed=seed) for seed in range(20)]
    for index, arrays in enumerate(sent):
        client.async_stream_infer("arith", arith_inputs(arrays), request_id=str(index))
    for index, arrays in enumerate(sent):
        _, result = stream.next_result()
        assert result.get_response().id == str(index)
        assert_arith(result, arrays)


def test_one_stream_carries_requests_to_several_models(client, stream):
    arrays, image = arith_arrays(), np.ones((2, 3), np.float32)
    client.async_stream_infer("arith", arith_inputs(arrays), request_id="a")
    client.async_stream_infer("identity", [tensor("INPUT0", image)], request_id="b")
    by_id = {}
    for _ in range(2):
        _, result = stream.next_result()
        by_id[result.get_response().id] = result
    assert_arith(by_id["a"], arrays)
    np.testing.assert_array_equal(by_id["b"].as_numpy("OUTPUT0"), image)


@pytest.mark.parametrize(
    ("model", "inputs"),
    [("no_such_model", arith_inputs(arith_arrays())), ("arith", arith_inputs(arith_arrays())[:1])],
    ids=["unknown model", "missing input"],
)
def test_a_bad_request_is_answered_in_the_stream_and_the_stream_goes_on(client, stream, model, inputs):
    arrays = arith_arrays(seed=9)
    client.async_stream_infer("arith", arith_inputs(arrays), request_id="before")
    client.async_stream_infer(model, inputs, request_id="bad")
    client.async_stream_infer("arith", arith_inputs(arrays), request_id="after")
    results, errors = [], []
    for _ in range(3):
        _, result, error = stream.next()
        (results if error is None else errors).append(result if error is None else error)
    assert [result.get_response().id for result in results] == ["before", "after"]
    for result in results:
        assert_arith(result, arrays)
    (error,) = errors
    # An error that ended the stream would carry a status.
    assert error.status() is None
    assert error.message()


def test_a_decoupled_model_answers_as_often_as_it_says(emulated_client, emulated_stream):
    sent = np.arange(4, dtype=np.float32)
    emulated_client.async_stream_infer("thrice", [tensor("INPUT0", sent)], request_id="three")
    for _ in range(3):
        _, result = emulated_stream.next_result()
        assert result.get_response().id == "three"
        np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), sent)
    emulated_client.stop_stream()
    assert emulated_stream.none_left(), "an empty final response came though nobody enabled it"


def test_the_last_answer_of_a_decoupled_model_is_marked_where_that_is_enabled(emulated_client, emulated_stream):
    sent = {"first": np.arange(4, dtype=np.float32), "second": -np.arange(4, dtype=np.float32)}
    for name, array in sent.items():
        emulated_client.async_stream_infer(
            "thrice", [tensor("INPUT0", array)], request_id=name, enable_empty_final_response=True
        )
    contents, finals = {name: 0 for name in sent}, {name: 0 for name in sent}
    while sum(finals.values()) < 2:
        _, result = emulated_stream.next_result()
        name = result.get_response().id
        assert finals[name] == 0, "an answer came after the final one"
        if result.get_response().outputs:
            np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), sent[name])
            contents[name] += 1
        else:
            assert is_final(result), "an empty answer that is not the final one"
        finals[name] += is_final(result)
    assert contents == {"first": 3, "second": 3}
    emulated_client.stop_stream()
    assert emulated_stream.none_left()


def test_the_one_answer_of_any_other_model_is_its_final_one(client, stream):
    client.async_stream_infer("arith", arith_inputs(arith_arrays()), enable_empty_final_response=True)
    _, result = stream.next_result()
    assert result.get_response().outputs
    assert is_final(result)


def test_a_decoupled_model_is_not_served_by_the_unary_rpc(emulated_client):
    message = fails_with("UNIMPLEMENTED", infer, emulated_client, "thrice", [tensor("INPUT0", np.zeros(4, np.float32))])
    assert "decoupled" in message


def test_closing_the_stream_waits_for_every_answer(client):
    answers, arrays = Answers(), arith_arrays()
    client.start_stream(answers.callback())
    for index in range(10):
        client.async_stream_infer("arith", arith_inputs(arrays), request_id=str(index))
    client.stop_stream()
    for index in range(10):
        assert answers.next_result()[1].get_response().id == str(index)
    assert answers.none_left()


def test_a_cancelled_streams_queued_requests_never_run(emulated, emulated_client):
    """Ten requests of 300 ms are sent and the stream is cancelled early: the rest must not run."""
    answers, inputs = Answers(), [tensor("INPUT0", np.zeros(4, np.float32))]
    before = success_count(emulated_client, "slow_stream")
    emulated_client.start_stream(answers.callback())
    for _ in range(10):
        emulated_client.async_stream_infer("slow_stream", inputs)
    answers.next_result()
    emulated_client.stop_stream(cancel_requests=True)
    with emulated.client() as other:
        all_sent(other)
        infer(other, "slow_stream", inputs)
        # The one that was answered, at most the two that could have started until the cancellation arrived, and ours.
        assert success_count(other, "slow_stream") - before <= 4
