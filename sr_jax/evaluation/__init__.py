"""How networks are judged: scores, the published figures, and distances of features."""
