"""How unsure is a prediction: entropy, margin, least confidence per pixel."""

import numpy as np
from numpy.typing import NDArray


def entropy(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normalised entropy per pixel: -Σ p ln p / ln C, with 0 ln 0 = 0 (Shannon 1948).

    Args:
        probabilities: (C, H, W), float32, sums to 1 over C.

    Returns:
        (H, W), float32, 0 = certain, 1 = uniform; 0 everywhere for a single class.
    """
    classes = probabilities.shape[0]
    if classes < 2:
        return np.zeros(probabilities.shape[1:], dtype=np.float32)
    # x ln x tends to 0; a floor far below float32's smallest step keeps the logarithm finite.
    terms = probabilities * np.log(np.maximum(probabilities, np.float32(1e-38)))
    values = -terms.sum(axis=0) / np.float32(np.log(classes))
    clipped: NDArray[np.float32] = np.clip(values, 0.0, 1.0).astype(np.float32)
    return clipped


def probabilities_and_entropy(
    logits: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Softmax and its normalised entropy at once: -Σ p ln p = ln Z - Σ p x, with Z = Σ exp x.

    One logarithm a pixel instead of one a class.

    Args:
        logits: (C, H, W), float32, finite.

    Returns:
        (C, H, W) float32, sums to 1 over C, and (H, W) float32, 0 = certain, 1 = uniform.
    """
    shifted = logits - logits.max(axis=0)
    shares = np.exp(shifted)
    total = shares.sum(axis=0)
    shares /= total
    if len(logits) < 2:
        return shares, np.zeros(logits.shape[1:], dtype=np.float32)
    values = np.log(total) - np.einsum("chw,chw->hw", shares, shifted)
    values /= np.float32(np.log(len(logits)))
    return shares, np.clip(values, 0.0, 1.0).astype(np.float32, copy=False)


def margin(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Best minus second best probability per pixel.

    Args:
        probabilities: (C, H, W), float32, sums to 1 over C.

    Returns:
        (H, W), float32, 0 = undecided, 1 = certain; 1 everywhere for a single class.
    """
    if probabilities.shape[0] < 2:
        return np.ones(probabilities.shape[1:], dtype=np.float32)
    # The two largest so far, plane by plane: three times as quick as sorting every pixel.
    best = np.maximum(probabilities[0], probabilities[1])
    second = np.minimum(probabilities[0], probabilities[1])
    for plane in probabilities[2:]:
        np.maximum(second, np.minimum(best, plane), out=second)
        np.maximum(best, plane, out=best)
    difference: NDArray[np.float32] = (best - second).astype(np.float32)
    return difference


def least_confidence(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """One minus the best probability per pixel: (C, H, W) float32 to (H, W) float32."""
    doubt: NDArray[np.float32] = (1.0 - probabilities.max(axis=0)).astype(np.float32)
    return doubt
