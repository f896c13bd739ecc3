import gzip

from edgekd.data import gzip_headers


def test_the_size_without_the_name_is_known_for_published_files_only():
    # train-labels-idx1-ubyte.gz has 29,515 bytes as published and 29,491 in Debian's package.
    checksum = "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
    assert gzip_headers.stripped_size(checksum, 29_515) == 29_491
    assert gzip_headers.stripped_size("0" * 64, 29_515) is None


def test_another_files_contents_are_not_accepted_and_leave_nothing(tmp_path):
    checksum = next(iter(gzip_headers.PUBLISHED))
    for content in (gzip.compress(b"other", mtime=0), b"", b"not gzip at all"):
        (tmp_path / "source").write_bytes(content)
        assert not gzip_headers.restore(tmp_path / "source", checksum, tmp_path / "restored")
        assert not (tmp_path / "restored").exists()
