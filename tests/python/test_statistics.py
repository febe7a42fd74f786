"""Inference statistics count every request, once."""

import time

import pytest

from harness import arith_arrays, arith_inputs, fails_with, infer, np, tensor


def entry(client, model):
    (found,) = client.get_inference_statistics(model).model_stats
    return found


def test_statistics_have_an_entry_for_the_version_served_before_any_request(emulated_client):
    found = entry(emulated_client, "never_asked")
    assert (found.name, found.version) == ("never_asked", "1")
    assert found.inference_count == 0
    assert found.execution_count == 0
    assert found.inference_stats.success.count == 0
    assert found.inference_stats.fail.count == 0


def test_counts_rise_by_exactly_the_requests_served(client):
    before = entry(client, "arith")
    for seed in range(5):
        infer(client, "arith", arith_inputs(arith_arrays(seed=seed)))
    after = entry(client, "arith")
    assert (after.name, after.version) == ("arith", "1")
    assert after.inference_count - before.inference_count == 5
    assert after.execution_count - before.execution_count == 5
    for stage in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        earlier, later = getattr(before.inference_stats, stage), getattr(after.inference_stats, stage)
        assert later.count - earlier.count == 5, stage
        assert later.ns >= earlier.ns, stage
    assert after.inference_stats.success.ns > before.inference_stats.success.ns
    assert after.inference_stats.compute_infer.ns > before.inference_stats.compute_infer.ns
    assert after.inference_stats.fail.count == before.inference_stats.fail.count


def test_the_stages_times_add_up_to_no_more_than_the_whole(emulated_client):
    before = entry(emulated_client, "copy_fp32")
    infer(emulated_client, "copy_fp32", [tensor("INPUT0", np.zeros(4, np.float32))])
    after = entry(emulated_client, "copy_fp32")
    spent = {
        stage: getattr(after.inference_stats, stage).ns - getattr(before.inference_stats, stage).ns
        for stage in ("success", "queue", "compute_input", "compute_infer", "compute_output")
    }
    whole = spent.pop("success")
    assert sum(spent.values()) <= whole
    # The emulated service takes 1 ms.
    assert spent["compute_infer"] >= 900_000


def test_the_time_of_the_last_inference_is_now_in_milliseconds(client):
    earliest = int(time.time() * 1000)
    infer(client, "arith", arith_inputs(arith_arrays()))
    latest = int(time.time() * 1000) + 1
    assert earliest <= entry(client, "arith").last_inference <= latest


def test_a_refused_request_does_not_count_as_a_success(client):
    before = entry(client, "arith")
    fails_with("INVALID_ARGUMENT", infer, client, "arith", arith_inputs(arith_arrays())[:1])
    after = entry(client, "arith")
    assert after.inference_stats.success.count == before.inference_stats.success.count
    assert after.execution_count == before.execution_count


@pytest.mark.parametrize("version", ["", "1"])
def test_statistics_are_readable_as_json(client, version):
    infer(client, "arith", arith_inputs(arith_arrays()))
    (found,) = client.get_inference_statistics("arith", version, as_json=True)["model_stats"]
    assert (found["name"], found["version"]) == ("arith", "1")
    assert int(found["inference_stats"]["success"]["count"]) >= 1


def test_statistics_without_a_name_cover_every_loaded_model(client):
    names = {(found.name, found.version) for found in client.get_inference_statistics().model_stats}
    assert names == {
        (name, "1") for name in ("arith", "arith64", "identity", "keywords", "mobilenet_tiny", "mobilenet_v2")
    }
