"""What the tests' own `conftest.py` says is so."""


def test_the_files_that_begin_first_are_there(longest_files):
    assert longest_files
    assert [path for path in longest_files if not path.is_file()] == []
