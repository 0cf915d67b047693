"""Page pages: what is written is what was given, and nothing else."""

import contextlib
import html.parser

import pytest

from kvae.utils.pages import Page


class Reader(html.parser.HTMLParser):
    """Collects the texts of a page by tag, and checks that tags nest."""

    VOID = {"meta", "img", "wbr"}

    def __init__(self, page):
        super().__init__()
        self.open, self.texts, self.images, self.links = [], [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "a":
            self.links.append(dict(attributes)["href"])
        if tag == "img":
            self.images.append(dict(attributes))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else None, data))


def test_page(tmp_path):
    report = Page("Title <b>", "lead & more")
    report.heading("Losses")
    report.table(("name", "nats"), [("<script>", 1.5), ("elbo", -90)])
    report.images(("a.png", 'a "quoted" caption'), ("b.png", "b"))
    report.code("x < y\n")
    path = report.write(tmp_path / "deep" / "index.html")
    page = Reader(path.read_text())
    assert ("h1", "Title <b>") in page.texts
    assert ("p", "lead & more") in page.texts
    cells = [text for tag, text in page.texts if tag in ("th", "td")]
    assert cells == ["name", "nats", "<script>", "1.5", "elbo", "-90"]
    assert page.images[0] == {"src": "a.png", "alt": 'a "quoted" caption'}
    assert page.links == ["a.png", "b.png"]  # A click shows a picture whole.
    assert ("code", "x < y") in page.texts
    # One file and its pictures: nothing is fetched from anywhere.
    assert "http" not in path.read_text()


def test_markdown(tmp_path):
    report = Page("A_title", "lead")
    report.heading("Losses")
    report.text("a | b *c*")
    report.table(("name", "nats"), [("a|b", 1.5), (None, -90)])
    report.items("one", "two")
    report.images(("a.png", "a caption"))
    report.code("x < y\n")
    assert report.write(tmp_path / "README.md").read_text().split("\n\n") == [
        "# A\\_title",
        "lead",
        "## Losses",
        "a \\| b \\*c\\*",
        "| name | nats |\n| --- | --- |\n| a\\|b | 1.5 |\n|  | -90 |",
        "- one\n- two",
        "![a caption](a.png)",
        "*a caption*",
        "```\nx < y\n```\n",
    ]


def test_lists_in_html(tmp_path):
    report = Page("Title")
    report.items("one & two", "three")
    page = Reader(report.to_html())
    assert [text for tag, text in page.texts if tag == "li"] == ["one & two", "three"]


def test_a_picture_that_fails_is_left_out_and_named(tmp_path):
    report, body = Page("Title"), Page("Body")
    for name in ("a.png", "b.png"):
        with pytest.warns(RuntimeWarning) if name == "a.png" else contextlib.nullcontext():
            with body.drawing(tmp_path / name) as path:
                if name == "a.png":
                    raise ValueError("no *fonts*\nat all")
                path.write_bytes(b"")
    body.images(("a.png", "A"), ("b.png", "B"))
    report.extend(body)
    assert [image["src"] for image in Reader(report.to_html()).images] == ["b.png"]
    page = report.to_markdown()
    assert "](b.png)" in page and "](a.png)" not in page
    assert "A (a.png): not drawn. no \\*fonts\\* at all" in page
    with pytest.raises(KeyboardInterrupt), body.drawing(tmp_path / "c.png"):
        raise KeyboardInterrupt
