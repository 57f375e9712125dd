from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightflow.errors import ConfigurationError
from nightflow.store.database import Database
from nightflow.store.frames import settle_frame
from nightflow.store.models import State
from nightflow.store.targets import add_target
from nightflow.store.writer import append
from nightflow.web.server import DashboardServer, is_loopback
from tests.unit.store.builders import add_frame, columns, later, record, stars

PNG = b"\x89PNG\r\n\x1a\n and so on"
HOSTILE = '<script>alert("M 31")</script>'


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path / 'store.sqlite'}") as opened:
        opened.upgrade()
        yield opened


@pytest.fixture
def products(tmp_path: Path) -> Path:
    """Folder of the products, with a secret beside it."""
    folder = tmp_path / "products"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(b"secret")
    return folder


@pytest.fixture
def server(database: Database, products: Path) -> Iterator[DashboardServer]:
    with DashboardServer("127.0.0.1", 0, database, products) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield listening
        listening.shutdown()
        thread.join(10)


def ask(
    server: DashboardServer, path: str, method: str = "GET", host: str | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(method, path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, dict(answer.headers), content


def light(database: Database, products: Path, name: str = "a.fits") -> int:
    """Enter a reduced light frame with a thumbnail; return its row."""
    frame_id = add_frame(database, name, object=HOSTILE)
    append(database, frame_id, record(fwhm_px=3.0), columns(*stars(4)), now=later(5))
    settle_frame(database, frame_id, State.DONE, "")
    with database.session() as session:
        from nightflow.store.models import Frame

        frame = session.get(Frame, frame_id)
        assert frame is not None
    night = products / frame.night
    night.mkdir(exist_ok=True)
    (night / f"a-e{frame.exposure_id}-f{frame_id}.png").write_bytes(PNG)
    return frame_id


def test_the_page_shows_the_ledger_and_escapes_it(
    server: DashboardServer, database: Database, products: Path
) -> None:
    frame_id = light(database, products)
    add_target(database, HOSTILE, 10.0, 20.0)
    status, headers, page = ask(server, "/")
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert b"a.fits" in page
    assert b"<script" not in page
    assert b"&lt;script&gt;alert(&quot;M 31&quot;)" in page
    assert f"/thumbnail/{frame_id}.png".encode() in page


def test_thumbnails_come_by_the_number_of_a_frame(
    server: DashboardServer, database: Database, products: Path
) -> None:
    frame_id = light(database, products)
    assert ask(server, f"/thumbnail/{frame_id}.png")[0::2] == (200, PNG)
    assert ask(server, f"/thumbnail/{frame_id + 1}.png")[0] == 404
    assert ask(server, "/thumbnail/999999999999999.png")[0] == 404


@pytest.mark.parametrize(
    "path",
    [
        "/thumbnail/../secret.png",
        "/thumbnail/..%2fsecret.png",
        "/thumbnail/%2e%2e/secret.png",
        "/../secret.png",
        "/secret.png",
        "//etc/passwd",
        "/thumbnail/0.png",
        "/thumbnail/-1.png",
        "/thumbnail/1.png/../../secret.png",
        "/thumbnail/*.png",
        "/thumbnail/1e3.png",
        "/thumbnail/%D9%A1.png",
        "/products/",
        "/?x=1",
        "/target/1.png",
    ],
)
def test_no_path_of_the_address_reaches_a_file(
    server: DashboardServer, database: Database, products: Path, path: str
) -> None:
    light(database, products)
    status, _, content = ask(server, path)
    assert status == 404
    assert b"secret" not in content
    assert b"root:" not in content


def test_a_link_out_of_the_products_is_not_followed(
    server: DashboardServer, database: Database, products: Path
) -> None:
    frame_id = light(database, products)
    (picture,) = products.rglob("*.png")
    picture.unlink()
    picture.symlink_to(products.parent / "secret.png")
    assert ask(server, f"/thumbnail/{frame_id}.png")[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "<script>"])
def test_only_get_is_answered(server: DashboardServer, method: str) -> None:
    status, headers, content = ask(server, "/", method)
    assert status == 405
    assert headers["Allow"] == "GET"
    assert b"script" not in content


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8750", 200),
        ("127.0.0.1", 200),
        ("[::1]:8750", 200),
        ("evil.example", 403),
        ("evil.example:8750", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example:1", 403),
    ],
)
def test_another_name_for_this_machine_is_refused(server: DashboardServer, host: str, status: int) -> None:
    assert ask(server, "/", host=host)[0] == status


def test_nonsense_ends_neither_the_server_nor_its_answer(server: DashboardServer) -> None:
    for request in (
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"\xff\xfe\x00 / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=5) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
    assert ask(server, "/")[0] == 200


def test_the_light_curve_of_a_target_is_drawn(
    server: DashboardServer, database: Database, products: Path
) -> None:
    light(database, products)
    ra, dec = stars(4)
    target = add_target(database, "a star", float(ra[0]), float(dec[0]))
    status, headers, content = ask(server, f"/target/{target.id}.png")
    assert status == 200
    assert headers["Content-Type"] == "image/png"
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert ask(server, f"/target/{target.id}.png")[2] == content
    add_target(database, "a star", 200.0, -10.0)
    assert ask(server, f"/target/{target.id}.png")[0] == 404


def test_a_store_that_is_away_is_said(server: DashboardServer, database: Database) -> None:
    database.downgrade()
    status, _, page = ask(server, "/")
    assert status == 503
    assert b"its tables are missing" in page


def test_the_style_is_served(server: DashboardServer) -> None:
    status, headers, _ = ask(server, "/style.css")
    assert (status, headers["Content-Type"]) == (200, "text/css; charset=utf-8")


def test_an_address_in_use_is_said(server: DashboardServer, database: Database, products: Path) -> None:
    with pytest.raises(ConfigurationError, match="choose another --port"):
        DashboardServer("127.0.0.1", server.server_port, database, products)
    with pytest.raises(ConfigurationError, match="cannot listen"):
        DashboardServer("192.0.2.1", 0, database, products)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("dome.example", False),
        ("", False),
    ],
)
def test_what_is_this_machine_alone(host: str, local: bool) -> None:
    assert is_loopback(host) is local
