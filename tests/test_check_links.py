"""The check of external links, against a server of its own."""

from __future__ import annotations

import http.server
import socket
import threading

import check_links
import pytest

QUICK = {"timeout": 5.0, "pause": 0.0}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as its path says; `/flaky` has a bad moment before it works."""

    asked: list[str] = []

    def do_GET(self):
        self.asked.append(self.path)
        status = {"/gone": 404, "/refuses": 403, "/broken": 500, "/moved": 302}.get(self.path, 200)
        if self.path == "/flaky" and self.asked.count("/flaky") == 1:
            status = 503
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/there")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Handler.asked = []
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


@pytest.mark.parametrize(
    ("path", "state"),
    [
        ("/there", "alive"),
        ("/moved", "alive"),
        ("/flaky", "alive"),
        ("/gone", "dead"),
        ("/broken", "dead"),
        ("/refuses", "silent"),
    ],
)
def test_an_answer_says_whether_a_link_is_dead(server, path, state):
    assert check_links.ask(server + path, **QUICK)[0] == state


def test_what_may_pass_is_tried_again_and_what_is_certain_is_not(server):
    for path in ("/broken", "/gone", "/refuses"):
        check_links.ask(server + path, **QUICK)
    assert Handler.asked == ["/broken"] * 3 + ["/gone", "/refuses"]


def test_a_host_that_is_not_there_and_an_address_that_is_none_are_dead(server):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: nothing else can answer there
        assert check_links.ask(f"http://127.0.0.1:{free.getsockname()[1]}/", **QUICK)[0] == "dead"
    assert check_links.ask("http://[half/", **QUICK)[0] == "dead"


def test_links_are_found_in_pages_and_in_markdown(tmp_path):
    page = tmp_path / "site" / "book" / "page.html"
    page.parent.mkdir(parents=True)
    page.write_text(
        '<a href="https://a.example/x?y=1&amp;z=2#part">A</a> <a href="other.html">B</a>'
        '<link href="https://loaded.example/"><a name="no-link">C</a> https://text.example/'
    )
    text = tmp_path / "README.md"
    text.write_text(
        "See [it](https://a.example/x?y=1&z=2), <https://b.example/>\nor https://c.example/d.\n"
        "```\ncurl https://command.example/\n```\n"
    )
    assert check_links.collect([tmp_path / "site", text]) == {
        "https://a.example/x?y=1&z=2": {"page.html", "README.md"},
        "https://b.example/": {"README.md"},
        "https://c.example/d": {"README.md"},
    }


def test_for_colab_the_notebook_itself_is_asked_for():
    assert check_links.target(
        "https://colab.research.google.com/github/ada/nets/blob/main/notebooks/01.ipynb"
    ) == "https://github.com/ada/nets/blob/main/notebooks/01.ipynb"  # fmt: skip


def test_the_command_names_the_dead_link_and_where_it_stands(server, tmp_path, capsys):
    text = tmp_path / "README.md"
    text.write_text(f"{server}/there and {server}/refuses\n")
    assert check_links.main([str(text)], **QUICK) == 0
    assert "2 links: 1 alive, 1 silent, 0 dead" in capsys.readouterr().out
    (tmp_path / "more.html").write_text(
        f'<a href="http://[half/x">A</a> <a href="{server}/gone#part">B</a>'
    )
    assert check_links.main([str(text), str(tmp_path / "more.html")], **QUICK) == 1
    assert f"dead: {server}/gone (HTTP 404) in more.html" in (said := capsys.readouterr().out)
    assert "dead: http://[half/x" in said


def test_without_pages_the_command_says_how_to_build_them(tmp_path, capsys):
    with pytest.raises(SystemExit):
        check_links.main([str(tmp_path / "_build")])
    assert "make book" in capsys.readouterr().err
