"""The status page in a real browser: what it shows under load, of a refusal and of a fence, and while the daemon is away.

Chromium is asked for the page as it is after its script has run. Without Chromium these tests are skipped, and said to be;
`EDGEMUX_BROWSER` names another binary, and where it is set there is no skipping.
"""

import os
import re
import shutil
import subprocess
import tempfile

import pytest

from harness import CALL_S_MAX, EMULATED_GPU, add_emulated, infer, np, tensor

BROWSER = os.environ.get("EDGEMUX_BROWSER") or shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = pytest.mark.skipif(not BROWSER, reason="no chromium on the PATH, and EDGEMUX_BROWSER names none")


def browse(address):
    """What the browser makes of the page: the document that the script has drawn."""
    with tempfile.TemporaryDirectory() as profile:
        command = [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            f"--user-data-dir={profile}",
            "--virtual-time-budget=3000",
            "--dump-dom",
            f"http://{address}/",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=2 * CALL_S_MAX)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def text(document):
    """The words of a document, without its script and its marks."""
    shown = re.sub(r"<(script|style)\b.*?</\1>", " ", document, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", shown).split())


@pytest.fixture(scope="module")
def edgemux(edgemuxd):
    def run(daemon, *arguments):
        command = [edgemuxd.with_name("edgemux"), *map(str, arguments), "--server", daemon.address]
        return subprocess.run(command, capture_output=True, text=True, timeout=CALL_S_MAX)

    return run


def two_models(repository):
    add_emulated(repository, "camera", mean_ms=4.0, load=False)
    add_emulated(repository, "too_slow", mean_ms=50.0, load=False)


def test_an_idle_node_says_what_to_do(start_daemon):
    daemon = start_daemon(two_models, EMULATED_GPU)
    shown = text(browse(daemon.metrics))
    for part in ("gpu0", "no sessions: edgemux load MODEL", "nothing has happened yet", "0 sessions on 1 devices"):
        assert part in shown, shown


def test_sessions_verdicts_and_fences_are_shown_as_they_are(start_daemon, edgemux):
    daemon = start_daemon(two_models, EMULATED_GPU)
    terms = ("--rate-hz", 20, "--quantile", 0.99)
    assert edgemux(daemon, "admit", "camera", *terms, "--latency-ms", 80).returncode == 0
    assert edgemux(daemon, "admit", "too_slow", *terms, "--latency-ms", 51).returncode == 3
    with daemon.client() as client:
        for _ in range(20):
            infer(client, "camera", [tensor("INPUT0", np.ones(4, np.float32))])
    reason = "being serviced <script>alert(1)</script>"
    assert edgemux(daemon, "devices", "fence", "gpu0", "--reason", reason).returncode == 0
    document = browse(daemon.metrics)
    shown = text(document)
    for part in (
        "camera/1",
        "guaranteed",
        "p99 within 80",
        "20, 0",
        "admitted",
        "refused",
        "too_slow/1 20/s, p99 within 51 ms",
        "fenced",
        "being serviced",
    ):
        assert part in shown, f"{part}\n{shown}"
    assert 'data-session="camera/1"' in document and document.count("<path") >= 3, "the last minutes are drawn"
    assert "<script>alert" not in document, "a reason is text, whatever stands in it"
