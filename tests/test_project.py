"""The project's files agree with each other: the package, its citation, its lock, its workflow and its image."""

import tomllib
from typing import Any

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.conftest import CONF

ROOT = CONF.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def content(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def test_the_citation_and_the_changelog_have_the_version() -> None:
    assert content("CITATION.cff")["version"] == PROJECT["version"]
    assert f"\n## {PROJECT['version']}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_the_lock_has_the_dependencies_of_the_package() -> None:
    """A failure means that ``uv lock`` must run again."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    (own,) = (package for package in packages if package["name"] == PROJECT["name"])
    locked = {(need["name"], SpecifierSet(need.get("specifier", ""))) for need in own["metadata"]["requires-dist"]}
    groups = (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    declared = {(canonicalize_name(need.name), need.specifier) for group in groups for need in map(Requirement, group)}
    assert own["version"] == PROJECT["version"]
    assert {need for need in locked if need[0] != PROJECT["name"]} == {n for n in declared if n[0] != PROJECT["name"]}


def test_the_workflow_runs_ci_on_each_supported_python() -> None:
    job = content(".github/workflows/ci.yml")["jobs"]["ci"]
    prefix = "Programming Language :: Python :: 3."
    supported = {f"3.{name.removeprefix(prefix)}" for name in PROJECT["classifiers"] if name.startswith(prefix)}
    assert set(job["strategy"]["matrix"]["python"]) == supported
    assert job["steps"][-1]["run"] == "bash .ci/run"


def test_the_image_is_pinned_and_not_root() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    (base,) = (line for line in lines if line.startswith("FROM "))
    assert base.count(".") == 2, "the tag has no whole version"
    assert [line for line in lines if line.startswith("USER ")] == ["USER 1000"]
    assert [line for line in lines if "uv sync" in line and "--frozen" not in line] == []
