import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simquery.paths import display_path, printable, real_path


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"/evidence/Urlaub \xc3\xbc.jpg", "/evidence/Urlaub ü.jpg"),
        (b"/evidence/[red]\xf0\x9f\x94\xaa.jpg", "/evidence/[red]🔪.jpg"),
        (b"/evidence/caf\xe9.jpg", r"/evidence/caf\xe9.jpg"),
        (b"/evidence/\x1b[2Jgone\n.jpg", r"/evidence/\x1b[2Jgone\x0a.jpg"),
        (b"/evidence/\xe2\x80\xaegpj.exe", r"/evidence/\u202egpj.exe"),
        (rb"/evidence/C:\temp\x1b.jpg", r"/evidence/C:\\temp\\x1b.jpg"),
    ],
)
def test_a_path_is_shown_as_it_is_but_for_what_could_do_harm(raw: bytes, text: str) -> None:
    assert display_path(Path(os.fsdecode(raw))) == text
    assert os.fsencode(real_path(text)) == raw


@given(st.binary(min_size=1).filter(lambda name: not {0, ord("/")} & set(name) and name not in {b".", b".."}))
def test_every_name_can_be_had_back(name: bytes) -> None:
    path = Path("/evidence", os.fsdecode(name))
    text = display_path(path)
    assert real_path(text) == path
    text.encode("utf-8")
    assert "\x1b" not in text
    assert "\n" not in text


def test_a_message_that_quotes_evidence_cannot_steer_a_terminal() -> None:
    assert printable("a\x1b[31mb\u202ec\\d\te\nf") == "a\\x1b[31mb\\u202ec\\d\te\nf"
