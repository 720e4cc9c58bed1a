"""Checkpoints that a student may begin with, as their publishers save them, random in content."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    SegformerConfig,
    SegformerForImageClassification,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
    SegformerModel,
)
from transformers.utils import logging

WEIGHTS = "model.safetensors"


def published_segformer(size, names):
    """The network of transformers with these classes."""
    return SegformerForSemanticSegmentation(configured(size, names))


def configured(size, names=()):
    named = {"id2label": dict(enumerate(names)), "label2id": {n: i for i, n in enumerate(names)}}
    return SegformerConfig(
        hidden_sizes=list(size.widths),
        depths=list(size.depths),
        decoder_hidden_size=size.decoder,
        **(named if names else {}),
    )


def save_segformer(folder, network):
    """The folder as it lies on the hub, with what prepares its pictures."""
    _save(network, folder)
    SegformerImageProcessor().save_pretrained(folder)


def save_encoder(folder, size, *, bare):
    """A Mix Transformer alone: as nvidia/mit-b0 lies on the hub, or without its classifier."""
    _save((SegformerModel if bare else SegformerForImageClassification)(configured(size)), folder)
    return folder


def shaken(what, folder=None, *, seed=11):
    """Random numbers in every weight, also where a network begins with zeros and ones.

    Of a folder, its file of weights; then they are given back under our names.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = what.state_dict() if folder is None else load_file(Path(folder) / WEIGHTS)
    with torch.no_grad():
        for value in weights.values():
            if value.is_floating_point():
                value += 0.05 * torch.rand(value.shape, generator=generator)
    if folder is None:
        return what
    save_file(weights, Path(folder) / WEIGHTS)
    return {
        name if name.startswith(("segformer.", "classifier.")) else f"segformer.{name}": value
        for name, value in weights.items()
    }


def _save(network, folder):
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        network.save_pretrained(folder)
    finally:
        logging.set_verbosity(verbosity)
        logging.enable_progress_bar()
