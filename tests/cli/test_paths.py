"""A path that leads nowhere is told before TensorFlow is imported, which takes long."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import edgekd

# In a child, so that no other test has imported TensorFlow yet.
SCRIPT = """
    import contextlib, io, json, sys
    from edgekd import cli

    for arguments in json.loads(sys.stdin.read()):
        sys.argv = ["edgekd", *arguments]
        told = io.StringIO()
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
            try:
                cli.main()
            except SystemExit as ended:
                status = ended.code
        large = sorted({"tensorflow", "keras", "tf_keras"} & set(sys.modules))
        print(json.dumps([arguments, status, told.getvalue(), large]))
"""
DATA = ["--dataset", "embedded"]
COMMANDS = [
    (["verify", "absent.keras", "there.onnx"], "absent.keras"),
    (["verify", "there.keras", "absent.tflite"], "absent.tflite"),
    (["verify", "there.keras", "there.txt"], "unknown model file suffix '.txt'"),
    (["verify", "there.keras", "there.onnx@litret"], "unknown runtime 'litret'"),
    (["verify", "there.keras", "there.onnx@litert"], "runtime 'litert' opens .tflite files, not 'there.onnx'"),
    (["verify", "there.keras", "there.onnx", "--data", "absent.npz"], "absent.npz"),
    (["verify", "there.keras", "there.onnx", "--data", "npz:absent.npz"], "absent.npz"),
    (["verify", "--stages", "absent"], "absent"),
    (["quantize", "absent.keras", *DATA], "absent.keras"),
    (["quantize", "there.keras", "--dataset", "npz:absent.npz"], "there.keras' is not a Keras file"),
    (["quantize", "there.h5", *DATA, "--sensitivity"], "there.h5' is not an HDF5 file"),
    (["quantize", "quickstart", "--set", "student={model: absent.keras}"], "absent.keras"),
    (["export", "absent.keras", "--scheme", "int8", *DATA], "absent.keras"),
    (["export", "absent.h5", "--check"], "absent.h5"),
    (["export", "absent.tflite", "--check"], "absent.tflite"),
    (["export", "there.onnx"], "'there.onnx' has been exported already"),
    (["export", "there.keras", "--scheme", "int8", "--dataset", "image_folder:absent"], "absent"),
    (["run", "quickstart", "--set", "teacher={model: absent.tflite}"], "absent.tflite"),
    (["run", "quickstart", "--set", "teacher={model: there.txt}"], "there.txt' is no teacher that can be opened"),
    (["train", "quickstart", "--set", "student={model: there.txt}"], "there.txt' is not a Keras model"),
    (["run", "quickstart", "--set", "data.dataset=idx:absent"], "absent"),
    (["distill", "--teacher", "absent.onnx", "--architecture", "lab_cnn", *DATA], "absent.onnx"),
    (["inspect", "absent.keras"], "absent.keras"),
    (["inspect", "there.txt"], "unknown model file suffix '.txt'"),
    (["diff", "absent.tflite", "there.tflite"], "absent.tflite"),
    (["bench", "absent.tflite"], "absent.tflite"),
]


def test_paths_are_looked_at_first(tmp_path: Path) -> None:
    for suffix in ("keras", "h5", "tflite", "onnx", "txt"):
        (tmp_path / f"there.{suffix}").write_text("nothing of its kind")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT)],
        input=json.dumps([arguments for arguments, _ in COMMANDS]),
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(edgekd.__file__).parents[1]), "PATH": ""},
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == len(COMMANDS), done.stderr
    for (arguments, status, said, large), (_, expected) in zip(told, COMMANDS, strict=True):
        assert (status, large) == (2, []), (arguments, said)
        assert expected in said, (arguments, said)
        assert said.count("\n") == 1, said
