"""The embedded runtime computes what onnxruntime computes."""

import onnxruntime
import pytest

from harness import add_model, infer, np, onnx_bytes, tensor

ERROR_MAX = 1e-4

MODELS = {
    "mobilenet_v2": ("image", "logits", (3, 224, 224)),
    "mobilenet_tiny": ("image", "scores", (3, 96, 96)),
    "keywords": ("mfcc", "scores", (1, 49, 10)),
}


def inputs(shape, batch, seed):
    """Coarse patches and fine noise, as an image has both; zero mean, unit variance."""
    random = np.random.RandomState(seed)
    channels, height, width = shape
    coarse = random.standard_normal((batch, channels, -(-height // 7), -(-width // 7)))
    patches = coarse.repeat(7, axis=2).repeat(7, axis=3)[:, :, :height, :width]
    noise = random.standard_normal((batch, *shape))
    return (0.9 * patches + 0.45 * noise).astype(np.float32)


@pytest.fixture(scope="module", params=MODELS)
def model(request, served):
    """A model's name, its tensors' names, its input's shape, and onnxruntime's session over the very file served."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    path = served.repository / request.param / "1" / "model.onnx"
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return (request.param, *MODELS[request.param], session)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_outputs_equal_onnxruntimes(client, model, batch, seed):
    name, input_name, output_name, shape, session = model
    given = inputs(shape, batch, seed)
    (expected,) = session.run([output_name], {input_name: given})
    answered = infer(client, name, [tensor(input_name, given)]).as_numpy(output_name)
    assert answered.shape == expected.shape
    assert answered.dtype == expected.dtype == np.float32
    assert np.abs(answered - expected).max() <= ERROR_MAX


def test_the_comparison_means_something(model):
    """Outputs are finite, differ from class to class, and differ from input to input, by far more than the error."""
    _, input_name, output_name, shape, session = model
    outputs = session.run([output_name], {input_name: inputs(shape, 8, seed=4)})[0]
    assert np.isfinite(outputs).all()
    assert outputs.std(axis=1).min() > 100 * ERROR_MAX
    assert outputs.std(axis=0).mean() > 100 * ERROR_MAX
    assert len(set(outputs.argmax(axis=1))) > 1


def test_a_batch_is_answered_as_its_parts_are(client, model):
    name, input_name, output_name, shape, _ = model
    given = inputs(shape, 2, seed=5)
    whole = infer(client, name, [tensor(input_name, given)]).as_numpy(output_name)
    parts = [infer(client, name, [tensor(input_name, part)]).as_numpy(output_name) for part in (given[:1], given[1:])]
    assert np.abs(whole - np.concatenate(parts)).max() <= ERROR_MAX


def test_a_detector_answers_with_boxes_and_scores_as_onnxruntime_does(start_daemon):
    contents = onnx_bytes("detector")
    daemon = start_daemon(lambda repository: add_model(repository, "detector", contents))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(contents, options, providers=["CPUExecutionProvider"])
    given = inputs((3, 320, 320), 1, seed=5)
    expected = dict(zip(("boxes", "scores"), session.run(["boxes", "scores"], {"image": given})))
    with daemon.client() as client:
        answered = infer(client, "detector", [tensor("image", given)])
    for name, shape in (("boxes", (1, 3000, 4)), ("scores", (1, 3000, 91))):
        assert answered.as_numpy(name).shape == expected[name].shape == shape
        assert np.abs(answered.as_numpy(name) - expected[name]).max() <= ERROR_MAX
        assert expected[name].std() > 10 * ERROR_MAX
