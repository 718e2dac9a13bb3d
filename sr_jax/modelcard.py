"""Model cards for the Hugging Face Hub, of what a network and its file say of themselves."""

from collections.abc import Iterable, Sequence

from sr_jax.models import Variables, count_parameters, describe_model
from sr_jax.models.network import Network
from sr_jax.pretrained import Card

# Of the package, and so of the networks that come with it.
_LICENSE = "apache-2.0"


def model_card(model: Network, variables: Variables, shipped: Card | None = None) -> str:
    """A README.md with the front matter that the Hub reads.

    Args:
        model, variables: the network.
        shipped: its card, where it comes with this package; the licence, the scores and the
            training are known of these alone.

    Raises:
        ValueError: a network that makes no images.
        ModuleNotFoundError: huggingface_hub is not installed.
    """
    from huggingface_hub import EvalResult, ModelCardData

    architecture, hyperparameters = describe_model(model)
    if not model.upscales:
        raise ValueError(f"{architecture} makes no images: there is no card of it")
    scales = "any" if model.known_scales is None else ", ".join(f"x{s}" for s in model.known_scales)
    name = architecture.rpartition(":")[2]
    title = shipped.name if shipped else f"{name}, {scales}"
    results = [
        EvalResult(
            task_type="image-to-image",
            task_name="Super-resolution",
            dataset_type=score.dataset.partition(" ")[0],  # and then perhaps "JPEG 75"
            dataset_name=f"{score.dataset} x{score.scale}",
            dataset_config=f"{score.dataset.partition(' ')[2]} x{score.scale}".strip(),
            metric_type=metric,
            metric_name=words,
            metric_value=value,
        )
        for score in (shipped.scores if shipped else ())
        for metric, words, value in (
            ("psnr", "PSNR of the luma, dB", score.psnr),
            ("ssim", "SSIM of the luma", score.ssim),
        )
    ]
    data = ModelCardData(
        library_name="sr_jax",
        license=_LICENSE if shipped else None,
        pipeline_tag="image-to-image",
        tags=["super-resolution", "jax", "flax", name],
        metrics=["psnr", "ssim"] if results else None,
        model_name=title if results else None,
        eval_results=results or None,
    )
    facts = {
        "architecture": architecture,
        "scale": scales,
        "parameters": f"{count_parameters(variables):,}",
        "input": _describe_input(model),
        "looks as far as": _describe_reach(model),
    }
    for field, value in hyperparameters.items():
        if value is not None and field not in ("scale", "scales"):
            facts[f"`{field}`"] = str(value)
    parts = [
        f"---\n{data.to_yaml()}\n---\n",
        f"# {title}\n",
        "A network for single-image super-resolution in JAX and Flax, for sr_jax.\n",
        _table(("of the network", ""), facts.items()),
        _describe_use(architecture),
        *(_describe_training(shipped) if shipped else ()),
    ]
    return "\n".join(parts)


def _describe_input(model: Network) -> str:
    parts = [{1: "luma", 3: "RGB"}.get(model.n_colors, f"{model.n_colors} channels")]
    if model.takes_interpolated:
        parts.append("interpolated to the output size")
    if model.size_divisor > 1:
        parts.append(f"sides that are multiples of {model.size_divisor} (others are padded)")
    elif model.minimum_size > 1:
        parts.append(f"sides of {model.minimum_size} pixels or more (others are padded)")
    return ", ".join(parts)


def _describe_reach(model: Network) -> str:
    radius = model.receptive_radius
    return "the whole image" if radius is None else f"{radius} input pixels in each direction"


def _describe_use(architecture: str) -> str:
    outside = ":" in architecture
    allow = f" --allow {architecture}" if outside else ""
    python = f', allow=["{architecture}"]' if outside else ""
    return f"""## Use

USER/REPO is the name of this repository; `@COMMIT` behind it holds one state of it.

    pip install 'sr-jax[hub]'
    sr-jax upscale photo.png --model hf:USER/REPO{allow}

```python
import sr_jax

upscaler = sr_jax.Upscaler("hf:USER/REPO"{python})
large = upscaler(image)  # a NumPy array or a PIL image
```
"""


def _describe_training(shipped: Card) -> list[str]:
    scores = [
        (s.dataset, f"x{s.scale}", f"{s.psnr:.2f}", f"{s.ssim:.4f}", f"{s.bicubic:.2f}")
        for s in shipped.scores
    ]
    return [
        "## Scores\n",
        "PSNR in dB and SSIM, of the luma; at the right that of bicubic interpolation.\n",
        _table(("data set", "scale", "PSNR", "SSIM", "bicubic PSNR"), scores),
        "## Training\n",
        f"{shipped.training}.\n",
        f"Data: {shipped.data}. That file comes with sr_jax, in the folder `pretrained`.\n",
        f"Recipe: `{shipped.recipe}` of sr_jax; `{shipped.command}`.\n",
        "## Limits\n",
        f"{shipped.limits}\n",
    ]


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
