"""Room, downloads, checksums, archives, atomic writes: with real files and a real web server on loopback."""

import hashlib
import io
import socket
import stat
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from simquery.errors import DiskSpaceError, DownloadError, NodeError
from simquery.node.download import download, fetch_text
from simquery.node.files import (
    checksum,
    human_size,
    remove_scratch,
    require_space,
    scratch_folder,
    write_atomically,
)
from simquery.node.unpacking import unpack_tar, unpack_zip


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        if self.path == "/short":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"only this")
            self.close_connection = True
        else:
            super().do_GET()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Address and folder of a web server."""
    folder = tmp_path / "web"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("size", "words"), [(12, "12 B"), (999_600, "1 MB"), (946_639_592, "947 MB"), (2_600_000_000, "2.6 GB")]
)
def test_sizes_for_people(size: int, words: str) -> None:
    assert human_size(size) == words


def test_room_is_checked_even_for_a_folder_that_does_not_exist_yet(tmp_path: Path) -> None:
    require_space(tmp_path / "not" / "yet", 1, "nothing much")
    with pytest.raises(DiskSpaceError, match=r"the node's data need 1000000000\.0 GB"):
        require_space(tmp_path / "not" / "yet", 10**18, "the node's data")


def test_a_full_disk_is_told_as_such() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full on this system")
    with pytest.raises(DiskSpaceError, match="became full"):
        download_into(full)


def download_into(target: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Zeros) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            download(f"http://127.0.0.1:{server.server_port}/", target, lambda _: None)
        finally:
            server.shutdown()
            thread.join()


class Zeros(QuietHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(bytes(100_000))


def test_download(web: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = web
    (folder / "file").write_bytes(b"x" * 3_000_000)
    download(f"{url}/file", tmp_path / "copy", lambda _: None)
    assert (tmp_path / "copy").read_bytes() == b"x" * 3_000_000


def test_download_reports_its_progress(web: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simquery.node.download.SECONDS_BETWEEN_REPORTS", 0.0)
    url, folder = web
    (folder / "file").write_bytes(b"x" * 3_000_000)
    lines: list[str] = []
    download(f"{url}/file", tmp_path / "copy", lines.append)
    assert "3 MB of 3 MB" in lines[-1]


def test_a_missing_file_and_a_dead_server_are_told_apart(web: tuple[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="answers 404"):
        download(f"{web[0]}/nothing", tmp_path / "copy", lambda _: None)
    with pytest.raises(DownloadError, match=r"cannot be reached .*refused"):
        fetch_text("http://127.0.0.1:1/file")


def test_a_connection_that_ends_early_is_an_error(web: tuple[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="ended after 9 B of 1 kB"):
        download(f"{web[0]}/short", tmp_path / "copy", lambda _: None)


def test_checksum(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert checksum(tmp_path / "file", "sha512") == hashlib.sha512(b"abc").hexdigest()


def test_a_scratch_folder_goes_away_and_so_does_one_of_a_killed_fetch(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "cache") as folder:
        (folder / "half").write_text("half")
    assert not folder.exists()
    (tmp_path / "cache" / ".fetching-killed" / "x").mkdir(parents=True)
    (tmp_path / "cache" / "elasticsearch").mkdir()
    remove_scratch(tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["elasticsearch"]


def test_atomic_write_sets_the_mode_and_follows_no_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / "file").symlink_to(victim)
    write_atomically(tmp_path / "file", "new", 0o600)
    assert victim.read_text() == "untouched"
    assert (tmp_path / "file").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "file").lstat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "victim"]


def test_atomic_write_into_a_missing_folder_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match="cannot be written"):
        write_atomically(tmp_path / "no" / "file", "new", 0o600)


def make_tar(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 3
            tar.addfile(member, io.BytesIO(b"abc"))
    return path


def test_unpack_tar_drops_the_outermost_folder(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", "elasticsearch-9.4.3/lib/x.jar")
    unpack_tar(archive, tmp_path / "server")
    assert (tmp_path / "server" / "lib" / "x.jar").read_bytes() == b"abc"


@pytest.mark.parametrize("names", [("../evil",), ("a/x", "b/x")])
def test_unpack_tar_refuses_strange_archives(tmp_path: Path, names: tuple[str, ...]) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(DownloadError):
        unpack_tar(make_tar(tmp_path / "a.tar.gz", *names), tmp_path / "in" / "server")
    assert not (tmp_path / "in" / "evil").exists()


@pytest.mark.parametrize("link", ["../../outside", "/etc"])
def test_unpack_tar_refuses_links_that_leave(tmp_path: Path, link: str) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("es/link")
        member.type, member.linkname = tarfile.SYMTYPE, link
        tar.addfile(member)
    with pytest.raises(DownloadError, match="damaged"):
        unpack_tar(tmp_path / "a.tar.gz", tmp_path / "server")


@pytest.mark.parametrize("keep", [0, 40, 130])
def test_unpack_tar_of_a_damaged_archive(tmp_path: Path, keep: int) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", *(f"es/{number}" for number in range(50)))
    archive.write_bytes(archive.read_bytes()[:keep])
    with pytest.raises(DownloadError, match="damaged"):
        unpack_tar(archive, tmp_path / "server")


def make_zip(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as bundle:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o100640 if not name.endswith("sh") else 0o100750) << 16
            bundle.writestr(info, content)
    return path


def test_unpack_zip_takes_one_folder_readable_for_everybody(tmp_path: Path) -> None:
    members = {"s/elasticsearch/lib/x.jar": b"x", "s/elasticsearch/bin/run.sh": b"r", "s/lib/other.jar": b"o"}
    unpack_zip(make_zip(tmp_path / "a.zip", **members), "elasticsearch", tmp_path / "server")
    files = {str(path.relative_to(tmp_path / "server")) for path in tmp_path.glob("server/**/*") if path.is_file()}
    assert files == {"lib/x.jar", "bin/run.sh"}
    assert stat.S_IMODE((tmp_path / "server/lib/x.jar").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "server/bin/run.sh").stat().st_mode) == 0o755


def test_unpack_zip_refuses_damage_and_absence(tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(DownloadError, match="damaged"):
        unpack_zip(tmp_path / "broken.zip", "elasticsearch", tmp_path / "server")
    other = make_zip(tmp_path / "other.zip", **{"s/lib/other.jar": b"o"})
    with pytest.raises(DownloadError, match="no folder 'elasticsearch'"):
        unpack_zip(other, "elasticsearch", tmp_path / "server")


def test_unpack_zip_stays_inside_its_target(tmp_path: Path) -> None:
    evil = make_zip(tmp_path / "evil.zip", **{"s/elasticsearch/../../../evil": b"e", "s/elasticsearch/good": b"g"})
    unpack_zip(evil, "elasticsearch", tmp_path / "deep" / "server")
    assert not (tmp_path / "evil").exists()
    assert (tmp_path / "deep" / "server" / "good").exists()


def test_a_network_that_swallows_everything_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simquery.node.download.SECONDS_TO_CONNECT", 0.1)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        started = time.monotonic()
        with pytest.raises(DownloadError, match=r"cannot be reached"):
            fetch_text(f"http://127.0.0.1:{listener.getsockname()[1]}/file")
        assert time.monotonic() - started < 5
