"""That a spot machine is taken back: node.sh hears it from each cloud, and workers have time to leave."""

import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from tests.cluster.files import CLOUDS, CLUSTER, documents

NOTICES = {
    "aws": ("/latest/meta-data/spot/instance-action", '{"action": "terminate", "time": "2026-01-01T00:00:00Z"}'),
    "gcp": ("/computeMetadata/v1/instance/preempted", "TRUE"),
    "azure": (
        "/metadata/scheduledevents?api-version=2020-07-01",
        '{"DocumentIncarnation": 2, "Events": [{"EventType": "Preempt", "ResourceType": "VirtualMachine"}]}',
    ),
}
SILENCES = {
    "aws": None,
    "gcp": "FALSE",
    "azure": '{"DocumentIncarnation": 1, "Events": [{"EventType": "Reboot"}]}',
}


class Metadata(BaseHTTPRequestHandler):
    """A cloud's service for its machines, which asks for the header that it asks for."""

    answers: ClassVar[dict[str, str]] = {}
    headers_of: ClassVar[dict[str, tuple[str, str]]] = {
        "/latest": ("X-aws-ec2-metadata-token", "made-up"),
        "/computeMetadata": ("Metadata-Flavor", "Google"),
        "/metadata": ("Metadata", "true"),
    }

    def do_PUT(self) -> None:
        """Hand out AWS's token."""
        self._answer("made-up" if self.path == "/latest/api/token" else None)

    def do_GET(self) -> None:
        """Answer whoever has the header."""
        name, value = next(header for start, header in self.headers_of.items() if self.path.startswith(start))
        self._answer(self.answers.get(self.path) if self.headers.get(name) == value else None)

    def _answer(self, text: str | None) -> None:
        self.send_response(404 if text is None else 200)
        self.end_headers()
        self.wfile.write((text or "").encode())

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def metadata(answers: dict[str, str]) -> Iterator[str]:
    handler = type("Answers", (Metadata,), {"answers": answers})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def told(cloud: str, address: str) -> bool:
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nowhere", "CLOUD": cloud, "METADATA": address}
    done = subprocess.run(["bash", CLUSTER / "node.sh", "told"], env=environment, check=False, capture_output=True)
    assert done.stderr == b""
    return done.returncode == 0


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_machine_knows_that_its_cloud_takes_it_back(cloud: str) -> None:
    path, notice = NOTICES[cloud]
    with metadata({path: notice}) as address:
        assert told(cloud, address)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_machine_that_may_stay_is_told_nothing(cloud: str) -> None:
    silence = SILENCES[cloud]
    with metadata({} if silence is None else {NOTICES[cloud][0]: silence}) as address:
        assert not told(cloud, address)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_worker_is_a_service_that_ends_with_notice(cloud: str) -> None:
    start = documents(f"{cloud}.yaml")[0]["worker_start_ray_commands"][-1]
    assert "node.sh keep ~/venv/bin/ray start --block " in start


def test_ray_has_the_time_between_the_notice_and_the_end() -> None:
    script = (CLUSTER / "node.sh").read_text()
    seconds = [int(number) for number in re.findall(r"\bseconds=(\d+)", script)]
    assert seconds == [25, 105]  # of 30, and of AWS's 120
    for name in ("raycluster", "rayjob"):
        (document,) = documents(f"kubernetes/{name}.yaml")
        spec = document["spec"].get("rayClusterSpec", document["spec"])
        for group in spec["workerGroupSpecs"]:
            pod = group["template"]["spec"]
            (container,) = pod["containers"]
            (variable,) = container["env"]
            assert variable["name"] == "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"
            assert int(variable["value"]) < pod["terminationGracePeriodSeconds"]
            assert container["lifecycle"]["preStop"]["exec"]["command"][1:] == ["/home/autoft/node.sh", "leave"]
