"""Weights files of the Hugging Face Hub, by names: `hf:USER/REPO[@REVISION][/FILE.safetensors]`.

They come through huggingface_hub and lie in its cache, so that its variables count: HF_HOME,
HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE. Only safetensors files are taken, which hold no code.
"""

import contextlib
import errno
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import safetensors

if TYPE_CHECKING:
    from huggingface_hub.utils import HfUri

PREFIX = "hf:"
SUFFIX = ".safetensors"
FORM = f"{PREFIX}USER/REPO[@REVISION][/FILE{SUFFIX}]"


class Fetched(NamedTuple):
    """A file of the Hub.

    Attributes:
        path: where it lies in the cache.
        pinned: the name that stands for this very file, whatever becomes of the repository's
            branches: hf:USER/REPO@COMMIT/FILE.safetensors, with the 40 digits of the commit.
        note: a line for the user: that name, the size, and whether it was fetched.
    """

    path: Path
    pinned: str
    note: str


def is_name(model: str | Path) -> bool:
    """Whether this names a file of the Hub; ./hf:... is a local one."""
    return str(model).startswith(PREFIX)


def fetch(name: str | Path) -> Fetched:
    """Fetches a safetensors file, unless the cache has it.

    Args:
        name: hf:USER/REPO, of which the only safetensors file is taken, or
            hf:USER/REPO/FOLDER/FILE.safetensors. `@REVISION` behind REPO is a branch, a tag or a
            commit, by default the branch main; a slash within it is written %2F.

    Raises:
        ValueError: not such a name; huggingface_hub is not installed; no such repository, revision
            or file, or no access to it; several files, or none; the Hub cannot be reached or must
            not be asked, and the cache does not have it; it cannot be written. One line says which.
    """
    try:
        from huggingface_hub import (
            hf_hub_download,
            is_offline_mode,
            resolve_revision,
            try_to_load_from_cache,
        )
    except ImportError:
        raise ValueError(
            f"{name} is on the Hugging Face Hub, which needs huggingface_hub 2.4 or newer: "
            "pip install 'sr-jax[hub]'"
        ) from None
    name = name.as_posix() if isinstance(name, Path) else name
    uri = _parse(name)
    with _in_one_line(name, uri):
        commit = resolve_revision(
            uri.id, revision=uri.revision, local_files_only=is_offline_mode()
        ).resolved
    if not re.fullmatch("[0-9a-f]{40}", commit):
        raise ValueError(
            f"{name}: the cache has {commit!r} for {uri.revision or 'main'}, no commit: run "
            f"`hf cache rm model/{uri.id}`"
        )
    file, remark = (uri.path_in_repo, "") if uri.path_in_repo else _find_only(name, uri, commit)
    with _in_one_line(name, uri):
        cached = isinstance(try_to_load_from_cache(uri.id, file, revision=commit), str)
        path = Path(hf_hub_download(uri.id, file, revision=commit))
    pinned = f"{PREFIX}{uri.id}@{commit}/{file}"
    try:
        with safetensors.safe_open(path, framework="numpy"):
            pass
    except (OSError, safetensors.SafetensorError) as error:
        raise ValueError(
            f"{pinned} is no whole safetensors file ({error}); if the Hub has a better one, "
            f"`hf cache rm model/{uri.id}` has it fetched anew"
        ) from None
    how = "from the cache:" if cached else "fetched"
    return Fetched(path, pinned, f"{how} {pinned} ({path.stat().st_size / 1e6:.1f} MB){remark}")


def _parse(name: str) -> "HfUri":
    from huggingface_hub.errors import HfUriError
    from huggingface_hub.utils import parse_hf_uri

    try:
        uri = parse_hf_uri(f"hf://{name.removeprefix(PREFIX).lstrip('/')}")
    except HfUriError as error:
        raise ValueError(f"{name}: {error.msg.strip().rstrip('.')}: write {FORM}") from None
    file = uri.path_in_repo
    if uri.type != "model":
        raise ValueError(f"{name} is a {uri.type}, expected a repository of models: write {FORM}")
    if ".." in f"{uri.revision}/{file}".split("/") or "\\" in name:
        raise ValueError(f"{name}: no revision or file has .. or a backslash in its name")
    if file and not file.lower().endswith(SUFFIX):
        raise ValueError(
            f"{name}: only {SUFFIX} files are taken from the Hub, because they hold no code, and "
            f"{file} is none. If you trust it: `hf download {uri.id} {file}`, then `sr-jax convert`"
        )
    return uri


def _find_only(name: str, uri: "HfUri", commit: str) -> tuple[str, str]:
    """The only safetensors file of a commit, and what is to be said of that."""
    from huggingface_hub import model_info, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    remark, place = "", "the repository"
    with _in_one_line(name, uri):
        try:
            siblings = model_info(uri.id, revision=commit).siblings or []
            files = [sibling.rfilename for sibling in siblings]
        except Exception:  # as there
            folder = None
            with contextlib.suppress(LocalEntryNotFoundError):
                folder = Path(
                    snapshot_download(
                        uri.id,
                        revision=commit,
                        allow_patterns=f"*{SUFFIX}",
                        local_files_only=True,
                    )
                )
            if folder is None:
                raise
            files = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
            remark, place = ", the only one there; the Hub was not reached", "the cache"
    found = sorted(file for file in files if file.lower().endswith(SUFFIX))
    if not found:
        raise ValueError(f"{name}: {place} has no {SUFFIX} file of commit {commit}")
    if len(found) > 1:
        more = f" and {len(found) - 10} more" if len(found) > 10 else ""
        raise ValueError(
            f"{name}: {place} has several {SUFFIX} files, {', '.join(found[:10])}{more}: name one, "
            f"as in {name.rstrip('/')}/{found[0]}"
        )
    return found[0], remark


@contextlib.contextmanager
def _in_one_line(name: str, uri: "HfUri") -> Iterator[None]:
    """Turns what huggingface_hub and the network raise into a ValueError that says what to do."""
    try:
        yield
    except Exception as error:  # they have no common class, and the network's is another library's
        raise ValueError(f"{name}: {_reason(error, uri)}") from error


def _reason(error: Exception, uri: "HfUri") -> str:
    from huggingface_hub import constants, errors, is_offline_mode

    page, cache = f"{constants.ENDPOINT}/{uri.id}", constants.HF_HUB_CACHE
    revision = uri.revision or "main"
    match error:
        case errors.GatedRepoError():
            return f"its owners let in whom they know: ask on {page}, and run `hf auth login`"
        case errors.RepositoryNotFoundError():
            return f"there is no {page}, or it is private: check the name, or run `hf auth login`"
        case errors.RevisionNotFoundError():
            return f"it has no branch, tag or commit {revision}: see {page}/commits/main"
        case errors.RemoteEntryNotFoundError():
            return f"there is no such file: see {page}/tree/{revision}"
        case errors.HfHubHTTPError() if error.response.status_code in (401, 403):
            return "the Hub refuses access: run `hf auth login` with a token that may read it"
    absent = (errors.LocalEntryNotFoundError, errors.RevisionResolutionError, ConnectionError)
    if isinstance(error, absent) and is_offline_mode():
        return (
            f"the cache {cache} does not have it, and HF_HUB_OFFLINE is set: unset it to fetch it"
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space is left for it in {cache}: make some, or set HF_HOME to another folder"
    if isinstance(error, PermissionError):
        return f"{error.filename or cache} cannot be written: set HF_HOME to a folder of yours"
    words = " ".join(str(error.__cause__ or error).split())[:200]
    return (
        f"the cache {cache} does not have it, and it cannot be fetched ({words}): see to the "
        "network, and run the same command again"
    )
