"""Files made once for all test processes: whole, or made again."""

import pytest
from once import made_once


def test_a_folder_is_made_once_and_only_whole(tmp_path_factory, request):
    name, made = f"of-{request.node.name}", []

    def make(folder):
        (folder / "half").write_text("x")
        made.append(folder)
        if len(made) == 1:
            raise KeyError("killed in the middle")

    with pytest.raises(KeyError):
        made_once(tmp_path_factory, name, make)
    folder = made_once(tmp_path_factory, name, make)
    assert folder == made_once(tmp_path_factory, name, make) and len(made) == 2
    assert [file.name for file in folder.iterdir()] == ["half"]
