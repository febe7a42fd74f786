"""Waiting for a busy device: deadlines, cancellation and priority, over emulated models that take 300 ms a request."""

import pytest

from harness import CALL_S_MAX, Answers, all_sent, fails_with, infer, np, success_count, tensor

INPUTS = [tensor("INPUT0", np.arange(4, dtype=np.float32))]


def ask(client, model, answers, tag, **options):
    options = {"client_timeout": CALL_S_MAX, **options}
    return client.async_infer(model, INPUTS, answers.callback(tag), **options)


@pytest.mark.parametrize(
    ("model", "options", "statuses"),
    [
        ("slow_timeout", {"client_timeout": 0.05}, "DEADLINE_EXCEEDED"),
        # The protocol's own parameter, in microseconds: the server ends the request, the call is still open.
        ("slow_deadline", {"timeout": 50_000, "client_timeout": CALL_S_MAX}, ("DEADLINE_EXCEEDED", "UNAVAILABLE")),
    ],
    ids=["grpc deadline", "timeout parameter"],
)
def test_a_request_whose_deadline_passes_in_the_queue_never_reaches_the_device(
    emulated_client, model, options, statuses
):
    client, answers = emulated_client, Answers()
    before = success_count(client, model)
    ask(client, model, answers, "running")
    all_sent(client)
    fails_with(statuses, client.infer, model, INPUTS, **options)
    assert answers.next_result()[0] == "running"
    assert client.is_model_ready(model)
    infer(client, model, INPUTS)
    assert success_count(client, model) - before == 2


def test_a_deadline_that_is_far_away_changes_nothing(emulated_client):
    result = infer(emulated_client, "copy_fp32", INPUTS, timeout=60_000_000)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), np.arange(4, dtype=np.float32))


def test_a_request_cancelled_in_the_queue_never_reaches_the_device(emulated_client):
    client, answers = emulated_client, Answers()
    before = success_count(client, "slow_cancel")
    ask(client, "slow_cancel", answers, "running")
    all_sent(client)
    queued = ask(client, "slow_cancel", answers, "cancelled")
    all_sent(client)
    queued.cancel()
    tag, result, error = answers.next()
    assert (tag, result) == ("cancelled", None)
    assert error.status() == "StatusCode.CANCELLED"
    assert answers.next_result()[0] == "running"
    infer(client, "slow_cancel", INPUTS)
    assert success_count(client, "slow_cancel") - before == 2


def test_a_request_of_high_priority_overtakes_those_that_wait(emulated_client):
    """Lower numbers come first, as in Triton. One request runs and six wait when the urgent one arrives."""
    client, answers = emulated_client, Answers()
    ask(client, "slow_priority", answers, "running", priority=10)
    all_sent(client)
    for index in range(6):
        ask(client, "slow_priority", answers, index, priority=10)
    all_sent(client)
    ask(client, "slow_priority", answers, "urgent", priority=1)
    order = [answers.next_result()[0] for _ in range(8)]
    assert order[0] == "running"
    # One that waited may have begun before the urgent one arrived; none may begin after.
    assert order.index("urgent") <= 2, order
    assert {*order} == {"running", "urgent", *range(6)}
