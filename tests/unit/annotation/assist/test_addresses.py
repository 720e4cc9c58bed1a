"""INT-20: what the addresses of pictures mean, and what people get to see of them."""

import pytest

from annotation.assist.addresses import Address, Kind, parse_address, shown_name
from annotation.assist.hosts import Origin
from lifelong.errors import PictureAccessError

OWN = (Origin("http", "studio.example", 8080), Origin("http", "127.0.0.1", 8081))
FILE_URI = "czM6Ly9idWNrZXQvc2V0L2EuanBn"  # s3://bucket/set/a.jpg
OLD_FILE_URI = "s3%3A%2F%2Fbucket%2Fset%2Fa.jpg"


@pytest.mark.parametrize(
    ("text", "kind", "place"),
    [
        ("/data/upload/7/ab12-cat.jpg", Kind.UPLOAD, "7/ab12-cat.jpg"),
        ("upload/7/ab12-cat.jpg", Kind.UPLOAD, "7/ab12-cat.jpg"),
        ("/upload/7/ab12-cat.jpg", Kind.UPLOAD, "7/ab12-cat.jpg"),
        ("/sub/data/upload/7/ab12-cat.jpg", Kind.UPLOAD, "7/ab12-cat.jpg"),
        ("http://studio.example:8080/data/upload/7/c%20t.jpg", Kind.UPLOAD, "7/c t.jpg"),
        ("HTTP://Studio.Example:8080/data/upload/7/c.jpg", Kind.UPLOAD, "7/c.jpg"),
        ("http://localhost:8081/data/upload/7/c.jpg", Kind.UPLOAD, "7/c.jpg"),
        ("/storage-data/uploaded/?filepath=upload/7/c.jpg", Kind.UPLOAD, "7/c.jpg"),
        ("/data/local-files/?d=set%201/a%2Bb.jpg", Kind.LOCAL_FILE, "set 1/a+b.jpg"),
        ("/data/local-files?d=set/a.jpg", Kind.LOCAL_FILE, "set/a.jpg"),
        ("/data/local-files/?d=set/a.jpg&d=set/b.jpg", Kind.LOCAL_FILE, "set/b.jpg"),
        ("/data/local-files/?d=/set/./a.jpg", Kind.LOCAL_FILE, "set/a.jpg"),
        ("http://studio.example:8080/data/local-files/?d=a/b.jpg", Kind.LOCAL_FILE, "a/b.jpg"),
        ("s3://bucket/set/a b?.jpg", Kind.BUCKET, "s3://bucket/set/a b?.jpg"),
        ("gs://bucket/a.jpg", Kind.BUCKET, "gs://bucket/a.jpg"),
        ("azure-blob://box/a.jpg", Kind.BUCKET, "az://box/a.jpg"),
        ("az://box/a.jpg", Kind.BUCKET, "az://box/a.jpg"),
        (f"/tasks/7/resolve/?fileuri={FILE_URI}", Kind.BUCKET, "s3://bucket/set/a.jpg"),
        (f"/projects/3/presign/?fileuri={FILE_URI}", Kind.BUCKET, "s3://bucket/set/a.jpg"),
        (f"/tasks/7/presign/?fileuri={OLD_FILE_URI}", Kind.BUCKET, "s3://bucket/set/a.jpg"),
        ("https://elsewhere.example/a.jpg#x", Kind.WEB, "https://elsewhere.example/a.jpg"),
        # Another machine's upload is a file of the web like any other.
        ("http://elsewhere.example/data/upload/7/c.jpg", Kind.WEB, None),
        ("https://studio.example:8080/data/upload/7/c.jpg", Kind.WEB, None),
        ("http://studio.example:8080/static/logo.png", Kind.WEB, None),
        ("data:image/png;base64,AAAA", Kind.INLINE, None),
    ],
)
def test_int_20_every_form_of_address_is_read(text: str, kind: Kind, place: str | None) -> None:
    found = parse_address(f"  {text} ", OWN)
    assert (found.kind, found.place) == (kind, text if place is None else place)


def test_int_20_an_address_of_label_studio_keeps_whose_storage_it_is() -> None:
    assert parse_address(f"/tasks/7/resolve/?fileuri={FILE_URI}").owner == "tasks/7"
    assert parse_address(f"/projects/3/resolve/?fileuri={FILE_URI}").owner == "projects/3"
    assert parse_address("s3://bucket/a.jpg").owner == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "file:///etc/passwd",
        "ftp://elsewhere.example/a.jpg",
        "gopher://127.0.0.1:6379/_x",
        "javascript:alert(1)",
        "C:\\pictures\\a.jpg",
        "//elsewhere.example/a.jpg",
        "/etc/passwd",
        "a.jpg",
        "/data/local-files/?d=../secret.jpg",
        "/data/local-files/?d=set/../../secret.jpg",
        "/data/local-files/?d=set/%2e%2e/secret.jpg",
        "/data/local-files/?d=",
        "/data/local-files/?d=/",
        "/data/local-files/?x=a.jpg",
        "/data/local-files/?d=a%00.jpg",
        "/data/upload/7/../../../api/users",
        "/data/upload/7/%2e%2e/x.jpg",
        "/data/upload/x/a.jpg",
        "/storage-data/uploaded/?filepath=avatars/a.jpg",
        "s3://bucket",
        "s3://bucket/",
        "s3://../a.jpg",
        "s3://bucket/../a.jpg",
        "s3://bucket@evil.example/a.jpg",
        "/tasks/7/resolve/",
        "/tasks/7/resolve/?fileuri=aHR0cDovLzEyNy4wLjAuMS9hLmpwZw==",  # http://127.0.0.1/a.jpg
        "http://elsewhere.example/a\r\nX-Evil: 1",
        "http://elsewhere.example:99999/a.jpg",
        "http://elsewhere.example:0/a.jpg",
        "http:///a.jpg",
        "http://[::1/a.jpg",
        "http://a b/c.jpg",
        "http://elsewhere.example/" + "a" * 9000,
        "data:text/html;base64,AAAA",
        "data:image/png,AAAA",
    ],
)
def test_sec_03_what_is_no_picture_address_is_refused_in_words(text: str) -> None:
    with pytest.raises(PictureAccessError) as caught:
        parse_address(text, OWN)
    assert len(str(caught.value)) < 600
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://h.example/a.jpg?X-Amz-Signature=secret#frag", "https://h.example/a.jpg?…"),
        ("https://me:secret@h.example/a.jpg", "https://h.example/a.jpg"),
        ("https://secret@h.example/a.jpg", "https://h.example/a.jpg"),
        ("http://me:sec#ret?x@h.example/a.jpg", "http://h.example/a.jpg"),
        ("http://me:sec/ret@h.example/a.jpg", "http://…"),
        ("s3://key:secret@bucket/a.jpg", "s3://bucket/a.jpg"),
        ("s3://bucket/a.jpg?versionId=secret", "s3://bucket/a.jpg?…"),
        ("http://[::1]:8080/a.jpg", "http://[::1]:8080/a.jpg"),
        ("/data/upload/7/c.jpg?token=secret", "/data/upload/7/c.jpg?…"),
        ("data:image/png;base64,secret", "data:…"),
        ("a\nb", "a�b"),
    ],
)
def test_ops_03_a_name_shows_where_and_no_secret(text: str, shown: str) -> None:
    assert shown_name(text) == shown
    assert "secret" not in shown


def test_ops_03_nothing_of_a_parsed_address_shows_its_secrets() -> None:
    for text in (
        "https://me:secret@h.example/a.jpg?sig=secret",
        "data:image/png;base64,secretAA",
        "s3://bucket/a.jpg?sig=secret",
    ):
        assert "secret" not in repr(parse_address(text))


def test_ops_03_a_long_name_is_cut_in_the_middle() -> None:
    name = shown_name("https://h.example/" + "a" * 3000 + "/cat.jpg")
    assert len(name) <= 201
    assert name.startswith("https://h.example/")
    assert name.endswith("/cat.jpg")


def test_an_address_is_equal_to_itself() -> None:
    first = parse_address("/data/upload/7/c.jpg")
    assert first == Address(kind=Kind.UPLOAD, place="7/c.jpg", name="/data/upload/7/c.jpg")
    assert first == parse_address("http://studio.example:8080/data/upload/7/c.jpg", OWN)
