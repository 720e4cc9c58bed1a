"""`OnnxSegmenter`: a bundle in, pictures to `Prediction`; the gate judges what the edge runs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lifelong.errors import ConfigError, ModelLoadError, ModelOutputError
from lifelong.logit_masks import mask_from_logits
from lifelong.model_bundle import ModelBundle
from lifelong.novelty import Acquaintance
from lifelong.onnx_layout import refuse_foreign_files
from lifelong.onnx_runtime import onnxruntime
from lifelong.preprocessing import network_input
from lifelong.records.pixels import Prediction
from lifelong.uncertainty import margin, probabilities_and_entropy

CPU = "CPUExecutionProvider"
PROVIDERS = (CPU,)

# Outputs beside the logits of bundles that know what is new to them; see lifelong/novelty.py.
EMBEDDING, STRANGENESS = "embedding", "strangeness"


def chosen_provider(preferred: Sequence[str]) -> str:
    """The first of these execution providers that this machine's ONNX Runtime has, else the CPU.

    Raises:
        ConfigError: a name that ONNX Runtime has never heard of.
    """
    known, here = onnxruntime.get_all_providers(), onnxruntime.get_available_providers()
    for name in preferred:
        if name not in known and name not in here:
            raise ConfigError(
                f"edge.providers: ONNX Runtime knows no {name!r}; "
                f"it knows {', '.join(known)}, and here it has {', '.join(here)}"
            )
    return next((name for name in preferred if name in here), CPU)


class OnnxSegmenter:
    """Runs a bundle's model; one object may be used by one thread at a time.

    Args:
        threads: of one answer; 0: ONNX Runtime's own choice.
        providers: execution providers in order of preference; see `chosen_provider`.

    Raises:
        ConfigError: a provider that ONNX Runtime does not know.
        ModelLoadError: ONNX Runtime refuses the model, or it is not (1, 3, h, w) -> (1, C, …).
    """

    def __init__(
        self,
        bundle: ModelBundle,
        *,
        threads: int = 0,
        providers: Sequence[str] = PROVIDERS,
        watched: tuple[int, ...] = (),
    ) -> None:
        """`watched`: class ids whose probabilities every prediction is to bring along."""
        self.bundle = bundle
        self._watched = watched
        refuse_foreign_files(bundle.onnx, f"version {bundle.version_id}")
        provider = chosen_provider(providers)
        try:
            self._session = onnxruntime.InferenceSession(
                bundle.onnx,
                sess_options=_session_options(threads),
                providers=list(dict.fromkeys((provider, CPU))),
            )
        except Exception as error:  # ONNX Runtime raises its own types per error code
            raise ModelLoadError(
                f"version {bundle.version_id}: ONNX Runtime cannot load it ({error})"
            ) from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) < 1:
            raise ModelLoadError(
                f"version {bundle.version_id}: expected one input and logits as first output, "
                f"got {len(inputs)} inputs and {len(outputs)} outputs"
            )
        self._input_name, self._output_name = inputs[0].name, outputs[0].name
        described = {output.name for output in outputs} & {EMBEDDING, STRANGENESS}
        # Older bundles bring neither, or no prototypes to compare with: then novelty is unknown.
        self._described = tuple(sorted(described))
        self._acquaintance = Acquaintance(bundle.manifest.familiarity)

    @property
    def provider(self) -> str:
        """The execution provider in use; the CPU where a preferred one would not start."""
        return str(self._session.get_providers()[0])

    def logits(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The network's answer at its own resolution.

        Args:
            image: (H, W, 3), uint8, RGB, any size.

        Returns:
            (C, h, w), float32.

        Raises:
            ModelOutputError: NaN or infinite values, or another number of classes than promised.
        """
        return self._logits_of(self.outputs(image, (self._output_name,))[0])

    def outputs(self, image: NDArray[np.uint8], names: Sequence[str]) -> list[NDArray[np.float32]]:
        """Some of the network's outputs as they are.

        Raises:
            ModelOutputError: there is no such output, or ONNX Runtime cannot compute it.
        """
        batch = network_input(image, self.bundle.manifest.preprocessing)
        try:
            answers: list[NDArray[np.float32]] = self._session.run(
                list(names), {self._input_name: batch}
            )
        except Exception as error:  # as above
            raise ModelOutputError(f"version {self.bundle.version_id}: {error}") from error
        return answers

    def _logits_of(self, answer: NDArray[np.float32]) -> NDArray[np.float32]:
        expected = len(self.bundle.manifest.label_map)
        if answer.ndim != 4 or answer.shape[:2] != (1, expected):
            raise ModelOutputError(
                f"version {self.bundle.version_id}: expected logits (1, {expected}, h, w), "
                f"got {answer.shape}"
            )
        logits: NDArray[np.float32] = answer[0].astype(np.float32, copy=False)
        if not np.isfinite(logits).all():
            raise ModelOutputError(
                f"version {self.bundle.version_id}: logits hold NaN or infinite values"
            )
        return logits

    def segment(self, image: NDArray[np.uint8]) -> Prediction:
        """Segment one picture at its own size.

        Confidence, entropy and margin come at the network's own resolution.

        Raises:
            ModelOutputError: as `logits`.
        """
        first, *others = self.outputs(image, (self._output_name, *self._described))
        logits = self._logits_of(first)
        said = dict(zip(self._described, (other[0] for other in others), strict=True))
        embedding = said.get(EMBEDDING)
        height, width = image.shape[:2]
        probabilities, doubt = probabilities_and_entropy(logits)
        return Prediction(
            mask=mask_from_logits(logits, height, width),
            confidence=probabilities.max(axis=0),
            entropy=doubt,
            margin=margin(probabilities),
            version_id=self.bundle.version_id,
            embedding=embedding,
            novelty=self._acquaintance.novelty(embedding),
            class_novelty=self._acquaintance.class_novelty(said.get(STRANGENESS), logits),
            watched={class_id: probabilities[class_id] for class_id in self._watched},
        )


def _session_options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that wait for the next frame sleep; by default they would spin, and burn a core.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options
