"""What other programs read of the repository: it agrees with itself and names what there is."""

from __future__ import annotations

import json
import re
import tomllib

import pytest
import yaml
from conftest import ROOT
from repository import repository

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[0-9]*.yml"))


def requirements(name: str) -> dict[str, set[str]]:
    """The pinned packages of a file, each with its versions (which may depend on the Python)."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        if match := re.match(r"([A-Za-z0-9_.-]+)==(\S+)", line):
            found.setdefault(match[1].lower(), set()).add(match[2])
    return found


def test_version_title_and_address_are_the_same_everywhere(monkeypatch):
    monkeypatch.delenv("RESNET_TUTORIAL_REPOSITORY", raising=False)
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert CITATION["version"] == PROJECT["version"]
    assert CITATION["version"] in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert CITATION["title"] == config["title"]
    assert CITATION["repository-code"] == repository().url
    assert [author["name"] for author in CITATION["authors"]] == [config["author"]]


def test_the_readme_leads_to_every_chapter(monkeypatch):
    monkeypatch.delenv("RESNET_TUTORIAL_REPOSITORY", raising=False)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for chapter in sorted((ROOT / "book").glob("[01][0-9]_*.md")):
        title = re.search(r"^# (.+)$", chapter.read_text(encoding="utf-8"), re.MULTILINE)[1]
        (row,) = (line for line in readme.splitlines() if line.startswith(f"| {title} |"))
        assert repository().colab(f"notebooks/{chapter.stem}.ipynb") in row
    assert f"]({repository().binder('notebooks')})" in readme
    for picture in re.findall(r'(?:src|srcset)="([^"]+)"', readme):
        assert (ROOT / picture).is_file()


def test_the_licences_are_there_and_name_the_same_people():
    assert PROJECT["license"] == CITATION["license"] == "MIT"
    for name in PROJECT["license-files"]:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert CITATION["authors"][0]["name"] in text and "2026" in text, name


def test_binder_installs_the_packages_dependencies_in_tested_versions():
    binder, tested = requirements(".binder/requirements.txt"), requirements("requirements.txt")
    needed = {re.match(r"[A-Za-z0-9_.-]+", line)[0].lower() for line in PROJECT["dependencies"]}
    assert needed <= set(binder)
    for name, versions in binder.items():
        assert versions <= tested[name], name


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_what_there_is(path):
    text = path.read_text(encoding="utf-8")
    steps = [step for job in yaml.safe_load(text)["jobs"].values() for step in job["steps"]]
    targets = re.search(r"^TARGETS := ((?:.*\\\n)*.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    known = targets[1].replace("\\\n", " ").split()
    for command in (step["run"] for step in steps if "run" in step):
        for goals in re.findall(r"^(?:make|python make\.py) (.+?)(?: +#.*)?$", command, re.MULTILINE):
            for goal in goals.split():
                assert goal in known or "=" in goal, goal
        for tool in re.findall(r"tools/\w+\.py", command):
            assert (ROOT / tool).is_file(), tool
    for action in (step["uses"] for step in steps if "uses" in step):
        assert not action.startswith("./") or (ROOT / action / "action.yml").is_file(), action


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_asks_for_something_and_names_each_answer_once(path):
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert form["name"] and form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert any(field["validations"]["required"] for field in fields)
    for key in (
        [field["id"] for field in fields],
        [field["attributes"]["label"] for field in fields],
    ):
        assert len(set(key)) == len(key)
    for (
        field
    ) in fields:  # GitHub refuses a form whose options are not text, as an unquoted yes is not
        assert all(isinstance(option, str) for option in field["attributes"].get("options", []))


def test_the_container_sets_up_the_environment_that_its_editor_uses():
    container = json.loads(
        (ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8")
    )
    assert container["updateContentCommand"] == "make .venv/.ready"
    settings = container["customizations"]["vscode"]["settings"]
    assert settings["python.defaultInterpreterPath"].endswith("/.venv/bin/python")
