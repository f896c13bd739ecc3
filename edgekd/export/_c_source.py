"""C source of a TFLite file for microcontrollers: the bytes, the operators to register, and the arena's size."""

import re
from pathlib import Path

from edgekd import flatbuffer, microcontroller, storage
from edgekd.errors import ModelError, RecipeError
from edgekd.records import Record

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_BYTES_PER_LINE = 12
_KEYWORDS = frozenset(
    """
    alignas alignof asm auto bool break case catch char class const constexpr continue default delete do double else
    enum explicit export extern false float for friend goto if inline int long mutable namespace new noexcept nullptr
    operator private protected public register return short signed sizeof static struct switch template this throw true
    try typedef typename union unsigned using virtual void volatile while
    """.split()  # noqa: SIM905
)


class CSource(Record):
    """C source of one model.

    `header`, `source` and `resolver` are file names. `operators` are the methods of TFLM's `MicroMutableOpResolver` to
    call. `arena_bytes` is the smallest tensor arena in which TFLM ran the model on this 64-bit machine, an upper bound
    for a 32-bit target with the reference kernels. `sha256` is the TFLite file's.
    """

    name: str
    header: str
    source: str
    resolver: str
    operators: tuple[str, ...]
    arena_bytes: int
    size_bytes: int
    sha256: str


def write_c_source(path: Path | str, folder: Path | str, *, name: str | None = None) -> CSource:
    """Writes a TFLite file as C for TensorFlow Lite for Microcontrollers, and returns what was written.

    NAME.h declares the array and the arena's size, NAME.c (C11 or C++11) holds the array, aligned to 16 bytes, and
    NAME_resolver.h (C++) makes a `MicroMutableOpResolver` with just the operators of the model. The bytes are those of
    the file.

    Args:
      path: a `.tflite` file that TFLM can run.
      folder: where the files go; it is made where it is missing.
      name: of the array, an identifier of C; by default the file's name.

    Raises:
      RecipeError: the name is no identifier.
      StorageError: the file does not exist, or the folder cannot be written.
      ModelError: it is not a TFLite file, TFLM lacks an operator or cannot run it, or tflite-micro is not installed.
    """
    path, folder = Path(path), Path(folder)
    storage.require_file(path, "TFLite file")
    chosen = re.sub(r"\W", "_", path.stem, flags=re.ASCII) if name is None else name
    check_c_name(chosen)
    content = path.read_bytes()
    try:
        operators = microcontroller.methods(_operators(content))
    except ModelError as error:
        raise ModelError(f"{str(path)!r}: {error}") from error
    found = CSource(
        name=chosen,
        header=f"{chosen}.h",
        source=f"{chosen}.c",
        resolver=f"{chosen}_resolver.h",
        operators=operators,
        arena_bytes=microcontroller.arena_bytes(path),
        size_bytes=len(content),
        sha256=storage.sha256_file(path),
    )
    for file_name, text in (
        (found.header, _header(found)),
        (found.source, _source(found, content)),
        (found.resolver, _resolver(found)),
    ):
        storage.write_text(folder / file_name, text)
    return found


def check_c_name(name: str) -> None:
    """Raises RecipeError unless C and C++ can call an array so."""
    if not _IDENTIFIER.fullmatch(name) or name in _KEYWORDS:
        raise RecipeError(f"{name!r} cannot name an array in C: give a name of letters, digits and _, such as model.")


def _operators(content: bytes) -> list[str]:
    model = flatbuffer.read(content)
    names = [flatbuffer.operator_name(code) for code in model.operatorCodes or ()]
    return [names[operator.opcodeIndex] for graph in model.subgraphs for operator in graph.operators or ()]


def _header(found: CSource) -> str:
    macro = found.name.upper()
    return f"""\
/* Written by edgekd. SHA-256 of the TFLite file: {found.sha256} */
#ifndef {macro}_H_
#define {macro}_H_

#ifdef __cplusplus
extern "C" {{
#endif

/* Tensor arena in bytes, aligned to 16, in which TensorFlow Lite for Microcontrollers ran the model on a 64-bit
   machine with its reference kernels. A 32-bit target needs somewhat less; other kernels may need more. */
#define {macro}_ARENA_BYTES {found.arena_bytes}

extern const unsigned char {found.name}[];
extern const unsigned int {found.name}_len;

#ifdef __cplusplus
}}
#endif

#endif /* {macro}_H_ */
"""


def _source(found: CSource, content: bytes) -> str:
    lines = [
        "  " + " ".join(f"0x{byte:02x}," for byte in content[start : start + _BYTES_PER_LINE])
        for start in range(0, len(content), _BYTES_PER_LINE)
    ]
    values = "\n".join(lines)
    return f"""\
/* Written by edgekd. SHA-256 of the TFLite file: {found.sha256} */
#include "{found.header}"

#ifndef __cplusplus
#include <stdalign.h>
#endif

alignas({flatbuffer.ALIGNMENT}) const unsigned char {found.name}[] = {{
{values}
}};
const unsigned int {found.name}_len = {found.size_bytes};
"""


def _resolver(found: CSource) -> str:
    macro = found.name.upper()
    calls = "\n".join(f"  resolver.{method}();" for method in found.operators)
    kind = f"tflite::MicroMutableOpResolver<{len(found.operators)}>"
    return f"""\
// Written by edgekd. SHA-256 of the TFLite file: {found.sha256}
#ifndef {macro}_RESOLVER_H_
#define {macro}_RESOLVER_H_

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

// Returns a resolver with the operators of the model and no others.
inline {kind} {found.name}_resolver() {{
  {kind} resolver;
{calls}
  return resolver;
}}

#endif  // {macro}_RESOLVER_H_
"""
