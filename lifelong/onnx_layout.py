"""Where what lies in an ONNX file, read from its bytes alone: tensors, and files it points at.

ONNX files are protocol buffers (github.com/onnx/onnx, onnx/onnx.proto3); the numbers below are
its field numbers. Nothing is loaded and no file is opened, so a foreign model may be looked at
before ONNX Runtime sees it. The edge has no `onnx` package, and needs none for this.
"""

from collections.abc import Iterator

from lifelong.errors import CorruptRecordError, ModelLoadError

# message -> {field number: message it holds}; what is not named here holds no tensors.
_HOLDS: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 20: "TrainingInfo", 25: "Function"},
    "TrainingInfo": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {
        5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor",
    },
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
}  # fmt: skip
_GRAPH_IN_MODEL, _INITIALISER_IN_GRAPH = 7, 5
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # of a Tensor
_DEEPEST = 64  # graphs in graphs; real models have two or three levels

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5


def initialiser_spans(onnx: bytes) -> list[tuple[int, int]]:
    """Begin and end (bytes from the start) of the main graph's initialisers, in file order.

    Raises:
        CorruptRecordError: not a protocol buffer.
    """
    data = memoryview(onnx)
    return [
        (begin, end)
        for number, graph_begin, graph_end in _messages(data, 0, len(data))
        if number == _GRAPH_IN_MODEL
        for inner, begin, end in _messages(data, graph_begin, graph_end)
        if inner == _INITIALISER_IN_GRAPH
    ]


def refuse_foreign_files(onnx: bytes, where: str) -> None:
    """Refuse a model whose weights lie in other files: a bundle is whole, or it is nothing.

    ONNX Runtime would read whatever path the file names, with this process's rights.

    Raises:
        ModelLoadError: not ONNX, or it points at files; names `where`.
    """
    try:
        points_elsewhere = _points_elsewhere(memoryview(onnx), 0, len(onnx), "Model", 0)
    except CorruptRecordError as error:
        raise ModelLoadError(
            f"{where}: cannot load it, this is not an ONNX model ({error})"
        ) from error
    if points_elsewhere:
        raise ModelLoadError(
            f"{where}: keeps weights in other files (ONNX external data); export it as one file"
        )


def _points_elsewhere(data: memoryview, begin: int, end: int, message: str, depth: int) -> bool:
    if depth > _DEEPEST:
        raise CorruptRecordError("graphs within graphs without end")
    if message == "Tensor":
        return any(
            number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0)
            for number, value, _ in _fields(data, begin, end)
        )
    holds = _HOLDS[message]
    return any(
        _points_elsewhere(data, inner_begin, inner_end, holds[number], depth + 1)
        for number, inner_begin, inner_end in _messages(data, begin, end)
        if number in holds
    )


def _messages(data: memoryview, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(field number, begin, end) of everything with a length."""
    for number, first, last in _fields(data, begin, end):
        if last is not None:
            yield number, first, last


def _fields(data: memoryview, begin: int, end: int) -> Iterator[tuple[int, int, int | None]]:
    """(number, begin, end) of fields with a length, (number, value, None) of plain ones."""
    at = begin
    while at < end:
        key, at = _varint(data, at, end)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(data, at, end)
            yield number, value, None
        elif kind == _LENGTH:
            length, at = _varint(data, at, end)
            if length > end - at:
                raise CorruptRecordError(f"byte {at}: a field is longer than what holds it")
            yield number, at, at + length
            at += length
        elif kind in {_EIGHT_BYTES, _FOUR_BYTES}:
            at += 8 if kind == _EIGHT_BYTES else 4
            if at > end:
                raise CorruptRecordError(f"byte {at}: a number is cut")
            yield number, 0, None
        else:
            raise CorruptRecordError(f"byte {at}: no field of a protocol buffer")


def _varint(data: memoryview, at: int, end: int) -> tuple[int, int]:
    """A number in groups of seven bits, lowest first, and where the next thing begins."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise CorruptRecordError(f"byte {at}: a number is cut")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise CorruptRecordError(f"byte {at}: a number without end")
