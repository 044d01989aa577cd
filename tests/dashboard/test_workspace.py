"""The workspace that the dashboard sends to W&B."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from adamct.dashboard.__main__ import main
from tests.conftest import CONF
from tests.dashboard.names import columns_of, keys_of, panels

COMMAND = [sys.executable, "-m", "adamct.dashboard", "me/adamct"]


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    pytest.importorskip("wandb_workspaces")
    from adamct.dashboard.workspace import Content, as_json, workspace

    return json.loads(as_json(workspace("me", "adamct", Content.of(100, 3, ["optimizer.lr"]))))


def of_type(spec: dict[str, Any], view: str) -> list[dict[str, Any]]:
    return [panel["config"] for panel in panels(spec) if panel["viewType"] == view]


def test_curves_group_runs_by_model_with_a_band(spec: dict[str, Any]) -> None:
    curves = of_type(spec, "Run History Line Plot")
    names = {name for curve in curves for name in curve["metrics"]}
    assert {f"val/{ranking}/ndcg@10" for ranking in ("uni100", "full", "full_unseen")} <= names
    assert {f"mixture/layer{layer}/{value}" for layer in (1, 2, 3) for value in ("mean", "std")} <= names
    grouping = {(curve["xAxis"], curve["groupBy"], curve["groupAgg"], curve["groupArea"]) for curve in curves}
    assert grouping == {("epoch", "jobType", "mean", "stddev")}


def test_the_table_of_runs_has_the_seed_and_the_test(spec: dict[str, Any]) -> None:
    tested = {
        f"summary:test/{ranking}/{name}"
        for ranking in ("uni100", "full", "full_unseen")
        for name in ("ndcg@10", "recall@10")
    }
    assert columns_of(spec) == {"run:displayName", "run:jobType", "config:seed.value", *tested}


def test_searches_histograms_and_costs_have_panels(spec: dict[str, Any]) -> None:
    scores = {f"val/{ranking}/ndcg@10" for ranking in ("uni100", "full", "full_unseen")}
    assert {plot["targetKey"] for plot in of_type(spec, "Parameter Importance")} == scores
    axes = [[column["accessor"] for column in plot["columns"]] for plot in of_type(spec, "Parallel Coordinates Plot")]
    assert sorted(axes) == sorted(["config:optimizer.value.lr", f"summary:{score}"] for score in scores)
    names = {key for key, _ in keys_of(spec)}
    assert {f"mixture/layer{layer}/histogram" for layer in (1, 2, 3)} <= names
    assert {"cost/parameters", "cost/train_seconds_per_epoch", "cost/peak_gpu_memory_mib"} <= names


@pytest.mark.parametrize(
    ("project", "line"),
    [
        ("adamct", "adamct: must be ENTITY/PROJECT, such as my-team/adamct"),
        ("me/", "me/: must be ENTITY/PROJECT, such as my-team/adamct"),
        ("me/p", "the dashboard needs missing packages (wandb_workspaces): pip install 'adamct[wandb]'"),
    ],
)
def test_mistakes_are_errors_of_one_line(project: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adamct.extras.find_spec", lambda module: None)
    monkeypatch.setattr("sys.argv", ["dashboard", project])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == f"error: {line}"


def test_a_refusal_of_wandb_is_one_line(spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb
    from wandb_workspaces.workspaces import Workspace

    def refuse(workspace: Workspace) -> None:
        raise wandb.Error("no\nnetwork")

    monkeypatch.setattr(Workspace, "save", refuse)
    monkeypatch.setattr("sys.argv", ["dashboard", "me/adamct"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == "error: W&B project me/adamct: no network; --print needs no account"


class Server(BaseHTTPRequestHandler):
    """W&B's GraphQL endpoint, as far as a workspace needs it."""

    posted: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer: dict[str, Any] = {}
        if self.path == "/graphql":
            query = json.loads(body)
            if "upsertView" in query["query"]:
                self.posted.append(query["variables"])
                view = {"id": "Vmlldzox", "name": query["variables"]["name"]}
                answer = {"data": {"upsertView": {"view": view, "inserted": True}}}
            else:
                answer = {"data": {"viewer": {"id": "VXNlcjox", "entity": "me", "username": "me", "teams": None}}}
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    Server.posted = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as http:
        Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}", Server.posted
        http.shutdown()


@pytest.mark.slow
@pytest.mark.integration
def test_the_command_saves_what_it_prints(server: tuple[str, list[dict[str, Any]]]) -> None:
    pytest.importorskip("wandb_workspaces")
    url, posted = server
    environment = {**os.environ, "WANDB_BASE_URL": url, "WANDB_API_KEY": "0" * 40, "WANDB_SILENT": "false"}
    options = {"env": environment, "cwd": CONF.parent, "capture_output": True, "text": True, "timeout": 300}
    printed = subprocess.run([*COMMAND, "--print"], **options)
    assert not posted
    saved = subprocess.run(COMMAND, **options)
    assert saved.returncode == 0, saved.stderr
    assert f"View saved: {url}/me/adamct?nw=" in saved.stderr
    (variables,) = posted
    assert (variables["entityName"], variables["projectName"]) == ("me", "adamct")
    assert (variables["type"], variables["displayName"]) == ("project-view", "AdaMCT")
    sent, shown = json.loads(variables["spec"]), json.loads(printed.stdout)
    assert set(keys_of(sent)) == set(keys_of(shown))
    assert columns_of(sent) == columns_of(shown)
