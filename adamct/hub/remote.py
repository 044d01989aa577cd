"""The way of an exported model to the Hugging Face Hub and back. The variable HF_ENDPOINT names another server."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adamct.errors import InputError, on_one_line, require
from adamct.extras import require_extra
from adamct.hub.folder import CARD, CONFIG, ITEMS, WEIGHTS, read_folder

NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
HOW_TO_LOG_IN = "log in with hf auth login, or set HF_TOKEN"


def is_name(text: str) -> bool:
    """Return whether a text may be a model's name on the Hub, and not the path of a checkpoint."""
    return NAME.fullmatch(text) is not None and not text.endswith(".ckpt")


def download(name: str) -> Path:
    """Download a model that `push` has sent, or find it in the Hub's cache, and return its folder.

    Raises:
        InputError: the extra, the model or the network is missing.
    """
    require_extra("hub", "the Hub")
    from huggingface_hub import snapshot_download

    with explained(name, f"{name}: no such file or folder here, and"):
        return Path(snapshot_download(name, allow_patterns=[CONFIG, ITEMS, WEIGHTS]))


def push(folder: Path, name: str, private: bool) -> str:
    """Send an exported model to the Hub, and return its address.

    Args:
        folder: the folder of the export.
        name: the model's name, ``OWNER/NAME``. If the Hub has it, its files are replaced.
        private: whether a new model is visible only to its owner.

    Raises:
        InputError: the folder is no export, or the extra, the token, the right to write or the network is missing.
    """
    require(is_name(name), f"{name}: must be a name on the Hub, OWNER/NAME")
    read_folder(folder)
    from huggingface_hub import HfApi, get_token

    require(get_token() is not None, f"no token for the Hub: {HOW_TO_LOG_IN}")
    with explained(name, f"{name}:"):
        api = HfApi()
        address = api.create_repo(name, private=private, exist_ok=True)
        files = [CONFIG, ITEMS, WEIGHTS, CARD]
        api.upload_folder(repo_id=name, folder_path=folder, allow_patterns=files, commit_message="Export of adamct.hub")
        return str(address)


@contextmanager
def explained(name: str, beginning: str) -> Iterator[None]:
    """Re-raise an error of the Hub's client as an `InputError` with some beginning."""
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError

    try:
        yield
    except HFValidationError as error:
        raise InputError(f"{name}: is no name on the Hub ({on_one_line(error):.200})") from error
    except RepositoryNotFoundError as error:
        raise InputError(f"{beginning} {constants.ENDPOINT} has no such model for you: {HOW_TO_LOG_IN}") from error
    except HfHubHTTPError as error:
        reason = f"{error.response.status_code} {error.response.reason_phrase}"
        raise InputError(f"{beginning} {constants.ENDPOINT} refuses ({reason}): {HOW_TO_LOG_IN}") from error
    except Exception as error:  # such as those of the network
        reason = f"{type(error).__name__}: {on_one_line(error):.200}"
        raise InputError(f"{beginning} {constants.ENDPOINT} did not answer ({reason}); check the network") from error
