"""How clusters are used (arXiv 2210.09304): active ones, smoothness, agreement with labels."""

import numpy as np
from sklearn.metrics import normalized_mutual_info_score

from cyclip_model.metrics.zeroshot import Floats, Ints


def gauges(probability_NK: Floats, label_N: Ints | None) -> dict[str, float]:
    """active_clusters, smoothness = H(mean)/log K and nmi of arg-max clusters and labels."""
    mean_K, cluster_N = probability_NK.mean(axis=0, dtype=np.float64), probability_NK.argmax(axis=1)
    entropy = -(mean_K * np.log(np.maximum(mean_K, 1e-300))).sum()
    found = {"active_clusters": float(len(np.unique(cluster_N))), "smoothness": float(entropy / np.log(len(mean_K)))}
    return found if label_N is None else {**found, "nmi": float(normalized_mutual_info_score(label_N, cluster_N))}
