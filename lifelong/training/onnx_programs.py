"""A torch module to an ONNX program that tells nothing of the machine it was exported on."""

import logging
import threading
import warnings
from collections.abc import Sequence
from typing import Any

import onnx
import torch
from torch import Tensor, nn

# torch's tracer keeps what it notes about a graph in a dictionary of the whole process.
_ONE_AT_A_TIME = threading.Lock()


def onnx_program(
    graph: nn.Module, example: tuple[Tensor, ...], inputs: Sequence[str], outputs: Sequence[str], *,
    opset: int, dynamic: Any = None,
) -> onnx.ModelProto:  # fmt: skip
    """Trace a module in evaluation mode; equal weights give equal programs.

    Args:
        example: inputs of the shapes that are traced.
        inputs, outputs: their names, in the module's order.
        dynamic: as `torch.onnx.export` takes `dynamic_shapes`; None: every size is fixed.
    """
    level = logging.getLogger("torch.onnx").level
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        # The exporter walks through deprecated corners of torch itself; not ours to mend.
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        try:
            program = torch.onnx.export(
                graph,
                example,
                dynamo=True,
                input_names=list(inputs),
                output_names=list(outputs),
                opset_version=opset,
                dynamic_shapes=dynamic,
                verbose=False,
            )
        finally:
            logging.getLogger("torch.onnx").setLevel(level)
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    _forget_origins(model)
    return model


def _forget_origins(model: onnx.ModelProto) -> None:
    """Take out stack traces, file paths and names of the machine that exported."""
    del model.metadata_props[:]
    model.doc_string = ""
    graph = model.graph
    graph.doc_string, graph.name = "", "network"
    del graph.metadata_props[:]
    del graph.value_info[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{number}"
